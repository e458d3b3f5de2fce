//! Buffers of bytes, kept for reuse after they are freed.
//!
//! A fresh page costs more than the arithmetic done on it (about 1.6 us for 4 KiB), so freed
//! buffers wait in size classes for the next request of their class. What waits never makes the
//! whole exceed the most that was ever in use by more than [`SLACK`]: before the system is asked
//! for more, buffers of other sizes go back to it.
//!
//! NOTE [Unpooled]
//! Reuse and rounding hide mistakes from AddressSanitizer: who reads one element too many, or reads
//! a freed buffer, finds memory of the process's own. Compiled with `--cfg unpooled`, buffers are
//! exactly as large as asked for, and go back to the system at once.

use super::storage::{system_alloc, system_free};
use parking_lot::Mutex;
use std::alloc::Layout;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Every buffer starts on a cache line.
pub const ALIGN: usize = 64;

/// Buffers from this size on start on a huge page.
pub const HUGE: usize = 2 << 20;

/// By how many bytes buffers that wait may exceed the most that was in use.
pub const SLACK: usize = 32 << 20;

/// Four classes to each power of two from [`ALIGN`] on.
const CLASSES: usize = 4 * 48;

static FREE: [Mutex<Vec<usize>>; CLASSES] = [const { Mutex::new(Vec::new()) }; CLASSES];
static LIVE: AtomicUsize = AtomicUsize::new(0);
static CACHED: AtomicUsize = AtomicUsize::new(0);
/// The most bytes in use at once, ever and since it was last reset.
static PEAKS: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// The size class that holds `bytes`, and the size of its buffers: four classes to each power of
/// two, so at most a quarter of a buffer is idle. See NOTE [Unpooled].
fn class(bytes: usize) -> (usize, usize) {
    if cfg!(unpooled) {
        return (0, bytes.max(1));
    }
    let bytes = bytes.max(ALIGN);
    let log = bytes.ilog2() as usize;
    let quarter = (1usize << log) / 4;
    let k = (bytes - (1 << log)).div_ceil(quarter);
    ((log - 6) * 4 + k, (1 << log) + k * quarter)
}

/// The size of the buffer that holds `bytes`.
pub(super) fn size_of(bytes: usize) -> usize {
    class(bytes).1
}

/// The size of a class's buffers.
fn size_of_class(class: usize) -> usize {
    let whole = ALIGN << (class / 4);
    whole + class % 4 * (whole / 4)
}

/// The address of a buffer of at least `bytes` bytes. Its contents are arbitrary but initialised
/// bytes only when they come from an earlier buffer; callers write before they read.
///
/// `None` when there is not enough memory, even without the buffers that wait for reuse.
pub(super) fn acquire(bytes: usize) -> Option<usize> {
    let (class, size) = class(bytes);
    let waiting = FREE[class].lock().pop();
    let address = match waiting {
        Some(address) => {
            CACHED.fetch_sub(size, Ordering::Relaxed);
            address
        }
        None => fresh(size)?,
    };
    count(size);
    Some(address)
}

/// Counts bytes that are in use from now on, in the pool or elsewhere.
#[inline]
pub(super) fn count(bytes: usize) {
    let live = LIVE.fetch_add(bytes, Ordering::Relaxed) + bytes;
    for peak in &PEAKS {
        if live > peak.load(Ordering::Relaxed) {
            peak.fetch_max(live, Ordering::Relaxed);
        }
    }
}

/// Counts bytes that are no longer in use.
#[inline]
pub(super) fn discount(bytes: usize) {
    LIVE.fetch_sub(bytes, Ordering::Relaxed);
}

/// A buffer from the system.
#[cold]
fn fresh(size: usize) -> Option<usize> {
    let live = live_bytes() + size;
    let most = live.max(PEAKS[0].load(Ordering::Relaxed)) + SLACK;
    trim(most.saturating_sub(live));
    system_alloc(layout(size)).or_else(|| {
        empty_cache();
        system_alloc(layout(size))
    })
}

/// Takes back a buffer from [`acquire`] of the same `bytes`.
pub(super) fn release(address: usize, bytes: usize) {
    let (class, size) = class(bytes);
    discount(size);
    if cfg!(unpooled) {
        return system_free(address, layout(size));
    }
    CACHED.fetch_add(size, Ordering::Relaxed);
    FREE[class].lock().push(address);
}

/// Gives waiting buffers back to the system, the largest first, until no more than `bytes` wait.
pub fn trim(bytes: usize) {
    for class in (0..CLASSES).rev() {
        while CACHED.load(Ordering::Relaxed) > bytes {
            let Some(address) = FREE[class].lock().pop() else {
                break;
            };
            let size = size_of_class(class);
            CACHED.fetch_sub(size, Ordering::Relaxed);
            system_free(address, layout(size));
        }
    }
}

/// Gives every waiting buffer back to the system.
pub fn empty_cache() {
    trim(0);
}

/// Bytes in buffers that are in use.
pub fn live_bytes() -> usize {
    LIVE.load(Ordering::Relaxed)
}

/// Bytes in buffers that wait for reuse.
pub fn cached_bytes() -> usize {
    CACHED.load(Ordering::Relaxed)
}

/// The most bytes in use at once since the start or [`reset_peak`].
pub fn peak_bytes() -> usize {
    PEAKS[1].load(Ordering::Relaxed)
}

/// Lets [`peak_bytes`] start from what is in use now.
pub fn reset_peak() {
    PEAKS[1].store(live_bytes(), Ordering::Relaxed);
}

fn layout(size: usize) -> Layout {
    let is_huge = size >= HUGE && !cfg!(unpooled);
    let align = if is_huge { HUGE } else { ALIGN };
    Layout::from_size_align(size, align).expect("a tensor of more bytes than the address space")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(unpooled, ignore = "there are no classes")]
    fn classes_hold_what_they_promise() {
        for bytes in (0..5000).chain([1 << 20, (1 << 20) + 1, 3 << 30]) {
            let (c, size) = class(bytes);
            assert!(
                size >= bytes && size <= bytes.max(64) + bytes.max(64) / 4 + 16,
                "{bytes} {size}"
            );
            assert_eq!(class(size), (c, size), "a class is its own class");
            assert_eq!(size_of_class(c), size);
        }
    }
}
