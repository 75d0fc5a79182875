//! Bounds of the whole gateway.

use super::*;
use proptest::prelude::*;

#[test]
fn no_more_clients_than_configured() {
    let mut bench = Bench::with(Rules {
        max_clients: 2,
        ..rules()
    });
    let first = bench.client();
    bench.client_at(2, "sn2");
    assert_eq!(bench.from(3, "09 04 04 01 003c 736e33"), ["030501"]);
    assert_eq!(bench.asked(), [""; 0]);
    assert_eq!(bench.world.counted, [Count::Refused]);
    bench.closed(first);
    bench.client_at(3, "sn3");
}

#[test]
fn half_of_a_connect_is_bounded() {
    let mut bench = Bench::with(Rules {
        max_clients: 100_000,
        ..rules()
    });
    for port in 1..=5000 {
        assert_eq!(bench.from(port, "09 04 0c 01 003c 736e31"), ["0206"]);
        assert!(bench.machine.clients() <= OPENING);
        assert!(bench.machine.opening.len() <= OPENING);
    }
    // The oldest have been forgotten.
    assert_eq!(bench.from(5000 - OPENING as u16, "02 07"), [""; 0]);
    assert_eq!(bench.asked(), [""; 0]);
    assert_eq!(bench.machine.timers.len(), bench.machine.clients());
    assert!(bench.machine.clients() > OPENING - FORGOTTEN - 1);
    assert_eq!(bench.from(5000, "02 07"), [""; 0]);
    assert_eq!(bench.asked().len(), 1);
    bench.wait(30);
    assert_eq!(bench.machine.clients(), 1);
    bench.machine.check();
}

/// As [`Bench::from`], from another address.
fn elsewhere(bench: &mut Bench, ip: [u8; 4], datagram: &str) -> Vec<String> {
    let bytes = bytes(datagram);
    bench
        .machine
        .datagram(bench.now, (ip, 1).into(), &bytes, &mut bench.world);
    bench.sent()
}

#[test]
fn many_that_are_asked_for_wills_at_one_address_are_forgotten_first() {
    let mut bench = Bench::with(Rules {
        max_clients: 100_000,
        ..rules()
    });
    for ip in 1..=9 {
        let connect = format!("09 04 0c 01 003c 736e{:02x}", 0x30 + ip);
        assert_eq!(elsewhere(&mut bench, [10, 0, 0, ip], &connect), ["0206"]);
    }
    for port in 1..=5000 {
        bench.from(port, "09 04 0c 01 003c 736e31");
    }
    for ip in 1..=9 {
        assert_eq!(elsewhere(&mut bench, [10, 0, 0, ip], "02 07"), [""; 0]);
        assert_eq!(bench.asked().len(), 1, "{ip}");
    }
    // Many addresses, each with one.
    for n in 1..=2000u16 {
        let [high, low] = n.to_be_bytes();
        elsewhere(&mut bench, [10, 1, high, low], "09 04 0c 01 003c 736e31");
    }
    assert!(bench.machine.opening.len() <= OPENING);
    bench.machine.check();
}

/// One address does not take all places from the others.
#[test]
fn who_has_many_clients_makes_room() {
    let mut bench = Bench::with(Rules {
        max_clients: 6,
        ..rules()
    });
    for port in 1..=6 {
        bench.client_at(port, &format!("sn{port}"));
        bench.now += 10;
    }
    // One that the broker is still asked about may go, too.
    bench.closed(Key { slot: 5, serial: 6 });
    bench.from(6, "09 04 04 01 003c 736e36");
    bench.now += 10;
    for port in [1, 4, 5] {
        bench.from(port, "02 16");
    }
    // Its own share does not grow.
    assert_eq!(bench.from(7, "09 04 04 01 003c 736e37"), ["030501"]);
    // Of those of the address that has many the one goes that was silent longest.
    let connect = "09 04 04 01 003c 6e7731";
    for ip in [[10, 0, 0, 1], [10, 0, 0, 2]] {
        assert_eq!(elsewhere(&mut bench, ip, connect), ["0218"]);
    }
    assert_eq!(bench.from(1, "02 16"), ["0217"]);
    assert_eq!(bench.from(2, "02 16"), [""; 0]);
    bench.world.connecting.retain(|key| key.slot == 5);
    assert_eq!(elsewhere(&mut bench, [10, 0, 0, 5], connect), ["0218"]);
    // The answer to it is for nobody, though another one has its place.
    bench.world.connecting.pop();
    assert_eq!(bench.unwanted(), [""; 0]);
    // Nobody has more than half now.
    assert_eq!(elsewhere(&mut bench, [10, 0, 0, 6], connect), ["030501"]);
    assert_eq!(bench.from(1, "02 16"), ["0217"]);
    bench.machine.check();
}

#[test]
fn what_all_hold_is_bounded() {
    let mut bench = Bench::with(Rules {
        most_bytes: 10_000,
        sleep_queue: 100,
        ..rules()
    });
    let keys: Vec<Key> = (1..=10)
        .map(|n| bench.client_at(n, &format!("sn{n}")))
        .collect();
    // Names, as long as there is room.
    let mut codes = Vec::new();
    for port in 1..=10 {
        for n in 0..20 {
            let sent = bench.from(
                port,
                &format!("09 0a 0000 0001 {}", text(&format!("t{n:02}"))),
            );
            codes.push(sent[0][12..].to_string());
        }
    }
    let taken = codes.iter().filter(|code| *code == "00").count();
    let refused = codes.iter().filter(|code| *code == "01").count();
    assert!((100..130).contains(&taken), "{taken}");
    assert_eq!(taken + refused, 200);
    // Those that are there go on.
    assert_eq!(
        bench.from(1, &format!("09 0a 0000 0001 {}", text("t00"))),
        ["070b0003000100"]
    );
    assert_eq!(
        bench.from(9, &format!("0a 12 00 0001 {}", text("new/1"))),
        ["0813000000000101"]
    );
    assert_eq!(bench.message(keys[8], "new/2", "x", 0, 0), [""; 0]);
    assert_eq!(bench.world.counted.pop(), Some(Count::Dropped));
    // Messages: at QoS 0 none more, the others up to twice that.
    bench.asked();
    bench.from(9, "04 18 003c");
    bench.message(keys[8], "xy", "x", 0, 0);
    assert_eq!(bench.world.counted.pop(), Some(Count::Dropped));
    for id in 1..=30 {
        bench.message(keys[8], "xy", &"x".repeat(1000), 1, id);
    }
    let kept = 30 - bench.asked().len();
    assert!((7..12).contains(&kept), "{kept}");
    bench.machine.check();
    // Room comes back with those who leave.
    for port in 1..=5 {
        bench.from(port, "02 18");
    }
    bench.from(9, "05 16 736e39");
    for id in 1..=30 {
        bench.from(9, &format!("07 0d 7879 {id:04x} 00"));
    }
    let sent = bench.from(8, &format!("0a 0a 0000 0001 {}", text("new1")));
    assert!(sent[0].ends_with("000100"), "{sent:?}");
    bench.machine.check();
}

#[test]
fn packets_are_counted_when_that_is_configured() {
    let mut bench = Bench::with(Rules {
        stats: true,
        ..rules()
    });
    let key = bench.client();
    bench.say("02 16");
    bench.say("08 0c 00 0001 0000 78");
    bench.message(key, "xy", "a", 0, 0);
    let listed = bench.machine.list();
    assert_eq!(listed[0].traffic, (2, 3));
    assert_eq!(listed[0].state, State::Active);
    assert_eq!(&*listed[0].client_id, "sn1");
}

#[test]
fn settings_change_and_predefined_topics_stay() {
    let mut bench = Bench::new();
    bench.machine.set_rules(Rules {
        gateway_id: 7,
        predefined: Arc::default(),
        ..rules()
    });
    assert_eq!(bench.say("03 01 00"), ["030207"]);
    assert!(bench.machine.rules().predefined.name(1).is_some());
}

/// What can happen to a gateway.
#[derive(Debug, Clone)]
enum Step {
    Datagram(u16, Vec<u8>),
    Connected(bool),
    Answered(u8, u16, u8),
    Message(u8, u8, u16),
    Released(u16),
    Closed,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let say = |hex: &'static str| (1u16..4).prop_map(move |port| Step::Datagram(port, bytes(hex)));
    prop_oneof![
        say("09 04 04 01 003c 736e31"),
        say("09 04 0c 01 003c 736e31"),
        say("04 07 20 77"),
        say("03 09 78"),
        say("04 18 000a"),
        say("05 16 736e31"),
        say("02 18"),
        say("09 0a 0000 0001 742f31"),
        say("07 12 20 0001 7879"),
        say("09 12 20 0002 742f3132"),
        (1u16..4, 0u8..4, 1u16..4).prop_map(|(port, qos, id)| {
            let flags = qos << 5 | 1;
            Step::Datagram(port, vec![8, 0x0C, flags, 0, 1, 0, id as u8, b'x'])
        }),
        (1u16..4, 0x0Bu8..0x11, 0u8..5, 0u8..5, 0u8..4).prop_map(|(port, kind, a, b, code)| {
            let body = match kind {
                0x0B | 0x0D => vec![7, kind, 0, a, 0, b, code],
                _ => vec![4, kind, 0, b],
            };
            Step::Datagram(port, body)
        }),
        any::<bool>().prop_map(Step::Connected),
        (0u8..3, 0u16..4, any::<u8>()).prop_map(|(kind, id, code)| Step::Answered(kind, id, code)),
        (0u8..4, 0u8..3, 1u16..5).prop_map(|(topic, qos, id)| Step::Message(topic, qos, id)),
        (1u16..5).prop_map(Step::Released),
        Just(Step::Closed),
        (0u64..20).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever comes in whatever order, every index is about clients that are there.
    #[test]
    fn nothing_is_left_behind(steps in proptest::collection::vec(step(), 0..200)) {
        let mut bench = Bench::new();
        let mut keys: Vec<Key> = Vec::new();
        for step in steps {
            let last = keys.last().copied().unwrap_or(Key { slot: 0, serial: 0 });
            match step {
                Step::Datagram(port, bytes) => {
                    let world = &mut bench.world;
                    bench.machine.datagram(bench.now, address(port), &bytes, world);
                }
                Step::Connected(lets_in) => {
                    if let Some(key) = bench.world.connecting.pop() {
                        let client = lets_in.then_some(1);
                        bench.machine.connected(bench.now, key, client, &mut bench.world);
                        keys.push(key);
                    }
                }
                Step::Answered(kind, msg_id, code) => {
                    use crate::world::Kind::{Publish, Subscribe, Unsubscribe};
                    let kind = [Publish, Subscribe, Unsubscribe][usize::from(kind)];
                    bench.answer(last, kind, msg_id, code);
                }
                Step::Message(topic, qos, id) => {
                    let topic = ["xy", "t/1", "t/2", "/predefined/topic/name/nice"][usize::from(topic)];
                    bench.message(last, topic, "x", qos, if qos == 0 { 0 } else { id });
                }
                Step::Released(id) => drop(bench.released(last, id)),
                Step::Closed => drop(bench.closed(last)),
                Step::Wait(seconds) => drop(bench.wait(seconds)),
            }
            bench.machine.check();
            bench.sent();
        }
        bench.machine.end(bench.now, &mut bench.world);
        bench.machine.check();
        prop_assert_eq!(bench.machine.clients(), 0);
    }
}
