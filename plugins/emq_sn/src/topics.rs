//! Topics by number: those that are configured for all clients, and those of one client.

use std::collections::HashMap;
use std::sync::Arc;

/// Largest id of a topic: 0 and 0xFFFF are reserved.
const LAST: u16 = 0xFFFE;
/// Names from which on a client's names are looked up by a table, not one after the other.
const MANY: usize = 16;
/// Bytes of names of one client at the most, the room that each takes included.
const BYTES: usize = 8 * 1024 * 1024;
/// What a name takes besides its bytes: counts, a pointer in the list and one in the table.
const EACH: usize = 80;

/// Topics that are known by their numbers beforehand (`mqtt.sn.predefined.topic.$id`).
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Predefined {
    by_id: HashMap<u16, Arc<str>>,
    by_name: HashMap<Arc<str>, u16>,
    highest: u16,
}

impl Predefined {
    /// From ids and names. Of a name with several ids the lowest is the one it goes by.
    pub fn new(topics: impl IntoIterator<Item = (u16, String)>) -> Predefined {
        let mut predefined = Predefined::default();
        for (id, name) in topics {
            let name: Arc<str> = name.into();
            predefined.highest = predefined.highest.max(id);
            let known = predefined.by_name.entry(Arc::clone(&name)).or_insert(id);
            *known = id.min(*known);
            predefined.by_id.insert(id, name);
        }
        predefined
    }

    /// The name of an id.
    pub fn name(&self, id: u16) -> Option<&Arc<str>> {
        self.by_id.get(&id)
    }

    /// The id of a name.
    pub fn id(&self, name: &str) -> Option<u16> {
        self.by_name.get(name).copied()
    }

    /// The first id that is free for clients to register; `None` = there is none.
    fn first_free(&self) -> Option<u16> {
        self.highest.checked_add(1).filter(|id| *id <= LAST)
    }
}

/// Topics that one client has registered, or that have been registered with it. They are numbered in their order, from
/// the one after the highest predefined id.
#[derive(Debug, Default)]
pub struct Registry {
    names: Vec<Arc<str>>,
    /// only when there are many; in a box, since mostly there are not
    #[allow(clippy::box_collection)]
    ids: Option<Box<HashMap<Arc<str>, u16>>>,
    /// ids that the client has not been told of yet, or has not understood
    untold: Vec<u16>,
    bytes: usize,
}

impl Registry {
    /// The name of an id, predefined ones included: they share the numbers.
    pub fn name<'a>(&'a self, id: u16, predefined: &'a Predefined) -> Option<&'a Arc<str>> {
        let own = predefined
            .first_free()
            .and_then(|first| id.checked_sub(first))
            .and_then(|index| self.names.get(usize::from(index)));
        own.or_else(|| predefined.name(id))
    }

    /// The id of a name that is not predefined.
    fn own_id(&self, name: &str, predefined: &Predefined) -> Option<u16> {
        if let Some(ids) = &self.ids {
            return ids.get(name).copied();
        }
        let index = self.names.iter().position(|known| **known == *name)?;
        predefined
            .first_free()?
            .checked_add(u16::try_from(index).ok()?)
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a name has an id.
    pub fn has(&self, name: &str, predefined: &Predefined) -> bool {
        predefined.id(name).is_some() || self.own_id(name, predefined).is_some()
    }

    /// The id of a name that is not predefined, if the client knows it.
    pub fn told_id(&self, name: &str, predefined: &Predefined) -> Option<u16> {
        let id = self.own_id(name, predefined)?;
        (!self.untold.contains(&id)).then_some(id)
    }

    /// The id of a name, which is given one if it has none. `None` = ids or room are used up. The client knows it from
    /// now on.
    pub fn register(&mut self, name: &str, predefined: &Predefined) -> Option<u16> {
        let id = match predefined.id(name) {
            Some(id) => id,
            None => self.own_id_or_new(name, predefined)?,
        };
        self.told(id);
        Some(id)
    }

    /// As [`Registry::register`], for a name that the client has to be told of: predefined ones are not looked at.
    pub fn register_untold(&mut self, name: &str, predefined: &Predefined) -> Option<u16> {
        let id = self.own_id_or_new(name, predefined)?;
        self.forgotten(id);
        Some(id)
    }

    fn own_id_or_new(&mut self, name: &str, predefined: &Predefined) -> Option<u16> {
        if let Some(id) = self.own_id(name, predefined) {
            return Some(id);
        }
        if !self.has_room(name, predefined) {
            return None;
        }
        let id = predefined
            .first_free()?
            .checked_add(u16::try_from(self.names.len()).ok()?)?;
        let name: Arc<str> = name.into();
        self.bytes += name.len() + EACH;
        self.names.push(Arc::clone(&name));
        match &mut self.ids {
            Some(ids) => drop(ids.insert(name, id)),
            None if self.names.len() > MANY => {
                let first = id - u16::try_from(self.names.len() - 1).ok()?;
                let numbered = self.names.iter().cloned().zip(first..);
                self.ids = Some(Box::new(numbered.collect()));
            }
            None => {}
        }
        Some(id)
    }

    /// Whether a name can be given an id, or has one.
    pub fn has_room(&self, name: &str, predefined: &Predefined) -> bool {
        if self.has(name, predefined) {
            return true;
        }
        let left = predefined.first_free().map_or(0, |first| LAST - first);
        self.names.len() <= usize::from(left)
            && self.names.len() < usize::from(u16::MAX)
            && predefined.first_free().is_some()
            && self.bytes + name.len() + EACH <= BYTES
    }

    /// The client knows that id.
    pub fn told(&mut self, id: u16) {
        self.untold.retain(|untold| *untold != id);
    }

    /// The client does not know that id.
    pub fn forgotten(&mut self, id: u16) {
        if !self.untold.contains(&id) {
            self.untold.push(id);
        }
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        *self = Registry::default();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn predefined() -> Predefined {
        Predefined::new([(1, "/hello".to_string()), (2, "/nice".to_string())])
    }

    #[test]
    fn ids_begin_after_the_predefined_ones() {
        let predefined = predefined();
        let mut registry = Registry::default();
        assert_eq!(registry.register("a/b", &predefined), Some(3));
        assert_eq!(registry.register("a/c", &predefined), Some(4));
        assert_eq!(registry.register("a/b", &predefined), Some(3));
        assert_eq!(registry.register("/nice", &predefined), Some(2));
        assert_eq!(&**registry.name(3, &predefined).unwrap(), "a/b");
        assert_eq!(&**registry.name(1, &predefined).unwrap(), "/hello");
        assert_eq!(registry.name(5, &predefined), None);
        assert_eq!(registry.name(0, &predefined), None);
        registry.clear();
        assert_eq!(registry.name(3, &predefined), None);
    }

    #[test]
    fn all_ids_can_be_used_up() {
        let predefined = Predefined::default();
        let mut registry = Registry::default();
        for n in 1..=LAST {
            assert_eq!(registry.register(&n.to_string(), &predefined), Some(n));
        }
        assert!(!registry.has_room("more", &predefined));
        assert_eq!(registry.register("more", &predefined), None);
        assert_eq!(registry.register("77", &predefined), Some(77));
        assert_eq!(registry.told_id("77", &predefined), Some(77));
        let full = Predefined::new([(0xFFFE, "last".to_string())]);
        let mut registry = Registry::default();
        assert_eq!(registry.register("a", &full), None);
        assert_eq!(registry.register("last", &full), Some(0xFFFE));
        let reserved = Predefined::new([(0xFFFF, "reserved".to_string())]);
        assert_eq!(Registry::default().register("a", &reserved), None);
    }

    #[test]
    fn long_names_are_bounded_in_all() {
        let predefined = predefined();
        let mut registry = Registry::default();
        let name = |n: usize| format!("{n}{}", "x".repeat(60_000));
        let taken = (0..1000).take_while(|n| registry.register(&name(*n), &predefined).is_some());
        let taken = taken.count();
        assert_eq!(taken, BYTES / (60_002 + EACH));
        assert_eq!(registry.register("short", &predefined), Some(3 + 139));
    }

    #[test]
    fn an_id_counts_when_the_client_knows_it() {
        let predefined = predefined();
        let mut registry = Registry::default();
        assert_eq!(registry.register_untold("a/b", &predefined), Some(3));
        assert_eq!(registry.told_id("a/b", &predefined), None);
        registry.told(3);
        assert_eq!(registry.told_id("a/b", &predefined), Some(3));
        registry.forgotten(3);
        registry.forgotten(3);
        assert_eq!(registry.told_id("a/b", &predefined), None);
        assert_eq!(registry.register("a/b", &predefined), Some(3));
        assert_eq!(registry.told_id("a/b", &predefined), Some(3));
    }
}
