//! `emq_recon`: the rows of `recon`.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use emqttd_tests::{Broker, Client, Config, Connect, Publish, Version, unique};

const PLUGIN: &str = "emq_recon";

const USAGE: [(&str, &str); 5] = [
    ("recon memory", "recon_alloc:memory/2"),
    (
        "recon allocated",
        "recon_alloc:memory(allocated_types, current|max)",
    ),
    ("recon bin_leak", "recon:bin_leak(100)"),
    ("recon node_stats", "recon:node_stats(10, 1000)"),
    ("recon remote_load Mod", "recon:remote_load(Mod)"),
];

fn config() -> Config {
    Config::new()
        .plugin_conf(PLUGIN, "recon.gc_interval = 5m\n")
        .loaded(&[PLUGIN, "emq_retainer"])
}

/// The broker of all tests that load and unload nothing.
fn broker() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| Broker::start(config()))
}

/// Exit code 0 and the text.
#[track_caller]
fn recon(broker: &Broker, words: &[&str]) -> String {
    let (code, text) = broker.ctl(&[&["recon"], words].concat());
    assert_eq!(code, 0, "{words:?}: {text}");
    text
}

/// The number behind `<row>` and a colon.
#[track_caller]
fn number(text: &str, row: &str) -> f64 {
    let value = text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim_end() == row).then(|| value.trim().parse().unwrap())
    });
    value.unwrap_or_else(|| panic!("no {row} in\n{text}"))
}

/// A connected client for which 32 messages of 1000 bytes are in flight and so many wait.
fn hoarder(waiting: usize) -> (String, Client) {
    let id = unique("hoarder");
    let mut client = broker().open(&Connect::new(Version::V311, &id));
    client.sub(&id, 1);
    let mut sender = broker().client(Version::V311, "sender");
    for _ in 0..32 + waiting {
        // The acknowledgement comes when the message is where it is to wait.
        sender.publish(Publish::new(&id, [b'x'; 1000]).qos(1));
    }
    (id, client)
}

#[test]
fn memory_is_eight_rows_of_the_allocator() {
    let text = recon(broker(), &["memory"]);
    let rows: Vec<(&str, f64)> = text
        .lines()
        .map(|line| {
            // The key takes 20 columns.
            assert_eq!(line.find(": "), Some(20), "{line}");
            (line[..20].trim_end(), line[22..].parse().unwrap())
        })
        .collect();
    let keys: Vec<&str> = rows.iter().map(|row| row.0).collect();
    assert_eq!(
        keys,
        [
            "usage/current",
            "usage/max",
            "used/current",
            "used/max",
            "allocated/current",
            "allocated/max",
            "unused/current",
            "unused/max"
        ]
    );
    assert!(rows.iter().all(|row| row.1 > 0.0), "{text}");
    let of = |row| number(&text, row);
    assert!(of("usage/current") < 1.0, "{text}");
    assert_eq!(
        of("used/current") + of("unused/current"),
        of("allocated/current")
    );
    assert!(of("allocated/max") >= of("allocated/current"), "{text}");
    assert!(of("used/max") >= of("used/current"), "{text}");
}

#[test]
fn what_is_retained_is_seen_in_both() {
    let broker = Broker::start(config());
    let used = |broker| number(&recon(broker, &["memory"]), "used/current");
    let retained = |row: &str| number(&recon(&broker, &["allocated"]), row);
    let before = used(&broker);
    let mut client = broker.client(Version::V311, "retains");
    for n in 0..200 {
        let message = Publish::new(&format!("large/{n}"), [b'x'; 60_000]);
        client.publish(message.qos(1).retained());
    }
    let all = 200.0 * 60_000.0;
    // What the start left behind is freed meanwhile.
    let now = used(&broker);
    assert!(now > before + all * 0.9, "{before} {now}");
    assert!(retained("retained/current") > all);
    // EMQ's name for where messages lie.
    assert!(retained("binary_alloc/current") > all);
    for n in 0..200 {
        let nothing = Publish::new(&format!("large/{n}"), []);
        client.publish(nothing.qos(1).retained());
    }
    assert!(retained("retained/current") < all / 10.0);
    assert!(retained("retained/max") > all);
    assert!(used(&broker) < before + all / 2.0);
}

#[test]
fn allocated_has_all_that_is_now_and_then_all_peaks() {
    let (_, _client) = hoarder(100);
    let text = recon(broker(), &["allocated"]);
    let lines: Vec<&str> = text.lines().collect();
    let (now, most) = lines.split_at(lines.len() / 2);
    for (now, most) in now.iter().zip(most) {
        let (name, _) = now.split_once("/current: ").unwrap();
        assert!(most.starts_with(&format!("{name}/max: ")), "{now} {most}");
        let (now, most) = (format!("{name}/current"), format!("{name}/max"));
        assert!(number(&text, &most) >= number(&text, &now), "{text}");
    }
    let names = ["binary_alloc", "driver_alloc", "eheap_alloc", "ets_alloc"];
    for (line, name) in now.iter().zip(names) {
        assert!(line.starts_with(&format!("{name}/current: ")), "{line}");
    }
    assert!(number(&text, "queues/current") >= 100_000.0, "{text}");
    assert!(number(&text, "inflight/current") >= 32_000.0, "{text}");
    for row in ["connections", "sessions", "routes"] {
        assert!(number(&text, &format!("{row}/current")) > 0.0, "{text}");
    }
}

#[test]
fn bin_leak_names_the_largest_holders_first() {
    let (small, _small) = hoarder(3);
    let (large, _large) = hoarder(200);
    let text = recon(broker(), &["bin_leak"]);
    assert!(text.lines().count() <= 100);
    let at = |id: &str| {
        let head = format!("{{<<\"{id}\">>,-");
        let row = text.lines().position(|line| line.starts_with(&head));
        row.unwrap_or_else(|| panic!("no {id} in\n{text}"))
    };
    assert!(at(&large) < at(&small), "{text}");
    let row = text.lines().nth(at(&large)).unwrap();
    let (_, info) = row.split_once(",[").unwrap();
    let topic = large.len();
    let queue = format!("{{queue,200}},{{queue_bytes,{}}}", 200 * (1000 + topic));
    assert!(info.starts_with(&queue), "{row}");
    assert!(info.contains("{inflight,32},"), "{row}");
}

#[test]
fn node_stats_takes_ten_seconds_and_holds_up_nobody() {
    let begun = Instant::now();
    let (text, took) = std::thread::scope(|scope| {
        let sampling = scope.spawn(|| {
            let text = recon(broker(), &["node_stats"]);
            (text, begun.elapsed())
        });
        // Commands and clients go on.
        let mut client = broker().client(Version::V5, "busy");
        client.sub("node_stats/#", 0);
        for n in 0..20 {
            client.pub_(&format!("node_stats/{n}"), 0, "x");
            client.recv_message();
            let (code, _) = broker().ctl(&["status"]);
            assert_eq!(code, 0);
        }
        assert!(!sampling.is_finished(), "others waited for it");
        sampling.join().unwrap()
    });
    assert!(took >= Duration::from_secs(10), "{took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 10, "{text}");
    let times: Vec<&str> = lines.iter().map(|line| &line[..23]).collect();
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
    let value = |line: &str, key: &str| -> f64 {
        let (_, rest) = line.split_once(&format!("{{{key},")).unwrap();
        rest.split_once('}').unwrap().0.parse().unwrap()
    };
    for line in &lines {
        // `2026-01-02 03:04:05.678 {[...`
        assert!(line[23..].starts_with(" {[{process_count,"), "{line}");
        assert!(value(line, "memory_total") > 1e6, "{line}");
        assert!(value(line, "cpu") >= 0.0, "{line}");
        assert!(line.contains("{scheduler_usage,[{1,0."), "{line}");
    }
    let sum = |key| lines.iter().map(|line| value(line, key)).sum::<f64>();
    assert!(sum("bytes_in") > 100.0, "{text}");
    assert!(sum("bytes_out") > 100.0, "{text}");
    assert!(sum("rounds") > 20.0, "{text}");
    assert!(sum("longest_round") > 0.0, "{text}");
}

#[test]
fn anything_else_is_answered_with_five_lines() {
    let usage: String = USAGE
        .iter()
        .map(|(call, what)| format!("{call:<48}# {what}\n"))
        .collect();
    for words in [&[][..], &["nothing"], &["memory", "now"], &["remote_load"]] {
        let (_, text) = broker().ctl(&[&["recon"], words].concat());
        assert_eq!(text, usage, "{words:?}");
    }
}

#[test]
fn remote_load_is_for_plugins_from_libraries() {
    for module in ["lists", "emqttd", "emq_recon"] {
        let text = recon(broker(), &["remote_load", module]);
        let polite = format!("Not applicable: {module} is not a plugin ");
        assert!(text.starts_with(&polite), "{text}");
    }
}

#[test]
fn without_the_plugin_there_is_no_recon() {
    let broker = Broker::start(config());
    broker.unload(PLUGIN);
    let (code, text) = broker.ctl(&["recon", "memory"]);
    assert_eq!(code, 1, "{text}");
    assert!(!text.contains("usage/current"), "{text}");
    assert!(!text.contains("recon memory"), "{text}");
    broker.load(PLUGIN);
    recon(&broker, &["memory"]);
}

#[test]
fn the_interval_is_a_duration_or_seconds() {
    let broker = Broker::start(config());
    for value in ["30s", "600", "1m30s"] {
        broker.unload(PLUGIN);
        broker.write_plugin_conf(PLUGIN, &format!("recon.gc_interval = {value}\n"));
        broker.load(PLUGIN);
        recon(&broker, &["allocated"]);
    }
    broker.unload(PLUGIN);
    broker.write_plugin_conf(PLUGIN, "recon.gc_interval = often\n");
    let (_, text) = broker.ctl(&["plugins", "load", PLUGIN]);
    assert!(text.starts_with("load plugin error: "), "{text}");
    assert!(text.contains("recon.gc_interval"), "{text}");
    assert!(!broker.is_active(PLUGIN));
}

#[test]
fn the_interval_can_be_changed_while_it_runs() {
    let app = format!("--app={PLUGIN}");
    let set = |value: &str| {
        let setting = format!("recon.gc_interval={value}");
        broker().ctl(&["set", &setting, &app]).1
    };
    let text = set("30s");
    assert!(text.contains("successfully"), "{text}");
    let (_, text) = broker().ctl(&["show", "recon.gc_interval", &app]);
    assert!(text.contains("30"), "{text}");
    let text = set("often");
    assert!(!text.contains("successfully"), "{text}");
    recon(broker(), &["memory"]);
}
