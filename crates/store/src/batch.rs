//! What is handed over to the store at once.

use crate::record::{self, put_varint, varint_len};
use crate::{OwnerId, Table};

/// Who is owed a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owed<'a> {
    /// whose
    pub owner: OwnerId,
    /// under which number; each number of an owner is used once
    pub seq: u64,
    /// bytes of one's own kept beside it, given back by [`crate::Store::load`]
    pub extra: &'a [u8],
}

/// Changes that are found after a crash all or not at all. It is filled, given to [`crate::Store::commit`],
/// and is then empty for the next use.
#[derive(Debug, Default)]
pub struct Batch {
    /// encoded records, as they go into the log
    pub(crate) bytes: Vec<u8>,
}

impl Batch {
    /// An empty one.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Whether nothing was put in.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes it takes in the log.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets what was put in.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Gives a key a value, in place of the one it had.
    pub fn put(&mut self, table: Table, key: &[u8], value: &[u8]) {
        let out = &mut self.bytes;
        let len = 5 + varint_len(key.len() as u64) + key.len() + value.len();
        out.reserve(len + 11);
        out.push(record::PUT);
        put_varint(out, len as u64);
        let at = out.len();
        out.extend_from_slice(&[0; 4]);
        out.push(table);
        put_varint(out, key.len() as u64);
        out.extend_from_slice(key);
        out.extend_from_slice(value);
        let crc = crc32fast::hash(&out[at + 4..]);
        out[at..at + 4].copy_from_slice(&crc.to_le_bytes());
    }

    /// Takes a key away, if it is there.
    pub fn delete(&mut self, table: Table, key: &[u8]) {
        self.delete_born(table, key, 0);
    }

    /// A deletion that first stood in segment `born`; 0 = it is new.
    pub(crate) fn delete_born(&mut self, table: Table, key: &[u8], born: u32) {
        let out = &mut self.bytes;
        out.push(record::DELETE);
        put_varint(out, (1 + varint_len(born.into()) + key.len()) as u64);
        out.push(table);
        put_varint(out, born.into());
        out.extend_from_slice(key);
    }

    /// An owner comes to be; nothing happens if it is there already. What is put for owners that were never
    /// begun, or have ended, is void.
    pub fn begin(&mut self, owner: OwnerId) {
        self.integers(record::BEGIN, &[owner]);
    }

    /// An owner ends for good: nothing is owed to it any more, and it has nothing in flight.
    pub fn end(&mut self, owner: OwnerId) {
        self.end_born(owner, 0);
    }

    /// An end that first stood in segment `born`; 0 = it is new.
    pub(crate) fn end_born(&mut self, owner: OwnerId, born: u32) {
        self.integers(record::END, &[owner, born.into()]);
    }

    /// A message, its bytes given in parts that are put together, `size` = its weight in the bytes owed
    /// ([`crate::OwnerState::bytes`]), and who is owed it. Owed to nobody, it is not stored.
    pub fn message(&mut self, parts: &[&[u8]], size: u32, owed: &[Owed<'_>]) {
        if owed.is_empty() {
            return;
        }
        let body: usize = parts.iter().map(|part| part.len()).sum();
        let refs: usize = owed
            .iter()
            .map(|o| {
                let extra = o.extra.len();
                varint_len(o.owner) + varint_len(o.seq) + varint_len(extra as u64) + extra
            })
            .sum();
        let len = 4 + varint_len(size.into()) + varint_len(owed.len() as u64) + refs + body;
        let out = &mut self.bytes;
        out.reserve(len + 11);
        out.push(record::MESSAGE);
        put_varint(out, len as u64);
        let at = out.len();
        out.extend_from_slice(&[0; 4]);
        put_varint(out, size.into());
        put_varint(out, owed.len() as u64);
        for o in owed {
            put_varint(out, o.owner);
            put_varint(out, o.seq);
            put_varint(out, o.extra.len() as u64);
            out.extend_from_slice(o.extra);
        }
        for part in parts {
            out.extend_from_slice(part);
        }
        let crc = crc32fast::hash(&out[at + 4..]);
        out[at..at + 4].copy_from_slice(&crc.to_le_bytes());
    }

    /// What `owner` is owed under `seq` leaves for `by` under packet identifier `id`. An entry that `by` has in
    /// flight under that identifier is replaced, and `id` is the one it used last. `size` as in
    /// [`Batch::message`]; `note` is the caller's, and comes back with [`crate::InFlight`].
    pub fn sent(&mut self, by: OwnerId, id: u16, owner: OwnerId, seq: u64, size: u32, note: u8) {
        let integers = [by, id.into(), owner, seq, size.into(), note.into()];
        self.integers(record::SENT, &integers);
    }

    /// PUBREC was seen for `id`: the message is no longer owed, the identifier stays in use.
    pub fn released(&mut self, by: OwnerId, id: u16) {
        self.integers(record::RELEASED, &[by, id.into()]);
    }

    /// The flow of `id` has ended: the identifier is free. If it was not released before, its message is no
    /// longer owed.
    pub fn completed(&mut self, by: OwnerId, id: u16) {
        self.integers(record::COMPLETED, &[by, id.into()]);
    }

    /// The identifier is free, but the message stays owed: a shared group gives it to another.
    pub fn taken_back(&mut self, by: OwnerId, id: u16) {
        self.integers(record::TAKEN_BACK, &[by, id.into()]);
    }

    /// `seq` is no longer owed to `owner`: dropped, expired, refused. Not for what is in flight. `size` as in
    /// [`Batch::message`].
    pub fn done(&mut self, owner: OwnerId, seq: u64, size: u32) {
        self.integers(record::DONE, &[owner, seq, size.into()]);
    }

    fn integers(&mut self, kind: u8, values: &[u64]) {
        let out = &mut self.bytes;
        out.push(kind);
        let at = out.len();
        // Five integers of ten bytes at most: the length always fits one byte.
        out.push(0);
        for &value in values {
            put_varint(out, value);
        }
        out[at] = (out.len() - at - 1) as u8;
    }
}
