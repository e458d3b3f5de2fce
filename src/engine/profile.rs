//! Times of ops.

use super::task::Task;
use crate::base::{DType, Result, Shape};
use crate::memory::pool;
use crate::ops::def::Call;
use crate::ops::observe::Observer;
use crate::tape::{Outputs, Site};
use crate::tensor::{Operand, Tensor};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Instant;

/// One op that ran.
#[derive(Clone, Debug)]
pub struct Event {
    /// The op.
    pub name: &'static str,
    /// Nanoseconds since the profiler was made.
    pub begin: u64,
    /// As `begin`.
    pub end: u64,
    /// The call.
    pub site: Site,
    /// Sizes and types of the tensor inputs.
    pub inputs: Vec<(Shape, DType)>,
    /// Sizes and types of the results.
    pub outputs: Vec<(Shape, DType)>,
    /// Bytes that tensors hold after it.
    pub live_bytes: usize,
    /// In a backward: the number of the node whose rules ran it, its name, and its call.
    pub node: Option<(u64, String, Site)>,
}

/// Notes the ops that run on its thread.
pub struct Profiler {
    start: Instant,
    /// The beginning of what runs, and of what it runs within.
    open: Mutex<Vec<u64>>,
    events: Mutex<Vec<Event>>,
}

impl Profiler {
    /// A profiler whose clock starts now.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            open: Mutex::default(),
            events: Mutex::default(),
        })
    }

    /// Nanoseconds since it was made.
    pub fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Takes what was noted so far.
    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.events.lock())
    }
}

impl Observer for Profiler {
    fn before(&self, _: &Call, _: bool) -> Result<Option<Outputs>> {
        self.open.lock().push(self.now());
        Ok(None)
    }

    fn failed(&self) {
        self.open.lock().pop();
    }

    fn after(&self, call: &Call, outs: &[Tensor]) -> Result<()> {
        let end = self.now();
        let begin = self.open.lock().pop().unwrap_or(end);
        let meta = |t: &Tensor| (t.shape().clone(), t.dtype());
        let node = Task::current().and_then(|task| task.running());
        let node = node.map(|node| {
            let (seq, site) = node.with(|n| (n.seq, n.site));
            (seq, node.name(), site)
        });
        self.events.lock().push(Event {
            name: call.op.name,
            begin,
            end,
            site: Site::current(),
            inputs: call
                .inputs
                .iter()
                .filter_map(Operand::as_tensor)
                .map(meta)
                .collect(),
            outputs: outs.iter().map(meta).collect(),
            live_bytes: pool::live_bytes(),
            node,
        });
        Ok(())
    }
}
