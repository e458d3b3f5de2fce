//! Sorting, searching sorted rows, and counting.

use super::super::View;
use super::index::{Flag, Number, size_and_stride, with_number};
use super::isa::versions;
use super::scratch::Scratch;
use super::threads;
use super::walk::{Walk, address};
use crate::base::{DType, Layout};
use half::{bf16, f16};

#[cfg(test)]
mod tests;

/// Elements that map to integers of the same order.
trait Key: Number {
    /// Bits that the keys occupy.
    const BITS: u32;
    /// A number below `2^BITS`: equal for equal elements (`-0` and `0` are), and greatest for NaN.
    fn key(self) -> u64;
}

impl Key for Flag {
    const BITS: u32 = 1;
    fn key(self) -> u64 {
        self.get().into()
    }
}

impl Key for u8 {
    const BITS: u32 = 8;
    fn key(self) -> u64 {
        self.into()
    }
}

macro_rules! signed {
    ($($t:ty, $u:ty;)*) => { $(
        impl Key for $t {
            const BITS: u32 = <$t>::BITS;
            #[inline(always)]
            fn key(self) -> u64 {
                // Flipping the sign bit moves the negative numbers below the others.
                (self ^ <$t>::MIN) as $u as u64
            }
        }
    )* };
}
signed! { i8, u8; i16, u16; i32, u32; i64, u64; }

macro_rules! floating {
    ($($t:ty, $u:ty;)*) => { $(
        impl Key for $t {
            const BITS: u32 = <$u>::BITS;
            #[inline(always)]
            fn key(self) -> u64 {
                const SIGN: $u = 1 << (<$u>::BITS - 1);
                if self.is_nan() {
                    return <$u>::MAX as u64;
                }
                let bits = self.to_bits();
                // Below the sign, bits grow with the magnitude: negative numbers are reversed, and
                // -0 (only the sign bit set) becomes 0.
                (if bits > SIGN { !bits } else { bits | SIGN }) as u64
            }
        }
    )* };
}
floating! { f16, u16; bf16, u16; f32, u32; f64, u64; }

/// `layout` without the dimension `dim`: where its lanes start.
fn without(layout: &Layout, dim: usize) -> Layout {
    let mut rest = layout.clone();
    if rest.ndim() > 0 {
        rest.shape.remove(dim);
        rest.strides.remove(dim);
    }
    rest
}

/// See [`super::super::Backend::sort`].
pub(super) fn sort(values: View, index: View, x: View, dim: usize, descending: bool) {
    if values.numel() == 0 {
        return;
    }
    with_number!(x.dtype, T => sort_lanes::<T>(values, index, x, dim, descending));
}

fn sort_lanes<T: Key>(values: View, index: View, x: View, dim: usize, descending: bool) {
    let (n, sx) = size_and_stride(x.layout, dim);
    let (k, sv) = size_and_stride(values.layout, dim);
    let (_, si) = size_and_stride(index.layout, dim);
    let lanes = [values, index, x].map(|v| without(v.layout, dim));
    let walk = Walk::new(&[&lanes[0], &lanes[1], &lanes[2]]);
    let flip = if descending {
        u64::MAX >> (64 - T::BITS)
    } else {
        0
    };
    let cost = if k * FEW <= n { 2.0 } else { 15.0 };
    threads::ranges(walk.len(), 1, n as f64 * cost, |range| {
        let mut lane: Vec<T> = Vec::new();
        walk.elements_in(range, |[v0, i0, x0, _]| {
            let first = address::<T>(&x, x0);
            let lane = if sx == 1 {
                // SAFETY: NOTE [Views in bounds].
                unsafe { std::slice::from_raw_parts(first, n) }
            } else {
                lane.clear();
                // SAFETY: NOTE [Views in bounds].
                lane.extend((0..n).map(|i| unsafe { *first.add(i * sx) }));
                &lane[..]
            };
            let mut next = 0;
            in_order(lane, k, flip, |from| {
                // SAFETY: NOTE [Views in bounds]: both have `k` elements along the dimension.
                unsafe {
                    *address::<T>(&values, v0 + next * sv) = lane[from];
                    *address::<i64>(&index, i0 + next * si) = from as i64;
                }
                next += 1;
            });
        });
    });
}

/// A key and a position in one integer, which makes any algorithm stable.
trait Packed: Ord + Copy {
    fn new(key: u64, position: usize) -> Self;
    fn key(self) -> u64;
    fn position(self) -> usize;
}

/// Keys and positions of 32 bits.
impl Packed for u64 {
    fn new(key: u64, position: usize) -> Self {
        key << 32 | position as u64
    }
    fn key(self) -> u64 {
        self >> 32
    }
    fn position(self) -> usize {
        self as u32 as usize
    }
}

impl Packed for u128 {
    fn new(key: u64, position: usize) -> Self {
        u128::from(key) << 64 | position as u128
    }
    fn key(self) -> u64 {
        (self >> 64) as u64
    }
    fn position(self) -> usize {
        self as u64 as usize
    }
}

/// Calls `put` with the positions of the first `k` elements, in the order of their keys with `flip`
/// applied.
fn in_order<T: Key>(lane: &[T], k: usize, flip: u64, mut put: impl FnMut(usize)) {
    let n = lane.len();
    let keys = || lane.iter().map(|x| x.key() ^ flip);
    let small = n <= 1 << 32;
    if k * FEW <= n {
        if T::BITS <= 32 && small {
            let found = least::<T, u64>(lane, k, flip);
            found.iter().for_each(|p| put(p.position()));
        } else {
            let found = least::<T, u128>(lane, k, flip);
            found.iter().for_each(|p| put(p.position()));
        }
        return;
    }
    // What all keys have in common is left out.
    let low = if T::BITS <= 32 {
        0
    } else {
        keys().min().unwrap_or(0)
    };
    if small && (T::BITS <= 32 || keys().max().unwrap_or(0) - low < 1 << 32) {
        let packed = keys().enumerate().map(|(i, key)| u64::new(key - low, i));
        let mut packed = Scratch::collect(n, packed);
        sort_packed(&mut packed);
        packed[..k].iter().for_each(|p| put(p.position()));
    } else {
        let packed = keys().enumerate().map(|(i, key)| u128::new(key, i));
        let mut packed = Scratch::collect(n, packed);
        packed.sort_unstable();
        packed[..k].iter().for_each(|p| put(p.position()));
    }
}

/// From so many elements on, a sort by digits is quicker than one by comparisons.
const MANY: usize = 1 << 11;

/// Bits of a digit.
const DIGIT: u32 = 11;

/// Sorts packed keys whose positions ascend: by the digits of the keys, the lowest first. Digits that
/// all have in common cost nothing.
fn sort_packed(packed: &mut Scratch<u64>) {
    if packed.len() < MANY {
        return packed.sort_unstable();
    }
    let digit = |x: u64, pass: u32| (x >> (32 + pass * DIGIT)) as usize & ((1 << DIGIT) - 1);
    let mut counts = vec![[0u32; 1 << DIGIT]; 3];
    for &x in packed.iter() {
        for (pass, counts) in (0..).zip(&mut counts) {
            counts[digit(x, pass)] += 1;
        }
    }
    let mut other = Scratch::filled(packed.len(), 0);
    for (pass, counts) in (0..).zip(&mut counts) {
        if counts[digit(packed[0], pass)] as usize == packed.len() {
            continue;
        }
        let mut start = 0;
        for count in counts.iter_mut() {
            start += std::mem::replace(count, start);
        }
        for &x in packed.iter() {
            let place = &mut counts[digit(x, pass)];
            other[*place as usize] = x;
            *place += 1;
        }
        std::mem::swap(packed, &mut other);
    }
}

/// Up to one in so many elements are selected, rather than all sorted.
const FEW: usize = 8;

/// Elements whose keys are compared with the threshold together.
const BLOCK: usize = 64;

/// The `k` least of the keys, in order.
///
/// Candidates are collected until there are more than twice as many; then the worst of the `k` best
/// is the threshold that later ones must beat. Equal keys further on come later in order.
fn least<T: Key, P: Packed>(lane: &[T], k: usize, flip: u64) -> Vec<P> {
    let room = 2 * k + BLOCK;
    let mut found: Vec<P> = Vec::with_capacity(room + BLOCK);
    let mut threshold = None;
    let mut keys = [0; BLOCK];
    for (b, block) in lane.chunks(BLOCK).enumerate() {
        let keys = &mut keys[..block.len()];
        if !any_below(block, flip, threshold, keys) {
            continue;
        }
        for (i, &key) in keys.iter().enumerate() {
            if threshold.is_none_or(|worst| key < worst) {
                found.push(P::new(key, b * BLOCK + i));
            }
        }
        if found.len() >= room {
            let (_, worst, _) = found.select_nth_unstable(k - 1);
            threshold = Some(worst.key());
            found.truncate(k);
        }
    }
    found.sort_unstable();
    found.truncate(k);
    found
}

versions! {
    /// Writes the keys of a block, and tells whether one is below the threshold, if there is one.
    fn any_below<T: Key>(block: &[T], flip: u64, threshold: Option<u64>, keys: &mut [u64]) -> bool
        = any_below_body;
}

#[inline(always)]
fn any_below_body<T: Key>(
    block: &[T],
    flip: u64,
    threshold: Option<u64>,
    keys: &mut [u64],
) -> bool {
    let worst = threshold.unwrap_or(u64::MAX);
    let mut any = threshold.is_none();
    for (to, x) in keys.iter_mut().zip(block) {
        *to = x.key() ^ flip;
        any |= *to < worst;
    }
    any
}

/// See [`super::super::Backend::searchsorted`].
pub(super) fn searchsorted(out: View, boundaries: View, v: View, right: bool) {
    assert_eq!(boundaries.dtype, v.dtype);
    let Some(last) = boundaries.layout.ndim().checked_sub(1) else {
        unreachable!("boundaries have a dimension: checked by the caller")
    };
    let (n, step) = (
        boundaries.layout.shape[last],
        boundaries.layout.strides[last],
    );
    // Where the row of each element of `v` starts.
    let starts = Layout {
        shape: v.layout.shape.clone(),
        strides: (0..v.layout.ndim())
            .map(|d| {
                if d < last {
                    boundaries.layout.strides[d]
                } else {
                    0
                }
            })
            .collect(),
        offset: boundaries.layout.offset,
    };
    let walk = Walk::new(&[out.layout, v.layout, &starts]);
    let [so, sv, sb, _] = walk.stride;
    with_number!(v.dtype, T => walk.for_each(|at| {
        for i in 0..walk.run {
            // SAFETY: NOTE [Views in bounds].
            let x = unsafe { *address::<T>(&v, at[1] + i * sv) };
            let row = at[2] + i * sb;
            let (mut low, mut high) = (0, n);
            // As PyTorch: a comparison with NaN fails and moves to the right.
            while low < high {
                let mid = low + (high - low) / 2;
                // SAFETY: NOTE [Views in bounds]; `mid < n`.
                let b = unsafe { *address::<T>(&boundaries, row + mid * step) };
                let is_left = if right {
                    b.greater(x)
                } else {
                    b.greater_equal(x)
                };
                if is_left {
                    high = mid;
                } else {
                    low = mid + 1;
                }
            }
            let at = at[0] + i * so;
            // SAFETY: NOTE [Views in bounds].
            unsafe {
                match out.dtype {
                    DType::I32 => *address::<i32>(&out, at) = low as i32,
                    _ => *address::<i64>(&out, at) = low as i64,
                }
            }
        }
    }));
}

/// See [`super::super::Backend::bincount`].
pub(super) fn bincount(out: View, x: View, weights: Option<View>) {
    let (size, step) = size_and_stride(out.layout, 0);
    // Places that do not exist are not counted; the caller has made room for all.
    let place = |k: i64| {
        debug_assert!((0..size as i64).contains(&k));
        ((k as u64) < size as u64).then(|| out.layout.offset + k as usize * step)
    };
    let one = |_: usize| 1.0;
    let Some(w) = weights else {
        let walk = Walk::new(&[x.layout]);
        with_number!(out.dtype, T => walk.for_each(|at| add::<T>(
            &out, &x, &place, walk.run, at[0], walk.stride[0], one,
        )));
        return;
    };
    let order = Layout::contiguous(x.layout.shape.clone());
    let walk = Walk::new(&[&order, x.layout, w.layout]);
    walk.for_each(|at| {
        let mut run = Vec::with_capacity(walk.run);
        with_number!(w.dtype, W => run.extend((0..walk.run).map(|i| {
            // SAFETY: NOTE [Views in bounds].
            unsafe { *address::<W>(&w, at[2] + i * walk.stride[2]) }.to_f64()
        })));
        with_number!(out.dtype, T => add::<T>(
            &out, &x, &place, walk.run, at[1], walk.stride[1], |i| run[i],
        ));
    });
}

/// Adds `weight(i)` at the place of the `i`-th of `n` elements of `x`.
fn add<T: Number>(
    out: &View,
    x: &View,
    place: &impl Fn(i64) -> Option<usize>,
    n: usize,
    start: usize,
    stride: usize,
    weight: impl Fn(usize) -> f64,
) {
    for i in 0..n {
        // SAFETY: NOTE [Views in bounds].
        let k = unsafe { *address::<i64>(x, start + i * stride) };
        if let Some(at) = place(k) {
            let to = address::<T>(out, at);
            // SAFETY: `place` gives positions within `out`.
            unsafe { *to = (*to).add(T::from_f64(weight(i))) };
        }
    }
}
