//! Things named by packet identifiers, in the order in which they were put in.
//!
//! Identifiers mostly come one after the other and are acknowledged in that order, so an entry is
//! looked for where it would stand if nothing had been skipped, then by halving while the order is
//! ascending (counted from the first, so that 65,535 is followed by 1), and only else by a walk.
//! An entry taken from the middle leaves a hole, which goes away when it reaches the front or when
//! holes outnumber what is left.

use std::collections::VecDeque;

#[derive(Debug)]
struct Slot<T> {
    id: u16,
    value: Option<T>,
}

/// How far `id` lies behind `first` on the ring 1..=65,535.
#[inline]
fn distance(first: u16, id: u16) -> usize {
    usize::from(if id >= first {
        id - first
    } else {
        (u16::MAX - first) + id
    })
}

/// Insertion-ordered map from packet identifier to `T`.
#[derive(Debug)]
pub(crate) struct Ids<T> {
    slots: VecDeque<Slot<T>>,
    live: usize,
    /// distances from the first ascend
    ascending: bool,
}

impl<T> Default for Ids<T> {
    fn default() -> Self {
        Ids {
            slots: VecDeque::new(),
            live: 0,
            ascending: true,
        }
    }
}

impl<T> Ids<T> {
    pub fn len(&self) -> usize {
        self.live
    }

    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// The caller has made sure that `id` is not in use.
    pub fn push(&mut self, id: u16, value: T) {
        self.ascending = match (self.slots.front(), self.slots.back()) {
            (Some(first), Some(last)) => {
                self.ascending && distance(first.id, id) > distance(first.id, last.id)
            }
            _ => true,
        };
        self.slots.push_back(Slot {
            id,
            value: Some(value),
        });
        self.live += 1;
    }

    #[inline]
    fn position(&self, id: u16) -> Option<usize> {
        let first = self.slots.front()?.id;
        let guess = distance(first, id);
        if self
            .slots
            .get(guess)
            .is_some_and(|slot| slot.id == id && slot.value.is_some())
        {
            return Some(guess);
        }
        if self.ascending {
            // A new identifier lies behind the last one: the common case.
            if guess > distance(first, self.slots.back()?.id) {
                return None;
            }
            let at = self
                .slots
                .binary_search_by_key(&guess, |slot| distance(first, slot.id))
                .ok()?;
            return self.slots[at].value.as_ref().map(|_| at);
        }
        self.slots
            .iter()
            .position(|slot| slot.id == id && slot.value.is_some())
    }

    pub fn contains(&self, id: u16) -> bool {
        self.position(id).is_some()
    }

    pub fn get_mut(&mut self, id: u16) -> Option<&mut T> {
        let at = self.position(id)?;
        self.slots[at].value.as_mut()
    }

    pub fn remove(&mut self, id: u16) -> Option<T> {
        let at = self.position(id)?;
        let value = self.slots[at].value.take();
        self.live -= 1;
        while self.slots.front().is_some_and(|slot| slot.value.is_none()) {
            self.slots.pop_front();
        }
        if self.slots.len() > 2 * self.live + 64 {
            self.slots.retain(|slot| slot.value.is_some());
        }
        value
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u16, &mut T)> {
        self.slots
            .iter_mut()
            .filter_map(|slot| Some((slot.id, slot.value.as_mut()?)))
    }

    pub fn iter(&self) -> impl Iterator<Item = (u16, &T)> {
        self.slots
            .iter()
            .filter_map(|slot| Some((slot.id, slot.value.as_ref()?)))
    }

    #[cfg(test)]
    fn front(&self) -> Option<(u16, &T)> {
        self.slots
            .front()
            .and_then(|slot| Some((slot.id, slot.value.as_ref()?)))
    }

    /// Removes everything, in order.
    pub fn drain(&mut self) -> impl Iterator<Item = (u16, T)> + '_ {
        self.live = 0;
        self.slots
            .drain(..)
            .filter_map(|slot| Some((slot.id, slot.value?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn behaves_like_a_list(ops in proptest::collection::vec((any::<bool>(), 1u16..200), 0..400), wrap in any::<bool>()) {
            let mut ids = Ids::default();
            let mut model: Vec<(u16, usize)> = Vec::new();
            for (n, (push, id)) in ops.into_iter().enumerate() {
                let id = if wrap { id.wrapping_add(65400).max(1) } else { id };
                let there = model.iter().position(|(i, _)| *i == id);
                prop_assert_eq!(ids.contains(id), there.is_some());
                match (push, there) {
                    (true, None) => { ids.push(id, n); model.push((id, n)); }
                    (true, Some(at)) => prop_assert_eq!(ids.get_mut(id).copied(), Some(model[at].1)),
                    (false, _) => {
                        let want = there.map(|at| model.remove(at).1);
                        prop_assert_eq!(ids.remove(id), want);
                    }
                }
                prop_assert_eq!(ids.len(), model.len());
                prop_assert_eq!(ids.front().map(|(i, v)| (i, *v)), model.first().copied());
            }
            let all: Vec<_> = ids.iter_mut().map(|(i, v)| (i, *v)).collect();
            prop_assert_eq!(all, model);
        }
    }
}
