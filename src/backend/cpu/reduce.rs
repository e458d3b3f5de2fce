//! Reductions.
//!
//! Work is split by shape and strides alone, and floating-point sums are merged pairwise, so a sum
//! has the same bits every time and an error that grows with the logarithm of its length.

use super::super::{Reduction, View};
use super::isa::versions;
use super::lane::{self, Acc, BLOCK, Cascade, DENSE_BLOCK, Fold, Lane, fold, fold_body};
use super::map::{load, store};
use super::threads::{self, Shared};
use super::walk::{Walk, address};
use crate::base::{DType, Layout};
use smallvec::SmallVec;
use std::cmp::Reverse;
use std::mem::MaybeUninit;
use std::ops::Range;

#[cfg(test)]
mod tests;

/// Columns that are reduced together when the reduced dimension is an outer one: rows so long that
/// they are fetched ahead, and so short that the results stay in the first cache.
const TILE: usize = 1024;

/// Rows of a tile that are folded one after the other before tiles are merged pairwise.
const ROWS: usize = 32;

/// Rows that are folded in one pass over a tile.
const GROUP: usize = 4;

/// Elements that one thread takes of a long reduction, along its lane or in a tile: a power of two of
/// those that are folded one after the other.
const PIECE: usize = 32 * DENSE_BLOCK;
const PIECE_OF_TILE: usize = 4 * ROWS * TILE;

/// Columns whose extrema are sought together.
const COLUMNS: usize = 256;

/// See [`super::super::Backend::reduce`]. Sums and products are computed in the compute type of
/// the output, most others in that of the input.
pub(super) fn reduce(f: Reduction, out: View, x: View, dims: &[usize]) {
    if out.numel() == 0 {
        return;
    }
    // In the two-element field of truth values, sums and products are these.
    let f = match (f, out.dtype) {
        (Reduction::Sum | Reduction::SumSquares, DType::Bool) => Reduction::Any,
        (Reduction::Prod, DType::Bool) => Reduction::All,
        (f, _) => f,
    };
    let compute = match f {
        Reduction::Sum | Reduction::SumSquares | Reduction::Prod => out.dtype,
        // The narrowest compute type: no integer but 0 becomes 0.
        Reduction::Any | Reduction::All if !x.dtype.is_float() => DType::F32,
        _ => x.dtype,
    }
    .compute();
    match compute {
        DType::F32 => typed::<f32>(f, out, x, dims),
        DType::F64 => typed::<f64>(f, out, x, dims),
        _ => typed::<i64>(f, out, x, dims),
    }
}

fn typed<C: Acc>(f: Reduction, out: View, x: View, dims: &[usize]) {
    match f {
        Reduction::Sum => Plan::new(out, x, dims).run::<C, lane::Sum>(),
        Reduction::SumSquares => Plan::new(out, x, dims).run::<C, lane::SumSquares>(),
        Reduction::Prod => Plan::new(out, x, dims).run::<C, lane::Prod>(),
        Reduction::Max => Plan::new(out, x, dims).run::<C, lane::Max>(),
        Reduction::Min => Plan::new(out, x, dims).run::<C, lane::Min>(),
        Reduction::Any => Plan::new(out, x, dims).run::<C, lane::Any>(),
        Reduction::All => Plan::new(out, x, dims).run::<C, lane::All>(),
        Reduction::ArgMax => arg::<C, lane::Max>(out, x, dims),
        Reduction::ArgMin => arg::<C, lane::Min>(out, x, dims),
    }
}

/// A dimension: its size, `x`'s stride and the output's (0 if it is reduced).
type Dim = (usize, usize, usize);

/// How to visit the elements.
struct Plan<'a> {
    out: View<'a>,
    x: View<'a>,
    /// The kept dimensions but for the innermost.
    outer: SmallVec<[Dim; 4]>,
    /// The innermost kept dimension.
    columns: Dim,
    /// The reduced dimensions but for the innermost.
    rows: SmallVec<[Dim; 4]>,
    /// The innermost reduced dimension.
    run: Dim,
}

/// Orders dimensions by `x`'s stride and merges them where they lie evenly.
fn merge(mut dims: SmallVec<[Dim; 4]>) -> SmallVec<[Dim; 4]> {
    dims.sort_by_key(|d| Reverse(d.1));
    let mut merged: SmallVec<[Dim; 4]> = SmallVec::new();
    for (n, xs, os) in dims {
        if let Some(last) = merged.last_mut()
            && last.1 == n * xs
            && last.2 == n * os
        {
            *last = (last.0 * n, xs, os);
        } else {
            merged.push((n, xs, os));
        }
    }
    merged
}

/// Calls `f` with the positions of `x` and the output at each index of `dims`.
fn visit(dims: &[Dim], x: usize, out: usize, f: &mut impl FnMut(usize, usize)) {
    match *dims {
        [] => f(x, out),
        [(n, xs, os), ref rest @ ..] => {
            (0..n).for_each(|i| visit(rest, x + i * xs, out + i * os, f));
        }
    }
}

impl<'a> Plan<'a> {
    fn new(out: View<'a>, x: View<'a>, dims: &[usize]) -> Self {
        let shape = &x.layout.shape;
        let all = |reduced: bool| {
            (0..shape.len())
                .filter(|d| shape[*d] != 1 && dims.contains(d) == reduced)
                .map(|d| {
                    let os = if reduced { 0 } else { out.layout.strides[d] };
                    (shape[d], x.layout.strides[d], os)
                })
                .collect()
        };
        let mut outer = merge(all(false));
        let mut rows = merge(all(true));
        let columns = outer.pop().unwrap_or((1, 0, 0));
        let run = rows.pop().unwrap_or((1, 0, 0));
        Self {
            out,
            x,
            outer,
            columns,
            rows,
            run,
        }
    }

    fn run<C: Acc, F: Fold<C>>(&self) {
        let ((columns, column_stride, _), (run, run_stride, _)) = (self.columns, self.run);
        let by_columns = if columns >= 16 && run < 32 {
            true
        } else if columns < 8 && run >= 64 {
            false
        } else {
            columns > 1 && column_stride < run_stride
        };
        if by_columns {
            self.by_columns::<C, F>();
        } else {
            self.by_lanes::<C, F>();
        }
    }

    /// About how many nanoseconds the reduction of an element takes.
    fn cost<C: Acc>(&self) -> f64 {
        if self.x.dtype == C::DTYPE { 0.06 } else { 0.4 }
    }

    /// Elements of a lane.
    fn depth(&self) -> usize {
        self.rows.iter().map(|d| d.0).product::<usize>() * self.run.0
    }

    /// The positions of `x` and the output for each index of the outer dimensions.
    fn places(&self) -> SmallVec<[(usize, usize); 4]> {
        let mut places = SmallVec::new();
        let (x, out) = (self.x.layout.offset, self.out.layout.offset);
        visit(&self.outer, x, out, &mut |x, out| places.push((x, out)));
        places
    }

    /// One result after the other.
    fn by_lanes<C: Acc, F: Fold<C>>(&self) {
        let (columns, xs, os) = self.columns;
        let places = self.places();
        let cost = self.depth() as f64 * self.cost::<C>() + 5.0;
        let (run, stride, _) = self.run;
        let dense = self.x.dtype == C::DTYPE && stride == 1 && self.rows.is_empty();
        let short = dense && run > 0 && run <= DENSE_BLOCK;
        threads::ranges(places.len() * columns, 1, cost, |range| {
            let mut buffer = MaybeUninit::uninit();
            let mut results = [C::ZERO; 64];
            let mut next = range.start;
            while next < range.end {
                let (first, (x, out)) = (next % columns, places[next / columns]);
                let n = (columns - first).min(range.end - next).min(results.len());
                let results = &mut results[..n];
                if short {
                    let from = address::<C>(&self.x, x + first * xs);
                    // SAFETY: NOTE [Views in bounds]: from the first element of a lane to the last
                    // one of another.
                    let lanes =
                        unsafe { std::slice::from_raw_parts(from, (n - 1) * xs + self.run.0) };
                    fold_lanes::<C, F>(lanes, self.run.0, xs, results);
                } else {
                    for (i, r) in results.iter_mut().enumerate() {
                        *r = self.lane::<C, F>(x + (first + i) * xs, &mut buffer);
                    }
                }
                // SAFETY: NOTE [Views in bounds]; `results` holds `n`.
                unsafe { store(&self.out, out + first * os, os, n, results.as_ptr()) };
                next += n;
            }
        });
    }

    /// The result for the elements that start at `x`.
    fn lane<C: Acc, F: Fold<C>>(&self, x: usize, buffer: &mut MaybeUninit<[C; BLOCK]>) -> C {
        let buffer = buffer.as_mut_ptr().cast::<C>();
        let (run, stride, _) = self.run;
        let direct = self.x.dtype == C::DTYPE && stride == 1;
        if direct && self.rows.is_empty() {
            return self.dense_lane::<C, F>(x, run);
        }
        let slice = |at: usize, n: usize| {
            // SAFETY: NOTE [Views in bounds]; only called if `direct`.
            unsafe { std::slice::from_raw_parts(address::<C>(&self.x, at), n) }
        };
        let mut cascade = Cascade::new();
        let join = |a: &mut C, b: &C| *a = F::merge(*a, *b);
        let mut filled = 0;
        visit(&self.rows, x, 0, &mut |x, _| {
            let mut done = 0;
            while done < run {
                if direct && run >= BLOCK / 4 {
                    let n = (run - done).min(BLOCK);
                    cascade.push(fold::<C, F>(slice(x + done, n)), join);
                    done += n;
                    continue;
                }
                let n = (run - done).min(BLOCK - filled);
                // SAFETY: NOTE [Views in bounds]; the buffer has room for `n` more.
                unsafe {
                    let to = buffer.add(filled);
                    load(&self.x, x + done * stride, stride, n, to);
                }
                done += n;
                filled += n;
                if filled == BLOCK {
                    // SAFETY: the buffer is full.
                    let block = unsafe { std::slice::from_raw_parts(buffer, BLOCK) };
                    cascade.push(fold::<C, F>(block), join);
                    filled = 0;
                }
            }
        });
        if filled > 0 {
            // SAFETY: so much of the buffer is filled.
            let block = unsafe { std::slice::from_raw_parts(buffer, filled) };
            cascade.push(fold::<C, F>(block), join);
        }
        cascade.finish(join).unwrap_or(F::NEUTRAL)
    }

    /// The result for `n` elements that lie one after the other. The pieces that threads take are
    /// subtrees of the cascade, so that they change nothing.
    fn dense_lane<C: Acc, F: Fold<C>>(&self, x: usize, n: usize) -> C {
        let join = |a: &mut C, b: &C| *a = F::merge(*a, *b);
        let piece = |range: Range<usize>| {
            let from = address::<C>(&self.x, x + range.start);
            // SAFETY: NOTE [Views in bounds].
            let elements = unsafe { std::slice::from_raw_parts(from, range.len()) };
            if elements.len() <= DENSE_BLOCK {
                return fold::<C, F>(elements);
            }
            let mut cascade = Cascade::new();
            for block in elements.chunks(DENSE_BLOCK) {
                cascade.push(fold::<C, F>(block), join);
            }
            cascade.finish(join).unwrap_or(F::NEUTRAL)
        };
        if n <= PIECE {
            return piece(0..n);
        }
        let mut results = vec![F::NEUTRAL; n.div_ceil(PIECE)];
        let shared = Shared(results.as_mut_ptr());
        let cost = PIECE as f64 * self.cost::<C>();
        threads::tasks(results.len(), cost, |i| {
            let result = piece(i * PIECE..n.min((i + 1) * PIECE));
            // SAFETY: every task has a place of its own.
            unsafe { *shared.at(i) = result };
        });
        let mut cascade = Cascade::new();
        results.into_iter().for_each(|r| cascade.push(r, join));
        cascade.finish(join).unwrap_or(F::NEUTRAL)
    }

    /// Tiles of neighbouring results, each row after row.
    fn by_columns<C: Acc, F: Fold<C>>(&self) {
        let columns = self.columns.0;
        let mut rows = self.rows.clone();
        rows.push(self.run);
        let places = self.places();
        let across = columns.div_ceil(TILE);
        let cost = self.depth() as f64 * self.cost::<C>() * columns.min(TILE) as f64;
        threads::ranges(places.len() * across, 1, cost, |range| {
            let mut tiles = Tiles::new();
            for i in range {
                let (x, out) = places[i / across];
                let first = i % across * TILE;
                let n = (columns - first).min(TILE);
                self.tile::<C, F>(&rows, x, out, first, n, &mut tiles);
            }
        });
    }

    /// `n` results from column `first` on.
    fn tile<C: Acc, F: Fold<C>>(
        &self,
        rows: &[Dim],
        x: usize,
        out: usize,
        first: usize,
        n: usize,
        tiles: &mut Tiles<C>,
    ) {
        let (_, xs, os) = self.columns;
        let x = x + first * xs;
        let piece = PIECE_OF_TILE / n.next_power_of_two();
        // Many rows in one dimension: subtrees of the cascade, which threads take.
        let result = if let [(count, stride, _)] = *rows
            && count > piece
        {
            let mut parts = vec![F::NEUTRAL; count.div_ceil(piece) * n];
            let shared = Shared(parts.as_mut_ptr());
            let cost = (piece * n) as f64 * self.cost::<C>();
            threads::tasks(count.div_ceil(piece), cost, |i| {
                let from = i * piece;
                let some = [(piece.min(count - from), stride, 0)];
                let mut tiles = Tiles::new();
                let sum = self.rows_of_tile::<C, F>(&some, x + from * stride, n, &mut tiles);
                // SAFETY: every task has places of its own.
                unsafe { shared.slice(i * n..(i + 1) * n) }.copy_from_slice(sum);
            });
            tiles.clear(n);
            for part in parts.chunks(n) {
                tiles.open::<F>().copy_from_slice(part);
                tiles.close::<F>();
            }
            tiles.finish::<F>()
        } else {
            self.rows_of_tile::<C, F>(rows, x, n, tiles)
        };
        // SAFETY: NOTE [Views in bounds]; `result` holds `n`.
        unsafe { store(&self.out, out + first * os, os, n, result.as_ptr()) };
    }

    /// The results of `n` columns over rows that start at `x`.
    fn rows_of_tile<'t, C: Acc, F: Fold<C>>(
        &self,
        rows: &[Dim],
        x: usize,
        n: usize,
        tiles: &'t mut Tiles<C>,
    ) -> &'t [C] {
        let xs = self.columns.1;
        let direct = self.x.dtype == C::DTYPE && xs == 1;
        // SAFETY: NOTE [Views in bounds]; only called if `direct`.
        let row = |at: usize| unsafe { std::slice::from_raw_parts(address::<C>(&self.x, at), n) };
        tiles.clear(n);
        if let [(count, stride, _)] = *rows
            && direct
        {
            for first in (0..count).step_by(ROWS) {
                let tile = tiles.open::<F>();
                let mut next = first;
                let end = count.min(first + ROWS);
                while next + GROUP <= end {
                    let group = std::array::from_fn(|i| row(x + (next + i) * stride));
                    merge_rows::<C, F>(tile, group);
                    next += GROUP;
                }
                (next..end).for_each(|i| merge_row::<C, F>(tile, row(x + i * stride)));
                tiles.close::<F>();
            }
        } else {
            let mut buffer = [C::ZERO; TILE];
            let mut held = 0;
            visit(rows, x, 0, &mut |x, _| {
                if held == 0 {
                    tiles.open::<F>();
                }
                if direct {
                    merge_row::<C, F>(tiles.last(), row(x));
                } else {
                    // SAFETY: NOTE [Views in bounds]; the buffer has room for `n`.
                    unsafe { load(&self.x, x, xs, n, buffer.as_mut_ptr()) };
                    merge_row::<C, F>(tiles.last(), &buffer[..n]);
                }
                held = (held + 1) % ROWS;
                if held == 0 {
                    tiles.close::<F>();
                }
            });
            if held > 0 {
                tiles.close::<F>();
            }
        }
        tiles.finish::<F>()
    }
}

/// A [`Cascade`] of tiles of one width, in one piece of memory.
struct Tiles<C> {
    /// Partial results of falling numbers of tiles.
    parts: Vec<C>,
    width: usize,
    count: usize,
}

impl<C: Acc> Tiles<C> {
    fn new() -> Self {
        Self {
            parts: Vec::new(),
            width: 0,
            count: 0,
        }
    }

    /// Begins again, with tiles of another width.
    fn clear(&mut self, width: usize) {
        self.parts.clear();
        (self.width, self.count) = (width, 0);
    }

    /// The next tile, neutral.
    fn open<F: Fold<C>>(&mut self) -> &mut [C] {
        let start = self.parts.len();
        self.parts.resize(start + self.width, F::NEUTRAL);
        self.last()
    }

    /// The tile that is open.
    fn last(&mut self) -> &mut [C] {
        let start = self.parts.len() - self.width;
        &mut self.parts[start..]
    }

    /// Takes the tile that is open.
    fn close<F: Fold<C>>(&mut self) {
        (0..self.count.trailing_ones()).for_each(|_| self.join::<F>());
        self.count += 1;
    }

    /// The result.
    fn finish<F: Fold<C>>(&mut self) -> &[C] {
        if self.count == 0 {
            self.open::<F>();
        }
        while self.parts.len() > self.width {
            self.join::<F>();
        }
        &self.parts
    }

    fn join<F: Fold<C>>(&mut self) {
        let start = self.parts.len() - self.width;
        let (parts, last) = self.parts.split_at_mut(start);
        merge_tile::<C, F>(&mut parts[start - self.width..], last);
        self.parts.truncate(start);
    }
}

versions! {
    /// Folds lanes of `run` elements that start at a distance of `stride`.
    fn fold_lanes<C: Acc, F: Fold<C>>(x: &[C], run: usize, stride: usize, results: &mut [C])
        = fold_lanes_body;
    /// Merges the elements of `row` into `tile`.
    fn merge_row<C: Acc, F: Fold<C>>(tile: &mut [C], row: &[C]) = merge_row_body;
    /// Merges the elements of several rows into `tile`, one after the other.
    fn merge_rows<C: Acc, F: Fold<C>>(tile: &mut [C], rows: [&[C]; GROUP]) = merge_rows_body;
    /// Merges the results `part` into `tile`.
    fn merge_tile<C: Acc, F: Fold<C>>(tile: &mut [C], part: &[C]) = merge_tile_body;
}

#[inline(always)]
fn fold_lanes_body<C: Acc, F: Fold<C>>(x: &[C], run: usize, stride: usize, results: &mut [C]) {
    for (i, r) in results.iter_mut().enumerate() {
        *r = fold_body::<C, F>(&x[i * stride..][..run]);
    }
}

#[inline(always)]
fn merge_row_body<C: Acc, F: Fold<C>>(tile: &mut [C], row: &[C]) {
    for (a, &b) in tile.iter_mut().zip(row) {
        *a = F::merge(*a, F::lift(b));
    }
}

#[inline(always)]
fn merge_rows_body<C: Acc, F: Fold<C>>(tile: &mut [C], rows: [&[C]; GROUP]) {
    let n = tile.len();
    let [a, b, c, d] = rows.map(|row| &row[..n]);
    for i in 0..n {
        let mut sum = tile[i];
        for x in [a[i], b[i], c[i], d[i]] {
            sum = F::merge(sum, F::lift(x));
        }
        tile[i] = sum;
    }
}

#[inline(always)]
fn merge_tile_body<C: Acc, F: Fold<C>>(tile: &mut [C], part: &[C]) {
    for (a, &b) in tile.iter_mut().zip(part) {
        *a = F::merge(*a, b);
    }
}

/// Whether `v` is a better extremum than `best`, where `better` compares strictly: the first NaN is
/// better than any number.
#[inline(always)]
fn wins<C: Acc>(v: C, best: C, better: impl Fn(C, C) -> bool) -> bool {
    !best.is_nan() && (better(v, best) || v.is_nan())
}

/// A strict order of which the extremum is wanted, with the fold that finds it.
trait Order<C>: Fold<C> {
    fn better(a: C, b: C) -> bool;
}

impl<C: Acc> Order<C> for lane::Max {
    #[inline(always)]
    fn better(a: C, b: C) -> bool {
        a > b
    }
}

impl<C: Acc> Order<C> for lane::Min {
    #[inline(always)]
    fn better(a: C, b: C) -> bool {
        a < b
    }
}

/// Positions of extrema.
fn arg<C: Acc, F: Order<C>>(out: View, x: View, dims: &[usize]) {
    let all = x.layout.ndim();
    let kept = |layout: &Layout| lane::select(layout, |d| !dims.contains(&d));
    let elements = Lane::new(x.layout, (0..all).filter(|d| dims.contains(d)));
    let walk = Walk::new(&[&kept(out.layout), &kept(x.layout)]);
    let cost = elements.len as f64 * 0.3 + 5.0;
    let small = elements.len < 32 || walk.stride[1] < elements.last_stride();
    // The positions in a tile are 32 bits wide.
    if walk.run >= 16 && small && u32::try_from(elements.len).is_ok() {
        threads::ranges(walk.len(), 64, cost, |range| {
            let mut buffer = [C::ZERO; COLUMNS];
            let mut best = [C::ZERO; COLUMNS];
            let mut places = [0u32; COLUMNS];
            walk.pieces_in(range, COLUMNS, |at, n| {
                let mut position = 0;
                elements.runs(at[1], |start, stride, count| {
                    for i in 0..count {
                        // SAFETY: NOTE [Views in bounds]; the buffer has room for `n`.
                        unsafe {
                            let to = buffer.as_mut_ptr();
                            load(&x, start + i * stride, walk.stride[1], n, to);
                        }
                        if position == 0 {
                            best[..n].copy_from_slice(&buffer[..n]);
                            places[..n].fill(0);
                        } else {
                            let (best, places) = (&mut best[..n], &mut places[..n]);
                            contest::<C, F>(best, places, &buffer[..n], position);
                        }
                        position += 1;
                    }
                });
                let wide = places.map(i64::from);
                // SAFETY: NOTE [Views in bounds]; `wide` holds at least `n`.
                unsafe { store(&out, at[0], walk.stride[0], n, wide.as_ptr()) };
            });
        });
        return;
    }
    threads::ranges(walk.len(), 1, cost, |range| {
        let mut buffer = [C::ZERO; BLOCK];
        walk.elements_in(range, |at| {
            let mut best: Option<C> = None;
            let (mut position, mut passed) = (0, 0);
            elements.runs(at[1], |start, stride, n| {
                let mut done = 0;
                while done < n {
                    let m = (n - done).min(BLOCK);
                    // SAFETY: NOTE [Views in bounds]; the buffer has room for `m`.
                    unsafe {
                        load(&x, start + done * stride, stride, m, buffer.as_mut_ptr());
                    }
                    let block = &buffer[..m];
                    // The block's extremum first, which is quick, and only then where it is.
                    let top = fold::<C, F>(block);
                    if best.is_none_or(|best| wins(top, best, F::better)) {
                        let found = block
                            .iter()
                            .position(|&v| v == top || (v.is_nan() && top.is_nan()));
                        position = passed + done + found.unwrap_or(0);
                        best = Some(top);
                    }
                    done += m;
                }
                passed += n;
            });
            let position = position as i64;
            // SAFETY: NOTE [Views in bounds].
            unsafe { store(&out, at[0], 1, 1, &position) };
        })
    });
}

versions! {
    /// Where an element of `row` wins, it becomes the best, and `position` its place.
    fn contest<C: Acc, F: Order<C>>(
        best: &mut [C],
        places: &mut [u32],
        row: &[C],
        position: u32,
    ) = contest_body;
}

#[inline(always)]
fn contest_body<C: Acc, F: Order<C>>(best: &mut [C], places: &mut [u32], row: &[C], position: u32) {
    for ((best, place), &v) in best.iter_mut().zip(places).zip(row) {
        let win = wins(v, *best, F::better);
        *best = if win { v } else { *best };
        *place = if win { position } else { *place };
    }
}
