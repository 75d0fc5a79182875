//! Topic name to value.

use crate::router::matches;
use hashbrown::HashMap;

/// Values by topic name, selected by filter.
pub struct RetainedTree<V> {
    names: HashMap<Box<str>, V>,
}

impl<V> Default for RetainedTree<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V> RetainedTree<V> {
    /// An empty tree.
    pub fn new() -> Self {
        Self { names: HashMap::new() }
    }

    /// Stores the value under the name; returns the one it replaces.
    pub fn insert(&mut self, topic: &str, value: V) -> Option<V> {
        self.names.insert(topic.into(), value)
    }

    /// The value of exactly this name.
    pub fn get(&self, topic: &str) -> Option<&V> {
        self.names.get(topic)
    }

    /// The value of exactly this name, to change in place.
    pub fn get_mut(&mut self, topic: &str) -> Option<&mut V> {
        self.names.get_mut(topic)
    }

    /// Removes the name and returns its value.
    pub fn remove(&mut self, topic: &str) -> Option<V> {
        self.names.remove(topic)
    }

    /// The number of names.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `f` for every name.
    pub fn for_each(&self, mut f: impl FnMut(&str, &V)) {
        for (name, value) in &self.names {
            f(name, value);
        }
    }

    /// Calls `f` for every name that the filter selects.
    pub fn matching(&self, filter: &str, mut f: impl FnMut(&str, &V)) {
        for (name, value) in &self.names {
            if matches(filter, name) {
                f(name, value);
            }
        }
    }
}
