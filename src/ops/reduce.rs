//! Reductions.

use super::def::{
    Batch, Call, Forms, IN, Jvp, Kernel, KernelCx, NOTHING, OUT, OpDef, Returns, Specs, grad, spec,
};
use super::{
    add, cast, clone, div, eq, exp, expand, gather, isinf, isnan, log, mul, ne, reshape, select,
    slice, sqrt, square, squeeze_dim, sub, unsqueeze, where_,
};
use crate::backend::Reduction;
use crate::base::dtype::default_dtype;
use crate::base::shape::{wrap_dim, wrap_dims};
use crate::base::{Attr, DType, Layout, Result, Shape};
use crate::tape::VjpCx;
use crate::tensor::{Operand, Tensor};
use crate::{bail, ensure};
use smallvec::{SmallVec, smallvec};

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &SUM,
    &MEAN,
    &PROD,
    &ANY,
    &ALL,
    &COUNT_NONZERO,
    &AMAX,
    &AMIN,
    &MAX_ALL,
    &MAX_DIM,
    &MAX_OF,
    &MIN_ALL,
    &MIN_DIM,
    &MIN_OF,
    &ARGMAX,
    &ARGMIN,
    &AMINMAX,
    &VAR,
    &VAR_UNBIASED,
    &STD,
    &STD_UNBIASED,
    &VAR_MEAN,
    &STD_MEAN,
    &LOGSUMEXP,
    &NANSUM,
    &NANMEAN,
    &NORM,
];

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

/// The mean over dimensions.
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

/// How many elements are reduced to one.
fn count(shape: &Shape, dims: &[usize]) -> usize {
    dims.iter().map(|&d| shape[d]).product()
}

/// Mean.
pub static MEAN: OpDef = OpDef {
    name: "mean",
    doc: "The mean over `dim` (an int, a tuple, or all dimensions) of a floating-point tensor.",
    sig: &["(input, dim: int[]? = None, keepdim: bool = False, *, dtype: dtype? = None)"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        let dtype = call.attrs.dtype(2).unwrap_or(x.dtype());
        ensure!(
            dtype.is_float(),
            runtime,
            "mean(): could not infer output dtype. Input dtype must be either a floating point or \
             complex dtype. Got: {}",
            dtype.scalar_type_name()
        );
        let n = count(x.shape(), &dims_of(call)?);
        let total = sum_dims(x, call.attrs.ints(0), call.attrs.bool(1), dtype)?;
        Ok(smallvec![div(total, n as f64)?])
    }),
    ..OpDef::COMPOSITE
};

/// Product over one dimension: the kernel of [`PROD`].
pub static PROD: OpDef = OpDef {
    name: "prod",
    doc: "The product over dimension `dim`, or of all elements. Integers and bools give int64.",
    sig: &[
        "(input, *, dtype: dtype? = None)",
        "(input, dim: int, keepdim: bool = False, *, dtype: dtype? = None)",
    ],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        let (x, dim, keepdim, dtype) = match call.overload {
            0 => (
                reshape(x, &Shape::from([x.numel()]))?,
                0,
                false,
                call.attrs.dtype(0),
            ),
            _ => {
                let dim = wrap_dim(call.attrs.int(0), x.ndim())?;
                (x.clone(), dim, call.attrs.bool(1), call.attrs.dtype(2))
            }
        };
        let dtype = dtype.unwrap_or(if x.dtype().is_float() {
            x.dtype()
        } else {
            DType::I64
        });
        let x = cast(&x, dtype)?;
        if x.ndim() == 0 {
            return Ok(smallvec![clone(&x)?]);
        }
        // A balanced tree of products: right, and differentiable, whatever zeros there are.
        let mut rows = movedim_front(&x, dim)?;
        if rows.shape()[0] == 0 {
            let mut shape = rows.shape().clone();
            shape[0] = 1;
            rows = Tensor::full(shape, 1i64, dtype, x.device())?;
        }
        while rows.shape()[0] > 1 {
            let n = rows.shape()[0];
            let half = n / 2;
            let left = slice(&rows, 0i64, 0i64, half, 1i64)?;
            let right = slice(&rows, 0i64, half, 2 * half, 1i64)?;
            let paired = mul(left, right)?;
            rows = if n % 2 == 1 {
                super::cat(&[paired, slice(&rows, 0i64, 2 * half, n, 1i64)?], 0)?
            } else {
                paired
            };
        }
        let out = select(rows, 0i64, 0i64)?;
        Ok(smallvec![if keepdim { unsqueeze(out, dim)? } else { out }])
    }),
    ..OpDef::COMPOSITE
};

/// Dimension `dim` brought to the front.
fn movedim_front(x: &Tensor, dim: usize) -> Result<Tensor> {
    let order: Vec<i64> = std::iter::once(dim)
        .chain((0..x.ndim()).filter(|d| *d != dim))
        .map(|d| d as i64)
        .collect();
    super::permute(x, order.as_slice())
}

/// Count of nonzero elements.
pub static COUNT_NONZERO: OpDef = OpDef {
    name: "count_nonzero",
    doc: "How many elements over `dim` (an int, a tuple, or all dimensions) are not zero.",
    sig: &["(input, dim: int[]? = None)"],
    kernel: Kernel::Composite(|call| {
        Ok(smallvec![sum_dims(
            ne(call.tensor(0), 0i64)?,
            call.attrs.ints(0),
            false,
            None::<DType>
        )?])
    }),
    ..OpDef::COMPOSITE
};

/// Extrema of nothing do not exist.
fn check_not_empty(call: &Call, dims: &[usize]) -> Result<()> {
    let x = call.tensor(0);
    ensure!(
        dims.iter().all(|&d| x.shape()[d] > 0),
        index,
        "{}(): Expected reduction dim to have non-zero size, but the shape is {}",
        call.op.name,
        x.shape()
    );
    Ok(())
}

/// The gradient of an extremum: shared equally among the elements that reach it.
fn shared(cx: &VjpCx) -> Result<Option<Tensor>> {
    let (x, y) = (cx.tensor(0)?, unreduce(cx, &cx.output(0)?)?);
    // Where the extremum is NaN, the NaN elements reached it.
    let reached = super::logical_or(eq(&x, &y)?, super::logical_and(isnan(&x)?, isnan(&y)?)?)?;
    let reached = cast(&reached, x.dtype())?;
    let n = sum_dims(&reached, cx.attrs.ints(0), true, None::<DType>)?;
    let share = div(unreduce(cx, cx.grad())?, n)?;
    mul(reached, share).map(Some)
}

macro_rules! extrema {
    ($( $(#[$doc:meta])* $NAME:ident $name:literal $f:ident $text:literal; )*) => { $(
        $(#[$doc])*
        pub static $NAME: OpDef = OpDef {
            name: $name,
            doc: $text,
            sig: &["(input, dim: int[]? = None, keepdim: bool = False)"],
            meta: |call| {
                check_not_empty(call, &dims_of(call)?)?;
                reduced(call, call.tensor(0).dtype())
            },
            kernel: Kernel::Compute(|cx| reduce_into(cx, Reduction::$f)),
            grads: &[grad(IN(0) | OUT(0), shared)],
            jvp: Jvp::DoubleVjp,
            batch: Batch::Dims,
            ..OpDef::BASE
        };
    )* };
}

extrema! {
    /// Greatest element.
    AMAX "amax" Max "The greatest element over `dim` (an int, a tuple, or all dimensions); NaN wins. \
        Equal elements share the gradient.";
    /// Least element.
    AMIN "amin" Min "The least element over `dim` (an int, a tuple, or all dimensions); NaN wins. \
        Equal elements share the gradient.";
}

functions! {
    /// The greatest element over dimensions.
    amax(x; dim, keepdim) = AMAX;
    /// The least element over dimensions.
    amin(x; dim, keepdim) = AMIN;
    /// The position of the greatest element.
    argmax(x; dim, keepdim) = ARGMAX;
    /// The position of the least element.
    argmin(x; dim, keepdim) = ARGMIN;
    /// `log(sum(exp(x)))` over dimensions.
    logsumexp(x; dim, keepdim) = LOGSUMEXP;
}

macro_rules! positions {
    ($( $(#[$doc:meta])* $NAME:ident $name:literal $f:ident $text:literal; )*) => { $(
        $(#[$doc])*
        pub static $NAME: OpDef = OpDef {
            name: $name,
            doc: $text,
            sig: &["(input, dim: int? = None, keepdim: bool = False)"],
            meta: |call| {
                let x = call.tensor(0);
                ensure!(
                    x.numel() > 0 || !call.attrs.is_none(0),
                    index,
                    "{}(): Expected reduction dim to be specified for input.numel() == 0. Specify \
                     the reduction dim with the 'dim' argument.",
                    call.op.name
                );
                check_not_empty(call, &dims_of(call)?)?;
                reduced(call, DType::I64)
            },
            kernel: Kernel::Compute(|cx| reduce_into(cx, Reduction::$f)),
            batch: Batch::Dims,
            ..OpDef::BASE
        };
    )* };
}

positions! {
    /// Position of the greatest element.
    ARGMAX "argmax" ArgMax "The position of the first greatest element along `dim`, or in the \
        flattened tensor.";
    /// Position of the least element.
    ARGMIN "argmin" ArgMin "The position of the first least element along `dim`, or in the flattened \
        tensor.";
}

macro_rules! max_and_min {
    ($( $ALL:ident $DIM:ident $OF:ident $name:literal $dim_name:literal $of_name:literal $amax:ident $arg:ident $maximum:ident $word:literal; )*) => { $(
        /// The extremum of all elements.
        pub static $ALL: OpDef = OpDef {
            name: $name,
            doc: concat!("The ", $word, " element; with `dim`, the ", $word, " element and its \
                position along that dimension; with `other`, elementwise."),
            sig: &["(input)"],
            kernel: Kernel::Composite(|call| {
                let x = call.tensor(0);
                ensure!(
                    x.numel() > 0,
                    runtime,
                    "{}(): Expected reduction dim to be specified for input.numel() == 0. Specify \
                     the reduction dim with the 'dim' argument.",
                    $name
                );
                Ok(smallvec![$amax(x, None::<i64>, false)?])
            }),
            ..OpDef::COMPOSITE
        };

        /// The extremum along a dimension, and its position.
        pub static $DIM: OpDef = OpDef {
            name: $dim_name,
            doc: concat!("The ", $word, " element along `dim`, and its position. The gradient goes to \
                that element."),
            sig: &["(input, dim: int, keepdim: bool = False)"],
            aliases: &[$name],
            returns: Returns::Named(&["values", "indices"]),
            kernel: Kernel::Composite(|call| {
                let x = call.tensor(0);
                let dim = wrap_dim(call.attrs.int(0), x.ndim())?;
                let keepdim = call.attrs.bool(1);
                let places = $arg(x, dim, true)?;
                let values = gather(x, &places, dim)?;
                if keepdim || x.ndim() == 0 {
                    return Ok(smallvec![values, places]);
                }
                Ok(smallvec![squeeze_dim(&values, dim)?, squeeze_dim(&places, dim)?])
            }),
            ..OpDef::COMPOSITE
        };

        /// The elementwise extremum.
        pub static $OF: OpDef = OpDef {
            name: $of_name,
            doc: concat!("The ", $word, " of two elements."),
            sig: &["(input, other)"],
            aliases: &[$name],
            kernel: Kernel::Composite(|call| {
                Ok(smallvec![super::$maximum(call.tensor(0), call.tensor(1))?])
            }),
            ..OpDef::COMPOSITE
        };
    )* };
}

max_and_min! {
    MAX_ALL MAX_DIM MAX_OF "max" "max_dim" "max_of" amax argmax maximum "greatest";
    MIN_ALL MIN_DIM MIN_OF "min" "min_dim" "min_of" amin argmin minimum "least";
}

/// Both extrema.
pub static AMINMAX: OpDef = OpDef {
    name: "aminmax",
    doc: "The least and the greatest element along `dim`, or of all.",
    sig: &["(input, *, dim: int? = None, keepdim: bool = False)"],
    returns: Returns::Named(&["min", "max"]),
    kernel: Kernel::Composite(|call| {
        let (x, dim, keepdim) = (call.tensor(0), call.attrs.int_opt(0), call.attrs.bool(1));
        Ok(smallvec![amin(x, dim, keepdim)?, amax(x, dim, keepdim)?])
    }),
    ..OpDef::COMPOSITE
};

/// Variance and mean over the dimensions in argument 0; `n - correction` divides.
fn variance(call: &Call, correction: f64, keepdim: bool) -> Result<(Tensor, Tensor)> {
    let x = call.tensor(0);
    ensure!(
        x.dtype().is_float(),
        runtime,
        "std and var only support floating point and complex dtypes, but got {}",
        x.dtype().scalar_type_name()
    );
    let dims = dims_of(call)?;
    let n = count(x.shape(), &dims) as f64;
    let mean = mean_dims(x, call.attrs.ints(0), true)?;
    let squares = square(sub(x, &mean)?)?;
    let total = sum_dims(squares, call.attrs.ints(0), keepdim, None::<DType>)?;
    let mean = if keepdim {
        mean
    } else {
        reshape(&mean, &reduced_shape(x.shape(), &dims, false))?
    };
    // With no degrees of freedom left: 0 / 0.
    Ok((div(total, (n - correction).max(0.0))?, mean))
}

macro_rules! variances {
    ($( $(#[$doc:meta])* $NAME:ident $UNBIASED:ident $name:literal $old:literal |$v:ident| $body:expr, $text:literal; )*) => { $(
        $(#[$doc])*
        pub static $NAME: OpDef = OpDef {
            name: $name,
            doc: $text,
            sig: &["(input, dim: int[]? = None, *, correction: Scalar? = 1, keepdim: bool = False)"],
            kernel: Kernel::Composite(|call| {
                let correction = call.attrs.float_opt(1).unwrap_or(1.0);
                let ($v, _) = variance(call, correction, call.attrs.bool(2))?;
                Ok(smallvec![$body])
            }),
            ..OpDef::COMPOSITE
        };

        /// The old form, with `unbiased`.
        pub static $UNBIASED: OpDef = OpDef {
            name: $old,
            doc: "The form with `unbiased` in place of `correction`.",
            sig: &[
                "(input, dim: int[]?, unbiased: bool, keepdim: bool = False)",
                "(input, dim: int[]? = None, *, unbiased: bool, keepdim: bool = False)",
                "(input, unbiased: bool)",
                "(input, dim: int[]?, correction: int, keepdim: bool)",
            ],
            aliases: &[$name],
            kernel: Kernel::Composite(|call| {
                if call.overload == 2 {
                    let unbiased = call.attrs.bool(0);
                    let all = [Attr::None].into_iter().collect();
                    let call = Call { attrs: &all, ..*call };
                    let ($v, _) = variance(&call, f64::from(u8::from(unbiased)), false)?;
                    return Ok(smallvec![$body]);
                }
                let correction = match call.overload {
                    3 => call.attrs.float(1),
                    _ => f64::from(u8::from(call.attrs.bool(1))),
                };
                let ($v, _) = variance(call, correction, call.attrs.bool(2))?;
                Ok(smallvec![$body])
            }),
            ..OpDef::COMPOSITE
        };
    )* };
}

variances! {
    /// Variance.
    VAR VAR_UNBIASED "var" "var_unbiased" |v| v, "The variance over `dim`: the sum of squared \
        distances from the mean over `n - correction`.";
    /// Standard deviation.
    STD STD_UNBIASED "std" "std_unbiased" |v| root(&v)?, "The square root of the variance over `dim`. \
        Its gradient where the variance is 0 is 0.";
}

/// The square root, with gradient 0 at 0.
fn root(v: &Tensor) -> Result<Tensor> {
    let zero = eq(v, 0i64)?;
    where_(&zero, 0i64, sqrt(where_(&zero, 1i64, v)?)?)
}

macro_rules! with_mean {
    ($( $(#[$doc:meta])* $NAME:ident $name:literal $field:literal |$v:ident| $body:expr, $text:literal; )*) => { $(
        $(#[$doc])*
        pub static $NAME: OpDef = OpDef {
            name: $name,
            doc: $text,
            sig: &["(input, dim: int[]? = None, *, correction: Scalar? = 1, keepdim: bool = False)"],
            returns: Returns::Tuple,
            forms: Forms::FUNCTION,
            kernel: Kernel::Composite(|call| {
                let correction = call.attrs.float_opt(1).unwrap_or(1.0);
                let ($v, mean) = variance(call, correction, call.attrs.bool(2))?;
                Ok(smallvec![$body, mean])
            }),
            ..OpDef::COMPOSITE
        };
    )* };
}

with_mean! {
    /// Variance and mean.
    VAR_MEAN "var_mean" "var" |v| v, "The variance and the mean over `dim`.";
    /// Standard deviation and mean.
    STD_MEAN "std_mean" "std" |v| root(&v)?, "The standard deviation and the mean over `dim`.";
}

/// `log(sum(exp))`.
pub static LOGSUMEXP: OpDef = OpDef {
    name: "logsumexp",
    doc: "`log(sum(exp(input)))` over `dim`, without overflow.",
    sig: &["(input, dim: int[], keepdim: bool = False)"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        let x = if x.dtype().is_float() {
            x.clone()
        } else {
            cast(x, default_dtype())?
        };
        let (dim, keepdim) = (call.attrs.ints(0), call.attrs.bool(1));
        if x.numel() == 0 {
            return Ok(smallvec![log(sum_dims(
                exp(x)?,
                dim,
                keepdim,
                None::<DType>
            )?)?]);
        }
        // Shifted by the greatest element, which is a constant: the shift cancels.
        let greatest = {
            let _unrecorded = crate::tape::GradMode::set(false);
            let m = amax(x.alias(x.layout().clone()), dim, true)?;
            where_(isinf(&m)?, 0i64, m)?
        };
        let total = log(sum_dims(
            exp(sub(x, &greatest)?)?,
            dim,
            keepdim,
            None::<DType>,
        )?)?;
        let shift = if keepdim {
            greatest
        } else {
            reshape(&greatest, total.shape())?
        };
        Ok(smallvec![add(total, shift)?])
    }),
    ..OpDef::COMPOSITE
};

/// Zero where NaN.
fn without_nan(x: &Tensor) -> Result<Tensor> {
    where_(isnan(x)?, 0i64, x)
}

/// Sum of what is not NaN.
pub static NANSUM: OpDef = OpDef {
    name: "nansum",
    doc: "The sum over `dim` of the elements that are not NaN.",
    sig: &["(input, dim: int[]? = None, keepdim: bool = False, *, dtype: dtype? = None)"],
    kernel: Kernel::Composite(|call| {
        let x = without_nan(call.tensor(0))?;
        Ok(smallvec![sum_dims(
            x,
            call.attrs.ints(0),
            call.attrs.bool(1),
            call.attrs.dtype(2)
        )?])
    }),
    ..OpDef::COMPOSITE
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
        let (dim, keepdim, dtype) = (call.attrs.ints(0), call.attrs.bool(1), call.attrs.dtype(2));
        let n = sum_dims(super::logical_not(isnan(x)?)?, dim, keepdim, None::<DType>)?;
        Ok(smallvec![div(
            sum_dims(without_nan(x)?, dim, keepdim, dtype)?,
            n
        )?])
    }),
    ..OpDef::COMPOSITE
};

/// The `p`-norm over dimensions (all for none).
///
/// # Errors
/// When the elements are not floating point.
pub fn norm(x: &Tensor, p: f64, dim: &[i64], keepdim: bool) -> Result<Tensor> {
    ensure!(
        x.dtype().is_float(),
        runtime,
        "linalg.vector_norm: Expected a floating point or complex tensor as input. Got {}",
        x.dtype().scalar_type_name()
    );
    let total = |t: Tensor| sum_dims(t, dim, keepdim, None::<DType>);
    let magnitude = || super::abs(x);
    if p == 2.0 {
        // sqrt at 0 has no slope: the subgradient of the norm at the zero vector is 0.
        return root(&total(square(x)?)?);
    }
    if p == 1.0 {
        return total(magnitude()?);
    }
    if p == 0.0 {
        return cast(&total(ne(x, 0i64)?)?, x.dtype());
    }
    if p == f64::INFINITY {
        return if x.numel() == 0 {
            total(magnitude()?)
        } else {
            amax(magnitude()?, dim, keepdim)
        };
    }
    if p == f64::NEG_INFINITY {
        return amin(magnitude()?, dim, keepdim);
    }
    let powers = total(super::pow(magnitude()?, p)?)?;
    let zero = eq(&powers, 0i64)?;
    where_(
        &zero,
        0i64,
        super::pow(where_(&zero, 1i64, &powers)?, 1.0 / p)?,
    )
}

/// `norm`.
pub static NORM: OpDef = OpDef {
    name: "norm",
    doc: "The `p`-norm over `dim`: `sum(abs(input)**p)**(1/p)`, the greatest magnitude for infinity, \
          the count of nonzero elements for 0. Its gradient at the zero vector is 0 for `p >= 1`.",
    sig: &[
        "(input, p: float? = 2, dim: int[]? = None, keepdim: bool = False, *, dtype: dtype? = None)",
        "(input, p: str, dim: int[]? = None, keepdim: bool = False, *, dtype: dtype? = None)",
    ],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        let p = match call.overload {
            0 => call.attrs.float_opt(0).unwrap_or(2.0),
            _ => match call.attrs.str(0) {
                "fro" => 2.0,
                other => bail!(
                    runtime,
                    "norm: the order '{other}' is not available; 'fro' and numbers are"
                ),
            },
        };
        let x = call
            .attrs
            .dtype(3)
            .map_or_else(|| Ok(x.clone()), |d| cast(x, d))?;
        Ok(smallvec![norm(
            &x,
            p,
            call.attrs.ints(1),
            call.attrs.bool(2)
        )?])
    }),
    ..OpDef::COMPOSITE
};
