//! All elements of a lane in order.
//!
//! NOTE [Words]
//! An element becomes a word of 64 bits: the position in the lowest bits, as many as positions have,
//! and the key above them, less the least key of the lane. So words are different, words in order are
//! elements in stable order, and what keys have in common costs nothing. Where a key has more bits
//! than there is room for, its upper bits are sorted by first; then the words of elements that agree
//! in these are made of the next bits, and sorted among themselves.

use super::super::isa::versions;
use super::super::scratch::Scratch;
use super::super::threads::{self, Shared};
use super::Key;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Lanes from this length on are cut by their highest digit into parts that fit into caches, which
/// threads share.
pub(super) const LONG: usize = 1 << 18;

/// Bits of the digit that long lanes are cut by.
const TOP: u32 = 8;

/// Elements of a long lane that one task looks at.
const CHUNK: usize = 1 << 14;

/// Fewer words than these are not worth vectors.
const SHORT: usize = 32;

/// From so many words on, a sort by digits is quicker than one by comparisons.
const MANY: usize = 1 << 11;

/// The most bits of a digit.
const DIGIT: u32 = 11;

/// Working memory for the lanes that one thread sorts.
#[derive(Default)]
pub(super) struct Room(Option<[Scratch<u64>; 2]>);

impl Room {
    /// Two slices of `n` words; all lanes have one length.
    fn of(&mut self, n: usize) -> [&mut [u64]; 2] {
        let room = self
            .0
            .get_or_insert_with(|| [(); 2].map(|()| Scratch::arbitrary(n)));
        room.each_mut().map(|words| &mut words[..n])
    }
}

/// Calls `put` with some ranks and the positions of the elements that have them, in the order of their
/// keys with `flip` applied.
pub(super) fn order<T: Key>(
    lane: &[T],
    ranks: Range<usize>,
    flip: u64,
    room: &mut Room,
    put: impl Fn(usize, usize) + Sync,
) {
    let n = lane.len();
    let [words, spare] = room.of(n);
    let by = Order::new(lane, flip);
    let put_all = |start: usize, words: &[u64]| {
        let skipped = ranks.start.saturating_sub(start);
        (start..ranks.end)
            .zip(words)
            .skip(skipped)
            .for_each(|(rank, &word)| put(rank, by.position(word)));
    };
    if n < LONG {
        by.pack(0, by.rest(), words);
        by.sort(words, spare, by.bits(), by.rest());
        return put_all(0, words);
    }
    let bits = by.bits();
    let top = TOP.min(bits);
    let starts = by.cut(words, spare, bits - top);
    let (words, spare) = (Shared(words.as_mut_ptr()), Shared(spare.as_mut_ptr()));
    threads::tasks(1 << TOP, n as f64 * 10.0 / f64::from(1 << TOP), |part| {
        let range = starts[part]..starts[part + 1];
        if range.start < ranks.end.min(range.end) && range.end > ranks.start {
            let start = range.start;
            // SAFETY: the ranges of different parts do not overlap, and lie within the buffers.
            let (words, spare) = unsafe { (words.slice(range.clone()), spare.slice(range)) };
            by.sort(spare, words, bits - top, by.rest());
            put_all(start, spare);
        }
    });
}

/// How the elements of a lane become words, and these are sorted: see NOTE [Words].
struct Order<'a, T> {
    lane: &'a [T],
    flip: u64,
    /// The least key.
    least: u64,
    /// Bits of the keys, less the least one.
    width: u32,
    /// Bits of the positions.
    places: u32,
}

impl<'a, T: Key> Order<'a, T> {
    fn new(lane: &'a [T], flip: u64) -> Self {
        let bits = |x: u64| 64 - x.leading_zeros();
        let places = bits(lane.len() as u64 - 1);
        let (mut least, mut width) = (0, T::BITS);
        // Comparisons gain nothing from fewer bits, unless there is no room for all.
        if lane.len() >= MANY || width + places > 64 {
            let (low, high) = (AtomicU64::new(u64::MAX), AtomicU64::new(0));
            threads::ranges(lane.len(), CHUNK, 0.3, |range| {
                let (least, greatest) = extent(&lane[range], flip);
                low.fetch_min(least, Ordering::Relaxed);
                high.fetch_max(greatest, Ordering::Relaxed);
            });
            least = low.into_inner();
            width = bits(high.into_inner().wrapping_sub(least));
        }
        Self {
            lane,
            flip,
            least,
            width,
            places,
        }
    }

    /// Bits of the keys in the first words.
    fn bits(&self) -> u32 {
        self.width.min(64 - self.places)
    }

    /// Bits of the keys that have no room in them.
    fn rest(&self) -> u32 {
        self.width - self.bits()
    }

    /// Writes the words of the elements from `first` on, without the lowest `rest` bits of the keys.
    fn pack(&self, first: usize, rest: u32, words: &mut [u64]) {
        let lane = &self.lane[first..first + words.len()];
        let (flip, least, places) = (self.flip, self.least, self.places);
        if words.len() < SHORT {
            pack_body(lane, first, flip, least, rest, places, words);
        } else {
            pack(lane, first, flip, least, rest, places, words);
        }
    }

    #[inline(always)]
    fn position(&self, word: u64) -> usize {
        (word & ((1 << self.places) - 1)) as usize
    }

    /// Writes the words of all elements, in the order of the digit that begins at bit `low` of the
    /// keys, to `sorted`; where the parts of equal digits begin and end.
    fn cut(&self, words: &mut [u64], sorted: &mut [u64], low: u32) -> Vec<usize> {
        let n = self.lane.len();
        let (low, rest) = (low + self.places, self.rest());
        let chunks = n.div_ceil(CHUNK);
        let chunk = |c: usize| c * CHUNK..n.min((c + 1) * CHUNK);
        let mut places = vec![[0; 1 << TOP]; chunks];
        let (all, to) = (Shared(words.as_mut_ptr()), Shared(sorted.as_mut_ptr()));
        let places_of = Shared(places.as_mut_ptr());
        threads::tasks(chunks, CHUNK as f64, |c| {
            // SAFETY: chunks do not overlap; each has counts of its own.
            let (words, counts) = unsafe { (all.slice(chunk(c)), &mut *places_of.at(c)) };
            self.pack(chunk(c).start, rest, words);
            words
                .iter()
                .for_each(|&word| counts[top_digit(word, low)] += 1);
        });
        // Elements of one digit lie in the order of the chunks.
        let (mut starts, mut place) = (vec![0; 1], 0);
        for digit in 0..1 << TOP {
            for places in &mut places {
                place += std::mem::replace(&mut places[digit], place);
            }
            starts.push(place);
        }
        let places_of = Shared(places.as_mut_ptr());
        threads::tasks(chunks, 3.0 * CHUNK as f64, |c| {
            // SAFETY: as above. Every word has a place of its own, which the counts leave room for.
            unsafe { distribute(all.slice(chunk(c)), low, &mut *places_of.at(c), to) };
        });
        starts
    }

    /// Sorts words that agree in all but the lowest `bits` bits of their keys, which lack `rest` more.
    fn sort(&self, words: &mut [u64], spare: &mut [u64], bits: u32, rest: u32) {
        sort_words(words, spare, self.places..self.places + bits);
        if rest == 0 {
            return;
        }
        let bits = rest.min(64 - self.places);
        for run in words.chunk_by_mut(|a, b| a >> self.places == b >> self.places) {
            if run.len() == 1 {
                continue;
            }
            let rest = rest - bits;
            for word in run.iter_mut() {
                let i = self.position(*word);
                self.pack(i, rest, std::slice::from_mut(word));
            }
            let spare = &mut spare[..run.len()];
            self.sort(run, spare, bits, rest);
        }
    }
}

/// The digit of [`TOP`] bits from `low` on.
#[inline(always)]
fn top_digit(word: u64, low: u32) -> usize {
    (word >> low) as usize & ((1 << TOP) - 1)
}

/// Writes words to the next of the `places` of their digits.
///
/// # Safety
/// The places lie within the buffer, and nobody else refers to them.
unsafe fn distribute(words: &[u64], low: u32, places: &mut [usize; 1 << TOP], to: Shared<u64>) {
    for &word in words {
        let place = &mut places[top_digit(word, low)];
        // SAFETY: the caller's promise.
        unsafe { *to.at(*place) = word };
        *place += 1;
    }
}

versions! {
    /// The least and the greatest key.
    pub(super) fn extent<T: Key>(lane: &[T], flip: u64) -> (u64, u64) = extent_body;
    /// Writes the words of elements that begin at `first`.
    fn pack<T: Key>(
        lane: &[T], first: usize, flip: u64, least: u64, rest: u32, places: u32, words: &mut [u64]
    ) = pack_body;
}

#[inline(always)]
fn extent_body<T: Key>(lane: &[T], flip: u64) -> (u64, u64) {
    let extend = |(low, high): (u64, u64), x: &T| {
        let key = x.key() ^ flip;
        (low.min(key), high.max(key))
    };
    lane.iter().fold((u64::MAX, 0), extend)
}

#[inline(always)]
fn pack_body<T: Key>(
    lane: &[T],
    first: usize,
    flip: u64,
    least: u64,
    rest: u32,
    places: u32,
    words: &mut [u64],
) {
    for (i, (word, x)) in (first as u64..).zip(words.iter_mut().zip(lane)) {
        let key = (x.key() ^ flip).wrapping_sub(least);
        *word = key >> rest << places | i;
    }
}

/// Sorts different words that agree above the bits `bits`, and ascend below them.
fn sort_words(words: &mut [u64], spare: &mut [u64], bits: Range<u32>) {
    let n = words.len();
    if n < MANY || n > u32::MAX as usize {
        return words.sort_unstable();
    }
    let width = bits.end - bits.start;
    let passes = width.div_ceil(DIGIT);
    let digit = width
        .checked_div(passes)
        .map_or(0, |_| width.div_ceil(passes));
    let mask = (1usize << digit) - 1;
    let mut counts = vec![0u32; (passes as usize) << digit];
    for &word in words.iter() {
        let mut digits = word >> bits.start;
        for counts in counts.chunks_exact_mut(1 << digit) {
            counts[digits as usize & mask] += 1;
            digits >>= digit;
        }
    }
    let (mut from, mut to, mut swapped) = (words, spare, false);
    for (pass, counts) in (0..).zip(counts.chunks_exact_mut(1 << digit)) {
        let low = bits.start + pass * digit;
        let digit_of = |word: u64| (word >> low) as usize & mask;
        if counts[digit_of(from[0])] as usize == n {
            continue; // all have it in common
        }
        let mut start = 0;
        for count in counts.iter_mut() {
            start += std::mem::replace(count, start);
        }
        for &word in from.iter() {
            let place = &mut counts[digit_of(word)];
            to[*place as usize] = word;
            *place += 1;
        }
        std::mem::swap(&mut from, &mut to);
        swapped = !swapped;
    }
    if swapped {
        to.copy_from_slice(from);
    }
}
