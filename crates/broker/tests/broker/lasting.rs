//! What was done on somebody's word is on disk when they are told so.

use crate::net::{Net, retainer};
use crate::packets::*;
use emqttd_broker::{AdminError, Shard, Storage};
use emqttd_plugin_sdk::{RetainSettings, RetainStorage};
use emqttd_store::{Directory, Disk, DiskFile, Entry};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

/// A disk that takes its time, when it is told to.
struct SlowDisk {
    disk: Directory,
    slow: Arc<AtomicBool>,
}

struct SlowFile {
    file: Arc<dyn DiskFile>,
    slow: Arc<AtomicBool>,
}

impl SlowDisk {
    fn slowly(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        let slow = Arc::clone(&self.slow);
        Arc::new(SlowFile { file, slow })
    }
}

impl Disk for SlowDisk {
    fn list(&self) -> io::Result<Vec<Entry>> {
        self.disk.list()
    }

    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.slowly(self.disk.create(name, size)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.slowly(self.disk.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }

    fn place(&self) -> String {
        self.disk.place()
    }
}

impl DiskFile for SlowFile {
    fn write_at(&self, pos: u64, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(pos, bytes)
    }

    fn read_at(&self, pos: u64, into: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(pos, into)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.slow.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(100));
        }
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
}

/// An event loop without connections; it ends when the test does.
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

#[test]
fn what_is_deleted_does_not_come_back() {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("lasting");
    let _ = std::fs::remove_dir_all(&dir);
    let settings = crate::net::settings();
    let slow = Arc::new(AtomicBool::new(false));
    let disk = SlowDisk {
        disk: Directory::new(&dir).unwrap(),
        slow: Arc::clone(&slow),
    };
    let storage = Storage::open(Arc::new(disk), &settings.persistence).unwrap();
    let mut net = Net::of(settings, 2, storage);
    let retain = RetainSettings {
        storage: RetainStorage::Disc,
        ..retainer()
    };
    net.broker.retain(Some(retain)).unwrap();
    let client = net.connect(&Connect::v3("c").keep());
    net.retain(client, "r", "text", 0);
    net.lose(client);
    let broker = net.broker.clone();
    net.shards.drain(..).for_each(drive);
    let store = broker.store().unwrap();
    slow.store(true, Ordering::Relaxed);
    assert_eq!(broker.retained_delete("r"), Ok(()));
    assert!(store.durable() >= store.position());
    assert_eq!(broker.retained_delete("r"), Err(AdminError::NotFound));
    assert_eq!(broker.session_delete("c"), Ok(()));
    assert!(store.durable() >= store.position());
    assert_eq!(broker.session_delete("c"), Err(AdminError::NotFound));
    drop((net, broker));
    let _ = std::fs::remove_dir_all(dir);
}
