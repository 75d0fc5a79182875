//! A durable session: its store, what is read from it, and crashes of the broker.

use super::*;
use crate::ledger::Flight;
use crate::store::{GROUP, SELF};
use emqttd_session::{Restored, RestoredFlight};
use std::collections::BTreeMap;

/// Added to the class of what came through the group: those go their own way through memory.
const GROUP_CLASS: u8 = 100;
/// And to that of what is not stored.
const UNSTORED_CLASS: u8 = 50;

/// What is being read for the session.
#[derive(Debug, Default)]
pub struct Asked {
    /// from, to, how many; the store has to have synced up to here first
    pub page: Option<(u64, u64, usize, u64)>,
    /// bodies of what was in flight
    pub bodies: bool,
    /// the session's own numbers below this are of before the crash
    pub restored_to: u64,
    /// how many of those could not be read: how many are left is known when all have been read
    pub ghosts: usize,
}

impl World {
    /// Puts a store beside the session, of which little may wait in memory.
    pub fn make_durable(&mut self, store: Store) {
        let mut limits = self.limits().clone();
        limits.queue.ram_most = self.rng.pick(&[1, 2, 5]);
        let limits = Arc::new(limits);
        self.session = Session::new(Arc::clone(&limits));
        self.session.set_durable(true);
        self.ledger = Ledger::new(limits);
        self.ledger.durable = true;
        self.store = Some(store);
    }

    /// The broker stores a message before it does anything else with it.
    pub(super) fn store_message(&mut self, num: u32) {
        let Some(store) = &mut self.store else { return };
        let entry = self.ledger.entry(num);
        // Each topic has its publisher on another thread, and these are not as fast as each other.
        let thread = TOPICS
            .iter()
            .position(|topic| *topic == entry.message.topic());
        entry.class += 10 * thread.unwrap_or(0) as u8 + if entry.group { GROUP_CLASS } else { 0 };
        // Some are not stored at all, like retained messages that a new subscription brings.
        if entry.qos == QoS::AtMostOnce {
            return;
        }
        if self.rng.percent(10) {
            entry.class += UNSTORED_CLASS;
            return;
        }
        let owner = entry.key().0;
        entry.seq = store.now.last_seq.get(&owner).map_or(1, |last| last + 1);
        let seq = entry.seq;
        let size = entry.message.size() as u32;
        store.commit(vec![Record::Message {
            owner,
            seq,
            num,
            size,
        }]);
    }

    /// What the session told in a call goes to the store, and what it asks for is noted.
    pub(super) fn store_call(&mut self) {
        let mut batch = std::mem::take(&mut self.ledger.records);
        batch.append(&mut self.inbound);
        let Some(store) = &mut self.store else { return };
        store.commit(batch);
        if let Some((from, to, most)) = self.ledger.wanted.take() {
            assert_eq!(self.asked.page, None, "a page is asked for twice");
            self.asked.page = Some((from, to, most, store.position()));
        }
        let ledger = &self.ledger;
        self.ledger.loose &=
            ledger.queued > 0 || self.asked.ghosts > 0 || self.session.needs_loading();
        let lane = self.ledger.lanes.values().flatten();
        let entry = |num: &u32| &self.ledger.entries[*num as usize - 1];
        let others = lane.filter(|num| entry(num).seq == 0 || entry(num).group);
        let limits = &self.ledger.limits.queue;
        assert!(
            limits.priorities.is_some()
                || self.session.queue_len_in_memory() <= limits.ram_most + others.count(),
            "too much is held in memory"
        );
        if self.rng.percent(5) {
            self.check_store();
        }
    }

    /// The store knows to be owed what is not finished, and nothing else.
    fn check_store(&self) {
        let Some(store) = &self.store else { return };
        let open = self.ledger.entries.iter().zip(1..).filter(|(entry, _)| {
            let open = matches!(entry.state, State::New | State::Queued | State::Flying);
            // What cannot be read is owed for ever, but for what was in flight.
            let left =
                entry.state == State::Unreadable && store.now.owed.contains_key(&entry.key());
            entry.seq != 0 && (open || left)
        });
        let open: BTreeMap<_, u32> = open.map(|(entry, num)| (entry.key(), num)).collect();
        assert_eq!(store.now.owed, open, "owed by the store, and open");
    }

    pub(super) fn check_nothing_leaks(&self) {
        self.check_store();
        let Some(store) = &self.store else { return };
        let left = store.now.owed.values();
        for num in left {
            let entry = &self.ledger.entries[*num as usize - 1];
            assert_eq!(entry.state, State::Unreadable, "{num} is owed for ever");
        }
        assert_eq!(store.now.flights, [], "in flight for ever");
        assert!(store.now.awaiting.is_empty(), "awaited for ever");
    }

    /// One random event of the store.
    pub(super) fn store_step(&mut self) {
        match self.rng.below(100) {
            0..35 => {
                let Some(store) = &mut self.store else { return };
                let ahead = store.position() - store.durable_to();
                store.sync_to(store.durable_to() + self.rng.below(ahead + 1));
            }
            35..65 => {
                self.next_mail();
            }
            65..82 => {
                self.read_page();
            }
            82..95 => {
                self.read_bodies();
            }
            95..98 => self.crash(),
            _ => {}
        }
    }

    fn next_mail(&mut self) -> bool {
        if self.mail.is_empty() {
            return false;
        }
        let any = self.mail[self.rng.index(self.mail.len())];
        let class = |num: u32| self.ledger.entries[num as usize - 1].class;
        let first = self.mail.iter().position(|num| class(*num) == class(any));
        let num = self.mail.remove(first.unwrap_or(0)).unwrap_or(any);
        self.hand(num);
        true
    }

    /// All that is under way between the session and its store.
    pub(super) fn read_and_sync(&mut self) -> bool {
        let moved = self.next_mail() | self.read_page() | self.read_bodies();
        if let Some(store) = &mut self.store {
            store.sync_to(store.position());
        }
        moved
    }

    /// A page comes from the disk: what is durable, whether the session has heard of it or not.
    fn read_page(&mut self) -> bool {
        let Some((from, to, most, after)) = self.asked.page.take() else {
            return false;
        };
        let Some(store) = &mut self.store else {
            return false;
        };
        store.sync_to(after);
        let most = most.min(1 + self.rng.index(8));
        let (page, next) = store.page(from, to, most);
        self.log(|| format!("page {from}..{to}: {page:?}, then {next:?}"));
        let mut deliveries = Vec::new();
        for (_, num) in page {
            let entry = self.ledger.entry(num);
            if !entry.unreadable {
                deliveries.push(self.delivery(num));
            } else if entry.state == State::Queued {
                self.ledger.leave_queue(num);
                self.ledger.entry(num).state = State::Unreadable;
                self.asked.ghosts += 1;
            }
        }
        if next.unwrap_or(to) >= self.asked.restored_to {
            self.asked.ghosts = 0;
        }
        self.ledger.begin(Call::Page, self.now);
        self.session
            .page(deliveries, next, self.now, &mut self.ledger);
        assert!(self.ledger.acked.is_empty() && self.ledger.rels.is_empty());
        self.after_call();
        true
    }

    /// The bodies of what was in flight come from the disk.
    fn read_bodies(&mut self) -> bool {
        if !std::mem::take(&mut self.asked.bodies) {
            return false;
        }
        let missing: Vec<_> = self.session.missing().collect();
        self.log(|| format!("bodies of {missing:?}"));
        let mut bodies = Vec::new();
        for (id, seq, group) in missing {
            let at = self.ledger.flight(id).expect("it was in flight");
            let flight = &mut self.ledger.flights[at];
            assert!(!flight.loaded && !flight.released);
            flight.loaded = true;
            let num = flight.num;
            let entry = self.ledger.entry(num);
            assert_eq!((entry.seq, entry.group), (seq, group.is_some()));
            if let Some(store) = &mut self.store {
                let owner = entry.key().0;
                store.check_body(owner, seq, num);
            }
            if entry.unreadable {
                entry.state = State::Unreadable;
                self.ledger.flights[at].released = true;
                self.ledger.unread.push(id);
                if self.rng.percent(50) {
                    bodies.push((id, None));
                }
                continue;
            }
            let mut delivery = self.delivery(num);
            (delivery.seq, delivery.group) = (0, None);
            bodies.push((id, Some(delivery)));
        }
        assert!(self.ledger.flights.iter().all(|f| f.loaded || f.released));
        let (now, online) = (self.now, self.session.online());
        if online {
            for flight in self.ledger.flights.iter_mut().filter(|f| f.released) {
                flight.sent_at = now;
            }
        }
        let due = if online { self.released() } else { Vec::new() };
        self.ledger.begin(Call::Resume, now);
        self.session.loaded_in_flight(bodies, now, &mut self.ledger);
        self.ledger.unread.clear();
        assert!(!self.session.needs_loading());
        self.after_resume(&due);
        if online {
            self.check_deadline(false);
        }
        true
    }

    /// The broker crashes and comes back with what the store had synced, and maybe a little more.
    fn crash(&mut self) {
        let Some(store) = &mut self.store else { return };
        store.crash(&mut self.rng);
        let state = store.durable.clone();
        self.log(|| format!("crash: {state:?}"));
        self.cut();
        self.client.broker_crashed();
        self.mail.clear();
        self.asked = Asked::default();
        let old = std::mem::replace(&mut self.ledger, Ledger::new(Arc::default()));
        self.ledger = Ledger::new(Arc::clone(&old.limits));
        (self.ledger.durable, self.ledger.loose) = (true, true);
        self.ledger.entries = old.entries;
        let spoils = self.rng.percent(20);
        for num in 1..=self.ledger.entries.len() as u32 {
            let spoiled = spoils && self.rng.percent(20);
            let entry = self.ledger.entry(num);
            let open = matches!(entry.state, State::New | State::Queued | State::Flying);
            let (owner, seq) = entry.key();
            if seq == 0 {
                if open {
                    entry.state = State::Lost;
                }
                continue;
            }
            // Numbers of lost messages are given out anew.
            if state.owed.get(&(owner, seq)) != Some(&num) {
                if state.last_seq.get(&owner).is_none_or(|last| seq > *last) {
                    entry.state = State::Lost;
                } else {
                    // Only what is finished may be forgotten.
                    assert!(
                        !open,
                        "{num} is {:?}, and the store has lost it",
                        entry.state
                    );
                }
                continue;
            }
            entry.crashed = true;
            let flying = state.flying(owner, seq).is_some();
            entry.unreadable |= spoiled && (flying || owner == SELF);
            entry.state = match owner {
                _ if flying => State::Flying,
                // The group gives it to a member again.
                GROUP => {
                    self.mail.push_back(num);
                    State::New
                }
                _ if entry.state == State::Unreadable => State::Unreadable,
                _ => State::New,
            };
        }
        self.restore(&state);
    }

    fn restore(&mut self, state: &crate::store::State) {
        let mut in_flight = Vec::new();
        for flown in &state.flights {
            self.ledger.flights.push(Flight {
                id: flown.id,
                num: flown.num,
                // Nothing is left to send of what was not stored.
                released: flown.released || flown.seq == 0,
                here: false,
                sent_at: 0,
                loaded: flown.released || flown.seq == 0,
                recorded: true,
            });
            in_flight.push(RestoredFlight {
                id: flown.id,
                released: flown.released,
                seq: flown.seq,
                group: (flown.owner == GROUP).then_some(GroupRef(7)),
            });
        }
        let own: Vec<_> = state.owed.range((SELF, 0)..(GROUP, 0)).collect();
        let next = state.last_seq.get(&SELF).map_or(1, |last| last + 1);
        self.asked.restored_to = next;
        let size = |num: &u32| self.ledger.entries[*num as usize - 1].message.size();
        let restored = Restored {
            version: self.session.version(),
            last_id: state.last_id,
            in_flight,
            front: own.first().map_or(next, |(key, _)| key.1),
            next,
            owed: own.len(),
            bytes: own.iter().map(|(_, num)| size(num)).sum(),
            awaiting: self.inflow.restore(state),
        };
        for ((_, seq), num) in own {
            if state.flying(SELF, *seq).is_none() {
                // Also what is known to be unreadable: the store counts it.
                self.ledger.entry(*num).state = State::New;
                self.ledger.enqueue(*num);
            }
        }
        self.session = Session::restored(Arc::clone(&self.ledger.limits), restored);
        self.ledger.begin(Call::Send, self.now);
        self.after_call();
        assert_eq!(
            self.session.needs_loading(),
            self.ledger.flights.iter().any(|f| !f.loaded)
        );
    }
}
