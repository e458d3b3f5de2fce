//! The thread's modes: what is recorded, and what is watched.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU32, Ordering};

/// Which results of ops are marked: see NOTE [Tainted intermediates].
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Taint {
    /// None.
    Off,
    /// Inside the forward of a custom function: those of differentiable or marked inputs.
    Forward,
    /// Inside the backward of a custom function that may itself be differentiated: those of marked
    /// inputs.
    Backward,
}

#[derive(Clone, Copy)]
struct Modes {
    grad: bool,
    inference: bool,
    taint: Taint,
    /// Whether elements of a differentiable input were handed to the host in this forward.
    escaped: bool,
    /// How many levels of forward-mode differentiation are open.
    levels: u32,
    /// How many of them, the outermost, do not count here.
    hidden: u32,
    /// Whether hooks turn saved tensors into something else.
    packing: bool,
    /// Whether somebody watches the ops that run.
    observed: bool,
    /// Whether a gradient of zero stays zero at an infinite slope: of backward passes that begin.
    masking: bool,
    /// Whether saved tensors are watched: see NOTE [Watched buffers].
    guarding: bool,
    /// Whether a backward runs that is not recorded: see NOTE [Cuts].
    unrecorded_backward: bool,
}

thread_local! {
    static MODES: Cell<Modes> = const {
        Cell::new(Modes {
            grad: true,
            inference: false,
            taint: Taint::Off,
            escaped: false,
            levels: 0,
            hidden: 0,
            packing: false,
            observed: false,
            masking: false,
            guarding: false,
            unrecorded_backward: false,
        })
    };
}

/// Whether ops record, on this thread.
#[inline]
pub fn grad_enabled() -> bool {
    MODES.get().grad
}

/// Whether new tensors are inference tensors, on this thread.
#[inline]
pub fn inference() -> bool {
    MODES.get().inference
}

/// Whether hooks are set for tensors that are saved, on this thread: see NOTE [Packed values].
#[inline]
pub fn packing() -> bool {
    MODES.get().packing
}

/// Notes whether hooks are set for tensors that are saved.
pub(super) fn set_packing(packing: bool) {
    MODES.set(Modes {
        packing,
        ..MODES.get()
    });
}

/// Whether somebody watches the ops that run, on this thread.
#[inline]
pub fn observed() -> bool {
    MODES.get().observed
}

/// Whether a backward runs that is not recorded, on this thread.
#[inline]
pub fn in_unrecorded_backward() -> bool {
    MODES.get().unrecorded_backward
}

/// Whether a gradient of zero stays zero at an infinite slope, on this thread.
pub fn masking() -> bool {
    MODES.get().masking
}

/// Sets whether a gradient of zero stays zero at an infinite slope.
pub fn set_masking(masking: bool) {
    MODES.set(Modes {
        masking,
        ..MODES.get()
    });
}

/// Whether saved tensors are watched on this thread: see NOTE [Watched buffers].
#[inline]
pub fn guarding() -> bool {
    MODES.get().guarding
}

/// Sets whether saved tensors are watched.
pub fn set_guarding(guarding: bool) {
    MODES.set(Modes {
        guarding,
        ..MODES.get()
    });
}

/// Sets whether somebody watches the ops that run.
pub fn set_observed(observed: bool) {
    MODES.set(Modes {
        observed,
        ..MODES.get()
    });
}

/// Which results are marked as intermediates of a custom function.
#[inline]
pub fn taint() -> Taint {
    MODES.get().taint
}

/// Whether, in the forward of a custom function, elements of a differentiable input were handed to
/// the host, from where they may come back.
pub fn has_escaped() -> bool {
    let modes = MODES.get();
    modes.taint == Taint::Forward && modes.escaped
}

/// Notes that the elements of a tensor are handed to the host.
pub fn set_escaped() {
    MODES.set(Modes {
        escaped: true,
        ..MODES.get()
    });
}

thread_local! {
    static LEVELS: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

static NEXT_LEVEL: AtomicU32 = AtomicU32::new(1);

/// How many levels of forward-mode differentiation are open on this thread, and count here.
#[inline]
pub fn open_levels() -> u32 {
    let modes = MODES.get();
    modes.levels.saturating_sub(modes.hidden)
}

/// Hides the levels that are open now, or shows them again; returns whether they were hidden. Levels
/// that are opened later count.
pub fn hide_levels(hide: bool) -> bool {
    let modes = MODES.get();
    let hidden = if hide { modes.levels } else { 0 };
    MODES.set(Modes { hidden, ..modes });
    modes.hidden > 0
}

/// Whether a level is open on this thread. Tangents of closed levels do not exist any more.
pub fn is_open(level: u32) -> bool {
    let hidden = MODES.get().hidden as usize;
    open_levels() > 0 && LEVELS.with_borrow(|l| l.iter().skip(hidden).any(|&l| l == level))
}

/// The innermost open level.
pub fn innermost_level() -> Option<u32> {
    LEVELS.with_borrow(|l| l.last().copied())
}

/// Opens a level of forward-mode differentiation and returns its number. Numbers are never used
/// twice, and an inner level's is always greater.
pub fn enter_level() -> u32 {
    let level = NEXT_LEVEL.fetch_add(1, Ordering::Relaxed);
    LEVELS.with_borrow_mut(|l| l.push(level));
    let mut modes = MODES.get();
    modes.levels += 1;
    MODES.set(modes);
    level
}

/// Closes a level, and with it every level inside it.
pub fn exit_level(level: u32) {
    let open = LEVELS.with_borrow_mut(|l| {
        l.retain(|&x| x < level);
        l.len()
    });
    let mut modes = MODES.get();
    modes.levels = open as u32;
    MODES.set(modes);
}

/// Restores the thread's modes when it goes out of scope.
///
/// ```
/// use rustgrad::tape::{GradMode, mode};
/// {
///     let _guard = GradMode::set(false);
///     assert!(!mode::grad_enabled());
/// }
/// assert!(mode::grad_enabled());
/// ```
pub struct GradMode(Modes);

impl GradMode {
    fn with(change: impl FnOnce(&mut Modes)) -> Self {
        let old = MODES.get();
        let mut new = old;
        change(&mut new);
        MODES.set(new);
        Self(old)
    }

    /// Turns recording on or off.
    pub fn set(enabled: bool) -> Self {
        Self::with(|m| m.grad = enabled)
    }

    /// A backward, which is recorded or not.
    pub fn backward(recorded: bool) -> Self {
        Self::with(|m| {
            m.grad = recorded;
            m.unrecorded_backward = !recorded;
        })
    }

    /// Turns inference mode on or off; on, nothing is recorded.
    pub fn inference(enabled: bool) -> Self {
        Self::with(|m| {
            m.inference = enabled;
            m.grad = !enabled;
        })
    }

    /// The forward of a custom function: no recording, intermediates are marked.
    pub fn function_forward() -> Self {
        Self::with(|m| {
            m.grad = false;
            m.taint = Taint::Forward;
            m.escaped = false;
            // Tangents of the results come from the backward.
            m.hidden = m.levels;
        })
    }

    /// The backward of a custom function.
    pub fn function_backward() -> Self {
        Self::with(|m| {
            // Within the forward of another function the marks of that one count.
            if m.taint != Taint::Forward {
                m.taint = if m.grad { Taint::Backward } else { Taint::Off };
            }
        })
    }
}

impl Drop for GradMode {
    fn drop(&mut self) {
        // Levels, hooks, observers and the like are set and taken back on their own, possibly within this scope;
        // what has escaped stays outside.
        let now = MODES.get();
        MODES.set(Modes {
            levels: now.levels,
            packing: now.packing,
            observed: now.observed,
            masking: now.masking,
            guarding: now.guarding,
            escaped: now.escaped || self.0.escaped,
            ..self.0
        });
    }
}

/// Turns recording on or off until the next change; for hosts with scopes of their own.
pub fn set_grad_enabled(enabled: bool) {
    std::mem::forget(GradMode::set(enabled));
}

/// Turns inference mode on or off, leaving recording as it is; for hosts with scopes of their own.
pub fn set_inference(enabled: bool) {
    let mut modes = MODES.get();
    modes.inference = enabled;
    MODES.set(modes);
}
