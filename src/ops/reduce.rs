//! Sums, means, products, truth.
//!
//! Reductions take their dimensions in argument 0 (none given: all) and `keepdim` in argument 1;
//! [`dims_of`], [`reduced`], [`reduce_into`] and [`unreduce`] rely on it.

use super::copy::raw;
use super::def::{
    Batch, Call, Forms, IN, Jvp, Kernel, KernelCx, NOTHING, OUT, OpDef, Specs, grad, spec,
};
use super::{
    cast, cat, cumprod, div, expand, flip, isnan, logical_not, mul, ne, reshape, slice, where_,
};
use crate::backend::{self, Backend, Functor, Input, Reduction, View};
use crate::base::shape::{wrap_dim, wrap_dims};
use crate::base::{Attr, DType, Device, Layout, Result, Scalar, Shape};
use crate::ensure;
use crate::tape::{VjpCx, mode};
use crate::tensor::{Operand, Tensor};
use smallvec::{SmallVec, smallvec};

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &SUM,
    &MEAN,
    &PROD,
    &PROD_DIMS,
    &ANY,
    &ALL,
    &COUNT_NONZERO,
    &NANSUM,
    &NANMEAN,
];

functions! {
    /// Sum over dimensions.
    sum_dims(x; dim, keepdim, dtype) = SUM;
    /// Sum over dimensions of what is not NaN.
    nansum(x; dim, keepdim, dtype) = NANSUM;
    /// Product over dimensions: one, or all.
    prod_dims(x; dim, keepdim, dtype) = PROD_DIMS;
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

/// The mean over dimensions (all for none).
///
/// # Errors
/// When the elements are not floating point.
pub fn mean_dims(x: impl Into<Operand>, dim: &[i64], keepdim: bool) -> Result<Tensor> {
    super::dispatch::run1(
        &MEAN,
        &[x.into()],
        &[dim.into(), keepdim.into(), Attr::None]
            .into_iter()
            .collect(),
    )
}

/// The mean of all elements.
///
/// # Errors
/// When the elements are not floating point.
pub fn mean(x: impl Into<Operand>) -> Result<Tensor> {
    mean_dims(x, &[], false)
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

/// Reduces `x` into `out`, whose shape may lack the reduced dimensions.
pub(super) fn reduce_to(
    backend: &dyn Backend,
    f: Reduction,
    out: &Tensor,
    x: &Tensor,
    dims: &[usize],
) {
    let kept = Layout {
        offset: out.layout().offset,
        ..Layout::contiguous(reduced_shape(x.shape(), dims, true))
    };
    let view = View {
        layout: &kept,
        ..out.as_view()
    };
    backend.reduce(f, view, x.as_view(), dims);
}

/// Runs a reduction kernel into output 0.
pub(super) fn reduce_into(cx: &KernelCx, f: Reduction) -> Result<()> {
    let dims = dims_of(cx.call)?;
    reduce_to(cx.backend, f, &cx.outs[0], cx.call.tensor(0), &dims);
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

/// How many elements are reduced to one.
pub(super) fn count(shape: &Shape, dims: &[usize]) -> usize {
    dims.iter().map(|&d| shape[d]).product()
}

/// The result type of sums and products.
fn accumulator(call: &Call, dtype: Option<DType>) -> DType {
    let x = call.tensor(0).dtype();
    dtype.unwrap_or(if x.is_float() { x } else { DType::I64 })
}

/// Sum.
pub static SUM: OpDef = OpDef {
    name: "sum",
    doc: "Sum of the elements over `dim` (an int, a tuple, or all dimensions). Integers and bools \
          sum to int64 unless `dtype` says otherwise.\n\n\
          >>> rg.tensor([[1, 2], [3, 4]]).sum(0)\ntensor([4, 6])",
    sig: &["(input, dim: int[]? = None, keepdim: bool = False, *, dtype: dtype? = None)"],
    meta: |call| reduced(call, accumulator(call, call.attrs.dtype(2))),
    kernel: Kernel::Compute(|cx| reduce_into(cx, Reduction::Sum)),
    // d sum(x) = sum(dx), so every element gets the sum's gradient.
    grads: &[grad(NOTHING, |cx| {
        expand(&unreduce(cx, cx.grad())?, cx.shape(0)).map(Some)
    })],
    jvp: Jvp::Linear,
    batch: Batch::Dims,
    ..OpDef::BASE
};

/// The sum of all elements straight from the kernel, which nothing records or observes.
///
/// # Errors
/// When the tensor has no elements to read: on [`Device::Meta`].
pub fn total(x: &Tensor) -> Result<f64> {
    let out = Tensor::empty(Shape::new(), x.dtype(), x.device())?;
    let backend = backend::of(x.device())?;
    let dims: SmallVec<[usize; 4]> = (0..x.ndim()).collect();
    let sum = || reduce_to(backend, Reduction::Sum, &out, x, &dims);
    super::dispatch::unlocked(x.numel(), sum);
    Ok(out.item()?.as_f64())
}

/// Mean.
pub static MEAN: OpDef = OpDef {
    name: "mean",
    doc: "The mean over `dim` (an int, a tuple, or all dimensions) of a floating-point tensor; that of \
          nothing is NaN.\n\n>>> rg.tensor([[1.0, 2.0], [3.0, 4.0]]).mean(1)\ntensor([1.5000, 3.5000])",
    sig: &["(input, dim: int[]? = None, keepdim: bool = False, *, dtype: dtype? = None)"],
    meta: |call| {
        let given = call.attrs.dtype(2);
        let dtype = given.unwrap_or(call.tensor(0).dtype());
        ensure!(
            dtype.is_float(),
            runtime,
            "mean(): could not infer output dtype. {} dtype must be either a floating point or \
             complex dtype. Got: {}; pass dtype=, or cast the input",
            if given.is_some() { "Optional" } else { "Input" },
            dtype.scalar_type_name()
        );
        reduced(call, dtype)
    },
    kernel: Kernel::Compute(|cx| {
        let (x, out, dims) = (cx.call.tensor(0), &cx.outs[0], dims_of(cx.call)?);
        let n = count(x.shape(), &dims);
        // The sum of many numbers of a half type may exceed what the type holds, the mean does not.
        let wide = out.dtype().compute();
        let total = if wide == out.dtype() {
            raw(out)
        } else {
            Tensor::empty(out.shape().clone(), wide, out.device())?
        };
        reduce_to(cx.backend, Reduction::Sum, &total, x, &dims);
        let ins = [
            Input::View(total.as_view()),
            Input::Scalar(Scalar::Float(n as f64)),
        ];
        cx.backend.map(Functor::Div, &[], wide, out.as_view(), &ins);
        Ok(())
    }),
    // d mean(x) = sum(dx) / n
    grads: &[grad(NOTHING, |cx| {
        let dims = wrap_dims(cx.attrs.ints(0), cx.shape(0).len())?;
        // Of nothing there is no element to give anything to.
        let n = count(cx.shape(0), &dims).max(1) as f64;
        expand(&div(unreduce(cx, cx.grad())?, n)?, cx.shape(0)).map(Some)
    })],
    jvp: Jvp::Linear,
    batch: Batch::Dims,
    ..OpDef::BASE
};

/// Product.
pub static PROD: OpDef = OpDef {
    name: "prod",
    doc: "The product over dimension `dim`, or of all elements. Integers and bools give int64 unless \
          `dtype` says otherwise. Its gradients, of any order, are right where elements are 0.\n\n\
          >>> rg.tensor([[1, 2], [3, 4]]).prod(1)\ntensor([ 2, 12])",
    sig: &[
        "(input, *, dtype: dtype? = None)",
        "(input, dim: int, keepdim: bool = False, *, dtype: dtype? = None)",
    ],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        Ok(smallvec![match call.overload {
            0 => prod_dims(x, None::<i64>, false, call.attrs.dtype(0))?,
            _ => prod_dims(
                x,
                call.attrs.int(0),
                call.attrs.bool(1),
                call.attrs.dtype(2)
            )?,
        }])
    }),
    ..OpDef::COMPOSITE
};

/// The kernel of [`PROD`].
pub static PROD_DIMS: OpDef = OpDef {
    name: "prod_exact",
    doc: "The product over one dimension, or all.",
    sig: &["(input, dim: int[]?, keepdim: bool, dtype: dtype?)"],
    forms: Forms::HIDDEN,
    meta: |call| reduced(call, accumulator(call, call.attrs.dtype(2))),
    kernel: Kernel::Compute(|cx| reduce_into(cx, Reduction::Prod)),
    // d prod(x) = sum over i of (product of the others) dx[i]
    grads: &[grad(IN(0) | OUT(0), |cx| {
        let (x, y) = (cx.tensor(0)?, cx.output(0)?);
        let g = unreduce(cx, cx.grad())?;
        // A quotient has this value, but not these derivatives where a factor is tiny.
        if !mode::grad_enabled() && is_divisible(&y)? {
            return div(mul(g, unreduce(cx, &y)?)?, x).map(Some);
        }
        let x = cast(&x, y.dtype())?;
        let others = match cx.attrs.ints(0) {
            &[d] if x.ndim() > 0 => product_of_others(&x, wrap_dim(d, x.ndim())?)?,
            _ => {
                let flat = reshape(&x, &Shape::from([x.numel()]))?;
                reshape(&product_of_others(&flat, 0)?, x.shape())?
            }
        };
        mul(g, others).map(Some)
    })],
    jvp: Jvp::DoubleVjp,
    batch: Batch::Dims,
    ..OpDef::BASE
};

/// For each element, the product of the others along `dim`: what comes before it times what comes
/// after it.
fn product_of_others(x: &Tensor, dim: usize) -> Result<Tensor> {
    let n = x.shape()[dim];
    if n == 0 {
        return Ok(x.clone());
    }
    let mut edge = x.shape().clone();
    edge[dim] = 1;
    let one = Tensor::full(edge, 1i64, x.dtype(), x.device())?;
    let d = dim as i64;
    let before = |x: &Tensor| {
        let shifted = cat(&[one.clone(), slice(x, d, 0i64, n - 1, 1i64)?], d)?;
        cumprod(shifted, d, None::<DType>)
    };
    mul(before(x)?, flip(before(&flip(x, [d])?)?, [d])?)
}

/// Whether every element of a tensor of products is so far from 0, infinity and NaN that it can be
/// divided by its factors without loss. Without elements to look at: no.
fn is_divisible(y: &Tensor) -> Result<bool> {
    if y.device() == Device::Meta {
        return Ok(false);
    }
    if y.numel() == 0 {
        return Ok(true);
    }
    let (least, most) = match y.dtype() {
        DType::F64 => (1e-280, 1e280),
        DType::F16 => (1e-3, 6e4),
        _ => (1e-30, 1e37),
    };
    let size = super::abs(raw(y))?;
    let extremum = |t: Result<Tensor>| -> Result<f64> { Ok(t?.item()?.as_f64()) };
    Ok(extremum(super::amin(&size, None::<i64>, false))? >= least
        && extremum(super::amax(&size, None::<i64>, false))? <= most)
}

macro_rules! truths {
    ($( $(#[$doc:meta])* $NAME:ident $name:literal $f:ident $text:literal; )*) => { $(
        $(#[$doc])*
        pub static $NAME: OpDef = OpDef {
            name: $name,
            doc: $text,
            sig: &["(input, dim: int[]? = None, keepdim: bool = False)"],
            // As in PyTorch, uint8 stays uint8: it was its first type of truth values.
            meta: |call| {
                let x = call.tensor(0).dtype();
                reduced(call, if x == DType::U8 { x } else { DType::Bool })
            },
            kernel: Kernel::Compute(|cx| reduce_into(cx, Reduction::$f)),
            batch: Batch::Dims,
            ..OpDef::BASE
        };
    )* };
}

truths! {
    /// Whether any element is not zero.
    ANY "any" Any "Whether any element over `dim` (an int, a tuple, or all dimensions) is not \
        zero.\n\n>>> rg.tensor([0, 1]).any()\ntensor(True)";
    /// Whether all elements are not zero.
    ALL "all" All "Whether all elements over `dim` (an int, a tuple, or all dimensions) are not \
        zero.\n\n>>> rg.tensor([0, 1]).all()\ntensor(False)";
}

/// Count of nonzero elements.
pub static COUNT_NONZERO: OpDef = OpDef {
    name: "count_nonzero",
    doc: "How many elements over `dim` (an int, a tuple, or all dimensions) are not zero, as int64.\n\n\
          >>> rg.tensor([0, 3, 5]).count_nonzero()\ntensor(2)",
    sig: &["(input, dim: int[]? = None)"],
    kernel: Kernel::Composite(|call| {
        let truth = ne(raw(call.tensor(0)), 0i64)?;
        let dim = call.attrs.ints(0);
        Ok(smallvec![sum_dims(truth, dim, false, None::<DType>)?])
    }),
    ..OpDef::COMPOSITE
};

/// Sum of what is not NaN.
pub static NANSUM: OpDef = OpDef {
    name: "nansum",
    doc: "The sum over `dim` of the elements that are not NaN.",
    kernel: Kernel::Compute(|cx| reduce_into(cx, Reduction::SumNumbers)),
    // d nansum(x) = sum(dx) of the elements that are not NaN
    grads: &[grad(IN(0), |cx| {
        let g = unreduce(cx, cx.grad())?;
        where_(isnan(cx.input(0)?)?, 0i64, g).map(Some)
    })],
    jvp: Jvp::DoubleVjp,
    ..SUM
};

/// Mean of what is not NaN.
pub static NANMEAN: OpDef = OpDef {
    name: "nanmean",
    doc: "The mean over `dim` of the elements that are not NaN.",
    sig: &["(input, dim: int[]? = None, keepdim: bool = False, *, dtype: dtype? = None)"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        ensure!(
            x.dtype().is_float(),
            runtime,
            "nanmean(): expected input to have floating point or complex dtype but got {}",
            x.dtype().scalar_type_name()
        );
        let (dim, keepdim) = (call.attrs.ints(0), call.attrs.bool(1));
        let dtype = call.attrs.dtype(2).unwrap_or(x.dtype());
        let n = sum_dims(logical_not(isnan(raw(x))?)?, dim, keepdim, None::<DType>)?;
        // The sum of many numbers of a half type may exceed what the type holds.
        let total = nansum(x, dim, keepdim, dtype.compute())?;
        Ok(smallvec![cast(&div(total, n)?, dtype)?])
    }),
    ..OpDef::COMPOSITE
};
