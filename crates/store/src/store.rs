//! The store as its users see it.

use crate::{
    Batch, Disk, Health, Load, OpenError, Options, Page, Position, Recovered, Status, Table,
};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;

/// A log on a disk, with what is needed to find things in it. Clones are the same store.
#[derive(Clone)]
pub struct Store {
    never: Infallible,
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
        wake: Arc<dyn Fn() + Send + std::marker::Sync>,
    ) -> Result<(Store, Recovered), OpenError> {
        let _ = (options, wake);
        Err(OpenError {
            message: format!("{}: the engine comes with the next commits", disk.place()),
        })
    }

    /// Hands a batch over and empties it; the position behind it. Never waits for the disk.
    pub fn commit(&self, _batch: &mut Batch) -> Position {
        match self.never {}
    }

    /// The position behind all that was handed over.
    pub fn position(&self) -> Position {
        match self.never {}
    }

    /// Everything before this is on stable storage.
    pub fn durable(&self) -> Position {
        match self.never {}
    }

    /// Whether more can be stored.
    pub fn health(&self) -> Health {
        match self.never {}
    }

    /// What it says of itself.
    pub fn status(&self) -> Status {
        match self.never {}
    }

    /// The value of a key, of what is durable.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn get(&self, _table: Table, _key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        match self.never {}
    }

    /// All keys of a table with their values, of what is durable, in no order.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn for_each(&self, _table: Table, _f: &mut dyn FnMut(&[u8], &[u8])) -> io::Result<()> {
        match self.never {}
    }

    /// Reads back what an owner is owed; answered by a thread of the store.
    pub fn load(&self, _load: Load, _answer: Box<dyn FnOnce(Page) + Send>) {
        match self.never {}
    }

    /// Returns when everything handed over is synced and the threads have ended.
    pub fn close(&self) {
        match self.never {}
    }
}
