//! Nodes, the edges between them, and the counted handles that keep them alive.
//!
//! NOTE [Who keeps whom alive]
//! A node is kept by the tensors that are its outputs, by the edges of the nodes that consumed
//! them, and by the edges in saved inputs. It never keeps its own outputs. A leaf and its
//! accumulator share the place where the gradient goes (the [`Leaf`]), which keeps the accumulator
//! and the gradient; both are let go when the leaf's last handle is dropped, since nobody can read
//! the gradient any more. So a gradient with a graph of its own, which reaches the accumulator,
//! does not keep itself alive. The graph has no cycles of its own making.
//!
//! NOTE [Freeing]
//! A node whose count falls to zero goes to its thread's worklist; whoever found the list idle
//! empties it in a loop. Dropping a graph of any depth therefore takes constant stack.

use super::hooks::Hooks;
use super::provenance::Site;
use super::saved::{Saved, SavedTensor};
use crate::base::{Attrs, DType, Device, Error, Layout, Result, Shape};
use crate::memory::Arena;
use crate::memory::arena::{Recycle, Slot};
use crate::tensor::{Leaf, Operand, Tensor};
use smallvec::SmallVec;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Every node of the process.
pub static TAPE: Arena<Node> = Arena::new();

static NEXT: AtomicU64 = AtomicU64::new(1);

/// The results of an op.
pub type Outputs = SmallVec<[Tensor; 1]>;

/// The sizes of a tensor, shared with it.
#[derive(Clone)]
pub struct SharedShape(pub(crate) Arc<Layout>);

impl std::ops::Deref for SharedShape {
    type Target = Shape;
    #[inline]
    fn deref(&self) -> &Shape {
        &self.0.shape
    }
}

impl std::fmt::Display for SharedShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.shape.fmt(f)
    }
}

impl From<Shape> for SharedShape {
    fn from(shape: Shape) -> Self {
        Self(Arc::new(Layout::contiguous(shape)))
    }
}

impl From<SharedShape> for Shape {
    fn from(shape: SharedShape) -> Self {
        shape.0.shape.clone()
    }
}

/// What the backward pass knows of a tensor without the tensor.
#[derive(Clone)]
pub struct Meta {
    /// Sizes.
    pub shape: SharedShape,
    /// Element type.
    pub dtype: DType,
    /// Where it lives.
    pub device: Device,
}

/// Where a gradient goes: an output of a node.
#[derive(Clone)]
pub struct Edge {
    /// The node.
    pub node: NodeRef,
    /// Which of its outputs.
    pub output: u32,
}

/// One step of the program, as the backward pass sees it.
#[derive(Default)]
pub struct Node {
    /// Position in the order of recording: edges lead to smaller numbers only.
    pub seq: u64,
    /// What to do with a gradient.
    pub body: Body,
    /// For each input, where its gradient goes; `None` where none is needed.
    pub edges: SmallVec<[Option<Edge>; 2]>,
    /// Each input as it was, for reducing a gradient to its shape and type; `None` where that is
    /// the same as output 0.
    pub inputs: SmallVec<[Option<Meta>; 2]>,
    /// Each output as it was, for gradients of zero.
    pub outputs: SmallVec<[Meta; 1]>,
    /// An op's arguments that are not tensors.
    pub attrs: Attrs,
    /// Which operands are saved: bit `i` is input `i`, bit `OUTPUTS + j` output `j`.
    pub mask: u64,
    /// The saved operands, in the order of the bits.
    pub saved: SmallVec<[Saved; 2]>,
    /// The call that made the node.
    pub site: Site,
    /// Whether a backward began here that did not keep the graph.
    pub walked: bool,
    /// The backward call that freed the saved values, when one has.
    pub freed: Option<Site>,
    /// What is called with the gradients that pass.
    pub hooks: Option<Box<Hooks>>,
}

/// What a node does with the gradients of its outputs.
#[derive(Default)]
pub enum Body {
    /// Nothing: an empty slot.
    #[default]
    Vacant,
    /// Applies the rules of an op.
    Op(&'static dyn Rule),
    /// Adds to a leaf's gradient.
    Accumulate(Arc<Leaf>),
    /// Calls a function of the user's.
    Custom(Arc<dyn CustomFunction>),
}

impl Recycle for Node {
    fn recycle(&mut self) {
        // Not emptied, which would keep the memory of long lists.
        self.body = Body::Vacant;
        self.edges = SmallVec::new();
        self.inputs = SmallVec::new();
        self.outputs = SmallVec::new();
        self.attrs = Attrs::new();
        self.mask = 0;
        self.saved = SmallVec::new();
        self.freed = None;
        self.walked = false;
        self.hooks = None;
    }
}

/// The first bit of [`Node::mask`] that stands for an output.
pub const OUTPUTS: u32 = 48;

/// What the tape must know of an op.
pub trait Rule: Sync {
    /// Its name: `mul`.
    fn name(&self) -> &'static str;
    /// Its number, under which a storage notes it as a writer.
    fn number(&self) -> u32;
    /// The name of its node: `MulBackward0`.
    fn node_name(&self) -> String;
    /// Whether each element of the result depends on that element of the inputs alone.
    fn is_elementwise(&self) -> bool;
    /// The names of its parameters: those of the inputs, and those of the other arguments.
    fn parameters(&self) -> (Vec<&'static str>, Vec<&'static str>);
    /// Whether the gradient of input `i` takes that of the output, by [`VjpCx::take_grad`].
    fn takes_grad(&self, i: usize) -> bool;
    /// The gradient of input `i`, of any shape and type that reduces to the input's; `None` is
    /// zero.
    fn vjp(&self, cx: &VjpCx, i: usize) -> Result<Option<Tensor>>;
    /// Runs the op.
    fn apply(&self, inputs: &[Operand], attrs: &Attrs) -> Result<Outputs>;
}

/// A function whose backward the user wrote.
pub trait CustomFunction: Send + Sync {
    /// The class's name.
    fn name(&self) -> String;
    /// The gradients of the inputs from those of the outputs.
    fn backward(&self, node: &NodeRef, grads: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>>;
    /// Drops what was saved.
    fn release(&self);
    /// What it saved; `None` in the place of an input or result that is none.
    fn saved(&self) -> Vec<Option<SavedTensor>>;
    /// For the host's garbage collector.
    fn as_any(&self) -> &dyn Any;
}

/// The gradient of something that must not be differentiated: an error that waits.
struct DelayedError(String);

impl CustomFunction for DelayedError {
    fn name(&self) -> String {
        "DelayedError".into()
    }

    fn backward(&self, _: &NodeRef, _: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Err(Error::runtime(self.0.clone()))
    }

    fn release(&self) {}

    fn saved(&self) -> Vec<Option<SavedTensor>> {
        Vec::new()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The same elements with a history that raises `message` when they are differentiated with
/// respect to anything that `edges` lead to.
pub fn delayed_error(t: &Tensor, edges: SmallVec<[Option<Edge>; 2]>, message: String) -> Tensor {
    let site = Site::current();
    let node = NodeRef::new(|n| {
        n.body = Body::Custom(Arc::new(DelayedError(message)));
        n.inputs.resize(edges.len(), None);
        n.edges = edges;
        n.outputs.push(t.meta());
        n.site = site;
    });
    let delayed = t.detach();
    delayed.set_tangents(t.tangents());
    delayed.with_history(Edge { node, output: 0 })
}

/// What an op's rule sees during backward.
pub struct VjpCx<'a> {
    /// The node; `None` when a rule serves forward mode, where outputs carry their own history.
    pub node: Option<&'a NodeRef>,
    /// Its call site.
    pub site: Site,
    /// The op's name.
    pub name: &'static str,
    /// The op's arguments that are not tensors.
    pub attrs: &'a Attrs,
    /// The gradients of the outputs; `None` is zero.
    pub grads: &'a [Option<Tensor>],
    /// The gradient of the only output instead, for a rule that takes it: see NOTE [Moved
    /// operands] in `ops::dispatch`.
    pub moved: Cell<Option<Tensor>>,
    /// Which inputs need a gradient.
    pub needs: u64,
    /// The inputs, without their elements; `None` where they are like output 0.
    pub inputs: &'a [Option<Meta>],
    /// The outputs, without their elements.
    pub outputs: &'a [Meta],
    /// Which operands are saved.
    pub mask: u64,
    /// The saved operands.
    pub saved: &'a [Saved],
    /// Which input's gradient is asked for.
    pub arg: usize,
}

impl VjpCx<'_> {
    /// The gradient of output 0.
    ///
    /// # Panics
    /// When it is zero: ops with several outputs ask with [`VjpCx::grads`].
    pub fn grad(&self) -> &Tensor {
        self.grads[0]
            .as_ref()
            .expect("the only output of a node that runs has a gradient")
    }

    /// The gradient of output 0, for a rule that takes it and does not look at it again.
    ///
    /// # Panics
    /// When it is zero.
    pub fn take_grad(&self) -> Tensor {
        self.moved.take().unwrap_or_else(|| self.grad().clone())
    }

    /// Whether input `i` needs a gradient.
    pub fn needs(&self, i: usize) -> bool {
        self.needs >> i & 1 == 1
    }

    fn saved(&self, bit: u32) -> Result<Operand> {
        assert!(
            self.mask >> bit & 1 == 1,
            "[{}] reads what it does not declare",
            self.name
        );
        let slot = (self.mask & ((1u64 << bit) - 1)).count_ones() as usize;
        match self.saved.get(slot) {
            Some(Saved::Scalar(s)) => Ok(Operand::Scalar(*s)),
            Some(Saved::None) => Ok(Operand::None),
            Some(Saved::Tensor(t)) => {
                Ok(Operand::Tensor(t.unpack(self.node, self.name, self.site)?))
            }
            None => unreachable!("a freed node does not run"),
        }
    }

    /// Input `i`, which the rule declares to read.
    pub fn input(&self, i: usize) -> Result<Operand> {
        self.saved(i as u32)
    }

    /// Input `i`, which the rule declares to read and which is a tensor.
    pub fn tensor(&self, i: usize) -> Result<Tensor> {
        match self.saved(i as u32)? {
            Operand::Tensor(t) => Ok(t),
            Operand::Scalar(s) => Tensor::scalar(s, self.meta(i).dtype, self.meta(i).device),
            Operand::None => Err(Error::runtime(format!(
                "[{}] an absent input has no value",
                self.name
            ))),
        }
    }

    /// Output `i`, which the rule declares to read.
    pub fn output(&self, i: usize) -> Result<Tensor> {
        match self.saved(OUTPUTS + i as u32)? {
            Operand::Tensor(t) => Ok(t),
            _ => unreachable!("outputs are tensors"),
        }
    }

    /// Input `i` without its elements.
    pub fn meta(&self, i: usize) -> &Meta {
        self.inputs[i].as_ref().unwrap_or(&self.outputs[0])
    }

    /// The shape of input `i`.
    pub fn shape(&self, i: usize) -> &Shape {
        &self.meta(i).shape
    }

    /// The element type of input `i`.
    pub fn dtype(&self, i: usize) -> DType {
        self.meta(i).dtype
    }
}

/// A weak handle: it names a node without keeping it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeId {
    index: u32,
    stamp: u32,
}

/// A counted handle.
pub struct NodeRef {
    slot: &'static Slot<Node>,
    id: NodeId,
}

impl NodeId {
    /// Those of the nodes that are alive now.
    pub(super) fn occupied() -> impl Iterator<Item = Self> {
        let places = TAPE.occupied().into_iter();
        places.map(|(index, stamp)| Self { index, stamp })
    }

    /// The node, if it is alive.
    pub fn upgrade(self) -> Option<NodeRef> {
        let slot = TAPE.try_retain(self.index, self.stamp)?;
        Some(NodeRef { slot, id: self })
    }
}

/// Each input's metadata, left out where it is that of output 0.
pub fn input_metas<'a>(
    inputs: impl IntoIterator<Item = &'a Operand>,
    output: &Meta,
) -> impl Iterator<Item = Option<Meta>> {
    let differs = move |input: &Operand| match input {
        Operand::Tensor(t) => {
            !Arc::ptr_eq(t.shared_layout(), &output.shape.0) && (*t.shape() != *output.shape)
                || t.dtype() != output.dtype
                || t.device() != output.device
        }
        _ => true,
    };
    inputs
        .into_iter()
        .map(move |input| differs(input).then(|| input.meta()))
}

impl NodeRef {
    /// Records a node: `fill` sets the fields of an empty one that differ from their default, but
    /// for `seq`. It must not run ops, nor drop nodes or tensors.
    #[inline]
    pub fn new(fill: impl FnOnce(&mut Node)) -> Self {
        let (slot, index, stamp) = TAPE.insert(|node| {
            node.seq = NEXT.fetch_add(1, Ordering::Relaxed);
            fill(node);
        });
        let id = NodeId { index, stamp };
        Self { slot, id }
    }

    /// Moves the node to the end of the order: for an accumulator that no graph uses.
    pub fn renumber(&self) {
        let seq = NEXT.fetch_add(1, Ordering::Relaxed);
        self.with(|n| n.seq = seq);
    }

    /// The weak handle.
    #[inline]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The node's slot: unique among the nodes that are alive.
    #[inline]
    pub fn index(&self) -> u32 {
        self.id.index
    }

    /// Reads or changes the node under its lock. `f` must not run ops, nor drop nodes or tensors.
    #[inline]
    pub fn with<R>(&self, f: impl FnOnce(&mut Node) -> R) -> R {
        self.slot.with(f)
    }

    /// How many handles there are.
    pub fn count(&self) -> u32 {
        self.slot.count()
    }

    /// The node's name, as `grad_fn.name()` shows it.
    pub fn name(&self) -> String {
        let custom = match self.with(|n| match &n.body {
            Body::Op(rule) => Ok(rule.node_name()),
            Body::Vacant => unreachable!("a counted slot holds a node"),
            Body::Accumulate(_) => Ok("torch::autograd::AccumulateGrad".into()),
            Body::Custom(f) => Err(f.clone()),
        }) {
            Ok(name) => return name,
            Err(custom) => custom,
        };
        custom.name()
    }

    /// The same number for nodes of one op; those of a custom function have numbers of their own.
    pub fn kind(&self) -> usize {
        self.with(|n| match &n.body {
            Body::Op(rule) => std::ptr::from_ref(*rule).addr(),
            Body::Custom(f) => Arc::as_ptr(f).addr(),
            Body::Accumulate(_) | Body::Vacant => 0,
        })
    }

    /// Whether this node accumulates the gradient of a leaf.
    pub fn is_accumulator(&self) -> bool {
        self.with(|n| matches!(n.body, Body::Accumulate(_)))
    }

    /// The leaf this node accumulates into, if it is an accumulator.
    pub fn leaf(&self) -> Option<Arc<Leaf>> {
        self.with(|n| match &n.body {
            Body::Accumulate(leaf) => Some(leaf.clone()),
            _ => None,
        })
    }
}

impl Clone for NodeRef {
    #[inline]
    fn clone(&self) -> Self {
        self.slot.retain();
        Self { ..*self }
    }
}

thread_local! {
    static WORKLIST: RefCell<Worklist> = const { RefCell::new(Worklist { todo: Vec::new(), busy: false }) };
}

struct Worklist {
    todo: Vec<(&'static Slot<Node>, u32)>,
    busy: bool,
}

impl Drop for NodeRef {
    #[inline]
    fn drop(&mut self) {
        if self.slot.release() {
            free(self.slot, self.id.index);
        }
    }
}

/// See NOTE [Freeing].
#[inline(never)]
fn free(slot: &'static Slot<Node>, index: u32) {
    let first = WORKLIST.try_with(|w| {
        let mut w = w.borrow_mut();
        w.todo.push((slot, index));
        !std::mem::replace(&mut w.busy, true)
    });
    match first {
        Ok(false) => {}
        Ok(true) => {
            while let Some((slot, index)) = WORKLIST.with_borrow_mut(|w| {
                let next = w.todo.pop();
                w.busy = next.is_some();
                next
            }) {
                TAPE.empty(slot, index);
            }
        }
        // The thread is ending and its worklist is gone: what is left is small.
        Err(_) => TAPE.empty(slot, index),
    }
}
