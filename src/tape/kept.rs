//! What graphs keep in memory for their backward.

use super::node::{Body, NodeRef};
use super::saved::Saved;
use crate::memory::Storage;
use crate::tensor::Tensor;
use rustc_hash::FxHashSet;

/// What some nodes keep: see [`kept`].
#[derive(Default)]
pub struct Kept {
    /// How many nodes there are, accumulators of leaves left out.
    pub nodes: usize,
    /// The nodes that keep buffers, in the order of recording.
    pub by_node: Vec<KeptByNode>,
    /// Leaves that the nodes lead to, and the bytes of their buffers, each buffer once.
    pub leaves: Vec<(Tensor, usize)>,
    /// Which of the tensors that others hold the nodes keep too, and the bytes of their buffers.
    pub held: Vec<(usize, usize)>,
    /// How many saved tensors hooks have packed: where they are, and how large, is not known.
    pub packed: usize,
}

/// What one node keeps.
pub struct KeptByNode {
    /// The node.
    pub node: NodeRef,
    /// Bytes of the buffers that count for it, as the allocator counts them.
    pub bytes: usize,
    /// How many buffers those are.
    pub buffers: usize,
}

/// The nodes that lead to some, these included, in the order of recording.
pub fn reachable(roots: &[NodeRef]) -> Vec<NodeRef> {
    let mut seen = FxHashSet::default();
    let mut nodes: Vec<NodeRef> = Vec::new();
    let mut todo = roots.to_vec();
    while let Some(node) = todo.pop() {
        if seen.insert(node.index()) {
            node.with(|n| todo.extend(n.edges.iter().flatten().map(|e| e.node.clone())));
            nodes.push(node);
        }
    }
    nodes.sort_unstable_by_key(|node| node.with(|n| n.seq));
    nodes
}

/// What nodes keep, given in the order of recording: a buffer counts for the first that saved it,
/// and for none if it is a leaf's or one of `held`.
///
/// ```
/// use rustgrad::{Tensor, ops, tape};
/// let x = Tensor::from_slice(&[0.5f32; 100], [100])?;
/// x.set_requires_grad(true)?;
/// let y = ops::sum(ops::sin(ops::exp(&x)?)?)?;
/// let root = y.grad_fn().expect("recorded").node;
/// let kept = tape::kept(&tape::reachable(&[root]), &[]);
/// // The result of `exp`, for `exp` and for `sin`; the allocator rounds 400 bytes up.
/// assert_eq!((kept.nodes, kept.by_node.len(), kept.by_node[0].bytes), (3, 1, 448));
/// # Ok::<(), rustgrad::Error>(())
/// ```
pub fn kept(nodes: &[NodeRef], held: &[Tensor]) -> Kept {
    let mut kept = Kept::default();
    // Leaves first: they may be saved by a node that was recorded before their accumulator.
    let mut others: FxHashSet<usize> = FxHashSet::default();
    for leaf in nodes.iter().filter_map(NodeRef::leaf) {
        if let Some(t) = leaf.owner()
            && others.insert(t.storage().id())
        {
            let bytes = t.storage().footprint();
            kept.leaves.push((t, bytes));
        }
    }
    let own: Vec<usize> = (0..held.len())
        .filter(|&i| others.insert(held[i].storage().id()))
        .collect();
    let mut found: FxHashSet<usize> = FxHashSet::default();
    for node in nodes {
        let (mut bytes, mut buffers) = (0, 0);
        let mut count = |storage: Option<&Storage>| match storage {
            None => kept.packed += 1,
            Some(storage) => {
                if found.insert(storage.id()) && !others.contains(&storage.id()) {
                    bytes += storage.footprint();
                    buffers += 1;
                }
            }
        };
        let function = node.with(|n| {
            for saved in &n.saved {
                if let Saved::Tensor(t) = saved {
                    count(t.storage());
                }
            }
            match &n.body {
                Body::Custom(function) => Some(function.clone()),
                _ => None,
            }
        });
        if let Some(function) = &function {
            function
                .saved()
                .iter()
                .flatten()
                .for_each(|t| count(t.storage()));
        }
        kept.nodes += usize::from(!node.is_accumulator());
        if buffers > 0 {
            let node = node.clone();
            kept.by_node.push(KeptByNode {
                node,
                bytes,
                buffers,
            });
        }
    }
    let used = own
        .into_iter()
        .filter(|&i| found.contains(&held[i].storage().id()));
    kept.held = used.map(|i| (i, held[i].storage().footprint())).collect();
    kept
}
