//! What the tokens of connections grant, for as long as the connections last.

use crate::claims::Acl;
use emqttd_plugin_sdk::Client;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Logins that have been granted and have not had their CONNACK.
const MOST_PENDING: usize = 10_000;
/// A login that has had no CONNACK for so long will have none: its connection was lost meanwhile.
const PENDING: Duration = Duration::from_secs(30);

/// The tokens of all connections that have come in by one.
///
/// A connection is known by its client id and where it comes from. One that displaces another of the same client
/// id has an entry beside it, until the other is gone; even if both are from one address, as behind a gateway.
#[derive(Default)]
pub(crate) struct Memory(Mutex<State>);

#[derive(Default)]
struct State {
    next: u64,
    by_client: HashMap<Arc<str>, Vec<Entry>>,
    /// by number, and so by age
    pending: BTreeMap<u64, (Instant, Arc<str>)>,
    /// those that end, and are connected
    ends: BTreeMap<(Instant, u64), Arc<str>>,
}

struct Entry {
    number: u64,
    username: Option<Arc<str>>,
    peer: SocketAddr,
    connected: bool,
    acl: Option<Arc<Acl>>,
    ends: Option<Instant>,
}

/// What is known of a connection.
pub(crate) enum Found {
    /// It has not come in by a token.
    Nobody,
    /// Its token says nothing about topics.
    NoAcl,
    Acl(Arc<Acl>),
}

impl Memory {
    /// A login is granted; `false` = there is no room for it.
    pub fn granted(&self, client: &Client, acl: Option<Arc<Acl>>, ends: Option<Instant>) -> bool {
        let mut state = self.state();
        let now = Instant::now();
        state.clear(now);
        if state.pending.len() >= MOST_PENDING {
            return false;
        }
        state.next += 1;
        let number = state.next;
        let clientid = Arc::clone(&client.clientid);
        state.pending.insert(number, (now, Arc::clone(&clientid)));
        state.by_client.entry(clientid).or_default().push(Entry {
            number,
            username: client.username.clone(),
            peer: client.peername,
            connected: false,
            acl,
            ends,
        });
        true
    }

    /// It has its CONNACK. `true` = the first one to end is another now.
    pub fn connected(&self, client: &Client, accepted: bool) -> bool {
        let mut guard = self.state();
        let state = &mut *guard;
        let Some(entries) = state.by_client.get_mut(&client.clientid) else {
            return false;
        };
        let pending = |entry: &Entry| !entry.connected && entry.peer == client.peername;
        let Some(index) = entries.iter().rposition(pending) else {
            return false;
        };
        let entry = &mut entries[index];
        state.pending.remove(&entry.number);
        if !accepted {
            let number = entry.number;
            state.remove(&client.clientid, number);
            return false;
        }
        entry.connected = true;
        let Some(ends) = entry.ends else {
            return false;
        };
        let key = (ends, entry.number);
        state.ends.insert(key, Arc::clone(&client.clientid));
        state.ends.first_key_value().is_some_and(|(k, _)| *k == key)
    }

    /// It is gone.
    pub fn disconnected(&self, client: &Client) {
        let mut state = self.state();
        let Some(entries) = state.by_client.get(&client.clientid) else {
            return;
        };
        // Of two from one address the older is the one that was displaced.
        let gone = |entry: &&Entry| entry.connected && entry.peer == client.peername;
        if let Some(number) = entries.iter().find(gone).map(|entry| entry.number) {
            state.remove(&client.clientid, number);
        }
    }

    /// What the token of this connection grants.
    pub fn find(&self, client: &Client) -> Found {
        self.found(client, |entry| entry.peer == client.peername)
    }

    /// The same for who only has the names.
    pub fn find_by_name(&self, client: &Client) -> Found {
        self.found(client, |entry| entry.username == client.username)
    }

    fn found(&self, client: &Client, is_it: impl Fn(&Entry) -> bool) -> Found {
        let state = self.state();
        let entries = state.by_client.get(&client.clientid);
        let all = || entries.into_iter().flatten().rev().filter(|e| is_it(e));
        // One that is about to come in does not count before it is in.
        let entry = all().find(|entry| entry.connected).or_else(|| all().next());
        match entry {
            None => Found::Nobody,
            Some(entry) => entry.acl.clone().map_or(Found::NoAcl, Found::Acl),
        }
    }

    /// When the next one ends.
    pub fn next_end(&self) -> Option<Instant> {
        let state = self.state();
        state.ends.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes out those that have ended, and names the clients whose present connection it is.
    pub fn ended(&self, now: Instant) -> Vec<Arc<str>> {
        let mut state = self.state();
        let mut ended = Vec::new();
        while let Some(first) = state.ends.first_entry() {
            let ((at, number), clientid) = (*first.key(), Arc::clone(first.get()));
            if at > now {
                break;
            }
            first.remove();
            let entries = state.by_client.get(&clientid);
            let last = entries.and_then(|all| all.iter().rfind(|entry| entry.connected));
            if last.is_some_and(|entry| entry.number == number) {
                ended.push(clientid);
            }
        }
        ended
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        let state = self.state();
        let entries: usize = state.by_client.values().map(Vec::len).sum();
        assert!(state.pending.len() <= entries && state.ends.len() <= entries);
        entries
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remove(&mut self, clientid: &Arc<str>, number: u64) {
        let Some(entries) = self.by_client.get_mut(clientid) else {
            return;
        };
        if let Some(index) = entries.iter().position(|entry| entry.number == number) {
            let entry = entries.remove(index);
            if let Some(ends) = entry.ends {
                self.ends.remove(&(ends, number));
            }
        }
        if entries.is_empty() {
            self.by_client.remove(clientid);
        }
    }

    /// Forgets logins that came to nothing.
    fn clear(&mut self, now: Instant) {
        while let Some(first) = self.pending.first_entry() {
            let (since, clientid) = first.get().clone();
            if now.duration_since(since) < PENDING {
                break;
            }
            let (number, _) = first.remove_entry();
            self.remove(&clientid, number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use emqttd_plugin_sdk::testing::client;

    fn from(clientid: &str, port: u16) -> Client {
        let mut client = client(clientid);
        client.peername.set_port(port);
        client
    }

    #[test]
    fn nothing_stays() {
        let memory = Memory::default();
        let now = Instant::now();
        let soon = now + Duration::from_secs(5);
        for port in 1..100 {
            let client = from(["a", "b"][usize::from(port % 2)], port);
            assert!(memory.granted(&client, None, Some(soon)));
            memory.connected(&client, port % 3 > 0);
        }
        assert_eq!(memory.len(), 66);
        for port in 1..100 {
            memory.disconnected(&from(["a", "b"][usize::from(port % 2)], port));
        }
        assert_eq!(memory.len(), 0);
        assert_eq!(memory.next_end(), None);
        assert!(memory.ended(soon).is_empty());
    }

    #[test]
    fn logins_without_an_end_are_bounded() {
        let memory = Memory::default();
        let granted = |n: usize| memory.granted(&from(&n.to_string(), 1), None, None);
        assert!((0..MOST_PENDING).all(granted));
        assert!(!granted(MOST_PENDING));
        // One of them gets its CONNACK.
        assert!(!memory.connected(&from("7", 1), true));
        assert!(granted(MOST_PENDING));
        let later = Instant::now() + PENDING;
        memory.state().clear(later);
        assert_eq!(memory.len(), 1, "who is connected stays");
        assert!(matches!(memory.find(&from("7", 1)), Found::NoAcl));
        assert!(matches!(memory.find(&from("8", 1)), Found::Nobody));
    }

    #[test]
    fn the_next_to_end() {
        let memory = Memory::default();
        let at = |seconds| Instant::now() + Duration::from_secs(seconds);
        let (first, second) = (at(10), at(20));
        for (port, ends, next) in [(1, second, true), (2, first, true), (3, second, false)] {
            let client = from("c", port);
            assert!(memory.granted(&client, None, Some(ends)));
            assert_eq!(memory.connected(&client, true), next);
        }
        assert_eq!(memory.next_end(), Some(first));
        // The third has displaced the others.
        assert!(memory.ended(first).is_empty());
        assert_eq!(memory.ended(second), [Arc::from("c")]);
        assert_eq!(memory.next_end(), None);
    }
}
