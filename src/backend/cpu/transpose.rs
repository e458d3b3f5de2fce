//! Copies of matrices the other way round.

use super::super::View;
use super::isa::versions;
use super::threads::{self, Shared};
use super::walk::{Axes, Walk, address};
use crate::base::Layout;

/// Elements as they are moved: only their size matters.
pub(super) trait Word: Copy + Default + Send + Sync + 'static {
    /// How many fill a cache line.
    const LINE: usize = 64 / size_of::<Self>();
}
impl Word for u8 {}
impl Word for u16 {}
impl Word for u32 {}
impl Word for u64 {}
impl Word for f32 {}
impl Word for f64 {}
impl Word for i64 {}

/// `to[j * to_stride + i] = from[i * from_stride + j]` for `i < rows` and `j < columns`.
///
/// # Safety
/// `from` may be read and `to` written at all these places, and they share nothing.
pub(super) unsafe fn transpose<T: Word>(
    [rows, columns]: [usize; 2],
    from: *const T,
    from_stride: usize,
    to: *mut T,
    to_stride: usize,
) {
    // About so many nanoseconds a row of `to`.
    let cost = rows as f64 * 0.1;
    let whole = Matrices {
        sizes: [rows, columns],
        from: Shared(from.cast_mut()),
        from_stride,
        to: Shared(to),
        to_stride,
    };
    threads::ranges(columns, T::LINE, cost, |range| {
        turn(Matrices {
            sizes: [rows, range.len()],
            from: Shared(whole.from.at(range.start)),
            to: Shared(whole.to.at(range.start * to_stride)),
            ..whole
        });
    });
}

/// Two matrices in memory that fit the promise of [`transpose`].
#[derive(Clone, Copy)]
struct Matrices<T> {
    /// Rows and columns of the first.
    sizes: [usize; 2],
    from: Shared<T>,
    from_stride: usize,
    to: Shared<T>,
    to_stride: usize,
}

versions! {
    fn turn<T: Word>(matrices: Matrices<T>) = turn_body;
}

#[inline(always)]
fn turn_body<T: Word>(matrices: Matrices<T>) {
    match T::LINE {
        64 => by_lines::<T, 64>(matrices),
        32 => by_lines::<T, 32>(matrices),
        16 => by_lines::<T, 16>(matrices),
        _ => by_lines::<T, 8>(matrices),
    }
}

/// Squares of `N` by `N` elements: every line of memory is read once and written once, whole, so
/// rows at a distance of a power of two do not drive each other out of the cache.
#[inline(always)]
fn by_lines<T: Word, const N: usize>(matrices: Matrices<T>) {
    let Matrices {
        sizes: [rows, columns],
        from: Shared(from),
        from_stride,
        to: Shared(to),
        to_stride,
    } = matrices;
    let (whole_rows, whole_columns) = (rows - rows % N, columns - columns % N);
    let one = |i: usize, j: usize| {
        // SAFETY: within the matrix: the promise of `Matrices`.
        unsafe { *to.add(j * to_stride + i) = *from.add(i * from_stride + j) };
    };
    for i0 in (0..whole_rows).step_by(N) {
        for j0 in (0..whole_columns).step_by(N) {
            let mut square = [[T::default(); N]; N];
            for (i, row) in square.iter_mut().enumerate() {
                let at = from.wrapping_add((i0 + i) * from_stride + j0);
                // SAFETY: `N` elements from there on are within the matrix: the promise of `Matrices`.
                *row = unsafe { at.cast::<[T; N]>().read_unaligned() };
            }
            let columns: [[T; N]; N] =
                std::array::from_fn(|j| std::array::from_fn(|i| square[i][j]));
            for (j, column) in columns.into_iter().enumerate() {
                let at = to.wrapping_add((j0 + j) * to_stride + i0);
                // SAFETY: as above.
                unsafe { at.cast::<[T; N]>().write_unaligned(column) };
            }
        }
        // While the rows are in the cache.
        for j in whole_columns..columns {
            (i0..i0 + N).for_each(|i| one(i, j));
        }
    }
    for i in whole_rows..rows {
        (0..columns).for_each(|j| one(i, j));
    }
}

/// Copies of fewer rows or columns are quicker one after the other.
const LEAST: usize = 8;

/// How a view lies across the rows of another: see [`Across::new`].
pub(super) struct Across {
    /// The dimension along which the rows go: its size, and the view's stride.
    rows: (usize, usize),
    /// The one along which the view's elements are neighbours: its size, and the rows' stride.
    columns: (usize, usize),
    /// The others: their sizes, and the strides of both.
    others: Axes,
}

impl Across {
    /// If neighbours along the rows of `to`, which is dense, are apart in `from`, of the same shape,
    /// but neighbours along another dimension are together.
    pub(super) fn new(to: &Layout, from: &Layout) -> Option<Self> {
        let mut others = Walk::new(&[to, from]).axes();
        let (rows, [step, stride, ..]) = others.pop()?;
        let columns = others.iter().position(|(n, s)| s[1] == 1 && *n >= LEAST)?;
        if step != 1 || stride <= 1 || rows < LEAST {
            return None;
        }
        let (n, strides) = others.remove(columns);
        Some(Self {
            rows: (rows, stride),
            columns: (n, strides[0]),
            others,
        })
    }

    /// Copies the elements of `from` to the rows at `to`.
    ///
    /// # Safety
    /// `to` has room for the elements, and nothing else refers to it; the view is the one that this
    /// was made of.
    pub(super) unsafe fn copy<T: Word>(&self, to: *mut T, from: &View) {
        let (rows, stride) = self.rows;
        let (columns, to_stride) = self.columns;
        let to = Shared(to);
        let from = Shared(address::<T>(from, from.layout.offset));
        let matrix = |mut i: usize| {
            let mut at = [0; 2];
            for (n, strides) in self.others.iter().rev() {
                at[0] += i % n * strides[0];
                at[1] += i % n * strides[1];
                i /= n;
            }
            // SAFETY: the caller's promise.
            unsafe {
                let from = from.at(at[1]);
                transpose([rows, columns], from, stride, to.at(at[0]), to_stride);
            }
        };
        let matrices = self.others.iter().map(|(n, _)| n).product();
        threads::tasks(matrices, (rows * columns) as f64 * 0.2, matrix);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Word + PartialEq + std::fmt::Debug>(of: impl Fn(usize) -> T) {
        for sizes @ [rows, columns] in [[1, 1], [3, 70], [64, 64], [65, 129], [200, 33], [0, 5]] {
            let (from_stride, to_stride) = (columns + 3, rows + 1);
            let from: Vec<T> = (0..rows * from_stride + 1).map(&of).collect();
            let mut to = vec![T::default(); columns * to_stride + 1];
            // SAFETY: both are large enough.
            unsafe {
                transpose(
                    sizes,
                    from.as_ptr(),
                    from_stride,
                    to.as_mut_ptr(),
                    to_stride,
                );
            }
            for j in 0..columns {
                for i in 0..rows {
                    assert_eq!(to[j * to_stride + i], from[i * from_stride + j]);
                }
                assert_eq!(to[j * to_stride + rows], T::default(), "beyond the matrix");
            }
        }
    }

    #[test]
    fn elements_of_every_size() {
        check(|i| i as u8 | 1);
        check(|i| i as u16 | 1);
        check(|i| i as u32 | 1);
        check(|i| i as u64 | 1);
    }
}
