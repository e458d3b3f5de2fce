//! Running reductions along one dimension.
//!
//! Elements are taken in groups of [`GROUP`]: each is merged with those before it in its group, and
//! that with what the groups before gave. So each group waits for the one before it only once, and a
//! lane has the same bits however it lies and whatever lies beside it.

use super::super::{Scan, View};
use super::isa::versions;
use super::lane::{Acc, BLOCK, Fold, Prod, Sum, split};
use super::map::{load, store};
use super::math::Float;
use super::threads;
use super::walk::{MOST, Walk, address};
use crate::base::DType;

#[cfg(test)]
mod tests;

/// Elements in a group; blocks are made of whole groups.
const GROUP: usize = 8;

/// Lanes that are scanned together when the scanned dimension is an outer one.
const TILE: usize = 256;

/// An operation whose partial results are kept. `merge` takes the earlier one first.
trait Running<C>: Fold<C> {
    /// Elements in a group.
    const GROUP: usize = GROUP;

    /// Whether no order of merging changes a bit.
    const EXACT: bool = false;

    /// Whether merging `b` to `a` may result in something else than `a`.
    #[inline(always)]
    fn changes(_a: C, _b: C) -> bool {
        true
    }
}

impl Running<f32> for Sum {}
impl Running<f64> for Sum {}
impl Running<i64> for Sum {
    const EXACT: bool = true;
}
impl<C: Acc> Running<C> for Prod {}

macro_rules! extrema {
    ($($(#[$doc:meta])* $name:ident $neutral:ident $passes:tt;)*) => { $(
        $(#[$doc])*
        struct $name;

        impl<C: Acc> Fold<C> for $name {
            const NEUTRAL: C = C::$neutral;
            #[inline(always)]
            fn merge(a: C, b: C) -> C {
                if Self::changes(a, b) { b } else { a }
            }
        }

        impl<C: Acc> Running<C> for $name {
            const EXACT: bool = true;
            #[inline(always)]
            fn changes(a: C, b: C) -> bool {
                (b $passes a) | b.is_nan()
            }
        }
    )* };
}
extrema! {
    /// The greater, of equal ones the later; NaN wins.
    Greatest LEAST >=;
    /// The lesser, of equal ones the later; NaN wins.
    Least GREATEST <=;
}

/// `log(exp(a) + exp(b))`.
struct LogSumExp;

impl<C: Acc + Float> Fold<C> for LogSumExp {
    const NEUTRAL: C = C::LEAST;
    #[inline(always)]
    fn merge(a: C, b: C) -> C {
        // Every step waits for the one before it, so what counts is how long one takes: the
        // standard library's functions are quicker at that than those made for vectors.
        let (x, y) = (a.f64(), b.f64());
        if x == y && x.is_infinite() {
            return a; // inf - inf would be NaN
        }
        Float::of(x.max(y) + (-(x - y).abs()).exp().ln_1p())
    }
}

impl<C: Acc + Float> Running<C> for LogSumExp {
    // A merge costs more than waiting for it.
    const GROUP: usize = 1;
}

/// See [`super::super::Backend::scan`]. `f32` sums and products accumulate in `f64`, as PyTorch's
/// do.
pub(super) fn scan(f: Scan, out: View, index: Option<View>, x: View, dim: usize) {
    let pass = Pass::new(out, index, x, dim);
    let wide = matches!(out.dtype, DType::F32 | DType::F64);
    macro_rules! extremum {
        ($F:ty) => {
            match x.dtype.compute() {
                DType::F32 => pass.run::<f32, $F>(),
                DType::F64 => pass.run::<f64, $F>(),
                _ => pass.run::<i64, $F>(),
            }
        };
    }
    macro_rules! fold {
        ($F:ty) => {
            match wide {
                _ if !out.dtype.is_float() => pass.run::<i64, $F>(),
                true => pass.run::<f64, $F>(),
                false => pass.run::<f32, $F>(),
            }
        };
    }
    match f {
        Scan::Sum => fold!(Sum),
        Scan::Prod => fold!(Prod),
        Scan::Max => extremum!(Greatest),
        Scan::Min => extremum!(Least),
        Scan::LogSumExp if wide => pass.run::<f64, LogSumExp>(),
        Scan::LogSumExp => pass.run::<f32, LogSumExp>(),
    }
}

/// Blocks of elements, results and positions.
struct Room<C> {
    x: [C; BLOCK],
    y: [C; BLOCK],
    places: [i64; BLOCK],
}

struct Pass<'a> {
    out: View<'a>,
    index: Option<View<'a>>,
    x: View<'a>,
    /// Elements in a lane.
    n: usize,
    /// The strides along it: of the results, of the elements, of the positions.
    stride: [usize; 3],
    /// Where the lanes start.
    walk: Walk,
}

impl<'a> Pass<'a> {
    fn new(out: View<'a>, index: Option<View<'a>>, x: View<'a>, dim: usize) -> Self {
        let (outs, out_stride, n) = split(out.layout, dim);
        let (xs, x_stride, _) = split(x.layout, dim);
        let (places, place_stride, _) = split(index.unwrap_or(out).layout, dim);
        Self {
            out,
            index,
            x,
            n,
            stride: [out_stride, x_stride, place_stride],
            walk: Walk::new(&[&outs, &xs, &places]),
        }
    }

    fn run<C: Acc, F: Running<C>>(&self) {
        let walk = &self.walk;
        let tiled = walk.run >= 8 && walk.stride[1] < self.stride[1];
        let unit = if tiled { 64 } else { 1 };
        threads::ranges(walk.len(), unit, self.n as f64 + 5.0, |range| {
            if tiled {
                walk.pieces_in(range, TILE, |[o, x, p, _], m| {
                    self.tile::<C, F>([o, x, p], m)
                });
            } else {
                let mut room = Room {
                    x: [C::ZERO; BLOCK],
                    y: [C::ZERO; BLOCK],
                    places: [0; BLOCK],
                };
                if self.follow() {
                    let most = BLOCK / self.n;
                    walk.pieces_in(range, most, |[o, x, p, _], m| {
                        self.lanes::<C, F>([o, x, p], m, &mut room)
                    });
                } else {
                    let each =
                        |[o, x, p, _]: [usize; MOST]| self.lane::<C, F>([o, x, p], &mut room);
                    walk.elements_in(range, each);
                }
            }
        });
    }

    /// Whether lanes are short, and follow one another without gaps.
    fn follow(&self) -> bool {
        let dense = |v: usize| self.stride[v] == 1 && self.walk.stride[v] == self.n;
        (1..=BLOCK / 4).contains(&self.n) && (0..3).all(dense)
    }

    /// Scans `m` lanes that follow one another, the first of which starts at `at`.
    fn lanes<C: Acc, F: Running<C>>(&self, at: [usize; 3], m: usize, room: &mut Room<C>) {
        let m = m * self.n;
        // SAFETY: NOTE [Views in bounds], NOTE [Aliasing].
        unsafe {
            let x = read(&self.x, at[1], 1, m, &mut room.x);
            write(&self.out, at[0], 1, m, &mut room.y, |y| {
                along_each::<C, F>(x, y, self.n);
                if let Some(index) = &self.index {
                    write(index, at[2], 1, m, &mut room.places, |places| {
                        places_along_each(x, y, places, self.n)
                    });
                }
            });
        }
    }

    /// Scans the lane that starts at `at`.
    fn lane<C: Acc, F: Running<C>>(&self, at: [usize; 3], room: &mut Room<C>) {
        let (mut carry, mut place) = (F::NEUTRAL, 0);
        for done in (0..self.n).step_by(BLOCK) {
            let m = BLOCK.min(self.n - done);
            let at: [usize; 3] = std::array::from_fn(|v| at[v] + done * self.stride[v]);
            // SAFETY: NOTE [Views in bounds], NOTE [Aliasing].
            unsafe {
                let x = read(&self.x, at[1], self.stride[1], m, &mut room.x);
                write(&self.out, at[0], self.stride[0], m, &mut room.y, |y| {
                    carry = along::<C, F>(x, y, carry);
                    if let Some(index) = &self.index {
                        let room = &mut room.places;
                        write(index, at[2], self.stride[2], m, room, |places| {
                            place = places_along(x, y, places, done as i64, place);
                        });
                    }
                });
            }
        }
    }

    /// Scans `m` neighbouring lanes together, the first of which starts at `at`.
    fn tile<C: Acc, F: Running<C>>(&self, at: [usize; 3], m: usize) {
        let size = if F::EXACT { 1 } else { F::GROUP };
        let mut x = [C::ZERO; TILE];
        let mut y = [C::ZERO; TILE];
        let mut group = [F::NEUTRAL; TILE];
        let mut carry = [F::NEUTRAL; TILE];
        let mut places = [0i64; TILE];
        let (group, carry, places) = (&mut group[..m], &mut carry[..m], &mut places[..m]);
        let near = &self.walk.stride;
        for i in 0..self.n {
            let at: [usize; 3] = std::array::from_fn(|v| at[v] + i * self.stride[v]);
            // SAFETY: NOTE [Views in bounds], NOTE [Aliasing].
            let x = unsafe { read(&self.x, at[1], near[1], m, &mut x) };
            if size == 1 {
                across::<C, F>(carry, x);
                // SAFETY: NOTE [Views in bounds]; the buffer holds `m`.
                unsafe { store(&self.out, at[0], near[0], m, carry.as_ptr()) };
                if let Some(index) = &self.index {
                    places_across(x, carry, places, i as i64);
                    // SAFETY: as above.
                    unsafe { store(index, at[2], near[2], m, places.as_ptr()) };
                }
            } else {
                if i % size == 0 {
                    group.copy_from_slice(x);
                } else {
                    across::<C, F>(group, x);
                }
                // SAFETY: NOTE [Views in bounds], NOTE [Aliasing].
                unsafe {
                    write(&self.out, at[0], near[0], m, &mut y, |y| {
                        y.copy_from_slice(carry);
                        across::<C, F>(y, group);
                        if i % size == size - 1 {
                            carry.copy_from_slice(y);
                        }
                    });
                }
            }
        }
    }
}

/// `n` elements, cast: where they lie if they may be read there, else in `buffer`, which has room.
///
/// # Safety
/// The elements lie within the view's storage, and nothing writes there while the result lives.
unsafe fn read<'a, C: Acc>(
    v: &View,
    start: usize,
    stride: usize,
    n: usize,
    buffer: &'a mut [C],
) -> &'a [C] {
    if v.dtype == C::DTYPE && stride == 1 {
        // SAFETY: the caller's promise; the type is the view's.
        return unsafe { std::slice::from_raw_parts(address::<C>(v, start), n) };
    }
    let buffer = &mut buffer[..n];
    // SAFETY: the caller's promise.
    unsafe { load(v, start, stride, n, buffer.as_mut_ptr()) };
    buffer
}

/// Calls `f` with room for `n` elements, where they lie if they may be written there, else in
/// `buffer`, and stores what it writes.
///
/// # Safety
/// The elements lie within the view's storage, and nothing else refers to them.
unsafe fn write<C: Acc>(
    v: &View,
    start: usize,
    stride: usize,
    n: usize,
    buffer: &mut [C],
    f: impl FnOnce(&mut [C]),
) {
    if v.dtype == C::DTYPE && stride == 1 {
        // SAFETY: the caller's promise; the type is the view's, and has no invalid bit patterns.
        return f(unsafe { std::slice::from_raw_parts_mut(address::<C>(v, start), n) });
    }
    let buffer = &mut buffer[..n];
    f(buffer);
    // SAFETY: the caller's promise.
    unsafe { store(v, start, stride, n, buffer.as_ptr()) };
}

versions! {
    /// Scans `x` into `y`, which is as long, from what came before; what the next block goes on from.
    fn along<C: Acc, F: Running<C>>(x: &[C], y: &mut [C], carry: C) -> C = along_body;
    /// Scans lanes of `n` elements that follow one another.
    fn along_each<C: Acc, F: Running<C>>(x: &[C], y: &mut [C], n: usize) = along_each_body;
    /// Merges `x` into `a`, which is as long.
    fn across<C: Acc, F: Running<C>>(a: &mut [C], x: &[C]) = across_body;
    /// The positions of the running extrema `y` of `x` in a lane, where the block starts at `first`
    /// and the last extremum before it lies at `place`; where the last extremum lies.
    fn places_along<C: Acc>(x: &[C], y: &[C], places: &mut [i64], first: i64, place: i64) -> i64
        = places_along_body;
    /// The positions of the running extrema in lanes of `n` elements that follow one another.
    fn places_along_each<C: Acc>(x: &[C], y: &[C], places: &mut [i64], n: usize)
        = places_along_each_body;
    /// Sets `places` to `i` where the element `x` is the running extremum `y`.
    fn places_across<C: Acc>(x: &[C], y: &[C], places: &mut [i64], i: i64) = places_across_body;
}

#[inline(always)]
fn along_body<C: Acc, F: Running<C>>(x: &[C], y: &mut [C], carry: C) -> C {
    match F::GROUP {
        1 => by_groups::<C, F, 1>(x, y, carry),
        _ => by_groups::<C, F, GROUP>(x, y, carry),
    }
}

#[inline(always)]
fn by_groups<C: Acc, F: Running<C>, const N: usize>(x: &[C], y: &mut [C], mut carry: C) -> C {
    // Whole groups on their own, so that their loop is unrolled.
    let (whole, rest) = x.as_chunks::<N>();
    let (outs, out_rest) = y[..x.len()].as_chunks_mut::<N>();
    for (x, y) in whole.iter().zip(outs) {
        carry = group::<C, F>(x, y, carry);
    }
    if !rest.is_empty() {
        carry = group::<C, F>(rest, out_rest, carry);
    }
    carry
}

/// Scans one group.
#[inline(always)]
fn group<C: Acc, F: Running<C>>(x: &[C], y: &mut [C], carry: C) -> C {
    // Far from the start, few elements are extreme.
    if !x.iter().fold(false, |any, &x| any | F::changes(carry, x)) {
        y.fill(carry);
        return carry;
    }
    let mut group = x[0];
    y[0] = F::merge(carry, group);
    for i in 1..x.len() {
        group = F::merge(group, x[i]);
        y[i] = F::merge(carry, group);
    }
    y[x.len() - 1]
}

#[inline(always)]
fn along_each_body<C: Acc, F: Running<C>>(x: &[C], y: &mut [C], n: usize) {
    for (x, y) in x.chunks_exact(n).zip(y.chunks_exact_mut(n)) {
        along_body::<C, F>(x, y, F::NEUTRAL);
    }
}

#[inline(always)]
fn across_body<C: Acc, F: Running<C>>(a: &mut [C], x: &[C]) {
    for (a, &x) in a.iter_mut().zip(x) {
        *a = F::merge(*a, x);
    }
}

/// Whether a running extremum is the element itself.
#[inline(always)]
fn is_here<C: Acc>(x: C, y: C) -> bool {
    (x == y) | x.is_nan()
}

#[inline(always)]
fn places_along_body<C: Acc>(
    x: &[C],
    y: &[C],
    places: &mut [i64],
    first: i64,
    mut place: i64,
) -> i64 {
    let (y, places) = (&y[..x.len()], &mut places[..x.len()]);
    // As in `along_body`.
    let whole = x.len() - x.len() % GROUP;
    let mut start = 0;
    while start < whole {
        let (x, y) = (&x[start..][..GROUP], &y[start..][..GROUP]);
        place = group_places(
            x,
            y,
            &mut places[start..][..GROUP],
            first + start as i64,
            place,
        );
        start += GROUP;
    }
    if whole < x.len() {
        let places = &mut places[whole..];
        place = group_places(
            &x[whole..],
            &y[whole..],
            places,
            first + whole as i64,
            place,
        );
    }
    place
}

/// The positions of one group.
#[inline(always)]
fn group_places<C: Acc>(x: &[C], y: &[C], places: &mut [i64], first: i64, mut place: i64) -> i64 {
    let each = || x.iter().zip(y).map(|(&x, &y)| is_here(x, y));
    if !each().fold(false, |any, here| any | here) {
        places.fill(place);
        return place;
    }
    for (i, (p, here)) in (first..).zip(places.iter_mut().zip(each())) {
        place = if here { i } else { place };
        *p = place;
    }
    place
}

#[inline(always)]
fn places_along_each_body<C: Acc>(x: &[C], y: &[C], places: &mut [i64], n: usize) {
    let lanes = x.chunks_exact(n).zip(y.chunks_exact(n));
    for (places, (x, y)) in places.chunks_exact_mut(n).zip(lanes) {
        places_along_body(x, y, places, 0, 0);
    }
}

#[inline(always)]
fn places_across_body<C: Acc>(x: &[C], y: &[C], places: &mut [i64], i: i64) {
    for (p, (&x, &y)) in places.iter_mut().zip(x.iter().zip(y)) {
        *p = if is_here(x, y) { i } else { *p };
    }
}
