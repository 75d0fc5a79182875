//! Topic filters and who subscribed to them; retained values by topic name.
//!
//! [`Router`] answers "which subscribers does this topic name reach", [`RetainedTree`] the reverse: "which
//! stored names does this filter select". Neither knows what a subscriber or a value is.
//!
//! Both stand on one trie whose edges are all in one hash table, keyed by the parent's id and the level's text:
//! a node is 32 bytes, and a step down costs the same whether a node has one child or a million.

mod level;
mod retained;
mod router;
mod slab;
mod targets;
mod trie;

pub use retained::RetainedTree;
pub use router::Router;
pub use targets::Target;
