//! Tests of sorting, searching and counting.

use super::super::testing::{Array, noise, same};
use super::order::LONG;
use super::*;
use crate::base::rng::philox;

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

/// Sorted values and positions.
fn sorted(x: &Array, dtype: DType, dim: usize, descending: bool) -> (Vec<f64>, Vec<i64>) {
    let values = Array::full(dtype, x.shape(), 0.0);
    let index = Array::full(DType::I64, x.shape(), 0.0);
    sort(values.view(), index.view(), x.view(), dim, descending, 0);
    let scattered = values.scattered();
    let elsewhere = index.scattered();
    sort(
        scattered.view(),
        elsewhere.view(),
        x.scattered().view(),
        dim,
        descending,
        0,
    );
    assert!(same(&scattered.values(), &values.values()));
    assert_eq!(elsewhere.integers(), index.integers());
    (values.values(), index.integers())
}

#[test]
fn sorts_floats_with_nan_as_the_greatest() {
    for dtype in [DType::F16, DType::BF16, DType::F32, DType::F64] {
        let x = Array::new(dtype, &[8], &[3.0, NAN, -INF, 0.0, -NAN, INF, -0.0, -1.5]);
        let (values, index) = sorted(&x, dtype, 0, false);
        assert!(same(&values, &[-INF, -1.5, 0.0, 0.0, 3.0, INF, NAN, NAN]));
        assert_eq!(index, [2, 7, 3, 6, 0, 5, 1, 4]);
        // The zeros are equal, and keep their signs.
        assert!(values[2].is_sign_positive() && values[3].is_sign_negative());
        let (values, index) = sorted(&x, dtype, 0, true);
        assert!(same(&values, &[NAN, NAN, INF, 3.0, 0.0, 0.0, -1.5, -INF]));
        assert_eq!(index, [1, 4, 5, 0, 3, 6, 7, 2]);
    }
}

#[test]
fn sorts_every_dtype_stably() {
    for dtype in DType::ALL {
        let x = Array::new(dtype, &[5], &[1.0, 0.0, 1.0, 1.0, 0.0]);
        let expected = (vec![0.0, 0.0, 1.0, 1.0, 1.0], vec![1, 4, 0, 2, 3]);
        assert_eq!(sorted(&x, dtype, 0, false), expected, "{dtype}");
        let expected = (vec![1.0, 1.0, 1.0, 0.0, 0.0], vec![0, 2, 3, 1, 4]);
        assert_eq!(sorted(&x, dtype, 0, true), expected, "{dtype}");
    }
}

#[test]
fn sorts_the_extremes_of_integers() {
    for (dtype, least, greatest) in [
        (DType::U8, 0, 255),
        (DType::I8, -128, 127),
        (DType::I16, -32768, 32767),
        (DType::I32, i64::from(i32::MIN), i64::from(i32::MAX)),
        (DType::I64, i64::MIN, i64::MAX),
    ] {
        let x = Array::ints(dtype, &[5], &[greatest, 2, least, greatest - 1, least + 1]);
        assert_eq!(sorted(&x, dtype, 0, false).1, [2, 4, 1, 3, 0], "{dtype}");
        assert_eq!(sorted(&x, dtype, 0, true).1, [0, 3, 1, 4, 2], "{dtype}");
    }
}

#[test]
fn sorts_along_any_dimension() {
    let x = Array::new(DType::F32, &[2, 3], &[3.0, 1.0, 2.0, 0.0, 5.0, 4.0]);
    let (values, index) = sorted(&x, DType::F32, 1, false);
    assert_eq!(values, [1.0, 2.0, 3.0, 0.0, 4.0, 5.0]);
    assert_eq!(index, [1, 2, 0, 0, 2, 1]);
    let (values, index) = sorted(&x, DType::F32, 0, false);
    assert_eq!(values, [0.0, 1.0, 2.0, 3.0, 5.0, 4.0]);
    assert_eq!(index, [1, 0, 0, 0, 1, 1]);
    let (values, index) = sorted(&x.transpose(0, 1), DType::F32, 0, true);
    assert_eq!(values, [3.0, 5.0, 2.0, 4.0, 1.0, 0.0]);
    assert_eq!(index, [0, 1, 2, 2, 1, 0]);
    let (_, index) = sorted(
        &Array::full(DType::I64, &[], 1.0).expand(&[2, 2]),
        DType::I64,
        0,
        true,
    );
    assert_eq!(index, [0, 0, 1, 1]);
}

#[test]
fn sorts_scalars_and_nothing() {
    let x = Array::new(DType::F64, &[], &[3.0]);
    assert_eq!(sorted(&x, DType::F64, 0, false), (vec![3.0], vec![0]));
    for shape in [[0, 3], [3, 0]] {
        let x = Array::new(DType::F64, &shape, &[]);
        let out = Array::new(DType::F64, &shape, &[]);
        let index = Array::new(DType::I64, &shape, &[]);
        sort(out.view(), index.view(), x.view(), 0, false, 0);
    }
}

#[test]
fn sorts_long_lanes_as_the_standard_library_does() {
    let n = 3000;
    for dtype in [DType::I16, DType::F32, DType::I64, DType::F64] {
        let x: Vec<f64> = (0..n)
            .map(|i| f64::from(philox(1, i)[0] % 1000) - 500.0)
            .collect();
        let a = Array::new(dtype, &[3, 1000], &x);
        for descending in [false, true] {
            let (values, index) = sorted(&a, dtype, 1, descending);
            for (lane, (values, index)) in x
                .chunks(1000)
                .zip(values.chunks(1000).zip(index.chunks(1000)))
            {
                let mut expected: Vec<usize> = (0..1000).collect();
                expected.sort_by(|i, j| {
                    let order = lane[*i].total_cmp(&lane[*j]);
                    if descending { order.reverse() } else { order }
                });
                assert!(index.iter().zip(&expected).all(|(i, j)| *i == *j as i64));
                assert!(values.iter().zip(&expected).all(|(x, j)| *x == lane[*j]));
            }
        }
    }
}

/// Where values belong among boundaries, in both integer types.
fn searched(boundaries: &Array, v: &Array, right: bool) -> Vec<i64> {
    let [long, int] = [DType::I64, DType::I32].map(|dtype| {
        let out = Array::full(dtype, v.shape(), -1.0);
        searchsorted(out.view(), boundaries.view(), v.view(), right);
        out.integers()
    });
    assert_eq!(long, int);
    let out = Array::full(DType::I64, v.shape(), -1.0).scattered();
    searchsorted(
        out.view(),
        boundaries.scattered().view(),
        v.scattered().view(),
        right,
    );
    assert_eq!(out.integers(), long);
    long
}

#[test]
fn searches_pytorchs_example() {
    let rows = [1.0, 3.0, 5.0, 7.0, 9.0, 2.0, 4.0, 6.0, 8.0, 10.0];
    let rows = Array::new(DType::F32, &[2, 5], &rows);
    let v = Array::new(DType::F32, &[2, 3], &[3.0, 6.0, 9.0, 3.0, 6.0, 9.0]);
    assert_eq!(searched(&rows, &v, false), [1, 3, 4, 1, 2, 4]);
    assert_eq!(searched(&rows, &v, true), [2, 3, 5, 1, 3, 4]);
    let one = Array::new(DType::F32, &[5], &[1.0, 3.0, 5.0, 7.0, 9.0]);
    assert_eq!(searched(&one, &v, false), [1, 3, 4, 1, 3, 4]);
    let v = Array::new(DType::F32, &[], &[9.0]);
    assert_eq!(searched(&one, &v, true), [5]);
}

#[test]
fn searches_every_dtype() {
    for dtype in DType::ALL {
        let boundaries = Array::new(dtype, &[4], &[0.0, 0.0, 1.0, 1.0]);
        let v = Array::new(dtype, &[2], &[0.0, 1.0]);
        assert_eq!(searched(&boundaries, &v, false), [0, 2], "{dtype}");
        assert_eq!(searched(&boundaries, &v, true), [2, 4], "{dtype}");
    }
}

#[test]
fn searches_nan_and_nothing() {
    let boundaries = Array::new(DType::F64, &[3], &[-INF, 1.0, INF]);
    let v = Array::new(DType::F64, &[4], &[NAN, INF, -INF, -0.0]);
    assert_eq!(searched(&boundaries, &v, false), [3, 2, 0, 1]);
    assert_eq!(searched(&boundaries, &v, true), [3, 3, 1, 1]);
    let none = Array::new(DType::F64, &[0], &[]);
    assert_eq!(searched(&none, &v, false), [0; 4]);
    assert!(searched(&boundaries, &none, false).is_empty());
    let repeated = Array::new(DType::F64, &[], &[2.0]).expand(&[2, 3]);
    assert_eq!(searched(&boundaries, &repeated, true), [2; 6]);
}

#[test]
fn counts() {
    let x = Array::ints(DType::I64, &[6], &[0, 3, 3, 1, 3, 0]);
    for x in [x.clone(), x.scattered()] {
        let out = Array::full(DType::I64, &[5], 0.0);
        bincount(out.view(), x.view(), None);
        assert_eq!(out.integers(), [2, 1, 0, 3, 0]);
        for dtype in DType::ALL {
            let weights = Array::new(dtype, &[6], &[1.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
            for to in [DType::F32, DType::F64] {
                let out = Array::full(to, &[4], 0.0).scattered();
                bincount(out.view(), x.view(), Some(weights.view()));
                assert_eq!(out.values(), [1.0, 0.0, 0.0, 2.0], "{dtype}");
            }
        }
        let weights = Array::new(DType::F64, &[], &[0.5]).expand(&[6]);
        let out = Array::full(DType::F64, &[4], 10.0);
        bincount(out.view(), x.view(), Some(weights.view()));
        assert_eq!(out.values(), [11.0, 10.5, 10.0, 11.5]);
    }
    let none = Array::ints(DType::I64, &[0], &[]);
    let out = Array::full(DType::I64, &[2], 0.0);
    bincount(out.view(), none.view(), None);
    bincount(out.view(), none.view(), Some(none.view()));
    assert_eq!(out.integers(), [0, 0]);
}

/// Against the standard library's stable sort, around the lengths where the method changes.
#[test]
fn long_and_partial_sorts() {
    for dtype in [DType::F32, DType::F64, DType::I64, DType::I16, DType::BF16] {
        for n in [100, 2047, 2048, 5000, 20_000] {
            // Many ties, both zeros, and NaN.
            let values: Vec<f64> = noise(n, 7)
                .iter()
                .enumerate()
                .map(|(i, x)| match i % 50 {
                    7 if dtype.is_float() => NAN,
                    8 => -0.0,
                    9 => 0.0,
                    _ => (x * 100.0).round(),
                })
                .collect();
            let x = Array::new(dtype, &[n], &values);
            let values = x.values();
            for descending in [false, true] {
                let order = |a: &usize, b: &usize| {
                    let (a, b) = (values[*a], values[*b]);
                    let ascending = a
                        .partial_cmp(&b)
                        .unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()));
                    if descending {
                        ascending.reverse()
                    } else {
                        ascending
                    }
                };
                let mut expected: Vec<usize> = (0..n).collect();
                expected.sort_by(order);
                for k in [1, 3, n / 9, n / 2, n] {
                    let (v, i) = (
                        Array::full(dtype, &[k], 1.0),
                        Array::ints(DType::I64, &[k], &vec![-1; k]),
                    );
                    sort(v.view(), i.view(), x.view(), 0, descending, 0);
                    let first: Vec<i64> = expected[..k].iter().map(|&i| i as i64).collect();
                    assert_eq!(i.integers(), first, "{dtype} {n} {k} {descending}");
                    let chosen: Vec<f64> = expected[..k].iter().map(|&i| values[i]).collect();
                    assert!(same(&v.values(), &chosen));
                }
                for ranks in [
                    1..2,
                    n / 2..n / 2 + 1,
                    n / 3..n / 3 + n / 10,
                    n / 4..n,
                    n - 1..n,
                ] {
                    let k = ranks.len();
                    let (v, i) = (
                        Array::full(dtype, &[k], 1.0),
                        Array::ints(DType::I64, &[k], &vec![-1; k]),
                    );
                    let first = ranks.start;
                    sort(v.view(), i.view(), x.view(), 0, descending, first);
                    let places: Vec<i64> = expected[ranks].iter().map(|&i| i as i64).collect();
                    assert_eq!(i.integers(), places, "{dtype} {n} {first} {descending}");
                    let chosen: Vec<f64> = places.iter().map(|&i| values[i as usize]).collect();
                    assert!(same(&v.values(), &chosen));
                }
            }
        }
    }
}

/// Long lanes of every kind of key: wider than a word has room for, of few bits, with constant digits,
/// all equal, and such that agree in their upper bits.
#[test]
fn long_lanes_of_any_keys() {
    let bits = |i: usize| {
        let [a, b, ..] = philox(3, i as u64);
        (u64::from(a) << 32 | u64::from(b)) as i64
    };
    let kinds: [(&str, fn(i64) -> i64); 7] = [
        ("all bits", |x| x),
        ("small", |x| x & 1023),
        ("constant digits", |x| x & 0x7F_0000_7FF0_0001),
        ("equal", |_| -7),
        ("two", |x| if x & 1 == 0 { i64::MIN } else { i64::MAX }),
        ("far, close together", |x| (x & 1) << 62 | (x >> 8 & 0xFFF)),
        ("negative", |x| -(x & 0xFFFF_FFFF)),
    ];
    for n in [2048, LONG + 12_345] {
        for (kind, f) in kinds {
            let values: Vec<i64> = (0..n).map(|i| f(bits(i))).collect();
            for (dtype, cut) in [(DType::I64, 0), (DType::I32, 32), (DType::I8, 56)] {
                let values: Vec<i64> = values.iter().map(|x| x << cut >> cut).collect();
                let x = Array::ints(dtype, &[n], &values);
                for descending in [false, true] {
                    let mut expected: Vec<usize> = (0..n).collect();
                    expected.sort_by(|i, j| {
                        let order = values[*i].cmp(&values[*j]);
                        if descending { order.reverse() } else { order }
                    });
                    let k = if descending { n / 2 } else { n };
                    let out = Array::ints(dtype, &[k], &vec![0; k]);
                    let index = Array::ints(DType::I64, &[k], &vec![-1; k]);
                    sort(out.view(), index.view(), x.view(), 0, descending, 0);
                    let places: Vec<i64> = expected[..k].iter().map(|&i| i as i64).collect();
                    assert!(
                        index.integers() == places,
                        "{kind} {dtype} {n} {descending}"
                    );
                    let sorted: Vec<i64> = expected[..k].iter().map(|&i| values[i]).collect();
                    assert!(out.integers() == sorted, "{kind} {dtype} {n} {descending}");
                }
            }
        }
    }
}

/// Doubles that differ in their lowest bits only, beside others far away.
#[test]
fn doubles_that_agree_in_their_upper_bits() {
    for n in [100, 3000, LONG + 1] {
        let values: Vec<f64> = (0..n)
            .map(|i| match philox(5, i as u64)[0] {
                x if x % 50 == 0 => -1e300,
                x if x % 50 == 1 => NAN,
                x => f64::from_bits(1.5f64.to_bits() + u64::from(x % 5000)),
            })
            .collect();
        let x = Array::new(DType::F64, &[n], &values);
        let (got, index) = sorted(&x, DType::F64, 0, false);
        let mut expected: Vec<usize> = (0..n).collect();
        let key = |i: &usize| (values[*i].is_nan(), values[*i]);
        expected.sort_by(|i, j| {
            key(i)
                .partial_cmp(&key(j))
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        let chosen: Vec<f64> = expected.iter().map(|&i| values[i]).collect();
        assert!(same(&got, &chosen));
        assert!(index.iter().zip(&expected).all(|(i, j)| *i == *j as i64));
    }
}
