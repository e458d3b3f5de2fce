//! `autograd.Function`: an op whose forward and backward the user wrote in Python.
//!
//! The forward runs unrecorded and its results are marked: see NOTE [Tainted intermediates].

use super::convert;
use super::tensor::PyTensor;
use crate::base::{Error, Result};
use crate::engine::forward;
use crate::ops::dispatch;
use crate::tape::node::CustomFunction;
use crate::tape::{
    Body, Edge, GradMode, Node, NodeId, NodeRef, SavedTensor, Site, delayed_error, mode,
};
use crate::tensor::Tensor;
use parking_lot::Mutex;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};
use smallvec::SmallVec;
use std::any::Any;

/// The node of one call of a custom function.
pub(super) struct PyFunctionNode {
    class: Py<PyType>,
    ctx: Py<PyAny>,
    saved: Mutex<Option<Vec<Option<SavedTensor>>>>,
    /// Which arguments of forward were tensors.
    is_tensor: Vec<bool>,
    /// Which outputs of forward were tensors.
    has_gradient: Vec<bool>,
}

impl PyFunctionNode {
    /// The `ctx` object, for the garbage collector.
    pub(super) fn context(&self) -> &Py<PyAny> {
        &self.ctx
    }
}

impl CustomFunction for PyFunctionNode {
    fn name(&self) -> String {
        Python::attach(|py| {
            let name = self
                .class
                .bind(py)
                .name()
                .map_or_else(|_| "?".into(), |n| n.to_string());
            format!("{name}Backward")
        })
    }

    fn backward(&self, node: &NodeRef, grads: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Python::attach(|py| self.call_backward(py, node, grads)).map_err(Error::from)
    }

    fn release(&self) {
        drop(self.saved.lock().take());
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl PyFunctionNode {
    fn call_backward(
        &self,
        py: Python<'_>,
        node: &NodeRef,
        grads: &[Option<Tensor>],
    ) -> PyResult<Vec<Option<Tensor>>> {
        let ctx = self.ctx.bind(py);
        let class = self.class.bind(py);
        let materialize: bool = ctx.getattr(intern!(py, "materialize_grads"))?.extract()?;
        let mut args = vec![ctx.clone()];
        let outputs = node.with(|n| n.outputs.clone());
        for ((grad, meta), has_gradient) in grads.iter().zip(outputs).zip(&self.has_gradient) {
            args.push(match grad {
                Some(g) => convert::wrap(py, g.clone())?,
                None if materialize && *has_gradient => {
                    convert::wrap(py, Tensor::zeros(meta.shape, meta.dtype, meta.device)?)?
                }
                None => py.None().into_bound(py),
            });
        }
        let results = {
            let _mode = GradMode::function_backward();
            class
                .getattr(intern!(py, "backward"))?
                .call1(PyTuple::new(py, args)?)?
        };
        let mut results: Vec<Bound<'_, PyAny>> = match results.cast::<PyTuple>() {
            Ok(tuple) => tuple.iter().collect(),
            Err(_) => vec![results],
        };
        let name = self.name();
        let expected = self.is_tensor.len();
        // Trailing `None`s may be too many: harmless.
        while results.len() > expected && results.last().is_some_and(|r| r.is_none()) {
            results.pop();
        }
        if results.len() != expected {
            return Err(PyRuntimeError::new_err(format!(
                "function {name} returned an incorrect number of gradients (expected {expected}, \
                 got {}): backward returns one gradient for each argument of forward",
                results.len()
            )));
        }
        let (inputs, like) = node.with(|n| (n.inputs.clone(), n.outputs[0].clone()));
        let mut found = Vec::with_capacity(expected);
        for (i, (result, meta)) in results.into_iter().zip(inputs).enumerate() {
            if result.is_none() {
                found.push(None);
                continue;
            }
            let Ok(g) = result.cast::<PyTensor>() else {
                return Err(PyTypeError::new_err(format!(
                    "function {name} returned a {} for argument {i} of forward; expected a Tensor or \
                     None",
                    result.get_type().name()?
                )));
            };
            if !self.is_tensor[i] {
                return Err(PyRuntimeError::new_err(format!(
                    "function {name} returned a gradient different from None at position {}, but the \
                     corresponding forward input was not a Variable",
                    i + 1
                )));
            }
            let g = g.get().tensor();
            let meta = meta.unwrap_or_else(|| like.clone());
            if meta.shape.broadcast(g.shape()).as_ref() != Some(g.shape()) {
                return Err(PyRuntimeError::new_err(format!(
                    "Function {name} returned an invalid gradient at index {i} - got {} but expected \
                     shape compatible with {}",
                    g.shape(),
                    meta.shape
                )));
            }
            found.push(Some(g));
        }
        Ok(found)
    }
}

/// The tensors a `ctx` saved: the link from the context to its node, which it does not keep alive.
#[pyclass(name = "SavedTensors", module = "rustgrad._C", frozen)]
struct PySavedTensors(NodeId);

#[pymethods]
impl PySavedTensors {
    /// The saved tensors, with their history.
    fn unpack<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let node = self.0.upgrade();
        let freed = || {
            PyRuntimeError::new_err(
                "Trying to backward through the graph a second time (or directly access saved \
                 tensors after they have already been freed). Saved intermediate values of the graph \
                 are freed when you call .backward() or autograd.grad(). Specify retain_graph=True \
                 if you need to backward through the graph a second time or if you need to access \
                 saved tensors after calling backward.",
            )
        };
        let node = node.ok_or_else(freed)?;
        let (function, site) = node.with(|n| match &n.body {
            Body::Custom(f) => (Some(f.clone()), n.site),
            _ => (None, n.site),
        });
        let function = function.ok_or_else(freed)?;
        let function = function
            .as_any()
            .downcast_ref::<PyFunctionNode>()
            .ok_or_else(freed)?;
        let saved = function.saved.lock().clone().ok_or_else(freed)?;
        let name = function.name();
        let tensors = saved
            .iter()
            .map(|s| match s {
                Some(s) => {
                    let t = s.unpack(Some(&node), &name, site)?;
                    convert::wrap(py, t.leaf_itself().unwrap_or(t))
                }
                None => Ok(py.None().into_bound(py)),
            })
            .collect::<PyResult<Vec<_>>>()?;
        PyTuple::new(py, tensors)
    }
}

/// Gradients that `ctx`'s backward computed from `cotangents`, with a history that raises `message`
/// when it is differentiated.
#[pyfunction]
fn delay_error<'py>(
    ctx: &Bound<'py, PyAny>,
    cotangents: &Bound<'py, PyTuple>,
    gradients: &Bound<'py, PyAny>,
    message: &str,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let py = ctx.py();
    let mut edges: SmallVec<[Option<Edge>; 2]> = SmallVec::new();
    if let Ok(saved) = ctx.getattr(intern!(py, "_saved"))?.cast::<PySavedTensors>()
        && let Some(node) = saved.get().0.upgrade()
    {
        edges = node.with(|n| n.edges.clone());
    }
    for t in tensors_of(cotangents.as_any())?.iter().flatten() {
        edges.push(t.grad_edge()?);
    }
    tensors_of(gradients)?
        .iter()
        .zip(gradients.try_iter()?)
        .map(|(t, object)| match t {
            Some(t) if t.dtype().is_float() => {
                convert::wrap(py, delayed_error(t, edges.clone(), message.into()))
            }
            _ => object,
        })
        .collect()
}

/// Python objects that are tensors, as tensors.
fn tensors_of(objects: &Bound<'_, PyAny>) -> PyResult<Vec<Option<Tensor>>> {
    if objects.is_none() {
        return Ok(Vec::new());
    }
    objects
        .try_iter()?
        .map(|o| Ok(o?.cast::<PyTensor>().ok().map(|t| t.get().tensor())))
        .collect()
}

/// `Function.apply`: runs the forward, records the node, gives the outputs their history.
#[pyfunction]
#[pyo3(signature = (class, ctx, args, kwargs = None))]
fn apply<'py>(
    class: &Bound<'py, PyType>,
    ctx: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = class.py();
    let inputs = tensors_of(args.as_any())?;
    let recorded = mode::grad_enabled() && inputs.iter().flatten().any(Tensor::requires_grad);
    let dual = mode::open_levels() > 0 && inputs.iter().flatten().any(|t| t.tangents().is_some());
    let needs: Vec<bool> = inputs
        .iter()
        .map(|t| t.as_ref().is_some_and(Tensor::requires_grad))
        .collect();
    ctx.setattr(intern!(py, "needs_input_grad"), PyTuple::new(py, &needs)?)?;
    let versions: Vec<u32> = inputs
        .iter()
        .map(|t| t.as_ref().map_or(0, |t| t.storage().version()))
        .collect();

    let separate: bool = class
        .getattr(intern!(py, "_has_setup_context"))?
        .extract()?;
    let returned = {
        let _mode = GradMode::function_forward();
        let forward = class.getattr(intern!(py, "forward"))?;
        if separate {
            let returned = forward.call(args, kwargs)?;
            class
                .getattr(intern!(py, "setup_context"))?
                .call1((ctx, args, &returned))?;
            returned
        } else {
            let with_ctx = std::iter::once(ctx.clone()).chain(args.iter());
            forward.call(PyTuple::new(py, with_ctx.collect::<Vec<_>>())?, kwargs)?
        }
    };
    let many = returned.cast::<PyTuple>().ok().cloned();
    let objects: Vec<Bound<'py, PyAny>> = match &many {
        Some(tuple) => tuple.iter().collect(),
        None => vec![returned.clone()],
    };
    let dirty = tensors_of(&ctx.getattr(intern!(py, "dirty_tensors"))?)?;
    let constant = tensors_of(&ctx.getattr(intern!(py, "non_differentiable"))?)?;
    let is_in = |list: &[Option<Tensor>], t: &Tensor| list.iter().flatten().any(|d| d.same(t));
    check_dirty(&inputs, &dirty, &versions, &objects)?;

    // What each output will be: the input itself (written in place), or a tensor of its own.
    let mut outputs: Vec<Option<Tensor>> = Vec::with_capacity(objects.len());
    for object in &objects {
        outputs.push(match object.cast::<PyTensor>() {
            Err(_) => None,
            Ok(o) => {
                let t = o.get().tensor();
                if is_in(&inputs, &t) && !is_in(&dirty, &t) {
                    // An input returned as it is: a view of it, which must not be written.
                    Some(t.custom_view())
                } else {
                    // A function may itself run within another one's forward or backward.
                    t.set_tainted(inputs.iter().flatten().any(dispatch::depends));
                    Some(t)
                }
            }
        });
    }
    // The context must not keep outputs: their history keeps the context.
    for marks in [
        intern!(py, "dirty_tensors"),
        intern!(py, "non_differentiable"),
    ] {
        ctx.setattr(marks, py.None())?;
    }
    if recorded || dual {
        let function = PyFunctionNode {
            class: class.clone().unbind(),
            ctx: ctx.clone().unbind(),
            saved: Mutex::new(None),
            is_tensor: inputs.iter().map(Option::is_some).collect(),
            has_gradient: outputs.iter().map(Option::is_some).collect(),
        };
        let mut edges: SmallVec<[Option<Edge>; 2]> = SmallVec::new();
        for t in &inputs {
            edges.push(match t {
                Some(t) if recorded => t.grad_edge()?,
                _ => None,
            });
        }
        let function = std::sync::Arc::new(function);
        let scalar = || crate::tensor::Operand::None.meta();
        let node = NodeRef::new(Node {
            seq: 0,
            body: Body::Custom(function.clone()),
            edges,
            inputs: inputs
                .iter()
                .map(|t| Some(t.as_ref().map_or_else(scalar, Tensor::meta)))
                .collect(),
            outputs: outputs
                .iter()
                .map(|t| t.as_ref().map_or_else(scalar, Tensor::meta))
                .collect(),
            site: Site::current(),
            freed: None,
            retain: None,
        });
        ctx.setattr(
            intern!(py, "_saved"),
            Bound::new(py, PySavedTensors(node.id()))?,
        )?;
        let to_save = tensors_of(&ctx.getattr(intern!(py, "to_save"))?)?;
        ctx.setattr(intern!(py, "to_save"), py.None())?;
        let saved = to_save
            .iter()
            .map(|t| {
                t.as_ref()
                    .map(|t| {
                        // An output is saved without an edge: the edge is the node.
                        let own = objects.iter().position(|o| {
                            o.cast::<PyTensor>().is_ok_and(|o| o.get().tensor().same(t))
                        });
                        match own {
                            Some(i) if !is_in(&inputs, t) && !is_in(&constant, t) => {
                                Ok(SavedTensor::output(t, Some(i as u32)))
                            }
                            _ => SavedTensor::input(t),
                        }
                    })
                    .transpose()
            })
            .collect::<Result<Vec<_>>>()?;
        *function.saved.lock() = Some(saved);
        if recorded {
            for (i, (object, output)) in objects.iter().zip(&outputs).enumerate() {
                let Some(output) = output else { continue };
                let t = object.cast::<PyTensor>()?.get().tensor();
                if is_in(&constant, &t) || !output.dtype().is_float() {
                    continue;
                }
                let edge = Edge {
                    node: node.clone(),
                    output: i as u32,
                };
                if is_in(&dirty, &t) {
                    dispatch::check_writable(&t, true)?;
                    dispatch::write_history(&t, edge)?;
                } else {
                    output.set_history(Some(edge));
                }
            }
        }
        if dual {
            let given: Vec<Tensor> = outputs.iter().flatten().cloned().collect();
            let real: Vec<Tensor> = inputs.iter().flatten().cloned().collect();
            forward::push_custom(&real, &given, &|cotangents| {
                let found = function.backward(&node, cotangents)?;
                Ok(found
                    .into_iter()
                    .zip(&inputs)
                    .filter(|(_, t)| t.is_some())
                    .map(|(g, _)| g)
                    .collect())
            })?;
        }
    }
    let mut finished = Vec::with_capacity(objects.len());
    for (object, output) in objects.iter().zip(outputs) {
        finished.push(match output {
            Some(t) if !object.cast::<PyTensor>()?.get().tensor().same(&t) => convert::wrap(py, t)?,
            _ => object.clone(),
        });
    }
    match many {
        Some(_) => Ok(PyTuple::new(py, finished)?.into_any()),
        None => Ok(finished.swap_remove(0)),
    }
}

/// What was marked dirty must have been an input and be an output; what was written must be marked.
fn check_dirty(
    inputs: &[Option<Tensor>],
    dirty: &[Option<Tensor>],
    versions: &[u32],
    outputs: &[Bound<'_, PyAny>],
) -> PyResult<()> {
    for d in dirty.iter().flatten() {
        let returned = outputs
            .iter()
            .any(|o| o.cast::<PyTensor>().is_ok_and(|o| o.get().tensor().same(d)));
        if !returned {
            return Err(PyRuntimeError::new_err(
                "Some elements marked as dirty during the forward method were not returned as \
                 output. The inputs that are modified inplace must all be outputs of the Function.",
            ));
        }
    }
    for (t, &version) in inputs.iter().zip(versions) {
        let Some(t) = t else { continue };
        let marked = dirty
            .iter()
            .flatten()
            .any(|d| d.storage().same(t.storage()));
        if t.storage().version() != version && !marked {
            return Err(PyRuntimeError::new_err(format!(
                "the forward of a custom function wrote to an input of shape {} in place without \
                 ctx.mark_dirty(): its gradient would be wrong. Mark it and return it, or write to a \
                 clone()",
                t.shape()
            )));
        }
    }
    Ok(())
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PySavedTensors>()?;
    m.add_function(wrap_pyfunction!(apply, m)?)?;
    m.add_function(wrap_pyfunction!(delay_error, m)?)
}
