//! A disk that is full or fails: no acknowledgement is given that it does not stand behind, publishers wait,
//! and everything goes on by itself when there is room again.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use emqttd_tests::packet::AckKind;
use emqttd_tests::{Broker, Client, Config, Connect, End, Packet, Publish, Version, unique};

use crate::durable::{again, config, eventually, figure, leave, nothing_owed, store_line};

/// A file system of a few megabytes.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// `None` where this user may not mount one; such a run says so.
    fn mount(megabytes: usize) -> Option<SmallDisk> {
        let path =
            std::env::temp_dir().join(unique("emqttdsmall") + &format!("-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"])
            .arg(&path)
            .output();
        if mounted.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(SmallDisk { path });
        }
        eprintln!("not tested: nothing can be mounted here ({mounted:?})");
        let _ = fs::remove_dir(&path);
        None
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }

    /// Takes all the room there is.
    fn fill(&self) {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.filler())
            .unwrap();
        let block = [0; 4096];
        loop {
            match file.write(&block) {
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::StorageFull => return,
                Err(e) => panic!("filling: {e}"),
            }
        }
    }

    /// Gives it back.
    fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).output();
        let _ = fs::remove_dir(&self.path);
    }
}

/// Queues without bounds.
fn soon_full() -> Config {
    config()
        .set("mqtt.mqueue.max_length", "0")
        .set("mqtt.mqueue.max_bytes", "0")
}

fn on(dir: &Path) -> Config {
    soon_full().set("persistence.dir", dir.join("store").to_str().unwrap())
}

/// A message of 16 KB that says its number first.
fn body(i: u16) -> String {
    format!("{i}:{}", "x".repeat(16_000))
}

/// The number that a message says.
fn number(payload: &str) -> u16 {
    payload.split(':').next().unwrap().parse().unwrap()
}

/// Publishes until no PUBACK comes; the packet ids 1..=n are acknowledged then, and n + 1 is not.
#[track_caller]
fn publish_until_stalled(publisher: &mut Client, topic: &str) -> u16 {
    for id in 1..1000 {
        publisher.send_publish(Publish::new(topic, body(id)).qos(1).id(id));
        match publisher.recv_within(Duration::from_millis(1500)) {
            Some(Some(Packet::Ack {
                kind: AckKind::Puback,
                id: got,
                code: 0,
                ..
            })) if got == id => {}
            None => return id - 1,
            other => panic!("{id}: {other:?}"),
        }
    }
    panic!("the disk is never full");
}

/// Somebody who listens to the alarm of the store.
fn alarm_watcher(broker: &Broker) -> Client {
    let mut watcher = broker.client(Version::V5, "alarm");
    watcher.sub("$SYS/brokers/+/alarms/store/#", 1);
    watcher
}

#[track_caller]
fn expect_alarm(watcher: &mut Client, what: &str, words: &str) {
    let message = watcher.recv_message();
    assert_eq!(
        message.topic,
        format!("$SYS/brokers/emq@127.0.0.1/alarms/store/{what}")
    );
    assert!(
        message.payload.contains("\"id\":\"store\"") && message.payload.contains(words),
        "{message:?}"
    );
}

/// What goes on while nothing can be stored: QoS 0, and everything that needs no publishing.
#[track_caller]
fn others_go_on(broker: &Broker, stalled: &mut Client) {
    let topic = unique("others");
    let mut receiver = broker.client(Version::V5, "clean");
    receiver.sub(&topic, 2);
    let mut sender = broker.client(Version::V311, "clean");
    for i in 0..20 {
        sender.pub_(&topic, 0, &i.to_string());
        receiver.expect(&topic, &i.to_string());
    }
    sender.ping();
    assert_eq!(broker.ctl(&["status"]).0, 0);
    // Not disconnected, and no acknowledgement.
    assert_eq!(stalled.recv_within(Duration::from_millis(500)), None);
}

/// The owner of `connect` gets 1, 2, ... `last`, each once.
#[track_caller]
fn expect_all(broker: &Broker, connect: &Connect, last: u16) {
    let mut client = again(broker, connect);
    for i in 1..=last {
        assert_eq!(number(&client.recv_message().payload), i);
    }
    client.nothing_from(&mut broker.client(Version::V5, "pub"));
}

/// From the moment that nothing can be stored to the end: `repair` makes room.
fn full_and_back(broker: &Broker, v: Version, health: &[&str], alarm: &str, repair: impl FnOnce()) {
    let topic = unique("full");
    let owner = leave(broker, v, &topic, 1);
    let mut watcher = alarm_watcher(broker);
    let mut publisher = broker.client(v, "pub");
    let acknowledged = publish_until_stalled(&mut publisher, &topic);
    assert!(acknowledged > 10, "{acknowledged}");
    expect_alarm(&mut watcher, "alert", alarm);
    let shown = store_line(broker, "health");
    assert!(health.iter().any(|word| shown.starts_with(word)), "{shown}");
    assert!(shown.contains(alarm), "{shown}");
    assert!(broker.log_of_this_start().contains("alarm store: "));
    // More than the one that waits already.
    for id in acknowledged + 2..=acknowledged + 5 {
        publisher.send_publish(Publish::new(&topic, body(id)).qos(1).id(id));
    }
    others_go_on(broker, &mut publisher);
    // No other publisher gets through; that it waits is no silence of its own.
    let mut second = broker.open(&Connect::new(v, &unique("second")).keep_alive(1));
    second.send_publish(
        Publish::new(&unique("retained"), "x")
            .qos(2)
            .id(1)
            .retained(),
    );
    assert_eq!(second.recv_within(Duration::from_millis(2500)), None);

    repair();
    for id in acknowledged + 1..=acknowledged + 5 {
        assert_eq!(publisher.ack(AckKind::Puback, id).0, 0);
    }
    second.ack(AckKind::Pubrec, 1);
    expect_alarm(&mut watcher, "clear", "");
    eventually("health is good", || store_line(broker, "health") == "good");
    expect_all(broker, &owner, acknowledged + 5);
    nothing_owed(broker);
}

#[test]
fn full_disk_gives_no_acknowledgement_and_goes_on_by_itself() {
    let Some(disk) = SmallDisk::mount(16) else {
        return;
    };
    for v in crate::durable::BOTH {
        let mut broker = Broker::start(on(&disk.path));
        // Once more after a restart: the store is as it should be.
        for _ in 0..2 {
            disk.fill();
            // The room that was reserved may last for what is under way, or not.
            let health = ["full: ", "failing: "];
            full_and_back(&broker, v, &health, "No space left", || disk.free());
            broker.restart(End::Kill);
        }
        drop(broker);
        fs::remove_dir_all(disk.path.join("store")).unwrap();
    }
}

/// Killed while the disk was full: what was acknowledged is there, and what was not comes at most once.
#[test]
fn kill_while_the_disk_is_full() {
    let Some(disk) = SmallDisk::mount(16) else {
        return;
    };
    let mut broker = Broker::start(on(&disk.path));
    let topic = unique("killed");
    let owner = leave(&broker, Version::V5, &topic, 1);
    let publishing = Connect::persistent(Version::V5, &unique("pub"));
    let mut publisher = broker.open(&publishing);
    disk.fill();
    let acknowledged = publish_until_stalled(&mut publisher, &topic);
    broker.end(End::Kill);
    disk.free();
    broker.start_again();
    let mut publisher = again(&broker, &publishing);
    let id = acknowledged + 1;
    let repeated = Publish::new(&topic, body(id)).qos(1).id(id).dup();
    publisher.send_publish(repeated);
    publisher.ack(AckKind::Puback, id);
    let mut client = again(&broker, &owner);
    for i in 1..=id {
        assert_eq!(number(&client.recv_message().payload), i);
    }
    // At QoS 1 the one that was repeated may have been stored before.
    while let Some(Some(packet)) = client.recv_within(Duration::from_millis(300)) {
        let Packet::Publish { payload, .. } = packet else {
            panic!("{packet:?}");
        };
        assert_eq!(number(&String::from_utf8(payload).unwrap()), id);
    }
}

/// Started while the disk is still full: what is there is read and delivered; more is taken when there is room.
#[test]
fn start_while_the_disk_is_full() {
    let Some(disk) = SmallDisk::mount(16) else {
        return;
    };
    for end in crate::durable::ENDS {
        let mut broker = Broker::start(on(&disk.path));
        let topic = unique("started");
        let owner = leave(&broker, Version::V5, &topic, 1);
        let mut publisher = broker.client(Version::V5, "pub");
        disk.fill();
        let acknowledged = publish_until_stalled(&mut publisher, &topic);
        broker.end(end);
        broker.start_again();
        let mut client = again(&broker, &owner);
        for i in 1..=acknowledged.min(64) {
            assert_eq!(number(&client.recv_message().payload), i);
        }
        let mut publisher = broker.client(Version::V5, "pub");
        let more = unique("more");
        publisher.send_publish(Publish::new(&more, "x").qos(1).id(1).retained());
        disk.free();
        publisher.ack(AckKind::Puback, 1);
        // The one without acknowledgement may have been stored.
        for i in acknowledged.min(64) + 1..=acknowledged {
            assert_eq!(number(&client.recv_message().payload), i);
        }
        broker.restart(End::Kill);
        let mut late = broker.client(Version::V5, "late");
        late.sub(&more, 1);
        late.expect(&more, "x");
        drop(broker);
        fs::remove_dir_all(disk.path.join("store")).unwrap();
    }
}

/// Stopped in order while the disk is full: it ends, and nothing acknowledged is lost.
#[test]
fn stop_while_the_disk_is_full() {
    let Some(disk) = SmallDisk::mount(16) else {
        return;
    };
    let mut broker = Broker::start(on(&disk.path));
    let topic = unique("stopped");
    let owner = leave(&broker, Version::V311, &topic, 1);
    let mut publisher = broker.client(Version::V311, "pub");
    disk.fill();
    let acknowledged = publish_until_stalled(&mut publisher, &topic);
    broker.stop();
    disk.free();
    broker.start_again();
    let mut client = again(&broker, &owner);
    for i in 1..=acknowledged {
        assert_eq!(number(&client.recv_message().payload), i);
    }
}

/// What was in flight when the disk failed goes on; acknowledgements of receivers are not refused meanwhile.
#[test]
fn receivers_go_on_while_the_disk_is_full() {
    let Some(disk) = SmallDisk::mount(16) else {
        return;
    };
    let broker = Broker::start(on(&disk.path).set("mqtt.session.max_inflight", "5"));
    let topic = unique("receive");
    let owner = leave(&broker, Version::V5, &topic, 1);
    let mut publisher = broker.client(Version::V5, "pub");
    disk.fill();
    let acknowledged = publish_until_stalled(&mut publisher, &topic);
    let mut client = again(&broker, &owner);
    // What is in memory; to read more, it would have to be known what of that was taken.
    for i in 1..=acknowledged.min(64) {
        assert_eq!(number(&client.recv_message().payload), i);
    }
    disk.free();
    publisher.ack(AckKind::Puback, acknowledged + 1);
    for i in acknowledged.min(64) + 1..=acknowledged + 1 {
        assert_eq!(number(&client.recv_message().payload), i);
    }
    client.nothing_from(&mut publisher);
    nothing_owed(&broker);
}

/// A store whose directory is gone cannot begin new files: that is a disk that fails, without any rights
/// needed to make it so.
#[test]
fn failing_disk_gives_no_acknowledgement_and_goes_on_by_itself() {
    for v in crate::durable::BOTH {
        let mut broker = Broker::start(soon_full());
        let [store, away] = ["data/store", "data/away"].map(|dir| broker.root.join(dir));
        fs::rename(&store, &away).unwrap();
        full_and_back(&broker, v, &["failing: "], "No such file", || {
            fs::rename(&away, &store).unwrap();
        });
        let topic = unique("after");
        let owner = leave(&broker, v, &topic, 2);
        broker.client(v, "pub").pub_(&topic, 2, "x");
        broker.restart(End::Kill);
        again(&broker, &owner).expect(&topic, "x");
    }
}

/// `persistence.max_bytes`: as a full disk; a receiver that takes what waits makes room.
#[test]
fn max_bytes_is_a_full_disk() {
    for v in crate::durable::BOTH {
        let broker = Broker::start(soon_full().set("persistence.max_bytes", "6MB"));
        let topic = unique("max");
        // Somebody else's messages take the room, and that somebody returns.
        let hoarder = leave(&broker, v, &topic, 1);
        let mut filler = broker.client(v, "filler");
        let hoarded = publish_until_stalled(&mut filler, &topic);
        assert!(store_line(&broker, "health").starts_with("full: "));
        let most = 6 << 20;
        let size = figure(&broker, "disk_bytes");
        assert!(size <= most + (1 << 20), "{size} of {most} bytes");
        others_go_on(&broker, &mut filler);
        let mut client = again(&broker, &hoarder);
        for i in 1..=hoarded {
            assert_eq!(number(&client.recv_message().payload), i);
        }
        filler.ack(AckKind::Puback, hoarded + 1);
        assert_eq!(number(&client.recv_message().payload), hoarded + 1);
        client.nothing_from(&mut filler);
        eventually("health is good", || store_line(&broker, "health") == "good");
    }
}

/// The alarm says that `persistence.max_bytes` is reached; a session that ends makes room as well.
#[test]
fn session_that_ends_makes_room() {
    let broker = Broker::start(soon_full().set("persistence.max_bytes", "6MB"));
    let topic = unique("ends");
    let hoarder = leave(&broker, Version::V5, &topic, 1);
    let mut watcher = alarm_watcher(&broker);
    let mut filler = broker.client(Version::V5, "filler");
    let hoarded = publish_until_stalled(&mut filler, &topic);
    expect_alarm(&mut watcher, "alert", "persistence.max_bytes is reached");
    broker.open(&hoarder.clone().clean(true)).disconnect();
    filler.ack(AckKind::Puback, hoarded + 1);
    expect_alarm(&mut watcher, "clear", "");
    eventually("health is good", || store_line(&broker, "health") == "good");
}
