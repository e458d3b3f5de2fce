//! Logic on truth values, and bits of integers.

use super::def::{Batch, Call, Choice, Forms, Jvp, Kernel, OpDef, Promote};
use super::meta::result_type;
use crate::backend::Functor;
use crate::base::{DType, Result};
use crate::ensure;

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

const WITHOUT_GRADIENT: OpDef = OpDef {
    forms: Forms::ALL,
    jvp: Jvp::None,
    batch: Batch::Elementwise,
    ..OpDef::BASE
};

const LOGICAL: OpDef = OpDef {
    sig: &["(input, other)"],
    ..WITHOUT_GRADIENT
};

const BITS: OpDef = OpDef {
    sig: &["(input: Tensor|Scalar, other: Tensor|Scalar)"],
    ..WITHOUT_GRADIENT
};

/// A functor of truth values.
const fn truth(f: Functor) -> Kernel {
    Kernel::Map {
        f,
        promote: Promote::Truth,
    }
}

/// A functor of truth values or, if there are other integers, of bits.
fn bits(call: &Call, of_truth: Functor, of_bits: Functor) -> Result<Choice> {
    match result_type(call.inputs) {
        DType::Bool => Choice::of(call, of_truth, Promote::Truth),
        _ => Choice::of(call, of_bits, Promote::Integral),
    }
}

/// Both.
pub static LOGICAL_AND: OpDef = OpDef {
    name: "logical_and",
    doc: "Where both elements are not zero, with broadcasting, as bools.\n\n\
          >>> rg.logical_and(rg.tensor([0, 2, 3]), rg.tensor([0, 0, 1]))\n\
          tensor([False, False,  True])",
    kernel: truth(Functor::LogicalAnd),
    ..LOGICAL
};

/// Either.
pub static LOGICAL_OR: OpDef = OpDef {
    name: "logical_or",
    doc: "Where either element is not zero, with broadcasting, as bools.\n\n\
          >>> rg.logical_or(rg.tensor([0, 2, 3]), rg.tensor([0, 0, 1]))\n\
          tensor([False,  True,  True])",
    kernel: truth(Functor::LogicalOr),
    ..LOGICAL
};

/// One of both.
pub static LOGICAL_XOR: OpDef = OpDef {
    name: "logical_xor",
    doc: "Where exactly one element is not zero, with broadcasting, as bools.\n\n\
          >>> rg.logical_xor(rg.tensor([0, 2, 3]), rg.tensor([0, 0, 1]))\n\
          tensor([False,  True, False])",
    kernel: truth(Functor::LogicalXor),
    ..LOGICAL
};

/// Zero.
pub static LOGICAL_NOT: OpDef = OpDef {
    name: "logical_not",
    doc: "Where elements are zero, as bools.\n\n\
          >>> rg.logical_not(rg.tensor([0, 2]))\n\
          tensor([ True, False])",
    sig: &["(input)"],
    kernel: truth(Functor::LogicalNot),
    ..LOGICAL
};

/// Bits of both.
pub static BITWISE_AND: OpDef = OpDef {
    name: "bitwise_and",
    doc: "The bits that both integers have, with broadcasting; of bools, `and`.\n\n\
          >>> rg.bitwise_and(rg.tensor([6, 7]), 3)\n\
          tensor([2, 3])",
    kernel: Kernel::Choose(|call| bits(call, Functor::LogicalAnd, Functor::BitAnd)),
    ..BITS
};

/// Bits of either.
pub static BITWISE_OR: OpDef = OpDef {
    name: "bitwise_or",
    doc: "The bits that either integer has, with broadcasting; of bools, `or`.\n\n\
          >>> rg.bitwise_or(rg.tensor([6, 8]), 3)\n\
          tensor([ 7, 11])",
    kernel: Kernel::Choose(|call| bits(call, Functor::LogicalOr, Functor::BitOr)),
    ..BITS
};

/// Bits of one of both.
pub static BITWISE_XOR: OpDef = OpDef {
    name: "bitwise_xor",
    doc: "The bits that exactly one integer has, with broadcasting; of bools, `!=`.\n\n\
          >>> rg.bitwise_xor(rg.tensor([6, 7]), 3)\n\
          tensor([5, 4])",
    kernel: Kernel::Choose(|call| bits(call, Functor::LogicalXor, Functor::BitXor)),
    ..BITS
};

/// The complement.
pub static BITWISE_NOT: OpDef = OpDef {
    name: "bitwise_not",
    doc: "The complement of each bit of integers; of bools, `not`.\n\n\
          >>> rg.bitwise_not(rg.tensor([0, 5]))\n\
          tensor([-1, -6])\n\
          >>> rg.bitwise_not(rg.tensor([True, False]))\n\
          tensor([False,  True])",
    sig: &["(input)"],
    kernel: Kernel::Choose(|call| bits(call, Functor::LogicalNot, Functor::BitNot)),
    ..BITS
};

/// Bits moved.
fn shift(call: &Call, f: Functor) -> Result<Choice> {
    let choice = Choice::of(call, f, Promote::Integral)?;
    ensure!(
        choice.dtype != DType::Bool,
        not_implemented,
        "not implemented for 'Bool'; convert to an integer type first"
    );
    Ok(choice)
}

/// Bits moved up.
pub static BITWISE_LEFT_SHIFT: OpDef = OpDef {
    name: "bitwise_left_shift",
    doc: "The bits of `input` moved up by `other` places, with broadcasting: `input * 2**other`. \
          Bits that leave the type are lost.\n\n\
          >>> rg.bitwise_left_shift(rg.tensor([1, -3]), 2)\n\
          tensor([  4, -12])",
    kernel: Kernel::Choose(|call| shift(call, Functor::Shl)),
    ..BITS
};

/// Bits moved down.
pub static BITWISE_RIGHT_SHIFT: OpDef = OpDef {
    name: "bitwise_right_shift",
    doc: "The bits of `input` moved down by `other` places, with broadcasting: `floor(input / \
          2**other)`.\n\n\
          >>> rg.bitwise_right_shift(rg.tensor([9, -3]), 1)\n\
          tensor([ 4, -2])",
    kernel: Kernel::Choose(|call| shift(call, Functor::Shr)),
    ..BITS
};
