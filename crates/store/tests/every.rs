//! `Sync::Every`: what is in the index but not synced must find its way to another segment when a sync fails.
#![allow(clippy::unwrap_used)]

use emqttd_store::sim::{Cut, Faults, Replay, Rng, SimDisk};
use emqttd_store::sweep::{Driven, Model, Workload};
use emqttd_store::{Batch, Health, Options, Recovered, Sync};
use std::sync::Arc;
use std::time::Duration;

fn open(disk: &SimDisk) -> Driven {
    opened(disk).0
}

fn opened(disk: &SimDisk) -> (Driven, Recovered) {
    // So rarely that only the end of a segment and the cleaner bring a sync about.
    let sync = Sync::Every(Duration::from_secs(3600));
    let options = Options {
        segment_bytes: 16 << 10,
        sync,
        ..Options::default()
    };
    let opened = Driven::open(disk, options, Arc::new(|| ()));
    opened.unwrap_or_else(|e| panic!("it does not open: {e}"))
}

fn compare(driven: &mut Driven, model: &Model, when: &str) {
    let found = driven.observe().unwrap_or_else(|e| panic!("{when}: {e}"));
    if let Some(difference) = model.difference(&found) {
        panic!("{when}: {difference}");
    }
}

fn rest(driven: &mut Driven) {
    for _ in 0..5000 {
        if !driven.step() && driven.store.durable() >= driven.store.position() {
            assert_eq!(driven.store.health(), Health::Good);
            return;
        }
    }
    panic!("it does not come to rest: {:?}", driven.store.status());
}

#[test]
fn what_was_not_synced_is_found_in_the_next_segment() {
    let mut failures = 0;
    for seed in 0..12 {
        let disk = SimDisk::new(seed);
        let mut rng = Rng::new(seed);
        let mut workload = Workload::new(seed, Model::default(), 1, 60, 600);
        let mut driven = open(&disk);
        let mut batch = Batch::new();
        for n in 0..400 {
            for act in workload.batch() {
                act.into_batch(&mut batch);
            }
            driven.store.commit(&mut batch);
            match rng.below(20) {
                0 => disk.fail(Faults {
                    sync_error: 800,
                    ..Faults::default()
                }),
                1 => disk.fail(Faults {
                    write_error: 300,
                    short_write: 300,
                    ..Faults::default()
                }),
                2 => disk.fail(Faults {
                    sync_error: 500,
                    dir_error: 300,
                    ..Faults::default()
                }),
                3 | 4 => disk.heal(),
                _ => {}
            }
            for _ in 0..rng.below(4) {
                driven.step();
            }
            failures += u64::from(driven.store.health() == Health::Failing);
            if rng.below(25) == 0 {
                disk.heal();
                rest(&mut driven);
                compare(
                    &mut driven,
                    &workload.model,
                    &format!("seed {seed}, batch {n}"),
                );
            }
            if rng.below(80) == 0 {
                disk.heal();
                rest(&mut driven);
                drop(driven);
                // A kill takes nothing that was written.
                driven = open(&disk.crash(Cut::Kill, seed));
                compare(
                    &mut driven,
                    &workload.model,
                    &format!("seed {seed}, killed at {n}"),
                );
                driven = open(&disk);
            }
        }
    }
    assert!(failures > 100, "the disk failed: {failures}");
}

/// A segment that begins with what the one before has not synced has its head when all of that is there: else the cut
/// looked like damage, and what stood behind a gap was taken for good.
#[test]
fn a_power_cut_while_it_is_written_again_takes_the_end_and_is_no_damage() {
    for seed in 0..8 {
        let disk = SimDisk::new(seed);
        let mut driven = open(&disk);
        let mut batch = Batch::new();
        disk.record();
        let mut failed = false;
        for n in 0..40u8 {
            batch.put(1, &[n], &[n; 700]);
            driven.store.commit(&mut batch);
            disk.fail(Faults {
                sync_error: if (15..30).contains(&n) { 1000 } else { 0 },
                ..Faults::default()
            });
            driven.step();
            failed |= driven.store.health() == Health::Failing;
        }
        rest(&mut driven);
        assert!(failed, "seed {seed}: a segment could not be begun");
        let record = disk.take_record();
        let mut replay = Replay::new(&record);
        let mut at = 0;
        while replay.step().is_some() {
            at += 1;
            for cut in 0..10 {
                let when = format!("seed {seed}, operation {at}, cut {cut}");
                let mut found = Vec::new();
                let (driven, recovered) = opened(&replay.cut(Cut::Power, cut));
                assert_eq!(recovered.reports, Vec::<String>::new(), "{when}");
                let mut add = |key: &[u8], _: &[u8]| found.push(key[0]);
                driven.store.for_each(1, &mut add).unwrap();
                found.sort_unstable();
                let expect: Vec<u8> = (0..found.len() as u8).collect();
                assert_eq!(found, expect, "{when}");
            }
        }
    }
}
