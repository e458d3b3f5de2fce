//! Products of matrices.

use super::super::super::{Functor, Input};
use super::*;

/// Sizes around those of registers, tiles and panels; now and then many rows or terms.
fn sizes(draw: &mut Draw) -> [usize; 3] {
    let most = draw.pick(&[500, 5000, 30_000, 200_000]);
    let mut sizes = [1; 3];
    let mut room = most;
    for d in draw.order(3) {
        sizes[d] = draw.size().min(room);
        room /= sizes[d].max(1);
    }
    sizes
}

#[test]
fn products() {
    fuzz(700, |draw| {
        let dtype = draw.choose(&NUMBERS);
        let [m, n, k] = sizes(draw);
        let batches = if m * n * k < 3000 {
            let ndim = draw.below(3);
            draw.shape(ndim, 6)
        } else {
            vec![]
        };
        let exact = !dtype.is_float() || !draw.once_in(3);
        let matrix = |draw: &mut Draw, rows: usize, columns: usize| {
            let shape = [&batches[..], &[rows, columns]].concat();
            let count = shape.iter().product();
            let values = if exact {
                draw.exact(dtype, count)
            } else {
                draw.rough(dtype, count)
            };
            draw.shared_input(dtype, &shape, &values)
        };
        let (a, b) = (matrix(draw, m, k), matrix(draw, k, n));
        let wants_bias = draw.choose(&[true, false]);
        let bias = wants_bias.then(|| matrix(draw, m, n));
        let shape = [&batches[..], &[m, n]].concat();
        let out = draw.output(dtype, &shape);
        CPU.matmul(
            out.view(),
            a.view(),
            b.view(),
            bias.as_ref().map(Array::view),
            false,
        );
        if dtype.is_float() {
            let once = draw.output(dtype, &shape);
            let bias = bias.as_ref().map(Array::view);
            CPU.matmul(once.view(), a.view(), b.view(), bias, true);
            let after = Array::full(dtype, &shape, 9.0);
            let ins = [Input::View(out.view())];
            CPU.map(Functor::Relu, &[], dtype.compute(), after.view(), &ins);
            expect_same(&once.values(), &after.values());
        }
        let (a, b) = (a.values(), b.values());
        let added = bias.map_or(vec![0.0; out.values().len()], |x| x.values());
        let terms = |at: usize| {
            let (batch, i, j) = (at / (m * n), at / n % m, at % n);
            let (a, b) = (&a[(batch * m + i) * k..][..k], &b[batch * k * n..]);
            a.iter().enumerate().map(move |(l, a)| a * b[l * n + j])
        };
        let want: Vec<f64> = (0..added.len())
            .map(|at| total(terms(at)) + added[at])
            .collect();
        if exact {
            let want: Vec<f64> = want.iter().map(|x| rounded(dtype, *x)).collect();
            expect_same(&out.values(), &want);
        } else {
            expect_within(&out.values(), &want, |at| {
                let size = terms(at).map(f64::abs).sum::<f64>() + added[at].abs();
                // Terms are added one after the other, and each sum is rounded by half a unit.
                let one_by_one = (k as f64 + 2.0) * epsilon(dtype.compute()) * size;
                one_by_one + stored(dtype, want[at])
            });
        }
    });
}
