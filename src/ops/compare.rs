//! Comparisons and tests: results are bool and have no gradient.

use super::def::{Batch, Forms, Jvp, Kernel, OpDef, Promote};
use crate::backend::Functor;

/// This family.
pub(super) static OPS: &[&OpDef] = &[&EQ, &LT];

functions! {
    /// Where `x == y`.
    eq(x, y) = EQ;
    /// Where `x < y`.
    lt(x, y) = LT;
}

/// A comparison.
const COMPARE: OpDef = OpDef {
    forms: Forms::ALL,
    jvp: Jvp::None,
    batch: Batch::Elementwise,
    ..OpDef::BASE
};

/// `input == other`.
pub static EQ: OpDef = OpDef {
    name: "eq",
    doc: "Whether `input == other`, elementwise with broadcasting.",
    sig: &["(input, other: Tensor|Scalar)"],
    kernel: Kernel::Map {
        f: Functor::Eq,
        promote: Promote::Truth,
    },
    ..COMPARE
};

/// `input < other`.
pub static LT: OpDef = OpDef {
    name: "lt",
    doc: "Whether `input < other`, elementwise with broadcasting.",
    sig: &["(input, other: Tensor|Scalar)"],
    kernel: Kernel::Map {
        f: Functor::Lt,
        promote: Promote::Truth,
    },
    ..COMPARE
};
