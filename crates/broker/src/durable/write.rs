//! What a shard writes of its sessions and of the messages that are published on it.

use super::record::{
    Clock, SessionRecord, WillRecord, group_value, owner_key, put_message, put_message_head,
    put_message_until, put_options, retained_value, subscription_value,
};
use super::{GROUPS, INBOUND, Owing, RETAINED, SESSIONS, SUBSCRIPTIONS};
use crate::conn::NONE;
use crate::group::Group;
use crate::passing::Passing;
use crate::retain::Change;
use crate::shard::Shard;
use crate::target::{Options, Owner, Receiver, may_last, receiver};
use emqttd_mqtt::QoS;
use emqttd_router::Target;
use emqttd_session::{Delivery, Message, Subscription};
use emqttd_store::{Batch, Owed, OwnerId};
use std::ops::Range;
use std::sync::Arc;

/// Who is owed the message that is passing. Kept from message to message, for the memory.
#[derive(Default)]
pub(crate) struct Debts {
    /// number, `seq`, and where the options stand in `options`
    owed: Vec<(OwnerId, u64, Range<usize>)>,
    options: Vec<u8>,
    head: Vec<u8>,
}

impl Debts {
    fn clear(&mut self) {
        self.owed.clear();
        self.options.clear();
    }

    fn add(&mut self, owing: &Owing, qos: QoS, retain: bool, ids: &[u32]) -> u64 {
        let seq = owing.next();
        let start = self.options.len();
        put_options(&mut self.options, qos, retain, ids);
        self.owed
            .push((owing.number, seq, start..self.options.len()));
        seq
    }

    /// Appends the message with all who are owed it.
    fn write(&mut self, batch: &mut Batch, passing: &Passing<'_>, clock: Clock) {
        let parts = &passing.parts;
        let publisher = passing.publisher.map(|publisher| &**publisher);
        let expires = clock.calendar(passing.expires_at);
        self.head.clear();
        put_message_head(&mut self.head, parts, publisher, passing.unix, expires);
        let body: [&[u8]; 4] = [
            &self.head,
            parts.topic.as_bytes(),
            parts.properties,
            parts.payload,
        ];
        let size = (parts.topic.len() + parts.properties.len() + parts.payload.len()) as u32;
        let owed = |(owner, seq, options): &(OwnerId, u64, Range<usize>)| Owed {
            owner: *owner,
            seq: *seq,
            extra: &self.options[options.clone()],
        };
        match &self.owed[..] {
            // The common case, without an allocation.
            [one] => batch.message(&body, size, &[owed(one)]),
            many => batch.message(&body, size, &many.iter().map(owed).collect::<Vec<_>>()),
        }
    }
}

impl Shard {
    pub(crate) fn clock(&self) -> Clock {
        Clock {
            now: self.now,
            unix: self.unix,
        }
    }

    /// Whether the session outlives its connection, and the process.
    pub(crate) fn is_lasting(&self, slot: u32) -> bool {
        self.lasting(slot).is_some()
    }

    /// Number of the session in the store, if it is one that lasts.
    fn lasting(&self, slot: u32) -> Option<OwnerId> {
        let owing = self.sessions[slot as usize].owing.as_ref()?;
        owing.lasting.then_some(owing.number)
    }

    pub(crate) fn batch(&mut self) -> Option<&mut Batch> {
        self.journal.as_mut().map(|journal| &mut journal.batch)
    }

    /// Writes a message for those of its targets who are to get it later, and remembers in `seqs` under which
    /// number each of them knows it.
    pub(crate) fn write_owed(&mut self, passing: &mut Passing<'_>, targets: &[Target], from: u64) {
        self.seqs.clear();
        let qos0 = passing.parts.qos == QoS::AtMostOnce && !self.settings.session.upgrade_qos;
        if qos0 || !targets.iter().any(may_last) {
            return;
        }
        let mut debts = std::mem::take(&mut self.debts);
        debts.clear();
        let mut at = 0;
        while at < targets.len() {
            let owner = targets[at].owner;
            let same = targets[at..]
                .iter()
                .take_while(|t| t.owner == owner)
                .count();
            match receiver(&targets[at]) {
                Receiver::Group(group) => {
                    let group = self.node.groups.get(group);
                    if let Some(owing) = group.as_ref().and_then(|group| group.owing())
                        && passing.parts.qos != QoS::AtMostOnce
                    {
                        self.seqs.resize(at, 0);
                        let seq = debts.add(owing, passing.parts.qos, passing.parts.retain, &[]);
                        self.seqs.push(seq);
                    }
                }
                Receiver::Session(to) => {
                    let matches = &targets[at..at + same];
                    if Options::unpack(matches[0].opts).lasting
                        && !(owner == from && self.settings.session.ignore_loop_deliver)
                        && let Some(owing) = self.owing_of(to)
                    {
                        self.seqs.resize(at, 0);
                        self.owe(&mut debts, passing, &owing, matches, owner == from);
                    }
                }
            }
            at += same;
        }
        if debts.owed.is_empty() {
            self.seqs.clear();
        } else {
            self.seqs.resize(targets.len(), 0);
            self.write_debts(&mut debts, passing);
        }
        self.debts = debts;
    }

    fn write_debts(&mut self, debts: &mut Debts, passing: &Passing<'_>) {
        let clock = self.clock();
        if let Some(journal) = &mut self.journal {
            debts.write(&mut journal.batch, passing, clock);
            journal.owing = true;
        }
    }

    /// One session's part, as `deliver_to` will deliver it: a copy for each filter, or one for all.
    fn owe(
        &mut self,
        debts: &mut Debts,
        passing: &Passing<'_>,
        owing: &Owing,
        matches: &[Target],
        own: bool,
    ) {
        let parts = &passing.parts;
        let merges = owing.merges() && matches.len() > 1;
        let (mut qos, mut retain, mut ids) = (QoS::AtMostOnce, false, Vec::new());
        for target in matches {
            let options = Options::unpack(target.opts);
            let wanted = !(options.no_local && own);
            let effective = self.effective_qos(parts.qos, options.qos);
            let keep = parts.retain && options.keep_retain;
            let id = [target.sub_id];
            let id: &[u32] = if target.sub_id == 0 { &[] } else { &id };
            if wanted && merges {
                qos = qos.max(effective);
                retain |= keep;
                ids.extend_from_slice(id);
            }
            let stored = wanted && !merges && effective != QoS::AtMostOnce;
            let seq = if stored {
                debts.add(owing, effective, keep, id)
            } else {
                0
            };
            self.seqs.push(seq);
        }
        if merges && qos != QoS::AtMostOnce {
            let first = self.seqs.len() - matches.len();
            self.seqs[first] = debts.add(owing, qos, retain, &ids);
        }
    }

    /// A durable session of this or another shard.
    fn owing_of(&self, owner: Owner) -> Option<Arc<Owing>> {
        if usize::from(owner.shard) == self.index {
            let slot = self.living(owner.pack())?;
            return self.sessions[slot as usize].owing.clone();
        }
        let slots = self.store()?.directories[usize::from(owner.shard)].read();
        let (epoch, owing) = slots.get(owner.slot as usize)?.as_ref()?;
        (*epoch == owner.epoch).then(|| Arc::clone(owing))
    }

    /// A delivery to a session that lasts which its publisher's shard has not written: a retained message,
    /// one that matched by another filter than was known there, one that waited in a group from before it
    /// was durable.
    pub(crate) fn write_unwritten(&mut self, slot: u32, delivery: &mut Delivery) {
        if delivery.seq != 0 || delivery.qos == QoS::AtMostOnce || !self.is_lasting(slot) {
            return;
        }
        let owing = match delivery.group {
            None => self.sessions[slot as usize].owing.clone(),
            Some(group) => self.node.groups.owing(group),
        };
        let Some(owing) = owing else { return };
        let mut debts = Debts::default();
        delivery.seq =
            delivery.with_ids(|ids| debts.add(&owing, delivery.qos, delivery.retain, ids));
        self.write_debts(&mut debts, &Passing::of(&delivery.message));
    }

    /// A delivery that was written for a session will not take place.
    pub(crate) fn write_done(&mut self, slot: u32, seq: u64, size: usize) {
        if let Some(owing) = self.sessions[slot as usize].owing.clone()
            && let Some(batch) = self.batch()
        {
            batch.done(owing.number, seq, size as u32);
        }
    }

    /// A message that was written for a group is no longer owed to it.
    pub(crate) fn write_group_done(&mut self, group: &Group, seq: u64, size: usize) {
        if let Some(owing) = group.owing().filter(|_| seq != 0)
            && let Some(batch) = self.batch()
        {
            batch.done(owing.number, seq, size as u32);
        }
    }

    /// Gives a session that does not last a number, under which the store knows what it holds in flight of
    /// a group's messages.
    pub(crate) fn make_owing(&mut self, slot: u32) {
        if self.sessions[slot as usize].owing.is_some() {
            return;
        }
        if let Some(owing) = self.new_owing(false) {
            self.sessions[slot as usize].owing = Some(owing);
        }
    }

    /// A new owner in the store, if there is one.
    pub(crate) fn new_owing(&mut self, lasting: bool) -> Option<Arc<Owing>> {
        let number = self.store()?.next_owner();
        self.batch()?.begin(number);
        Some(Owing::new(number, 1, lasting))
    }

    /// Makes a new session one that lasts.
    pub(crate) fn make_lasting(&mut self, slot: u32) {
        let Some(owing) = self.new_owing(true) else {
            return;
        };
        self.enter(slot, owing);
    }

    /// Puts a session that lasts where all shards find it.
    pub(crate) fn enter(&mut self, slot: u32, owing: Arc<Owing>) {
        let epoch = self.sessions[slot as usize].epoch;
        if let Some(durable) = self.store() {
            durable.directories[self.index].set(slot, epoch, Some(&owing));
        }
        let entry = &mut self.sessions[slot as usize];
        entry.session.set_durable(true);
        entry.owing = Some(owing);
    }

    /// A session ends: so does all that was written for it. `keys` are its subscriptions.
    pub(crate) fn forget_session(&mut self, slot: u32, keys: &[String], inbound: &[u16]) {
        let Some(owing) = self.sessions[slot as usize].owing.take() else {
            return;
        };
        let epoch = self.sessions[slot as usize].epoch;
        if let Some(durable) = self.store() {
            durable.directories[self.index].set(slot, epoch, None);
        }
        let Some(journal) = &mut self.journal else {
            return;
        };
        journal.prompt = true;
        let batch = &mut journal.batch;
        let number = owing.number;
        if owing.lasting {
            for key in keys {
                batch.delete(SUBSCRIPTIONS, &owner_key(number, key.as_bytes()));
            }
            for id in inbound {
                batch.delete(INBOUND, &owner_key(number, &id.to_be_bytes()));
            }
            batch.delete(SESSIONS, &number.to_be_bytes());
        }
        batch.end(number);
    }

    /// Writes what a session is: after everything that changes it besides subscriptions and messages.
    pub(crate) fn write_session(&mut self, slot: u32) {
        let Some(number) = self.lasting(slot) else {
            return;
        };
        let clock = self.clock();
        let entry = &self.sessions[slot as usize];
        let will = match entry.conn {
            NONE => entry
                .will
                .as_ref()
                .map(|will| (clock.calendar(will.0), 0, &will.1)),
            conn => {
                let will = self.conns[conn as usize].peek().will.as_ref();
                // After a crash nobody could ask for this client any more: what was said at CONNECT counts.
                will.filter(|will| will.allowed)
                    .map(|will| (0, will.delay, &will.message))
            }
        };
        let will = will.map(|(due_unix, delay, message)| {
            let mut bytes = Vec::new();
            // The seconds it will live stand where others have their end.
            put_message_until(&mut bytes, message, u64::MAX);
            WillRecord {
                due_unix,
                delay,
                lifetime: message.expires_at,
                message: bytes,
            }
        });
        let record = SessionRecord {
            clientid: Arc::clone(&entry.publisher.clientid),
            username: entry.publisher.username.clone(),
            version: entry.session.version(),
            expiry: entry.expiry,
            expires_unix: match entry.expires_at {
                0 => 0,
                at => clock.calendar(at),
            },
            created_at: entry.created_at,
            will,
        };
        if let Some(journal) = &mut self.journal {
            let batch = &mut journal.batch;
            batch.put(SESSIONS, &number.to_be_bytes(), &record.value());
            // Clients come and go seldom, and a will taken back should stay so.
            journal.prompt = true;
        }
    }

    /// Writes a subscription; `replaying`: retained messages are still on their way to it.
    pub(crate) fn write_subscription(
        &mut self,
        slot: u32,
        key: &str,
        subscription: &Subscription,
        replaying: bool,
    ) {
        let Some(number) = self.lasting(slot) else {
            return;
        };
        if let Some(batch) = self.batch() {
            let value = subscription_value(subscription, replaying);
            batch.put(SUBSCRIPTIONS, &owner_key(number, key.as_bytes()), &value);
        }
    }

    pub(crate) fn forget_subscription(&mut self, slot: u32, key: &str) {
        let Some(number) = self.lasting(slot) else {
            return;
        };
        if let Some(batch) = self.batch() {
            batch.delete(SUBSCRIPTIONS, &owner_key(number, key.as_bytes()));
        }
    }

    /// A session has joined a group: if the session lasts, so does what is published to the group from now on.
    pub(crate) fn write_group(&mut self, slot: u32, group: &Group) {
        if !self.is_lasting(slot) {
            return;
        }
        let Some(durable) = self.store() else { return };
        let owing = group.make_owing(|| Owing::new(durable.next_owner(), 1, true));
        let number = owing.number;
        // Also when another shard has just done so: what this one acknowledges must not depend on that.
        if let Some(batch) = self.batch() {
            batch.begin(number);
            let value = group_value(&group.name, &group.filter);
            batch.put(GROUPS, &number.to_be_bytes(), &value);
        }
    }

    /// The last member has left.
    pub(crate) fn forget_group(&mut self, group: &Group) {
        if let Some(owing) = group.owing()
            && let Some(batch) = self.batch()
        {
            batch.delete(GROUPS, &owing.number.to_be_bytes());
            batch.end(owing.number);
        }
    }

    /// A QoS 2 message that waits for its PUBREL.
    pub(crate) fn write_inbound(&mut self, slot: u32, id: u16, message: &Message) {
        let Some(number) = self.lasting(slot) else {
            return;
        };
        let mut value = Vec::new();
        put_message(&mut value, message, self.clock());
        if let Some(batch) = self.batch() {
            batch.put(INBOUND, &owner_key(number, &id.to_be_bytes()), &value);
        }
    }

    pub(crate) fn forget_inbound(&mut self, slot: u32, id: u16) {
        let Some(number) = self.lasting(slot) else {
            return;
        };
        if let Some(batch) = self.batch() {
            batch.delete(INBOUND, &owner_key(number, &id.to_be_bytes()));
        }
    }

    /// Retained messages are gone; they are locked meanwhile.
    pub(crate) fn forget_retained(&mut self, gone: &[Arc<Message>]) {
        let Some(batch) = self.batch() else { return };
        for message in gone {
            batch.delete(RETAINED, message.topic_bytes());
        }
        self.commit_in_order();
    }

    /// Hands over what another shard could otherwise write about first. To be called while others cannot get
    /// at it yet: then the order in the log is that in memory.
    pub(crate) fn commit_in_order(&mut self) {
        if self.node.mailboxes.len() > 1 {
            self.commit();
        }
    }

    /// A topic has another retained message, or none any more; they are locked meanwhile.
    pub(crate) fn write_retained(&mut self, change: Change<'_>) {
        let clock = self.clock();
        let Some(batch) = self.batch() else { return };
        match change {
            Change::Put(sequence, message) => {
                let value = retained_value(sequence, message, clock);
                batch.put(RETAINED, message.topic_bytes(), &value);
            }
            Change::Delete(topic) => batch.delete(RETAINED, topic.as_bytes()),
        }
        self.commit_in_order();
    }
}
