//! Events on disk: rows of a table of the broker's store.
//!
//! A row has a number and holds events in their order; rows with higher numbers hold later ones. The row `bounds` says
//! between which numbers there are any; a number in between may be without its row. So no crash between two writes
//! loses or disorders anything: rows are written and deleted in any order, and none is outside of the bounds.
//!
//! Every call blocks: none is made on an event loop, nor on the threads that poll tasks.

use crate::event::Event;
use crate::lanes::Amount;
use bytes::Bytes;
use emqttd_plugin_sdk::{HostError, Table};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Number of the first row ever. There are numbers before it, too: [`Bounds::first`] can become smaller.
const FIRST: u64 = 1 << 32;
/// Numbers that the bounds reserve ahead.
const AHEAD: u64 = 1024;
/// Key of the bounds.
const BOUNDS: &[u8] = b"bounds";
/// Before the events of a row: format, place, number of events.
const HEAD: usize = 2 + 16 + 4;
const FORMAT: [u8; 2] = *b"W1";
/// Before the body of an event: lane, length.
const EVENT_HEAD: usize = 8 + 4;

/// A place in the sequence of all that has ever been on disk, as what is before it. Only differences count; they are
/// right also where the numbers overflow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub events: u64,
    /// bytes of rows
    pub bytes: u64,
}

impl Place {
    pub fn plus(self, other: Place) -> Place {
        Place {
            events: self.events.wrapping_add(other.events),
            bytes: self.bytes.wrapping_add(other.bytes),
        }
    }

    /// What lies between an earlier place and this one. Nothing, where the other is later: after a row that makes no
    /// sense it can be.
    pub fn since(self, other: Place) -> Place {
        let forward = |a: u64, b: u64| match a.wrapping_sub(b) {
            between if between > u64::MAX / 2 => 0,
            between => between,
        };
        Place {
            events: forward(self.events, other.events),
            bytes: forward(self.bytes, other.bytes),
        }
    }

    pub fn minus(self, other: Place) -> Place {
        Place {
            events: self.events.wrapping_sub(other.events),
            bytes: self.bytes.wrapping_sub(other.bytes),
        }
    }
}

/// Events that go to disk together.
#[derive(Debug, Default)]
pub(crate) struct Block {
    pub events: Vec<Event>,
    pub amount: Amount,
}

impl Block {
    pub fn push(&mut self, event: Event) {
        self.amount += Amount::of(&event.body);
        self.events.push(event);
    }
}

/// A row that is to be written.
#[derive(Debug)]
pub(crate) struct NewRow {
    pub number: u64,
    pub place: Place,
    pub blocks: Vec<Block>,
}

impl NewRow {
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.blocks.iter().flat_map(|block| &block.events)
    }

    /// What it takes in memory.
    pub fn amount(&self) -> Amount {
        let each = self.blocks.iter().map(|block| block.amount);
        each.fold(Amount::default(), |sum, amount| sum + amount)
    }

    /// What it takes on disk.
    pub fn size(&self) -> Place {
        let mut size = Place {
            events: 0,
            bytes: HEAD as u64,
        };
        for event in self.events() {
            size.events += 1;
            size.bytes += on_disk(&event.body);
        }
        size
    }

    fn encode(&self) -> Vec<u8> {
        let size = self.size();
        let mut out = Vec::with_capacity(size.bytes as usize);
        out.extend_from_slice(&FORMAT);
        out.extend_from_slice(&self.place.events.to_be_bytes());
        out.extend_from_slice(&self.place.bytes.to_be_bytes());
        // Both numbers are far smaller: no event is longer than a MQTT packet with escapes, no row has so many.
        out.extend_from_slice(&(size.events as u32).to_be_bytes());
        for event in self.events() {
            out.extend_from_slice(&event.lane.to_be_bytes());
            out.extend_from_slice(&(event.body.len() as u32).to_be_bytes());
            out.extend_from_slice(&event.body);
        }
        out
    }
}

/// What an event takes on disk.
pub(crate) fn on_disk(body: &Bytes) -> u64 {
    (EVENT_HEAD + body.len()) as u64
}

/// A row as it was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub place: Place,
    pub size: Place,
    /// lane and body of each event
    pub events: Vec<(u64, Bytes)>,
}

impl Row {
    fn decode(bytes: &[u8]) -> Option<Row> {
        let (place, count) = head(bytes)?;
        let mut rest = &bytes[HEAD..];
        let mut events = Vec::with_capacity(count.min(rest.len() / EVENT_HEAD));
        for _ in 0..count {
            let lane = u64::from_be_bytes(*rest.first_chunk()?);
            let length = u32::from_be_bytes(*rest[8..].first_chunk()?) as usize;
            let body = rest[EVENT_HEAD..].get(..length)?;
            // Each has memory of its own: one event of a row does not keep all of it.
            events.push((lane, Bytes::copy_from_slice(body)));
            rest = &rest[EVENT_HEAD + length..];
        }
        let size = Place {
            events: count as u64,
            bytes: bytes.len() as u64,
        };
        rest.is_empty().then_some(Row {
            place,
            size,
            events,
        })
    }
}

/// Place and number of events of a row.
fn head(bytes: &[u8]) -> Option<(Place, usize)> {
    let rest = bytes.strip_prefix(&FORMAT)?;
    let place = Place {
        events: u64::from_be_bytes(*rest.first_chunk()?),
        bytes: u64::from_be_bytes(*rest.get(8..)?.first_chunk()?),
    };
    let count = u32::from_be_bytes(*rest.get(16..)?.first_chunk()?);
    Some((place, count as usize))
}

/// Between which numbers there are rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// none before this
    pub first: u64,
    /// none from this on
    pub end: u64,
    /// what these hold is in other rows, too; a number may be in no range
    pub void: (u64, u64),
}

impl Bounds {
    fn encode(self) -> Vec<u8> {
        let numbers = [self.first, self.end, self.void.0, self.void.1];
        numbers.iter().flat_map(|n| n.to_be_bytes()).collect()
    }

    fn decode(bytes: &[u8]) -> Option<Bounds> {
        let number = |at: usize| {
            let bytes = bytes.get(8 * at..)?.first_chunk()?;
            Some(u64::from_be_bytes(*bytes))
        };
        Some(Bounds {
            first: number(0)?,
            end: number(1)?,
            void: (number(2)?, number(3)?),
        })
    }
}

/// What an earlier run has left.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// numbers of the rows
    pub rows: Range<u64>,
    /// where the first of them begins
    pub begin: Place,
    /// where the last of them ends
    pub end: Place,
    /// numbers of rows that are of no use
    pub void: Vec<u64>,
}

/// Where rows are; a crash leaves those that were durable.
pub(crate) trait Rows: Send + Sync {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, HostError>;
    /// durable on return, and what `get` finds
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), HostError>;
    /// the same
    fn delete(&self, key: &[u8]) -> Result<(), HostError>;
}

impl Rows for Table {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, HostError> {
        Table::get(self, key)
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), HostError> {
        Table::put(self, key, value)
    }

    fn delete(&self, key: &[u8]) -> Result<(), HostError> {
        Table::delete(self, key)
    }
}

/// The table.
pub(crate) struct Spool {
    table: Box<dyn Rows>,
    /// this run has written the rows from this number on
    ours: u64,
    /// this run has written anything
    touched: AtomicBool,
    bounds: Mutex<Bounds>,
    /// the plugin ends, and what tasks still do is no longer wanted
    closed: AtomicBool,
    /// read-locked by who is writing; `closed` is looked at inside
    under_way: RwLock<()>,
}

fn key(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

impl Spool {
    /// Looks what there is.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open(table: impl Rows + 'static) -> Result<(Spool, Left), HostError> {
        let found = table.get(BOUNDS)?;
        let bounds = match found.as_deref().map(Bounds::decode) {
            Some(Some(bounds)) => bounds,
            None => Bounds {
                first: FIRST,
                end: FIRST,
                void: (FIRST, FIRST),
            },
            Some(None) => return Err(HostError("its bounds make no sense".into())),
        };
        let spool = Spool {
            table: Box::new(table),
            ours: bounds.end,
            touched: AtomicBool::new(false),
            bounds: Mutex::new(bounds),
            closed: AtomicBool::new(false),
            under_way: RwLock::new(()),
        };
        let left = spool.look(bounds)?;
        Ok((spool, left))
    }

    fn look(&self, bounds: Bounds) -> Result<Left, HostError> {
        let Bounds { first, end, void } = bounds;
        let void = void.0.max(first)..void.1.min(end);
        let live = |number: &u64| !void.contains(number);
        let mut left = Left {
            rows: end..end,
            ..Left::default()
        };
        for number in (first..end).filter(live) {
            let Some(row) = self.table.get(&key(number))? else {
                continue;
            };
            left.rows.start = number;
            left.begin = head(&row).map_or(Place::default(), |(place, _)| place);
            left.end = left.begin;
            break;
        }
        for number in left.rows.clone().rev().filter(live) {
            let Some(row) = self.table.get(&key(number))? else {
                continue;
            };
            if let Some((place, count)) = head(&row) {
                left.end = place.plus(Place {
                    events: count as u64,
                    bytes: row.len() as u64,
                });
            }
            break;
        }
        for number in void {
            if self.table.get(&key(number))?.is_some() {
                left.void.push(number);
            }
        }
        Ok(left)
    }

    /// Shuts it for all but [`Spool::keep`], and waits for what is under way; so long at the most.
    pub fn close(&self, patience: Duration) {
        self.closed.store(true, Ordering::SeqCst);
        drop(self.under_way.try_write_for(patience));
    }

    fn open_or(&self) -> Result<RwLockReadGuard<'_, ()>, HostError> {
        let under_way = self.under_way.read();
        match self.closed.load(Ordering::SeqCst) {
            false => Ok(under_way),
            true => Err(HostError("the plugin ends".into())),
        }
    }

    /// Makes sure that rows up to `end` are within the bounds, and `first` is.
    ///
    /// # Errors
    /// When the store cannot take it now.
    pub fn reserve(&self, first: u64, end: u64) -> Result<(), HostError> {
        let _open = self.open_or()?;
        let mut bounds = self.bounds.lock();
        if end <= bounds.end {
            return Ok(());
        }
        let wanted = Bounds {
            first,
            end: end + AHEAD,
            ..*bounds
        };
        self.touched.store(true, Ordering::Relaxed);
        self.table.put(BOUNDS, &wanted.encode())?;
        *bounds = wanted;
        Ok(())
    }

    /// Writes a row.
    ///
    /// # Errors
    /// When the store cannot take it now; it may be there all the same.
    pub fn write(&self, row: &NewRow) -> Result<(), HostError> {
        let _open = self.open_or()?;
        self.keep(row)
    }

    /// Deletes a row.
    ///
    /// # Errors
    /// When the store cannot take it now.
    pub fn delete(&self, number: u64) -> Result<(), HostError> {
        let _open = self.open_or()?;
        self.remove(number)
    }

    /// The first row of these, with its number. One that makes no sense is without events. From this run's own, which
    /// are all written before they are read, none may be missing.
    ///
    /// # Errors
    /// When the disk cannot be read now.
    pub fn read(&self, numbers: Range<u64>) -> Result<Option<(u64, Row)>, HostError> {
        let void = self.bounds.lock().void;
        for number in numbers {
            if (void.0..void.1).contains(&number) {
                continue;
            }
            let bytes = match self.table.get(&key(number))? {
                Some(bytes) => bytes,
                None if number < self.ours => continue,
                None => return Err(HostError("what was written cannot be found".into())),
            };
            let row = Row::decode(&bytes).unwrap_or_else(|| {
                log::error!("emq_web_hook: events on disk cannot be read: a row makes no sense");
                Row {
                    place: head(&bytes).unwrap_or_default().0,
                    ..Row::default()
                }
            });
            return Ok(Some((number, row)));
        }
        Ok(None)
    }

    /// [`Spool::write`], also when it is closed.
    pub fn keep(&self, row: &NewRow) -> Result<(), HostError> {
        self.table.put(&key(row.number), &row.encode())
    }

    /// [`Spool::delete`], also when it is closed.
    pub fn remove(&self, number: u64) -> Result<(), HostError> {
        self.touched.store(true, Ordering::Relaxed);
        self.table.delete(&key(number))
    }

    /// Whether this run has written anything.
    pub fn touched(&self) -> bool {
        self.touched.load(Ordering::Relaxed)
    }

    /// The bounds as they are on disk.
    pub fn bounds(&self) -> Bounds {
        *self.bounds.lock()
    }

    /// Sets them, also when it is closed.
    ///
    /// # Errors
    /// When the store cannot take it now.
    pub fn bound(&self, wanted: Bounds) -> Result<(), HostError> {
        let mut bounds = self.bounds.lock();
        self.table.put(BOUNDS, &wanted.encode())?;
        *bounds = wanted;
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
