//! Reverse mode.
//!
//! NOTE [Order]
//! Every node has a number larger than those its edges lead to, so taking the pending node with the
//! largest number visits each node after all its consumers: no dependency counts, no ready queues.
//! A leaf's accumulator is numbered just before its first consumer, so it runs as soon as its last
//! contribution is in.
//!
//! NOTE [Failed backward]
//! A backward that fails leaves the graph as it was if it had not freed anything yet, so that the
//! cause can be mended and the call repeated. Otherwise what it began with counts as freed: the same
//! call raises at once, rather than add to some leaves a second time. Nodes that did not run keep
//! what they saved, for other calls. Gradients that leaves had received stay.

use super::anomaly::{self, Checks};
use super::mask::masked;
use super::task::Task;
use crate::base::{Attrs, Error, Result};
use crate::ops::{self, in_place};
use crate::tape::hooks::Grad;
use crate::tape::node::CustomFunction;
use crate::tape::{
    self, Body, Cut, CutBy, Edge, GradMode, Hooks, Meta, Node, NodeRef, Rule, Saved, Site, VjpCx,
    When, mode,
};
use crate::tensor::{Leaf, Operand, Tensor};
use crate::{bail, ensure};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::{SmallVec, smallvec};
use std::cell::Cell;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::sync::Arc;

/// What to do with the graph.
#[derive(Clone, Copy, Debug, Default)]
pub struct Grads {
    /// Keep saved values for another backward.
    pub retain_graph: bool,
    /// Record the backward itself, so that its results can be differentiated.
    pub create_graph: bool,
}

/// Adds the gradients of `outputs` to `.grad` of the leaves (or of `inputs`).
///
/// `grads` are the cotangents, one an output; `None` is 1 and allowed for one-element outputs.
///
/// ```
/// use rustgrad::{Tensor, engine, ops};
/// let x = Tensor::from_slice(&[3.0f64], [1])?;
/// x.set_requires_grad(true)?;
/// let y = ops::mul(&x, &x)?;
/// engine::backward(&[y], &[None], None, engine::Grads::default())?;
/// assert_eq!(x.grad().unwrap().item()?.as_f64(), 6.0);
/// # Ok::<(), rustgrad::Error>(())
/// ```
///
/// # Errors
/// When an output has no history, a cotangent does not fit, a saved value was overwritten or freed,
/// or a rule fails.
pub fn backward<E: Endpoint>(
    outputs: &[E],
    grads: &[Grad],
    inputs: Option<&[E]>,
    how: Grads,
) -> Result<()> {
    let roots = roots(outputs, grads)?;
    let Some(inputs) = inputs else {
        Walk::new(how, None)?.run(roots)?;
        return Ok(());
    };
    ensure!(
        !inputs.is_empty(),
        runtime,
        "'inputs' argument to backward() cannot be empty."
    );
    let targets = targets(inputs)?;
    let mut walk = Walk::new(how, Some((&roots, &targets)))?;
    walk.accumulates = true;
    let found = walk.run(roots)?;
    let _mode = GradMode::set(how.create_graph);
    for ((input, target), grad) in inputs.iter().zip(targets).zip(found) {
        // The accumulators of leaves have run.
        if let (Some(grad), None) = (grad, target.node.leaf())
            && let Some(t) = input.tensor()
        {
            t.set_grad(Some(accumulated(t.grad(), grad)?))?;
        }
    }
    Ok(())
}

/// The gradients of `outputs` with respect to `inputs`; `None` where an input was not used.
///
/// # Errors
/// As [`backward`]; also when an input requires no gradient, or was not used and `allow_unused` is
/// false.
pub fn grad<E: Endpoint>(
    outputs: &[E],
    grads: &[Grad],
    inputs: &[E],
    allow_unused: bool,
    how: Grads,
) -> Result<Vec<Grad>> {
    let roots = roots(outputs, grads)?;
    let targets = targets(inputs)?;
    let found = Walk::new(how, Some((&roots, &targets)))?.run(roots)?;
    for (i, grad) in found.iter().enumerate() {
        ensure!(
            allow_unused || grad.is_some(),
            runtime,
            "One of the differentiated Tensors appears to not have been used in the graph (input \
             {i}, of shape {}). Set allow_unused=True if this is the desired behavior.",
            inputs[i].meta().shape
        );
    }
    Ok(found)
}

/// Where a derivative begins or ends: a tensor, or its edge alone.
pub trait Endpoint {
    /// Where its gradient goes; `None` when it needs none.
    ///
    /// # Errors
    /// When its history cannot be told.
    fn edge(&self) -> Result<Option<Edge>>;
    /// Its shape, type and device.
    fn meta(&self) -> Meta;
    /// The tensor, where that is what it is.
    fn tensor(&self) -> Option<&Tensor>;
}

impl Endpoint for Tensor {
    fn edge(&self) -> Result<Option<Edge>> {
        self.grad_edge()
    }

    fn meta(&self) -> Meta {
        self.meta()
    }

    fn tensor(&self) -> Option<&Tensor> {
        Some(self)
    }
}

impl Endpoint for Edge {
    fn edge(&self) -> Result<Option<Edge>> {
        Ok(Some(self.clone()))
    }

    fn meta(&self) -> Meta {
        self.node.with(|n| n.outputs[self.output as usize].clone())
    }

    fn tensor(&self) -> Option<&Tensor> {
        None
    }
}

/// Pairs each output's edge with its cotangent.
fn roots<E: Endpoint>(outputs: &[E], grads: &[Grad]) -> Result<Vec<(Edge, Tensor)>> {
    ensure!(
        outputs.len() == grads.len(),
        runtime,
        "got {} tensors and {} gradients: give one gradient, or None, for each tensor",
        outputs.len(),
        grads.len()
    );
    let mut roots = Vec::with_capacity(outputs.len());
    for (i, (output, grad)) in outputs.iter().zip(grads).enumerate() {
        let Some(edge) = output.edge()? else {
            bail!(
                runtime,
                "element {i} of tensors does not require grad and does not have a grad_fn{}",
                why_not(output.tensor())
            )
        };
        let meta = output.meta();
        let grad = match grad {
            Some(g) => {
                ensure!(
                    *g.shape() == *meta.shape,
                    runtime,
                    "Mismatch in shape: grad_output[{i}] has a shape of {} and output[{i}] has a \
                     shape of {}. A gradient has the shape of what it belongs to.",
                    g.shape(),
                    meta.shape
                );
                ops::cast(g, meta.dtype)?
            }
            None => {
                ensure!(
                    meta.shape.numel() == 1,
                    runtime,
                    "grad can be implicitly created only for scalar outputs, but output {i} has \
                     shape {}; pass gradient=",
                    meta.shape
                );
                Tensor::full(meta.shape, 1i64, meta.dtype, meta.device)?
            }
        };
        roots.push((edge, grad));
    }
    Ok(roots)
}

/// Why a tensor has no history, where that is known.
fn why_not(t: Option<&Tensor>) -> String {
    match t.and_then(|t| t.cut().describe()) {
        Some(cut) => format!(": {cut}"),
        None => {
            ": nothing that it comes from requires grad. Call requires_grad_() before it is used"
                .into()
        }
    }
}

fn targets<E: Endpoint>(inputs: &[E]) -> Result<Vec<Edge>> {
    let edge = |t: &E| {
        t.edge()?.ok_or_else(|| {
            Error::runtime(format!(
                "One of the differentiated Tensors does not require grad (shape {}){}",
                t.meta().shape,
                why_not(t.tensor())
            ))
        })
    };
    inputs.iter().map(edge).collect()
}

/// A node that waits for the gradients of its outputs.
struct Pending {
    node: NodeRef,
    grads: SmallVec<[Grad; 1]>,
    /// Outputs that were reached: those without a gradient have one of zero.
    reached: u64,
}

/// One backward pass.
struct Walk {
    how: Grads,
    /// With targets: whether those that are leaves accumulate.
    accumulates: bool,
    /// Whether a node's saved values are gone: see NOTE [Failed backward].
    has_freed: bool,
    checks: Option<Checks>,
    /// Whether a gradient of zero gives zero where an infinite slope would make it NaN.
    masks: bool,
    /// The gradients of the running node's inputs, if hooks will see them before they go on.
    collected: Option<Vec<Grad>>,
    pending: FxHashMap<u32, Pending>,
    order: BinaryHeap<(u64, u32)>,
    /// With targets: the nodes on a path to one, and where each target's gradient goes.
    wanted: Option<(
        Rc<FxHashSet<u32>>,
        FxHashMap<(u32, u32), SmallVec<[usize; 1]>>,
    )>,
    found: Vec<Grad>,
    /// Keeps targets alive, so that their slots are not reused.
    targets: Vec<Edge>,
    site: Site,
}

/// What a visit needs of a node, copied (or taken) out, so that no lock is held while rules run.
struct Step {
    edges: SmallVec<[Option<Edge>; 2]>,
    inputs: SmallVec<[Option<Meta>; 2]>,
    outputs: SmallVec<[Meta; 1]>,
    site: Site,
    work: Work,
}

/// What a node does.
enum Work {
    /// Nothing below it is wanted.
    Nothing,
    Op {
        rule: &'static dyn Rule,
        attrs: Attrs,
        mask: u64,
        saved: SmallVec<[Saved; 2]>,
    },
    Accumulate(Arc<Leaf>),
    Custom(Arc<dyn CustomFunction>),
    /// Its saved values are gone: where they were freed.
    Freed(Site),
}

impl Walk {
    fn new(how: Grads, goal: Option<(&[(Edge, Tensor)], &[Edge])>) -> Result<Self> {
        let mut walk = Self {
            how,
            accumulates: false,
            has_freed: false,
            checks: anomaly::checks().filter(|c| c.backward),
            masks: mode::masking(),
            collected: None,
            pending: FxHashMap::default(),
            order: BinaryHeap::new(),
            wanted: None,
            found: Vec::new(),
            targets: Vec::new(),
            site: Site::current(),
        };
        if let Some((roots, targets)) = goal {
            let mut places: FxHashMap<(u32, u32), SmallVec<[usize; 1]>> = FxHashMap::default();
            for (i, t) in targets.iter().enumerate() {
                places
                    .entry((t.node.index(), t.output))
                    .or_default()
                    .push(i);
            }
            walk.wanted = Some((Rc::new(on_a_path(roots, targets)), places));
            walk.found = vec![None; targets.len()];
            walk.targets = targets.to_vec();
        }
        Ok(walk)
    }

    fn run(mut self, roots: Vec<(Edge, Tensor)>) -> Result<Vec<Grad>> {
        let _mode = GradMode::backward(self.how.create_graph);
        let on_path = self.wanted.as_ref().map(|(on_path, _)| on_path.clone());
        let task = Task::begin(&roots, on_path, &self.targets);
        for (edge, grad) in roots {
            self.push(&edge, Some(grad))?;
        }
        while let Some((_, index)) = self.order.pop() {
            let mut pending = self
                .pending
                .remove(&index)
                .expect("an ordered node is pending");
            task.runs(&pending.node);
            if let Err(e) = self.visit(&mut pending) {
                if self.has_freed {
                    task.roots().for_each(|node| self.mark_freed(node));
                }
                return Err(e);
            }
        }
        if !self.how.retain_graph {
            task.roots().for_each(|node| node.with(|n| n.walked = true));
        }
        if !self.how.create_graph {
            let cut = Cut::at(CutBy::Backward, u32::MAX, self.site);
            self.found
                .iter()
                .flatten()
                .for_each(|grad| grad.set_cut(cut));
        }
        Ok(self.found)
    }

    /// Adds a contribution to an output's gradient; `None` is zero.
    fn push(&mut self, edge: &Edge, grad: Grad) -> Result<()> {
        let index = edge.node.index();
        let pending = match self.pending.entry(index) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let (seq, n) = edge.node.with(|n| (n.seq, n.outputs.len()));
                self.order.push((seq, index));
                entry.insert(Pending {
                    node: edge.node.clone(),
                    grads: smallvec![None; n],
                    reached: 0,
                })
            }
        };
        pending.reached |= 1 << edge.output.min(63);
        if let Some(grad) = grad {
            let slot = &mut pending.grads[edge.output as usize];
            *slot = Some(accumulated(slot.take(), grad)?);
        }
        Ok(())
    }

    fn visit(&mut self, pending: &mut Pending) -> Result<()> {
        if pending.grads.iter().any(Option::is_none) && self.is_watched(&pending.node) {
            fill_zeros(pending)?;
        }
        let Pending { node, grads, .. } = pending;
        let hooks = node.with(|n| n.hooks.as_deref().cloned());
        if let Some(hooks) = &hooks {
            for i in 0..grads.len() {
                // What was not reached has no gradient at all.
                if grads[i].is_some() {
                    hooks.run(When::Output(i as u32), node, &mut grads[i..=i], &[])?;
                }
            }
            self.capture(node, grads);
            self.retain(node, hooks, grads)?;
            if !self.is_idle(node) {
                hooks.run(When::Before, node, grads, &[])?;
            }
        } else {
            self.capture(node, grads);
        }
        let step = node.with(|n| self.step(node, n));
        if matches!(step.work, Work::Nothing) {
            return Ok(());
        }
        let after = hooks.filter(|h| h.has(When::After) || h.has(When::Accumulated));
        if after.is_some() {
            self.collected = Some(vec![None; step.edges.len()]);
        }
        let mut result = self.work(node, &step, grads);
        if let Some(hooks) = after {
            let collected = self.collected.take().expect("set above");
            result = result.and_then(|()| self.finish(node, &step, &hooks, collected, grads));
        }
        match result {
            Ok(()) => self.release(node, &step),
            Err(_) => self.put_back(node, step),
        }
        result
    }

    /// Does what the node does with its gradients.
    fn work(&mut self, node: &NodeRef, step: &Step, grads: &mut [Grad]) -> Result<()> {
        match &step.work {
            Work::Nothing => Ok(()),
            Work::Accumulate(leaf) => {
                // Hooks that run later see the gradient that arrived.
                let grad = match self.collected {
                    Some(_) => grads[0].clone(),
                    None => grads[0].take(),
                };
                grad.map_or(Ok(()), |grad| accumulate(leaf, grad, self.site))
            }
            Work::Freed(freed) => Err(freed_error(node, step.site, *freed)),
            Work::Custom(function) => {
                for (i, g) in function.backward(node, grads)?.into_iter().enumerate() {
                    if let Some(g) = g {
                        let g = self.untainted(g, node, step)?;
                        if let Some(checks) = self.checks {
                            checks.check_gradient(node, i, &g, grads, &[])?;
                        }
                        self.pass_on(step, i, Some(g))?;
                    }
                }
                Ok(())
            }
            Work::Op { rule, .. } => {
                // Rules are linear: zero gives zero.
                if grads.iter().all(Option::is_none) {
                    (0..step.edges.len()).try_for_each(|i| self.pass_on(step, i, None))
                } else {
                    self.apply_rules(*rule, node, step, grads)
                }
            }
        }
    }

    /// Calls the hooks after a node, then sends the gradients on that were collected for them.
    fn finish(
        &mut self,
        node: &NodeRef,
        step: &Step,
        hooks: &Hooks,
        mut collected: Vec<Grad>,
        grads: &[Grad],
    ) -> Result<()> {
        hooks.run(When::After, node, &mut collected, grads)?;
        for (edge, grad) in step.edges.iter().zip(collected) {
            if let Some(edge) = edge {
                self.push(edge, grad)?;
            }
        }
        hooks.run(When::Accumulated, node, &mut [], &[])
    }

    /// Lets go of what the node saved, after it ran.
    fn release(&mut self, node: &NodeRef, step: &Step) {
        if self.how.retain_graph {
            return;
        }
        match &step.work {
            Work::Custom(function) => function.release(),
            Work::Op { mask, .. } if *mask != 0 => {}
            _ => return,
        }
        self.has_freed = true;
        self.mark_freed(node);
    }

    /// Whether nothing that the node would do is wanted.
    fn is_idle(&self, node: &NodeRef) -> bool {
        node.with(|n| match n.body {
            Body::Accumulate(_) => !self.is_accumulated(node),
            _ => !n.edges.iter().flatten().any(|e| self.is_wanted(e)),
        })
    }

    /// Whether gradients that arrive at an accumulator are added to its leaf's.
    fn is_accumulated(&self, accumulator: &NodeRef) -> bool {
        match &self.wanted {
            None => true,
            // A root may be a leaf that is no target.
            Some((_, places)) => self.accumulates && places.contains_key(&(accumulator.index(), 0)),
        }
    }

    fn is_wanted(&self, edge: &Edge) -> bool {
        match &self.wanted {
            None => true,
            Some((on_path, places)) => {
                let index = edge.node.index();
                on_path.contains(&index) || places.contains_key(&(index, edge.output))
            }
        }
    }

    /// Copies out what a visit needs; values saved for a graph that is not kept are taken.
    fn step(&self, node: &NodeRef, n: &mut Node) -> Step {
        let mut edges: SmallVec<[Option<Edge>; 2]> = SmallVec::new();
        for edge in &n.edges {
            edges.push(edge.as_ref().filter(|e| self.is_wanted(e)).cloned());
        }
        let idle = edges.iter().all(Option::is_none);
        let work = match (&n.body, n.freed) {
            (Body::Accumulate(leaf), _) if self.is_accumulated(node) => {
                Work::Accumulate(leaf.clone())
            }
            (Body::Accumulate(_), _) => Work::Nothing,
            _ if idle => Work::Nothing,
            (_, Some(freed)) => Work::Freed(freed),
            (Body::Custom(f), None) => Work::Custom(f.clone()),
            (Body::Op(rule), None) => Work::Op {
                rule: *rule,
                attrs: n.attrs.clone(),
                mask: n.mask,
                saved: if self.how.retain_graph {
                    n.saved.clone()
                } else {
                    std::mem::take(&mut n.saved)
                },
            },
            (Body::Vacant, None) => unreachable!("a counted slot holds a node"),
        };
        Step {
            edges,
            inputs: n.inputs.iter().cloned().collect(),
            outputs: n.outputs.iter().cloned().collect(),
            site: n.site,
            work,
        }
    }

    /// Notes the gradients of targets.
    fn capture(&mut self, node: &NodeRef, grads: &[Grad]) {
        let Some((_, places)) = &self.wanted else {
            return;
        };
        for (output, grad) in grads.iter().enumerate() {
            for &i in places
                .get(&(node.index(), output as u32))
                .into_iter()
                .flatten()
            {
                self.found[i].clone_from(grad);
            }
        }
    }

    /// Whether somebody looks at the gradients that arrive at a node, even at those of zero.
    fn is_watched(&self, node: &NodeRef) -> bool {
        let (noted, outputs) = node.with(|n| {
            let noted = n.hooks.is_some() || matches!(n.body, Body::Accumulate(_));
            (noted, n.outputs.len() as u32)
        });
        noted || (0..outputs).any(|output| self.is_target(node, output))
    }

    fn is_target(&self, node: &NodeRef, output: u32) -> bool {
        let place = (node.index(), output);
        (self.wanted.as_ref()).is_some_and(|(_, places)| places.contains_key(&place))
    }

    /// Keeps the gradients of tensors that retain theirs. A target gets its own once, from the
    /// caller.
    fn retain(&self, node: &NodeRef, hooks: &Hooks, grads: &[Grad]) -> Result<()> {
        for (output, leaf) in &hooks.retain {
            if let Some(grad) = &grads[*output as usize]
                && !self.is_target(node, *output)
                // Nobody could read the gradient, nor let go of it.
                && leaf.owner().is_some()
            {
                let sum = match leaf.grad() {
                    None => grad.clone(),
                    Some(old) => ops::add(&old, grad)?,
                };
                drop(leaf.replace_grad(Some(sum)));
            }
        }
        Ok(())
    }

    /// See NOTE [Tainted intermediates]: a gradient that must not be differentiated itself.
    fn untainted(&self, grad: Tensor, node: &NodeRef, step: &Step) -> Result<Tensor> {
        if !(self.how.create_graph && grad.is_tainted()) {
            return Ok(grad);
        }
        let mut edges = step.edges.clone();
        edges.push(grad.grad_edge()?);
        Ok(tape::delayed_error(
            &grad,
            edges,
            tainted_message(&node.name()),
        ))
    }

    /// Runs the rule of every input that needs a gradient.
    fn apply_rules(
        &mut self,
        rule: &'static dyn Rule,
        node: &NodeRef,
        step: &Step,
        grads: &mut [Grad],
    ) -> Result<()> {
        let Work::Op {
            attrs, mask, saved, ..
        } = &step.work
        else {
            unreachable!("called for ops");
        };
        let mut needs = 0;
        for (i, edge) in step.edges.iter().enumerate() {
            if edge.is_some() {
                needs |= 1 << i.min(63);
            }
        }
        // The last rule may have the only gradient for itself, unless somebody looks at it later.
        let last = step.edges.iter().rposition(Option::is_some).unwrap_or(0);
        let moves = grads.len() == 1
            && rule.takes_grad(last)
            && !(self.masks || self.checks.is_some() || self.collected.is_some());
        for i in 0..step.edges.len() {
            if step.edges[i].is_none() {
                continue;
            }
            let moved = if moves && i == last {
                grads[0].take()
            } else {
                None
            };
            let cx = VjpCx {
                node: Some(node),
                site: step.site,
                name: rule.name(),
                attrs,
                grads,
                moved: Cell::new(moved),
                needs,
                inputs: &step.inputs,
                outputs: &step.outputs,
                mask: *mask,
                saved,
                arg: i,
            };
            let mut grad = rule
                .vjp(&cx, i)
                .map_err(|e| e.in_op(&format!("backward of {}", rule.name())))?;
            if self.masks {
                grad = masked(rule, attrs, grad, grads)?;
            }
            if let (Some(checks), Some(grad)) = (self.checks, &grad) {
                checks.check_gradient(node, i, grad, grads, saved)?;
            }
            self.pass_on(step, i, grad)?;
        }
        Ok(())
    }

    /// Sends the gradient of input `i` on, in the input's shape and type.
    fn pass_on(&mut self, step: &Step, i: usize, grad: Grad) -> Result<()> {
        let Some(edge) = &step.edges[i] else {
            return Ok(());
        };
        let meta = step.inputs[i].as_ref().unwrap_or(&step.outputs[0]);
        let grad = match grad {
            Some(grad) => Some(ops::cast(&ops::sum_to(&grad, &meta.shape)?, meta.dtype)?),
            None => None,
        };
        match &mut self.collected {
            Some(collected) => {
                let zeros = || Tensor::zeros(meta.shape.clone(), meta.dtype, meta.device);
                collected[i] = Some(grad.map_or_else(zeros, Ok)?);
                Ok(())
            }
            None => self.push(edge, grad),
        }
    }

    fn mark_freed(&self, node: &NodeRef) {
        node.with(|n| n.freed = Some(self.site));
    }

    /// After a rule failed: the values that were taken go back, so that the caller may mend what
    /// was wrong and try again.
    fn put_back(&self, node: &NodeRef, step: Step) {
        if let Work::Op { saved, .. } = step.work
            && !self.how.retain_graph
        {
            node.with(|n| n.saved = saved);
        }
    }
}

/// What a second backward says, and who asks for what a node saved when that is gone.
pub fn freed_error(node: &NodeRef, site: Site, freed: Site) -> Error {
    let by = freed.describe().map_or_else(String::new, |s| {
        format!(" They were freed by the call at {s}.")
    });
    Error::runtime(format!(
        "Trying to backward through the graph a second time (or directly access saved tensors after \
         they have already been freed). Saved intermediate values of the graph are freed when you \
         call .backward() or autograd.grad(). Specify retain_graph=True if you need to backward \
         through the graph a second time or if you need to access saved tensors after calling \
         backward.{by} The first freed node is {}{}.",
        node.name(),
        site.at()
    ))
}

/// The nodes from which a target can be reached.
fn on_a_path(roots: &[(Edge, Tensor)], targets: &[Edge]) -> FxHashSet<u32> {
    let goals: FxHashSet<u32> = targets.iter().map(|t| t.node.index()).collect();
    let least = targets
        .iter()
        .map(|t| t.node.with(|n| n.seq))
        .min()
        .unwrap_or(0);
    let mut seen: FxHashMap<u32, (u64, SmallVec<[u32; 2]>)> = FxHashMap::default();
    let mut todo: Vec<NodeRef> = roots.iter().map(|(e, _)| e.node.clone()).collect();
    while let Some(node) = todo.pop() {
        if seen.contains_key(&node.index()) {
            continue;
        }
        let mut next: SmallVec<[NodeRef; 2]> = SmallVec::new();
        let seq = node.with(|n| {
            // Nothing below the lowest target leads to one.
            if n.seq > least {
                next.extend(n.edges.iter().flatten().map(|e| e.node.clone()));
            }
            n.seq
        });
        seen.insert(
            node.index(),
            (seq, next.iter().map(NodeRef::index).collect()),
        );
        todo.extend(next);
    }
    let mut order: Vec<(u64, u32)> = seen.iter().map(|(&i, (seq, _))| (*seq, i)).collect();
    order.sort_unstable();
    let mut on_path = FxHashSet::default();
    for (_, i) in order {
        if seen[&i]
            .1
            .iter()
            .any(|j| goals.contains(j) || on_path.contains(j))
        {
            on_path.insert(i);
        }
    }
    on_path
}

/// The sum of two contributions; the first is written in place if nobody else can see it.
fn accumulated(old: Option<Tensor>, grad: Tensor) -> Result<Tensor> {
    let Some(old) = old else { return Ok(grad) };
    let recording = crate::tape::mode::grad_enabled() || crate::tape::mode::open_levels() > 0;
    if !recording && old.is_unique() {
        in_place::run(
            &ops::arithmetic::ADD,
            &[Operand::Tensor(old.clone()), grad.into()],
            &one(),
        )?;
        return Ok(old);
    }
    ops::add(&old, &grad)
}

fn one() -> Attrs {
    [crate::base::Attr::Int(1)].into_iter().collect()
}

/// Zeros for the gradients of zero.
fn fill_zeros(pending: &mut Pending) -> Result<()> {
    let outputs = pending.node.with(|n| n.outputs.clone());
    for (i, (grad, meta)) in pending.grads.iter_mut().zip(outputs).enumerate() {
        if grad.is_none() && pending.reached >> i.min(63) & 1 == 1 {
            *grad = Some(Tensor::zeros(meta.shape, meta.dtype, meta.device)?);
        }
    }
    Ok(())
}

/// What differentiating a gradient says that was computed from an intermediate of `function`.
pub(super) fn tainted_message(function: &str) -> String {
    format!(
        "a gradient of {function} cannot be differentiated again: its backward used a tensor that \
         was computed in forward, so the second derivative would lose the part that flows through \
         that tensor. Save the inputs and compute it again in backward, return it as an output of \
         forward, or detach() it in backward if it counts as a constant"
    )
}

/// Adds to a leaf's gradient. The first contribution is kept as it is if nobody else can see it;
/// later ones are added in place unless a graph is being built, so that whoever holds `.grad`
/// sees the sum.
fn accumulate(leaf: &Arc<Leaf>, grad: Tensor, site: Site) -> Result<()> {
    // Nobody can read the gradient, or wants it any more.
    if !leaf.owner().is_some_and(|t| t.requires_grad()) {
        return Ok(());
    }
    let recording = crate::tape::mode::grad_enabled();
    let new = match leaf.grad() {
        None => {
            let grad = if grad.is_unique() && grad.is_contiguous() {
                grad
            } else {
                ops::clone(&grad)?
            };
            if !recording {
                grad.set_cut(Cut::at(CutBy::Backward, u32::MAX, site));
            }
            grad
        }
        Some(old) if recording || old.tangents().is_some() => ops::add(&old, &grad)?,
        Some(old) => {
            return in_place::run(&ops::arithmetic::ADD, &[old.into(), grad.into()], &one());
        }
    };
    drop(leaf.replace_grad(Some(new)));
    Ok(())
}
