//! Running reductions along one dimension.

use super::super::{Scan, View};
use super::lane::{Acc, BLOCK, split};
use super::map::{load, store};
use super::math::Float;
use super::walk::Walk;
use crate::base::DType;

#[cfg(test)]
mod tests;

/// Lanes that are scanned together when the scanned dimension is an outer one.
const TILE: usize = 256;

/// See [`super::super::Backend::scan`]. `f32` sums and products accumulate in `f64`, as PyTorch's
/// do.
pub(super) fn scan(f: Scan, out: View, index: Option<View>, x: View, dim: usize) {
    let pass = Pass { out, index, x, dim };
    let wide = matches!(out.dtype, DType::F32 | DType::F64);
    match f {
        Scan::Sum | Scan::Prod if !out.dtype.is_float() => pass.fold::<i64>(f),
        Scan::Sum | Scan::Prod if wide => pass.fold::<f64>(f),
        Scan::Sum | Scan::Prod => pass.fold::<f32>(f),
        Scan::Max | Scan::Min => match x.dtype.compute() {
            DType::F32 => pass.extremum::<f32>(f),
            DType::F64 => pass.extremum::<f64>(f),
            _ => pass.extremum::<i64>(f),
        },
        Scan::LogSumExp if wide => pass.log_sum_exp::<f64>(),
        Scan::LogSumExp => pass.log_sum_exp::<f32>(),
    }
}

struct Pass<'a> {
    out: View<'a>,
    index: Option<View<'a>>,
    x: View<'a>,
    dim: usize,
}

impl Pass<'_> {
    fn fold<C: Acc>(&self, f: Scan) {
        if f == Scan::Sum {
            self.run(C::ZERO, |_, a: &mut C, x| *a = a.add(x), |a| *a, |_| 0);
        } else {
            self.run(C::ONE, |_, a: &mut C, x| *a = a.mul(x), |a| *a, |_| 0);
        }
    }

    fn extremum<C: Acc>(&self, f: Scan) {
        let start = |value| (value, 0i64);
        if f == Scan::Max {
            let step = |i, a: &mut (C, i64), x: C| {
                if x.is_nan() || (!a.0.is_nan() && x >= a.0) {
                    *a = (x, i);
                }
            };
            self.run(start(C::LEAST), step, |a| a.0, |a| a.1);
        } else {
            let step = |i, a: &mut (C, i64), x: C| {
                if x.is_nan() || (!a.0.is_nan() && x <= a.0) {
                    *a = (x, i);
                }
            };
            self.run(start(C::GREATEST), step, |a| a.0, |a| a.1);
        }
    }

    fn log_sum_exp<C: Acc + Float>(&self) {
        let step = |_, a: &mut C, x: C| *a = a.logaddexp(x);
        self.run(C::LEAST, step, |a| *a, |_| 0);
    }

    /// Scans with a state `A`: `step` takes the position and element in, `value` and `position`
    /// show what is stored.
    fn run<C: Acc, A: Copy>(
        &self,
        start: A,
        step: impl Fn(i64, &mut A, C),
        value: impl Fn(&A) -> C,
        position: impl Fn(&A) -> i64,
    ) {
        let (out, out_stride, n) = split(self.out.layout, self.dim);
        let (x, x_stride, _) = split(self.x.layout, self.dim);
        let (index, index_stride) = match &self.index {
            Some(index) => {
                let (layout, stride, _) = split(index.layout, self.dim);
                (layout, stride)
            }
            None => (out.clone(), out_stride),
        };
        let walk = Walk::new(&[&out, &x, &index]);
        if walk.run >= 8 && walk.stride[1] < x_stride {
            let mut states = [start; TILE];
            let mut values = [C::ZERO; TILE];
            let mut positions = [0i64; TILE];
            walk.for_each(|at| {
                let mut first = 0;
                while first < walk.run {
                    let m = (walk.run - first).min(TILE);
                    states[..m].fill(start);
                    for i in 0..n {
                        let [o, x, p] = [
                            at[0] + first * walk.stride[0] + i * out_stride,
                            at[1] + first * walk.stride[1] + i * x_stride,
                            at[2] + first * walk.stride[2] + i * index_stride,
                        ];
                        // SAFETY: NOTE [Views in bounds]; the buffers have room for `m`.
                        unsafe { load(&self.x, x, walk.stride[1], m, values.as_mut_ptr()) };
                        for (a, v) in states[..m].iter_mut().zip(&mut values) {
                            step(i as i64, a, *v);
                            *v = value(a);
                        }
                        // SAFETY: as above.
                        unsafe { store(&self.out, o, walk.stride[0], m, values.as_ptr()) };
                        if let Some(index) = &self.index {
                            for (a, p) in states[..m].iter().zip(&mut positions) {
                                *p = position(a);
                            }
                            // SAFETY: as above.
                            unsafe { store(index, p, walk.stride[2], m, positions.as_ptr()) };
                        }
                    }
                    first += m;
                }
            });
            return;
        }
        let mut values = [C::ZERO; BLOCK];
        let mut positions = [0i64; BLOCK];
        walk.elements(|at| {
            let mut state = start;
            let mut done = 0;
            while done < n {
                let m = (n - done).min(BLOCK);
                let [o, x, p] = [
                    at[0] + done * out_stride,
                    at[1] + done * x_stride,
                    at[2] + done * index_stride,
                ];
                // SAFETY: NOTE [Views in bounds]; the buffers have room for `m`.
                unsafe { load(&self.x, x, x_stride, m, values.as_mut_ptr()) };
                for (i, (v, p)) in values[..m].iter_mut().zip(&mut positions).enumerate() {
                    step((done + i) as i64, &mut state, *v);
                    *v = value(&state);
                    *p = position(&state);
                }
                // SAFETY: as above.
                unsafe { store(&self.out, o, out_stride, m, values.as_ptr()) };
                if let Some(index) = &self.index {
                    // SAFETY: as above.
                    unsafe { store(index, p, index_stride, m, positions.as_ptr()) };
                }
                done += m;
            }
        });
    }
}
