//! How many handshakes may begin, and whose: one address does not keep the others out.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Handshakes begun in a second, beyond which clients have to ask again; a quarter of that with an RSA key.
const PER_SECOND: f64 = 400.0;
/// Whoever has begun so many in this second leaves half of what there is to others.
const OWN: u16 = 16;

/// Where a client is: all of an address of IPv4, and of IPv6 what a network has, 64 bits.
pub(super) fn source(from: SocketAddr) -> u128 {
    match from.ip().to_canonical() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits() >> 64 << 64,
    }
}

/// Lets handshakes begin.
pub(super) struct Admission {
    /// that may begin now
    tokens: f64,
    /// when that was
    at: Instant,
    /// those that have begun in this second, of which there are no more than tokens
    begun: HashMap<u128, u16>,
    second: Instant,
}

impl Admission {
    pub fn new(now: Instant) -> Admission {
        Admission {
            tokens: PER_SECOND,
            at: now,
            begun: HashMap::new(),
            second: now,
        }
    }

    /// Whether a handshake may begin now; if so, it has.
    pub fn admit(&mut self, now: Instant, from: SocketAddr) -> bool {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * PER_SECOND;
        self.tokens = (self.tokens + gained).min(PER_SECOND);
        self.at = now;
        if now.saturating_duration_since(self.second) >= Duration::from_secs(1) {
            self.begun.clear();
            self.second = now;
        }
        let source = source(from);
        let own = self.begun.get(&source).copied().unwrap_or(0);
        let left = if own < OWN { 0.0 } else { PER_SECOND / 2.0 };
        if self.tokens < left + 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        self.begun.insert(source, own.saturating_add(1));
        true
    }

    /// The handshake costs more than another.
    pub fn charge(&mut self, more: f64) {
        self.tokens -= more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_often_leaves_half_to_the_others() {
        let (now, addr) = (Instant::now(), |ip: u8| {
            SocketAddr::from(([10, 0, 0, ip], 1))
        });
        let mut admission = Admission::new(now);
        let admitted = |admission: &mut Admission, now, from| {
            let times = (0..1000).filter(|_| admission.admit(now, from));
            times.count()
        };
        assert_eq!(admitted(&mut admission, now, addr(1)), 200);
        assert_eq!(admitted(&mut admission, now, addr(2)), 16);
        admission.charge(183.0);
        assert!(admission.admit(now, addr(3)) && !admission.admit(now, addr(3)));
        // A second later there are as many again.
        let now = now + Duration::from_secs(1);
        assert_eq!(admitted(&mut admission, now, addr(1)), 200);
        assert_eq!(admission.begun.len(), 1);
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let of = |text: &str| text.parse().map(source).ok();
        assert_eq!(of("[2001:db8::1]:1"), of("[2001:db8::ffff:1]:2"));
        assert_ne!(of("[2001:db8::1]:1"), of("[2001:db8:0:1::1]:1"));
        assert_eq!(of("10.0.0.1:1"), of("[::ffff:10.0.0.1]:2"));
        assert_ne!(of("10.0.0.1:1"), of("10.0.0.2:1"));
    }
}
