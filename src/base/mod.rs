//! Plain values: errors, element types, shapes, layouts, scalars, devices, random bits.
//!
//! Nothing here has state, and nothing here is unsafe.

pub mod attr;
pub mod device;
pub mod dtype;
pub mod error;
pub mod layout;
pub mod rng;
pub mod scalar;
pub mod shape;

pub use attr::{Attr, Attrs};
pub use device::Device;
pub use dtype::DType;
pub use error::{Error, ErrorKind, Result};
pub use layout::Layout;
pub use scalar::Scalar;
pub use shape::{Shape, Strides};
