//! What rows are ordered by, and the least of many.

use std::borrow::Cow;
use std::cmp::Ordering;

/// What orders a row: a number, then a text, then what tells rows apart that are equal in both. No two rows that
/// are there at a time have the same key.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key<'a> {
    pub number: u128,
    pub text: Cow<'a, str>,
    pub id: Cow<'a, str>,
    /// of several things with that id
    pub name: Cow<'a, str>,
}

impl<'a> Key<'a> {
    /// Ordered by the id alone.
    pub fn of(id: &'a str) -> Key<'a> {
        Key {
            id: Cow::Borrowed(id),
            ..Key::default()
        }
    }

    fn into_owned(self) -> Key<'static> {
        let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Key {
            number: self.number,
            text: own(self.text),
            id: own(self.id),
            name: own(self.name),
        }
    }
}

/// The least of many, or the greatest: keys are copied only of those that are among them so far.
#[derive(Debug, Clone)]
pub(crate) struct Best<P> {
    most: usize,
    descending: bool,
    /// nothing up to here is wanted
    after: Option<Key<'static>>,
    /// nothing from here on is among the best
    bar: Option<Key<'static>>,
    list: Vec<(Key<'static>, P)>,
}

impl<P> Best<P> {
    /// `most` is at least 1.
    pub fn new(most: usize, descending: bool, after: Option<Key<'static>>) -> Best<P> {
        Best {
            most,
            descending,
            after,
            bar: None,
            list: Vec::new(),
        }
    }

    /// An empty one that takes what may be among the best beside those that are here.
    pub fn another(&self) -> Best<P> {
        Best {
            most: self.most,
            descending: self.descending,
            after: self.after.clone(),
            bar: self.bar.clone(),
            list: Vec::new(),
        }
    }

    fn order(&self, a: &Key<'_>, b: &Key<'_>) -> Ordering {
        match self.descending {
            false => a.cmp(b),
            true => b.cmp(a),
        }
    }

    /// One that was met.
    pub fn add(&mut self, key: Key<'_>, place: impl FnOnce() -> P) {
        let beyond = self.after.as_ref();
        if beyond.is_some_and(|after| self.order(&key, after) != Ordering::Greater)
            || (self.bar.as_ref()).is_some_and(|bar| self.order(&key, bar) != Ordering::Less)
        {
            return;
        }
        self.list.push((key.into_owned(), place()));
        if self.list.len() >= 2 * self.most.max(64) {
            self.trim();
        }
    }

    /// Takes over what another has found.
    pub fn merge(&mut self, other: Best<P>) {
        for (key, place) in other.list {
            self.add(key, || place);
        }
    }

    /// Keeps the best, in their order; one that was met twice (it was somewhere else the second time) once.
    fn trim(&mut self) {
        let mut list = std::mem::take(&mut self.list);
        list.sort_by(|(a, _), (b, _)| self.order(a, b));
        list.dedup_by(|(a, _), (b, _)| a == b);
        list.truncate(self.most);
        if list.len() == self.most {
            self.bar = list.last().map(|(key, _)| key.clone());
        }
        self.list = list;
    }

    /// The best in their order.
    pub fn take(mut self) -> Vec<(Key<'static>, P)> {
        self.trim();
        self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn key(n: u32) -> Key<'static> {
        Key {
            number: u128::from(n % 7),
            text: format!("{}", n % 3).into(),
            id: format!("{n}").into(),
            name: Cow::Borrowed(""),
        }
    }

    proptest! {
        #[test]
        fn picks_what_sorting_would(
            numbers in proptest::collection::vec(0..400u32, 0..600),
            most in 1..80usize,
            descending: bool,
            after in proptest::option::of(0..400u32),
            parts in 1..5usize,
        ) {
            let after = after.map(key);
            let mut best = Best::new(most, descending, after.clone());
            for part in numbers.chunks(numbers.len() / parts + 1) {
                let mut other = best.another();
                for n in part {
                    other.add(key(*n), || *n);
                }
                best.merge(other);
            }
            let mut want: Vec<Key<'_>> = numbers.iter().map(|n| key(*n)).collect::<BTreeSet<_>>().into_iter().collect();
            if descending {
                want.reverse();
            }
            if let Some(after) = &after {
                want.retain(|key| if descending { key < after } else { key > after });
            }
            want.truncate(most);
            let got = best.take();
            prop_assert!(got.iter().all(|(k, n)| *k == key(*n)));
            prop_assert_eq!(got.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), want);
        }
    }
}
