//! What graphs keep in memory, as Python reads it.

use super::convert;
use super::node::PyNode;
use super::tensor::PyTensor;
use crate::tape::{self, Kept, KeptByNode};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use rustc_hash::FxHashMap;

/// A name, bytes and how many buffers.
type Row = (String, usize, usize);

/// Bytes and how many buffers.
type Sum = (usize, usize);

/// Sums by a key that is cheap to tell, then by what it is called: the largest first.
fn rows<K: Eq + std::hash::Hash>(
    kept: &Kept,
    key: impl Fn(&KeptByNode) -> K,
    name: impl Fn(&KeptByNode) -> String,
) -> Vec<Row> {
    let mut sums: FxHashMap<K, (&KeptByNode, Sum)> = FxHashMap::default();
    for node in &kept.by_node {
        let (_, sum) = sums.entry(key(node)).or_insert((node, (0, 0)));
        sum.0 += node.bytes;
        sum.1 += node.buffers;
    }
    let mut named: FxHashMap<String, Sum> = FxHashMap::default();
    for (node, (bytes, buffers)) in sums.into_values() {
        let sum = named.entry(name(node)).or_default();
        sum.0 += bytes;
        sum.1 += buffers;
    }
    let mut rows: Vec<Row> = named
        .into_iter()
        .map(|(name, (b, n))| (name, b, n))
        .collect();
    rows.sort_unstable_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
    rows
}

/// What the nodes that lead to `roots` keep (`follow`), or these nodes alone: how many nodes there
/// are, rows by op and by line, bytes and buffers by the node's number, leaves with their shapes and
/// bytes, positions in `held` and bytes, and how many tensors are packed.
#[pyfunction]
fn kept_memory<'py>(
    py: Python<'py>,
    roots: Vec<Bound<'py, PyNode>>,
    held: Vec<Bound<'py, PyTensor>>,
    follow: bool,
) -> PyResult<Bound<'py, PyTuple>> {
    let mut nodes: Vec<_> = roots.iter().map(|n| n.get().0.clone()).collect();
    if follow {
        nodes = tape::reachable(&nodes);
    }
    let held: Vec<_> = held.iter().map(|t| t.get().tensor()).collect();
    let mut kept = tape::kept(&nodes, &held);
    let by_op = rows(&kept, |k| k.node.kind(), |k| k.node.name());
    let site = |k: &KeptByNode| k.node.with(|n| n.site);
    let by_line = rows(
        &kept,
        |k| site(k).0,
        |k| site(k).describe().unwrap_or_else(|| "(unknown)".into()),
    );
    let by_node: Vec<_> = kept
        .by_node
        .iter()
        .map(|k| (k.node.with(|n| n.seq), k.bytes, k.buffers))
        .collect();
    let leaves = std::mem::take(&mut kept.leaves)
        .into_iter()
        .map(|(t, bytes)| {
            let shape = t.shape().to_string();
            Ok((convert::wrap_leaf(py, t)?, shape, bytes))
        })
        .collect::<PyResult<Vec<_>>>()?;
    (
        kept.nodes,
        by_op,
        by_line,
        by_node,
        leaves,
        kept.held,
        kept.packed,
    )
        .into_pyobject(py)
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(kept_memory, m)?)
}
