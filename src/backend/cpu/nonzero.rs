//! Where elements are not zero.
//!
//! Elements are looked at in words of 64, whose bits tell which of them count: what is done for each
//! that does costs nothing where there is none.

use super::super::View;
use super::index::{Number, with_number};
use super::isa::versions;
use super::threads::{self, Shared};
use super::walk::{Walk, address, lane};
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
        with_number!(x.dtype, T => {
            let mut copy = Vec::<T>::new();
            walk.pieces_in(range, usize::MAX, |at, n| {
                count += count_true(lane(x, at[0], walk.stride[0], n, &mut copy));
            });
        });
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
        let mut first = range.start;
        with_number!(x.dtype, T => {
            let mut copy = Vec::<T>::new();
            walk.pieces_in(range, usize::MAX, |at, n| {
                let run = lane(&x, at[0], walk.stride[0], n, &mut copy);
                // SAFETY: within the output, and no other piece writes there.
                let to = unsafe { to.slice(next..end) };
                next += positions(run, first, to);
                first += n;
            });
        });
    });
}

versions! {
    /// How many elements are not zero.
    fn count_true<T: Number>(x: &[T]) -> usize = count_true_body;
    /// Writes the positions of the elements that are not zero, of which the first one has position
    /// `first`, as long as there is room; how many.
    fn positions<T: Number>(x: &[T], first: usize, to: &mut [i64]) -> usize = positions_body;
}

/// Which of up to 64 elements are not zero: the first one's bit is the lowest.
#[inline(always)]
fn bits<T: Number>(x: &[T]) -> u64 {
    let mut ones = [0u8; 64];
    for (one, x) in ones.iter_mut().zip(x) {
        *one = x.is_true().into();
    }
    let eights = ones.as_chunks::<8>().0;
    eights.iter().rev().fold(0, |bits, &eight| {
        // Moves the ones of eight bytes next to each other, above all else.
        let moved = u64::from_le_bytes(eight).wrapping_mul(0x0102_0408_1020_4080);
        bits << 8 | moved >> 56
    })
}

#[inline(always)]
fn count_true_body<T: Number>(x: &[T]) -> usize {
    let (words, rest) = x.as_chunks::<64>();
    let count = |bits: u64| bits.count_ones() as usize;
    words.iter().map(|word| count(bits(word))).sum::<usize>() + count(bits(rest))
}

#[inline(always)]
fn positions_body<T: Number>(x: &[T], first: usize, to: &mut [i64]) -> usize {
    let (words, rest) = x.as_chunks::<64>();
    let mut written = 0;
    let mut write = |i: usize, mut bits: u64| {
        while bits != 0 && written < to.len() {
            to[written] = (first + 64 * i) as i64 + i64::from(bits.trailing_zeros());
            written += 1;
            bits &= bits - 1;
        }
    };
    for (i, word) in words.iter().enumerate() {
        write(i, bits(word));
    }
    write(words.len(), bits(rest));
    written
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
