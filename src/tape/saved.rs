//! What a node keeps from the forward pass for its backward rules.
//!
//! NOTE [Saved values]
//! A saved tensor is the bytes (storage and layout) and the gradient edge as they were when it was
//! saved, not the tensor's handle: a handle's history changes when it is written in place, and a
//! node that held the handle could then reach itself. An output of the node is saved without an
//! edge, since the edge would be the node; it is put back when the value is unpacked.
//!
//! NOTE [Watched buffers]
//! Writes that other libraries make to memory that they share (NumPy arrays over a tensor) count as no
//! version. A tensor whose buffer was handed out before it is saved is therefore saved with a hash of its
//! elements, which must be the same when it is needed; so is every tensor while a thread guards what it
//! saves.
//!
//! NOTE [Packed values]
//! While hooks of [`SavedTensorHooks`] are set, the innermost ones turn each tensor that is saved
//! into something else, and that into a tensor again when it is needed; the edge is kept as
//! always. Versions are not followed through them: what comes back is what the hooks say it is.

use super::mode::{self, GradMode};
use super::node::{Edge, NodeRef};
use super::provenance::{Site, writer_name};
use crate::base::{DType, Error, Layout, Result, Scalar};
use crate::memory::Storage;
use crate::tensor::{Tangents, Tensor};
use crate::{bail, ensure};
use std::any::Any;
use std::cell::RefCell;
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
    content: Content,
    edge: Option<Edge>,
    /// The node's own output of this number.
    output: Option<u32>,
    tainted: bool,
    /// The tangents it had; a node's own outputs get theirs after the node is made.
    tangents: Tangents,
}

#[derive(Clone)]
enum Content {
    Bytes(Bytes),
    /// With a hash: see NOTE [Watched buffers].
    Watched(Box<(Bytes, u64)>),
    Packed(Arc<dyn Packed>),
}

/// Elements as they were when they were saved.
#[derive(Clone)]
struct Bytes {
    storage: Storage,
    layout: Arc<Layout>,
    dtype: DType,
    version: u32,
}

/// Turns tensors that are saved into something else: see NOTE [Packed values].
pub trait SavedTensorHooks: Send + Sync {
    /// Takes a tensor that op `name` saves. It is called without recording, and must not write to
    /// the tensor.
    fn pack(&self, t: &Tensor, name: &str) -> Result<Arc<dyn Packed>>;
    /// Called before elements of a storage are written in place.
    fn before_write(&self, _storage: &Storage) -> Result<()> {
        Ok(())
    }
}

/// What became of a saved tensor.
pub trait Packed: Send + Sync {
    /// The tensor: its elements count, its history does not.
    fn unpack(&self) -> Result<Tensor>;
    /// For the host language to find its own.
    fn as_any(&self) -> &dyn Any;
}

thread_local! {
    static HOOKS: RefCell<Vec<Arc<dyn SavedTensorHooks>>> = const { RefCell::new(Vec::new()) };
    /// Why no hooks may be set.
    static DISABLED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Sets hooks on this thread, inside those that are set already.
///
/// # Errors
/// When hooks are disabled.
pub fn push_hooks(hooks: Arc<dyn SavedTensorHooks>) -> Result<()> {
    if let Some(message) = DISABLED.with_borrow(Clone::clone) {
        bail!(runtime, "{message}");
    }
    HOOKS.with_borrow_mut(|h| h.push(hooks));
    mode::set_packing(true);
    Ok(())
}

/// Takes the innermost hooks of this thread back.
pub fn pop_hooks() -> Option<Arc<dyn SavedTensorHooks>> {
    let popped = HOOKS.with_borrow_mut(Vec::pop);
    mode::set_packing(HOOKS.with_borrow(|h| !h.is_empty()));
    popped
}

/// Tells the hooks of this thread that elements of a storage will be written.
///
/// # Errors
/// What hooks raise: nothing must be written then.
#[inline]
pub fn before_write(storage: &Storage) -> Result<()> {
    if !mode::packing() {
        return Ok(());
    }
    let hooks = HOOKS.with_borrow(Clone::clone);
    hooks.iter().try_for_each(|h| h.before_write(storage))
}

/// Disables hooks on this thread, with what setting some then says; or enables them again. Returns
/// what was there before.
///
/// # Errors
/// When hooks are set.
pub fn disable_hooks(message: Option<String>) -> Result<Option<String>> {
    if let Some(message) = &message {
        ensure!(!mode::packing(), runtime, "{message}");
    }
    Ok(DISABLED.replace(message))
}

impl SavedTensor {
    /// Saves an input, whose gradient goes to `edge`, of op `name`.
    ///
    /// # Errors
    /// What hooks raise.
    #[inline]
    pub fn input(t: &Tensor, edge: Option<Edge>, name: &str) -> Result<Self> {
        let content = if mode::packing() {
            pack(t, name)?
        } else {
            Content::of(t)
        };
        Ok(Self {
            edge,
            ..Self::new(t, None, content)
        })
    }

    /// Saves output number `output` of the node being made (or a tensor without history).
    ///
    /// # Errors
    /// What hooks raise.
    #[inline]
    pub fn output(t: &Tensor, output: Option<u32>, name: &str) -> Result<Self> {
        let content = if mode::packing() {
            pack(&t.detach(), name)?
        } else {
            Content::of(t)
        };
        Ok(Self::new(t, output, content))
    }

    /// Holds a tensor for a rule that is applied right away.
    pub fn held(t: &Tensor) -> Result<Self> {
        Ok(Self {
            edge: t.grad_edge()?,
            ..Self::new(t, None, Content::of(t))
        })
    }

    fn new(t: &Tensor, output: Option<u32>, content: Content) -> Self {
        Self {
            content,
            edge: None,
            output,
            tainted: t.is_tainted() && output.is_none(),
            tangents: t.tangents(),
        }
    }

    /// The elements, without the history and without a check of their version; `None` where hooks
    /// have packed them.
    pub fn peek(&self) -> Option<Tensor> {
        match &self.content {
            Content::Bytes(b) => Some(b.tensor()),
            Content::Watched(watched) => Some(watched.0.tensor()),
            Content::Packed(_) => None,
        }
    }

    /// The buffer; `None` where hooks have packed the elements.
    pub fn storage(&self) -> Option<&Storage> {
        match &self.content {
            Content::Bytes(b) => Some(&b.storage),
            Content::Watched(watched) => Some(&watched.0.storage),
            Content::Packed(_) => None,
        }
    }

    /// What hooks made of it.
    pub fn packed(&self) -> Option<&Arc<dyn Packed>> {
        match &self.content {
            Content::Packed(packed) => Some(packed),
            _ => None,
        }
    }

    /// The saved tensor, with its history; `node` and `name` are the node that saved it.
    ///
    /// # Errors
    /// When the bytes were written in between: the message names the reader, the writer and both
    /// lines. What hooks raise.
    pub fn unpack(&self, node: Option<&NodeRef>, name: &str, site: Site) -> Result<Tensor> {
        let t = match &self.content {
            Content::Bytes(b) if b.is_stale() => return Err(self.stale_error(b, name, site)),
            Content::Bytes(b) => b.tensor(),
            Content::Watched(watched) => {
                let (bytes, hash) = &**watched;
                if bytes.is_stale() {
                    return Err(self.stale_error(bytes, name, site));
                }
                ensure!(
                    bytes.hash() == *hash,
                    runtime,
                    "one of the variables needed for gradient computation has been modified from \
                     outside: the elements of a tensor [{} {}], saved by {name}{}, have changed though \
                     no op has written to them, but a NumPy array, a DLPack consumer or another buffer \
                     over the same memory. Copy the array before it is written, or write to the tensor",
                    bytes.dtype.scalar_type_name(),
                    bytes.layout.shape,
                    site.at()
                );
                bytes.tensor()
            }
            Content::Packed(packed) => {
                let _mode = GradMode::set(false);
                let t = packed.unpack()?;
                // Without a history, and as an inference tensor only if the backward makes some.
                Tensor::from_parts(t.storage().clone(), t.shared_layout().clone(), t.dtype())
            }
        };
        let edge = match self.output {
            Some(output) => node.map(|node| Edge {
                node: node.clone(),
                output,
            }),
            None => self.edge.clone(),
        };
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

    #[cold]
    fn stale_error(&self, bytes: &Bytes, name: &str, site: Site) -> Error {
        let (writer, writer_site) = bytes.storage.last_writer();
        let what = match self.output {
            Some(i) => format!("output {i} of {name}"),
            None => format!("a tensor saved by {name}"),
        };
        Error::runtime(format!(
            "one of the variables needed for gradient computation has been modified by an inplace \
             operation: [{dtype} {shape}], {what}{saved_at}, is at version {now}; expected version \
             {then} instead. It was overwritten by {writer}{written_at}. Write out of place there, \
             save a clone() before, or run both in autograd.graph.allow_mutation_on_saved_tensors()",
            dtype = bytes.dtype.scalar_type_name(),
            shape = bytes.layout.shape,
            saved_at = site.at(),
            now = bytes.storage.version(),
            then = bytes.version,
            writer = writer_name(writer),
            written_at = Site(writer_site).at(),
        ))
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

impl Content {
    #[inline]
    fn of(t: &Tensor) -> Self {
        let bytes = Bytes {
            storage: t.storage().clone(),
            layout: t.shared_layout().clone(),
            dtype: t.dtype(),
            version: t.storage().version(),
        };
        if mode::guarding() || t.storage().is_handed_out() {
            let hash = bytes.hash();
            return Self::Watched(Box::new((bytes, hash)));
        }
        Self::Bytes(bytes)
    }
}

impl Bytes {
    fn is_stale(&self) -> bool {
        self.storage.version() != self.version
    }

    /// A hash of the elements, and of what lies between them.
    fn hash(&self) -> u64 {
        let size = self.dtype.size();
        // Where there are no elements, the offset may lie beyond the buffer.
        if self.layout.numel() == 0 {
            return self.storage.hash(0..0);
        }
        let range = self.layout.offset * size..self.layout.end() * size;
        self.storage.hash(range)
    }

    fn tensor(&self) -> Tensor {
        Tensor::from_parts(self.storage.clone(), self.layout.clone(), self.dtype)
    }
}

/// See NOTE [Packed values].
#[cold]
fn pack(t: &Tensor, name: &str) -> Result<Content> {
    let hooks = HOOKS.with_borrow(|h| h.last().cloned());
    let hooks = hooks.expect("hooks are set while packing");
    let version = t.storage().version();
    let _mode = GradMode::set(false);
    let packed = hooks.pack(t, name)?;
    ensure!(
        t.storage().version() == version,
        runtime,
        "A saved tensor pack hook is modifying its input in place: [{name}] saves a tensor of shape \
         {}. Tensors provided as input to pack hook can not be modified by in-place operations; \
         pack a clone()",
        t.shape()
    );
    Ok(Content::Packed(packed))
}
