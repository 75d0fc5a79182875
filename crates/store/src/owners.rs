//! Every living owner, in a slab with a table of hashes beside it: 90 bytes each, and what it has in flight.

use crate::flights::{Flight, Flights};
use crate::ranges::{Range, Ranges};
use crate::record::{Cursor, put_varint};
use crate::{InFlight, OwnerId, OwnerState};
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

/// What is known of an owner.
#[derive(Debug, Clone, Default)]
pub(crate) struct Owner {
    /// 0 = this place is free
    pub id: OwnerId,
    /// number of the next message
    pub next: u64,
    /// sum of the sizes of what is owed
    pub bytes: u64,
    /// numbers of what is owed
    pub live: Ranges,
    pub flights: Option<Box<Flights>>,
    /// segment of its latest `Begin` or `Progress`: all about it in earlier segments is void
    pub home: u32,
    /// bytes of that record
    pub home_len: u32,
    /// segment in which something was last said of it
    pub touched: u32,
    /// its place in the list of those touched, if that is the open segment
    pub slot: u32,
    pub last_id: u16,
}

impl Owner {
    /// As callers see it.
    pub fn state(&self) -> OwnerState {
        let flights = self
            .flights
            .as_ref()
            .map(|f| f.in_order())
            .unwrap_or_default();
        OwnerState {
            owner: self.id,
            next: self.next,
            front: self.live.front().unwrap_or(self.next),
            owed: self.live.total(),
            bytes: self.bytes,
            last_id: self.last_id,
            in_flight: flights
                .iter()
                .map(|f| InFlight {
                    id: f.id,
                    released: f.released,
                    note: f.note,
                    owner: f.owner,
                    seq: f.seq,
                })
                .collect(),
        }
    }

    /// All of it, as a `Progress` record holds it behind the owner's number.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.next);
        put_varint(out, self.bytes);
        put_varint(out, self.last_id.into());
        put_varint(out, self.live.iter().count() as u64);
        let mut at = 0;
        for range in self.live.iter() {
            put_varint(out, range.start - at);
            put_varint(out, range.count.into());
            put_varint(out, range.segment.into());
            at = range.end();
        }
        let flights = self
            .flights
            .as_ref()
            .map(|f| f.in_order())
            .unwrap_or_default();
        put_varint(out, flights.len() as u64);
        for f in flights {
            put_varint(out, u64::from(f.id) << 1 | u64::from(f.released));
            put_varint(out, f.owner);
            put_varint(out, f.seq);
            put_varint(out, f.size.into());
            put_varint(out, f.note.into());
        }
    }

    /// The other direction; `None` when it is malformed.
    pub fn decode(id: OwnerId, state: &[u8]) -> Option<Owner> {
        let mut c = Cursor(state);
        let mut owner = Owner {
            id,
            ..Owner::default()
        };
        owner.next = c.varint()?;
        owner.bytes = c.varint()?;
        owner.last_id = c.varint_u16()?;
        let mut at = 0u64;
        for _ in 0..c.varint()? {
            let start = at.checked_add(c.varint()?)?;
            let range = Range {
                start,
                count: c.varint_u32()?,
                segment: c.varint_u32()?,
            };
            at = start.checked_add(range.count.into())?;
            owner.live.push(range);
        }
        let count = c.varint()?;
        if count > 0 {
            let mut flights = Box::new(Flights::default());
            for _ in 0..count {
                let id = c.varint()?;
                let mut flight = Flight::new(
                    u16::try_from(id >> 1).ok()?,
                    c.varint()?,
                    c.varint()?,
                    c.varint_u32()?,
                    u8::try_from(c.varint()?).ok()?,
                );
                flight.released = id & 1 == 1;
                flights.insert(flight);
            }
            owner.flights = Some(flights);
        }
        Some(owner)
    }
}

/// All of them.
#[derive(Default)]
pub(crate) struct Owners {
    slab: Vec<Owner>,
    free: Vec<u32>,
    places: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Owners {
    /// Bytes held, without what single owners have beside their place.
    pub fn memory(&self) -> usize {
        self.slab.capacity() * size_of::<Owner>()
            + self.free.capacity() * size_of::<u32>()
            + self.places.allocation_size()
    }

    #[inline]
    pub fn find(&self, id: OwnerId) -> Option<u32> {
        let slab = &self.slab;
        self.places
            .find(self.hasher.hash_one(id), |&i| slab[i as usize].id == id)
            .copied()
    }

    pub fn at(&self, place: u32) -> &Owner {
        &self.slab[place as usize]
    }

    #[inline]
    pub fn at_mut(&mut self, place: u32) -> &mut Owner {
        &mut self.slab[place as usize]
    }

    pub fn get(&self, id: OwnerId) -> Option<&Owner> {
        Some(self.at(self.find(id)?))
    }

    /// Adds one that is not there.
    pub fn insert(&mut self, owner: Owner) -> u32 {
        let id = owner.id;
        let place = match self.free.pop() {
            Some(place) => {
                self.slab[place as usize] = owner;
                place
            }
            None => {
                self.slab.push(owner);
                // 2^32 owners would take 300 GB of memory before this could wrap.
                (self.slab.len() - 1) as u32
            }
        };
        let (slab, hasher) = (&self.slab, &self.hasher);
        self.places.insert_unique(hasher.hash_one(id), place, |&i| {
            hasher.hash_one(slab[i as usize].id)
        });
        place
    }

    pub fn remove(&mut self, id: OwnerId) -> Option<Owner> {
        let slab = &self.slab;
        let entry = self
            .places
            .find_entry(self.hasher.hash_one(id), |&i| slab[i as usize].id == id)
            .ok()?;
        let (place, _) = entry.remove();
        self.free.push(place);
        Some(std::mem::take(&mut self.slab[place as usize]))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Owner> {
        self.slab.iter().filter(|o| o.id != 0)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Owner> {
        self.slab.iter_mut().filter(|o| o.id != 0)
    }
}
