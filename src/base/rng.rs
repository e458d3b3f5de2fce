//! Counter-based random bits: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as
//! 1, 2, 3", SC 2011).
//!
//! Block `i` of a stream is a pure function of `(seed, i)`, so any part of a fill can be computed
//! by any thread, again, or out of order, with the same bits.

const W0: u32 = 0x9E37_79B9;
const W1: u32 = 0xBB67_AE85;

/// One of the ten rounds.
#[inline(always)]
fn round(c: [u32; 4], k: [u32; 2]) -> [u32; 4] {
    const M0: u64 = 0xD251_1F53;
    const M1: u64 = 0xCD9E_8D57;
    let p0 = M0 * u64::from(c[0]);
    let p1 = M1 * u64::from(c[2]);
    [
        (p1 >> 32) as u32 ^ c[1] ^ k[0],
        p1 as u32,
        (p0 >> 32) as u32 ^ c[3] ^ k[1],
        p0 as u32,
    ]
}

/// The 128 random bits of block `counter` in the stream of `seed`.
///
/// ```
/// use rustgrad::base::rng::philox;
/// assert_eq!(philox(7, 3), philox(7, 3));
/// assert_ne!(philox(7, 3), philox(7, 4));
/// ```
#[inline(always)]
pub fn philox(seed: u64, counter: u64) -> [u32; 4] {
    let mut c = [counter as u32, (counter >> 32) as u32, 0, 0];
    let mut k = [seed as u32, (seed >> 32) as u32];
    for _ in 0..10 {
        c = round(c, k);
        k = [k[0].wrapping_add(W0), k[1].wrapping_add(W1)];
    }
    c
}

/// Blocks `first`, `first + 1`, ... of the stream of `seed`, word by word: block `i` becomes
/// `words[..][i]`. The four slices are equally long. Blocks do not depend on each other, so the loop
/// compiles to vector code, whose registers hold them through all rounds.
#[inline(always)]
pub fn philox_blocks(seed: u64, first: u64, words: [&mut [u32]; 4]) {
    let [a, b, c, d] = words;
    let n = a.len();
    let (b, c, d) = (&mut b[..n], &mut c[..n], &mut d[..n]);
    for i in 0..n {
        [a[i], b[i], c[i], d[i]] = philox(seed, first.wrapping_add(i as u64));
    }
}

/// A uniform `f64` in `[0, 1)` with 53 random bits.
#[inline]
pub fn unit_f64(hi: u32, lo: u32) -> f64 {
    let bits = (u64::from(hi) << 32 | u64::from(lo)) >> 11;
    bits as f64 * (1.0 / (1u64 << 53) as f64)
}

/// A uniform `f32` in `[0, 1)` with 24 random bits.
#[inline]
pub fn unit_f32(bits: u32) -> f32 {
    (bits >> 8) as f32 * (1.0 / (1u32 << 24) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known-answer vectors of the Random123 distribution (`kat_vectors`, philox4x32 10).
    #[test]
    fn known_answers() {
        assert_eq!(
            philox(0, 0),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
    }

    #[test]
    fn many_blocks_are_the_same_as_one_by_one() {
        let (seed, first) = (0x1234_5678_9abc_def0, u64::MAX - 5);
        let mut words = [[0; 37]; 4];
        philox_blocks(seed, first, words.each_mut().map(|w| &mut w[..]));
        for i in 0..37 {
            let block = philox(seed, first.wrapping_add(i as u64));
            assert_eq!(words.map(|w| w[i]), block);
        }
    }
}
