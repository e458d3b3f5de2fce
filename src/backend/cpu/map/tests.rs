//! `map`, `fill` and `iota` against loops over scalars.

use super::super::testing::{Array, noise, same};
use super::super::{Backend, CPU};
use super::*;
use crate::base::dtype::Element;
use crate::memory::Storage;
use std::ptr::NonNull;

/// Sizes on both sides of the borders of blocks and of what is few.
const SIZES: [usize; 12] = [0, 1, 3, 31, 32, 33, 255, 256, 257, 511, 513, 1500];

/// `f` of arrays of one shape, into a new array.
fn run(f: Functor, out: DType, compute: DType, ins: &[&Array]) -> Vec<f64> {
    let result = Array::full(out, ins[0].shape(), 77.0);
    into(f, &result, compute, ins);
    result.values()
}

fn into(f: Functor, out: &Array, compute: DType, ins: &[&Array]) {
    let ins: Vec<_> = ins.iter().map(|x| Input::View(x.view())).collect();
    let alpha = [Scalar::Int(2)];
    CPU.map(f, &alpha[..f.params()], compute, out.view(), &ins);
}

/// `x + 2 y` of floats that are exact in every type.
fn add(x: &Array, y: &Array) -> Vec<f64> {
    let pairs = x.values().into_iter().zip(y.values());
    pairs.map(|(x, y)| x + 2.0 * y).collect()
}

#[test]
fn takes_any_number_of_elements() {
    for n in SIZES {
        let [x, y, z] = [1, 2, 3].map(|s| Array::new(DType::F32, &[n], &noise(n, s)));
        let want = add(&x, &y);
        assert!(
            same(&run(Functor::Add, DType::F32, DType::F32, &[&x, &y]), &want),
            "{n}"
        );
        let want: Vec<f64> = (x.values().iter().zip(y.values()).zip(z.values()))
            .map(|((&x, y), z)| if x != 0.0 { y } else { z })
            .collect();
        assert!(
            same(
                &run(Functor::Where, DType::F32, DType::F32, &[&x, &y, &z]),
                &want
            ),
            "{n}"
        );
    }
}

/// Streamed past the caches.
#[test]
fn takes_more_than_the_caches_hold() {
    let n = (32 << 20) / size_of::<f32>() + 77;
    let numbers = Array::new(DType::F32, &[1000], &noise(1000, 4));
    let x = Array::full(DType::F32, &[n.div_ceil(1000), 1000], 0.0);
    let rows = numbers.expand(x.shape());
    into(Functor::Copy, &x, DType::F32, &[&rows]);
    let (x, y) = (x.strided(&[n], &[1], 0), Array::full(DType::F32, &[n], 1.5));
    let result = Array::full(DType::F32, &[n], 77.0);
    into(Functor::Add, &result, DType::F32, &[&x, &y]);
    // A distance without factors in common with blocks and rows.
    for (count, distance, start) in [(n / 997, 997, 0), (100, 1, 0), (100, 1, n - 100)] {
        let [x, result] = [&x, &result].map(|a| a.strided(&[count], &[distance], start).values());
        assert!(x.iter().zip(&result).all(|(x, result)| *result == x + 3.0));
    }
}

#[test]
fn takes_any_types_together() {
    let integers: Vec<f64> = noise(700, 5).iter().map(|x| x.floor().abs()).collect();
    for x_type in DType::ALL {
        for y_type in [DType::Bool, DType::I16, DType::BF16, DType::F64, x_type] {
            for out in DType::ALL {
                let x = Array::new(x_type, &[700], &integers);
                let y = Array::new(y_type, &[700], &integers[1..].repeat(2)[..700]);
                let sums = add(&x, &y);
                let stored = Array::new(out, &[700], &sums).values();
                for compute in [DType::F32, DType::F64, DType::I64] {
                    let got = run(Functor::Add, out, compute, &[&x, &y]);
                    assert!(same(&got, &stored), "{x_type} {y_type} {compute} {out}");
                }
            }
        }
    }
}

#[test]
fn casts_as_elements_do() {
    let numbers = [
        0.0,
        -0.0,
        0.5,
        -0.5,
        1.0,
        -1.0,
        2.75,
        -2.75,
        100.5,
        127.0,
        128.0,
        -129.0,
        200.0,
        255.0,
        256.0,
        300.0,
        -300.5,
        40000.0,
        70000.0,
        -70000.0,
        16_777_217.0,
        1e9,
        1e-5,
        f64::NAN,
    ];
    for from in DType::ALL {
        for to in DType::ALL {
            // What is finite in the type: wide integers saturate, scalars wrap.
            let fits = |x: &&f64| from != DType::F16 || !(x.abs() > 65504.0);
            let numbers: Vec<f64> = numbers.iter().filter(fits).copied().collect();
            let x = Array::new(from, &[numbers.len()], &numbers);
            let want: Vec<f64> = (x.scalars().into_iter())
                .map(|s| with_dtype!(to, T => T::from_scalar(s).to_scalar().as_f64()))
                .collect();
            for layout in [x.clone(), x.scattered()] {
                let got = run(Functor::Copy, to, from.compute(), &[&layout]);
                assert!(same(&got, &want), "{from} to {to}: {got:?}, not {want:?}");
            }
        }
    }
}

#[test]
fn casts_what_does_not_fit() {
    let huge = Array::new(DType::F64, &[3], &[1e30, -1e30, f64::INFINITY]);
    let cast = |to| run(Functor::Copy, to, DType::F64, &[&huge]);
    let (min, max) = (i64::MIN as f64, i64::MAX as f64);
    assert_eq!(cast(DType::I64), [max, min, max]);
    assert_eq!(
        cast(DType::I32),
        [
            f64::from(i32::MAX),
            f64::from(i32::MIN),
            f64::from(i32::MAX)
        ]
    );
    assert_eq!(cast(DType::Bool), [1.0; 3]);
    assert_eq!(
        cast(DType::F16),
        [f64::INFINITY, f64::NEG_INFINITY, f64::INFINITY]
    );
    // Integers keep all of their bits on their way.
    let x = Array::ints(DType::I64, &[3], &[i64::MAX, i64::MIN, (1 << 53) + 1]);
    let out = Array::full(DType::I64, &[3], 0.0);
    into(Functor::Copy, &out, DType::I64, &[&x]);
    assert_eq!(out.integers(), [i64::MAX, i64::MIN, (1 << 53) + 1]);
    assert_eq!(
        run(Functor::Copy, DType::U8, DType::I64, &[&x]),
        [255.0, 0.0, 1.0]
    );
}

#[test]
fn any_byte_but_zero_is_true() {
    let bytes = Array::new(DType::U8, &[4], &[0.0, 1.0, 2.0, 255.0]);
    let flags = View {
        dtype: DType::Bool,
        ..bytes.view()
    };
    let out = Array::full(DType::Bool, &[4], 0.0);
    CPU.map(
        Functor::Copy,
        &[],
        DType::I64,
        out.view(),
        &[Input::View(flags)],
    );
    assert_eq!(out.values(), [0.0, 1.0, 1.0, 1.0]);
    let raw = View {
        dtype: DType::U8,
        ..out.view()
    };
    let copy = Array::full(DType::U8, &[4], 0.0);
    CPU.map(
        Functor::Copy,
        &[],
        DType::I64,
        copy.view(),
        &[Input::View(raw)],
    );
    assert_eq!(
        copy.values(),
        [0.0, 1.0, 1.0, 1.0],
        "what is stored is 0 or 1"
    );
}

#[test]
fn walks_any_layout() {
    // Long and short rows, in all orders of three dimensions.
    for shape in [
        [3, 70, 45],
        [33, 2, 100],
        [1, 90, 90],
        [20, 17, 33],
        [2, 3, 5],
        [6, 0, 2],
    ] {
        let n = shape.iter().product();
        let dense = Array::new(DType::F32, &shape, &noise(n, 1));
        let row = Array::new(DType::F32, &[shape[2]], &noise(shape[2], 2)).expand(&shape);
        let column = Array::new(DType::F32, &[shape[1], 1], &noise(shape[1], 3)).expand(&shape);
        let one = Array::new(DType::F32, &[], &[1.5]).expand(&shape);
        let double = Array::new(DType::F64, &shape, &noise(n, 4)).scattered();
        let turned: Vec<Array> = [(0, 1), (0, 2), (1, 2)]
            .iter()
            .map(|&(a, b)| {
                let mut shape = shape;
                shape.swap(a, b);
                Array::new(DType::F32, &shape, &noise(n, 5)).transpose(a, b)
            })
            .collect();
        let mut all = vec![&dense, &row, &column, &one, &double];
        all.extend(&turned);
        for x in &all {
            for y in &all {
                let want = add(x, y);
                for out_type in [DType::F32, DType::F16, DType::F64] {
                    let plain = Array::full(out_type, &shape, 77.0);
                    for out in [plain.clone(), plain.scattered()] {
                        into(Functor::Add, &out, DType::F32, &[x, y]);
                        assert!(same(&out.values(), &want), "{shape:?} {out_type}");
                    }
                }
            }
        }
    }
}

/// Rows of all lengths, long and short, that lie evenly or not, some of them one number.
#[test]
fn takes_rows_of_any_length() {
    for n in [1, 2, 3, 10, 63, 64, 65, 255, 257, 300, 1000, 1024, 1025] {
        for shape in [[1, 6000 / n + 2, n], [3, 500 / n + 2, n]] {
            let [a, b, _] = shape;
            let new = |shape: &[usize], seed| {
                let n = shape.iter().product();
                Array::new(DType::F32, shape, &noise(n, seed))
            };
            let dense = new(&shape, 1);
            let all = [
                dense.clone(),
                dense.laid_out(&[b * (n + 3), n + 3, 1], 1),
                new(&[n], 2).expand(&shape),
                new(&[b, n], 3).expand(&shape),
                new(&[a, 1, n], 4).expand(&shape),
                new(&[b, 1], 5).expand(&shape),
                new(&[a, b, 2], 6)
                    .strided(&[a, b, 1], &[2 * b, 2, 1], 1)
                    .expand(&shape),
                new(&[], 7).expand(&shape),
            ];
            for x in &all {
                for y in &all {
                    let plain = Array::full(DType::F32, &shape, 77.0);
                    let padded = plain.laid_out(&[b * (n + 1), n + 1, 1], 3);
                    let half = Array::full(DType::F16, &shape, 77.0);
                    for out in [plain, padded, half] {
                        into(Functor::Add, &out, DType::F32, &[x, y]);
                        assert!(same(&out.values(), &add(x, y)), "{shape:?}");
                        into(Functor::Where, &out, DType::F32, &[x, y, &dense]);
                        let want: Vec<f64> =
                            (x.values().iter().zip(y.values()).zip(dense.values()))
                                .map(|((&x, y), z)| if x != 0.0 { y } else { z })
                                .collect();
                        assert!(same(&out.values(), &want), "{shape:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn writes_nothing_else() {
    let x = Array::new(DType::F32, &[70, 80], &noise(5600, 1)).transpose(0, 1);
    let frame = Array::full(DType::F32, &[100 * 200], 77.0);
    let out = frame.strided(&[80, 70], &[200, 2], 3);
    into(Functor::Copy, &out, DType::F32, &[&x]);
    assert!(same(&out.values(), &x.values()));
    let inside =
        |i: usize| i >= 3 && (i - 3) / 200 < 80 && (i - 3) % 200 < 140 && (i - 3).is_multiple_of(2);
    for (i, v) in frame.buffer().into_iter().enumerate() {
        assert!(inside(i) || v == 77.0, "position {i} became {v}");
    }
}

#[test]
fn works_in_place() {
    for dtype in [DType::F32, DType::F16, DType::I64, DType::I8, DType::F64] {
        for n in SIZES {
            let x = Array::new(dtype, &[n], &noise(n, 1));
            let y = Array::new(dtype, &[n], &noise(n, 2));
            let want = run(Functor::Add, dtype, dtype.compute(), &[&x, &y]);
            into(Functor::Add, &x, dtype.compute(), &[&x, &y]);
            assert!(same(&x.values(), &want), "first, {dtype} {n}");
            let want = run(Functor::Add, dtype, dtype.compute(), &[&x, &y]);
            into(Functor::Add, &y, dtype.compute(), &[&x, &y]);
            assert!(same(&y.values(), &want), "second, {dtype} {n}");
            let want = run(Functor::Mul, dtype, dtype.compute(), &[&y, &y]);
            into(Functor::Mul, &y, dtype.compute(), &[&y, &y]);
            assert!(same(&y.values(), &want), "both, {dtype} {n}");
        }
    }
}

#[test]
fn works_in_place_in_any_layout() {
    let x = Array::new(DType::F32, &[90, 70], &noise(6300, 1));
    let other = Array::new(DType::F32, &[90, 70], &noise(6300, 2));
    for (x, other) in [
        (x.transpose(0, 1), other.transpose(0, 1)),
        (x.scattered(), other.clone()),
        (
            x.strided(&[70, 40], &[1, 70], 5),
            other.strided(&[70, 40], &[40, 1], 0),
        ),
    ] {
        let want = run(Functor::Add, DType::F32, DType::F32, &[&x, &other]);
        into(Functor::Add, &x, DType::F32, &[&x, &other]);
        assert!(same(&x.values(), &want));
    }
    // Neighbours in one buffer that share no element.
    let buffer = Array::new(DType::F32, &[2000], &noise(2000, 3));
    let [even, odd] = [0, 1].map(|i| buffer.strided(&[1000], &[2], i));
    let want = add(&even, &odd);
    into(Functor::Add, &even, DType::F32, &[&even, &odd]);
    assert!(same(&even.values(), &want));
}

#[test]
fn sees_that_two_storages_are_one_memory() {
    let mut memory: Vec<f32> = (0..1000u16).map(f32::from).collect();
    let data = NonNull::new(memory.as_mut_ptr().cast::<u8>()).expect("not null");
    // SAFETY: the vector outlives both storages, which are the only users of its memory.
    let [a, b] = [(); 2].map(|()| unsafe { Storage::foreign(data, 4000, Box::new(())) });
    let layout = Layout::contiguous([1000].into());
    let [out, x] = [&a, &b].map(|storage| View {
        storage,
        layout: &layout,
        dtype: DType::F32,
    });
    CPU.map(
        Functor::Mul,
        &[],
        DType::F32,
        out,
        &[Input::View(x), Input::View(x)],
    );
    assert!((0..1000).all(|i| a.read::<f32>(i) == (i * i) as f32));
}

#[test]
fn takes_scalars_anywhere() {
    for n in SIZES {
        let x = Array::new(DType::F32, &[n], &noise(n, 1));
        let two = Input::Scalar(Scalar::Float(2.5));
        let out = Array::full(DType::F32, &[n], 77.0);
        let want: Vec<f64> = x.values().iter().map(|x| 2.5 - x).collect();
        let minus = [Scalar::Int(-1)];
        CPU.map(
            Functor::Add,
            &minus,
            DType::F32,
            out.view(),
            &[two, Input::View(x.view())],
        );
        assert!(same(&out.values(), &want), "{n}");
        let want: Vec<f64> = x.values().iter().map(|x| x * 2.5).collect();
        CPU.map(
            Functor::Mul,
            &[],
            DType::F32,
            x.view(),
            &[Input::View(x.view()), two],
        );
        assert!(same(&x.values(), &want), "in place, {n}");
        let ins = [
            Input::Scalar(Scalar::Bool(true)),
            two,
            Input::Scalar(Scalar::Int(9)),
        ];
        CPU.map(Functor::Where, &[], DType::F32, out.view(), &ins);
        assert!(same(&out.values(), &vec![2.5; n]), "{n}");
    }
}

#[test]
fn compares_into_bools_and_keeps_nan() {
    let x = Array::new(DType::F32, &[4], &[1.0, f64::NAN, 3.0, f64::INFINITY]);
    let y = Array::new(DType::F32, &[4], &[1.0, f64::NAN, 4.0, 2.0]);
    let compare = |f| run(f, DType::Bool, DType::F32, &[&x, &y]);
    assert_eq!(compare(Functor::Eq), [1.0, 0.0, 0.0, 0.0]);
    assert_eq!(compare(Functor::Ne), [0.0, 1.0, 1.0, 1.0]);
    assert_eq!(compare(Functor::Lt), [0.0, 0.0, 1.0, 0.0]);
    assert_eq!(
        run(Functor::Copy, DType::Bool, DType::F32, &[&x]),
        [1.0; 4],
        "NaN is true"
    );
    let half = run(Functor::Copy, DType::BF16, DType::F32, &[&x]);
    assert!(same(&half, &x.values()));
}

#[test]
fn fills_every_type_and_layout() {
    let numbers = [
        Scalar::Float(0.5),
        Scalar::Float(-2.0),
        Scalar::Int(300),
        Scalar::Bool(true),
    ];
    for dtype in DType::ALL {
        for value in numbers
            .into_iter()
            .chain([Scalar::Float(f64::NAN), Scalar::Float(0.0)])
        {
            let want = with_dtype!(dtype, T => T::from_scalar(value).to_scalar().as_f64());
            for shape in [&[][..], &[0], &[3], &[40, 41]] {
                let x = Array::full(dtype, shape, 1.0);
                for x in [x.clone(), x.scattered()] {
                    CPU.fill(x.view(), value);
                    let all = vec![want; x.values().len()];
                    assert!(same(&x.values(), &all), "{dtype} {value:?} {shape:?}");
                }
            }
        }
    }
    let frame = Array::full(DType::F32, &[20], 77.0);
    CPU.fill(frame.strided(&[3, 2], &[6, 2], 1).view(), Scalar::Int(5));
    let written: Vec<usize> = (0..20).filter(|&i| frame.buffer()[i] == 5.0).collect();
    assert_eq!(written, [1, 3, 7, 9, 13, 15]);
}

#[test]
fn counts_in_row_major_order() {
    for n in SIZES {
        for dtype in [DType::F32, DType::I64, DType::I16, DType::F64] {
            let x = Array::full(dtype, &[n], 77.0);
            CPU.iota(x.view(), Scalar::Int(3), Scalar::Int(-2));
            let want: Vec<f64> = (0..n).map(|i| 3.0 - 2.0 * i as f64).collect();
            assert_eq!(x.values(), want, "{dtype} {n}");
        }
    }
    let x = Array::full(DType::F64, &[30, 40], 0.0);
    for x in [x.transpose(0, 1), x.scattered(), x] {
        CPU.iota(x.view(), Scalar::Float(0.5), Scalar::Int(1));
        let want: Vec<f64> = (0..1200).map(|i| 0.5 + f64::from(i)).collect();
        assert_eq!(x.values(), want);
    }
    let big = Array::full(DType::I64, &[2], 0.0);
    CPU.iota(big.view(), Scalar::Int(i64::MAX - 1), Scalar::Int(1));
    assert_eq!(
        big.integers(),
        [i64::MAX - 1, i64::MAX],
        "exact beyond 2^53"
    );
}

#[test]
fn has_the_same_bits_in_any_layout() {
    let n = 5000;
    let x = Array::new(DType::F32, &[50, 100], &noise(n, 9));
    let want = run(Functor::Exp, DType::F32, DType::F32, &[&x]);
    for x in [x.clone(), x.scattered()] {
        assert_eq!(run(Functor::Exp, DType::F32, DType::F32, &[&x]), want);
    }
    let turned = x.transpose(0, 1);
    let back = Array::full(DType::F32, &[50, 100], 0.0).transpose(0, 1);
    into(Functor::Exp, &back, DType::F32, &[&turned]);
    assert_eq!(back.transpose(0, 1).values(), want);
}
