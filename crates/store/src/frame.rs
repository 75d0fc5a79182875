//! Frames: what is written, and found after a crash, whole or not at all.
//!
//! `magic u32, crc u32, len u32, kind u32, position u64, synced u64`, then `len` bytes of records; integers
//! little endian. The CRC is bound to the key of the store, the number of the segment and the place in it, so
//! that neither what an earlier use of the same file has left nor bytes within a message ever pass for one.

use crate::Position;

/// Bytes before the records.
pub(crate) const HEADER: usize = 32;
/// A batch is put into the frame before it as long as that is shorter than this.
pub(crate) const AIM: usize = 64 << 10;
/// No frame is longer: places in a segment are 32-bit.
pub(crate) const MOST: usize = 1 << 30;

const MAGIC: u32 = 0x466c_716d;

/// Where a frame lies, as its CRC is bound to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub key: [u8; 16],
    pub segment: u32,
    pub offset: u64,
}

/// What is said before the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// of the records
    pub len: u32,
    /// written by the cleaner: its bytes are no part of the positions callers see
    pub moved: bool,
    /// of its first record
    pub position: Position,
    /// bytes of the segment that were known to be on stable storage when it was written: what is before this
    /// cannot be a torn tail. 0 = it was written before the head of the segment
    pub synced: u64,
}

impl Head {
    /// Position behind it.
    pub fn after(&self) -> Position {
        if self.moved {
            self.position
        } else {
            self.position + u64::from(self.len)
        }
    }

    /// Bytes of the frame.
    pub fn total(&self) -> u64 {
        HEADER as u64 + u64::from(self.len)
    }
}

fn checksum(place: &Place, frame: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&place.key);
    hasher.update(&place.segment.to_le_bytes());
    hasher.update(&place.offset.to_le_bytes());
    hasher.update(&frame[8..]);
    hasher.finalize()
}

/// Fills in the first [`HEADER`] bytes of `frame`, whose records are there already.
pub(crate) fn seal(frame: &mut [u8], place: &Place, head: &Head) {
    frame[0..4].copy_from_slice(&MAGIC.to_le_bytes());
    frame[8..12].copy_from_slice(&head.len.to_le_bytes());
    frame[12..16].copy_from_slice(&u32::from(head.moved).to_le_bytes());
    frame[16..24].copy_from_slice(&head.position.to_le_bytes());
    frame[24..32].copy_from_slice(&head.synced.to_le_bytes());
    let crc = checksum(place, frame);
    frame[4..8].copy_from_slice(&crc.to_le_bytes());
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// What the header says; nothing of it is checked yet but that it is one.
pub(crate) fn peek(bytes: &[u8]) -> Option<Head> {
    if bytes.len() < HEADER || u32_at(bytes, 0) != MAGIC {
        return None;
    }
    let len = u32_at(bytes, 8);
    let kind = u32_at(bytes, 12);
    if len as usize > MOST || kind > 1 {
        return None;
    }
    Some(Head {
        len,
        moved: kind == 1,
        position: u64_at(bytes, 16),
        synced: u64_at(bytes, 24),
    })
}

/// The whole frame at the front of `bytes` with its records, if there is one.
pub(crate) fn read<'a>(bytes: &'a [u8], place: &Place) -> Option<(Head, &'a [u8])> {
    let head = peek(bytes)?;
    let frame = bytes.get(..HEADER + head.len as usize)?;
    if u32_at(frame, 4) != checksum(place, frame) {
        return None;
    }
    Some((head, &frame[HEADER..]))
}

/// The next whole frame in `bytes` (which lie from `start` on in the segment) at or after `from`.
pub(crate) fn find(
    bytes: &[u8],
    key: [u8; 16],
    segment: u32,
    start: u64,
    from: usize,
) -> Option<usize> {
    let magic = MAGIC.to_le_bytes();
    let mut at = from;
    while at + HEADER <= bytes.len() {
        at += bytes[at..].windows(4).position(|w| w == magic)?;
        let place = Place {
            key,
            segment,
            offset: start + at as u64,
        };
        if read(&bytes[at..], &place).is_some() {
            return Some(at);
        }
        at += 1;
    }
    None
}
