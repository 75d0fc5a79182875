//! Pages of clients and of retained messages, and all about one of them.

use crate::net::{Client, Net};
use crate::packets::*;
use emqttd_broker::*;
use emqttd_mqtt::{Property, Version};
use emqttd_plugin_sdk::{RetainSettings, RetainStorage};
use emqttd_store::Directory;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

type Clients = Find<ClientFilter, ClientOrder>;

/// Client ids on all pages.
fn names(net: &mut Net, find: &Clients) -> Vec<String> {
    let find = find.clone();
    net.admin(move |broker| {
        let mut names = Vec::new();
        let mut find = find;
        loop {
            let page = broker.find_clients(&find).unwrap();
            names.extend(page.rows.into_iter().map(|row| row.client.clientid));
            find.after = page.next;
            if find.after.is_none() {
                return names;
            }
        }
    })
}

fn client(net: &mut Net, ip: &str, connect: &Connect) -> Client {
    let listener = Arc::clone(&net.listener);
    let ip: IpAddr = ip.parse().unwrap();
    let client = net.open_from(0, listener, SocketAddr::new(ip, 5000));
    net.connect_on(client, connect);
    client
}

/// Five clients that differ in everything.
fn five() -> Net {
    let mut net = Net::new(2);
    let old = Connect {
        version: Version::V31,
        ..Connect::v3("Delta").keep_alive(4)
    };
    client(
        &mut net,
        "10.0.0.9",
        &Connect::v3("alpha").user("u2", "").keep_alive(5),
    );
    client(
        &mut net,
        "10.0.0.10",
        &Connect::v5("beta").keep().user("u1", "").keep_alive(1),
    );
    client(
        &mut net,
        "9.255.0.1",
        &Connect::v3("gamma").keep().keep_alive(3),
    );
    client(&mut net, "2001:db8::1", &old);
    client(
        &mut net,
        "::1",
        &Connect::v5("epsilon").user("u1", "").keep_alive(2),
    );
    // A session without a client is none of them.
    let gone = net.connect(&Connect::v3("gone").keep());
    net.lose(gone);
    net
}

#[test]
fn clients_come_in_every_order() {
    let mut net = five();
    for (order, want) in [
        (
            ClientOrder::ClientId,
            ["Delta", "alpha", "beta", "epsilon", "gamma"],
        ),
        (
            ClientOrder::Username,
            ["Delta", "gamma", "beta", "epsilon", "alpha"],
        ),
        (
            ClientOrder::IpAddress,
            ["epsilon", "gamma", "alpha", "beta", "Delta"],
        ),
        (
            ClientOrder::ProtoVer,
            ["Delta", "alpha", "gamma", "beta", "epsilon"],
        ),
        (
            ClientOrder::Keepalive,
            ["beta", "epsilon", "gamma", "Delta", "alpha"],
        ),
    ] {
        for (limit, descending) in [(1, false), (2, true), (5, false), (100, true)] {
            let find = Clients {
                order: Some(order),
                descending,
                limit,
                ..Clients::default()
            };
            let mut want = want.to_vec();
            if descending {
                want.reverse();
            }
            assert_eq!(names(&mut net, &find), want, "{order:?} {limit}");
        }
    }
    let find = Clients {
        order: Some(ClientOrder::ConnectedAt),
        ..Clients::default()
    };
    let rows = net.admin(move |broker| broker.find_clients(&find)).unwrap();
    let at: Vec<u64> = rows
        .rows
        .iter()
        .map(|row| row.client.connected_at)
        .collect();
    assert!(at.is_sorted());
    assert_eq!((rows.matched, rows.total), (Some(5), 5));
    assert!(rows.rows.iter().all(|row| row.listener == "mqtt:tcp"));
    let mut lying = names(
        &mut net,
        &Clients {
            limit: 2,
            ..Clients::default()
        },
    );
    lying.sort();
    assert_eq!(lying, ["Delta", "alpha", "beta", "epsilon", "gamma"]);
}

#[test]
fn clients_are_filtered() {
    let mut net = five();
    let none = ClientFilter::default;
    let some = |text: &str| Some(text.to_string());
    for (filter, want) in [
        (
            ClientFilter {
                search: some("ELT"),
                ..none()
            },
            vec!["Delta"],
        ),
        (
            ClientFilter {
                search: some("eta"),
                ..none()
            },
            vec!["beta"],
        ),
        (
            ClientFilter {
                username: some("u1"),
                ..none()
            },
            vec!["beta", "epsilon"],
        ),
        (
            ClientFilter {
                username: some("U1"),
                ..none()
            },
            vec![],
        ),
        (
            ClientFilter {
                ip: some("10.0.0."),
                ..none()
            },
            vec!["alpha", "beta"],
        ),
        (
            ClientFilter {
                ip: some("2001:"),
                ..none()
            },
            vec!["Delta"],
        ),
        (
            ClientFilter {
                listener: some("mqtt:ws"),
                ..none()
            },
            vec![],
        ),
        (
            ClientFilter {
                listener: some("mqtt:tcp"),
                proto_ver: Some(3),
                ..none()
            },
            vec!["Delta"],
        ),
        (
            ClientFilter {
                proto_ver: Some(5),
                ..none()
            },
            vec!["beta", "epsilon"],
        ),
        (
            ClientFilter {
                clean_sess: Some(false),
                ..none()
            },
            vec!["beta", "gamma"],
        ),
        (
            ClientFilter {
                clean_sess: Some(false),
                proto_ver: Some(4),
                ..none()
            },
            vec!["gamma"],
        ),
    ] {
        for order in [None, Some(ClientOrder::ClientId)] {
            let find = Clients {
                filter: filter.clone(),
                order,
                limit: 1,
                ..Clients::default()
            };
            let mut got = names(&mut net, &find);
            got.sort();
            assert_eq!(got, want, "{filter:?}");
        }
    }
}

#[test]
fn all_about_a_client() {
    let mut net = Net::with(2, |s| s.listeners[0].mountpoint = Some("m/".into()));
    let connect = Connect::v5("c")
        .expiry(70)
        .keep()
        .property(Property::ReceiveMaximum(2));
    let connect = Connect {
        will: Some(Will {
            topic: "w".into(),
            payload: "four".into(),
            qos: 1,
            retain: true,
            properties: Vec::new(),
        }),
        ..connect
    };
    let bytes = connect.bytes().len() as u64;
    let client = net.connect(&connect);
    net.subscribe(client, "b/#", 1);
    net.subscribe(client, "a", 0);
    let of = |net: &mut Net| net.admin(|broker| broker.client_detail("c")).unwrap();
    let before = of(&mut net);
    assert_eq!(before.client.clientid, "c");
    assert_eq!(
        (&*before.listener, &*before.listen_on),
        ("mqtt:tcp", "127.0.0.1:1883")
    );
    assert_eq!(before.mountpoint.as_deref(), Some("m/"));
    assert_eq!(
        (
            before.expiry_interval,
            before.superuser,
            before.send_pending
        ),
        (70, false, 0)
    );
    let will = before.will.unwrap();
    assert_eq!(
        (&*will.topic, will.qos, will.retain, will.payload_size),
        ("m/w", 1, true, 4)
    );
    let topics: Vec<&str> = before.subscriptions.iter().map(|s| &*s.topic).collect();
    assert_eq!(topics, ["m/a", "m/b/#"]);
    assert!(before.traffic.bytes_received > bytes);
    assert_eq!(
        (before.traffic.packets_received, before.traffic.packets_sent),
        (3, 3)
    );
    assert_eq!(
        (
            before.traffic.messages_received,
            before.traffic.messages_sent
        ),
        (0, 0)
    );

    net.silent(client);
    for n in 0..3 {
        let id = net.put_publish(client, "b/x", "payload", (n % 2) as u8, false);
        net.run();
        assert_eq!(id > 0, n % 2 == 1);
    }
    let after = of(&mut net).traffic;
    // PUBACK and three messages.
    assert_eq!(after.packets_received, 6);
    assert_eq!(after.packets_sent, 7);
    assert_eq!((after.messages_received, after.messages_sent), (3, 3));
    let payloads = 3 * "payload".len() as u64;
    assert!(after.bytes_received > before.traffic.bytes_received + payloads);
    assert!(after.bytes_sent > before.traffic.bytes_sent + payloads);
    let metric = |name: &str| net.metric(name);
    assert_eq!(after.bytes_sent, metric("bytes/sent"));
    assert_eq!(after.bytes_received, metric("bytes/received"));
    assert_eq!(after.packets_sent, metric("packets/sent"));

    // All but what its session has begins anew with the next connection.
    net.lose(client);
    assert_eq!(net.admin(|broker| broker.client_detail("c")), None);
    let (client, present, _) = net.resume(&connect);
    assert!(present);
    let again = of(&mut net);
    assert_eq!(again.traffic.messages_received, 0);
    assert!(again.session.deliver_msg >= 3);
    assert!(again.traffic.messages_sent <= 1, "{again:?}");
    net.lose(client);
}

#[test]
fn messages_of_a_session_are_shown_and_cleared() {
    let mut net = Net::with(2, |s| s.session.max_inflight = 2);
    let slow = net.connect(&Connect::v3("slow").keep());
    net.subscribe(slow, "q/#", 2);
    net.silent(slow);
    let publisher = net.connect(&Connect::v5("publisher"));
    for n in 0..8 {
        net.publish(
            publisher,
            &format!("q/{n}"),
            &"x".repeat(n),
            1 + (n % 2) as u8,
        );
    }
    let of = |net: &mut Net, limit: usize| {
        net.admin(move |broker| broker.session_queue("slow", limit))
            .unwrap()
    };
    let queue = of(&mut net, 4);
    assert_eq!(
        (queue.inflight_len, queue.waiting_len, queue.on_disk),
        (2, 6, 0)
    );
    assert_eq!((queue.inflight.len(), queue.waiting.len()), (2, 4));
    let first = queue.inflight[0].message.as_ref().unwrap();
    assert_eq!(queue.inflight[0].state, FlightState::Published);
    assert_eq!(
        (queue.inflight[0].packet_id, &*first.topic, first.qos),
        (1, "q/0", 1)
    );
    for (n, row) in (2..).zip(&queue.waiting) {
        assert_eq!((&*row.topic, row.payload_size), (&*format!("q/{n}"), n));
        assert_eq!(
            (row.qos, row.from.as_deref()),
            (1 + (n % 2) as u8, Some("publisher"))
        );
        assert!(!row.retain && !row.shared && row.at > 0);
    }
    // PUBREC for the second of them.
    net.send(slow, &ack(Version::V311, 5, 2, 0));
    let queue = of(&mut net, 1000);
    assert_eq!(queue.inflight[1].state, FlightState::Released);
    assert_eq!(queue.inflight[1].message, None);

    let missing = net.admin(|broker| broker.clear_queue("nobody"));
    assert_eq!(missing, Err(AdminError::NotFound));
    assert_eq!(net.admin(|broker| broker.clear_queue("slow")), Ok(6));
    assert_eq!(net.metric("messages/dropped/cleared"), 6);
    let queue = of(&mut net, 1000);
    assert_eq!(
        (queue.inflight_len, queue.waiting_len, queue.waiting.len()),
        (2, 0, 0)
    );
    assert_eq!(net.admin(|broker| broker.clear_queue("slow")), Ok(0));
    // It goes on.
    net.publish(publisher, "q/new", "", 1);
    assert_eq!(of(&mut net, 10).waiting[0].topic, "q/new");
}

#[test]
fn a_session_is_deleted_whether_its_client_is_there_or_not() {
    let mut net = Net::new(2);
    for (stays, connect) in [
        (true, Connect::v3("c").keep()),
        (false, Connect::v3("c").keep()),
        (true, Connect::v3("c")),
        (true, Connect::v5("c").keep().expiry(60)),
    ] {
        let client = net.connect(&connect);
        net.subscribe(client, "t", 1);
        if !stays {
            net.lose(client);
        }
        let delete = |broker: &Broker| broker.session_delete("c");
        assert_eq!(net.admin(delete), Ok(()));
        assert_eq!(
            net.closed(client),
            Some(if stays { "kick" } else { "closed" })
        );
        assert_eq!(
            net.stat("sessions/count") + net.stat("subscriptions/count"),
            0
        );
        assert_eq!(net.admin(delete), Err(AdminError::NotFound));
    }
}

type Retaineds = Find<RetainedFilter, RetainedOrder>;

fn topics(net: &Net, find: &Retaineds) -> Vec<String> {
    let mut find = find.clone();
    let mut topics = Vec::new();
    loop {
        let page = net.broker.find_retained(&find).unwrap();
        topics.extend(page.rows.into_iter().map(|row| row.topic));
        find.after = page.next;
        if find.after.is_none() {
            return topics;
        }
    }
}

#[test]
fn retained_messages_come_by_time_or_by_topic() {
    let mut net = Net::new(1);
    let publisher = net.connect(&Connect::v5("publisher").user("u", ""));
    for topic in ["b/1", "a/2", "c", "B/3", "a/1", "a/2"] {
        net.retain(publisher, topic, "text", 1);
    }
    let id = net.next_id(publisher);
    let expiry = [Property::MessageExpiryInterval(10)];
    net.send(
        publisher,
        &publish(Version::V5, "gone", b"x", 1, true, id, &properties(&expiry)),
    );
    let find = |filter: RetainedFilter, order, descending| Retaineds {
        filter,
        order,
        descending,
        limit: 2,
        ..Retaineds::default()
    };
    let all = RetainedFilter::default;
    let by_time = find(all(), None, false);
    let first = net.broker.find_retained(&by_time).unwrap();
    assert_eq!((first.matched, first.total), (Some(6), 6));
    let row = &first.rows[0];
    assert_eq!(
        (&*row.topic, row.qos, row.payload_size),
        ("b/1", 1, Some(4))
    );
    assert_eq!(
        (row.from.as_deref(), row.expires_at),
        (Some("publisher"), None)
    );
    assert_eq!(
        topics(&net, &by_time),
        ["b/1", "c", "B/3", "a/1", "a/2", "gone"]
    );
    // What is over is not there, though nobody has taken it away yet.
    let last = Retaineds {
        offset: 5,
        ..by_time.clone()
    };
    let gone = &net.broker.find_retained(&last).unwrap().rows[0];
    assert!(gone.expires_at.unwrap() > gone.published_at);
    let by_topic = find(all(), Some(RetainedOrder::Topic), false);
    assert_eq!(
        topics(&net, &by_topic),
        ["B/3", "a/1", "a/2", "b/1", "c", "gone"]
    );
    let reverse = find(all(), Some(RetainedOrder::Topic), true);
    assert_eq!(
        topics(&net, &reverse),
        ["gone", "c", "b/1", "a/2", "a/1", "B/3"]
    );
    for (filter, search, want) in [
        (Some("a/+"), None, vec!["a/1", "a/2"]),
        (Some("+/1"), None, vec!["b/1", "a/1"]),
        (Some("+/1"), Some("B"), vec!["b/1"]),
        (None, Some("b/"), vec!["b/1", "B/3"]),
        (Some("$SYS/#"), None, vec![]),
    ] {
        let filter = RetainedFilter {
            filter: filter.map(String::from),
            search: search.map(String::from),
        };
        assert_eq!(topics(&net, &find(filter, None, false)), want);
    }
    let bad = RetainedFilter {
        filter: Some("a/#/b".into()),
        search: None,
    };
    let bad = net.broker.find_retained(&find(bad, None, false));
    assert_eq!(bad.err(), Some(AdminError::BadTopic));

    let message = net.broker.retained_get("a/2").unwrap();
    assert_eq!((&*message.payload, message.qos), (&b"text"[..], 1));
    assert_eq!(message.username.as_deref(), Some("u"));
    let delete = |broker: &Broker| broker.retained_delete("a/2");
    assert_eq!(net.admin(delete), Ok(()));
    assert_eq!(net.admin(delete), Err(AdminError::NotFound));
    assert_eq!(net.broker.retained_get("a/2"), Err(AdminError::NotFound));
    assert_eq!(net.broker.retained_count(), 5);
}

/// The payloads are on disk alone.
#[test]
fn a_retained_message_is_read_from_the_disk() {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("finding");
    let _ = std::fs::remove_dir_all(&dir);
    let settings = crate::net::settings();
    let disk = Arc::new(Directory::new(&dir).unwrap());
    let storage = Storage::open(disk, &settings.persistence).unwrap();
    let mut net = Net::of(settings, 2, storage);
    let retain = RetainSettings {
        storage: RetainStorage::DiscOnly,
        ..crate::net::retainer()
    };
    net.broker.retain(Some(retain)).unwrap();
    let publisher = net.connect(&Connect::v3("publisher"));
    for n in 0..10 {
        net.retain(publisher, &format!("r/{n}"), "old", 0);
        net.retain(publisher, &format!("r/{n}"), &"x".repeat(n + 1), 0);
    }
    let rows = net
        .broker
        .find_retained(&Retaineds::default())
        .unwrap()
        .rows;
    assert_eq!(rows.len(), 10);
    assert!(rows.iter().all(|row| row.payload_size.is_none()));
    let message = net.broker.retained_get("r/7").unwrap();
    assert_eq!(message.payload, b"xxxxxxxx");
    assert_eq!(message.from.as_deref(), Some("publisher"));
    assert_eq!(net.admin(|broker| broker.retained_delete("r/7")), Ok(()));
    assert_eq!(net.broker.retained_get("r/7"), Err(AdminError::NotFound));
    drop(net);
    let _ = std::fs::remove_dir_all(dir);
}

#[test]
fn alarms_are_told_and_remembered() {
    use std::sync::Mutex;
    let mut net = Net::new(1);
    let told: Arc<Mutex<Vec<AlarmEvent>>> = Arc::default();
    let log = Arc::clone(&told);
    net.broker
        .on_alarm(move |event| log.lock().unwrap().push(event.clone()));
    for (id, summary) in [
        ("a", Some("s")),
        ("a", Some("s")),
        ("b", Some("s")),
        ("a", None),
        ("b", None),
        ("b", None),
    ] {
        net.broker.post_alarm(id, Severity::Error, "title", summary);
        net.run();
    }
    let told = told.lock().unwrap();
    let names: Vec<(&str, bool)> = told
        .iter()
        .map(|event| match event {
            AlarmEvent::Set(alarm) => (&*alarm.id, true),
            AlarmEvent::Cleared(alarm, _) => (&*alarm.id, false),
        })
        .collect();
    assert_eq!(
        names,
        [("a", true), ("b", true), ("a", false), ("b", false)]
    );
    assert!(net.broker.alarms().is_empty());
    let history = net.broker.alarm_history();
    let history: Vec<&str> = history.iter().map(|(alarm, _)| &*alarm.id).collect();
    assert_eq!(history, ["b", "a"]);
}

#[test]
fn the_broker_says_why_it_is_not_ready() {
    let mut net = Net::new(2);
    assert_eq!(net.admin(Broker::ready), ["no listener is open"]);
    net.broker.listener_opened(Arc::clone(&net.listener));
    assert_eq!(net.admin(Broker::ready), Vec::<String>::new());
    // Event loops that do nothing are asked once, and their answers count when they come.
    for _ in 0..3 {
        let silent = net.broker.silent_loops(Duration::from_millis(20));
        assert_eq!(silent, [0, 1]);
    }
    net.run();
    assert_eq!(net.broker.silent_loops(Duration::ZERO), [0, 1]);
    net.run();
    assert_eq!(net.admin(Broker::ready), Vec::<String>::new());
    assert_eq!(net.broker.shards(), net.admin(Broker::loops).len());
}

/// Most of the queue is on disk, and nobody is there to take it.
#[test]
fn a_queue_on_disk_is_cleared() {
    const ALL: usize = 700;
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("cleared");
    let _ = std::fs::remove_dir_all(&dir);
    let settings = crate::net::settings();
    let disk = Arc::new(Directory::new(&dir).unwrap());
    let storage = Storage::open(disk, &settings.persistence).unwrap();
    let mut net = Net::of(settings, 2, storage);
    let away = net.connect(&Connect::v3("away").keep());
    net.subscribe_later(away, "q", 1);
    net.lose(away);
    let publisher = net.connect(&Connect::v3("publisher"));
    for n in 0..ALL {
        net.put_publish(publisher, "q", &n.to_string(), 1, false);
    }
    let waiting = |broker: &Broker| broker.session_queue("away", 10).unwrap();
    let until = |net: &mut Net, wanted: usize| {
        let begun = Instant::now();
        loop {
            let queue = net.admin(waiting);
            if queue.waiting_len == wanted {
                return queue;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{queue:?}");
            // The store takes real time, and who waits for it some of the test's.
            net.advance(10);
        }
    };
    let queue = until(&mut net, ALL);
    assert!(queue.on_disk > ALL / 2, "{queue:?}");
    assert_eq!(queue.waiting.len(), 10);
    assert_eq!(net.admin(|broker| broker.clear_queue("away")), Ok(ALL));
    let queue = until(&mut net, 0);
    assert_eq!((queue.on_disk, queue.waiting.len()), (0, 0));
    assert_eq!(net.metric("messages/dropped/cleared"), ALL as u64);
    net.put_publish(publisher, "q", "new", 1, false);
    until(&mut net, 1);
    let (away, present, mut got) = net.resume(&Connect::v3("away").keep());
    assert!(present);
    got.extend(net.take(away));
    let texts: Vec<String> = got
        .iter()
        .filter_map(|got| match got {
            Got::Publish(message) => Some(message.text()),
            _ => None,
        })
        .collect();
    assert_eq!(texts, ["new"]);
    drop(net);
    let _ = std::fs::remove_dir_all(dir);
}

/// Looking for it in long texts would hold up an event loop.
#[test]
fn long_parts_are_not_looked_for() {
    let net = Net::new(1);
    let part = |n: usize| Some("a".repeat(n));
    let find = |n| Clients {
        filter: ClientFilter {
            search: part(n),
            ..ClientFilter::default()
        },
        ..Clients::default()
    };
    let bad = |error: Option<AdminError>| matches!(error, Some(AdminError::Other(_)));
    assert!(bad(net.broker.find_clients(&find(LONGEST_PART + 1)).err()));
    let topic = Find::<_, SubscriptionOrder> {
        filter: SubscriptionFilter {
            topic: part(LONGEST_PART + 1),
            ..SubscriptionFilter::default()
        },
        ..Find::default()
    };
    assert!(bad(net.broker.find_subscriptions(&topic).err()));
    let mut retained = Retaineds::default();
    retained.filter.search = part(LONGEST_PART + 1);
    assert!(bad(net.broker.find_retained(&retained).err()));
    retained.filter.search = part(LONGEST_PART);
    assert!(net.broker.find_retained(&retained).is_ok());
}

#[test]
fn a_client_is_traced_from_the_start_of_its_trace_to_the_end() {
    let mut net = Net::new(2);
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("traced");
    let _ = std::fs::remove_dir_all(&dir);
    let file = dir.join("c.log");
    let client = net.connect(&Connect::v3("c"));
    let other = net.connect(&Connect::v3("other"));
    let target = TraceTarget::Client("c".into());
    let trace = |net: &mut Net, on: bool| {
        let (target, file) = (target.clone(), file.clone());
        net.admin(move |broker| match on {
            true => broker.trace_start(target, &file),
            false => broker.trace_stop(target),
        })
    };
    let say = |net: &mut Net, client, text: &str| net.publish(client, "t", text, 1);
    say(&mut net, client, "before");
    assert_eq!(trace(&mut net, true), Ok(()));
    say(&mut net, client, "during");
    say(&mut net, other, "elsewhere");
    net.lose(client);
    let client = net.connect(&Connect::v3("c"));
    say(&mut net, client, "again");
    assert_eq!(trace(&mut net, false), Ok(()));
    say(&mut net, client, "after");
    assert_eq!(trace(&mut net, false), Err(AdminError::NotFound));
    // Its thread writes.
    let end = Instant::now() + Duration::from_secs(10);
    let text = loop {
        let text = std::fs::read_to_string(&file).unwrap();
        if text.contains("again") || Instant::now() > end {
            break text;
        }
        std::thread::yield_now();
    };
    for (word, there) in [
        ("before", false),
        ("during", true),
        ("elsewhere", false),
        ("again", true),
        ("after", false),
    ] {
        assert_eq!(text.contains(word), there, "{word}: {text}");
    }
    let _ = std::fs::remove_dir_all(dir);
}
