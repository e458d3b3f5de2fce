//! The four operations, remainders, and products fused with sums: elementwise with broadcasting.
//!
//! NOTE [Zero cotangents]
//! Where an element does not matter, its cotangent `g` is exactly 0; if the slope there is infinite
//! or NaN, `0 * slope` would be NaN and spoil the gradient of everything before. So rules multiply
//! by [`mul_or_zero`] and divide by [`div_or_zero`] wherever a slope can be infinite, and
//! `where(x > 0, sqrt(x), x)` has a gradient at 0. The slope is computed apart from `g`: then its
//! own cotangent is a multiple of `g`, and is 0 too. In a rule's own derivative, `g` and the new
//! cotangent meet in [`mul_cotangents`], where either may be 0 and the other infinite. All three
//! cost what `mul` and `div` cost. An infinite cotangent on a slope of 0 stays NaN, as in PyTorch:
//! such a point has no derivative.

use super::def::{
    Call, Choice, Forms, IN, Kernel, NOTHING, OUT, OpDef, Promote, grad, grad_of_taken,
};
use super::{any, eq, floor, neg, square, trunc};
use crate::backend::Functor;
use crate::base::{DType, Device, Result};
use crate::tape::VjpCx;
use crate::tensor::{Operand, Tensor};
use crate::{bail, ensure};
use smallvec::smallvec;

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &ADD,
    &SUB,
    &RSUB,
    &MUL,
    &DIV,
    &FLOOR_DIVIDE,
    &REMAINDER,
    &FMOD,
    &LERP,
    &ADDCMUL,
    &ADDCDIV,
    &MUL_OR_ZERO,
    &DIV_OR_ZERO,
    &MUL_COTANGENTS,
];

functions! {
    /// `x + alpha * y`.
    add_scaled(x, y; alpha) = ADD;
    /// `x - alpha * y`.
    sub_scaled(x, y; alpha) = SUB;
    /// `x * y`.
    mul(x, y) = MUL;
    /// `x / y`, rounded as the word says.
    div_rounded(x, y; rounding_mode) = DIV;
    /// `floor(x / y)`.
    floor_divide(x, y) = FLOOR_DIVIDE;
    /// The remainder with the sign of `y`.
    remainder(x, y) = REMAINDER;
    /// `x + value * a * b`.
    addcmul(x, a, b; value) = ADDCMUL;
    /// `g * slope`, and 0 where `g` is 0: see NOTE [Zero cotangents].
    mul_or_zero(g, slope) = MUL_OR_ZERO;
    /// `g / x`, and 0 where `g` is 0: see NOTE [Zero cotangents].
    div_or_zero(g, x) = DIV_OR_ZERO;
    /// `g * h`, and 0 where either is 0: see NOTE [Zero cotangents].
    mul_cotangents(g, h) = MUL_COTANGENTS;
}

/// `x + y`.
///
/// # Errors
/// When the shapes do not broadcast.
pub fn add(x: impl Into<Operand>, y: impl Into<Operand>) -> Result<Tensor> {
    add_scaled(x, y, 1i64)
}

/// `x - y`.
///
/// # Errors
/// When the shapes do not broadcast.
pub fn sub(x: impl Into<Operand>, y: impl Into<Operand>) -> Result<Tensor> {
    sub_scaled(x, y, 1i64)
}

/// `x / y`.
///
/// # Errors
/// When the shapes do not broadcast.
pub fn div(x: impl Into<Operand>, y: impl Into<Operand>) -> Result<Tensor> {
    div_rounded(x, y, crate::base::Attr::None)
}

const TWO: &[&str] = &["(input: Tensor|Scalar, other: Tensor|Scalar)"];
const SCALED: &[&str] = &["(input: Tensor|Scalar, other: Tensor|Scalar, *, alpha: Scalar = 1)"];

/// A sum scaled by argument 0.
fn sum_of(call: &Call, f: Functor) -> Result<Choice> {
    let choice = Choice::of(call, f, Promote::Arith)?;
    let alpha = choice.params[0].dtype();
    ensure!(
        alpha != DType::Bool || choice.dtype == DType::Bool,
        runtime,
        "Boolean alpha only supported for Boolean results."
    );
    ensure!(
        choice.dtype.is_float() || !alpha.is_float(),
        runtime,
        "For integral input tensors, argument alpha must not be a floating point number."
    );
    Ok(choice)
}

/// `sign * alpha * g` for the alpha in argument 0.
fn scaled(cx: &VjpCx, g: &Tensor, sign: f64) -> Result<Option<Tensor>> {
    let alpha = sign * cx.attrs.float(0);
    Ok(Some(if alpha == 1.0 {
        g.clone()
    } else if alpha == -1.0 {
        neg(g)?
    } else {
        mul(g, alpha)?
    }))
}

/// `g * slope`; numbers are finite.
fn times(g: Tensor, slope: Operand) -> Result<Tensor> {
    match slope {
        Operand::Scalar(_) => mul(g, slope),
        _ => mul_or_zero(g, slope),
    }
}

/// `input + alpha * other`.
pub static ADD: OpDef = OpDef {
    name: "add",
    doc: "`input + alpha * other`, elementwise with broadcasting, in the promoted type. Bools add \
          up to their `or`; integers take an integer `alpha` only.\n\n\
          >>> rg.add(rg.tensor([1.0, 2.0]), rg.tensor([[10.0], [20.0]]), alpha=2)\n\
          tensor([[21., 22.],\n        [41., 42.]])",
    sig: SCALED,
    kernel: Kernel::Choose(|call| sum_of(call, Functor::Add)),
    // d(x + a y) = dx + a dy
    grads: &[
        grad(NOTHING, |cx| Ok(Some(cx.grad().clone()))),
        grad(NOTHING, |cx| scaled(cx, cx.grad(), 1.0)),
    ],
    ..OpDef::MAP
};

/// `input - alpha * other`.
pub static SUB: OpDef = OpDef {
    name: "sub",
    doc: "`input - alpha * other`, elementwise with broadcasting, in the promoted type. Bools \
          cannot be subtracted: use `^` or `~`.\n\n\
          >>> rg.sub(rg.tensor([1.0, 2.0]), 0.5)\n\
          tensor([0.5000, 1.5000])",
    sig: SCALED,
    aliases: &["subtract"],
    kernel: Kernel::Choose(|call| {
        let bools = call.inputs.iter().filter(|x| x.dtype() == DType::Bool);
        match bools.count() {
            0 => {}
            2 => bail!(
                runtime,
                "Subtraction, the `-` operator, with two bool tensors is not supported. Use the \
                 `^` or `logical_xor()` operator instead."
            ),
            _ => bail!(
                runtime,
                "Subtraction, the `-` operator, with a bool tensor is not supported. If you are \
                 trying to invert a mask, use the `~` or `logical_not()` operator instead."
            ),
        }
        sum_of(call, Functor::Sub)
    }),
    // d(x - a y) = dx - a dy
    grads: &[
        grad(NOTHING, |cx| Ok(Some(cx.grad().clone()))),
        grad(NOTHING, |cx| scaled(cx, cx.grad(), -1.0)),
    ],
    ..OpDef::MAP
};

/// `other - alpha * input`.
pub static RSUB: OpDef = OpDef {
    name: "rsub",
    doc: "`other - alpha * input`: `sub` with its operands swapped.\n\n\
          >>> rg.rsub(rg.tensor([1.0, 2.0]), 3)\n\
          tensor([2., 1.])",
    sig: &["(input, other: Tensor|Scalar, *, alpha: Scalar = 1)"],
    kernel: Kernel::Composite(|call| {
        Ok(smallvec![sub_scaled(
            &call.inputs[1],
            &call.inputs[0],
            call.attrs.scalar(0)
        )?])
    }),
    ..OpDef::COMPOSITE
};

/// `input * other`.
pub static MUL: OpDef = OpDef {
    name: "mul",
    doc: "`input * other`, elementwise with broadcasting, in the promoted type. Bools multiply to \
          their `and`.\n\n\
          >>> rg.mul(rg.tensor([1.0, 2.0]), rg.tensor([[2.0], [3.0]]))\n\
          tensor([[2., 4.],\n        [3., 6.]])",
    sig: TWO,
    aliases: &["multiply"],
    kernel: Kernel::Map {
        f: Functor::Mul,
        promote: Promote::Arith,
    },
    // d(x y) = y dx + x dy
    grads: &[
        grad_of_taken(IN(1), |cx| times(cx.take_grad(), cx.input(1)?).map(Some)),
        grad_of_taken(IN(0), |cx| times(cx.take_grad(), cx.input(0)?).map(Some)),
    ],
    ..OpDef::MAP
};

/// `input / other`, rounded if asked for.
pub static DIV: OpDef = OpDef {
    name: "div",
    doc: "`input / other`, elementwise with broadcasting; integers divide as floats.\n\n\
          With `rounding_mode='floor'` or `'trunc'` the quotient is rounded down or toward 0 and \
          keeps the promoted type; its gradient is zero, and integers raise when divided by 0.\n\n\
          >>> rg.div(rg.tensor([-7, 8]), 2)\n\
          tensor([-3.5000,  4.0000])\n\
          >>> rg.div(rg.tensor([-7, 8]), 2, rounding_mode='floor')\n\
          tensor([-4,  4])",
    sig: &["(input: Tensor|Scalar, other: Tensor|Scalar, *, rounding_mode: str? = None)"],
    aliases: &["divide", "true_divide"],
    kernel: Kernel::Choose(|call| {
        if call.attrs.is_none(0) {
            return Choice::of(call, Functor::Div, Promote::Float);
        }
        match call.attrs.str(0) {
            "floor" => whole_division(call, Functor::DivFloor),
            "trunc" => whole_division(call, Functor::DivTrunc),
            other => bail!(
                runtime,
                "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found \
                 '{other}'"
            ),
        }
    }),
    // d(x / y) = dx / y - (x / y) / y dy; 0 if it is rounded
    grads: &[
        grad_of_taken(IN(1), |cx| match cx.input(1)? {
            _ if !cx.attrs.is_none(0) => Ok(None),
            y @ Operand::Scalar(_) => div(cx.take_grad(), y).map(Some),
            y => div_or_zero(cx.take_grad(), y).map(Some),
        }),
        grad_of_taken(IN(1) | OUT(0), |cx| {
            if !cx.attrs.is_none(0) {
                return Ok(None);
            }
            let slope = div(cx.output(0)?, cx.input(1)?)?;
            neg(mul_or_zero(cx.take_grad(), slope)?).map(Some)
        }),
    ],
    ..OpDef::MAP
};

/// A division with a whole quotient or a remainder: not of bools, nor of integers by 0.
fn whole_division(call: &Call, f: Functor) -> Result<Choice> {
    let choice = Choice::with(call, f, Promote::Number, &[])?;
    let zero = match &call.inputs[1] {
        _ if choice.dtype.is_float() => false,
        Operand::Tensor(y) if y.device() == Device::Meta => false,
        Operand::Tensor(y) => any(eq(y, 0i64)?)?.item()?.as_bool(),
        Operand::Scalar(s) => !s.as_bool(),
        Operand::None => false,
    };
    ensure!(
        !zero,
        runtime,
        "ZeroDivisionError: an integer is divided by 0"
    );
    Ok(choice)
}

/// `floor(input / other)`.
pub static FLOOR_DIVIDE: OpDef = OpDef {
    name: "floor_divide",
    doc: "`floor(input / other)`, elementwise with broadcasting, in the promoted type. Its gradient \
          is zero; integers raise when divided by 0.\n\n\
          >>> rg.floor_divide(rg.tensor([-7.0, 8.0]), 2)\n\
          tensor([-4.,  4.])",
    sig: TWO,
    kernel: Kernel::Choose(|call| whole_division(call, Functor::DivFloor)),
    grads: &[grad(NOTHING, |_| Ok(None))],
    ..OpDef::MAP
};

/// The remainder with the sign of the divisor.
pub static REMAINDER: OpDef = OpDef {
    name: "remainder",
    doc: "`input - other * floor(input / other)`, elementwise with broadcasting: the remainder with \
          the sign of `other`, as Python's `%`. Integers raise when divided by 0.\n\n\
          >>> rg.remainder(rg.tensor([-7.0, 8.0]), 3)\n\
          tensor([2., 2.])",
    sig: TWO,
    kernel: Kernel::Choose(|call| whole_division(call, Functor::Remainder)),
    // d(x - y floor(x / y)) = dx - floor(x / y) dy
    grads: &[
        grad(NOTHING, |cx| Ok(Some(cx.grad().clone()))),
        grad_of_taken(IN(0) | IN(1), |cx| {
            let quotient = floor(div(cx.input(0)?, cx.input(1)?)?)?;
            neg(mul_or_zero(cx.take_grad(), quotient)?).map(Some)
        }),
    ],
    ..OpDef::MAP
};

/// The remainder with the sign of the dividend.
pub static FMOD: OpDef = OpDef {
    name: "fmod",
    doc: "`input - other * trunc(input / other)`, elementwise with broadcasting: the remainder with \
          the sign of `input`, as C's. Integers raise when divided by 0.\n\n\
          >>> rg.fmod(rg.tensor([-7.0, 8.0]), 3)\n\
          tensor([-1.,  2.])",
    sig: &["(input, other: Tensor|Scalar)"],
    kernel: Kernel::Choose(|call| whole_division(call, Functor::Fmod)),
    // d(x - y trunc(x / y)) = dx - trunc(x / y) dy
    grads: &[
        grad(NOTHING, |cx| Ok(Some(cx.grad().clone()))),
        grad_of_taken(IN(0) | IN(1), |cx| {
            let quotient = trunc(div(cx.input(0)?, cx.input(1)?)?)?;
            neg(mul_or_zero(cx.take_grad(), quotient)?).map(Some)
        }),
    ],
    ..OpDef::MAP
};

/// `input + weight * (end - input)`.
pub static LERP: OpDef = OpDef {
    name: "lerp",
    doc: "`input + weight * (end - input)`, elementwise with broadcasting; exact at weights 0 and \
          1. Floats only.\n\n\
          >>> rg.lerp(rg.tensor([0.0, 10.0]), rg.tensor([1.0, 20.0]), 0.25)\n\
          tensor([ 0.2500, 12.5000])",
    sig: &["(input, end, weight: Tensor|Scalar)"],
    kernel: Kernel::Map {
        f: Functor::Lerp,
        promote: Promote::Floating,
    },
    // d = (1 - w) dx + w dy + (y - x) dw
    grads: &[
        grad(IN(2), |cx| match cx.input(2)? {
            Operand::Scalar(w) => mul(cx.grad(), 1.0 - w.as_f64()).map(Some),
            w => mul_or_zero(cx.grad(), sub(1i64, w)?).map(Some),
        }),
        grad_of_taken(IN(2), |cx| times(cx.take_grad(), cx.input(2)?).map(Some)),
        grad_of_taken(IN(0) | IN(1), |cx| {
            mul_or_zero(cx.take_grad(), sub(cx.input(1)?, cx.input(0)?)?).map(Some)
        }),
    ],
    ..OpDef::MAP
};

/// `input + value * tensor1 * tensor2`.
pub static ADDCMUL: OpDef = OpDef {
    name: "addcmul",
    doc: "`input + value * tensor1 * tensor2`, elementwise with broadcasting, in the promoted type. \
          Integers take an integer `value` only.\n\n\
          >>> rg.addcmul(rg.tensor([1.0, 1.0]), rg.tensor([2.0, 3.0]), rg.tensor(4.0), value=0.5)\n\
          tensor([5., 7.])",
    sig: &["(input, tensor1, tensor2, *, value: Scalar = 1)"],
    kernel: Kernel::Choose(|call| {
        let choice = Choice::of(call, Functor::Addcmul, Promote::Number)?;
        ensure!(
            choice.dtype.is_float() || !choice.params[0].dtype().is_float(),
            runtime,
            "For integral input tensors, argument value must not be a floating point number."
        );
        Ok(choice)
    }),
    // d = dx + v (b da + a db)
    grads: &[
        grad(NOTHING, |cx| Ok(Some(cx.grad().clone()))),
        grad(IN(2), |cx| {
            scaled(cx, &mul_or_zero(cx.grad(), cx.input(2)?)?, 1.0)
        }),
        grad(IN(1), |cx| {
            scaled(cx, &mul_or_zero(cx.grad(), cx.input(1)?)?, 1.0)
        }),
    ],
    ..OpDef::MAP
};

/// `input + value * tensor1 / tensor2`.
pub static ADDCDIV: OpDef = OpDef {
    name: "addcdiv",
    doc: "`input + value * tensor1 / tensor2`, elementwise with broadcasting. Floats only.\n\n\
          >>> rg.addcdiv(rg.tensor([1.0, 1.0]), rg.tensor([2.0, 3.0]), rg.tensor(4.0), value=2)\n\
          tensor([2.0000, 2.5000])",
    sig: &["(input, tensor1, tensor2, *, value: Scalar = 1)"],
    kernel: Kernel::Map {
        f: Functor::Addcdiv,
        promote: Promote::Floating,
    },
    // d = dx + v (da / b - a / b^2 db)
    grads: &[
        grad(NOTHING, |cx| Ok(Some(cx.grad().clone()))),
        grad(IN(2), |cx| {
            scaled(cx, &div_or_zero(cx.grad(), cx.input(2)?)?, 1.0)
        }),
        grad(IN(1) | IN(2), |cx| {
            let slope = div(cx.input(1)?, square(cx.input(2)?)?)?;
            scaled(cx, &mul_or_zero(cx.grad(), slope)?, -1.0)
        }),
    ],
    ..OpDef::MAP
};

/// A product that is 0 where its first factor is: see NOTE [Zero cotangents].
pub static MUL_OR_ZERO: OpDef = OpDef {
    name: "mul_or_zero",
    doc: "`grad * slope`, and 0 where `grad` is 0.",
    sig: &["(grad, slope)"],
    forms: Forms::HIDDEN,
    kernel: Kernel::Map {
        f: Functor::MulOrZero,
        promote: Promote::Arith,
    },
    // d(g s) = s dg + g ds
    grads: &[
        grad_of_taken(IN(1), |cx| {
            mul_or_zero(cx.take_grad(), cx.input(1)?).map(Some)
        }),
        grad(IN(0), |cx| {
            mul_cotangents(cx.grad(), cx.input(0)?).map(Some)
        }),
    ],
    ..OpDef::MAP
};

/// A quotient that is 0 where its dividend is: see NOTE [Zero cotangents].
pub static DIV_OR_ZERO: OpDef = OpDef {
    name: "div_or_zero",
    doc: "`grad / input`, and 0 where `grad` is 0.",
    sig: &["(grad, input)"],
    forms: Forms::HIDDEN,
    kernel: Kernel::Map {
        f: Functor::DivOrZero,
        promote: Promote::Arith,
    },
    // d(g / x) = dg / x - g / x^2 dx
    grads: &[
        grad_of_taken(IN(1), |cx| {
            div_or_zero(cx.take_grad(), cx.input(1)?).map(Some)
        }),
        grad(IN(0) | IN(1), |cx| {
            let g = mul_cotangents(cx.grad(), cx.input(0)?)?;
            neg(div_or_zero(g, square(cx.input(1)?)?)?).map(Some)
        }),
    ],
    ..OpDef::MAP
};

/// A product that is 0 where either factor is: see NOTE [Zero cotangents].
pub static MUL_COTANGENTS: OpDef = OpDef {
    name: "mul_cotangents",
    doc: "`grad * other`, and 0 where either is 0.",
    sig: &["(grad, other)"],
    forms: Forms::HIDDEN,
    kernel: Kernel::Map {
        f: Functor::MulCotangents,
        promote: Promote::Arith,
    },
    // d(g h) = h dg + g dh
    grads: &[
        grad(IN(1), |cx| {
            mul_cotangents(cx.grad(), cx.input(1)?).map(Some)
        }),
        grad(IN(0), |cx| {
            mul_cotangents(cx.grad(), cx.input(0)?).map(Some)
        }),
    ],
    ..OpDef::MAP
};
