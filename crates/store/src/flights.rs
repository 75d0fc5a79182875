//! What an owner has in flight, by packet identifier.

use crate::OwnerId;
use hashbrown::HashMap;

/// Up to so many are looked through one by one.
const FEW: usize = 32;

/// A message on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flight {
    pub id: u16,
    pub released: bool,
    /// the caller's
    pub note: u8,
    pub size: u32,
    pub owner: OwnerId,
    pub seq: u64,
    /// in which order they were sent
    order: u64,
}

impl Flight {
    pub fn new(id: u16, owner: OwnerId, seq: u64, size: u32, note: u8) -> Flight {
        Flight {
            id,
            released: false,
            note,
            size,
            owner,
            seq,
            order: 0,
        }
    }
}

/// All of one owner. A window of some messages is a short list; a large one is a table, so that no order of
/// acknowledgements is slow.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flights {
    sent: u64,
    few: Vec<Flight>,
    /// in use when it is not empty, and then `few` is
    many: HashMap<u16, Flight>,
}

impl Flights {
    pub fn is_empty(&self) -> bool {
        self.few.is_empty() && self.many.is_empty()
    }

    /// Adds one at the end, in place of one that has its identifier.
    pub fn insert(&mut self, mut flight: Flight) {
        self.sent += 1;
        flight.order = self.sent;
        if self.many.is_empty() {
            self.few.retain(|f| f.id != flight.id);
            if self.few.len() < FEW {
                self.few.push(flight);
                return;
            }
            self.many.extend(self.few.drain(..).map(|f| (f.id, f)));
        }
        self.many.insert(flight.id, flight);
    }

    pub fn get_mut(&mut self, id: u16) -> Option<&mut Flight> {
        if self.many.is_empty() {
            self.few.iter_mut().find(|f| f.id == id)
        } else {
            self.many.get_mut(&id)
        }
    }

    pub fn remove(&mut self, id: u16) -> Option<Flight> {
        if self.many.is_empty() {
            let i = self.few.iter().position(|f| f.id == id)?;
            Some(self.few.remove(i))
        } else {
            self.many.remove(&id)
        }
    }

    /// In the order of sending.
    pub fn in_order(&self) -> Vec<Flight> {
        let mut all: Vec<Flight> = self.few.iter().chain(self.many.values()).copied().collect();
        all.sort_unstable_by_key(|f| f.order);
        all
    }
}

#[cfg(test)]
mod tests;
