//! Who is slow is waited for, on either side, and nothing grows without bound.

use crate::world::*;
use emqttd_mqtt::{Packet, Version, fixed_header};
use emqttd_plugin_sdk::virtual_client::{ConnectOptions, Outgoing};
use emqttd_plugin_sdk::{Pipe, PipeEvents, QoS};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

#[test]
fn a_slow_device_gets_all_at_qos_1_and_its_queue_holds_the_rest() {
    const MESSAGES: usize = 2000;
    let conf =
        "mqtt.session.max_inflight = 32\nmqtt.mqueue.max_length = 0\nmqtt.mqueue.max_bytes = 0";
    for shards in 1..=3 {
        let world = World::with(shards, conf, toy());
        world.run(async {
            let mut options = ConnectOptions::new("slow");
            options.events = 8;
            let (slow, mut events) = world.try_connect(1, options).await.unwrap();
            soon(slow.subscribe(&[("t", QoS::AtLeastOnce)]))
                .await
                .unwrap();
            let (fast, _events) = world.connect(2, "fast").await;
            for n in 0..MESSAGES {
                let message = Outgoing::new("t", n.to_string()).qos(QoS::AtLeastOnce);
                soon(fast.publish(&message)).await.unwrap();
            }
            for n in 0..MESSAGES {
                let got = message(&mut events).await;
                assert_eq!(got.payload, n.to_string().as_bytes());
                assert!(slow.ack(got.id));
            }
            assert_eq!(world.broker.session("slow").unwrap().mqueue_dropped, 0);
        });
    }
}

#[test]
fn a_slow_device_at_qos_0_holds_up_nobody_and_loses_what_is_too_much() {
    const MESSAGES: usize = 4000;
    let conf = "mqtt.client.max_send_buffer = 64KB";
    let world = World::with(2, conf, toy());
    world.run(async {
        let mut options = ConnectOptions::new("slow");
        options.events = 8;
        let (slow, mut events) = world.try_connect(1, options).await.unwrap();
        let (good, mut good_events) = world.connect(3, "good").await;
        for client in [&slow, &good] {
            soon(client.subscribe(&[("t", QoS::AtMostOnce)]))
                .await
                .unwrap();
        }
        let (fast, _events) = world.connect(2, "fast").await;
        // Sixteen messages at a time, heard by the good one before the next.
        let (sender, mut heard) = tokio::sync::mpsc::channel(1);
        let hearing = tokio::spawn(async move {
            for n in 0..MESSAGES {
                let got = message(&mut good_events).await;
                assert_eq!(got.payload[..4], (n as u32).to_be_bytes());
                if n % 16 == 15 {
                    sender.send(()).await.unwrap();
                }
            }
        });
        for n in 0..MESSAGES {
            let mut payload = vec![0; 1000];
            payload[..4].copy_from_slice(&(n as u32).to_be_bytes());
            soon(fast.publish(&Outgoing::new("t", payload)))
                .await
                .unwrap();
            if n % 16 == 15 {
                soon(heard.recv()).await.unwrap();
            }
        }
        hearing.await.unwrap();
        // The slow one is still there. It gets what had room, in order, and then what comes now.
        assert!(!slow.is_closed());
        let (mut got, mut last) = (0, None);
        soon(fast.publish(&Outgoing::new("marker", "x")))
            .await
            .unwrap();
        soon(slow.subscribe_and_read("end", &mut events, |payload| {
            let n = u32::from_be_bytes([payload[0], payload[1], payload[2], payload[3]]);
            assert!(last.is_none_or(|last| last < n));
            last = Some(n);
            got += 1;
        }))
        .await;
        // Eight events, 64 KB of output, and what one write had taken.
        assert!((64..300).contains(&got), "{got} messages");
    });
}

trait SubscribeAndRead {
    /// Subscribes, and reads until the answer is there.
    async fn subscribe_and_read(
        &self,
        filter: &str,
        events: &mut emqttd_plugin_sdk::virtual_client::Events,
        see: impl FnMut(&[u8]),
    );
}

impl SubscribeAndRead for emqttd_plugin_sdk::virtual_client::VirtualClient {
    async fn subscribe_and_read(
        &self,
        filter: &str,
        events: &mut emqttd_plugin_sdk::virtual_client::Events,
        mut see: impl FnMut(&[u8]),
    ) {
        let filters = [(filter, QoS::AtMostOnce)];
        let mut answer = std::pin::pin!(self.subscribe(&filters));
        loop {
            tokio::select! {
                biased;
                got = message(events) => see(&got.payload),
                codes = &mut answer => {
                    assert_eq!(codes, Ok(vec![0]));
                    break;
                }
            }
        }
        while let Some(emqttd_plugin_sdk::virtual_client::Event::Message(got)) = events.try_recv() {
            see(&got.payload);
        }
    }
}

/// What a pipe tells.
#[derive(Debug, PartialEq)]
enum Told {
    Output(Vec<u8>),
    Room,
    Closed(String),
}

struct Raw {
    told: mpsc::Sender<Told>,
    /// bytes taken at a time; then it has to be resumed
    sip: usize,
}

impl PipeEvents for Raw {
    fn output(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.sip);
        self.told
            .send(Told::Output(bytes[..taken].to_vec()))
            .unwrap();
        taken
    }
    fn room(&mut self) {
        self.told.send(Told::Room).unwrap();
    }
    fn closed(&mut self, reason: &str) {
        // The test may be over.
        let _ = self.told.send(Told::Closed(reason.into()));
    }
}

fn raw(world: &World, sip: usize) -> (Arc<dyn Pipe>, mpsc::Receiver<Told>) {
    let (sender, told) = mpsc::channel();
    let events = Raw { told: sender, sip };
    let pipe = world.broker.open_pipe(peer(1), Box::new(events)).unwrap();
    (pipe, told)
}

fn connect(clientid: &str) -> Vec<u8> {
    let mut packet = vec![0x10, 12 + clientid.len() as u8];
    packet.extend_from_slice(b"\0\x04MQTT\x04\x02\0\0\0");
    packet.push(clientid.len() as u8);
    packet.extend_from_slice(clientid.as_bytes());
    packet
}

fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    let head = emqttd_mqtt::PublishHead {
        qos: emqttd_mqtt::QoS::AtLeastOnce,
        topic,
        packet_id: 1,
        payload_len: payload.len(),
        ..Default::default()
    };
    let mut packet = Vec::new();
    emqttd_mqtt::encode_publish_head(&mut packet, Version::V311, &head);
    packet.extend_from_slice(payload);
    packet
}

#[test]
fn a_fast_gateway_is_held_up_by_a_slow_broker() {
    // Ten PUBLISH packets a second, of which the first ten come at once.
    let world = World::with(3, "mqtt.client.max_publish_rate = 10", toy());
    let (pipe, told) = raw(&world, usize::MAX);
    let mut packets = connect("fast");
    assert_eq!(pipe.send(&packets), packets.len());
    assert_eq!(
        told.recv_timeout(DEADLINE).unwrap(),
        Told::Output(vec![0x20, 2, 0, 0])
    );
    packets = publish("t", &[b'x'; 10_000]).repeat(13);
    let begun = Instant::now();
    let (mut sent, mut shorts, mut answers) = (0, 0, 0);
    while answers < 13 * 4 {
        if sent < packets.len() {
            let taken = pipe.send(&packets[sent..]);
            sent += taken;
            if sent < packets.len() {
                // 64 KB are the most that wait.
                assert!(taken <= 64 * 1024);
                shorts += 1;
                loop {
                    match told.recv_timeout(DEADLINE).unwrap() {
                        Told::Room => break,
                        Told::Output(bytes) => answers += bytes.len(),
                        Told::Closed(reason) => panic!("{reason}"),
                    }
                }
            }
            continue;
        }
        match told.recv_timeout(DEADLINE).unwrap() {
            Told::Output(bytes) => answers += bytes.len(),
            Told::Room => {}
            Told::Closed(reason) => panic!("{reason}"),
        }
    }
    assert!(shorts > 0);
    assert!(begun.elapsed() >= Duration::from_millis(250));
    pipe.close("normal");
    while told.recv_timeout(DEADLINE).unwrap() != Told::Closed("normal".into()) {}
}

#[test]
fn output_in_sips() {
    for shards in 1..=3 {
        let world = World::new(shards);
        let (pipe, told) = raw(&world, 3);
        let mut packets = connect("sipper");
        packets.extend_from_slice(b"\x82\x06\0\x01\0\x01t\x01");
        packets.extend(publish("t", &[b'x'; 5000]));
        // In pieces of a byte, which an event loop may well see one by one.
        for byte in &packets {
            assert_eq!(pipe.send(std::slice::from_ref(byte)), 1);
        }
        let mut received = Vec::new();
        let wanted = 4 + 5 + 4 + 3 + 1 + 2 + 2 + 5000;
        while received.len() < wanted {
            let Told::Output(bytes) = told.recv_timeout(DEADLINE).unwrap() else {
                panic!("no output");
            };
            received.extend_from_slice(&bytes);
            assert!(bytes.len() <= 3);
            pipe.resume();
        }
        let mut rest = &received[..];
        let mut kinds = Vec::new();
        while let Some(header) = fixed_header(rest).unwrap() {
            let len = header.packet_len();
            let body = &rest[header.len..len];
            match emqttd_mqtt::decode(Version::V311, header.first, body).unwrap() {
                Packet::Publish(publish) => {
                    assert_eq!(publish.payload, [b'x'; 5000]);
                    kinds.push(3);
                }
                other => kinds.push(other.packet_type() as u8),
            }
            rest = &rest[len..];
        }
        kinds.sort_unstable();
        assert_eq!(kinds, [2, 3, 4, 9]);
        // All that was resumed has been seen when this is answered.
        assert!(world.broker.session("sipper").is_some());
        // It is not asked while it has not said that it can take more.
        world.broker.publish("x", "t", b"more", 1, false).unwrap();
        world.broker.publish("x", "t", b"more", 1, false).unwrap();
        assert_eq!(
            told.recv_timeout(DEADLINE).unwrap(),
            Told::Output(b"\x32\x09\0".to_vec())
        );
        world.broker.publish("x", "t", b"more", 1, false).unwrap();
        world.until(|broker| broker.session("sipper").unwrap().inflight == 4);
        assert!(told.try_recv().is_err());
    }
}

#[test]
fn no_event_loop_sleeps_through_what_was_left_for_it() {
    const CLIENTS: u8 = 4;
    let world = World::new(2);
    world.run(async {
        let mut senders = Vec::new();
        for device in 1..=CLIENTS {
            // No timer of MQTT 5 asks after a message that has been overlooked.
            let options = ConnectOptions::new(format!("d{device}")).v5(0);
            let (client, events) = world.try_connect(device, options).await.unwrap();
            senders.push(tokio::spawn(async move {
                let _events = events;
                let once = Outgoing::new("nobody", "x").qos(QoS::AtLeastOnce);
                // Each begins as its event loop is about to fall asleep.
                for _ in 0..2000 {
                    assert_eq!(soon(client.publish(&once)).await, Ok(0x10));
                }
            }));
        }
        for sender in senders {
            sender.await.unwrap();
        }
    });
}
