//! Tests of gather, scatter, indexing and `nonzero`.

use super::super::testing::{Array, same};
use super::*;
use crate::base::ErrorKind;
use crate::base::rng::philox;

const NAN: f64 = f64::NAN;

fn i64s(shape: &[usize], values: &[i64]) -> Array {
    Array::ints(DType::I64, shape, values)
}

/// `0, 1, 2, ...`.
fn counting(dtype: DType, shape: &[usize]) -> Array {
    let n = shape.iter().product::<usize>();
    Array::ints(dtype, shape, &(0..n as i64).collect::<Vec<_>>())
}

/// The multi-indices of a shape in row-major order.
fn places(shape: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for &n in shape {
        all = all
            .iter()
            .flat_map(|p| (0..n).map(move |i| [&p[..], &[i]].concat()))
            .collect();
    }
    all
}

/// The row-major position of a multi-index.
fn flat(place: &[usize], shape: &[usize]) -> usize {
    place.iter().zip(shape).fold(0, |at, (i, n)| at * n + i)
}

fn expect_error(result: Result<()>, kind: ErrorKind, message: &str) {
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.message()), (kind, message));
}

#[test]
fn gathers_pytorchs_example() {
    let x = Array::new(DType::F32, &[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let index = i64s(&[2, 2], &[0, 0, 1, 0]);
    let out = Array::full(DType::F32, &[2, 2], -1.0);
    gather(out.view(), x.view(), 1, index.view()).unwrap();
    assert_eq!(out.values(), [1.0, 1.0, 4.0, 3.0]);
    gather(out.view(), x.view(), 0, index.view()).unwrap();
    assert_eq!(out.values(), [1.0, 2.0, 3.0, 2.0]);
}

#[test]
fn gathers_every_dtype() {
    for dtype in DType::ALL {
        let x = Array::new(dtype, &[3], &[0.0, 1.0, 3.0]);
        let out = Array::full(dtype, &[4], 0.0);
        gather(out.view(), x.view(), 0, i64s(&[4], &[2, 0, 1, 2]).view()).unwrap();
        let three = x.values()[2];
        assert_eq!(out.values(), [three, 0.0, 1.0, three], "{dtype}");
    }
}

#[test]
fn gathers_as_the_definition_says_in_every_layout() {
    let x = counting(DType::F64, &[3, 4, 5]);
    for dim in 0..3 {
        // Smaller than `x` outside of `dim`, larger within.
        let mut shape = [2, 3, 2];
        shape[dim] = 7;
        let n = shape.iter().product::<usize>();
        let size = x.shape()[dim];
        let index: Vec<i64> = (0..n).map(|i| (i * i % size) as i64).collect();
        let index = i64s(&shape, &index);
        let expected: Vec<f64> = places(&shape)
            .iter()
            .zip(index.integers())
            .map(|(place, k)| {
                let mut place = place.clone();
                place[dim] = k as usize;
                flat(&place, x.shape()) as f64
            })
            .collect();
        let outs = [
            Array::full(DType::F64, &shape, -1.0),
            Array::full(DType::F64, &shape, -1.0).scattered(),
        ];
        for out in outs {
            for x in [x.clone(), x.scattered()] {
                for index in [index.clone(), index.scattered()] {
                    gather(out.view(), x.view(), dim, index.view()).unwrap();
                    assert_eq!(out.values(), expected);
                }
            }
        }
    }
}

#[test]
fn gathers_from_and_by_repeated_elements() {
    let x = Array::new(DType::F32, &[1, 3], &[5.0, 6.0, 7.0]).expand(&[4, 3]);
    let index = i64s(&[4, 1], &[0, 2, 1, 0]).expand(&[4, 2]);
    let out = Array::full(DType::F32, &[4, 2], 0.0);
    gather(out.view(), x.view(), 1, index.view()).unwrap();
    assert_eq!(out.values(), [5.0, 5.0, 7.0, 7.0, 6.0, 6.0, 5.0, 5.0]);
}

#[test]
fn gathers_and_scatters_scalars_and_nothing() {
    let x = Array::new(DType::F32, &[], &[5.0]);
    let out = Array::full(DType::F32, &[], 0.0);
    gather(out.view(), x.view(), 0, i64s(&[], &[0]).view()).unwrap();
    assert_eq!(out.values(), [5.0]);
    scatter(
        Combine::Add,
        out.view(),
        0,
        i64s(&[], &[0]).view(),
        x.view(),
    )
    .unwrap();
    assert_eq!(out.values(), [10.0]);
    expect_error(
        gather(out.view(), x.view(), 0, i64s(&[], &[1]).view()),
        ErrorKind::Runtime,
        "index 1 is out of bounds for dimension 0 with size 1",
    );

    // A scalar index of a vector, and a vector index of a scalar.
    let v = counting(DType::F32, &[3]);
    gather(out.view(), v.view(), 0, i64s(&[], &[2]).view()).unwrap();
    assert_eq!(out.values(), [2.0]);
    let three = Array::full(DType::F32, &[3], 0.0);
    gather(three.view(), x.view(), 0, i64s(&[3], &[0; 3]).view()).unwrap();
    assert_eq!(three.values(), [5.0; 3]);

    let none = Array::new(DType::F32, &[0, 3], &[]);
    let no_index = i64s(&[0, 3], &[]);
    gather(none.view(), none.view(), 0, no_index.view()).unwrap();
    let x = Array::full(DType::F32, &[2, 3], 1.0);
    scatter(Combine::Set, x.view(), 0, no_index.view(), none.view()).unwrap();
    assert_eq!(x.values(), [1.0; 6]);
    expect_error(
        gather(x.view(), none.view(), 0, i64s(&[2, 3], &[0; 6]).view()),
        ErrorKind::Runtime,
        "index 0 is out of bounds for dimension 0 with size 0",
    );
}

#[test]
fn bad_indices_of_gather_and_scatter_leave_the_output() {
    let x = Array::full(DType::F32, &[2, 3], 1.0);
    let out = Array::full(DType::F32, &[2, 3], -1.0);
    for bad in [7, 3, -1, i64::MIN, i64::MAX] {
        let index = i64s(&[2, 3], &[0, 1, 2, 0, 1, bad]);
        let message = format!("index {bad} is out of bounds for dimension 1 with size 3");
        expect_error(
            gather(out.view(), x.view(), 1, index.view()),
            ErrorKind::Runtime,
            &message,
        );
        for combine in [Combine::Set, Combine::Add] {
            expect_error(
                scatter(combine, out.view(), 1, index.view(), x.view()),
                ErrorKind::Runtime,
                &message,
            );
        }
        assert_eq!(out.buffer(), [-1.0; 6]);
    }
}

#[test]
fn scatters_with_every_combination() {
    let index = i64s(&[5], &[0, 2, 0, 0, 2]);
    let src = Array::new(DType::F32, &[6], &[2.0, 3.0, 5.0, -4.0, NAN, 9.0]);
    let run = |combine| {
        let out = Array::new(DType::F32, &[3], &[1.0, 7.0, 2.0]);
        scatter(combine, out.view(), 0, index.view(), src.view()).unwrap();
        out.values()
    };
    assert!(same(&run(Combine::Set), &[-4.0, 7.0, NAN]));
    assert!(same(&run(Combine::Add), &[4.0, 7.0, NAN]));
    assert!(same(&run(Combine::Mul), &[-40.0, 7.0, NAN]));
    assert!(same(&run(Combine::Max), &[5.0, 7.0, NAN]));
    assert!(same(&run(Combine::Min), &[-4.0, 7.0, NAN]));

    // NaN stays once it is there.
    let out = Array::new(DType::F64, &[1], &[NAN]);
    let one = Array::new(DType::F64, &[1], &[1.0]);
    for combine in [Combine::Max, Combine::Min] {
        scatter(combine, out.view(), 0, i64s(&[1], &[0]).view(), one.view()).unwrap();
        assert!(out.values()[0].is_nan());
    }
}

#[test]
fn scatters_every_dtype() {
    for dtype in DType::ALL {
        let index = i64s(&[3], &[1, 1, 0]);
        let src = Array::new(dtype, &[3], &[1.0, 1.0, 0.0]);
        for (combine, expected) in [
            (Combine::Set, [0.0, 1.0]),
            (Combine::Add, [1.0, 3.0]),
            (Combine::Mul, [0.0, 1.0]),
            (Combine::Max, [1.0, 1.0]),
            (Combine::Min, [0.0, 1.0]),
        ] {
            let out = Array::full(dtype, &[2], 1.0);
            scatter(combine, out.view(), 0, index.view(), src.view()).unwrap();
            let expected = if dtype == DType::Bool {
                expected.map(|x| f64::min(x, 1.0))
            } else {
                expected
            };
            assert_eq!(out.values(), expected, "{dtype} {combine:?}");
        }
    }
}

#[test]
fn integers_wrap() {
    let out = Array::new(DType::I8, &[1], &[100.0]);
    let src = Array::new(DType::I8, &[1], &[100.0]);
    let index = i64s(&[1], &[0]);
    scatter(Combine::Add, out.view(), 0, index.view(), src.view()).unwrap();
    assert_eq!(out.values(), [-56.0]);
    scatter(Combine::Mul, out.view(), 0, index.view(), src.view()).unwrap();
    assert_eq!(out.values(), [f64::from((-5600i32) as i8)]);
}

#[test]
fn halves_add_in_single_precision() {
    for (dtype, big) in [(DType::F16, 2048.0), (DType::BF16, 256.0)] {
        // Each sum is rounded to the type: big + 1 is a tie and goes to even.
        let x = Array::new(dtype, &[1], &[big]);
        let index = i64s(&[3], &[0; 3]);
        let ones = Array::full(dtype, &[3], 1.0);
        scatter(Combine::Add, x.view(), 0, index.view(), ones.view()).unwrap();
        assert_eq!(x.values(), [big]);
        let threes = Array::full(dtype, &[3], 3.0);
        index_put(Combine::Add, x.view(), &[index.view()], threes.view()).unwrap();
        assert_eq!(x.values(), [big + 12.0]);
    }
}

#[test]
fn scatters_as_the_definition_says_in_every_layout() {
    let shape = [3, 4, 5];
    for dim in 0..3 {
        let mut part = [2, 3, 2];
        part[dim] = 7;
        let size = shape[dim];
        let n = part.iter().product::<usize>();
        let index: Vec<i64> = (0..n).map(|i| (i * i % size) as i64).collect();
        let index = i64s(&part, &index);
        let src = counting(DType::F64, &[7, 7, 7]);
        let expect = |combine| {
            let mut expected = vec![0.5; 60];
            for (place, k) in places(&part).iter().zip(index.integers()) {
                let mut to = place.clone();
                to[dim] = k as usize;
                let to = &mut expected[flat(&to, &shape)];
                let from = flat(place, &[7, 7, 7]) as f64;
                *to = if combine == Combine::Set {
                    from
                } else {
                    *to + from
                };
            }
            expected
        };
        for combine in [Combine::Set, Combine::Add] {
            for index in [index.clone(), index.scattered()] {
                for src in [src.clone(), src.scattered()] {
                    let dense = Array::full(DType::F64, &shape, 0.5);
                    for out in [dense.scattered(), dense] {
                        scatter(combine, out.view(), dim, index.view(), src.view()).unwrap();
                        assert_eq!(out.values(), expect(combine));
                    }
                }
            }
        }
    }
}

#[test]
fn a_scattered_number_may_be_one_for_all() {
    let out = Array::full(DType::F32, &[2, 3], 0.0);
    let one = Array::full(DType::F32, &[], 4.0).expand(&[2, 2]);
    let index = i64s(&[2, 2], &[0, 2, 1, 1]);
    scatter(Combine::Set, out.view(), 1, index.view(), one.view()).unwrap();
    assert_eq!(out.values(), [4.0, 0.0, 4.0, 0.0, 4.0, 0.0]);
}

#[test]
fn an_index_that_aliases_the_output_stays_in_bounds() {
    let x = i64s(&[4], &[3, 0, 1, 2]);
    let big = i64s(&[4], &[i64::MAX; 4]);
    scatter(Combine::Set, x.view(), 0, x.view(), big.view()).unwrap();
    assert!(x.integers().contains(&i64::MAX));
}

#[test]
fn looks_up_rows() {
    for dtype in DType::ALL {
        let table = Array::new(dtype, &[3, 2], &[0.0, 1.0, 1.0, 0.0, 1.0, 1.0]);
        let ids = i64s(&[2, 2], &[2, -3, 1, 1]);
        let out = Array::full(dtype, &[2, 2, 2], 0.0);
        index(out.view(), table.view(), &[ids.view()]).unwrap();
        assert_eq!(out.values(), [1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0]);
    }
}

#[test]
fn looks_up_elements_by_two_tensors() {
    let x = counting(DType::I32, &[3, 4]);
    let i = i64s(&[3], &[0, -1, 1]);
    let j = i64s(&[3], &[3, 0, -4]);
    let out = Array::full(DType::I32, &[3], 0.0);
    index(out.view(), x.view(), &[i.view(), j.view()]).unwrap();
    assert_eq!(out.values(), [3.0, 8.0, 4.0]);
    // Scalar indices: no dimensions are left.
    let out = Array::full(DType::I32, &[], 0.0);
    let (i, j) = (i64s(&[], &[1]), i64s(&[], &[2]));
    let minus_one = Array::ints(DType::I32, &[], &[-1]);
    index(out.view(), x.view(), &[i.view(), j.view()]).unwrap();
    assert_eq!(out.values(), [6.0]);
    index_put(
        Combine::Set,
        x.view(),
        &[i.view(), j.view()],
        minus_one.view(),
    )
    .unwrap();
    assert_eq!(x.values()[6], -1.0);
}

#[test]
fn no_indices_copy_all() {
    let x = counting(DType::F32, &[2, 3]);
    let out = Array::full(DType::F32, &[2, 3], 0.0);
    index(out.view(), x.view(), &[]).unwrap();
    assert_eq!(out.values(), x.values());
    index_put(Combine::Add, x.view(), &[], out.view()).unwrap();
    assert_eq!(x.values(), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
}

#[test]
fn indexes_as_the_definition_says_in_every_layout() {
    let shape = [3, 4, 2, 5];
    let x = counting(DType::F64, &shape);
    for k in 1..=4 {
        let indices: Vec<Array> = (0..k)
            .map(|d| {
                let n = shape[d] as i64;
                let entries: Vec<i64> = (0..6)
                    .map(|i| i64::from(philox(d as u64, i)[0]) % (2 * n) - n)
                    .collect();
                i64s(&[2, 3], &entries)
            })
            .collect();
        let out_shape = [&[2, 3], &shape[k..]].concat();
        let from: Vec<usize> = places(&out_shape)
            .iter()
            .map(|place| {
                let row = flat(&place[..2], &[2, 3]);
                let lead = indices.iter().zip(shape).map(|(index, n)| {
                    let i = index.integers()[row];
                    (if i < 0 { i + n as i64 } else { i }) as usize
                });
                let all: Vec<usize> = lead.chain(place[2..].iter().copied()).collect();
                flat(&all, &shape)
            })
            .collect();
        let expected: Vec<f64> = from.iter().map(|i| *i as f64).collect();
        let mut put = vec![0.5; 120];
        let mut added = vec![0.5; 120];
        for (i, to) in from.iter().enumerate() {
            put[*to] = i as f64;
            added[*to] += i as f64;
        }
        for scattered in [false, true] {
            let lay = |a: &Array| if scattered { a.scattered() } else { a.clone() };
            let indices: Vec<Array> = indices.iter().map(lay).collect();
            let indices: Vec<View> = indices.iter().map(Array::view).collect();
            let out = lay(&Array::full(DType::F64, &out_shape, -1.0));
            for x in [x.clone(), x.scattered()] {
                index(out.view(), x.view(), &indices).unwrap();
                assert_eq!(out.values(), expected);
            }
            let values = lay(&counting(DType::F64, &out_shape));
            for dense in [false, true] {
                let x = Array::full(DType::F64, &shape, 0.5);
                let x = if dense { x } else { x.scattered() };
                let (before, inside) = (x.buffer().len(), x.values().len());
                index_put(Combine::Set, x.view(), &indices, values.view()).unwrap();
                assert_eq!(x.values(), put);
                // What lies between the elements is as it was.
                let gaps = x.buffer().iter().filter(|x| **x == 77.0).count();
                let own = put.iter().filter(|x| **x == 77.0).count();
                assert_eq!(gaps, before - inside + own);
                let x = Array::full(DType::F64, &shape, 0.5);
                let x = if dense { x } else { x.scattered() };
                index_put(Combine::Add, x.view(), &indices, values.view()).unwrap();
                assert_eq!(x.values(), added);
            }
        }
    }
}

#[test]
fn looks_up_columns() {
    let x = counting(DType::F32, &[3, 4]);
    let columns = i64s(&[3], &[3, 0, -1]);
    let expected = [3.0, 0.0, 3.0, 7.0, 4.0, 7.0, 11.0, 8.0, 11.0];
    let out = Array::full(DType::F32, &[3, 3], -1.0);
    for out in [out.clone(), out.transpose(0, 1), out.scattered()] {
        let (x, out_t) = (x.transpose(0, 1), out.transpose(0, 1));
        index(out_t.view(), x.view(), &[columns.view()]).unwrap();
        assert_eq!(out.values(), expected);
    }
    // x[:, [3, 0, -1]] = and += 0, 1, ..., 8, of which column 3 keeps the later ones.
    let values = counting(DType::F32, &[3, 3]);
    let x = Array::full(DType::F32, &[3, 4], 0.0);
    let put = |combine| {
        let (x, values) = (x.transpose(0, 1), values.transpose(0, 1));
        index_put(combine, x.view(), &[columns.view()], values.view()).unwrap();
    };
    put(Combine::Set);
    let set = [1.0, 0.0, 0.0, 2.0, 4.0, 0.0, 0.0, 5.0, 7.0, 0.0, 0.0, 8.0];
    assert_eq!(x.values(), set);
    put(Combine::Add);
    let sums = [
        2.0, 0.0, 0.0, 4.0, 8.0, 0.0, 0.0, 13.0, 14.0, 0.0, 0.0, 22.0,
    ];
    assert_eq!(x.values(), sums);
    // One row of values for all.
    let row = Array::new(DType::F32, &[3], &[1.0, 2.0, 3.0]).expand(&[3, 3]);
    let x = Array::full(DType::F32, &[3, 4], 0.0).transpose(0, 1);
    index_put(Combine::Add, x.view(), &[columns.view()], row.view()).unwrap();
    let sums = [1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 4.0, 6.0];
    assert_eq!(x.values(), sums);
}

#[test]
fn puts_one_value_in_many_places() {
    let x = Array::full(DType::F32, &[3, 2], 0.0);
    let rows = i64s(&[4], &[0, 2, 2, -1]);
    let one = Array::full(DType::F32, &[], 1.5).expand(&[4, 2]);
    index_put(Combine::Add, x.view(), &[rows.view()], one.view()).unwrap();
    assert_eq!(x.values(), [1.5, 1.5, 0.0, 0.0, 4.5, 4.5]);
    index_put(Combine::Set, x.view(), &[rows.view()], one.view()).unwrap();
    assert_eq!(x.values(), [1.5, 1.5, 0.0, 0.0, 1.5, 1.5]);
}

#[test]
fn puts_every_dtype() {
    for dtype in DType::ALL {
        let x = Array::new(dtype, &[3], &[1.0, 0.0, 0.0]);
        let values = Array::new(dtype, &[3], &[1.0, 1.0, 0.0]);
        let places = i64s(&[3], &[0, 1, 2]);
        index_put(Combine::Add, x.view(), &[places.view()], values.view()).unwrap();
        let two = if dtype == DType::Bool { 1.0 } else { 2.0 };
        assert_eq!(x.values(), [two, 1.0, 0.0], "{dtype}");
    }
}

#[test]
fn the_order_of_writes_is_the_row_major_order_of_the_index() {
    let x = Array::full(DType::F32, &[1], 0.0);
    // Columns first in memory: the last entry in row-major order is the last in memory too, but the
    // second last is not.
    let values = Array::new(DType::F32, &[2, 2], &[1.0, 2.0, 3.0, 4.0]).transpose(0, 1);
    let zeros = i64s(&[2, 2], &[0; 4]).transpose(0, 1);
    index_put(Combine::Set, x.view(), &[zeros.view()], values.view()).unwrap();
    assert_eq!(x.values(), [4.0]);
    let two = Array::full(DType::F32, &[2], 0.0);
    let index = i64s(&[2, 2], &[0, 1, 0, 1]);
    index_put(Combine::Set, two.view(), &[index.view()], values.view()).unwrap();
    assert_eq!(two.values(), [2.0, 4.0]);
}

#[test]
fn bad_indices_leave_the_output() {
    let x = counting(DType::F32, &[3, 4]);
    let out = Array::full(DType::F32, &[2], -1.0);
    let good = i64s(&[2], &[0, 1]);
    for (bad, dim, size) in [
        (7, 0, 3),
        (3, 0, 3),
        (-4, 0, 3),
        (4, 1, 4),
        (i64::MIN, 1, 4),
    ] {
        let bad_index = i64s(&[2], &[0, bad]);
        let indices = if dim == 0 {
            [&bad_index, &good]
        } else {
            [&good, &bad_index]
        };
        let indices = indices.map(Array::view);
        let message = format!("index {bad} is out of bounds for dimension {dim} with size {size}");
        expect_error(
            index(out.view(), x.view(), &indices),
            ErrorKind::Index,
            &message,
        );
        assert_eq!(out.values(), [-1.0; 2]);
        for combine in [Combine::Set, Combine::Add] {
            expect_error(
                index_put(combine, x.view(), &indices, out.view()),
                ErrorKind::Index,
                &message,
            );
            assert_eq!(x.values(), counting(DType::F32, &[3, 4]).values());
        }
    }
    // Checked even where no element is read.
    let x = Array::new(DType::F32, &[0, 0], &[]);
    let out = Array::new(DType::F32, &[2, 0], &[]);
    expect_error(
        index(out.view(), x.view(), &[good.view()]),
        ErrorKind::Index,
        "index 0 is out of bounds for dimension 0 with size 0",
    );
    let none = i64s(&[0], &[]);
    let out = Array::new(DType::F32, &[0, 0], &[]);
    index(out.view(), x.view(), &[none.view()]).unwrap();
    index_put(Combine::Add, x.view(), &[none.view()], out.view()).unwrap();
}

#[test]
fn index_put_refuses_other_combinations() {
    let x = counting(DType::F32, &[3]);
    let error = index_put(Combine::Max, x.view(), &[], x.view()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Runtime);
}

#[test]
fn any_byte_but_zero_is_true() {
    let x = Array::new(DType::Bool, &[3], &[0.0, 1.0, 0.0]);
    x.storage().write::<u8>(2, 6);
    let out = Array::new(DType::Bool, &[3], &[0.0, 0.0, 0.0]);
    let index = i64s(&[3], &[0, 1, 2]);
    scatter(Combine::Min, x.view(), 0, index.view(), out.view()).unwrap();
    assert_eq!(x.values(), [0.0; 3]);
}
