//! Special functions in `f64`, by methods that need no long tables.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// Horner's rule, highest coefficient first.
#[inline(always)]
fn poly(x: f64, c: &[f64]) -> f64 {
    c.iter().fold(0.0, |acc, &c| acc * x + c)
}

/// `sin(pi x)`, exactly 0 at the integers.
pub(super) fn sinpi(x: f64) -> f64 {
    // Both subtractions are exact: sin(pi x) = +-sin(pi f), |f| <= 1/2, minus for odd integers.
    let n = x.round_ties_even();
    let s = (PI * (x - n)).sin();
    if (n * 0.5).fract() == 0.0 { s } else { -s }
}

/// `sin(pi x) / (pi x)`, 1 at 0.
pub(super) fn sinc(x: f64) -> f64 {
    // Below, pi x might be denormal and lose digits; the quotient has long rounded to 1.
    if x.abs() < 1e-9 {
        1.0
    } else {
        sinpi(x) / (PI * x)
    }
}

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

/// Inverse error function: `erfinv(y) = ppf((1 + y) / 2) / sqrt(2)` with the percentage points of
/// the normal distribution by Wichura's algorithm AS 241 (PPND16; Applied Statistics 37, 1988,
/// 477-484), good to 1e-16.
pub(super) fn erfinv(y: f64) -> f64 {
    if y.is_nan() || y.abs() > 1.0 {
        return f64::NAN;
    }
    if y.abs() == 1.0 {
        return y * f64::INFINITY;
    }
    let q = 0.5 * y;
    if q.abs() <= 0.425 {
        let r = 0.180625 - q * q;
        return FRAC_1_SQRT_2 * q * (poly(r, &CENTRE_P) / poly(r, &CENTRE_Q));
    }
    let r = (-(0.5 * (1.0 - y.abs())).ln()).sqrt();
    let z = if r <= 5.0 {
        poly(r - 1.6, &MIDDLE_P) / poly(r - 1.6, &MIDDLE_Q)
    } else {
        poly(r - 5.0, &TAIL_P) / poly(r - 5.0, &TAIL_Q)
    };
    (FRAC_1_SQRT_2 * z).copysign(y)
}

/// The positive zero of digamma as a sum of two doubles.
const DIGAMMA_ROOT: (f64, f64) = (1.4616321449683622, 9.549995429965697e-17);

/// Taylor coefficients of digamma at its positive zero, highest order first:
/// `(-1)^(k+1) zeta(k + 1, root)` for k = 18 down to 1.
const DIGAMMA_TAYLOR: [f64; 18] = [
    -0.0007380709389960052,
    0.0010788252019162967,
    -0.0015769367714301972,
    0.002305126326734928,
    -0.003369801655439328,
    0.004926781395729853,
    -0.007204534386356869,
    0.010538791616612175,
    -0.01542476590494896,
    0.022597648232218104,
    -0.03316112647484736,
    0.04880428816414311,
    -0.07219956125645471,
    0.10782405069126237,
    -0.16394270544240652,
    0.258499760955651,
    -0.4427631689835921,
    0.9676722454476212,
];

/// `B(2k) / (2k)` for k = 1 to 8, highest first.
const DIGAMMA_ASYMPTOTIC: [f64; 8] = [
    -0.4432598039215686,
    0.08333333333333333,
    -0.021092796092796094,
    0.007575757575757576,
    -0.004166666666666667,
    0.003968253968253968,
    -0.008333333333333333,
    0.08333333333333333,
];

/// Digamma: by its Taylor series near the positive zero, elsewhere by recurrence up to 10 and the
/// asymptotic series `ln x - 1/(2x) - sum B(2k) / (2k x^2k)` (Abramowitz and Stegun 6.3.18), and
/// by reflection for negative arguments. PyTorch's convention at the poles: infinite at 0, with
/// the sign of `-x`, and NaN at the negative integers.
pub(super) fn digamma(x: f64) -> f64 {
    if x == 0.0 {
        return f64::INFINITY.copysign(-x);
    }
    if x < 0.0 {
        if x == x.floor() {
            return f64::NAN; // also -inf
        }
        // psi(x) = psi(1 - x) - pi / tan(pi x), with pi x reduced first, which is exact.
        return digamma(1.0 - x) - PI / (PI * (x - x.round())).tan();
    }
    let d = (x - DIGAMMA_ROOT.0) - DIGAMMA_ROOT.1;
    if d.abs() < 0.15 {
        return d * poly(d, &DIGAMMA_TAYLOR);
    }
    let (mut x, mut shift) = (x, 0.0);
    while x < 10.0 {
        shift += 1.0 / x;
        x += 1.0;
    }
    if x.is_infinite() {
        return x;
    }
    let r = 1.0 / (x * x);
    x.ln() - 0.5 / x - r * poly(r, &DIGAMMA_ASYMPTOTIC) - shift
}

/// Derivative of order `n` of digamma, `(-1)^(n+1) n! zeta(n + 1, x)`. At the poles of even order
/// in `x` (0 and the negative integers) the value is infinite with the sign of that formula.
pub(super) fn polygamma(n: u32, x: f64) -> f64 {
    if n == 0 {
        return digamma(x);
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
    let power = |a: f64| a.powf(-sf);
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
    for (k, b) in EULER_MACLAURIN.iter().enumerate() {
        let term = b * factor;
        tail += term;
        if term.abs() < 1e-17 * tail {
            break;
        }
        let j = sf + 2.0 * k as f64;
        factor *= (j + 1.0) * (j + 2.0) / (a * a);
    }
    sum + base * tail
}

const CENTRE_P: [f64; 8] = [
    2509.0809287301227,
    33430.57558358813,
    67265.7709270087,
    45921.95393154987,
    13731.69376550946,
    1971.5909503065513,
    133.14166789178438,
    3.3871328727963665,
];
const CENTRE_Q: [f64; 8] = [
    5226.495278852854,
    28729.085735721943,
    39307.89580009271,
    21213.794301586597,
    5394.196021424751,
    687.1870074920579,
    42.31333070160091,
    1.0,
];
const MIDDLE_P: [f64; 8] = [
    0.0007745450142783414,
    0.022723844989269184,
    0.2417807251774506,
    1.2704582524523684,
    3.6478483247632045,
    5.769497221460691,
    4.630337846156546,
    1.4234371107496835,
];
const MIDDLE_Q: [f64; 8] = [
    1.0507500716444169e-09,
    0.0005475938084995345,
    0.015198666563616457,
    0.14810397642748008,
    0.6897673349851,
    1.6763848301838038,
    2.053191626637759,
    1.0,
];
const TAIL_P: [f64; 8] = [
    2.0103343992922881e-07,
    2.7115555687434876e-05,
    0.0012426609473880784,
    0.026532189526576124,
    0.29656057182850487,
    1.7848265399172913,
    5.463784911164114,
    6.657904643501103,
];
const TAIL_Q: [f64; 8] = [
    2.0442631033899397e-15,
    1.421511758316446e-07,
    1.8463183175100548e-05,
    0.0007868691311456133,
    0.014875361290850615,
    0.1369298809227358,
    0.599832206555888,
    1.0,
];
