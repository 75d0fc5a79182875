#![allow(clippy::unwrap_used)]
use super::*;
use crate::spill::{Limits, Spill};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A table in memory. It can be told to crash: nothing is written from then on.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<DiskState>>);

#[derive(Default)]
struct DiskState {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    /// writes that it takes before it crashes
    left: Option<usize>,
    writes: usize,
    /// it writes, and says that it does not
    lies: bool,
}

impl Disk {
    /// What a crash leaves, or an end without one.
    pub fn survivor(&self) -> Disk {
        let rows = self.0.lock().rows.clone();
        Disk(Arc::new(Mutex::new(DiskState {
            rows,
            ..DiskState::default()
        })))
    }

    /// It crashes after so many more writes.
    pub fn crash_after(&self, writes: usize) {
        self.0.lock().left = Some(writes);
    }

    /// As a store that takes too long: it may be written all the same.
    pub fn lies(&self, lies: bool) {
        self.0.lock().lies = lies;
    }

    /// Writes that it has taken.
    pub fn writes(&self) -> usize {
        self.0.lock().writes
    }

    /// Rows, the bounds left out.
    pub fn rows(&self) -> usize {
        let state = self.0.lock();
        state.rows.keys().filter(|key| *key != BOUNDS).count()
    }

    fn write(&self, key: &[u8], value: Option<&[u8]>) -> Result<(), HostError> {
        let mut state = self.0.lock();
        let state = &mut *state;
        match &mut state.left {
            Some(0) => return Err(HostError("crashed".into())),
            Some(left) => *left -= 1,
            None => {}
        }
        state.writes += 1;
        match value {
            Some(value) => drop(state.rows.insert(key.into(), value.into())),
            None => drop(state.rows.remove(key)),
        }
        match state.lies {
            true => Err(HostError("not on disk yet".into())),
            false => Ok(()),
        }
    }
}

impl Rows for Disk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, HostError> {
        Ok(self.0.lock().rows.get(key).cloned())
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), HostError> {
        self.write(key, Some(value))
    }

    fn delete(&self, key: &[u8]) -> Result<(), HostError> {
        self.write(key, None)
    }
}

fn row(number: u64, place: Place, texts: &[&str]) -> NewRow {
    let mut block = Block::default();
    for (lane, text) in texts.iter().enumerate() {
        block.push(Event {
            lane: lane as u64,
            at: 5,
            body: Bytes::copy_from_slice(text.as_bytes()),
        });
    }
    NewRow {
        number,
        place,
        blocks: vec![block],
    }
}

const PLACE: Place = Place {
    events: 7,
    bytes: 1000,
};

#[test]
fn rows_come_back_as_they_were() {
    let row = row(1, PLACE, &["a", "", "ccc"]);
    let bytes = row.encode();
    assert_eq!(bytes.len() as u64, row.size().bytes);
    let read = Row::decode(&bytes).unwrap();
    assert_eq!((read.place, read.size), (PLACE, row.size()));
    let bodies: Vec<(u64, &[u8])> = read.events.iter().map(|(l, b)| (*l, &b[..])).collect();
    assert_eq!(bodies, [(0, &b"a"[..]), (1, b""), (2, b"ccc")]);
    // What makes no sense is none, and nobody panics.
    for end in 0..bytes.len() {
        assert_eq!(Row::decode(&bytes[..end]), None, "{end}");
    }
    assert_eq!(Row::decode(&[&bytes[..], b"x"].concat()), None);
    for at in 0..HEAD + EVENT_HEAD {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x80;
        let _ = Row::decode(&bytes);
    }
    let mut many = bytes;
    many[HEAD - 4..HEAD].copy_from_slice(&[0xff; 4]);
    assert_eq!(Row::decode(&many), None);
}

#[test]
fn an_empty_table() {
    let disk = Disk::default();
    let (spool, left) = Spool::open(disk.clone()).unwrap();
    assert!(left.rows.is_empty() && left.void.is_empty());
    assert_eq!(spool.read(0..0).unwrap(), None);
    assert_eq!(disk.writes(), 0);
}

#[test]
fn numbers_without_rows_are_passed_over() {
    let disk = Disk::default();
    let (spool, _) = Spool::open(disk.clone()).unwrap();
    spool.reserve(FIRST, FIRST + 9).unwrap();
    assert_eq!(disk.writes(), 1);
    spool.reserve(FIRST, FIRST + 9 + AHEAD).unwrap();
    assert_eq!(disk.writes(), 1);
    let second = row(
        FIRST + 6,
        PLACE.plus(row(0, PLACE, &["a"]).size()),
        &["b", "c"],
    );
    spool.write(&row(FIRST + 3, PLACE, &["a"])).unwrap();
    spool.write(&second).unwrap();
    let (spool, left) = Spool::open(disk.survivor()).unwrap();
    assert_eq!(left.rows, FIRST + 3..FIRST + 9 + AHEAD);
    assert_eq!(left.begin, PLACE);
    assert_eq!(left.end, second.place.plus(second.size()));
    let (number, first) = spool.read(left.rows.clone()).unwrap().unwrap();
    assert_eq!((number, first.events.len()), (FIRST + 3, 1));
    let (number, _) = spool.read(number + 1..left.rows.end).unwrap().unwrap();
    assert_eq!(number, FIRST + 6);
    assert_eq!(spool.read(number + 1..left.rows.end).unwrap(), None);
    spool.delete(FIRST + 3).unwrap();
    spool.delete(FIRST + 3).unwrap();
    assert_eq!(spool.read(left.rows).unwrap().unwrap().0, FIRST + 6);
}

#[test]
fn what_is_void_counts_no_more() {
    let disk = Disk::default();
    let (spool, _) = Spool::open(disk.clone()).unwrap();
    for number in FIRST - 1..FIRST + 3 {
        spool.write(&row(number, PLACE, &["a"])).unwrap();
    }
    let bounds = Bounds {
        first: FIRST - 1,
        end: FIRST + 9,
        void: (FIRST, FIRST + 2),
    };
    spool.bound(bounds).unwrap();
    spool.bound(bounds).unwrap();
    let (spool, left) = Spool::open(disk.survivor()).unwrap();
    assert_eq!(spool.bounds(), bounds);
    assert_eq!(left.void, [FIRST, FIRST + 1]);
    assert_eq!(left.rows, FIRST - 1..FIRST + 9);
    let second = spool.read(FIRST..FIRST + 9).unwrap().unwrap();
    assert_eq!(second.0, FIRST + 2);
}

#[test]
fn garbage_is_passed_over() {
    let disk = Disk::default();
    let (spool, _) = Spool::open(disk.clone()).unwrap();
    spool.reserve(FIRST, FIRST + 3).unwrap();
    disk.put(&key(FIRST), b"garbage").unwrap();
    spool.write(&row(FIRST + 1, PLACE, &["a"])).unwrap();
    let (spool, left) = Spool::open(disk.survivor()).unwrap();
    let (number, garbage) = spool.read(left.rows.clone()).unwrap().unwrap();
    assert_eq!((number, garbage), (FIRST, Row::default()));
    assert_eq!(
        spool.read(FIRST + 1..left.rows.end).unwrap().unwrap().0,
        FIRST + 1
    );
    disk.put(BOUNDS, b"garbage").unwrap();
    assert!(Spool::open(disk.survivor()).is_err());
}

/// It may be there when it is asked for again.
#[test]
fn an_own_row_that_is_missing_is_an_error() {
    let (spool, _) = Spool::open(Disk::default()).unwrap();
    spool.write(&row(FIRST + 1, PLACE, &["b"])).unwrap();
    assert!(spool.read(FIRST..FIRST + 2).is_err());
    spool.write(&row(FIRST, PLACE, &["a"])).unwrap();
    assert_eq!(spool.read(FIRST..FIRST + 2).unwrap().unwrap().0, FIRST);
}

#[test]
fn closed_for_tasks_alone() {
    let disk = Disk::default();
    let (spool, _) = Spool::open(disk.clone()).unwrap();
    spool.close(Duration::from_secs(1));
    assert!(spool.write(&row(FIRST, PLACE, &["a"])).is_err());
    assert!(spool.reserve(FIRST, FIRST + 1).is_err());
    assert!(spool.delete(FIRST).is_err());
    assert_eq!(disk.writes(), 0);
    spool.keep(&row(FIRST, PLACE, &["a"])).unwrap();
    spool.remove(FIRST).unwrap();
    assert_eq!(disk.writes(), 2);
}

/// What takes longer is waited for no more; nothing new begins all the same.
#[test]
fn closed_while_something_is_under_way() {
    let disk = Disk::default();
    let (spool, _) = Spool::open(disk.clone()).unwrap();
    let slow = spool.open_or().unwrap();
    spool.close(Duration::from_millis(1));
    drop(slow);
    assert!(spool.write(&row(FIRST, PLACE, &["a"])).is_err());
    assert_eq!(disk.writes(), 0);
}

/// A last row that makes no sense, and what is written after it, are no reason to think that the disk is full.
#[test]
fn a_place_that_is_later_than_what_follows() {
    let zero = Place::default();
    assert_eq!(PLACE.since(zero), PLACE);
    assert_eq!(zero.since(PLACE), zero);
    // Numbers overflow.
    let early = zero.minus(PLACE);
    assert_eq!(zero.since(early), PLACE);
    let disk = Disk::default();
    let (spool, _) = Spool::open(disk.clone()).unwrap();
    spool.reserve(FIRST, FIRST + 2).unwrap();
    spool.write(&row(FIRST, PLACE, &["a"])).unwrap();
    disk.put(&key(FIRST + 1), b"garbage").unwrap();
    let (spool, left) = Spool::open(disk.survivor()).unwrap();
    let (queue, disk) = (
        Amount {
            count: 64,
            bytes: 64 << 10,
        },
        10_000,
    );
    let mut spill = Spill::new(true, Limits::new(queue, disk), left, spool.bounds().end);
    let read = spool.read(FIRST..FIRST + 2).unwrap().unwrap().1;
    spill.comes(FIRST, read.place, read.size, 1);
    spill.came();
    assert_eq!(spill.unread(), 0);
    let body = Bytes::from_static(b"b");
    let amount = Amount::of(&body);
    let event = Event {
        lane: 0,
        at: 0,
        body,
    };
    assert_eq!(spill.push(event, amount), Ok(true));
}
