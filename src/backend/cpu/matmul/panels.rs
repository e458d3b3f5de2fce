//! Operands rearranged for the kernels.

use super::super::isa::versions;
use super::super::transpose::{Word, transpose};
use super::kernel::{Kernel, Panel};
use super::matrix::Matrix;
use std::cell::Cell;
use std::ops::Range;

/// The most elements of a matrix that is read many times where it lies: more do not stay in the cache.
const IN_PLACE: usize = 1 << 16;

/// Neighbours at a distance of a multiple of so many bytes drive each other out of the cache.
const CONFLICT: usize = 2048;

/// What so few rows of blocks read is not worth packing.
const FEW: usize = 5;

/// The most bytes of packed words.
pub(super) const MOST: usize = 1 << 20;

/// A cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code)] [u8; 64]);

thread_local! {
    /// Memory for packed words, which nobody uses now: a thread finds in its cache what it packed, and
    /// threads do not wait for each other at the pool.
    static FREE: Cell<Vec<Vec<Line>>> = const { Cell::new(Vec::new()) };
}

/// Memory for packed words.
struct Words(Vec<Line>);

impl Words {
    fn new(bytes: usize) -> Self {
        assert!(bytes <= MOST);
        // AddressSanitizer is to see where they end.
        if cfg!(unpooled) {
            return Self(Vec::with_capacity(bytes.div_ceil(size_of::<Line>())));
        }
        let kept = FREE.try_with(|free| {
            let mut list = free.take();
            let kept = list.pop();
            free.set(list);
            kept
        });
        let new = || Vec::with_capacity(MOST / size_of::<Line>());
        Self(kept.ok().flatten().unwrap_or_else(new))
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        if cfg!(unpooled) {
            return;
        }
        let lines = std::mem::take(&mut self.0);
        // A thread that ends keeps nothing.
        let _ = FREE.try_with(|free| {
            let mut list = free.take();
            list.push(lines);
            free.set(list);
        });
    }
}

/// Whether a matrix is best read where it lies by so many rows of blocks: because it stays in the cache
/// meanwhile, or few ask for it again.
fn stays<K: Kernel>(
    matrix: Matrix<K::Element>,
    rows: usize,
    columns: usize,
    readers: usize,
) -> bool {
    let apart = |n: usize, distance: usize| {
        let bytes = distance * size_of::<K::Element>();
        n <= 4
            || !bytes.is_multiple_of(CONFLICT)
            || readers == 1
            || (readers <= FEW && bytes <= 2 * CONFLICT)
    };
    (rows * columns <= IN_PLACE || readers <= FEW)
        && apart(rows, matrix.rows)
        && apart(columns, matrix.columns)
}

/// Rows of the first matrix, or columns of the second, in panels: as a kernel reads them.
pub(super) struct Panels<W> {
    first: Panel<W>,
    /// Rows of the first matrix, or columns of the second, in a panel.
    pub(super) width: usize,
    /// Bytes between panels.
    stride: usize,
    /// Keeps the words, unless they lie in the matrix.
    _words: Option<Words>,
}

impl<W: Word> Panels<W> {
    /// The rows of a first matrix with `k` columns.
    ///
    /// # Safety
    /// The matrix may be read, while this lives too.
    pub(super) unsafe fn of_rows<K: Kernel<Word = W>>(
        a: Matrix<K::Element>,
        rows: usize,
        k: usize,
    ) -> Self {
        let words = K::DEPTH == 1 || (a.columns == 1 && k.is_multiple_of(K::DEPTH));
        // As high as each other, blocks take less time.
        let height = rows.div_ceil(rows.div_ceil(K::ROWS)).next_multiple_of(2);
        if K::IN_ROWS {
            return if words {
                Self::in_place::<K>(a, height)
            } else {
                // SAFETY: the caller's promise.
                unsafe { Self::in_rows::<K>(a, rows, k) }
            };
        }
        if words && rows.is_multiple_of(2) && stays::<K>(a, rows, k, usize::MAX) {
            return Self::in_place::<K>(a, height);
        }
        // SAFETY: the caller's promise.
        unsafe { Self::packed::<K>(a, rows, k, K::ROWS) }
    }

    /// The columns of a second matrix with `k` rows, in panels of `width`.
    ///
    /// # Safety
    /// As [`Panels::of_rows`].
    pub(super) unsafe fn of_columns<K: Kernel<Word = W>>(
        b: Matrix<K::Element>,
        columns: usize,
        k: usize,
        width: usize,
        readers: usize,
    ) -> Self {
        let words = K::DEPTH == 1 && b.columns == 1;
        if words && columns.is_multiple_of(K::LANES) && stays::<K>(b, k, columns, readers) {
            return Self::in_place::<K>(b.transposed(), width);
        }
        // SAFETY: the caller's promise.
        unsafe { Self::packed::<K>(b.transposed(), columns, k, width) }
    }

    /// The rows of a matrix where they lie.
    fn in_place<K: Kernel<Word = W>>(from: Matrix<K::Element>, width: usize) -> Self {
        let row = from.rows * size_of::<K::Element>();
        Self {
            first: Panel {
                at: from.at.cast(),
                along: K::DEPTH * from.columns * size_of::<K::Element>(),
                across: row,
            },
            width,
            stride: width * row,
            _words: None,
        }
    }

    /// The rows of a matrix, copied: those of a panel side by side.
    ///
    /// # Safety
    /// The matrix may be read.
    unsafe fn packed<K: Kernel<Word = W>>(
        from: Matrix<K::Element>,
        rows: usize,
        k: usize,
        width: usize,
    ) -> Self {
        let terms = k.div_ceil(K::DEPTH);
        let mut words = Words::new(rows.next_multiple_of(width) * terms * size_of::<W>());
        let at = words.0.as_mut_ptr().cast::<W>();
        // The caller promises that the matrix may be read, and there is room for all panels.
        pack(Packing::<K> {
            from,
            rows,
            k,
            width,
            to: at,
        });
        Self {
            first: Panel {
                at,
                along: width * size_of::<W>(),
                across: size_of::<W>(),
            },
            width,
            stride: width * terms * size_of::<W>(),
            _words: Some(words),
        }
    }

    /// The rows of a matrix, copied: each in one piece.
    ///
    /// # Safety
    /// The matrix may be read.
    unsafe fn in_rows<K: Kernel<Word = W>>(
        from: Matrix<K::Element>,
        rows: usize,
        k: usize,
    ) -> Self {
        let terms = k.div_ceil(K::DEPTH);
        // SAFETY: the caller's promise.
        let panels = unsafe { Self::packed::<K>(from, rows, k, K::LANES) };
        let row = terms * size_of::<W>();
        let mut words = Words::new(rows.next_multiple_of(K::LANES) * row);
        let at = words.0.as_mut_ptr().cast::<W>();
        for i in 0..rows.div_ceil(K::LANES) {
            let sizes = [terms, K::LANES];
            let to = at.wrapping_byte_add(i * K::LANES * row);
            // SAFETY: of each panel, and of each row, there are so many words.
            unsafe { transpose(sizes, panels.panel(i).at, K::LANES, to, terms) };
        }
        Self {
            first: Panel {
                at,
                along: size_of::<W>(),
                across: row,
            },
            width: K::ROWS,
            stride: K::ROWS * row,
            _words: Some(words),
        }
    }

    /// A panel.
    pub(super) fn panel(&self, i: usize) -> Panel<W> {
        Panel {
            at: self.first.at.wrapping_byte_add(i * self.stride),
            ..self.first
        }
    }
}

/// Rows to pack from a matrix that may be read to memory with room for all panels.
struct Packing<K: Kernel> {
    from: Matrix<K::Element>,
    rows: usize,
    k: usize,
    width: usize,
    to: *mut K::Word,
}

impl<K: Kernel> Packing<K> {
    /// Words along the sum.
    #[inline(always)]
    fn terms(&self) -> usize {
        self.k.div_ceil(K::DEPTH)
    }

    /// Where the words of a term begin in a panel.
    #[inline(always)]
    fn place(&self, panel: usize, term: usize) -> *mut K::Word {
        let words = (panel * self.terms() + term) * self.width;
        self.to.wrapping_add(words)
    }

    /// Packs some rows of a panel, from a term on, word by word: zeros stand for what is beyond the
    /// matrix.
    #[inline(always)]
    fn words(&self, panel: usize, rows: Range<usize>, terms: Range<usize>) {
        let first = panel * self.width;
        for term in terms {
            let to = self.place(panel, term);
            for i in rows.clone() {
                let word = K::word(|d| {
                    let l = term * K::DEPTH + d;
                    if first + i < self.rows && l < self.k {
                        // SAFETY: within the matrix: the promise of `Packing`.
                        unsafe { *self.from.at(first + i, l) }
                    } else {
                        K::Element::default()
                    }
                });
                // SAFETY: there is room: the promise of `Packing`.
                unsafe { *to.add(i) = word };
            }
        }
    }
}

versions! {
    fn pack<K: Kernel>(packing: Packing<K>) = pack_body;
}

#[inline(always)]
fn pack_body<K: Kernel>(packing: Packing<K>) {
    if packing.from.rows == 1 {
        return match packing.width {
            2 => copy::<K, 2>(&packing),
            4 => copy::<K, 4>(&packing),
            6 => copy::<K, 6>(&packing),
            8 => copy::<K, 8>(&packing),
            14 => copy::<K, 14>(&packing),
            16 => copy::<K, 16>(&packing),
            32 => copy::<K, 32>(&packing),
            width => unreachable!("panels of {width}"),
        };
    }
    for panel in 0..packing.rows.div_ceil(packing.width) {
        let (rows, terms) = if packing.from.columns == 1 {
            turn(&packing, panel)
        } else {
            (0, 0)
        };
        packing.words(panel, rows..packing.width, 0..terms);
        packing.words(panel, 0..packing.width, terms..packing.terms());
    }
}

/// Packs rows that are neighbours in memory in panels of `W`.
#[inline(always)]
fn copy<K: Kernel, const W: usize>(packing: &Packing<K>) {
    assert_eq!(packing.width, W);
    let panels = packing.rows.div_ceil(W);
    let terms = packing.k / K::DEPTH;
    // A term of all panels, then the next: the memory is read in its order.
    for term in 0..terms {
        for panel in 0..panels {
            let from = |d| packing.from.at(panel * W, term * K::DEPTH + d);
            if packing.rows - panel * W < W {
                packing.words(panel, 0..W, term..term + 1);
                continue;
            }
            // SAFETY: within the matrix, and there is room: the promise of `Packing`.
            unsafe {
                let to = packing.place(panel, term).cast::<[K::Word; W]>();
                if K::DEPTH == 1 {
                    // An element is a word.
                    to.write(from(0).cast::<[K::Word; W]>().read_unaligned());
                    continue;
                }
                let mut words = [K::Word::default(); W];
                for (i, word) in words.iter_mut().enumerate() {
                    *word = K::word(|d| *from(d).add(i));
                }
                to.write(words);
            }
        }
    }
    (0..panels).for_each(|panel| packing.words(panel, 0..W, terms..packing.terms()));
}

/// Packs those rows and terms of a panel that squares of words cover, where the elements of a row are
/// neighbours in memory; returns how many rows, and how many terms.
#[inline(always)]
fn turn<K: Kernel>(packing: &Packing<K>, panel: usize) -> (usize, usize) {
    let (side, line) = (K::Word::SIDE, K::Word::LINE);
    let left = packing.rows - panel * packing.width;
    // The last squares may reach into the next panel, whose rows are there: what they write beyond a
    // term belongs to the next, and is written again with its first rows.
    let rows = match packing.width.next_multiple_of(side) {
        beyond if beyond <= left => beyond,
        _ => packing.width.min(left) / side * side,
    };
    let terms = packing.k / K::DEPTH / side * side;
    let step = packing.from.rows * size_of::<K::Element>();
    // A line of every row at a time: rows at a distance of a power of two do not drive each other
    // out of the cache before it is read whole.
    for first in (0..terms).step_by(line) {
        for i in (0..rows).step_by(side).rev() {
            let from = packing.from.at(panel * packing.width + i, 0);
            for term in (first..terms.min(first + line)).step_by(side) {
                // SAFETY: within the matrix, and there is room: the promise of `Packing`.
                unsafe {
                    let from = from.add(term * K::DEPTH).cast::<K::Word>();
                    let to = packing.place(panel, term).add(i);
                    K::Word::square(from, step, to, packing.width);
                }
            }
        }
    }
    (rows.min(packing.width), terms)
}
