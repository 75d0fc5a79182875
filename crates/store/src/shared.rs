//! What callers, the committer, the keeper and the reader have in common.

use crate::batch::Batch;
use crate::disk::{Disk, DiskFile};
use crate::frame;
use crate::index::Index;
use crate::keeper::Chores;
use crate::latency::Latency;
use crate::reader::Questions;
use crate::record::split;
use crate::segment::{idx_name, log_name};
use crate::{Health, Options, Position, Status};
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// More than this handed over and not durable: the disk is behind.
const BEHIND: u64 = 32 << 20;
/// Files kept open for reading.
const OPEN_FILES: usize = 256;

/// A frame in a [`Chunk`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draft {
    /// where in the buffer
    pub at: usize,
    /// of its first record
    pub position: Position,
    /// written by the cleaner
    pub moved: bool,
    /// where it was written and folded; segment 0 = not yet
    pub segment: u32,
    pub offset: u64,
}

impl Draft {
    pub fn is_folded(&self) -> bool {
        self.segment != 0
    }

    /// Whether it was folded in a segment of which only the bytes before `synced` are safe.
    pub fn is_unsafe(&self, segment: u32, synced: u64) -> bool {
        self.segment == segment && self.offset >= synced
    }
}

/// Frames on their way to the disk: room for a header before each, to be filled in.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    pub buffer: Vec<u8>,
    pub frames: Vec<Draft>,
}

impl Chunk {
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub fn clear(&mut self) {
        self.buffer.clear();
        self.frames.clear();
    }

    /// Bytes of frame `i`, its header included.
    pub fn frame(&self, i: usize) -> std::ops::Range<usize> {
        let end = self
            .frames
            .get(i + 1)
            .map_or(self.buffer.len(), |next| next.at);
        self.frames[i].at..end
    }

    #[inline]
    pub fn add(&mut self, records: &[u8], position: Position, moved: bool) {
        let begun = self
            .frames
            .last()
            .map_or(usize::MAX, |f| self.buffer.len() - f.at);
        if begun >= frame::AIM {
            self.frames.push(Draft {
                at: self.buffer.len(),
                position,
                moved,
                segment: 0,
                offset: 0,
            });
            self.buffer.extend_from_slice(&[0; frame::HEADER]);
        }
        self.buffer.extend_from_slice(records);
    }
}

/// What was handed over and not taken by the committer yet.
#[derive(Default)]
pub(crate) struct Pending {
    pub chunk: Chunk,
    pub position: Position,
    /// the committer waits to be woken
    pub asleep: bool,
    /// there is something to do besides writing
    pub kicked: bool,
    pub closing: bool,
}

/// Figures of the committer.
pub(crate) struct Figures {
    pub latency: Latency,
    pub syncs: u64,
    pub error: Option<String>,
}

pub(crate) struct Shared {
    pub disk: Arc<dyn Disk>,
    pub options: Options,
    pub wake: Arc<dyn Fn() + Send + Sync>,
    pub pending: Mutex<Pending>,
    pub arrived: Condvar,
    pub position: AtomicU64,
    pub durable: AtomicU64,
    /// everything before this is in the index
    pub folded: AtomicU64,
    pub failing: AtomicBool,
    pub full: AtomicBool,
    /// the disk has no room for a file in reserve: what is left is for what makes room
    pub no_room: AtomicBool,
    pub disk_bytes: AtomicU64,
    pub spare_bytes: AtomicU64,
    /// never held while the disk is waited for
    pub index: Mutex<Index>,
    pub figures: Mutex<Figures>,
    pub questions: Questions,
    pub chores: Chores,
    /// how many want no segment to be removed for now (a backup)
    pub cleaning_held: Mutex<u32>,
    /// bytes written by the cleaner, and segments removed
    pub moved: AtomicU64,
    pub cleaned: AtomicU64,
    files: Mutex<HashMap<String, Arc<dyn DiskFile>>>,
}

impl Shared {
    pub fn new(
        disk: Arc<dyn Disk>,
        options: Options,
        wake: Arc<dyn Fn() + Send + Sync>,
        index: Index,
        position: Position,
    ) -> Shared {
        Shared {
            disk,
            options,
            wake,
            pending: Mutex::new(Pending {
                position,
                ..Pending::default()
            }),
            arrived: Condvar::new(),
            position: AtomicU64::new(position),
            durable: AtomicU64::new(position),
            folded: AtomicU64::new(position),
            failing: AtomicBool::new(false),
            full: AtomicBool::new(false),
            no_room: AtomicBool::new(false),
            disk_bytes: AtomicU64::new(0),
            spare_bytes: AtomicU64::new(0),
            index: Mutex::new(index),
            figures: Mutex::new(Figures {
                latency: Latency::new(Instant::now()),
                syncs: 0,
                error: None,
            }),
            questions: Questions::default(),
            chores: Chores::default(),
            cleaning_held: Mutex::new(0),
            moved: AtomicU64::new(0),
            cleaned: AtomicU64::new(0),
            files: Mutex::new(HashMap::new()),
        }
    }

    pub fn commit(&self, batch: &mut Batch) -> Position {
        if batch.is_empty() {
            return self.position.load(Ordering::Acquire);
        }
        let mut pending = self.pending.lock();
        let mut rest = &batch.bytes[..];
        // A batch longer than any frame may be is not atomic; it takes a gigabyte of memory to make one.
        while rest.len() > frame::MOST - frame::AIM {
            let mut len = 0;
            while let Some((_, _, next)) = split(&rest[len..]) {
                if len > 0 && len + next > frame::MOST - frame::AIM {
                    break;
                }
                len += next;
            }
            pending.add(&rest[..len]);
            rest = &rest[len..];
        }
        pending.add(rest);
        let position = pending.position;
        self.position.store(position, Ordering::Release);
        let asleep = std::mem::take(&mut pending.asleep);
        drop(pending);
        if asleep {
            self.arrived.notify_one();
        }
        batch.clear();
        position
    }

    /// Wakes the committer for something else than writing.
    pub fn kick(&self) {
        let mut pending = self.pending.lock();
        pending.kicked = true;
        pending.asleep = false;
        drop(pending);
        self.arrived.notify_one();
    }

    pub fn health(&self) -> Health {
        if self.failing.load(Ordering::Acquire) {
            return Health::Failing;
        }
        if self.full.load(Ordering::Acquire) {
            return Health::Full;
        }
        let durable = self.durable.load(Ordering::Acquire);
        if self
            .position
            .load(Ordering::Acquire)
            .saturating_sub(durable)
            > BEHIND
        {
            return Health::Behind;
        }
        Health::Good
    }

    pub fn status(&self) -> Status {
        let (owed, live_bytes) = {
            let index = self.index.lock();
            (
                index.owed,
                index.segments.iter().map(|s| s.live_bytes()).sum(),
            )
        };
        let now = Instant::now();
        let mut figures = self.figures.lock();
        Status {
            health: self.health(),
            error: figures.error.clone(),
            disk_bytes: self.disk_bytes.load(Ordering::Relaxed),
            live_bytes,
            position: self.position.load(Ordering::Acquire),
            durable: self.durable.load(Ordering::Acquire),
            owed,
            syncs: figures.syncs,
            sync_p50: figures.latency.quantile(500, now),
            sync_p99: figures.latency.quantile(990, now),
        }
    }

    /// Counts the bytes on disk anew, and whether they are too many. To be called after every change of files.
    pub fn count_space(&self) {
        let index = self.index.lock();
        let files: u64 = index
            .segments
            .iter()
            .map(|s| s.file_bytes + s.idx_bytes)
            .sum();
        drop(index);
        let bytes = files + self.spare_bytes.load(Ordering::Relaxed);
        self.disk_bytes.store(bytes, Ordering::Relaxed);
        let most = self.options.max_bytes;
        let was = self.full.load(Ordering::Relaxed);
        // Some distance, so that it does not change with every segment.
        let over = most > 0 && (bytes > most || was && bytes > most - most / 16);
        let full = over || self.no_room.load(Ordering::Relaxed);
        if full != was {
            self.full.store(full, Ordering::Release);
            (self.wake)();
        }
    }

    /// Says that the disk failed, until [`Shared::works`].
    pub fn fails(&self, e: &io::Error, doing: &str) {
        let text = format!("{}: {doing}: {e}", self.disk.place());
        // Before the flag: who sees that finds the reason.
        self.figures.lock().error = Some(text.clone());
        if !self.failing.swap(true, Ordering::AcqRel) {
            log::error!(
                "store: {text}; nothing is acknowledged until this is over, it is tried again"
            );
            (self.wake)();
        }
    }

    pub fn works(&self) {
        if self.failing.load(Ordering::Relaxed) {
            self.failing.store(false, Ordering::Release);
            log::warn!("store: {}: the disk works again", self.disk.place());
            (self.wake)();
        }
    }

    /// A file, opened before or now.
    ///
    /// # Errors
    /// When it cannot be opened.
    fn file(&self, name: String) -> io::Result<Arc<dyn DiskFile>> {
        if let Some(file) = self.files.lock().get(&name) {
            return Ok(Arc::clone(file));
        }
        let file = self.disk.open(&name)?;
        let mut files = self.files.lock();
        if files.len() >= OPEN_FILES {
            files.clear();
        }
        files.insert(name, Arc::clone(&file));
        Ok(file)
    }

    /// The file of a segment.
    ///
    /// # Errors
    /// When it cannot be opened: `NotFound` when the segment has been cleaned away.
    pub fn log_file(&self, number: u32) -> io::Result<Arc<dyn DiskFile>> {
        self.file(log_name(number))
    }

    /// The index file of a segment.
    ///
    /// # Errors
    /// As for [`Shared::log_file`].
    pub fn idx_file(&self, number: u32) -> io::Result<Arc<dyn DiskFile>> {
        self.file(idx_name(number))
    }

    /// Forgets the open files of a segment that is no longer there.
    pub fn forget_files(&self, number: u32) {
        let mut files = self.files.lock();
        files.remove(&log_name(number));
        files.remove(&idx_name(number));
    }
}

impl Pending {
    fn add(&mut self, records: &[u8]) {
        self.chunk.add(records, self.position, false);
        self.position += records.len() as u64;
    }
}
