//! `web.hook.on_full = spill`: what there is no room for waits on disk.

use super::*;
use emqttd_tests::End;

const SPILL: &str =
    "web.hook.on_full = spill\nweb.hook.queue.max_count = 10\nweb.hook.timeout = 1m\n";

fn spilling(sink: &Sink) -> String {
    publishes(sink) + SPILL
}

/// All arrives, in order, and nothing is left.
#[test]
fn nothing_is_lost() {
    let sink = Sink::start();
    sink.set(Mode::Hang);
    let broker = start(&spilling(&sink));
    let mut client = broker.client(Version::V311, "client");
    publish_all(&mut client, "t", numbers(0..500));
    eventually("some are on disk", || figure(&broker, "spilled") > 0);
    assert!(figure(&broker, "queued") <= 500);
    sink.set(Mode::Status(200));
    assert_eq!(payloads(&sink.wait_for(500)), numbers(0..500));
    await_figure(&broker, "queued", 0);
    await_figure(&broker, "queued_bytes", 0);
    await_figure(&broker, "sent", 500);
    // And again, over what is no longer full.
    sink.take();
    publish_all(&mut client, "t", numbers(0..50));
    assert_eq!(payloads(&sink.wait_for(50)), numbers(0..50));
}

/// While there is more than memory takes, what comes goes behind it.
#[test]
fn what_comes_meanwhile_stays_behind() {
    let sink = Sink::start();
    sink.set(Mode::Hang);
    let broker = start(&spilling(&sink).replace("pool = 1\n", "pool = 4\n"));
    let mut clients: Vec<Client> = ["a", "b", "c", "d"]
        .map(|id| broker.open(&Connect::new(Version::V311, id)))
        .into();
    for n in numbers(0..100) {
        for client in &mut clients {
            publish_all(client, "t", [&n]);
        }
    }
    sink.set(Mode::Status(200));
    for n in numbers(100..200) {
        for client in &mut clients {
            publish_all(client, "t", [&n]);
        }
    }
    let posts = sink.wait_for(800);
    assert_eq!(posts.len(), 800);
    for id in ["a", "b", "c", "d"] {
        let of_client = posts
            .iter()
            .filter(|post| field(post.text(), "from_client_id") == id);
        let payloads: Vec<&str> = of_client
            .map(|post| field(post.text(), "payload"))
            .collect();
        assert_eq!(payloads, numbers(0..200), "{id}");
    }
}

/// With batches blocks are taken apart and put together.
#[test]
fn with_batches() {
    let sink = Sink::start();
    sink.set(Mode::Hang);
    let broker = start(&(spilling(&sink) + "web.hook.batch_size = 7\n"));
    let mut client = broker.client(Version::V311, "client");
    publish_all(&mut client, "t", numbers(0..300));
    sink.set(Mode::Status(200));
    let last = r#""payload":"299""#;
    let posts = sink.wait_until("the last", |posts| {
        posts.last().is_some_and(|post| post.text().contains(last))
    });
    let mut all = Vec::new();
    for post in posts {
        let text = post.text();
        let parts: Vec<&str> = text.split("},{").collect();
        assert!(
            text.starts_with("[{") && text.ends_with("}]") && parts.len() <= 7,
            "{text}"
        );
        all.extend(parts.iter().map(|part| field(part, "payload").to_owned()));
    }
    assert_eq!(all, numbers(0..300));
    await_figure(&broker, "sent", 300);
}

/// There is no deadline for what is on disk.
#[test]
fn it_waits_as_long_as_it_takes() {
    let sink = Sink::start();
    sink.set(Mode::Refuse);
    let broker = start(&(spilling(&sink) + "web.hook.deadline = 1s\n"));
    let mut client = broker.client(Version::V311, "client");
    publish_all(&mut client, "t", numbers(0..30));
    let begun = Instant::now();
    eventually("longer than the deadline", || {
        begun.elapsed() > Duration::from_secs(3) && figure(&broker, "failed") > 1
    });
    sink.set(Mode::Status(200));
    assert_eq!(payloads(&sink.wait_for(30)), numbers(0..30));
    assert_eq!(figure(&broker, "dropped/expired"), 0);
}

/// The broker stops in order while all waits, and starts again: nothing is lost, and what was there first comes first.
#[test]
fn over_a_restart() {
    let sink = Sink::start();
    sink.set(Mode::Refuse);
    let mut broker = start(&spilling(&sink));
    let mut client = broker.open(&Connect::new(Version::V311, "client"));
    publish_all(&mut client, "t", numbers(0..200));
    broker.restart(End::Stop);
    let mut client = broker.open(&Connect::new(Version::V311, "client"));
    publish_all(&mut client, "t", numbers(200..220));
    broker.restart(End::Stop);
    sink.set(Mode::Status(200));
    assert_eq!(payloads(&sink.wait_for(220)), numbers(0..220));
    await_figure(&broker, "queued", 0);
    // Nothing comes again after another one.
    broker.restart(End::Stop);
    let mut client = broker.open(&Connect::new(Version::V311, "client"));
    publish_all(&mut client, "t", ["later"]);
    assert_eq!(payloads(&sink.wait_for(221))[220], "later");
}

/// The same when only the plugin ends, with few that wait: they are in memory then.
#[test]
fn over_an_unload() {
    let sink = Sink::start();
    sink.set(Mode::Hang);
    let broker = start(&spilling(&sink));
    let mut client = broker.client(Version::V311, "client");
    publish_all(&mut client, "t", numbers(0..5));
    sink.wait_for(1);
    broker.unload(PLUGIN);
    sink.take();
    sink.set(Mode::Status(200));
    broker.load(PLUGIN);
    publish_all(&mut client, "t", ["5"]);
    // The first was under way and may have come, nobody knows.
    assert_eq!(payloads(&sink.wait_for(6)), numbers(0..6));
    // And it can be taken over by one that does not spill.
    sink.take();
    sink.set(Mode::Refuse);
    publish_all(&mut client, "t", numbers(0..20));
    broker.unload(PLUGIN);
    broker.write_plugin_conf(PLUGIN, &publishes(&sink));
    sink.set(Mode::Status(200));
    broker.load(PLUGIN);
    publish_all(&mut client, "t", ["20"]);
    assert_eq!(payloads(&sink.wait_for(21)), numbers(0..21));
}

/// The broker is killed: what was on disk arrives, in order; what was in memory alone may be lost.
#[test]
fn over_a_crash() {
    let sink = Sink::start();
    sink.set(Mode::Refuse);
    let mut broker = start(&spilling(&sink));
    let mut client = broker.client(Version::V311, "client");
    publish_all(&mut client, "t", numbers(0..300));
    // All but those in memory.
    await_figure(&broker, "spilled", 290);
    broker.end(End::Kill);
    sink.set(Mode::Status(200));
    broker.start_again();
    let posts = sink.wait_until("the last", |posts| {
        posts
            .last()
            .is_some_and(|post| field(post.text(), "payload") == "299")
    });
    let arrived: Vec<usize> = payloads(&posts)
        .iter()
        .map(|p| p.parse().unwrap())
        .collect();
    assert_eq!(
        arrived[arrived.len() - 290..],
        (10..300).collect::<Vec<_>>()
    );
}

/// Without a store nothing would wait on disk: that is said at once.
#[test]
fn a_broker_that_keeps_nothing() {
    let sink = Sink::start();
    let config = Config::new().set("persistence.sync", "off");
    let broker = Broker::start(config.plugin_conf(PLUGIN, &spilling(&sink)));
    let (_, said) = broker.ctl(&["plugins", "load", PLUGIN]);
    for key in ["web.hook.on_full = spill", "persistence.sync = off"] {
        assert!(said.contains(key), "{said}");
    }
    assert!(!said.contains("successfully"), "{said}");
    broker.write_plugin_conf(PLUGIN, &publishes(&sink));
    broker.load(PLUGIN);
}

/// The disk is bounded as well: the newest are dropped then, and counted.
#[test]
fn a_disk_that_is_full() {
    let sink = Sink::start();
    sink.set(Mode::Hang);
    let broker = start(&(spilling(&sink) + "web.hook.spill.max_bytes = 100KB\n"));
    let mut watcher = watcher(&broker);
    let mut client = broker.client(Version::V311, "client");
    let payload = |n: usize| format!("{n:-<1000}");
    publish_all(&mut client, "t", (0..300).map(payload));
    alarm(&mut watcher, "web_hook_dropping/alert");
    let dropped = figure(&broker, "dropped/disk") + figure(&broker, "dropped/full");
    let kept = 300 - dropped as usize;
    assert!((50..200).contains(&kept), "{kept}");
    sink.set(Mode::Status(200));
    let posts = sink.wait_for(kept);
    let wanted: Vec<String> = (0..kept).map(payload).collect();
    assert_eq!(payloads(&posts), wanted);
    await_figure(&broker, "queued", 0);
    publish_all(&mut client, "t", ["later"]);
    assert_eq!(payloads(&sink.wait_for(kept + 1))[kept], "later");
}
