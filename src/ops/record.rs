//! Recording: the node of a call, what it saves, and the history of results.

use super::def::{Call, Kernel};
use super::{growth, table};
use crate::base::Result;
use crate::ensure;
use crate::tape::node::{OUTPUTS, input_metas};
use crate::tape::{Body, Cut, CutBy, Edge, NodeRef, Rule, Saved, SavedTensor, Site, mode};
use crate::tensor::{Operand, Tensor};
use smallvec::SmallVec;

/// Which inputs of a call need a gradient, as bits; 0 when nothing is to be recorded.
#[inline]
pub(super) fn needs_grad(call: &Call) -> u64 {
    if !mode::grad_enabled() {
        return 0;
    }
    let mut needs = 0;
    for (i, input) in call.inputs.iter().enumerate() {
        if input.requires_grad() && call.op.grad(i).is_some() {
            needs |= 1 << i.min(63);
        }
    }
    needs
}

/// Records a node for a call and gives the outputs their history.
pub(super) fn history(call: &Call, needs: u64, outs: &mut [Tensor]) -> Result<()> {
    let mut node = Some(node(call, needs, call.inputs, outs)?);
    if outs.iter().any(|out| !out.dtype().is_float()) {
        cut_here(call, outs.iter().filter(|out| !out.dtype().is_float()));
    }
    let is_float = |(_, out): &(usize, &mut Tensor)| out.dtype().is_float();
    let mut outs = outs.iter_mut().enumerate().filter(is_float).peekable();
    while let Some((i, out)) = outs.next() {
        // The last one takes the handle.
        let node = if outs.peek().is_some() {
            node.clone()
        } else {
            node.take()
        };
        out.begin_history(Edge {
            node: node.expect("taken by the last"),
            output: i as u32,
        });
    }
    Ok(())
}

/// A node for a call; `inputs` are what it found, before it wrote one of them in place.
pub(super) fn node(
    call: &Call,
    needs: u64,
    inputs: &[Operand],
    outs: &[Tensor],
) -> Result<NodeRef> {
    let op = call.op;
    let mut mask = 0;
    let mut edges: SmallVec<[Option<Edge>; 2]> = SmallVec::with_capacity(inputs.len());
    for (i, input) in inputs.iter().enumerate() {
        let edge = match (input.as_tensor(), op.grad(i)) {
            (Some(t), Some(grad)) if needs >> i.min(63) & 1 == 1 => {
                let edge = t.grad_edge()?;
                if edge.is_some() {
                    mask |= grad.reads;
                }
                edge
            }
            _ => None,
        };
        edges.push(edge);
    }
    // A rule may read more inputs than a call has: all tensors of a list.
    if inputs.len() < OUTPUTS as usize {
        mask &= ((1 << inputs.len()) - 1) | (!0 << OUTPUTS);
    }
    let saved = save(call, mask, inputs, &edges, outs)?;
    let site = Site::current();
    if std::ptr::eq(op, &table::ADD) && outs[0].numel() == 1 {
        growth::check(op, &edges, site);
    }
    Ok(NodeRef::new(|n| {
        n.body = Body::Op(op);
        n.edges = edges;
        n.outputs.extend(outs.iter().map(Tensor::meta));
        n.inputs.extend(input_metas(inputs, &n.outputs[0]));
        n.attrs = call.attrs.clone();
        n.mask = mask;
        n.saved = saved;
        n.site = site;
    }))
}

/// The operands and results that the bits of `mask` name.
fn save(
    call: &Call,
    mask: u64,
    inputs: &[Operand],
    edges: &[Option<Edge>],
    outs: &[Tensor],
) -> Result<SmallVec<[Saved; 2]>> {
    let name = call.op.name;
    let mut saved = SmallVec::new();
    let mut bits = mask;
    while bits != 0 {
        let bit = bits.trailing_zeros();
        bits &= bits - 1;
        saved.push(if bit >= OUTPUTS {
            let i = bit - OUTPUTS;
            Saved::Tensor(SavedTensor::output(&outs[i as usize], Some(i), name)?)
        } else {
            match inputs.get(bit as usize) {
                Some(Operand::Tensor(t)) => {
                    check_saveable(t)?;
                    let edge = match &edges[bit as usize] {
                        Some(edge) => Some(edge.clone()),
                        None => t.grad_edge()?,
                    };
                    Saved::Tensor(SavedTensor::input(t, edge, name)?)
                }
                Some(Operand::Scalar(s)) => Saved::Scalar(*s),
                Some(Operand::None) | None => Saved::None,
            }
        });
    }
    Ok(saved)
}

/// Refuses to save an inference tensor.
pub(super) fn check_saveable(t: &Tensor) -> Result<()> {
    ensure!(
        !t.is_inference(),
        runtime,
        "Inference tensors cannot be saved for backward. Please do not use Tensors created in \
         inference mode in computation tracked by autograd. To work around this, you can make a \
         clone to get a normal tensor and use it in autograd, or use no_grad() instead of \
         inference_mode()"
    );
    Ok(())
}

/// Notes why results have no history: see NOTE [Cuts].
#[inline]
pub(super) fn cut(call: &Call, outs: &[Tensor]) {
    // What is made anew takes no more than shapes from its inputs.
    if mode::in_unrecorded_backward() || matches!(call.op.kernel, Kernel::Dynamic(_)) {
        return;
    }
    for t in call.tensors() {
        let cut = t.cut();
        if !cut.is_none() && !t.requires_grad() {
            outs.iter().for_each(|out| out.set_cut(cut));
            return;
        }
        if t.requires_grad() {
            cut_here(call, outs.iter());
            return;
        }
    }
}

#[cold]
fn cut_here<'a>(call: &Call, outs: impl Iterator<Item = &'a Tensor>) {
    let by = if mode::grad_enabled() {
        CutBy::NotDifferentiable
    } else {
        CutBy::NoGrad
    };
    let cut = Cut::here(by, call.op.number());
    outs.for_each(|out| out.set_cut(cut));
}
