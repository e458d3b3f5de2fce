//! The graph that tensors point into: nodes, edges, saved values, and the thread's modes.

pub mod cut;
pub mod hooks;
pub mod kept;
pub mod mode;
pub mod node;
pub mod provenance;
pub mod saved;

pub use cut::{Cut, CutBy};
pub use hooks::{Hook, HookHandle, Hooks, When};
pub use kept::{Kept, KeptByNode, kept, reachable};
pub use mode::{GradMode, Taint};
pub use node::{
    Body, Edge, Meta, Node, NodeId, NodeRef, Outputs, Rule, SharedShape, VjpCx, delayed_error,
};
pub use provenance::Site;
pub use saved::{Packed, Saved, SavedTensor, SavedTensorHooks};

/// The nodes that are alive, in the order of recording.
pub fn live_graph() -> Vec<NodeRef> {
    let mut nodes: Vec<NodeRef> = NodeId::occupied().filter_map(NodeId::upgrade).collect();
    nodes.sort_by_key(|node| node.with(|n| n.seq));
    nodes
}

/// How many nodes are alive.
pub fn live_nodes() -> usize {
    node::TAPE.live()
}
