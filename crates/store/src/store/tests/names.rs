//! Names that cannot be changed, or whose change does not last, at the worst moment.

use super::*;
use crate::disk::{DiskFile, Entry};
use crate::sim::Replay;
use std::io;

/// What is done to the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Create,
    Rename,
    Remove,
    Sync,
}

/// Which changes fail; the name is the new one, and empty for a sync.
type Fails = Box<dyn FnMut(Change, &str) -> bool + Send>;

/// A disk of which chosen changes of names fail.
struct Picky {
    disk: SimDisk,
    fails: Mutex<Fails>,
}

impl Picky {
    fn new(disk: &SimDisk) -> Arc<Picky> {
        Arc::new(Picky {
            disk: disk.clone(),
            fails: Mutex::new(Box::new(|_, _| false)),
        })
    }

    fn fail(&self, fails: impl FnMut(Change, &str) -> bool + Send + 'static) {
        *self.fails.lock() = Box::new(fails);
    }

    fn heal(&self) {
        self.fail(|_, _| false);
    }

    fn ask(&self, change: Change, name: &str) -> io::Result<()> {
        if (self.fails.lock())(change, name) {
            return Err(io::Error::other(format!("{change:?} {name} fails")));
        }
        Ok(())
    }
}

impl Disk for Picky {
    fn list(&self) -> io::Result<Vec<Entry>> {
        self.disk.list()
    }

    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn DiskFile>> {
        self.ask(Change::Create, name)?;
        self.disk.create(name, size)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.ask(Change::Rename, to)?;
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.ask(Change::Remove, name)?;
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.ask(Change::Sync, "")?;
        self.disk.sync_dir()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }

    fn place(&self) -> String {
        self.disk.place()
    }
}

/// The store, and what is found after a kill and after power cuts, owes these messages.
fn same(disk: &SimDisk, engine: &mut Engine, expect: &[u64], which: usize) {
    assert_eq!(seqs(engine, 1), expect, "sync {which}");
    for cut in [None, Some(1), Some(2), Some(3)] {
        let found = match cut {
            None => disk.crash(Cut::Kill, 0),
            Some(seed) => disk.crash(Cut::Power, seed),
        };
        let (_, engine, recovered) = open(&found);
        assert_eq!(seqs(&engine, 1), expect, "sync {which}, {cut:?}");
        assert_eq!(recovered.reports, Vec::<String>::new(), "sync {which}");
    }
}

/// The removal of a segment was not known to last while its file was in reserve already, and then the next one: it
/// was cut where the old one had ended when the index file of that was made.
#[test]
fn the_file_of_a_cleaned_segment_is_left_alone_in_its_next_use() {
    for failing in 1..=3 {
        let disk = SimDisk::new(2);
        let picky = Picky::new(&disk);
        let (store, mut engine, _) =
            Engine::open(picky.clone(), options(), Arc::new(|| ())).unwrap();
        let mut batch = Batch::new();
        batch.begin(1);
        message(&mut batch, 1, 1, 100);
        store.commit(&mut batch);
        rest(&mut engine);
        // The first segment ends early, and has no index file yet.
        disk.fail(Faults {
            sync_error: 1000,
            ..Faults::default()
        });
        message(&mut batch, 1, 2, 100);
        store.commit(&mut batch);
        assert_eq!(engine.committer.step(), Step::Failed);
        disk.heal();
        let mut syncs = None;
        picky.fail(move |change, name| match (change, &mut syncs) {
            (Change::Rename, _) if name.starts_with(SPARE) => {
                syncs = Some(0);
                false
            }
            (Change::Sync, Some(n)) => {
                *n += 1;
                *n == failing
            }
            _ => false,
        });
        batch.done(1, 1, 100);
        store.commit(&mut batch);
        while engine.committer.step() != Step::Idle {}
        assert_eq!(names(&disk, ".idx"), Vec::<String>::new());
        for seq in 3..=40 {
            message(&mut batch, 1, seq, 300);
            store.commit(&mut batch);
            while engine.committer.step() != Step::Idle {}
        }
        rest(&mut engine);
        let expect: Vec<u64> = (2..=40).collect();
        same(&disk, &mut engine, &expect, failing);
    }
}

/// A key put and deleted, in a store that is synced seldom, around a segment that is begun in vain. Its file cannot be
/// removed, or at last when the segment after it is full.
fn given_up_with_a_key(at_last: bool, seed: u64) -> (SimDisk, Arc<Picky>, Store, Engine) {
    let disk = SimDisk::new(seed);
    let picky = Picky::new(&disk);
    let mut batch = Batch::new();
    let (store, mut engine, _) = Engine::open(picky.clone(), seldom(), Arc::new(|| ())).unwrap();
    batch.put(1, b"filler", &[0; 4000]);
    store.commit(&mut batch);
    rest(&mut engine);
    // What it is opened with is synced, so that less is written again to the segment that follows.
    let (store, mut engine, _) = Engine::open(picky.clone(), seldom(), Arc::new(|| ())).unwrap();
    batch.put(1, b"key", b"value");
    store.commit(&mut batch);
    rest(&mut engine);
    // The sync before the second segment fails, and then that segment's own.
    disk.fail(Faults {
        sync_error: 1000,
        ..Faults::default()
    });
    picky.fail(|change, name| change == Change::Remove && name == log_name(2));
    batch.put(1, b"filler", &[1; 4500]);
    store.commit(&mut batch);
    for _ in 0..2 {
        engine.committer.step();
    }
    disk.heal();
    rest(&mut engine);
    assert!(names(&disk, ".log").contains(&log_name(2)));
    // Nothing is cleaned before the deletion is synced, which the end of its segment brings about.
    *engine.shared.cleaning_held.lock() = 1;
    batch.delete(1, b"key");
    store.commit(&mut batch);
    rest(&mut engine);
    if at_last {
        picky.heal();
    }
    batch.put(1, b"filler", &[2; 5000]);
    store.commit(&mut batch);
    rest(&mut engine);
    assert_eq!(names(&disk, ".log").contains(&log_name(2)), !at_last);
    *engine.shared.cleaning_held.lock() = 0;
    disk.record();
    // What the third one says is replaced, so that it can be cleaned; and nothing older needs the deletion.
    rest(&mut engine);
    for n in 0..6 {
        batch.put(1, b"filler", &[n; 8000]);
        store.commit(&mut batch);
        rest(&mut engine);
    }
    (disk, picky, store, engine)
}

fn seldom() -> Options {
    Options {
        sync: When::Every(Duration::from_secs(3600)),
        ..options()
    }
}

fn key_after(disk: &SimDisk) -> Option<Vec<u8>> {
    let opened = Engine::open(Arc::new(disk.clone()), seldom(), Arc::new(|| ()));
    opened.unwrap().0.get(1, b"key").unwrap()
}

/// Only the segment that was begun after it says that it is void.
#[test]
fn what_stands_in_a_segment_that_was_given_up_never_comes_back() {
    let (disk, picky, store, mut engine) = given_up_with_a_key(false, 3);
    assert_eq!(store.get(1, b"key").unwrap(), None);
    assert_eq!(key_after(&disk.crash(Cut::Kill, 0)), None);
    picky.heal();
    // Then cleaning goes on.
    let mut batch = Batch::new();
    for n in 0..3 {
        batch.put(1, b"filler", &[n; 8000]);
        store.commit(&mut batch);
        rest(&mut engine);
    }
    assert!(
        names(&disk, ".log").len() <= 3,
        "{:?}",
        names(&disk, ".log")
    );
    assert_eq!(key_after(&disk.crash(Cut::Kill, 0)), None);
}

/// File systems that keep no order of names may lose the removal of the void one and keep that of the other.
#[test]
fn what_was_given_up_and_removed_does_not_come_back_at_a_power_cut() {
    // The seed says what a sync that fails has stored, the head of the void one or not.
    for seed in 1..=8 {
        let (disk, _, store, _) = given_up_with_a_key(true, seed);
        assert_eq!(store.get(1, b"key").unwrap(), None);
        let record = disk.take_record();
        let mut replay = Replay::new(&record);
        let mut at = 0;
        while replay.step().is_some() {
            at += 1;
            for cut in 0..20 {
                let found = replay.cut(Cut::Power, cut);
                assert_eq!(key_after(&found), None, "{seed}: operation {at}, cut {cut}");
            }
        }
        assert!(at > 20, "{at} operations");
    }
}
