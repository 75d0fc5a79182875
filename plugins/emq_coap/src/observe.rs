//! Observers (RFC 7641), and what waits to be sent to them.

use crate::codec::Token;
use crate::request::{Response, Ticket};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Observations of one endpoint.
pub const PER_PEER: usize = 1024;
/// Notifications that wait for one endpoint.
const WAITING: usize = 256;
/// Bytes of payload that wait for one endpoint, besides one message.
const WAITING_BYTES: usize = 256 * 1024;
/// After so many NON notifications in a row comes a CON: it shows whether anybody listens.
const UNPROVEN: u32 = 32;
/// So does the first after such a time (section 4.5: at least once in 24 hours).
const UNCHECKED: Duration = Duration::from_secs(3600);

/// One who observes.
#[derive(Debug)]
pub struct Observation {
    /// of whom, see [`Peers`](crate::peer::Peers)
    pub peer: u64,
    /// ties notifications to the request
    pub token: Token,
    /// what is asked for, see [`body_key`](crate::block::body_key)
    pub key: u64,
    /// the request was a CON, and so are the notifications
    pub confirmable: bool,
    /// exponent of the largest block that the client wants
    pub szx: u8,
    /// its last notification waits: the application has forgotten it
    pub is_closing: bool,
    /// number of the latest notification
    sequence: u32,
    /// NON notifications since the last acknowledgement
    unproven: u32,
    /// the last acknowledgement, or the beginning
    proven_at: Instant,
}

impl Observation {
    /// Begins; `sequence` goes on from an observation under the same token.
    pub fn new(
        peer: u64,
        token: Token,
        key: u64,
        confirmable: bool,
        szx: u8,
        sequence: u32,
        now: Instant,
    ) -> Observation {
        Observation {
            peer,
            token,
            key,
            confirmable,
            szx,
            is_closing: false,
            sequence,
            unproven: 0,
            proven_at: now,
        }
    }

    /// Value of the Observe option of the latest message.
    pub fn sequence(&self) -> u32 {
        self.sequence
    }

    /// Value of the Observe option for the next: 24 bits that go round (section 3.4).
    pub fn next_sequence(&mut self) -> u32 {
        self.sequence = following(self.sequence);
        self.sequence
    }

    /// Whether the next has to be a CON although the client asked by NON.
    pub fn needs_proof(&self, now: Instant) -> bool {
        self.unproven >= UNPROVEN || now.saturating_duration_since(self.proven_at) >= UNCHECKED
    }

    /// A NON has gone out.
    pub fn sent(&mut self) {
        self.unproven += 1;
    }

    /// The client has acknowledged one.
    pub fn proven(&mut self, now: Instant) {
        self.unproven = 0;
        self.proven_at = now;
    }
}

/// The number after that one.
pub fn following(sequence: u32) -> u32 {
    (sequence + 1) & 0xFF_FFFF
}

/// A notification that waits.
#[derive(Debug)]
pub struct Waiting {
    /// of this observation
    pub observation: Ticket,
    /// see [`Action::Notify`](crate::request::Action::Notify)
    pub receipt: u64,
    /// what it says
    pub response: Response,
}

/// Notifications that wait for one endpoint, in their order.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

impl Queue {
    /// Puts one behind the others. When there is no room the oldest that nobody wants a receipt for is dropped, and counted;
    /// if there is none, the new one comes back. `held` counts the bytes of all peers, which are at most `most`.
    pub fn push(
        &mut self,
        new: Waiting,
        held: &mut usize,
        most: usize,
        dropped: &mut u64,
    ) -> Option<Waiting> {
        let size = new.response.payload.len();
        let full = |queue: &Queue, held: usize| {
            queue.waiting.len() >= WAITING
                || (queue.bytes > 0 && queue.bytes + size > WAITING_BYTES)
                || held + size > most
        };
        while full(self, *held) {
            *dropped += 1;
            let goes = self.waiting.iter().position(|old| old.receipt == 0);
            let Some(old) = goes.and_then(|at| self.waiting.remove(at)) else {
                return Some(new);
            };
            self.forget(&old, held);
        }
        self.bytes += size;
        *held += size;
        self.waiting.push_back(new);
        None
    }

    /// The next.
    pub fn pop(&mut self, held: &mut usize) -> Option<Waiting> {
        let next = self.waiting.pop_front()?;
        self.forget(&next, held);
        Some(next)
    }

    /// Takes those of an observation out, or all.
    pub fn take(&mut self, of: Option<Ticket>, held: &mut usize) -> Vec<Waiting> {
        let mut taken = Vec::new();
        for waiting in std::mem::take(&mut self.waiting) {
            if of.is_none_or(|of| waiting.observation == of) {
                self.forget(&waiting, held);
                taken.push(waiting);
            } else {
                self.waiting.push_back(waiting);
            }
        }
        taken
    }

    fn forget(&mut self, waiting: &Waiting, held: &mut usize) {
        let size = waiting.response.payload.len();
        self.bytes -= size;
        *held -= size;
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn waiting(observation: u64, receipt: u64, size: usize) -> Waiting {
        Waiting {
            observation: Ticket(observation),
            receipt,
            response: Response::content(42, vec![0; size]),
        }
    }

    #[test]
    fn numbers_go_round_after_24_bits() {
        let now = Instant::now();
        let token = Token::default();
        let mut one = Observation::new(0, token, 0, true, 6, 0xFF_FFFE, now);
        assert_eq!(one.next_sequence(), 0xFF_FFFF);
        assert_eq!(one.next_sequence(), 0);
        assert_eq!((one.next_sequence(), one.sequence()), (1, 1));
    }

    #[test]
    fn proof_is_wanted_after_many_and_after_long() {
        let now = Instant::now();
        let mut one = Observation::new(0, Token::default(), 0, false, 6, 0, now);
        for _ in 0..32 {
            assert!(!one.needs_proof(now));
            one.sent();
        }
        assert!(one.needs_proof(now));
        one.proven(now);
        assert!(!one.needs_proof(now + UNCHECKED - Duration::from_secs(1)));
        assert!(one.needs_proof(now + UNCHECKED));
    }

    #[test]
    fn what_nobody_asks_about_is_dropped_first() {
        let (mut queue, mut held, mut dropped) = (Queue::default(), 0, 0);
        let mut push = |queue: &mut Queue, receipt| {
            let back = queue.push(waiting(1, receipt, 10), &mut held, 10_000, &mut dropped);
            (back.map(|back| back.receipt), held, dropped)
        };
        for n in 0..256 {
            assert_eq!(push(&mut queue, n % 2).0, None);
        }
        for n in 1..=128 {
            assert_eq!(push(&mut queue, 7), (None, 2560, n));
        }
        assert_eq!(push(&mut queue, 9), (Some(9), 2560, 129));
        assert_eq!(queue.pop(&mut held).unwrap().receipt, 1);
        assert_eq!(queue.take(None, &mut held).len(), 255);
        assert_eq!((held, queue.is_empty()), (0, true));
    }

    #[test]
    fn bytes_are_bounded_but_one_always_fits() {
        let (mut queue, mut held) = (Queue::default(), 0);
        let large = 2 * WAITING_BYTES;
        let push = |queue: &mut Queue, held: &mut usize, one, most| {
            queue.push(one, held, most, &mut 0).is_none()
        };
        assert!(push(&mut queue, &mut held, waiting(1, 1, large), large));
        assert!(!push(&mut queue, &mut held, waiting(2, 2, 1), large + 9));
        queue.pop(&mut held).unwrap();
        assert!(push(&mut queue, &mut held, waiting(1, 1, 1), 1));
        assert!(!push(&mut queue, &mut held, waiting(1, 1, 1), 1));
        assert_eq!(queue.take(Some(Ticket(2)), &mut held).len(), 0);
        assert_eq!(queue.take(Some(Ticket(1)), &mut held).len(), 1);
        assert_eq!(held, 0);
    }
}
