//! What is read back from the store while the broker runs: messages that wait for a session or a group.

use super::record;
use crate::group::{Group, Unread};
use crate::metrics::Metric;
use crate::node::Node;
use crate::replay::Rows;
use crate::shard::{Later, Mail, Shard};
use emqttd_mqtt::QoS;
use emqttd_session::{Delivery, GroupRef, Message};
use emqttd_store::{Load, Loaded, OwnerId, Page, Position};
use parking_lot::Mutex;
use std::sync::Arc;

/// Bytes of messages read at a time.
const PAGE_BYTES: usize = 4 << 20;
/// Messages of a group read at a time.
const GROUP_PAGE: usize = 256;

/// An answer of the store.
pub(crate) enum Read {
    /// the next messages of a session
    Page { owner: u64, page: Page },
    /// those that a restored session had in flight
    InFlight {
        owner: u64,
        found: Vec<(u16, Option<GroupRef>, Option<Loaded>)>,
    },
    /// retained messages
    Retained(Rows),
    /// messages of a group
    Group {
        group: Arc<Group>,
        unread: Unread,
        page: Page,
    },
}

/// Leaves an answer for a shard.
fn post(node: &Node, shard: usize, read: Read) {
    node.mailboxes[shard].post(&mut vec![Mail::Read(read)]);
}

impl Shard {
    /// Mail has come from the shard that wrote a message for sessions of this one.
    pub(crate) fn heard_of(&mut self, seqs: &[u64]) {
        if let (Some(journal), Some(durable)) = (&mut self.journal, &self.node.durable)
            && !seqs.is_empty()
        {
            journal.owed_to = durable.store.position();
        }
    }

    /// Position behind everything that sessions of this shard have heard they are owed.
    fn all_written(&mut self) -> Position {
        if self.journal.as_ref().is_some_and(|journal| journal.owing) {
            self.commit();
        }
        self.journal.as_ref().map_or(0, |journal| journal.owed_to)
    }

    fn load(&mut self, load: Load, answer: impl FnOnce(&Node, usize, Page) + Send + 'static) {
        let (node, shard) = (Arc::clone(&self.node), self.index);
        if let Some(durable) = self.store() {
            let answer = Box::new(move |page| answer(&node, shard, page));
            durable.store.load(load, answer);
        }
    }

    /// Asks for the next messages that wait for a session.
    pub(crate) fn want_page(&mut self, slot: u32, from: u64, to: u64, most: usize) {
        let Some(number) = self.number(slot) else {
            return;
        };
        let owner = self.owner_of(slot);
        let load = Load {
            owner: number,
            from,
            to,
            most,
            most_bytes: PAGE_BYTES,
            after: self.all_written(),
        };
        self.load(load, move |node, shard, page| {
            post(node, shard, Read::Page { owner, page })
        });
    }

    fn number(&self, slot: u32) -> Option<OwnerId> {
        let owing = self.sessions[slot as usize].owing.as_ref();
        owing.map(|owing| owing.number)
    }

    /// Asks for what a restored session had in flight, one by one; the last answer brings them all.
    pub(crate) fn want_in_flight(&mut self, slot: u32) {
        let Some(number) = self.number(slot) else {
            return;
        };
        let owner = self.owner_of(slot);
        let missing: Vec<_> = self.sessions[slot as usize].session.missing().collect();
        let after = self.all_written();
        let found = Arc::new(Mutex::new(Vec::with_capacity(missing.len())));
        let all = missing.len();
        for (id, seq, group) in missing {
            let of_group = |group| {
                let owing = self.node.groups.owing(group);
                owing.map_or(0, |owing| owing.number)
            };
            let owed_to = group.map_or(number, of_group);
            let load = Load {
                owner: owed_to,
                from: seq,
                to: seq + 1,
                most: 1,
                most_bytes: PAGE_BYTES,
                after,
            };
            let found = Arc::clone(&found);
            self.load(load, move |node, shard, mut page| {
                let mut list = found.lock();
                list.push((id, group, page.messages.pop()));
                if list.len() == all {
                    let found = std::mem::take(&mut *list);
                    post(node, shard, Read::InFlight { owner, found });
                }
            });
        }
    }

    /// Asks for what an earlier run of the broker has left for a group, once.
    pub(crate) fn read_group(&mut self, group: &Arc<Group>) {
        if self.journal.is_some()
            && let Some(unread) = group.take_unread()
        {
            self.want_group(group, unread, 1);
        }
    }

    fn want_group(&mut self, group: &Arc<Group>, unread: Unread, from: u64) {
        let Some(owing) = group.owing() else { return };
        let load = Load {
            owner: owing.number,
            from,
            // What comes from now on is in memory already.
            to: owing.restored_next,
            most: GROUP_PAGE,
            most_bytes: PAGE_BYTES,
            after: self.all_written(),
        };
        self.load_for_group(group, unread, load);
    }

    fn load_for_group(&mut self, group: &Arc<Group>, unread: Unread, load: Load) {
        let group = Arc::clone(group);
        self.load(load, move |node, shard, page| {
            let read = Read::Group {
                group,
                unread,
                page,
            };
            post(node, shard, read)
        });
    }

    /// A message of a group that was in flight to a session that has ended before it was read back.
    pub(crate) fn give_up_in_group(&mut self, group: &Arc<Group>, seq: u64) {
        if group.give_up(seq) {
            return;
        }
        let Some(owing) = group.owing() else { return };
        let number = owing.number;
        // What was written of it just now may say that it is no longer owed.
        self.commit();
        let load = Load {
            owner: number,
            from: seq,
            to: seq + 1,
            most: 1,
            most_bytes: PAGE_BYTES,
            after: self.store().map_or(0, |durable| durable.store.position()),
        };
        self.load_for_group(group, Unread::default(), load);
    }

    /// What the store has answered.
    pub(crate) fn read(&mut self, read: Read) {
        match read {
            Read::Page { owner, page } => {
                if let Some(slot) = self.living(owner) {
                    self.take_page(slot, page);
                }
            }
            Read::Retained(rows) => self.take_rows(rows),
            Read::InFlight { owner, found } => {
                if let Some(slot) = self.living(owner) {
                    self.take_in_flight(slot, found);
                }
            }
            Read::Group {
                group,
                unread,
                page,
            } => {
                for loaded in page.messages {
                    if !unread.held.contains(&loaded.seq) {
                        self.take_for_group(&group, &loaded);
                    }
                }
                if let Some(from) = page.next {
                    self.want_group(&group, unread, from);
                }
            }
        }
    }

    /// A message that was read for a group looks for a member.
    fn take_for_group(&mut self, group: &Arc<Group>, loaded: &Loaded) {
        let Some(message) = self.message_of(loaded) else {
            return self.write_group_done(group, loaded.seq, loaded.body.len());
        };
        let assign = Later::Assign(Arc::clone(group), message, loaded.seq);
        self.later.push_back(assign);
    }

    /// A session ends that has messages of groups in flight from before the restart: those of QoS 2 may have got
    /// there, so nobody else may have them [MQTT-4.8.2-5]. Gives these, which are no longer owed.
    pub(crate) fn complete_unread(&mut self, slot: u32) -> Vec<(GroupRef, u64)> {
        let (Some(notes), Some(number)) =
            (self.sessions[slot as usize].notes.take(), self.number(slot))
        else {
            return Vec::new();
        };
        let session = &self.sessions[slot as usize].session;
        let mut missing: Vec<_> = session.missing().collect();
        let maybe_there = |id: &u16| {
            let note = notes.0.iter().find(|(noted, _)| noted == id);
            note.is_some_and(|(_, note)| record::sent_as(*note).0 == QoS::ExactlyOnce)
        };
        missing.retain(|(id, ..)| maybe_there(id));
        let Some(batch) = self.batch() else {
            return Vec::new();
        };
        for (id, ..) in &missing {
            batch.completed(number, *id);
        }
        let of_group = |(_, seq, group): (u16, u64, Option<GroupRef>)| Some((group?, seq));
        missing.into_iter().filter_map(of_group).collect()
    }

    fn take_page(&mut self, slot: u32, page: Page) {
        let filters = self.sessions[slot as usize].session.filters_backlog();
        let mut deliveries = Vec::with_capacity(page.messages.len());
        for loaded in page.messages {
            let Some(delivery) = self.delivery_of(&loaded, None) else {
                // Not readable as a message: reported, and not owed any more.
                self.write_done(slot, loaded.seq, loaded.body.len());
                continue;
            };
            if filters && !self.is_subscribed(slot, delivery.message.topic()) {
                self.counters.add(Metric::AclDenied, 1);
                self.write_done(slot, loaded.seq, delivery.message.size());
                continue;
            }
            deliveries.push(delivery);
        }
        let now = self.now;
        let (entry, mut sink) = self.sink(slot);
        entry.session.page(deliveries, page.next, now, &mut sink);
        self.handle_effects(slot);
        self.arm_session(slot);
    }

    fn take_in_flight(&mut self, slot: u32, found: Vec<(u16, Option<GroupRef>, Option<Loaded>)>) {
        let filters = self.sessions[slot as usize].session.filters_backlog();
        let notes = self.sessions[slot as usize].notes.take();
        let note_of = |id| {
            notes
                .iter()
                .flat_map(|notes| &notes.0)
                .find(|note| note.0 == id)
        };
        let owner = self.owner_of(slot);
        let found = found
            .into_iter()
            .map(|(id, group, loaded)| {
                let mut delivery = loaded.and_then(|loaded| self.delivery_of(&loaded, group));
                if let (Some(delivery), Some((_, note))) = (&mut delivery, note_of(id)) {
                    (delivery.qos, delivery.retain) = record::sent_as(*note);
                    let member = group.and_then(|group| self.node.groups.get(group)?.member(owner));
                    delivery.sub_id = member.map_or(0, |member| member.sub_id);
                }
                // What the client may no longer have ends as what cannot be read.
                let allowed = |delivery: &Delivery| {
                    !filters || self.is_subscribed(slot, delivery.message.topic())
                };
                (id, delivery.filter(allowed))
            })
            .collect();
        let now = self.now;
        let (entry, mut sink) = self.sink(slot);
        entry.session.loaded_in_flight(found, now, &mut sink);
        self.handle_effects(slot);
        self.arm_session(slot);
        self.offer_groups(slot);
    }

    fn message_of(&self, loaded: &Loaded) -> Option<Arc<Message>> {
        let message = record::message(&loaded.body, self.clock());
        if message.is_none() {
            let seq = loaded.seq;
            log::error!("the store: message {seq} of an owner cannot be read; it is left out");
        }
        message.map(Arc::new)
    }

    fn delivery_of(&self, loaded: &Loaded, group: Option<GroupRef>) -> Option<Delivery> {
        let mut delivery = record::delivery(&loaded.extra, self.message_of(loaded)?)?;
        delivery.seq = loaded.seq;
        delivery.group = group;
        Some(delivery)
    }
}
