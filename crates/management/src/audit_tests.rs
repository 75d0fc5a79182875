#![allow(clippy::unwrap_used)]
use super::*;
use crate::testing::Site;
use std::fs;

fn entry(action: &str) -> Entry {
    Entry::new("admin", "127.0.0.1", Via::Basic, action, "200")
}

fn actions(audit: &Audit) -> Vec<String> {
    let newest = audit.recent(None, usize::MAX).into_iter();
    newest.map(|entry| entry.action).collect()
}

#[test]
fn the_newest_in_front_page_by_page() {
    let site = Site::new();
    let audit = site.core.audit();
    for n in 0..RECENT + 5 {
        audit.record(entry(&n.to_string()));
    }
    let first = audit.recent(None, 3);
    let numbers: Vec<&str> = first.iter().map(|e| e.action.as_str()).collect();
    assert_eq!(numbers, ["10004", "10003", "10002"]);
    let next = audit.recent(Some(first[2].seq), 2);
    assert_eq!(next[0].action, "10001");
    assert_eq!(next.len(), 2);
    let oldest = audit.recent(None, usize::MAX).pop().unwrap();
    assert_eq!(oldest.action, "5", "no more than that are kept");
    assert_eq!(audit.recent(Some(oldest.seq), 10), []);
}

#[test]
fn what_is_too_long_is_cut() {
    let long = "ä".repeat(MAX_TEXT + 1);
    let entry = Entry::new(&long, "f", Via::Key, &long, "200");
    assert_eq!(entry.who.chars().count(), MAX_TEXT);
    assert_eq!(entry.action.chars().count(), MAX_TEXT);
}

#[test]
fn a_line_each_in_the_file_and_read_again() {
    let site = Site::new();
    let dir = site.dir.path().join("log");
    let audit = site.core.audit();
    // Before there is a file.
    audit.record(entry("first"));
    audit.open(&dir);
    audit.record(entry("second \"quoted\"\n"));
    assert!(audit.flush());
    let text = fs::read_to_string(dir.join("audit.log")).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["action"], "first");
    assert_eq!(lines[1]["via"], "basic");
    assert!(lines[1].get("seq").is_none());
    // Another run: what is no entry is passed by, the files before it count.
    fs::write(dir.join("audit.log.0"), "no entry\n").unwrap();
    let mut old = serde_json::to_string(&entry("older")).unwrap();
    old.push('\n');
    fs::write(dir.join("audit.log.1"), &old).unwrap();
    let again = Audit::new(&site.core.broker);
    again.record(entry("third"));
    again.open(&dir);
    assert_eq!(
        actions(&again),
        ["third", "second \"quoted\"\n", "first", "older"]
    );
    let numbers: Vec<u64> = again.recent(None, 10).iter().map(|e| e.seq).collect();
    assert_eq!(numbers, [4, 3, 2, 1]);
    assert!(again.flush());
    let text = fs::read_to_string(dir.join("audit.log")).unwrap();
    assert_eq!(text.lines().count(), 3, "nothing twice: {text}");
}

#[test]
fn only_the_newest_are_read_again() {
    let site = Site::new();
    let dir = site.dir.path().join("log");
    fs::create_dir_all(&dir).unwrap();
    let lines = |from: usize, to: usize| -> String {
        let line = |n: usize| serde_json::to_string(&entry(&n.to_string())).unwrap() + "\n";
        (from..to).map(line).collect()
    };
    fs::write(dir.join("audit.log.0"), lines(0, RECENT)).unwrap();
    fs::write(dir.join("audit.log"), lines(RECENT, RECENT + 10)).unwrap();
    let audit = site.core.audit();
    audit.open(&dir);
    let found = actions(audit);
    assert_eq!(found.len(), RECENT);
    assert_eq!(found[0], (RECENT + 9).to_string());
    assert_eq!(found[RECENT - 1], "10");
}

#[test]
fn a_disk_that_fails_stops_nobody_and_is_told() {
    let site = Site::new();
    let dir = site.dir.path().join("no/log");
    // A file where the directory would be.
    fs::write(site.dir.path().join("no"), "").unwrap();
    let audit = site.core.audit();
    audit.open(&dir);
    audit.record(entry("lost"));
    assert!(!audit.flush());
    audit.record(entry("lost, too"));
    assert!(!audit.flush());
    assert_eq!(audit.recent(None, 10).len(), 2);
    let alarm = site.alarm("audit_log").unwrap();
    assert!(
        alarm.summary.contains("cannot be written"),
        "{}",
        alarm.summary
    );
}

#[test]
fn commands_that_change_something_are_in_it() {
    let site = Site::new();
    let cli = site.cli();
    crate::after_boot(&cli, &site.core);
    let run = |line: &str| {
        let argv: Vec<String> = line.split(' ').map(str::to_owned).collect();
        cli.run_for("uid 0", &argv, None, crate::Watcher::default())
    };
    run("status");
    run("admins list");
    run("admins add bob secret viewer");
    run("admins add bob secret viewer");
    run("admins add");
    run("nope nothing");
    run("backup");
    run("set mqtt.acl_nomatch=deny --app=emqttd");
    run("api_keys del ak_0");
    let entries = site.core.audit().recent(None, 10);
    let told: Vec<(&str, &str)> = entries
        .iter()
        .map(|e| (e.action.as_str(), e.outcome.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("api_keys del ak_0", "failed"),
            ("set mqtt.acl_nomatch --app=emqttd", "ok"),
            ("admins add bob", "failed"),
            ("admins add bob", "ok"),
        ]
    );
    assert!(
        entries
            .iter()
            .all(|e| e.who == "uid 0" && e.via == Via::Cli)
    );
    assert!(site.core.audit().flush());
    let file = site.dir.path().join("log/audit.log");
    let text = fs::read_to_string(file).unwrap();
    assert!(!text.contains("secret"), "{text}");
}
