//! What waits on disk, and what is on its way there.
//!
//! In order: the lanes, with what was read back; rows that were not read back yet; rows that are being written; the
//! tail, which gathers what is written next. As long as anything is behind the lanes, what is new goes to the tail.

use crate::event::Event;
use crate::figures::Reason;
use crate::lanes::{Amount, Lanes, NEVER, Waiting};
use crate::spool::{Block, Left, NewRow, Place, on_disk};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Blocks of a row at the most.
const BLOCKS: usize = 4;
/// Rows that are written at a time.
const ROWS: usize = 4;
/// The tail gathers for so long at the most.
const LINGER: Duration = Duration::from_millis(100);

/// How much.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// in the lanes, when the tail is empty
    pub lanes: Amount,
    /// in the lanes, for more to be read back
    pub low: Amount,
    /// in a block; an event that is larger is one of its own
    pub block: Amount,
    /// bytes in the tail and of what is being written
    pub tail: usize,
    /// bytes on disk
    pub disk: u64,
}

impl Limits {
    /// Half of the queue's bytes are for the lanes and a quarter for the tail; the rest is for rows while they are put
    /// together and taken apart.
    pub fn new(queue: Amount, disk: u64) -> Limits {
        Limits {
            lanes: Amount {
                count: queue.count,
                bytes: queue.bytes / 2,
            },
            low: Amount {
                count: queue.count / 8,
                bytes: queue.bytes / 8,
            },
            block: Amount {
                count: (queue.count / 8).clamp(16, 1024),
                bytes: (queue.bytes / 64).clamp(4 << 10, 256 << 10),
            },
            tail: queue.bytes / 4,
            disk,
        }
    }

    /// Takes the blocks of a row: one at least, and no more than a row should have.
    fn row(&self, blocks: &mut VecDeque<Block>) -> Vec<Block> {
        let mut row = Vec::with_capacity(BLOCKS);
        let mut bytes = 0;
        while let Some(block) = blocks.front() {
            bytes += block.amount.bytes;
            let full = row.len() == BLOCKS || bytes > BLOCKS * self.block.bytes;
            if full && !row.is_empty() {
                break;
            }
            row.extend(blocks.pop_front());
        }
        row
    }
}

/// What the writer has to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Now,
    In(Duration),
    Nothing,
}

/// What is to be done about the lanes when they are nearly empty.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refill {
    /// The first row of these is to be read.
    Read(Range<u64>),
    /// Events have come into the lanes without having been read; these lanes are to be woken. There may be more.
    Moved(BTreeSet<usize>),
    Nothing,
}

/// A row whose events are in the lanes.
struct Loaded {
    place: Place,
    /// events that are not done
    left: usize,
}

/// The state.
pub(crate) struct Spill {
    /// `web.hook.on_full = spill`; otherwise it only delivers what an earlier run has left
    pub wanted: bool,
    limits: Limits,
    tail: VecDeque<Block>,
    tail_amount: Amount,
    /// what the tail takes on disk
    tail_size: u64,
    gathers_since: Option<Instant>,
    writing: Vec<Arc<NewRow>>,
    writing_amount: Amount,
    /// the store has not taken `writing`
    stuck: bool,
    /// a row is being read, or is coming into the lanes
    loading: bool,
    /// the row that is coming, with its place
    coming: Option<(u64, Place)>,
    loaded: BTreeMap<u64, Loaded>,
    /// rows whose events are done, and those of them that are being deleted
    done: BTreeSet<u64>,
    deleting: BTreeSet<u64>,
    /// rows that were not read back
    unread: Range<u64>,
    unread_begin: Place,
    unread_end: Place,
    /// number and place of the next row that is written
    next: u64,
    next_place: Place,
}

impl Spill {
    /// With what an earlier run has left; `bounds_end` = no row has this number or a higher one.
    pub fn new(wanted: bool, limits: Limits, left: Left, bounds_end: u64) -> Spill {
        Spill {
            wanted,
            limits,
            tail: VecDeque::new(),
            tail_amount: Amount::default(),
            tail_size: 0,
            gathers_since: None,
            writing: Vec::new(),
            writing_amount: Amount::default(),
            stuck: false,
            loading: false,
            coming: None,
            loaded: BTreeMap::new(),
            done: left.void.into_iter().collect(),
            deleting: BTreeSet::new(),
            unread: left.rows,
            unread_begin: left.begin,
            unread_end: left.end,
            next: bounds_end,
            next_place: left.end,
        }
    }

    /// Something waits behind the lanes.
    pub fn active(&self) -> bool {
        self.loading || !self.unread.is_empty() || !self.writing.is_empty() || !self.tail.is_empty()
    }

    /// Tail, and what is being written.
    pub fn in_memory(&self) -> Amount {
        self.tail_amount + self.writing_amount
    }

    /// There is more for the lanes, and they want it.
    pub fn may_refill(&self, lanes: &Lanes) -> bool {
        self.active() && !self.loading && lanes.all().within(self.limits.low)
    }

    /// Events that are on disk alone.
    pub fn unread(&self) -> u64 {
        self.unread_end.since(self.unread_begin).events
    }

    /// Whether the lanes have room for an event that may come directly.
    pub fn lets_pass(&self, lanes: &Lanes, amount: Amount) -> bool {
        !self.active() && (lanes.all() + amount).within(self.limits.lanes)
    }

    /// Puts an event behind all others. `true` = the tasks must be woken.
    ///
    /// # Errors
    /// When there is no room.
    pub fn push(&mut self, event: Event, amount: Amount) -> Result<bool, Reason> {
        // As a rule it is the disk that does not keep up; an event that would never fit is no fault of the disk.
        if amount.bytes > self.limits.tail {
            return Err(Reason::Full);
        }
        if self.in_memory().bytes + amount.bytes > self.limits.tail {
            return Err(Reason::Disk);
        }
        let on_disk = on_disk(&event.body);
        if self.disk_bytes() + self.tail_size + on_disk > self.limits.disk {
            return Err(Reason::Full);
        }
        self.tail_amount += amount;
        self.tail_size += on_disk;
        match self.tail.back_mut() {
            Some(block) if (block.amount + amount).within(self.limits.block) => {
                block.push(event);
                return Ok(false);
            }
            _ => {}
        }
        let mut block = Block::default();
        block.push(event);
        self.tail.push_back(block);
        self.gathers_since.get_or_insert_with(Instant::now);
        // To begin to wait; to wait no more.
        Ok(self.tail.len() <= 2)
    }

    /// What rows take that hold anything, those being written included.
    fn disk_bytes(&self) -> u64 {
        self.next_place.since(self.head().1).bytes
    }

    /// The first row with an event that is not done; where there is none, the next one.
    fn head(&self) -> (u64, Place) {
        match self.loaded.first_key_value() {
            Some((&number, row)) => (number, row.place),
            None => (self.unread.start, self.unread_begin),
        }
    }

    /// What the writer has to do now.
    pub fn due(&self, lanes: &Lanes) -> Due {
        if !self.writing.is_empty() {
            return Due::Now;
        }
        let Some(since) = self.gathers_since else {
            return Due::Nothing;
        };
        let rest = LINGER.saturating_sub(since.elapsed());
        if self.passes_by(lanes) {
            // It goes to the lanes and need not be written.
            return Due::In(LINGER);
        }
        match self.tail.len() > 1 || rest.is_zero() {
            true => Due::Now,
            false => Due::In(rest),
        }
    }

    /// What is to be written: rows that could not be before, or the beginning of the tail.
    pub fn next_rows(&mut self) -> Vec<Arc<NewRow>> {
        self.stuck = false;
        let most = ROWS * BLOCKS * self.limits.block.bytes;
        // Rows of few events are not worth it, but for the first one.
        while self.writing.is_empty()
            || self.writing.len() < ROWS
                && self.tail.len() > BLOCKS
                && self.writing_amount.bytes < most
        {
            if self.tail.is_empty() {
                break;
            }
            let row = self.next_row();
            self.writing_amount += row.amount();
            self.writing.push(Arc::new(row));
        }
        self.gathers_since = (!self.tail.is_empty()).then(Instant::now);
        self.writing.clone()
    }

    /// Makes the beginning of the tail a row.
    fn next_row(&mut self) -> NewRow {
        let row = NewRow {
            number: self.next,
            place: self.next_place,
            blocks: self.limits.row(&mut self.tail),
        };
        self.next += 1;
        self.next_place = self.next_place.plus(row.size());
        self.tail_amount -= row.amount();
        for event in row.events() {
            self.tail_size -= on_disk(&event.body);
        }
        row
    }

    /// It is written.
    pub fn written(&mut self) {
        self.writing.clear();
        self.writing_amount = Amount::default();
        self.unread.end = self.next;
        self.unread_end = self.next_place;
    }

    /// The store has not taken it.
    pub fn not_written(&mut self) {
        self.stuck = true;
    }

    /// The first row whose number the bounds must have, and the first number above all.
    pub fn needs(&self) -> (u64, u64) {
        let mut first = self.head().0;
        for rows in [&self.done, &self.deleting] {
            first = rows.first().map_or(first, |done| first.min(*done));
        }
        (first, self.next)
    }

    /// Whether the tail comes into the lanes without having been on disk.
    fn passes_by(&self, lanes: &Lanes) -> bool {
        let rows = self.loading || !self.unread.is_empty() || !self.writing.is_empty();
        !rows && lanes.all().within(self.limits.low)
    }

    /// What is to be done now that events have left the lanes.
    pub fn refill(&mut self, lanes: &mut Lanes) -> Refill {
        if self.loading || !lanes.all().within(self.limits.low) {
            return Refill::Nothing;
        }
        if !self.unread.is_empty() {
            self.loading = true;
            return Refill::Read(self.unread.clone());
        }
        let mut woken = BTreeSet::new();
        if self.stuck && !self.writing.is_empty() {
            // The web server is there and the disk is not. The row may be there all the same.
            let row = self.writing.remove(0);
            self.writing_amount -= row.amount();
            self.done.insert(row.number);
            let next = row.number + 1;
            self.unread = next..next;
            self.unread_begin = row.place.plus(row.size());
            self.unread_end = self.unread_begin;
            for event in row.events() {
                woken.extend(lanes.push(event.lane, 0, NEVER, event.body.clone()));
            }
            return Refill::Moved(woken);
        }
        if !self.writing.is_empty() {
            return Refill::Nothing;
        }
        let Some(block) = self.tail.pop_front() else {
            return Refill::Nothing;
        };
        self.tail_amount -= block.amount;
        for event in block.events {
            self.tail_size -= on_disk(&event.body);
            woken.extend(lanes.push(event.lane, 0, NEVER, event.body));
        }
        if self.tail.is_empty() {
            self.gathers_since = None;
        }
        Refill::Moved(woken)
    }

    /// A row was read, and its events come into the lanes now: until [`Spill::came`] it is loading.
    pub fn comes(&mut self, number: u64, place: Place, size: Place, events: usize) {
        self.unread.start = number + 1;
        self.unread_begin = match self.unread.is_empty() {
            true => self.unread_end,
            false => place.plus(size),
        };
        self.coming = Some((number, place));
        match events {
            0 => drop(self.done.insert(number)),
            left => drop(self.loaded.insert(number, Loaded { place, left })),
        }
    }

    /// All its events are in the lanes; or it could not be read.
    pub fn came(&mut self) {
        self.loading = false;
        self.coming = None;
    }

    /// There is no row with these numbers.
    pub fn none_before(&mut self, end: u64) {
        self.unread.start = end.min(self.unread.end);
        if self.unread.is_empty() {
            self.unread_begin = self.unread_end;
        }
    }

    /// Events of a row are done. `true` = all of them.
    pub fn finished(&mut self, number: u64, events: usize) -> bool {
        let Some(row) = self.loaded.get_mut(&number) else {
            return false;
        };
        row.left = row.left.saturating_sub(events);
        if row.left > 0 {
            return false;
        }
        self.loaded.remove(&number);
        self.done.insert(number)
    }

    /// A row to be deleted.
    pub fn next_useless(&mut self) -> Option<u64> {
        let number = self.done.pop_first()?;
        self.deleting.insert(number);
        Some(number)
    }

    /// What became of it.
    pub fn deleted(&mut self, number: u64, done: bool) {
        self.deleting.remove(&number);
        if !done {
            self.done.insert(number);
        }
    }

    /// The plugin ends: what is to be written so that nothing that was in memory is lost. `lanes` = what was in the
    /// lanes, in order.
    pub fn last_rows(mut self, lanes: Vec<Waiting>) -> Last {
        if let Some((number, place)) = self.coming {
            // Some of its events have not come into the lanes: it stays what it is.
            self.loaded.remove(&number);
            self.unread.start = number;
            self.unread_begin = place;
        }
        let coming = self.coming.map_or(0, |(number, _)| number);
        let mut blocks = VecDeque::new();
        for event in lanes {
            if event.row == 0 || event.row != coming {
                self.add(&mut blocks, event);
            }
        }
        // Before all rows there are. What of it was on disk already is in rows that are void then.
        let head = self.head().0;
        let mut rows = Vec::new();
        while !blocks.is_empty() {
            rows.push(NewRow {
                number: 0,
                place: Place::default(),
                blocks: self.limits.row(&mut blocks),
            });
        }
        let (mut number, mut place) = (head, self.unread_begin);
        for row in rows.iter_mut().rev() {
            number -= 1;
            place = place.minus(row.size());
            (row.number, row.place) = (number, place);
        }
        let mut rows: Vec<Arc<NewRow>> = rows.into_iter().map(Arc::new).collect();
        rows.append(&mut self.writing);
        while !self.tail.is_empty() {
            rows.push(Arc::new(self.next_row()));
        }
        let void = match self.loaded.is_empty() {
            true => head..head,
            false => head..self.unread.start,
        };
        let mut useless = std::mem::take(&mut self.done);
        useless.append(&mut self.deleting);
        useless.retain(|useless| !(number..head).contains(useless));
        Last {
            first: number,
            end: self.next,
            rows,
            void,
            useless,
        }
    }

    fn add(&self, blocks: &mut VecDeque<Block>, event: Waiting) {
        let amount = Amount::of(&event.body);
        let event = Event {
            lane: event.lane,
            at: 0,
            body: event.body,
        };
        match blocks.back_mut() {
            Some(block) if (block.amount + amount).within(self.limits.block) => block.push(event),
            _ => {
                let mut block = Block::default();
                block.push(event);
                blocks.push_back(block);
            }
        }
    }
}

/// What is to be done with the table at the end.
pub(crate) struct Last {
    /// number of the first row
    pub first: u64,
    /// no row has this number or a higher one
    pub end: u64,
    /// to be written
    pub rows: Vec<Arc<NewRow>>,
    /// what they hold is in `rows`, if it is not done
    pub void: Range<u64>,
    /// to be deleted
    pub useless: BTreeSet<u64>,
}

#[cfg(test)]
mod tests;
