//! Tensors from nothing: constants, ranges, and the like of another tensor.

use super::def::{Call, Forms, Kernel, OpDef};
use crate::base::dtype::{Category, default_dtype};
use crate::base::{DType, Device, Result, Scalar, Shape};
use crate::tape::Outputs;
use crate::tensor::Tensor;
use crate::{backend, bail, ensure};
use smallvec::smallvec;

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &ZEROS,
    &ONES,
    &FULL,
    &EMPTY,
    &EYE,
    &ARANGE,
    &ARANGE_FROM,
    &LINSPACE,
    &LOGSPACE,
    &ZEROS_LIKE,
    &ONES_LIKE,
    &FULL_LIKE,
    &EMPTY_LIKE,
    &NEW_ZEROS,
    &NEW_ONES,
    &NEW_FULL,
    &NEW_EMPTY,
    &EMPTY_STRIDED,
    &TRIL_INDICES,
    &TRIU_INDICES,
    &SCALAR_TENSOR,
];

const CREATION: OpDef = OpDef {
    forms: Forms::FUNCTION,
    ..OpDef::BASE
};

/// A requested shape.
pub(super) fn shape_of(size: &[i64]) -> Result<Shape> {
    if let Some(n) = size.iter().find(|n| **n < 0) {
        bail!(
            runtime,
            "Trying to create tensor with negative dimension {n}: {size:?}"
        );
    }
    Ok(size.iter().map(|&n| n as usize).collect())
}

/// `requires_grad=` of a creation function.
pub(super) fn leaf(t: Tensor, requires_grad: bool) -> Result<Outputs> {
    if requires_grad {
        t.set_requires_grad(true)?;
    }
    Ok(smallvec![t])
}

/// A constant tensor: the shape in argument 0, then dtype, device and requires_grad from `at` on.
fn constant(call: &Call, value: Option<Scalar>, at: usize) -> Result<Outputs> {
    let attrs = call.attrs;
    let shape = shape_of(attrs.ints(0))?;
    let dtype = attrs.dtype(at).unwrap_or_else(default_dtype);
    let device = attrs.device(at + 1).unwrap_or_default();
    let t = match value {
        Some(value) => Tensor::full(shape, value, dtype, device)?,
        None => Tensor::empty(shape, dtype, device)?,
    };
    leaf(t, attrs.bool(at + 2))
}

/// Zeros.
pub static ZEROS: OpDef = OpDef {
    name: "zeros",
    doc: "A tensor of zeros of shape `size`.\n\n>>> rg.zeros(2, 3)\ntensor([[0., 0., 0.],\n        [0., 0., 0.]])",
    sig: &[
        "(*size: int[], *, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    kernel: Kernel::Dynamic(|call| constant(call, Some(Scalar::Int(0)), 1)),
    ..CREATION
};

/// Ones.
pub static ONES: OpDef = OpDef {
    name: "ones",
    doc: "A tensor of ones of shape `size`.\n\n>>> rg.ones(3)\ntensor([1., 1., 1.])",
    sig: &[
        "(*size: int[], *, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    kernel: Kernel::Dynamic(|call| constant(call, Some(Scalar::Int(1)), 1)),
    ..CREATION
};

/// Arbitrary elements.
pub static EMPTY: OpDef = OpDef {
    name: "empty",
    doc: "A tensor of shape `size` whose elements are arbitrary until they are written.",
    sig: &[
        "(*size: int[], *, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    kernel: Kernel::Dynamic(|call| constant(call, None, 1)),
    ..CREATION
};

/// One value.
pub static FULL: OpDef = OpDef {
    name: "full",
    doc: "A tensor of shape `size` whose elements are `fill_value`; its type is that of the number \
          unless `dtype` says otherwise.\n\n>>> rg.full((2,), 7)\ntensor([7, 7])",
    sig: &[
        "(size: int[], fill_value: Scalar, *, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    kernel: Kernel::Dynamic(|call| {
        let value = call.attrs.scalar(1);
        let dtype = call.attrs.dtype(2).unwrap_or(value.dtype());
        let device = call.attrs.device(3).unwrap_or_default();
        leaf(
            Tensor::full(shape_of(call.attrs.ints(0))?, value, dtype, device)?,
            call.attrs.bool(4),
        )
    }),
    ..CREATION
};

/// A 0-d tensor.
pub static SCALAR_TENSOR: OpDef = OpDef {
    name: "scalar_tensor",
    doc: "A 0-d tensor of the default floating-point type unless `dtype` says otherwise.",
    sig: &[
        "(s: Scalar, *, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    kernel: Kernel::Dynamic(|call| {
        let dtype = call.attrs.dtype(1).unwrap_or_else(default_dtype);
        let device = call.attrs.device(2).unwrap_or_default();
        leaf(
            Tensor::full(Shape::new(), call.attrs.scalar(0), dtype, device)?,
            call.attrs.bool(3),
        )
    }),
    ..CREATION
};

/// An `n` by `m` matrix with ones on the diagonal.
pub(super) fn identity(n: usize, m: usize, dtype: DType, device: Device) -> Result<Tensor> {
    let t = Tensor::zeros([n, m], dtype, device)?;
    if device != Device::Meta && n.min(m) > 0 {
        let layout = crate::base::Layout {
            shape: Shape::from([n.min(m)]),
            strides: Shape::from([m + 1]),
            offset: 0,
        };
        backend::of(device)?.fill(t.alias(layout).as_view(), Scalar::Int(1));
    }
    Ok(t)
}

/// The identity matrix.
pub static EYE: OpDef = OpDef {
    name: "eye",
    doc: "An `n` by `m` matrix (square if `m` is left out) with ones on the diagonal.\n\n>>> rg.eye(2)\ntensor([[1., 0.],\n        [0., 1.]])",
    sig: &[
        "(n: int, m: int? = None, *, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    kernel: Kernel::Dynamic(|call| {
        let n = call.attrs.int(0);
        let m = call.attrs.int_opt(1).unwrap_or(n);
        ensure!(
            n >= 0 && m >= 0,
            runtime,
            "n and m must be greater or equal to 0, got {n} and {m}"
        );
        let dtype = call.attrs.dtype(2).unwrap_or_else(default_dtype);
        let device = call.attrs.device(3).unwrap_or_default();
        leaf(
            identity(n as usize, m as usize, dtype, device)?,
            call.attrs.bool(4),
        )
    }),
    ..CREATION
};

/// `n` numbers from `start` on, `step` apart.
fn iota(n: usize, start: Scalar, step: Scalar, dtype: DType, device: Device) -> Result<Tensor> {
    let t = Tensor::empty([n], dtype, device)?;
    if device != Device::Meta {
        backend::of(device)?.iota(t.as_view(), start, step);
    }
    Ok(t)
}

fn arange(call: &Call, start: Scalar, end: Scalar, step: Scalar, at: usize) -> Result<Outputs> {
    let inexact = [start, end, step]
        .iter()
        .any(|s| s.dtype().category() == Category::Float);
    let dtype = call
        .attrs
        .dtype(at)
        .unwrap_or(if inexact { default_dtype() } else { DType::I64 });
    let device = call.attrs.device(at + 1).unwrap_or_default();
    ensure!(step.as_f64() != 0.0, runtime, "step must be nonzero");
    ensure!(
        start.as_f64().is_finite() && end.as_f64().is_finite(),
        runtime,
        "unsupported range: {} -> {}",
        start.as_f64(),
        end.as_f64()
    );
    let upward = step.as_f64() > 0.0;
    ensure!(
        if upward {
            start.as_f64() <= end.as_f64()
        } else {
            start.as_f64() >= end.as_f64()
        },
        runtime,
        "upper bound and lower bound inconsistent with step sign: {} -> {} by {}",
        start.as_f64(),
        end.as_f64(),
        step.as_f64()
    );
    let n = if inexact {
        ((end.as_f64() - start.as_f64()) / step.as_f64()).ceil() as usize
    } else {
        let gap = i128::from(end.as_i64()) - i128::from(start.as_i64());
        let step = i128::from(step.as_i64());
        ((gap + step - step.signum()) / step) as usize
    };
    leaf(
        iota(n, start, step, dtype, device)?,
        call.attrs.bool(at + 2),
    )
}

/// A range from zero.
pub static ARANGE: OpDef = OpDef {
    name: "arange",
    doc: "The numbers from `start` (0) up to but not including `end`, `step` (1) apart: int64 if all \
          three are integers, else the default floating-point type.\n\n>>> rg.arange(3)\ntensor([0, 1, 2])",
    sig: &[
        "(end: Scalar, *, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    kernel: Kernel::Dynamic(|call| {
        arange(
            call,
            Scalar::Int(0),
            call.attrs.scalar(0),
            Scalar::Int(1),
            1,
        )
    }),
    ..CREATION
};

/// A range.
pub static ARANGE_FROM: OpDef = OpDef {
    name: "arange_from",
    doc: "The numbers from `start` up to but not including `end`, `step` apart.",
    sig: &[
        "(start: Scalar, end: Scalar, step: Scalar = 1, *, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    aliases: &["arange"],
    kernel: Kernel::Dynamic(|call| {
        let a = call.attrs;
        arange(call, a.scalar(0), a.scalar(1), a.scalar(2), 3)
    }),
    ..CREATION
};

/// Evenly spaced numbers, in `f64`: from both ends towards the middle, so that both are exact.
fn spaced(start: f64, end: f64, n: usize, of: impl Fn(f64) -> f64) -> Vec<f64> {
    let step = if n > 1 {
        (end - start) / (n - 1) as f64
    } else {
        0.0
    };
    let at = |i: usize| {
        if i < n / 2 || n == 1 {
            start + step * i as f64
        } else {
            end - step * (n - 1 - i) as f64
        }
    };
    (0..n).map(|i| of(at(i))).collect()
}

/// Evenly spaced numbers.
pub static LINSPACE: OpDef = OpDef {
    name: "linspace",
    doc: "`steps` numbers from `start` to `end`, both included.\n\n>>> rg.linspace(0, 1, 3)\ntensor([0.0000, 0.5000, 1.0000])",
    sig: &[
        "(start: Scalar, end: Scalar, steps: int, *, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    kernel: Kernel::Dynamic(|call| {
        let n = call.attrs.int(2);
        ensure!(n >= 0, runtime, "number of steps must be non-negative");
        let (start, end) = (call.attrs.float(0), call.attrs.float(1));
        from_f64(call, &spaced(start, end, n as usize, |x| x), 3)
    }),
    ..CREATION
};

/// Numbers evenly spaced on a logarithmic scale.
pub static LOGSPACE: OpDef = OpDef {
    name: "logspace",
    doc: "`steps` numbers from `base ** start` to `base ** end`, evenly spaced in their logarithm.",
    sig: &[
        "(start: Scalar, end: Scalar, steps: int, base: float = 10.0, *, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    kernel: Kernel::Dynamic(|call| {
        let n = call.attrs.int(2);
        ensure!(n >= 0, runtime, "number of steps must be non-negative");
        let (start, end, base) = (
            call.attrs.float(0),
            call.attrs.float(1),
            call.attrs.float(3),
        );
        from_f64(call, &spaced(start, end, n as usize, |x| base.powf(x)), 4)
    }),
    ..CREATION
};

fn from_f64(call: &Call, values: &[f64], at: usize) -> Result<Outputs> {
    let dtype = call.attrs.dtype(at).unwrap_or_else(default_dtype);
    let device = call.attrs.device(at + 1).unwrap_or_default();
    let t = if device == Device::Meta {
        Tensor::empty([values.len()], dtype, device)?
    } else {
        let _unrecorded = crate::tape::GradMode::set(false);
        super::cast(&Tensor::from_slice(values, [values.len()])?, dtype)?
    };
    leaf(t, call.attrs.bool(at + 2))
}

/// A tensor of the first input's shape (or of the shape in argument 0 for `new_*`), with dtype,
/// device and requires_grad from `at` on.
fn like(call: &Call, shape: Shape, value: Option<Scalar>, at: usize) -> Result<Outputs> {
    let x = call.tensor(0);
    let dtype = call.attrs.dtype(at).unwrap_or(x.dtype());
    let device = call.attrs.device(at + 1).unwrap_or(x.device());
    let t = match value {
        Some(value) => Tensor::full(shape, value, dtype, device)?,
        None => Tensor::empty(shape, dtype, device)?,
    };
    leaf(t, call.attrs.bool(at + 2))
}

/// Zeros in another tensor's shape.
pub static ZEROS_LIKE: OpDef = OpDef {
    name: "zeros_like",
    doc: "A tensor of zeros with the shape, type and device of `input`.",
    sig: &["(input, *, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)"],
    kernel: Kernel::Dynamic(|call| {
        like(
            call,
            call.tensor(0).shape().clone(),
            Some(Scalar::Int(0)),
            0,
        )
    }),
    ..CREATION
};

/// Ones in another tensor's shape.
pub static ONES_LIKE: OpDef = OpDef {
    name: "ones_like",
    doc: "A tensor of ones with the shape, type and device of `input`.",
    sig: &["(input, *, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)"],
    kernel: Kernel::Dynamic(|call| {
        like(
            call,
            call.tensor(0).shape().clone(),
            Some(Scalar::Int(1)),
            0,
        )
    }),
    ..CREATION
};

/// One value in another tensor's shape.
pub static FULL_LIKE: OpDef = OpDef {
    name: "full_like",
    doc: "A tensor of `fill_value` with the shape, type and device of `input`.",
    sig: &[
        "(input, fill_value: Scalar, *, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    kernel: Kernel::Dynamic(|call| {
        like(
            call,
            call.tensor(0).shape().clone(),
            Some(call.attrs.scalar(0)),
            1,
        )
    }),
    ..CREATION
};

/// Arbitrary elements in another tensor's shape.
pub static EMPTY_LIKE: OpDef = OpDef {
    name: "empty_like",
    doc: "A tensor of arbitrary elements with the shape, type and device of `input`.",
    sig: &["(input, *, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)"],
    kernel: Kernel::Dynamic(|call| like(call, call.tensor(0).shape().clone(), None, 0)),
    ..CREATION
};

/// Zeros of another tensor's type.
pub static NEW_ZEROS: OpDef = OpDef {
    name: "new_zeros",
    doc: "A tensor of zeros of shape `size`, with this tensor's type and device.",
    sig: &[
        "(input, *size: int[], *, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    forms: Forms::METHOD,
    kernel: Kernel::Dynamic(|call| {
        like(call, shape_of(call.attrs.ints(0))?, Some(Scalar::Int(0)), 1)
    }),
    ..CREATION
};

/// Ones of another tensor's type.
pub static NEW_ONES: OpDef = OpDef {
    name: "new_ones",
    doc: "A tensor of ones of shape `size`, with this tensor's type and device.",
    sig: &[
        "(input, *size: int[], *, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    forms: Forms::METHOD,
    kernel: Kernel::Dynamic(|call| {
        like(call, shape_of(call.attrs.ints(0))?, Some(Scalar::Int(1)), 1)
    }),
    ..CREATION
};

/// Arbitrary elements of another tensor's type.
pub static NEW_EMPTY: OpDef = OpDef {
    name: "new_empty",
    doc: "A tensor of arbitrary elements of shape `size`, with this tensor's type and device.",
    sig: &[
        "(input, *size: int[], *, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    forms: Forms::METHOD,
    kernel: Kernel::Dynamic(|call| like(call, shape_of(call.attrs.ints(0))?, None, 1)),
    ..CREATION
};

/// One value of another tensor's type.
pub static NEW_FULL: OpDef = OpDef {
    name: "new_full",
    doc: "A tensor of `fill_value` of shape `size`, with this tensor's type and device.",
    sig: &[
        "(input, size: int[], fill_value: Scalar, *, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    forms: Forms::METHOD,
    kernel: Kernel::Dynamic(|call| {
        like(
            call,
            shape_of(call.attrs.ints(0))?,
            Some(call.attrs.scalar(1)),
            2,
        )
    }),
    ..CREATION
};

/// Arbitrary elements with given strides.
pub static EMPTY_STRIDED: OpDef = OpDef {
    name: "empty_strided",
    doc: "A tensor of arbitrary elements with the given shape and strides (in elements).",
    sig: &[
        "(size: int[], stride: int[], *, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    kernel: Kernel::Dynamic(|call| {
        let (shape, strides) = (shape_of(call.attrs.ints(0))?, shape_of(call.attrs.ints(1))?);
        ensure!(
            shape.len() == strides.len(),
            runtime,
            "mismatch in length of strides and shape: {strides} and {shape}"
        );
        let layout = crate::base::Layout {
            shape,
            strides,
            offset: 0,
        };
        let dtype = call.attrs.dtype(2).unwrap_or_else(default_dtype);
        let flat = Tensor::empty(
            [layout.end()],
            dtype,
            call.attrs.device(3).unwrap_or_default(),
        )?;
        leaf(flat.alias(layout), call.attrs.bool(4))
    }),
    ..CREATION
};

fn triangle(call: &Call, lower: bool) -> Result<Outputs> {
    let (n, m, offset) = (call.attrs.int(0), call.attrs.int(1), call.attrs.int(2));
    ensure!(
        n >= 0 && m >= 0,
        runtime,
        "row and col must be non-negative, got {n} and {m}"
    );
    let inside = |i: i64, j: i64| {
        if lower {
            j - i <= offset
        } else {
            j - i >= offset
        }
    };
    let places: Vec<(i64, i64)> = (0..n)
        .flat_map(|i| (0..m).map(move |j| (i, j)))
        .filter(|&(i, j)| inside(i, j))
        .collect();
    let rows = places.iter().map(|p| p.0);
    let all: Vec<i64> = rows.chain(places.iter().map(|p| p.1)).collect();
    let t = Tensor::from_slice(&all, [2, places.len()])?;
    leaf(
        super::cast(&t, call.attrs.dtype(3).unwrap_or(DType::I64))?,
        false,
    )
}

/// Positions of the lower triangle.
pub static TRIL_INDICES: OpDef = OpDef {
    name: "tril_indices",
    doc: "The row and column numbers of the elements on and below diagonal `offset` of a `row` by \
          `col` matrix, as a (2, n) tensor.",
    sig: &[
        "(row: int, col: int, offset: int = 0, *, dtype: dtype? = None, device: device? = None)",
    ],
    kernel: Kernel::Dynamic(|call| triangle(call, true)),
    ..CREATION
};

/// Positions of the upper triangle.
pub static TRIU_INDICES: OpDef = OpDef {
    name: "triu_indices",
    doc: "The row and column numbers of the elements on and above diagonal `offset` of a `row` by \
          `col` matrix, as a (2, n) tensor.",
    sig: &[
        "(row: int, col: int, offset: int = 0, *, dtype: dtype? = None, device: device? = None)",
    ],
    kernel: Kernel::Dynamic(|call| triangle(call, false)),
    ..CREATION
};
