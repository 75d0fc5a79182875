//! The topics of `/ps` and their last values. No clock, no I/O.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a topic costs beside its name and value, bytes.
const OVERHEAD: usize = 256;
/// Topics looked at to find one that may go.
const LOOKED_AT: usize = 64;

/// Who has created a topic or published its value: client identifier and user name.
pub type Owner = Arc<(String, Option<String>)>;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// the application message
    pub payload: Bytes,
    /// until then it is the last value
    pub expires: Instant,
}

/// A topic that was created or published to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Content-Format of all its values; `None` = that of the first one
    pub format: Option<u16>,
    /// seconds that a value lasts
    pub max_age: u32,
    /// the last value, which may have expired
    pub value: Option<Value>,
    /// who made it what it is
    pub owner: Owner,
    /// its value was published with retain
    pub retained: bool,
}

impl Topic {
    /// The value, if it is one still, and the whole seconds that it has left.
    pub fn fresh(&self, now: Instant) -> Option<(&Bytes, u32)> {
        let value = self.value.as_ref().filter(|value| value.expires > now)?;
        let left = value.expires.duration_since(now).as_millis().div_ceil(1000);
        Some((&value.payload, u32::try_from(left).unwrap_or(u32::MAX)))
    }

    /// Changes with the value.
    pub fn etag(&self) -> [u8; 8] {
        let mut hasher = DefaultHasher::new();
        self.format.hash(&mut hasher);
        self.value.as_ref().map(|v| &v.payload).hash(&mut hasher);
        hasher.finish().to_be_bytes()
    }

    fn cost(&self, name: &str) -> usize {
        let value = self.value.as_ref().map_or(0, |value| value.payload.len());
        OVERHEAD + name.len() + value
    }
}

/// There is no room for it, and nothing that may go for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// What was published.
pub struct Publication {
    /// topic name
    pub topic: String,
    /// Content-Format
    pub format: u16,
    /// seconds that it lasts
    pub max_age: u32,
    /// the application message
    pub payload: Bytes,
    /// published with retain
    pub retained: bool,
    /// by whom
    pub owner: Owner,
}

/// All topics.
#[derive(Debug, Default)]
pub struct TopicStore {
    topics: BTreeMap<String, Topic>,
    /// as [`Topic::cost`] says
    bytes: usize,
    max_topics: usize,
    max_bytes: usize,
    /// where the search for a topic that may go has come to
    hand: String,
}

impl TopicStore {
    /// An empty one.
    pub fn new(max_topics: usize, max_bytes: usize) -> TopicStore {
        TopicStore {
            max_topics,
            max_bytes,
            ..TopicStore::default()
        }
    }

    /// Other bounds; what is beyond them stays until it is replaced.
    pub fn set_bounds(&mut self, max_topics: usize, max_bytes: usize) {
        (self.max_topics, self.max_bytes) = (max_topics, max_bytes);
    }

    /// Topics and the bytes that they take.
    pub fn size(&self) -> (usize, usize) {
        (self.topics.len(), self.bytes)
    }

    /// A topic.
    pub fn get(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    /// Topics in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Topic)> {
        self.topics.iter().map(|(name, topic)| (&**name, topic))
    }

    /// Names of the topics below a topic.
    pub fn below<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let prefix = format!("{name}/");
        let from = (Bound::Included(prefix.clone()), Bound::Unbounded);
        self.topics
            .range(from)
            .map(|(name, _)| &**name)
            .take_while(move |name| name.starts_with(&prefix))
    }

    /// Creates a topic without a value; one that is there loses its value.
    ///
    /// # Errors
    /// When there is no room.
    pub fn create(
        &mut self,
        now: Instant,
        name: &str,
        format: Option<u16>,
        max_age: u32,
        owner: &Owner,
    ) -> Result<(), Full> {
        let topic = Topic {
            format,
            max_age,
            value: None,
            owner: Arc::clone(owner),
            retained: false,
        };
        self.put(now, name, topic)
    }

    /// Keeps what was published. `true` = it is a new topic.
    ///
    /// # Errors
    /// When there is no room.
    pub fn publish(&mut self, now: Instant, publication: Publication) -> Result<bool, Full> {
        let topic = Topic {
            format: Some(publication.format),
            max_age: publication.max_age,
            value: Some(Value {
                payload: publication.payload,
                expires: expiry(now, publication.max_age),
            }),
            owner: publication.owner,
            retained: publication.retained,
        };
        let is_new = !self.topics.contains_key(&publication.topic);
        self.put(now, &publication.topic, topic)?;
        Ok(is_new)
    }

    /// A message came by MQTT: the value of a topic that is there, if there is room for it.
    pub fn update(&mut self, now: Instant, name: &str, payload: &Bytes) {
        let Some(topic) = self.topics.get(name) else {
            return;
        };
        let value = Value {
            payload: payload.clone(),
            expires: expiry(now, topic.max_age),
        };
        let topic = Topic {
            value: Some(value),
            ..topic.clone()
        };
        // Without room the old value would be there still, which is not the last one any more.
        if self.put(now, name, topic).is_err() {
            self.forget_value(name);
        }
    }

    /// Removes one topic. `false` = there is none.
    pub fn remove(&mut self, name: &str) -> bool {
        let Some(topic) = self.topics.remove(name) else {
            return false;
        };
        self.bytes -= topic.cost(name);
        true
    }

    fn forget_value(&mut self, name: &str) {
        if let Some(topic) = self.topics.get_mut(name) {
            let before = topic.cost(name);
            topic.value = None;
            self.bytes = self.bytes - before + topic.cost(name);
        }
    }

    fn put(&mut self, now: Instant, name: &str, topic: Topic) -> Result<(), Full> {
        let cost = topic.cost(name);
        loop {
            let old = self.topics.get(name).map(|old| old.cost(name));
            let count = self.topics.len() + usize::from(old.is_none());
            let bytes = self.bytes - old.unwrap_or(0) + cost;
            if count <= self.max_topics && bytes <= self.max_bytes {
                self.bytes = bytes;
                self.topics.insert(name.into(), topic);
                return Ok(());
            }
            // What can never fit costs nobody his place.
            if cost > self.max_bytes || self.max_topics == 0 || !self.drop_a_stale_one(now, name) {
                return Err(Full);
            }
        }
    }

    /// Removes a topic without a value that counts: one that was only created, or whose value has expired.
    fn drop_a_stale_one(&mut self, now: Instant, but: &str) -> bool {
        let behind = (Bound::Excluded(self.hand.as_str()), Bound::Unbounded);
        let stale = self
            .topics
            .range::<str, _>(behind)
            .chain(self.topics.iter())
            .take(LOOKED_AT)
            .map(|(name, topic)| (name, topic.fresh(now).is_none() && name != but));
        let mut last = None;
        let mut found = false;
        for (name, is_stale) in stale {
            last = Some(name.clone());
            found = is_stale;
            if found {
                break;
            }
        }
        self.hand = last.unwrap_or_default();
        found && {
            let name = self.hand.clone();
            self.remove(&name)
        }
    }
}

/// Longest life of a value, seconds: ten years.
const LONGEST: u32 = 10 * 365 * 86_400;

fn expiry(now: Instant, seconds: u32) -> Instant {
    now + Duration::from_secs(u64::from(seconds.min(LONGEST)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn owner() -> Owner {
        Arc::new(("c".into(), None))
    }

    fn publication(topic: &str, payload: &'static [u8]) -> Publication {
        Publication {
            topic: topic.into(),
            format: 42,
            max_age: 60,
            payload: Bytes::from_static(payload),
            retained: false,
            owner: owner(),
        }
    }

    fn store(topics: usize, bytes: usize) -> TopicStore {
        TopicStore::new(topics, bytes)
    }

    #[test]
    fn a_value_lasts_max_age_seconds() {
        let now = Instant::now();
        let mut store = store(10, 10_000);
        assert_eq!(store.publish(now, publication("t", b"1")), Ok(true));
        assert_eq!(store.publish(now, publication("t", b"2")), Ok(false));
        let at = |ms| now + Duration::from_millis(ms);
        let topic = store.get("t").unwrap();
        let two = Bytes::from_static(b"2");
        // 60 ms, where EMQ thought it was over.
        assert_eq!(topic.fresh(at(61)), Some((&two, 60)));
        assert_eq!(topic.fresh(at(1000)), Some((&two, 59)));
        assert_eq!(topic.fresh(at(59_999)), Some((&two, 1)));
        assert_eq!(topic.fresh(at(60_000)), None);
    }

    #[test]
    fn creating_takes_the_value_away() {
        let now = Instant::now();
        let mut store = store(10, 10_000);
        store.publish(now, publication("t", b"1")).unwrap();
        store.create(now, "t", Some(50), 10, &owner()).unwrap();
        let topic = store.get("t").unwrap();
        assert_eq!((topic.format, topic.value.is_none()), (Some(50), true));
        assert_eq!(topic.fresh(now), None);
        assert_eq!(store.size(), (1, OVERHEAD + 1));
    }

    #[test]
    fn below_a_topic_are_its_sub_topics_only() {
        let now = Instant::now();
        let mut store = store(10, 10_000);
        for name in ["a", "a/b", "a/b/c", "a!", "ab", "banana", "b/a"] {
            store.publish(now, publication(name, b"")).unwrap();
        }
        assert_eq!(store.below("a").collect::<Vec<_>>(), ["a/b", "a/b/c"]);
        assert!(store.remove("a"));
        assert!(!store.remove("a"));
        assert_eq!(store.size().0, 6);
    }

    #[test]
    fn messages_of_mqtt_update_what_is_there() {
        let now = Instant::now();
        let mut store = store(10, 2 * OVERHEAD);
        let payload = Bytes::from_static(b"new");
        store.update(now, "t", &payload);
        assert!(store.get("t").is_none());
        store.create(now, "t", Some(42), 5, &owner()).unwrap();
        store.update(now, "t", &payload);
        assert_eq!(store.get("t").unwrap().fresh(now), Some((&payload, 5)));
        // No room: then there is no value, rather than an old one.
        store.update(now, "t", &Bytes::from(vec![0; 1000]));
        assert_eq!(store.get("t").unwrap().value, None);
        assert_eq!(store.size(), (1, OVERHEAD + 1));
    }

    #[test]
    fn etags_follow_the_value() {
        let now = Instant::now();
        let mut store = store(10, 10_000);
        store.publish(now, publication("t", b"1")).unwrap();
        let one = store.get("t").unwrap().etag();
        store.publish(now, publication("t", b"2")).unwrap();
        assert_ne!(store.get("t").unwrap().etag(), one);
        store.publish(now, publication("t", b"1")).unwrap();
        assert_eq!(store.get("t").unwrap().etag(), one);
    }

    #[test]
    fn bounds_hold_and_only_the_stale_give_way() {
        let now = Instant::now();
        let mut store = store(3, 100_000);
        for name in ["a", "b", "c"] {
            store.publish(now, publication(name, b"1")).unwrap();
        }
        assert_eq!(store.publish(now, publication("d", b"1")), Err(Full));
        assert_eq!(store.create(now, "d", None, 60, &owner()), Err(Full));
        // One that is there is always replaced.
        assert_eq!(store.publish(now, publication("b", b"2")), Ok(false));
        let later = now + Duration::from_secs(61);
        assert_eq!(store.publish(later, publication("d", b"1")), Ok(true));
        assert_eq!(store.size().0, 3);
        assert!(store.get("d").is_some());
    }

    #[test]
    fn bytes_are_bounded_and_counted_rightly() {
        let now = Instant::now();
        let mut store = store(100, 2 * OVERHEAD + 20);
        assert_eq!(store.publish(now, publication("a", &[0; 18])), Ok(true));
        assert_eq!(store.publish(now, publication("b", &[0; 18])), Err(Full));
        store.create(now, "b", None, 60, &owner()).unwrap();
        assert_eq!(store.size(), (2, 2 * OVERHEAD + 20));
        // Larger than everything together: nobody has to go for it.
        assert_eq!(store.publish(now, publication("a", &[0; 999])), Err(Full));
        assert_eq!(store.size().0, 2);
        // The one without a value goes for one with a value.
        assert_eq!(store.publish(now, publication("c", b"")), Ok(true));
        assert!(store.get("b").is_none());
        store.remove("a");
        store.remove("c");
        assert_eq!(store.size(), (0, 0));
    }

    #[test]
    fn looking_for_room_goes_on_where_it_was() {
        let now = Instant::now();
        let mut store = store(200, 1_000_000);
        for n in 0..199 {
            store
                .publish(now, publication(&format!("{n:03}"), b"1"))
                .unwrap();
        }
        store.create(now, "150x", None, 60, &owner()).unwrap();
        let tries = (0..10)
            .position(|_| store.publish(now, publication("new", b"1")).is_ok())
            .unwrap();
        assert!(tries > 0, "one look does not go over all of them");
        assert!(store.get("150x").is_none());
    }
}
