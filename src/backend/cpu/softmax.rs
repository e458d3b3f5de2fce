//! Softmax, its logarithm, and their derivatives.
//!
//! When the dimension is an outer one, or short, many lanes are computed together, row by row. The
//! rows are then read once for the greatest elements, once for the sums of exponentials and once
//! for the results, rather than kept: an exponential costs less than writing and reading it again.

#[cfg(test)]
mod tests;

use super::super::View;
use super::isa::versions;
use super::lane::{Acc, Fold, Lane, MaxNumber, Sum, fold_body, map_sum, split, sum_with};
use super::map::{load, store};
use super::math::Float;
use super::threads;
use super::walk::{MOST, Walk, address};
use crate::base::DType;

/// At most so many lanes are computed together.
const TILE: usize = 512;

/// Elements that the first caches hold from one pass to the next.
const CACHED: usize = 128 * 1024;

/// Lanes up to this length are short.
const SHORT: usize = 32;

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

fn forward<C: Real>(log: bool, out: View, x: View, dim: usize) {
    lanes(
        &[out, x],
        dim,
        |[x, _]: [&[C]; 2], out| forward_lane(log, x, out),
        |rows| {
            let n = rows.width;
            let (mut top, mut sum) = ([C::LEAST; TILE], [C::ZERO; TILE]);
            let (top, sum) = (&mut top[..n], &mut sum[..n]);
            rows.read(|[x, _]| max_row(top, x));
            rows.read(|[x, _]| exp_row(sum, top, x));
            for s in &mut *sum {
                *s = if log { s.ln() } else { C::ONE / *s };
            }
            rows.map(|[x, _], out| forward_row(log, sum, top, x, out));
        },
    );
}

fn backward<C: Real>(log: bool, out: View, g: View, y: View, dim: usize) {
    lanes(
        &[out, g, y],
        dim,
        |[g, y]: [&[C]; 2], out| backward_lane(log, g, y, out),
        |rows| {
            let mut sum = [C::ZERO; TILE];
            let sum = &mut sum[..rows.width];
            rows.read(|[g, y]| sum_row(log, sum, g, y));
            rows.map(|[g, y], out| backward_row(log, sum, g, y, out));
        },
    );
}

versions! {
    fn forward_lane<C: Real>(log: bool, x: &[C], out: &mut [C]) = forward_lane_body;
    fn backward_lane<C: Real>(log: bool, g: &[C], y: &[C], out: &mut [C]) = backward_lane_body;
    fn max_row<C: Real>(top: &mut [C], x: &[C]) = max_row_body;
    fn exp_row<C: Real>(sum: &mut [C], top: &[C], x: &[C]) = exp_row_body;
    fn forward_row<C: Real>(log: bool, sum: &[C], top: &[C], x: &[C], out: &mut [C])
        = forward_row_body;
    fn sum_row<C: Real>(log: bool, sum: &mut [C], g: &[C], y: &[C]) = sum_row_body;
    fn backward_row<C: Real>(log: bool, sum: &[C], g: &[C], y: &[C], out: &mut [C])
        = backward_row_body;
}

/// The types that softmax is computed in.
trait Real: Acc + Float {}
impl<C: Acc + Float> Real for C {}

#[inline(always)]
fn forward_lane_body<C: Real>(log: bool, x: &[C], out: &mut [C]) {
    // A NaN makes the sum one, and so every result.
    let top = fold_body::<C, MaxNumber>(x);
    let sum = if log {
        map_sum(x, out, |x| (x - top).exp(), |_, _| {})
    } else {
        map_sum(x, out, |x| (x - top).exp(), |o, e| *o = e)
    };
    if log {
        let shift = sum.ln();
        for (o, &x) in out.iter_mut().zip(x) {
            *o = (x - top) - shift;
        }
    } else {
        let scale = C::ONE / sum;
        out.iter_mut().for_each(|o| *o = *o * scale);
    }
}

#[inline(always)]
fn max_row_body<C: Real>(top: &mut [C], x: &[C]) {
    for (top, &x) in top.iter_mut().zip(x) {
        *top = MaxNumber::merge(*top, x);
    }
}

#[inline(always)]
fn exp_row_body<C: Real>(sum: &mut [C], top: &[C], x: &[C]) {
    for (sum, (&top, &x)) in sum.iter_mut().zip(top.iter().zip(x)) {
        *sum = *sum + (x - top).exp();
    }
}

/// `sum` holds logarithms of the sums, or else their reciprocals.
#[inline(always)]
fn forward_row_body<C: Real>(log: bool, sum: &[C], top: &[C], x: &[C], out: &mut [C]) {
    let terms = out.iter_mut().zip(x).zip(sum.iter().zip(top));
    if log {
        terms.for_each(|((o, &x), (&shift, &top))| *o = (x - top) - shift);
    } else {
        terms.for_each(|((o, &x), (&scale, &top))| *o = (x - top).exp() * scale);
    }
}

#[inline(always)]
fn backward_lane_body<C: Real>(log: bool, g: &[C], y: &[C], out: &mut [C]) {
    if log {
        let sum = fold_body::<C, Sum>(g);
        for (o, (&g, &y)) in out.iter_mut().zip(g.iter().zip(y)) {
            *o = g - y.exp() * sum;
        }
    } else {
        let dot = sum_with(g, y, |g, y| g * y);
        for (o, (&g, &y)) in out.iter_mut().zip(g.iter().zip(y)) {
            *o = y * (g - dot);
        }
    }
}

#[inline(always)]
fn sum_row_body<C: Real>(log: bool, sum: &mut [C], g: &[C], y: &[C]) {
    if log {
        for (sum, &g) in sum.iter_mut().zip(g) {
            *sum = *sum + g;
        }
    } else {
        for (sum, (&g, &y)) in sum.iter_mut().zip(g.iter().zip(y)) {
            *sum = *sum + g * y;
        }
    }
}

#[inline(always)]
fn backward_row_body<C: Real>(log: bool, sum: &[C], g: &[C], y: &[C], out: &mut [C]) {
    let terms = out.iter_mut().zip(sum).zip(g.iter().zip(y));
    if log {
        terms.for_each(|((o, &sum), (&g, &y))| *o = g - y.exp() * sum);
    } else {
        terms.for_each(|((o, &dot), (&g, &y))| *o = y * (g - dot));
    }
}

/// Some neighbouring lanes, by rows: a row has one element of each.
struct Rows<'a> {
    /// The output and the inputs.
    views: &'a [View<'a>],
    /// Where they start, and their strides along a row and from row to row.
    at: [usize; 3],
    along: [usize; 3],
    down: [usize; 3],
    /// Elements of a row.
    width: usize,
    /// Number of rows.
    height: usize,
}

impl Rows<'_> {
    /// Calls `f` with the inputs of each row.
    fn read<C: Acc>(&self, mut f: impl FnMut([&[C]; 2])) {
        let mut buffers = [[C::ZERO; TILE]; 2];
        for i in 0..self.height {
            f(self.row(i, &mut buffers));
        }
    }

    /// Calls `f` with the inputs of each row and stores what it writes.
    fn map<C: Acc>(&self, f: impl Fn([&[C]; 2], &mut [C])) {
        let mut buffers = [[C::ZERO; TILE]; 2];
        let mut result = [C::ZERO; TILE];
        for i in 0..self.height {
            f(self.row(i, &mut buffers), &mut result[..self.width]);
            let to = self.at[0] + i * self.down[0];
            // SAFETY: NOTE [Views in bounds]; `result` holds at least `width`.
            unsafe {
                store(
                    &self.views[0],
                    to,
                    self.along[0],
                    self.width,
                    result.as_ptr(),
                )
            };
        }
    }

    fn row<'a, C: Acc>(&self, i: usize, buffers: &'a mut [[C; TILE]; 2]) -> [&'a [C]; 2] {
        let mut ins: [&[C]; 2] = [&[]; 2];
        let views = self.views.iter().enumerate().skip(1);
        for (slot, ((v, view), buffer)) in ins.iter_mut().zip(views.zip(buffers)) {
            let start = self.at[v] + i * self.down[v];
            *slot = if view.dtype == C::DTYPE && self.along[v] == 1 {
                // SAFETY: NOTE [Views in bounds], NOTE [Aliasing].
                unsafe { std::slice::from_raw_parts(address::<C>(view, start), self.width) }
            } else {
                // SAFETY: NOTE [Views in bounds]; the buffer has room for `width`.
                unsafe { load(view, start, self.along[v], self.width, buffer.as_mut_ptr()) };
                &buffer[..self.width]
            };
        }
        ins
    }
}

/// Calls `lane` with the inputs and the output of each lane along `dim`, or `tile` with up to `TILE`
/// lanes. `views` are the output and up to two inputs.
fn lanes<C: Acc>(
    views: &[View],
    dim: usize,
    lane: impl Fn([&[C]; 2], &mut [C]) + Sync,
    tile: impl Fn(Rows) + Sync,
) {
    let parts: Vec<_> = views.iter().map(|v| split(v.layout, dim)).collect();
    let layouts: Vec<_> = parts.iter().map(|(layout, ..)| layout).collect();
    let n = parts[0].2;
    let walk = Walk::new(&layouts);
    let cost = n as f64 * 1.0 + 5.0;
    if n > 0 && walk.run >= 16 && (walk.stride[1] < parts[1].1 || n <= SHORT) {
        let most = (CACHED / n).clamp(64, TILE);
        threads::ranges(walk.len(), 64, cost, |range| {
            walk.pieces_in(range, most, |at, width| {
                let each = |f: &dyn Fn(usize) -> usize| -> [usize; 3] {
                    std::array::from_fn(|v| if v < views.len() { f(v) } else { 0 })
                };
                tile(Rows {
                    views,
                    at: each(&|v| at[v]),
                    along: each(&|v| walk.stride[v]),
                    down: each(&|v| parts[v].1),
                    width,
                    height: n,
                });
            });
        });
        return;
    }
    // Where a lane is written over an input's, that is copied first.
    let is_over = |v: usize| views[v].storage.same(views[0].storage);
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
    threads::ranges(walk.len(), 1, cost, |range| {
        let mut buffers: [Vec<C>; 2] = Default::default();
        let mut result = Vec::new();
        walk.elements_in(range, |at: [usize; MOST]| {
            let mut ins: [&[C]; 2] = [&[]; 2];
            for (v, buffer) in (1..views.len()).zip(&mut buffers) {
                // SAFETY: NOTE [Views in bounds], NOTE [Aliasing].
                ins[v - 1] = unsafe {
                    if is_over(v) {
                        elements[v].copy(&views[v], at[v], buffer);
                        buffer
                    } else {
                        elements[v].read(&views[v], at[v], buffer)
                    }
                };
            }
            // SAFETY: NOTE [Views in bounds], NOTE [Aliasing].
            unsafe { elements[0].fill(&views[0], at[0], &mut result, |out| lane(ins, out)) };
        });
    });
}
