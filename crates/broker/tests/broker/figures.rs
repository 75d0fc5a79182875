//! What the broker tells of its own working.

use crate::net::Net;
use crate::packets::*;
use emqttd_plugin_sdk::Figures;

fn held(figures: &Figures, what: &str) -> u64 {
    let row = figures.held.iter().find(|(name, _)| name == what);
    row.unwrap_or_else(|| panic!("no {what}: {figures:?}")).1
}

/// Shards are looked at in pieces; none may be left out, and none counted twice.
#[test]
fn all_connections_and_sessions_are_counted_once() {
    const CLIENTS: u64 = 5000;
    let mut net = Net::with(2, |s| s.listeners[0].max_clients = 10_000);
    let before = net.admin(|broker| broker.figures());
    for n in 0..CLIENTS {
        let client = net.connect(&Connect::v3(&format!("c{n}")));
        if n % 1000 == 0 {
            net.silent(client);
            net.subscribe(client, &format!("t/{n}"), 1);
        }
    }
    let figures = net.admin(|broker| broker.figures());
    assert_eq!(figures.loops.len(), 2);
    for of in [&figures.loops[0], &figures.loops[1]] {
        assert!(of.connections > CLIENTS / 3, "{figures:?}");
        assert_eq!(of.connections, of.sessions);
    }
    let all: u64 = figures.loops.iter().map(|of| of.connections).sum();
    assert_eq!(all, CLIENTS);
    for what in ["connections", "sessions", "routes"] {
        assert!(held(&figures, what) > held(&before, what), "{what}");
    }
    assert_eq!(held(&figures, "queues") + held(&figures, "inflight"), 0);

    // Bytes of topic and payload, of the messages of one client: as many as its window, and the rest.
    let publisher = net.connect(&Connect::v3("publisher"));
    let window = net.broker.settings().session.max_inflight as u64;
    for _ in 0..window + 3 {
        net.publish(publisher, "t/4000", "ten bytes.", 1);
    }
    let figures = net.admin(|broker| broker.figures());
    assert_eq!(held(&figures, "inflight"), window * 16);
    assert_eq!(held(&figures, "queues"), 3 * 16);
    let holders = net.admin(|broker| broker.holders(10));
    let [holder] = &holders[..] else {
        panic!("{holders:?}")
    };
    assert_eq!(holder.clientid, "c4000");
    assert_eq!((holder.queued, holder.queued_bytes), (3, 3 * 16));
    assert_eq!(holder.inflight, window);
}

#[test]
fn what_a_client_does_not_take_is_held_for_it() {
    let mut net = Net::new(2);
    let slow = net.connect(&Connect::v3("slow"));
    net.subscribe(slow, "t", 0);
    net.set_room(slow, 0);
    let publisher = net.connect(&Connect::v3("publisher"));
    // One that is copied, and one so large that it is referred to.
    for size in [100, 10_000] {
        net.publish(publisher, "t", &"x".repeat(size), 0);
    }
    let waiting = net.waiting(slow) as u64;
    assert!(waiting > 10_100, "{waiting}");
    let figures = net.admin(|broker| broker.figures());
    assert!(held(&figures, "outputs") >= waiting, "{figures:?}");
    let holders = net.admin(|broker| broker.holders(1));
    assert_eq!(holders[0].clientid, "slow");
    assert_eq!(holders[0].output, waiting);
    net.set_room(slow, usize::MAX);
    net.run();
    let figures = net.admin(|broker| broker.figures());
    assert!(held(&figures, "outputs") < 10_000, "{figures:?}");
    assert!(net.admin(|broker| broker.holders(1)).is_empty());
}

#[test]
fn rounds_are_counted_and_the_longest_since_one_asked() {
    let mut net = Net::new(1);
    for _ in 0..3 {
        net.shards[0].begin_round();
        std::thread::sleep(std::time::Duration::from_millis(2));
        net.shards[0].end_round();
    }
    let of = |figures: Figures| figures.loops.into_iter().next().unwrap();
    let first = of(net.admin(|broker| broker.figures()));
    assert_eq!(first.rounds, 3);
    assert!(first.busy >= 6000, "{first:?}");
    assert!((2000..=first.busy).contains(&first.longest), "{first:?}");
    let second = of(net.admin(|broker| broker.figures()));
    assert_eq!((second.rounds, second.longest), (3, 0));
}
