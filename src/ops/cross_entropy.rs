//! Losses of classes: negative log-likelihood and cross-entropy.

use super::copy::{copy_into, raw};
use super::def::{Call, Forms, IN, Jvp, Kernel, OUT, OpDef, Returns, Spec, grad};
use super::loss::{LOSS, reduced, unknown_reduction};
use super::{
    add, cast, dispatch, div, gather, index_add, index_select, log_softmax, mul, ne, neg, reshape,
    scatter, sub, sum, sum_dims, unsqueeze, where_,
};
use crate::base::{DType, Error, Result, Scalar, Shape};
use crate::ensure;
use crate::tensor::{Operand, Tensor};
use smallvec::smallvec;

/// This family.
pub(super) static OPS: &[&OpDef] = &[&NLL, &NLL_LOSS, &CROSS_ENTROPY];

/// Where the classes lie in an input of `ndim` dimensions: (C), or (N, C, ..).
fn class_dim(ndim: usize) -> usize {
    usize::from(ndim > 1)
}

/// Shapes and types of class scores, class numbers and class weights.
fn check_classes(call: &Call) -> Result<()> {
    let (x, y) = (call.tensor(0), call.tensor(1));
    ensure!(
        x.ndim() >= 1,
        value,
        "Expected 1 or more dimensions (got 0)"
    );
    ensure!(
        y.dtype().is_int(),
        runtime,
        "expected target dtype to be Long or Byte, but got {}: class numbers are integers",
        y.dtype().scalar_type_name()
    );
    let dim = class_dim(x.ndim());
    let (classes, batch) = (x.shape()[dim], x.shape()[0]);
    if x.ndim() == 2 {
        ensure!(
            y.ndim() <= 1,
            runtime,
            "0D or 1D target tensor expected, multi-target not supported: input {} with target {}",
            x.shape(),
            y.shape()
        );
    }
    if x.ndim() > 1 {
        let given = y.shape().first().copied().unwrap_or(1);
        ensure!(
            given == batch && y.ndim() > 0,
            value,
            "Expected input batch_size ({batch}) to match target batch_size ({given})."
        );
    }
    let mut expected = x.shape().clone();
    expected.remove(dim);
    ensure!(
        *y.shape() == expected,
        runtime,
        "Expected target size {expected}, got {}: the input {} has its classes in dimension {dim}",
        y.shape(),
        x.shape()
    );
    if let Some(w) = call.tensor_opt(2) {
        ensure!(
            w.ndim() == 1 && w.numel() == classes,
            runtime,
            "weight tensor should be defined either for all {classes} classes or no classes but got \
             weight tensor of shape: {}",
            w.shape()
        );
        ensure!(
            w.dtype() == x.dtype(),
            runtime,
            "expected scalar type {} but found {}: the weight must have the input's type",
            x.dtype().scalar_type_name(),
            w.dtype().scalar_type_name()
        );
    }
    Ok(())
}

/// What a target says: which places count, and their classes (0 where they do not), as the index of
/// a lookup along the class dimension.
struct Targets {
    counted: Tensor,
    index: Tensor,
    dim: usize,
}

impl Targets {
    fn new(y: &Tensor, ignore: i64) -> Result<Self> {
        let dim = class_dim(y.ndim() + 1);
        let counted = ne(y, ignore)?;
        let safe = where_(&counted, cast(y, DType::I64)?, 0i64)?;
        let index = unsqueeze(safe, dim)?;
        Ok(Self {
            counted,
            index,
            dim,
        })
    }

    /// The scores of the target classes, of the target's shape.
    fn scores(&self, x: &Tensor) -> Result<Tensor> {
        let picked = gather(x, &self.index, self.dim)?;
        reshape(&picked, self.counted.shape())
    }

    /// `weight` of the target classes; without one, 1. 0 where nothing counts.
    fn weights(&self, weight: &Operand) -> Result<Tensor> {
        let Operand::Tensor(w) = weight else {
            return Ok(self.counted.clone());
        };
        let flat = reshape(&self.index, &Shape::from([self.index.numel()]))?;
        let picked = reshape(&index_select(w, flat, 0i64)?, self.counted.shape())?;
        where_(&self.counted, picked, 0i64)
    }
}

/// The class number that is none, if the lookup failed for one.
fn out_of_bounds(e: Error, y: &Tensor, classes: usize, ignore: i64) -> Error {
    let wrong = |t: &i64| *t != ignore && !(0..classes as i64).contains(t);
    let all = y.to_vec().unwrap_or_default();
    match all.into_iter().map(Scalar::as_i64).find(wrong) {
        Some(t) => Error::index(format!(
            "Target {t} is out of bounds. Classes are numbered from 0 to {}",
            classes as i64 - 1
        )),
        None => e,
    }
}

/// The kernel of [`NLL_LOSS`]: the loss, and the sum of the weights of what counts.
pub static NLL: OpDef = OpDef {
    name: "nll_loss_forward",
    doc: "The negative log-likelihood, and the sum of the weights of what counts.",
    sig: &["(input, target, weight: Tensor?, reduction: str, ignore_index: int)"],
    forms: Forms::HIDDEN,
    returns: Returns::Tuple,
    meta: |call| {
        check_classes(call)?;
        let x = call.tensor(0);
        ensure!(
            x.dtype().is_float(),
            not_implemented,
            "\"nll_loss_out_frame\" not implemented for '{}'",
            x.dtype().scalar_type_name()
        );
        let shape = match call.attrs.str(0) {
            "none" => call.tensor(1).shape().clone(),
            "mean" | "sum" => Shape::new(),
            other => return Err(unknown_reduction(other)),
        };
        // The number of places may exceed what a half type holds.
        let wide = x.dtype().compute();
        Ok(smallvec![
            Spec {
                shape,
                dtype: x.dtype()
            },
            Spec {
                shape: Shape::new(),
                dtype: wide
            },
        ])
    },
    kernel: Kernel::Compute(|cx| {
        let (x, y) = (raw(cx.call.tensor(0)), raw(cx.call.tensor(1)));
        let weight = Operand::from(cx.call.tensor_opt(2).map(raw));
        let targets = Targets::new(&y, cx.int(1))?;
        let classes = x.shape()[targets.dim];
        let scores = targets
            .scores(&x)
            .map_err(|e| out_of_bounds(e, &y, classes, cx.int(1)))?;
        let wide = cx.outs[1].dtype();
        let weights = cast(&targets.weights(&weight)?, wide)?;
        let losses = neg(cast(&scores, wide)?)?;
        let losses = match weight {
            Operand::Tensor(_) => mul(losses, &weights)?,
            _ => losses,
        };
        // What does not count is 0 whatever it holds.
        let losses = where_(&targets.counted, losses, 0i64)?;
        let total = sum(weights)?;
        let loss = match cx.str(0) {
            "none" => losses,
            "mean" => div(sum(losses)?, &total)?,
            _ => sum(losses)?,
        };
        copy_into(cx, 0, &loss);
        copy_into(cx, 1, &total);
        Ok(())
    }),
    // Over places i with class t[i]: L = -sum(w[t[i]] x[i, t[i]]) / W for the mean, without W for the
    // sum, and W = sum(w[t[i]]).
    grads: &[
        // dL/dx[i, t[i]] = -w[t[i]] / W
        grad(IN(1) | IN(2) | OUT(1), |cx| {
            let Some(g) = &cx.grads[0] else {
                return Ok(None);
            };
            let g = match cx.attrs.str(0) {
                "mean" => div(g, cx.output(1)?)?,
                _ => g.clone(),
            };
            let targets = Targets::new(&cx.tensor(1)?, cx.attrs.int(1))?;
            let mut slope = where_(&targets.counted, neg(g)?, 0i64)?;
            let weight = cx.input(2)?;
            if weight.is_some() {
                slope = mul(slope, targets.weights(&weight)?)?;
            }
            let zeros = Tensor::zeros(cx.shape(0).clone(), slope.dtype(), slope.device())?;
            let slope = unsqueeze(slope, targets.dim)?;
            scatter(zeros, targets.index, slope, targets.dim).map(Some)
        }),
        None,
        // dL/dw[t[i]] = -(x[i, t[i]] + L) / W for the mean, else -x[i, t[i]];  dW/dw[t[i]] = 1
        grad(IN(0) | IN(1) | OUT(0) | OUT(1), |cx| {
            let targets = Targets::new(&cx.tensor(1)?, cx.attrs.int(1))?;
            let mut slope = None;
            if let Some(g) = &cx.grads[0] {
                let scores = neg(targets.scores(&cx.tensor(0)?)?)?;
                slope = Some(match cx.attrs.str(0) {
                    "mean" => mul(sub(scores, cx.output(0)?)?, div(g, cx.output(1)?)?)?,
                    _ => mul(scores, g)?,
                });
            }
            if let Some(g) = &cx.grads[1] {
                slope = Some(match slope {
                    Some(slope) => add(slope, g)?,
                    None => g.clone(),
                });
            }
            let Some(slope) = slope else {
                return Ok(None);
            };
            let slope = where_(&targets.counted, slope, 0i64)?;
            let flat = Shape::from([slope.numel()]);
            let zeros = Tensor::zeros(cx.shape(2).clone(), slope.dtype(), slope.device())?;
            let index = reshape(&targets.index, &flat)?;
            index_add(zeros, index, reshape(&slope, &flat)?, 0i64, 1i64).map(Some)
        }),
    ],
    jvp: Jvp::DoubleVjp,
    ..OpDef::BASE
};

/// The loss and the sum of the weights.
fn nll(
    log_p: &Tensor,
    y: &Tensor,
    weight: &Operand,
    how: &str,
    ignore: i64,
) -> Result<(Tensor, Tensor)> {
    let attrs = [how.into(), ignore.into()].into_iter().collect();
    let mut outs = dispatch::run(&NLL, &[log_p.into(), y.into(), weight.clone()], &attrs)?;
    let total = outs.swap_remove(1);
    Ok((outs.swap_remove(0), total))
}

/// Negative log-likelihood.
pub static NLL_LOSS: OpDef = OpDef {
    name: "nll_loss",
    doc: "`-weight[target] * input[target]` for log-probabilities `input` (C), (N, C) or (N, C, d..) and \
          class numbers `target` (), (N) or (N, d..), reduced; the mean divides by the sum of the \
          weights. Places where the target is `ignore_index` do not count.",
    sig: &[
        "(input, target, weight: Tensor? = None, reduction: str = 'mean', ignore_index: int = -100)",
    ],
    kernel: Kernel::Composite(|call| {
        let (x, y, w) = (call.tensor(0), call.tensor(1), &call.inputs[2]);
        Ok(smallvec![
            nll(x, y, w, call.attrs.str(0), call.attrs.int(1))?.0
        ])
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
        let (x, y, weight) = (call.tensor(0), call.tensor(1), &call.inputs[2]);
        let (how, ignore, smoothing) = (call.attrs.str(0), call.attrs.int(1), call.attrs.float(2));
        ensure!(
            (0.0..=1.0).contains(&smoothing),
            runtime,
            "label_smoothing must be between 0.0 and 1.0. Got: {smoothing}"
        );
        ensure!(
            x.ndim() >= 1,
            value,
            "Expected 1 or more dimensions (got 0)"
        );
        if y.dtype().is_float() && x.shape() == y.shape() {
            return Ok(smallvec![soft_cross_entropy(call, smoothing)?]);
        }
        check_classes(call)?;
        let dim = class_dim(x.ndim());
        let log_p = log_softmax(x, dim)?;
        let (loss, total) = nll(&log_p, y, weight, how, ignore)?;
        if smoothing == 0.0 {
            return Ok(smallvec![loss]);
        }
        // The uniform part: minus the mean log-probability of the classes, each with its weight.
        let classes = x.shape()[dim];
        let uniform = neg(sum_dims(
            by_class(log_p, weight, dim)?,
            dim,
            false,
            None::<DType>,
        )?)?;
        let uniform = where_(ne(y, ignore)?, uniform, 0i64)?;
        let uniform = match how {
            "mean" => div(sum(uniform)?, total)?,
            how => reduced(uniform, how)?,
        };
        let loss = add(
            mul(loss, 1.0 - smoothing)?,
            mul(uniform, smoothing / classes as f64)?,
        )?;
        Ok(smallvec![cast(&loss, x.dtype())?])
    }),
    ..LOSS
};

/// `x` times a weight for each class, if there is one.
fn by_class(x: Tensor, weight: &Operand, dim: usize) -> Result<Tensor> {
    let Operand::Tensor(w) = weight else {
        return Ok(x);
    };
    ensure!(
        w.ndim() == 1 && w.numel() == x.shape()[dim],
        runtime,
        "weight tensor should be defined either for all {} classes or no classes but got weight \
         tensor of shape: {}",
        x.shape()[dim],
        w.shape()
    );
    let mut shape = Shape::filled(1, x.ndim());
    shape[dim] = w.numel();
    mul(x, reshape(w, &shape)?)
}

/// Cross-entropy with probabilities as targets.
fn soft_cross_entropy(call: &Call, smoothing: f64) -> Result<Tensor> {
    let (x, y, how) = (call.tensor(0), call.tensor(1), call.attrs.str(0));
    let dim = class_dim(x.ndim());
    let classes = x.shape()[dim];
    let y = if smoothing > 0.0 {
        add(mul(y, 1.0 - smoothing)?, smoothing / classes as f64)?
    } else {
        y.clone()
    };
    let log_p = by_class(log_softmax(x, dim)?, &call.inputs[2], dim)?;
    let loss = neg(sum_dims(mul(log_p, y)?, dim, false, None::<DType>)?)?;
    reduced(loss, how)
}
