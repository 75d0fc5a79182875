//! Where the value of each key lies: 30 to 36 bytes a key, whatever its length.

use crate::Table;
use hashbrown::HashTable;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

/// A key, as it is known in memory: its table and 88 bits of a hash that nobody outside can foresee. That two
/// of ten million keys have the same is as likely as one in 10^13.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyHash(pub [u32; 3]);

impl KeyHash {
    #[inline]
    pub fn new(secret: &[u8; 16], table: Table, key: &[u8]) -> KeyHash {
        let mut hasher = SipHasher13::new_with_key(secret);
        hasher.write_u8(table);
        hasher.write(key);
        let hash = hasher.finish128();
        KeyHash([
            hash.h1 as u32,
            (hash.h1 >> 32) as u32,
            (hash.h2 as u32) << 8 | u32::from(table),
        ])
    }

    pub fn table(self) -> Table {
        self.0[2] as u8
    }

    fn hash(self) -> u64 {
        u64::from(self.0[0]) | u64::from(self.0[1]) << 32
    }

    pub fn to_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        for (to, word) in bytes.chunks_exact_mut(4).zip(self.0) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    pub fn from_bytes(bytes: &[u8; 12]) -> KeyHash {
        let mut words = [0; 3];
        for (word, from) in words.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = u32::from_le_bytes([from[0], from[1], from[2], from[3]]);
        }
        KeyHash(words)
    }
}

/// A record in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Location {
    pub segment: u32,
    /// bytes from the start of the file to the record
    pub offset: u32,
    /// bytes of the record
    pub len: u32,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    key: KeyHash,
    location: Location,
}

/// All keys.
#[derive(Default)]
pub(crate) struct Keys {
    slab: Vec<Entry>,
    places: HashTable<u32>,
}

impl Keys {
    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.slab.capacity() * size_of::<Entry>() + self.places.allocation_size()
    }

    pub fn get(&self, key: KeyHash) -> Option<Location> {
        let slab = &self.slab;
        let place = self
            .places
            .find(key.hash(), |&i| slab[i as usize].key == key)?;
        Some(slab[*place as usize].location)
    }

    /// Gives a key a place; the one it had before.
    #[inline]
    pub fn insert(&mut self, key: KeyHash, location: Location) -> Option<Location> {
        let slab = &mut self.slab;
        if let Some(&place) = self
            .places
            .find(key.hash(), |&i| slab[i as usize].key == key)
        {
            return Some(std::mem::replace(
                &mut slab[place as usize].location,
                location,
            ));
        }
        let place = slab.len() as u32;
        slab.push(Entry { key, location });
        self.places
            .insert_unique(key.hash(), place, |&i| slab[i as usize].key.hash());
        None
    }

    pub fn remove(&mut self, key: KeyHash) -> Option<Location> {
        let slab = &mut self.slab;
        let entry = self
            .places
            .find_entry(key.hash(), |&i| slab[i as usize].key == key)
            .ok()?;
        let (place, _) = entry.remove();
        let gone = slab.swap_remove(place as usize);
        // The last one has moved into the gap; the table must say so.
        if let Some(moved) = slab.get(place as usize).map(|e| e.key.hash()) {
            let old = slab.len() as u32;
            if let Some(at) = self.places.find_mut(moved, |&i| i == old) {
                *at = place;
            }
        }
        Some(gone.location)
    }

    pub fn iter(&self) -> impl Iterator<Item = (KeyHash, Location)> + '_ {
        self.slab.iter().map(|e| (e.key, e.location))
    }

    /// Forgets all keys whose place is not to be kept.
    pub fn retain(&mut self, mut keep: impl FnMut(Location) -> bool) -> usize {
        let gone: Vec<KeyHash> = self
            .slab
            .iter()
            .filter(|e| !keep(e.location))
            .map(|e| e.key)
            .collect();
        for &key in &gone {
            self.remove(key);
        }
        gone.len()
    }
}
