//! `autograd.Function`: an op whose forward and backward the user wrote in Python.
//!
//! The forward runs unrecorded and its results are marked: see NOTE [Tainted intermediates].

use super::convert;
use super::tensor::PyTensor;
use crate::base::{Error, Result};
use crate::engine::{self, forward};
use crate::ops::{in_place, taint, writable};
use crate::tape::node::CustomFunction;
use crate::tape::provenance::writer_name;
use crate::tape::{Body, Edge, GradMode, NodeId, NodeRef, SavedTensor, Site, delayed_error, mode};
use crate::tensor::{Operand, Tensor};
use parking_lot::Mutex;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};
use smallvec::SmallVec;
use std::any::Any;
use std::sync::Arc;

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

    fn saved(&self) -> Vec<Option<SavedTensor>> {
        self.saved.lock().clone().unwrap_or_default()
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
        let argument = |i| argument_name(class, i);
        let expected = self.is_tensor.len();
        // Trailing `None`s may be too many: harmless.
        while results.len() > expected && results.last().is_some_and(|r| r.is_none()) {
            results.pop();
        }
        if results.len() != expected {
            return Err(PyRuntimeError::new_err(format!(
                "function {name} returned an incorrect number of gradients (expected {expected}, \
                 got {}): backward returns one gradient for each argument of {}, and None where there is \
                 none",
                results.len(),
                class
                    .call_method0(intern!(py, "_forward_name"))
                    .map_or_else(|_| "forward".into(), |n| n.to_string())
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
                    "function {name} returned a {} as the gradient of {}; expected a Tensor or None",
                    result.get_type().name()?,
                    argument(i)
                )));
            };
            if !self.is_tensor[i] {
                return Err(PyRuntimeError::new_err(format!(
                    "function {name} returned a gradient different from None at position {}, but the \
                     corresponding forward input was not a Variable: {} was no tensor. Return None there",
                    i + 1,
                    argument(i)
                )));
            }
            let g = g.get().tensor();
            let meta = meta.unwrap_or_else(|| like.clone());
            if meta.shape.broadcast(g.shape()).as_ref() != Some(g.shape()) {
                return Err(PyRuntimeError::new_err(format!(
                    "Function {name} returned an invalid gradient at index {i} - got {} but expected \
                     shape compatible with {}, the shape of {}",
                    g.shape(),
                    meta.shape,
                    argument(i)
                )));
            }
            if g.device() != meta.device {
                return Err(PyRuntimeError::new_err(format!(
                    "Function {name} returned an invalid gradient at index {i} - expected device {} \
                     but got {}: {} is there. Move the gradient with to()",
                    meta.device,
                    g.device(),
                    argument(i)
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
        let freed = || match node.with(|n| n.freed) {
            Some(by) => engine::freed_error(&node, site, by).into(),
            None => freed(),
        };
        let saved = function.saved.lock().clone().ok_or_else(freed)?;
        let name = function.name();
        let tensors = saved
            .iter()
            .map(|s| match s {
                Some(s) => {
                    let t = s.unpack(Some(&node), &name, site)?;
                    convert::wrap_leaf(py, t)
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
    let needs = |t: &Option<Tensor>| t.as_ref().is_some_and(Tensor::requires_grad);
    let needs: Vec<bool> = inputs.iter().map(needs).collect();
    let recorded = mode::grad_enabled() && needs.contains(&true);
    let dual = mode::open_levels() > 0 && inputs.iter().flatten().any(|t| t.tangents().is_some());
    ctx.setattr(intern!(py, "needs_input_grad"), PyTuple::new(py, &needs)?)?;
    let version = |t: &Option<Tensor>| t.as_ref().map_or(0, |t| t.storage().version());
    let versions: Vec<u32> = inputs.iter().map(version).collect();
    // The history of a view changes when forward writes it.
    let edge = |t: &Option<Tensor>| match t {
        Some(t) if recorded => t.grad_edge(),
        _ => Ok(None),
    };
    let edges = inputs.iter().map(edge).collect::<Result<_>>()?;
    let returned = call_forward(class, ctx, args, kwargs)?;
    let many = returned.cast::<PyTuple>().ok().cloned();
    let objects: Vec<Bound<'py, PyAny>> = match &many {
        Some(tuple) => tuple.iter().collect(),
        None => vec![returned],
    };
    let dirty = tensors_of(&ctx.getattr(intern!(py, "dirty_tensors"))?)?;
    let constant = tensors_of(&ctx.getattr(intern!(py, "non_differentiable"))?)?;
    check_dirty(class, &inputs, &dirty, &versions, &objects)?;
    for t in dirty.iter().flatten() {
        writable::check(t, recorded).map_err(|e| e.in_op(&class_name(class)))?;
    }
    // The context must not keep outputs: their history keeps the context.
    for marks in [
        intern!(py, "dirty_tensors"),
        intern!(py, "non_differentiable"),
    ] {
        ctx.setattr(marks, py.None())?;
    }
    let outputs = objects
        .iter()
        .map(|o| Some(output_of(o.cast::<PyTensor>().ok()?, &inputs, &dirty)))
        .collect();
    let call = Application {
        class,
        ctx,
        inputs,
        edges,
        objects,
        outputs,
        dirty,
        constant,
    };
    if recorded || dual {
        let (function, node) = call.make_node()?;
        call.save(&function, &node)?;
        if recorded {
            call.give_history(&node)?;
        }
        if dual {
            call.push_tangents(&function, &node)?;
        }
    }
    let mut results = call.results()?;
    match many {
        Some(_) => Ok(PyTuple::new(py, results)?.into_any()),
        None => Ok(results.swap_remove(0)),
    }
}

/// Runs `forward`, and `setup_context` where there is one, unrecorded.
fn call_forward<'py>(
    class: &Bound<'py, PyType>,
    ctx: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = class.py();
    let separate: bool = class
        .getattr(intern!(py, "_has_setup_context"))?
        .extract()?;
    let _mode = GradMode::function_forward();
    let forward = class.getattr(intern!(py, "forward"))?;
    if !separate {
        let with_ctx = std::iter::once(ctx.clone()).chain(args.iter());
        return forward.call(PyTuple::new(py, with_ctx.collect::<Vec<_>>())?, kwargs);
    }
    let returned = forward.call(args, kwargs)?;
    class
        .getattr(intern!(py, "setup_context"))?
        .call1((ctx, args, &returned))?;
    Ok(returned)
}

fn is_in(list: &[Option<Tensor>], t: &Tensor) -> bool {
    list.iter().flatten().any(|other| other.same(t))
}

/// What a returned tensor will be: itself, or for an input that was returned as it is, a view of it
/// that must not be written.
fn output_of(
    object: &Bound<'_, PyTensor>,
    inputs: &[Option<Tensor>],
    dirty: &[Option<Tensor>],
) -> Tensor {
    let t = object.get().tensor();
    if is_in(inputs, &t) && !is_in(dirty, &t) {
        return t.custom_view();
    }
    // A function may itself run within another one's forward or backward.
    let tainted = inputs.iter().flatten().any(taint::depends);
    t.set_tainted(tainted);
    if let Some(view) = t.view_info() {
        // Writing the view has marked its base.
        view.base.set_tainted(tainted);
    }
    t
}

/// One call of a custom function, after its forward.
struct Application<'a, 'py> {
    class: &'a Bound<'py, PyType>,
    ctx: &'a Bound<'py, PyAny>,
    inputs: Vec<Option<Tensor>>,
    /// Where the gradients of the inputs go.
    edges: SmallVec<[Option<Edge>; 2]>,
    /// What forward returned.
    objects: Vec<Bound<'py, PyAny>>,
    /// What the tensors among that will be.
    outputs: Vec<Option<Tensor>>,
    dirty: Vec<Option<Tensor>>,
    constant: Vec<Option<Tensor>>,
}

impl<'py> Application<'_, 'py> {
    fn make_node(&self) -> PyResult<(Arc<PyFunctionNode>, NodeRef)> {
        let function = Arc::new(PyFunctionNode {
            class: self.class.clone().unbind(),
            ctx: self.ctx.clone().unbind(),
            saved: Mutex::new(None),
            is_tensor: self.inputs.iter().map(Option::is_some).collect(),
            has_gradient: self.outputs.iter().map(Option::is_some).collect(),
        });
        let meta = |t: &Option<Tensor>| match t {
            Some(t) => t.meta(),
            None => Operand::None.meta(),
        };
        let edges = self.edges.clone();
        let site = Site::current();
        let node = NodeRef::new(|n| {
            n.body = Body::Custom(function.clone());
            n.edges = edges;
            n.inputs.extend(self.inputs.iter().map(|t| Some(meta(t))));
            n.outputs.extend(self.outputs.iter().map(meta));
            n.site = site;
        });
        Ok((function, node))
    }

    /// Keeps what `save_for_backward` was given.
    fn save(&self, function: &PyFunctionNode, node: &NodeRef) -> PyResult<()> {
        let py = self.ctx.py();
        let link = Bound::new(py, PySavedTensors(node.id()))?;
        self.ctx.setattr(intern!(py, "_saved"), link)?;
        let to_save = tensors_of(&self.ctx.getattr(intern!(py, "to_save"))?)?;
        self.ctx.setattr(intern!(py, "to_save"), py.None())?;
        let name = if mode::packing() {
            function.name()
        } else {
            String::new()
        };
        let saved = |t: &Tensor| {
            // An output is saved without an edge: the edge is the node.
            let is_it = |o: &Bound<'py, PyAny>| {
                o.cast::<PyTensor>().is_ok_and(|o| o.get().tensor().same(t))
            };
            match self.objects.iter().position(is_it) {
                Some(i) if !is_in(&self.inputs, t) && !is_in(&self.constant, t) => {
                    SavedTensor::output(t, Some(i as u32), &name)
                }
                _ => SavedTensor::input(t, t.grad_edge()?, &name),
            }
        };
        let saved = to_save.iter().map(|t| t.as_ref().map(saved).transpose());
        *function.saved.lock() = Some(saved.collect::<Result<Vec<_>>>()?);
        Ok(())
    }

    fn give_history(&self, node: &NodeRef) -> PyResult<()> {
        for (i, (object, output)) in self.objects.iter().zip(&self.outputs).enumerate() {
            let Some(output) = output else { continue };
            let t = object.cast::<PyTensor>()?.get().tensor();
            if is_in(&self.constant, &t) || !output.dtype().is_float() {
                continue;
            }
            let edge = Edge {
                node: node.clone(),
                output: i as u32,
            };
            if is_in(&self.dirty, &t) {
                in_place::write_history(&t, edge)?;
            } else {
                output.set_history(Some(edge));
            }
        }
        Ok(())
    }

    fn push_tangents(&self, function: &PyFunctionNode, node: &NodeRef) -> PyResult<()> {
        let outputs: Vec<Tensor> = self.outputs.iter().flatten().cloned().collect();
        let inputs: Vec<Tensor> = self.inputs.iter().flatten().cloned().collect();
        forward::push_custom(&inputs, &outputs, &|cotangents| {
            let found = function.backward(node, cotangents)?.into_iter();
            let of_tensors = found.zip(&self.inputs).filter(|(_, t)| t.is_some());
            Ok(of_tensors.map(|(g, _)| g).collect())
        })?;
        Ok(())
    }

    /// What `apply` returns for each object.
    fn results(self) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let result = |(object, output): (Bound<'py, PyAny>, Option<Tensor>)| match output {
            Some(t) if !object.cast::<PyTensor>()?.get().tensor().same(&t) => {
                convert::wrap(object.py(), t)
            }
            _ => Ok(object),
        };
        self.objects
            .into_iter()
            .zip(self.outputs)
            .map(result)
            .collect()
    }
}

/// The name of a custom function's class.
fn class_name(class: &Bound<'_, PyType>) -> String {
    class.name().map_or_else(|_| "?".into(), |n| n.to_string())
}

/// What a message calls argument `i` of a custom function: `argument 'x' of Scale.forward`.
fn argument_name(class: &Bound<'_, PyType>, i: usize) -> String {
    let name = class.call_method1(intern!(class.py(), "_argument_name"), (i,));
    name.map_or_else(|_| format!("argument {i} of forward"), |n| n.to_string())
}

/// What was marked dirty must have been an input and be an output; what was written must be marked.
fn check_dirty(
    class: &Bound<'_, PyType>,
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
            return Err(PyRuntimeError::new_err(format!(
                "Some elements marked as dirty during the forward method were not returned as \
                 output. The inputs that are modified inplace must all be outputs of the Function. \
                 {}.forward did not return a tensor of shape {} that it marked",
                class_name(class),
                d.shape()
            )));
        }
    }
    for (i, (t, &version)) in inputs.iter().zip(versions).enumerate() {
        let Some(t) = t else { continue };
        let marked = dirty
            .iter()
            .flatten()
            .any(|d| d.storage().same(t.storage()));
        if t.storage().version() != version && !marked {
            let (writer, site) = t.storage().last_writer();
            return Err(PyRuntimeError::new_err(format!(
                "[{}] the forward of a custom function wrote to an input of shape {} in place without \
                 ctx.mark_dirty(): its gradient would be wrong. It was {}, overwritten by {}{}. Mark it \
                 and return it, or write to a clone()",
                class_name(class),
                t.shape(),
                argument_name(class, i),
                writer_name(writer),
                Site(site).at()
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
