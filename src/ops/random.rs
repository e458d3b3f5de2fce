//! Random numbers: generators, and the ops that draw from them.
//!
//! Draws are counter-based: a generator is a seed and a position in the seed's stream, and an op
//! reserves as many blocks as it has elements. The same seed gives the same numbers whatever the
//! number of threads.

use super::def::{Call, Forms, Kernel, OpDef};
use super::{add, cast, create, div, mul, where_};
use crate::backend::{self, Distribution, random_blocks};
use crate::base::dtype::default_dtype;
use crate::base::{DType, Device, Result, Shape};
use crate::tape::Outputs;
use crate::tensor::{Operand, Tensor};
use crate::{bail, ensure};
use parking_lot::Mutex;
use smallvec::smallvec;
use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &RAND,
    &RANDN,
    &RANDINT,
    &RANDINT_FROM,
    &RANDPERM,
    &RAND_LIKE,
    &RANDN_LIKE,
    &RANDINT_LIKE,
    &RANDINT_LIKE_FROM,
    &BERNOULLI,
    &BERNOULLI_P,
    &MULTINOMIAL,
    &NORMAL,
    &NORMAL_SIZE,
    &DROPOUT,
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
const DEFAULT_SEED: u64 = 67_280_421_310_721;

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
        let bits = crate::base::rng::philox(now.as_nanos() as u64, std::process::id().into());
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

fn generator<'a>(call: &'a Call, i: usize) -> &'a Generator {
    if call.attrs.is_none(i) {
        default_generator()
    } else {
        call.attrs.any::<Generator>(i)
    }
}

/// Fills a tensor whose elements nobody has seen yet.
fn draw(t: &Tensor, distribution: Distribution, from: &Generator) -> Result<()> {
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

fn float_dtype(name: &str, dtype: DType) -> Result<DType> {
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
    doc: "Uniform numbers in `[0, 1)`, of shape `size`.",
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

fn integers(call: &Call, low: i64, high: i64, at: usize) -> Result<Outputs> {
    let a = call.attrs;
    ensure!(
        low < high,
        runtime,
        "random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
    );
    let dtype = a.dtype(at + 2).unwrap_or(DType::I64);
    let t = Tensor::empty(
        create::shape_of(a.ints(at))?,
        dtype,
        a.device(at + 3).unwrap_or_default(),
    )?;
    draw(
        &t,
        Distribution::Integers { low, high },
        generator(call, at + 1),
    )?;
    create::leaf(t, a.bool(at + 4))
}

/// Integers below a bound.
pub static RANDINT: OpDef = OpDef {
    name: "randint",
    doc: "Integers from `low` (0) up to but not including `high`, each equally likely.",
    sig: &[
        "(high: int, size: int[], *, generator: generator? = None, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    kernel: Kernel::Dynamic(|call| integers(call, 0, call.attrs.int(0), 1)),
    ..CREATION
};

/// Integers between bounds.
pub static RANDINT_FROM: OpDef = OpDef {
    name: "randint_from",
    doc: "Integers from `low` up to but not including `high`, each equally likely.",
    sig: &[
        "(low: int, high: int, size: int[], *, generator: generator? = None, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    aliases: &["randint"],
    kernel: Kernel::Dynamic(|call| integers(call, call.attrs.int(0), call.attrs.int(1), 2)),
    ..CREATION
};

/// A permutation.
pub static RANDPERM: OpDef = OpDef {
    name: "randperm",
    doc: "The integers `0..n` in random order.",
    sig: &[
        "(n: int, *, generator: generator? = None, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    kernel: Kernel::Dynamic(|call| {
        let n = call.attrs.int(0);
        ensure!(n >= 0, runtime, "n must be non-negative, got {n}");
        let device = call.attrs.device(3).unwrap_or_default();
        let t = Tensor::empty([n as usize], DType::I64, device)?;
        let (seed, offset) = generator(call, 1).reserve(random_blocks(n as usize));
        if device != Device::Meta {
            backend::of(device)?.randperm(t.as_view(), seed, offset);
        }
        create::leaf(
            cast(&t, call.attrs.dtype(2).unwrap_or(DType::I64))?,
            call.attrs.bool(4),
        )
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
    let t = like(call, 0)?;
    float_dtype(call.op.name, t.dtype())?;
    draw(&t, distribution, default_generator())?;
    create::leaf(t, call.attrs.bool(2))
}

/// Uniform numbers in another tensor's shape.
pub static RAND_LIKE: OpDef = OpDef {
    name: "rand_like",
    doc: "Uniform numbers in `[0, 1)`, with the shape and type of `input`.",
    sig: &["(input, *, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)"],
    kernel: Kernel::Dynamic(|call| floats_like(call, UNIT)),
    ..CREATION
};

/// Normal numbers in another tensor's shape.
pub static RANDN_LIKE: OpDef = OpDef {
    name: "randn_like",
    doc: "Normal numbers of mean 0 and variance 1, with the shape and type of `input`.",
    sig: &["(input, *, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)"],
    kernel: Kernel::Dynamic(|call| floats_like(call, STANDARD)),
    ..CREATION
};

fn integers_like(call: &Call, low: i64, high: i64, at: usize) -> Result<Outputs> {
    ensure!(
        low < high,
        runtime,
        "random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
    );
    let t = like(call, at)?;
    draw(
        &t,
        Distribution::Integers { low, high },
        default_generator(),
    )?;
    create::leaf(t, call.attrs.bool(at + 2))
}

/// Integers below a bound, in another tensor's shape.
pub static RANDINT_LIKE: OpDef = OpDef {
    name: "randint_like",
    doc: "Integers from `low` (0) up to but not including `high`, with the shape and type of `input`.",
    sig: &[
        "(input, high: int, *, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    kernel: Kernel::Dynamic(|call| integers_like(call, 0, call.attrs.int(0), 1)),
    ..CREATION
};

/// Integers between bounds, in another tensor's shape.
pub static RANDINT_LIKE_FROM: OpDef = OpDef {
    name: "randint_like_from",
    doc: "Integers from `low` up to but not including `high`, with the shape and type of `input`.",
    sig: &[
        "(input, low: int, high: int, *, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    aliases: &["randint_like"],
    kernel: Kernel::Dynamic(|call| integers_like(call, call.attrs.int(0), call.attrs.int(1), 2)),
    ..CREATION
};

/// Uniform numbers of a tensor's shape and (floating-point) type.
fn uniforms(x: &Tensor, from: &Generator) -> Result<Tensor> {
    let dtype = if x.dtype().is_float() {
        x.dtype()
    } else {
        DType::F64
    };
    let u = Tensor::empty(x.shape().clone(), dtype, x.device())?;
    draw(&u, UNIT, from)?;
    Ok(u)
}

/// Ones with the probabilities that the elements are.
pub static BERNOULLI: OpDef = OpDef {
    name: "bernoulli",
    doc: "1 with the probability that each element of `input` is, else 0.",
    sig: &["(input, *, generator: generator? = None)"],
    kernel: Kernel::Dynamic(|call| {
        let p = call.tensor(0);
        float_dtype("bernoulli_tensor_cpu_p_", p.dtype())?;
        let outside = super::logical_not(super::logical_and(
            super::ge(p, 0i64)?,
            super::le(p, 1i64)?,
        )?)?;
        ensure!(
            p.device() == Device::Meta || !super::any(outside)?.item()?.as_bool(),
            runtime,
            "Expected p_in >= 0 && p_in <= 1 to be true for every element"
        );
        let _unrecorded = crate::tape::GradMode::set(false);
        let u = uniforms(p, generator(call, 0))?;
        Ok(smallvec![cast(&super::lt(u, p)?, p.dtype())?])
    }),
    ..OpDef::BASE
};

fn probability(p: f64) -> Result<f64> {
    ensure!(
        (0.0..=1.0).contains(&p),
        runtime,
        "bernoulli_ expects p to be in [0, 1], but got p={p}"
    );
    Ok(p)
}

/// Ones with one probability.
pub static BERNOULLI_P: OpDef = OpDef {
    name: "bernoulli_p",
    doc: "1 with probability `p`, else 0, with the shape and type of `input`.",
    sig: &["(input, p: float, *, generator: generator? = None)"],
    aliases: &["bernoulli"],
    kernel: Kernel::Dynamic(|call| {
        let x = call.tensor(0);
        let t = Tensor::empty(x.shape().clone(), x.dtype(), x.device())?;
        let p = probability(call.attrs.float(0))?;
        draw(&t, Distribution::Bernoulli { p }, generator(call, 1))?;
        Ok(smallvec![t])
    }),
    ..OpDef::BASE
};

/// Draws from weighted categories.
pub static MULTINOMIAL: OpDef = OpDef {
    name: "multinomial",
    doc: "`num_samples` categories a row, drawn with probabilities proportional to the weights in \
          `input` (one row, or a matrix of rows); without `replacement` each at most once.",
    sig: &["(input, num_samples: int, replacement: bool = False, *, generator: generator? = None)"],
    kernel: Kernel::Dynamic(|call| {
        let x = call.tensor(0);
        float_dtype("multinomial", x.dtype())?;
        ensure!(
            x.ndim() == 1 || x.ndim() == 2,
            runtime,
            "prob_dist must be 1 or 2 dim"
        );
        let n = call.attrs.int(0);
        ensure!(n > 0, runtime, "cannot sample n_sample <= 0 samples");
        let (n, k) = (n as usize, x.shape()[x.ndim() - 1]);
        let replacement = call.attrs.bool(1);
        ensure!(
            replacement || n <= k,
            runtime,
            "cannot sample n_sample > prob_dist.size(-1) samples without replacement"
        );
        let rows = x.numel() / k.max(1);
        let weights: Vec<f64> = x.to_vec()?.iter().map(|s| s.as_f64()).collect();
        ensure!(
            weights.iter().all(|w| w.is_finite() && *w >= 0.0),
            runtime,
            "probability tensor contains either `inf`, `nan` or element < 0"
        );
        let u = Tensor::empty([rows, n], DType::F64, x.device())?;
        draw(&u, UNIT, generator(call, 2))?;
        let mut out = Vec::with_capacity(rows * n);
        for row in 0..rows {
            let mut weights = weights[row * k..(row + 1) * k].to_vec();
            for i in 0..n {
                let total: f64 = weights.iter().sum();
                ensure!(
                    total > 0.0,
                    runtime,
                    "invalid multinomial distribution (sum of probabilities <= 0)"
                );
                let mut rest = u.get(&[row, i]).as_f64() * total;
                let mut chosen = 0;
                for (j, &w) in weights.iter().enumerate().filter(|(_, w)| **w > 0.0) {
                    chosen = j;
                    if rest < w {
                        break;
                    }
                    rest -= w;
                }
                out.push(chosen as i64);
                if !replacement {
                    weights[chosen] = 0.0;
                }
            }
        }
        let shape = if x.ndim() == 1 {
            Shape::from([n])
        } else {
            Shape::from([rows, n])
        };
        Ok(smallvec![Tensor::from_slice(&out, shape)?])
    }),
    ..OpDef::BASE
};

fn check_std(std: f64) -> Result<f64> {
    ensure!(
        std >= 0.0,
        runtime,
        "normal expects std >= 0.0, but found std {std}"
    );
    Ok(std)
}

/// Normal numbers with a mean and deviation for each element.
pub static NORMAL: OpDef = OpDef {
    name: "normal",
    doc: "Normal numbers with means `mean` and standard deviations `std` (tensors or numbers), or of \
          shape `size` with numbers for both.",
    sig: &["(mean: Tensor|Scalar, std: Tensor|Scalar = 1.0, *, generator: generator? = None)"],
    forms: Forms::FUNCTION,
    kernel: Kernel::Dynamic(|call| {
        if let Operand::Tensor(std) = &call.inputs[1] {
            let negative = super::any(super::lt(std, 0i64)?)?.item()?.as_bool();
            ensure!(
                !negative,
                runtime,
                "normal expects all elements of std >= 0.0"
            );
        } else if let Operand::Scalar(s) = &call.inputs[1] {
            check_std(s.as_f64())?;
        }
        let _unrecorded = crate::tape::GradMode::set(false);
        let dtype = float_dtype("normal", super::meta::result_type(call.inputs))?;
        let z = Tensor::empty(super::meta::broadcast(call.inputs)?, dtype, Device::Cpu)?;
        draw(&z, STANDARD, generator(call, 0))?;
        Ok(smallvec![add(mul(z, &call.inputs[1])?, &call.inputs[0])?])
    }),
    ..OpDef::BASE
};

/// Normal numbers of a shape.
pub static NORMAL_SIZE: OpDef = OpDef {
    name: "normal_size",
    doc: "Normal numbers of shape `size`.",
    sig: &[
        "(mean: float, std: float, size: int[], *, generator: generator? = None, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    aliases: &["normal"],
    forms: Forms::FUNCTION,
    kernel: Kernel::Dynamic(|call| {
        let a = call.attrs;
        let (mean, std) = (a.float(0), check_std(a.float(1))?);
        let dtype = float_dtype("normal", a.dtype(4).unwrap_or_else(default_dtype))?;
        let t = Tensor::empty(
            create::shape_of(a.ints(2))?,
            dtype,
            a.device(5).unwrap_or_default(),
        )?;
        draw(&t, Distribution::Normal { mean, std }, generator(call, 3))?;
        create::leaf(t, a.bool(6))
    }),
    ..OpDef::BASE
};

/// `dropout`.
pub static DROPOUT: OpDef = OpDef {
    name: "dropout",
    doc: "While training (`train`), each element is 0 with probability `p` and otherwise divided by \
          `1 - p`; else `input` itself.",
    sig: &["(input, p: float = 0.5, train: bool = True)"],
    forms: Forms::NN,
    kernel: Kernel::Composite(|call| {
        let (x, p) = (call.tensor(0), call.attrs.float(0));
        ensure!(
            (0.0..=1.0).contains(&p),
            value,
            "dropout probability has to be between 0 and 1, but got {p}"
        );
        if !call.attrs.bool(1) || p == 0.0 {
            return Ok(smallvec![x.clone()]);
        }
        float_dtype("dropout", x.dtype())?;
        let kept = Tensor::empty(x.shape().clone(), DType::Bool, x.device())?;
        draw(
            &kept,
            Distribution::Bernoulli { p: 1.0 - p },
            default_generator(),
        )?;
        // Chosen, not multiplied: a dropped infinity is 0.
        let scaled = if p == 1.0 {
            x.clone()
        } else {
            div(x, 1.0 - p)?
        };
        Ok(smallvec![where_(kept, scaled, 0i64)?])
    }),
    ..OpDef::COMPOSITE
};

/// Random numbers in the shape and type of the target of an in-place op.
fn refill(call: &Call, distribution: Distribution, at: usize, integers: bool) -> Result<Outputs> {
    let x = call.tensor(0);
    if !integers {
        float_dtype(&format!("{}_", call.op.name), x.dtype())?;
    }
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
    sig: &[
        "(input, a: float = 0.0, b: float = 1.0, *, generator: generator? = None)",
        "(input, from: float = 0.0, to: float = 1.0, *, generator: generator? = None)",
    ],
    kernel: Kernel::Dynamic(|call| {
        let (low, high) = (call.attrs.float(0), call.attrs.float(1));
        ensure!(
            low <= high,
            runtime,
            "uniform_ expects to return a [from, to) range, but found from={low} > to={high}"
        );
        refill(call, Distribution::Uniform { low, high }, 2, false)
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
        refill(call, Distribution::Normal { mean, std }, 2, false)
    }),
    ..FILL
};

/// Integers, in place.
pub static RANDOM_: OpDef = OpDef {
    name: "random",
    doc: "Fills the tensor with integers from `from` up to but not including `to`; without bounds, \
          with all integers its type holds exactly.",
    sig: &[
        "(input, from: int, to: int?, *, generator: generator? = None)",
        "(input, to: int? = None, *, generator: generator? = None)",
    ],
    kernel: Kernel::Dynamic(|call| {
        let most = match call.tensor(0).dtype() {
            DType::Bool => 2,
            DType::U8 => 256,
            DType::I8 => 128,
            DType::I16 => 1 << 15,
            DType::I32 => 1 << 31,
            DType::I64 => i64::MAX,
            DType::F16 => (1 << 11) + 1,
            DType::BF16 => (1 << 8) + 1,
            DType::F32 => (1 << 24) + 1,
            DType::F64 => (1 << 53) + 1,
        };
        let (low, high, at) = match call.overload {
            0 => (call.attrs.int(0), call.attrs.int_opt(1).unwrap_or(most), 2),
            _ => (0, call.attrs.int_opt(0).unwrap_or(most), 1),
        };
        ensure!(
            low < high,
            runtime,
            "random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
        );
        refill(call, Distribution::Integers { low, high }, at, true)
    }),
    ..FILL
};

/// Ones and zeros, in place.
pub static BERNOULLI_: OpDef = OpDef {
    name: "bernoulli",
    doc: "Fills the tensor with 1 with probability `p` (a number, or a tensor of one an element), \
          else 0.",
    sig: &[
        "(input, p: float = 0.5, *, generator: generator? = None)",
        "(input, p, *, generator: generator? = None)",
    ],
    kernel: Kernel::Dynamic(|call| {
        if call.overload == 1 {
            let _unrecorded = crate::tape::GradMode::set(false);
            let x = call.tensor(0);
            let u = uniforms(x, generator(call, 0))?;
            return Ok(smallvec![cast(&super::lt(u, call.tensor(1))?, x.dtype())?]);
        }
        let p = probability(call.attrs.float(0))?;
        refill(call, Distribution::Bernoulli { p }, 1, true)
    }),
    ..FILL
};

macro_rules! fills {
    ($( $(#[$doc:meta])* $NAME:ident $name:literal $sig:literal $at:literal $integers:literal $text:literal |$call:ident| $body:expr; )*) => { $(
        $(#[$doc])*
        pub static $NAME: OpDef = OpDef {
            name: $name,
            doc: $text,
            sig: &[$sig],
            kernel: Kernel::Dynamic(|$call| {
                let distribution = $body;
                refill($call, distribution, $at, $integers)
            }),
            ..FILL
        };
    )* };
}

fills! {
    /// Exponential numbers, in place.
    EXPONENTIAL_ "exponential" "(input, lambd: float = 1.0, *, generator: generator? = None)" 1 false
        "Fills the tensor with exponential numbers of rate `lambd`." |call| {
            let rate = call.attrs.float(0);
            ensure!(rate > 0.0, runtime, "exponential_ expects lambda > 0.0, but found lambda={rate}");
            Distribution::Exponential { rate }
        };
    /// Log-normal numbers, in place.
    LOG_NORMAL_ "log_normal" "(input, mean: float = 1.0, std: float = 2.0, *, generator: generator? = None)" 2 false
        "Fills the tensor with exponentials of normal numbers." |call| {
            let std = call.attrs.float(1);
            ensure!(std > 0.0, runtime, "log_normal_ expects std > 0.0, but found std={std}");
            Distribution::LogNormal { mean: call.attrs.float(0), std }
        };
    /// Cauchy numbers, in place.
    CAUCHY_ "cauchy" "(input, median: float = 0.0, sigma: float = 1.0, *, generator: generator? = None)" 2 false
        "Fills the tensor with numbers of the Cauchy distribution." |call| {
            let sigma = call.attrs.float(1);
            ensure!(sigma > 0.0, runtime, "cauchy_ expects sigma > 0.0, but found sigma={sigma}");
            Distribution::Cauchy { median: call.attrs.float(0), sigma }
        };
    /// Numbers of trials, in place.
    GEOMETRIC_ "geometric" "(input, p: float, *, generator: generator? = None)" 1 true
        "Fills the tensor with how many trials of probability `p` it takes to the first success." |call| {
            let p = call.attrs.float(0);
            if !(0.0 < p && p < 1.0) {
                bail!(runtime, "geometric_ expects p to be in (0, 1), but got p={p}");
            }
            Distribution::Geometric { p }
        };
}
