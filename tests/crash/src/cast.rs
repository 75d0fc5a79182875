//! Who takes part: publishers, and everyone a durable broker has to remember something for.

use emqttd_tests::packet::Version;

use crate::client::Client;
use crate::ledger::Subscription;
use crate::rng::Rng;
use crate::trace::Trace;

/// Topics below `s/`, `d/`, `g/`; and retained ones of each publisher, below `r/<publisher>/`.
pub const STATIC: u64 = 4;
/// subscribed to now and then
pub const DYNAMIC: u64 = 4;
/// of the shared groups
pub const SHARED: u64 = 2;
/// retained topics of a publisher
pub const RETAINED: u64 = 4;

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// publishes; at most so many messages in flight
    Publisher {
        /// the most in flight
        window: usize,
    },
    /// keeps its subscriptions
    Subscriber,
    /// adds and removes subscriptions below `d/`, or to its shared group
    Toggler,
    /// a session of seconds, which may expire while it is away
    Fickle,
    /// has a will with this delay in seconds, and ends without DISCONNECT
    Mortal {
        /// Will Delay Interval
        delay: u32,
        /// QoS of the will
        qos: u8,
    },
    /// a new subscriber for what is retained
    Checker,
}

/// A client before it has done anything.
pub struct Part {
    /// what it does
    pub role: Role,
    /// the client
    pub client: Client,
    /// what it subscribes to, always or sometimes
    pub subscriptions: Vec<Subscription>,
}

/// The publishers come first. No client has two filters that overlap: a message may come by each of them.
pub fn cast(rng: &mut Rng, trace: &Trace) -> Vec<Part> {
    use Version::{V5, V311};
    let mut parts = Vec::new();
    for n in 0..8 {
        let version = if n % 2 == 0 { V5 } else { V311 };
        let window = [1, 4, 16, 30][n / 2];
        parts.push(part(
            &format!("publisher{n}"),
            version,
            Role::Publisher { window },
            &[],
            trace,
        ));
    }
    type Row<'a> = (&'a str, Version, Role, &'a [(&'a str, u8)]);
    let rows: [Row<'_>; 22] = [
        ("all2-v5", V5, Role::Subscriber, &[("s/#", 2), ("w/#", 2)]),
        (
            "all2-v311",
            V311,
            Role::Subscriber,
            &[("s/#", 2), ("r/#", 2)],
        ),
        ("all1-v5", V5, Role::Subscriber, &[("s/+", 1), ("r/#", 1)]),
        (
            "all1-v311",
            V311,
            Role::Subscriber,
            &[("s/#", 1), ("w/+", 1)],
        ),
        (
            "mixed-v5",
            V5,
            Role::Subscriber,
            &[("s/0", 2), ("s/1", 1), ("s/2", 0)],
        ),
        ("all0-v311", V311, Role::Subscriber, &[("s/#", 0)]),
        (
            "toggle1-v5",
            V5,
            Role::Toggler,
            &[("d/0", 1), ("d/1", 2), ("d/2", 1)],
        ),
        (
            "toggle2-v311",
            V311,
            Role::Toggler,
            &[("d/0", 2), ("d/1", 2), ("d/2", 2), ("d/3", 1)],
        ),
        ("toggle3-v5", V5, Role::Toggler, &[("d/#", 2)]),
        ("member1-v5", V5, Role::Subscriber, &[("$share/one/g/+", 1)]),
        (
            "member2-v311",
            V311,
            Role::Subscriber,
            &[("$share/one/g/+", 1)],
        ),
        (
            "member3-clean",
            V5,
            Role::Subscriber,
            &[("$share/one/g/+", 1)],
        ),
        ("member4-v5", V5, Role::Subscriber, &[("$share/two/g/#", 2)]),
        (
            "member5-v311",
            V311,
            Role::Subscriber,
            &[("$share/two/g/#", 2)],
        ),
        ("member6-v5", V5, Role::Toggler, &[("$share/two/g/#", 2)]),
        ("fickle1", V5, Role::Fickle, &[("s/#", 2)]),
        ("fickle2", V5, Role::Fickle, &[("s/#", 1)]),
        ("mortal1-v311", V311, Role::Mortal { delay: 0, qos: 2 }, &[]),
        ("mortal2-v5", V5, Role::Mortal { delay: 0, qos: 1 }, &[]),
        ("mortal3-v5", V5, Role::Mortal { delay: 1, qos: 2 }, &[]),
        ("mortal4-v5", V5, Role::Mortal { delay: 2, qos: 1 }, &[]),
        ("checker", V311, Role::Checker, &[]),
    ];
    for (name, version, role, filters) in rows {
        parts.push(part(name, version, role, filters, trace));
    }
    for part in &mut parts {
        let client = &mut part.client;
        let durable = !matches!(part.role, Role::Checker | Role::Mortal { .. });
        if client.name.ends_with("-clean") {
            client.persistent = false;
        } else if durable && !matches!(part.role, Role::Publisher { .. }) {
            part.subscriptions.push(Subscription::new("m/#", 1, None));
        }
        if part.role == Role::Fickle {
            client.expiry = 1;
        }
        if client.version.is_v5() && rng.percent(60) {
            client.receive_maximum = Some(rng.between(1, 20) as u16);
        }
        client.slow_acks = [0, 0, 2, 20][rng.below(4) as usize];
    }
    parts
}

fn part(name: &str, version: Version, role: Role, filters: &[(&str, u8)], trace: &Trace) -> Part {
    let group = |filter: &str| match filter.strip_prefix("$share/") {
        Some(rest) if rest.starts_with("one") => Some(0),
        Some(_) => Some(1),
        None => None,
    };
    Part {
        role,
        client: Client::new(name, version, trace),
        subscriptions: filters
            .iter()
            .map(|(filter, qos)| Subscription::new(filter, *qos, group(filter)))
            .collect(),
    }
}
