//! Inverse trigonometric functions.

use super::real::{Real, poly};
use std::f64::consts::{FRAC_2_PI, FRAC_PI_2, FRAC_PI_4, PI};

/// Coefficients of the inverse trigonometric functions.
pub(super) trait Inverse: Real {
    /// `(asin(x) - x) / x^3` in powers of `x^2`, for `|x| <= 1/2`.
    const ASIN: &'static [Self];
    /// `(atan(x) - x) / x^3` in powers of `x^2`, for `|x| <= tan(pi / 8)`.
    const ATAN: &'static [Self];
    /// What the nearest number to `pi / 2` lacks.
    const PI_2_LO: Self;
}

impl Inverse for f32 {
    const ASIN: &'static [f32] = &[
        0.166_666_66,
        0.075_000_94,
        0.044_599_403,
        0.031_100_662,
        0.017_149_238,
        0.033_690_847,
    ];
    const ATAN: &'static [f32] = &[
        -0.333_333_3,
        0.199_995_38,
        -0.142_638_97,
        0.107_430_995,
        -0.064_498_35,
    ];
    const PI_2_LO: f32 = -4.371_139e-8;
}

impl Inverse for f64 {
    const ASIN: &'static [f64] = &[
        0.166_666_666_666_666_69,
        0.074_999_999_999_984_33,
        0.044_642_857_146_355_43,
        0.030_381_944_138_531_247,
        0.022_372_172_942_149_89,
        0.017_352_392_720_869_973,
        0.013_971_212_973_552_933,
        0.011_479_177_415_184_906,
        0.010_322_814_350_185_78,
        0.005_457_506_718_640_358,
        0.017_400_879_442_694_02,
        -0.014_851_887_071_247_204,
        0.028_757_851_367_421_566,
    ];
    const ATAN: &'static [f64] = &[
        -0.333_333_333_333_333_3,
        0.199_999_999_999_954_8,
        -0.142_857_142_846_578_94,
        0.111_111_110_145_610_13,
        -0.090_909_045_498_846_11,
        0.076_921_825_351_166_48,
        -0.066_645_022_156_714_47,
        0.058_580_687_568_615_106,
        -0.050_850_304_928_109_41,
        0.039_219_552_532_551_29,
        -0.019_162_068_915_902_573,
    ];
    const PI_2_LO: f64 = 6.123_233_995_736_766e-17;
}

/// `(far, s, p)` with `asin(x) = s + p` if not `far`, else `pi / 2 - (s + p)` with the sign of `x`; `s` and
/// `p` have that sign.
///
/// Beyond 1/2, `asin(x) = pi / 2 - 2 asin(sqrt((1 - x) / 2))`.
#[inline(always)]
fn asin_parts<T: Inverse>(x: T) -> (bool, T, T) {
    let a = x.abs();
    let far = a > T::of(0.5);
    let half = T::of(0.5) * (T::ONE - a); // exact where it is used
    let root = half.sqrt();
    let z = if far { half } else { x * x };
    let s = if far { (root + root).copysign(x) } else { x };
    (far, s, s * z * poly(z, T::ASIN))
}

/// What the nearest numbers to pi and its half lack, as a fraction of them.
#[inline(always)]
fn pi_lacks<T: Inverse>() -> T {
    T::PI_2_LO * T::of(FRAC_2_PI)
}

/// Inverse sine; NaN beyond 1.
#[inline(always)]
pub(super) fn asin<T: Inverse>(x: T) -> T {
    let (far, s, p) = asin_parts(x);
    let quarter = T::of(FRAC_PI_2).copysign(x);
    // pi / 2 - s, and what it lost.
    let (y, low) = T::sum_ordered(quarter, -s);
    let y = if far {
        y + (low + quarter.fma(pi_lacks::<T>(), -p))
    } else {
        s + p
    };
    if x.abs() < T::TINY { x } else { y }
}

/// Inverse cosine: `pi / 2 - asin(x)`, without that difference beyond 1/2.
#[inline(always)]
pub(super) fn acos<T: Inverse>(x: T) -> T {
    let (far, s, p) = asin_parts(x);
    // far: s + p or, for negative x, pi + (s + p); else pi / 2 - (s + p).
    let (s, p) = if far { (s, p) } else { (-s, -p) };
    let turn = if !far {
        T::of(FRAC_PI_2)
    } else if x < T::ZERO {
        T::of(PI)
    } else {
        T::ZERO
    };
    let (y, low) = T::sum_ordered(turn, s);
    y + (low + turn.fma(pi_lacks::<T>(), p))
}

/// `atan(y / x)` for `x, y >= 0`.
///
/// With `t` the quotient of the lesser by the greater, beyond `tan(pi / 8)`
/// `atan(t) = pi / 4 + atan((t - 1) / (t + 1))`, and `atan(1 / t) = pi / 2 - atan(t)`.
#[inline(always)]
fn atan_quotient<T: Inverse>(y: T, x: T) -> T {
    let swap = y > x;
    let (n, d) = if swap { (x, y) } else { (y, x) };
    let mid = n > d * T::of(0.414_213_562_373_095_05);
    let top = if mid { n - d } else { n };
    let bottom = if mid { n + d } else { d };
    let t = top / bottom;
    let z = t * t;
    let p = t * z * poly(z, T::ATAN);
    // base + (t + p), or pi / 2 less that; base is 0 or pi / 4.
    let base = if mid { T::of(FRAC_PI_4) } else { T::ZERO };
    let base_lo = if mid {
        T::of(0.5) * T::PI_2_LO
    } else {
        T::ZERO
    };
    let base = if swap { T::of(FRAC_PI_2) - base } else { base };
    let base_lo = if swap { T::PI_2_LO - base_lo } else { base_lo };
    let (t, p) = if swap { (-t, -p) } else { (t, p) };
    let (s, low) = T::sum_ordered(base, t);
    s + (low + (p + base_lo))
}

/// Inverse tangent.
#[inline(always)]
pub(super) fn atan<T: Inverse>(x: T) -> T {
    // Beyond, the result is pi / 2 rounded.
    let a = x.abs();
    let bounded = if a > T::of(1e20) { T::of(1e20) } else { a };
    let y = atan_quotient(bounded, T::ONE).copysign(x);
    if a < T::TINY { x } else { y }
}

/// The angle of the point `(x, y)`; signed zeros and infinities as in C.
#[inline(always)]
pub(super) fn atan2<T: Inverse>(y: T, x: T) -> T {
    let (ay, ax) = (y.abs(), x.abs());
    // The quotient of infinities is 1, that of zeros 0; sums must not overflow.
    let same = ay == ax;
    let both = same && (ax == T::INF || ax == T::ZERO);
    let least = if ax == T::ZERO { T::ZERO } else { T::ONE };
    let large = ay > T::of(1e30) || ax > T::of(1e30);
    let by = if large { T::of(0.25) } else { T::ONE };
    let n = if both { least } else { ay * by };
    let d = if both { T::ONE } else { ax * by };
    let a = atan_quotient(n, d);
    let flip = T::ONE.copysign(x) < T::ZERO;
    let (s, low) = T::sum_ordered(T::of(PI), -a);
    let a = if flip {
        s + (low + T::of(2.0) * T::PI_2_LO)
    } else {
        a
    };
    let a = a.copysign(y);
    // The comparisons lose a NaN.
    let a = if x.is_nan() { x } else { a };
    if y.is_nan() { y } else { a }
}
