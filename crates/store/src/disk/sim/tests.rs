#![allow(clippy::unwrap_used)]

use super::*;

fn all(disk: &SimDisk, name: &str) -> Vec<u8> {
    let file = disk.open(name).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(0, &mut bytes).unwrap();
    bytes
}

fn names(disk: &SimDisk) -> Vec<String> {
    disk.list().unwrap().into_iter().map(|e| e.name).collect()
}

#[test]
fn what_was_synced_is_found_after_every_cut() {
    let disk = SimDisk::new(1);
    let file = disk.create("a", 8192).unwrap();
    file.write_all_at(0, &[1; 3000]).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir().unwrap();
    file.write_all_at(3000, &[2; 3000]).unwrap();
    let (mut whole, mut none, mut parts) = (0, 0, 0);
    for seed in 0..400 {
        let found = all(&disk.crash(Cut::Power, seed), "a");
        assert!(found[..3000].iter().all(|b| *b == 1), "seed {seed}");
        assert!(
            found[3000..6000].iter().all(|b| *b == 2 || *b == 0),
            "seed {seed}"
        );
        match found[3000..6000].iter().filter(|b| **b == 2).count() {
            0 => none += 1,
            3000 => whole += 1,
            _ => parts += 1,
        }
    }
    assert!(
        whole > 10 && none > 10 && parts > 10,
        "kept {whole}, lost {none}, in parts {parts}"
    );
    let killed = all(&disk.crash(Cut::Kill, 0), "a");
    assert!(killed[3000..6000].iter().all(|b| *b == 2));
}

#[test]
fn a_later_page_may_survive_an_earlier_one() {
    let disk = SimDisk::new(1);
    let file = disk.create("a", 16 * 4096).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir().unwrap();
    file.write_all_at(0, &[7; 16 * 4096]).unwrap();
    let reordered = (0..200).filter(|seed| {
        let found = all(&disk.crash(Cut::Power, *seed), "a");
        let hole = found.iter().position(|b| *b == 0);
        let last = found.iter().rposition(|b| *b == 7);
        hole.zip(last).is_some_and(|(hole, last)| hole < last)
    });
    assert!(reordered.count() > 50);
}

#[test]
fn a_name_is_sure_only_when_its_directory_is_synced() {
    let disk = SimDisk::new(1);
    disk.create("old", 10).unwrap().sync_data().unwrap();
    disk.create("gone", 10).unwrap().sync_data().unwrap();
    disk.sync_dir().unwrap();
    let file = disk.create("new", 0).unwrap();
    file.write_all_at(0, b"body").unwrap();
    file.sync_data().unwrap();
    disk.rename("old", "renamed").unwrap();
    disk.remove("gone").unwrap();
    let mut seen = BTreeSet::new();
    for seed in 0..300 {
        let found = disk.crash(Cut::Power, seed);
        let names = names(&found);
        assert!(
            names.contains(&"old".to_owned()) != names.contains(&"renamed".to_owned()),
            "seed {seed}"
        );
        if names.contains(&"new".to_owned()) {
            assert_eq!(
                all(&found, "new"),
                b"body",
                "the contents were synced, seed {seed}"
            );
        }
        seen.insert(names);
    }
    assert_eq!(
        seen.len(),
        8,
        "each change may have happened or not: {seen:?}"
    );
    disk.sync_dir().unwrap();
    for seed in 0..50 {
        assert_eq!(names(&disk.crash(Cut::Power, seed)), ["new", "renamed"]);
    }
}

#[test]
fn a_sync_that_succeeds_after_one_that_failed_brings_nothing_back() {
    let mut lost = 0;
    for seed in 0..100 {
        let disk = SimDisk::new(seed);
        let file = disk.create("a", 512).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir().unwrap();
        file.write_all_at(0, &[9; 512]).unwrap();
        disk.fail(Faults {
            sync_error: 1000,
            ..Faults::default()
        });
        assert!(file.sync_data().is_err());
        disk.heal();
        file.sync_data().unwrap();
        lost += usize::from(all(&disk.crash(Cut::Power, seed), "a")[0] == 0);
    }
    assert!((30..90).contains(&lost), "{lost} of 100 lost");
}

#[test]
fn full_and_short_writes_are_told() {
    let disk = SimDisk::new(3);
    disk.fail(Faults {
        capacity: 1000,
        ..Faults::default()
    });
    assert!(disk.create("big", 1001).is_err());
    let file = disk.create("a", 900).unwrap();
    assert_eq!(disk.free_bytes().unwrap(), 100);
    assert!(file.write_at(900, &[1; 200]).is_err());
    assert_eq!(file.write_at(900, &[1; 100]).unwrap(), 100);
    disk.fail(Faults {
        short_write: 1000,
        ..Faults::default()
    });
    let n = file.write_at(0, &[5; 100]).unwrap();
    assert!((1..100).contains(&n), "{n}");
    file.write_all_at(0, &[5; 100]).unwrap();
    assert!(all(&disk, "a")[..100].iter().all(|b| *b == 5));
}

#[test]
fn a_replay_finds_what_a_crash_at_that_moment_would_have_found() {
    let disk = SimDisk::new(4);
    let mut rng = Rng::new(4);
    let file = disk.create("a", 4096).unwrap();
    disk.record();
    let mut crashes = Vec::new();
    for i in 0..40 {
        match rng.below(4) {
            0 => file.sync_data().unwrap(),
            1 => disk.sync_dir().unwrap(),
            _ => file
                .write_all_at(rng.below(4000), &vec![i; rng.below(1500) as usize + 1])
                .unwrap(),
        }
        crashes.push(disk.crash(Cut::Power, 77));
        disk.mark(u64::from(i));
    }
    let record = disk.take_record();
    let mut replay = Replay::new(&record);
    let mut checked = 0;
    while let Some(step) = replay.step() {
        if let Step::Mark(_) = step {
            continue;
        }
        // A mark follows, so that no part of a next write is in it.
        let found = replay.cut(Cut::Power, 77);
        assert_eq!(names(&found), names(&crashes[checked]));
        for name in names(&found) {
            assert_eq!(all(&found, &name), all(&crashes[checked], &name));
        }
        checked += 1;
    }
    assert_eq!(checked, 40);
}

#[test]
fn a_removed_file_can_be_read_by_who_has_it_open() {
    let disk = SimDisk::new(5);
    let file = disk.create("a", 0).unwrap();
    file.write_all_at(0, b"abc").unwrap();
    disk.remove("a").unwrap();
    disk.sync_dir().unwrap();
    let mut bytes = [0; 3];
    file.read_exact_at(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"abc");
    assert!(disk.open("a").is_err());
}
