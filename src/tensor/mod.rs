//! The handle: a layout over a shared storage, and its place in the graph. No arithmetic.

mod autograd;
mod create;
pub mod format;
mod operand;
mod view;

pub use autograd::{Autograd, Leaf, Tangents};
pub use operand::Operand;
pub use view::{Creation, ViewInfo, ViewStep};

use crate::base::{DType, Device, Layout, Result, Scalar, Shape};
use crate::memory::{Storage, storage};
use crate::tape::{Cut, Meta, SharedShape};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};

/// An n-dimensional array that may be part of a recorded computation. Cloning clones the handle,
/// not the elements.
#[derive(Clone)]
pub struct Tensor(Arc<Inner>);

struct Inner {
    storage: Storage,
    layout: Arc<Layout>,
    /// The number of elements that the layout has.
    numel: usize,
    dtype: DType,
    contiguous: bool,
    flags: AtomicU8,
    /// See NOTE [Cuts].
    cut: AtomicU32,
    autograd: OnceLock<Arc<Autograd>>,
}

/// Made by the forward of a custom function from a differentiable input: see
/// NOTE [Tainted intermediates] in `ops::taint`.
const TAINTED: u8 = 1;
/// Made in inference mode.
const INFERENCE: u8 = 2;

/// A handle that does not keep the tensor.
#[derive(Clone, Default)]
pub struct WeakTensor(Weak<Inner>);

impl WeakTensor {
    /// The tensor, if a handle is left.
    pub fn upgrade(&self) -> Option<Tensor> {
        self.0.upgrade().map(Tensor)
    }
}

impl Tensor {
    /// A tensor over existing elements. The layout must lie within the storage.
    ///
    /// # Panics
    /// When it does not.
    pub fn from_parts(storage: Storage, layout: impl Into<Arc<Layout>>, dtype: DType) -> Self {
        let layout = layout.into();
        let contiguous = layout.is_contiguous();
        Self::from_known_parts(storage, layout, dtype, contiguous)
    }

    fn from_known_parts(
        storage: Storage,
        layout: Arc<Layout>,
        dtype: DType,
        contiguous: bool,
    ) -> Self {
        let numel = layout.numel();
        let end = match numel {
            0 => 0,
            n if contiguous => layout.offset + n,
            _ => layout.end(),
        };
        assert!(
            end * dtype.size() <= storage.bytes() || storage.device() == Device::Meta,
            "layout {layout:?} of {dtype} exceeds a storage of {} bytes",
            storage.bytes()
        );
        Self(Arc::new(Inner {
            storage,
            layout,
            numel,
            dtype,
            contiguous,
            flags: AtomicU8::new(if crate::tape::mode::inference() {
                INFERENCE
            } else {
                0
            }),
            cut: AtomicU32::new(0),
            autograd: OnceLock::new(),
        }))
    }

    /// The buffer. Views share it.
    #[inline]
    pub fn storage(&self) -> &Storage {
        &self.0.storage
    }

    /// Sizes, strides and offset.
    #[inline]
    pub fn layout(&self) -> &Layout {
        &self.0.layout
    }

    /// The layout as tensors share it: most results have the layout of an input.
    #[inline]
    pub fn shared_layout(&self) -> &Arc<Layout> {
        &self.0.layout
    }

    /// Sizes.
    #[inline]
    pub fn shape(&self) -> &Shape {
        &self.0.layout.shape
    }

    /// Number of dimensions.
    #[inline]
    pub fn ndim(&self) -> usize {
        self.0.layout.ndim()
    }

    /// Number of elements.
    #[inline]
    pub fn numel(&self) -> usize {
        self.0.numel
    }

    /// Element type.
    #[inline]
    pub fn dtype(&self) -> DType {
        self.0.dtype
    }

    /// Where the elements live.
    #[inline]
    pub fn device(&self) -> Device {
        self.0.storage.device()
    }

    /// Whether the elements lie densely in row-major order.
    #[inline]
    pub fn is_contiguous(&self) -> bool {
        self.0.contiguous
    }

    /// Whether the elements are dense in row-major order, and all that the storage holds.
    pub fn fills_storage(&self) -> bool {
        self.0.contiguous && self.0.numel * self.0.dtype.size() == self.0.storage.bytes()
    }

    /// Shape, type and device, without the elements.
    pub fn meta(&self) -> Meta {
        Meta {
            shape: SharedShape(self.0.layout.clone()),
            dtype: self.dtype(),
            device: self.device(),
        }
    }

    /// The elements as a kernel sees them.
    #[inline]
    pub fn as_view(&self) -> crate::backend::View<'_> {
        crate::backend::View {
            storage: self.storage(),
            layout: self.layout(),
            dtype: self.dtype(),
        }
    }

    /// Whether two handles are the same tensor.
    pub fn same(&self, other: &Tensor) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// An address that identifies this tensor among those alive.
    pub fn id(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }

    /// A handle that does not keep the tensor.
    pub fn downgrade(&self) -> WeakTensor {
        WeakTensor(Arc::downgrade(&self.0))
    }

    /// Whether nobody else holds this tensor or its bytes: it may be written without being seen.
    pub fn is_unique(&self) -> bool {
        Arc::strong_count(&self.0) == 1 && self.0.storage.is_unique()
    }

    /// Whether this handle is the only one (the bytes may be shared).
    pub fn is_sole_handle(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// The element at a multi-dimensional position.
    ///
    /// # Panics
    /// When the position is out of range, or the tensor has no bytes.
    pub fn get(&self, index: &[usize]) -> Scalar {
        assert_eq!(index.len(), self.ndim());
        let at = index
            .iter()
            .zip(self.layout().strides.iter())
            .map(|(i, s)| i * s)
            .sum::<usize>();
        storage::read_scalar(self.storage(), self.dtype(), self.layout().offset + at)
    }

    /// The one element of a tensor of one element.
    ///
    /// # Errors
    /// When there are more or fewer elements, or no bytes.
    pub fn item(&self) -> Result<Scalar> {
        crate::ensure!(
            self.numel() == 1,
            runtime,
            "a Tensor with {} elements cannot be converted to Scalar: its shape is {}",
            self.numel(),
            self.shape()
        );
        crate::ensure!(
            self.device() != Device::Meta,
            runtime,
            "Tensor.item() cannot be called on meta tensors: they have no elements"
        );
        Ok(storage::read_scalar(
            self.storage(),
            self.dtype(),
            self.layout().offset,
        ))
    }

    /// Every element in row-major order.
    ///
    /// # Errors
    /// When the tensor has no bytes.
    pub fn to_vec(&self) -> Result<Vec<Scalar>> {
        crate::ensure!(
            self.device() != Device::Meta,
            runtime,
            "a meta tensor has no elements to read"
        );
        let mut out = Vec::with_capacity(self.numel());
        let mut index = Shape::filled(0, self.ndim());
        for _ in 0..self.numel() {
            out.push(self.get(&index));
            for d in (0..self.ndim()).rev() {
                index[d] += 1;
                if index[d] < self.shape()[d] {
                    break;
                }
                index[d] = 0;
            }
        }
        Ok(out)
    }

    /// Whether this is marked as an intermediate of a custom function's forward.
    #[inline]
    pub fn is_tainted(&self) -> bool {
        let marked = |t: &Tensor| t.0.flags.load(Ordering::Relaxed) & TAINTED != 0;
        marked(self) || self.view_info().is_some_and(|v| marked(&v.base))
    }

    /// Marks or unmarks an intermediate of a custom function's forward.
    pub fn set_tainted(&self, tainted: bool) {
        if tainted {
            self.0.flags.fetch_or(TAINTED, Ordering::Relaxed);
        } else {
            self.0.flags.fetch_and(!TAINTED, Ordering::Relaxed);
        }
    }

    /// Why this has no history, if it was computed from tensors that have one: see NOTE [Cuts].
    #[inline]
    pub fn cut(&self) -> Cut {
        Cut(self.0.cut.load(Ordering::Relaxed))
    }

    /// Notes why this has no history.
    #[inline]
    pub fn set_cut(&self, cut: Cut) {
        self.0.cut.store(cut.0, Ordering::Relaxed);
    }

    /// Whether this was made in inference mode.
    #[inline]
    pub fn is_inference(&self) -> bool {
        self.0.flags.load(Ordering::Relaxed) & INFERENCE != 0
    }

    /// The same elements through another layout, without history. It is an inference tensor if this
    /// is one, wherever it is made.
    pub fn alias(&self, layout: impl Into<Arc<Layout>>) -> Tensor {
        Tensor::from_parts(self.storage().clone(), layout, self.dtype()).made_as(self)
    }

    fn made_as(self, x: &Tensor) -> Tensor {
        let flags = x.0.flags.load(Ordering::Relaxed) & INFERENCE;
        self.0.flags.store(flags, Ordering::Relaxed);
        self
    }

    /// The same elements without history and tangents: writes are seen by both.
    pub fn detach(&self) -> Tensor {
        Self::from_known_parts(
            self.storage().clone(),
            self.0.layout.clone(),
            self.dtype(),
            self.0.contiguous,
        )
        .made_as(self)
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tensor({} {})", self.dtype(), self.shape())
    }
}
