//! Endpoints that have been heard of lately, and what is kept for each of them.

use crate::block::{Assemblies, Snapshots};
use crate::codec::Token;
use crate::endpoint::Endpoint;
use crate::message::{EXCHANGE_LIFETIME, Exchanges};
use crate::observe::Queue;
use crate::request::Ticket;
use slab::Slab;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// NON notifications of a peer that a RST may still be about.
const RECENT: usize = 8;
/// Whoever has named so many message IDs that it was not sent may hit one without having received anything.
const GUESSES: u8 = 32;
/// No peer in the list.
const NONE: u32 = u32::MAX;

/// A CON that has not been acknowledged.
#[derive(Debug)]
pub struct Sending {
    /// message ID
    pub id: u16,
    /// all of it
    pub bytes: Vec<u8>,
    /// how often it has been sent again
    pub again: u8,
    /// how long the ACK may take now
    pub timeout: Duration,
    /// when it is sent again
    pub due: Instant,
    /// a notification: its observation and receipt; `None` = a response
    pub notification: Option<(Ticket, u64)>,
}

/// What is kept for one endpoint.
#[derive(Debug)]
pub struct Peer {
    /// who it is
    pub endpoint: Endpoint,
    /// what it has sent
    pub seen: Exchanges,
    /// it has received something that we have sent: nobody else makes it look as if it asked
    pub proven: bool,
    /// ACKs and RSTs for what it was never sent, while it was not proven
    guesses: u8,
    /// bytes that may be sent to it unasked while it is not proven
    pub credit: usize,
    /// requests that the application works on
    pub pending: usize,
    /// the CON under way: NSTART is 1 (section 4.7)
    pub sending: Option<Sending>,
    /// separate responses that wait for it, and whose CON they are
    pub responses: VecDeque<Vec<u8>>,
    /// notifications that wait behind them
    pub queue: Queue,
    /// until then the next notification waits for blocks of the last one to be taken
    pub hold: Option<Instant>,
    /// what it observes
    pub observations: Vec<(Token, Ticket)>,
    /// NON notifications lately
    pub recent: VecDeque<(u16, Ticket)>,
    /// requests that come in blocks
    pub assemblies: Assemblies,
    /// responses that it takes in blocks
    pub snapshots: Snapshots,
    /// somebody looks whether these two are still needed
    pub swept: bool,
    /// when its timer runs out, if there is one
    pub due: Option<Instant>,
    next_id: u16,
    key: u64,
    /// second in which it was last heard of
    last: u32,
    newer: u32,
    older: u32,
    listed: bool,
}

impl Peer {
    /// A message ID that it has not been sent for a long time.
    pub fn take_id(&mut self) -> u16 {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        id
    }

    /// It has named a message ID of ours that it was sent.
    pub fn proves_itself(&mut self) {
        self.proven |= self.guesses < GUESSES;
    }

    /// It has named one that it was not sent, or long ago.
    pub fn has_guessed(&mut self) {
        if !self.proven {
            self.guesses = self.guesses.saturating_add(1);
        }
    }

    /// The observation under a token.
    pub fn observation(&self, token: &Token) -> Option<Ticket> {
        let mut all = self.observations.iter();
        all.find(|(other, _)| other == token)
            .map(|(_, ticket)| *ticket)
    }

    /// A NON notification has gone out.
    pub fn remember(&mut self, id: u16, observation: Ticket) {
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((id, observation));
    }
}

/// All of them. Those that observe nothing are in a list by the time they were last heard of; the oldest of it makes
/// room for others, and goes when it has been silent for long.
#[derive(Debug)]
pub struct Peers {
    found: HashMap<Endpoint, u32>,
    all: Slab<Peer>,
    /// keys are never used again
    made: u32,
    newest: u32,
    oldest: u32,
    /// that was asked for last: the next datagram is often of the same
    latest: u32,
    pinned: usize,
}

impl Peers {
    /// None.
    pub fn new() -> Peers {
        Peers {
            found: HashMap::new(),
            all: Slab::new(),
            made: 0,
            newest: NONE,
            oldest: NONE,
            latest: NONE,
            pinned: 0,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// How many observe something.
    pub fn pinned(&self) -> usize {
        self.pinned
    }

    /// Of that key.
    pub fn get(&mut self, key: u64) -> Option<&mut Peer> {
        self.all.get_mut(index(key)).filter(|peer| peer.key == key)
    }

    /// Of that endpoint.
    pub fn find(&mut self, endpoint: &Endpoint) -> Option<u64> {
        let latest = self.all.get(self.latest as usize);
        if let Some(peer) = latest.filter(|peer| peer.endpoint == *endpoint) {
            return Some(peer.key);
        }
        let at = *self.found.get(endpoint)?;
        self.latest = at;
        Some(self.all[at as usize].key)
    }

    /// It is heard of.
    pub fn touch(&mut self, key: u64, now: u32) {
        let at = index(key) as u32;
        if let Some(peer) = self.get(key) {
            peer.last = now;
            if peer.listed && self.newest != at {
                self.unlist(at);
                self.list(at);
            }
        }
    }

    /// Adds one, heard of now. There is no peer of that endpoint.
    pub fn add(&mut self, endpoint: Endpoint, first_id: u16, now: u32) -> u64 {
        let entry = self.all.vacant_entry();
        // There are fewer than 2^32, see `Machine`.
        let at = entry.key() as u32;
        self.made = self.made.wrapping_add(1);
        let key = u64::from(self.made) << 32 | u64::from(at);
        entry.insert(Peer {
            endpoint,
            seen: Exchanges::default(),
            proven: endpoint.is_secure(),
            guesses: 0,
            credit: 0,
            pending: 0,
            sending: None,
            responses: VecDeque::new(),
            queue: Queue::default(),
            hold: None,
            observations: Vec::new(),
            recent: VecDeque::new(),
            assemblies: Assemblies::default(),
            snapshots: Snapshots::default(),
            swept: false,
            due: None,
            next_id: first_id,
            key,
            last: now,
            newer: NONE,
            older: NONE,
            listed: false,
        });
        self.found.insert(endpoint, at);
        self.list(at);
        self.latest = at;
        key
    }

    /// Takes one out.
    pub fn remove(&mut self, key: u64) -> Option<Peer> {
        self.get(key)?;
        let at = index(key) as u32;
        if self.all[at as usize].listed {
            self.unlist(at);
        } else {
            self.pinned -= 1;
        }
        let peer = self.all.remove(at as usize);
        self.found.remove(&peer.endpoint);
        Some(peer)
    }

    /// It begins or ceases to observe: one that does is not in the list.
    pub fn pin(&mut self, key: u64, pinned: bool) {
        let at = index(key) as u32;
        match self.get(key).map(|peer| peer.listed) {
            Some(true) if pinned => {
                self.unlist(at);
                self.pinned += 1;
            }
            Some(false) if !pinned => {
                self.list(at);
                self.pinned -= 1;
            }
            _ => {}
        }
    }

    /// The one of the list that has been silent longest, and the second in which nothing of it is needed any more.
    pub fn oldest(&self) -> Option<(u64, u32)> {
        let peer = self.all.get(self.oldest as usize)?;
        Some((peer.key, peer.last + EXCHANGE_LIFETIME + 1))
    }

    fn list(&mut self, at: u32) {
        let before = std::mem::replace(&mut self.newest, at);
        let peer = &mut self.all[at as usize];
        (peer.newer, peer.older, peer.listed) = (NONE, before, true);
        match self.all.get_mut(before as usize) {
            Some(before) => before.newer = at,
            None => self.oldest = at,
        }
    }

    fn unlist(&mut self, at: u32) {
        let peer = &mut self.all[at as usize];
        let (newer, older) = (peer.newer, peer.older);
        peer.listed = false;
        match self.all.get_mut(newer as usize) {
            Some(newer) => newer.older = older,
            None => self.newest = older,
        }
        match self.all.get_mut(older as usize) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
    }
}

fn index(key: u64) -> usize {
    // The lower half is an index.
    key as u32 as usize
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn endpoint(port: u16) -> Endpoint {
        Endpoint::Plain(([127, 0, 0, 1], port).into())
    }

    #[test]
    fn the_silent_ones_are_found_in_their_order() {
        let mut peers = Peers::new();
        let keys: Vec<u64> = (0..3)
            .map(|n| peers.add(endpoint(n), 0, u32::from(n)))
            .collect();
        assert_eq!(peers.oldest(), Some((keys[0], 248)));
        peers.touch(keys[0], 9);
        assert_eq!(peers.oldest(), Some((keys[1], 249)));
        // One that observes stays.
        peers.pin(keys[1], true);
        peers.pin(keys[1], true);
        assert_eq!(peers.oldest(), Some((keys[2], 250)));
        assert_eq!(peers.pinned(), 1);
        peers.remove(keys[2]).unwrap();
        assert_eq!(peers.oldest(), Some((keys[0], 257)));
        peers.remove(keys[0]).unwrap();
        assert_eq!(peers.oldest(), None);
        peers.touch(keys[1], 20);
        peers.pin(keys[1], false);
        assert_eq!(peers.oldest(), Some((keys[1], 268)));
        assert_eq!((peers.pinned(), peers.len()), (0, 1));
    }

    #[test]
    fn a_key_is_of_one_peer() {
        let mut peers = Peers::new();
        let first = peers.add(endpoint(1), 0, 0);
        assert_eq!(peers.find(&endpoint(1)), Some(first));
        assert!(peers.remove(first).is_some());
        assert_eq!(peers.find(&endpoint(1)), None);
        let second = peers.add(endpoint(2), 0, 0);
        assert!(peers.get(first).is_none());
        assert!(peers.remove(first).is_none());
        assert_eq!(peers.find(&endpoint(2)), Some(second));
        let secure = Endpoint::Secure(endpoint(2).address());
        assert_eq!(peers.find(&secure), None);
        peers.pin(second, true);
        assert!(peers.remove(second).is_some());
        assert_eq!(peers.pinned(), 0);
    }
}
