//! Who owns slots and bytes: the arena of tape nodes, the pool of buffers, and storages.

pub mod arena;
pub mod pool;
pub mod storage;

pub use arena::Arena;
pub use storage::Storage;
