//! A gate: the identity on several tensors, whose gradients pass one node together.

use super::def::{Batch, Forms, Kernel, NOTHING, OpDef, grad};
use crate::base::{Attrs, Result};
use crate::tape::{Body, Edge, NodeRef, Site, mode};
use crate::tensor::{Creation, Tensor};
use smallvec::smallvec;

/// This family.
pub(super) static OPS: &[&OpDef] = &[&GATE];

/// `gate`.
pub static GATE: OpDef = OpDef {
    name: "gate",
    doc: "A view of all of `input`.",
    sig: &["(input)"],
    forms: Forms::HIDDEN,
    kernel: Kernel::View(|call| Ok(smallvec![call.tensor(0).layout().clone()])),
    // Each gradient passes as it is.
    grads: &[grad(NOTHING, |cx| Ok(cx.grads[cx.arg].clone()))],
    batch: Batch::Elementwise,
    ..OpDef::VIEW
};

/// Views of all of `tensors`, and the one node that the gradients of all of them pass: hooks of that
/// node see them together. No node is made, and the tensors come back as they are, where nothing is
/// recorded.
///
/// The views may be written in place like others.
///
/// # Errors
/// When a tensor's own history cannot be told.
pub fn gate(tensors: &[Tensor]) -> Result<(Vec<Tensor>, Option<NodeRef>)> {
    if !mode::grad_enabled() || !tensors.iter().any(Tensor::requires_grad) {
        return Ok((tensors.to_vec(), None));
    }
    let view = |t: &Tensor| {
        let layout = t.layout().clone();
        t.make_view(layout, &GATE, &Attrs::new(), 0, Creation::Recorded)
    };
    let views: Vec<Tensor> = tensors.iter().map(view).collect();
    let edges = tensors
        .iter()
        .map(Tensor::grad_edge)
        .collect::<Result<_>>()?;
    let site = Site::current();
    let node = NodeRef::new(|n| {
        n.body = Body::Op(&GATE);
        n.edges = edges;
        n.inputs.extend(tensors.iter().map(|t| Some(t.meta())));
        n.outputs.extend(tensors.iter().map(Tensor::meta));
        n.site = site;
    });
    for (i, (t, view)) in tensors.iter().zip(&views).enumerate() {
        if t.requires_grad() {
            let edge = Edge {
                node: node.clone(),
                output: i as u32,
            };
            view.set_history(Some(edge));
        }
    }
    Ok((views, Some(node)))
}
