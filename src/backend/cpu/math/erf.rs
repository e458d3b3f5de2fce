//! The error function, its complement, and the normal distribution.
//!
//! Near 0, `erf(x)` is its power series. Elsewhere, for `f64`,
//! `erfc(x) = e^(-x^2) P(w) / (1 + 2 x)` with `w` linear in `1 / (x + a)`: the form of Shepherd and
//! Laframboise (Mathematics of Computation 36, 1981, 249-253). The polynomials were fitted for this
//! file: Chebyshev interpolation of `(1 + 2 x) e^(x^2) erfc(x)` in 50 digits, from 0.75 to 28 with an
//! error of 1.5e-16.

use super::exp::{exp, exp_sum, expm1_parts};
use super::log::ln;
use super::real::{Real, poly};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, SQRT_2};

/// `erf(x) / (2 x / sqrt(pi))` in powers of `x^2`: `(-1)^k / (k! (2 k + 1))`.
const ERF: [f64; 16] = {
    let mut c = [0.0; 16];
    let mut factor = 1.0;
    let mut k = 0;
    while k < 16 {
        c[k] = factor / (2 * k + 1) as f64;
        k += 1;
        factor /= -(k as f64);
    }
    c
};

/// Where the fit starts, and the `a` of `w = (SLOPE x + SHIFT) / (x + a)`.
const START: f64 = 0.75;
const A: f64 = 3.75;
const SLOPE: f64 = 1.330_275_229_357_798_2;
const SHIFT: f64 = -5.497_706_422_018_348;

/// The fit, in powers of `w`.
const SCALE: [f64; 20] = [
    1.230_720_340_004_894_7,
    -0.099_671_918_795_236_54,
    0.007_229_327_989_875_939,
    0.023_119_751_310_296_33,
    -0.023_121_789_447_903_73,
    0.014_326_492_326_481_74,
    -0.006_650_065_489_971_463,
    0.002_367_514_151_723_858,
    -0.000_613_093_038_024_147_7,
    9.119_134_346_787_266e-5,
    5.164_710_040_054_419e-6,
    -6.424_194_652_397_867e-6,
    1.133_807_463_462_422_7e-6,
    1.855_514_687_880_175_4e-7,
    -1.065_752_423_152_435_9e-7,
    2.189_288_543_348_798e-9,
    7.254_269_321_267_765e-9,
    -8.349_153_557_429_284e-10,
    -3.688_639_733_204_505_4e-10,
    6.575_305_508_229_227e-11,
];

/// `e^(-a^2 / divisor)` for a divisor of 1 or 2.
///
/// `a^2 = high^2 + low`, where high has half of the digits, so that its square is exact.
#[inline(always)]
fn bell(a: f64, divisor: f64) -> f64 {
    let high = a.head();
    let low = (a - high) * (a + high) / divisor;
    let (q, n) = expm1_parts(-(high * high) / divisor);
    // (1 + q) (1 + s) with s = e^-low - 1, rounded once.
    let s = -low * (1.0 - low / 2.0 * (1.0 - low / 3.0));
    (1.0 + (q + (s + q * s))).scale(n)
}

/// `erfc(a) e^(a^2)` from [`START`] on.
#[inline(always)]
fn scale(a: f64) -> f64 {
    let w = (SLOPE * a + SHIFT) / (a + A);
    poly(w, &SCALE) / (1.0 + 2.0 * a)
}

/// `(erf(x), erfc(|x|))`; the first is only right below [`START`], the second from there on.
#[inline(always)]
fn parts(x: f64) -> (f64, f64) {
    let a = x.abs();
    let a = if a > 28.0 { 28.0 } else { a };
    let small = x * FRAC_2_SQRT_PI * poly(x * x, &ERF);
    (small, bell(a, 1.0) * scale(a))
}

/// `erf x`
#[inline(always)]
pub(super) fn erf(x: f64) -> f64 {
    let (erf, erfc) = parts(x);
    if x.abs() >= START {
        (1.0 - erfc).copysign(x)
    } else {
        erf
    }
}

/// `erfc x = 1 - erf x`
#[inline(always)]
pub(super) fn erfc(x: f64) -> f64 {
    let (erf, erfc) = parts(x);
    if x >= START {
        erfc
    } else if x <= -START {
        2.0 - erfc
    } else {
        1.0 - erf
    }
}

/// `(Phi(x), phi(x))`: the distribution and the density of the standard normal.
///
/// The left tail is `erfc(a) / 2` for `a = -x / sqrt(2)`, whose rounding does not matter: `e^(-a^2)`
/// is computed from `x` itself.
#[inline(always)]
pub(super) fn normal(x: f64) -> (f64, f64) {
    let y = x.abs();
    let y = if y > 39.0 { 39.0 } else { y };
    let a = y * FRAC_1_SQRT_2;
    let bell = bell(y, 2.0);
    let tail = 0.5 * bell * scale(a);
    let centre = 0.5 + 0.5 * (x * FRAC_1_SQRT_2 * FRAC_2_SQRT_PI * poly(x * x * 0.5, &ERF));
    let cdf = if a < START {
        centre
    } else if x > 0.0 {
        1.0 - tail
    } else {
        tail
    };
    (
        if x.is_nan() { x } else { cdf },
        0.398_942_280_401_432_7 * bell,
    )
}

/// `Phi(-a) e^(a^2 / 2) / t` in powers of `t - 1/2`, where `t = 1 / (1 + 0.35 a)`, fitted for `a` from
/// 0 to 14 with an error of 4e-8.
const TAIL: [f32; 9] = [
    0.253_244_28,
    0.342_991_53,
    0.284_395_4,
    0.081_875_63,
    -0.081_733_63,
    -0.056_223_735,
    0.044_192_523,
    0.027_827_742,
    -0.029_679_522,
];

/// `Phi(-a) e^(a^2 / 2)` for `a >= 0`, in either type: rounding `t` costs `f32` up to three units.
#[inline(always)]
fn tail<T: Real>(a: T) -> T {
    let t = T::ONE / (T::ONE + T::of(0.35) * a);
    let w = t - T::of(0.5);
    let of = |c: f32| T::of(f64::from(c));
    t * TAIL.iter().rev().fold(T::ZERO, |sum, &c| sum * w + of(c))
}

/// `e^(-a^2 by)` for `by` of 1 or 1/2, as [`bell`].
#[inline(always)]
fn bell_f32(a: f32, by: f32) -> f32 {
    let high = a.head();
    let low = (a - high) * (a + high);
    exp_sum(-by * (high * high), -by * low)
}

/// `(Phi(x), phi(x))`: the distribution and the density of the standard normal.
#[inline(always)]
pub(super) fn normal_f32(x: f32) -> (f32, f32) {
    let a = x.abs();
    let a = if a > 15.0 { 15.0 } else { a };
    let tail = bell_f32(a, 0.5) * tail(a);
    let cdf = if x > 0.0 { 1.0 - tail } else { tail };
    (cdf, 0.398_942_3 * exp(x * x * -0.5))
}

/// `erf x` up to 0.9: the power series.
#[inline(always)]
fn small_f32(x: f32) -> f32 {
    const TERMS: [f32; 9] = {
        let mut c = [0.0; 9];
        let mut k = 0;
        while k < 9 {
            c[k] = (ERF[k + 1] * FRAC_2_SQRT_PI) as f32;
            k += 1;
        }
        c
    };
    let z = x * x;
    // 2 / sqrt(pi) = 1 + 0.128...: the product with 1 is exact.
    x + x * ((FRAC_2_SQRT_PI - 1.0) as f32 + z * poly(z, &TERMS))
}

/// `(a, e^(-a^2))` for `a = |x|`, but 10.5 beyond that.
#[inline(always)]
fn bounded_f32(x: f32) -> (f32, f32) {
    let a = x.abs();
    let a = if a > 10.5 { 10.5 } else { a };
    (a, bell_f32(a, 1.0))
}

/// `erf x`: from 0.9 on, `1 - 2 Phi(-sqrt(2) |x|)`.
#[inline(always)]
pub(super) fn erf_f32(x: f32) -> f32 {
    let (a, bell) = bounded_f32(x);
    let large = 1.0 - 2.0 * bell * tail(a * std::f32::consts::SQRT_2);
    if a > 0.9 {
        large.copysign(x)
    } else {
        small_f32(x)
    }
}

/// `erfc x`: from 1/2 on, `2 Phi(-sqrt(2) x)`.
#[inline(always)]
pub(super) fn erfc_f32(x: f32) -> f32 {
    let (a, bell) = bounded_f32(x);
    let large = (f64::from(2.0 * bell) * tail(f64::from(a) * SQRT_2)) as f32;
    if x > 0.5 {
        large
    } else if x < -0.5 {
        2.0 - large
    } else {
        1.0 - small_f32(x)
    }
}

/// `erfinv(x) / x` as a function of `w = -ln(1 - x^2)`, which is smooth: in powers of `w - 5/2` up to
/// 5, and of `sqrt(w) - 3` from there on (to 16.8), with errors of 1e-8.
const INVERSE: [[f32; 10]; 2] = [
    [
        1.501_409_4,
        0.246_640_28,
        -0.004_177_393,
        -0.001_252_726_4,
        2.183_493_9e-4,
        -4.972_42e-6,
        -3.463_985_2e-6,
        4.681_313_6e-7,
        2.333_596_8e-8,
        -8.931_926e-9,
    ],
    [
        2.832_976_8,
        1.001_674_9,
        0.009_444_992,
        -0.007_636_49,
        0.005_689_216_3,
        -0.003_600_900_3,
        0.001_479_703_9,
        -5.045_885_3e-5,
        -3.055_250_6e-4,
        1.115_385_8e-4,
    ],
];

/// The inverse of [`erf_f32`]; NaN beyond 1. The form is that of Giles (GPU Computing Gems, 2012).
#[inline(always)]
pub(super) fn erfinv_f32(x: f32) -> f32 {
    let w = -ln((1.0 - x) * (1.0 + x));
    let near = w < 5.0;
    let at = if near { w - 2.5 } else { w.sqrt() - 3.0 };
    let c = |k: usize| {
        if near { INVERSE[0][k] } else { INVERSE[1][k] }
    };
    let y = x * (0..10).rev().fold(0.0, |sum, k| sum * at + c(k));
    if x.abs() == 1.0 { x * f32::INFINITY } else { y }
}
