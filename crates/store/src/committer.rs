//! The committer: the one thread that writes the log.
//!
//! Over and over: take all that was handed over, write it, sync it, say that it is durable, fold it into the
//! index. While a sync runs the next batches gather; nothing is ever waited for to make a sync worth while.
//!
//! Invariants:
//! - a frame is folded only after it was written, and with `Sync::Always` after it was synced;
//! - after an error nothing more is written to that segment. What was not synced by then is written to a new
//!   one, whose head says how far the earlier one counts. A sync that failed is never repeated: the system may have
//!   thrown the pages away and would report success;
//! - the cleaner's frame stands before those of the callers, and is made from an index that has everything before it.

use crate::batch::Batch;
use crate::cleaner::Cleaner;
use crate::disk::DiskFile;
use crate::frame::{self, HEADER, Head, Place};
use crate::keeper::Build;
use crate::segment::{DATA, Segment, SegmentHead, log_name};
use crate::shared::{Chunk, Draft, Shared};
use crate::void::Void;
use crate::{Position, Sync};
use parking_lot::MutexGuard;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A failing disk is tried again so often.
const RETRY: Duration = Duration::from_millis(250);
/// With `Sync::Every`, so much is not synced at most.
const UNSYNCED: u64 = 16 << 20;
/// A segment with so many refs is full: they take memory while it is open.
const REFS: usize = 1 << 20;
/// Buffers larger than this are given back when there is nothing to do.
const KEEP: usize = 1 << 20;

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Worked,
    Idle,
    /// the disk failed; to be tried again after a while
    Failed,
    /// closing was asked for, and all is done
    Ended,
}

/// The segment that is written to.
pub(crate) struct Open {
    pub number: u32,
    pub file: Arc<dyn DiskFile>,
    /// bytes it may have
    pub capacity: u64,
    /// bytes written
    pub end: u64,
}

pub(crate) struct Committer {
    shared: Arc<Shared>,
    secret: [u8; 16],
    open: Open,
    /// bytes of the open segment that are on stable storage
    synced: u64,
    /// it failed: nothing more is written to it
    broken: bool,
    next_number: u32,
    /// segments that were begun and given up
    void: Void,
    /// taken and not all written: the cleaner's, then the callers'
    hand: Vec<Chunk>,
    /// the next frame to be written: which of `hand`, and which frame
    at: (usize, usize),
    /// written and folded, but not synced
    unsynced: Vec<Chunk>,
    last_sync: Instant,
    spare: Chunk,
    open_refs: usize,
    cleaner: Cleaner,
    moved: Batch,
}

impl Committer {
    pub fn new(shared: Arc<Shared>, open: Open, next_number: u32) -> Committer {
        let secret = shared.index.lock().secret;
        Committer {
            secret,
            synced: open.end,
            open,
            broken: false,
            next_number,
            void: Void::default(),
            hand: Vec::new(),
            at: (0, 0),
            unsynced: Vec::new(),
            last_sync: Instant::now(),
            spare: Chunk::default(),
            open_refs: 0,
            cleaner: Cleaner::default(),
            moved: Batch::new(),
            shared,
        }
    }

    /// The thread.
    pub fn run(mut self) {
        loop {
            match self.step() {
                Step::Worked => {}
                Step::Idle => self.sleep(),
                Step::Failed => self.wait_for_disk(),
                Step::Ended => return,
            }
        }
    }

    /// Until something is handed over or asked for, or a sync is due.
    fn sleep(&mut self) {
        let mut pending = self.shared.pending.lock();
        if !pending.chunk.is_empty() || pending.closing || pending.kicked {
            return;
        }
        for chunk in [&mut pending.chunk, &mut self.spare] {
            if chunk.buffer.capacity() > KEEP {
                *chunk = Chunk::default();
            }
        }
        pending.asleep = true;
        match (self.shared.options.sync, self.needs_sync()) {
            (Sync::Every(every), true) => {
                self.shared
                    .arrived
                    .wait_until(&mut pending, self.last_sync + every);
            }
            _ => self.shared.arrived.wait(&mut pending),
        }
        pending.asleep = false;
    }

    fn wait_for_disk(&self) {
        let mut pending = self.shared.pending.lock();
        if !pending.closing {
            // Callers do not wake it meanwhile (`asleep` is not set); closing does.
            self.shared.arrived.wait_for(&mut pending, RETRY);
        }
    }

    fn needs_sync(&self) -> bool {
        self.open.end > self.synced
    }

    /// One round: a write and a sync at most, and a slice of cleaning.
    pub fn step(&mut self) -> Step {
        if self.at.0 == self.hand.len() {
            match self.take() {
                Step::Worked if self.hand.is_empty() => return Step::Worked,
                Step::Worked => {}
                other => return other,
            }
        }
        match self.advance() {
            Ok(()) => Step::Worked,
            Err(e) => self.failed(&e),
        }
    }

    fn failed(&mut self, e: &io::Error) -> Step {
        self.shared.fails(e, "the log cannot be written");
        if self.shared.pending.lock().closing {
            log::error!(
                "store: closed with a failing disk: what was handed over after position {} is lost",
                self.shared.durable.load(Ordering::Relaxed)
            );
            return Step::Ended;
        }
        if e.kind() == io::ErrorKind::StorageFull {
            self.make_room();
        }
        Step::Failed
    }

    /// Removes segments of which nothing has to be written again: all that the cleaner can do on a full disk.
    fn make_room(&mut self) {
        // What was folded but not synced is no reason to remove anything.
        if self.shared.options.sync != Sync::Always || !self.void.clear(&*self.shared.disk) {
            return;
        }
        // What it made last may still be in hand: the segment it comes from must not go before that is safe.
        self.cleaner.begin_again();
        while self.cleaner.slice(&self.shared, &mut self.moved) {
            if !self.moved.is_empty() {
                // It cannot be written now.
                self.moved.clear();
                self.cleaner.begin_again();
                return;
            }
        }
    }

    /// Takes what is to be written.
    fn take(&mut self) -> Step {
        self.put_away();
        let closing = {
            let mut pending = self.shared.pending.lock();
            std::mem::swap(&mut pending.chunk, &mut self.spare);
            pending.kicked = false;
            pending.closing
        };
        let cleaned = !closing
            && !self.broken
            && self.void.clear(&*self.shared.disk)
            && self.cleaner.slice(&self.shared, &mut self.moved);
        if !self.moved.is_empty() {
            let mut chunk = Chunk::default();
            let position = self.shared.folded.load(Ordering::Relaxed);
            chunk.add(&self.moved.bytes, position, true);
            self.moved.clear();
            self.hand.push(chunk);
        }
        if !self.spare.is_empty() {
            self.hand.push(std::mem::take(&mut self.spare));
        }
        if !self.hand.is_empty() || cleaned {
            return Step::Worked;
        }
        if self.needs_sync() && (closing || self.broken || self.sync_is_due()) {
            return match self.sync_or_replace() {
                Ok(()) => Step::Worked,
                Err(e) => self.failed(&e),
            };
        }
        if closing { Step::Ended } else { Step::Idle }
    }

    fn sync_is_due(&self) -> bool {
        match self.shared.options.sync {
            Sync::Always => true,
            Sync::Every(every) => {
                self.open.end - self.synced >= UNSYNCED || self.last_sync.elapsed() >= every
            }
        }
    }

    /// What was written goes back to be filled again, or waits for its sync.
    fn put_away(&mut self) {
        self.at = (0, 0);
        let wait = self.needs_sync();
        for mut chunk in self.hand.drain(..) {
            if wait {
                self.unsynced.push(chunk);
            } else if self.spare.buffer.capacity() == 0 {
                chunk.clear();
                self.spare = chunk;
            }
        }
    }

    /// Writes what fits the open segment, and folds it.
    fn advance(&mut self) -> io::Result<()> {
        let need = self.hand[self.at.0].frame(self.at.1).len() as u64;
        let full = self.open.end + need > self.open.capacity || self.open_refs >= REFS;
        if self.broken || full {
            self.roll(need)?;
            if self.hand.is_empty() {
                self.shared.works();
                return Ok(());
            }
        }
        let begun = Instant::now();
        let from = self.at;
        let start = self.open.end;
        self.write_frames().inspect_err(|_| {
            self.broken = true;
        })?;
        // Segments are removed for what was moved out of them.
        let moved = self.hand[0].frames[0].moved;
        if moved || self.sync_is_due() {
            self.sync(begun)?;
        }
        self.shared.works();
        self.publish(from, start);
        Ok(())
    }

    /// Writes frames from `self.at` on, as many as the segment holds; that many are passed over. After an error
    /// `self.at` is where it was.
    fn write_frames(&mut self) -> io::Result<()> {
        let (mut chunk, mut next) = self.at;
        let mut end = self.open.end;
        while let Some(hand) = self.hand.get_mut(chunk) {
            let from = hand.frames[next].at;
            let start = end;
            while let Some(&draft) = hand.frames.get(next) {
                let range = hand.frame(next);
                if end + range.len() as u64 > self.open.capacity {
                    break;
                }
                let place = Place {
                    key: self.secret,
                    segment: self.open.number,
                    offset: end,
                };
                end += range.len() as u64;
                let head = Head {
                    len: (range.len() - HEADER) as u32,
                    moved: draft.moved,
                    position: draft.position,
                    synced: self.synced,
                };
                frame::seal(&mut hand.buffer[range], &place, &head);
                next += 1;
            }
            let bytes = (end - start) as usize;
            self.open
                .file
                .write_all_at(start, &hand.buffer[from..from + bytes])?;
            if next < hand.frames.len() {
                break;
            }
            (chunk, next) = (chunk + 1, 0);
        }
        self.at = (chunk, next);
        self.open.end = end;
        Ok(())
    }

    /// Syncs the open segment. After an error it is broken, and what is not folded goes back to be written.
    fn sync(&mut self, begun: Instant) -> io::Result<()> {
        if let Err(e) = self.open.file.sync_data() {
            self.broken = true;
            self.step_back();
            return Err(e);
        }
        self.synced = self.open.end;
        let now = Instant::now();
        self.last_sync = now;
        for mut chunk in self.unsynced.drain(..) {
            if self.spare.buffer.capacity() == 0 {
                chunk.clear();
                self.spare = chunk;
            }
        }
        let mut figures = self.shared.figures.lock();
        figures.syncs += 1;
        figures.latency.add(now.duration_since(begun), now);
        Ok(())
    }

    /// Goes back to the first frame in hand that is not folded.
    fn step_back(&mut self) {
        let first = self.hand.iter().enumerate().find_map(|(i, chunk)| {
            let frame = chunk.frames.iter().position(|f| !f.is_folded())?;
            Some((i, frame))
        });
        self.at = first.unwrap_or((self.hand.len(), 0));
    }

    /// What was written from `from` on is durable now: says so, and folds it. It begins at `offset` in the
    /// file.
    fn publish(&mut self, from: (usize, usize), mut offset: u64) {
        let position = match self.last_written() {
            Some(position) => position,
            None => self.shared.durable.load(Ordering::Relaxed),
        };
        if position > self.shared.durable.load(Ordering::Relaxed) {
            self.shared.durable.store(position, Ordering::Release);
            (self.shared.wake)();
        }
        let until = self.at;
        let mut at = from;
        let mut index = self.shared.index.lock();
        while at < until {
            let Some(chunk) = self.hand.get_mut(at.0).filter(|c| at.1 < c.frames.len()) else {
                at = (at.0 + 1, 0);
                continue;
            };
            let range = chunk.frame(at.1);
            let len = range.len() as u64;
            let records = &chunk.buffer[range.start + HEADER..range.end];
            if index.fold(offset + HEADER as u64, records).is_err() {
                // Batches are made by this crate alone.
                log::error!("store: a record that was written is malformed");
            }
            chunk.frames[at.1].segment = self.open.number;
            chunk.frames[at.1].offset = offset;
            offset += len;
            at.1 += 1;
            // A batch is one frame: whoever reads in between sees it whole.
            MutexGuard::bump(&mut index);
        }
        index.segments.open.end = offset;
        self.open_refs = index.open_refs();
        drop(index);
        self.shared.folded.store(position, Ordering::SeqCst);
        self.shared.questions.folded(position);
    }

    /// Position behind the last frame that was written.
    fn last_written(&self) -> Option<Position> {
        let (chunk, frame) = match self.at {
            (0, 0) => return None,
            (chunk, 0) => (chunk - 1, self.hand[chunk - 1].frames.len() - 1),
            (chunk, frame) => (chunk, frame - 1),
        };
        let hand = &self.hand[chunk];
        let draft = hand.frames[frame];
        let len = (hand.frame(frame).len() - HEADER) as u64;
        Some(if draft.moved {
            draft.position
        } else {
            draft.position + len
        })
    }

    fn sync_or_replace(&mut self) -> io::Result<()> {
        if !self.broken {
            self.sync(Instant::now())?;
        } else {
            self.roll(0)?;
        }
        self.shared.works();
        Ok(())
    }

    /// Begins the next segment, with room for `need` bytes, and writes anew there what was folded but could not be
    /// synced.
    fn roll(&mut self, need: u64) -> io::Result<()> {
        if !self.broken && self.needs_sync() {
            self.sync(Instant::now())?;
        }
        let again = self.open.end - self.synced;
        let bytes = self.shared.options.segment_bytes.max(DATA + again + need);
        let number = self.next_number;
        // From here on the number may be found on the disk, whatever fails.
        self.next_number += 1;
        let begun = self.obtain(number, bytes).and_then(|(file, capacity)| {
            let end = self.begin(&*file, number)?;
            Ok((file, capacity, end))
        });
        let (file, capacity, end) = match begun {
            Ok(begun) => begun,
            Err(e) => {
                self.void.add(number);
                self.void.clear(&*self.shared.disk);
                return Err(e);
            }
        };
        let build = self.exchange(Segment {
            file_bytes: capacity,
            ..Segment::new(number)
        });
        self.open = Open {
            number,
            file,
            capacity,
            end,
        };
        self.synced = end;
        self.broken = false;
        self.open_refs = 0;
        self.unsynced.clear();
        if again > 0 {
            self.drop_moved();
        }
        self.shared.chores.build(build);
        self.void.clear(&*self.shared.disk);
        self.shared.count_space();
        Ok(())
    }

    /// What the cleaner has made and is not written: it says where messages lay before some went elsewhere. The
    /// cleaner begins its segment again.
    fn drop_moved(&mut self) {
        let made = |chunk: &Chunk| chunk.frames[0].moved && !chunk.frames[0].is_folded();
        if self.hand.first().is_some_and(made) {
            self.hand.remove(0);
            self.at = (0, 0);
            self.cleaner.begin_again();
        }
    }

    /// A file for the segment `number`.
    fn obtain(&mut self, number: u32, bytes: u64) -> io::Result<(Arc<dyn DiskFile>, u64)> {
        let disk = &self.shared.disk;
        let name = log_name(number);
        if let Some(spare) = self.shared.chores.take_spare(&self.shared, bytes) {
            match disk
                .rename(&spare.name, &name)
                .and_then(|()| disk.open(&name))
            {
                Ok(file) => return Ok((file, spare.bytes)),
                Err(e) => {
                    log::warn!("store: {}: a spare file cannot be used: {e}", disk.place());
                    let _ = disk.remove(&spare.name);
                    let _ = disk.remove(&name);
                }
            }
        }
        Ok((disk.create(&name, bytes)?, bytes))
    }

    /// Writes what could not be synced in the segment before, and the head; where that ends.
    fn begin(&mut self, file: &dyn DiskFile, number: u32) -> io::Result<u64> {
        let head = SegmentHead {
            number,
            start: self.first_unsynced(),
            previous: self.open.number,
            previous_end: self.synced,
            key: self.secret,
            next_owner: self.shared.index.lock().next_owner,
        };
        let mut end = DATA;
        let (secret, synced) = (self.secret, self.synced);
        for chunk in self.unsynced.iter_mut().chain(self.hand.iter_mut()) {
            for i in 0..chunk.frames.len() {
                let draft = chunk.frames[i];
                if !draft.is_unsafe(self.open.number, synced) {
                    continue;
                }
                let range = chunk.frame(i);
                let head = Head {
                    len: (range.len() - HEADER) as u32,
                    moved: draft.moved,
                    position: draft.position,
                    // Not even the head is.
                    synced: 0,
                };
                let place = Place {
                    key: secret,
                    segment: number,
                    offset: end,
                };
                frame::seal(&mut chunk.buffer[range.clone()], &place, &head);
                file.write_all_at(end, &chunk.buffer[range.clone()])?;
                end += range.len() as u64;
            }
        }
        // With it the end of the segment before does not count any more, and all of that must be here.
        file.write_all_at(0, &head.encode())?;
        file.sync_data()?;
        self.shared.disk.sync_dir()?;
        Ok(end)
    }

    /// Position of what is written next, or anew.
    fn first_unsynced(&self) -> Position {
        let synced = self.synced;
        self.unsynced
            .iter()
            .chain(&self.hand)
            .flat_map(|chunk| &chunk.frames)
            .find(|f| !f.is_folded() || f.is_unsafe(self.open.number, synced))
            .map_or(self.shared.folded.load(Ordering::Relaxed), |f| f.position)
    }

    /// The index goes on to the next segment.
    fn exchange(&mut self, next: Segment) -> Build {
        let from = self.open.number;
        let mut index = self.shared.index.lock();
        let refs = index.seal(self.synced, next);
        let mut offset = DATA;
        let mut touched = false;
        for chunk in self.unsynced.iter_mut().chain(self.hand.iter_mut()) {
            for i in 0..chunk.frames.len() {
                let Draft { offset: old, .. } = chunk.frames[i];
                if !chunk.frames[i].is_unsafe(from, self.synced) {
                    continue;
                }
                if !std::mem::replace(&mut touched, true) {
                    // Who of them was touched by these frames is not known any more; all is safe.
                    index.touch_all(&refs.touched());
                }
                let range = chunk.frame(i);
                let records = &chunk.buffer[range.start + HEADER..range.end];
                let header = HEADER as u64;
                if index
                    .relocate(from, old + header, offset + header, records)
                    .is_err()
                {
                    log::error!("store: a record that was written is malformed");
                }
                chunk.frames[i].segment = index.segments.open.number;
                chunk.frames[i].offset = offset;
                offset += range.len() as u64;
            }
        }
        index.segments.open.end = offset;
        Build {
            number: from,
            end: self.synced,
            refs,
        }
    }
}
