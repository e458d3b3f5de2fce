//! Random fills.
//!
//! Element `i` of a fill, in row-major order, is a function of block `offset + i` of the stream of
//! its seed, and of nothing else: not of the layout, nor of who computes it.

use super::super::{Distribution, View};
use super::isa::{Isa, isa};
use super::map::{AllCasts, ComputeType, store};
use super::math::{Compute, Float};
use super::scratch::Scratch;
use super::threads;
use super::walk::Walk;
use crate::base::rng::{philox_blocks, unit_f32, unit_f64};
use crate::base::{DType, Layout};
use half::{bf16, f16};

#[cfg(test)]
mod tests;

/// Elements computed between two stores.
const BLOCK: usize = 512;

/// One block of random bits.
type Bits = [u32; 4];

/// The types that random numbers are computed in.
///
/// The functions here are plain arithmetic without branches: loops over them become vector code,
/// and their results are the same on every machine.
trait Unit: Float + ComputeType + AllCasts {
    /// Half the distance of two neighbouring uniform numbers.
    const HALF: Self;
    /// Coefficients of `atanh(s) / s` in powers of `s^2`, as many as matter.
    const ATANH: &[Self];
    /// Coefficients of `sin(x) / x` in powers of `x^2`, as many as matter up to a quarter turn.
    const SINE: &[Self];
    /// The nearest number.
    #[inline(always)]
    fn near(x: f64) -> Self {
        <Self as Float>::of(x)
    }
    /// Two independent uniform numbers in `[0, 1)`.
    fn units(bits: Bits) -> [Self; 2];
    /// `(m, e)` with `self = m 2^e` and `m` between the roots of 1/2 and 2. For positive normal
    /// numbers.
    fn split(self) -> (Self, Self);

    /// The natural logarithm of a positive normal number.
    #[inline(always)]
    fn log(self) -> Self {
        let (m, e) = self.split();
        let f = m - Self::ONE;
        let s = f / (f + Self::near(2.0));
        let s2 = s * s;
        let (last, rest) = Self::ATANH.split_last().expect("not empty");
        let mut sum = *last;
        for c in rest.iter().rev() {
            sum = sum * s2 + *c;
        }
        e * Self::near(std::f64::consts::LN_2) + (s + s) * sum
    }

    /// The cosine of `self` turns, of which there are at least 0 and less than 1.
    #[inline(always)]
    fn cos_turns(self) -> Self {
        // cos(2 pi v) = sin(2 pi w): with v in [0, 1), |v - 1/2| in [0, 1/2], w in [-1/4, 1/4].
        let w = (self - Self::near(0.5)).abs() - Self::near(0.25);
        let x = w * Self::near(std::f64::consts::TAU);
        let x2 = x * x;
        let (last, rest) = Self::SINE.split_last().expect("not empty");
        let mut sum = *last;
        for c in rest.iter().rev() {
            sum = sum * x2 + *c;
        }
        x * sum
    }
}

/// `1 / (2 k + 1)`, the coefficients of `atanh`.
const fn atanh_terms<const N: usize>() -> [f64; N] {
    let mut terms = [0.0; N];
    let mut k = 0;
    while k < N {
        terms[k] = 1.0 / (2 * k + 1) as f64;
        k += 1;
    }
    terms
}

/// `(-1)^k / (2 k + 1)!`, the coefficients of the sine.
const fn sine_terms<const N: usize>() -> [f64; N] {
    let mut terms = [1.0; N];
    let mut k = 1;
    while k < N {
        terms[k] = -terms[k - 1] / (2 * k * (2 * k + 1)) as f64;
        k += 1;
    }
    terms
}

/// The terms rounded.
const fn rounded<const N: usize>(terms: [f64; N]) -> [f32; N] {
    let mut out = [0.0; N];
    let mut k = 0;
    while k < N {
        out[k] = terms[k] as f32;
        k += 1;
    }
    out
}

impl Unit for f32 {
    const HALF: f32 = 1.0 / (1u32 << 25) as f32;
    const ATANH: &[f32] = &rounded(atanh_terms::<6>());
    const SINE: &[f32] = &rounded(sine_terms::<7>());
    #[inline(always)]
    fn units(bits: Bits) -> [f32; 2] {
        [unit_f32(bits[0]), unit_f32(bits[2])]
    }
    #[inline(always)]
    fn split(self) -> (f32, f32) {
        // What the square root of 1/2 lacks to 1, so that the exponent steps at that root.
        const SHIFT: u32 = 0x3F80_0000 - 0x3F35_04F3;
        let bits = self.to_bits() + SHIFT;
        let e = (bits >> 23) as i32 - 127;
        let m = f32::from_bits((bits & 0x007F_FFFF) + 0x3F35_04F3);
        (m, e as f32)
    }
}

impl Unit for f64 {
    const HALF: f64 = 1.0 / (1u64 << 54) as f64;
    const ATANH: &[f64] = &atanh_terms::<12>();
    const SINE: &[f64] = &sine_terms::<12>();
    #[inline(always)]
    fn units(bits: Bits) -> [f64; 2] {
        [unit_f64(bits[0], bits[1]), unit_f64(bits[2], bits[3])]
    }
    #[inline(always)]
    fn split(self) -> (f64, f64) {
        const ROOT: u64 = 0x3FE6_A09E_667F_3BCD;
        const SHIFT: u64 = 0x3FF0_0000_0000_0000 - ROOT;
        let bits = self.to_bits() + SHIFT;
        let e = (bits >> 52) as i32 - 1023;
        let m = f64::from_bits((bits & 0x000F_FFFF_FFFF_FFFF) + ROOT);
        (m, f64::from(e))
    }
}

/// See [`super::super::Backend::random`].
pub(super) fn random(out: View, distribution: Distribution, seed: u64, offset: u64) {
    match distribution {
        Distribution::Integers { low, high } => {
            let range = high.wrapping_sub(low) as u64;
            fill(out, seed, offset, |bits| {
                low.wrapping_add(below(bits, range) as i64)
            });
        }
        Distribution::Bernoulli { p } => match out.dtype {
            DType::F16 | DType::BF16 | DType::F32 => bernoulli::<f32>(out, p, seed, offset),
            DType::F64 => bernoulli::<f64>(out, p, seed, offset),
            _ => bernoulli::<i64>(out, p, seed, offset),
        },
        _ => match out.dtype {
            DType::F16 | DType::BF16 | DType::F32 => real::<f32>(out, distribution, seed, offset),
            _ => real::<f64>(out, distribution, seed, offset),
        },
    }
}

/// Fills with 1 where a uniform number of 53 bits is less than `p`, even for `f32`, so that small
/// probabilities are met.
fn bernoulli<C: Compute + ComputeType + AllCasts>(out: View, p: f64, seed: u64, offset: u64) {
    let bound = (p * (1u64 << 53) as f64).ceil() as i64;
    fill(out, seed, offset, |bits| {
        let k = (u64::from(bits[0]) << 32 | u64::from(bits[1])) >> 11;
        C::truth((k as i64) < bound)
    });
}

/// Fills with one of the continuous distributions, or the geometric one, computing in `C`.
fn real<C: Unit>(out: View, distribution: Distribution, seed: u64, offset: u64) {
    match distribution {
        Distribution::Uniform { low, high } => {
            let (from, width) = (C::near(low), C::near(high - low));
            // Rounding may reach the upper end, when scaling or (half types) when storing.
            let most = C::near(before(high, out.dtype).max(low));
            fill(out, seed, offset, |bits| {
                let x = from + C::units(bits)[0] * width;
                if x < most { x } else { most }
            });
        }
        Distribution::Normal { mean, std } => {
            let (mean, std) = (C::near(mean), C::near(std));
            fill(out, seed, offset, |bits| mean + std * normal::<C>(bits));
        }
        Distribution::LogNormal { mean, std } => {
            let (mean, std) = (C::near(mean), C::near(std));
            fill(out, seed, offset, |bits| {
                Float::exp(mean + std * normal::<C>(bits))
            });
        }
        Distribution::Exponential { rate } => {
            let rate = C::near(rate);
            fill(out, seed, offset, |bits| {
                let u = C::units(bits)[0];
                // Not 0, whose logarithm users take.
                let x = if u > C::ZERO {
                    (C::ONE - u).log().neg()
                } else {
                    C::HALF
                };
                x / rate
            });
        }
        Distribution::Cauchy { median, sigma } => {
            let (median, sigma) = (C::near(median), C::near(sigma));
            let (half, pi) = (C::near(0.5), C::near(std::f64::consts::PI));
            fill(out, seed, offset, |bits| {
                median + sigma * Float::tan(pi * (C::units(bits)[0] - half))
            });
        }
        Distribution::Geometric { p } => {
            let log_q = C::near((-p).ln_1p());
            fill(out, seed, offset, |bits| {
                let u = C::units(bits)[0];
                Float::ceil(u.neg().log1p() / log_q).maximum(C::ONE)
            });
        }
        Distribution::Integers { .. } | Distribution::Bernoulli { .. } => {
            unreachable!("filled in integers")
        }
    }
}

/// A standard normal number, by the Box-Muller transform.
#[inline(always)]
fn normal<C: Unit>(bits: Bits) -> C {
    let [u, v] = C::units(bits);
    // 1 - u is exact, and not 0.
    let r = (C::near(-2.0) * (C::ONE - u).log()).sqrt();
    r * v.cos_turns()
}

/// A number below `range` (0 if that is 0): the integer part of a fraction of 128 bits times
/// `range`, so that no number is likelier than another by more than `2^-64` of itself.
#[inline(always)]
fn below(bits: Bits, range: u64) -> u64 {
    let word = |hi: u32, lo: u32| u128::from(hi) << 32 | u128::from(lo);
    let range = u128::from(range);
    let carry = (word(bits[2], bits[3]) * range) >> 64;
    ((word(bits[0], bits[1]) * range + carry) >> 64) as u64
}

/// The greatest number of type `dtype` (`f64` for integers) below `x`.
fn before(x: f64, dtype: DType) -> f64 {
    macro_rules! step {
        ($t:ty, $near:expr, $zero_bits:expr) => {{
            let near: $t = $near;
            let bits = near.to_bits();
            if f64::from(near) < x {
                f64::from(near)
            } else if near == <$t>::from_bits(0) {
                f64::from(<$t>::from_bits($zero_bits))
            } else if f64::from(near) > 0.0 {
                f64::from(<$t>::from_bits(bits - 1))
            } else {
                f64::from(<$t>::from_bits(bits + 1))
            }
        }};
    }
    match dtype {
        DType::F16 => step!(f16, f16::from_f64(x), 0x8001),
        DType::BF16 => step!(bf16, bf16::from_f64(x), 0x8001),
        DType::F32 => step!(f32, x as f32, 0x8000_0001),
        _ => x.next_down(),
    }
}

/// Blocks of random bits, word by word.
struct Words([[u32; BLOCK]; 4]);

impl Words {
    /// Block `i` of them.
    #[inline(always)]
    fn at(&self, i: usize) -> Bits {
        [self.0[0][i], self.0[1][i], self.0[2][i], self.0[3][i]]
    }
}

/// Sets `to[i]` to `f` of block `first + i`, for at most [`BLOCK`] elements.
#[inline(always)]
fn draw_any<C>(to: &mut [C], words: &mut Words, seed: u64, first: u64, f: &impl Fn(Bits) -> C) {
    let n = to.len().min(BLOCK);
    philox_blocks(seed, first, words.0.each_mut().map(|w| &mut w[..n]));
    for (i, x) in to[..n].iter_mut().enumerate() {
        *x = f(words.at(i));
    }
}

/// [`draw_any`] in vectors of 512 bits. The same numbers: the compiler fuses no multiplication and
/// addition.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma")]
fn draw_avx512<C>(to: &mut [C], words: &mut Words, seed: u64, first: u64, f: &impl Fn(Bits) -> C) {
    draw_any(to, words, seed, first, f);
}

/// [`draw_any`] in vectors of 256 bits.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn draw_avx2<C>(to: &mut [C], words: &mut Words, seed: u64, first: u64, f: &impl Fn(Bits) -> C) {
    draw_any(to, words, seed, first, f);
}

/// [`draw_any`], as fast as the machine can.
fn draw<C>(to: &mut [C], words: &mut Words, seed: u64, first: u64, f: &impl Fn(Bits) -> C) {
    #[cfg(target_arch = "x86_64")]
    if to.len() > 4 {
        match isa() {
            // SAFETY: the machine has the features.
            Isa::Avx512 => return unsafe { draw_avx512(to, words, seed, first, f) },
            // SAFETY: as above.
            Isa::Avx2 => return unsafe { draw_avx2(to, words, seed, first, f) },
            Isa::Base => {}
        }
    }
    draw_any(to, words, seed, first, f);
}

/// Fills `out` with `f` of each element's block.
fn fill<C: ComputeType + AllCasts>(
    out: View,
    seed: u64,
    offset: u64,
    f: impl Fn(Bits) -> C + Sync,
) {
    let order = Layout::contiguous(out.layout.shape.clone());
    let walk = Walk::new(&[&order, out.layout]);
    threads::ranges(walk.len(), BLOCK, 4.0, |range| {
        let mut block = [C::default(); BLOCK];
        let mut words = Words([[0; BLOCK]; 4]);
        walk.pieces_in(range, BLOCK, |at, n| {
            let first = offset.wrapping_add(at[0] as u64);
            draw(&mut block[..n], &mut words, seed, first, &f);
            // SAFETY: NOTE [Views in bounds]; the block holds `n` numbers.
            unsafe { store(&out, at[1], walk.stride[1], n, block.as_ptr()) };
        });
    });
}

/// See [`super::super::Backend::randperm`].
pub(super) fn randperm(out: View, seed: u64, offset: u64) {
    // Swaps reach everywhere: the fewer bytes, the nearer they are.
    if out.numel() <= 1 << 32 {
        shuffled::<u32>(out, seed, offset);
    } else {
        shuffled::<u64>(out, seed, offset);
    }
}

/// The numbers below the number of elements, as `I` while they are shuffled.
fn shuffled<I: Copy + TryFrom<usize> + Into<u64>>(out: View, seed: u64, offset: u64) {
    let n = out.numel();
    let number = |i| I::try_from(i).unwrap_or_else(|_| unreachable!("chosen for the length"));
    // Fisher and Yates: position `i` swaps with one of those up to it.
    let mut order = Scratch::collect(n, (0..n).map(number));
    let mut words = Words([[0; BLOCK]; 4]);
    let mut bits = [[0; 4]; BLOCK];
    for start in (0..n).step_by(BLOCK) {
        let m = (n - start).min(BLOCK);
        let first = offset.wrapping_add(start as u64);
        draw(&mut bits[..m], &mut words, seed, first, &|bits| bits);
        for (i, bits) in (start..).zip(&bits[..m]) {
            order.swap(i, below(*bits, i as u64 + 1) as usize);
        }
    }
    let stride = out.layout.strides.first().map_or(0, |s| *s);
    let mut block = [0i64; BLOCK];
    for (start, order) in (0..).step_by(BLOCK).zip(order.chunks(BLOCK)) {
        for (to, &i) in block.iter_mut().zip(order) {
            *to = i.into() as i64;
        }
        let at = out.layout.offset + start * stride;
        // SAFETY: NOTE [Views in bounds]; the block holds as many numbers.
        unsafe { store(&out, at, stride, order.len(), block.as_ptr()) };
    }
}
