//! What a node keeps, with the real program: over a stop and a kill, out and back by backup and restore.

#![allow(clippy::unwrap_used)]

mod tree;

use emqttd_management::client::{Node, socket_in};
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tree::{Tree, connect, log, read};

/// A tree whose node runs.
fn started() -> Tree {
    let tree = Tree::new();
    start(&tree);
    tree
}

fn start(tree: &Tree) {
    let (exit, out, err) = tree.verb("start");
    assert_eq!(exit, 0, "{out}{err}{}", log(tree));
}

fn stop(tree: &Tree) {
    assert_eq!(tree.verb("stop"), (0, "ok\n".into(), String::new()));
}

fn ctl(tree: &Tree, argv: &[&str]) -> (i32, String) {
    let node = Node {
        name: String::new(),
        socket: socket_in(&tree.path().join("data")),
    };
    let reply = node.ask(argv).unwrap();
    (reply.exit, reply.text)
}

/// Client `s` has a session that outlives its connection and takes `t` at QoS 1.
fn subscribe(tree: &Tree) {
    let (mut stream, present) = connect(tree.port, "s", false);
    assert!(!present);
    stream.write_all(b"\x82\x06\x00\x01\x00\x01t\x01").unwrap();
    assert_eq!(read(&mut stream, 5), [0x90, 3, 0, 1, 1], "SUBACK");
    stream.write_all(&[0xe0, 0]).unwrap();
}

/// Publishes a letter to `t` at QoS 1; returns when it is acknowledged.
fn publish(tree: &Tree, letter: u8) {
    let mut stream = tree.client(tree.port, "p");
    stream
        .write_all(&[0x32, 6, 0, 1, b't', 0, 9, letter])
        .unwrap();
    assert_eq!(read(&mut stream, 4), [0x40, 2, 0, 9], "PUBACK");
    stream.write_all(&[0xe0, 0]).unwrap();
}

/// Client `s` is sent these letters and no others. It acknowledges none, so that they wait for it again.
fn waiting(tree: &Tree, expected: &[u8]) {
    let (mut stream, present) = connect(tree.port, "s", false);
    assert!(present, "the session is gone");
    let mut letters = Vec::new();
    let mut next = || {
        let head = read(&mut stream, 2);
        (head[0] & 0xf0, read(&mut stream, usize::from(head[1])))
    };
    // They are read back from the disk meanwhile, all in one go.
    for _ in expected {
        let (kind, body) = next();
        assert_eq!(kind, 0x30, "PUBLISH");
        letters.push(*body.last().unwrap());
    }
    assert_eq!(letters, expected);
    stream.write_all(&[0xc0, 0]).unwrap();
    let head = read(&mut stream, 2);
    assert_eq!(head, [0xd0, 0], "PINGRESP, and nothing before it");
}

#[test]
fn a_session_and_its_messages_outlive_a_stop_and_a_kill() {
    let tree = started();
    subscribe(&tree);
    publish(&tree, b'a');
    stop(&tree);
    start(&tree);
    publish(&tree, b'b');
    let pid = tree.verb("pid").1;
    let killed = Command::new("kill").args(["-9", pid.trim()]).status();
    assert!(killed.unwrap().success());
    tree.await_silence();
    start(&tree);
    waiting(&tree, b"ab");
    assert!(
        log(&tree).contains(", data/store, 1 sessions, 2 messages owed, opened in "),
        "{}",
        log(&tree)
    );
    // The process executed anew finds it as well.
    assert_eq!(tree.verb("restart").0, 0, "{}", log(&tree));
    waiting(&tree, b"ab");
    stop(&tree);
}

#[test]
fn a_backup_of_a_running_node_comes_back() {
    let tree = started();
    subscribe(&tree);
    publish(&tree, b'a');
    let copies = tempfile::tempdir().unwrap();
    let monday = copies.path().join("monday");
    let (exit, out, err) = tree.verb_at("backup", Some(&monday));
    assert_eq!(exit, 0, "{out}{err}");
    assert!(out.starts_with("Backup of "), "{out}");
    assert!(err.ends_with("backup: 100 %\n"), "{err}");

    // It goes on, and what comes now is not in the copy.
    publish(&tree, b'b');
    let (exit, _, err) = tree.verb_at("backup", Some(&monday));
    assert_eq!(exit, 1);
    assert!(err.contains("is not empty"), "{err}");
    let (exit, _, err) = tree.verb_at("restore", Some(&monday));
    assert_eq!(exit, 1);
    assert!(err.contains("stop it first"), "{err}");
    stop(&tree);

    let (exit, out, err) = tree.verb_at("restore", Some(&monday));
    assert_eq!(exit, 0, "{out}{err}");
    assert!(out.contains("The store that was there is in data/store.before-restore-"));
    start(&tree);
    waiting(&tree, b"a");
    stop(&tree);

    // Set aside, not lost.
    let data = tree.path().join("data");
    fs::remove_dir_all(data.join("store")).unwrap();
    let aside = fs::read_dir(&data)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.display().to_string().contains(".before-restore-"));
    fs::rename(aside.unwrap(), data.join("store")).unwrap();
    start(&tree);
    waiting(&tree, b"ab");
    stop(&tree);
}

#[test]
fn a_backup_of_a_stopped_node_comes_back_in_another_tree() {
    let tree = Tree::new();
    tree.configure("mqtt.plugins.loaded_file = data/loaded_plugins\n");
    tree.write("data/loaded_plugins", "emq_retainer.\n");
    start(&tree);
    subscribe(&tree);
    publish(&tree, b'a');
    stop(&tree);
    let copies = tempfile::tempdir().unwrap();
    let copy = copies.path().join("copy");
    let (exit, out, err) = tree.verb_at("backup", Some(&copy));
    assert_eq!(exit, 0, "{out}{err}");
    // Nothing was changed by it.
    start(&tree);
    waiting(&tree, b"a");
    stop(&tree);

    let other = Tree::new();
    other.configure("mqtt.plugins.loaded_file = data/loaded_plugins\n");
    fs::remove_dir(other.path().join("data")).unwrap();
    let (exit, out, err) = other.verb_at("restore", Some(&copy));
    assert_eq!(exit, 0, "{out}{err}");
    assert!(!out.contains("before-restore"), "{out}");
    let list = fs::read_to_string(other.path().join("data/loaded_plugins"));
    assert_eq!(list.unwrap(), "emq_retainer.\n");
    start(&other);
    waiting(&other, b"a");
    stop(&other);
}

#[test]
fn what_is_no_backup_changes_nothing() {
    let tree = started();
    subscribe(&tree);
    publish(&tree, b'a');
    stop(&tree);
    let copies = tempfile::tempdir().unwrap();
    let broken = copies.path().join("broken");
    assert_eq!(tree.verb_at("backup", Some(&broken)).0, 0);
    let store = broken.join("store");
    let log = fs::read_dir(&store)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|x| x == "log"));
    let log = log.unwrap();
    let mut bytes = fs::read(&log).unwrap();
    let middle = bytes.iter().rposition(|b| *b != 0).unwrap() / 2;
    bytes[middle] ^= 1;
    fs::write(&log, bytes).unwrap();
    for wrong in [&broken, &copies.path().join("nothing"), tree.path()] {
        let (exit, _, err) = tree.verb_at("restore", Some(wrong));
        assert_eq!(exit, 1, "{}", wrong.display());
        assert!(err.lines().any(|l| l.starts_with("emqttd: ")), "{err}");
    }
    for verb in ["backup", "restore"] {
        let (exit, out, _) = tree.verb(verb);
        assert_eq!((exit, out), (1, format!("Usage: emqttd {verb} DIR\n")));
    }
    start(&tree);
    waiting(&tree, b"a");
    stop(&tree);
}

#[test]
fn the_store_tells_how_it_is() {
    let tree = started();
    subscribe(&tree);
    publish(&tree, b'a');
    let mode = "persistence: always (a PUBACK means the message is on disk)\n";
    let (exit, text) = ctl(&tree, &["broker"]);
    assert_eq!(exit, 0);
    assert!(text.ends_with(mode), "{text}");
    let (_, text) = ctl(&tree, &["store"]);
    let row = |name: &str| {
        let found = text.lines().find(|line| line.starts_with(name));
        let (_, value) = found
            .unwrap_or_else(|| panic!("{name}: {text}"))
            .split_once(": ")
            .unwrap();
        value.to_owned()
    };
    let figure = |name: &str| row(name).parse::<u64>().unwrap();
    assert_eq!(row("health"), "good");
    assert_eq!(figure("messages_owed"), 1);
    assert_eq!(figure("position"), figure("durable"));
    assert!(figure("disk_bytes") >= figure("needed_bytes"));
    assert!(figure("syncs") > 0);
    assert!(row("sync_p99_ms").parse::<f64>().unwrap() >= row("sync_p50_ms").parse().unwrap());
    assert_eq!(
        ctl(&tree, &["backup", "here"]),
        (1, "here is not an absolute path.\n".into())
    );
    let inside = tree.path().join("data/store/copy");
    let (exit, text) = ctl(&tree, &["backup", inside.to_str().unwrap()]);
    assert_eq!(exit, 1);
    assert!(text.contains("inside of the store"), "{text}");
    assert!(!inside.exists());
    stop(&tree);
}

#[test]
fn off_is_the_way_of_emq_2() {
    let tree = Tree::new();
    tree.configure("persistence.sync = off\n");
    start(&tree);
    subscribe(&tree);
    publish(&tree, b'a');
    let (_, text) = ctl(&tree, &["broker"]);
    assert!(text.contains("persistence: off (like EMQ 2.x"), "{text}");
    let nothing = "Nothing is stored: persistence.sync = off.\n";
    assert_eq!(ctl(&tree, &["store"]), (0, nothing.into()));
    let (exit, _, err) = tree.verb_at("backup", Some(Path::new("/nonexistent/x")));
    assert_eq!((exit, err.as_str()), (1, nothing));
    stop(&tree);
    assert!(log(&tree).contains("persistence: off (like EMQ 2.x"));
    assert!(!tree.path().join("data/store").exists());
    let (exit, _, err) = tree.verb_at("backup", Some(Path::new("/nonexistent/x")));
    assert_eq!(
        (exit, err.as_str()),
        (1, "emqttd: there is no store in data/store\n")
    );
    start(&tree);
    let (_, present) = connect(tree.port, "s", false);
    assert!(!present);
    stop(&tree);
}

#[test]
fn a_store_that_cannot_be_there_is_found_before_the_start() {
    let tree = Tree::new();
    tree.write("data/store", "a file");
    for verb in ["check-config", "start"] {
        let (exit, _, err) = tree.verb(verb);
        assert_eq!(exit, 1, "{verb}");
        assert!(
            err.contains("data/store is not a directory"),
            "{verb}: {err}"
        );
    }
    tree.configure("persistence.dir = other\n");
    start(&tree);
    assert!(tree.path().join("data/other").is_dir());
    stop(&tree);
}

#[test]
fn a_full_store_makes_publishers_wait_until_there_is_room() {
    let tree = Tree::new();
    tree.configure("persistence.max_bytes = 4MB\npersistence.segment_bytes = 1MB\n");
    start(&tree);
    subscribe(&tree);
    let mut stream = tree.client(tree.port, "p");
    stream
        .set_read_timeout(Some(Duration::from_secs(3)))
        .unwrap();
    // 32 KB, whose length takes three bytes.
    let body = vec![b'x'; 32 << 10];
    let mut packet = vec![0x32, 0x85, 0x80, 0x02, 0, 1, b't', 0, 9];
    packet.extend(&body);
    let mut puback = [0; 4];
    let mut acknowledged = 0;
    loop {
        stream.write_all(&packet).unwrap();
        if stream.read_exact(&mut puback).is_err() {
            break;
        }
        acknowledged += 1;
        assert!(acknowledged < 200, "{}", ctl(&tree, &["store"]).1);
    }
    let (_, text) = ctl(&tree, &["store"]);
    assert!(
        text.contains("\nhealth        : full: persistence.max_bytes"),
        "{text}"
    );
    let (_, text) = ctl(&tree, &["broker"]);
    assert!(
        text.contains("; full: persistence.max_bytes (4.0 MB) is reached"),
        "{text}"
    );
    assert!(acknowledged > 60, "full after {acknowledged} messages");

    // Nobody is owed them any more, and the one that waited is acknowledged.
    drop(connect(tree.port, "s", true));
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    assert_eq!(read(&mut stream, 4), [0x40, 2, 0, 9], "PUBACK");
    let (_, text) = ctl(&tree, &["store"]);
    assert!(text.contains("\nhealth        : good\n"), "{text}");
    stop(&tree);
}
