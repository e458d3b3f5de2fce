//! Tests of the matrix products.

use super::super::testing::{Array, close, noise, same};
use super::*;

const PRODUCTS: [DType; 9] = [
    DType::U8,
    DType::I8,
    DType::I16,
    DType::I32,
    DType::I64,
    DType::F16,
    DType::BF16,
    DType::F32,
    DType::F64,
];

fn shape(lead: &[usize], rows: usize, columns: usize) -> Vec<usize> {
    [lead, &[rows, columns]].concat()
}

fn run(a: &Array, b: &Array, dtype: DType) -> Vec<f64> {
    let n = a.shape().len();
    let shape = shape(&a.shape()[..n - 2], a.shape()[n - 2], b.shape()[n - 1]);
    let out = Array::full(dtype, &shape, 9.0);
    matmul(out.view(), a.view(), b.view(), None);
    let scattered = out.scattered();
    matmul(scattered.view(), a.view(), b.view(), None);
    assert!(close(&scattered.values(), &out.values(), 1e-6));
    let turned = out.transpose(n - 2, n - 1);
    let turned = Array::full(dtype, turned.shape(), 8.0).transpose(n - 2, n - 1);
    matmul(turned.view(), a.view(), b.view(), None);
    assert!(close(&turned.values(), &out.values(), 1e-6));
    out.values()
}

/// One number for each column, and one for each row, repeated along the others, and one for each
/// element.
fn biases(dtype: DType, shape: &[usize]) -> Vec<Array> {
    let last = shape.len() - 1;
    let all = Array::new(dtype, shape, &noise(shape.iter().product(), 5));
    let across: Vec<usize> = vec![1; last];
    let column = [&shape[last - 1..last], &[1]].concat();
    vec![
        Array::new(
            dtype,
            &[&across[..], &shape[last..]].concat(),
            &noise(shape[last], 3),
        )
        .expand(shape),
        Array::new(
            dtype,
            &[&across[1..], &column].concat(),
            &noise(column[0], 4),
        )
        .expand(shape),
        all,
    ]
}

fn written_out(a: &Array, b: &Array) -> Vec<f64> {
    let n = a.shape().len();
    let [m, k] = [a.shape()[n - 2], a.shape()[n - 1]];
    let columns = b.shape()[n - 1];
    let batches: usize = a.shape()[..n - 2].iter().product();
    let (a, b) = (a.values(), b.values());
    let mut out = Vec::new();
    for batch in 0..batches {
        for i in 0..m {
            for j in 0..columns {
                let term = |l| a[(batch * m + i) * k + l] * b[(batch * k + l) * columns + j];
                out.push((0..k).map(term).sum());
            }
        }
    }
    out
}

/// Operands hold eighths, so that sums of products are exact in `f32`.
fn check(a: &Array, b: &Array, dtype: DType) {
    let got = run(a, b, dtype);
    let sums = written_out(a, b);
    let rounded = |values: &[f64]| Array::new(dtype, &[values.len()], values).values();
    let shapes = format!("{:?} {:?} {dtype}", a.shape(), b.shape());
    assert!(same(&got, &rounded(&sums)), "{shapes}");
    let n = a.shape().len();
    let shape = shape(&a.shape()[..n - 2], a.shape()[n - 2], b.shape()[n - 1]);
    for bias in biases(dtype, &shape) {
        let out = Array::full(dtype, &shape, 9.0);
        matmul(out.view(), a.view(), b.view(), Some(bias.view()));
        let with_bias: Vec<f64> = (sums.iter().zip(bias.values()))
            .map(|(x, y)| x + y)
            .collect();
        assert!(same(&out.values(), &rounded(&with_bias)), "bias, {shapes}");
    }
}

#[test]
fn agrees_with_loops_at_any_size() {
    let sizes = [1, 2, 3, 7, 8, 9, 17, 40];
    for dtype in [DType::F32, DType::F64, DType::BF16] {
        for m in sizes {
            for n in sizes {
                for k in [1, 2, 8, 9, 33] {
                    let a = Array::new(dtype, &[m, k], &noise(m * k, 1));
                    let b = Array::new(dtype, &[k, n], &noise(k * n, 2));
                    check(&a, &b, dtype);
                }
            }
        }
        let a = Array::new(dtype, &[130, 70], &noise(9100, 1));
        let b = Array::new(dtype, &[70, 150], &noise(10500, 2));
        check(&a, &b, dtype);
    }
}

#[test]
fn reads_any_strides() {
    for dtype in [DType::F16, DType::F32, DType::F64, DType::I32] {
        for (m, n, k) in [
            (3, 4, 5),
            (12, 20, 9),
            (12, 100, 33),
            (1, 20, 9),
            (20, 1, 9),
            (600, 1, 3),
            (1, 600, 20),
            (20, 130, 140),
            (6, 7, 5000),
        ] {
            let numbers = |n, seed| -> Vec<f64> {
                let round = |x: &f64| if dtype.is_float() { *x } else { x.floor() };
                noise(n, seed).iter().map(round).collect()
            };
            let a = Array::new(dtype, &[m, k], &numbers(m * k, 1));
            let b = Array::new(dtype, &[k, n], &numbers(k * n, 2));
            let a_turned = Array::new(dtype, &[k, m], &numbers(m * k, 1)).transpose(0, 1);
            let b_turned = Array::new(dtype, &[n, k], &numbers(n * k, 2)).transpose(0, 1);
            let a_row = Array::new(dtype, &[1, k], &numbers(k, 1)).expand(&[m, k]);
            let b_column = Array::new(dtype, &[k, 1], &numbers(k, 1)).expand(&[k, n]);
            for a in [&a, &a_turned, &a.scattered(), &a_row] {
                for b in [&b, &b_turned, &b.scattered(), &b_column] {
                    check(a, b, dtype);
                }
            }
        }
    }
}

#[test]
fn multiplies_batches() {
    for dtype in PRODUCTS {
        let floor = |x: &f64| x.abs().floor();
        let a: Vec<f64> = noise(2 * 3 * 4 * 5, 1).iter().map(floor).collect();
        let b: Vec<f64> = noise(2 * 3 * 5 * 9, 2).iter().map(floor).collect();
        let a = Array::new(dtype, &[2, 3, 4, 5], &a);
        let b = Array::new(dtype, &[2, 3, 5, 9], &b);
        check(&a, &b, dtype);
        check(&a.scattered(), &b, dtype);
        check(&a.transpose(0, 1), &b.transpose(0, 1), dtype);
        let one = Array::new(dtype, &[1, 1, 5, 9], &b.values()[..45]).expand(&[2, 3, 5, 9]);
        check(&a, &one, dtype);
        let one = Array::new(dtype, &[1, 3, 4, 5], &a.values()[..60]).expand(&[2, 3, 4, 5]);
        check(&one, &b, dtype);
        check(&one, &one.transpose(2, 3), dtype);
    }
}

#[test]
fn gives_zeros_for_an_empty_sum() {
    for dtype in PRODUCTS {
        let a = Array::new(dtype, &[2, 3, 0], &[]);
        let b = Array::new(dtype, &[2, 0, 4], &[]);
        assert_eq!(run(&a, &b, dtype), [0.0; 24]);
        for (m, n) in [(0, 3), (3, 0), (0, 0)] {
            let a = Array::new(dtype, &[m, 2], &vec![1.0; 2 * m]);
            let b = Array::new(dtype, &[2, n], &vec![1.0; 2 * n]);
            assert!(run(&a, &b, dtype).is_empty());
        }
        let a = Array::new(dtype, &[0, 3, 2], &[]);
        let b = Array::new(dtype, &[0, 2, 3], &[]);
        assert!(run(&a, &b, dtype).is_empty());
    }
}

#[test]
fn integers_wrap() {
    let a = Array::ints(DType::I64, &[1, 2], &[i64::MAX, 3]);
    let b = Array::ints(DType::I64, &[2, 1], &[2, 1]);
    let out = Array::full(DType::I64, &[1, 1], 0.0);
    matmul(out.view(), a.view(), b.view(), None);
    assert_eq!(out.integers(), [1]);
    let a = Array::ints(DType::U8, &[1, 2], &[200, 100]);
    let b = Array::ints(DType::U8, &[2, 1], &[2, 1]);
    assert_eq!(run(&a, &b, DType::U8), [f64::from((500 % 256) as u8)]);
}

/// A zero in one operand does not hide what is not finite in the other.
#[test]
fn keeps_nan_and_infinity() {
    for n in [2, 20] {
        let mut numbers = vec![1.0; n * n];
        numbers[1] = f64::INFINITY;
        let a = Array::new(DType::F32, &[n, n], &numbers);
        let b = Array::full(DType::F32, &[n, n], 0.0);
        let got = run(&a, &b, DType::F32);
        assert!(got[..n].iter().all(|x| x.is_nan()));
        assert!(got[n..].iter().all(|x| *x == 0.0));
    }
}

/// What was in the output, NaN too, is gone.
#[test]
fn overwrites_the_output() {
    for n in [1, 3, 30] {
        for dtype in [DType::F16, DType::F32] {
            let a = Array::full(dtype, &[n, n], 1.0);
            let out = Array::full(dtype, &[n, n], f64::NAN);
            matmul(out.view(), a.view(), a.view(), None);
            assert_eq!(out.values(), vec![n as f64; n * n]);
        }
    }
}
