//! Topic name to value, selected by filter.

use crate::level::{Level, random_seed};
use crate::slab::Slab;
use crate::trie::{Data, ROOT, Trie};

/// Values by topic name; a filter selects them without a look at those that it cannot match.
///
/// Names and filters are taken as they are: whether they are well formed is the caller's business.
pub struct RetainedTree<V> {
    trie: Trie<Place>,
    /// Apart from the nodes, for a name may need several nodes and has one value.
    values: Slab<Option<V>>,
    len: usize,
    /// Grows when nodes leave, which makes the [`Selection`]s that were begun before void.
    pruned: u64,
}

/// A name of a [`RetainedTree`], as long as it has a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NameId(u32);

impl NameId {
    /// As a number, which is never 0.
    pub fn get(self) -> u32 {
        self.0
    }

    /// The name with that number.
    pub fn new(id: u32) -> NameId {
        NameId(id)
    }
}

/// Names that a filter selects, on the way of being found: see [`RetainedTree::advance`].
pub struct Selection {
    filter: Box<str>,
    name: String,
    steps: Vec<Step>,
    pruned: u64,
}

/// How far a [`Selection`] has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advance {
    /// All have been found.
    Done,
    /// There may be more.
    More,
    /// Names have been removed, and it cannot be told where to go on.
    Lost,
}

/// What a node knows beside its level. Its children form a ring, in the order of their arrival.
#[derive(Default)]
struct Place {
    /// The first child, or [`ROOT`] for none.
    first: u32,
    next: u32,
    previous: u32,
    /// One more than the id of the value, or 0 for none.
    value: u32,
}

impl Data for Place {
    type Align = u32;
}

impl<V> Default for RetainedTree<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V> RetainedTree<V> {
    /// An empty tree.
    pub fn new() -> Self {
        Self {
            trie: Trie::new(random_seed()),
            values: Slab::new(),
            len: 0,
            pruned: 0,
        }
    }

    /// Stores the value under the name; returns the one it replaces.
    pub fn insert(&mut self, topic: &str, value: V) -> Option<V> {
        self.put(topic, value).1
    }

    /// As [`RetainedTree::insert`], with the id of the name.
    pub fn put(&mut self, topic: &str, value: V) -> (NameId, Option<V>) {
        let (mut node, mut next) = (ROOT, Some(0));
        while let Some(start) = next {
            let level = self.trie.cut(topic, start);
            node = match self.trie.child(node, &level) {
                Some(child) => child,
                None => {
                    let child = self.trie.add_child(node, &level);
                    self.link(node, child);
                    child
                }
            };
            next = level.next();
        }
        let place = self.trie.data_mut(node);
        if let Some(id) = place.value.checked_sub(1) {
            return (NameId(node), self.values[id].replace(value));
        }
        place.value = self.values.insert(Some(value)) + 1;
        self.len += 1;
        (NameId(node), None)
    }

    /// The name that is exactly this text, if it has a value.
    pub fn id(&self, topic: &str) -> Option<NameId> {
        let node = self.find(topic)?;
        (self.trie.node(node).data.value > 0).then_some(NameId(node))
    }

    /// The value of a name; `None` when it has none any more.
    pub fn at(&self, name: NameId) -> Option<&V> {
        self.value(&self.trie.node(name.0).data)
    }

    /// As [`RetainedTree::at`], to change in place.
    pub fn at_mut(&mut self, name: NameId) -> Option<&mut V> {
        let id = self.trie.node(name.0).data.value.checked_sub(1)?;
        self.values[id].as_mut()
    }

    /// Removes a name and returns its value.
    pub fn remove_at(&mut self, name: NameId) -> Option<V> {
        let node = name.0;
        let id = std::mem::take(&mut self.trie.data_mut(node).value).checked_sub(1)?;
        let old = self.values.remove(id);
        self.len -= 1;
        if self.len == 0 {
            // Gives back what the tables had grown to.
            *self = Self {
                pruned: self.pruned + 1,
                ..Self::new()
            };
        } else {
            self.prune(node);
        }
        old
    }

    /// The value of exactly this name.
    pub fn get(&self, topic: &str) -> Option<&V> {
        self.value(&self.trie.node(self.find(topic)?).data)
    }

    /// The value of exactly this name, to change in place.
    pub fn get_mut(&mut self, topic: &str) -> Option<&mut V> {
        let node = self.find(topic)?;
        let id = self.trie.node(node).data.value.checked_sub(1)?;
        self.values[id].as_mut()
    }

    /// Removes the name and returns its value.
    pub fn remove(&mut self, topic: &str) -> Option<V> {
        let node = self.find(topic)?;
        self.remove_at(NameId(node))
    }

    #[inline]
    fn value(&self, place: &Place) -> Option<&V> {
        self.values[place.value.checked_sub(1)?].as_ref()
    }

    /// The number of names.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes held, without what values hold elsewhere. Walks long levels, nothing else.
    pub fn memory(&self) -> usize {
        self.trie.memory() + self.values.memory()
    }

    /// Calls `f` for every name.
    pub fn for_each(&self, mut f: impl FnMut(&str, &V)) {
        let mut walk = Walk::new(self, &[]);
        walk.descend(ROOT, Select::All);
        walk.run(usize::MAX, &mut |name, _, value| f(name, value));
    }

    /// Calls `f` for every name that the filter selects. Names under one level come in the order in which they
    /// first appeared.
    pub fn matching(&self, filter: &str, mut f: impl FnMut(&str, &V)) {
        let levels = self.levels(filter);
        let mut walk = Walk::new(self, &levels);
        walk.descend(ROOT, Select::Level(0));
        walk.run(usize::MAX, &mut |name, _, value| f(name, value));
    }

    /// Begins to look for the names that the filter selects.
    pub fn select(&self, filter: &str) -> Selection {
        let levels = self.levels(filter);
        let mut walk = Walk::new(self, &levels);
        walk.descend(ROOT, Select::Level(0));
        Selection {
            name: walk.name,
            steps: walk.steps,
            filter: filter.into(),
            pruned: self.pruned,
        }
    }

    /// Goes on with a selection: visits `most` nodes at the most, and calls `f` for the names among them that
    /// the filter selects. The tree may have changed since the last call; names that were added meanwhile are
    /// found or not. Also gives how many nodes it has visited.
    pub fn advance(
        &self,
        selection: &mut Selection,
        most: usize,
        mut f: impl FnMut(NameId, &V),
    ) -> (Advance, usize) {
        if selection.pruned != self.pruned {
            return (Advance::Lost, 0);
        }
        let levels = self.levels(&selection.filter);
        let mut walk = Walk {
            tree: self,
            levels: &levels,
            name: std::mem::take(&mut selection.name),
            steps: std::mem::take(&mut selection.steps),
        };
        let visited = walk.run(most, &mut |_, id, value| f(id, value));
        (selection.name, selection.steps) = (walk.name, walk.steps);
        match selection.steps.is_empty() {
            true => (Advance::Done, visited),
            false => (Advance::More, visited),
        }
    }

    fn levels<'a>(&self, filter: &'a str) -> Vec<Level<'a>> {
        let mut levels = Vec::new();
        let mut next = Some(0);
        while let Some(start) = next {
            let level = self.trie.cut(filter, start);
            next = level.next();
            levels.push(level);
        }
        levels
    }

    fn find(&self, topic: &str) -> Option<u32> {
        let (mut node, mut next) = (ROOT, Some(0));
        while let Some(start) = next {
            let level = self.trie.cut(topic, start);
            node = self.trie.child(node, &level)?;
            next = level.next();
        }
        Some(node)
    }

    /// Puts a new child at the end of its parent's ring.
    fn link(&mut self, parent: u32, child: u32) {
        let first = self.trie.node(parent).data.first;
        if first == ROOT {
            self.trie.data_mut(parent).first = child;
            let place = self.trie.data_mut(child);
            (place.next, place.previous) = (child, child);
        } else {
            let last = std::mem::replace(&mut self.trie.data_mut(first).previous, child);
            self.trie.data_mut(last).next = child;
            let place = self.trie.data_mut(child);
            (place.next, place.previous) = (first, last);
        }
    }

    /// Takes a child out of its parent's ring.
    fn unlink(&mut self, parent: u32, child: u32) {
        let Place { next, previous, .. } = self.trie.node(child).data;
        self.trie.data_mut(previous).next = next;
        self.trie.data_mut(next).previous = previous;
        let first = &mut self.trie.data_mut(parent).first;
        if *first == child {
            *first = if next == child { ROOT } else { next };
        }
    }

    /// Removes the node, and then its ancestors, as long as they lead to nothing.
    fn prune(&mut self, mut id: u32) {
        while id != ROOT {
            let node = self.trie.node(id);
            if node.has_children() || node.data.value > 0 {
                return;
            }
            let parent = node.parent;
            self.unlink(parent, id);
            self.trie.remove(id);
            self.pruned += 1;
            id = parent;
        }
    }
}

/// Which of a node and its descendants are wanted.
#[derive(Clone, Copy)]
enum Select {
    /// Those that match the filter from this level on.
    Level(usize),
    /// All of them.
    All,
}

/// A node still to be visited.
struct Step {
    node: u32,
    select: Select,
    /// Bytes of the name that lead to the node's parent.
    prefix: usize,
    /// Whether the siblings behind this node are to be visited too.
    siblings: bool,
}

/// A walk over part of a tree. It keeps one step for each level at most, however many children a node has.
struct Walk<'a, V> {
    tree: &'a RetainedTree<V>,
    levels: &'a [Level<'a>],
    name: String,
    steps: Vec<Step>,
}

impl<'a, V> Walk<'a, V> {
    fn new(tree: &'a RetainedTree<V>, levels: &'a [Level<'a>]) -> Self {
        Self {
            tree,
            levels,
            name: String::new(),
            steps: Vec::new(),
        }
    }

    /// Visits so many nodes at the most, and says how many there were.
    fn run(&mut self, most: usize, f: &mut impl FnMut(&str, NameId, &V)) -> usize {
        // [MQTT-4.7.2-1]: a wildcard as the first level does not match a name that starts with `$`.
        let skip_dollar = self
            .levels
            .first()
            .is_some_and(|level| level.is_plus() || level.is_hash());
        let trie = &self.tree.trie;
        let mut visited = 0;
        while visited < most
            && let Some(Step {
                node: id,
                select,
                prefix,
                siblings,
            }) = self.steps.pop()
        {
            visited += 1;
            let node = trie.node(id);
            if siblings && node.data.next != trie.node(node.parent).data.first {
                self.steps.push(Step {
                    node: node.data.next,
                    select,
                    prefix,
                    siblings,
                });
            }
            self.name.truncate(prefix);
            if node.parent != ROOT {
                self.name.push('/');
            }
            self.name.push_str(trie.level_text(id));
            if skip_dollar && node.parent == ROOT && self.name.starts_with('$') {
                continue;
            }
            if let Some(value) = self.tree.value(&node.data)
                && self.wants(select)
            {
                f(&self.name, NameId(id), value);
            }
            self.descend(id, select);
        }
        visited
    }

    /// Whether a node is wanted for itself.
    fn wants(&self, select: Select) -> bool {
        match select {
            Select::All => true,
            // `a/#` selects `a` too.
            Select::Level(n) => self.levels.get(n).is_none_or(Level::is_hash),
        }
    }

    /// Puts the children of a node that are wanted among the steps.
    fn descend(&mut self, id: u32, select: Select) {
        let first = self.tree.trie.node(id).data.first;
        if first == ROOT {
            return;
        }
        let (node, select, siblings) = match select {
            Select::All => (first, Select::All, true),
            Select::Level(n) => {
                let Some(level) = self.levels.get(n) else {
                    return;
                };
                if level.is_hash() {
                    (first, Select::All, true)
                } else if level.is_plus() {
                    (first, Select::Level(n + 1), true)
                } else {
                    let Some(child) = self.tree.trie.child(id, level) else {
                        return;
                    };
                    (child, Select::Level(n + 1), false)
                }
            }
        };
        self.steps.push(Step {
            node,
            select,
            prefix: self.name.len(),
            siblings,
        });
    }
}
