//! Tensors from nothing and from numbers.

use super::Tensor;
use crate::base::dtype::Element;
use crate::base::{DType, Device, Layout, Result, Scalar, Shape};
use crate::memory::storage::{Plain, Storage};
use crate::{backend, ensure};
use std::sync::Arc;

impl Tensor {
    /// A tensor whose elements are arbitrary.
    ///
    /// # Errors
    /// When the shape has more bytes than an address can name.
    pub fn empty(shape: impl Into<Shape>, dtype: DType, device: Device) -> Result<Tensor> {
        let shape = shape.into();
        let bytes = shape
            .iter()
            .try_fold(dtype.size(), |bytes, &n| bytes.checked_mul(n))
            .filter(|&bytes| bytes <= isize::MAX as usize / 2);
        ensure!(
            bytes.is_some(),
            runtime,
            "a {dtype} tensor of shape {shape} has more bytes than the address space"
        );
        let storage = Storage::new(bytes.unwrap_or(0), device)?;
        let layout = Arc::new(Layout::contiguous(shape));
        Ok(Self::from_known_parts(storage, layout, dtype, true))
    }

    /// A tensor of arbitrary elements, of another tensor's shape.
    ///
    /// # Errors
    /// As [`Tensor::empty`].
    #[inline]
    pub fn empty_like(like: &Tensor, dtype: DType, device: Device) -> Result<Tensor> {
        let layout = like.shared_layout();
        if !like.is_contiguous() || layout.offset != 0 {
            return Self::empty(like.shape().clone(), dtype, device);
        }
        // The shape exists, so its bytes can be counted; a wider type could still overflow.
        let Some(bytes) = like.numel().checked_mul(dtype.size()) else {
            return Self::empty(like.shape().clone(), dtype, device);
        };
        let storage = Storage::new(bytes, device)?;
        Ok(Self::from_known_parts(storage, layout.clone(), dtype, true))
    }

    /// A tensor whose elements are all `value`.
    ///
    /// # Errors
    /// As [`Tensor::empty`].
    pub fn full(
        shape: impl Into<Shape>,
        value: impl Into<Scalar>,
        dtype: DType,
        device: Device,
    ) -> Result<Tensor> {
        let t = Self::empty(shape, dtype, device)?;
        if device != Device::Meta {
            backend::of(device)?.fill(t.as_view(), value.into());
        }
        Ok(t)
    }

    /// A tensor of zeros.
    ///
    /// # Errors
    /// As [`Tensor::empty`].
    pub fn zeros(shape: impl Into<Shape>, dtype: DType, device: Device) -> Result<Tensor> {
        Self::full(shape, 0i64, dtype, device)
    }

    /// A 0-d tensor.
    ///
    /// # Errors
    /// When the device has no memory.
    pub fn scalar(value: Scalar, dtype: DType, device: Device) -> Result<Tensor> {
        Self::full(Shape::new(), value, dtype, device)
    }

    /// A tensor of the given elements on the CPU.
    ///
    /// ```
    /// use rustgrad::Tensor;
    /// let t = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [2, 2])?;
    /// assert_eq!(t.get(&[1, 0]).as_f64(), 3.0);
    /// # Ok::<(), rustgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the number of elements does not fit the shape.
    pub fn from_slice<T: Element + Plain>(values: &[T], shape: impl Into<Shape>) -> Result<Tensor> {
        let shape = shape.into();
        ensure!(
            shape.numel() == values.len(),
            runtime,
            "{} elements do not fill the shape {shape}",
            values.len()
        );
        let t = Self::empty(shape, T::DTYPE, Device::Cpu)?;
        t.storage().write_all(values);
        Ok(t)
    }
}
