//! Working memory of kernels.

use crate::base::Device;
use crate::memory::Storage;
use crate::memory::storage::Plain;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// A slice in a buffer of the pool: fresh pages would cost more than most work on them.
pub(super) struct Scratch<T> {
    storage: Storage,
    len: usize,
    element: PhantomData<T>,
}

impl<T: Copy> Scratch<T> {
    /// A buffer with room for so many elements, none of which is written.
    fn room(len: usize) -> Self {
        assert!(align_of::<T>() <= crate::memory::storage::ALIGN);
        let storage = Storage::new(len * size_of::<T>(), Device::Cpu)
            .unwrap_or_else(|e| panic!("working memory of a kernel: {e}"));
        Self {
            storage,
            len,
            element: PhantomData,
        }
    }

    /// So many elements of arbitrary values.
    ///
    /// # Panics
    /// When there is not enough memory.
    pub(super) fn arbitrary(len: usize) -> Self
    where
        T: Plain,
    {
        Self::room(len)
    }

    /// So many elements of an iterator.
    ///
    /// # Panics
    /// When the iterator has fewer, or there is not enough memory.
    pub(super) fn collect(len: usize, elements: impl Iterator<Item = T>) -> Self {
        let new = Self::room(len);
        let start = new.storage.as_ptr().cast::<T>();
        let mut written = 0;
        for x in elements.take(len) {
            // SAFETY: `written < len`, for which the buffer has room; it is aligned for `T`.
            unsafe { start.add(written).write(x) };
            written += 1;
        }
        assert_eq!(written, len);
        new
    }

    /// So many copies of a value.
    ///
    /// # Panics
    /// When there is not enough memory.
    pub(super) fn filled(len: usize, value: T) -> Self {
        Self::collect(len, std::iter::repeat(value))
    }
}

impl<T> Deref for Scratch<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `collect` has written so many elements, or any contents are elements (`Plain`);
        // nobody else has the buffer.
        unsafe { std::slice::from_raw_parts(self.storage.as_ptr().cast(), self.len) }
    }
}

impl<T> DerefMut for Scratch<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.storage.as_ptr().cast(), self.len) }
    }
}
