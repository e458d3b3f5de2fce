//! The functors against the written-out values of [`super::reference`].

use super::Compute;
use super::reference::{AT_EXTREMES, EDGES, EXTREMES, INF, NAN, PAIR, PAIRS, SMOOTH};
use crate::backend::functor::{Block, Domain, Functor as F, Rows};
use crate::base::Scalar;

fn apply<C: Compute>(block: Block<C>, ins: &[C], params: &[Scalar]) -> C {
    // Three copies: every element of a block gets the same treatment.
    let columns: Vec<[C; 3]> = ins.iter().map(|&x| [x; 3]).collect();
    let columns: Vec<Rows<C>> = columns.iter().map(|c| Rows::one(c)).collect();
    let mut out = [C::ZERO; 3];
    block(&mut out, 3, &columns, params);
    assert!(out[0] == out[2] || out[0].is_nan());
    out[0]
}

fn params(p: &[f64]) -> Vec<Scalar> {
    p.iter().map(|&x| Scalar::Float(x)).collect()
}

fn on_f64(f: F, ins: &[f64], p: &[f64]) -> f64 {
    apply(f.blocks().f64.unwrap(), ins, &params(p))
}

fn on_f32(f: F, ins: &[f64], p: &[f64]) -> f32 {
    let ins: Vec<f32> = ins.iter().map(|&x| x as f32).collect();
    apply(f.blocks().f32.unwrap(), &ins, &params(p))
}

fn on_i64(f: F, ins: &[i64], p: &[i64]) -> i64 {
    let p: Vec<Scalar> = p.iter().map(|&x| Scalar::Int(x)).collect();
    apply(f.blocks().i64.unwrap(), ins, &p)
}

/// Same value, NaN for NaN and with the sign of zero.
fn same(a: f64, b: f64) -> bool {
    (a.is_nan() && b.is_nan()) || (a == b && a.is_sign_negative() == b.is_sign_negative())
}

fn close(got: f64, want: f64, tolerance: f64) -> bool {
    same(got, want) || (got - want).abs() <= tolerance * want.abs()
}

#[test]
fn smooth_values() {
    let mut wrong = Vec::new();
    for &(f, p, tolerance, points) in SMOOTH {
        for &(ins, want) in points {
            let got = on_f64(f, ins, p);
            if !close(got, want, tolerance * f64::EPSILON) {
                let error = (got - want) / want / f64::EPSILON;
                wrong.push(format!(
                    "{f:?}{ins:?} {p:?} f64: {got:e}, not {want:e}: {error:.1} eps"
                ));
            }
            let got = f64::from(on_f32(f, ins, p));
            let want = f64::from(want as f32);
            if !close(got, want, tolerance * f64::from(f32::EPSILON)) {
                let error = (got - want) / want / f64::from(f32::EPSILON);
                wrong.push(format!(
                    "{f:?}{ins:?} {p:?} f32: {got:e}, not {want:e}: {error:.1} eps"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn edge_values() {
    let mut wrong = Vec::new();
    for &(f, p, want) in EDGES {
        for (x, want) in [NAN, INF, -INF, 0.0, -0.0].into_iter().zip(want) {
            let got = on_f64(f, &[x], p);
            if !(same(got, want) || close(got, want, 2.0 * f64::EPSILON)) {
                wrong.push(format!("{f:?}({x:?}) {p:?} f64: {got:?}, not {want:?}"));
            }
            let got = f64::from(on_f32(f, &[x], p));
            if !close(got, want, 2.0 * f64::from(f32::EPSILON)) {
                wrong.push(format!("{f:?}({x:?}) {p:?} f32: {got:?}, not {want:?}"));
            }
        }
    }
    for &(f, p, want) in PAIRS {
        let either = matches!(f, F::Maximum | F::Minimum | F::Fmax | F::Fmin);
        for (&x, row) in PAIR.iter().zip(want) {
            for (&y, want) in PAIR.iter().zip(row) {
                let fits = |got: f64, eps: f64| {
                    close(got, want, 2.0 * eps) || (either && got == 0.0 && want == 0.0)
                };
                let got = on_f64(f, &[x, y], p);
                if !fits(got, f64::EPSILON) {
                    wrong.push(format!("{f:?}({x:?}, {y:?}) f64: {got:?}, not {want:?}"));
                }
                // Neighbours differ by type.
                let got = f64::from(on_f32(f, &[x, y], p));
                if f != F::Nextafter && !fits(got, f64::from(f32::EPSILON)) {
                    wrong.push(format!("{f:?}({x:?}, {y:?}) f32: {got:?}, not {want:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn tiny_and_huge_values() {
    let mut wrong = Vec::new();
    for &(f, p, want) in AT_EXTREMES {
        for (x, want) in EXTREMES.into_iter().zip(want) {
            let got = on_f64(f, &[x], p);
            // Denormal results may differ in their last digit.
            let near = (got - want).abs() <= f64::from_bits(1);
            if !near && !close(got, want, 2.0 * f64::EPSILON) {
                wrong.push(format!("{f:?}({x:?}) {p:?}: {got:?}, not {want:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// NaN in any input of the functors that no table covers.
#[test]
fn nan_propagates() {
    for (f, n) in [
        (F::Add, 2),
        (F::Sub, 2),
        (F::Mul, 2),
        (F::Div, 2),
        (F::Lerp, 3),
        (F::Addcmul, 3),
        (F::Addcdiv, 3),
        (F::Logaddexp2, 2),
        (F::SigmoidBackward, 2),
        (F::TanhBackward, 2),
        (F::GeluBackward, 2),
        (F::GeluTanhBackward, 2),
        (F::SiluBackward, 2),
    ] {
        assert_eq!(f.arity(), n);
        for at in 0..n {
            let mut ins = vec![0.5; n];
            ins[at] = NAN;
            assert!(on_f64(f, &ins, &[1.0]).is_nan(), "{f:?} {at}");
            assert!(on_f32(f, &ins, &[1.0]).is_nan(), "{f:?} {at} f32");
        }
    }
    // Truth is not NaN: only `!=` holds.
    for (f, want) in [
        (F::Eq, 0.0),
        (F::Ne, 1.0),
        (F::Lt, 0.0),
        (F::Ge, 0.0),
        (F::LogicalAnd, 1.0),
    ] {
        assert_eq!(on_f64(f, &[NAN, NAN], &[]), want);
    }
}

/// Where the functor is finite at the far ends, it must not overflow on the way.
#[test]
fn no_overflow() {
    for x in [1e4, -1e4, 88.0, -88.0, 104.0, -104.0, 710.0, -710.0] {
        for f in [
            F::Sigmoid,
            F::LogSigmoid,
            F::Gelu,
            F::GeluTanh,
            F::Silu,
            F::Mish,
            F::Tanh,
        ] {
            assert!(on_f64(f, &[x], &[]).is_finite(), "{f:?}({x})");
            assert!(on_f32(f, &[x], &[]).is_finite(), "{f:?}({x}) f32");
        }
        for f in [F::GeluBackward, F::GeluTanhBackward, F::SiluBackward] {
            let want = if x > 0.0 { 1.0 } else { 0.0 };
            assert!(
                (on_f64(f, &[1.0, x], &[]) - want).abs() < 1e-30,
                "{f:?}({x})"
            );
            assert!(
                (f64::from(on_f32(f, &[1.0, x], &[])) - want).abs() < 1e-30,
                "{f:?}({x})"
            );
            assert_eq!(on_f64(f, &[0.0, x], &[]), 0.0);
        }
    }
    // PyTorch gives NaN for the last two of these: 0 times an overflowed u'.
    for (x, want) in [(1e300, 1.0), (-1e300, 0.0), (INF, 1.0), (-INF, 0.0)] {
        assert_eq!(on_f64(F::GeluTanhBackward, &[1.0, x], &[]), want);
    }
    assert_eq!(on_f64(F::Hypot, &[3e300, 4e300], &[]), 5e300);
    assert!(close(
        on_f64(F::Asinh, &[1.7e308], &[]),
        710.4199840737882,
        1e-15
    ));
    assert!(close(
        on_f64(F::Acosh, &[1.7e308], &[]),
        710.4199840737882,
        1e-15
    ));
}

/// The error of a number, in units in the last place of `want`, of the type with so many digits and
/// the smallest number `2^least`. Infinity counts as the power of two that is first out of range.
fn ulps(got: f64, want: f64, digits: i32, least: i32, most: f64) -> f64 {
    if got.is_nan() || want.is_nan() {
        return if got.is_nan() && want.is_nan() {
            0.0
        } else {
            INF
        };
    }
    let (got, want) = (got.clamp(-most, most), want.clamp(-most, most));
    let (_, exponent) = libm::frexp(want);
    (got - want).abs() / libm::ldexp(1.0, (exponent - digits).max(least))
}

/// The functions with arguments from all over `f32` against themselves in `f64`.
#[test]
fn two_units_in_the_last_place() {
    let xs: Vec<f32> = (0..u32::MAX).step_by(10007).map(f32::from_bits).collect();
    let mut ys = xs.clone();
    ys.rotate_left(5);
    // Near each other's exponent, so that powers are in range.
    let exponents: Vec<f32> = (xs.iter().zip(&ys))
        .map(|(&x, &y)| (y % 150.0) / x.abs().log2())
        .collect();
    let mut wrong = Vec::new();
    let mut check = |f: F, p: &[f64], ins: &[&[f32]]| {
        let wide: Vec<Vec<f64>> = (ins.iter())
            .map(|x| x.iter().map(|&x| f64::from(x)).collect())
            .collect();
        let wide: Vec<Rows<f64>> = wide.iter().map(|x| Rows::one(x)).collect();
        let narrow: Vec<Rows<f32>> = ins.iter().map(|x| Rows::one(x)).collect();
        let n = ins[0].len();
        let (mut got, mut want) = (vec![0.0; n], vec![0.0; n]);
        f.blocks().f32.unwrap()(&mut got, n, &narrow, &params(p));
        f.blocks().f64.unwrap()(&mut want, n, &wide, &params(p));
        let errors = (got.iter().zip(&want))
            .map(|(&got, &want)| ulps(f64::from(got), want, 24, -149, 2f64.powi(128)));
        let (at, error) =
            (errors.enumerate()).fold(
                (0, 0.0),
                |most, next| if next.1 > most.1 { next } else { most },
            );
        if error > 2.0 {
            let ins: Vec<f32> = ins.iter().map(|x| x[at]).collect();
            let (got, want) = (got[at], want[at]);
            wrong.push(format!("{f:?}{ins:?}: {got:e}, not {want:e}: {error:.2}"));
        }
    };
    for f in [
        F::Exp,
        F::Exp2,
        F::Expm1,
        F::Log,
        F::Log2,
        F::Log10,
        F::Log1p,
        F::Sin,
        F::Cos,
        F::Tan,
        F::Asin,
        F::Acos,
        F::Atan,
        F::Sinh,
        F::Cosh,
        F::Tanh,
        F::Asinh,
        F::Acosh,
        F::Atanh,
        F::Erf,
        F::Erfc,
        F::Erfinv,
        F::Gelu,
        F::Sigmoid,
        F::LogSigmoid,
        F::Logit,
        F::Rsqrt,
    ] {
        check(f, &[], &[&xs]);
    }
    // A product with a denormal number has fewer digits.
    let normal: Vec<f32> = xs.iter().map(|x| x.max(-87.0)).collect();
    check(F::Silu, &[], &[&normal]);
    check(F::Softplus, &[1.0, 20.0], &[&xs]);
    for (f, ys) in [(F::Pow, &ys), (F::Pow, &exponents), (F::Atan2, &ys)] {
        check(f, &[], &[&xs, ys]);
    }
    // Of one sign, so that nothing cancels.
    let [xs, ys] = [xs, ys].map(|xs| xs.iter().map(|x| x.abs()).collect::<Vec<_>>());
    for f in [F::Logaddexp, F::Logaddexp2] {
        check(f, &[], &[&xs, &ys]);
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Powers in `f64` against mpmath's values, and against those of `libm`, which is not accurate for
/// greater exponents: any results, bases near 1, and all pairs of special values.
#[test]
fn powers() {
    let special = [
        NAN,
        INF,
        0.0,
        1.0,
        2.0,
        3.0,
        0.5,
        2.5,
        1e300,
        1e-310,
        9007199254740991.0,
        9007199254740992.0,
    ];
    let special: Vec<f64> = special.iter().flat_map(|&x| [x, -x]).collect();
    let mut pairs: Vec<(f64, f64)> = (special.iter())
        .flat_map(|&x| special.iter().map(move |&y| (x, y)))
        .collect();
    for k in 0..20_000u64 {
        // Fractions that are spread evenly.
        let [a, b] =
            [0.618_033_988_749_894_9, 0.754_877_666_246_692_7].map(|r| (k as f64 * r).fract());
        let exponent = 2150.0 * a - 1075.0;
        let base = 2f64.powf(2000.0 * b - 1000.0);
        let near = 1.0 + (b - 0.5) * 2f64.powi(-((k % 20) as i32));
        pairs.push((base, exponent / base.log2()));
        pairs.push((near, (exponent / near.log2()).clamp(-2e9, 2e9)));
        pairs.push((4.0 * a, 16.0 * b - 8.0));
    }
    let check = |x: f64, y: f64, want: f64, most: f64| {
        let got = on_f64(F::Pow, &[x, y], &[]);
        let signs = got.is_nan() || got.is_sign_negative() == want.is_sign_negative();
        assert!(
            signs && ulps(got, want, 53, -1074, f64::MAX) <= most,
            "{x:e}^{y:e}: {got:e}, not {want:e}"
        );
    };
    for (x, y) in pairs {
        check(x, y, libm::pow(x, y), 2.5); // either has an error
    }
    for (x, y, want) in [
        (1.0000001, 1e9, 2.6881038582144647e43),
        (0.9999999, -1e9, 2.6881304409450066e43),
        (
            1.0000002575040174,
            2346992661.134839,
            2.9525434137794714e262,
        ),
        (1.0000000000000002, 3e18, 1.98719262165461e289),
        (0.9999999999999999, 6e18, 5.0322248034881087e-290),
        (1.5, -1800.25, 9.81095e-318),
        (5e-324, 0.5, 2.2227587494850775e-162),
        (1.7976931348623157e308, -1.05, 0.0),
        (0.75, 2560.0, 1.435e-320),
    ] {
        check(x, y, want, 2.0);
    }
}

/// Values where a pole, a range end or the smallest numbers decide.
#[test]
fn special_points() {
    let f = |f, x| on_f64(f, &[x], &[]);
    for x in [1.0, -2.0, 100.0, 1e15] {
        assert_eq!(f(F::Sinc, x), 0.0);
    }
    assert!(same(f(F::Erfinv, 1.0), INF) && same(f(F::Erfinv, -1.0), -INF));
    assert!(f(F::Erfinv, 1.0 + f64::EPSILON).is_nan());
    assert!(close(f(F::Erfinv, 1e-310), 8.8622692545277e-311, 1e-12));
    assert!(f(F::Digamma, -1.0).is_nan() && f(F::Digamma, -1e20).is_nan());
    assert_eq!(f(F::Lgamma, -3.0), INF);
    assert_eq!((f(F::Lgamma, 1.0), f(F::Lgamma, 2.0)), (0.0, 0.0));
    assert!(same(f(F::Logit, 0.0), -INF) && same(f(F::Logit, 1.0), INF));
    assert!(f(F::Logit, -0.5).is_nan() && f(F::Logit, 1.5).is_nan());
    // The zero of digamma is between two doubles: mpmath's value at the nearer one.
    assert!(close(
        f(F::Digamma, 1.4616321449683622),
        -9.241265521729427e-17,
        1e-12
    ));
    // Poles of polygamma: those of even order have no two-sided limit, and get the formula's sign.
    for (n, x, want) in [
        (1.0, 0.0, INF),
        (1.0, -3.0, INF),
        (2.0, 0.0, -INF),
        (2.0, -3.0, -INF),
        (3.0, INF, 0.0),
        (2.0, INF, -0.0),
        (2.0, NAN, NAN),
        (1.0, -INF, NAN),
    ] {
        assert!(
            same(on_f64(F::Polygamma, &[x], &[n]), want),
            "polygamma({n}, {x})"
        );
    }
    assert!(close(on_f64(F::Polygamma, &[-1e-20], &[1.0]), 1e40, 1e-15));
}

#[test]
fn rounding() {
    for (x, want) in [
        (0.5, 0.0),
        (1.5, 2.0),
        (2.5, 2.0),
        (-0.5, -0.0),
        (-1.5, -2.0),
    ] {
        assert!(same(on_f64(F::Round, &[x], &[]), want));
    }
    for (x, d, want) in [
        (2.675, 2.0, 2.68),
        (0.125, 2.0, 0.12),
        (1250.0, -2.0, 1200.0),
        (-1350.0, -2.0, -1400.0),
        (1e300, 20.0, 1e300),
        (1.5, 400.0, 1.5),
        (1.5, -400.0, 0.0),
    ] {
        assert!(
            same(on_f64(F::RoundDecimals, &[x], &[d]), want),
            "round({x}, {d})"
        );
    }
    assert_eq!(on_f64(F::Frac, &[-1.25], &[]), -0.25);
    // Python's own results; a plain floor(x / y) gives 10 and 3 here.
    assert_eq!(on_f64(F::DivFloor, &[1.0, 0.1], &[]), 9.0);
    assert_eq!(on_f64(F::DivFloor, &[0.3, 0.1], &[]), 2.0);
    assert_eq!(on_f64(F::DivFloor, &[-7.0, 2.0], &[]), -4.0);
    assert_eq!(on_f64(F::Remainder, &[-7.0, 3.0], &[]), 2.0);
    assert_eq!(on_f64(F::Fmod, &[-7.0, 3.0], &[]), -1.0);
    assert_eq!(on_f32(F::Nextafter, &[1.0, 2.0], &[]), 1.0 + f32::EPSILON);
}

#[test]
fn integers() {
    const MIN: i64 = i64::MIN;
    const MAX: i64 = i64::MAX;
    // DivFloor, DivTrunc, Remainder, Fmod.
    for (x, y, want) in [
        (7, 2, [3, 3, 1, 1]),
        (7, -2, [-4, -3, -1, 1]),
        (-7, 2, [-4, -3, 1, -1]),
        (-7, -2, [3, 3, -1, -1]),
        (-7, 3, [-3, -2, 2, -1]),
        (6, -3, [-2, -2, 0, 0]),
        (5, 0, [0; 4]),
        (MIN, -1, [MIN, MIN, 0, 0]),
        (MIN, 1, [MIN, MIN, 0, 0]),
        (MAX, MIN, [-1, 0, -1, MAX]),
    ] {
        let got =
            [F::DivFloor, F::DivTrunc, F::Remainder, F::Fmod].map(|f| on_i64(f, &[x, y], &[]));
        assert_eq!(got, want, "{x}, {y}");
    }
    for (f, ins, want) in [
        (F::Neg, &[MIN][..], MIN),
        (F::Abs, &[-3], 3),
        (F::Abs, &[MIN], MIN),
        (F::Sign, &[-3], -1),
        (F::Square, &[1 << 32], 0),
        (F::Relu, &[-3], 0),
        (F::Mul, &[MAX, 2], -2),
        (F::Pow, &[3, 5], 243),
        (F::Pow, &[-2, 63], MIN),
        (F::Pow, &[2, -1], 0),
        (F::Pow, &[-1, -3], -1),
        (F::Pow, &[0, 0], 1),
        (F::Maximum, &[3, -4], 3),
        (F::Minimum, &[3, -4], -4),
        (F::Fmax, &[3, -4], 3),
        (F::Fmin, &[3, -4], -4),
        (F::Heaviside, &[0, 7], 7),
        (F::Heaviside, &[-2, 7], 0),
        (F::Where, &[2, 5, 6], 5),
        (F::Where, &[0, 5, 6], 6),
        (F::IsNan, &[3], 0),
        (F::IsFinite, &[3], 1),
        (F::Ge, &[3, 3], 1),
        (F::LogicalNot, &[3], 0),
        (F::LogicalAnd, &[3, 4], 1),
        (F::LogicalOr, &[0, 0], 0),
        (F::LogicalXor, &[3, 4], 0),
        (F::BitNot, &[5], -6),
        (F::BitAnd, &[12, 10], 8),
        (F::BitOr, &[12, 10], 14),
        (F::BitXor, &[12, 10], 6),
        (F::Shl, &[5, -1], 0),
        (F::Shl, &[5, 62], 1 << 62),
        (F::Shl, &[5, 63], MIN),
        (F::Shl, &[5, 64], 0),
        (F::Shr, &[-5, 1], -3),
        (F::Shr, &[-5, -1], -1),
        (F::Shr, &[-5, 64], -1),
        (F::Shr, &[5, 64], 0),
    ] {
        assert_eq!(on_i64(f, ins, &[]), want, "{f:?}{ins:?}");
    }
    assert_eq!(on_i64(F::Add, &[5, 3], &[-2]), -1);
    assert_eq!(on_i64(F::Sub, &[5, 3], &[-2]), 11);
    assert_eq!(on_i64(F::Addcmul, &[1, 2, 3], &[10]), 61);
    assert_eq!(on_i64(F::Clamp, &[9], &[-1, 4]), 4);
    assert_eq!(on_i64(F::Threshold, &[3], &[3, 20]), 20);
    assert_eq!(on_i64(F::ThresholdBackward, &[9, 4], &[3]), 9);
}

/// Every functor has the blocks its domain promises, and accepts an empty block.
#[test]
fn domains() {
    for &f in F::ALL {
        let b = f.blocks();
        let integer = f.domain() == Domain::Integer;
        assert_eq!(b.f32.is_some(), !integer);
        assert_eq!(b.f64.is_some(), !integer);
        assert_eq!(b.i64.is_some(), f.domain() != Domain::Float);
        assert!((1..=3).contains(&f.arity()));
        let p = [Scalar::Int(1); 3];
        if let Some(run) = b.f64 {
            run(&mut [], 1, &[Rows::one(&[]); 3], &p);
        }
    }
}
