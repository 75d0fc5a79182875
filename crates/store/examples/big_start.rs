//! How long a store with many owners, keys and messages takes to open, and what it takes in memory.
//! `cargo run --release -p emqttd-store --example big_start [DIRECTORY] [OWNERS] [MESSAGES OF EACH] [KEYS]`
//! Fills the directory if it is not there, opens it with its index files, and once more without them.

use emqttd_store::{Batch, Directory, Health, Load, Options, Owed, Recovered, Store};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Instant;

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    let mut args = std::env::args().skip(1);
    let directory = args.next().unwrap_or_else(|| "big-start".into());
    let mut number = |default: u64| args.next().map_or(Ok(default), |s| s.parse::<u64>());
    let (owners, messages, keys) = (number(1_000_000)?, number(10)?, number(4_000_000)?);
    let directory = Path::new(&directory);
    if !directory.exists() {
        fill(directory, owners, messages, keys)?;
    }
    println!("opened once more, memory of the system warm:");
    look(directory, owners)?;
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "idx") {
            std::fs::remove_file(path)?;
        }
    }
    println!("without index files:");
    look(directory, owners)
}

fn open(directory: &Path) -> Result<(Store, Recovered), Failed> {
    let me = std::thread::current();
    let wake = Arc::new(move || me.unpark());
    Ok(Store::open(
        Arc::new(Directory::new(directory)?),
        Options::default(),
        wake,
    )?)
}

fn fill(directory: &Path, owners: u64, messages: u64, keys: u64) -> Result<(), Failed> {
    let begun = Instant::now();
    let (store, _) = open(directory)?;
    let mut batch = Batch::new();
    let body = [7; 256];
    let commit = |batch: &mut Batch| {
        if batch.len() > 128 << 10 {
            store.commit(batch);
            while store.health() == Health::Behind {
                std::thread::park();
            }
        }
    };
    for owner in 1..=owners {
        batch.begin(owner);
        commit(&mut batch);
    }
    for key in 0..keys {
        batch.put(
            2,
            format!("subscription/of/session/{key}").as_bytes(),
            &[1; 24],
        );
        commit(&mut batch);
    }
    // Messages of an owner lie far from each other.
    for seq in 1..=messages {
        for owner in 1..=owners {
            batch.message(
                &[&body],
                256,
                &[Owed {
                    owner,
                    seq,
                    extra: &[1],
                }],
            );
            commit(&mut batch);
        }
    }
    store.commit(&mut batch);
    store.close();
    println!(
        "filled in {:?}, {} MB on disk",
        begun.elapsed(),
        store.status().disk_bytes >> 20
    );
    Ok(())
}

fn look(directory: &Path, owners: u64) -> Result<(), Failed> {
    let before = memory();
    let begun = Instant::now();
    let (store, recovered) = open(directory)?;
    let took = begun.elapsed();
    for report in &recovered.reports {
        println!("  {report}");
    }
    println!(
        "  open: {took:?}, {} owners, {} messages owed",
        recovered.owners.len(),
        store.status().owed
    );
    drop(recovered);
    println!("  memory: {} MB", memory().saturating_sub(before) >> 10);
    let begun = Instant::now();
    let mut count = 0;
    for i in 0..2000 {
        let owner = 1 + i * 7919 % owners;
        let (send, receive) = mpsc::channel();
        let load = Load {
            owner,
            from: 0,
            to: u64::MAX,
            most: 100,
            most_bytes: 1 << 20,
            after: 0,
        };
        store.load(load, Box::new(move |page| drop(send.send(page))));
        count += receive.recv()?.messages.len();
    }
    println!(
        "  a page of {:.1} messages: {:?}",
        count as f64 / 2000.0,
        begun.elapsed() / 2000
    );
    let begun = Instant::now();
    let mut count = 0;
    store.for_each(2, &mut |_, _| count += 1)?;
    println!("  all {count} values: {:?}", begun.elapsed());
    store.close();
    Ok(())
}

/// Resident kilobytes.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0)
}
