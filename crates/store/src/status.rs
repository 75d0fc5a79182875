//! What the store says of itself.

use crate::Position;
use std::time::Duration;

/// Whether more can be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// all is well
    Good,
    /// more was handed over than the disk can take at once: nothing new should be stored for now
    Behind,
    /// [`crate::Options::max_bytes`] is reached, or the disk has no room for another file: nothing new should be
    /// stored, so that what is left is there for what makes room
    Full,
    /// the disk fails; the reason is in [`Status::error`]. It is tried again without end.
    Failing,
}

/// What the store says of itself.
#[derive(Debug, Clone)]
pub struct Status {
    /// whether more can be stored
    pub health: Health,
    /// why it fails, or why it last failed
    pub error: Option<String>,
    /// bytes of all its files
    pub disk_bytes: u64,
    /// bytes of what is still needed
    pub live_bytes: u64,
    /// position behind what was handed over last
    pub position: Position,
    /// position up to which all is durable
    pub durable: Position,
    /// messages owed, summed over all owners
    pub owed: u64,
    /// syncs since the start
    pub syncs: u64,
    /// time from the write of a batch to the end of its sync, half of them took less
    pub sync_p50: Duration,
    /// and 99 % of them took less
    pub sync_p99: Duration,
}

impl Status {
    /// Whether it is [`crate::Options::max_bytes`] that makes for [`Health::Full`], else it is the disk.
    pub fn exceeds(&self, max_bytes: u64) -> bool {
        max_bytes > 0 && self.disk_bytes > max_bytes - max_bytes / 16
    }
}
