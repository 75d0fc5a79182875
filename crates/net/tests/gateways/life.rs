//! How virtual clients come and go.

use crate::world::*;
use emqttd_plugin_sdk::virtual_client::{ConnectOptions, Event, Outgoing, Refused, Will};
use emqttd_plugin_sdk::{Pipe, PipeEvents, QoS};
use std::sync::{Arc, mpsc};

fn with_will(clientid: &str) -> ConnectOptions {
    ConnectOptions::new(clientid).will(Will {
        topic: format!("will/{clientid}"),
        payload: b"gone".to_vec(),
        qos: QoS::AtLeastOnce,
        retain: false,
    })
}

#[test]
fn hooks_run_and_lists_show_them() {
    for shards in 1..=3 {
        let world = World::new(shards);
        let told = world.hooks();
        world.run(async {
            let options = ConnectOptions::new("d").credentials("tom", "x");
            let (client, mut events) = world.try_connect(7, options).await.unwrap();
            soon(client.subscribe(&[("a/+", QoS::AtLeastOnce)]))
                .await
                .unwrap();
            let message_out = Outgoing::new("a/b", "x").qos(QoS::AtLeastOnce);
            assert_eq!(soon(client.publish(&message_out)).await, Ok(0));
            let got = message(&mut events).await;
            assert!(client.ack(got.id));
            assert!(!client.ack(got.id));
            for line in [
                "created d",
                "connected d toy:udp 10.0.0.7:5000 0",
                "subscribe d a/+",
                "subscribed d a/+",
                "publish d a/b",
                "delivered d a/b",
                "acked d a/b",
            ] {
                told.until(line);
            }
            let row = world.broker.client("d").unwrap();
            assert_eq!(row.peername, device(7));
            assert_eq!((row.proto_ver, row.username.as_deref()), (4, Some("tom")));
            assert!(row.clean_sess);
            let session = world.broker.session("d").unwrap();
            assert_eq!((session.subscriptions, session.deliver_msg), (1, 1));
            let subscriptions = world.broker.subscriptions_of("d").unwrap();
            assert_eq!(
                (subscriptions[0].topic.as_str(), subscriptions[0].qos),
                ("a/+", 1)
            );
            assert_eq!(world.broker.clients().len(), 1);

            soon(client.unsubscribe(&["a/+"])).await.unwrap();
            told.until("unsubscribe d a/+");
            told.until("unsubscribed d a/+");
            soon(client.disconnect()).await;
            told.until("disconnected d normal");
            told.until("terminated d normal");
            assert_eq!(end(&mut events).await.reason, "normal");
            assert!(world.broker.client("d").is_none());
            let failed = soon(client.publish(&message_out)).await;
            assert_eq!(failed.unwrap_err().to_string(), "closed: normal");
        });
        world.until_left(&[]);
    }
}

#[test]
fn a_kick_is_told_and_the_will_is_published() {
    for shards in 1..=3 {
        let world = World::new(shards);
        let mut watcher = world.tcp("watcher");
        watcher.subscribe("will/+", emqttd_mqtt::QoS::AtMostOnce);
        world.run(async {
            let (client, mut events) = world.try_connect(1, with_will("k")).await.unwrap();
            world.broker.kick("k").unwrap();
            assert_eq!(end(&mut events).await.reason, "kick");
            assert!(client.is_closed());
            assert_eq!(watcher.message().0, "will/k");
            // With MQTT 5 the code of DISCONNECT is told too: administrative action.
            let (_client, mut events) = world.try_connect(1, with_will("k5").v5(0)).await.unwrap();
            world.broker.kick("k5").unwrap();
            let end = end(&mut events).await;
            assert_eq!((end.reason.as_str(), end.code), ("kick", Some(0x98)));
            assert_eq!(watcher.message().0, "will/k5");
        });
    }
}

#[test]
fn who_is_lost_leaves_a_will_and_who_says_goodbye_does_not() {
    let world = World::new(2);
    let told = world.hooks();
    let mut watcher = world.tcp("watcher");
    watcher.subscribe("will/+", emqttd_mqtt::QoS::AtMostOnce);
    world.run(async {
        let (client, _events) = world.try_connect(1, with_will("polite")).await.unwrap();
        soon(client.disconnect()).await;
        let (client, mut events) = world.try_connect(1, with_will("lost")).await.unwrap();
        // What was sent before is used before.
        soon(client.publish(&Outgoing::new("will/last-words", "x")))
            .await
            .unwrap();
        client.abort("asleep_timeout");
        assert_eq!(end(&mut events).await.reason, "asleep_timeout");
        told.until("disconnected lost asleep_timeout");
        assert_eq!(watcher.message().0, "will/last-words");
        assert_eq!(watcher.message().0, "will/lost");
        // The last handle is let go.
        let (client, events) = world.try_connect(1, with_will("dropped")).await.unwrap();
        drop(client.clone());
        assert!(!client.is_closed());
        drop((client, events));
        told.until("disconnected dropped closed");
        assert_eq!(watcher.message().0, "will/dropped");
    });
    world.until_left(&[("asleep_timeout", 1), ("closed", 1)]);
}

#[test]
fn a_will_is_changed_while_connected() {
    for conf in ["", "persistence.sync = always"] {
        let world = World::with(2, conf, toy());
        let mut watcher = world.tcp("watcher");
        watcher.subscribe("will/+", emqttd_mqtt::QoS::AtMostOnce);
        let other = |topic: &str| {
            Some(Will {
                topic: topic.into(),
                payload: b"changed".to_vec(),
                qos: QoS::AtLeastOnce,
                retain: false,
            })
        };
        world.run(async {
            let lasting = |id| with_will(id).clean(false);
            let (client, _events) = world.try_connect(1, lasting("changed")).await.unwrap();
            client.set_will(other("will/first")).unwrap();
            client.set_will(other("will/second")).unwrap();
            let refused = client.set_will(other("will/+")).unwrap_err();
            assert_eq!(
                refused.to_string(),
                "the topic of the will is not a topic name"
            );
            client.abort("closed");
            let (topic, payload) = watcher.message();
            assert_eq!((&*topic, &*payload), ("will/second", &b"changed"[..]));
            // One that had none, and is kicked.
            let (client, mut events) = world.connect(1, "kicked").await;
            client.set_will(other("will/new")).unwrap();
            soon(client.publish(&Outgoing::new("will/used", "x").qos(QoS::AtLeastOnce)))
                .await
                .unwrap();
            world.broker.kick("kicked").unwrap();
            assert_eq!(watcher.message().0, "will/used");
            assert_eq!(watcher.message().0, "will/new");
            end(&mut events).await;
            assert!(client.set_will(None).is_err());
            // Deleted, or dropped by a goodbye: what comes next is of somebody else.
            let (client, _events) = world.try_connect(1, lasting("deleted")).await.unwrap();
            client.set_will(None).unwrap();
            client.abort("closed");
            let (client, _events) = world.try_connect(1, lasting("polite")).await.unwrap();
            client.set_will(other("will/polite")).unwrap();
            soon(client.disconnect()).await;
            let (client, _events) = world.try_connect(1, lasting("last")).await.unwrap();
            client.abort("closed");
            assert_eq!(watcher.message().0, "will/last");
        });
    }
}

#[test]
fn takeover_in_both_directions() {
    for shards in 1..=3 {
        let world = World::new(shards);
        let told = world.hooks();
        world.run(async {
            for round in 0..8 {
                let id = format!("both{round}");
                // A session that lasts, made by the virtual client ...
                let lasting = || ConnectOptions::new(id.clone()).clean(false);
                let (client, mut events) = world.try_connect(1, lasting()).await.unwrap();
                soon(client.subscribe(&[("t", QoS::AtLeastOnce)]))
                    .await
                    .unwrap();
                // ... is taken over through a socket, ...
                let mut tcp = world.tcp_with(&id, false);
                assert_eq!(end(&mut events).await.reason, "conflict");
                told.until(&format!("disconnected {id} conflict"));
                let mut publisher = world.tcp("publisher");
                publisher.publish("t", b"one");
                assert_eq!(tcp.message(), ("t".to_string(), b"one".to_vec()));
                // ... and back: what was not acknowledged comes again.
                let (client, mut events) = world.try_connect(1, lasting()).await.unwrap();
                assert!(client.session_present());
                tcp.expect_end();
                let again = message(&mut events).await;
                assert_eq!((again.payload.as_slice(), again.dup), (&b"one"[..], true));
                assert!(client.ack(again.id));
                // Another virtual client takes over, too.
                let (other, _other_events) = world.try_connect(2, lasting()).await.unwrap();
                assert_eq!(end(&mut events).await.reason, "conflict");
                assert_eq!(world.broker.client(&id).unwrap().peername, device(2));
                soon(other.unsubscribe(&["t"])).await.unwrap();
                soon(other.disconnect()).await;
            }
        });
    }
}

#[test]
fn a_session_outlives_its_connections() {
    // With a store the acknowledgements of what lasts stand behind gates.
    for (shards, conf) in [(1, ""), (3, ""), (2, "persistence.sync = always")] {
        let world = World::with(shards, conf, toy());
        world.run(async {
            let lasting = || ConnectOptions::new("lasting").clean(false);
            let (client, events) = world.try_connect(1, lasting()).await.unwrap();
            assert!(!client.session_present());
            soon(client.subscribe(&[("q/+", QoS::ExactlyOnce)]))
                .await
                .unwrap();
            soon(client.disconnect()).await;
            drop((client, events));
            let (publisher, _events) = world.connect(2, "publisher").await;
            for n in 0..50 {
                let qos = [QoS::AtLeastOnce, QoS::ExactlyOnce][n % 2];
                let message = Outgoing::new(format!("q/{n}"), n.to_string()).qos(qos);
                assert_eq!(soon(publisher.publish(&message)).await, Ok(0));
            }
            // One that takes a few, acknowledges fewer, and is gone.
            let (client, mut events) = world.try_connect(1, lasting()).await.unwrap();
            assert!(client.session_present());
            for n in 0..10 {
                let got = message(&mut events).await;
                assert_eq!(got.topic, format!("q/{n}"));
                if n < 4 {
                    assert!(client.ack(got.id));
                }
            }
            drop((client, events));
            let (client, mut events) = world.try_connect(1, lasting()).await.unwrap();
            let mut topics = Vec::new();
            while topics.last().map(String::as_str) != Some("q/49") {
                let got = message(&mut events).await;
                client.ack(got.id);
                topics.push(got.topic);
            }
            // All that had not been acknowledged, once and in order.
            topics.retain(|topic| !["q/0", "q/1", "q/2", "q/3"].contains(&topic.as_str()));
            let wanted: Vec<String> = (4..50).map(|n| format!("q/{n}")).collect();
            assert_eq!(topics, wanted);
        });
    }
}

#[test]
fn when_the_plugin_goes_its_clients_go_with_their_wills() {
    for shards in 1..=3 {
        let world = World::new(shards);
        let mut watcher = world.tcp("watcher");
        watcher.subscribe("will/+", emqttd_mqtt::QoS::AtMostOnce);
        world.run(async {
            let mut clients = Vec::new();
            for n in 0..20 {
                let options = with_will(&n.to_string());
                clients.push(world.try_connect(n, options).await.unwrap());
            }
            assert_eq!(world.row().unwrap().current_clients, 20);
            // Nobody else can close it.
            let closed = world.broker.listener_stop(LISTENER.0, LISTENER.1);
            assert!(closed.unwrap_err().to_string().contains("plugin"));
            let broker = world.broker.clone();
            let gone = move || broker.plugin_listener_gone(LISTENER.0, LISTENER.1);
            tokio::task::spawn_blocking(gone).await.unwrap();
            for (client, events) in &mut clients {
                // It has been told when the call returns: nothing of the plugin's is called later.
                assert!(client.is_closed());
                assert_eq!(end(events).await.reason, "shutdown");
            }
            assert_eq!(world.row(), None);
            assert_eq!(world.broker.listeners().len(), 1);
            let mut wills: Vec<_> = (0..20).map(|_| watcher.message().0).collect();
            wills.sort();
            let mut wanted: Vec<_> = (0..20).map(|n| format!("will/{n}")).collect();
            wanted.sort();
            assert_eq!(wills, wanted);
            let refused = world.try_connect(1, ConnectOptions::new("late")).await;
            assert!(matches!(refused.err(), Some(Refused::NoPlace(_))));
            assert_eq!(world.broker.clients().len(), 1);
            // Loaded again.
            world.broker.plugin_listener(toy());
            world.connect(1, "late").await;
        });
    }
}

#[test]
fn a_stopping_broker_tells_them() {
    for shards in 1..=3 {
        let mut world = World::new(shards);
        let mut clients = Vec::new();
        for n in 0..10 {
            let options = ConnectOptions::new(n.to_string()).v5(0);
            clients.push(world.run(world.try_connect(n, options)).unwrap());
        }
        world.stop();
        for (_, events) in &mut clients {
            let end = world.run(end(events));
            assert_eq!((end.reason.as_str(), end.code), ("shutdown", Some(0x8b)));
        }
        let refused = world.run(world.try_connect(1, ConnectOptions::new("late")));
        assert!(matches!(refused.err(), Some(Refused::NoPlace(_))));
    }
}

#[test]
fn a_plugin_that_is_swapped_has_two_listeners_for_a_while() {
    let world = World::new(2);
    world.run(async {
        let (_old, mut old_events) = world.connect(1, "old").await;
        let newer = world.broker.plugin_listener(toy());
        let (new, mut new_events) = world.connect(2, "new").await;
        assert_eq!(newer.current(), 1);
        world.broker.plugin_listener_gone(LISTENER.0, LISTENER.1);
        assert_eq!(end(&mut old_events).await.reason, "shutdown");
        assert!(!new.is_closed());
        assert_eq!(world.row().unwrap().current_clients, 1);
        world.broker.close_plugin_listener(&newer);
        assert_eq!(end(&mut new_events).await.reason, "shutdown");
        assert_eq!(world.row(), None);
    });
}

/// Connections come, move, take each other over and go in all ways at once, from many threads.
#[test]
fn a_storm() {
    const TASKS: usize = 12;
    const ROUNDS: usize = 150;
    let world = Arc::new(World::new(3));
    let storm = |task: usize| {
        let world = Arc::clone(&world);
        async move {
            let mut ends = 0;
            for round in 0..ROUNDS {
                // Few client ids, so that they meet.
                let id = format!("c{}", (task * 7 + round * 5) % 5);
                let options = with_will(&id).clean((task + round).is_multiple_of(3));
                let (client, mut events) = match world.try_connect(task as u8, options).await {
                    Ok(connected) => connected,
                    // Displaced before its CONNACK was seen.
                    Err(Refused::Closed(_)) => continue,
                    Err(refused) => panic!("{refused}"),
                };
                let filters = [("will/+", QoS::AtLeastOnce)];
                let message = Outgoing::new("will/x", "x").qos(QoS::AtLeastOnce);
                // Each of these may find the connection displaced.
                let _ = soon(client.subscribe(&filters)).await;
                let _ = soon(client.publish(&message)).await;
                match (task + round) % 5 {
                    0 => soon(client.disconnect()).await,
                    1 => client.abort("device_lost"),
                    2 => world.broker.post_kick(&id),
                    3 => drop(client),
                    _ => {
                        drop((client, events));
                        continue;
                    }
                }
                // However it ended, it is told once.
                loop {
                    match soon(events.recv()).await {
                        Some(Event::Closed(_)) => break,
                        Some(Event::Message(_) | Event::Released { .. }) => {}
                        None => panic!("no end"),
                    }
                }
                assert_eq!(soon(events.recv()).await, None);
                ends += 1;
            }
            ends
        }
    };
    world.run(async {
        let tasks: Vec<_> = (0..TASKS).map(|n| tokio::spawn(storm(n))).collect();
        let mut ends = 0;
        for task in tasks {
            ends += task.await.unwrap();
        }
        assert!(ends > TASKS * ROUNDS / 2, "{ends}");
    });
    world.until(|broker| broker.clients().is_empty());
    world.until(|_| world.row().unwrap().current_clients == 0);
}

/// Tells of its end.
struct Ends(mpsc::Sender<String>);

impl PipeEvents for Ends {
    fn output(&mut self, bytes: &[u8]) -> usize {
        bytes.len()
    }
    fn room(&mut self) {}
    fn closed(&mut self, reason: &str) {
        self.0.send(reason.into()).unwrap();
    }
}

#[test]
fn one_that_never_connects_is_closed() {
    let world = World::with(2, "mqtt.client.idle_timeout = 1s", toy());
    let open = || -> (Arc<dyn Pipe>, mpsc::Receiver<String>) {
        let (sender, ends) = mpsc::channel();
        let pipe = world.broker.open_pipe(peer(1), Box::new(Ends(sender)));
        (pipe.unwrap(), ends)
    };
    let (silent, silent_end) = open();
    let (half, half_end) = open();
    assert_eq!(half.send(&[0x10, 20, 0, 4]), 4);
    let (wrong, wrong_end) = open();
    assert_eq!(wrong.send(&[0xC0, 0]), 2);
    let (dropped, dropped_end) = open();
    drop(dropped);
    assert_eq!(dropped_end.recv_timeout(DEADLINE).unwrap(), "closed");
    assert_eq!(
        wrong_end.recv_timeout(DEADLINE).unwrap(),
        "protocol_not_connected"
    );
    assert_eq!(silent_end.recv_timeout(DEADLINE).unwrap(), "idle_timeout");
    assert_eq!(half_end.recv_timeout(DEADLINE).unwrap(), "idle_timeout");
    // Nothing goes in any more.
    for pipe in [silent, half, wrong] {
        assert_eq!(pipe.send(b"x"), 0);
        pipe.close("late");
        pipe.resume();
    }
    world.until_left(&[
        ("closed", 1),
        ("idle_timeout", 2),
        ("protocol_not_connected", 1),
    ]);
}

#[test]
fn keep_alive_is_watched() {
    let world = World::new(2);
    world.run(async {
        let options = ConnectOptions::new("silent").keepalive(1);
        let (_client, mut events) = world.try_connect(1, options).await.unwrap();
        let options = ConnectOptions::new("lively").keepalive(1);
        let (lively, _events) = world.try_connect(1, options).await.unwrap();
        let pinging = async {
            let mut ticks = tokio::time::interval(std::time::Duration::from_millis(500));
            loop {
                ticks.tick().await;
                lively.ping();
            }
        };
        tokio::select! {
            _ = pinging => {}
            end = end(&mut events) => assert_eq!(end.reason, "keepalive_timeout"),
        }
        assert!(!lively.is_closed());
    });
}
