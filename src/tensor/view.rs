//! What a view remembers of its base.
//!
//! NOTE [Views]
//! A view keeps its base, which is not a view itself, and the chain of view ops that led to it. A
//! view that was made to require grad is a leaf of its own, and the base of what is made from it.
//! Writing into the view rebases the base: the base's new history is the old one with the written
//! region replaced (`view_scatter`). Views, the written one too, learn of it lazily: a view whose
//! storage has a newer version than its history replays its chain on the base and takes the edge
//! that comes out. Replaying moves no elements.

use super::Tensor;
use crate::base::{Attrs, Error, Layout, Result};
use crate::tape::{Edge, GradMode, Rule};
use std::sync::Arc;

/// How a view came to be; decides whether it may be written in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// While recording, by an op with one output.
    Recorded,
    /// While not recording.
    NoGrad,
    /// By an op with several outputs, such as `split`.
    MultiOutput,
    /// By a custom function, or an input of one returned as it is.
    Custom,
}

/// See NOTE [Views].
pub struct ViewInfo {
    /// The tensor that owns the elements.
    pub base: Tensor,
    /// How to get from the base to the view; `None` when it is all of it.
    pub chain: Option<Arc<ViewStep>>,
    /// How it came to be.
    pub creation: Creation,
    /// The base's [`Tensor::data_generation`] when it came to be.
    pub generation: u32,
}

/// One view op, and those before it.
pub struct ViewStep {
    before: Option<Arc<ViewStep>>,
    rule: &'static dyn Rule,
    attrs: Attrs,
    output: usize,
}

impl ViewStep {
    /// Output `output` of `rule`, applied after the steps of `before`.
    pub fn new(
        before: Option<Arc<ViewStep>>,
        rule: &'static dyn Rule,
        attrs: Attrs,
        output: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            before,
            rule,
            attrs,
            output,
        })
    }

    /// Applies the chain to a tensor shaped like the base.
    ///
    /// # Errors
    /// When `t` is not shaped like the base.
    pub fn replay(&self, t: &Tensor) -> Result<Tensor> {
        let mut steps = vec![self];
        while let Some(before) = &steps[steps.len() - 1].before {
            steps.push(before);
        }
        let mut t = t.clone();
        for step in steps.into_iter().rev() {
            t = step
                .rule
                .apply(&[t.into()], &step.attrs)?
                .swap_remove(step.output);
        }
        Ok(t)
    }
}

impl Drop for ViewStep {
    fn drop(&mut self) {
        // A loop, so that a long chain of views of views does not recurse.
        let mut before = self.before.take();
        while let Some(mut step) = before.and_then(Arc::into_inner) {
            before = step.before.take();
        }
    }
}

impl Tensor {
    /// What this view remembers of its base; `None` for a tensor that is not a view.
    pub fn view_info(&self) -> Option<&ViewInfo> {
        self.0.autograd.get().and_then(|a| a.view.as_ref())
    }

    /// As [`Tensor::view_info`], but `None` for a view that is a leaf of its own.
    fn view_of_another(&self) -> Option<&ViewInfo> {
        self.view_info().filter(|_| !self.is_own_leaf())
    }

    /// A view of this tensor's elements: output `output` of `rule`.
    pub fn make_view(
        &self,
        layout: Layout,
        rule: &'static dyn Rule,
        attrs: &Attrs,
        output: usize,
        creation: Creation,
    ) -> Tensor {
        let (base, before, creation) = match self.view_of_another() {
            Some(v) => (
                v.base.clone(),
                v.chain.clone(),
                // A view of a view that must not be written must not be written either.
                if v.creation == Creation::Recorded {
                    creation
                } else {
                    v.creation
                },
            ),
            None => (self.clone(), None, creation),
        };
        let chain = ViewStep::new(before, rule, attrs.clone(), output);
        let t = self.alias(layout);
        t.init_autograd(Some(ViewInfo {
            generation: base.data_generation(),
            base,
            chain: Some(chain),
            creation,
        }));
        t
    }

    /// A view of all elements that a custom function stands behind: it must not be written.
    pub fn custom_view(&self) -> Tensor {
        let (base, chain) = match self.view_of_another() {
            Some(v) => (v.base.clone(), v.chain.clone()),
            None => (self.clone(), None),
        };
        let t = self.alias(self.layout().clone());
        t.init_autograd(Some(ViewInfo {
            generation: base.data_generation(),
            base,
            chain,
            creation: Creation::Custom,
        }));
        t
    }

    /// A tensor in a message: `[Float [2, 3]]`.
    pub fn describe(&self) -> String {
        format!("[{} {}]", self.dtype().scalar_type_name(), self.shape())
    }

    /// Where a view comes from, in a message: `[Float [3]], made by select at train.py:12, is a view
    /// of [Float [2, 3]]`. `edge` leads to the op that made it, where that was recorded.
    pub fn describe_view(&self, base: &Tensor, edge: Option<Edge>) -> String {
        let (name, site) = match edge {
            Some(edge) => (Some(edge.node.name()), edge.node.with(|n| n.site)),
            None => (self.cut().op().map(Into::into), self.cut().site()),
        };
        let made = name.map_or_else(String::new, |name| {
            format!(", made by {name}{},", site.at())
        });
        format!("{}{made} is a view of {}", self.describe(), base.describe())
    }

    /// The edge of a view whose base was written since: see NOTE [Views].
    pub(super) fn regenerate(&self, view: &ViewInfo) -> Result<Option<Edge>> {
        if !view.base.requires_grad() {
            return Ok(None);
        }
        if view.creation == Creation::NoGrad {
            return Err(Error::runtime(
                "A view was created in no_grad mode and its base or another view of its base has \
                 been modified inplace with grad mode enabled: whether the view takes part in the \
                 gradient is ambiguous. Create the view outside no_grad, or clone() it inside. "
                    .to_owned()
                    + &self.describe_view(&view.base, None),
            ));
        }
        if view.creation == Creation::Custom {
            return Err(Error::runtime(
                "A view was returned by a custom Function and its base has been modified inplace: \
                 the custom backward would be bypassed. clone() the output of the custom Function",
            ));
        }
        let _record = GradMode::set(true);
        view.replay(&view.base)?.grad_edge()
    }
}

impl ViewInfo {
    /// The view of a tensor shaped like the base.
    ///
    /// # Errors
    /// When `t` is not shaped like the base.
    pub fn replay(&self, t: &Tensor) -> Result<Tensor> {
        self.chain
            .as_ref()
            .map_or_else(|| Ok(t.clone()), |chain| chain.replay(t))
    }
}
