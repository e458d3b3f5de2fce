//! The thread's modes, as Python's context managers set them.

use crate::memory::pool;
use crate::tape::{self, mode, provenance};
use crate::tensor::format::{self, PrintOptions};
use pyo3::prelude::*;

#[pyfunction]
fn is_grad_enabled() -> bool {
    mode::grad_enabled()
}

#[pyfunction]
fn set_grad_enabled(enabled: bool) {
    mode::set_grad_enabled(enabled);
}

#[pyfunction]
fn is_inference_mode_enabled() -> bool {
    mode::inference()
}

#[pyfunction]
fn set_inference_mode(enabled: bool) {
    mode::set_inference(enabled);
}

/// Switches the call sites of nodes and writes on or off.
#[pyfunction]
fn set_provenance(enabled: bool) {
    provenance::set_enabled(enabled);
}

/// How many nodes of the tape are alive.
#[pyfunction]
fn live_nodes() -> usize {
    tape::live_nodes()
}

/// Bytes in buffers that tensors hold.
#[pyfunction]
fn live_bytes() -> usize {
    pool::live_bytes()
}

/// Bytes in freed buffers that wait for reuse.
#[pyfunction]
fn cached_bytes() -> usize {
    pool::cached_bytes()
}

/// Gives freed buffers back to the system.
#[pyfunction]
fn empty_cache() {
    pool::empty_cache();
}

/// Precision, threshold, edge items, line width and scientific mode of printing.
#[pyfunction]
fn print_options() -> (usize, usize, usize, usize, Option<bool>) {
    let o = format::print_options();
    (
        o.precision,
        o.threshold,
        o.edge_items,
        o.line_width,
        o.sci_mode,
    )
}

#[pyfunction]
#[pyo3(signature = (precision, threshold, edge_items, line_width, sci_mode))]
fn set_print_options(
    precision: usize,
    threshold: usize,
    edge_items: usize,
    line_width: usize,
    sci_mode: Option<bool>,
) {
    format::set_print_options(PrintOptions {
        precision,
        threshold,
        edge_items,
        line_width,
        sci_mode,
    });
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(is_grad_enabled, m)?)?;
    m.add_function(wrap_pyfunction!(set_grad_enabled, m)?)?;
    m.add_function(wrap_pyfunction!(is_inference_mode_enabled, m)?)?;
    m.add_function(wrap_pyfunction!(set_inference_mode, m)?)?;
    m.add_function(wrap_pyfunction!(set_provenance, m)?)?;
    m.add_function(wrap_pyfunction!(print_options, m)?)?;
    m.add_function(wrap_pyfunction!(set_print_options, m)?)?;
    m.add_function(wrap_pyfunction!(live_nodes, m)?)?;
    m.add_function(wrap_pyfunction!(live_bytes, m)?)?;
    m.add_function(wrap_pyfunction!(cached_bytes, m)?)?;
    m.add_function(wrap_pyfunction!(empty_cache, m)?)
}
