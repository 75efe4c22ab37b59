//! What the packet path needs of memory and safe Rust does not give: arrays in hugepages, a
//! prefetch, and a compare of sixteen tags at once. Tiny, since it is one of the three crates
//! with `unsafe`.

mod array;
mod prefetch;
mod tags;

pub use array::{Array, Pages, Plain};
pub use prefetch::prefetch;
pub use tags::{Tags, matches};
