//! Messages in both directions.

use crate::world::*;
use emqttd_plugin_sdk::virtual_client::{ConnectOptions, Event, Outgoing};
use emqttd_plugin_sdk::{QoS, RetainSettings, RetainStorage};
use std::collections::HashMap;
use std::time::Duration;

#[test]
fn every_qos_goes_both_ways() {
    for shards in 1..=3 {
        let world = World::new(shards);
        let told = world.hooks();
        world.run(async {
            let (client, mut events) = world.connect(1, "d").await;
            let filters = ["t/0", "t/1", "t/2"];
            let all = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
            for (filter, qos) in filters.into_iter().zip(all) {
                let codes = soon(client.subscribe(&[(filter, qos)])).await.unwrap();
                assert_eq!(codes, [qos as u8]);
            }
            for (topic, qos) in filters.into_iter().zip(all) {
                let out = Outgoing::new(topic, "x").qos(qos);
                assert_eq!(soon(client.publish(&out)).await, Ok(0));
                let got = message(&mut events).await;
                assert_eq!((got.topic.as_str(), got.qos, got.dup), (topic, qos, false));
                assert_eq!(got.id == 0, qos == QoS::AtMostOnce);
                assert_eq!(client.ack(got.id), qos != QoS::AtMostOnce);
                if qos != QoS::AtMostOnce {
                    told.until(&format!("acked d {topic}"));
                }
            }
            // At QoS 2 the flow ends without the gateway: nothing is left under way.
            told_to_be_done(&world, "d").await;
            assert_eq!(events.try_recv(), None);
            // Retained messages come with their flag.
            retain(&world).await;
            let kept = Outgoing::new("kept", "x").retain(true);
            soon(client.publish(&kept)).await.unwrap();
            soon(client.subscribe(&[("kept", QoS::AtMostOnce)]))
                .await
                .unwrap();
            assert!(message(&mut events).await.retain);
            // A large one comes in many pieces.
            let large = Outgoing::new("t/1", vec![b'x'; 60_000]).qos(QoS::ExactlyOnce);
            assert_eq!(soon(client.publish(&large)).await, Ok(0));
            assert_eq!(message(&mut events).await.payload, large.payload);
            // What cannot be said is not.
            assert!(
                soon(client.publish(&Outgoing::new("a/+", "x")))
                    .await
                    .is_err()
            );
            assert!(!client.is_closed());
        });
    }
}

/// Has the broker keep retained messages, as the plugin for them does.
async fn retain(world: &World) {
    let settings = RetainSettings {
        storage: RetainStorage::Ram,
        max_message_num: 0,
        max_payload_size: 0,
        expiry_interval: Duration::ZERO,
    };
    let broker = world.broker.clone();
    let retaining = tokio::task::spawn_blocking(move || broker.retain(Some(settings)));
    retaining.await.unwrap().unwrap();
}

/// Waits until nothing of the session is in flight.
async fn told_to_be_done(world: &World, clientid: &str) {
    let (broker, id) = (world.broker.clone(), clientid.to_string());
    soon(async move {
        loop {
            let (broker, id) = (broker.clone(), id.clone());
            let session = tokio::task::spawn_blocking(move || broker.session(&id));
            if session.await.unwrap().unwrap().inflight == 0 {
                return;
            }
        }
    })
    .await;
}

#[test]
fn a_device_with_a_qos_2_of_its_own() {
    let world = World::new(2);
    world.run(async {
        let mut options = ConnectOptions::new("sn");
        options.release_by_hand = true;
        let (client, mut events) = world.try_connect(1, options).await.unwrap();
        soon(client.subscribe(&[("t", QoS::ExactlyOnce)]))
            .await
            .unwrap();
        let out = Outgoing::new("t", "x").qos(QoS::ExactlyOnce);
        soon(client.publish(&out)).await.unwrap();
        let id = message(&mut events).await.id;
        assert!(!client.complete(id));
        assert!(client.ack(id));
        assert_eq!(soon(events.recv()).await, Some(Event::Released { id }));
        assert_eq!(world.broker.session("sn").unwrap().inflight, 1);
        assert!(client.complete(id));
        assert!(!client.complete(id));
        told_to_be_done(&world, "sn").await;
    });
}

#[test]
fn many_clients_on_all_shards() {
    const CLIENTS: usize = 60;
    const EACH: usize = 100;
    for shards in 2..=3 {
        let world = World::new(shards);
        world.run(async {
            let mut tasks = Vec::new();
            let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(CLIENTS));
            for n in 0..CLIENTS {
                let (client, mut events) = world.connect(n as u8, &format!("c{n}")).await;
                let barrier = barrier.clone();
                tasks.push(tokio::spawn(async move {
                    soon(client.subscribe(&[(&format!("to/{n}/+"), QoS::AtLeastOnce)]))
                        .await
                        .unwrap();
                    barrier.wait().await;
                    let publisher = client.clone();
                    let sending = tokio::spawn(async move {
                        for k in 0..EACH {
                            let to = (n + k + 1) % CLIENTS;
                            let topic = format!("to/{to}/{n}");
                            let message = Outgoing::new(topic, k.to_string());
                            let message = message.qos(QoS::AtLeastOnce);
                            assert_eq!(soon(publisher.publish(&message)).await, Ok(0));
                        }
                    });
                    // Of each sender all of his messages, in order.
                    let mut last: HashMap<String, usize> = HashMap::new();
                    for _ in 0..EACH {
                        let got = message(&mut events).await;
                        assert!(client.ack(got.id));
                        let k: usize = String::from_utf8(got.payload).unwrap().parse().unwrap();
                        let before = last.insert(got.topic, k);
                        assert!(before.is_none_or(|before| before < k));
                    }
                    sending.await.unwrap();
                    soon(client.disconnect()).await;
                }));
            }
            for task in tasks {
                task.await.unwrap();
            }
        });
        assert_eq!(world.broker.clients().len(), 0);
    }
}
