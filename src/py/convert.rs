//! Python values to the crate's plain values, and tensors back to Python.

use super::dtype::dtype_object;
use super::tensor::PyTensor;
use crate::base::{Attr, Scalar};
use crate::ops::Returns;
use crate::tape::Outputs;
use crate::tensor::{Operand, Tensor};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyFloat, PyInt, PyTuple, PyWeakrefReference};
use std::sync::Arc;

/// What messages call an object's type.
pub(super) fn type_name(value: &Bound<'_, PyAny>) -> String {
    let name = value.get_type().name();
    name.map_or_else(|_| "?".into(), |n| n.to_string())
}

/// A tensor or a number; `None` for anything else.
#[inline]
pub(super) fn operand(value: &Bound<'_, PyAny>) -> PyResult<Option<Operand>> {
    if let Ok(t) = value.cast::<PyTensor>() {
        return Ok(Some(Operand::Tensor(t.get().tensor())));
    }
    Ok(number(value)?.map(Operand::Scalar))
}

/// A Python number, or a NumPy scalar.
pub(super) fn number(value: &Bound<'_, PyAny>) -> PyResult<Option<Scalar>> {
    if let Ok(x) = value.cast::<PyFloat>() {
        return Ok(Some(Scalar::Float(x.value())));
    }
    if let Ok(b) = value.cast::<PyBool>() {
        return Ok(Some(Scalar::Bool(b.is_true())));
    }
    if value.is_instance_of::<PyInt>() {
        return match value.extract::<i64>() {
            Ok(x) => Ok(Some(Scalar::Int(x))),
            Err(_) => Err(PyRuntimeError::new_err(format!(
                "the integer {value} does not fit in 64 bits (Overflow when unpacking long)"
            ))),
        };
    }
    let py = value.py();
    if value.hasattr(intern!(py, "dtype"))? && !value.hasattr(intern!(py, "__len__"))? {
        // A NumPy scalar: `item()` is the Python number.
        let item = value.call_method0(intern!(py, "item"))?;
        if !item.is(value) && (item.is_instance_of::<PyFloat>() || item.is_instance_of::<PyInt>()) {
            return number(&item);
        }
    }
    Ok(None)
}

/// A number, or the element of a one-element tensor.
pub(super) fn scalar(value: &Bound<'_, PyAny>) -> PyResult<Option<Scalar>> {
    if let Ok(t) = value.cast::<PyTensor>() {
        return Ok(Some(t.get().tensor().item()?));
    }
    number(value)
}

/// An integer: an `int`, anything with `__index__`, or a one-element integer tensor.
pub(super) fn int(value: &Bound<'_, PyAny>) -> PyResult<Option<i64>> {
    if value.is_instance_of::<PyBool>() {
        return Ok(None);
    }
    if value.is_instance_of::<PyInt>() {
        return Ok(Some(value.extract()?));
    }
    match scalar(value)? {
        Some(Scalar::Int(i)) => Ok(Some(i)),
        _ => Ok(None),
    }
}

/// A generator, as ops take it.
pub(super) fn generator(value: &Bound<'_, PyAny>) -> Option<Attr> {
    let generator = value.cast::<super::random::PyGenerator>().ok()?;
    Some(Attr::Any(generator.get().0.clone()))
}

/// A Python tensor around a tensor.
#[inline]
pub(super) fn wrap(py: Python<'_>, t: Tensor) -> PyResult<Bound<'_, PyAny>> {
    Ok(Bound::new(py, PyTensor::from(t))?.into_any())
}

/// The Python object of a leaf if there is one, else a new one around the tensor.
///
/// NOTE [Leaf objects]
/// A leaf notes its Python object, weakly, when it begins to require a gradient, so that hooks,
/// `node.variable` and `ctx.saved_tensors` show the very object: a parameter stays a `Parameter`, and
/// finds itself in the user's dictionaries.
pub(super) fn wrap_leaf(py: Python<'_>, t: Tensor) -> PyResult<Bound<'_, PyAny>> {
    let t = t.leaf_itself().unwrap_or(t);
    let known = t.host();
    let weak = known
        .as_deref()
        .and_then(|host| host.downcast_ref::<Py<PyWeakrefReference>>());
    if let Some(object) = weak.and_then(|weak| weak.bind(py).upgrade())
        && let Ok(object_of) = object.cast::<PyTensor>()
        && object_of.get().tensor().same(&t)
    {
        return Ok(object);
    }
    let object = wrap(py, t)?;
    note_object(object.cast()?)?;
    Ok(object)
}

/// Lets a leaf find its object: see NOTE [Leaf objects].
pub(super) fn note_object(object: &Bound<'_, PyTensor>) -> PyResult<()> {
    let t = object.get().tensor();
    if t.requires_grad() && t.is_leaf() {
        t.set_host(Arc::new(PyWeakrefReference::new(object.as_any())?.unbind()));
    }
    Ok(())
}

/// An argument of an op.
pub(super) fn attr<'py>(py: Python<'py>, value: &Attr) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Attr::None => py.None().into_bound(py),
        Attr::Bool(b) => PyBool::new(py, *b).to_owned().into_any(),
        Attr::Int(i) => i.into_pyobject(py)?.into_any(),
        Attr::Float(x) => x.into_pyobject(py)?.into_any(),
        Attr::Scalar(s) => item(py, *s)?,
        Attr::Ints(list) => PyTuple::new(py, list.iter())?.into_any(),
        Attr::Floats(list) => PyTuple::new(py, list.iter())?.into_any(),
        Attr::Str(s) => s.into_pyobject(py)?.into_any(),
        Attr::DType(d) => dtype_object(py, *d).clone().into_any(),
        Attr::Device(d) => d.to_string().into_pyobject(py)?.into_any(),
        Attr::Any(_) => {
            return Err(PyRuntimeError::new_err(
                "this argument has no value in Python",
            ));
        }
    })
}

/// What an op returns to Python.
pub(super) fn results<'py>(
    py: Python<'py>,
    name: &'static str,
    returns: Returns,
    mut outs: Outputs,
) -> PyResult<Bound<'py, PyAny>> {
    match returns {
        Returns::One => wrap(py, outs.swap_remove(0)),
        // An overload may return one tensor where another returns a named tuple.
        Returns::Named(_) if outs.len() == 1 => wrap(py, outs.swap_remove(0)),
        Returns::OneOrTuple if outs.len() == 1 => wrap(py, outs.swap_remove(0)),
        Returns::Tuple | Returns::OneOrTuple => {
            let items = outs
                .into_iter()
                .map(|t| wrap(py, t))
                .collect::<PyResult<Vec<_>>>()?;
            Ok(PyTuple::new(py, items)?.into_any())
        }
        Returns::Named(fields) => {
            let items = outs
                .into_iter()
                .map(|t| wrap(py, t))
                .collect::<PyResult<Vec<_>>>()?;
            static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
            let make = MAKE.get_or_try_init(py, || {
                Ok::<_, PyErr>(
                    py.import("rustgrad._return_types")?
                        .getattr("make")?
                        .unbind(),
                )
            })?;
            make.bind(py)
                .call1((name, PyTuple::new(py, fields)?, PyTuple::new(py, items)?))
        }
        Returns::Item => item(py, outs[0].item()?),
    }
}

/// A Python number.
pub(super) fn item(py: Python<'_>, s: Scalar) -> PyResult<Bound<'_, PyAny>> {
    Ok(match s {
        Scalar::Bool(b) => PyBool::new(py, b).to_owned().into_any(),
        Scalar::Int(i) => i.into_pyobject(py)?.into_any(),
        Scalar::Float(x) => PyFloat::new(py, x).into_any(),
    })
}

/// The tensors of a tensor or a sequence of tensors.
pub(super) fn tensors(value: &Bound<'_, PyAny>, what: &str) -> PyResult<Vec<Tensor>> {
    if let Ok(t) = value.cast::<PyTensor>() {
        return Ok(vec![t.get().tensor()]);
    }
    value
        .try_iter()?
        .map(|item| {
            let item = item?;
            match item.cast::<PyTensor>() {
                Ok(t) => Ok(t.get().tensor()),
                Err(_) => Err(PyTypeError::new_err(format!(
                    "{what} must be a Tensor or a sequence of Tensors, but holds a {}",
                    item.get_type().name()?
                ))),
            }
        })
        .collect()
}
