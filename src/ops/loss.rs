//! Losses.

use super::def::{Call, Forms, Kernel, OpDef};
use super::{
    abs, add, add_scaled, cast, clamp_min, div, eq, exp, expand, gather, index_select, log,
    log_softmax, log1p, logsigmoid, lt, mean, mul, ne, neg, norm, permute, reshape, square, sub,
    sum, sum_dims, unsqueeze, where_, xlogy,
};
use crate::base::shape::wrap_dim;
use crate::base::{DType, Result, Shape};
use crate::tensor::{Operand, Tensor};
use crate::{bail, ensure};
use smallvec::smallvec;

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &MSE_LOSS,
    &L1_LOSS,
    &SMOOTH_L1_LOSS,
    &HUBER_LOSS,
    &BINARY_CROSS_ENTROPY,
    &BINARY_CROSS_ENTROPY_WITH_LOGITS,
    &KL_DIV,
    &NLL_LOSS,
    &CROSS_ENTROPY,
    &COSINE_SIMILARITY,
    &NORMALIZE,
];

const LOSS: OpDef = OpDef {
    forms: Forms::NN,
    ..OpDef::COMPOSITE
};

/// `'none'`, `'mean'` or `'sum'` of elementwise losses.
fn reduced(loss: Tensor, how: &str) -> Result<Tensor> {
    match how {
        "none" => Ok(loss),
        "mean" => mean(loss),
        "sum" => sum(loss),
        other => bail!(
            value,
            "{other} is not a valid value for reduction: use 'none', 'mean' or 'sum'"
        ),
    }
}

/// Input and target, broadcast against each other.
fn pair(call: &Call) -> Result<(Tensor, Tensor)> {
    let shape = super::meta::broadcast(&call.inputs[..2])?;
    Ok((
        expand(call.tensor(0), &shape)?,
        expand(call.tensor(1), &shape)?,
    ))
}

/// Mean squared error.
pub static MSE_LOSS: OpDef = OpDef {
    name: "mse_loss",
    doc: "`(input - target)**2`, reduced.",
    sig: &["(input, target, reduction: str = 'mean')"],
    kernel: Kernel::Composite(|call| {
        let (x, y) = pair(call)?;
        Ok(smallvec![reduced(square(sub(x, y)?)?, call.attrs.str(0))?])
    }),
    ..LOSS
};

/// Mean absolute error.
pub static L1_LOSS: OpDef = OpDef {
    name: "l1_loss",
    doc: "`abs(input - target)`, reduced.",
    sig: &["(input, target, reduction: str = 'mean')"],
    kernel: Kernel::Composite(|call| {
        let (x, y) = pair(call)?;
        Ok(smallvec![reduced(abs(sub(x, y)?)?, call.attrs.str(0))?])
    }),
    ..LOSS
};

/// `0.5 d^2 / knee` below `knee`, linear above; times `scale`.
fn rounded_corner(call: &Call, knee: f64, scale: f64) -> Result<Tensor> {
    let (x, y) = pair(call)?;
    let distance = abs(sub(x, y)?)?;
    let below = mul(square(&distance)?, 0.5 * scale / knee)?;
    let above = mul(add_scaled(&distance, -0.5 * knee, 1i64)?, scale)?;
    where_(lt(distance, knee)?, below, above)
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
            let (x, y) = pair(call)?;
            abs(sub(x, y)?)?
        } else {
            rounded_corner(call, beta, 1.0)?
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
            rounded_corner(call, delta, delta)?,
            call.attrs.str(0)
        )?])
    }),
    ..LOSS
};

/// A loss times an optional weight.
fn weighted(loss: Tensor, weight: &Operand) -> Result<Tensor> {
    if weight.is_some() {
        mul(loss, weight)
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
        let outside = super::logical_or(lt(x, 0i64)?, super::gt(x, 1i64)?)?;
        ensure!(
            x.device() == crate::Device::Meta || !super::any(outside)?.item()?.as_bool(),
            runtime,
            "all elements of input should be between 0 and 1"
        );
        let hit = mul(y, clamp_min(log(x)?, -100.0)?)?;
        let miss = mul(sub(1i64, y)?, clamp_min(log1p(neg(x)?)?, -100.0)?)?;
        let loss = weighted(neg(add(hit, miss)?)?, &call.inputs[2])?;
        Ok(smallvec![reduced(loss, call.attrs.str(0))?])
    }),
    ..LOSS
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
        let (x, y) = pair(call)?;
        let loss = if call.attrs.bool(1) {
            mul(exp(&y)?, sub(&y, &x)?)?
        } else {
            sub(xlogy(&y, &y)?, mul(&y, &x)?)?
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

/// The dimension that holds the classes, and the input and target flattened to rows:
/// (N, C, d..) and (N, d..) become (M, C) and (M).
fn rows(call: &Call) -> Result<(Tensor, Tensor)> {
    let (x, y) = (call.tensor(0), call.tensor(1));
    let name = call.op.name;
    ensure!(
        x.ndim() >= 1,
        value,
        "{name}: Expected 1 or more dimensions (got {})",
        x.ndim()
    );
    ensure!(
        y.dtype().is_int(),
        runtime,
        "expected scalar type Long but found {}: {name} takes class numbers",
        y.dtype().scalar_type_name()
    );
    let dim = usize::from(x.ndim() > 1);
    let classes = x.shape()[dim];
    let mut expected = x.shape().clone();
    expected.remove(dim);
    ensure!(
        *y.shape() == expected,
        value,
        "Expected target size {expected}, got {}: input {} has its classes in dimension {dim}",
        y.shape(),
        x.shape()
    );
    let x = if x.ndim() > 2 {
        let order: Vec<i64> = (0..x.ndim() as i64)
            .filter(|d| *d != 1)
            .chain([1])
            .collect();
        permute(x, order.as_slice())?
    } else {
        x.clone()
    };
    let n = expected.numel();
    Ok((
        reshape(&x, &Shape::from([n, classes]))?,
        reshape(y, &Shape::from([n]))?,
    ))
}

/// Class numbers must be classes, or the ignored number.
fn check_classes(y: &Tensor, classes: usize, ignore: i64) -> Result<()> {
    if y.device() == crate::Device::Meta {
        return Ok(());
    }
    for t in y.to_vec()? {
        let t = t.as_i64();
        ensure!(
            t == ignore || (0 <= t && t < classes as i64),
            index,
            "Target {t} is out of bounds."
        );
    }
    Ok(())
}

/// Minus the log-probability of the target class, weighted, with weights for averaging.
fn picked(log_p: &Tensor, y: &Tensor, weight: &Operand, ignore: i64) -> Result<(Tensor, Tensor)> {
    check_classes(y, log_p.shape()[1], ignore)?;
    let counted = ne(y, ignore)?;
    let safe = cast(&where_(&counted, y, 0i64)?, DType::I64)?;
    let picked = reshape(&gather(log_p, unsqueeze(&safe, 1i64)?, 1i64)?, y.shape())?;
    let scale = match weight {
        Operand::Tensor(w) => {
            ensure!(
                w.ndim() == 1 && w.numel() == log_p.shape()[1],
                runtime,
                "weight tensor should be defined either for all {} classes or no classes but got \
                 weight tensor of shape: {}",
                log_p.shape()[1],
                w.shape()
            );
            where_(counted, index_select(w, &safe, 0i64)?, 0i64)?
        }
        _ => cast(&counted, log_p.dtype())?,
    };
    // Ignored places contribute zero whatever they hold.
    let loss = where_(eq(&scale, 0i64)?, 0i64, mul(neg(picked)?, &scale)?)?;
    Ok((loss, scale))
}

/// Reduces per-row losses: the mean is over the sum of weights.
fn by_weight(loss: Tensor, scale: Tensor, how: &str, shape: &Shape) -> Result<Tensor> {
    match how {
        "mean" => div(sum(loss)?, sum(scale)?),
        "none" => reshape(&loss, shape),
        how => reduced(loss, how),
    }
}

/// Negative log-likelihood.
pub static NLL_LOSS: OpDef = OpDef {
    name: "nll_loss",
    doc: "`-weight[target] * input[target]` for log-probabilities `input` (N, C, ..) and class numbers \
          `target` (N, ..), reduced; the mean divides by the sum of the weights. Places where the \
          target is `ignore_index` do not count.",
    sig: &[
        "(input, target, weight: Tensor? = None, reduction: str = 'mean', ignore_index: int = -100)",
    ],
    kernel: Kernel::Composite(|call| {
        let (x, y) = rows(call)?;
        let (loss, scale) = picked(&x, &y, &call.inputs[2], call.attrs.int(1))?;
        Ok(smallvec![by_weight(
            loss,
            scale,
            call.attrs.str(0),
            call.tensor(1).shape()
        )?])
    }),
    ..LOSS
};

/// Cross-entropy.
pub static CROSS_ENTROPY: OpDef = OpDef {
    name: "cross_entropy",
    doc: "The negative log-likelihood of `log_softmax(input)`, for `input` (C), (N, C) or (N, C, d..). \
          `target` holds class numbers, or with the shape of `input` the probabilities of the classes. \
          `label_smoothing` mixes that share of the uniform distribution into the target.",
    sig: &[
        "(input, target, weight: Tensor? = None, reduction: str = 'mean', ignore_index: int = -100, label_smoothing: float = 0.0)",
    ],
    kernel: Kernel::Composite(|call| {
        let y = call.tensor(1);
        let smoothing = call.attrs.float(2);
        ensure!(
            (0.0..=1.0).contains(&smoothing),
            runtime,
            "label_smoothing must be between 0.0 and 1.0. Got: {smoothing}"
        );
        if y.dtype().is_float() {
            return Ok(smallvec![soft_cross_entropy(call, smoothing)?]);
        }
        let how = call.attrs.str(0);
        let (x, flat) = rows(call)?;
        let log_p = log_softmax(&x, 1i64)?;
        let (loss, scale) = picked(&log_p, &flat, &call.inputs[2], call.attrs.int(1))?;
        if smoothing == 0.0 {
            return Ok(smallvec![by_weight(loss, scale, how, y.shape())?]);
        }
        // The uniform part: minus the mean log-probability of all classes, each with its weight.
        let classes = log_p.shape()[1] as f64;
        let counted = ne(&flat, call.attrs.int(1))?;
        let weighted = weighted(log_p, &call.inputs[2])?;
        let uniform = neg(sum_dims(weighted, 1i64, false, None::<DType>)?)?;
        let uniform = where_(counted, div(uniform, classes)?, 0i64)?;
        let mixed = add(mul(loss, 1.0 - smoothing)?, mul(uniform, smoothing)?)?;
        Ok(smallvec![by_weight(mixed, scale, how, y.shape())?])
    }),
    ..LOSS
};

/// Cross-entropy with probabilities as targets.
fn soft_cross_entropy(call: &Call, smoothing: f64) -> Result<Tensor> {
    let (x, y) = (call.tensor(0), call.tensor(1));
    ensure!(
        x.shape() == y.shape(),
        value,
        "cross_entropy with class probabilities: input {} and target {} must have the same shape",
        x.shape(),
        y.shape()
    );
    ensure!(
        x.ndim() >= 1,
        value,
        "cross_entropy: Expected 1 or more dimensions (got 0)"
    );
    let dim = usize::from(x.ndim() > 1);
    let classes = x.shape()[dim] as f64;
    let y = if smoothing > 0.0 {
        add(mul(y, 1.0 - smoothing)?, smoothing / classes)?
    } else {
        y.clone()
    };
    let mut log_p = log_softmax(x, dim)?;
    if let Operand::Tensor(w) = &call.inputs[2] {
        let mut shape = Shape::filled(1, x.ndim());
        shape[dim] = w.numel();
        log_p = mul(log_p, reshape(w, &shape)?)?;
    }
    let loss = neg(sum_dims(mul(log_p, y)?, dim, false, None::<DType>)?)?;
    match call.attrs.str(0) {
        // The mean is over places, not over probabilities.
        "mean" => {
            let n = loss.numel() as f64;
            div(sum(loss)?, n)
        }
        how => reduced(loss, how),
    }
}

/// Cosine similarity.
pub static COSINE_SIMILARITY: OpDef = OpDef {
    name: "cosine_similarity",
    doc: "The inner product along `dim` over the product of the norms, each at least `eps`.",
    sig: &["(x1, x2, dim: int = 1, eps: float = 1e-08)"],
    forms: Forms {
        function: true,
        ..Forms::NN
    },
    kernel: Kernel::Composite(|call| {
        let (x, y) = pair(call)?;
        let (dim, eps) = (
            wrap_dim(call.attrs.int(0), x.ndim())? as i64,
            call.attrs.float(1),
        );
        let unit =
            |t: &Tensor| -> Result<Tensor> { div(t, clamp_min(norm(t, 2.0, &[dim], true)?, eps)?) };
        Ok(smallvec![sum_dims(
            mul(unit(&x)?, unit(&y)?)?,
            dim,
            false,
            None::<DType>
        )?])
    }),
    ..OpDef::COMPOSITE
};

/// Division by the norm.
pub static NORMALIZE: OpDef = OpDef {
    name: "normalize",
    doc: "`input` over its `p`-norm along `dim`, which is at least `eps`.",
    sig: &["(input, p: float = 2.0, dim: int[] = (1), eps: float = 1e-12)"],
    forms: Forms::NN,
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        let length = norm(x, call.attrs.float(0), call.attrs.ints(1), true)?;
        Ok(smallvec![div(x, clamp_min(length, call.attrs.float(2))?)?])
    }),
    ..OpDef::COMPOSITE
};
