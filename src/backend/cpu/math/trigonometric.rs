//! Sine, cosine and tangent, computed in `f64`.
//!
//! `x = k pi / 2 + r` with a whole `k` and `|r| <= pi / 4`. The remainder is taken with pi in few
//! parts, which is accurate up to a bound. Beyond lie angles that need pi to a thousand digits: see
//! `Float::is_far`.

use super::real::{Real, poly};
use std::f64::consts::{FRAC_2_PI, FRAC_PI_2};

/// `pi / 2` in parts of 53 bits.
const PI_2: [f64; 3] = [
    FRAC_PI_2,
    6.123_233_995_736_766e-17,
    -1.497_384_904_859_169_8e-33,
];

/// The type's share of the trigonometric functions.
pub(super) trait Trigonometric: Real {
    /// `(sin(x) - x) / x^3` in powers of `x^2`, for `|x| <= pi / 4`.
    const SIN: &'static [f64];
    /// `(cos(x) - 1 + x^2 / 2) / x^4` in powers of `x^2`, for `|x| <= pi / 4`.
    const COS: &'static [f64];
    /// The greatest angle whose remainder is accurate.
    const GREATEST: f64;
    /// Whether remainders have a second part that matters.
    const TAIL: bool;
    /// `x - k pi / 2` as a number and what it lacks, for a whole `k`.
    fn minus_quarters(x: f64, k: f64) -> (f64, f64);
    /// The nearest number.
    fn near(x: f64) -> Self;
}

impl Trigonometric for f32 {
    const SIN: &'static [f64] = &[
        -0.166_666_666_638_541_68,
        0.008_333_331_874_273_714,
        -1.984_008_649_959_36e-4,
        2.724_989_523_061_167_6e-6,
    ];
    const COS: &'static [f64] = &[
        0.041_666_664_658_901_405,
        -0.001_388_830_291_911_363_3,
        2.454_791_685_369_101_6e-5,
    ];
    const GREATEST: f64 = 1e9;
    const TAIL: bool = false;
    #[inline(always)]
    fn minus_quarters(x: f64, k: f64) -> (f64, f64) {
        ((-k).fma(PI_2[1], (-k).fma(PI_2[0], x)), 0.0)
    }
    #[inline(always)]
    fn near(x: f64) -> f32 {
        x as f32
    }
}

impl Trigonometric for f64 {
    const SIN: &'static [f64] = &[
        -0.166_666_666_666_666_66,
        0.008_333_333_333_330_948,
        -1.984_126_983_675_677_4e-4,
        2.755_731_610_161_787_4e-6,
        -2.505_113_165_023_518e-8,
        1.591_811_526_326_597_4e-10,
    ];
    const COS: &'static [f64] = &[
        0.041_666_666_666_666_664,
        -0.001_388_888_888_888_739_8,
        2.480_158_729_876_456e-5,
        -2.755_731_727_114_514_4e-7,
        2.087_614_614_655_861e-9,
        -1.138_262_364_747_460_4e-11,
    ];
    const GREATEST: f64 = 1e9;
    const TAIL: bool = true;
    #[inline(always)]
    fn minus_quarters(x: f64, k: f64) -> (f64, f64) {
        // Exact: a multiple of the unit of pi / 2, and less than 1.
        let r = (-k).fma(PI_2[0], x);
        let (p, q) = f64::product(k, PI_2[1]);
        let (r, t) = f64::sum(r, -p);
        f64::sum_ordered(r, (-k).fma(PI_2[2], t - q))
    }
    #[inline(always)]
    fn near(x: f64) -> f64 {
        x
    }
}

/// `(k, sin(r), cos(r))` with `x = k pi / 2 + r`, for the whole number with the low bits `k`, and
/// `|r| <= pi / 4`; sine and cosine each as a number and what it lacks.
#[inline(always)]
fn sin_cos<T: Trigonometric>(x: T) -> (u64, (f64, f64), (f64, f64)) {
    let x = x.f64();
    let (k, bits) = x.whole_product(FRAC_2_PI, 0.0);
    let (r, t) = T::minus_quarters(x, k);
    let z = r * r;
    let (cube, sin) = (r * z, poly(z, T::SIN));
    let (square, cos) = (z * z, poly(z, T::COS));
    let w = (-0.5).fma(z, 1.0);
    if T::TAIL {
        // w lost (1 - w) - z / 2; t counts by the derivatives, about 1 - z / 2 and -r.
        let lost = (-0.5).fma(z, 1.0 - w);
        let rest = square.fma(cos, (-r).fma(t, lost));
        let cos = f64::sum_ordered(w, rest);
        (
            bits.to_bits(),
            f64::sum_ordered(r, cube.fma(sin, t * w)),
            cos,
        )
    } else {
        (
            bits.to_bits(),
            (cube.fma(sin, r), 0.0),
            (square.fma(cos, w), 0.0),
        )
    }
}

/// `sin(r + k pi / 2)`: `s`, `c`, `-s` and `-c` in turn.
#[inline(always)]
fn turned(k: u64, s: f64, c: f64) -> f64 {
    let y = if k & 1 == 0 { s } else { c };
    f64::from_bits(y.to_bits() ^ ((k & 2) << 62))
}

/// `sin x` up to [`Trigonometric::GREATEST`].
#[inline(always)]
pub(super) fn sin<T: Trigonometric>(x: T) -> T {
    let (k, (s, _), (c, _)) = sin_cos(x);
    if x.abs() < T::TINY {
        x
    } else {
        T::near(turned(k, s, c))
    }
}

/// `cos(x) = sin(x + pi / 2)`, likewise.
#[inline(always)]
pub(super) fn cos<T: Trigonometric>(x: T) -> T {
    let (k, (s, _), (c, _)) = sin_cos(x);
    T::near(turned(k + 1, s, c))
}

/// `tan(r + k pi / 2)`, likewise: `s / c` and `-c / s` in turn.
#[inline(always)]
pub(super) fn tan<T: Trigonometric>(x: T) -> T {
    let (k, s, c) = sin_cos(x);
    let even = k & 1 == 0;
    let (top, top_low) = if even { s } else { (-c.0, -c.1) };
    let (bottom, bottom_low) = if even { c } else { s };
    let y = if T::TAIL {
        let inverse = 1.0 / bottom;
        let y = top * inverse;
        let lost = (-y).fma(bottom, top) + (-y).fma(bottom_low, top_low);
        lost.fma(inverse, y)
    } else {
        top / bottom
    };
    if x.abs() < T::TINY { x } else { T::near(y) }
}
