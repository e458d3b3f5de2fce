//! Which line of the user's program made a node or a write.
//!
//! A host language registers how to find and how to describe a call site; without one, sites are
//! unknown. Finding must be cheap, since it runs once a node; describing may be slow.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// An interned call site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Site(pub u32);

/// How a host language finds and describes call sites.
pub struct Provider {
    /// The call site of the running op.
    pub current: fn() -> Site,
    /// `file:line` of a site.
    pub describe: fn(Site) -> Option<String>,
}

static OP_NAMES: OnceLock<fn(u32) -> &'static str> = OnceLock::new();

/// Registers how to name an op by its number.
pub fn register_op_names(name: fn(u32) -> &'static str) {
    let _ = OP_NAMES.set(name);
}

/// The number under which a storage notes a write that no op made.
pub const OUTSIDE: u32 = u32::MAX - 1;

/// The number under which a storage notes an update of an optimiser's.
pub const OPTIMIZER: u32 = u32::MAX - 2;

/// The number under which a storage notes an assignment to a subscript.
pub const SET_ITEM: u32 = u32::MAX - 3;

/// The number under which a storage notes `fill_`.
pub const FILL: u32 = u32::MAX - 4;

/// The number under which a storage notes `zero_`.
pub const ZERO: u32 = u32::MAX - 5;

/// The name of op number `op`.
pub fn op_name(op: u32) -> &'static str {
    OP_NAMES.get().map_or("an op", |name| name(op))
}

/// What wrote to a storage, by the number that it noted: `mul_`.
pub fn writer_name(op: u32) -> String {
    match op {
        OUTSIDE => "increment_version".into(),
        OPTIMIZER => "an optimizer's step".into(),
        FILL => "fill_".into(),
        ZERO => "zero_".into(),
        SET_ITEM => "an assignment to a subscript (x[...] = value)".into(),
        _ => format!("{}_", op_name(op)),
    }
}

static WARN: OnceLock<fn(&str)> = OnceLock::new();

/// Registers how to warn the user.
pub fn register_warn(warn: fn(&str)) {
    let _ = WARN.set(warn);
}

/// Warns the user of something that is not an error.
pub fn warn(message: &str) {
    if let Some(warn) = WARN.get() {
        warn(message);
    }
}

static PROVIDER: OnceLock<Provider> = OnceLock::new();
static ENABLED: AtomicBool = AtomicBool::new(true);

/// Registers the host language's provider; the first one stays.
pub fn register(provider: Provider) {
    // A second interpreter in the same process would find the first one's provider: harmless.
    let _ = PROVIDER.set(provider);
}

/// Switches provenance on (as it is from the start) or off.
pub fn set_enabled(enabled: bool) {
    ENABLED.store(enabled, Ordering::Relaxed);
}

impl Site {
    /// The call site of the running op.
    #[inline]
    pub fn current() -> Site {
        match PROVIDER.get() {
            Some(p) if ENABLED.load(Ordering::Relaxed) => (p.current)(),
            _ => Site(0),
        }
    }

    /// ` at file:line`, or nothing when the site is unknown.
    pub fn at(self) -> String {
        if self.0 == 0 {
            return String::new();
        }
        PROVIDER
            .get()
            .and_then(|p| (p.describe)(self))
            .map_or_else(String::new, |s| format!(" at {s}"))
    }

    /// `file:line`, when the site is known.
    pub fn describe(self) -> Option<String> {
        if self.0 == 0 {
            None
        } else {
            PROVIDER.get().and_then(|p| (p.describe)(self))
        }
    }
}
