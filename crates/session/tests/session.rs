//! Single cases of the session, each of which went wrong once.

#![allow(clippy::unwrap_used, missing_docs)]

use emqttd_mqtt::{QoS, ReasonCode, Version};
use emqttd_session::{
    Delivery, Effect, Inbound, Limits, Message, MessageParts, QueueLimits, Sent, Session, Sink,
};
use std::sync::Arc;

#[derive(Default)]
struct Wire {
    max_packet: Option<usize>,
    /// first byte of the payload, identifier, DUP
    published: Vec<(u8, u16, bool)>,
    rels: Vec<u16>,
    effects: Vec<Effect>,
}

impl Sink for Wire {
    fn publish(&mut self, delivery: &Delivery, id: u16, dup: bool) -> bool {
        let fits = self
            .max_packet
            .is_none_or(|most| delivery.message.size() <= most);
        if fits {
            self.published
                .push((delivery.message.payload()[0], id, dup));
        }
        fits
    }

    fn pubrel(&mut self, id: u16, _: ReasonCode) {
        self.rels.push(id);
    }

    fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }
}

fn message(name: u8) -> Arc<Message> {
    let payload = [name; 10];
    let parts = MessageParts {
        topic: "t",
        properties: &[],
        payload: &payload,
        qos: QoS::ExactlyOnce,
        retain: false,
    };
    Arc::new(Message::new(parts, None, 0, u64::MAX))
}

fn delivery(name: u8, qos: QoS) -> Delivery {
    Delivery::new(message(name), qos)
}

fn connect(session: &mut Session, version: Version, receive_maximum: u16, now: u64) -> Wire {
    let mut wire = Wire::default();
    session.detach();
    session.attach(version, receive_maximum, now);
    session.resume(now, &mut wire);
    wire
}

#[test]
fn released_messages_of_earlier_connections_stay_within_max_inflight() {
    let mut session = Session::new(Arc::new(Limits {
        max_inflight: 2,
        ..Limits::default()
    }));
    for _ in 0..5 {
        let mut wire = connect(&mut session, Version::V5, 65_535, 0);
        for name in 0..4 {
            session.send(delivery(name, QoS::ExactlyOnce), 0, &mut wire);
        }
        for (_, id, _) in wire.published.clone() {
            session.pubrec(id, false, 0, &mut wire);
        }
    }
    assert_eq!(session.inflight_len(), 2);
    let mut wire = Wire::default();
    session.pubcomp(1, 0, &mut wire);
    assert_eq!(wire.published.len(), 1, "its place is free again");
}

/// The client may have received it and keep its identifier, under which the next message would then be
/// taken for the same one.
#[test]
fn a_qos2_message_now_too_large_to_be_sent_again_is_released_before_its_identifier_is_free() {
    let mut session = Session::new(Arc::new(Limits::default()));
    let mut wire = connect(&mut session, Version::V5, 65_535, 0);
    session.send(delivery(1, QoS::ExactlyOnce), 0, &mut wire);
    assert_eq!(wire.published, [(1, 1, false)]);
    session.detach();
    session.attach(Version::V5, 65_535, 1);
    let mut wire = Wire {
        max_packet: Some(5),
        ..Wire::default()
    };
    session.resume(1, &mut wire);
    assert_eq!((wire.published.len(), &*wire.rels), (0, &[1][..]));
    assert!(matches!(&*wire.effects, [Effect::TooLarge(_)]));
    assert_eq!(session.inflight_len(), 1);
    session.pubcomp(1, 1, &mut wire);
    assert_eq!(session.inflight_len(), 0);
}

#[test]
fn qos0_messages_that_waited_are_sent_before_new_ones_even_if_the_window_is_full() {
    let queue = QueueLimits {
        store_qos0: true,
        ..QueueLimits::default()
    };
    let mut session = Session::new(Arc::new(Limits {
        max_inflight: 1,
        queue,
        ..Limits::default()
    }));
    let mut wire = Wire::default();
    for (name, qos) in [
        (1, QoS::AtLeastOnce),
        (2, QoS::AtLeastOnce),
        (3, QoS::AtMostOnce),
    ] {
        session.send(delivery(name, qos), 0, &mut wire);
    }
    let mut wire = connect(&mut session, Version::V311, 65_535, 0);
    session.send(delivery(4, QoS::AtMostOnce), 0, &mut wire);
    assert_eq!(
        wire.published,
        [(1, 1, false), (3, 0, false), (4, 0, false)]
    );
    assert_eq!(session.queue_len(), 1);
}

#[test]
fn a_message_that_pushes_out_its_own_earlier_delivery_is_queued() {
    let queue = QueueLimits {
        max_length: 1,
        ..QueueLimits::default()
    };
    let mut session = Session::new(Arc::new(Limits {
        queue,
        ..Limits::default()
    }));
    let mut wire = Wire::default();
    let message = message(1);
    for _ in 0..2 {
        let sent = session.send(
            Delivery::new(Arc::clone(&message), QoS::AtLeastOnce),
            0,
            &mut wire,
        );
        assert_eq!(sent, Sent::Queued);
    }
    assert_eq!((session.queue_len(), wire.effects.len()), (1, 1));
}

#[test]
fn an_alarm_ends_with_an_empty_queue_whatever_the_low_mark() {
    let queue = QueueLimits {
        max_length: 2,
        high_watermark: 60,
        low_watermark: 0,
        ..QueueLimits::default()
    };
    let mut session = Session::new(Arc::new(Limits {
        queue,
        ..Limits::default()
    }));
    let mut wire = Wire::default();
    for name in 0..2 {
        session.send(delivery(name, QoS::AtLeastOnce), 0, &mut wire);
    }
    assert!(matches!(&*wire.effects, [Effect::QueueHigh(2)]));
    let wire = connect(&mut session, Version::V311, 65_535, 0);
    assert!(matches!(&*wire.effects, [Effect::QueueLow]));
}

#[test]
fn what_waits_goes_on_after_messages_in_flight_were_revoked() {
    let mut session = Session::new(Arc::new(Limits {
        max_inflight: 1,
        ..Limits::default()
    }));
    let mut wire = connect(&mut session, Version::V311, 65_535, 0);
    for name in 1..3 {
        session.send(delivery(name, QoS::AtLeastOnce), 0, &mut wire);
    }
    assert_eq!(
        session
            .revoke(|message| message.payload()[0] != 1, &mut wire)
            .len(),
        1
    );
    session.puback(1, 0, &mut wire);
    assert_eq!(wire.published, [(1, 1, false), (2, 2, false)]);
}

/// What an MQTT 5 client left behind on an earlier connection does not keep it out [MQTT-4.9.0-1].
#[test]
fn inbound_qos_2_of_an_earlier_connection_makes_room() {
    let mut session = Session::new(Arc::new(Limits {
        max_awaiting_rel: 2,
        ..Limits::default()
    }));
    let keep = || message(b'i');
    session.attach(Version::V5, 10, 1);
    assert_eq!(session.begin_qos2(1, 1, keep), Inbound::New);
    assert_eq!(session.begin_qos2(2, 1, keep), Inbound::New);
    assert_eq!(session.begin_qos2(3, 1, keep), Inbound::Full);
    session.detach();
    session.attach(Version::V5, 10, 2);
    assert_eq!(session.begin_qos2(2, 2, keep), Inbound::Duplicate);
    assert_eq!(session.begin_qos2(3, 2, keep), Inbound::Replaced(1));
    assert_eq!(session.begin_qos2(4, 2, keep), Inbound::Full);
}

#[test]
fn bytes_are_counted_where_they_are_held() {
    let mut session = Session::new(Arc::new(Limits {
        max_inflight: 1,
        ..Limits::default()
    }));
    let mut wire = connect(&mut session, Version::V311, 65_535, 0);
    for name in 1..=3 {
        session.send(delivery(name, QoS::ExactlyOnce), 0, &mut wire);
    }
    // The topic has one byte, the payload ten.
    assert_eq!(session.inflight_bytes(), 11);
    assert_eq!(session.queue_bytes_in_memory(), 22);
    session.pubrec(1, false, 0, &mut wire);
    assert_eq!(session.inflight_bytes(), 0, "released: no body is needed");
    session.begin_qos2(7, 0, || message(9));
    assert_eq!(session.inflight_bytes(), 11);
}
