//! Powers, logarithms of sums, and the plane: functions of two operands, elementwise with
//! broadcasting.

use super::def::{Choice, Forms, IN, Kernel, OUT, OpDef, Promote, grad, grad_of_taken};
use super::{
    cast, div, div_or_zero, eq, ge, le, log, logical_and, mul, mul_or_zero, neg, sigmoid, sub,
    where_,
};
use crate::backend::Functor;
use crate::base::{DType, Result, Scalar};
use crate::ensure;
use crate::tape::VjpCx;
use crate::tensor::{Operand, Tensor};
use smallvec::smallvec;

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &POW,
    &FLOAT_POWER,
    &XLOGY,
    &LOGADDEXP,
    &LOGADDEXP2,
    &HYPOT,
    &ATAN2,
];

functions! {
    /// `x ** y`.
    pow(x, y) = POW;
    /// `x * log(y)`, 0 where `x` is 0.
    xlogy(x, y) = XLOGY;
    /// `sqrt(x^2 + y^2)`.
    hypot(x, y) = HYPOT;
}

/// `input ** exponent`.
pub static POW: OpDef = OpDef {
    name: "pow",
    doc: "`input ** exponent`, elementwise with broadcasting, in the promoted type. A negative \
          number as the exponent of integers raises. Gradients of every order are exact at 0 for \
          whole exponents; the gradient to the exponent is 0 where `input` is 0 and `exponent` is \
          not negative.\n\n\
          >>> rg.pow(rg.tensor([1.0, 2.0, 3.0]), 2)\n\
          tensor([1., 4., 9.])\n\
          >>> rg.pow(2.0, rg.tensor([-1.0, 0.5]))\n\
          tensor([0.5000, 1.4142])",
    sig: &["(input: Tensor|Scalar, exponent: Tensor|Scalar)"],
    kernel: Kernel::Choose(|call| {
        let choice = Choice::of(call, Functor::Pow, Promote::Arith)?;
        let Operand::Scalar(n) = call.inputs[1] else {
            ensure!(
                choice.dtype != DType::Bool,
                not_implemented,
                "not implemented for 'Bool'; convert to an integer type first"
            );
            return Ok(choice);
        };
        if !choice.dtype.is_float() {
            ensure!(
                n.as_f64() >= 0.0,
                runtime,
                "Integers to negative integer powers are not allowed. Make the tensor or the \
                 exponent floating-point"
            );
        }
        // Functors that a general power would be slower, and less accurate, than.
        let f = match n.as_f64() {
            1.0 => Functor::Copy,
            2.0 => Functor::Square,
            3.0 => Functor::Cube,
            0.5 if choice.dtype.is_float() => Functor::Sqrt,
            -0.5 if choice.dtype.is_float() => Functor::Rsqrt,
            -1.0 if choice.dtype.is_float() => Functor::Reciprocal,
            _ => Functor::Pow,
        };
        Ok(Choice { f, ..choice })
    }),
    grads: &[
        // d x^n = n x^(n-1) dx; 0 for n = 0, also at x = 0
        grad_of_taken(IN(0) | IN(1), |cx| {
            let x = cx.input(0)?;
            let slope = match cx.input(1)? {
                Operand::Scalar(n) if n.as_f64() == 0.0 => return Ok(None),
                Operand::Scalar(n) if n.as_f64() == 2.0 => mul(x, n)?,
                Operand::Scalar(n) => mul(pow(x, less_one(n))?, n)?,
                // Where n is 0, so is the product, even at 0^-1.
                n => {
                    let power = pow(x, sub(&n, 1i64)?)?;
                    mul_or_zero(n, power)?
                }
            };
            mul_or_zero(cx.take_grad(), slope).map(Some)
        }),
        // d x^n = x^n ln(x) dn; 0 at x = 0 for n >= 0
        grad_of_taken(IN(0) | IN(1) | OUT(0), |cx| {
            let (x, n) = (cx.input(0)?, cx.input(1)?);
            let slope = match x {
                Operand::Scalar(x) if x.as_f64() != 0.0 => mul(cx.output(0)?, x.as_f64().ln())?,
                Operand::Scalar(_) => where_(ge(n, 0i64)?, 0i64, f64::NEG_INFINITY)?,
                x => {
                    let flat = logical_and(eq(&x, 0i64)?, ge(n, 0i64)?)?;
                    mul_or_zero(cx.output(0)?, where_(flat, 0i64, log(x)?)?)?
                }
            };
            mul_or_zero(cx.take_grad(), slope).map(Some)
        }),
    ],
    ..OpDef::MAP
};

fn less_one(n: Scalar) -> Scalar {
    match n {
        Scalar::Float(n) => Scalar::Float(n - 1.0),
        n => Scalar::Int(n.as_i64() - 1),
    }
}

/// `input ** exponent` in double precision.
pub static FLOAT_POWER: OpDef = OpDef {
    name: "float_power",
    doc: "`input ** exponent`, elementwise with broadcasting, computed and returned in float64.\n\n\
          >>> rg.float_power(rg.tensor([2, 4]), -1)\n\
          tensor([0.5000, 0.2500], dtype=rustgrad.float64)",
    sig: &["(input: Tensor|Scalar, exponent: Tensor|Scalar)"],
    forms: Forms::ALL,
    kernel: Kernel::Composite(|call| {
        let double = |x: &Operand| match x {
            Operand::Tensor(t) => cast(t, DType::F64).map(Operand::Tensor),
            Operand::Scalar(s) => Ok(Operand::Scalar(Scalar::Float(s.as_f64()))),
            Operand::None => Ok(Operand::None),
        };
        Ok(smallvec![pow(
            double(&call.inputs[0])?,
            double(&call.inputs[1])?
        )?])
    }),
    ..OpDef::COMPOSITE
};

/// `input * log(other)`.
pub static XLOGY: OpDef = OpDef {
    name: "xlogy",
    doc: "`input * log(other)`, elementwise with broadcasting, and 0 where `input` is 0 (unless \
          `other` is NaN); integers become floats.\n\n\
          >>> rg.xlogy(rg.tensor([0.0, 2.0]), rg.tensor([0.0, 3.0]))\n\
          tensor([0.0000, 2.1972])",
    sig: &["(input: Tensor|Scalar, other: Tensor|Scalar)"],
    kernel: Kernel::Map {
        f: Functor::Xlogy,
        promote: Promote::Float,
    },
    grads: &[
        // d = log(y) dx; 0 where x = 0 and y <= 0
        grad(IN(0) | IN(1), |cx| {
            let y = cx.input(1)?;
            let flat = logical_and(eq(cx.input(0)?, 0i64)?, le(&y, 0i64)?)?;
            where_(flat, 0i64, xlogy(cx.grad(), y)?).map(Some)
        }),
        // d = x / y dy
        grad_of_taken(IN(0) | IN(1), |cx| {
            let slope = match cx.input(0)? {
                x @ Operand::Scalar(_) => div(x, cx.input(1)?)?,
                x => div_or_zero(x, cx.input(1)?)?,
            };
            mul_or_zero(cx.take_grad(), slope).map(Some)
        }),
    ],
    ..OpDef::MAP
};

/// `log(exp(input) + exp(other))`.
pub static LOGADDEXP: OpDef = OpDef {
    name: "logaddexp",
    doc: "`log(exp(input) + exp(other))` without overflow, elementwise with broadcasting. Floats \
          only.\n\n\
          >>> rg.logaddexp(rg.tensor([0.0, 90.0]), rg.tensor([0.0, 90.0]))\n\
          tensor([ 0.6931, 90.6931])",
    sig: &["(input, other)"],
    forms: Forms::BOTH,
    kernel: Kernel::Map {
        f: Functor::Logaddexp,
        promote: Promote::Floating,
    },
    // d = sigmoid(x - y) dx + sigmoid(y - x) dy
    grads: &[
        grad(IN(0) | IN(1), |cx| softened(cx, 1.0)),
        grad(IN(0) | IN(1), |cx| softened(cx, 1.0)),
    ],
    ..OpDef::MAP
};

/// `log2(2^input + 2^other)`.
pub static LOGADDEXP2: OpDef = OpDef {
    name: "logaddexp2",
    doc: "`log2(2**input + 2**other)` without overflow, elementwise with broadcasting. Floats \
          only.\n\n\
          >>> rg.logaddexp2(rg.tensor([0.0, 90.0]), rg.tensor([0.0, 90.0]))\n\
          tensor([ 1., 91.])",
    sig: &["(input, other)"],
    forms: Forms::BOTH,
    kernel: Kernel::Map {
        f: Functor::Logaddexp2,
        promote: Promote::Floating,
    },
    // d = sigmoid(ln(2) (x - y)) dx + sigmoid(ln(2) (y - x)) dy
    grads: &[
        grad(IN(0) | IN(1), |cx| softened(cx, std::f64::consts::LN_2)),
        grad(IN(0) | IN(1), |cx| softened(cx, std::f64::consts::LN_2)),
    ],
    ..OpDef::MAP
};

/// The share of the input asked for: `g sigmoid(scale (x - y))`. Equal infinities, whose
/// difference is NaN, share equally.
fn softened(cx: &VjpCx, scale: f64) -> Result<Option<Tensor>> {
    let (x, y) = (cx.input(cx.arg)?, cx.input(1 - cx.arg)?);
    let gap = where_(eq(&x, &y)?, 0i64, sub(x, y)?)?;
    let gap = if scale == 1.0 { gap } else { mul(gap, scale)? };
    mul_or_zero(cx.grad(), sigmoid(gap)?).map(Some)
}

/// `sqrt(input^2 + other^2)`.
pub static HYPOT: OpDef = OpDef {
    name: "hypot",
    doc: "`sqrt(input**2 + other**2)` without overflow, elementwise with broadcasting. Its gradient \
          at the origin is 0. Floats only.\n\n\
          >>> rg.hypot(rg.tensor([3.0, 1e30]), rg.tensor([4.0, 0.0]))\n\
          tensor([5.0000e+00, 1.0000e+30])",
    sig: &["(input, other)"],
    kernel: Kernel::Map {
        f: Functor::Hypot,
        promote: Promote::Floating,
    },
    // d hypot(x, y) = (x dx + y dy) / hypot(x, y)
    grads: &[grad(IN(0) | OUT(0), radial), grad(IN(1) | OUT(0), radial)],
    ..OpDef::MAP
};

/// `g (x / r)`, 0 at the origin.
fn radial(cx: &VjpCx) -> Result<Option<Tensor>> {
    let unit = div_or_zero(cx.input(cx.arg)?, cx.output(0)?)?;
    mul_or_zero(cx.grad(), unit).map(Some)
}

/// The angle of the point `(other, input)`.
pub static ATAN2: OpDef = OpDef {
    name: "atan2",
    doc: "The angle in radians, in `[-pi, pi]`, between the positive x axis and the point with the \
          abscissa `other` and the ordinate `input`, elementwise with broadcasting; integers become \
          floats. Its gradient at the origin is 0.\n\n\
          >>> rg.atan2(rg.tensor([1.0, -1.0]), rg.tensor([0.0, -1.0]))\n\
          tensor([ 1.5708, -2.3562])",
    sig: &["(input, other)"],
    aliases: &["arctan2"],
    kernel: Kernel::Map {
        f: Functor::Atan2,
        promote: Promote::Float,
    },
    // d atan2(y, x) = (x dy - y dx) / (x^2 + y^2)
    grads: &[
        grad(IN(0) | IN(1), |cx| around(cx, 1).map(Some)),
        grad(IN(0) | IN(1), |cx| neg(around(cx, 0)?).map(Some)),
    ],
    ..OpDef::MAP
};

/// `g ((x_i / r) / r)` with the radius `r`, which does not overflow where its square would; 0 at
/// the origin.
fn around(cx: &VjpCx, i: usize) -> Result<Tensor> {
    let (y, x) = (cx.input(0)?, cx.input(1)?);
    let r = hypot(&y, &x)?;
    let slope = div_or_zero(div_or_zero(if i == 0 { y } else { x }, &r)?, r)?;
    mul_or_zero(cx.grad(), slope)
}
