//! Sessions that are put straight into their shards, which run on a thread of their own.

use super::*;
use crate::shard::Shard;
use emqttd_mqtt::QoS;
use emqttd_session::{Publisher, Session, Subscription};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// A broker with so many event loops, while `f` runs.
fn with_broker(shards: usize, f: impl FnOnce(&Broker)) {
    let text = b"node.name = emq@127.0.0.1\nmqtt.allow_anonymous = true\n";
    let settings = emqttd_config::load_text(text).unwrap().settings;
    let (broker, mut shards) = Broker::new(settings, shards).unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let loops = scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                for shard in &mut shards {
                    if shard.has_mail() {
                        shard.begin_round();
                        shard.receive();
                        shard.end_round();
                    }
                }
                std::thread::yield_now();
            }
        });
        // Also when it panics, so that the loops end.
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Release);
            }
        }
        let end = Over(&over);
        f(&broker);
        drop(end);
        loops.join().unwrap();
    });
}

fn add(shard: &mut Shard, clientid: &str) -> u32 {
    let publisher = Arc::new(Publisher {
        clientid: clientid.into(),
        username: None,
    });
    let session = Session::new(Arc::clone(&shard.limits));
    shard.new_session(session, &publisher)
}

fn subscribe(shard: &mut Shard, slot: u32, filter: &str, qos: QoS) {
    let subscription = Subscription {
        qos,
        no_local: false,
        retain_as_published: false,
        id: 0,
        unchecked: false,
    };
    shard.subscribe(slot, filter, subscription);
}

/// Puts sessions into their shards, all of a shard in one call.
fn fill(broker: &Broker, names: impl Iterator<Item = String>, make: fn(&mut Shard, u32)) {
    let mut by_shard = BTreeMap::<usize, Vec<String>>::new();
    for name in names {
        by_shard
            .entry(broker.node.shard_of(&name))
            .or_default()
            .push(name);
    }
    for (index, names) in by_shard {
        let fill = move |shard: &mut Shard| {
            for name in names {
                let slot = add(shard, &name);
                make(shard, slot);
            }
        };
        broker.on_shard(index, fill).unwrap();
    }
}

fn remove(broker: &Broker, name: &str) {
    let end = |shard: &mut Shard, slot| shard.end_session(slot, "normal");
    broker.on_client(name, end).unwrap();
}

type Sessions = Find<SessionFilter, SessionOrder>;

/// All pages after one another; `between` is called before each but the first.
fn all_pages<F: Clone, O: Copy, T>(
    find: &Find<F, O>,
    page: impl Fn(&Find<F, O>) -> Result<Page<T>, AdminError>,
    mut between: impl FnMut(),
) -> Vec<T> {
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let find = Find {
            filter: find.filter.clone(),
            after: after.take(),
            ..*find
        };
        let page = page(&find).unwrap();
        assert!(page.rows.len() <= find.limit);
        rows.extend(page.rows);
        after = page.next;
        if after.is_none() {
            return rows;
        }
        between();
    }
}

const ORDERS: [SessionOrder; 7] = [
    SessionOrder::ClientId,
    SessionOrder::MqueueLen,
    SessionOrder::MqueueDropped,
    SessionOrder::Inflight,
    SessionOrder::Subscriptions,
    SessionOrder::CreatedAt,
    SessionOrder::DeliverMsg,
];

fn key(order: SessionOrder, row: &SessionInfo) -> (u64, String) {
    let number = match order {
        SessionOrder::ClientId => 0,
        SessionOrder::MqueueLen => row.mqueue_len as u64,
        SessionOrder::MqueueDropped => row.mqueue_dropped,
        SessionOrder::Inflight => row.inflight as u64,
        SessionOrder::Subscriptions => row.subscriptions as u64,
        SessionOrder::CreatedAt => row.created_at,
        SessionOrder::DeliverMsg => row.deliver_msg,
    };
    (number, row.clientid.clone())
}

#[test]
fn sessions_come_in_every_order_both_ways() {
    with_broker(3, |broker| {
        fill(broker, (0..500).map(|n| format!("s{n}")), |shard, slot| {
            let entry = &mut shard.sessions[slot as usize];
            let n: u64 = entry.publisher.clientid[1..].parse().unwrap();
            entry.session.dropped = n % 13;
            entry.session.delivered = n * 7 % 31;
            entry.created_at = 1_000 - n % 3;
            for filter in 0..n % 4 {
                subscribe(shard, slot, &format!("f/{filter}"), QoS::AtMostOnce);
            }
        });
        let mut want = broker.sessions();
        for order in ORDERS {
            for descending in [false, true] {
                want.sort_by_key(|row| key(order, row));
                if descending {
                    want.reverse();
                }
                let find = Sessions {
                    order: Some(order),
                    descending,
                    limit: 37,
                    ..Find::default()
                };
                let got = all_pages(&find, |find| broker.find_sessions(find), || {});
                assert_eq!(got, want, "{order:?} {descending}");
                for offset in [0, 1, 36, 480, 499, 500, 9_999] {
                    let find = Sessions {
                        offset,
                        ..find.clone()
                    };
                    let page = broker.find_sessions(&find).unwrap();
                    let from = offset.min(500);
                    assert_eq!(page.rows, want[from..(from + 37).min(500)], "{offset}");
                    assert_eq!(page.next.is_some(), offset + 37 < 500, "{offset}");
                    assert_eq!((page.matched, page.total), (Some(500), 500));
                }
            }
        }
    });
}

#[test]
fn what_stays_is_on_one_page_whatever_comes_and_goes() {
    with_broker(2, |broker| {
        fill(broker, (0..1000).map(|n| format!("stays-{n}")), |_, _| {});
        fill(broker, (0..1000).map(|n| format!("goes-{n}")), |_, _| {});
        let orders = [None, Some(SessionOrder::ClientId)];
        let mut gone = 0;
        for (order, descending) in orders.iter().flat_map(|o| [(*o, false), (*o, true)]) {
            let find = Sessions {
                order,
                descending,
                limit: 100,
                ..Find::default()
            };
            let rows = all_pages(
                &find,
                |find| broker.find_sessions(find),
                || {
                    for _ in 0..8 {
                        remove(broker, &format!("goes-{gone}"));
                        gone += 1;
                        fill(broker, std::iter::once(format!("comes-{gone}")), |_, _| {});
                    }
                },
            );
            let stays = rows.iter().filter(|row| row.clientid.starts_with("stays"));
            let mut names: Vec<&str> = stays.map(|row| &*row.clientid).collect();
            assert_eq!(names.len(), 1000, "{order:?} {descending}");
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), 1000, "{order:?} {descending}");
        }
        assert!(gone > 400);
    });
}

#[test]
fn a_hundred_thousand_sessions_are_looked_through_in_pieces() {
    const ALL: usize = 100_000;
    with_broker(2, |broker| {
        fill(
            broker,
            (0..ALL).map(|n| format!("Device-{n:06}")),
            |_, _| {},
        );
        // Rounds are counted anew: those in which the shards were filled are long.
        broker.figures();
        let timed = |what: &str, find: &Sessions| {
            let begun = Instant::now();
            let page = broker.find_sessions(find).unwrap();
            println!("{what}: {:?}", begun.elapsed());
            page
        };
        let find = Sessions {
            limit: 100,
            ..Find::default()
        };
        let first = timed("a page as they lie", &find);
        assert_eq!(
            (first.rows.len(), first.matched, first.total),
            (100, Some(ALL), ALL)
        );
        let last = Sessions {
            order: Some(SessionOrder::ClientId),
            descending: true,
            ..find.clone()
        };
        let page = timed("the last by client id", &last);
        assert_eq!(page.rows[0].clientid, "Device-099999");
        assert_eq!(page.matched, Some(ALL));
        // More than are picked in one walk.
        let far = Sessions {
            offset: 99_990,
            descending: false,
            ..last
        };
        let page = timed("far behind, by client id", &far);
        assert_eq!(page.rows.len(), 10);
        assert_eq!(page.rows[0].clientid, "Device-099990");
        assert_eq!(page.next, None);
        let mut searched = find.clone();
        searched.filter.search = Some("DEVICE-01234".into());
        let page = timed("a search", &searched);
        assert_eq!((page.rows.len(), page.next, page.matched), (10, None, None));
        let begun = Instant::now();
        let find = Sessions {
            limit: MOST_ROWS,
            ..find
        };
        let mut names = all_pages(&find, |find| broker.find_sessions(find), || {});
        println!("all of them: {:?}", begun.elapsed());
        names.sort_by(|a, b| a.clientid.cmp(&b.clientid));
        names.dedup_by(|a, b| a.clientid == b.clientid);
        assert_eq!(names.len(), ALL);
        let longest = broker.loops().iter().map(|of| of.longest).max();
        println!("the longest round: {longest:?} microseconds");
    });
}

#[test]
fn subscriptions_of_one_session_are_paged_by_their_filters() {
    type Subscriptions = Find<SubscriptionFilter, SubscriptionOrder>;
    with_broker(2, |broker| {
        fill(
            broker,
            ["few", "many", "none"].map(String::from).into_iter(),
            |shard, slot| {
                let clientid = Arc::clone(&shard.sessions[slot as usize].publisher.clientid);
                let n = match &*clientid {
                    "few" => 3,
                    "many" => 5000,
                    _ => 0,
                };
                for n in 0..n {
                    let share = if n % 2 == 0 { "$share/g/" } else { "" };
                    let qos = QoS::from_u8((n % 3) as u8).unwrap();
                    subscribe(shard, slot, &format!("{share}T/{n}"), qos);
                }
            },
        );
        let find = Subscriptions {
            limit: 100,
            ..Find::default()
        };
        let of = |row: &SubscriptionInfo| {
            (
                row.clientid.clone(),
                row.topic.clone(),
                row.qos,
                row.share.clone(),
            )
        };
        let mut want: Vec<_> = broker.subscriptions().iter().map(of).collect();
        want.sort();
        assert_eq!(want.len(), 5003);
        for order in [
            None,
            Some(SubscriptionOrder::ClientId),
            Some(SubscriptionOrder::Topic),
        ] {
            let find = Subscriptions {
                order,
                ..find.clone()
            };
            let got = all_pages(&find, |find| broker.find_subscriptions(find), || {});
            if order == Some(SubscriptionOrder::Topic) {
                assert!(got.is_sorted_by_key(|row| (row.topic.clone(), row.clientid.clone())));
            }
            let mut got: Vec<_> = got.iter().map(of).collect();
            got.sort();
            assert!(got == want, "{order:?}");
        }
        // Some go while they are looked through.
        let mut next = 0;
        let got = all_pages(
            &find,
            |find| broker.find_subscriptions(find),
            || {
                for _ in 0..10 {
                    let share = if next % 2 == 0 { "$share/g/" } else { "" };
                    broker
                        .unsubscribe("many", &format!("{share}T/{next}"))
                        .unwrap();
                    next += 1;
                }
            },
        );
        let stayed = |row: &&SubscriptionInfo| {
            row.clientid == "many" && row.topic[2..].parse::<usize>().unwrap() >= 600
        };
        assert!(next < 600, "{next}");
        assert_eq!(got.iter().filter(stayed).count(), 4400);

        let count = |filter: SubscriptionFilter| {
            let find = Subscriptions {
                filter,
                order: Some(SubscriptionOrder::ClientId),
                ..Find::default()
            };
            broker.find_subscriptions(&find).unwrap().matched.unwrap()
        };
        let all = SubscriptionFilter {
            search: Some("FEW".into()),
            ..SubscriptionFilter::default()
        };
        assert_eq!(count(all.clone()), 3);
        assert_eq!(
            count(SubscriptionFilter {
                qos: Some(2),
                ..all.clone()
            }),
            1
        );
        assert_eq!(
            count(SubscriptionFilter {
                share: Some("g".into()),
                ..all.clone()
            }),
            2
        );
        assert_eq!(
            count(SubscriptionFilter {
                share: Some("G".into()),
                ..all.clone()
            }),
            0
        );
        assert_eq!(
            count(SubscriptionFilter {
                topic: Some("t/1".into()),
                ..all.clone()
            }),
            1
        );
        // The prefix is no part of the filter.
        assert_eq!(
            count(SubscriptionFilter {
                topic: Some("share".into()),
                ..all
            }),
            0
        );
    });
}

#[test]
fn routes_are_ordered_by_topic() {
    type Routes = Find<RouteFilter, RouteOrder>;
    with_broker(1, |broker| {
        fill(broker, std::iter::once("c".into()), |shard, slot| {
            for n in 0..3000 {
                subscribe(shard, slot, &format!("a/{n}"), QoS::AtMostOnce);
                subscribe(shard, slot, &format!("a/{n}/+/x"), QoS::AtMostOnce);
            }
            subscribe(shard, slot, "$local/l", QoS::AtMostOnce);
            subscribe(shard, slot, "#", QoS::AtMostOnce);
        });
        for descending in [false, true] {
            let mut want = broker.routes();
            want.sort_by(|a, b| a.topic.cmp(&b.topic));
            if descending {
                want.reverse();
            }
            let find = Routes {
                limit: 500,
                descending,
                ..Find::default()
            };
            let got = all_pages(&find, |find| broker.find_routes(find), || {});
            assert!(got == want);
        }
        assert!(broker.route("l").is_some_and(|route| route.local));
        assert!(broker.route("a/1").is_some_and(|route| !route.local));
        assert_eq!(broker.route("a/+"), None);
        let find = Routes {
            filter: RouteFilter {
                search: Some("A/299".into()),
            },
            offset: 1,
            ..Find::default()
        };
        let page = broker.find_routes(&find).unwrap();
        assert_eq!(
            (page.matched, page.total, page.rows.len()),
            (Some(22), 6002, 21)
        );
    });
}

#[test]
fn a_cursor_that_is_none_is_refused() {
    with_broker(1, |broker| {
        fill(broker, (0..10).map(|n| n.to_string()), |_, _| {});
        let find = Sessions {
            limit: 1,
            ..Find::default()
        };
        let next = broker.find_sessions(&find).unwrap().next.unwrap();
        let ordered = Sessions {
            order: Some(SessionOrder::ClientId),
            ..find.clone()
        };
        let of_ordered = broker.find_sessions(&ordered).unwrap().next.unwrap();
        for (mut find, cursor) in [
            (find.clone(), "x"),
            (find.clone(), &of_ordered[..]),
            (find.clone(), &next[..4]),
            (ordered.clone(), &next[..]),
            (ordered, ""),
        ] {
            find.after = Some(cursor.into());
            assert!(broker.find_sessions(&find).is_err(), "{cursor}");
        }
        // A shard that is not there.
        let question = super::cursor::Question {
            kind: b's',
            order: 0,
            descending: false,
        };
        let nowhere = super::cursor::Cursor::Slot(9, 0, None);
        let find = Sessions {
            after: Some(question.write(&nowhere)),
            ..find
        };
        assert!(broker.find_sessions(&find).is_err());
    });
}
