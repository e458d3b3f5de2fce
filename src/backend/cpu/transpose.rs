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
    /// Rows and columns that [`Word::square`] moves.
    const SIDE: usize;

    /// As [`transpose`], for `SIDE` rows and columns; rows of `from` start at a distance of `step`
    /// bytes, so that a word may be several elements that lie anywhere.
    ///
    /// # Safety
    /// As [`transpose`].
    unsafe fn square(from: *const Self, step: usize, to: *mut Self, to_stride: usize);
}

macro_rules! word {
    ($($t:ty, $side:literal, $square:path;)*) => { $(
        impl Word for $t {
            const SIDE: usize = $side;
            #[inline(always)]
            unsafe fn square(from: *const Self, step: usize, to: *mut Self, to_step: usize) {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the caller's promise; the types are of one size.
                unsafe { $square(from.cast(), step, to.cast(), to_step) };
                #[cfg(not(target_arch = "x86_64"))]
                // SAFETY: the caller's promise.
                unsafe { by_elements::<$t, $side>(from, step, to, to_step) };
            }
        }
    )* };
}
word! {
    u8, 16, by_elements::<u8, 16>;
    u16, 8, x86::eight;
    u32, 4, x86::four;
    f32, 4, x86::four;
    u64, 2, x86::two;
    i64, 2, x86::two;
    f64, 2, x86::two;
}

/// As [`transpose`], for `N` rows and columns.
///
/// # Safety
/// As [`transpose`].
#[inline(always)]
unsafe fn by_elements<T: Word, const N: usize>(
    from: *const T,
    step: usize,
    to: *mut T,
    to_stride: usize,
) {
    for j in 0..N {
        for i in 0..N {
            // SAFETY: the caller's promise.
            unsafe { *to.add(j * to_stride + i) = from.byte_add(i * step).add(j).read_unaligned() };
        }
    }
}

/// Squares of 16 bytes by the instructions that every processor of the architecture has: five times
/// quicker than what is compiled from loops.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    /// # Safety
    /// As [`super::transpose`], for two rows and columns.
    #[inline(always)]
    pub(super) unsafe fn two(from: *const f64, step: usize, to: *mut f64, to_step: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            let rows = [0, 1].map(|i| _mm_loadu_pd(from.byte_add(i * step)));
            _mm_storeu_pd(to, _mm_unpacklo_pd(rows[0], rows[1]));
            _mm_storeu_pd(to.add(to_step), _mm_unpackhi_pd(rows[0], rows[1]));
        }
    }

    /// # Safety
    /// As [`super::transpose`], for four rows and columns.
    #[inline(always)]
    pub(super) unsafe fn four(from: *const f32, step: usize, to: *mut f32, to_step: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            let [mut a, mut b, mut c, mut d] =
                [0, 1, 2, 3].map(|i| _mm_loadu_ps(from.byte_add(i * step)));
            _MM_TRANSPOSE4_PS(&mut a, &mut b, &mut c, &mut d);
            for (j, column) in [a, b, c, d].into_iter().enumerate() {
                _mm_storeu_ps(to.add(j * to_step), column);
            }
        }
    }

    /// # Safety
    /// As [`super::transpose`], for eight rows and columns.
    #[inline(always)]
    pub(super) unsafe fn eight(from: *const u16, step: usize, to: *mut u16, to_step: usize) {
        // Row by row, columns two apart come together: three times, and all are in place.
        let apart = |rows: [__m128i; 8]| -> [__m128i; 8] {
            std::array::from_fn(|i| {
                let (a, b) = (rows[i / 2], rows[i / 2 + 4]);
                // SAFETY: every processor of the architecture has these instructions.
                unsafe {
                    if i % 2 == 0 {
                        _mm_unpacklo_epi16(a, b)
                    } else {
                        _mm_unpackhi_epi16(a, b)
                    }
                }
            })
        };
        // SAFETY: the caller's promise.
        unsafe {
            let rows = std::array::from_fn(|i| _mm_loadu_si128(from.byte_add(i * step).cast()));
            for (j, column) in apart(apart(apart(rows))).into_iter().enumerate() {
                _mm_storeu_si128(to.add(j * to_step).cast(), column);
            }
        }
    }
}

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

/// Squares as wide as a line: every line of memory is read once and written once, whole, so rows at a
/// distance of a power of two do not drive each other out of the cache.
#[inline(always)]
fn turn_body<T: Word>(matrices: Matrices<T>) {
    let Matrices {
        sizes: [rows, columns],
        from: Shared(from),
        from_stride,
        to: Shared(to),
        to_stride,
    } = matrices;
    let step = from_stride * size_of::<T>();
    let line = T::LINE;
    let (whole_rows, whole_columns) = (rows - rows % line, columns - columns % line);
    let one = |i: usize, j: usize| {
        // SAFETY: within the matrix: the promise of `Matrices`.
        unsafe { *to.add(j * to_stride + i) = *from.add(i * from_stride + j) };
    };
    for i0 in (0..whole_rows).step_by(line) {
        for j0 in (0..whole_columns).step_by(line) {
            for j in (j0..j0 + line).step_by(T::SIDE) {
                for i in (i0..i0 + line).step_by(T::SIDE) {
                    // SAFETY: within the matrix: the promise of `Matrices`.
                    unsafe {
                        let from = from.add(i * from_stride + j);
                        T::square(from, step, to.add(j * to_stride + i), to_stride);
                    }
                }
            }
        }
        // While the rows are in the cache.
        for j in whole_columns..columns {
            (i0..i0 + line).for_each(|i| one(i, j));
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
