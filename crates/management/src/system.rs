//! What the system says of this process and of the machine.

use crate::clock::unix_seconds;
use crate::proc;
use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Two looks at the processor time closer to each other than this give the same share.
const SHORTEST: Duration = Duration::from_secs(1);

/// Figures of the process and of the machine it runs on. What is not known is 0.
#[derive(Debug, Clone, PartialEq)]
pub struct System {
    /// memory of the process, bytes
    pub memory_rss: u64,
    /// memory of the machine, or of the container where that has less, bytes
    pub memory_total: u64,
    /// processes that ran or wanted to, over 1, 5 and 15 minutes
    pub load: [f64; 3],
    /// open files and sockets
    pub fds_used: u64,
    /// most of them
    pub fds_max: u64,
    /// use of processors since the last look that was at least a second earlier, percent of one core
    pub cpu_percent: f64,
    /// processor time of the process, seconds
    pub cpu_seconds: f64,
    /// its threads
    pub threads: u64,
    /// most of them, of all processes of its user; 0 = no limit
    pub threads_max: u64,
    /// cores that the process may use
    pub cores: usize,
    /// when it was started, unix seconds
    pub started_at: u64,
    /// `Linux 6.1.0 x86_64`
    pub os: String,
}

/// Remembers what a share of time is measured against.
pub(crate) struct Meter {
    started_at: u64,
    last: Mutex<Look>,
}

struct Look {
    at: Instant,
    used: Duration,
    percent: f64,
}

impl Meter {
    pub fn new() -> Meter {
        Meter {
            started_at: unix_seconds(),
            last: Mutex::new(Look {
                at: Instant::now(),
                used: cpu_time(),
                percent: 0.0,
            }),
        }
    }

    /// How much of a core was used since the last look.
    fn percent(&self, now: Instant, used: Duration) -> f64 {
        let mut last = self.last.lock();
        let passed = now.saturating_duration_since(last.at);
        if passed >= SHORTEST {
            *last = Look {
                at: now,
                used,
                percent: share(used.saturating_sub(last.used), passed),
            };
        }
        last.percent
    }

    pub fn look(&self) -> System {
        let used = cpu_time();
        System {
            memory_rss: memory_rss(),
            memory_total: memory_total(),
            load: proc::load().map_or([0.0; 3], |words| words.map(|w| w.parse().unwrap_or(0.0))),
            fds_used: proc::open_file_count(),
            fds_max: proc::limit("Max open files").unwrap_or(0),
            cpu_percent: self.percent(Instant::now(), used),
            cpu_seconds: used.as_secs_f64(),
            threads: proc::status("Threads").unwrap_or(0),
            threads_max: proc::limit("Max processes").unwrap_or(0),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            started_at: self.started_at,
            os: os(),
        }
    }
}

/// Percent of one core.
pub(crate) fn share(used: Duration, passed: Duration) -> f64 {
    match passed.is_zero() {
        true => 0.0,
        false => 100.0 * used.as_secs_f64() / passed.as_secs_f64(),
    }
}

/// Processor time of the process so far.
pub(crate) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Memory of the process, bytes.
pub(crate) fn memory_rss() -> u64 {
    proc::status("VmRSS").unwrap_or(0)
}

/// What the machine has, or the smallest of the groups that this process is in may have.
fn memory_total() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let machine = proc::status_value(&machine, "MemTotal").unwrap_or(0);
    static LIMITS: OnceLock<Vec<PathBuf>> = OnceLock::new();
    let groups = || fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let files = LIMITS.get_or_init(|| limit_files(&groups(), Path::new("/sys/fs/cgroup")));
    let limits = files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok());
    limits.fold(machine, |least, limit| match least {
        0 => limit,
        least => least.min(limit),
    })
}

/// The files that may limit the memory of who is in these groups (`/proc/self/cgroup`), of both versions.
fn limit_files(groups: &str, root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(kinds), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (base, file) = if kinds.is_empty() {
            (root.to_owned(), "memory.max")
        } else if kinds.split(',').any(|kind| kind == "memory") {
            (root.join("memory"), "memory.limit_in_bytes")
        } else {
            continue;
        };
        // A container sees its own group as the root, whatever the path says.
        let path = Path::new(path.trim_start_matches('/'));
        files.extend(path.ancestors().map(|group| base.join(group).join(file)));
    }
    files
}

fn os() -> String {
    let of = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
        text.trim().to_owned()
    };
    let kind = match of("ostype") {
        kind if kind.is_empty() => std::env::consts::OS.to_owned(),
        kind => kind,
    };
    let words = [kind, of("osrelease"), std::env::consts::ARCH.to_owned()];
    let words = words.iter().filter(|word| !word.is_empty());
    words.cloned().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn of_this_process() {
        let system = Meter::new().look();
        assert!(system.memory_rss > 0 && system.memory_rss < system.memory_total);
        assert!(system.fds_used >= 3 && system.fds_used <= system.fds_max);
        assert!(system.threads >= 1 && system.cores >= 1);
        assert!(system.cpu_seconds > 0.0);
        assert!(system.os.starts_with("Linux "), "{}", system.os);
    }

    #[test]
    fn a_share_is_of_the_time_since_the_last_look() {
        let meter = Meter::new();
        let (begin, used) = {
            let last = meter.last.lock();
            (last.at, last.used)
        };
        let after = |seconds: u64, cpu: u64| {
            let cpu = used + Duration::from_millis(cpu);
            meter.percent(begin + Duration::from_secs(seconds), cpu)
        };
        assert_eq!(after(2, 3000), 150.0);
        // Too early for another.
        assert_eq!(after(2, 4000), 150.0);
        assert_eq!(after(4, 3500), 25.0);
        assert_eq!(share(Duration::from_secs(1), Duration::ZERO), 0.0);
    }

    #[test]
    fn limits_of_groups() {
        let root = Path::new("/g");
        assert_eq!(
            limit_files("0::/a/b\n", root),
            ["/g/a/b/memory.max", "/g/a/memory.max", "/g/memory.max"].map(PathBuf::from)
        );
        assert_eq!(
            limit_files("5:cpu,memory:/d\n4:pids:/d\nodd\n", root),
            [
                "/g/memory/d/memory.limit_in_bytes",
                "/g/memory/memory.limit_in_bytes"
            ]
            .map(PathBuf::from)
        );
    }
}
