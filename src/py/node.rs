//! `rustgrad.autograd.graph.Node`: a node of the graph, as Python sees it.

use super::convert;
use super::dtype::dtype_object;
use super::hooks::{self, PyAttachment};
use super::size::size;
use crate::base::Attr;
use crate::engine;
use crate::tape::node::OUTPUTS;
use crate::tape::{Body, Meta, NodeRef, Saved, SavedTensor, When};
use pyo3::exceptions::{PyAttributeError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use std::sync::Arc;

/// A node of the graph: what `tensor.grad_fn` is.
#[pyclass(name = "Node", module = "rustgrad.autograd.graph", frozen, weakref)]
pub(super) struct PyNode(pub(super) NodeRef);

/// A saved operand, by the name that its attribute has.
struct Named {
    name: String,
    saved: Saved,
}

impl PyNode {
    /// What the node has saved for its backward, in the order of its parameters and results.
    fn saved(&self) -> Vec<Named> {
        let (function, rule, mask, saved) = self.0.with(|n| {
            let (function, rule) = match &n.body {
                Body::Op(rule) => (None, Some(*rule)),
                Body::Custom(f) => (Some(f.clone()), None),
                _ => (None, None),
            };
            (function, rule, n.mask, n.saved.clone())
        });
        if let Some(function) = function {
            let tensors = function.saved().into_iter().enumerate();
            return tensors
                .map(|(i, t)| Named {
                    name: format!("saved_tensors[{i}]"),
                    saved: t.map_or(Saved::None, Saved::Tensor),
                })
                .collect();
        }
        let Some(rule) = rule else {
            return Vec::new();
        };
        let (inputs, _) = rule.parameters();
        let bits = (0..64).filter(|bit| mask >> bit & 1 == 1);
        let results = self.0.with(|n| n.outputs.len());
        let name = |bit: u32| match bit.checked_sub(OUTPUTS) {
            Some(_) if results == 1 => "result".to_owned(),
            Some(output) => format!("result{output}"),
            // A list of tensors is the last parameter.
            None => match inputs.get(bit as usize) {
                Some(name) => (*name).to_owned(),
                None => {
                    let last = inputs.len().saturating_sub(1);
                    let list = inputs.last().copied().unwrap_or("input");
                    format!("{list}[{}]", bit as usize - last)
                }
            },
        };
        bits.zip(saved)
            .map(|(bit, saved)| Named {
                name: name(bit),
                saved,
            })
            .collect()
    }

    fn unpack(&self, saved: &SavedTensor) -> PyResult<crate::Tensor> {
        let site = self.0.with(|n| n.site);
        Ok(saved.unpack(Some(&self.0), &self.0.name(), site)?)
    }

    /// Arguments of the op that are not tensors.
    fn arguments(&self) -> Vec<(&'static str, Attr)> {
        self.0.with(|n| match &n.body {
            Body::Op(rule) => {
                let (_, names) = rule.parameters();
                let values = n.attrs.iter().cloned();
                names.into_iter().zip(values).collect()
            }
            _ => Vec::new(),
        })
    }
}

/// The attribute of what a parameter holds: PyTorch calls the first one `self`.
fn attribute(parameter: &str) -> String {
    let name = if parameter == "input" {
        "self"
    } else {
        parameter
    };
    format!("_saved_{name}")
}

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
            Some(t) => convert::wrap_leaf(py, t).map(Some),
            None => Ok(None),
        }
    }

    /// `file:line` of the call that made the node, when it is known.
    #[getter]
    fn site(&self) -> Option<String> {
        self.0.with(|n| n.site).describe()
    }

    /// A dictionary for whatever should go with the node.
    #[getter]
    fn metadata<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let host = self
            .0
            .with(|n| n.hooks.as_ref().and_then(|h| h.host.clone()));
        if let Some(dict) = host
            .as_deref()
            .and_then(|h| h.downcast_ref::<PyAttachment>())
        {
            return Ok(dict.0.bind(py).clone());
        }
        let dict = PyDict::new(py);
        let host = Arc::new(PyAttachment(dict.clone().unbind()));
        self.0
            .with(|n| n.hooks.get_or_insert_default().host = Some(host));
        Ok(dict)
    }

    /// That dictionary, if there is one.
    #[getter]
    fn _metadata(&self, py: Python<'_>) -> Option<Py<PyDict>> {
        let host = self
            .0
            .with(|n| n.hooks.as_ref().and_then(|h| h.host.clone()))?;
        let dict = host.downcast_ref::<PyAttachment>()?;
        Some(dict.0.clone_ref(py))
    }

    /// The tensors that a custom function's node has saved.
    #[getter]
    fn saved_tensors<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        if !self.0.with(|n| matches!(n.body, Body::Custom(_))) {
            // `__getattr__` says the rest.
            return Err(PyAttributeError::new_err(()));
        }
        if let (Some(by), site) = self.0.with(|n| (n.freed, n.site)) {
            return Err(engine::freed_error(&self.0, site, by).into());
        }
        let objects = self
            .saved()
            .iter()
            .map(|named| match &named.saved {
                Saved::Tensor(t) => convert::wrap_leaf(py, self.unpack(t)?),
                _ => Ok(py.None().into_bound(py)),
            })
            .collect::<PyResult<Vec<_>>>()?;
        PyTuple::new(py, objects)
    }

    /// `_saved_self`, `_saved_result`, `_saved_dim` ...: what the node keeps for its backward.
    fn __getattr__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let missing = || {
            PyAttributeError::new_err(format!(
                "{} has no attribute '{name}'; dir() lists what it has saved",
                self.0.name()
            ))
        };
        let Some(parameter) = name.strip_prefix("_saved_") else {
            return Err(missing());
        };
        let parameter = if parameter == "self" {
            "input"
        } else {
            parameter
        };
        if let Some((_, value)) = self.arguments().iter().find(|(n, _)| *n == parameter) {
            return convert::attr(py, value);
        }
        let freed = self.0.with(|n| n.freed.is_some());
        let list = format!("{parameter}[");
        let all = self.saved();
        let several = all.iter().any(|n| n.name.starts_with(&list));
        let mut found = all
            .iter()
            .filter(|n| n.name == parameter || n.name.starts_with(&list))
            .map(|n| match &n.saved {
                Saved::Tensor(t) => convert::wrap_leaf(py, self.unpack(t)?),
                Saved::Scalar(s) => convert::item(py, *s),
                Saved::None => Ok(py.None().into_bound(py)),
            })
            .collect::<PyResult<Vec<_>>>()?;
        match found.len() {
            0 if freed => Err(PyRuntimeError::new_err(format!(
                "{}: Trying to backward through the graph a second time (or directly access saved \
                 tensors after they have already been freed). Pass retain_graph=True to the \
                 backward before",
                self.0.name()
            ))),
            0 => Err(missing()),
            1 if !several => Ok(found.swap_remove(0)),
            _ => Ok(PyTuple::new(py, found)?.into_any()),
        }
    }

    fn __dir__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyList>> {
        let py = slf.py();
        let known = py
            .import("builtins")?
            .getattr("object")?
            .call_method1("__dir__", (slf,))?;
        let names = PyList::empty(py);
        for name in known.try_iter()? {
            names.append(name?)?;
        }
        let node = &slf.get();
        let mut saved: Vec<String> = node.saved().iter().map(|n| attribute(&n.name)).collect();
        saved.extend(node.arguments().iter().map(|(n, _)| attribute(n)));
        // A list of tensors is one attribute; those of custom functions have one of their own.
        saved.iter_mut().for_each(|n| {
            if let Some(end) = n.find('[') {
                n.truncate(end);
            }
        });
        saved.sort();
        saved.dedup();
        for name in saved.iter().filter(|n| *n != "_saved_saved_tensors") {
            names.append(name)?;
        }
        Ok(names)
    }

    /// Calls `hook(grad_inputs, grad_outputs)` after the node has run in a backward. What it
    /// returns, unless `None`, takes the place of `grad_inputs`.
    fn register_hook<'py>(
        &self,
        py: Python<'py>,
        r#fn: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        hooks::add(py, &self.0, When::After, r#fn)
    }

    /// Calls `hook(grad_outputs)` before the node runs in a backward. What it returns, unless
    /// `None`, takes the place of `grad_outputs`.
    fn register_prehook<'py>(
        &self,
        py: Python<'py>,
        r#fn: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        hooks::add(py, &self.0, When::Before, r#fn)
    }

    /// Shape and type of each output.
    #[getter]
    fn _output_meta<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let outputs: Vec<Meta> = self.0.with(|n| n.outputs.iter().cloned().collect());
        let list = PyList::empty(py);
        for meta in outputs {
            list.append((size(py, &meta.shape)?, dtype_object(py, meta.dtype)))?;
        }
        Ok(list)
    }

    /// For each saved tensor: name, shape, type, bytes of its elements, bytes and address of its
    /// storage. Shape to address are `None` where hooks have packed it.
    #[getter]
    fn _saves<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for named in self.saved() {
            let Saved::Tensor(saved) = &named.saved else {
                continue;
            };
            match saved.peek() {
                Some(t) => list.append((
                    named.name,
                    Some(size(py, t.shape())?),
                    Some(dtype_object(py, t.dtype())),
                    Some(t.numel() * t.dtype().size()),
                    Some(t.storage().bytes()),
                    Some(t.storage().id()),
                ))?,
                None => {
                    let none: Option<usize> = None;
                    list.append((named.name, none, none, none, none, none))?;
                }
            }
        }
        Ok(list)
    }

    /// Arguments of the op that are not tensors, by name.
    #[getter]
    fn _arguments<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (name, value) in self.arguments() {
            if !matches!(value, Attr::Any(_)) {
                dict.set_item(name, convert::attr(py, &value)?)?;
            }
        }
        Ok(dict)
    }

    /// Whether a backward has freed what the node saved.
    #[getter]
    fn _is_freed(&self) -> bool {
        self.0.with(|n| n.freed.is_some())
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
