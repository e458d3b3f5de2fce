//! Hyperbolic functions and their inverses.

use super::exp::{Exp, expm1_scaled};
use super::log::{Log, log1p_sum};
use super::real::{Real, poly};

/// Coefficients of the hyperbolic functions.
pub(super) trait Hyperbolic: Exp + Log {
    /// `(sinh(x) - x) / x^3` in powers of `x^2`, for `|x| <= 1`.
    const SINH: &'static [Self];
    /// `(tanh(x) - x) / x^3` in powers of `x^2`, for `|x| <= 0.55`.
    const TANH: &'static [Self];
    /// Here `x + 1` is `x`, and `x^2` still finite.
    const LARGE: Self;
    /// From here on, `e^x / 2` is infinite.
    const MOST: Self;
}

impl Hyperbolic for f32 {
    const SINH: &'static [f32] = &[0.166_666_67, 0.008_333_339, 1.983_810_2e-4, 2.806_280_2e-6];
    const TANH: &'static [f32] = &[
        -0.333_333_3,
        0.133_331_13,
        -0.053_909_43,
        0.021_309_389,
        -0.006_610_227_7,
    ];
    const LARGE: f32 = 1e10;
    const MOST: f32 = 89.5;
}

impl Hyperbolic for f64 {
    const SINH: &'static [f64] = &[
        0.166_666_666_666_666_66,
        0.008_333_333_333_333_299,
        1.984_126_984_132_419_8e-4,
        2.755_731_919_138_181_6e-6,
        2.505_211_769_590_782_3e-8,
        1.605_767_962_380_163_8e-10,
        7.746_178_593_018_827e-13,
    ];
    const TANH: &'static [f64] = &[
        -0.333_333_333_333_333_3,
        0.133_333_333_333_327_14,
        -0.053_968_253_967_434_016,
        0.021_869_488_493_666_944,
        -0.008_863_234_397_814_355,
        0.003_592_110_378_689_024,
        -0.001_455_661_830_100_716,
        5.889_360_520_074_057e-4,
        -2.346_347_410_887_237e-4,
        8.511_313_685_577_671e-5,
        -2.060_276_537_636_634e-5,
    ];
    const LARGE: f64 = 1e20;
    const MOST: f64 = 710.5;
}

/// `x + x^3 p(x^2)`.
#[inline(always)]
fn odd<T: Real>(x: T, c: &[T]) -> T {
    let z = x * x;
    (x * z).fma(poly(z, c), x)
}

/// `(e^x / 4, e^-x / 4)` for `x >= 0`; the first is finite for all `x`, and greater than a quarter
/// of the greatest number where `e^x / 2` is not finite.
#[inline(always)]
fn quarters<T: Hyperbolic>(x: T) -> (T, T) {
    let (q, p) = expm1_scaled(if x > T::MOST { T::MOST } else { x }, T::of(-2.0));
    let up = p.fma(q, p);
    (up, T::of(0.0625) / up)
}

/// `e^x / 2 - e^-x / 2`; up to 1, its series.
#[inline(always)]
pub(super) fn sinh<T: Hyperbolic>(x: T) -> T {
    let a = x.abs();
    let (up, down) = quarters(a);
    let y = up - down;
    let near = odd(x, T::SINH);
    let y = if a < T::ONE {
        near
    } else {
        (y + y).copysign(x)
    };
    if a < T::TINY { x } else { y }
}

/// `e^x / 2 + e^-x / 2`.
#[inline(always)]
pub(super) fn cosh<T: Hyperbolic>(x: T) -> T {
    let (up, down) = quarters(x.abs());
    let y = up + down;
    y + y
}

/// `1 - 2 / (e^2x + 1)`; up to 0.55, its series.
#[inline(always)]
pub(super) fn tanh<T: Hyperbolic>(x: T) -> T {
    let a = x.abs();
    // From there on, the result is 1.
    let double = if a > T::of(20.0) { T::of(40.0) } else { a + a };
    let (q, p) = expm1_scaled(double, T::ZERO);
    let y = T::ONE - T::of(2.0) / p.fma(q, p + T::ONE);
    let near = odd(x, T::TANH);
    let y = if a < T::of(0.55) { near } else { y.copysign(x) };
    if a < T::TINY { x } else { y }
}

/// `ln(1 + x + x^2 / (1 + sqrt(x^2 + 1)))`, and `ln(2 x)` for large `x`.
#[inline(always)]
pub(super) fn asinh<T: Hyperbolic>(x: T) -> T {
    let a = x.abs();
    let large = a > T::LARGE;
    let z = a * a;
    let w = z / (T::ONE + (z + T::ONE).sqrt());
    let (w, c) = T::sum_ordered(a, w);
    let (w, c) = if large { (a, T::ZERO) } else { (w, c) };
    let y = log1p_sum(w, c, T::truth(large)).copysign(x);
    let y = if a < T::INF { y } else { x };
    if a < T::TINY { x } else { y }
}

/// `ln(x + sqrt(x^2 - 1)) = ln(1 + t + sqrt(2 t + t^2))` with `t = x - 1`, and `ln(2 x)` for large
/// `x`.
#[inline(always)]
pub(super) fn acosh<T: Hyperbolic>(x: T) -> T {
    let large = x > T::LARGE;
    let t = x - T::ONE;
    let double = t + t;
    let square = t.fma(t, double);
    let root = square.sqrt();
    let (w, c) = T::sum_ordered(root, t);
    // What the square and its root lost, over twice the root.
    let lost = t.fma(t, double - square) + (-root).fma(root, square);
    let c = if t > T::ZERO {
        c + lost / (root + root)
    } else {
        T::ZERO
    };
    let (w, c) = if large { (x, T::ZERO) } else { (w, c) };
    let y = log1p_sum(w, c, T::truth(large));
    let y = if x < T::INF { y } else { x };
    if x < T::ONE { T::NAN } else { y }
}

/// `ln((1 + x) / (1 - x)) / 2 = ln(1 + 2 x / (1 - x)) / 2`.
#[inline(always)]
pub(super) fn atanh<T: Hyperbolic>(x: T) -> T {
    let a = x.abs();
    let (top, bottom) = (a + a, T::ONE - a);
    let q = top / bottom;
    // What the quotient lacks: the remainder, less what the difference lost, over the divisor, whose
    // reciprocal is 1 + q / 2.
    let lost = (T::ONE - bottom) - a;
    let rest = (-q).fma(lost, (-q).fma(bottom, top));
    let c = rest * T::of(0.5).fma(q, T::ONE);
    let y = (T::of(0.5) * log1p_sum(q, c, T::ZERO)).copysign(x);
    let y = if a < T::ONE { y } else { T::NAN };
    let y = if a == T::ONE { x * T::INF } else { y };
    if a < T::TINY { x } else { y }
}
