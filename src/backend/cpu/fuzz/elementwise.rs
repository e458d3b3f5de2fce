//! Maps, copies, casts, fills and random numbers.

use super::super::super::{Distribution, Domain, Functor, Input};
use super::*;
use crate::base::Scalar;
use crate::base::dtype::Element;
use crate::with_dtype;

/// An input of a map.
#[derive(Clone)]
enum Operand {
    Array(Array),
    Number(Scalar),
}

impl Operand {
    fn view(&self) -> Input<'_> {
        match self {
            Operand::Array(x) => Input::View(x.view()),
            Operand::Number(s) => Input::Scalar(*s),
        }
    }

    /// What the functor takes for each of the `n` elements of the output.
    fn elements(&self, n: usize) -> Vec<Self> {
        match self {
            Operand::Array(x) => x.elements().into_iter().map(Operand::Array).collect(),
            number => vec![number.clone(); n],
        }
    }
}

/// Each functor on whole arrays, against itself on one element after the other.
#[test]
fn maps_are_the_same_for_many_elements_as_for_one() {
    let all = Functor::ALL;
    fuzz(12 * all.len() as u64, |draw| {
        let f = all[draw.case as usize % all.len()];
        draw.drawn.push(format!("{f:?}"));
        let compute = draw.choose(match f.domain() {
            Domain::Any => &[DType::F32, DType::F64, DType::I64],
            Domain::Float => &[DType::F32, DType::F64],
            Domain::Integer => &[DType::I64],
        });
        let dtype = |draw: &mut Draw| {
            if draw.once_in(2) {
                compute
            } else {
                draw.pick(&DType::ALL)
            }
        };
        let params: Vec<Scalar> = (0..f.params())
            .map(|_| Scalar::Int(draw.below(4) as i64))
            .collect();
        let shape = draw.any_shape(1200);
        let n: usize = shape.iter().product();
        // What is written over must not share places.
        let in_place = draw.once_in(4);
        let ins: Vec<Operand> = (0..f.arity())
            .map(|_| {
                if !in_place && draw.once_in(6) {
                    return Operand::Number(Scalar::Float(draw.below(65) as f64 / 8.0 - 4.0));
                }
                let dtype = dtype(draw);
                let mut values = draw.exact(dtype, n);
                draw.roughen(dtype, &mut values);
                Operand::Array(draw.input_in(dtype, &shape, &values, !in_place))
            })
            .collect();
        let out = match &ins[draw.below(ins.len())] {
            Operand::Array(x) if in_place => {
                draw.will_write(x);
                x.clone()
            }
            _ => {
                let dtype = dtype(draw);
                draw.output(dtype, &shape)
            }
        };
        let elements: Vec<Vec<Operand>> = ins.iter().map(|x| x.elements(n)).collect();
        let want: Vec<f64> = (0..n)
            .map(|i| {
                let one = Array::full(out.dtype(), &[], 9.0);
                let ins: Vec<Input> = elements.iter().map(|x| x[i].view()).collect();
                CPU.map(f, &params, compute, one.view(), &ins);
                one.values()[0]
            })
            .collect();
        let views: Vec<Input> = ins.iter().map(Operand::view).collect();
        CPU.map(f, &params, compute, out.view(), &views);
        expect(&out.values(), &want);
    });
}

#[test]
fn copies_and_casts_as_elements_do() {
    fuzz(600, |draw| {
        let from = draw.pick(&DType::ALL);
        let to = if draw.once_in(2) {
            from
        } else {
            draw.pick(&DType::ALL)
        };
        let shape = draw.any_shape(20_000);
        let n = shape.iter().product();
        let mut values = draw.exact(from, n);
        if to == from {
            draw.roughen(from, &mut values);
        }
        let x = draw.shared_input(from, &shape, &values);
        let out = draw.output(to, &shape);
        let want: Vec<f64> = (x.scalars().into_iter())
            .map(|s| with_dtype!(to, T => T::from_scalar(s).to_scalar().as_f64()))
            .collect();
        let ins = [Input::View(x.view())];
        CPU.map(Functor::Copy, &[], from.compute(), out.view(), &ins);
        expect(&out.values(), &want);
    });
}

#[test]
fn fills_and_counts() {
    fuzz(400, |draw| {
        let dtype = draw.pick(&DType::ALL);
        let shape = draw.any_shape(5000);
        let out = draw.output(dtype, &shape);
        let n = out.values().len();
        let value = draw.pick(&[0.0, -0.0, 0.5, 3.0]);
        CPU.fill(out.view(), Scalar::Float(value));
        expect(&out.values(), &vec![rounded(dtype, value); n]);
        let (start, step) = (draw.below(9), draw.below(4));
        let number = |x: usize| {
            if dtype.is_float() {
                Scalar::Float(x as f64 / 8.0)
            } else {
                Scalar::Int(x as i64)
            }
        };
        CPU.iota(out.view(), number(start), number(step));
        let want: Vec<f64> = (0..n)
            .map(|i| rounded(dtype, number(start + i * step).as_f64()))
            .collect();
        expect(&out.values(), &want);
    });
}

#[test]
fn random_numbers_do_not_depend_on_the_layout() {
    let all = [
        Distribution::Uniform {
            low: -1.0,
            high: 3.0,
        },
        Distribution::Normal {
            mean: 1.0,
            std: 2.0,
        },
        Distribution::Integers { low: 0, high: 90 },
        Distribution::Bernoulli { p: 0.3 },
        Distribution::Exponential { rate: 0.5 },
        Distribution::LogNormal {
            mean: 0.0,
            std: 0.5,
        },
        Distribution::Cauchy {
            median: 1.0,
            sigma: 0.5,
        },
        Distribution::Geometric { p: 0.2 },
    ];
    fuzz(300, |draw| {
        let distribution = draw.choose(&all);
        let dtype = draw.pick(&DType::ALL);
        let shape = draw.any_shape(3000);
        let (seed, offset) = (draw.below(100) as u64, draw.below(100) as u64);
        let out = draw.output(dtype, &shape);
        CPU.random(out.view(), distribution, seed, offset);
        let one_by_one: Vec<f64> = (0..out.values().len() as u64)
            .map(|i| {
                let one = Array::full(dtype, &[], 9.0);
                CPU.random(one.view(), distribution, seed, offset + i);
                one.values()[0]
            })
            .collect();
        expect(&out.values(), &one_by_one);
    });
}

#[test]
fn permutations_hold_each_number_once() {
    fuzz(100, |draw| {
        let shape = draw.shape(1, 2000);
        let out = draw.output(DType::I64, &shape);
        let seed = draw.below(100) as u64;
        CPU.randperm(out.view(), seed, 5);
        let permutation = out.values();
        let dense = Array::full(DType::I64, &shape, 9.0);
        CPU.randperm(dense.view(), seed, 5);
        expect(&permutation, &dense.values());
        let mut sorted = permutation;
        sorted.sort_by(f64::total_cmp);
        let all: Vec<f64> = (0..shape[0]).map(|i| i as f64).collect();
        expect(&sorted, &all);
    });
}
