//! The class `rustgrad.Tensor`: attributes and what is not an op.

use super::convert;
use super::dtype::{PyDType, PyDevice, device_of, dtype_object, dtype_of};
use super::hooks;
use super::node::PyNode;
use super::size::size;
use super::{index, numpy};
use crate::base::{DType, Device, Layout, Scalar, Shape};
use crate::engine::{self, Grads};
use crate::ops::{self, in_place, taint};
use crate::tape::{Cut, CutBy, Taint, mode, provenance};
use crate::tensor::Tensor;
use parking_lot::{Mutex, RwLock};
use pyo3::exceptions::{PyAttributeError, PyRuntimeError, PyTypeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple, PyType, PyWeakrefReference};
use std::sync::OnceLock;

/// An n-dimensional array that may be part of a recorded computation.
///
/// NOTE [Cells]
/// The Python object holds its tensor in a cell, so that assigning to `.data` gives the same object
/// other elements. Ops clone the handle out and hold no lock while they run.
#[pyclass(name = "Tensor", module = "rustgrad", frozen, subclass, weakref)]
pub(super) struct PyTensor {
    cell: RwLock<Tensor>,
    /// Attributes of the user's. A dict in every object would cost more than the rest of it.
    extras: OnceLock<Py<PyDict>>,
    /// The object last handed out as `.grad`, so that it is the same one while it is alive.
    grad: Mutex<Option<Py<PyWeakrefReference>>>,
}

impl From<Tensor> for PyTensor {
    #[inline]
    fn from(t: Tensor) -> Self {
        Self {
            cell: RwLock::new(t),
            extras: OnceLock::new(),
            grad: Mutex::new(None),
        }
    }
}

impl PyTensor {
    /// The tensor.
    #[inline]
    pub(super) fn tensor(&self) -> Tensor {
        self.cell.read().clone()
    }

    /// Gives the object another tensor.
    pub(super) fn replace(&self, t: Tensor) {
        let old = std::mem::replace(&mut *self.cell.write(), t);
        drop(old);
    }
}

#[pymethods]
impl PyTensor {
    /// `Tensor(data)` or `Tensor(2, 3)`: PyTorch's legacy constructor, of the default dtype.
    #[new]
    #[pyo3(signature = (*args, device = None))]
    fn new(args: &Bound<'_, PyTuple>, device: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let device = device.map_or(Ok(Device::Cpu), device_of)?;
        let dtype = crate::base::dtype::default_dtype();
        if args.len() == 1 {
            let arg = args.get_item(0)?;
            if let Ok(t) = arg.cast::<PyTensor>() {
                return Ok(Self::from(t.get().tensor().detach()));
            }
            if arg.try_iter().is_ok() {
                return Ok(Self::from(numpy::tensor_from(
                    &arg,
                    Some(dtype),
                    Some(device),
                )?));
            }
        }
        let sizes = args
            .iter()
            .map(|a| a.extract())
            .collect::<PyResult<Vec<i64>>>()?;
        if let Some(n) = sizes.iter().find(|n| **n < 0) {
            return Err(PyRuntimeError::new_err(format!(
                "Trying to create tensor with negative dimension {n}: {sizes:?}"
            )));
        }
        // `Tensor()` is a 1-d tensor without elements.
        let shape: Shape = if sizes.is_empty() {
            Shape::from([0])
        } else {
            sizes.iter().map(|&n| n as usize).collect()
        };
        Ok(Self::from(Tensor::empty(shape, dtype, device)?))
    }

    /// An instance of a subclass that shares `data`'s elements, as a new leaf.
    #[staticmethod]
    #[pyo3(signature = (cls, data, requires_grad = false))]
    fn _make_subclass<'py>(
        cls: &Bound<'py, PyType>,
        data: &Bound<'py, PyTensor>,
        requires_grad: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let new = cls.py().get_type::<PyTensor>().getattr("__new__")?;
        let t = new.call1((cls, data))?;
        if requires_grad {
            make_leaf(t.cast::<PyTensor>()?, true)?;
        }
        Ok(t)
    }

    /// The sizes of the dimensions.
    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        size(py, self.tensor().shape())
    }

    /// The sizes, or the size of one dimension.
    #[pyo3(signature = (dim = None))]
    fn size<'py>(&self, py: Python<'py>, dim: Option<i64>) -> PyResult<Bound<'py, PyAny>> {
        let t = self.tensor();
        match dim {
            None => size(py, t.shape()),
            Some(d) => {
                let d = dim_of(d, &t)?;
                Ok(t.shape()[d].into_pyobject(py)?.into_any())
            }
        }
    }

    /// The strides in elements, or the stride of one dimension.
    #[pyo3(signature = (dim = None))]
    fn stride<'py>(&self, py: Python<'py>, dim: Option<i64>) -> PyResult<Bound<'py, PyAny>> {
        let t = self.tensor();
        match dim {
            None => Ok(PyTuple::new(py, t.layout().strides.iter())?.into_any()),
            Some(d) => {
                let d = dim_of(d, &t)?;
                Ok(t.layout().strides[d].into_pyobject(py)?.into_any())
            }
        }
    }

    /// The position of the first element in the storage, in elements.
    fn storage_offset(&self) -> usize {
        self.tensor().layout().offset
    }

    /// The number of dimensions.
    #[getter]
    fn ndim(&self) -> usize {
        self.tensor().ndim()
    }

    /// The number of dimensions.
    fn dim(&self) -> usize {
        self.tensor().ndim()
    }

    /// The number of dimensions.
    fn ndimension(&self) -> usize {
        self.tensor().ndim()
    }

    /// The number of elements.
    fn numel(&self) -> usize {
        self.tensor().numel()
    }

    /// The number of elements.
    fn nelement(&self) -> usize {
        self.tensor().numel()
    }

    /// Bytes of one element.
    fn element_size(&self) -> usize {
        self.tensor().dtype().size()
    }

    /// Bytes of one element.
    #[getter]
    fn itemsize(&self) -> usize {
        self.tensor().dtype().size()
    }

    /// Bytes of all elements.
    #[getter]
    fn nbytes(&self) -> usize {
        let t = self.tensor();
        t.numel() * t.dtype().size()
    }

    /// The type of the elements.
    #[getter]
    fn dtype<'py>(&self, py: Python<'py>) -> Bound<'py, PyDType> {
        dtype_object(py, self.tensor().dtype()).clone()
    }

    /// Where the elements are: on the CPU, or nowhere (`meta`).
    #[getter(device)]
    fn place(&self) -> PyDevice {
        PyDevice::new(self.tensor().device())
    }

    /// -1: the CPU has no number.
    fn get_device(&self) -> i64 {
        -1
    }

    /// Always false: there is no CUDA here.
    #[getter]
    fn is_cuda(&self) -> bool {
        false
    }

    /// Always false: tensors are strided.
    #[getter]
    fn is_sparse(&self) -> bool {
        false
    }

    /// Always false.
    #[getter]
    fn is_quantized(&self) -> bool {
        false
    }

    /// Whether the tensor has a shape and no elements.
    #[getter]
    fn is_meta(&self) -> bool {
        self.tensor().device() == Device::Meta
    }

    /// Whether the elements lie densely in row-major order.
    #[pyo3(signature = (memory_format = None))]
    fn is_contiguous(&self, memory_format: Option<&Bound<'_, PyAny>>) -> bool {
        let _ = memory_format;
        self.tensor().is_contiguous()
    }

    /// Whether the elements are floating point.
    fn is_floating_point(&self) -> bool {
        self.tensor().dtype().is_float()
    }

    /// Always false: complex numbers are not supported.
    fn is_complex(&self) -> bool {
        false
    }

    /// Whether the elements can be negative.
    fn is_signed(&self) -> bool {
        !matches!(self.tensor().dtype(), DType::Bool | DType::U8)
    }

    /// Whether the tensor was made in inference mode.
    fn is_inference(&self) -> bool {
        self.tensor().is_inference()
    }

    /// Whether two objects are the same tensor over the same elements.
    fn is_set_to(&self, tensor: &Bound<'_, PyTensor>) -> bool {
        let (a, b) = (self.tensor(), tensor.get().tensor());
        a.storage().same(b.storage()) && a.layout() == b.layout()
    }

    /// The address of the first element.
    fn data_ptr(&self) -> usize {
        let t = self.tensor();
        if t.numel() == 0 || t.device() == Device::Meta {
            return 0;
        }
        t.storage().as_ptr() as usize + t.layout().offset * t.dtype().size()
    }

    #[getter]
    fn _version(&self) -> u32 {
        self.tensor().storage().version()
    }

    /// Whether operations on the tensor are recorded.
    #[getter]
    fn requires_grad(&self) -> bool {
        self.tensor().requires_grad()
    }

    #[setter]
    fn set_requires_grad(slf: &Bound<'_, Self>, requires_grad: bool) -> PyResult<()> {
        make_leaf(slf, requires_grad)
    }

    /// Makes a leaf require a gradient, or not; returns it.
    #[pyo3(signature = (requires_grad = true))]
    fn requires_grad_<'py>(
        slf: &Bound<'py, Self>,
        requires_grad: bool,
    ) -> PyResult<Bound<'py, Self>> {
        make_leaf(slf, requires_grad)?;
        Ok(slf.clone())
    }

    /// Whether the tensor has no history: `backward` adds to `.grad` of leaves only.
    #[getter]
    fn is_leaf(&self) -> bool {
        self.tensor().is_leaf()
    }

    /// The node that made the tensor; `None` for a leaf.
    #[getter]
    fn grad_fn(&self) -> PyResult<Option<PyNode>> {
        let t = self.tensor();
        // A view whose history cannot be told raises here.
        t.grad_edge()?;
        Ok(t.grad_fn().map(|e| PyNode(e.node)))
    }

    /// Which output of its node the tensor is.
    #[getter]
    fn output_nr(&self) -> u32 {
        self.tensor().grad_fn().map_or(0, |e| e.output)
    }

    /// The gradient that backward passes have added up; `None` before the first.
    #[getter]
    fn grad<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(grad) = self.tensor().grad() else {
            return Ok(None);
        };
        let known = self.grad.lock().as_ref().map(|r| r.clone_ref(py));
        if let Some(object) = known.and_then(|r| r.bind(py).upgrade())
            && let Ok(t) = object.cast::<PyTensor>()
            && t.get().tensor().same(&grad)
        {
            return Ok(Some(object));
        }
        let object = convert::wrap(py, grad)?;
        *self.grad.lock() = Some(PyWeakrefReference::new(&object)?.unbind());
        Ok(Some(object))
    }

    #[setter]
    fn set_grad(&self, grad: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let wrong = |g: &Bound<'_, PyAny>| {
            PyTypeError::new_err(format!(
                "assigned grad expected to be a Tensor or None but got grad of type {}",
                convert::type_name(g)
            ))
        };
        let cast = |g| <Bound<'_, PyAny>>::cast::<PyTensor>(g).map_err(|_| wrong(g));
        let grad = grad.map(cast).transpose()?;
        self.tensor().set_grad(grad.map(|g| g.get().tensor()))?;
        let known = grad
            .map(|g| PyWeakrefReference::new(g.as_any()))
            .transpose()?;
        *self.grad.lock() = known.map(Bound::unbind);
        Ok(())
    }

    #[deleter]
    fn delete_grad(&self) -> PyResult<()> {
        Ok(self.tensor().set_grad(None)?)
    }

    /// Keeps the gradient of a tensor that is not a leaf in `.grad`.
    fn retain_grad(&self) -> PyResult<()> {
        Ok(self.tensor().retain_grad()?)
    }

    /// Whether `retain_grad` was called on a tensor that is not a leaf.
    #[getter]
    fn retains_grad(&self) -> bool {
        self.tensor().retains_grad()
    }

    /// The elements without history; writes are counted on both.
    #[getter]
    fn data<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.detach(py)
    }

    #[setter]
    fn set_data(&self, data: &Bound<'_, PyTensor>) -> PyResult<()> {
        let (old, new) = (self.tensor(), data.get().tensor());
        if old.requires_grad() && !new.dtype().is_float() {
            return Err(PyRuntimeError::new_err(format!(
                "data set to a tensor that requires gradients must be floating point, not {}",
                new.dtype()
            )));
        }
        self.replace(new.with_autograd_of(&old));
        Ok(())
    }

    /// The elements without history; writes are counted on both.
    fn detach<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let t = self.tensor();
        let detached = t.detach();
        // In the forward of a custom function nothing has history: it is no way out of the marks.
        if mode::taint() == Taint::Forward && taint::depends(&t) {
            detached.set_tainted(true);
        }
        detached.set_cut(if t.requires_grad() {
            Cut::here(CutBy::Detach, u32::MAX)
        } else {
            t.cut()
        });
        convert::wrap(py, detached)
    }

    /// Cuts the tensor from its history; returns it.
    fn detach_<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        let t = slf.get().tensor();
        let cut = if t.requires_grad() {
            Cut::here(CutBy::Detach, u32::MAX)
        } else {
            t.cut()
        };
        t.detach_()?;
        t.set_cut(cut);
        Ok(slf.clone())
    }

    #[getter]
    fn _base<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.tensor()
            .view_info()
            .map(|v| convert::wrap(py, v.base.clone()))
            .transpose()
    }

    fn _is_view(&self) -> bool {
        self.tensor().view_info().is_some()
    }

    /// Adds this tensor's gradients to `.grad` of the leaves it was computed from (or of
    /// `inputs`). `gradient` is the cotangent; it may be left out for one element.
    #[pyo3(signature = (gradient = None, retain_graph = None, create_graph = false, inputs = None))]
    fn backward(
        &self,
        gradient: Option<&Bound<'_, PyAny>>,
        retain_graph: Option<bool>,
        create_graph: bool,
        inputs: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let how = Grads {
            retain_graph: retain_graph.unwrap_or(create_graph),
            create_graph,
        };
        let inputs = inputs.map(|i| convert::tensors(i, "inputs")).transpose()?;
        let wrong = |g: &Bound<'_, PyAny>| {
            PyTypeError::new_err(format!(
                "gradients can be either Tensors or None, but got {}",
                convert::type_name(g)
            ))
        };
        let cast = |g| <Bound<'_, PyAny>>::cast::<PyTensor>(g).map_err(|_| wrong(g));
        let gradient = gradient.map(cast).transpose()?.map(|g| g.get().tensor());
        Ok(engine::backward(
            &[self.tensor()],
            &[gradient],
            inputs.as_deref(),
            how,
        )?)
    }

    /// The one element as a Python number.
    fn item<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let t = self.tensor();
        taint::hand_out(&t);
        convert::item(py, t.item()?)
    }

    /// The elements as nested lists of Python numbers.
    fn tolist<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let t = self.tensor();
        taint::hand_out(&t);
        let values = t.to_vec()?;
        nested(py, &values, t.shape())
    }

    fn __len__(&self) -> PyResult<usize> {
        let t = self.tensor();
        t.shape()
            .first()
            .copied()
            .ok_or_else(|| PyTypeError::new_err("len() of a 0-d tensor"))
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let t = self.tensor();
        if t.ndim() == 0 {
            return Err(PyTypeError::new_err("iteration over a 0-d tensor"));
        }
        let rows = (0..t.shape()[0])
            .map(|i| convert::wrap(py, ops::select(&t, 0i64, i)?))
            .collect::<PyResult<Vec<_>>>()?;
        Ok(PyList::new(py, rows)?.try_iter()?.into_any())
    }

    fn __getitem__<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        convert::wrap(slf.py(), index::get_item(&slf.get().tensor(), key)?)
    }

    fn __setitem__(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        index::set_item(&self.tensor(), key, value)
    }

    fn __contains__(&self, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Some(value) = convert::operand(value)? else {
            return Err(PyRuntimeError::new_err(format!(
                "Tensor.__contains__ only supports Tensor or scalar, but you passed in a {}.",
                value.get_type()
            )));
        };
        Ok(ops::any(ops::eq(self.tensor(), value)?)?.item()?.as_bool())
    }

    /// Attributes of the user's, when there is no other of that name.
    fn __getattr__<'py>(&self, name: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
        let py = name.py();
        if let Some(extras) = self.extras.get()
            && let Some(value) = extras.bind(py).get_item(name)?
        {
            return Ok(value);
        }
        Err(PyAttributeError::new_err(format!(
            "'Tensor' object has no attribute '{name}'"
        )))
    }

    /// Descriptors of the class first, then the `__dict__` of a subclass, then the extras.
    fn __setattr__<'py>(
        slf: &Bound<'py, Self>,
        name: &Bound<'py, PyString>,
        value: &Bound<'py, PyAny>,
    ) -> PyResult<()> {
        let py = slf.py();
        if let Ok(descriptor) = slf.get_type().getattr(name)
            && descriptor.get_type().hasattr(intern!(py, "__set__"))?
        {
            return descriptor
                .call_method1(intern!(py, "__set__"), (slf, value))
                .map(drop);
        }
        if let Ok(dict) = slf.getattr(intern!(py, "__dict__")) {
            return dict.set_item(name, value);
        }
        let extras = slf.get().extras.get_or_init(|| PyDict::new(py).unbind());
        extras.bind(py).set_item(name, value)
    }

    fn __delattr__<'py>(slf: &Bound<'py, Self>, name: &Bound<'py, PyString>) -> PyResult<()> {
        let py = slf.py();
        if let Ok(descriptor) = slf.get_type().getattr(name)
            && descriptor.get_type().hasattr(intern!(py, "__delete__"))?
        {
            return descriptor
                .call_method1(intern!(py, "__delete__"), (slf,))
                .map(drop);
        }
        let places = [
            slf.getattr(intern!(py, "__dict__")).ok(),
            slf.get()
                .extras
                .get()
                .map(|e| e.bind(py).clone().into_any()),
        ];
        for place in places.into_iter().flatten() {
            if place.contains(name)? {
                return place.del_item(name);
            }
        }
        Err(PyAttributeError::new_err(name.clone().unbind()))
    }

    fn __hash__(slf: &Bound<'_, Self>) -> isize {
        slf.as_ptr() as isize >> 4
    }

    fn __repr__(&self) -> PyResult<String> {
        Ok(crate::tensor::format::repr(&self.tensor())?)
    }

    fn __format__(&self, spec: &Bound<'_, PyAny>) -> PyResult<String> {
        let t = self.tensor();
        if t.ndim() == 0 && t.device() != Device::Meta && spec.len()? > 0 {
            let item = convert::item(spec.py(), t.item()?)?;
            return item.call_method1("__format__", (spec,))?.extract();
        }
        self.__repr__()
    }

    /// A copy with elements and history of its own; only leaves can be copied deeply. Tensors that
    /// share elements still do when they are copied together.
    fn __deepcopy__<'py>(
        slf: &Bound<'py, Self>,
        memo: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let t = slf.get().tensor();
        if !t.is_leaf() {
            return Err(PyRuntimeError::new_err(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy \
                 protocol at the moment; detach() this one, or clone() it",
            ));
        }
        let key = slf.as_ptr() as usize;
        if let Ok(done) = memo.get_item(key) {
            return Ok(done);
        }
        let copy = copied_storage(&t, memo)?;
        copy.set_requires_grad(t.requires_grad())?;
        if let Some(grad) = t.grad() {
            copy.set_grad(Some(ops::clone_data(&grad)?))?;
        }
        let copy = convert::wrap(slf.py(), copy)?;
        memo.set_item(key, &copy)?;
        Ok(copy)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(extras) = self.extras.get() {
            visit.call(extras)?;
        }
        // NOTE [Garbage collection]: what a shared object owns is visited only through its sole
        // owner, so that references are counted once; the graph is not walked.
        let Some(tensor) = self.cell.try_read() else {
            return Ok(());
        };
        if !tensor.is_sole_handle() {
            return Ok(());
        }
        if let Some(accumulator) = tensor.accumulator_if_sole() {
            hooks::traverse(&accumulator, &visit)?;
        }
        match tensor.history_if_sole() {
            // One handle is the history's, the other was made just now.
            Some(node) if node.count() == 2 => hooks::traverse(&node, &visit),
            _ => Ok(()),
        }
    }
}

/// Sets whether a tensor requires a gradient.
fn make_leaf(object: &Bound<'_, PyTensor>, requires_grad: bool) -> PyResult<()> {
    object.get().tensor().set_requires_grad(requires_grad)?;
    convert::note_object(object)
}

fn dim_of(dim: i64, t: &Tensor) -> PyResult<usize> {
    let d = crate::base::shape::wrap_dim(dim, t.ndim())?;
    if t.ndim() == 0 {
        return Err(pyo3::exceptions::PyIndexError::new_err(format!(
            "Dimension specified as {dim} but tensor has no dimensions"
        )));
    }
    Ok(d)
}

fn nested<'py>(py: Python<'py>, values: &[Scalar], shape: &[usize]) -> PyResult<Bound<'py, PyAny>> {
    let Some((&n, rest)) = shape.split_first() else {
        return convert::item(py, values[0]);
    };
    let step = rest.iter().product::<usize>();
    let rows = (0..n)
        .map(|i| nested(py, &values[i * step..(i + 1) * step], rest))
        .collect::<PyResult<Vec<_>>>()?;
    Ok(PyList::new(py, rows)?.into_any())
}

/// A tensor of new elements from nested sequences, numbers, or anything with the buffer protocol.
#[pyfunction]
#[pyo3(signature = (data, *, dtype = None, device = None, requires_grad = false, pin_memory = false))]
fn tensor<'py>(
    data: &Bound<'py, PyAny>,
    dtype: Option<&Bound<'py, PyAny>>,
    device: Option<&Bound<'py, PyAny>>,
    requires_grad: bool,
    pin_memory: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let _ = pin_memory;
    let dtype = dtype.map(dtype_of).transpose()?;
    let device = device.map(device_of).transpose()?;
    let t = numpy::tensor_from(data, dtype, device)?;
    t.set_requires_grad(requires_grad)?;
    let object = convert::wrap(data.py(), t)?;
    convert::note_object(object.cast()?)?;
    Ok(object)
}

/// The same tensor (or the same memory, for arrays) where possible, else a copy.
#[pyfunction]
#[pyo3(signature = (data, dtype = None, device = None))]
fn as_tensor<'py>(
    data: &Bound<'py, PyAny>,
    dtype: Option<&Bound<'py, PyAny>>,
    device: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let dtype = dtype.map(dtype_of).transpose()?;
    if let Ok(t) = data.cast::<PyTensor>() {
        let t = t.get().tensor();
        let same_device = device.map_or(Ok(true), |d| device_of(d).map(|d| d == t.device()))?;
        if dtype.is_none_or(|d| d == t.dtype()) && same_device {
            return Ok(data.clone());
        }
        return convert::wrap(data.py(), ops::cast(&t, dtype.unwrap_or(t.dtype()))?);
    }
    let device = device.map(device_of).transpose()?;
    if let Some(t) = numpy::share(data)? {
        return convert::wrap(data.py(), ops::cast(&t, dtype.unwrap_or(t.dtype()))?);
    }
    convert::wrap(data.py(), numpy::tensor_from(data, dtype, device)?)
}

/// The tensor over a copy of its storage, which is made once for each `memo`.
fn copied_storage(t: &Tensor, memo: &Bound<'_, PyAny>) -> PyResult<Tensor> {
    if t.device() == Device::Meta {
        return Ok(ops::clone_data(t)?);
    }
    let storage = t.storage();
    // No Python object lives at this address, so no other entry has this key.
    let key = storage.as_ptr() as usize;
    let whole = match memo.get_item(key) {
        Ok(whole) => whole.cast::<PyTensor>()?.get().tensor(),
        Err(_) => {
            let n = storage.bytes() / t.dtype().size();
            let whole = Tensor::from_parts(
                storage.clone(),
                Layout::contiguous(Shape::from([n])),
                t.dtype(),
            );
            let whole = ops::clone_data(&whole)?;
            memo.set_item(key, convert::wrap(memo.py(), whole.clone())?)?;
            whole
        }
    };
    Ok(whole.alias(t.shared_layout().clone()))
}

/// Whether an object is a tensor.
#[pyfunction]
fn is_tensor(obj: &Bound<'_, PyAny>) -> bool {
    obj.is_instance_of::<PyTensor>()
}

/// `tensor.to(...)`: the same tensor if type and device fit, else a copy. Used by the Python face.
#[pyfunction]
#[pyo3(signature = (tensor, dtype = None, device = None, copy = false))]
fn to<'py>(
    tensor: &Bound<'py, PyTensor>,
    dtype: Option<&Bound<'py, PyAny>>,
    device: Option<&Bound<'py, PyAny>>,
    copy: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let t = tensor.get().tensor();
    let dtype = dtype.map(dtype_of).transpose()?.unwrap_or(t.dtype());
    let device = device.map(device_of).transpose()?.unwrap_or(t.device());
    if device != t.device() {
        if device == Device::Meta {
            return convert::wrap(
                tensor.py(),
                Tensor::empty(t.shape().clone(), dtype, device)?,
            );
        }
        return Err(PyRuntimeError::new_err(
            "Cannot copy out of meta tensor; no data! Create the tensor on the device instead",
        ));
    }
    if dtype == t.dtype() {
        if !copy {
            return Ok(tensor.clone().into_any());
        }
        return convert::wrap(tensor.py(), ops::clone(&t)?);
    }
    convert::wrap(tensor.py(), ops::cast(&t, dtype)?)
}

/// Gives `tensor` the elements and history of `other`: in-place changes of shape.
#[pyfunction]
fn _replace(tensor: &Bound<'_, PyTensor>, other: &Bound<'_, PyTensor>) {
    tensor.get().replace(other.get().tensor());
}

/// Writes a number, or a 0-d tensor, everywhere; without one, zero.
#[pyfunction]
#[pyo3(signature = (tensor, value = None))]
fn _fill(tensor: &Bound<'_, PyTensor>, value: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    let t = tensor.get().tensor();
    let Some(value) = value else {
        return Ok(in_place::fill_(&t, 0i64.into(), provenance::ZERO)?);
    };
    let operand = convert::operand(value)?.ok_or_else(|| {
        PyTypeError::new_err(format!(
            "fill_(): argument 'value' (position 1) must be Number, not {}",
            convert::type_name(value)
        ))
    })?;
    Ok(in_place::fill_(&t, operand, provenance::FILL)?)
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(_fill, m)?)?;
    m.add_function(wrap_pyfunction!(tensor, m)?)?;
    m.add_function(wrap_pyfunction!(as_tensor, m)?)?;
    m.add_function(wrap_pyfunction!(is_tensor, m)?)?;
    m.add_function(wrap_pyfunction!(to, m)?)?;
    m.add_function(wrap_pyfunction!(_replace, m)?)
}
