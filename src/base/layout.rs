//! How a tensor's elements lie in its storage.

use super::shape::{Shape, Strides};

/// Sizes, strides and offset, all in elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Sizes.
    pub shape: Shape,
    /// Distances between neighbours along each dimension.
    pub strides: Strides,
    /// Position of the first element.
    pub offset: usize,
}

impl Layout {
    /// The row-major layout of a shape.
    pub fn contiguous(shape: Shape) -> Self {
        let strides = shape.contiguous_strides();
        Self {
            shape,
            strides,
            offset: 0,
        }
    }

    /// Number of dimensions.
    #[inline]
    pub fn ndim(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements.
    #[inline]
    pub fn numel(&self) -> usize {
        self.shape.numel()
    }

    /// Whether the elements lie densely in row-major order.
    pub fn is_contiguous(&self) -> bool {
        if self.numel() == 0 {
            return true;
        }
        let mut step = 1;
        for (&n, &s) in self.shape.iter().zip(self.strides.iter()).rev() {
            if n != 1 {
                if s != step {
                    return false;
                }
                step *= n;
            }
        }
        true
    }

    /// One past the largest position that is read, or `offset` when there are no elements.
    pub fn end(&self) -> usize {
        if self.numel() == 0 {
            return self.offset;
        }
        let span: usize = self
            .shape
            .iter()
            .zip(self.strides.iter())
            .map(|(&n, &s)| (n - 1) * s)
            .sum();
        self.offset + span + 1
    }

    /// The same elements seen in a larger shape: new and size-1 dimensions get stride 0. The
    /// caller has checked that the shapes fit.
    pub fn broadcast_to(&self, shape: &Shape) -> Layout {
        if *shape == self.shape {
            return self.clone();
        }
        let lead = shape.len() - self.ndim();
        let strides = (0..shape.len())
            .map(|i| match i.checked_sub(lead) {
                Some(j) if self.shape[j] == shape[i] => self.strides[j],
                _ => 0,
            })
            .collect();
        Layout {
            shape: shape.clone(),
            strides,
            offset: self.offset,
        }
    }

    /// Whether two indices reach the same element (an expanded or folded layout). Strides that do
    /// not interleave once they are sorted tell it at once; for others, elements are looked at.
    pub fn has_overlap(&self) -> bool {
        if self.numel() <= 1 {
            return false;
        }
        let mut dims: Vec<(usize, usize)> = self
            .strides
            .iter()
            .zip(self.shape.iter())
            .filter(|&(_, &n)| n > 1)
            .map(|(&s, &n)| (s, n))
            .collect();
        dims.sort_unstable();
        let mut reach = 0;
        for (s, n) in dims {
            if s <= reach {
                return s == 0 || self.repeats_an_element();
            }
            reach += s * (n - 1);
        }
        false
    }

    #[cold]
    fn repeats_an_element(&self) -> bool {
        let mut places = vec![0];
        for (s, n) in self.strides.iter().zip(self.shape.iter()) {
            places = places
                .iter()
                .flat_map(|at| (0..*n).map(move |i| at + i * s))
                .collect();
        }
        let mut seen = vec![false; self.end() - self.offset];
        places
            .into_iter()
            .any(|at| std::mem::replace(&mut seen[at], true))
    }

    /// The strides that show the same elements as `shape`, when no copy is needed for that.
    pub fn reshape(&self, shape: &Shape) -> Option<Layout> {
        if self.is_contiguous() {
            return Some(Layout {
                shape: shape.clone(),
                strides: shape.contiguous_strides(),
                offset: self.offset,
            });
        }
        // Walk both shapes from the right, matching runs of old dimensions that are dense among
        // themselves with runs of new dimensions of the same number of elements.
        let mut strides = Strides::filled(0, shape.len());
        let old: Vec<(usize, usize)> = self
            .shape
            .iter()
            .zip(self.strides.iter())
            .filter(|&(&n, _)| n != 1)
            .map(|(&n, &s)| (n, s))
            .collect();
        let mut new = shape.len();
        let mut i = old.len();
        while i > 0 {
            let base = old[i - 1].1;
            let mut run = old[i - 1].0;
            i -= 1;
            while i > 0 && old[i - 1].1 == base * run {
                run *= old[i - 1].0;
                i -= 1;
            }
            let mut step = base;
            let mut taken = 1;
            while taken < run {
                if new == 0 {
                    return None;
                }
                new -= 1;
                strides[new] = step;
                step *= shape[new];
                taken *= shape[new];
            }
            if taken != run {
                return None;
            }
        }
        // What is left on the left are dimensions of size 1: any stride will do.
        let mut step = if new < shape.len() {
            strides[new] * shape[new]
        } else {
            1
        };
        while new > 0 {
            new -= 1;
            if shape[new] != 1 {
                return None;
            }
            strides[new] = step;
            step *= shape[new];
        }
        Some(Layout {
            shape: shape.clone(),
            strides,
            offset: self.offset,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_are_told_exactly() {
        let overlaps = |shape: &[usize], strides: &[usize]| {
            let layout = Layout {
                shape: shape.into(),
                strides: strides.into(),
                offset: 5,
            };
            layout.has_overlap()
        };
        assert!(!overlaps(&[4, 3], &[3, 1]));
        assert!(!overlaps(&[3, 4], &[1, 3]));
        assert!(overlaps(&[4, 3], &[0, 1]));
        assert!(!overlaps(&[1, 3], &[0, 1]));
        assert!(overlaps(&[3, 3], &[1, 1]));
        // Even and odd places beside each other, until they meet.
        assert!(!overlaps(&[4, 2], &[2, 3]));
        assert!(overlaps(&[4, 3], &[2, 3]));
    }
}
