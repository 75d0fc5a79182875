//! Opening: which segments count and how far, and folding what they say.

mod salvage;

use crate::disk::{Disk, DiskFile, Entry};
use crate::frame;
use crate::idx::Contents;
use crate::index::Index;
use crate::keeper::Build;
use crate::segment::{
    DATA, HeadFound, Refs, Segment, SegmentHead, Walked, Walker, idx_name, log_name, newer,
    number_before, number_of,
};
use crate::{OpenError, Options, Position};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// A store as it was found.
pub(crate) struct Found {
    pub index: Index,
    /// the segment to go on with
    pub number: u32,
    pub file: Arc<dyn DiskFile>,
    pub capacity: u64,
    pub end: u64,
    pub position: Position,
    /// larger than the number of every file
    pub next_number: u32,
    /// index files that are missing
    pub builds: Vec<Build>,
    pub reports: Vec<String>,
}

/// A segment file before it is read.
struct Candidate {
    bytes: u64,
    head: Option<SegmentHead>,
    /// as the head of the next one says
    end: Option<u64>,
}

struct Recovery<'a> {
    disk: &'a dyn Disk,
    options: &'a Options,
    secret: [u8; 16],
    reports: Vec<String>,
    position: Position,
    /// up to here the segment folded last was synced when its last frame was written
    synced: u64,
    builds: Vec<Build>,
}

/// Reads all that is there.
///
/// # Errors
/// When files cannot be read, a later version wrote them, or an empty directory cannot be written.
pub(crate) fn recover(disk: &dyn Disk, options: &Options) -> Result<Found, OpenError> {
    let failed = |e: io::Error| OpenError {
        message: format!("{}: {e}", disk.place()),
    };
    let entries = disk.list().map_err(failed)?;
    let mut segments = heads(disk, &entries)?;
    finish_replacing(disk, &entries, &mut segments).map_err(failed)?;
    let highest = segments.keys().next_back().copied().unwrap_or(0);
    let secret = segments
        .values()
        .filter_map(|s| s.head)
        .map(|h| h.key)
        .next_back();
    let next_owner = segments
        .values()
        .filter_map(|s| s.head)
        .map(|h| h.next_owner)
        .max();
    let mut recovery = Recovery {
        disk,
        options,
        secret: secret.unwrap_or_else(random),
        reports: Vec::new(),
        position: 0,
        synced: DATA,
        builds: Vec::new(),
    };
    recovery.drop_void(&mut segments).map_err(failed)?;
    recovery.drop_headless(&mut segments).map_err(failed)?;
    let mut index = Index::new(recovery.secret, Segment::new(0));
    index.next_owner = next_owner.unwrap_or(1);
    let last = segments.keys().next_back().copied();
    let mut open = None;
    for (&number, candidate) in &segments {
        let read = if Some(number) == last {
            recovery
                .last(&mut index, number, candidate)
                .map(|o| open = Some((number, o)))
        } else {
            recovery.sealed(&mut index, number, candidate)
        };
        read.map_err(|e| OpenError {
            message: format!("{}/{}: {e}", disk.place(), log_name(number)),
        })?;
    }
    let (number, (file, capacity, end)) = match open {
        Some(open) => open,
        None => {
            let number = highest + 1;
            let open = recovery.first(number, index.next_owner).map_err(failed)?;
            index.segments.open = Segment {
                file_bytes: open.1,
                ..Segment::new(number)
            };
            (number, open)
        }
    };
    let (messages, keys) = index.drop_missing();
    if messages > 0 || keys > 0 {
        recovery.report(format!(
            "{messages} messages and {keys} values were in files of the log that are gone, and are lost"
        ));
    }
    index
        .owners
        .iter_mut()
        .for_each(|owner| owner.live.shrink());
    remove_leftovers(disk, &entries, &index);
    Ok(Found {
        index,
        number,
        file,
        capacity,
        end,
        position: recovery.position,
        next_number: highest.max(number) + 1,
        builds: recovery.builds,
        reports: recovery.reports,
    })
}

/// 16 bytes nobody can foresee: the keys of the standard library's hashers are drawn from the system.
fn random() -> [u8; 16] {
    use std::hash::{BuildHasher, RandomState};
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&RandomState::new().hash_one(1u8).to_le_bytes());
    bytes[8..].copy_from_slice(&RandomState::new().hash_one(2u8).to_le_bytes());
    bytes
}

fn heads(disk: &dyn Disk, entries: &[Entry]) -> Result<BTreeMap<u32, Candidate>, OpenError> {
    let mut segments = BTreeMap::new();
    for entry in entries {
        let Some(number) = number_of(&entry.name) else {
            continue;
        };
        let mut bytes = [0; DATA as usize];
        let got = disk
            .open(&entry.name)
            .and_then(|file| file.read_full_at(0, &mut bytes))
            .map_err(|e| OpenError {
                message: format!("{}/{} cannot be read: {e}", disk.place(), entry.name),
            })?;
        let head = match SegmentHead::decode(&bytes[..got], number) {
            HeadFound::Good(head) => Some(head),
            HeadFound::Newer(version) => return Err(newer(disk, &entry.name, version)),
            HeadFound::Bad => None,
        };
        segments.insert(
            number,
            Candidate {
                bytes: entry.bytes,
                head,
                end: None,
            },
        );
    }
    Ok(segments)
}

/// A file that was to take the place of a damaged one (see [`Recovery::replace`]) does so now, if the damaged
/// one was set aside already.
fn finish_replacing(
    disk: &dyn Disk,
    entries: &[Entry],
    segments: &mut BTreeMap<u32, Candidate>,
) -> io::Result<()> {
    for entry in entries {
        let Some(number) = number_before(&entry.name, ".new") else {
            continue;
        };
        let mut bytes = [0; DATA as usize];
        let got = disk.open(&entry.name)?.read_full_at(0, &mut bytes)?;
        match SegmentHead::decode(&bytes[..got], number) {
            HeadFound::Good(head) if !segments.contains_key(&number) => {
                disk.rename(&entry.name, &log_name(number))?;
                disk.sync_dir()?;
                let found = Candidate {
                    bytes: entry.bytes,
                    head: Some(head),
                    end: None,
                };
                segments.insert(number, found);
            }
            _ => disk.remove(&entry.name)?,
        }
    }
    Ok(())
}

/// Index files without a segment. (Spare files are removed by the keeper.)
fn remove_leftovers(disk: &dyn Disk, entries: &[Entry], index: &Index) {
    for entry in entries {
        if let Some(number) = number_before(&entry.name, ".idx")
            && !index.segments.sealed.contains_key(&number)
        {
            // One that stays is removed when a segment of that number is sealed.
            let _ = disk.remove(&entry.name);
        }
    }
}

impl Recovery<'_> {
    fn report(&mut self, text: String) {
        self.reports.push(format!("{}: {text}", self.disk.place()));
    }

    /// What a crash left half-written was promised to nobody: no reason to alarm anyone.
    fn cut(&self, name: &str, end: u64) {
        let place = self.disk.place();
        log::info!("store: {place}/{name} ends with a torn write, cut at byte {end}");
    }

    /// Segments that were given up when a write failed; and where those before them end.
    fn drop_void(&mut self, segments: &mut BTreeMap<u32, Candidate>) -> io::Result<()> {
        let heads: Vec<SegmentHead> = segments.values().rev().filter_map(|s| s.head).collect();
        for head in heads {
            // One that is void itself says nothing.
            if !segments.contains_key(&head.number) {
                continue;
            }
            let void: Vec<u32> = segments
                .range(head.previous.saturating_add(1)..head.number)
                .map(|(&n, _)| n)
                .collect();
            for number in void {
                segments.remove(&number);
                self.disk.remove(&log_name(number))?;
            }
            if let Some(previous) = segments.get_mut(&head.previous) {
                previous.end = Some(head.previous_end);
            }
        }
        Ok(())
    }

    /// Files without a head, and without frames that were written behind one: a segment that was just being begun.
    fn drop_headless(&mut self, segments: &mut BTreeMap<u32, Candidate>) -> io::Result<()> {
        let headless: Vec<u32> = segments
            .iter()
            .filter(|(_, s)| s.head.is_none())
            .map(|(&n, _)| n)
            .collect();
        for number in headless {
            let name = log_name(number);
            let bytes = self.read_whole(&*self.disk.open(&name)?)?;
            let mut from = 0;
            let mut frames = false;
            while let Some(at) = frame::find(&bytes, self.secret, number, 0, from)
                && !frames
            {
                frames = frame::peek(&bytes[at..]).is_some_and(|head| head.synced >= DATA);
                from = at + 1;
            }
            // In a file that was used before, bytes are left of that use.
            let known = segments.values().any(|s| s.head.is_some());
            if frames {
                continue;
            }
            segments.remove(&number);
            // The first file of a store, with a torn head and nothing behind it, was just being begun, too.
            if known || bytes.iter().skip(DATA as usize).all(|b| *b == 0) {
                self.disk.remove(&name)?;
            } else {
                self.set_aside(&name)?;
                self.report(format!(
                    "{name} does not begin like a file of the log and holds nothing that can be read; it is now {name}.corrupt"
                ));
            }
        }
        Ok(())
    }

    fn set_aside(&self, name: &str) -> io::Result<()> {
        self.disk.rename(name, &format!("{name}.corrupt"))?;
        self.disk.sync_dir()
    }

    fn read_whole(&self, file: &dyn DiskFile) -> io::Result<Vec<u8>> {
        let len = usize::try_from(file.len()?).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut bytes = vec![0; len];
        let got = file.read_full_at(0, &mut bytes)?;
        bytes.truncate(got);
        Ok(bytes)
    }

    /// The first segment of a new store.
    fn first(&mut self, number: u32, next_owner: u64) -> io::Result<(Arc<dyn DiskFile>, u64, u64)> {
        let bytes = self.options.segment_bytes.max(2 * DATA);
        let file = self.disk.create(&log_name(number), bytes)?;
        let head = SegmentHead {
            number,
            start: self.position,
            previous: 0,
            previous_end: 0,
            key: self.secret,
            next_owner,
        };
        file.write_all_at(0, &head.encode())?;
        file.sync_data()?;
        self.disk.sync_dir()?;
        Ok((file, bytes, DATA))
    }

    /// Folds a segment that is no longer written to.
    fn sealed(&mut self, index: &mut Index, number: u32, found: &Candidate) -> io::Result<()> {
        if let Some(head) = found.head {
            self.position = self.position.max(head.start);
        }
        let end = found.end.unwrap_or(found.bytes).min(found.bytes);
        let short = found.end.is_some_and(|end| end > found.bytes);
        if found.head.is_some() && !short && self.fold_idx_file(index, number, end, found.bytes) {
            return Ok(());
        }
        let file = self.disk.open(&log_name(number))?;
        index.segments.open = Segment {
            file_bytes: found.bytes,
            ..Segment::new(number)
        };
        let good = self.whole_until(&file, number, end)?;
        let bad = good < end && found.end.is_some()
            || self.frame_behind(&file, number, good, end)?.is_some();
        if bad || short || found.head.is_none() {
            let text = if found.head.is_none() {
                "its head is damaged".to_owned()
            } else {
                format!("it is damaged at byte {good}")
            };
            let (file, end) = self.replace(index, number, found, &file, end, &text)?;
            self.fold(index, &file, number, end)?;
            self.seal(index, number, end);
        } else {
            self.fold(index, &file, number, good)?;
            self.seal(index, number, good);
        }
        Ok(())
    }

    fn seal(&mut self, index: &mut Index, number: u32, end: u64) {
        let refs = index.seal(end, Segment::new(0));
        self.builds.push(Build { number, end, refs });
    }

    /// Folds a segment from its index file; `false` when there is none that can be used.
    fn fold_idx_file(&mut self, index: &mut Index, number: u32, end: u64, bytes: u64) -> bool {
        let contents = match Contents::read(self.disk, self.secret, number, end) {
            Ok(contents) => contents,
            Err(e) => {
                if e.kind() != io::ErrorKind::NotFound {
                    log::info!("store: {} is made again: {e}", idx_name(number));
                }
                return false;
            }
        };
        index.segments.open = Segment {
            file_bytes: bytes,
            ..Segment::new(number)
        };
        if let Err(e) = index.fold_idx(&contents) {
            // Its checksum was right: this is no damage but a mistake in this program.
            self.report(format!("{}: {e}", idx_name(number)));
        }
        index.segments.open.idx_bytes = contents.idx.bytes;
        index.seal(end, Segment::new(0));
        if let Some(segment) = index.segments.sealed.get_mut(&number) {
            segment.refs = Some(Refs::File(Arc::new(contents.idx)));
        }
        true
    }

    /// Where the first place is that is no whole frame.
    fn whole_until(&self, file: &Arc<dyn DiskFile>, number: u32, end: u64) -> io::Result<u64> {
        let mut walker = Walker::new(Arc::clone(file), self.secret, number, end);
        loop {
            match walker.next()? {
                Walked::Frame(_) => {}
                Walked::Bad { offset } => return Ok(offset),
                Walked::End => return Ok(end),
            }
        }
    }

    /// The head of the first whole frame behind a bad place.
    fn frame_behind(
        &self,
        file: &Arc<dyn DiskFile>,
        number: u32,
        from: u64,
        end: u64,
    ) -> io::Result<Option<frame::Head>> {
        if from >= end {
            return Ok(None);
        }
        let bytes = self.read_whole(&**file)?;
        let at = frame::find(&bytes, self.secret, number, 0, from as usize);
        Ok(at.and_then(|at| frame::peek(&bytes[at..])))
    }

    /// Folds all frames up to `end`; places that are bad are passed over.
    fn fold(
        &mut self,
        index: &mut Index,
        file: &Arc<dyn DiskFile>,
        number: u32,
        end: u64,
    ) -> io::Result<()> {
        let mut walker = Walker::new(Arc::clone(file), self.secret, number, end);
        loop {
            match walker.next()? {
                // Written a second time, in a segment that would count as void if the head that says so were
                // not damaged.
                Walked::Frame(frame)
                    if !frame.head.moved && frame.head.position < self.position => {}
                Walked::Frame(frame) => {
                    self.position = self.position.max(frame.head.after());
                    self.synced = frame.head.synced;
                    if index.fold(frame.offset, frame.records).is_err() {
                        let at = frame.offset;
                        self.report(format!(
                            "{}: a record behind byte {at} is malformed",
                            log_name(number)
                        ));
                    }
                    index.segments.open.end = walker.offset();
                }
                Walked::Bad { .. } => walker.skip()?,
                Walked::End => return Ok(()),
            }
        }
    }

    /// Folds the segment written to last; its file, its size and where to go on.
    fn last(
        &mut self,
        index: &mut Index,
        number: u32,
        found: &Candidate,
    ) -> io::Result<(Arc<dyn DiskFile>, u64, u64)> {
        let name = log_name(number);
        if let Some(head) = found.head {
            self.position = self.position.max(head.start);
        }
        let mut file = self.disk.open(&name)?;
        index.segments.open = Segment {
            file_bytes: found.bytes,
            ..Segment::new(number)
        };
        let mut capacity = found.bytes;
        let mut end = self.whole_until(&file, number, capacity)?;
        let behind = self.frame_behind(&file, number, end, capacity)?;
        let synced = behind.is_some_and(|head| head.synced > end);
        if found.head.is_none() || synced {
            let text = if found.head.is_none() {
                "its head is damaged".to_owned()
            } else {
                format!("it is damaged at byte {end}, before bytes that were synced later")
            };
            (file, end) = self.replace(index, number, found, &file, capacity, &text)?;
            capacity = file.len()?;
        } else if behind.is_some() {
            self.cut(&name, end);
            // Else a frame that comes to lie before the whole one behind the cut would bring it back to life.
            wipe(&*file, end, capacity)?;
        } else if self.torn(&file, end, capacity)? {
            self.cut(&name, end);
        }
        self.synced = DATA;
        self.fold(index, &file, number, end)?;
        // After a kill these frames may be nowhere but in the memory of the system; and if a sync had failed before it,
        // the system takes them for written, so that another sync alone would not do.
        let from = if self.synced > DATA { self.synced } else { 0 };
        write_again(&*file, from, end)?;
        file.sync_data()?;
        self.disk.sync_dir()?;
        Ok((file, capacity, end))
    }

    /// Whether a frame was begun at `end`: such bytes of an earlier use of the file have another position.
    fn torn(&self, file: &Arc<dyn DiskFile>, end: u64, capacity: u64) -> io::Result<bool> {
        let mut bytes = [0; frame::HEADER];
        let len = (capacity - end).min(bytes.len() as u64) as usize;
        let got = file.read_full_at(end, &mut bytes[..len])?;
        let head = frame::peek(&bytes[..got]);
        Ok(
            head.is_some_and(|h| {
                h.position >= self.position && h.synced <= end && h.synced >= DATA
            }),
        )
    }
}

/// Writes once more what a file holds from one place to another.
fn write_again(file: &dyn DiskFile, mut from: u64, to: u64) -> io::Result<()> {
    let mut bytes = vec![0; 256 << 10];
    while from < to {
        let n = (to - from).min(bytes.len() as u64) as usize;
        file.read_exact_at(from, &mut bytes[..n])?;
        file.write_all_at(from, &bytes[..n])?;
        from += n as u64;
    }
    Ok(())
}

/// Writes zeros.
fn wipe(file: &dyn DiskFile, mut from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; 256 << 10];
    while from < to {
        let n = (to - from).min(zeros.len() as u64);
        file.write_all_at(from, &zeros[..n as usize])?;
        from += n;
    }
    file.sync_data()
}

/// Whether the frames of a segment are whole up to `bytes`: how many there are, or where the first bad one is.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn check_frames(
    file: &Arc<dyn DiskFile>,
    number: u32,
    bytes: u64,
) -> io::Result<Result<u64, u64>> {
    let mut head = [0; DATA as usize];
    let got = file.read_full_at(0, &mut head)?;
    let HeadFound::Good(head) = SegmentHead::decode(&head[..got], number) else {
        return Ok(Err(0));
    };
    let mut walker = Walker::new(Arc::clone(file), head.key, number, bytes);
    let mut frames = 0;
    loop {
        match walker.next()? {
            Walked::Frame(_) => frames += 1,
            Walked::Bad { offset } => return Ok(Err(offset)),
            Walked::End => return Ok(Ok(frames)),
        }
    }
}
