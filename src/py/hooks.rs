//! Hooks as Python sets them: on gradients that pass, and on tensors that are saved.

use super::convert;
use super::function::PyFunctionNode;
use super::node::PyNode;
use super::tensor::PyTensor;
use crate::base::{Error, Result};
use crate::engine::mutation::CloneBeforeWrite;
use crate::ops;
use crate::tape::hooks::Grad;
use crate::tape::provenance::OUTSIDE;
use crate::tape::saved::{self, Packed, SavedTensorHooks};
use crate::tape::{Body, Hook, NodeRef, Site, When};
use crate::tensor::Tensor;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::any::Any;
use std::cell::RefCell;
use std::sync::Arc;

/// The hooks of one kind at one node: an `OrderedDict`, out of which their handles take them.
struct PyHooks {
    hooks: Py<PyDict>,
    when: When,
}

/// What `Node.metadata` is.
pub(super) struct PyAttachment(pub(super) Py<PyDict>);

impl Hook for PyHooks {
    fn call(&self, node: &NodeRef, grads: &[Grad], outputs: &[Grad]) -> Result<Option<Vec<Grad>>> {
        Python::attach(|py| self.call_all(py, node, grads, outputs)).map_err(Error::from)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl PyHooks {
    fn call_all(
        &self,
        py: Python<'_>,
        node: &NodeRef,
        grads: &[Grad],
        outputs: &[Grad],
    ) -> PyResult<Option<Vec<Grad>>> {
        let hooks = self.hooks.bind(py);
        if hooks.is_empty() {
            return Ok(None);
        }
        if self.when == When::Accumulated {
            if let Some(leaf) = node.leaf().and_then(|leaf| leaf.owner()) {
                let leaf = convert::wrap_leaf(py, leaf)?;
                for hook in hooks.values() {
                    hook.call1((&leaf,))?;
                }
            }
            return Ok(None);
        }
        let mut passing: Option<Vec<Grad>> = None;
        for hook in hooks.values() {
            let grads = passing.as_deref().unwrap_or(grads);
            let result = match self.when {
                When::Output(_) => hook.call1((object(py, &grads[0])?,))?,
                When::Before => hook.call1((tuple(py, grads)?,))?,
                _ => hook.call1((tuple(py, grads)?, tuple(py, outputs)?))?,
            };
            if !result.is_none() {
                let result = self.replacement(&hook, &result, node, grads.len())?;
                passing = Some(result);
            }
        }
        Ok(passing)
    }

    /// What a hook returned, as gradients.
    fn replacement(
        &self,
        hook: &Bound<'_, PyAny>,
        result: &Bound<'_, PyAny>,
        node: &NodeRef,
        n: usize,
    ) -> PyResult<Vec<Grad>> {
        let wrong = |found: &Bound<'_, PyAny>, expected: &str| {
            let py = found.py();
            let name = hook
                .getattr(intern!(py, "__name__"))
                .map_or_else(|_| "hook".to_owned(), |n| n.to_string());
            let found = found
                .get_type()
                .name()
                .map_or_else(|_| "?".into(), |n| n.to_string());
            PyTypeError::new_err(format!(
                "hook '{name}' of {} has returned an incorrect type (got '{found}', but expected \
                 {expected})",
                node.name()
            ))
        };
        let gradient = |item: &Bound<'_, PyAny>| match item.cast::<PyTensor>() {
            Ok(t) => Ok(Some(t.get().tensor())),
            Err(_) if item.is_none() => Ok(None),
            Err(_) => Err(wrong(item, "a Tensor or None")),
        };
        if let Ok(items) = result.cast::<PyTuple>()
            && !matches!(self.when, When::Output(_))
        {
            if items.len() != n {
                return Err(PyRuntimeError::new_err(format!(
                    "a hook of {} has returned an incorrect number of values (got {}, but expected \
                     {n})",
                    node.name(),
                    items.len()
                )));
            }
            return items.iter().map(|item| gradient(&item)).collect();
        }
        if n == 1 && result.is_instance_of::<PyTensor>() {
            return Ok(vec![gradient(result)?]);
        }
        Err(wrong(
            result,
            match self.when {
                When::Output(_) => "a Tensor or None",
                _ => "a tuple or None",
            },
        ))
    }
}

fn object<'py>(py: Python<'py>, grad: &Grad) -> PyResult<Bound<'py, PyAny>> {
    match grad {
        Some(g) => convert::wrap(py, g.clone()),
        None => Ok(py.None().into_bound(py)),
    }
}

fn tuple<'py>(py: Python<'py>, grads: &[Grad]) -> PyResult<Bound<'py, PyTuple>> {
    let objects = grads.iter().map(|g| object(py, g));
    PyTuple::new(py, objects.collect::<PyResult<Vec<_>>>()?)
}

/// The dictionary of the hooks of one kind at a node, made at its first use.
fn dictionary<'py>(py: Python<'py>, node: &NodeRef, when: When) -> PyResult<Bound<'py, PyDict>> {
    let known = node.with(|n| {
        let calls = n.hooks.as_deref().map_or(&[][..], |h| &h.calls);
        let of_kind = calls.iter().filter(|(w, _)| *w == when);
        of_kind
            .filter(|(_, hook)| hook.as_any().is::<PyHooks>())
            .map(|(_, hook)| hook.clone())
            .next()
    });
    if let Some(known) = known
        && let Some(hooks) = known.as_any().downcast_ref::<PyHooks>()
    {
        return Ok(hooks.hooks.bind(py).clone());
    }
    let dict = py
        .import("collections")?
        .getattr("OrderedDict")?
        .call0()?
        .cast_into::<PyDict>()?;
    let hooks = dict.clone().unbind();
    node.add_hook(when, Arc::new(PyHooks { hooks, when }));
    Ok(dict)
}

/// Adds a hook, and returns the `RemovableHandle` that takes it out again.
pub(super) fn add<'py>(
    py: Python<'py>,
    node: &NodeRef,
    when: When,
    hook: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    if !hook.is_callable() {
        return Err(PyTypeError::new_err(format!(
            "a hook must be callable, not {}",
            hook.get_type().name()?
        )));
    }
    let dict = dictionary(py, node, when)?;
    py.import("rustgrad.utils.hooks")?
        .getattr(intern!(py, "register"))?
        .call1((dict, hook))
}

/// Visits what Python's objects a node owns, for the garbage collector.
pub(super) fn traverse(node: &NodeRef, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
    let (function, hooks) = node.with(|n| {
        let function = match &n.body {
            Body::Custom(f) => Some(f.clone()),
            _ => None,
        };
        (function, n.hooks.as_deref().cloned())
    });
    if let Some(function) = function
        && let Some(f) = function.as_any().downcast_ref::<PyFunctionNode>()
    {
        visit.call(f.context())?;
    }
    let Some(hooks) = hooks else {
        return Ok(());
    };
    for (_, hook) in &hooks.calls {
        if let Some(hook) = hook.as_any().downcast_ref::<PyHooks>() {
            visit.call(&hook.hooks)?;
        }
    }
    match hooks
        .host
        .as_deref()
        .and_then(|h| h.downcast_ref::<PyAttachment>())
    {
        Some(attachment) => visit.call(&attachment.0),
        None => Ok(()),
    }
}

/// `Tensor.register_hook`.
#[pyfunction]
fn register_tensor_hook<'py>(
    tensor: &Bound<'py, PyTensor>,
    hook: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let edge = tensor.get().tensor().hooked_edge()?;
    add(tensor.py(), &edge.node, When::Output(edge.output), hook)
}

/// `Tensor.register_post_accumulate_grad_hook`.
#[pyfunction]
fn register_accumulate_hook<'py>(
    tensor: &Bound<'py, PyTensor>,
    hook: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let node = tensor.get().tensor().hooked_accumulator()?;
    add(tensor.py(), &node, When::Accumulated, hook)
}

/// Views of all of `tensors`, and the one node that their gradients pass; `None` where nothing is
/// recorded.
#[pyfunction]
fn gate<'py>(
    py: Python<'py>,
    tensors: &Bound<'py, PyAny>,
) -> PyResult<(Bound<'py, PyTuple>, Option<PyNode>)> {
    let (views, node) = ops::gate::gate(&convert::tensors(tensors, "tensors")?)?;
    let objects = views.into_iter().map(|t| convert::wrap(py, t));
    let objects = PyTuple::new(py, objects.collect::<PyResult<Vec<_>>>()?)?;
    Ok((objects, node.map(PyNode)))
}

/// Where the gradient of a tensor goes: a node, and the number of its output.
#[pyfunction]
fn gradient_edge(tensor: &Bound<'_, PyTensor>) -> PyResult<(PyNode, u32)> {
    let t = tensor.get().tensor();
    let edge = t.grad_edge()?.ok_or_else(|| {
        PyRuntimeError::new_err(
            "It is not possible to get the gradient edge for a Tensor that does \
             not require gradients",
        )
    })?;
    Ok((PyNode(edge.node), edge.output))
}

/// A pair of functions for tensors that are saved.
struct PySavedHooks {
    pack: Py<PyAny>,
    unpack: Arc<Py<PyAny>>,
}

/// What the first of them returned, and the second.
struct PyPacked {
    object: Py<PyAny>,
    unpack: Arc<Py<PyAny>>,
}

thread_local! {
    /// The op that is saving a tensor.
    static SAVING: RefCell<String> = const { RefCell::new(String::new()) };
}

impl SavedTensorHooks for PySavedHooks {
    fn pack(&self, t: &Tensor, name: &str) -> Result<Arc<dyn Packed>> {
        let object = Python::attach(|py| {
            // A handle of the history would let the node reach itself once the tensor is written.
            let t = if t.is_leaf() { t.clone() } else { t.detach() };
            SAVING.set(name.to_owned());
            self.pack
                .bind(py)
                .call1((convert::wrap_leaf(py, t)?,))
                .map(Bound::unbind)
        })?;
        let unpack = self.unpack.clone();
        Ok(Arc::new(PyPacked { object, unpack }))
    }
}

impl Packed for PyPacked {
    fn unpack(&self) -> Result<Tensor> {
        Python::attach(|py| {
            let t = self.unpack.bind(py).call1((&self.object,))?;
            match t.cast::<PyTensor>() {
                Ok(t) => Ok(t.get().tensor()),
                Err(_) => Err(PyTypeError::new_err(format!(
                    "Output of saved tensor unpack_hook expected to be a Tensor but got result of \
                     type {}",
                    t.get_type().name()?
                ))),
            }
        })
        .map_err(Error::from)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[pyfunction]
fn push_saved_tensors_hooks(pack: Py<PyAny>, unpack: Py<PyAny>) -> PyResult<()> {
    let unpack = Arc::new(unpack);
    Ok(saved::push_hooks(Arc::new(PySavedHooks { pack, unpack }))?)
}

/// Hooks under which saved tensors may be written.
#[pyfunction]
fn push_mutation_hooks() -> PyResult<()> {
    Ok(saved::push_hooks(CloneBeforeWrite::new())?)
}

/// Counts a write that the engine could not see.
#[pyfunction]
fn increment_version(tensor: &Bound<'_, PyTensor>) {
    let t = tensor.get().tensor();
    t.storage().bump(OUTSIDE, Site::current().0);
}

#[pyfunction]
fn pop_saved_tensors_hooks() {
    drop(saved::pop_hooks());
}

/// Disables hooks for saved tensors with a message, or enables them; returns the message before.
#[pyfunction]
fn disable_saved_tensors_hooks(message: Option<String>) -> PyResult<Option<String>> {
    Ok(saved::disable_hooks(message)?)
}

/// The op that saves the tensor which a pack hook sees.
#[pyfunction]
fn saving_op() -> String {
    SAVING.with_borrow(Clone::clone)
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(register_tensor_hook, m)?)?;
    m.add_function(wrap_pyfunction!(register_accumulate_hook, m)?)?;
    m.add_function(wrap_pyfunction!(gate, m)?)?;
    m.add_function(wrap_pyfunction!(gradient_edge, m)?)?;
    m.add_function(wrap_pyfunction!(push_saved_tensors_hooks, m)?)?;
    m.add_function(wrap_pyfunction!(push_mutation_hooks, m)?)?;
    m.add_function(wrap_pyfunction!(increment_version, m)?)?;
    m.add_function(wrap_pyfunction!(pop_saved_tensors_hooks, m)?)?;
    m.add_function(wrap_pyfunction!(disable_saved_tensors_hooks, m)?)?;
    m.add_function(wrap_pyfunction!(saving_op, m)?)
}
