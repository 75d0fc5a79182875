//! What was found when the store was opened.

use crate::OwnerId;

/// A message that was on its way to its receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InFlight {
    /// packet identifier
    pub id: u16,
    /// `false`: sent, its PUBACK or PUBREC not seen. `true`: PUBREC seen, PUBCOMP not; it is no longer owed
    pub released: bool,
    /// who is owed it: the receiver itself, or a shared group
    pub owner: OwnerId,
    /// under which number
    pub seq: u64,
    /// as it was given to [`crate::Batch::sent`]
    pub note: u8,
}

/// An owner as it was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerState {
    /// which
    pub owner: OwnerId,
    /// number of the next message it will be owed
    pub next: u64,
    /// number of the first that may still be owed
    pub front: u64,
    /// how many it is owed, those in flight included
    pub owed: u64,
    /// their bytes (sum of the sizes given to [`crate::Batch::message`])
    pub bytes: u64,
    /// identifier used last ([`crate::Batch::sent`])
    pub last_id: u16,
    /// on their way to it, in the order of sending
    pub in_flight: Vec<InFlight>,
}

/// What was found when the store was opened.
#[derive(Debug, Default)]
pub struct Recovered {
    /// every owner, in no order
    pub owners: Vec<OwnerState>,
    /// larger than the number of every owner that was ever found
    pub next_owner: OwnerId,
    /// what was not as it should be, in sentences for the log: a file set aside, what could not be read
    pub reports: Vec<String>,
}

/// Why a store could not be opened.
#[derive(Debug)]
pub struct OpenError {
    /// a sentence that says where and what to do
    pub message: String,
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for OpenError {}
