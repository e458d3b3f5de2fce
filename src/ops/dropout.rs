//! Dropout: random zeros while training.

use super::def::{Call, Forms, Kernel, OpDef};
use super::random::{default_generator, draw, float_dtype};
use super::{add, div, mul, where_};
use crate::backend::Distribution;
use crate::base::{DType, Result, Shape};
use crate::ensure;
use crate::tensor::Tensor;
use smallvec::smallvec;

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &DROPOUT,
    &FEATURE_DROPOUT,
    &ALPHA_DROPOUT,
    &FEATURE_ALPHA_DROPOUT,
];

/// As PyTorch has them: functions, in-place functions, and steps of `nn.functional`.
const DROP: OpDef = OpDef {
    forms: Forms {
        function: true,
        in_place: true,
        ..Forms::NN
    },
    ..OpDef::COMPOSITE
};

/// The probability of a drop, and whether there is anything to do.
fn probability(call: &Call) -> Result<(f64, bool)> {
    let p = call.attrs.float(0);
    ensure!(
        (0.0..=1.0).contains(&p),
        value,
        "dropout probability has to be between 0 and 1, but got {p}"
    );
    let active = call.attrs.bool(1) && p > 0.0;
    if active {
        float_dtype(call.op.name, call.tensor(0).dtype())?;
    }
    Ok((p, active))
}

/// Which elements (or, if `features`, which rows of the first two dimensions) are kept.
fn kept(x: &Tensor, p: f64, features: bool) -> Result<Tensor> {
    ensure!(
        !features || x.ndim() >= 2,
        runtime,
        "Feature dropout requires at least 2 dimensions in the input, got shape {}",
        x.shape()
    );
    let size = |(d, n): (usize, &usize)| if features && d > 1 { 1 } else { *n };
    let shape: Shape = x.shape().iter().enumerate().map(size).collect();
    let kept = Tensor::empty(shape, DType::Bool, x.device())?;
    let distribution = Distribution::Bernoulli { p: 1.0 - p };
    draw(&kept, distribution, default_generator())?;
    Ok(kept)
}

/// `x / (1 - p)` where it is kept, else 0. Chosen, not multiplied: a dropped infinity is 0.
fn dropped(call: &Call, features: bool) -> Result<Tensor> {
    let x = call.tensor(0);
    let (p, active) = probability(call)?;
    if !active {
        return Ok(x.clone());
    }
    let kept = kept(x, p, features)?;
    let scaled = if p < 1.0 { div(x, 1.0 - p)? } else { x.clone() };
    where_(kept, scaled, 0i64)
}

/// As PyTorch's `alpha_dropout`: dropped elements take the value that SELU goes to, and the result
/// is shifted and scaled so that mean 0 and variance 1 stay.
fn alpha_dropped(call: &Call, features: bool) -> Result<Tensor> {
    /// `-alpha * scale` of SELU.
    const LOWEST: f64 = -1.758_099_340_847_376_6;
    let x = call.tensor(0);
    let (p, active) = probability(call)?;
    if !active {
        return Ok(x.clone());
    }
    let kept = kept(x, p, features)?;
    if p == 1.0 {
        return where_(kept, x, 0i64);
    }
    // a = ((1 - p) (1 + p m^2))^(-1/2), b = -a p m
    let a = ((1.0 - p) * (1.0 + p * LOWEST * LOWEST)).sqrt().recip();
    let b = -a * p * LOWEST;
    where_(kept, add(mul(x, a)?, b)?, a * LOWEST + b)
}

/// `dropout`.
pub static DROPOUT: OpDef = OpDef {
    name: "dropout",
    doc: "While training (`train`), each element is 0 with probability `p` and otherwise divided by \
          `1 - p`; else `input` itself.\n\n\
          >>> rg.dropout(rg.ones(3), 1.0, True)\n\
          tensor([0., 0., 0.])",
    sig: &["(input, p: float = 0.5, train: bool = True)"],
    kernel: Kernel::Composite(|call| Ok(smallvec![dropped(call, false)?])),
    ..DROP
};

/// `feature_dropout`.
pub static FEATURE_DROPOUT: OpDef = OpDef {
    name: "feature_dropout",
    doc: "As `dropout`, but what shares the first two indices is kept or dropped together.",
    sig: &["(input, p: float = 0.5, train: bool = True)"],
    kernel: Kernel::Composite(|call| Ok(smallvec![dropped(call, true)?])),
    ..DROP
};

/// `alpha_dropout`.
pub static ALPHA_DROPOUT: OpDef = OpDef {
    name: "alpha_dropout",
    doc: "Dropout for networks of SELUs: while training (`train`), each element takes SELU's lowest \
          value with probability `p`, and all are scaled and shifted so that mean 0 and variance 1 \
          stay; else `input` itself.",
    sig: &["(input, p: float = 0.5, train: bool = False)"],
    kernel: Kernel::Composite(|call| Ok(smallvec![alpha_dropped(call, false)?])),
    ..DROP
};

/// `feature_alpha_dropout`.
pub static FEATURE_ALPHA_DROPOUT: OpDef = OpDef {
    name: "feature_alpha_dropout",
    doc: "As `alpha_dropout`, but what shares the first two indices is kept or dropped together.",
    sig: &["(input, p: float = 0.5, train: bool = False)"],
    kernel: Kernel::Composite(|call| Ok(smallvec![alpha_dropped(call, true)?])),
    ..DROP
};
