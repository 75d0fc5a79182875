//! A server's process and its guard.
//!
//! The server is the child of a small shell script that reads from a pipe. The pipe ends when this process
//! ends, however that happens; the guard then kills the server with all its processes and removes its
//! directory. (The parent-death signal of Linux is of no use here: it comes when the *thread* that started the
//! server ends.)

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take to start or to end; generous, for a machine that compiles beside us.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// `guard LOG DIR COMMAND...`: prints the server's process id. `leave` on the pipe means that the server is
/// dead already and that its data are still wanted.
///
/// `setsid` makes the server the head of a process group; PostgreSQL's processes leave it, so that children are
/// looked up as well.
const GUARD: &str = r#"
log=$1 dir=$2; shift 2
setsid "$@" </dev/null >>"$log" 2>&1 &
pid=$!
echo $pid
if read -r word && [ "$word" = leave ]; then exit; fi
kill -KILL $pid $(cat /proc/$pid/task/*/children) -$pid
wait $pid
rm -rf -- "$dir"
"#;

/// A running server.
pub(super) struct Process {
    guard: Child,
    pid: Pid,
}

impl Process {
    /// Starts `command`; `log` gets what it prints, `dir` is what the guard removes.
    pub fn start(command: &[String], log: &Path, dir: &Path) -> Process {
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .args([log, dir])
            .args(command)
            .current_dir("/")
            // The interrupt of a terminal is for us; the guard sees our end.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = guard.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let pid = line.trim().parse().ok().and_then(Pid::from_raw);
        let pid = pid.unwrap_or_else(|| panic!("no process id from the guard: {line:?}"));
        Process { guard, pid }
    }

    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Whether it has not ended. Its id is not given to another before the guard has ended.
    pub fn is_alive(&self) -> bool {
        !is_dead(self.pid)
    }

    /// The server's process, then its descendants.
    fn family(&self) -> Vec<Pid> {
        let mut family = vec![self.pid];
        let mut next = 0;
        while let Some(pid) = family.get(next) {
            let tasks = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()));
            let children = tasks.into_iter().flatten().flatten();
            let children = children.map(|task| fs::read_to_string(task.path().join("children")));
            let text: String = children
                .map(|text| text.unwrap_or_default() + " ")
                .collect();
            let pids = text.split_whitespace().filter_map(|pid| pid.parse().ok());
            family.extend(pids.filter_map(Pid::from_raw));
            next += 1;
        }
        family
    }

    fn signal_all(&self, signal: Signal) {
        // The first one is ours and starts the others, so that it is first.
        for pid in self.family() {
            // One that ends by itself meanwhile is fine.
            let _ = kill_process(pid, signal);
        }
    }

    /// SIGKILL to all; returns when they are dead.
    pub fn kill(self) {
        let family = self.family();
        for pid in &family {
            let _ = kill_process(*pid, Signal::KILL);
        }
        await_that("death by SIGKILL", || family.iter().copied().all(is_dead));
        self.release();
    }

    /// Asks the server to end and waits until it has.
    pub fn stop(self, signal: Signal) {
        // A stopped process would take no notice.
        self.signal_all(Signal::CONT);
        let _ = kill_process(self.pid, signal);
        await_that("an orderly end", || !self.is_alive());
        self.release();
    }

    /// Lets the guard go without touching the data.
    fn release(mut self) {
        if let Some(mut pipe) = self.guard.stdin.take() {
            let _ = pipe.write_all(b"leave\n");
        }
        let _ = self.guard.wait();
    }

    /// Lets the guard end all and remove the data, as it does when this process dies.
    pub fn abandon(mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }

    /// SIGSTOP to all: connections stay, and nothing answers any more.
    pub fn hang(&self) {
        let stopped = |pid: Pid| state(pid) == Some('T') || is_dead(pid);
        await_that("a standstill", || {
            // Each time anew: a child that was on its way while the others were listed has not been told.
            self.signal_all(Signal::STOP);
            self.family().into_iter().all(stopped)
        });
    }

    /// Ends what [`Process::hang`] began.
    pub fn resume(&self) {
        self.signal_all(Signal::CONT);
    }
}

/// Whether a process has ended and let go of its sockets: its first thread may end before the others.
fn is_dead(pid: Pid) -> bool {
    match state(pid) {
        None | Some('X') => true,
        Some('Z') => {
            let threads = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()));
            threads.map_or(true, |threads| threads.count() <= 1)
        }
        Some(_) => false,
    }
}

/// The letter of `/proc/<pid>/stat`.
fn state(pid: Pid) -> Option<char> {
    let text = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name before it is in brackets and may have any characters.
    text.rsplit_once(") ")?.1.chars().next()
}

/// Waits for what comes without a sign.
#[track_caller]
pub(super) fn await_that(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "no {what} within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Makes `<tmp>/emqttd-server-<pid>-<n>-<name>`: short, for the limit on socket paths.
pub(super) fn scratch_dir(name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    static SWEEP: Once = Once::new();
    SWEEP.call_once(sweep);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let me = std::process::id();
    let dir = std::env::temp_dir().join(format!("emqttd-server-{me}-{n}-{name}"));
    fs::create_dir_all(&dir).unwrap();
    // Servers run as users of their own.
    set_mode(&dir, 0o755);
    dir
}

/// Removes what a guard could not, because it was killed as well.
fn sweep() {
    for entry in fs::read_dir(std::env::temp_dir())
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name();
        let name = name.to_str().and_then(|n| n.strip_prefix("emqttd-server-"));
        let Some(pid) = name.and_then(|n| n.split('-').next()) else {
            continue;
        };
        if Path::new("/proc/self").exists() && !Path::new("/proc").join(pid).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Sets the permissions of a file.
pub(super) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Gives a file or directory tree to a user; only root can.
pub(super) fn give(path: &Path, user: &str) {
    let mut command = Command::new("chown");
    super::run(command.args(["-R", user, "--"]).arg(path), "");
}
