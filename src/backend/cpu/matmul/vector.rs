//! Products of a matrix and a vector.

use super::super::isa::versions;
use super::super::lane::{Acc, sum_with};
use super::super::threads;
use super::matrix::{AccOf, Matrix, Target};

/// Results that are computed together when the matrix lies in columns.
const TILE: usize = 256;

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

/// `c = a b`, plus the bias, where `b` and `c` have one column.
///
/// # Safety
/// As [`super::Product::product`].
pub(super) unsafe fn matrix_vector<C: AccOf<C>>(
    m: usize,
    k: usize,
    c: Target<C>,
    a: Matrix<C>,
    b: Matrix<C>,
) {
    let mut buffer = Vec::new();
    // SAFETY: the caller's promise.
    let vector = unsafe { dense(b.at, b.rows, k, &mut buffer) };
    let cost = 0.06 * k as f64;
    if a.columns <= a.rows {
        return threads::ranges(m, 1, cost + 5.0, |range| {
            let mut spare = Vec::new();
            for i in range {
                // SAFETY: the caller's promise.
                unsafe {
                    let row = dense(a.at(i, 0), a.columns, k, &mut spare);
                    c.put(i, 0, dot(row, vector));
                }
            }
        });
    }
    threads::tasks(m.div_ceil(TILE), cost * TILE as f64, |task| {
        let first = task * TILE;
        let rows = (m - first).min(TILE);
        let mut tile = [C::ZERO; TILE];
        let tile = &mut tile[..rows];
        if a.rows == 1 {
            let n = (k - 1) * a.columns + rows;
            // SAFETY: the caller's promise; what lies between the columns is not read.
            let columns = unsafe { std::slice::from_raw_parts(a.at(first, 0), n) };
            sum_columns(tile, columns, a.columns, vector);
        } else {
            let mut spare = Vec::new();
            for (l, y) in vector.iter().enumerate() {
                // SAFETY: the caller's promise.
                let column = unsafe { dense(a.at(first, l), a.rows, rows, &mut spare) };
                sum_columns(tile, column, 0, std::slice::from_ref(y));
            }
        }
        for (i, &t) in tile.iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { c.put(first + i, 0, t) };
        }
    });
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
