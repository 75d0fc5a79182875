//! What is current: folded from the records of the log, in their order.
//!
//! Invariants:
//! - an owner's `live` numbers are those whose message was folded and which are not done; each names the segment
//!   in which the message's record now lies, and that segment's refs lead to it;
//! - `refs_live` and `state_live` of a segment are what the owners and keys refer to it for;
//! - whoever had something said of it in a segment, by name or because a flight of another ended, is in that
//!   segment's list of the touched.

use crate::OwnerId;
use crate::flights::{Flight, Flights};
use crate::idx::Contents;
use crate::keys::{KeyHash, Keys, Location};
use crate::owners::{Owner, Owners};
use crate::ranges::Inserted;
use crate::record::{Malformed, MessageRecord, Record, Records};
use crate::refs::{MemRefs, RefEntry};
use crate::segment::{Refs, Segment};
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// Bytes a deletion is taken to have when only its index entry is at hand.
const KEY_TOMBSTONE: usize = 40;

/// The segments, the one that is written to apart.
pub(crate) struct Segments {
    pub open: Segment,
    pub sealed: BTreeMap<u32, Segment>,
}

impl Segments {
    #[inline]
    pub fn get_mut(&mut self, number: u32) -> Option<&mut Segment> {
        if number == self.open.number {
            Some(&mut self.open)
        } else {
            self.sealed.get_mut(&number)
        }
    }

    pub fn get(&self, number: u32) -> Option<&Segment> {
        if number == self.open.number {
            Some(&self.open)
        } else {
            self.sealed.get(&number)
        }
    }

    fn ref_gone(&mut self, number: u32) {
        if let Some(segment) = self.get_mut(number) {
            segment.refs_live = segment.refs_live.saturating_sub(1);
        }
    }

    fn state_gone(&mut self, number: u32, len: u32) {
        if let Some(segment) = self.get_mut(number) {
            segment.state_live = segment.state_live.saturating_sub(len.into());
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Segment> {
        self.sealed.values().chain(std::iter::once(&self.open))
    }
}

/// All that is known in memory.
pub(crate) struct Index {
    /// of the hashes of keys, and of frames
    pub secret: [u8; 16],
    pub owners: Owners,
    pub keys: Keys,
    pub segments: Segments,
    /// refs of the open segment
    mem: MemRefs,
    /// those in `mem` that are not among the owners, with their slots
    strangers: HashMap<OwnerId, u32>,
    /// messages owed to all
    pub owed: u64,
    /// larger than all that were ever seen
    pub next_owner: OwnerId,
    /// What is done because a flight of *another* owner ended (a shared group's member), with its size, and is not
    /// said in a record of its own yet. That flight is known from records which the cleaner may remove, so it
    /// writes `Done` records for these before it removes anything.
    pub unsaid: HashMap<(OwnerId, u64), u32>,
}

/// Notes that something is said of an owner in the open segment.
#[inline]
fn touch(mem: &mut MemRefs, open: u32, owner: &mut Owner) {
    if owner.touched != open {
        owner.touched = open;
        owner.slot = mem.touch(owner.id);
    }
}

impl Index {
    pub fn new(secret: [u8; 16], open: Segment) -> Index {
        Index {
            secret,
            owners: Owners::default(),
            keys: Keys::default(),
            segments: Segments {
                open,
                sealed: BTreeMap::new(),
            },
            mem: MemRefs::default(),
            strangers: HashMap::new(),
            owed: 0,
            next_owner: 1,
            unsaid: HashMap::new(),
        }
    }

    /// Bytes held, as far as they can be told without a walk through the owners.
    pub fn memory(&self) -> usize {
        let sealed = self.segments.iter().map(|segment| match &segment.refs {
            Some(Refs::Memory(refs)) => refs.memory(),
            Some(Refs::File(_)) | None => 0,
        });
        let refs = self.mem.memory() + sealed.sum::<usize>();
        self.owners.memory() + self.keys.memory() + refs
    }

    pub fn hash(&self, table: crate::Table, key: &[u8]) -> KeyHash {
        KeyHash::new(&self.secret, table, key)
    }

    /// Folds the records of a frame of the open segment; the first lies at `offset` of its file.
    ///
    /// # Errors
    /// At the first that is malformed; those before it are folded.
    pub fn fold(&mut self, offset: u64, records: &[u8]) -> Result<(), Malformed> {
        for placed in Records::new(records) {
            let placed = placed?;
            // A segment is shorter than 4 GB.
            let at = (offset + placed.offset as u64) as u32;
            match placed.record {
                Record::Put { table, key, .. } => {
                    self.put(self.hash(table, key), at, placed.raw.len() as u32);
                }
                Record::Delete { table, key, born } => {
                    self.segments.open.add_tombstone(born, placed.raw.len());
                    self.delete(self.hash(table, key));
                }
                Record::Message(message) => self.message(&message, at, placed.raw.len())?,
                other => self.state(&other, placed.raw.len()),
            }
        }
        Ok(())
    }

    fn put(&mut self, key: KeyHash, offset: u32, len: u32) {
        let open = &mut self.segments.open;
        open.state_live += u64::from(len);
        let location = Location {
            segment: open.number,
            offset,
            len,
        };
        if let Some(old) = self.keys.insert(key, location) {
            self.segments.state_gone(old.segment, old.len);
        }
    }

    fn delete(&mut self, key: KeyHash) {
        if let Some(old) = self.keys.remove(key) {
            self.segments.state_gone(old.segment, old.len);
        }
    }

    fn message(&mut self, m: &MessageRecord<'_>, at: u32, len: usize) -> Result<(), Malformed> {
        m.refs(|r| {
            self.segments.open.refs_total += 1;
            let Some(place) = self.owners.find(r.owner) else {
                // Not begun, or ended: void. But when an old segment is read anew, its owner may be known from a later
                // `Progress` only, which then leads here.
                let mem = &mut self.mem;
                let slot = *self
                    .strangers
                    .entry(r.owner)
                    .or_insert_with(|| mem.touch(r.owner));
                mem.push(slot, r.seq, at, m.size);
                return;
            };
            let open = self.segments.open.number;
            let owner = self.owners.at_mut(place);
            touch(&mut self.mem, open, owner);
            self.mem.push(owner.slot, r.seq, at, m.size);
            self.owe(place, r.seq, m.size);
        })
        .ok_or(Malformed)?;
        self.segments.open.message_bytes += len as u64;
        Ok(())
    }

    /// A message that lies in the open segment is owed.
    #[inline]
    fn owe(&mut self, place: u32, seq: u64, size: u32) {
        let owner = self.owners.at_mut(place);
        let open = &mut self.segments.open;
        match owner.live.insert(seq, open.number) {
            Inserted::New => {
                open.refs_live += 1;
                owner.next = owner.next.max(seq.saturating_add(1));
                owner.bytes += u64::from(size);
                self.owed += 1;
            }
            Inserted::Moved { from } => {
                open.refs_live += 1;
                self.segments.ref_gone(from);
            }
            Inserted::Same => {}
        }
    }

    /// Folds what is said about owners. `len` = bytes of the record.
    fn state(&mut self, record: &Record<'_>, len: usize) {
        match *record {
            Record::Begin { owner } => self.begin(owner, len as u32),
            Record::End { owner, born } => {
                self.segments.open.add_tombstone(born, len);
                self.end(owner);
            }
            Record::Sent {
                by,
                id,
                owner,
                seq,
                size,
                note,
            } => {
                let open = self.segments.open.number;
                let Some(place) = self.owners.find(by) else {
                    return;
                };
                let by = self.owners.at_mut(place);
                touch(&mut self.mem, open, by);
                by.last_id = id;
                by.flights
                    .get_or_insert_default()
                    .insert(Flight::new(id, owner, seq, size, note));
            }
            Record::Released { by: by_id, id } => {
                let open = self.segments.open.number;
                let Some(place) = self.owners.find(by_id) else {
                    return;
                };
                let by = self.owners.at_mut(place);
                touch(&mut self.mem, open, by);
                let flight = by.flights.as_deref_mut().and_then(|f| f.get_mut(id));
                if let Some(flight) = flight.filter(|f| !f.released) {
                    flight.released = true;
                    let flight = *flight;
                    self.delivered(by_id, &flight);
                }
            }
            Record::Completed { by, id } => {
                if let Some(flight) = self.landed(by, id)
                    && !flight.released
                {
                    self.delivered(by, &flight);
                }
            }
            Record::TakenBack { by, id } => {
                self.landed(by, id);
            }
            Record::Done { owner, seq, size } => {
                self.unsaid.remove(&(owner, seq));
                self.done(owner, seq, size);
            }
            Record::Progress { owner, state } => self.progress(owner, state, len as u32),
            Record::Put { .. } | Record::Delete { .. } | Record::Message(_) | Record::Unknown => {}
        }
    }

    fn begin(&mut self, id: OwnerId, len: u32) {
        self.next_owner = self.next_owner.max(id.saturating_add(1));
        if id == 0 || self.owners.find(id).is_some() {
            return;
        }
        let open = &mut self.segments.open;
        open.state_live += u64::from(len);
        let mut owner = Owner {
            id,
            next: 1,
            home: open.number,
            home_len: len,
            ..Owner::default()
        };
        if let Some(slot) = self.strangers.remove(&id) {
            (owner.touched, owner.slot) = (open.number, slot);
        }
        touch(&mut self.mem, open.number, &mut owner);
        self.owners.insert(owner);
    }

    fn end(&mut self, id: OwnerId) {
        self.next_owner = self.next_owner.max(id.saturating_add(1));
        if let Some(owner) = self.owners.remove(id) {
            self.forget(&owner);
        }
    }

    /// Takes what an owner stands for out of all sums.
    fn forget(&mut self, owner: &Owner) {
        for range in owner.live.iter() {
            self.owed = self.owed.saturating_sub(range.count.into());
            if let Some(segment) = self.segments.get_mut(range.segment) {
                segment.refs_live = segment.refs_live.saturating_sub(range.count.into());
            }
        }
        self.segments.state_gone(owner.home, owner.home_len);
    }

    /// An owner's whole state takes the place of what was known.
    fn progress(&mut self, id: OwnerId, state: &[u8], len: u32) {
        self.next_owner = self.next_owner.max(id.saturating_add(1));
        let Some(mut owner) = Owner::decode(id, state) else {
            log::error!("store: a progress record of owner {id} is malformed and was passed over");
            return;
        };
        if let Some(old) = self.owners.remove(id) {
            self.forget(&old);
            (owner.touched, owner.slot) = (old.touched, old.slot);
        } else if let Some(slot) = self.strangers.remove(&id) {
            (owner.touched, owner.slot) = (self.segments.open.number, slot);
        }
        for range in owner.live.iter() {
            self.owed += u64::from(range.count);
            if let Some(segment) = self.segments.get_mut(range.segment) {
                segment.refs_live += u64::from(range.count);
            }
        }
        let open = &mut self.segments.open;
        (owner.home, owner.home_len) = (open.number, len);
        open.state_live += u64::from(len);
        touch(&mut self.mem, open.number, &mut owner);
        self.owners.insert(owner);
    }

    fn landed(&mut self, by: OwnerId, id: u16) -> Option<Flight> {
        let open = self.segments.open.number;
        let place = self.owners.find(by)?;
        let by = self.owners.at_mut(place);
        touch(&mut self.mem, open, by);
        let flights = by.flights.as_deref_mut()?;
        let flight = flights.remove(id);
        if Flights::is_empty(flights) {
            by.flights = None;
        }
        flight
    }

    /// The flight of `by` has reached its end.
    fn delivered(&mut self, by: OwnerId, flight: &Flight) {
        if flight.owner != by && self.owners.find(flight.owner).is_some() {
            self.unsaid.insert((flight.owner, flight.seq), flight.size);
        }
        self.done(flight.owner, flight.seq, flight.size);
    }

    fn done(&mut self, id: OwnerId, seq: u64, size: u32) {
        let Some(place) = self.owners.find(id) else {
            return;
        };
        let open = self.segments.open.number;
        let owner = self.owners.at_mut(place);
        touch(&mut self.mem, open, owner);
        if let Some(segment) = owner.live.remove(seq) {
            owner.bytes = owner.bytes.saturating_sub(size.into());
            self.owed = self.owed.saturating_sub(1);
            self.segments.ref_gone(segment);
        }
    }

    /// The open segment has ended at `end`; `next` takes its place.
    pub fn seal(&mut self, end: u64, next: Segment) -> Arc<MemRefs> {
        let mem = Arc::new(std::mem::take(&mut self.mem));
        self.strangers = HashMap::new();
        let mut sealed = std::mem::replace(&mut self.segments.open, next);
        sealed.end = end;
        sealed.refs = Some(Refs::Memory(Arc::clone(&mem)));
        self.segments.sealed.insert(sealed.number, sealed);
        mem
    }

    /// Refs gathered for the open segment, which bound the memory it takes.
    pub fn open_refs(&self) -> usize {
        self.mem.len()
    }

    /// Records of segment `from` were written again in the open one, since they could not be synced there:
    /// what refers to them at `old` now does so at `new` (offsets of the first record in each file).
    ///
    /// # Errors
    /// Never for records that were folded before.
    pub fn relocate(
        &mut self,
        from: u32,
        old: u64,
        new: u64,
        records: &[u8],
    ) -> Result<(), Malformed> {
        for placed in Records::new(records) {
            let placed = placed?;
            let was = (old + placed.offset as u64) as u32;
            let at = (new + placed.offset as u64) as u32;
            match placed.record {
                Record::Put { table, key, .. } => {
                    let hash = self.hash(table, key);
                    let here = |l: &Location| l.segment == from && l.offset == was;
                    if self.keys.get(hash).filter(here).is_some() {
                        self.put(hash, at, placed.raw.len() as u32);
                    }
                }
                Record::Message(m) => {
                    let mut wanted = false;
                    m.refs(|r| {
                        let Some(place) = self.owners.find(r.owner) else {
                            return;
                        };
                        let open = self.segments.open.number;
                        let owner = self.owners.at_mut(place);
                        wanted = true;
                        // What is done meanwhile is a ref of this segment all the same: its index file must
                        // say that the number was used.
                        touch(&mut self.mem, open, owner);
                        self.mem.push(owner.slot, r.seq, at, m.size);
                        self.segments.open.refs_total += 1;
                        if owner.live.segment_of(r.seq) == Some(from) {
                            self.owe(place, r.seq, m.size);
                        }
                    })
                    .ok_or(Malformed)?;
                    if wanted {
                        self.segments.open.message_bytes += placed.raw.len() as u64;
                    }
                }
                // A `home` that stays in the earlier segment only makes for one more progress record.
                _ => {}
            }
        }
        Ok(())
    }

    /// Counts owners as touched in the open segment.
    pub fn touch_all(&mut self, owners: &[OwnerId]) {
        let open = self.segments.open.number;
        for &id in owners {
            if let Some(place) = self.owners.find(id) {
                touch(&mut self.mem, open, self.owners.at_mut(place));
            }
        }
    }

    /// Folds a whole segment from its index file; it must be the open one.
    ///
    /// The refs are folded before the state. Such a ref may be early, but never comes too late, and what is
    /// done to it comes after it in any case; only what makes an owner anew, `Begin` and `Progress`, would lose the
    /// refs that lie behind it, so that these are folded once more then.
    ///
    /// # Errors
    /// When the contents are malformed.
    pub fn fold_idx(&mut self, contents: &Contents) -> io::Result<()> {
        for entry in contents.keys() {
            if entry.len > 0 {
                self.put(entry.key, entry.offset, entry.len);
            } else {
                // Where it stood first is not in the index file: taken for new, it is only kept longer.
                self.segments.open.add_tombstone(0, KEY_TOMBSTONE);
                self.delete(entry.key);
            }
        }
        let refs = contents.refs()?;
        self.segments.open.refs_total = contents.idx.refs_total;
        self.segments.open.message_bytes = contents.idx.message_bytes;
        for run in refs.chunk_by(|a, b| a.owner == b.owner) {
            self.owe_run(run, 0);
        }
        contents.state(|offset, len, record| {
            let anew = match record {
                Record::Begin { owner } if self.owners.find(owner).is_none() => Some(owner),
                Record::Progress { owner, .. } => Some(owner),
                _ => None,
            };
            self.state(&record, len);
            if let Some(owner) = anew {
                let first = refs.partition_point(|r| r.owner < owner);
                let run = &refs[first..];
                let run = &run[..run.partition_point(|r| r.owner == owner)];
                self.owe_run(run, offset);
            }
        })?;
        // The list of the touched stands in the file, and the refs are found there.
        self.mem = MemRefs::default();
        Ok(())
    }

    fn owe_run(&mut self, run: &[RefEntry], after: u64) {
        let Some(place) = run.first().and_then(|r| self.owners.find(r.owner)) else {
            return;
        };
        for r in run.iter().filter(|r| u64::from(r.offset) > after) {
            self.owe(place, r.seq, r.size);
        }
    }

    /// Forgets what refers to segments that are not there; how many messages and keys that were.
    pub fn drop_missing(&mut self) -> (u64, usize) {
        let segments = &self.segments;
        let keys = self.keys.retain(|l| segments.get(l.segment).is_some());
        let mut messages = 0;
        for owner in self.owners.iter_mut() {
            if owner.live.iter().any(|r| segments.get(r.segment).is_none()) {
                messages += owner.live.retain(|n| segments.get(n).is_some());
            }
        }
        self.owed = self.owed.saturating_sub(messages);
        (messages, keys)
    }

    /// Where the messages with numbers in `runs` lie that an owner is owed from the open segment, or another
    /// whose refs are in memory.
    pub fn refs_in_memory(
        &self,
        number: u32,
        owner: &Owner,
        runs: &[(u64, u64)],
        out: &mut Vec<RefEntry>,
    ) {
        if number == self.segments.open.number {
            if owner.touched == number {
                self.mem.of(owner.id, Some(owner.slot), runs, out);
            }
        } else if let Some(Refs::Memory(mem)) = self
            .segments
            .sealed
            .get(&number)
            .and_then(|s| s.refs.as_ref())
        {
            let slot = (owner.touched == number).then_some(owner.slot);
            mem.of(owner.id, slot, runs, out);
        }
    }
}
