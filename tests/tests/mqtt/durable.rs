//! What outlives the broker: sessions and their subscriptions. The other `durable_...` modules are about
//! messages, groups, retained messages and wills, and the disk.
//!
//! Each test has a broker of its own, which is stopped or killed and started again in its directory.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use emqttd_tests::packet::AckKind;
use emqttd_tests::transport::{DEADLINE, tcp};
use emqttd_tests::{
    Broker, Client, Config, Connect, End, Packet, Prop, Publish, Sub, Version, Will, unique,
};

/// The versions that are told apart here.
pub(crate) const BOTH: [Version; 2] = [Version::V311, Version::V5];
/// How a broker ends.
pub(crate) const ENDS: [End; 2] = [End::Stop, End::Kill];

/// As every test, with less in the log and small files of the store.
pub(crate) fn config() -> Config {
    Config::new()
        .set("log.console.level", "info")
        .set("persistence.segment_bytes", "1MB")
        .plugin_conf("emq_retainer", "retainer.storage_type = disc\n")
}

/// Runs `test` with each version and each way to end, every time with a broker of its own.
#[track_caller]
pub(crate) fn each(config: impl Fn() -> Config, test: impl Fn(&mut Broker, End, Version)) {
    for end in ENDS {
        for v in BOTH {
            eprintln!("{v}, {end:?}");
            test(&mut Broker::start(config()), end, v);
        }
    }
}

/// Waits until `holds`.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE, "never: {what}");
        sleep(Duration::from_millis(5));
    }
}

/// Time itself is what some tests are about.
pub(crate) fn until(at: Instant) {
    sleep(at.saturating_duration_since(Instant::now()));
}

/// A line of `emqttd_ctl store`.
#[track_caller]
pub(crate) fn store_line(broker: &Broker, name: &str) -> String {
    let (code, text) = broker.ctl(&["store"]);
    assert_eq!(code, 0, "{text}");
    let found = text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_string())
    });
    found.unwrap_or_else(|| panic!("no {name} in\n{text}"))
}

/// A figure of `emqttd_ctl store`.
#[track_caller]
pub(crate) fn figure(broker: &Broker, name: &str) -> u64 {
    store_line(broker, name).parse().unwrap()
}

/// Nobody is owed anything any more.
#[track_caller]
pub(crate) fn nothing_owed(broker: &Broker) {
    eventually("nothing is owed", || figure(broker, "messages_owed") == 0);
}

/// All that the broker did so far is on disk: the SUBACK of a session that lasts waits for it. Whatever
/// comes before the SUBACK stays for the next [`Client::recv`].
#[track_caller]
pub(crate) fn settle(client: &mut Client) {
    client.sub(&unique("settle"), 0);
}

/// Everything is on disk, also what no answer waits for: that is gathered for 20 milliseconds, and nobody is
/// told when it is written.
#[track_caller]
pub(crate) fn settled(broker: &Broker) {
    sleep(Duration::from_millis(100));
    eventually("all is on disk", || {
        store_line(broker, "position") == store_line(broker, "durable")
    });
}

/// Answers the PUBRELs that are still to come; nothing else may come.
#[track_caller]
pub(crate) fn finish(client: &mut Client) {
    client.send(&[0xc0, 0]);
    loop {
        match client.recv() {
            Packet::Pingresp => return,
            Packet::Ack {
                kind: AckKind::Pubrel,
                id,
                ..
            } => client.send_ack(AckKind::Pubcomp, id),
            other => panic!("{}: {other:?}", client.name),
        }
    }
}

/// A client whose session was kept.
#[track_caller]
pub(crate) fn again(broker: &Broker, connect: &Connect) -> Client {
    let (client, present, _) = broker.resume(connect);
    assert!(
        present,
        "{} ({}): the session is not there",
        connect.client_id, connect.version
    );
    client
}

/// Makes a session that lasts with this subscription, and leaves it.
#[track_caller]
pub(crate) fn leave(broker: &Broker, v: Version, filter: &str, qos: u8) -> Connect {
    let connect = Connect::persistent(v, &unique("kept"));
    let mut client = broker.open(&connect);
    client.sub(filter, qos);
    client.disconnect();
    connect
}

/// Files of the store with this ending, in their order.
pub(crate) fn files(broker: &Broker, ending: &str) -> Vec<PathBuf> {
    let Ok(dir) = std::fs::read_dir(broker.root.join("data/store")) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = dir.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.to_str().is_some_and(|path| path.ends_with(ending)));
    files.sort();
    files
}

/// The rows of a client's subscriptions as `emqttd_ctl` shows them, in an order of their own.
fn subscriptions(broker: &Broker, id: &str) -> Vec<String> {
    let (code, text) = broker.ctl(&["subscriptions", "show", id]);
    assert_eq!(code, 0, "{text}");
    // Between `<` and `>` stands what is new with each start.
    let row = |line: &str| match line.split_once(" -> ") {
        Some((_, topic)) => format!("-> {topic}"),
        None => line.to_string(),
    };
    let mut lines: Vec<String> = text.lines().map(row).collect();
    lines.sort();
    lines
}

/// [MQTT-3.1.2-5], [MQTT-4.1.0-1]: session present, and every subscription at its QoS, wherever it leads.
#[test]
fn subscriptions_survive_of_every_kind() {
    each(config, |broker, end, v| {
        let base = unique("kinds");
        let connect = Connect::persistent(v, &unique("kinds"));
        let (mut client, present, _) = broker.resume(&connect);
        assert!(!present);
        for (filter, qos) in [
            (format!("{base}/0"), 0),
            (format!("{base}/+/1"), 1),
            (format!("{base}/2/#"), 2),
            (format!("$share/group/{base}/share"), 1),
            (format!("$queue/{base}/queue"), 2),
            (format!("$local/{base}/local"), 1),
        ] {
            client.sub(&filter, qos);
        }
        let before = subscriptions(broker, &connect.client_id);
        assert_eq!(
            before.iter().filter(|line| line.contains("->")).count(),
            6,
            "{before:?}"
        );
        broker.restart(end);
        assert_eq!(subscriptions(broker, &connect.client_id), before);
        let mut client = again(broker, &connect);
        let mut publisher = broker.client(v, "pub");
        for (topic, qos) in [
            ("0", 0),
            ("x/1", 1),
            ("2/y", 2),
            ("share", 1),
            ("queue", 2),
            ("local", 1),
        ] {
            let topic = format!("{base}/{topic}");
            publisher.pub_(&topic, 2, "x");
            assert_eq!(client.expect(&topic, "x").qos, qos, "{topic}");
        }
        client.nothing_from(&mut publisher);
    });
}

#[test]
fn subscription_options_survive() {
    for end in ENDS {
        let mut broker = Broker::start(config());
        let base = unique("options");
        let [own, as_published, plain, ids] = ["own", "rap", "plain", "ids"].map(|word| {
            // Not below one another, so that each matches alone.
            format!("{base}{word}")
        });
        let connect = Connect::persistent(Version::V5, &unique("options"));
        let mut client = broker.open(&connect);
        let subs = [
            Sub::new(&own, 1).no_local(),
            Sub::new(&as_published, 2)
                .retain_as_published()
                .retain_handling(2),
            Sub::new(&plain, 1).retain_handling(1),
        ];
        assert_eq!(client.subscribe(&subs, &[]), [1, 2, 1]);
        for id in [7, 268_435_455] {
            let filter = if id == 7 {
                ids.clone()
            } else {
                format!("{ids}/#")
            };
            assert_eq!(
                client.subscribe(&[Sub::new(&filter, 1)], &[Prop::SubscriptionId(id)]),
                [1]
            );
        }
        broker.restart(end);
        let mut client = again(&broker, &connect);
        client.pub_(&own, 1, "mine");
        client.quiet();
        let mut publisher = broker.client(Version::V5, "pub");
        publisher.pub_(&own, 1, "another's");
        client.expect(&own, "another's");
        publisher.publish(Publish::new(&as_published, "x").qos(2).retained());
        let message = client.expect(&as_published, "x");
        assert!(message.retain && message.qos == 2, "{message:?}");
        publisher.publish(Publish::new(&plain, "x").qos(1).retained());
        assert!(!client.expect(&plain, "x").retain);
        publisher.pub_(&ids, 1, "both");
        let message = client.expect(&ids, "both");
        assert_eq!(message.props.subscription_ids(), [7, 268_435_455]);
    }
}

#[test]
fn subscriptions_below_a_mountpoint_survive() {
    let config = || config().listener("tcp.mounted", &[("mountpoint", "house/")]);
    each(config, |broker, end, v| {
        let topic = unique("mount");
        let connect = Connect::persistent(v, &unique("mounted"));
        let mounted = |broker: &Broker| {
            let mut client = Client::over(tcp(broker.addr("tcp.mounted")), v, "mounted");
            let (present, _) = client.connect(&connect);
            (client, present)
        };
        let (mut client, _) = mounted(broker);
        client.sub(&topic, 1);
        client.disconnect();
        broker.restart(end);
        let mut publisher = broker.client(v, "pub");
        publisher.pub_(&topic, 1, "elsewhere");
        publisher.pub_(&format!("house/{topic}"), 1, "here");
        let (mut client, present) = mounted(broker);
        assert!(present);
        client.expect(&topic, "here");
        client.nothing_from(&mut mounted_publisher(broker, v));
    });
}

fn mounted_publisher(broker: &Broker, v: Version) -> Client {
    let mut client = Client::over(tcp(broker.addr("tcp.mounted")), v, "mounted");
    client.connect(&Connect::new(v, &unique("pub")));
    client
}

#[test]
fn unsubscribed_stays_unsubscribed() {
    each(config, |broker, end, v| {
        let (gone, kept) = (unique("gone"), unique("kept"));
        let connect = Connect::persistent(v, &unique("unsub"));
        let mut client = broker.open(&connect);
        client.sub(&gone, 1);
        client.sub(&format!("$share/g/{gone}"), 1);
        client.sub(&kept, 1);
        broker.restart(end);
        let mut client = again(broker, &connect);
        client.unsubscribe(&[&gone, &format!("$share/g/{gone}")]);
        broker.restart(end);
        let mut publisher = broker.client(v, "pub");
        publisher.pub_(&gone, 1, "x");
        publisher.pub_(&kept, 1, "y");
        let mut client = again(broker, &connect);
        client.expect(&kept, "y");
        client.nothing_from(&mut publisher);
        drop(client);
        assert!(!broker.ctl(&["topics", "list"]).1.contains(&gone));
    });
}

/// A subscription made anew has its new options after a restart.
#[test]
fn last_subscription_counts() {
    each(config, |broker, end, v| {
        let topic = unique("anew");
        let connect = Connect::persistent(v, &unique("anew"));
        let mut client = broker.open(&connect);
        for qos in [2, 0, 1] {
            client.sub(&topic, qos);
        }
        broker.restart(end);
        broker.client(v, "pub").pub_(&topic, 2, "x");
        assert_eq!(again(broker, &connect).expect(&topic, "x").qos, 1);
    });
}

/// [MQTT-3.1.2-4]: a clean start after a restart ends what was kept, for good: also when the broker is killed
/// as soon as it has said so.
#[test]
fn clean_start_ends_what_was_kept() {
    each(config, |broker, end, v| {
        let topic = unique("clean");
        let connect = leave(broker, v, &topic, 1);
        broker.client(v, "pub").pub_(&topic, 1, "old");
        broker.restart(end);
        let (client, present, _) = broker.resume(&connect.clone().clean(true));
        assert!(!present);
        broker.restart(end);
        drop(client);
        let (mut client, present, _) = broker.resume(&connect);
        // In MQTT 5 the session that the clean start began has an expiry, and was kept.
        assert_eq!(present, v.is_v5());
        let mut publisher = broker.client(v, "pub");
        publisher.pub_(&topic, 1, "new");
        client.nothing_from(&mut publisher);
        nothing_owed(broker);
    });
}

/// MQTT 5: the expiry of the last CONNECT or DISCONNECT is what counts after a restart.
#[test]
fn expiry_of_the_last_connection_survives() {
    for end in ENDS {
        let mut broker = Broker::start(config());
        let connect = Connect::persistent(Version::V5, &unique("last"));
        broker.open(&connect).disconnect();
        settled(&broker);
        broker.restart(end);
        again(&broker, &connect).disconnect_with(0, &[Prop::SessionExpiry(0)]);
        settled(&broker);
        broker.restart(end);
        let (client, present, _) = broker.resume(&connect);
        assert!(!present, "ended by DISCONNECT");
        client.disconnect();
        broker
            .open(&Connect::new(Version::V5, &connect.client_id).clean(false))
            .disconnect();
        settled(&broker);
        broker.restart(end);
        let (_, present, _) = broker.resume(&connect);
        assert!(!present, "ended with a connection without expiry");
    }
}

/// A session expires while the broker is down, with all that belongs to it; others do not.
#[test]
fn sessions_expire_while_the_broker_is_down() {
    let config = || config().set("mqtt.session.expiry_interval", "1s");
    each(config, |broker, end, v| {
        let topic = unique("down");
        let kept = Connect::persistent(Version::V5, &unique("kept"));
        broker.open(&kept).sub(&topic, 1);
        let mut short = Connect::persistent(v, &unique("short"));
        if v.is_v5() {
            short.props = vec![Prop::SessionExpiry(1)];
        }
        let mut client = broker.open(&short);
        client.sub(&topic, 1);
        client.disconnect();
        let left = Instant::now();
        broker.client(v, "pub").pub_(&topic, 1, "x");
        settled(broker);
        broker.end(end);
        until(left + Duration::from_millis(1300));
        broker.start_again();
        let (_, present, _) = broker.resume(&short);
        assert!(!present);
        again(broker, &kept).expect(&topic, "x");
        nothing_owed(broker);
        // Expired is expired: it does not come back with another restart.
        broker.restart(end);
        again(broker, &kept).quiet();
    });
}

/// The expiry of a session that was connected when the broker was killed begins at the start after that.
#[test]
fn expiry_goes_on_after_a_restart() {
    for end in ENDS {
        let mut broker = Broker::start(config());
        let connect = Connect::new(Version::V5, &unique("on")).prop(Prop::SessionExpiry(2));
        let mut client = broker.open(&connect);
        settle(&mut client);
        broker.restart(end);
        drop(client);
        let started = Instant::now();
        let id = &connect.client_id;
        assert!(
            broker
                .ctl(&["sessions", "show", id])
                .1
                .starts_with("Session(")
        );
        eventually("it expires", || {
            broker.ctl(&["sessions", "show", id]).1 == "Not Found.\n"
        });
        if end == End::Kill {
            assert!(started.elapsed() > Duration::from_millis(1500));
        }
        broker.restart(end);
        let (_, present, _) = broker.resume(&connect.clean(false));
        assert!(!present);
    }
}

/// Clean sessions leave nothing behind, and cost the disk nothing.
#[test]
fn clean_sessions_leave_nothing() {
    each(config, |broker, end, v| {
        let topic = unique("nothing");
        let connect = Connect::new(v, &unique("clean")).will(Will::new(&topic, "will"));
        let mut client = broker.open(&connect);
        client.sub(&topic, 2);
        client.sub(&format!("$share/g/{topic}"), 1);
        let mut publisher = broker.client(v, "pub");
        let before = store_line(broker, "position");
        for i in 0..50 {
            publisher.pub_(&topic, i % 3, "x");
        }
        publisher.send_publish(Publish::new(&topic, "half").qos(2).id(99));
        publisher.ack(AckKind::Pubrec, 99);
        assert_eq!(store_line(broker, "position"), before);
        broker.restart(end);
        assert_eq!(broker.ctl(&["sessions", "list"]).1, "");
        assert_eq!(figure(broker, "messages_owed"), 0);
        let (_, present, _) = broker.resume(&connect.clean(false));
        assert!(!present);
    });
}

/// Rights that were taken away while the broker was down stay away: what waits goes, nothing more comes.
#[test]
fn rights_are_asked_again_after_a_restart() {
    each(config, |broker, end, v| {
        let (secret, open) = (unique("secret"), unique("open"));
        let connect = Connect::persistent(v, &unique("rights"));
        let mut client = broker.open(&connect);
        client.sub(&secret, 1);
        client.sub(&open, 1);
        client.disconnect();
        let publish = |broker: &Broker, round: &str| {
            let mut publisher = broker.client(v, "pub");
            for i in 0..100 {
                publisher.pub_(&secret, 1, "secret");
                publisher.pub_(&open, 1, &format!("{round}{i}"));
            }
            publisher
        };
        publish(broker, "before");
        broker.end(end);
        let rules = format!(
            "{{deny, {{client, \"{}\"}}, subscribe, [\"{secret}\"]}}.\n{{allow, all}}.\n",
            connect.client_id
        );
        std::fs::write(broker.root.join("etc/acl.conf"), rules).unwrap();
        broker.start_again();
        let mut client = again(broker, &connect);
        for i in 0..100 {
            client.expect(&open, &format!("before{i}"));
        }
        let mut publisher = publish(broker, "after");
        for i in 0..100 {
            client.expect(&open, &format!("after{i}"));
        }
        client.nothing_from(&mut publisher);
        drop(client);
        nothing_owed(broker);
    });
}

/// A session goes on under another version of the protocol, on the other side of a restart.
#[test]
fn version_may_change_over_a_restart() {
    for end in ENDS {
        for (first, second) in [(Version::V311, Version::V5), (Version::V5, Version::V311)] {
            let mut broker = Broker::start(config());
            let topic = unique("change");
            let connect = leave(&broker, first, &topic, 2);
            let mut publisher = broker.client(Version::V5, "pub");
            publisher.publish(
                Publish::new(&topic, "x")
                    .qos(2)
                    .prop(Prop::user("a", "b"))
                    .prop(Prop::ContentType("text".into())),
            );
            broker.restart(end);
            let other = Connect::persistent(second, &connect.client_id);
            let message = again(&broker, &other).expect(&topic, "x");
            if second.is_v5() {
                assert_eq!(message.props.user(), [("a".into(), "b".into())]);
            }
        }
    }
}

/// Twenty restarts, each with something done in between.
#[test]
fn many_restarts() {
    let mut broker = Broker::start(config());
    let topic = unique("many");
    let connect = leave(&broker, Version::V5, &topic, 2);
    let mut expected = Vec::new();
    for round in 0..20 {
        let payload = format!("round {round}");
        broker
            .client(Version::V311, "pub")
            .pub_(&topic, 1 + round % 2, &payload);
        expected.push(payload);
        if round % 5 == 4 {
            let mut client = again(&broker, &connect);
            assert_eq!(client.payloads(expected.len()), expected);
            settle(&mut client);
            expected.clear();
        }
        broker.restart(ENDS[usize::from(round % 2)]);
    }
    again(&broker, &connect).quiet();
}
