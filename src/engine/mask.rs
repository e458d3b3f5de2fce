//! Gradients of zero that stay zero, whatever the slope.
//!
//! Where the gradient of a result is zero, that of what it was computed from is zero, even if the slope
//! is infinite or not a number: so branches and rows that a mask has not chosen contribute nothing. It
//! holds element by element for elementwise ops, and line by line for ops along dimensions.

use crate::base::shape::wrap_dim;
use crate::base::{Attr, Attrs, Result, Shape};
use crate::ops;
use crate::tape::Rule;
use crate::tape::hooks::Grad;
use crate::tensor::Tensor;

/// The gradient of an input of `rule`, with zeros where that of the result says so.
pub(super) fn masked(rule: &dyn Rule, attrs: &Attrs, grad: Grad, outputs: &[Grad]) -> Result<Grad> {
    // Of several results, only where the gradients of all others are zero.
    let others = outputs.iter().skip(1).any(Option::is_some);
    let (Some(grad), Some(output), false) = (&grad, &outputs[0], others) else {
        return Ok(grad);
    };
    let is_zero = ops::eq(output, 0i64)?;
    let is_zero = if rule.is_elementwise() {
        (output.shape() == grad.shape()).then_some(is_zero)
    } else {
        match dims(rule, attrs, grad.shape()) {
            Some(dims) => lines(&is_zero, &dims, grad.shape())?,
            None => None,
        }
    };
    match is_zero {
        Some(is_zero) => Ok(Some(ops::where_(is_zero, 0i64, grad)?)),
        None => Ok(Some(grad.clone())),
    }
}

/// The dimensions along which an op works on an input of this shape.
fn dims(rule: &dyn Rule, attrs: &Attrs, shape: &Shape) -> Option<Vec<i64>> {
    let (_, names) = rule.parameters();
    let n = shape.len() as i64;
    for (name, value) in names.into_iter().zip(attrs.iter()) {
        match (name, value) {
            ("dim", Attr::Int(d)) => return wrap_dim(*d, n as usize).ok().map(|d| vec![d as i64]),
            ("dim", Attr::Ints(list)) if !list.is_empty() => {
                let wrapped = list.iter().map(|&d| wrap_dim(d, n as usize).ok());
                return wrapped.map(|d| d.map(|d| d as i64)).collect();
            }
            ("dim", Attr::None | Attr::Ints(_)) => return Some((0..n).collect()),
            ("normalized_shape", Attr::Ints(list)) => {
                return Some((n - list.len() as i64..n).collect());
            }
            _ => {}
        }
    }
    None
}

/// Which lines along `dims` have results whose gradients are all zero, in a shape that broadcasts to
/// `shape`; `None` if the results are neither one for each element nor one for each line.
fn lines(is_zero: &Tensor, dims: &[i64], shape: &Shape) -> Result<Option<Tensor>> {
    if is_zero.shape() == shape {
        return ops::all_dims(is_zero, dims, true).map(Some);
    }
    let mut kept = shape.clone();
    for &dim in dims {
        kept[dim as usize] = 1;
    }
    if is_zero.numel() != kept.numel() {
        return Ok(None);
    }
    ops::reshape(is_zero, &kept).map(Some)
}
