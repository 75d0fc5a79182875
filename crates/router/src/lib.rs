//! Topic filters and who subscribed to them; retained values by topic name.
//!
//! [`Router`] answers "which subscribers does this topic name reach", [`RetainedTree`] the reverse: "which
//! stored names does this filter select". Neither knows what a subscriber or a value is.

mod retained;
mod router;

pub use retained::RetainedTree;
pub use router::{Router, Target};
