//! Block-wise transfer (RFC 7959): requests that come in blocks, and responses that are taken in blocks.

use crate::codec::{Code, Options, option};
use crate::request::{ETag, Response};
use bytes::Bytes;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;

/// Exponent of the largest block: 1024 bytes.
pub const LARGEST: u8 = 6;
/// Requests of a peer that are put together at the same time.
const ASSEMBLIES: usize = 2;
/// Responses of a peer that are taken in blocks at the same time.
const SNAPSHOTS: usize = 4;

/// Value of a Block1 or Block2 option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// number of the block
    pub num: u32,
    /// more of them follow
    pub more: bool,
    /// its size is 2^(szx + 4)
    pub szx: u8,
}

impl Block {
    /// Of the option's number; `None` for the reserved size (section 2.2: 4.00).
    pub fn new(value: u32) -> Option<Block> {
        let szx = (value & 7) as u8;
        (szx <= LARGEST).then_some(Block {
            num: value >> 4,
            more: value & 8 != 0,
            szx,
        })
    }

    /// The option's number.
    pub fn value(self) -> u32 {
        self.num << 4 | u32::from(self.more) << 3 | u32::from(self.szx)
    }

    /// Bytes of a block.
    pub fn size(self) -> usize {
        size(self.szx)
    }

    /// Where it begins.
    pub fn offset(self) -> usize {
        self.num as usize * self.size()
    }
}

/// Bytes of a block with that exponent.
pub fn size(szx: u8) -> usize {
    16 << szx
}

/// The largest exponent of blocks with at most that many bytes; 0 when there is none.
pub fn fitting(bytes: usize) -> u8 {
    (0..=LARGEST)
        .rev()
        .find(|szx| size(*szx) <= bytes)
        .unwrap_or(0)
}

/// What the blocks of one body have in common: method and options (section 2.2), but those that belong to one block or one message.
pub fn body_key(code: Code, options: Options<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    code.hash(&mut hasher);
    for (number, value) in options {
        let of_a_block = matches!(
            number,
            option::BLOCK1
                | option::BLOCK2
                | option::SIZE1
                | option::SIZE2
                | option::OBSERVE
                | option::ETAG
                | option::NO_RESPONSE
        );
        if !of_a_block {
            (number, value).hash(&mut hasher);
        }
    }
    hasher.finish()
}

/// An ETag that differs when the payload does.
pub fn etag_of(payload: &[u8]) -> ETag {
    let mut hasher = DefaultHasher::new();
    payload.hash(&mut hasher);
    // Four bytes are an ETag.
    let [a, b, c, d, ..] = hasher.finish().to_be_bytes();
    ETag::new(&[a, b, c, d]).expect("four bytes are an ETag")
}

/// What came of a block of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Added {
    /// 2.31
    Continue,
    /// It was the last one; this is the whole.
    Whole(Vec<u8>),
    /// 4.08: it does not follow what is there
    Incomplete,
    /// 4.13
    TooLarge,
}

/// Bodies of requests of one peer, as far as they have come.
#[derive(Debug, Default)]
pub struct Assemblies(Vec<Assembly>);

#[derive(Debug)]
struct Assembly {
    key: u64,
    at: Instant,
    body: Vec<u8>,
}

impl Assemblies {
    /// Adds a block whose size is right. `held` counts the bytes of all peers.
    pub fn add(
        &mut self,
        now: Instant,
        key: u64,
        block: Block,
        payload: &[u8],
        max: usize,
        held: &mut usize,
    ) -> Added {
        let mut at = self.0.iter().position(|assembly| assembly.key == key);
        if block.num == 0 {
            // Section 2.5: the first block begins anew, whatever was there.
            if let Some(old) = at.take() {
                self.remove(old, held);
            }
            if self.0.len() >= ASSEMBLIES {
                let oldest = (0..self.0.len()).min_by_key(|n| self.0[*n].at);
                self.remove(oldest.unwrap_or(0), held);
            }
            at = Some(self.0.len());
            self.0.push(Assembly {
                key,
                at: now,
                body: Vec::new(),
            });
        }
        let Some(at) = at else {
            return Added::Incomplete;
        };
        let assembly = &mut self.0[at];
        if block.offset() != assembly.body.len() {
            self.remove(at, held);
            return Added::Incomplete;
        }
        if assembly.body.len() + payload.len() > max {
            self.remove(at, held);
            return Added::TooLarge;
        }
        assembly.at = now;
        assembly.body.extend_from_slice(payload);
        *held += payload.len();
        if block.more {
            return Added::Continue;
        }
        Added::Whole(self.remove(at, held))
    }

    fn remove(&mut self, at: usize, held: &mut usize) -> Vec<u8> {
        let body = self.0.swap_remove(at).body;
        *held -= body.len();
        body
    }

    /// Drops what nothing was added to since then.
    pub fn expire(&mut self, since: Instant, held: &mut usize) {
        self.0.retain(|assembly| {
            let keep = assembly.at > since;
            if !keep {
                *held -= assembly.body.len();
            }
            keep
        });
    }

    /// Drops all.
    pub fn clear(&mut self, held: &mut usize) {
        for assembly in self.0.drain(..) {
            *held -= assembly.body.len();
        }
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A response that is taken in blocks, as it was when the first block went out.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// of what the client asks for, see [`body_key`]
    pub key: u64,
    /// last use
    pub at: Instant,
    /// code, options and the whole payload; has an ETag
    pub response: Response,
    /// it was a notification
    pub notification: bool,
}

/// Responses that one peer takes in blocks.
#[derive(Debug, Default)]
pub struct Snapshots(Vec<Snapshot>);

impl Snapshots {
    /// Keeps one; an older one of the same key goes.
    pub fn keep(&mut self, snapshot: Snapshot, held: &mut usize) {
        let same = self.0.iter().position(|old| old.key == snapshot.key);
        let full = self.0.len() >= SNAPSHOTS;
        let oldest = || (0..self.0.len()).min_by_key(|n| self.0[*n].at);
        if let Some(goes) = same.or_else(|| oldest().filter(|_| full)) {
            *held -= self.0.swap_remove(goes).response.payload.len();
        }
        *held += snapshot.response.payload.len();
        self.0.push(snapshot);
    }

    /// The one for a request.
    pub fn get(&mut self, key: u64) -> Option<&mut Snapshot> {
        self.0.iter_mut().find(|snapshot| snapshot.key == key)
    }

    /// Drops what was not used since then.
    pub fn expire(&mut self, since: Instant, held: &mut usize) {
        self.0.retain(|snapshot| {
            let keep = snapshot.at > since;
            if !keep {
                *held -= snapshot.response.payload.len();
            }
            keep
        });
    }

    /// Drops all.
    pub fn clear(&mut self, held: &mut usize) {
        for snapshot in self.0.drain(..) {
            *held -= snapshot.response.payload.len();
        }
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One block of a payload, and what its option says; `None` when the payload has no such block.
pub fn slice(payload: &Bytes, num: u32, szx: u8) -> Option<(Bytes, Block)> {
    let mut block = Block {
        num,
        more: false,
        szx,
    };
    let from = block.offset();
    if from >= payload.len() && num > 0 {
        return None;
    }
    let to = payload.len().min(from + block.size());
    block.more = to < payload.len();
    Some((payload.slice(from..to), block))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;

    fn block(num: u32, more: bool) -> Block {
        Block { num, more, szx: 0 }
    }

    #[test]
    fn values_of_the_option() {
        // The examples of RFC 7959: number 1, more, 128 bytes.
        let block = Block::new(0x1B).unwrap();
        assert_eq!((block.num, block.more, block.size()), (1, true, 128));
        assert_eq!(block.value(), 0x1B);
        assert_eq!(Block::new(0x0F), None);
        assert_eq!(Block::new(0xFF_FFFE).unwrap().offset(), 0xF_FFFF * 1024);
        assert_eq!(fitting(1024), 6);
        assert_eq!(fitting(1023), 5);
        assert_eq!(fitting(3), 0);
    }

    #[test]
    fn blocks_make_a_whole() {
        let (mut all, mut held, now) = (Assemblies::default(), 0, Instant::now());
        let mut add = |num, more, payload: &[u8], held: &mut usize| {
            all.add(now, 1, block(num, more), payload, 40, held)
        };
        assert_eq!(add(0, true, &[1; 16], &mut held), Added::Continue);
        assert_eq!(add(2, true, &[1; 16], &mut held), Added::Incomplete);
        assert_eq!(held, 0);
        assert_eq!(add(1, true, &[1; 16], &mut held), Added::Incomplete);
        assert_eq!(add(0, true, &[1; 16], &mut held), Added::Continue);
        assert_eq!(add(0, true, &[2; 16], &mut held), Added::Continue);
        assert_eq!(add(1, true, &[3; 16], &mut held), Added::Continue);
        assert_eq!(held, 32);
        let whole = [&[2; 16][..], &[3; 16], &[4; 8]].concat();
        assert_eq!(add(2, false, &[4; 8], &mut held), Added::Whole(whole));
        assert_eq!(held, 0);
        assert_eq!(add(0, true, &[1; 16], &mut held), Added::Continue);
        assert_eq!(add(1, true, &[1; 16], &mut held), Added::Continue);
        assert_eq!(add(2, false, &[1; 9], &mut held), Added::TooLarge);
        assert_eq!(held, 0);
    }

    #[test]
    fn a_peer_has_two_bodies_at_most() {
        let (mut all, mut held, now) = (Assemblies::default(), 0, Instant::now());
        for key in 0..3 {
            let at = now + Duration::from_secs(key);
            all.add(at, key, block(0, true), &[0; 16], 100, &mut held);
        }
        assert_eq!(held, 32);
        let added = all.add(now, 0, block(1, false), &[0; 1], 100, &mut held);
        assert_eq!(added, Added::Incomplete);
        all.expire(now + Duration::from_secs(1), &mut held);
        assert_eq!(held, 16);
        all.clear(&mut held);
        assert_eq!((held, all.is_empty()), (0, true));
    }

    #[test]
    fn a_snapshot_does_not_change_under_its_reader() {
        let (mut all, mut held, now) = (Snapshots::default(), 0, Instant::now());
        let snapshot = |key, size| Snapshot {
            key,
            at: now + Duration::from_secs(key),
            response: Response::content(0, vec![0; size]),
            notification: false,
        };
        all.keep(snapshot(1, 10), &mut held);
        all.keep(snapshot(1, 20), &mut held);
        assert_eq!(held, 20);
        for key in 2..6 {
            all.keep(snapshot(key, 1), &mut held);
        }
        assert_eq!(held, 4);
        assert!(all.get(1).is_none());
        assert!(all.get(5).is_some());
        all.expire(now + Duration::from_secs(4), &mut held);
        assert_eq!(held, 1);
        all.clear(&mut held);
        assert_eq!((held, all.is_empty()), (0, true));
    }

    #[test]
    fn slices() {
        let payload = Bytes::from(vec![7; 40]);
        let (part, option) = slice(&payload, 0, 0).unwrap();
        assert_eq!((part.len(), option), (16, block(0, true)));
        let (part, option) = slice(&payload, 2, 0).unwrap();
        assert_eq!((part.len(), option), (8, block(2, false)));
        assert_eq!(slice(&payload, 3, 0), None);
        let (part, option) = slice(&Bytes::new(), 0, 0).unwrap();
        assert_eq!((part.len(), option), (0, block(0, false)));
    }
}
