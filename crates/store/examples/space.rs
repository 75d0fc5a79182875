//! A million messages come and go: `space DIR [messages]`. Prints the bytes on disk before and after, what the
//! cleaner wrote for it, and the longest time anybody waited for a commit. DIR must be empty; it is left as it is.

use emqttd_store::{Batch, Directory, Options, Owed, Store};
use std::error::Error;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

const OWNERS: u64 = 1000;
/// Messages of a commit.
const ROUND: u64 = 200;

struct Waiter {
    store: Store,
    woken: Arc<(Mutex<()>, Condvar)>,
    longest: Duration,
}

impl Waiter {
    fn commit(&mut self, batch: &mut Batch) {
        let begun = Instant::now();
        let position = self.store.commit(batch);
        let mut guard = self.woken.0.lock().unwrap_or_else(|e| e.into_inner());
        while self.store.durable() < position {
            guard = self.woken.1.wait(guard).unwrap_or_else(|e| e.into_inner());
        }
        self.longest = self.longest.max(begun.elapsed());
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().ok_or("usage: space DIR [messages]")?;
    let messages: u64 = arguments.next().map_or(Ok(1_000_000), |n| n.parse())?;
    let woken = Arc::new((Mutex::new(()), Condvar::new()));
    let wake = Arc::clone(&woken);
    let wake = Arc::new(move || {
        drop(wake.0.lock());
        wake.1.notify_all();
    });
    let (store, _) = Store::open(Arc::new(Directory::new(dir)?), Options::default(), wake)?;
    let mut waiter = Waiter {
        store: store.clone(),
        woken,
        longest: Duration::ZERO,
    };
    let mut batch = Batch::new();
    for owner in 1..=OWNERS {
        batch.begin(owner);
        batch.put(1, &owner.to_be_bytes(), &[0; 200]);
    }
    waiter.commit(&mut batch);
    // The file kept in reserve is part of what it takes.
    std::thread::sleep(Duration::from_millis(500));
    let before = store.status().disk_bytes;
    let begun = Instant::now();
    let body = [7; 250];
    let mut most = 0;
    for n in 0..messages / ROUND {
        for i in 0..ROUND {
            let (owner, seq) = place(n * ROUND + i);
            batch.message(
                &[&body],
                250,
                &[Owed {
                    owner,
                    seq,
                    extra: &[1, 0],
                }],
            );
        }
        waiter.commit(&mut batch);
        for i in 0..ROUND {
            let (owner, seq) = place(n * ROUND + i);
            batch.sent(owner, (seq % 60_000) as u16 + 1, owner, seq, 250, 0);
            batch.completed(owner, (seq % 60_000) as u16 + 1);
        }
        waiter.commit(&mut batch);
        most = most.max(store.status().disk_bytes);
    }
    let took = begun.elapsed();
    // A second file in reserve is given back after some seconds.
    for _ in 0..80 {
        if store.status().disk_bytes <= before {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let status = store.status();
    println!(
        "{messages} messages of {} bytes in {:.1} s; on disk {:.1} MB before, {:.1} MB at most, {:.1} MB after; \
         sync p50 {:?}, p99 {:?}; longest commit {:?}",
        body.len(),
        took.as_secs_f64(),
        before as f64 / 1e6,
        most as f64 / 1e6,
        status.disk_bytes as f64 / 1e6,
        status.sync_p50,
        status.sync_p99,
        waiter.longest
    );
    store.close();
    Ok(())
}

/// Owner and number of a message.
fn place(n: u64) -> (u64, u64) {
    (1 + n % OWNERS, 1 + n / OWNERS)
}
