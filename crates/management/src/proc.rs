//! What Linux says of this process in `/proc/self`. Where there is none, answers are empty.

use std::fs;

/// Lines `key: number [kB]` of `/proc/self/status`, numbers with `kB` turned into bytes.
pub fn status(key: &str) -> Option<u64> {
    status_value(&fs::read_to_string("/proc/self/status").ok()?, key)
}

pub(crate) fn status_value(text: &str, key: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix(key)?.strip_prefix(':'))?;
    let mut words = line.split_whitespace();
    let value: u64 = words.next()?.parse().ok()?;
    Some(if words.next() == Some("kB") {
        value * 1024
    } else {
        value
    })
}

/// Soft limit of `/proc/self/limits`, `None` when unlimited or unknown.
pub fn limit(name: &str) -> Option<u64> {
    limit_value(&fs::read_to_string("/proc/self/limits").ok()?, name)
}

fn limit_value(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|l| l.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Load of the machine over 1, 5 and 15 minutes, as written by the system.
pub fn load() -> Option<[String; 3]> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    let mut words = text.split_whitespace().map(str::to_owned);
    Some([words.next()?, words.next()?, words.next()?])
}

/// Open files and, among them, sockets.
pub fn open_files() -> (u64, u64) {
    let Ok(dir) = fs::read_dir("/proc/self/fd") else {
        return (0, 0);
    };
    let mut files = 0;
    let mut sockets = 0;
    for entry in dir.flatten() {
        files += 1;
        if fs::read_link(entry.path()).is_ok_and(|l| l.to_string_lossy().starts_with("socket:")) {
            sockets += 1;
        }
    }
    // One of them is the directory being read.
    (u64::saturating_sub(files, 1), sockets)
}

/// Open files, sockets among them, without a look at each.
pub fn open_file_count() -> u64 {
    // Linux knows their number since 6.2: with a million connections that is a system call, and not a million names.
    match fs::metadata("/proc/self/fd") {
        Ok(known) if known.len() > 0 => return known.len(),
        _ => {}
    }
    let Ok(dir) = fs::read_dir("/proc/self/fd") else {
        return 0;
    };
    // One of them is the directory being read.
    (dir.count() as u64).saturating_sub(1)
}

/// A thread of this process.
pub struct Thread {
    /// its name
    pub name: String,
    /// `running` or `waiting`
    pub status: &'static str,
    /// processor time used, milliseconds
    pub cpu_ms: u64,
    /// times it went to sleep and was woken
    pub wakeups: u64,
}

/// Threads whose name begins with `prefix`, by name.
pub fn threads(prefix: &str) -> Vec<Thread> {
    let Ok(dir) = fs::read_dir("/proc/self/task") else {
        return Vec::new();
    };
    let mut list: Vec<Thread> = dir
        .flatten()
        .filter_map(|e| thread(&e.path(), prefix))
        .collect();
    list.sort_by(|a, b| (a.name.len(), &a.name).cmp(&(b.name.len(), &b.name)));
    list
}

fn thread(dir: &std::path::Path, prefix: &str) -> Option<Thread> {
    let name = fs::read_to_string(dir.join("comm"))
        .ok()?
        .trim_end()
        .to_owned();
    if !name.starts_with(prefix) {
        return None;
    }
    let text = fs::read_to_string(dir.join("status")).ok()?;
    let running = text
        .lines()
        .any(|l| l.starts_with("State:") && l.contains("R ("));
    // First figure: nanoseconds on a processor.
    let on_cpu = fs::read_to_string(dir.join("schedstat")).unwrap_or_default();
    let nanos: u64 = on_cpu
        .split_whitespace()
        .next()
        .and_then(|w| w.parse().ok())
        .unwrap_or(0);
    Some(Thread {
        name,
        status: if running { "running" } else { "waiting" },
        cpu_ms: nanos / 1_000_000,
        wakeups: status_value(&text, "voluntary_ctxt_switches").unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_the_status_file() {
        let text = "Name:\tx\nVmRSS:\t    1234 kB\nThreads:\t7\n";
        assert_eq!(status_value(text, "VmRSS"), Some(1234 * 1024));
        assert_eq!(status_value(text, "Threads"), Some(7));
        assert_eq!(status_value(text, "VmHWM"), None);
    }

    #[test]
    fn limits() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max processes             unlimited            unlimited            processes \n\
                    Max open files            1024                 4096                 files     \n";
        assert_eq!(limit_value(text, "Max open files"), Some(1024));
        assert_eq!(limit_value(text, "Max processes"), None);
    }
}
