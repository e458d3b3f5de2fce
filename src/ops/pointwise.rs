//! Functions of one operand, elementwise.

use super::def::{IN, Kernel, NOTHING, OUT, OpDef, Promote, grad};
use super::{add, mul};
use crate::backend::Functor;

/// This family.
pub(super) static OPS: &[&OpDef] = &[&NEG, &EXP, &TANH, &SIN, &COS];

functions! {
    /// `-x`.
    neg(x) = NEG;
    /// `e^x`.
    exp(x) = EXP;
    /// Hyperbolic tangent.
    tanh(x) = TANH;
    /// Sine.
    sin(x) = SIN;
    /// Cosine.
    cos(x) = COS;
}

/// `-x`.
pub static NEG: OpDef = OpDef {
    name: "neg",
    doc: "`-input`, elementwise.",
    sig: &["(input)"],
    kernel: Kernel::Map {
        f: Functor::Neg,
        promote: Promote::Arith,
    },
    // d(-x) = -dx
    grads: &[grad(NOTHING, |cx| neg(cx.grad()).map(Some))],
    ..OpDef::MAP
};

/// `e^x`.
pub static EXP: OpDef = OpDef {
    name: "exp",
    doc: "`e ** input`, elementwise.",
    sig: &["(input)"],
    kernel: Kernel::Map {
        f: Functor::Exp,
        promote: Promote::Float,
    },
    // d e^x = e^x dx
    grads: &[grad(OUT(0), |cx| mul(cx.grad(), cx.output(0)?).map(Some))],
    ..OpDef::MAP
};

/// Hyperbolic tangent.
pub static TANH: OpDef = OpDef {
    name: "tanh",
    doc: "Hyperbolic tangent, elementwise.",
    sig: &["(input)"],
    kernel: Kernel::Map {
        f: Functor::Tanh,
        promote: Promote::Float,
    },
    // d tanh(x) = (1 - tanh(x)^2) dx
    grads: &[grad(OUT(0), |cx| {
        let y = cx.output(0)?;
        mul(cx.grad(), add(neg(mul(&y, &y)?)?, 1i64)?).map(Some)
    })],
    ..OpDef::MAP
};

/// Sine.
pub static SIN: OpDef = OpDef {
    name: "sin",
    doc: "Sine of `input` in radians, elementwise.",
    sig: &["(input)"],
    kernel: Kernel::Map {
        f: Functor::Sin,
        promote: Promote::Float,
    },
    // d sin(x) = cos(x) dx
    grads: &[grad(IN(0), |cx| {
        mul(cx.grad(), cos(cx.input(0)?)?).map(Some)
    })],
    ..OpDef::MAP
};

/// Cosine.
pub static COS: OpDef = OpDef {
    name: "cos",
    doc: "Cosine of `input` in radians, elementwise.",
    sig: &["(input)"],
    kernel: Kernel::Map {
        f: Functor::Cos,
        promote: Promote::Float,
    },
    // d cos(x) = -sin(x) dx
    grads: &[grad(IN(0), |cx| {
        neg(mul(cx.grad(), sin(cx.input(0)?)?)?).map(Some)
    })],
    ..OpDef::MAP
};
