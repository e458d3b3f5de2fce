//! Tests of the matrix products.

use super::super::testing::{Array, close, epsilon, noise, same};
use super::kernel::{BaseF32, BaseF64, Kernel};
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
    matmul(out.view(), a.view(), b.view(), None, false);
    let scattered = out.scattered();
    matmul(scattered.view(), a.view(), b.view(), None, false);
    assert!(close(&scattered.values(), &out.values(), 1e-6));
    let turned = out.transpose(n - 2, n - 1);
    let turned = Array::full(dtype, turned.shape(), 8.0).transpose(n - 2, n - 1);
    matmul(turned.view(), a.view(), b.view(), None, false);
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
        matmul(out.view(), a.view(), b.view(), Some(bias.view()), false);
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
    for dtype in [DType::F16, DType::BF16, DType::F32, DType::F64, DType::I32] {
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
    matmul(out.view(), a.view(), b.view(), None, false);
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
            matmul(out.view(), a.view(), a.view(), None, false);
            assert_eq!(out.values(), vec![n as f64; n * n]);
        }
    }
}

const FLOATS: [DType; 4] = [DType::F16, DType::BF16, DType::F32, DType::F64];

/// Both operands as they are, and as transposes of others.
fn turns(dtype: DType, [m, n, k]: [usize; 3], numbers: fn(usize, u64) -> Vec<f64>) -> [Array; 4] {
    let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
    [
        Array::new(dtype, &[m, k], &a),
        Array::new(dtype, &[k, m], &a).transpose(0, 1),
        Array::new(dtype, &[k, n], &b),
        Array::new(dtype, &[n, k], &b).transpose(0, 1),
    ]
}

/// Several tiles, and chunks of sums, the last ones cut; operands packed and in place, columns at
/// distances of powers of two, and of an odd number of terms.
#[test]
fn agrees_with_loops_across_tiles() {
    for dtype in [DType::BF16, DType::F32, DType::F64] {
        for sizes in [
            [70, 35, 256],
            [129, 515, 7],
            [200, 64, 129],
            [12, 600, 20],
            [600, 12, 20],
            [3, 200, 1024],
            [33, 1, 700],
            [40, 48, 5001],
            [180, 190, 2100],
        ] {
            let [a, a_turned, b, b_turned] = turns(dtype, sizes, noise);
            check(&a, &b, dtype);
            check(&a_turned, &b_turned, dtype);
        }
    }
}

/// Numbers between -1 and 1 with all digits.
fn fine(n: usize, seed: u64) -> Vec<f64> {
    let numbers = noise(2 * n, seed);
    let pairs = numbers.chunks(2);
    pairs.map(|x| (x[0] + x[1] / 3.0) / 6.0).collect()
}

/// A sum of `k` products is as near as `k` roundings of its terms allow, and one of the result.
#[test]
fn errs_by_roundings_alone() {
    for dtype in FLOATS {
        for sizes in [[5, 6, 7], [20, 33, 100], [64, 70, 501], [9, 17, 4500]] {
            let k = sizes[2] as f64;
            let [a, a_turned, b, b_turned] = turns(dtype, sizes, fine);
            let absolute = |x: &Array| {
                let numbers: Vec<f64> = x.values().iter().map(|x| x.abs()).collect();
                Array::new(dtype, x.shape(), &numbers)
            };
            for (a, b) in [(&a, &b), (&a_turned, &b), (&a, &b_turned)] {
                let exact = written_out(a, b);
                let bounds = written_out(&absolute(a), &absolute(b));
                let sum = epsilon(dtype).min(epsilon(DType::F32)) * (k + 1.0);
                let tolerance =
                    |x: f64, bound: f64| 1.01 * (sum * bound + epsilon(dtype) * x.abs()) + 1e-7;
                for ((got, x), bound) in run(a, b, dtype).iter().zip(&exact).zip(&bounds) {
                    assert!(
                        (got - x).abs() <= tolerance(*x, *bound),
                        "{sizes:?} {dtype}"
                    );
                }
            }
        }
    }
}

/// See NOTE [Threads].
#[test]
fn does_not_depend_on_threads() {
    let before = threads::num_threads();
    for dtype in FLOATS {
        for sizes in [
            [150, 140, 60],
            [20, 300, 70],
            [8, 16, 5000],
            [600, 530, 9],
            [220, 210, 530],
        ] {
            let [a, _, b, b_turned] = turns(dtype, sizes, fine);
            for b in [b, b_turned] {
                let [one, two, three] = [1, 2, 3].map(|n| {
                    threads::set_num_threads(n);
                    run(&a, &b, dtype)
                });
                assert!(one == two && one == three, "{sizes:?} {dtype}");
            }
        }
    }
    threads::set_num_threads(before);
}

/// See NOTE [Order of summation].
#[test]
fn does_not_depend_on_strides() {
    for dtype in FLOATS {
        let [a, _, b, _] = turns(dtype, [70, 90, 301], fine);
        let in_columns = |x: &Array| {
            let [m, n] = [x.shape()[0], x.shape()[1]];
            Array::new(dtype, &[n, m], &x.transpose(0, 1).values()).transpose(0, 1)
        };
        let (a_turned, b_turned) = (in_columns(&a), in_columns(&b));
        let bits = run(&a, &b, dtype);
        for (a, b) in [
            (&a_turned, &b),
            (&a, &b_turned),
            (&a_turned, &b_turned),
            (&a.scattered(), &b.scattered()),
        ] {
            assert!(run(a, b, dtype) == bits, "{dtype}");
        }
        let first = Array::new(dtype, &[9, 301], &a.values()[..9 * 301]);
        assert!(run(&first, &b, dtype) == bits[..9 * 90], "{dtype}");
    }
}

/// What is not finite stays in its row and column, also beside the cut edges of blocks.
#[test]
fn keeps_rows_and_columns_apart() {
    for dtype in FLOATS {
        for [m, n, k] in [[10, 37, 5], [66, 21, 40], [9, 9, 9]] {
            for bad in [f64::NAN, f64::INFINITY] {
                let (row, column) = (m - 1, n - 1);
                let mut a = vec![1.0; m * k];
                a[row * k + k - 1] = bad;
                let mut b = vec![1.0; k * n];
                b[column] = bad;
                let a = Array::new(dtype, &[m, k], &a);
                let b = Array::new(dtype, &[k, n], &b);
                for (i, x) in run(&a, &b, dtype).iter().enumerate() {
                    let touched = i / n == row || i % n == column;
                    assert_eq!(x.is_finite(), !touched, "{m} {n} {k} {dtype} {bad}");
                }
            }
        }
    }
}

/// The product by one kernel.
fn by<K: Kernel>(sizes @ [m, n, k]: [usize; 3], a: &[K::Element], b: &[K::Element]) -> Vec<K::Sum> {
    assert_eq!([a.len(), b.len()], [m * k, k * n]);
    let mut out = vec![K::Sum::default(); m * n];
    let c = Target {
        to: Matrix::in_rows(out.as_mut_ptr(), n),
        bias: None,
        relu: false,
    };
    let (a, b) = (a.as_ptr().cast_mut(), b.as_ptr().cast_mut());
    let [a, b] = [Matrix::in_rows(a, k), Matrix::in_rows(b, n)];
    // SAFETY: the matrices are as large as their sizes say, and the callers have asked for the
    // kernel's instructions.
    unsafe { tiles::product::<K, K::Sum>(sizes, c, a, b) };
    out
}

/// The kernels of all instruction sets that this processor has.
#[test]
fn kernels_agree() {
    for sizes @ [m, n, k] in [[2, 3, 4], [9, 40, 33], [13, 70, 8], [30, 5, 101]] {
        let (a, b) = (noise(m * k, 1), noise(k * n, 2));
        let doubles = by::<BaseF64>(sizes, &a, &b);
        let [a32, b32] = [&a, &b].map(|x| x.iter().map(|&x| x as f32).collect::<Vec<_>>());
        let singles = by::<BaseF32>(sizes, &a32, &b32);
        let rounded: Vec<f32> = doubles.iter().map(|&x| x as f32).collect();
        assert_eq!(singles, rounded);
        #[cfg(target_arch = "x86_64")]
        {
            use super::kernel::multiplies_tiles;
            use super::kernel::{AmxBf16, Avx2F32, Avx2F64, Avx512Bf16, Avx512F32, Avx512F64};
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                assert_eq!(by::<Avx2F32>(sizes, &a32, &b32), singles);
                assert_eq!(by::<Avx2F64>(sizes, &a, &b), doubles);
            }
            if is_x86_feature_detected!("avx512f") {
                assert_eq!(by::<Avx512F32>(sizes, &a32, &b32), singles);
                assert_eq!(by::<Avx512F64>(sizes, &a, &b), doubles);
            }
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16") {
                let [a, b] = [&a, &b].map(|x| x.iter().map(|&x| bf16::from_f64(x)).collect());
                let (a, b): (Vec<_>, Vec<_>) = (a, b);
                assert_eq!(by::<Avx512Bf16>(sizes, &a, &b), singles);
                if multiplies_tiles() {
                    assert_eq!(by::<AmxBf16>(sizes, &a, &b), singles);
                }
            }
        }
    }
}
