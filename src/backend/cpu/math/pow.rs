//! Powers: `x^y = 2^(y log2 |x|)`, with the sign and the special cases of C's `pow`.

use super::exp::{clamp, exp2_sum};
use super::log::bend;
use super::real::{Real, poly};
use std::f64::consts::LOG2_E;

/// The type's share of powers.
pub(super) trait Pow: Real {
    /// `2^(y log2 x)` for `x >= 0`; it may be wrong where the product is not a number.
    fn magnitude(x: Self, y: Self) -> Self;
}

/// `x^y`
#[inline(always)]
pub(super) fn pow<T: Pow>(x: T, y: T) -> T {
    let power = T::magnitude(x.abs(), y);
    let whole = y.trunc() == y;
    let half = y * T::of(0.5);
    let odd = whole && half.trunc() != half;
    let below = x < T::ZERO;
    let negative = T::ONE.copysign(x) < T::ZERO;
    let signed = if negative && odd { -power } else { power };
    let defined = !below || whole || x == -T::INF || y.is_nan();
    let signed = if defined { signed } else { T::NAN };
    // 0 to any power, 1 to any, and minus 1 to an infinite one.
    let one = y == T::ZERO || x == T::ONE || (x == -T::ONE && y.is_infinite());
    if one { T::ONE } else { signed }
}

/// Coefficients for `f32`, as in [`Log`](super::log::Log) and [`Exp`](super::exp::Exp): in `f64`, but
/// fewer.
const LOG: [f64; 4] = [
    0.666_666_665_544_970_9,
    0.400_001_218_398_061_24,
    0.285_508_208_159_606_65,
    0.233_304_672_163_038_35,
];
const EXP2: [f64; 6] = [
    0.693_147_188_026_228_8,
    0.240_226_507_605_681_26,
    0.055_503_571_142_190_78,
    0.009_618_082_557_277_852,
    0.001_339_086_336_467_123_4,
    0.000_154_531_629_451_206_9,
];

impl Pow for f32 {
    #[inline(always)]
    fn magnitude(x: f32, y: f32) -> f32 {
        // In `f64` no argument is denormal, and no result but 0 and infinity is out of range.
        let (x, y) = (f64::from(x), f64::from(y));
        let (m, e) = x.split_normal();
        let f = m - 1.0;
        let log = (f - bend(f, &LOG)).fma(LOG2_E, e);
        let log = if x == 0.0 { -f64::INF } else { log };
        let p = y * if x < f64::INF { log } else { x };
        let p = clamp(p, (-160.0, 160.0));
        let (n, bits) = p.whole_product(1.0, f64::BIAS);
        let r = p - n;
        let power = f64::power_of_bits(bits);
        (r * poly(r, &EXP2)).fma(power, power) as f32
    }
}

/// `2 / ln 2` in two parts.
const SCALE: (f64, f64) = (2.885_390_081_777_926_8, 4.071_054_748_186_206_6e-17);
/// `1 / 3` in two parts.
const THIRD: (f64, f64) = (0.333_333_333_333_333_3, 1.850_371_707_708_594e-17);
/// `(atanh(s) / s - 1 - z / 3) / z^2` in powers of `z = s^2`, for `s` as in
/// [`Log::LOG`](super::log::Log::LOG).
const REST: [f64; 8] = [
    0.2,
    0.142_857_142_857_146_82,
    0.111_111_111_108_281_16,
    0.090_909_091_676_572_02,
    0.076_922_974_854_477_29,
    0.066_674_021_191_126_73,
    0.058_531_242_704_611_93,
    0.058_615_255_140_488_765,
];

/// The product of two numbers in two parts each.
#[inline(always)]
fn product(x: (f64, f64), y: (f64, f64)) -> (f64, f64) {
    let (p, r) = f64::product(x.0, y.0);
    (p, x.0.fma(y.1, x.1.fma(y.0, r)))
}

/// `log2 x` in two parts, for positive finite numbers: the error is about `2^-66` of it.
#[inline(always)]
fn log2(x: f64) -> (f64, f64) {
    let (m, e) = x.split();
    // s = (m - 1) / (m + 1)
    let f = m - 1.0;
    let (b, lost) = f64::sum_ordered(1.0, m); // m < 2
    let inverse = 1.0 / b;
    let s = f * inverse;
    let s = (s, (-s).fma(lost, (-s).fma(b, f)) * inverse);
    // atanh(s) / s = 1 + z (1 / 3 + z p(z))
    let z = product(s, s);
    let (third, low) = f64::sum_ordered(THIRD.0, z.0 * poly(z.0, &REST));
    let t = product(z, (third, low + THIRD.1));
    let scaled = product(s, SCALE);
    let more = product(scaled, t);
    let (y, low) = f64::sum_ordered(scaled.0, more.0);
    let low = low + (scaled.1 + more.1);
    // The exponent is 0 or at least twice the rest.
    let (y, rest) = f64::sum_ordered(e, y);
    (y, rest + low)
}

impl Pow for f64 {
    #[inline(always)]
    fn magnitude(x: f64, y: f64) -> f64 {
        let (log, low) = log2(x);
        let log = if x == 0.0 { -f64::INF } else { log };
        let log = if x < f64::INF { log } else { x };
        let p = y * log;
        // Beyond, the power is 0 or infinite, whatever the product lost.
        let lost = y.fma(low, y.fma(log, -p));
        let lost = if p.abs() < 1100.0 { lost } else { 0.0 };
        exp2_sum(clamp(p, (-1100.0, 1100.0)), lost)
    }
}
