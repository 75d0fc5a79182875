//! What follows from what a client hears.

use std::time::{Duration, Instant};

use emqttd_tests::packet::Version;

use crate::actor::{Ended, How, LOOKS, SENTINEL, SLACK, looked_at, told};
use crate::cast::Role;
use crate::client::{Event, Got};
use crate::findings::Kind;
use crate::ledger::{Purpose, State, Who};
use crate::run::{Phase, Run};

impl Run {
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
                    && let Some(tick) = self.ticks.iter().rev().find(|tick| tick.0 <= sent)
                {
                    self.gate = self.gate.max(Some(tick.1));
                }
                if let Role::Publisher { window } = self.actors[at].role
                    && self.phase == Phase::Traffic
                    && self.actors[at].ending.is_none()
                {
                    self.fill(at, window);
                }
            }
            Event::Recorded => self.actors[at].is_known(),
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
                actor.is_known();
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
        actor.was_up = Some(Instant::now());
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
                Some(at)
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
            if std::mem::take(&mut self.actors[at].in_doubt) {
                self.ledger.session_in_doubt(at);
            }
            return;
        }
        actor.sure = false;
        actor.in_doubt = false;
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
        actor.is_known();
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
        let actor = &mut self.actors[at];
        let mut ended = actor.ending.take().unwrap_or_else(|| Ended::now(How::Died));
        ended.up = actor.was_up.take();
        let proved = std::mem::take(&mut actor.proved);
        if let Some(before) = actor.ended {
            if ended.up.is_none() {
                // Without CONNACK nobody knows whether the session was resumed once more. It may have ended
                // as well, and the broker have made a new one, which is present from then on.
                ended.after = before.after;
                let expiry = Duration::from_secs(u64::from(actor.client.expiry));
                actor.in_doubt |= actor.client.version.is_v5() && before.after.elapsed() >= expiry;
            } else if !proved {
                ended.earlier = Some(before.after);
            }
        }
        if self.phase == Phase::Dying {
            ended.after = ended.after.min(self.dying_since);
        }
        ended.closed = Some(Instant::now());
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
