//! Automatic differentiation with a dynamic tape.
//!
//! The modules form layers: each imports only from its own folder or from one above it in this
//! list.

pub mod base;
pub mod memory;
pub mod backend;
