//! Where a tensor's bytes live.

use std::fmt;

/// A device. Backends other than the CPU add their variant here and a line in
/// `backend::of`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Device {
    /// The host's memory and processors.
    #[default]
    Cpu,
    /// No bytes at all: shapes and element types only. Used to ask what an op would return.
    Meta,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Device::Cpu => "cpu",
            Device::Meta => "meta",
        })
    }
}
