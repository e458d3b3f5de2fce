//! Blocks of a product, computed in registers.
//!
//! NOTE [Order of summation]
//! A kernel adds up the terms of a result one after the other, in one register, from the first to the
//! last. So the bits of a product do not depend on strides, on where blocks and tiles begin, or on who
//! computes them; only long sums of few results are cut in parts, by their sizes. Instruction sets may
//! differ: those that fuse multiplications with additions round a term once, and `bf16` has rules of
//! its own.

use super::super::transpose::Word;
use super::matrix::{AccOf, Matrix};

#[cfg(not(target_arch = "x86_64"))]
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(not(target_arch = "x86_64"))]
pub(super) use portable::*;
#[cfg(target_arch = "x86_64")]
pub(super) use x86::*;

/// How an instruction set multiplies matrices.
pub(super) trait Kernel: 'static {
    /// Elements of the operands.
    type Element: Copy + Default + Send + Sync + 'static;
    /// What a panel holds: as many elements, neighbours along the sum, as are multiplied at a time.
    type Word: Word;
    /// What sums are computed in.
    type Sum: AccOf<Self::Sum>;

    /// Elements of a word.
    const DEPTH: usize;
    /// Rows of a block.
    const ROWS: usize;
    /// Sums that a register holds.
    const LANES: usize;
    /// Columns of a block.
    const COLUMNS: usize = 2 * Self::LANES;

    /// A word of the elements that `get` gives for `0..DEPTH`.
    fn word(get: impl Fn(usize) -> Self::Element) -> Self::Word;

    /// Computes a block.
    ///
    /// # Safety
    /// The processor has the instructions. The block has up to `ROWS` rows and `COLUMNS` columns.
    /// Its panels may be read: of the first operand as many rows, or one more if they are odd; of
    /// the second `LANES` columns, or `COLUMNS` if the block has more. As many sums of each of its
    /// rows may be written, and as much of a bias read.
    unsafe fn multiply(block: Block<Self::Word, Self::Sum>);
}

/// Rows of the first operand, or columns of the second.
#[derive(Clone, Copy)]
pub(super) struct Panel<W> {
    pub(super) at: *const W,
    /// Bytes between a word and the next along the sum.
    pub(super) along: usize,
    /// Bytes between rows; columns of the second operand are neighbours.
    pub(super) across: usize,
}

/// A block of a product.
pub(super) struct Block<W, S> {
    /// `ROWS` rows of the first matrix, or as many as are valid.
    pub(super) a: Panel<W>,
    /// `COLUMNS` columns of the second, or half as many.
    pub(super) b: Panel<W>,
    /// Words of the sums.
    pub(super) terms: usize,
    /// Where the sums go.
    pub(super) to: *mut S,
    /// Distance between rows of sums.
    pub(super) stride: usize,
    /// What is added to the sums; its columns are neighbours.
    pub(super) bias: Option<Matrix<S>>,
    /// Whether sums below zero become zero.
    pub(super) relu: bool,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// Kernels, by the instructions that they consist of: these are written into one function, which is
/// compiled for them.
macro_rules! kernels {
    ($(
        $(#[$meta:meta])*
        $name:ident ($element:ty) [$($features:meta)?] {
            word: $word:ty = $make:expr;
            sum: $sum:ty, $depth:literal at a time;
            block: $rows:literal rows, $lanes:literal lanes;
            zero: $zero:expr;
            splat: $splat:expr;
            load: $load:expr;
            add_product: $add:expr;
            add_bias: $add_bias:expr;
            relu: $relu:expr;
            store: $store:expr;
        }
    )*) => { $(
        $(#[$meta])*
        pub(in crate::backend::cpu::matmul) struct $name;

        impl Kernel for $name {
            type Element = $element;
            type Word = $word;
            type Sum = $sum;
            const DEPTH: usize = $depth;
            const ROWS: usize = $rows;
            const LANES: usize = $lanes;

            #[inline(always)]
            fn word(get: impl Fn(usize) -> Self::Element) -> Self::Word {
                $make(get)
            }

            unsafe fn multiply(block: Block<Self::Word, Self::Sum>) {
                /// A block of `M` rows and `N` registers across, of which `block.rows` are stored.
                ///
                /// # Safety
                /// As [`Kernel::multiply`].
                $(#[$features])?
                unsafe fn sized<const M: usize, const N: usize>(block: Block<$word, $sum>) {
                    // SAFETY: the caller's promise.
                    unsafe {
                        let mut sums = [[$zero; N]; M];
                        let (mut a, mut b) = (block.a.at, block.b.at);
                        for _ in 0..block.terms {
                            for j in 0..N {
                                let words = $load(b.add(j * $lanes));
                                for (i, row) in sums.iter_mut().enumerate() {
                                    row[j] = $add(row[j], $splat(a.byte_add(i * block.a.across).read_unaligned()), words);
                                }
                            }
                            a = a.wrapping_byte_add(block.a.along);
                            b = b.wrapping_byte_add(block.b.along);
                        }
                        for (i, row) in sums.iter().enumerate().take(block.rows) {
                            for (j, &sum) in row.iter().enumerate() {
                                let sum = match block.bias {
                                    Some(bias) => $add_bias(sum, bias.at(i, j * $lanes)),
                                    None => sum,
                                };
                                let sum = if block.relu { $relu(sum) } else { sum };
                                $store(block.to.add(i * block.stride + j * $lanes), sum);
                            }
                        }
                    }
                }
                // SAFETY: the caller's promise.
                unsafe {
                    match (block.rows, block.columns <= $lanes) {
                        (0..=2, true) => sized::<2, 1>(block),
                        (0..=2, false) => sized::<2, 2>(block),
                        (3..=4, true) => sized::<4, 1>(block),
                        (3..=4, false) => sized::<4, 2>(block),
                        (5..=6, true) => sized::<6, 1>(block),
                        (5..=6, false) => sized::<6, 2>(block),
                        (_, true) => sized::<$rows, 1>(block),
                        (_, false) => sized::<$rows, 2>(block),
                    }
                }
            }
        }
    )* };
}

/// The only element of a word.
#[inline(always)]
fn single<T>(get: impl Fn(usize) -> T) -> T {
    get(0)
}

use kernels;
