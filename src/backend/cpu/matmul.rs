//! Matrix products.

use super::super::View;
use super::isa::versions;
use super::lane::{Acc, Lane, select, sum_with};
use super::map::store;
use super::math::Compute;
use super::walk::{Walk, address};
use crate::base::{DType, Layout};

#[cfg(test)]
mod tests;

/// Up to this size in every dimension, a plain loop is quicker than packing.
const TINY: usize = 4;

/// Up to so many rows are multiplied into a result that lies in columns, if the second matrix does
/// too: packing that matrix the other way round would take longer than all the rest.
const NARROW: usize = 16;

/// Results of a matrix-vector product that are computed together when the matrix lies in columns.
const TILE: usize = 512;

/// See [`super::super::Backend::matmul`].
pub(super) fn matmul(out: View, a: View, b: View) {
    if out.numel() == 0 {
        return;
    }
    let flat = flatten(&out, &a, &b);
    let [out, a, b] = match &flat {
        Some([c, rows, second]) => {
            [(out, c), (a, rows), (b, second)].map(|(v, layout)| View { layout, ..v })
        }
        None => [out, a, b],
    };
    match out.dtype {
        DType::F32 => direct::<f32>(out, a, b),
        DType::F64 => direct::<f64>(out, a, b),
        DType::F16 | DType::BF16 => converted::<f32>(out, a, b),
        _ => converted::<i64>(out, a, b),
    }
}

/// Batches that all meet the same second matrix are one product, if their rows lie evenly.
fn flatten(out: &View, a: &View, b: &View) -> Option<[Layout; 3]> {
    let lead = a.layout.ndim() - 2;
    let shape = &b.layout.shape;
    let shared = |d: usize| b.layout.strides[d] == 0 || shape[d] == 1;
    if lead == 0 || !(0..lead).all(shared) {
        return None;
    }
    let rows = a.layout.shape[..=lead].iter().product();
    let [k, n] = [shape[lead], shape[lead + 1]];
    Some([
        out.layout.reshape(&[rows, n].into())?,
        a.layout.reshape(&[rows, k].into())?,
        select(b.layout, |d| d >= lead),
    ])
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
                // SAFETY: the caller's promise, passed on in each branch.
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
                    if m <= NARROW
                        && n >= 4 * NARROW
                        && b.rows == 1
                        && b.columns > 1
                        && c.columns == 1
                    {
                        let mut turned = vec![0.0; m * n];
                        let to = Matrix {
                            at: turned.as_mut_ptr(),
                            rows: 1,
                            columns: m,
                        };
                        large([m, n, k], to, a, b);
                        for (j, column) in turned.chunks_exact(m).enumerate() {
                            for (i, &x) in column.iter().enumerate() {
                                *c.at(i, j) = x;
                            }
                        }
                        return;
                    }
                    large([m, n, k], c, a, b);
                }
            }
        }
    };
}
float_product!(f32);
float_product!(f64);

impl Product for i64 {
    unsafe fn product([m, n, k]: [usize; 3], c: Matrix<Self>, a: Matrix<Self>, b: Matrix<Self>) {
        if n == 1 {
            // SAFETY: the caller's promise.
            return unsafe { matrix_vector(m, k, c, a, b) };
        }
        for i in 0..m {
            let c = Matrix {
                at: c.at(i, 0),
                ..c
            };
            let a = Matrix {
                at: a.at(i, 0),
                ..a
            };
            let [c, a, b] = [c.transposed(), b.transposed(), a.transposed()];
            // SAFETY: the caller's promise: a row of the product is the other matrix, transposed, times a row.
            unsafe { matrix_vector(n, k, c, a, b) };
        }
    }
}

/// # Safety
/// As [`Product::product`].
unsafe fn large<C: Acc>([m, n, k]: [usize; 3], c: Matrix<C>, a: Matrix<C>, b: Matrix<C>) {
    // SAFETY: the caller's promise; strides fit in `isize` because the storage does.
    unsafe {
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
            C::ZERO,
            C::ONE,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
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

versions! {
    fn dot<C: Acc>(x: &[C], y: &[C]) -> C = dot_body;
    /// Adds the columns, which start at a distance of `stride`, multiplied by the elements of
    /// `vector`.
    fn sum_columns<C: Acc>(sums: &mut [C], columns: &[C], stride: usize, vector: &[C])
        = sum_columns_body;
}

#[inline(always)]
fn dot_body<C: Acc>(x: &[C], y: &[C]) -> C {
    sum_with(x, y, |x, y| x.mul(y))
}

#[inline(always)]
fn sum_columns_body<C: Acc>(sums: &mut [C], columns: &[C], stride: usize, vector: &[C]) {
    // Four columns at a time: the sums are read and written a quarter as often.
    let column = |l: usize| &columns[l * stride..];
    let (fours, rest) = vector.as_chunks::<4>();
    for (i, y) in fours.iter().enumerate() {
        let [a, b, c, d] = std::array::from_fn(|j| column(4 * i + j));
        let terms = a.iter().zip(b).zip(c.iter().zip(d));
        for (s, ((&a, &b), (&c, &d))) in sums.iter_mut().zip(terms) {
            let two = s.add(a.mul(y[0])).add(b.mul(y[1]));
            *s = two.add(c.mul(y[2])).add(d.mul(y[3]));
        }
    }
    for (l, &y) in (4 * fours.len()..).zip(rest) {
        for (s, &x) in sums.iter_mut().zip(column(l)) {
            *s = s.add(x.mul(y));
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
                *c.at(i, 0) = dot(row, vector);
            }
        }
        return;
    }
    let mut tile = [C::ZERO; TILE];
    let mut buffers = [Vec::new(), Vec::new()];
    let [vector, spare] = &mut buffers;
    // SAFETY: the caller's promise.
    let vector = unsafe { dense(b.at, b.rows, k, vector) };
    let mut first = 0;
    while first < m {
        let rows = (m - first).min(TILE);
        let tile = &mut tile[..rows];
        tile.fill(C::ZERO);
        if a.rows == 1 {
            let n = (k - 1) * a.columns + rows;
            // SAFETY: the caller's promise; what lies between the columns is not read.
            let columns = unsafe { std::slice::from_raw_parts(a.at(first, 0), n) };
            sum_columns(tile, columns, a.columns, vector);
        } else {
            for (l, y) in vector.iter().enumerate() {
                // SAFETY: the caller's promise.
                let column = unsafe { dense(a.at(first, l), a.rows, rows, spare) };
                sum_columns(tile, column, 0, std::slice::from_ref(y));
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
    if lead == 0 {
        return f(out.layout.offset, a.layout.offset, b.layout.offset);
    }
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
    // Copies keep the order in memory, which is quicker to read, if the product takes either.
    let turned = [&out, &a, &b].map(|v| {
        let strides = &v.layout.strides;
        C::DTYPE.is_float() && strides[lead] < strides[lead + 1]
    });
    let lane = |v: &View, turned: bool| {
        let (first, second) = if turned { (1, 0) } else { (0, 1) };
        Lane::new(v.layout, [lead + first, lead + second].into_iter())
    };
    let lanes = [
        lane(&out, turned[0]),
        lane(&a, turned[1]),
        lane(&b, turned[2]),
    ];
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
        let matrix = |at: *mut C, rows: usize, columns: usize, turned: bool| Matrix {
            at,
            rows: if turned { 1 } else { columns },
            columns: if turned { rows } else { 1 },
        };
        let [a, b] = &mut copies;
        let [c, a, b] = [
            matrix(result.as_mut_ptr(), m, n, turned[0]),
            matrix(a.as_mut_ptr(), m, k, turned[1]),
            matrix(b.as_mut_ptr(), k, n, turned[2]),
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
