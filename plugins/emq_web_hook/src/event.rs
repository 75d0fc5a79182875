//! What is to be posted.

use bytes::Bytes;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// hash of the client identifier, the same in every run of the broker: events of one client keep their order
    pub lane: u64,
    /// when it happened, unix milliseconds; its deadline counts from here
    pub at: u64,
    /// one JSON object
    pub body: Bytes,
}
