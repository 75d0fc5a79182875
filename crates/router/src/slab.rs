//! Records with small reusable ids.

use std::ops::{Index, IndexMut};

/// Records of a chunk, as a power of two. Chunks never move, so growing copies nothing and wastes at most one chunk.
const CHUNK_BITS: u32 = 12;
const CHUNK: usize = 1 << CHUNK_BITS;

/// A table of records addressed by `u32`; the id of a removed record is given out again.
pub(crate) struct Slab<T> {
    chunks: Vec<Vec<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub fn new() -> Self {
        Self {
            chunks: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Stores the record and returns its id.
    pub fn insert(&mut self, record: T) -> u32 {
        if let Some(id) = self.free.pop() {
            self[id] = record;
            return id;
        }
        let full = self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK);
        if full {
            // The first chunk grows as it fills, so that a small table is small.
            let capacity = if self.chunks.is_empty() { 0 } else { CHUNK };
            self.chunks.push(Vec::with_capacity(capacity));
        }
        let at = self.chunks.len() - 1;
        let chunk = &mut self.chunks[at];
        let id = u32::try_from(at << CHUNK_BITS | chunk.len())
            .expect("2^32 records do not fit in memory");
        chunk.push(record);
        id
    }

    /// Bytes of the table, without what records hold elsewhere.
    pub fn memory(&self) -> usize {
        let records: usize = self.chunks.iter().map(Vec::capacity).sum();
        records * size_of::<T>() + self.free.capacity() * size_of::<u32>()
    }

    /// As [`Slab::iter`], from an id on.
    pub fn iter_from(&self, from: u32) -> impl Iterator<Item = (u32, &T)> {
        let (first, skip) = ((from >> CHUNK_BITS) as usize, from as usize % CHUNK);
        let chunks = self.chunks.get(first..).unwrap_or_default();
        let head = chunks.first().and_then(|chunk| chunk.get(skip..));
        let tail = chunks.iter().skip(1).flatten();
        (from..=u32::MAX).zip(head.into_iter().flatten().chain(tail))
    }

    /// Every record with its id, those that were removed (and are now `T::default()`) included.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0u32..).zip(self.chunks.iter().flatten())
    }
}

impl<T: Default> Slab<T> {
    /// Takes the record out. Its place holds a default until the id is used again.
    pub fn remove(&mut self, id: u32) -> T {
        self.free.push(id);
        std::mem::take(&mut self[id])
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    #[inline]
    fn index(&self, id: u32) -> &T {
        &self.chunks[(id >> CHUNK_BITS) as usize][id as usize % CHUNK]
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, id: u32) -> &mut T {
        &mut self.chunks[(id >> CHUNK_BITS) as usize][id as usize % CHUNK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_dense_and_reused() {
        let mut slab = Slab::new();
        for n in 0..10_000u32 {
            assert_eq!(slab.insert(n), n);
        }
        assert_eq!(slab.remove(5_000), 5_000);
        assert_eq!(slab[5_000], 0);
        assert_eq!(slab.insert(7), 5_000);
        assert_eq!(slab[5_000], 7);
        assert_eq!(slab[9_999], 9_999);
        assert_eq!(slab.iter().count(), 10_000);
        assert!(slab.iter().all(|(id, n)| id == *n || id == 5_000));
        for from in [0, 1, 4_095, 4_096, 8_191, 9_999, 10_000, 20_000, u32::MAX] {
            let rest: Vec<u32> = slab.iter_from(from).map(|(id, _)| id).collect();
            assert_eq!(rest, (from..10_000).collect::<Vec<_>>(), "{from}");
        }
    }
}
