//! Marks on what the forward of a custom function computes in between.
//!
//! NOTE [Tainted intermediates]
//! The forward of a custom function runs unrecorded, so a tensor made there from a differentiable
//! input depends on it in a way the tape cannot see. If the function's backward uses such a tensor
//! while a graph of the backward is built, the second derivative would silently lose a term.
//! Therefore results of ops on differentiable (or tainted) inputs are marked during such a forward,
//! and so is what is made from data of the host's after such an input's elements went there. A
//! function's outputs lose the mark when they get their history. During such a backward the mark
//! passes on from operands to results, and a gradient that carries it gets a history that raises:
//! the gradient itself is right, its derivative would not be.

use super::def::{Call, Kernel};
use crate::tape::{Taint, mode};
use crate::tensor::Tensor;

/// Marks results as intermediates: see NOTE [Tainted intermediates].
#[cold]
pub(super) fn mark(call: &Call, outs: &[Tensor]) {
    let made = matches!(call.op.kernel, Kernel::Dynamic(_)) && mode::has_escaped();
    if made || call.tensors().any(depends) {
        outs.iter()
            .filter(|t| t.dtype().is_float())
            .for_each(|t| t.set_tainted(true));
    }
}

/// Whether what is computed from a tensor now is an intermediate of a custom function.
pub fn depends(t: &Tensor) -> bool {
    let marks = match mode::taint() {
        Taint::Off => false,
        Taint::Forward => t.is_tainted() || t.requires_grad(),
        Taint::Backward => t.is_tainted(),
    };
    marks && t.dtype().is_float()
}

/// Notes that a tensor's elements are handed to the host: see NOTE [Tainted intermediates].
#[inline]
pub fn hand_out(t: &Tensor) {
    if mode::taint() == Taint::Forward && depends(t) {
        mode::set_escaped();
    }
}

/// Marks a tensor made from data of the host's: see NOTE [Tainted intermediates].
#[inline]
pub fn take_in(t: &Tensor) {
    if mode::has_escaped() && t.dtype().is_float() {
        t.set_tainted(true);
    }
}
