//! Every entry of the op table as a Python function, method and in-place method.

use super::convert;
use super::dtype::dtype_object;
use super::signature::{self, Signature};
use super::tensor::PyTensor;

use crate::ops::{Forms, Kernel, OP_TABLE, OpDef, Returns, dispatch, in_place};

use crate::tensor::Operand;
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict, PyList, PyTuple};
use rustc_hash::FxHashMap;

/// How an op is called.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Function,
    Method,
    InPlace,
}

/// An op as a Python callable: `rustgrad.add`, `Tensor.add` or `Tensor.add_`.
#[pyclass(name = "Op", module = "rustgrad._C", frozen, weakref)]
pub(super) struct PyOp {
    name: String,
    form: Form,
    signatures: Vec<Signature>,
    /// The op of each signature, and which of the op's own it is. Ops that share a name are
    /// overloads of one function.
    targets: Vec<(&'static OpDef, usize)>,
}

impl PyOp {
    fn new(ops: &[&'static OpDef], name: &str, form: Form) -> Self {
        let mut signatures = Vec::new();
        let mut targets = Vec::new();
        for op in ops {
            for (i, text) in op.sig.iter().enumerate() {
                signatures.push(Signature::parse(text));
                targets.push((*op, i));
            }
        }
        let name = match form {
            Form::InPlace => format!("{name}_"),
            _ => name.to_owned(),
        };
        Self {
            name,
            form,
            signatures,
            targets,
        }
    }

    fn call<'py>(
        &self,
        slf: Option<&Bound<'py, PyAny>>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = args.py();
        let (found, (inputs, attrs)) =
            signature::bind(&self.name, &self.signatures, slf, args, kwargs)?;
        let (op, overload) = self.targets[found];
        if self.form == Form::InPlace {
            in_place::run_overload(op, overload, &inputs, &attrs)?;
            return match slf {
                Some(slf) => Ok(slf.clone()),
                None => args.get_item(0),
            };
        }
        let outs = dispatch::run_overload(op, overload, &inputs, &attrs)?;
        if let Some(out) = kwargs
            .map(|k| k.get_item(intern!(py, "out")))
            .transpose()?
            .flatten()
            && !out.is_none()
        {
            write_out(&outs, &out)?;
            return Ok(out);
        }
        if let [out] = outs.as_slice()
            && let Some(Operand::Tensor(x)) = inputs.first()
            && out.same(x)
        {
            // An op that had nothing to do returns its input: the same Python object too.
            let first = match slf {
                Some(slf) => Some(slf.clone()),
                None => args.get_item(0).ok(),
            };
            return match first {
                Some(first) if first.is_instance_of::<PyTensor>() => Ok(first),
                _ => convert::wrap(py, out.clone()),
            };
        }
        let is_new = inputs.is_empty();
        let result = convert::results(py, op.exported_name(), op.returns, outs)?;
        if is_new && let Ok(leaf) = result.cast::<PyTensor>() {
            convert::note_object(leaf)?;
        }
        Ok(result)
    }
}

/// `out=`: the results, copied into tensors of the caller's.
fn write_out(outs: &[crate::Tensor], out: &Bound<'_, PyAny>) -> PyResult<()> {
    let targets = convert::tensors(out, "out")?;
    if targets.len() != outs.len() {
        return Err(PyRuntimeError::new_err(format!(
            "out= has {} tensors, but the function returns {}",
            targets.len(),
            outs.len()
        )));
    }
    for (target, result) in targets.iter().zip(outs) {
        if target.requires_grad() || result.requires_grad() {
            return Err(PyRuntimeError::new_err(
                "functions with out=... arguments don't support automatic differentiation, but one \
                 of the arguments requires grad; use the result, or no_grad()",
            ));
        }
        if target.shape() != result.shape() {
            return Err(PyRuntimeError::new_err(format!(
                "out= has shape {}, but the result has shape {}; pass a tensor of the result's shape",
                target.shape(),
                result.shape()
            )));
        }
        if !result.dtype().can_cast(target.dtype()) {
            return Err(PyRuntimeError::new_err(format!(
                "result type {} can't be cast to the desired output type {} of out=",
                result.dtype().scalar_type_name(),
                target.dtype().scalar_type_name()
            )));
        }
        in_place::copy_(target, result)?;
    }
    Ok(())
}

#[pymethods]
impl PyOp {
    #[pyo3(signature = (*args, **kwargs))]
    fn __call__<'py>(
        &self,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.call(None, args, kwargs)
    }

    fn __get__<'py>(
        slf: &Bound<'py, Self>,
        instance: &Bound<'py, PyAny>,
        owner: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _ = owner;
        if instance.is_none() || slf.get().form == Form::Function {
            return Ok(slf.clone().into_any());
        }
        let bound = PyBoundOp {
            op: slf.clone().unbind(),
            slf: instance.clone().unbind(),
        };
        Ok(Bound::new(slf.py(), bound)?.into_any())
    }

    #[getter]
    fn __name__(&self) -> &str {
        &self.name
    }

    #[getter]
    fn __qualname__(&self) -> String {
        match self.form {
            Form::Function => self.name.clone(),
            _ => format!("Tensor.{}", self.name),
        }
    }

    #[getter]
    fn __doc__(&self) -> String {
        let signatures: Vec<String> = self
            .signatures
            .iter()
            .map(|s| format!("{}{}", self.name, s.text()))
            .collect();
        let in_place = match self.form {
            Form::InPlace => format!("In-place form of `{}`.\n\n", self.targets[0].0.name),
            _ => String::new(),
        };
        format!(
            "{}\n\n{in_place}{}",
            signatures.join("\n"),
            self.targets[0].0.doc
        )
    }

    /// The signature without its types, as `inspect.signature` reads it, if there is only one.
    #[getter]
    fn __text_signature__(&self) -> Option<String> {
        let [signature] = self.signatures.as_slice() else {
            return None;
        };
        let mut params = Vec::new();
        for part in signature.text()[1..signature.text().len() - 1].split(", ") {
            let (head, default) = part.split_once(" = ").unzip();
            let name = head.unwrap_or(part).split(':').next()?;
            match name {
                // What follows `*size` is keyword-only already.
                "*" if params.iter().any(|p: &String| p.starts_with('*')) => {}
                // A keyword of Python's: that argument is given by its place.
                "from" => params.extend(["from_".to_owned(), "/".to_owned()]),
                _ => params.push(name.to_owned()),
            }
            if let (Some(default), Some(last)) = (default, params.iter_mut().rfind(|p| *p != "/")) {
                last.push_str(&format!("={default}"));
            }
        }
        let op = self.targets[0].0;
        if self.form != Form::Function {
            params[0] = "$self".to_owned();
        } else if op.returns != Returns::Item && !matches!(op.kernel, Kernel::View(_)) {
            if !params.iter().any(|p| p.starts_with('*')) {
                params.push("*".to_owned());
            }
            params.push("out=None".to_owned());
        }
        Some(format!("({})", params.join(", ")))
    }

    /// The declared signatures.
    #[getter]
    fn signatures(&self) -> Vec<&'static str> {
        self.signatures.iter().map(Signature::text).collect()
    }

    /// By name: pickles as the attribute of `rustgrad` (or of its `Tensor`) that it is.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let getattr = py.import("builtins")?.getattr("getattr")?;
        if self.form != Form::Function {
            return (getattr, (py.get_type::<PyTensor>(), &self.name))
                .into_pyobject(py)
                .map(Bound::into_any);
        }
        // Modules do not pickle: look the function up in a class attribute of the package.
        let find = py.import("rustgrad._return_types")?.getattr("find_op")?;
        (find, (&self.name,)).into_pyobject(py).map(Bound::into_any)
    }

    fn __repr__(&self) -> String {
        match self.form {
            Form::Function => format!("<op {}>", self.name),
            _ => format!("<op method Tensor.{}>", self.name),
        }
    }
}

/// An op bound to a tensor: `x.add`.
#[pyclass(name = "BoundOp", module = "rustgrad._C", frozen)]
struct PyBoundOp {
    op: Py<PyOp>,
    slf: Py<PyAny>,
}

#[pymethods]
impl PyBoundOp {
    #[pyo3(signature = (*args, **kwargs))]
    fn __call__<'py>(
        &self,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.op
            .get()
            .call(Some(self.slf.bind(args.py())), args, kwargs)
    }

    #[getter]
    fn __name__(&self) -> String {
        self.op.get().name.clone()
    }

    /// The op's signature without the tensor.
    #[getter]
    fn __signature__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let whole = py
            .import("inspect")?
            .call_method1("signature", (&self.op,))?;
        let params = whole.getattr("parameters")?.call_method0("values")?;
        let rest: Vec<_> = params.try_iter()?.skip(1).collect::<PyResult<_>>()?;
        let kwargs = [("parameters", rest)].into_py_dict(py)?;
        whole.call_method("replace", (), Some(&kwargs))
    }

    #[getter]
    fn __self__(&self, py: Python<'_>) -> Py<PyAny> {
        self.slf.clone_ref(py)
    }

    #[getter]
    fn __doc__(&self) -> String {
        self.op.get().__doc__()
    }
}

/// The op table, for tests, stubs and docs: a list of dicts.
#[pyfunction]
fn op_table(py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
    let list = PyList::empty(py);
    for op in OP_TABLE.iter() {
        let d = PyDict::new(py);
        d.set_item("name", op.name)?;
        d.set_item("exported_name", op.exported_name())?;
        d.set_item("doc", op.doc)?;
        d.set_item("signatures", op.sig)?;
        d.set_item("aliases", op.aliases)?;
        d.set_item("function", op.forms.function)?;
        d.set_item("method", op.forms.method)?;
        d.set_item("in_place", op.forms.in_place)?;
        d.set_item("nn", op.forms.nn)?;
        let kernel = match op.kernel {
            Kernel::Map { .. } | Kernel::Choose(_) => "map",
            Kernel::View(_) => "view",
            Kernel::Compute(_) | Kernel::Over(_) | Kernel::Fused(..) | Kernel::Update(_) => {
                "compute"
            }
            Kernel::Dynamic(_) => "dynamic",
            Kernel::Composite(_) => "composite",
        };
        d.set_item("kernel", kernel)?;
        d.set_item("returns", format!("{:?}", op.returns))?;
        d.set_item(
            "differentiable",
            op.grads.iter().map(Option::is_some).collect::<Vec<_>>(),
        )?;
        list.append(d)?;
    }
    Ok(list)
}

/// What an op would return, without running it: `[(shape, dtype), ...]`.
#[pyfunction]
#[pyo3(signature = (name, *args, **kwargs))]
fn op_meta<'py>(
    py: Python<'py>,
    name: &str,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyList>> {
    let op = crate::ops::table::find(name)
        .ok_or_else(|| PyRuntimeError::new_err(format!("no op is called {name:?}")))?;
    let signatures: Vec<Signature> = op.sig.iter().map(|s| Signature::parse(s)).collect();
    let (_, (inputs, attrs)) = signature::bind(name, &signatures, None, args, kwargs)?;
    let list = PyList::empty(py);
    for spec in dispatch::meta_of(op, &inputs, &attrs)? {
        list.append((spec.shape.to_vec(), dtype_object(py, spec.dtype)))?;
    }
    Ok(list)
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    dispatch::register_unlock(|kernel| {
        if Python::try_attach(|py| py.detach(&mut *kernel)).is_none() {
            kernel();
        }
    });
    let py = m.py();
    m.add_class::<PyOp>()?;
    m.add_function(wrap_pyfunction!(op_table, m)?)?;
    m.add_function(wrap_pyfunction!(op_meta, m)?)?;
    let tensor = py.get_type::<PyTensor>();
    let functions = PyList::empty(py);
    let mut names: Vec<&str> = Vec::new();
    let mut by_name: FxHashMap<&str, Vec<&'static OpDef>> = FxHashMap::default();
    for op in OP_TABLE.iter().filter(|op| !op.sig.is_empty()) {
        for name in std::iter::once(&op.exported_name()).chain(op.aliases) {
            let ops = by_name.entry(name).or_default();
            if ops.is_empty() {
                names.push(name);
            }
            ops.push(op);
        }
    }
    for name in names {
        let ops_with = |form: fn(&Forms) -> bool| -> Vec<&'static OpDef> {
            by_name[name]
                .iter()
                .copied()
                .filter(|op| form(&op.forms))
                .collect()
        };
        let function = ops_with(|f| f.function || f.nn);
        if !function.is_empty() {
            m.add(name, PyOp::new(&function, name, Form::Function))?;
            if function.iter().any(|op| op.forms.function) {
                functions.append(name)?;
            }
        }
        let method = ops_with(|f| f.method);
        if !method.is_empty() {
            tensor.setattr(name, PyOp::new(&method, name, Form::Method))?;
        }
        let in_place = ops_with(|f| f.in_place);
        if !in_place.is_empty() {
            let spelled = format!("{name}_");
            tensor.setattr(&*spelled, PyOp::new(&in_place, name, Form::InPlace))?;
            if in_place.iter().any(|op| op.forms.function) {
                m.add(&*spelled, PyOp::new(&in_place, name, Form::InPlace))?;
                functions.append(&spelled)?;
            }
        }
    }
    // What `rustgrad/__init__.py` re-exports.
    m.add("_functions", functions)?;
    Ok(())
}
