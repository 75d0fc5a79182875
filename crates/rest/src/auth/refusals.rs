//! Which refused tokens and keys go into the audit log: one of an address in a minute, so that nobody fills it.

use super::failures::{WINDOW, network};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

/// Addresses that are noted in a minute: of more, nothing is to be learned.
const MOST: usize = 64;

/// When an address was last noted (a /64 of IPv6).
#[derive(Debug, Default)]
pub struct Refusals(Mutex<HashMap<IpAddr, Instant>>);

impl Refusals {
    /// Whether a refusal is to be noted.
    pub fn notes(&self, from: IpAddr, now: Instant) -> bool {
        let from = network(from);
        let mut noted = self.0.lock();
        noted.retain(|_, at| now < *at + WINDOW);
        if noted.len() >= MOST || noted.contains_key(&from) {
            return false;
        }
        noted.insert(from, now);
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn once_a_minute_for_each_of_some_addresses() {
        let refusals = Refusals::default();
        let start = Instant::now();
        let note = |from: &str, at| refusals.notes(from.parse().unwrap(), at);
        assert!(note("192.0.2.1", start));
        assert!(!note("192.0.2.1", start));
        assert!(!note("::ffff:192.0.2.1", start));
        assert!(note("2001:db8::1", start));
        assert!(!note("2001:db8::ffff", start));
        assert!(note("192.0.2.1", start + WINDOW));
        let noted = (0..10_000_u32).filter(|n| {
            let from = IpAddr::V4((0x0a00_0000 + n).into());
            refusals.notes(from, start + WINDOW)
        });
        assert_eq!(noted.count(), MOST - 1);
        assert!(note("192.0.2.2", start + 2 * WINDOW));
    }
}
