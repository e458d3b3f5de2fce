//! The engine as Python sees it: `backward`, `grad`, dual numbers.

use super::convert;
use super::node::PyNode;
use super::tensor::PyTensor;
use crate::base::Result;
use crate::engine::task::Task;
use crate::engine::{self, Endpoint, Grads, forward};
use crate::tape::{Edge, Meta, NodeId, mode};
use crate::tensor::Tensor;
use pyo3::exceptions::{PyIndexError, PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// A tensor, or a `GradientEdge`: a node and the number of an output.
enum Place {
    Tensor(Tensor),
    Edge(Edge),
}

impl Endpoint for Place {
    fn edge(&self) -> Result<Option<Edge>> {
        match self {
            Place::Tensor(t) => t.edge(),
            Place::Edge(e) => e.edge(),
        }
    }

    fn meta(&self) -> Meta {
        match self {
            Place::Tensor(t) => t.meta(),
            Place::Edge(e) => e.meta(),
        }
    }

    fn tensor(&self) -> Option<&Tensor> {
        match self {
            Place::Tensor(t) => Some(t),
            Place::Edge(_) => None,
        }
    }
}

/// One place or a sequence of them.
fn places(value: &Bound<'_, PyAny>, name: &str) -> PyResult<Vec<Place>> {
    if let Some(place) = place(value)? {
        return Ok(vec![place]);
    }
    let wrong = |item: &Bound<'_, PyAny>| {
        PyTypeError::new_err(format!(
            "{name} must be tensors or gradient edges, not {}",
            item.get_type()
                .name()
                .map_or_else(|_| "?".into(), |n| n.to_string())
        ))
    };
    value
        .try_iter()
        .map_err(|_| wrong(value))?
        .map(|item| {
            let item = item?;
            place(&item)?.ok_or_else(|| wrong(&item))
        })
        .collect()
}

fn place(value: &Bound<'_, PyAny>) -> PyResult<Option<Place>> {
    if let Ok(t) = value.cast::<PyTensor>() {
        return Ok(Some(Place::Tensor(t.get().tensor())));
    }
    // A `GradientEdge` is a tuple that begins with a node.
    let Ok(tuple) = value.cast::<PyTuple>() else {
        return Ok(None);
    };
    let Some(Ok(node)) = tuple.get_item(0).ok().map(|n| n.cast_into::<PyNode>()) else {
        return Ok(None);
    };
    let node = node.get().0.clone();
    let output: u32 = tuple.get_item(1)?.extract()?;
    let outputs = node.with(|n| n.outputs.len());
    if output as usize >= outputs {
        return Err(PyIndexError::new_err(format!(
            "{} has {outputs} outputs: there is no output {output}",
            node.name()
        )));
    }
    Ok(Some(Place::Edge(Edge { node, output })))
}

/// `None`, a tensor, or a sequence of both, as one cotangent an output.
fn cotangents(value: Option<&Bound<'_, PyAny>>, n: usize) -> PyResult<Vec<Option<Tensor>>> {
    let Some(value) = value else {
        return Ok(vec![None; n]);
    };
    if let Ok(t) = value.cast::<PyTensor>() {
        return Ok(vec![Some(t.get().tensor())]);
    }
    let wrong = |item: &Bound<'_, PyAny>| {
        PyTypeError::new_err(format!(
            "gradients can be either Tensors or None, but got {}",
            convert::type_name(item)
        ))
    };
    value
        .try_iter()
        .map_err(|_| wrong(value))?
        .map(|item| {
            let item = item?;
            match item.cast::<PyTensor>() {
                Ok(t) => Ok(Some(t.get().tensor())),
                Err(_) if item.is_none() => Ok(None),
                Err(_) => Err(wrong(&item)),
            }
        })
        .collect()
}

#[pyfunction]
#[pyo3(signature = (tensors, grad_tensors, retain_graph, create_graph, inputs))]
fn backward(
    tensors: &Bound<'_, PyAny>,
    grad_tensors: Option<&Bound<'_, PyAny>>,
    retain_graph: Option<bool>,
    create_graph: bool,
    inputs: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let outputs = places(tensors, "tensors")?;
    let grads = cotangents(grad_tensors, outputs.len())?;
    let inputs = inputs.map(|i| places(i, "inputs")).transpose()?;
    let how = Grads {
        retain_graph: retain_graph.unwrap_or(create_graph),
        create_graph,
    };
    Ok(engine::backward(&outputs, &grads, inputs.as_deref(), how)?)
}

#[pyfunction]
#[pyo3(signature = (outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused))]
fn grad<'py>(
    py: Python<'py>,
    outputs: &Bound<'py, PyAny>,
    inputs: &Bound<'py, PyAny>,
    grad_outputs: Option<&Bound<'py, PyAny>>,
    retain_graph: Option<bool>,
    create_graph: bool,
    allow_unused: bool,
) -> PyResult<Bound<'py, PyTuple>> {
    let outputs = places(outputs, "outputs")?;
    let inputs = places(inputs, "inputs")?;
    let grads = cotangents(grad_outputs, outputs.len())?;
    let how = Grads {
        retain_graph: retain_graph.unwrap_or(create_graph),
        create_graph,
    };
    let found = engine::grad(&outputs, &grads, &inputs, allow_unused, how)?;
    let found = found
        .into_iter()
        .map(|g| match g {
            Some(g) => convert::wrap(py, g),
            None => Ok(py.None().into_bound(py)),
        })
        .collect::<PyResult<Vec<_>>>()?;
    PyTuple::new(py, found)
}

/// A number for the backward pass that is under way on this thread; -1 outside of one.
#[pyfunction]
fn _current_graph_task_id() -> i64 {
    Task::current().map_or(-1, |task| task.id() as i64)
}

/// A node that is not kept alive: for hooks, which their own node must not reach.
#[pyclass(name = "WeakNode", module = "rustgrad._C", frozen)]
struct PyWeakNode(NodeId);

/// The node to which a tensor's gradient goes, not kept alive.
#[pyfunction]
fn weak_node(tensor: &Bound<'_, PyTensor>) -> PyResult<PyWeakNode> {
    Ok(PyWeakNode(tensor.get().tensor().hooked_edge()?.node.id()))
}

/// Whether the backward pass that is under way computes the gradient of a node's outputs.
#[pyfunction]
fn _will_engine_execute_node(node: &Bound<'_, PyAny>) -> PyResult<bool> {
    let node = match node.cast::<PyWeakNode>() {
        Ok(weak) => weak.get().0.upgrade(),
        Err(_) => Some(node.cast::<PyNode>()?.get().0.clone()),
    };
    let task = Task::current().ok_or_else(|| {
        PyRuntimeError::new_err(
            "_will_engine_execute_node can only be called while a backward pass is under way",
        )
    })?;
    Ok(node.is_some_and(|node| task.reaches(&node)))
}

#[pyfunction]
fn enter_dual_level() -> u32 {
    forward::enter_level()
}

#[pyfunction]
fn exit_dual_level(level: u32) {
    forward::exit_level(level);
}

#[pyfunction]
fn is_dual_level_open(level: u32) -> bool {
    mode::is_open(level)
}

#[pyfunction]
fn make_dual<'py>(
    primal: &Bound<'py, PyTensor>,
    tangent: &Bound<'py, PyTensor>,
    level: u32,
) -> PyResult<Bound<'py, PyAny>> {
    let dual = forward::make_dual(&primal.get().tensor(), &tangent.get().tensor(), level)?;
    convert::wrap(primal.py(), dual)
}

/// Hides the levels that are open now, or shows them again; returns whether they were hidden.
#[pyfunction]
fn hide_dual_levels(hide: bool) -> bool {
    mode::hide_levels(hide)
}

/// The primal (without this level's tangent) and the tangent, or `None` for no tangent.
#[pyfunction]
fn unpack_dual<'py>(
    dual: &Bound<'py, PyTensor>,
    level: u32,
) -> PyResult<(Bound<'py, PyAny>, Option<Bound<'py, PyAny>>)> {
    let py = dual.py();
    let t = dual.get().tensor();
    let tangent = t.tangent(level).map(|t| convert::wrap(py, t)).transpose()?;
    Ok((convert::wrap(py, t.below(level)?)?, tangent))
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(backward, m)?)?;
    m.add_function(wrap_pyfunction!(grad, m)?)?;
    m.add_class::<PyWeakNode>()?;
    m.add_function(wrap_pyfunction!(weak_node, m)?)?;
    m.add_function(wrap_pyfunction!(_current_graph_task_id, m)?)?;
    m.add_function(wrap_pyfunction!(_will_engine_execute_node, m)?)?;
    m.add_function(wrap_pyfunction!(enter_dual_level, m)?)?;
    m.add_function(wrap_pyfunction!(exit_dual_level, m)?)?;
    m.add_function(wrap_pyfunction!(is_dual_level_open, m)?)?;
    m.add_function(wrap_pyfunction!(hide_dual_levels, m)?)?;
    m.add_function(wrap_pyfunction!(make_dual, m)?)?;
    m.add_function(wrap_pyfunction!(unpack_dual, m)?)
}
