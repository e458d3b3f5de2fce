//! What a device must be able to compute: about twenty kernel families, and the functors that
//! elementwise ops splice into the first of them.
//!
//! Kernels know nothing of autograd, promotion or broadcasting: the caller hands them views of
//! fitting shapes, with outputs allocated. They check what only the data can tell (an index out of
//! range) before they write anything.

pub mod cpu;
mod functor;

pub use functor::{Domain, Functor};

use crate::base::{DType, Device, Error, Layout, Result, Scalar};
use crate::memory::Storage;

/// Some elements of a storage, read or written by a kernel.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The buffer.
    pub storage: &'a Storage,
    /// Which elements of it.
    pub layout: &'a Layout,
    /// Their type.
    pub dtype: DType,
}

/// An input of [`Backend::map`].
#[derive(Clone, Copy)]
pub enum Input<'a> {
    /// Elements of a storage, in a layout broadcast to the output's shape.
    View(View<'a>),
    /// One number for all.
    Scalar(Scalar),
}

/// The reductions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Sum; over nothing, 0.
    Sum,
    /// Sum of what is not NaN; over nothing, 0.
    SumNumbers,
    /// Sum of squares; over nothing, 0.
    SumSquares,
    /// Sum of squared distances from the mean, of floats; over nothing, 0.
    SquaredDistances,
    /// Product; over nothing, 1.
    Prod,
    /// Greatest element; NaN wins.
    Max,
    /// Least element; NaN wins.
    Min,
    /// Position of the first greatest element (of the first NaN if there is one), as `i64`.
    ArgMax,
    /// Position of the first least element (of the first NaN if there is one), as `i64`.
    ArgMin,
    /// Whether any element is not zero.
    Any,
    /// Whether all elements are not zero.
    All,
}

/// The scans: running reductions along one dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// Running sum.
    Sum,
    /// Running product.
    Prod,
    /// Running maximum; of equal elements the last one's position; NaN stays once met.
    Max,
    /// Running minimum, as `Max`.
    Min,
    /// Running `log(sum(exp))`, shifted by the running maximum.
    LogSumExp,
}

/// How a scatter combines what is there with what arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combine {
    /// The last write wins.
    Set,
    /// Sum.
    Add,
    /// Product.
    Mul,
    /// Greater of the two; NaN wins.
    Max,
    /// Lesser of the two; NaN wins.
    Min,
}

/// The distributions of the random fills. Element `i` depends on `(seed, offset, i)` alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// Uniform on `[low, high)`.
    Uniform {
        /// Lower end, included.
        low: f64,
        /// Upper end, excluded.
        high: f64,
    },
    /// Normal, by the Box-Muller transform.
    Normal {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        std: f64,
    },
    /// Integers from `low` to `high - 1`, each equally likely.
    Integers {
        /// Least value.
        low: i64,
        /// One past the greatest value.
        high: i64,
    },
    /// 1 with probability `p`, else 0.
    Bernoulli {
        /// Probability of 1.
        p: f64,
    },
    /// Exponential with rate `rate`.
    Exponential {
        /// The rate, 1 / mean.
        rate: f64,
    },
    /// Log-normal: the exponential of a normal.
    LogNormal {
        /// Mean of the logarithm.
        mean: f64,
        /// Standard deviation of the logarithm.
        std: f64,
    },
    /// Cauchy.
    Cauchy {
        /// Median.
        median: f64,
        /// Half width at half maximum.
        sigma: f64,
    },
    /// Geometric: how many trials up to the first success, at least 1.
    Geometric {
        /// Probability of success.
        p: f64,
    },
}

/// A rule that changes tensors elementwise, several at once: a step of an optimiser.
#[derive(Clone, Debug)]
pub enum Update {
    /// Parameters, gradients and, with momentum, buffers.
    Sgd(Sgd),
    /// Parameters, gradients, first and second moments and, with `amsgrad`, the largest of the
    /// second.
    Adam(Adam),
    /// Multiplication by a number.
    Scale(f64),
    /// Zeros.
    Zero,
}

/// Stochastic gradient descent: with the gradient `g` (its negative if `maximize`), plus
/// `weight_decay * p`, `b = momentum * b + (1 - dampening) * g`, and `p -= lr * b`; `nesterov` goes
/// along `g + momentum * b`, no momentum along `g`.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Sgd {
    pub lr: f64,
    pub momentum: f64,
    pub dampening: f64,
    pub weight_decay: f64,
    pub nesterov: bool,
    pub maximize: bool,
}

/// Adam: `m += (1 - beta1) (g - m)`, `v = beta2 v + (1 - beta2) g^2` and
/// `p -= lr / c1 * m / (sqrt(v) / c2 + eps)`, where `corrections` has `[c1, c2]` for each parameter.
/// Weight decay adds to the gradient or, `decoupled`, shrinks the parameter.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Adam {
    pub lr: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
    pub decoupled: bool,
    pub amsgrad: bool,
    pub maximize: bool,
    pub corrections: Vec<[f64; 2]>,
}

/// The classes of a likelihood: which one each place has, and what it weighs.
#[derive(Clone, Copy)]
pub struct Classes<'a> {
    /// The dimension of the scores along which classes lie.
    pub dim: usize,
    /// Class numbers, `i64`, in the shape of the scores without that dimension.
    pub target: View<'a>,
    /// Places of this class number do not count.
    pub ignored: i64,
    /// The weight of each class, in the type of the scores; without, 1.
    pub weight: Option<View<'a>>,
}

/// A device's kernels. Object safe; an elementwise op adds no method.
///
/// Float reductions, scans and products of `f16` and `bf16` accumulate in `f32`. A kernel whose
/// result could depend on the number of threads does not exist: work is split by shape.
pub trait Backend: Send + Sync {
    /// `out[i] = f(ins[0][i], ins[1][i], ...; params)`. Inputs are loaded in the compute type
    /// `compute` and the result is stored with a cast to `out.dtype`. `out` may be one of the
    /// inputs, elementwise on itself.
    fn map(&self, f: Functor, params: &[Scalar], compute: DType, out: View, ins: &[Input]);

    /// Every element becomes `value`.
    fn fill(&self, out: View, value: Scalar);

    /// `out[i] = start + i * step` over the row-major index, computed in `f64` or `i64`.
    fn iota(&self, out: View, start: Scalar, step: Scalar);

    /// Reduces `x` over `dims` (ascending). `out` has `x`'s shape with size 1 at `dims`.
    /// [`Reduction::ArgMax`] and [`Reduction::ArgMin`] write positions: within the one dimension of
    /// `dims`, or row-major over all dimensions. Empty extrema are the caller's error.
    fn reduce(&self, f: Reduction, out: View, x: View, dims: &[usize]);

    /// Scans `x` along `dim` into `out` of the same shape. `index`, for [`Scan::Max`] and
    /// [`Scan::Min`], receives the positions as `i64`.
    fn scan(&self, f: Scan, out: View, index: Option<View>, x: View, dim: usize);

    /// `out[.., i, j] = sum_k a[.., i, k] * b[.., k, j] + bias[.., i, j]`, all of one dtype (any but
    /// bool) and with equal (broadcast) leading dimensions; `bias` has the shape of `out`. With
    /// `relu`, floats go through [`Functor::Relu`] once they are rounded to their type.
    fn matmul(&self, out: View, a: View, b: View, bias: Option<View>, relu: bool);

    /// `exp(x) / sum(exp(x))` along `dim`, or its logarithm, shifted by the maximum.
    fn softmax(&self, log: bool, out: View, x: View, dim: usize);

    /// The vjp of [`Backend::softmax`] from its output `y`:
    /// `y * (g - sum(g * y))`, or for the logarithm `g - exp(y) * sum(g)`. `out` may be `g`.
    fn softmax_backward(&self, log: bool, out: View, g: View, y: View, dim: usize);

    /// `out[i_0, .., i_dim, ..] = x[i_0, .., index[i_0, .., i_dim, ..], ..]`; `index` is `i64` of
    /// `out`'s shape and, outside `dim`, nowhere larger than `x`.
    fn gather(&self, out: View, x: View, dim: usize, index: View) -> Result<()>;

    /// `out[.., index[i], ..] = combine(out[.., index[i], ..], src[i])`, in row-major order of
    /// `index`; `src` is at least as large as `index` in every dimension.
    fn scatter(
        &self,
        combine: Combine,
        out: View,
        dim: usize,
        index: View,
        src: View,
    ) -> Result<()>;

    /// Advanced indexing: the leading `indices.len()` dimensions of `x` are looked up by `i64`
    /// tensors of one shape `I` (negative entries count from the end); `out` has the shape
    /// `I + x.shape[indices.len()..]`.
    fn index(&self, out: View, x: View, indices: &[View]) -> Result<()>;

    /// The reverse of [`Backend::index`]: writes `values` (of `I + x.shape[k..]`) to the looked-up
    /// places of `x`, in order, with `combine` ([`Combine::Set`] or [`Combine::Add`]).
    fn index_put(&self, combine: Combine, x: View, indices: &[View], values: View) -> Result<()>;

    /// The elements of `x` in order along `dim` from rank `first` on, as many as `values` has there,
    /// stably; NaN sorts as the greatest. `index` receives positions as `i64`.
    fn sort(&self, values: View, index: View, x: View, dim: usize, descending: bool, first: usize);

    /// `x` with the order reversed along the dimensions `dims`.
    fn flip(&self, out: View, x: View, dims: &[usize]);

    /// How many elements are not zero.
    fn count_nonzero(&self, x: View) -> usize;

    /// The row-major positions (flat indices) of the elements that are not zero, as many as `out`,
    /// 1-d and dense `i64`, has room for.
    fn nonzero(&self, out: View, x: View);

    /// For each element of `v`, how many elements of its row of the sorted `boundaries` are less
    /// (`right`: less or equal). `boundaries` is 1-d, or has `v`'s leading dimensions.
    fn searchsorted(&self, out: View, boundaries: View, v: View, right: bool);

    /// `out[x[i]] += weights[i]` (or 1) over 1-d `x` of non-negative `i64`; weights are summed in
    /// `f32` or `f64`.
    fn bincount(&self, out: View, x: View, weights: Option<View>);

    /// Fills with random numbers; returns nothing: the caller advances the generator by
    /// [`random_blocks`].
    fn random(&self, out: View, distribution: Distribution, seed: u64, offset: u64);

    /// `out`, 1-d `i64`, becomes a random permutation of `0..n`.
    fn randperm(&self, out: View, seed: u64, offset: u64);

    /// Normalises the last `x.ndim() - outer` dimensions: `out = (x - mean) * rstd * weight + bias`
    /// with `rstd = 1 / sqrt(var + eps)`; `mean` and `rstd` have shape `x.shape[..outer]`.
    #[allow(clippy::too_many_arguments)]
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
    );

    /// The vjp of [`Backend::layer_norm`] with fixed statistics' gradients, in `x`: with
    /// `n = (x - mean) * rstd` and `h = g * weight`, `rstd * (h - mean(h) - n * mean(h * n))`.
    #[allow(clippy::too_many_arguments)]
    fn layer_norm_backward(
        &self,
        out: View,
        g: View,
        x: View,
        mean: View,
        rstd: View,
        weight: Option<View>,
        outer: usize,
    );

    /// The vjp of [`Backend::layer_norm`] in `weight`, whose shape `out` has: the sum of
    /// `g * (x - mean) * rstd` over the first `outer` dimensions.
    fn layer_norm_weight(&self, out: View, g: View, x: View, mean: View, rstd: View, outer: usize);

    /// For each place `i` of class `t`: `losses[i] = -x[i, t] * weight[t]` and `weights[i] =
    /// weight[t]`; both are 0 where the place does not count. They have the shape of the target, and
    /// the type that `x` is computed in.
    fn nll(&self, losses: View, weights: View, x: View, classes: &Classes) -> Result<()>;

    /// The vjp of [`Backend::nll`] in `x`, whose shape `out` has: `slope[i] * weight[t]` at the class
    /// of each place that counts, else 0. `slope` has the type that `out` is computed in.
    fn nll_backward(&self, out: View, slope: View, classes: &Classes) -> Result<()>;

    /// Applies a rule to tensors that belong together: dense, of one shape and one of the types
    /// `f32` and `f64`, and no two in the same memory.
    fn update(&self, rule: &Update, tensors: &[Vec<View>]);
}

/// How many blocks of random bits a fill of `numel` elements uses: what the generator advances by.
pub fn random_blocks(numel: usize) -> u64 {
    numel as u64
}

/// The kernels of a device.
pub fn of(device: Device) -> Result<&'static dyn Backend> {
    match device {
        Device::Cpu => Ok(&cpu::CPU),
        Device::Meta => Err(Error::not_implemented(
            "a tensor on the meta device has no elements to compute with; move the program to a \
             device with memory, such as 'cpu'",
        )),
    }
}

impl View<'_> {
    /// The number of elements.
    pub fn numel(&self) -> usize {
        self.layout.numel()
    }
}
