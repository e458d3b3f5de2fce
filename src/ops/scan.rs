//! Running reductions along a dimension, and differences.

use super::def::{
    Batch, Call, Forms, IN, Jvp, Kernel, KernelCx, NOTHING, OUT, OpDef, Returns, Specs, grad, spec,
};
use super::gather::with_history;
use super::{
    add, cat, clone, div, eq, exp, flip, mul, ne, norm, reshape, slice, sub, sum_dims, where_,
};
use crate::backend::{self, Scan};
use crate::base::shape::wrap_dim;
use crate::base::{Attrs, DType, Result, Shape};
use crate::ensure;
use crate::tape::Outputs;
use crate::tensor::Tensor;
use smallvec::smallvec;

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &CUMSUM,
    &CUMPROD,
    &EXTREMA,
    &CUMMAX,
    &CUMMIN,
    &LOGCUMSUMEXP,
    &DIFF,
    &TRAPEZOID,
    &DIST,
];

functions! {
    /// Running sum along a dimension.
    cumsum(x; dim, dtype) = CUMSUM;
    /// Running product along a dimension.
    cumprod(x; dim, dtype) = CUMPROD;
    /// Running `log(sum(exp))` along a dimension.
    logcumsumexp(x; dim) = LOGCUMSUMEXP;
    /// Differences of neighbours along a dimension.
    diff(x, prepend, append; n, dim) = DIFF;
}

/// The shape of the input, in the type of argument 1 or the type sums have.
fn scanned(call: &Call) -> Result<Specs> {
    let x = call.tensor(0);
    wrap_dim(call.attrs.int(0), x.ndim())?;
    let natural = if x.dtype().is_float() {
        x.dtype()
    } else {
        DType::I64
    };
    let dtype = call.attrs.dtype(1).unwrap_or(natural);
    Ok(spec(x.shape().clone(), dtype))
}

/// The elements in another type, for a kernel: unrecorded.
pub(super) fn converted(x: &Tensor, dtype: DType) -> Result<Tensor> {
    if x.dtype() == dtype {
        return Ok(x.alias(x.layout().clone()));
    }
    let out = Tensor::empty(x.shape().clone(), dtype, x.device())?;
    let compute = super::meta::copy_compute(x.dtype(), dtype);
    let ins = [backend::Input::View(x.as_view())];
    backend::of(x.device())?.map(backend::Functor::Copy, &[], compute, out.as_view(), &ins);
    Ok(out)
}

fn scan_into(cx: &KernelCx, f: Scan) -> Result<()> {
    let x = cx.call.tensor(0);
    let dim = wrap_dim(cx.int(0), x.ndim())?;
    // As PyTorch, the elements are cast before they are added or multiplied. The kernel itself makes
    // wide integers of narrow ones.
    let dtype = cx.outs[0].dtype();
    let x = match dtype {
        DType::I64 if !x.dtype().is_float() => x.clone(),
        _ => converted(x, dtype)?,
    };
    cx.backend
        .scan(f, cx.outs[0].as_view(), None, x.as_view(), dim);
    Ok(())
}

/// Running sum.
pub static CUMSUM: OpDef = OpDef {
    name: "cumsum",
    doc: "The running sum along `dim`: `out[i] = input[0] + ... + input[i]`. Integers and bools sum \
          to int64 unless `dtype` says otherwise.\n\n\
          >>> rg.tensor([1., 2., 3.]).cumsum(0)\ntensor([1., 3., 6.])",
    sig: &["(input, dim: int, *, dtype: dtype? = None)"],
    forms: Forms::ALL,
    meta: scanned,
    kernel: Kernel::Compute(|cx| scan_into(cx, Scan::Sum)),
    // Element i is in the sums i, i + 1, ...: the running sum from the end.
    grads: &[grad(NOTHING, |cx| {
        let dim = cx.attrs.int(0);
        let reversed = flip(cx.grad(), [dim])?;
        flip(cumsum(reversed, dim, None::<DType>)?, [dim]).map(Some)
    })],
    jvp: Jvp::Linear,
    batch: Batch::Dims,
    ..OpDef::BASE
};

/// Elements `start..end` along `dim`.
fn part(x: &Tensor, dim: usize, start: usize, end: usize) -> Result<Tensor> {
    slice(x, dim, start, end, 1i64)
}

/// `count` times `value`, to stand beside `x` along `dim`.
fn beside(x: &Tensor, dim: usize, count: usize, value: i64) -> Result<Tensor> {
    let mut shape = x.shape().clone();
    shape[dim] = count;
    Tensor::full(shape, value, x.dtype(), x.device())
}

/// `x` moved `by` places towards the start, filled up with zeros.
fn ahead(x: &Tensor, dim: usize, by: usize) -> Result<Tensor> {
    let n = x.shape()[dim];
    let by = by.min(n);
    cat(&[part(x, dim, by, n)?, beside(x, dim, by, 0)?], dim as i64)
}

/// `r` with `r[i] = g[i] + a[i] * r[i + 1]` along `dim`, in `log(n)` steps.
///
/// It adds and multiplies only, so zeros among `a` are right, to any order.
fn recurrence(mut a: Tensor, g: &Tensor, dim: usize) -> Result<Tensor> {
    let n = g.shape()[dim];
    let mut r = g.clone();
    let mut step = 1;
    // After a step of s, r[i] holds the terms of i, ..., i + 2s - 1, and a[i] the product that
    // leads from there on.
    while step < n {
        r = add(&r, mul(&a, ahead(&r, dim, step)?)?)?;
        if 2 * step < n {
            a = mul(&a, ahead(&a, dim, step)?)?;
        }
        step *= 2;
    }
    Ok(r)
}

/// Running product.
pub static CUMPROD: OpDef = OpDef {
    name: "cumprod",
    doc: "The running product along `dim`: `out[i] = input[0] * ... * input[i]`. Integers and bools \
          give int64 unless `dtype` says otherwise. The gradient is right where elements are 0.\n\n\
          >>> rg.tensor([1., 2., 3.]).cumprod(0)\ntensor([1., 2., 6.])",
    sig: &["(input, dim: int, *, dtype: dtype? = None)"],
    forms: Forms::ALL,
    meta: scanned,
    kernel: Kernel::Compute(|cx| scan_into(cx, Scan::Prod)),
    // dL/dx[i] = (x[0] ... x[i-1]) * sum over k >= i of g[k] * (x[i+1] ... x[k]). The sum is
    // r[i] = g[i] + x[i+1] * r[i+1]: nothing is divided by x.
    grads: &[grad(IN(0) | OUT(0), |cx| {
        let g = cx.grad();
        if g.ndim() == 0 || g.numel() == 0 {
            return Ok(Some(g.clone()));
        }
        let dim = wrap_dim(cx.attrs.int(0), g.ndim())?;
        let (x, y) = (cx.tensor(0)?, cx.output(0)?);
        let n = y.shape()[dim];
        let before = cat(
            &[beside(&y, dim, 1, 1)?, part(&y, dim, 0, n - 1)?],
            dim as i64,
        )?;
        mul(before, recurrence(ahead(&x, dim, 1)?, g, dim)?).map(Some)
    })],
    jvp: Jvp::DoubleVjp,
    batch: Batch::Dims,
    ..OpDef::BASE
};

/// Running extrema and their places: the kernel of [`CUMMAX`] and [`CUMMIN`].
pub static EXTREMA: OpDef = OpDef {
    name: "cummax_cummin",
    doc: "The running extremum along `dim` and its places.",
    sig: &["(input, dim: int, greatest: bool)"],
    forms: Forms::HIDDEN,
    returns: Returns::Tuple,
    meta: super::meta::values_and_places,
    kernel: Kernel::Compute(|cx| {
        let x = cx.call.tensor(0);
        let dim = wrap_dim(cx.int(0), x.ndim())?;
        let f = if cx.bool(1) { Scan::Max } else { Scan::Min };
        let (values, places) = (cx.outs[0].as_view(), cx.outs[1].as_view());
        cx.backend.scan(f, values, Some(places), x.as_view(), dim);
        Ok(())
    }),
    batch: Batch::Dims,
    ..OpDef::BASE
};

fn running_extremum(call: &Call, greatest: bool) -> Result<Outputs> {
    let x = call.tensor(0);
    let dim = wrap_dim(call.attrs.int(0), x.ndim())?;
    let attrs: Attrs = [dim.into(), greatest.into()].into_iter().collect();
    let mut outs = super::dispatch::run(&EXTREMA, &[x.detach().into()], &attrs)?;
    let (places, values) = (outs.swap_remove(1), outs.swap_remove(0));
    Ok(smallvec![with_history(values, x, &places, dim)?, places])
}

/// Running maximum.
pub static CUMMAX: OpDef = OpDef {
    name: "cummax",
    doc: "The running maximum along `dim` and where it lies; of equal elements the last one. NaN \
          stays once met. The gradient goes to the elements at `indices`.",
    sig: &["(input, dim: int)"],
    returns: Returns::Named(&["values", "indices"]),
    kernel: Kernel::Composite(|call| running_extremum(call, true)),
    ..OpDef::COMPOSITE
};

/// Running minimum.
pub static CUMMIN: OpDef = OpDef {
    name: "cummin",
    doc: "The running minimum along `dim` and where it lies; of equal elements the last one. NaN \
          stays once met. The gradient goes to the elements at `indices`.",
    sig: &["(input, dim: int)"],
    returns: Returns::Named(&["values", "indices"]),
    kernel: Kernel::Composite(|call| running_extremum(call, false)),
    ..OpDef::COMPOSITE
};

/// Running `log(sum(exp))`.
pub static LOGCUMSUMEXP: OpDef = OpDef {
    name: "logcumsumexp",
    doc: "The running `log(sum(exp))` along `dim`: `out[i] = log(exp(input[0]) + ... + \
          exp(input[i]))`, without overflow.",
    sig: &["(input, dim: int)"],
    meta: |call| {
        let x = call.tensor(0);
        wrap_dim(call.attrs.int(0), x.ndim())?;
        ensure!(
            x.dtype().is_float(),
            not_implemented,
            "\"logcumsumexp_out_cpu\" not implemented for '{}'; cast the input to a float type",
            x.dtype().scalar_type_name()
        );
        Ok(spec(x.shape().clone(), x.dtype()))
    },
    kernel: Kernel::Compute(|cx| scan_into(cx, Scan::LogSumExp)),
    // dL/dx[i] = sum over k >= i of g[k] * exp(x[i] - y[k]) = exp(x[i] - y[i]) * r[i] with
    // r[i] = g[i] + exp(y[i] - y[i+1]) * r[i+1]. As y grows, no exponential is above 1.
    grads: &[grad(IN(0) | OUT(0), |cx| {
        let g = cx.grad();
        if g.ndim() == 0 || g.numel() == 0 {
            return Ok(Some(g.clone()));
        }
        let dim = wrap_dim(cx.attrs.int(0), g.ndim())?;
        let (x, y) = (cx.tensor(0)?, cx.output(0)?);
        // The sum of nothing but zeros, log 0, subtracts nothing: the result stays exp(-inf) = 0.
        let finite = where_(eq(&y, f64::NEG_INFINITY)?, 0i64, &y)?;
        let ratio = exp(sub(&y, ahead(&finite, dim, 1)?)?)?;
        // The last ratio leads out of the row, to zeros.
        let n = y.shape()[dim];
        let ratio = cat(
            &[part(&ratio, dim, 0, n - 1)?, beside(&ratio, dim, 1, 0)?],
            dim as i64,
        )?;
        mul(exp(sub(x, finite)?)?, recurrence(ratio, g, dim)?).map(Some)
    })],
    jvp: Jvp::DoubleVjp,
    batch: Batch::Dims,
    ..OpDef::BASE
};

/// Differences of neighbours.
pub static DIFF: OpDef = OpDef {
    name: "diff",
    doc: "Differences of neighbours along `dim`, `n` times over: `out[i] = input[i+1] - input[i]`. \
          `prepend` and `append` are joined to the input first. Of bools: whether they differ.\n\n\
          >>> rg.tensor([1, 3, 2]).diff()\ntensor([ 2, -1])",
    sig: &["(input, n: int = 1, dim: int = -1, prepend: Tensor? = None, append: Tensor? = None)"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        ensure!(
            x.ndim() > 0,
            runtime,
            "diff expects input to be at least one-dimensional"
        );
        let (n, dim) = (call.attrs.int(0), wrap_dim(call.attrs.int(1), x.ndim())?);
        ensure!(n >= 0, runtime, "order must be non-negative but got {n}");
        let (before, after) = (call.tensor_opt(1), call.tensor_opt(2));
        for t in [before, after].into_iter().flatten() {
            ensure!(
                t.ndim() == x.ndim(),
                runtime,
                "diff expects prepend or append to be the same dimension as input, got {} and {}",
                t.shape(),
                x.shape()
            );
        }
        let parts: Vec<Tensor> = [before, Some(x), after]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        let mut x = if parts.len() > 1 {
            cat(&parts, dim as i64)?
        } else {
            x.clone()
        };
        let size = x.shape()[dim];
        let times = size.min(n as usize);
        if times == 0 {
            return Ok(smallvec![clone(&x)?]);
        }
        for _ in 0..times {
            let size = x.shape()[dim];
            let (after, before) = (part(&x, dim, 1, size)?, part(&x, dim, 0, size - 1)?);
            x = if x.dtype() == DType::Bool {
                ne(after, before)?
            } else {
                sub(after, before)?
            };
        }
        Ok(smallvec![x])
    }),
    ..OpDef::COMPOSITE
};

/// Integral by trapezoids.
pub static TRAPEZOID: OpDef = OpDef {
    name: "trapezoid",
    doc: "The integral along `dim` by the trapezoidal rule, of samples `y` at `x`, or `dx` apart.\n\n\
          >>> rg.trapezoid(rg.tensor([1., 2., 3.]))\ntensor(4.)",
    sig: &[
        "(y, x, *, dim: int = -1)",
        "(y, *, dx: Scalar = 1, dim: int = -1)",
    ],
    aliases: &["trapz"],
    forms: Forms::FUNCTION,
    kernel: Kernel::Composite(|call| {
        let y = call.tensor(0);
        let given = call.tensor_opt(1).filter(|_| call.overload == 0);
        let dim = call.attrs.int(if given.is_some() { 0 } else { 1 });
        let dim = wrap_dim(dim, y.ndim())?;
        ensure!(
            y.ndim() > 0,
            index,
            "trapezoid(): the samples need a dimension to be integrated along"
        );
        let n = y.shape()[dim];
        let heights = add(
            part(y, dim, n.min(1), n)?,
            part(y, dim, 0, n.saturating_sub(1))?,
        )?;
        let total = |t: Tensor| sum_dims(t, dim, false, None::<DType>);
        let Some(x) = given else {
            let dx = call.attrs.scalar(0);
            return Ok(smallvec![div(mul(total(heights)?, dx)?, 2.0)?]);
        };
        let (x, along) = if x.ndim() == 1 && y.ndim() > 1 {
            let mut shape = Shape::filled(1, y.ndim());
            shape[dim] = x.shape()[0];
            (reshape(x, &shape)?, dim)
        } else {
            let missing = y.ndim().saturating_sub(x.ndim());
            ensure!(
                dim >= missing && x.ndim() <= y.ndim(),
                runtime,
                "trapezoid: x of shape {} does not fit y of shape {} along dimension {dim}",
                x.shape(),
                y.shape()
            );
            (x.clone(), dim - missing)
        };
        let m = x.shape()[along];
        ensure!(
            m == n,
            runtime,
            "trapezoid: There must be one `x` value for each sample point"
        );
        let widths = sub(
            part(&x, along, m.min(1), m)?,
            part(&x, along, 0, m.saturating_sub(1))?,
        )?;
        Ok(smallvec![div(total(mul(heights, widths)?)?, 2.0)?])
    }),
    ..OpDef::COMPOSITE
};

/// Distance.
pub static DIST: OpDef = OpDef {
    name: "dist",
    doc: "The `p`-norm of `input - other`. Its gradient where they are equal is 0 for `p >= 1`.",
    sig: &["(input, other, p: float = 2)"],
    kernel: Kernel::Composite(|call| {
        let difference = sub(call.tensor(0), call.tensor(1))?;
        Ok(smallvec![norm(
            &difference,
            call.attrs.float(0),
            &[],
            false
        )?])
    }),
    ..OpDef::COMPOSITE
};
