//! What the store does with its files: modes, backup and restore, damage.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use emqttd_tests::{Broker, Config, Connect, End, Publish, Version, unique};

use crate::durable::{
    BOTH, ENDS, again, config, each, eventually, figure, files, leave, settle, settled, store_line,
};

/// `persistence.sync = off`: as EMQ 2.x, and no files.
#[test]
fn sync_off_stores_nothing() {
    let config = || config().set("persistence.sync", "off");
    each(config, |broker, end, v| {
        let topic = unique("off");
        let connect = leave(broker, v, &topic, 1);
        let mut publisher = broker.client(v, "pub");
        publisher.publish(Publish::new(&topic, "x").qos(1).retained());
        publisher.pub_(&topic, 2, "y");
        // It lives as long as the broker.
        assert_eq!(again(broker, &connect).payloads(2), ["x", "y"]);
        assert!(broker.log_of_this_start().contains("persistence: off ("));
        assert!(broker.ctl(&["store"]).1.contains("persistence.sync = off"));
        broker.restart(end);
        assert!(!broker.root.join("data/store").exists());
        let (mut client, present, _) = broker.resume(&connect);
        assert!(!present);
        client.sub(&topic, 1);
        client.quiet();
    });
}

/// Turned off, the store stays as it is and is found again when it is turned on.
#[test]
fn sync_off_leaves_the_store_alone() {
    for end in ENDS {
        let mut broker = Broker::start(config());
        let topic = unique("onoff");
        let connect = leave(&broker, Version::V5, &topic, 1);
        broker.client(Version::V5, "pub").pub_(&topic, 1, "before");
        let mode = |broker: &mut Broker, sync: &str| {
            broker.end(end);
            broker.config = broker.config.clone().set("persistence.sync", sync);
            broker.start_again();
        };
        mode(&mut broker, "off");
        let (client, present, _) = broker.resume(&connect);
        assert!(!present);
        client.disconnect();
        broker
            .client(Version::V5, "pub")
            .pub_(&topic, 1, "meanwhile");
        mode(&mut broker, "always");
        let mut client = again(&broker, &connect);
        client.expect(&topic, "before");
        client.quiet();
    }
}

/// With a duration nothing acknowledged is lost either, as long as the machine lives.
#[test]
fn sync_by_time_survives_stops_and_kills() {
    let config = || config().set("persistence.sync", "100ms");
    each(config, |broker, end, v| {
        let topic = unique("timed");
        let connect = leave(broker, v, &topic, 2);
        assert!(store_line(broker, "mode").starts_with("every 100ms ("));
        let mut publisher = broker.client(v, "pub");
        for i in 0..100 {
            publisher.pub_(&topic, 1 + i % 2, &i.to_string());
        }
        broker.restart(end);
        let mut client = again(broker, &connect);
        for i in 0..100 {
            client.expect(&topic, &i.to_string());
        }
        client.quiet();
    });
}

/// The mode is said at the start, and wherever one asks.
#[test]
fn mode_is_shown() {
    let broker = Broker::start(config());
    assert!(
        broker
            .log_of_this_start()
            .contains("persistence: always (a PUBACK means the message is on disk)")
    );
    let (_, text) = broker.ctl(&["broker"]);
    let line = text.lines().find(|line| line.starts_with("persistence"));
    assert!(line.is_some_and(|line| line.contains("always")), "{text}");
}

/// Publishes these at QoS 1.
fn publish_all(broker: &Broker, v: Version, topic: &str, payloads: &[&str]) {
    let mut publisher = broker.client(v, "pub");
    for payload in payloads {
        publisher.pub_(topic, 1, payload);
    }
}

/// A copy of a running broker; restored, it is as it was then.
#[test]
fn backup_of_a_running_broker_is_restored() {
    each(config, |broker, end, v| {
        let (topic, kept) = (unique("backup"), unique("retained"));
        let connect = leave(broker, v, &topic, 1);
        publish_all(broker, v, &topic, &["one", "two"]);
        broker
            .client(v, "pub")
            .publish(Publish::new(&kept, "then").qos(1).retained());
        let dir = broker.root.join("backup");
        let dir = dir.to_str().unwrap();
        let (code, text) = broker.verb(&["backup", dir]);
        assert_eq!(code, 0, "{text}");
        // Nothing is overwritten.
        assert_eq!(broker.verb(&["backup", dir]).0, 1);
        broker
            .client(v, "pub")
            .publish(Publish::new(&kept, "later").qos(1).retained());
        assert_eq!(again(broker, &connect).payloads(2), ["one", "two"]);
        publish_all(broker, v, &topic, &["three"]);
        // Not under a broker that runs.
        let (code, text) = broker.verb(&["restore", dir]);
        assert_eq!(code, 1, "{text}");
        assert!(text.contains("stop it first"), "{text}");
        broker.end(end);
        let (code, text) = broker.verb(&["restore", dir]);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("store.before-restore-"), "{text}");
        broker.start_again();
        let mut client = again(broker, &connect);
        assert_eq!(client.payloads(2), ["one", "two"]);
        client.quiet();
        let mut late = broker.client(v, "late");
        late.sub(&kept, 1);
        late.expect(&kept, "then");
        // And it goes on from there.
        publish_all(broker, v, &topic, &["four"]);
        client.expect(&topic, "four");
        settle(&mut client);
        broker.restart(end);
        again(broker, &connect).quiet();
    });
}

/// `emqttd_ctl backup`, while publishers are at work: all that was acknowledged before it began is in it.
#[test]
fn backup_under_load_is_whole() {
    let mut broker = Broker::start(config().set("mqtt.mqueue.max_length", "0"));
    let topic = unique("load");
    let connect = leave(&broker, Version::V5, &topic, 1);
    let dir = broker.root.join("backup");
    let mut publisher = broker.client(Version::V5, "pub");
    for i in 0..300 {
        publisher.pub_(&topic, 1, &i.to_string());
    }
    std::thread::scope(|scope| {
        let running = &broker;
        let taking = scope.spawn(|| running.ctl(&["backup", dir.to_str().unwrap()]));
        let mut i = 300;
        while !taking.is_finished() || i < 400 {
            publisher.pub_(&topic, 1, &i.to_string());
            i += 1;
        }
        let (code, text) = taking.join().unwrap();
        assert_eq!(code, 0, "{text}");
    });
    broker.end(End::Kill);
    let (code, text) = broker.verb(&["restore", dir.to_str().unwrap()]);
    assert_eq!(code, 0, "{text}");
    broker.start_again();
    let owed = figure(&broker, "messages_owed");
    assert!(owed >= 300, "{owed}");
    let mut client = again(&broker, &connect);
    for i in 0..owed {
        client.expect(&topic, &i.to_string());
    }
    client.quiet();
}

/// A backup of a broker that is stopped, restored in another tree.
#[test]
fn backup_of_a_stopped_broker_moves() {
    for end in ENDS {
        let mut broker = Broker::start(config());
        let topic = unique("moves");
        let connect = leave(&broker, Version::V311, &topic, 1);
        publish_all(&broker, Version::V311, &topic, &["one"]);
        broker.end(end);
        let dir = broker.root.join("backup");
        let (code, text) = broker.verb(&["backup", dir.to_str().unwrap()]);
        assert_eq!(code, 0, "{text}");
        let mut other = Broker::start(config());
        other.end(End::Stop);
        let (code, text) = other.verb(&["restore", dir.to_str().unwrap()]);
        assert_eq!(code, 0, "{text}");
        other.start_again();
        again(&other, &connect).expect(&topic, "one");
        // The one that was copied has lost nothing.
        broker.start_again();
        again(&broker, &connect).expect(&topic, "one");
    }
}

/// A backup that was damaged is not restored, and the store stays.
#[test]
fn damaged_backup_is_refused() {
    let mut broker = Broker::start(config());
    let topic = unique("damaged");
    let connect = leave(&broker, Version::V5, &topic, 1);
    let word = unique("damagedbackup");
    publish_all(&broker, Version::V5, &topic, &["one", &word, "three"]);
    let dir = broker.root.join("backup");
    let (code, text) = broker.verb(&["backup", dir.to_str().unwrap()]);
    assert_eq!(code, 0, "{text}");
    broker.end(End::Stop);
    let copies: Vec<PathBuf> = fs::read_dir(dir.join("store"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let (file, at) = find(&copies, &word);
    flip(&file, at);
    let (code, text) = broker.verb(&["restore", dir.to_str().unwrap()]);
    assert_eq!(code, 1, "{text}");
    broker.start_again();
    assert_eq!(
        again(&broker, &connect).payloads(3),
        ["one", &word, "three"]
    );
}

/// The file that holds these bytes, and where.
#[track_caller]
fn find(files: &[PathBuf], word: &str) -> (PathBuf, u64) {
    for path in files {
        let bytes = fs::read(path).unwrap();
        let found = bytes
            .windows(word.len())
            .rposition(|window| window == word.as_bytes());
        if let Some(at) = found {
            return (path.clone(), at as u64);
        }
    }
    panic!("{word} is in none of {files:?}");
}

/// Damages the byte there.
fn flip(path: &PathBuf, at: u64) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x55], at).unwrap();
}

fn error_log(broker: &Broker) -> String {
    fs::read_to_string(broker.root.join("log/error.log")).unwrap_or_default()
}

/// A byte changed in the midst of the log: told loudly, set aside, and all else is delivered.
#[test]
fn damaged_log_is_set_aside_and_the_rest_is_read() {
    each(config, |broker, end, v| {
        let topic = unique("corrupt");
        let connect = leave(broker, v, &topic, 1);
        let other = leave(broker, v, &unique("other"), 2);
        let words: Vec<String> = (0..20).map(|_| unique("damagedlog")).collect();
        for word in &words {
            // Each in a frame of its own.
            publish_all(broker, v, &topic, &[word]);
        }
        broker.end(end);
        let (file, at) = find(&files(broker, ".log"), &words[9]);
        flip(&file, at);
        broker.start_again();
        let log = broker.log_of_this_start();
        assert!(log.contains("WARNING: the store: "), "{log}");
        eventually("the error log says so", || {
            error_log(broker).contains("the store: ")
        });
        assert_eq!(files(broker, ".corrupt").len(), 1, "{log}");
        again(broker, &other).quiet();
        let mut client = again(broker, &connect);
        let wanted: Vec<&String> = words.iter().filter(|word| **word != words[9]).collect();
        assert_eq!(client.payloads(19).iter().collect::<Vec<_>>(), wanted);
        client.quiet();
        settle(&mut client);
        // It goes on, and once said it is not said again.
        publish_all(broker, v, &topic, &["more"]);
        client.expect(&topic, "more");
        settle(&mut client);
        broker.restart(end);
        let log = broker.log_of_this_start();
        assert!(!log.contains("WARNING: the store"), "{log}");
        assert_eq!(files(broker, ".corrupt").len(), 1);
        again(broker, &connect).quiet();
    });
}

/// A tail that was half written is cut off without noise.
#[test]
fn torn_tail_is_cut() {
    for v in BOTH {
        let mut broker = Broker::start(config());
        let topic = unique("torn");
        let connect = leave(&broker, v, &topic, 1);
        let words: Vec<String> = (0..10).map(|_| unique("torntail")).collect();
        for word in &words {
            publish_all(&broker, v, &topic, &[word]);
        }
        broker.end(End::Kill);
        let (path, at) = find(&files(&broker, ".log"), &words[9]);
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(at + 3).unwrap();
        broker.start_again();
        let log = broker.log_of_this_start();
        assert!(!log.contains("WARNING"), "{log}");
        assert!(files(&broker, ".corrupt").is_empty());
        publish_all(&broker, v, &topic, &["after"]);
        let mut client = again(&broker, &connect);
        assert_eq!(client.payloads(9), words[..9]);
        client.expect(&topic, "after");
        client.quiet();
        settle(&mut client);
        broker.restart(End::Kill);
        again(&broker, &connect).quiet();
    }
}

/// Garbage behind the end, as a disk may leave it, is no message.
#[test]
fn garbage_behind_the_end_is_cut() {
    let mut broker = Broker::start(config());
    let topic = unique("garbage");
    let connect = leave(&broker, Version::V5, &topic, 1);
    let word = unique("lastword");
    publish_all(&broker, Version::V5, &topic, &["one", &word]);
    broker.end(End::Kill);
    let (path, at) = find(&files(&broker, ".log"), &word);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    // A copy of what is there already: whole frames, in the wrong place.
    let mut bytes = vec![0; at as usize + word.len()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    file.write_all_at(&bytes[128..], at + 4096).unwrap();
    broker.start_again();
    let mut client = again(&broker, &connect);
    assert_eq!(client.payloads(2), ["one", &word]);
    client.quiet();
}

/// All files but the log can be made again.
#[test]
fn index_files_are_made_again() {
    for end in ENDS {
        let mut broker = Broker::start(config().set("mqtt.mqueue.max_length", "0"));
        let topic = unique("index");
        let connect = leave(&broker, Version::V5, &topic, 1);
        let body = "x".repeat(50_000);
        let mut publisher = broker.client(Version::V5, "pub");
        for i in 0..60 {
            publisher.pub_(&topic, 1, &format!("{i}:{body}"));
        }
        broker.end(end);
        let indexes = files(&broker, ".idx");
        assert!(!indexes.is_empty(), "no .idx after three files of the log");
        for (i, path) in indexes.iter().enumerate() {
            if i % 2 == 0 {
                fs::remove_file(path).unwrap();
            } else {
                flip(path, fs::metadata(path).unwrap().len() / 2);
            }
        }
        broker.start_again();
        let mut client = again(&broker, &connect);
        for i in 0..60 {
            client.expect(&topic, &format!("{i}:{body}"));
        }
        client.quiet();
    }
}

/// Two brokers cannot have one store, and a directory that cannot be used is said.
#[test]
fn store_that_cannot_be_used_is_a_refusal_to_start() {
    let refused = |config: Config| match Broker::try_start(&config) {
        Ok(_) => panic!("it started"),
        Err(log) => log,
    };
    let log = refused(config().set("persistence.dir", "/dev/null/store"));
    assert!(log.contains("persistence.dir"), "{log}");
    let log = refused(
        config()
            .set("persistence.segment_bytes", "8MB")
            .set("persistence.max_bytes", "16MB"),
    );
    assert!(log.contains("persistence.max_bytes"), "{log}");
}

/// A later version's files are left alone.
#[test]
fn newer_store_is_a_refusal_to_start() {
    let mut broker = Broker::start(config());
    let connect = Connect::persistent(Version::V5, &unique("newer"));
    broker.open(&connect).disconnect();
    settled(&broker);
    broker.end(End::Kill);
    let log = files(&broker, ".log").remove(0);
    let bytes = fs::read(&log).unwrap();
    let file = OpenOptions::new().write(true).open(&log).unwrap();
    // The version stands behind the magic.
    file.write_all_at(&99u32.to_le_bytes(), 8).unwrap();
    let said = broker.try_start_again().unwrap_err();
    assert!(said.contains("format 99"), "{said}");
    assert!(files(&broker, ".corrupt").is_empty());
    file.write_all_at(&bytes[8..12], 8).unwrap();
    broker.start_again();
    again(&broker, &connect).quiet();
}
