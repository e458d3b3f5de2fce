//! What is called with the gradients that pass a node.
//!
//! NOTE [Hooks]
//! At a node run, in this order: the hooks of its outputs' tensors, in the order of registration;
//! what keeps gradients (targets of `grad`, then `retain_grad`); the hooks before the node; its
//! rules; the hooks after it. Each sees what the one before it returned. A leaf's accumulator calls
//! those after accumulation last. Hooks run while no lock is held, with recording as the backward
//! has it, and may run a backward of their own. Gradients of zero become tensors for them.

use super::node::{Edge, NodeId, NodeRef};
use crate::base::Result;
use crate::ensure;
use crate::tensor::{Leaf, Tensor};
use std::any::Any;
use std::sync::Arc;

/// A gradient; `None` is zero.
pub type Grad = Option<Tensor>;

/// When a hook is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// When the gradient of this output is complete. It is called with that one gradient.
    Output(u32),
    /// Before the node runs: with the gradients of its outputs.
    Before,
    /// After the node has run: with the gradients of its inputs, and those of its outputs.
    After,
    /// After an accumulator has added to its leaf's gradient: with nothing.
    Accumulated,
}

/// Something to call with gradients.
pub trait Hook: Send + Sync {
    /// `grads` are the gradients that pass, `outputs` those that had arrived at the node. What is
    /// returned, unless it is `None`, takes the place of `grads`.
    fn call(&self, node: &NodeRef, grads: &[Grad], outputs: &[Grad]) -> Result<Option<Vec<Grad>>>;
    /// For the host language to find its own.
    fn as_any(&self) -> &dyn Any;
}

/// The hooks of a node.
#[derive(Clone, Default)]
pub struct Hooks {
    /// In the order of registration.
    pub calls: Vec<(When, Arc<dyn Hook>)>,
    /// Gradients to keep when they pass: `(output, place)`.
    pub retain: Vec<(u32, Arc<Leaf>)>,
    /// What the host language has attached to the node.
    pub host: Option<Arc<dyn Any + Send + Sync>>,
}

impl Hooks {
    /// Whether any is called at this point.
    pub fn has(&self, when: When) -> bool {
        self.calls.iter().any(|(w, _)| *w == when)
    }

    /// Calls those of one point, which may replace `grads`.
    ///
    /// # Errors
    /// What a hook raises.
    pub fn run(
        &self,
        when: When,
        node: &NodeRef,
        grads: &mut [Grad],
        outputs: &[Grad],
    ) -> Result<()> {
        for (_, hook) in self.calls.iter().filter(|(w, _)| *w == when) {
            if let Some(new) = hook.call(node, grads, outputs)? {
                ensure!(
                    new.len() == grads.len(),
                    runtime,
                    "a hook of {} returned {} gradients in place of {}",
                    node.name(),
                    new.len(),
                    grads.len()
                );
                for (old, new) in grads.iter_mut().zip(new) {
                    check_replacement(node, old.as_ref(), new.as_ref())?;
                    *old = new;
                }
            }
        }
        Ok(())
    }
}

/// A gradient may only be replaced by one of the same kind.
fn check_replacement(node: &NodeRef, old: Option<&Tensor>, new: Option<&Tensor>) -> Result<()> {
    let (Some(old), Some(new)) = (old, new) else {
        return Ok(());
    };
    ensure!(
        old.shape() == new.shape(),
        runtime,
        "a hook of {} has changed the size of value: the gradient is {}, the hook returned {}",
        node.name(),
        old.shape(),
        new.shape()
    );
    ensure!(
        old.dtype() == new.dtype() && old.device() == new.device(),
        runtime,
        "a hook of {} has changed the type of value: the gradient is {} on {}, the hook returned {} \
         on {}",
        node.name(),
        old.dtype(),
        old.device(),
        new.dtype(),
        new.device()
    );
    Ok(())
}

/// A closure as a hook.
struct Closure<F>(F);

impl<F> Hook for Closure<F>
where
    F: Fn(&NodeRef, &[Grad]) -> Result<Option<Vec<Grad>>> + Send + Sync + 'static,
{
    fn call(&self, node: &NodeRef, grads: &[Grad], _: &[Grad]) -> Result<Option<Vec<Grad>>> {
        (self.0)(node, grads)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Takes a registered hook back; dropping it leaves the hook where it is.
pub struct HookHandle {
    node: NodeId,
    hook: Arc<dyn Hook>,
}

impl HookHandle {
    /// Removes the hook.
    pub fn remove(self) {
        let Some(node) = self.node.upgrade() else {
            return;
        };
        let removed = node.with(|n| {
            let calls = &mut n.hooks.as_deref_mut()?.calls;
            let place = calls.iter().position(|(_, h)| Arc::ptr_eq(h, &self.hook))?;
            Some(calls.remove(place))
        });
        drop(removed);
    }
}

impl NodeRef {
    /// Registers a hook at the end of those of its kind.
    pub fn add_hook(&self, when: When, hook: Arc<dyn Hook>) -> HookHandle {
        let handle = HookHandle {
            node: self.id(),
            hook: hook.clone(),
        };
        self.with(|n| n.hooks.get_or_insert_default().calls.push((when, hook)));
        handle
    }
}

impl Tensor {
    /// Calls `hook` with the gradient of this tensor whenever one is computed; what it returns,
    /// unless `None`, takes the gradient's place.
    ///
    /// ```
    /// use rustgrad::{Tensor, engine, ops};
    /// let x = Tensor::from_slice(&[3.0f64], [1])?;
    /// x.set_requires_grad(true)?;
    /// let handle = x.register_hook(|g| ops::add(g, g).map(Some))?;
    /// engine::backward(&[ops::mul(&x, &x)?], &[None], None, engine::Grads::default())?;
    /// assert_eq!(x.grad().unwrap().item()?.as_f64(), 12.0);
    /// handle.remove();
    /// # Ok::<(), rustgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the tensor requires no gradient.
    pub fn register_hook(
        &self,
        hook: impl Fn(&Tensor) -> Result<Option<Tensor>> + Send + Sync + 'static,
    ) -> Result<HookHandle> {
        let Edge { node, output } = self.hooked_edge()?;
        let hook = move |_: &NodeRef, grads: &[Grad]| match &grads[0] {
            Some(grad) => Ok(hook(grad)?.map(|g| vec![Some(g)])),
            None => Ok(None),
        };
        Ok(node.add_hook(When::Output(output), Arc::new(Closure(hook))))
    }

    /// Calls `hook` with this leaf whenever a backward has added to its gradient.
    ///
    /// # Errors
    /// When this is not a leaf that requires a gradient.
    pub fn register_post_accumulate_grad_hook(
        &self,
        hook: impl Fn(&Tensor) -> Result<()> + Send + Sync + 'static,
    ) -> Result<HookHandle> {
        let node = self.hooked_accumulator()?;
        let hook = move |node: &NodeRef, _: &[Grad]| {
            if let Some(leaf) = node.leaf().and_then(|leaf| leaf.owner()) {
                hook(&leaf)?;
            }
            Ok(None)
        };
        Ok(node.add_hook(When::Accumulated, Arc::new(Closure(hook))))
    }

    /// The place of this tensor's hooks.
    ///
    /// # Errors
    /// When the tensor requires no gradient.
    pub fn hooked_edge(&self) -> Result<Edge> {
        let edge = self.grad_edge()?;
        ensure!(
            edge.is_some(),
            runtime,
            "cannot register a hook on a tensor that doesn't require gradient"
        );
        Ok(edge.expect("checked"))
    }

    /// The accumulator of a leaf, as the place of its hooks.
    ///
    /// # Errors
    /// When this is not a leaf that requires a gradient.
    pub fn hooked_accumulator(&self) -> Result<NodeRef> {
        let Edge { node, .. } = self.hooked_edge()?;
        ensure!(
            node.leaf().is_some(),
            runtime,
            "post accumulate grad hooks cannot be registered on non-leaf tensors: this one is the \
             result of {}. register_hook() sees its gradient",
            node.name()
        );
        Ok(node)
    }
}
