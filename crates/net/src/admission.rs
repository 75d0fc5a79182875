//! Who may come in, how fast, and how much they may send.
//!
//! No clocks inside: `now` is in milliseconds of any clock that does not go back.

use std::net::IpAddr;

use emqttd_config::{AccessNet, AccessRule};

/// Whether the `access.$id` rules, in ascending order of `$id`, let `peer` in: the first that
/// matches decides; when none matches it may.
pub fn allowed(rules: &[AccessRule], peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    rules
        .iter()
        .find(|rule| covers(rule.net, peer))
        .is_none_or(|rule| rule.allow)
}

/// Whether `peer`, not an IPv4 address in IPv6 clothes, lies in the net.
fn covers(net: AccessNet, peer: IpAddr) -> bool {
    let AccessNet::Net(address, prefix) = net else {
        return true;
    };
    let prefix = u32::from(prefix);
    let (address, prefix) = match (address, address.to_canonical()) {
        // `::ffff:10.0.0.0/104` speaks of 10.0.0.0/8.
        (IpAddr::V6(_), v4 @ IpAddr::V4(_)) if prefix >= 96 => (v4, prefix - 96),
        (address, _) => (address, prefix),
    };
    // Shifts out what is behind the prefix; all of it for a prefix of 0.
    match (address, peer) {
        (IpAddr::V4(net), IpAddr::V4(peer)) => {
            let differing = net.to_bits() ^ peer.to_bits();
            differing
                .checked_shr(32u32.saturating_sub(prefix))
                .unwrap_or(0)
                == 0
        }
        (IpAddr::V6(net), IpAddr::V6(peer)) => {
            let differing = net.to_bits() ^ peer.to_bits();
            differing
                .checked_shr(128u32.saturating_sub(prefix))
                .unwrap_or(0)
                == 0
        }
        _ => false,
    }
}

/// A token bucket. Its level is in thousandths of a token, so that `rate` tokens a second are
/// `rate` thousandths a millisecond, without rounding.
#[derive(Debug, Clone)]
struct Bucket {
    capacity: i64,
    rate: i64,
    level: i64,
    filled: u64,
}

impl Bucket {
    /// A full bucket of `burst` tokens.
    fn new(burst: u64, rate: u64, now: u64) -> Bucket {
        let clamp = |value: u64| i64::try_from(value).unwrap_or(i64::MAX).max(1);
        let capacity = clamp(burst).saturating_mul(1000);
        Bucket {
            capacity,
            rate: clamp(rate),
            level: capacity,
            filled: now,
        }
    }

    fn fill(&mut self, now: u64) {
        let elapsed = i64::try_from(now.saturating_sub(self.filled)).unwrap_or(i64::MAX);
        self.filled = self.filled.max(now);
        let gained = elapsed.saturating_mul(self.rate);
        self.level = self.level.saturating_add(gained).min(self.capacity);
    }

    /// Takes tokens, into debt when there are too few; the answer is for how many milliseconds
    /// the debt lasts.
    fn consume(&mut self, tokens: u64, now: u64) -> u64 {
        self.fill(now);
        let cost = i64::try_from(tokens)
            .unwrap_or(i64::MAX)
            .saturating_mul(1000);
        self.level = self.level.saturating_sub(cost);
        let debt = self.level.min(0).unsigned_abs();
        debt.div_ceil(self.rate.unsigned_abs())
    }

    /// Takes one token if there is one.
    fn take_one(&mut self, now: u64) -> bool {
        self.fill(now);
        let there = self.level >= 1000;
        if there {
            self.level -= 1000;
        }
        there
    }
}

/// `max_conn_rate`: connections a listener accepts per second.
#[derive(Debug, Clone)]
pub struct ConnectionRate(Option<Bucket>);

impl ConnectionRate {
    /// `per_second` connections, as many at once when none came before; 0 = no limit.
    pub fn new(per_second: u32, now: u64) -> ConnectionRate {
        let rate = u64::from(per_second);
        ConnectionRate((rate > 0).then(|| Bucket::new(rate, rate, now)))
    }

    /// Whether one more connection may come in now; if so it is counted.
    pub fn admit(&mut self, now: u64) -> bool {
        self.0.as_mut().is_none_or(|bucket| bucket.take_one(now))
    }

    /// The connection that was counted last did not come.
    pub fn take_back(&mut self) {
        if let Some(bucket) = &mut self.0 {
            bucket.level = (bucket.level + 1000).min(bucket.capacity);
        }
    }
}

/// `rate_limit = burst,rate`: bytes a connection may send.
#[derive(Debug, Clone)]
pub struct RateLimit {
    bucket: Bucket,
    held_until: u64,
}

impl RateLimit {
    /// `burst` bytes at once, `rate` bytes per second in the long run.
    pub fn new(burst: u64, rate: u64, now: u64) -> RateLimit {
        RateLimit {
            bucket: Bucket::new(burst, rate, now),
            held_until: 0,
        }
    }

    /// Counts bytes just read; the answer is for how many milliseconds not to read (0 = go on).
    pub fn consume(&mut self, bytes: usize, now: u64) -> u64 {
        let pause = self.bucket.consume(bytes as u64, now);
        self.held_until = now + pause;
        pause
    }

    /// Until when the last answer said not to read.
    pub fn held_until(&self) -> u64 {
        self.held_until
    }
}
