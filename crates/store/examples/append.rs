//! How many messages a second go through `commit()`, next to a bare loop of append and fdatasync with writes
//! of the same size. `cargo run --release -p emqttd-store --example append [DIRECTORY] [SECONDS]`

use emqttd_store::{Batch, Directory, Health, Options, Owed, Store};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::thread::Thread;
use std::time::{Duration, Instant};

const BODY: usize = 256;

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    let mut args = std::env::args().skip(1);
    let directory = args.next().unwrap_or_else(|| "append-bench".into());
    let seconds: u64 = args.next().map_or(Ok(5), |s| s.parse())?;
    let (directory, run) = (Path::new(&directory), Duration::from_secs(seconds));
    for (batch, gate) in [(500, false), (500, true), (32, true), (1, true)] {
        let _ = std::fs::remove_dir_all(directory);
        std::fs::create_dir_all(directory)?;
        let bare = bare(directory, batch, run)?;
        let store = through_store(&directory.join("store"), batch, gate, run)?;
        println!(
            "batches of {batch:>3}, {}:",
            if gate {
                "each waited for"
            } else {
                "handed over freely"
            }
        );
        println!("  append + fdatasync {:>9.0} msg/s", bare);
        println!(
            "  store              {:>9.0} msg/s  ({:.2} of it), {}",
            store.0,
            store.0 / bare,
            store.1
        );
    }
    std::fs::remove_dir_all(directory)?;
    Ok(())
}

fn bare(directory: &Path, batch: usize, run: Duration) -> Result<f64, Failed> {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(directory.join("bare"))?;
    let bytes = vec![7; batch * (BODY + 12)];
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < run {
        file.write_all(&bytes)?;
        file.sync_data()?;
        count += batch;
    }
    std::fs::remove_file(directory.join("bare"))?;
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

/// CPU seconds of a thread of this process: its own, and the system's for it.
fn cpu(name: &str) -> (f64, f64) {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    for task in tasks.flatten() {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        // pid (name) state ...; fields 14 and 15 are hundredths of seconds
        let Some((before, after)) = stat.rsplit_once(") ") else {
            continue;
        };
        if before.ends_with(&format!("({name}")) {
            let field = |i| {
                after
                    .split(' ')
                    .nth(i)
                    .and_then(|f| f.parse().ok())
                    .unwrap_or(0.0)
            };
            return (field(11) / 100.0, field(12) / 100.0);
        }
    }
    (0.0, 0.0)
}

fn through_store(
    directory: &Path,
    batch_size: usize,
    gate: bool,
    run: Duration,
) -> Result<(f64, String), Failed> {
    let disk = Arc::new(Directory::new(directory)?);
    let me: Thread = std::thread::current();
    let wake = Arc::new(move || me.unpark());
    let (store, _) = Store::open(disk, Options::default(), wake)?;
    let mut batch = Batch::new();
    batch.begin(1);
    store.commit(&mut batch);
    let body = vec![7; BODY];
    let begun = Instant::now();
    let before = cpu("store");
    let (mut seq, mut done, mut committing) = (0, 0, Duration::ZERO);
    let mut commits = 0;
    while begun.elapsed() < run {
        for _ in 0..batch_size {
            seq += 1;
            let owed = [Owed {
                owner: 1,
                seq,
                extra: &[1],
            }];
            batch.message(&[&body], BODY as u32, &owed);
        }
        // What was delivered before is acknowledged, so that the cleaner has something to do.
        while done + 200_000 < seq {
            done += 1;
            batch.done(1, done, BODY as u32);
        }
        let handing = Instant::now();
        let position = store.commit(&mut batch);
        committing += handing.elapsed();
        commits += 1;
        while store.health() == Health::Behind || gate && store.durable() < position {
            std::thread::park();
        }
    }
    while store.durable() < store.position() {
        std::thread::park();
    }
    let took = begun.elapsed().as_secs_f64();
    let used = cpu("store");
    let nanos = |used: f64| used * 1e9 / seq as f64;
    let status = store.status();
    store.close();
    let text = format!(
        "commit() {} ns, committer {:.0} + {:.0} (system) ns/msg, {} syncs, p50 {:?}, p99 {:?}",
        committing.as_nanos() / commits,
        nanos(used.0 - before.0),
        nanos(used.1 - before.1),
        status.syncs,
        status.sync_p50,
        status.sync_p99
    );
    Ok((seq as f64 / took, text))
}
