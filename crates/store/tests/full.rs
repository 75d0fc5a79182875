//! A disk that is full of what is owed, and of nothing else: what leaves makes room again.

use emqttd_store::sim::{Faults, SimDisk};
use emqttd_store::sweep::{Driven, size_of};
use emqttd_store::{Batch, Health, Options, Owed};
use std::sync::Arc;

const SEGMENT: u64 = 256 << 10;

#[test]
fn a_full_disk_empties_when_messages_are_taken() -> Result<(), String> {
    let disk = SimDisk::new(1);
    disk.fail(Faults {
        capacity: 12 * SEGMENT,
        ..Faults::default()
    });
    let options = Options {
        segment_bytes: SEGMENT,
        ..Options::default()
    };
    let (mut store, _) = Driven::open(&disk, options, Arc::new(|| {}))?;
    let mut batch = Batch::new();
    batch.begin(1);
    let body = [7; 500];
    let (mut first, mut next) = (1u64, 1u64);
    let mut handed = 0;
    for round in 0..5 {
        // Publishers, as long as nobody pushes them back.
        while store.store.health() == Health::Good {
            for _ in 0..10 {
                let owed = [Owed {
                    owner: 1,
                    seq: next,
                    extra: b"",
                }];
                batch.message(&[&body], size_of(&body), &owed);
                next += 1;
            }
            handed += 1;
            store.store.commit(&mut batch);
            for _ in 0..3 {
                store.step();
            }
            assert!(handed < 10_000, "the disk is never full");
        }
        assert!(
            next - first > 2000,
            "round {round}: full with {} messages",
            next - first
        );
        // A subscriber takes all but some.
        while next - first > 100 {
            for _ in 0..10 {
                batch.done(1, first, size_of(&body));
                first += 1;
            }
            store.store.commit(&mut batch);
            for _ in 0..3 {
                store.step();
            }
        }
        for _ in 0..500 {
            store.step();
        }
        let status = store.store.status();
        assert_eq!(status.health, Health::Good, "round {round}: {status:?}");
        assert_eq!(status.durable, status.position, "round {round}");
    }
    let found = store.observe()?;
    assert_eq!(found.owners[&1].owed.len() as u64, next - first);
    Ok(())
}
