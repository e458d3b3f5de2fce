//! The CPU's kernels.

pub mod math;

/// The CPU backend.
pub struct Cpu;

/// The one instance.
pub static CPU: Cpu = Cpu;
