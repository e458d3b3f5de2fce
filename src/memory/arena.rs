//! A chunked arena of counted slots.
//!
//! NOTE [Arena]
//! A slot is named by `(index, stamp)`. Chunks are allocated once and never move, so a reference to
//! a slot stays good for the arena's life and the arena needs no `unsafe`. A slot whose count falls
//! to zero is emptied, its stamp advances, and its index goes to a free list: handles of the old
//! occupant then no longer match. A training loop reuses the same slots in every step. An empty slot
//! holds a recycled value, which the next one is made of in place.

use parking_lot::Mutex;
use std::cell::RefCell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

const CHUNK: usize = 1 << 10;
const CHUNKS_PER_PAGE: usize = 1 << 10;
const PAGES: usize = 1 << 10;
/// How many free indices a thread keeps to itself before it hands half of them back.
const LOCAL_FREE: usize = 256;

/// A value that gives its place to the next one of its kind.
pub trait Recycle: Default {
    /// Drops what the value holds: back to the default, as far as the next value relies on it.
    fn recycle(&mut self);
}

/// One place for a value.
pub struct Slot<T> {
    stamp: AtomicU32,
    count: AtomicU32,
    value: Mutex<T>,
}

type Chunk<T> = Box<[Slot<T>]>;
type Page<T> = Box<[OnceLock<Chunk<T>>]>;

/// See NOTE [Arena].
pub struct Arena<T: 'static> {
    pages: [OnceLock<Page<T>>; PAGES],
    next: AtomicU32,
    free: Mutex<Vec<u32>>,
    live: AtomicUsize,
}

thread_local! {
    // The process has one arena (the tape), so one list per thread is enough.
    static LOCAL: RefCell<FreeList> = const { RefCell::new(FreeList(Vec::new(), None)) };
}

/// The free indices of one thread, and the shared list they return to when the thread ends.
struct FreeList(Vec<u32>, Option<&'static Mutex<Vec<u32>>>);

impl Drop for FreeList {
    fn drop(&mut self) {
        if let Some(shared) = self.1 {
            shared.lock().append(&mut self.0);
        }
    }
}

impl<T> Slot<T> {
    /// Adds one to the count; the caller holds a count already.
    #[inline]
    pub fn retain(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one from the count; `true` when that was the last, and the caller must
    /// [`Arena::empty`].
    #[inline]
    pub fn release(&self) -> bool {
        self.count.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// The current count.
    #[inline]
    pub fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    /// Runs `f` on the value of a live slot, under the slot's own lock: `f` must not call back.
    #[inline]
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.value.lock())
    }
}

impl<T: Recycle> Arena<T> {
    /// An empty arena. It allocates its first chunk with its first value.
    pub const fn new() -> Self {
        Self {
            pages: [const { OnceLock::new() }; PAGES],
            next: AtomicU32::new(0),
            free: Mutex::new(Vec::new()),
            live: AtomicUsize::new(0),
        }
    }

    /// Fills an empty slot, with a count of one; returns its place, index and stamp. `fill` runs
    /// under the slot's lock.
    #[inline]
    pub fn insert(&'static self, fill: impl FnOnce(&mut T)) -> (&'static Slot<T>, u32, u32) {
        let index = self.take_index();
        let slot = self.slot(index);
        fill(&mut slot.value.lock());
        slot.count.store(1, Ordering::Relaxed);
        self.live.fetch_add(1, Ordering::Relaxed);
        (slot, index, slot.stamp.load(Ordering::Relaxed))
    }

    fn take_index(&'static self) -> u32 {
        let local = LOCAL.try_with(|list| {
            let mut list = list.borrow_mut();
            if list.0.is_empty() {
                list.1 = Some(&self.free);
                let mut shared = self.free.lock();
                let keep = shared.len().saturating_sub(LOCAL_FREE / 2);
                list.0.extend(shared.drain(keep..));
            }
            list.0.pop()
        });
        local.ok().flatten().unwrap_or_else(|| {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            assert!(
                (index as usize) < CHUNK * CHUNKS_PER_PAGE * PAGES,
                "the tape is full"
            );
            index
        })
    }

    fn slot(&self, index: u32) -> &Slot<T> {
        let (chunk, i) = (index as usize / CHUNK, index as usize % CHUNK);
        let (page, c) = (chunk / CHUNKS_PER_PAGE, chunk % CHUNKS_PER_PAGE);
        let page = self.pages[page]
            .get_or_init(|| (0..CHUNKS_PER_PAGE).map(|_| OnceLock::new()).collect());
        let chunk = page[c].get_or_init(|| {
            (0..CHUNK)
                .map(|_| Slot {
                    stamp: AtomicU32::new(1),
                    count: AtomicU32::new(0),
                    value: Mutex::new(T::default()),
                })
                .collect()
        });
        &chunk[i]
    }

    /// Adds one to the count of a slot unless it has been emptied since `stamp` was read.
    pub fn try_retain(&'static self, index: u32, stamp: u32) -> Option<&'static Slot<T>> {
        let slot = self.slot(index);
        let mut count = slot.count.load(Ordering::Relaxed);
        while count > 0 {
            match slot.count.compare_exchange_weak(
                count,
                count + 1,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) if slot.stamp.load(Ordering::Acquire) == stamp => return Some(slot),
                Ok(_) => {
                    // Another value lives here now: undo.
                    if slot.release() {
                        self.empty(slot, index);
                    }
                    return None;
                }
                Err(now) => count = now,
            }
        }
        None
    }

    /// Drops the value of a slot whose count is zero, in place. Destructors run under the slot's
    /// lock, but nobody can wait for it: handles that do not keep the slot are refused by its count.
    pub fn empty(&'static self, slot: &'static Slot<T>, index: u32) {
        slot.value.lock().recycle();
        // Nobody else changes the stamp of a slot without a count.
        let stamp = slot.stamp.load(Ordering::Relaxed);
        slot.stamp.store(stamp.wrapping_add(1), Ordering::Release);
        self.live.fetch_sub(1, Ordering::Relaxed);
        let kept = LOCAL.try_with(|list| {
            let mut list = list.borrow_mut();
            list.1 = Some(&self.free);
            if list.0.len() >= LOCAL_FREE {
                self.free.lock().extend(list.0.drain(..LOCAL_FREE / 2));
            }
            list.0.push(index);
        });
        if kept.is_err() {
            self.free.lock().push(index);
        }
    }

    /// The places of the slots that hold a value now: `(index, stamp)`.
    pub fn occupied(&'static self) -> Vec<(u32, u32)> {
        let used = self.next.load(Ordering::Relaxed);
        let slots = (0..used).map(|index| (index, self.slot(index)));
        slots
            .filter(|(_, slot)| slot.count() > 0)
            .map(|(index, slot)| (index, slot.stamp.load(Ordering::Acquire)))
            .collect()
    }

    /// How many slots hold a value.
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// How many slots were ever used: the high-water mark.
    pub fn reserved(&self) -> usize {
        self.next.load(Ordering::Relaxed) as usize
    }
}

impl<T: Recycle> Default for Arena<T> {
    fn default() -> Self {
        Self::new()
    }
}
