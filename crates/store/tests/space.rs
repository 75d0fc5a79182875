//! The room of what is no longer needed comes back, at a bounded price.
#![allow(clippy::unwrap_used)]

use emqttd_store::sim::{Cut, Rng, SimDisk};
use emqttd_store::sweep::{Driven, size_of};
use emqttd_store::{Batch, Options, Owed};
use std::collections::VecDeque;
use std::sync::Arc;

const SEGMENT: u64 = 256 << 10;

fn open(disk: &SimDisk) -> Driven {
    let options = Options {
        segment_bytes: SEGMENT,
        ..Options::default()
    };
    Driven::open(disk, options, Arc::new(|| {})).unwrap().0
}

/// Steps until nothing is left to do.
fn settle(store: &mut Driven) {
    let mut moved = store.cleaned().0;
    for _ in 0..1_000_000 {
        if !store.step() {
            return;
        }
        let now = store.cleaned().0;
        assert!(
            now - moved <= 1 << 20,
            "{} bytes were moved between two commits",
            now - moved
        );
        moved = now;
    }
    panic!("it does not come to rest");
}

fn message(batch: &mut Batch, owner: u64, seq: u64, body: &[u8]) {
    batch.message(
        &[body],
        size_of(body),
        &[Owed {
            owner,
            seq,
            extra: b"qos",
        }],
    );
}

#[test]
fn after_many_messages_the_disk_is_as_full_as_before() {
    let disk = SimDisk::new(1);
    let mut store = open(&disk);
    let mut batch = Batch::new();
    for owner in 1..=50 {
        batch.begin(owner);
        batch.put(1, &owner.to_be_bytes(), &[7; 100]);
    }
    store.store.commit(&mut batch);
    settle(&mut store);
    let before = disk.bytes();
    let mut most = 0;
    let mut given = 0u64;
    for seq in 1..=1000u64 {
        for owner in 1..=50 {
            message(&mut batch, owner, seq, &[owner as u8; 200]);
            given += 200;
        }
        store.store.commit(&mut batch);
        store.step();
        for owner in 1..=50 {
            let id = (seq % 1000) as u16 + 1;
            batch.sent(owner, id, owner, seq, size_of(&[0; 200]), 0);
            batch.completed(owner, id);
        }
        store.store.commit(&mut batch);
        store.step();
        most = most.max(disk.bytes());
    }
    settle(&mut store);
    let (moved, segments) = store.cleaned();
    println!(
        "{given} bytes given, {moved} moved, {segments} segments cleaned, {most} bytes on disk at most"
    );
    assert!(given > 30 * SEGMENT && segments > 30);
    assert!(
        disk.bytes() <= before + SEGMENT,
        "{before} bytes before, {} after",
        disk.bytes()
    );
    assert!(most <= before + 6 * SEGMENT, "{most} bytes while it ran");
    assert!(
        moved < given / 5,
        "{moved} bytes moved for nothing that lasts"
    );
}

#[test]
fn what_stays_long_is_not_copied_again_and_again() {
    let disk = SimDisk::new(2);
    let mut store = open(&disk);
    let mut rng = Rng::new(2);
    let mut batch = Batch::new();
    for owner in 1..=100 {
        batch.begin(owner);
    }
    // Of 100 owners 20 are away for long: theirs stay until 30,000 others have come and gone.
    let mut next = [1u64; 101];
    let mut kept: VecDeque<(u64, u64)> = VecDeque::new();
    let mut short: VecDeque<(u64, u64)> = VecDeque::new();
    let body = [5; 300];
    let mut given = 0u64;
    for _ in 0..4000 {
        for _ in 0..20 {
            let owner = 1 + rng.below(100);
            let seq = next[owner as usize];
            next[owner as usize] += 1;
            message(&mut batch, owner, seq, &body);
            given += 300;
            if owner <= 20 {
                kept.push_back((owner, seq))
            } else {
                short.push_back((owner, seq))
            }
        }
        while short.len() > 200 {
            let (owner, seq) = short.pop_front().unwrap();
            batch.done(owner, seq, size_of(&body));
        }
        while kept.len() > 6000 {
            let (owner, seq) = kept.pop_front().unwrap();
            batch.done(owner, seq, size_of(&body));
        }
        store.store.commit(&mut batch);
        store.step();
    }
    settle(&mut store);
    let live = (kept.len() + short.len()) as u64 * 340;
    let (moved, segments) = store.cleaned();
    println!(
        "given {given}, moved {moved}: {:.2} bytes written for one given; {segments} segments cleaned; \
         live {live}, on disk {}",
        1.0 + moved as f64 / given as f64,
        disk.bytes()
    );
    assert!(segments > 50);
    assert!(moved < given, "{moved} bytes moved, {given} given");
    assert!(
        disk.bytes() < 2 * live + 5 * SEGMENT,
        "{} bytes for {live}",
        disk.bytes()
    );
    // All of it is still there, and after a cut as well.
    let found = store.observe().unwrap();
    assert_eq!(
        found.owners.values().map(|o| o.owed.len()).sum::<usize>(),
        kept.len() + short.len()
    );
    let after = open(&disk.crash(Cut::Power, 3)).observe().unwrap();
    assert_eq!(found.difference(&after), None);
}

#[test]
fn deletions_go_when_nothing_older_is_left() {
    let disk = SimDisk::new(3);
    let mut store = open(&disk);
    let mut batch = Batch::new();
    // What lasts, and is older than all deletions.
    for n in 0..2000u32 {
        batch.put(2, &n.to_be_bytes(), &[1; 200]);
    }
    store.store.commit(&mut batch);
    settle(&mut store);
    let before = disk.bytes();
    for n in 0..60_000u32 {
        let key = format!("a retained topic that is gone soon {n}");
        batch.put(3, key.as_bytes(), b"x");
        batch.delete(3, key.as_bytes());
        if n % 50 == 0 {
            store.store.commit(&mut batch);
            store.step();
        }
    }
    store.store.commit(&mut batch);
    settle(&mut store);
    let (moved, segments) = store.cleaned();
    println!(
        "{before} bytes before, {} after; {moved} moved, {segments} segments cleaned",
        disk.bytes()
    );
    assert!(
        disk.bytes() <= before + 3 * SEGMENT,
        "{before} bytes before, {} after",
        disk.bytes()
    );
    let after = open(&disk.crash(Cut::Power, 3)).observe().unwrap();
    assert_eq!(after.tables.len(), 2000);
}

#[test]
fn ended_owners_leave_nothing() {
    let disk = SimDisk::new(4);
    let mut store = open(&disk);
    let mut batch = Batch::new();
    batch.begin(1);
    message(&mut batch, 1, 1, b"stays");
    store.store.commit(&mut batch);
    settle(&mut store);
    let before = disk.bytes();
    for owner in 2..20_000u64 {
        batch.begin(owner);
        batch.put(1, &owner.to_be_bytes(), &[9; 80]);
        for seq in 1..4 {
            message(&mut batch, owner, seq, &[3; 100]);
        }
        batch.sent(owner, 1, owner, 1, size_of(&[0; 100]), 0);
        if owner > 100 {
            batch.end(owner - 50);
            batch.delete(1, &(owner - 50).to_be_bytes());
        }
        if owner % 20 == 0 {
            store.store.commit(&mut batch);
            store.step();
        }
    }
    store.store.commit(&mut batch);
    settle(&mut store);
    println!(
        "{before} bytes before, {} after; cleaned {:?}",
        disk.bytes(),
        store.cleaned()
    );
    assert!(
        disk.bytes() <= before + 4 * SEGMENT,
        "{before} bytes before, {} after",
        disk.bytes()
    );
    let after = open(&disk.crash(Cut::Power, 5)).observe().unwrap();
    assert_eq!(after.owners.len(), 1 + 49 + 50);
    assert_eq!(after.owners[&1].owed.len(), 1);
}
