//! Exponentials, and the logistic function.

use super::real::{Real, poly, poly_by_pairs};
use std::f64::consts::{LN_2, LOG2_E};

/// Coefficients of the exponentials.
pub(super) trait Exp: Real {
    /// `(e^x - 1 - x) / x^2` for `|x| <= ln(2) / 2`.
    const EXP: &'static [Self];
    /// `(2^x - 1) / x` for `|x| <= 1/2`.
    const EXP2: &'static [Self];
    /// `2^-k`, see [`Small`].
    const UNIT: Self;
    /// `2^k`
    const UNIT_INVERSE: Self;
    /// `k`
    const UNITS: Self;
    /// Below, `e^x` rounds to 0; above, to infinity, but half of it does not.
    const EXP_RANGE: (Self, Self);
    /// Below, `2^x` rounds to 0; above, to infinity.
    const EXP2_RANGE: (Self, Self);
    /// Below, `e^x - 1` rounds to -1.
    const EXPM1_LEAST: Self;
}

impl Exp for f32 {
    const EXP: &'static [f32] = &[
        0.5,
        0.166_665_76,
        0.041_666_556,
        0.008_363_179,
        0.001_392_618_4,
    ];
    const EXP2: &'static [f32] = &[
        std::f32::consts::LN_2,
        0.240_226_5,
        0.055_503_57,
        0.009_618_083,
        0.001_339_086_3,
        1.545_316_3e-4,
    ];
    const UNIT: f32 = 1.0 / (1u64 << 32) as f32;
    const UNIT_INVERSE: f32 = (1u64 << 32) as f32;
    const UNITS: f32 = 32.0;
    const EXP_RANGE: (f32, f32) = (-105.0, 89.0);
    const EXP2_RANGE: (f32, f32) = (-151.0, 129.0);
    const EXPM1_LEAST: f32 = -18.0;
}

impl Exp for f64 {
    const EXP: &'static [f64] = &[
        0.500_000_000_000_000_1,
        0.166_666_666_666_666_69,
        0.041_666_666_666_624_13,
        0.008_333_333_333_330_062,
        0.001_388_888_891_721_371_7,
        1.984_126_986_305_361_8e-4,
        2.480_152_129_595_437_6e-5,
        2.755_726_845_999_706_4e-6,
        2.762_008_844_540_974_6e-7,
        2.510_038_549_551_032e-8,
    ];
    const EXP2: &'static [f64] = &[
        std::f64::consts::LN_2,
        0.240_226_506_959_100_97,
        0.055_504_108_664_821_6,
        0.009_618_129_107_606_888,
        0.001_333_355_814_641_693_6,
        1.540_353_044_173_605e-4,
        1.525_273_382_983_612e-5,
        1.321_544_258_792_169e-6,
        1.017_806_244_584_577_4e-7,
        7.072_585_949_269_223e-9,
        4.454_960_598_186_518_6e-10,
    ];
    const UNIT: f64 = 1.0 / (1u64 << 63) as f64;
    const UNIT_INVERSE: f64 = (1u64 << 63) as f64;
    const UNITS: f64 = 63.0;
    const EXP_RANGE: (f64, f64) = (-747.0, 710.0);
    const EXP2_RANGE: (f64, f64) = (-1076.0, 1025.0);
    const EXPM1_LEAST: f64 = -38.0;
}

/// `x` between the bounds; NaN stays.
#[inline(always)]
pub(super) fn clamp<T: Real>(x: T, (lo, hi): (T, T)) -> T {
    let x = if x < lo { lo } else { x };
    if x > hi { hi } else { x }
}

/// `(bits, r, t)` with `x = n ln 2 + r + t`, where `n` is whole, `|r| <= ln(2) / 2` and `t` is less
/// than a unit in the last place of `r`; `bits` has `n + k` as in [`Real::whole_product`].
#[inline(always)]
fn reduce<T: Exp>(x: T, k: T) -> (T, T, T) {
    let (n, bits) = x.whole_product(T::of(LOG2_E), k);
    let high = (-n).fma(T::LN2_HI, x); // exact
    let r = (-n).fma(T::LN2_LO, high);
    (bits, r, (-n).fma(T::LN2_LO, high - r))
}

/// `e^r - 1` for `|r| <= ln(2) / 2`.
#[inline(always)]
fn expm1_near<T: Exp>(r: T) -> T {
    let square = r * r;
    square.fma(poly_by_pairs(r, square, T::EXP), r)
}

/// `2^r - 1` for `|r| <= 1/2`.
#[inline(always)]
fn exp2m1_near<T: Exp>(r: T) -> T {
    r * poly(r, T::EXP2)
}

/// `(q, p)` with `e^x = 2^-k p (1 + q)` and a power of two `p`, which must be normal.
#[inline(always)]
pub(super) fn expm1_scaled<T: Exp>(x: T, k: T) -> (T, T) {
    let (bits, r, _) = reduce(x, T::BIAS + k);
    (expm1_near(r), T::power_of_bits(bits))
}

/// `(q, p)` with `2^x = 2^-k p (1 + q)` and a power of two `p`, which must be normal.
#[inline(always)]
pub(super) fn exp2m1_scaled<T: Exp>(x: T, k: T) -> (T, T) {
    let (n, bits) = x.whole_product(T::ONE, T::BIAS + k);
    (exp2m1_near(x - n), T::power_of_bits(bits))
}

/// `e^x = 2^n e^r`.
#[inline(always)]
pub(super) fn exp<T: Exp>(x: T) -> T {
    let (bits, r, _) = reduce(clamp(x, T::EXP_RANGE), T::BIAS + T::BIAS);
    T::scale_by_bits(expm1_near(r), bits)
}

/// A number whose rounding was put off: `(p, q)` for `p + p q`, in units of [`Exp::UNIT`].
///
/// The unit is so small that `p`, a power of two, is normal for all exponentials of negative
/// numbers and of a few others: what has to be rounded to a denormal number is so by one multiplication
/// at the end.
pub(super) type Small<T> = (T, T);

/// `e^x` for `x <= 20`.
#[inline(always)]
pub(super) fn exp_small<T: Exp>(x: T) -> Small<T> {
    let least = T::EXP_RANGE.0;
    let (q, p) = expm1_scaled(if x < least { least } else { x }, T::UNITS);
    (p, q)
}

/// `2^x` for `x <= 0`.
#[inline(always)]
pub(super) fn exp2_small<T: Exp>(x: T) -> Small<T> {
    let least = T::EXP2_RANGE.0;
    let (q, p) = exp2m1_scaled(if x < least { least } else { x }, T::UNITS);
    (p, q)
}

/// `2^(x + y)` for a `y` that is small beside 1, and an `x` that is not far beyond
/// [`Exp::EXP2_RANGE`].
#[inline(always)]
pub(super) fn exp2_sum<T: Exp>(x: T, y: T) -> T {
    let (n, bits) = x.whole_product(T::ONE, T::BIAS + T::BIAS);
    let (r, t) = T::sum_ordered(x - n, y);
    T::scale_by_bits(t.fma(T::of(LN_2), exp2m1_near(r)), bits)
}

/// `2^x = 2^n 2^r`, where `n` is the nearest whole number.
#[inline(always)]
pub(super) fn exp2<T: Exp>(x: T) -> T {
    let x = clamp(x, T::EXP2_RANGE);
    let (n, bits) = x.whole_product(T::ONE, T::BIAS + T::BIAS);
    T::scale_by_bits(exp2m1_near(x - n), bits)
}

/// `e^x - 1 = 2^n (r + r^2 p(r) + t) + (2^n - 1)`, by halves: `2^n` may be infinite when that is not.
#[inline(always)]
pub(super) fn expm1<T: Exp>(x: T) -> T {
    let bounded = clamp(x, (T::EXPM1_LEAST, T::EXP_RANGE.1));
    let (bits, r, t) = reduce(bounded, T::BIAS - T::ONE);
    let half = T::power_of_bits(bits);
    let high = half.fma(r, half - T::of(0.5));
    let square = r * r;
    let y = half.fma(square.fma(poly_by_pairs(r, square, T::EXP), t), high);
    if x.abs() < T::TINY { x } else { y + y }
}

/// `1 / (1 + e^-x)`, with both terms of the divisor in units of `2^k`: `e^-x` may be infinite when the
/// result is denormal.
#[inline(always)]
pub(super) fn sigmoid<T: Exp>(x: T) -> T {
    let least = T::EXP_RANGE.0;
    let (q, p) = expm1_scaled(-clamp(x, (least, -T::EXPM1_LEAST)), -T::UNITS);
    // Of a lesser p, nothing counts that the sum lost.
    let (s, lost) = T::sum_ordered(p, T::UNIT);
    T::UNIT / (s + p.fma(q, lost))
}

/// `x tanh(ln(1 + e^x))`: the second factor is `((1 + e)^2 - 1) / ((1 + e)^2 + 1) = n / (n + 2)` with
/// `n = 2 e + e^2`, which from `x = 20` on rounds to 1.
#[inline(always)]
pub(super) fn mish<T: Exp>(x: T) -> T {
    let (p, q) = exp_small(x);
    let e = p.fma(q, p);
    let double = p + p;
    let n = double + double.fma(q, e * (e * T::UNIT));
    let factor = n / n.fma(T::UNIT, T::of(2.0)) * T::UNIT;
    if x > T::of(20.0) { x } else { x * factor }
}

/// `(q, bits)` with `e^(x + y) = 2^n (1 + q)`, for an `x` that [`Exp::EXP_RANGE`] holds and a `y` of
/// less than a unit in its last place; `bits` has `n + k` as in [`Real::whole_product`].
#[inline(always)]
pub(super) fn expm1_sum_parts<T: Exp>(x: T, y: T, k: T) -> (T, T) {
    let (n, bits) = x.whole_product(T::of(LOG2_E), k);
    let r = (-n).fma(T::LN2_HI, x) + (-n).fma(T::LN2_LO, y);
    (expm1_near(r), bits)
}
