//! Tests of the random fills.

use super::super::testing::Array;
use super::*;
use crate::base::rng::philox;

const FLOATS: [DType; 4] = [DType::F16, DType::BF16, DType::F32, DType::F64];

/// Every distribution, with parameters that any element type can hold.
const ALL: [Distribution; 8] = [
    Distribution::Uniform {
        low: 2.0,
        high: 5.0,
    },
    Distribution::Normal {
        mean: 1.0,
        std: 2.0,
    },
    Distribution::Integers { low: 3, high: 90 },
    Distribution::Bernoulli { p: 0.3 },
    Distribution::Exponential { rate: 0.5 },
    Distribution::LogNormal {
        mean: 0.0,
        std: 0.5,
    },
    Distribution::Cauchy {
        median: 1.0,
        sigma: 0.5,
    },
    Distribution::Geometric { p: 0.2 },
];

fn drawn(dtype: DType, n: usize, distribution: Distribution, seed: u64, offset: u64) -> Vec<f64> {
    let out = Array::full(dtype, &[n], 0.0);
    random(out.view(), distribution, seed, offset);
    out.values()
}

/// Mean, variance, and the shares of numbers below some points.
fn check(
    dtype: DType,
    distribution: Distribution,
    mean_and_variance: Option<(f64, f64)>,
    cdf: &[(f64, f64)],
) {
    let n = 100_000;
    let xs = drawn(dtype, n, distribution, 11, 5);
    if let Some((mean, variance)) = mean_and_variance {
        let got = xs.iter().sum::<f64>() / n as f64;
        let bound = 5.0 * (variance / n as f64).sqrt() + 1e-3 * mean.abs();
        assert!(
            (got - mean).abs() <= bound,
            "{distribution:?} {dtype}: mean {got}"
        );
        let got = xs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
        // Generous, for the heavy tails.
        assert!(
            (got - variance).abs() <= 0.06 * variance,
            "{distribution:?} {dtype}: variance {got}"
        );
    }
    for &(x, p) in cdf {
        let got = xs.iter().filter(|y| **y < x).count() as f64 / n as f64;
        let bound = 5.0 * (p * (1.0 - p) / n as f64).sqrt() + 3e-3;
        assert!(
            (got - p).abs() <= bound,
            "{distribution:?} {dtype}: {got} below {x}"
        );
    }
}

#[test]
fn the_continuous_distributions_have_their_moments() {
    let phi = |x: f64| 0.5 * libm::erfc(-x / std::f64::consts::SQRT_2);
    for dtype in FLOATS {
        let uniform = Distribution::Uniform {
            low: -1.0,
            high: 3.0,
        };
        let cdf = [(-0.5, 0.125), (1.0, 0.5), (2.5, 0.875)];
        check(dtype, uniform, Some((1.0, 16.0 / 12.0)), &cdf);
        let normal = Distribution::Normal {
            mean: 1.0,
            std: 2.0,
        };
        let cdf = [-5.0, -2.0, 0.0, 1.5, 2.0, 4.0].map(|x| (x, phi((x - 1.0) / 2.0)));
        check(dtype, normal, Some((1.0, 4.0)), &cdf);
        let exponential = Distribution::Exponential { rate: 2.0 };
        let cdf = [0.125, 0.5, 1.0, 2.0].map(|x| (x, 1.0 - f64::exp(-2.0 * x)));
        check(dtype, exponential, Some((0.5, 0.25)), &cdf);
        let (mean, std) = (0.5f64, 0.25f64);
        let variance = std * std;
        let moments = (
            (mean + variance / 2.0).exp(),
            variance.exp_m1() * (2.0 * mean + variance).exp(),
        );
        let cdf = [1.0, 1.5, 2.0, 3.0].map(|x: f64| (x, phi((x.ln() - mean) / std)));
        check(
            dtype,
            Distribution::LogNormal { mean, std },
            Some(moments),
            &cdf,
        );
        let cauchy = Distribution::Cauchy {
            median: 1.0,
            sigma: 0.5,
        };
        let below = |x: f64| 0.5 + ((x - 1.0) / 0.5).atan() / std::f64::consts::PI;
        let cdf = [-9.0, 0.0, 0.5, 1.0, 1.5, 2.0, 11.0].map(|x| (x, below(x)));
        check(dtype, cauchy, None, &cdf);
    }
}

#[test]
fn the_discrete_distributions_have_their_moments() {
    for dtype in DType::ALL {
        let p = 0.3;
        let cdf = [(0.5, 0.7)];
        check(
            dtype,
            Distribution::Bernoulli { p },
            Some((p, p * (1.0 - p))),
            &cdf,
        );
        if dtype == DType::Bool {
            continue;
        }
        let cdf = [5, 7, 10].map(|k| (f64::from(k), (f64::from(k) - 3.0) / 10.0));
        let moments = (7.5, 99.0 / 12.0);
        check(
            dtype,
            Distribution::Integers { low: 3, high: 13 },
            Some(moments),
            &cdf,
        );
        let p = 0.25;
        let cdf = [2, 3, 5, 9].map(|k| (f64::from(k), 1.0 - 0.75f64.powi(k - 1)));
        check(
            dtype,
            Distribution::Geometric { p },
            Some((4.0, 12.0)),
            &cdf,
        );
    }
}

#[test]
fn elements_depend_on_seed_offset_and_position_alone() {
    for dtype in DType::ALL {
        for distribution in ALL {
            let all = drawn(dtype, 700, distribution, 3, 1000);
            assert_eq!(all, drawn(dtype, 700, distribution, 3, 1000));
            assert_eq!(all[100..], drawn(dtype, 600, distribution, 3, 1100));
            // In a shape, in other orders in memory, and across the end of the counter.
            let grid = Array::full(dtype, &[7, 4, 25], 0.0);
            for out in [grid.scattered(), grid] {
                random(out.view(), distribution, 3, 1000);
                assert_eq!(out.values(), all, "{dtype} {distribution:?}");
            }
            let columns = Array::full(dtype, &[100, 7], 0.0).transpose(0, 1);
            random(columns.view(), distribution, 3, 1000);
            assert_eq!(columns.values(), all);
            let wrapped = drawn(dtype, 8, distribution, 3, u64::MAX - 3);
            assert_eq!(wrapped[4..], drawn(dtype, 4, distribution, 3, 0));
            if dtype != DType::Bool {
                assert_ne!(all, drawn(dtype, 700, distribution, 4, 1000));
                assert_ne!(all, drawn(dtype, 700, distribution, 3, 1001));
            }
        }
    }
}

#[test]
fn fills_scalars_and_nothing_and_only_its_elements() {
    for distribution in ALL {
        let scalar = Array::full(DType::F32, &[], f64::NAN);
        random(scalar.view(), distribution, 1, 0);
        assert!(!scalar.values()[0].is_nan());
        let none = Array::full(DType::F32, &[0, 3], 0.0);
        random(none.view(), distribution, 1, 0);
        let gaps = Array::full(DType::F64, &[20], -1.0);
        random(gaps.strided(&[3, 2], &[6, 2], 1).view(), distribution, 1, 0);
        let kept = [0, 2, 4, 5, 6, 8, 10, 11, 12, 14, 16, 17, 18, 19];
        assert!(kept.iter().all(|i| gaps.buffer()[*i] == -1.0));
    }
}

#[test]
fn uniform_numbers_stay_below_the_upper_end() {
    for dtype in FLOATS {
        for (low, high) in [
            (0.0, 1.0),
            (-1.0, 0.0),
            (1000.0, 1001.0),
            (-1.0, -0.5),
            (0.0, 0.1),
            (-3.0, 1e-300),
        ] {
            let xs = drawn(dtype, 50_000, Distribution::Uniform { low, high }, 2, 0);
            assert!(xs.iter().all(|x| *x < high), "{dtype} {high}");
            assert!(xs.iter().all(|x| *x >= low), "{dtype} {low}");
        }
        let same = Distribution::Uniform {
            low: 2.0,
            high: 2.0,
        };
        assert_eq!(drawn(dtype, 3, same, 2, 0), [2.0; 3]);
    }
}

#[test]
fn the_number_before_another() {
    let half = 2f64.powi(-11);
    assert_eq!(before(1.0, DType::F16), 1.0 - half);
    assert_eq!(before(1.0, DType::BF16), 1.0 - 2f64.powi(-8 - 1) * 2.0);
    assert_eq!(before(1.0, DType::F32), 1.0 - 2f64.powi(-24));
    assert_eq!(before(1.0, DType::F64), 1.0 - 2f64.powi(-53));
    assert_eq!(before(-1.0, DType::F16), -1.0 - 2.0 * half);
    assert_eq!(before(0.0, DType::F16), -(2f64.powi(-24)));
    assert_eq!(before(0.0, DType::F32), f64::from(-f32::from_bits(1)));
    // Below a number that the type does not hold.
    let x = 0.1;
    assert!(before(x, DType::F32) < x && x - before(x, DType::F32) < 1e-8);
    assert_eq!(before(1.0 + half / 4.0, DType::F16), 1.0);
}

#[test]
fn the_units_and_their_uses_at_the_ends() {
    let least = [0; 4];
    let most = [u32::MAX; 4];
    assert_eq!(f32::units(least), [0.0; 2]);
    assert_eq!(f64::units(least), [0.0; 2]);
    assert!(f32::units(most)[0] < 1.0 && f64::units(most)[0] < 1.0);
    for bits in [least, most] {
        assert!(normal::<f32>(bits).is_finite());
        assert!(normal::<f64>(bits).is_finite());
    }
    assert_eq!(below(most, 10), 9);
    assert_eq!(below(least, 10), 0);
    assert_eq!(below(most, u64::MAX), u64::MAX - 1);
    assert_eq!(below(most, 0), 0);
    assert_eq!(below([1 << 31, 0, 0, 0], 10), 5);
}

#[test]
fn exponential_numbers_are_positive_and_finite() {
    for dtype in [DType::F32, DType::F64] {
        let xs = drawn(
            dtype,
            200_000,
            Distribution::Exponential { rate: 1.0 },
            0,
            0,
        );
        assert!(xs.iter().all(|x| *x > 0.0 && x.is_finite()));
    }
    // What the least uniform number, 0, is taken for.
    assert!((-<f32 as Unit>::HALF).ln_1p() < 0.0 && (-<f64 as Unit>::HALF).ln_1p() < 0.0);
}

#[test]
fn geometric_and_bernoulli_at_the_ends() {
    for dtype in [DType::F32, DType::F64, DType::I64] {
        assert_eq!(
            drawn(dtype, 9, Distribution::Geometric { p: 1.0 }, 0, 0),
            [1.0; 9]
        );
        let xs = drawn(dtype, 9999, Distribution::Geometric { p: 0.9 }, 0, 0);
        assert!(xs.iter().all(|x| *x >= 1.0 && x.fract() == 0.0));
        assert_eq!(
            drawn(dtype, 99, Distribution::Bernoulli { p: 1.0 }, 0, 0),
            [1.0; 99]
        );
        assert_eq!(
            drawn(dtype, 99, Distribution::Bernoulli { p: 0.0 }, 0, 0),
            [0.0; 99]
        );
    }
}

#[test]
fn integers_cover_their_range_evenly() {
    let xs = drawn(
        DType::I64,
        70_000,
        Distribution::Integers { low: -3, high: 4 },
        8,
        0,
    );
    let mut counts = [0; 7];
    xs.iter().for_each(|x| counts[(x + 3.0) as usize] += 1);
    let chi2: f64 = counts
        .iter()
        .map(|c| (f64::from(*c) - 1e4).powi(2) / 1e4)
        .sum();
    assert!(chi2 < 30.0, "{counts:?}");
    let wide = Distribution::Integers {
        low: i64::MIN,
        high: i64::MAX,
    };
    let xs = drawn(DType::I64, 10_000, wide, 8, 0);
    let negative = xs.iter().filter(|x| **x < 0.0).count();
    assert!((4700..5300).contains(&negative));
    let one = Distribution::Integers { low: 5, high: 6 };
    assert_eq!(drawn(DType::U8, 4, one, 8, 0), [5.0; 4]);
}

#[test]
fn neighbours_are_not_correlated() {
    let standard = Distribution::Normal {
        mean: 0.0,
        std: 1.0,
    };
    for dtype in [DType::F32, DType::F64] {
        let xs = drawn(dtype, 100_000, standard, 21, 0);
        for lag in [1, 2, 4] {
            let c: f64 = xs.iter().zip(&xs[lag..]).map(|(x, y)| x * y).sum();
            assert!((c / 1e5).abs() < 0.02, "{c}");
        }
    }
}

#[test]
fn permutes() {
    let permutation = |n: usize, seed: u64, offset: u64| {
        let out = Array::full(DType::I64, &[n], -1.0);
        randperm(out.view(), seed, offset);
        let spread = Array::full(DType::I64, &[n], -1.0).scattered();
        randperm(spread.view(), seed, offset);
        assert_eq!(spread.integers(), out.integers());
        out.integers()
    };
    assert!(permutation(0, 1, 0).is_empty());
    assert_eq!(permutation(1, 1, 0), [0]);
    for n in [2, 5, 1000] {
        let p = permutation(n, 1, 0);
        assert_eq!(p, permutation(n, 1, 0));
        let mut sorted = p.clone();
        sorted.sort_unstable();
        assert!(sorted.iter().enumerate().all(|(i, x)| i as i64 == *x));
    }
    assert_ne!(permutation(1000, 1, 0), permutation(1000, 2, 0));
    assert_ne!(permutation(1000, 1, 0), permutation(1000, 1, 1));
    // Each of the six permutations of three about equally often.
    let mut counts = std::collections::BTreeMap::new();
    for seed in 0..6000 {
        *counts.entry(permutation(3, seed, 0)).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 6);
    assert!(
        counts.values().all(|c| (850..1150).contains(c)),
        "{counts:?}"
    );
}

#[test]
fn the_logarithm_and_the_cosine_are_right() {
    let count = 1 << 20;
    for i in 0..count {
        let bits = philox(5, i);
        // Also small arguments, down to the least.
        let shift = i % 24;
        let x = (unit_f64(bits[0], bits[1]) + f64::EPSILON) / (1u64 << shift) as f64;
        let (got, expected) = (Unit::log(x), libm::log(x));
        assert!(
            (got - expected).abs() <= 5e-16 * expected.abs() + 1e-18,
            "log {x}: {got}"
        );
        let (got, expected) = (Unit::log(x as f32), libm::log(f64::from(x as f32)));
        assert!(
            (f64::from(got) - expected).abs() <= 2e-7 * expected.abs(),
            "log {x}: {got}"
        );
        let v = unit_f64(bits[2], bits[3]);
        let (got, expected) = (v.cos_turns(), libm::cos(std::f64::consts::TAU * v));
        assert!((got - expected).abs() <= 2e-15, "cos {v}: {got}");
        let v = unit_f32(bits[2]);
        let expected = libm::cos(std::f64::consts::TAU * f64::from(v));
        assert!(
            (f64::from(v.cos_turns()) - expected).abs() <= 4e-7,
            "cos {v}"
        );
    }
    assert_eq!(Unit::log(1.0f32), 0.0);
    assert_eq!(Unit::log(1.0f64), 0.0);
    for (v, expected) in [(0.0, 1.0), (0.25, 0.0), (0.5, -1.0), (0.75, 0.0)] {
        assert!((Unit::cos_turns(v) - expected).abs() <= 1e-15);
        assert!((f64::from(Unit::cos_turns(v as f32)) - expected).abs() <= 2e-7);
    }
}

#[test]
fn vectors_change_no_number() {
    let mut words = Words([[0; BLOCK]; 4]);
    let (mut fast, mut plain) = ([0.0f32; BLOCK], [0.0f32; BLOCK]);
    draw(&mut fast, &mut words, 9, 77, &normal::<f32>);
    draw_any(&mut plain, &mut words, 9, 77, &normal::<f32>);
    assert_eq!(fast, plain);
    let one_by_one: Vec<f32> = (77..77 + BLOCK as u64)
        .map(|i| normal(philox(9, i)))
        .collect();
    assert_eq!(fast[..], one_by_one);
    let (mut fast, mut plain) = ([0.0f64; BLOCK], [0.0f64; BLOCK]);
    draw(&mut fast, &mut words, 9, 77, &normal::<f64>);
    draw_any(&mut plain, &mut words, 9, 77, &normal::<f64>);
    assert_eq!(fast, plain);
}
