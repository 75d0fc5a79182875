//! A disk in memory that fails when told to, and forgets at a power cut what a real one may forget.
//!
//! It keeps two pictures of every file and of the directory: what a running program sees, and what is on
//! stable storage. [`SimDisk::crash`] makes a new disk out of them, as it may be found after the cut.
//! Everything that happens can be recorded ([`SimDisk::record`]); a [`Replay`] goes through the record and
//! makes a crash at any place of it.

use super::{Disk, DiskFile, Entry};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

/// What is written whole or not at all by the hardware.
const SECTOR: usize = 512;

/// A small generator of random numbers; the same seed gives the same numbers.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// One that starts from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// The next number (splitmix64).
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 when `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.draw() % n }
    }

    /// True in `permille` of 1000 cases.
    pub fn chance(&mut self, permille: u32) -> bool {
        permille > 0 && self.below(1000) < u64::from(permille)
    }
}

/// What goes wrong, and how often, in thousandths of the operations of a kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// a write stores only some of the bytes, and says so
    pub short_write: u32,
    /// a write fails with EIO; some of the bytes may have been stored
    pub write_error: u32,
    /// a write fails with ENOSPC, as on file systems that give no room in advance
    pub write_full: u32,
    /// a sync fails with EIO; of what was not synced some is stored, the rest never will be
    pub sync_error: u32,
    /// a sync of the directory fails with EIO
    pub dir_error: u32,
    /// creating, renaming, removing fails with EIO; it has not happened
    pub name_error: u32,
    /// a read fails with EIO
    pub read_error: u32,
    /// bytes of all files beyond which creating and growing fails with ENOSPC; 0 = no limit
    pub capacity: u64,
}

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// the process is killed: what was written is there, though some of it only in the memory of the system
    Kill,
    /// the power fails: what was not synced is lost, kept or torn, each sector by chance
    Power,
}

/// What was done to the disk.
#[derive(Debug, Clone)]
enum Op {
    Create {
        name: String,
        file: u64,
        size: u64,
    },
    Rename {
        from: String,
        to: String,
    },
    Remove {
        name: String,
    },
    SyncDir,
    Write {
        file: u64,
        pos: u64,
        bytes: Arc<[u8]>,
    },
    SetLen {
        file: u64,
        len: u64,
    },
    Sync {
        file: u64,
    },
    /// a sync that failed, with the seed that says what became of each sector
    SyncFailed {
        file: u64,
        seed: u64,
    },
    /// put there by the test
    Mark(u64),
}

#[derive(Debug, Clone, Default)]
struct FileData {
    /// what a program reads
    now: Vec<u8>,
    /// what is on stable storage
    stable: Vec<u8>,
    /// sectors of `now` that are yet to be stored
    dirty: BTreeSet<usize>,
    /// how many have it open
    handles: usize,
}

impl FileData {
    fn write(&mut self, pos: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let pos = pos as usize;
        let end = pos + bytes.len();
        if self.now.len() < end {
            self.now.resize(end, 0);
        }
        self.now[pos..end].copy_from_slice(bytes);
        self.dirty.extend(pos / SECTOR..=(end - 1) / SECTOR);
    }

    fn set_len(&mut self, len: u64) {
        let len = len as usize;
        if len < self.now.len() {
            // what lay there must not come back when the file grows again
            let first = len / SECTOR;
            self.dirty.extend(first..self.now.len().div_ceil(SECTOR));
        }
        self.now.resize(len, 0);
    }

    /// Copies a sector from what is seen to stable storage, only its first `most` bytes.
    fn store(&mut self, sector: usize, most: usize) {
        let start = sector * SECTOR;
        let end = (start + most.min(SECTOR)).min(self.now.len());
        if start >= end {
            return;
        }
        if self.stable.len() < end {
            self.stable.resize(end, 0);
        }
        self.stable[start..end].copy_from_slice(&self.now[start..end]);
    }

    fn sync(&mut self) {
        for sector in std::mem::take(&mut self.dirty) {
            self.store(sector, SECTOR);
        }
        self.stable.resize(self.now.len(), 0);
    }

    /// A sync that fails: each sector may have made it. Those that did not are clean for the system all the same
    /// and never written again; some are dropped from its memory, so that the old bytes are read.
    fn sync_failed(&mut self, seed: u64) {
        let mut rng = Rng::new(seed);
        for sector in std::mem::take(&mut self.dirty) {
            match rng.below(3) {
                0 => self.store(sector, SECTOR),
                1 => {}
                _ => {
                    let start = (sector * SECTOR).min(self.now.len());
                    let end = (start + SECTOR).min(self.now.len());
                    for at in start..end {
                        self.now[at] = self.stable.get(at).copied().unwrap_or(0);
                    }
                }
            }
        }
    }

    /// What is found after a power cut.
    fn cut(&self, rng: &mut Rng) -> Vec<u8> {
        let mut found = self.clone();
        let (before, now) = (self.stable.len(), self.now.len());
        // The file system stores in blocks of one size or another; some cuts keep almost all, others almost none.
        let block = if rng.chance(500) { 1 } else { 4096 / SECTOR };
        let keep = [50, 300, 500, 700, 950][rng.below(5) as usize];
        let mut last = None;
        let mut kept = false;
        for &sector in &self.dirty {
            if last != Some(sector / block) {
                last = Some(sector / block);
                kept = rng.chance(keep);
            }
            if kept {
                found.store(sector, SECTOR);
            } else if rng.chance(60) {
                found.store(sector, rng.below(SECTOR as u64) as usize);
            }
        }
        // The length is metadata, and makes it or not on its own.
        let len = match rng.below(4) {
            0 => before,
            1 => {
                before.min(now)
                    + rng.below((before.abs_diff(now) / SECTOR + 1) as u64) as usize * SECTOR
            }
            _ => now,
        };
        found.stable.resize(len, 0);
        found.stable
    }
}

#[derive(Debug, Clone, Default)]
struct State {
    files: BTreeMap<u64, FileData>,
    names: BTreeMap<String, u64>,
    stable_names: BTreeMap<String, u64>,
    /// changes of names that are not synced yet
    changes: Vec<Op>,
}

fn rename(names: &mut BTreeMap<String, u64>, change: &Op) {
    match change {
        Op::Create { name, file, .. } => {
            names.insert(name.clone(), *file);
        }
        Op::Rename { from, to } => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        Op::Remove { name } => {
            names.remove(name);
        }
        _ => {}
    }
}

impl State {
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Create { file, size, .. } => {
                self.files.insert(
                    *file,
                    FileData {
                        now: vec![0; *size as usize],
                        ..FileData::default()
                    },
                );
                self.change(op);
            }
            Op::Rename { .. } | Op::Remove { .. } => self.change(op),
            Op::SyncDir => {
                self.stable_names = self.names.clone();
                self.changes.clear();
                self.forget();
            }
            Op::Write { file, pos, bytes } => self.on(*file, |f| f.write(*pos, bytes)),
            Op::SetLen { file, len } => self.on(*file, |f| f.set_len(*len)),
            Op::Sync { file } => self.on(*file, FileData::sync),
            Op::SyncFailed { file, seed } => self.on(*file, |f| f.sync_failed(*seed)),
            Op::Mark(_) => {}
        }
    }

    fn change(&mut self, op: &Op) {
        rename(&mut self.names, op);
        self.changes.push(op.clone());
    }

    fn on(&mut self, file: u64, f: impl FnOnce(&mut FileData)) {
        if let Some(data) = self.files.get_mut(&file) {
            f(data);
        }
    }

    /// Drops files that have no name and that nobody has open.
    fn forget(&mut self) {
        let named: BTreeSet<u64> = self
            .names
            .values()
            .chain(self.stable_names.values())
            .copied()
            .collect();
        let coming: BTreeSet<u64> = self
            .changes
            .iter()
            .filter_map(|c| {
                if let Op::Create { file, .. } = c {
                    Some(*file)
                } else {
                    None
                }
            })
            .collect();
        self.files
            .retain(|id, data| data.handles > 0 || named.contains(id) || coming.contains(id));
    }

    fn bytes(&self) -> u64 {
        self.names
            .values()
            .filter_map(|id| self.files.get(id))
            .map(|f| f.now.len() as u64)
            .sum()
    }

    /// What is found afterwards.
    fn cut(&self, cut: Cut, seed: u64) -> State {
        match cut {
            // The system goes on, and what it has not stored yet can still be lost by a later power cut.
            Cut::Kill => {
                let mut found = self.clone();
                for data in found.files.values_mut() {
                    data.handles = 0;
                }
                found.forget();
                found
            }
            Cut::Power => self.power_cut(&mut Rng::new(seed)),
        }
    }

    fn power_cut(&self, rng: &mut Rng) -> State {
        let mut names = self.stable_names.clone();
        // A journal keeps the order of changes; other file systems do not.
        let ordered = rng.chance(500);
        let first = rng.below(self.changes.len() as u64 + 1) as usize;
        for (i, change) in self.changes.iter().enumerate() {
            if if ordered { i < first } else { rng.chance(500) } {
                rename(&mut names, change);
            }
        }
        let mut found = State::default();
        for (name, id) in names {
            let Some(data) = self.files.get(&id) else {
                continue;
            };
            let bytes = data.cut(rng);
            found.files.insert(
                id,
                FileData {
                    now: bytes.clone(),
                    stable: bytes,
                    ..FileData::default()
                },
            );
            found.names.insert(name.clone(), id);
            found.stable_names.insert(name, id);
        }
        found
    }
}

struct Inner {
    state: State,
    next_file: u64,
    faults: Faults,
    rng: Rng,
    record: Option<Record>,
    counts: Counts,
}

/// What has been done to a disk, and how much of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// writes
    pub writes: u64,
    /// bytes they stored
    pub written: u64,
    /// reads
    pub reads: u64,
    /// bytes they gave
    pub read: u64,
    /// syncs of files that succeeded
    pub syncs: u64,
    /// operations that were made to fail, short writes included
    pub faults: u64,
    /// most bytes of all files together
    pub most_bytes: u64,
}

/// What happened on a disk from some moment on.
#[derive(Debug, Clone)]
pub struct Record {
    start: State,
    ops: Vec<Op>,
}

impl Record {
    /// How many operations there are, marks included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether nothing happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
}

/// Goes through a [`Record`], operation by operation.
pub struct Replay<'a> {
    state: State,
    ops: std::slice::Iter<'a, Op>,
}

/// One step of a [`Replay`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// an operation on the disk
    Operation,
    /// a mark of the test
    Mark(u64),
}

impl<'a> Replay<'a> {
    /// Starts before the first operation.
    #[must_use]
    pub fn new(record: &'a Record) -> Replay<'a> {
        Replay {
            state: record.start.clone(),
            ops: record.ops.iter(),
        }
    }

    /// Goes one step on; `None` at the end.
    pub fn step(&mut self) -> Option<Step> {
        let op = self.ops.next()?;
        self.state.apply(op);
        Some(if let Op::Mark(value) = op {
            Step::Mark(*value)
        } else {
            Step::Operation
        })
    }

    /// The disk as it may be found when the run ends here, in one case of three in the middle of the next
    /// operation when that is a write. Made from `seed` alone.
    #[must_use]
    pub fn cut(&self, cut: Cut, seed: u64) -> SimDisk {
        let mut rng = Rng::new(seed ^ 0x5eed);
        let found = match self.ops.as_slice().first() {
            Some(Op::Write { file, pos, bytes }) if rng.chance(333) => {
                let mut state = self.state.clone();
                let most = rng.below(bytes.len() as u64 + 1) as usize;
                state.on(*file, |f| f.write(*pos, &bytes[..most]));
                state.cut(cut, seed)
            }
            _ => self.state.cut(cut, seed),
        };
        SimDisk::from_state(found, seed)
    }
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<Inner>>);

impl SimDisk {
    /// An empty one; `seed` decides over all its chances.
    #[must_use]
    pub fn new(seed: u64) -> SimDisk {
        SimDisk::from_state(State::default(), seed)
    }

    fn from_state(state: State, seed: u64) -> SimDisk {
        let next_file = state.files.keys().next_back().map_or(1, |last| last + 1);
        let counts = Counts {
            most_bytes: state.bytes(),
            ..Counts::default()
        };
        let inner = Inner {
            state,
            next_file,
            faults: Faults::default(),
            rng: Rng::new(seed),
            record: None,
            counts,
        };
        SimDisk(Arc::new(Mutex::new(inner)))
    }

    /// From now on these things go wrong.
    pub fn fail(&self, faults: Faults) {
        self.0.lock().faults = faults;
    }

    /// From now on nothing goes wrong any more. What was lost stays lost.
    pub fn heal(&self) {
        self.fail(Faults::default());
    }

    /// Begins a new record of what happens.
    pub fn record(&self) {
        let mut inner = self.0.lock();
        inner.record = Some(Record {
            start: inner.state.clone(),
            ops: Vec::new(),
        });
    }

    /// Ends the record and gives it; an empty one when none was begun.
    #[must_use]
    pub fn take_record(&self) -> Record {
        let mut inner = self.0.lock();
        match inner.record.take() {
            Some(record) => record,
            None => Record {
                start: inner.state.clone(),
                ops: Vec::new(),
            },
        }
    }

    /// Puts a mark into the record, so that a [`Replay`] can tell what was true when.
    pub fn mark(&self, value: u64) {
        if let Some(record) = &mut self.0.lock().record {
            record.ops.push(Op::Mark(value));
        }
    }

    /// The disk as it may be found when the run ends now. This one goes on unchanged.
    #[must_use]
    pub fn crash(&self, cut: Cut, seed: u64) -> SimDisk {
        SimDisk::from_state(self.0.lock().state.cut(cut, seed), seed)
    }

    /// Bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.lock().state.bytes()
    }

    /// What has been done to it so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.0.lock().counts
    }

    /// Turns over one bit of a file, on stable storage too; `false` when there is none at that place.
    pub fn damage(&self, name: &str, pos: u64) -> bool {
        let mut inner = self.0.lock();
        let Some(id) = inner.state.names.get(name).copied() else {
            return false;
        };
        let Some(data) = inner.state.files.get_mut(&id) else {
            return false;
        };
        let pos = pos as usize;
        for side in [&mut data.now, &mut data.stable] {
            match side.get_mut(pos) {
                Some(byte) => *byte ^= 0x10,
                None => return false,
            }
        }
        true
    }
}

impl Inner {
    fn act(&mut self, op: Op) {
        self.state.apply(&op);
        if let Some(record) = &mut self.record {
            record.ops.push(op);
        }
        self.counts.most_bytes = self.counts.most_bytes.max(self.state.bytes());
    }

    /// Fails in `permille` of 1000 cases.
    fn chance(&mut self, permille: u32, errno: rustix::io::Errno) -> io::Result<()> {
        if self.rng.chance(permille) {
            self.counts.faults += 1;
            return Err(errno.into());
        }
        Ok(())
    }

    fn room_for(&mut self, more: u64) -> io::Result<()> {
        if self.faults.capacity > 0 && self.state.bytes() + more > self.faults.capacity {
            self.counts.faults += 1;
            return Err(rustix::io::Errno::NOSPC.into());
        }
        Ok(())
    }

    fn find(&self, name: &str) -> io::Result<u64> {
        self.state
            .names
            .get(name)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn data(&self, file: u64) -> io::Result<&FileData> {
        self.state
            .files
            .get(&file)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl SimDisk {
    fn handle(&self, inner: &mut Inner, file: u64) -> Arc<dyn DiskFile> {
        inner.state.on(file, |f| f.handles += 1);
        Arc::new(SimFile {
            disk: self.clone(),
            file,
        })
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<Entry>> {
        let inner = &mut *self.0.lock();
        inner.chance(inner.faults.read_error, rustix::io::Errno::IO)?;
        let mut entries = Vec::new();
        for (name, id) in &inner.state.names {
            entries.push(Entry {
                name: name.clone(),
                bytes: inner.data(*id)?.now.len() as u64,
            });
        }
        Ok(entries)
    }

    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn DiskFile>> {
        let inner = &mut *self.0.lock();
        if inner.state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        inner.chance(inner.faults.name_error, rustix::io::Errno::IO)?;
        inner.room_for(size)?;
        let file = inner.next_file;
        inner.next_file += 1;
        inner.act(Op::Create {
            name: name.to_owned(),
            file,
            size,
        });
        Ok(self.handle(inner, file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let inner = &mut *self.0.lock();
        inner.chance(inner.faults.read_error, rustix::io::Errno::IO)?;
        let file = inner.find(name)?;
        Ok(self.handle(inner, file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let inner = &mut *self.0.lock();
        inner.find(from)?;
        inner.chance(inner.faults.name_error, rustix::io::Errno::IO)?;
        inner.act(Op::Rename {
            from: from.to_owned(),
            to: to.to_owned(),
        });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let inner = &mut *self.0.lock();
        inner.find(name)?;
        inner.chance(inner.faults.name_error, rustix::io::Errno::IO)?;
        inner.act(Op::Remove {
            name: name.to_owned(),
        });
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let inner = &mut *self.0.lock();
        inner.chance(inner.faults.dir_error, rustix::io::Errno::IO)?;
        inner.act(Op::SyncDir);
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let inner = self.0.lock();
        match inner.faults.capacity {
            0 => Ok(1 << 40),
            capacity => Ok(capacity.saturating_sub(inner.state.bytes())),
        }
    }

    fn place(&self) -> String {
        "the simulated disk".to_owned()
    }
}

struct SimFile {
    disk: SimDisk,
    file: u64,
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut inner = self.disk.0.lock();
        inner.state.on(self.file, |f| f.handles -= 1);
        inner.state.forget();
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, pos: u64, bytes: &[u8]) -> io::Result<usize> {
        let inner = &mut *self.disk.0.lock();
        let len = inner.data(self.file)?.now.len() as u64;
        let end = pos + bytes.len() as u64;
        if end > len {
            inner.room_for(end - len)?;
        }
        inner.chance(inner.faults.write_full, rustix::io::Errno::NOSPC)?;
        let faults = inner.faults;
        let failed = inner.chance(faults.write_error, rustix::io::Errno::IO);
        let mut most = bytes.len();
        if most > 1 && (failed.is_err() || inner.rng.chance(faults.short_write)) {
            // one byte at least when it is no error: 0 would mean that there is no room
            let least = usize::from(failed.is_ok());
            most = least + inner.rng.below((most - least) as u64) as usize;
            inner.counts.faults += u64::from(failed.is_ok());
        }
        inner.counts.writes += 1;
        inner.counts.written += most as u64;
        inner.act(Op::Write {
            file: self.file,
            pos,
            bytes: bytes[..most].into(),
        });
        failed.map(|()| most)
    }

    fn read_at(&self, pos: u64, into: &mut [u8]) -> io::Result<usize> {
        let inner = &mut *self.disk.0.lock();
        inner.chance(inner.faults.read_error, rustix::io::Errno::IO)?;
        let now = &inner.data(self.file)?.now;
        let from = (pos as usize).min(now.len());
        let n = into.len().min(now.len() - from);
        into[..n].copy_from_slice(&now[from..from + n]);
        inner.counts.reads += 1;
        inner.counts.read += n as u64;
        Ok(n)
    }

    fn sync_data(&self) -> io::Result<()> {
        let inner = &mut *self.disk.0.lock();
        if let Err(e) = inner.chance(inner.faults.sync_error, rustix::io::Errno::IO) {
            let seed = inner.rng.draw();
            inner.act(Op::SyncFailed {
                file: self.file,
                seed,
            });
            return Err(e);
        }
        inner.counts.syncs += 1;
        inner.act(Op::Sync { file: self.file });
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().data(self.file)?.now.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let inner = &mut *self.disk.0.lock();
        let now = inner.data(self.file)?.now.len() as u64;
        inner.room_for(len.saturating_sub(now))?;
        inner.act(Op::SetLen {
            file: self.file,
            len,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
