//! The edges of a trie: a hash table of node ids.
//!
//! Open addressing with linear probing; a slot of eight bytes holds an id and 32 bits of its hash, so a look-up
//! reads one cache line and does not visit nodes in vain, and growing visits none at all. With a general hash
//! table a step down would cost one cache miss more, which is most of what it costs when the trie is large.

/// Ids by the hash of their parent and level.
pub(crate) struct Edges {
    /// A power of two of them, or none; an empty one is 0. At most three of four are taken.
    slots: Vec<u64>,
    len: usize,
}

const SMALLEST: usize = 16;

impl Edges {
    pub fn new() -> Self {
        Self {
            slots: Vec::new(),
            len: 0,
        }
    }

    /// Bytes of the table.
    pub fn memory(&self) -> usize {
        self.slots.capacity() * size_of::<u64>()
    }

    /// The id with this hash for which `is` holds.
    #[inline]
    pub fn find(&self, hash: u64, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = home(hash >> 32, mask);
        loop {
            match *self.slots.get(at)? {
                0 => return None,
                slot if slot >> 32 == hash >> 32 && is(slot as u32) => return Some(slot as u32),
                _ => at = (at + 1) & mask,
            }
        }
    }

    /// Adds an id, which is not 0.
    pub fn insert(&mut self, hash: u64, id: u32) {
        debug_assert_ne!(id, 0);
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            self.resize((self.slots.len() * 2).max(SMALLEST));
        }
        self.put(hash >> 32 << 32 | u64::from(id));
        self.len += 1;
    }

    /// Removes an id that was added with this hash.
    pub fn remove(&mut self, hash: u64, id: u32) {
        let mask = self.slots.len().wrapping_sub(1);
        let mut hole = home(hash >> 32, mask);
        loop {
            match self.slots.get(hole) {
                None | Some(0) => return,
                Some(slot) if *slot as u32 == id => break,
                Some(_) => hole = (hole + 1) & mask,
            }
        }
        self.len -= 1;
        // Moves up those behind that may not be found any more when there is a hole before them.
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let slot = self.slots[at];
            if slot == 0 {
                break;
            }
            let wanted = home(slot >> 32, mask);
            if (at.wrapping_sub(wanted) & mask) >= (at.wrapping_sub(hole) & mask) {
                self.slots[hole] = slot;
                hole = at;
            }
        }
        self.slots[hole] = 0;
        if self.slots.len() > SMALLEST && self.len < self.slots.len() / 8 {
            self.resize(self.slots.len() / 2);
        }
    }

    fn put(&mut self, slot: u64) {
        let mask = self.slots.len() - 1;
        let mut at = home(slot >> 32, mask);
        while self.slots[at] != 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = slot;
    }

    fn resize(&mut self, capacity: usize) {
        let old = std::mem::replace(&mut self.slots, vec![0; capacity]);
        for slot in old {
            if slot != 0 {
                self.put(slot);
            }
        }
    }
}

/// Where a slot with this upper half of a hash belongs.
#[inline]
fn home(half: u64, mask: usize) -> usize {
    half as usize & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hash whose upper half is one of few values, so that runs are long and wrap around the end.
    fn crowded(id: u32) -> u64 {
        u64::from(u32::MAX - 15 + id.wrapping_mul(7) % 16 * (id % 2)) << 32
    }

    fn spread(id: u32) -> u64 {
        u64::from(id).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    #[test]
    fn finds_what_is_there_and_nothing_else() {
        for (hash, count) in [(crowded as fn(u32) -> u64, 300), (spread, 20_000)] {
            let mut edges = Edges::new();
            assert_eq!(edges.find(hash(1), |_| true), None);
            for id in 1..=count {
                edges.insert(hash(id), id);
            }
            // Every third one leaves, then every third of the others, and so on to the last.
            let mut left: Vec<u32> = (1..=count).collect();
            while !left.is_empty() {
                let gone: Vec<u32> = left.iter().copied().step_by(3).collect();
                for id in &gone {
                    edges.remove(hash(*id), *id);
                }
                left.retain(|id| gone.binary_search(id).is_err());
                assert_eq!(edges.len, left.len());
                for id in &left {
                    assert_eq!(edges.find(hash(*id), |found| found == *id), Some(*id));
                }
                for id in &gone {
                    assert_eq!(edges.find(hash(*id), |found| found == *id), None);
                }
            }
            assert_eq!(edges.slots.len(), SMALLEST);
        }
    }
}
