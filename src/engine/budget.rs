//! A budget for memory: saved tensors go when it is exceeded, and are computed again when needed.
//!
//! NOTE [Budget]
//! While a budget is set, each recorded op leaves a recipe for its results: the op, its arguments, and
//! what its inputs were. A saved tensor with a recipe can be evicted at any time; when it is unpacked,
//! the recipe runs, after those of the inputs that are gone too. Before each op, while tensors would hold
//! more than the budget with its results, that saved tensor is evicted which costs the least to compute again (with what is
//! evicted around it) for each byte and for the time since it was used: the heuristic of dynamic tensor
//! rematerialization (Kirisame et al., arXiv:2006.09616). Only tensors that nobody else holds count, as
//! nothing else would free memory. What has no recipe (leaves, data, random numbers) stays. Results are
//! the same to the last bit, since the same kernels run on the same inputs.

use crate::base::{Attrs, DType, Error, Layout, Result, Scalar};
use crate::memory::storage::WeakStorage;
use crate::memory::{Storage, pool};
use crate::ops::def::{Call, Kernel, OpDef, Spec};
use crate::ops::observe::{Observer, Unobserved};
use crate::ops::{dispatch, random};
use crate::tape::provenance::writer_name;
use crate::tape::{GradMode, Outputs, Packed, SavedTensor, SavedTensorHooks, Site, mode};
use crate::tensor::{Operand, Tensor};
use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;
use std::any::Any;
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

/// What a budget has done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Account {
    /// How many saved tensors were evicted.
    pub evictions: usize,
    /// How many ops ran again.
    pub recomputations: usize,
    /// The most bytes that tensors held with the results of an op, when nothing was left to evict; 0
    /// if the budget was kept.
    pub exceeded: usize,
}

/// See NOTE [Budget].
pub struct Budget {
    this: Weak<Budget>,
    limit: usize,
    clock: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What ops have made, by storage.
    made: FxHashMap<usize, (WeakStorage, Arc<Value>)>,
    /// When `made` is searched for what is gone.
    prune_at: usize,
    /// What is saved and not evicted, or was so a while ago.
    resident: Vec<Weak<Value>>,
    account: Account,
}

/// One result of an op.
struct Value {
    recipe: Recipe,
    bytes: usize,
    /// Nanoseconds that its op took.
    cost: u64,
    /// Its elements, while it is saved and not evicted.
    tensor: Mutex<Option<Tensor>>,
    /// How many nodes have it saved.
    saved: AtomicU32,
    last_use: AtomicU64,
}

/// How to compute a result again.
struct Recipe {
    op: &'static OpDef,
    overload: usize,
    attrs: Attrs,
    inputs: SmallVec<[Source; 2]>,
    output: usize,
    layout: Layout,
    dtype: DType,
}

/// Where an input comes from.
enum Source {
    Scalar(Scalar),
    None,
    /// Part of another result.
    Value {
        value: Arc<Value>,
        layout: Arc<Layout>,
        dtype: DType,
    },
    /// A tensor that no recipe makes, and its version.
    Kept(Tensor, u32),
}

thread_local! {
    /// When the running op began.
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

impl Budget {
    /// A budget of `limit` bytes for all that tensors hold, in the whole process.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            limit,
            clock: AtomicU64::new(0),
            state: Mutex::default(),
        })
    }

    /// What it has done so far.
    pub fn account(&self) -> Account {
        self.state.lock().account
    }

    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    /// The result that lies in a storage, if an op has made it and nobody has written to it.
    fn value_in(&self, storage: &Storage) -> Option<Arc<Value>> {
        let state = self.state.lock();
        let (weak, value) = state.made.get(&storage.id())?;
        weak.is_alive().then(|| value.clone())
    }

    fn source(&self, input: &Operand) -> Source {
        match input {
            Operand::Scalar(s) => Source::Scalar(*s),
            Operand::None => Source::None,
            Operand::Tensor(t) => match self.value_in(t.storage()) {
                Some(value) => Source::Value {
                    value,
                    layout: t.shared_layout().clone(),
                    dtype: t.dtype(),
                },
                None => Source::Kept(t.detach(), t.storage().version()),
            },
        }
    }

    /// Evicts until there is room for `bytes` in the budget, or nothing is left to evict.
    fn make_room(&self, bytes: usize) {
        while pool::live_bytes().saturating_add(bytes) > self.limit {
            let Some(victim) = self.victim() else {
                let mut state = self.state.lock();
                state.account.exceeded = state.account.exceeded.max(pool::live_bytes() + bytes);
                return;
            };
            drop(victim.tensor.lock().take());
            self.state.lock().account.evictions += 1;
        }
    }

    /// What costs the least to evict.
    fn victim(&self) -> Option<Arc<Value>> {
        let now = self.now();
        let mut best: Option<(f64, Arc<Value>)> = None;
        let mut state = self.state.lock();
        state.resident.retain(|weak| {
            let Some(value) = weak.upgrade() else {
                return false;
            };
            let sole = match &*value.tensor.lock() {
                None => return false,
                Some(t) => t.storage().handles() == 1,
            };
            if sole {
                let staleness = now - value.last_use.load(Ordering::Relaxed) + 1;
                let score = value.cost_around() as f64 / (value.bytes as f64 * staleness as f64);
                if best.as_ref().is_none_or(|(least, _)| score < *least) {
                    best = Some((score, value));
                }
            }
            true
        });
        best.map(|(_, value)| value)
    }

    /// Holds a saved result from now on.
    fn keep(&self, value: &Arc<Value>, t: Tensor) {
        value.last_use.store(self.now(), Ordering::Relaxed);
        let mut place = value.tensor.lock();
        if place.is_none() {
            *place = Some(t);
            drop(place);
            self.state.lock().resident.push(Arc::downgrade(value));
        }
    }

    /// The elements of a result, computed again if they are gone.
    fn materialize(&self, value: &Arc<Value>) -> Result<Tensor> {
        let _unobserved = Unobserved::new();
        let _mode = GradMode::set(false);
        let mut stack = vec![Frame::new(value.clone())];
        loop {
            let frame = stack.last_mut().expect("the first frame returns");
            let held = frame.value.tensor.lock().clone();
            let t = match held {
                Some(t) => t,
                None => match frame.next_input()? {
                    Some(missing) => {
                        stack.push(Frame::new(missing));
                        continue;
                    }
                    None => {
                        self.make_room(frame.value.bytes);
                        let t = frame.value.recipe.run(&frame.inputs)?;
                        self.state.lock().account.recomputations += 1;
                        t
                    }
                },
            };
            let done = stack.pop().expect("the frame above").value;
            done.last_use.store(self.now(), Ordering::Relaxed);
            if done.saved.load(Ordering::Relaxed) > 0 {
                self.keep(&done, t.clone());
            }
            match stack.last_mut() {
                Some(consumer) => consumer.take(&t),
                None => return Ok(t),
            }
        }
    }
}

/// A result that is being computed again, with the inputs found so far: they are held, so they stay.
struct Frame {
    value: Arc<Value>,
    inputs: SmallVec<[Operand; 2]>,
}

impl Frame {
    fn new(value: Arc<Value>) -> Self {
        let inputs = SmallVec::new();
        Self { value, inputs }
    }

    /// Collects inputs up to the first one that must be computed before; `None` when all are there.
    fn next_input(&mut self) -> Result<Option<Arc<Value>>> {
        let value = self.value.clone();
        while let Some(source) = value.recipe.inputs.get(self.inputs.len()) {
            match source {
                Source::Scalar(s) => self.inputs.push(Operand::Scalar(*s)),
                Source::None => self.inputs.push(Operand::None),
                Source::Kept(t, version) => {
                    value.recipe.check_version(t, *version)?;
                    self.inputs.push(t.clone().into());
                }
                Source::Value { value, .. } => {
                    let held = value.tensor.lock().clone();
                    match held {
                        Some(t) => self.take(&t),
                        None => return Ok(Some(value.clone())),
                    }
                }
            }
        }
        Ok(None)
    }

    /// Takes the result that the next input is part of.
    fn take(&mut self, whole: &Tensor) {
        let Source::Value { layout, dtype, .. } = &self.value.recipe.inputs[self.inputs.len()]
        else {
            unreachable!("only results are computed again");
        };
        let part = Tensor::from_parts(whole.storage().clone(), layout.clone(), *dtype);
        self.inputs.push(part.into());
    }
}

impl Recipe {
    fn run(&self, inputs: &[Operand]) -> Result<Tensor> {
        let mut outs = dispatch::run_overload(self.op, self.overload, inputs, &self.attrs)?;
        let t = outs.swap_remove(self.output);
        debug_assert!(*t.layout() == self.layout && t.dtype() == self.dtype);
        Ok(t)
    }

    fn check_version(&self, t: &Tensor, version: u32) -> Result<()> {
        if t.storage().version() == version {
            return Ok(());
        }
        let (writer, site) = t.storage().last_writer();
        Err(Error::runtime(format!(
            "a result of {}, evicted to keep the memory budget, cannot be computed again: its input of \
             shape {} has been modified by an inplace operation: {}{}. Write out of place there, or \
             give the budget more bytes",
            self.op.name,
            t.shape(),
            writer_name(writer),
            Site(site).at()
        )))
    }
}

impl Value {
    /// What it costs to compute it again, with what is evicted before it.
    fn cost_around(&self) -> u64 {
        /// Beyond this many results the cost counts as high.
        const MOST: usize = 32;
        let mut total = self.cost;
        let mut seen: FxHashSet<*const Value> = FxHashSet::default();
        let mut todo: SmallVec<[&Value; 8]> = SmallVec::new();
        todo.push(self);
        while let Some(value) = todo.pop() {
            for source in &value.recipe.inputs {
                if let Source::Value { value, .. } = source
                    && value.tensor.lock().is_none()
                    && seen.len() < MOST
                    && seen.insert(std::ptr::from_ref(value))
                {
                    total += value.cost;
                    todo.push(value);
                }
            }
        }
        total
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        // A loop, so that a long chain of recipes does not recurse.
        let mut todo: Vec<Source> = self.recipe.inputs.drain(..).collect();
        while let Some(source) = todo.pop() {
            if let Source::Value { value, .. } = source
                && let Some(mut value) = Arc::into_inner(value)
            {
                todo.extend(value.recipe.inputs.drain(..));
            }
        }
    }
}

impl Observer for Budget {
    fn before(&self, call: &Call, in_place: bool) -> Result<Option<Outputs>> {
        let is_new = !matches!(call.op.kernel, Kernel::View(_) | Kernel::Dynamic(_));
        if is_new && !in_place {
            // Wrong arguments are for the op to complain about.
            let specs = (call.op.meta)(call).unwrap_or_default();
            let bytes = |s: &Spec| s.shape.numel() * s.dtype.size();
            self.make_room(specs.iter().map(bytes).sum());
        }
        BEGAN.set(Some(Instant::now()));
        Ok(None)
    }

    fn after(&self, call: &Call, outs: &[Tensor]) -> Result<()> {
        let began = BEGAN.take();
        let is_new = !matches!(call.op.kernel, Kernel::View(_) | Kernel::Dynamic(_))
            && !random::is_random(call.op)
            && outs.iter().all(|out| {
                out.layout().offset == 0
                    && (call.tensors()).all(|t| !t.storage().same(out.storage()))
            });
        if is_new && mode::grad_enabled() {
            let cost = began.map_or(0, |began| began.elapsed().as_nanos() as u64);
            for (output, out) in outs.iter().enumerate() {
                let recipe = Recipe {
                    op: call.op,
                    overload: call.overload,
                    attrs: call.attrs.clone(),
                    inputs: call.inputs.iter().map(|input| self.source(input)).collect(),
                    output,
                    layout: out.layout().clone(),
                    dtype: out.dtype(),
                };
                let value = Arc::new(Value {
                    recipe,
                    bytes: out.storage().bytes(),
                    cost,
                    tensor: Mutex::new(None),
                    saved: AtomicU32::new(0),
                    last_use: AtomicU64::new(self.now()),
                });
                let mut state = self.state.lock();
                let entry = (out.storage().downgrade(), value);
                let old = state.made.insert(out.storage().id(), entry);
                let gone = state.prune();
                drop(state);
                drop((old, gone));
            }
        }
        Ok(())
    }
}

impl State {
    /// Takes out what lies in storages that are gone, now and then.
    fn prune(&mut self) -> Vec<Arc<Value>> {
        if self.made.len() < self.prune_at.max(64) {
            return Vec::new();
        }
        let mut gone = Vec::new();
        self.made.retain(|_, (weak, value)| {
            let alive = weak.is_alive();
            if !alive {
                gone.push(value.clone());
            }
            alive
        });
        self.prune_at = 2 * self.made.len();
        gone
    }
}

impl SavedTensorHooks for Budget {
    fn pack(&self, t: &Tensor, name: &str) -> Result<Arc<dyn Packed>> {
        let Some(value) = self.value_in(t.storage()) else {
            return Ok(Arc::new(Plain {
                saved: SavedTensor::held(t)?,
                name: name.to_owned(),
                site: Site::current(),
            }));
        };
        let recipe = &value.recipe;
        let layout = Arc::new(recipe.layout.clone());
        let whole = Tensor::from_parts(t.storage().clone(), layout, recipe.dtype);
        value.saved.fetch_add(1, Ordering::Relaxed);
        self.keep(&value, whole);
        Ok(Arc::new(Evictable {
            value,
            layout: t.shared_layout().clone(),
            dtype: t.dtype(),
            budget: self.this.clone(),
        }))
    }

    fn before_write(&self, storage: &Storage) -> Result<()> {
        let made = self.state.lock().made.remove(&storage.id());
        if let Some((_, value)) = &made {
            // The recipe is that of the old elements: from now on they are computed again.
            let old = value.tensor.lock().take();
            drop(old);
        }
        Ok(())
    }
}

/// A saved tensor without a recipe.
struct Plain {
    saved: SavedTensor,
    name: String,
    site: Site,
}

impl Packed for Plain {
    fn unpack(&self) -> Result<Tensor> {
        self.saved.unpack(None, &self.name, self.site)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A saved tensor that may be evicted.
struct Evictable {
    value: Arc<Value>,
    layout: Arc<Layout>,
    dtype: DType,
    budget: Weak<Budget>,
}

impl Packed for Evictable {
    fn unpack(&self) -> Result<Tensor> {
        let held = self.value.tensor.lock().clone();
        let whole = match (held, self.budget.upgrade()) {
            (Some(t), _) => t,
            (None, Some(budget)) => budget.materialize(&self.value)?,
            (None, None) => Budget::new(usize::MAX).materialize(&self.value)?,
        };
        Ok(Tensor::from_parts(
            whole.storage().clone(),
            self.layout.clone(),
            self.dtype,
        ))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for Evictable {
    fn drop(&mut self) {
        if self.value.saved.fetch_sub(1, Ordering::Relaxed) == 1 {
            let last = self.value.tensor.lock().take();
            drop(last);
        }
    }
}
