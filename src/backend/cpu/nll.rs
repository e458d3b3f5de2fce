//! The negative log-likelihood of classes, and its vjp.
//!
//! Elements are widened to `f64`, in which a product of two of `f32` is exact.

use super::super::{Classes, View};
use super::index::{Number, find, with_number};
use super::map::fill;
use super::threads;
use super::walk::{Walk, address};
use crate::base::{DType, Error, Layout, Result, Scalar};

/// About how many nanoseconds a place takes: its scores are rarely in a cache.
const COST: f64 = 4.0;

/// See [`super::super::Backend::nll`].
pub(super) fn nll(losses: View, weights: View, x: View, classes: &Classes) -> Result<()> {
    check(classes, &x)?;
    match losses.dtype {
        DType::F64 => forward::<f64, f64>(&losses, &weights, &x, classes),
        _ => with_number!(x.dtype, T => forward::<T, f32>(&losses, &weights, &x, classes)),
    }
    Ok(())
}

/// See [`super::super::Backend::nll_backward`].
pub(super) fn nll_backward(out: View, slope: View, classes: &Classes) -> Result<()> {
    check(classes, &out)?;
    fill(out, Scalar::Int(0));
    match slope.dtype {
        DType::F64 => backward::<f64, f64>(&out, &slope, classes),
        _ => with_number!(out.dtype, T => backward::<T, f32>(&out, &slope, classes)),
    }
    Ok(())
}

/// Refuses a class number that is none, before anything is written.
fn check(classes: &Classes, scores: &View) -> Result<()> {
    let count = scores.layout.shape[classes.dim];
    let bad = |t: i64| t != classes.ignored && t as u64 >= count as u64;
    find(&classes.target, bad).map_or(Ok(()), |t| {
        Err(Error::index(format!(
            "Target {t} is out of bounds. Classes are numbered from 0 to {}",
            count as i64 - 1
        )))
    })
}

/// Where the scores of class 0 are.
fn places(scores: &View, dim: usize) -> Layout {
    let mut layout = scores.layout.clone();
    layout.shape.remove(dim);
    layout.strides.remove(dim);
    layout
}

/// A class number that was checked, unless it does not count: see NOTE [Checked indices].
///
/// # Safety
/// `at` is a place of the target; there are classes.
unsafe fn class(classes: &Classes, at: usize, last: usize) -> Option<usize> {
    // SAFETY: the caller promises it.
    let t = unsafe { *address::<i64>(&classes.target, at) };
    (t != classes.ignored).then(|| (t as usize).min(last))
}

/// The weight of a class.
fn weight_of<T: Number>(classes: &Classes, class: usize) -> f64 {
    classes.weight.map_or(1.0, |w| {
        let at = w.layout.offset + class * w.layout.strides[0];
        // SAFETY: NOTE [Views in bounds]; there is a weight for each class.
        unsafe { *address::<T>(&w, at) }.to_f64()
    })
}

fn forward<T: Number, C: Number>(losses: &View, weights: &View, x: &View, classes: &Classes) {
    let (last, step) = last_and_stride(x, classes.dim);
    let first = places(x, classes.dim);
    let walk = Walk::new(&[&first, classes.target.layout, losses.layout, weights.layout]);
    threads::ranges(walk.len(), 16, COST, |range| {
        walk.elements_in(range, |[x_at, target_at, loss_at, weight_at]| {
            // SAFETY: NOTE [Views in bounds], NOTE [Checked indices].
            unsafe {
                let (loss, weight) = match class(classes, target_at, last) {
                    Some(class) => {
                        let score = (*address::<T>(x, x_at + class * step)).to_f64();
                        let weight = weight_of::<T>(classes, class);
                        (-score * weight, weight)
                    }
                    None => (0.0, 0.0),
                };
                *address::<C>(losses, loss_at) = C::from_f64(loss);
                *address::<C>(weights, weight_at) = C::from_f64(weight);
            }
        });
    });
}

fn backward<T: Number, C: Number>(out: &View, slope: &View, classes: &Classes) {
    let (last, step) = last_and_stride(out, classes.dim);
    let first = places(out, classes.dim);
    let walk = Walk::new(&[&first, classes.target.layout, slope.layout]);
    threads::ranges(walk.len(), 16, COST, |range| {
        walk.elements_in(range, |[out_at, target_at, slope_at, _]| {
            // SAFETY: NOTE [Views in bounds], NOTE [Checked indices].
            unsafe {
                if let Some(class) = class(classes, target_at, last) {
                    let slope = (*address::<C>(slope, slope_at)).to_f64();
                    let value = slope * weight_of::<T>(classes, class);
                    *address::<T>(out, out_at + class * step) = T::from_f64(value);
                }
            }
        });
    });
}

fn last_and_stride(scores: &View, dim: usize) -> (usize, usize) {
    let layout = scores.layout;
    // Without classes nothing counts, as `check` has seen.
    (layout.shape[dim].saturating_sub(1), layout.strides[dim])
}
