//! Normalisation over trailing dimensions.

use super::super::View;
use super::isa::versions;
use super::lane::{Acc, BLOCK, Cascade, Lane, Sum, fold_body, select, sum_with};
use super::map::store;
use super::math::Float;
use super::threads;
use super::walk::Walk;
use crate::base::DType;

#[cfg(test)]
mod tests;

/// See [`super::super::Backend::layer_norm`]. The variance is the mean of the squared distances
/// from the mean, which a first pass finds.
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

#[inline(always)]
fn lane_norm_body<C: Real>(
    x: &[C],
    parameters: [Option<&[C]>; 2],
    eps: f64,
    out: &mut [C],
) -> (C, C) {
    let n: C = Float::of(x.len() as f64);
    let near = pairwise(x, |block| fold_body::<C, Sum>(block)) / n;
    // The rounded mean is off by the mean distance from it, which takes its share of the squares.
    let off = pairwise(x, |block| sum_with(block, block, |x, _| x - near)) / n;
    let square = |x: C, _| (x - near) * (x - near);
    let variance = pairwise(x, |block| sum_with(block, block, square)) / n - off * off;
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

/// The pairwise sum of `f` over blocks.
#[inline(always)]
fn pairwise<C: Acc>(x: &[C], f: impl Fn(&[C]) -> C) -> C {
    if x.len() <= BLOCK {
        return f(x);
    }
    let mut cascade = Cascade::new();
    let join = |a: &mut C, b: &C| *a = a.add(*b);
    for block in x.chunks(BLOCK) {
        cascade.push(f(block), join);
    }
    cascade.finish(join).unwrap_or(C::ZERO)
}
