//! Exponentials, and the logistic function.

use super::real::{Real, poly};

/// Coefficients of the exponentials.
pub(super) trait Exp: Real {
    /// `(e^x - 1 - x) / x^2` for `|x| <= ln(2) / 2`.
    const EXP: &'static [Self];
    /// `(2^x - 1) / x` for `|x| <= 1/2`.
    const EXP2: &'static [Self];
    /// Below, `e^x` rounds to 0; above, even its half to infinity.
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
    const EXP_RANGE: (f32, f32) = (-105.0, 90.0);
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
    const EXP_RANGE: (f64, f64) = (-747.0, 711.0);
    const EXP2_RANGE: (f64, f64) = (-1076.0, 1025.0);
    const EXPM1_LEAST: f64 = -38.0;
}

/// `x` between the bounds; NaN stays.
#[inline(always)]
fn clamp<T: Real>(x: T, (lo, hi): (T, T)) -> T {
    let x = if x < lo { lo } else { x };
    if x > hi { hi } else { x }
}

/// `(n, r, t)` with `x = n ln 2 + r + t`, where `n` is whole, `|r| <= ln(2) / 2` and `t` is less
/// than a unit in the last place of `r`.
#[inline(always)]
fn reduce<T: Exp>(x: T) -> (T, T, T) {
    let n = (x * T::of(std::f64::consts::LOG2_E)).whole();
    let (hi, lo) = ((-n).fma(T::LN2_HI, x), n * T::LN2_LO);
    let r = hi - lo;
    (n, r, (hi - r) - lo)
}

/// `(q, n)` with `e^x = 2^n (1 + q)`.
#[inline(always)]
pub(super) fn expm1_parts<T: Exp>(x: T) -> (T, T) {
    let (n, r, _) = reduce(clamp(x, T::EXP_RANGE));
    ((r * r).fma(poly(r, T::EXP), r), n)
}

/// `(y, n)` with `e^x = 2^n y` and `y = e^r` near 1.
#[inline(always)]
pub(super) fn exp_parts<T: Exp>(x: T) -> (T, T) {
    let (q, n) = expm1_parts(x);
    (T::ONE + q, n)
}

/// `e^x = 2^n e^r`.
#[inline(always)]
pub(super) fn exp<T: Exp>(x: T) -> T {
    let (y, n) = exp_parts(x);
    y.scale(n)
}

/// `e^(x + y)` for a `y` of up to about 1/10, whose digits below those of `x` count.
#[inline(always)]
pub(super) fn exp_sum<T: Exp>(x: T, y: T) -> T {
    let x = clamp(x, T::EXP_RANGE);
    let n = ((x + y) * T::of(std::f64::consts::LOG2_E)).whole();
    let r = ((x - n * T::LN2_HI) - n * T::LN2_LO) + y;
    (T::ONE + (r + r * r * poly(r, T::EXP))).scale(n)
}

/// `2^x = 2^n 2^r`, where `n` is the nearest whole number.
#[inline(always)]
pub(super) fn exp2<T: Exp>(x: T) -> T {
    let x = clamp(x, T::EXP2_RANGE);
    let n = x.whole();
    let r = x - n;
    (T::ONE + r * poly(r, T::EXP2)).scale(n)
}

/// `e^x - 1 = 2^n ((1 - 2^-n) + (e^r - 1))`.
#[inline(always)]
pub(super) fn expm1<T: Exp>(x: T) -> T {
    let (n, r, t) = reduce(clamp(x, (T::EXPM1_LEAST, T::EXP_RANGE.1)));
    // 2^-n is nothing beside 1 long before it is denormal.
    let few = if n > T::of(100.0) { T::of(100.0) } else { n };
    let (s, low) = T::sum_ordered(T::ONE - T::power(-few), r);
    let y = (s + (low + (r * r * poly(r, T::EXP) + t))).scale(n);
    if x.abs() < T::TINY { x } else { y }
}

/// `1 / (1 + e^-x)`, through the exponential of `-|x|`, which does not overflow.
#[inline(always)]
pub(super) fn sigmoid<T: Exp>(x: T) -> T {
    let e = exp(-x.abs());
    let top = if x < T::ZERO { e } else { T::ONE };
    top / (T::ONE + e)
}

/// `(q, n)` with `e^(x + y) = 2^n (1 + q)`, for an `x` that [`Exp::EXP_RANGE`] holds and a `y` of
/// less than a unit in its last place.
#[inline(always)]
pub(super) fn expm1_sum_parts<T: Exp>(x: T, y: T) -> (T, T) {
    let n = (x * T::of(std::f64::consts::LOG2_E)).whole();
    let r = (-n).fma(T::LN2_HI, x) + (-n).fma(T::LN2_LO, y);
    ((r * r).fma(poly(r, T::EXP), r), n)
}
