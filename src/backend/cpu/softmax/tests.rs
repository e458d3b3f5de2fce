//! Tests of softmax and its derivatives.

use super::super::testing::{Array, close, epsilon, groups, noise, same};
use super::*;

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;
const FLOATS: [DType; 4] = [DType::F16, DType::BF16, DType::F32, DType::F64];

fn forward(log: bool, x: &Array, dim: usize, dtype: DType) -> Vec<f64> {
    let out = Array::full(dtype, x.shape(), 9.0);
    softmax(log, out.view(), x.view(), dim);
    let scattered = out.scattered();
    softmax(log, scattered.view(), x.scattered().view(), dim);
    let tolerance = 4.0 * epsilon(dtype);
    assert!(close(&scattered.values(), &out.values(), tolerance));
    out.values()
}

/// Applies `f` to each lane of `ins` along `dim`.
fn by_lanes(
    shape: &[usize],
    dim: usize,
    ins: &[&[f64]],
    f: impl Fn(&[Vec<f64>]) -> Vec<f64>,
) -> Vec<f64> {
    let dims: &[usize] = if shape.is_empty() { &[] } else { &[dim] };
    let mut out = vec![0.0; ins[0].len()];
    for group in groups(shape, dims) {
        let lanes: Vec<Vec<f64>> = ins
            .iter()
            .map(|x| group.iter().map(|i| x[*i]).collect())
            .collect();
        for (i, y) in group.iter().zip(f(&lanes)) {
            out[*i] = y;
        }
    }
    out
}

fn written_out(log: bool, x: &[f64]) -> Vec<f64> {
    let top = x.iter().copied().fold(-INF, f64::max);
    let sum: f64 = x.iter().map(|x| (x - top).exp()).sum();
    x.iter()
        .map(|x| {
            if log {
                x - top - sum.ln()
            } else {
                (x - top).exp() / sum
            }
        })
        .collect()
}

const SHAPES: &[&[usize]] = &[
    &[],
    &[1],
    &[5],
    &[1200],
    &[3, 4],
    &[7, 100],
    &[100, 7],
    &[9, 70],
    &[2, 6, 40],
    &[3, 1, 4],
];

#[test]
fn agrees_with_the_definition_along_any_dimension() {
    for shape in SHAPES {
        let numbers = noise(shape.iter().product(), 6);
        for dtype in FLOATS {
            let x = Array::new(dtype, shape, &numbers);
            for dim in 0..shape.len().max(1) {
                for log in [false, true] {
                    let got = forward(log, &x, dim, dtype);
                    let expected = by_lanes(shape, dim, &[&numbers], |l| written_out(log, &l[0]));
                    let tolerance = 4.0 * epsilon(dtype);
                    assert!(close(&got, &expected, tolerance), "{shape:?} {dim} {dtype}");
                }
            }
        }
    }
}

#[test]
fn derivative_agrees_with_the_formula() {
    for shape in SHAPES {
        let count = shape.iter().product();
        let (g, x) = (noise(count, 7), noise(count, 8));
        for dtype in FLOATS {
            for dim in 0..shape.len().max(1) {
                for log in [false, true] {
                    let x = Array::new(dtype, shape, &x);
                    let y = Array::new(dtype, shape, &forward(log, &x, dim, dtype));
                    let g = Array::new(dtype, shape, &g);
                    let out = Array::full(dtype, shape, 9.0);
                    softmax_backward(log, out.view(), g.view(), y.view(), dim);
                    let (gs, ys) = (g.scattered(), y.scattered());
                    let scattered = out.scattered();
                    softmax_backward(log, scattered.view(), gs.view(), ys.view(), dim);
                    let formula = |lanes: &[Vec<f64>]| -> Vec<f64> {
                        let (g, y) = (&lanes[0], &lanes[1]);
                        let terms = g.iter().zip(y);
                        if log {
                            let sum: f64 = g.iter().sum();
                            terms.map(|(g, y)| g - y.exp() * sum).collect()
                        } else {
                            let dot: f64 = g.iter().zip(y).map(|(g, y)| g * y).sum();
                            terms.map(|(g, y)| y * (g - dot)).collect()
                        }
                    };
                    let expected = by_lanes(shape, dim, &[&g.values(), &y.values()], formula);
                    let tolerance = 16.0 * epsilon(dtype);
                    assert!(
                        close(&out.values(), &expected, tolerance),
                        "{shape:?} {dim} {dtype}"
                    );
                    assert!(
                        close(&scattered.values(), &expected, tolerance),
                        "{shape:?} {dim}"
                    );
                }
            }
        }
    }
}

#[test]
fn meets_what_is_not_finite() {
    for dtype in FLOATS {
        for (x, y) in [
            ([-INF, -INF, -INF], [NAN, NAN, NAN]),
            ([-INF, 1.0, 1.0], [0.0, 0.5, 0.5]),
            ([INF, 1.0, 1.0], [NAN, NAN, NAN]),
            ([NAN, 1.0, 1.0], [NAN, NAN, NAN]),
            ([1000.0, 1000.0, -1000.0], [0.5, 0.5, 0.0]),
        ] {
            let lane = Array::new(dtype, &[3], &x);
            assert!(same(&forward(false, &lane, 0, dtype), &y), "{x:?} {dtype}");
            // The same as the columns of a matrix.
            let columns = Array::new(dtype, &[3, 1], &x).expand(&[3, 20]);
            let got = forward(false, &columns, 0, dtype);
            let expected: Vec<f64> = y.iter().flat_map(|y| [*y; 20]).collect();
            assert!(same(&got, &expected), "{x:?} {dtype}");
        }
        // Wherever it is in a longer lane.
        for n in [32, 33, 100] {
            for at in [0, n / 2, n - 1] {
                let mut lane = vec![1.0; n];
                lane[at] = NAN;
                let lane = Array::new(dtype, &[n], &lane);
                for log in [false, true] {
                    let got = forward(log, &lane, 0, dtype);
                    assert!(got.iter().all(|y| y.is_nan()), "{n} {at} {dtype}");
                }
            }
        }
        let x = Array::new(dtype, &[2], &[0.0, -INF]);
        assert_eq!(forward(true, &x, 0, dtype), [0.0, -INF]);
    }
}

#[test]
fn takes_nothing_and_another_dtype() {
    for shape in [[0, 3], [3, 0]] {
        let x = Array::new(DType::F32, &shape, &[]);
        assert!(forward(false, &x, 0, DType::F32).is_empty());
        assert!(forward(true, &x, 1, DType::F32).is_empty());
    }
    let x = Array::new(DType::F16, &[2], &[0.0, 1.0]);
    let wide = forward(false, &x, 0, DType::F32);
    assert!(close(&wide, &written_out(false, &[0.0, 1.0]), 1e-7));
}
