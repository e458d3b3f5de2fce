//! How elements become a result.

use super::super::isa::versions;
use super::super::lane::{Acc, Fold, fold_body, sums};
use super::super::math::Float;
use super::Rows;
use std::marker::PhantomData;

/// Rows that are folded in one pass over a tile.
pub(super) const GROUP: usize = 4;

/// A way to reduce elements: parts of them are each described, and descriptions are merged.
pub(super) trait Rule<C: Acc> {
    /// What is known of some elements.
    type Part: Copy + Send;
    /// What is known of none.
    const NOTHING: Self::Part;
    /// Describes a few elements.
    fn describe(x: &[C]) -> Self::Part;
    /// Describes the elements of both, in `a`.
    fn merge(a: &mut Self::Part, b: &Self::Part);
    /// The result for what is described.
    fn result(part: &Self::Part) -> C;

    /// How many rows of numbers a tile of descriptions has; the first are the results.
    const FIELDS: usize;
    /// What fills the tile that describes nothing.
    const EMPTY: C;
    /// Describes the columns of a few rows, in a tile that describes nothing yet.
    fn describe_rows(tile: &mut [C], rows: &Rows<C>);
    /// As `merge`, for tiles of so many rows.
    fn merge_tiles(a: &mut [C], b: &mut [C], counts: [usize; 2]);
}

/// A fold: what describes elements is its result.
pub(super) struct Folded<F>(PhantomData<F>);

impl<C: Acc, F: Fold<C>> Rule<C> for Folded<F> {
    type Part = C;
    const NOTHING: C = F::NEUTRAL;
    const FIELDS: usize = 1;
    const EMPTY: C = F::NEUTRAL;

    #[inline(always)]
    fn describe(x: &[C]) -> C {
        fold_body::<C, F>(x)
    }

    #[inline(always)]
    fn merge(a: &mut C, b: &C) {
        *a = F::merge(*a, *b);
    }

    #[inline(always)]
    fn result(part: &C) -> C {
        *part
    }

    fn describe_rows(tile: &mut [C], rows: &Rows<C>) {
        rows.each(|rows| merge_rows::<C, F>(tile, rows));
    }

    fn merge_tiles(a: &mut [C], b: &mut [C], _: [usize; 2]) {
        merge_tile::<C, F>(a, b);
    }
}

/// Numbers that have means.
pub(super) trait Real: Acc + Float {}
impl<C: Acc + Float> Real for C {}

/// The squared distances from the mean. Those of a part are from the part's own mean; parts are merged
/// as by Chan, Golub and LeVeque, "Algorithms for computing the sample variance", 1983. Nothing cancels
/// where means are far from 0, since they are known by how far they are off a number nearby; and means
/// are sums of shares, which are finite where their elements are.
pub(super) struct SquaredDistances;

/// What is known of some elements: their number, the sum of the squared distances, and the mean, which
/// is `near + off`.
#[derive(Clone, Copy)]
pub(super) struct Spread<C> {
    count: usize,
    squares: C,
    near: C,
    off: C,
}

#[inline(always)]
fn number<C: Float>(n: usize) -> C {
    C::of(n as f64)
}

/// For parts of so many elements: which part of the way to the other's mean the mean of the first one
/// goes, and how often the squared distance of the means counts.
#[inline(always)]
fn weights<C: Float>([a, b]: [usize; 2]) -> [C; 2] {
    let [a, b] = [a as f64, b as f64];
    [b / (a + b), a * b / (a + b)].map(C::of)
}

/// The squared distances of `n` elements from their mean, for those from a number which is `off` it.
#[inline(always)]
fn about_mean<C: Real>(squares: C, off: C, n: C) -> C {
    if squares < C::GREATEST {
        squares - n * off * off
    } else {
        squares
    }
}

impl<C: Real> Rule<C> for SquaredDistances {
    type Part = Spread<C>;
    const NOTHING: Spread<C> = Spread {
        count: 0,
        squares: C::ZERO,
        near: C::ZERO,
        off: C::ZERO,
    };
    const FIELDS: usize = 3;
    const EMPTY: C = C::ZERO;

    #[inline(always)]
    fn describe(x: &[C]) -> Spread<C> {
        // Of nothing, zeros.
        let n = number::<C>(x.len().max(1));
        let share = C::ONE / n;
        let [near] = sums([x], |[x]| [x * share]);
        let [squares, off] = sums([x], |[x]| [(x - near) * (x - near), (x - near) * share]);
        Spread {
            count: x.len(),
            squares: about_mean(squares, off, n),
            near,
            off,
        }
    }

    #[inline(always)]
    fn merge(a: &mut Spread<C>, b: &Spread<C>) {
        let [way, weight] = weights::<C>([a.count, b.count]);
        let apart = (b.near - a.near) + (b.off - a.off);
        a.count += b.count;
        a.squares = a.squares + b.squares + apart * apart * weight;
        a.off = a.off + apart * way;
    }

    #[inline(always)]
    fn result(part: &Spread<C>) -> C {
        part.squares
    }

    fn describe_rows(tile: &mut [C], rows: &Rows<C>) {
        let [squares, near, off] = fields(tile);
        let n = number::<C>(rows.len());
        rows.each(|rows| add_shares::<C>(near, C::ONE / n, rows));
        rows.each(|rows| add_distances::<C>(squares, off, near, C::ONE / n, rows));
        for (s, d) in squares.iter_mut().zip(off) {
            *s = about_mean(*s, *d, n);
        }
    }

    fn merge_tiles(a: &mut [C], b: &mut [C], counts: [usize; 2]) {
        merge_spreads::<C>(a, b, counts);
    }
}

/// The rows of a tile that has three.
#[inline(always)]
fn fields<C>(tile: &mut [C]) -> [&mut [C]; 3] {
    let n = tile.len() / 3;
    let (a, rest) = tile.split_at_mut(n);
    let (b, c) = rest.split_at_mut(n);
    [a, b, c]
}

versions! {
    /// Describes a few elements.
    pub(super) fn describe<C: Acc, R: Rule<C>>(x: &[C]) -> R::Part = describe_body;
    /// The results for lanes of `run` elements that start at a distance of `stride`.
    pub(super) fn describe_lanes<C: Acc, R: Rule<C>>(
        x: &[C],
        run: usize,
        stride: usize,
        results: &mut [C],
    ) = describe_lanes_body;
    /// Merges the elements of up to [`GROUP`] rows into `tile`, one after the other.
    fn merge_rows<C: Acc, F: Fold<C>>(tile: &mut [C], rows: &[&[C]]) = merge_rows_body;
    /// Merges the results `part` into `tile`.
    fn merge_tile<C: Acc, F: Fold<C>>(tile: &mut [C], part: &[C]) = merge_tile_body;
    /// Adds the elements of up to [`GROUP`] rows, times `share`.
    fn add_shares<C: Real>(means: &mut [C], share: C, rows: &[&[C]]) = add_shares_body;
    /// Adds the distances of the elements of up to [`GROUP`] rows from `near`, times `share`, and
    /// their squares.
    fn add_distances<C: Real>(
        squares: &mut [C],
        off: &mut [C],
        near: &[C],
        share: C,
        rows: &[&[C]],
    ) = add_distances_body;
    /// Merges the descriptions `b` into `a`.
    fn merge_spreads<C: Real>(a: &mut [C], b: &mut [C], counts: [usize; 2]) = merge_spreads_body;
}

#[inline(always)]
fn describe_body<C: Acc, R: Rule<C>>(x: &[C]) -> R::Part {
    R::describe(x)
}

#[inline(always)]
fn describe_lanes_body<C: Acc, R: Rule<C>>(x: &[C], run: usize, stride: usize, results: &mut [C]) {
    for (i, r) in results.iter_mut().enumerate() {
        *r = R::result(&R::describe(&x[i * stride..][..run]));
    }
}

#[inline(always)]
fn merge_rows_body<C: Acc, F: Fold<C>>(tile: &mut [C], rows: &[&[C]]) {
    let n = tile.len();
    if let Ok(rows) = <[&[C]; GROUP]>::try_from(rows) {
        let rows = rows.map(|row| &row[..n]);
        for i in 0..n {
            tile[i] = rows
                .iter()
                .fold(tile[i], |sum, row| F::merge(sum, F::lift(row[i])));
        }
        return;
    }
    for row in rows {
        for (a, &b) in tile.iter_mut().zip(*row) {
            *a = F::merge(*a, F::lift(b));
        }
    }
}

#[inline(always)]
fn merge_tile_body<C: Acc, F: Fold<C>>(tile: &mut [C], part: &[C]) {
    for (a, &b) in tile.iter_mut().zip(part) {
        *a = F::merge(*a, b);
    }
}

/// Calls `add` with each column, and its elements of up to [`GROUP`] rows.
#[inline(always)]
fn by_columns<C: Copy>(n: usize, rows: &[&[C]], mut add: impl FnMut(usize, &[C])) {
    if let Ok(rows) = <[&[C]; GROUP]>::try_from(rows) {
        let rows = rows.map(|row| &row[..n]);
        (0..n).for_each(|i| add(i, &rows.map(|row| row[i])));
        return;
    }
    for row in rows {
        let row = &row[..n];
        (0..n).for_each(|i| add(i, &[row[i]]));
    }
}

#[inline(always)]
fn add_shares_body<C: Real>(means: &mut [C], share: C, rows: &[&[C]]) {
    by_columns(means.len(), rows, |i, elements| {
        means[i] = elements.iter().fold(means[i], |m, &x| m + x * share);
    });
}

#[inline(always)]
fn add_distances_body<C: Real>(
    squares: &mut [C],
    off: &mut [C],
    near: &[C],
    share: C,
    rows: &[&[C]],
) {
    let n = near.len();
    let (squares, off) = (&mut squares[..n], &mut off[..n]);
    by_columns(n, rows, |i, elements| {
        let (mut s, mut d) = (squares[i], off[i]);
        for &x in elements {
            let distance = x - near[i];
            s = s + distance * distance;
            d = d + distance * share;
        }
        (squares[i], off[i]) = (s, d);
    });
}

#[inline(always)]
fn merge_spreads_body<C: Real>(a: &mut [C], b: &mut [C], counts: [usize; 2]) {
    let [way, weight] = weights::<C>(counts);
    let ([squares, near, off], [others, other_near, other_off]) = (fields(a), fields(b));
    let n = squares.len();
    let (near, off) = (&near[..n], &mut off[..n]);
    let (others, other_near, other_off) = (&others[..n], &other_near[..n], &other_off[..n]);
    for i in 0..n {
        let apart = (other_near[i] - near[i]) + (other_off[i] - off[i]);
        squares[i] = squares[i] + others[i] + apart * apart * weight;
        off[i] = off[i] + apart * way;
    }
}
