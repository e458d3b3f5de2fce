//! Mathematical functions of one operand, elementwise.
//!
//! Slopes may be infinite or NaN at poles and ends of domains; [`mul_or_zero`] and [`div_or_zero`]
//! keep a cotangent of zero at zero there, so that `where(x > 0, log(x), x)` has a gradient.

use super::def::{Choice, Forms, IN, Kernel, NOTHING, OUT, OpDef, Promote, grad_of_taken};
use super::{add, clamp, div_or_zero, hypot, mul, mul_or_zero, sign, sub};
use crate::backend::Functor;
use crate::base::{DType, Result};
use crate::ensure;
use crate::tape::VjpCx;
use crate::tensor::Tensor;
use smallvec::smallvec;
use std::f64::consts::{FRAC_2_SQRT_PI, LN_2, LN_10, PI};

/// Functions of `input` alone whose results are floats. The gradient reads what stands in the
/// second brackets.
macro_rules! unary {
    ($(
        $(#[$doc:meta])*
        $NAME:ident $name:literal [$($alias:literal)?] $f:ident $text:literal
            [$reads:expr] |$cx:ident| $vjp:expr;
    )*) => { $(
        $(#[$doc])*
        pub static $NAME: OpDef = OpDef {
            name: $name,
            doc: $text,
            sig: &["(input)"],
            aliases: &[$($alias)?],
            kernel: Kernel::Map { f: Functor::$f, promote: Promote::Float },
            grads: &[grad_of_taken($reads, |$cx| $vjp.map(Some))],
            ..OpDef::MAP
        };
    )* };
}

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &NEG,
    &POSITIVE,
    &ABS,
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
    &DEG2RAD,
    &RAD2DEG,
];

functions! {
    /// `-x`.
    neg(x) = NEG;
    /// `|x|`.
    abs(x) = ABS;
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
    /// `e^x - 1`.
    expm1(x) = EXPM1;
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
    /// The error function.
    erf(x) = ERF;
    /// The digamma function.
    digamma(x) = DIGAMMA;
    /// The polygamma function of order `n`.
    polygamma(x; n) = POLYGAMMA;
    /// Derivative number `n` of `sinc`.
    sinc_derivative(x; n) = SINC_DERIVATIVE;
    /// `ln(x / (1 - x))`.
    logit_exact(x) = LOGIT_EXACT;
}

/// `-x`.
pub static NEG: OpDef = OpDef {
    name: "neg",
    aliases: &["negative"],
    doc: "`-input`, elementwise. Bools cannot be negated: use `~`.\n\n\
          >>> rg.neg(rg.tensor([1.0, -2.0]))\n\
          tensor([-1.,  2.])",
    sig: &["(input)"],
    kernel: Kernel::Choose(|call| {
        ensure!(
            call.inputs[0].dtype() != DType::Bool,
            runtime,
            "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to \
             invert a mask, use the `~` or `logical_not()` operator instead."
        );
        Choice::of(call, Functor::Neg, Promote::Arith)
    }),
    // d(-x) = -dx
    grads: &[grad_of_taken(NOTHING, |cx| neg(cx.take_grad()).map(Some))],
    ..OpDef::MAP
};

/// The tensor itself.
pub static POSITIVE: OpDef = OpDef {
    name: "positive",
    doc: "`input` itself. Bools raise.\n\n\
          >>> x = rg.tensor([1.0, -2.0])\n\
          >>> rg.positive(x) is x\n\
          True",
    sig: &["(input)"],
    kernel: Kernel::Composite(|call| {
        ensure!(
            call.tensor(0).dtype() != DType::Bool,
            runtime,
            "The `+` operator, on a bool tensor is not supported."
        );
        Ok(smallvec![call.tensor(0).clone()])
    }),
    ..OpDef::COMPOSITE
};

/// `|x|`.
pub static ABS: OpDef = OpDef {
    name: "abs",
    aliases: &["absolute"],
    doc: "Absolute value, elementwise, in the input's type. Its gradient at 0 is 0.\n\n\
          >>> rg.abs(rg.tensor([1.0, -2.5]))\n\
          tensor([1.0000, 2.5000])",
    sig: &["(input)"],
    kernel: Kernel::Map {
        f: Functor::Abs,
        promote: Promote::Number,
    },
    // d|x| = sign(x) dx
    grads: &[grad_of_taken(IN(0), |cx| {
        mul(cx.take_grad(), sign(cx.input(0)?)?).map(Some)
    })],
    ..OpDef::MAP
};

/// `x * x`.
pub static SQUARE: OpDef = OpDef {
    name: "square",
    doc: "`input * input`, elementwise, in the input's type.\n\n\
          >>> rg.square(rg.tensor([3, -2]))\n\
          tensor([9, 4])",
    sig: &["(input)"],
    kernel: Kernel::Choose(|call| {
        let mut choice = Choice::of(call, Functor::Square, Promote::Arith)?;
        // A bool to the power of the number 2 is an integer.
        if choice.dtype == DType::Bool {
            choice.dtype = DType::I64;
        }
        Ok(choice)
    }),
    // d x^2 = 2 x dx
    grads: &[grad_of_taken(IN(0), |cx| {
        mul_or_zero(cx.take_grad(), mul(cx.input(0)?, 2i64)?).map(Some)
    })],
    ..OpDef::MAP
};

unary! {
    /// `1 / x`.
    // d(1/x) = -(1/x)^2 dx
    RECIPROCAL "reciprocal" [] Reciprocal "`1 / input`, elementwise; integers become floats.\n\n\
        >>> rg.reciprocal(rg.tensor([0.5, -4.0]))\n\
        tensor([ 2.0000, -0.2500])"
        [OUT(0)] |cx| neg(mul_or_zero(cx.take_grad(), square(cx.output(0)?)?)?);
    /// Square root.
    // d sqrt(x) = dx / (2 sqrt(x))
    SQRT "sqrt" [] Sqrt "Square root, elementwise; NaN for negative elements. Integers become \
        floats.\n\n\
        >>> rg.sqrt(rg.tensor([4.0, 0.25]))\n\
        tensor([2.0000, 0.5000])"
        [OUT(0)] |cx| div_or_zero(cx.take_grad(), mul(cx.output(0)?, 2i64)?);
    /// `1 / sqrt(x)`.
    // d x^(-1/2) = -1/2 x^(-3/2) dx
    RSQRT "rsqrt" [] Rsqrt "`1 / sqrt(input)`, elementwise; integers become floats.\n\n\
        >>> rg.rsqrt(rg.tensor([4.0, 0.25]))\n\
        tensor([0.5000, 2.0000])"
        [OUT(0)] |cx| {
            let y = cx.output(0)?;
            mul_or_zero(cx.take_grad(), mul(mul(square(&y)?, y)?, -0.5)?)
        };
    /// `e^x`.
    // d e^x = e^x dx
    EXP "exp" [] Exp "`e ** input`, elementwise; integers become floats.\n\n\
        >>> rg.exp(rg.tensor([0.0, 1.0]))\n\
        tensor([1.0000, 2.7183])"
        [OUT(0)] |cx| mul_or_zero(cx.take_grad(), cx.output(0)?);
    /// `2^x`.
    // d 2^x = ln(2) 2^x dx
    EXP2 "exp2" [] Exp2 "`2 ** input`, elementwise; integers become floats.\n\n\
        >>> rg.exp2(rg.tensor([0.0, 3.0, -1.0]))\n\
        tensor([1.0000, 8.0000, 0.5000])"
        [OUT(0)] |cx| mul_or_zero(cx.take_grad(), mul(cx.output(0)?, LN_2)?);
    /// `e^x - 1`.
    // d(e^x - 1) = e^x dx
    EXPM1 "expm1" [] Expm1 "`exp(input) - 1`, accurate near 0, elementwise; integers become \
        floats.\n\n\
        >>> rg.expm1(rg.tensor([0.0, 1.0]))\n\
        tensor([0.0000, 1.7183])"
        [OUT(0)] |cx| mul_or_zero(cx.take_grad(), add(cx.output(0)?, 1i64)?);
    /// Natural logarithm.
    // d ln(x) = dx / x
    LOG "log" [] Log "Natural logarithm, elementwise; NaN for negative elements. Integers become \
        floats.\n\n\
        >>> rg.log(rg.tensor([1.0, 10.0]))\n\
        tensor([0.0000, 2.3026])"
        [IN(0)] |cx| div_or_zero(cx.take_grad(), cx.input(0)?);
    /// Logarithm to base 2.
    // d log2(x) = dx / (x ln 2)
    LOG2 "log2" [] Log2 "Logarithm to base 2, elementwise; integers become floats.\n\n\
        >>> rg.log2(rg.tensor([8.0, 0.5]))\n\
        tensor([ 3., -1.])"
        [IN(0)] |cx| div_or_zero(cx.take_grad(), mul(cx.input(0)?, LN_2)?);
    /// Logarithm to base 10.
    // d log10(x) = dx / (x ln 10)
    LOG10 "log10" [] Log10 "Logarithm to base 10, elementwise; integers become floats.\n\n\
        >>> rg.log10(rg.tensor([1.0, 100.0]))\n\
        tensor([0., 2.])"
        [IN(0)] |cx| div_or_zero(cx.take_grad(), mul(cx.input(0)?, LN_10)?);
    /// `ln(1 + x)`.
    // d ln(1 + x) = dx / (1 + x)
    LOG1P "log1p" [] Log1p "`log(1 + input)`, accurate near 0, elementwise; integers become \
        floats.\n\n\
        >>> rg.log1p(rg.tensor([0.0, 1.0]))\n\
        tensor([0.0000, 0.6931])"
        [IN(0)] |cx| div_or_zero(cx.take_grad(), add(cx.input(0)?, 1i64)?);
    /// Sine.
    // d sin(x) = cos(x) dx
    SIN "sin" [] Sin "Sine of `input` in radians, elementwise; integers become floats.\n\n\
        >>> rg.sin(rg.tensor([0.0, 1.0]))\n\
        tensor([0.0000, 0.8415])"
        [IN(0)] |cx| mul_or_zero(cx.take_grad(), cos(cx.input(0)?)?);
    /// Cosine.
    // d cos(x) = -sin(x) dx
    COS "cos" [] Cos "Cosine of `input` in radians, elementwise; integers become floats.\n\n\
        >>> rg.cos(rg.tensor([0.0, 1.0]))\n\
        tensor([1.0000, 0.5403])"
        [IN(0)] |cx| neg(mul_or_zero(cx.take_grad(), sin(cx.input(0)?)?)?);
    /// Tangent.
    // d tan(x) = (1 + tan(x)^2) dx
    TAN "tan" [] Tan "Tangent of `input` in radians, elementwise; integers become floats.\n\n\
        >>> rg.tan(rg.tensor([0.0, 1.0]))\n\
        tensor([0.0000, 1.5574])"
        [OUT(0)] |cx| mul_or_zero(cx.take_grad(), add(square(cx.output(0)?)?, 1i64)?);
    /// Inverse sine.
    // d asin(x) = dx / sqrt(1 - x^2)
    ASIN "asin" ["arcsin"] Asin "Inverse sine in radians, elementwise; NaN outside `[-1, 1]`. \
        Integers become floats.\n\n\
        >>> rg.asin(rg.tensor([0.0, -1.0]))\n\
        tensor([ 0.0000, -1.5708])"
        [IN(0)] |cx| div_or_zero(cx.take_grad(), sqrt(less_square(cx)?)?);
    /// Inverse cosine.
    // d acos(x) = -dx / sqrt(1 - x^2)
    ACOS "acos" ["arccos"] Acos "Inverse cosine in radians, elementwise; NaN outside `[-1, 1]`. \
        Integers become floats.\n\n\
        >>> rg.acos(rg.tensor([1.0, 0.0]))\n\
        tensor([0.0000, 1.5708])"
        [IN(0)] |cx| neg(div_or_zero(cx.take_grad(), sqrt(less_square(cx)?)?)?);
    /// Inverse tangent.
    // d atan(x) = dx / (1 + x^2)
    ATAN "atan" ["arctan"] Atan "Inverse tangent in radians, elementwise; integers become \
        floats.\n\n\
        >>> rg.atan(rg.tensor([0.0, 1.0]))\n\
        tensor([0.0000, 0.7854])"
        [IN(0)] |cx| div_or_zero(cx.take_grad(), add(square(cx.input(0)?)?, 1i64)?);
    /// Hyperbolic sine.
    // d sinh(x) = cosh(x) dx
    SINH "sinh" [] Sinh "Hyperbolic sine, elementwise; integers become floats.\n\n\
        >>> rg.sinh(rg.tensor([0.0, 1.0]))\n\
        tensor([0.0000, 1.1752])"
        [IN(0)] |cx| mul_or_zero(cx.take_grad(), cosh(cx.input(0)?)?);
    /// Hyperbolic cosine.
    // d cosh(x) = sinh(x) dx
    COSH "cosh" [] Cosh "Hyperbolic cosine, elementwise; integers become floats.\n\n\
        >>> rg.cosh(rg.tensor([0.0, 1.0]))\n\
        tensor([1.0000, 1.5431])"
        [IN(0)] |cx| mul_or_zero(cx.take_grad(), sinh(cx.input(0)?)?);
    /// Inverse hyperbolic sine.
    // d asinh(x) = dx / sqrt(x^2 + 1)
    ASINH "asinh" ["arcsinh"] Asinh "Inverse hyperbolic sine, elementwise; integers become \
        floats.\n\n\
        >>> rg.asinh(rg.tensor([0.0, 1.0]))\n\
        tensor([0.0000, 0.8814])"
        [IN(0)] |cx| div_or_zero(cx.take_grad(), hypot(cx.input(0)?, 1i64)?);
    /// Inverse hyperbolic cosine.
    // d acosh(x) = dx / (sqrt(x - 1) sqrt(x + 1))
    ACOSH "acosh" ["arccosh"] Acosh "Inverse hyperbolic cosine, elementwise; NaN below 1. Integers \
        become floats.\n\n\
        >>> rg.acosh(rg.tensor([1.0, 2.0]))\n\
        tensor([0.0000, 1.3170])"
        [IN(0)] |cx| {
            let x = cx.input(0)?;
            let slope = mul(sqrt(sub(&x, 1i64)?)?, sqrt(add(x, 1i64)?)?)?;
            div_or_zero(cx.take_grad(), slope)
        };
    /// Inverse hyperbolic tangent.
    // d atanh(x) = dx / (1 - x^2)
    ATANH "atanh" ["arctanh"] Atanh "Inverse hyperbolic tangent, elementwise; NaN outside \
        `[-1, 1]`. Integers become floats.\n\n\
        >>> rg.atanh(rg.tensor([0.0, 0.5]))\n\
        tensor([0.0000, 0.5493])"
        [IN(0)] |cx| div_or_zero(cx.take_grad(), less_square(cx)?);
    /// The normalised sinc.
    SINC "sinc" [] Sinc "`sin(pi * input) / (pi * input)`, and 1 at 0, elementwise; integers \
        become floats.\n\n\
        >>> rg.sinc(rg.tensor([0.0, 0.5]))\n\
        tensor([1.0000, 0.6366])"
        [IN(0)] |cx| mul_or_zero(cx.take_grad(), sinc_derivative(cx.input(0)?, 1i64)?);
    /// The error function.
    // d erf(x) = 2 / sqrt(pi) e^(-x^2) dx
    ERF "erf" [] Erf "The error function, `2 / sqrt(pi)` times the integral of `exp(-t**2)` from 0 \
        to `input`, elementwise; integers become floats.\n\n\
        >>> rg.erf(rg.tensor([0.0, 1.0]))\n\
        tensor([0.0000, 0.8427])"
        [IN(0)] |cx| mul_or_zero(cx.take_grad(), gaussian(cx, FRAC_2_SQRT_PI)?);
    /// The complementary error function.
    // d erfc(x) = -2 / sqrt(pi) e^(-x^2) dx
    ERFC "erfc" [] Erfc "`1 - erf(input)`, without cancellation, elementwise; integers become \
        floats.\n\n\
        >>> rg.erfc(rg.tensor([0.0, 1.0]))\n\
        tensor([1.0000, 0.1573])"
        [IN(0)] |cx| mul_or_zero(cx.take_grad(), gaussian(cx, -FRAC_2_SQRT_PI)?);
    /// The inverse error function.
    // d erfinv(x) = sqrt(pi) / 2 e^(erfinv(x)^2) dx
    ERFINV "erfinv" [] Erfinv "The inverse of `erf`, elementwise; NaN outside `[-1, 1]`. Integers \
        become floats.\n\n\
        >>> rg.erfinv(rg.tensor([0.0, 0.5]))\n\
        tensor([0.0000, 0.4769])"
        [OUT(0)] |cx| {
            let slope = mul(exp(square(cx.output(0)?)?)?, 1.0 / FRAC_2_SQRT_PI)?;
            mul_or_zero(cx.take_grad(), slope)
        };
    /// Logarithm of the absolute value of the gamma function.
    // d lgamma(x) = digamma(x) dx
    LGAMMA "lgamma" [] Lgamma "`log(abs(gamma(input)))`, elementwise; integers become floats.\n\n\
        >>> rg.lgamma(rg.tensor([1.0, 4.0]))\n\
        tensor([0.0000, 1.7918])"
        [IN(0)] |cx| mul_or_zero(cx.take_grad(), digamma(cx.input(0)?)?);
    /// The digamma function.
    // d psi(x) = psi_1(x) dx
    DIGAMMA "digamma" [] Digamma "The derivative of `lgamma`, elementwise; integers become \
        floats.\n\n\
        >>> rg.digamma(rg.tensor([1.0, 2.0]))\n\
        tensor([-0.5772,  0.4228])"
        [IN(0)] |cx| mul_or_zero(cx.take_grad(), polygamma(cx.input(0)?, 1i64)?);
}

/// `1 - x^2` of input 0, without cancellation near 1 and -1.
fn less_square(cx: &VjpCx) -> Result<Tensor> {
    let x = cx.input(0)?;
    mul(sub(1i64, &x)?, add(x, 1i64)?)
}

/// `c e^(-x^2)` of input 0.
fn gaussian(cx: &VjpCx, c: f64) -> Result<Tensor> {
    mul(exp(neg(square(cx.input(0)?)?)?)?, c)
}

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
    grads: &[grad_of_taken(IN(0), |cx| {
        let slope = sinc_derivative(cx.input(0)?, cx.attrs.int(0) + 1)?;
        mul_or_zero(cx.take_grad(), slope).map(Some)
    })],
    ..OpDef::MAP
};

/// The polygamma functions. The order comes first, as in PyTorch's `polygamma(n, input)`.
pub static POLYGAMMA: OpDef = OpDef {
    name: "polygamma",
    doc: "Derivative number `n` (not negative) of `digamma`, elementwise; integers become \
          floats. As a function `polygamma(n, input)`, as a method `input.polygamma(n)`.\n\n\
          >>> rg.polygamma(1, rg.tensor([1.0, 0.5]))\n\
          tensor([1.6449, 4.9348])",
    sig: &["(n: int, input)", "(input, n: int)"],
    kernel: Kernel::Choose(|call| {
        let n = call.attrs.int(0);
        ensure!(
            n >= 0,
            runtime,
            "polygamma(n, x) does not support negative n, but got {n}"
        );
        Choice::of(call, Functor::Polygamma, Promote::Float)
    }),
    // d psi_n(x) = psi_(n+1)(x) dx
    grads: &[grad_of_taken(IN(0), |cx| {
        let slope = polygamma(cx.input(0)?, cx.attrs.int(0) + 1)?;
        mul_or_zero(cx.take_grad(), slope).map(Some)
    })],
    ..OpDef::MAP
};

/// The inverse of the sigmoid.
pub static LOGIT: OpDef = OpDef {
    name: "logit",
    doc: "`log(input / (1 - input))`, elementwise: the inverse of `sigmoid`; NaN outside `[0, 1]`. \
          With `eps`, `input` is first clamped to `[eps, 1 - eps]`. Integers become floats.\n\n\
          >>> rg.logit(rg.tensor([0.5, 0.9]))\n\
          tensor([0.0000, 2.1972])\n\
          >>> rg.logit(rg.tensor([0.0, 1.0]), eps=0.1)\n\
          tensor([-2.1972,  2.1972])",
    sig: &["(input, eps: float? = None)"],
    forms: Forms::ALL,
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        Ok(smallvec![match call.attrs.float_opt(0) {
            Some(eps) => logit_exact(clamp(x, eps, 1.0 - eps)?)?,
            None => logit_exact(x)?,
        }])
    }),
    ..OpDef::COMPOSITE
};

/// `ln(x / (1 - x))`.
pub static LOGIT_EXACT: OpDef = OpDef {
    name: "logit_exact",
    doc: "`log(input / (1 - input))`, elementwise.",
    sig: &["(input)"],
    forms: Forms::HIDDEN,
    kernel: Kernel::Map {
        f: Functor::Logit,
        promote: Promote::Float,
    },
    // d logit(x) = dx / (x (1 - x))
    grads: &[grad_of_taken(IN(0), |cx| {
        let x = cx.input(0)?;
        div_or_zero(cx.take_grad(), mul(&x, sub(1i64, &x)?)?).map(Some)
    })],
    ..OpDef::MAP
};

/// Degrees to radians.
pub static DEG2RAD: OpDef = OpDef {
    name: "deg2rad",
    doc: "Degrees to radians, elementwise; integers become floats.\n\n\
          >>> rg.deg2rad(rg.tensor([180.0, -90.0]))\n\
          tensor([ 3.1416, -1.5708])",
    sig: &["(input)"],
    forms: Forms::ALL,
    kernel: Kernel::Composite(|call| Ok(smallvec![mul(call.tensor(0), PI / 180.0)?])),
    ..OpDef::COMPOSITE
};

/// Radians to degrees.
pub static RAD2DEG: OpDef = OpDef {
    name: "rad2deg",
    doc: "Radians to degrees, elementwise; integers become floats.\n\n\
          >>> rg.rad2deg(rg.tensor([3.1416, -1.5708]))\n\
          tensor([180.0004, -90.0002])",
    sig: &["(input)"],
    forms: Forms::ALL,
    kernel: Kernel::Composite(|call| Ok(smallvec![mul(call.tensor(0), 180.0 / PI)?])),
    ..OpDef::COMPOSITE
};
