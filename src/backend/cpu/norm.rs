//! Normalisation over trailing dimensions.

use super::super::View;
use super::isa::versions;
use super::lane::{Acc, Cascade, DENSE_BLOCK, LANES, Lane, select, sums};
use super::map::{load, store};
use super::math::Float;
use super::threads::{self, Shared};
use super::walk::Walk;
use crate::base::DType;
use std::ops::Range;

#[cfg(test)]
mod tests;

/// See [`super::super::Backend::layer_norm`].
#[allow(clippy::too_many_arguments)]
pub(super) fn layer_norm(
    out: View,
    mean: View,
    rstd: View,
    x: View,
    weight: Option<View>,
    bias: Option<View>,
    outer: usize,
    eps: f64,
) {
    let statistics = [mean, rstd];
    let affine = [weight, bias];
    match x.dtype {
        DType::F64 => typed::<f64>(out, statistics, x, affine, outer, eps),
        _ => typed::<f32>(out, statistics, x, affine, outer, eps),
    }
}

fn typed<C: Acc + Float>(
    out: View,
    [mean, rstd]: [View; 2],
    x: View,
    affine: [Option<View>; 2],
    outer: usize,
    eps: f64,
) {
    let lane = |v: &View, first: usize| Lane::new(v.layout, first..v.layout.ndim());
    let (x_lane, out_lane) = (lane(&x, outer), lane(&out, outer));
    let mut affine_buffers: [Vec<C>; 2] = Default::default();
    let mut parameters: [Option<&[C]>; 2] = [None; 2];
    for ((p, view), buffer) in parameters.iter_mut().zip(&affine).zip(&mut affine_buffers) {
        if let Some(v) = view {
            // SAFETY: NOTE [Views in bounds], NOTE [Aliasing].
            *p = Some(unsafe { lane(v, 0).read(v, v.layout.offset, buffer) });
        }
    }
    let leading = |v: &View| select(v.layout, |d| d < outer);
    let walk = Walk::new(&[
        &leading(&out),
        &leading(&x),
        &leading(&mean),
        &leading(&rstd),
    ]);
    let n = x_lane.len;
    threads::ranges(walk.len(), 1, n as f64 * 0.5 + 20.0, |range| {
        let (mut buffer, mut result) = (Vec::new(), Vec::new());
        walk.elements_in(range, |at| {
            // SAFETY: NOTE [Views in bounds]; the output is written after the last use.
            let x = unsafe { x_lane.read::<C>(&x, at[1], &mut buffer) };
            // SAFETY: NOTE [Views in bounds], NOTE [Aliasing].
            unsafe {
                let (m, r) = out_lane.fill(&out, at[0], &mut result, |result| {
                    lane_norm(x, parameters, eps, result)
                });
                store(&mean, at[2], 1, 1, &m);
                store(&rstd, at[3], 1, 1, &r);
            }
        });
    });
}

/// See [`super::super::Backend::layer_norm_backward`].
pub(super) fn layer_norm_backward(
    out: View,
    g: View,
    x: View,
    mean: View,
    rstd: View,
    weight: Option<View>,
    outer: usize,
) {
    let statistics = [mean, rstd];
    match x.dtype {
        DType::F64 => backward::<f64>(out, g, x, statistics, weight, outer),
        _ => backward::<f32>(out, g, x, statistics, weight, outer),
    }
}

fn backward<C: Acc + Float>(
    out: View,
    g: View,
    x: View,
    [mean, rstd]: [View; 2],
    weight: Option<View>,
    outer: usize,
) {
    let lane = |v: &View, first: usize| Lane::new(v.layout, first..v.layout.ndim());
    let lanes = [&out, &g, &x].map(|v| lane(v, outer));
    let mut buffer = Vec::new();
    let weight = weight.as_ref().map(|v| {
        // SAFETY: NOTE [Views in bounds], NOTE [Aliasing].
        unsafe { lane(v, 0).read::<C>(v, v.layout.offset, &mut buffer) }
    });
    let rows = Rows::new([&out, &g, &x], [&mean, &rstd], outer);
    threads::ranges(rows.len(), 1, lanes[0].len as f64 * 0.5 + 20.0, |range| {
        let mut buffers: [Vec<C>; 3] = Default::default();
        let [result, g_buffer, x_buffer] = &mut buffers;
        rows.each::<C>(range, [&mean, &rstd], |[to, g_at, x_at], m, r| {
            // SAFETY: NOTE [Views in bounds], NOTE [Aliasing].
            unsafe {
                let g = lanes[1].read::<C>(&g, g_at, g_buffer);
                let x = lanes[2].read::<C>(&x, x_at, x_buffer);
                lanes[0].fill(&out, to, result, |out| {
                    lane_backward(g, x, weight, m, r, out)
                });
            }
        });
    });
}

/// See [`super::super::Backend::layer_norm_weight`].
pub(super) fn layer_norm_weight(out: View, g: View, x: View, mean: View, rstd: View, outer: usize) {
    let statistics = [mean, rstd];
    match x.dtype {
        DType::F64 => weight_sum::<f64>(out, g, x, statistics, outer),
        _ => weight_sum::<f32>(out, g, x, statistics, outer),
    }
}

/// Rows that are summed one after the other, before sums are merged pairwise: what a thread takes.
const ROWS: usize = 64;

fn weight_sum<C: Acc + Float>(out: View, g: View, x: View, [mean, rstd]: [View; 2], outer: usize) {
    let lane = |v: &View, first: usize| Lane::new(v.layout, first..v.layout.ndim());
    let lanes = [&g, &x].map(|v| lane(v, outer));
    let n = lanes[0].len;
    let rows = Rows::new([&g, &g, &x], [&mean, &rstd], outer);
    let pieces = rows.len().div_ceil(ROWS);
    let mut parts = vec![C::ZERO; pieces * n];
    let shared = Shared(parts.as_mut_ptr());
    threads::tasks(pieces, (ROWS * n) as f64 * 0.3, |i| {
        let mut buffers: [Vec<C>; 2] = Default::default();
        let [g_buffer, x_buffer] = &mut buffers;
        // SAFETY: every task has places of its own.
        let sums = unsafe { shared.slice(i * n..(i + 1) * n) };
        let range = i * ROWS..rows.len().min((i + 1) * ROWS);
        rows.each::<C>(range, [&mean, &rstd], |[_, g_at, x_at], m, r| {
            // SAFETY: NOTE [Views in bounds], NOTE [Aliasing].
            unsafe {
                let g = lanes[0].read::<C>(&g, g_at, g_buffer);
                let x = lanes[1].read::<C>(&x, x_at, x_buffer);
                add_normalised(sums, g, x, m, r);
            }
        });
    });
    let join = |a: &mut Vec<C>, b: &Vec<C>| {
        a.iter_mut().zip(b).for_each(|(a, &b)| *a = *a + b);
    };
    let mut cascade = Cascade::new();
    parts
        .chunks(n.max(1))
        .for_each(|part| cascade.push(part.to_vec(), join));
    let total = cascade.finish(join).unwrap_or_else(|| vec![C::ZERO; n]);
    // SAFETY: NOTE [Views in bounds], NOTE [Aliasing].
    unsafe { lane(&out, 0).write(&out, out.layout.offset, &total) };
}

/// The rows that are normalised, with their statistics.
struct Rows {
    walks: [Walk; 2],
}

impl Rows {
    /// Rows of three views, over their first `outer` dimensions.
    fn new(views: [&View; 3], statistics: [&View; 2], outer: usize) -> Self {
        let leading = |v: &View| select(v.layout, |d| d < outer);
        let [a, b, c] = views.map(leading);
        let [m, r] = statistics.map(leading);
        Self {
            walks: [Walk::in_order(&[&a, &b, &c]), Walk::in_order(&[&a, &m, &r])],
        }
    }

    fn len(&self) -> usize {
        self.walks[0].len()
    }

    /// Calls `f` with the positions of some rows and their statistics.
    fn each<C: Acc>(
        &self,
        range: Range<usize>,
        [mean, rstd]: [&View; 2],
        mut f: impl FnMut([usize; 3], C, C),
    ) {
        for i in range {
            let [a, b, c, ..] = self.walks[0].place(i);
            let [_, m_at, r_at, ..] = self.walks[1].place(i);
            let (mut m, mut r) = (C::ZERO, C::ZERO);
            // SAFETY: NOTE [Views in bounds].
            unsafe {
                load(mean, m_at, 1, 1, &mut m);
                load(rstd, r_at, 1, 1, &mut r);
            }
            f([a, b, c], m, r);
        }
    }
}

/// The types that statistics are computed in.
trait Real: Acc + Float {}
impl<C: Acc + Float> Real for C {}

versions! {
    /// Normalises one lane, and returns its mean and `1 / sqrt(variance + eps)`, which are NaN over
    /// nothing.
    fn lane_norm<C: Real>(
        x: &[C],
        parameters: [Option<&[C]>; 2],
        eps: f64,
        out: &mut [C],
    ) -> (C, C) = lane_norm_body;
}

versions! {
    fn lane_backward<C: Real>(
        g: &[C],
        x: &[C],
        weight: Option<&[C]>,
        m: C,
        r: C,
        out: &mut [C],
    ) = lane_backward_body;
    /// Adds `g (x - m) r` to `sums`.
    fn add_normalised<C: Real>(sums: &mut [C], g: &[C], x: &[C], m: C, r: C)
        = add_normalised_body;
}

#[inline(always)]
fn lane_backward_body<C: Real>(g: &[C], x: &[C], weight: Option<&[C]>, m: C, r: C, out: &mut [C]) {
    let n: C = Float::of(x.len() as f64);
    let terms = |h: C, x: C| [h, h * ((x - m) * r)];
    let sums = match weight {
        Some(w) => pairwise([g, w, x], |[g, w, x]| terms(g * w, x)),
        None => pairwise([g, x], |[g, x]| terms(g, x)),
    };
    let [centre, tilt] = sums.map(|sum| sum / n);
    let result = |h: C, x: C| r * (h - centre - (x - m) * r * tilt);
    let each = out.iter_mut().zip(g.iter().zip(x));
    match weight {
        Some(w) => each
            .zip(w)
            .for_each(|((o, (&g, &x)), &w)| *o = result(g * w, x)),
        None => each.for_each(|(o, (&g, &x))| *o = result(g, x)),
    }
}

#[inline(always)]
fn add_normalised_body<C: Real>(sums: &mut [C], g: &[C], x: &[C], m: C, r: C) {
    for (s, (&g, &x)) in sums.iter_mut().zip(g.iter().zip(x)) {
        *s = *s + g * ((x - m) * r);
    }
}

/// The means of the distances from `near`, and of their squares.
#[inline(always)]
fn moments<C: Real>(x: &[C], near: C) -> [C; 2] {
    let n: C = Float::of(x.len() as f64);
    let distances = |[x]: [C; 1]| [x - near, (x - near) * (x - near)];
    pairwise([x], distances).map(|sum| sum / n)
}

#[inline(always)]
fn lane_norm_body<C: Real>(
    x: &[C],
    parameters: [Option<&[C]>; 2],
    eps: f64,
    out: &mut [C],
) -> (C, C) {
    // The variance is the mean square of the distances from anywhere, less what that is off the mean,
    // and loses nothing where this is small. The mean of the first elements will mostly do.
    let (first, _) = x.split_at(x.len().min(LANES));
    let mut near = moments(first, C::ZERO)[0];
    let [mut off, mut square] = moments(x, near);
    if off * off > square - off * off {
        near = near + off;
        [off, square] = moments(x, near);
    }
    let variance = square - off * off;
    let eps: C = Float::of(eps);
    let (m, r) = (
        near + off,
        C::ONE / (variance.maximum(C::ZERO) + eps).sqrt(),
    );
    let terms = out.iter_mut().zip(x);
    match parameters {
        [None, None] => terms.for_each(|(o, &x)| *o = (x - m) * r),
        [Some(w), None] => terms.zip(w).for_each(|((o, &x), &w)| *o = (x - m) * r * w),
        [None, Some(b)] => terms.zip(b).for_each(|((o, &x), &b)| *o = (x - m) * r + b),
        [Some(w), Some(b)] => terms
            .zip(w.iter().zip(b))
            .for_each(|((o, &x), (&w, &b))| *o = (x - m) * r * w + b),
    }
    (m, r)
}

/// [`sums`] of blocks, merged pairwise.
#[inline(always)]
fn pairwise<C: Acc, const N: usize, const K: usize>(
    x: [&[C]; N],
    f: impl Fn([C; N]) -> [C; K],
) -> [C; K] {
    let n = x[0].len();
    if n <= DENSE_BLOCK {
        return sums(x, f);
    }
    let mut cascade = Cascade::new();
    let join = |a: &mut [C; K], b: &[C; K]| a.iter_mut().zip(b).for_each(|(a, &b)| *a = a.add(b));
    for start in (0..n).step_by(DENSE_BLOCK) {
        let end = n.min(start + DENSE_BLOCK);
        cascade.push(sums(x.map(|x| &x[start..end]), &f), join);
    }
    cascade.finish(join).unwrap_or([C::ZERO; K])
}
