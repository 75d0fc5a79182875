//! A client with what it is up to, and how its connections ended.

use std::fmt;
use std::time::{Duration, Instant};

use crate::cast::Role;
use crate::client::Client;
use crate::ledger::Baseline;
use crate::message::Key;
use crate::run::Seen;

/// Retained from the beginning, and asked for last.
pub const SENTINEL: &str = "z/end";
/// How often a new subscriber asks for them before what it got counts as wrong.
pub const LOOKS: u32 = 5;
/// With so many messages waiting for somebody, publishers pause and he comes back.
pub const ENOUGH: u32 = 1500;
/// A broker may look at expiry this much later than it is over.
pub const SLACK: Duration = Duration::from_secs(1);

/// What nobody waits for (a connection, a DISCONNECT) may be written so much later.
pub const MOMENT: Duration = Duration::from_millis(100);

/// The subscriptions of one who looks at what is retained.
pub fn looked_at() -> [(String, u8); 2] {
    [("r/#".into(), 1), (SENTINEL.into(), 1)]
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// DISCONNECT
    Disconnected,
    /// by the client, without a word
    Dropped,
    /// with the broker
    Died,
}

/// The end of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// how
    pub how: How,
    /// not before this
    pub after: Instant,
    /// the close was seen at this time
    pub closed: Option<Instant>,
    /// CONNACK came at this time
    pub up: Option<Instant>,
    /// the end of the connection before, if that may be the last that is on disk
    pub earlier: Option<Instant>,
    /// the broker has synced it: a later one knows it, too
    pub durable: bool,
    /// the broker it was a connection of has ended since
    pub outlived: bool,
}

impl Ended {
    /// Ends now.
    pub fn now(how: How) -> Ended {
        Ended {
            how,
            after: Instant::now(),
            closed: None,
            up: None,
            earlier: None,
            durable: false,
            outlived: false,
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} {} ms ago",
            self.how,
            self.after.elapsed().as_millis()
        )?;
        match (self.outlived, self.durable) {
            (false, _) => write!(f, ", with the same broker"),
            (true, true) => write!(f, ", which was synced"),
            (true, false) => Ok(()),
        }
    }
}

pub fn told(ended: Option<Ended>) -> String {
    ended.map_or("never connected".into(), |e| format!("connection: {e}"))
}

/// A will that was handed over with CONNECT.
#[derive(Debug, Clone, Copy)]
pub struct Testament {
    pub key: Key,
    /// an acknowledgement after CONNECT shows that the broker has it on disk
    pub armed: bool,
}

/// A client with what it is up to.
pub struct Actor {
    /// what it does
    pub role: Role,
    /// the client
    pub client: Client,
    /// of its connection
    pub token: usize,
    /// when CONNECT was sent
    pub connect_sent: Instant,
    /// how its connection is ending; the broker's end when it says nothing
    pub ending: Option<Ended>,
    /// answers to PINGREQ that are awaited
    pub pongs_wanted: u32,
    /// a look at the retained messages is wanted
    pub check_wanted: bool,
    /// looks that came to their end
    pub checks_done: u32,
    pub ended: Option<Ended>,
    /// the session that is present may be another one than it was
    pub in_doubt: bool,
    /// CONNACK came on this connection, at this time
    pub was_up: Option<Instant>,
    /// and after it something that shows that the broker has it on disk
    pub proved: bool,
    /// connects at this time of the round
    pub next: Option<Instant>,
    /// and, whatever round it is, not before
    pub away_until: Instant,
    /// messages that it may still publish in this round
    pub budget: u64,
    /// the broker said something that only a broker that knows the session may say
    pub sure: bool,
    pub asking: u32,
    pub resumes: u32,
    pub will: Option<Testament>,
    /// an earlier one: it may come until `armed` of the new one shows that it was taken back
    pub withdrawn: Option<Key>,
    /// one that must come before its client does
    pub awaited: Option<Key>,
    pub generation: u32,
    pub baseline: Option<Baseline>,
    pub looks: u32,
    pub seen: Seen,
}

impl Actor {
    /// Nothing done yet.
    pub fn new(role: Role, client: Client) -> Actor {
        Actor {
            role,
            client,
            token: usize::MAX,
            connect_sent: Instant::now(),
            ending: None,
            pongs_wanted: 0,
            check_wanted: false,
            checks_done: 0,
            ended: None,
            in_doubt: false,
            was_up: None,
            proved: false,
            next: None,
            away_until: Instant::now(),
            budget: 0,
            sure: false,
            asking: 0,
            resumes: 0,
            will: None,
            withdrawn: None,
            awaited: None,
            generation: 0,
            baseline: None,
            looks: 0,
            seen: Seen::new(),
        }
    }

    /// The broker said what it says only after a sync: the session and this connection are on disk.
    pub fn is_known(&mut self) {
        self.sure = true;
        self.proved = true;
    }

    /// Nothing was asked that is not answered.
    pub fn settled(&self) -> bool {
        self.asking == 0
    }

    /// The broker has ended. What it did a moment before `gate` it had synced.
    pub fn after_death(&mut self, gate: Option<Instant>) {
        let synced =
            |at: Option<Instant>| at.is_some_and(|at| gate.is_some_and(|g| at + MOMENT < g));
        if let Some(ended) = &mut self.ended
            && !ended.outlived
        {
            ended.outlived = true;
            ended.durable = synced(ended.closed);
            if let Some(earlier) = ended.earlier.take()
                && !synced(ended.up)
            {
                ended.after = earlier;
            }
        }
    }

    /// In a few words, for a message that it did not get.
    pub fn story(&self) -> String {
        format!(
            "{} is {}, came back {} times, {}, has {} QoS 2 messages not released",
            self.client.name,
            if self.client.up() {
                "connected"
            } else {
                "away"
            },
            self.resumes,
            told(self.ended),
            self.client.unreleased()
        )
    }
}
