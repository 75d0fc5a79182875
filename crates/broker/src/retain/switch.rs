//! How retained messages are kept is changed while the broker runs, and what is there is converted.
//!
//! The new way is put in force first, for all shards at once; then what was kept before follows in slices,
//! so that nobody who publishes or subscribes waits for long.

use super::{Index, Kept, Retained, SLICE, is_stub, is_sys, stub};
use crate::admin::Broker;
use crate::durable::RETAINED;
use crate::durable::record::{self, Clock};
use crate::node::unix_millis;
use emqttd_plugin_sdk::{RetainSettings, RetainStorage};
use emqttd_router::NameId;
use emqttd_session::{Message, Publisher};
use emqttd_store::{Batch, Store};
use hashbrown::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long the disk may take for what was handed to it before.
const PATIENCE: Duration = Duration::from_secs(30);

/// Told of each row: its key, the sequence and the message.
type EachRow<'a> = dyn FnMut(&[u8], Option<u64>, Message) + 'a;

impl Broker {
    /// Keeps retained messages from now on, as said; `None` = keeps and sends none. Those that are there
    /// stay there for the next time, and those that an earlier run has left in the store come back.
    ///
    /// Blocks, and must not be called from an event loop.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn retain(&self, settings: Option<RetainSettings>) -> Result<(), String> {
        let retained = &self.node.retained;
        let _one = retained.switching.lock();
        let Some(mut settings) = settings else {
            retained.switch_off();
            self.commit_all();
            return Ok(());
        };
        if settings.storage != RetainStorage::Ram && self.node.durable.is_none() {
            log::warn!(
                "retained messages are kept in memory only and will be lost at a restart: \
                 persistence.sync is off"
            );
            settings.storage = RetainStorage::Ram;
        }
        let storage = settings.storage;
        self.load_retained(storage)?;
        retained.switch_on(settings);
        match storage {
            RetainStorage::Ram => {
                self.fill_retained()?;
                self.remove_rows()?;
            }
            RetainStorage::Disc => {
                self.write_rows();
                self.fill_retained()?;
            }
            RetainStorage::DiscOnly => {
                self.write_rows();
                retained.empty();
            }
        }
        // Shard 0 looks when the next one expires.
        self.node.mailboxes[0].wake();
        Ok(())
    }

    /// Retained messages, those of the broker itself below `$SYS/` included.
    pub fn retained_count(&self) -> usize {
        self.node.retained.count()
    }

    /// Their topics, in the order of publishing.
    pub fn retained_topics(&self) -> Vec<String> {
        let mut topics = Vec::new();
        let mut next = Some(0);
        while let Some(from) = next {
            next = self.node.retained.topics(from, 4 * SLICE, &mut topics);
        }
        topics
    }

    /// Removes those that there are now, and says how many. Blocks; not for event loops.
    pub fn retained_clean(&self) -> usize {
        let last = self.node.retained.last();
        let mut all = 0;
        // By a shard, so that the store hears of it in the right order with what clients do.
        while let Some(some @ 1..) = self.on_shard(0, move |shard| shard.clean_retained(last)) {
            all += some;
        }
        all
    }

    pub(crate) fn clock(&self) -> Clock {
        Clock {
            now: self.node.now(),
            unix: unix_millis(),
        }
    }

    /// Has all shards hand over what they have for the store. Before they run, they have nothing.
    pub(crate) fn commit_all(&self) {
        if self.node.durable.is_some() && self.node.mailboxes.iter().all(|m| m.has_waker()) {
            self.on_all(|shard| shard.commit());
        }
    }

    /// Calls `f` for each row of the table, all that was written before included.
    fn rows_of_retained(&self, store: &Store, f: &mut EachRow<'_>) -> Result<(), String> {
        self.commit_all();
        let Some(durable) = &self.node.durable else {
            return Ok(());
        };
        if !durable.wait(store.position(), PATIENCE) {
            let why = store.status().error.unwrap_or_default();
            return Err(format!("the store does not take what is written: {why}"));
        }
        let clock = self.clock();
        let each = &mut |key: &[u8], value: &[u8]| match record::retained(value, clock) {
            Some((sequence, message)) if message.topic_bytes() == key => f(key, sequence, message),
            _ => log::error!("the store: a retained message cannot be read; it is left out"),
        };
        store
            .for_each(RETAINED, each)
            .map_err(|error| format!("the store cannot be read: {error}"))
    }

    /// What an earlier run has left in the store, once. Nothing else is retained before.
    fn load_retained(&self, storage: RetainStorage) -> Result<(), String> {
        let retained = &self.node.retained;
        if retained.index.read().loaded {
            return Ok(());
        }
        let Some(store) = self.store() else {
            retained.index.write().loaded = true;
            return Ok(());
        };
        let mut all: Vec<(bool, u64, Arc<Message>)> = Vec::new();
        let mut publishers = Publishers::default();
        self.rows_of_retained(&store, &mut |_, sequence, mut message| {
            publishers.share(&mut message);
            let kept = match storage {
                RetainStorage::DiscOnly => stub(&message),
                _ => Arc::new(message),
            };
            // Those of earlier versions have no number, but all are older.
            let at = sequence.unwrap_or(kept.timestamp);
            all.push((sequence.is_some(), at, kept));
        })?;
        all.sort_by_key(|(numbered, at, _)| (*numbered, *at));
        let count = all.len();
        let mut index = retained.index.write();
        for (numbered, at, message) in all {
            let sequence = if numbered { at } else { index.last + 1 };
            let topic = Arc::clone(&message);
            index.insert(topic.topic(), sequence, message);
        }
        index.loaded = true;
        index.rows = true;
        index.stubs = storage == RetainStorage::DiscOnly;
        retained.note(&index);
        drop(index);
        log::info!("the store: {count} retained messages are back");
        Ok(())
    }

    /// Writes the messages that the store does not have.
    fn write_rows(&self) {
        let retained = &self.node.retained;
        let Some(store) = self.store() else { return };
        if std::mem::replace(&mut retained.index.write().rows, true) {
            return;
        }
        let clock = self.clock();
        let mut batch = Batch::new();
        retained.each_slice(|index, names| {
            for name in names {
                if let Some((sequence, message)) = index.tree.at(*name)
                    && !is_sys(message)
                {
                    let value = record::retained_value(*sequence, message, clock);
                    batch.put(RETAINED, message.topic_bytes(), &value);
                }
            }
            // While nobody can change them: what comes later is about later messages.
            store.commit(&mut batch);
        });
    }

    /// Removes what the store has of them; nothing is added to it now.
    fn remove_rows(&self) -> Result<(), String> {
        let retained = &self.node.retained;
        let Some(store) = self.store() else {
            return Ok(());
        };
        if !retained.index.read().rows {
            return Ok(());
        }
        let mut batch = Batch::new();
        self.rows_of_retained(&store, &mut |key, _, _| {
            batch.delete(RETAINED, key);
            if batch.len() > 64 * 1024 {
                store.commit(&mut batch);
            }
        })?;
        store.commit(&mut batch);
        retained.index.write().rows = false;
        Ok(())
    }

    /// Reads back the payloads that are in the store only.
    fn fill_retained(&self) -> Result<(), String> {
        let retained = &self.node.retained;
        let Some(store) = self.store() else {
            return Ok(());
        };
        if !retained.index.read().stubs {
            return Ok(());
        }
        let mut publishers = Publishers::default();
        self.rows_of_retained(&store, &mut |_, sequence, mut message| {
            publishers.share(&mut message);
            let mut index = retained.index.write();
            let Some(name) = index.tree.id(message.topic()) else {
                return;
            };
            let there = index.tree.at(name);
            // It may have been replaced since.
            if there.is_some_and(|(at, there)| is_stub(there) && sequence.is_none_or(|s| s == *at))
            {
                index.reform(name, Arc::new(message));
            }
        })?;
        retained.drop_unreadable();
        Ok(())
    }
}

/// Who published what was read: as before the restart, the messages of one client name it together.
#[derive(Default)]
struct Publishers(HashMap<Arc<str>, Arc<Publisher>>);

impl Publishers {
    fn share(&mut self, message: &mut Message) {
        let Some(publisher) = &message.publisher else {
            return;
        };
        match self.0.get(&publisher.clientid) {
            Some(known) if known.username == publisher.username => {
                message.publisher = Some(Arc::clone(known));
            }
            _ => {
                let id = Arc::clone(&publisher.clientid);
                self.0.insert(id, Arc::clone(publisher));
            }
        }
    }
}

impl Retained {
    pub(super) fn switch_off(&self) {
        let mut index = self.index.write();
        index.settings = None;
        self.on.store(false, Ordering::Release);
        self.writes.store(false, Ordering::Release);
        self.due.store(u64::MAX, Ordering::Release);
    }

    pub(super) fn switch_on(&self, settings: RetainSettings) {
        let mut index = self.index.write();
        index.settings = Some(settings);
        // All are looked at anew.
        index.aged = 0;
        self.due.store(0, Ordering::Release);
        self.writes.store(index.writes(), Ordering::Release);
        self.on.store(true, Ordering::Release);
    }

    /// Calls `f` with all names, some at a time, while nobody can change what is retained.
    fn each_slice(&self, mut f: impl FnMut(&Index, &[NameId])) {
        let mut names = Vec::with_capacity(SLICE);
        let mut next = 0;
        loop {
            let index = self.index.read();
            names.clear();
            for (sequence, name) in index.order.from(next).take(SLICE) {
                next = sequence + 1;
                names.push(name);
            }
            if names.is_empty() {
                return;
            }
            f(&index, &names);
        }
    }

    /// As [`Retained::each_slice`], to change them.
    fn change_slices(&self, mut f: impl FnMut(&mut Index, NameId)) {
        let mut next = 0;
        loop {
            let mut index = self.index.write();
            let some = index.order.from(next).take(SLICE);
            let names: Vec<(u64, NameId)> = some.collect();
            let Some((last, _)) = names.last() else {
                self.note(&index);
                return;
            };
            next = last + 1;
            for (_, name) in names {
                f(&mut index, name);
            }
        }
    }

    /// Gives up the payloads that the store has.
    fn empty(&self) {
        self.index.write().stubs = true;
        self.change_slices(|index, name| {
            if let Some((_, message)) = index.tree.at(name)
                && !is_stub(message)
                && !is_sys(message)
            {
                let stub = stub(message);
                index.reform(name, stub);
            }
        });
    }

    /// All that could be read has been: what has no payload now never will.
    fn drop_unreadable(&self) {
        let mut lost: Vec<Kept> = Vec::new();
        self.change_slices(|index, name| {
            if index
                .tree
                .at(name)
                .is_some_and(|(_, message)| is_stub(message))
            {
                lost.extend(index.remove(name));
            }
        });
        self.index.write().stubs = false;
        for (_, message) in lost {
            log::error!(
                "the store: the retained message of {} cannot be read; it is gone",
                emqttd_logging::escape(message.topic())
            );
        }
    }
}
