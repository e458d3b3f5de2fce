//! Walking the tape: backward for reverse mode, levels of tangents for forward mode.

mod backward;
pub mod forward;

pub use backward::{Grads, backward, grad};
