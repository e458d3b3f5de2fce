//! Blocks of a product, computed in registers.
//!
//! NOTE [Order of summation]
//! A kernel adds up [`Kernel::CHUNK`] words of a result one after the other, in one register, from the
//! first to the last; to the sums of these, in their order, it adds those of the words before. So the
//! bits of a product do not depend on strides, on where blocks and tiles begin, or on who computes them;
//! only long sums of few results are cut in parts, by their sizes. Instruction sets may differ: those
//! that fuse multiplications with additions round a term once, and `bf16` has rules of its own.

use super::super::transpose::Word;
use super::matrix::{AccOf, Matrix};

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(not(target_arch = "x86_64"))]
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "x86_64")]
pub(super) use amx::*;
#[cfg(not(target_arch = "x86_64"))]
pub(super) use portable::*;
#[cfg(target_arch = "x86_64")]
pub(super) use x86::*;

/// The second operand is asked for so many words before it is used.
const AHEAD: usize = 12;

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
    /// Words of a sum that are added up at a time: a panel of rows of so many stays in the first cache
    /// while it is multiplied with many columns.
    const CHUNK: usize = 1024 / size_of::<Self::Word>();
    /// Rows of a block; an even number.
    const ROWS: usize;
    /// Sums that a register holds.
    const LANES: usize;
    /// Columns of a block.
    const COLUMNS: usize = 2 * Self::LANES;
    /// Whether a panel of the first operand has each row's words one after the other, not each word's
    /// rows.
    const IN_ROWS: bool = false;
    /// About how many nanoseconds it takes to multiply two elements.
    const COST: f64 = 0.19 / (Self::LANES * Self::DEPTH) as f64;

    /// A word of the elements that `get` gives for `0..DEPTH`.
    fn word(get: impl Fn(usize) -> Self::Element) -> Self::Word;

    /// Computes a block.
    ///
    /// # Safety
    /// The processor has the instructions. The block has up to `ROWS` rows and `COLUMNS` columns.
    /// Its panels may be read: of the first operand as many rows, or one more if they are odd; of
    /// the second `LANES` columns, or `COLUMNS` if the block has more. As many sums of each of its
    /// rows may be written, and as much read of what is added.
    unsafe fn multiply(block: &Block<Self::Word, Self::Sum>);
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
    /// What is added to the sums, one after the other; its columns are neighbours.
    pub(super) added: [Option<Matrix<S>>; 2],
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
            block: $($rows:literal)+ rows, $lanes:literal lanes;
            zero: $zero:expr;
            splat: $splat:expr;
            load: $load:expr;
            add_product: $add_product:expr;
            add: $add:expr;
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
            const ROWS: usize = [$($rows),+][[$($rows),+].len() - 1];
            const LANES: usize = $lanes;

            #[inline(always)]
            fn word(get: impl Fn(usize) -> Self::Element) -> Self::Word {
                $make(get)
            }

            #[inline]
            unsafe fn multiply(block: &Block<Self::Word, Self::Sum>) {
                /// A block of `M` rows and `N` registers across, of which `block.rows` are stored.
                ///
                /// # Safety
                /// As [`Kernel::multiply`].
                $(#[$features])?
                unsafe fn sized<const M: usize, const N: usize>(block: &Block<$word, $sum>) {
                    // SAFETY: the caller's promise.
                    unsafe {
                        // Of an odd number of rows, the last is computed twice, and stored last. Only
                        // loops of few instructions, over references, are unrolled: the sums of others
                        // would not stay in registers.
                        let row = |i: usize| i.min(block.rows - 1);
                        for i in 0..M {
                            for j in 0..N {
                                prefetch(block.to.wrapping_add(row(i) * block.stride + j * $lanes));
                            }
                        }
                        let mut sums = [[$zero; N]; M];
                        let (mut a, mut b) = (block.a.at, block.b.at);
                        for _ in 0..block.terms {
                            let ahead = b.wrapping_byte_add(AHEAD * block.b.along);
                            let words: [_; N] = std::array::from_fn(|j| {
                                prefetch(ahead.wrapping_add(j * $lanes));
                                $load(b.add(j * $lanes))
                            });
                            let mut at = a;
                            for row in &mut sums {
                                let word = $splat(at.read_unaligned());
                                for (sum, words) in row.iter_mut().zip(words) {
                                    *sum = $add_product(*sum, word, words);
                                }
                                at = at.wrapping_byte_add(block.a.across);
                            }
                            a = a.wrapping_byte_add(block.a.along);
                            b = b.wrapping_byte_add(block.b.along);
                        }
                        for added in block.added.into_iter().flatten() {
                            for (i, sums) in sums.iter_mut().enumerate() {
                                let at = added.at(row(i), 0);
                                for (j, sum) in sums.iter_mut().enumerate() {
                                    *sum = $add(*sum, at.add(j * $lanes));
                                }
                            }
                        }
                        if block.relu {
                            for sums in &mut sums {
                                for sum in sums {
                                    *sum = $relu(*sum);
                                }
                            }
                        }
                        for (i, sums) in sums.iter().enumerate().rev() {
                            let to = block.to.add(row(i) * block.stride);
                            for (j, sum) in sums.iter().enumerate() {
                                $store(to.add(j * $lanes), *sum);
                            }
                        }
                    }
                }
                // SAFETY: the caller's promise.
                unsafe {
                    $(
                        if block.rows <= $rows {
                            return if block.columns <= $lanes {
                                sized::<$rows, 1>(block)
                            } else {
                                sized::<$rows, 2>(block)
                            };
                        }
                    )+
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
