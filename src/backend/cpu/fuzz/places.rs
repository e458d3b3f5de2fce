//! Elements moved, chosen, found and counted.

use super::super::super::{Classes, Combine};
use super::*;

/// The multi-index of a row-major position.
fn place(mut at: usize, shape: &[usize]) -> Vec<usize> {
    let mut place = vec![0; shape.len()];
    for d in (0..shape.len()).rev() {
        place[d] = at % shape[d];
        at /= shape[d];
    }
    place
}

/// The row-major position of a multi-index.
fn position(place: &[usize], shape: &[usize]) -> usize {
    place.iter().zip(shape).fold(0, |at, (i, n)| at * n + i)
}

/// Where each element of an index with entries along `dim` points to in a tensor of shape `to`.
fn targets(index: &Array, dim: usize, to: &[usize]) -> Vec<usize> {
    let target = |(at, k): (usize, i64)| {
        let mut place = place(at, index.shape());
        if let Some(i) = place.get_mut(dim) {
            *i = k as usize;
        }
        // The tensor or the index may be a scalar, which stands for a vector of one element.
        if to.is_empty() || index.shape().is_empty() {
            return k as usize;
        }
        position(&place, to)
    };
    index
        .integers()
        .into_iter()
        .enumerate()
        .map(target)
        .collect()
}

/// What a scatter makes of an element, rounded as it is stored.
fn combined(combine: Combine, dtype: DType, old: f64, new: f64) -> f64 {
    let result = match combine {
        Combine::Set => new,
        Combine::Add => old + new,
        Combine::Mul => old * new,
        _ if old.is_nan() || new.is_nan() => f64::NAN,
        Combine::Max => old.max(new),
        Combine::Min => old.min(new),
    };
    rounded(dtype, result)
}

/// Numbers of which products stay small.
fn factors(draw: &mut Draw, combine: Combine, dtype: DType, n: usize) -> Vec<f64> {
    let mut values = draw.exact(dtype, n);
    if combine == Combine::Mul {
        values.iter_mut().for_each(|x| *x = x.signum());
    }
    values
}

/// An index with entries along `dim` of a tensor of shape `x`, elsewhere not larger than it.
fn index_along(draw: &mut Draw, x: &[usize], dim: usize) -> Array {
    let mut shape = x.to_vec();
    for (d, n) in shape.iter_mut().enumerate() {
        if d == dim {
            *n = draw.size().min(60);
        } else if draw.once_in(3) {
            *n = draw.below(*n + 1);
        }
    }
    let size = x.get(dim).copied().unwrap_or(1);
    if size == 0 {
        shape.iter_mut().for_each(|n| *n = 0);
    }
    draw.index(&shape, |draw| draw.below(size) as i64)
}

#[test]
fn gathers() {
    fuzz(400, |draw| {
        let dtype = draw.pick(&DType::ALL);
        let shape = draw.any_shape(3000);
        let dim = draw.dim(&shape);
        let mut values = draw.exact(dtype, shape.iter().product());
        draw.roughen(dtype, &mut values);
        let x = draw.shared_input(dtype, &shape, &values);
        let index = index_along(draw, &shape, dim);
        let out = draw.output(dtype, index.shape());
        CPU.gather(out.view(), x.view(), dim, index.view())
            .expect("indices in range");
        let x = x.values();
        let want: Vec<f64> = targets(&index, dim, &shape).iter().map(|i| x[*i]).collect();
        expect(&out.values(), &want);
    });
}

#[test]
fn scatters() {
    use Combine::*;
    fuzz(500, |draw| {
        let combine = draw.choose(&[Set, Add, Mul, Max, Min]);
        let dtype = draw.pick(&DType::ALL);
        let shape = draw.any_shape(3000);
        let dim = draw.dim(&shape);
        let values = factors(draw, combine, dtype, shape.iter().product());
        let x = draw.input(dtype, &shape, &values);
        draw.will_write(&x);
        let index = index_along(draw, &shape, dim);
        let larger: Vec<usize> = index
            .shape()
            .iter()
            .map(|n| n + draw.pick(&[0, 0, 0, 1, 3]))
            .collect();
        let mut values = factors(draw, combine, dtype, larger.iter().product());
        if matches!(combine, Set | Max | Min) {
            draw.roughen(dtype, &mut values);
        }
        let src = draw.shared_input(dtype, &larger, &values);
        let mut want = x.values();
        CPU.scatter(combine, x.view(), dim, index.view(), src.view())
            .expect("indices in range");
        let from = src.values();
        for (at, to) in targets(&index, dim, &shape).into_iter().enumerate() {
            let new = from[position(&place(at, index.shape()), &larger)];
            want[to] = combined(combine, dtype, want[to], new);
        }
        expect_same(&x.values(), &want);
    });
}

#[test]
fn looks_up_and_puts_back() {
    fuzz(500, |draw| {
        let dtype = draw.pick(&DType::ALL);
        let shape = draw.any_shape(2000);
        let lead = draw.below(shape.len() + 1);
        let entries = if shape[..lead].contains(&0) {
            vec![0]
        } else {
            let ndim = draw.below(3);
            draw.shape(ndim, 100)
        };
        let indices: Vec<Array> = shape[..lead]
            .iter()
            .map(|&n| draw.index(&entries, |draw| draw.below(2 * n) as i64 - n as i64))
            .collect();
        let entries = if lead == 0 { vec![] } else { entries };
        let views: Vec<View> = indices.iter().map(Array::view).collect();
        let rest = &shape[lead..];
        let out_shape = [&entries[..], rest].concat();
        let n_out: usize = out_shape.iter().product();
        let run: usize = rest.iter().product();
        let integers: Vec<Vec<i64>> = indices.iter().map(Array::integers).collect();
        let from: Vec<usize> = (0..n_out)
            .map(|at| {
                let row = integers.iter().zip(&shape).fold(0, |row, (index, n)| {
                    let i = index[at / run];
                    row * n + (if i < 0 { i + *n as i64 } else { i }) as usize
                });
                row * run + at % run
            })
            .collect();

        let mut values = draw.exact(dtype, shape.iter().product());
        draw.roughen(dtype, &mut values);
        let x = draw.shared_input(dtype, &shape, &values);
        let out = draw.output(dtype, &out_shape);
        CPU.index(out.view(), x.view(), &views)
            .expect("indices in range");
        let elements = x.values();
        let want: Vec<f64> = from.iter().map(|i| elements[*i]).collect();
        expect(&out.values(), &want);

        let combine = draw.choose(&[Combine::Set, Combine::Add]);
        let values = draw.exact(dtype, shape.iter().product());
        let x = draw.input(dtype, &shape, &values);
        draw.will_write(&x);
        let values = draw.exact(dtype, n_out);
        let put = draw.shared_input(dtype, &out_shape, &values);
        let mut want = x.values();
        CPU.index_put(combine, x.view(), &views, put.view())
            .expect("indices in range");
        for (to, new) in from.iter().zip(put.values()) {
            want[*to] = combined(combine, dtype, want[*to], new);
        }
        expect_same(&x.values(), &want);
    });
}

#[test]
fn likelihoods() {
    fuzz(300, |draw| {
        let dtype = draw.choose(&FLOATS);
        let wide = dtype.compute();
        let mut shape = draw.any_shape(3000);
        if shape.is_empty() {
            shape.push(draw.size().min(60));
        }
        let dim = draw.dim(&shape);
        let count = shape[dim];
        let mut places = shape.clone();
        places.remove(dim);
        let ignored = draw.pick(&[-100, 0, 1]);
        let target = draw.index(&places, |draw| {
            if count == 0 || draw.once_in(4) {
                ignored
            } else {
                draw.below(count) as i64
            }
        });
        let values = draw.exact(dtype, count);
        let weighted = draw.once_in(2);
        let weight = draw.shared_input(dtype, &[count], &values);
        let classes = Classes {
            dim,
            target: target.view(),
            ignored,
            weight: weighted.then(|| weight.view()),
        };
        let weights = weight.values();
        let weight_of = |t: i64| if weighted { weights[t as usize] } else { 1.0 };
        let at = |i: usize, t: i64| {
            let mut place = place(i, &places);
            place.insert(dim, t as usize);
            position(&place, &shape)
        };
        let counted = |t: i64| (t != ignored).then_some(t);
        let target = target.integers();

        let mut values = draw.exact(dtype, shape.iter().product());
        draw.roughen(dtype, &mut values);
        let x = draw.shared_input(dtype, &shape, &values);
        let (losses, out_weights) = (draw.output(wide, &places), draw.output(wide, &places));
        CPU.nll(losses.view(), out_weights.view(), x.view(), &classes)
            .expect("classes in range");
        let x = x.values();
        let each = |f: &dyn Fn(usize, i64) -> f64| -> Vec<f64> {
            let value = |(i, t): (usize, &i64)| counted(*t).map_or(0.0, |t| f(i, t));
            target.iter().enumerate().map(value).collect()
        };
        let want = each(&|i, t| rounded(wide, -x[at(i, t)] * weight_of(t)));
        expect(&losses.values(), &want);
        expect(&out_weights.values(), &each(&|_, t| weight_of(t)));

        let values = draw.exact(wide, places.iter().product());
        let slope = draw.shared_input(wide, &places, &values);
        let out = draw.output(dtype, &shape);
        CPU.nll_backward(out.view(), slope.view(), &classes)
            .expect("classes in range");
        let slope = slope.values();
        let mut want = vec![0.0; x.len()];
        for (i, t) in target.iter().enumerate() {
            if let Some(t) = counted(*t) {
                want[at(i, t)] = rounded(dtype, slope[i] * weight_of(t));
            }
        }
        expect(&out.values(), &want);
    });
}

#[test]
fn class_numbers_that_are_none_write_nothing() {
    let target = Array::ints(DType::I64, &[3], &[0, -100, 4]);
    let classes = Classes {
        dim: 1,
        target: target.view(),
        ignored: -100,
        weight: None,
    };
    let x = Array::full(DType::F32, &[3, 4], 1.0);
    let out = Array::full(DType::F32, &[3], 9.0);
    let error = CPU.nll(out.view(), out.view(), x.view(), &classes);
    let message = "Target 4 is out of bounds. Classes are numbered from 0 to 3";
    assert_eq!(error.expect_err("4 is none").message(), message);
    assert_eq!(out.values(), [9.0; 3]);
    CPU.nll_backward(x.view(), out.view(), &classes)
        .expect_err("4 is none");
    assert_eq!(x.values(), [1.0; 12]);
}

#[test]
fn flips() {
    fuzz(300, |draw| {
        let dtype = draw.pick(&DType::ALL);
        let shape = draw.any_shape(4000);
        let dims: Vec<usize> = (0..shape.len()).filter(|_| draw.once_in(2)).collect();
        draw.drawn.push(format!("dims {dims:?}"));
        let mut values = draw.exact(dtype, shape.iter().product());
        draw.roughen(dtype, &mut values);
        let x = draw.shared_input(dtype, &shape, &values);
        let out = draw.output(dtype, &shape);
        CPU.flip(out.view(), x.view(), &dims);
        let x = x.values();
        let mirrored = |at: usize| {
            let mut place = place(at, &shape);
            dims.iter()
                .for_each(|d| place[*d] = shape[*d] - 1 - place[*d]);
            x[position(&place, &shape)]
        };
        let want: Vec<f64> = (0..x.len()).map(mirrored).collect();
        expect(&out.values(), &want);
    });
}

#[test]
fn finds_what_is_not_zero() {
    fuzz(300, |draw| {
        let dtype = draw.pick(&DType::ALL);
        let shape = draw.any_shape(40_000);
        let mut values = draw.exact(dtype, shape.iter().product());
        let many = draw.pick(&[1, 2, 20]);
        values.iter_mut().for_each(|x| {
            if !draw.once_in(many) {
                *x = 0.0;
            }
        });
        draw.roughen(dtype, &mut values);
        let x = draw.shared_input(dtype, &shape, &values);
        let not_zero = |(i, x): (usize, f64)| (x != 0.0).then_some(i as f64);
        let want: Vec<f64> = x
            .values()
            .into_iter()
            .enumerate()
            .filter_map(not_zero)
            .collect();
        assert_eq!(CPU.count_nonzero(x.view()), want.len());
        let room = want.len().saturating_sub(draw.pick(&[0, 0, 1, 7]));
        let out = Array::full(DType::I64, &[room], 9.0).laid_out(&[1], draw.pick(&[0, 3]));
        draw.written.push(out.clone());
        CPU.nonzero(out.view(), x.view());
        expect(&out.values(), &want[..room]);
    });
}

#[test]
fn searches_sorted_rows() {
    fuzz(300, |draw| {
        let dtype = draw.choose(&DType::ALL);
        let shape = draw.any_shape(2000);
        let right = draw.choose(&[false, true]);
        let is_shared = shape.is_empty() || draw.once_in(2);
        let lead = &shape[..if is_shared { 0 } else { shape.len() - 1 }];
        let size = draw.size().min(300);
        let bounds = [lead, &[size]].concat();
        let mut sorted = draw.exact(dtype, bounds.iter().product());
        sorted
            .chunks_mut(size.max(1))
            .for_each(|row| row.sort_by(f64::total_cmp));
        let boundaries = draw.input(dtype, &bounds, &sorted);
        let values = draw.exact(dtype, shape.iter().product());
        let v = draw.shared_input(dtype, &shape, &values);
        let integers = draw.choose(&[DType::I32, DType::I64]);
        let out = draw.output(integers, &shape);
        CPU.searchsorted(out.view(), boundaries.view(), v.view(), right);
        let last = shape.last().copied().unwrap_or(1);
        let below = |(at, v): (usize, f64)| {
            let row = if is_shared { 0 } else { at / last };
            let row = &sorted[row * size..][..size];
            row.iter()
                .filter(|b| **b < v || (right && **b == v))
                .count() as f64
        };
        let want: Vec<f64> = v.values().into_iter().enumerate().map(below).collect();
        expect(&out.values(), &want);
    });
}

#[test]
fn counts_integers() {
    fuzz(300, |draw| {
        let shape = draw.shape(1, 3000);
        let bins = draw.below(100) + 1;
        let x = draw.index(&shape, |draw| draw.below(bins) as i64);
        let is_weighted = draw.choose(&[false, true]);
        let dtype = draw.choose(&[DType::F32, DType::F64, DType::I32]);
        let values = draw.exact(dtype, shape[0]);
        let weights = is_weighted.then(|| draw.shared_input(dtype, &shape, &values));
        let (strides, offset) = draw.layout(&[bins], false);
        let out_type = if is_weighted { DType::F64 } else { DType::I64 };
        let out = Array::full(out_type, &[bins], 0.0).laid_out(&strides, offset);
        draw.written.push(out.clone());
        CPU.bincount(out.view(), x.view(), weights.as_ref().map(Array::view));
        let mut want = vec![0.0; bins];
        let weights = weights.map_or(vec![1.0; shape[0]], |w| w.values());
        for (i, w) in x.integers().into_iter().zip(weights) {
            want[i as usize] += w;
        }
        expect_same(&out.values(), &want);
    });
}
