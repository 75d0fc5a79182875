//! Retained messages on their way to those who have subscribed.
//!
//! A subscription goes on the connection's list; one subscription of a connection is worked on at a time.
//! Its messages are looked for in slices, their payloads read back from the store where they are there only,
//! and sent as far as the output and the window have room. None is ever dropped for being one of many, and
//! the work of all connections together is bounded in each round: who has more waits for its turn in the
//! next one, behind the others, so that nobody else's packets wait for long.

use crate::conn::{ConnId, NONE};
use crate::durable::RETAINED;
use crate::durable::load::Read;
use crate::durable::record;
use crate::retain::{Kept, Search, is_stub};
use crate::shard::{Mail, Shard};
use crate::subscribe::parts_of;
use emqttd_mqtt::QoS;
use emqttd_session::Delivery;
use emqttd_store::Values;
use std::collections::VecDeque;
use std::sync::Arc;

/// Places looked at and messages sent in a round: a millisecond's work, more or less.
const ROUND: usize = 8192;
/// Messages taken out of the tree at a time.
const TAKEN: usize = 64;
/// Bytes read back from the store at a time.
const READ_BYTES: usize = 1 << 20;

/// Retained messages on their way to a connection: those of one subscription at a time, so that a client
/// that subscribes again and again without reading costs no more than its subscriptions.
#[derive(Default)]
pub(crate) struct Replay {
    /// subscriptions whose turn is still to come, by the name under which the session keeps them
    pub subscriptions: VecDeque<Box<str>>,
    /// the one whose turn it is
    key: Box<str>,
    search: Search,
    /// sequences of its messages that were found and not sent, in the order of publishing
    found: VecDeque<u64>,
    /// those before them, read back from the store
    read: VecDeque<Kept>,
    /// number of the question that the store is to answer; 0 = none
    asked: u64,
    /// subscriptions of which the store knows that their messages are still on their way
    pub marked: Vec<Box<str>>,
}

impl Replay {
    pub fn is_empty(&self) -> bool {
        self.is_between() && self.subscriptions.is_empty()
    }

    /// All is sent of one subscription, and the next has not begun.
    fn is_between(&self) -> bool {
        self.found.is_empty()
            && self.read.is_empty()
            && self.asked == 0
            && matches!(self.search, Search::Over)
    }

    /// Nothing more is sent of the subscription whose turn it is.
    fn give_up(&mut self) {
        self.search = Search::Over;
        self.found = VecDeque::new();
        self.read = VecDeque::new();
        self.asked = 0;
    }
}

/// An answer of the store: sequences, and the rows as far as they were read.
pub(crate) struct Rows {
    pub owner: u64,
    pub asked: u64,
    pub sequences: Vec<u64>,
    pub rows: Values,
}

impl Shard {
    /// Puts the retained messages of a subscription in line.
    pub(crate) fn begin_replay(&mut self, id: ConnId, key: &str) {
        let retained = &self.node.retained;
        if self.closing(id) || !retained.is_on() || retained.count() == 0 {
            return;
        }
        let replay = &mut self.conns[id as usize].detail().rare().replay;
        // Subscribed again before its turn has come: one turn answers both.
        if !replay.subscriptions.iter().any(|waiting| **waiting == *key) {
            replay.subscriptions.push_back(key.into());
        }
        self.replay(id);
    }

    /// A new round: as much may be done as in the last one.
    pub(crate) fn begin_replays(&mut self) {
        self.replayed = 0;
    }

    /// Goes on with those who have waited for this round.
    pub(crate) fn go_on_with_replays(&mut self) {
        for _ in 0..self.replaying.len() {
            if self.replayed >= ROUND || self.pressed() {
                return;
            }
            let Some(id) = self.replaying.pop_front() else {
                return;
            };
            // The number may be another connection's by now, which is in line at most for nothing.
            let conn = &mut self.conns[id as usize];
            if let Some(rare) = conn.detail.as_mut().and_then(|detail| detail.rare.as_mut()) {
                rare.in_line = false;
                self.replay(id);
            }
        }
    }

    /// Puts a connection in line for the next round.
    fn replay_later(&mut self, id: ConnId) {
        let rare = self.conns[id as usize].detail().rare();
        if !rare.in_line {
            rare.in_line = true;
            self.replaying.push_back(id);
        }
    }

    /// Sends retained messages as far as the connection, the window and this round have room.
    pub(crate) fn replay(&mut self, id: ConnId) {
        loop {
            let conn = &self.conns[id as usize];
            let slot = conn.session;
            let Some(rare) = conn.detail.as_ref().and_then(|detail| detail.rare.as_ref()) else {
                return;
            };
            if slot == NONE {
                return;
            }
            let replay = &rare.replay;
            if replay.is_empty() {
                return self.unmark_replays(id);
            }
            if replay.asked != 0 || !self.has_room(id, slot, QoS::AtMostOnce) {
                return;
            }
            if self.replayed >= ROUND || self.pressed() {
                return self.replay_later(id);
            }
            if !self.node.retained.is_on() {
                self.drop_replays(id);
            } else if replay.is_between() {
                self.next_replay(id, slot);
            } else if !self.is_wanted(id, slot) {
                // It was taken away meanwhile.
                self.conns[id as usize].detail().rare().replay.give_up();
            } else if replay.found.is_empty() && replay.read.is_empty() {
                self.look_further(id);
            } else if !self.send_found(id, slot) {
                return;
            }
        }
    }

    /// Whether the output has room, and the window where it has to.
    fn has_room(&self, id: ConnId, slot: u32, qos: QoS) -> bool {
        let limit = self.settings.mqtt.max_send_buffer / 2;
        let session = &self.sessions[slot as usize].session;
        self.conns[id as usize].out.len() <= limit && (qos == QoS::AtMostOnce || session.has_room())
    }

    fn is_wanted(&self, id: ConnId, slot: u32) -> bool {
        let rare = self.conns[id as usize].peek().rare.as_ref();
        let subscriptions = &self.sessions[slot as usize].session.subscriptions;
        rare.is_some_and(|rare| subscriptions.get(&rare.replay.key).is_some())
    }

    /// Nothing is retained any more.
    fn drop_replays(&mut self, id: ConnId) {
        let replay = &mut self.conns[id as usize].detail().rare().replay;
        replay.give_up();
        replay.subscriptions.clear();
    }

    /// Begins to look for the messages of the next subscription in line.
    fn next_replay(&mut self, id: ConnId, slot: u32) {
        self.replayed += 1;
        let replay = &mut self.conns[id as usize].detail().rare().replay;
        let Some(key): Option<Box<str>> = replay.subscriptions.pop_front() else {
            return;
        };
        let subscriptions = &self.sessions[slot as usize].session.subscriptions;
        if subscriptions.get(&key).is_some() {
            replay.search = self.node.retained.search(parts_of(&key).filter);
            replay.key = key;
        }
    }

    /// Looks for more messages.
    fn look_further(&mut self, id: ConnId) {
        let replay = &mut self.conns[id as usize].detail().rare().replay;
        let filter = parts_of(&replay.key).filter;
        self.replayed += self.node.retained.find(
            &mut replay.search,
            filter,
            ROUND - self.replayed,
            &mut replay.found,
        );
    }

    /// Sends some of what was found. `false` when there is no room for more, or it has to be read first.
    fn send_found(&mut self, id: ConnId, slot: u32) -> bool {
        let clock = self.clock();
        let replay = &mut self.conns[id as usize].detail().rare().replay;
        // What comes from the store was looked at before it was read.
        let was_read = !replay.read.is_empty();
        let mut some = std::mem::take(&mut replay.read);
        if !was_read {
            let left = replay.found.len();
            let most = TAKEN.min(ROUND - self.replayed);
            (self.node.retained).take(&mut replay.found, clock, most, &mut some);
            self.replayed += left - replay.found.len();
        }
        let subscriptions = &self.sessions[slot as usize].session.subscriptions;
        let subscription = subscriptions.get(&replay.key).copied();
        while let (Some((sequence, message)), Some(subscription)) = (some.front(), subscription) {
            if was_read && !self.node.retained.is_current(*sequence) {
                // A newer one has gone out as a live message: this one must not come after it.
                some.pop_front();
                continue;
            }
            if is_stub(message) {
                self.ask_for(id, slot, some);
                return false;
            }
            let qos = message.qos.min(subscription.qos);
            if !self.has_room(id, slot, qos) {
                break;
            }
            let mut delivery = Delivery::new(Arc::clone(message), qos);
            delivery.sub_id = subscription.id;
            // [MQTT-3.3.1-8]
            delivery.retain = true;
            some.pop_front();
            self.send(slot, delivery);
        }
        let full = !some.is_empty();
        self.put_back(id, some, was_read);
        !full
    }

    /// What was not sent is the next to be.
    fn put_back(&mut self, id: ConnId, some: VecDeque<Kept>, was_read: bool) {
        let replay = &mut self.conns[id as usize].detail().rare().replay;
        if was_read {
            replay.read = some;
        } else {
            for (sequence, _) in some.into_iter().rev() {
                replay.found.push_front(sequence);
            }
        }
    }

    /// Asks the store for the messages at the front whose payload it has.
    fn ask_for(&mut self, id: ConnId, slot: u32, mut some: VecDeque<Kept>) {
        let stubs = some.iter().take_while(|(_, message)| is_stub(message));
        let rest = some.split_off(stubs.count());
        self.put_back(id, rest, false);
        // What was written of them may still be here.
        self.commit();
        let owner = self.owner_of(slot);
        self.questions_of_replays += 1;
        let asked = self.questions_of_replays;
        let (node, shard) = (Arc::clone(&self.node), self.index);
        let Some(durable) = self.node.durable.as_ref() else {
            return;
        };
        let keys = some
            .iter()
            .map(|(_, message)| message.topic_bytes().to_vec())
            .collect();
        let sequences = some.into_iter().map(|(sequence, _)| sequence).collect();
        let after = durable.store.position();
        let answer = move |rows| {
            let rows = Rows {
                owner,
                asked,
                sequences,
                rows,
            };
            node.mailboxes[shard].post(&mut vec![Mail::Read(Read::Retained(rows))]);
        };
        durable
            .store
            .values(RETAINED, keys, READ_BYTES, after, Box::new(answer));
        self.conns[id as usize].detail().rare().replay.asked = asked;
    }

    /// The store has answered.
    pub(crate) fn take_rows(&mut self, rows: Rows) {
        let Some(slot) = self.living(rows.owner) else {
            return;
        };
        let clock = self.clock();
        let id = self.sessions[slot as usize].conn;
        let replay = match id {
            NONE => self.sessions[slot as usize].replay.as_deref_mut(),
            id => Some(&mut self.conns[id as usize].detail().rare().replay),
        };
        let Some(replay) = replay.filter(|replay| replay.asked == rows.asked) else {
            return;
        };
        replay.asked = 0;
        for sequence in rows.sequences.iter().skip(rows.rows.len()).rev() {
            replay.found.push_front(*sequence);
        }
        for (sequence, row) in rows.sequences.into_iter().zip(rows.rows) {
            if !self.node.retained.is_current(sequence) {
                continue;
            }
            match row.and_then(|row| record::retained(&row, clock)) {
                Some((written, message)) if written.is_none_or(|at| at == sequence) => {
                    replay.read.push_back((sequence, Arc::new(message)));
                }
                // Another has been written since, and the tree is about to say so.
                Some(_) => {}
                None => log::error!("the store: a retained message cannot be read; it is left out"),
            }
        }
        if id != NONE {
            self.replay(id);
        }
    }

    /// Has the store know of the subscriptions whose retained messages are still on their way: after a crash
    /// they begin anew.
    pub(crate) fn mark_replays(&mut self, id: ConnId) {
        let conn = &self.conns[id as usize];
        let slot = conn.session;
        if !conn.peek().replaying() || slot == NONE || !self.is_lasting(slot) {
            return;
        }
        let replay = &mut self.conns[id as usize].detail().rare().replay;
        replay.marked = replay.subscriptions.iter().cloned().collect();
        if !replay.is_between() {
            replay.marked.push(replay.key.clone());
        }
        self.write_marks(id, true);
    }

    fn unmark_replays(&mut self, id: ConnId) {
        let replay = &self.conns[id as usize].detail().rare().replay;
        if !replay.marked.is_empty() {
            self.write_marks(id, false);
            self.conns[id as usize].detail().rare().replay.marked = Vec::new();
        }
    }

    fn write_marks(&mut self, id: ConnId, replaying: bool) {
        let slot = self.conns[id as usize].session;
        let marked = self.conns[id as usize]
            .detail()
            .rare()
            .replay
            .marked
            .clone();
        for key in &marked {
            let subscriptions = &self.sessions[slot as usize].session.subscriptions;
            if let Some(subscription) = subscriptions.get(key).copied() {
                self.write_subscription(slot, key, &subscription, replaying);
            }
        }
    }
}
