//! How a store is opened.

use std::time::Duration;

/// When what was written is forced to stable storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// before it counts as durable
    Always,
    /// at least so often; it counts as durable as soon as it is handed to the system
    Every(Duration),
}

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// when it is forced to stable storage
    pub sync: Sync,
    /// bytes of one file of the log
    pub segment_bytes: u64,
    /// bytes on disk above which [`crate::Health::Full`] is reported; 0 = no limit but the disk's
    pub max_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            sync: Sync::Always,
            segment_bytes: 32 << 20,
            max_bytes: 0,
        }
    }
}
