//! Comparisons and tests. Truth values have no gradient.

use super::def::{Batch, Call, Forms, Jvp, Kernel, OpDef, Promote, Returns};
use super::{abs, add, all, cast, copysign, logical_and, logical_or, mul, sub};
use crate::backend::Functor;
use crate::base::{DType, Result, Scalar};
use crate::ensure;
use crate::tensor::Tensor;
use smallvec::smallvec;

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &EQ, &NE, &LT, &LE, &GT, &GE, &ISNAN, &ISINF, &ISPOSINF, &ISNEGINF, &ISFINITE, &ISCLOSE,
    &ALLCLOSE, &EQUAL, &SIGNBIT,
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
    EQ "eq" [] Eq "Whether `input == other`, elementwise with broadcasting, as bools.\n\n\
        >>> rg.eq(rg.tensor([1, 2, 3]), 2)\n\
        tensor([False,  True, False])";
    /// `input != other`.
    NE "ne" ["not_equal"] Ne "Whether `input != other`, elementwise with broadcasting, as bools.\n\n\
        >>> rg.ne(rg.tensor([1, 2, 3]), 2)\n\
        tensor([ True, False,  True])";
    /// `input < other`.
    LT "lt" ["less"] Lt "Whether `input < other`, elementwise with broadcasting, as bools.\n\n\
        >>> rg.lt(rg.tensor([1, 2, 3]), 2)\n\
        tensor([ True, False, False])";
    /// `input <= other`.
    LE "le" ["less_equal"] Le "Whether `input <= other`, elementwise with broadcasting, as bools.\n\n\
        >>> rg.le(rg.tensor([1, 2, 3]), 2)\n\
        tensor([ True,  True, False])";
    /// `input > other`.
    GT "gt" ["greater"] Gt "Whether `input > other`, elementwise with broadcasting, as bools.\n\n\
        >>> rg.gt(rg.tensor([1, 2, 3]), 2)\n\
        tensor([False, False,  True])";
    /// `input >= other`.
    GE "ge" ["greater_equal"] Ge "Whether `input >= other`, elementwise with broadcasting, as bools.\n\n\
        >>> rg.ge(rg.tensor([1, 2, 3]), 2)\n\
        tensor([False,  True,  True])";
}

tests! {
    /// NaN.
    ISNAN "isnan" IsNan "Where elements are NaN, as bools.\n\n\
        >>> rg.isnan(rg.tensor([1.0, float('nan'), -float('inf')]))\n\
        tensor([False,  True, False])";
    /// Infinite.
    ISINF "isinf" IsInf "Where elements are infinite, as bools.\n\n\
        >>> rg.isinf(rg.tensor([1.0, float('nan'), -float('inf')]))\n\
        tensor([False, False,  True])";
    /// Positive infinity.
    ISPOSINF "isposinf" IsPosInf "Where elements are positive infinity, as bools.\n\n\
        >>> rg.isposinf(rg.tensor([1.0, float('nan'), -float('inf')]))\n\
        tensor([False, False, False])";
    /// Negative infinity.
    ISNEGINF "isneginf" IsNegInf "Where elements are negative infinity, as bools.\n\n\
        >>> rg.isneginf(rg.tensor([1.0, float('nan'), -float('inf')]))\n\
        tensor([False, False,  True])";
    /// Finite.
    ISFINITE "isfinite" IsFinite "Where elements are finite numbers, as bools.\n\n\
        >>> rg.isfinite(rg.tensor([1.0, float('nan'), -float('inf')]))\n\
        tensor([ True, False, False])";
}

/// The sign bit.
pub static SIGNBIT: OpDef = OpDef {
    name: "signbit",
    doc: "Where elements have their sign bit set: negative numbers, and -0.0.\n\n\
          >>> rg.signbit(rg.tensor([1.0, -0.0]))\n\
          tensor([False,  True])",
    sig: &["(input)"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        if !x.dtype().is_float() {
            return Ok(smallvec![lt(x, 0i64)?]);
        }
        Ok(smallvec![lt(copysign(1.0, x.detach())?, 0i64)?])
    }),
    ..OpDef::COMPOSITE
};

/// Elementwise closeness.
pub static ISCLOSE: OpDef = OpDef {
    name: "isclose",
    doc: "Where `abs(input - other) <= atol + rtol * abs(other)`; equal infinities are close, and \
          NaN is close to NaN if `equal_nan`. Both have one dtype.\n\n\
          >>> rg.isclose(rg.tensor([1.0, 2.0]), rg.tensor([1.0, 2.1]))\n\
          tensor([ True, False])",
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
    doc: "Whether all elements are close, as a Python bool: see `isclose`.\n\n\
          >>> rg.allclose(rg.tensor([1.0, 2.0]), rg.tensor([1.0, 2.1]))\n\
          False",
    sig: &["(input, other, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False)"],
    returns: Returns::Item,
    kernel: Kernel::Composite(|call| Ok(smallvec![all(close(call)?)?])),
    ..OpDef::COMPOSITE
};

/// Equality of all elements.
pub static EQUAL: OpDef = OpDef {
    name: "equal",
    doc: "Whether two tensors have one shape and equal elements, as a Python bool.\n\n\
          >>> rg.equal(rg.tensor([1, 2]), rg.tensor([1, 2]))\n\
          True",
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
