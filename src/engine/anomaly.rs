//! Finding the first value that is not a number.
//!
//! A check sums the elements, which is one pass at the speed of memory: a finite sum has finite terms.
//! Only where the sum is not finite are the elements looked at.

use crate::base::{Device, Error, Result};
use crate::ops;
use crate::ops::def::{Call, Kernel};
use crate::ops::observe::Observer;
use crate::tape::{NodeRef, Saved, Site};
use crate::tensor::{Operand, Tensor};
use std::cell::Cell;

/// What counts as an anomaly, and where it is looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    /// Not a number.
    pub nan: bool,
    /// Infinite.
    pub inf: bool,
    /// Results of ops, outside of a backward.
    pub forward: bool,
    /// Gradients.
    pub backward: bool,
}

thread_local! {
    static CHECKS: Cell<Option<Checks>> = const { Cell::new(None) };
}

/// Sets what this thread looks for in backward passes; returns what it looked for before.
pub fn set_checks(checks: Option<Checks>) -> Option<Checks> {
    CHECKS.replace(checks)
}

/// What this thread looks for.
pub fn checks() -> Option<Checks> {
    CHECKS.get()
}

impl Checks {
    /// What is wrong with a tensor: `nan`, `inf`.
    fn anomaly(self, t: &Tensor) -> Result<Option<&'static str>> {
        if !t.dtype().is_float() || t.numel() == 0 || t.device() == Device::Meta {
            return Ok(None);
        }
        if ops::total(t)?.is_finite() {
            return Ok(None);
        }
        let count = Count::of(t)?;
        Ok(match count {
            Count { nan: 1.., .. } if self.nan => Some("nan"),
            Count { inf: 1.., .. } if self.inf => Some("inf"),
            _ => None,
        })
    }

    /// Looks at the gradient of input `i` that a node has computed from `grads`.
    ///
    /// # Errors
    /// When it is an anomaly: the message names the node, its line, and what it worked with.
    pub(super) fn check_gradient(
        self,
        node: &NodeRef,
        i: usize,
        grad: &Tensor,
        grads: &[Option<Tensor>],
        saved: &[Saved],
    ) -> Result<()> {
        let Some(what) = self.anomaly(grad)? else {
            return Ok(());
        };
        let mut message = format!(
            "Function '{}' returned {what} values in its {i}th output{}.\n  gradient of input {i}: {}",
            node.name(),
            match node.with(|n| n.site).describe() {
                Some(site) => format!(" (the forward call is at {site})"),
                None => String::new(),
            },
            describe(grad)
        );
        for (i, g) in grads.iter().enumerate() {
            if let Some(g) = g {
                message += &format!("\n  gradient of output {i}: {}", describe(g));
            }
        }
        for saved in saved {
            if let Saved::Tensor(t) = saved
                && let Some(t) = t.peek()
            {
                message += &format!("\n  saved: {}", describe(&t));
            }
        }
        Err(Error::runtime(message))
    }
}

impl Observer for Checks {
    fn after(&self, call: &Call, outs: &[Tensor]) -> Result<()> {
        // A backward has checks of its own, which name the node.
        if super::task::Task::current().is_some() {
            return Ok(());
        }
        // A view has the elements that were looked at when they were made.
        if matches!(call.op.kernel, Kernel::View(_)) {
            return Ok(());
        }
        for out in outs {
            let Some(what) = self.anomaly(out)? else {
                continue;
            };
            let mut message = format!(
                "[{}] returned {what} values{}\n  result: {}",
                call.op.name,
                Site::current().at(),
                describe(out)
            );
            for (i, input) in call.inputs.iter().enumerate() {
                match input {
                    Operand::Tensor(t) if t.storage().same(out.storage()) => {
                        message += &format!("\n  input {i}: overwritten by the result");
                    }
                    Operand::Tensor(t) => {
                        message += &format!("\n  input {i}: {}", describe(t));
                    }
                    Operand::Scalar(s) => message += &format!("\n  input {i}: {s:?}"),
                    Operand::None => {}
                }
            }
            return Err(Error::runtime(message));
        }
        Ok(())
    }
}

/// How many elements are not finite.
struct Count {
    nan: usize,
    inf: usize,
}

impl Count {
    fn of(t: &Tensor) -> Result<Self> {
        let mut count = Self { nan: 0, inf: 0 };
        for x in t.to_vec()? {
            let x = x.as_f64();
            count.nan += usize::from(x.is_nan());
            count.inf += usize::from(x.is_infinite());
        }
        Ok(count)
    }
}

/// A tensor's statistics, in a line.
pub fn describe(t: &Tensor) -> String {
    let head = format!("[{} {}]", t.dtype(), t.shape());
    let Ok(values) = t.to_vec() else {
        return head;
    };
    let values: Vec<f64> = values.iter().map(|x| x.as_f64()).collect();
    let finite = || values.iter().copied().filter(|x| x.is_finite());
    let n = finite().count();
    let of_finite = if n == 0 {
        "no finite value".to_owned()
    } else {
        let (least, most) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), x| {
            (lo.min(x), hi.max(x))
        });
        let mean = finite().sum::<f64>() / n as f64;
        format!("min {least:.4e}, max {most:.4e}, mean {mean:.4e}")
    };
    let nan = values.iter().filter(|x| x.is_nan()).count();
    let inf = values.len() - n - nan;
    format!(
        "{head} {of_finite}, {nan} nan and {inf} inf of {}",
        values.len()
    )
}
