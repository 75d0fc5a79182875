//! What scripts keep between calls: keys and values in memory, shared by all scripts, bounded in bytes.

use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest key, bytes.
pub(crate) const MAX_KEY: usize = 4096;
/// What an entry costs beside key and value: its place in the table, which may be half empty, and its allocations.
const ENTRY: usize = 224;
/// What its expiry costs.
const EXPIRY: usize = 96;
/// Expired entries that one call removes, when it needs room and when it does not.
const SWEEP: (usize, usize) = (4096, 4);

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// bytes; shared, so that a long one is not copied under the lock
    Text(Arc<[u8]>),
    /// a number
    Number(f64),
    /// a boolean
    Boolean(bool),
}

impl Value {
    fn bytes(&self) -> usize {
        match self {
            Value::Text(text) => text.len(),
            Value::Number(_) | Value::Boolean(_) => 0,
        }
    }
}

/// Why a value was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// there is no room for it
    Full,
    /// the key has a value that cannot be counted
    NotANumber,
}

impl Refused {
    /// What scripts are told.
    pub fn word(self) -> &'static str {
        match self {
            Refused::Full => "full",
            Refused::NotANumber => "not a number",
        }
    }
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Figures {
    /// entries
    pub entries: usize,
    /// bytes they are counted as
    pub bytes: usize,
    /// most bytes
    pub max_bytes: usize,
}

/// The keys and values. Time is passed in and must not run backwards.
pub(crate) struct Kv {
    table: Mutex<Table>,
    max_bytes: usize,
}

#[derive(Default)]
struct Table {
    entries: HashMap<Arc<[u8]>, Entry>,
    /// Those that expire, the next one first; the number tells apart what expires at one moment. An entry with an
    /// expiry is here exactly once.
    expiries: BTreeMap<(Instant, u64), Arc<[u8]>>,
    /// number of the next expiry
    next: u64,
    bytes: usize,
}

struct Entry {
    value: Value,
    expiry: Option<(Instant, u64)>,
}

impl Kv {
    /// Nothing yet; takes so many bytes.
    pub fn new(max_bytes: usize) -> Kv {
        Kv {
            table: Mutex::default(),
            max_bytes,
        }
    }

    /// The value of a key that has not expired.
    pub fn get(&self, key: &[u8], now: Instant) -> Option<Value> {
        let table = self.table.lock();
        let entry = table.entries.get(key).filter(|entry| entry.lives(now))?;
        Some(entry.value.clone())
    }

    /// Sets a key, for a time or for good.
    ///
    /// # Errors
    /// [`Refused::Full`]; then the key has the value that it had.
    pub fn set(
        &self,
        key: &[u8],
        value: Value,
        life: Option<Duration>,
        now: Instant,
    ) -> Result<(), Refused> {
        let mut table = self.table.lock();
        self.put(&mut table, key, value, life, now)
    }

    /// Removes a key, and says whether it was there.
    pub fn delete(&self, key: &[u8], now: Instant) -> bool {
        let removed = self.table.lock().remove(key);
        removed.is_some_and(|entry| entry.lives(now))
    }

    /// Adds to a number and returns it. A key that is not there counts from 0, and `life` is for it alone: one that
    /// is there keeps its expiry.
    ///
    /// # Errors
    /// When the key has another kind of value, or there is no room; then nothing has changed.
    pub fn incr(
        &self,
        key: &[u8],
        by: f64,
        life: Option<Duration>,
        now: Instant,
    ) -> Result<f64, Refused> {
        let mut table = self.table.lock();
        if let Some(entry) = table.entries.get_mut(key).filter(|entry| entry.lives(now)) {
            let Value::Number(number) = &mut entry.value else {
                return Err(Refused::NotANumber);
            };
            *number += by;
            return Ok(*number);
        }
        self.put(&mut table, key, Value::Number(by), life, now)?;
        Ok(by)
    }

    /// What there is, without what has expired.
    pub fn figures(&self, now: Instant) -> Figures {
        // In steps: event loops wait for this lock.
        while self.table.lock().sweep(now, SWEEP.0) == SWEEP.0 {}
        let table = self.table.lock();
        Figures {
            entries: table.entries.len(),
            bytes: table.bytes,
            max_bytes: self.max_bytes,
        }
    }

    fn put(
        &self,
        table: &mut Table,
        key: &[u8],
        value: Value,
        life: Option<Duration>,
        now: Instant,
    ) -> Result<(), Refused> {
        table.sweep(now, SWEEP.1);
        // A moment that is too far away for the clock never comes.
        let expires = life.and_then(|life| now.checked_add(life));
        let bytes = cost(key, &value, expires.is_some());
        let room = |table: &Table| {
            let before = table.entries.get(key);
            let freed = before.map_or(0, |entry| cost(key, &entry.value, entry.expiry.is_some()));
            table.bytes - freed + bytes <= self.max_bytes
        };
        let mut left = SWEEP.0;
        while !room(table) {
            if left == 0 || table.sweep(now, 1) == 0 {
                return Err(Refused::Full);
            }
            left -= 1;
        }
        table.remove(key);
        table.insert(key, value, expires);
        Ok(())
    }
}

impl Entry {
    fn lives(&self, now: Instant) -> bool {
        self.expiry.is_none_or(|(at, _)| now < at)
    }
}

impl Table {
    fn insert(&mut self, key: &[u8], value: Value, expires: Option<Instant>) {
        self.bytes += cost(key, &value, expires.is_some());
        let key: Arc<[u8]> = key.into();
        let expiry = expires.map(|at| (at, self.next));
        if let Some(expiry) = expiry {
            self.next += 1;
            self.expiries.insert(expiry, Arc::clone(&key));
        }
        self.entries.insert(key, Entry { value, expiry });
    }

    fn remove(&mut self, key: &[u8]) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        if let Some(expiry) = &entry.expiry {
            self.expiries.remove(expiry);
        }
        self.bytes -= cost(key, &entry.value, entry.expiry.is_some());
        Some(entry)
    }

    /// Removes up to `most` entries that have expired, and says how many.
    fn sweep(&mut self, now: Instant, most: usize) -> usize {
        let mut swept = 0;
        while swept < most {
            let Some(first) = self.expiries.first_entry() else {
                break;
            };
            if first.key().0 > now {
                break;
            }
            let key = Arc::clone(first.get());
            self.remove(&key);
            swept += 1;
        }
        swept
    }
}

/// The bytes an entry is counted as.
fn cost(key: &[u8], value: &Value, expires: bool) -> usize {
    ENTRY + key.len() + value.bytes() + if expires { EXPIRY } else { 0 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn text(text: &str) -> Value {
        Value::Text(text.as_bytes().into())
    }

    fn bytes(kv: &Kv, now: Instant) -> (usize, usize) {
        let figures = kv.figures(now);
        (figures.entries, figures.bytes)
    }

    #[test]
    fn values_are_found_again() {
        let (kv, now) = (Kv::new(10_000), Instant::now());
        assert_eq!(kv.get(b"a", now), None);
        for value in [text("x\0\u{ff}"), Value::Number(1.5), Value::Boolean(false)] {
            kv.set(b"a", value.clone(), None, now).unwrap();
            assert_eq!(kv.get(b"a", now), Some(value));
        }
        assert_eq!(kv.get(b"A", now), None);
        assert!(kv.delete(b"a", now));
        assert!(!kv.delete(b"a", now));
        assert_eq!(bytes(&kv, now), (0, 0));
    }

    #[test]
    fn a_value_expires() {
        let (kv, now) = (Kv::new(10_000), Instant::now());
        kv.set(b"a", text("x"), Some(2 * SECOND), now).unwrap();
        assert_eq!(kv.get(b"a", now + SECOND), Some(text("x")));
        assert_eq!(kv.get(b"a", now + 2 * SECOND), None);
        assert!(!kv.delete(b"a", now + 2 * SECOND));
        // set again without a time it stays
        kv.set(b"a", text("x"), Some(SECOND), now).unwrap();
        kv.set(b"a", text("y"), None, now).unwrap();
        assert_eq!(kv.get(b"a", now + 9 * SECOND), Some(text("y")));
        assert_eq!(bytes(&kv, now + 9 * SECOND), (1, ENTRY + 2));
        // a time beyond the clock's is for ever
        kv.set(b"b", text(""), Some(Duration::MAX), now).unwrap();
        assert_eq!(kv.get(b"b", now), Some(text("")));
    }

    #[test]
    fn a_counter_counts_in_its_window() {
        let (kv, now) = (Kv::new(10_000), Instant::now());
        assert_eq!(kv.incr(b"n", 1.0, Some(SECOND), now), Ok(1.0));
        assert_eq!(kv.incr(b"n", 2.5, Some(9 * SECOND), now), Ok(3.5));
        assert_eq!(kv.incr(b"n", 1.0, None, now + SECOND), Ok(1.0));
        assert_eq!(kv.get(b"n", now + 99 * SECOND), Some(Value::Number(1.0)));
        kv.set(b"n", text("7"), None, now).unwrap();
        assert_eq!(kv.incr(b"n", 1.0, None, now), Err(Refused::NotANumber));
        assert_eq!(kv.get(b"n", now), Some(text("7")));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (kv, now) = (Kv::new(2 * (ENTRY + 10)), Instant::now());
        kv.set(b"a", text("123456789"), None, now).unwrap();
        kv.set(b"b", text("123456789"), None, now).unwrap();
        assert_eq!(kv.set(b"c", text(""), None, now), Err(Refused::Full));
        assert_eq!(kv.incr(b"c", 1.0, None, now), Err(Refused::Full));
        // the old value makes room for the new one, and stays when that is not enough
        kv.set(b"a", text("abcdefghi"), None, now).unwrap();
        assert_eq!(
            kv.set(b"a", text("abcdefghij"), None, now),
            Err(Refused::Full)
        );
        assert_eq!(kv.get(b"a", now), Some(text("abcdefghi")));
        assert!(kv.delete(b"b", now));
        kv.set(b"c", text(""), None, now).unwrap();
    }

    #[test]
    fn the_expired_make_room() {
        let (kv, now) = (Kv::new(100 * (ENTRY + EXPIRY + 2)), Instant::now());
        for n in 0..100_u8 {
            let life = if n % 2 == 0 { SECOND } else { 5 * SECOND };
            kv.set(&[n, n], Value::Boolean(true), Some(life), now)
                .unwrap();
        }
        let value = || Value::Text(vec![0; 40 * ENTRY].into());
        assert_eq!(kv.set(b"large", value(), None, now), Err(Refused::Full));
        kv.set(b"large", value(), None, now + SECOND).unwrap();
        assert!(kv.get(&[1, 1], now + SECOND).is_some());
        assert_eq!(kv.get(&[2, 2], now + SECOND), None);
        // a value that can never fit removes nothing that lives
        let huge = Value::Text(vec![0; 1_000_000].into());
        assert_eq!(
            kv.set(b"huge", huge, None, now + SECOND),
            Err(Refused::Full)
        );
        assert_eq!(kv.figures(now + SECOND).entries, 51);
        assert_eq!(kv.figures(now + 5 * SECOND).entries, 1);
    }

    #[test]
    fn counted_bytes_are_those_of_what_is_there() {
        let kv = Kv::new(50_000);
        let start = Instant::now();
        let mut seed = 7_u64;
        for step in 0..20_000_u32 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let now = start + Duration::from_millis(u64::from(step));
            let key = [(seed >> 40) as u8];
            let life = ((seed >> 50) & 1 == 1).then(|| Duration::from_millis(seed >> 54));
            let text = Value::Text(vec![0; (seed >> 56) as usize].into());
            match (seed >> 33) & 3 {
                0 => drop(kv.delete(&key, now)),
                1 => drop(kv.incr(&key, 1.0, life, now)),
                _ => drop(kv.set(&key, text, life, now)),
            }
            let table = kv.table.lock();
            assert!(table.bytes <= 50_000);
            let expiring = table
                .entries
                .values()
                .filter(|e| e.expiry.is_some())
                .count();
            assert_eq!(table.expiries.len(), expiring);
        }
        let table = kv.table.lock();
        let sum: usize = table
            .entries
            .iter()
            .map(|(key, entry)| cost(key, &entry.value, entry.expiry.is_some()))
            .sum();
        assert!(sum > 0);
        assert_eq!(table.bytes, sum);
    }
}
