//! Retained messages and wills over restarts.

use std::time::{Duration, Instant};

use emqttd_tests::{Broker, Client, Connect, End, Prop, Publish, Version, Will, unique};

use crate::durable::{ENDS, again, config, each, eventually, leave, settle, settled, until};

/// What a new subscriber gets of `topic`, which must be `wanted`.
#[track_caller]
fn retained(broker: &Broker, v: Version, topic: &str, wanted: Option<(&str, u8)>) {
    let mut publisher = broker.client(v, "pub");
    let mut client = broker.client(v, "late");
    client.sub(topic, 2);
    if let Some((payload, qos)) = wanted {
        let message = client.expect(topic, payload);
        assert!(message.retain && !message.dup, "{message:?}");
        assert_eq!(message.qos, qos, "{topic}");
    }
    client.nothing_from(&mut publisher);
}

#[test]
fn retained_messages_survive() {
    each(config, |broker, end, v| {
        let base = unique("retained");
        let topics: Vec<String> = (0..3).map(|qos| format!("{base}/{qos}")).collect();
        let [replaced, removed] = ["replaced", "removed"].map(|word| format!("{base}/{word}"));
        let mut publisher = broker.client(v, "pub");
        for (qos, topic) in (0..).zip(&topics) {
            publisher.publish(Publish::new(topic, "kept").qos(qos).retained());
        }
        for payload in ["old", "new"] {
            publisher.publish(Publish::new(&replaced, payload).qos(1).retained());
        }
        for payload in ["x", ""] {
            publisher.publish(Publish::new(&removed, payload).qos(1).retained());
        }
        for _ in 0..2 {
            broker.restart(end);
            for (qos, topic) in (0..).zip(&topics) {
                retained(broker, v, topic, Some(("kept", qos)));
            }
            retained(broker, v, &replaced, Some(("new", 1)));
            retained(broker, v, &removed, None);
        }
        // What another run of the broker has left is removed and replaced as any.
        let mut publisher = broker.client(v, "pub");
        publisher.publish(Publish::new(&topics[1], "").qos(1).retained());
        publisher.publish(Publish::new(&topics[2], "anew").qos(1).retained());
        broker.restart(end);
        retained(broker, v, &topics[1], None);
        retained(broker, v, &topics[2], Some(("anew", 1)));
    });
}

/// A retained message of QoS 0 that the broker has taken is on disk with the next acknowledgement.
#[test]
fn retained_properties_survive_and_messages_expire() {
    for end in ENDS {
        let mut broker = Broker::start(config());
        let [short, long] = ["short", "long"].map(unique);
        let mut publisher = broker.client(Version::V5, "pub");
        for (topic, expiry) in [(&short, 1), (&long, 100)] {
            publisher.publish(
                Publish::new(topic, "x")
                    .qos(1)
                    .retained()
                    .prop(Prop::MessageExpiry(expiry))
                    .prop(Prop::ContentType("text".into()))
                    .prop(Prop::user("a", "b")),
            );
        }
        let published = Instant::now();
        broker.end(end);
        until(published + Duration::from_millis(1200));
        broker.start_again();
        retained(&broker, Version::V5, &short, None);
        let mut client = broker.client(Version::V5, "late");
        client.sub(&long, 1);
        let message = client.expect(&long, "x");
        assert_eq!(message.props.content_type().as_deref(), Some("text"));
        assert_eq!(message.props.user(), [("a".into(), "b".into())]);
        let left = message.props.message_expiry().unwrap();
        assert!((80..=99).contains(&left), "{left}");
    }
}

/// A retained message that waits in a session's queue is owed to it like any; its flag is kept.
#[test]
fn retained_flag_of_what_waits_survives() {
    each(config, |broker, end, v| {
        let topic = unique("replay");
        let mut publisher = broker.client(v, "pub");
        publisher.publish(Publish::new(&topic, "kept").qos(1).retained());
        let connect = Connect::persistent(v, &unique("replay"));
        let mut client = broker.open(&connect);
        client.sub(&topic, 1);
        let first = client.recv_publish();
        assert!(first.retain);
        settle(&mut client);
        broker.restart(end);
        let mut client = again(broker, &connect);
        let message = client.expect(&topic, "kept");
        assert!(message.retain && message.dup, "{message:?}");
        assert_eq!(message.id, first.id);
        client.quiet();
    });
}

/// `$SYS` is said anew by each run, and nothing of it is stored.
#[test]
fn many_retained_messages_survive() {
    for end in ENDS {
        let mut broker = Broker::start(config());
        let base = unique("many");
        let mut publisher = broker.client(Version::V311, "pub");
        for i in 0..500 {
            publisher.publish(
                Publish::new(&format!("{base}/{i}"), i.to_string())
                    .qos(1)
                    .retained(),
            );
        }
        broker.restart(end);
        let mut client = broker.client(Version::V311, "late");
        client.sub(&format!("{base}/#"), 1);
        let mut got: Vec<usize> = client
            .payloads(500)
            .iter()
            .map(|payload| payload.parse().unwrap())
            .collect();
        got.sort_unstable();
        assert_eq!(got, (0..500).collect::<Vec<_>>());
    }
}

/// A client with a will was connected when the broker ended: it lost its connection, so the will is due.
#[test]
fn will_of_a_connected_client_is_published() {
    each(config, |broker, end, v| {
        let topic = unique("will");
        let watcher = leave(broker, v, &topic, 2);
        let connect = Connect::persistent(v, &unique("will"));
        let will = Will::new(&topic, "gone").qos(1).retained();
        let client = broker.open(&connect.clone().will(will));
        let left = broker
            .open(&Connect::persistent(v, &unique("left")).will(Will::new(&topic, "left").qos(1)));
        left.disconnect();
        settled(broker);
        broker.restart(end);
        drop(client);
        let mut watcher = again(broker, &watcher);
        let message = watcher.expect(&topic, "gone");
        assert_eq!(message.qos, 1);
        retained(broker, v, &topic, Some(("gone", 1)));
        // Once: not with the next connection, and not with the next restart.
        let mut client = again(broker, &connect);
        watcher.nothing_from(&mut client);
        client.disconnect();
        let id = watcher.name.clone();
        watcher.disconnect();
        broker.restart(end);
        let mut watcher = again(broker, &Connect::persistent(v, &id));
        watcher.nothing_from(&mut broker.client(v, "pub"));
    });
}

/// Expects `payload` on `topic`, not before `due`, and not much later.
#[track_caller]
fn expect_when_due(watcher: &mut Client, topic: &str, payload: &str, due: Instant) {
    watcher.expect(topic, payload);
    let now = Instant::now();
    assert!(
        now + Duration::from_millis(100) >= due && now < due + Duration::from_secs(3),
        "{:?} before, {:?} after it was due",
        due.saturating_duration_since(now),
        now.saturating_duration_since(due)
    );
}

/// A will that waits for its delay waits on over a restart.
#[test]
fn will_delay_goes_on_over_a_restart() {
    for end in ENDS {
        let mut broker = Broker::start(config());
        let topic = unique("delay");
        let watcher = leave(&broker, Version::V5, &topic, 2);
        let will = |payload: &str, delay| {
            Will::new(&topic, payload)
                .qos(2)
                .prop(Prop::WillDelay(delay))
                .prop(Prop::MessageExpiry(50))
                .prop(Prop::user("a", "b"))
        };
        let returns = Connect::persistent(Version::V5, &unique("returns"));
        let lost = Connect::persistent(Version::V5, &unique("lost"));
        for (connect, payload) in [(&returns, "withdrawn"), (&lost, "gone")] {
            broker
                .open(&connect.clone().will(will(payload, 3)))
                .drop_connection();
        }
        let due = Instant::now() + Duration::from_secs(3);
        // The broker has noticed.
        eventually("both are away", || {
            broker.ctl(&["clients", "list"]).1.is_empty()
        });
        settled(&broker);
        broker.restart(end);
        // Back in time, so its will is withdrawn.
        let mut back = again(&broker, &returns);
        let mut watcher = again(&broker, &watcher);
        watcher.nothing_from(&mut back);
        watcher.quiet();
        let message = {
            let message = watcher.recv_message();
            let now = Instant::now();
            assert!(
                now + Duration::from_millis(100) >= due,
                "{:?} too early",
                due - now
            );
            assert!(now < due + Duration::from_secs(3), "{:?} late", now - due);
            message
        };
        assert_eq!((message.payload.as_str(), message.qos), ("gone", 2));
        // Its own time began when it was published.
        assert!((49..=50).contains(&message.props.message_expiry().unwrap()));
        assert_eq!(message.props.user(), [("a".into(), "b".into())]);
        watcher.nothing_from(&mut back);
    }
}

/// The delay was over while the broker was down: the will is published at the start.
#[test]
fn will_that_was_due_meanwhile_is_published_at_the_start() {
    for end in ENDS {
        let mut broker = Broker::start(config());
        let topic = unique("due");
        let watcher = leave(&broker, Version::V5, &topic, 1);
        let will = Will::new(&topic, "gone").qos(1).prop(Prop::WillDelay(1));
        let connect = Connect::persistent(Version::V5, &unique("due"));
        broker.open(&connect.clone().will(will)).drop_connection();
        eventually("it is away", || {
            broker.ctl(&["clients", "list"]).1.is_empty()
        });
        let left = Instant::now();
        settled(&broker);
        broker.end(end);
        until(left + Duration::from_millis(1300));
        broker.start_again();
        let mut watcher = again(&broker, &watcher);
        watcher.expect(&topic, "gone");
        let mut back = again(&broker, &connect);
        watcher.nothing_from(&mut back);
    }
}

/// A client that was connected at the kill gets its delay, counted from the start; one whose session ends
/// before that has its will published with the end.
#[test]
fn will_delay_of_a_connected_client_begins_with_the_start() {
    let mut broker = Broker::start(config());
    let topic = unique("begins");
    let watcher = leave(&broker, Version::V5, &topic, 1);
    let open = |broker: &Broker, payload: &str, expiry, delay| {
        let will = Will::new(&topic, payload)
            .qos(1)
            .prop(Prop::WillDelay(delay));
        broker.open(
            &Connect::new(Version::V5, &unique(payload))
                .prop(Prop::SessionExpiry(expiry))
                .will(will),
        )
    };
    let first = open(&broker, "delayed", 3600, 1);
    let second = open(&broker, "ended", 2, 1000);
    settled(&broker);
    broker.end(End::Kill);
    drop((first, second));
    let before = Instant::now();
    broker.start_again();
    let mut watcher = again(&broker, &watcher);
    expect_when_due(
        &mut watcher,
        &topic,
        "delayed",
        before + Duration::from_secs(1),
    );
    expect_when_due(
        &mut watcher,
        &topic,
        "ended",
        before + Duration::from_secs(2),
    );
}

/// Its session has expired while the broker was down: the will comes with the start.
#[test]
fn will_of_a_session_that_expired_meanwhile() {
    for end in ENDS {
        let mut broker = Broker::start(config());
        let topic = unique("expired");
        let watcher = leave(&broker, Version::V5, &topic, 1);
        let will = Will::new(&topic, "gone").qos(1).prop(Prop::WillDelay(1000));
        let connect = Connect::new(Version::V5, &unique("expired"))
            .prop(Prop::SessionExpiry(1))
            .will(will);
        broker.open(&connect).drop_connection();
        eventually("it is away", || {
            broker.ctl(&["clients", "list"]).1.is_empty()
        });
        let left = Instant::now();
        settled(&broker);
        broker.end(end);
        until(left + Duration::from_millis(1300));
        broker.start_again();
        again(&broker, &watcher).expect(&topic, "gone");
        let (_, present, _) = broker.resume(&connect.clean(false));
        assert!(!present);
    }
}
