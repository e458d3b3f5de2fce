//! Arithmetic of two and three operands, elementwise with broadcasting.

use super::def::{Call, Forms, IN, Kernel, NOTHING, OUT, OpDef, Promote, grad};
use super::{
    any, cast, copysign_ratio, eq, floor, ge, gt, isnan, le, log, logical_and, logical_or, lt, neg,
    reciprocal, sigmoid, square, trunc, where_,
};
use crate::backend::Functor;
use crate::base::{DType, Result, Scalar, dtype::Category};
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
    &DIV_ROUNDED,
    &FLOOR_DIVIDE,
    &DIV_TRUNC,
    &REMAINDER,
    &FMOD,
    &POW,
    &FLOAT_POWER,
    &ATAN2,
    &HYPOT,
    &MAXIMUM,
    &MINIMUM,
    &FMAX,
    &FMIN,
    &LOGADDEXP,
    &LOGADDEXP2,
    &XLOGY,
    &LERP,
    &ADDCMUL,
    &ADDCDIV,
    &COPYSIGN,
    &NEXTAFTER,
    &HEAVISIDE,
    &CLAMP,
    &CLAMP_MIN,
    &CLAMP_MAX,
    &CLAMP_BOTH,
    &CLAMP_BELOW,
    &CLAMP_ABOVE,
];

functions! {
    /// `x + alpha * y`.
    add_scaled(x, y; alpha) = ADD;
    /// `x - alpha * y`.
    sub_scaled(x, y; alpha) = SUB;
    /// `x * y`.
    mul(x, y) = MUL;
    /// `x / y`.
    div(x, y) = DIV;
    /// `floor(x / y)`.
    floor_divide(x, y) = FLOOR_DIVIDE;
    /// The remainder with the sign of `y`.
    remainder(x, y) = REMAINDER;
    /// `x ** y`.
    pow(x, y) = POW;
    /// The greater of two; NaN wins.
    maximum(x, y) = MAXIMUM;
    /// The lesser of two; NaN wins.
    minimum(x, y) = MINIMUM;
    /// `x * log(y)`, 0 where `x` is 0.
    xlogy(x, y) = XLOGY;
    /// `x + value * a * b`.
    addcmul(x, a, b; value) = ADDCMUL;
    /// `x`, at least `low` and at most `high`.
    clamp(x; low, high) = CLAMP_BOTH;
    /// `x`, at least `low`.
    clamp_min(x; low) = CLAMP_BELOW;
    /// `x`, at most `high`.
    clamp_max(x; high) = CLAMP_ABOVE;
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

const TWO: &[&str] = &["(input: Tensor|Scalar, other: Tensor|Scalar)"];

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
        grad(NOTHING, |cx| scaled(cx, cx.grad(), 1.0)),
    ],
    ..OpDef::MAP
};

/// `input - alpha * other`.
pub static SUB: OpDef = OpDef {
    name: "sub",
    doc: "`input - alpha * other`, elementwise with broadcasting. Bools cannot be subtracted.",
    sig: &["(input: Tensor|Scalar, other: Tensor|Scalar, *, alpha: Scalar = 1)"],
    aliases: &["subtract"],
    kernel: Kernel::Map {
        f: Functor::Sub,
        promote: Promote::Number,
    },
    // d(x - a y) = dx - a dy
    grads: &[
        grad(NOTHING, |cx| Ok(Some(cx.grad().clone()))),
        grad(NOTHING, |cx| scaled(cx, cx.grad(), -1.0)),
    ],
    ..OpDef::MAP
};

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

/// `other - alpha * input`.
pub static RSUB: OpDef = OpDef {
    name: "rsub",
    doc: "`other - alpha * input`.",
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
    doc: "`input * other`, elementwise with broadcasting.",
    sig: TWO,
    aliases: &["multiply"],
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
    doc: "`input / other`, elementwise with broadcasting; integers divide as floats. With \
          `rounding_mode='floor'` or `'trunc'` the quotient is rounded and keeps the inputs' type.",
    sig: TWO,
    aliases: &["divide", "true_divide"],
    kernel: Kernel::Map {
        f: Functor::Div,
        promote: Promote::Float,
    },
    // d(x / y) = dx / y - (x / y) / y dy
    grads: &[
        grad(IN(1), |cx| div(cx.grad(), cx.input(1)?).map(Some)),
        grad(IN(1) | OUT(0), |cx| {
            neg(div(mul(cx.grad(), cx.output(0)?)?, cx.input(1)?)?).map(Some)
        }),
    ],
    ..OpDef::MAP
};

/// `input / other`, rounded.
pub static DIV_ROUNDED: OpDef = OpDef {
    name: "div_rounded",
    doc: "`input / other`, rounded as `rounding_mode` says.",
    sig: &["(input: Tensor|Scalar, other: Tensor|Scalar, *, rounding_mode: str?)"],
    aliases: &["div", "divide"],
    forms: Forms::ALL,
    kernel: Kernel::Composite(|call| {
        let (x, y) = (&call.inputs[0], &call.inputs[1]);
        if call.attrs.is_none(0) {
            return Ok(smallvec![div(x, y)?]);
        }
        Ok(smallvec![match call.attrs.str(0) {
            "floor" => floor_divide(x, y)?,
            "trunc" => {
                no_zero_divisor(call)?;
                super::dispatch::run1(&DIV_TRUNC, call.inputs, &crate::base::Attrs::new())?
            }
            other => bail!(
                runtime,
                "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{other}'"
            ),
        }])
    }),
    ..OpDef::COMPOSITE
};

/// Integers cannot be divided by zero.
fn no_zero_divisor(call: &Call) -> Result<()> {
    let float = call.inputs.iter().any(|x| x.dtype().is_float());
    let zero = match &call.inputs[1] {
        _ if float => false,
        Operand::Tensor(y) if y.device() == crate::base::Device::Meta => false,
        Operand::Tensor(y) => any(eq(y, 0i64)?)?.item()?.as_bool(),
        Operand::Scalar(s) => !s.as_bool(),
        Operand::None => false,
    };
    ensure!(
        !zero,
        runtime,
        "ZeroDivisionError: an integer is divided by zero"
    );
    Ok(())
}

/// `floor(input / other)`.
pub static FLOOR_DIVIDE: OpDef = OpDef {
    name: "floor_divide",
    doc: "`floor(input / other)`, elementwise; its gradient is zero.",
    sig: TWO,
    kernel: Kernel::Map {
        f: Functor::DivFloor,
        promote: Promote::Divide,
    },
    grads: &[grad(NOTHING, |_| Ok(None)), grad(NOTHING, |_| Ok(None))],
    ..OpDef::MAP
};

/// `trunc(input / other)`.
pub static DIV_TRUNC: OpDef = OpDef {
    name: "div_trunc",
    doc: "`trunc(input / other)`, elementwise; its gradient is zero.",
    sig: TWO,
    forms: Forms::HIDDEN,
    kernel: Kernel::Map {
        f: Functor::DivTrunc,
        promote: Promote::Divide,
    },
    grads: &[grad(NOTHING, |_| Ok(None)), grad(NOTHING, |_| Ok(None))],
    ..OpDef::MAP
};

/// The remainder with the sign of the divisor.
pub static REMAINDER: OpDef = OpDef {
    name: "remainder",
    doc: "`input - other * floor(input / other)`: the remainder with the sign of `other`, as \
          Python's `%`.",
    sig: TWO,
    kernel: Kernel::Map {
        f: Functor::Remainder,
        promote: Promote::Divide,
    },
    // d(x - y floor(x / y)) = dx - floor(x / y) dy
    grads: &[
        grad(NOTHING, |cx| Ok(Some(cx.grad().clone()))),
        grad(IN(0) | IN(1), |cx| {
            neg(mul(cx.grad(), floor(div(cx.input(0)?, cx.input(1)?)?)?)?).map(Some)
        }),
    ],
    ..OpDef::MAP
};

/// The remainder with the sign of the dividend.
pub static FMOD: OpDef = OpDef {
    name: "fmod",
    doc: "`input - other * trunc(input / other)`: the remainder with the sign of `input`, as C's.",
    sig: TWO,
    kernel: Kernel::Map {
        f: Functor::Fmod,
        promote: Promote::Divide,
    },
    // d(x - y trunc(x / y)) = dx - trunc(x / y) dy
    grads: &[
        grad(NOTHING, |cx| Ok(Some(cx.grad().clone()))),
        grad(IN(0) | IN(1), |cx| {
            neg(mul(cx.grad(), trunc(div(cx.input(0)?, cx.input(1)?)?)?)?).map(Some)
        }),
    ],
    ..OpDef::MAP
};

/// `input ** exponent`.
pub static POW: OpDef = OpDef {
    name: "pow",
    doc: "`input ** exponent`, elementwise with broadcasting. Integers to a negative integer power \
          raise.",
    sig: &["(input: Tensor|Scalar, exponent: Tensor|Scalar)"],
    kernel: Kernel::Map {
        f: Functor::Pow,
        promote: Promote::Power,
    },
    grads: &[
        // d x^n = n x^(n-1) dx; 0 for n = 0, also at x = 0
        grad(IN(0) | IN(1), |cx| {
            let x = cx.input(0)?;
            let slope = match cx.input(1)? {
                Operand::Scalar(n) if n.as_f64() == 0.0 => return Ok(None),
                Operand::Scalar(n) if n.as_f64() == 1.0 => return Ok(Some(cx.grad().clone())),
                Operand::Scalar(n) if n.as_f64() == 2.0 => mul(x, 2i64)?,
                Operand::Scalar(n) => mul(pow(x, less_one(n))?, n)?,
                n => {
                    // The masked power never meets 0^-1, so no NaN flows back through it.
                    let zero = eq(&n, 0i64)?;
                    let safe = where_(&zero, 1i64, &n)?;
                    where_(zero, 0i64, mul(pow(x, sub(safe, 1i64)?)?, n)?)?
                }
            };
            mul(cx.grad(), slope).map(Some)
        }),
        // d x^n = x^n ln(x) dn; 0 at x = 0 for n >= 0
        grad(IN(0) | IN(1) | OUT(0), |cx| {
            let (x, n) = (cx.input(0)?, cx.input(1)?);
            let y = cx.output(0)?;
            let slope = match x {
                Operand::Scalar(x) if x.as_f64() == 0.0 => {
                    where_(ge(n, 0i64)?, 0i64, mul(y, f64::NEG_INFINITY)?)?
                }
                Operand::Scalar(x) => mul(y, x.as_f64().ln())?,
                x => {
                    let zero = logical_and(eq(&x, 0i64)?, ge(n, 0i64)?)?;
                    let safe = where_(&zero, 1i64, x)?;
                    where_(zero, 0i64, mul(y, log(safe)?)?)?
                }
            };
            mul(cx.grad(), slope).map(Some)
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
    doc: "`input ** exponent` in double precision.",
    sig: &["(input: Tensor|Scalar, exponent: Tensor|Scalar)"],
    forms: Forms {
        in_place: false,
        ..Forms::ALL
    },
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

/// The angle of the point `(other, input)`.
pub static ATAN2: OpDef = OpDef {
    name: "atan2",
    doc: "The angle in radians between the positive x axis and the point `(other, input)`, in \
          `[-pi, pi]`. Its gradient at the origin is 0.",
    sig: &["(input, other)"],
    aliases: &["arctan2"],
    kernel: Kernel::Map {
        f: Functor::Atan2,
        promote: Promote::Float,
    },
    // d atan2(y, x) = (x dy - y dx) / (x^2 + y^2)
    grads: &[
        grad(IN(0) | IN(1), |cx| {
            mul(cx.grad(), angle_slope(cx, 1)?).map(Some)
        }),
        grad(IN(0) | IN(1), |cx| {
            neg(mul(cx.grad(), angle_slope(cx, 0)?)?).map(Some)
        }),
    ],
    ..OpDef::MAP
};

/// Input `i` over the squared radius; 0 at the origin.
fn angle_slope(cx: &VjpCx, i: usize) -> Result<Tensor> {
    let r2 = add(square(cx.input(0)?)?, square(cx.input(1)?)?)?;
    let origin = eq(&r2, 0i64)?;
    div(cx.input(i)?, where_(origin, 1i64, r2)?)
}

/// `sqrt(input^2 + other^2)`.
pub static HYPOT: OpDef = OpDef {
    name: "hypot",
    doc: "`sqrt(input**2 + other**2)` without overflow, elementwise. Its gradient at the origin is 0.",
    sig: &["(input, other)"],
    kernel: Kernel::Map {
        f: Functor::Hypot,
        promote: Promote::Float,
    },
    // d hypot(x, y) = (x dx + y dy) / hypot(x, y)
    grads: &[
        grad(IN(0) | OUT(0), |cx| {
            mul(cx.grad(), radial(cx, 0)?).map(Some)
        }),
        grad(IN(1) | OUT(0), |cx| {
            mul(cx.grad(), radial(cx, 1)?).map(Some)
        }),
    ],
    ..OpDef::MAP
};

fn radial(cx: &VjpCx, i: usize) -> Result<Tensor> {
    let r = cx.output(0)?;
    let origin = eq(&r, 0i64)?;
    div(cx.input(i)?, where_(origin, 1i64, r)?)
}

/// `g` where input `i` is beyond the other by `beyond`, half of it where they are equal.
fn share(cx: &VjpCx, i: usize, lesser: bool) -> Result<Option<Tensor>> {
    let (x, y) = (cx.input(i)?, cx.input(1 - i)?);
    let g = cx.grad();
    let halved = where_(eq(&x, &y)?, mul(g, 0.5)?, g)?;
    let out = if lesser { lt(x, y)? } else { gt(x, y)? };
    where_(out, 0i64, halved).map(Some)
}

/// The greater of two.
pub static MAXIMUM: OpDef = OpDef {
    name: "maximum",
    doc: "The greater of two elements; NaN wins. Equal elements share the gradient.",
    sig: &["(input, other)"],
    kernel: Kernel::Map {
        f: Functor::Maximum,
        promote: Promote::Arith,
    },
    grads: &[
        grad(IN(0) | IN(1), |cx| share(cx, 0, true)),
        grad(IN(0) | IN(1), |cx| share(cx, 1, true)),
    ],
    forms: Forms::BOTH,
    ..OpDef::MAP
};

/// The lesser of two.
pub static MINIMUM: OpDef = OpDef {
    name: "minimum",
    doc: "The lesser of two elements; NaN wins. Equal elements share the gradient.",
    sig: &["(input, other)"],
    kernel: Kernel::Map {
        f: Functor::Minimum,
        promote: Promote::Arith,
    },
    grads: &[
        grad(IN(0) | IN(1), |cx| share(cx, 0, false)),
        grad(IN(0) | IN(1), |cx| share(cx, 1, false)),
    ],
    forms: Forms::BOTH,
    ..OpDef::MAP
};

/// The greater of two; NaN loses.
pub static FMAX: OpDef = OpDef {
    name: "fmax",
    doc: "The greater of two elements; a number wins over NaN. Of equal elements the first gets \
          the gradient.",
    sig: &["(input, other)"],
    kernel: Kernel::Map {
        f: Functor::Fmax,
        promote: Promote::Arith,
    },
    grads: &[
        grad(IN(0) | IN(1), |cx| {
            chosen(cx, ge(cx.input(0)?, cx.input(1)?)?, true)
        }),
        grad(IN(0) | IN(1), |cx| {
            chosen(cx, ge(cx.input(0)?, cx.input(1)?)?, false)
        }),
    ],
    forms: Forms::BOTH,
    ..OpDef::MAP
};

/// The lesser of two; NaN loses.
pub static FMIN: OpDef = OpDef {
    name: "fmin",
    doc: "The lesser of two elements; a number wins over NaN. Of equal elements the first gets \
          the gradient.",
    sig: &["(input, other)"],
    kernel: Kernel::Map {
        f: Functor::Fmin,
        promote: Promote::Arith,
    },
    grads: &[
        grad(IN(0) | IN(1), |cx| {
            chosen(cx, le(cx.input(0)?, cx.input(1)?)?, true)
        }),
        grad(IN(0) | IN(1), |cx| {
            chosen(cx, le(cx.input(0)?, cx.input(1)?)?, false)
        }),
    ],
    forms: Forms::BOTH,
    ..OpDef::MAP
};

/// `g` where input 0 was chosen (or, with `first` false, where it was not).
fn chosen(cx: &VjpCx, first_wins: Tensor, first: bool) -> Result<Option<Tensor>> {
    let first_wins = logical_or(first_wins, isnan(cx.input(1)?)?)?;
    let g = cx.grad();
    let out = if first {
        where_(first_wins, g, 0i64)?
    } else {
        where_(first_wins, 0i64, g)?
    };
    Ok(Some(out))
}

/// `log(exp(input) + exp(other))`.
pub static LOGADDEXP: OpDef = OpDef {
    name: "logaddexp",
    doc: "`log(exp(input) + exp(other))` without overflow, elementwise.",
    sig: &["(input, other)"],
    kernel: Kernel::Map {
        f: Functor::Logaddexp,
        promote: Promote::Float,
    },
    // d = sigmoid(x - y) dx + sigmoid(y - x) dy
    grads: &[
        grad(IN(0) | IN(1), |cx| softened(cx, 0, 1.0)),
        grad(IN(0) | IN(1), |cx| softened(cx, 1, 1.0)),
    ],
    forms: Forms::BOTH,
    ..OpDef::MAP
};

/// `log2(2^input + 2^other)`.
pub static LOGADDEXP2: OpDef = OpDef {
    name: "logaddexp2",
    doc: "`log2(2**input + 2**other)` without overflow, elementwise.",
    sig: &["(input, other)"],
    kernel: Kernel::Map {
        f: Functor::Logaddexp2,
        promote: Promote::Float,
    },
    // d = sigmoid(ln(2) (x - y)) dx + sigmoid(ln(2) (y - x)) dy
    grads: &[
        grad(IN(0) | IN(1), |cx| softened(cx, 0, std::f64::consts::LN_2)),
        grad(IN(0) | IN(1), |cx| softened(cx, 1, std::f64::consts::LN_2)),
    ],
    forms: Forms::BOTH,
    ..OpDef::MAP
};

fn softened(cx: &VjpCx, i: usize, scale: f64) -> Result<Option<Tensor>> {
    let gap = sub(cx.input(i)?, cx.input(1 - i)?)?;
    mul(cx.grad(), sigmoid(mul(gap, scale)?)?).map(Some)
}

/// `input * log(other)`.
pub static XLOGY: OpDef = OpDef {
    name: "xlogy",
    doc: "`input * log(other)`, and 0 where `input` is 0 (unless `other` is NaN).",
    sig: TWO,
    kernel: Kernel::Map {
        f: Functor::Xlogy,
        promote: Promote::Float,
    },
    grads: &[
        // d = log(y) dx; 0 where x = 0 and y <= 0
        grad(IN(0) | IN(1), |cx| {
            let y = cx.input(1)?;
            let corner = logical_and(eq(cx.input(0)?, 0i64)?, le(&y, 0i64)?)?;
            let safe = where_(&corner, 1i64, y)?;
            mul(cx.grad(), log(safe)?).map(Some)
        }),
        // d = x / y dy
        grad(IN(0) | IN(1), |cx| {
            mul(cx.grad(), div(cx.input(0)?, cx.input(1)?)?).map(Some)
        }),
    ],
    ..OpDef::MAP
};

/// `input + weight * (end - input)`.
pub static LERP: OpDef = OpDef {
    name: "lerp",
    doc: "`input + weight * (end - input)`, elementwise with broadcasting.",
    sig: &["(input, end, weight: Tensor|Scalar)"],
    kernel: Kernel::Map {
        f: Functor::Lerp,
        promote: Promote::Float,
    },
    // d = (1 - w) dx + w dy + (y - x) dw
    grads: &[
        grad(IN(2), |cx| match cx.input(2)? {
            Operand::Scalar(w) => mul(cx.grad(), 1.0 - w.as_f64()).map(Some),
            w => mul(cx.grad(), sub(1i64, w)?).map(Some),
        }),
        grad(IN(2), |cx| mul(cx.grad(), cx.input(2)?).map(Some)),
        grad(IN(0) | IN(1), |cx| {
            mul(cx.grad(), sub(cx.input(1)?, cx.input(0)?)?).map(Some)
        }),
    ],
    ..OpDef::MAP
};

/// `input + value * tensor1 * tensor2`.
pub static ADDCMUL: OpDef = OpDef {
    name: "addcmul",
    doc: "`input + value * tensor1 * tensor2`, elementwise with broadcasting.",
    sig: &["(input, tensor1, tensor2, *, value: Scalar = 1)"],
    kernel: Kernel::Map {
        f: Functor::Addcmul,
        promote: Promote::Arith,
    },
    // d = dx + v (b da + a db)
    grads: &[
        grad(NOTHING, |cx| Ok(Some(cx.grad().clone()))),
        grad(IN(2), |cx| scaled(cx, &mul(cx.grad(), cx.input(2)?)?, 1.0)),
        grad(IN(1), |cx| scaled(cx, &mul(cx.grad(), cx.input(1)?)?, 1.0)),
    ],
    ..OpDef::MAP
};

/// `input + value * tensor1 / tensor2`.
pub static ADDCDIV: OpDef = OpDef {
    name: "addcdiv",
    doc: "`input + value * tensor1 / tensor2`, elementwise with broadcasting.",
    sig: &["(input, tensor1, tensor2, *, value: Scalar = 1)"],
    kernel: Kernel::Map {
        f: Functor::Addcdiv,
        promote: Promote::Float,
    },
    // d = dx + v (da / b - a / b^2 db)
    grads: &[
        grad(NOTHING, |cx| Ok(Some(cx.grad().clone()))),
        grad(IN(2), |cx| scaled(cx, &div(cx.grad(), cx.input(2)?)?, 1.0)),
        grad(IN(1) | IN(2), |cx| {
            let b = cx.input(2)?;
            let slope = mul(cx.input(1)?, square(reciprocal(b)?)?)?;
            scaled(cx, &mul(cx.grad(), slope)?, -1.0)
        }),
    ],
    ..OpDef::MAP
};

/// The magnitude of one with the sign of another.
pub static COPYSIGN: OpDef = OpDef {
    name: "copysign",
    doc: "The magnitude of `input` with the sign of `other`. Its gradient is 0 where `input` is 0.",
    sig: &["(input, other: Tensor|Scalar)"],
    kernel: Kernel::Map {
        f: Functor::Copysign,
        promote: Promote::Float,
    },
    grads: &[
        // d = +-dx, the sign of y over that of x
        grad(IN(0) | OUT(0), |cx| {
            mul(cx.grad(), copysign_ratio(cx.input(0)?, cx.output(0)?)?).map(Some)
        }),
        grad(NOTHING, |_| Ok(None)),
    ],
    ..OpDef::MAP
};

/// The next number towards another.
pub static NEXTAFTER: OpDef = OpDef {
    name: "nextafter",
    doc: "The next float32 or float64 number after `input` towards `other`.",
    sig: &["(input, other)"],
    kernel: Kernel::Map {
        f: Functor::Nextafter,
        promote: Promote::WideFloat,
    },
    ..OpDef::MAP
};

/// The step function.
pub static HEAVISIDE: OpDef = OpDef {
    name: "heaviside",
    doc: "0 where `input` is negative, 1 where it is positive, `values` where it is 0.",
    sig: &["(input, values)"],
    kernel: Kernel::Map {
        f: Functor::Heaviside,
        promote: Promote::Arith,
    },
    ..OpDef::MAP
};

/// `input` within bounds that may be left out, numbers or tensors.
pub static CLAMP: OpDef = OpDef {
    name: "clamp",
    doc: "`input`, at least `min` and at most `max`; either may be left out. Elements at a bound \
          keep their gradient.",
    sig: &["(input, min: Tensor|Scalar? = None, max: Tensor|Scalar? = None)"],
    aliases: &["clip"],
    forms: Forms::ALL,
    kernel: Kernel::Composite(|call| {
        let (low, high) = (&call.inputs[1], &call.inputs[2]);
        Ok(smallvec![match (low, high) {
            (Operand::None, Operand::None) => bail!(
                runtime,
                "torch.clamp: At least one of 'min' or 'max' must not be None"
            ),
            (Operand::Scalar(l), Operand::Scalar(h)) => clamp(call.tensor(0), *l, *h)?,
            (l, h) => bounded(&bounded(call.tensor(0), l, false)?, h, true)?,
        }])
    }),
    ..OpDef::COMPOSITE
};

/// `x` with one bound.
fn bounded(x: &Tensor, bound: &Operand, above: bool) -> Result<Tensor> {
    match bound {
        Operand::None => Ok(x.clone()),
        Operand::Scalar(s) if above => clamp_max(x, *s),
        Operand::Scalar(s) => clamp_min(x, *s),
        Operand::Tensor(b) => {
            // NaN in either stays.
            let beyond = if above { gt(x, b)? } else { lt(x, b)? };
            where_(logical_or(beyond, isnan(b)?)?, b, x)
        }
    }
}

/// `input`, at least `min`.
pub static CLAMP_MIN: OpDef = OpDef {
    name: "clamp_min",
    doc: "`input`, at least `min`.",
    sig: &["(input, min: Tensor|Scalar)"],
    forms: Forms::ALL,
    kernel: Kernel::Composite(|call| {
        Ok(smallvec![bounded(call.tensor(0), &call.inputs[1], false)?])
    }),
    ..OpDef::COMPOSITE
};

/// `input`, at most `max`.
pub static CLAMP_MAX: OpDef = OpDef {
    name: "clamp_max",
    doc: "`input`, at most `max`.",
    sig: &["(input, max: Tensor|Scalar)"],
    forms: Forms::ALL,
    kernel: Kernel::Composite(|call| {
        Ok(smallvec![bounded(call.tensor(0), &call.inputs[1], true)?])
    }),
    ..OpDef::COMPOSITE
};

/// The kernel of [`CLAMP`] with two numbers.
pub static CLAMP_BOTH: OpDef = OpDef {
    name: "clamp_both",
    doc: "`input`, at least `min` and at most `max`.",
    sig: &["(input, min: Scalar, max: Scalar)"],
    forms: Forms::HIDDEN,
    kernel: Kernel::Map {
        f: Functor::Clamp,
        promote: Promote::Bounds,
    },
    // Inside the bounds, ends included.
    grads: &[grad(IN(0), |cx| {
        let x = cx.input(0)?;
        let inside = logical_and(ge(&x, cx.attrs.scalar(0))?, le(&x, cx.attrs.scalar(1))?)?;
        where_(inside, cx.grad(), 0i64).map(Some)
    })],
    ..OpDef::MAP
};

/// The kernel of [`CLAMP_MIN`] with a number.
pub static CLAMP_BELOW: OpDef = OpDef {
    name: "clamp_below",
    doc: "`input`, at least `min`.",
    sig: &["(input, min: Scalar)"],
    forms: Forms::HIDDEN,
    kernel: Kernel::Map {
        f: Functor::ClampMin,
        promote: Promote::Bounds,
    },
    grads: &[grad(IN(0), |cx| {
        where_(ge(cx.input(0)?, cx.attrs.scalar(0))?, cx.grad(), 0i64).map(Some)
    })],
    ..OpDef::MAP
};

/// The kernel of [`CLAMP_MAX`] with a number.
pub static CLAMP_ABOVE: OpDef = OpDef {
    name: "clamp_above",
    doc: "`input`, at most `max`.",
    sig: &["(input, max: Scalar)"],
    forms: Forms::HIDDEN,
    kernel: Kernel::Map {
        f: Functor::ClampMax,
        promote: Promote::Bounds,
    },
    grads: &[grad(IN(0), |cx| {
        where_(le(cx.input(0)?, cx.attrs.scalar(0))?, cx.grad(), 0i64).map(Some)
    })],
    ..OpDef::MAP
};

/// Checks that the elementwise kernels leave to their ops: what the promotion rule alone cannot
/// tell.
pub(super) fn check_operands(call: &Call, rule: Promote, common: DType) -> Result<()> {
    match rule {
        Promote::Number => ensure!(
            common.category() != Category::Bool,
            runtime,
            "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying \
             to invert a mask, use the `~` or `logical_not()` operator instead."
        ),
        Promote::Divide => no_zero_divisor(call)?,
        Promote::Power if !common.is_float() => {
            if let Operand::Scalar(n) = &call.inputs[1] {
                ensure!(
                    n.as_f64() >= 0.0,
                    runtime,
                    "Integers to negative integer powers are not allowed. Use a floating-point \
                     tensor or exponent"
                );
            }
        }
        Promote::WideFloat => ensure!(
            matches!(common, DType::F32 | DType::F64),
            not_implemented,
            "not implemented for '{}'",
            common.scalar_type_name()
        ),
        _ => {}
    }
    Ok(())
}
