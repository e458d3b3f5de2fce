//! Comparisons, tests, and choosing by a condition. Truth values have no gradient.

use super::def::{Batch, Call, Forms, IN, Jvp, Kernel, OpDef, Promote, Returns, grad};
use super::{abs, add, all, cast, logical_and, logical_or, mul, sub};
use crate::backend::Functor;
use crate::base::{DType, Result, Scalar};
use crate::tensor::{Operand, Tensor};
use crate::{bail, ensure};
use smallvec::smallvec;

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &EQ,
    &NE,
    &LT,
    &LE,
    &GT,
    &GE,
    &ISNAN,
    &ISINF,
    &ISPOSINF,
    &ISNEGINF,
    &ISFINITE,
    &ISCLOSE,
    &ALLCLOSE,
    &EQUAL,
    &SIGNBIT,
    &WHERE,
    &MASKED_FILL,
    &COPYSIGN_RATIO,
];

functions! {
    /// Where `x == y`.
    eq(x, y) = EQ;
    /// Where `x != y`.
    ne(x, y) = NE;
    /// Where `x < y`.
    lt(x, y) = LT;
    /// Where `x <= y`.
    le(x, y) = LE;
    /// Where `x > y`.
    gt(x, y) = GT;
    /// Where `x >= y`.
    ge(x, y) = GE;
    /// Where `x` is NaN.
    isnan(x) = ISNAN;
    /// Where `x` is infinite.
    isinf(x) = ISINF;
    /// Where `x` is a finite number.
    isfinite(x) = ISFINITE;
    /// `x` where `condition` is true, else `y`.
    where_(condition, x, y) = WHERE;
    /// 1 or -1 by whether `x` and `y` have one sign; 0 where `x` is 0.
    copysign_ratio(x, y) = COPYSIGN_RATIO;
}

/// An op whose result is bool.
const TRUTH: OpDef = OpDef {
    jvp: Jvp::None,
    batch: Batch::Elementwise,
    ..OpDef::BASE
};

macro_rules! comparisons {
    ($( $(#[$doc:meta])* $NAME:ident $name:literal [$($alias:literal)?] $f:ident $text:literal; )*) => { $(
        $(#[$doc])*
        pub static $NAME: OpDef = OpDef {
            name: $name,
            doc: $text,
            sig: &["(input, other: Tensor|Scalar)"],
            aliases: &[$($alias)?],
            forms: Forms::ALL,
            kernel: Kernel::Map { f: Functor::$f, promote: Promote::Truth },
            ..TRUTH
        };
    )* };
}

macro_rules! tests {
    ($( $(#[$doc:meta])* $NAME:ident $name:literal $f:ident $text:literal; )*) => { $(
        $(#[$doc])*
        pub static $NAME: OpDef = OpDef {
            name: $name,
            doc: $text,
            sig: &["(input)"],
            kernel: Kernel::Map { f: Functor::$f, promote: Promote::Truth },
            ..TRUTH
        };
    )* };
}

comparisons! {
    /// `input == other`.
    EQ "eq" [] Eq "Whether `input == other`, elementwise with broadcasting.";
    /// `input != other`.
    NE "ne" ["not_equal"] Ne "Whether `input != other`, elementwise with broadcasting.";
    /// `input < other`.
    LT "lt" ["less"] Lt "Whether `input < other`, elementwise with broadcasting.";
    /// `input <= other`.
    LE "le" ["less_equal"] Le "Whether `input <= other`, elementwise with broadcasting.";
    /// `input > other`.
    GT "gt" ["greater"] Gt "Whether `input > other`, elementwise with broadcasting.";
    /// `input >= other`.
    GE "ge" ["greater_equal"] Ge "Whether `input >= other`, elementwise with broadcasting.";
}

tests! {
    /// NaN.
    ISNAN "isnan" IsNan "Where elements are NaN.";
    /// Infinite.
    ISINF "isinf" IsInf "Where elements are infinite.";
    /// Positive infinity.
    ISPOSINF "isposinf" IsPosInf "Where elements are positive infinity.";
    /// Negative infinity.
    ISNEGINF "isneginf" IsNegInf "Where elements are negative infinity.";
    /// Finite.
    ISFINITE "isfinite" IsFinite "Where elements are finite numbers.";
}

/// The sign bit.
pub static SIGNBIT: OpDef = OpDef {
    name: "signbit",
    doc: "Where elements are negative (-0.0 included).",
    sig: &["(input)"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        if !x.dtype().is_float() {
            return Ok(smallvec![lt(x, 0i64)?]);
        }
        let one = Operand::Scalar(Scalar::Float(1.0));
        let sign = super::dispatch::run1(
            &super::arithmetic::COPYSIGN,
            &[full_like(x, one)?.into(), x.into()],
            &Default::default(),
        )?;
        Ok(smallvec![lt(sign, 0i64)?])
    }),
    ..OpDef::COMPOSITE
};

/// `value` everywhere, in the shape of `x`.
fn full_like(x: &Tensor, value: Operand) -> Result<Tensor> {
    let truth = eq(x, x)?;
    super::cast(
        &where_(logical_or(&truth, isnan(x)?)?, &value, &value)?,
        x.dtype(),
    )
}

/// Elementwise closeness.
pub static ISCLOSE: OpDef = OpDef {
    name: "isclose",
    doc: "Where `abs(input - other) <= atol + rtol * abs(other)`; equal infinities are close, and \
          NaN is close to NaN if `equal_nan`.",
    sig: &["(input, other, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False)"],
    kernel: Kernel::Composite(|call| Ok(smallvec![close(call)?])),
    ..OpDef::COMPOSITE
};

fn close(call: &Call) -> Result<Tensor> {
    let (x, y) = (call.tensor(0), call.tensor(1));
    ensure!(
        x.dtype() == y.dtype(),
        runtime,
        "{} did not match {}: isclose and allclose compare tensors of one dtype",
        x.dtype().scalar_type_name(),
        y.dtype().scalar_type_name()
    );
    let (rtol, atol) = (call.attrs.float(0), call.attrs.float(1));
    ensure!(
        rtol >= 0.0,
        runtime,
        "rtol must be greater than or equal to zero, but got {rtol}"
    );
    ensure!(
        atol >= 0.0,
        runtime,
        "atol must be greater than or equal to zero, but got {atol}"
    );
    let _unrecorded = crate::tape::GradMode::set(false);
    let same = eq(x, y)?;
    let same = if call.attrs.bool(2) && x.dtype().is_float() {
        logical_or(same, logical_and(isnan(x)?, isnan(y)?)?)?
    } else {
        same
    };
    // Integers are compared as floats, so that differences do not wrap.
    let wide = |t: &Tensor| {
        if t.dtype().is_float() {
            Ok(t.clone())
        } else {
            cast(t, DType::F64)
        }
    };
    let (x, y) = (wide(x)?, wide(y)?);
    let difference = abs(sub(&x, &y)?)?;
    let near = le(&difference, add(mul(abs(&y)?, rtol)?, atol)?)?;
    logical_or(same, logical_and(near, isfinite(difference)?)?)
}

/// Closeness of all elements.
pub static ALLCLOSE: OpDef = OpDef {
    name: "allclose",
    doc: "Whether all elements are close: see `isclose`.",
    sig: &["(input, other, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False)"],
    returns: Returns::Item,
    kernel: Kernel::Composite(|call| Ok(smallvec![all(close(call)?)?])),
    ..OpDef::COMPOSITE
};

/// Equality of all elements.
pub static EQUAL: OpDef = OpDef {
    name: "equal",
    doc: "Whether two tensors have one shape and equal elements.",
    sig: &["(input, other)"],
    returns: Returns::Item,
    kernel: Kernel::Composite(|call| {
        let (x, y) = (call.tensor(0), call.tensor(1));
        if x.shape() != y.shape() {
            return Ok(smallvec![Tensor::scalar(
                Scalar::Bool(false),
                DType::Bool,
                x.device()
            )?]);
        }
        Ok(smallvec![all(eq(x, y)?)?])
    }),
    ..OpDef::COMPOSITE
};

/// Choosing by a condition.
pub static WHERE: OpDef = OpDef {
    name: "where",
    doc: "`input` where `condition` is true, else `other`, with broadcasting. Gradients flow to the \
          chosen elements only.",
    sig: &["(condition, input: Tensor|Scalar, other: Tensor|Scalar)"],
    forms: Forms::FUNCTION,
    kernel: Kernel::Map {
        f: Functor::Where,
        promote: Promote::Where,
    },
    grads: &[
        None,
        grad(IN(0), |cx| where_(cx.input(0)?, cx.grad(), 0i64).map(Some)),
        grad(IN(0), |cx| where_(cx.input(0)?, 0i64, cx.grad()).map(Some)),
    ],
    ..OpDef::MAP
};

/// One value where a mask is true.
pub static MASKED_FILL: OpDef = OpDef {
    name: "masked_fill",
    doc: "`input` with `value` (a number or 0-d tensor) where `mask` is true.",
    sig: &["(input, mask, value: Tensor|Scalar)"],
    forms: Forms::ALL,
    kernel: Kernel::Composite(|call| {
        let (x, mask) = (call.tensor(0), call.tensor(1));
        ensure!(
            mask.dtype() == DType::Bool,
            runtime,
            "masked_fill_ only supports boolean masks, but got mask with dtype {}",
            mask.dtype()
        );
        match &call.inputs[2] {
            Operand::Tensor(v) => ensure!(
                v.ndim() == 0,
                runtime,
                "masked_fill only supports a 0-dimensional value tensor, but got tensor with {} \
                 dimension(s).",
                v.ndim()
            ),
            Operand::Scalar(v) if v.dtype().is_float() && !x.dtype().is_float() => bail!(
                runtime,
                "value cannot be converted to type {} without losing its fraction: {}",
                x.dtype(),
                v.as_f64()
            ),
            _ => {}
        }
        Ok(smallvec![cast(
            &where_(mask, &call.inputs[2], x)?,
            x.dtype()
        )?])
    }),
    ..OpDef::COMPOSITE
};

/// The factor that `copysign` multiplied by.
pub static COPYSIGN_RATIO: OpDef = OpDef {
    name: "copysign_ratio",
    doc: "1 or -1 by whether `input` and `other` have one sign; 0 where `input` is 0.",
    sig: &["(input, other)"],
    forms: Forms::HIDDEN,
    kernel: Kernel::Composite(|call| {
        let (x, y) = (&call.inputs[0], &call.inputs[1]);
        Ok(smallvec![mul(super::sign(x)?, super::sign(y)?)?])
    }),
    ..OpDef::COMPOSITE
};
