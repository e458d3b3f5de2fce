//! Python's subscripts to [`Index`].

use super::convert;
use super::numpy;
use super::tensor::PyTensor;
use crate::base::DType;
use crate::ops::subscript::{self, Index};
use crate::tensor::{Operand, Tensor};
use pyo3::exceptions::{PyIndexError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyEllipsis, PyInt, PyList, PyRange, PySlice, PyString, PyTuple};
use smallvec::SmallVec;

type Indices = SmallVec<[Index; 4]>;

/// `x[key]`.
pub(super) fn get_item(x: &Tensor, key: &Bound<'_, PyAny>) -> PyResult<Tensor> {
    Ok(subscript::get_item(x, &indices(key)?)?)
}

/// `x[key] = value`.
pub(super) fn set_item(
    x: &Tensor,
    key: &Bound<'_, PyAny>,
    value: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let value = match convert::operand(value)? {
        Some(value) => value,
        None => Operand::Tensor(numpy::tensor_from(value, None, Some(x.device()))?),
    };
    Ok(subscript::set_item(x, &indices(key)?, &value)?)
}

fn indices(key: &Bound<'_, PyAny>) -> PyResult<Indices> {
    if let Ok(tuple) = key.cast::<PyTuple>() {
        return tuple.iter_borrowed().map(|k| one(&k)).collect();
    }
    Ok(smallvec::smallvec![one(key)?])
}

fn one(key: &Bound<'_, PyAny>) -> PyResult<Index> {
    if let Ok(b) = key.cast::<PyBool>() {
        return Ok(Index::Bool(b.is_true()));
    }
    if key.is_instance_of::<PyInt>() {
        return Ok(Index::Int(key.extract()?));
    }
    if let Ok(slice) = key.cast::<PySlice>() {
        let py = key.py();
        let part = |name| bound(&slice.getattr(name)?);
        return Ok(Index::Slice {
            start: part(intern!(py, "start"))?,
            end: part(intern!(py, "stop"))?,
            step: part(intern!(py, "step"))?,
        });
    }
    if key.is_none() {
        return Ok(Index::None);
    }
    if key.is_instance_of::<PyEllipsis>() {
        return Ok(Index::Ellipsis);
    }
    if let Ok(t) = key.cast::<PyTensor>() {
        return tensor_index(t.get().tensor());
    }
    let is_sequence = key.is_instance_of::<PyList>()
        || key.is_instance_of::<PyTuple>()
        || key.is_instance_of::<PyRange>();
    if is_sequence || key.hasattr(intern!(key.py(), "__array_interface__"))? {
        let t = numpy::tensor_from(key, None, None)?;
        // An empty list selects nothing; its type says nothing.
        let t = if t.numel() == 0 {
            crate::ops::cast(&t, DType::I64)?
        } else {
            t
        };
        return tensor_index(t);
    }
    if let Some(i) = convert::int(key)? {
        return Ok(Index::Int(i));
    }
    if let Ok(i) = key.call_method0(intern!(key.py(), "__index__")) {
        return Ok(Index::Int(i.extract()?));
    }
    if key.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err(
            "a tensor has no elements by name: its indices are numbers",
        ));
    }
    Err(PyIndexError::new_err(format!(
        "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid \
         indices (got {})",
        key.get_type().name()?
    )))
}

fn tensor_index(t: Tensor) -> PyResult<Index> {
    if t.ndim() == 0 && !t.dtype().is_float() {
        // A 0-d integer is a plain index; a 0-d bool is a mask.
        return Ok(match t.item()? {
            crate::base::Scalar::Bool(b) => Index::Bool(b),
            s => Index::Int(s.as_i64()),
        });
    }
    Ok(Index::Tensor(t))
}

/// The start, stop or step of a slice.
fn bound(value: &Bound<'_, PyAny>) -> PyResult<Option<i64>> {
    if value.is_none() {
        return Ok(None);
    }
    if value.is_instance_of::<PyInt>() {
        // Python clamps huge bounds: `x[:sys.maxsize * 2]` is `x[:]`.
        return Ok(Some(value.extract().unwrap_or(if value.lt(0)? {
            i64::MIN
        } else {
            i64::MAX
        })));
    }
    match convert::int(value)? {
        Some(i) => Ok(Some(i)),
        None => Err(PyTypeError::new_err(
            "slice indices must be integers or None or have an __index__ method",
        )),
    }
}
