//! The records the log is made of, and how they lie on disk.
//!
//! Each is `kind: u8, length: varint, payload`; a reader passes over kinds it does not know. Integers are
//! LEB128 varints unless said otherwise. What a record means is told at [`Record`]; in which order records
//! take effect is the order of the log.

use crate::{OwnerId, Table};

/// says nothing, and is passed over
pub(crate) const NOTHING: u8 = 0;
pub(crate) const PUT: u8 = 1;
pub(crate) const DELETE: u8 = 2;
pub(crate) const BEGIN: u8 = 3;
pub(crate) const END: u8 = 4;
pub(crate) const MESSAGE: u8 = 5;
pub(crate) const SENT: u8 = 6;
pub(crate) const RELEASED: u8 = 7;
pub(crate) const COMPLETED: u8 = 8;
pub(crate) const TAKEN_BACK: u8 = 9;
pub(crate) const DONE: u8 = 10;
pub(crate) const PROGRESS: u8 = 11;

/// Appends a varint.
#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes [`put_varint`] would append.
#[inline]
pub(crate) fn varint_len(value: u64) -> usize {
    // 7 bits to a byte; zero takes one byte too
    (63 - (value | 1).leading_zeros() as usize) / 7 + 1
}

/// Takes integers and bytes off the front of a slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    #[inline]
    pub fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    #[inline]
    pub fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for (i, &byte) in self.0.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.0 = &self.0[i + 1..];
                return Some(value);
            }
        }
        None
    }

    #[inline]
    pub fn varint_u32(&mut self) -> Option<u32> {
        u32::try_from(self.varint()?).ok()
    }

    #[inline]
    pub fn varint_u16(&mut self) -> Option<u16> {
        u16::try_from(self.varint()?).ok()
    }

    #[inline]
    pub fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }
}

/// One that is owed a message, as it lies in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ref<'a> {
    pub owner: OwnerId,
    pub seq: u64,
    pub extra: &'a [u8],
}

/// A message with those it is owed to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageRecord<'a> {
    /// CRC-32 of all of the payload behind it: messages are also read singly, without their frame
    pub crc: u32,
    /// what `crc` is of
    pub covered: &'a [u8],
    pub size: u32,
    pub count: u32,
    /// the refs, then the body
    rest: Cursor<'a>,
}

impl<'a> MessageRecord<'a> {
    pub fn parse(payload: &'a [u8]) -> Option<MessageRecord<'a>> {
        let (crc, covered) = payload.split_first_chunk::<4>()?;
        let mut rest = Cursor(covered);
        let size = rest.varint_u32()?;
        let count = rest.varint_u32()?;
        Some(MessageRecord {
            crc: u32::from_le_bytes(*crc),
            covered,
            size,
            count,
            rest,
        })
    }

    pub fn intact(&self) -> bool {
        crc32fast::hash(self.covered) == self.crc
    }

    /// Calls `f` for each ref and gives the body back; `None` when the record is malformed.
    #[inline]
    pub fn refs(&self, mut f: impl FnMut(Ref<'a>)) -> Option<&'a [u8]> {
        let mut rest = self.rest;
        for _ in 0..self.count {
            let owner = rest.varint()?;
            let seq = rest.varint()?;
            let extra = rest.varint()?;
            let extra = rest.bytes(usize::try_from(extra).ok()?)?;
            f(Ref { owner, seq, extra });
        }
        Some(rest.0)
    }
}

/// A record of the log.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Record<'a> {
    /// a key gets a value
    Put {
        table: Table,
        key: &'a [u8],
        value: &'a [u8],
        /// CRC-32 of all of the payload behind it: values are also read singly
        crc: u32,
        /// what `crc` is of
        covered: &'a [u8],
    },
    /// a key loses its value. `born` is the segment in which it first stood when it was moved, else 0: it has
    /// to be kept while an older segment exists, which might hold a value of the key
    Delete {
        table: Table,
        key: &'a [u8],
        born: u32,
    },
    /// an owner comes to be
    Begin { owner: OwnerId },
    /// an owner ends; `born` as for `Delete`
    End { owner: OwnerId, born: u32 },
    /// a message and who is owed it
    Message(MessageRecord<'a>),
    /// see [`crate::Batch::sent`]
    Sent {
        by: OwnerId,
        id: u16,
        owner: OwnerId,
        seq: u64,
        size: u32,
        note: u8,
    },
    /// see [`crate::Batch::released`]
    Released { by: OwnerId, id: u16 },
    /// see [`crate::Batch::completed`]
    Completed { by: OwnerId, id: u16 },
    /// see [`crate::Batch::taken_back`]
    TakenBack { by: OwnerId, id: u16 },
    /// see [`crate::Batch::done`]
    Done { owner: OwnerId, seq: u64, size: u32 },
    /// all that is known of a living owner, in place of everything about it further up the log
    Progress { owner: OwnerId, state: &'a [u8] },
    /// a kind this version does not know
    Unknown,
}

impl<'a> Record<'a> {
    /// `None` when the payload is not what the kind asks for.
    #[inline]
    pub fn parse(kind: u8, payload: &'a [u8]) -> Option<Record<'a>> {
        let mut c = Cursor(payload);
        Some(match kind {
            PUT => {
                let (crc, covered) = payload.split_first_chunk::<4>()?;
                let crc = u32::from_le_bytes(*crc);
                let mut c = Cursor(covered);
                let table = c.byte()?;
                let len = usize::try_from(c.varint()?).ok()?;
                let key = c.bytes(len)?;
                Record::Put {
                    table,
                    key,
                    value: c.0,
                    crc,
                    covered,
                }
            }
            DELETE => {
                let table = c.byte()?;
                let born = c.varint_u32()?;
                Record::Delete {
                    table,
                    born,
                    key: c.0,
                }
            }
            BEGIN => Record::Begin { owner: c.varint()? },
            END => Record::End {
                owner: c.varint()?,
                born: c.varint_u32()?,
            },
            MESSAGE => Record::Message(MessageRecord::parse(payload)?),
            SENT => Record::Sent {
                by: c.varint()?,
                id: c.varint_u16()?,
                owner: c.varint()?,
                seq: c.varint()?,
                size: c.varint_u32()?,
                note: u8::try_from(c.varint()?).ok()?,
            },
            RELEASED | COMPLETED | TAKEN_BACK => {
                let by = c.varint()?;
                let id = c.varint_u16()?;
                match kind {
                    RELEASED => Record::Released { by, id },
                    COMPLETED => Record::Completed { by, id },
                    _ => Record::TakenBack { by, id },
                }
            }
            DONE => Record::Done {
                owner: c.varint()?,
                seq: c.varint()?,
                size: c.varint_u32()?,
            },
            PROGRESS => {
                let owner = c.varint()?;
                Record::Progress { owner, state: c.0 }
            }
            _ => Record::Unknown,
        })
    }
}

/// Why records could not be walked to their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A record with its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed<'a> {
    /// bytes before it in what is walked
    pub offset: usize,
    /// kind, length and payload as they lie there
    pub raw: &'a [u8],
    pub record: Record<'a>,
}

/// Walks the records of a batch or of a frame.
#[derive(Debug, Clone)]
pub(crate) struct Records<'a> {
    all: usize,
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    pub fn new(bytes: &'a [u8]) -> Records<'a> {
        Records {
            all: bytes.len(),
            rest: bytes,
        }
    }
}

/// Splits `kind, length, payload` off the front: the payload, and the length of it all.
#[inline]
pub(crate) fn split(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let mut c = Cursor(bytes);
    let kind = c.byte()?;
    let len = usize::try_from(c.varint()?).ok()?;
    let payload = c.bytes(len)?;
    Some((kind, payload, bytes.len() - c.0.len()))
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Placed<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let offset = self.all - self.rest.len();
        let parsed = split(self.rest)
            .and_then(|(kind, payload, len)| Some((Record::parse(kind, payload)?, len)));
        match parsed {
            Some((record, len)) => {
                let (raw, rest) = self.rest.split_at(len);
                self.rest = rest;
                Some(Ok(Placed {
                    offset,
                    raw,
                    record,
                }))
            }
            None => {
                self.rest = &[];
                Some(Err(Malformed))
            }
        }
    }
}

#[cfg(test)]
mod tests;
