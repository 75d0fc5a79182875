//! The file of the audit log, and the thread that writes it.

use super::Entry;
use emqttd_broker::Broker;
use emqttd_logging::RotatingFile;
use emqttd_plugin_sdk::Severity;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::time::{Duration, Instant};

/// A file is rotated at this size, bytes; so many older ones are kept.
const SIZE: u64 = 10 << 20;
const KEEP: u32 = 4;

/// Entries that may wait to be written. Beyond that the disk hangs, and they are counted.
const WAITING: usize = 4096;

/// For the file to be written when somebody waits.
const PATIENCE: Duration = Duration::from_secs(2);

/// After which the file that could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// The alarm that holds while entries do not reach the file.
const ALARM: &str = "audit_log";

enum Task {
    Line(Vec<u8>),
    /// tells when what came before it is in the file
    Mark(SyncSender<bool>),
}

/// Gives entries to the thread.
pub(super) struct Writer {
    tasks: SyncSender<Task>,
    lost: Arc<AtomicU64>,
}

/// Is reached when what was recorded before it is in the file.
pub(super) struct Mark(Receiver<bool>);

impl Mark {
    pub fn wait(self) -> bool {
        self.0.recv_timeout(PATIENCE).unwrap_or(false)
    }
}

impl Writer {
    /// Starts the thread; `None`, with a line in the log, when the system gives none.
    pub fn start(path: PathBuf, broker: &Broker) -> Option<Writer> {
        let (tasks, todo) = mpsc::sync_channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let mut thread = Thread {
            path,
            file: None,
            tried: None,
            failing: false,
            lost: Arc::clone(&lost),
            broker: broker.clone(),
        };
        let started = std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || thread.run(&todo));
        match started {
            Ok(_) => Some(Writer { tasks, lost }),
            Err(error) => {
                log::error!("the audit log is not written: {error}");
                None
            }
        }
    }

    pub fn write(&self, entry: &Entry) {
        let Ok(mut line) = serde_json::to_vec(entry) else {
            return;
        };
        line.push(b'\n');
        if self.tasks.try_send(Task::Line(line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A mark behind what was written so far; `None` when there is nobody to reach it.
    pub fn mark(&self) -> Option<Mark> {
        let (told, mark) = mpsc::sync_channel(1);
        match self.tasks.try_send(Task::Mark(told)) {
            Ok(()) | Err(TrySendError::Full(_)) => Some(Mark(mark)),
            Err(TrySendError::Disconnected(_)) => None,
        }
    }
}

struct Thread {
    path: PathBuf,
    file: Option<RotatingFile>,
    /// when opening it was tried last
    tried: Option<Instant>,
    /// the log was told, and the alarm is set
    failing: bool,
    lost: Arc<AtomicU64>,
    broker: Broker,
}

impl Thread {
    fn run(&mut self, todo: &Receiver<Task>) {
        while let Ok(first) = todo.recv() {
            let mut marks = Vec::new();
            let mut outcome = Ok(());
            // What has come meanwhile goes with one write.
            for task in std::iter::once(first).chain(todo.try_iter().take(WAITING)) {
                match task {
                    Task::Line(line) => outcome = outcome.and(self.add(&line)),
                    Task::Mark(told) => marks.push(told),
                }
            }
            if let Some(file) = &mut self.file {
                outcome = outcome.and(file.flush());
            }
            let well = self.told(outcome);
            for mark in marks {
                // Who no longer waits does not want to know.
                let _ = mark.send(well);
            }
        }
    }

    fn add(&mut self, line: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            if self.tried.is_some_and(|at| at.elapsed() < RETRY) {
                self.lost.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            self.tried = Some(Instant::now());
            // Rotated by size alone: all days are one.
            let opened =
                RotatingFile::open(self.path.clone(), SIZE, KEEP, |_| jiff::civil::Date::ZERO);
            match opened {
                Ok(file) => self.file = Some(file),
                Err(error) => {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        match &mut self.file {
            Some(file) => file.add(line, jiff::civil::Date::ZERO),
            None => Ok(()),
        }
    }

    /// Says once that it cannot be written, and once that it can again. Whether it can.
    fn told(&mut self, outcome: io::Result<()>) -> bool {
        let well = outcome.is_ok() && self.file.as_ref().is_some_and(|file| !file.is_failing());
        let shown = self.path.display();
        if let Err(error) = &outcome
            && !self.failing
        {
            let summary = format!("{shown} cannot be written: {error}");
            log::error!("the audit log {summary}; entries are kept in memory only");
            let title = "The audit log cannot be written";
            self.broker
                .post_alarm(ALARM, Severity::Error, title, Some(&summary));
            self.failing = true;
        }
        if well {
            let mut lost = self.lost.swap(0, Ordering::Relaxed);
            lost += self.file.as_mut().map_or(0, RotatingFile::take_lost);
            if self.failing || lost > 0 {
                log::error!("the audit log {shown} is written again; {lost} entries are not in it");
                self.broker.post_alarm(ALARM, Severity::Error, "", None);
                self.failing = false;
            }
        }
        well
    }
}

/// The newest entries in the files, in their order. What is no entry is passed by.
pub(super) fn newest(path: &Path, most: usize) -> Vec<Entry> {
    let mut found: Vec<Entry> = Vec::new();
    for file in RotatingFile::files(path, KEEP) {
        if found.len() >= most {
            break;
        }
        match entries(&file) {
            Ok(mut older) => {
                older.append(&mut found);
                found = older;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => log::error!("{}: {error}", file.display()),
        }
    }
    let surplus = found.len().saturating_sub(most);
    found.drain(..surplus);
    found
}

fn entries(path: &Path) -> io::Result<Vec<Entry>> {
    let file = BufReader::new(fs::File::open(path)?);
    let mut entries = Vec::new();
    for line in file.split(b'\n') {
        if let Ok(entry) = serde_json::from_slice(&line?) {
            entries.push(entry);
        }
    }
    Ok(entries)
}
