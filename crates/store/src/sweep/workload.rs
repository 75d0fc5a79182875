//! A random life of a broker, as batches for its store.

use super::model::{Act, Model, size_of};
use crate::sim::Rng;
use crate::{OwnerId, Table};
use std::collections::VecDeque;

/// Makes batches, and knows what they come to.
#[derive(Debug, Clone)]
pub struct Workload {
    rng: Rng,
    /// everything made so far
    pub model: Model,
    next_owner: OwnerId,
    /// owners that have ended, for things that come too late for them
    ended: Vec<OwnerId>,
    /// numbers given out; a message may be put in later than one with a higher number
    given: std::collections::BTreeMap<OwnerId, u64>,
    late: VecDeque<Act>,
    /// about this many messages are owed at a time
    crowd: u64,
    /// the largest body
    largest: u64,
}

impl Workload {
    /// One that goes on from `model`, with bodies up to `largest` bytes and about `crowd` messages owed.
    #[must_use]
    pub fn new(seed: u64, model: Model, next_owner: OwnerId, crowd: u64, largest: u64) -> Workload {
        let given = model
            .owners
            .iter()
            .map(|(id, owner)| (*id, owner.next))
            .collect();
        Workload {
            rng: Rng::new(seed),
            model,
            next_owner: next_owner.max(1),
            ended: Vec::new(),
            given,
            late: VecDeque::new(),
            crowd,
            largest,
        }
    }

    /// The next batch.
    pub fn batch(&mut self) -> Vec<Act> {
        let mut batch = Vec::new();
        if let Some(act) = self.late.pop_front() {
            self.push(&mut batch, act);
        }
        for _ in 0..=self.rng.below(8) {
            if let Some(act) = self.pick() {
                self.push(&mut batch, act);
            }
        }
        batch
    }

    fn push(&mut self, batch: &mut Vec<Act>, act: Act) {
        self.model.apply(std::slice::from_ref(&act));
        batch.push(act);
    }

    fn pick(&mut self) -> Option<Act> {
        let crowded = self.model.owed() > self.crowd;
        match self.rng.below(100) {
            _ if self.model.owners.len() < 4 => Some(self.begin()),
            0..3 if self.model.owners.len() < 25 => Some(self.begin()),
            0..5 if self.model.owners.len() > 8 => self.end(),
            0..16 => Some(self.put()),
            16..20 => Some(Act::Delete(self.table(), self.key())),
            20..22 => self.too_late(),
            22..55 if !crowded => self.message(),
            22..40 => self.advance(),
            40..55 => self.done(),
            55..75 => self.sent(),
            75..98 => self.advance(),
            _ => self.done(),
        }
    }

    fn begin(&mut self) -> Act {
        let owner = self.next_owner;
        self.next_owner += 1;
        self.given.insert(owner, 1);
        Act::Begin(owner)
    }

    fn end(&mut self) -> Option<Act> {
        let owner = self.owner()?;
        self.ended.push(owner);
        Some(Act::End(owner))
    }

    fn owner(&mut self) -> Option<OwnerId> {
        let n = self.rng.below(self.model.owners.len() as u64) as usize;
        self.model.owners.keys().nth(n).copied()
    }

    fn table(&mut self) -> Table {
        1 + self.rng.below(3) as Table
    }

    fn key(&mut self) -> Vec<u8> {
        format!("key {}", self.rng.below(40)).into_bytes()
    }

    fn bytes(&mut self, most: u64) -> Vec<u8> {
        let len = self.rng.below(most + 1);
        let first = self.rng.draw();
        (0..len)
            .map(|i| (first.wrapping_mul(i / 7 + 1) >> 13) as u8)
            .collect()
    }

    fn put(&mut self) -> Act {
        let (table, key) = (self.table(), self.key());
        let value = self.bytes(300);
        Act::Put(table, key, value)
    }

    /// Something for an owner that has ended: it is void.
    fn too_late(&mut self) -> Option<Act> {
        let n = self.rng.below(self.ended.len() as u64) as usize;
        let gone = *self.ended.get(n)?;
        let given = self.given.entry(gone).or_insert(1);
        *given += 1;
        let seq = *given - 1;
        Some(match self.rng.below(4) {
            0 => Act::Done(gone, 1, 10),
            1 => Act::Sent(gone, 7, gone, 1, 10),
            _ => Act::Message(self.bytes(200), vec![(gone, seq)]),
        })
    }

    fn message(&mut self) -> Option<Act> {
        let mut owed: Vec<(OwnerId, u64)> = Vec::new();
        for _ in 0..=self.rng.below(4) {
            let owner = self.owner()?;
            if owed.iter().all(|(o, _)| *o != owner) {
                let given = self.given.entry(owner).or_insert(1);
                owed.push((owner, *given));
                *given += 1;
            }
        }
        let most = if self.rng.chance(20) {
            self.largest
        } else {
            self.largest.min(700)
        };
        let body = self.bytes(most);
        let act = Act::Message(body, owed);
        // Two shards number their messages at once, and the second is the first to write.
        if self.rng.chance(60) {
            self.late.push_back(act);
            return None;
        }
        Some(act)
    }

    /// A message that is owed and not on its way.
    fn waiting(&mut self) -> Option<(OwnerId, u64, u32)> {
        let owner = self.owner()?;
        let owed = &self.model.owners.get(&owner)?.owed;
        // mostly the oldest
        let n = if self.rng.chance(700) {
            0
        } else {
            self.rng.below(owed.len() as u64)
        };
        let (seq, message) = owed
            .iter()
            .skip(n as usize)
            .find(|(seq, _)| !self.model.is_in_flight(owner, **seq))?;
        Some((owner, *seq, size_of(&message.body)))
    }

    fn sent(&mut self) -> Option<Act> {
        let (owner, seq, size) = self.waiting()?;
        // One in five owners acts as a shared group: another one sends its messages.
        let by = if owner % 5 == 0 { self.owner()? } else { owner };
        let state = self.model.owners.get(&by)?;
        let mut id = state.last_id % 50 + 1;
        while state.in_flight.iter().any(|e| e.id == id) {
            id += 1;
        }
        Some(Act::Sent(by, id, owner, seq, size))
    }

    /// One step of a flow.
    fn advance(&mut self) -> Option<Act> {
        let by = self.owner()?;
        let list = &self.model.owners.get(&by)?.in_flight;
        let n = self.rng.below(list.len() as u64) as usize;
        let entry = *list.get(n)?;
        Some(match self.rng.below(10) {
            0 if !entry.released => Act::TakenBack(by, entry.id),
            1..4 if !entry.released => Act::Released(by, entry.id),
            _ => Act::Completed(by, entry.id),
        })
    }

    fn done(&mut self) -> Option<Act> {
        let (owner, seq, size) = self.waiting()?;
        Some(Act::Done(owner, seq, size))
    }
}
