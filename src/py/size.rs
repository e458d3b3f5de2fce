//! `rustgrad.Size`, the sizes of a tensor: a tuple that stays what it is when it is sliced.
//!
//! Programs write `x.shape[0]` in their inner loops, where a method in Python would cost more than
//! all the rest. PyO3 cannot extend `tuple`, so CPython's functions do it here.

use crate::base::Shape;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyTuple, PyType};
use pyo3::{PyErr, ffi};
use std::os::raw::c_uint;
use std::ptr::null_mut;

/// Adds `_Size`, of which the package makes `Size`.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = m.py();
    let mut slots = [
        ffi::PyType_Slot {
            slot: ffi::Py_mp_subscript,
            pfunc: subscript as *mut _,
        },
        ffi::PyType_Slot {
            slot: 0,
            pfunc: null_mut(),
        },
    ];
    let mut spec = ffi::PyType_Spec {
        name: c"rustgrad._C._Size".as_ptr(),
        basicsize: 0,
        itemsize: 0,
        flags: (ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE) as c_uint,
        slots: slots.as_mut_ptr(),
    };
    let bases = PyTuple::new(py, [py.get_type::<PyTuple>()])?;
    // SAFETY: the name is static, the slots end with one of zeros, and the one function has the type
    // that its slot asks for; the result is a new reference or null with an error set.
    let base = unsafe {
        let base = ffi::PyType_FromSpecWithBases(&mut spec, bases.as_ptr());
        Bound::from_owned_ptr_or_err(py, base)?
    };
    m.add("_Size", base)
}

/// `self[key]`: slices are of the same class.
unsafe extern "C" fn subscript(
    this: *mut ffi::PyObject,
    key: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter with a tuple; `tuple` itself has this slot.
    unsafe {
        let of_tuple = (*ffi::PyTuple_Type.tp_as_mapping).mp_subscript;
        let item = of_tuple.expect("tuples have subscripts")(this, key);
        if item.is_null() || ffi::PySlice_Check(key) == 0 {
            return item;
        }
        let class = ffi::Py_TYPE(this).cast();
        let part = ffi::PyObject_CallFunctionObjArgs(class, item, null_mut::<ffi::PyObject>());
        ffi::Py_DECREF(item);
        part
    }
}

/// The sizes as `rustgrad.Size`.
pub(super) fn size<'py>(py: Python<'py>, shape: &Shape) -> PyResult<Bound<'py, PyAny>> {
    static SIZE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = SIZE.import(py, "rustgrad._return_types", "Size")?;
    // SAFETY: the class is a tuple without fields of its own, so that this makes one of so many
    // items, all null, which the loop sets; `from_owned_ptr_or_err` looks for null.
    unsafe {
        let new = ffi::PyType_GenericAlloc(class.as_type_ptr(), shape.len() as isize);
        let new = Bound::from_owned_ptr_or_err(py, new)?;
        for (i, &n) in shape.iter().enumerate() {
            let n = ffi::PyLong_FromSize_t(n);
            if n.is_null() {
                return Err(PyErr::fetch(py));
            }
            ffi::PyTuple_SET_ITEM(new.as_ptr(), i as isize, n);
        }
        Ok(new)
    }
}
