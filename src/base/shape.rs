//! Sizes and strides, kept inline up to four dimensions.

use super::error::Result;
use crate::{bail, ensure};
use smallvec::SmallVec;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// A short list of `usize`, one entry a dimension.
#[derive(PartialEq, Eq, Hash, Default)]
pub struct Dims(SmallVec<[usize; 4]>);

/// The sizes of a tensor.
pub type Shape = Dims;
/// The distances, in elements, between neighbours along each dimension.
pub type Strides = Dims;

impl Dims {
    /// No dimensions: the shape of a scalar.
    pub fn new() -> Self {
        Self(SmallVec::new())
    }

    /// `n` entries of value `x`.
    pub fn filled(x: usize, n: usize) -> Self {
        Self(SmallVec::from_elem(x, n))
    }

    /// The product of the entries: for a shape, the number of elements.
    #[inline]
    pub fn numel(&self) -> usize {
        self.0.iter().product()
    }

    /// Appends an entry.
    pub fn push(&mut self, x: usize) {
        self.0.push(x);
    }

    /// Inserts an entry before position `i`.
    pub fn insert(&mut self, i: usize, x: usize) {
        self.0.insert(i, x);
    }

    /// Removes and returns entry `i`.
    pub fn remove(&mut self, i: usize) -> usize {
        self.0.remove(i)
    }

    /// The row-major strides of this shape.
    pub fn contiguous_strides(&self) -> Strides {
        let mut strides = Dims::filled(1, self.len());
        let mut step = 1;
        for (s, &n) in strides.iter_mut().zip(self.iter()).rev() {
            *s = step;
            step *= n.max(1);
        }
        strides
    }

    /// The shape two tensors broadcast to, or `None` when they do not fit.
    pub fn broadcast(&self, other: &Shape) -> Option<Shape> {
        if self == other {
            return Some(self.clone());
        }
        let n = self.len().max(other.len());
        let mut out = Dims::filled(1, n);
        for (i, slot) in out.iter_mut().enumerate() {
            let a = (i + self.len()).checked_sub(n).map_or(1, |j| self[j]);
            let b = (i + other.len()).checked_sub(n).map_or(1, |j| other[j]);
            *slot = match (a, b) {
                (a, b) if a == b => a,
                (1, b) => b,
                (a, 1) => a,
                _ => return None,
            };
        }
        Some(out)
    }

    /// As [`Dims::broadcast`], with PyTorch's sentence when the shapes do not fit.
    pub fn broadcast_or_err(&self, other: &Shape) -> Result<Shape> {
        if let Some(shape) = self.broadcast(other) {
            return Ok(shape);
        }
        let n = self.len().max(other.len());
        for i in (0..n).rev() {
            let a = (i + self.len()).checked_sub(n).map_or(1, |j| self[j]);
            let b = (i + other.len()).checked_sub(n).map_or(1, |j| other[j]);
            ensure!(
                a == b || a == 1 || b == 1,
                runtime,
                "The size of tensor a ({a}) must match the size of tensor b ({b}) at non-singleton \
                 dimension {i}: shapes {self} and {other} do not broadcast"
            );
        }
        unreachable!("broadcast failed but every dimension fits")
    }
}

/// Resolves a dimension that may count from the end; scalars accept 0 and -1.
pub fn wrap_dim(dim: i64, ndim: usize) -> Result<usize> {
    let n = ndim.max(1) as i64;
    if dim < -n || dim >= n {
        bail!(
            index,
            "Dimension out of range (expected to be in range of [{}, {}], but got {dim})",
            -n,
            n - 1
        );
    }
    Ok(if dim < 0 { dim + n } else { dim } as usize)
}

/// Resolves a list of dimensions, refusing repeats; an empty list means all of them.
pub fn wrap_dims(dims: &[i64], ndim: usize) -> Result<SmallVec<[usize; 4]>> {
    if dims.is_empty() {
        return Ok((0..ndim).collect());
    }
    let mut out: SmallVec<[usize; 4]> = SmallVec::new();
    for &d in dims {
        let d = wrap_dim(d, ndim)?;
        ensure!(
            !out.contains(&d),
            runtime,
            "dim {d} appears multiple times in the list of dims"
        );
        if ndim > 0 {
            out.push(d);
        }
    }
    Ok(out)
}

impl Clone for Dims {
    #[inline]
    fn clone(&self) -> Self {
        Self(SmallVec::from_slice(&self.0))
    }
}

impl From<&[usize]> for Dims {
    fn from(dims: &[usize]) -> Self {
        Self(SmallVec::from_slice(dims))
    }
}

impl<const N: usize> From<[usize; N]> for Dims {
    fn from(dims: [usize; N]) -> Self {
        Self(SmallVec::from_slice(&dims))
    }
}

impl From<Vec<usize>> for Dims {
    fn from(dims: Vec<usize>) -> Self {
        Self(SmallVec::from_vec(dims))
    }
}

impl FromIterator<usize> for Dims {
    fn from_iter<I: IntoIterator<Item = usize>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

impl Deref for Dims {
    type Target = [usize];
    #[inline]
    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl DerefMut for Dims {
    #[inline]
    fn deref_mut(&mut self) -> &mut [usize] {
        &mut self.0
    }
}

impl fmt::Display for Dims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, n) in self.iter().enumerate() {
            write!(f, "{}{n}", if i > 0 { ", " } else { "" })?;
        }
        f.write_str("]")
    }
}

impl fmt::Debug for Dims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
