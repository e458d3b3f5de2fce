//! The error function, its complement, and the normal distribution.
//!
//! With the distribution `Phi` of the standard normal, all follow from its tail
//! `Phi(-a) = e^(-a^2 / 2) R(a)` for `a >= 0`, where `R` (Mills' ratio, over `sqrt(2 pi)`) is a
//! polynomial in `1 / (a + c)` over `a + c`: the form of Shepherd and Laframboise (Mathematics of
//! Computation 36, 1981, 249-253). Only near its zero, `erf` is a polynomial itself. The square is
//! taken in two parts, since the exponential makes an absolute error relative.

use super::exp::{Exp, exp_sum, expm1_sum_parts};
use super::real::{Real, poly, poly_halves, times};
use std::f64::consts::SQRT_2;

/// The density of the standard normal at 0, in two parts.
const DENSITY: (f64, f64) = (0.398_942_280_401_432_7, -2.492_327_202_277_73e-17);

/// `(q, bits)` with `e^(-a^2 by) = 2^n (1 + q)`, for `by` of 1 or 1/2; `bits` has `n + k` as in
/// [`Real::whole_product`].
#[inline(always)]
fn bell<T: Exp>(a: T, by: T, k: T) -> (T, T) {
    let half = -by * a;
    let square = half * a;
    expm1_sum_parts(square, half.fma(a, -square), k)
}

/// `erf(x) / x - 1` in powers of `x^2`, up to 1: with an error of 2^-56.
const ERF: [f64; 12] = [
    0.128_379_167_095_512_56,
    -0.376_126_389_031_835_43,
    0.112_837_916_709_450_06,
    -0.026_866_170_643_237_77,
    0.005_223_977_607_116_422_5,
    -0.000_854_832_597_538_969_2,
    0.000_120_552_949_048_397_07,
    -1.492_473_690_741_966e-5,
    1.644_742_470_331_736_2e-6,
    -1.620_848_380_187_170_5e-7,
    1.372_006_454_677_768_6e-8,
    -7.795_898_827_002_142e-10,
];

/// `R(a) (a + 3)` in powers of `a / (a + 3) - 31/64`, for `a` up to 38.9: with an error of 2^-55,
/// that of rounding the coefficients, each of which was fitted with those before it rounded.
const RATIO: [f64; 26] = [
    0.745_226_373_416_038_8,
    -1.047_690_490_093_768_5,
    0.937_540_840_770_659_5,
    -0.367_101_891_372_893_34,
    -0.184_578_993_569_824_96,
    0.216_286_607_171_630_95,
    0.079_934_188_722_316_49,
    -0.124_998_294_703_423_44,
    -0.075_898_429_612_379_73,
    0.066_145_524_111_868_28,
    0.084_035_874_839_442_5,
    -0.011_865_597_563_440_227,
    -0.077_687_755_763_095_2,
    -0.039_960_679_468_346_146,
    0.042_458_116_790_339_49,
    0.071_296_667_037_932_68,
    0.018_851_296_547_193_17,
    -0.056_112_164_460_887_63,
    -0.075_776_376_439_051_86,
    -0.010_131_189_291_057_845,
    0.084_770_706_814_819_92,
    0.081_430_010_938_973_01,
    -0.040_548_072_398_934_83,
    -0.088_631_704_541_205_16,
    0.000_425_831_396_743_682_07,
    0.034_318_123_970_282_12,
];

/// A scale of arguments, with numbers in two parts.
struct Scale {
    /// The exponent's factor: `e^(-a^2 by)`.
    by: f64,
    /// `sqrt(2 by)`
    root: (f64, f64),
    /// `3 / sqrt(2 by)`
    shift: (f64, f64),
}

/// That of the normal distribution: `e^(-a^2 / 2) R(a)` is `Phi(-a)`.
const NORMAL: Scale = Scale {
    by: 0.5,
    root: (1.0, 0.0),
    shift: (3.0, 0.0),
};

/// That of the error function: `e^(-a^2) 2 R(sqrt(2) a)` is `erfc a`.
const ERROR: Scale = Scale {
    by: 1.0,
    root: (SQRT_2, -9.667_293_313_452_913e-17),
    shift: (2.121_320_343_559_642_4, 1.880_575_076_857_532_7e-16),
};

/// `root P(w) / (a + shift)` in two parts: `R(a)` or `2 R(sqrt(2) a)`.
#[inline(always)]
fn ratio(a: f64, scale: &Scale) -> (f64, f64) {
    let (k, c) = (scale.root, scale.shift);
    let (d, d_low) = f64::sum(a, c.0);
    let t = k.0 / d;
    let t_low = t / k.0 * ((-t).fma(d, k.0) + (k.1 - t * (d_low + c.1)));
    // a / (a + c) - 31/64 = 33/64 - c / k t
    let slope = -1.5 / scale.by;
    let w = t.fma(slope, 33.0 / 64.0);
    let w_low = t_low.fma(slope, t.fma(slope, 33.0 / 64.0 - w));
    let rest = poly_halves(w, &RATIO[1..]);
    let p = w.fma(rest, RATIO[0]);
    let p_low = w_low.fma(rest, w.fma(rest, RATIO[0] - p));
    let (y, low) = times(t, (p, p_low));
    (y, t_low.fma(p, low))
}

/// `(y + low) e^(-a^2 by)`
#[inline(always)]
fn under_bell(a: f64, scale: &Scale, (y, low): (f64, f64)) -> f64 {
    let (q, bits) = bell(a, scale.by, f64::BIAS + f64::BIAS);
    (y + y.fma(q, low.fma(q, low))).scale(bits)
}

/// `erfc |x|`
#[inline(always)]
fn complement(x: f64) -> f64 {
    let a = x.abs();
    let a = if a > 27.5 { 27.5 } else { a };
    under_bell(a, &ERROR, ratio(a, &ERROR))
}

/// `erf x` up to 1.
#[inline(always)]
fn small(x: f64) -> f64 {
    x.fma(poly_halves(x * x, &ERF), x)
}

/// `erf x`: from 1 on, `1 - erfc x`.
#[inline(always)]
pub(super) fn erf(x: f64) -> f64 {
    let far = (1.0 - complement(x)).copysign(x);
    if x.abs() < 1.0 { small(x) } else { far }
}

/// `erfc x = 1 - erf x`, `2 - erfc(-x)` for negative `x`.
#[inline(always)]
pub(super) fn erfc(x: f64) -> f64 {
    let tail = complement(x);
    let far = if x < 0.0 { 2.0 - tail } else { tail };
    if x.abs() < 0.5 { 1.0 - small(x) } else { far }
}

/// `a = |x|`, but so much that `a Phi(-a)` rounds to 0 if that is less.
#[inline(always)]
fn bounded(x: f64) -> f64 {
    let a = x.abs();
    if a > 38.9 { 38.9 } else { a }
}

/// `x Phi(x) = max(x, 0) - a Phi(-a)` for `a = |x|`.
#[inline(always)]
pub(super) fn gelu(x: f64) -> f64 {
    let a = bounded(x);
    let below = under_bell(a, &NORMAL, times(a, ratio(a, &NORMAL)));
    rectified(x) - below
}

/// The derivative of [`gelu`]: `Phi(x) + x phi(x)`, which is
/// `Phi(-a) - a phi(a) = e^(-a^2 / 2) (R(a) - a phi(0))` for negative `x = -a`, and 1 less that for
/// positive `x = a`.
#[inline(always)]
pub(super) fn gelu_slope(x: f64) -> f64 {
    let a = bounded(x);
    let (y, low) = ratio(a, &NORMAL);
    let (x_density, rest) = times(a, DENSITY);
    let (s, r) = f64::sum(y, -x_density);
    let below = under_bell(a, &NORMAL, (s, r + (low - rest)));
    if x < 0.0 { below } else { 1.0 - below }
}

/// `max(x, 0)`, but of negative `x` the product with 0: NaN for minus infinity.
#[inline(always)]
fn rectified<T: Real>(x: T) -> T {
    if x < T::ZERO { x * T::ZERO } else { x }
}

/// `R(a) (a + 3)` in powers of `a / (a + 3) - 13/32`, for `a` up to 14.5: with an error of 2^-26.
const RATIO_F32: [f32; 11] = [
    0.832_967_04,
    -1.200_512_3,
    1.015_842_1,
    -0.297_135_2,
    -0.259_899_32,
    0.165_187,
    0.133_472_96,
    -0.069_498_16,
    -0.099_096_514,
    0.015_103_443,
    0.059_417_758,
];

/// What [`gelu_f32`] and its derivative have in common, for `a = |x|` or a bound from which on
/// `a Phi(-a)` rounds to 0.
struct Tail {
    a: f32,
    /// `a + 3`
    d: f32,
    /// `a / d`
    u: f32,
    /// `R(a) d`, in two parts.
    p: (f32, f32),
    /// `e^(-a^2 / 2) = 2^-UP power (1 + q)`, where `power` is a normal number.
    q: f32,
    power: f32,
}

impl Tail {
    /// Powers of two that keep [`Tail::power`] normal.
    const UP: f32 = 64.0;
    /// `2^-UP`
    const DOWN: f32 = 5.421_011e-20;

    #[inline(always)]
    fn new(x: f32) -> Tail {
        // By the bits, which costs no arithmetic; a NaN becomes the bound.
        let a = f32::from_bits((x.to_bits() & !(1 << 31)).min(14.5f32.to_bits()));
        let d = a + 3.0;
        let u = a / d;
        let (q, bits) = bell(a, 0.5, f32::BIAS + Tail::UP);
        let w = u - 13.0 / 32.0;
        let rest = poly(w, &RATIO_F32[1..]);
        let p = w.fma(rest, RATIO_F32[0]);
        Tail {
            a,
            d,
            u,
            p: (p, w.fma(rest, RATIO_F32[0] - p)),
            q,
            power: f32::power_of_bits(bits),
        }
    }
}

/// [`gelu`] for `f32`.
#[inline(always)]
pub(super) fn gelu_f32(x: f32) -> f32 {
    let t = Tail::new(x);
    let (y, low) = times(t.u, t.p);
    // What the quotient lost. The polynomial takes about half of it back, as it falls with u.
    let low = (-t.u).fma(t.d, t.a).fma((t.p.0 - y) * (0.5 / 3.0), low);
    let below = (y + y.fma(t.q, low)) * t.power;
    below.fma(-Tail::DOWN, rectified(x))
}

/// [`gelu_slope`] for `f32`: `R(a) = p / d = p (1 - u) / 3`.
#[inline(always)]
pub(super) fn gelu_slope_f32(x: f32) -> f32 {
    let t = Tail::new(x);
    let ratio = t.p.0 * (1.0 / 3.0) * (1.0 - t.u);
    let y = t.a.fma(-DENSITY.0 as f32, ratio);
    let below = y.fma(t.q, y) * (t.power * Tail::DOWN);
    let result = if x < 0.0 { below } else { 1.0 - below };
    if x.is_nan() { x } else { result }
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
    t * TAIL.iter().rev().fold(T::ZERO, |sum, &c| sum.fma(w, of(c)))
}

/// `e^(-a^2 by)` for `by` of 1 or 1/2, as [`bell`].
#[inline(always)]
fn bell_f32(a: f32, by: f32) -> f32 {
    let high = a.head();
    let low = (a - high) * (a + high);
    exp_sum(-by * (high * high), -by * low)
}

/// `erf x` up to 0.9, with as many coefficients as count.
#[inline(always)]
fn small_f32(x: f32) -> f32 {
    const COEFFICIENTS: [f32; 10] = {
        let mut c = [0.0; 10];
        let mut k = 0;
        while k < 10 {
            c[k] = ERF[k] as f32;
            k += 1;
        }
        c
    };
    x.fma(poly(x * x, &COEFFICIENTS), x)
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
