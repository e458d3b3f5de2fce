//! Rounding, signs and other functions that are constant, or follow their input, between jumps.

use super::def::{Call, Choice, Forms, IN, Kernel, NOTHING, OpDef, Promote, grad};
use super::{eq, isfinite, where_};
use crate::backend::Functor;
use crate::base::{DType, Result, Scalar};
use crate::ensure;

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &SIGN,
    &FLOOR,
    &CEIL,
    &TRUNC,
    &ROUND,
    &FRAC,
    &NAN_TO_NUM,
    &COPYSIGN,
    &NEXTAFTER,
    &HEAVISIDE,
];

functions! {
    /// The sign: -1, 0 or 1.
    sign(x) = SIGN;
    /// The greatest integer not above `x`.
    floor(x) = FLOOR;
    /// `x` without its fraction.
    trunc(x) = TRUNC;
    /// The magnitude of `x` with the sign of `y`.
    copysign(x, y) = COPYSIGN;
}

/// A function that is constant between its jumps: its gradient is zero.
const STEPS: OpDef = OpDef {
    sig: &["(input)"],
    grads: &[grad(NOTHING, |_| Ok(None))],
    ..OpDef::MAP
};

/// The rounding of floats; integers, being whole, are copied.
fn rounded(call: &Call, f: Functor) -> Result<Choice> {
    let whole = !call.tensor(0).dtype().is_float();
    Choice::of(call, if whole { Functor::Copy } else { f }, Promote::Number)
}

/// The sign: -1, 0 or 1.
pub static SIGN: OpDef = OpDef {
    name: "sign",
    aliases: &["sgn"],
    doc: "-1, 0 or 1 by the sign of each element; 0 for NaN. The result has the input's type; its \
          gradient is zero.\n\n\
          >>> rg.sign(rg.tensor([-2.5, 0.0, 3.0]))\n\
          tensor([-1.,  0.,  1.])",
    kernel: Kernel::Map {
        f: Functor::Sign,
        promote: Promote::Arith,
    },
    ..STEPS
};

/// The greatest integer not above.
pub static FLOOR: OpDef = OpDef {
    name: "floor",
    doc: "The greatest integer not above each element, in the input's type. Integers are copied; \
          the gradient is zero.\n\n\
          >>> rg.floor(rg.tensor([-1.5, 0.5, 2.0]))\n\
          tensor([-2.,  0.,  2.])",
    kernel: Kernel::Choose(|call| rounded(call, Functor::Floor)),
    ..STEPS
};

/// The least integer not below.
pub static CEIL: OpDef = OpDef {
    name: "ceil",
    doc: "The least integer not below each element, in the input's type. Integers are copied; the \
          gradient is zero.\n\n\
          >>> rg.ceil(rg.tensor([-1.5, 0.5, 2.0]))\n\
          tensor([-1.,  1.,  2.])",
    kernel: Kernel::Choose(|call| rounded(call, Functor::Ceil)),
    ..STEPS
};

/// Without fraction.
pub static TRUNC: OpDef = OpDef {
    name: "trunc",
    aliases: &["fix"],
    doc: "Each element without its fraction, in the input's type. Integers are copied; the \
          gradient is zero.\n\n\
          >>> rg.trunc(rg.tensor([-1.5, 0.5, 2.0]))\n\
          tensor([-1.,  0.,  2.])",
    kernel: Kernel::Choose(|call| rounded(call, Functor::Trunc)),
    ..STEPS
};

/// Rounding to nearest.
pub static ROUND: OpDef = OpDef {
    name: "round",
    doc: "The nearest integer to each element, halves to even, in the input's type; with \
          `decimals`, the nearest number with that many digits after the point (before it, if \
          negative). Integers are copied; the gradient is zero.\n\n\
          >>> rg.round(rg.tensor([0.5, 1.5, -2.6]))\n\
          tensor([ 0.,  2., -3.])\n\
          >>> rg.round(rg.tensor([0.1234, 21.987]), decimals=2)\n\
          tensor([ 0.1200, 21.9900])",
    sig: &["(input, *, decimals: int = 0)"],
    kernel: Kernel::Choose(|call| match call.attrs.int(0) {
        0 => rounded(call, Functor::Round),
        _ => rounded(call, Functor::RoundDecimals),
    }),
    ..STEPS
};

/// The fraction.
pub static FRAC: OpDef = OpDef {
    name: "frac",
    doc: "The fraction of each element, `input - trunc(input)`: it has the input's sign.\n\n\
          >>> rg.frac(rg.tensor([1.25, -3.5]))\n\
          tensor([ 0.2500, -0.5000])",
    sig: &["(input)"],
    kernel: Kernel::Map {
        f: Functor::Frac,
        promote: Promote::Floating,
    },
    // d frac(x) = dx between its jumps
    grads: &[grad(NOTHING, |cx| Ok(Some(cx.grad().clone())))],
    ..OpDef::MAP
};

/// Numbers in place of NaN and infinities.
pub static NAN_TO_NUM: OpDef = OpDef {
    name: "nan_to_num",
    doc: "NaN becomes `nan` (0 if left out), and the infinities become `posinf` and `neginf` (the \
          greatest and least finite numbers of the type, if left out). The gradient is zero where \
          a number was replaced.\n\n\
          >>> rg.nan_to_num(rg.tensor([1.0, float('nan'), -float('inf')]), nan=2.0, neginf=-9.0)\n\
          tensor([ 1.,  2., -9.])",
    sig: &["(input, nan: float? = None, posinf: float? = None, neginf: float? = None)"],
    kernel: Kernel::Choose(|call| {
        let dtype = call.tensor(0).dtype();
        if !dtype.is_float() {
            return Choice::with(call, Functor::Copy, Promote::Arith, &[]);
        }
        let limit = dtype.greatest();
        let numbers = [
            call.attrs.float_opt(0).unwrap_or(0.0),
            call.attrs.float_opt(1).unwrap_or(limit),
            call.attrs.float_opt(2).unwrap_or(-limit),
        ];
        let params = numbers.map(Scalar::Float);
        Choice::with(call, Functor::NanToNum, Promote::Arith, &params)
    }),
    grads: &[grad(IN(0), |cx| {
        where_(isfinite(cx.input(0)?)?, cx.grad(), 0i64).map(Some)
    })],
    ..OpDef::MAP
};

/// The magnitude of one with the sign of another.
pub static COPYSIGN: OpDef = OpDef {
    name: "copysign",
    doc: "The magnitude of `input` with the sign of `other`, elementwise with broadcasting; \
          integers become floats. The gradient is 0 where `input` is 0, and to `other`.\n\n\
          >>> rg.copysign(rg.tensor([1.0, -2.0]), rg.tensor([-0.0, 3.0]))\n\
          tensor([-1.,  2.])",
    sig: &["(input, other: Tensor|Scalar)"],
    kernel: Kernel::Map {
        f: Functor::Copysign,
        promote: Promote::Float,
    },
    grads: &[
        // d = sign(x) sign(result) dx
        grad(IN(0) | super::def::OUT(0), |cx| {
            let flipped = super::mul(sign(cx.input(0)?)?, sign(cx.output(0)?)?)?;
            super::mul(cx.grad(), flipped).map(Some)
        }),
        grad(NOTHING, |_| Ok(None)),
    ],
    ..OpDef::MAP
};

/// The next number towards another.
pub static NEXTAFTER: OpDef = OpDef {
    name: "nextafter",
    doc: "The next float32 or float64 number after `input` towards `other`, elementwise with \
          broadcasting. The gradient passes to `input` where the two differ.\n\n\
          >>> eps = rg.finfo(rg.float32).eps\n\
          >>> rg.nextafter(rg.tensor([1.0]), rg.tensor([2.0])) == rg.tensor([1.0 + eps])\n\
          tensor([True])",
    sig: &["(input, other)"],
    kernel: Kernel::Choose(|call| {
        let choice = Choice::of(call, Functor::Nextafter, Promote::Floating)?;
        ensure!(
            matches!(choice.dtype, DType::F32 | DType::F64),
            not_implemented,
            "not implemented for '{}'; convert to float32",
            choice.dtype.scalar_type_name()
        );
        Ok(choice)
    }),
    grads: &[
        grad(IN(0) | IN(1), |cx| {
            where_(eq(cx.input(0)?, cx.input(1)?)?, 0i64, cx.grad()).map(Some)
        }),
        grad(NOTHING, |_| Ok(None)),
    ],
    ..OpDef::MAP
};

/// The step function.
pub static HEAVISIDE: OpDef = OpDef {
    name: "heaviside",
    doc: "The step function: 0 where `input` is negative, 1 where it is positive, `values` where \
          it is 0. Both have one dtype. It is not differentiable.\n\n\
          >>> rg.heaviside(rg.tensor([-1.5, 0.0, 2.0]), rg.tensor([0.5]))\n\
          tensor([0.0000, 0.5000, 1.0000])",
    sig: &["(input, values)"],
    kernel: Kernel::Choose(|call| {
        let (x, values) = (call.tensor(0).dtype(), call.tensor(1).dtype());
        ensure!(
            x == values,
            runtime,
            "heaviside is not yet implemented for tensors with different dtypes: {x} and {values}; \
             cast one with to()"
        );
        Choice::of(call, Functor::Heaviside, Promote::Arith)
    }),
    forms: Forms::ALL,
    ..OpDef::MAP
};
