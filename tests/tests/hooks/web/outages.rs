//! A target that is slow, broken, or not there.

use super::*;
use std::collections::BTreeMap;

/// Statuses after which an event is tried again.
const AGAIN: [u16; 7] = [408, 425, 429, 500, 502, 503, 504];
/// Those that refuse it.
const REFUSED: [u16; 7] = [400, 401, 403, 404, 410, 413, 422];

/// Clients come, publish and go as if nothing was: each acknowledgement is waited for ten seconds at most.
#[track_caller]
fn nobody_waits(broker: &Broker) {
    for version in emqttd_tests::ALL {
        let mut client = broker.client(version, "client");
        client.sub("t", 1);
        for n in 0..50 {
            let payload = n.to_string();
            client.pub_("t", 1, &payload);
            client.expect("t", &payload);
        }
        client.disconnect();
    }
}

/// Check 5: the target hangs, longer than any client waits.
#[test]
fn a_target_that_hangs() {
    for mode in [Mode::Hang, Mode::Freeze] {
        let sink = Sink::start();
        sink.set(mode);
        let broker = start(&(everything(&sink) + "web.hook.timeout = 1m\n"));
        nobody_waits(&broker);
        // Of each client: 4 to begin with, 3 for each message, 2 at the end.
        await_figure(&broker, "queued", 3 * (4 + 50 * 3 + 2));
        sink.set(Mode::Status(200));
        sink.wait_for(3 * (4 + 50 * 3 + 2));
        await_figure(&broker, "queued", 0);
        await_figure(&broker, "queued_bytes", 0);
    }
}

/// The broker may start before its target; what happened meanwhile arrives, in order.
#[test]
fn a_target_that_is_not_there_yet() {
    let sink = Sink::start();
    sink.set(Mode::Refuse);
    let broker = start(&publishes(&sink));
    let mut watcher = watcher(&broker);
    nobody_waits(&broker);
    let said = alarm(&mut watcher, "web_hook_unreachable/alert");
    assert!(said.contains("web_hook_unreachable"), "{said}");
    assert!(figure(&broker, "failed") > 0);
    let mut client = broker.client(Version::V311, "client");
    publish_all(&mut client, "last", ["last"]);
    sink.set(Mode::Status(200));
    let posts = sink.wait_for(151);
    let expected: Vec<String> = (0..3).flat_map(|_| numbers(0..50)).collect();
    assert_eq!(payloads(&posts)[..150], expected);
    assert_eq!(payloads(&posts)[150], "last");
    alarm(&mut watcher, "web_hook_unreachable/clear");
    await_figure(&broker, "sent", 151);
    // The log was told when it began and when it ended, and of no single event.
    let log = broker.log();
    let told = log.lines().filter(|line| line.contains("] emq_web_hook: "));
    assert_eq!(told.count(), 2, "{log}");
}

#[test]
fn tried_again() {
    let sink = Sink::start();
    let broker = start(&(publishes(&sink) + "web.hook.timeout = 1s\n"));
    let mut client = broker.client(Version::V311, "client");
    let statuses = AGAIN.map(Mode::Status).into_iter();
    for mode in statuses.chain([Mode::Hang, Mode::Drop]) {
        let failed = figure(&broker, "failed");
        sink.next([mode.clone(), mode.clone()]);
        publish_all(&mut client, "t", ["first", "second"]);
        let posts = sink.wait_for(4);
        let arrived = payloads(&posts);
        assert_eq!(arrived, ["first", "first", "first", "second"], "{mode:?}");
        sink.take();
        // What is cut off may be asked for again at once, over another connection.
        if mode != Mode::Drop {
            await_figure(&broker, "failed", failed + 2);
        }
    }
    await_figure(&broker, "sent", 2 * (AGAIN.len() as u64 + 2));
    await_figure(&broker, "queued", 0);
}

#[test]
fn refused_by_the_target() {
    let sink = Sink::start();
    let broker = start(&publishes(&sink));
    let mut watcher = watcher(&broker);
    let mut client = broker.client(Version::V311, "client");
    for (n, status) in REFUSED.into_iter().enumerate() {
        sink.next([Mode::Status(status)]);
        publish_all(&mut client, "t", ["refused", "fine"]);
        assert_eq!(payloads(&sink.wait_for(2)), ["refused", "fine"], "{status}");
        sink.take();
        await_figure(&broker, "dropped/refused", n as u64 + 1);
    }
    let said = alarm(&mut watcher, "web_hook_dropping/alert");
    assert!(said.contains("refused"), "{said}");
    await_figure(&broker, "sent", REFUSED.len() as u64);
}

/// Anything below 400 will do, and redirections are followed with the body.
#[test]
fn answers_that_will_do() {
    let (sink, other) = (Sink::start(), Sink::start());
    let broker = start(&publishes(&sink));
    let mut client = broker.client(Version::V311, "client");
    sink.next([200, 201, 202, 204, 304].map(Mode::Status));
    publish_all(&mut client, "t", numbers(0..5));
    assert_eq!(payloads(&sink.wait_for(5)), numbers(0..5));
    sink.next([Mode::Redirect(other.url("/elsewhere"))]);
    publish_all(&mut client, "t", ["moved"]);
    let posts = other.wait_for(1);
    assert_eq!(
        (posts[0].method.as_str(), posts[0].target.as_str()),
        ("POST", "/elsewhere")
    );
    assert_eq!(payloads(&posts), ["moved"]);
    await_figure(&broker, "sent", 6);
}

/// The status says that the event has arrived, whatever becomes of the rest of the answer.
#[test]
fn half_an_answer_that_will_do() {
    for version in ["1.1", "2"] {
        let sink = Sink::start();
        let keys = format!("pool = 1\nweb.hook.http_version = {version}\n");
        let broker = start(&publishes(&sink).replace("pool = 1\n", &keys));
        let mut client = broker.client(Version::V311, "client");
        sink.next([Mode::Break, Mode::Break]);
        publish_all(&mut client, "t", numbers(0..3));
        assert_eq!(payloads(&sink.wait_for(3)), numbers(0..3), "{version}");
        await_figure(&broker, "sent", 3);
        assert_eq!(figure(&broker, "failed"), 0, "{version}");
    }
}

/// An event is given up a while after it happened, and what comes later is not.
#[test]
fn the_deadline() {
    let sink = Sink::start();
    sink.set(Mode::Refuse);
    let broker = start(&(publishes(&sink) + "web.hook.deadline = 1s\n"));
    let mut watcher = watcher(&broker);
    let mut client = broker.client(Version::V311, "client");
    publish_all(&mut client, "t", numbers(0..20));
    await_figure(&broker, "dropped/expired", 20);
    await_figure(&broker, "queued", 0);
    let mut alarms = [watcher.recv_message().topic, watcher.recv_message().topic];
    alarms.sort();
    let [dropping, unreachable] = &alarms;
    assert!(dropping.ends_with("/web_hook_dropping/alert"), "{dropping}");
    assert!(
        unreachable.ends_with("/web_hook_unreachable/alert"),
        "{unreachable}"
    );
    sink.set(Mode::Status(200));
    publish_all(&mut client, "t", ["later"]);
    assert_eq!(payloads(&sink.wait_for(1)), ["later"]);
}

/// A target that goes and comes while four clients publish: all arrives, and of each client in order.
#[track_caller]
fn in_order(version: &str) {
    let sink = Sink::start();
    let keys = format!("pool = 4\nweb.hook.timeout = 1s\nweb.hook.http_version = {version}\n");
    let broker = start(&publishes(&sink).replace("pool = 1\n", &keys));
    let mut clients = ["a", "b", "c", "d"].map(|id| broker.open(&Connect::new(Version::V311, id)));
    let mut next = 0;
    let mut publish = |count: usize| {
        for n in numbers(next..next + count) {
            for client in &mut clients {
                publish_all(client, "t", [&n]);
            }
        }
        next += count;
        next
    };
    for mode in [
        Mode::Status(503),
        Mode::Refuse,
        Mode::Hang,
        Mode::Drop,
        Mode::Freeze,
        Mode::Status(429),
    ] {
        let failed = figure(&broker, "failed");
        sink.set(mode.clone());
        publish(15);
        eventually("an attempt has failed", || {
            figure(&broker, "failed") > failed
        });
        sink.set(Mode::Status(200));
        publish(10);
    }
    let each = publish(1);
    await_figure(&broker, "queued", 0);
    let arrived = first_arrivals(&sink);
    assert_eq!(arrived.len(), 4);
    for (client, payloads) in arrived {
        assert_eq!(payloads, numbers(0..each), "{client}");
    }
    assert_eq!(figure(&broker, "sent"), 4 * each as u64);
}

#[test]
fn order_of_each_client() {
    in_order("1.1");
}

#[test]
fn order_of_each_client_over_http_2() {
    in_order("2");
}

/// A client whose events are tried again holds up no other lane.
#[test]
fn others_go_on() {
    let sink = Sink::start();
    let conf = publishes(&sink).replace("pool = 1\n", "pool = 8\nweb.hook.timeout = 1m\n");
    let broker = start(&conf);
    let mut slow = broker.open(&Connect::new(Version::V311, "slow"));
    sink.next([Mode::Hang]);
    publish_all(&mut slow, "t", ["first", "second"]);
    sink.wait_for(1);
    // Of twenty others some are in other lanes.
    for _ in 0..20 {
        broker.client(Version::V311, "other").pub_("t", 1, "other");
    }
    let posts = sink.wait_until("others", |posts| posts.len() > 5);
    assert!(!payloads(&posts).contains(&"second"));
    sink.set(Mode::Status(200));
    sink.wait_for(22);
}

/// What each client's messages were, in the order in which they came first.
fn first_arrivals(sink: &Sink) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for post in sink.wait_for(0) {
        // What broke off in the middle of its answer counts: it has arrived.
        let client = field(post.text(), "from_client_id").to_owned();
        let payload = field(post.text(), "payload").to_owned();
        let of_client = all.entry(client).or_default();
        if !of_client.contains(&payload) {
            of_client.push(payload);
        }
    }
    all
}

/// Without spill, what waits when the plugin ends is lost, and that is said; its alarms end with it.
#[test]
fn what_waits_at_the_end_is_told() {
    let sink = Sink::start();
    sink.set(Mode::Refuse);
    let mut broker = start(&publishes(&sink));
    let mut watcher = watcher(&broker);
    let mut client = broker.client(Version::V311, "client");
    publish_all(&mut client, "t", numbers(0..1234));
    alarm(&mut watcher, "web_hook_unreachable/alert");
    broker.unload(PLUGIN);
    alarm(&mut watcher, "web_hook_unreachable/clear");
    let told = |log: &str| {
        let of_plugin = |line: &&str| line.contains(PLUGIN) && line.contains(" 1234 ");
        log.lines().filter(of_plugin).count()
    };
    assert_eq!(told(&broker.log()), 1, "{}", broker.log());
    // The same when the broker ends, which does not wait for an answer.
    sink.set(Mode::Hang);
    broker.write_plugin_conf(PLUGIN, &(publishes(&sink) + "web.hook.timeout = 5m\n"));
    broker.load(PLUGIN);
    publish_all(&mut client, "t", numbers(0..1234));
    sink.wait_for(1);
    broker.end(emqttd_tests::End::Stop);
    assert_eq!(told(&broker.log()), 2, "{}", broker.log());
}
