//! A warning of graphs that grow by accident: `total += loss`.
//!
//! NOTE [Growth]
//! A scalar whose backward has run, without the graph being kept, is of no use in another history; but
//! added to a running total it keeps its graph alive, and the total keeps those of all steps before. So
//! an addition of scalars warns, once a line, when it adds the root of a backward that has run, or when
//! it adds to a total that the same line has made in that way. What is recorded otherwise is never
//! looked at.

use super::def::OpDef;
use crate::tape::{Body, Edge, Node, Rule, Site, provenance};
use parking_lot::Mutex;
use rustc_hash::FxHashSet;

/// Lines that were warned of.
static WARNED: Mutex<Option<FxHashSet<u32>>> = Mutex::new(None);

/// See NOTE [Growth].
pub(super) fn check(add: &'static OpDef, edges: &[Option<Edge>], site: Site) {
    if site == Site::default() {
        return;
    }
    let is_total = |n: &Node| {
        let is_add = matches!(n.body, Body::Op(rule) if rule.number() == add.number());
        is_add && n.site == site
    };
    let grows = edges.iter().flatten().any(|edge| {
        let (walked, below) = edge.node.with(|n| {
            let below = if is_total(n) {
                n.edges.iter().flatten().map(|e| e.node.clone()).collect()
            } else {
                Vec::new()
            };
            (n.walked, below)
        });
        walked || below.iter().any(|node| node.with(|n| n.walked))
    });
    if !grows || !WARNED.lock().get_or_insert_default().insert(site.0) {
        return;
    }
    provenance::warn(&format!(
        "the sum{} adds the result of a backward that has already run, with its history: its graph \
         stays alive as long as the sum does, and a loop keeps the graphs of all its steps. Add \
         loss.item() or loss.detach() instead",
        site.at()
    ));
}
