//! Datagrams that wait, so that one source that sends a lot does not keep others from being heard.
//!
//! Each source (an IP address, or a /64 of IPv6) has one of many queues, chosen by a hash that nobody outside can
//! compute; queues take turns. When all of it is full the heaviest queue loses.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};

/// Queues. Two sources share one now and then.
const QUEUES: usize = 1024;
/// What all datagrams may weigh together, bytes.
const MOST: usize = 4 * 1024 * 1024;
/// What a datagram weighs beside its bytes.
const OVERHEAD: usize = 64;

/// What has come, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// the sender's address
    pub from: SocketAddr,
    /// all of it
    pub bytes: Vec<u8>,
}

impl Datagram {
    fn weight(&self) -> usize {
        self.bytes.len() + OVERHEAD
    }
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Datagram>,
    weight: usize,
}

/// The queues, all together.
pub(crate) struct Fair {
    queues: Box<[Queue]>,
    /// those with something in them, the next one first
    turns: VecDeque<u16>,
    weight: usize,
    hasher: RandomState,
}

impl Fair {
    pub fn new() -> Fair {
        Fair {
            queues: (0..QUEUES).map(|_| Queue::default()).collect(),
            turns: VecDeque::new(),
            weight: 0,
            hasher: RandomState::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    fn queue_of(&self, from: IpAddr) -> u16 {
        let source = match from.to_canonical() {
            IpAddr::V4(ip) => u64::from(ip.to_bits()),
            // Whoever has one address of IPv6 has the 2^64 of its net.
            IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64,
        };
        (self.hasher.hash_one(source) % QUEUES as u64) as u16
    }

    /// Puts it into its queue; the answer is how many datagrams were dropped for want of room, this one or others.
    pub fn push(&mut self, datagram: Datagram) -> u64 {
        let at = self.queue_of(datagram.from.ip());
        let weight = datagram.weight();
        let mut dropped = 0;
        while self.weight + weight > MOST {
            // The heaviest queue is not below the mean.
            let mean = self.weight / self.turns.len().max(1);
            if self.queues[usize::from(at)].weight + weight >= mean || !self.take_from_heaviest() {
                return dropped + 1;
            }
            dropped += 1;
        }
        let queue = &mut self.queues[usize::from(at)];
        if queue.waiting.is_empty() {
            self.turns.push_back(at);
        }
        queue.weight += weight;
        self.weight += weight;
        queue.waiting.push_back(datagram);
        dropped
    }

    /// The next datagram of the source whose turn it is.
    pub fn pop(&mut self) -> Option<Datagram> {
        let at = self.turns.pop_front()?;
        let queue = &mut self.queues[usize::from(at)];
        let datagram = queue.waiting.pop_front()?;
        queue.weight -= datagram.weight();
        self.weight -= datagram.weight();
        if queue.waiting.is_empty() {
            // A source that is quiet holds no memory.
            queue.waiting = VecDeque::new();
        } else {
            self.turns.push_back(at);
        }
        Some(datagram)
    }

    /// Drops the newest datagram of the heaviest queue; `false` when there is none.
    fn take_from_heaviest(&mut self) -> bool {
        let queues = &mut self.queues;
        let heaviest = self.turns.iter().enumerate();
        let heaviest = heaviest.max_by_key(|(_, at)| queues[usize::from(**at)].weight);
        let Some((turn, &at)) = heaviest else {
            return false;
        };
        let queue = &mut queues[usize::from(at)];
        let Some(lost) = queue.waiting.pop_back() else {
            return false;
        };
        queue.weight -= lost.weight();
        self.weight -= lost.weight();
        if queue.waiting.is_empty() {
            self.turns.remove(turn);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn datagram(ip: [u8; 4], number: u32, len: usize) -> Datagram {
        let mut bytes = number.to_be_bytes().to_vec();
        bytes.resize(len.max(4), 0);
        Datagram {
            from: (ip, 7).into(),
            bytes,
        }
    }

    fn number(datagram: &Datagram) -> u32 {
        u32::from_be_bytes(datagram.bytes[..4].try_into().unwrap())
    }

    /// Two addresses that do not share a queue.
    fn strangers(fair: &Fair) -> ([u8; 4], [u8; 4]) {
        let first = [10, 0, 0, 1];
        let other = (2..).map(|n| [10, 0, 0, n]);
        let mut other =
            other.filter(|ip| fair.queue_of((*ip).into()) != fair.queue_of(first.into()));
        (first, other.next().unwrap())
    }

    #[test]
    fn one_source_keeps_its_order() {
        let mut fair = Fair::new();
        for n in 0..5000 {
            assert_eq!(fair.push(datagram([10, 0, 0, 1], n, 20)), 0);
        }
        for n in 0..5000 {
            assert_eq!(number(&fair.pop().unwrap()), n);
        }
        assert!(fair.pop().is_none() && fair.is_empty());
        assert_eq!(fair.weight, 0);
    }

    #[test]
    fn sources_take_turns() {
        let mut fair = Fair::new();
        let (loud, quiet) = strangers(&fair);
        for n in 0..100 {
            fair.push(datagram(loud, n, 20));
        }
        fair.push(datagram(quiet, 1000, 20));
        fair.push(datagram(quiet, 1001, 20));
        let first: Vec<u32> = (0..4).map(|_| number(&fair.pop().unwrap())).collect();
        assert_eq!(first, [0, 1000, 1, 1001]);
    }

    #[test]
    fn the_heaviest_loses() {
        let mut fair = Fair::new();
        let (loud, quiet) = strangers(&fair);
        let mut lost = 0;
        for n in 0..100_000 {
            lost += fair.push(datagram(loud, n, 100));
        }
        assert!(lost > 70_000, "{lost}");
        assert!(fair.weight <= MOST);
        // Whoever has sent little is heard, and soon, whatever the other goes on sending.
        for n in 0..50 {
            assert!(fair.push(datagram(quiet, n, 1000)) <= 7);
            assert!(fair.push(datagram(loud, n, 100)) <= 1);
            assert!(fair.weight <= MOST);
        }
        let first: Vec<Datagram> = (0..100).filter_map(|_| fair.pop()).collect();
        let heard = first.iter().filter(|d| d.from.ip() == IpAddr::from(quiet));
        assert!(heard.map(number).eq(0..50));
    }

    #[test]
    fn a_net_of_ipv6_is_one_source() {
        let fair = Fair::new();
        let of = |text: &str| fair.queue_of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        let nets = (0..100).map(|n| of(&format!("2001:db8:0:{n:x}::1")));
        assert!(nets.collect::<std::collections::HashSet<_>>().len() > 50);
    }
}
