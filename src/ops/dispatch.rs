//! The one door: every op, from everywhere, runs through here.
//!
//! Promote, broadcast, check, allocate or view, run the kernel, record, push tangents forward.
//!
//! NOTE [Moved operands]
//! An elementwise kernel may write its result over an operand, and a [`Kernel::Over`] over its first
//! one, which saves a pass through memory. It does so where nothing is recorded and the operand's
//! handle and buffer are held by the call alone: the caller has moved it into the call, and nobody can
//! look at it again. So `mul(sub(a, b)?, c)` takes one buffer, and a gradient that a rule takes
//! ([`VjpCx::take_grad`](crate::tape::VjpCx::take_grad)) becomes the next one in place. Operands from
//! a host language are held there too.

use super::def::{Call, Choice, Cost, Follower, Kernel, KernelCx, OpDef};
use super::{copy, meta, observe, record, taint};
use crate::backend::{self, Input, View};
use crate::bail;
use crate::base::{Attrs, DType, Device, Error, Layout, Result, Shape};
use crate::tape::{Outputs, Taint, mode};
use crate::tensor::{Creation, Operand, Tensor};
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
        taint::mark(call, &outs);
    }
    let needs = record::needs_grad(call);
    if needs != 0 && !outs.is_empty() {
        record::history(call, needs, &mut outs)?;
    } else {
        record::cut(call, &outs);
    }
    if mode::open_levels() > 0 {
        push_forward(call, &outs)?;
    }
    Ok(outs)
}

fn push_forward(call: &Call, outs: &[Tensor]) -> Result<()> {
    FORWARD.get().map_or(Ok(()), |forward| forward(call, outs))
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
                Some(x) => match moved(call.inputs, x.shape(), choice.dtype) {
                    Some(x) => written_over(x),
                    None => Tensor::empty_like(x, choice.dtype, device)?,
                },
                None => {
                    let shape = meta::broadcast(call.inputs)?;
                    match moved(call.inputs, &shape, choice.dtype) {
                        Some(x) => written_over(x),
                        None => Tensor::empty(shape, choice.dtype, device)?,
                    }
                }
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
        Kernel::Compute(f) | Kernel::Over(f) | Kernel::Fused(f, _) => {
            let specs = (call.op.meta)(call)?;
            let device = device_of(call.inputs)?;
            let mut over = match call.op.kernel {
                Kernel::Over(_) => moved(&call.inputs[..1], &specs[0].shape, specs[0].dtype),
                _ => None,
            };
            let outs = specs
                .into_iter()
                .map(|s| match over.take() {
                    Some(x) => Ok(written_over(x)),
                    None => Tensor::empty(s.shape, s.dtype, device),
                })
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

/// An operand that a result of this shape and type may be written over: see NOTE [Moved operands].
#[inline]
fn moved<'a>(inputs: &'a [Operand], shape: &Shape, dtype: DType) -> Option<&'a Tensor> {
    if mode::grad_enabled() {
        return None;
    }
    let is_moved = |t: &&Tensor| {
        t.is_unique()
            && t.dtype() == dtype
            && t.shape() == shape
            && t.fills_storage()
            && !t.requires_grad()
    };
    let mut operands = inputs.iter().filter_map(Operand::as_tensor);
    let operand = operands.find(is_moved)?;
    let is_seen = mode::observed() || mode::open_levels() > 0 || mode::taint() != Taint::Off;
    (!is_seen).then_some(operand)
}

/// A new tensor in the place of a moved one.
fn written_over(x: &Tensor) -> Tensor {
    Tensor::from_parts(x.storage().clone(), x.shared_layout().clone(), x.dtype())
}

/// The first tensor of a call, if all its tensors have one shape: the usual case.
#[inline]
pub(super) fn same_shape<'a>(call: &Call<'a>) -> Option<&'a Tensor> {
    let mut tensors = call.inputs.iter().filter_map(Operand::as_tensor);
    let first = tensors.next()?;
    let same = |t: &Tensor| {
        Arc::ptr_eq(t.shared_layout(), first.shared_layout()) || t.shape() == first.shape()
    };
    tensors.all(same).then_some(first)
}

/// Runs an elementwise kernel into `out`, whose shape the inputs broadcast to.
pub(super) fn map_into(call: &Call, choice: &Choice, out: &Tensor) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use crate::Tensor;
    use crate::base::Result;
    use crate::ops;
    use crate::tape::GradMode;

    fn tensor() -> Result<Tensor> {
        Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [2, 2])
    }

    #[test]
    fn results_are_written_over_operands_that_nobody_else_holds() -> Result<()> {
        let _mode = GradMode::set(false);
        let x = tensor()?;
        let place = x.storage().id();
        let y = ops::mul(x, tensor()?)?;
        assert_eq!(y.storage().id(), place);
        let y = ops::add(&tensor()?, y)?;
        assert_eq!(y.storage().id(), place);
        assert_eq!(ops::sum(&y)?.item()?.as_f64(), 40.0);
        Ok(())
    }

    #[test]
    fn a_backward_step_is_written_over_the_cotangent_alone() -> Result<()> {
        let _mode = GradMode::set(false);
        let y = ops::softmax::softmax(tensor()?, 1i64)?;
        let want = ops::softmax::softmax_backward(&tensor()?, &y, 1i64)?.to_vec()?;
        let g = tensor()?;
        let place = g.storage().id();
        let dx = ops::softmax::softmax_backward(g, &y, 1i64)?;
        assert_eq!(dx.storage().id(), place);
        assert_eq!(dx.to_vec()?, want);
        // The output that it reads is no place for it.
        let (g, place) = (tensor()?, y.storage().id());
        let dx = ops::softmax::softmax_backward(&g, y, 1i64)?;
        assert_ne!(dx.storage().id(), place);
        assert_eq!(dx.to_vec()?, want);
        assert_eq!(g.to_vec()?, tensor()?.to_vec()?);
        Ok(())
    }

    #[test]
    fn other_operands_stay_as_they_are() -> Result<()> {
        let own = |x: Tensor, seen: &Tensor, other: &dyn Fn(Tensor) -> Result<Tensor>| {
            let place = x.storage().id();
            let y = other(x)?;
            assert_ne!(y.storage().id(), place);
            assert_eq!(seen.to_vec()?, tensor()?.to_vec()?);
            Ok(())
        };
        let double = |x: Tensor| ops::add(x, 1i64);
        let x = tensor()?;
        own(x.clone(), &x, &|x| ops::add(&x, 1i64))?;
        {
            let _mode = GradMode::set(false);
            // Held by a handle, by a view, in another type, and broadcast.
            own(x.clone(), &x, &double)?;
            own(x.detach(), &x, &double)?;
            own(tensor()?, &x, &|x| ops::gt(x, 1i64))?;
            let row = Tensor::from_slice(&[1.0f32, 1.0], [2])?;
            own(row, &x, &|row| ops::add(row, &x))?;
        }
        // Recorded operations keep what they read.
        own(tensor()?, &x, &double)
    }
}
