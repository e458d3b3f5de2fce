//! The Python extension module `rustgrad._C`: the only place that names PyO3.
//!
//! Python call -> argument parsing from the op's own signature -> `ops::dispatch` -> wrapped result.

mod autograd;
mod convert;
mod dtype;
mod error;
mod frame;
mod function;
mod hooks;
mod index;
mod kept;
mod modes;
mod node;
mod numpy;
mod operators;
mod ops;
mod optim;
mod random;
mod recompute;
mod signature;
mod size;
mod tensor;
mod watch;

use pyo3::prelude::*;

/// The module.
#[pymodule(gil_used = true)]
#[pyo3(name = "_C")]
fn extension(m: &Bound<'_, PyModule>) -> PyResult<()> {
    frame::register(m.py())?;
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    m.add_class::<tensor::PyTensor>()?;
    m.add_class::<node::PyNode>()?;
    dtype::register(m)?;
    modes::register(m)?;
    autograd::register(m)?;
    function::register(m)?;
    hooks::register(m)?;
    kept::register(m)?;
    numpy::register(m)?;
    ops::register(m)?;
    optim::register(m)?;
    random::register(m)?;
    recompute::register(m)?;
    size::register(m)?;
    tensor::register(m)?;
    watch::register(m)
}
