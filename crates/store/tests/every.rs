//! `Sync::Every`: what is in the index but not synced must find its way to another segment when a sync fails.

use emqttd_store::sim::{Cut, Faults, Rng, SimDisk};
use emqttd_store::sweep::{Driven, Model, Workload};
use emqttd_store::{Batch, Health, Options, Sync};
use std::sync::Arc;
use std::time::Duration;

fn open(disk: &SimDisk) -> Driven {
    // So rarely that only the end of a segment and the cleaner bring a sync about.
    let sync = Sync::Every(Duration::from_secs(3600));
    let options = Options {
        segment_bytes: 16 << 10,
        sync,
        ..Options::default()
    };
    let opened = Driven::open(disk, options, Arc::new(|| ()));
    opened.unwrap_or_else(|e| panic!("it does not open: {e}")).0
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
