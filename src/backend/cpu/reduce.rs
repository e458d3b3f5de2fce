//! Reductions.
//!
//! Work is split by shape and strides alone, and floating-point sums are merged pairwise, so a sum
//! has the same bits every time and an error that grows with the logarithm of its length.

use super::super::{Reduction, View};
use super::isa::versions;
use super::lane::{self, Acc, BLOCK, Cascade, DENSE_BLOCK, Fold, Lane, fold};
use super::map::{load, store};
use super::threads::{self, Shared};
use super::walk::{Walk, address};
use crate::base::{DType, Layout};
use smallvec::SmallVec;
use std::cmp::Reverse;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

mod rule;

#[cfg(test)]
mod tests;

use rule::{Folded, GROUP, Rule, describe, describe_lanes};

/// Columns that are reduced together when the reduced dimension is an outer one: rows so long that
/// they are fetched ahead, and so short that the results stay in the first cache.
const TILE: usize = 1024;

/// Rows of a tile that are folded one after the other before tiles are merged pairwise.
const ROWS: usize = 32;

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
        (Reduction::Sum | Reduction::SumNumbers | Reduction::SumSquares, DType::Bool) => {
            Reduction::Any
        }
        (Reduction::Prod, DType::Bool) => Reduction::All,
        (f, _) => f,
    };
    let compute = match f {
        Reduction::Sum
        | Reduction::SumNumbers
        | Reduction::SumSquares
        | Reduction::SquaredDistances
        | Reduction::Prod => out.dtype,
        // The narrowest compute type: no integer but 0 becomes 0.
        Reduction::Any | Reduction::All if !x.dtype.is_float() => DType::F32,
        _ => x.dtype,
    }
    .compute();
    match (f, compute) {
        // The only one that integers do not have.
        (Reduction::SquaredDistances, DType::F64) => {
            Plan::new(out, x, dims).run::<f64, rule::SquaredDistances>();
        }
        (Reduction::SquaredDistances, _) => {
            Plan::new(out, x, dims).run::<f32, rule::SquaredDistances>();
        }
        (_, DType::F32) => typed::<f32>(f, out, x, dims),
        (_, DType::F64) => typed::<f64>(f, out, x, dims),
        _ => typed::<i64>(f, out, x, dims),
    }
}

fn typed<C: Acc>(f: Reduction, out: View, x: View, dims: &[usize]) {
    match f {
        Reduction::Sum => Plan::new(out, x, dims).run::<C, Folded<lane::Sum>>(),
        Reduction::SumNumbers => Plan::new(out, x, dims).run::<C, Folded<lane::SumNumbers>>(),
        Reduction::SumSquares => Plan::new(out, x, dims).run::<C, Folded<lane::SumSquares>>(),
        Reduction::Prod => Plan::new(out, x, dims).run::<C, Folded<lane::Prod>>(),
        Reduction::Max => Plan::new(out, x, dims).run::<C, Folded<lane::Max>>(),
        Reduction::Min => Plan::new(out, x, dims).run::<C, Folded<lane::Min>>(),
        Reduction::Any => Plan::new(out, x, dims).run::<C, Folded<lane::Any>>(),
        Reduction::All => Plan::new(out, x, dims).run::<C, Folded<lane::All>>(),
        Reduction::ArgMax => arg::<C, lane::Max>(out, x, dims),
        Reduction::ArgMin => arg::<C, lane::Min>(out, x, dims),
        Reduction::SquaredDistances => unreachable!("of floats, which were taken before"),
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

    fn run<C: Acc, R: Rule<C>>(&self) {
        let ((columns, column_stride, _), (run, run_stride, _)) = (self.columns, self.run);
        let by_columns = if columns >= 16 && run < 32 {
            true
        } else if columns < 8 && run >= 64 {
            false
        } else {
            columns > 1 && column_stride < run_stride
        };
        if by_columns {
            self.by_columns::<C, R>();
        } else {
            self.by_lanes::<C, R>();
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
    fn by_lanes<C: Acc, R: Rule<C>>(&self) {
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
                    describe_lanes::<C, R>(lanes, self.run.0, xs, results);
                } else {
                    for (i, r) in results.iter_mut().enumerate() {
                        *r = R::result(&self.lane::<C, R>(x + (first + i) * xs, &mut buffer));
                    }
                }
                // SAFETY: NOTE [Views in bounds]; `results` holds `n`.
                unsafe { store(&self.out, out + first * os, os, n, results.as_ptr()) };
                next += n;
            }
        });
    }

    /// Describes the elements of the lane that starts at `x`.
    fn lane<C: Acc, R: Rule<C>>(&self, x: usize, buffer: &mut MaybeUninit<[C; BLOCK]>) -> R::Part {
        let buffer = buffer.as_mut_ptr().cast::<C>();
        let (run, stride, _) = self.run;
        let direct = self.x.dtype == C::DTYPE && stride == 1;
        if direct && self.rows.is_empty() {
            return self.dense_lane::<C, R>(x, run);
        }
        let slice = |at: usize, n: usize| {
            // SAFETY: NOTE [Views in bounds]; only called if `direct`.
            unsafe { std::slice::from_raw_parts(address::<C>(&self.x, at), n) }
        };
        let mut cascade = Cascade::new();
        let mut filled = 0;
        visit(&self.rows, x, 0, &mut |x, _| {
            let mut done = 0;
            while done < run {
                if direct && run >= BLOCK / 4 {
                    let n = (run - done).min(BLOCK);
                    cascade.push(describe::<C, R>(slice(x + done, n)), R::merge);
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
                    cascade.push(describe::<C, R>(block), R::merge);
                    filled = 0;
                }
            }
        });
        if filled > 0 {
            // SAFETY: so much of the buffer is filled.
            let block = unsafe { std::slice::from_raw_parts(buffer, filled) };
            cascade.push(describe::<C, R>(block), R::merge);
        }
        cascade.finish(R::merge).unwrap_or(R::NOTHING)
    }

    /// Describes `n` elements that lie one after the other. The pieces that threads take are subtrees
    /// of the cascade, so that they change nothing.
    fn dense_lane<C: Acc, R: Rule<C>>(&self, x: usize, n: usize) -> R::Part {
        let piece = |range: Range<usize>| {
            let from = address::<C>(&self.x, x + range.start);
            // SAFETY: NOTE [Views in bounds].
            let elements = unsafe { std::slice::from_raw_parts(from, range.len()) };
            if elements.len() <= DENSE_BLOCK {
                return describe::<C, R>(elements);
            }
            let mut cascade = Cascade::new();
            for block in elements.chunks(DENSE_BLOCK) {
                cascade.push(describe::<C, R>(block), R::merge);
            }
            cascade.finish(R::merge).unwrap_or(R::NOTHING)
        };
        if n <= PIECE {
            return piece(0..n);
        }
        let mut parts = vec![R::NOTHING; n.div_ceil(PIECE)];
        let shared = Shared(parts.as_mut_ptr());
        let cost = PIECE as f64 * self.cost::<C>();
        threads::tasks(parts.len(), cost, |i| {
            let part = piece(i * PIECE..n.min((i + 1) * PIECE));
            // SAFETY: every task has a place of its own.
            unsafe { *shared.at(i) = part };
        });
        let mut cascade = Cascade::new();
        parts.into_iter().for_each(|p| cascade.push(p, R::merge));
        cascade.finish(R::merge).unwrap_or(R::NOTHING)
    }

    /// Tiles of neighbouring results, each row after row.
    fn by_columns<C: Acc, R: Rule<C>>(&self) {
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
                self.tile::<C, R>(&rows, x, out, first, n, &mut tiles);
            }
        });
    }

    /// `n` results from column `first` on.
    fn tile<C: Acc, R: Rule<C>>(
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
            let width = n * R::FIELDS;
            let mut parts = vec![R::EMPTY; count.div_ceil(piece) * width];
            let shared = Shared(parts.as_mut_ptr());
            let cost = (piece * n) as f64 * self.cost::<C>();
            threads::tasks(count.div_ceil(piece), cost, |i| {
                let from = i * piece;
                let some = [(piece.min(count - from), stride, 0)];
                let mut tiles = Tiles::new();
                let part = self.rows_of_tile::<C, R>(&some, x + from * stride, n, &mut tiles);
                // SAFETY: every task has places of its own.
                unsafe { shared.slice(i * width..(i + 1) * width) }.copy_from_slice(part);
            });
            tiles.clear(width);
            for (i, part) in parts.chunks(width).enumerate() {
                tiles.open::<R>().copy_from_slice(part);
                tiles.close::<R>(piece.min(count - i * piece));
            }
            tiles.finish::<R>()
        } else {
            self.rows_of_tile::<C, R>(rows, x, n, tiles)
        };
        // SAFETY: NOTE [Views in bounds]; `result` holds `n`.
        unsafe { store(&self.out, out + first * os, os, n, result.as_ptr()) };
    }

    /// Describes `n` columns of rows that start at `x`.
    fn rows_of_tile<'t, C: Acc, R: Rule<C>>(
        &self,
        rows: &[Dim],
        x: usize,
        n: usize,
        tiles: &'t mut Tiles<C>,
    ) -> &'t [C] {
        tiles.clear(n * R::FIELDS);
        let mut take = |places: &[usize]| {
            let rows = Rows::new(&self.x, places, self.columns.1, n);
            R::describe_rows(tiles.open::<R>(), &rows);
            tiles.close::<R>(places.len());
        };
        let mut places: SmallVec<[usize; ROWS]> = SmallVec::new();
        visit(rows, x, 0, &mut |x, _| {
            places.push(x);
            if places.len() == ROWS {
                take(&places);
                places.clear();
            }
        });
        if !places.is_empty() {
            take(&places);
        }
        tiles.finish::<R>()
    }
}

/// Some elements of each of a few rows.
struct Rows<'a, C> {
    x: &'a View<'a>,
    /// Where they start.
    places: &'a [usize],
    stride: usize,
    n: usize,
    of: PhantomData<C>,
}

impl<'a, C: Acc> Rows<'a, C> {
    /// `n` elements at a distance of `stride` from each place.
    fn new(x: &'a View<'a>, places: &'a [usize], stride: usize, n: usize) -> Self {
        Self {
            x,
            places,
            stride,
            n,
            of: PhantomData,
        }
    }

    /// The number of rows.
    fn len(&self) -> usize {
        self.places.len()
    }

    /// Calls `f` with [`GROUP`] rows at a time, or with one.
    fn each(&self, mut f: impl FnMut(&[&[C]])) {
        if self.x.dtype == C::DTYPE && self.stride == 1 {
            let row = |at: usize| {
                // SAFETY: NOTE [Views in bounds]; the type is the view's.
                unsafe { std::slice::from_raw_parts(address::<C>(self.x, at), self.n) }
            };
            let (groups, rest) = self.places.as_chunks::<GROUP>();
            groups.iter().for_each(|places| f(&places.map(row)));
            rest.iter().for_each(|&at| f(&[row(at)]));
            return;
        }
        let mut buffer = [C::ZERO; TILE];
        for &at in self.places {
            // SAFETY: NOTE [Views in bounds]; the buffer has room for `n`.
            unsafe { load(self.x, at, self.stride, self.n, buffer.as_mut_ptr()) };
            f(&[&buffer[..self.n]]);
        }
    }
}

/// A [`Cascade`] of tiles of one width, in one piece of memory.
struct Tiles<C> {
    /// Descriptions of falling numbers of tiles.
    parts: Vec<C>,
    /// How many rows each describes.
    counts: SmallVec<[usize; 16]>,
    width: usize,
    closed: usize,
}

impl<C: Acc> Tiles<C> {
    fn new() -> Self {
        Self {
            parts: Vec::new(),
            counts: SmallVec::new(),
            width: 0,
            closed: 0,
        }
    }

    /// Begins again, with tiles of another width.
    fn clear(&mut self, width: usize) {
        self.parts.clear();
        self.counts.clear();
        (self.width, self.closed) = (width, 0);
    }

    /// The next tile, which describes nothing yet.
    fn open<R: Rule<C>>(&mut self) -> &mut [C] {
        let start = self.parts.len();
        self.parts.resize(start + self.width, R::EMPTY);
        &mut self.parts[start..]
    }

    /// Takes the tile that is open, and describes so many rows.
    fn close<R: Rule<C>>(&mut self, count: usize) {
        self.counts.push(count);
        (0..self.closed.trailing_ones()).for_each(|_| self.join::<R>());
        self.closed += 1;
    }

    /// The tile that describes all rows.
    fn finish<R: Rule<C>>(&mut self) -> &[C] {
        if self.closed == 0 {
            self.open::<R>();
        }
        while self.parts.len() > self.width {
            self.join::<R>();
        }
        &self.parts
    }

    fn join<R: Rule<C>>(&mut self) {
        let start = self.parts.len() - self.width;
        let (parts, last) = self.parts.split_at_mut(start);
        if let [.., a, b] = &mut self.counts[..] {
            R::merge_tiles(&mut parts[start - self.width..], last, [*a, *b]);
            *a += *b;
        }
        self.counts.pop();
        self.parts.truncate(start);
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
