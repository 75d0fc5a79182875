//! The store on a real directory, through its public functions.
#![allow(clippy::unwrap_used)]

use emqttd_store::{
    Batch, Directory, Health, InFlight, Load, Options, Owed, Page, Position, Recovered, Store, Sync,
};
use std::path::Path;
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// A store whose wake-ups can be waited for.
struct Opened {
    store: Store,
    recovered: Recovered,
    woken: Arc<(Mutex<u64>, Condvar)>,
}

fn options() -> Options {
    Options {
        segment_bytes: 64 << 10,
        ..Options::default()
    }
}

fn open_with(path: &Path, options: Options) -> Opened {
    let woken = Arc::new((Mutex::new(0), Condvar::new()));
    let wake = Arc::clone(&woken);
    let wake = Arc::new(move || {
        *wake.0.lock().unwrap() += 1;
        wake.1.notify_all();
    });
    let disk = Arc::new(Directory::new(path).unwrap());
    let (store, recovered) = Store::open(disk, options, wake).unwrap();
    Opened {
        store,
        recovered,
        woken,
    }
}

fn open(path: &Path) -> Opened {
    open_with(path, options())
}

impl Opened {
    fn commit(&self, batch: &mut Batch) -> Position {
        let position = self.store.commit(batch);
        assert!(batch.is_empty());
        position
    }

    fn wait(&self, position: Position) {
        let mut woken = self.woken.0.lock().unwrap();
        while self.store.durable() < position {
            woken = self.woken.1.wait(woken).unwrap();
        }
    }

    fn put(&self, fill: impl FnOnce(&mut Batch)) {
        let mut batch = Batch::new();
        fill(&mut batch);
        let position = self.commit(&mut batch);
        self.wait(position);
    }

    fn load(&self, owner: u64, from: u64, most: usize) -> Page {
        let (send, receive) = mpsc::channel();
        let after = self.store.position();
        let load = Load {
            owner,
            from,
            to: u64::MAX,
            most,
            most_bytes: 1 << 20,
            after,
        };
        self.store
            .load(load, Box::new(move |page| send.send(page).unwrap()));
        receive.recv().unwrap()
    }

    fn seqs(&self, owner: u64) -> Vec<u64> {
        let mut seqs = Vec::new();
        let mut from = 0;
        loop {
            let page = self.load(owner, from, 7);
            seqs.extend(page.messages.iter().map(|m| m.seq));
            match page.next {
                Some(next) => from = next,
                None => return seqs,
            }
        }
    }
}

fn owed(owner: u64, seq: u64) -> Owed<'static> {
    Owed {
        owner,
        seq,
        extra: b"x",
    }
}

#[test]
fn what_is_durable_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let s = open(&path);
    assert!(s.recovered.owners.is_empty());
    assert_eq!(s.recovered.next_owner, 1);
    s.put(|b| {
        b.begin(1);
        b.begin(2);
        b.put(1, b"key", b"value");
        b.put(1, b"gone", b"value");
        b.put(2, b"key", b"other table");
        b.message(&[b"hel", b"lo"], 5, &[owed(1, 1), owed(2, 1), owed(9, 1)]);
        b.message(&[b"bye"], 3, &[owed(1, 2)]);
    });
    s.put(|b| {
        b.delete(1, b"gone");
        b.sent(1, 10, 1, 1, 5, 7);
        b.sent(1, 11, 1, 2, 3, 8);
        b.released(1, 11);
    });
    for again in [false, true] {
        let s = if again {
            s.store.close();
            open(&path)
        } else {
            // A message owed to nobody else stays with its owner; one owed to a stranger is void.
            assert_eq!(s.seqs(9), []);
            open_copy(&path, &dir.path().join("copy"))
        };
        let mut owners = s.recovered.owners.clone();
        owners.sort_by_key(|o| o.owner);
        assert_eq!(s.recovered.next_owner, 3);
        assert_eq!(s.recovered.reports, Vec::<String>::new());
        assert_eq!(owners.len(), 2);
        let first = &owners[0];
        assert_eq!(
            (
                first.owner,
                first.next,
                first.front,
                first.owed,
                first.bytes
            ),
            (1, 3, 1, 1, 5)
        );
        assert_eq!(first.last_id, 11);
        assert_eq!(
            first.in_flight,
            [
                InFlight {
                    id: 10,
                    released: false,
                    owner: 1,
                    seq: 1,
                    note: 7,
                },
                InFlight {
                    id: 11,
                    released: true,
                    owner: 1,
                    seq: 2,
                    note: 8,
                }
            ]
        );
        assert_eq!(
            s.store.get(1, b"key").unwrap().as_deref(),
            Some(&b"value"[..])
        );
        assert_eq!(s.store.get(1, b"gone").unwrap(), None);
        assert_eq!(
            s.store.get(2, b"key").unwrap().as_deref(),
            Some(&b"other table"[..])
        );
        let page = s.load(1, 0, 10);
        assert_eq!(page.next, None);
        assert_eq!(page.messages.len(), 1);
        assert_eq!(page.messages[0].body, b"hello");
        assert_eq!(page.messages[0].extra, b"x");
        let mut keys = Vec::new();
        s.store
            .for_each(1, &mut |k, v| keys.push((k.to_vec(), v.to_vec())))
            .unwrap();
        assert_eq!(keys, [(b"key".to_vec(), b"value".to_vec())]);
        assert_eq!(s.store.health(), Health::Good);
        assert_eq!(s.store.status().owed, 2);
        if again {
            return;
        }
    }
}

/// A store opened on the files of another that is running, as a kill would leave them.
fn open_copy(from: &Path, to: &Path) -> Opened {
    copy(from, to);
    open(to)
}

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        // Spare files come and go.
        if entry.file_name().to_str().unwrap().ends_with(".log") {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn queues_over_many_segments_are_read_in_order_and_survive() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(dir.path());
    s.put(|b| (1..=3).for_each(|o| b.begin(o)));
    let body = vec![7; 1000];
    for seq in 1..=500 {
        let mut batch = Batch::new();
        batch.message(&[&body], 1000, &[owed(1, seq), owed(2, seq)]);
        if seq % 3 == 0 {
            batch.done(2, seq, 1000);
        }
        s.commit(&mut batch);
    }
    let expect: Vec<u64> = (1..=500).collect();
    let some: Vec<u64> = (1..=500).filter(|s| s % 3 != 0).collect();
    assert_eq!(s.seqs(1), expect);
    assert_eq!(s.seqs(2), some);
    assert_eq!(
        s.load(1, 100, 3)
            .messages
            .iter()
            .map(|m| m.seq)
            .collect::<Vec<_>>(),
        [100, 101, 102]
    );
    s.store.close();
    // Twice: from index files, and without them.
    for with in [true, false] {
        if !with {
            for entry in std::fs::read_dir(dir.path()).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|e| e == "idx") {
                    std::fs::remove_file(path).unwrap();
                }
            }
        }
        let s = open(dir.path());
        assert_eq!(s.recovered.reports, Vec::<String>::new());
        assert_eq!(s.seqs(1), expect);
        assert_eq!(s.seqs(2), some);
        let first = s.recovered.owners.iter().find(|o| o.owner == 1).unwrap();
        assert_eq!((first.owed, first.bytes, first.next), (500, 500_000, 501));
        let second = s.recovered.owners.iter().find(|o| o.owner == 2).unwrap();
        assert_eq!((second.owed, second.bytes), (334, 334_000));
        s.store.close();
    }
}

#[test]
fn a_batch_larger_than_a_segment_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(dir.path());
    let body = vec![1; 300 << 10];
    s.put(|b| {
        b.begin(1);
        b.message(&[&body], 1, &[owed(1, 1)]);
        b.put(5, b"large", &body);
    });
    s.put(|b| b.message(&[b"small"], 1, &[owed(1, 2)]));
    s.store.close();
    let s = open(dir.path());
    assert_eq!(s.load(1, 0, 10).messages.len(), 2);
    assert_eq!(s.load(1, 0, 10).messages[0].body, body);
    assert_eq!(s.store.get(5, b"large").unwrap().unwrap(), body);
}

#[test]
fn not_synced_each_time_it_is_durable_when_written_and_synced_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let sync = Sync::Every(Duration::from_secs(3600));
    let s = open_with(dir.path(), Options { sync, ..options() });
    s.put(|b| b.begin(1));
    for seq in 1..=1000 {
        s.put(|b| b.message(&[&[0; 100]], 100, &[owed(1, seq)]));
    }
    assert!(s.store.status().syncs < 10);
    assert_eq!(s.seqs(1).len(), 1000);
    s.store.close();
    assert_eq!(open(dir.path()).seqs(1).len(), 1000);
}

#[test]
fn files_of_a_later_version_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(dir.path());
    s.put(|b| b.begin(1));
    s.store.close();
    drop(s);
    let log = dir.path().join("00000001.log");
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[8] = 200;
    std::fs::write(&log, &bytes).unwrap();
    let disk = Arc::new(Directory::new(dir.path()).unwrap());
    let Err(e) = Store::open(disk, options(), Arc::new(|| ())) else {
        panic!("opened")
    };
    assert!(e.message.contains("format 200"), "{e}");
    assert_eq!(std::fs::read(&log).unwrap(), bytes);
}

#[test]
fn all_answers_come_when_the_store_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(dir.path());
    let mut batch = Batch::new();
    batch.begin(1);
    batch.message(&[b"m"], 1, &[owed(1, 1)]);
    let after = s.commit(&mut batch);
    let (send, receive) = mpsc::channel();
    for _ in 0..100 {
        let send = send.clone();
        let load = Load {
            owner: 1,
            from: 0,
            to: 9,
            most: 1,
            most_bytes: 1,
            after,
        };
        s.store
            .load(load, Box::new(move |page| send.send(page).unwrap()));
    }
    drop(send);
    s.store.close();
    let pages: Vec<Page> = receive.iter().collect();
    assert_eq!(pages.len(), 100);
    assert!(pages.iter().all(|p| p.messages.len() == 1));
}

#[test]
fn values_are_read_once_they_are_there_and_not_more_than_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(dir.path());
    let ask = |keys: &[&str], most_bytes| {
        let (send, receive) = mpsc::channel();
        let keys = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
        let after = s.store.position();
        s.store.values(
            7,
            keys,
            most_bytes,
            after,
            Box::new(move |v| send.send(v).unwrap()),
        );
        receive.recv().unwrap()
    };
    let mut batch = Batch::new();
    batch.put(7, b"a", &[b'a'; 100]);
    batch.put(7, b"b", &[b'b'; 100]);
    batch.put(8, b"c", b"of another table");
    // Not waited for: the answer does.
    s.commit(&mut batch);
    let value = |byte: u8| Some(vec![byte; 100]);
    assert_eq!(
        ask(&["b", "c", "a"], 1 << 20),
        [value(b'b'), None, value(b'a')]
    );
    assert_eq!(ask(&["a", "b"], 1), [value(b'a')]);
    assert_eq!(ask(&["none", "a", "b"], 1), [None, value(b'a')]);
    s.put(|batch| batch.delete(7, b"a"));
    assert_eq!(ask(&["a"], 1), [None]);
}
