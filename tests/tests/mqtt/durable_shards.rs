//! Sessions spread over several event loops, whose number changes between runs.

use emqttd_tests::{Broker, Client, Connect, Publish, Version, unique};

use crate::durable::{ENDS, again, config, figure, finish, leave, nothing_owed, settle};
use crate::shared::collect;

/// Numbers of event loops, one run after the other.
const RUNS: [&str; 5] = ["2", "3", "1", "3", "2"];

fn sharded(broker: &mut Broker, shards: &str) {
    broker.config = broker.config.clone().env("EMQ_NODE__SHARDS", shards);
}

/// Sessions, their messages, a group and retained messages find their way whatever the number of loops.
#[test]
fn number_of_event_loops_may_change() {
    for end in ENDS {
        let mut broker = Broker::start(config().env("EMQ_NODE__SHARDS", "2"));
        let topic = unique("shards");
        let sessions: Vec<Connect> = (0..12)
            .map(|i| leave(&broker, crate::durable::BOTH[i % 2], &topic, 2))
            .collect();
        let members: Vec<Connect> = (0..3)
            .map(|_| leave(&broker, Version::V5, &format!("$share/g/{topic}"), 1))
            .collect();
        for (round, shards) in RUNS.into_iter().enumerate() {
            broker.end(end);
            sharded(&mut broker, shards);
            broker.start_again();
            // From publishers on all loops, one after the other, so that there is one order.
            let mut expected = Vec::new();
            for i in 0..12 {
                let payload = format!("{round}.{i}");
                broker
                    .client(Version::V5, "pub")
                    .pub_(&topic, 1 + i % 2, &payload);
                expected.push(payload);
            }
            let retained = format!("{topic}retained");
            broker
                .client(Version::V311, "pub")
                .publish(Publish::new(&retained, shards).qos(1).retained());
            broker.restart(end);
            assert_eq!(figure(&broker, "messages_owed"), 13 * 12);
            for connect in &sessions {
                let mut client = again(&broker, connect);
                assert_eq!(client.payloads(12), expected, "{shards} shards");
                client.quiet();
            }
            let mut clients: Vec<Client> = members
                .iter()
                .map(|connect| again(&broker, connect))
                .collect();
            let mut got = collect(&mut clients, 12).concat();
            got.sort();
            expected.sort();
            assert_eq!(got, expected, "{shards} shards");
            for client in &mut clients {
                finish(client);
                settle(client);
            }
            let mut late = broker.client(Version::V5, "late");
            late.sub(&retained, 1);
            late.expect(&retained, shards);
            nothing_owed(&broker);
        }
    }
}

/// Many publishers at once, on all loops: each one's messages keep their order, in every session.
#[test]
fn order_of_each_publisher_holds_across_event_loops() {
    for (end, shards) in ENDS.into_iter().zip(["2", "3"]) {
        let mut broker = Broker::start(
            config()
                .env("EMQ_NODE__SHARDS", shards)
                .set("mqtt.mqueue.max_length", "0"),
        );
        let topic = unique("order");
        let sessions: Vec<Connect> = (0..6)
            .map(|_| leave(&broker, Version::V5, &format!("{topic}/+"), 2))
            .collect();
        let running = &broker;
        std::thread::scope(|scope| {
            for p in 0..6 {
                let topic = format!("{topic}/{p}");
                scope.spawn(move || {
                    let mut publisher = running.client(Version::V5, "pub");
                    for i in 0..100 {
                        publisher.pub_(&topic, 1 + i % 2, &i.to_string());
                    }
                });
            }
        });
        broker.restart(end);
        for connect in &sessions {
            let mut client = again(&broker, connect);
            let mut next = [0; 6];
            for _ in 0..600 {
                let message = client.recv_message();
                let publisher: usize = message.topic.rsplit('/').next().unwrap().parse().unwrap();
                assert_eq!(message.payload, next[publisher].to_string(), "{message:?}");
                next[publisher] += 1;
            }
            client.quiet();
        }
        nothing_owed(&broker);
    }
}
