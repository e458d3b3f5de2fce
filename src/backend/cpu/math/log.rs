//! Logarithms.

use super::exp::{Exp, Small};
use super::real::{Real, poly};
use std::f64::consts::LN_2;

/// Coefficients of the logarithms.
pub(super) trait Log: Real {
    /// `(2 atanh(s) - 2 s) / s^3` in powers of `s^2`, for `s` up to `(1 - sqrt(1/2)) / (1 + sqrt(1/2))`.
    const LOG: &'static [Self];
    /// `1 / ln 2` in two parts.
    const LOG2_E: (Self, Self);
    /// `1 / ln 10` likewise.
    const LOG10_E: (Self, Self);
    /// `ln 2 / ln 10` likewise.
    const LOG10_2: (Self, Self);
}

impl Log for f32 {
    const LOG: &'static [f32] = &[0.666_666_87, 0.399_887_8, 0.295_799_5];
    const LOG2_E: (f32, f32) = (std::f32::consts::LOG2_E, 1.925_963e-8);
    const LOG10_E: (f32, f32) = (std::f32::consts::LOG10_E, -1.010_305e-8);
    const LOG10_2: (f32, f32) = (std::f32::consts::LOG10_2, -1.432_098_9e-8);
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
    const LOG2_E: (f64, f64) = (std::f64::consts::LOG2_E, 2.035_527_374_093_103_3e-17);
    const LOG10_E: (f64, f64) = (std::f64::consts::LOG10_E, 1.098_319_650_216_765e-17);
    const LOG10_2: (f64, f64) = (std::f64::consts::LOG10_2, -2.803_728_127_785_170_4e-18);
}

/// `y`, the logarithm of `x` if that is positive and finite, or else what it is at the edges.
#[inline(always)]
fn at_edges<T: Real>(x: T, y: T) -> T {
    let y = if x < T::INF { y } else { x }; // also NaN
    let y = if x == T::ZERO { -T::INF } else { y };
    if x < T::ZERO { T::NAN } else { y }
}

/// `b` with `ln(1 + f) = f - b`: with `s = f / (2 + f)`, it is `2 atanh(s)` = `2 s + s R`, and
/// `2 s = f - s f`, so that `b = s (f - R)`.
#[inline(always)]
pub(super) fn bend<T: Real>(f: T, c: &[T]) -> T {
    let s = f / (T::of(2.0) + f);
    let z = s * s;
    s * (-z).fma(poly(z, c), f)
}

/// `e ln 2 + ln(1 + f) + c`, for an `1 + f` between the roots of 1/2 and 2 and a small `c`.
#[inline(always)]
fn assemble<T: Log>(e: T, f: T, c: T) -> T {
    let low = e.fma(T::LN2_LO, c - bend(f, T::LOG));
    e.fma(T::LN2_HI, f + low)
}

/// Natural logarithm: `e ln 2 + ln m`.
#[inline(always)]
pub(super) fn ln<T: Log>(x: T) -> T {
    let (m, e) = x.split();
    let f = m - T::ONE;
    at_edges(x, e.fma(T::LN2_HI, f + e.fma(T::LN2_LO, -bend(f, T::LOG))))
}

/// `(e, f, c, p)` with `1 + x = 2^e (1 + f + c)`, `c` what `f` lost, and `p = 2^(2-e)`, for `x > -1`.
#[inline(always)]
fn split_one_and<T: Log>(x: T) -> (T, T, T, T) {
    let (_, e) = (T::ONE + x).split_normal();
    // 2^-e (1 + x) - 1; 2^-e alone may be denormal.
    let p = T::power(T::of(2.0) - e);
    let quarter = T::of(0.25) * x;
    let base = p.fma(T::of(0.25), -T::ONE);
    let f = p.fma(quarter, base);
    (e, f, p.fma(quarter, base - f), p)
}

/// `ln(2^k (1 + x + y))`, for an `y` that is small beside `x > 0`.
#[inline(always)]
pub(super) fn log1p_sum<T: Log>(x: T, y: T, k: T) -> T {
    let (e, f, c, p) = split_one_and(x);
    let c = p.fma(T::of(0.25) * y, c);
    assemble(e + k, f, (-c).fma(f, c))
}

/// `ln(1 + x)`
#[inline(always)]
pub(super) fn log1p<T: Log>(x: T) -> T {
    let (e, f, c, _) = split_one_and(x);
    let y = at_edges(T::ONE + x, assemble(e, f, c));
    if x.abs() < T::TINY { x } else { y }
}

/// `base + factor ln(1 + e)` for an `e` between 0 and 1.
#[inline(always)]
pub(super) fn log1p_small<T: Log + Exp>((p, q): Small<T>, base: T, factor: T) -> T {
    // Near 1, ln 2 + ln(1 + (e - 1) / 2).
    let far = p.fma(q, p) > T::of(0.414) * T::UNIT_INVERSE;
    let half = T::of(0.5);
    let (scale, shift, rest) = if far {
        (
            half * p,
            half.fma(p, -half * T::UNIT_INVERSE),
            T::of(LN_2) * T::UNIT_INVERSE,
        )
    } else {
        (p, p, T::ZERO)
    };
    let b = bend(scale.fma(q, shift) * T::UNIT, T::LOG);
    let y = shift + scale.fma(q, -(b * T::UNIT_INVERSE));
    base + (rest + y) * (factor * T::UNIT)
}

/// `ln(1 + f) / ln(base)`, where `scale` is `1 / ln(base)` in two parts.
#[inline(always)]
fn scaled<T: Log>(f: T, scale: (T, T)) -> T {
    f.fma(scale.0, f.fma(scale.1, -(bend(f, T::LOG) * scale.0)))
}

/// Logarithm to base 2: exact at the powers of 2.
#[inline(always)]
pub(super) fn log2<T: Log>(x: T) -> T {
    let (m, e) = x.split();
    at_edges(x, e + scaled(m - T::ONE, T::LOG2_E))
}

/// Logarithm to base 10.
#[inline(always)]
pub(super) fn log10<T: Log>(x: T) -> T {
    let (m, e) = x.split();
    let low = e.fma(T::LOG10_2.1, scaled(m - T::ONE, T::LOG10_E));
    at_edges(x, e.fma(T::LOG10_2.0, low))
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
