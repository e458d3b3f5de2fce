//! Random numbers: generators, and the ops that draw from them.
//!
//! Draws are counter-based: a generator is a seed and a position in the seed's stream, and an op
//! reserves as many blocks as it has elements. The same seed gives the same numbers whatever the
//! number of threads.

use super::def::{Call, Forms, Kernel, OpDef};
use super::{add, all, any, cast, create, dispatch, ge, le, logical_and, lt, mul};
use crate::backend::{self, Distribution, random_blocks};
use crate::base::dtype::default_dtype;
use crate::base::rng::{philox, unit_f64};
use crate::base::{DType, Device, Result, Scalar, Shape};
use crate::ensure;
use crate::tape::{GradMode, Outputs};
use crate::tensor::{Operand, Tensor};
use parking_lot::Mutex;
use smallvec::smallvec;
use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &RAND,
    &RANDN,
    &RANDINT,
    &RANDPERM,
    &RAND_LIKE,
    &RANDN_LIKE,
    &RANDINT_LIKE,
    &BERNOULLI,
    &MULTINOMIAL,
    &NORMAL,
    &POISSON,
    &UNIFORM_,
    &NORMAL_,
    &RANDOM_,
    &BERNOULLI_,
    &EXPONENTIAL_,
    &LOG_NORMAL_,
    &CAUCHY_,
    &GEOMETRIC_,
];

/// The seed of generators that were not seeded.
pub const DEFAULT_SEED: u64 = 67_280_421_310_721;

/// A stream of random numbers: a seed and a position.
///
/// ```
/// use rustgrad::ops::random::Generator;
/// let (a, b) = (Generator::new(7), Generator::new(7));
/// assert_eq!(a.reserve(10), b.reserve(10));
/// ```
pub struct Generator(Mutex<(u64, u64)>);

impl Generator {
    /// A generator at the start of a seed's stream.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new((seed, 0)))
    }

    /// Goes to the start of another seed's stream.
    pub fn manual_seed(&self, seed: u64) {
        *self.0.lock() = (seed, 0);
    }

    /// Goes to the start of the stream of a seed taken from the clock, and returns it.
    pub fn seed(&self) -> u64 {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let bits = philox(now.as_nanos() as u64, std::process::id().into());
        let seed = u64::from(bits[0]) << 21 ^ u64::from(bits[1]);
        self.manual_seed(seed);
        seed
    }

    /// The seed.
    pub fn initial_seed(&self) -> u64 {
        self.0.lock().0
    }

    /// Seed and position.
    pub fn state(&self) -> (u64, u64) {
        *self.0.lock()
    }

    /// Returns to a state.
    pub fn set_state(&self, state: (u64, u64)) {
        *self.0.lock() = state;
    }

    /// Takes the next `blocks` blocks: the seed, and the position of the first.
    pub fn reserve(&self, blocks: u64) -> (u64, u64) {
        let mut state = self.0.lock();
        let (seed, offset) = *state;
        state.1 = offset.wrapping_add(blocks);
        (seed, offset)
    }
}

/// The generator that ops without `generator=` draw from.
pub fn default_generator() -> &'static Arc<Generator> {
    static DEFAULT: LazyLock<Arc<Generator>> =
        LazyLock::new(|| Arc::new(Generator::new(DEFAULT_SEED)));
    &DEFAULT
}

/// Whether an op draws random numbers.
pub fn is_random(op: &'static OpDef) -> bool {
    OPS.iter().any(|random| std::ptr::eq(*random, op))
}

fn generator<'a>(call: &'a Call, i: usize) -> &'a Generator {
    if call.attrs.is_none(i) {
        default_generator()
    } else {
        call.attrs.any::<Generator>(i)
    }
}

/// Fills a tensor whose elements nobody has seen yet.
pub(super) fn draw(t: &Tensor, distribution: Distribution, from: &Generator) -> Result<()> {
    let (seed, offset) = from.reserve(random_blocks(t.numel()));
    if t.device() != Device::Meta {
        backend::of(t.device())?.random(t.as_view(), distribution, seed, offset);
    }
    Ok(())
}

const UNIT: Distribution = Distribution::Uniform {
    low: 0.0,
    high: 1.0,
};
const STANDARD: Distribution = Distribution::Normal {
    mean: 0.0,
    std: 1.0,
};
const CREATION: OpDef = OpDef {
    forms: Forms::FUNCTION,
    ..OpDef::BASE
};

pub(super) fn float_dtype(name: &str, dtype: DType) -> Result<DType> {
    ensure!(
        dtype.is_float(),
        not_implemented,
        "\"{name}\" not implemented for '{}'",
        dtype.scalar_type_name()
    );
    Ok(dtype)
}

/// A new tensor of floats: size, generator, dtype, device, requires_grad.
fn floats(call: &Call, distribution: Distribution) -> Result<Outputs> {
    let a = call.attrs;
    let dtype = float_dtype(call.op.name, a.dtype(2).unwrap_or_else(default_dtype))?;
    let t = Tensor::empty(
        create::shape_of(a.ints(0))?,
        dtype,
        a.device(3).unwrap_or_default(),
    )?;
    draw(&t, distribution, generator(call, 1))?;
    create::leaf(t, a.bool(4))
}

/// Uniform numbers.
pub static RAND: OpDef = OpDef {
    name: "rand",
    doc: "Uniform numbers in `[0, 1)`, of shape `size`.\n\n\
          >>> rg.rand(2, 3).shape\n\
          rustgrad.Size([2, 3])",
    sig: &[
        "(*size: int[], *, generator: generator? = None, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    kernel: Kernel::Dynamic(|call| floats(call, UNIT)),
    ..CREATION
};

/// Standard normal numbers.
pub static RANDN: OpDef = OpDef {
    name: "randn",
    doc: "Normal numbers of mean 0 and variance 1, of shape `size`.",
    sig: &[
        "(*size: int[], *, generator: generator? = None, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    kernel: Kernel::Dynamic(|call| floats(call, STANDARD)),
    ..CREATION
};

/// Bounds of integers that a type holds; a floating-point type rounds them.
fn check_integers(low: i64, high: i64, dtype: DType) -> Result<Distribution> {
    ensure!(
        low < high,
        runtime,
        "random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
    );
    let [least, most] = dtype.integers();
    for (name, bound) in [("from", low), ("to - 1", high - 1)] {
        ensure!(
            (least..=most).contains(&bound),
            runtime,
            "{name} is out of bounds for {dtype}: {bound} is not between {least} and {most}"
        );
    }
    Ok(Distribution::Integers { low, high })
}

/// Integers below a bound, or between bounds.
pub static RANDINT: OpDef = OpDef {
    name: "randint",
    doc: "Integers from `low` (0) up to but not including `high`, each equally likely, of shape \
          `size` and type int64 unless `dtype` says otherwise.\n\n\
          >>> rg.randint(3, 4, (2,))\n\
          tensor([3, 3])",
    sig: &[
        "(high: int, size: int[], *, generator: generator? = None, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
        "(low: int, high: int, size: int[], *, generator: generator? = None, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    kernel: Kernel::Dynamic(|call| {
        let a = call.attrs;
        let (low, high, at) = match call.overload {
            0 => (0, a.int(0), 1),
            _ => (a.int(0), a.int(1), 2),
        };
        let dtype = a.dtype(at + 2).unwrap_or(DType::I64);
        let distribution = check_integers(low, high, dtype)?;
        let device = a.device(at + 3).unwrap_or_default();
        let t = Tensor::empty(create::shape_of(a.ints(at))?, dtype, device)?;
        draw(&t, distribution, generator(call, at + 1))?;
        create::leaf(t, a.bool(at + 4))
    }),
    ..CREATION
};

/// A permutation.
pub static RANDPERM: OpDef = OpDef {
    name: "randperm",
    doc: "The integers from 0 up to but not including `n` in random order.\n\n\
          >>> rg.randperm(1)\n\
          tensor([0])",
    sig: &[
        "(n: int, *, generator: generator? = None, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    kernel: Kernel::Dynamic(|call| {
        let n = call.attrs.int(0);
        create::shape_of(&[n])?;
        let dtype = call.attrs.dtype(2).unwrap_or(DType::I64);
        create::check_fits(Scalar::Int(n), dtype)?;
        let device = call.attrs.device(3).unwrap_or_default();
        let t = Tensor::empty([n as usize], DType::I64, device)?;
        let (seed, offset) = generator(call, 1).reserve(random_blocks(n as usize));
        if device != Device::Meta {
            backend::of(device)?.randperm(t.as_view(), seed, offset);
        }
        create::leaf(cast(&t, dtype)?, call.attrs.bool(4))
    }),
    ..CREATION
};

/// A new tensor like the first input: dtype, device, requires_grad from `at` on.
fn like(call: &Call, at: usize) -> Result<Tensor> {
    let x = call.tensor(0);
    let dtype = call.attrs.dtype(at).unwrap_or(x.dtype());
    Tensor::empty(
        x.shape().clone(),
        dtype,
        call.attrs.device(at + 1).unwrap_or(x.device()),
    )
}

fn floats_like(call: &Call, distribution: Distribution) -> Result<Outputs> {
    let t = like(call, 1)?;
    float_dtype(call.op.name, t.dtype())?;
    draw(&t, distribution, generator(call, 0))?;
    create::leaf(t, call.attrs.bool(3))
}

/// Uniform numbers in another tensor's shape.
pub static RAND_LIKE: OpDef = OpDef {
    name: "rand_like",
    doc: "Uniform numbers in `[0, 1)`, with the shape, type and device of `input`.",
    sig: &[
        "(input, *, generator: generator? = None, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    kernel: Kernel::Dynamic(|call| floats_like(call, UNIT)),
    ..CREATION
};

/// Normal numbers in another tensor's shape.
pub static RANDN_LIKE: OpDef = OpDef {
    name: "randn_like",
    doc: "Normal numbers of mean 0 and variance 1, with the shape, type and device of `input`.",
    sig: &[
        "(input, *, generator: generator? = None, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    kernel: Kernel::Dynamic(|call| floats_like(call, STANDARD)),
    ..CREATION
};

/// Integers in another tensor's shape.
pub static RANDINT_LIKE: OpDef = OpDef {
    name: "randint_like",
    doc: "Integers from `low` (0) up to but not including `high`, each equally likely, with the \
          shape, type and device of `input`.",
    sig: &[
        "(input, high: int, *, generator: generator? = None, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
        "(input, low: int, high: int, *, generator: generator? = None, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    kernel: Kernel::Dynamic(|call| {
        let a = call.attrs;
        let (low, high, at) = match call.overload {
            0 => (0, a.int(0), 1),
            _ => (a.int(0), a.int(1), 2),
        };
        let t = like(call, at + 1)?;
        draw(
            &t,
            check_integers(low, high, t.dtype())?,
            generator(call, at),
        )?;
        create::leaf(t, a.bool(at + 3))
    }),
    ..CREATION
};

/// 1 where a uniform number is less than the probability, else 0: of `x`'s shape and type.
fn bernoulli(x: &Tensor, p: &Tensor, from: &Generator) -> Result<Tensor> {
    float_dtype("bernoulli_tensor_cpu_p_", p.dtype())?;
    let _unrecorded = GradMode::set(false);
    if p.device() != Device::Meta {
        let inside = logical_and(ge(p, 0i64)?, le(p, 1i64)?)?;
        ensure!(
            all(inside)?.item()?.as_bool(),
            runtime,
            "Expected p_in >= 0 && p_in <= 1 to be true for every probability"
        );
    }
    // In double precision, so that small probabilities are met.
    let u = Tensor::empty(x.shape().clone(), DType::F64, x.device())?;
    draw(&u, UNIT, from)?;
    cast(&lt(u, cast(p, DType::F64)?)?, x.dtype())
}

fn check_probability(p: f64) -> Result<Distribution> {
    ensure!(
        (0.0..=1.0).contains(&p),
        runtime,
        "bernoulli_ expects p to be in [0, 1], but got p={p}"
    );
    Ok(Distribution::Bernoulli { p })
}

/// Ones with given probabilities.
pub static BERNOULLI: OpDef = OpDef {
    name: "bernoulli",
    doc: "1 with the probability that each element of `input` is, else 0, in its shape and type; \
          with a number `p`, all with that probability. No gradient flows to the probabilities.\n\n\
          >>> rg.bernoulli(rg.tensor([0., 1.]))\n\
          tensor([0., 1.])",
    sig: &[
        "(input, *, generator: generator? = None)",
        "(input, p: float, *, generator: generator? = None)",
    ],
    kernel: Kernel::Dynamic(|call| {
        let x = call.tensor(0);
        if call.overload == 0 {
            return Ok(smallvec![bernoulli(x, x, generator(call, 0))?]);
        }
        refill(call, check_probability(call.attrs.float(0))?, 1)
    }),
    ..OpDef::BASE
};

/// Draws from weighted categories.
pub static MULTINOMIAL: OpDef = OpDef {
    name: "multinomial",
    doc: "`num_samples` categories a row, drawn with probabilities proportional to the weights in \
          `input`: one row (k), or a matrix of rows (m, k). Without `replacement` each category \
          comes at most once. The result is int64, of shape (num_samples) or (m, num_samples).\n\n\
          >>> rg.multinomial(rg.tensor([0., 3., 0.]), 2, replacement=True)\n\
          tensor([1, 1])",
    sig: &["(input, num_samples: int, replacement: bool = False, *, generator: generator? = None)"],
    kernel: Kernel::Dynamic(|call| {
        let x = call.tensor(0);
        ensure!(
            x.dtype().is_float(),
            runtime,
            "multinomial only supports floating-point dtypes for input, got: {}",
            x.dtype().scalar_type_name()
        );
        ensure!(
            x.ndim() == 1 || x.ndim() == 2,
            runtime,
            "prob_dist must be 1 or 2 dim, but its shape is {}",
            x.shape()
        );
        let n = call.attrs.int(0);
        ensure!(
            n > 0,
            runtime,
            "cannot sample n_sample <= 0 samples, got {n}"
        );
        let (n, k) = (n as usize, x.shape()[x.ndim() - 1]);
        let replacement = call.attrs.bool(1);
        ensure!(
            replacement || n <= k,
            runtime,
            "cannot sample n_sample > prob_dist.size(-1) samples without replacement: {n} of {k}"
        );
        let mut shape: Shape = x.shape()[..x.ndim() - 1].iter().copied().collect();
        let rows = shape.numel();
        shape.push(n);
        if x.device() == Device::Meta {
            return Ok(smallvec![Tensor::empty(shape, DType::I64, x.device())?]);
        }
        let weights = numbers(x)?;
        ensure!(
            weights.iter().all(|w| w.is_finite() && *w >= 0.0),
            runtime,
            "probability tensor contains either `inf`, `nan` or element < 0"
        );
        let draws = if replacement { n } else { k };
        for row in weights.chunks_exact(k.max(1)) {
            let possible = row.iter().filter(|w| **w > 0.0).count();
            ensure!(
                possible > 0,
                runtime,
                "invalid multinomial distribution (sum of probabilities <= 0)"
            );
            ensure!(
                replacement || possible >= n,
                runtime,
                "invalid multinomial distribution (with replacement=False, not enough non-negative \
                 category to sample): {n} of {possible}"
            );
        }
        let u = Tensor::empty([rows, draws], DType::F64, x.device())?;
        draw(&u, UNIT, generator(call, 2))?;
        let u = numbers(&u)?;
        let mut out: Vec<i64> = Vec::with_capacity(rows * n);
        for (weights, u) in weights.chunks_exact(k.max(1)).zip(u.chunks_exact(draws)) {
            if replacement {
                with_replacement(weights, u, &mut out);
            } else {
                without_replacement(weights, u, n, &mut out);
            }
        }
        Ok(smallvec![Tensor::from_slice(&out, shape)?])
    }),
    ..OpDef::BASE
};

/// The elements in row-major order.
fn numbers(x: &Tensor) -> Result<Vec<f64>> {
    let x = super::contiguous(&cast(&x.detach(), DType::F64)?)?;
    let first = x.layout().offset;
    Ok((first..first + x.numel())
        .map(|i| x.storage().read(i))
        .collect())
}

/// For each uniform number, the category in whose part of the sum of the weights it falls.
fn with_replacement(weights: &[f64], u: &[f64], out: &mut Vec<i64>) {
    let mut total = 0.0;
    let sums: Vec<f64> = weights
        .iter()
        .map(|w| {
            total += w;
            total
        })
        .collect();
    // Rounding may lead past the end, or into nothing: the last category that has a weight.
    let last = weights.iter().rposition(|w| *w > 0.0).unwrap_or(0);
    for x in u {
        let chosen = sums.partition_point(|s| *s <= x * total);
        out.push(chosen.min(last) as i64);
    }
}

/// The `n` that arrive first if category `i` arrives at an exponential time of rate `w_i`: each is
/// the next with a probability proportional to its weight among those left.
fn without_replacement(weights: &[f64], u: &[f64], n: usize, out: &mut Vec<i64>) {
    let time = |i: usize| -(-u[i]).ln_1p() / weights[i];
    let possible = (0..weights.len()).filter(|&i| weights[i] > 0.0);
    let mut times: Vec<(f64, usize)> = possible.map(|i| (time(i), i)).collect();
    let earlier = |a: &(f64, usize), b: &(f64, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
    times.select_nth_unstable_by(n - 1, earlier);
    times.truncate(n);
    times.sort_unstable_by(earlier);
    out.extend(times.iter().map(|&(_, i)| i as i64));
}

fn check_std(std: f64) -> Result<f64> {
    ensure!(
        std >= 0.0,
        runtime,
        "normal expects std >= 0.0, but found std {std}"
    );
    Ok(std)
}

/// Normal numbers with a mean and a deviation for each element.
pub static NORMAL: OpDef = OpDef {
    name: "normal",
    doc: "Normal numbers with means `mean` and standard deviations `std`, tensors that broadcast; or \
          one of them or both are numbers, with `size` in the latter case. No gradient flows to \
          either.\n\n\
          >>> rg.normal(rg.tensor([1., 2.]), 0.)\n\
          tensor([1., 2.])",
    sig: &[
        "(mean, std: Tensor|Scalar = 1.0, *, generator: generator? = None)",
        "(mean: float, std, *, generator: generator? = None)",
        "(mean: float, std: float, size: int[], *, generator: generator? = None, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    forms: Forms::FUNCTION,
    kernel: Kernel::Dynamic(|call| {
        let a = call.attrs;
        if call.overload == 2 {
            let (mean, std) = (a.float(0), check_std(a.float(1))?);
            let dtype = float_dtype("normal", a.dtype(4).unwrap_or_else(default_dtype))?;
            let device = a.device(5).unwrap_or_default();
            let t = Tensor::empty(create::shape_of(a.ints(2))?, dtype, device)?;
            draw(&t, Distribution::Normal { mean, std }, generator(call, 3))?;
            return create::leaf(t, a.bool(6));
        }
        let (mean, std): (Operand, _) = match call.overload {
            0 => (call.inputs[0].clone(), &call.inputs[1]),
            _ => (a.scalar(0).into(), &call.inputs[0]),
        };
        let tensors = call.tensors().map(Tensor::dtype);
        let dtype = tensors.reduce(DType::promote).unwrap_or_else(default_dtype);
        float_dtype("normal", dtype)?;
        let _unrecorded = GradMode::set(false);
        match std {
            Operand::Scalar(std) => {
                check_std(std.as_f64())?;
            }
            Operand::Tensor(std) if std.device() != Device::Meta => ensure!(
                !any(lt(std, 0i64)?)?.item()?.as_bool(),
                runtime,
                "normal expects all elements of std >= 0.0"
            ),
            _ => {}
        }
        let device = dispatch::device_of(call.inputs)?;
        let z = Tensor::empty(super::meta::broadcast(call.inputs)?, dtype, device)?;
        draw(&z, STANDARD, generator(call, call.overload))?;
        Ok(smallvec![add(mul(z, std)?, mean)?])
    }),
    ..OpDef::BASE
};

/// A stream of uniform numbers for one element: its block of the generator is the seed.
struct Stream {
    seed: u64,
    next: u64,
}

impl Stream {
    fn new(seed: u64, block: u64) -> Self {
        let bits = philox(seed, block);
        Self {
            seed: u64::from(bits[0]) << 32 | u64::from(bits[1]),
            next: 0,
        }
    }

    /// In `(0, 1]`.
    fn unit(&mut self) -> f64 {
        let bits = philox(self.seed, self.next);
        self.next += 1;
        1.0 - unit_f64(bits[0], bits[1])
    }
}

/// A Poisson number. Up to a rate of 10: how many exponential times fit into the rate. Beyond:
/// transformed rejection with squeeze, algorithm PTRS of W. Hoermann, "The transformed rejection
/// method for generating Poisson random variables", Insurance: Mathematics and Economics 12 (1993).
fn poisson(rate: f64, stream: &mut Stream) -> f64 {
    if rate < 10.0 {
        let (limit, mut product, mut count) = ((-rate).exp(), stream.unit(), 0.0);
        while product > limit {
            product *= stream.unit();
            count += 1.0;
        }
        return count;
    }
    let b = 0.931 + 2.53 * rate.sqrt();
    let a = -0.059 + 0.02483 * b;
    let inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
    let v_r = 0.9277 - 3.6224 / (b - 2.0);
    loop {
        let (u, v) = (stream.unit() - 0.5, stream.unit());
        let us = 0.5 - u.abs();
        let k = ((2.0 * a / us + b) * u + rate + 0.43).floor();
        if us >= 0.07 && v <= v_r {
            return k;
        }
        if k < 0.0 || (us < 0.013 && v > us) {
            continue;
        }
        let left = v.ln() + inverse_alpha.ln() - (a / (us * us) + b).ln();
        if left <= k * rate.ln() - rate - libm::lgamma(k + 1.0) {
            return k;
        }
    }
}

/// Poisson numbers.
pub static POISSON: OpDef = OpDef {
    name: "poisson",
    doc: "Numbers of events, each with the Poisson distribution whose rate an element of `input` is, \
          in its shape and type. No gradient flows to the rates.\n\n\
          >>> rg.poisson(rg.zeros(2))\n\
          tensor([0., 0.])",
    sig: &["(input, generator: generator? = None)"],
    forms: Forms::FUNCTION,
    kernel: Kernel::Dynamic(|call| {
        let x = call.tensor(0);
        float_dtype("poisson", x.dtype())?;
        if x.device() == Device::Meta {
            return Ok(smallvec![Tensor::empty_like(x, x.dtype(), x.device())?]);
        }
        let rates = numbers(x)?;
        ensure!(
            rates.iter().all(|r| *r >= 0.0 && r.is_finite()),
            runtime,
            "invalid Poisson rate, expected rate to be non-negative"
        );
        let (seed, offset) = generator(call, 0).reserve(rates.len() as u64);
        let draws: Vec<f64> = (offset..)
            .zip(&rates)
            .map(|(block, rate)| poisson(*rate, &mut Stream::new(seed, block)))
            .collect();
        let _unrecorded = GradMode::set(false);
        let t = Tensor::from_slice(&draws, x.shape().clone())?;
        Ok(smallvec![cast(&t, x.dtype())?])
    }),
    ..OpDef::BASE
};

/// Random numbers in the shape and type of the first input.
fn refill(call: &Call, distribution: Distribution, at: usize) -> Result<Outputs> {
    let x = call.tensor(0);
    let t = Tensor::empty(x.shape().clone(), x.dtype(), x.device())?;
    draw(&t, distribution, generator(call, at))?;
    Ok(smallvec![t])
}

/// An op with an in-place form only: its result is copied in.
const FILL: OpDef = OpDef {
    forms: Forms {
        in_place: true,
        ..Forms::HIDDEN
    },
    ..OpDef::BASE
};

/// Uniform numbers, in place.
pub static UNIFORM_: OpDef = OpDef {
    name: "uniform",
    doc: "Fills the tensor with uniform numbers in `[from, to)`.",
    sig: &["(input, from: float = 0.0, to: float = 1.0, *, generator: generator? = None)"],
    kernel: Kernel::Dynamic(|call| {
        let (low, high) = (call.attrs.float(0), call.attrs.float(1));
        let dtype = float_dtype("uniform_", call.tensor(0).dtype())?;
        let most = dtype.greatest();
        for (name, bound) in [("from", low), ("to", high)] {
            ensure!(
                bound.abs() <= most,
                runtime,
                "{name} is out of bounds for {dtype}: {bound}"
            );
        }
        ensure!(
            low <= high,
            runtime,
            "uniform_ expects to return a [from, to) range, but found from={low} > to={high}"
        );
        ensure!(
            high - low <= most,
            runtime,
            "uniform_ expects to-from <= {most:e}, but found to={high} and from={low} which result \
             in to-from to exceed the limit"
        );
        refill(call, Distribution::Uniform { low, high }, 2)
    }),
    ..FILL
};

/// Normal numbers, in place.
pub static NORMAL_: OpDef = OpDef {
    name: "normal",
    doc: "Fills the tensor with normal numbers of mean `mean` and standard deviation `std`.",
    sig: &["(input, mean: float = 0.0, std: float = 1.0, *, generator: generator? = None)"],
    kernel: Kernel::Dynamic(|call| {
        let (mean, std) = (call.attrs.float(0), check_std(call.attrs.float(1))?);
        float_dtype("normal_", call.tensor(0).dtype())?;
        refill(call, Distribution::Normal { mean, std }, 2)
    }),
    ..FILL
};

/// Integers, in place.
pub static RANDOM_: OpDef = OpDef {
    name: "random",
    doc: "Fills the tensor with integers from `from` (0) up to but not including `to`; without `to`, \
          with all integers that its type holds exactly, none of them below `from`.",
    sig: &[
        "(input, from: int, to: int?, *, generator: generator? = None)",
        "(input, to: int? = None, *, generator: generator? = None)",
    ],
    kernel: Kernel::Dynamic(|call| {
        let dtype = call.tensor(0).dtype();
        let most = match dtype {
            DType::F16 => 1 << 11,
            DType::BF16 => 1 << 8,
            DType::F32 => 1 << 24,
            DType::F64 => 1 << 53,
            // One less in `int64`, where one more than the greatest has no name.
            _ => dtype.integers()[1].min(i64::MAX - 1),
        };
        let (low, high, at) = match call.overload {
            0 => (call.attrs.int(0), call.attrs.int_opt(1), 2),
            _ => (0, call.attrs.int_opt(0), 1),
        };
        refill(
            call,
            check_integers(low, high.unwrap_or(most + 1), dtype)?,
            at,
        )
    }),
    ..FILL
};

/// Ones and zeros, in place.
pub static BERNOULLI_: OpDef = OpDef {
    name: "bernoulli",
    doc: "Fills the tensor with 1 with probability `p` (a number, or a tensor that broadcasts to its \
          shape), else 0.",
    sig: &[
        "(input, p, *, generator: generator? = None)",
        "(input, p: float = 0.5, *, generator: generator? = None)",
    ],
    kernel: Kernel::Dynamic(|call| {
        if call.overload == 1 {
            return refill(call, check_probability(call.attrs.float(0))?, 1);
        }
        let (x, p) = (call.tensor(0), call.tensor(1));
        ensure!(
            p.shape().broadcast(x.shape()).as_ref() == Some(x.shape()),
            runtime,
            "the probabilities of shape {} do not broadcast to the tensor's shape {}",
            p.shape(),
            x.shape()
        );
        Ok(smallvec![bernoulli(x, p, generator(call, 0))?])
    }),
    ..FILL
};

/// The type of a tensor that takes a continuous distribution.
fn continuous(call: &Call, name: &str) -> Result<()> {
    let dtype = call.tensor(0).dtype();
    ensure!(
        dtype.is_float(),
        runtime,
        "{name} distribution is a continuous probability distribution. dtype must be a floating \
         point but you specified {}",
        dtype.scalar_type_name()
    );
    Ok(())
}

macro_rules! fills {
    ($( $(#[$doc:meta])* $NAME:ident $name:literal $sig:literal $at:literal $text:literal |$call:ident| $body:expr; )*) => { $(
        $(#[$doc])*
        pub static $NAME: OpDef = OpDef {
            name: $name,
            doc: $text,
            sig: &[$sig],
            kernel: Kernel::Dynamic(|$call| {
                let distribution = $body;
                refill($call, distribution, $at)
            }),
            ..FILL
        };
    )* };
}

fills! {
    /// Exponential numbers, in place.
    EXPONENTIAL_ "exponential" "(input, lambd: float = 1.0, *, generator: generator? = None)" 1
        "Fills the tensor with exponential numbers of rate `lambd`: their mean is `1 / lambd`." |call| {
            let rate = call.attrs.float(0);
            ensure!(rate > 0.0, runtime, "exponential_ expects lambda > 0.0, but found lambda={rate}");
            continuous(call, "Exponential")?;
            Distribution::Exponential { rate }
        };
    /// Log-normal numbers, in place.
    LOG_NORMAL_ "log_normal" "(input, mean: float = 1.0, std: float = 2.0, *, generator: generator? = None)" 2
        "Fills the tensor with exponentials of normal numbers of mean `mean` and standard deviation \
         `std`." |call| {
            let std = call.attrs.float(1);
            ensure!(std > 0.0, runtime, "log_normal_ expects std > 0.0, but found std={std}");
            continuous(call, "Log-normal")?;
            Distribution::LogNormal { mean: call.attrs.float(0), std }
        };
    /// Cauchy numbers, in place.
    CAUCHY_ "cauchy" "(input, median: float = 0.0, sigma: float = 1.0, *, generator: generator? = None)" 2
        "Fills the tensor with numbers of the Cauchy distribution around `median`, half of them \
         within `sigma` of it." |call| {
            let sigma = call.attrs.float(1);
            ensure!(sigma > 0.0, runtime, "cauchy_ expects sigma > 0.0, but found sigma={sigma}");
            continuous(call, "Cauchy")?;
            Distribution::Cauchy { median: call.attrs.float(0), sigma }
        };
    /// Numbers of trials, in place.
    GEOMETRIC_ "geometric" "(input, p: float, *, generator: generator? = None)" 1
        "Fills the tensor with how many trials of probability `p` it takes to the first success." |call| {
            let p = call.attrs.float(0);
            ensure!(0.0 < p && p < 1.0, runtime, "geometric_ expects p to be in (0, 1), but got p={p}");
            Distribution::Geometric { p }
        };
}
