//! What a node keeps from the forward pass for its backward rules.
//!
//! NOTE [Saved values]
//! A saved tensor is the bytes (storage and layout) and the gradient edge as they were when it was
//! saved, not the tensor's handle: a handle's history changes when it is written in place, and a
//! node that held the handle could then reach itself. An output of the node is saved without an
//! edge, since the edge would be the node; it is put back when the value is unpacked.

use super::node::{Edge, NodeRef};
use super::provenance::{Site, op_name};
use crate::base::{DType, Error, Layout, Result, Scalar};
use crate::memory::Storage;
use crate::tensor::{Tangents, Tensor};
use std::sync::Arc;

/// A saved operand.
#[derive(Clone)]
pub enum Saved {
    /// Not a tensor.
    Scalar(Scalar),
    /// An absent optional input.
    None,
    /// A tensor.
    Tensor(SavedTensor),
}

/// See NOTE [Saved values].
#[derive(Clone)]
pub struct SavedTensor {
    storage: Storage,
    layout: Arc<Layout>,
    dtype: DType,
    version: u32,
    edge: Option<Edge>,
    /// The node's own output of this number.
    output: Option<u32>,
    tainted: bool,
    /// The tangents it had; a node's own outputs get theirs after the node is made.
    tangents: Tangents,
}

impl SavedTensor {
    /// Saves an input, whose gradient goes to `edge`.
    pub fn input(t: &Tensor, edge: Option<Edge>) -> Self {
        Self {
            edge,
            ..Self::output(t, None)
        }
    }

    /// Saves output number `output` of the node being made (or a tensor without history).
    pub fn output(t: &Tensor, output: Option<u32>) -> Self {
        Self {
            storage: t.storage().clone(),
            layout: t.shared_layout().clone(),
            dtype: t.dtype(),
            version: t.storage().version(),
            edge: None,
            output,
            tainted: t.is_tainted() && output.is_none(),
            tangents: t.tangents(),
        }
    }

    /// Whether the bytes were written since they were saved.
    pub fn is_stale(&self) -> bool {
        self.storage.version() != self.version
    }

    /// The saved tensor, with its history; `node` and `name` are the node that saved it.
    ///
    /// # Errors
    /// When the bytes were written in between: the message names the reader, the writer and both
    /// lines.
    pub fn unpack(&self, node: Option<&NodeRef>, name: &str, site: Site) -> Result<Tensor> {
        if self.is_stale() {
            let (writer, writer_site) = self.storage.last_writer();
            let what = match self.output {
                Some(i) => format!("output {i} of {name}"),
                None => format!("a tensor saved by {name}"),
            };
            return Err(Error::runtime(format!(
                "one of the variables needed for gradient computation has been modified by an \
                 inplace operation: [{dtype} {shape}], {what}{saved_at}, is at version {now}; \
                 expected version {then} instead. It was overwritten by {writer}_{written_at}. \
                 Write out of place there, or save a clone() before",
                dtype = self.dtype.scalar_type_name(),
                shape = self.layout.shape,
                saved_at = site.at(),
                now = self.storage.version(),
                then = self.version,
                writer = op_name(writer),
                written_at = Site(writer_site).at(),
            )));
        }
        let edge = match self.output {
            Some(output) => node.map(|node| Edge {
                node: node.clone(),
                output,
            }),
            None => self.edge.clone(),
        };
        let t = Tensor::from_parts(self.storage.clone(), self.layout.clone(), self.dtype);
        if self.tainted {
            t.set_tainted(true);
        }
        let t = match edge {
            Some(edge) => t.with_history(edge),
            None => t,
        };
        t.set_tangents(self.tangents.clone());
        Ok(t)
    }

    /// Lets go of the tangents.
    pub fn take_tangents(&mut self) -> Tangents {
        self.tangents.take()
    }

    /// Gives a saved output the tangents that were computed after its node was made.
    pub fn set_output_tangents(&mut self, outputs: &[Tensor]) {
        if let Some(i) = self.output {
            self.tangents = outputs[i as usize].tangents();
        }
    }
}
