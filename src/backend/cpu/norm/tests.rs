//! Tests of layer norm.

use super::super::testing::{Array, close, epsilon, noise};
use super::*;

const FLOATS: [DType; 4] = [DType::F16, DType::BF16, DType::F32, DType::F64];

struct Case {
    out: Vec<f64>,
    mean: Vec<f64>,
    rstd: Vec<f64>,
}

fn run(x: &Array, weight: Option<&Array>, bias: Option<&Array>, outer: usize, d: DType) -> Case {
    let statistics = if d == DType::F64 {
        DType::F64
    } else {
        DType::F32
    };
    let out = Array::full(d, x.shape(), 9.0);
    let mean = Array::full(statistics, &x.shape()[..outer], 9.0);
    let rstd = mean.scattered();
    let (w, b) = (weight.map(Array::view), bias.map(Array::view));
    layer_norm(
        out.view(),
        mean.view(),
        rstd.view(),
        x.view(),
        w,
        b,
        outer,
        1e-3,
    );
    let scattered = out.scattered();
    layer_norm(
        scattered.view(),
        mean.view(),
        rstd.view(),
        x.view(),
        w,
        b,
        outer,
        1e-3,
    );
    assert!(close(&scattered.values(), &out.values(), 0.0));
    Case {
        out: out.values(),
        mean: mean.values(),
        rstd: rstd.values(),
    }
}

#[test]
fn agrees_with_the_definition() {
    let cases: &[(&[usize], usize)] = &[
        (&[5], 0),
        (&[4, 6], 1),
        (&[2, 3, 20], 2),
        (&[2, 3, 20], 1),
        (&[2, 3, 20], 0),
        (&[3, 1300], 1),
    ];
    for &(shape, outer) in cases {
        let n: usize = shape[outer..].iter().product();
        let numbers = noise(shape.iter().product(), 9);
        let (w, b) = (noise(n, 10), noise(n, 11));
        for dtype in FLOATS {
            let dense = Array::new(dtype, shape, &numbers);
            let weight = Array::new(dtype, &shape[outer..], &w);
            let bias = Array::new(dtype, &shape[outer..], &b).scattered();
            for x in [&dense, &dense.scattered()] {
                for (has_weight, has_bias) in
                    [(false, false), (true, false), (false, true), (true, true)]
                {
                    let weight = has_weight.then_some(&weight);
                    let bias = has_bias.then_some(&bias);
                    let got = run(x, weight, bias, outer, dtype);
                    for (i, lane) in numbers.chunks(n).enumerate() {
                        let mean = lane.iter().sum::<f64>() / n as f64;
                        let var = lane.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
                        let rstd = 1.0 / (var + 1e-3).sqrt();
                        let expected: Vec<f64> = (0..n)
                            .map(|j| {
                                let y = (lane[j] - mean) * rstd;
                                let y = if has_weight { y * w[j] } else { y };
                                if has_bias { y + b[j] } else { y }
                            })
                            .collect();
                        let exact = epsilon(if dtype == DType::F64 {
                            dtype
                        } else {
                            DType::F32
                        });
                        assert!(close(&[got.mean[i]], &[mean], 8.0 * exact));
                        assert!(close(&[got.rstd[i]], &[rstd], 8.0 * exact));
                        let part = &got.out[i * n..(i + 1) * n];
                        // Where weight and bias cancel, the error is that of what cancels: 16.
                        assert!(
                            close(part, &expected, 64.0 * epsilon(dtype)),
                            "{shape:?} {dtype}"
                        );
                    }
                }
            }
        }
    }
}

/// The difference of the mean square and the squared mean would be noise next to such a mean.
#[test]
fn keeps_the_variance_next_to_a_large_mean() {
    let numbers: Vec<f64> = (0..1000).map(|i| 1e6 + f64::from(i % 2)).collect();
    let x = Array::new(DType::F32, &[1, 1000], &numbers);
    let got = run(&x, None, None, 1, DType::F32);
    assert!(close(&got.rstd, &[1.0 / (0.25f64 + 1e-3).sqrt()], 1e-6));
}

/// The first elements say little of the mean, or all: the variance is as good.
#[test]
fn finds_the_mean_far_from_the_first_elements() {
    let noise = noise(1100, 3);
    let rows: [fn(usize) -> f64; 4] = [
        |i| if i < 40 { 3e4 } else { 0.0 },
        |i| if i == 0 { 1e6 } else { 0.0 },
        |i| i as f64,
        |i| if i < 40 { 0.0 } else { 1e5 },
    ];
    for n in [33, 64, 100, 1100] {
        for row in rows {
            let numbers: Vec<f64> = (0..n)
                .map(|i| f64::from((row(i) + noise[i]) as f32))
                .collect();
            let mean = numbers.iter().sum::<f64>() / n as f64;
            let var = numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
            let x = Array::new(DType::F32, &[1, n], &numbers);
            let got = run(&x, None, None, 1, DType::F32);
            let tolerance = 8.0 * epsilon(DType::F32);
            // What counts is the mean's error next to the deviation.
            let off = (got.mean[0] - mean).abs();
            assert!(off <= tolerance * (mean.abs() + var.sqrt()), "{n}: {off}");
            let rstd = 1.0 / (var + 1e-3).sqrt();
            assert!(close(&got.rstd, &[rstd], tolerance), "{n}: {rstd}");
        }
    }
}

#[test]
fn takes_nothing_constants_and_nan() {
    let x = Array::new(DType::F32, &[0, 3], &[]);
    assert!(run(&x, None, None, 1, DType::F32).out.is_empty());
    let got = run(
        &Array::new(DType::F32, &[2, 0], &[]),
        None,
        None,
        1,
        DType::F32,
    );
    assert!(got.out.is_empty() && got.mean.iter().all(|x| x.is_nan()));
    let got = run(
        &Array::full(DType::F32, &[2, 3], 4.0),
        None,
        None,
        1,
        DType::F32,
    );
    assert_eq!(got.out, [0.0; 6]);
    assert!(close(&got.rstd, &[1e-3f64.sqrt().recip(); 2], 1e-6));
    let x = Array::new(DType::F32, &[2, 2], &[f64::NAN, 1.0, 1.0, 1.0]);
    let got = run(&x, None, None, 1, DType::F32).out;
    assert!(got[0].is_nan() && got[1].is_nan() && got[2] == 0.0 && got[3] == 0.0);
}
