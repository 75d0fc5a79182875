//! The message layer (RFC 7252, section 4): what has been received before, and what has to be sent again.

use crate::codec::MAX_TOKEN;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::time::Duration;

/// ACK_TIMEOUT: after that and up to half as much again a CON is sent again, then after twice as long each.
pub const ACK_TIMEOUT: Duration = Duration::from_secs(2);
/// MAX_RETRANSMIT
pub const MAX_RETRANSMIT: u8 = 4;
/// EXCHANGE_LIFETIME: how long a message with the same ID is a duplicate, seconds.
pub const EXCHANGE_LIFETIME: u32 = 247;
/// MAX_TRANSMIT_WAIT: whoever waited for an answer has given up.
pub const MAX_TRANSMIT_WAIT: Duration = Duration::from_secs(93);
/// A CON that is not answered by then is acknowledged, and its response is a message of its own. The sender would
/// repeat it after [`ACK_TIMEOUT`].
pub const PATIENCE: Duration = Duration::from_millis(500);

/// Numbers that nobody outside can foretell: who acknowledges a message ID made of them has received that message.
#[derive(Debug)]
pub struct Chance {
    keys: (u64, u64),
    drawn: u64,
}

impl Chance {
    /// Of secret keys.
    pub fn new(keys: (u64, u64)) -> Chance {
        Chance { keys, drawn: 0 }
    }

    fn draw(&mut self) -> u64 {
        self.drawn += 1;
        let mut hasher = SipHasher13::new_with_keys(self.keys.0, self.keys.1);
        hasher.write_u64(self.drawn);
        hasher.finish()
    }

    /// Where the message IDs of a peer begin.
    pub fn message_id(&mut self) -> u16 {
        // The upper bits are cut off.
        self.draw() as u16
    }

    /// How long the first ACK may take: 1 to 1.5 times [`ACK_TIMEOUT`].
    pub fn ack_timeout(&mut self) -> Duration {
        let part = (self.draw() >> 32) as u32;
        let spread = ACK_TIMEOUT.as_micros() as u64 / 2;
        let more = (u64::from(part) * spread) >> 32;
        ACK_TIMEOUT + Duration::from_micros(more)
    }
}

/// Slots that a peer has from its first request on.
const FEW: usize = 4;
/// Slots that a peer may have.
const MANY: usize = 1024;
/// A message is not repeated later than that, seconds (MAX_TRANSMIT_SPAN and what it may be on its way).
const REPEATED: u32 = 60;
/// A reply up to that length is kept in its slot: an ACK with a token and a few options.
const SHORT: usize = 22;

const _: () = assert!(SHORT > 4 + MAX_TOKEN);

/// What all peers together may hold for duplicates.
#[derive(Debug)]
pub struct Budget {
    /// slots beyond the first of each peer
    pub slots: usize,
    /// bytes of replies that are not short
    pub bytes: usize,
}

/// What became of a message of a peer.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen<'a> {
    /// It has not been received before.
    New,
    /// It is worked on, or needs no reply.
    Silent,
    /// It was answered with this.
    Replied(&'a [u8]),
    /// It was answered, with what there was no room to keep.
    Forgotten,
}

/// The messages that a peer has sent lately, found by their IDs.
///
/// A table with a place for each ID modulo its size: of IDs that count up, as nearly all do, it holds the latest. It grows
/// when it would lose one that may be repeated yet.
#[derive(Debug, Default)]
pub struct Exchanges(Vec<Exchange>);

#[derive(Debug, Default)]
struct Exchange {
    /// second in which it came
    at: u32,
    id: u16,
    reply: Reply,
}

#[derive(Debug, Default)]
enum Reply {
    /// The slot is free.
    #[default]
    None,
    Silent,
    Short(u8, [u8; SHORT]),
    Long(Box<[u8]>),
    Forgotten,
}

impl Exchange {
    fn is_used(&self) -> bool {
        !matches!(self.reply, Reply::None)
    }

    fn age(&self, now: u32) -> u32 {
        now.saturating_sub(self.at)
    }

    fn clear(&mut self, budget: &mut Budget) {
        if let Reply::Long(bytes) = &self.reply {
            budget.bytes += bytes.len();
        }
        self.reply = Reply::None;
    }
}

impl Exchanges {
    fn slot(&self, id: u16) -> Option<usize> {
        // The length is a power of two, or 0.
        let mask = self.0.len().checked_sub(1)?;
        Some(usize::from(id) & mask)
    }

    /// Whether a message has been received before; if not, it has been now. `now` in seconds.
    pub fn receive(&mut self, id: u16, now: u32, budget: &mut Budget) -> Seen<'_> {
        if self.0.is_empty() {
            self.0.resize_with(FEW, Exchange::default);
        }
        while let Some(slot) = self.slot(id) {
            let exchange = &mut self.0[slot];
            if exchange.is_used() && exchange.age(now) <= EXCHANGE_LIFETIME {
                if exchange.id == id {
                    break;
                }
                if exchange.age(now) <= REPEATED && self.grow(budget) {
                    continue;
                }
            }
            let exchange = &mut self.0[slot];
            exchange.clear(budget);
            *exchange = Exchange {
                at: now,
                id,
                reply: Reply::Silent,
            };
            return Seen::New;
        }
        let slot = self.slot(id).unwrap_or(0);
        match &self.0[slot].reply {
            Reply::None | Reply::Silent => Seen::Silent,
            Reply::Short(len, bytes) => Seen::Replied(&bytes[..usize::from(*len)]),
            Reply::Long(bytes) => Seen::Replied(bytes),
            Reply::Forgotten => Seen::Forgotten,
        }
    }

    /// Twice the slots, if there may be so many.
    fn grow(&mut self, budget: &mut Budget) -> bool {
        let len = self.0.len();
        if len >= MANY || budget.slots < len {
            return false;
        }
        budget.slots -= len;
        let old = std::mem::take(&mut self.0);
        self.0.resize_with(2 * len, Exchange::default);
        for exchange in old {
            // Those of one slot before have one each now, or share it no more than then.
            let slot = usize::from(exchange.id) & (2 * len - 1);
            if exchange.is_used() {
                self.0[slot] = exchange;
            }
        }
        true
    }

    /// What was replied to a message, for its duplicates.
    pub fn reply(&mut self, id: u16, bytes: &[u8], budget: &mut Budget) {
        let Some(slot) = self.slot(id) else {
            return;
        };
        let exchange = &mut self.0[slot];
        if exchange.id != id || !exchange.is_used() {
            return;
        }
        exchange.clear(budget);
        exchange.reply = if bytes.len() <= SHORT {
            let mut short = [0; SHORT];
            short[..bytes.len()].copy_from_slice(bytes);
            // At most SHORT.
            Reply::Short(bytes.len() as u8, short)
        } else if bytes.len() <= budget.bytes {
            budget.bytes -= bytes.len();
            Reply::Long(bytes.into())
        } else {
            Reply::Forgotten
        };
    }

    /// Gives back what it holds.
    pub fn release(&mut self, budget: &mut Budget) {
        budget.slots += self.0.len().saturating_sub(FEW);
        for exchange in &mut self.0 {
            exchange.clear(budget);
        }
        self.0 = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn budget() -> Budget {
        Budget {
            slots: 2048,
            bytes: 1000,
        }
    }

    #[test]
    fn a_duplicate_gets_the_same_reply() {
        let (mut seen, mut budget) = (Exchanges::default(), budget());
        assert_eq!(seen.receive(7, 0, &mut budget), Seen::New);
        assert_eq!(seen.receive(7, 0, &mut budget), Seen::Silent);
        seen.reply(7, b"short", &mut budget);
        assert_eq!(seen.receive(7, 247, &mut budget), Seen::Replied(b"short"));
        assert_eq!(seen.receive(7, 248, &mut budget), Seen::New);
        seen.reply(7, &[b'x'; 600], &mut budget);
        assert_eq!(
            seen.receive(7, 249, &mut budget),
            Seen::Replied(&[b'x'; 600])
        );
        assert_eq!(budget.bytes, 400);
        seen.reply(7, &[b'x'; 1001], &mut budget);
        assert_eq!(seen.receive(7, 249, &mut budget), Seen::Forgotten);
        assert_eq!(budget.bytes, 1000);
    }

    #[test]
    fn many_at_once_are_all_remembered() {
        let (mut seen, mut budget) = (Exchanges::default(), budget());
        for id in (0..1024).map(|n: u16| n.wrapping_add(65_000)) {
            assert_eq!(seen.receive(id, 1, &mut budget), Seen::New);
            seen.reply(id, &id.to_be_bytes(), &mut budget);
        }
        for id in (0..1024).map(|n: u16| n.wrapping_add(65_000)) {
            assert_eq!(
                seen.receive(id, 2, &mut budget),
                Seen::Replied(&id.to_be_bytes())
            );
        }
        assert_eq!(seen.0.len(), 1024);
        assert_eq!(budget.slots, 2048 - 1020);
        seen.release(&mut budget);
        assert_eq!((budget.slots, budget.bytes), (2048, 1000));
    }

    #[test]
    fn what_is_not_repeated_any_more_needs_no_room() {
        let (mut seen, mut budget) = (Exchanges::default(), budget());
        for n in 0..100u16 {
            assert_eq!(
                seen.receive(n, u32::from(n) * 20, &mut budget),
                Seen::New,
                "{n}"
            );
        }
        assert_eq!(seen.0.len(), 4);
    }

    #[test]
    fn without_a_budget_the_latest_are_remembered() {
        let mut seen = Exchanges::default();
        let mut budget = Budget { slots: 0, bytes: 0 };
        for n in 0..100 {
            assert_eq!(seen.receive(n, 0, &mut budget), Seen::New);
        }
        assert_eq!(seen.0.len(), 4);
        for n in 96..100 {
            assert_eq!(seen.receive(n, 0, &mut budget), Seen::Silent);
        }
    }

    #[test]
    fn times_are_within_their_bounds_and_differ() {
        let mut chance = Chance::new((1, 2));
        let times: Vec<Duration> = (0..100).map(|_| chance.ack_timeout()).collect();
        let bounds = ACK_TIMEOUT..=ACK_TIMEOUT.mul_f32(1.5);
        assert!(times.iter().all(|time| bounds.contains(time)));
        assert!(times.iter().max() > times.iter().min());
        assert_ne!(chance.message_id(), chance.message_id());
    }
}
