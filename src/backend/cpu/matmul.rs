//! Matrix products.

use super::super::View;
use super::lane::{Acc, Lane, select, sum_with};
use super::map::store;
use super::math::Compute;
use super::walk::{Walk, address};
use crate::base::DType;

#[cfg(test)]
mod tests;

/// Up to this size in every dimension, a plain loop is quicker than packing.
const TINY: usize = 8;

/// Results of a matrix-vector product that are computed together when the matrix lies in columns.
const TILE: usize = 512;

/// See [`super::super::Backend::matmul`].
pub(super) fn matmul(out: View, a: View, b: View) {
    if out.numel() == 0 {
        return;
    }
    match out.dtype {
        DType::F32 => direct::<f32>(out, a, b),
        DType::F64 => direct::<f64>(out, a, b),
        DType::F16 | DType::BF16 => converted::<f32>(out, a, b),
        _ => converted::<i64>(out, a, b),
    }
}

/// A matrix in memory.
#[derive(Clone, Copy)]
struct Matrix<C> {
    at: *mut C,
    /// Distance between rows.
    rows: usize,
    /// Distance between columns.
    columns: usize,
}

impl<C: Copy> Matrix<C> {
    fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            ..self
        }
    }

    /// The address of an element.
    #[inline(always)]
    fn at(self, i: usize, j: usize) -> *mut C {
        self.at.wrapping_add(i * self.rows + j * self.columns)
    }
}

/// Types with a product of matrices in memory.
trait Product: Acc {
    /// `c = a b` for `m * k` and `k * n` elements, none of the sizes 0.
    ///
    /// # Safety
    /// The matrices lie in memory that may be read, and `c` written; `c` shares nothing with `a`
    /// and `b`.
    unsafe fn product(sizes: [usize; 3], c: Matrix<Self>, a: Matrix<Self>, b: Matrix<Self>);
}

macro_rules! float_product {
    ($t:ty) => {
        impl Product for $t {
            unsafe fn product(
                [m, n, k]: [usize; 3],
                c: Matrix<Self>,
                a: Matrix<Self>,
                b: Matrix<Self>,
            ) {
                // SAFETY: the caller's promise, passed on in each branch; strides fit in `isize`
                // because the storage does.
                unsafe {
                    if m.max(n).max(k) <= TINY {
                        return tiny([m, n, k], c, a, b);
                    }
                    if n == 1 {
                        return matrix_vector(m, k, c, a, b);
                    }
                    if m == 1 {
                        let [c, a, b] = [c.transposed(), a.transposed(), b.transposed()];
                        return matrix_vector(n, k, c, b, a);
                    }
                    gemm::gemm(
                        m,
                        n,
                        k,
                        c.at,
                        c.columns as isize,
                        c.rows as isize,
                        false,
                        a.at,
                        a.columns as isize,
                        a.rows as isize,
                        b.at,
                        b.columns as isize,
                        b.rows as isize,
                        0.0,
                        1.0,
                        false,
                        false,
                        false,
                        gemm::Parallelism::None,
                    );
                }
            }
        }
    };
}
float_product!(f32);
float_product!(f64);

impl Product for i64 {
    unsafe fn product([m, n, k]: [usize; 3], c: Matrix<Self>, a: Matrix<Self>, b: Matrix<Self>) {
        for i in 0..m {
            // SAFETY: the caller's promise, here and below.
            (0..n).for_each(|j| unsafe { *c.at(i, j) = 0 });
            for l in 0..k {
                let x = unsafe { *a.at(i, l) };
                (0..n).for_each(|j| unsafe {
                    let c = c.at(i, j);
                    *c = (*c).wrapping_add(x.wrapping_mul(*b.at(l, j)));
                });
            }
        }
    }
}

/// # Safety
/// As [`Product::product`].
unsafe fn tiny<C: Compute>([m, n, k]: [usize; 3], c: Matrix<C>, a: Matrix<C>, b: Matrix<C>) {
    for i in 0..m {
        for j in 0..n {
            let mut sum = C::ZERO;
            for l in 0..k {
                // SAFETY: the caller's promise.
                sum = sum.add(unsafe { (*a.at(i, l)).mul(*b.at(l, j)) });
            }
            // SAFETY: the caller's promise.
            unsafe { *c.at(i, j) = sum };
        }
    }
}

/// `c = a b` where `b` and `c` have one column.
///
/// # Safety
/// As [`Product::product`].
unsafe fn matrix_vector<C: Acc>(m: usize, k: usize, c: Matrix<C>, a: Matrix<C>, b: Matrix<C>) {
    if a.columns <= a.rows {
        let mut buffers = [Vec::new(), Vec::new()];
        let [vector, spare] = &mut buffers;
        // SAFETY: the caller's promise.
        let vector = unsafe { dense(b.at, b.rows, k, vector) };
        for i in 0..m {
            // SAFETY: the caller's promise.
            unsafe {
                let row = dense(a.at(i, 0), a.columns, k, spare);
                *c.at(i, 0) = sum_with(row, vector, |x, y| x.mul(y));
            }
        }
        return;
    }
    let mut tile = [C::ZERO; TILE];
    let mut spare = Vec::new();
    let mut first = 0;
    while first < m {
        let rows = (m - first).min(TILE);
        let tile = &mut tile[..rows];
        tile.fill(C::ZERO);
        for l in 0..k {
            // SAFETY: the caller's promise.
            let (column, y) =
                unsafe { (dense(a.at(first, l), a.rows, rows, &mut spare), *b.at(l, 0)) };
            for (t, &x) in tile.iter_mut().zip(column) {
                *t = t.add(x.mul(y));
            }
        }
        for (i, &t) in tile.iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { *c.at(first + i, 0) = t };
        }
        first += rows;
    }
}

/// `n` elements at a distance of `stride`, as they lie if that is 1, else copied to `buffer`.
///
/// # Safety
/// The elements may be read, and nothing writes them while the result lives.
unsafe fn dense<C: Acc>(from: *const C, stride: usize, n: usize, buffer: &mut Vec<C>) -> &[C] {
    if stride == 1 {
        // SAFETY: the caller's promise.
        return unsafe { std::slice::from_raw_parts(from, n) };
    }
    buffer.clear();
    // SAFETY: the caller's promise.
    buffer.extend((0..n).map(|i| unsafe { *from.wrapping_add(i * stride) }));
    buffer
}

/// The sizes `m`, `n` and `k`, and the leading dimensions.
fn sizes(a: &View, b: &View) -> ([usize; 3], usize) {
    let lead = a.layout.ndim() - 2;
    let (a, b) = (&a.layout.shape, &b.layout.shape);
    ([a[lead], b[lead + 1], a[lead + 1]], lead)
}

/// Calls `f` with the positions of the matrices of each batch.
fn batches(out: &View, a: &View, b: &View, lead: usize, mut f: impl FnMut(usize, usize, usize)) {
    let batch = |v: &View| select(v.layout, |d| d < lead);
    Walk::new(&[&batch(out), &batch(a), &batch(b)]).elements(|at| f(at[0], at[1], at[2]));
}

/// Products of elements as they lie.
fn direct<C: Product>(out: View, a: View, b: View) {
    let (sizes, lead) = sizes(&a, &b);
    if sizes[2] == 0 {
        return zero(out);
    }
    let matrix = |v: &View, at: usize| Matrix {
        at: address::<C>(v, at),
        rows: v.layout.strides[lead],
        columns: v.layout.strides[lead + 1],
    };
    batches(&out, &a, &b, lead, |c_at, a_at, b_at| {
        let [c, a, b] = [matrix(&out, c_at), matrix(&a, a_at), matrix(&b, b_at)];
        // SAFETY: NOTE [Views in bounds], NOTE [Aliasing].
        unsafe { C::product(sizes, c, a, b) };
    });
}

/// Products of copies in the compute type `C`.
fn converted<C: Product>(out: View, a: View, b: View) {
    let (sizes, lead) = sizes(&a, &b);
    let [m, n, k] = sizes;
    if k == 0 {
        return zero(out);
    }
    let lane = |v: &View| Lane::new(v.layout, lead..lead + 2);
    let lanes = [lane(&out), lane(&a), lane(&b)];
    let mut copies = [Vec::<C>::new(), Vec::new()];
    let mut copied = [usize::MAX; 2];
    let mut result = vec![C::ZERO; m * n];
    batches(&out, &a, &b, lead, |c_at, a_at, b_at| {
        for (i, (view, at)) in [(&a, a_at), (&b, b_at)].into_iter().enumerate() {
            if copied[i] != at {
                // SAFETY: NOTE [Views in bounds].
                unsafe { lanes[i + 1].copy(view, at, &mut copies[i]) };
                copied[i] = at;
            }
        }
        let matrix = |at: *mut C, columns: usize| Matrix {
            at,
            rows: columns,
            columns: 1,
        };
        let [a, b] = &mut copies;
        let [c, a, b] = [
            matrix(result.as_mut_ptr(), n),
            matrix(a.as_mut_ptr(), k),
            matrix(b.as_mut_ptr(), n),
        ];
        // SAFETY: the copies hold `m * k` and `k * n` elements, the result `m * n`.
        unsafe { C::product(sizes, c, a, b) };
        // SAFETY: NOTE [Views in bounds], NOTE [Aliasing].
        unsafe { lanes[0].write(&out, c_at, &result) };
    });
}

fn zero(out: View) {
    let zero = 0i64;
    Walk::new(&[out.layout]).elements(|at| {
        // SAFETY: NOTE [Views in bounds].
        unsafe { store(&out, at[0], 1, 1, &zero) };
    });
}
