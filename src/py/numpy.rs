//! Elements in and out of Python without going through Python numbers: nested sequences, the
//! buffer protocol, NumPy.

use super::convert;
use super::dtype::dtype_of;
use super::tensor::PyTensor;
use crate::base::{DType, Device, Layout, Scalar, Shape, dtype};
use crate::memory::Storage;
use crate::memory::storage::write_scalar;
use crate::ops::{self, taint};
use crate::tensor::Tensor;
use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::{PyBufferError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyList, PyString, PyTuple};
use pyo3::{ffi, intern};
use std::ffi::{CStr, c_int, c_void};
use std::ptr::NonNull;

/// A new tensor with the elements of nested sequences, numbers, tensors, or a buffer.
pub(super) fn tensor_from(
    data: &Bound<'_, PyAny>,
    dtype: Option<DType>,
    device: Option<Device>,
) -> PyResult<Tensor> {
    let device = device.unwrap_or_default();
    let source = match data.cast::<PyTensor>() {
        Ok(t) => {
            taint::hand_out(&t.get().tensor());
            Some(t.get().tensor().detach())
        }
        Err(_) => share(data)?,
    };
    if let Some(t) = source {
        let t = ops::clone_data(&ops::cast(&t, dtype.unwrap_or(t.dtype()))?)?;
        taint::take_in(&t);
        return Ok(t);
    }
    let mut found = Found::default();
    found.flatten(data, 0)?;
    let category = found.values.iter().map(|s| s.dtype().category()).max();
    let dtype = dtype.or(found.dtype).unwrap_or_else(|| match category {
        Some(dtype::Category::Bool) => DType::Bool,
        Some(dtype::Category::Int) => DType::I64,
        _ => dtype::default_dtype(),
    });
    let t = Tensor::empty(found.shape, dtype, device)?;
    if device != Device::Meta {
        for (i, &v) in found.values.iter().enumerate() {
            write_scalar(t.storage(), dtype, i, v);
        }
    }
    taint::take_in(&t);
    Ok(t)
}

/// What nested sequences hold.
#[derive(Default)]
struct Found {
    shape: Shape,
    values: Vec<Scalar>,
    /// The type of the NumPy scalars among them: they count more than Python's numbers.
    dtype: Option<DType>,
}

impl Found {
    /// Walks nested sequences in row-major order, checking that they are rectangular.
    fn flatten(&mut self, data: &Bound<'_, PyAny>, depth: usize) -> PyResult<()> {
        let leaf = match convert::number(data)? {
            Some(s) => Some(s),
            None => match data.cast::<PyTensor>() {
                Ok(t) if t.get().tensor().ndim() == 0 => {
                    let t = t.get().tensor();
                    taint::hand_out(&t);
                    Some(t.item()?)
                }
                _ => None,
            },
        };
        if let Some(s) = leaf {
            if depth != self.shape.len() {
                return Err(ragged(depth));
            }
            self.values.push(s);
            if let Some(dtype) = scalar_type(data, depth)? {
                self.dtype = Some(self.dtype.map_or(dtype, |d| d.promote(dtype)));
            }
            return Ok(());
        }
        if data.is_instance_of::<PyString>() || data.is_instance_of::<PyBytes>() {
            let name = data.get_type().name()?;
            return Err(if depth == 0 {
                PyTypeError::new_err(format!("new(): invalid data type '{name}'"))
            } else {
                PyValueError::new_err(format!("too many dimensions '{name}'"))
            });
        }
        let Ok(n) = data.len() else {
            return Err(PyRuntimeError::new_err(format!(
                "Could not infer dtype of {}: expected numbers, nested sequences of numbers, or an \
                 array",
                data.get_type().name()?
            )));
        };
        if self.values.is_empty() && depth == self.shape.len() {
            self.shape.push(n);
        } else if depth >= self.shape.len() || self.shape[depth] != n {
            return Err(PyValueError::new_err(format!(
                "expected sequence of length {} at dim {depth} (got {n})",
                self.shape.get(depth).copied().unwrap_or(0)
            )));
        }
        for i in 0..n {
            self.flatten(&data.get_item(i)?, depth + 1)?;
        }
        Ok(())
    }
}

/// The type of a NumPy scalar; `None` for other numbers, and for integers within sequences, which
/// become `int64` there.
fn scalar_type(value: &Bound<'_, PyAny>, depth: usize) -> PyResult<Option<DType>> {
    let is_plain = value.is_exact_instance_of::<PyFloat>()
        || value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyBool>();
    if is_plain || value.is_instance_of::<PyTensor>() {
        return Ok(None);
    }
    let Ok(dtype) = value.getattr(intern!(value.py(), "dtype")) else {
        return Ok(None);
    };
    let name: String = dtype.getattr(intern!(value.py(), "name"))?.extract()?;
    let dtype = DType::ALL.into_iter().find(|d| d.name() == name);
    Ok(dtype.filter(|d| d.is_float() || depth == 0))
}

fn ragged(depth: usize) -> PyErr {
    PyValueError::new_err(format!(
        "nested sequences must be rectangular: found a number at depth {depth}, where a sequence \
         was expected"
    ))
}

/// The element type of a buffer's format, as the `struct` module writes it.
fn dtype_of_format(format: &CStr, size: usize) -> Option<DType> {
    let code = *format
        .to_bytes()
        .iter()
        .rfind(|c| c.is_ascii_alphabetic() || **c == b'?')?;
    Some(match (code, size) {
        (b'?', 1) => DType::Bool,
        (b'B', 1) => DType::U8,
        (b'b', 1) => DType::I8,
        (b'h', 2) => DType::I16,
        (b'i' | b'l', 4) => DType::I32,
        (b'q' | b'l', 8) => DType::I64,
        (b'e', 2) => DType::F16,
        (b'f', 4) => DType::F32,
        (b'd', 8) => DType::F64,
        _ => return None,
    })
}

/// A tensor over the memory of an object with the buffer protocol; `None` when it has none. Memory
/// that must not be written, or whose strides a tensor cannot have, is copied.
pub(super) fn share(data: &Bound<'_, PyAny>) -> PyResult<Option<Tensor>> {
    if data.is_instance_of::<PyBytes>()
        || data.is_instance_of::<PyList>()
        || data.is_instance_of::<PyTuple>()
    {
        return Ok(None);
    }
    let Ok(buffer) = PyUntypedBuffer::get(data) else {
        return share_0d(data);
    };
    let size = buffer.item_size();
    let Some(dtype) = dtype_of_format(buffer.format(), size) else {
        return Err(PyTypeError::new_err(format!(
            "can't convert an array of format '{}' ({size} bytes): supported are float64, float32, \
             float16, int64, int32, int16, int8, uint8 and bool, in native byte order",
            buffer.format().to_string_lossy()
        )));
    };
    let native = !matches!(buffer.format().to_bytes().first(), Some(b'>' | b'!'));
    let strides = buffer.strides();
    let fits = native
        && !buffer.readonly()
        && strides
            .iter()
            .all(|&s| s >= 0 && (s as usize).is_multiple_of(size))
        && (buffer.buf_ptr() as usize).is_multiple_of(size);
    if !fits {
        let copy = data.py().import("numpy")?.call_method1("array", (data,))?;
        if !native {
            return Err(PyTypeError::new_err(
                "can't convert an array of foreign byte order",
            ));
        }
        // A fresh array is writable, and its strides are positive.
        let copy = copy
            .py()
            .import("numpy")?
            .call_method1("ascontiguousarray", (copy,))?;
        return share(&copy);
    }
    let layout = Layout {
        shape: buffer.shape().iter().copied().collect(),
        strides: strides.iter().map(|&s| s as usize / size).collect(),
        offset: 0,
    };
    let bytes = layout.end() * size;
    let Some(ptr) = NonNull::new(buffer.buf_ptr().cast::<u8>()) else {
        return Ok(Some(Tensor::empty(layout.shape, dtype, Device::Cpu)?));
    };
    // SAFETY: the buffer is writable, holds `bytes` bytes from its start by its shape and
    // non-negative strides, and stays exported until the owner, the buffer itself, is dropped.
    let storage = unsafe { Storage::foreign(ptr, bytes, Box::new(buffer)) };
    let t = Tensor::from_parts(storage, layout, dtype);
    taint::take_in(&t);
    Ok(Some(t))
}

/// As [`share`], for arrays without dimensions: their buffers have no shape to read, so the memory
/// is shared through a view of one dimension.
fn share_0d(data: &Bound<'_, PyAny>) -> PyResult<Option<Tensor>> {
    let py = data.py();
    let is_array = data.hasattr(intern!(py, "ndim"))?
        && data.is_instance(&py.import("numpy")?.getattr("ndarray")?)?
        && data.getattr(intern!(py, "ndim"))?.extract::<usize>()? == 0;
    if !is_array {
        return Ok(None);
    }
    let flat = share(&data.call_method1(intern!(py, "reshape"), (1,))?)?;
    Ok(flat.map(|t| {
        let t = t.alias(Layout::contiguous(Shape::new()));
        taint::take_in(&t);
        t
    }))
}

/// A tensor over the memory of a NumPy array: a write to either is seen by both.
#[pyfunction]
fn from_numpy<'py>(array: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    match share(array)? {
        Some(t) => convert::wrap(array.py(), t),
        None => Err(PyTypeError::new_err(format!(
            "expected np.ndarray (got {})",
            array.get_type().name()?
        ))),
    }
}

/// A 1-d tensor over the bytes of a buffer.
#[pyfunction]
#[pyo3(signature = (buffer, *, dtype, count = -1, offset = 0))]
fn frombuffer<'py>(
    buffer: &Bound<'py, PyAny>,
    dtype: &Bound<'py, PyAny>,
    count: i64,
    offset: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let dtype = dtype_of(dtype)?;
    let bytes = buffer
        .py()
        .import("numpy")?
        .call_method1("frombuffer", (buffer, "u1"))?;
    let t = share(&bytes)?.ok_or_else(|| PyTypeError::new_err("expected a buffer"))?;
    let rest = t.numel().saturating_sub(offset);
    let n = if count < 0 {
        rest / dtype.size()
    } else {
        count as usize
    };
    if n * dtype.size() > rest || !offset.is_multiple_of(dtype.size()) {
        return Err(PyValueError::new_err(format!(
            "{count} elements of {dtype} at offset {offset} do not fit a buffer of {} bytes",
            t.numel()
        )));
    }
    let layout = Layout {
        offset: offset / dtype.size(),
        ..Layout::contiguous(Shape::from([n]))
    };
    convert::wrap(
        buffer.py(),
        Tensor::from_parts(t.storage().clone(), layout, dtype),
    )
}

/// The bytes of a tensor's elements in row-major order.
#[pyfunction]
fn _to_bytes<'py>(tensor: &Bound<'py, PyTensor>) -> PyResult<Bound<'py, PyBytes>> {
    let t = tensor.get().tensor();
    if t.device() == Device::Meta {
        return Err(PyTypeError::new_err("a meta tensor has no elements"));
    }
    let t = ops::clone_data(&t)?;
    let n = t.numel() * t.dtype().size();
    Ok(PyBytes::new(tensor.py(), &t.storage().read_all::<u8>(0, n)))
}

/// Sizes and strides in bytes, kept for as long as a buffer is exported.
struct Export {
    shape: Vec<ffi::Py_ssize_t>,
    strides: Vec<ffi::Py_ssize_t>,
    // Keeps the bytes alive even if the tensor is given others.
    _storage: Storage,
}

fn format_of(dtype: DType) -> Option<&'static CStr> {
    Some(match dtype {
        DType::Bool => c"?",
        DType::U8 => c"B",
        DType::I8 => c"b",
        DType::I16 => c"h",
        DType::I32 => c"i",
        DType::I64 => c"q",
        DType::F16 => c"e",
        DType::F32 => c"f",
        DType::F64 => c"d",
        DType::BF16 => return None,
    })
}

#[pymethods]
impl PyTensor {
    /// The elements as a NumPy array over the same memory. `force=True` first detaches and copies
    /// where needed.
    ///
    /// Raises:
    ///     RuntimeError: the tensor requires grad; use `tensor.detach().numpy()`.
    ///     TypeError: NumPy has no such element type (bfloat16).
    #[pyo3(signature = (*, force = false))]
    fn numpy<'py>(slf: &Bound<'py, Self>, force: bool) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let t = slf.get().tensor();
        if t.requires_grad() && !force {
            return Err(PyRuntimeError::new_err(
                "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() \
                 instead.",
            ));
        }
        exportable(&t)?;
        let source = if t.requires_grad() {
            convert::wrap(py, t.detach())?
        } else {
            slf.clone().into_any()
        };
        py.import("numpy")?
            .call_method1(intern!(py, "asarray"), (source,))
    }

    #[pyo3(signature = (dtype = None, copy = None))]
    fn __array__<'py>(
        slf: &Bound<'py, Self>,
        dtype: Option<&Bound<'py, PyAny>>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let array = Self::numpy(slf, false)?;
        let py = slf.py();
        match dtype {
            Some(dtype) if !array.getattr(intern!(py, "dtype"))?.eq(dtype)? => {
                array.call_method1(intern!(py, "astype"), (dtype,))
            }
            _ if copy == Some(true) => array.call_method0(intern!(py, "copy")),
            _ => Ok(array),
        }
    }

    // SAFETY: CPython passes a `view` to fill in; every pointer written there stays valid until
    // `__releasebuffer__`, since `Export` owns the arrays and keeps the storage.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let t = slf.get().tensor();
        if t.requires_grad() {
            return Err(PyBufferError::new_err(
                "a tensor that requires grad; detach() it",
            ));
        }
        let (Some(format), Device::Cpu) = (format_of(t.dtype()), t.device()) else {
            return Err(PyBufferError::new_err(format!(
                "no buffer of {} elements",
                t.dtype()
            )));
        };
        if flags & ffi::PyBUF_STRIDES != ffi::PyBUF_STRIDES && !t.is_contiguous() {
            return Err(PyBufferError::new_err("the tensor is not contiguous"));
        }
        taint::hand_out(&t);
        t.storage().hand_out();
        let size = t.dtype().size();
        let export = Box::new(Export {
            shape: t.shape().iter().map(|&n| n as ffi::Py_ssize_t).collect(),
            strides: t
                .layout()
                .strides
                .iter()
                .map(|&s| (s * size) as ffi::Py_ssize_t)
                .collect(),
            _storage: t.storage().clone(),
        });
        // SAFETY: `view` is valid for writes; the offset lies within the storage.
        unsafe {
            (*view).buf = t
                .storage()
                .as_ptr()
                .add(t.layout().offset * size)
                .cast::<c_void>();
            (*view).len = (t.numel() * size) as ffi::Py_ssize_t;
            (*view).readonly = 0;
            (*view).itemsize = size as ffi::Py_ssize_t;
            (*view).format = format.as_ptr().cast_mut();
            (*view).ndim = t.ndim() as c_int;
            (*view).shape = export.shape.as_ptr().cast_mut();
            (*view).strides = export.strides.as_ptr().cast_mut();
            (*view).suboffsets = std::ptr::null_mut();
            (*view).internal = Box::into_raw(export).cast::<c_void>();
            (*view).obj = slf.into_any().into_ptr();
        }
        Ok(())
    }

    // SAFETY: CPython passes each view that `__getbuffer__` filled in, once.
    unsafe fn __releasebuffer__(&self, view: *mut ffi::Py_buffer) {
        // SAFETY: `internal` came from `Box::into_raw` of an `Export`.
        drop(unsafe { Box::from_raw((*view).internal.cast::<Export>()) });
    }
}

fn exportable(t: &Tensor) -> PyResult<()> {
    if t.device() == Device::Meta {
        return Err(PyTypeError::new_err(
            "can't convert a meta tensor to numpy: it has no elements",
        ));
    }
    match format_of(t.dtype()) {
        Some(_) => Ok(()),
        None => Err(PyTypeError::new_err(format!(
            "Got unsupported ScalarType {}: NumPy has no such type; use float() first",
            t.dtype().scalar_type_name()
        ))),
    }
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(from_numpy, m)?)?;
    m.add_function(wrap_pyfunction!(_to_bytes, m)?)?;
    m.add_function(wrap_pyfunction!(frombuffer, m)?)
}
