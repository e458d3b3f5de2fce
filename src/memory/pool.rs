//! Buffers of bytes, kept for reuse after they are freed.
//!
//! A fresh page costs more than the arithmetic done on it (about 1.6 us for 4 KiB), so freed
//! buffers wait in size classes for the next request of their class, up to [`CAP`] bytes in all.

use parking_lot::Mutex;
use std::alloc::Layout;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Every buffer starts on a cache line.
pub const ALIGN: usize = 64;
/// The most bytes that wait for reuse; beyond it, freed buffers go back to the system.
pub const CAP: usize = 2 << 30;

const CLASSES: usize = 4 * 48;

static FREE: [Mutex<Vec<usize>>; CLASSES] = [const { Mutex::new(Vec::new()) }; CLASSES];
static LIVE: AtomicUsize = AtomicUsize::new(0);
static CACHED: AtomicUsize = AtomicUsize::new(0);

/// The size class that holds `bytes`, and the size of its buffers: four classes to each power of
/// two, so at most a quarter of a buffer is idle.
fn class(bytes: usize) -> (usize, usize) {
    let bytes = bytes.max(ALIGN);
    let log = bytes.ilog2() as usize;
    let quarter = (1usize << log) / 4;
    let k = (bytes - (1 << log)).div_ceil(quarter);
    ((log - 6) * 4 + k, (1 << log) + k * quarter)
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
        None => super::storage::system_alloc(layout(size)).or_else(|| {
            empty_cache();
            super::storage::system_alloc(layout(size))
        })?,
    };
    LIVE.fetch_add(size, Ordering::Relaxed);
    Some(address)
}

/// Takes back a buffer from [`acquire`] of the same `bytes`.
pub(super) fn release(address: usize, bytes: usize) {
    let (class, size) = class(bytes);
    LIVE.fetch_sub(size, Ordering::Relaxed);
    if CACHED.fetch_add(size, Ordering::Relaxed) + size <= CAP {
        FREE[class].lock().push(address);
    } else {
        CACHED.fetch_sub(size, Ordering::Relaxed);
        super::storage::system_free(address, layout(size));
    }
}

/// Gives every waiting buffer back to the system.
pub fn empty_cache() {
    for (class, list) in FREE.iter().enumerate() {
        let size = (1usize << (class / 4 + 6)) + (class % 4) * ((1usize << (class / 4 + 6)) / 4);
        for address in std::mem::take(&mut *list.lock()) {
            CACHED.fetch_sub(size, Ordering::Relaxed);
            super::storage::system_free(address, layout(size));
        }
    }
}

/// Bytes in buffers that are in use.
pub fn live_bytes() -> usize {
    LIVE.load(Ordering::Relaxed)
}

/// Bytes in buffers that wait for reuse.
pub fn cached_bytes() -> usize {
    CACHED.load(Ordering::Relaxed)
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, ALIGN).expect("a tensor of more bytes than the address space")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_hold_what_they_promise() {
        for bytes in (0..5000).chain([1 << 20, (1 << 20) + 1, 3 << 30]) {
            let (c, size) = class(bytes);
            assert!(
                size >= bytes && size <= bytes.max(64) + bytes.max(64) / 4 + 16,
                "{bytes} {size}"
            );
            assert_eq!(class(size), (c, size), "a class is its own class");
        }
    }
}
