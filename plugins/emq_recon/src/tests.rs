//! The plugin as a broker uses it.
#![allow(clippy::unwrap_used)]

use super::*;
use emqttd_plugin_sdk::testing::FakeBroker;
use emqttd_plugin_sdk::{Figures, Holder, Reloadable};

fn started(config: &[(&str, &str)]) -> FakeBroker {
    let broker = FakeBroker::new();
    broker.start(&plugin(), Config::of(config)).unwrap();
    broker
}

fn text(broker: &FakeBroker, words: &[&str]) -> String {
    match broker.command(words).unwrap() {
        Reply::Text(text) => text,
        other => panic!("{words:?}: {other:?}"),
    }
}

fn holding(bytes: u64) -> Figures {
    Figures {
        held: vec![("queues".into(), bytes)],
        ..Figures::default()
    }
}

#[test]
fn the_interval_is_a_duration_or_seconds() {
    for (value, seconds) in [("5m", 300), ("30s", 30), ("600", 600), ("1m30s", 90)] {
        let config = Config::of(&[(INTERVAL, value)]);
        assert_eq!(
            interval(&config),
            Ok(Duration::from_secs(seconds)),
            "{value}"
        );
    }
    assert_eq!(interval(&Config::default()), Ok(FIVE_MINUTES));
    for value in ["", "0", "0s", "soon", "-5"] {
        let refused = FakeBroker::new().start(&plugin(), Config::of(&[(INTERVAL, value)]));
        let error = refused.unwrap_err().0;
        assert!(error.starts_with("recon.gc_interval: "), "{error}");
        assert!(error.ends_with(&format!("not `{value}`")), "{error}");
    }
}

#[test]
fn unknown_words_are_answered_with_the_usage() {
    let broker = started(&[]);
    for words in [
        &["recon"][..],
        &["recon", "nothing"],
        &["recon", "memory", "x"],
        &["recon", "remote_load"],
    ] {
        assert_eq!(broker.command(words), Some(Reply::Usage), "{words:?}");
    }
    assert_eq!(broker.usage("recon").unwrap().len(), 5);
    broker.stop();
    assert_eq!(broker.command(&["recon", "memory"]), None);
}

#[test]
fn memory_has_its_keys_in_order_and_numbers() {
    let broker = started(&[]);
    let rows = text(&broker, &["recon", "memory"]);
    let keys: Vec<&str> = rows
        .lines()
        .map(|l| l.split(':').next().unwrap().trim())
        .collect();
    let of = ["usage", "used", "allocated", "unused"];
    let wanted: Vec<String> = of
        .iter()
        .flat_map(|key| [format!("{key}/current"), format!("{key}/max")])
        .collect();
    assert_eq!(keys, wanted);
    for line in rows.lines() {
        let number: f64 = line.rsplit(": ").next().unwrap().parse().unwrap();
        assert!(number > 0.0, "{line}");
    }
}

#[test]
fn peaks_are_seen_between_two_questions() {
    let started = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&started);
    let broker = FakeBroker::new();
    broker.set_figures(holding(500), Vec::new());
    let watching = Descriptor::new("emq_recon", "1", "", move |ctx| {
        let recon = Recon::new(ctx);
        let watch = Mutex::new(recon.watch(Duration::from_millis(10)));
        *kept.lock().unwrap() = Some(Arc::clone(&recon));
        Ok(Box::new(Running { recon, watch }))
    });
    broker.start(&watching, Config::default()).unwrap();
    let recon = started.lock().unwrap().take().unwrap();
    // Nobody asks.
    let seen = |row: &str| recon.allocated().rows().contains(row).then_some(());
    broker.eventually(|| seen("queues/max: 500\n"));
    broker.set_figures(holding(20), Vec::new());
    broker.eventually(|| seen("queues/current: 20\n"));
    assert!(seen("queues/max: 500\n").is_some());
}

#[test]
fn the_interval_changes_while_it_runs() {
    let broker = started(&[(INTERVAL, "1h")]);
    assert_eq!(broker.set(INTERVAL, "2m"), Ok(()));
    let error = broker.set(INTERVAL, "never").unwrap_err();
    assert!(error.contains("not `never`"), "{error}");
}

#[test]
fn holders_are_listed() {
    let broker = started(&[]);
    let holder = |n: u64| Holder {
        clientid: format!("c{n}"),
        queued_bytes: 1000 - n,
        ..Holder::default()
    };
    broker.set_figures(Figures::default(), (0..150).map(holder).collect());
    let rows = text(&broker, &["recon", "bin_leak"]);
    assert_eq!(rows.lines().count(), 100);
    assert!(rows.starts_with("{<<\"c0\">>,-1000,[{queue,0},"), "{rows}");
}

#[test]
fn what_is_in_a_library_is_loaded_anew() {
    let broker = started(&[]);
    let what = |name: &str| Reloadable {
        name: name.into(),
        files: Vec::new(),
    };
    broker.add_reloadable(what("emq_mine"), || Ok(()));
    broker.add_reloadable(what("emq_broken"), || Err("no such symbol".into()));
    let load = |name| text(&broker, &["recon", "remote_load", name]);
    assert_eq!(load("emq_mine"), "[{module,emq_mine}]\n");
    assert_eq!(load("emq_broken"), "[{error,emq_broken}]\nno such symbol\n");
    assert!(load("lists").starts_with("Not applicable: lists is not "));
}
