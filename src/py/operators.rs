//! Python's operators on tensors, through type slots.

// PyO3's expansion inside our own macros counts as our code; it contains no `unsafe` of ours.
#![allow(unsafe_op_in_unsafe_fn)]

use super::convert;
use super::tensor::PyTensor;
use crate::base::{Attrs, Scalar};
use crate::ops::{self, OpDef, dispatch, in_place, taint};
use crate::tensor::{Operand, Tensor};
use pyo3::basic::CompareOp;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

type Object<'py> = PyResult<Bound<'py, PyAny>>;

fn not_implemented(py: Python<'_>) -> Bound<'_, PyAny> {
    py.NotImplemented().into_bound(py)
}

/// `x op y`, or `y op x` when `swapped`; `NotImplemented` for what is not a tensor or a number.
#[inline]
fn binary<'py>(
    x: &Bound<'py, PyTensor>,
    y: &Bound<'py, PyAny>,
    op: &'static OpDef,
    attrs: &Attrs,
    swapped: bool,
) -> Object<'py> {
    let py = x.py();
    let Some(y) = convert::operand(y)? else {
        return Ok(not_implemented(py));
    };
    let x = Operand::Tensor(x.get().tensor());
    let inputs = if swapped { [y, x] } else { [x, y] };
    convert::wrap(py, dispatch::run1(op, &inputs, attrs)?)
}

/// `x op= y`: `x` itself.
fn in_place<'py>(
    x: &Bound<'py, PyTensor>,
    y: &Bound<'py, PyAny>,
    op: &'static OpDef,
    attrs: &Attrs,
) -> PyResult<()> {
    match convert::operand(y)? {
        Some(y) => Ok(in_place::run(
            op,
            &[Operand::Tensor(x.get().tensor()), y],
            attrs,
        )?),
        None => Err(pyo3::exceptions::PyTypeError::new_err(format!(
            "unsupported operand type(s) for {}_: 'Tensor' and '{}'",
            op.name,
            y.get_type().name()?
        ))),
    }
}

fn one() -> Attrs {
    [crate::base::Attr::Int(1)].into_iter().collect()
}

/// No rounding mode.
fn unrounded() -> Attrs {
    [crate::base::Attr::None].into_iter().collect()
}

macro_rules! operators {
    ($( $name:ident $reflected:ident $op:path, $attrs:expr; )*) => {
        #[pymethods]
        impl PyTensor {
            $(
                fn $name<'py>(slf: &Bound<'py, Self>, other: &Bound<'py, PyAny>) -> Object<'py> {
                    binary(slf, other, &$op, &$attrs, false)
                }

                fn $reflected<'py>(slf: &Bound<'py, Self>, other: &Bound<'py, PyAny>) -> Object<'py> {
                    binary(slf, other, &$op, &$attrs, true)
                }
            )*
        }
    };
}

operators! {
    __add__ __radd__ ops::arithmetic::ADD, one();
    __sub__ __rsub__ ops::arithmetic::SUB, one();
    __mul__ __rmul__ ops::arithmetic::MUL, Attrs::new();
    __truediv__ __rtruediv__ ops::arithmetic::DIV, unrounded();
    __floordiv__ __rfloordiv__ ops::arithmetic::FLOOR_DIVIDE, Attrs::new();
    __mod__ __rmod__ ops::arithmetic::REMAINDER, Attrs::new();
    __and__ __rand__ ops::logical::BITWISE_AND, Attrs::new();
    __or__ __ror__ ops::logical::BITWISE_OR, Attrs::new();
    __xor__ __rxor__ ops::logical::BITWISE_XOR, Attrs::new();
    __lshift__ __rlshift__ ops::logical::BITWISE_LEFT_SHIFT, Attrs::new();
    __rshift__ __rrshift__ ops::logical::BITWISE_RIGHT_SHIFT, Attrs::new();
}

macro_rules! in_place_operators {
    ($( $name:ident $op:path, $attrs:expr; )*) => {
        #[pymethods]
        impl PyTensor {
            $(
                fn $name<'py>(slf: &Bound<'py, Self>, other: &Bound<'py, PyAny>) -> PyResult<()> {
                    in_place(slf, other, &$op, &$attrs)
                }
            )*
        }
    };
}

in_place_operators! {
    __iadd__ ops::arithmetic::ADD, one();
    __isub__ ops::arithmetic::SUB, one();
    __imul__ ops::arithmetic::MUL, Attrs::new();
    __itruediv__ ops::arithmetic::DIV, unrounded();
    __ifloordiv__ ops::arithmetic::FLOOR_DIVIDE, Attrs::new();
    __imod__ ops::arithmetic::REMAINDER, Attrs::new();
    __iand__ ops::logical::BITWISE_AND, Attrs::new();
    __ior__ ops::logical::BITWISE_OR, Attrs::new();
    __ixor__ ops::logical::BITWISE_XOR, Attrs::new();
    __ilshift__ ops::logical::BITWISE_LEFT_SHIFT, Attrs::new();
    __irshift__ ops::logical::BITWISE_RIGHT_SHIFT, Attrs::new();
}

#[pymethods]
impl PyTensor {
    fn __pow__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
        modulo: &Bound<'py, PyAny>,
    ) -> Object<'py> {
        no_modulo(modulo)?;
        binary(slf, other, &ops::power::POW, &Attrs::new(), false)
    }

    fn __rpow__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
        modulo: &Bound<'py, PyAny>,
    ) -> Object<'py> {
        no_modulo(modulo)?;
        binary(slf, other, &ops::power::POW, &Attrs::new(), true)
    }

    fn __ipow__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
        modulo: &Bound<'py, PyAny>,
    ) -> PyResult<()> {
        no_modulo(modulo)?;
        in_place(slf, other, &ops::power::POW, &Attrs::new())
    }

    fn __matmul__<'py>(slf: &Bound<'py, Self>, other: &Bound<'py, PyAny>) -> Object<'py> {
        product(slf, other, false)
    }

    fn __rmatmul__<'py>(slf: &Bound<'py, Self>, other: &Bound<'py, PyAny>) -> Object<'py> {
        product(slf, other, true)
    }

    fn __richcmp__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
        op: CompareOp,
    ) -> Object<'py> {
        let op = match op {
            CompareOp::Lt => &ops::compare::LT,
            CompareOp::Le => &ops::compare::LE,
            CompareOp::Eq => &ops::compare::EQ,
            CompareOp::Ne => &ops::compare::NE,
            CompareOp::Gt => &ops::compare::GT,
            CompareOp::Ge => &ops::compare::GE,
        };
        binary(slf, other, op, &Attrs::new(), false)
    }

    fn __neg__<'py>(slf: &Bound<'py, Self>) -> Object<'py> {
        convert::wrap(slf.py(), ops::neg(slf.get().tensor())?)
    }

    fn __pos__<'py>(slf: &Bound<'py, Self>) -> Object<'py> {
        let x = [slf.get().tensor().into()];
        dispatch::run1(&ops::unary::POSITIVE, &x, &Attrs::new())?;
        Ok(slf.clone().into_any())
    }

    fn __abs__<'py>(slf: &Bound<'py, Self>) -> Object<'py> {
        convert::wrap(slf.py(), ops::abs(slf.get().tensor())?)
    }

    fn __invert__<'py>(slf: &Bound<'py, Self>) -> Object<'py> {
        let t = slf.get().tensor();
        if t.dtype().is_float() {
            return Err(pyo3::exceptions::PyTypeError::new_err(
                "~ (operator.invert) is only implemented on integer and Boolean-type tensors",
            ));
        }
        convert::wrap(slf.py(), ops::bitwise_not(t)?)
    }

    fn __bool__(&self) -> PyResult<bool> {
        let t = self.tensor();
        if t.numel() != 1 {
            return Err(PyRuntimeError::new_err(format!(
                "Boolean value of Tensor with {} is ambiguous: its shape is {}; use any() or all()",
                if t.numel() == 0 {
                    "no values"
                } else {
                    "more than one value"
                },
                t.shape()
            )));
        }
        Ok(t.item()?.as_bool())
    }

    fn __float__(&self) -> PyResult<f64> {
        Ok(element(&self.tensor())?.as_f64())
    }

    fn __int__(&self) -> PyResult<i64> {
        integer(&self.tensor())
    }

    fn __index__(&self) -> PyResult<i64> {
        let t = self.tensor();
        if t.dtype().is_float() || t.numel() != 1 {
            return Err(pyo3::exceptions::PyTypeError::new_err(
                "only integer tensors of a single element can be converted to an index",
            ));
        }
        Ok(t.item()?.as_i64())
    }
}

/// The element that stands for a one-element tensor among Python's numbers.
fn element(t: &Tensor) -> PyResult<Scalar> {
    if t.numel() != 1 {
        return Err(pyo3::exceptions::PyValueError::new_err(format!(
            "only one element tensors can be converted to Python scalars, but the shape is {}",
            t.shape()
        )));
    }
    taint::hand_out(t);
    Ok(t.item()?)
}

fn integer(t: &Tensor) -> PyResult<i64> {
    match element(t)? {
        Scalar::Float(x) if x.is_nan() => Err(pyo3::exceptions::PyValueError::new_err(
            "cannot convert float NaN to integer",
        )),
        Scalar::Float(x) if x.is_infinite() => Err(pyo3::exceptions::PyOverflowError::new_err(
            "cannot convert float infinity to integer",
        )),
        s => Ok(s.as_i64()),
    }
}

fn product<'py>(x: &Bound<'py, PyTensor>, y: &Bound<'py, PyAny>, swapped: bool) -> Object<'py> {
    let py = x.py();
    let Ok(y) = y.cast::<PyTensor>() else {
        return Ok(not_implemented(py));
    };
    let (x, y) = (x.get().tensor(), y.get().tensor());
    let out = if swapped {
        ops::matmul(y, x)?
    } else {
        ops::matmul(x, y)?
    };
    convert::wrap(py, out)
}

fn no_modulo(modulo: &Bound<'_, PyAny>) -> PyResult<()> {
    if modulo.is_none() {
        return Ok(());
    }
    Err(pyo3::exceptions::PyTypeError::new_err(
        "pow() of tensors takes no modulo",
    ))
}
