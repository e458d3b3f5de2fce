//! Softmax, its logarithm, and their derivatives.
//!
//! A lane is read into a buffer, or a tile of neighbouring lanes when the dimension is an outer
//! one, and passed over three times there: greatest element, sum of exponentials, result.

use super::super::View;
use super::lane::{Acc, Lane, Max, Sum, fold, split, sum_with};
use super::map::{load, store};
use super::math::Float;
use super::walk::{MOST, Walk};
use crate::base::DType;

#[cfg(test)]
mod tests;

/// Lanes that are computed together when the dimension is an outer one.
const TILE: usize = 32;

/// See [`super::super::Backend::softmax`].
pub(super) fn softmax(log: bool, out: View, x: View, dim: usize) {
    match out.dtype {
        DType::F64 => forward::<f64>(log, out, x, dim),
        _ => forward::<f32>(log, out, x, dim),
    }
}

/// See [`super::super::Backend::softmax_backward`].
pub(super) fn softmax_backward(log: bool, out: View, g: View, y: View, dim: usize) {
    match y.dtype {
        DType::F64 => backward::<f64>(log, out, g, y, dim),
        _ => backward::<f32>(log, out, g, y, dim),
    }
}

fn forward<C: Acc + Float>(log: bool, out: View, x: View, dim: usize) {
    lanes(
        &[out, x],
        dim,
        |[x, _]: [&[C]; 2], out: &mut [C]| {
            let top = fold::<C, Max>(x);
            for (o, &x) in out.iter_mut().zip(x) {
                *o = (x - top).exp();
            }
            let sum = fold::<C, Sum>(out);
            if log {
                let shift = sum.ln();
                for (o, &x) in out.iter_mut().zip(x) {
                    *o = (x - top) - shift;
                }
            } else {
                let scale = C::ONE / sum;
                out.iter_mut().for_each(|o| *o = *o * scale);
            }
        },
        |[x, _]: [&[[C; TILE]]; 2], out: &mut [[C; TILE]]| {
            let mut top = [C::LEAST; TILE];
            for row in x {
                each(|i| top[i] = top[i].maximum(row[i]));
            }
            let mut sum = [C::ZERO; TILE];
            for (o, row) in out.iter_mut().zip(x) {
                each(|i| o[i] = (row[i] - top[i]).exp());
                each(|i| sum[i] = sum[i] + o[i]);
            }
            if log {
                let shift = sum.map(Float::ln);
                for (o, row) in out.iter_mut().zip(x) {
                    each(|i| o[i] = (row[i] - top[i]) - shift[i]);
                }
            } else {
                let scale = sum.map(|s| C::ONE / s);
                for o in out {
                    each(|i| o[i] = o[i] * scale[i]);
                }
            }
        },
    );
}

fn backward<C: Acc + Float>(log: bool, out: View, g: View, y: View, dim: usize) {
    lanes(
        &[out, g, y],
        dim,
        |[g, y]: [&[C]; 2], out: &mut [C]| {
            if log {
                let sum = fold::<C, Sum>(g);
                for (o, (&g, &y)) in out.iter_mut().zip(g.iter().zip(y)) {
                    *o = g - y.exp() * sum;
                }
            } else {
                let dot = sum_with(g, y, |g, y| g * y);
                for (o, (&g, &y)) in out.iter_mut().zip(g.iter().zip(y)) {
                    *o = y * (g - dot);
                }
            }
        },
        |[g, y]: [&[[C; TILE]]; 2], out: &mut [[C; TILE]]| {
            let mut sum = [C::ZERO; TILE];
            for (g, y) in g.iter().zip(y) {
                if log {
                    each(|i| sum[i] = sum[i] + g[i]);
                } else {
                    each(|i| sum[i] = sum[i] + g[i] * y[i]);
                }
            }
            for (o, (g, y)) in out.iter_mut().zip(g.iter().zip(y)) {
                if log {
                    each(|i| o[i] = g[i] - y[i].exp() * sum[i]);
                } else {
                    each(|i| o[i] = y[i] * (g[i] - sum[i]));
                }
            }
        },
    );
}

#[inline(always)]
fn each(f: impl FnMut(usize)) {
    (0..TILE).for_each(f);
}

/// Calls `lane` with the inputs and the output of each lane along `dim`, or `tile` with those of
/// `TILE` lanes, of which the last few may be padding. `views` are the output and up to two inputs.
fn lanes<C: Acc>(
    views: &[View],
    dim: usize,
    lane: impl Fn([&[C]; 2], &mut [C]),
    tile: impl Fn([&[[C; TILE]]; 2], &mut [[C; TILE]]),
) {
    let parts: Vec<_> = views.iter().map(|v| split(v.layout, dim)).collect();
    let layouts: Vec<_> = parts.iter().map(|(layout, ..)| layout).collect();
    let n = parts[0].2;
    let walk = Walk::new(&layouts);
    let stride = |i: usize| parts[i].1;
    if walk.run >= 8 && walk.stride[1] < stride(1) && n > 0 {
        let mut ins: [Vec<[C; TILE]>; 2] = Default::default();
        for (buffer, _) in ins.iter_mut().zip(&views[1..]) {
            buffer.resize(n, [C::ZERO; TILE]);
        }
        let mut result = vec![[C::ZERO; TILE]; n];
        walk.for_each(|at| {
            let mut first = 0;
            while first < walk.run {
                let m = (walk.run - first).min(TILE);
                let position = |v: usize, i: usize| at[v] + first * walk.stride[v] + i * stride(v);
                for (v, (buffer, view)) in (1..).zip(ins.iter_mut().zip(&views[1..])) {
                    for (i, row) in buffer.iter_mut().enumerate() {
                        // SAFETY: NOTE [Views in bounds]; a row has room for `m`.
                        unsafe {
                            let to = row.as_mut_ptr();
                            load(view, position(v, i), walk.stride[v], m, to);
                        }
                    }
                }
                tile([&ins[0], &ins[1]], &mut result);
                for (i, row) in result.iter().enumerate() {
                    // SAFETY: NOTE [Views in bounds]; a row holds `m` results.
                    unsafe { store(&views[0], position(0, i), walk.stride[0], m, row.as_ptr()) };
                }
                first += m;
            }
        });
        return;
    }
    let elements: Vec<_> = views
        .iter()
        .map(|v| {
            Lane::new(
                v.layout,
                if v.layout.ndim() == 0 {
                    0..0
                } else {
                    dim..dim + 1
                },
            )
        })
        .collect();
    let mut buffers: [Vec<C>; 2] = Default::default();
    let mut result = vec![C::ZERO; n];
    walk.elements(|at: [usize; MOST]| {
        let mut ins: [&[C]; 2] = [&[]; 2];
        for (i, buffer) in buffers.iter_mut().enumerate().take(views.len() - 1) {
            // SAFETY: NOTE [Views in bounds]; the output is written after the last use.
            ins[i] = unsafe { elements[i + 1].read(&views[i + 1], at[i + 1], buffer) };
        }
        lane(ins, &mut result);
        // SAFETY: NOTE [Views in bounds], NOTE [Aliasing].
        unsafe { elements[0].write(&views[0], at[0], &result) };
    });
}
