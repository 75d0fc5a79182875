//! Rounds: start, traffic, an instant of death; and now and then a drain, in which everything must come.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use crate::actor::{Actor, Ended, How, SENTINEL};
use crate::cast::{DYNAMIC, Role, SHARED, STATIC, cast};
use crate::client::Event;
use crate::findings::Kind;
use crate::ledger::{Ledger, MOST, Purpose, Who};
use crate::message::{Key, payload};
use crate::node::Node;
use crate::rng::Rng;
use crate::trace::Trace;

/// With no packet for so long, longer than any will's delay, nothing more is coming.
const QUIET: Duration = Duration::from_secs(5);
/// The longest a drain may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often those who act of themselves are asked.
const TICK: Duration = Duration::from_millis(1);

/// How a run goes.
#[derive(Debug, Clone)]
pub struct Plan {
    /// the program under test
    pub broker: PathBuf,
    /// how many times it is killed
    pub rounds: u32,
    /// of all that is chosen
    pub seed: u64,
    /// event loops of the broker
    pub shards: usize,
    /// its `persistence.sync`
    pub sync: String,
    /// shortest traffic of a round, milliseconds
    pub least: u64,
    /// longest traffic of a round, milliseconds
    pub most: u64,
    /// messages of each publisher in a round
    pub load: u64,
    /// rounds from one drain to the next
    pub drain_every: u32,
    /// clients leave, and the broker lives
    pub no_kill: bool,
    /// goes on after a drain that found something
    pub keep_going: bool,
    /// not this, but the store alone over disks that fail
    pub faults: bool,
}

/// What happens to the broker now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// traffic
    Traffic,
    /// it is dead, or told to stop: what it sent is still read
    Dying,
    /// what was promised is awaited
    Draining,
}

/// A run in progress.
pub struct Run {
    pub(crate) plan: Plan,
    pub(crate) rng: Rng,
    pub(crate) poll: Poll,
    pub(crate) node: Node,
    pub(crate) actors: Vec<Actor>,
    pub(crate) ledger: Ledger,
    pub(crate) phase: Phase,
    /// since when this broker runs
    pub(crate) since: Instant,
    /// times of the ledger and of the clock since it began
    pub(crate) ticks: Vec<(u64, Instant)>,
    /// when the latest message was sent, of those acknowledged by this broker after a sync
    pub(crate) gate: Option<Instant>,
    pub(crate) serial: usize,
    last_packet: Instant,
    /// the broker was killed, or told to stop, not before this
    pub(crate) dying_since: Instant,
    /// how the rounds ended
    pub(crate) ends: Ends,
    /// what clients sent and got
    pub(crate) trace: Trace,
}

/// How often the broker ended in which way.
#[derive(Debug, Default, Clone)]
pub struct Ends {
    /// SIGKILL under traffic
    pub kills: u32,
    /// SIGKILL while it started
    pub kills_at_start: u32,
    /// asked to stop under traffic
    pub stops: u32,
    /// connections that clients dropped
    pub drops: u32,
    /// connections that clients ended with DISCONNECT
    pub disconnects: u32,
    /// drains
    pub drains: u32,
}

impl Run {
    /// Prepares a run; the broker is not started yet.
    pub fn new(plan: Plan) -> io::Result<Run> {
        let mut rng = Rng::new(plan.seed);
        let node = Node::new(&plan.broker, plan.shards, &plan.sync)?;
        let trace = Trace::new(&node.root.join("log/clients.txt"))?;
        let mut actors = Vec::new();
        let mut names = Vec::new();
        let mut subscriptions = Vec::new();
        let mut lasting = 0;
        for (at, part) in cast(&mut rng, &trace).into_iter().enumerate() {
            names.push(part.client.name.clone());
            if part.role == Role::Subscriber && part.client.persistent {
                lasting |= 1 << at;
            }
            subscriptions.push(part.subscriptions);
            actors.push(Actor::new(part.role, part.client));
        }
        let mut ledger = Ledger::new(names, subscriptions);
        ledger.lasting = lasting;
        Ok(Run {
            plan,
            rng,
            poll: Poll::new()?,
            node,
            actors,
            ledger,
            phase: Phase::Traffic,
            since: Instant::now(),
            ticks: Vec::new(),
            gate: None,
            serial: 0,
            last_packet: Instant::now(),
            dying_since: Instant::now(),
            ends: Ends::default(),
            trace,
        })
    }

    /// All rounds; what was found is in the ledger.
    pub fn go(&mut self, mut progress: impl FnMut(&Run, u32)) {
        if !self.begin() || !self.drain() {
            return;
        }
        for round in 1..=self.plan.rounds {
            self.ledger.round = round;
            self.trace.note(format_args!("--- round {round}"));
            if !self.plan.no_kill && !self.begin() {
                return;
            }
            let length = self.rng.millis(self.plan.least, self.plan.most);
            if !self.traffic(length) {
                return;
            }
            if self.plan.no_kill {
                self.leave();
            } else {
                self.end_broker();
            }
            progress(self, round);
            let due = round % self.plan.drain_every == 0 || round == self.plan.rounds;
            if due && !(self.plan.no_kill || self.begin()) {
                return;
            }
            if due && !self.drain() && !self.plan.keep_going {
                return;
            }
        }
        let last = self.node.tail(100_000);
        if let Some(line) = last.lines().find(|l| l.contains("panicked at")) {
            let findings = &mut self.ledger.findings;
            findings.add(Kind::Broker, || format!("its log says: {line}"));
        }
    }

    /// Starts the broker, now and then after one that was killed while it started.
    fn begin(&mut self) -> bool {
        if self.plan.rounds > 0 && self.ledger.round > 0 && self.rng.percent(5) {
            let _ = self.node.spawn();
            std::thread::sleep(self.rng.millis(0, 30));
            self.node.kill();
            self.ends.kills_at_start += 1;
        }
        if let Err(why) = self.node.start() {
            self.ledger.findings.add(Kind::Broker, || why);
            return false;
        }
        self.phase = Phase::Traffic;
        self.since = Instant::now();
        self.ticks.clear();
        self.gate = None;
        for at in 0..self.actors.len() {
            self.plan_round(at);
        }
        true
    }

    /// Traffic for so long; `false` when the broker ended by itself.
    fn traffic(&mut self, length: Duration) -> bool {
        self.phase = Phase::Traffic;
        let end = Instant::now() + length;
        loop {
            let now = Instant::now();
            if now >= end {
                return true;
            }
            self.ticks.push((self.ledger.now(), now));
            for at in 0..self.actors.len() {
                self.act(at, now);
            }
            self.turn(TICK.min(end - now));
            if let Some(status) = self.node.ended() {
                let findings = &mut self.ledger.findings;
                findings.add(Kind::Broker, || format!("it ended by itself: {status}"));
                return false;
            }
        }
    }

    /// One look at the sockets.
    fn turn(&mut self, wait: Duration) {
        let mut events = Events::with_capacity(256);
        if self.poll.poll(&mut events, Some(wait)).is_err() {
            return;
        }
        for event in &events {
            let Token(token) = event.token();
            let at = token % MOST;
            if self.actors[at].token == token {
                self.read(at);
            }
        }
        let now = Instant::now();
        for actor in &mut self.actors {
            actor.client.flush_due(now);
        }
    }

    fn read(&mut self, at: Who) {
        let Run {
            actors, poll, rng, ..
        } = self;
        let delay = |most: u64| match most {
            0 => Duration::ZERO,
            most => Duration::from_micros(rng.below(most * 1000)),
        };
        let events = actors[at].client.ready(poll.registry(), delay);
        for event in events {
            if !matches!(event, Event::Pong) {
                self.last_packet = Instant::now();
            }
            self.on_event(at, event);
        }
    }

    /// The broker dies, or is told to stop. What it had written is read by most clients, and lost for some.
    fn end_broker(&mut self) {
        let before = Instant::now();
        self.dying_since = before;
        self.trace.note(format_args!("--- the broker ends"));
        self.phase = Phase::Dying;
        let stop = self.rng.percent(4);
        if stop {
            self.ends.stops += 1;
            self.node.ask_to_stop();
        } else {
            self.ends.kills += 1;
            self.node.kill();
        }
        for at in 0..self.actors.len() {
            if !stop && self.actors[at].client.connected() && self.rng.percent(20) {
                self.actors[at].client.drop_connection(self.poll.registry());
                self.on_event(at, Event::Closed);
            }
        }
        let end = before + Duration::from_secs(10);
        while self.actors.iter().any(|a| a.client.connected()) && Instant::now() < end {
            self.turn(Duration::from_millis(20));
        }
        if stop && let Err(why) = self.node.wait_stopped() {
            self.ledger.findings.add(Kind::Broker, || why);
        }
        let gate = self.gate;
        for at in 0..self.actors.len() {
            if self.actors[at].client.connected() {
                self.actors[at].client.drop_connection(self.poll.registry());
                self.on_event(at, Event::Closed);
            }
            self.actors[at].after_death(gate);
        }
    }

    /// Without a kill: every client leaves, half of them without a word.
    fn leave(&mut self) {
        for at in 0..self.actors.len() {
            // One that said DISCONNECT waits for the close.
            if self.actors[at].client.connected() && self.actors[at].ending.is_none() {
                if self.rng.percent(50) {
                    self.disconnect(at);
                } else {
                    self.drop_client(at);
                }
            }
        }
        self.dying_since = Instant::now();
        self.phase = Phase::Dying;
        let end = Instant::now() + Duration::from_secs(10);
        while self.actors.iter().any(|a| a.client.connected()) {
            if Instant::now() > end {
                self.stuck("a DISCONNECT was not followed by a close");
                return;
            }
            self.turn(Duration::from_millis(20));
        }
        self.phase = Phase::Traffic;
        for at in 0..self.actors.len() {
            self.plan_round(at);
        }
    }

    fn stuck(&mut self, what: &str) {
        let online: Vec<String> = self
            .actors
            .iter()
            .filter(|a| !a.client.up() || a.client.in_flight() > 0)
            .map(|a| {
                let (name, up) = (&a.client.name, a.client.up());
                format!("{name} up: {up}, in flight: {}", a.client.in_flight())
            })
            .collect();
        let text = format!("{what}; {}", online.join("; "));
        self.ledger.findings.add(Kind::Stuck, || text);
    }

    /// Everything that was promised must come now. `false` when something was found, now or before.
    fn drain(&mut self) -> bool {
        self.ends.drains += 1;
        self.phase = Phase::Draining;
        let begun = Instant::now();
        self.last_packet = begun;
        let publishers = self.publishers();
        if self.ledger.round == self.plan.rounds {
            self.actors.iter_mut().for_each(|a| a.away_until = begun);
        }
        if !self.wait(
            begun,
            "clients to come back and publishers to be through",
            |run| {
                run.actors.iter().all(|a| match a.role {
                    Role::Mortal { .. } | Role::Checker => true,
                    Role::Fickle if !a.client.connected() && a.away_until > Instant::now() => true,
                    _ => a.client.up() && a.client.in_flight() == 0 && a.settled(),
                })
            },
        ) {
            return false;
        }
        self.probe();
        if !self.wait(begun, "the probes to be acknowledged", |run| {
            run.actors[..publishers]
                .iter()
                .all(|a| a.client.in_flight() == 0)
        }) {
            return false;
        }
        for who in 0..publishers {
            let topic = format!("m/{who}");
            self.send(who, &topic, 1, false, false, Purpose::Marker, 0);
        }
        // Quiet in vain is no failure by itself: what did not come is told by the ledger.
        self.last_packet = Instant::now();
        let done = |run: &Run| {
            run.ledger.settled(run.absent())
                && run.actors.iter().all(|a| {
                    a.client.in_flight() == 0 && (!a.client.up() || a.client.unreleased() == 0)
                })
        };
        while !done(self) && self.last_packet.elapsed() < QUIET {
            if begun.elapsed() > PATIENCE {
                self.stuck("packets keep coming, and not those that are waited for");
                break;
            }
            self.step();
        }
        // Whoever has an answer to this has had all that was sent before.
        for actor in &mut self.actors {
            actor.pongs_wanted = u32::from(actor.client.up());
            actor.client.ping();
        }
        let answered = self.wait(begun, "PINGRESP", |run| {
            run.actors.iter().all(|a| a.pongs_wanted == 0)
        });
        let checked = self.check_retained(begun);
        let absent = self.absent();
        let actors = &self.actors;
        self.ledger
            .settle(absent, |key, who| note(actors, key, who));
        self.end_drain();
        let well = answered && checked && self.ledger.findings.none();
        if well {
            self.trace.clear();
        }
        well
    }

    /// Those who stay away in a drain.
    fn absent(&self) -> u64 {
        let mut bits = 0;
        for (at, actor) in self.actors.iter().enumerate() {
            if actor.role == Role::Fickle && !actor.client.up() {
                bits |= 1 << at;
            }
        }
        bits
    }

    /// After a drain the broker is killed, too.
    fn end_drain(&mut self) {
        if self.plan.no_kill {
            self.phase = Phase::Traffic;
        } else {
            self.end_broker();
        }
    }

    fn step(&mut self) {
        let now = Instant::now();
        for at in 0..self.actors.len() {
            self.act(at, now);
        }
        self.turn(TICK);
    }

    fn wait(&mut self, begun: Instant, what: &str, done: impl Fn(&Run) -> bool) -> bool {
        while !done(self) {
            if begun.elapsed() > PATIENCE {
                self.stuck(&format!("waited for {what}"));
                return false;
            }
            if let Some(status) = self.node.ended() {
                let findings = &mut self.ledger.findings;
                findings.add(Kind::Broker, || format!("it ended by itself: {status}"));
                return false;
            }
            self.step();
        }
        true
    }

    /// A message to each topic: who subscribes to it?
    fn probe(&mut self) {
        for (letter, count) in [('s', STATIC), ('d', DYNAMIC), ('g', SHARED)] {
            for n in 0..count {
                for qos in [1, 2] {
                    let topic = format!("{letter}/{n}");
                    self.send(0, &topic, qos, false, false, Purpose::Probe, 0);
                }
            }
        }
    }

    fn check_retained(&mut self, begun: Instant) -> bool {
        let Some(at) = self.actors.iter().position(|a| a.role == Role::Checker) else {
            return true;
        };
        let before = self.actors[at].checks_done;
        self.actors[at].check_wanted = true;
        self.last_packet = Instant::now();
        while self.actors[at].checks_done == before {
            if self.last_packet.elapsed() > QUIET {
                let why = || format!("a new subscriber did not get {SENTINEL}, which is retained");
                self.ledger.findings.add(Kind::Retained, why);
                return false;
            }
            if begun.elapsed() > PATIENCE {
                self.stuck("waited for a new subscriber to see what is retained");
                return false;
            }
            self.step();
        }
        true
    }

    pub(crate) fn publishers(&self) -> usize {
        self.actors
            .iter()
            .take_while(|a| matches!(a.role, Role::Publisher { .. }))
            .count()
    }

    /// Sends a message for the first time; the client must be up.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn send(
        &mut self,
        who: Who,
        topic: &str,
        qos: u8,
        retain: bool,
        deletes: bool,
        purpose: Purpose,
        length: usize,
    ) -> Key {
        let key = self.ledger.send(who, topic, qos, retain, deletes, purpose);
        let bytes = if deletes {
            Vec::new()
        } else {
            payload(key, length)
        };
        let mut publish = emqttd_tests::Publish::new(topic, bytes).qos(qos);
        publish.retain = retain;
        self.actors[who].client.publish(key, publish);
        key
    }

    /// The client's network is gone.
    pub(crate) fn drop_client(&mut self, at: Who) {
        self.ends.drops += 1;
        self.actors[at].ending = Some(Ended::now(How::Dropped));
        self.actors[at].client.drop_connection(self.poll.registry());
        self.on_event(at, Event::Closed);
    }

    /// The client says DISCONNECT and waits for the close.
    pub(crate) fn disconnect(&mut self, at: Who) {
        self.ends.disconnects += 1;
        self.actors[at].ending = Some(Ended::now(How::Disconnected));
        self.actors[at].client.disconnect();
    }

    /// Opens a connection for this client.
    pub(crate) fn connect(&mut self, at: Who) {
        self.serial += 1;
        let token = self.serial * MOST + at;
        let actor = &mut self.actors[at];
        actor.token = token;
        actor.connect_sent = Instant::now();
        actor.ending = None;
        let (registry, to) = (self.poll.registry(), self.node.addr);
        if actor.client.connect(registry, Token(token), to).is_err() {
            actor.client.drop_connection(registry);
        }
    }

    /// The tree, for whoever looks at it next.
    pub fn into_parts(self) -> (Ledger, Node, Ends) {
        self.trace.flush();
        (self.ledger, self.node, self.ends)
    }

    /// The book.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The broker and its tree.
    pub fn node(&self) -> &Node {
        &self.node
    }
}

/// What else is known of a message that did not come.
fn note(actors: &[Actor], key: Key, who: Option<Who>) -> String {
    let sender = actors[usize::from(key.who)].client.whereabouts(key);
    match who {
        Some(who) => format!("{sender}; {}", actors[who].story()),
        None => sender.into(),
    }
}

/// The checker's view: the last it got on each topic.
pub type Seen = HashMap<String, Option<Key>>;
