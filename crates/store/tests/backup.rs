//! Backups of a running store, their checks, and what is restored from them.
#![allow(clippy::unwrap_used)]

use emqttd_store::backup::{restore, verify};
use emqttd_store::{Batch, Directory, Options, Owed, Store};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SMALL: u64 = 64 << 10;

fn open(dir: &Path) -> Store {
    let disk = Arc::new(Directory::new(dir).unwrap());
    let options = Options {
        segment_bytes: SMALL,
        ..Options::default()
    };
    let (store, recovered) = Store::open(disk, options, Arc::new(|| {})).unwrap();
    assert!(recovered.reports.is_empty(), "{:?}", recovered.reports);
    store
}

fn put(store: &Store, n: u32) {
    let mut batch = Batch::new();
    batch.put(3, format!("topic {n}").as_bytes(), &[n as u8; 500]);
    batch.begin(1);
    let owed = [Owed {
        owner: 1,
        seq: u64::from(n) + 1,
        extra: b"",
    }];
    batch.message(&[&n.to_be_bytes()], 10, &owed);
    store.commit(&mut batch);
}

fn keys(store: &Store) -> usize {
    let mut keys = 0;
    store.for_each(3, &mut |_, _| keys += 1).unwrap();
    keys
}

/// A closed store with 1000 keys, and a backup of it.
fn with_backup(root: &Path) -> (PathBuf, PathBuf) {
    let (data, copy) = (root.join("data"), root.join("copy"));
    let store = open(&data);
    for n in 0..1000 {
        put(&store, n);
    }
    let mut last = (0, 0);
    store
        .backup(&copy, &mut |done, total| last = (done, total))
        .unwrap();
    assert!(
        last.0 == last.1 && last.1 > 500_000,
        "progress ends at all of it: {last:?}"
    );
    store.close();
    (data, copy)
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "log"))
        .collect();
    all.sort();
    all
}

#[test]
fn a_backup_of_a_store_at_work_holds_all_that_was_there_when_it_began() {
    let root = tempfile::tempdir().unwrap();
    let (data, copy) = (root.path().join("data"), root.path().join("copy"));
    let store = open(&data);
    for n in 0..1000 {
        put(&store, n);
    }
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (store, stop) = (store.clone(), stop.clone());
        move || {
            let mut n = 1000;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) && n < 20_000 {
                put(&store, n);
                n += 1;
            }
            n
        }
    });
    store.backup(&copy, &mut |_, _| {}).unwrap();
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let written = writer.join().unwrap() as usize;
    store.close();
    let contents = verify(&copy, &mut |_, _| {}).unwrap();
    assert!(contents.frames > 0 && contents.files > 5, "{contents:?}");

    let restored = root.path().join("restored");
    let result = restore(&copy, &restored, &mut |_, _| {}).unwrap();
    assert_eq!((result.aside, result.contents), (None, contents));
    let store = open(&restored);
    let found = keys(&store);
    assert!((1000..=written).contains(&found), "{found} of {written}");
    // What is owed came along, message by message with the keys of the same batches.
    assert_eq!(store.status().owed as usize, found);
    store.close();
}

#[test]
fn a_directory_in_use_is_not_written_to() {
    let root = tempfile::tempdir().unwrap();
    let (data, copy) = with_backup(root.path());
    let store = open(&data);
    let e = store.backup(&copy, &mut |_, _| {}).unwrap_err();
    assert!(e.to_string().contains("is not empty"), "{e}");
    let empty = root.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    store.backup(&empty, &mut |_, _| {}).unwrap();
    verify(&empty, &mut |_, _| {}).unwrap();
    assert!(!root.path().join("empty.partial").exists());
    store.close();
}

#[test]
fn what_was_there_is_set_aside() {
    let root = tempfile::tempdir().unwrap();
    let (data, copy) = with_backup(root.path());
    let store = open(&data);
    for n in 1000..1100 {
        put(&store, n);
    }
    store.close();
    let result = restore(&copy, &data, &mut |_, _| {}).unwrap();
    let aside = result.aside.unwrap();
    assert!(
        aside
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("data.before-restore-")
    );
    let (now, before) = (open(&data), open(&aside));
    assert_eq!((keys(&now), keys(&before)), (1000, 1100));
    now.close();
    before.close();
}

#[test]
fn damage_is_found_before_anything_is_replaced() {
    let root = tempfile::tempdir().unwrap();
    let (data, copy) = with_backup(root.path());
    let refuse = |what: &str| {
        for e in [
            verify(&copy, &mut |_, _| {}).unwrap_err(),
            restore(&copy, &data, &mut |_, _| {}).unwrap_err(),
        ] {
            assert!(e.to_string().contains(what), "{e}");
        }
        let store = open(&data);
        assert_eq!(keys(&store), 1000, "the store is as it was");
        store.close();
    };
    let segment = segments(&copy).pop().unwrap();
    let whole = std::fs::read(&segment).unwrap();

    let mut bad = whole.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    std::fs::write(&segment, &bad).unwrap();
    refuse("has not the contents");

    std::fs::write(&segment, &whole[..whole.len() - 1]).unwrap();
    refuse("has not the length");

    std::fs::remove_file(&segment).unwrap();
    refuse("is missing");
    std::fs::write(&segment, &whole).unwrap();

    let manifest = copy.join("MANIFEST");
    let list = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, list.replace("end\n", "")).unwrap();
    refuse("is damaged");
    std::fs::write(
        &manifest,
        list.replace("00000001.log", "../data/00000001.log"),
    )
    .unwrap();
    refuse("is damaged");
    std::fs::remove_file(&manifest).unwrap();
    refuse("is not a backup");

    std::fs::write(&manifest, list).unwrap();
    restore(&copy, &data, &mut |_, _| {}).unwrap();
}
