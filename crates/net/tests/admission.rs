//! Access rules and rates.
#![allow(clippy::unwrap_used)]

use emqttd_config::{AccessNet, AccessRule};
use emqttd_net::admission::{ConnectionRate, RateLimit, allowed};
use proptest::prelude::*;

fn rule(allow: bool, net: &str) -> AccessRule {
    let net = match net.split_once('/') {
        None => AccessNet::All,
        Some((address, prefix)) => {
            AccessNet::Net(address.parse().unwrap(), prefix.parse().unwrap())
        }
    };
    AccessRule { allow, net }
}

fn permits(rules: &[AccessRule], peer: &str) -> bool {
    allowed(rules, peer.parse().unwrap())
}

#[test]
fn the_first_match_decides() {
    let rules = [
        rule(false, "10.1.2.3/32"),
        rule(true, "10.0.0.0/8"),
        rule(false, "all"),
    ];
    assert!(!permits(&rules, "10.1.2.3"));
    assert!(permits(&rules, "10.1.2.4"));
    assert!(!permits(&rules, "11.0.0.1"));
    assert!(!permits(&rules, "::1"));
}

#[test]
fn no_match_is_allowed() {
    assert!(permits(&[], "192.0.2.1"));
    assert!(permits(&[rule(false, "10.0.0.0/8")], "192.0.2.1"));
}

#[test]
fn prefixes_of_both_families() {
    let deny = |net: &str, peer: &str| !permits(&[rule(false, net)], peer);
    assert!(deny("192.168.4.0/22", "192.168.7.255"));
    assert!(!deny("192.168.4.0/22", "192.168.8.0"));
    assert!(deny("0.0.0.0/0", "203.0.113.9"));
    assert!(!deny("0.0.0.0/0", "::1"));
    assert!(deny("::/0", "2001:db8::1"));
    assert!(!deny("::/0", "10.0.0.1"));
    assert!(deny("2001:db8::/33", "2001:db8:7fff::1"));
    assert!(!deny("2001:db8::/33", "2001:db8:8000::1"));
    assert!(deny("::1/128", "::1"));
    // Host bits of the rule do not count, a prefix too long is the longest.
    assert!(deny("10.9.9.9/8", "10.0.0.1"));
    assert!(deny("10.0.0.1/200", "10.0.0.1"));
    assert!(!deny("10.0.0.1/200", "10.0.0.2"));
}

#[test]
fn ipv4_through_an_ipv6_socket_is_ipv4() {
    let deny = |net: &str, peer: &str| !permits(&[rule(false, net)], peer);
    assert!(deny("10.0.0.0/8", "::ffff:10.1.1.1"));
    assert!(deny("::ffff:10.0.0.0/104", "10.1.1.1"));
    assert!(!deny("::ffff:10.0.0.0/104", "11.1.1.1"));
}

#[test]
fn connections_per_second() {
    let mut rate = ConnectionRate::new(10, 5_000);
    assert_eq!((0..30).filter(|_| rate.admit(5_000)).count(), 10);
    assert!(!rate.admit(5_099));
    assert!(rate.admit(5_100));
    assert!(!rate.admit(5_100));
    // A long rest does not save up more than a second's worth.
    assert_eq!((0..30).filter(|_| rate.admit(99_000)).count(), 10);
    let mut unlimited = ConnectionRate::new(0, 0);
    assert!((0..100_000).all(|_| unlimited.admit(0)));
}

#[test]
fn bytes_per_second() {
    let mut limit = RateLimit::new(100, 10, 0);
    assert_eq!(limit.consume(100, 0), 0);
    assert_eq!(limit.consume(5, 0), 500);
    assert_eq!(limit.consume(0, 499), 1);
    assert_eq!(limit.consume(0, 500), 0);
    // Never more than the burst, however long the rest.
    assert_eq!(limit.consume(100, 1_000_000), 0);
    assert_eq!(limit.consume(1, 1_000_000), 100);
    // A clock that seems to go back gives nothing.
    assert_eq!(limit.consume(1, 0), 200);
}

#[test]
fn extreme_values() {
    let mut limit = RateLimit::new(u64::MAX, u64::MAX, 0);
    assert_eq!(limit.consume(usize::MAX, u64::MAX), 0);
    let mut limit = RateLimit::new(0, 0, 0);
    assert!(limit.consume(usize::MAX, 0) > i64::MAX as u64 - 1001);
    assert!(limit.consume(1, u64::MAX) <= 1000);
}

proptest! {
    /// A sender that pauses as told gets `burst` and then exactly `rate`, whatever it sends.
    #[test]
    fn the_long_run(
        rate in 1u64..100_000,
        more in 1u64..100_000,
        sizes in proptest::collection::vec(1usize..70_000, 1..60),
    ) {
        // As the configuration demands. A burst of less than a millisecond's worth would cut off
        // what rounding a pause up has given.
        let burst = rate + more;
        let mut limit = RateLimit::new(burst, rate, 0);
        let mut now = 0;
        let mut sent = 0;
        for size in sizes {
            sent += size as u64;
            let pause = limit.consume(size, now);
            now += pause;
            // What was sent is covered by the time that has passed ...
            prop_assert!(sent * 1000 <= burst * 1000 + now * rate);
            // ... and the pause is not a millisecond longer than that takes.
            prop_assert!(pause == 0 || sent * 1000 > burst * 1000 + (now - 1) * rate);
        }
    }

    #[test]
    fn a_prefix_means_its_leading_bits(net in any::<u32>(), peer in any::<u32>(), prefix in 0u8..=32) {
        let same = (0..prefix).all(|i| (net ^ peer) >> (31 - i) & 1 == 0);
        let rules = [AccessRule {
            allow: false,
            net: AccessNet::Net(std::net::Ipv4Addr::from(net).into(), prefix),
        }];
        prop_assert_eq!(allowed(&rules, std::net::Ipv4Addr::from(peer).into()), !same);
    }
}
