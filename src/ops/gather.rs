//! Looking up and writing along one dimension, by an index as large as what is found.

use super::def::{Batch, Call, Forms, IN, Jvp, Kernel, KernelCx, NOTHING, OUT, OpDef, grad, spec};
use super::index::long;
use super::region::size_of;
use super::shape::{arange_like, constant_pad};
use super::{cast, clamp_min, div, eq, expand, floor_divide, mul, reshape, where_};
use crate::backend::{Combine, View};
use crate::base::shape::wrap_dim;
use crate::base::{Attr, Attrs, DType, Device, Layout, Result, Scalar, Shape};
use crate::tape::{GradMode, VjpCx, mode};
use crate::tensor::{Operand, Tensor};
use crate::{bail, ensure};
use smallvec::{SmallVec, smallvec};

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &GATHER,
    &GATHER_EMBED,
    &TAKE_ALONG_DIM,
    &SCATTER,
    &SCATTER_ADD,
    &SCATTER_PROD,
    &SCATTER_EXTREME,
    &SCATTER_REDUCE,
    &INDEX_REDUCE,
];

functions! {
    /// Zeros of shape `size` with `src` added at `index` along `dim`: the transpose of [`gather`].
    gather_embed(src, index; size, dim) = GATHER_EMBED;
    /// `x` with `src` added at `index` along `dim`.
    scatter_add(x, index, src; dim) = SCATTER_ADD;
    /// `x` multiplied by `src` at `index` along `dim`.
    scatter_prod(x, index, src; dim) = SCATTER_PROD;
}

/// The elements of `x` at `index` along `dim`.
///
/// # Errors
/// When the index does not fit, or is out of range.
pub fn gather(
    x: impl Into<Operand>,
    index: impl Into<Operand>,
    dim: impl Into<Attr>,
) -> Result<Tensor> {
    let attrs: Attrs = [dim.into(), false.into()].into_iter().collect();
    super::dispatch::run1(&GATHER, &[x.into(), index.into()], &attrs)
}

/// The elements of `x` at `places`, which `values` are: looked up if that must be recorded.
pub(super) fn with_history(
    values: Tensor,
    x: &Tensor,
    places: &Tensor,
    dim: usize,
) -> Result<Tensor> {
    let recorded = mode::grad_enabled() && x.requires_grad();
    if recorded || mode::open_levels() > 0 || super::taint::depends(x) {
        return gather(x, places, dim);
    }
    Ok(values)
}

/// `x` with `src` (a tensor or a number) written at `index` along `dim`.
///
/// # Errors
/// As [`gather`].
pub fn scatter(
    x: impl Into<Operand>,
    index: impl Into<Operand>,
    src: impl Into<Operand>,
    dim: impl Into<Attr>,
) -> Result<Tensor> {
    let attrs: Attrs = [dim.into(), Attr::None].into_iter().collect();
    super::dispatch::run1(&SCATTER, &[x.into(), index.into(), src.into()], &attrs)
}

/// Checks an index against the tensor it looks up; the wrapped dimension.
fn check_index(call: &Call, x: &Shape, index: &Tensor, dim: i64) -> Result<usize> {
    let name = call.op.name;
    ensure!(
        matches!(index.dtype(), DType::I64 | DType::I32),
        runtime,
        "{name}(): Expected dtype int32/int64 for index, but got {}",
        index.dtype()
    );
    let dim = wrap_dim(dim, x.len())?;
    if index.numel() == 0 {
        return Ok(dim);
    }
    ensure!(
        index.ndim().max(1) == x.len().max(1),
        runtime,
        "Index tensor must have the same number of dimensions as input tensor: got {} and {x}",
        index.shape()
    );
    for d in (0..x.len().min(index.ndim())).filter(|&d| d != dim) {
        ensure!(
            index.shape()[d] <= x[d],
            runtime,
            "Size does not match at dimension {d} expected index {} to be no larger than self {x} \
             apart from dimension {dim}",
            index.shape()
        );
    }
    Ok(dim)
}

/// A tensor as a kernel sees it: with at least one dimension.
fn wide(t: &Tensor) -> Tensor {
    let mut layout = t.layout().clone();
    if layout.ndim() == 0 {
        layout.shape.push(1);
        layout.strides.push(1);
    }
    t.alias(layout)
}

/// `gather`.
pub static GATHER: OpDef = OpDef {
    name: "gather",
    doc: "`out[i][j].. = input[..][index[i][j]..][..]`, with the value of `index` in place of \
          coordinate `dim`. `index`, whose shape the result has, is outside `dim` nowhere larger \
          than `input`.\n\n>>> import rustgrad as rg\n\
          >>> rg.tensor([[1, 2], [3, 4]]).gather(1, rg.tensor([[0], [1]]))\n\
          tensor([[1],\n        [4]])",
    sig: &["(input, dim: int, index, *, sparse_grad: bool = False)"],
    meta: |call| {
        let (x, index) = (call.tensor(0), call.tensor(1));
        check_index(call, x.shape(), index, call.attrs.int(0))?;
        Ok(spec(index.shape().clone(), x.dtype()))
    },
    kernel: Kernel::Compute(|cx| {
        let (x, index, out) = (cx.call.tensor(0), cx.call.tensor(1), &cx.outs[0]);
        if out.numel() == 0 {
            return Ok(());
        }
        let dim = wrap_dim(cx.int(0), x.ndim())?;
        let (x, index, out) = (wide(x), wide(&long(index)?), wide(out));
        cx.backend
            .gather(out.as_view(), x.as_view(), dim, index.as_view())
    }),
    // Each read adds its gradient where it read.
    grads: &[
        grad(IN(1), |cx| {
            gather_embed(cx.grad(), cx.input(1)?, cx.shape(0), cx.attrs.int(0)).map(Some)
        }),
        None,
    ],
    jvp: Jvp::Linear,
    batch: Batch::Dims,
    ..OpDef::BASE
};

/// The transpose of [`GATHER`].
pub static GATHER_EMBED: OpDef = OpDef {
    name: "gather_embed",
    doc: "Zeros of shape `size` with `src` added at `index` along `dim`.",
    sig: &["(src, index, size: int[], dim: int)"],
    forms: Forms::HIDDEN,
    meta: |call| Ok(spec(size_of(call.attrs), call.tensor(0).dtype())),
    kernel: Kernel::Compute(|cx| {
        cx.backend.fill(cx.outs[0].as_view(), Scalar::Int(0));
        let (src, index) = (cx.call.tensor(0), cx.call.tensor(1));
        scatter_into(cx, Combine::Add, cx.int(1), index, src.as_view())
    }),
    grads: &[
        grad(IN(1), |cx| {
            gather(cx.grad(), cx.input(1)?, cx.attrs.int(1)).map(Some)
        }),
        None,
    ],
    jvp: Jvp::Linear,
    batch: Batch::Dims,
    ..OpDef::BASE
};

/// Scatters into output 0.
fn scatter_into(
    cx: &KernelCx,
    combine: Combine,
    dim: i64,
    index: &Tensor,
    src: View,
) -> Result<()> {
    let out = &cx.outs[0];
    if index.numel() == 0 {
        return Ok(());
    }
    let dim = wrap_dim(dim, out.ndim())?;
    let (out, index) = (wide(out), wide(&long(index)?));
    let mut layout = src.layout.clone();
    if layout.ndim() == 0 {
        layout = layout.broadcast_to(&[1].into());
    }
    let src = View {
        layout: &layout,
        ..src
    };
    cx.backend
        .scatter(combine, out.as_view(), dim, index.as_view(), src)
}

/// `take_along_dim`.
pub static TAKE_ALONG_DIM: OpDef = OpDef {
    name: "take_along_dim",
    doc: "As `gather`, where `input` and `indices` broadcast outside `dim`; without `dim`, of the \
          flattened tensors.",
    sig: &["(input, indices, dim: int? = None)"],
    kernel: Kernel::Composite(|call| {
        let (x, indices) = (call.tensor(0), call.tensor(1));
        ensure!(
            indices.dtype() == DType::I64,
            runtime,
            "torch.take_along_dim(): dtype of indices should be Long but got {}",
            indices.dtype().scalar_type_name()
        );
        let Some(dim) = call.attrs.int_opt(0) else {
            let flat = |t: &Tensor| reshape(t, &[t.numel()].into());
            return Ok(smallvec![gather(flat(x)?, flat(indices)?, 0i64)?]);
        };
        ensure!(
            x.ndim() == indices.ndim(),
            runtime,
            "torch.take_along_dim(): input and indices should have the same number of dimensions, \
             but got {} dimensions for input, and {} dimensions for indices",
            x.ndim(),
            indices.ndim()
        );
        let dim = wrap_dim(dim, x.ndim())?;
        if x.ndim() == 0 {
            return Ok(smallvec![gather(x, indices, dim)?]);
        }
        let mut other = indices.shape().clone();
        other[dim] = x.shape()[dim];
        let shape = x.shape().broadcast_or_err(&other)?;
        let mut found = shape.clone();
        found[dim] = indices.shape()[dim];
        let (x, indices) = (expand(x, &shape)?, expand(indices, &found)?);
        Ok(smallvec![gather(x, indices, dim)?])
    }),
    ..OpDef::COMPOSITE
};

/// The checks of all scatters.
fn scatter_meta(call: &Call) -> Result<super::def::Specs> {
    let (x, index) = (call.tensor(0), call.tensor(1));
    check_index(call, x.shape(), index, call.attrs.int(0))?;
    if let Some(src) = call.tensor_opt(2) {
        ensure!(
            src.dtype() == x.dtype(),
            runtime,
            "{}(): Expected self.dtype to be equal to src.dtype, got {} and {}",
            call.op.name,
            x.dtype(),
            src.dtype()
        );
        let fits = index.ndim().max(1) == src.ndim().max(1)
            && (0..index.ndim().min(src.ndim())).all(|d| index.shape()[d] <= src.shape()[d]);
        ensure!(
            fits || index.numel() == 0,
            runtime,
            "Expected index {} to be no larger than src {} in any dimension",
            index.shape(),
            src.shape()
        );
    }
    super::meta::like_input(call)
}

/// Scatters input 2, a tensor or a number, into the output.
fn scatter_operand(cx: &KernelCx, combine: Combine) -> Result<()> {
    let (index, out) = (cx.call.tensor(1), &cx.outs[0]);
    match &cx.call.inputs[2] {
        Operand::Tensor(src) => scatter_into(cx, combine, cx.int(0), index, src.as_view()),
        Operand::Scalar(value) => {
            let value = Tensor::scalar(*value, out.dtype(), out.device())?;
            let layout: Layout = value.layout().broadcast_to(index.shape());
            let src = super::copy::at(&value, &layout);
            scatter_into(cx, combine, cx.int(0), index, src)
        }
        Operand::None => bail!(runtime, "scatter needs a source"),
    }
}

/// The gradients at `index`, in the shape of the source, which may be larger: zeros there.
fn at_source(g: &Tensor, source: &Shape) -> Result<Tensor> {
    if g.shape() == source {
        return Ok(g.clone());
    }
    if g.ndim() != source.len() {
        return reshape(g, source);
    }
    let mut pad: SmallVec<[i64; 8]> = smallvec![];
    for (&n, &m) in source.iter().zip(g.shape().iter()).rev() {
        pad.extend([0, n as i64 - m as i64]);
    }
    constant_pad(g, pad.as_slice(), 0i64)
}

/// `scatter`.
pub static SCATTER: OpDef = OpDef {
    name: "scatter",
    doc: "`input` with `out[..][index[i][j]..][..] = src[i][j]..`, the value of `index` standing for \
          coordinate `dim`. `src` is a tensor, nowhere smaller than `index`, or a number. With \
          `reduce='add'` it is added, with `'multiply'` multiplied. Without, of several writes to \
          one place the last stays, and only its source gets a gradient.",
    sig: &[
        "(input, dim: int, index, src: Tensor|Scalar, *, reduce: str? = None)",
        "(input, dim: int, index, value: Tensor|Scalar, *, reduce: str? = None)",
    ],
    forms: Forms::ALL,
    meta: |call| {
        let product = combine_of(call.attrs)? == Combine::Mul;
        ensure!(
            !product || !mode::grad_enabled() || !call.tensors().any(Tensor::requires_grad),
            not_implemented,
            "reduce='multiply' has no gradient; scatter_reduce(dim, index, src, 'prod') has one"
        );
        scatter_meta(call)
    },
    kernel: Kernel::Update(|cx| scatter_operand(cx, combine_of(cx)?)),
    grads: &[
        // What was written over has no gradient.
        grad(IN(1), |cx| {
            if combine_of(cx.attrs)? == Combine::Add {
                return Ok(Some(cx.grad().clone()));
            }
            scatter(cx.grad(), cx.input(1)?, 0i64, cx.attrs.int(0)).map(Some)
        }),
        None,
        grad(IN(1), |cx| {
            let (index, dim) = (cx.tensor(1)?, cx.attrs.int(0));
            let mut g = gather(cx.grad(), &index, dim)?;
            if combine_of(cx.attrs)? == Combine::Set {
                let last = last_writers(&index, cx.shape(0), dim)?;
                g = where_(last, g, Scalar::Bool(false))?;
            }
            at_source(&g, cx.shape(2)).map(Some)
        }),
    ],
    // Linear in both, but for the product, which is refused.
    jvp: Jvp::Rule(|cx| {
        let (x, index) = (cx.call.tensor(0), &cx.call.inputs[1]);
        ensure!(
            combine_of(cx.call.attrs)? != Combine::Mul,
            not_implemented,
            "reduce='multiply' has no derivative; scatter_reduce(dim, index, src, 'prod') has one"
        );
        let t = match &cx.tangents[0] {
            Some(t) => t.clone(),
            None => Tensor::zeros(x.shape().clone(), x.dtype(), x.device())?,
        };
        let src = match (&cx.tangents[2], &cx.call.inputs[2]) {
            (Some(t), _) => Operand::from(t),
            (None, Operand::Tensor(s)) => {
                Tensor::zeros(s.shape().clone(), s.dtype(), s.device())?.into()
            }
            _ => Operand::from(0i64),
        };
        let inputs = [t.into(), index.clone(), src];
        let t = super::dispatch::run1(&SCATTER, &inputs, cx.call.attrs)?;
        Ok(smallvec![Some(t)])
    }),
    batch: Batch::Dims,
    ..OpDef::BASE
};

/// What the argument `reduce` means.
fn combine_of(attrs: &Attrs) -> Result<Combine> {
    Ok(match attrs.is_none(1) {
        true => Combine::Set,
        false => match attrs.str(1) {
            "add" => Combine::Add,
            "multiply" => Combine::Mul,
            other => bail!(
                runtime,
                "reduce argument must be either add or multiply, not '{other}'"
            ),
        },
    })
}

/// Where the last write to a place comes from: NOTE [Last writer] in `index`.
fn last_writers(index: &Tensor, x: &Shape, dim: i64) -> Result<Tensor> {
    let _unrecorded = GradMode::set(false);
    let own = reshape(&arange_like(index.numel(), index.device())?, index.shape())?;
    let stamps = Tensor::zeros(x.clone(), DType::I64, index.device())?;
    let stamps = scatter(stamps, index, &own, dim)?;
    eq(gather(stamps, index, dim)?, own)
}

/// `scatter_add`.
pub static SCATTER_ADD: OpDef = OpDef {
    name: "scatter_add",
    doc: "`input` with `out[..][index[i][j]..][..] += src[i][j]..`, the value of `index` standing \
          for coordinate `dim`.",
    sig: &["(input, dim: int, index, src)"],
    forms: Forms::ALL,
    meta: scatter_meta,
    kernel: Kernel::Update(|cx| scatter_operand(cx, Combine::Add)),
    grads: &[
        grad(NOTHING, |cx| Ok(Some(cx.grad().clone()))),
        None,
        grad(IN(1), |cx| {
            let g = gather(cx.grad(), cx.input(1)?, cx.attrs.int(0))?;
            at_source(&g, cx.shape(2)).map(Some)
        }),
    ],
    jvp: Jvp::Linear,
    batch: Batch::Dims,
    ..OpDef::BASE
};

/// The product of [`SCATTER_REDUCE`].
pub static SCATTER_PROD: OpDef = OpDef {
    name: "scatter_prod",
    doc: "`input` multiplied by `src` at `index` along `dim`.",
    sig: &["(input, dim: int, index, src)"],
    forms: Forms::HIDDEN,
    meta: scatter_meta,
    kernel: Kernel::Update(|cx| scatter_operand(cx, Combine::Mul)),
    grads: &[
        grad(IN(1) | IN(2), product_grad),
        None,
        grad(IN(0) | IN(1) | IN(2), product_grad),
    ],
    jvp: Jvp::DoubleVjp,
    batch: Batch::Dims,
    ..OpDef::BASE
};

/// The gradient of a product at each place: `g` times all other factors. With zeros among them:
/// the product of the factors that are not zero, where no other factor is. That is right once; its
/// own derivative at a zero would miss terms, so it raises.
fn product_grad(cx: &VjpCx) -> Result<Option<Tensor>> {
    let (index, dim, g) = (cx.tensor(1)?, cx.attrs.int(0), cx.grad());
    let src = cut(&cx.tensor(2)?, index.shape())?;
    if cx.arg == 0 {
        // d (x s1 s2 ..) / dx = s1 s2 ..
        let ones = Tensor::full(cx.shape(0).clone(), 1i64, g.dtype(), g.device())?;
        return mul(g, scatter_prod(ones, &index, &src, dim)?).map(Some);
    }
    let x = cx.tensor(0)?;
    let one_for_zero = |t: &Tensor| where_(eq(t, 0i64)?, 1i64, t);
    let count = {
        let _unrecorded = GradMode::set(false);
        let zeros = |t: &Tensor| cast(&eq(t, 0i64)?, DType::I64);
        scatter_add(zeros(&x)?, &index, zeros(&src)?, dim)?
    };
    let again = mode::grad_enabled() && (x.requires_grad() || src.requires_grad());
    if again && count.device() != Device::Meta && super::any(&count)?.item()?.as_bool() {
        bail!(
            not_implemented,
            "the second derivative of a scattered product with a factor of zero is not implemented; \
             move the zeros, or use masks"
        );
    }
    let product = scatter_prod(one_for_zero(&x)?, &index, one_for_zero(&src)?, dim)?;
    let others = div(gather(product, &index, dim)?, one_for_zero(&src)?)?;
    let count = gather(count, &index, dim)?;
    // No other zero: none at all, or this one alone.
    let is_zero = eq(&src, 0i64)?;
    let alone = eq(&count, cast(&is_zero, DType::I64)?)?;
    let g = mul(gather(g, &index, dim)?, others)?;
    let g = where_(alone, g, Scalar::Bool(false))?;
    at_source(&g, cx.shape(2)).map(Some)
}

/// The part of a source that an index reads.
fn cut(src: &Tensor, shape: &Shape) -> Result<Tensor> {
    let mut src = src.clone();
    for d in 0..shape.len().min(src.ndim()) {
        if src.shape()[d] != shape[d] {
            src = super::narrow(&src, d, 0, shape[d])?;
        }
    }
    Ok(src)
}

/// The extrema of [`SCATTER_REDUCE`].
pub static SCATTER_EXTREME: OpDef = OpDef {
    name: "scatter_extreme",
    doc: "The greatest (or least) of `input` and `src` at `index` along `dim`.",
    sig: &["(input, dim: int, index, src, greatest: bool)"],
    forms: Forms::HIDDEN,
    meta: scatter_meta,
    kernel: Kernel::Update(|cx| {
        scatter_operand(
            cx,
            if cx.bool(1) {
                Combine::Max
            } else {
                Combine::Min
            },
        )
    }),
    // Equal extrema share the gradient equally.
    grads: &[
        grad(IN(0) | IN(1) | IN(2) | OUT(0), |cx| {
            let share = extreme_share(cx)?;
            let own = eq(cx.input(0)?, cx.output(0)?)?;
            where_(own, share, Scalar::Bool(false)).map(Some)
        }),
        None,
        grad(IN(0) | IN(1) | IN(2) | OUT(0), |cx| {
            let (index, dim) = (cx.tensor(1)?, cx.attrs.int(0));
            let share = gather(extreme_share(cx)?, &index, dim)?;
            let src = cut(&cx.tensor(2)?, index.shape())?;
            let own = eq(src, gather(cx.output(0)?, &index, dim)?)?;
            at_source(&where_(own, share, Scalar::Bool(false))?, cx.shape(2)).map(Some)
        }),
    ],
    jvp: Jvp::DoubleVjp,
    batch: Batch::Dims,
    ..OpDef::BASE
};

/// The gradient of an extremum, divided by how many elements attain it.
fn extreme_share(cx: &VjpCx) -> Result<Tensor> {
    let (index, dim) = (cx.tensor(1)?, cx.attrs.int(0));
    let count = {
        let _unrecorded = GradMode::set(false);
        let out = cx.output(0)?;
        let src = cut(&cx.tensor(2)?, index.shape())?;
        let dtype = cx.grad().dtype();
        let own = cast(&eq(cx.input(0)?, &out)?, dtype)?;
        let from = cast(&eq(src, gather(&out, &index, dim)?)?, dtype)?;
        // NaN equals nothing: then nothing shares.
        clamp_min(scatter_add(own, &index, from, dim)?, 1i64)?
    };
    div(cx.grad(), count)
}

/// `scatter_reduce`.
pub static SCATTER_REDUCE: OpDef = OpDef {
    name: "scatter_reduce",
    doc: "`input` with the elements of `src` combined at `index` along `dim`, by `reduce`: 'sum', \
          'prod', 'mean', 'amax' or 'amin'. Without `include_self`, what `input` has there does not \
          count. Equal extrema share the gradient.",
    sig: &["(input, dim: int, index, src, reduce: str, *, include_self: bool = True)"],
    forms: Forms::ALL,
    kernel: Kernel::Composite(|call| {
        scatter_meta(call)?;
        let (x, index, src) = (call.tensor(0), call.tensor(1), call.tensor(2));
        Ok(smallvec![reduced(
            x,
            index,
            src,
            call.attrs.int(0),
            call.attrs.str(1),
            call.attrs.bool(2)
        )?])
    }),
    ..OpDef::COMPOSITE
};

fn reduced(
    x: &Tensor,
    index: &Tensor,
    src: &Tensor,
    dim: i64,
    reduce: &str,
    include_self: bool,
) -> Result<Tensor> {
    let start = |neutral: Scalar| match include_self {
        true => Ok(x.clone()),
        false => scatter(x, index, neutral, dim),
    };
    let bound = |greatest: bool| match (x.dtype(), greatest) {
        (DType::Bool, _) => Scalar::Bool(!greatest),
        (d, true) if d.is_float() => Scalar::Float(f64::NEG_INFINITY),
        (d, false) if d.is_float() => Scalar::Float(f64::INFINITY),
        (d, true) => Scalar::Int(d.integers()[0]),
        (d, false) => Scalar::Int(d.integers()[1]),
    };
    match reduce {
        "sum" => scatter_add(start(Scalar::Int(0))?, index, src, dim),
        "prod" => scatter_prod(start(Scalar::Int(1))?, index, src, dim),
        "mean" => {
            let sum = scatter_add(start(Scalar::Int(0))?, index, src, dim)?;
            let count = {
                let _unrecorded = GradMode::set(false);
                let ones = |s: &Shape| Tensor::full(s.clone(), 1i64, x.dtype(), x.device());
                let own = match include_self {
                    true => ones(x.shape())?,
                    false => scatter(ones(x.shape())?, index, 0i64, dim)?,
                };
                clamp_min(scatter_add(own, index, ones(src.shape())?, dim)?, 1i64)?
            };
            if x.dtype().is_float() {
                div(sum, count)
            } else {
                floor_divide(sum, count)
            }
        }
        "amax" | "amin" => {
            let greatest = reduce == "amax";
            let attrs: Attrs = [dim.into(), greatest.into()].into_iter().collect();
            let inputs = [start(bound(greatest))?.into(), index.into(), src.into()];
            super::dispatch::run1(&SCATTER_EXTREME, &inputs, &attrs)
        }
        other => bail!(
            runtime,
            "reduce argument must be either sum, prod, mean, amax or amin, got {other}"
        ),
    }
}

/// `index_reduce`.
pub static INDEX_REDUCE: OpDef = OpDef {
    name: "index_reduce",
    doc: "`input` with the slices of `source` combined at the indices of dimension `dim` that the \
          vector `index` names, by `reduce`: 'prod', 'mean', 'amax' or 'amin'.",
    sig: &["(input, dim: int, index, source, reduce: str, *, include_self: bool = True)"],
    forms: Forms::ALL,
    kernel: Kernel::Composite(|call| {
        let (x, index, source) = (call.tensor(0), call.tensor(1), call.tensor(2));
        ensure!(
            index.ndim() == 1 && x.ndim() == source.ndim() && x.ndim() > 0,
            runtime,
            "index_reduce(): index must be a vector, and source have the dimensions of self: got \
             shapes {}, {} and {}",
            index.shape(),
            source.shape(),
            x.shape()
        );
        let dim = wrap_dim(call.attrs.int(0), x.ndim())?;
        let mut along = Shape::filled(1, x.ndim());
        along[dim] = index.numel();
        let mut shape = x.shape().clone();
        shape[dim] = index.numel();
        ensure!(
            *source.shape() == shape,
            runtime,
            "index_reduce(): Source/destination tensor must have same slice shapes: got {} and {}",
            source.shape(),
            x.shape()
        );
        let index = expand(&reshape(&long(index)?, &along)?, &shape)?;
        let (reduce, include) = (call.attrs.str(1), call.attrs.bool(2));
        Ok(smallvec![reduced(
            x, &index, source, dim as i64, reduce, include
        )?])
    }),
    ..OpDef::COMPOSITE
};
