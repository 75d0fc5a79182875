//! Keep alive and PINGREQ.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use emqttd_tests::{ALL, Broker, Config, Connect, STRICT, Version, frame, unique};

use crate::broker;

fn bounded() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| Broker::start(Config::new().set("mqtt.max_keepalive", "2")))
}

#[test]
fn mqtt_3_12_4_1_pingreq_is_answered() {
    for v in ALL {
        let mut client = broker().client(v, "ping");
        for _ in 0..10 {
            client.quiet();
        }
        // Several in one segment are all answered.
        client.send(&[0xc0, 0, 0xc0, 0, 0xc0, 0]);
        for _ in 0..3 {
            assert_eq!(client.recv(), emqttd_tests::Packet::Pingresp, "{v}");
        }
    }
}

/// [MQTT311-3.1.2-24]: never later than one and a half times the interval, where EMQ waited longer.
#[test]
fn mqtt_3_1_2_22_silent_client_is_cut_off_after_one_and_a_half() {
    for v in ALL {
        let mut client = broker().open(&Connect::new(v, &unique("silent")).keep_alive(2));
        let start = Instant::now();
        client.expect_closed(&[0x8d]);
        let waited = start.elapsed();
        assert!(
            waited >= Duration::from_millis(2000) && waited < Duration::from_millis(4500),
            "{v}: {waited:?}"
        );
    }
}

/// Any packet keeps the client alive.
#[test]
fn mqtt_3_1_2_22_packets_keep_the_client_alive() {
    for v in ALL {
        let mut client = broker().open(&Connect::new(v, &unique("alive")).keep_alive(1));
        let start = Instant::now();
        // What is awaited is time: the client is heard every 0.6 s, for two and a half intervals.
        while start.elapsed() < Duration::from_millis(2500) {
            std::thread::sleep(Duration::from_millis(600));
            client.pub_("keep/alive", 1, "x");
        }
        client.closed();
    }
}

/// What the broker sends does not keep the client alive.
#[test]
fn mqtt_3_1_2_22_deliveries_do_not_keep_the_client_alive() {
    for v in ALL {
        let topic = unique("deliveries");
        let mut client = broker().open(&Connect::new(v, &unique("deaf")).keep_alive(1));
        client.sub(&topic, 0);
        let mut publisher = broker().client(v, "pub");
        let start = Instant::now();
        let mut closed = false;
        while start.elapsed() < Duration::from_secs(5) && !closed {
            publisher.pub_(&topic, 0, "x");
            closed = match client.recv_within(Duration::from_millis(100)) {
                Some(None) | Some(Some(emqttd_tests::Packet::Disconnect { code: 0x8d, .. })) => {
                    true
                }
                Some(Some(_)) => {
                    std::thread::sleep(Duration::from_millis(50));
                    false
                }
                None => false,
            };
        }
        assert!(closed, "{v}");
    }
}

/// [MQTT-3.1.2-21], [MQTT-3.2.2-21]: the broker's own limit is told to MQTT 5 clients and enforced.
#[test]
fn mqtt5_3_2_2_22_server_keep_alive() {
    for asked in [0, 600] {
        let (mut client, _, props) =
            bounded().resume(&Connect::new(Version::V5, &unique("server")).keep_alive(asked));
        assert_eq!(props.server_keep_alive(), Some(2), "asked for {asked}");
        let start = Instant::now();
        client.expect_closed(&[0x8d]);
        assert!(start.elapsed() < Duration::from_secs(8));
    }
    // A shorter interval stays the client's.
    let (mut client, _, props) =
        bounded().resume(&Connect::new(Version::V5, &unique("server")).keep_alive(1));
    assert!([None, Some(1)].contains(&props.server_keep_alive()));
    client.expect_closed(&[0x8d]);
}

#[test]
fn mqtt5_3_2_2_22_no_server_keep_alive_without_a_limit() {
    let (_client, _, props) =
        broker().resume(&Connect::new(Version::V5, &unique("none")).keep_alive(600));
    assert_eq!(props.server_keep_alive(), None);
}

#[test]
fn mqtt_4_13_1_1_pingreq_with_a_body_or_flags_closes() {
    for v in STRICT {
        for bytes in [frame(0xc0, &[0]), frame(0xc1, &[]), frame(0xc8, &[])] {
            let mut client = broker().client(v, "body");
            client.send(&bytes);
            client.expect_closed(&[0x81]);
        }
    }
}
