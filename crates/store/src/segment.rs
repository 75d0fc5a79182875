//! Segments: the files of the log, their names and what is said at their start.

use crate::disk::{Disk, DiskFile};
use crate::frame::{self, Head};
use crate::record::Cursor;
use crate::refs::MemRefs;
use crate::{OpenError, Position};
use std::io;
use std::sync::Arc;

/// The first frame begins here.
pub(crate) const DATA: u64 = 128;
/// Raised when older programs must not touch the files.
pub(crate) const VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"emqttlog";

pub(crate) fn log_name(number: u32) -> String {
    format!("{number:08}.log")
}

pub(crate) fn idx_name(number: u32) -> String {
    format!("{number:08}.idx")
}

/// The number in `NNNNNNNN.log`.
pub(crate) fn number_of(name: &str) -> Option<u32> {
    number_before(name, ".log")
}

/// The number in `NNNNNNNN` with some ending.
pub(crate) fn number_before(name: &str, ending: &str) -> Option<u32> {
    let digits = name.strip_suffix(ending)?;
    if digits.len() < 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|&n| n > 0)
}

/// What stands at the start of a segment. It is synced before any frame in it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHead {
    pub number: u32,
    /// of the first frame
    pub start: Position,
    /// the segment before; those with numbers between were given up and are void. 0 = none
    pub previous: u32,
    /// where the segment before ends, whatever else stands behind that
    pub previous_end: u64,
    /// drawn once for each store
    pub key: [u8; 16],
    /// no owner had this number or a higher one
    pub next_owner: u64,
}

/// What came of reading a [`SegmentHead`].
pub(crate) enum HeadFound {
    Good(SegmentHead),
    /// a later version wrote it
    Newer(u32),
    Bad,
}

impl SegmentHead {
    pub fn encode(&self) -> [u8; DATA as usize] {
        let mut out = Vec::with_capacity(DATA as usize);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.start.to_le_bytes());
        out.extend_from_slice(&u64::from(self.previous).to_le_bytes());
        out.extend_from_slice(&self.previous_end.to_le_bytes());
        out.extend_from_slice(&self.key);
        out.extend_from_slice(&self.next_owner.to_le_bytes());
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        let mut bytes = [0; DATA as usize];
        bytes[..out.len()].copy_from_slice(&out);
        bytes
    }

    pub fn decode(bytes: &[u8], number: u32) -> HeadFound {
        Self::parse(bytes, number).unwrap_or(HeadFound::Bad)
    }

    fn parse(bytes: &[u8], number: u32) -> Option<HeadFound> {
        fn word<const N: usize>(c: &mut Cursor<'_>) -> Option<[u8; N]> {
            c.bytes(N)?.try_into().ok()
        }
        let mut c = Cursor(bytes);
        if &word::<8>(&mut c)? != MAGIC {
            return None;
        }
        let version = u32::from_le_bytes(word(&mut c)?);
        if version > VERSION {
            return Some(HeadFound::Newer(version));
        }
        let head = SegmentHead {
            number: u32::from_le_bytes(word(&mut c)?),
            start: u64::from_le_bytes(word(&mut c)?),
            previous: u32::try_from(u64::from_le_bytes(word(&mut c)?)).ok()?,
            previous_end: u64::from_le_bytes(word(&mut c)?),
            key: word(&mut c)?,
            next_owner: u64::from_le_bytes(word(&mut c)?),
        };
        let covered = bytes.len() - c.0.len();
        let crc = u32::from_le_bytes(word(&mut c)?);
        (crc == crc32fast::hash(&bytes[..covered]) && head.number == number)
            .then_some(HeadFound::Good(head))
    }
}

/// A file a later version wrote is left alone.
pub(crate) fn newer(disk: &dyn Disk, name: &str, version: u32) -> OpenError {
    OpenError {
        message: format!(
            "{}/{name} is of format {version}, this program knows {VERSION} and earlier: start the version that wrote it",
            disk.place()
        ),
    }
}

/// How the refs of a segment are found.
#[derive(Clone)]
pub(crate) enum Refs {
    Memory(Arc<MemRefs>),
    File(Arc<crate::idx::Idx>),
}

/// What the index knows of a segment.
pub(crate) struct Segment {
    pub number: u32,
    /// where its frames end
    pub end: u64,
    /// bytes its file takes on disk
    pub file_bytes: u64,
    /// bytes its index file takes
    pub idx_bytes: u64,
    /// messages owed from it, each counted for each owner: when it was written, and now
    pub refs_total: u64,
    pub refs_live: u64,
    /// bytes of all its message records
    pub message_bytes: u64,
    /// bytes of the values and states that are current
    pub state_live: u64,
    /// bytes of its deletions and ends, which are needed while a segment below `tombstones_born` exists
    pub tombstones: u64,
    /// the latest segment in which one of them first stood
    pub tombstones_born: u32,
    /// `None` for the open one
    pub refs: Option<Refs>,
    /// Nothing in it is needed, and its file goes, or is another segment's already: it must not be touched by this
    /// number. It still stands in the index because that is not known to last.
    pub gone: bool,
}

impl Segment {
    pub fn new(number: u32) -> Segment {
        Segment {
            number,
            end: DATA,
            file_bytes: 0,
            idx_bytes: 0,
            refs_total: 0,
            refs_live: 0,
            message_bytes: 0,
            state_live: 0,
            tombstones: 0,
            tombstones_born: 0,
            refs: None,
            gone: false,
        }
    }

    /// Counts a deletion or an end; `born` as in its record.
    pub fn add_tombstone(&mut self, born: u32, len: usize) {
        let born = if born == 0 { self.number } else { born };
        self.tombstones += len as u64;
        self.tombstones_born = self.tombstones_born.max(born);
    }

    /// Bytes of it that are still needed, as well as they can be told: of the messages such a part as there is
    /// of its refs. 0 when no message and no value in it is needed.
    pub fn live_bytes(&self) -> u64 {
        let messages = if self.refs_live == 0 {
            0
        } else {
            let part = u128::from(self.message_bytes) * u128::from(self.refs_live);
            u64::try_from(part / u128::from(self.refs_total.max(1)))
                .unwrap_or(u64::MAX)
                .max(1)
        };
        messages + self.state_live
    }
}

/// Goes through the frames of a segment, reading a piece at a time.
pub(crate) struct Walker {
    file: Arc<dyn DiskFile>,
    key: [u8; 16],
    number: u32,
    /// of the next frame
    offset: u64,
    end: u64,
    buffer: Vec<u8>,
    /// where in the file `buffer` begins
    start: u64,
}

/// A frame with its records.
pub(crate) struct Frame<'a> {
    pub head: Head,
    /// of its first record, in the file
    pub offset: u64,
    pub records: &'a [u8],
}

/// What the walker met.
pub(crate) enum Walked<'a> {
    Frame(Frame<'a>),
    /// no whole frame begins here; [`Walker::skip`] goes on
    Bad {
        offset: u64,
    },
    End,
}

/// Read at once.
const PIECE: usize = 1 << 20;

impl Walker {
    /// From the first frame on, to the place where the segment ends.
    pub fn new(file: Arc<dyn DiskFile>, key: [u8; 16], number: u32, end: u64) -> Walker {
        Walker {
            file,
            key,
            number,
            offset: DATA,
            end,
            buffer: Vec::new(),
            start: 0,
        }
    }

    /// Where the next frame begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Makes `len` bytes from `offset` on present, or as many as there are before the end.
    fn fill(&mut self, len: usize) -> io::Result<()> {
        let have = (self.start + self.buffer.len() as u64).saturating_sub(self.offset);
        let left = self.end.saturating_sub(self.offset);
        let need = (len as u64).min(left);
        if self.offset >= self.start && have >= need {
            return Ok(());
        }
        let want = (len.max(PIECE) as u64).min(left) as usize;
        self.buffer.resize(want, 0);
        self.start = self.offset;
        let got = self.file.read_full_at(self.start, &mut self.buffer)?;
        self.buffer.truncate(got);
        Ok(())
    }

    /// The next frame.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn next(&mut self) -> io::Result<Walked<'_>> {
        if self.offset >= self.end {
            return Ok(Walked::End);
        }
        self.fill(frame::HEADER)?;
        let at = (self.offset - self.start) as usize;
        let Some(head) = frame::peek(&self.buffer[at..]) else {
            return Ok(Walked::Bad {
                offset: self.offset,
            });
        };
        if self.offset + head.total() > self.end {
            return Ok(Walked::Bad {
                offset: self.offset,
            });
        }
        self.fill(head.total() as usize)?;
        let at = (self.offset - self.start) as usize;
        let place = frame::Place {
            key: self.key,
            segment: self.number,
            offset: self.offset,
        };
        match frame::read(&self.buffer[at..], &place) {
            Some((head, records)) => {
                let offset = self.offset + frame::HEADER as u64;
                self.offset += head.total();
                Ok(Walked::Frame(Frame {
                    head,
                    offset,
                    records,
                }))
            }
            None => Ok(Walked::Bad {
                offset: self.offset,
            }),
        }
    }

    /// Goes on to the next whole frame behind a bad place. Reads the rest of the segment at once.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn skip(&mut self) -> io::Result<()> {
        self.fill(self.end.saturating_sub(self.offset) as usize)?;
        let from = (self.offset - self.start) as usize + 1;
        match frame::find(&self.buffer, self.key, self.number, self.start, from) {
            Some(at) => self.offset = self.start + at as u64,
            None => self.offset = self.end,
        }
        Ok(())
    }
}
