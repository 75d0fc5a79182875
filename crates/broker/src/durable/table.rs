//! Tables of plugins and of management: users, admins, bans.

use crate::node::Node;
use emqttd_store::{Batch, Health, Table as Number};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// All of them are one table of the store; their keys begin with their names.
const TABLES: Number = 16;

/// How long a change may take to be on disk before the caller is told that it is not.
const PATIENCE: Duration = Duration::from_secs(10);

/// Keys and values that last as messages do. With `persistence.sync = off` they last as long as the process.
///
/// Every call may block: never call it from an event loop.
#[derive(Clone)]
pub struct DurableTable {
    node: Arc<Node>,
    prefix: Vec<u8>,
}

/// What stands in for the store when there is none.
#[derive(Debug, Default)]
pub(crate) struct Volatile(Mutex<BTreeMap<Vec<u8>, Vec<u8>>>);

impl DurableTable {
    pub(crate) fn new(node: &Arc<Node>, name: &str) -> DurableTable {
        let mut prefix = name.as_bytes().to_vec();
        // No name has it, so that none is the beginning of another.
        prefix.retain(|byte| *byte != 0);
        prefix.push(0);
        DurableTable {
            node: Arc::clone(node),
            prefix,
        }
    }

    fn key(&self, key: &[u8]) -> Vec<u8> {
        [&self.prefix, key].concat()
    }

    /// Sets a key; returns when that is durable, and what [`DurableTable::get`] finds.
    ///
    /// # Errors
    /// When the store cannot take it: it may be there after a restart, or not.
    pub fn put(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let key = self.key(key);
        if self.node.durable.is_none() {
            self.node.volatile.0.lock().insert(key, value.to_vec());
            return Ok(());
        }
        self.write(false, |batch| batch.put(TABLES, &key, value))
    }

    /// Takes a key away; returns when that is durable. A store that is full takes that, too.
    ///
    /// # Errors
    /// As [`DurableTable::put`].
    pub fn delete(&self, key: &[u8]) -> io::Result<()> {
        let key = self.key(key);
        if self.node.durable.is_none() {
            self.node.volatile.0.lock().remove(&key);
            return Ok(());
        }
        self.write(true, |batch| batch.delete(TABLES, &key))
    }

    /// `makes_room`: a full store takes it all the same, or it would stay full.
    fn write(&self, makes_room: bool, f: impl FnOnce(&mut Batch)) -> io::Result<()> {
        let Some(durable) = &self.node.durable else {
            return Ok(());
        };
        match durable.store.health() {
            Health::Good => {}
            Health::Full if makes_room => {}
            _ => return Err(io::Error::other("the store takes nothing new for now")),
        }
        let mut batch = Batch::new();
        f(&mut batch);
        let position = durable.store.commit(&mut batch);
        if !durable.wait(position, PATIENCE) {
            let why = durable.store.status().error.unwrap_or_default();
            return Err(io::Error::other(format!("not on disk yet: {why}")));
        }
        // Durable it is before it can be found; who has written it wants to read it.
        let (told, readable) = mpsc::sync_channel(1);
        let tell = Box::new(move |_| {
            let _ = told.send(());
        });
        durable.store.values(TABLES, Vec::new(), 0, position, tell);
        readable
            .recv_timeout(PATIENCE)
            .map_err(|_| io::Error::other("it is on disk, and cannot be read yet"))
    }

    /// The value of a key.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let key = self.key(key);
        match &self.node.durable {
            None => Ok(self.node.volatile.0.lock().get(&key).cloned()),
            Some(durable) => durable.store.get(TABLES, &key),
        }
    }

    /// All keys and values, ordered by key.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn rows(&self) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut rows = Vec::new();
        let mut add = |key: &[u8], value: &[u8]| {
            if let Some(key) = key.strip_prefix(&self.prefix[..]) {
                rows.push((key.to_vec(), value.to_vec()));
            }
        };
        match &self.node.durable {
            None => {
                let all = self.node.volatile.0.lock();
                all.iter().for_each(|(key, value)| add(key, value));
            }
            Some(durable) => durable.store.for_each(TABLES, &mut add)?,
        }
        rows.sort_unstable();
        Ok(rows)
    }
}
