//! Observers: they see each op that runs on their thread.
//!
//! NOTE [Observers]
//! An observer is called before and after the kernel of each call: ops made of other ops show as
//! those, writes in place as the op that writes. What `before` returns takes the place of running the
//! kernel, and is recorded as if the kernel had made it. While an observer is called, none sees the
//! ops that it runs itself. Without observers all this costs one test of a thread's flag.

use super::def::Call;
use crate::base::Result;
use crate::tape::{Outputs, mode};
use crate::tensor::Tensor;
use std::cell::RefCell;
use std::sync::Arc;

/// See NOTE [Observers].
pub trait Observer: Send + Sync {
    /// A call is about to run; `in_place` if it writes its first input. Results, if any, are taken
    /// instead of running it, but for writes in place.
    ///
    /// # Errors
    /// The call then fails with this error, before anything has changed.
    fn before(&self, _call: &Call, _in_place: bool) -> Result<Option<Outputs>> {
        Ok(None)
    }

    /// A call has run: `outs` are its results, or what it wrote in place.
    ///
    /// # Errors
    /// The call then fails with this error.
    fn after(&self, call: &Call, outs: &[Tensor]) -> Result<()>;

    /// A call has failed.
    fn failed(&self) {}
}

thread_local! {
    static OBSERVERS: RefCell<Vec<Arc<dyn Observer>>> = const { RefCell::new(Vec::new()) };
}

/// Lets an observer see this thread's calls from now on.
pub fn push(observer: Arc<dyn Observer>) {
    OBSERVERS.with_borrow_mut(|o| o.push(observer));
    mode::set_observed(true);
}

/// Takes the observer back that was pushed last.
pub fn pop() -> Option<Arc<dyn Observer>> {
    let popped = OBSERVERS.with_borrow_mut(Vec::pop);
    mode::set_observed(OBSERVERS.with_borrow(|o| !o.is_empty()));
    popped
}

/// Takes an observer back, wherever it stands; `false` if it is not there.
pub fn remove(observer: &Arc<dyn Observer>) -> bool {
    let removed = OBSERVERS.with_borrow_mut(|o| {
        let place = o.iter().rposition(|other| Arc::ptr_eq(other, observer))?;
        Some(o.remove(place))
    });
    mode::set_observed(OBSERVERS.with_borrow(|o| !o.is_empty()));
    removed.is_some()
}

/// No observer sees what runs until this goes out of scope.
pub struct Unobserved(bool);

impl Unobserved {
    /// Begins.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let observed = mode::observed();
        mode::set_observed(false);
        Self(observed)
    }
}

impl Drop for Unobserved {
    fn drop(&mut self) {
        mode::set_observed(self.0);
    }
}

/// Runs a call between its observers: the last one pushed is the innermost.
#[cold]
pub(super) fn around(call: &Call, run: impl FnOnce() -> Result<Outputs>) -> Result<Outputs> {
    let observers = OBSERVERS.with_borrow(Clone::clone);
    let mut outs = None;
    for observer in &observers {
        let _unobserved = Unobserved::new();
        outs = observer.before(call, false)?.or(outs);
    }
    let outs = match outs {
        Some(outs) => outs,
        None => run().inspect_err(|_| observers.iter().for_each(|o| o.failed()))?,
    };
    after(&observers, call, &outs)?;
    Ok(outs)
}

/// As [`around`], for a write to `x`.
#[cold]
pub(super) fn around_write(
    call: &Call,
    x: &Tensor,
    write: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let observers = OBSERVERS.with_borrow(Clone::clone);
    for observer in &observers {
        let _unobserved = Unobserved::new();
        observer.before(call, true)?;
    }
    write().inspect_err(|_| observers.iter().for_each(|o| o.failed()))?;
    after(&observers, call, std::slice::from_ref(x))
}

fn after(observers: &[Arc<dyn Observer>], call: &Call, outs: &[Tensor]) -> Result<()> {
    for observer in observers.iter().rev() {
        let _unobserved = Unobserved::new();
        observer.after(call, outs)?;
    }
    Ok(())
}
