//! A queue that is full.

use super::*;

/// Message 0 is under way and hangs, then so many more come.
fn fill(sink: &Sink, conf: &str, more: usize) -> (Broker, Client) {
    sink.set(Mode::Hang);
    let broker = start(&format!("{}web.hook.timeout = 1m\n{conf}", publishes(sink)));
    let watcher = watcher(&broker);
    let mut client = broker.client(Version::V311, "client");
    publish_all(&mut client, "t", ["0"]);
    sink.wait_for(1);
    publish_all(&mut client, "t", numbers(1..1 + more));
    (broker, watcher)
}

#[test]
fn the_oldest_are_dropped() {
    let sink = Sink::start();
    // What is not said otherwise.
    let (broker, mut watcher) = fill(&sink, "web.hook.queue.max_count = 10\n", 20);
    assert_eq!(figure(&broker, "queued"), 10);
    assert_eq!(figure(&broker, "dropped/full"), 11);
    let said = alarm(&mut watcher, "web_hook_dropping/alert");
    assert!(said.contains("full"), "{said}");
    sink.set(Mode::Status(200));
    let posts = sink.wait_for(10);
    assert_eq!(payloads(&posts)[0], "0");
    assert_eq!(payloads(&posts)[1..], numbers(12..21));
    await_figure(&broker, "sent", 10);
    await_figure(&broker, "queued", 0);
}

/// The oldest of all, whoever's it is.
#[test]
fn the_oldest_of_all_lanes() {
    let sink = Sink::start();
    sink.set(Mode::Refuse);
    let conf = publishes(&sink).replace("pool = 1\n", "pool = 8\nweb.hook.queue.max_count = 30\n");
    let broker = start(&conf);
    for n in 0..100 {
        broker
            .client(Version::V311, "client")
            .pub_("t", 1, &n.to_string());
    }
    assert_eq!(figure(&broker, "dropped/full"), 70);
    sink.set(Mode::Status(200));
    let posts = sink.wait_for(30);
    let mut left: Vec<usize> = payloads(&posts)
        .iter()
        .map(|p| p.parse().unwrap())
        .collect();
    left.sort();
    // Eight at most are under way, which are not dropped.
    let newest = left.iter().filter(|n| **n >= 78).count();
    assert_eq!(newest, 22, "{left:?}");
}

#[test]
fn the_newest_are_dropped() {
    let sink = Sink::start();
    let keys = "web.hook.queue.max_count = 10\nweb.hook.on_full = drop_newest\n";
    let (broker, mut watcher) = fill(&sink, keys, 20);
    assert_eq!(figure(&broker, "queued"), 10);
    assert_eq!(figure(&broker, "dropped/full"), 11);
    alarm(&mut watcher, "web_hook_dropping/alert");
    sink.set(Mode::Status(200));
    assert_eq!(payloads(&sink.wait_for(10)), numbers(0..10));
    await_figure(&broker, "sent", 10);
    // And there is room again.
    let mut client = broker.client(Version::V311, "client");
    publish_all(&mut client, "t", ["later"]);
    assert_eq!(payloads(&sink.wait_for(11))[10], "later");
}

#[test]
fn bytes_are_bounded_too() {
    const MOST: u64 = 10 * 1024;
    for (choice, from) in [("drop_oldest", 1), ("drop_newest", 0)] {
        let sink = Sink::start();
        sink.set(Mode::Hang);
        let keys = format!(
            "web.hook.timeout = 1m\nweb.hook.queue.max_bytes = 10KB\nweb.hook.on_full = {choice}\n"
        );
        let broker = start(&(publishes(&sink) + &keys));
        let mut client = broker.client(Version::V311, "client");
        let payload = |n: usize| format!("{n:-<1000}");
        publish_all(&mut client, "t", [payload(0)]);
        sink.wait_for(1);
        publish_all(&mut client, "t", (1..50).map(payload));
        let (queued, bytes) = (figure(&broker, "queued"), figure(&broker, "queued_bytes"));
        assert!(
            bytes > 1000 * queued && bytes <= MOST,
            "{queued} events, {bytes} bytes"
        );
        assert!(queued >= 7, "{queued}");
        // One that has no room at all drops no others.
        let dropped = figure(&broker, "dropped/full");
        assert_eq!(queued + dropped, 50);
        publish_all(&mut client, "t", ["x".repeat(20_000)]);
        assert_eq!(figure(&broker, "queued"), queued, "{choice}");
        assert_eq!(figure(&broker, "dropped/full"), dropped + 1);
        sink.set(Mode::Status(200));
        let posts = sink.wait_for(queued as usize);
        let first = if from == 0 {
            0
        } else {
            50 - (queued as usize - 1)
        };
        let rest: Vec<String> = (first + 1 - from..)
            .take(queued as usize - 1)
            .map(payload)
            .collect();
        assert_eq!(payloads(&posts)[1..], rest, "{choice}");
        await_figure(&broker, "queued_bytes", 0);
    }
}
