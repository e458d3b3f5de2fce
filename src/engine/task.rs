//! The backward passes that are under way on this thread, as hooks see them.

use crate::tape::{Edge, NodeId, NodeRef};
use crate::tensor::Tensor;
use rustc_hash::FxHashSet;
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A backward pass under way. A hook may run another one within it.
pub struct Task {
    id: u64,
    roots: Vec<NodeRef>,
    /// The node that runs.
    running: Cell<Option<NodeId>>,
    /// With targets: the nodes on the way to one, and the targets.
    goal: Option<(Rc<FxHashSet<u32>>, Vec<u32>)>,
    /// Without targets: the nodes that the roots lead to, once somebody has asked.
    reached: OnceCell<FxHashSet<u32>>,
}

thread_local! {
    static TASKS: RefCell<Vec<Rc<Task>>> = const { RefCell::new(Vec::new()) };
}

static NEXT: AtomicU64 = AtomicU64::new(0);

/// Ends the task when it goes out of scope.
pub(super) struct Running(Rc<Task>);

impl Running {
    /// What the pass begins with.
    pub(super) fn roots(&self) -> impl Iterator<Item = &NodeRef> {
        self.0.roots.iter()
    }

    /// Notes the node that runs.
    pub(super) fn runs(&self, node: &NodeRef) {
        self.0.running.set(Some(node.id()));
    }
}

impl Task {
    /// Begins a pass from `roots`; with targets, through the nodes of `on_path`.
    pub(super) fn begin(
        roots: &[(Edge, Tensor)],
        on_path: Option<Rc<FxHashSet<u32>>>,
        targets: &[Edge],
    ) -> Running {
        let task = Rc::new(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            roots: roots.iter().map(|(edge, _)| edge.node.clone()).collect(),
            running: Cell::new(None),
            goal: on_path.map(|p| (p, targets.iter().map(|t| t.node.index()).collect())),
            reached: OnceCell::new(),
        });
        TASKS.with_borrow_mut(|tasks| tasks.push(task.clone()));
        Running(task)
    }

    /// The innermost pass of this thread.
    pub fn current() -> Option<Rc<Task>> {
        TASKS.with_borrow(|tasks| tasks.last().cloned())
    }

    /// A number that no other pass of the process has.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The node whose hooks and rules run.
    pub fn running(&self) -> Option<NodeRef> {
        self.running.get()?.upgrade()
    }

    /// Whether the gradient of one of a node's outputs is computed in this pass, before or after
    /// now.
    pub fn reaches(&self, node: &NodeRef) -> bool {
        let index = node.index();
        match &self.goal {
            Some((on_path, targets)) => on_path.contains(&index) || targets.contains(&index),
            None => self.reached.get_or_init(|| self.reach()).contains(&index),
        }
    }

    fn reach(&self) -> FxHashSet<u32> {
        let mut seen = FxHashSet::default();
        let mut todo = self.roots.clone();
        while let Some(node) = todo.pop() {
            if seen.insert(node.index()) {
                node.with(|n| todo.extend(n.edges.iter().flatten().map(|e| e.node.clone())));
            }
        }
        seen
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let ended = TASKS.with_borrow_mut(Vec::pop);
        drop(ended);
    }
}
