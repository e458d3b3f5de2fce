//! Visiting the elements of strided views, a run at a time.

use super::super::View;
use crate::base::Layout;
use smallvec::SmallVec;

/// Up to this many views are walked together: an output and three inputs.
pub(super) const MOST: usize = 4;

/// One run of elements: for each view, the position of its first element, with the strides and the
/// length that all runs of a walk share.
pub(super) struct Walk {
    /// Sizes of the outer dimensions, and the strides of each view along them.
    outer: SmallVec<[(usize, [usize; MOST]); 4]>,
    /// Where each view starts.
    start: [usize; MOST],
    /// Elements in a run.
    pub(super) run: usize,
    /// The stride of each view along a run.
    pub(super) stride: [usize; MOST],
}

impl Walk {
    /// Plans a walk over layouts of one shape. Dimensions are ordered by the strides of the first
    /// layout and merged where all layouts allow it, so that runs are as long as they can be.
    pub(super) fn new(layouts: &[&Layout]) -> Self {
        debug_assert!(layouts.len() <= MOST);
        let shape = &layouts[0].shape;
        let strides_at = |d: usize| {
            let mut s = [0; MOST];
            for (s, l) in s.iter_mut().zip(layouts) {
                *s = l.strides[d];
            }
            s
        };
        let mut dims: SmallVec<[(usize, [usize; MOST]); 4]> = (0..shape.len())
            .filter(|&d| shape[d] != 1)
            .map(|d| (shape[d], strides_at(d)))
            .collect();
        // Largest stride of the output first; ties keep their order.
        dims.sort_by(|a, b| b.1[0].cmp(&a.1[0]));
        let mut merged: SmallVec<[(usize, [usize; MOST]); 4]> = SmallVec::new();
        for (n, s) in dims {
            if let Some((m, t)) = merged.last_mut()
                && (0..layouts.len()).all(|i| t[i] == n * s[i])
            {
                *m *= n;
                *t = s;
            } else {
                merged.push((n, s));
            }
        }
        let mut start = [0; MOST];
        for (s, l) in start.iter_mut().zip(layouts) {
            *s = l.offset;
        }
        let (run, stride) = merged.pop().unwrap_or((1, [0; MOST]));
        Self {
            outer: merged,
            start,
            run,
            stride,
        }
    }

    /// Calls `f` with the position of each view at the start of each run.
    pub(super) fn for_each(&self, mut f: impl FnMut([usize; MOST])) {
        if self.run == 0 || self.outer.iter().any(|(n, _)| *n == 0) {
            return;
        }
        let mut at = self.start;
        let mut index: SmallVec<[usize; 4]> = SmallVec::from_elem(0, self.outer.len());
        loop {
            f(at);
            let mut d = self.outer.len();
            loop {
                if d == 0 {
                    return;
                }
                d -= 1;
                let (n, strides) = &self.outer[d];
                index[d] += 1;
                for (a, s) in at.iter_mut().zip(strides) {
                    *a += s;
                }
                if index[d] < *n {
                    break;
                }
                for (a, s) in at.iter_mut().zip(strides) {
                    *a -= s * n;
                }
                index[d] = 0;
            }
        }
    }
}

impl Walk {
    /// Calls `f` with the position of each view at each element.
    pub(super) fn elements(&self, mut f: impl FnMut([usize; MOST])) {
        self.for_each(|mut at| {
            for _ in 0..self.run {
                f(at);
                for (a, s) in at.iter_mut().zip(&self.stride) {
                    *a += s;
                }
            }
        });
    }
}

/// The address of the element at a position.
#[inline(always)]
pub(super) fn address<T>(view: &View, at: usize) -> *mut T {
    view.storage.as_ptr().cast::<T>().wrapping_add(at)
}
