//! After a restart.

use super::*;

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
