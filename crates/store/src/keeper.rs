//! The keeper: work on files that nobody waits for. It writes index files, and has the next segment ready.
//!
//! A sync of bytes that were written before, zeros or old ones, takes about two thirds of the time of one into
//! a file whose room is only reserved, because nothing but the bytes themselves has to reach the disk. Measured on
//! the ext4 of a virtual disk, synced writes of 4 KB / 128 KB per second: growing file 10,500 / 7,900; reserved
//! 14,800 / 9,300; zeros written in advance 22,700 / 9,700 with the time for the zeros counted in, though half
//! as long each; files used again 14,400-17,000 / 15,600. So a segment the cleaner has done with becomes the next one
//! (the CRC of a frame is bound to the number of its segment: what it holds from before never counts), and one that
//! must be made new is filled with zeros, except when segments fill so fast that this would take the
//! room of the writes themselves.

use crate::disk::DiskFile;
use crate::idx;
use crate::refs::MemRefs;
use crate::segment::{Refs, log_name};
use crate::shared::Shared;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Faster than one segment in this time, zeros are not written.
const UNHURRIED: Duration = Duration::from_secs(1);
/// A second spare file is given back after this time without use.
const IDLE: Duration = Duration::from_secs(5);
/// Spare files kept while segments come and go.
const SPARES: usize = 2;
/// While there is no room for one, it is tried again so often.
const RETRY: Duration = Duration::from_secs(1);
const ZEROS: usize = 256 << 10;

/// Name of a spare file.
pub(crate) const SPARE: &str = "spare.";

/// An index file to be written.
pub(crate) struct Build {
    pub number: u32,
    pub end: u64,
    pub refs: Arc<MemRefs>,
}

/// A file that may become a segment.
pub(crate) struct Spare {
    pub name: String,
    pub bytes: u64,
}

#[derive(Default)]
struct List {
    builds: VecDeque<Build>,
    spares: Vec<Spare>,
    /// for names
    made: u64,
    /// when the last one was taken, and how long after the one before
    taken: Option<Instant>,
    hurried: bool,
    /// making one failed; it is tried again when the next segment begins
    failed: bool,
    closing: bool,
}

/// What there is to do.
#[derive(Default)]
pub(crate) struct Chores {
    list: Mutex<List>,
    added: Condvar,
}

impl Chores {
    pub fn build(&self, build: Build) {
        self.list.lock().builds.push_back(build);
        self.added.notify_one();
    }

    /// Takes a spare file of at least `bytes`.
    pub fn take_spare(&self, shared: &Shared, bytes: u64) -> Option<Spare> {
        let mut list = self.list.lock();
        let now = Instant::now();
        list.hurried = list
            .taken
            .is_some_and(|t| now.duration_since(t) < UNHURRIED);
        list.taken = Some(now);
        list.failed = false;
        let fits = list.spares.iter().position(|s| s.bytes >= bytes);
        let spare = fits.map(|i| list.spares.remove(i));
        list.count(shared);
        drop(list);
        self.added.notify_one();
        spare
    }

    /// Makes the file of a segment that is gone a spare one, if there is use for it; its old name is gone for good
    /// then. `false`: there is no use, and it may still be there under that name.
    pub fn recycle(&self, shared: &Shared, number: u32) -> bool {
        let mut list = self.list.lock();
        let bytes = {
            let index = shared.index.lock();
            let segment = index.segments.sealed.get(&number);
            segment.map_or(0, |s| s.file_bytes)
        };
        if list.spares.len() >= SPARES || bytes != shared.options.segment_bytes {
            return false;
        }
        let to = list.name();
        if shared.disk.rename(&log_name(number), &to).is_err() {
            return false;
        }
        // Before this it might come back under its old name, with what is written to it from now on.
        if shared.disk.sync_dir().is_err() {
            let _ = shared.disk.remove(&to);
            return false;
        }
        list.spares.push(Spare { name: to, bytes });
        list.count(shared);
        drop(list);
        // The keeper gives it back when it is not used for a while.
        self.added.notify_one();
        true
    }

    /// The file of a sealed segment; one that ended early has given the rest of its room back. `None` when the segment
    /// has been cleaned away: its file may be another one's, and must not be cut.
    fn shorten(&self, shared: &Shared, build: &Build) -> io::Result<Option<Arc<dyn DiskFile>>> {
        let is_there = || {
            let index = shared.index.lock();
            let segment = index.segments.sealed.get(&build.number);
            segment.is_some_and(|s| !s.gone)
        };
        // No file gets another use while this is held.
        let _list = self.list.lock();
        if !is_there() {
            return Ok(None);
        }
        let file = shared.log_file(build.number)?;
        if build.end < file.len()? / 4 * 3 {
            file.set_len(build.end)?;
            let mut index = shared.index.lock();
            if let Some(segment) = index.segments.sealed.get_mut(&build.number) {
                segment.file_bytes = build.end;
            }
        }
        Ok(Some(file))
    }

    /// A spare file found at the start is removed. It may hold the beginning of a segment whose name was lost in
    /// a power cut; under the same number, which is free again, that would count as written.
    pub fn discard(&self, shared: &Shared, name: &str) {
        let number = name.strip_prefix(SPARE).and_then(|n| n.parse().ok());
        let mut list = self.list.lock();
        // Its name is not used again, so that nothing can mistake it for a new one if the removal does not last.
        list.made = list.made.max(number.filter(|n| *n < 1 << 60).unwrap_or(0));
        let _ = shared.disk.remove(name);
    }

    /// Tries again to make a file for which there was no room.
    #[allow(dead_code)]
    pub fn retry(&self, shared: &Shared) {
        if shared.no_room.load(Ordering::Relaxed) {
            self.list.lock().failed = false;
        }
    }

    pub fn close(&self) {
        self.list.lock().closing = true;
        self.added.notify_one();
    }
}

impl List {
    /// Whether a file may be made: not if the store is as large as it may be.
    fn may_grow(&self, shared: &Shared) -> bool {
        !shared.full.load(Ordering::Relaxed) || shared.no_room.load(Ordering::Relaxed)
    }

    fn name(&mut self) -> String {
        self.made += 1;
        format!("{SPARE}{}", self.made)
    }

    fn count(&self, shared: &Shared) {
        if !self.spares.is_empty() {
            shared.no_room.store(false, Ordering::Relaxed);
        }
        shared
            .spare_bytes
            .store(self.spares.iter().map(|s| s.bytes).sum(), Ordering::Relaxed);
    }
}

/// Does one thing; `false` when there was none.
pub(crate) fn step(shared: &Shared) -> bool {
    let mut list = shared.chores.list.lock();
    if let Some(build) = list.builds.pop_front() {
        drop(list);
        write_idx(shared, &build);
        return true;
    }
    if list.spares.is_empty() && !list.failed && list.may_grow(shared) {
        let name = list.name();
        let zeros = !list.hurried;
        drop(list);
        let bytes = shared.options.segment_bytes;
        let made = prepare(shared, &name, bytes, zeros);
        let mut list = shared.chores.list.lock();
        match made {
            Ok(()) => list.spares.push(Spare { name, bytes }),
            Err(e) => {
                list.failed = true;
                let room = matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
                if room && !shared.no_room.swap(true, Ordering::Relaxed) {
                    log::error!(
                        "store: {}: no room for another file of the log ({e}): nothing new is taken until messages leave",
                        shared.disk.place()
                    );
                    shared.figures.lock().error = Some(format!(
                        "{}: no room for another file: {e}",
                        shared.disk.place()
                    ));
                } else {
                    // The committer will meet the same when it needs one, and say so.
                    log::debug!("store: no file in reserve: {e}");
                }
            }
        }
        list.count(shared);
        drop(list);
        shared.count_space();
        return true;
    }
    false
}

/// The thread.
pub(crate) fn run(shared: &Shared) {
    loop {
        while step(shared) {}
        let mut list = shared.chores.list.lock();
        if list.closing {
            return;
        }
        let nothing = list.builds.is_empty()
            && (!list.spares.is_empty() || list.failed || !list.may_grow(shared));
        if !nothing {
            continue;
        }
        if list.failed && shared.no_room.load(Ordering::Relaxed) {
            shared.chores.added.wait_for(&mut list, RETRY);
            list.failed = false;
        } else if list.spares.len() < 2 {
            shared.chores.added.wait(&mut list);
        } else if shared.chores.added.wait_for(&mut list, IDLE).timed_out()
            && let Some(spare) = list.spares.pop()
        {
            list.count(shared);
            drop(list);
            let _ = shared.disk.remove(&spare.name);
            shared.count_space();
        }
    }
}

fn prepare(shared: &Shared, name: &str, bytes: u64, zeros: bool) -> io::Result<()> {
    let file = shared.disk.create(name, bytes)?;
    if zeros && let Err(e) = fill(&*file, bytes) {
        let _ = shared.disk.remove(name);
        return Err(e);
    }
    Ok(())
}

fn fill(file: &dyn DiskFile, bytes: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS];
    let mut at = 0;
    while at < bytes {
        let n = (bytes - at).min(ZEROS as u64);
        file.write_all_at(at, &zeros[..n as usize])?;
        at += n;
    }
    file.sync_data()
}

fn write_idx(shared: &Shared, build: &Build) {
    let secret = shared.index.lock().secret;
    let file = match shared.chores.shorten(shared, build) {
        Ok(Some(file)) => Ok(file),
        Ok(None) => return,
        Err(e) => Err(e),
    };
    let built = file.and_then(|file| {
        let idx = idx::build(
            &*shared.disk,
            Arc::clone(&file),
            secret,
            build.number,
            build.end,
            &build.refs,
        )?;
        Ok((file.len()?, idx))
    });
    match built {
        Ok((bytes, idx)) => {
            let mut index = shared.index.lock();
            match index.segments.sealed.get_mut(&build.number) {
                Some(segment) if !segment.gone => {
                    segment.file_bytes = bytes;
                    segment.idx_bytes = idx.bytes;
                    segment.refs = Some(Refs::File(Arc::new(idx)));
                }
                _ => {
                    drop(index);
                    let _ = shared.disk.remove(&crate::segment::idx_name(build.number));
                }
            }
        }
        // It stays in memory, and the next start makes the file again.
        Err(e) => log::warn!(
            "store: no index file for {}/{}: {e}",
            shared.disk.place(),
            log_name(build.number)
        ),
    }
    shared.count_space();
    shared.kick();
}
