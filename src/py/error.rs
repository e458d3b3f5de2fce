//! The one mapping between the crate's errors and Python's exceptions.

use crate::base::{Error, ErrorKind};
use pyo3::PyErr;
use pyo3::exceptions::{
    PyIndexError, PyNotImplementedError, PyRuntimeError, PyTypeError, PyValueError,
};

impl From<Error> for PyErr {
    fn from(e: Error) -> PyErr {
        let kind = e.kind();
        let message = e.message().to_owned();
        match kind {
            ErrorKind::Foreign => match e.into_source().map(|s| s.downcast::<PyErr>()) {
                Some(Ok(e)) => *e,
                _ => PyRuntimeError::new_err(message),
            },
            ErrorKind::Runtime => PyRuntimeError::new_err(message),
            ErrorKind::Index => PyIndexError::new_err(message),
            ErrorKind::Type => PyTypeError::new_err(message),
            ErrorKind::Value => PyValueError::new_err(message),
            ErrorKind::NotImplemented => PyNotImplementedError::new_err(message),
        }
    }
}

impl From<PyErr> for Error {
    fn from(e: PyErr) -> Error {
        Error::foreign(e)
    }
}
