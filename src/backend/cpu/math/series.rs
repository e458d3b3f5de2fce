//! Power series, and the pieces of floating-point numbers.
//!
//! NOTE [Branch-free functions]
//! Loops over the functions of this folder become vector code on every processor that has some,
//! because they are plain arithmetic: choices are selections between two computed values, integers
//! come out of the low bits of sums, and nothing is called or looked up. Multiplications are not
//! fused with additions, so every instruction set gives the same bits.
//!
//! Functions of `f32` are computed in `f64` by shorter series (`SHORT`), so they are right to
//! little more than half a unit in the last place; those of `f64` carry the low parts that matter
//! and stay below two units. `docs/accuracy.md` has what was measured.

/// `c[0] + c[1] x + c[2] x^2 + ...`
#[inline(always)]
pub(super) fn series(x: f64, c: &[f64]) -> f64 {
    c.iter().rev().fold(0.0, |sum, &c| sum * x + c)
}

/// `1 / (k + first)!` with signs that alternate if `sign` is -1, every `step`-th.
pub(super) const fn factorials<const N: usize>(first: usize, step: usize, sign: f64) -> [f64; N] {
    let mut c = [0.0; N];
    let mut k = 0;
    let mut s = 1.0;
    while k < N {
        let mut product = 1.0;
        let mut i = 2;
        while i <= first + k * step {
            product *= i as f64;
            i += 1;
        }
        c[k] = s / product;
        s *= sign;
        k += 1;
    }
    c
}

/// `scale / (2 k + first)` with signs that alternate if `sign` is -1.
pub(super) const fn odd_reciprocals<const N: usize>(
    scale: f64,
    first: usize,
    sign: f64,
) -> [f64; N] {
    let mut c = [0.0; N];
    let mut k = 0;
    let mut s = scale;
    while k < N {
        c[k] = s / (2 * k + first) as f64;
        s *= sign;
        k += 1;
    }
    c
}

/// Added to a number below 2^51, it leaves the nearest integer in the low bits of the sum.
const MAGIC: f64 = 6_755_399_441_055_744.0;

/// The nearest integer, and its low 12 bits at the top: for numbers below 2^51.
#[inline(always)]
pub(super) fn nearest(x: f64) -> f64 {
    (x + MAGIC) - MAGIC
}

/// The low two bits of an integer below 2^51.
#[inline(always)]
pub(super) fn quadrant(k: f64) -> u64 {
    (k + MAGIC).to_bits() & 3
}

/// `2^k` for an integer `k` from -1022 to 1023.
#[inline(always)]
pub(super) fn power_of_two(k: f64) -> f64 {
    f64::from_bits(((k + MAGIC).to_bits() << 52).wrapping_add(1023 << 52))
}

/// `x 2^k` for an integer `k` from -2044 to 2046, rounded once.
#[inline(always)]
pub(super) fn scaled(x: f64, k: f64) -> f64 {
    let half = nearest(k * 0.5);
    x * power_of_two(half) * power_of_two(k - half)
}

/// `(m, k)` with `x = m 2^k` and `m` between the square roots of 1/2 and 2, for positive normal `x`.
#[inline(always)]
pub(super) fn split(x: f64) -> (f64, f64) {
    // The bits of the root of 1/2, and what they lack to 1: so the exponent steps at that root.
    const ROOT: u64 = 0x3FE6_A09E_667F_3BCD;
    const SHIFT: u64 = 0x3FF0_0000_0000_0000 - ROOT;
    // 2^52 as an exponent: the low bits beside it are an integer.
    const TWO_52: u64 = 0x4330_0000_0000_0000;
    let bits = x.to_bits().wrapping_add(SHIFT);
    let k = f64::from_bits((bits >> 52) | TWO_52) - (4_503_599_627_370_496.0 + 1023.0);
    let m = f64::from_bits((bits & 0x000F_FFFF_FFFF_FFFF).wrapping_add(ROOT));
    (m, k)
}
