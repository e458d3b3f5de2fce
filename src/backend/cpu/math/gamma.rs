//! The logarithm of the gamma function and its derivative, for `f32`: computed in `f64`, whose
//! digits make up for what cancels near their zeros.
//!
//! Both follow from Stirling's series at `y + 8 >= 8`, to which the recurrence leads, for
//! `y = x` or, below 1/2, for the reflected `y = 1 - x`.

use super::log::ln;
use super::real::poly;
use std::f64::consts::PI;

/// How often the recurrence is applied to arguments below that many.
const STEPS: f64 = 8.0;

/// `B(2k) / (2k (2k - 1))` from `k = 1` on: Stirling's series in powers of `1 / z^2`, over `z`.
const STIRLING: [f64; 7] = [
    1.0 / 12.0,
    -1.0 / 360.0,
    1.0 / 1260.0,
    -1.0 / 1680.0,
    1.0 / 1188.0,
    -691.0 / 360_360.0,
    1.0 / 156.0,
];

/// `B(2k) / (2k)` from `k = 1` on: the series of the derivative in powers of `1 / z^2`.
const DERIVATIVE: [f64; 7] = {
    let mut c = STIRLING;
    let mut k = 0;
    while k < 7 {
        c[k] *= (2 * k + 1) as f64;
        k += 1;
    }
    c
};

/// `(sin(pi r), cos(pi r))` for `|r| <= 1/2`.
#[inline(always)]
fn sin_cos_pi(r: f64) -> (f64, f64) {
    /// `(-1)^k pi^(2k+first) / (2k+first)!`
    const fn series(first: usize) -> [f64; 11] {
        let mut c = [0.0; 11];
        let mut term = if first == 0 { 1.0 } else { PI };
        let mut k = 0;
        while k < 11 {
            c[k] = term;
            let n = (2 * k + first) as f64;
            term *= -PI * PI / ((n + 1.0) * (n + 2.0));
            k += 1;
        }
        c
    }
    const SIN: [f64; 11] = series(1);
    const COS: [f64; 11] = series(0);
    let z = r * r;
    (r * poly(z, &SIN), poly(z, &COS))
}

/// `x`, or what it is reflected to.
#[inline(always)]
fn reflected(x: f64) -> (bool, f64) {
    let below = x < 0.5;
    (below, if below { 1.0 - x } else { x })
}

/// `ln |gamma(x)|`, infinite at the poles. With `p = y (y + 1) .. (y + 7)` it is
/// `ln gamma(y + 8) - ln p` or, reflected, `ln(pi p / |sin(pi x)|) - ln gamma(y + 8)`.
#[inline(always)]
pub(super) fn lgamma(x: f32) -> f32 {
    let x = f64::from(x);
    let (below, y) = reflected(x);
    let few = y < STEPS;
    let mut p = 1.0;
    for i in 0..STEPS as u32 {
        p *= y + f64::from(i);
    }
    let p = if few { p } else { 1.0 };
    let z = if few { y + STEPS } else { y };
    let half_ln_tau = 0.918_938_533_204_672_7;
    let series = poly(1.0 / (z * z), &STIRLING) / z;
    let stirling = (z - 0.5) * ln(z) - z + (half_ln_tau + series);
    let sin = sin_cos_pi(x - x.round_ties_even()).0.abs();
    let rest = ln(if below { PI * p / sin } else { p });
    let result = if below {
        rest - stirling
    } else {
        stirling - rest
    };
    let result = if x == 1.0 || x == 2.0 { 0.0 } else { result };
    let result = if x.abs() == f64::INFINITY {
        f64::INFINITY
    } else {
        result
    };
    result as f32
}

/// The derivative of `ln gamma(x)`: infinite at 0, with the sign of `-x`, and NaN at the negative
/// whole numbers. It is the series, less `1 / y + .. + 1 / (y + 7) = p' / p` and, reflected, less
/// `pi cot(pi x)`.
#[inline(always)]
pub(super) fn digamma(x: f32) -> f32 {
    let x = f64::from(x);
    let (below, y) = reflected(x);
    let few = y < STEPS;
    let (mut p, mut dp) = (1.0, 0.0);
    for i in 0..STEPS as u32 {
        let factor = y + f64::from(i);
        dp = dp * factor + p;
        p *= factor;
    }
    let sum = if few { dp / p } else { 0.0 };
    let z = if few { y + STEPS } else { y };
    let square = 1.0 / (z * z);
    let value = ln(z) - 0.5 / z - square * poly(square, &DERIVATIVE) - sum;
    let whole = x.round_ties_even();
    let (sin, cos) = sin_cos_pi(x - whole);
    let value = if below { value - PI * cos / sin } else { value };
    let value = if x < 0.0 && x == whole {
        f64::NAN
    } else {
        value
    };
    let value = if x == 0.0 {
        f64::INFINITY.copysign(-x)
    } else {
        value
    };
    value as f32
}
