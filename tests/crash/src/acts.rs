//! What each client does of itself.

use std::time::{Duration, Instant};

use emqttd_tests::Will;
use emqttd_tests::packet::{Prop, Version};

use crate::actor::{ENOUGH, Testament};
use crate::cast::{DYNAMIC, RETAINED, Role, SHARED, STATIC};
use crate::client::Client;
use crate::ledger::{Purpose, State, Who};
use crate::message::payload;
use crate::run::{Phase, Run};

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
                    &self.trace,
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
    pub(crate) fn fill(&mut self, at: Who, window: usize) {
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
}
