//! Which of a connection's subscriptions a message is for.
//!
//! The broker knows filters and sends a message once, with the identifiers of the filters that it was for; several
//! subscriptions of STOMP may have the same filter.

use crate::frame::{Encoder, Version};
use emqttd_plugin_sdk::QoS;
use emqttd_plugin_sdk::topic::{SubscriptionFilter, TopicError, matches};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// Subscriptions of a connection at the most.
pub(crate) const MOST: usize = 10_000;
/// Filters that were left at last, whose messages may still be on their way.
const LEFT: usize = 64;
/// Largest subscription identifier of MQTT, all bits set.
const IDENTIFIERS: u32 = 0x0FFF_FFFF;

/// What a client does about messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AckMode {
    Auto,
    /// ACK is for all messages up to this one.
    Client,
    Individual,
}

impl AckMode {
    /// As in the header `ack`.
    pub fn parse(text: &str) -> Option<AckMode> {
        match text {
            "auto" => Some(AckMode::Auto),
            "client" => Some(AckMode::Client),
            "client-individual" => Some(AckMode::Individual),
            _ => None,
        }
    }
}

/// A subscription of the client's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// its id; `None` = the client gave none (1.0)
    pub id: Option<String>,
    /// different for each of a connection
    pub serial: u64,
    pub ack: AckMode,
    /// with what a MESSAGE for it begins
    pub beginning: Vec<u8>,
}

/// A filter that the broker knows.
#[derive(Debug)]
struct Filter {
    /// as in `destination`
    destination: String,
    /// where what messages are matched with begins in it, behind `$share/<group>/` and the like
    pattern: usize,
    qos: QoS,
    /// the newest is the last
    subscriptions: Vec<Arc<Subscription>>,
}

impl Filter {
    fn matches(&self, topic: &str) -> bool {
        matches(&self.destination[self.pattern..], topic)
    }
}

/// What SUBSCRIBE asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub id: Option<String>,
    pub destination: String,
    pub ack: AckMode,
    pub qos: QoS,
}

impl Wanted {
    /// What it is found by: in 1.0 a subscription without id is known by its destination.
    fn key(&self) -> &str {
        self.id.as_deref().unwrap_or(&self.destination)
    }
}

/// Why there is no new subscription.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// it is there already, with all that was said
    Same,
    /// the id stands for another one
    Taken,
    TooMany,
    Filter(TopicError),
}

/// What the broker is to be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub filter: String,
    pub qos: QoS,
    pub identifier: u32,
}

/// Subscriptions of a connection.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    /// by identifier
    filters: BTreeMap<u32, Filter>,
    /// identifiers by destination
    identifiers: HashMap<String, u32>,
    /// with identifiers, by id
    by_key: HashMap<String, (u32, Arc<Subscription>)>,
    left: VecDeque<String>,
    last: u64,
    /// those that are not in mode `auto`
    with_acks: usize,
}

impl Subscriptions {
    /// SUBSCRIBE. It counts from now on; [`Subscriptions::remove`] when the broker refuses.
    pub fn add(&mut self, wanted: &Wanted, version: Version) -> Result<Asked, Refusal> {
        if let Some((identifier, there)) = self.by_key.get(wanted.key()) {
            let same = there.id == wanted.id
                && there.ack == wanted.ack
                && self.filters[identifier].destination == wanted.destination;
            return Err(if same { Refusal::Same } else { Refusal::Taken });
        }
        if self.by_key.len() >= MOST {
            return Err(Refusal::TooMany);
        }
        let parsed =
            SubscriptionFilter::parse(&wanted.destination, true).map_err(Refusal::Filter)?;
        let pattern = wanted.destination.len() - parsed.filter.len();
        let identifier = self.identifier(&wanted.destination);
        let filter = self.filters.entry(identifier).or_insert_with(|| Filter {
            destination: wanted.destination.clone(),
            pattern,
            qos: wanted.qos,
            subscriptions: Vec::new(),
        });
        filter.qos = filter.qos.max(wanted.qos);
        self.last += 1;
        let subscription = Arc::new(Subscription {
            id: wanted.id.clone(),
            serial: self.last,
            ack: wanted.ack,
            beginning: beginning(wanted.id.as_deref(), version),
        });
        filter.subscriptions.push(Arc::clone(&subscription));
        self.with_acks += usize::from(wanted.ack != AckMode::Auto);
        let asked = Asked {
            filter: wanted.destination.clone(),
            qos: filter.qos,
            identifier,
        };
        self.identifiers
            .insert(wanted.destination.clone(), identifier);
        self.by_key
            .insert(wanted.key().into(), (identifier, subscription));
        self.left.retain(|left| *left != wanted.destination);
        Ok(asked)
    }

    /// Takes a subscription away; with it, the filter that nobody needs any more.
    pub fn remove(&mut self, key: &str) -> Option<(Arc<Subscription>, Option<String>)> {
        let (identifier, subscription) = self.by_key.remove(key)?;
        self.with_acks -= usize::from(subscription.ack != AckMode::Auto);
        let filter = self.filters.get_mut(&identifier)?;
        filter
            .subscriptions
            .retain(|other| other.serial != subscription.serial);
        if !filter.subscriptions.is_empty() {
            return Some((subscription, None));
        }
        let filter = self.filters.remove(&identifier)?;
        self.identifiers.remove(&filter.destination);
        self.leave(&filter.destination);
        Some((subscription, Some(filter.destination)))
    }

    /// Whether ACK is waited for by any.
    pub fn wait_for_acks(&self) -> bool {
        self.with_acks > 0
    }

    /// What still comes for that filter is wanted by nobody.
    pub fn leave(&mut self, destination: &str) {
        if self.left.len() == LEFT {
            self.left.pop_front();
        }
        self.left.push_back(destination.into());
    }

    /// Whether a message of that topic is for a filter that was left.
    pub fn is_left(&self, topic: &str) -> bool {
        self.left.iter().any(|left| {
            let parsed = SubscriptionFilter::parse(left, true);
            parsed.is_ok_and(|parsed| matches(parsed.filter, topic))
        })
    }

    /// Calls `f` for each subscription that a message is for; how many there were. A message is for all
    /// subscriptions of the filters that the broker names; when it names none that is there (the session is older
    /// than the connection), for those that match. One that was retained is for the subscription that asked last.
    pub fn each(
        &self,
        identifiers: &[u32],
        topic: &str,
        retained: bool,
        mut f: impl FnMut(&Arc<Subscription>),
    ) -> usize {
        let mut count = 0;
        let mut give = |filter: &Filter| {
            let newest = filter.subscriptions.len().saturating_sub(1);
            let from = if retained { newest } else { 0 };
            for subscription in &filter.subscriptions[from..] {
                f(subscription);
                count += 1;
            }
        };
        let mut named = false;
        for identifier in identifiers {
            if let Some(filter) = self.filters.get(identifier) {
                give(filter);
                named = true;
            }
        }
        if !named {
            for filter in self.filters.values() {
                if filter.matches(topic) {
                    give(filter);
                }
            }
        }
        count
    }

    /// The identifier of a filter: the same on every connection, so that a session that is older names it too, unless
    /// two filters fall together.
    fn identifier(&self, destination: &str) -> u32 {
        if let Some(identifier) = self.identifiers.get(destination) {
            return *identifier;
        }
        // FNV-1a
        let hash = destination.bytes().fold(0x811C_9DC5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        let named = (hash ^ (hash >> 28)) & IDENTIFIERS;
        let free = |identifier: &u32| *identifier != 0 && !self.filters.contains_key(identifier);
        if free(&named) {
            return named;
        }
        // The one before the smallest: filters that were chosen to fall together find a place as fast as others do.
        let smallest = self.filters.keys().next().copied().unwrap_or(IDENTIFIERS);
        let before = smallest.checked_sub(1).filter(free);
        before.or_else(|| (1..=IDENTIFIERS).find(free)).unwrap_or(1)
    }
}

/// With what a MESSAGE for a subscription begins.
fn beginning(id: Option<&str>, version: Version) -> Vec<u8> {
    let mut beginning = Vec::new();
    let frame = Encoder::new(&mut beginning, "MESSAGE", version);
    if let Some(id) = id {
        let _ = frame.header("subscription", id);
    }
    beginning
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn wanted(id: &str, destination: &str) -> Wanted {
        Wanted {
            id: Some(id.into()),
            destination: destination.into(),
            ack: AckMode::Auto,
            qos: QoS::AtMostOnce,
        }
    }

    fn who(all: &Subscriptions, identifiers: &[u32], topic: &str, retained: bool) -> Vec<String> {
        let mut ids = Vec::new();
        all.each(identifiers, topic, retained, |subscription| {
            ids.push(subscription.id.clone().unwrap_or_default());
        });
        ids.sort();
        ids
    }

    #[test]
    fn a_message_is_for_all_subscriptions_of_the_filters_that_are_named() {
        let mut all = Subscriptions::default();
        let one = all
            .add(&wanted("1", "a/+"), Version::V1_2)
            .unwrap()
            .identifier;
        let two = all
            .add(&wanted("2", "a/#"), Version::V1_2)
            .unwrap()
            .identifier;
        assert_eq!(
            all.add(&wanted("3", "a/#"), Version::V1_2)
                .unwrap()
                .identifier,
            two
        );
        assert_ne!(one, two);
        assert_eq!(who(&all, &[one, two], "a/x", false), ["1", "2", "3"]);
        assert_eq!(who(&all, &[two], "a/x", false), ["2", "3"]);
        // A retained message is for the one that has just come.
        assert_eq!(who(&all, &[two], "a/x", true), ["3"]);
        // Not named, or by numbers from before.
        assert_eq!(who(&all, &[], "a/x", false), ["1", "2", "3"]);
        assert_eq!(who(&all, &[7], "a/x/y", false), ["2", "3"]);
        assert_eq!(who(&all, &[7], "b", false), [""; 0]);
    }

    #[test]
    fn an_identifier_is_the_same_for_the_same_filter() {
        let mut one = Subscriptions::default();
        let mut two = Subscriptions::default();
        two.add(&wanted("0", "other"), Version::V1_2).unwrap();
        let first = one.add(&wanted("1", "a/b"), Version::V1_2).unwrap();
        assert_eq!(
            first.identifier,
            two.add(&wanted("1", "a/b"), Version::V1_2)
                .unwrap()
                .identifier
        );
        assert!((1..=IDENTIFIERS).contains(&first.identifier));
    }

    #[test]
    fn an_id_stands_for_one_subscription() {
        let mut all = Subscriptions::default();
        all.add(&wanted("1", "a"), Version::V1_2).unwrap();
        assert_eq!(
            all.add(&wanted("1", "a"), Version::V1_2),
            Err(Refusal::Same)
        );
        assert_eq!(
            all.add(&wanted("1", "b"), Version::V1_2),
            Err(Refusal::Taken)
        );
        let client = Wanted {
            ack: AckMode::Client,
            ..wanted("1", "a")
        };
        assert_eq!(all.add(&client, Version::V1_2), Err(Refusal::Taken));
        // 1.0: found by its destination.
        let without = Wanted {
            id: None,
            ..wanted("", "c")
        };
        all.add(&without, Version::V1_2).unwrap();
        assert_eq!(all.add(&without, Version::V1_2), Err(Refusal::Same));
        assert_eq!(all.remove("c").unwrap().1.as_deref(), Some("c"));
    }

    #[test]
    fn a_filter_is_left_with_its_last_subscription() {
        let mut all = Subscriptions::default();
        all.add(&wanted("1", "a"), Version::V1_2).unwrap();
        let more = Wanted {
            qos: QoS::AtLeastOnce,
            ..wanted("2", "a")
        };
        assert_eq!(all.add(&more, Version::V1_2).unwrap().qos, QoS::AtLeastOnce);
        assert_eq!(
            all.add(&wanted("3", "a"), Version::V1_2).unwrap().qos,
            QoS::AtLeastOnce
        );
        assert_eq!(all.remove("1").unwrap().1, None);
        assert_eq!(all.remove("3").unwrap().1, None);
        assert!(!all.is_left("a"));
        assert_eq!(all.remove("2").unwrap().1.as_deref(), Some("a"));
        assert!(all.is_left("a"));
        assert!(all.remove("2").is_none());
        all.add(&wanted("1", "a"), Version::V1_2).unwrap();
        assert!(!all.is_left("a"));
    }

    #[test]
    fn prefixes_are_not_matched_with() {
        let mut all = Subscriptions::default();
        all.add(&wanted("1", "$share/g/a/+"), Version::V1_2)
            .unwrap();
        all.add(&wanted("2", "$queue/a/b"), Version::V1_2).unwrap();
        all.add(&wanted("3", "$local/#"), Version::V1_2).unwrap();
        assert_eq!(who(&all, &[], "a/b", false), ["1", "2", "3"]);
        assert_eq!(who(&all, &[], "$SYS/x", false), [""; 0]);
        let refused = all.add(&wanted("4", "$share/g"), Version::V1_2);
        assert_eq!(refused, Err(Refusal::Filter(TopicError::ShareName)));
        for wrong in ["", "a+", "#/a"] {
            let refused = all.add(&wanted("4", wrong), Version::V1_2);
            assert!(matches!(refused, Err(Refusal::Filter(_))), "{wrong}");
        }
    }

    #[test]
    fn they_are_bounded() {
        let mut all = Subscriptions::default();
        for number in 0..MOST {
            all.add(&wanted(&number.to_string(), "a"), Version::V1_2)
                .unwrap();
        }
        assert_eq!(
            all.add(&wanted("x", "a"), Version::V1_2),
            Err(Refusal::TooMany)
        );
    }
}
