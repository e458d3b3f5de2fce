//! Lanes: the elements that one result of a reduction, scan or normalisation depends on.

use super::super::View;
use super::isa::versions;
use super::map::{AllCasts, ComputeType, load, store};
use super::math::Compute;
use super::walk::address;
use crate::base::{Layout, Shape, Strides};
use smallvec::SmallVec;

/// Elements that are loaded and folded at a time.
pub(super) const BLOCK: usize = 512;

/// Partial results of a fold: a fixed number, so that results do not depend on the machine.
pub(super) const LANES: usize = 32;

/// The types that kernels accumulate in.
pub(super) trait Acc: Compute + ComputeType + AllCasts {
    /// No value is less.
    const LEAST: Self;
    /// No value is greater.
    const GREATEST: Self;
}

impl Acc for f32 {
    const LEAST: Self = f32::NEG_INFINITY;
    const GREATEST: Self = f32::INFINITY;
}
impl Acc for f64 {
    const LEAST: Self = f64::NEG_INFINITY;
    const GREATEST: Self = f64::INFINITY;
}
impl Acc for i64 {
    const LEAST: Self = i64::MIN;
    const GREATEST: Self = i64::MAX;
}

/// An associative operation with a neutral element.
pub(super) trait Fold<C> {
    /// The neutral element.
    const NEUTRAL: C;
    /// What an element contributes.
    #[inline(always)]
    fn lift(x: C) -> C {
        x
    }
    /// The operation on contributions.
    fn merge(a: C, b: C) -> C;
}

macro_rules! folds {
    ($($(#[$doc:meta])* $name:ident $neutral:ident |$a:ident, $b:ident| $merge:expr $(, |$x:ident| $lift:expr)?;)*) => { $(
        $(#[$doc])*
        pub(super) struct $name;
        impl<C: Acc> Fold<C> for $name {
            const NEUTRAL: C = C::$neutral;
            $(
                #[inline(always)]
                fn lift($x: C) -> C {
                    $lift
                }
            )?
            #[inline(always)]
            fn merge($a: C, $b: C) -> C {
                $merge
            }
        }
    )* };
}
folds! {
    /// `a + b`.
    Sum ZERO |a, b| a.add(b);
    /// `a + b` of squares.
    SumSquares ZERO |a, b| a.add(b), |x| x.mul(x);
    /// `a * b`.
    Prod ONE |a, b| a.mul(b);
    /// The greater; NaN wins.
    Max LEAST |a, b| a.maximum(b);
    /// The lesser; NaN wins.
    Min GREATEST |a, b| a.minimum(b);
    /// Whether one is not zero.
    Any ZERO |a, b| C::truth(a != C::ZERO || b != C::ZERO), |x| C::truth(x != C::ZERO);
    /// Whether both are not zero.
    All ONE |a, b| C::truth(a != C::ZERO && b != C::ZERO), |x| C::truth(x != C::ZERO);
}

versions! {
    /// Folds a block: lane `i` takes the elements `i`, `i + 32`, ..., and the lanes are merged as a
    /// balanced tree.
    pub(super) fn fold<C: Acc, F: Fold<C>>(x: &[C]) -> C = fold_body;
}

/// What [`fold`] runs.
#[inline(always)]
pub(super) fn fold_body<C: Acc, F: Fold<C>>(x: &[C]) -> C {
    let mut lanes = [F::NEUTRAL; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (l, &x) in lanes.iter_mut().zip(chunk) {
            *l = F::merge(*l, F::lift(x));
        }
    }
    if !rest.is_empty() {
        // Whole again, so that the lanes stay in registers.
        let mut last = [F::NEUTRAL; LANES];
        last.iter_mut()
            .zip(rest)
            .for_each(|(l, &x)| *l = F::lift(x));
        for (l, &x) in lanes.iter_mut().zip(&last) {
            *l = F::merge(*l, x);
        }
    }
    tree::<C, F>(lanes)
}

/// The sum of `f(a[i], b[i])`, lane by lane as [`fold`]; the slices are of one length.
#[inline(always)]
pub(super) fn sum_with<C: Acc>(a: &[C], b: &[C], f: impl Fn(C, C) -> C) -> C {
    let mut lanes = [C::ZERO; LANES];
    let ((ac, ar), (bc, br)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in ac.iter().zip(bc) {
        for (l, (&a, &b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *l = l.add(f(a, b));
        }
    }
    if !ar.is_empty() {
        let mut last = [C::ZERO; LANES];
        let rest = ar.iter().zip(br);
        last.iter_mut()
            .zip(rest)
            .for_each(|(l, (&a, &b))| *l = f(a, b));
        for (l, &x) in lanes.iter_mut().zip(&last) {
            *l = l.add(x);
        }
    }
    tree::<C, Sum>(lanes)
}

/// As [`sum_with`] of one slice, where `keep` may store each term in `out`, which is as long.
#[inline(always)]
pub(super) fn map_sum<C: Acc>(
    x: &[C],
    out: &mut [C],
    f: impl Fn(C) -> C,
    keep: impl Fn(&mut C, C),
) -> C {
    let mut lanes = [C::ZERO; LANES];
    let ((xc, xr), (oc, or)) = (x.as_chunks::<LANES>(), out.as_chunks_mut::<LANES>());
    for (x, o) in xc.iter().zip(oc) {
        for (l, (&x, o)) in lanes.iter_mut().zip(x.iter().zip(o)) {
            let y = f(x);
            keep(o, y);
            *l = l.add(y);
        }
    }
    if !xr.is_empty() {
        let mut last = [C::ZERO; LANES];
        for (l, (&x, o)) in last.iter_mut().zip(xr.iter().zip(or)) {
            *l = f(x);
            keep(o, *l);
        }
        for (l, &x) in lanes.iter_mut().zip(&last) {
            *l = l.add(x);
        }
    }
    tree::<C, Sum>(lanes)
}

/// Merges lanes as a balanced tree.
#[inline(always)]
pub(super) fn tree<C: Acc, F: Fold<C>>(mut lanes: [C; LANES]) -> C {
    // Written out, so that each step is a few instructions on whole registers.
    macro_rules! halve {
        ($($n:literal)*) => { $(
            let (low, high) = lanes.split_at_mut($n);
            for (a, &b) in low.iter_mut().zip(&high[..$n]) {
                *a = F::merge(*a, b);
            }
        )* };
    }
    halve!(16 8 4 2 1);
    lanes[0]
}

/// Folds any number of values pairwise: value `i` meets its neighbours at the height that the
/// binary digits of `i` say, so the error of a sum grows with the logarithm of their number.
pub(super) struct Cascade<T> {
    /// Partial results of falling numbers of values, each a power of two.
    parts: SmallVec<[T; 8]>,
    count: usize,
}

impl<T> Cascade<T> {
    /// No values yet.
    pub(super) fn new() -> Self {
        Self {
            parts: SmallVec::new(),
            count: 0,
        }
    }

    /// Takes the next value; `merge(a, b)` leaves the merged value in `a`.
    #[inline]
    pub(super) fn push(&mut self, value: T, merge: impl Fn(&mut T, &T)) {
        self.parts.push(value);
        let mut c = self.count;
        while c & 1 == 1 {
            self.join(&merge);
            c >>= 1;
        }
        self.count += 1;
    }

    /// The result, unless there were no values.
    #[inline]
    pub(super) fn finish(mut self, merge: impl Fn(&mut T, &T)) -> Option<T> {
        while self.parts.len() > 1 {
            self.join(&merge);
        }
        self.parts.pop()
    }

    fn join(&mut self, merge: &impl Fn(&mut T, &T)) {
        if let Some(b) = self.parts.pop()
            && let Some(a) = self.parts.last_mut()
        {
            merge(a, &b);
        }
    }
}

/// Dimensions, as sizes and strides, of some elements in row-major order, merged where they lie
/// evenly.
pub(super) struct Lane {
    dims: SmallVec<[(usize, usize); 4]>,
    /// Number of elements.
    pub(super) len: usize,
}

impl Lane {
    /// The given dimensions of a layout.
    pub(super) fn new(layout: &Layout, dims: impl Iterator<Item = usize>) -> Self {
        let mut merged: SmallVec<[(usize, usize); 4]> = SmallVec::new();
        let mut len = 1;
        for d in dims {
            let (n, s) = (layout.shape[d], layout.strides[d]);
            len *= n;
            if n == 1 {
                continue;
            }
            if let Some((m, t)) = merged.last_mut()
                && *t == n * s
            {
                *m *= n;
                *t = s;
            } else {
                merged.push((n, s));
            }
        }
        Self { dims: merged, len }
    }

    /// The stride, if it is the same between all neighbours.
    pub(super) fn stride(&self) -> Option<usize> {
        match *self.dims {
            [] => Some(1),
            [(_, s)] => Some(s),
            _ => None,
        }
    }

    /// The stride of the innermost dimension.
    pub(super) fn last_stride(&self) -> usize {
        self.dims.last().map_or(1, |d| d.1)
    }

    /// Calls `f` with the position, in the storage, of each run's first element, where the lane
    /// starts at `start`; then the stride and length of the run.
    pub(super) fn runs(&self, start: usize, mut f: impl FnMut(usize, usize, usize)) {
        fn nest(dims: &[(usize, usize)], start: usize, f: &mut impl FnMut(usize, usize, usize)) {
            match *dims {
                [] => f(start, 1, 1),
                [(n, s)] => f(start, s, n),
                [(n, s), ref rest @ ..] => (0..n).for_each(|i| nest(rest, start + i * s, f)),
            }
        }
        if self.len > 0 {
            nest(&self.dims, start, &mut f);
        }
    }

    /// The elements, cast: where they lie if they may be read there, else in `buffer`.
    ///
    /// # Safety
    /// The lane that starts at `start` lies within the view's storage, and nothing writes there
    /// while the result lives.
    pub(super) unsafe fn read<'a, C: Acc>(
        &self,
        v: &View,
        start: usize,
        buffer: &'a mut Vec<C>,
    ) -> &'a [C] {
        if v.dtype == C::DTYPE && self.stride() == Some(1) {
            // SAFETY: the caller's promise; the type is the view's.
            return unsafe { std::slice::from_raw_parts(address::<C>(v, start), self.len) };
        }
        // SAFETY: the caller's promise.
        unsafe { self.copy(v, start, buffer) };
        buffer
    }

    /// The elements, cast, in `buffer`.
    ///
    /// # Safety
    /// The lane that starts at `start` lies within the view's storage.
    pub(super) unsafe fn copy<C: Acc>(&self, v: &View, start: usize, buffer: &mut Vec<C>) {
        buffer.resize(self.len, C::ZERO);
        let mut done = 0;
        self.runs(start, |at, stride, n| {
            // SAFETY: the caller's promise; the runs have `len` elements together.
            unsafe { load(v, at, stride, n, buffer[done..].as_mut_ptr()) };
            done += n;
        });
    }

    /// Calls `f` with room for as many elements as the lane has, where they lie if they may be
    /// written there, else in `buffer`, and stores what it writes.
    ///
    /// # Safety
    /// The lane that starts at `start` lies within the view's storage, and nothing else refers to
    /// its elements.
    pub(super) unsafe fn fill<C: Acc, R>(
        &self,
        v: &View,
        start: usize,
        buffer: &mut Vec<C>,
        f: impl FnOnce(&mut [C]) -> R,
    ) -> R {
        if v.dtype == C::DTYPE && self.stride() == Some(1) {
            // SAFETY: the caller's promise; the type is the view's, and has no invalid bit
            // patterns.
            return f(unsafe { std::slice::from_raw_parts_mut(address::<C>(v, start), self.len) });
        }
        buffer.resize(self.len, C::ZERO);
        let result = f(buffer);
        // SAFETY: the caller's promise.
        unsafe { self.write(v, start, buffer) };
        result
    }

    /// Stores as many elements as the lane has, cast.
    ///
    /// # Safety
    /// The lane that starts at `start` lies within the view's storage, and nothing else refers to
    /// its elements.
    pub(super) unsafe fn write<C: Acc>(&self, v: &View, start: usize, values: &[C]) {
        assert_eq!(values.len(), self.len);
        let mut done = 0;
        self.runs(start, |at, stride, n| {
            // SAFETY: the caller's promise; the runs have `len` elements together.
            unsafe { store(v, at, stride, n, values[done..].as_ptr()) };
            done += n;
        });
    }
}

/// A layout with only the dimensions that `keep` accepts.
pub(super) fn select(layout: &Layout, keep: impl Fn(usize) -> bool) -> Layout {
    let pick = |from: &[usize]| -> Shape {
        (0..from.len())
            .filter(|&d| keep(d))
            .map(|d| from[d])
            .collect()
    };
    let strides: Strides = pick(&layout.strides);
    Layout {
        shape: pick(&layout.shape),
        strides,
        offset: layout.offset,
    }
}

/// A layout without dimension `dim`, and that dimension's stride and size; a scalar has one
/// dimension of size 1.
pub(super) fn split(layout: &Layout, dim: usize) -> (Layout, usize, usize) {
    if layout.ndim() == 0 {
        return (layout.clone(), 1, 1);
    }
    (
        select(layout, |d| d != dim),
        layout.strides[dim],
        layout.shape[dim],
    )
}
