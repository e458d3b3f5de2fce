//! Sine, cosine and tangent.
//!
//! `x = k pi / 2 + r` with a whole `k` and `|r| <= pi / 4`, or little more. The remainder is taken with
//! pi in three parts, which is accurate up to a bound. Beyond lie angles of `f32` that `f64` has to
//! reduce, and angles that need pi to a thousand digits: see `Float::is_far` and `Float::is_beyond`.

use super::real::{Real, poly};
use std::f64::consts::FRAC_2_PI;

/// The type's share of the trigonometric functions. Polynomials and quotients are by Remez's algorithm on
/// some hundred points, each coefficient fitted with those before it rounded (for quotients, with all
/// of the divisor).
pub(super) trait Trigonometric: Real {
    /// `pi / 2` in parts of the type's digits.
    const PI_2: [Self; 3];
    /// `(sin(r) - r) / r^3` in powers of `r^2`: with errors of 2^-27 and 2^-57 of the sine.
    const SIN: &'static [Self];
    /// `(cos(r) - 1 + r^2 / 2) / r^4` in powers of `r^2`: with errors of 2^-32 and 2^-63 of the cosine.
    const COS: &'static [Self];
    /// `p` and `q` in powers of `r^2`, with `r + r^3 p / q = tan r`: with errors of 2^-29 and 2^-55 of the
    /// tangent.
    const TAN: (&'static [Self], &'static [Self]);
    /// `(1 / r - cot r) / r` in powers of `r^2`: with errors of 2^-32 and 2^-57 of the cotangent.
    const COT: &'static [Self];
    /// The greatest angle whose remainder is accurate.
    const GREATEST: Self;
}

impl Trigonometric for f32 {
    const PI_2: [f32; 3] = [1.570_796_4, -4.371_139e-8, -1.715_124_5e-15];
    const SIN: &'static [f32] = &[-0.166_666_54, 0.008_332_106, -1.950_788_4e-4];
    const COS: &'static [f32] = &[0.041_666_646, -0.001_388_730_4, 2.443_120_1e-5];
    const TAN: (&'static [f32], &'static [f32]) = (
        &[0.333_333_34, -0.014_897_155],
        &[1.0, -0.444_691_45, 0.015_972_05],
    );
    const COT: &'static [f32] = &[
        0.333_333_34,
        0.022_222_02,
        0.002_117_743_7,
        2.077_782_4e-4,
        2.633_216_9e-5,
    ];
    const GREATEST: f32 = 1e5;
}

impl Trigonometric for f64 {
    const PI_2: [f64; 3] = [
        std::f64::consts::FRAC_PI_2,
        6.123_233_995_736_766e-17,
        -1.497_384_904_859_169_8e-33,
    ];
    const SIN: &'static [f64] = &[
        -0.166_666_666_666_666_3,
        0.008_333_333_333_321_84,
        -1.984_126_982_936_003e-4,
        2.755_731_354_052_485e-6,
        -2.505_073_515_761_523e-8,
        1.589_551_320_528_298_7e-10,
    ];
    const COS: &'static [f64] = &[
        0.041_666_666_666_666_595,
        -0.001_388_888_888_887_334_2,
        2.480_158_728_900_208_6e-5,
        -2.755_731_421_704_39e-7,
        2.087_570_539_718_972_4e-9,
        -1.135_874_932_456_779_8e-11,
    ];
    const TAN: (&'static [f64], &'static [f64]) = (
        &[
            0.333_333_333_333_331_37,
            -0.020_538_601_907_078_728,
            2.009_495_171_962_559_5e-4,
        ],
        &[
            1.0,
            -0.461_615_805_721_412_03,
            0.023_344_408_937_127_508,
            -2.084_320_742_577_365_7e-4,
        ],
    );
    const COT: &'static [f64] = &[
        0.333_333_333_333_334_54,
        0.022_222_222_222_146_03,
        0.002_116_402_118_067_763,
        2.116_401_937_700_555e-4,
        2.137_790_758_166_672_4e-5,
        2.164_007_726_258_679_4e-6,
        2.201_487_199_013_756e-7,
        2.102_612_960_640_119_7e-8,
        3.103_197_308_049_332_3e-9,
    ];
    const GREATEST: f64 = 1e9;
}

/// `(bits, r, low)` with `x = k pi / 2 + r + low`, for the whole number `k` with the low bits `bits`, and
/// `low` what the rounded `r` lacks.
#[inline(always)]
fn remainder<T: Trigonometric>(x: T) -> (T, T, T) {
    let (k, bits) = x.whole_product(T::of(FRAC_2_PI), T::ZERO);
    // Exact: a multiple of the unit of pi / 2, and less than 2.
    let high = (-k).fma(T::PI_2[0], x);
    let (p, q) = T::product(k, T::PI_2[1]);
    let (mid, t) = T::sum_ordered(high, -p);
    let (r, low) = T::sum_ordered(mid, t + (-k).fma(T::PI_2[2], -q));
    (bits, r, low)
}

/// `sin(r + low + k pi / 2)`, for the whole number with the low bits `k`: sine, cosine, and minus these
/// in turn.
#[inline(always)]
fn turned<T: Trigonometric>(k: T, r: T, low: T) -> T {
    let z = r * r;
    let sin = r + (r * z).fma(poly(z, T::SIN), low);
    let cos = (z * z).fma(poly(z, T::COS), T::of(-0.5).fma(z, T::ONE));
    let y = if k.bit(0) { cos } else { sin };
    y.negated_by_bit(k, 1)
}

/// `sin x` up to [`Trigonometric::GREATEST`].
#[inline(always)]
pub(super) fn sin<T: Trigonometric>(x: T) -> T {
    let (bits, r, low) = remainder(x);
    let y = turned(bits, r, low);
    // A zero keeps its sign.
    if x == T::ZERO { x } else { y }
}

/// `cos(x) = sin(x + pi / 2)`, likewise.
#[inline(always)]
pub(super) fn cos<T: Trigonometric>(x: T) -> T {
    let (bits, r, low) = remainder(x);
    turned(bits + T::ONE, r, low)
}

/// `tan(r + k pi / 2)`, likewise: `tan r` and `-cot r` in turn, each as a quotient and what it adds to.
#[inline(always)]
pub(super) fn tan<T: Trigonometric>(x: T) -> T {
    let (bits, r, low) = remainder(x);
    let z = r * r;
    let tan = (r * z).fma(poly(z, T::TAN.0), low);
    let odd = bits.bit(0);
    let (n, d) = if odd {
        (-T::ONE, r)
    } else {
        (tan, poly(z, T::TAN.1))
    };
    let q = n / d;
    // -1 / (r + low) = q + q (1 + q (r + low))
    let lost = low.fma(q, q.fma(r, T::ONE));
    let cot = r.fma(poly(z, T::COT), q * lost);
    let y = q + if odd { cot } else { r };
    if x == T::ZERO { x } else { y }
}
