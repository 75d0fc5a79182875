//! What the server answered the last time, for when it does not answer (`on_unavailable = cached`).

use crate::{Question, Unavailability};
use emqttd_password::{Mark, Marker};
use emqttd_plugin_sdk::{Access, AclAnswer, AuthAnswer};
use lru::LruCache;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// About whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Who {
    clientid: Arc<str>,
    username: Option<Arc<str>>,
    /// where what is asked depends on it
    peer: Option<IpAddr>,
}

/// Answers by what was asked, the least used going first.
struct Memory<K: Hash + Eq, V>(Mutex<LruCache<K, (Instant, V)>>);

impl<K: Hash + Eq, V: Copy> Memory<K, V> {
    fn put(&self, key: K, value: V) {
        let mut lru = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lru.put(key, (Instant::now(), value));
    }

    fn get(&self, key: &K, max_age: Duration) -> Option<V> {
        let mut lru = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, value) = lru.get(key)?;
        (at.elapsed() <= max_age).then_some(*value)
    }

    fn clear(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

/// Remembers answers of both kinds.
pub(crate) struct Stale {
    max_age: Duration,
    by_address: bool,
    marker: Option<Marker>,
    auth: Memory<Who, (Mark, AuthAnswer)>,
    acl: Memory<(Who, Access, String), AclAnswer>,
}

impl Stale {
    /// `by_address`: answers depend on where the client comes from.
    pub fn new(limits: &Unavailability, by_address: bool) -> Stale {
        Stale {
            max_age: limits.max_age,
            by_address,
            marker: Marker::new(),
            auth: Memory(Mutex::new(LruCache::new(limits.max_size))),
            acl: Memory(Mutex::new(LruCache::new(limits.max_size))),
        }
    }

    fn who(&self, question: &Question<'_>) -> Who {
        Who {
            clientid: Arc::clone(&question.client.clientid),
            username: question.client.username.clone(),
            peer: self.by_address.then(|| question.client.peername.ip()),
        }
    }

    pub fn learn_auth(&self, question: &Question<'_>, password: &[u8], answer: AuthAnswer) {
        if let Some(marker) = &self.marker {
            let mark = marker.mark(password);
            self.auth.put(self.who(question), (mark, answer));
        }
    }

    /// What was answered to the same client with the same password.
    pub fn recall_auth(&self, question: &Question<'_>, password: &[u8]) -> Option<AuthAnswer> {
        let (mark, answer) = self.auth.get(&self.who(question), self.max_age)?;
        (self.marker.as_ref()?.mark(password) == mark).then_some(answer)
    }

    pub fn learn_acl(
        &self,
        question: &Question<'_>,
        access: Access,
        topic: &str,
        answer: AclAnswer,
    ) {
        let key = (self.who(question), access, topic.to_string());
        self.acl.put(key, answer);
    }

    pub fn forget_acl(&self) {
        self.acl.clear();
    }

    pub fn recall_acl(
        &self,
        question: &Question<'_>,
        access: Access,
        topic: &str,
    ) -> Option<AclAnswer> {
        let key = (self.who(question), access, topic.to_string());
        self.acl.get(&key, self.max_age)
    }
}
