//! The softmax family.

use super::copy::{copy_into, raw};
use super::def::{
    Batch, Call, Forms, IN, Jvp, Kernel, KernelCx, OUT, OpDef, Specs, grad, grad_of_taken, spec,
};
use super::reduce::{reduced, unreduce};
use super::{add, amax, cast, eq, exp, isinf, log, mul, neg, sub, sum_dims, where_};
use crate::base::dtype::default_dtype;
use crate::base::shape::wrap_dim;
use crate::base::{DType, Layout, Result, Shape};
use crate::ensure;
use crate::tape::Outputs;
use crate::tensor::Tensor;
use smallvec::smallvec;

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &SOFTMAX,
    &LOG_SOFTMAX,
    &SOFTMIN,
    &SOFTMAX_EXACT,
    &SOFTMAX_BACKWARD,
    &LOG_SOFTMAX_EXACT,
    &LOG_SOFTMAX_BACKWARD,
    &LOGSUMEXP,
];

functions! {
    /// `exp(x) / sum(exp(x))` along `dim`.
    softmax(x; dim) = SOFTMAX_EXACT;
    /// Its logarithm.
    log_softmax(x; dim) = LOG_SOFTMAX_EXACT;
    /// The backward step of softmax.
    softmax_backward(g, y; dim) = SOFTMAX_BACKWARD;
    /// The backward step of log-softmax.
    log_softmax_backward(g, y; dim) = LOG_SOFTMAX_BACKWARD;
    /// `log(sum(exp(x)))` over dimensions.
    logsumexp(x; dim, keepdim) = LOGSUMEXP;
}

fn converted(call: &Call, f: impl Fn(&Tensor, i64) -> Result<Tensor>) -> Result<Outputs> {
    let x = call.tensor(0);
    let dtype = call.attrs.dtype(1).unwrap_or(x.dtype());
    ensure!(
        dtype.is_float(),
        not_implemented,
        "\"softmax_lastdim_kernel_impl\" not implemented for '{}': cast the input, or pass a floating \
         point dtype=",
        dtype.scalar_type_name()
    );
    Ok(smallvec![f(&cast(x, dtype)?, call.attrs.int(0))?])
}

macro_rules! converting {
    ($( $(#[$doc:meta])* $NAME:ident $name:literal $text:literal |$x:ident, $dim:ident| $body:expr; )*) => { $(
        $(#[$doc])*
        pub static $NAME: OpDef = OpDef {
            name: $name,
            doc: $text,
            sig: &["(input, dim: int, *, dtype: dtype? = None)", "(input, dim: int, dtype: dtype?)"],
            forms: Forms { nn: true, ..Forms::BOTH },
            kernel: Kernel::Composite(|call| converted(call, |$x, $dim| $body)),
            ..OpDef::COMPOSITE
        };
    )* };
}

converting! {
    /// Softmax.
    SOFTMAX "softmax" "`exp(input) / sum(exp(input))` along `dim`, without overflow; `dtype` casts \
        first." |x, dim| softmax(x, dim);
    /// Log-softmax.
    LOG_SOFTMAX "log_softmax" "`input - log(sum(exp(input)))` along `dim`, without overflow; `dtype` \
        casts first." |x, dim| log_softmax(x, dim);
    /// Softmin.
    SOFTMIN "softmin" "The softmax of `-input` along `dim`." |x, dim| softmax(neg(x)?, dim);
}

fn meta(call: &Call) -> Result<Specs> {
    let x = call.tensor(0);
    wrap_dim(call.attrs.int(0), x.ndim())?;
    Ok(spec(x.shape().clone(), x.dtype()))
}

/// Runs `f` on 1-d views of 0-d tensors.
fn lanes(cx: &KernelCx, f: impl Fn(&[Tensor], usize)) -> Result<()> {
    let out = &cx.outs[0];
    let dim = wrap_dim(cx.int(0), out.ndim())?;
    let wide = |t: &Tensor| {
        if t.ndim() > 0 {
            return t.alias(t.layout().clone());
        }
        let one = Layout {
            offset: t.layout().offset,
            ..Layout::contiguous(Shape::from([1]))
        };
        t.alias(one)
    };
    let mut tensors = vec![wide(out)];
    tensors.extend(cx.call.tensors().map(wide));
    f(&tensors, dim);
    Ok(())
}

macro_rules! fused {
    ($( $EXACT:ident $BACKWARD:ident $exact:literal $backward:literal $log:literal $backward_fn:ident $twice:expr; )*) => { $(
        /// The kernel.
        pub static $EXACT: OpDef = OpDef {
            name: $exact,
            doc: "The kernel of the op without `_exact`.",
            sig: &["(input, dim: int)"],
            forms: Forms::HIDDEN,
            meta,
            kernel: Kernel::Compute(|cx| {
                lanes(cx, |t, dim| cx.backend.softmax($log, t[0].as_view(), t[1].as_view(), dim))
            }),
            grads: &[grad_of_taken(OUT(0), |cx| {
                $backward_fn(cx.take_grad(), cx.output(0)?, cx.attrs.int(0)).map(Some)
            })],
            jvp: Jvp::Rule(|cx| {
                let dim = cx.call.attrs.int(0);
                let Some(t) = &cx.tangents[0] else { return Ok(smallvec![None]) };
                let y = &cx.outs[0];
                Ok(smallvec![Some(forward($log, t, y, dim)?)])
            }),
            batch: Batch::Dims,
            ..OpDef::BASE
        };

        /// The backward step.
        pub static $BACKWARD: OpDef = OpDef {
            name: $backward,
            doc: "The backward step, from the output.",
            sig: &["(grad, output, dim: int)"],
            forms: Forms::HIDDEN,
            meta,
            kernel: Kernel::Over(|cx| {
                lanes(cx, |t, dim| {
                    cx.backend.softmax_backward(
                        $log, t[0].as_view(), t[1].as_view(), t[2].as_view(), dim,
                    );
                })
            }),
            grads: &[
                // Its transpose in the cotangent is the step forward.
                grad(IN(1), |cx| {
                    forward($log, cx.grad(), &cx.tensor(1)?, cx.attrs.int(0)).map(Some)
                }),
                grad(IN(0) | IN(1), $twice),
            ],
            jvp: Jvp::DoubleVjp,
            batch: Batch::Dims,
            ..OpDef::BASE
        };
    )* };
}

/// The tangent of the output: `y (t - sum(y t))`, or for the logarithm `t - sum(exp(y) t)`.
fn forward(log: bool, t: &Tensor, y: &Tensor, dim: i64) -> Result<Tensor> {
    let p = if log { exp(y)? } else { y.clone() };
    let centred = sub(t, sum_dims(mul(&p, t)?, dim, true, None::<DType>)?)?;
    if log { Ok(centred) } else { mul(p, centred) }
}

fused! {
    SOFTMAX_EXACT SOFTMAX_BACKWARD "softmax_exact" "softmax_backward" false softmax_backward
        // s = y (g - sum(g y)):  ds/dy . u = u (g - sum(g y)) - g sum(u y)
        |cx| {
            let (u, g, y) = (cx.grad(), cx.tensor(0)?, cx.tensor(1)?);
            let dim = cx.attrs.int(0);
            let along = |t: Tensor| sum_dims(t, dim, true, None::<DType>);
            let first = mul(u, sub(&g, along(mul(&g, &y)?)?)?)?;
            let second = mul(&g, along(mul(u, &y)?)?)?;
            sub(first, second).map(Some)
        };
    LOG_SOFTMAX_EXACT LOG_SOFTMAX_BACKWARD "log_softmax_exact" "log_softmax_backward" true log_softmax_backward
        // s = g - exp(y) sum(g):  ds/dy . u = -u exp(y) sum(g)
        |cx| {
            let (u, g, y) = (cx.grad(), cx.tensor(0)?, cx.tensor(1)?);
            let total = sum_dims(g, cx.attrs.int(0), true, None::<DType>)?;
            neg(mul(u, mul(exp(y)?, total)?)?).map(Some)
        };
}

/// `log(sum(exp))`.
pub static LOGSUMEXP: OpDef = OpDef {
    name: "logsumexp",
    doc: "`log(sum(exp(input)))` over `dim` (an int or a tuple), without overflow; of integers in the \
          default float type. Where all elements are -inf, so is the result, and the gradient is 0.\n\n\
          >>> rg.zeros(1, 4).logsumexp(1)\ntensor([1.3863])",
    sig: &["(input, dim: int[], keepdim: bool = False)"],
    meta: |call| {
        let x = call.tensor(0).dtype();
        reduced(call, if x.is_float() { x } else { default_dtype() })
    },
    kernel: Kernel::Compute(|cx| {
        let (x, dim) = (raw(cx.call.tensor(0)), cx.ints(0));
        let x = cast(&x, cx.outs[0].dtype().compute())?;
        // Shifted by the greatest element, unless that is infinite or there is none.
        let top = if x.numel() == 0 {
            Tensor::zeros(cx.outs[0].shape().clone(), x.dtype(), x.device())?
        } else {
            let top = amax(&x, dim, true)?;
            where_(isinf(&top)?, 0i64, top)?
        };
        let shifted = if x.numel() == 0 { x } else { sub(x, &top)? };
        let keep = top.ndim() == shifted.ndim();
        let total = sum_dims(exp(shifted)?, dim, keep, None::<DType>)?;
        copy_into(cx, 0, &add(log(total)?, top)?);
        Ok(())
    }),
    // d y = sum(exp(x - y) dx). Where y is -inf, so is x, and nothing moves y.
    grads: &[grad(IN(0) | OUT(0), |cx| {
        let y = unreduce(cx, &cx.output(0)?)?;
        let y = where_(eq(&y, f64::NEG_INFINITY)?, 0i64, y)?;
        mul(unreduce(cx, cx.grad())?, exp(sub(cx.tensor(0)?, y)?)?).map(Some)
    })],
    jvp: Jvp::DoubleVjp,
    batch: Batch::Dims,
    ..OpDef::BASE
};
