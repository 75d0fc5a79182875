//! The targets of one filter: most have one, some have a hundred thousand.

use crate::slab::Slab;
use hashbrown::HashMap;

/// One subscriber of one filter. The router looks at `owner` only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Who subscribed; a filter holds each owner once.
    pub owner: u64,
    /// Subscription options, opaque here.
    pub opts: u32,
    /// Subscription identifier, opaque here.
    pub sub_id: u32,
}

/// Lists longer than this know where each owner stands.
const INDEX_ABOVE: usize = 64;

/// Where the targets of a filter are: nowhere, in the table of single targets, or in that of lists.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Handle(u32);

impl Handle {
    const LIST: u32 = 1 << 31;

    fn single(id: u32) -> Handle {
        debug_assert!(id < Self::LIST - 1);
        Handle(id + 1)
    }

    fn list(id: u32) -> Handle {
        debug_assert!(id < Self::LIST - 1);
        Handle((id + 1) | Self::LIST)
    }

    #[inline]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[inline]
    fn place(self) -> Place {
        match self.0 {
            0 => Place::Nowhere,
            n if n & Self::LIST == 0 => Place::Single(n - 1),
            n => Place::List((n & !Self::LIST) - 1),
        }
    }
}

enum Place {
    Nowhere,
    Single(u32),
    List(u32),
}

/// The targets of all filters.
pub(crate) struct Targets {
    singles: Slab<Target>,
    lists: Slab<List>,
}

impl Targets {
    pub fn new() -> Self {
        Self {
            singles: Slab::new(),
            lists: Slab::new(),
        }
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        let lists = self.lists.iter().map(|(_, list)| list.memory());
        self.singles.memory() + self.lists.memory() + lists.sum::<usize>()
    }

    #[inline]
    pub fn get(&self, handle: Handle) -> &[Target] {
        match handle.place() {
            Place::Nowhere => &[],
            Place::Single(id) => std::slice::from_ref(&self.singles[id]),
            Place::List(id) => &self.lists[id].targets,
        }
    }

    /// Adds the target, or replaces and returns that of the same owner.
    pub fn insert(&mut self, handle: &mut Handle, target: Target) -> Option<Target> {
        match handle.place() {
            Place::Nowhere => {
                *handle = Handle::single(self.singles.insert(target));
                None
            }
            Place::Single(id) if self.singles[id].owner == target.owner => {
                Some(std::mem::replace(&mut self.singles[id], target))
            }
            Place::Single(id) => {
                let first = self.singles.remove(id);
                let list = List {
                    targets: vec![first, target],
                    places: None,
                };
                *handle = Handle::list(self.lists.insert(list));
                None
            }
            Place::List(id) => self.lists[id].insert(target),
        }
    }

    /// Removes the owner's target.
    pub fn remove(&mut self, handle: &mut Handle, owner: u64) -> Option<Target> {
        match handle.place() {
            Place::Single(id) if self.singles[id].owner == owner => {
                *handle = Handle::default();
                Some(self.singles.remove(id))
            }
            Place::List(id) => {
                let removed = self.lists[id].remove(owner)?;
                if let [last] = self.lists[id].targets[..] {
                    self.lists.remove(id);
                    *handle = Handle::single(self.singles.insert(last));
                }
                Some(removed)
            }
            _ => None,
        }
    }
}

/// Two targets or more.
#[derive(Default)]
struct List {
    targets: Vec<Target>,
    /// Owner to position, for a long list: without it, the parting of n subscribers would cost n² / 2.
    /// Boxed, for most lists are short and there may be a million of them.
    places: Option<Box<HashMap<u64, u32>>>,
}

impl List {
    /// Bytes held beside the list itself.
    fn memory(&self) -> usize {
        let places = self.places.as_ref();
        self.targets.capacity() * size_of::<Target>()
            + places.map_or(0, |places| places.allocation_size())
    }

    fn position(&self, owner: u64) -> Option<usize> {
        match &self.places {
            Some(places) => places.get(&owner).map(|at| *at as usize),
            None => self.targets.iter().position(|t| t.owner == owner),
        }
    }

    fn insert(&mut self, target: Target) -> Option<Target> {
        if let Some(at) = self.position(target.owner) {
            return Some(std::mem::replace(&mut self.targets[at], target));
        }
        // A list in memory holds fewer than 2^32 targets of 16 bytes.
        let at = self.targets.len() as u32;
        self.targets.push(target);
        if let Some(places) = &mut self.places {
            places.insert(target.owner, at);
        } else if self.targets.len() > INDEX_ABOVE {
            self.places = Some(Box::new(
                (0..)
                    .zip(&self.targets)
                    .map(|(at, t)| (t.owner, at))
                    .collect(),
            ));
        }
        None
    }

    fn remove(&mut self, owner: u64) -> Option<Target> {
        let at = self.position(owner)?;
        let removed = self.targets.swap_remove(at);
        if let Some(places) = &mut self.places {
            places.remove(&owner);
            if let Some(moved) = self.targets.get(at) {
                places.insert(moved.owner, at as u32);
            }
            // Half of the threshold, so that a list at the edge does not build its index again and again.
            if self.targets.len() <= INDEX_ABOVE / 2 {
                self.places = None;
            }
        }
        if self.targets.len() < self.targets.capacity() / 4 {
            self.targets.shrink_to(self.targets.len() * 2);
            if let Some(places) = &mut self.places {
                places.shrink_to(self.targets.len() * 2);
            }
        }
        Some(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(owner: u64) -> Target {
        Target {
            owner,
            opts: owner as u32 % 7,
            sub_id: 0,
        }
    }

    #[test]
    fn a_list_grows_and_shrinks_through_all_forms() {
        let mut targets = Targets::new();
        let mut handle = Handle::default();
        for owner in 0..1_000 {
            assert_eq!(targets.insert(&mut handle, target(owner)), None);
            assert_eq!(targets.get(handle).len() as u64, owner + 1);
        }
        let changed = Target {
            sub_id: 9,
            ..target(500)
        };
        assert_eq!(targets.insert(&mut handle, changed), Some(target(500)));
        assert_eq!(targets.remove(&mut handle, 1_000), None);
        // From the front and the back in turn, so that moved targets are looked up again.
        for n in 0..500 {
            for owner in [n, 999 - n] {
                let expected = if owner == 500 { changed } else { target(owner) };
                assert_eq!(targets.remove(&mut handle, owner), Some(expected));
                assert_eq!(targets.remove(&mut handle, owner), None);
            }
            assert_eq!(targets.get(handle).len() as u64, 998 - 2 * n);
        }
        assert!(handle.is_empty());
    }

    #[test]
    fn a_single_target_is_replaced_in_place() {
        let mut targets = Targets::new();
        let mut handle = Handle::default();
        targets.insert(&mut handle, target(1));
        let changed = Target {
            opts: 99,
            ..target(1)
        };
        assert_eq!(targets.insert(&mut handle, changed), Some(target(1)));
        assert_eq!(targets.get(handle), [changed]);
        assert_eq!(targets.remove(&mut handle, 2), None);
        assert_eq!(targets.remove(&mut handle, 1), Some(changed));
        assert_eq!(targets.get(handle), []);
    }
}
