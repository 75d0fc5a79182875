//! What a session is subscribed to.

use emqttd_mqtt::QoS;
use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};

/// Options of one subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscription {
    /// granted QoS
    pub qos: QoS,
    /// do not send back what this client published [MQTT-3.8.3-3]
    pub no_local: bool,
    /// keep the RETAIN flag as published [MQTT-3.3.1-13]
    pub retain_as_published: bool,
    /// subscription identifier; 0 = none
    pub id: u32,
    /// made by management or a plugin: the ACL was not asked and is not asked again
    pub unchecked: bool,
}

/// Up to this many a list is smaller and as fast as a table; most clients hold one or two.
const FEW: usize = 8;

/// Filters as the client wrote them (mountpoint added) with their options.
#[derive(Debug)]
pub struct Subscriptions(Kind);

#[derive(Debug)]
enum Kind {
    Few(Vec<(Box<str>, Subscription)>),
    /// ordered, so that who looks at many can go on where it was, whatever has changed
    // In a box, so that a list takes no more room than itself.
    #[allow(clippy::box_collection)]
    Many(Box<BTreeMap<Box<str>, Subscription>>),
}

impl Default for Subscriptions {
    fn default() -> Self {
        Subscriptions(Kind::Few(Vec::new()))
    }
}

impl Subscriptions {
    /// How many there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Kind::Few(list) => list.len(),
            Kind::Many(table) => table.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The subscription to exactly this filter.
    pub fn get(&self, filter: &str) -> Option<&Subscription> {
        match &self.0 {
            Kind::Few(list) => list.iter().find(|(f, _)| **f == *filter).map(|(_, s)| s),
            Kind::Many(table) => table.get(filter),
        }
    }

    /// Adds or replaces [MQTT-3.8.4-3]; returns what was there.
    pub fn insert(&mut self, filter: &str, subscription: Subscription) -> Option<Subscription> {
        match &mut self.0 {
            Kind::Few(list) => {
                if let Some((_, old)) = list.iter_mut().find(|(f, _)| **f == *filter) {
                    return Some(std::mem::replace(old, subscription));
                }
                if list.len() < FEW {
                    list.reserve_exact(1);
                    list.push((filter.into(), subscription));
                } else {
                    let mut table: BTreeMap<_, _> = std::mem::take(list).into_iter().collect();
                    table.insert(filter.into(), subscription);
                    self.0 = Kind::Many(Box::new(table));
                }
                None
            }
            Kind::Many(table) => match table.get_mut(filter) {
                Some(old) => Some(std::mem::replace(old, subscription)),
                None => table.insert(filter.into(), subscription),
            },
        }
    }

    /// Removes the subscription to exactly this filter [MQTT-3.10.4-1].
    pub fn remove(&mut self, filter: &str) -> Option<Subscription> {
        match &mut self.0 {
            Kind::Few(list) => {
                let at = list.iter().position(|(f, _)| **f == *filter)?;
                Some(list.remove(at).1)
            }
            Kind::Many(table) => table.remove(filter),
        }
    }

    /// All of them; in the order of subscribing while there are few.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Subscription)> {
        let (few, many) = match &self.0 {
            Kind::Few(list) => (Some(list.iter()), None),
            Kind::Many(table) => (None, Some(table.iter())),
        };
        few.into_iter()
            .flatten()
            .map(|(f, s)| (&**f, s))
            .chain(many.into_iter().flatten().map(|(f, s)| (&**f, s)))
    }

    /// Those from `from` on, ordered by filter.
    pub fn range<'a>(
        &'a self,
        from: Bound<&str>,
    ) -> impl Iterator<Item = (&'a str, &'a Subscription)> + use<'a> {
        let mut few = [None; FEW];
        let many = match &self.0 {
            Kind::Few(list) => {
                let range = (from, Bound::Unbounded);
                let wanted = list.iter().filter(|(f, _)| range.contains(&&**f));
                for (place, (filter, subscription)) in few.iter_mut().zip(wanted) {
                    *place = Some((&**filter, subscription));
                }
                few.sort_unstable_by_key(|place| place.map(|(filter, _)| filter));
                None
            }
            Kind::Many(table) => Some(table.range::<str, _>((from, Bound::Unbounded))),
        };
        let many = many.into_iter().flatten().map(|(f, s)| (&**f, s));
        few.into_iter().flatten().chain(many)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn subscription(id: u32) -> Subscription {
        Subscription {
            qos: QoS::AtLeastOnce,
            no_local: id.is_multiple_of(2),
            retain_as_published: id.is_multiple_of(3),
            id,
            unchecked: false,
        }
    }

    proptest! {
        /// `names` filters: few stay a list, many become a table.
        #[test]
        fn behaves_like_a_map(
            names in prop_oneof![Just(FEW), Just(3 * FEW)],
            ops in proptest::collection::vec((0..3u8, 0..100usize), 0..200),
        ) {
            let mut subscriptions = Subscriptions::default();
            let mut model = BTreeMap::new();
            let mut order: Vec<String> = Vec::new();
            for (id, (op, name)) in (1u32..).zip(ops) {
                let filter = format!("a/{}/#", name % names);
                if op > 0 {
                    let old = model.insert(filter.clone(), subscription(id));
                    prop_assert_eq!(subscriptions.insert(&filter, subscription(id)), old);
                    if old.is_none() {
                        order.push(filter.clone());
                    }
                } else {
                    order.retain(|other| *other != filter);
                    prop_assert_eq!(subscriptions.remove(&filter), model.remove(&filter));
                }
                prop_assert_eq!(subscriptions.get(&filter), model.get(&filter));
                prop_assert_eq!(subscriptions.len(), model.len());
                prop_assert_eq!(subscriptions.is_empty(), model.is_empty());
                let listed: Vec<&str> = subscriptions.iter().map(|(filter, _)| filter).collect();
                if names <= FEW {
                    prop_assert_eq!(&listed, &order, "in the order of subscribing");
                }
                let all: BTreeMap<String, Subscription> =
                    subscriptions.iter().map(|(filter, s)| (filter.to_owned(), *s)).collect();
                let from = filter.as_str();
                for from in [Bound::Unbounded, Bound::Excluded(from), Bound::Included(from)] {
                    let some = subscriptions.range(from).map(|(filter, s)| (filter.to_owned(), *s));
                    let want = model.iter().filter(|(f, _)| (from, Bound::Unbounded).contains(&f.as_str()));
                    let want: Vec<_> = want.map(|(f, s)| (f.clone(), *s)).collect();
                    prop_assert_eq!(some.collect::<Vec<_>>(), want);
                }
                prop_assert_eq!(listed.len(), all.len());
                prop_assert_eq!(&all, &model);
            }
        }
    }
}
