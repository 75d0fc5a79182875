//! Retained messages in the order in which they were published.
//!
//! Each has a number, the *sequence*, which grows with each message that is retained. So whoever sends many
//! of them needs to remember one number only, and finds what comes behind it whatever has changed meanwhile.

use emqttd_router::NameId;
use std::collections::BTreeMap;

/// Sequences of a chunk.
const CHUNK: u64 = 1024;
/// With so many entries a list of them takes no less memory than a place for each sequence.
const DENSE: usize = 512;
/// With so few it takes much less.
const SPARSE: usize = 256;

/// Names by sequence: four bytes for each while few of them are replaced, and a few more otherwise.
#[derive(Default)]
pub(crate) struct Order {
    chunks: BTreeMap<u64, Chunk>,
}

enum Chunk {
    /// by place, 0 = none; and how many there are
    Dense(Box<[u32; CHUNK as usize]>, usize),
    /// place and name, ascending
    Sparse(Vec<(u16, u32)>),
}

/// Looks up one sequence after the other.
pub(crate) struct Looker<'a> {
    order: &'a Order,
    last: Option<(u64, &'a Chunk)>,
}

impl Looker<'_> {
    #[inline]
    pub fn get(&mut self, sequence: u64) -> Option<NameId> {
        let (number, place) = split(sequence);
        let chunk = match self.last {
            Some((last, chunk)) if last == number => chunk,
            _ => {
                let chunk = self.order.chunks.get(&number)?;
                self.last = Some((number, chunk));
                chunk
            }
        };
        chunk.at(place).map(NameId::new)
    }
}

impl Chunk {
    #[inline]
    fn at(&self, place: u16) -> Option<u32> {
        match self {
            Chunk::Dense(names, _) => Some(names[usize::from(place)]).filter(|name| *name != 0),
            Chunk::Sparse(names) => {
                let found = names.binary_search_by_key(&place, |(place, _)| *place);
                found.ok().map(|at| names[at].1)
            }
        }
    }

    fn insert(&mut self, place: u16, name: u32) {
        match self {
            Chunk::Dense(names, count) => {
                let there = &mut names[usize::from(place)];
                *count += usize::from(*there == 0);
                *there = name;
            }
            Chunk::Sparse(names) => {
                if names.last().is_none_or(|(last, _)| *last < place) {
                    names.push((place, name));
                } else {
                    match names.binary_search_by_key(&place, |(place, _)| *place) {
                        Ok(at) => names[at].1 = name,
                        Err(at) => names.insert(at, (place, name)),
                    }
                }
                if names.len() >= DENSE {
                    let mut dense = Box::new([0; CHUNK as usize]);
                    for (place, name) in &*names {
                        dense[usize::from(*place)] = *name;
                    }
                    *self = Chunk::Dense(dense, names.len());
                }
            }
        }
    }

    fn remove(&mut self, place: u16) {
        match self {
            Chunk::Dense(names, count) => {
                let there = &mut names[usize::from(place)];
                *count -= usize::from(*there != 0);
                *there = 0;
                if *count < SPARSE {
                    let all = (0..).zip(names.iter().copied());
                    *self = Chunk::Sparse(all.filter(|(_, name)| *name != 0).collect());
                }
            }
            Chunk::Sparse(names) => {
                if let Ok(at) = names.binary_search_by_key(&place, |(place, _)| *place) {
                    names.remove(at);
                    if names.capacity() > 4 * names.len().max(2) {
                        names.shrink_to(2 * names.len());
                    }
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Chunk::Dense(_, count) => *count == 0,
            Chunk::Sparse(names) => names.is_empty(),
        }
    }

    /// Places and names from `from` on.
    fn iter(&self, from: u16) -> impl Iterator<Item = (u16, u32)> + '_ {
        let (dense, sparse) = match self {
            Chunk::Dense(names, _) => (Some(&names[usize::from(from)..]), None),
            Chunk::Sparse(names) => {
                let start = names.partition_point(|(place, _)| *place < from);
                (None, Some(&names[start..]))
            }
        };
        let dense = dense.into_iter().flatten().copied();
        let dense = (from..).zip(dense).filter(|(_, name)| *name != 0);
        dense.chain(sparse.into_iter().flatten().copied())
    }
}

fn split(sequence: u64) -> (u64, u16) {
    (sequence / CHUNK, (sequence % CHUNK) as u16)
}

impl Order {
    pub fn insert(&mut self, sequence: u64, name: NameId) {
        let (chunk, place) = split(sequence);
        // Nearly always it comes behind all others.
        if let Some(mut last) = self.chunks.last_entry()
            && *last.key() == chunk
        {
            return last.get_mut().insert(place, name.get());
        }
        self.chunks
            .entry(chunk)
            .or_insert_with(|| Chunk::Sparse(Vec::new()))
            .insert(place, name.get());
    }

    pub fn remove(&mut self, sequence: u64) {
        let (number, place) = split(sequence);
        if let Some(chunk) = self.chunks.get_mut(&number) {
            chunk.remove(place);
            if chunk.is_empty() {
                self.chunks.remove(&number);
            }
        }
    }

    /// The name whose message has this sequence: none when it was replaced or removed.
    pub fn get(&self, sequence: u64) -> Option<NameId> {
        let (chunk, place) = split(sequence);
        self.chunks.get(&chunk)?.at(place).map(NameId::new)
    }

    /// As [`Order::get`] for many sequences, of which one is mostly near the one before.
    pub fn looker(&self) -> Looker<'_> {
        Looker {
            order: self,
            last: None,
        }
    }

    /// Those with a sequence of at least `from`, ascending.
    pub fn from(&self, from: u64) -> impl Iterator<Item = (u64, NameId)> + '_ {
        let (first, place) = split(from);
        self.chunks.range(first..).flat_map(move |(number, chunk)| {
            let from = if *number == first { place } else { 0 };
            let base = number * CHUNK;
            let names = chunk.iter(from);
            names.map(move |(place, name)| (base + u64::from(place), NameId::new(name)))
        })
    }

    /// Bytes held, more or less.
    pub fn memory(&self) -> usize {
        let one = |chunk: &Chunk| match chunk {
            Chunk::Dense(..) => CHUNK as usize * 4,
            Chunk::Sparse(names) => names.capacity() * size_of::<(u16, u32)>(),
        };
        let entries = self.chunks.len() * 2 * size_of::<(u64, Chunk)>();
        entries + self.chunks.values().map(one).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Few chunks, so that they fill, grow sparse and end.
        #[test]
        fn does_what_a_map_does(
            acts in prop::collection::vec((0u64..3000, 1u32..9, prop::bool::weighted(0.7)), 1..4000),
            from in prop::collection::vec(0u64..3100, 1..10),
            rest in 0u64..3000,
        ) {
            let mut order = Order::default();
            let mut model = BTreeMap::new();
            for (sequence, name, add) in acts {
                if add {
                    order.insert(sequence, NameId::new(name));
                    model.insert(sequence, name);
                } else {
                    order.remove(sequence);
                    model.remove(&sequence);
                }
                prop_assert_eq!(order.get(sequence).map(NameId::get), model.get(&sequence).copied());
            }
            let mut looker = order.looker();
            for sequence in (0..3000).chain(from.iter().copied()) {
                prop_assert_eq!(looker.get(sequence).map(NameId::get), model.get(&sequence).copied());
            }
            let check = |order: &Order, model: &BTreeMap<u64, u32>| {
                for from in &from {
                    let got: Vec<(u64, u32)> = order.from(*from).map(|(s, n)| (s, n.get())).collect();
                    let wanted: Vec<(u64, u32)> = model.range(from..).map(|(s, n)| (*s, *n)).collect();
                    assert_eq!(got, wanted);
                }
            };
            check(&order, &model);
            for sequence in (0..3000).filter(|sequence| sequence % 7 != rest % 7) {
                order.remove(sequence);
                model.remove(&sequence);
            }
            check(&order, &model);
            for sequence in 0..3000 {
                order.remove(sequence);
            }
            prop_assert_eq!(order.chunks.len(), 0);
        }
    }

    #[test]
    fn a_million_take_four_bytes_each() {
        let mut order = Order::default();
        for sequence in 1..=1_000_000 {
            order.insert(sequence, NameId::new(sequence as u32));
        }
        assert!(order.memory() < 4_300_000, "{}", order.memory());
        // All but one in a thousand are gone.
        for sequence in (1..=1_000_000).filter(|sequence| sequence % 1000 != 0) {
            order.remove(sequence);
        }
        assert!(order.memory() < 150_000, "{}", order.memory());
        assert_eq!(order.from(0).count(), 1000);
    }
}
