//! Matrices in memory.

use super::super::isa::versions;
use super::super::lane::Acc;
use super::super::map::Cast;

/// A matrix in memory.
#[derive(Clone, Copy)]
pub(super) struct Matrix<T> {
    pub(super) at: *mut T,
    /// Distance between rows.
    pub(super) rows: usize,
    /// Distance between columns.
    pub(super) columns: usize,
}

impl<T: Copy> Matrix<T> {
    /// A matrix that lies in rows.
    pub(super) fn in_rows(at: *mut T, columns: usize) -> Self {
        Self {
            at,
            rows: columns,
            columns: 1,
        }
    }

    /// The same matrix, of elements that are really of another type.
    pub(super) fn cast<U>(self) -> Matrix<U> {
        Matrix {
            at: self.at.cast(),
            rows: self.rows,
            columns: self.columns,
        }
    }

    pub(super) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            ..self
        }
    }

    /// The matrix from an element on.
    pub(super) fn from(self, i: usize, j: usize) -> Self {
        Self {
            at: self.at(i, j),
            ..self
        }
    }

    /// The address of an element.
    #[inline(always)]
    pub(super) fn at(self, i: usize, j: usize) -> *mut T {
        self.at.wrapping_add(i * self.rows + j * self.columns)
    }
}

impl<C: Acc> Matrix<C> {
    /// Adds `m` rows of `n` sums to those of this matrix.
    ///
    /// # Safety
    /// They are there, and nobody else refers to those that are written.
    pub(super) unsafe fn add(self, other: Self, m: usize, n: usize) {
        for i in 0..m {
            for j in 0..n {
                // SAFETY: the caller's promise.
                unsafe { *self.at(i, j) = (*self.at(i, j)).add(*other.at(i, j)) };
            }
        }
    }
}

// SAFETY: addresses alone; what is done with them has comments of its own.
unsafe impl<T: Send> Send for Matrix<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Matrix<T> {}

/// Where a product goes, and what is done to it on the way.
#[derive(Clone, Copy)]
pub(super) struct Target<T> {
    pub(super) to: Matrix<T>,
    /// What is added.
    pub(super) bias: Option<Matrix<T>>,
    /// Whether results go through the functor of that name once they are rounded.
    pub(super) relu: bool,
}

impl<T: Copy> Target<T> {
    pub(super) fn transposed(self) -> Self {
        Self {
            to: self.to.transposed(),
            bias: self.bias.map(Matrix::transposed),
            ..self
        }
    }

    /// The target from an element on.
    pub(super) fn from(self, i: usize, j: usize) -> Self {
        Self {
            to: self.to.from(i, j),
            bias: self.bias.map(|bias| bias.from(i, j)),
            ..self
        }
    }

    /// What is stored of a sum.
    #[inline(always)]
    fn result<C: AccOf<T>>(self, sum: C) -> T {
        let result = sum.store();
        if self.relu && C::load(result) < C::ZERO {
            C::ZERO.store()
        } else {
            result
        }
    }

    /// Stores a sum, and the bias with it: rounded once.
    ///
    /// # Safety
    /// The element is one of the target's, and nobody else refers to it.
    #[inline(always)]
    pub(super) unsafe fn put<C: AccOf<T>>(self, i: usize, j: usize, sum: C) {
        // SAFETY: the caller's promise.
        unsafe {
            let sum = match self.bias {
                Some(bias) => sum.add(C::load(*bias.at(i, j))),
                None => sum,
            };
            *self.to.at(i, j) = self.result(sum);
        }
    }

    /// Stores `m` rows of `n` sums, which lie in rows.
    ///
    /// # Safety
    /// As [`Target::put`], for all of them; the sums may be read.
    pub(super) unsafe fn put_rows<C: AccOf<T>>(self, sums: Matrix<C>, m: usize, n: usize) {
        put_rows(Rows {
            target: self,
            sums,
            m,
            n,
        });
    }
}

/// What sums of `T` are computed in.
pub(super) trait AccOf<T>: Acc + Cast<T> {}
impl<T, C: Acc + Cast<T>> AccOf<T> for C {}

/// Sums and their target that fit the promise of [`Target::put_rows`].
struct Rows<T, C> {
    target: Target<T>,
    sums: Matrix<C>,
    m: usize,
    n: usize,
}

versions! {
    fn put_rows<T: Copy, C: AccOf<T>>(rows: Rows<T, C>) = put_rows_body;
}

#[inline(always)]
fn put_rows_body<T: Copy, C: AccOf<T>>(rows: Rows<T, C>) {
    let Rows { target, sums, m, n } = rows;
    for i in 0..m {
        let row = target.from(i, 0);
        // SAFETY: the promise of `Rows`; slices are made of what lies one after the other.
        unsafe {
            let sums = std::slice::from_raw_parts(sums.at(i, 0), n);
            if row.to.columns != 1 {
                (0..n).for_each(|j| row.put(0, j, sums[j]));
                continue;
            }
            let to = std::slice::from_raw_parts_mut(row.to.at, n);
            match row.bias {
                None => {
                    let each = to.iter_mut().zip(sums);
                    each.for_each(|(t, s)| *t = row.result(*s));
                }
                Some(bias) if bias.columns == 0 => {
                    let term = C::load(*bias.at);
                    let each = to.iter_mut().zip(sums);
                    each.for_each(|(t, s)| *t = row.result(s.add(term)));
                }
                Some(bias) if bias.columns == 1 => {
                    let terms = std::slice::from_raw_parts(bias.at, n);
                    let each = to.iter_mut().zip(sums).zip(terms);
                    each.for_each(|((t, s), &term)| *t = row.result(s.add(C::load(term))));
                }
                Some(_) => (0..n).for_each(|j| row.put(0, j, sums[j])),
            }
        }
    }
}
