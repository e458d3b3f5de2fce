//! Logarithms of sums of exponentials: the greater summand, and the rest as `ln(1 + e^-|x - y|)`.

use super::exp::{Exp, exp_small, exp2_small};
use super::log::{Log, log1p_small};
use super::real::Real;
use std::f64::consts::LOG2_E;

/// `ln(1 + e^x)`
#[inline(always)]
pub(super) fn softplus<T: Exp + Log>(x: T) -> T {
    let base = if x > T::ZERO { x } else { T::ZERO };
    log1p_small(exp_small(-x.abs()), base, T::ONE)
}

/// The greater of two numbers and minus their distance, both 0 apart for two equal infinities.
#[inline(always)]
fn ordered<T: Real>(x: T, y: T) -> (T, T) {
    let below = if x == y { T::ZERO } else { -(x - y).abs() };
    (if x > y { x } else { y }, below)
}

/// `ln(e^x + e^y)`
#[inline(always)]
pub(super) fn logaddexp<T: Exp + Log>(x: T, y: T) -> T {
    let (most, below) = ordered(x, y);
    log1p_small(exp_small(below), most, T::ONE)
}

/// `log2(2^x + 2^y)`
#[inline(always)]
pub(super) fn logaddexp2<T: Exp + Log>(x: T, y: T) -> T {
    let (most, below) = ordered(x, y);
    log1p_small(exp2_small(below), most, T::of(LOG2_E))
}
