//! Logarithms.

use super::exp::exp2;
use super::real::{Real, poly};
use std::f64::consts::LOG2_E;

/// Coefficients of the logarithms.
pub(super) trait Log: Real {
    /// `(2 atanh(s) - 2 s) / s^3` in powers of `s^2`, for `s` up to `(1 - sqrt(1/2)) / (1 + sqrt(1/2))`.
    const LOG: &'static [Self];
    /// `1 / ln 2` in two parts, the first with half the digits.
    const LOG2_E: (Self, Self);
    /// `1 / ln 10` likewise.
    const LOG10_E: (Self, Self);
    /// `ln 2 / ln 10` in two parts; an exponent times the first is exact.
    const LOG10_2: (Self, Self);
}

impl Log for f32 {
    const LOG: &'static [f32] = &[0.666_666_7, 0.400_001_23, 0.285_508_16, 0.233_305_83];
    const LOG2_E: (f32, f32) = (1.442_871_1, -1.760_528_5e-4);
    const LOG10_E: (f32, f32) = (0.434_326_17, -3.168_997e-5);
    const LOG10_2: (f32, f32) = (0.301_025_4, 4.605_039e-6);
}

impl Log for f64 {
    const LOG: &'static [f64] = &[
        0.666_666_666_666_666_7,
        0.399_999_999_998_994_44,
        0.285_714_286_260_032_7,
        0.222_222_111_302_598_78,
        0.181_828_894_556_749_47,
        0.153_317_106_182_107_73,
        0.146_165_854_248_886_23,
    ];
    const LOG2_E: (f64, f64) = (1.442_695_051_431_655_9, -1.054_269_247_642_913_8e-8);
    const LOG10_E: (f64, f64) = (0.434_294_484_555_721_3, -2.652_469_455_307_855_3e-9);
    const LOG10_2: (f64, f64) = (0.301_029_995_664_066_5, -8.532_344_317_057_107e-14);
}

/// `y`, the logarithm of `x` if that is positive and finite, or else what it is at the edges.
#[inline(always)]
fn at_edges<T: Real>(x: T, y: T) -> T {
    let y = if x < T::INF { y } else { x }; // also NaN
    let y = if x == T::ZERO { -T::INF } else { y };
    if x < T::ZERO { T::NAN } else { y }
}

/// `(h, b)` with `ln(1 + f) = f - h + b`, `h = f^2 / 2`.
///
/// With `s = f / (2 + f)`, `ln(1 + f) = 2 atanh(s)` = `2 s + s R` and `2 s = f - s f`, so that it
/// is `f - h + s (h + R)`.
#[inline(always)]
fn parts<T: Log>(f: T) -> (T, T) {
    let s = f / (T::of(2.0) + f);
    let z = s * s;
    let h = T::of(0.5) * f * f;
    (h, s * (h + z * poly(z, T::LOG)))
}

/// `e ln 2 + ln(1 + f + c)`, for a `c` that is small beside `1 + f`, itself between the roots of
/// 1/2 and 2.
#[inline(always)]
fn assemble<T: Log>(e: T, f: T, c: T) -> T {
    let (h, b) = parts(f);
    let low = b + (e * T::LN2_LO + (c - c * f));
    e * T::LN2_HI - ((h - low) - f)
}

/// Natural logarithm: `e ln 2 + ln m`.
#[inline(always)]
pub(super) fn ln<T: Log>(x: T) -> T {
    let (m, e) = x.split();
    at_edges(x, assemble(e, m - T::ONE, T::ZERO))
}

/// `ln(2^k (x + y))`, for a `y` that is small beside `x` and a `x + y` that is positive and finite.
#[inline(always)]
pub(super) fn ln_sum<T: Log>(x: T, y: T, k: T) -> T {
    let (m, e) = x.split();
    let few = if e > T::of(100.0) { T::of(100.0) } else { e };
    // Where x is near 1, the sum of m - 1 and y is all there is.
    let c = y * T::power(-few);
    let (f, c) = T::sum(m - T::ONE, c);
    assemble(e + k, f, c)
}

/// `ln(1 + x)`: the logarithm of the rounded sum and of what was lost.
#[inline(always)]
pub(super) fn log1p<T: Log>(x: T) -> T {
    let (u, c) = T::sum(T::ONE, x);
    let y = at_edges(u, ln_sum(u, c, T::ZERO));
    if x.abs() < T::TINY { x } else { y }
}

/// The logarithm with `1 / ln(base) = scale` and `ln(2) / ln(base) = step`, each in two parts.
#[inline(always)]
fn log_base<T: Log>(x: T, scale: (T, T), step: (T, T)) -> T {
    let (m, e) = x.split();
    let f = m - T::ONE;
    let (h, b) = parts(f);
    // ln m = hi + lo, where hi has half the digits.
    let hi = (f - h).head();
    let lo = ((f - hi) - h) + b;
    let low = (lo + hi) * scale.1 + lo * scale.0 + e * step.1;
    let (y, rest) = T::sum(e * step.0, hi * scale.0);
    at_edges(x, y + (rest + low))
}

/// Logarithm to base 2: exact at the powers of 2.
#[inline(always)]
pub(super) fn log2<T: Log>(x: T) -> T {
    log_base(x, T::LOG2_E, (T::ONE, T::ZERO))
}

/// Logarithm to base 10.
#[inline(always)]
pub(super) fn log10<T: Log>(x: T) -> T {
    log_base(x, T::LOG10_E, T::LOG10_2)
}

/// `x^y`, with the sign and the special cases of C's `pow`: `2^(y log2 |x|)`, with the logarithm and
/// the product in `f64`.
#[inline(always)]
pub(super) fn pow(x: f32, y: f32) -> f32 {
    let (wide, a) = (f64::from(y), f64::from(x.abs()));
    let (m, e) = a.split();
    let f = m - 1.0;
    let (h, b) = parts(f);
    let p = wide * at_edges(a, e + (f - (h - b)) * LOG2_E);
    let power = exp2(p);
    let whole = y.trunc() == y;
    let half = y * 0.5;
    let odd = whole && half.trunc() != half;
    let negative = x.is_sign_negative();
    let signed = if negative && odd { -power } else { power } as f32;
    let defined = !(x < 0.0) || whole || a == f64::INFINITY || y.is_nan();
    let y_or_nan = if defined { signed } else { f32::NAN };
    // Where the exponent is 0 or 1 to any power, and for minus 1 to an infinite one, the product
    // may not be a number.
    if y == 0.0 || x == 1.0 || (x == -1.0 && y.is_infinite()) {
        1.0
    } else {
        y_or_nan
    }
}

/// `ln x` in two parts, for a positive finite `x`: together they are good to some bits more.
#[inline(always)]
pub(super) fn ln_parts(x: f64) -> (f64, f64) {
    let (m, e) = x.split();
    let f = m - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let half = 0.5 * f;
    let h = half * f;
    let b = s * (h + z * poly(z, f64::LOG)) - half.fma(f, -h);
    let (hi, r) = f64::sum(e * f64::LN2_HI, f);
    let (hi, t) = f64::sum(hi, -h);
    (hi, r + (t + (b + e * f64::LN2_LO)))
}
