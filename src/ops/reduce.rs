//! Reductions.

use super::def::{Batch, Call, Jvp, Kernel, KernelCx, NOTHING, OpDef, Specs, grad, spec};
use super::{expand, reshape};
use crate::backend::Reduction;
use crate::base::shape::wrap_dims;
use crate::base::{DType, Layout, Result, Shape};
use crate::tape::VjpCx;
use crate::tensor::{Operand, Tensor};
use smallvec::SmallVec;

/// This family.
pub(super) static OPS: &[&OpDef] = &[&SUM, &ANY, &ALL];

functions! {
    /// Sum over dimensions.
    sum_dims(x; dim, keepdim, dtype) = SUM;
    /// Whether any element over dimensions is not zero.
    any_dims(x; dim, keepdim) = ANY;
    /// Whether all elements over dimensions are not zero.
    all_dims(x; dim, keepdim) = ALL;
}

/// Whether any element is not zero.
///
/// # Errors
/// When memory cannot be named.
pub fn any(x: impl Into<Operand>) -> Result<Tensor> {
    any_dims(x, None::<i64>, false)
}

/// Whether all elements are not zero.
///
/// # Errors
/// When memory cannot be named.
pub fn all(x: impl Into<Operand>) -> Result<Tensor> {
    all_dims(x, None::<i64>, false)
}

/// The sum of all elements.
///
/// # Errors
/// When memory cannot be named.
pub fn sum(x: impl Into<Operand>) -> Result<Tensor> {
    sum_dims(x, None::<i64>, false, None::<DType>)
}

/// The reduced dimensions of a call with `dim` in argument 0, ascending.
pub(super) fn dims_of(call: &Call) -> Result<SmallVec<[usize; 4]>> {
    let mut dims = wrap_dims(call.attrs.ints(0), call.tensor(0).ndim())?;
    dims.sort_unstable();
    Ok(dims)
}

/// `shape` with size 1 at `dims`, or without them.
pub(super) fn reduced_shape(shape: &Shape, dims: &[usize], keepdim: bool) -> Shape {
    let kept = shape.iter().enumerate();
    if keepdim {
        kept.map(|(i, &n)| if dims.contains(&i) { 1 } else { n })
            .collect()
    } else {
        kept.filter(|(i, _)| !dims.contains(i))
            .map(|(_, &n)| n)
            .collect()
    }
}

/// Shape of a reduction with `dim` and `keepdim` in arguments 0 and 1.
pub(super) fn reduced(call: &Call, dtype: DType) -> Result<Specs> {
    let dims = dims_of(call)?;
    Ok(spec(
        reduced_shape(call.tensor(0).shape(), &dims, call.attrs.bool(1)),
        dtype,
    ))
}

/// Runs a reduction kernel into output 0.
pub(super) fn reduce_into(cx: &KernelCx, f: Reduction) -> Result<()> {
    let x = cx.call.tensor(0);
    let dims = dims_of(cx.call)?;
    let out = &cx.outs[0];
    let kept = Layout::contiguous(reduced_shape(x.shape(), &dims, true));
    let view = crate::backend::View {
        layout: &kept,
        ..out.as_view()
    };
    cx.backend.reduce(f, view, x.as_view(), &dims);
    Ok(())
}

/// A gradient of the reduced shape, with the reduced dimensions put back as size 1.
pub(super) fn unreduce(cx: &VjpCx, g: &Tensor) -> Result<Tensor> {
    let shape = cx.shape(0);
    if cx.attrs.bool(1) {
        return Ok(g.clone());
    }
    let dims = wrap_dims(cx.attrs.ints(0), shape.len())?;
    reshape(g, &reduced_shape(shape, &dims, true))
}

/// Sum.
pub static SUM: OpDef = OpDef {
    name: "sum",
    doc: "Sum of the elements over `dim` (an int, a tuple, or all dimensions). Integers and bools \
          sum to int64 unless `dtype` says otherwise.",
    sig: &["(input, dim: int[]? = None, keepdim: bool = False, *, dtype: dtype? = None)"],
    meta: |call| {
        let x = call.tensor(0).dtype();
        let dtype = call
            .attrs
            .dtype(2)
            .unwrap_or(if x.is_float() { x } else { DType::I64 });
        reduced(call, dtype)
    },
    kernel: Kernel::Compute(|cx| reduce_into(cx, Reduction::Sum)),
    // d sum(x) = sum(dx), so every element gets the sum's gradient.
    grads: &[grad(NOTHING, |cx| {
        expand(&unreduce(cx, cx.grad())?, cx.shape(0)).map(Some)
    })],
    jvp: Jvp::Linear,
    batch: Batch::Dims,
    ..OpDef::BASE
};

/// Whether any element is not zero.
pub static ANY: OpDef = OpDef {
    name: "any",
    doc: "Whether any element over `dim` (an int, a tuple, or all dimensions) is not zero.",
    sig: &["(input, dim: int[]? = None, keepdim: bool = False)"],
    meta: |call| reduced(call, DType::Bool),
    kernel: Kernel::Compute(|cx| reduce_into(cx, Reduction::Any)),
    batch: Batch::Dims,
    ..OpDef::BASE
};

/// Whether all elements are not zero.
pub static ALL: OpDef = OpDef {
    name: "all",
    doc: "Whether all elements over `dim` (an int, a tuple, or all dimensions) are not zero.",
    sig: &["(input, dim: int[]? = None, keepdim: bool = False)"],
    meta: |call| reduced(call, DType::Bool),
    kernel: Kernel::Compute(|cx| reduce_into(cx, Reduction::All)),
    batch: Batch::Dims,
    ..OpDef::BASE
};
