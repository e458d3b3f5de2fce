//! The first few elements of a lane in order.

use super::super::isa::versions;
use super::Key;

/// Calls `put` with the ranks below `k` and the positions of the elements that have them, in the order
/// of their keys with `flip` applied.
pub(super) fn first_few<T: Key>(lane: &[T], k: usize, flip: u64, put: impl Fn(usize, usize)) {
    fn put_all<P: Packed>(found: &[P], put: impl Fn(usize, usize)) {
        let found = found.iter().enumerate();
        found.for_each(|(rank, p)| put(rank, p.position()));
    }
    if T::BITS <= 32 && lane.len() <= 1 << 32 {
        put_all(&least::<T, u64>(lane, k, flip), put);
    } else {
        put_all(&least::<T, u128>(lane, k, flip), put);
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
