//! Every queue, count and wait has a bound.

use std::io::{Read, Write};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use emqttd_tests::packet::AckKind;
use emqttd_tests::{ALL, Broker, Config, Connect, Packet, Publish, Sub, V3, Version, Will, unique};

/// Small limits that do not get into each other's way.
fn tight() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| {
        Broker::start(
            Config::new()
                .set("mqtt.client.idle_timeout", "1s")
                .set("mqtt.session.max_subscriptions", "3")
                .set("mqtt.max_topic_levels", "5")
                .set("mqtt.max_clientid_len", "30")
                .set("mqtt.client.max_send_buffer", "256KB")
                .listener("tcp.few", &[("max_clients", "3")])
                .listener("tcp.slow", &[("rate_limit", "8,4")])
                .listener("tcp.rare", &[("max_conn_rate", "5")])
                .listener(
                    "tcp.denied",
                    &[("access.1", "deny 127.0.0.1"), ("access.2", "allow all")],
                )
                .listener(
                    "tcp.allowed",
                    &[("access.1", "allow 127.0.0.0/8"), ("access.2", "deny all")],
                ),
        )
    })
}

/// Nothing, half a CONNECT, or one byte at a time: the time to CONNECT is bounded as a whole.
#[test]
fn emq_idle_timeout_bounds_the_time_to_connect() {
    for v in ALL {
        for sent in [0, 1, 10] {
            let mut client = tight().raw(v);
            client.send(&Connect::new(v, &unique("idle")).encode()[..sent]);
            let start = Instant::now();
            let code = client.closed();
            assert_eq!(code, None, "{v}");
            let waited = start.elapsed();
            assert!(
                waited >= Duration::from_millis(900) && waited < Duration::from_millis(3000),
                "{v} after {sent} bytes: {waited:?}"
            );
        }
    }
}

/// A byte now and then does not prolong it.
#[test]
fn emq_idle_timeout_is_not_prolonged_by_drops() {
    let mut stream = tight().tcp();
    stream
        .set_read_timeout(Some(Duration::from_millis(150)))
        .unwrap();
    let start = Instant::now();
    for byte in Connect::new(Version::V311, "drops-drops-drops").encode() {
        if stream.write_all(&[byte]).is_err() {
            break;
        }
        let mut buffer = [0; 1];
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Err(e) if emqttd_tests::transport::is_closed(&e) => break,
            _ => {}
        }
    }
    assert!(
        start.elapsed() < Duration::from_millis(3000),
        "{:?}",
        start.elapsed()
    );
}

/// What comes before CONNECT is bounded in bytes.
#[test]
fn emq_bytes_before_connect_are_bounded() {
    let mut client = tight().raw(Version::V311);
    let mut body = emqttd_tests::text("MQTT");
    body.extend([4, 2, 0, 0]);
    body.extend(vec![0; 300_000]);
    client.send(&emqttd_tests::frame(0x10, &body));
    assert_eq!(client.closed(), None);
}

#[test]
fn emq_max_subscriptions_is_enforced() {
    for v in ALL {
        let base = unique("maxsubs");
        let mut client = tight().client(v, "maxsubs");
        let sub = |n: usize| Sub::new(&format!("{base}/{n}"), 1);
        assert_eq!(client.subscribe(&[sub(0), sub(1)], &[]), [1, 1]);
        let codes = client.subscribe(&[sub(2), sub(3)], &[]);
        assert_eq!(codes, [1, if v.is_v5() { 0x97 } else { 0x80 }], "{v}");
        // A filter that is there already is no new one, and UNSUBSCRIBE makes room.
        assert_eq!(client.subscribe(&[sub(0)], &[]), [1]);
        client.unsubscribe(&[&format!("{base}/0")]);
        assert_eq!(client.subscribe(&[sub(3)], &[]), [1]);
    }
}

#[test]
fn emq_max_topic_levels_is_enforced() {
    for v in ALL {
        let base = unique("deep");
        let mut client = tight().client(v, "deep");
        let deep = format!("{base}/2/3/4/5");
        client.sub(&deep, 0);
        client.pub_(&deep, 0, "x");
        client.expect(&deep, "x");
        let bytes = client.subscribe_bytes(9, &[Sub::new(&format!("{deep}/6"), 0)], &[]);
        client.send(&bytes);
        match client.recv_or_eof() {
            None if !v.is_v5() => {}
            Some(Packet::Suback { codes, .. }) => assert!(codes[0] >= 0x80, "{v}"),
            Some(Packet::Disconnect { code, .. }) => {
                assert!([0x8f, 0x97].contains(&code), "{code:02x}")
            }
            other => panic!("{v}: {other:?}"),
        }
        let mut publisher = tight().client(v, "deep");
        publisher.send_publish(Publish::new(&format!("{deep}/6"), "x").qos(1).id(3));
        match publisher.recv_or_eof() {
            None if !v.is_v5() => {}
            Some(Packet::Ack {
                kind: AckKind::Puback,
                code,
                ..
            }) => assert!(code >= 0x80, "{v}"),
            Some(Packet::Disconnect { code, .. }) => assert_eq!(code, 0x90),
            other => panic!("{v}: {other:?}"),
        }
    }
}

#[test]
fn emq_max_clientid_len_is_enforced() {
    for v in ALL {
        tight().open(&Connect::new(v, &"x".repeat(30))).disconnect();
        let mut client = tight().raw(v);
        client.send(&Connect::new(v, &"x".repeat(31)).encode());
        assert_eq!(
            client.closed(),
            Some(if v.is_v5() { 0x85 } else { 2 }),
            "{v}"
        );
    }
}

/// A client that does not read is disconnected, not buffered for ever; its will says so.
#[test]
fn emq_client_that_does_not_read_is_disconnected() {
    for v in ALL {
        let topic = unique("slow");
        let gone = unique("gone");
        let mut watcher = tight().client(v, "watch");
        watcher.sub(&gone, 1);
        let mut slow =
            tight().open(&Connect::new(v, &unique("slow")).will(Will::new(&gone, "gone")));
        slow.sub(&topic, 0);
        let mut publisher = tight().client(v, "pub");
        let payload = "x".repeat(60_000);
        // Far more than the kernel's buffers and the broker's bound together can hold.
        let mut seen = false;
        for _ in 0..2000 {
            publisher.pub_(&topic, 0, &payload);
            publisher.ping();
            if let Some(Some(Packet::Publish { topic, .. })) =
                watcher.recv_within(Duration::from_millis(1))
            {
                assert_eq!(topic, gone);
                seen = true;
                break;
            }
        }
        if !seen {
            watcher.expect(&gone, "gone");
        }
    }
}

/// `max_clients`: the connection above it is accepted and closed at once.
#[test]
fn emq_max_clients_of_a_listener() {
    let addr = tight().addr("tcp.few");
    let open = || {
        let mut client =
            emqttd_tests::Client::over(emqttd_tests::transport::tcp(addr), Version::V311, "few");
        client.send(&Connect::new(Version::V311, &unique("few")).encode());
        client.recv_or_eof().map(|_| client)
    };
    let start = Instant::now();
    let mut held: Vec<_> = Vec::new();
    // The broker's own look at whether the listener accepts may still count for a moment.
    while held.len() < 3 {
        held.extend(open());
        assert!(start.elapsed() < emqttd_tests::transport::DEADLINE);
    }
    assert!(open().is_none(), "a fourth connection was served");
    held.pop().unwrap().disconnect();
    let start = Instant::now();
    while open().is_none() {
        assert!(
            start.elapsed() < emqttd_tests::transport::DEADLINE,
            "the place is not given back"
        );
    }
}

/// `rate_limit = 8,4`: a burst of 8 KB, then 4 KB a second.
#[test]
fn emq_rate_limit_slows_the_reading() {
    let addr = tight().addr("tcp.slow");
    let mut client =
        emqttd_tests::Client::over(emqttd_tests::transport::tcp(addr), Version::V311, "slow");
    client.connect(&Connect::new(Version::V311, &unique("slow")));
    let start = Instant::now();
    // Twice 16 KB: what was read too much in the first round delays the second.
    for _ in 0..2 {
        for _ in 0..16 {
            client.pub_("rate/limited", 0, &"x".repeat(1000));
        }
        client.ping();
    }
    let waited = start.elapsed();
    assert!(waited >= Duration::from_millis(1500), "{waited:?}");
}

/// `max_conn_rate`: more connections in a second are refused or wait; those within the rate are served.
#[test]
fn emq_connection_rate_of_a_listener() {
    let addr = tight().addr("tcp.rare");
    let start = Instant::now();
    let mut served = 0;
    while start.elapsed() < Duration::from_millis(2500) {
        let mut client =
            emqttd_tests::Client::over(emqttd_tests::transport::tcp(addr), Version::V311, "rare");
        client.send(&Connect::new(Version::V311, &unique("rare")).encode());
        if client.recv_or_eof().is_some() {
            served += 1;
        }
    }
    // 5 a second for up to 3.5 seconds with what the clock lets through at its edges, far less than a loop
    // without a limit would reach.
    assert!(
        (5..=25).contains(&served),
        "{served} connections were served"
    );
}

/// The first rule that matches decides, in ascending order: the sheet's correction 3.
#[test]
fn emq_access_rules_of_a_listener() {
    let denied = emqttd_tests::transport::tcp(tight().addr("tcp.denied"));
    let mut client = emqttd_tests::Client::over(denied, Version::V311, "denied");
    client.send(&Connect::new(Version::V311, &unique("denied")).encode());
    assert_eq!(client.closed(), None);
    let allowed = emqttd_tests::transport::tcp(tight().addr("tcp.allowed"));
    let mut client = emqttd_tests::Client::over(allowed, Version::V311, "allowed");
    client.connect(&Connect::new(Version::V311, &unique("allowed")));
}

/// `mqtt.client.max_publish_rate`: a client beyond it is slowed or told off, and others are not.
#[test]
fn emq_max_publish_rate_is_enforced() {
    let broker = Broker::start(Config::new().set("mqtt.client.max_publish_rate", "10"));
    for v in V3 {
        let topic = unique("rate");
        let mut client = broker.client(v, "rate");
        let mut watcher = broker.client(v, "watch");
        watcher.sub(&topic, 0);
        let start = Instant::now();
        for i in 0..40 {
            client.pub_(&topic, 0, &i.to_string());
        }
        client.send(&[0xc0, 0]);
        let answered = matches!(client.recv_or_eof(), Some(Packet::Pingresp));
        let waited = start.elapsed();
        let mut got = 0;
        while let Some(Some(_)) = watcher.recv_within(Duration::from_millis(100)) {
            got += 1;
        }
        // Ten at once, ten a second after that: 40 take some three seconds, or do not come at all.
        assert!(
            !answered || waited >= Duration::from_millis(2000) || got < 40,
            "{v}: {got} in {waited:?}"
        );
    }
}
