//! Moving elements: clones, casts and writes in place.

use super::def::{Forms, Kernel, KernelCx, NOTHING, OpDef, Promote, grad};
use crate::backend::{self, Backend, Functor, Input, View};
use crate::base::{DType, Device, Layout, Result};
use crate::tensor::Tensor;

/// This family.
pub(super) static OPS: &[&OpDef] = &[&CLONE, &CAST, &COPY];

functions! {
    /// A copy with elements of its own.
    clone(x) = CLONE;
}

/// A copy with elements of its own.
pub static CLONE: OpDef = OpDef {
    name: "clone",
    doc: "A copy of `input` with elements of its own, dense in row-major order.\n\nGradients flow through it unchanged.",
    sig: &["(input, *, memory_format: any? = None)"],
    forms: Forms::BOTH,
    kernel: Kernel::Map {
        f: Functor::Copy,
        promote: Promote::Arith,
    },
    // d clone(x) = dx
    grads: &[grad(NOTHING, |cx| Ok(Some(cx.grad().clone())))],
    ..OpDef::MAP
};

/// A copy in another element type.
pub static CAST: OpDef = OpDef {
    name: "to_dtype",
    doc: "A copy of `input` with elements of type `dtype`; floats truncate toward zero in integers.",
    sig: &["(input, dtype: dtype)"],
    forms: Forms::HIDDEN,
    kernel: Kernel::Map {
        f: Functor::Copy,
        promote: Promote::Cast,
    },
    // The gradient comes back in the input's type; the engine casts it.
    grads: &[grad(NOTHING, |cx| Ok(Some(cx.grad().clone())))],
    ..OpDef::MAP
};

/// The write in place: `x` takes the elements of `src`, cast and broadcast.
pub static COPY: OpDef = OpDef {
    name: "copy",
    doc: "Writes the elements of `src`, cast and broadcast, into the tensor, and returns it.",
    sig: &["(input, src: Tensor|Scalar, non_blocking: bool = False)"],
    forms: Forms {
        function: false,
        method: false,
        in_place: true,
        nn: false,
    },
    kernel: Kernel::Map {
        f: Functor::Copy,
        promote: Promote::Arith,
    },
    // The old elements are gone, so their gradient is zero; the source's is the result's.
    grads: &[
        grad(NOTHING, |_| Ok(None)),
        grad(NOTHING, |cx| Ok(Some(cx.grad().clone()))),
    ],
    ..OpDef::MAP
};

/// The tensor itself if it has this element type, else a copy that has.
///
/// # Errors
/// When memory for the copy cannot be named.
pub fn cast(x: &Tensor, dtype: DType) -> Result<Tensor> {
    if x.dtype() == dtype {
        return Ok(x.clone());
    }
    super::dispatch::run1(&CAST, &[x.into()], &[dtype.into()].into_iter().collect())
}

/// A dense copy of the elements, without history.
///
/// # Errors
/// When memory for the copy cannot be named.
pub fn clone_data(x: &Tensor) -> Result<Tensor> {
    let out = Tensor::empty(x.shape().clone(), x.dtype(), x.device())?;
    if x.device() != Device::Meta {
        let ins = [Input::View(x.as_view())];
        backend::of(x.device())?.map(Functor::Copy, &[], x.dtype().compute(), out.as_view(), &ins);
    }
    Ok(out)
}

/// The tensor itself if its elements are dense in row-major order, else a copy that is.
///
/// # Errors
/// When memory for the copy cannot be named.
pub fn contiguous(x: &Tensor) -> Result<Tensor> {
    if x.is_contiguous() {
        Ok(x.clone())
    } else {
        clone(x)
    }
}

/// Some elements of a tensor's storage, as a kernel sees them.
pub(super) fn at<'a>(t: &'a Tensor, layout: &'a Layout) -> View<'a> {
    View {
        layout,
        ..t.as_view()
    }
}

/// Copies elements into others of the same shape, with a cast.
pub(super) fn move_elements(backend: &dyn Backend, to: View, from: View) {
    let compute = super::meta::copy_compute(from.dtype, to.dtype);
    backend.map(Functor::Copy, &[], compute, to, &[Input::View(from)]);
}

/// The elements without history or tangents: kernels made of several steps run ops on them, which
/// record nothing.
pub(super) fn raw(x: &Tensor) -> Tensor {
    x.alias(x.shared_layout().clone())
}

/// Output `i` takes as many elements, in order.
pub(super) fn copy_into(cx: &KernelCx, i: usize, t: &Tensor) {
    let layout = Layout::contiguous(t.shape().clone());
    move_elements(cx.backend, at(&cx.outs[i], &layout), t.as_view());
}
