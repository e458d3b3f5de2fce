//! The one door: every op, from everywhere, runs through here.
//!
//! Promote, broadcast, check, allocate or view, run the kernel, record, push tangents forward.
//!
//! NOTE [Tainted intermediates]
//! The forward of a custom function runs unrecorded, so a tensor made there from a differentiable
//! input depends on it in a way the tape cannot see. If the function's backward uses such a tensor
//! while a graph of the backward is built, the second derivative would silently lose a term.
//! Therefore results of ops on differentiable (or tainted) inputs are marked during such a forward,
//! and so is what is made from data of the host's after such an input's elements went there. A
//! function's outputs lose the mark when they get their history. During such a backward the mark
//! passes on from operands to results, and a gradient that carries it gets a history that raises:
//! the gradient itself is right, its derivative would not be.

use super::def::{Call, Choice, Cost, Follower, Kernel, KernelCx, OpDef};
use super::{copy, growth, meta, observe, table};
use crate::backend::{self, Input, View};
use crate::base::{Attrs, DType, Device, Error, Layout, Result, Shape};
use crate::tape::node::{OUTPUTS, input_metas};
use crate::tape::{
    Body, Cut, CutBy, Edge, NodeRef, Outputs, Rule, Saved, SavedTensor, Site, Taint, mode,
    provenance, saved,
};
use crate::tensor::{Creation, Operand, Tensor, ViewInfo};
use crate::{bail, ensure};
use smallvec::{SmallVec, smallvec};
use std::sync::{Arc, OnceLock};

/// Pushes tangents through a call; registered by the engine when it opens a level.
type Forward = fn(&Call, &[Tensor]) -> Result<()>;
static FORWARD: OnceLock<Forward> = OnceLock::new();

/// Registers how tangents are pushed forward.
pub fn register_forward(forward: Forward) {
    let _ = FORWARD.set(forward);
}

/// Runs a kernel while other threads of the host language may run.
type Unlock = fn(&mut (dyn FnMut() + Send));
static UNLOCK: OnceLock<Unlock> = OnceLock::new();

/// Registers how the host language's lock is given up for a while.
pub fn register_unlock(unlock: Unlock) {
    let _ = UNLOCK.set(unlock);
}

/// Work on fewer elements is done before giving up a lock and taking it back would pay.
const LONG: usize = 1 << 16;

/// How much more than others heavy ops do with each element.
const HEAVY: usize = 16;

/// Runs a call's kernel without the host's lock if it takes long.
#[inline]
fn compute<T: Send>(call: &Call, outs: &[Tensor], kernel: impl FnOnce() -> T + Send) -> T {
    let elements: usize = outs.iter().chain(call.tensors()).map(Tensor::numel).sum();
    match call.op.cost {
        Cost::Cheap => unlocked(elements, kernel),
        Cost::Heavy => unlocked(elements.saturating_mul(HEAVY), kernel),
    }
}

/// Runs a kernel, which knows nothing of the host language, without the host's lock if it works on
/// many elements.
#[inline]
pub(super) fn unlocked<T: Send>(elements: usize, kernel: impl FnOnce() -> T + Send) -> T {
    match UNLOCK.get() {
        Some(unlock) if elements >= LONG => {
            let (mut kernel, mut result) = (Some(kernel), None);
            unlock(&mut || result = kernel.take().map(|kernel| kernel()));
            result.expect("the host runs the kernel once")
        }
        _ => kernel(),
    }
}

/// Runs an op by its first signature.
///
/// # Errors
/// Whatever the op's own documentation says; nothing is changed then.
#[inline]
pub fn run(op: &'static OpDef, inputs: &[Operand], attrs: &Attrs) -> Result<Outputs> {
    run_overload(op, 0, inputs, attrs)
}

/// Runs an op with one output.
///
/// # Errors
/// As [`run`].
#[inline]
pub fn run1(op: &'static OpDef, inputs: &[Operand], attrs: &Attrs) -> Result<Tensor> {
    let mut outs = run_overload(op, 0, inputs, attrs)?;
    Ok(outs.swap_remove(0))
}

/// Runs an op by one of its signatures.
///
/// # Errors
/// As [`run`].
pub fn run_overload(
    op: &'static OpDef,
    overload: usize,
    inputs: &[Operand],
    attrs: &Attrs,
) -> Result<Outputs> {
    let call = Call {
        op,
        inputs,
        attrs,
        overload,
    };
    let result = match op.kernel {
        Kernel::Composite(f) => return f(&call).map_err(|e| e.of_op(op.name)),
        Kernel::Fused(_, follower) => fused(&call, follower),
        _ => computed(&call).and_then(|outs| finish(&call, outs)),
    };
    result.map_err(|e| e.in_op(op.name))
}

/// Runs a call that another op may follow: see [`Kernel::Fused`].
fn fused(call: &Call, follower: fn(&Call) -> Result<Follower>) -> Result<Outputs> {
    let first = |call: &Call| computed(call).and_then(|outs| finish(call, outs));
    let attrs = &Attrs::new();
    let Some((op, is_done)) = follower(call)? else {
        return first(call);
    };
    if !is_done {
        let x = first(&Call { attrs, ..*call })?.swap_remove(0);
        return run(op, &[x.into()], attrs);
    }
    let x = first(call)?.swap_remove(0);
    if !x.requires_grad() && x.tangents().is_none() {
        return Ok(smallvec![x]);
    }
    let out = x.alias(x.shared_layout().clone());
    let inputs = &[x.into()];
    let second = Call {
        op,
        inputs,
        attrs,
        overload: 0,
    };
    finish(&second, smallvec![out])
}

/// Records a call and pushes its tangents.
fn finish(call: &Call, mut outs: Outputs) -> Result<Outputs> {
    if mode::taint() != Taint::Off {
        taint(call, &outs);
    }
    let needs = needs_grad(call);
    if needs != 0 && !outs.is_empty() {
        record(call, needs, &mut outs)?;
    } else {
        note_cut(call, &outs);
    }
    if mode::open_levels() > 0 {
        push_forward(call, &outs)?;
    }
    Ok(outs)
}

/// Notes why results have no history: see NOTE [Cuts].
#[inline]
fn note_cut(call: &Call, outs: &[Tensor]) {
    // What is made anew takes no more than shapes from its inputs.
    if mode::in_unrecorded_backward() || matches!(call.op.kernel, Kernel::Dynamic(_)) {
        return;
    }
    for t in call.tensors() {
        let cut = t.cut();
        if !cut.is_none() && !t.requires_grad() {
            outs.iter().for_each(|out| out.set_cut(cut));
            return;
        }
        if t.requires_grad() {
            cut_here(call, outs.iter());
            return;
        }
    }
}

#[cold]
fn cut_here<'a>(call: &Call, outs: impl Iterator<Item = &'a Tensor>) {
    let by = if mode::grad_enabled() {
        CutBy::NotDifferentiable
    } else {
        CutBy::NoGrad
    };
    let cut = Cut::here(by, call.op.number());
    outs.for_each(|out| out.set_cut(cut));
}

fn push_forward(call: &Call, outs: &[Tensor]) -> Result<()> {
    FORWARD.get().map_or(Ok(()), |forward| forward(call, outs))
}

/// Marks results as intermediates: see NOTE [Tainted intermediates].
#[cold]
fn taint(call: &Call, outs: &[Tensor]) {
    let made = matches!(call.op.kernel, Kernel::Dynamic(_)) && mode::has_escaped();
    if made || call.tensors().any(depends) {
        outs.iter()
            .filter(|t| t.dtype().is_float())
            .for_each(|t| t.set_tainted(true));
    }
}

/// Whether what is computed from a tensor now is an intermediate of a custom function.
pub fn depends(t: &Tensor) -> bool {
    let marks = match mode::taint() {
        Taint::Off => false,
        Taint::Forward => t.is_tainted() || t.requires_grad(),
        Taint::Backward => t.is_tainted(),
    };
    marks && t.dtype().is_float()
}

/// Notes that a tensor's elements are handed to the host: see NOTE [Tainted intermediates].
#[inline]
pub fn hand_out(t: &Tensor) {
    if mode::taint() == Taint::Forward && depends(t) {
        mode::set_escaped();
    }
}

/// Marks a tensor made from data of the host's: see NOTE [Tainted intermediates].
#[inline]
pub fn take_in(t: &Tensor) {
    if mode::has_escaped() && t.dtype().is_float() {
        t.set_tainted(true);
    }
}

/// The device of a call: its tensors must agree, except that 0-d CPU tensors go anywhere.
pub fn device_of(inputs: &[Operand]) -> Result<Device> {
    let mut device = None;
    for t in inputs.iter().filter_map(Operand::as_tensor) {
        match device {
            None => device = Some(t.device()),
            Some(d) if d == t.device() => {}
            Some(d) => bail!(
                runtime,
                "Expected all tensors to be on the same device, but found at least two devices, \
                 {d} and {}! Move one with to()",
                t.device()
            ),
        }
    }
    Ok(device.unwrap_or_default())
}

/// Runs the kernel, between observers if there are any.
#[inline]
fn computed(call: &Call) -> Result<Outputs> {
    if mode::observed() {
        return observe::around(call, || execute(call));
    }
    execute(call)
}

/// Runs the kernel into new outputs.
fn execute(call: &Call) -> Result<Outputs> {
    match call.op.kernel {
        Kernel::Map { .. } | Kernel::Choose(_) => {
            let choice = meta::choose(call)?;
            let device = device_of(call.inputs)?;
            let out = match same_shape(call) {
                Some(x) => Tensor::empty_like(x, choice.dtype, device)?,
                None => Tensor::empty(meta::broadcast(call.inputs)?, choice.dtype, device)?,
            };
            map_into(call, &choice, &out)?;
            Ok(smallvec![out])
        }
        Kernel::View(layouts) => {
            let x = call.tensor(0);
            let layouts = layouts(call)?;
            let creation = match layouts.len() {
                _ if !mode::grad_enabled() => Creation::NoGrad,
                1 => Creation::Recorded,
                _ => Creation::MultiOutput,
            };
            let view = |(i, l)| x.make_view(l, call.op, call.attrs, i, creation);
            Ok(layouts.into_iter().enumerate().map(view).collect())
        }
        Kernel::Compute(f) | Kernel::Fused(f, _) => {
            let specs = (call.op.meta)(call)?;
            let device = device_of(call.inputs)?;
            let outs = specs
                .into_iter()
                .map(|s| Tensor::empty(s.shape, s.dtype, device))
                .collect::<Result<Outputs>>()?;
            if device != Device::Meta {
                let cx = KernelCx {
                    call,
                    outs: &outs,
                    backend: backend::of(device)?,
                };
                compute(call, &outs, || f(&cx))?;
            }
            Ok(outs)
        }
        Kernel::Update(f) => {
            let specs = (call.op.meta)(call)?;
            let device = device_of(call.inputs)?;
            let x = call.tensor(0);
            let out = Tensor::empty(x.shape().clone(), x.dtype(), device)?;
            debug_assert!(specs[0].shape == *x.shape() && specs[0].dtype == x.dtype());
            if device != Device::Meta {
                let backend = backend::of(device)?;
                copy::move_elements(backend, out.as_view(), x.as_view());
                let outs = std::slice::from_ref(&out);
                let cx = KernelCx {
                    call,
                    outs,
                    backend,
                };
                compute(call, outs, || f(&cx))?;
            }
            Ok(smallvec![out])
        }
        Kernel::Dynamic(f) => f(call),
        Kernel::Composite(_) => unreachable!("composites run their own ops"),
    }
}

/// The first tensor of a call, if all its tensors have one shape: the usual case.
#[inline]
fn same_shape<'a>(call: &Call<'a>) -> Option<&'a Tensor> {
    let mut tensors = call.inputs.iter().filter_map(Operand::as_tensor);
    let first = tensors.next()?;
    let same = |t: &Tensor| {
        Arc::ptr_eq(t.shared_layout(), first.shared_layout()) || t.shape() == first.shape()
    };
    tensors.all(same).then_some(first)
}

/// Runs an elementwise kernel into `out`, whose shape the inputs broadcast to.
fn map_into(call: &Call, choice: &Choice, out: &Tensor) -> Result<()> {
    if out.device() == Device::Meta {
        return Ok(());
    }
    let shape = out.shape();
    let is_like_out =
        |t: &Tensor| Arc::ptr_eq(t.shared_layout(), out.shared_layout()) || t.shape() == shape;
    let mut expanded: SmallVec<[Layout; 1]> = SmallVec::new();
    for t in call.tensors().filter(|t| !is_like_out(t)) {
        expanded.push(t.layout().broadcast_to(shape));
    }
    let mut next = expanded.iter();
    let mut ins: SmallVec<[Input; 3]> = SmallVec::new();
    let there = call.inputs.iter().filter(|x| x.is_some());
    for input in there.take(choice.f.arity()) {
        ins.push(match input {
            Operand::Tensor(t) if is_like_out(t) => Input::View(t.as_view()),
            Operand::Tensor(t) => Input::View(View {
                layout: next
                    .next()
                    .expect("one layout for each input of another shape"),
                ..t.as_view()
            }),
            Operand::Scalar(s) => Input::Scalar(match choice.numbers {
                Some(narrow) => s.rounded(narrow),
                None => *s,
            }),
            Operand::None => unreachable!("filtered out"),
        });
    }
    let backend = backend::of(out.device())?;
    compute(call, std::slice::from_ref(out), || {
        backend.map(
            choice.f,
            &choice.params,
            choice.compute,
            out.as_view(),
            &ins,
        );
    });
    Ok(())
}

/// Which inputs of a call need a gradient, as bits; 0 when nothing is to be recorded.
#[inline]
fn needs_grad(call: &Call) -> u64 {
    if !mode::grad_enabled() {
        return 0;
    }
    let mut needs = 0;
    for (i, input) in call.inputs.iter().enumerate() {
        if input.requires_grad() && call.op.grad(i).is_some() {
            needs |= 1 << i.min(63);
        }
    }
    needs
}

/// Records a node for a call and gives the outputs their history.
fn record(call: &Call, needs: u64, outs: &mut [Tensor]) -> Result<()> {
    let mut node = Some(make_node(call, needs, call.inputs, outs)?);
    if outs.iter().any(|out| !out.dtype().is_float()) {
        cut_here(call, outs.iter().filter(|out| !out.dtype().is_float()));
    }
    let is_float = |(_, out): &(usize, &mut Tensor)| out.dtype().is_float();
    let mut outs = outs.iter_mut().enumerate().filter(is_float).peekable();
    while let Some((i, out)) = outs.next() {
        // The last one takes the handle.
        let node = if outs.peek().is_some() {
            node.clone()
        } else {
            node.take()
        };
        out.begin_history(Edge {
            node: node.expect("taken by the last"),
            output: i as u32,
        });
    }
    Ok(())
}

/// A node for a call; `inputs` are what it found, before it wrote one of them in place.
fn make_node(call: &Call, needs: u64, inputs: &[Operand], outs: &[Tensor]) -> Result<NodeRef> {
    let op = call.op;
    let mut mask = 0;
    let mut edges: SmallVec<[Option<Edge>; 2]> = SmallVec::with_capacity(inputs.len());
    for (i, input) in inputs.iter().enumerate() {
        let edge = match (input.as_tensor(), op.grad(i)) {
            (Some(t), Some(grad)) if needs >> i.min(63) & 1 == 1 => {
                let edge = t.grad_edge()?;
                if edge.is_some() {
                    mask |= grad.reads;
                }
                edge
            }
            _ => None,
        };
        edges.push(edge);
    }
    // A rule may read more inputs than a call has: all tensors of a list.
    if inputs.len() < OUTPUTS as usize {
        mask &= ((1 << inputs.len()) - 1) | (!0 << OUTPUTS);
    }
    let mut saved: SmallVec<[Saved; 2]> = SmallVec::new();
    let mut bits = mask;
    while bits != 0 {
        let bit = bits.trailing_zeros();
        bits &= bits - 1;
        saved.push(if bit >= OUTPUTS {
            let i = bit - OUTPUTS;
            Saved::Tensor(SavedTensor::output(&outs[i as usize], Some(i), op.name)?)
        } else {
            match inputs.get(bit as usize) {
                Some(Operand::Tensor(t)) => {
                    ensure!(
                        !t.is_inference(),
                        runtime,
                        "Inference tensors cannot be saved for backward. Please do not use \
                         Tensors created in inference mode in computation tracked by autograd. To \
                         work around this, you can make a clone to get a normal tensor and use it \
                         in autograd, or use no_grad() instead of inference_mode()"
                    );
                    let edge = match &edges[bit as usize] {
                        Some(edge) => Some(edge.clone()),
                        None => t.grad_edge()?,
                    };
                    Saved::Tensor(SavedTensor::input(t, edge, op.name)?)
                }
                Some(Operand::Scalar(s)) => Saved::Scalar(*s),
                Some(Operand::None) | None => Saved::None,
            }
        });
    }
    let site = Site::current();
    if std::ptr::eq(op, &table::ADD) && outs[0].numel() == 1 {
        growth::check(op, &edges, site);
    }
    Ok(NodeRef::new(|n| {
        n.body = Body::Op(op);
        n.edges = edges;
        n.outputs.extend(outs.iter().map(Tensor::meta));
        n.inputs.extend(input_metas(inputs, &n.outputs[0]));
        n.attrs = call.attrs.clone();
        n.mask = mask;
        n.saved = saved;
        n.site = site;
    }))
}

/// Runs an op on its first input, in place, and returns nothing: the input is the result.
///
/// Everything is checked before the first element is written: leaves that require grad, views that
/// must not be written, overlapping memory, shape and type. Then the write, then the version, then
/// the record.
///
/// # Errors
/// As above; nothing is changed then.
pub fn run_in_place(op: &'static OpDef, inputs: &[Operand], attrs: &Attrs) -> Result<()> {
    run_overload_in_place(op, 0, inputs, attrs)
}

/// As [`run_in_place`], by one of the op's signatures.
///
/// # Errors
/// As [`run_in_place`].
pub fn run_overload_in_place(
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
    check_writable(x, recorded)?;
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
    let result = run_overload(op, overload, &sources, attrs)?.swap_remove(0);
    check_result(x, result.shape(), result.dtype())?;
    copy_(x, &result)?;
    // Messages name the op that was called.
    x.storage().set_writer(op.number(), Site::current().0);
    Ok(())
}

/// `x.copy_(src)`, recorded.
///
/// # Errors
/// As [`run_in_place`].
pub fn copy_(x: &Tensor, src: &Tensor) -> Result<()> {
    run_in_place(&table::COPY, &[x.into(), src.into()], &Attrs::new())
}

/// Writes one value everywhere, recorded, in the name of `writer`.
///
/// # Errors
/// As [`run_in_place`].
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
        needs_grad(call)
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
        taint(
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
        // An input without a clear history must be known before anything is written.
        Operand::Tensor(t) => t.grad_edge().map(|_| input.clone()),
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
    let node = make_node(call, needs, original, std::slice::from_ref(x))?;
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

/// PyTorch's conditions for writing a tensor in place, in its sentences.
///
/// # Errors
/// When the tensor must not be written.
pub fn check_writable(x: &Tensor, recorded: bool) -> Result<()> {
    ensure!(
        !x.layout().has_overlap(),
        runtime,
        "unsupported operation: more than one element of the written-to tensor refers to a single \
         memory location. Please clone() the tensor before performing the operation. It is {} with \
         strides {:?}",
        x.describe(),
        x.layout().strides
    );
    ensure!(
        !x.is_inference() || mode::inference(),
        runtime,
        "Inplace update to inference tensor outside InferenceMode is not allowed. You can make a \
         clone to get a normal tensor before doing inplace update. It is {}{}",
        x.describe(),
        x.cut().op().map_or_else(String::new, |op| format!(
            ", made by {op}{}",
            x.cut().site().at()
        ))
    );
    if !mode::grad_enabled() {
        return Ok(());
    }
    let base = x.view_info().map(|view| &view.base);
    if let Some(view) = x.view_info()
        && (recorded || view.base.requires_grad())
    {
        let base = &view.base;
        ensure!(
            view.generation == base.data_generation(),
            runtime,
            "a view whose base was given other elements since, by assigning to .data, is being modified \
             inplace: the base would take a history that is not that of its elements. Make the view \
             again, or write to a clone(). {}",
            x.describe_view(base, x.grad_fn())
        );
        match view.creation {
            Creation::Recorded => {}
            Creation::NoGrad => bail!(
                runtime,
                "A view was created in no_grad mode and is being modified inplace with grad mode \
                 enabled. Given that this use case is ambiguous and error-prone, it is forbidden. \
                 You can clarify your code by moving both the view and the inplace either both \
                 inside the no_grad block (if you don't want the inplace to be tracked) or both \
                 outside (if you want the inplace to be tracked). {}",
                x.describe_view(base, x.grad_fn())
            ),
            Creation::Custom => bail!(
                runtime,
                "This view was created inside a custom Function (or because an input was returned \
                 as-is) and is being modified inplace: the custom backward associated with the \
                 custom Function would be overridden, leading to incorrect gradients. This behavior \
                 is forbidden. You can fix this by cloning the output of the custom Function. {}",
                x.describe_view(base, x.grad_fn())
            ),
            Creation::MultiOutput => {
                let name = x
                    .grad_fn()
                    .map_or_else(|| "a view op".into(), |e| e.node.name());
                let output = x.grad_fn().map_or(0, |e| e.output);
                bail!(
                    runtime,
                    "Output {output} of {name} is a view and is being modified inplace. This view \
                     is the output of a function that returns multiple views. Such functions do \
                     not allow the output views to be modified inplace. You should replace the \
                     inplace operation by an out-of-place one, or write to one view at a time: \
                     select() or narrow(). {}",
                    x.describe_view(base, x.grad_fn())
                )
            }
        }
    }
    let is_leaf = |t: &Tensor| t.requires_grad() && t.is_leaf();
    ensure!(
        !is_leaf(x),
        runtime,
        "a leaf Variable that requires grad is being used in an in-place operation: it is {}. Wrap the \
         write in no_grad(), or write to a clone()",
        x.describe()
    );
    if let Some(base) = base.filter(|base| is_leaf(base)) {
        bail!(
            runtime,
            "a view of a leaf Variable that requires grad is being used in an in-place operation: {}. Wrap \
             the write in no_grad(), or write to a clone()",
            x.describe_view(base, x.grad_fn())
        )
    }
    Ok(())
}

/// Fails like the op would, without running it: the shapes and types of its results.
///
/// # Errors
/// As [`run`].
pub fn meta_of(op: &'static OpDef, inputs: &[Operand], attrs: &Attrs) -> Result<super::def::Specs> {
    let call = Call {
        op,
        inputs,
        attrs,
        overload: 0,
    };
    (op.meta)(&call).map_err(|e: Error| e.in_op(op.name))
}
