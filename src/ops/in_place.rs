//! Writes in place: check everything, write, count the write, record.

use super::def::{Call, Kernel, KernelCx, OpDef};
use super::dispatch::{device_of, map_into, same_shape};
use super::{dispatch, meta, observe, record, table, taint, writable};
use crate::backend;
use crate::base::{Attrs, DType, Device, Result, Shape};
use crate::tape::{Body, Edge, NodeRef, Rule, Site, Taint, mode, provenance, saved};
use crate::tensor::{Operand, Tensor, ViewInfo};
use crate::{bail, ensure};
use smallvec::SmallVec;

/// Runs an op on its first input, in place, and returns nothing: the input is the result.
///
/// Everything is checked before the first element is written: leaves that require grad, views that
/// must not be written, overlapping memory, shape and type. Then the write, then the version, then
/// the record.
///
/// # Errors
/// As above; nothing is changed then.
pub fn run(op: &'static OpDef, inputs: &[Operand], attrs: &Attrs) -> Result<()> {
    run_overload(op, 0, inputs, attrs)
}

/// As [`run`], by one of the op's signatures.
///
/// # Errors
/// As [`run`].
pub fn run_overload(
    op: &'static OpDef,
    overload: usize,
    inputs: &[Operand],
    attrs: &Attrs,
) -> Result<()> {
    let call = Call {
        op,
        inputs,
        attrs,
        overload,
    };
    in_place(&call).map_err(|e| e.in_op(&format!("{}_", op.name)))
}

fn in_place(call: &Call) -> Result<()> {
    let &Call {
        op,
        inputs,
        attrs,
        overload,
    } = call;
    let x = call.tensor(0);
    let recorded = mode::grad_enabled() && inputs.iter().any(Operand::requires_grad);
    writable::check(x, recorded)?;
    let dual = mode::open_levels() > 0 && call.tensors().any(|t| t.tangents().is_some());
    if std::ptr::eq(op, &table::COPY) {
        write(call, recorded)?;
        return if dual {
            push_forward_in_place(x, &call.inputs[1])
        } else {
            Ok(())
        };
    }
    // Hooks that pack what is saved may fail, which must happen before the write.
    let packs = recorded && mode::packing();
    // What has no gradient for its target, such as a comparison, ends the target's history all the
    // same: the copy does.
    let cuts = recorded && x.requires_grad() && op.grad(0).is_none();
    let is_direct = op.is_map() || matches!(op.kernel, Kernel::Update(_));
    if is_direct && !dual && !packs && !cuts {
        return write(call, recorded);
    }
    // Computed out of place, then copied in. What is saved of the target on the way must survive
    // the copying, so the op reads a copy with the target's history.
    let mut sources: SmallVec<[Operand; 3]> = SmallVec::from(inputs);
    if x.dtype().is_float() && (recorded || dual) {
        sources[0] = copy_with_history(x)?.into();
    }
    let result = dispatch::run_overload(op, overload, &sources, attrs)?.swap_remove(0);
    check_result(x, result.shape(), result.dtype())?;
    copy_(x, &result)?;
    // Messages name the op that was called.
    x.storage().set_writer(op.number(), Site::current().0);
    Ok(())
}

/// `x.copy_(src)`, recorded.
///
/// # Errors
/// As [`run`].
pub fn copy_(x: &Tensor, src: &Tensor) -> Result<()> {
    run(&table::COPY, &[x.into(), src.into()], &Attrs::new())
}

/// Writes one value everywhere, recorded, in the name of `writer`.
///
/// # Errors
/// As [`run`].
pub fn fill_(x: &Tensor, value: Operand, writer: u32) -> Result<()> {
    let call = Call {
        op: &table::COPY,
        inputs: &[x.into(), value],
        attrs: &Attrs::new(),
        overload: 0,
    };
    in_place(&call).map_err(|e| e.in_op(&provenance::writer_name(writer)))?;
    x.storage().set_writer(writer, Site::current().0);
    Ok(())
}

/// The result of an op in place must have the target's shape, and a type it can hold.
fn check_result(x: &Tensor, shape: &Shape, dtype: DType) -> Result<()> {
    ensure!(
        shape == x.shape(),
        runtime,
        "output with shape {} doesn't match the broadcast shape {shape}. A write in place cannot change \
         its target's shape: use the form out of place",
        x.shape()
    );
    ensure!(
        dtype.can_cast(x.dtype()),
        runtime,
        "result type {} can't be cast to the desired output type {}. A write in place cannot change its \
         target's type: use the form out of place, or cast the target first",
        dtype.scalar_type_name(),
        x.dtype().scalar_type_name()
    );
    Ok(())
}

/// Writes, counts the write, records.
fn write(call: &Call, recorded: bool) -> Result<()> {
    let x = call.tensor(0);
    let copying = std::ptr::eq(call.op, &table::COPY);
    device_of(call.inputs)?;
    let choice = match call.op.kernel {
        Kernel::Update(_) => {
            let result = (call.op.meta)(call)?.swap_remove(0);
            check_result(x, &result.shape, result.dtype)?;
            None
        }
        _ => {
            let mut choice = meta::choose(call)?;
            if copying {
                // A copy casts to the target whatever the types.
                choice.dtype = x.dtype();
                choice.compute = meta::copy_compute(call.inputs[1].dtype(), x.dtype());
            }
            match same_shape(call) {
                Some(same) => check_result(x, same.shape(), choice.dtype)?,
                None => check_result(x, &meta::broadcast(call.inputs)?, choice.dtype)?,
            }
            Some(choice)
        }
    };
    let copied = detach_aliases(call)?;
    let call = &Call {
        inputs: copied.as_deref().unwrap_or(call.inputs),
        ..*call
    };

    let needs = if recorded && x.dtype().is_float() {
        record::needs_grad(call)
    } else {
        0
    };
    // What the node is made of, as it was before the write.
    let original = if needs != 0 {
        before_write(call, needs)?
    } else {
        SmallVec::new()
    };
    saved::before_write(x.storage())?;
    let run = || match (&choice, call.op.kernel) {
        (Some(choice), _) if copying => {
            let src = Call {
                inputs: &call.inputs[1..],
                ..*call
            };
            map_into(&src, choice, x)
        }
        (Some(choice), _) => map_into(call, choice, x),
        (None, Kernel::Update(f)) if x.device() != Device::Meta => f(&KernelCx {
            call,
            outs: std::slice::from_ref(x),
            backend: backend::of(x.device())?,
        }),
        _ => Ok(()),
    };
    let bump = || x.storage().bump(call.op.number(), Site::current().0);
    if mode::observed() {
        // An observer may object when the elements are written already.
        observe::around_write(call, x, run).inspect_err(|_| bump())?;
    } else {
        run()?;
    }
    bump();
    if mode::taint() != Taint::Off {
        taint::mark(
            call,
            std::slice::from_ref(x.view_info().map_or(x, |v| &v.base)),
        );
    }
    if needs != 0 {
        rebase(call, needs, x, &original)?;
    }
    Ok(())
}

/// The inputs as the node of a write sees them: elements that its rules read are kept from before
/// the write, and so is the history of views of the target's storage, which changes with it.
fn before_write(call: &Call, needs: u64) -> Result<SmallVec<[Operand; 3]>> {
    let x = call.tensor(0);
    let mut reads = 0;
    for i in 0..call.inputs.len() {
        if needs >> i & 1 == 1 {
            reads |= call.op.grad(i).map_or(0, |g| g.reads);
        }
    }
    let before = |(i, input): (usize, &Operand)| match input {
        Operand::Tensor(t) if i == 0 && reads & 1 == 1 => copy_with_history(t).map(Operand::Tensor),
        Operand::Tensor(t) if t.view_info().is_some() && t.storage().same(x.storage()) => {
            let held = t.alias(t.shared_layout().clone());
            held.set_history(t.grad_edge()?);
            Ok(held.into())
        }
        // What cannot be saved, and an input without a clear history, must be known before anything
        // is written.
        Operand::Tensor(t) => {
            if reads >> i & 1 == 1 {
                record::check_saveable(t)?;
            }
            t.grad_edge().map(|_| input.clone())
        }
        other => Ok(other.clone()),
    };
    call.inputs.iter().enumerate().map(before).collect()
}

/// Inputs that share elements with the target in another layout would be overwritten while they
/// are read: they are copied first. `None` if there are none.
fn detach_aliases(call: &Call) -> Result<Option<SmallVec<[Operand; 3]>>> {
    let x = call.tensor(0);
    let is_read_later = |i: usize| {
        let mut grads = call.op.grads.iter().flatten();
        grads.any(|g| g.reads >> i & 1 == 1)
    };
    let mut copied: Option<SmallVec<[Operand; 3]>> = None;
    for (i, input) in call.inputs.iter().enumerate().skip(1) {
        if let Operand::Tensor(t) = input
            && t.storage().same(x.storage())
            && (t.layout() != x.layout()
                || matches!(call.op.kernel, Kernel::Update(_))
                || is_read_later(i))
        {
            let inputs = copied.get_or_insert_with(|| SmallVec::from(call.inputs));
            inputs[i] = copy_with_history(t)?.into();
        }
    }
    Ok(copied)
}

/// The elements as they are now, with the history as it is now.
fn copy_with_history(x: &Tensor) -> Result<Tensor> {
    let copy = super::clone_data(x)?;
    if mode::grad_enabled()
        && let Some(edge) = x.grad_edge()?
    {
        copy.set_history(Some(edge));
    }
    copy.set_tangents(x.tangents());
    copy.set_tainted(x.is_tainted());
    Ok(copy)
}

/// Records a write in place: see NOTE [Views].
fn rebase(call: &Call, needs: u64, x: &Tensor, original: &[Operand]) -> Result<()> {
    let node = record::node(call, needs, original, std::slice::from_ref(x))?;
    write_history(x, Edge { node, output: 0 })
}

/// The history of a tensor that was written in place, and of its base if it is a view.
///
/// # Errors
/// When the base's own history cannot be told.
pub fn write_history(x: &Tensor, written: Edge) -> Result<()> {
    let mut target = x;
    let mut written = written;
    while let Some(view) = target.view_info() {
        let base = &view.base;
        let Some(chain) = &view.chain else {
            bail!(
                runtime,
                "a tensor that a custom function returned as it was must not be written"
            )
        };
        let scatter: Attrs = [crate::base::Attr::Any(chain.clone())]
            .into_iter()
            .collect();
        let base_edge = base.grad_edge()?;
        let site = Site::current();
        let node = NodeRef::new(|n| {
            n.body = Body::Op(&table::VIEW_SCATTER);
            n.attrs = scatter;
            n.edges.extend([base_edge, Some(written)]);
            n.inputs.extend([None, Some(target.meta())]);
            n.outputs.push(base.meta());
            n.site = site;
        });
        // The view itself takes its edge from the base when it is asked for it.
        target.outdate();
        (target, written) = (base, Edge { node, output: 0 });
    }
    target.set_history(Some(written));
    Ok(())
}

/// The tangent of a copy's target becomes its source's; through a view, in the base's.
fn push_forward_in_place(x: &Tensor, src: &Operand) -> Result<()> {
    let target = x.view_info().map_or(x, |v| &v.base);
    let levels_of = |t: &Tensor| {
        t.tangents()
            .map_or_else(Vec::new, |t| t.iter().map(|(l, _)| *l).collect())
    };
    let mut levels: Vec<u32> = levels_of(target);
    levels.extend(src.as_tensor().into_iter().flat_map(levels_of));
    levels.sort_unstable();
    levels.dedup();
    for level in levels {
        let zeros = |t: &Tensor| Tensor::zeros(t.shape().clone(), t.dtype(), t.device());
        let t = match src.as_tensor().and_then(|t| t.tangent(level)) {
            Some(t) => super::expand(&super::cast(&t, x.dtype())?, x.shape())?,
            None => zeros(x)?,
        };
        write_tangent(x, level, &t)?;
    }
    Ok(())
}

/// The tangent of a tensor that was written in place; through a view, a part of the base's.
///
/// # Errors
/// When the tangent does not have the tensor's shape.
pub fn write_tangent(x: &Tensor, level: u32, t: &Tensor) -> Result<()> {
    let Some(ViewInfo {
        base,
        chain: Some(chain),
        ..
    }) = x.view_info()
    else {
        // The tangent must not share memory with another's.
        x.set_tangent(level, Some(super::clone(t)?));
        return Ok(());
    };
    let zeros = || Tensor::zeros(base.shape().clone(), base.dtype(), base.device());
    let old = base.tangent(level).map_or_else(zeros, Ok)?;
    write_tangent(base, level, &super::view_scatter(&old, t, chain)?)
}
