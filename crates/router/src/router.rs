//! Filter to targets.

use crate::level::random_seed;
use crate::targets::{Handle, Target, Targets};
use crate::trie::{Data, Node, ROOT, Trie};
use hashbrown::HashTable;

/// All subscriptions, by filter.
///
/// Filters without a wildcard are in a hash table, the others in a trie; a topic name is looked up in both.
/// Filters and names are taken as they are: whether they are well formed is the caller's business.
/// A `+` or `#` that is not a whole level (or a `#` that is not the last one) is ordinary text here.
pub struct Router {
    exact: HashTable<Exact>,
    wild: Trie<Branch>,
    /// Distinct filters in `wild`.
    wild_filters: usize,
    targets: Targets,
    /// bytes of the filters in `exact`
    text: usize,
    /// how often entries of `exact` may have changed their places
    moved: u64,
    seed: u64,
}

/// Where a walk over all filters has come to: see [`Router::walk`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walk {
    /// among those without wildcards: the next place, and how often they had changed their places
    Exact(usize, u64),
    /// among the others: the next node
    Wild(u32),
}

impl Default for Walk {
    fn default() -> Self {
        Walk::Exact(0, 0)
    }
}

/// How far a walk has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walked {
    /// All have been met.
    Done,
    /// There may be more.
    More,
    /// The table has been put in another order: the walk has to begin anew.
    Lost,
}

/// A filter without wildcards.
struct Exact {
    filter: Box<str>,
    targets: Handle,
    hash: u32,
}

/// What a node of the trie knows beside its level.
#[derive(Default)]
struct Branch {
    /// The child by `+`, or [`ROOT`] for none.
    plus: u32,
    /// Targets of the filter that ends here.
    here: Handle,
    /// Targets of the filter that continues with `#`.
    below: Handle,
}

impl Data for Branch {
    type Align = HalfLine;
}

/// With this alignment a node, of 32 bytes, is in one cache line.
#[repr(align(32))]
struct HalfLine;

const _: () = assert!(size_of::<Node<Branch>>() == 32);

impl Default for Router {
    fn default() -> Self {
        Self::new()
    }
}

impl Router {
    /// An empty router.
    pub fn new() -> Self {
        Self::with_seed(random_seed())
    }

    /// An empty router whose hashes are the same in every run, for measurements and simulations. Subscribers
    /// who know the seed can choose filters that collide, so a server does not use this.
    pub fn with_seed(seed: u64) -> Self {
        Self {
            exact: HashTable::new(),
            wild: Trie::new(seed),
            wild_filters: 0,
            targets: Targets::new(),
            text: 0,
            moved: 0,
            seed,
        }
    }

    /// Adds the target to the filter, or replaces the one of the same owner, which is returned.
    pub fn subscribe(&mut self, filter: &str, target: Target) -> Option<Target> {
        if has_wildcard(filter) {
            let (node, below) = self.wild_node_or_add(filter);
            let branch = self.wild.data_mut(node);
            let handle = if below {
                &mut branch.below
            } else {
                &mut branch.here
            };
            if handle.is_empty() {
                self.wild_filters += 1;
            }
            return self.targets.insert(handle, target);
        }
        let hash = self.hash(filter);
        match self.exact.find_mut(spread(hash), |e| e.is(hash, filter)) {
            Some(found) => self.targets.insert(&mut found.targets, target),
            None => {
                let mut entry = Exact {
                    filter: filter.into(),
                    targets: Handle::default(),
                    hash,
                };
                self.targets.insert(&mut entry.targets, target);
                self.text += filter.len();
                // Without room the table grows, or is put in order.
                self.moved += u64::from(self.exact.capacity() == self.exact.len());
                self.exact
                    .insert_unique(spread(hash), entry, |e| spread(e.hash));
                None
            }
        }
    }

    /// Removes the owner's target from the filter and returns it.
    pub fn unsubscribe(&mut self, filter: &str, owner: u64) -> Option<Target> {
        let removed = if has_wildcard(filter) {
            self.unsubscribe_wild(filter, owner)
        } else {
            self.unsubscribe_exact(filter, owner)
        };
        if removed.is_some() && self.is_empty() {
            // Gives back what the tables had grown to.
            *self = Self {
                moved: self.moved + 1,
                ..Self::with_seed(self.seed)
            };
        }
        removed
    }

    fn unsubscribe_exact(&mut self, filter: &str, owner: u64) -> Option<Target> {
        let hash = self.hash(filter);
        let mut entry = self
            .exact
            .find_entry(spread(hash), |e| e.is(hash, filter))
            .ok()?;
        let removed = self.targets.remove(&mut entry.get_mut().targets, owner)?;
        if entry.get().targets.is_empty() {
            self.text -= filter.len();
            entry.remove();
        }
        Some(removed)
    }

    fn unsubscribe_wild(&mut self, filter: &str, owner: u64) -> Option<Target> {
        let (node, below) = self.wild_node(filter)?;
        let branch = self.wild.data_mut(node);
        let handle = if below {
            &mut branch.below
        } else {
            &mut branch.here
        };
        let removed = self.targets.remove(handle, owner)?;
        if handle.is_empty() {
            self.wild_filters -= 1;
            self.prune(node);
        }
        Some(removed)
    }

    /// Calls `f` for every target of every filter that matches the topic name. An owner with several
    /// matching filters is seen once for each.
    #[inline]
    pub fn route(&self, topic: &str, mut f: impl FnMut(&Target)) {
        if !self.exact.is_empty() {
            let hash = self.hash(topic);
            if let Some(found) = self.exact.find(spread(hash), |e| e.is(hash, topic)) {
                self.targets.get(found.targets).iter().for_each(&mut f);
            }
        }
        if self.wild_filters > 0 {
            self.route_wild(topic, &mut f);
        }
    }

    /// Walks the trie level by level with all nodes that match so far. There are never more of them than nodes
    /// in the trie, and nothing recurses, so neither a deep name nor a tangle of `+` does harm.
    fn route_wild(&self, topic: &str, f: &mut impl FnMut(&Target)) {
        // [MQTT-4.7.2-1]: a wildcard as the first level does not match a name that starts with `$`.
        let mut wildcards = !topic.starts_with('$');
        if wildcards {
            self.tell(self.wild.node(ROOT).data.below, f);
        }
        let (mut reached, mut further) = (&mut Reached::default(), &mut Reached::default());
        reached.push(ROOT);
        let mut start = 0;
        loop {
            let level = self.wild.cut(topic, start);
            let next = level.next();
            reached.for_each(|id| {
                let node = self.wild.node(id);
                let plus = if wildcards { node.data.plus } else { ROOT };
                let child = self.wild.child_of(id, node, &level).unwrap_or(ROOT);
                for id in [plus, child] {
                    if id == ROOT {
                        continue;
                    }
                    let node = self.wild.node(id);
                    // `a/#` matches `a` too.
                    self.tell(node.data.below, f);
                    if next.is_none() {
                        self.tell(node.data.here, f);
                    } else if node.has_children() || node.data.plus != ROOT {
                        further.push(id);
                    }
                }
            });
            match next {
                Some(next) if !further.is_empty() => start = next,
                _ => return,
            }
            reached.clear();
            std::mem::swap(&mut reached, &mut further);
            wildcards = true;
        }
    }

    #[inline]
    fn tell(&self, targets: Handle, f: &mut impl FnMut(&Target)) {
        if !targets.is_empty() {
            self.targets.get(targets).iter().for_each(f);
        }
    }

    /// The targets of exactly this filter text.
    pub fn targets(&self, filter: &str) -> &[Target] {
        self.targets.get(self.handle(filter))
    }

    /// Whether somebody subscribed to exactly this filter text.
    pub fn contains(&self, filter: &str) -> bool {
        !self.handle(filter).is_empty()
    }

    fn handle(&self, filter: &str) -> Handle {
        if has_wildcard(filter) {
            let Some((node, below)) = self.wild_node(filter) else {
                return Handle::default();
            };
            let branch = &self.wild.node(node).data;
            return if below { branch.below } else { branch.here };
        }
        let hash = self.hash(filter);
        self.exact
            .find(spread(hash), |e| e.is(hash, filter))
            .map_or(Handle::default(), |e| e.targets)
    }

    /// The number of distinct filters.
    pub fn len(&self) -> usize {
        self.exact.len() + self.wild_filters
    }

    /// Whether there is no filter at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes held. Walks filters with more than one target and long levels, nothing else.
    pub fn memory(&self) -> usize {
        self.exact.allocation_size() + self.text + self.wild.memory() + self.targets.memory()
    }

    /// Calls `f` for every filter with its targets, in no particular order.
    pub fn for_each(&self, mut f: impl FnMut(&str, &[Target])) {
        for entry in &self.exact {
            f(&entry.filter, self.targets.get(entry.targets));
        }
        let mut filter = String::new();
        for (id, node) in self.wild.iter() {
            self.filters_of(id, node, &mut filter, &mut f);
        }
    }

    /// Calls `f` for the filters that end at a node of the trie; `filter` is a place to write them.
    fn filters_of(
        &self,
        id: u32,
        node: &Node<Branch>,
        filter: &mut String,
        f: &mut impl FnMut(&str, &[Target]),
    ) {
        let Branch { here, below, .. } = node.data;
        if here.is_empty() && below.is_empty() {
            return;
        }
        self.wild.path(id, filter);
        if !here.is_empty() {
            f(filter, self.targets.get(here));
        }
        if !below.is_empty() {
            filter.push_str(if id == ROOT { "#" } else { "/#" });
            f(filter, self.targets.get(below));
        }
    }

    /// Goes on with a walk over all filters: looks at `most` places at the most and calls `f` for the filters that
    /// are there, with their targets. Between two calls anything may change: what comes or goes is met or not, all
    /// else once, unless the walk is [`Walked::Lost`].
    pub fn walk(&self, walk: &mut Walk, most: usize, mut f: impl FnMut(&str, &[Target])) -> Walked {
        let Walk::Exact(at, moved) = *walk else {
            return self.walk_wild(walk, most, f);
        };
        if at > 0 && moved != self.moved {
            return Walked::Lost;
        }
        let end = self.exact.num_buckets().min(at.saturating_add(most));
        for at in at..end {
            if let Some(entry) = self.exact.get_bucket(at) {
                f(&entry.filter, self.targets.get(entry.targets));
            }
        }
        *walk = match end < self.exact.num_buckets() {
            true => Walk::Exact(end, self.moved),
            false => Walk::Wild(ROOT),
        };
        Walked::More
    }

    fn walk_wild(
        &self,
        walk: &mut Walk,
        most: usize,
        mut f: impl FnMut(&str, &[Target]),
    ) -> Walked {
        let Walk::Wild(from) = *walk else {
            return Walked::Done;
        };
        let mut filter = String::new();
        for (id, node) in self.wild.some(from, most) {
            self.filters_of(id, node, &mut filter, &mut f);
        }
        let next = from.saturating_add(u32::try_from(most).unwrap_or(u32::MAX));
        *walk = Walk::Wild(next);
        match next == u32::MAX || self.wild.ends_before(next) {
            true => Walked::Done,
            false => Walked::More,
        }
    }

    fn hash(&self, filter: &str) -> u32 {
        let hash = self.wild.cutter().hash_long(filter);
        (hash ^ hash >> 32) as u32
    }

    /// The node where a wildcard filter ends, and whether it ends with `#` there.
    fn wild_node(&self, filter: &str) -> Option<(u32, bool)> {
        let (mut node, mut start) = (ROOT, 0);
        loop {
            let level = self.wild.cut(filter, start);
            if level.is_hash() {
                return Some((node, true));
            }
            node = if level.is_plus() {
                Some(self.wild.node(node).data.plus).filter(|plus| *plus != ROOT)?
            } else {
                self.wild.child(node, &level)?
            };
            match level.next() {
                Some(next) => start = next,
                None => return Some((node, false)),
            }
        }
    }

    /// The same, adding the nodes that are missing.
    fn wild_node_or_add(&mut self, filter: &str) -> (u32, bool) {
        let (mut node, mut start) = (ROOT, 0);
        loop {
            let level = self.wild.cut(filter, start);
            if level.is_hash() {
                return (node, true);
            }
            node = if !level.is_plus() {
                match self.wild.child(node, &level) {
                    Some(child) => child,
                    None => self.wild.add_child(node, &level),
                }
            } else {
                let plus = self.wild.node(node).data.plus;
                if plus != ROOT {
                    plus
                } else {
                    let plus = self.wild.add_plus(node);
                    self.wild.data_mut(node).plus = plus;
                    plus
                }
            };
            match level.next() {
                Some(next) => start = next,
                None => return (node, false),
            }
        }
    }

    /// Removes the node, and then its ancestors, as long as they lead to nothing.
    fn prune(&mut self, mut id: u32) {
        while id != ROOT {
            let node = self.wild.node(id);
            let Branch { plus, here, below } = node.data;
            if node.has_children() || plus != ROOT || !here.is_empty() || !below.is_empty() {
                return;
            }
            let parent = node.parent;
            if self.wild.node(parent).data.plus == id {
                self.wild.data_mut(parent).plus = ROOT;
            }
            self.wild.remove(id);
            id = parent;
        }
    }
}

impl Exact {
    #[inline]
    fn is(&self, hash: u32, filter: &str) -> bool {
        self.hash == hash && *self.filter == *filter
    }
}

/// The hash table takes bits from both ends of 64.
#[inline]
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

fn has_wildcard(filter: &str) -> bool {
    filter.split('/').any(|level| level == "+") || filter == "#" || filter.ends_with("/#")
}

/// Nodes that match the levels seen so far: usually few, so the first ones need no allocation.
#[derive(Default)]
struct Reached {
    first: [u32; 12],
    len: usize,
    more: Vec<u32>,
}

impl Reached {
    #[inline]
    fn push(&mut self, id: u32) {
        match self.first.get_mut(self.len) {
            Some(place) => {
                *place = id;
                self.len += 1;
            }
            None => self.more.push(id),
        }
    }

    fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    fn clear(&mut self) {
        self.len = 0;
        self.more.clear();
    }

    #[inline]
    fn for_each(&self, mut f: impl FnMut(u32)) {
        for id in self.first.iter().take(self.len) {
            f(*id);
        }
        for id in &self.more {
            f(*id);
        }
    }
}
