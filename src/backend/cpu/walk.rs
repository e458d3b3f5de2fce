//! Visiting the elements of strided views, a run at a time.

use super::super::View;
use crate::base::Layout;
use smallvec::SmallVec;
use std::ops::Range;

/// Up to this many views are walked together: an output and three inputs.
pub(super) const MOST: usize = 4;

/// A dimension: its size, and the stride of each view along it.
pub(super) type Axis = (usize, [usize; MOST]);

/// Dimensions that several views share, the outermost first.
pub(super) type Axes = SmallVec<[Axis; 4]>;

/// One run of elements: for each view, the position of its first element, with the strides and the
/// length that all runs of a walk share.
pub(super) struct Walk {
    /// Sizes of the outer dimensions, and the strides of each view along them.
    outer: Axes,
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
        Self::plan(layouts, true)
    }

    /// As [`Walk::new`], in row-major order.
    pub(super) fn in_order(layouts: &[&Layout]) -> Self {
        Self::plan(layouts, false)
    }

    fn plan(layouts: &[&Layout], by_stride: bool) -> Self {
        debug_assert!(layouts.len() <= MOST);
        let shape = &layouts[0].shape;
        let strides_at = |d: usize| {
            let mut s = [0; MOST];
            for (s, l) in s.iter_mut().zip(layouts) {
                *s = l.strides[d];
            }
            s
        };
        let mut dims: Axes = (0..shape.len())
            .filter(|&d| shape[d] != 1)
            .map(|d| (shape[d], strides_at(d)))
            .collect();
        // Largest stride of the output first; ties keep their order.
        if by_stride {
            dims.sort_by(|a, b| b.1[0].cmp(&a.1[0]));
        }
        let mut merged = Axes::new();
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
    /// The number of elements.
    pub(super) fn len(&self) -> usize {
        self.outer.iter().map(|(n, _)| n).product::<usize>() * self.run
    }

    /// The position of each view at an element, which is there.
    pub(super) fn place(&self, element: usize) -> [usize; MOST] {
        let mut at = self.start;
        let mut rest = element / self.run;
        let mut go = |i: usize, strides: &[usize; MOST]| {
            at.iter_mut().zip(strides).for_each(|(a, s)| *a += i * s);
        };
        go(element % self.run, &self.stride);
        for (n, strides) in self.outer.iter().rev() {
            go(rest % n, strides);
            rest /= n;
        }
        at
    }

    /// Calls `f` with pieces of runs that together are a range of elements: the position of each
    /// view at the first element, and the number of elements, which is at most `most`.
    pub(super) fn pieces_in(
        &self,
        range: Range<usize>,
        most: usize,
        mut f: impl FnMut([usize; MOST], usize),
    ) {
        let mut i = range.start;
        while i < range.end {
            let n = (self.run - i % self.run).min(range.end - i).min(most);
            f(self.place(i), n);
            i += n;
        }
    }

    /// Calls `f` with the position of each view at each element of a range.
    pub(super) fn elements_in(&self, range: Range<usize>, mut f: impl FnMut([usize; MOST])) {
        self.pieces_in(range, usize::MAX, |mut at, n| {
            for _ in 0..n {
                f(at);
                for (a, s) in at.iter_mut().zip(&self.stride) {
                    *a += s;
                }
            }
        });
    }

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

impl Walk {
    /// The dimensions, those of the run last.
    pub(super) fn axes(&self) -> Axes {
        let mut axes = self.outer.clone();
        axes.push((self.run, self.stride));
        axes
    }
}

/// A place among the elements of one view, which moves along them.
pub(super) trait Place {
    /// Position of the next element.
    fn at(&self) -> usize;

    /// At least how many of the next elements lie one after the other.
    fn lead(&self) -> usize;

    /// At least how many of the next elements are at this place.
    fn repeats(&self) -> usize;

    /// At least how many of the next rows of `n` elements lie as the first one does, and the distance
    /// from one to the next; the first one is part of a run.
    fn rows(&self, n: usize) -> (usize, usize);

    /// Moves along `count` such [rows](Place::rows).
    fn pass(&mut self, count: usize, n: usize);

    /// Moves along `n` elements, which are there, and calls `f` with the position of the first
    /// element, the stride and the length of each run of them.
    fn take(&mut self, n: usize, f: impl FnMut(usize, usize, usize));

    /// The place `n` elements further on, from the first element of all.
    fn skipped(&self, n: usize) -> Self;
}

/// A place among elements that lie one after the other.
#[derive(Clone, Copy)]
pub(super) struct Dense(pub(super) usize);

impl Place for Dense {
    #[inline(always)]
    fn at(&self) -> usize {
        self.0
    }

    #[inline(always)]
    fn lead(&self) -> usize {
        usize::MAX
    }

    #[inline(always)]
    fn repeats(&self) -> usize {
        0
    }

    #[inline(always)]
    fn rows(&self, n: usize) -> (usize, usize) {
        (usize::MAX, n)
    }

    #[inline(always)]
    fn pass(&mut self, count: usize, n: usize) {
        self.0 += count * n;
    }

    #[inline(always)]
    fn take(&mut self, n: usize, mut f: impl FnMut(usize, usize, usize)) {
        f(self.0, 1, n);
        self.0 += n;
    }

    fn skipped(&self, n: usize) -> Self {
        Dense(self.0 + n)
    }
}

/// A place among the elements of one view in an order of dimensions that several views share. Each
/// view's dimensions are merged on their own, so that a view which lies evenly is read in long runs
/// even if others do not.
#[derive(Clone)]
pub(super) struct Cursor {
    /// The outer dimensions: size, stride, and the current index.
    outer: SmallVec<[[usize; 3]; 3]>,
    /// The innermost dimension's size, stride, and the current index.
    run: usize,
    stride: usize,
    index: usize,
    /// Position of the next element.
    at: usize,
}

impl Cursor {
    /// One element.
    pub(super) const ONE: Self = Self {
        outer: SmallVec::new_const(),
        run: 1,
        stride: 1,
        index: 0,
        at: 0,
    };

    /// View number `v` of a walk along `axes`, from position `start` on.
    pub(super) fn new(axes: &[Axis], v: usize, start: usize) -> Self {
        let mut outer = SmallVec::new();
        let [mut run, mut stride] = [1, 1];
        for &(n, ref strides) in axes.iter().filter(|a| a.0 != 1) {
            let s = strides[v];
            if run == 1 || stride == n * s {
                run *= n;
            } else {
                outer.push([run, stride, 0]);
                run = n;
            }
            stride = s;
        }
        Self {
            outer,
            run,
            stride,
            index: 0,
            at: start,
        }
    }

    /// From the end of a run to the start of the run that is `count` runs after it, where all but the last
    /// are in the innermost of the outer dimensions.
    #[inline(always)]
    fn leave(&mut self, mut count: usize) {
        self.at -= self.index * self.stride;
        self.index = 0;
        for [size, stride, index] in self.outer.iter_mut().rev() {
            *index += count;
            self.at += count * *stride;
            if index < size {
                break;
            }
            self.at -= *size * *stride;
            *index = 0;
            count = 1;
        }
    }
}

impl Place for Cursor {
    fn at(&self) -> usize {
        self.at
    }

    fn lead(&self) -> usize {
        match self.stride {
            1 => self.run - self.index,
            _ => 0,
        }
    }

    fn repeats(&self) -> usize {
        match self.stride {
            0 => self.run - self.index,
            _ => 0,
        }
    }

    #[inline]
    fn rows(&self, n: usize) -> (usize, usize) {
        match self.run - self.index {
            left if left > n => (left / n, n * self.stride),
            // A whole run, as are those after it.
            _ if self.index == 0 => match self.outer.last() {
                Some([size, stride, index]) => (size - index, *stride),
                None => (1, 0),
            },
            _ => (1, 0),
        }
    }

    #[inline]
    fn pass(&mut self, count: usize, n: usize) {
        if self.run - self.index == n {
            return self.leave(count);
        }
        self.index += count * n;
        self.at += count * n * self.stride;
        if self.index == self.run {
            self.leave(1);
        }
    }

    #[inline]
    fn take(&mut self, mut n: usize, mut f: impl FnMut(usize, usize, usize)) {
        while n > 0 {
            let m = n.min(self.run - self.index);
            f(self.at, self.stride, m);
            n -= m;
            self.index += m;
            self.at += m * self.stride;
            if self.index == self.run {
                self.leave(1);
            }
        }
    }

    fn skipped(&self, mut n: usize) -> Self {
        let mut place = self.clone();
        place.index = n % self.run;
        n /= self.run;
        place.at += place.index * self.stride;
        for [size, stride, index] in place.outer.iter_mut().rev() {
            *index = n % *size;
            n /= *size;
            place.at += *index * *stride;
        }
        place
    }
}

/// The address of the element at a position.
#[inline(always)]
pub(super) fn address<T>(view: &View, at: usize) -> *mut T {
    view.storage.as_ptr().cast::<T>().wrapping_add(at)
}

/// The `n` elements from position `first` on, copied unless they lie one after the other.
pub(super) fn lane<'a, T: Copy>(
    x: &'a View,
    first: usize,
    stride: usize,
    n: usize,
    copy: &'a mut Vec<T>,
) -> &'a [T] {
    let first = address::<T>(x, first);
    if stride == 1 {
        // SAFETY: NOTE [Views in bounds].
        return unsafe { std::slice::from_raw_parts(first, n) };
    }
    copy.clear();
    // SAFETY: NOTE [Views in bounds].
    copy.extend((0..n).map(|i| unsafe { *first.add(i * stride) }));
    copy
}
