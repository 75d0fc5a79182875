//! The figures.

use crate::lanes::Amount;
use emqttd_plugin_sdk::{Context, Metric};

/// Why an event has not been delivered and never will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// there was no room for it, or for another one that came later
    Full,
    /// the web server did not take it in time
    Expired,
    /// the web server does not want it
    Refused,
    /// the disk did not take it
    Disk,
    /// the plugin ended
    Stopped,
}

impl Reason {
    pub const ALL: [Reason; 5] = [
        Reason::Full,
        Reason::Expired,
        Reason::Refused,
        Reason::Disk,
        Reason::Stopped,
    ];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Full => "full",
            Reason::Expired => "expired",
            Reason::Refused => "refused",
            Reason::Disk => "disk",
            Reason::Stopped => "stopped",
        }
    }
}

/// The plugin's counters and levels.
pub(crate) struct Figures {
    /// level: events in memory, those under way included
    queued: Metric,
    /// level: what they take, bytes
    queued_bytes: Metric,
    /// level: events that are on disk alone
    spilled: Metric,
    /// events delivered
    pub sent: Metric,
    /// requests without success
    pub failed: Metric,
    dropped: [Metric; 5],
}

impl Figures {
    pub fn new(ctx: &Context) -> Figures {
        Figures {
            queued: ctx.metric("queued"),
            queued_bytes: ctx.metric("queued_bytes"),
            spilled: ctx.metric("spilled"),
            sent: ctx.metric("sent"),
            failed: ctx.metric("failed"),
            dropped: Reason::ALL.map(|reason| ctx.metric(&format!("dropped/{}", reason.name()))),
        }
    }

    /// How much there is now.
    pub fn levels(&self, queued: Amount, spilled: u64) {
        self.queued.set(queued.count as u64);
        self.queued_bytes.set(queued.bytes as u64);
        self.spilled.set(spilled);
    }

    /// So many events are lost.
    pub fn dropped(&self, reason: Reason, events: usize) {
        self.dropped[reason as usize].add(events as u64);
    }

    /// Events lost so far, by reason.
    pub fn losses(&self) -> [u64; 5] {
        std::array::from_fn(|at| self.dropped[at].get())
    }
}
