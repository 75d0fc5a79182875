//! The store as its users see it.

use crate::committer::{Committer, Open, Step};
use crate::disk::Disk;
use crate::keeper::{self, SPARE};
use crate::reader::{Question, Wanted};
use crate::recover::recover;
use crate::shared::Shared;
use crate::{Batch, Health, Load, OpenError, Options, Page, Position, Recovered, Status, Table};
use crate::{OwnerState, Values, reader};
use parking_lot::Mutex;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

/// A log on a disk, with what is needed to find things in it. Clones are the same store; with the last of them
/// it is closed.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    threads: Arc<Threads>,
}

/// The committer first: it is closed while the others still work.
struct Threads {
    shared: Arc<Shared>,
    running: Mutex<Vec<JoinHandle<()>>>,
}

impl Store {
    /// Opens a store, or makes one in an empty directory.
    ///
    /// `wake` is called by the thread that writes, after each advance of [`Store::durable`] and each change of
    /// [`Store::health`]: it must be cheap and never block.
    ///
    /// # Errors
    /// When the directory cannot be read or written, or holds files of a later version.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: Options,
        wake: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<(Store, Recovered), OpenError> {
        let (store, engine, recovered) = Engine::open(disk, options, wake)?;
        let committer = engine.committer;
        let shared = Arc::clone(&store.shared);
        store.spawn("store", move || {
            if catch_unwind(AssertUnwindSafe(|| committer.run())).is_err() {
                // Nothing becomes durable any more, and everybody must know.
                shared.fails(
                    &io::Error::other("its thread has panicked"),
                    "the log is not written",
                );
            }
        })?;
        let shared = Arc::clone(&store.shared);
        store.spawn("store-keep", move || keeper::run(&shared))?;
        let shared = Arc::clone(&store.shared);
        store.spawn("store-read", move || reader::run(&shared))?;
        Ok((store, recovered))
    }

    fn spawn(&self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), OpenError> {
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(run)
            .map_err(|e| OpenError {
                message: format!("a thread of the store cannot be started: {e}"),
            })?;
        self.threads.running.lock().push(thread);
        Ok(())
    }

    /// Hands a batch over and empties it; the position behind it. Never waits for the disk.
    pub fn commit(&self, batch: &mut Batch) -> Position {
        self.shared.commit(batch)
    }

    /// The position behind all that was handed over.
    pub fn position(&self) -> Position {
        self.shared.position.load(Ordering::Acquire)
    }

    /// Everything before this is on stable storage.
    pub fn durable(&self) -> Position {
        self.shared.durable.load(Ordering::Acquire)
    }

    /// Whether more can be stored.
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// What it says of itself.
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Bytes of memory by which it finds things; they grow with owners and keys, not with messages on disk.
    pub fn memory(&self) -> usize {
        self.shared.index.lock().memory()
    }

    /// The value of a key, of what is durable.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn get(&self, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        reader::get(&self.shared, table, key)
    }

    /// All keys of a table with their values, of what is durable, in no order. What is put and deleted meanwhile
    /// may or may not be among them.
    ///
    /// # Errors
    /// When one cannot be read; `f` was called for those before it.
    pub fn for_each(&self, table: Table, f: &mut dyn FnMut(&[u8], &[u8])) -> io::Result<()> {
        reader::for_each(&self.shared, table, f)
    }

    /// Reads back what an owner is owed; answered by a thread of the store.
    pub fn load(&self, load: Load, answer: Box<dyn FnOnce(Page) + Send>) {
        let question = Question::Page(load, answer);
        self.shared
            .questions
            .ask(&self.shared, load.after, question);
    }

    /// Reads values of keys, `None` for one that is not there or cannot be read; answered by a thread of the
    /// store once everything before `after` can be read. When they are more than `most_bytes` the last ones are
    /// missing, but never the first.
    pub fn values(
        &self,
        table: Table,
        keys: Vec<Vec<u8>>,
        most_bytes: usize,
        after: Position,
        answer: Box<dyn FnOnce(Values) + Send>,
    ) {
        let wanted = Wanted {
            table,
            keys,
            most_bytes,
        };
        let question = Question::Values(wanted, answer);
        self.shared.questions.ask(&self.shared, after, question);
    }

    /// Returns when everything handed over is synced (or the disk fails) and the threads have ended. What is
    /// handed over later is lost.
    pub fn close(&self) {
        self.threads.close();
    }

    /// What the other parts of the crate work on.
    #[allow(dead_code)]
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl Threads {
    fn close(&self) {
        let mut running = self.running.lock();
        for (i, thread) in running.drain(..).enumerate() {
            match i {
                0 => {
                    let mut pending = self.shared.pending.lock();
                    pending.closing = true;
                    drop(pending);
                    self.shared.arrived.notify_one();
                }
                1 => self.shared.chores.close(),
                _ => self.shared.questions.close(),
            }
            // The last clone may be dropped by an answer, on the thread of the reader itself.
            if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
                log::error!("store: a thread has panicked");
            }
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.close();
    }
}

/// The store without threads: it works when told to. For tests that must see every order of things.
pub(crate) struct Engine {
    shared: Arc<Shared>,
    committer: Committer,
}

#[allow(dead_code)]
impl Engine {
    /// As [`Store::open`]; nothing happens but in [`Engine::step`].
    pub fn open(
        disk: Arc<dyn Disk>,
        options: Options,
        wake: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<(Store, Engine, Recovered), OpenError> {
        let found = recover(&*disk, &options)?;
        let recovered = Recovered {
            owners: found.index.owners.iter().map(|o| o.state()).collect(),
            next_owner: found.index.next_owner,
            reports: found.reports,
        };
        for report in &recovered.reports {
            log::warn!("store: {report}");
        }
        let shared = Arc::new(Shared::new(
            disk,
            options,
            wake,
            found.index,
            found.position,
        ));
        discard_spares(&shared);
        for build in found.builds {
            shared.chores.build(build);
        }
        shared.count_space();
        let open = Open {
            number: found.number,
            file: found.file,
            capacity: found.capacity,
            end: found.end,
        };
        let committer = Committer::new(Arc::clone(&shared), open, found.next_number);
        let threads = Arc::new(Threads {
            shared: Arc::clone(&shared),
            running: Mutex::default(),
        });
        let store = Store {
            shared: Arc::clone(&shared),
            threads,
        };
        Ok((store, Engine { shared, committer }, recovered))
    }

    /// One step of the committer or the keeper; `false` when there is nothing to do. A step on a failing disk is
    /// work that is not done.
    pub fn step(&mut self) -> bool {
        let worked = matches!(self.committer.step(), Step::Worked | Step::Failed);
        if !worked {
            self.shared.chores.retry(&self.shared);
        }
        worked || keeper::step(&self.shared)
    }

    /// All owners as they are now.
    pub fn owners(&self) -> Vec<OwnerState> {
        self.shared
            .index
            .lock()
            .owners
            .iter()
            .map(|o| o.state())
            .collect()
    }

    /// A page, at once.
    pub fn load(&self, load: &Load) -> Page {
        reader::load(&self.shared, load)
    }
}

/// Files that were in reserve are not used again.
fn discard_spares(shared: &Shared) {
    let Ok(entries) = shared.disk.list() else {
        return;
    };
    for entry in entries.iter().filter(|e| e.name.starts_with(SPARE)) {
        shared.chores.discard(shared, &entry.name);
    }
}

#[cfg(test)]
mod tests;
