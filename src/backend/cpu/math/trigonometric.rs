//! Trigonometric functions and their inverses.
//!
//! `x = k pi/2 + r` with an integer `k` and `|r| <= pi/4`; `pi/2` is split in three, so that `k`
//! times each of the first two parts is exact, up to the argument [`FAR`].

use super::series::{factorials, nearest, odd_reciprocals, quadrant, series};
use std::f64::consts::{FRAC_2_PI, FRAC_PI_2, FRAC_PI_4, PI};

/// Larger arguments need more digits of pi than there are in [`PARTS`]: see `Float::is_far`.
pub(super) const FAR: f64 = 1e6;

/// `pi/2` in parts of 33 bits, 33 bits, and the rest.
const PARTS: [f64; 3] = [
    1.570_796_326_734_125_6,
    6.077_100_506_303_966e-11,
    2.022_266_248_795_950_6e-21,
];

/// What `pi/2` and `pi` lack as `f64`.
const HALF_LOW: f64 = 6.123_233_995_736_766e-17;
const PI_LOW: f64 = 1.224_646_799_147_353_2e-16;

/// `(sin(r) / r - 1) / r^2` and `(cos(r) - 1 + r^2 / 2) / r^4` in powers of `r^2`.
const SIN: [f64; 8] = negated(factorials(3, 2, -1.0));
const COS: [f64; 8] = factorials(4, 2, -1.0);

/// `(atan(t) / t - 1) / t^2` in powers of `t^2`.
const ATAN: [f64; 21] = odd_reciprocals(-1.0, 3, -1.0);

/// `(asin(t) / t - 1) / t^2` in powers of `t^2`: `(2 k)! / (4^k k!^2 (2 k + 1))` from `k = 1` on.
const ASIN: [f64; 26] = {
    let mut c = [0.0; 26];
    let mut ratio = 1.0;
    let mut k = 1;
    while k <= 26 {
        ratio *= (2 * k - 1) as f64 / (2 * k) as f64;
        c[k - 1] = ratio / (2 * k + 1) as f64;
        k += 1;
    }
    c
};

const fn negated<const N: usize>(mut c: [f64; N]) -> [f64; N] {
    let mut k = 0;
    while k < N {
        c[k] = -c[k];
        k += 1;
    }
    c
}

/// `(k, r, low)`: the quadrant, and `r` with what it lacks.
#[inline(always)]
fn reduced<const SHORT: bool>(x: f64) -> (f64, f64, f64) {
    let k = nearest(x * FRAC_2_PI);
    let first = x - k * PARTS[0];
    let second = k * PARTS[1];
    let near = first - second;
    if SHORT {
        return (k, near, 0.0);
    }
    let lost = k * PARTS[2] - ((first - near) - second);
    let r = near - lost;
    (k, r, (near - r) - lost)
}

/// `(sin(r + low), cos(r + low))` for `|r| <= pi/4`.
#[inline(always)]
fn both<const SHORT: bool>(r: f64, low: f64) -> (f64, f64) {
    let z = r * r;
    let terms = if SHORT { 4 } else { 8 };
    let (sin, cos) = (
        r * z * series(z, &SIN[..terms]),
        z * z * series(z, &COS[..terms]),
    );
    if SHORT {
        return (r + sin, 1.0 - 0.5 * z + cos);
    }
    let sin = r + (sin + low * (1.0 - 0.5 * z));
    // 1 - z/2 rounds to w, and what it lost is added to the smaller terms.
    let half = 0.5 * z;
    let w = 1.0 - half;
    let cos = w + (((1.0 - w) - half) + (cos - r * low));
    (sin, cos)
}

/// `sin x` up to [`FAR`].
#[inline(always)]
pub(super) fn sin<const SHORT: bool>(x: f64) -> f64 {
    let (k, r, low) = reduced::<SHORT>(x);
    let (sin, cos) = both::<SHORT>(r, low);
    let q = quadrant(k);
    let y = if q & 1 == 0 { sin } else { cos };
    let y = f64::from_bits(y.to_bits() ^ ((q & 2) << 62));
    if x == 0.0 { x } else { y }
}

/// `cos x` up to [`FAR`].
#[inline(always)]
pub(super) fn cos<const SHORT: bool>(x: f64) -> f64 {
    let (k, r, low) = reduced::<SHORT>(x);
    let (sin, cos) = both::<SHORT>(r, low);
    let q = quadrant(k);
    let y = if q & 1 == 0 { cos } else { sin };
    f64::from_bits(y.to_bits() ^ ((q.wrapping_add(1) & 2) << 62))
}

/// `tan x` up to [`FAR`].
#[inline(always)]
pub(super) fn tan<const SHORT: bool>(x: f64) -> f64 {
    let (k, r, low) = reduced::<SHORT>(x);
    let (sin, cos) = both::<SHORT>(r, low);
    let odd = quadrant(k) & 1 == 1;
    let (p, q) = if odd { (-cos, sin) } else { (sin, cos) };
    let y = p / q;
    if x == 0.0 { x } else { y }
}

/// `atan(p / q)` for `0 <= p <= q`, `q > 0`: from the tangent of `pi/8` on, `pi/4` plus the angle of
/// `(p - q) / (p + q)`.
#[inline(always)]
fn first_octant<const SHORT: bool>(p: f64, q: f64) -> f64 {
    let turned = p > 0.414_213_562_373_095_03 * q;
    let (p, q) = if turned { (p - q, p + q) } else { (p, q) };
    let t = p / q;
    let z = t * t;
    let rest = if SHORT {
        series(z, &ATAN[..10])
    } else {
        series(z, &ATAN)
    };
    let y = t + t * z * rest;
    if turned {
        FRAC_PI_4 + (y + 0.5 * HALF_LOW)
    } else {
        y
    }
}

/// `atan x`, in the first octant of `|x|` or `1 / |x|`.
#[inline(always)]
pub(super) fn atan<const SHORT: bool>(x: f64) -> f64 {
    let a = x.abs();
    let steep = a > 1.0;
    // 1 over infinity is 0.
    let y = first_octant::<SHORT>(if steep { 1.0 / a } else { a }, 1.0);
    let y = if steep { FRAC_PI_2 - (y - HALF_LOW) } else { y };
    if x.is_nan() { x } else { y.copysign(x) }
}

/// The angle of the point `(x, y)`.
#[inline(always)]
pub(super) fn atan2<const SHORT: bool>(y: f64, x: f64) -> f64 {
    let (a, b) = (y.abs(), x.abs());
    let steep = a > b;
    let (p, q) = if steep { (b, a) } else { (a, b) };
    // At the origin any q does; between infinities the angle is that of the diagonal.
    let q = if q == 0.0 { 1.0 } else { q };
    let both = p == f64::INFINITY;
    let t = first_octant::<SHORT>(if both { 1.0 } else { p }, if both { 1.0 } else { q });
    let t = if steep { FRAC_PI_2 - (t - HALF_LOW) } else { t };
    let t = if x.is_sign_negative() {
        PI - (t - PI_LOW)
    } else {
        t
    };
    if x.is_nan() || y.is_nan() {
        x + y
    } else {
        t.copysign(y)
    }
}

/// `(s, e)` with `asin(a) = s + e` for `a <= 1/2`, and `pi/2 - asin(a) = 2 (s + e)` for larger `a`:
/// `s = sqrt((1 - a) / 2)` then.
#[inline(always)]
fn half_angle<const SHORT: bool>(a: f64) -> (f64, f64) {
    let large = a > 0.5;
    let half = 0.5 * (1.0 - a);
    let z = if large { half } else { a * a };
    let s = if large { half.sqrt() } else { a };
    let rest = if SHORT {
        series(z, &ASIN[..11])
    } else {
        series(z, &ASIN)
    };
    (s, s * z * rest)
}

/// `asin x`
#[inline(always)]
pub(super) fn asin<const SHORT: bool>(x: f64) -> f64 {
    let a = x.abs();
    let (s, e) = half_angle::<SHORT>(a);
    let y = if a > 0.5 {
        // Twice s, and pi/4, from the sum; what the difference lost is small.
        FRAC_PI_2 - (2.0 * s + (2.0 * e - HALF_LOW))
    } else {
        s + e
    };
    // Beyond 1 the root is not a number.
    y.copysign(x)
}

/// `acos x`
#[inline(always)]
pub(super) fn acos<const SHORT: bool>(x: f64) -> f64 {
    let a = x.abs();
    let (s, e) = half_angle::<SHORT>(a);
    let negative = x < 0.0;
    if a > 0.5 {
        let y = 2.0 * (s + e);
        if negative { PI - (y - PI_LOW) } else { y }
    } else {
        FRAC_PI_2 - (x + (e.copysign(x) - HALF_LOW))
    }
}
