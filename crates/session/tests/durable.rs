//! Single cases of a durable session: what it tells the store, what it leaves on disk, how it comes back.

#![allow(clippy::unwrap_used, missing_docs)]

use emqttd_mqtt::{QoS, ReasonCode, Version};
use emqttd_session::{
    Ack, Change, Delivery, Dropped, Effect, GroupRef, Inbound, Limits, Message, MessageParts,
    QueueLimits, Restored, RestoredFlight, Sent, Session, Sink,
};
use std::sync::Arc;

const GROUP: GroupRef = GroupRef(9);

/// A record, with the number of its delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Sent(u16, u64),
    Released(u16, Option<u64>),
    Completed(u16, Option<u64>),
    Done(u64),
}

#[derive(Default)]
struct Wire {
    max_packet: Option<usize>,
    /// number, identifier, DUP
    published: Vec<(u64, u16, bool)>,
    rels: Vec<u16>,
    effects: Vec<Effect>,
    told: Vec<Told>,
}

impl Wire {
    /// The pages that were asked for.
    fn pages(&mut self) -> Vec<(u64, u64, usize)> {
        let pages = self.effects.iter().filter_map(|effect| match effect {
            Effect::WantPage { from, to, most } => Some((*from, *to, *most)),
            _ => None,
        });
        let pages = pages.collect();
        self.effects
            .retain(|effect| !matches!(effect, Effect::WantPage { .. }));
        pages
    }

    fn numbers(&self) -> Vec<u64> {
        self.published.iter().map(|(seq, ..)| *seq).collect()
    }
}

impl Sink for Wire {
    fn publish(&mut self, delivery: &Delivery, id: u16, dup: bool) -> bool {
        let fits = self
            .max_packet
            .is_none_or(|most| delivery.message.size() <= most);
        if fits {
            self.published.push((delivery.seq, id, dup));
        }
        fits
    }

    fn pubrel(&mut self, id: u16, _: ReasonCode) {
        self.rels.push(id);
    }

    fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    fn record(&mut self, change: Change<'_>) {
        self.told.push(match change {
            Change::Sent { id, delivery } => Told::Sent(id, delivery.seq),
            Change::Released { id, delivery } => Told::Released(id, delivery.map(|d| d.seq)),
            Change::Completed { id, delivery } => Told::Completed(id, delivery.map(|d| d.seq)),
            Change::Done { delivery } => Told::Done(delivery.seq),
        });
    }
}

fn message(size: usize, expires_at: u64) -> Arc<Message> {
    let payload = vec![0; size - 1];
    let parts = MessageParts {
        topic: "t",
        properties: &[],
        payload: &payload,
        qos: QoS::ExactlyOnce,
        retain: false,
    };
    Arc::new(Message::new(parts, None, 0, expires_at))
}

/// A stored delivery of ten bytes.
fn stored(seq: u64, qos: QoS) -> Delivery {
    let mut delivery = Delivery::new(message(10, u64::MAX), qos);
    delivery.seq = seq;
    delivery
}

fn page(seqs: impl IntoIterator<Item = u64>) -> Vec<Delivery> {
    seqs.into_iter()
        .map(|seq| stored(seq, QoS::AtLeastOnce))
        .collect()
}

fn limits(max_inflight: u16, queue: QueueLimits) -> Arc<Limits> {
    Arc::new(Limits {
        max_inflight,
        queue,
        ..Limits::default()
    })
}

/// Four stored messages may wait in memory.
fn few(queue: QueueLimits) -> QueueLimits {
    QueueLimits {
        ram_most: 4,
        ..queue
    }
}

fn durable(max_inflight: u16, queue: QueueLimits) -> Session {
    let mut session = Session::new(limits(max_inflight, few(queue)));
    session.set_durable(true);
    session
}

fn send(session: &mut Session, seqs: impl IntoIterator<Item = u64>, wire: &mut Wire) {
    for seq in seqs {
        session.send(stored(seq, QoS::AtLeastOnce), 0, wire);
    }
}

fn connect(session: &mut Session, wire: &mut Wire) {
    session.detach();
    session.attach(Version::V5, 65_535, 0);
    session.resume(0, wire);
}

fn flight(id: u16, seq: u64) -> RestoredFlight {
    RestoredFlight {
        id,
        released: false,
        seq,
        group: None,
    }
}

fn restored(in_flight: Vec<RestoredFlight>, front: u64, next: u64, owed: usize) -> Restored {
    Restored {
        version: Version::V5,
        last_id: 7,
        in_flight,
        front,
        next,
        owed,
        bytes: owed * 10,
        awaiting: Vec::new(),
    }
}

// What is told to the store.

#[test]
fn each_step_of_a_stored_flow_is_told_once() {
    let mut session = durable(0, QueueLimits::default());
    let mut wire = Wire::default();
    connect(&mut session, &mut wire);
    session.send(stored(5, QoS::AtLeastOnce), 0, &mut wire);
    session.send(stored(6, QoS::ExactlyOnce), 0, &mut wire);
    session.send(stored(7, QoS::ExactlyOnce), 0, &mut wire);
    assert_eq!(
        wire.told,
        [Told::Sent(1, 5), Told::Sent(2, 6), Told::Sent(3, 7)]
    );
    wire.told.clear();
    connect(&mut session, &mut wire);
    assert_eq!(wire.told, [], "sent again under the same identifiers");
    session.puback(1, 0, &mut wire);
    session.pubrec(2, false, 0, &mut wire);
    session.pubrec(2, false, 0, &mut wire);
    session.pubcomp(2, 0, &mut wire);
    session.pubrec(3, true, 0, &mut wire);
    assert_eq!(
        wire.told,
        [
            Told::Completed(1, Some(5)),
            Told::Released(2, Some(6)),
            Told::Completed(2, None),
            Told::Completed(3, Some(7)),
        ]
    );
}

#[test]
fn of_what_is_not_stored_only_identifiers_at_qos_2_are_told() {
    let queue = QueueLimits {
        max_length: 1,
        store_qos0: true,
        ..QueueLimits::default()
    };
    let mut session = durable(1, queue.clone());
    let mut wire = Wire::default();
    connect(&mut session, &mut wire);
    for qos in [QoS::AtLeastOnce, QoS::AtMostOnce, QoS::ExactlyOnce] {
        session.send(stored(0, qos), 0, &mut wire);
        session.send(stored(0, qos), 0, &mut wire);
    }
    session.puback(1, 0, &mut wire);
    session.revoke(|_| true, &mut wire);
    assert_eq!(wire.told, [Told::Sent(2, 0)]);
    session.pubrec(2, false, 0, &mut wire);
    session.pubcomp(2, 0, &mut wire);
    assert_eq!(
        wire.told[1..],
        [Told::Released(2, Some(0)), Told::Completed(2, None)]
    );

    let mut session = Session::new(limits(1, queue));
    let mut wire = Wire::default();
    connect(&mut session, &mut wire);
    session.send(stored(0, QoS::ExactlyOnce), 0, &mut wire);
    session.pubrec(1, false, 0, &mut wire);
    session.pubcomp(1, 0, &mut wire);
    assert_eq!(wire.told, [], "it is not durable");
}

/// Its message is lost, but the client may hold the identifier.
#[test]
fn an_identifier_of_a_message_that_was_not_stored_is_let_go_after_a_restart() {
    let mut session = Session::restored(Arc::default(), restored(vec![flight(8, 0)], 1, 1, 0));
    assert!(!session.needs_loading());
    let mut wire = Wire::default();
    connect(&mut session, &mut wire);
    assert_eq!(wire.rels, [8]);
    session.pubcomp(8, 0, &mut wire);
    assert_eq!(wire.told, [Told::Completed(8, None)]);
}

#[test]
fn what_is_gone_without_having_been_sent_is_told_as_done() {
    let queue = QueueLimits {
        max_length: 2,
        max_bytes: 100,
        ..QueueLimits::default()
    };
    let mut session = durable(1, queue);
    let mut wire = Wire {
        max_packet: Some(50),
        ..Wire::default()
    };
    let delivery = |seq, size, expires_at| {
        let mut delivery = stored(seq, QoS::AtLeastOnce);
        delivery.message = message(size, expires_at);
        delivery
    };
    session.send(delivery(1, 10, 5), 5, &mut wire);
    assert_eq!(wire.told, [Told::Done(1)], "expired");
    send(&mut session, 2..5, &mut wire);
    assert_eq!(wire.told[1..], [Told::Done(2)], "the queue was full");
    session.send(delivery(5, 200, u64::MAX), 5, &mut wire);
    assert_eq!(wire.told[2..], [Told::Done(5)], "larger than the queue");
    session.send(delivery(6, 60, u64::MAX), 5, &mut wire);
    session.send(delivery(7, 10, 8), 5, &mut wire);
    assert_eq!(wire.told[3..], [Told::Done(3), Told::Done(4)]);
    session.attach(Version::V5, 10, 9);
    session.resume(9, &mut wire);
    assert_eq!(
        wire.told[5..],
        [Told::Done(6), Told::Done(7)],
        "too large, then expired"
    );
    send(&mut session, 8..11, &mut wire);
    assert_eq!(wire.told[7..], [Told::Sent(1, 8)]);
    session.revoke(|_| false, &mut wire);
    assert_eq!(
        wire.told[8..],
        [Told::Done(9), Told::Done(10), Told::Completed(1, Some(8))]
    );
}

#[test]
fn a_flow_given_up_at_qos_2_is_told_as_released() {
    let mut session = durable(0, QueueLimits::default());
    let mut wire = Wire::default();
    connect(&mut session, &mut wire);
    for (seq, qos) in [
        (1, QoS::ExactlyOnce),
        (2, QoS::AtLeastOnce),
        (3, QoS::ExactlyOnce),
    ] {
        session.send(stored(seq, qos), 0, &mut wire);
    }
    wire.told.clear();
    session.revoke(|_| false, &mut wire);
    assert_eq!(
        wire.told,
        [
            Told::Released(1, Some(1)),
            Told::Completed(2, Some(2)),
            Told::Released(3, Some(3))
        ]
    );
    session.send(stored(4, QoS::ExactlyOnce), 0, &mut wire);
    session.send(stored(5, QoS::AtLeastOnce), 0, &mut wire);
    wire.told.clear();
    wire.max_packet = Some(5);
    connect(&mut session, &mut wire);
    assert_eq!(
        wire.told,
        [Told::Released(4, Some(4)), Told::Completed(5, Some(5))]
    );
    wire.told.clear();
    session.pubcomp(1, 0, &mut wire);
    assert_eq!(wire.told, [Told::Completed(1, None)]);
}

#[test]
fn a_session_that_ends_says_what_its_groups_are_owed_no_more() {
    let mut session = durable(3, QueueLimits::default());
    let mut wire = Wire::default();
    connect(&mut session, &mut wire);
    let grouped = |seq, qos| Delivery {
        group: Some(GROUP),
        ..stored(seq, qos)
    };
    session.send(grouped(1, QoS::ExactlyOnce), 0, &mut wire);
    session.send(grouped(2, QoS::AtLeastOnce), 0, &mut wire);
    session.send(grouped(3, QoS::ExactlyOnce), 0, &mut wire);
    session.send(grouped(4, QoS::ExactlyOnce), 0, &mut wire);
    session.send(stored(5, QoS::AtLeastOnce), 0, &mut wire);
    session.send(grouped(0, QoS::AtLeastOnce), 0, &mut wire);
    session.pubrec(3, false, 0, &mut wire);
    wire.told.clear();
    let owed = session.into_owed();
    let seqs = |list: &[Delivery]| list.iter().map(|d| d.seq).collect::<Vec<_>>();
    assert_eq!(seqs(&owed.pass_on), [2, 4, 0]);
    assert_eq!(seqs(&owed.lost), [1]);
    assert_eq!(owed.unloaded, []);

    let flights = vec![
        RestoredFlight {
            group: Some(GROUP),
            ..flight(1, 20)
        },
        flight(2, 3),
    ];
    let owed = Session::restored(Arc::default(), restored(flights, 3, 4, 1)).into_owed();
    assert_eq!(owed.unloaded, [(GROUP, 20)]);
}

// The backlog.

#[test]
fn a_long_queue_is_read_from_disk_in_its_order() {
    let mut session = durable(2, QueueLimits::default());
    let mut wire = Wire::default();
    send(&mut session, 1..11, &mut wire);
    assert_eq!((session.queue_len(), session.queue_bytes()), (10, 100));
    assert_eq!(wire.pages(), [], "nobody is there to take it");
    connect(&mut session, &mut wire);
    assert_eq!(wire.numbers(), [1, 2]);
    assert_eq!(wire.pages(), [(5, 11, 2)]);
    // New ones go behind those on disk, which are not asked for twice.
    send(&mut session, 11..12, &mut wire);
    session.puback(1, 0, &mut wire);
    assert_eq!((wire.pages(), session.queue_len()), (vec![], 8));
    session.page(page(5..7), Some(7), 0, &mut wire);
    assert_eq!(wire.pages(), []);
    session.puback(2, 0, &mut wire);
    assert_eq!(wire.pages(), [(7, 12, 2)]);
    session.page(page(7..9), Some(9), 0, &mut wire);
    for id in 3..12 {
        session.puback(id, 0, &mut wire);
        if let [(from, to, most)] = wire.pages()[..] {
            let behind = to.min(from + most as u64);
            let next = (behind < to).then_some(behind);
            session.page(page(from..behind), next, 0, &mut wire);
        }
    }
    assert_eq!(wire.numbers(), (1..12).collect::<Vec<_>>());
    assert_eq!((session.queue_len(), session.queue_bytes()), (0, 0));
    assert!(session.has_room());
    session.detach();
}

/// The word of a message may be slower than the message itself.
#[test]
fn only_what_was_counted_is_taken_from_a_page() {
    let mut session = durable(1, QueueLimits::default());
    let mut wire = Wire::default();
    send(&mut session, [1, 2, 3, 4, 6, 8], &mut wire);
    connect(&mut session, &mut wire);
    for id in 1..3 {
        session.puback(id, 0, &mut wire);
    }
    assert_eq!(wire.pages(), [(6, 9, 2)]);
    session.page(page(5..10), None, 0, &mut wire);
    assert_eq!(session.queue_len(), 3, "4, 6, 8");
    send(&mut session, [7, 5, 9], &mut wire);
    for id in 3..9 {
        session.puback(id, 0, &mut wire);
        if let [(from, to, _)] = wire.pages()[..] {
            session.page(page(from..to), None, 0, &mut wire);
        }
    }
    assert_eq!(wire.numbers(), [1, 2, 3, 4, 6, 8, 7, 5, 9]);
    assert_eq!(session.queue_len(), 0);
}

#[test]
fn a_page_that_nobody_asked_for_is_not_taken() {
    let mut session = durable(1, QueueLimits::default());
    let mut wire = Wire::default();
    session.page(page(1..3), None, 0, &mut wire);
    send(&mut session, 1..7, &mut wire);
    session.page(page(5..7), None, 0, &mut wire);
    assert_eq!(session.queue_len(), 6);
    connect(&mut session, &mut wire);
    assert_eq!(wire.numbers(), [1]);
}

#[test]
fn messages_that_cannot_be_read_hold_nothing_up() {
    let mut session = durable(1, QueueLimits::default());
    let mut wire = Wire::default();
    send(&mut session, 1..11, &mut wire);
    connect(&mut session, &mut wire);
    session.puback(1, 0, &mut wire);
    assert_eq!(wire.pages(), [(5, 11, 2)]);
    send(&mut session, 11..13, &mut wire);
    // 5 and 6 are lost, and 7 is one of those that were asked for.
    session.page(page([7]), Some(8), 0, &mut wire);
    assert_eq!((session.queue_len(), session.queue_bytes()), (8, 80));
    session.puback(2, 0, &mut wire);
    assert_eq!(wire.pages(), [(8, 13, 2)]);
    session.page(vec![], None, 0, &mut wire);
    assert_eq!((session.queue_len(), session.queue_bytes()), (2, 20));
    for id in 3..6 {
        session.puback(id, 0, &mut wire);
    }
    assert!(session.has_room());
    assert_eq!(wire.numbers(), [1, 2, 3, 4, 7]);
}

#[test]
fn what_was_counted_after_the_question_is_not_forgotten() {
    let mut session = durable(1, QueueLimits::default());
    let mut wire = Wire::default();
    send(&mut session, 1..6, &mut wire);
    connect(&mut session, &mut wire);
    session.puback(1, 0, &mut wire);
    assert_eq!(wire.pages(), [(5, 6, 2)]);
    send(&mut session, 6..8, &mut wire);
    session.page(vec![], None, 0, &mut wire);
    assert_eq!(session.queue_len(), 4, "3, 4 and those of later");
    assert_eq!(wire.pages(), [(6, 8, 2)]);
    session.page(page(6..8), None, 0, &mut wire);
    for id in 2..6 {
        session.puback(id, 0, &mut wire);
    }
    assert_eq!(wire.numbers(), [1, 2, 3, 4, 6, 7]);
}

#[test]
fn the_bounds_hold_for_memory_and_disk_together() {
    let queue = QueueLimits {
        max_length: 6,
        ..QueueLimits::default()
    };
    let mut session = durable(1, queue);
    let mut wire = Wire::default();
    send(&mut session, 1..7, &mut wire);
    assert_eq!(wire.told, []);
    send(&mut session, 7..11, &mut wire);
    assert_eq!(wire.told, [1, 2, 3, 4].map(Told::Done));
    assert_eq!((session.queue_len(), session.dropped), (6, 4));
    assert_eq!(wire.pages(), []);
    // Nothing is left in memory: what is to go has to be read first.
    send(&mut session, 11..13, &mut wire);
    assert_eq!(wire.pages(), [(5, 12, 4)]);
    assert_eq!(session.queue_len(), 8);
    session.page(page(5..9), Some(9), 0, &mut wire);
    assert_eq!(wire.told[4..], [5, 6].map(Told::Done));
    assert_eq!((session.queue_len(), session.dropped), (6, 6));
    assert!(
        wire.effects
            .iter()
            .all(|e| matches!(e, Effect::Dropped(_, Dropped::Full)))
    );
    connect(&mut session, &mut wire);
    assert_eq!(wire.numbers(), [7]);
}

#[test]
fn bytes_are_bounded_in_memory_and_on_disk_together() {
    let queue = QueueLimits {
        max_bytes: 60,
        ..QueueLimits::default()
    };
    let mut session = durable(1, queue);
    let mut wire = Wire::default();
    send(&mut session, 1..8, &mut wire);
    assert_eq!(wire.told, [Told::Done(1)]);
    assert_eq!(session.queue_bytes(), 60);
    let mut large = stored(8, QoS::AtLeastOnce);
    large.message = message(61, u64::MAX);
    assert_eq!(session.send(large, 0, &mut wire), Sent::Gone);
    assert_eq!(wire.told[1..], [Told::Done(8)]);
}

#[test]
fn the_alarm_counts_what_is_on_disk() {
    let queue = QueueLimits {
        max_length: 10,
        high_watermark: 60,
        low_watermark: 40,
        ..QueueLimits::default()
    };
    let mut session = durable(1, queue);
    let mut wire = Wire::default();
    send(&mut session, 1..8, &mut wire);
    assert!(matches!(&*wire.effects, [Effect::QueueHigh(7)]));
    connect(&mut session, &mut wire);
    for id in 1..3 {
        session.puback(id, 0, &mut wire);
    }
    assert_eq!(wire.pages(), [(5, 8, 2)]);
    wire.effects.clear();
    session.page(vec![], None, 0, &mut wire);
    assert!(matches!(&*wire.effects, [Effect::QueueLow]));
}

#[test]
fn what_expired_on_disk_is_done_with() {
    let mut session = durable(1, QueueLimits::default());
    let mut wire = Wire::default();
    send(&mut session, 1..6, &mut wire);
    connect(&mut session, &mut wire);
    session.puback(1, 0, &mut wire);
    wire.told.clear();
    let mut expired = stored(5, QoS::AtLeastOnce);
    expired.message = message(10, 3);
    session.page(vec![expired], None, 3, &mut wire);
    assert_eq!(wire.told, [Told::Done(5)]);
    assert!(matches!(&wire.effects[..], [.., Effect::Expired(_)]));
    assert_eq!(session.queue_len(), 2);
}

#[test]
fn with_priorities_all_waits_in_memory() {
    let priorities = Some(Arc::new(vec![("t".to_owned(), 1)]));
    let queue = QueueLimits {
        priorities,
        ..QueueLimits::default()
    };
    let mut session = durable(1, queue.clone());
    let mut wire = Wire::default();
    send(&mut session, 1..11, &mut wire);
    connect(&mut session, &mut wire);
    for id in 1..11 {
        session.puback(id, 0, &mut wire);
    }
    assert_eq!(wire.pages(), []);
    assert_eq!(wire.numbers(), (1..11).collect::<Vec<_>>());

    // After a restart they have to be read, all of them.
    let mut session = Session::restored(limits(1, few(queue)), restored(vec![], 1, 11, 10));
    let mut wire = Wire::default();
    send(&mut session, 11..12, &mut wire);
    connect(&mut session, &mut wire);
    assert_eq!(wire.pages(), [(1, 12, 4)]);
    session.page(page(1..5), Some(5), 0, &mut wire);
    assert_eq!(wire.pages(), [(5, 12, 4)]);
    session.page(page(5..12), None, 0, &mut wire);
    assert_eq!(wire.pages(), []);
    send(&mut session, 12..13, &mut wire);
    for id in 8..20 {
        session.puback(id, 0, &mut wire);
    }
    assert_eq!(wire.numbers(), (1..13).collect::<Vec<_>>());
}

#[test]
fn lost_rights_are_told_until_all_on_disk_has_been_read() {
    let mut session = durable(1, QueueLimits::default());
    let mut wire = Wire::default();
    send(&mut session, 1..5, &mut wire);
    session.revoke(|_| true, &mut wire);
    assert!(!session.filters_backlog(), "nothing is on disk");
    send(&mut session, 5..6, &mut wire);
    session.revoke(|_| true, &mut wire);
    assert!(session.filters_backlog());
    connect(&mut session, &mut wire);
    session.puback(1, 0, &mut wire);
    session.page(page(5..6), None, 0, &mut wire);
    assert!(!session.filters_backlog());
    send(&mut session, 6..9, &mut wire);
    session.filter_backlog();
    assert!(session.filters_backlog());
}

/// Revoking may take all that was in memory, and nothing else would then ask for the rest.
#[test]
fn the_disk_is_asked_when_all_in_memory_was_revoked() {
    let mut session = durable(1, QueueLimits::default());
    let mut wire = Wire::default();
    connect(&mut session, &mut wire);
    send(&mut session, 1..7, &mut wire);
    assert_eq!(wire.pages(), []);
    session.revoke(|_| false, &mut wire);
    assert_eq!(wire.pages(), [(6, 7, 4)]);
    session.page(page(6..7), None, 0, &mut wire);
    assert_eq!(wire.numbers(), [1, 6]);
}

// After a restart.

#[test]
fn what_was_in_flight_is_sent_again_under_its_identifiers_when_its_bodies_are_there() {
    let flights = vec![
        flight(5, 3),
        RestoredFlight {
            released: true,
            ..flight(6, 4)
        },
        RestoredFlight {
            group: Some(GROUP),
            ..flight(7, 40)
        },
    ];
    // 1 and 2 are owed too; 4 is not any more.
    let mut session = Session::restored(
        limits(3, few(QueueLimits::default())),
        restored(flights, 1, 5, 3),
    );
    assert_eq!((session.inflight_len(), session.queue_len()), (3, 2));
    assert!(session.needs_loading() && session.durable());
    let missing: Vec<_> = session.missing().collect();
    assert_eq!(missing, [(5, 3, None), (7, 40, Some(GROUP))]);

    let mut wire = Wire::default();
    connect(&mut session, &mut wire);
    assert!(!session.has_room());
    assert_eq!(wire.pages(), [(1, 3, 4)]);
    send(&mut session, 5..6, &mut wire);
    session.page(page(1..3), None, 0, &mut wire);
    assert_eq!(
        session.send(stored(0, QoS::AtMostOnce), 0, &mut wire),
        Sent::Now
    );
    wire.published.clear();
    // They are acknowledged when they have been sent again.
    assert_eq!(session.puback(5, 0, &mut wire), Ack::Missed);
    assert_eq!(session.pubrec(7, false, 0, &mut wire), Ack::Missed);
    assert_eq!(session.pubcomp(7, 0, &mut wire), Ack::Missed);
    assert_eq!(
        (&*wire.published, &*wire.rels, &*wire.told),
        (&[][..], &[][..], &[][..])
    );

    let bodies = vec![
        (5, Some(stored(3, QoS::AtLeastOnce))),
        (7, Some(stored(0, QoS::ExactlyOnce))),
    ];
    session.loaded_in_flight(bodies, 0, &mut wire);
    assert!(!session.needs_loading());
    assert_eq!(wire.published, [(3, 5, true), (40, 7, true)]);
    assert_eq!((&*wire.rels, &*wire.told), (&[6][..], &[][..]));
    wire.published.clear();
    session.pubcomp(6, 0, &mut wire);
    session.puback(5, 0, &mut wire);
    assert_eq!(
        wire.told,
        [
            Told::Completed(6, None),
            Told::Sent(8, 1),
            Told::Completed(5, Some(3)),
            Told::Sent(9, 2)
        ]
    );
    assert_eq!(wire.published, [(1, 8, false), (2, 9, false)]);
    session.loaded_in_flight(vec![], 0, &mut wire);
    assert_eq!(wire.told.len(), 4, "nothing is given up later");
}

#[test]
fn what_cannot_be_read_of_what_was_in_flight_is_let_go() {
    let mut session = Session::restored(
        limits(3, few(QueueLimits::default())),
        restored(vec![flight(5, 3), flight(6, 4)], 3, 5, 2),
    );
    let mut wire = Wire::default();
    session.loaded_in_flight(vec![(5, None)], 0, &mut wire);
    assert_eq!(
        wire.told,
        [Told::Released(5, None), Told::Released(6, None)]
    );
    assert_eq!((wire.rels.len(), session.queue_bytes()), (0, 0));
    connect(&mut session, &mut wire);
    assert_eq!(wire.rels, [5, 6]);
    session.pubcomp(5, 0, &mut wire);
    assert_eq!(wire.told[2..], [Told::Completed(5, None)]);
}

#[test]
fn what_was_in_flight_does_not_count_as_waiting() {
    let mut session = Session::restored(
        limits(3, few(QueueLimits::default())),
        restored(vec![flight(5, 3)], 1, 5, 4),
    );
    assert_eq!(session.queue_len(), 3);
    let mut wire = Wire::default();
    session.loaded_in_flight(vec![(5, Some(stored(3, QoS::AtLeastOnce)))], 0, &mut wire);
    assert_eq!((session.queue_len(), session.queue_bytes()), (3, 30));
}

#[test]
fn a_connection_that_went_before_the_bodies_came_is_not_resumed() {
    let mut session = Session::restored(Arc::default(), restored(vec![flight(5, 3)], 3, 4, 1));
    let mut wire = Wire::default();
    connect(&mut session, &mut wire);
    session.detach();
    session.loaded_in_flight(vec![(5, Some(stored(3, QoS::AtLeastOnce)))], 0, &mut wire);
    assert_eq!(wire.published, []);
    connect(&mut session, &mut wire);
    assert_eq!(wire.published, [(3, 5, true)]);
}

#[test]
fn a_count_that_is_too_high_after_a_restart_is_corrected() {
    let mut session = Session::restored(
        limits(1, few(QueueLimits::default())),
        restored(vec![], 1, 100, 50),
    );
    let mut wire = Wire::default();
    send(&mut session, 100..102, &mut wire);
    assert_eq!(session.queue_len(), 52);
    connect(&mut session, &mut wire);
    assert_eq!(wire.pages(), [(1, 102, 4)]);
    session.page(page([10]), None, 0, &mut wire);
    assert_eq!((session.queue_len(), session.queue_bytes()), (0, 0));
    assert_eq!(wire.numbers(), [10]);
}

#[test]
fn inbound_qos_2_goes_on_after_a_restart() {
    let mut session = Session::restored(
        Arc::new(Limits {
            await_rel_timeout: 100,
            max_awaiting_rel: 1,
            ..Limits::default()
        }),
        Restored {
            awaiting: vec![(3, message(10, u64::MAX))],
            ..restored(vec![], 1, 1, 0)
        },
    );
    assert!(session.awaits(3));
    let mut wire = Wire::default();
    session.attach(Version::V5, 10, 50);
    session.resume(50, &mut wire);
    let new = || message(20, u64::MAX);
    assert_eq!(session.begin_qos2(3, 50, new), Inbound::Duplicate);
    session.detach();
    session.attach(Version::V5, 10, 50);
    assert_eq!(session.begin_qos2(4, 50, new), Inbound::Replaced(3));
    session.detach();
    session.attach(Version::V311, 10, 60);
    session.on_timer(160, &mut wire);
    assert!(matches!(&*wire.effects, [Effect::AwaitRelTimeout(4, _)]));
}

#[test]
fn identifiers_go_on_after_a_restart() {
    let mut session = Session::restored(Arc::default(), restored(vec![], 1, 1, 0));
    let mut wire = Wire::default();
    connect(&mut session, &mut wire);
    send(&mut session, 1..2, &mut wire);
    assert_eq!(wire.published, [(1, 8, false)]);
}
