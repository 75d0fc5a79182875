//! Torn ends, damage, and disks that fail, one by one; all of them at random are in `sweep`.
#![allow(clippy::unwrap_used)]

mod names;

use super::*;
use crate::segment::{DATA, log_name};
use crate::sim::{Cut, Faults, SimDisk};
use crate::{Owed, Sync as When};
use std::time::Duration;

fn options() -> Options {
    Options {
        segment_bytes: 8 << 10,
        ..Options::default()
    }
}

fn open(disk: &SimDisk) -> (Store, Engine, Recovered) {
    Engine::open(Arc::new(disk.clone()), options(), Arc::new(|| ())).unwrap()
}

/// Until all is written.
fn rest(engine: &mut Engine) {
    for _ in 0..10_000 {
        if !engine.step() {
            return;
        }
    }
    panic!("it does not come to rest");
}

fn message(batch: &mut Batch, owner: u64, seq: u64, len: usize) {
    batch.message(
        &[&vec![seq as u8; len]],
        len as u32,
        &[Owed {
            owner,
            seq,
            extra: b"",
        }],
    );
}

fn seqs(engine: &Engine, owner: u64) -> Vec<u64> {
    let (from, to, most, most_bytes) = (0, u64::MAX, 4000, usize::MAX);
    let page = engine.load(&Load {
        owner,
        from,
        to,
        most,
        most_bytes,
        after: 0,
    });
    assert_eq!(page.next, None);
    for m in &page.messages {
        assert!(m.body.iter().all(|b| *b == m.seq as u8));
    }
    page.messages.iter().map(|m| m.seq).collect()
}

fn read(disk: &SimDisk, name: &str) -> Vec<u8> {
    let file = disk.open(name).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(0, &mut bytes).unwrap();
    bytes
}

/// A disk with these files.
fn disk_of(files: &[(String, Vec<u8>)]) -> SimDisk {
    let disk = SimDisk::new(1);
    for (name, bytes) in files {
        let file = disk.create(name, bytes.len() as u64).unwrap();
        file.write_all_at(0, bytes).unwrap();
        file.sync_data().unwrap();
    }
    disk.sync_dir().unwrap();
    disk
}

fn names(disk: &SimDisk, ending: &str) -> Vec<String> {
    let mut names: Vec<String> = disk.list().unwrap().into_iter().map(|e| e.name).collect();
    names.retain(|n| n.ends_with(ending));
    names.sort();
    names
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_at_the_last_whole_frame() {
    let disk = SimDisk::new(1);
    let (store, mut engine, _) = open(&disk);
    let mut batch = Batch::new();
    batch.begin(1);
    let mut ends = Vec::new();
    for seq in 1..=4 {
        message(&mut batch, 1, seq, 20);
        store.commit(&mut batch);
        rest(&mut engine);
        ends.push(engine.shared.index.lock().segments.open.end);
    }
    let name = log_name(1);
    let whole = read(&disk, &name);
    for fill in [0u8, 0x5a] {
        for cut in ends[0]..ends[3] {
            let mut bytes = whole.clone();
            bytes[cut as usize..].fill(fill);
            let cut_disk = disk_of(&[(name.clone(), bytes)]);
            let (store, mut engine, recovered) = open(&cut_disk);
            let kept = ends.iter().filter(|e| **e <= cut).count() as u64;
            let expect: Vec<u64> = (1..=kept).collect();
            assert_eq!(seqs(&engine, 1), expect, "cut at {cut}");
            assert_eq!(recovered.owners[0].owed, kept);
            assert_eq!(names(&cut_disk, ".corrupt"), Vec::<String>::new());
            // What is written behind the cut is found, and nothing of what was torn comes back.
            message(&mut batch, 1, 100 + cut % 100, 20);
            store.commit(&mut batch);
            rest(&mut engine);
            let (_, again, recovered) = open(&cut_disk.crash(Cut::Power, cut));
            let mut expect = expect;
            expect.push(100 + cut % 100);
            assert_eq!(seqs(&again, 1), expect, "cut at {cut}");
            assert_eq!(recovered.reports, Vec::<String>::new());
        }
    }
}

/// Batches that were written at once, so that no frame knows the one before to be synced.
#[test]
fn a_whole_frame_behind_a_torn_one_never_comes_back() {
    let disk = SimDisk::new(1);
    let (store, mut engine, _) = open(&disk);
    let mut batch = Batch::new();
    batch.begin(1);
    store.commit(&mut batch);
    rest(&mut engine);
    let start = engine.shared.index.lock().segments.open.end as usize;
    // Each is a frame of its own only if the one before is large enough.
    {
        let mut pending = engine.shared.pending.lock();
        for seq in 1..=3 {
            message(&mut batch, 1, seq, 20);
            let position = pending.position;
            let mut one = crate::shared::Chunk::default();
            one.add(&batch.bytes, position, false);
            let at = pending.chunk.buffer.len();
            let draft = crate::shared::Draft {
                at,
                ..one.frames[0]
            };
            pending.chunk.frames.push(draft);
            pending.chunk.buffer.extend_from_slice(&one.buffer);
            pending.position += batch.len() as u64;
            batch.clear();
        }
    }
    rest(&mut engine);
    let frame = (engine.shared.index.lock().segments.open.end as usize - start) / 3;
    let mut bytes = read(&disk, &log_name(1));
    bytes[start..start + frame].fill(0);
    let torn = disk_of(&[(log_name(1), bytes)]);
    let (store, mut engine, recovered) = open(&torn);
    assert_eq!(recovered.reports, Vec::<String>::new());
    assert_eq!(seqs(&engine, 1), []);
    assert_eq!(names(&torn, ".corrupt"), Vec::<String>::new());
    // As long as the one that was torn: it ends where the second one begins.
    message(&mut batch, 1, 9, 20);
    store.commit(&mut batch);
    rest(&mut engine);
    assert_eq!(
        engine.shared.index.lock().segments.open.end as usize,
        start + frame
    );
    let (_, engine, recovered) = open(&torn);
    assert_eq!(seqs(&engine, 1), [9]);
    assert_eq!(recovered.reports, Vec::<String>::new());
}

/// Several segments of messages to owner 1, each message a frame.
fn filled() -> SimDisk {
    let disk = SimDisk::new(1);
    let (store, mut engine, _) = open(&disk);
    let mut batch = Batch::new();
    batch.begin(1);
    for seq in 1..=60 {
        batch.put(1, &[seq as u8], &[seq as u8; 30]);
        message(&mut batch, 1, seq, 300);
        store.commit(&mut batch);
        rest(&mut engine);
    }
    assert!(names(&disk, ".log").len() >= 3);
    disk
}

#[test]
fn a_damaged_segment_is_set_aside_and_what_can_be_read_is_kept() {
    let disk = filled();
    let files: Vec<(String, Vec<u8>)> = names(&disk, ".log")
        .iter()
        .map(|n| (n.clone(), read(&disk, n)))
        .collect();
    let victim = 1;
    for at in (0..6000).step_by(97) {
        let mut files = files.clone();
        // Within the head only what is in use.
        let at = if at < DATA as usize { at % 60 } else { at };
        files[victim].1[at] ^= 0x40;
        let damaged = disk_of(&files);
        if (8..12).contains(&at) {
            // This makes it a file of a later version.
            let opened = Engine::open(Arc::new(damaged), options(), Arc::new(|| ()));
            assert!(opened.is_err());
            continue;
        }
        let (_, mut engine, recovered) = open(&damaged);
        assert_eq!(
            recovered.reports.len(),
            1,
            "byte {at}: {:?}",
            recovered.reports
        );
        assert_eq!(
            names(&damaged, ".corrupt"),
            [format!("{}.corrupt", files[victim].0)]
        );
        let found = seqs(&engine, 1);
        let most = if at < DATA as usize { 60 } else { 59 };
        assert_eq!(found.len(), most, "byte {at}");
        assert_eq!(recovered.owners[0].owed, most as u64);
        assert_eq!(recovered.owners[0].bytes, 300 * most as u64);
        rest(&mut engine);
        // From then on it is a store like any other, with index files and without.
        for idx in [true, false] {
            if !idx {
                names(&damaged, ".idx")
                    .iter()
                    .for_each(|n| damaged.remove(n).unwrap());
            }
            let (_, engine, recovered) = open(&damaged);
            assert_eq!(recovered.reports, Vec::<String>::new());
            assert_eq!(seqs(&engine, 1), found);
        }
    }
}

#[test]
fn a_message_that_is_damaged_under_a_running_store_is_left_out_and_no_longer_owed() {
    let disk = filled();
    let (store, mut engine, _) = open(&disk);
    let before = seqs(&engine, 1);
    let place = |engine: &Engine, seq: u64| {
        let index = engine.shared.index.lock();
        index.owners.get(1).unwrap().live.segment_of(seq).unwrap()
    };
    let number = place(&engine, 3);
    let name = log_name(number);
    let bytes = read(&disk, &name);
    let at = bytes
        .windows(300)
        .position(|w| w.iter().all(|b| *b == 3))
        .unwrap();
    disk.open(&name)
        .unwrap()
        .write_all_at(at as u64 + 100, &[0])
        .unwrap();
    let expect: Vec<u64> = before.iter().copied().filter(|s| *s != 3).collect();
    assert_eq!(seqs(&engine, 1), expect);
    rest(&mut engine);
    assert_eq!(engine.owners()[0].owed, expect.len() as u64);
    assert_eq!(engine.owners()[0].bytes, 300 * expect.len() as u64);
    assert_eq!(store.status().owed, expect.len() as u64);
}

#[test]
fn nothing_is_durable_while_the_disk_fails_and_all_is_when_it_works_again() {
    for faults in [
        Faults {
            sync_error: 1000,
            ..Faults::default()
        },
        Faults {
            write_error: 1000,
            ..Faults::default()
        },
        Faults {
            write_full: 1000,
            ..Faults::default()
        },
        Faults {
            name_error: 1000,
            sync_error: 1000,
            ..Faults::default()
        },
        Faults {
            dir_error: 1000,
            sync_error: 500,
            ..Faults::default()
        },
    ] {
        for sync in [When::Always, When::Every(Duration::ZERO)] {
            let disk = SimDisk::new(7);
            let options = Options { sync, ..options() };
            let (store, mut engine, _) =
                Engine::open(Arc::new(disk.clone()), options.clone(), Arc::new(|| ())).unwrap();
            let mut batch = Batch::new();
            batch.begin(1);
            message(&mut batch, 1, 1, 100);
            store.commit(&mut batch);
            rest(&mut engine);
            assert_eq!(store.durable(), store.position());
            disk.fail(faults);
            let before = store.position();
            for seq in 2..=50 {
                message(&mut batch, 1, seq, 300);
                store.commit(&mut batch);
                engine.step();
            }
            if faults.sync_error == 1000 || faults.write_error == 1000 || faults.write_full == 1000
            {
                assert_eq!(store.health(), Health::Failing, "{faults:?}");
                assert!(store.status().error.is_some());
                if sync == When::Always {
                    assert_eq!(store.durable(), before, "{faults:?}");
                }
            }
            disk.heal();
            rest(&mut engine);
            assert_eq!(store.health(), Health::Good, "{faults:?}");
            assert_eq!(store.durable(), store.position());
            let expect: Vec<u64> = (1..=50).collect();
            assert_eq!(seqs(&engine, 1), expect, "{faults:?}");
            for cut in [Cut::Kill, Cut::Power] {
                let (_, again, recovered) = Engine::open(
                    Arc::new(disk.crash(cut, 3)),
                    options.clone(),
                    Arc::new(|| ()),
                )
                .unwrap();
                assert_eq!(seqs(&again, 1), expect, "{faults:?}");
                assert_eq!(recovered.owners[0].owed, 50);
                assert_eq!(recovered.reports, Vec::<String>::new());
            }
        }
    }
}

#[test]
fn a_store_over_its_limit_says_so_until_there_is_room() {
    let disk = SimDisk::new(1);
    let options = Options {
        max_bytes: 60 << 10,
        ..options()
    };
    let (store, mut engine, _) = Engine::open(Arc::new(disk), options, Arc::new(|| ())).unwrap();
    let mut batch = Batch::new();
    batch.begin(1);
    let mut seq = 0;
    while store.health() == Health::Good {
        seq += 1;
        message(&mut batch, 1, seq, 1000);
        store.commit(&mut batch);
        rest(&mut engine);
        assert!(seq < 1000);
    }
    assert_eq!(store.health(), Health::Full);
    assert!(store.status().disk_bytes > 60 << 10);
    for seq in 1..=seq {
        batch.done(1, seq, 1000);
    }
    store.commit(&mut batch);
    // Acknowledgements are still written, and what they free is given back.
    rest(&mut engine);
    assert_eq!(store.health(), Health::Good, "{:?}", store.status());
}

#[test]
fn memory_grows_with_keys() {
    let disk = SimDisk::new(1);
    let (store, mut engine, _) = open(&disk);
    let empty = store.memory();
    let mut batch = Batch::new();
    for n in 0..1_000u32 {
        batch.put(9, &n.to_be_bytes(), b"value");
    }
    store.commit(&mut batch);
    rest(&mut engine);
    // 12 bytes of a key's hash, as many of its place.
    assert!(store.memory() > empty + 24_000, "{}", store.memory());
}
