//! `emq_retainer`: retained messages, their limits, expiry and verbs.

use std::thread::sleep;
use std::time::{Duration, Instant};

use emqttd_tests::transport::DEADLINE;
use emqttd_tests::{
    ALL, Broker, Client, Config, Connect, End, Packet, Prop, Publish, Version, Will, unique,
};

const PLUGIN: &str = "emq_retainer";
const KINDS: [&str; 3] = ["ram", "disc", "disc_only"];

fn conf(kind: &str, more: &str) -> String {
    format!("retainer.storage_type = {kind}\n{more}")
}

fn config(kind: &str, more: &str) -> Config {
    Config::with_plugin(PLUGIN, &conf(kind, more)).set("persistence.segment_bytes", "1MB")
}

fn start(kind: &str, more: &str) -> Broker {
    Broker::start(config(kind, more))
}

/// Retains a message, and returns when the broker has it.
fn retain(publisher: &mut Client, topic: &str, payload: &str) {
    publisher.publish(Publish::new(topic, payload).qos(1).retained());
}

/// What a new subscriber gets of retained messages: topics and payloads.
#[track_caller]
fn kept(broker: &Broker, filter: &str) -> Vec<(String, String)> {
    // One subscription is answered after the other, so this comes behind all that `filter` brings. There is
    // no limit for it, and it is not stored.
    let end = format!("$SYS/{}", unique("end"));
    let mut publisher = broker.client(Version::V311, "pub");
    retain(&mut publisher, &end, "end");
    let mut client = broker.client(Version::V311, "late");
    client.sub(filter, 2);
    client.sub(&end, 2);
    let mut got = Vec::new();
    loop {
        let message = client.recv_message();
        assert!(message.retain, "{message:?}");
        if message.topic == end {
            retain(&mut publisher, &end, "");
            return got;
        }
        got.push((message.topic, message.payload));
    }
}

/// Nothing is sent because of a subscription while the plugin is not loaded.
#[track_caller]
fn nothing_kept(broker: &Broker, filter: &str) {
    let mut client = broker.client(Version::V311, "late");
    client.sub(filter, 2);
    client.nothing_from(&mut broker.client(Version::V311, "pub"));
}

fn payloads(broker: &Broker, filter: &str) -> Vec<String> {
    kept(broker, filter).into_iter().map(|(_, p)| p).collect()
}

#[track_caller]
fn ctl(broker: &Broker, args: &[&str]) -> String {
    let (code, text) = broker.ctl(args);
    assert_eq!(code, 0, "{args:?}: {text}");
    text
}

/// The number behind `retained/total: `.
#[track_caller]
fn total(broker: &Broker) -> usize {
    let text = ctl(broker, &["retainer", "info"]);
    let number = text.strip_prefix("retained/total: ").unwrap();
    number.strip_suffix('\n').unwrap().parse().unwrap()
}

#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE, "never: {what}");
        sleep(Duration::from_millis(20));
    }
}

/// Acceptance 1.
#[test]
fn disc_survives_a_restart_and_ram_does_not() {
    for kind in KINDS {
        for end in [End::Stop, End::Kill] {
            let mut broker = start(kind, "");
            retain(&mut broker.client(Version::V311, "pub"), "a/b", "1");
            broker.restart(end);
            let wanted = match kind {
                "ram" => vec![],
                _ => vec![("a/b".to_string(), "1".to_string())],
            };
            assert_eq!(kept(&broker, "a/+"), wanted, "{kind} {end:?}");
        }
    }
}

/// Acceptance 2, 3 and 7.
#[test]
fn live_and_late_subscribers() {
    for kind in KINDS {
        let broker = start(kind, "");
        for v in ALL {
            let topic = unique("t");
            let mut publisher = broker.client(v, "pub");
            let mut live = broker.client(v, "live");
            live.sub(&topic, 2);
            publisher.publish(Publish::new(&topic, "x").qos(2).retained());
            assert!(!live.expect(&topic, "x").retain);
            let mut late = broker.client(v, "late");
            for _ in 0..2 {
                late.sub(&topic, 1);
                let message = late.expect(&topic, "x");
                assert!(message.retain && message.qos == 1, "{kind} {v}");
            }
            let before = total(&broker);
            publisher.publish(Publish::new(&topic, "").qos(1).retained());
            assert!(!live.expect(&topic, "").retain);
            late.expect(&topic, "");
            assert_eq!(total(&broker), before - 1);
            assert_eq!(kept(&broker, &topic), [], "{kind} {v}");
        }
    }
}

/// Acceptance 4.
#[test]
fn payloads_beyond_the_limit_are_delivered_and_not_retained() {
    for kind in KINDS {
        let broker = start(kind, "retainer.max_payload_size = 10\n");
        let mut publisher = broker.client(Version::V311, "pub");
        let mut live = broker.client(Version::V311, "live");
        live.sub("t", 1);
        for payload in ["0123456789", "0123456789a"] {
            retain(&mut publisher, "t", payload);
            live.expect("t", payload);
        }
        assert_eq!(payloads(&broker, "t"), ["0123456789"]);
        let line = "Cannot retain message(topic=t, payload_size=11) for payload is too big!";
        eventually("it is said", || broker.log().contains(line));
    }
}

/// Acceptance 5. What the broker retains itself does not count.
#[test]
fn topics_beyond_the_limit_are_not_retained_and_those_there_may_change() {
    let config =
        config("ram", "retainer.max_message_num = 2\n").set("mqtt.broker.sys_interval", "1s");
    let broker = Broker::start(config);
    eventually("the broker has said who it is", || total(&broker) == 3);
    let mut publisher = broker.client(Version::V311, "pub");
    let mut live = broker.client(Version::V311, "live");
    live.sub("+", 1);
    for topic in ["a", "b", "c"] {
        retain(&mut publisher, topic, "1");
        live.expect(topic, "1");
    }
    retain(&mut publisher, "a", "2");
    let wanted = [("b", "1"), ("a", "2")].map(|(t, p)| (t.to_string(), p.to_string()));
    assert_eq!(kept(&broker, "#"), wanted);
    let line = "Cannot retain message(topic=c) for table is full!";
    eventually("it is said", || broker.log().contains(line));
    retain(&mut publisher, "b", "");
    retain(&mut publisher, "c", "3");
    assert_eq!(payloads(&broker, "#"), ["2", "3"]);
}

/// A flood of messages that are not retained is no flood in the log.
#[test]
fn refusals_do_not_flood_the_log() {
    let broker = start("ram", "retainer.max_payload_size = 1\n");
    let mut publisher = broker.client(Version::V311, "pub");
    for i in 0..2000 {
        retain(&mut publisher, &format!("t/{i}"), "xx");
    }
    publisher.ping();
    let lines = broker.log().matches("Cannot retain message(").count();
    assert!((1..1000).contains(&lines), "{lines} lines");
}

/// Acceptance 6.
#[test]
fn messages_expire_and_those_of_the_broker_do_not() {
    for kind in KINDS {
        let config =
            config(kind, "retainer.expiry_interval = 2s\n").set("mqtt.broker.sys_interval", "1s");
        let broker = Broker::start(config);
        let mut publisher = broker.client(Version::V5, "pub");
        retain(&mut publisher, "by/age", "x");
        let own = Publish::new("by/own", "x").qos(1).retained();
        publisher.publish(own.prop(Prop::MessageExpiry(100)));
        let published = Instant::now();
        assert_eq!(payloads(&broker, "by/#").len(), 2, "{kind}");
        eventually("one is gone", || total(&broker) == 4);
        let after = published.elapsed();
        assert!(after >= Duration::from_millis(1900), "{after:?}");
        assert!(after < Duration::from_millis(4500), "{after:?}");
        assert_eq!(kept(&broker, "by/#")[0].0, "by/own", "{kind}");
        let list = ctl(&broker, &["retainer", "topics"]);
        assert!(list.contains("$SYS/brokers\n"), "{list}");
        assert!(!kept(&broker, "$SYS/brokers").is_empty());
    }
}

/// Also while the broker is stopped, and by what the interval is at the time.
#[test]
fn age_counts_over_restarts_and_with_another_interval() {
    for kind in ["disc", "disc_only"] {
        let mut broker = start(kind, "");
        let mut publisher = broker.client(Version::V311, "pub");
        retain(&mut publisher, "old", "x");
        broker.end(End::Stop);
        // Time itself is what is tested here.
        sleep(Duration::from_millis(1100));
        broker.config = config(kind, "retainer.expiry_interval = 1s\n");
        broker.write_plugin_conf(PLUGIN, &conf(kind, "retainer.expiry_interval = 1s\n"));
        broker.start_again();
        assert_eq!(kept(&broker, "#"), [], "{kind}");
        let mut publisher = broker.client(Version::V311, "pub");
        let out = ctl(
            &broker,
            &["set", "retainer.expiry_interval=1h", "--app=emq_retainer"],
        );
        assert!(out.contains("successfully"), "{out}");
        retain(&mut publisher, "new", "x");
        assert_eq!(payloads(&broker, "#"), ["x"]);
        ctl(
            &broker,
            &["set", "retainer.expiry_interval=1", "--app=emq_retainer"],
        );
        eventually("it is gone", || total(&broker) == 0);
    }
}

#[test]
fn keys_that_are_hot_take_effect_at_once() {
    let broker = start("ram", "");
    let mut publisher = broker.client(Version::V311, "pub");
    let set = |key: &str| {
        let key = format!("retainer.{key}");
        let out = ctl(&broker, &["set", &key, "--app=emq_retainer"]);
        assert!(out.contains("successfully"), "{out}");
    };
    retain(&mut publisher, "a", "12345");
    set("max_payload_size=4");
    retain(&mut publisher, "a", "23456");
    retain(&mut publisher, "b", "2345");
    set("max_message_num=2");
    retain(&mut publisher, "c", "1");
    assert_eq!(payloads(&broker, "#"), ["12345", "2345"]);
    set("max_message_num=0");
    set("max_payload_size=0");
    retain(&mut publisher, "c", "123456");
    assert_eq!(payloads(&broker, "#"), ["12345", "2345", "123456"]);
}

#[test]
fn the_verb_has_the_texts_of_emq() {
    let config = config("ram", "").set("mqtt.broker.sys_interval", "1s");
    let broker = Broker::start(config);
    eventually("the broker has said who it is", || total(&broker) == 3);
    let mut publisher = broker.client(Version::V311, "pub");
    for i in 0..10 {
        retain(&mut publisher, &format!("a/{i}"), "x");
    }
    assert_eq!(ctl(&broker, &["retainer", "info"]), "retained/total: 13\n");
    let topics = ctl(&broker, &["retainer", "topics"]);
    let mut lines: Vec<&str> = topics.lines().collect();
    lines.sort_unstable();
    let node = "$SYS/brokers/emq@127.0.0.1";
    let mut wanted: Vec<String> = (0..10).map(|i| format!("a/{i}")).collect();
    wanted.extend([
        "$SYS/brokers".into(),
        format!("{node}/sysdescr"),
        format!("{node}/version"),
    ]);
    wanted.sort_unstable();
    assert_eq!(lines, wanted);
    assert!(topics.ends_with('\n'));
    let clean = ctl(&broker, &["retainer", "clean"]);
    assert_eq!(clean, "Cleaned 13 retained messages\n");
    assert_eq!(kept(&broker, "a/#"), []);
    eventually("those of the broker come back", || total(&broker) == 3);
    let metrics = ctl(&broker, &["broker", "metrics"]);
    let row = metrics
        .lines()
        .find(|l| l.starts_with("messages/retained "));
    assert!(row.unwrap().ends_with(": 3"), "{metrics}");
    let (_, usage) = broker.ctl(&["retainer"]);
    for row in [
        "retainer info                                   # Show the count of retained messages\n",
        "retainer topics                                 # Show all topics of retained messages\n",
        "retainer clean                                  # Clean all retained messages\n",
    ] {
        assert!(usage.contains(row), "{usage}");
    }
    let (_, all) = broker.ctl(&["help"]);
    assert!(all.contains("retainer clean"), "{all}");
    broker.unload(PLUGIN);
    let (_, all) = broker.ctl(&["help"]);
    assert!(!all.contains("retainer clean"), "{all}");
}

/// What was cleaned does not come back.
#[test]
fn clean_is_for_good() {
    for kind in ["disc", "disc_only"] {
        for end in [End::Stop, End::Kill] {
            let mut broker = start(kind, "");
            let mut publisher = broker.client(Version::V311, "pub");
            for i in 0..2500 {
                publisher.send_publish(Publish::new(&format!("c/{i}"), "x").retained());
            }
            publisher.ping();
            assert_eq!(
                ctl(&broker, &["retainer", "clean"]),
                "Cleaned 2500 retained messages\n"
            );
            // Its acknowledgement means that all before it is on disk.
            retain(&mut publisher, "c/1", "y");
            broker.restart(end);
            assert_eq!(payloads(&broker, "c/#"), ["y"], "{kind} {end:?}");
        }
    }
}

/// The order of publishing outlives the broker, also for those that were replaced.
#[test]
fn order_is_kept_over_restarts() {
    for kind in ["disc", "disc_only"] {
        let mut broker = start(kind, "");
        let mut publisher = broker.client(Version::V311, "pub");
        // Enough to fill several files of the store, most of it replaced.
        let payload = "x".repeat(4000);
        for round in 0..4 {
            for i in (0..300).rev() {
                let text = format!("{round}/{i}/{payload}");
                publisher.send_publish(Publish::new(&format!("o/{}/{i}", i % 7), text).retained());
            }
        }
        publisher.publish(Publish::new("o/3/150", "last").qos(1).retained());
        let wanted: Vec<String> = (0..300)
            .rev()
            .filter(|i| *i != 150)
            .map(|i| format!("o/{}/{i}", i % 7))
            .chain(["o/3/150".to_string()])
            .collect();
        for end in [None, Some(End::Kill), Some(End::Stop)] {
            if let Some(end) = end {
                broker.restart(end);
            }
            let got = kept(&broker, "o/#");
            let topics: Vec<&str> = got.iter().map(|(topic, _)| topic.as_str()).collect();
            assert_eq!(topics, wanted, "{kind} {end:?}");
            assert!(got[..299].iter().all(|(t, p)| p.starts_with("3/") && {
                let i = t.rsplit_once('/').unwrap().1;
                p[2..].starts_with(&format!("{i}/"))
            }));
            assert_eq!(got[299].1, "last");
            // By way of several filters, too.
            assert_eq!(kept(&broker, "o/+/150").len(), 1);
        }
    }
}

/// With restarts in between: what was there goes on as the new type wants it.
#[test]
fn storage_types_are_converted_at_a_restart() {
    for from in KINDS {
        for to in KINDS {
            let mut broker = start(from, "");
            let mut publisher = broker.client(Version::V311, "pub");
            for i in 0..50 {
                retain(&mut publisher, &format!("k/{i}"), &format!("p{i}"));
            }
            let all: Vec<String> = (0..50).map(|i| format!("p{i}")).collect();
            let none: Vec<String> = Vec::new();
            broker.end(End::Stop);
            broker.write_plugin_conf(PLUGIN, &conf(to, ""));
            broker.start_again();
            let there = if from == "ram" { &none } else { &all };
            assert_eq!(&payloads(&broker, "k/#"), there, "{from} to {to}");
            broker.restart(End::Kill);
            let there = if to == "ram" { &none } else { there };
            assert_eq!(&payloads(&broker, "k/#"), there, "{from} to {to}, again");
            // And nothing stale comes back later.
            broker.end(End::Stop);
            broker.write_plugin_conf(PLUGIN, &conf("disc", ""));
            broker.start_again();
            assert_eq!(
                &payloads(&broker, "k/#"),
                there,
                "{from} to {to}, then disc"
            );
        }
    }
}

/// Without a restart: unloaded, and loaded with another type, while a client publishes.
#[test]
fn storage_types_are_converted_on_a_live_broker() {
    let mut broker = Broker::start(config("ram", "").set("node.shards", "3"));
    let mut publisher = broker.client(Version::V311, "pub");
    let payload = "x".repeat(500);
    for i in 0..3000 {
        publisher
            .send_publish(Publish::new(&format!("k/{i}"), format!("{i} {payload}")).retained());
    }
    publisher.ping();
    let mut wanted: Vec<String> = (0..3000).map(|i| format!("{i} {payload}")).collect();
    let kinds = [
        "disc",
        "disc_only",
        "ram",
        "disc_only",
        "disc",
        "ram",
        "disc",
    ];
    for (n, kind) in kinds.into_iter().enumerate() {
        broker.unload(PLUGIN);
        broker.write_plugin_conf(PLUGIN, &conf(kind, ""));
        broker.load(PLUGIN);
        let one = format!("k/{}", 10 * n);
        retain(&mut publisher, &one, &format!("new {n}"));
        let old = wanted
            .iter()
            .position(|p| p.starts_with(&format!("{} ", 10 * n)));
        wanted.remove(old.unwrap());
        wanted.push(format!("new {n}"));
        assert!(payloads(&broker, "k/#") == wanted, "{kind}, the {n}th");
    }
    broker.restart(End::Kill);
    assert!(payloads(&broker, "k/#") == wanted, "after a restart");
}

/// Ends a loop of another thread, also when the test fails.
struct Stop<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Off and on while somebody publishes retained messages without a pause: nobody is disconnected, live
/// delivery goes on, and what is retained at the end is what was published last.
#[test]
fn loading_and_unloading_disturbs_nobody() {
    for kind in KINDS {
        let config = config(kind, "")
            .set("node.shards", "3")
            .set("mqtt.mqueue.max_length", "0");
        let broker = Broker::start(config);
        let mut live = broker.client(Version::V311, "live");
        live.sub("l/#", 1);
        retain(&mut broker.client(Version::V311, "pub"), "still/there", "x");
        let stop = std::sync::atomic::AtomicBool::new(false);
        let sent = std::thread::scope(|scope| {
            let ends = Stop(&stop);
            // It hears at its CONNECT whether messages are retained.
            let mut publisher = broker.client(Version::V5, "pub");
            let stop = &stop;
            let publishing = scope.spawn(move || {
                let mut n = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    retain(&mut publisher, &format!("l/{}", n % 50), &n.to_string());
                    n += 1;
                }
                n
            });
            let reading = scope.spawn(|| {
                let mut got = 0;
                loop {
                    let message = live.recv_message();
                    if message.payload == "stop" {
                        return got;
                    }
                    assert_eq!(message.payload, got.to_string());
                    got += 1;
                }
            });
            for _ in 0..5 {
                broker.unload(PLUGIN);
                assert!(!broker.is_active(PLUGIN));
                nothing_kept(&broker, "still/#");
                broker.load(PLUGIN);
                assert_eq!(payloads(&broker, "still/#"), ["x"]);
            }
            drop(ends);
            let sent = publishing.join().unwrap();
            broker.client(Version::V311, "end").pub_("l/end", 1, "stop");
            assert_eq!(reading.join().unwrap(), sent);
            sent
        });
        let mut publisher = broker.client(Version::V311, "pub");
        for i in 0..50 {
            retain(&mut publisher, &format!("l/{i}"), &(sent + i).to_string());
        }
        let wanted: Vec<String> = (sent..sent + 50).map(|n| n.to_string()).collect();
        assert_eq!(payloads(&broker, "l/#"), wanted, "{kind}");
    }
}

/// MQTT 5 clients are told that nothing is retained while it is not [MQTT-3.2.2-13].
#[test]
fn without_the_plugin_nothing_is_retained() {
    let mut broker = start("disc", "");
    let mut publisher = broker.client(Version::V311, "pub");
    retain(&mut publisher, "before", "x");
    broker.unload(PLUGIN);
    retain(&mut publisher, "during", "x");
    nothing_kept(&broker, "#");
    let (client, _, props) = broker.resume(&Connect::new(Version::V5, &unique("five")));
    assert_eq!(props.retain_available(), Some(0));
    drop(client);
    let will = Will::new("w", "x").retained();
    let mut client = broker.raw(Version::V5);
    client.send(
        &Connect::new(Version::V5, &unique("will"))
            .will(will)
            .encode(),
    );
    assert_eq!(client.connack().1, 0x9A);
    assert_eq!(client.closed(), None);
    // A restart without it: what is on disk stays there.
    broker.restart(End::Kill);
    assert!(!broker.is_active(PLUGIN));
    nothing_kept(&broker, "#");
    broker.load(PLUGIN);
    assert_eq!(
        kept(&broker, "#"),
        [("before".to_string(), "x".to_string())]
    );
    let (_client, _, props) = broker.resume(&Connect::new(Version::V5, &unique("five")));
    assert_eq!(props.retain_available(), None);
}

/// A payload that is on disk only is read back, whatever happens meanwhile.
#[test]
fn disc_only_reads_back_in_order() {
    let config = config("disc_only", "retainer.max_payload_size = 0\n")
        .set("mqtt.max_packet_size", "1MB")
        .set("node.shards", "2");
    let mut broker = Broker::start(config);
    let mut publisher = broker.client(Version::V311, "pub");
    let body = "b".repeat(5000);
    for i in 0..300 {
        let payload = format!("{i} {body}");
        publisher.send_publish(Publish::new(&format!("d/{i}"), payload).retained());
    }
    retain(&mut publisher, "d/large", &"l".repeat(900_000));
    for restart in [false, true] {
        if restart {
            broker.restart(End::Kill);
        }
        for v in ALL {
            for qos in [0, 1] {
                let mut client = broker.client(v, "late");
                client.sub("d/#", qos);
                for i in 0..300 {
                    let message = client.recv_message();
                    assert_eq!(message.topic, format!("d/{i}"), "{v}");
                    assert_eq!(message.payload, format!("{i} {body}"));
                }
                assert_eq!(client.recv_message().payload.len(), 900_000);
                client.quiet();
            }
        }
    }
    // A client that subscribes while one topic changes gets its last value last, and every other once.
    let mut publisher = broker.client(Version::V311, "pub");
    for n in 0..20 {
        let mut client = broker.client(Version::V311, "late");
        client.send(&client.subscribe_bytes(1, &[emqttd_tests::Sub::new("d/#", 0)], &[]));
        let text = format!("changed {n}");
        retain(&mut publisher, "d/299", &text);
        publisher.pub_("d/end", 1, "end");
        let mut last = String::new();
        let (mut others, mut ended, mut large) = (0, false, false);
        client.suback(1);
        while !(ended && large && last == text) {
            let message = client.recv_message();
            match message.topic.as_str() {
                "d/299" => last = message.payload,
                "d/large" => large = true,
                "d/end" => ended = true,
                _ => others += 1,
            }
        }
        assert_eq!(others, 299);
        // A message that was retained while the subscription began may come both ways.
        client.send(&[0xc0, 0]);
        while let Packet::Publish { topic, payload, .. } = client.recv() {
            assert_eq!((&*topic, &*payload), ("d/299", text.as_bytes()));
        }
        assert_eq!(payloads(&broker, "d/299"), [text]);
    }
}

/// Without a store the types that need one say so, and work as `ram`.
#[test]
fn without_a_store_disc_is_ram_and_says_so() {
    for kind in ["disc", "disc_only"] {
        let config = config(kind, "").set("persistence.sync", "off");
        let mut broker = Broker::start(config);
        let line = "retained messages are kept in memory only";
        assert!(broker.log().contains(line), "{}", broker.log());
        retain(&mut broker.client(Version::V311, "pub"), "a", "x");
        assert_eq!(payloads(&broker, "a"), ["x"]);
        broker.restart(End::Stop);
        assert_eq!(kept(&broker, "a"), []);
    }
}

/// A wide subscription with several tens of thousands of messages keeps another client waiting for
/// milliseconds at the most, and loses none.
#[test]
fn a_subscriber_to_everything_holds_up_nobody() {
    const N: usize = 50_000;
    let broker = Broker::start(config("ram", "").set("node.shards", "1"));
    let mut publisher = broker.client(Version::V311, "pub");
    for i in 0..N {
        publisher
            .send_publish(Publish::new(&format!("w/{}/{i}", i % 100), i.to_string()).retained());
    }
    publisher.ping();
    let mut wide = broker.client(Version::V311, "wide");
    let reading = std::thread::spawn(move || {
        wide.sub("#", 0);
        for i in 0..N {
            let message = wide.recv_message();
            assert_eq!(message.payload, i.to_string());
        }
    });
    let mut pings = Vec::new();
    while !reading.is_finished() {
        let start = Instant::now();
        publisher.ping();
        pings.push(start.elapsed());
    }
    reading.join().unwrap();
    pings.sort_unstable();
    let median = pings[pings.len() / 2];
    // On a machine that compiles beside us, with a broker that is not optimized.
    assert!(
        median < Duration::from_millis(100),
        "{median:?} of {}",
        pings.len()
    );
}
