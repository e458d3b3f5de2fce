//! Losses.

use super::copy::{copy_into, raw};
use super::def::{Batch, Call, Forms, IN, Jvp, Kernel, OpDef, Promote, grad, grad_of_taken, spec};
use super::meta::{broadcast, result_type};
use super::{
    abs, add, clamp, clamp_min, div, exp, gt, log, log1p, logical_or, logsigmoid, lt, mean, mul,
    neg, square, sub, sum, xlogy,
};
use crate::backend::Functor;
use crate::base::{Device, Error, Result};
use crate::ensure;
use crate::tape::VjpCx;
use crate::tensor::{Operand, Tensor};
use smallvec::smallvec;

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &MSE_LOSS,
    &L1_LOSS,
    &SMOOTH_L1_LOSS,
    &HUBER_LOSS,
    &ROUNDED_CORNER,
    &BINARY_CROSS_ENTROPY,
    &BINARY_CROSS_ENTROPY_WITH_LOGITS,
    &BCE,
    &KL_DIV,
];

functions! {
    /// A parabola of the difference, and lines beyond `knee`.
    rounded_corner(x, target; knee, factor) = ROUNDED_CORNER;
    /// Binary cross-entropy of probabilities, elementwise.
    binary_cross_entropy(x, target) = BCE;
}

/// A loss, reached through `nn.functional`.
pub(super) const LOSS: OpDef = OpDef {
    forms: Forms::NN,
    ..OpDef::COMPOSITE
};

pub(super) fn unknown_reduction(how: &str) -> Error {
    Error::value(format!(
        "{how} is not a valid value for reduction: use 'none', 'mean' or 'sum'"
    ))
}

/// `'none'`, `'mean'` or `'sum'` of elementwise losses.
pub(super) fn reduced(loss: Tensor, how: &str) -> Result<Tensor> {
    match how {
        "none" => Ok(loss),
        "mean" => mean(loss),
        "sum" => sum(loss),
        other => Err(unknown_reduction(other)),
    }
}

fn difference(call: &Call) -> Result<Tensor> {
    sub(call.tensor(0), call.tensor(1))
}

/// Mean squared error.
pub static MSE_LOSS: OpDef = OpDef {
    name: "mse_loss",
    doc: "`(input - target)**2`, reduced.",
    sig: &["(input, target, reduction: str = 'mean')"],
    kernel: Kernel::Composite(|call| {
        Ok(smallvec![reduced(
            square(difference(call)?)?,
            call.attrs.str(0)
        )?])
    }),
    ..LOSS
};

/// Mean absolute error.
pub static L1_LOSS: OpDef = OpDef {
    name: "l1_loss",
    doc: "`abs(input - target)`, reduced.",
    sig: &["(input, target, reduction: str = 'mean')"],
    kernel: Kernel::Composite(|call| {
        Ok(smallvec![reduced(
            abs(difference(call)?)?,
            call.attrs.str(0)
        )?])
    }),
    ..LOSS
};

/// The kernel of [`SMOOTH_L1_LOSS`] and [`HUBER_LOSS`]: with `d` the difference, `factor` times
/// `0.5 d^2` where `|d| < knee`, and times `knee (|d| - 0.5 knee)` beyond.
///
/// With `c` the difference limited to `[-knee, knee]` both are `c (d - 0.5 c)`, and the derivative is
/// `c`. Written so, nothing is computed that is not chosen (an infinite difference gives no NaN), and the
/// second derivative is right at `d = 0`, where that of `|d|` is not.
pub static ROUNDED_CORNER: OpDef = OpDef {
    name: "rounded_corner",
    doc: "`factor * c * (d - 0.5 * c)` with `d = input - target` and `c` this within `[-knee, knee]`.",
    sig: &["(input, target, knee: float, factor: float)"],
    forms: Forms::HIDDEN,
    kernel: Kernel::Map {
        f: Functor::RoundedCorner,
        promote: Promote::Float,
    },
    grads: &[
        grad_of_taken(IN(0) | IN(1), |cx| {
            mul(cx.take_grad(), corner_slope(cx)?).map(Some)
        }),
        grad_of_taken(IN(0) | IN(1), |cx| {
            mul(cx.take_grad(), neg(corner_slope(cx)?)?).map(Some)
        }),
    ],
    jvp: Jvp::DoubleVjp,
    ..OpDef::MAP
};

/// `factor * c`.
fn corner_slope(cx: &VjpCx) -> Result<Tensor> {
    let (knee, factor) = (cx.attrs.float(0), cx.attrs.float(1));
    let c = clamp(sub(cx.input(0)?, cx.input(1)?)?, -knee, knee)?;
    match factor {
        1.0 => Ok(c),
        _ => mul(c, factor),
    }
}

/// Smooth L1.
pub static SMOOTH_L1_LOSS: OpDef = OpDef {
    name: "smooth_l1_loss",
    doc: "With `d = abs(input - target)`: `0.5 * d**2 / beta` where `d < beta`, else `d - 0.5 * beta`, \
          reduced.",
    sig: &["(input, target, reduction: str = 'mean', beta: float = 1.0)"],
    kernel: Kernel::Composite(|call| {
        let beta = call.attrs.float(1);
        ensure!(
            beta >= 0.0,
            runtime,
            "smooth_l1_loss does not support negative values for beta."
        );
        let loss = if beta == 0.0 {
            abs(difference(call)?)?
        } else {
            rounded_corner(call.tensor(0), call.tensor(1), beta, 1.0 / beta)?
        };
        Ok(smallvec![reduced(loss, call.attrs.str(0))?])
    }),
    ..LOSS
};

/// Huber.
pub static HUBER_LOSS: OpDef = OpDef {
    name: "huber_loss",
    doc: "With `d = abs(input - target)`: `0.5 * d**2` where `d < delta`, else `delta * (d - 0.5 * \
          delta)`, reduced.",
    sig: &["(input, target, reduction: str = 'mean', delta: float = 1.0)"],
    kernel: Kernel::Composite(|call| {
        let delta = call.attrs.float(1);
        ensure!(
            delta > 0.0,
            runtime,
            "huber_loss does not support non-positive values for delta."
        );
        Ok(smallvec![reduced(
            rounded_corner(call.tensor(0), call.tensor(1), delta, 1.0)?,
            call.attrs.str(0)
        )?])
    }),
    ..LOSS
};

/// A loss times an optional weight.
fn weighted(loss: Tensor, weight: &Operand) -> Result<Tensor> {
    if weight.is_some() {
        let product = mul(&loss, weight)?;
        ensure!(
            product.shape() == loss.shape(),
            runtime,
            "output with shape {} doesn't match the broadcast shape {}: the weight must broadcast to \
             the input",
            loss.shape(),
            product.shape()
        );
        Ok(product)
    } else {
        Ok(loss)
    }
}

/// Binary cross-entropy of probabilities.
pub static BINARY_CROSS_ENTROPY: OpDef = OpDef {
    name: "binary_cross_entropy",
    doc: "`-(target * log(input) + (1 - target) * log(1 - input))`, times `weight`, reduced; logarithms \
          are at least -100.",
    sig: &["(input, target, weight: Tensor? = None, reduction: str = 'mean')"],
    kernel: Kernel::Composite(|call| {
        let (x, y) = (call.tensor(0), call.tensor(1));
        ensure!(
            x.shape() == y.shape(),
            value,
            "Using a target size ({}) that is different to the input size ({}) is deprecated. Please \
             ensure they have the same size.",
            y.shape(),
            x.shape()
        );
        let outside = logical_or(lt(x, 0i64)?, gt(x, 1i64)?)?;
        ensure!(
            x.device() == Device::Meta || !super::any(outside)?.item()?.as_bool(),
            runtime,
            "all elements of input should be between 0 and 1"
        );
        let loss = weighted(binary_cross_entropy(x, y)?, &call.inputs[2])?;
        Ok(smallvec![reduced(loss, call.attrs.str(0))?])
    }),
    ..LOSS
};

/// `max(log(x), -100)`.
fn bounded_log(x: &Tensor) -> Result<Tensor> {
    clamp_min(log(x)?, -100.0)
}

/// `max(log(1 - x), -100)`.
fn bounded_log1m(x: &Tensor) -> Result<Tensor> {
    clamp_min(log1p(neg(x)?)?, -100.0)
}

/// The kernel of [`BINARY_CROSS_ENTROPY`]. At the ends of the interval its gradient is PyTorch's:
/// large, where the slope is infinite.
pub static BCE: OpDef = OpDef {
    name: "binary_cross_entropy_elements",
    doc: "`-(target * log(input) + (1 - target) * log(1 - input))`; logarithms are at least -100.",
    sig: &["(input, target)"],
    forms: Forms::HIDDEN,
    meta: |call| {
        let dtype = result_type(call.inputs);
        ensure!(
            dtype.is_float(),
            not_implemented,
            "\"binary_cross_entropy\" not implemented for '{}'",
            dtype.scalar_type_name()
        );
        Ok(spec(broadcast(call.inputs)?, dtype))
    },
    kernel: Kernel::Compute(|cx| {
        let (x, y) = (raw(cx.call.tensor(0)), raw(cx.call.tensor(1)));
        let hit = mul(&y, bounded_log(&x)?)?;
        let miss = mul(sub(1i64, y)?, bounded_log1m(&x)?)?;
        copy_into(cx, 0, &neg(add(hit, miss)?)?);
        Ok(())
    }),
    // d = (x - y) / (x (1 - x)) dx + (log(1 - x) - log(x)) dy
    grads: &[
        grad(IN(0) | IN(1), |cx| {
            let (x, y) = (cx.tensor(0)?, cx.tensor(1)?);
            let below = clamp_min(mul(&x, sub(1i64, &x)?)?, 1e-12)?;
            mul(cx.grad(), div(sub(x, y)?, below)?).map(Some)
        }),
        grad(IN(0), |cx| {
            let x = cx.tensor(0)?;
            mul(cx.grad(), sub(bounded_log1m(&x)?, bounded_log(&x)?)?).map(Some)
        }),
    ],
    jvp: Jvp::DoubleVjp,
    batch: Batch::Elementwise,
    ..OpDef::BASE
};

/// Binary cross-entropy of logits.
pub static BINARY_CROSS_ENTROPY_WITH_LOGITS: OpDef = OpDef {
    name: "binary_cross_entropy_with_logits",
    doc: "`-(pos_weight * target * log(s) + (1 - target) * log(1 - s))` with `s = sigmoid(input)`, times \
          `weight`, reduced; without overflow.",
    sig: &[
        "(input, target, weight: Tensor? = None, pos_weight: Tensor? = None, reduction: str = 'mean')",
    ],
    kernel: Kernel::Composite(|call| {
        let (x, y) = (call.tensor(0), call.tensor(1));
        ensure!(
            x.shape() == y.shape(),
            value,
            "Target size ({}) must be the same as input size ({})",
            y.shape(),
            x.shape()
        );
        // log(1 - s) = log(s) - x
        let log_s = logsigmoid(x)?;
        let miss = mul(sub(1i64, y)?, x)?;
        let loss = if call.inputs[3].is_some() {
            // (1 - y) x - (1 + (w - 1) y) log(s)
            let factor = add(mul(sub(&call.inputs[3], 1i64)?, y)?, 1i64)?;
            sub(miss, mul(factor, log_s)?)?
        } else {
            sub(miss, log_s)?
        };
        Ok(smallvec![reduced(
            weighted(loss, &call.inputs[2])?,
            call.attrs.str(0)
        )?])
    }),
    ..LOSS
};

/// Kullback-Leibler divergence.
pub static KL_DIV: OpDef = OpDef {
    name: "kl_div",
    doc: "`target * (log(target) - input)` for log-probabilities `input`, reduced; with `log_target`, \
          `target` are log-probabilities too. `'batchmean'` divides the sum by the first size.",
    sig: &["(input, target, reduction: str = 'mean', log_target: bool = False)"],
    kernel: Kernel::Composite(|call| {
        let (x, y) = (call.tensor(0), call.tensor(1));
        let loss = if call.attrs.bool(1) {
            mul(exp(y)?, sub(y, x)?)?
        } else {
            sub(xlogy(y, y)?, mul(y, x)?)?
        };
        Ok(smallvec![match call.attrs.str(0) {
            "batchmean" => {
                let n = x.shape().first().copied().unwrap_or(1);
                div(sum(loss)?, n as f64)?
            }
            how => reduced(loss, how)?,
        }])
    }),
    ..LOSS
};
