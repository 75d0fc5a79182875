//! Gives back the room of what is no longer needed.
//!
//! A sealed segment of which little is still current is a *victim*: what is current of it is written again at the
//! head of the log, in slices between commits, and then its file is removed. Whether something is current is asked
//! of the index when its slice is made, and the slice is written before anything that was not folded by then; so it
//! is exact in the order of the log, and a recovery that finds victim, copies or both comes to the same state:
//! - a key is current if the index leads to this very record;
//! - a message is owed to those whose number the index places in this segment;
//! - of owners, all that was said in the victim is replaced by one `Progress` record, unless such a record stands in
//!   a later segment already;
//! - what a group's member has acknowledged is said of the group itself ([`Index::unsaid`]);
//! - deletions and ends are kept while a segment exists that is older than the one they first stood in.
//!
//! A segment counts as gone only when the removal of its name is synced: otherwise it might come back after the
//! deletions that belong to it have been dropped.

use crate::OwnerId;
use crate::batch::{Batch, Owed};
use crate::idx::Contents;
use crate::index::Index;
use crate::record::{MessageRecord, NOTHING, PROGRESS, Record, Records, put_varint};
use crate::segment::{Refs, Segment, Walked, Walker, idx_name, log_name};
use crate::shared::Shared;
use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::Ordering;

/// About so many bytes of owners' records are written between two commits.
const SLICE: usize = 256 << 10;
/// About so many bytes of the victim are read for one slice, so that not many more are written.
const READ: usize = 512 << 10;
/// A segment of which less than one part in so many is current is cleaned at once.
const NEARLY_EMPTY: u64 = 16;
/// After an error so many calls do nothing.
const PAUSE: u32 = 64;
/// More is not kept in memory of what is done and not said.
const UNSAID: usize = 10_000;

enum Stage {
    Records(Walker),
    Owners(std::vec::IntoIter<OwnerId>),
    Remove,
}

struct Task {
    victim: u32,
    stage: Stage,
}

/// The cleaning of one store.
#[derive(Default)]
pub(crate) struct Cleaner {
    task: Option<Task>,
    /// segments that turned out to be damaged: they stay as they are
    given_up: BTreeSet<u32>,
    pause: u32,
}

impl Cleaner {
    /// Puts what is still current of a piece of a segment into `out`, which is empty. Everything put in before is on
    /// stable storage and in the index, and what is put in now is written before anything the index has not seen.
    /// `false` when there is nothing to do; otherwise it should be called again soon, even if `out` stayed empty.
    pub fn slice(&mut self, shared: &Shared, out: &mut Batch) -> bool {
        let held = shared.cleaning_held.lock();
        if *held > 0 {
            return false;
        }
        if self.pause > 0 {
            self.pause -= 1;
            return false;
        }
        match self.go_on(shared, out) {
            Ok(more) => {
                shared.moved.fetch_add(out.len() as u64, Ordering::Relaxed);
                more
            }
            Err(e) => {
                log::warn!("store: {}: cleaning waits: {e}", shared.disk.place());
                out.clear();
                self.task = None;
                self.pause = PAUSE;
                false
            }
        }
    }

    /// What was put in last was not written, or not yet: goes through that segment again from its beginning.
    pub fn begin_again(&mut self) {
        self.task = None;
    }

    fn go_on(&mut self, shared: &Shared, out: &mut Batch) -> io::Result<bool> {
        let Some(task) = &mut self.task else {
            return self.begin(shared, out);
        };
        let number = task.victim;
        match &mut task.stage {
            Stage::Records(walker) => {
                // The index is not held while the disk is waited for.
                let mut frames = Vec::new();
                let end = read_frames(walker, &mut frames)?;
                let index = shared.index.lock();
                let moved = frames.iter().try_for_each(|(offset, records)| {
                    move_records(&index, number, *offset, records, out)
                });
                drop(index);
                match moved.map_or_else(|Damaged(at)| Read::Bad(at), |()| end) {
                    Read::Part => {}
                    Read::End => {
                        let touched = touched(shared, number);
                        task.stage = Stage::Owners(touched.into_iter());
                    }
                    Read::Bad(at) => {
                        log::error!(
                            "store: {}/{} is damaged at byte {at}; it is left as it is, and set aside at the next start",
                            shared.disk.place(),
                            log_name(number)
                        );
                        // What was put into `out` is current and may be written all the same.
                        self.give_up(number);
                    }
                }
            }
            Stage::Owners(owners) => {
                let index = shared.index.lock();
                for owner in owners.by_ref() {
                    move_owner(&index, number, owner, out);
                    if out.len() >= SLICE {
                        return Ok(true);
                    }
                }
                task.stage = Stage::Remove;
                say(&index, out);
                // That nothing is current may be due to records that are not synced yet. What is moved always is, and
                // all that stands before it.
                if out.is_empty() && shared.options.sync != crate::Sync::Always {
                    out.bytes.extend_from_slice(&[NOTHING, 0]);
                }
            }
            Stage::Remove => {
                let index = shared.index.lock();
                if !index.unsaid.is_empty() {
                    say(&index, out);
                    return Ok(true);
                }
                if let Some(victim) = index.segments.sealed.get(&number) {
                    if victim.refs_live > 0 || victim.state_live > 0 {
                        log::error!(
                            "store: {} messages and {} bytes of state in {} were not moved; it is kept",
                            victim.refs_live,
                            victim.state_live,
                            log_name(number)
                        );
                        self.give_up(number);
                        return Ok(true);
                    }
                    drop(index);
                    end_before(shared, number)?;
                    remove(shared, number)?;
                }
                self.task = None;
            }
        }
        Ok(true)
    }

    /// Looks for a victim.
    fn begin(&mut self, shared: &Shared, out: &mut Batch) -> io::Result<bool> {
        let gone = {
            let index = shared.index.lock();
            let mut sealed = index.segments.sealed.values();
            let gone = sealed.find(|s| s.gone && !self.given_up.contains(&s.number));
            gone.map(|s| s.number)
        };
        // One whose removal failed comes first: what is cleaned next may rely on that it does not come back.
        if let Some(victim) = gone {
            self.task = Some(Task {
                victim,
                stage: Stage::Remove,
            });
            return Ok(true);
        }
        let (number, end, secret) = {
            let index = shared.index.lock();
            if index.unsaid.len() >= UNSAID {
                say(&index, out);
                return Ok(true);
            }
            let full = shared.full.load(Ordering::Relaxed);
            match pick(&index, shared.options.segment_bytes, full, &self.given_up) {
                Some(victim) => (victim.number, victim.end, index.secret),
                None => return Ok(false),
            }
        };
        let walker = Walker::new(shared.log_file(number)?, secret, number, end);
        self.task = Some(Task {
            victim: number,
            stage: Stage::Records(walker),
        });
        Ok(true)
    }

    fn give_up(&mut self, number: u32) {
        self.given_up.insert(number);
        self.task = None;
    }
}

/// Removes a segment that nothing refers to. It is not touched any more from here on, but gone from the index only
/// when this succeeds, be it another time.
fn remove(shared: &Shared, number: u32) -> io::Result<()> {
    let found = |result: io::Result<()>| match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    if let Some(segment) = shared.index.lock().segments.sealed.get_mut(&number) {
        segment.gone = true;
    }
    shared.forget_files(number);
    // Not a trace of it may come back once deletions rely on that, so its index file goes first: what is left when
    // this is cut short is a segment that is cleaned again.
    found(shared.disk.remove(&idx_name(number)))?;
    if !shared.chores.recycle(shared, number) {
        found(shared.disk.remove(&log_name(number)))?;
        shared.disk.sync_dir()?;
    }
    shared.index.lock().segments.sealed.remove(&number);
    shared.cleaned.fetch_add(1, Ordering::Relaxed);
    shared.count_space();
    Ok(())
}

/// Cuts the segment before one that goes: only the head of the latter says where it ends, and behind that may lie
/// whole frames of a write that failed, which were written again elsewhere.
fn end_before(shared: &Shared, number: u32) -> io::Result<()> {
    let before = {
        let index = shared.index.lock();
        let before = index.segments.sealed.range(..number).next_back();
        before.map(|(&number, segment)| (number, segment.end))
    };
    let Some((before, end)) = before else {
        return Ok(());
    };
    let file = shared.log_file(before)?;
    let longer = file.len()? > end;
    if longer {
        file.set_len(end)?;
    }
    // The keeper may have cut it before, and does not sync.
    file.sync_data()?;
    if longer && let Some(segment) = shared.index.lock().segments.sealed.get_mut(&before) {
        segment.file_bytes = end;
    }
    Ok(())
}

/// Bytes of a segment that would have to be written again.
fn needed(index: &Index, segment: &Segment) -> u64 {
    let older = index
        .segments
        .sealed
        .keys()
        .next()
        .is_some_and(|&n| n < segment.tombstones_born);
    segment.live_bytes() + if older { segment.tombstones } else { 0 }
}

/// The segment to be cleaned next, if one is worth it.
fn pick<'a>(
    index: &'a Index,
    segment_bytes: u64,
    full: bool,
    given_up: &BTreeSet<u32>,
) -> Option<&'a Segment> {
    let (mut used, mut live, mut tombstones) = (0, 0, 0);
    let mut best: Option<(u128, &Segment)> = None;
    for segment in index
        .segments
        .sealed
        .values()
        .filter(|s| !given_up.contains(&s.number))
    {
        let (size, need) = (segment.end.max(1), needed(index, segment));
        if need <= size / NEARLY_EMPTY {
            return Some(segment);
        }
        used += size;
        live += need;
        tombstones += segment.tombstones;
        // On a full disk an eighth of a segment is worth it.
        if need >= if full { size - size / 8 } else { size / 2 } {
            continue;
        }
        // What has been quiet for long will stay; what is young may empty by itself, without a copy.
        let age = if full {
            1
        } else {
            u128::from(index.segments.open.number - segment.number)
        };
        let score = age * u128::from(size - need) * 1024 / u128::from(size + need);
        if best.is_none_or(|(most, _)| score > most) {
            best = Some((score, segment));
        }
    }
    if full || used > live + live.saturating_add(segment_bytes / 4) {
        return best.map(|(_, segment)| segment);
    }
    // Deletions can go only when all that is older than they are has been written again.
    if tombstones > segment_bytes / 2 && tombstones > used / 4 {
        return index
            .segments
            .sealed
            .values()
            .find(|s| !given_up.contains(&s.number));
    }
    None
}

/// Who something was said of in a segment.
fn touched(shared: &Shared, number: u32) -> Vec<OwnerId> {
    let (secret, end, refs) = {
        let index = shared.index.lock();
        let Some(victim) = index.segments.sealed.get(&number) else {
            return Vec::new();
        };
        (index.secret, victim.end, victim.refs.clone())
    };
    if let Some(Refs::Memory(mem)) = refs {
        return mem.touched();
    }
    match Contents::read(&*shared.disk, secret, number, end) {
        Ok(contents) => contents.touched(),
        Err(_) => {
            // Whoever was touched there and needs a record has its last one there or before.
            let index = shared.index.lock();
            index
                .owners
                .iter()
                .filter(|o| o.home <= number)
                .map(|o| o.id)
                .collect()
        }
    }
}

/// How far the reading of a victim came.
enum Read {
    Part,
    End,
    Bad(u64),
}

/// Reads some frames: where the records of each begin in the file, and the records.
fn read_frames(walker: &mut Walker, frames: &mut Vec<(u64, Vec<u8>)>) -> io::Result<Read> {
    let mut bytes = 0;
    while bytes < READ {
        match walker.next()? {
            Walked::Frame(frame) => {
                bytes += frame.records.len();
                frames.push((frame.offset, frame.records.to_vec()));
            }
            Walked::Bad { offset } => return Ok(Read::Bad(offset)),
            Walked::End => return Ok(Read::End),
        }
    }
    Ok(Read::Part)
}

/// No record begins at this byte.
struct Damaged(u64);

/// Writes again what is current of a frame.
fn move_records(
    index: &Index,
    victim: u32,
    offset: u64,
    records: &[u8],
    out: &mut Batch,
) -> Result<(), Damaged> {
    for placed in Records::new(records) {
        let placed = placed.map_err(|_| Damaged(offset))?;
        let at = offset + placed.offset as u64;
        match placed.record {
            Record::Put { table, key, .. } => {
                let current = index.keys.get(index.hash(table, key));
                if current.is_some_and(|l| l.segment == victim && u64::from(l.offset) == at) {
                    out.bytes.extend_from_slice(placed.raw);
                }
            }
            Record::Delete { table, key, born } => {
                let born = if born == 0 { victim } else { born };
                let deleted = index.keys.get(index.hash(table, key)).is_none();
                if deleted && is_needed(index, victim, born) {
                    out.delete_born(table, key, born);
                }
            }
            Record::End { owner, born } => {
                let born = if born == 0 { victim } else { born };
                if is_needed(index, victim, born) {
                    out.end_born(owner, born);
                }
            }
            Record::Message(message) => {
                move_message(index, victim, &message, out).ok_or(Damaged(at))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether something older than a deletion is still there that it has to undo.
fn is_needed(index: &Index, victim: u32, born: u32) -> bool {
    index
        .segments
        .sealed
        .range(..born)
        .any(|(&number, _)| number != victim)
}

/// Writes a message again for those who are still owed it from this segment.
fn move_message(
    index: &Index,
    victim: u32,
    message: &MessageRecord<'_>,
    out: &mut Batch,
) -> Option<()> {
    let mut owed = Vec::new();
    let body = message.refs(|r| {
        let owner = index.owners.get(r.owner);
        if owner.and_then(|o| o.live.segment_of(r.seq)) == Some(victim) {
            owed.push(Owed {
                owner: r.owner,
                seq: r.seq,
                extra: r.extra,
            });
        }
    })?;
    out.message(&[body], message.size, &owed);
    Some(())
}

/// Says in records of their own what is done because flights of others have ended.
fn say(index: &Index, out: &mut Batch) {
    for (&(owner, seq), &size) in &index.unsaid {
        out.done(owner, seq, size);
    }
}

/// Writes down all of an owner, if that is not done in a later segment.
fn move_owner(index: &Index, victim: u32, owner: OwnerId, out: &mut Batch) {
    let Some(state) = index.owners.get(owner).filter(|o| o.home <= victim) else {
        return;
    };
    let mut payload = Vec::with_capacity(32);
    put_varint(&mut payload, owner);
    state.encode(&mut payload);
    out.bytes.push(PROGRESS);
    put_varint(&mut out.bytes, payload.len() as u64);
    out.bytes.extend_from_slice(&payload);
}
