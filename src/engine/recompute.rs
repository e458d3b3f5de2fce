//! Parts of a forward that are kept while the rest is computed again: selective checkpointing.

use crate::base::{Error, Result};
use crate::ops::def::{Call, Cost, Kernel};
use crate::ops::observe::Observer;
use crate::tape::provenance::writer_name;
use crate::tape::{Outputs, Site};
use crate::tensor::Tensor;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The calls of a forward, with the results of those that are kept.
#[derive(Default)]
pub struct Kept {
    calls: Mutex<Vec<Entry>>,
}

struct Entry {
    op: &'static str,
    site: Site,
    /// The results, with the versions of their storages.
    results: Option<Vec<(Tensor, u32)>>,
}

impl Kept {
    /// Bytes of the results that are kept.
    pub fn bytes(&self) -> usize {
        let calls = self.calls.lock();
        let results = calls
            .iter()
            .flat_map(|entry| entry.results.iter().flatten());
        results.map(|(t, _)| t.storage().bytes()).sum()
    }
}

/// Whether the results of a call are to be kept.
pub type Policy = Box<dyn Fn(&Call) -> Result<bool> + Send + Sync>;

/// Keeps what its policy says of the calls that it sees.
pub struct Keeper {
    kept: Arc<Kept>,
    policy: Policy,
}

impl Keeper {
    /// Keeps results in `kept`.
    pub fn new(kept: Arc<Kept>, policy: Policy) -> Arc<Self> {
        Arc::new(Self { kept, policy })
    }

    /// Keeps what is expensive to compute again, as the op table says.
    pub fn heavy() -> Policy {
        Box::new(|call| Ok(call.op.cost == Cost::Heavy))
    }
}

impl Observer for Keeper {
    fn after(&self, call: &Call, outs: &[Tensor]) -> Result<()> {
        let is_new = !matches!(call.op.kernel, Kernel::View(_)) && !is_write(call, outs);
        let results = if is_new && (self.policy)(call)? {
            let keep = |t: &Tensor| (t.detach(), t.storage().version());
            Some(outs.iter().map(keep).collect())
        } else {
            None
        };
        self.kept.calls.lock().push(Entry {
            op: call.op.name,
            site: Site::current(),
            results,
        });
        Ok(())
    }
}

/// Whether a call has written its first input.
fn is_write(call: &Call, outs: &[Tensor]) -> bool {
    matches!((call.tensor_opt(0), outs), (Some(x), [out]) if x.storage().same(out.storage()))
}

/// Gives the same calls, run again, the results that were kept.
pub struct Replayer {
    kept: Arc<Kept>,
    next: AtomicUsize,
}

impl Replayer {
    /// Replays what is in `kept`.
    pub fn new(kept: Arc<Kept>) -> Arc<Self> {
        Arc::new(Self {
            kept,
            next: AtomicUsize::new(0),
        })
    }
}

impl Observer for Replayer {
    fn before(&self, call: &Call, _: bool) -> Result<Option<Outputs>> {
        let i = self.next.fetch_add(1, Ordering::Relaxed);
        let calls = self.kept.calls.lock();
        let differs = |what: String| {
            Error::runtime(format!(
                "the forward of a checkpoint differs when it is computed again: call {i} was {what}, \
                 and is now {}{}. It must run the same ops both times",
                call.op.name,
                Site::current().at()
            ))
        };
        let Some(entry) = calls.get(i) else {
            return Err(differs("not there".into()));
        };
        if entry.op != call.op.name {
            return Err(differs(format!("{}{}", entry.op, entry.site.at())));
        }
        let Some(results) = &entry.results else {
            return Ok(None);
        };
        let again = |(t, version): &(Tensor, u32)| {
            let (writer, site) = t.storage().last_writer();
            if t.storage().version() == *version {
                Ok(t.detach())
            } else {
                Err(Error::runtime(format!(
                    "the result of {}{}, kept by a selective checkpoint, has been modified by an \
                     inplace operation: {}{}. Write out of place there, or let it be computed again",
                    entry.op,
                    entry.site.at(),
                    writer_name(writer),
                    Site(site).at()
                )))
            }
        };
        results.iter().map(again).collect::<Result<_>>().map(Some)
    }

    fn after(&self, _: &Call, _: &[Tensor]) -> Result<()> {
        Ok(())
    }
}
