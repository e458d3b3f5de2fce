//! Exponential functions.
//!
//! `x = k ln 2 + r` with an integer `k` and `|r| <= ln(2) / 2`, so `e^x = 2^k e^r`. `ln 2` is split
//! in two, so that `k` times its upper part is exact.

use super::series::{factorials, nearest, power_of_two, scaled, series};
use std::f64::consts::{LN_2, LOG2_E};

/// The upper part of `ln 2`, with 20 zero bits at its end, and the rest.
pub(super) const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
pub(super) const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// `(e^r - 1 - r) / r^2`
const EXP: [f64; 12] = factorials(2, 1, 1.0);

/// `e^r - 1` for `|r| <= ln(2) / 2`.
#[inline(always)]
fn small<const SHORT: bool>(r: f64) -> f64 {
    let rest = if SHORT {
        series(r, &EXP[..6])
    } else {
        series(r, &EXP)
    };
    r + r * r * rest
}

/// `(k, e^r - 1)` with `x = k ln 2 + r`, for `x` of at most 1100 either way.
#[inline(always)]
pub(super) fn reduced<const SHORT: bool>(x: f64) -> (f64, f64) {
    let k = nearest(x * LOG2_E);
    let r = (x - k * LN_2_HIGH) - k * LN_2_LOW;
    (k, small::<SHORT>(r))
}

/// Beyond these arguments, `e^x` is 0 or infinite in the type.
#[inline(always)]
fn bounded<const SHORT: bool>(x: f64) -> f64 {
    if SHORT {
        x.clamp(-104.0, 89.0)
    } else {
        x.clamp(-746.0, 710.0)
    }
}

/// `(1 + q) 2^k`
#[inline(always)]
fn assembled<const SHORT: bool>(k: f64, q: f64) -> f64 {
    if SHORT {
        (1.0 + q) * power_of_two(k)
    } else {
        scaled(1.0 + q, k)
    }
}

/// `e^x`
#[inline(always)]
pub(super) fn exp<const SHORT: bool>(x: f64) -> f64 {
    let (k, q) = reduced::<SHORT>(bounded::<SHORT>(x));
    assembled::<SHORT>(k, q)
}

/// `2^x`
#[inline(always)]
pub(super) fn exp2<const SHORT: bool>(x: f64) -> f64 {
    let x = if SHORT {
        x.clamp(-151.0, 129.0)
    } else {
        x.clamp(-1076.0, 1025.0)
    };
    let k = nearest(x);
    assembled::<SHORT>(k, small::<SHORT>((x - k) * LN_2))
}

/// `e^x - 1`
#[inline(always)]
pub(super) fn expm1<const SHORT: bool>(x: f64) -> f64 {
    let (k, q) = reduced::<SHORT>(x.clamp(-60.0, if SHORT { 89.0 } else { 710.0 }));
    // Half of 2^k, which is finite wherever the result is.
    let half = power_of_two(k - 1.0);
    let y = 2.0 * (q * half + (half - 0.5));
    if x == 0.0 { x } else { y }
}

/// `e^|x| / 2`, finite wherever `sinh(x)` is.
#[inline(always)]
fn half_exp<const SHORT: bool>(x: f64) -> f64 {
    let (k, q) = reduced::<SHORT>(if SHORT {
        x.abs().min(90.0)
    } else {
        x.abs().min(711.0)
    });
    if SHORT {
        (1.0 + q) * power_of_two(k - 1.0)
    } else {
        scaled(1.0 + q, k - 1.0)
    }
}

/// `(sinh(x) / x - 1) / x^2` in powers of `x^2`.
const SINH: [f64; 5] = factorials(3, 2, 1.0);

/// `sinh(x)`: with `E = e^|x| - 1`, `(E + E / (E + 1)) / 2`; from 1 on, `h - 1 / (4 h)` with
/// `h = e^|x| / 2`. The short form has the power series instead of the first.
#[inline(always)]
pub(super) fn sinh<const SHORT: bool>(x: f64) -> f64 {
    let a = x.abs();
    let h = half_exp::<SHORT>(a);
    let small = if SHORT {
        let z = x * x;
        a + a * z * series(z, &SINH)
    } else {
        let e = expm1::<SHORT>(a.min(2.0));
        0.5 * (e + e / (e + 1.0))
    };
    let y = if a < 1.0 { small } else { h - 0.25 / h };
    if x.is_nan() { x } else { y.copysign(x) }
}

/// `cosh(x) = h + 1 / (4 h)` with `h = e^|x| / 2`.
#[inline(always)]
pub(super) fn cosh<const SHORT: bool>(x: f64) -> f64 {
    let h = half_exp::<SHORT>(x);
    if x.is_nan() { x } else { h + 0.25 / h }
}

/// `tanh(x)`: with `E = e^(2 |x|) - 1`, `E / (E + 2)`; from 22 on it has rounded to 1. The long form
/// has `E` as a sum of two numbers, and corrects the quotient by what they leave over.
#[inline(always)]
pub(super) fn tanh<const SHORT: bool>(x: f64) -> f64 {
    let a = (2.0 * x.abs()).min(44.0);
    let y = if SHORT {
        let e = expm1::<SHORT>(a);
        e / (e + 2.0)
    } else {
        let k = nearest(a * LOG2_E);
        let first = a - k * LN_2_HIGH;
        let second = k * LN_2_LOW;
        let r = first - second;
        // e^(r + low) - 1, in two parts: the first two terms, and the rest.
        let low = (first - r) - second;
        let rest = r * r * series(r, &EXP) + low;
        let power = power_of_two(k);
        // E = power * (r + rest) + (power - 1), the exact parts first.
        let (p, q) = (power * r, power - 1.0);
        let sum = p + q;
        let lost = if p > q { (p - sum) + q } else { (q - sum) + p } + power * rest;
        let e = sum + lost;
        let e_low = (sum - e) + lost;
        let d = e + 2.0;
        let d_low = ((2.0 - d) + e) + e_low;
        let d_low = if e > 2.0 {
            ((e - d) + 2.0) + e_low
        } else {
            d_low
        };
        let y = e / d;
        // What e - y d leaves, without a fused product: y split in two halves.
        let high = f64::from_bits(y.to_bits() & 0xFFFF_FFFF_F800_0000);
        let d_high = f64::from_bits(d.to_bits() & 0xFFFF_FFFF_F800_0000);
        let (y_rest, d_rest) = (y - high, d - d_high);
        let left = (e - high * d_high) - high * d_rest - y_rest * d_high - y_rest * d_rest;
        y + (left + (e_low - y * d_low)) / d
    };
    let y = y.copysign(x);
    if x.is_nan() { x } else { y }
}

/// [`EXP`] in `f32`.
const EXP_F32: [f32; 6] = {
    let mut c = [0.0; 6];
    let mut k = 0;
    while k < 6 {
        c[k] = EXP[k] as f32;
        k += 1;
    }
    c
};

/// As [`super::series::nearest`].
const MAGIC: f32 = 12_582_912.0;

/// `2^k e^r` for `shifted = k + MAGIC`, in `f32` throughout: twice as many at a time as in `f64`.
#[inline(always)]
fn assembled_f32(shifted: f32, r: f32) -> f32 {
    let rest = EXP_F32.iter().rev().fold(0.0, |sum, &c| sum * r + c);
    let y = (rest * (r * r) + r) + 1.0;
    let k = shifted.to_bits().wrapping_sub(MAGIC.to_bits()) as i32;
    let half = k >> 1;
    let power = |k: i32| f32::from_bits((k.wrapping_add(127) as u32) << 23);
    y * power(half) * power(k.wrapping_sub(half))
}

/// `e^x`
#[inline(always)]
pub(super) fn exp_f32(x: f32) -> f32 {
    let x = x.clamp(-104.0, 89.0);
    let shifted = x * std::f32::consts::LOG2_E + MAGIC;
    let k = shifted - MAGIC;
    // ln 2 in two parts; k times the first is exact.
    assembled_f32(shifted, x - k * 0.693_359_4 + k * 2.121_944_4e-4)
}

/// `2^x`
#[inline(always)]
pub(super) fn exp2_f32(x: f32) -> f32 {
    let x = x.clamp(-151.0, 129.0);
    let shifted = x + MAGIC;
    assembled_f32(shifted, (x - (shifted - MAGIC)) * std::f32::consts::LN_2)
}
