//! The CPU's kernels.
//!
//! NOTE [Views in bounds]
//! Every [`View`] that reaches a kernel lies within its storage: `Tensor::from_parts` checks it when
//! a tensor is made. Kernels that read or write through raw pointers rely on that, and on shapes
//! that fit as the trait's documentation says.
//!
//! NOTE [Aliasing]
//! Outputs do not share elements with inputs, except where a kernel's documentation says so.

mod flip;
#[cfg(test)]
mod fuzz;
mod index;
pub(super) mod isa;
mod lane;
mod map;
pub mod math;
mod matmul;
mod nll;
mod nonzero;
mod norm;
mod random;
mod reduce;
mod scan;
mod scratch;
mod softmax;
mod sort;
mod stream;
#[cfg(test)]
mod testing;
pub mod threads;
mod transpose;
mod update;
mod walk;

use super::{
    Backend, Classes, Combine, Distribution, Functor, Input, Reduction, Scan, Update, View,
};
use crate::base::{DType, Result, Scalar};

/// The CPU backend.
pub struct Cpu;

/// The one instance.
pub static CPU: Cpu = Cpu;

impl Backend for Cpu {
    fn map(&self, f: Functor, params: &[Scalar], compute: DType, out: View, ins: &[Input]) {
        map::map(f, params, compute, out, ins);
    }

    fn fill(&self, out: View, value: Scalar) {
        map::fill(out, value);
    }

    fn iota(&self, out: View, start: Scalar, step: Scalar) {
        map::iota(out, start, step);
    }

    fn reduce(&self, f: Reduction, out: View, x: View, dims: &[usize]) {
        reduce::reduce(f, out, x, dims);
    }

    fn scan(&self, f: Scan, out: View, index: Option<View>, x: View, dim: usize) {
        scan::scan(f, out, index, x, dim);
    }

    fn matmul(&self, out: View, a: View, b: View, bias: Option<View>, relu: bool) {
        matmul::matmul(out, a, b, bias, relu);
    }

    fn softmax(&self, log: bool, out: View, x: View, dim: usize) {
        softmax::softmax(log, out, x, dim);
    }

    fn softmax_backward(&self, log: bool, out: View, g: View, y: View, dim: usize) {
        softmax::softmax_backward(log, out, g, y, dim);
    }

    fn gather(&self, out: View, x: View, dim: usize, index: View) -> Result<()> {
        index::gather(out, x, dim, index)
    }

    fn scatter(
        &self,
        combine: Combine,
        out: View,
        dim: usize,
        index: View,
        src: View,
    ) -> Result<()> {
        index::scatter(combine, out, dim, index, src)
    }

    fn index(&self, out: View, x: View, indices: &[View]) -> Result<()> {
        index::index(out, x, indices)
    }

    fn index_put(&self, combine: Combine, x: View, indices: &[View], values: View) -> Result<()> {
        index::index_put(combine, x, indices, values)
    }

    fn sort(&self, values: View, index: View, x: View, dim: usize, descending: bool, first: usize) {
        sort::sort(values, index, x, dim, descending, first);
    }

    fn flip(&self, out: View, x: View, dims: &[usize]) {
        flip::flip(out, x, dims);
    }

    fn count_nonzero(&self, x: View) -> usize {
        nonzero::count(x)
    }

    fn nonzero(&self, out: View, x: View) {
        nonzero::nonzero(out, x);
    }

    fn searchsorted(&self, out: View, boundaries: View, v: View, right: bool) {
        sort::searchsorted(out, boundaries, v, right);
    }

    fn bincount(&self, out: View, x: View, weights: Option<View>) {
        sort::bincount(out, x, weights);
    }

    fn random(&self, out: View, distribution: Distribution, seed: u64, offset: u64) {
        random::random(out, distribution, seed, offset);
    }

    fn randperm(&self, out: View, seed: u64, offset: u64) {
        random::randperm(out, seed, offset);
    }

    fn layer_norm(
        &self,
        out: View,
        mean: View,
        rstd: View,
        x: View,
        weight: Option<View>,
        bias: Option<View>,
        outer: usize,
        eps: f64,
    ) {
        norm::layer_norm(out, mean, rstd, x, weight, bias, outer, eps);
    }

    fn layer_norm_backward(
        &self,
        out: View,
        g: View,
        x: View,
        mean: View,
        rstd: View,
        weight: Option<View>,
        outer: usize,
    ) {
        norm::layer_norm_backward(out, g, x, mean, rstd, weight, outer);
    }

    fn layer_norm_weight(&self, out: View, g: View, x: View, mean: View, rstd: View, outer: usize) {
        norm::layer_norm_weight(out, g, x, mean, rstd, outer);
    }

    fn nll(&self, losses: View, weights: View, x: View, classes: &Classes) -> Result<()> {
        nll::nll(losses, weights, x, classes)
    }

    fn nll_backward(&self, out: View, slope: View, classes: &Classes) -> Result<()> {
        nll::nll_backward(out, slope, classes)
    }

    fn update(&self, rule: &Update, tensors: &[Vec<View>]) {
        update::update(rule, tensors);
    }
}
