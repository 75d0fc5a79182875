//! How many wrong passwords somebody may try.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Failures are counted for so long.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// Most failures of an address in that time (of a /64 of IPv6).
const OF_ADDRESS: u32 = 10;
/// Most failures of a user name in that time, from anywhere; who sits at the machine is heard all the same.
const OF_USER: u32 = 30;
/// Addresses and names that are counted at a time.
const MOST: usize = 8192;

/// Counts wrong passwords.
#[derive(Debug, Default)]
pub struct Failures(Mutex<HashMap<Who, Count>>);

/// Where somebody tries from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// the machine itself, and not by way of a proxy on it, behind which are strangers
    Here,
    /// elsewhere
    Address(IpAddr),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    Here,
    Address(IpAddr),
    /// a hash of the name: names may be long
    User([u8; 32]),
}

impl Who {
    fn most(&self) -> u32 {
        match self {
            Who::Here | Who::Address(_) => OF_ADDRESS,
            Who::User(_) => OF_USER,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Count {
    since: Instant,
    failures: u32,
}

/// A password that is being looked at. It counts as a failure until it is known to be right, so that many at the same
/// time are no way around the limit.
#[derive(Debug)]
pub struct Attempt<'a> {
    failures: &'a Failures,
    who: [Who; 2],
    since: Instant,
}

impl Failures {
    /// Begins to look at a password; the error is for how many seconds none is looked at.
    ///
    /// # Errors
    /// When there were too many failures.
    pub fn attempt(&self, from: From, user: &str, now: Instant) -> Result<Attempt<'_>, u64> {
        use sha2::Digest;
        let who = [
            match from {
                From::Here => Who::Here,
                From::Address(address) => Who::Address(network(address)),
            },
            Who::User(sha2::Sha256::digest(user.as_bytes()).into()),
        ];
        let mut counts = self.0.lock();
        let wait = who.iter().filter_map(|who| {
            // Strangers who try that name do not keep out who sits at the machine.
            if from == From::Here && matches!(who, Who::User(_)) {
                return None;
            }
            let count = counts
                .get(who)
                .filter(|count| count.failures >= who.most())?;
            let over = count.since + WINDOW;
            (over > now).then(|| (over - now).as_secs() + 1)
        });
        if let Some(wait) = wait.max() {
            return Err(wait);
        }
        make_room(&mut counts, now);
        for who in &who {
            let count = counts.entry(who.clone()).or_insert(Count {
                since: now,
                failures: 0,
            });
            if now >= count.since + WINDOW {
                *count = Count {
                    since: now,
                    failures: 0,
                };
            }
            count.failures += 1;
        }
        drop(counts);
        Ok(Attempt {
            failures: self,
            who,
            since: now,
        })
    }
}

impl Attempt<'_> {
    /// It was right after all, or could not be looked at.
    pub fn forgive(self) {
        let mut counts = self.failures.0.lock();
        for who in &self.who {
            if let Some(count) = counts.get_mut(who)
                && count.since <= self.since
            {
                count.failures = count.failures.saturating_sub(1);
            }
        }
    }
}

/// For the two of an attempt. Who is forgotten early may try again early: but for that somebody needs thousands of
/// addresses in a minute, and then the limit of the name counts, which has few failures to be forgotten for.
fn make_room(counts: &mut HashMap<Who, Count>, now: Instant) {
    if counts.len() + 2 <= MOST {
        return;
    }
    counts.retain(|_, count| now < count.since + WINDOW && count.failures > 0);
    if counts.len() + 2 > MOST {
        // Those with one failure are the many.
        counts.retain(|_, count| count.failures > 1);
    }
    if counts.len() + 2 > MOST {
        counts.retain(|who, count| count.failures >= who.most());
    }
    if counts.len() + 2 > MOST {
        counts.clear();
    }
}

/// Whom an address stands for.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & (u128::MAX << 64)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ip(text: &str) -> From {
        From::Address(text.parse().unwrap())
    }

    #[test]
    fn an_address_is_heard_ten_times_a_minute() {
        let failures = Failures::default();
        let start = Instant::now();
        for n in 0..10 {
            let _ = failures
                .attempt(ip("192.0.2.1"), &format!("u{n}"), start)
                .unwrap();
        }
        let wait = failures.attempt(ip("192.0.2.1"), "x", start).unwrap_err();
        assert_eq!(wait, 61);
        // The same in IPv6 clothes.
        assert!(
            failures
                .attempt(ip("::ffff:192.0.2.1"), "x", start)
                .is_err()
        );
        assert!(failures.attempt(ip("192.0.2.2"), "x", start).is_ok());
        assert!(
            failures
                .attempt(ip("192.0.2.1"), "x", start + WINDOW)
                .is_ok()
        );
    }

    #[test]
    fn a_name_is_heard_thirty_times_from_anywhere_and_a_network_is_one() {
        let failures = Failures::default();
        let start = Instant::now();
        for n in 0..30 {
            let _ = failures
                .attempt(ip(&format!("192.0.2.{n}")), "admin", start)
                .unwrap();
        }
        assert!(
            failures
                .attempt(ip("198.51.100.1"), "admin", start)
                .is_err()
        );
        assert!(failures.attempt(ip("198.51.100.1"), "other", start).is_ok());
        assert!(failures.attempt(From::Here, "admin", start).is_ok());
        // Behind a proxy on this machine they are many, too.
        assert!(failures.attempt(ip("127.0.0.1"), "admin", start).is_err());
        for n in 0..10 {
            let _ = failures
                .attempt(ip(&format!("2001:db8::{n}")), &format!("u{n}"), start)
                .unwrap();
        }
        assert!(failures.attempt(ip("2001:db8::ffff"), "x", start).is_err());
        assert!(failures.attempt(ip("2001:db8:0:1::1"), "x", start).is_ok());
    }

    #[test]
    fn strangers_behind_a_proxy_keep_nobody_out_who_sits_here() {
        let failures = Failures::default();
        let start = Instant::now();
        for n in 0..10 {
            let user = format!("u{n}");
            failures.attempt(ip("127.0.0.1"), &user, start).unwrap();
        }
        assert!(failures.attempt(ip("127.0.0.1"), "x", start).is_err());
        for _ in 0..10 {
            failures.attempt(From::Here, "admin", start).unwrap();
        }
        assert!(failures.attempt(From::Here, "admin", start).is_err());
    }

    #[test]
    fn what_was_right_does_not_count() {
        let failures = Failures::default();
        let start = Instant::now();
        for _ in 0..100 {
            failures
                .attempt(ip("192.0.2.1"), "admin", start)
                .unwrap()
                .forgive();
        }
        // At the same time they all count.
        let tried: Vec<_> = (0..20)
            .map(|_| failures.attempt(ip("192.0.2.1"), "admin", start))
            .collect();
        assert_eq!(tried.iter().filter(|one| one.is_ok()).count(), 10);
    }

    #[test]
    fn the_table_is_bounded_and_keeps_who_is_locked_out() {
        let failures = Failures::default();
        let start = Instant::now();
        for _ in 0..10 {
            let _ = failures.attempt(ip("192.0.2.1"), "admin", start).unwrap();
        }
        for n in 0..20_000_u32 {
            let from = From::Address(IpAddr::V4((0x0a00_0000 + n).into()));
            let _ = failures.attempt(from, &format!("u{n}"), start);
            assert!(failures.0.lock().len() <= MOST);
        }
        assert!(failures.attempt(ip("192.0.2.1"), "x", start).is_err());
    }
}
