//! Products of a matrix and a vector.

use super::super::isa::versions;
use super::super::lane::{Acc, sum_with};
use super::super::threads;
use super::matrix::{AccOf, Matrix, Target};

/// Results that are computed together when the matrix lies in rows.
const ROWS: usize = 64;

/// The least and the most results that are computed together when it lies in columns.
const LEAST: usize = 256;
const MOST: usize = 1024;

versions! {
    fn dot<C: Acc>(x: &[C], y: &[C]) -> C = dot_body;
    /// The products of the rows, which start at a distance of `stride`, and the vector.
    fn dots<C: Acc>(products: &mut [C], rows: &[C], stride: usize, vector: &[C]) = dots_body;
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
fn dots_body<C: Acc>(products: &mut [C], rows: &[C], stride: usize, vector: &[C]) {
    for (i, product) in products.iter_mut().enumerate() {
        *product = dot_body(&rows[i * stride..][..vector.len()], vector);
    }
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
            let mut tile = [C::ZERO; ROWS];
            let mut spare = Vec::new();
            for first in range.clone().step_by(ROWS) {
                let tile = &mut tile[..ROWS.min(range.end - first)];
                if a.columns == 1 {
                    let n = (tile.len() - 1) * a.rows + k;
                    // SAFETY: the caller's promise; what lies between the rows is not read.
                    let rows = unsafe { std::slice::from_raw_parts(a.at(first, 0), n) };
                    dots(tile, rows, a.rows, vector);
                } else {
                    for (i, t) in (first..).zip(tile.iter_mut()) {
                        // SAFETY: the caller's promise.
                        let row = unsafe { dense(a.at(i, 0), a.columns, k, &mut spare) };
                        *t = dot(row, vector);
                    }
                }
                for (i, &t) in (first..).zip(tile.iter()) {
                    // SAFETY: the caller's promise.
                    unsafe { c.put(i, 0, t) };
                }
            }
        });
    }
    // Long pieces of columns are read more quickly; several tiles can be shared among threads.
    let size = (m / 4).next_multiple_of(64).clamp(LEAST, MOST);
    threads::tasks(m.div_ceil(size), cost * size as f64, |task| {
        let first = task * size;
        let rows = (m - first).min(size);
        let mut tile = vec![C::ZERO; rows];
        if a.rows == 1 {
            let n = (k - 1) * a.columns + rows;
            // SAFETY: the caller's promise; what lies between the columns is not read.
            let columns = unsafe { std::slice::from_raw_parts(a.at(first, 0), n) };
            sum_columns(&mut tile, columns, a.columns, vector);
        } else {
            let mut spare = Vec::new();
            for (l, y) in vector.iter().enumerate() {
                // SAFETY: the caller's promise.
                let column = unsafe { dense(a.at(first, l), a.rows, rows, &mut spare) };
                sum_columns(&mut tile, column, 0, std::slice::from_ref(y));
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
