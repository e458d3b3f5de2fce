//! The thread's modes, as Python's context managers set them.

use crate::backend::cpu::threads;
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

/// The most bytes that tensors held at once since the start or the last reset.
#[pyfunction]
fn peak_bytes() -> usize {
    pool::peak_bytes()
}

/// Lets `peak_bytes` start from what is held now.
#[pyfunction]
fn reset_peak() {
    pool::reset_peak();
}

/// How many threads share the work of an op.
#[pyfunction]
fn get_num_threads() -> usize {
    threads::num_threads()
}

/// Sets how many threads share the work of an op.
#[pyfunction]
fn set_num_threads(threads: usize) {
    threads::set_num_threads(threads);
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
    m.add_function(wrap_pyfunction!(peak_bytes, m)?)?;
    m.add_function(wrap_pyfunction!(reset_peak, m)?)?;
    m.add_function(wrap_pyfunction!(get_num_threads, m)?)?;
    m.add_function(wrap_pyfunction!(set_num_threads, m)?)?;
    m.add_function(wrap_pyfunction!(empty_cache, m)?)
}
