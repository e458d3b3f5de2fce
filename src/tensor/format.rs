//! Tensors as text.

use super::Tensor;
use crate::base::Result;

/// What Python's `repr` shows.
pub fn repr(t: &Tensor) -> Result<String> {
    Ok(format!("tensor({:?})", t.to_vec()?))
}
