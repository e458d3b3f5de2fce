//! Gather, scatter and advanced indexing.
//!
//! NOTE [Checked indices]
//! Indices are checked in a pass of their own, so that a bad one leaves the output as it was. What
//! a later pass uses is either the result of that pass (`index`, `index_put`) or read again and
//! limited to the dimension (`gather`, `scatter`): indices that change in between, because another
//! thread writes them or because they alias the output, give wrong elements but no access out of
//! bounds.

use super::super::{Combine, View};
use super::isa::versions;
use super::scratch::Scratch;
use super::threads::{self, Shared};
use super::walk::{Walk, address};
use crate::base::{DType, Layout, Result, Shape};
use crate::ensure;
use half::{bf16, f16};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(test)]
mod tests;

/// Runs `$body` with `$T` bound to an unsigned integer as large as an element: enough to move it.
macro_rules! with_size {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype.size() {
            1 => {
                type $T = u8;
                $body
            }
            2 => {
                type $T = u16;
                $body
            }
            4 => {
                type $T = u32;
                $body
            }
            _ => {
                type $T = u64;
                $body
            }
        }
    };
}

/// As [`crate::with_dtype`], but bool elements are [`Flag`]s, so that any byte may be read.
macro_rules! with_number {
    ($dtype:expr, $T:ident => $body:expr) => {
        $crate::with_dtype!($dtype, $T, $crate::backend::cpu::index::Flag => $body)
    };
}
pub(super) use {with_number, with_size};

/// A bool as it lies in memory: all bytes but 0 are true.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Flag(u8);

impl Flag {
    /// Whether it is true.
    pub(super) fn get(self) -> bool {
        self.0 != 0
    }
}

/// The arithmetic of stored elements. Integers wrap; bools or and and; `f16` and `bf16` compute in
/// `f32`.
pub(super) trait Number: Copy {
    /// `self + y`.
    fn add(self, y: Self) -> Self;
    /// `self * y`.
    fn mul(self, y: Self) -> Self;
    /// The greater; NaN wins.
    fn max(self, y: Self) -> Self;
    /// The lesser; NaN wins.
    fn min(self, y: Self) -> Self;
    /// The nearest number.
    fn from_f64(x: f64) -> Self;
    /// As `f64`.
    fn to_f64(self) -> f64;
    /// Whether it is not 0.
    fn is_true(self) -> bool;
    /// `self > y`, false for NaN.
    fn greater(self, y: Self) -> bool;
    /// `self >= y`, false for NaN.
    fn greater_equal(self, y: Self) -> bool;
}

impl Number for Flag {
    fn add(self, y: Self) -> Self {
        Flag((self.get() | y.get()).into())
    }
    fn mul(self, y: Self) -> Self {
        Flag((self.get() & y.get()).into())
    }
    fn max(self, y: Self) -> Self {
        self.add(y)
    }
    fn min(self, y: Self) -> Self {
        self.mul(y)
    }
    fn from_f64(x: f64) -> Self {
        Flag((x != 0.0).into())
    }
    fn to_f64(self) -> f64 {
        f64::from(u8::from(self.get()))
    }
    fn is_true(self) -> bool {
        self.get()
    }
    fn greater(self, y: Self) -> bool {
        self.get() & !y.get()
    }
    fn greater_equal(self, y: Self) -> bool {
        self.get() | !y.get()
    }
}

macro_rules! integers {
    ($($t:ty),*) => { $(
        impl Number for $t {
            #[inline(always)]
            fn add(self, y: Self) -> Self {
                self.wrapping_add(y)
            }
            #[inline(always)]
            fn mul(self, y: Self) -> Self {
                self.wrapping_mul(y)
            }
            #[inline(always)]
            fn max(self, y: Self) -> Self {
                Ord::max(self, y)
            }
            #[inline(always)]
            fn min(self, y: Self) -> Self {
                Ord::min(self, y)
            }
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn is_true(self) -> bool {
                self != 0
            }
            #[inline(always)]
            fn greater(self, y: Self) -> bool {
                self > y
            }
            #[inline(always)]
            fn greater_equal(self, y: Self) -> bool {
                self >= y
            }
        }
    )* };
}
integers!(u8, i8, i16, i32, i64);

macro_rules! floats {
    ($($t:ty: $c:ty, $to:expr, $from:expr;)*) => { $(
        impl Number for $t {
            #[inline(always)]
            fn add(self, y: Self) -> Self {
                $from($to(self) + $to(y))
            }
            #[inline(always)]
            fn mul(self, y: Self) -> Self {
                $from($to(self) * $to(y))
            }
            #[inline(always)]
            fn max(self, y: Self) -> Self {
                // A NaN `y` fails the comparison and is taken.
                if self > y || self.is_nan() { self } else { y }
            }
            #[inline(always)]
            fn min(self, y: Self) -> Self {
                if self < y || self.is_nan() { self } else { y }
            }
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                $from(x as $c)
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from($to(self))
            }
            #[inline(always)]
            fn is_true(self) -> bool {
                $to(self) != 0.0
            }
            #[inline(always)]
            fn greater(self, y: Self) -> bool {
                self > y
            }
            #[inline(always)]
            fn greater_equal(self, y: Self) -> bool {
                self >= y
            }
        }
    )* };
}
floats! {
    f16: f32, f16::to_f32, f16::from_f32;
    bf16: f32, bf16::to_f32, bf16::from_f32;
    f32: f32, std::convert::identity::<f32>, std::convert::identity::<f32>;
    f64: f64, std::convert::identity::<f64>, std::convert::identity::<f64>;
}

/// Size and stride of a dimension; a scalar has one dimension of size 1.
pub(super) fn size_and_stride(layout: &Layout, dim: usize) -> (usize, usize) {
    if layout.ndim() == 0 {
        (1, 0)
    } else {
        (layout.shape[dim], layout.strides[dim])
    }
}

/// `layout` in the (nowhere larger) shape `shape` and without its steps along `dim`.
fn held_at(layout: &Layout, shape: &Shape, dim: usize) -> Layout {
    let stride = |d| match layout.strides.get(d) {
        Some(&s) if d != dim => s,
        _ => 0,
    };
    Layout {
        shape: shape.clone(),
        strides: (0..shape.len()).map(stride).collect(),
        offset: layout.offset,
    }
}

/// The first elements of `layout` in the (nowhere larger) shape `shape`.
fn cut_to(layout: &Layout, shape: &Shape) -> Layout {
    held_at(layout, shape, usize::MAX)
}

/// The first entry that `bad` is true for.
pub(super) fn find(index: &View, bad: impl Fn(i64) -> bool) -> Option<i64> {
    let mut found = None;
    Walk::in_order(&[index.layout]).elements(|[at, ..]| {
        // SAFETY: NOTE [Views in bounds].
        let k = unsafe { *address::<i64>(index, at) };
        if found.is_none() && bad(k) {
            found = Some(k);
        }
    });
    found
}

/// Whether an entry is not below `size`.
fn any_outside(index: &View, size: usize) -> bool {
    let walk = Walk::new(&[index.layout]);
    let found = AtomicBool::new(false);
    threads::ranges(walk.len(), 1, 0.4, |range| {
        walk.pieces_in(range, usize::MAX, |at, n| {
            let first = address::<i64>(index, at[0]);
            let outside = if walk.stride[0] == 1 {
                // SAFETY: NOTE [Views in bounds]. Entries that others write meanwhile are checked
                // again where they are used.
                outside(unsafe { std::slice::from_raw_parts(first, n) }, size)
            } else {
                // SAFETY: NOTE [Views in bounds].
                (0..n).any(|i| unsafe { *first.add(i * walk.stride[0]) } as u64 >= size as u64)
            };
            if outside {
                found.store(true, Ordering::Relaxed);
            }
        });
    });
    found.into_inner()
}

versions! {
    fn outside<>(entries: &[i64], size: usize) -> bool = outside_body;
}

#[inline(always)]
fn outside_body(entries: &[i64], size: usize) -> bool {
    entries
        .iter()
        .fold(false, |any, &k| any | (k as u64 >= size as u64))
}

/// Refuses indices outside `0..size`.
fn check(index: View, dim: usize, size: usize) -> Result<()> {
    ensure!(
        !any_outside(&index, size),
        runtime,
        "index {} is out of bounds for dimension {dim} with size {size}",
        find(&index, |k| k as u64 >= size as u64).unwrap_or_default()
    );
    Ok(())
}

/// See [`super::super::Backend::gather`].
pub(super) fn gather(out: View, x: View, dim: usize, index: View) -> Result<()> {
    let (size, step) = size_and_stride(x.layout, dim);
    check(index, dim, size)?;
    if index.numel() == 0 {
        return Ok(());
    }
    let last = size - 1;
    let lanes = held_at(x.layout, &index.layout.shape, dim);
    let walk = Walk::new(&[out.layout, index.layout, &lanes]);
    let [so, si, sx, _] = walk.stride;
    threads::ranges(walk.len(), 64, 1.5, |range| {
        with_size!(x.dtype, T => walk.pieces_in(range, usize::MAX, |at, n| {
            let to = address::<T>(&out, at[0]);
            let entries = address::<i64>(&index, at[1]);
            let from = address::<T>(&x, at[2]);
            // SAFETY: NOTE [Views in bounds] and NOTE [Checked indices]; the caller promises that
            // `index` is nowhere else larger than `x`, so `lanes` stays within it.
            unsafe {
                if so == 1 && si == 1 && sx == 0 && step == 1 {
                    // The last branch, made fast: neighbours are looked up in the same lane.
                    for i in 0..n {
                        *to.add(i) = *from.add((*entries.add(i) as usize).min(last));
                    }
                } else {
                    for i in 0..n {
                        let k = (*entries.add(i * si) as usize).min(last);
                        *to.add(i * so) = *from.add(i * sx + k * step);
                    }
                }
            }
        }));
    });
    Ok(())
}

/// See [`super::super::Backend::scatter`].
pub(super) fn scatter(
    combine: Combine,
    out: View,
    dim: usize,
    index: View,
    src: View,
) -> Result<()> {
    let (size, step) = size_and_stride(out.layout, dim);
    check(index, dim, size)?;
    if index.numel() == 0 {
        return Ok(());
    }
    let last = size - 1;
    let shape = &index.layout.shape;
    // Walks along row-major positions go in their order.
    let order = Layout::contiguous(shape.clone());
    let lanes = held_at(out.layout, shape, dim);
    let from = cut_to(src.layout, shape);
    let walk = Walk::new(&[&order, index.layout, &lanes, &from]);
    macro_rules! run {
        ($T:ident, $f:expr) => {
            walk.for_each(|at| {
                let [_, si, so, ss] = walk.stride;
                let entries = address::<i64>(&index, at[1]);
                let to = address::<$T>(&out, at[2]);
                let from = address::<$T>(&src, at[3]);
                for i in 0..walk.run {
                    // SAFETY: NOTE [Views in bounds] and NOTE [Checked indices]; the caller
                    // promises that `index` is nowhere larger than `src`, nor than `out` outside
                    // `dim`.
                    unsafe {
                        let k = (*entries.add(i * si) as usize).min(last);
                        let to = to.add(i * so + k * step);
                        *to = $f(*to, *from.add(i * ss));
                    }
                }
            })
        };
    }
    if combine == Combine::Set {
        with_size!(out.dtype, T => run!(T, |_, y| y));
        return Ok(());
    }
    with_number!(out.dtype, T => match combine {
        Combine::Set => unreachable!("done above"),
        Combine::Add => run!(T, Number::add),
        Combine::Mul => run!(T, Number::mul),
        Combine::Max => run!(T, Number::max),
        Combine::Min => run!(T, Number::min),
    });
    Ok(())
}

/// The positions that index tensors look up: for each of their elements in row-major order, the
/// distance from the first element of `x`.
fn look_up(x: &Layout, indices: &[View]) -> Result<Scratch<usize>> {
    let n = indices.first().map_or(1, View::numel);
    let mut places = Scratch::filled(n, 0usize);
    let places_at = Shared(places.as_mut_ptr());
    for (dim, index) in indices.iter().enumerate() {
        debug_assert_eq!(index.dtype, DType::I64);
        debug_assert_eq!(index.layout.shape, indices[0].layout.shape);
        let (size, step) = (x.shape[dim], x.strides[dim]);
        let order = Layout::contiguous(index.layout.shape.clone());
        let walk = Walk::new(&[&order, index.layout]);
        let bad = AtomicBool::new(false);
        threads::ranges(walk.len(), 64, 0.8, |range| {
            walk.pieces_in(range, usize::MAX, |at, n| {
                // SAFETY: pieces do not overlap, and there is a place for each entry.
                let places = unsafe { places_at.slice(at[0]..at[0] + n) };
                let (first, stride) = (address::<i64>(index, at[1]), walk.stride[1]);
                let outside = if stride == 1 {
                    // SAFETY: NOTE [Views in bounds]. What others write meanwhile is checked too:
                    // each entry is read once.
                    locate(
                        unsafe { std::slice::from_raw_parts(first, n) },
                        size,
                        step,
                        places,
                    )
                } else {
                    // SAFETY: NOTE [Views in bounds].
                    let entry = |i: usize| unsafe { *first.add(i * stride) };
                    let each = places.iter_mut().enumerate();
                    each.fold(false, |any, (i, place)| {
                        any | advance(place, entry(i), size, step)
                    })
                };
                if outside {
                    bad.store(true, Ordering::Relaxed);
                }
            });
        });
        ensure!(
            !bad.into_inner(),
            index,
            "index {} is out of bounds for dimension {dim} with size {size}",
            find(index, |k| wrap(k, size) >= size as u64).unwrap_or_default()
        );
    }
    Ok(places)
}

/// An entry of an index, where a negative one counts from the end: its sign lets the size through.
#[inline(always)]
fn wrap(k: i64, size: usize) -> u64 {
    k.wrapping_add(size as i64 & (k >> 63)) as u64
}

/// Moves a place to entry `k` of a dimension; whether there is no such entry, in which case the
/// place is not used.
#[inline(always)]
fn advance(place: &mut usize, k: i64, size: usize, step: usize) -> bool {
    let k = wrap(k, size);
    *place = place.wrapping_add((k as usize).wrapping_mul(step));
    k >= size as u64
}

versions! {
    /// Moves places to the entries of a dimension; whether one is outside.
    fn locate<>(entries: &[i64], size: usize, step: usize, places: &mut [usize]) -> bool
        = locate_body;
}

#[inline(always)]
fn locate_body(entries: &[i64], size: usize, step: usize, places: &mut [usize]) -> bool {
    let each = places.iter_mut().zip(entries);
    each.fold(false, |any, (place, &k)| {
        any | advance(place, k, size, step)
    })
}

/// Elements that an indexing op pairs up between `x` and the other side, the dense one.
enum Run<'a> {
    /// A row of `n` elements: the first one on the dense side and in `x`, and the strides there.
    Row {
        dense: usize,
        x: usize,
        n: usize,
        strides: (usize, usize),
    },
    /// Single elements: the first one on the dense side and the stride there, and the places of those
    /// of `x`, from a position on.
    Picks {
        dense: usize,
        step: usize,
        x: usize,
        places: &'a [usize],
    },
}

/// All runs of elements, in an order in which those of `x` that coincide come in row-major order of
/// the index.
struct Runs<'a> {
    /// What the index tensors look up.
    places: &'a [usize],
    /// The dimensions of the index.
    heads: Walk,
    /// Where the runs of the trailing dimensions start, on the dense side and in `x`.
    starts: Vec<(usize, usize)>,
    /// Their length, and strides on both sides.
    run: usize,
    strides: (usize, usize),
    /// Neighbours along the index are nearer in memory than those along a row: `x[:, index]`.
    across: bool,
}

impl<'a> Runs<'a> {
    /// The first `k` dimensions of `x` are looked up at `places`, the first `lead` of `dense` are
    /// those of the index.
    fn new(places: &'a [usize], (x, k): (&Layout, usize), (dense, lead): (&Layout, usize)) -> Self {
        let part = |l: &Layout, range: Range<usize>| Layout {
            shape: l.shape[range.clone()].into(),
            strides: l.strides[range].into(),
            offset: 0,
        };
        let index = part(dense, 0..lead);
        let order = Layout::contiguous(index.shape.clone());
        let heads = Walk::new(&[&order, &index]);
        let rows = Walk::new(&[&part(dense, lead..dense.ndim()), &part(x, k..x.ndim())]);
        let mut starts = Vec::new();
        rows.for_each(|at| starts.push((dense.offset + at[0], x.offset + at[1])));
        let strides = (rows.stride[0], rows.stride[1]);
        let across = heads.run == places.len() && heads.stride[1] <= strides.0 && strides.1 > 1;
        Self {
            places,
            heads,
            starts,
            run: rows.run,
            strides,
            across,
        }
    }

    /// How many parts there are that can be visited on their own, and how many elements each has.
    fn parts(&self) -> (usize, usize) {
        let (rows, places) = (self.starts.len() * self.run, self.places.len());
        if self.across {
            (rows, places)
        } else {
            (places, rows)
        }
    }

    /// Calls `f` with the runs of some parts.
    #[inline(always)]
    fn each(&self, parts: Range<usize>, mut f: impl FnMut(Run<'a>)) {
        let (strides, step) = (self.strides, self.heads.stride[1]);
        if self.across {
            for part in parts {
                let ((d, p), i) = (self.starts[part / self.run], part % self.run);
                f(Run::Picks {
                    dense: d + i * strides.0,
                    step,
                    x: p + i * strides.1,
                    places: self.places,
                });
            }
            return;
        }
        self.heads.pieces_in(parts, usize::MAX, |at, n| {
            let places = &self.places[at[0]..at[0] + n];
            if let ([(d, p)], 1) = (&self.starts[..], self.run) {
                return f(Run::Picks {
                    dense: d + at[1],
                    step,
                    x: *p,
                    places,
                });
            }
            for (j, place) in places.iter().enumerate() {
                for (d, p) in &self.starts {
                    f(Run::Row {
                        dense: d + at[1] + j * step,
                        x: p + place,
                        n: self.run,
                        strides,
                    });
                }
            }
        });
    }
}

/// See [`super::super::Backend::index`].
pub(super) fn index(out: View, x: View, indices: &[View]) -> Result<()> {
    let places = look_up(x.layout, indices)?;
    if out.numel() == 0 {
        return Ok(());
    }
    let k = indices.len();
    let lead = out.layout.ndim() + k - x.layout.ndim();
    let runs = Runs::new(&places, (x.layout, k), (out.layout, lead));
    let (parts, elements) = runs.parts();
    threads::ranges(parts, 1, elements as f64 * 0.3 + 3.0, |range| {
        with_size!(x.dtype, T => runs.each(range, |run| {
            // SAFETY: NOTE [Views in bounds] and NOTE [Checked indices].
            unsafe {
                pair::<T>(
                    run,
                    (address(&out, 0), address(&x, 0)),
                    |to, from| *to = *from,
                    |to, from, n| std::ptr::copy(from, to, n),
                );
            }
        }));
    });
    Ok(())
}

/// See [`super::super::Backend::index_put`].
pub(super) fn index_put(combine: Combine, x: View, indices: &[View], values: View) -> Result<()> {
    ensure!(
        matches!(combine, Combine::Set | Combine::Add),
        runtime,
        "index_put sets or adds; got {combine:?}"
    );
    let places = look_up(x.layout, indices)?;
    if values.numel() == 0 {
        return Ok(());
    }
    let k = indices.len();
    let lead = values.layout.ndim() + k - x.layout.ndim();
    let runs = Runs::new(&places, (x.layout, k), (values.layout, lead));
    let all = 0..runs.parts().0;
    if combine == Combine::Set {
        with_size!(x.dtype, T => runs.each(all, |run| {
            // SAFETY: NOTE [Views in bounds] and NOTE [Checked indices].
            unsafe {
                pair::<T>(
                    run,
                    (address(&values, 0), address(&x, 0)),
                    |from, to| *to = *from,
                    |from, to, n| std::ptr::copy(from, to, n),
                );
            }
        }));
    } else {
        with_number!(x.dtype, T => runs.each(all, |run| {
            let add = |from: *mut T, to: *mut T| {
                // SAFETY: NOTE [Views in bounds] and NOTE [Checked indices].
                unsafe { *to = (*to).add(*from) }
            };
            // SAFETY: as above.
            unsafe {
                pair::<T>(run, (address(&values, 0), address(&x, 0)), add, |from, to, n| {
                    (0..n).for_each(|i| add(from.add(i), to.add(i)));
                });
            }
        }));
    }
    Ok(())
}

/// Calls `one` with the addresses of each pair of elements on the dense side and in `x`, or `row`
/// with those of the first pair of a row that lies without gaps on both sides, and its length.
///
/// # Safety
/// The elements lie within the buffers that begin at the addresses.
#[inline(always)]
unsafe fn pair<T>(
    run: Run,
    start: (*mut T, *mut T),
    one: impl Fn(*mut T, *mut T),
    row: impl Fn(*mut T, *mut T, usize),
) {
    // SAFETY: the caller's promise.
    unsafe {
        match run {
            Run::Row {
                dense,
                x,
                n,
                strides,
            } => {
                let (a, b) = (start.0.add(dense), start.1.add(x));
                if strides == (1, 1) {
                    return row(a, b, n);
                }
                for i in 0..n {
                    one(a.add(i * strides.0), b.add(i * strides.1));
                }
            }
            Run::Picks {
                dense,
                step,
                x,
                places,
            } => {
                let (a, b) = (start.0.add(dense), start.1.add(x));
                for (i, &place) in places.iter().enumerate() {
                    one(a.add(i * step), b.add(place));
                }
            }
        }
    }
}
