//! What checkpointing needs of the core: saved tensors as objects, results that are kept.

use super::convert;
use super::tensor::PyTensor;
use crate::base::Error;
use crate::engine::recompute::{Keeper, Kept, Replayer};
use crate::ops::observe;
use crate::tape::{SavedTensor, Site};
use pyo3::prelude::*;
use std::sync::Arc;

/// A tensor as a node would save it: through the hooks that are set, with its version and history.
#[pyclass(name = "SavedTensor", module = "rustgrad._C", frozen)]
struct PySavedTensor {
    saved: SavedTensor,
    name: String,
    site: Site,
}

#[pymethods]
impl PySavedTensor {
    /// Saves `tensor` in the name of `by`, which messages mention.
    #[new]
    fn new(tensor: &Bound<'_, PyTensor>, by: &str) -> PyResult<Self> {
        let t = tensor.get().tensor();
        Ok(Self {
            saved: SavedTensor::input(&t, t.grad_edge()?, by)?,
            name: by.to_owned(),
            site: Site::current(),
        })
    }

    /// The tensor with its history; a leaf itself.
    fn unpack<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        convert::wrap_leaf(py, self.saved.unpack(None, &self.name, self.site)?)
    }
}

/// The calls of a forward, with the results of those that are kept.
#[pyclass(name = "Kept", module = "rustgrad._C", frozen)]
struct PyKept(Arc<Kept>);

#[pymethods]
impl PyKept {
    #[new]
    fn new() -> Self {
        Self(Arc::default())
    }

    /// Bytes of what is kept.
    #[getter]
    fn nbytes(&self) -> usize {
        self.0.bytes()
    }
}

/// From now on results are kept for which `policy(op, *inputs)` is true; without a policy, those of
/// ops that are expensive.
#[pyfunction]
fn push_keeper(kept: &Bound<'_, PyKept>, policy: Option<Py<PyAny>>) {
    let policy = match policy {
        None => Keeper::heavy(),
        Some(policy) => Box::new(move |call: &crate::ops::def::Call| {
            Python::attach(|py| {
                let mut args = vec![call.op.exported_name().into_pyobject(py)?.into_any()];
                for t in call.tensors() {
                    args.push(convert::wrap(py, t.detach())?);
                }
                let args = pyo3::types::PyTuple::new(py, args)?;
                policy.bind(py).call1(args)?.is_truthy()
            })
            .map_err(Error::from)
        }) as _,
    };
    observe::push(Keeper::new(kept.get().0.clone(), policy));
}

/// From now on calls get the results that are kept for them.
#[pyfunction]
fn push_replayer(kept: &Bound<'_, PyKept>) {
    observe::push(Replayer::new(kept.get().0.clone()));
}

/// Takes back what was pushed last.
#[pyfunction]
fn pop_observer() {
    drop(observe::pop());
}

/// A number for the line of the user's program that is running.
#[pyfunction]
fn current_site() -> u32 {
    Site::current().0
}

/// ` at file:line` of such a number, or nothing.
#[pyfunction]
fn describe_site(site: u32) -> String {
    Site(site).at()
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PySavedTensor>()?;
    m.add_class::<PyKept>()?;
    m.add_function(wrap_pyfunction!(push_keeper, m)?)?;
    m.add_function(wrap_pyfunction!(push_replayer, m)?)?;
    m.add_function(wrap_pyfunction!(pop_observer, m)?)?;
    m.add_function(wrap_pyfunction!(current_site, m)?)?;
    m.add_function(wrap_pyfunction!(describe_site, m)?)
}
