//! `rustgrad.Generator`, and the default generator's functions.

use super::convert;
use super::dtype::{PyDevice, device_of};
use super::tensor::PyTensor;
use crate::base::{Device, Shape};
use crate::ops::random::{DEFAULT_SEED, Generator, default_generator};
use crate::tensor::Tensor;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyInt;
use std::sync::Arc;

/// A stream of random numbers.
#[pyclass(name = "Generator", module = "rustgrad", frozen)]
pub(super) struct PyGenerator(pub(super) Arc<Generator>);

/// A seed: any Python int, taken modulo 2^64.
fn seed_of(seed: &Bound<'_, PyAny>) -> PyResult<u64> {
    let Ok(int) = seed.cast::<PyInt>() else {
        return Err(PyTypeError::new_err(format!(
            "manual_seed expected a long, but got {}",
            seed.get_type().name()?
        )));
    };
    int.call_method1("__and__", (u64::MAX,))?.extract()
}

fn state_tensor(py: Python<'_>, state: (u64, u64)) -> PyResult<Bound<'_, PyAny>> {
    let bytes: Vec<u8> = [state.0, state.1]
        .iter()
        .flat_map(|n| n.to_le_bytes())
        .collect();
    convert::wrap(py, Tensor::from_slice(&bytes, [bytes.len()])?)
}

fn state_of(state: &Bound<'_, PyTensor>) -> PyResult<(u64, u64)> {
    let t = state.get().tensor();
    if t.dtype() != crate::DType::U8 || *t.shape() != Shape::from([16]) {
        return Err(PyRuntimeError::new_err(format!(
            "RNG state must be a uint8 tensor of 16 elements, as get_state() returns, but it is {} of \
             shape {}",
            t.dtype(),
            t.shape()
        )));
    }
    let bytes: Vec<u8> = t.to_vec()?.iter().map(|s| s.as_i64() as u8).collect();
    let word = |i: usize| u64::from_le_bytes(std::array::from_fn(|k| bytes[8 * i + k]));
    Ok((word(0), word(1)))
}

#[pymethods]
impl PyGenerator {
    #[new]
    #[pyo3(signature = (device = None))]
    fn new(device: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        device.map(device_of).transpose()?;
        Ok(Self(Arc::new(Generator::new(DEFAULT_SEED))))
    }

    /// Starts the stream of a seed; returns the generator.
    fn manual_seed<'py>(
        slf: &Bound<'py, Self>,
        seed: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, Self>> {
        slf.get().0.manual_seed(seed_of(seed)?);
        Ok(slf.clone())
    }

    /// Starts the stream of a seed from the clock; returns the seed.
    fn seed(&self) -> u64 {
        self.0.seed()
    }

    /// The seed.
    fn initial_seed(&self) -> u64 {
        self.0.initial_seed()
    }

    /// The state as a uint8 tensor.
    fn get_state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        state_tensor(py, self.0.state())
    }

    /// Returns to a state.
    fn set_state(&self, new_state: &Bound<'_, PyTensor>) -> PyResult<()> {
        self.0.set_state(state_of(new_state)?);
        Ok(())
    }

    #[getter]
    fn device(&self) -> PyDevice {
        PyDevice::new(Device::Cpu)
    }
}

/// Seeds the default generator and returns it.
#[pyfunction]
fn manual_seed(seed: &Bound<'_, PyAny>) -> PyResult<PyGenerator> {
    default_generator().manual_seed(seed_of(seed)?);
    Ok(PyGenerator(default_generator().clone()))
}

/// Seeds the default generator from the clock; returns the seed.
#[pyfunction]
fn seed() -> u64 {
    default_generator().seed()
}

/// The default generator's seed.
#[pyfunction]
fn initial_seed() -> u64 {
    default_generator().initial_seed()
}

/// The default generator's state.
#[pyfunction]
fn get_rng_state(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    state_tensor(py, default_generator().state())
}

/// Returns the default generator to a state.
#[pyfunction]
fn set_rng_state(new_state: &Bound<'_, PyTensor>) -> PyResult<()> {
    default_generator().set_state(state_of(new_state)?);
    Ok(())
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyGenerator>()?;
    m.add(
        "default_generator",
        PyGenerator(default_generator().clone()).into_pyobject(m.py())?,
    )?;
    m.add_function(wrap_pyfunction!(manual_seed, m)?)?;
    m.add_function(wrap_pyfunction!(seed, m)?)?;
    m.add_function(wrap_pyfunction!(initial_seed, m)?)?;
    m.add_function(wrap_pyfunction!(get_rng_state, m)?)?;
    m.add_function(wrap_pyfunction!(set_rng_state, m)?)
}
