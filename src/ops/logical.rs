//! Logic on truth values, and bits of integers.

use super::def::{Batch, Forms, Jvp, Kernel, OpDef, Promote};
use crate::backend::Functor;
use crate::base::DType;
use smallvec::smallvec;

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &LOGICAL_AND,
    &LOGICAL_OR,
    &LOGICAL_XOR,
    &LOGICAL_NOT,
    &BITWISE_AND,
    &BITWISE_OR,
    &BITWISE_XOR,
    &BITWISE_NOT,
    &BITS_NOT,
    &BITWISE_LEFT_SHIFT,
    &BITWISE_RIGHT_SHIFT,
];

functions! {
    /// Where both are not zero.
    logical_and(x, y) = LOGICAL_AND;
    /// Where either is not zero.
    logical_or(x, y) = LOGICAL_OR;
    /// Where `x` is zero.
    logical_not(x) = LOGICAL_NOT;
    /// The complement of each bit; of bools, the negation.
    bitwise_not(x) = BITWISE_NOT;
}

const TRUTH: OpDef = OpDef {
    forms: Forms::ALL,
    jvp: Jvp::None,
    batch: Batch::Elementwise,
    ..OpDef::BASE
};

macro_rules! binary {
    ($( $(#[$doc:meta])* $NAME:ident $name:literal $f:ident $promote:ident $sig:literal $text:literal; )*) => { $(
        $(#[$doc])*
        pub static $NAME: OpDef = OpDef {
            name: $name,
            doc: $text,
            sig: &[$sig],
            kernel: Kernel::Map { f: Functor::$f, promote: Promote::$promote },
            ..TRUTH
        };
    )* };
}

binary! {
    /// Both.
    LOGICAL_AND "logical_and" LogicalAnd Truth "(input, other)" "Where both elements are not zero.";
    /// Either.
    LOGICAL_OR "logical_or" LogicalOr Truth "(input, other)" "Where either element is not zero.";
    /// One of both.
    LOGICAL_XOR "logical_xor" LogicalXor Truth "(input, other)" "Where exactly one element is not zero.";
    /// Neither.
    LOGICAL_NOT "logical_not" LogicalNot Truth "(input)" "Where elements are zero.";
    /// Bits of both.
    BITWISE_AND "bitwise_and" BitAnd Integral "(input: Tensor|Scalar, other: Tensor|Scalar)"
        "The bits that both integers have; of bools, `and`.";
    /// Bits of either.
    BITWISE_OR "bitwise_or" BitOr Integral "(input: Tensor|Scalar, other: Tensor|Scalar)"
        "The bits that either integer has; of bools, `or`.";
    /// Bits of one of both.
    BITWISE_XOR "bitwise_xor" BitXor Integral "(input: Tensor|Scalar, other: Tensor|Scalar)"
        "The bits that exactly one integer has; of bools, `!=`.";
    /// Bits moved up.
    BITWISE_LEFT_SHIFT "bitwise_left_shift" Shl Integral "(input: Tensor|Scalar, other: Tensor|Scalar)"
        "`input * 2**other`.";
    /// Bits moved down.
    BITWISE_RIGHT_SHIFT "bitwise_right_shift" Shr Integral "(input: Tensor|Scalar, other: Tensor|Scalar)"
        "`floor(input / 2**other)`.";
}

/// The complement.
pub static BITWISE_NOT: OpDef = OpDef {
    name: "bitwise_not",
    doc: "The complement of each bit; of bools, the negation.",
    sig: &["(input)"],
    forms: Forms::ALL,
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        Ok(smallvec![match x.dtype() {
            DType::Bool => logical_not(x)?,
            _ => bits_not(x)?,
        }])
    }),
    ..OpDef::COMPOSITE
};

functions! {
    /// The complement of each bit of integers.
    bits_not(x) = BITS_NOT;
}

/// The kernel of [`BITWISE_NOT`] for integers.
pub static BITS_NOT: OpDef = OpDef {
    name: "bits_not",
    doc: "The complement of each bit of integers.",
    sig: &["(input)"],
    forms: Forms::HIDDEN,
    kernel: Kernel::Map {
        f: Functor::BitNot,
        promote: Promote::Integral,
    },
    ..TRUTH
};
