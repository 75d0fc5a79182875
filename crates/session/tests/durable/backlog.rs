//! A queue of which most is on disk.

use super::*;

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

/// Those who store messages are not as fast as each other: one with a lower number may be heard of, and even
/// be stored, only after a page was asked for.
#[test]
fn a_lower_number_that_was_counted_after_the_question_is_not_forgotten() {
    let mut session = durable(1, QueueLimits::default());
    let mut wire = Wire::default();
    send(&mut session, [1, 2, 3, 4, 6, 8], &mut wire);
    connect(&mut session, &mut wire);
    session.puback(1, 0, &mut wire);
    assert_eq!(wire.pages(), [(6, 9, 2)]);
    send(&mut session, [5, 7], &mut wire);
    session.page(page([6, 8]), None, 0, &mut wire);
    assert_eq!((session.queue_len(), session.queue_bytes()), (6, 60));
    for id in 2..9 {
        session.puback(id, 0, &mut wire);
        if let [(from, to, _)] = wire.pages()[..] {
            assert_eq!((from, to), (5, 8));
            session.page(page([5, 7]), None, 0, &mut wire);
        }
    }
    assert_eq!(wire.numbers(), [1, 2, 3, 4, 6, 8, 5, 7]);
    assert_eq!(session.queue_len(), 0);
}

/// 5 and 7 are of one publisher, and 5 was not yet on disk when the page was read.
#[test]
fn what_was_counted_after_the_question_is_not_taken_before_older_ones() {
    let mut session = durable(1, QueueLimits::default());
    let mut wire = Wire::default();
    send(&mut session, [1, 2, 3, 4, 6, 8], &mut wire);
    connect(&mut session, &mut wire);
    session.puback(1, 0, &mut wire);
    assert_eq!(wire.pages(), [(6, 9, 2)]);
    send(&mut session, [5, 7], &mut wire);
    session.page(page([6, 7]), Some(8), 0, &mut wire);
    session.puback(2, 0, &mut wire);
    assert_eq!(wire.pages(), [(5, 9, 2)]);
    session.page(page([5, 7]), Some(8), 0, &mut wire);
    for id in 3..9 {
        session.puback(id, 0, &mut wire);
        if let [(from, to, _)] = wire.pages()[..] {
            assert_eq!((from, to), (8, 9));
            session.page(page([8]), None, 0, &mut wire);
        }
    }
    assert_eq!(wire.numbers(), [1, 2, 3, 4, 6, 5, 7, 8]);
}

/// In memory at once; on disk as it is read, which it is now whether there is a client or not.
#[test]
fn a_queue_is_cleared_on_disk_too() {
    for online in [false, true] {
        let mut session = durable(1, QueueLimits::default());
        let mut wire = Wire::default();
        if online {
            connect(&mut session, &mut wire);
        }
        send(&mut session, 1..1001, &mut wire);
        let in_memory = session.queue_len_in_memory();
        let in_flight = session.inflight_len();
        assert_eq!(in_flight, usize::from(online));
        let on_disk = session.clear_backlog(&mut wire);
        assert_eq!(in_flight + in_memory + on_disk, 1000);
        assert_eq!(session.clear(2, &mut wire).len(), 2.min(in_memory));
        session.clear(usize::MAX, &mut wire);
        // What comes now is to stay.
        send(&mut session, 1001..1004, &mut wire);
        let mut read = 0;
        while let [(from, to, most)] = wire.pages()[..] {
            if to > 1001 {
                break;
            }
            let behind = to.min(from + most as u64);
            read += behind - from;
            let next = (behind < to).then_some(behind);
            session.page(page(from..behind), next, 0, &mut wire);
        }
        assert_eq!(read as usize, on_disk, "{online}");
        let done = wire
            .told
            .iter()
            .filter(|told| matches!(told, Told::Done(_)));
        assert_eq!(done.count(), in_memory + on_disk);
        let cleared = |e: &&Effect| matches!(e, Effect::Dropped(_, Dropped::Cleared));
        assert_eq!(wire.effects.iter().filter(cleared).count(), on_disk);
        assert_eq!((session.queue_len(), session.dropped), (3, 0));
        assert_eq!(session.inflight_len(), in_flight);
    }
}
