//! Filter to targets.

use hashbrown::HashMap;

/// One subscriber of one filter. The router only looks at `owner`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Who subscribed; a filter holds each owner once.
    pub owner: u64,
    /// Subscription options, opaque here.
    pub opts: u32,
    /// Subscription identifier, opaque here.
    pub sub_id: u32,
}

/// All subscriptions, by filter.
#[derive(Default)]
pub struct Router {
    filters: HashMap<Box<str>, Vec<Target>>,
}

impl Router {
    /// An empty router.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the target to the filter, or replaces the one of the same owner, which is returned.
    pub fn subscribe(&mut self, filter: &str, target: Target) -> Option<Target> {
        let list = self.filters.entry_ref(filter).or_default();
        match list.iter_mut().find(|t| t.owner == target.owner) {
            Some(old) => Some(core::mem::replace(old, target)),
            None => {
                list.push(target);
                None
            }
        }
    }

    /// Removes the owner's target from the filter and returns it.
    pub fn unsubscribe(&mut self, filter: &str, owner: u64) -> Option<Target> {
        let list = self.filters.get_mut(filter)?;
        let at = list.iter().position(|t| t.owner == owner)?;
        let old = list.swap_remove(at);
        if list.is_empty() {
            self.filters.remove(filter);
        }
        Some(old)
    }

    /// Calls `f` for every target of every filter that matches the topic name. An owner with several
    /// matching filters is seen once for each.
    pub fn route(&self, topic: &str, mut f: impl FnMut(&Target)) {
        for (filter, list) in &self.filters {
            if matches(filter, topic) {
                list.iter().for_each(&mut f);
            }
        }
    }

    /// The targets of exactly this filter text.
    pub fn targets(&self, filter: &str) -> &[Target] {
        self.filters.get(filter).map_or(&[], |l| l)
    }

    /// Whether somebody subscribed to exactly this filter text.
    pub fn contains(&self, filter: &str) -> bool {
        self.filters.contains_key(filter)
    }

    /// The number of distinct filters.
    pub fn len(&self) -> usize {
        self.filters.len()
    }

    /// Whether there is no filter at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `f` for every filter, in no particular order.
    pub fn for_each(&self, mut f: impl FnMut(&str, &[Target])) {
        for (filter, list) in &self.filters {
            f(filter, list);
        }
    }
}

/// Whether the filter selects the name, level by level.
pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false; // [MQTT-4.7.2-1]
    }
    let mut names = topic.split('/');
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        if level == "#" && levels.peek().is_none() {
            return true;
        }
        match names.next() {
            Some(name) if level == "+" || level == name => {}
            _ => return false,
        }
    }
    names.next().is_none()
}
