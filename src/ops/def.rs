//! What an op is: the one declaration from which everything else about it follows.
//!
//! NOTE [Rules of the table]
//! 1. A vjp calls only functions of `ops`, so it is differentiable again. It never touches raw
//!    data. Fused backward kernels are table entries with rules of their own.
//! 2. A vjp returns its gradient in whatever broadcast shape and float type is natural. Summing
//!    broadcast axes back, casting, accumulating and skipping inputs that need no gradient are the
//!    engine's.
//! 3. A vjp reads only what its `reads` mask declares; only that is saved, and only if the gradient
//!    that reads it is needed. Shapes come from the node's metadata.
//! 4. Formulas are in a stable form, constants in f64, PyTorch's convention at kinks and ties,
//!    stated in a comment. A zero cotangent stays zero wherever that is free.
//! 5. `dispatch::run` is the one door.
//! 6. A vjp that uses the cotangent once takes it ([`grad_of_taken`]): see NOTE [Moved operands] in
//!    `dispatch`.
//!
//! NOTE [Signatures]
//!
//! `(input, other: Tensor|Scalar, *dim: int[], keepdim: bool = False, *, dtype: dtype? = None)`.
//! A parameter without a type is a tensor. Types: `Tensor`, `Tensor?`, `Tensor|Scalar`, `Tensor[]`
//! (the last tensor parameter; a list, flattened into the inputs), `Scalar`, `int`, `float`,
//! `bool`, `true` (only `True` fits: for overloads that return something else then), `str`, `int[]`
//! (an int stands for a list of one), `float[]`, `dtype`, `device`, `generator`, `any`, each with
//! `?` where `None` is allowed. `*name: int[]` and `*name: Tensor[]` take either one sequence or
//! all remaining positional arguments; a lone `*` makes what follows keyword-only. Tensor
//! parameters become `Call::inputs`, the others `Call::attrs`, each in order. Everywhere, `axis`
//! is accepted for `dim`, `keepdims` for `keepdim`, `out=` on functions, and the arguments of
//! PyTorch that change nothing here (`layout`, `pin_memory`, `memory_format`, `non_blocking`).

use crate::backend::{Backend, Functor};
use crate::base::{Attrs, DType, Layout, Result, Scalar, Shape};
use crate::tape::{Outputs, VjpCx};
use crate::tensor::{Operand, Tensor};
use smallvec::SmallVec;

/// An op, declared once, as static data with plain functions.
pub struct OpDef {
    /// PyTorch's name. The method, the function, `name_`, and `NameBackward0` derive from it.
    pub name: &'static str,
    /// The docstring: what it does, shapes, dtypes, the formula, errors, an example.
    pub doc: &'static str,
    /// The signatures, tried in order: see NOTE [Signatures].
    pub sig: &'static [&'static str],
    /// Other names of the same op: `multiply` for `mul`.
    pub aliases: &'static [&'static str],
    /// Which forms the op has in Python.
    pub forms: Forms,
    /// What Python gets.
    pub returns: Returns,
    /// Shapes and types of the outputs; validates before any work. Elementwise kernels, views and
    /// composites derive theirs from the kernel.
    pub meta: fn(&Call) -> Result<Specs>,
    /// What runs.
    pub kernel: Kernel,
    /// One entry per tensor input: `None` where no gradient flows. Inputs beyond the last entry
    /// take the last one.
    pub grads: &'static [Option<Grad>],
    /// Forward mode.
    pub jvp: Jvp,
    /// How vmap maps it.
    pub batch: Batch,
    /// What checkpointing may recompute.
    pub cost: Cost,
}

/// Which forms an op has in Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forms {
    /// `rustgrad.name(...)`.
    pub function: bool,
    /// `tensor.name(...)`.
    pub method: bool,
    /// `tensor.name_(...)`.
    pub in_place: bool,
    /// `rustgrad.nn.functional.name(...)` forwards to it; it is reachable as `rustgrad._C.name`.
    pub nn: bool,
}

impl Forms {
    /// Function and method.
    pub const BOTH: Forms = Forms {
        function: true,
        method: true,
        in_place: false,
        nn: false,
    };
    /// Function, method, and in-place method.
    pub const ALL: Forms = Forms {
        in_place: true,
        ..Forms::BOTH
    };
    /// Function only.
    pub const FUNCTION: Forms = Forms {
        method: false,
        ..Forms::BOTH
    };
    /// Method only.
    pub const METHOD: Forms = Forms {
        function: false,
        ..Forms::BOTH
    };
    /// Reached through `nn.functional` only.
    pub const NN: Forms = Forms {
        function: false,
        method: false,
        in_place: false,
        nn: true,
    };
    /// Not seen from Python: a step inside other ops' rules.
    pub const HIDDEN: Forms = Forms {
        function: false,
        method: false,
        in_place: false,
        nn: false,
    };
}

/// What Python gets from an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returns {
    /// A tensor.
    One,
    /// A tuple of tensors, of any length.
    Tuple,
    /// A tensor if there is one, else a tuple: results that arguments ask for.
    OneOrTuple,
    /// A named tuple: `values, indices`.
    Named(&'static [&'static str]),
    /// The one element of the result, as a Python number.
    Item,
}

/// A gradient: what it reads, and its formula.
pub struct Grad {
    /// The operands that must be saved: [`IN`] and [`OUT`] bits.
    pub reads: u64,
    /// Whether it uses the cotangent once, by [`VjpCx::take_grad`].
    pub takes_grad: bool,
    /// See NOTE [Rules of the table]. `cx.arg` is the input whose gradient is asked for; `None`
    /// is zero.
    pub vjp: fn(&VjpCx) -> Result<Option<Tensor>>,
}

/// Nothing is saved.
pub const NOTHING: u64 = 0;

/// Reads input `i`.
#[allow(non_snake_case)]
pub const fn IN(i: u32) -> u64 {
    1 << i
}

/// Reads output `i`.
#[allow(non_snake_case)]
pub const fn OUT(i: u32) -> u64 {
    1 << (crate::tape::node::OUTPUTS + i)
}

/// A gradient that reads `reads`.
pub const fn grad(reads: u64, vjp: fn(&VjpCx) -> Result<Option<Tensor>>) -> Option<Grad> {
    Some(Grad {
        reads,
        takes_grad: false,
        vjp,
    })
}

/// As [`grad`], for a formula that uses the cotangent once, by [`VjpCx::take_grad`]: the result may
/// be written over it.
pub const fn grad_of_taken(reads: u64, vjp: fn(&VjpCx) -> Result<Option<Tensor>>) -> Option<Grad> {
    Some(Grad {
        reads,
        takes_grad: true,
        vjp,
    })
}

/// What runs.
#[derive(Clone, Copy)]
pub enum Kernel {
    /// A functor over broadcast inputs; its parameters are the op's arguments, in order.
    Map {
        /// The functor.
        f: Functor,
        /// In which type it computes, and what comes out.
        promote: Promote,
    },
    /// As `Map`, where the functor, its parameters or the types depend on the call, which is
    /// checked here too.
    Choose(fn(&Call) -> Result<Choice>),
    /// New layouts over the input's storage; never moves an element. `out` gives one layout an
    /// output.
    View(fn(&Call) -> Result<SmallVec<[Layout; 1]>>),
    /// Fills outputs allocated to `meta`.
    Compute(fn(&KernelCx) -> Result<()>),
    /// As `Compute`, where output 0 may lie in the place of input 0: see NOTE [Moved operands].
    Over(fn(&KernelCx) -> Result<()>),
    /// As `Compute`, followed by the op that the call names, if any. If the second function says so, the
    /// kernel does what that op would do, too. Then it is recorded as if it had run, so the first op's
    /// rules read only its inputs, and the other one's only its output.
    Fused(fn(&KernelCx) -> Result<()>, fn(&Call) -> Result<Follower>),
    /// Changes output 0, which holds a copy of input 0, or in place is input 0 itself: so it reads
    /// input 0 nowhere else, and finds all mistakes before its first write.
    Update(fn(&KernelCx) -> Result<()>),
    /// Makes its own outputs: their shapes depend on data. It has no gradient.
    Dynamic(fn(&Call) -> Result<Outputs>),
    /// A program of other ops, which record themselves. `Call::overload` tells which signature.
    Composite(fn(&Call) -> Result<Outputs>),
}

/// The op that follows another, and whether the other one's kernel does its work.
pub type Follower = Option<(&'static OpDef, bool)>;

/// The type an elementwise op computes in and the type of its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promote {
    /// The promoted type of the inputs.
    Arith,
    /// As `Arith`, but integers and bools become the default float type.
    Float,
    /// Computed in the promoted type, results are bool.
    Truth,
    /// As `Arith`, but only for integers and bools.
    Integral,
    /// As `Arith`, but not for bools.
    Number,
    /// As `Arith`, but only for floating-point types.
    Floating,
    /// The promoted type of all inputs but the first, which is a condition.
    Where,
    /// Cast to the dtype in argument 0, which is not a functor parameter.
    Cast,
}

/// An elementwise computation, ready to run.
pub struct Choice {
    /// The functor. It sees the inputs that are there, as many as it takes.
    pub f: Functor,
    /// Its parameters.
    pub params: SmallVec<[Scalar; 4]>,
    /// The type it computes in.
    pub compute: DType,
    /// The type of the result.
    pub dtype: DType,
    /// The type that numbers among the inputs are rounded to before they are compared.
    pub numbers: Option<DType>,
}

impl Choice {
    /// A functor whose parameters are the call's arguments, in order.
    ///
    /// # Errors
    /// When the rule does not allow the types of the inputs.
    #[inline]
    pub fn of(call: &Call, f: Functor, promote: Promote) -> Result<Choice> {
        let mut choice = Choice::with(call, f, promote, &[])?;
        if promote != Promote::Cast {
            choice.params = (0..f.params()).map(|i| call.attrs.scalar(i)).collect();
        }
        Ok(choice)
    }

    /// A functor with parameters of its own.
    ///
    /// # Errors
    /// As [`Choice::of`].
    #[inline]
    pub fn with(call: &Call, f: Functor, promote: Promote, params: &[Scalar]) -> Result<Choice> {
        let (compute, dtype) = super::meta::promote(call, promote)?;
        let numbers = match promote {
            Promote::Truth => super::meta::narrow_number(call),
            _ => None,
        };
        Ok(Choice {
            f,
            params: SmallVec::from_slice(params),
            compute,
            dtype,
            numbers,
        })
    }
}

/// Forward mode.
#[derive(Clone, Copy)]
pub enum Jvp {
    /// The Jacobian is diagonal, so it is its own transpose: the vjp serves.
    Elementwise,
    /// Linear in all differentiable inputs together: the op of the tangents.
    Linear,
    /// Linear in each differentiable input: a sum of ops, each with one input replaced by its
    /// tangent.
    Multilinear,
    /// A rule of its own: the tangents of the outputs.
    Rule(fn(&JvpCx) -> Result<SmallVec<[Option<Tensor>; 1]>>),
    /// The vjp of the vjp, which is linear in its cotangent.
    DoubleVjp,
    /// Not differentiable, or made of ops that are.
    None,
}

/// How vmap maps an op. Read by the transform, recorded here so that no op exists without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batch {
    /// Batch dimensions align by broadcasting.
    Elementwise,
    /// Its dimension arguments shift.
    Dims,
    /// One example at a time.
    Loop,
    /// Made of ops that are mapped.
    Composite,
}

/// What recomputing costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Memory-bound: may be recomputed.
    Cheap,
    /// Worth keeping: products, sorts.
    Heavy,
}

/// Shape and type of an output.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Sizes.
    pub shape: Shape,
    /// Element type.
    pub dtype: DType,
}

/// The outputs of an op.
pub type Specs = SmallVec<[Spec; 1]>;

/// One call of an op.
pub struct Call<'a> {
    /// The op.
    pub op: &'static OpDef,
    /// Its tensor inputs.
    pub inputs: &'a [Operand],
    /// Its other arguments.
    pub attrs: &'a Attrs,
    /// Which of the op's signatures was called.
    pub overload: usize,
}

/// What a computing kernel sees.
pub struct KernelCx<'a> {
    /// The call.
    pub call: &'a Call<'a>,
    /// The outputs, allocated.
    pub outs: &'a [Tensor],
    /// The device's kernels.
    pub backend: &'static dyn Backend,
}

/// What a forward-mode rule sees.
pub struct JvpCx<'a> {
    /// The call, without the tangents of this level.
    pub call: &'a Call<'a>,
    /// The tangents of the inputs; `None` is zero.
    pub tangents: &'a [Option<Tensor>],
    /// The outputs.
    pub outs: &'a [Tensor],
}

impl Call<'_> {
    /// Input `i`, which must be a tensor.
    ///
    /// # Panics
    /// When it is not: a mistake in the op table, since signatures are checked before.
    pub fn tensor(&self, i: usize) -> &Tensor {
        self.inputs[i]
            .as_tensor()
            .unwrap_or_else(|| panic!("[{}] input {i} is a tensor", self.op.name))
    }

    /// Input `i` if it is there.
    pub fn tensor_opt(&self, i: usize) -> Option<&Tensor> {
        self.inputs.get(i).and_then(Operand::as_tensor)
    }

    /// The tensors of a variadic op.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.inputs.iter().filter_map(Operand::as_tensor)
    }
}

impl std::ops::Deref for KernelCx<'_> {
    type Target = Attrs;
    fn deref(&self) -> &Attrs {
        self.call.attrs
    }
}

/// One output.
pub fn spec(shape: impl Into<Shape>, dtype: DType) -> Specs {
    smallvec::smallvec![Spec {
        shape: shape.into(),
        dtype
    }]
}

impl OpDef {
    /// What most entries leave as it is: function and method, no gradient.
    pub const BASE: OpDef = OpDef {
        name: "",
        doc: "",
        sig: &[],
        aliases: &[],
        forms: Forms::BOTH,
        returns: Returns::One,
        meta: super::meta::from_kernel,
        kernel: Kernel::Composite(|_| unreachable!()),
        grads: &[],
        jvp: Jvp::None,
        batch: Batch::Loop,
        cost: Cost::Cheap,
    };

    /// An elementwise op.
    pub const MAP: OpDef = OpDef {
        forms: Forms::ALL,
        jvp: Jvp::Elementwise,
        batch: Batch::Elementwise,
        ..OpDef::BASE
    };

    /// A view.
    pub const VIEW: OpDef = OpDef {
        jvp: Jvp::Linear,
        batch: Batch::Dims,
        ..OpDef::BASE
    };

    /// A program of other ops.
    pub const COMPOSITE: OpDef = OpDef {
        batch: Batch::Composite,
        ..OpDef::BASE
    };

    /// What Python calls it: overloads of `median` that are ops of their own are called
    /// `median.something`, and all go by `median`.
    pub fn exported_name(&self) -> &'static str {
        self.name.split('.').next().unwrap_or(self.name)
    }

    /// Whether any input can have a gradient.
    pub fn is_differentiable(&self) -> bool {
        self.grads.iter().any(Option::is_some)
    }

    /// The gradient entry of input `i`.
    #[inline]
    pub fn grad(&self, i: usize) -> Option<&Grad> {
        self.grads
            .get(i)
            .or(self.grads.last())
            .and_then(Option::as_ref)
    }
}
