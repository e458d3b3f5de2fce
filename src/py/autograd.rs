//! The engine as Python sees it: nodes, `backward`, `grad`, dual numbers.

use super::convert;
use super::tensor::PyTensor;
use crate::engine::{self, Grads, forward};
use crate::tape::{NodeRef, mode};
use crate::tensor::Tensor;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// A node of the graph: what `tensor.grad_fn` is.
#[pyclass(name = "Node", module = "rustgrad.autograd.graph", frozen, weakref)]
pub(super) struct PyNode(pub(super) NodeRef);

#[pymethods]
impl PyNode {
    /// The node's name: `MulBackward0`.
    fn name(&self) -> String {
        self.0.name()
    }

    /// For each input, the node and output its gradient goes to; `(None, 0)` where none does.
    #[getter]
    fn next_functions<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let edges: Vec<_> = self.0.with(|n| n.edges.iter().cloned().collect());
        let pairs = edges
            .into_iter()
            .map(|e| {
                let (node, output) = match e {
                    Some(e) => (Some(Bound::new(py, PyNode(e.node))?), e.output),
                    None => (None, 0),
                };
                (node, output).into_pyobject(py)
            })
            .collect::<PyResult<Vec<_>>>()?;
        PyTuple::new(py, pairs)
    }

    /// The leaf that an accumulator adds to.
    #[getter]
    fn variable<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.0.leaf().and_then(|leaf| leaf.owner()) {
            Some(t) => convert::wrap(py, t).map(Some),
            None => Ok(None),
        }
    }

    /// `file:line` of the call that made the node, when it is known.
    #[getter]
    fn site(&self) -> Option<String> {
        self.0.with(|n| n.site).describe()
    }

    /// Position in the order of recording.
    fn _sequence_nr(&self) -> u64 {
        self.0.with(|n| n.seq)
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other
            .cast::<PyNode>()
            .is_ok_and(|o| o.get().0.id() == self.0.id())
    }

    fn __hash__(&self) -> u64 {
        self.0.with(|n| n.seq)
    }

    fn __repr__(&self) -> String {
        format!("<{}>", self.0.name())
    }
}

/// `None`, a tensor, or a sequence of both, as one cotangent an output.
fn cotangents(value: Option<&Bound<'_, PyAny>>, n: usize) -> PyResult<Vec<Option<Tensor>>> {
    let Some(value) = value else {
        return Ok(vec![None; n]);
    };
    if let Ok(t) = value.cast::<PyTensor>() {
        return Ok(vec![Some(t.get().tensor())]);
    }
    value
        .try_iter()?
        .map(|item| {
            let item = item?;
            match item.cast::<PyTensor>() {
                Ok(t) => Ok(Some(t.get().tensor())),
                Err(_) if item.is_none() => Ok(None),
                Err(_) => Err(PyTypeError::new_err(format!(
                    "gradients can be either Tensors or None, but got {}",
                    item.get_type().name()?
                ))),
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
    let outputs = convert::tensors(tensors, "tensors")?;
    let grads = cotangents(grad_tensors, outputs.len())?;
    let inputs = inputs.map(|i| convert::tensors(i, "inputs")).transpose()?;
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
    let outputs = convert::tensors(outputs, "outputs")?;
    let inputs = convert::tensors(inputs, "inputs")?;
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
    m.add_function(wrap_pyfunction!(enter_dual_level, m)?)?;
    m.add_function(wrap_pyfunction!(exit_dual_level, m)?)?;
    m.add_function(wrap_pyfunction!(is_dual_level_open, m)?)?;
    m.add_function(wrap_pyfunction!(make_dual, m)?)?;
    m.add_function(wrap_pyfunction!(unpack_dual, m)?)
}
