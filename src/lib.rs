//! Automatic differentiation with a dynamic tape.
//!
//! The modules form layers: each imports only from its own folder or from one above it in this
//! list.

pub mod backend;
pub mod base;
pub mod engine;
pub mod memory;
pub mod ops;
#[cfg(feature = "python")]
mod py;
pub mod tape;
pub mod tensor;
pub use base::{DType, Device, Error, Result, Scalar};
pub use tensor::Tensor;
