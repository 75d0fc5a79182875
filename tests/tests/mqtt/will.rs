//! Will messages.

use std::time::{Duration, Instant};

use emqttd_tests::{ALL, Client, Connect, Prop, Publish, Sub, Version, Will, unique};

use crate::broker;

/// Everything that the broker had to say because of the client `id` is said before what a new connection of
/// the same id says: one shard serves an id. So a marker of such a connection must be the next message.
#[track_caller]
fn no_will_from(watcher: &mut Client, v: Version, id: &str) {
    let mut again = broker().open(&Connect::new(v, id));
    watcher.nothing_from(&mut again);
}

/// [MQTT-3.1.2-7], [MQTT311-3.1.2-8]
#[test]
fn mqtt_3_1_2_8_lost_connection_publishes_the_will() {
    for v in ALL {
        for qos in 0..=2 {
            let topic = unique("will");
            let mut watcher = broker().client(v, "watch");
            watcher.sub(&topic, 2);
            let will = Will::new(&topic, "gone").qos(qos);
            broker()
                .open(&Connect::new(v, &unique("will")).will(will))
                .drop_connection();
            let message = watcher.expect(&topic, "gone");
            // [MQTT-3.1.2-14]
            assert_eq!((message.qos, message.retain), (qos, false), "{v}");
        }
    }
}

/// [MQTT-3.1.2-10]: the will is published once, not again when the session is used and lost later.
#[test]
fn mqtt_3_1_2_10_will_is_published_once() {
    for v in ALL {
        let topic = unique("once");
        let id = unique("once");
        let mut watcher = broker().client(v, "watch");
        watcher.sub(&topic, 1);
        broker()
            .open(&Connect::persistent(v, &id).will(Will::new(&topic, "gone")))
            .drop_connection();
        watcher.expect(&topic, "gone");
        broker()
            .open(&Connect::persistent(v, &id))
            .drop_connection();
        no_will_from(&mut watcher, v, &id);
    }
}

/// [MQTT-3.1.2-10]
#[test]
fn mqtt_3_14_4_3_disconnect_discards_the_will() {
    for v in ALL {
        let topic = unique("discard");
        let id = unique("discard");
        let mut watcher = broker().client(v, "watch");
        watcher.sub(&topic, 1);
        broker()
            .open(&Connect::new(v, &id).will(Will::new(&topic, "gone")))
            .disconnect();
        no_will_from(&mut watcher, v, &id);
    }
}

#[test]
fn mqtt5_3_1_2_8_disconnect_with_will_publishes_it() {
    let topic = unique("with");
    let mut watcher = broker().client(Version::V5, "watch");
    watcher.sub(&topic, 1);
    for code in [0x04, 0x80, 0x83] {
        let client = broker()
            .open(&Connect::new(Version::V5, &unique("with")).will(Will::new(&topic, "gone")));
        client.disconnect_with(code, &[]);
        watcher.expect(&topic, "gone");
    }
}

#[test]
fn mqtt_3_1_2_15_retained_will_is_retained() {
    for v in ALL {
        let topic = unique("retained");
        let mut watcher = broker().client(v, "watch");
        watcher.sub(&topic, 1);
        let will = Will::new(&topic, "gone").qos(1).retained();
        broker()
            .open(&Connect::new(v, &unique("retained")).will(will))
            .drop_connection();
        assert!(!watcher.expect(&topic, "gone").retain);
        let mut late = broker().client(v, "late");
        late.sub(&topic, 1);
        assert!(late.expect(&topic, "gone").retain, "{v}");
    }
}

#[test]
fn mqtt_3_1_2_14_will_without_retain_is_not_retained() {
    for v in ALL {
        let topic = unique("plain");
        let mut watcher = broker().client(v, "watch");
        watcher.sub(&topic, 1);
        broker()
            .open(&Connect::new(v, &unique("plain")).will(Will::new(&topic, "gone")))
            .drop_connection();
        watcher.expect(&topic, "gone");
        let mut late = broker().client(v, "late");
        late.sub(&topic, 1);
        late.nothing_from(&mut watcher);
    }
}

/// A retained will with an empty payload removes the retained message.
#[test]
fn mqtt_3_3_1_6_empty_retained_will_clears() {
    for v in ALL {
        let topic = unique("clears");
        let mut watcher = broker().client(v, "watch");
        watcher.publish(Publish::new(&topic, "kept").qos(1).retained());
        watcher.sub(&topic, 1);
        watcher.expect(&topic, "kept");
        broker()
            .open(&Connect::new(v, &unique("clears")).will(Will::new(&topic, "").retained()))
            .drop_connection();
        watcher.expect(&topic, "");
        let mut late = broker().client(v, "late");
        late.sub(&topic, 1);
        late.nothing_from(&mut watcher);
    }
}

#[test]
fn mqtt311_3_1_2_12_no_will_flag_no_will() {
    for v in ALL {
        let id = unique("nowill");
        let mut watcher = broker().client(v, "watch");
        watcher.sub(&format!("{id}/#"), 1);
        broker().open(&Connect::new(v, &id)).drop_connection();
        no_will_from(&mut watcher, v, &id);
    }
}

/// A protocol error, an expired keep alive and a kick lose the connection too.
#[test]
fn mqtt_3_1_2_8_every_way_of_losing_the_connection_counts() {
    for v in ALL {
        let topic = unique("ways");
        let mut watcher = broker().client(v, "watch");
        watcher.sub(&topic, 1);
        let open = |word: &str| {
            let id = unique(word);
            let will = Will::new(&topic, word);
            (
                broker().open(&Connect::new(v, &id).keep_alive(1).will(will)),
                id,
            )
        };
        let (mut client, _) = open("malformed");
        client.send(&[0x00, 0x00]);
        client.closed();
        watcher.expect(&topic, "malformed");
        let (mut client, _) = open("keepalive");
        client.closed();
        watcher.expect(&topic, "keepalive");
        let (mut client, id) = open("kick");
        assert_eq!(broker().ctl(&["clients", "kick", &id]), (0, String::new()));
        client.closed();
        watcher.expect(&topic, "kick");
    }
}

/// [MQTT-3.3.2-4], [MQTT-3.3.2-15], [MQTT-3.3.2-16], [MQTT-3.3.2-17], [MQTT-3.3.2-20]
#[test]
fn mqtt5_3_1_3_10_will_properties_are_passed_on() {
    let topic = unique("props");
    let mut watcher = broker().client(Version::V5, "watch");
    watcher.sub(&topic, 1);
    let props = [
        Prop::PayloadFormat(1),
        Prop::ContentType("text".into()),
        Prop::ResponseTopic("answer/here".into()),
        Prop::CorrelationData(vec![0, 255]),
        Prop::user("z", "1"),
        Prop::user("a", "2"),
        Prop::user("z", "3"),
    ];
    let mut will = Will::new(&topic, "gone")
        .qos(1)
        .prop(Prop::MessageExpiry(60))
        .prop(Prop::WillDelay(0));
    will.props.extend(props.clone());
    broker()
        .open(&Connect::new(Version::V5, &unique("props")).will(will))
        .drop_connection();
    let message = watcher.expect(&topic, "gone");
    for prop in props {
        assert!(message.props.0.contains(&prop), "{prop:?}");
    }
    assert_eq!(
        message
            .props
            .user()
            .iter()
            .map(|(_, v)| v.as_str())
            .collect::<Vec<_>>(),
        ["1", "2", "3"]
    );
    assert!((59..=60).contains(&message.props.message_expiry().unwrap()));
}

/// The delay passes, then the will comes; its expiry begins then.
#[test]
fn mqtt5_3_1_2_8_will_delay_passes_first() {
    let topic = unique("delay");
    let mut watcher = broker().client(Version::V5, "watch");
    watcher.sub(&topic, 1);
    let will = Will::new(&topic, "gone").prop(Prop::WillDelay(1));
    let connect = Connect::persistent(Version::V5, &unique("delay")).will(will);
    let start = Instant::now();
    broker().open(&connect).drop_connection();
    watcher.expect(&topic, "gone");
    let waited = start.elapsed();
    assert!(
        waited >= Duration::from_millis(950) && waited < Duration::from_millis(3000),
        "{waited:?}"
    );
}

/// The session ends before the delay: the will comes with the end.
#[test]
fn mqtt5_3_1_2_8_session_end_cuts_the_delay() {
    let topic = unique("cut");
    let mut watcher = broker().client(Version::V5, "watch");
    watcher.sub(&topic, 1);
    for expiry in [0, 1] {
        let will = Will::new(&topic, "gone").prop(Prop::WillDelay(1000));
        let connect = Connect::new(Version::V5, &unique("cut"))
            .prop(Prop::SessionExpiry(expiry))
            .will(will);
        let start = Instant::now();
        broker().open(&connect).drop_connection();
        watcher.expect(&topic, "gone");
        assert!(
            start.elapsed() >= Duration::from_millis(950) * expiry,
            "expiry {expiry}"
        );
    }
}

/// A clean start before the delay is over ends the session: the will comes at once.
#[test]
fn mqtt5_3_1_2_8_clean_start_cuts_the_delay() {
    let topic = unique("cleancut");
    let id = unique("cleancut");
    let mut watcher = broker().client(Version::V5, "watch");
    watcher.sub(&topic, 1);
    let will = Will::new(&topic, "gone").prop(Prop::WillDelay(1000));
    broker()
        .open(&Connect::persistent(Version::V5, &id).will(will))
        .drop_connection();
    let (_again, present, _) = broker().resume(&Connect::new(Version::V5, &id));
    assert!(!present);
    watcher.expect(&topic, "gone");
}

#[test]
fn mqtt5_3_1_3_9_new_connection_within_the_delay_stops_the_will() {
    let topic = unique("stops");
    let id = unique("stops");
    let mut watcher = broker().client(Version::V5, "watch");
    watcher.sub(&topic, 1);
    let will = Will::new(&topic, "gone").prop(Prop::WillDelay(1));
    broker()
        .open(&Connect::persistent(Version::V5, &id).will(will))
        .drop_connection();
    let (mut again, present, _) = broker().resume(&Connect::persistent(Version::V5, &id));
    assert!(present);
    // A second will of the same delay, begun later, arrives; the first never did.
    let other = unique("stops");
    watcher.sub(&other, 1);
    let will = Will::new(&other, "second").prop(Prop::WillDelay(1));
    broker()
        .open(&Connect::persistent(Version::V5, &unique("stops")).will(will))
        .drop_connection();
    watcher.expect(&other, "second");
    watcher.nothing_from(&mut again);
}

/// DISCONNECT from an old connection deletes only its own will: the new connection has a will of its own.
#[test]
fn mqtt_3_1_2_7_new_connection_brings_its_own_will() {
    for v in ALL {
        let topic = unique("own");
        let id = unique("own");
        let mut watcher = broker().client(v, "watch");
        watcher.sub(&topic, 1);
        broker()
            .open(&Connect::persistent(v, &id).will(Will::new(&topic, "first")))
            .disconnect();
        broker()
            .open(&Connect::persistent(v, &id).will(Will::new(&topic, "second")))
            .drop_connection();
        watcher.expect(&topic, "second");
    }
}

/// The will is a message like others for its own client's persistent subscription.
#[test]
fn mqtt_4_5_0_1_will_reaches_the_own_session() {
    for v in ALL {
        let topic = unique("self");
        let connect =
            Connect::persistent(v, &unique("self")).will(Will::new(&topic, "gone").qos(1));
        let mut client = broker().open(&connect);
        client.subscribe(&[Sub::new(&topic, 1)], &[]);
        client.drop_connection();
        let mut watcher = broker().open(&connect);
        watcher.expect(&topic, "gone");
    }
}

/// A broker that goes down in order publishes nothing for it; the sockets simply close.
#[test]
fn mqtt5_3_14_0_1_server_shutdown_says_why() {
    let mut broker = emqttd_tests::Broker::start(emqttd_tests::Config::new());
    let mut new = broker.client(Version::V5, "down");
    let mut old = broker.client(Version::V311, "down");
    assert!(broker.stop().success());
    assert_eq!(new.closed(), Some(0x8b));
    assert_eq!(old.closed(), None);
}
