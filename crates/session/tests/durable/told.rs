//! What is told to the store.

use super::*;

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
