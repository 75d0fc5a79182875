//! Sources of datagrams, what each of them holds, and whose turn it is: so that one does not keep others out.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

/// Where peers are that may be one and the same: an address of IPv4, or the 2^64 addresses that a network of IPv6 has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source(u64);

impl Source {
    /// Of a peer.
    pub fn of(peer: SocketAddr) -> Source {
        Source(match peer.ip().to_canonical() {
            // No network that IPv6 has given out begins with 0.
            IpAddr::V4(ip) => ip.to_bits().into(),
            IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64,
        })
    }
}

/// How many of some places each source holds.
#[derive(Debug, Default)]
pub struct Shares(HashMap<Source, usize>);

impl Shares {
    /// It holds one more.
    pub fn take(&mut self, source: Source) {
        *self.0.entry(source).or_default() += 1;
    }

    /// It holds one less.
    pub fn give_back(&mut self, source: Source) {
        if let Some(held) = self.0.get_mut(&source) {
            *held -= 1;
            if *held == 0 {
                self.0.remove(&source);
            }
        }
    }

    /// How many it holds.
    pub fn held(&self, source: Source) -> usize {
        self.0.get(&source).copied().unwrap_or(0)
    }

    /// Whether a source gives a place to another when all of `most` are taken: only one that has more than half of them.
    /// Who comes may have forged where it is and has shown nothing yet, so that it costs nobody else a place.
    pub fn gives_way(&self, source: Source, to: Source, most: usize) -> bool {
        source != to && self.held(source) > most / 2
    }
}

/// What waits, the sources in turn, and what each has left in its order.
#[derive(Debug)]
pub struct Turns<T> {
    waiting: HashMap<Source, VecDeque<T>>,
    /// those with something that waits, the next one first
    turns: VecDeque<Source>,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Turns {
            waiting: HashMap::new(),
            turns: VecDeque::new(),
        }
    }
}

impl<T> Turns<T> {
    /// Puts it behind what its source has left.
    pub fn push(&mut self, source: Source, what: T) {
        let queue = self.waiting.entry(source).or_default();
        if queue.is_empty() {
            self.turns.push_back(source);
        }
        queue.push_back(what);
    }

    /// The next, of the source whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
        let source = self.turns.pop_front()?;
        let queue = self.waiting.get_mut(&source)?;
        let next = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(&source);
        } else {
            self.turns.push_back(source);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn source(peer: &str) -> Source {
        Source::of(peer.parse().unwrap())
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        assert_eq!(source("[2001:db8::1]:1"), source("[2001:db8::ffff:1]:2"));
        assert_ne!(source("[2001:db8::1]:1"), source("[2001:db8:0:1::1]:1"));
        assert_eq!(source("10.0.0.1:1"), source("[::ffff:10.0.0.1]:2"));
        assert_ne!(source("10.0.0.1:1"), source("10.0.0.2:1"));
    }

    #[test]
    fn who_holds_more_than_half_gives_way() {
        let (many, few) = (source("10.0.0.1:1"), source("10.0.0.2:1"));
        let mut shares = Shares::default();
        for _ in 0..4 {
            shares.take(many);
        }
        assert!(shares.gives_way(many, few, 7) && !shares.gives_way(many, many, 7));
        shares.take(few);
        assert!(!shares.gives_way(many, few, 8) && !shares.gives_way(few, many, 8));
        shares.give_back(many);
        assert!(!shares.gives_way(many, few, 7));
        shares.give_back(few);
        shares.give_back(few);
        assert_eq!((shares.held(many), shares.held(few)), (3, 0));
        assert_eq!(shares.0.len(), 1);
    }

    #[test]
    fn sources_take_turns() {
        let mut turns = Turns::default();
        for n in 0..3 {
            turns.push(source("10.0.0.1:1"), n);
        }
        turns.push(source("10.0.0.2:1"), 10);
        let order: Vec<i32> = std::iter::from_fn(|| turns.pop()).collect();
        assert_eq!(order, [0, 10, 1, 2]);
        assert!(turns.waiting.is_empty() && turns.turns.is_empty());
    }
}
