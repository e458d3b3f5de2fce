//! A tensor's place in the graph: its history, its gradient, its tangents.

use super::view::ViewInfo;
use super::{Tensor, WeakTensor};
use crate::base::{Error, Result};
use crate::tape::{Body, Edge, Meta, NodeRef, Site, mode};
use parking_lot::Mutex;
use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

/// Tangents by level, ascending; shared, since saved values keep them too.
pub type Tangents = Option<Arc<Vec<(u32, Tensor)>>>;

/// Autograd's part of a tensor. Tensors that take no part have none.
#[derive(Default)]
pub struct Autograd {
    requires_grad: AtomicBool,
    state: Mutex<State>,
    /// How often the tensor was given other data.
    generation: AtomicU32,
    pub(super) view: Option<ViewInfo>,
}

#[derive(Default)]
struct State {
    /// Where a gradient of this tensor goes; `None` for leaves.
    edge: Option<Edge>,
    /// The storage's version that `edge` belongs to; only views can fall behind.
    version: u32,
    /// The place of `.grad`: of leaves that require grad and of tensors that retain it.
    leaf: Option<Arc<Leaf>>,
    /// Whether a tensor that is not a leaf keeps its gradient.
    retains_grad: bool,
    tangents: Tangents,
}

impl State {
    /// A gradient that is retained arrives at the new edge, and no more at the old one.
    fn move_retained(&self, old: Option<&Edge>) {
        if let (true, Some(edge), Some(leaf)) = (self.retains_grad, &self.edge, &self.leaf) {
            if let Some(old) = old {
                retain_no_more(old, leaf);
            }
            retain(edge, leaf);
        }
    }
}

/// Where the gradient of a leaf (or of a tensor that retains it) is kept.
pub struct Leaf {
    grad: Mutex<Option<Tensor>>,
    accumulator: Mutex<Option<NodeRef>>,
    owner: Mutex<WeakTensor>,
    /// How the host language finds its object for this leaf.
    host: Mutex<Option<Arc<dyn Any + Send + Sync>>>,
    meta: Meta,
}

impl Leaf {
    fn new(t: &Tensor) -> Arc<Self> {
        Arc::new(Self {
            grad: Mutex::new(None),
            accumulator: Mutex::new(None),
            owner: Mutex::new(t.downgrade()),
            host: Mutex::new(None),
            meta: t.meta(),
        })
    }

    /// The gradient.
    pub fn grad(&self) -> Option<Tensor> {
        self.grad.lock().clone()
    }

    /// Replaces the gradient and returns the old one, to be dropped without the lock.
    pub fn replace_grad(&self, grad: Option<Tensor>) -> Option<Tensor> {
        std::mem::replace(&mut *self.grad.lock(), grad)
    }

    /// Lets go of the gradient and the accumulator: nobody can ask for them any more.
    fn retire(&self) {
        drop(self.replace_grad(None));
        let accumulator = self.accumulator.lock().take();
        drop(accumulator);
    }

    /// The tensor, if a handle is left: without one nobody can read the gradient.
    pub fn owner(&self) -> Option<Tensor> {
        self.owner.lock().upgrade()
    }

    /// What [`Tensor::set_host`] has set.
    pub fn host(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.host.lock().clone()
    }

    /// The leaf's accumulator, made at its first use. One that no graph uses any more is numbered
    /// anew, so that it stands just before its next first consumer: see NOTE [Order].
    fn accumulator(self: &Arc<Self>) -> NodeRef {
        let mut place = self.accumulator.lock();
        if let Some(node) = &*place {
            if node.count() == 1 {
                node.renumber();
            }
            return node.clone();
        }
        let node = NodeRef::new(|n| {
            n.body = Body::Accumulate(self.clone());
            n.outputs.push(self.meta.clone());
            n.site = Site::default();
        });
        *place = Some(node.clone());
        node
    }
}

impl Autograd {
    fn is_leaf_of(&self, state: &State) -> bool {
        state.edge.is_none() && self.requires_grad.load(Ordering::Relaxed)
    }
}

impl Drop for Autograd {
    fn drop(&mut self) {
        // See NOTE [Who keeps whom alive]: the last handle is gone, so is the gradient.
        if let Some(leaf) = &self.state.get_mut().leaf {
            leaf.retire();
        }
    }
}

impl Tensor {
    pub(super) fn autograd(&self) -> &Arc<Autograd> {
        self.0.autograd.get_or_init(Arc::default)
    }

    pub(super) fn init_autograd(&self, view: Option<ViewInfo>) {
        let state = Mutex::new(State {
            version: self.storage().version(),
            ..State::default()
        });
        let fresh = Autograd {
            requires_grad: AtomicBool::new(false),
            state,
            generation: AtomicU32::new(0),
            view,
        };
        assert!(self.0.autograd.set(Arc::new(fresh)).is_ok(), "a new tensor");
    }

    /// This tensor's elements and layout under the autograd identity of `other`: what assigning
    /// to `.data` makes of `other`.
    pub fn with_autograd_of(&self, other: &Tensor) -> Tensor {
        let t = self.alias(self.layout().clone());
        let shared = other.autograd().clone();
        shared.generation.fetch_add(1, Ordering::Relaxed);
        if let Some(leaf) = &shared.state.lock().leaf {
            *leaf.owner.lock() = t.downgrade();
        }
        assert!(t.0.autograd.set(shared).is_ok(), "a new tensor");
        t
    }

    /// How often assigning to `.data` has given this tensor other elements.
    pub fn data_generation(&self) -> u32 {
        let autograd = self.0.autograd.get();
        autograd.map_or(0, |a| a.generation.load(Ordering::Relaxed))
    }

    /// Whether gradients are computed for this tensor.
    #[inline]
    pub fn requires_grad(&self) -> bool {
        match self.0.autograd.get() {
            None => false,
            Some(a) => match &a.view {
                // A stale view takes after its base.
                Some(v) if self.is_stale(a) => v.base.requires_grad(),
                _ => a.requires_grad.load(Ordering::Relaxed),
            },
        }
    }

    /// Whether the elements were written since the view's edge was made. A view that was made a
    /// leaf of its own has no such edge.
    fn is_stale(&self, a: &Autograd) -> bool {
        let state = a.state.lock();
        !a.is_leaf_of(&state) && state.version != self.storage().version()
    }

    /// Makes a view ask its base for its history again: see NOTE [Views].
    pub fn outdate(&self) {
        self.autograd().state.lock().version = self.storage().version().wrapping_sub(1);
    }

    /// Whether this was made to require grad, and not by an op: a view then is a leaf of its own.
    pub(super) fn is_own_leaf(&self) -> bool {
        let autograd = self.0.autograd.get();
        autograd.is_some_and(|a| a.is_leaf_of(&a.state.lock()))
    }

    /// Whether this was made by the user rather than by a recorded op.
    pub fn is_leaf(&self) -> bool {
        self.grad_fn().is_none()
    }

    /// Makes a leaf require, or not require, a gradient.
    ///
    /// # Errors
    /// When the elements are not floating point, or the tensor is not a leaf.
    pub fn set_requires_grad(&self, requires_grad: bool) -> Result<()> {
        if requires_grad == self.requires_grad() {
            return Ok(());
        }
        // A view whose base has lost its history begins anew.
        self.grad_edge()?;
        crate::ensure!(
            !requires_grad || self.dtype().is_float(),
            runtime,
            "only Tensors of floating point dtype can require gradients, but this one is {}",
            self.dtype()
        );
        crate::ensure!(
            requires_grad || self.is_leaf(),
            runtime,
            "you can only change requires_grad flags of leaf variables. If you want to use a \
             computed variable in a subgraph that doesn't require differentiation use \
             var_no_grad = var.detach()."
        );
        crate::ensure!(
            !(requires_grad && self.is_inference() && !mode::inference()),
            runtime,
            "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed; \
             clone() it first"
        );
        let a = self.autograd();
        if requires_grad && !self.is_inference() {
            let mut state = a.state.lock();
            state.leaf.get_or_insert_with(|| Leaf::new(self));
            state.version = self.storage().version();
        }
        a.requires_grad.store(requires_grad, Ordering::Relaxed);
        Ok(())
    }

    /// Where a gradient of this tensor goes; `None` when it needs none.
    ///
    /// # Errors
    /// When this is a view whose history cannot be told any more.
    #[inline]
    pub fn grad_edge(&self) -> Result<Option<Edge>> {
        let Some(a) = self.0.autograd.get() else {
            return Ok(None);
        };
        if let Some(view) = &a.view
            && self.is_stale(a)
        {
            let version = self.storage().version();
            let edge = self.regenerate(view)?;
            let mut state = a.state.lock();
            state.version = version;
            a.requires_grad.store(edge.is_some(), Ordering::Relaxed);
            let old = std::mem::replace(&mut state.edge, edge);
            state.move_retained(old.as_ref());
            drop(state);
            drop(old);
        }
        if !a.requires_grad.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let state = a.state.lock();
        if let Some(edge) = &state.edge {
            return Ok(Some(edge.clone()));
        }
        Ok(state.leaf.as_ref().map(|leaf| Edge {
            node: leaf.accumulator(),
            output: 0,
        }))
    }

    /// The node that made this tensor; `None` for leaves.
    pub fn grad_fn(&self) -> Option<Edge> {
        let edge = self.grad_edge().ok().flatten()?;
        let is_accumulator = edge.node.with(|n| matches!(n.body, Body::Accumulate(_)));
        (!is_accumulator).then_some(edge)
    }

    /// The leaf that this is a copy of the handle of: what was saved of a leaf is the leaf again.
    pub fn leaf_itself(&self) -> Option<Tensor> {
        let leaf = self.grad_edge().ok()??.node.leaf()?;
        let owner = leaf.owner()?;
        let is_same = owner.storage().same(self.storage())
            && owner.layout() == self.layout()
            && owner.requires_grad()
            && self.tangents().is_none();
        is_same.then_some(owner)
    }

    /// Notes how the host language finds its object for this leaf; does nothing for other tensors.
    /// It must not keep that object alive.
    pub fn set_host(&self, host: Arc<dyn Any + Send + Sync>) {
        let leaf = self
            .0
            .autograd
            .get()
            .and_then(|a| a.state.lock().leaf.clone());
        if let Some(leaf) = leaf {
            let old = leaf.host.lock().replace(host);
            drop(old);
        }
    }

    /// What [`Tensor::set_host`] has set, for a tensor that is the leaf itself.
    pub fn host(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        let state = self.0.autograd.get()?.state.lock();
        if state.edge.is_some() {
            return None;
        }
        state.leaf.as_ref()?.host()
    }

    /// The accumulator of a leaf, when this handle is the only one that leads to it and no graph
    /// does.
    pub fn accumulator_if_sole(&self) -> Option<NodeRef> {
        let autograd = self.0.autograd.get()?;
        if Arc::strong_count(autograd) != 1 {
            return None;
        }
        let leaf = autograd.state.try_lock()?.leaf.clone()?;
        let node = leaf.accumulator.try_lock()?.clone()?;
        // The place of the leaf holds the one, this function the other.
        (node.count() == 2).then_some(node)
    }

    /// The node of this tensor's history, when this handle is the only one that leads to it.
    pub fn history_if_sole(&self) -> Option<NodeRef> {
        let autograd = self.0.autograd.get()?;
        if Arc::strong_count(autograd) != 1 {
            return None;
        }
        autograd
            .state
            .try_lock()?
            .edge
            .as_ref()
            .map(|e| e.node.clone())
    }

    /// Gives a new tensor its history.
    #[must_use]
    pub fn with_history(mut self, edge: Edge) -> Tensor {
        self.begin_history(edge);
        self
    }

    /// Gives a tensor its first history; one that no other handle shows needs no lock.
    pub fn begin_history(&mut self, edge: Edge) {
        let version = self.storage().version();
        match Arc::get_mut(&mut self.0) {
            Some(inner) if inner.autograd.get().is_none() => {
                let state = Mutex::new(State {
                    edge: Some(edge),
                    version,
                    ..State::default()
                });
                inner.autograd = OnceLock::from(Arc::new(Autograd {
                    requires_grad: AtomicBool::new(true),
                    state,
                    generation: AtomicU32::new(0),
                    view: None,
                }));
            }
            _ => self.set_history(Some(edge)),
        }
    }

    /// Replaces the history: what a recorded op does to its result, and a write in place to its
    /// target.
    pub fn set_history(&self, edge: Option<Edge>) {
        let a = self.autograd();
        let mut state = a.state.lock();
        a.requires_grad.store(edge.is_some(), Ordering::Relaxed);
        state.version = self.storage().version();
        let retired = match edge {
            Some(_) if !state.retains_grad => state.leaf.take(),
            _ => None,
        };
        let old = std::mem::replace(&mut state.edge, edge);
        state.move_retained(old.as_ref());
        drop(state);
        drop(old);
        if let Some(leaf) = retired {
            leaf.retire();
        }
    }

    /// The gradient that backward passes have accumulated.
    pub fn grad(&self) -> Option<Tensor> {
        let leaf = self.0.autograd.get()?.state.lock().leaf.clone();
        leaf.and_then(|leaf| leaf.grad())
    }

    /// Replaces the gradient.
    ///
    /// # Errors
    /// When the new gradient does not have this tensor's shape, type and device.
    pub fn set_grad(&self, grad: Option<Tensor>) -> Result<()> {
        if let Some(g) = &grad {
            crate::ensure!(
                g.shape() == self.shape(),
                runtime,
                "assigned grad has data of a different size: the tensor is {}, the gradient {}",
                self.shape(),
                g.shape()
            );
            crate::ensure!(
                g.dtype() == self.dtype() && g.device() == self.device(),
                runtime,
                "assigned grad has data of a different type: the tensor is {} on {}, the gradient \
                 {} on {}",
                self.dtype(),
                self.device(),
                g.dtype(),
                g.device()
            );
            crate::ensure!(
                !g.same(self),
                runtime,
                "can't assign Variable as its own grad"
            );
        }
        if grad.is_none() && self.0.autograd.get().is_none() {
            return Ok(());
        }
        let leaf = self
            .autograd()
            .state
            .lock()
            .leaf
            .get_or_insert_with(|| Leaf::new(self))
            .clone();
        drop(leaf.replace_grad(grad));
        Ok(())
    }

    /// Keeps the gradient of a tensor that is not a leaf in [`Tensor::grad`].
    ///
    /// # Errors
    /// When the tensor requires no gradient.
    pub fn retain_grad(&self) -> Result<()> {
        let Some(edge) = self.grad_edge()? else {
            return Err(Error::runtime(
                "can't retain_grad on Tensor that has requires_grad=False",
            ));
        };
        let mut state = self.autograd().state.lock();
        if state.edge.is_some() && !state.retains_grad {
            state.retains_grad = true;
            let leaf = state.leaf.get_or_insert_with(|| Leaf::new(self));
            retain(&edge, leaf);
        }
        Ok(())
    }

    /// Whether this is not a leaf and keeps its gradient.
    pub fn retains_grad(&self) -> bool {
        self.0
            .autograd
            .get()
            .is_some_and(|a| a.state.lock().retains_grad)
    }

    /// Cuts the tensor from its history in place.
    ///
    /// # Errors
    /// When it is a view.
    pub fn detach_(&self) -> Result<()> {
        crate::ensure!(
            self.view_info().is_none(),
            runtime,
            "Can't detach views in-place: use detach() instead. If you are using DistributedDataParallel \
             or a split(), unbind() or chunk(), take detach() of the base first"
        );
        if self.0.autograd.get().is_some() {
            self.set_history(None);
            let mut state = self.autograd().state.lock();
            state.retains_grad = false;
            let old = state.leaf.take();
            drop(state);
            if let Some(leaf) = old {
                leaf.retire();
            }
        }
        Ok(())
    }

    /// The tangents of the open levels. A view of a dual tensor shows its base's.
    pub fn tangents(&self) -> Tangents {
        if mode::open_levels() == 0 {
            return None;
        }
        let autograd = self.0.autograd.get()?;
        if let Some(view) = &autograd.view {
            let replay = |(level, t): &(u32, Tensor)| {
                (
                    *level,
                    view.replay(t).expect("a tangent has its tensor's shape"),
                )
            };
            return Some(Arc::new(view.base.tangents()?.iter().map(replay).collect()));
        }
        let tangents = autograd.state.lock().tangents.clone()?;
        if tangents.iter().all(|(level, _)| mode::is_open(*level)) {
            return Some(tangents);
        }
        let open: Vec<_> = tangents
            .iter()
            .filter(|(l, _)| mode::is_open(*l))
            .cloned()
            .collect();
        if open.is_empty() {
            None
        } else {
            Some(Arc::new(open))
        }
    }

    /// Replaces the tangents of all levels.
    pub fn set_tangents(&self, tangents: Tangents) {
        if tangents.is_none() && self.0.autograd.get().is_none() {
            return;
        }
        let old = std::mem::replace(&mut self.autograd().state.lock().tangents, tangents);
        drop(old);
    }

    /// The tangent of one level.
    pub fn tangent(&self, level: u32) -> Option<Tensor> {
        self.tangents()?
            .iter()
            .find(|(l, _)| *l == level)
            .map(|(_, t)| t.clone())
    }

    /// Sets, or with `None` removes, the tangent of one level.
    pub fn set_tangent(&self, level: u32, tangent: Option<Tensor>) {
        let mut all: Vec<_> = self.tangents().map_or_else(Vec::new, |t| t.to_vec());
        all.retain(|(l, _)| *l != level);
        all.extend(tangent.map(|t| (level, t)));
        all.sort_by_key(|(l, _)| *l);
        self.set_tangents(if all.is_empty() {
            None
        } else {
            Some(Arc::new(all))
        });
    }

    /// The same tensor, history included, with the tangents of levels below `level` only.
    ///
    /// # Errors
    /// As [`Tensor::grad_edge`].
    pub fn below(&self, level: u32) -> Result<Tensor> {
        let Some(tangents) = self.tangents() else {
            return Ok(self.clone());
        };
        if tangents.iter().all(|(l, _)| *l < level) {
            return Ok(self.clone());
        }
        let t = self.alias(self.layout().clone());
        if let Some(edge) = self.grad_edge()? {
            t.set_history(Some(edge));
        }
        let kept: Vec<_> = tangents
            .iter()
            .filter(|(l, _)| *l < level)
            .cloned()
            .collect();
        t.set_tangents(if kept.is_empty() {
            None
        } else {
            Some(Arc::new(kept))
        });
        if self.is_tainted() {
            t.set_tainted(true);
        }
        Ok(t)
    }
}

fn retain_no_more(edge: &Edge, leaf: &Arc<Leaf>) {
    edge.node.with(|n| {
        if let Some(hooks) = &mut n.hooks {
            hooks.retain.retain(|(_, other)| !Arc::ptr_eq(leaf, other));
        }
    });
}

fn retain(edge: &Edge, leaf: &Arc<Leaf>) {
    edge.node.with(|n| {
        let hooks = n.hooks.get_or_insert_default();
        hooks.retain.push((edge.output, leaf.clone()));
    });
}
