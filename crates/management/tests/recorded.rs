//! The commands on a real broker without sockets: what EMQ 2.3.11 answered to each, as far as that
//! needs no client (`cargo xtask oracle` replays all of it).

#![allow(clippy::unwrap_used)]

use emqttd_broker::{Broker, Shard};
use emqttd_management::{Cli, Core, VERSION, after_boot, core};
use parking_lot::Mutex;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;

/// One event loop, with nothing but mail to do; it ends when the test does.
fn drive(mut shard: Shard) {
    let (wake, woken) = mpsc::channel();
    shard.set_waker(Box::new(move || {
        let _ = wake.send(());
    }));
    thread::spawn(move || {
        while woken.recv().is_ok() {
            shard.begin_round();
            shard.receive();
            shard.post();
        }
    });
}

fn cli(dir: &Path) -> Arc<Cli> {
    let etc = dir.join("etc");
    fs::create_dir_all(&etc).unwrap();
    let text = format!(
        "node.name = emq@127.0.0.1\nmqtt.acl_nomatch = allow\nlog.dir = {}\n",
        dir.join("log").display()
    );
    fs::write(etc.join("emq.conf"), text).unwrap();
    let loaded = emqttd_config::load(&etc, std::iter::empty()).unwrap();
    let (broker, shards) = Broker::new(loaded.settings, 2).unwrap();
    shards.into_iter().for_each(drive);
    let all = Core::new(broker, Arc::new(Mutex::new(loaded.config)));
    let cli = core(&all);
    after_boot(&cli, &all);
    cli
}

fn strings(value: &Value) -> Vec<String> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_str().unwrap().to_owned())
        .collect()
}

fn repository() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A scenario that is nothing but commands whose texts are compared as they are. Those that need plugins are
/// replayed against the program: `cargo xtask oracle`.
fn plain(scenario: &Value) -> bool {
    let only_text = |step: &Value| {
        let needs_plugins = match &strings(&step["cli"])[..] {
            [verb, ..] if verb == "retainer" => true,
            [verb, _, ..] if verb == "plugins" => true,
            _ => false,
        };
        let many = step["only"].as_str().is_some_and(|only| only.contains('('));
        step.get("mask").is_none() && step.get("names").is_none() && !needs_plugins && !many
    };
    let only_text = |step: &Value| step.get("cli").is_some() && only_text(step);
    scenario["tag"] == "same"
        && scenario["steps"].as_array().unwrap().iter().all(only_text)
        // It writes a file where the test runs.
        && scenario["id"] != "cli-78-trace-topic"
}

/// What of the output is compared: the lines that a simple `only` of the scenario keeps.
fn kept(output: &str, only: Option<&str>) -> Vec<String> {
    let keep = |line: &&str| match only {
        None => true,
        Some(start) if start.starts_with('^') => line.starts_with(&start[1..]),
        Some(part) => line.contains(part),
    };
    output
        .lines()
        .filter(keep)
        .map(|l| l.replace(VERSION, "<version>"))
        .collect()
}

#[test]
fn answers_as_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let cli = cli(dir.path());
    let oracle = repository().join("tests/oracle");
    let skipped = fs::read_to_string(oracle.join("skip.txt")).unwrap();
    let text = fs::read_to_string(oracle.join("scenarios/13-cli.json")).unwrap();
    let recorded: Value = serde_json::from_str(&text).unwrap();
    let mut compared = 0;
    for scenario in recorded["scenarios"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|s| plain(s))
    {
        let id = scenario["id"].as_str().unwrap();
        if skipped.lines().any(|l| l.starts_with(&format!("{id} "))) {
            continue;
        }
        for step in scenario["steps"].as_array().unwrap() {
            let argv = strings(&step["cli"]);
            let reply = cli.run(&argv, None);
            let expected = &step["expect"];
            assert_eq!(
                i64::from(reply.exit),
                expected["exit"].as_i64().unwrap(),
                "{id} {argv:?}"
            );
            let mut lines = kept(&reply.text, step.get("only").and_then(Value::as_str));
            if step.get("sorted").is_some() {
                lines.sort();
            }
            assert_eq!(lines, strings(&expected["text"]), "{id} {argv:?}");
            compared += 1;
        }
    }
    assert!(compared > 45, "only {compared} answers were compared");
}

#[test]
fn lists_have_the_recorded_names() {
    let dir = tempfile::tempdir().unwrap();
    let cli = cli(dir.path());
    let text = fs::read_to_string(repository().join("tests/oracle/scenarios/13-cli.json")).unwrap();
    let recorded: Value = serde_json::from_str(&text).unwrap();
    for what in ["stats", "metrics"] {
        let argv = ["broker".to_owned(), what.to_owned()];
        let steps = recorded["scenarios"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|s| s["steps"].as_array().unwrap());
        let mut found = steps.filter(|step| step["cli"].as_array().is_some_and(|c| *c == argv));
        let expected = strings(&found.next().unwrap()["expect"]["text"]);
        let form = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            value.parse::<u64>().unwrap();
            format!("{name}: <n>")
        };
        let lines: Vec<String> = cli.run(&argv, None).text.lines().map(form).collect();
        assert_eq!(lines, expected);
    }
}

#[test]
fn set_changes_all_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cli = cli(dir.path());
    let run = |line: &[&str]| {
        let argv: Vec<String> = line.iter().map(|w| (*w).to_owned()).collect();
        cli.run(&argv, None).text
    };
    let value = || {
        run(&["show", "mqtt.acl_nomatch", "--app=emqttd"])
            .lines()
            .nth(3)
            .unwrap()
            .to_owned()
    };
    assert_eq!(value(), "|emq@127.0.0.1|     allow      |");
    let text = run(&[
        "set",
        "mqtt.acl_nomatch=deny",
        "mqtt.session.max_inflight=abc",
        "--app=emqttd",
    ]);
    assert_eq!(
        text,
        "\"mqtt.session.max_inflight\": error type is: \"abc\"\n"
    );
    assert_eq!(value(), "|emq@127.0.0.1|     allow      |");
    let text = run(&["set", "mqtt.acl_nomatch=deny", "--app=emqttd"]);
    assert_eq!(text, "\"mqtt.acl_nomatch\" set to \"deny\" successfully\n");
    assert_eq!(value(), "|emq@127.0.0.1|      deny      |");
    let table = run(&["set"]);
    assert!(
        table
            .lines()
            .any(|l| l.starts_with("mqtt.acl_nomatch ") && l.contains("# deny ")),
        "{table}"
    );
    assert!(table.ends_with("\nUsage: set key=value --app=appname\n"));
}

#[test]
fn the_chains_are_walked() {
    let dir = tempfile::tempdir().unwrap();
    let cli = cli(dir.path());
    let run = |line: &[&str]| {
        let argv: Vec<String> = line.iter().map(|w| (*w).to_owned()).collect();
        cli.run(&argv, None).text
    };
    let text = run(&["acl", "test", "c1", "alice", "10.0.0.7", "publish", "t/1"]);
    assert_eq!(
        text,
        "mqtt.acl_nomatch        : allow (mqtt.acl_nomatch = allow)\n\
         result                  : allow\n"
    );
    // Absent from the file: nobody without credentials is let in.
    let text = run(&["auth", "test", "c1", "alice", "10.0.0.7"]);
    assert!(text.ends_with("result                  : deny\n"), "{text}");
    assert_eq!(
        run(&["auth", "test", "c1", "alice", "nowhere"]),
        "Bad address: nowhere\n"
    );
    assert!(run(&["acl", "test"]).starts_with("acl test <ClientId> "));
}
