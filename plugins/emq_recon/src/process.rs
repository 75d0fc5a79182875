//! What Linux says of this process in `/proc/self`. Where there is none, figures are missing.

use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::time::Duration;

/// A row `key: number [kB]` of `/proc/self/status`; `kB` are turned into bytes.
pub(crate) fn status(key: &str) -> Option<u64> {
    row(&fs::read_to_string("/proc/self/status").ok()?, key)
}

/// Bytes read from and written to disks by this process.
pub(crate) fn disk() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/self/io").ok()?;
    Some((row(&text, "read_bytes")?, row(&text, "write_bytes")?))
}

fn row(text: &str, key: &str) -> Option<u64> {
    let rest = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let mut words = rest.split_whitespace();
    let number: u64 = words.next()?.parse().ok()?;
    Some(match words.next() {
        Some("kB") => number * 1024,
        _ => number,
    })
}

/// Processor time that all threads have used.
pub(crate) fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Threads, and those of them that run or wait for a processor, without the one that asks.
pub(crate) fn threads() -> Option<(u64, u64)> {
    let mut all = 0;
    let mut running = 0u64;
    for task in fs::read_dir("/proc/self/task").ok()?.flatten() {
        // One that has ended meanwhile is not counted.
        if let Ok(stat) = fs::read_to_string(task.path().join("stat")) {
            all += 1;
            running += u64::from(runs(&stat));
        }
    }
    Some((all, running.saturating_sub(1)))
}

/// Whether `1 (any name) R ...` says that the thread runs.
fn runs(stat: &str) -> bool {
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| rest.starts_with('R'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_proc() {
        let text = "VmRSS:\t    1234 kB\nThreads:\t7\n";
        assert_eq!(row(text, "VmRSS"), Some(1234 * 1024));
        assert_eq!(row(text, "Threads"), Some(7));
        assert_eq!(row(text, "Vm"), None);
        assert!(runs("12 (a ) S) R 1 1"));
        assert!(!runs("12 (a) R) S 1 1"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process() {
        assert!(status("VmRSS").is_some_and(|bytes| bytes > 100_000));
        assert!(threads().is_some_and(|(all, running)| all >= 1 && running < all));
        let before = cpu();
        let spent = (0..50_000_000u64).fold(0, |a, b| a ^ std::hint::black_box(b));
        assert!(cpu() > before, "{spent}");
    }
}
