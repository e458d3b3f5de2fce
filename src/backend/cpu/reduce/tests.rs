//! Tests of the reductions.

use super::super::testing::{Array, close, epsilon, groups, noise, same};
use super::*;

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;
const FLOATS: [DType; 4] = [DType::F16, DType::BF16, DType::F32, DType::F64];

fn run(f: Reduction, x: &Array, dims: &[usize], out: DType) -> Array {
    let shape: Vec<usize> = (0..x.shape().len())
        .map(|d| if dims.contains(&d) { 1 } else { x.shape()[d] })
        .collect();
    let dense = Array::full(out, &shape, 3.0);
    reduce(f, dense.view(), x.view(), dims);
    let scattered = dense.scattered();
    reduce(f, scattered.view(), x.view(), dims);
    assert!(same(&dense.values(), &scattered.values()));
    dense
}

fn written_out(f: Reduction, x: &[f64]) -> f64 {
    let extremum = |better: fn(f64, f64) -> bool| {
        let mut best = 0;
        for (i, v) in x.iter().enumerate() {
            if !x[best].is_nan() && (v.is_nan() || better(*v, x[best])) {
                best = i;
            }
        }
        best
    };
    let truth = |b: bool| f64::from(u8::from(b));
    match f {
        Reduction::Sum => x.iter().sum(),
        Reduction::SumNumbers => x.iter().filter(|x| !x.is_nan()).sum(),
        Reduction::SumSquares => x.iter().map(|x| x * x).sum(),
        Reduction::SquaredDistances => {
            let mean = x.iter().sum::<f64>() / x.len() as f64;
            x.iter().map(|x| (x - mean).powi(2)).sum()
        }
        Reduction::Prod => x.iter().product(),
        Reduction::Max => x[extremum(|a, b| a > b)],
        Reduction::Min => x[extremum(|a, b| a < b)],
        Reduction::ArgMax => extremum(|a, b| a > b) as f64,
        Reduction::ArgMin => extremum(|a, b| a < b) as f64,
        Reduction::Any => truth(x.iter().any(|x| *x != 0.0)),
        Reduction::All => truth(x.iter().all(|x| *x != 0.0)),
    }
}

/// Those that all types have.
const ALL: [Reduction; 10] = [
    Reduction::Sum,
    Reduction::SumNumbers,
    Reduction::SumSquares,
    Reduction::Prod,
    Reduction::Max,
    Reduction::Min,
    Reduction::ArgMax,
    Reduction::ArgMin,
    Reduction::Any,
    Reduction::All,
];

/// The dtype PyTorch returns.
fn result(f: Reduction, x: DType) -> DType {
    match f {
        Reduction::ArgMax | Reduction::ArgMin => DType::I64,
        Reduction::Any | Reduction::All => DType::Bool,
        Reduction::Sum | Reduction::SumNumbers | Reduction::SumSquares | Reduction::Prod
            if !x.is_float() =>
        {
            DType::I64
        }
        _ => x,
    }
}

fn check(f: Reduction, x: &Array, dims: &[usize], dtype: DType) {
    let out = result(f, dtype);
    let got = run(f, x, dims, out).values();
    let values = x.values();
    let expected: Vec<f64> = groups(x.shape(), dims)
        .iter()
        .map(|g| written_out(f, &g.iter().map(|i| values[*i]).collect::<Vec<_>>()))
        .collect();
    let tolerance = 8.0 * epsilon(if out == DType::F64 { dtype } else { out });
    assert!(
        close(&got, &expected, tolerance),
        "{f:?} of {:?} over {dims:?} in {dtype}: {got:?}, not {expected:?}",
        x.shape()
    );
}

/// Sizes around every boundary of the kernels, over all sets of dimensions and in three layouts.
#[test]
fn agrees_with_loops_over_any_dimensions() {
    let shapes: &[&[usize]] = &[
        &[],
        &[1],
        &[15],
        &[17],
        &[513],
        &[1100],
        &[3, 5],
        &[2, 700],
        &[700, 2],
        &[40, 33],
        &[70, 20],
        &[20, 70],
        &[4, 3, 5],
        &[2, 1, 90],
        &[90, 3, 2],
        &[2, 3, 2, 5],
    ];
    for shape in shapes {
        let values = noise(shape.iter().product(), 1);
        let x = Array::new(DType::F32, shape, &values);
        let wide = Array::new(DType::F64, shape, &values);
        for mask in 0..1usize << shape.len() {
            let dims: Vec<usize> = (0..shape.len()).filter(|d| mask >> d & 1 == 1).collect();
            check(Reduction::SquaredDistances, &x, &dims, DType::F32);
            for f in ALL {
                check(f, &x, &dims, DType::F32);
                check(f, &x.scattered(), &dims, DType::F32);
                check(f, &wide, &dims, DType::F64);
                if shape.len() > 1 {
                    check(f, &x.transpose(0, shape.len() - 1), &dims, DType::F32);
                }
            }
        }
    }
}

#[test]
fn takes_every_dtype() {
    for dtype in DType::ALL {
        let numbers: Vec<f64> = match dtype {
            DType::Bool => noise(120, 2)
                .iter()
                .map(|x| f64::from(u8::from(*x > 0.0)))
                .collect(),
            DType::U8 => noise(120, 2).iter().map(|x| x.abs().floor()).collect(),
            d if d.is_int() => noise(120, 2).iter().map(|x| x.floor()).collect(),
            _ => noise(120, 2),
        };
        let x = Array::new(dtype, &[2, 3, 20], &numbers);
        for dims in [&[0][..], &[1], &[2], &[0, 1], &[1, 2], &[0, 1, 2]] {
            if dtype.is_float() {
                check(Reduction::SquaredDistances, &x, dims, dtype);
            }
            for f in ALL {
                // Products of many integers wrap, where the reference rounds.
                if f != Reduction::Prod || dims.len() == 1 {
                    check(f, &x, dims, dtype);
                }
            }
        }
    }
}

#[test]
fn repeats_along_a_stride_of_zero() {
    let x = Array::new(DType::F32, &[1, 3], &[1.0, 2.0, 3.0]).expand(&[600, 3]);
    assert_eq!(
        run(Reduction::Sum, &x, &[0], DType::F32).values(),
        [600.0, 1200.0, 1800.0]
    );
    assert_eq!(
        run(Reduction::Sum, &x, &[0, 1], DType::F32).values(),
        [3600.0]
    );
    let x = x.transpose(0, 1);
    assert_eq!(
        run(Reduction::Sum, &x, &[1], DType::F32).values(),
        [600.0, 1200.0, 1800.0]
    );
    assert_eq!(
        run(Reduction::ArgMax, &x, &[0], DType::I64).values(),
        [2.0; 600]
    );
}

#[test]
fn gives_the_neutral_element_for_nothing() {
    for dtype in DType::ALL {
        let x = Array::new(dtype, &[2, 0, 3], &[]);
        for (f, expected) in [
            (Reduction::Sum, 0.0),
            (Reduction::SumNumbers, 0.0),
            (Reduction::SquaredDistances, 0.0),
            (Reduction::Prod, 1.0),
            (Reduction::Any, 0.0),
            (Reduction::All, 1.0),
        ] {
            if f == Reduction::SquaredDistances && !dtype.is_float() {
                continue;
            }
            let out = result(f, dtype);
            assert_eq!(run(f, &x, &[1], out).values(), [expected; 6]);
            assert_eq!(run(f, &x, &[0, 1, 2], out).values(), [expected]);
            assert!(run(f, &x, &[0], out).values().is_empty());
        }
    }
}

#[test]
fn lets_nan_win() {
    for dtype in FLOATS {
        for n in [1, 5, 40, 600] {
            for at in [0, n / 2, n - 1] {
                let mut values = noise(2 * n, 3);
                values[at] = NAN;
                values[n - 1 - at / 2] = INF;
                values[at] = NAN;
                let x = Array::new(dtype, &[2, n], &values);
                for f in [
                    Reduction::Max,
                    Reduction::Min,
                    Reduction::ArgMax,
                    Reduction::ArgMin,
                ] {
                    check(f, &x, &[1], dtype);
                    check(f, &x, &[0], dtype);
                    check(f, &x, &[0, 1], dtype);
                }
            }
        }
        let x = Array::new(dtype, &[3], &[-INF, -INF, -INF]);
        assert_eq!(run(Reduction::Max, &x, &[0], dtype).values(), [-INF]);
        assert_eq!(run(Reduction::ArgMax, &x, &[0], DType::I64).values(), [0.0]);
        // NaN is not zero.
        let x = Array::new(dtype, &[2], &[0.0, NAN]);
        assert_eq!(run(Reduction::Any, &x, &[0], DType::Bool).values(), [1.0]);
    }
}

/// At any place among the lanes of a fold.
#[test]
fn finds_nan_and_extrema_wherever_they_are() {
    for n in [1, 31, 32, 33, 63, 64, 100, 1024, 1025, 1090] {
        for at in [0, n / 2, n - 1] {
            for (f, found) in [
                (Reduction::Max, 9.0),
                (Reduction::Min, -9.0),
                (Reduction::Max, NAN),
                (Reduction::Min, NAN),
                (Reduction::Sum, 9.0),
            ] {
                let mut values = vec![0.0; n];
                values[at] = found;
                let x = Array::new(DType::F32, &[1, n], &values);
                let got = run(f, &x, &[1], DType::F32).values();
                assert!(
                    same(&got, &[found]),
                    "{f:?} of {n} with {found} at {at}: {got:?}"
                );
            }
        }
    }
}

/// More columns than one tile has, and so many rows that threads take pieces of them.
#[test]
fn takes_wide_and_long_columns() {
    for shape in [[35, 1025], [20_000, 20], [2_100, 130]] {
        let values = noise(shape[0] * shape[1], 6);
        let x = Array::new(DType::F32, &shape, &values);
        for f in [Reduction::Sum, Reduction::Max, Reduction::SquaredDistances] {
            check(f, &x, &[0], DType::F32);
            check(f, &x.scattered(), &[0], DType::F32);
        }
    }
}

#[test]
fn integers_wrap_and_keep_all_bits() {
    let x = Array::ints(DType::I64, &[3], &[i64::MAX, 1, 5]);
    assert_eq!(
        run(Reduction::Sum, &x, &[0], DType::I64).integers(),
        [i64::MIN + 5]
    );
    assert_eq!(
        run(Reduction::Max, &x, &[0], DType::I64).integers(),
        [i64::MAX]
    );
    let x = Array::ints(
        DType::I64,
        &[2, 2],
        &[i64::MIN, i64::MIN, i64::MIN, i64::MIN],
    );
    assert_eq!(
        run(Reduction::Max, &x, &[0], DType::I64).integers(),
        [i64::MIN; 2]
    );
    assert_eq!(
        run(Reduction::ArgMax, &x, &[0], DType::I64).integers(),
        [0; 2]
    );
    let x = Array::ints(DType::U8, &[3], &[255, 255, 255]);
    assert_eq!(run(Reduction::Sum, &x, &[0], DType::U8).integers(), [253]);
    assert_eq!(run(Reduction::Sum, &x, &[0], DType::I32).integers(), [765]);
}

/// The output's type decides what sums are computed in, as if the input were cast first.
#[test]
fn casts_before_summing() {
    let x = Array::full(DType::F16, &[3000], 32.0);
    assert_eq!(
        run(Reduction::Sum, &x, &[0], DType::F32).values(),
        [96000.0]
    );
    assert_eq!(run(Reduction::Sum, &x, &[0], DType::F16).values(), [INF]);
    let x = Array::full(DType::F32, &[5], 0.75);
    assert_eq!(run(Reduction::Sum, &x, &[0], DType::I64).values(), [0.0]);
    assert_eq!(run(Reduction::Sum, &x, &[0], DType::Bool).values(), [1.0]);
    let x = Array::full(DType::Bool, &[300], 1.0);
    assert_eq!(run(Reduction::Sum, &x, &[0], DType::F32).values(), [300.0]);
    assert_eq!(run(Reduction::Prod, &x, &[0], DType::Bool).values(), [1.0]);
}

/// A running sum of so many thousandths would be off by a hundred, a pairwise one by a few ulp.
#[test]
fn sums_pairwise() {
    let n = 1 << 20;
    let x = Array::full(DType::F32, &[n], f64::from(0.001f32));
    let exact = n as f64 * f64::from(0.001f32);
    let by_lanes = run(Reduction::Sum, &x, &[0], DType::F32).values();
    assert!(close(&by_lanes, &[exact], 3e-7));
    let columns = x.strided(&[n / 16, 16], &[16, 1], 0);
    let by_columns = run(Reduction::Sum, &columns, &[0], DType::F32).values();
    assert!(close(&by_columns, &[exact / 16.0; 16], 3e-7));
}

/// Distances from a mean that is far from 0, in more parts than one thread takes, and with an element
/// that is far from all others at either end.
#[test]
fn squared_distances_do_not_cancel() {
    let n = 70_000;
    let far = |x: f64| 1000.0 + x;
    for (at, outlier) in [(0, 0.0), (0, 1e6), (n - 1, 1e6)] {
        let mut values: Vec<f64> = noise(n, 7).into_iter().map(far).collect();
        values[at] += outlier;
        for (dtype, error) in [(DType::F32, 5e-7), (DType::F64, 1e-12)] {
            let x = Array::new(dtype, &[n], &values);
            let exact = [written_out(Reduction::SquaredDistances, &x.values())];
            let columns = x.strided(&[n / 20, 20], &[20, 1], 0);
            for (x, dims) in [(&x, &[0][..]), (&x.scattered(), &[0]), (&columns, &[0, 1])] {
                let got = run(Reduction::SquaredDistances, x, dims, dtype).values();
                assert!(close(&got, &exact, error), "{got:?} {exact:?}");
            }
        }
        let columns = Array::new(DType::F32, &[n / 20, 20], &values);
        check(Reduction::SquaredDistances, &columns, &[0], DType::F32);
        let rows = columns.transpose(0, 1);
        check(Reduction::SquaredDistances, &rows, &[1], DType::F32);
    }
}

#[test]
fn has_the_same_bits_every_time() {
    let values: Vec<f64> = noise(70_000, 4).iter().map(|x| x / 3.0).collect();
    let x = Array::new(DType::F32, &[100, 700], &values);
    for dims in [&[0][..], &[1], &[0, 1]] {
        let first = run(Reduction::Sum, &x, dims, DType::F32).values();
        for _ in 0..3 {
            assert_eq!(run(Reduction::Sum, &x, dims, DType::F32).values(), first);
        }
    }
    // As compiled for this processor and for any.
    let x: Vec<f32> = values.iter().map(|x| *x as f32).collect();
    for n in [1, 15, 16, 100, 512] {
        let any = lane::fold_body::<f32, lane::Sum>(&x[..n]);
        assert_eq!(fold::<f32, lane::Sum>(&x[..n]), any);
    }
}

#[test]
fn finds_the_first_of_equal_extrema() {
    let x = Array::new(DType::F32, &[2, 3], &[1.0, 2.0, 2.0, 0.0, 2.0, 0.0]);
    assert_eq!(
        run(Reduction::ArgMax, &x, &[1], DType::I64).integers(),
        [1, 1]
    );
    assert_eq!(
        run(Reduction::ArgMax, &x, &[0], DType::I64).integers(),
        [0, 0, 0]
    );
    assert_eq!(
        run(Reduction::ArgMax, &x, &[0, 1], DType::I64).integers(),
        [1]
    );
    assert_eq!(
        run(Reduction::ArgMin, &x, &[0, 1], DType::I64).integers(),
        [3]
    );
    let t = x.transpose(0, 1);
    assert_eq!(
        run(Reduction::ArgMax, &t, &[0, 1], DType::I64).integers(),
        [2]
    );
    let scalar = Array::new(DType::F32, &[], &[4.0]);
    assert_eq!(
        run(Reduction::ArgMin, &scalar, &[], DType::I64).integers(),
        [0]
    );
}

/// Sums of elements would overflow, but not their means: the squares do, to infinity.
#[test]
fn distances_of_huge_elements_are_infinite() {
    for (greatest, want) in [(3e37, f64::INFINITY), (f64::INFINITY, f64::NAN)] {
        let numbers: Vec<f64> = (0..3000).map(|i| greatest * f64::from(i % 7)).collect();
        let rows = Array::new(DType::F32, &[3000], &numbers);
        let columns = Array::new(DType::F32, &[300, 10], &numbers);
        for x in [rows, columns] {
            let got = run(Reduction::SquaredDistances, &x, &[0], DType::F32).values();
            let is_wanted = |x: &f64| *x == want || (x.is_nan() && want.is_nan());
            assert!(got.iter().all(is_wanted), "{greatest} {got:?}");
        }
    }
}
