#![allow(clippy::unwrap_used)]

use super::*;
use emqttd_mqtt::{ConnAckOut, ConnAckProps, Packet, PublishHead, ReasonCode, Version};
use std::pin::Pin;
use tokio::runtime::Builder;

/// The broker's end of a pipe, in the hands of a test.
#[derive(Clone)]
struct Broker(Arc<Mutex<Far>>);

struct Far {
    version: Version,
    /// bytes it takes until it is full
    room: usize,
    received: Vec<u8>,
    /// how often it was told that something was left for it
    told: usize,
    resumed: usize,
    wills: Vec<Option<Will>>,
    closed: Option<String>,
    events: Option<Box<dyn PipeEvents>>,
}

impl Pipe for Broker {
    fn send(&self, bytes: &[u8]) -> usize {
        let mut far = self.far();
        let taken = bytes.len().min(far.room);
        far.room -= taken;
        far.received.extend_from_slice(&bytes[..taken]);
        taken
    }
    fn tell(&self) {
        self.far().told += 1;
    }
    fn close(&self, reason: &str) {
        self.far().closed.get_or_insert(reason.into());
    }
    fn resume(&self) {
        self.far().resumed += 1;
    }
    fn set_will(&self, will: Option<Will>) {
        self.far().wills.push(will);
    }
}

impl Broker {
    fn new(version: Version) -> Broker {
        Broker(Arc::new(Mutex::new(Far {
            version,
            room: usize::MAX,
            received: Vec::new(),
            told: 0,
            resumed: 0,
            wills: Vec::new(),
            closed: None,
            events: None,
        })))
    }

    fn far(&self) -> MutexGuard<'_, Far> {
        self.0.lock().unwrap()
    }

    fn events<T>(&self, f: impl FnOnce(&mut dyn PipeEvents) -> T) -> T {
        // A callback may use the pipe.
        let mut events = self.far().events.take().unwrap();
        let result = f(&mut *events);
        self.far().events = Some(events);
        result
    }

    fn output(&self, bytes: &[u8]) -> usize {
        self.events(|events| events.output(bytes))
    }

    /// The next packet of the client, taken out.
    fn next<T>(&self, look: impl FnOnce(Packet<'_>) -> T) -> T {
        let mut far = self.far();
        let header = emqttd_mqtt::fixed_header(&far.received).unwrap();
        let header = header.expect("a packet");
        let rest = far.received.split_off(header.packet_len());
        let packet = std::mem::replace(&mut far.received, rest);
        let body = &packet[header.len..];
        look(emqttd_mqtt::decode(far.version, header.first, body).unwrap())
    }

    fn nothing(&self) -> bool {
        self.far().received.is_empty()
    }

    fn connack(&self, code: u8, props: ConnAckProps<'_>) {
        let mut packet = Vec::new();
        let connack = ConnAckOut {
            session_present: false,
            code,
            props,
        };
        emqttd_mqtt::encode_connack(&mut packet, self.far().version, &connack);
        assert_eq!(self.output(&packet), packet.len());
    }

    fn ack(&self, kind: emqttd_mqtt::AckKind, id: u16, reason: ReasonCode) {
        let mut packet = Vec::new();
        emqttd_mqtt::encode_ack(&mut packet, self.far().version, kind, id, reason, None);
        assert_eq!(self.output(&packet), packet.len());
    }

    /// Connects, and answers with these properties.
    async fn connect(
        &self,
        options: ConnectOptions,
        props: ConnAckProps<'_>,
    ) -> (VirtualClient, Events) {
        let mut connecting = pin!(self.connecting(options));
        assert!(is_pending(connecting.as_mut()).await);
        self.next(|packet| assert!(matches!(packet, Packet::Connect(_))));
        self.connack(0, props);
        connecting.await.unwrap()
    }

    async fn connecting(
        &self,
        options: ConnectOptions,
    ) -> Result<(VirtualClient, Events), Refused> {
        let broker = self.clone();
        let open = |events| {
            broker.far().events = Some(events);
            Ok(Arc::new(broker.clone()) as Arc<dyn Pipe>)
        };
        VirtualClient::connect_by(open, options).await
    }
}

/// Whether a future waits, after it was polled.
async fn is_pending<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(future.as_mut().poll(context).is_pending())
    })
    .await
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let test = tokio::time::timeout(Duration::from_secs(20), test);
        test.await.expect("it takes too long")
    })
}

fn publish(version: Version, topic: &str, payload: &[u8], qos: QoS, id: u16, dup: bool) -> Vec<u8> {
    let head = PublishHead {
        dup,
        qos: qos.into(),
        topic,
        packet_id: id,
        payload_len: payload.len(),
        ..PublishHead::default()
    };
    let mut packet = Vec::new();
    emqttd_mqtt::encode_publish_head(&mut packet, version, &head);
    packet.extend_from_slice(payload);
    packet
}

fn incoming(topic: &str, payload: &[u8], qos: QoS, id: u16) -> Event {
    Event::Message(Incoming {
        topic: topic.into(),
        payload: payload.into(),
        qos,
        retain: false,
        dup: false,
        id,
        subscriptions: Vec::new(),
        about: None,
    })
}

#[test]
fn connect_says_what_the_options_say() {
    run(async {
        let broker = Broker::new(Version::V5);
        let mut options = ConnectOptions::new("id")
            .credentials("tom", "secret")
            .clean(false)
            .keepalive(30)
            .v5(600)
            .will(Will {
                topic: "w".into(),
                payload: b"x".to_vec(),
                qos: QoS::AtLeastOnce,
                retain: true,
            });
        options.receive_maximum = 5;
        let mut connecting = pin!(broker.connecting(options));
        assert!(is_pending(connecting.as_mut()).await);
        broker.next(|packet| {
            let Packet::Connect(connect) = packet else {
                panic!("{packet:?}");
            };
            assert_eq!((connect.client_id, connect.username), ("id", Some("tom")));
            assert_eq!(connect.password, Some(&b"secret"[..]));
            assert_eq!((connect.clean_start, connect.keep_alive), (false, 30));
            assert_eq!(connect.properties.session_expiry(), Some(600));
            assert_eq!(connect.properties.receive_maximum(), Some(5));
            let will = connect.will.unwrap();
            assert_eq!(
                (will.topic, will.payload, will.retain),
                ("w", &b"x"[..], true)
            );
        });
        broker.connack(
            0,
            ConnAckProps {
                server_keep_alive: Some(20),
                assigned_client_id: Some("given"),
                ..ConnAckProps::default()
            },
        );
        let (client, _events) = connecting.await.unwrap();
        assert_eq!((client.keepalive(), client.clientid()), (20, "given"));
    });
}

#[test]
fn what_cannot_be_connected_is_refused() {
    run(async {
        let long = "x".repeat(65536);
        let will = Will {
            topic: "a/#".into(),
            payload: Vec::new(),
            qos: QoS::AtMostOnce,
            retain: false,
        };
        let mut nameless = ConnectOptions::new("id");
        nameless.password = Some(Vec::new());
        for options in [
            ConnectOptions::new(long.clone()),
            ConnectOptions::new("id").credentials(long.clone(), ""),
            ConnectOptions::new("id").credentials("tom", long),
            ConnectOptions::new("id").will(will),
            nameless,
        ] {
            let broker = Broker::new(Version::V311);
            let refused = broker.connecting(options).await.err();
            assert!(matches!(refused, Some(Refused::Invalid(_))), "{refused:?}");
            assert!(broker.nothing());
        }
        // The broker says no, or goes away.
        let broker = Broker::new(Version::V311);
        let mut connecting = pin!(broker.connecting(ConnectOptions::new("id")));
        assert!(is_pending(connecting.as_mut()).await);
        broker.connack(5, ConnAckProps::default());
        assert_eq!(connecting.await.err(), Some(Refused::Code(5)));
        assert_eq!(broker.far().closed.as_deref(), Some("closed"));
        let broker = Broker::new(Version::V311);
        let mut connecting = pin!(broker.connecting(ConnectOptions::new("id")));
        assert!(is_pending(connecting.as_mut()).await);
        broker.events(|events| events.closed("idle_timeout"));
        let refused = connecting.await.err().unwrap();
        assert_eq!(
            (refused.code(), refused.to_string()),
            (3, "closed: idle_timeout".into())
        );
        let full = |_| Err(HostError("full".into()));
        let refused = VirtualClient::connect_by(full, ConnectOptions::new("id")).await;
        assert_eq!(
            refused.err(),
            Some(Refused::NoPlace(HostError("full".into())))
        );
        // Who gives up waiting closes.
        let broker = Broker::new(Version::V311);
        {
            let mut connecting = pin!(broker.connecting(ConnectOptions::new("id")));
            assert!(is_pending(connecting.as_mut()).await);
        }
        assert_eq!(broker.far().closed.as_deref(), Some("closed"));
    });
}

#[test]
fn packets_come_in_pieces_of_any_size() {
    run(async {
        let version = Version::V311;
        let mut stream = vec![0xD0, 0];
        let mut wanted = Vec::new();
        for n in 0..20_usize {
            let payload = vec![n as u8; n * n];
            let (qos, id) = match n % 2 {
                0 => (QoS::AtMostOnce, 0),
                _ => (QoS::AtLeastOnce, n as u16),
            };
            stream.extend(publish(version, "topic", &payload, qos, id, false));
            stream.extend([0xD0, 0]);
            wanted.push(incoming("topic", &payload, qos, id));
        }
        for size in (1..300).chain([stream.len()]) {
            let broker = Broker::new(version);
            let options = ConnectOptions::new("id");
            let (client, mut events) = broker.connect(options, ConnAckProps::default()).await;
            for piece in stream.chunks(size) {
                assert_eq!(broker.output(piece), piece.len());
            }
            let got: Vec<Event> = std::iter::from_fn(|| events.try_recv()).collect();
            assert_eq!(got, wanted, "in pieces of {size}");
            assert!(!client.is_closed());
        }
    });
}

#[test]
fn a_full_queue_of_events_holds_the_broker_back() {
    run(async {
        let broker = Broker::new(Version::V311);
        let mut options = ConnectOptions::new("id");
        options.events = 4;
        let (_client, mut events) = broker.connect(options, ConnAckProps::default()).await;
        let one = publish(Version::V311, "t", b"x", QoS::AtMostOnce, 0, false);
        let many = one.repeat(10);
        assert_eq!(broker.output(&many), 4 * one.len());
        assert_eq!(broker.output(&many[4 * one.len()..]), 0);
        assert!(events.try_recv().is_some());
        assert_eq!(broker.far().resumed, 0);
        // Half of them are taken: it goes on, and is told so once.
        assert!(events.try_recv().is_some());
        assert!(events.try_recv().is_some());
        assert_eq!(broker.far().resumed, 1);
        assert_eq!(broker.output(&many[4 * one.len()..]), 3 * one.len());
        // A large message fills the queue by itself, but it comes.
        let broker = Broker::new(Version::V311);
        let options = ConnectOptions::new("id");
        let (_client, mut events) = broker.connect(options, ConnAckProps::default()).await;
        let large = vec![b'x'; 2 * 1024 * 1024];
        let large = publish(Version::V311, "t", &large, QoS::AtMostOnce, 0, false);
        assert_eq!(broker.output(&large), large.len());
        assert_eq!(broker.output(&one), 0);
        assert!(events.try_recv().is_some());
        assert_eq!(broker.far().resumed, 1);
        assert_eq!(broker.output(&one), one.len());
        // Nobody listens any more: nothing is held back.
        drop(events);
        assert_eq!(broker.output(&many), many.len());
        let refused = publish(Version::V311, "t", b"x", QoS::AtLeastOnce, 7, false);
        assert_eq!(broker.output(&refused), refused.len());
        assert!(broker.nothing());
    });
}

#[test]
fn what_is_published_is_acknowledged() {
    use emqttd_mqtt::AckKind::{PubAck, PubComp, PubRec};
    run(async {
        let broker = Broker::new(Version::V5);
        let mut options = ConnectOptions::new("id").v5(0);
        options.inflight = 8;
        let props = ConnAckProps {
            receive_maximum: Some(2),
            ..ConnAckProps::default()
        };
        let (client, _events) = broker.connect(options, props).await;
        let message = |qos| Outgoing::new("t", "x").qos(qos);
        assert_eq!(client.publish(&message(QoS::AtMostOnce)).await, Ok(0));
        let id = |broker: &Broker| {
            broker.next(|packet| match packet {
                Packet::Publish(publish) => publish.packet_id,
                other => panic!("{other:?}"),
            })
        };
        assert_eq!(id(&broker), 0);
        let (once, exactly) = (message(QoS::AtLeastOnce), message(QoS::ExactlyOnce));
        let mut first = pin!(client.publish(&once));
        assert!(is_pending(first.as_mut()).await);
        let mut second = pin!(client.publish(&exactly));
        assert!(is_pending(second.as_mut()).await);
        let (first_id, second_id) = (id(&broker), id(&broker));
        assert_ne!(first_id, second_id);
        // The broker takes no third one yet.
        let mut third = pin!(client.publish(&exactly));
        assert!(is_pending(third.as_mut()).await);
        assert!(broker.nothing());
        broker.ack(PubAck, first_id, ReasonCode::NO_MATCHING_SUBSCRIBERS);
        assert_eq!(first.await, Ok(0x10));
        assert!(is_pending(third.as_mut()).await);
        let third_id = id(&broker);
        // QoS 2, to its end and refused.
        broker.ack(PubRec, second_id, ReasonCode::SUCCESS);
        broker.next(|packet| match packet {
            Packet::PubRel(ack) => assert_eq!(ack.packet_id, second_id),
            other => panic!("{other:?}"),
        });
        assert!(is_pending(second.as_mut()).await);
        broker.ack(PubComp, second_id, ReasonCode::SUCCESS);
        assert_eq!(second.await, Ok(0));
        broker.ack(PubRec, third_id, ReasonCode::NOT_AUTHORIZED);
        assert_eq!(third.await, Ok(0x87));
        assert!(broker.nothing());
        // One whose acknowledgement nobody waits for any more gives its place back.
        for _ in 0..5 {
            let id = {
                let mut given_up = pin!(client.publish(&once));
                assert!(is_pending(given_up.as_mut()).await);
                id(&broker)
            };
            broker.ack(PubAck, id, ReasonCode::SUCCESS);
        }
        // The end lets all go.
        let mut last = pin!(client.publish(&once));
        assert!(is_pending(last.as_mut()).await);
        broker.events(|events| events.closed("kick"));
        assert_eq!(last.await, Err(Failed::Closed("kick".into())));
        let asked = client.subscribe(&[("t", QoS::AtMostOnce)]).await;
        assert_eq!(asked, Err(Failed::Closed("kick".into())));
    });
}

#[test]
fn what_comes_is_acknowledged_when_the_device_has_it() {
    run(async {
        let broker = Broker::new(Version::V311);
        let options = ConnectOptions::new("id");
        let (client, mut events) = broker.connect(options, ConnAckProps::default()).await;
        let send = |qos, id, dup| {
            let packet = publish(Version::V311, "t", b"x", qos, id, dup);
            assert_eq!(broker.output(&packet), packet.len());
        };
        send(QoS::AtLeastOnce, 1, false);
        send(QoS::ExactlyOnce, 2, false);
        assert_eq!(
            events.try_recv(),
            Some(incoming("t", b"x", QoS::AtLeastOnce, 1))
        );
        assert_eq!(
            events.try_recv(),
            Some(incoming("t", b"x", QoS::ExactlyOnce, 2))
        );
        assert!(broker.nothing());
        // The broker sends them again: the gateway has them.
        send(QoS::AtLeastOnce, 1, true);
        send(QoS::ExactlyOnce, 2, true);
        assert_eq!(events.try_recv(), None);
        assert!(client.ack(1) && client.ack(2));
        assert!(!client.ack(1) && !client.ack(2) && !client.ack(0) && !client.ack(9));
        let kind = || broker.next(|packet| packet.packet_type());
        assert_eq!(kind(), emqttd_mqtt::PacketType::PubAck);
        assert_eq!(kind(), emqttd_mqtt::PacketType::PubRec);
        send(QoS::ExactlyOnce, 2, true);
        assert_eq!(kind(), emqttd_mqtt::PacketType::PubRec);
        broker.ack(emqttd_mqtt::AckKind::PubRel, 2, ReasonCode::SUCCESS);
        assert_eq!(kind(), emqttd_mqtt::PacketType::PubComp);
        // From another life: it is completed all the same.
        broker.ack(emqttd_mqtt::AckKind::PubRel, 77, ReasonCode::SUCCESS);
        assert_eq!(kind(), emqttd_mqtt::PacketType::PubComp);
        assert_eq!(events.try_recv(), None);
        // The identifier is used again.
        send(QoS::ExactlyOnce, 2, false);
        assert_eq!(
            events.try_recv(),
            Some(incoming("t", b"x", QoS::ExactlyOnce, 2))
        );
        assert!(!client.complete(2));
    });
}

#[test]
fn what_the_broker_does_not_take_waits() {
    run(async {
        let broker = Broker::new(Version::V311);
        let options = ConnectOptions::new("id");
        let (client, _events) = broker.connect(options, ConnAckProps::default()).await;
        broker.far().room = 10;
        let message = Outgoing::new("t", vec![b'x'; 40_000]);
        // Two are beyond the bound, a third one waits.
        client.publish(&message).await.unwrap();
        client.publish(&message).await.unwrap();
        let mut third = pin!(client.publish(&message));
        assert!(is_pending(third.as_mut()).await);
        let filters = [("a", QoS::AtMostOnce)];
        let mut asked = pin!(client.subscribe(&filters));
        assert!(is_pending(asked.as_mut()).await);
        assert_eq!(broker.far().received.len(), 10);
        client.ping();
        // Room comes in small pieces; all arrives, in order.
        let mut published = false;
        while broker.far().received.len() < 120_000 {
            broker.far().room = 7_000;
            broker.events(|events| events.room());
            published = published || !is_pending(third.as_mut()).await;
            assert!(is_pending(asked.as_mut()).await);
        }
        assert!(published);
        broker.far().room = usize::MAX;
        broker.events(|events| events.room());
        assert!(is_pending(asked.as_mut()).await);
        for _ in 0..3 {
            broker.next(|packet| match packet {
                Packet::Publish(publish) => assert_eq!(publish.payload, message.payload),
                other => panic!("{other:?}"),
            });
        }
        let id = broker.next(|packet| match packet {
            Packet::Subscribe(subscribe) => subscribe.packet_id,
            other => panic!("{other:?}"),
        });
        assert!(broker.nothing());
        let mut suback = Vec::new();
        emqttd_mqtt::encode_suback(&mut suback, Version::V311, id, &[0x80], None);
        broker.output(&suback);
        assert_eq!(asked.await, Ok(vec![0x80]));
        client.ping();
        broker.next(|packet| assert_eq!(packet, Packet::PingReq));
    });
}

#[test]
fn nonsense_ends_the_connection() {
    run(async {
        for nonsense in [
            &[0xF0, 0xFF, 0xFF, 0xFF, 0xFF, 0x01][..],
            &[0x00, 0x00],
            &[0x36, 0x05, 0, 1, b't', 0, 1],
            // A second CONNACK, and a packet that only clients send.
            &[0x20, 0x02, 0, 0],
            &[0xC0, 0x00],
        ] {
            for size in 1..=nonsense.len() {
                let broker = Broker::new(Version::V311);
                let options = ConnectOptions::new("id");
                let (client, mut events) = broker.connect(options, ConnAckProps::default()).await;
                for piece in nonsense.chunks(size) {
                    broker.output(piece);
                }
                assert_eq!(broker.far().closed.as_deref(), Some("protocol_error"));
                // However the broker takes that, nobody waits for ever.
                broker.far().events = None;
                assert!(client.is_closed());
                assert!(matches!(events.recv().await, Some(Event::Closed(_))));
                assert_eq!(events.recv().await, None);
            }
        }
    });
}

#[test]
fn another_will_goes_past_mqtt() {
    run(async {
        let will = |topic: &str| Will {
            topic: topic.into(),
            payload: b"gone".to_vec(),
            qos: QoS::AtLeastOnce,
            retain: true,
        };
        let broker = Broker::new(Version::V311);
        let (client, mut events) = broker
            .connect(ConnectOptions::new("d"), ConnAckProps::default())
            .await;
        assert_eq!(client.set_will(Some(will("w"))), Ok(()));
        assert_eq!(client.set_will(None), Ok(()));
        assert!(matches!(
            client.set_will(Some(will("w/#"))),
            Err(Failed::Invalid(_))
        ));
        assert_eq!(
            std::mem::take(&mut broker.far().wills),
            [Some(will("w")), None]
        );
        broker.events(|events| events.closed("kick"));
        assert!(matches!(events.recv().await, Some(Event::Closed(_))));
        let failed = client.set_will(None);
        assert_eq!(failed, Err(Failed::Closed("kick".into())));
        assert_eq!(broker.far().wills, []);
    });
}

#[test]
fn who_catches_up_has_what_came_before() {
    run(async {
        for version in [Version::V311, Version::V5] {
            let broker = Broker::new(version);
            let options = match version {
                Version::V5 => ConnectOptions::new("d").v5(0),
                _ => ConnectOptions::new("d"),
            };
            let (client, mut events) = broker.connect(options, ConnAckProps::default()).await;
            let mut caught_up = pin!(client.catch_up());
            broker.next(|packet| assert!(matches!(packet, Packet::PingReq)));
            assert!(is_pending(caught_up.as_mut()).await);
            let packet = publish(version, "t", b"x", QoS::AtMostOnce, 0, false);
            broker.output(&packet);
            assert!(is_pending(caught_up.as_mut()).await);
            let mut pingresp = Vec::new();
            emqttd_mqtt::encode_pingresp(&mut pingresp);
            broker.output(&pingresp);
            caught_up.await;
            assert!(matches!(events.try_recv(), Some(Event::Message(_))));
            // Too many, and after the end.
            let waiting: Vec<_> = (0..8).map(|_| client.catch_up()).collect();
            client.catch_up().await;
            broker.events(|events| events.closed("kick"));
            for caught_up in waiting {
                caught_up.await;
            }
            client.catch_up().await;
        }
    });
}

#[test]
fn goodbye() {
    run(async {
        let broker = Broker::new(Version::V5);
        let options = ConnectOptions::new("id").v5(0);
        let (client, mut events) = broker.connect(options, ConnAckProps::default()).await;
        let mut leaving = pin!(client.disconnect());
        assert!(is_pending(leaving.as_mut()).await);
        let mut twice = pin!(client.disconnect());
        assert!(is_pending(twice.as_mut()).await);
        broker.next(|packet| assert!(matches!(packet, Packet::Disconnect(_))));
        assert!(broker.nothing());
        broker.events(|events| events.closed("normal"));
        leaving.await;
        twice.await;
        let end = End {
            reason: "normal".into(),
            code: None,
        };
        assert_eq!(events.recv().await, Some(Event::Closed(end)));
        // The broker's own says why.
        let broker = Broker::new(Version::V5);
        let options = ConnectOptions::new("id").v5(0);
        let (_client, mut events) = broker.connect(options, ConnAckProps::default()).await;
        let mut waiting = pin!(events.recv());
        assert!(is_pending(waiting.as_mut()).await);
        broker.output(&[0xE0, 0x01, 0x8E]);
        broker.events(|events| events.closed("conflict"));
        let end = End {
            reason: "conflict".into(),
            code: Some(0x8E),
        };
        assert_eq!(waiting.await, Some(Event::Closed(end)));
    });
}

#[test]
fn what_is_denied_is_known_in_the_end() {
    use emqttd_mqtt::AckKind::{PubAck, PubComp, PubRec};
    run(async {
        let broker = Broker::new(Version::V311);
        let mut options = ConnectOptions::new("id");
        options.inflight = 3;
        let (client, _events) = broker.connect(options, ConnAckProps::default()).await;
        let message = |qos| Outgoing::new("t", "x").qos(qos);
        let (once, exactly) = (message(QoS::AtLeastOnce), message(QoS::ExactlyOnce));
        let mut denied = pin!(client.publish(&once));
        assert!(is_pending(denied.as_mut()).await);
        let mut slow = pin!(client.publish(&exactly));
        assert!(is_pending(slow.as_mut()).await);
        {
            let mut given_up = pin!(client.publish(&once));
            assert!(is_pending(given_up.as_mut()).await);
        }
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(broker.next(|packet| match packet {
                Packet::Publish(publish) => publish.packet_id,
                other => panic!("{other:?}"),
            }));
        }
        broker.ack(PubRec, ids[1], ReasonCode::SUCCESS);
        broker.next(|packet| assert!(matches!(packet, Packet::PubRel(_))));
        // All places are taken. Whoever waits asks after the others.
        let mut fourth = pin!(client.publish(&once));
        tokio::select! {
            _ = fourth.as_mut() => panic!("there is no place"),
            _ = denied.as_mut() => panic!("nothing has come"),
            () = async { while broker.nothing() { tokio::task::yield_now().await } } => {}
        }
        broker.next(|packet| assert_eq!(packet, Packet::PingReq));
        assert!(broker.nothing());
        broker.output(&[0xD0, 0]);
        assert_eq!(denied.await, Ok(0x87));
        // The places of the first and of the third are free again; the second is on its way.
        assert!(is_pending(fourth.as_mut()).await);
        let mut fifth = pin!(client.publish(&once));
        assert!(is_pending(fifth.as_mut()).await);
        assert!(is_pending(slow.as_mut()).await);
        for _ in 0..2 {
            let id = broker.next(|packet| match packet {
                Packet::Publish(publish) => publish.packet_id,
                other => panic!("{other:?}"),
            });
            broker.ack(PubAck, id, ReasonCode::SUCCESS);
        }
        assert_eq!((fourth.await, fifth.await), (Ok(0), Ok(0)));
        broker.ack(PubComp, ids[1], ReasonCode::SUCCESS);
        assert_eq!(slow.await, Ok(0));
        // A PINGRESP that nobody asked for says nothing.
        broker.output(&[0xD0, 0]);
        assert!(!client.is_closed());
    });
}

/// The packet identifier of the PUBLISH that comes next.
fn published(broker: &Broker) -> u16 {
    broker.next(|packet| match packet {
        Packet::Publish(publish) => publish.packet_id,
        other => panic!("{other:?}"),
    })
}

#[test]
fn who_does_not_wait_is_told_that_there_is_no_room() {
    use emqttd_mqtt::AckKind::PubAck;
    fn awaited_anywhere<T: Send + Unpin + 'static>(_: &T) {}
    run(async {
        let broker = Broker::new(Version::V311);
        let mut options = ConnectOptions::new("id");
        options.inflight = 2;
        let (client, _events) = broker.connect(options, ConnAckProps::default()).await;
        let message = |qos| Outgoing::new("t", "x").qos(qos);
        let (lightly, once) = (message(QoS::AtMostOnce), message(QoS::AtLeastOnce));
        // QoS 0 is done at once.
        assert_eq!(client.try_publish(&lightly).unwrap().await, Ok(0));
        assert_eq!(published(&broker), 0);
        // QoS 1 is in its place before anybody awaits it.
        let first = client.try_publish(&once).unwrap();
        awaited_anywhere(&first);
        let second = client.try_publish(&once).unwrap();
        let ids = (published(&broker), published(&broker));
        assert_ne!(ids.0, ids.1);
        broker.ack(PubAck, ids.0, ReasonCode::SUCCESS);
        assert_eq!(first.await, Ok(0));
        // Nobody awaits the second one, nor the next: their places come back all the same.
        drop(second);
        drop(client.try_publish(&once).unwrap());
        assert_ne!(published(&broker), 0);
        assert_eq!(client.try_publish(&once).err(), Some(NotNow::Busy));
        broker.next(|packet| assert_eq!(packet, Packet::PingReq));
        assert_eq!(client.try_publish(&once).err(), Some(NotNow::Busy));
        assert!(broker.nothing(), "it is asked once");
        broker.output(&[0xD0, 0]);
        let third = client.try_publish(&once).unwrap();
        let third_id = published(&broker);
        // No room for packets.
        broker.far().room = 0;
        let large = Outgoing::new("t", vec![b'x'; 70_000]);
        assert_eq!(client.try_publish(&large).unwrap().await, Ok(0));
        assert_eq!(client.try_publish(&lightly).err(), Some(NotNow::Busy));
        assert_eq!(client.try_publish(&once).err(), Some(NotNow::Busy));
        broker.far().room = usize::MAX;
        broker.events(|events| events.room());
        assert_eq!(published(&broker), 0);
        assert!(broker.nothing(), "what was not taken is not sent");
        broker.ack(PubAck, third_id, ReasonCode::SUCCESS);
        assert_eq!(third.await, Ok(0));
        let bad = client.try_publish(&Outgoing::new("a/#", "x")).err();
        assert_eq!(bad, Some(NotNow::Invalid("not a topic name")));
        // The end.
        let last = client.try_publish(&once).unwrap();
        broker.events(|events| events.closed("kick"));
        assert_eq!(last.await, Err(Failed::Closed("kick".into())));
        for message in [&lightly, &once] {
            let closed = client.try_publish(message).err();
            assert_eq!(closed, Some(NotNow::Closed("kick".into())));
        }
    });
}

#[test]
fn what_is_denied_is_known_soon() {
    run(async {
        let broker = Broker::new(Version::V311);
        let options = ConnectOptions::new("id");
        let (client, _events) = broker.connect(options, ConnAckProps::default()).await;
        let once = Outgoing::new("t", "x").qos(QoS::AtLeastOnce);
        let mut denied = client.try_publish(&once).unwrap();
        assert!(is_pending(Pin::new(&mut denied)).await);
        assert_ne!(published(&broker), 0);
        assert!(broker.nothing());
        let begun = std::time::Instant::now();
        tokio::select! {
            _ = &mut denied => panic!("nothing has come"),
            () = async { while broker.nothing() { tokio::task::yield_now().await } } => {}
        }
        assert!((SOON..LONG).contains(&begun.elapsed()));
        broker.next(|packet| assert_eq!(packet, Packet::PingReq));
        broker.output(&[0xD0, 0]);
        assert_eq!(denied.await, Ok(0x87));
    });
}

#[test]
fn one_message_is_not_asked_after_by_the_timer_of_another() {
    run(async {
        let broker = Broker::new(Version::V311);
        let options = ConnectOptions::new("id");
        let (client, _events) = broker.connect(options, ConnAckProps::default()).await;
        let once = Outgoing::new("t", "x").qos(QoS::AtLeastOnce);
        let mut first = client.try_publish(&once).unwrap();
        assert!(is_pending(Pin::new(&mut first)).await);
        let id = published(&broker);
        broker.ack(emqttd_mqtt::AckKind::PubAck, id, ReasonCode::SUCCESS);
        assert_eq!(first.await, Ok(0));
        // Its timer would ring now.
        tokio::time::sleep(SOON / 2).await;
        let begun = std::time::Instant::now();
        let mut second = client.try_publish(&once).unwrap();
        assert!(is_pending(Pin::new(&mut second)).await);
        assert_ne!(published(&broker), 0);
        tokio::select! {
            _ = &mut second => panic!("nothing has come"),
            () = async { while broker.nothing() { tokio::task::yield_now().await } } => {}
        }
        assert!(begun.elapsed() >= SOON);
        broker.next(|packet| assert_eq!(packet, Packet::PingReq));
        broker.output(&[0xD0, 0]);
        assert_eq!(second.await, Ok(0x87));
    });
}

#[test]
fn the_broker_is_told_once_of_what_is_corked() {
    run(async {
        let broker = Broker::new(Version::V5);
        let options = ConnectOptions::new("id").v5(0);
        let (client, _events) = broker.connect(options, ConnAckProps::default()).await;
        let lightly = Outgoing::new("t", "x");
        let told = || std::mem::take(&mut broker.far().told);
        told();
        let (cork, another) = (client.cork(), client.cork());
        for _ in 0..3 {
            assert_eq!(client.try_publish(&lightly).unwrap().await, Ok(0));
            // It is there, should the broker look.
            published(&broker);
        }
        drop(another);
        assert_eq!(told(), 0);
        drop(cork);
        assert_eq!(told(), 1);
        assert_eq!(client.try_publish(&lightly).unwrap().await, Ok(0));
        assert_eq!(told(), 1);
    });
}

#[test]
fn messages_name_the_subscriptions_they_are_for() {
    run(async {
        let broker = Broker::new(Version::V5);
        let options = ConnectOptions::new("id").v5(0);
        let (client, mut events) = broker.connect(options, ConnAckProps::default()).await;
        let filters = [("t/+", QoS::AtMostOnce)];
        let mut asked = pin!(client.subscribe_as(&filters, 7));
        assert!(is_pending(asked.as_mut()).await);
        broker.next(|packet| match packet {
            Packet::Subscribe(subscribe) => {
                assert_eq!(subscribe.properties.subscription_id(), Some(7));
            }
            other => panic!("{other:?}"),
        });
        let head = PublishHead {
            topic: "t/1",
            payload_len: 1,
            subscription_ids: &[7, 9],
            ..PublishHead::default()
        };
        let mut packet = Vec::new();
        emqttd_mqtt::encode_publish_head(&mut packet, Version::V5, &head);
        packet.push(b'x');
        assert_eq!(broker.output(&packet), packet.len());
        let Some(Event::Message(message)) = events.try_recv() else {
            panic!("no message");
        };
        assert_eq!(message.subscriptions, [7, 9]);
        let too_large = client.subscribe_as(&filters, 0x1000_0000).await;
        assert!(matches!(too_large, Err(Failed::Invalid(_))));
    });
}

#[test]
fn what_a_message_says_of_itself() {
    run(async {
        let pairs = [("a", "1"), ("b", ""), ("a", "2")];
        let about = About {
            content_type: Some("text/x".into()),
            user_properties: pairs.map(|(n, v)| (n.into(), v.into())).into(),
        };
        let message = Outgoing {
            about: Some(Box::new(about.clone())),
            ..Outgoing::new("t", "x")
        };
        for version in [Version::V5, Version::V311] {
            let broker = Broker::new(version);
            let options = match version {
                Version::V5 => ConnectOptions::new("id").v5(0),
                _ => ConnectOptions::new("id"),
            };
            let (client, mut events) = broker.connect(options, ConnAckProps::default()).await;
            assert_eq!(client.publish(&message).await, Ok(0));
            let properties = broker.next(|packet| match packet {
                Packet::Publish(publish) => publish.properties.as_bytes().to_vec(),
                other => panic!("{other:?}"),
            });
            if version == Version::V311 {
                assert_eq!(properties, []);
                continue;
            }
            let head = PublishHead {
                topic: "t",
                properties: &properties,
                subscription_ids: &[7],
                ..PublishHead::default()
            };
            let mut packet = Vec::new();
            emqttd_mqtt::encode_publish_head(&mut packet, version, &head);
            assert_eq!(broker.output(&packet), packet.len());
            let Some(Event::Message(came)) = events.recv().await else {
                panic!("no message");
            };
            assert_eq!(came.subscriptions, [7]);
            assert_eq!(came.about.as_deref(), Some(&about));
            for wrong in ["a\0b".to_owned(), "x".repeat(65_536)] {
                let about = About {
                    content_type: Some(wrong),
                    ..About::default()
                };
                let message = Outgoing {
                    about: Some(Box::new(about)),
                    ..Outgoing::new("t", "x")
                };
                let refused = client.try_publish(&message).err();
                assert!(matches!(refused, Some(NotNow::Invalid(_))), "{refused:?}");
            }
        }
    });
}
