//! What is counted: `<plugin>/auth/asked` and so on.

use emqttd_plugin_sdk::{AclAnswer, AuthAnswer, Context, Metric};
use std::time::Duration;

/// Upper ends of the classes of time, in milliseconds, and their names.
const CLASSES: [(u128, &str); 4] = [
    (1, "within_1ms"),
    (10, "within_10ms"),
    (100, "within_100ms"),
    (1000, "within_1s"),
];

/// Counters of one kind of question.
#[derive(Clone)]
pub struct Figures {
    asked: Metric,
    allowed: Metric,
    denied: Metric,
    ignored: Metric,
    unavailable: Metric,
    time: Metric,
    within: [Metric; CLASSES.len()],
}

/// What an answer counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// yes
    Allowed,
    /// no
    Denied,
    /// somebody else decides
    Ignored,
    /// nobody knows
    Unavailable,
}

impl From<AuthAnswer> for Kind {
    fn from(answer: AuthAnswer) -> Kind {
        match answer {
            AuthAnswer::Allow { .. } => Kind::Allowed,
            AuthAnswer::Deny => Kind::Denied,
            AuthAnswer::Ignore => Kind::Ignored,
            AuthAnswer::Unavailable => Kind::Unavailable,
        }
    }
}

impl From<AclAnswer> for Kind {
    fn from(answer: AclAnswer) -> Kind {
        match answer {
            AclAnswer::Allow => Kind::Allowed,
            AclAnswer::Deny => Kind::Denied,
            AclAnswer::Ignore => Kind::Ignored,
            AclAnswer::Unavailable => Kind::Unavailable,
        }
    }
}

impl std::fmt::Debug for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Figures({} asked)", self.asked.get())
    }
}

impl Figures {
    /// `kind` is `auth` or `acl`.
    pub fn new(ctx: &Context, kind: &str) -> Figures {
        let metric = |name: &str| ctx.metric(&format!("{kind}/{name}"));
        Figures {
            asked: metric("asked"),
            allowed: metric("allowed"),
            denied: metric("denied"),
            ignored: metric("ignored"),
            unavailable: metric("unavailable"),
            time: metric("time_us"),
            within: CLASSES.map(|(_, name)| metric(name)),
        }
    }

    /// The server was asked, and this is what it said.
    pub fn count(&self, kind: Kind, took: Duration) {
        self.asked.inc();
        self.time
            .add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        for ((limit, _), metric) in CLASSES.iter().zip(&self.within) {
            if took.as_millis() < *limit {
                metric.inc();
            }
        }
        self.count_answer(kind);
    }

    /// An answer for which nobody was asked.
    pub fn count_answer(&self, kind: Kind) {
        match kind {
            Kind::Allowed => self.allowed.inc(),
            Kind::Denied => self.denied.inc(),
            Kind::Ignored => self.ignored.inc(),
            Kind::Unavailable => self.unavailable.inc(),
        }
    }
}
