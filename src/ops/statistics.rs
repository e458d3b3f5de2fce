//! Variances and norms.

use super::copy::{copy_into, raw};
use super::def::{Batch, Call, Forms, IN, Jvp, Kernel, KernelCx, OUT, OpDef, Returns, grad};
use super::reduce::{count, dims_of, reduced, unreduce};
use super::{
    abs, amax, amin, cast, dispatch, div, eq, logical_or, mean_dims, mul, ne, pow, sign, sqrt, sub,
    sum_dims, where_,
};
use crate::backend::Reduction;
use crate::base::shape::wrap_dims;
use crate::base::{Attr, DType, Result};
use crate::tape::VjpCx;
use crate::tensor::Tensor;
use crate::{bail, ensure};
use smallvec::smallvec;

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &VAR,
    &STD,
    &VAR_MEAN,
    &STD_MEAN,
    &VARIANCE,
    &NORM,
    &LINALG_VECTOR_NORM,
    &VECTOR_NORM,
];

functions! {
    /// Variance over dimensions; `n - correction` divides.
    variance(x; dim, keepdim, correction) = VARIANCE;
    /// The norm of order `ord` over dimensions.
    vector_norm(x; dim, keepdim, ord) = VECTOR_NORM;
}

/// Half types in single precision: their sums of squares may exceed what they hold.
fn wide(x: &Tensor) -> Result<Tensor> {
    cast(x, x.dtype().compute())
}

/// The square root, with gradient 0 at 0.
fn root(v: &Tensor) -> Result<Tensor> {
    let zero = eq(v, 0i64)?;
    where_(&zero, 0i64, sqrt(where_(&zero, 1i64, v)?)?)
}

fn check_float(x: &Tensor) -> Result<()> {
    ensure!(
        x.dtype().is_float(),
        runtime,
        "std and var only support floating point and complex dtypes, but got {}",
        x.dtype().scalar_type_name()
    );
    Ok(())
}

/// The arguments of any of [`SPREAD`]: dimensions, `keepdim`, correction.
fn arguments(call: &Call) -> (Attr, bool, f64) {
    let a = call.attrs;
    let dim = || a.iter().next().cloned().unwrap_or_default();
    let unbiased = |i| f64::from(u8::from(a.bool(i)));
    match call.overload {
        0 => (dim(), a.bool(2), a.float_opt(1).unwrap_or(1.0)),
        1 | 2 => (dim(), a.bool(2), unbiased(1)),
        _ => (Attr::None, false, unbiased(0)),
    }
}

const SPREAD: &[&str] = &[
    "(input, dim: int[]? = None, *, correction: Scalar? = 1, keepdim: bool = False)",
    "(input, dim: int[]?, unbiased: bool, keepdim: bool = False)",
    "(input, dim: int[]? = None, *, unbiased: bool, keepdim: bool = False)",
    "(input, unbiased: bool)",
];

macro_rules! spreads {
    ($( $(#[$doc:meta])* $NAME:ident $name:literal $root:literal $mean:literal $returns:expr, $forms:expr, $text:literal; )*) => { $(
        $(#[$doc])*
        pub static $NAME: OpDef = OpDef {
            name: $name,
            doc: $text,
            sig: SPREAD,
            returns: $returns,
            forms: $forms,
            kernel: Kernel::Composite(|call| {
                let x = call.tensor(0);
                check_float(x)?;
                let (dim, keepdim, correction) = arguments(call);
                let v = if $root {
                    let v = root(&variance(wide(x)?, dim.clone(), keepdim, correction)?)?;
                    cast(&v, x.dtype())?
                } else {
                    variance(x, dim.clone(), keepdim, correction)?
                };
                if !$mean {
                    return Ok(smallvec![v]);
                }
                let attrs = [dim, keepdim.into(), Attr::None].into_iter().collect();
                let mean = dispatch::run1(&super::MEAN, &[x.into()], &attrs)?;
                Ok(smallvec![v, mean])
            }),
            ..OpDef::COMPOSITE
        };
    )* };
}

spreads! {
    /// Variance.
    VAR "var" false false Returns::One, Forms::BOTH, "The variance over `dim` (an int, a tuple, or all \
        dimensions): the sum of squared distances from the mean over `n - correction`; \
        `unbiased=False` is a correction of 0.\n\n\
        >>> rg.tensor([1.0, 2.0, 3.0]).var()\ntensor(1.)";
    /// Standard deviation.
    STD "std" true false Returns::One, Forms::BOTH, "The standard deviation over `dim` (an int, a tuple, \
        or all dimensions): the square root of the variance. Where it is 0, so is its gradient.\n\n\
        >>> rg.tensor([1.0, 2.0, 3.0]).std()\ntensor(1.)";
    /// Variance and mean.
    VAR_MEAN "var_mean" false true Returns::Tuple, Forms::FUNCTION, "The variance and the mean over \
        `dim`.";
    /// Standard deviation and mean.
    STD_MEAN "std_mean" true true Returns::Tuple, Forms::FUNCTION, "The standard deviation and the mean \
        over `dim`.";
}

/// The kernel of the variances.
pub static VARIANCE: OpDef = OpDef {
    name: "variance",
    doc: "The variance over `dim`.",
    sig: &["(input, dim: int[]?, keepdim: bool, correction: float)"],
    forms: Forms::HIDDEN,
    meta: |call| {
        check_float(call.tensor(0))?;
        reduced(call, call.tensor(0).dtype())
    },
    kernel: Kernel::Compute(|cx| {
        let x = cx.call.tensor(0);
        let n = count(x.shape(), &dims_of(cx.call)?) as f64;
        let squares = total(cx, Reduction::SquaredDistances, x)?;
        // With no degrees of freedom left, 0 / 0.
        copy_into(cx, 0, &div(squares, (n - cx.float(2)).max(0.0))?);
        Ok(())
    }),
    // d var(x) = 2 / (n - c) sum((x - mean) dx)
    grads: &[grad(IN(0), |cx| {
        let (x, dim) = (cx.tensor(0)?, cx.attrs.ints(0));
        let n = count(x.shape(), &wrap_dims(dim, x.ndim())?) as f64;
        let slope = 2.0 / (n - cx.attrs.float(2)).max(0.0);
        let distance = sub(&x, mean_dims(&x, dim, true)?)?;
        mul(mul(unreduce(cx, cx.grad())?, slope)?, distance).map(Some)
    })],
    jvp: Jvp::DoubleVjp,
    batch: Batch::Dims,
    ..OpDef::BASE
};

/// The `p`-norm over dimensions (all for none).
///
/// # Errors
/// When the elements are not floating point, or there are none and the norm has no identity.
pub fn norm(x: &Tensor, p: f64, dim: &[i64], keepdim: bool) -> Result<Tensor> {
    ensure!(
        x.dtype().is_float(),
        runtime,
        "linalg.vector_norm: Expected a floating point or complex tensor as input. Got {}",
        x.dtype().scalar_type_name()
    );
    if p < 0.0 || p == f64::INFINITY {
        for d in wrap_dims(dim, x.ndim())? {
            ensure!(
                x.shape()[d] > 0,
                runtime,
                "linalg.vector_norm cannot compute the {p} norm on an empty tensor because the \
                 operation does not have an identity: dimension {d} of shape {} is empty",
                x.shape()
            );
        }
    }
    cast(&vector_norm(wide(x)?, dim, keepdim, p)?, x.dtype())
}

/// The kernel of the norms.
pub static VECTOR_NORM: OpDef = OpDef {
    name: "vector_norm",
    doc: "The norm of order `ord` over `dim`.",
    sig: &["(input, dim: int[]?, keepdim: bool, ord: float)"],
    forms: Forms::HIDDEN,
    meta: |call| reduced(call, call.tensor(0).dtype()),
    kernel: Kernel::Compute(|cx| {
        let (x, dim, p) = (raw(cx.call.tensor(0)), cx.ints(0), cx.float(2));
        let sum = |t: Tensor| sum_dims(t, dim, true, None::<DType>);
        let y = if p == 2.0 {
            sqrt(total(cx, Reduction::SumSquares, &x)?)?
        } else if p == 1.0 {
            sum(abs(x)?)?
        } else if p == 0.0 {
            sum(ne(x, 0i64)?)?
        } else if p == f64::INFINITY {
            amax(abs(x)?, dim, true)?
        } else if p == f64::NEG_INFINITY {
            amin(abs(x)?, dim, true)?
        } else {
            pow(sum(pow(abs(x)?, p)?)?, 1.0 / p)?
        };
        copy_into(cx, 0, &y);
        Ok(())
    }),
    grads: &[grad(IN(0) | OUT(0), |cx| {
        let p = cx.attrs.float(2);
        if p == 0.0 {
            return Ok(None);
        }
        let (x, g) = (cx.tensor(0)?, unreduce(cx, cx.grad())?);
        norm_grad(cx, p, &x, &g).map(Some)
    })],
    jvp: Jvp::DoubleVjp,
    batch: Batch::Dims,
    ..OpDef::BASE
};

/// A sum in the type that is computed in, with the reduced dimensions kept.
fn total(cx: &KernelCx, f: Reduction, x: &Tensor) -> Result<Tensor> {
    let dims = dims_of(cx.call)?;
    let mut shape = x.shape().clone();
    dims.iter().for_each(|&d| shape[d] = 1);
    let out = Tensor::empty(shape, x.dtype().compute(), x.device())?;
    cx.backend.reduce(f, out.as_view(), x.as_view(), &dims);
    Ok(out)
}

/// The gradient of the norm `y` of order `p`, by order. At the zero vector, where all orders from 1
/// on have a kink, it is 0; so it is for elements that are 0 where the slope there is infinite
/// (orders below 1).
fn norm_grad(cx: &VjpCx, p: f64, x: &Tensor, g: &Tensor) -> Result<Tensor> {
    // dy = sum(sign(x) dx)
    if p == 1.0 {
        return mul(g, sign(x)?);
    }
    let y = unreduce(cx, &cx.output(0)?)?;
    // dy = sign(x) dx of the greatest (least) element; equal ones share it.
    if p.is_infinite() {
        let reached = eq(abs(x)?, &y)?;
        let n = sum_dims(&reached, cx.attrs.ints(0), true, None::<DType>)?;
        return mul(where_(reached, div(g, n)?, 0i64)?, sign(x)?);
    }
    let zero = eq(&y, 0i64)?;
    let safe = where_(&zero, 1i64, &y)?;
    // dy = sum(x / y dx)
    if p == 2.0 {
        return mul(x, where_(zero, 0i64, div(g, safe)?)?);
    }
    // dy = sum(sign(x) (|x| / y)^(p - 1) dx): the ratio is in [0, 1] for positive orders.
    let ratio = div(abs(x)?, safe)?;
    let still = logical_or(eq(x, 0i64)?, zero)?;
    let slope = pow(where_(&still, 1i64, ratio)?, p - 1.0)?;
    mul(g, where_(still, 0i64, mul(slope, sign(x)?)?)?)
}

/// `linalg.vector_norm`.
pub static LINALG_VECTOR_NORM: OpDef = OpDef {
    name: "linalg_vector_norm",
    doc: "The norm of order `ord` over `dim` (an int, a tuple, or all dimensions): \
          `sum(abs(x)**ord)**(1/ord)`; for infinity the greatest magnitude, for -infinity the least, \
          for 0 the count of elements that are not 0. Its gradient at the zero vector is 0.",
    sig: &[
        "(input, ord: Scalar = 2, dim: int[]? = None, keepdim: bool = False, *, dtype: dtype? = None)",
    ],
    forms: Forms::NN,
    kernel: Kernel::Composite(|call| {
        let x = in_dtype(call.tensor(0), call.attrs.dtype(3))?;
        let (p, dim, keepdim) = (call.attrs.float(0), call.attrs.ints(1), call.attrs.bool(2));
        Ok(smallvec![norm(&x, p, dim, keepdim)?])
    }),
    ..OpDef::COMPOSITE
};

fn in_dtype(x: &Tensor, dtype: Option<DType>) -> Result<Tensor> {
    match dtype {
        Some(dtype) => cast(x, dtype),
        None => Ok(x.clone()),
    }
}

/// `norm`.
pub static NORM: OpDef = OpDef {
    name: "norm",
    doc: "The `p`-norm over `dim` (an int, a tuple, or all dimensions): \
          `sum(abs(input)**p)**(1/p)`; for `inf` the greatest magnitude, for `-inf` the least, for 0 \
          the count of elements that are not 0; `'fro'` is 2. Its gradient at the zero vector is 0.\n\n\
          >>> rg.tensor([3.0, 4.0]).norm()\ntensor(5.)",
    sig: &[
        "(input, p: float? = 2, dim: int[]? = None, keepdim: bool = False, dtype: dtype? = None)",
        "(input, p: str, dim: int[]? = None, keepdim: bool = False, dtype: dtype? = None)",
    ],
    kernel: Kernel::Composite(|call| {
        let p = match call.overload {
            0 => call.attrs.float_opt(0).unwrap_or(2.0),
            _ => match call.attrs.str(0) {
                "fro" => 2.0,
                "nuc" => bail!(
                    not_implemented,
                    "the nuclear norm needs singular values, which are not available; use 'fro' or a \
                     number"
                ),
                other => bail!(
                    runtime,
                    "Order {other} not supported: use 'fro' or a number"
                ),
            },
        };
        let x = in_dtype(call.tensor(0), call.attrs.dtype(3))?;
        Ok(smallvec![norm(
            &x,
            p,
            call.attrs.ints(1),
            call.attrs.bool(2)
        )?])
    }),
    ..OpDef::COMPOSITE
};
