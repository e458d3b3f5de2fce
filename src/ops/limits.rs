//! The greater and the lesser of two, and limits: elementwise with broadcasting.

use super::def::{Call, Choice, Forms, IN, Kernel, NOTHING, OpDef, Promote, grad, grad_of_taken};
use super::{ge, gt, isnan, le, logical_and, logical_not, logical_or, lt, where_};
use crate::backend::Functor;
use crate::base::{Result, Scalar};
use crate::ensure;
use crate::tape::VjpCx;
use crate::tensor::{Operand, Tensor};

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &MAXIMUM,
    &MINIMUM,
    &FMAX,
    &FMIN,
    &CLAMP,
    &CLAMP_MIN,
    &CLAMP_MAX,
    &MAXIMUM_BACKWARD,
    &CLAMP_BACKWARD,
];

functions! {
    /// The greater of two; NaN wins.
    maximum(x, y) = MAXIMUM;
    /// The lesser of two; NaN wins.
    minimum(x, y) = MINIMUM;
    /// `x`, at least `low` and at most `high`.
    clamp(x, low, high) = CLAMP;
    /// `x`, at least `low`.
    clamp_min(x, low) = CLAMP_MIN;
    /// `x`, at most `high`.
    clamp_max(x, high) = CLAMP_MAX;
    /// `g` where `x > y`, half of it where they are equal.
    maximum_backward(g, x, y) = MAXIMUM_BACKWARD;
    /// `g` where `low <= x <= high`.
    clamp_backward(g, x; low, high) = CLAMP_BACKWARD;
}

const PAIR: OpDef = OpDef {
    sig: &["(input, other)"],
    forms: Forms::BOTH,
    ..OpDef::MAP
};

/// The greater of two.
pub static MAXIMUM: OpDef = OpDef {
    name: "maximum",
    doc: "The greater of two elements, with broadcasting, in the promoted type; NaN wins. Equal \
          elements share the gradient.\n\n\
          >>> rg.maximum(rg.tensor([1.0, 5.0]), rg.tensor([3.0, 2.0]))\n\
          tensor([3., 5.])",
    kernel: Kernel::Map {
        f: Functor::Maximum,
        promote: Promote::Arith,
    },
    grads: &[
        grad_of_taken(IN(0) | IN(1), |cx| {
            maximum_backward(cx.take_grad(), cx.input(0)?, cx.input(1)?).map(Some)
        }),
        grad_of_taken(IN(0) | IN(1), |cx| {
            maximum_backward(cx.take_grad(), cx.input(1)?, cx.input(0)?).map(Some)
        }),
    ],
    ..PAIR
};

/// The lesser of two.
pub static MINIMUM: OpDef = OpDef {
    name: "minimum",
    doc: "The lesser of two elements, with broadcasting, in the promoted type; NaN wins. Equal \
          elements share the gradient.\n\n\
          >>> rg.minimum(rg.tensor([1.0, 5.0]), rg.tensor([3.0, 2.0]))\n\
          tensor([1., 2.])",
    kernel: Kernel::Map {
        f: Functor::Minimum,
        promote: Promote::Arith,
    },
    // x is the lesser where y is the greater.
    grads: &[
        grad_of_taken(IN(0) | IN(1), |cx| {
            maximum_backward(cx.take_grad(), cx.input(1)?, cx.input(0)?).map(Some)
        }),
        grad_of_taken(IN(0) | IN(1), |cx| {
            maximum_backward(cx.take_grad(), cx.input(0)?, cx.input(1)?).map(Some)
        }),
    ],
    ..PAIR
};

/// The greater of two; NaN loses.
pub static FMAX: OpDef = OpDef {
    name: "fmax",
    doc: "The greater of two elements, with broadcasting, in the promoted type; a number wins over \
          NaN. Of equal elements the first gets the gradient.\n\n\
          >>> rg.fmax(rg.tensor([1.0, float('nan')]), rg.tensor([3.0, 2.0]))\n\
          tensor([3., 2.])",
    kernel: Kernel::Map {
        f: Functor::Fmax,
        promote: Promote::Arith,
    },
    grads: &[
        grad(IN(0) | IN(1), |cx| {
            let wins = ge(cx.input(0)?, cx.input(1)?)?;
            kept(cx, logical_or(wins, isnan(cx.input(1)?)?)?)
        }),
        grad(IN(0) | IN(1), |cx| {
            let wins = ge(cx.input(0)?, cx.input(1)?)?;
            kept(cx, logical_not(logical_or(wins, isnan(cx.input(1)?)?)?)?)
        }),
    ],
    ..PAIR
};

/// The lesser of two; NaN loses.
pub static FMIN: OpDef = OpDef {
    name: "fmin",
    doc: "The lesser of two elements, with broadcasting, in the promoted type; a number wins over \
          NaN. Of equal elements the first gets the gradient.\n\n\
          >>> rg.fmin(rg.tensor([1.0, float('nan')]), rg.tensor([3.0, 2.0]))\n\
          tensor([1., 2.])",
    kernel: Kernel::Map {
        f: Functor::Fmin,
        promote: Promote::Arith,
    },
    grads: &[
        grad(IN(0) | IN(1), |cx| {
            let wins = le(cx.input(0)?, cx.input(1)?)?;
            kept(cx, logical_or(wins, isnan(cx.input(1)?)?)?)
        }),
        grad(IN(0) | IN(1), |cx| {
            let wins = le(cx.input(0)?, cx.input(1)?)?;
            kept(cx, logical_not(logical_or(wins, isnan(cx.input(1)?)?)?)?)
        }),
    ],
    ..PAIR
};

/// The gradient where a condition holds.
fn kept(cx: &VjpCx, condition: Tensor) -> Result<Option<Tensor>> {
    where_(condition, cx.grad(), 0i64).map(Some)
}

/// The functor for bounds that may be numbers, tensors or absent.
fn limits(call: &Call, low: &Operand, high: &Operand) -> Result<Choice> {
    let is_tensor = |x: &Operand| x.as_tensor().is_some();
    let f = match (low, high) {
        (Operand::Scalar(_), Operand::Scalar(_)) => Functor::Clamp,
        (Operand::Scalar(_), Operand::None) => Functor::ClampMin,
        (Operand::None, Operand::Scalar(_)) => Functor::ClampMax,
        (x, Operand::None) if is_tensor(x) => Functor::Maximum,
        (Operand::None, x) if is_tensor(x) => Functor::Minimum,
        _ => Functor::ClampBetween,
    };
    let numbers: smallvec::SmallVec<[Scalar; 2]> = [low, high]
        .into_iter()
        .filter_map(|x| match x {
            Operand::Scalar(s) => Some(*s),
            _ => None,
        })
        .collect();
    let params = if f.arity() == 1 { &numbers[..] } else { &[] };
    Choice::with(call, f, Promote::Arith, params)
}

/// The gradient of `x` between bounds; elements at a bound keep theirs.
fn inside(cx: &VjpCx, low: &Operand, high: &Operand) -> Result<Option<Tensor>> {
    let number = |bound: &Operand, absent: f64| match bound {
        Operand::Scalar(s) => Some(*s),
        Operand::None => Some(Scalar::Float(absent)),
        Operand::Tensor(_) => None,
    };
    let x = cx.input(0)?;
    if let (Some(low), Some(high)) = (number(low, f64::NEG_INFINITY), number(high, f64::INFINITY)) {
        return clamp_backward(cx.grad(), x, low, high).map(Some);
    }
    kept(
        cx,
        match (low, high) {
            (low, Operand::None) => ge(x, low)?,
            (Operand::None, high) => le(x, high)?,
            (low, high) => logical_and(ge(&x, low)?, le(x, high)?)?,
        },
    )
}

/// `input` within bounds.
pub static CLAMP: OpDef = OpDef {
    name: "clamp",
    doc: "`input`, at least `min` and at most `max`: numbers or tensors, of which one may be left \
          out; where `min > max`, the result is `max`. It has the promoted type. Elements at a \
          bound keep their gradient; beyond it a bound that is a tensor gets it.\n\n\
          >>> rg.clamp(rg.tensor([-2.0, 0.5, 3.0]), -1, 1)\n\
          tensor([-1.0000,  0.5000,  1.0000])\n\
          >>> rg.clamp(rg.tensor([1, 5]), max=rg.tensor([2, 3]))\n\
          tensor([1, 3])",
    sig: &["(input, min: Tensor|Scalar? = None, max: Tensor|Scalar? = None)"],
    aliases: &["clip"],
    kernel: Kernel::Choose(|call| {
        let (low, high) = (&call.inputs[1], &call.inputs[2]);
        ensure!(
            low.is_some() || high.is_some(),
            runtime,
            "torch.clamp: At least one of 'min' or 'max' must not be None"
        );
        limits(call, low, high)
    }),
    grads: &[
        grad(IN(0) | IN(1) | IN(2), |cx| {
            inside(cx, &cx.input(1)?, &cx.input(2)?)
        }),
        grad(IN(0) | IN(1) | IN(2), |cx| {
            let low = cx.input(1)?;
            let below = lt(cx.input(0)?, &low)?;
            match cx.input(2)? {
                Operand::None => kept(cx, below),
                high => kept(cx, logical_and(below, lt(low, high)?)?),
            }
        }),
        grad(IN(0) | IN(1) | IN(2), |cx| {
            let high = cx.input(2)?;
            let above = gt(cx.input(0)?, &high)?;
            match cx.input(1)? {
                Operand::None => kept(cx, above),
                low => kept(cx, logical_or(above, gt(low, high)?)?),
            }
        }),
    ],
    ..OpDef::MAP
};

/// `input`, at least `min`.
pub static CLAMP_MIN: OpDef = OpDef {
    name: "clamp_min",
    doc: "`input`, at least `min`: see `clamp`.\n\n\
          >>> rg.clamp_min(rg.tensor([-2.0, 3.0]), 0)\n\
          tensor([0., 3.])",
    sig: &["(input, min: Tensor|Scalar)"],
    kernel: Kernel::Choose(|call| limits(call, &call.inputs[1], &Operand::None)),
    grads: &[
        grad(IN(0) | IN(1), |cx| {
            inside(cx, &cx.input(1)?, &Operand::None)
        }),
        grad(IN(0) | IN(1), |cx| {
            kept(cx, lt(cx.input(0)?, cx.input(1)?)?)
        }),
    ],
    ..OpDef::MAP
};

/// `input`, at most `max`.
pub static CLAMP_MAX: OpDef = OpDef {
    name: "clamp_max",
    doc: "`input`, at most `max`: see `clamp`.\n\n\
          >>> rg.clamp_max(rg.tensor([-2.0, 3.0]), 0)\n\
          tensor([-2.,  0.])",
    sig: &["(input, max: Tensor|Scalar)"],
    kernel: Kernel::Choose(|call| limits(call, &Operand::None, &call.inputs[1])),
    grads: &[
        grad(IN(0) | IN(1), |cx| {
            inside(cx, &Operand::None, &cx.input(1)?)
        }),
        grad(IN(0) | IN(1), |cx| {
            kept(cx, gt(cx.input(0)?, cx.input(1)?)?)
        }),
    ],
    ..OpDef::MAP
};

/// The backward step of [`MAXIMUM`], and of [`MINIMUM`] with its operands swapped.
pub static MAXIMUM_BACKWARD: OpDef = OpDef {
    name: "maximum_backward",
    doc: "`grad` where `input > other` (or either is NaN), half of it where they are equal.",
    sig: &["(grad, input, other)"],
    forms: Forms::HIDDEN,
    kernel: Kernel::Map {
        f: Functor::MaximumBackward,
        promote: Promote::Arith,
    },
    grads: &[
        grad_of_taken(IN(1) | IN(2), |cx| {
            maximum_backward(cx.take_grad(), cx.input(1)?, cx.input(2)?).map(Some)
        }),
        grad(NOTHING, |_| Ok(None)),
    ],
    ..OpDef::MAP
};

/// The backward step of [`CLAMP`] with numbers.
pub static CLAMP_BACKWARD: OpDef = OpDef {
    name: "clamp_backward",
    doc: "`grad` where `input` is within the bounds, ends included, else 0.",
    sig: &["(grad, input, min: Scalar, max: Scalar)"],
    forms: Forms::HIDDEN,
    kernel: Kernel::Map {
        f: Functor::ClampBackward,
        promote: Promote::Arith,
    },
    grads: &[
        grad(IN(1), |cx| {
            let (low, high) = (cx.attrs.scalar(0), cx.attrs.scalar(1));
            clamp_backward(cx.grad(), cx.input(1)?, low, high).map(Some)
        }),
        grad(NOTHING, |_| Ok(None)),
    ],
    ..OpDef::MAP
};
