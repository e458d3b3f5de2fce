//! Where elements are not zero.

use super::super::View;
use super::index::{Number, with_number};
use super::threads::{self, Shared};
use super::walk::{Walk, address};
use crate::base::Layout;

/// Elements that one thread looks at.
const PIECE: usize = 1 << 14;

/// A walk in row-major order, and how many pieces it has.
fn pieces(x: &View) -> (Walk, usize) {
    let walk = Walk::in_order(&[x.layout]);
    let n = walk.len().div_ceil(PIECE);
    (walk, n)
}

/// How many elements of each piece are not zero.
fn counts(x: &View) -> Vec<usize> {
    let (walk, n) = pieces(x);
    let mut counts = vec![0; n];
    let shared = Shared(counts.as_mut_ptr());
    threads::tasks(n, PIECE as f64 * 0.3, |i| {
        let range = i * PIECE..walk.len().min((i + 1) * PIECE);
        let mut count = 0;
        with_number!(x.dtype, T => walk.pieces_in(range, usize::MAX, |at, n| {
            let first = address::<T>(x, at[0]);
            if walk.stride[0] == 1 {
                // SAFETY: NOTE [Views in bounds].
                let run = unsafe { std::slice::from_raw_parts(first, n) };
                count += run.iter().filter(|x| x.is_true()).count();
            } else {
                // SAFETY: NOTE [Views in bounds].
                let is_true = |i: &usize| unsafe { *first.add(i * walk.stride[0]) }.is_true();
                count += (0..n).filter(is_true).count();
            }
        }));
        // SAFETY: every task has a place of its own.
        unsafe { *shared.at(i) = count };
    });
    counts
}

/// See [`super::super::Backend::count_nonzero`].
pub(super) fn count(x: View) -> usize {
    counts(&x).iter().sum()
}

/// See [`super::super::Backend::nonzero`]. Elements that change in the meantime do not make it write
/// elsewhere: a piece writes as many positions as it was found to have.
pub(super) fn nonzero(out: View, x: View) {
    debug_assert_eq!(
        *out.layout,
        Layout {
            offset: out.layout.offset,
            ..Layout::contiguous(out.layout.shape.clone())
        }
    );
    let counts = counts(&x);
    let mut starts = Vec::with_capacity(counts.len());
    let mut total = 0;
    for count in &counts {
        starts.push(total);
        total += count;
    }
    let room = out.numel();
    let to = Shared(address::<i64>(&out, out.layout.offset));
    let (walk, n) = pieces(&x);
    threads::tasks(n, PIECE as f64, |i| {
        let range = i * PIECE..walk.len().min((i + 1) * PIECE);
        let (mut next, end) = (starts[i], (starts[i] + counts[i]).min(room));
        let mut position = range.start as i64;
        with_number!(x.dtype, T => walk.pieces_in(range, usize::MAX, |at, n| {
            let first = address::<T>(&x, at[0]);
            for j in 0..n {
                if next == end {
                    return;
                }
                // Written always, kept if it counts: without a branch that depends on the data.
                // SAFETY: `next < end`, which is within the output; NOTE [Views in bounds].
                unsafe {
                    *to.at(next) = position;
                    next += usize::from((*first.add(j * walk.stride[0])).is_true());
                }
                position += 1;
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::super::testing::Array;
    use super::*;
    use crate::base::DType;

    const NAN: f64 = f64::NAN;

    fn positions(x: View) -> Vec<i64> {
        let n = count(x);
        let out = Array::ints(DType::I64, &[n], &vec![9; n]);
        nonzero(out.view(), x);
        out.integers()
    }

    #[test]
    fn finds_what_is_not_zero() {
        for dtype in DType::ALL {
            let x = Array::new(dtype, &[2, 3], &[0.0, 1.0, 0.0, 3.0, 0.0, 1.0]);
            assert_eq!(positions(x.view()), [1, 3, 5], "{dtype}");
            // [[0, 3], [1, 0], [0, 1]]
            assert_eq!(positions(x.transpose(0, 1).view()), [1, 2, 5], "{dtype}");
            assert_eq!(positions(x.scattered().view()), [1, 3, 5], "{dtype}");
        }
        for dtype in [DType::F16, DType::BF16, DType::F32, DType::F64] {
            let x = Array::new(dtype, &[3], &[-0.0, NAN, f64::NEG_INFINITY]);
            assert_eq!(positions(x.view()), [1, 2], "{dtype}");
        }
        assert_eq!(positions(Array::new(DType::F32, &[], &[2.0]).view()), [0]);
        assert!(positions(Array::new(DType::F32, &[], &[0.0]).view()).is_empty());
        assert!(positions(Array::new(DType::F32, &[0, 2], &[]).view()).is_empty());
        let one = Array::new(DType::F32, &[2, 1], &[1.0, 0.0]).expand(&[2, 3]);
        assert_eq!(positions(one.view()), [0, 1, 2]);
    }

    #[test]
    fn any_byte_but_zero_counts() {
        let x = Array::new(DType::Bool, &[3], &[0.0, 1.0, 0.0]);
        x.storage().write::<u8>(2, 6);
        assert_eq!(positions(x.view()), [1, 2]);
    }

    #[test]
    fn many_pieces() {
        let n = 3 * PIECE + 7;
        let values: Vec<f64> = (0..n).map(|i| f64::from(u8::from(i % 3 == 1))).collect();
        let x = Array::new(DType::F32, &[n], &values);
        let expected: Vec<i64> = (0..n as i64).filter(|i| i % 3 == 1).collect();
        assert_eq!(positions(x.view()), expected);
        assert_eq!(positions(x.scattered().view()), expected);
    }
}
