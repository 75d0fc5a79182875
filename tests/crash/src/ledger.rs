//! What was promised, and what came of it.
//!
//! The ledger hears of each event in the order in which the harness saw it, and it holds only what follows
//! from that order: a message is *owed* to a subscriber whose SUBACK was seen before the message was first
//! sent, and *promised* when its acknowledgement was seen. Where the order of two events is not known to
//! the client (a SUBSCRIBE whose answer was lost, say), both outcomes are right.

mod receive;
mod retained;
mod subscription;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use crate::findings::{Findings, Kind};
use crate::message::Key;

pub use retained::Baseline;
use retained::Retained;
use subscription::matches;
pub use subscription::{State, Subscription};

/// Number of a client; at most [`MOST`] of them, for sets are bits.
pub type Who = usize;
/// The most clients that a ledger can hold.
pub const MOST: usize = 64;

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// traffic
    Traffic,
    /// asks, when all is quiet, which subscriptions there are
    Probe,
    /// follows all else of its publisher
    Marker,
    /// a will; "acknowledged" says that it must come now
    Will,
}

#[derive(Debug)]
struct Message {
    topic: u16,
    qos: u8,
    purpose: Purpose,
    sent: u64,
    round: u32,
    acked: Option<u32>,
    acked_at: u64,
    /// given up: nothing is promised any more, and it may have come
    void: bool,
    /// a will that was taken back
    forbidden: bool,
    owed: u64,
    /// those for whom it counts as lost
    lost_to: u64,
    got: u64,
    /// those who got it with QoS 2
    exact: u64,
    groups_owed: u8,
    groups_got: u8,
}

impl Message {
    fn missing(&self) -> bool {
        self.missing_but(0)
    }

    fn missing_but(&self, absent: u64) -> bool {
        self.owed & !self.got & !absent != 0 || self.groups_owed & !self.groups_got != 0
    }
}

/// What the run counted beside its findings.
#[derive(Debug, Default, Clone)]
pub struct Counts {
    /// messages sent for the first time
    pub published: u64,
    /// of these of QoS 1 and 2 acknowledged for good
    pub acknowledged: u64,
    /// first receipts
    pub delivered: u64,
    /// of these with QoS 2
    pub delivered_exactly: u64,
    /// second receipts with QoS 1
    pub duplicated_qos1: u64,
    /// SUBACK and UNSUBACK
    pub changes: u64,
    /// sessions that expired as they had to
    pub expired: u64,
    /// wills that came
    pub wills: u64,
    /// wills that did not, because DISCONNECT or a new connection took them back
    pub wills_cancelled: u64,
    /// retained topics looked at by a new subscriber
    pub retained: u64,
    /// sessions found again where they had to be
    pub resumed: u64,
}

/// The book of a run.
pub struct Ledger {
    /// names of the clients
    pub names: Vec<String>,
    /// subscriptions of each client
    pub subscriptions: Vec<Vec<Subscription>>,
    /// members of a group whose session stays
    pub lasting: u64,
    topics: Vec<String>,
    by_name: HashMap<String, u16>,
    messages: Vec<Vec<Message>>,
    open: BTreeSet<Key>,
    waiting: [u32; MOST],
    last: HashMap<(Who, Who, u8), u32>,
    unordered: u64,
    reborn: [u64; MOST],
    retained: HashMap<u16, Retained>,
    time: u64,
    /// round of now
    pub round: u32,
    /// figures
    pub counts: Counts,
    /// what went wrong
    pub findings: Findings,
}

impl Ledger {
    /// A book for these clients.
    pub fn new(names: Vec<String>, subscriptions: Vec<Vec<Subscription>>) -> Ledger {
        assert!(names.len() <= MOST, "a set of clients is 64 bits");
        Ledger {
            messages: names.iter().map(|_| Vec::new()).collect(),
            names,
            subscriptions,
            lasting: 0,
            topics: Vec::new(),
            by_name: HashMap::new(),
            open: BTreeSet::new(),
            waiting: [0; MOST],
            last: HashMap::new(),
            unordered: 0,
            reborn: [0; MOST],
            retained: HashMap::new(),
            time: 0,
            round: 0,
            counts: Counts::default(),
            findings: Findings::default(),
        }
    }

    fn tick(&mut self) -> u64 {
        self.time += 1;
        self.time
    }

    /// A moment, to be compared with those of messages.
    pub fn now(&mut self) -> u64 {
        self.tick()
    }

    fn topic(&mut self, name: &str) -> u16 {
        if let Some(number) = self.by_name.get(name) {
            return *number;
        }
        let number = self.topics.len() as u16;
        self.topics.push(name.into());
        self.by_name.insert(name.into(), number);
        number
    }

    fn message(&mut self, key: Key) -> Option<&mut Message> {
        self.messages
            .get_mut(usize::from(key.who))?
            .get_mut(key.n as usize)
    }

    // Sending.

    /// The next message of `who` is about to be sent for the first time.
    pub fn send(
        &mut self,
        who: Who,
        topic: &str,
        qos: u8,
        retain: bool,
        deletes: bool,
        purpose: Purpose,
    ) -> Key {
        let sent = self.tick();
        let number = self.topic(topic);
        let mut owed = 0;
        let mut groups_owed = 0;
        if qos > 0 {
            for (client, list) in self.subscriptions.iter().enumerate() {
                for sub in list {
                    if sub.state != State::Active || sub.qos == 0 || !sub.covers(topic) {
                        continue;
                    }
                    match sub.group {
                        None => owed |= 1 << client,
                        Some(group) if self.lasting & 1 << client != 0 => groups_owed |= 1 << group,
                        Some(_) => {}
                    }
                }
            }
        }
        if deletes {
            // An empty payload names nobody, so that its delivery cannot be told.
            (owed, groups_owed) = (0, 0);
        }
        let key = Key {
            who: who as u16,
            n: self.messages[who].len() as u32,
        };
        if retain {
            let topic = self.retained.entry(number).or_default();
            if deletes {
                topic.last_deletion = Some(key.n);
            }
        }
        let round = self.round;
        self.messages[who].push(Message {
            topic: number,
            qos,
            purpose,
            sent,
            round,
            acked: None,
            acked_at: 0,
            void: false,
            forbidden: false,
            owed,
            lost_to: 0,
            got: 0,
            exact: 0,
            groups_owed,
            groups_got: 0,
        });
        if owed != 0 || groups_owed != 0 {
            self.open.insert(key);
            each(owed, |client| self.waiting[client] += 1);
        }
        if purpose != Purpose::Will {
            self.counts.published += 1;
        }
        key
    }

    /// PUBACK or PUBCOMP of a message; for a will, that it must come now.
    pub fn acked(&mut self, key: Key) {
        let round = self.round;
        let now = self.tick();
        let Some(message) = self.message(key) else {
            return;
        };
        message.acked = Some(round);
        message.acked_at = now;
        let (topic, will) = (message.topic, message.purpose == Purpose::Will);
        if !will {
            self.counts.acknowledged += 1;
        }
        if let Some(retained) = self.retained.get_mut(&topic)
            && retained.base.is_none_or(|n| n < key.n)
        {
            retained.base = Some(key.n);
        }
    }

    /// When a message was first sent, in the ledger's count; and whether it was owed to anyone who keeps.
    pub fn sent_at(&mut self, key: Key) -> Option<(u64, bool)> {
        let message = self.message(key)?;
        Some((message.sent, message.owed != 0))
    }

    /// Nothing is promised about this message any more.
    pub fn give_up(&mut self, key: Key) {
        if let Some(message) = self.message(key) {
            message.void = true;
            let left = message.owed & !message.got;
            message.owed = message.got;
            message.groups_owed = message.groups_got;
            each(left, |client| self.waiting[client] -= 1);
        }
        self.open.remove(&key);
    }

    /// Order is not looked at any more for what this client publishes: its session was lost.
    pub fn disorder(&mut self, who: Who) {
        self.unordered |= 1 << who;
    }

    // Subscriptions.

    /// Sets how a subscription stands.
    pub fn set_state(&mut self, who: Who, filter: &str, state: State) {
        let now = self.tick();
        let mut at = None;
        for (index, sub) in self.subscriptions[who].iter_mut().enumerate() {
            if sub.filter == filter {
                sub.state = state;
                sub.since = now;
                at = Some(index);
            }
        }
        match state {
            State::Active | State::Gone => self.counts.changes += 1,
            State::Never | State::Unknown => {}
        }
        if state != State::Active
            && let Some(index) = at
            && self.subscriptions[who][index].group.is_none()
        {
            let filter = self.subscriptions[who][index].filter.clone();
            self.release(who, Some(&filter), false);
        }
    }

    /// What `who` has not got is no longer owed to it: all, or what comes by `filter`. When it should have
    /// come, what was promised counts as lost.
    fn release(&mut self, who: Who, filter: Option<&str>, lost: bool) {
        let bit = 1u64 << who;
        let mut gone = Vec::new();
        let keys: Vec<Key> = self.open.iter().copied().collect();
        for key in keys {
            let topic = match self.message(key) {
                Some(m) if m.owed & !m.got & bit != 0 => m.topic,
                _ => continue,
            };
            if filter.is_some_and(|f| !matches(f, &self.topics[usize::from(topic)])) {
                continue;
            }
            if let Some(message) = self.message(key) {
                message.owed &= !bit;
                if lost && message.acked.is_some() {
                    gone.push(key);
                }
                if !message.missing() {
                    self.open.remove(&key);
                }
                self.waiting[who] -= 1;
            }
        }
        for key in gone {
            let name = self.names[who].clone();
            let text = self.describe(key);
            self.findings
                .add(Kind::Lost, || format!("{text}; {name}'s session was lost"));
        }
    }

    /// Nobody can know whether the session of `who` is the one it was.
    pub fn session_in_doubt(&mut self, who: Who) {
        self.release(who, None, false);
        let now = self.tick();
        for sub in &mut self.subscriptions[who] {
            sub.state = State::Unknown;
            sub.since = now;
        }
    }

    /// The broker no longer knows the session of `who`: it has expired, or ended with its connection, or
    /// (`lost`) it should be there.
    pub fn session_ended(&mut self, who: Who, lost: bool) {
        self.release(who, None, lost);
        let now = self.tick();
        self.reborn[who] = now;
        for sub in &mut self.subscriptions[who] {
            sub.state = State::Never;
            sub.since = now;
        }
    }

    // Wills.

    /// A will must not have come, and must not come any more.
    pub fn will_taken_back(&mut self, key: Key) {
        self.counts.wills_cancelled += 1;
        self.give_up(key);
        let Some(message) = self.message(key) else {
            return;
        };
        message.forbidden = true;
        if message.got != 0 {
            let text = self.describe(key);
            self.findings.add(Kind::WillWrong, || {
                format!("{text} came, but was taken back")
            });
        }
    }

    /// Whether a message has come to all that it was owed to.
    pub fn complete(&self, key: Key) -> bool {
        !self.messages[usize::from(key.who)][key.n as usize].missing()
    }

    // The end.

    /// Messages owed to this client that it has not got, acknowledged or not.
    pub fn waiting(&self, who: Who) -> u32 {
        self.waiting[who]
    }

    /// Whether all that was promised has come, but to those who are `absent`.
    pub fn settled(&self, absent: u64) -> bool {
        self.open.iter().all(|key| {
            let message = &self.messages[usize::from(key.who)][key.n as usize];
            message.acked.is_none() || !message.missing_but(absent)
        })
    }

    /// All is quiet: what was promised and did not come is lost, but for those who are `absent`. `note`
    /// tells what else is known of a message and a client.
    pub fn settle(&mut self, absent: u64, note: impl Fn(Key, Option<Who>) -> String) {
        let keys: Vec<Key> = self.open.iter().copied().collect();
        for key in keys {
            let Some(message) = self.message(key) else {
                continue;
            };
            if message.acked.is_none() || !message.missing_but(absent) {
                continue;
            }
            let (left, groups) = (
                message.owed & !message.got & !absent,
                message.groups_owed & !message.groups_got,
            );
            message.lost_to = left;
            let kind = match message.purpose {
                Purpose::Will => Kind::WillLost,
                Purpose::Probe => Kind::Forgotten,
                Purpose::Traffic | Purpose::Marker => Kind::Lost,
            };
            let text = self.describe(key);
            each(left, |who| {
                let more = note(key, Some(who));
                let name = &self.names[who];
                self.findings
                    .add(kind, || format!("{text} never came to {name}; {more}"));
            });
            each(u64::from(groups), |group| {
                let more = note(key, None);
                self.findings.add(kind, || {
                    format!("{text} never came to any member of group {group}; {more}")
                });
            });
            self.give_up(key);
        }
    }

    /// All that is known of a message.
    pub fn describe(&mut self, key: Key) -> String {
        let Some(message) = self
            .messages
            .get(usize::from(key.who))
            .and_then(|list| list.get(key.n as usize))
        else {
            return key.to_string();
        };
        let mut text = format!(
            "{key} of {} ({:?}, {}, QoS {}, sent in round {}",
            self.names[usize::from(key.who)],
            message.purpose,
            self.topics[usize::from(message.topic)],
            message.qos,
            message.round
        );
        let _ = match message.acked {
            Some(round) => write!(text, ", acknowledged in round {round})"),
            None => write!(text, ", not acknowledged)"),
        };
        text
    }
}

fn each(mut bits: u64, mut f: impl FnMut(usize)) {
    while bits != 0 {
        f(bits.trailing_zeros() as usize);
        bits &= bits - 1;
    }
}
