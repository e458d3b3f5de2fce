//! What watches a program: anomalies, profiles, budgets, guards, and questions about the graph.

use super::dtype::dtype_object;
use super::node::PyNode;
use super::size::size;
use super::tensor::PyTensor;
use crate::base::{DType, Shape};
use crate::engine::anomaly::{self, Checks};
use crate::engine::budget::Budget;
use crate::engine::profile::Profiler;
use crate::ops::observe::{self, Observer};
use crate::tape::{self, CutBy, mode, provenance, saved};
use pyo3::exceptions::PyUserWarning;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use std::sync::Arc;

/// What a thread looked for before it looked for something else.
type Before = Option<(bool, bool, bool, bool)>;

/// Begins to look for anomalies, or ends; returns what was looked for before.
#[pyfunction]
fn set_anomaly_checks(checks: Before) -> Before {
    let checks = checks.map(|(nan, inf, forward, backward)| Checks {
        nan,
        inf,
        forward,
        backward,
    });
    let before = anomaly::set_checks(checks);
    before.map(|c| (c.nan, c.inf, c.forward, c.backward))
}

/// From now on results of ops are looked at.
#[pyfunction]
fn push_anomaly_observer(nan: bool, inf: bool) {
    observe::push(Arc::new(Checks {
        nan,
        inf,
        forward: true,
        backward: false,
    }));
}

/// A tensor's statistics, in a line.
#[pyfunction]
fn statistics(tensor: &Bound<'_, PyTensor>) -> String {
    anomaly::describe(&tensor.get().tensor())
}

/// A budget for the bytes that tensors hold.
#[pyclass(name = "Budget", module = "rustgrad._C", frozen)]
struct PyBudget(Arc<Budget>);

#[pymethods]
impl PyBudget {
    #[new]
    fn new(limit: usize) -> Self {
        Self(Budget::new(limit))
    }

    /// Sets it on this thread.
    fn push(&self) -> PyResult<()> {
        saved::push_hooks(self.0.clone())?;
        observe::push(self.0.clone());
        Ok(())
    }

    /// Evictions, recomputations, and the most bytes held when nothing was left to evict.
    fn account(&self) -> (usize, usize, usize) {
        let account = self.0.account();
        (account.evictions, account.recomputations, account.exceeded)
    }
}

/// Notes the ops that run.
#[pyclass(name = "Profiler", module = "rustgrad._C", frozen)]
struct PyProfiler(Arc<Profiler>);

fn metas<'py>(py: Python<'py>, list: &[(Shape, DType)]) -> PyResult<Bound<'py, PyTuple>> {
    let pairs = list
        .iter()
        .map(|(shape, dtype)| (size(py, shape)?, dtype_object(py, *dtype)).into_pyobject(py));
    PyTuple::new(py, pairs.collect::<PyResult<Vec<_>>>()?)
}

#[pymethods]
impl PyProfiler {
    #[new]
    fn new() -> Self {
        Self(Profiler::new())
    }

    /// Begins to note this thread's ops.
    fn push(&self) {
        observe::push(self.0.clone());
    }

    /// Ends to note them; `False` if it did not note this thread's.
    fn remove(&self) -> bool {
        let observer: Arc<dyn Observer> = self.0.clone();
        observe::remove(&observer)
    }

    /// Nanoseconds since it was made.
    fn now(&self) -> u64 {
        self.0.now()
    }

    /// What was noted since the last call: `(name, begin, end, site, inputs, outputs, live bytes,
    /// node)`, where node is `(number, name, site)` in a backward.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for e in self.0.take() {
            list.append((
                e.name,
                e.begin,
                e.end,
                e.site.0,
                metas(py, &e.inputs)?,
                metas(py, &e.outputs)?,
                e.live_bytes,
                e.node.map(|(seq, name, site)| (seq, name, site.0)),
            ))?;
        }
        Ok(list)
    }
}

/// Sets whether gradients of zero stay zero at infinite slopes; returns what was set before.
#[pyfunction]
fn set_masking(enabled: bool) -> bool {
    let before = mode::masking();
    mode::set_masking(enabled);
    before
}

/// Sets whether saved tensors are saved with a hash; returns what was set before.
#[pyfunction]
fn set_guarding(enabled: bool) -> bool {
    let before = mode::guarding();
    mode::set_guarding(enabled);
    before
}

/// The nodes that are alive, in the order of recording.
#[pyfunction]
fn live_graph(py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
    PyList::new(
        py,
        tape::live_graph()
            .into_iter()
            .map(|n| Bound::new(py, PyNode(n)).expect("a new object")),
    )
}

/// Why a tensor has no history: how it ended, the op, and ` at file:line`; `None` if it never had one.
#[pyfunction]
fn cut_of(tensor: &Bound<'_, PyTensor>) -> Option<(&'static str, Option<&'static str>, String)> {
    let cut = tensor.get().tensor().cut();
    let by = match cut.by()? {
        CutBy::Detach => "detach",
        CutBy::NoGrad => "no_grad",
        CutBy::NotDifferentiable => "not differentiable",
        CutBy::Backward => "backward",
    };
    Some((by, cut.op(), cut.site().at()))
}

fn warn(message: &str) {
    Python::attach(|py| {
        let category = py.get_type::<PyUserWarning>();
        let message = std::ffi::CString::new(message).unwrap_or_default();
        if let Err(e) = PyErr::warn(py, &category, &message, 1) {
            // Warnings that are errors cannot be raised from here.
            e.write_unraisable(py, None);
        }
    });
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    provenance::register_warn(warn);
    m.add_class::<PyBudget>()?;
    m.add_class::<PyProfiler>()?;
    m.add_function(wrap_pyfunction!(set_anomaly_checks, m)?)?;
    m.add_function(wrap_pyfunction!(push_anomaly_observer, m)?)?;
    m.add_function(wrap_pyfunction!(statistics, m)?)?;
    m.add_function(wrap_pyfunction!(set_masking, m)?)?;
    m.add_function(wrap_pyfunction!(set_guarding, m)?)?;
    m.add_function(wrap_pyfunction!(live_graph, m)?)?;
    m.add_function(wrap_pyfunction!(cut_of, m)?)
}
