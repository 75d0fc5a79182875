//! Reading back: values of keys, and pages of what an owner is owed.
//!
//! The index is asked under its lock, the files are read without it. The cleaner may take a segment away in
//! between; then the index, which knows by then where the records have gone, is asked again.

use crate::batch::Batch;
use crate::disk::DiskFile;
use crate::idx::Idx;
use crate::keys::{KeyHash, Location};
use crate::record::{self, Record};
use crate::refs::RefEntry;
use crate::segment::Refs;
use crate::shared::Shared;
use crate::{Load, Loaded, OwnerId, Page, Position, Table, Values};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Messages of a page, whatever is asked for.
const PAGE: usize = 4096;
/// Read at once when records lie close to each other, and when they do not.
const NEAR: usize = 64 << 10;
const SINGLE: usize = 4 << 10;
/// Times a record is looked for that has gone from where it was.
const TRIES: usize = 8;

type Answer<T> = Box<dyn FnOnce(T) + Send>;

/// Values of keys that are asked for.
pub(crate) struct Wanted {
    pub table: Table,
    pub keys: Vec<Vec<u8>>,
    pub most_bytes: usize,
}

/// What is asked, and who is told.
pub(crate) enum Question {
    Page(Load, Answer<Page>),
    Values(Wanted, Answer<Values>),
}

/// A question and the position that it waits for.
type Placed = (Position, Question);

#[derive(Default)]
struct Asked {
    /// can be answered
    ready: VecDeque<Question>,
    /// wait for their position
    waiting: Vec<Placed>,
    closing: bool,
}

/// What is asked for and not given yet.
pub(crate) struct Questions {
    asked: Mutex<Asked>,
    added: Condvar,
    /// the lowest position one waits for
    lowest: AtomicU64,
}

impl Default for Questions {
    fn default() -> Self {
        Questions {
            asked: Mutex::default(),
            added: Condvar::new(),
            lowest: AtomicU64::new(Position::MAX),
        }
    }
}

impl Questions {
    pub fn ask(&self, shared: &Shared, after: Position, question: Question) {
        // What was not handed over cannot be waited for.
        let after = after.min(shared.position.load(Ordering::Acquire));
        let mut asked = self.asked.lock();
        if after > shared.folded.load(Ordering::SeqCst) && !asked.closing {
            self.lowest.fetch_min(after, Ordering::SeqCst);
            asked.waiting.push((after, question));
            // The committer may have passed just now, before it could see `lowest`.
            if after > shared.folded.load(Ordering::SeqCst) {
                return;
            }
            self.release(&mut asked, shared.folded.load(Ordering::SeqCst));
        } else {
            asked.ready.push_back(question);
        }
        drop(asked);
        self.added.notify_one();
    }

    fn release(&self, asked: &mut Asked, folded: Position) {
        let all = std::mem::take(&mut asked.waiting);
        let mut lowest = Position::MAX;
        for (after, question) in all {
            if after <= folded || asked.closing {
                asked.ready.push_back(question);
            } else {
                lowest = lowest.min(after);
                asked.waiting.push((after, question));
            }
        }
        self.lowest.store(lowest, Ordering::SeqCst);
    }

    /// The committer has folded everything before `folded`, and has said so in [`Shared::folded`].
    #[inline]
    pub fn folded(&self, folded: Position) {
        if self.lowest.load(Ordering::SeqCst) <= folded {
            self.release(&mut self.asked.lock(), folded);
            self.added.notify_one();
        }
    }

    /// All are answered with what there is, and the thread ends.
    pub fn close(&self) {
        let mut asked = self.asked.lock();
        asked.closing = true;
        self.release(&mut asked, Position::MAX);
        drop(asked);
        self.added.notify_one();
    }
}

/// Answers one question; `false` when there is none that can be answered.
pub(crate) fn step(shared: &Shared) -> bool {
    let Some(question) = shared.questions.asked.lock().ready.pop_front() else {
        return false;
    };
    match question {
        Question::Page(question, answer) => answer(load(shared, &question)),
        Question::Values(wanted, answer) => answer(values(shared, &wanted)),
    }
    true
}

/// See [`crate::Store::values`].
fn values(shared: &Shared, wanted: &Wanted) -> Values {
    let mut values = Vec::with_capacity(wanted.keys.len());
    let mut bytes = 0;
    for key in &wanted.keys {
        if bytes >= wanted.most_bytes && !values.is_empty() {
            break;
        }
        let value = get(shared, wanted.table, key).unwrap_or_else(|e| {
            log::error!("store: a value cannot be read: {e}");
            None
        });
        bytes += value.as_ref().map_or(0, Vec::len);
        values.push(value);
    }
    values
}

/// The thread.
pub(crate) fn run(shared: &Shared) {
    loop {
        while step(shared) {}
        let mut asked = shared.questions.asked.lock();
        if !asked.ready.is_empty() {
            continue;
        }
        if asked.closing {
            return;
        }
        shared.questions.added.wait(&mut asked);
    }
}

/// Reads records, a window at a time.
struct Records<'a> {
    shared: &'a Shared,
    segment: u32,
    file: Option<Arc<dyn DiskFile>>,
    start: u64,
    window: Vec<u8>,
}

impl<'a> Records<'a> {
    fn new(shared: &'a Shared) -> Records<'a> {
        Records {
            shared,
            segment: 0,
            file: None,
            start: 0,
            window: Vec::new(),
        }
    }

    /// The record at a place.
    fn at(&mut self, segment: u32, offset: u64) -> io::Result<Record<'_>> {
        let file = match &self.file {
            Some(file) if self.segment == segment => Arc::clone(file),
            _ => {
                let file = self.shared.log_file(segment)?;
                self.window.clear();
                (self.segment, self.file) = (segment, Some(Arc::clone(&file)));
                self.start = 0;
                file
            }
        };
        let end = self.start + self.window.len() as u64;
        let inside = offset >= self.start && offset < end;
        if !inside || self.length(offset).is_none_or(|len| offset + len > end) {
            let near = !self.window.is_empty() && offset.abs_diff(end) < NEAR as u64;
            self.window
                .resize(if near || inside { NEAR } else { SINGLE }, 0);
            self.start = offset;
            let got = file.read_full_at(offset, &mut self.window)?;
            self.window.truncate(got);
            let len = self.length(offset).unwrap_or(0);
            // Not trusted further than the largest frame: it may be any bytes.
            if len > got as u64 && len <= crate::frame::MOST as u64 {
                self.window.resize(len as usize, 0);
                file.read_exact_at(offset, &mut self.window)?;
            }
        }
        let (kind, payload, _) =
            record::split(&self.window[(offset - self.start) as usize..]).ok_or_else(damaged)?;
        Record::parse(kind, payload).ok_or_else(damaged)
    }

    /// Bytes of the record that begins at `offset` in the window, if its length is there.
    fn length(&self, offset: u64) -> Option<u64> {
        let bytes = self.window.get((offset - self.start) as usize..)?;
        let mut c = record::Cursor(bytes.get(1..)?);
        let payload = c.varint()?;
        payload.checked_add((bytes.len() - c.0.len()) as u64)
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a record is damaged")
}

/// Calls `f` with the key and value of a record that should be a put of this key.
fn value<T>(
    records: &mut Records<'_>,
    secret: &[u8; 16],
    hash: KeyHash,
    at: Location,
    f: impl FnOnce(&[u8], &[u8]) -> T,
) -> io::Result<T> {
    match records.at(at.segment, at.offset.into())? {
        // Another key there means that the file has become another segment meanwhile.
        Record::Put {
            table,
            key,
            value,
            crc,
            covered,
        } if crc32fast::hash(covered) == crc && KeyHash::new(secret, table, key) == hash => {
            Ok(f(key, value))
        }
        _ => Err(damaged()),
    }
}

/// See [`crate::Store::get`].
pub(crate) fn get(shared: &Shared, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let (secret, hash, at) = {
        let index = shared.index.lock();
        let hash = index.hash(table, key);
        (index.secret, hash, index.keys.get(hash))
    };
    let Some(at) = at else { return Ok(None) };
    let mut records = Records::new(shared);
    let mut found = None;
    follow(&mut records, &secret, hash, at, &mut |_, value| {
        found = Some(value.to_vec())
    })?;
    Ok(found)
}

/// Calls `f` with the value of a key that lay at `at`, or where it has gone since; not if it was deleted.
fn follow(
    records: &mut Records<'_>,
    secret: &[u8; 16],
    hash: KeyHash,
    mut at: Location,
    f: &mut dyn FnMut(&[u8], &[u8]),
) -> io::Result<()> {
    let mut tries = 0;
    while let Err(e) = value(records, secret, hash, at, &mut *f) {
        tries += 1;
        match records.shared.index.lock().keys.get(hash) {
            None => break,
            Some(now) if now == at || tries == TRIES => return Err(e),
            Some(now) => at = now,
        }
    }
    Ok(())
}

/// See [`crate::Store::for_each`].
pub(crate) fn for_each(
    shared: &Shared,
    table: Table,
    f: &mut dyn FnMut(&[u8], &[u8]),
) -> io::Result<()> {
    let (secret, mut all) = {
        let index = shared.index.lock();
        let of_table = index.keys.iter().filter(|(key, _)| key.table() == table);
        (index.secret, of_table.collect::<Vec<(KeyHash, Location)>>())
    };
    all.sort_unstable_by_key(|(_, at)| (at.segment, at.offset));
    let mut records = Records::new(shared);
    for (hash, at) in all {
        follow(&mut records, &secret, hash, at, f)?;
    }
    Ok(())
}

/// What the index says of a page.
#[derive(Default)]
struct Plan {
    /// consecutive numbers and the segment of their messages, ascending
    runs: Vec<(u64, u64, u32)>,
    /// where messages lie whose refs were in memory
    refs: Vec<(u32, RefEntry)>,
    /// index files to be asked for the others
    files: Vec<(u32, Arc<Idx>)>,
    next: Option<u64>,
}

fn plan(shared: &Shared, load: &Load) -> Plan {
    let mut plan = Plan::default();
    let most = load.most.clamp(1, PAGE) as u64;
    let index = shared.index.lock();
    let Some(owner) = index.owners.get(load.owner) else {
        return plan;
    };
    let mut count = 0;
    for range in owner.live.between(load.from, load.to) {
        let from = range.start.max(load.from);
        if count == most {
            plan.next = Some(from);
            break;
        }
        let to = range.end().min(load.to);
        let cut = to.min(from + (most - count));
        plan.runs.push((from, cut, range.segment));
        count += cut - from;
        if cut < to {
            plan.next = Some(cut);
            break;
        }
    }
    let mut segments: Vec<u32> = plan.runs.iter().map(|r| r.2).collect();
    segments.sort_unstable();
    segments.dedup();
    for number in segments {
        if let Some(Refs::File(idx)) = index.segments.get(number).and_then(|s| s.refs.as_ref()) {
            plan.files.push((number, Arc::clone(idx)));
            continue;
        }
        let of = plan.runs.iter().filter(|r| r.2 == number);
        let runs: Vec<(u64, u64)> = of.map(|r| (r.0, r.1)).collect();
        let mut refs = Vec::new();
        index.refs_in_memory(number, owner, &runs, &mut refs);
        plan.refs.extend(refs.into_iter().map(|r| (number, r)));
    }
    plan
}

/// Why a message is not in a page.
enum Missing {
    /// ask the index again
    Moved,
    /// it can never be read again
    Damaged,
    /// it could not be read now
    Failed(io::Error),
}

/// See [`crate::Store::load`].
pub(crate) fn load(shared: &Shared, load: &Load) -> Page {
    for attempt in 1.. {
        match attempt_load(shared, load, attempt >= TRIES) {
            Some(page) => return page,
            None => continue,
        }
    }
    Page {
        owner: load.owner,
        messages: Vec::new(),
        next: None,
    }
}

/// A page; `None` when something has moved away meanwhile, unless it is the last try.
fn attempt_load(shared: &Shared, load: &Load, last: bool) -> Option<Page> {
    let mut plan = plan(shared, load);
    let mut page = Page {
        owner: load.owner,
        messages: Vec::new(),
        next: plan.next,
    };
    let mut refs = std::mem::take(&mut plan.refs);
    for (number, idx) in &plan.files {
        let mut found = Vec::new();
        for run in plan.runs.iter().filter(|r| r.2 == *number) {
            let asked = shared.idx_file(*number).and_then(|file| {
                let most = (run.1 - run.0) as usize;
                idx.find(&*file, load.owner, run.0, run.1, most, &mut found)
            });
            if let Err(e) = asked {
                if !last {
                    return None;
                }
                log::error!("store: index file of segment {number} cannot be read: {e}");
            }
        }
        refs.extend(found.into_iter().map(|r| (*number, r)));
    }
    refs.sort_unstable_by_key(|(number, r)| (r.seq, *number));
    let mut records = Records::new(shared);
    let mut lost = Batch::new();
    let mut bytes = 0;
    'runs: for &(from, to, number) in &plan.runs {
        for seq in from..to {
            if bytes >= load.most_bytes && !page.messages.is_empty() {
                page.next = Some(seq);
                break 'runs;
            }
            let entry = refs
                .binary_search_by_key(&(seq, number), |(number, r)| (r.seq, *number))
                .map(|i| refs[i].1);
            let read = match entry {
                Ok(r) => message(shared, &mut records, number, &r),
                Err(_) if lies_in(shared, load.owner, seq, number) => Err(Missing::Damaged),
                Err(_) => Err(Missing::Moved),
            };
            match read {
                Ok(loaded) => {
                    bytes += loaded.body.len() + loaded.extra.len();
                    page.messages.push(loaded);
                }
                Err(Missing::Moved) if !last => return None,
                Err(Missing::Moved | Missing::Damaged) if entry.is_ok() => {
                    let size = entry.map_or(0, |r| r.size);
                    log::error!(
                        "store: message {seq} owed to {} is damaged in segment {number} and lost",
                        load.owner
                    );
                    lost.done(load.owner, seq, size);
                }
                Err(Missing::Moved | Missing::Damaged) => log::error!(
                    "store: message {seq} owed to {} is not found in segment {number}",
                    load.owner
                ),
                Err(Missing::Failed(e)) => log::error!(
                    "store: message {seq} owed to {} cannot be read now: {e}",
                    load.owner
                ),
            }
        }
    }
    // What can never be read is no longer owed, so that nobody waits for it for ever.
    if !lost.is_empty() {
        shared.commit(&mut lost);
    }
    Some(page)
}

/// Whether the index still says that a message lies in this segment. The file of one that the cleaner has emptied is
/// gone, or used again, before the index forgets the segment.
fn lies_in(shared: &Shared, owner: OwnerId, seq: u64, number: u32) -> bool {
    let index = shared.index.lock();
    index.owners.get(owner).and_then(|o| o.live.segment_of(seq)) == Some(number)
}

fn message(
    shared: &Shared,
    records: &mut Records<'_>,
    number: u32,
    entry: &RefEntry,
) -> Result<Loaded, Missing> {
    let missing = |e: io::Error| {
        if !lies_in(shared, entry.owner, entry.seq, number) {
            Missing::Moved
        } else if matches!(
            e.kind(),
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
        ) {
            Missing::Damaged
        } else {
            Missing::Failed(e)
        }
    };
    let found = match records.at(number, entry.offset.into()) {
        Ok(Record::Message(message)) if message.intact() => message,
        Ok(_) => return Err(missing(damaged())),
        Err(e) => return Err(missing(e)),
    };
    let mut extra = None;
    let body = found.refs(|r| {
        if r.owner == entry.owner && r.seq == entry.seq {
            extra = Some(r.extra.to_vec());
        }
    });
    match (extra, body) {
        (Some(extra), Some(body)) => Ok(Loaded {
            seq: entry.seq,
            extra,
            body: body.to_vec(),
        }),
        // The file may have come to be another segment meanwhile, with another message at this place.
        _ => Err(missing(damaged())),
    }
}
