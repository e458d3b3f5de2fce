//! Steps of optimisers, called once for all parameters of a group.

use super::tensor::PyTensor;
use crate::Tensor;
use crate::backend::{Adam, Sgd, Update};
use crate::ops::optim::update;
use pyo3::prelude::*;

/// A list of tensors, as Python passes it.
type List<'py> = Vec<PyRef<'py, PyTensor>>;

fn tensors(list: &List) -> Vec<Tensor> {
    list.iter().map(|t| t.tensor().clone()).collect()
}

/// One step of stochastic gradient descent. `buffers` is empty without momentum.
///
/// Returns whether it was done: see `ops::optim::update`.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
fn sgd_step(
    params: List,
    grads: List,
    buffers: List,
    lr: f64,
    momentum: f64,
    dampening: f64,
    weight_decay: f64,
    nesterov: bool,
    maximize: bool,
) -> PyResult<bool> {
    let rule = Update::Sgd(Sgd {
        lr,
        momentum,
        dampening,
        weight_decay,
        nesterov,
        maximize,
    });
    let [p, g, b] = [&params, &grads, &buffers].map(tensors);
    Ok(if momentum == 0.0 {
        update(&rule, &[&p, &g], &[true, false])?
    } else {
        update(&rule, &[&p, &g, &b], &[true, false, true])?
    })
}

/// One step of Adam. `largest` is empty without `amsgrad`; `steps` counts this step too.
///
/// Returns whether it was done: see `ops::optim::update`.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
fn adam_step(
    params: List,
    grads: List,
    means: List,
    squares: List,
    largest: List,
    steps: Vec<f64>,
    lr: f64,
    beta1: f64,
    beta2: f64,
    eps: f64,
    weight_decay: f64,
    decoupled: bool,
    maximize: bool,
) -> PyResult<bool> {
    let corrections = steps
        .iter()
        .map(|step| [1.0 - beta1.powf(*step), (1.0 - beta2.powf(*step)).sqrt()])
        .collect();
    let amsgrad = !largest.is_empty();
    let rule = Update::Adam(Adam {
        lr,
        beta1,
        beta2,
        eps,
        weight_decay,
        decoupled,
        amsgrad,
        maximize,
        corrections,
    });
    let [p, g, m, v, w] = [&params, &grads, &means, &squares, &largest].map(tensors);
    Ok(if amsgrad {
        update(
            &rule,
            &[&p, &g, &m, &v, &w],
            &[true, false, true, true, true],
        )?
    } else {
        update(&rule, &[&p, &g, &m, &v], &[true, false, true, true])?
    })
}

/// Multiplies tensors by a number. Returns whether it was done: see `ops::optim::update`.
#[pyfunction]
fn scale_all(list: List, factor: f64) -> PyResult<bool> {
    Ok(update(&Update::Scale(factor), &[&tensors(&list)], &[true])?)
}

/// Fills tensors with zeros. Returns whether it was done: see `ops::optim::update`.
#[pyfunction]
fn zero_all(list: List) -> PyResult<bool> {
    Ok(update(&Update::Zero, &[&tensors(&list)], &[true])?)
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(sgd_step, m)?)?;
    m.add_function(wrap_pyfunction!(adam_step, m)?)?;
    m.add_function(wrap_pyfunction!(scale_all, m)?)?;
    m.add_function(wrap_pyfunction!(zero_all, m)?)
}
