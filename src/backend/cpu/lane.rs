//! Lanes: the elements that one result of a reduction, scan or normalisation depends on.

use super::super::View;
use super::isa::versions;
use super::map::{AllCasts, ComputeType, load, store};
use super::math::Compute;
use super::walk::address;
use crate::base::{Layout, Shape, Strides};
use smallvec::SmallVec;
use std::hint::black_box;

/// Elements that are loaded and folded at a time.
pub(super) const BLOCK: usize = 512;

/// Elements that lie one after the other are folded in blocks of this size.
pub(super) const DENSE_BLOCK: usize = 1024;

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
    /// Whether [`Fold::merge_numbers`] is quicker, and not right where there is a NaN.
    const NUMBERS_APART: bool = false;
    /// The operation on contributions that are numbers.
    #[inline(always)]
    fn merge_numbers(a: C, b: C) -> C {
        Self::merge(a, b)
    }
}

macro_rules! folds {
    ($($(#[$doc:meta])* $name:ident $neutral:ident |$a:ident, $b:ident| $merge:expr
        $(, numbers $numbers:expr)? $(, |$x:ident| $lift:expr)?;)*) => { $(
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
            $(
                const NUMBERS_APART: bool = true;
                #[inline(always)]
                fn merge_numbers($a: C, $b: C) -> C {
                    $numbers
                }
            )?
        }
    )* };
}
folds! {
    /// `a + b`.
    Sum ZERO |a, b| a.add(b);
    /// `a + b` of what is not NaN.
    SumNumbers ZERO |a, b| a.add(b), |x| if x.is_nan() { C::ZERO } else { x };
    /// `a + b` of squares.
    SumSquares ZERO |a, b| a.add(b), |x| x.mul(x);
    /// `a * b`.
    Prod ONE |a, b| a.mul(b);
    /// The greater; NaN wins.
    Max LEAST |a, b| a.maximum(b), numbers if a > b { a } else { b };
    /// The lesser; NaN wins.
    Min GREATEST |a, b| a.minimum(b), numbers if a < b { a } else { b };
    /// The greater; NaN is passed over, which takes one instruction instead of four.
    MaxNumber LEAST |a, b| if b > a { b } else { a };
    /// Whether one is not zero: the greater truth value.
    Any ZERO |a, b| if b > a { b } else { a }, |x| C::truth(x != C::ZERO);
    /// Whether both are not zero: the lesser truth value.
    All ONE |a, b| if b < a { b } else { a }, |x| C::truth(x != C::ZERO);
}

versions! {
    /// Folds a block. Lane `i` takes the elements `i`, `i + 32`, ..., but the last lanes take what is
    /// left when all have got as many; then the lanes are merged as a balanced tree.
    pub(super) fn fold<C: Acc, F: Fold<C>>(x: &[C]) -> C = fold_body;
}

/// What [`fold`] runs.
#[inline(always)]
pub(super) fn fold_body<C: Acc, F: Fold<C>>(x: &[C]) -> C {
    fold_by::<C, F, true>(x)
}

/// [`fold`] of elements among which a NaN was seen.
#[cold]
#[inline(never)]
fn fold_with_nan<C: Acc, F: Fold<C>>(x: &[C]) -> C {
    fold_by::<C, F, false>(x)
}

/// [`fold`], as if all were numbers until a NaN is seen if `NUMBERS`.
#[inline(always)]
fn fold_by<C: Acc, F: Fold<C>, const NUMBERS: bool>(x: &[C]) -> C {
    let watch = NUMBERS && F::NUMBERS_APART;
    let (chunks, rest) = x.as_chunks::<LANES>();
    let Some(last) = x.last_chunk::<LANES>() else {
        return fold_few::<C, F>(x);
    };
    let mut lanes = [F::NEUTRAL; LANES];
    // Not zero where a NaN was seen: one comparison for each two elements.
    let mut seen = [C::ZERO; LANES / 2];
    for chunk in chunks {
        for (l, &x) in lanes.iter_mut().zip(chunk) {
            let x = F::lift(x);
            *l = if watch {
                F::merge_numbers(*l, x)
            } else {
                F::merge(*l, x)
            };
        }
        if watch {
            let (low, high) = chunk.split_at(LANES / 2);
            for (s, (a, b)) in seen.iter_mut().zip(low.iter().zip(high)) {
                *s = if a.is_nan() || b.is_nan() { C::ONE } else { *s };
            }
        }
    }
    if seen.iter().fold(false, |any, &s| any | (s != C::ZERO)) {
        return fold_with_nan::<C, F>(x);
    }
    let terms = last.iter().zip(last_lanes(rest.len()));
    for (l, (&x, &new)) in lanes.iter_mut().zip(terms) {
        let x = if new != 0 { F::lift(x) } else { F::NEUTRAL };
        *l = F::merge(*l, x);
    }
    tree::<C, F>(lanes)
}

/// [`fold`] of fewer elements than there are lanes. Out of line, where it does not keep the lanes of
/// others from registers.
#[inline(never)]
fn fold_few<C: Acc, F: Fold<C>>(x: &[C]) -> C {
    let mut lanes = [F::NEUTRAL; LANES];
    for (l, &x) in lanes[LANES - x.len()..].iter_mut().zip(x) {
        *l = F::lift(x);
    }
    tree::<C, F>(lanes)
}

/// For each lane, whether it is one of the `n` last: words, since vector instructions choose by them,
/// where a comparison of indices becomes a branch for each lane.
#[inline(always)]
fn last_lanes(n: usize) -> &'static [u32; LANES] {
    static LAST: [u32; 2 * LANES] = {
        let mut words = [0; 2 * LANES];
        words.split_at_mut(LANES).1.copy_from_slice(&[1; LANES]);
        words
    };
    let (words, _) = LAST[n..].as_chunks::<LANES>();
    &words[0]
}

/// The last chunk of `x`: the elements of the last lanes, after others or zeros.
#[inline(always)]
fn last_chunk<C: Acc>(x: &[C]) -> [C; LANES] {
    #[inline(never)]
    fn padded<C: Acc>(x: &[C]) -> [C; LANES] {
        let mut chunk = [C::ZERO; LANES];
        chunk[LANES - x.len()..].copy_from_slice(x);
        chunk
    }
    x.last_chunk::<LANES>()
        .copied()
        .unwrap_or_else(|| padded(x))
}

/// The sums of the terms `f([a[i], b[i], ...])` over slices of one length, lane by lane as [`fold`].
/// Plain loops: see NOTE [Branch-free functions] in `math/real.rs`.
#[allow(clippy::needless_range_loop)]
#[inline(always)]
pub(super) fn sums<C: Acc, const N: usize, const K: usize>(
    x: [&[C]; N],
    f: impl Fn([C; N]) -> [C; K],
) -> [C; K] {
    let mut lanes = [[C::ZERO; LANES]; K];
    let (whole, rest) = (x[0].len() / LANES, x[0].len() % LANES);
    let mut chunks: [&[[C; LANES]]; N] = [&[]; N];
    for j in 0..N {
        chunks[j] = &x[j].as_chunks().0[..whole];
    }
    let mut at = [C::ZERO; N];
    for i in 0..whole {
        for l in 0..LANES {
            for j in 0..N {
                at[j] = chunks[j][i][l];
            }
            let terms = f(at);
            for k in 0..K {
                lanes[k][l] = lanes[k][l].add(terms[k]);
            }
        }
    }
    if rest > 0 {
        let new = last_lanes(rest);
        let mut last = [[C::ZERO; LANES]; N];
        for j in 0..N {
            last[j] = last_chunk(x[j]);
        }
        for l in 0..LANES {
            for j in 0..N {
                at[j] = last[j][l];
            }
            let terms = f(at);
            for k in 0..K {
                let term = if new[l] != 0 { terms[k] } else { C::ZERO };
                lanes[k][l] = lanes[k][l].add(term);
            }
        }
    }
    let mut sums = [C::ZERO; K];
    for k in 0..K {
        sums[k] = tree::<C, Sum>(lanes[k]);
    }
    sums
}

/// [`sums`] of one term of two slices.
#[inline(always)]
pub(super) fn sum_with<C: Acc>(a: &[C], b: &[C], f: impl Fn(C, C) -> C) -> C {
    let mut lanes = [C::ZERO; LANES];
    let ((chunks, rest), (others, _)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in chunks.iter().zip(others) {
        for (l, (&a, &b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *l = l.add(f(a, b));
        }
    }
    if !rest.is_empty() {
        let (a, b, new) = (last_chunk(a), last_chunk(b), last_lanes(rest.len()));
        for (l, ((&a, &b), &new)) in lanes.iter_mut().zip(a.iter().zip(&b).zip(new)) {
            *l = l.add(if new != 0 { f(a, b) } else { C::ZERO });
        }
    }
    tree::<C, Sum>(lanes)
}

/// [`sums`] of one term of one slice, where `keep` may store each term in `out`, which is as long.
#[inline(always)]
pub(super) fn map_sum<C: Acc>(
    x: &[C],
    out: &mut [C],
    f: impl Fn(C) -> C,
    keep: impl Fn(&mut C, C),
) -> C {
    let mut lanes = [C::ZERO; LANES];
    let ((chunks, rest), (outs, out_rest)) = (x.as_chunks::<LANES>(), out.as_chunks_mut::<LANES>());
    for (chunk, out) in chunks.iter().zip(outs) {
        for (l, (&x, o)) in lanes.iter_mut().zip(chunk.iter().zip(out)) {
            let y = f(x);
            keep(o, y);
            *l = l.add(y);
        }
    }
    if !rest.is_empty() {
        let (mut terms, new) = (last_chunk(x), last_lanes(rest.len()));
        for (l, (y, &new)) in lanes.iter_mut().zip(terms.iter_mut().zip(new)) {
            *y = f(*y);
            *l = l.add(if new != 0 { *y } else { C::ZERO });
        }
        let terms = &terms[LANES - rest.len()..];
        out_rest
            .iter_mut()
            .zip(terms)
            .for_each(|(o, &y)| keep(o, y));
    }
    tree::<C, Sum>(lanes)
}

/// Merges lanes as a balanced tree.
#[inline(always)]
pub(super) fn tree<C: Acc, F: Fold<C>>(lanes: [C; LANES]) -> C {
    let merge = F::merge;
    let mut eight = [F::NEUTRAL; 8];
    for (i, x) in eight.iter_mut().enumerate() {
        let low = merge(lanes[i], lanes[i + 16]);
        *x = merge(low, merge(lanes[i + 8], lanes[i + 24]));
    }
    // Where the eight are stored together, the lanes above them stay whole vectors; else the compiler
    // starts from the last merge, and makes pairs of all.
    let eight = black_box(eight);
    let pair = |i: usize| merge(eight[i], eight[i + 4]);
    merge(merge(pair(0), pair(2)), merge(pair(1), pair(3)))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Zeros of both signs, and NaN in any lane or nowhere.
    #[test]
    fn extrema_do_not_depend_on_how_nan_is_watched_for() {
        fn check<F: Fold<f32>>(x: &[f32]) {
            let want = fold_by::<f32, F, false>(x);
            assert_eq!(fold::<f32, F>(x).to_bits(), want.to_bits(), "{x:?}");
        }
        for n in [1, 31, 32, 33, 64, 100, 1000] {
            for nan in 0..=n {
                let mut x: Vec<f32> = (0..n).map(|i| (i * i % 7) as f32 - 6.0).collect();
                x.iter_mut().step_by(3).for_each(|x| *x = -0.0);
                if let Some(x) = x.get_mut(nan) {
                    *x = f32::from_bits(f32::NAN.to_bits() | nan as u32);
                }
                check::<Max>(&x);
                check::<Min>(&x);
                x.iter_mut().for_each(|x| *x = -*x);
                check::<Max>(&x);
                check::<Min>(&x);
            }
        }
    }
}
