//! Losses of classes: negative log-likelihood and cross-entropy.

use super::copy::{copy_into, raw};
use super::def::{Call, Forms, IN, Jvp, Kernel, KernelCx, OUT, OpDef, Returns, Spec, grad, spec};
use super::loss::{LOSS, reduced, unknown_reduction};
use super::reduce::reduce_to;
use super::{
    add, cast, dispatch, div, expand, gather, index_add, log_softmax, mul, ne, neg, reshape, sub,
    sum, sum_dims, unsqueeze, where_,
};
use crate::backend::{Classes, Reduction};
use crate::base::{Attr, DType, Result, Scalar, Shape};
use crate::ensure;
use crate::tensor::{Operand, Tensor};
use smallvec::{SmallVec, smallvec};

/// This family.
pub(super) static OPS: &[&OpDef] = &[&NLL, &NLL_BACKWARD, &NLL_LOSS, &CROSS_ENTROPY];

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

    /// For each class the sum of what its places have; `weight` is the shape of the result.
    fn add_up(&self, terms: Tensor, weight: &Shape) -> Result<Tensor> {
        let terms = where_(&self.counted, terms, 0i64)?;
        let flat = Shape::from([terms.numel()]);
        let zeros = Tensor::zeros(weight.clone(), terms.dtype(), terms.device())?;
        let index = reshape(&self.index, &flat)?;
        index_add(zeros, index, reshape(&terms, &flat)?, 0i64, 1i64)
    }
}

/// Class numbers as the kernels take them.
fn class_numbers(y: &Tensor) -> Result<Tensor> {
    cast(&raw(y), DType::I64)
}

/// The classes of a call of [`NLL`] or [`NLL_BACKWARD`], whose scores have so many dimensions.
fn classes<'a>(cx: &KernelCx<'a>, ndim: usize, target: &'a Tensor) -> Classes<'a> {
    Classes {
        dim: class_dim(ndim),
        target: target.as_view(),
        ignored: cx.int(1),
        weight: cx.call.tensor_opt(2).map(Tensor::as_view),
    }
}

/// The kernel of [`NLL_LOSS`]: the loss, and the sum of the weights of what counts.
pub static NLL: OpDef = OpDef {
    name: "nll_loss_exact",
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
        let x = cx.call.tensor(0);
        let y = class_numbers(cx.call.tensor(1))?;
        let (total, wide) = (&cx.outs[1], cx.outs[1].dtype());
        let [losses, weights] = [0, 1].map(|_| Tensor::empty(y.shape().clone(), wide, y.device()));
        let (losses, weights) = (losses?, weights?);
        let backend = cx.backend;
        backend.nll(
            losses.as_view(),
            weights.as_view(),
            x.as_view(),
            &classes(cx, x.ndim(), &y),
        )?;
        let dims: SmallVec<[usize; 4]> = (0..y.ndim()).collect();
        let add_up = |sum: &Tensor, terms: &Tensor| {
            reduce_to(backend, Reduction::Sum, sum, terms, &dims);
        };
        add_up(total, &weights);
        match cx.str(0) {
            "none" => copy_into(cx, 0, &losses),
            how => {
                let sum = Tensor::empty(Shape::new(), wide, y.device())?;
                add_up(&sum, &losses);
                let mut loss = sum.item()?.as_f64();
                if how == "mean" {
                    loss /= total.item()?.as_f64();
                }
                backend.fill(cx.outs[0].as_view(), Scalar::Float(loss));
            }
        }
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
            let shape = cx.shape(0);
            let mut attrs = cx.attrs.clone();
            attrs.push(Attr::Int(shape[class_dim(shape.len())] as i64));
            let inputs = [g.into(), cx.input(1)?, cx.input(2)?, cx.output(1)?.into()];
            dispatch::run1(&NLL_BACKWARD, &inputs, &attrs).map(Some)
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
            slope
                .map(|slope| targets.add_up(slope, cx.shape(2)))
                .transpose()
        }),
    ],
    jvp: Jvp::DoubleVjp,
    ..OpDef::BASE
};

/// The vjp of the loss in the scores.
pub static NLL_BACKWARD: OpDef = OpDef {
    name: "nll_loss_backward",
    doc: "The backward step of `nll_loss_exact` for so many classes, from its second output `total`.",
    sig: &[
        "(grad, target, weight: Tensor?, total, reduction: str, ignore_index: int, classes: int)",
    ],
    forms: Forms::HIDDEN,
    meta: |call| {
        let mut shape = call.tensor(1).shape().clone();
        shape.insert(class_dim(shape.len() + 1), call.attrs.int(2) as usize);
        Ok(spec(shape, call.tensor(0).dtype()))
    },
    kernel: Kernel::Compute(|cx| {
        let (g, total, out) = (cx.call.tensor(0), cx.call.tensor(3), &cx.outs[0]);
        let y = class_numbers(cx.call.tensor(1))?;
        let wide = out.dtype().compute();
        let slope = match cx.str(0) {
            "none" => cast(&neg(raw(g))?, wide)?,
            how => {
                let mut slope = -g.item()?.as_f64();
                if how == "mean" {
                    slope /= total.item()?.as_f64();
                }
                let slope = Tensor::full(Shape::new(), Scalar::Float(slope), wide, y.device())?;
                expand(&slope, y.shape())?
            }
        };
        let classes = classes(cx, out.ndim(), &y);
        cx.backend
            .nll_backward(out.as_view(), slope.as_view(), &classes)
    }),
    // With one g for the mean and the sum, g[i] without a reduction, and W = 1 but for the mean:
    // B[i, t[i]] = -g w[t[i]] / W, and a cotangent u makes it sum(u[i, t[i]] B[i, t[i]]).
    grads: &[
        // Linear in g: the loss of scores u.
        grad(IN(1) | IN(2), |cx| {
            let (y, how, ignore) = (cx.tensor(1)?, cx.attrs.str(0), cx.attrs.int(1));
            nll(cx.grad(), &y, &cx.input(2)?, how, ignore).map(|(loss, _)| Some(loss))
        }),
        None,
        // dB/dw[t[i]] . u = -g u[i, t[i]] / W
        grad(IN(0) | IN(1) | IN(3), |cx| {
            let targets = Targets::new(&cx.tensor(1)?, cx.attrs.int(1))?;
            let mut g = cx.tensor(0)?;
            if cx.attrs.str(0) == "mean" {
                g = div(g, cx.tensor(3)?)?;
            }
            let slope = mul(neg(targets.scores(cx.grad())?)?, g)?;
            targets.add_up(slope, cx.shape(2)).map(Some)
        }),
        // dB/dW . u = g sum(w[t[i]] u[i, t[i]]) / W^2, for the mean
        grad(IN(0) | IN(1) | IN(2) | IN(3), |cx| {
            let (y, how, ignore) = (cx.tensor(1)?, cx.attrs.str(0), cx.attrs.int(1));
            if how != "mean" {
                return Ok(None);
            }
            let (loss, _) = nll(cx.grad(), &y, &cx.input(2)?, how, ignore)?;
            neg(mul(loss, div(cx.tensor(0)?, cx.tensor(3)?)?)?).map(Some)
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
