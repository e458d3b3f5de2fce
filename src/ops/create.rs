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
    &NEW_EMPTY_STRIDED,
    &EMPTY_PERMUTED,
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

/// Whether a type holds a number; fractions are cut off, and unsigned types wrap negative numbers,
/// as in PyTorch.
pub(super) fn check_fits(value: Scalar, dtype: DType) -> Result<()> {
    let [least, most] = match dtype {
        DType::U8 => [-255, 255],
        dtype => dtype.integers(),
    };
    let fits = match (dtype, value) {
        (DType::Bool, _) => true,
        (d, Scalar::Float(x)) if d.is_float() => !x.is_finite() || x.abs() <= d.greatest(),
        (d, value) if d.is_float() => value.as_f64().abs() <= d.greatest(),
        (_, Scalar::Float(x)) => {
            // The border of `int64` is no `f64`: its neighbour within is.
            let inside = x.trunc() as i64 as f64 == x.trunc();
            inside && x < 9_223_372_036_854_775_808.0 && (least..=most).contains(&(x as i64))
        }
        (_, value) => (least..=most).contains(&value.as_i64()),
    };
    ensure!(
        fits,
        runtime,
        "value cannot be converted to type {dtype} without overflow: {}",
        match value {
            Scalar::Float(x) => x.to_string(),
            value => value.as_i64().to_string(),
        }
    );
    Ok(())
}

/// A tensor of one value that its type holds, or of arbitrary elements.
fn filled(shape: Shape, value: Option<Scalar>, dtype: DType, device: Device) -> Result<Tensor> {
    let Some(value) = value else {
        return Tensor::empty(shape, dtype, device);
    };
    check_fits(value, dtype)?;
    Tensor::full(shape, value, dtype, device)
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
    leaf(filled(shape, value, dtype, device)?, attrs.bool(at + 2))
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
        let shape = shape_of(call.attrs.ints(0))?;
        leaf(
            filled(shape, Some(value), dtype, device)?,
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
        let value = Some(call.attrs.scalar(0));
        leaf(
            filled(Shape::new(), value, dtype, device)?,
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
        for (name, size) in [("n", n), ("m", m)] {
            ensure!(
                size >= 0,
                runtime,
                "{name} must be greater or equal to 0, got {size}"
            );
        }
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

/// A range.
pub static ARANGE: OpDef = OpDef {
    name: "arange",
    doc: "The numbers from `start` (0) up to but not including `end`, `step` (1) apart: int64 if all \
          three are integers, else the default floating-point type, unless `dtype` says \
          otherwise.\n\n\
          >>> rg.arange(3)\n\
          tensor([0, 1, 2])\n\
          >>> rg.arange(1, 2.5, 0.5)\n\
          tensor([1.0000, 1.5000, 2.0000])",
    sig: &[
        "(end: Scalar, *, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
        "(start: Scalar, end: Scalar, step: Scalar = 1, *, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    kernel: Kernel::Dynamic(|call| {
        let a = call.attrs;
        let (mut start, mut end, mut step, at) = match call.overload {
            0 => (Scalar::Int(0), a.scalar(0), Scalar::Int(1), 1),
            _ => (a.scalar(0), a.scalar(1), a.scalar(2), 3),
        };
        let exact = [start, end, step]
            .iter()
            .all(|s| s.dtype().category() < Category::Float);
        let dtype = a
            .dtype(at)
            .unwrap_or_else(|| if exact { DType::I64 } else { default_dtype() });
        ensure!(
            dtype != DType::Bool,
            not_implemented,
            "\"arange_cpu\" not implemented for 'Bool'"
        );
        ensure!(
            [start, end, step].iter().all(|s| s.as_f64().is_finite()),
            runtime,
            "unsupported range: {} -> {} by {}",
            start.as_f64(),
            end.as_f64(),
            step.as_f64()
        );
        if dtype == DType::I64 {
            [start, end, step] = [start, end, step].map(|s| Scalar::Int(s.as_i64()));
        }
        // In an integer type the elements are computed from a whole step.
        ensure!(
            step.as_f64() != 0.0 && (dtype.is_float() || step.as_i64() != 0),
            runtime,
            "step must be nonzero"
        );
        let n = count(start, end, step)?;
        if !dtype.is_float() {
            [start, step] = [start, step].map(|s| Scalar::Int(s.as_i64()));
        }
        let device = a.device(at + 1).unwrap_or_default();
        leaf(iota(n, start, step, dtype, device)?, a.bool(at + 2))
    }),
    ..CREATION
};

/// How many numbers a range has: `ceil((end - start) / step)`, exactly for integers.
fn count(start: Scalar, end: Scalar, step: Scalar) -> Result<usize> {
    let [from, to, by] = [start, end, step].map(Scalar::as_f64);
    ensure!(
        if by > 0.0 { from <= to } else { from >= to },
        runtime,
        "upper bound and lower bound inconsistent with step sign: {from} -> {to} by {by}"
    );
    if let (Scalar::Int(from), Scalar::Int(to), Scalar::Int(by)) = (start, end, step) {
        let (gap, by) = (i128::from(to) - i128::from(from), i128::from(by));
        return Ok(((gap + by - by.signum()) / by) as usize);
    }
    Ok(((to - from) / by).ceil() as usize)
}

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
    leaf(
        filled(shape, value, dtype, device)?,
        call.attrs.bool(at + 2),
    )
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

/// Arbitrary elements with given strides, in arguments `at` and before.
fn strided(call: &Call, at: usize, dtype: DType, device: Device) -> Result<Tensor> {
    let (shape, strides) = (call.attrs.ints(at - 1), call.attrs.ints(at));
    ensure!(
        shape.len() == strides.len(),
        runtime,
        "dimensionality of sizes ({}) must match dimensionality of strides ({})",
        shape.len(),
        strides.len()
    );
    ensure!(
        strides.iter().all(|s| *s >= 0),
        runtime,
        "strides must not be negative, got {strides:?}"
    );
    let layout = crate::base::Layout {
        shape: shape_of(shape)?,
        strides: strides.iter().map(|s| *s as usize).collect(),
        offset: 0,
    };
    let last = (layout.shape.iter().zip(layout.strides.iter())).try_fold(0usize, |end, (n, s)| {
        end.checked_add(n.saturating_sub(1).checked_mul(*s)?)
    });
    ensure!(
        last.is_some_and(|last| last < isize::MAX as usize / 16),
        runtime,
        "Storage size calculation overflowed with sizes={shape:?} and strides={strides:?}"
    );
    Ok(Tensor::empty([layout.end()], dtype, device)?.alias(layout))
}

/// Arbitrary elements with given strides.
pub static EMPTY_STRIDED: OpDef = OpDef {
    name: "empty_strided",
    doc: "A tensor of arbitrary elements with the given shape and strides (in elements).\n\n\
          >>> rg.empty_strided((2, 3), (1, 2)).stride()\n\
          (1, 2)",
    sig: &[
        "(size: int[], stride: int[], *, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    kernel: Kernel::Dynamic(|call| {
        let dtype = call.attrs.dtype(2).unwrap_or_else(default_dtype);
        let device = call.attrs.device(3).unwrap_or_default();
        leaf(strided(call, 1, dtype, device)?, call.attrs.bool(4))
    }),
    ..CREATION
};

/// Arbitrary elements of another tensor's type with given strides.
pub static NEW_EMPTY_STRIDED: OpDef = OpDef {
    name: "new_empty_strided",
    doc: "A tensor of arbitrary elements with the given shape and strides (in elements), and this \
          tensor's type and device.",
    sig: &[
        "(input, size: int[], stride: int[], *, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    forms: Forms::METHOD,
    kernel: Kernel::Dynamic(|call| {
        let x = call.tensor(0);
        let dtype = call.attrs.dtype(2).unwrap_or(x.dtype());
        let device = call.attrs.device(3).unwrap_or(x.device());
        leaf(strided(call, 1, dtype, device)?, call.attrs.bool(4))
    }),
    ..CREATION
};

/// Arbitrary elements, dense in another order of dimensions.
pub static EMPTY_PERMUTED: OpDef = OpDef {
    name: "empty_permuted",
    doc: "A tensor of arbitrary elements of shape `size`, dense in memory with the dimensions from \
          slowest to fastest as in `physical_layout`.\n\n\
          >>> rg.empty_permuted((2, 3), (1, 0)).stride()\n\
          (1, 2)",
    sig: &[
        "(size: int[], physical_layout: int[], *, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)",
    ],
    kernel: Kernel::Dynamic(|call| {
        let shape = shape_of(call.attrs.ints(0))?;
        let order = call.attrs.ints(1);
        ensure!(
            order.len() == shape.len(),
            runtime,
            "Number of dimensions in size does not match the length of the physical_layout; i.e. \
             len(size) = {} is not equal to len(physical_layout) = {}",
            shape.len(),
            order.len()
        );
        let mut strides = Shape::filled(usize::MAX, shape.len());
        let mut step = 1;
        for &d in order.iter().rev() {
            ensure!(
                0 <= d && d < shape.len() as i64,
                runtime,
                "Dimension out of range (expected to be between 0 and {}, but got {d})",
                shape.len() as i64 - 1
            );
            let d = d as usize;
            ensure!(
                strides[d] == usize::MAX,
                runtime,
                "Duplicate dim not allowed"
            );
            strides[d] = step;
            step *= shape[d].max(1);
        }
        let dtype = call.attrs.dtype(2).unwrap_or_else(default_dtype);
        let t = Tensor::empty(
            shape.clone(),
            dtype,
            call.attrs.device(3).unwrap_or_default(),
        )?;
        let layout = crate::base::Layout {
            shape,
            strides,
            offset: 0,
        };
        leaf(t.alias(layout), call.attrs.bool(4))
    }),
    ..CREATION
};

fn triangle(call: &Call, lower: bool) -> Result<Outputs> {
    let (n, m, offset) = (call.attrs.int(0), call.attrs.int(1), call.attrs.int(2));
    for (name, size) in [("row", n), ("col", m)] {
        ensure!(
            size >= 0,
            runtime,
            "{name} must be non-negative, got {size}"
        );
    }
    let dtype = call.attrs.dtype(3).unwrap_or(DType::I64);
    ensure!(
        dtype.is_int(),
        not_implemented,
        "\"{}\" not implemented for '{}'",
        call.op.name,
        dtype.scalar_type_name()
    );
    let (wide_n, wide_m, wide_offset) = (n.into(), m.into(), i128::from(offset));
    let count = if lower {
        count_lower(wide_n, wide_m, wide_offset)
    } else {
        wide_n * wide_m - count_lower(wide_n, wide_m, wide_offset - 1)
    };
    ensure!(
        count <= i128::from(i64::MAX / 32),
        runtime,
        "not enough memory for the positions of {count} elements"
    );
    let shape = Shape::from([2, count as usize]);
    let device = call.attrs.device(4).unwrap_or_default();
    // Also where there is not enough memory for the result.
    let out = Tensor::empty(shape.clone(), dtype, device)?;
    if device == Device::Meta || count == 0 {
        return leaf(out, false);
    }
    let columns = |i: i64| {
        let edge = i.saturating_add(offset);
        if lower {
            0..edge.saturating_add(1).clamp(0, m)
        } else {
            edge.clamp(0, m)..m
        }
    };
    let mut all: Vec<i64> = Vec::with_capacity(shape.numel());
    for i in 0..n {
        all.extend(std::iter::repeat_n(i, columns(i).count()));
    }
    (0..n).for_each(|i| all.extend(columns(i)));
    leaf(
        super::cast(&Tensor::from_slice(&all, shape)?, dtype)?,
        false,
    )
}

/// How many elements of an `n` by `m` matrix are on or below a diagonal.
fn count_lower(n: i128, m: i128, offset: i128) -> i128 {
    // Row i has i + offset + 1 of them, from row `first` on, and no more than m, from row `full` on.
    let first = (-offset).clamp(0, n);
    let full = (m - offset - 1).clamp(first, n);
    let growing = full - first;
    growing * (first + offset + 1) + growing * (growing - 1) / 2 + (n - full) * m
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
