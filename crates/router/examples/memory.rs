//! Prints what filters and retained names cost in memory: `memory [COUNT]`, a million without an argument.
//!
//! Each kind is measured in a process of its own, by the growth of its resident memory: what the allocator
//! wastes is included, and nothing is hidden in memory that an earlier kind left behind.

use emqttd_router::{RetainedTree, Router, Target};
use std::process::Command;

const KINDS: [&str; 4] = ["wildcard", "exact", "long", "retained"];

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let count = args
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1_000_000);
    let Some(kind) = args.next() else {
        for kind in KINDS {
            Command::new(std::env::current_exe()?)
                .args([&count.to_string(), kind])
                .status()?;
        }
        return Ok(());
    };
    let before = resident();
    let bytes = match &*kind {
        "retained" => {
            let mut tree = RetainedTree::new();
            for i in 0..count {
                tree.insert(&format!("ret/{i}"), i);
            }
            let bytes = resident() - before;
            assert_eq!(tree.len() as u64, count);
            bytes
        }
        _ => {
            let mut router = Router::new();
            for i in 0..count {
                let filter = match &*kind {
                    "wildcard" => wildcard(i),
                    "exact" => format!("site/{}/device/{i}", i % 100),
                    _ => format!("device/{i:032x}/+/state"),
                };
                router.subscribe(
                    &filter,
                    Target {
                        owner: i % 100,
                        opts: 0,
                        sub_id: 0,
                    },
                );
            }
            let bytes = resident() - before;
            assert_eq!(router.len() as u64, count);
            bytes
        }
    };
    println!("{count} {kind}: {} bytes each", bytes / count.max(1));
    Ok(())
}

/// The four shapes of the benchmark's `wild` rows.
fn wildcard(i: u64) -> String {
    match i % 4 {
        0 => format!("w/a{i}/+/x"),
        1 => format!("w/+/b{i}/x"),
        2 => format!("w/c{i}/d/#"),
        _ => format!("+/e{i}/+"),
    }
}

/// Resident memory of this process in bytes; 0 where the system does not tell.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok())
        .unwrap_or(0)
        * 4096
}
