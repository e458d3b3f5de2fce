//! Logarithms, and the inverse hyperbolic functions, which are logarithms.
//!
//! `x = m 2^k` with `m` between the square roots of 1/2 and 2; with `f = m - 1` and
//! `s = f / (2 + f)`, `ln m = ln((1 + s) / (1 - s)) = 2 s + 2 s^3 / 3 + 2 s^5 / 5 + ...`, written
//! `f - (f^2 / 2 - s (f^2 / 2 + R))` with `R = 2 s^2 / 3 + 2 s^4 / 5 + ...` so that the largest term
//! is exact.

use super::exp::{LN_2_HIGH, LN_2_LOW, exp2};
use super::series::{odd_reciprocals, series, split};
use std::f64::consts::{LN_2, LOG2_E, LOG10_E};

/// `R / s^2`
const ATANH: [f64; 10] = odd_reciprocals(2.0, 3, 1.0);

/// How many terms there are to the series.
const LONG: usize = 10;
const SHORT_TERMS: usize = 4;
/// For powers, whose exponents multiply the error.
const POWER_TERMS: usize = 7;

/// `(k, f, t)` with `ln x = k ln 2 + f - t`, for positive finite `x`.
#[inline(always)]
fn parts<const TERMS: usize>(x: f64) -> (f64, f64, f64) {
    // Numbers that came from `f32` are never denormal here.
    let denormal = TERMS == LONG && x < f64::MIN_POSITIVE;
    let (m, k) = split(if denormal {
        x * 18_014_398_509_481_984.0
    } else {
        x
    });
    let k = if denormal { k - 54.0 } else { k };
    let f = m - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let half_square = 0.5 * f * f;
    let rest = z * series(z, &ATANH[..TERMS]);
    (k, f, half_square - s * (half_square + rest))
}

/// `y`, which was computed for positive finite `x`, or what the logarithm is elsewhere.
#[inline(always)]
fn elsewhere(x: f64, y: f64) -> f64 {
    if x > 0.0 {
        if x < f64::INFINITY { y } else { x }
    } else if x == 0.0 {
        f64::NEG_INFINITY
    } else {
        f64::NAN
    }
}

/// `ln(x) + c` for a small `c`, from the smallest terms to the largest.
#[inline(always)]
fn ln_plus<const TERMS: usize>(x: f64, c: f64) -> f64 {
    let (k, f, t) = parts::<TERMS>(x);
    k * LN_2_HIGH - ((t - (k * LN_2_LOW + c)) - f)
}

/// `ln x`
#[inline(always)]
pub(super) fn ln<const SHORT: bool>(x: f64) -> f64 {
    elsewhere(
        x,
        if SHORT {
            ln_plus::<SHORT_TERMS>(x, 0.0)
        } else {
            ln_plus::<LONG>(x, 0.0)
        },
    )
}

/// `(f - t) log2(e)`, by upper parts whose product is exact.
#[inline(always)]
fn times_log2_e(f: f64, t: f64) -> f64 {
    const HIGH: f64 = 1.442_695_040_721_446_3;
    const LOW: f64 = 1.675_171_316_488_651_2e-10;
    let high = f64::from_bits((f - t).to_bits() & 0xFFFF_FFFF_0000_0000);
    let low = (f - high) - t;
    high * HIGH + (high * LOW + low * LOG2_E)
}

/// `log2 x`
#[inline(always)]
pub(super) fn log2<const SHORT: bool>(x: f64) -> f64 {
    let (k, f, t) = if SHORT {
        parts::<SHORT_TERMS>(x)
    } else {
        parts::<LONG>(x)
    };
    elsewhere(x, k + times_log2_e(f, t))
}

/// `log10 x`
#[inline(always)]
pub(super) fn log10<const SHORT: bool>(x: f64) -> f64 {
    let (k, f, t) = if SHORT {
        parts::<SHORT_TERMS>(x)
    } else {
        parts::<LONG>(x)
    };
    // The upper part of log10(2), with zero bits at its end, and the rest.
    const HIGH: f64 = 3.010_299_956_636_117_7e-1;
    const LOW: f64 = 3.694_239_077_158_931e-13;
    elsewhere(x, k * HIGH + (k * LOW + (f - t) * LOG10_E))
}

/// `ln(1 + x)`: the sum rounds to `u`, and what it lost, over `u`, is added to `ln u`.
#[inline(always)]
pub(super) fn log1p<const SHORT: bool>(x: f64) -> f64 {
    let u = 1.0 + x;
    let y = if SHORT {
        // It matters near u = 1 only.
        ln_plus::<SHORT_TERMS>(u, x - (u - 1.0))
    } else {
        let lost = if x < 1.0 {
            x - (u - 1.0)
        } else {
            1.0 - (u - x)
        };
        ln_plus::<LONG>(u, lost / u)
    };
    if x == 0.0 { x } else { elsewhere(u, y) }
}

/// `asinh(x) = ln(|x| + sqrt(x^2 + 1))` with the sign of `x`, as `log1p(|x| + x^2 / (1 + root))`.
#[inline(always)]
pub(super) fn asinh<const SHORT: bool>(x: f64) -> f64 {
    let a = x.abs();
    // From here on the 1 is lost, and x^2 may overflow.
    let large = a > 1e9;
    let b = if large { 0.0 } else { a };
    let square = b * b;
    let small = log1p::<SHORT>(b + square / (1.0 + (square + 1.0).sqrt()));
    let y = if large { ln::<SHORT>(a) + LN_2 } else { small };
    if x.is_nan() { x } else { y.copysign(x) }
}

/// `acosh(x) = ln(x + sqrt(x^2 - 1))`, with `t = x - 1` as `log1p(t + sqrt(2 t + t^2))`.
#[inline(always)]
pub(super) fn acosh<const SHORT: bool>(x: f64) -> f64 {
    let large = x > 1e9;
    let t = if large { 1.0 } else { x - 1.0 };
    let small = log1p::<SHORT>(t + (2.0 * t + t * t).sqrt());
    let y = if large { ln::<SHORT>(x) + LN_2 } else { small };
    if x < 1.0 { f64::NAN } else { y }
}

/// `atanh(x) = ln((1 + |x|) / (1 - |x|)) / 2` with the sign of `x`.
#[inline(always)]
pub(super) fn atanh<const SHORT: bool>(x: f64) -> f64 {
    let a = x.abs();
    let y = 0.5 * log1p::<SHORT>((a + a) / (1.0 - a));
    if a > 1.0 { f64::NAN } else { y.copysign(x) }
}

/// `x^y` for numbers that came from `f32`: `2^(y log2 |x|)`, with the sign and the special cases of
/// C's `pow`.
#[inline(always)]
pub(super) fn pow_short(x: f64, y: f64) -> f64 {
    let a = x.abs();
    let (k, f, t) = parts::<POWER_TERMS>(a);
    let log = elsewhere(a, k + (f - t) * LOG2_E);
    let power = exp2::<true>(y * log);
    let whole = y.trunc() == y;
    let half = y * 0.5;
    let odd = whole && half.trunc() != half;
    let negative = x.is_sign_negative();
    let signed = if negative && odd { -power } else { power };
    let defined = !(x < 0.0) || whole || a == f64::INFINITY || y.is_nan();
    let y_or_nan = if defined { signed } else { f64::NAN };
    // Where the exponent is 0 or 1 to any power, and for minus 1 to an infinite one, the product
    // may not be a number.
    if y == 0.0 || x == 1.0 || (x == -1.0 && y.is_infinite()) {
        1.0
    } else {
        y_or_nan
    }
}
