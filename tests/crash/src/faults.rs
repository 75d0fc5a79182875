//! The store alone, over a disk in memory: cut at every operation of recorded runs, and failing now and
//! then. What it takes a power cut to show is shown here, since no test can cut the power of its machine.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

use emqttd_store::sweep::{self, Report};

/// Runs so many sweeps, a thread for each core; `true` when nothing was found.
pub fn sweep(rounds: u32, seed: u64) -> bool {
    let begun = Instant::now();
    println!("fault sweep: {rounds} rounds, seed {seed}");
    let next = AtomicU32::new(0);
    let all = Mutex::new(Report::default());
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let round = next.fetch_add(1, Ordering::Relaxed);
                    if round >= rounds {
                        return;
                    }
                    // One round by itself: all of it follows from the sum.
                    let report = sweep::rounds(seed + u64::from(round), 1, &mut |_, _| {});
                    let found = !report.failures.is_empty();
                    // A thread that panicked while it added had added nothing yet.
                    let mut all = all.lock().unwrap_or_else(|e| e.into_inner());
                    all.add(report);
                    if found || (round + 1).is_multiple_of(20) {
                        println!(
                            "  round {}: {:.0} s, {} instants, {} lost, {} revived",
                            round + 1,
                            begun.elapsed().as_secs_f64(),
                            all.instants,
                            all.lost,
                            all.revived
                        );
                    }
                }
            });
        }
    });
    let all = all.into_inner().unwrap_or_else(|e| e.into_inner());
    println!();
    for (name, value) in [
        ("runs recorded", all.runs),
        ("instants at which it was cut", all.instants),
        ("batches acknowledged", all.acknowledged),
        ("segments cleaned", all.cleaned),
        ("operations that failed", all.faults),
        ("crashes after which something was lost", all.lost),
        ("... after which something came back", all.revived),
    ] {
        println!("  {name:<42}{value:>10}");
    }
    println!("  {:.0} s in all", begun.elapsed().as_secs_f64());
    for what in &all.failures {
        println!("  {what}");
    }
    all.failures.is_empty() && all.lost == 0 && all.revived == 0
}
