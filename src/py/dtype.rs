//! `rustgrad.dtype`, `rustgrad.device`, and the functions about them.

use crate::base::{DType, Device, dtype};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyString;

/// An element type: `rustgrad.float32` and its kin. There is one object of each.
#[pyclass(name = "dtype", module = "rustgrad", frozen, eq, hash)]
#[derive(PartialEq, Eq, Hash, Clone, Copy)]
pub(super) struct PyDType(pub(super) DType);

#[pymethods]
impl PyDType {
    fn __repr__(&self) -> String {
        format!("rustgrad.{}", self.0.name())
    }

    fn __reduce__(&self) -> &'static str {
        // A global name of the module the class claims to live in: unpickles to the one object.
        self.0.name()
    }

    /// Whether this is a floating-point type.
    #[getter]
    fn is_floating_point(&self) -> bool {
        self.0.is_float()
    }

    /// Always false: complex numbers are not supported.
    #[getter]
    fn is_complex(&self) -> bool {
        false
    }

    /// Whether values have a sign.
    #[getter]
    fn is_signed(&self) -> bool {
        !matches!(self.0, DType::Bool | DType::U8)
    }

    /// Bytes of one element.
    #[getter]
    fn itemsize(&self) -> usize {
        self.0.size()
    }
}

static OBJECTS: PyOnceLock<Vec<Py<PyDType>>> = PyOnceLock::new();

/// The object of an element type.
pub(super) fn dtype_object(py: Python<'_>, dtype: DType) -> &Bound<'_, PyDType> {
    OBJECTS.get(py).expect("registered with the module")[dtype.index()].bind(py)
}

/// A place for tensors: `device('cpu')`, or `device('meta')` for shapes without elements.
#[pyclass(name = "device", module = "rustgrad", frozen, eq, hash)]
#[derive(PartialEq, Eq, Hash, Clone, Copy)]
pub(super) struct PyDevice(pub(super) Device, Option<i64>);

impl PyDevice {
    pub(super) fn new(device: Device) -> Self {
        Self(device, None)
    }
}

#[pymethods]
impl PyDevice {
    #[new]
    #[pyo3(signature = (device, index = None))]
    fn py_new(device: &Bound<'_, PyAny>, index: Option<i64>) -> PyResult<Self> {
        let d = device_of(device)?;
        let own = device.cast::<PyDevice>().ok().and_then(|d| d.get().1);
        let named = device
            .extract::<String>()
            .ok()
            .and_then(|s| s.split(':').nth(1)?.parse().ok());
        Ok(Self(d, index.or(own).or(named)))
    }

    /// The kind of device: `'cpu'`.
    #[getter]
    fn r#type(&self) -> String {
        self.0.to_string()
    }

    /// Which one of its kind, or `None`.
    #[getter]
    fn index(&self) -> Option<i64> {
        self.1
    }

    fn __repr__(&self) -> String {
        match self.1 {
            Some(i) => format!("device(type='{}', index={i})", self.0),
            None => format!("device(type='{}')", self.0),
        }
    }

    fn __str__(&self) -> String {
        match self.1 {
            Some(i) => format!("{}:{i}", self.0),
            None => self.0.to_string(),
        }
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> (Py<PyAny>, (String,)) {
        (slf.get_type().into_any().unbind(), (slf.get().__str__(),))
    }
}

/// A device from a `device`, a name, or `None`-like defaults.
pub(super) fn device_of(obj: &Bound<'_, PyAny>) -> PyResult<Device> {
    if let Ok(d) = obj.cast::<PyDevice>() {
        return Ok(d.get().0);
    }
    let Ok(name) = obj.cast::<PyString>() else {
        return Err(PyTypeError::new_err(format!(
            "a device is a device object or a str such as 'cpu', not {}",
            obj.get_type().name()?
        )));
    };
    match name.to_str()?.split(':').next().unwrap_or_default() {
        "cpu" => Ok(Device::Cpu),
        "meta" => Ok(Device::Meta),
        other => Err(PyRuntimeError::new_err(format!(
            "device '{other}' is not available: this build has 'cpu' and 'meta'"
        ))),
    }
}

/// A dtype from a `dtype` object or Python's `float`, `int`, `bool`.
pub(super) fn dtype_of(obj: &Bound<'_, PyAny>) -> PyResult<DType> {
    if let Ok(d) = obj.cast::<PyDType>() {
        return Ok(d.get().0);
    }
    let py = obj.py();
    if obj.is(py.get_type::<pyo3::types::PyFloat>()) {
        return Ok(DType::F64);
    }
    if obj.is(py.get_type::<pyo3::types::PyBool>()) {
        return Ok(DType::Bool);
    }
    if obj.is(py.get_type::<pyo3::types::PyInt>()) {
        return Ok(DType::I64);
    }
    Err(PyTypeError::new_err(format!(
        "expected a rustgrad.dtype, not {}",
        obj.get_type().name()?
    )))
}

#[pyfunction]
fn get_default_dtype(py: Python<'_>) -> Bound<'_, PyDType> {
    dtype_object(py, dtype::default_dtype()).clone()
}

#[pyfunction]
fn set_default_dtype(d: &Bound<'_, PyAny>) -> PyResult<()> {
    let d = dtype_of(d)?;
    if !d.is_float() {
        return Err(PyTypeError::new_err(format!(
            "only floating-point types are supported as the default type, not {d}"
        )));
    }
    dtype::set_default_dtype(d);
    Ok(())
}

#[pyfunction]
fn promote_types<'py>(
    a: &Bound<'py, PyAny>,
    b: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyDType>> {
    Ok(dtype_object(a.py(), dtype_of(a)?.promote(dtype_of(b)?)).clone())
}

#[pyfunction]
fn can_cast(from: &Bound<'_, PyAny>, to: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(dtype_of(from)?.can_cast(dtype_of(to)?))
}

/// The type in which two operands (tensors or numbers) compute.
#[pyfunction]
fn result_type<'py>(a: &Bound<'py, PyAny>, b: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDType>> {
    let mut operands = Vec::new();
    for x in [a, b] {
        match super::convert::operand(x)? {
            Some(operand) => operands.push(operand),
            None => {
                return Err(PyTypeError::new_err(format!(
                    "result_type() takes tensors and numbers, not {}",
                    x.get_type().name()?
                )));
            }
        }
    }
    Ok(dtype_object(a.py(), crate::ops::meta::result_type(&operands)).clone())
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = m.py();
    let objects = DType::ALL
        .iter()
        .map(|&d| Py::new(py, PyDType(d)))
        .collect::<PyResult<Vec<_>>>()?;
    for (d, object) in DType::ALL.iter().zip(&objects) {
        m.add(d.name(), object)?;
    }
    let _ = OBJECTS.set(py, objects);
    m.add_class::<PyDType>()?;
    m.add_class::<PyDevice>()?;
    m.add_function(wrap_pyfunction!(get_default_dtype, m)?)?;
    m.add_function(wrap_pyfunction!(set_default_dtype, m)?)?;
    m.add_function(wrap_pyfunction!(promote_types, m)?)?;
    m.add_function(wrap_pyfunction!(result_type, m)?)?;
    m.add_function(wrap_pyfunction!(can_cast, m)?)
}
