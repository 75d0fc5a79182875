//! Who changed what, and when: over the management API, by the web pages, by commands.
//!
//! The newest entries are in memory; all go to `audit.log` in the log directory, a JSON object a line, which is
//! rotated. Who does something does not wait for that disk: a thread writes.

mod words;
mod writer;

use crate::clock::unix_millis;
use emqttd_broker::Broker;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::path::Path;
pub(crate) use words::{action_of, outcome_of};
use writer::Writer;

/// Entries in memory.
const RECENT: usize = 10_000;

/// Longest texts of an entry, characters.
const MAX_TEXT: usize = 512;

/// By what somebody showed who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// user name and password with the request
    Basic,
    /// a login of the web pages
    Token,
    /// an API key
    Key,
    /// an attempt to log in
    Login,
    /// `emqttd_ctl`
    Cli,
}

/// Something that was done, or tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// numbers the entries since the start, those read from the file among them; given by [`Audit::record`]
    #[serde(skip)]
    pub seq: u64,
    /// unix milliseconds
    pub at: u64,
    /// user, id of an API key, or user of the system
    pub who: String,
    /// address; `local` for commands
    pub from: String,
    /// how they showed who they are
    pub via: Via,
    /// `DELETE /api/v2/clients/c1`, `plugins load emq_stomp`: never a body, never a password
    pub action: String,
    /// status, code, or exit code
    pub outcome: String,
}

impl Entry {
    /// An entry of this moment. Texts that are too long are cut.
    pub fn new(who: &str, from: &str, via: Via, action: &str, outcome: &str) -> Entry {
        let cut = |text: &str| text.chars().take(MAX_TEXT).collect();
        Entry {
            seq: 0,
            at: unix_millis(),
            who: cut(who),
            from: cut(from),
            via,
            action: cut(action),
            outcome: cut(outcome),
        }
    }
}

/// The audit log.
pub struct Audit {
    recent: Mutex<Recent>,
    broker: Broker,
}

#[derive(Default)]
struct Recent {
    /// by `seq`, without gaps
    entries: VecDeque<Entry>,
    /// of the newest
    last: u64,
    writer: Option<Writer>,
}

impl Recent {
    fn add(&mut self, mut entry: Entry) -> &Entry {
        self.last += 1;
        entry.seq = self.last;
        if self.entries.len() >= RECENT {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
        // One was just added.
        &self.entries[self.entries.len() - 1]
    }
}

impl Audit {
    pub(crate) fn new(broker: &Broker) -> Audit {
        Audit {
            recent: Mutex::default(),
            broker: broker.clone(),
        }
    }

    /// Reads the newest entries of an earlier run from the log directory, and writes there from now on.
    pub(crate) fn open(&self, dir: &Path) {
        let path = dir.join("audit.log");
        let earlier = writer::newest(&path, RECENT);
        let mut recent = self.recent.lock();
        if recent.writer.is_some() {
            return;
        }
        let now = std::mem::take(&mut recent.entries);
        recent.last = 0;
        for entry in earlier {
            recent.add(entry);
        }
        let writer = Writer::start(path, &self.broker);
        for entry in now {
            let entry = recent.add(entry);
            if let Some(writer) = &writer {
                writer.write(entry);
            }
        }
        recent.writer = writer;
    }

    /// Notes an entry. Does not wait for the disk: what cannot be written is in memory all the same.
    pub fn record(&self, entry: Entry) {
        let mut recent = self.recent.lock();
        recent.add(entry);
        // In their order into the file, too.
        if let (Some(writer), Some(entry)) = (&recent.writer, recent.entries.back()) {
            writer.write(entry);
        }
    }

    /// The newest entries, the newest first, `limit` at most; only those below the number `before`.
    pub fn recent(&self, before: Option<u64>, limit: usize) -> Vec<Entry> {
        let recent = self.recent.lock();
        let entries = recent.entries.iter().rev();
        let below = entries.skip_while(|entry| before.is_some_and(|seq| entry.seq >= seq));
        below.take(limit).cloned().collect()
    }

    /// Waits, two seconds at most, until everything recorded so far is in the file; `false` when it is not.
    pub fn flush(&self) -> bool {
        let wait = {
            let recent = self.recent.lock();
            recent.writer.as_ref().and_then(Writer::mark)
        };
        wait.is_none_or(writer::Mark::wait)
    }
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
