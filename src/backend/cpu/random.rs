//! Random fills.
//!
//! Element `i` of a fill, in row-major order, is a function of block `offset + i` of the stream of
//! its seed, and of nothing else: not of the layout, nor of who computes it.

use super::super::{Distribution, View};
use super::map::{AllCasts, ComputeType, store};
use super::math::Float;
use super::walk::Walk;
use crate::base::rng::{philox, unit_f32, unit_f64};
use crate::base::{DType, Layout};
use half::{bf16, f16};

#[cfg(test)]
mod tests;

/// Elements computed between two stores.
const BLOCK: usize = 512;

/// One block of random bits.
type Bits = [u32; 4];

/// The types that random numbers are computed in.
trait Unit: Float + ComputeType + AllCasts {
    /// Half the distance of two neighbouring uniform numbers.
    const HALF: Self;
    /// The nearest number.
    #[inline(always)]
    fn near(x: f64) -> Self {
        <Self as Float>::of(x)
    }
    /// Two independent uniform numbers in `[0, 1)`.
    fn units(bits: Bits) -> [Self; 2];
}

impl Unit for f32 {
    const HALF: f32 = 1.0 / (1u32 << 25) as f32;
    #[inline(always)]
    fn units(bits: Bits) -> [f32; 2] {
        [unit_f32(bits[0]), unit_f32(bits[2])]
    }
}

impl Unit for f64 {
    const HALF: f64 = 1.0 / (1u64 << 54) as f64;
    #[inline(always)]
    fn units(bits: Bits) -> [f64; 2] {
        [unit_f64(bits[0], bits[1]), unit_f64(bits[2], bits[3])]
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
        // All 53 bits even for `f32`, so that small probabilities are met.
        Distribution::Bernoulli { p } => fill(out, seed, offset, |bits| {
            i64::from(unit_f64(bits[0], bits[1]) < p)
        }),
        _ => match out.dtype {
            DType::F16 | DType::BF16 | DType::F32 => real::<f32>(out, distribution, seed, offset),
            _ => real::<f64>(out, distribution, seed, offset),
        },
    }
}

/// Fills with one of the continuous distributions, or the geometric one, computing in `C`.
fn real<C: Unit>(out: View, distribution: Distribution, seed: u64, offset: u64) {
    match distribution {
        Distribution::Uniform { low, high } => {
            let (from, width) = (C::near(low), C::near(high - low));
            let dtype = out.dtype;
            fill(out, seed, offset, |bits| {
                let [u, _] = C::units(bits);
                let x = from + u * width;
                // Rounding may reach the upper end, when scaling or (half types) when storing.
                if stored(x.f64(), dtype) >= high {
                    C::near(before(high, dtype).max(low))
                } else {
                    x
                }
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
                // Not 0, whose logarithm users take.
                let u = C::units(bits)[0].maximum(C::HALF);
                u.neg().log1p().neg() / rate
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
    // 1 - u is not 0.
    let r = (C::near(-2.0) * Float::ln(C::ONE - u)).sqrt();
    r * (C::near(std::f64::consts::TAU) * v).cos()
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

/// `x` as it is read back from an element of type `dtype`.
#[inline(always)]
fn stored(x: f64, dtype: DType) -> f64 {
    match dtype {
        DType::F16 => f16::from_f32(x as f32).to_f64(),
        DType::BF16 => bf16::from_f32(x as f32).to_f64(),
        _ => x,
    }
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

/// Fills `out` with `f` of each element's block.
fn fill<C: ComputeType + AllCasts>(out: View, seed: u64, offset: u64, f: impl Fn(Bits) -> C) {
    let order = Layout::contiguous(out.layout.shape.clone());
    let walk = Walk::new(&[&order, out.layout]);
    let mut block = [C::default(); BLOCK];
    walk.for_each(|at| {
        let mut done = 0;
        while done < walk.run {
            let m = (walk.run - done).min(BLOCK);
            let first = offset.wrapping_add((at[0] + done) as u64);
            for (x, i) in block[..m].iter_mut().zip(0u64..) {
                *x = f(philox(seed, first.wrapping_add(i)));
            }
            let (start, stride) = (at[1] + done * walk.stride[1], walk.stride[1]);
            // SAFETY: NOTE [Views in bounds]; the block holds `m` numbers.
            unsafe { store(&out, start, stride, m, block.as_ptr()) };
            done += m;
        }
    });
}

/// See [`super::super::Backend::randperm`].
pub(super) fn randperm(out: View, seed: u64, offset: u64) {
    // Fisher and Yates: position `i` swaps with one of those up to it.
    let mut order: Vec<i64> = (0..out.numel() as i64).collect();
    for i in 1..order.len() {
        let bits = philox(seed, offset.wrapping_add(i as u64));
        let j = below(bits, i as u64 + 1) as usize;
        order.swap(i, j);
    }
    let stride = out.layout.strides.first().map_or(0, |s| *s);
    // SAFETY: NOTE [Views in bounds]; there are as many numbers as elements.
    unsafe { store(&out, out.layout.offset, stride, order.len(), order.as_ptr()) };
}
