//! Arithmetic of one, two and three operands.

use super::def::{IN, Kernel, NOTHING, OUT, OpDef, Promote, grad};
use super::neg;
use crate::backend::Functor;
use crate::base::Result;
use crate::tape::VjpCx;
use crate::tensor::{Operand, Tensor};

/// This family.
pub(super) static OPS: &[&OpDef] = &[&ADD, &MUL, &DIV];

functions! {
    /// `x + alpha * y`.
    add_scaled(x, y; alpha) = ADD;
    /// `x * y`.
    mul(x, y) = MUL;
    /// `x / y`.
    div(x, y) = DIV;
}

/// `x + y`.
///
/// # Errors
/// When the shapes do not broadcast.
pub fn add(x: impl Into<Operand>, y: impl Into<Operand>) -> Result<Tensor> {
    add_scaled(x, y, 1i64)
}

/// `input + alpha * other`.
pub static ADD: OpDef = OpDef {
    name: "add",
    doc: "`input + alpha * other`, elementwise with broadcasting.",
    sig: &["(input: Tensor|Scalar, other: Tensor|Scalar, *, alpha: Scalar = 1)"],
    kernel: Kernel::Map {
        f: Functor::Add,
        promote: Promote::Arith,
    },
    // d(x + a y) = dx + a dy
    grads: &[
        grad(NOTHING, |cx| Ok(Some(cx.grad().clone()))),
        grad(NOTHING, |cx| scaled(cx, cx.grad())),
    ],
    ..OpDef::MAP
};

/// `alpha * g` for the alpha in argument 0; `g` itself when alpha is 1.
fn scaled(cx: &VjpCx, g: &Tensor) -> Result<Option<Tensor>> {
    let alpha = cx.attrs.scalar(0);
    if alpha.as_f64() == 1.0 {
        Ok(Some(g.clone()))
    } else {
        mul(g, alpha).map(Some)
    }
}

/// `input * other`.
pub static MUL: OpDef = OpDef {
    name: "mul",
    doc: "`input * other`, elementwise with broadcasting.",
    sig: &["(input: Tensor|Scalar, other: Tensor|Scalar)"],
    kernel: Kernel::Map {
        f: Functor::Mul,
        promote: Promote::Arith,
    },
    // d(x y) = y dx + x dy
    grads: &[
        grad(IN(1), |cx| mul(cx.grad(), cx.input(1)?).map(Some)),
        grad(IN(0), |cx| mul(cx.grad(), cx.input(0)?).map(Some)),
    ],
    ..OpDef::MAP
};

/// `input / other`.
pub static DIV: OpDef = OpDef {
    name: "div",
    doc: "`input / other`, elementwise with broadcasting; integers divide as floats.",
    sig: &["(input: Tensor|Scalar, other: Tensor|Scalar)"],
    kernel: Kernel::Map {
        f: Functor::Div,
        promote: Promote::Float,
    },
    // d(x / y) = dx / y - (x / y) / y dy
    grads: &[
        grad(IN(1), |cx| div(cx.grad(), cx.input(1)?).map(Some)),
        grad(IN(1) | OUT(0), |cx| {
            let y = cx.input(1)?;
            let q = div(mul(cx.grad(), cx.output(0)?)?, y)?;
            neg(q).map(Some)
        }),
    ],
    ..OpDef::MAP
};
