//! Products of matrices in tiles, which are computed in blocks.

use super::super::math::Compute;
use super::super::threads::{self, Shared};
use super::kernel::{Block, Kernel};
use super::matrix::{AccOf, Matrix, Target};
use super::panels::{Panels, scratch};
use std::any::TypeId;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Terms of a sum that are added up in one piece when there are few results.
const PART: usize = 1024;

/// From so many columns on, one strip of tiles is computed after the other: a packed copy of all columns
/// would be as large as the matrix.
const STRIPS: usize = 1024;

/// The most sums of a block.
const BLOCK: usize = 8 * 32;

/// About how many nanoseconds a product takes.
fn cost<K: Kernel>([m, n, k]: [usize; 3]) -> f64 {
    (m * n * k) as f64 * 0.19 / (K::LANES * K::DEPTH) as f64
}

/// `c = a b`, plus the bias, for `m * k` and `k * n` elements, none of the sizes 0.
///
/// Tiles and parts of sums depend on the sizes alone: see NOTE [Threads].
///
/// # Safety
/// The matrices lie in memory that may be read, and the target may be written; it shares nothing with
/// the others. The processor has the kernel's instructions.
pub(super) unsafe fn product<K: Kernel, T: Copy + Send + Sync + 'static>(
    sizes @ [m, n, k]: [usize; 3],
    c: Target<T>,
    a: Matrix<K::Element>,
    b: Matrix<K::Element>,
) where
    K::Sum: AccOf<T>,
{
    // A result in columns is computed turned, and so is one with so few columns that most of a block
    // would lie beyond them.
    let blocks = |m: usize, n: usize| m.next_multiple_of(2) * n.next_multiple_of(K::LANES);
    let (as_is, turned) = (blocks(m, n), blocks(n, m));
    let in_columns = c.to.rows == 1 && c.to.columns != 1;
    // SAFETY: the caller's promise.
    unsafe {
        if 2 * turned <= as_is || (in_columns && 2 * as_is > turned) {
            tiles::<K, T>([n, m, k], c.transposed(), b.transposed(), a.transposed());
        } else {
            tiles::<K, T>(sizes, c, a, b);
        }
    }
}

/// As [`product`].
///
/// # Safety
/// As [`product`].
unsafe fn tiles<K: Kernel, T: Copy + Send + Sync + 'static>(
    sizes @ [m, n, k]: [usize; 3],
    c: Target<T>,
    a: Matrix<K::Element>,
    b: Matrix<K::Element>,
) where
    K::Sum: AccOf<T>,
{
    let tiling = Tiling::new(m, n);
    let parts = k.div_ceil(PART);
    if tiling.number() > 2 || parts < 4 {
        // SAFETY: the caller's promise.
        return unsafe { shared::<K, T>(tiling, sizes, c, a, b) };
    }
    // Few results of long sums: the parts of the sums are the tasks.
    let sums = scratch::<K::Sum>(parts * m * n);
    let sums = Shared(sums.as_ptr().cast::<K::Sum>());
    let partial = |part: usize| Matrix::in_rows(sums.at(part * m * n), n);
    threads::tasks(parts, cost::<K>([m, n, PART]), |part| {
        let first = part * PART;
        let sizes = [m, n, PART.min(k - first)];
        let c = Target {
            to: partial(part),
            bias: None,
            relu: false,
        };
        // SAFETY: the caller's promise, for some of the terms.
        unsafe { shared::<K, K::Sum>(tiling, sizes, c, a.from(0, first), b.from(first, 0)) };
    });
    for i in 0..m {
        for j in 0..n {
            // SAFETY: the tasks have written these; the caller's promise.
            unsafe {
                let sum = (1..parts).fold(*partial(0).at(i, j), |sum, part| {
                    sum.add(*partial(part).at(i, j))
                });
                c.put(i, j, sum);
            }
        }
    }
}

/// How a result is cut in tiles.
#[derive(Clone, Copy)]
struct Tiling {
    /// Rows of a tile.
    rows: usize,
    /// Columns of a tile.
    columns: usize,
    /// Tiles that lie side by side.
    across: usize,
    /// Tiles that lie one below the other.
    down: usize,
}

impl Tiling {
    fn new(m: usize, n: usize) -> Self {
        let rows = if m.max(n) <= 512 { 64 } else { 128 };
        // Few rows make few tiles, unless these are narrow.
        let columns = if m <= rows { 128 } else { 512 };
        Self {
            rows,
            columns,
            across: n.div_ceil(columns),
            down: m.div_ceil(rows),
        }
    }

    /// The rows and columns of a tile of a result of `m` rows and `n` columns.
    fn ranges(self, tile: usize, m: usize, n: usize) -> (Range<usize>, Range<usize>) {
        let (i, j) = (tile / self.across, tile % self.across);
        (
            i * self.rows..m.min((i + 1) * self.rows),
            j * self.columns..n.min((j + 1) * self.columns),
        )
    }

    fn number(self) -> usize {
        self.across * self.down
    }
}

/// Hands out the tiles of a result.
///
/// # Safety
/// As [`product`].
unsafe fn shared<K: Kernel, T: Copy + Send + Sync + 'static>(
    tiling: Tiling,
    [m, n, k]: [usize; 3],
    c: Target<T>,
    a: Matrix<K::Element>,
    b: Matrix<K::Element>,
) where
    K::Sum: AccOf<T>,
{
    if tiling.down > 1 && tiling.across > 1 && n >= STRIPS {
        let strip = Tiling {
            across: 1,
            ..tiling
        };
        for j in (0..n).step_by(tiling.columns) {
            let sizes = [m, tiling.columns.min(n - j), k];
            // SAFETY: the caller's promise, for some of the columns.
            unsafe { shared::<K, T>(strip, sizes, c.from(0, j), a, b.from(0, j)) };
        }
        return;
    }
    let width = if n <= K::LANES { K::LANES } else { K::COLUMNS };
    // SAFETY: the caller's promise.
    let rows = |i: Range<usize>| unsafe { Panels::of_rows::<K>(a.from(i.start, 0), i.len(), k) };
    let columns = |j: Range<usize>| {
        // SAFETY: as above.
        unsafe { Panels::of_columns::<K>(b.from(0, j.start), j.len(), k, width) }
    };
    // What several tiles read is packed once; the other operand by each tile, which needs it at once.
    let wide = tiling.down == 1;
    let whole = if wide { rows(0..m) } else { columns(0..n) };
    let cost = cost::<K>([tiling.rows.min(m), tiling.columns.min(n), k]);
    threads::tasks(tiling.number(), cost, |tile| {
        let (down, across) = tiling.ranges(tile, m, n);
        let own = if wide {
            columns(across.clone())
        } else {
            rows(down.clone())
        };
        let (rows, columns) = if wide { (&whole, &own) } else { (&own, &whole) };
        let first = if wide { across.start } else { 0 };
        for j in across.clone().step_by(width) {
            for i in down.clone().step_by(K::ROWS) {
                let block = Block {
                    a: rows.panel((i - down.start) / K::ROWS),
                    b: columns.panel((j - first) / width),
                    terms: k.div_ceil(K::DEPTH),
                    to: std::ptr::null_mut(),
                    stride: 0,
                    bias: None,
                    relu: false,
                    rows: K::ROWS.min(down.end - i),
                    columns: width.min(across.end - j),
                };
                // SAFETY: the caller's promise, for a block of the result.
                unsafe { multiply::<K, T>(block, c.from(i, j)) };
            }
        }
    });
}

/// Computes a block where it goes, if it can be written there, else in a buffer.
///
/// # Safety
/// As [`product`], for a block.
unsafe fn multiply<K: Kernel, T: Copy + 'static>(block: Block<K::Word, K::Sum>, c: Target<T>)
where
    K::Sum: AccOf<T>,
{
    const { assert!(K::ROWS * K::COLUMNS <= BLOCK) };
    let (m, n) = (block.rows, block.columns);
    let in_place = TypeId::of::<T>() == TypeId::of::<K::Sum>()
        && c.bias.is_none_or(|bias| bias.columns == 1)
        && c.to.columns == 1
        && n.is_multiple_of(K::LANES);
    // SAFETY: the caller's promise; the buffer has room for any block.
    unsafe {
        if in_place {
            return K::multiply(Block {
                to: c.to.at.cast(),
                stride: c.to.rows,
                bias: c.bias.map(Matrix::cast),
                relu: c.relu,
                ..block
            });
        }
        let mut buffer = MaybeUninit::<[K::Sum; BLOCK]>::uninit();
        let sums = Matrix::in_rows(buffer.as_mut_ptr().cast(), K::COLUMNS);
        K::multiply(Block {
            to: sums.at,
            stride: K::COLUMNS,
            ..block
        });
        c.put_rows(sums, m, n);
    }
}
