//! What an owner is owed, read back.

use crate::{OwnerId, Position};

/// A question for messages owed to an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// whose
    pub owner: OwnerId,
    /// with a `seq` of at least this
    pub from: u64,
    /// and below this
    pub to: u64,
    /// not more messages than this
    pub most: usize,
    /// and not many more bytes than this (at least one message is given)
    pub most_bytes: usize,
    /// answered only when everything before this position can be read (see [`crate::Store::position`])
    pub after: Position,
}

/// One message read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// its number for this owner
    pub seq: u64,
    /// what was put beside the owner
    pub extra: Vec<u8>,
    /// the message as it was put in
    pub body: Vec<u8>,
}

/// Messages owed to an owner, in the order of their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// whose
    pub owner: OwnerId,
    /// those still owed; what could not be read any more is left out and was reported in the log
    pub messages: Vec<Loaded>,
    /// where to go on; `None` when there is nothing more below `to`
    pub next: Option<u64>,
}
