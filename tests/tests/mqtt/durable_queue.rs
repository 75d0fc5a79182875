//! Queues longer than what is kept in memory, their bounds, and messages that expire, over restarts.

use std::time::{Duration, Instant};

use emqttd_tests::packet::AckKind;
use emqttd_tests::{Client, Config, Connect, Prop, Publish, Version, unique};

use crate::durable::{
    ENDS, again, config, each, eventually, figure, leave, nothing_owed, settle, settled, until,
};

/// More than one page and much more than what is kept in memory.
const MANY: usize = 1000;

fn unbounded() -> Config {
    config()
        .set("mqtt.mqueue.max_length", "0")
        .set("mqtt.session.max_inflight", "10")
}

/// Publishes the numbers `from..to` as payloads, at QoS 1 and 2 by turns, waiting for the last.
#[track_caller]
fn publish_numbers(publisher: &mut Client, topic: &str, from: usize, to: usize) {
    for i in from..to {
        let qos = 1 + (i % 2) as u8;
        publisher.pub_(topic, qos, &i.to_string());
    }
}

#[test]
fn long_queue_is_resumed_in_order_within_the_window() {
    each(unbounded, |broker, end, v| {
        let topic = unique("long");
        let mut connect = leave(broker, v, &topic, 1);
        publish_numbers(&mut broker.client(v, "pub"), &topic, 0, MANY);
        broker.restart(end);
        assert_eq!(figure(broker, "messages_owed"), MANY as u64);
        connect = connect.prop(Prop::ReceiveMaximum(10));
        let mut client = again(broker, &connect);
        // The window, and not one more.
        let window: Vec<_> = (0..10).map(|_| client.recv_publish()).collect();
        client.quiet();
        for (i, message) in window.iter().enumerate() {
            assert_eq!(message.payload, i.to_string());
            client.acknowledge(message);
        }
        for i in 10..500 {
            client.expect(&topic, &i.to_string());
        }
        settle(&mut client);
        broker.restart(end);
        drop(client);
        let mut client = again(broker, &connect);
        for i in 500..MANY {
            let message = client.expect(&topic, &i.to_string());
            assert_eq!(message.dup, i < 510, "{i}");
        }
        client.quiet();
        drop(client);
        nothing_owed(broker);
    });
}

/// What is published while a long queue is being read goes behind it.
#[test]
fn publishes_while_a_long_queue_is_read() {
    each(unbounded, |broker, end, v| {
        let topic = unique("meanwhile");
        let connect = leave(broker, v, &topic, 2);
        let mut publisher = broker.client(v, "pub");
        publish_numbers(&mut publisher, &topic, 0, 300);
        broker.restart(end);
        let mut publisher = broker.client(v, "pub");
        let mut client = again(broker, &connect);
        for i in 0..600 {
            client.expect(&topic, &i.to_string());
            if i < 300 {
                publish_numbers(&mut publisher, &topic, 300 + i, 301 + i);
            }
        }
        client.nothing_from(&mut publisher);
    });
}

/// The client goes and comes amid its queue, the broker too; nothing is missing, out of turn or twice.
#[test]
fn long_queue_in_many_pieces() {
    for end in ENDS {
        let mut broker = emqttd_tests::Broker::start(unbounded());
        let topic = unique("pieces");
        let connect = leave(&broker, Version::V5, &topic, 2);
        publish_numbers(&mut broker.client(Version::V5, "pub"), &topic, 0, 700);
        let mut next = 0;
        let mut seen = 0;
        let mut round = 0;
        while next < 700 {
            let mut client = again(&broker, &connect);
            for i in next..(next + 70).min(700) {
                let message = client.expect(&topic, &i.to_string());
                assert!(!message.dup || i < seen, "{i} never came before");
            }
            next = (next + 70).min(700);
            seen = next + 10;
            settle(&mut client);
            match round % 3 {
                0 => client.drop_connection(),
                1 => client.disconnect(),
                _ => {}
            }
            if round % 2 == 0 {
                broker.restart(end);
            }
            round += 1;
        }
        again(&broker, &connect).quiet();
        nothing_owed(&broker);
    }
}

/// `mqtt.mqueue.max_length` holds for what is on disk as well; the oldest goes.
#[test]
fn full_queue_drops_the_oldest_over_a_restart() {
    let config = || config().set("mqtt.mqueue.max_length", "100");
    each(config, |broker, end, v| {
        let topic = unique("full");
        let connect = leave(broker, v, &topic, 2);
        publish_numbers(&mut broker.client(v, "pub"), &topic, 0, 300);
        let shown = |broker: &emqttd_tests::Broker| {
            let (_, text) = broker.ctl(&["sessions", "show", &connect.client_id]);
            assert!(text.contains("mqueue_len=100,"), "{text}");
        };
        shown(broker);
        settled(broker);
        broker.restart(end);
        assert_eq!(figure(broker, "messages_owed"), 100);
        shown(broker);
        publish_numbers(&mut broker.client(v, "pub"), &topic, 300, 350);
        shown(broker);
        settled(broker);
        broker.restart(end);
        let mut client = again(broker, &connect);
        for i in 250..350 {
            client.expect(&topic, &i.to_string());
        }
        client.quiet();
        drop(client);
        nothing_owed(broker);
    });
}

/// A bound made smaller between two runs is kept by the second.
#[test]
fn smaller_bound_after_a_restart() {
    for end in ENDS {
        let mut broker = emqttd_tests::Broker::start(unbounded());
        let topic = unique("smaller");
        let connect = leave(&broker, Version::V311, &topic, 1);
        publish_numbers(&mut broker.client(Version::V311, "pub"), &topic, 0, 300);
        broker.end(end);
        broker.config = broker.config.clone().set("mqtt.mqueue.max_length", "50");
        broker.start_again();
        publish_numbers(&mut broker.client(Version::V311, "pub"), &topic, 300, 301);
        eventually("the oldest go", || figure(&broker, "messages_owed") == 50);
        let mut client = again(&broker, &connect);
        for i in 251..301 {
            client.expect(&topic, &i.to_string());
        }
        client.quiet();
    }
}

#[test]
fn bound_in_bytes_holds_over_a_restart() {
    let config = || unbounded().set("mqtt.mqueue.max_bytes", "100KB");
    each(config, |broker, end, v| {
        let topic = unique("bytes");
        let connect = leave(broker, v, &topic, 1);
        let payload = |i: usize| format!("{i}:{}", "x".repeat(1000));
        for range in [0..200, 200..300] {
            let mut publisher = broker.client(v, "pub");
            for i in range {
                publisher.pub_(&topic, 1, &payload(i));
            }
            settled(broker);
            broker.restart(end);
        }
        let count = figure(broker, "messages_owed") as usize;
        assert!((85..=101).contains(&count), "{count}");
        let mut client = again(broker, &connect);
        for i in 300 - count..300 {
            client.expect(&topic, &payload(i));
        }
        client.quiet();
    });
}

#[test]
fn priorities_hold_over_a_restart() {
    let config = || {
        config()
            .set("mqtt.mqueue.type", "priority")
            .set("mqtt.mqueue.priority", "urgent=10,soon=5")
    };
    each(config, |broker, end, v| {
        let connect = Connect::persistent(v, &unique("priority"));
        let mut client = broker.open(&connect);
        for topic in ["urgent", "soon", "whenever"] {
            client.sub(topic, 1);
        }
        client.disconnect();
        let mut publisher = broker.client(v, "pub");
        for i in 0..20 {
            for topic in ["whenever", "soon", "urgent"] {
                publisher.pub_(topic, 1, &format!("{topic}{i}"));
            }
        }
        broker.restart(end);
        let mut client = again(broker, &connect);
        let got = client.payloads(60);
        let all: Vec<String> = ["urgent", "soon", "whenever"]
            .iter()
            .flat_map(|topic| (0..20).map(move |i| format!("{topic}{i}")))
            .collect();
        assert_eq!(got, all);
        client.quiet();
    });
}

/// Messages expire while the broker is down; the others say how much of their time is left.
#[test]
fn messages_expire_while_the_broker_is_down() {
    for end in ENDS {
        let mut broker = emqttd_tests::Broker::start(config());
        let topic = unique("expire");
        let connect = leave(&broker, Version::V5, &topic, 2);
        let mut publisher = broker.client(Version::V5, "pub");
        for (payload, qos, expiry) in [
            ("short 1", 1, Some(1)),
            ("long", 2, Some(100)),
            ("short 2", 2, Some(1)),
            ("endless", 1, None),
        ] {
            let mut publish = Publish::new(&topic, payload).qos(qos);
            publish.props.extend(expiry.map(Prop::MessageExpiry));
            publisher.publish(publish);
        }
        let published = Instant::now();
        broker.end(end);
        until(published + Duration::from_millis(1200));
        broker.start_again();
        let mut client = again(&broker, &connect);
        let message = client.expect(&topic, "long");
        let left = message.props.message_expiry().unwrap();
        assert!((80..=99).contains(&left), "{left}");
        assert_eq!(
            client.expect(&topic, "endless").props.message_expiry(),
            None
        );
        client.quiet();
        drop(client);
        nothing_owed(&broker);
    }
}

/// A message of a long queue that was never in memory expires too.
#[test]
fn messages_expire_on_disk() {
    for end in ENDS {
        let mut broker = emqttd_tests::Broker::start(unbounded());
        let topic = unique("ondisk");
        let connect = leave(&broker, Version::V5, &topic, 1);
        let mut publisher = broker.client(Version::V5, "pub");
        for i in 0..300 {
            let mut publish = Publish::new(&topic, i.to_string()).qos(1);
            if i % 3 != 0 {
                publish = publish.prop(Prop::MessageExpiry(1));
            }
            publisher.publish(publish);
        }
        let published = Instant::now();
        broker.restart(end);
        until(published + Duration::from_millis(1200));
        let mut client = again(&broker, &connect);
        for i in (0..300).step_by(3) {
            client.expect(&topic, &i.to_string());
        }
        client.quiet();
        drop(client);
        nothing_owed(&broker);
    }
}

/// All that a message carries is there after a restart.
#[test]
fn properties_survive() {
    for end in ENDS {
        let mut broker = emqttd_tests::Broker::start(config());
        let topic = unique("props");
        let connect = leave(&broker, Version::V5, &topic, 2);
        let props = [
            Prop::PayloadFormat(1),
            Prop::ContentType("text/plain".into()),
            Prop::ResponseTopic("answer/here".into()),
            Prop::CorrelationData(vec![0, 255, 10]),
            Prop::user("z", "1"),
            Prop::user("a", "2"),
            Prop::user("z", "3"),
        ];
        let mut publisher = broker.client(Version::V5, "pub");
        let mut publish = Publish::new(&topic, "x").qos(2);
        publish.props.extend(props.clone());
        publisher.publish(publish);
        publisher.publish(Publish::new(&topic, "").qos(1));
        broker.restart(end);
        let mut client = again(&broker, &connect);
        let message = client.expect(&topic, "x");
        assert_eq!(message.props.0, props);
        assert!(client.expect(&topic, "").props.0.is_empty());
    }
}

/// Space on disk comes back while the broker runs, whatever the order of acknowledgements.
#[test]
fn space_comes_back() {
    let config = || config().set("mqtt.max_packet_size", "1MB");
    each(config, |broker, end, v| {
        let topic = unique("space");
        let connect = Connect::persistent(v, &unique("space"));
        let mut client = broker.open(&connect);
        client.sub(&topic, 1);
        let mut publisher = broker.client(v, "pub");
        let body = "x".repeat(100_000);
        let begun = figure(broker, "disk_bytes");
        for i in 0..200 {
            publisher.pub_(&topic, 1, &format!("{i}:{body}"));
            let message = client.recv_publish();
            client.send_ack(AckKind::Puback, message.id.unwrap());
        }
        // 20 MB have passed by.
        eventually("the space comes back", || {
            figure(broker, "disk_bytes") <= begun + (3 << 20)
        });
        // The last acknowledgements are on disk as well: no answer told of that.
        nothing_owed(broker);
        broker.restart(end);
        again(broker, &connect).quiet();
        assert!(figure(broker, "disk_bytes") <= begun + (4 << 20));
    });
}
