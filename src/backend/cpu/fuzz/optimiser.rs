//! Steps of optimisers.

use super::super::super::{Adam, Sgd, Update};
use super::*;

/// A step of one parameter with its state, in `f64`.
fn step(rule: &Update, tensor: usize, x: &[f64]) -> Vec<f64> {
    let mut x = x.to_vec();
    match rule {
        Update::Sgd(rule) => {
            let sign = if rule.maximize { -1.0 } else { 1.0 };
            let mut along = sign * x[1] + rule.weight_decay * x[0];
            if rule.momentum != 0.0 {
                x[2] = rule.momentum * x[2] + (1.0 - rule.dampening) * along;
                along = if rule.nesterov {
                    along + rule.momentum * x[2]
                } else {
                    x[2]
                };
            }
            x[0] -= rule.lr * along;
        }
        Update::Adam(rule) => {
            let sign = if rule.maximize { -1.0 } else { 1.0 };
            let mut g = sign * x[1];
            if rule.decoupled {
                x[0] *= 1.0 - rule.lr * rule.weight_decay;
            } else {
                g += rule.weight_decay * x[0];
            }
            x[2] += (1.0 - rule.beta1) * (g - x[2]);
            x[3] = rule.beta2 * x[3] + (1.0 - rule.beta2) * g * g;
            let mut square = x[3];
            if rule.amsgrad {
                x[4] = x[4].max(x[3]);
                square = x[4];
            }
            let [c1, c2] = rule.corrections[tensor];
            x[0] -= rule.lr / c1 * x[2] / (square.sqrt() / c2 + rule.eps);
        }
        Update::Scale(factor) => x[0] *= factor,
        Update::Zero => x[0] = 0.0,
    }
    x
}

/// A rule, and how many tensors belong to each parameter.
fn any_rule(draw: &mut Draw, tensors: usize) -> (Update, usize) {
    let truth = [false, true];
    match draw.below(6) {
        0 => (Update::Zero, 1),
        1 => (Update::Scale(0.3), 1),
        2 | 3 => {
            let momentum = draw.pick(&[0.0, 0.9]);
            let rule = Sgd {
                lr: 0.1,
                momentum,
                dampening: draw.pick(&[0.0, 0.3]),
                weight_decay: draw.pick(&[0.0, 0.01]),
                nesterov: momentum != 0.0 && draw.pick(&truth),
                maximize: draw.pick(&truth),
            };
            (Update::Sgd(rule), if momentum == 0.0 { 2 } else { 3 })
        }
        _ => {
            let amsgrad = draw.pick(&truth);
            let rule = Adam {
                lr: 0.01,
                beta1: draw.pick(&[0.9, 0.2]),
                beta2: 0.99,
                eps: 1e-6,
                weight_decay: draw.pick(&[0.0, 0.01]),
                decoupled: draw.pick(&truth),
                amsgrad,
                maximize: draw.pick(&truth),
                corrections: vec![[0.1, 0.1], [0.5, 0.3], [1.0, 1.0]][..tensors].to_vec(),
            };
            (Update::Adam(rule), if amsgrad { 5 } else { 4 })
        }
    }
}

#[test]
fn steps() {
    fuzz(300, |draw| {
        let dtype = draw.choose(&[DType::F32, DType::F64]);
        let tensors = draw.below(4);
        let (rule, count) = any_rule(draw, tensors);
        draw.drawn.push(format!("{rule:?}"));
        let groups: Vec<Vec<Array>> = (0..tensors)
            .map(|_| {
                let shape = draw.any_shape(20_000);
                let dense = Layout::contiguous(shape.as_slice().into()).strides;
                let n = shape.iter().product();
                let tensor = |k: usize| {
                    let mut values = draw.rough(dtype, n);
                    if k >= 3 {
                        // Averages of squares.
                        values.iter_mut().for_each(|x| *x *= *x);
                    }
                    let offset = draw.pick(&[0, 0, 1, 5]);
                    let x = Array::new(dtype, &shape, &values).laid_out(&dense, offset);
                    draw.drawn.push(format!("{:?}", x.layout()));
                    draw.written.push(x.clone());
                    x
                };
                (0..count).map(tensor).collect()
            })
            .collect();
        let before: Vec<Vec<Vec<f64>>> = groups
            .iter()
            .map(|group| group.iter().map(Array::values).collect())
            .collect();
        let views: Vec<Vec<View>> = groups
            .iter()
            .map(|group| group.iter().map(Array::view).collect())
            .collect();
        CPU.update(&rule, &views);
        for (t, (group, before)) in groups.iter().zip(&before).enumerate() {
            let after: Vec<Vec<f64>> = group.iter().map(Array::values).collect();
            for i in 0..before[0].len() {
                let x: Vec<f64> = before.iter().map(|x| x[i]).collect();
                let got: Vec<f64> = after.iter().map(|x| x[i]).collect();
                let want = step(&rule, t, &x);
                expect_within(&got, &want, |_| {
                    let size = x.iter().chain(&want).fold(1.0, |a: f64, b| a.max(b.abs()));
                    16.0 * epsilon(dtype) * size
                });
            }
        }
    });
}
