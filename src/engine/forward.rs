//! Forward mode: levels of tangents, pushed through each op as it runs.
//!
//! NOTE [Levels]
//! A dual tensor carries a tangent for each open level it belongs to. When an op has run, the
//! tangents of its outputs are computed level by level, outermost first, from inputs that carry
//! only the levels below: so an inner level's tangent is itself differentiable by the outer ones,
//! and by reverse mode, since rules are made of recorded ops.

use super::backward::{self, Grads};
use crate::base::{Error, Result};
use crate::ops::def::{Call, Jvp, JvpCx};
use crate::ops::{self, dispatch, in_place};
use crate::tape::node::OUTPUTS;
use crate::tape::{GradMode, Node, NodeId, Saved, SavedTensor, Site, VjpCx, delayed_error, mode};
use crate::tensor::{Creation, Operand, Tangents, Tensor};
use crate::{bail, ensure};
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};

/// Opens a level and returns its number.
pub fn enter_level() -> u32 {
    dispatch::register_forward(push);
    mode::enter_level()
}

/// Closes a level: its tangents are gone.
///
/// A node keeps the tangents of the outputs it saved, and those tangents' own graphs lead back to the
/// node. When the last level closes, the nodes let go of them.
pub fn exit_level(level: u32) {
    mode::exit_level(level);
    if mode::open_levels() == 0 {
        for id in TAGGED.take() {
            if let Some(node) = id.upgrade() {
                drop(node.with(take_tangents));
            }
        }
    }
}

thread_local! {
    /// The nodes whose saved outputs have tangents.
    static TAGGED: RefCell<Vec<NodeId>> = const { RefCell::new(Vec::new()) };
}

fn take_tangents(n: &mut Node) -> Vec<Tangents> {
    let tensors = n.saved.iter_mut().filter_map(|s| match s {
        Saved::Tensor(t) => Some(t.take_tangents()),
        _ => None,
    });
    tensors.collect()
}

/// The primal with a tangent at a level: same elements, same history.
///
/// # Errors
/// When shapes, types or devices differ, or the primal is not floating point.
pub fn make_dual(primal: &Tensor, tangent: &Tensor, level: u32) -> Result<Tensor> {
    ensure!(
        primal.dtype().is_float() && tangent.dtype() == primal.dtype(),
        value,
        "Expected primal and tangent to be floating point of one dtype, but got: {} and {}",
        primal.dtype(),
        tangent.dtype()
    );
    ensure!(
        primal.shape() == tangent.shape() && primal.device() == tangent.device(),
        runtime,
        "Expected tangent to have the primal's shape {} and device, but got shape {}",
        primal.shape(),
        tangent.shape()
    );
    ensure!(
        mode::is_open(level),
        runtime,
        "the dual level {level} is not open on this thread"
    );
    let dual = ops::view::alias(primal)?;
    dual.set_tangent(level, Some(tangent.clone()));
    Ok(dual)
}

/// Gives a call's outputs their tangents: see NOTE [Levels].
fn push(call: &Call, outs: &[Tensor]) -> Result<()> {
    let mut levels: SmallVec<[u32; 2]> = SmallVec::new();
    for t in call.tensors() {
        levels.extend(
            t.tangents()
                .iter()
                .flat_map(|t| t.iter().map(|(level, _)| *level)),
        );
    }
    if levels.is_empty() || outs.iter().all(|t| t.view_info().is_some()) {
        // A view shows its base's tangents.
        return Ok(());
    }
    levels.sort_unstable();
    levels.dedup();
    for level in levels {
        let inputs = call
            .inputs
            .iter()
            .map(|input| match input {
                Operand::Tensor(t) => t.below(level).map(Operand::Tensor),
                other => Ok(other.clone()),
            })
            .collect::<Result<SmallVec<[Operand; 3]>>>()?;
        let tangents: SmallVec<[Option<Tensor>; 3]> = call
            .inputs
            .iter()
            .map(|input| input.as_tensor().and_then(|t| t.tangent(level)))
            .collect();
        let call = Call {
            inputs: &inputs,
            ..*call
        };
        let results = jvp(&call, &tangents, outs)?;
        for (out, tangent) in outs.iter().zip(results) {
            if let Some(t) = tangent
                && out.dtype().is_float()
            {
                let t = ops::expand(&ops::cast(&t, out.dtype())?, out.shape())?;
                out.set_tangent(level, Some(t));
            }
        }
    }
    // The node was made before the tangents were known: give them to the outputs it saved.
    if let Some(edge) = outs.iter().find_map(Tensor::grad_fn) {
        TAGGED.with_borrow_mut(|nodes| nodes.push(edge.node.id()));
        edge.node.with(|n| {
            for s in &mut n.saved {
                if let Saved::Tensor(s) = s {
                    s.set_output_tangents(outs);
                }
            }
        });
    }
    Ok(())
}

/// The tangents of the outputs at one level; the inputs carry only the levels below.
fn jvp(
    call: &Call,
    tangents: &[Option<Tensor>],
    outs: &[Tensor],
) -> Result<SmallVec<[Option<Tensor>; 1]>> {
    let op = call.op;
    let active: SmallVec<[usize; 3]> = (0..tangents.len())
        .filter(|&i| tangents[i].is_some() && op.grad(i).is_some())
        .collect();
    if active.is_empty() {
        return Ok(outs.iter().map(|_| None).collect());
    }
    let with = |f: &dyn Fn(usize) -> Result<Option<Operand>>| {
        (0..call.inputs.len())
            .map(|i| Ok(f(i)?.unwrap_or_else(|| call.inputs[i].clone())))
            .collect::<Result<SmallVec<[Operand; 3]>>>()
    };
    let mut sums: SmallVec<[Option<Tensor>; 1]> = outs.iter().map(|_| None).collect();
    match op.jvp {
        Jvp::None => bail!(
            not_implemented,
            "[{}] has no forward-mode derivative; use reverse mode, or detach() its input",
            op.name
        ),
        Jvp::Rule(rule) => {
            return rule(&JvpCx {
                call,
                tangents,
                outs,
            });
        }
        Jvp::Linear => {
            let inputs = with(&|i| match (&tangents[i], call.inputs[i].as_tensor()) {
                (Some(t), _) => Ok(Some(t.into())),
                (None, Some(t)) if op.grad(i).is_some() => Ok(Some(
                    Tensor::zeros(t.shape().clone(), t.dtype(), t.device())?.into(),
                )),
                // A constant of an affine op, as in `x + 2`, has tangent zero.
                (None, None) if op.grad(i).is_some() && call.inputs[i].is_some() => {
                    Ok(Some(Operand::from(0i64)))
                }
                _ => Ok(None),
            })?;
            let results = dispatch::run_overload(op, call.overload, &inputs, call.attrs)?;
            return Ok(results.into_iter().map(Some).collect());
        }
        Jvp::Multilinear => {
            for &i in &active {
                let inputs = with(&|j| Ok((i == j).then(|| tangents[i].clone().into())))?;
                let results = dispatch::run_overload(op, call.overload, &inputs, call.attrs)?;
                for (sum, t) in sums.iter_mut().zip(results) {
                    *sum = Some(added(sum.take(), t)?);
                }
            }
        }
        Jvp::Elementwise => {
            let out = &outs[0];
            for &i in &active {
                let t = tangents[i].as_ref().expect("active");
                let g = [Some(ops::expand(&ops::cast(t, out.dtype())?, out.shape())?)];
                if let Some(t) = vjp(call, outs, &g, i)? {
                    sums[0] = Some(added(sums[0].take(), t)?);
                }
            }
        }
        Jvp::DoubleVjp => {
            return double_vjp(outs, &|cotangents| {
                let pull = |&i: &usize| {
                    let g = vjp(call, outs, cotangents, i)?;
                    let g = g
                        .map(|g| ops::sum_to(&g, call.tensor(i).shape()))
                        .transpose()?;
                    Ok((g, tangents[i].clone()))
                };
                active.iter().map(pull).collect()
            });
        }
    }
    Ok(sums)
}

/// The gradients of some inputs for given cotangents, each with that input's tangent.
type Pull<'a> = &'a dyn Fn(&[Option<Tensor>]) -> Result<Vec<(Option<Tensor>, Option<Tensor>)>>;

/// `J t`, as the gradient of `(J^T v) . t` with respect to `v`: the vjp is linear in `v`.
fn double_vjp(outs: &[Tensor], pull: Pull) -> Result<SmallVec<[Option<Tensor>; 1]>> {
    let _record = GradMode::set(true);
    let mut cotangents = Vec::with_capacity(outs.len());
    for out in outs {
        cotangents.push(if out.dtype().is_float() {
            let v = Tensor::zeros(out.shape().clone(), out.dtype(), out.device())?;
            v.set_requires_grad(true)?;
            Some(v)
        } else {
            None
        });
    }
    let (mut pulled, mut pushed) = (Vec::new(), Vec::new());
    for (g, t) in pull(&cotangents)? {
        if let (Some(g), Some(t)) = (g, t)
            && g.requires_grad()
        {
            pushed.push(Some(ops::cast(&t, g.dtype())?));
            pulled.push(g);
        }
    }
    if pulled.is_empty() {
        return Ok(outs.iter().map(|_| None).collect());
    }
    let wanted: Vec<Tensor> = cotangents.iter().flatten().cloned().collect();
    let how = Grads {
        retain_graph: true,
        create_graph: true,
    };
    let mut found = backward::grad(&pulled, &pushed, &wanted, true, how)?.into_iter();
    Ok(cotangents
        .iter()
        .map(|v| v.as_ref().and_then(|_| found.next().flatten()))
        .collect())
}

/// Gives the outputs of a custom function their tangents, through its own backward.
///
/// # Errors
/// When the backward fails, or is not differentiable.
pub fn push_custom(
    inputs: &[Tensor],
    outs: &[Tensor],
    backward: &dyn Fn(&[Option<Tensor>]) -> Result<Vec<Option<Tensor>>>,
) -> Result<()> {
    let mut levels: Vec<u32> = Vec::new();
    for t in inputs {
        levels.extend(
            t.tangents()
                .iter()
                .flat_map(|t| t.iter().map(|(level, _)| *level)),
        );
    }
    levels.sort_unstable();
    levels.dedup();
    let edges = inputs
        .iter()
        .map(Tensor::grad_edge)
        .collect::<Result<SmallVec<[_; 2]>>>()?;
    for level in levels {
        let tainted = Cell::new(false);
        let results = double_vjp(outs, &|cotangents| {
            let pair = |(g, x): (Option<Tensor>, &Tensor)| {
                tainted.set(tainted.get() || g.as_ref().is_some_and(Tensor::is_tainted));
                let g = g.map(|g| ops::sum_to(&g, x.shape())).transpose()?;
                Ok((g, x.tangent(level)))
            };
            backward(cotangents)?
                .into_iter()
                .zip(inputs)
                .map(pair)
                .collect()
        })?;
        for (out, tangent) in outs.iter().zip(results) {
            // See NOTE [Tainted intermediates].
            let tangent = match tangent {
                Some(t) if tainted.get() && edges.iter().any(Option::is_some) => {
                    let mut edges = edges.clone();
                    edges.push(t.grad_edge()?);
                    Some(delayed_error(
                        &t,
                        edges,
                        backward::tainted_message("a custom function"),
                    ))
                }
                t => t,
            };
            match (&tangent, out.view_info()) {
                // A view that the function wrote shows its base's tangents.
                (Some(t), Some(view)) if view.creation != Creation::Custom => {
                    in_place::write_tangent(out, level, t)?;
                }
                _ => out.set_tangent(level, tangent),
            }
        }
    }
    Ok(())
}

fn added(sum: Option<Tensor>, t: Tensor) -> Result<Tensor> {
    match sum {
        Some(sum) => ops::add(&sum, &t),
        None => Ok(t),
    }
}

/// The op's own vjp for input `i`, applied to `grads` outside a backward pass.
fn vjp(call: &Call, outs: &[Tensor], grads: &[Option<Tensor>], i: usize) -> Result<Option<Tensor>> {
    let grad = call
        .op
        .grad(i)
        .ok_or_else(|| Error::runtime("an active input has a rule"))?;
    let mut saved: SmallVec<[Saved; 2]> = SmallVec::new();
    let mut bits = grad.reads;
    while bits != 0 {
        let bit = bits.trailing_zeros();
        bits &= bits - 1;
        let operand = match bit {
            OUTPUTS.. => Some(Operand::from(&outs[(bit - OUTPUTS) as usize])),
            _ => call.inputs.get(bit as usize).cloned(),
        };
        saved.push(match operand {
            Some(Operand::Tensor(t)) => Saved::Tensor(SavedTensor::held(&t)?),
            Some(Operand::Scalar(s)) => Saved::Scalar(s),
            _ => Saved::None,
        });
    }
    let inputs: SmallVec<[_; 3]> = call.inputs.iter().map(|x| Some(x.meta())).collect();
    let outputs: SmallVec<[_; 1]> = outs.iter().map(Tensor::meta).collect();
    (grad.vjp)(&VjpCx {
        node: None,
        site: Site::default(),
        name: call.op.name,
        attrs: call.attrs,
        grads,
        moved: Cell::new(None),
        needs: 1 << i.min(63),
        inputs: &inputs,
        outputs: &outputs,
        mask: grad.reads,
        saved: &saved,
        arg: i,
    })
}
