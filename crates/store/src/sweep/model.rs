//! What the store must hold, in ordinary maps.

use crate::{Batch, InFlight, Owed, OwnerId, Table};
use std::collections::BTreeMap;

/// One thing put into a [`Batch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// [`Batch::put`]
    Put(Table, Vec<u8>, Vec<u8>),
    /// [`Batch::delete`]
    Delete(Table, Vec<u8>),
    /// [`Batch::begin`]
    Begin(OwnerId),
    /// [`Batch::end`]
    End(OwnerId),
    /// [`Batch::message`]: body, owners with their numbers
    Message(Vec<u8>, Vec<(OwnerId, u64)>),
    /// [`Batch::sent`]: by, packet id, owner, number, size
    Sent(OwnerId, u16, OwnerId, u64, u32),
    /// [`Batch::released`]
    Released(OwnerId, u16),
    /// [`Batch::completed`]
    Completed(OwnerId, u16),
    /// [`Batch::taken_back`]
    TakenBack(OwnerId, u16),
    /// [`Batch::done`]: owner, number, size
    Done(OwnerId, u64, u32),
}

/// Weight of a message with such a body.
#[must_use]
pub fn size_of(body: &[u8]) -> u32 {
    body.len() as u32 + 30
}

/// What stands beside an owner in a message: made from both, so that a mix-up is seen.
fn extra(owner: OwnerId, seq: u64) -> Vec<u8> {
    let mut bytes = owner.to_le_bytes().to_vec();
    bytes.extend_from_slice(&seq.to_le_bytes()[..(seq % 4) as usize + 1]);
    bytes
}

impl Act {
    /// Puts it into a batch.
    pub fn into_batch(&self, batch: &mut Batch) {
        match self {
            Act::Put(table, key, value) => batch.put(*table, key, value),
            Act::Delete(table, key) => batch.delete(*table, key),
            Act::Begin(owner) => batch.begin(*owner),
            Act::End(owner) => batch.end(*owner),
            Act::Message(body, owed) => {
                let extras: Vec<Vec<u8>> = owed
                    .iter()
                    .map(|(owner, seq)| extra(*owner, *seq))
                    .collect();
                let owed: Vec<Owed<'_>> = owed
                    .iter()
                    .zip(&extras)
                    .map(|((owner, seq), extra)| Owed {
                        owner: *owner,
                        seq: *seq,
                        extra,
                    })
                    .collect();
                let (head, tail) = body.split_at(body.len() / 3);
                batch.message(&[head, tail], size_of(body), &owed);
            }
            Act::Sent(by, id, owner, seq, size) => {
                batch.sent(*by, *id, *owner, *seq, *size, *seq as u8);
            }
            Act::Released(by, id) => batch.released(*by, *id),
            Act::Completed(by, id) => batch.completed(*by, *id),
            Act::TakenBack(by, id) => batch.taken_back(*by, *id),
            Act::Done(owner, seq, size) => batch.done(*owner, *seq, *size),
        }
    }
}

/// A message owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// what stands beside the owner
    pub extra: Vec<u8>,
    /// its body
    pub body: std::sync::Arc<[u8]>,
}

/// An owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// number of the next message it will be owed
    pub next: u64,
    /// what it is owed
    pub owed: BTreeMap<u64, Message>,
    /// identifier used last
    pub last_id: u16,
    /// on their way to it
    pub in_flight: Vec<InFlight>,
}

/// Everything in a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Model {
    /// keys and values
    pub tables: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    /// those that began and have not ended
    pub owners: BTreeMap<OwnerId, Owner>,
}

impl Model {
    /// What a batch of these acts changes.
    pub fn apply(&mut self, acts: &[Act]) {
        for act in acts {
            self.act(act);
        }
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Put(table, key, value) => {
                self.tables.insert((*table, key.clone()), value.clone());
            }
            Act::Delete(table, key) => {
                self.tables.remove(&(*table, key.clone()));
            }
            Act::Begin(owner) => {
                let new = Owner {
                    next: 1,
                    owed: BTreeMap::new(),
                    last_id: 0,
                    in_flight: Vec::new(),
                };
                self.owners.entry(*owner).or_insert(new);
            }
            Act::End(owner) => {
                self.owners.remove(owner);
            }
            Act::Message(body, owed) => {
                let body: std::sync::Arc<[u8]> = body.as_slice().into();
                for (owner, seq) in owed {
                    if let Some(state) = self.owners.get_mut(owner) {
                        state.next = state.next.max(seq + 1);
                        let extra = extra(*owner, *seq);
                        let message = Message {
                            extra,
                            body: body.clone(),
                        };
                        state.owed.insert(*seq, message);
                    }
                }
            }
            Act::Sent(by, id, owner, seq, _) => {
                if let Some(state) = self.owners.get_mut(by) {
                    let entry = InFlight {
                        id: *id,
                        released: false,
                        owner: *owner,
                        seq: *seq,
                        note: *seq as u8,
                    };
                    state.in_flight.retain(|e| e.id != *id);
                    state.in_flight.push(entry);
                    state.last_id = *id;
                }
            }
            Act::Released(by, id) => {
                if let Some(entry) = self.entry(*by, *id)
                    && !entry.released
                {
                    entry.released = true;
                    let (owner, seq) = (entry.owner, entry.seq);
                    self.done(owner, seq);
                }
            }
            Act::Completed(by, id) => {
                if let Some(entry) = self.take(*by, *id)
                    && !entry.released
                {
                    self.done(entry.owner, entry.seq);
                }
            }
            Act::TakenBack(by, id) => {
                self.take(*by, *id);
            }
            Act::Done(owner, seq, _) => self.done(*owner, *seq),
        }
    }

    fn entry(&mut self, by: OwnerId, id: u16) -> Option<&mut InFlight> {
        self.owners
            .get_mut(&by)?
            .in_flight
            .iter_mut()
            .find(|e| e.id == id)
    }

    fn take(&mut self, by: OwnerId, id: u16) -> Option<InFlight> {
        let list = &mut self.owners.get_mut(&by)?.in_flight;
        let at = list.iter().position(|e| e.id == id)?;
        Some(list.remove(at))
    }

    fn done(&mut self, owner: OwnerId, seq: u64) {
        if let Some(state) = self.owners.get_mut(&owner) {
            state.owed.remove(&seq);
        }
    }

    /// Whether somebody has it on its way (released ones are not owed any more).
    #[must_use]
    pub fn is_in_flight(&self, owner: OwnerId, seq: u64) -> bool {
        self.owners
            .values()
            .flat_map(|o| &o.in_flight)
            .any(|e| !e.released && (e.owner, e.seq) == (owner, seq))
    }

    /// How many messages are owed.
    #[must_use]
    pub fn owed(&self) -> u64 {
        self.owners.values().map(|o| o.owed.len() as u64).sum()
    }

    /// The first difference to another one, in words; `None` when they are equal.
    #[must_use]
    pub fn difference(&self, found: &Model) -> Option<String> {
        for (key, value) in &self.tables {
            match found.tables.get(key) {
                None => return Some(format!("key {key:?} is lost")),
                Some(other) if other != value => {
                    return Some(format!("key {key:?} has another value"));
                }
                Some(_) => {}
            }
        }
        if let Some(key) = found.tables.keys().find(|k| !self.tables.contains_key(*k)) {
            return Some(format!("key {key:?} should not be there"));
        }
        for (id, owner) in &self.owners {
            let Some(other) = found.owners.get(id) else {
                return Some(format!("owner {id} is lost"));
            };
            if let Some(seq) = owner.owed.keys().find(|s| !other.owed.contains_key(*s)) {
                return Some(format!("message {seq} of owner {id} is lost"));
            }
            if let Some(seq) = other.owed.keys().find(|s| !owner.owed.contains_key(*s)) {
                return Some(format!("message {seq} of owner {id} should not be there"));
            }
            if let Some(seq) = owner
                .owed
                .keys()
                .find(|s| owner.owed.get(s) != other.owed.get(s))
            {
                return Some(format!("message {seq} of owner {id} is another one"));
            }
            if owner != other {
                return Some(format!(
                    "owner {id}: next {}, last id {}, in flight {:?}; found next {}, last id {}, {:?}",
                    owner.next,
                    owner.last_id,
                    owner.in_flight,
                    other.next,
                    other.last_id,
                    other.in_flight
                ));
            }
        }
        let revived = found
            .owners
            .keys()
            .find(|id| !self.owners.contains_key(*id))?;
        Some(format!("owner {revived} should not be there"))
    }
}
