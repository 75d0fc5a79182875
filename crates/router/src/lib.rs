//! Topic filters and who subscribed to them; retained values by topic name.
//!
//! [`Router`] answers "which subscribers does this topic name reach", [`RetainedTree`] the reverse: "which
//! stored names does this filter select". Neither knows what a subscriber or a value is.
//!
//! Both stand on one kind of trie, with nodes of 32 bytes (and the value) and one hash table for all edges.

mod edges;
mod level;
mod retained;
mod router;
mod slab;
mod targets;
mod trie;

pub use retained::{Advance, NameId, RetainedTree, Selection};
pub use router::{Router, Walk, Walked};
pub use targets::Target;
