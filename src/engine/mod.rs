//! Walking the tape: backward for reverse mode, levels of tangents for forward mode.

mod backward;
pub mod forward;
pub mod mutation;
pub mod task;

pub use backward::{Endpoint, Grads, backward, grad};
