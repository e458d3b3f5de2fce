//! Sorting, searching sorted rows, and counting.

use super::super::View;
use super::index::{Flag, Number, size_and_stride, with_number};
use super::threads::{self, Shared};
use super::walk::{Walk, address, lane};
use crate::base::{DType, Layout};
use half::{bf16, f16};

mod order;
mod select;
#[cfg(test)]
mod tests;

use order::{Room, order};
use select::select;

/// Up to one in so many elements are selected, rather than all sorted.
const FEW: usize = 8;

/// Elements that map to integers of the same order.
trait Key: Number + Send + Sync {
    /// Bits that the keys occupy.
    const BITS: u32;
    /// A number below `2^BITS`: equal for equal elements (`-0` and `0` are), and greatest for NaN.
    fn key(self) -> u64;
}

impl Key for Flag {
    const BITS: u32 = 1;
    #[inline(always)]
    fn key(self) -> u64 {
        self.get().into()
    }
}

impl Key for u8 {
    const BITS: u32 = 8;
    #[inline(always)]
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
pub(super) fn sort(values: View, index: View, x: View, dim: usize, descending: bool, first: usize) {
    if values.numel() == 0 {
        return;
    }
    with_number!(x.dtype, T => sort_lanes::<T>(values, index, x, dim, descending, first));
}

fn sort_lanes<T: Key>(
    values: View,
    index: View,
    x: View,
    dim: usize,
    descending: bool,
    first: usize,
) {
    let (n, sx) = size_and_stride(x.layout, dim);
    let (k, sv) = size_and_stride(values.layout, dim);
    let (_, si) = size_and_stride(index.layout, dim);
    let lanes = [values, index, x].map(|v| without(v.layout, dim));
    let walk = Walk::new(&[&lanes[0], &lanes[1], &lanes[2]]);
    let flip = flip::<T>(descending);
    let ranks = first..first + k;
    let few = k * FEW <= n;
    let cost = match (few, first) {
        (true, 0) => 2.0,
        (true, _) => 5.0,
        (false, _) => 10.0,
    };
    threads::ranges(walk.len(), 1, n as f64 * cost, |range| {
        let mut copy = Vec::new();
        let mut room = Room::default();
        walk.elements_in(range, |[v0, i0, x0, _]| {
            let lane = lane(&x, x0, sx, n, &mut copy);
            let values = Shared(address::<T>(&values, v0));
            let index = Shared(address::<i64>(&index, i0));
            let put = |rank: usize, from: usize| {
                // SAFETY: NOTE [Views in bounds]: both have `k` elements along the dimension.
                unsafe {
                    *values.at((rank - first) * sv) = lane[from];
                    *index.at((rank - first) * si) = from as i64;
                }
            };
            if few {
                select(lane, ranks.clone(), flip, put);
            } else {
                order(lane, ranks.clone(), flip, &mut room, put);
            }
        });
    });
}

/// What the keys are combined with, by an exclusive or, to sort in this direction.
fn flip<T: Key>(descending: bool) -> u64 {
    match descending {
        true => u64::MAX >> (64 - T::BITS),
        false => 0,
    }
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
    let cost = 5.0 * f64::from(usize::BITS - n.leading_zeros()) + 3.0;
    threads::ranges(walk.len(), 64, cost, |range| {
        with_number!(v.dtype, T => walk.pieces_in(range, usize::MAX, |at, m| {
            let xs = address::<T>(&v, at[1]);
            for i in 0..m {
                let row = address::<T>(&boundaries, at[2] + i * sb);
                // SAFETY: NOTE [Views in bounds]; `search` looks at places below `n`.
                let found = unsafe {
                    let x = *xs.add(i * sv);
                    let boundary = |j: usize| *row.add(j * step);
                    if right {
                        search(n, |j| boundary(j).greater(x))
                    } else {
                        search(n, |j| boundary(j).greater_equal(x))
                    }
                };
                let at = at[0] + i * so;
                // SAFETY: NOTE [Views in bounds].
                unsafe {
                    match out.dtype {
                        DType::I32 => *address::<i32>(&out, at) = found as i32,
                        _ => *address::<i64>(&out, at) = found as i64,
                    }
                }
            }
        }));
    });
}

/// How many of `n` sorted boundaries are to the left, where `is_behind` tells of each whether it is
/// not. As PyTorch: comparisons with NaN fail, and move to the right.
#[inline(always)]
fn search(n: usize, is_behind: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, n);
    while low < high {
        let mid = low + (high - low) / 2;
        // Either is as likely: no branch, which would be foretold wrongly half the time.
        let (left, right) = ((low, mid), (mid + 1, high));
        (low, high) = std::hint::select_unpredictable(is_behind(mid), left, right);
    }
    low
}

/// See [`super::super::Backend::bincount`].
pub(super) fn bincount(out: View, x: View, weights: Option<View>) {
    let Some(w) = weights else {
        let walk = Walk::new(&[x.layout]);
        with_number!(out.dtype, T => {
            let one = T::from_f64(1.0);
            walk.for_each(|at| add(&out, &x, walk.run, at[0], walk.stride[0], |_| one));
        });
        return;
    };
    let order = Layout::contiguous(x.layout.shape.clone());
    let walk = Walk::new(&[&order, x.layout, w.layout]);
    let [_, sx, sw, _] = walk.stride;
    walk.for_each(|at| {
        with_number!(w.dtype, W => {
            let first = address::<W>(&w, at[2]);
            // SAFETY: NOTE [Views in bounds].
            let weight = |i: usize| unsafe { *first.add(i * sw) }.to_f64();
            match out.dtype {
                DType::F32 => add(&out, &x, walk.run, at[1], sx, |i| weight(i) as f32),
                DType::F64 => add(&out, &x, walk.run, at[1], sx, weight),
                dtype => unreachable!("weights are summed in floats, not in {dtype}"),
            }
        });
    });
}

/// Adds `weight(i)` at the place of the `i`-th of `n` elements of `x`.
fn add<T: Number>(
    out: &View,
    x: &View,
    n: usize,
    start: usize,
    stride: usize,
    weight: impl Fn(usize) -> T,
) {
    let (size, step) = size_and_stride(out.layout, 0);
    let to = address::<T>(out, out.layout.offset);
    let from = address::<i64>(x, start);
    for i in 0..n {
        // SAFETY: NOTE [Views in bounds].
        let k = unsafe { *from.add(i * stride) } as u64;
        debug_assert!(k < size as u64);
        // Places that do not exist are not counted; the caller has made room for all.
        if k < size as u64 {
            // SAFETY: place `k` is there.
            unsafe {
                let to = to.add(k as usize * step);
                *to = (*to).add(weight(i));
            }
        }
    }
}
