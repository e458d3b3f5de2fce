//! Views of parts of a tensor, and what puts a part back in its place.

use super::def::{Batch, Forms, Jvp, Kernel, NOTHING, OpDef, grad, spec};
use crate::base::shape::wrap_dim;
use crate::base::{Attr, Attrs, Result, Scalar, Shape};
use crate::ensure;
use crate::tensor::{Tensor, ViewStep};
use smallvec::smallvec;

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &SELECT,
    &SLICE,
    &NARROW,
    &DIAGONAL,
    &EMBED,
    &VIEW_SCATTER,
    &SELECT_SCATTER,
    &SLICE_SCATTER,
    &DIAGONAL_SCATTER,
];

functions! {
    /// One index of a dimension, which goes away.
    select(x; dim, index) = SELECT;
    /// Every `step`-th index of a dimension from `start` up to `end`.
    slice(x; dim, start, end, step) = SLICE;
    /// The diagonal of two dimensions, as the last dimension.
    diagonal(x; offset, dim1, dim2) = DIAGONAL;
}

/// `length` indices of a dimension, from `start` on.
///
/// # Errors
/// When the dimension does not exist.
pub fn narrow(x: &Tensor, dim: usize, start: usize, length: usize) -> Result<Tensor> {
    slice(x, dim, start, start + length, 1i64)
}

/// `select`.
pub static SELECT: OpDef = OpDef {
    name: "select",
    doc: "Index `index` of dimension `dim`, which goes away.",
    sig: &["(input, dim: int, index: int)"],
    kernel: Kernel::View(|call| {
        let x = call.tensor(0);
        ensure!(
            x.ndim() > 0,
            index,
            "select() cannot be applied to a 0-dim tensor."
        );
        let dim = wrap_dim(call.attrs.int(0), x.ndim())?;
        let (i, n) = (call.attrs.int(1), x.shape()[dim] as i64);
        ensure!(
            -n <= i && i < n,
            index,
            "select(): index {i} out of range for tensor of size {} at dimension {dim}",
            x.shape()
        );
        let mut layout = x.layout().clone();
        layout.offset += (if i < 0 { i + n } else { i }) as usize * layout.strides[dim];
        layout.shape.remove(dim);
        layout.strides.remove(dim);
        Ok(smallvec![layout])
    }),
    // Zero but for the selected index.
    grads: &[grad(NOTHING, |cx| {
        embed(cx.grad(), cx.shape(0), &SELECT, cx.attrs).map(Some)
    })],
    ..OpDef::VIEW
};

/// A slice of one dimension, as Python's.
pub static SLICE: OpDef = OpDef {
    name: "slice",
    doc: "Every `step`-th index of dimension `dim`, from `start` up to `end`, as Python slices.",
    sig: &["(input, dim: int = 0, start: int? = None, end: int? = None, step: int = 1)"],
    forms: Forms::HIDDEN,
    kernel: Kernel::View(|call| {
        let x = call.tensor(0);
        ensure!(
            x.ndim() > 0,
            runtime,
            "slice() cannot be applied to a 0-dim tensor."
        );
        let dim = wrap_dim(call.attrs.int(0), x.ndim())?;
        let step = call.attrs.int(3);
        ensure!(step > 0, value, "step must be greater than zero");
        let (start, len) = slice_of(
            x.shape()[dim],
            call.attrs.int_opt(1),
            call.attrs.int_opt(2),
            step as usize,
        );
        let mut layout = x.layout().clone();
        layout.offset += start * layout.strides[dim];
        layout.shape[dim] = len;
        layout.strides[dim] *= step as usize;
        Ok(smallvec![layout])
    }),
    // Zero but for the slice.
    grads: &[grad(NOTHING, |cx| {
        embed(cx.grad(), cx.shape(0), &SLICE, cx.attrs).map(Some)
    })],
    ..OpDef::VIEW
};

/// Where a slice of a dimension of size `n` starts, and how many indices it has.
pub(super) fn slice_of(
    n: usize,
    start: Option<i64>,
    end: Option<i64>,
    step: usize,
) -> (usize, usize) {
    let limit = |i: i64| (if i < 0 { i.saturating_add(n as i64) } else { i }).clamp(0, n as i64);
    let start = start.map_or(0, limit) as usize;
    let end = end.map_or(n, |e| limit(e) as usize);
    (start, end.saturating_sub(start).div_ceil(step))
}

/// `narrow`.
pub static NARROW: OpDef = OpDef {
    name: "narrow",
    doc: "`length` indices of dimension `dim`, from `start` on.",
    sig: &["(input, dim: int, start: int, length: int)"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        ensure!(
            x.ndim() > 0,
            runtime,
            "narrow() cannot be applied to a 0-dim tensor."
        );
        let dim = wrap_dim(call.attrs.int(0), x.ndim())?;
        let (start, length) = (call.attrs.int(1), call.attrs.int(2));
        let n = x.shape()[dim] as i64;
        ensure!(
            length >= 0,
            runtime,
            "narrow(): length must be non-negative."
        );
        ensure!(
            -n <= start && start <= n,
            index,
            "start out of range (expected to be in range of [{}, {n}], but got {start})",
            -n
        );
        let start = if start < 0 { start + n } else { start };
        ensure!(
            length <= n - start,
            runtime,
            "start ({start}) + length ({length}) exceeds dimension size ({n})."
        );
        Ok(smallvec![narrow(x, dim, start as usize, length as usize)?])
    }),
    ..OpDef::COMPOSITE
};

/// `diagonal`.
pub static DIAGONAL: OpDef = OpDef {
    name: "diagonal",
    doc: "The elements `input[.., i, .., i + offset, ..]` of dimensions `dim1` and `dim2`, which go \
          away; `i` becomes the last dimension.",
    sig: &["(input, offset: int = 0, dim1: int = 0, dim2: int = 1)"],
    kernel: Kernel::View(|call| {
        let x = call.tensor(0);
        let (a, b) = (call.attrs.int(1), call.attrs.int(2));
        let (d1, d2) = (wrap_dim(a, x.ndim())?, wrap_dim(b, x.ndim())?);
        ensure!(
            d1 != d2,
            runtime,
            "diagonal dimensions cannot be identical {a}, {b}"
        );
        let mut layout = x.layout().clone();
        let offset = call.attrs.int(0);
        // The diagonal starts `offset` columns to the right, or rows down.
        let skip = |d: usize, by: i64| x.shape()[d].saturating_sub(by.max(0) as usize);
        let n = skip(d1, offset.saturating_neg()).min(skip(d2, offset));
        let (s1, s2) = (layout.strides[d1], layout.strides[d2]);
        if n > 0 {
            layout.offset += offset.unsigned_abs() as usize * if offset < 0 { s1 } else { s2 };
        }
        for d in [d1.max(d2), d1.min(d2)] {
            layout.shape.remove(d);
            layout.strides.remove(d);
        }
        layout.shape.push(n);
        layout.strides.push(s1 + s2);
        Ok(smallvec![layout])
    }),
    // Zero but for the diagonal.
    grads: &[grad(NOTHING, |cx| {
        embed(cx.grad(), cx.shape(0), &DIAGONAL, cx.attrs).map(Some)
    })],
    ..OpDef::VIEW
};

/// Zeros of shape `size`, but for the elements that a view reaches: those are `src`.
///
/// # Errors
/// When `src` does not have the view's shape.
pub(super) fn embed(
    src: &Tensor,
    size: &Shape,
    op: &'static OpDef,
    attrs: &Attrs,
) -> Result<Tensor> {
    let step = ViewStep::new(None, op, attrs.clone(), 0);
    let attrs: Attrs = [Attr::from(size), Attr::Any(step)].into_iter().collect();
    super::dispatch::run1(&EMBED, &[src.into()], &attrs)
}

/// The transpose of a view.
pub static EMBED: OpDef = OpDef {
    name: "view_embed",
    doc: "Zeros of shape `size`, but for the elements that a view reaches: those are `src`.",
    sig: &["(src, size: int[], chain: any)"],
    forms: Forms::HIDDEN,
    meta: |call| Ok(spec(size_of(call.attrs), call.tensor(0).dtype())),
    kernel: Kernel::Compute(|cx| {
        let _unrecorded = crate::tape::GradMode::set(false);
        let (out, src) = (&cx.outs[0], cx.call.tensor(0));
        cx.backend.fill(out.as_view(), Scalar::Int(0));
        let region = cx.any::<ViewStep>(1).replay(&out.detach())?;
        super::copy::move_elements(cx.backend, region.as_view(), src.as_view());
        Ok(())
    }),
    // The view.
    grads: &[grad(NOTHING, |cx| {
        cx.attrs.any::<ViewStep>(1).replay(cx.grad()).map(Some)
    })],
    jvp: Jvp::Linear,
    batch: Batch::Loop,
    ..OpDef::BASE
};

/// Argument 0, the sizes of a result.
pub(super) fn size_of(attrs: &Attrs) -> Shape {
    attrs.ints(0).iter().map(|&n| n as usize).collect()
}

/// `base` with the elements that a chain of views reaches replaced by `src`.
///
/// # Errors
/// When `src` does not have the view's shape.
pub fn view_scatter(
    base: &Tensor,
    src: &Tensor,
    chain: &std::sync::Arc<ViewStep>,
) -> Result<Tensor> {
    let attrs: Attrs = [Attr::Any(chain.clone())].into_iter().collect();
    super::dispatch::run1(&VIEW_SCATTER, &[base.into(), src.into()], &attrs)
}

/// What a write into a view does to its base. See NOTE [Views].
pub static VIEW_SCATTER: OpDef = OpDef {
    name: "view_scatter",
    doc: "`base` with the elements that a chain of views reaches replaced by `src`.",
    sig: &["(base, src, chain: any)"],
    forms: Forms::HIDDEN,
    meta: |call| Ok(spec(call.tensor(0).shape().clone(), call.tensor(0).dtype())),
    kernel: Kernel::Compute(|cx| {
        let _unrecorded = crate::tape::GradMode::set(false);
        let data = |t: &Tensor| t.alias(t.layout().clone());
        super::in_place::copy_(&cx.outs[0], &data(cx.call.tensor(0)))?;
        let region = cx.any::<ViewStep>(0).replay(&data(&cx.outs[0]))?;
        super::in_place::copy_(&region, &data(cx.call.tensor(1)))
    }),
    grads: &[
        // The base's elements, but for the region, which was replaced.
        grad(NOTHING, |cx| {
            let zeros = Tensor::zeros(cx.shape(1).clone(), cx.grad().dtype(), cx.grad().device())?;
            super::dispatch::run1(&VIEW_SCATTER, &[cx.grad().into(), zeros.into()], cx.attrs)
                .map(Some)
        }),
        // The region.
        grad(NOTHING, |cx| {
            cx.attrs.any::<ViewStep>(0).replay(cx.grad()).map(Some)
        }),
    ],
    jvp: Jvp::Linear,
    batch: Batch::Loop,
    ..OpDef::BASE
};

/// `base` with the elements of one view replaced.
fn scatter_into(base: &Tensor, src: &Tensor, op: &'static OpDef, attrs: &Attrs) -> Result<Tensor> {
    let region = super::dispatch::meta_of(op, &[base.into()], attrs)?;
    ensure!(
        region[0].shape == *src.shape(),
        runtime,
        "expected src to have a size equal to the slice of self. src size = {}, slice size = {}",
        src.shape(),
        region[0].shape
    );
    let step = ViewStep::new(None, op, attrs.clone(), 0);
    super::cast(&view_scatter(base, src, &step)?, base.dtype())
}

/// `select_scatter`.
pub static SELECT_SCATTER: OpDef = OpDef {
    name: "select_scatter",
    doc: "A copy of `input` with index `index` of dimension `dim` replaced by `src`.",
    sig: &["(input, src, dim: int, index: int)"],
    kernel: Kernel::Composite(|call| {
        let (x, src) = (call.tensor(0), call.tensor(1));
        Ok(smallvec![scatter_into(x, src, &SELECT, call.attrs)?])
    }),
    ..OpDef::COMPOSITE
};

/// `slice_scatter`.
pub static SLICE_SCATTER: OpDef = OpDef {
    name: "slice_scatter",
    doc: "A copy of `input` with a slice of dimension `dim` replaced by `src`.",
    sig: &["(input, src, dim: int = 0, start: int? = None, end: int? = None, step: int = 1)"],
    kernel: Kernel::Composite(|call| {
        let (x, src) = (call.tensor(0), call.tensor(1));
        Ok(smallvec![scatter_into(x, src, &SLICE, call.attrs)?])
    }),
    ..OpDef::COMPOSITE
};

/// `diagonal_scatter`.
pub static DIAGONAL_SCATTER: OpDef = OpDef {
    name: "diagonal_scatter",
    doc: "A copy of `input` with its diagonal (see `diagonal`) replaced by `src`.",
    sig: &["(input, src, offset: int = 0, dim1: int = 0, dim2: int = 1)"],
    kernel: Kernel::Composite(|call| {
        let (x, src) = (call.tensor(0), call.tensor(1));
        Ok(smallvec![scatter_into(x, src, &DIAGONAL, call.attrs)?])
    }),
    ..OpDef::COMPOSITE
};
