//! Index files: what a sealed segment says, without the bodies.
//!
//! `NNNNNNNN.idx` is made from `NNNNNNNN.log` and can be made again at any time; it is not synced, and one
//! whose checksum is wrong counts as missing. It begins with a head of fixed size; then follow
//! - *keys*: what was put and deleted, in the order of the log: hash, place, length (0 = deleted)
//! - *state*: the records about owners other than messages, each behind the distance from the one before
//! - *touched*: the owners something was said of, ascending, as distances. Those whose message was
//!   acknowledged by another (a shared group's member) are found here only
//! - *fences*: the first ref and the place of each block
//! - *blocks*: the refs by owner and number, some 4 KB each, with a CRC of their own

use crate::OwnerId;
use crate::disk::{Disk, DiskFile};
use crate::keys::KeyHash;
use crate::record::{self, Cursor, Record, Records, put_varint};
use crate::refs::{MemRefs, RefEntry};
use crate::segment::{Walked, Walker, idx_name};
use std::io;

const MAGIC: &[u8; 8] = b"emqttidx";
const VERSION: u32 = 1;
const HEAD: usize = 128;
/// Refs of one block take not many more bytes than this.
const BLOCK: usize = 4 << 10;
/// Of one key.
const KEY: usize = 20;

/// Something put, or deleted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyEntry {
    pub key: KeyHash,
    pub offset: u32,
    /// bytes of the record; 0 = deleted
    pub len: u32,
}

/// The first ref of a block, and where the block lies.
#[derive(Debug, Clone, Copy)]
struct Fence {
    owner: OwnerId,
    seq: u64,
    offset: u32,
    len: u32,
}

/// What is kept in memory of an index file.
#[derive(Debug, Default)]
pub(crate) struct Idx {
    pub segment: u32,
    pub bytes: u64,
    pub refs_total: u64,
    pub message_bytes: u64,
    fences: Vec<Fence>,
}

/// All of an index file, for recovery and cleaning.
pub(crate) struct Contents {
    pub idx: Idx,
    keys: Vec<u8>,
    state: Vec<u8>,
    touched: Vec<u8>,
    blocks: Vec<u8>,
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

fn malformed() -> io::Error {
    invalid("index file is malformed")
}

fn encode_block(refs: &[RefEntry], out: &mut Vec<u8>) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    let (mut owner, mut seq, mut offset) = (0, 0, 0i64);
    for r in refs {
        put_varint(out, r.owner - owner);
        if r.owner != owner {
            seq = 0;
        }
        put_varint(out, r.seq - seq);
        let step = i64::from(r.offset) - offset;
        put_varint(out, (step << 1 ^ step >> 63) as u64);
        put_varint(out, r.size.into());
        (owner, seq, offset) = (r.owner, r.seq, r.offset.into());
    }
    let crc = crc32fast::hash(&out[at + 4..]);
    out[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

fn decode_block(block: &[u8], mut f: impl FnMut(RefEntry)) -> Option<()> {
    let (crc, rest) = block.split_first_chunk::<4>()?;
    if crc32fast::hash(rest) != u32::from_le_bytes(*crc) {
        return None;
    }
    let mut c = Cursor(rest);
    let (mut owner, mut seq, mut offset) = (0u64, 0u64, 0i64);
    while !c.0.is_empty() {
        let step = c.varint()?;
        if step > 0 {
            owner = owner.checked_add(step)?;
            seq = 0;
        }
        seq = seq.checked_add(c.varint()?)?;
        let step = c.varint()?;
        offset = offset.checked_add((step >> 1) as i64 ^ -((step & 1) as i64))?;
        f(RefEntry {
            owner,
            seq,
            offset: u32::try_from(offset).ok()?,
            size: c.varint_u32()?,
        });
    }
    Some(())
}

/// Makes the index file of a sealed segment and writes it.
///
/// # Errors
/// When the segment cannot be read or the file not be written.
pub(crate) fn build(
    disk: &dyn Disk,
    file: std::sync::Arc<dyn DiskFile>,
    key: [u8; 16],
    number: u32,
    end: u64,
    refs: &MemRefs,
) -> io::Result<Idx> {
    let mut keys = Vec::new();
    let mut state = Vec::new();
    let mut message_bytes = 0;
    let mut last = 0;
    let mut walker = Walker::new(file, key, number, end);
    loop {
        let frame = match walker.next()? {
            Walked::Frame(frame) => frame,
            Walked::End => break,
            Walked::Bad { offset } => {
                return Err(invalid(&format!(
                    "segment {number} is damaged at byte {offset}"
                )));
            }
        };
        for placed in Records::new(frame.records) {
            let placed = placed.map_err(|_| malformed())?;
            let offset = frame.offset + placed.offset as u64;
            let mut add_key = |table, name: &[u8], len: usize| {
                keys.extend_from_slice(&KeyHash::new(&key, table, name).to_bytes());
                keys.extend_from_slice(&(offset as u32).to_le_bytes());
                keys.extend_from_slice(&(len as u32).to_le_bytes());
            };
            match placed.record {
                Record::Put {
                    table, key: name, ..
                } => add_key(table, name, placed.raw.len()),
                Record::Delete {
                    table, key: name, ..
                } => add_key(table, name, 0),
                Record::Message(_) => message_bytes += placed.raw.len() as u64,
                Record::Unknown => {}
                _ => {
                    put_varint(&mut state, offset - last);
                    last = offset;
                    state.extend_from_slice(placed.raw);
                }
            }
        }
    }
    let sorted = refs.sorted(end);
    let mut contents = Contents {
        idx: Idx {
            segment: number,
            bytes: 0,
            refs_total: sorted.len() as u64,
            message_bytes,
            fences: Vec::new(),
        },
        keys,
        state,
        touched: Vec::new(),
        blocks: Vec::new(),
    };
    let mut before = 0;
    for owner in refs.touched() {
        put_varint(&mut contents.touched, owner - before);
        before = owner;
    }
    // A ref takes 4 bytes at least, and rarely more than 16.
    for refs in sorted.chunks(BLOCK / 8) {
        let offset = contents.blocks.len();
        encode_block(refs, &mut contents.blocks);
        contents.idx.fences.push(Fence {
            owner: refs[0].owner,
            seq: refs[0].seq,
            offset: offset as u32,
            len: (contents.blocks.len() - offset) as u32,
        });
    }
    contents.write(disk, key, end)
}

impl Contents {
    fn write(mut self, disk: &dyn Disk, key: [u8; 16], end: u64) -> io::Result<Idx> {
        let mut fences = Vec::new();
        for fence in &self.idx.fences {
            put_varint(&mut fences, fence.owner);
            put_varint(&mut fences, fence.seq);
            put_varint(&mut fences, fence.offset.into());
            put_varint(&mut fences, fence.len.into());
        }
        let sections = [
            &self.keys[..],
            &self.state[..],
            &self.touched[..],
            &fences[..],
            &self.blocks[..],
        ];
        let mut out = Vec::with_capacity(HEAD + sections.iter().map(|s| s.len()).sum::<usize>());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.idx.segment.to_le_bytes());
        out.extend_from_slice(&key);
        let lens = sections.map(|s| s.len() as u64);
        for value in [end, self.idx.message_bytes, self.idx.refs_total]
            .iter()
            .chain(&lens)
        {
            out.extend_from_slice(&value.to_le_bytes());
        }
        let mut crc = crc32fast::Hasher::new();
        crc.update(&out);
        for section in sections {
            crc.update(section);
        }
        out.extend_from_slice(&crc.finalize().to_le_bytes());
        out.resize(HEAD, 0);
        for section in sections {
            out.extend_from_slice(section);
        }
        let name = idx_name(self.idx.segment);
        match disk.remove(&name) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let file = disk.create(&name, out.len() as u64)?;
        if let Err(e) = file.write_all_at(0, &out) {
            // It would not pass its checksum; the room is what matters.
            let _ = disk.remove(&name);
            return Err(e);
        }
        self.idx.bytes = out.len() as u64;
        Ok(self.idx)
    }

    /// Reads an index file. `end` = where its segment ends.
    ///
    /// # Errors
    /// When it cannot be read, or is not the one that belongs to the segment as it is.
    pub fn read(disk: &dyn Disk, key: [u8; 16], number: u32, end: u64) -> io::Result<Contents> {
        let file = disk.open(&idx_name(number))?;
        let mut bytes = vec![0; usize::try_from(file.len()?).map_err(|_| malformed())?];
        file.read_exact_at(0, &mut bytes)?;
        Self::parse(&bytes, key, number, end).ok_or_else(malformed)
    }

    fn parse(bytes: &[u8], key: [u8; 16], number: u32, end: u64) -> Option<Contents> {
        let (head, mut rest) = bytes.split_at_checked(HEAD)?;
        let mut c = Cursor(head);
        let good = c.bytes(8)? == MAGIC
            && c.bytes(4)? == VERSION.to_le_bytes()
            && c.bytes(4)? == number.to_le_bytes()
            && c.bytes(16)? == key;
        let mut words = [0u64; 8];
        for word in &mut words {
            *word = u64::from_le_bytes(c.bytes(8)?.try_into().ok()?);
        }
        let covered = HEAD - c.0.len();
        let mut crc = crc32fast::Hasher::new();
        crc.update(&head[..covered]);
        crc.update(rest);
        if !good || words[0] != end || c.bytes(4)? != crc.finalize().to_le_bytes() {
            return None;
        }
        let mut section = |len: u64| {
            let (section, after) = rest.split_at_checked(usize::try_from(len).ok()?)?;
            rest = after;
            Some(section)
        };
        let (keys, state) = (section(words[3])?, section(words[4])?);
        let (touched, fences, blocks) =
            (section(words[5])?, section(words[6])?, section(words[7])?);
        let mut c = Cursor(fences);
        let mut fences = Vec::new();
        while !c.0.is_empty() {
            fences.push(Fence {
                owner: c.varint()?,
                seq: c.varint()?,
                offset: c.varint_u32()?,
                len: c.varint_u32()?,
            });
        }
        fences.shrink_to_fit();
        Some(Contents {
            idx: Idx {
                segment: number,
                bytes: bytes.len() as u64,
                refs_total: words[2],
                message_bytes: words[1],
                fences,
            },
            keys: keys.to_vec(),
            state: state.to_vec(),
            touched: touched.to_vec(),
            blocks: blocks.to_vec(),
        })
    }

    /// What was put and deleted, in the order of the log.
    pub fn keys(&self) -> impl Iterator<Item = KeyEntry> + '_ {
        let word = |b: &[u8]| u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        self.keys.chunks_exact(KEY).map(move |entry| {
            let mut hash = [0; 12];
            hash.copy_from_slice(&entry[..12]);
            KeyEntry {
                key: KeyHash::from_bytes(&hash),
                offset: word(&entry[12..]),
                len: word(&entry[16..]),
            }
        })
    }

    /// The records about owners with their places, in the order of the log.
    ///
    /// # Errors
    /// When they are malformed, which their checksum makes a mistake of this program.
    pub fn state(&self, mut f: impl FnMut(u64, usize, Record<'_>)) -> io::Result<()> {
        let mut c = Cursor(&self.state);
        let mut offset = 0u64;
        while !c.0.is_empty() {
            offset += c.varint().ok_or_else(malformed)?;
            let (kind, payload, len) = record::split(c.0).ok_or_else(malformed)?;
            let parsed = Record::parse(kind, payload).ok_or_else(malformed)?;
            c.0 = &c.0[len..];
            f(offset, len, parsed);
        }
        Ok(())
    }

    /// The owners something was said of, ascending.
    pub fn touched(&self) -> Vec<OwnerId> {
        let mut c = Cursor(&self.touched);
        let mut owners = Vec::new();
        let mut owner = 0u64;
        while let Some(step) = c.varint() {
            owner = owner.saturating_add(step);
            owners.push(owner);
        }
        owners
    }

    /// All refs, by owner and number.
    ///
    /// # Errors
    /// When they are malformed, which their checksum makes a mistake of this program.
    pub fn refs(&self) -> io::Result<Vec<RefEntry>> {
        let mut refs = Vec::with_capacity(usize::try_from(self.idx.refs_total).unwrap_or(0));
        for fence in &self.idx.fences {
            let block = self
                .blocks
                .get(fence.offset as usize..)
                .ok_or_else(malformed)?;
            let block = block.get(..fence.len as usize).ok_or_else(malformed)?;
            decode_block(block, |r| refs.push(r)).ok_or_else(malformed)?;
        }
        Ok(refs)
    }
}

impl Idx {
    /// The refs of an owner with a number in `from..to`, ascending, `most` at most.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn find(
        &self,
        file: &dyn DiskFile,
        owner: OwnerId,
        from: u64,
        to: u64,
        most: usize,
        out: &mut Vec<RefEntry>,
    ) -> io::Result<()> {
        // The block before the first fence at or after the ref may hold it.
        let first = self
            .fences
            .partition_point(|f| (f.owner, f.seq) < (owner, from));
        let blocks: u64 = self
            .fences
            .last()
            .map_or(0, |f| u64::from(f.offset) + u64::from(f.len));
        let base = self.bytes.saturating_sub(blocks);
        let enough = out.len() + most;
        let mut block = Vec::new();
        for fence in &self.fences[first.saturating_sub(1)..] {
            if (fence.owner, fence.seq) >= (owner, to) || out.len() >= enough {
                break;
            }
            block.resize(fence.len as usize, 0);
            file.read_exact_at(base + u64::from(fence.offset), &mut block)?;
            decode_block(&block, |r| {
                if r.owner == owner && r.seq >= from && r.seq < to && out.len() < enough {
                    out.push(r);
                }
            })
            .ok_or_else(|| invalid("a block of the index file is damaged"))?;
        }
        Ok(())
    }
}
