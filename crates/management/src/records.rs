//! Records of management in a table of the broker: all of them in memory, each change on disk before it counts.

use emqttd_broker::DurableTable;
use parking_lot::{Mutex, MutexGuard, RwLock};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::io;

/// The first byte of each value: in what form the rest is. A record of a form that this version does not know is
/// passed by.
const FORM: u8 = 1;

/// Values of one kind by their names.
pub(crate) struct Records<T> {
    table: DurableTable,
    /// `None` until they could be read
    rows: RwLock<Option<BTreeMap<String, T>>>,
    changing: Mutex<()>,
}

/// Who holds it is alone in changing records.
pub(crate) struct Changing<'a>(#[allow(dead_code)] MutexGuard<'a, ()>);

impl<T: Serialize + DeserializeOwned> Records<T> {
    /// Those in `table`, which are read with the first use.
    pub fn new(table: DurableTable) -> Records<T> {
        Records {
            table,
            rows: RwLock::new(None),
            changing: Mutex::default(),
        }
    }

    /// What `f` finds in them.
    ///
    /// # Errors
    /// When they could not be read yet.
    pub fn look<R>(&self, f: impl FnOnce(&BTreeMap<String, T>) -> R) -> io::Result<R> {
        if let Some(rows) = &*self.rows.read() {
            return Ok(f(rows));
        }
        let mut rows = self.rows.write();
        if rows.is_none() {
            *rows = Some(self.load()?);
        }
        rows.as_ref()
            .map(f)
            .ok_or_else(|| io::ErrorKind::Other.into())
    }

    fn load(&self) -> io::Result<BTreeMap<String, T>> {
        let mut rows = BTreeMap::new();
        for (key, value) in self.table.rows()? {
            let name = String::from_utf8_lossy(&key).into_owned();
            match decode(&value) {
                Some(row) => drop(rows.insert(name, row)),
                None => log::error!(
                    "a record of management is none that this version reads: {}",
                    name.escape_debug()
                ),
            }
        }
        Ok(rows)
    }

    /// Waits until nobody else changes records.
    pub fn changing(&self) -> Changing<'_> {
        Changing(self.changing.lock())
    }

    /// Sets a record; when this returns it is on disk and can be found.
    ///
    /// # Errors
    /// The store does not take it. What is in memory stays as it was.
    pub fn put(&self, _held: &Changing<'_>, name: &str, row: T) -> io::Result<()> {
        self.look(|_| ())?;
        let value = encode(&row)?;
        self.table.put(name.as_bytes(), &value).map_err(explained)?;
        if let Some(rows) = &mut *self.rows.write() {
            rows.insert(name.into(), row);
        }
        Ok(())
    }

    /// Takes a record away.
    ///
    /// # Errors
    /// As [`Records::put`].
    pub fn delete(&self, _held: &Changing<'_>, name: &str) -> io::Result<()> {
        self.look(|_| ())?;
        self.table.delete(name.as_bytes()).map_err(explained)?;
        if let Some(rows) = &mut *self.rows.write() {
            rows.remove(name);
        }
        Ok(())
    }
}

/// With what can be done about it.
fn explained(error: io::Error) -> io::Error {
    let text = error.to_string();
    io::Error::other(format!(
        "{}: see `emqttd_ctl store` and the alarms, and try again when the disk has room and works",
        text.trim_end_matches([' ', ':'])
    ))
}

fn encode(row: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut value = vec![FORM];
    serde_json::to_writer(&mut value, row)?;
    Ok(value)
}

fn decode<T: DeserializeOwned>(value: &[u8]) -> Option<T> {
    let (form, rest) = value.split_first()?;
    (*form == FORM).then(|| serde_json::from_slice(rest).ok())?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::Site;

    #[test]
    fn a_record_lasts_and_a_strange_one_is_passed_by() {
        let site = Site::new();
        let records = Records::<u32>::new(site.core.broker.table("management/test"));
        let held = records.changing();
        records.put(&held, "a", 1).unwrap();
        records.put(&held, "b", 2).unwrap();
        records.delete(&held, "a").unwrap();
        drop(held);
        let table = site.core.broker.table("management/test");
        table.put(b"c", b"\x02{}").unwrap();
        table.put(b"d", b"").unwrap();
        let again = Records::<u32>::new(table);
        let found = again.look(|rows| rows.clone().into_iter().collect::<Vec<_>>());
        assert_eq!(found.unwrap(), [("b".to_string(), 2)]);
    }
}
