//! Mathematical functions of one operand, elementwise.

use super::def::{Forms, IN, Kernel, NOTHING, OUT, OpDef, Promote, grad};
use super::{add, div, isfinite, mul, sub, where_};
use crate::backend::Functor;
use std::f64::consts::{LN_2, LN_10, PI};

/// An elementwise function of `input` alone. The gradient reads what stands in brackets.
macro_rules! unary {
    ($(
        $(#[$doc:meta])*
        $NAME:ident $name:literal $f:ident $promote:ident $text:literal [$reads:expr] |$cx:ident| $vjp:expr;
    )*) => { $(
        $(#[$doc])*
        pub static $NAME: OpDef = OpDef {
            name: $name,
            doc: $text,
            sig: &["(input)"],
            kernel: Kernel::Map { f: Functor::$f, promote: Promote::$promote },
            grads: &[grad($reads, |$cx| $vjp.map(Some))],
            ..OpDef::MAP
        };
    )* };
}

/// A function that is constant between its jumps: its gradient is zero.
macro_rules! steps {
    ($( $(#[$doc:meta])* $NAME:ident $name:literal $f:ident $text:literal; )*) => { $(
        $(#[$doc])*
        pub static $NAME: OpDef = OpDef {
            name: $name,
            doc: $text,
            sig: &["(input)"],
            kernel: Kernel::Map { f: Functor::$f, promote: Promote::Rounding },
            grads: &[grad(NOTHING, |_| Ok(None))],
            ..OpDef::MAP
        };
    )* };
}

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &NEG,
    &ABS,
    &SIGN,
    &POSITIVE,
    &SQUARE,
    &RECIPROCAL,
    &SQRT,
    &RSQRT,
    &EXP,
    &EXP2,
    &EXPM1,
    &LOG,
    &LOG2,
    &LOG10,
    &LOG1P,
    &SIN,
    &COS,
    &TAN,
    &ASIN,
    &ACOS,
    &ATAN,
    &SINH,
    &COSH,
    &ASINH,
    &ACOSH,
    &ATANH,
    &SINC,
    &SINC_DERIVATIVE,
    &ERF,
    &ERFC,
    &ERFINV,
    &LGAMMA,
    &DIGAMMA,
    &POLYGAMMA,
    &LOGIT,
    &LOGIT_EXACT,
    &REPLACE_NONFINITE,
    &FLOOR,
    &CEIL,
    &TRUNC,
    &ROUND,
    &FRAC,
    &NAN_TO_NUM,
    &DEG2RAD,
    &RAD2DEG,
];

functions! {
    /// `-x`.
    neg(x) = NEG;
    /// `|x|`.
    abs(x) = ABS;
    /// The sign: -1, 0 or 1.
    sign(x) = SIGN;
    /// `x * x`.
    square(x) = SQUARE;
    /// `1 / x`.
    reciprocal(x) = RECIPROCAL;
    /// Square root.
    sqrt(x) = SQRT;
    /// `1 / sqrt(x)`.
    rsqrt(x) = RSQRT;
    /// `e^x`.
    exp(x) = EXP;
    /// Natural logarithm.
    log(x) = LOG;
    /// `ln(1 + x)`.
    log1p(x) = LOG1P;
    /// Sine.
    sin(x) = SIN;
    /// Cosine.
    cos(x) = COS;
    /// Hyperbolic sine.
    sinh(x) = SINH;
    /// Hyperbolic cosine.
    cosh(x) = COSH;
    /// The digamma function.
    digamma(x) = DIGAMMA;
    /// The polygamma function of order `n`.
    polygamma(x; n) = POLYGAMMA;
    /// The greatest integer not above `x`.
    floor(x) = FLOOR;
    /// `x` without its fraction.
    trunc(x) = TRUNC;
    /// Derivative number `n` of `sinc`.
    sinc_derivative(x; n) = SINC_DERIVATIVE;
}

unary! {
    /// `-x`.
    // d(-x) = -dx
    NEG "neg" Neg Arith "`-input`, elementwise." [NOTHING] |cx| neg(cx.grad());
    /// `|x|`.
    // d|x| = sign(x) dx; 0 at 0
    ABS "abs" Abs Arith "Absolute value, elementwise. Its gradient at 0 is 0." [IN(0)]
        |cx| mul(cx.grad(), sign(cx.input(0)?)?);
    /// The tensor itself, copied.
    POSITIVE "positive" Copy Arith "`input`, elementwise." [NOTHING] |cx| Ok(cx.grad().clone());
    /// `x * x`.
    // d x^2 = 2 x dx
    SQUARE "square" Square Arith "`input * input`, elementwise." [IN(0)]
        |cx| mul(cx.grad(), mul(cx.input(0)?, 2i64)?);
    /// `1 / x`.
    // d(1/x) = -(1/x)^2 dx
    RECIPROCAL "reciprocal" Reciprocal Float "`1 / input`, elementwise." [OUT(0)]
        |cx| neg(mul(cx.grad(), square(cx.output(0)?)?)?);
    /// Square root.
    // d sqrt(x) = dx / (2 sqrt(x))
    SQRT "sqrt" Sqrt Float "Square root, elementwise; NaN for negative elements." [OUT(0)]
        |cx| div(cx.grad(), mul(cx.output(0)?, 2i64)?);
    /// `1 / sqrt(x)`.
    // d x^(-1/2) = -1/2 x^(-3/2) dx
    RSQRT "rsqrt" Rsqrt Float "`1 / sqrt(input)`, elementwise." [OUT(0)] |cx| {
        let y = cx.output(0)?;
        mul(cx.grad(), mul(mul(square(&y)?, y)?, -0.5)?)
    };
    /// `e^x`.
    // d e^x = e^x dx
    EXP "exp" Exp Float "`e ** input`, elementwise." [OUT(0)] |cx| mul(cx.grad(), cx.output(0)?);
    /// `2^x`.
    // d 2^x = ln(2) 2^x dx
    EXP2 "exp2" Exp2 Float "`2 ** input`, elementwise." [OUT(0)]
        |cx| mul(cx.grad(), mul(cx.output(0)?, LN_2)?);
    /// `e^x - 1`.
    // d(e^x - 1) = e^x dx
    EXPM1 "expm1" Expm1 Float "`exp(input) - 1`, accurate near 0, elementwise." [OUT(0)]
        |cx| mul(cx.grad(), add(cx.output(0)?, 1i64)?);
    /// Natural logarithm.
    // d ln(x) = dx / x
    LOG "log" Log Float "Natural logarithm, elementwise." [IN(0)] |cx| div(cx.grad(), cx.input(0)?);
    /// Logarithm to base 2.
    // d log2(x) = dx / (x ln 2)
    LOG2 "log2" Log2 Float "Logarithm to base 2, elementwise." [IN(0)]
        |cx| div(cx.grad(), mul(cx.input(0)?, LN_2)?);
    /// Logarithm to base 10.
    // d log10(x) = dx / (x ln 10)
    LOG10 "log10" Log10 Float "Logarithm to base 10, elementwise." [IN(0)]
        |cx| div(cx.grad(), mul(cx.input(0)?, LN_10)?);
    /// `ln(1 + x)`.
    // d ln(1 + x) = dx / (1 + x)
    LOG1P "log1p" Log1p Float "`log(1 + input)`, accurate near 0, elementwise." [IN(0)]
        |cx| div(cx.grad(), add(cx.input(0)?, 1i64)?);
    /// Sine.
    // d sin(x) = cos(x) dx
    SIN "sin" Sin Float "Sine of `input` in radians, elementwise." [IN(0)]
        |cx| mul(cx.grad(), cos(cx.input(0)?)?);
    /// Cosine.
    // d cos(x) = -sin(x) dx
    COS "cos" Cos Float "Cosine of `input` in radians, elementwise." [IN(0)]
        |cx| neg(mul(cx.grad(), sin(cx.input(0)?)?)?);
    /// Tangent.
    // d tan(x) = (1 + tan(x)^2) dx
    TAN "tan" Tan Float "Tangent of `input` in radians, elementwise." [OUT(0)]
        |cx| mul(cx.grad(), add(square(cx.output(0)?)?, 1i64)?);
    /// Hyperbolic sine.
    // d sinh(x) = cosh(x) dx
    SINH "sinh" Sinh Float "Hyperbolic sine, elementwise." [IN(0)]
        |cx| mul(cx.grad(), cosh(cx.input(0)?)?);
    /// Hyperbolic cosine.
    // d cosh(x) = sinh(x) dx
    COSH "cosh" Cosh Float "Hyperbolic cosine, elementwise." [IN(0)]
        |cx| mul(cx.grad(), sinh(cx.input(0)?)?);
    /// The error function.
    // d erf(x) = 2 / sqrt(pi) e^(-x^2) dx
    ERF "erf" Erf Float "The error function, `2 / sqrt(pi) * integral of exp(-t**2) from 0 to input`, elementwise."
        [IN(0)] |cx| mul(cx.grad(), gaussian(cx, 2.0 / PI.sqrt())?);
    /// The complementary error function.
    // d erfc(x) = -2 / sqrt(pi) e^(-x^2) dx
    ERFC "erfc" Erfc Float "`1 - erf(input)`, without cancellation, elementwise." [IN(0)]
        |cx| mul(cx.grad(), gaussian(cx, -2.0 / PI.sqrt())?);
    /// The inverse error function.
    // d erfinv(x) = sqrt(pi) / 2 e^(erfinv(x)^2) dx
    ERFINV "erfinv" Erfinv Float "The inverse of `erf`, elementwise." [OUT(0)]
        |cx| mul(cx.grad(), mul(exp(square(cx.output(0)?)?)?, PI.sqrt() / 2.0)?);
    /// Logarithm of the absolute value of the gamma function.
    // d lgamma(x) = digamma(x) dx
    LGAMMA "lgamma" Lgamma Float "`log(abs(gamma(input)))`, elementwise." [IN(0)]
        |cx| mul(cx.grad(), digamma(cx.input(0)?)?);
    /// The fraction.
    // d frac(x) = dx between its jumps
    FRAC "frac" Frac Float "`input - trunc(input)`, elementwise." [NOTHING] |cx| Ok(cx.grad().clone());
}

/// `c e^(-x^2)` of input 0.
fn gaussian(cx: &crate::tape::VjpCx, c: f64) -> crate::Result<crate::Tensor> {
    mul(exp(neg(square(cx.input(0)?)?)?)?, c)
}

steps! {
    /// The sign: -1, 0 or 1.
    SIGN "sign" Sign "-1, 0 or 1 by the sign of each element; 0 for NaN.";
    /// The greatest integer not above.
    FLOOR "floor" Floor "The greatest integer not above each element.";
    /// The least integer not below.
    CEIL "ceil" Ceil "The least integer not below each element.";
    /// Without fraction.
    TRUNC "trunc" Trunc "Each element without its fraction.";
}

/// An elementwise function with another name.
macro_rules! aliased {
    ($(
        $(#[$doc:meta])*
        $NAME:ident $name:literal $alias:literal $f:ident $text:literal [$reads:expr] |$cx:ident| $vjp:expr;
    )*) => { $(
        $(#[$doc])*
        pub static $NAME: OpDef = OpDef {
            name: $name,
            doc: $text,
            sig: &["(input)"],
            aliases: &[$alias],
            kernel: Kernel::Map { f: Functor::$f, promote: Promote::Float },
            grads: &[grad($reads, |$cx| $vjp.map(Some))],
            ..OpDef::MAP
        };
    )* };
}

aliased! {
    /// Inverse sine.
    // d asin(x) = dx / sqrt(1 - x^2)
    ASIN "asin" "arcsin" Asin "Inverse sine in radians, elementwise." [IN(0)]
        |cx| mul(cx.grad(), rsqrt(sub(1i64, square(cx.input(0)?)?)?)?);
    /// Inverse cosine.
    // d acos(x) = -dx / sqrt(1 - x^2)
    ACOS "acos" "arccos" Acos "Inverse cosine in radians, elementwise." [IN(0)]
        |cx| neg(mul(cx.grad(), rsqrt(sub(1i64, square(cx.input(0)?)?)?)?)?);
    /// Inverse tangent.
    // d atan(x) = dx / (1 + x^2)
    ATAN "atan" "arctan" Atan "Inverse tangent in radians, elementwise." [IN(0)]
        |cx| div(cx.grad(), add(square(cx.input(0)?)?, 1i64)?);
    /// Inverse hyperbolic sine.
    // d asinh(x) = dx / sqrt(x^2 + 1)
    ASINH "asinh" "arcsinh" Asinh "Inverse hyperbolic sine, elementwise." [IN(0)]
        |cx| mul(cx.grad(), rsqrt(add(square(cx.input(0)?)?, 1i64)?)?);
    /// Inverse hyperbolic cosine.
    // d acosh(x) = dx / sqrt(x^2 - 1)
    ACOSH "acosh" "arccosh" Acosh "Inverse hyperbolic cosine, elementwise." [IN(0)]
        |cx| mul(cx.grad(), rsqrt(sub(square(cx.input(0)?)?, 1i64)?)?);
    /// Inverse hyperbolic tangent.
    // d atanh(x) = dx / (1 - x^2)
    ATANH "atanh" "arctanh" Atanh "Inverse hyperbolic tangent, elementwise." [IN(0)]
        |cx| div(cx.grad(), sub(1i64, square(cx.input(0)?)?)?);
    /// The digamma function.
    // d psi(x) = psi_1(x) dx
    DIGAMMA "digamma" "psi" Digamma "The derivative of `lgamma`, elementwise." [IN(0)]
        |cx| mul(cx.grad(), polygamma(cx.input(0)?, 1i64)?);
}

/// The normalised sinc.
pub static SINC: OpDef = OpDef {
    name: "sinc",
    doc: "`sin(pi * input) / (pi * input)`, and 1 at 0, elementwise.",
    sig: &["(input)"],
    kernel: Kernel::Map {
        f: Functor::Sinc,
        promote: Promote::Float,
    },
    grads: &[grad(IN(0), |cx| {
        mul(cx.grad(), sinc_derivative(cx.input(0)?, 1i64)?).map(Some)
    })],
    ..OpDef::MAP
};

/// Derivatives of the normalised sinc, which a quotient could not give at 0.
pub static SINC_DERIVATIVE: OpDef = OpDef {
    name: "sinc_derivative",
    doc: "Derivative number `n` of `sinc`.",
    sig: &["(input, n: int)"],
    forms: Forms::HIDDEN,
    kernel: Kernel::Map {
        f: Functor::SincDerivative,
        promote: Promote::Float,
    },
    grads: &[grad(IN(0), |cx| {
        mul(
            cx.grad(),
            sinc_derivative(cx.input(0)?, cx.attrs.int(0) + 1)?,
        )
        .map(Some)
    })],
    ..OpDef::MAP
};

/// The polygamma functions. The order comes first, as in PyTorch's `polygamma(n, input)`.
pub static POLYGAMMA: OpDef = OpDef {
    name: "polygamma",
    doc: "Derivative number `n` of `digamma`, elementwise.",
    sig: &["(n: int, input)", "(input, n: int)"],
    kernel: Kernel::Map {
        f: Functor::Polygamma,
        promote: Promote::Float,
    },
    // d psi_n(x) = psi_(n+1)(x) dx
    grads: &[grad(IN(0), |cx| {
        mul(cx.grad(), polygamma(cx.input(0)?, cx.attrs.int(0) + 1)?).map(Some)
    })],
    ..OpDef::MAP
};

/// The inverse of the sigmoid.
pub static LOGIT: OpDef = OpDef {
    name: "logit",
    doc: "`log(input / (1 - input))`, elementwise. With `eps`, `input` is first clamped to \
          `[eps, 1 - eps]`.",
    sig: &["(input, eps: float? = None)"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        let x = match call.attrs.float_opt(0) {
            Some(eps) => &super::clamp(x, eps, 1.0 - eps)?,
            None => x,
        };
        Ok(smallvec::smallvec![logit_exact(x)?])
    }),
    forms: Forms::ALL,
    ..OpDef::COMPOSITE
};

functions! {
    /// `ln(x / (1 - x))`.
    logit_exact(x) = LOGIT_EXACT;
}

unary! {
    /// `ln(x / (1 - x))`.
    // d logit(x) = dx / (x (1 - x))
    LOGIT_EXACT "logit_exact" Logit Float "`log(input / (1 - input))`, elementwise." [IN(0)] |cx| {
        let x = cx.input(0)?;
        div(cx.grad(), mul(&x, sub(1i64, &x)?)?)
    };
}

/// Rounding.
pub static ROUND: OpDef = OpDef {
    name: "round",
    doc: "The nearest integer to each element, halves to even; with `decimals`, that many digits \
          after the point.",
    sig: &["(input, *, decimals: int = 0)"],
    kernel: Kernel::Map {
        f: Functor::RoundDecimals,
        promote: Promote::Rounding,
    },
    grads: &[grad(NOTHING, |_| Ok(None))],
    ..OpDef::MAP
};

/// Numbers in place of NaN and infinities.
pub static NAN_TO_NUM: OpDef = OpDef {
    name: "nan_to_num",
    doc: "NaN becomes `nan` (0 if left out), infinities become `posinf` and `neginf` (the type's \
          limits if left out).",
    sig: &["(input, nan: float? = None, posinf: float? = None, neginf: float? = None)"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        if !x.dtype().is_float() {
            return Ok(smallvec::smallvec![super::clone(x)?]);
        }
        let limit = super::meta::greatest(x.dtype());
        let attrs = call.attrs;
        let out = replace_nonfinite(
            x,
            attrs.float_opt(0).unwrap_or(0.0),
            attrs.float_opt(1).unwrap_or(limit),
            attrs.float_opt(2).unwrap_or(-limit),
        )?;
        Ok(smallvec::smallvec![out])
    }),
    forms: Forms::ALL,
    ..OpDef::COMPOSITE
};

functions! {
    /// Numbers in place of NaN and infinities.
    replace_nonfinite(x; nan, posinf, neginf) = REPLACE_NONFINITE;
}

/// The kernel of [`NAN_TO_NUM`].
pub static REPLACE_NONFINITE: OpDef = OpDef {
    name: "replace_nonfinite",
    doc: "NaN and the infinities become given numbers.",
    sig: &["(input, nan: float, posinf: float, neginf: float)"],
    forms: Forms::HIDDEN,
    kernel: Kernel::Map {
        f: Functor::NanToNum,
        promote: Promote::Arith,
    },
    // Where nothing was replaced.
    grads: &[grad(IN(0), |cx| {
        where_(isfinite(cx.input(0)?)?, cx.grad(), 0i64).map(Some)
    })],
    ..OpDef::MAP
};

/// Degrees to radians.
pub static DEG2RAD: OpDef = OpDef {
    name: "deg2rad",
    doc: "Degrees to radians, elementwise.",
    sig: &["(input)"],
    forms: Forms::ALL,
    kernel: Kernel::Composite(|call| Ok(smallvec::smallvec![mul(call.tensor(0), PI / 180.0)?])),
    ..OpDef::COMPOSITE
};

/// Radians to degrees.
pub static RAD2DEG: OpDef = OpDef {
    name: "rad2deg",
    doc: "Radians to degrees, elementwise.",
    sig: &["(input)"],
    forms: Forms::ALL,
    kernel: Kernel::Composite(|call| Ok(smallvec::smallvec![mul(call.tensor(0), 180.0 / PI)?])),
    ..OpDef::COMPOSITE
};
