//! Traces that are started over the network: into files that we name, below the log directory, and read from there.

use crate::Core;
use emqttd_broker::{AdminError, TraceInfo, TraceTarget};
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::SystemTime;

/// Most bytes of a trace that are read at a time.
const MAX_TAIL: usize = 1 << 20;

/// Traces at a time.
const MOST: usize = 32;

/// Files kept of traces that do not run any more.
const MOST_OLD: usize = 64;

/// Longest client identifier or topic, bytes, as in MQTT.
const MAX_NAME: usize = 65_535;

/// What a trace follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceKind {
    /// packets of one client
    Client,
    /// publishes to one topic
    Topic,
}

impl TraceKind {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            TraceKind::Client => "client",
            TraceKind::Topic => "topic",
        }
    }
}

impl fmt::Display for TraceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TraceKind {
    type Err = String;

    fn from_str(name: &str) -> Result<TraceKind, String> {
        match name {
            "client" => Ok(TraceKind::Client),
            "topic" => Ok(TraceKind::Topic),
            _ => Err("a trace is of a client or of a topic".into()),
        }
    }
}

/// A trace that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// what it follows
    pub kind: TraceKind,
    /// which client, or topic
    pub name: String,
    /// where it writes
    pub file: String,
    /// bytes of the file
    pub size: u64,
    /// it writes where [`Traces::tail`] reads; those that `emqttd_ctl` started may write anywhere
    pub ours: bool,
}

/// The end of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// whole lines
    pub text: String,
    /// bytes of the whole file
    pub size: u64,
}

/// Why something could not be done with a trace. As text, a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TraceError {
    /// it runs already
    Exists,
    /// there is none, or nothing was written
    NotFound,
    /// it can be the name of no client, or topic
    BadName(String),
    /// there are as many as there may be
    TooMany,
    /// what the system said
    Io(String),
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TraceError::Exists => f.write_str("it is traced already"),
            TraceError::NotFound => f.write_str("there is no such trace"),
            TraceError::BadName(why) | TraceError::Io(why) => f.write_str(why),
            TraceError::TooMany => write!(f, "there are {MOST} traces already"),
        }
    }
}

impl std::error::Error for TraceError {}

impl From<io::Error> for TraceError {
    fn from(error: io::Error) -> TraceError {
        match error.kind() {
            io::ErrorKind::NotFound => TraceError::NotFound,
            _ => TraceError::Io(error.to_string()),
        }
    }
}

/// The traces of a broker.
pub struct Traces<'a>(pub(crate) &'a Core);

impl Traces<'_> {
    /// Those that run.
    pub fn list(&self) -> Vec<Trace> {
        let running = self.0.broker.traces();
        running.into_iter().map(|trace| self.row(trace)).collect()
    }

    fn row(&self, trace: TraceInfo) -> Trace {
        let (kind, name) = match trace.target {
            TraceTarget::Client(id) => (TraceKind::Client, id),
            TraceTarget::Topic(topic) => (TraceKind::Topic, topic),
        };
        Trace {
            ours: trace.file == self.file(kind, &name),
            size: fs::metadata(&trace.file).map_or(0, |data| data.len()),
            file: trace.file.display().to_string(),
            kind,
            name,
        }
    }

    /// Starts a trace. What an earlier one of the same name has written goes.
    ///
    /// # Errors
    /// See [`TraceError`].
    pub fn start(&self, kind: TraceKind, name: &str) -> Result<Trace, TraceError> {
        check(kind, name)?;
        let target = target(kind, name);
        let _alone = self.0.tracing();
        let running = self.0.broker.traces();
        if running.iter().any(|trace| trace.target == target) {
            return Err(TraceError::Exists);
        }
        if running.len() >= MOST {
            return Err(TraceError::TooMany);
        }
        let file = self.file(kind, name);
        self.clear_away(&running, &file);
        // Emptied and not deleted: a connection that has not heard of the end of an earlier trace may hold it open.
        match File::options().write(true).truncate(true).open(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(TraceError::Io(format!("{}: {error}", file.display())));
            }
            _ => {}
        }
        let started = self.0.broker.trace_start(target.clone(), &file);
        started.map_err(|error| TraceError::Io(error.to_string()))?;
        Ok(self.row(TraceInfo { target, file }))
    }

    /// Deletes the oldest files of traces that do not run, as long as there are more than are kept.
    fn clear_away(&self, running: &[TraceInfo], wanted: &Path) {
        let Ok(entries) = fs::read_dir(self.dir()) else {
            return;
        };
        let mut old: Vec<(SystemTime, PathBuf)> = entries
            .flatten()
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .filter(|(_, path)| is_ours(path) && path != wanted)
            .filter(|(_, path)| running.iter().all(|trace| trace.file != *path))
            .collect();
        old.sort_unstable();
        let surplus = old.len().saturating_sub(MOST_OLD);
        for (_, path) in &old[..surplus] {
            if let Err(error) = fs::remove_file(path) {
                log::warn!("{}: {error}", path.display());
            }
        }
    }

    /// Ends a trace, whoever started it. Its file stays.
    ///
    /// # Errors
    /// [`TraceError::NotFound`].
    pub fn stop(&self, kind: TraceKind, name: &str) -> Result<(), TraceError> {
        let stopped = self.0.broker.trace_stop(target(kind, name));
        stopped.map_err(|error| match error {
            AdminError::NotFound => TraceError::NotFound,
            other => TraceError::Io(other.to_string()),
        })
    }

    /// The last lines of a trace that was started here, whether it runs or not: `bytes` at most, and at most 1 MB.
    ///
    /// # Errors
    /// [`TraceError::NotFound`], [`TraceError::Io`].
    pub fn tail(&self, kind: TraceKind, name: &str, bytes: usize) -> Result<Tail, TraceError> {
        let mut file = File::open(self.file(kind, name))?;
        let size = file.metadata()?.len();
        let wanted = bytes.min(MAX_TAIL) as u64;
        let skipped = size.saturating_sub(wanted);
        file.seek(SeekFrom::Start(skipped))?;
        let mut end = Vec::new();
        file.take(wanted).read_to_end(&mut end)?;
        let text = String::from_utf8_lossy(&end);
        // The first line may have lost its beginning.
        let text = match text.split_once('\n').filter(|_| skipped > 0) {
            Some((_, whole)) => whole.to_owned(),
            None => text.into_owned(),
        };
        Ok(Tail { text, size })
    }

    /// Where a trace that is started here writes. The name is a hint for people, and the hash keeps it apart from others.
    fn file(&self, kind: TraceKind, name: &str) -> PathBuf {
        let fit = |c: char| match c.is_ascii_alphanumeric() || "-_".contains(c) {
            true => c,
            false => '_',
        };
        let hint: String = name.chars().take(40).map(fit).collect();
        let hash = Sha256::digest(name);
        let hash: String = hash
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        self.dir().join(format!("{kind}-{hint}-{hash}.log"))
    }

    fn dir(&self) -> PathBuf {
        self.0.broker.settings().log.dir.join("trace")
    }
}

/// Whether [`Traces::file`] may have made that name.
fn is_ours(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let kinds = [TraceKind::Client, TraceKind::Topic];
    name.and_then(|name| name.strip_suffix(".log"))
        .and_then(|name| name.split_once('-'))
        .is_some_and(|(kind, _)| kinds.iter().any(|known| known.as_str() == kind))
}

fn target(kind: TraceKind, name: &str) -> TraceTarget {
    match kind {
        TraceKind::Client => TraceTarget::Client(name.into()),
        TraceKind::Topic => TraceTarget::Topic(name.into()),
    }
}

fn check(kind: TraceKind, name: &str) -> Result<(), TraceError> {
    let why = if name.is_empty() || name.len() > MAX_NAME {
        format!("a name has 1 to {MAX_NAME} bytes")
    } else if name.contains('\0') {
        "a name has no character U+0000".to_string()
    } else if kind == TraceKind::Topic && name.contains(['+', '#']) {
        "a topic without wildcards is traced".to_string()
    } else {
        return Ok(());
    };
    Err(TraceError::BadName(why))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::Site;

    #[test]
    fn started_read_and_stopped() {
        let site = Site::new();
        let traces = site.core.traces();
        let trace = traces.start(TraceKind::Client, "../../etc/passwd").unwrap();
        assert!(trace.ours);
        let dir = site.core.broker.settings().log.dir.join("trace");
        let path = Path::new(&trace.file);
        assert_eq!(path.parent(), Some(dir.as_path()), "{}", trace.file);
        assert_eq!(traces.list(), std::slice::from_ref(&trace));
        assert_eq!(
            traces.start(TraceKind::Client, "../../etc/passwd"),
            Err(TraceError::Exists)
        );
        fs::write(path, "one\ntwo\nthree\n").unwrap();
        let tail = |bytes| traces.tail(TraceKind::Client, "../../etc/passwd", bytes);
        assert_eq!(tail(100).unwrap().text, "one\ntwo\nthree\n");
        let end = tail(8).unwrap();
        assert_eq!((end.text.as_str(), end.size), ("three\n", 14));
        traces.stop(TraceKind::Client, "../../etc/passwd").unwrap();
        assert_eq!(traces.list(), []);
        assert_eq!(tail(6).unwrap().text, "");
        assert_eq!(
            traces.stop(TraceKind::Client, "../../etc/passwd"),
            Err(TraceError::NotFound)
        );
        // Begun anew: what was written before is not taken for what happens now.
        let again = traces.start(TraceKind::Client, "../../etc/passwd").unwrap();
        assert_eq!(again.size, 0);
    }

    #[test]
    fn what_the_command_line_started_is_listed_and_not_read() {
        let site = Site::new();
        let traces = site.core.traces();
        let file = site.dir.path().join("elsewhere");
        let target = TraceTarget::Topic("t".into());
        site.core.broker.trace_start(target, &file).unwrap();
        let [trace] = &traces.list()[..] else {
            panic!("one trace")
        };
        assert!(!trace.ours);
        let read = traces.tail(TraceKind::Topic, "t", 100);
        assert_eq!(read, Err(TraceError::NotFound));
    }

    #[test]
    fn names_and_numbers_are_bounded() {
        let site = Site::new();
        let traces = site.core.traces();
        let refused = |kind, name: &str| {
            let answer = traces.start(kind, name);
            assert!(matches!(answer, Err(TraceError::BadName(_))), "{name:?}");
        };
        refused(TraceKind::Client, "");
        refused(TraceKind::Client, "a\0b");
        refused(TraceKind::Topic, "a/+");
        refused(TraceKind::Topic, &"x".repeat(MAX_NAME + 1));
        for n in 0..MOST {
            traces.start(TraceKind::Topic, &n.to_string()).unwrap();
        }
        assert_eq!(
            traces.start(TraceKind::Topic, "more"),
            Err(TraceError::TooMany)
        );
    }

    #[test]
    fn files_of_traces_that_ended_do_not_pile_up() {
        let site = Site::new();
        let traces = site.core.traces();
        let first = traces.start(TraceKind::Client, "runs on").unwrap();
        let dir = site.core.broker.settings().log.dir.join("trace");
        fs::write(dir.join("notes.txt"), "not ours").unwrap();
        for n in 0..2 * MOST_OLD {
            let name = n.to_string();
            traces.start(TraceKind::Client, &name).unwrap();
            traces.stop(TraceKind::Client, &name).unwrap();
        }
        let files = fs::read_dir(&dir).unwrap().count();
        // That of the one that has just ended, and the two others.
        assert_eq!(files, MOST_OLD + 3);
        assert!(Path::new(&first.file).exists());
        assert!(dir.join("notes.txt").exists());
        assert!(traces.tail(TraceKind::Client, "0", 10).is_err());
    }

    #[test]
    fn of_two_that_start_it_at_once_one_does() {
        let site = Site::new();
        for round in 0..50 {
            let name = round.to_string();
            let start = || site.core.traces().start(TraceKind::Topic, &name).is_ok();
            let started = std::thread::scope(|scope| {
                let all: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
                all.into_iter()
                    .map(|one| one.join().unwrap())
                    .filter(|well| *well)
                    .count()
            });
            assert_eq!(started, 1, "{round}");
            site.core.traces().stop(TraceKind::Topic, &name).unwrap();
        }
    }
}
