//! What each client does of itself, and on what it hears.

use std::fmt;
use std::time::{Duration, Instant};

use emqttd_tests::Will;
use emqttd_tests::packet::{Prop, Version};

use crate::cast::{DYNAMIC, RETAINED, Role, SHARED, STATIC};
use crate::client::{Client, Event, Got};
use crate::findings::Kind;
use crate::ledger::{Baseline, Purpose, State, Who};
use crate::message::{Key, payload};
use crate::run::{Phase, Run, Seen};

/// Retained from the beginning, and asked for last.
pub const SENTINEL: &str = "z/end";
/// How often a new subscriber asks for them before what it got counts as wrong.
const LOOKS: u32 = 5;
/// With so many messages waiting for somebody, publishers pause and he comes back.
const ENOUGH: u32 = 1500;
/// A broker may look at expiry this much later than it is over.
const SLACK: Duration = Duration::from_secs(1);

/// The subscriptions of one who looks at what is retained.
fn looked_at() -> [(String, u8); 2] {
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
    after: Instant,
    /// the close was seen at this time, of the clock and of the ledger
    closed: Option<(Instant, u64)>,
    /// the broker has synced it: a later one knows it, too
    durable: bool,
    /// the broker it was a connection of has ended since
    outlived: bool,
}

impl Ended {
    /// Ends now.
    pub fn now(how: How) -> Ended {
        Ended {
            how,
            after: Instant::now(),
            closed: None,
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

fn told(ended: Option<Ended>) -> String {
    ended.map_or("never connected".into(), |e| format!("connection: {e}"))
}

/// A will that was handed over with CONNECT.
#[derive(Debug, Clone, Copy)]
struct Testament {
    key: Key,
    /// an acknowledgement after CONNECT shows that the broker has it on disk
    armed: bool,
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
    ended: Option<Ended>,
    /// connects at this time of the round
    next: Option<Instant>,
    /// and, whatever round it is, not before
    pub away_until: Instant,
    /// messages that it may still publish in this round
    budget: u64,
    /// the broker said something that only a broker that knows the session may say
    sure: bool,
    asking: u32,
    resumes: u32,
    will: Option<Testament>,
    /// an earlier one: it may come until `armed` of the new one shows that it was taken back
    withdrawn: Option<Key>,
    /// one that must come before its client does
    awaited: Option<Key>,
    generation: u32,
    baseline: Option<Baseline>,
    looks: u32,
    seen: Seen,
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

    /// Nothing was asked that is not answered.
    pub fn settled(&self) -> bool {
        self.asking == 0
    }

    /// The broker has ended. `gate`: it had synced what came before.
    pub fn after_death(&mut self, gate: u64) {
        if let Some(ended) = &mut self.ended
            && !ended.outlived
        {
            ended.outlived = true;
            ended.durable = ended.closed.is_some_and(|(_, at)| at < gate);
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

impl Run {
    /// A new round: who comes, and when.
    pub(crate) fn plan_round(&mut self, at: Who) {
        let now = Instant::now();
        let (come, late) = match self.actors[at].role {
            Role::Publisher { .. } => (95, 10),
            Role::Subscriber | Role::Toggler => (80, 40),
            Role::Fickle => (80, 60),
            Role::Mortal { .. } => (60, 20),
            Role::Checker => (50, 50),
        };
        let comes = self.rng.percent(come) || self.ledger.waiting(at) > ENOUGH;
        let wait = match self.rng.percent(50) {
            true => Duration::ZERO,
            false => self.rng.millis(0, late),
        };
        let budget = self.rng.below(self.plan.load * 2);
        let actor = &mut self.actors[at];
        actor.budget = budget;
        actor.next = comes.then(|| now + wait);
    }

    /// What a client does of itself at this moment.
    pub(crate) fn act(&mut self, at: Who, now: Instant) {
        let draining = self.phase == Phase::Draining;
        if !self.actors[at].client.connected() {
            return self.act_offline(at, now);
        }
        if !self.actors[at].client.up() || self.actors[at].ending.is_some() {
            return;
        }
        if draining {
            return;
        }
        match self.actors[at].role {
            Role::Publisher { window } => {
                self.fill(at, window);
                if self.rng.permille(2) {
                    self.go_away(at);
                }
            }
            Role::Subscriber => {
                if self.rng.permille(4) {
                    self.go_away(at);
                }
            }
            Role::Toggler => {
                if self.rng.permille(50) {
                    self.toggle(at);
                }
                if self.rng.permille(4) {
                    self.go_away(at);
                }
            }
            Role::Fickle => {
                if self.rng.permille(20) {
                    self.go_away(at);
                }
            }
            Role::Mortal { .. } => {
                let armed = self.actors[at].will.is_some_and(|w| w.armed);
                if self.rng.permille(if armed { 40 } else { 5 }) {
                    self.go_away(at);
                }
            }
            Role::Checker => {}
        }
    }

    fn go_away(&mut self, at: Who) {
        if self.rng.percent(50) {
            self.drop_client(at);
        } else {
            self.disconnect(at);
        }
        let wait = match self.rng.percent(30) {
            true => Duration::ZERO,
            false => self.rng.millis(0, 60),
        };
        self.actors[at].next = Some(Instant::now() + wait);
    }

    fn act_offline(&mut self, at: Who, now: Instant) {
        let draining = self.phase == Phase::Draining;
        let actor = &mut self.actors[at];
        let due = actor.next.is_some_and(|next| next <= now);
        let role = actor.role;
        let comes = match role {
            Role::Mortal { delay, .. } => match actor.awaited {
                _ if draining => false,
                Some(key) if self.ledger.complete(key) => {
                    actor.awaited = None;
                    due
                }
                // Or it comes back before its will has come, which takes that back.
                Some(_) => delay > 0 && due && self.rng.permille(2),
                None => due,
            },
            Role::Checker => actor.check_wanted || (due && !draining),
            Role::Fickle => actor.away_until <= now && (due || draining),
            _ => due || draining,
        };
        if !comes {
            return;
        }
        match role {
            Role::Mortal { delay, qos } => self.make_will(at, delay, qos),
            Role::Checker => {
                let actor = &mut self.actors[at];
                actor.generation += 1;
                actor.client = Client::new(
                    &format!("checker{}", actor.generation),
                    [Version::V311, Version::V5][actor.generation as usize % 2],
                );
                actor.client.persistent = false;
            }
            _ => {}
        }
        self.actors[at].next = None;
        self.connect(at);
    }

    fn make_will(&mut self, at: Who, delay: u32, qos: u8) {
        if let Some(key) = self.actors[at].awaited.take() {
            self.ledger.give_up(key);
            self.actors[at].withdrawn = Some(key);
        }
        let topic = format!("w/{at}");
        let key = self
            .ledger
            .send(at, &topic, qos, false, false, Purpose::Will);
        let mut will = Will::new(&topic, "").qos(qos);
        will.payload = payload(key, 0);
        if delay > 0 {
            will = will.prop(Prop::WillDelay(delay));
        }
        let actor = &mut self.actors[at];
        actor.client.will = Some(will);
        actor.will = Some(Testament { key, armed: false });
    }

    /// Publishes as far as window and budget go, a few at a time.
    fn fill(&mut self, at: Who, window: usize) {
        let mut few = self.rng.below(6);
        while few > 0
            && self.actors[at].budget > 0
            && self.actors[at].client.in_flight() < window
            && !self.crowded()
        {
            few -= 1;
            self.actors[at].budget -= 1;
            self.publish(at);
        }
    }

    /// Somebody has so much before him that publishers wait. Those who may let it expire do not count.
    fn crowded(&self) -> bool {
        let mut all = self.actors.iter().enumerate();
        all.any(|(who, a)| a.role != Role::Fickle && self.ledger.waiting(who) > ENOUGH)
    }

    fn publish(&mut self, at: Who) {
        let mut qos = [0, 1, 1, 1, 2, 2, 2][self.rng.below(7) as usize];
        let (mut retain, mut deletes) = (false, false);
        let topic = match self.rng.below(100) {
            0..45 => format!("s/{}", self.rng.below(STATIC)),
            45..62 => format!("d/{}", self.rng.below(DYNAMIC)),
            62..82 => format!("g/{}", self.rng.below(SHARED)),
            _ => {
                retain = true;
                let n = self.rng.below(RETAINED);
                // One QoS for each topic, or what is sent first may be stored last.
                qos = match n {
                    0 | 2 => 1,
                    1 => 2,
                    _ => self.rng.below(2) as u8,
                };
                deletes = n == 2 && self.rng.percent(30);
                format!("r/{at}/{n}")
            }
        };
        let length = match self.rng.below(100) {
            0..90 => self.rng.between(10, 300),
            90..99 => self.rng.between(2000, 6000),
            _ => self.rng.between(6000, 60_000),
        };
        self.send(
            at,
            &topic,
            qos,
            retain,
            deletes,
            Purpose::Traffic,
            length as usize,
        );
    }

    fn toggle(&mut self, at: Who) {
        if self.actors[at].asking > 0 {
            return;
        }
        let list = &self.ledger.subscriptions[at];
        let some: Vec<usize> = (0..list.len())
            .filter(|n| !list[*n].filter.starts_with("m/"))
            .collect();
        let sub = &list[some[self.rng.below(some.len() as u64) as usize]];
        let (filter, qos, state) = (sub.filter.clone(), sub.qos, sub.state);
        self.ledger.set_state(at, &filter, State::Unknown);
        let actor = &mut self.actors[at];
        actor.asking += 1;
        if state == State::Active {
            actor.client.unsubscribe(&[filter]);
        } else {
            actor.client.subscribe(&[(filter, qos)]);
        }
    }

    /// Something happened on the connection of this client.
    pub(crate) fn on_event(&mut self, at: Who, event: Event) {
        match event {
            Event::Up { present } => self.on_up(at, present),
            Event::Refused(code) => {
                let name = self.actors[at].client.name.clone();
                let why = || format!("{name} was refused with 0x{code:02x}");
                self.ledger.findings.add(Kind::Protocol, why);
            }
            Event::Acked(key) => {
                self.ledger.acked(key);
                if let Some((sent, true)) = self.ledger.sent_at(key)
                    && sent > self.since_event
                {
                    self.gate = self.gate.max(sent);
                }
                if let Role::Publisher { window } = self.actors[at].role
                    && self.phase == Phase::Traffic
                    && self.actors[at].ending.is_none()
                {
                    self.fill(at, window);
                }
            }
            Event::Recorded => self.actors[at].sure = true,
            Event::Rejected(key, code) => {
                self.ledger.give_up(key);
                let text = self.ledger.describe(key);
                let why = || format!("{text} was refused with 0x{code:02x}");
                self.ledger.findings.add(Kind::Protocol, why);
            }
            Event::Got(got) if self.actors[at].role == Role::Checker => self.on_seen(at, got),
            Event::Got(got) => self.ledger.received(at, &got),
            Event::Subscribed(granted) => self.on_subscribed(at, granted),
            Event::Unsubscribed(filters) => {
                for filter in filters {
                    self.ledger.set_state(at, &filter, State::Gone);
                }
                let actor = &mut self.actors[at];
                actor.sure = true;
                actor.asking = actor.asking.saturating_sub(1);
            }
            Event::Pong => {
                let actor = &mut self.actors[at];
                actor.pongs_wanted = actor.pongs_wanted.saturating_sub(1);
            }
            Event::Violation(what) => {
                let name = self.actors[at].client.name.clone();
                let why = || format!("{name}: {what}");
                self.ledger.findings.add(Kind::Protocol, why);
            }
            Event::Closed => self.on_closed(at),
        }
    }

    fn on_up(&mut self, at: Who, present: bool) {
        self.judge_session(at, present);
        let actor = &mut self.actors[at];
        actor.asking = 0;
        if present {
            actor.resumes += 1;
        }
        match actor.role {
            Role::Mortal { delay, .. } => {
                // In time to take back the will of the connection before?
                let delay = Duration::from_secs(u64::from(delay));
                let taken_back = |e: Ended| match e.how {
                    How::Disconnected => e.durable || !e.outlived,
                    How::Dropped | How::Died => e.after.elapsed() < delay,
                };
                if !actor.ended.is_some_and(taken_back) {
                    actor.withdrawn = None;
                }
                actor.generation += 1;
                let (new, old) = (actor.generation, actor.generation - 1);
                actor.client.unsubscribe(&[format!("proof/{at}/{old}")]);
                actor.client.subscribe(&[(format!("proof/{at}/{new}"), 1)]);
                return;
            }
            Role::Checker => {
                actor.seen.clear();
                actor.baseline = Some(self.ledger.baseline());
                actor.looks = 0;
                return actor.client.subscribe(&looked_at());
            }
            _ => {}
        }
        actor.client.resend(present);
        // What stands is not asked for again; what is not known, or was never asked for, is.
        let toggles = actor.role == Role::Toggler;
        let asked: Vec<(String, u8)> = self.ledger.subscriptions[at]
            .iter()
            .filter(|s| match s.state {
                State::Never => true,
                State::Unknown => !toggles || self.phase == Phase::Draining,
                State::Active | State::Gone => false,
            })
            .map(|s| (s.filter.clone(), s.qos))
            .collect();
        if !asked.is_empty() && self.phase != Phase::Dying {
            for (filter, _) in &asked {
                self.ledger.set_state(at, filter, State::Unknown);
            }
            self.actors[at].asking += 1;
            self.actors[at].client.subscribe(&asked);
        }
        if at == 0 && self.actors[0].generation == 0 {
            self.actors[0].generation = 1;
            self.send(0, SENTINEL, 1, true, false, Purpose::Traffic, 0);
        }
    }

    /// Is the session there, or not, as it has to be?
    fn judge_session(&mut self, at: Who, present: bool) {
        let since = self.since;
        let actor = &mut self.actors[at];
        let name = actor.client.name.clone();
        let expiry = Duration::from_secs(u64::from(actor.client.expiry));
        let kept = actor.client.persistent;
        let known = actor.sure;
        let (mut may_be_over, mut must_be_over) = (!kept, !kept);
        if let Some(ended) = actor.ended
            && kept
            && actor.client.version == Version::V5
        {
            may_be_over = ended.after.elapsed() >= expiry;
            // The broker knows when the connection ended, or, after its own death, at the latest when it
            // started again.
            let begun = match ended.closed {
                Some((at, _))
                    if ended.how == How::Disconnected && (ended.durable || !ended.outlived) =>
                {
                    Some(at)
                }
                _ if ended.outlived => Some(since.max(ended.after)),
                _ => None,
            };
            must_be_over = begun.is_some_and(|at| {
                actor.connect_sent.saturating_duration_since(at) > expiry + SLACK
            });
        }
        let first = actor.ended.is_none();
        if present {
            if must_be_over {
                let how = actor.ended;
                self.ledger.findings.add(Kind::ExpiredRevived, || {
                    format!("{name} was told that its session is present; {}", told(how))
                });
            }
            self.ledger.counts.resumed += u64::from(known);
            return;
        }
        actor.sure = false;
        if first {
            return;
        }
        let lost = known && !may_be_over;
        if known && may_be_over && kept {
            self.ledger.counts.expired += 1;
        }
        if lost {
            let how = actor.ended;
            self.ledger.findings.add(Kind::SessionLost, || {
                format!(
                    "{name} was told that its session is not present; {}",
                    told(how)
                )
            });
        }
        for key in self.actors[at].client.forget_session() {
            self.ledger.give_up(key);
        }
        self.ledger.disorder(at);
        self.ledger.session_ended(at, lost);
    }

    fn on_subscribed(&mut self, at: Who, granted: Vec<(String, u8)>) {
        if self.actors[at].role == Role::Checker {
            return;
        }
        let actor = &mut self.actors[at];
        actor.sure = true;
        actor.asking = actor.asking.saturating_sub(1);
        if let Some(will) = &mut actor.will {
            will.armed = true;
            if let Some(key) = actor.withdrawn.take() {
                self.ledger.will_taken_back(key);
            }
            return;
        }
        for (filter, code) in granted {
            if code >= 0x80 {
                let name = self.actors[at].client.name.clone();
                let why = || format!("{name}: SUBACK 0x{code:02x} for {filter}");
                self.ledger.findings.add(Kind::Protocol, why);
                continue;
            }
            self.ledger.set_state(at, &filter, State::Active);
        }
    }

    fn on_seen(&mut self, at: Who, got: Got) {
        let actor = &mut self.actors[at];
        if got.topic != SENTINEL {
            let last = actor.seen.entry(got.topic).or_default();
            *last = match (got.what, *last) {
                (Some(new), Some(old)) => Some(new.max(old)),
                (new, _) => new,
            };
            return;
        }
        let Some(baseline) = actor.baseline.take() else {
            return;
        };
        actor.looks += 1;
        let looks = actor.looks;
        actor.seen.insert(got.topic, got.what);
        let wrong = self.ledger.retained_wrong(&baseline, &actor.seen);
        if self.phase == Phase::Dying && !wrong.is_empty() {
            return;
        }
        if looks < LOOKS && !wrong.is_empty() {
            // A message that has just been replaced is left out, and the new one may still be on its way
            // from another event loop.
            let actor = &mut self.actors[at];
            actor.baseline = Some(baseline);
            return actor.client.subscribe(&looked_at());
        }
        self.ledger.retained_seen(&baseline, wrong);
        let actor = &mut self.actors[at];
        actor.checks_done += 1;
        actor.check_wanted = false;
        if self.phase != Phase::Dying {
            self.disconnect(at);
        }
    }

    fn on_closed(&mut self, at: Who) {
        let now = self.ledger.now();
        let actor = &mut self.actors[at];
        // A CONNECT without CONNACK changes nothing that the client could know.
        let mut ended = actor.ending.take().unwrap_or_else(|| Ended::now(How::Died));
        if self.phase == Phase::Dying {
            ended.after = ended.after.min(self.dying_since);
        }
        ended.closed = Some((Instant::now(), now));
        actor.ended = Some(ended);
        actor.asking = 0;
        actor.pongs_wanted = 0;
        actor.baseline = None;
        if self.phase != Phase::Dying && ended.how == How::Died {
            let name = actor.client.name.clone();
            let why = || format!("the broker closed the connection of {name}");
            self.ledger.findings.add(Kind::Protocol, why);
        }
        let actor = &mut self.actors[at];
        if !actor.client.persistent && actor.role != Role::Checker {
            self.ledger.session_ended(at, false);
        }
        if self.actors[at].role == Role::Fickle {
            let away = match self.rng.percent(50) {
                true => self.rng.millis(0, 500),
                false => self.rng.millis(1000, 4000),
            };
            self.actors[at].away_until = Instant::now() + away;
        }
        self.on_will_due(at, ended);
    }

    /// The connection of a client with a will has ended.
    fn on_will_due(&mut self, at: Who, ended: Ended) {
        let actor = &mut self.actors[at];
        let Some(will) = actor.will.take() else {
            return;
        };
        if let Some(key) = actor.withdrawn.take() {
            // Not proved before the connection ended: it may come.
            self.ledger.give_up(key);
        }
        match ended.how {
            How::Disconnected if self.phase != Phase::Dying || self.plan.no_kill => {
                self.ledger.give_up(will.key);
                actor.withdrawn = Some(will.key);
            }
            How::Died | How::Dropped if will.armed => {
                self.ledger.acked(will.key);
                actor.awaited = Some(will.key);
            }
            _ => self.ledger.give_up(will.key),
        }
    }
}
