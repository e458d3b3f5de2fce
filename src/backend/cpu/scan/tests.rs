//! Tests of the scans.

use super::super::testing::{Array, close, epsilon, groups, noise, same, same_bits};
use super::*;

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;
const FLOATS: [DType; 4] = [DType::F16, DType::BF16, DType::F32, DType::F64];

/// Values and positions.
fn run(f: Scan, x: &Array, dim: usize, out: DType) -> (Vec<f64>, Vec<i64>) {
    let values = Array::full(out, x.shape(), 9.0);
    let index = Array::full(DType::I64, x.shape(), 9.0);
    let wants = matches!(f, Scan::Max | Scan::Min);
    scan(f, values.view(), wants.then(|| index.view()), x.view(), dim);
    let (v, i) = (values.scattered(), index.scattered());
    scan(
        f,
        v.view(),
        wants.then(|| i.view()),
        x.scattered().view(),
        dim,
    );
    assert!(same(&v.values(), &values.values()));
    assert_eq!(i.integers(), index.integers());
    (values.values(), index.integers())
}

#[test]
fn agrees_with_loops_along_any_dimension() {
    let shapes: &[&[usize]] = &[
        &[1],
        &[9],
        &[1030],
        &[3, 4],
        &[3, 300],
        &[300, 3],
        &[30, 270],
        &[2, 5, 9],
    ];
    for shape in shapes {
        let numbers = noise(shape.iter().product(), 5);
        for dim in 0..shape.len() {
            for dtype in [DType::F32, DType::F64] {
                let x = Array::new(dtype, shape, &numbers);
                for f in [Scan::Sum, Scan::Max, Scan::Min, Scan::LogSumExp] {
                    let (got, index) = run(f, &x, dim, dtype);
                    for group in groups(shape, &[dim]) {
                        let mut position = 0;
                        for i in 0..group.len() {
                            let so_far: Vec<f64> =
                                group[..=i].iter().map(|g| numbers[*g]).collect();
                            let best = so_far[position];
                            let expected = match f {
                                Scan::Sum => so_far.iter().sum(),
                                Scan::LogSumExp => so_far.iter().map(|x| x.exp()).sum::<f64>().ln(),
                                Scan::Max => so_far.iter().copied().fold(-INF, f64::max),
                                _ => so_far.iter().copied().fold(INF, f64::min),
                            };
                            assert!(
                                close(&[got[group[i]]], &[expected], 1e3 * epsilon(DType::F64))
                                    || dtype == DType::F32
                                        && close(&[got[group[i]]], &[expected], 1e-7),
                                "{f:?} of {shape:?} along {dim}"
                            );
                            if (f == Scan::Max && so_far[i] >= best)
                                || (f == Scan::Min && so_far[i] <= best)
                            {
                                position = i;
                            }
                            if matches!(f, Scan::Max | Scan::Min) {
                                assert_eq!(index[group[i]], position as i64);
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn takes_every_dtype() {
    for dtype in DType::ALL {
        let x = Array::new(dtype, &[4], &[1.0, 0.0, 1.0, 1.0]);
        let out = if dtype.is_float() { dtype } else { DType::I64 };
        assert_eq!(
            run(Scan::Sum, &x, 0, out).0,
            [1.0, 1.0, 2.0, 3.0],
            "{dtype}"
        );
        assert_eq!(
            run(Scan::Prod, &x, 0, out).0,
            [1.0, 0.0, 0.0, 0.0],
            "{dtype}"
        );
        let (values, index) = run(Scan::Max, &x, 0, dtype);
        assert_eq!((values, index), (vec![1.0; 4], vec![0, 0, 2, 3]), "{dtype}");
        let (values, index) = run(Scan::Min, &x, 0, dtype);
        assert_eq!(values, [1.0, 0.0, 0.0, 0.0], "{dtype}");
        assert_eq!(index, [0, 1, 1, 1], "{dtype}");
    }
    let x = Array::ints(DType::I64, &[3], &[i64::MAX, 1, 2]);
    let out = Array::full(DType::I64, &[3], 0.0);
    scan(Scan::Sum, out.view(), None, x.view(), 0);
    assert_eq!(out.integers(), [i64::MAX, i64::MIN, i64::MIN + 2]);
    scan(Scan::Prod, out.view(), None, x.view(), 0);
    assert_eq!(out.integers(), [i64::MAX, i64::MAX, -2]);
}

#[test]
fn keeps_nan_once_met() {
    for dtype in FLOATS {
        let x = Array::new(dtype, &[6], &[2.0, -INF, NAN, 7.0, NAN, INF]);
        let (values, index) = run(Scan::Max, &x, 0, dtype);
        assert!(same(&values, &[2.0, 2.0, NAN, NAN, NAN, NAN]));
        assert_eq!(index, [0, 0, 2, 2, 4, 4]);
        let (values, index) = run(Scan::Min, &x, 0, dtype);
        assert!(same(&values, &[2.0, -INF, NAN, NAN, NAN, NAN]));
        assert_eq!(index, [0, 1, 2, 2, 4, 4]);
        let x = Array::new(dtype, &[4], &[-INF, -INF, 0.0, INF]);
        assert_eq!(run(Scan::LogSumExp, &x, 0, dtype).0, [-INF, -INF, 0.0, INF]);
        assert_eq!(
            run(Scan::Max, &x, 0, dtype),
            (vec![-INF, -INF, 0.0, INF], vec![0, 1, 2, 3])
        );
    }
}

/// Against the plain loop, bit for bit: along one lane, short lanes, lanes side by side.
#[test]
fn extrema_of_ties_zeros_and_nan() {
    let shapes: &[(&[usize], usize)] = &[
        (&[1030], 0),
        (&[3, 700], 1),
        (&[60, 21], 1),
        (&[300, 20], 0),
        (&[700, 3], 0),
    ];
    for &(shape, dim) in shapes {
        for dtype in [DType::F16, DType::BF16, DType::F32, DType::F64, DType::I64] {
            let special = |i: usize| match i % 331 {
                7 | 100 => -0.0,
                8 | 101 => 0.0,
                330 if dtype.is_float() => NAN,
                i => 7.0 - (i / 40) as f64,
            };
            let noise = noise(shape.iter().product(), 11);
            let numbers: Vec<f64> = (noise.iter().enumerate())
                .map(|(i, x)| if i % 3 == 0 { special(i) } else { x.round() })
                .collect();
            let x = Array::new(dtype, shape, &numbers);
            let x_values = x.values();
            for f in [Scan::Max, Scan::Min] {
                let (values, index) = run(f, &x, dim, dtype);
                for group in groups(shape, &[dim]) {
                    let mut best = 0;
                    for (i, &at) in group.iter().enumerate() {
                        let (new, old) = (x_values[at], x_values[group[best]]);
                        let passes = if f == Scan::Max {
                            new >= old
                        } else {
                            new <= old
                        };
                        if passes || new.is_nan() {
                            best = i;
                        }
                        let want = x_values[group[best]];
                        assert_eq!(index[at], best as i64, "{f:?} of {dtype} {shape:?}");
                        assert!(
                            same_bits(&values[at..=at], &[want]),
                            "{f:?} of {dtype} {shape:?}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn scans_scalars_nothing_and_strides_of_zero() {
    let x = Array::new(DType::F32, &[], &[5.0]);
    assert_eq!(run(Scan::Sum, &x, 0, DType::F32).0, [5.0]);
    assert_eq!(run(Scan::Max, &x, 0, DType::F32), (vec![5.0], vec![0]));
    for shape in [[0, 3], [3, 0]] {
        let x = Array::new(DType::F32, &shape, &[]);
        assert!(run(Scan::Sum, &x, 0, DType::F32).0.is_empty());
        assert!(run(Scan::Max, &x, 1, DType::F32).0.is_empty());
    }
    let x = Array::new(DType::F32, &[1, 2], &[1.0, 2.0]).expand(&[3, 2]);
    assert_eq!(
        run(Scan::Sum, &x, 0, DType::F32).0,
        [1.0, 2.0, 2.0, 4.0, 3.0, 6.0]
    );
    assert_eq!(
        run(Scan::Sum, &x, 1, DType::F32).0,
        [1.0, 3.0, 1.0, 3.0, 1.0, 3.0]
    );
}

/// Halves accumulate in `f32`: in `f16`, adding ones to 2048 would change nothing.
#[test]
fn accumulates_in_a_wider_type() {
    let x = Array::full(DType::F16, &[3000], 1.0);
    assert_eq!(run(Scan::Sum, &x, 0, DType::F16).0[2999], 3000.0);
    let x = Array::full(DType::F32, &[40000], f64::from(0.1f32));
    let last = run(Scan::Sum, &x, 0, DType::F32).0[39999];
    assert!(close(&[last], &[40000.0 * f64::from(0.1f32)], 1e-7));
}
