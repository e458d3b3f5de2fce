//! A buffer of bytes that tensors share, with the version counter of its contents.
//!
//! NOTE [Versions]
//! The counter sits here, so a base, its views, `detach()`, `.data` and buffers handed to NumPy all
//! see one number. Every write that the engine makes bumps it after the write and notes who wrote:
//! the op and the call site. A saved tensor remembers the number it was saved at and refuses to be
//! read when the two differ.
//!
//! NOTE [Races]
//! Elements are read and written through raw pointers without locks. Two threads that touch the
//! same storage while one of them writes get arbitrary element values, as in NumPy and PyTorch;
//! element types have no invalid bit patterns except `bool`, whose bytes are read as `byte != 0`.

use super::pool;
use crate::base::{DType, Device, Error, Result};
use std::alloc::Layout;
use std::any::Any;
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// A counted handle of a buffer.
#[derive(Clone)]
pub struct Storage(Arc<Inner>);

struct Inner {
    place: Place,
    bytes: usize,
    version: AtomicU32,
    /// The op (high half) and call site (low half) of the last write.
    writer: AtomicU64,
    /// Whether another library has the address of the bytes.
    handed_out: AtomicBool,
}

/// A handle that does not keep the buffer.
#[derive(Clone)]
pub struct WeakStorage(Weak<Inner>);

impl WeakStorage {
    /// Whether the buffer still exists.
    pub fn is_alive(&self) -> bool {
        self.0.strong_count() > 0
    }
}

/// Where the bytes are.
enum Place {
    /// Here: few bytes, which then cost no allocation of their own.
    Inline(UnsafeCell<MaybeUninit<[Chunk; INLINE / size_of::<Chunk>()]>>),
    /// In a buffer of the pool.
    Pool(NonNull<u8>),
    /// In somebody else's memory (a NumPy array, say), which the second keeps alive.
    Foreign(NonNull<u8>, #[allow(dead_code)] Box<dyn Any + Send + Sync>),
    /// Nowhere: a tensor of [`Device::Meta`].
    Nowhere,
}

/// The most bytes that are kept inline. See NOTE [Unpooled] in `pool`.
const INLINE: usize = if cfg!(unpooled) { 0 } else { 64 };

/// Bytes that are aligned for every element type.
type Chunk = u128;

/// Every buffer of the engine's own starts at a multiple of this.
pub const ALIGN: usize = align_of::<Chunk>();

// SAFETY: the pointer is owned (or kept valid by the owner beside it) for the life of `Inner`, and
// all shared mutation goes through raw pointers under NOTE [Races].
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl Storage {
    fn at(place: Place, bytes: usize) -> Self {
        Self(Arc::new(Inner {
            place,
            bytes,
            version: AtomicU32::new(0),
            writer: AtomicU64::new(0),
            handed_out: AtomicBool::new(false),
        }))
    }

    /// A buffer with arbitrary contents.
    ///
    /// # Errors
    /// When there is not enough memory.
    #[inline]
    pub fn new(bytes: usize, device: Device) -> Result<Self> {
        let place = match device {
            Device::Meta => Place::Nowhere,
            Device::Cpu if bytes <= INLINE => {
                pool::count(INLINE);
                Place::Inline(UnsafeCell::new(MaybeUninit::uninit()))
            }
            Device::Cpu => {
                let address = pool::acquire(bytes);
                let address = NonNull::new(address.unwrap_or(0) as *mut u8);
                Place::Pool(address.ok_or_else(|| {
                    Error::runtime(format!(
                        "not enough memory: you tried to allocate {bytes} bytes"
                    ))
                })?)
            }
        };
        Ok(Self::at(place, bytes))
    }

    /// Shares memory that belongs to somebody else.
    ///
    /// # Safety
    /// `data` must point to `bytes` bytes that stay valid, and may be written, until `owner` is
    /// dropped.
    pub unsafe fn foreign(
        data: NonNull<u8>,
        bytes: usize,
        owner: Box<dyn Any + Send + Sync>,
    ) -> Self {
        Self::at(Place::Foreign(data, owner), bytes)
    }

    /// Size in bytes.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.0.bytes
    }

    /// Bytes that are in use for it, as the allocator counts them; those of memory that belongs to
    /// somebody else.
    pub fn footprint(&self) -> usize {
        match self.0.place {
            Place::Inline(_) => INLINE,
            Place::Pool(_) => pool::size_of(self.0.bytes),
            Place::Foreign(..) => self.0.bytes,
            Place::Nowhere => 0,
        }
    }

    /// Where the bytes live.
    #[inline]
    pub fn device(&self) -> Device {
        match self.0.place {
            Place::Nowhere => Device::Meta,
            _ => Device::Cpu,
        }
    }

    /// The address of the first byte. Dangling on [`Device::Meta`].
    #[inline]
    pub fn as_ptr(&self) -> *mut u8 {
        match &self.0.place {
            Place::Inline(bytes) => bytes.get().cast(),
            Place::Pool(data) | Place::Foreign(data, _) => data.as_ptr(),
            Place::Nowhere => NonNull::dangling().as_ptr(),
        }
    }

    /// How many writes the engine has made. See NOTE [Versions].
    #[inline]
    pub fn version(&self) -> u32 {
        self.0.version.load(Ordering::Relaxed)
    }

    /// Counts a write by op number `op` at call site `site`.
    pub fn bump(&self, op: u32, site: u32) {
        self.set_writer(op, site);
        self.0.version.fetch_add(1, Ordering::Relaxed);
    }

    /// Puts another op in place of the last writer.
    pub fn set_writer(&self, op: u32, site: u32) {
        let writer = u64::from(op) << 32 | u64::from(site);
        self.0.writer.store(writer, Ordering::Relaxed);
    }

    /// The op number and call site of the last write.
    pub fn last_writer(&self) -> (u32, u32) {
        let w = self.0.writer.load(Ordering::Relaxed);
        ((w >> 32) as u32, w as u32)
    }

    /// A handle that does not keep the buffer; while there is one, no other storage has its number.
    pub fn downgrade(&self) -> WeakStorage {
        WeakStorage(Arc::downgrade(&self.0))
    }

    /// How many handles there are.
    pub fn handles(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// A number that no other storage has while this one is alive.
    #[inline]
    pub fn id(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Whether another library has the address of the bytes, and may write to them.
    #[inline]
    pub fn is_handed_out(&self) -> bool {
        self.0.handed_out.load(Ordering::Relaxed)
    }

    /// Notes that another library gets the address of the bytes.
    pub fn hand_out(&self) {
        self.0.handed_out.store(true, Ordering::Relaxed);
    }

    /// A hash of some of the bytes.
    ///
    /// # Panics
    /// When the range exceeds the storage.
    pub fn hash(&self, range: Range<usize>) -> u64 {
        if self.device() == Device::Meta {
            return 0;
        }
        assert!(range.start <= range.end && range.end <= self.bytes());
        // SAFETY: the range lies within the buffer, which lives as long as `self`; bytes have no
        // invalid patterns, and races give arbitrary values: see NOTE [Races].
        let bytes = unsafe {
            std::slice::from_raw_parts(self.as_ptr().add(range.start), range.end - range.start)
        };
        const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
        let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(FACTOR).rotate_left(29);
        // Lanes that do not wait for each other.
        let mut lanes = [1u64, 2, 3, 4, 5, 6, 7, 8];
        let (blocks, rest) = bytes.as_chunks::<64>();
        for block in blocks {
            for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<8>().0) {
                *lane = mix(*lane, u64::from_le_bytes(*word));
            }
        }
        let mut hash = lanes.into_iter().fold(bytes.len() as u64, mix);
        for &byte in rest {
            hash = mix(hash, u64::from(byte));
        }
        hash
    }

    /// Whether two handles name one buffer.
    #[inline]
    pub fn same(&self, other: &Storage) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether this is the only handle, and the memory nobody else's.
    #[inline]
    pub fn is_unique(&self) -> bool {
        Arc::strong_count(&self.0) == 1
            && !self.is_handed_out()
            && !matches!(self.0.place, Place::Foreign(..))
    }

    /// The element of type `T` at position `i` (in elements).
    ///
    /// # Panics
    /// When the element does not lie within the buffer, or there is no buffer.
    pub fn read<T: Plain>(&self, i: usize) -> T {
        assert!(self.device() == Device::Cpu && (i + 1) * size_of::<T>() <= self.0.bytes);
        // SAFETY: in bounds by the assertion; `Plain` types accept every bit pattern.
        unsafe { self.as_ptr().cast::<T>().add(i).read_unaligned() }
    }

    /// Stores an element of type `T` at position `i` (in elements), without counting a write.
    ///
    /// # Panics
    /// As [`Storage::read`].
    pub fn write<T: Plain>(&self, i: usize, value: T) {
        assert!(self.device() == Device::Cpu && (i + 1) * size_of::<T>() <= self.0.bytes);
        // SAFETY: in bounds by the assertion.
        unsafe { self.as_ptr().cast::<T>().add(i).write_unaligned(value) }
    }

    /// Copies plain elements in at the front of the buffer, without counting a write.
    ///
    /// # Panics
    /// When they do not fit, or there is no buffer.
    pub fn write_all<T: Plain>(&self, values: &[T]) {
        assert!(self.device() == Device::Cpu && size_of_val(values) <= self.0.bytes);
        // SAFETY: in bounds by the assertion; a slice in safe code cannot alias the buffer.
        unsafe {
            std::ptr::copy_nonoverlapping(values.as_ptr(), self.as_ptr().cast::<T>(), values.len());
        }
    }

    /// A copy of `n` plain elements from position `i` on.
    ///
    /// # Panics
    /// As [`Storage::read`].
    pub fn read_all<T: Plain>(&self, i: usize, n: usize) -> Vec<T> {
        (i..i + n).map(|i| self.read(i)).collect()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        match self.place {
            Place::Inline(_) => pool::discount(INLINE),
            Place::Pool(data) => pool::release(data.as_ptr() as usize, self.bytes),
            Place::Foreign(..) | Place::Nowhere => {}
        }
    }
}

/// Types for which every bit pattern is a value, so that they may be read out of any buffer.
///
/// # Safety
/// Implement it only for such types.
pub unsafe trait Plain: Copy + 'static {}

macro_rules! plain {
    ($($t:ty),*) => { $(
        // SAFETY: integers and floats have no invalid bit patterns.
        unsafe impl Plain for $t {}
    )* };
}
plain!(
    u8,
    i8,
    i16,
    i32,
    i64,
    u32,
    u64,
    f32,
    f64,
    half::f16,
    half::bf16
);

/// Reads one element of a runtime type.
pub fn read_scalar(storage: &Storage, dtype: DType, i: usize) -> crate::base::Scalar {
    use crate::base::Scalar;
    match dtype {
        DType::Bool => Scalar::Bool(storage.read::<u8>(i) != 0),
        DType::U8 => Scalar::Int(i64::from(storage.read::<u8>(i))),
        DType::I8 => Scalar::Int(i64::from(storage.read::<i8>(i))),
        DType::I16 => Scalar::Int(i64::from(storage.read::<i16>(i))),
        DType::I32 => Scalar::Int(i64::from(storage.read::<i32>(i))),
        DType::I64 => Scalar::Int(storage.read::<i64>(i)),
        DType::F16 => Scalar::Float(storage.read::<half::f16>(i).to_f64()),
        DType::BF16 => Scalar::Float(storage.read::<half::bf16>(i).to_f64()),
        DType::F32 => Scalar::Float(f64::from(storage.read::<f32>(i))),
        DType::F64 => Scalar::Float(storage.read::<f64>(i)),
    }
}

/// Writes one element of a runtime type, without counting a write.
pub fn write_scalar(storage: &Storage, dtype: DType, i: usize, value: crate::base::Scalar) {
    use crate::base::dtype::Element;
    match dtype {
        DType::Bool => storage.write::<u8>(i, value.as_bool().into()),
        DType::U8 => storage.write(i, u8::from_scalar(value)),
        DType::I8 => storage.write(i, i8::from_scalar(value)),
        DType::I16 => storage.write(i, i16::from_scalar(value)),
        DType::I32 => storage.write(i, i32::from_scalar(value)),
        DType::I64 => storage.write(i, i64::from_scalar(value)),
        DType::F16 => storage.write(i, half::f16::from_scalar(value)),
        DType::BF16 => storage.write(i, half::bf16::from_scalar(value)),
        DType::F32 => storage.write(i, f32::from_scalar(value)),
        DType::F64 => storage.write(i, f64::from_scalar(value)),
    }
}

/// Memory from the system, if there is any left.
pub(super) fn system_alloc(layout: Layout) -> Option<usize> {
    #[cfg(target_os = "linux")]
    if layout.align() == pool::HUGE {
        return map_pages(layout.size());
    }
    // SAFETY: every size class is at least `pool::ALIGN` bytes, so the size is not zero.
    let p = unsafe { std::alloc::alloc(layout) };
    (!p.is_null()).then_some(p as usize)
}

pub(super) fn system_free(address: usize, layout: Layout) {
    #[cfg(target_os = "linux")]
    if layout.align() == pool::HUGE {
        // SAFETY: the pool passes addresses from `map_pages` with their sizes.
        unsafe { libc::munmap(address as *mut libc::c_void, layout.size()) };
        return;
    }
    // SAFETY: the pool passes addresses from `system_alloc` with the layout of their class.
    unsafe { std::alloc::dealloc(address as *mut u8, layout) }
}

/// Pages that start on a huge page, and are huge pages if the system has some: one fault where
/// there would be 512, and none of it is kept when they are given back.
#[cfg(target_os = "linux")]
fn map_pages(size: usize) -> Option<usize> {
    let room = size.checked_add(pool::HUGE)?;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at an address of the system's choice.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), room, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return None;
    }
    let address = (start as usize).next_multiple_of(pool::HUGE);
    let before = address - start as usize;
    for (from, bytes) in [
        (start as usize, before),
        (address + size, pool::HUGE - before),
    ] {
        if bytes > 0 {
            // SAFETY: a part of the new mapping, in whole pages, that nobody knows.
            unsafe { libc::munmap(from as *mut libc::c_void, bytes) };
        }
    }
    // SAFETY: what is left of the new mapping. Without huge pages all works the same.
    unsafe { libc::madvise(address as *mut libc::c_void, size, libc::MADV_HUGEPAGE) };
    Some(address)
}
