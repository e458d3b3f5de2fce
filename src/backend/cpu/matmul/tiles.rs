//! Products of matrices in tiles, which are computed in blocks.

use super::super::math::Compute;
use super::super::threads::{self, Shared};
use super::kernel::{Block, Kernel, Panel};
use super::matrix::{AccOf, Matrix, Target};
use super::panels::{MOST, Panels};
use super::scratch;
use std::any::TypeId;
use std::mem::MaybeUninit;

/// Terms of a sum that are added up in one piece when there are few results.
const PART: usize = 1024;

/// Results of so many sums are few.
const FEW: usize = 1 << 15;

/// The most sums of a block.
const BLOCK: usize = 32 * 32;

/// Blocks of a tile, one below the other: about so many at least, and at most.
const DOWN: [usize; 2] = [4, 8];

/// Blocks of a tile, side by side, unless the result is narrower.
const ACROSS: usize = 4;

/// Tiles for each thread, where they would not be too small.
const TILES: usize = 4;

/// About how many nanoseconds a product takes.
fn cost<K: Kernel>([m, n, k]: [usize; 3]) -> f64 {
    (m * n * k) as f64 * K::COST
}

/// `c = a b`, plus the bias, for `m * k` and `k * n` elements, none of the sizes 0.
///
/// Parts of sums depend on the sizes alone: see NOTE [Threads].
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
    let parts = k.div_ceil(PART);
    if m * n > FEW || parts < 4 {
        // SAFETY: the caller's promise.
        return unsafe { chunks::<K, T>(sizes, c, a, b) };
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
        unsafe { chunks::<K, K::Sum>(sizes, c, a.from(0, first), b.from(first, 0)) };
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

/// Adds up a chunk of the terms after the other: see NOTE [Order of summation].
///
/// # Safety
/// As [`product`].
unsafe fn chunks<K: Kernel, T: Copy + Send + Sync + 'static>(
    [m, n, k]: [usize; 3],
    c: Target<T>,
    a: Matrix<K::Element>,
    b: Matrix<K::Element>,
) where
    K::Sum: AccOf<T>,
{
    let chunk = K::CHUNK * K::DEPTH;
    if k <= chunk {
        // SAFETY: the caller's promise.
        return unsafe { shared::<K, T>([m, n, k], c, None, a, b) };
    }
    // The sums of the chunks before lie where the results go, if those are sums.
    let is_sum = TypeId::of::<T>() == TypeId::of::<K::Sum>();
    let own = (!is_sum).then(|| scratch::<K::Sum>(m * n));
    let sums = match &own {
        Some(own) => Matrix::in_rows(own.as_ptr().cast(), n),
        None => c.to.cast(),
    };
    for first in (0..k).step_by(chunk) {
        let before = (first > 0).then_some(sums);
        let (a, b) = (a.from(0, first), b.from(first, 0));
        // SAFETY: the caller's promise, for some of the terms.
        unsafe {
            if k - first > chunk {
                let c = Target {
                    to: sums,
                    bias: None,
                    relu: false,
                };
                shared::<K, K::Sum>([m, n, chunk], c, before, a, b);
            } else {
                shared::<K, T>([m, n, k - first], c, before, a, b);
            }
        }
    }
}

/// How a result is cut in tiles, for as many threads as there are: no result depends on it.
#[derive(Clone, Copy)]
struct Tiling {
    /// Columns of a panel.
    width: usize,
    /// Rows of a tile.
    rows: usize,
    /// Columns of a tile.
    columns: usize,
    /// Tiles that lie one below the other.
    down: usize,
    /// Tiles that lie side by side.
    across: usize,
}

impl Tiling {
    fn new<K: Kernel>([m, n, k]: [usize; 3]) -> Self {
        let width = if n <= K::LANES { K::LANES } else { K::COLUMNS };
        if m <= DOWN[0] * K::ROWS && n <= ACROSS * width {
            return Self {
                width,
                rows: m,
                columns: n,
                down: 1,
                across: 1,
            };
        }
        let threads = threads::num_threads();
        // What each thread computes is about as wide as high, so that it packs the least.
        let side = ((m * n) as f64 / threads as f64).sqrt() as usize;
        let column = k.div_ceil(K::DEPTH) * size_of::<K::Word>();
        let most = MOST / (column * width) * width;
        let across = n.div_ceil(side.max(ACROSS * width).min(most));
        let columns = n.div_ceil(across).next_multiple_of(width);
        let [most, least] = DOWN.map(|blocks| m.div_ceil(blocks * K::ROWS));
        let down = (TILES * threads).div_ceil(across).clamp(least, most);
        let rows = m.div_ceil(down).next_multiple_of(K::ROWS);
        Self {
            width,
            rows,
            columns,
            down: m.div_ceil(rows),
            across: n.div_ceil(columns),
        }
    }
}

/// Panels that a thread has packed, and of which tiles.
type Packed<K> = Option<(usize, Panels<<K as Kernel>::Word>)>;

/// Hands out the tiles of a result, to which the sums `before` are added. A thread packs what its tiles
/// read itself: packed by another core, it would come from that core's cache.
///
/// # Safety
/// As [`product`]; the sums may be read, and lie where the results go or are not written meanwhile.
unsafe fn shared<K: Kernel, T: Copy + Send + Sync + 'static>(
    sizes @ [m, n, k]: [usize; 3],
    c: Target<T>,
    before: Option<Matrix<K::Sum>>,
    a: Matrix<K::Element>,
    b: Matrix<K::Element>,
) where
    K::Sum: AccOf<T>,
{
    let tiling = Tiling::new::<K>(sizes);
    let Tiling { width, down, .. } = tiling;
    let none = || -> [Packed<K>; 2] { [None, None] };
    let cost = cost::<K>([tiling.rows.min(m), tiling.columns.min(n), k]);
    threads::tasks_with(down * tiling.across, cost, none, |[rows, columns], tile| {
        let (i, j) = (tile % down, tile / down);
        let (top, left) = (i * tiling.rows, j * tiling.columns);
        let (high, wide) = (tiling.rows.min(m - top), tiling.columns.min(n - left));
        let readers = m.div_ceil(K::ROWS);
        // SAFETY: the caller's promise.
        let rows = packed(rows, i, || unsafe {
            Panels::of_rows::<K>(a.from(top, 0), high, k)
        });
        // SAFETY: as above.
        let columns = packed(columns, j, || unsafe {
            Panels::of_columns::<K>(b.from(0, left), wide, k, width, readers)
        });
        // Along a row of blocks, results are written in the order of memory.
        for (row, i) in (0..high).step_by(rows.width).enumerate() {
            for (column, j) in (0..wide).step_by(width).enumerate() {
                let operands = (rows.panel(row), columns.panel(column));
                let sizes = [rows.width.min(high - i), width.min(wide - j), k];
                let to = (top + i, left + j);
                let before = before.map(|sums| sums.from(to.0, to.1));
                // SAFETY: the caller's promise, for a block of the result.
                unsafe { multiply::<K, T>(sizes, c.from(to.0, to.1), before, operands) };
            }
        }
    });
}

/// The panels of tile `i`, which are packed unless they were the last.
fn packed<W>(
    kept: &mut Option<(usize, Panels<W>)>,
    i: usize,
    pack: impl FnOnce() -> Panels<W>,
) -> &Panels<W> {
    if kept.as_ref().is_none_or(|(of, _)| *of != i) {
        // What was kept gives its memory to the new one.
        *kept = None;
        *kept = Some((i, pack()));
    }
    &kept.as_ref().expect("just packed").1
}

/// Computes a block where it goes, if it can be written there, else in a buffer.
///
/// Inlined, so that a block is written once: copies of what has just been written wait until all
/// results before it are.
///
/// # Safety
/// As [`shared`], for a block, and its panels.
#[inline(always)]
unsafe fn multiply<K: Kernel, T: Copy + 'static>(
    [m, n, k]: [usize; 3],
    c: Target<T>,
    before: Option<Matrix<K::Sum>>,
    (a, b): (Panel<K::Word>, Panel<K::Word>),
) where
    K::Sum: AccOf<T>,
{
    const { assert!(K::ROWS * K::COLUMNS <= BLOCK) };
    let in_place = TypeId::of::<T>() == TypeId::of::<K::Sum>()
        && before.is_none_or(|sums| sums.columns == 1)
        && c.bias.is_none_or(|bias| bias.columns == 1)
        && c.to.columns == 1
        && n.is_multiple_of(K::LANES);
    let block = |sums: Matrix<K::Sum>, added, relu| Block {
        a,
        b,
        terms: k.div_ceil(K::DEPTH),
        to: sums.at,
        stride: sums.rows,
        added,
        relu,
        rows: m,
        columns: n,
    };
    // SAFETY: the caller's promise; the buffer has room for any block.
    unsafe {
        if in_place {
            let added = [before, c.bias.map(Matrix::cast)];
            return K::multiply(&block(c.to.cast(), added, c.relu));
        }
        let mut buffer = MaybeUninit::<[K::Sum; BLOCK]>::uninit();
        let sums = Matrix::in_rows(buffer.as_mut_ptr().cast(), K::COLUMNS);
        K::multiply(&block(sums, [None, None], false));
        if let Some(before) = before {
            sums.add(before, m, n);
        }
        c.put_rows(sums, m, n);
    }
}
