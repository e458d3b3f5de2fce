//! Saved tensors that may be written: copied before the first write to their elements.

use crate::base::{Error, Result};
use crate::memory::Storage;
use crate::ops;
use crate::tape::{GradMode, Packed, SavedTensorHooks};
use crate::tensor::Tensor;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::any::Any;
use std::sync::{Arc, Weak};

/// Hooks under which saved tensors may be written: the backward sees them as they were.
#[derive(Default)]
pub struct CloneBeforeWrite {
    this: Weak<CloneBeforeWrite>,
    /// What is saved, by storage.
    saved: Mutex<FxHashMap<usize, Vec<Weak<Held>>>>,
}

/// A saved tensor, or since the first write to its storage a copy of it.
struct Held {
    tensor: Mutex<Tensor>,
    hooks: Weak<CloneBeforeWrite>,
}

impl CloneBeforeWrite {
    /// New hooks. What is saved under them is lost when the last handle goes.
    pub fn new() -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            saved: Mutex::default(),
        })
    }
}

impl SavedTensorHooks for CloneBeforeWrite {
    fn pack(&self, t: &Tensor, _: &str) -> Result<Arc<dyn Packed>> {
        let held = Arc::new(Held {
            tensor: Mutex::new(t.detach()),
            hooks: self.this.clone(),
        });
        let mut saved = self.saved.lock();
        let list = saved.entry(t.storage().id()).or_default();
        // Of a storage that is saved again and again, most entries may be gone.
        if list.len() == list.capacity() {
            list.retain(|h| h.strong_count() > 0);
        }
        list.push(Arc::downgrade(&held));
        Ok(held)
    }

    fn before_write(&self, storage: &Storage) -> Result<()> {
        let list = self.saved.lock().remove(&storage.id());
        // A write in inference mode must not make an inference tensor of what was saved outside.
        let _mode = GradMode::inference(false);
        for held in list.iter().flatten().filter_map(Weak::upgrade) {
            let t = held.tensor.lock().clone();
            let copy = ops::clone_data(&t)?;
            let old = std::mem::replace(&mut *held.tensor.lock(), copy);
            drop(old);
        }
        Ok(())
    }
}

impl Packed for Held {
    fn unpack(&self) -> Result<Tensor> {
        if self.hooks.strong_count() == 0 {
            return Err(Error::runtime(
                "Trying to backward outside of the 'allow_mutation_on_saved_tensors' context in \
                 which the graph was originally recorded: call backward within it",
            ));
        }
        Ok(self.tensor.lock().clone())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
