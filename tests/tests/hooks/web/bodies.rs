//! What is posted, byte by byte, as EMQ 2.3.11 did.

use super::*;
use emqttd_tests::packet::AckKind;
use emqttd_tests::{ALL, Sub, V3, Will};

fn hk1() -> Connect {
    Connect::new(Version::V311, "hk1").username("alice")
}

const HK1_CONNECTS: [&str; 2] = [
    r#"{"action":"session_created","client_id":"hk1","username":"alice"}"#,
    r#"{"action":"client_connected","client_id":"hk1","username":"alice","conn_ack":0}"#,
];

const HK2_CONNECTS: [&str; 2] = [
    r#"{"action":"session_created","client_id":"hk2","username":"undefined"}"#,
    r#"{"action":"client_connected","client_id":"hk2","username":"undefined","conn_ack":0}"#,
];

/// Both of them; hk1 has subscribed to `t/1` at this QoS.
fn two(sink: &Sink, broker: &Broker, qos: u8) -> (Client, Client) {
    let mut hk1 = broker.open(&hk1());
    hk1.sub("t/1", qos);
    let hk2 = broker.open(&Connect::new(Version::V311, "hk2"));
    sink.wait_for(6);
    sink.take();
    (hk1, hk2)
}

/// Nothing else has been posted before this client does something that is.
#[track_caller]
fn nothing_more(sink: &Sink, client: &mut Client) {
    client.unsubscribe(&["nothing"]);
    let posts = sink.wait_for(1);
    sink.take();
    let first = posts[0].text();
    assert!(
        first.contains("client_unsubscribe") && first.contains("nothing"),
        "{first}"
    );
}

/// Check 1 of the sheet: the shipped file, and each event once and in order.
#[test]
fn a_session_with_the_shipped_file() {
    let sink = Sink::start();
    let shipped = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../etc/plugins/emq_web_hook.conf"
    );
    let shipped = std::fs::read_to_string(shipped).unwrap();
    let target = "web.hook.api.url = http://127.0.0.1\n";
    assert!(shipped.contains(target));
    let broker = start(&shipped.replace(target, &url(&sink)));
    for version in ALL {
        let mut client = broker.open(&Connect::new(version, "hk1").username("alice"));
        client.sub("t/1", 1);
        client.pub_("t/1", 1, "pay");
        client.expect("t/1", "pay");
        client.unsubscribe(&["t/1"]);
        client.disconnect();
        expect(
            &sink,
            &[
                HK1_CONNECTS[0],
                HK1_CONNECTS[1],
                r#"{"action":"client_subscribe","client_id":"hk1","username":"alice","topic":"t/1","opts":{"qos":1}}"#,
                r#"{"action":"session_subscribed","client_id":"hk1","username":"alice","topic":"t/1","opts":{"qos":1}}"#,
                r#"{"action":"message_publish","from_client_id":"hk1","from_username":"alice","topic":"t/1","qos":1,"retain":false,"payload":"pay","ts":0}"#,
                r#"{"action":"message_delivered","client_id":"hk1","username":"alice","from_client_id":"hk1","from_username":"alice","topic":"t/1","qos":1,"retain":false,"payload":"pay","ts":0}"#,
                r#"{"action":"message_acked","client_id":"hk1","username":"alice","from_client_id":"hk1","from_username":"alice","topic":"t/1","qos":1,"retain":false,"payload":"pay","ts":0}"#,
                r#"{"action":"client_unsubscribe","client_id":"hk1","username":"alice","topic":"t/1","opts":[]}"#,
                r#"{"action":"session_unsubscribed","client_id":"hk1","username":"alice","topic":"t/1"}"#,
                r#"{"action":"client_disconnected","client_id":"hk1","username":"alice","reason":"normal"}"#,
                r#"{"action":"session_terminated","client_id":"hk1","username":"alice","reason":"normal"}"#,
            ],
        );
    }
}

/// What was recorded of two clients; and check 3: two filters in a SUBSCRIBE.
#[test]
fn the_recorded_bodies() {
    let sink = Sink::start();
    let broker = start(&everything(&sink));
    let mut hk1 = broker.open(&hk1());
    expect(&sink, &HK1_CONNECTS);
    let subs = [Sub::new("t/1", 1), Sub::new("$share/g/t/2", 2)];
    assert_eq!(hk1.subscribe(&subs, &[]), [1, 2]);
    expect(
        &sink,
        &[
            r#"{"action":"client_subscribe","client_id":"hk1","username":"alice","topic":"t/1","opts":{"qos":1}}"#,
            r#"{"action":"client_subscribe","client_id":"hk1","username":"alice","topic":"t/2","opts":{"qos":2,"share":"g"}}"#,
            r#"{"action":"session_subscribed","client_id":"hk1","username":"alice","topic":"t/1","opts":{"qos":1}}"#,
            r#"{"action":"session_subscribed","client_id":"hk1","username":"alice","topic":"t/2","opts":{"qos":2,"share":"g"}}"#,
        ],
    );
    let mut hk2 = broker.open(&Connect::new(Version::V311, "hk2"));
    expect(&sink, &HK2_CONNECTS);
    hk2.pub_("t/1", 1, "pay");
    let message = hk1.recv_publish();
    expect(
        &sink,
        &[
            r#"{"action":"message_publish","from_client_id":"hk2","from_username":"undefined","topic":"t/1","qos":1,"retain":false,"payload":"pay","ts":0}"#,
            r#"{"action":"message_delivered","client_id":"hk1","username":"alice","from_client_id":"hk2","from_username":"undefined","topic":"t/1","qos":1,"retain":false,"payload":"pay","ts":0}"#,
        ],
    );
    hk1.acknowledge(&message);
    expect(
        &sink,
        &[
            r#"{"action":"message_acked","client_id":"hk1","username":"alice","from_client_id":"hk2","from_username":"undefined","topic":"t/1","qos":1,"retain":false,"payload":"pay","ts":0}"#,
        ],
    );
    hk1.unsubscribe(&["t/1"]);
    expect(
        &sink,
        &[
            r#"{"action":"client_unsubscribe","client_id":"hk1","username":"alice","topic":"t/1","opts":[]}"#,
            r#"{"action":"session_unsubscribed","client_id":"hk1","username":"alice","topic":"t/1"}"#,
        ],
    );
    hk1.disconnect();
    expect(
        &sink,
        &[
            r#"{"action":"client_disconnected","client_id":"hk1","username":"alice","reason":"normal"}"#,
            r#"{"action":"session_terminated","client_id":"hk1","username":"alice","reason":"normal"}"#,
        ],
    );
    hk2.drop_connection();
    expect(
        &sink,
        &[
            r#"{"action":"client_disconnected","client_id":"hk2","username":"undefined","reason":"closed"}"#,
            r#"{"action":"session_terminated","client_id":"hk2","username":"undefined","reason":"normal"}"#,
        ],
    );
}

#[test]
fn qos_0_is_not_acknowledged() {
    let sink = Sink::start();
    let broker = start(&everything(&sink));
    let (mut hk1, mut hk2) = two(&sink, &broker, 1);
    hk2.pub_("t/1", 0, "pay");
    hk1.expect("t/1", "pay");
    expect(
        &sink,
        &[
            r#"{"action":"message_publish","from_client_id":"hk2","from_username":"undefined","topic":"t/1","qos":0,"retain":false,"payload":"pay","ts":0}"#,
            r#"{"action":"message_delivered","client_id":"hk1","username":"alice","from_client_id":"hk2","from_username":"undefined","topic":"t/1","qos":0,"retain":false,"payload":"pay","ts":0}"#,
        ],
    );
    nothing_more(&sink, &mut hk1);
}

/// `qos` of what is delivered is that of the message.
#[test]
fn qos_of_the_message_and_not_of_the_subscription() {
    let sink = Sink::start();
    let broker = start(&everything(&sink));
    let (mut hk1, mut hk2) = two(&sink, &broker, 0);
    hk2.pub_("t/1", 1, "pay");
    assert_eq!(hk1.expect("t/1", "pay").qos, 0);
    let posts = sink.wait_for(2);
    let delivered = posts[1].text();
    assert!(
        delivered.contains(r#""action":"message_delivered""#),
        "{delivered}"
    );
    assert!(delivered.contains(r#""qos":1,"#), "{delivered}");
    sink.take();
    nothing_more(&sink, &mut hk1);
}

/// A QoS 2 message is published with its PUBREL, and acknowledged by PUBREC alone.
#[test]
fn qos_2() {
    let sink = Sink::start();
    let broker = start(&everything(&sink));
    let (mut hk1, mut hk2) = two(&sink, &broker, 2);
    let id = hk2.send_publish(Publish::new("t/1", "pay").qos(2));
    hk2.ack(AckKind::Pubrec, id);
    nothing_more(&sink, &mut hk2);
    hk2.send_ack(AckKind::Pubrel, id);
    hk2.ack(AckKind::Pubcomp, id);
    let message = hk1.recv_publish();
    expect(
        &sink,
        &[
            r#"{"action":"message_publish","from_client_id":"hk2","from_username":"undefined","topic":"t/1","qos":2,"retain":false,"payload":"pay","ts":0}"#,
            r#"{"action":"message_delivered","client_id":"hk1","username":"alice","from_client_id":"hk2","from_username":"undefined","topic":"t/1","qos":2,"retain":false,"payload":"pay","ts":0}"#,
        ],
    );
    hk1.send_ack(AckKind::Pubrec, message.id.unwrap());
    expect(
        &sink,
        &[
            r#"{"action":"message_acked","client_id":"hk1","username":"alice","from_client_id":"hk2","from_username":"undefined","topic":"t/1","qos":2,"retain":false,"payload":"pay","ts":0}"#,
        ],
    );
    hk1.ack(AckKind::Pubrel, message.id.unwrap());
    hk1.send_ack(AckKind::Pubcomp, message.id.unwrap());
    nothing_more(&sink, &mut hk1);
}

/// The flag as it was published, not as the subscriber gets it.
#[test]
fn retained() {
    let sink = Sink::start();
    let broker = start(&everything(&sink));
    let (mut hk1, mut hk2) = two(&sink, &broker, 0);
    hk2.publish(Publish::new("t/1", r#"{"a":1}"#).retained());
    assert!(!hk1.expect("t/1", r#"{"a":1}"#).retain);
    expect(
        &sink,
        &[
            r#"{"action":"message_publish","from_client_id":"hk2","from_username":"undefined","topic":"t/1","qos":0,"retain":true,"payload":"{\"a\":1}","ts":0}"#,
            r#"{"action":"message_delivered","client_id":"hk1","username":"alice","from_client_id":"hk2","from_username":"undefined","topic":"t/1","qos":0,"retain":true,"payload":"{\"a\":1}","ts":0}"#,
        ],
    );
}

#[test]
fn other_kinds_of_subscriptions() {
    let sink = Sink::start();
    let broker = start(&everything(&sink));
    let mut hk2 = broker.open(&Connect::new(Version::V311, "hk2"));
    expect(&sink, &HK2_CONNECTS);
    hk2.sub("$queue/t/1", 1);
    expect(
        &sink,
        &[
            r#"{"action":"client_subscribe","client_id":"hk2","username":"undefined","topic":"t/1","opts":{"qos":1,"share":"$queue"}}"#,
            r#"{"action":"session_subscribed","client_id":"hk2","username":"undefined","topic":"t/1","opts":{"qos":1,"share":"$queue"}}"#,
        ],
    );
    // The original closed the connection.
    hk2.sub("$local/t/2", 0);
    expect(
        &sink,
        &[
            r#"{"action":"client_subscribe","client_id":"hk2","username":"undefined","topic":"t/2","opts":{"qos":0,"local":true}}"#,
            r#"{"action":"session_subscribed","client_id":"hk2","username":"undefined","topic":"t/2","opts":{"qos":0,"local":true}}"#,
        ],
    );
    // What was not subscribed.
    hk2.unsubscribe(&["t/3"]);
    expect(
        &sink,
        &[
            r#"{"action":"client_unsubscribe","client_id":"hk2","username":"undefined","topic":"t/3","opts":[]}"#,
        ],
    );
    nothing_more(&sink, &mut hk2);
}

#[test]
fn sessions_that_stay_and_are_taken_over() {
    let connected = HK1_CONNECTS[1];
    let left = r#"{"action":"client_disconnected","client_id":"hk1","username":"alice","reason":"normal"}"#;
    for version in ALL {
        let sink = Sink::start();
        let broker = start(&everything(&sink));
        let stays = Connect::persistent(version, "hk1").username("alice");
        broker.open(&stays).disconnect();
        expect(&sink, &[HK1_CONNECTS[0], connected, left]);
        // It comes back to its session.
        let mut old = broker.open(&stays);
        expect(&sink, &[connected]);
        // And over another connection: of the old one nothing is said.
        let mut new = broker.open(&stays);
        old.closed();
        expect(&sink, &[connected]);
        nothing_more(&sink, &mut new);
        // A clean one instead.
        let mut clean = broker.open(&Connect::new(version, "hk1").username("alice"));
        new.closed();
        expect(
            &sink,
            &[
                r#"{"action":"session_terminated","client_id":"hk1","username":"alice","reason":"conflict"}"#,
                HK1_CONNECTS[0],
                connected,
            ],
        );
        nothing_more(&sink, &mut clean);
    }
}

#[test]
fn ends_of_other_kinds() {
    let sink = Sink::start();
    let broker = start(&everything(&sink));
    // The will comes first.
    let will = Connect::new(Version::V311, "hk2").will(Will::new("t/w", "gone").qos(1));
    let client = broker.open(&will);
    expect(&sink, &HK2_CONNECTS);
    client.drop_connection();
    let terminated = r#"{"action":"session_terminated","client_id":"hk2","username":"undefined","reason":"normal"}"#;
    expect(
        &sink,
        &[
            r#"{"action":"message_publish","from_client_id":"hk2","from_username":"undefined","topic":"t/w","qos":1,"retain":false,"payload":"gone","ts":0}"#,
            r#"{"action":"client_disconnected","client_id":"hk2","username":"undefined","reason":"closed"}"#,
            terminated,
        ],
    );
    // Kicked.
    let mut client = broker.open(&Connect::new(Version::V311, "hk2"));
    expect(&sink, &HK2_CONNECTS);
    assert_eq!(broker.ctl(&["clients", "kick", "hk2"]).0, 0);
    client.closed();
    expect(
        &sink,
        &[
            r#"{"action":"client_disconnected","client_id":"hk2","username":"undefined","reason":"kick"}"#,
            terminated,
        ],
    );
    // Silent for too long.
    let mut client = broker.open(&Connect::new(Version::V311, "hk2").keep_alive(1));
    expect(&sink, &HK2_CONNECTS);
    client.closed();
    expect(
        &sink,
        &[
            r#"{"action":"client_disconnected","client_id":"hk2","username":"undefined","reason":"keepalive_timeout"}"#,
            terminated,
        ],
    );
}

/// Check 6. The original told that somebody without a name had gone.
#[test]
fn who_is_refused_is_not_told_of() {
    let sink = Sink::start();
    let config = Config::with_plugin(PLUGIN, &everything(&sink))
        .plugin_conf(
            "emq_auth_username",
            "auth.user.1.username = alice\nauth.user.1.password = right\n",
        )
        .loaded(&["emq_auth_username", PLUGIN])
        .set("mqtt.allow_anonymous", "false")
        .set("mqtt.max_clientid_len", "20")
        .acl("{deny, all, pubsub, [\"no/#\"]}.\n{allow, all}.\n");
    let broker = Broker::start(config);
    for version in ALL {
        let too_long = "x".repeat(21);
        for (id, password) in [("hk1", "wrong"), (&too_long, "right")] {
            let mut client = broker.raw(version);
            let connect = Connect::new(version, id)
                .username("alice")
                .password(password);
            client.send(&connect.encode());
            let code = client.closed();
            assert!(code.is_some_and(|code| code != 0), "{code:?}");
        }
        let mut hk1 = broker.open(
            &Connect::new(version, "hk1")
                .username("alice")
                .password("right"),
        );
        expect(&sink, &HK1_CONNECTS);
        // Nor is what may not be.
        let code = hk1.subscribe(&[Sub::new("no/1", 1)], &[])[0];
        assert!(code >= 0x80);
        hk1.pub_("no/1", 0, "x");
        hk1.ping();
        nothing_more(&sink, &mut hk1);
        hk1.disconnect();
        sink.wait_for(2);
        sink.take();
    }
}

/// Check 7, and all else that JSON does not take as it is.
#[test]
fn escapes() {
    let sink = Sink::start();
    let broker = start(&everything(&sink));
    for version in V3 {
        let mut client = broker.open(&Connect::new(version, "c\\1").username("é\"\\"));
        expect(
            &sink,
            &[
                r#"{"action":"session_created","client_id":"c\\1","username":"\u00e9\"\\"}"#,
                r#"{"action":"client_connected","client_id":"c\\1","username":"\u00e9\"\\","conn_ack":0}"#,
            ],
        );
        client.pub_(
            "t/ü\u{1f600}",
            1,
            "\0\u{1}\u{8}\t\n\u{c}\r\u{1f}/ €\u{ffff}\u{10ffff}",
        );
        expect(
            &sink,
            &[concat!(
                r#"{"action":"message_publish","from_client_id":"c\\1","from_username":"\u00e9\"\\","#,
                r#""topic":"t/\u00fc\ud83d\ude00","qos":1,"retain":false,"#,
                r#""payload":"\u0000\u0001\b\t\n\f\r\u001f/ \u20ac\uffff\udbff\udfff","ts":0}"#
            )],
        );
        client.disconnect();
        sink.wait_for(2);
        sink.take();
    }
    // Somebody whose name is empty, as that of plugins is: told apart from them. A message without a payload.
    let mut nobody = broker.open(&Connect::new(Version::V5, "c").username(""));
    nobody.pub_("t", 1, "");
    expect(
        &sink,
        &[
            r#"{"action":"session_created","client_id":"c","username":""}"#,
            r#"{"action":"client_connected","client_id":"c","username":"","conn_ack":0}"#,
            r#"{"action":"message_publish","from_client_id":"c","from_username":"undefined","topic":"t","qos":1,"retain":false,"payload":"","ts":0}"#,
        ],
    );
}

/// Check 4: bytes that are no text. The original closed the connection.
#[test]
fn payloads_of_bytes() {
    let sink = Sink::start();
    let broker = start(&everything(&sink));
    let (mut hk1, mut hk2) = two(&sink, &broker, 1);
    for (payload, wanted) in [
        (&b"\xff\xfe"[..], r"\ufffd\ufffd"),
        // half a character
        (b"a\xe2\x82b", r"a\ufffdb"),
        // a surrogate
        (b"\xed\xa0\x80\"", r#"\ufffd\ufffd\ufffd\""#),
        (b"\xff\x00", r"\ufffd\u0000"),
    ] {
        hk2.publish(Publish::new("t/1", payload).qos(1));
        hk1.recv_message();
        let message = format!(
            r#""from_client_id":"hk2","from_username":"undefined","topic":"t/1","qos":1,"retain":false,"payload":"{wanted}","ts":0,"payload_lossy":true}}"#
        );
        expect(
            &sink,
            &[
                &format!(r#"{{"action":"message_publish",{message}"#),
                &format!(
                    r#"{{"action":"message_delivered","client_id":"hk1","username":"alice",{message}"#
                ),
                &format!(
                    r#"{{"action":"message_acked","client_id":"hk1","username":"alice",{message}"#
                ),
            ],
        );
    }
    // They are still there, and nobody else noticed.
    hk2.pub_("t/1", 1, "text");
    hk1.expect("t/1", "text");
    let posts = sink.wait_for(3);
    assert!(!posts[0].text().contains("lossy"), "{}", posts[0].text());
}

#[test]
fn base64_for_all_or_for_a_rule() {
    let sink = Sink::start();
    let one = r#", "topic": "b/#", "encode_payload": "base64""#;
    let other = r#", "topic": "a/#", "encode_payload": "plain""#;
    let rules = rule("message.publish", 1, one) + &rule("message.publish", 2, other);
    for (all, wanted) in [("plain", "hi"), ("base64", "aGk=")] {
        let conf = url(&sink) + &rules + &rule("message.publish", 3, r#", "topic": "c/#""#);
        let broker = start(&format!(
            "{conf}web.hook.pool = 1\nweb.hook.encode_payload = {all}\n"
        ));
        let mut client = broker.client(Version::V311, "client");
        for (topic, payload) in [
            ("b/1", &b"\xff\xfe\x00"[..]),
            ("a/1", b"hi"),
            ("c/1", b"hi"),
        ] {
            client.publish(Publish::new(topic, payload).qos(1));
        }
        let posts = sink.wait_for(3);
        sink.take();
        assert_eq!(payloads(&posts), ["//4A", "hi", wanted]);
        assert!(posts.iter().all(|post| !post.text().contains("lossy")));
    }
}

/// A payload as large as a packet may be.
#[test]
fn a_large_payload() {
    let sink = Sink::start();
    let config = Config::with_plugin(PLUGIN, &publishes(&sink)).set("mqtt.max_packet_size", "2MB");
    let broker = Broker::start(config);
    let mut client = broker.client(Version::V5, "client");
    // Each byte becomes six.
    let payload = "\u{1}".repeat(1_000_000);
    client.pub_("t", 1, &payload);
    let posts = sink.wait_for(1);
    assert!(field(posts[0].text(), "payload") == r"\u0001".repeat(1_000_000));
}
