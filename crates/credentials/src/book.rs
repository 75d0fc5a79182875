//! The names, in the table and in memory.

use crate::Kind;
use crate::settings::Settings;
use emqttd_password::scram::Keys;
use emqttd_password::{Cost, Given, Mark, Marker, Stored};
use emqttd_plugin_sdk::{Context, HostError, StartError, Table};
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::sync::Arc;

/// A name and what it is checked by; replaced as a whole when the password changes.
pub(crate) struct Record {
    secret: Secret,
    seen: Mutex<Seen>,
    /// Held by the one that checks a password of this name: whoever guesses at one name holds up no other, and
    /// of many that come with the same password one is checked.
    pub(crate) turn: tokio::sync::Mutex<()>,
}

enum Secret {
    Stored(Stored),
    /// not hashed yet
    Given(Given),
    /// nobody is let in by it
    Unreadable,
}

/// What has been found out about passwords.
#[derive(Clone, Copy, Default)]
struct Seen {
    right: Option<Mark>,
    wrong: Option<Mark>,
}

impl Record {
    fn new(secret: Secret) -> Arc<Record> {
        Arc::new(Record {
            secret,
            seen: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        })
    }

    /// Whether a check takes so long that it must not be made on an event loop.
    pub(crate) fn is_slow(&self) -> bool {
        match &self.secret {
            Secret::Stored(_) => true,
            Secret::Given(given) => given.is_slow(),
            Secret::Unreadable => false,
        }
    }

    /// Whether it is the password.
    pub(crate) fn verify(&self, password: &[u8]) -> bool {
        match &self.secret {
            Secret::Stored(stored) => stored.verify(password),
            Secret::Given(given) => given.verify(password),
            Secret::Unreadable => false,
        }
    }

    pub(crate) fn scram(&self) -> Option<&Keys> {
        match &self.secret {
            Secret::Stored(stored) => stored.scram(),
            _ => None,
        }
    }

    /// Whether the password with that mark is right, if that was found out before.
    pub(crate) fn recall(&self, mark: Mark) -> Option<bool> {
        let seen = *self.seen.lock();
        if seen.right == Some(mark) {
            Some(true)
        } else if seen.wrong == Some(mark) {
            Some(false)
        } else {
            None
        }
    }

    /// Remembers it. Of wrong ones the last: a device that has an old password comes again and again with it.
    pub(crate) fn learn(&self, mark: Mark, right: bool) {
        let mut seen = self.seen.lock();
        if right {
            seen.right = Some(mark);
        } else {
            seen.wrong = Some(mark);
        }
    }
}

/// Why a command did nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Existed,
    NoExisted,
    /// a sentence
    Failed(String),
}

impl From<HostError> for Refusal {
    fn from(error: HostError) -> Refusal {
        Refusal::Failed(error.0)
    }
}

/// Whether the table may be written.
#[derive(PartialEq, Eq)]
enum Writing {
    Open,
    /// the plugin has ended, and may have been started again
    Closed,
}

/// The names.
pub(crate) struct Book {
    kind: &'static Kind,
    table: Table,
    cost: Cost,
    scram_iterations: Option<u32>,
    /// `None` = every password is checked
    marker: Option<Marker>,
    records: RwLock<HashMap<Box<str>, Arc<Record>>>,
    /// held while table and memory are changed together
    writing: Mutex<Writing>,
}

impl Book {
    /// Reads the table, and takes in what the file has. Blocks.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub(crate) fn open(
        kind: &'static Kind,
        table: Table,
        settings: &Settings,
    ) -> Result<Book, StartError> {
        let marker = match settings.password_cache {
            true => Some(Marker::new().ok_or("the system gives no random numbers")?),
            false => None,
        };
        let rows = table
            .rows()
            .map_err(|error| StartError(format!("table {}: {error}", kind.table)))?;
        let mut records = HashMap::with_capacity(rows.len() + settings.entries.len());
        for (name, row) in rows {
            let Ok(name) = String::from_utf8(name) else {
                log::error!(
                    "table {} has a row without a name; it is left alone",
                    kind.table
                );
                continue;
            };
            records.insert(name.into_boxed_str(), Record::new(secret_of(kind, &row)));
        }
        for (name, record) in &records {
            if matches!(record.secret, Secret::Unreadable) {
                log::error!(
                    "the password of {name:?} in table {} cannot be read, and nobody is let in by it: \
                     set it anew with `{} update`",
                    kind.table,
                    kind.command
                );
            }
        }
        for (name, given) in &settings.entries {
            if kind.file_wins || !records.contains_key(name.as_str()) {
                let record = Record::new(Secret::Given(given.clone()));
                records.insert(name.as_str().into(), record);
            }
        }
        Ok(Book {
            kind,
            table,
            cost: settings.cost,
            scram_iterations: settings.scram_iterations,
            marker,
            records: RwLock::new(records),
            writing: Mutex::new(Writing::Open),
        })
    }

    /// The mark of a password, if passwords are recognized.
    pub(crate) fn mark(&self, password: &[u8]) -> Option<Mark> {
        self.marker.as_ref().map(|marker| marker.mark(password))
    }

    /// What stands for a name.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Record>> {
        self.records.read().get(name).cloned()
    }

    /// Whether that is still what stands for it.
    pub(crate) fn is_current(&self, name: &str, record: &Arc<Record>) -> bool {
        let records = self.records.read();
        records
            .get(name)
            .is_some_and(|now| Arc::ptr_eq(now, record))
    }

    /// All names, sorted.
    pub(crate) fn names(&self) -> Vec<Box<str>> {
        let mut names: Vec<_> = self.records.read().keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// Adds a name. Durable on return, and in force.
    pub(crate) fn add(&self, name: &str, password: &str) -> Result<(), Refusal> {
        let _writing = self.writing.lock();
        match self.get(name) {
            Some(_) => Err(Refusal::Existed),
            None => self.set(name, password),
        }
    }

    /// Changes a password, as [`Book::add`].
    pub(crate) fn update(&self, name: &str, password: &str) -> Result<(), Refusal> {
        let _writing = self.writing.lock();
        match self.get(name) {
            Some(_) => self.set(name, password),
            None => Err(Refusal::NoExisted),
        }
    }

    /// Takes a name away; fine when there is none.
    pub(crate) fn delete(&self, name: &str) -> Result<(), Refusal> {
        let _writing = self.writing.lock();
        self.table.delete(name.as_bytes())?;
        self.records.write().remove(name);
        Ok(())
    }

    /// From now on nothing is written, by whatever still runs.
    pub(crate) fn close(&self) {
        *self.writing.lock() = Writing::Closed;
    }

    fn set(&self, name: &str, password: &str) -> Result<(), Refusal> {
        checked_name(name).map_err(|what| Refusal::Failed(format!("the name {what}")))?;
        if password.is_empty() {
            return Err(Refusal::Failed("the password is empty".into()));
        }
        let stored = Stored::new(password.as_bytes(), self.cost, self.scram_iterations)
            .map_err(|error| Refusal::Failed(error.to_string()))?;
        self.table
            .put(name.as_bytes(), stored.encode().as_bytes())?;
        let record = Record::new(Secret::Stored(stored));
        self.records.write().insert(name.into(), record);
        Ok(())
    }

    /// Those that are not hashed yet.
    fn unsettled(&self) -> Vec<(Box<str>, Arc<Record>)> {
        let records = self.records.read();
        let given = |record: &Record| matches!(record.secret, Secret::Given(_));
        let found = records.iter().filter(|(_, record)| given(record));
        found
            .map(|(name, record)| (name.clone(), Arc::clone(record)))
            .collect()
    }

    /// Puts a hash in the place of what was given, in the table and in memory. Blocks.
    fn settle(&self, name: &str, record: &Arc<Record>) -> Result<(), String> {
        let Secret::Given(given) = &record.secret else {
            return Ok(());
        };
        let row = self.table.get(name.as_bytes()).map_err(|e| e.to_string())?;
        let text = row.and_then(|row| String::from_utf8(row).ok());
        let kept = text
            .and_then(|text| Stored::decode(&text))
            .filter(|stored| given.is_kept_by(stored, self.cost, self.scram_iterations));
        let (stored, is_new) = match kept {
            Some(stored) => (stored, false),
            None => {
                let stored = given.store(self.cost, self.scram_iterations);
                (stored.map_err(|e| e.to_string())?, true)
            }
        };
        let writing = self.writing.lock();
        // A command may have been faster.
        if *writing == Writing::Closed || !self.is_current(name, record) {
            return Ok(());
        }
        if is_new {
            let put = self.table.put(name.as_bytes(), stored.encode().as_bytes());
            put.map_err(|e| e.to_string())?;
        }
        let settled = Record::new(Secret::Stored(stored));
        // Who came in by what was given is let in by the hash without a check.
        match given.password().and_then(|password| self.mark(password)) {
            Some(mark) => settled.learn(mark, true),
            None => *settled.seen.lock() = *record.seen.lock(),
        }
        self.records.write().insert(name.into(), settled);
        Ok(())
    }
}

/// Hashes what is not hashed yet, one after the other. What cannot be written now stays in force as it was given,
/// and is taken in at the next start.
pub(crate) fn settle_in_background(book: &Arc<Book>, ctx: &Context) {
    let unsettled = book.unsettled();
    if unsettled.is_empty() {
        return;
    }
    let (book, worker) = (Arc::clone(book), ctx.clone());
    ctx.spawn(async move {
        for (name, record) in unsettled {
            let (book, of) = (Arc::clone(&book), name.clone());
            let settled = worker.blocking(move || book.settle(&of, &record)).await;
            if let Some(Err(error)) = settled {
                log::warn!("the password of {name:?} is not in the table yet: {error}");
            }
        }
        log::debug!("table {} has all that the file has", book.kind.table);
    });
}

fn secret_of(kind: &Kind, row: &[u8]) -> Secret {
    let stored = std::str::from_utf8(row).ok().and_then(Stored::decode);
    match stored {
        Some(stored) => Secret::Stored(stored),
        None => (kind.old_row)(row).map_or(Secret::Unreadable, Secret::Given),
    }
}

/// A name that can come in CONNECT, and stand on a line of its own in a list.
pub(crate) fn checked_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        Err("is empty")
    } else if name.len() > usize::from(u16::MAX) {
        Err("is longer than 65535 bytes")
    } else if name.chars().any(char::is_control) {
        Err("has control characters in it")
    } else {
        Ok(())
    }
}
