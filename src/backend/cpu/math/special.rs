//! Derivatives of any order, in `f64`, by recurrences and series.

use super::Float;
use super::gamma::sinc;
use std::f64::consts::PI;

/// Derivative number `n` of [`sinc`]: `pi^n f_n(pi x)` for the derivatives `f_n` of `sin(z) / z`.
///
/// `z f = sin(z)`, differentiated `n` times, gives `f_n = (sin(z + n pi / 2) - n f_(n-1)) / z`, which
/// loses digits when `z` is not large beside `n`; there the power series
/// `f_n = sum of (-1)^k z^(2k-n) / ((2k+1) (2k-n)!)` over `2k >= n` is used.
pub(super) fn sinc_derivative(n: f64, x: f64) -> f64 {
    let z = PI * x;
    let scale = PI.powf(n);
    if z.abs() > n + 2.0 {
        let mut f = sinc(x);
        for k in 1..=n as u64 {
            let k = k as f64;
            f = ((z + k * PI / 2.0).sin() - k * f) / z;
        }
        return scale * f;
    }
    let n = n as u64;
    let first = n.div_ceil(2);
    // Term k = first: z^(2k-n) / (2k-n)! is 1 or z.
    let mut power = if n.is_multiple_of(2) { 1.0 } else { z };
    let mut sum = 0.0;
    for k in first..first + 60 {
        let sign = if k % 2 == 0 { 1.0 } else { -1.0 };
        let term = sign * power / (2 * k + 1) as f64;
        sum += term;
        if term.abs() < 1e-18 * sum.abs() {
            break;
        }
        let m = (2 * k - n) as f64;
        power *= z * z / ((m + 1.0) * (m + 2.0));
    }
    scale * sum
}

/// Derivative of order `n` of digamma, `(-1)^(n+1) n! zeta(n + 1, x)`. At the poles of even order
/// in `x` (0 and the negative integers) the value is infinite with the sign of that formula.
pub(super) fn polygamma(n: u32, x: f64) -> f64 {
    if n == 0 {
        return if x < 0.0 {
            x.digamma_reflected()
        } else {
            x.digamma()
        };
    }
    let factorial: f64 = (2..=n.min(171)).map(f64::from).product();
    let z = factorial * zeta(n + 1, x);
    if n.is_multiple_of(2) { -z } else { z }
}

/// Hurwitz zeta `sum over k >= 0 of (q + k)^-s` for integer s >= 2 and any real q.
fn zeta(s: u32, q: f64) -> f64 {
    if q > 0.0 || q.is_nan() {
        return zeta_positive(s, q);
    }
    if q == q.floor() {
        return if q.is_finite() {
            f64::INFINITY
        } else {
            f64::NAN
        };
    }
    // The sum over all integers k is zeta(s, f) + (-1)^s zeta(s, g), where f and g are the
    // distances to the integers below and above q; the terms with k < 0 make up
    // (-1)^s zeta(s, 1 - q).
    let (f, g) = (
        zeta_positive(s, q - q.floor()),
        zeta_positive(s, q.ceil() - q),
    );
    let past = zeta_positive(s, 1.0 - q);
    // In this order f and g cancel exactly where q is half an odd integer.
    if s.is_multiple_of(2) {
        (f + g) - past
    } else {
        (f - g) + past
    }
}

/// `B(2k) / (2k)!` for k = 1 to 15.
const EULER_MACLAURIN: [f64; 15] = [
    0.08333333333333333,
    -0.001388888888888889,
    3.306878306878307e-05,
    -8.267195767195768e-07,
    2.08767569878681e-08,
    -5.284190138687493e-10,
    1.3382536530684679e-11,
    -3.3896802963225827e-13,
    8.586062056277845e-15,
    -2.174868698558062e-16,
    5.5090028283602295e-18,
    -1.3954464685812522e-19,
    3.534707039629467e-21,
    -8.953517427037546e-23,
    2.267952452337683e-24,
];

/// Hurwitz zeta for q > 0 by Euler-Maclaurin summation: terms up to a = q + N, then
/// `a^(1-s) / (s-1) + a^-s / 2 + sum B(2k)/(2k)! s (s+1) ... (s+2k-2) a^(1-s-2k)`
/// (Johansson, "Rigorous high-precision computation of the Hurwitz zeta function", 2014).
fn zeta_positive(s: u32, q: f64) -> f64 {
    if q.is_infinite() {
        return 0.0;
    }
    let sf = f64::from(s);
    // Some products are almost as exact as a power, and much quicker.
    let power = |a: f64| match s {
        2..=4 => (1..s).fold(1.0 / a, |power, _| power * (1.0 / a)),
        _ => a.powf(-sf),
    };
    // The tail converges like ((s + 2k) / (2 pi a))^2k.
    let enough = 10.0 + 0.5 * sf;
    let (mut a, mut sum) = (q, 0.0);
    while a < enough {
        let term = power(a);
        sum += term;
        // All that follows is less than this term times 1 + a / (s - 1).
        if term * (1.0 + a / (sf - 1.0)) < 1e-17 * sum {
            return sum;
        }
        a += 1.0;
    }
    let base = power(a);
    let mut tail = a / (sf - 1.0) + 0.5;
    let mut factor = sf / a;
    let square = 1.0 / (a * a);
    for (k, b) in EULER_MACLAURIN.iter().enumerate() {
        let term = b * factor;
        tail += term;
        if term.abs() < 1e-17 * tail {
            break;
        }
        let j = sf + 2.0 * k as f64;
        factor *= (j + 1.0) * (j + 2.0) * square;
    }
    sum + base * tail
}
