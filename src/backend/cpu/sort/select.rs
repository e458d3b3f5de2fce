//! A few elements of a lane in order.

use super::super::isa::versions;
use super::Key;
use super::order::extent;
use std::ops::Range;

/// Lanes from this length on are narrowed down by a digit of their keys before they are partitioned.
const LONG: usize = 1 << 14;

/// Bits of that digit.
const DIGIT: u32 = 11;

/// Calls `put` with some ranks, which are few, and the positions of the elements that have them, in the
/// order of their keys with `flip` applied.
pub(super) fn select<T: Key>(
    lane: &[T],
    ranks: Range<usize>,
    flip: u64,
    put: impl Fn(usize, usize),
) {
    if T::BITS <= 32 && lane.len() <= 1 << 32 {
        select_packed::<T, u64>(lane, ranks, flip, put);
    } else {
        select_packed::<T, u128>(lane, ranks, flip, put);
    }
}

fn select_packed<T: Key, P: Packed>(
    lane: &[T],
    ranks: Range<usize>,
    flip: u64,
    put: impl Fn(usize, usize),
) {
    let found: Vec<P> = match ranks.start {
        0 => least(lane, ranks.end, flip),
        _ => between(lane, ranks.clone(), flip),
    };
    for (rank, p) in ranks.zip(found) {
        put(rank, p.position());
    }
}

/// A key and a position in one integer, which makes any algorithm stable.
trait Packed: Ord + Copy {
    fn new(key: u64, position: usize) -> Self;
    fn key(self) -> u64;
    fn position(self) -> usize;
}

/// Keys and positions of 32 bits.
impl Packed for u64 {
    #[inline(always)]
    fn new(key: u64, position: usize) -> Self {
        key << 32 | position as u64
    }
    fn key(self) -> u64 {
        self >> 32
    }
    fn position(self) -> usize {
        self as u32 as usize
    }
}

impl Packed for u128 {
    #[inline(always)]
    fn new(key: u64, position: usize) -> Self {
        u128::from(key) << 64 | position as u128
    }
    fn key(self) -> u64 {
        (self >> 64) as u64
    }
    fn position(self) -> usize {
        self as u64 as usize
    }
}

/// Elements whose keys are compared with the threshold together.
const BLOCK: usize = 64;

/// The `k` least of the keys, in order.
///
/// Candidates are collected until there are more than twice as many; then the worst of the `k` best
/// is the threshold that later ones must beat. Equal keys further on come later in order.
fn least<T: Key, P: Packed>(lane: &[T], k: usize, flip: u64) -> Vec<P> {
    let room = 2 * k + BLOCK;
    let mut found: Vec<P> = Vec::with_capacity(room + BLOCK);
    let mut threshold = None;
    let mut keys = [0; BLOCK];
    for (b, block) in lane.chunks(BLOCK).enumerate() {
        let keys = &mut keys[..block.len()];
        if !any_below(block, flip, threshold, keys) {
            continue;
        }
        for (i, &key) in keys.iter().enumerate() {
            if threshold.is_none_or(|worst| key < worst) {
                found.push(P::new(key, b * BLOCK + i));
            }
        }
        if found.len() >= room {
            let (_, worst, _) = found.select_nth_unstable(k - 1);
            threshold = Some(worst.key());
            found.truncate(k);
        }
    }
    found.sort_unstable();
    found.truncate(k);
    found
}

/// The keys of some ranks, in order.
fn between<T: Key, P: Packed>(lane: &[T], ranks: Range<usize>, flip: u64) -> Vec<P> {
    let (mut found, before) = candidates::<T, P>(lane, &ranks, flip);
    // Elements that change in the meantime may leave fewer.
    let start = (ranks.start - before).min(found.len());
    if start < found.len() {
        found.select_nth_unstable(start);
    }
    found.drain(..start);
    let k = ranks.len().min(found.len());
    if k < found.len() {
        found.select_nth_unstable(k);
    }
    found.truncate(k);
    found.sort_unstable();
    found
}

/// The keys among which those of some ranks are, and how many keys before them are left out.
fn candidates<T: Key, P: Packed>(lane: &[T], ranks: &Range<usize>, flip: u64) -> (Vec<P>, usize) {
    let packed = lane.iter().enumerate();
    let packed = packed.map(|(i, x)| P::new(x.key() ^ flip, i));
    if lane.len() < LONG {
        return (packed.collect(), 0);
    }
    let (least, greatest) = extent(lane, flip);
    let width = 64 - (greatest - least).leading_zeros();
    let low = width.saturating_sub(DIGIT);
    let digit = |key: u64| (key.wrapping_sub(least) >> low) as usize & ((1 << DIGIT) - 1);
    let mut counts = [0usize; 1 << DIGIT];
    for x in lane {
        counts[digit(x.key() ^ flip)] += 1;
    }
    // The digits of the first and the last rank.
    let (mut digits, mut before, mut total) = (0..0, 0, 0);
    for (digit, count) in counts.into_iter().enumerate() {
        if total <= ranks.start {
            (digits.start, before) = (digit, total);
        }
        if total < ranks.end {
            digits.end = digit + 1;
        }
        total += count;
    }
    (
        packed
            .filter(|p| digits.contains(&digit(p.key())))
            .collect(),
        before,
    )
}

versions! {
    /// Writes the keys of a block, and tells whether one is below the threshold, if there is one.
    fn any_below<T: Key>(block: &[T], flip: u64, threshold: Option<u64>, keys: &mut [u64]) -> bool
        = any_below_body;
}

#[inline(always)]
fn any_below_body<T: Key>(
    block: &[T],
    flip: u64,
    threshold: Option<u64>,
    keys: &mut [u64],
) -> bool {
    let worst = threshold.unwrap_or(u64::MAX);
    let mut any = threshold.is_none();
    for (to, x) in keys.iter_mut().zip(block) {
        *to = x.key() ^ flip;
        any |= *to < worst;
    }
    any
}
