//! Tables of plugins, on a real disk.

use emqttd_broker::{Broker, Storage};
use emqttd_store::{Directory, Health};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What was written is found at once: by whoever has written it, with others writing meanwhile.
#[test]
fn what_is_written_can_be_read() {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("tables");
    let _ = std::fs::remove_dir_all(&dir);
    let settings = crate::net::settings();
    let disk = Arc::new(Directory::new(&dir).unwrap());
    let storage = Storage::open(disk, &settings.persistence).unwrap();
    assert!(storage.is_some(), "as shipped there is a store");
    let (broker, _shards) = Broker::open(settings, 1, storage).unwrap();
    let table = broker.table("t");
    std::thread::scope(|scope| {
        for writer in 0..4_u8 {
            let table = table.clone();
            scope.spawn(move || {
                for n in 0..100_u8 {
                    let key = [writer, n % 5];
                    table.put(&key, &[n; 1000]).unwrap();
                    assert_eq!(table.get(&key).unwrap(), Some(vec![n; 1000]));
                    if n % 3 == 0 {
                        table.delete(&key).unwrap();
                        assert_eq!(table.get(&key).unwrap(), None);
                    }
                }
            });
        }
    });
    // Of each writer two of five were deleted last.
    assert_eq!(table.rows().unwrap().len(), 4 * 3);
}

/// What a plugin has filled the store with it can take away again: nothing else may make room.
#[test]
fn a_full_store_takes_what_makes_room() {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("full-tables");
    let _ = std::fs::remove_dir_all(&dir);
    let text = "node.name = emq@127.0.0.1\npersistence.sync = 1s\n";
    let mut settings = emqttd_config::load_text(text.as_bytes()).unwrap().settings;
    settings.persistence.segment_bytes = 1 << 20;
    settings.persistence.max_bytes = 8 << 20;
    let disk = Arc::new(Directory::new(&dir).unwrap());
    let storage = Storage::open(disk, &settings.persistence).unwrap();
    let (broker, _shards) = Broker::open(settings, 1, storage).unwrap();
    let (store, table) = (broker.store().unwrap(), broker.table("rows"));
    let mut rows = 0_u32;
    while table.put(&rows.to_be_bytes(), &[0; 64 << 10]).is_ok() {
        rows += 1;
        assert!(rows < 1000);
    }
    assert_eq!(store.health(), Health::Full);
    for row in 0..rows {
        table.delete(&row.to_be_bytes()).unwrap();
    }
    let begun = Instant::now();
    while table.put(b"again", b"1").is_err() {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{:?}",
            store.status()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    drop((broker, store, table));
    let _ = std::fs::remove_dir_all(dir);
}
