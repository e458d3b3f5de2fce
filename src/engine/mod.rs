//! Walking the tape: backward for reverse mode, levels of tangents for forward mode.

pub mod anomaly;
mod backward;
pub mod budget;
pub mod forward;
mod mask;
pub mod mutation;
pub mod profile;
pub mod recompute;
pub mod task;

pub use backward::{Endpoint, Grads, backward, freed_error, grad};
