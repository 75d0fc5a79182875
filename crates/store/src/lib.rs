//! Durable messages, records and tables: one log, written by one thread that syncs for many at once.
//!
//! Who wants something to last puts it into a [`Batch`] and hands that over with [`Store::commit`], which
//! returns the position behind it. Once [`Store::durable`] has reached that position the batch is on stable
//! storage, whole: a batch is never found in parts after a crash. The store knows nothing of MQTT: bodies,
//! keys and values are bytes.
//!
//! *Owners* (sessions, shared groups) are *owed* messages. A message lies in the log once, with the list of
//! those who are owed it, each under a number of its own sequence (`seq`: 1, 2, 3, ... for each owner). What
//! an owner is owed is read back page by page with [`Store::load`]; nothing of it is held in memory.

pub mod backup;
mod batch;
mod cleaner;
mod committer;
mod disk;
mod flights;
mod frame;
mod idx;
mod index;
mod keeper;
mod keys;
mod latency;
mod options;
mod owners;
mod page;
mod ranges;
mod reader;
mod record;
mod recover;
mod recovery;
mod refs;
mod segment;
mod shared;
mod status;
mod store;
#[cfg(any(test, feature = "sim"))]
pub mod sweep;
mod void;

pub use batch::{Batch, Owed};
#[cfg(any(test, feature = "sim"))]
pub use disk::sim;
pub use disk::{Directory, Disk, DiskFile, Entry};
pub use options::{Options, Sync};
pub use page::{Load, Loaded, Page};
pub use recovery::{InFlight, OpenError, OwnerState, Recovered};
pub use status::{Health, Status};
pub use store::Store;

/// Number of an owner. Never 0, and never given out twice.
pub type OwnerId = u64;

/// A place in the log: everything before it was handed over earlier.
pub type Position = u64;

/// Number of a table of keys and values.
pub type Table = u8;

/// Values of keys, in the order of the keys; `None` for one that is not there or cannot be read.
pub type Values = Vec<Option<Vec<u8>>>;
