//! What must not be, counted by kind, with the first of each told in full.

use std::collections::BTreeMap;
use std::fmt;

/// How many of a kind are told in full.
const TOLD: usize = 12;

/// A broken promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// acknowledged, owed, and never delivered
    Lost,
    /// counted as lost, and came when the broker was started again
    Late,
    /// QoS 2, and the application got it twice
    Duplicate,
    /// QoS 0 all the way, and came twice
    DuplicateQos0,
    /// first receipts out of order
    Order,
    /// a new subscriber did not get the retained message it had to
    Retained,
    /// a session that must be there is not
    SessionLost,
    /// a session past its expiry is there, or what it was owed
    ExpiredRevived,
    /// a subscription is gone, though SUBACK was seen
    Forgotten,
    /// a subscription is there, though UNSUBACK was seen
    Revived,
    /// a will that had to come did not
    WillLost,
    /// a will that was taken back came
    WillWrong,
    /// the broker broke the standard
    Protocol,
    /// the broker did not start, ended by itself, or did not stop
    Broker,
    /// what was waited for did not come in time
    Stuck,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 15] = [
        Kind::Lost,
        Kind::Late,
        Kind::Duplicate,
        Kind::DuplicateQos0,
        Kind::Order,
        Kind::Retained,
        Kind::SessionLost,
        Kind::ExpiredRevived,
        Kind::Forgotten,
        Kind::Revived,
        Kind::WillLost,
        Kind::WillWrong,
        Kind::Protocol,
        Kind::Broker,
        Kind::Stuck,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::Lost => "acknowledged messages lost",
            Kind::Late => "  of these came later",
            Kind::Duplicate => "QoS 2 messages twice",
            Kind::DuplicateQos0 => "QoS 0 messages twice",
            Kind::Order => "messages out of order",
            Kind::Retained => "retained messages wrong",
            Kind::SessionLost => "sessions lost",
            Kind::ExpiredRevived => "expired sessions revived",
            Kind::Forgotten => "subscriptions forgotten",
            Kind::Revived => "subscriptions revived",
            Kind::WillLost => "wills lost",
            Kind::WillWrong => "wills that came wrongly",
            Kind::Protocol => "breaches of the standard",
            Kind::Broker => "failures of the process",
            Kind::Stuck => "waits in vain",
        })
    }
}

/// All that was found.
#[derive(Debug, Default)]
pub struct Findings {
    counts: BTreeMap<Kind, u64>,
    told: Vec<(Kind, String)>,
}

impl Findings {
    /// Adds one.
    pub fn add(&mut self, kind: Kind, what: impl FnOnce() -> String) {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        if *count <= TOLD as u64 {
            self.told.push((kind, what()));
        }
    }

    /// How many of this kind.
    pub fn count(&self, kind: Kind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    /// Whether there are none at all.
    pub fn none(&self) -> bool {
        self.counts.is_empty()
    }

    /// Those told in full.
    pub fn told(&self) -> &[(Kind, String)] {
        &self.told
    }
}
