//! Sorting, searching sorted rows, and counting.

use super::super::View;
use super::index::{Flag, Number, size_and_stride, with_number};
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
    if x.numel() == 0 {
        return;
    }
    with_number!(x.dtype, T => sort_lanes::<T>(values, index, x, dim, descending));
}

fn sort_lanes<T: Key>(values: View, index: View, x: View, dim: usize, descending: bool) {
    let (n, sx) = size_and_stride(x.layout, dim);
    let (_, sv) = size_and_stride(values.layout, dim);
    let (_, si) = size_and_stride(index.layout, dim);
    let lanes = [values, index, x].map(|v| without(v.layout, dim));
    let walk = Walk::new(&[&lanes[0], &lanes[1], &lanes[2]]);
    // A key and a position in one integer: sorting those is stable, whatever the algorithm.
    let flip = if descending {
        u64::MAX >> (64 - T::BITS)
    } else {
        0
    };
    let small = T::BITS <= 32 && n as u64 <= 1 << 32;
    let mut lane: Vec<T> = Vec::with_capacity(n);
    let mut narrow: Vec<u64> = Vec::with_capacity(if small { n } else { 0 });
    let mut wide: Vec<u128> = Vec::with_capacity(if small { 0 } else { n });
    walk.for_each(|at| {
        for r in 0..walk.run {
            let [v0, i0, x0, _] = std::array::from_fn(|j| at[j] + r * walk.stride[j]);
            lane.clear();
            // SAFETY: NOTE [Views in bounds].
            lane.extend((0..n).map(|i| unsafe { *address::<T>(&x, x0 + i * sx) }));
            let keys = lane.iter().map(|x| x.key() ^ flip);
            let put = |i: usize, from: usize| {
                // SAFETY: NOTE [Views in bounds]; `values` and `index` have the shape of `x`.
                unsafe {
                    *address::<T>(&values, v0 + i * sv) = lane[from];
                    *address::<i64>(&index, i0 + i * si) = from as i64;
                }
            };
            if small {
                narrow.clear();
                narrow.extend(keys.zip(0u64..).map(|(k, i)| k << 32 | i));
                narrow.sort_unstable();
                narrow
                    .iter()
                    .enumerate()
                    .for_each(|(i, k)| put(i, *k as u32 as usize));
            } else {
                wide.clear();
                wide.extend(
                    keys.zip(0u64..)
                        .map(|(k, i)| u128::from(k) << 64 | u128::from(i)),
                );
                wide.sort_unstable();
                wide.iter()
                    .enumerate()
                    .for_each(|(i, k)| put(i, *k as u64 as usize));
            }
        }
    });
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
