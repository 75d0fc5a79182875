//! Where lines go.

use crate::clock::Clock;
use crate::file::RotatingFile;
use crate::line::name;
use crate::syslog::SyslogSink;
use emqttd_config::{Log, LogConsole, LogFile, LogLevel};
use jiff::{Timestamp, Zoned};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// `log.crash.file` has no keys for its rotation.
const CRASH_SIZE: u64 = 10 * 1024 * 1024;
const CRASH_KEEP: u32 = 5;

const LEVELS: [LogLevel; 9] = [
    LogLevel::Debug,
    LogLevel::Info,
    LogLevel::Notice,
    LogLevel::Warning,
    LogLevel::Error,
    LogLevel::Critical,
    LogLevel::Alert,
    LogLevel::Emergency,
    LogLevel::None,
];

/// A level that another thread may change.
pub(crate) struct Level(AtomicU8);

impl Level {
    pub(crate) fn new(level: LogLevel) -> Level {
        Level(AtomicU8::new(level as u8))
    }

    pub(crate) fn get(&self) -> LogLevel {
        let index = usize::from(self.0.load(Ordering::Relaxed));
        LEVELS.get(index).copied().unwrap_or(LogLevel::None)
    }

    pub(crate) fn set(&self, level: LogLevel) {
        self.0.store(level as u8, Ordering::Relaxed);
    }
}

/// A file and what goes into it. Keys that name the same file share it.
struct FileSink {
    file: RotatingFile,
    /// Lines of the console, by the console's level.
    console: bool,
    /// Lines of this severity and above.
    level: LogLevel,
}

pub(crate) struct Sinks {
    clock: Clock,
    console_level: Arc<Level>,
    stdout: bool,
    stdout_pending: Vec<u8>,
    files: Vec<FileSink>,
    crash: Option<RotatingFile>,
    syslog: Option<SyslogSink>,
    line: String,
    /// Failures of sinks, to be told to the others.
    problems: Vec<String>,
}

impl Sinks {
    /// Opens every file of the settings.
    ///
    /// # Errors
    /// A directory cannot be made or a file not be opened; the message names it.
    pub(crate) fn open(
        log: &Log,
        clock: Clock,
        console_level: Arc<Level>,
        syslog_socket: PathBuf,
    ) -> io::Result<Sinks> {
        std::fs::create_dir_all(&log.dir).map_err(|error| named(&log.dir, error))?;
        let mut sinks = Sinks {
            stdout: matches!(log.console, LogConsole::Console | LogConsole::Both),
            stdout_pending: Vec::new(),
            files: Vec::new(),
            crash: None,
            syslog: log
                .syslog
                .clone()
                .map(|settings| SyslogSink::new(settings, syslog_socket)),
            line: String::new(),
            problems: Vec::new(),
            clock,
            console_level,
        };
        if matches!(log.console, LogConsole::File | LogConsole::Both) {
            sinks.add_file(&log.console_file, true, LogLevel::None)?;
        }
        if let Some(file) = &log.info {
            sinks.add_file(file, false, LogLevel::Info)?;
        }
        if let Some(file) = &log.error {
            sinks.add_file(file, false, LogLevel::Error)?;
        }
        if let Some(path) = &log.crash
            && !sinks.files.iter().any(|sink| sink.file.path() == path)
        {
            sinks.crash = Some(sinks.open_file(path, CRASH_SIZE, CRASH_KEEP)?);
        }
        Ok(sinks)
    }

    fn add_file(&mut self, settings: &LogFile, console: bool, level: LogLevel) -> io::Result<()> {
        let same = |sink: &&mut FileSink| sink.file.path() == settings.path;
        if let Some(sink) = self.files.iter_mut().find(same) {
            sink.console |= console;
            sink.level = sink.level.min(level);
            return Ok(());
        }
        let file = self.open_file(&settings.path, settings.size, settings.count)?;
        self.files.push(FileSink {
            file,
            console,
            level,
        });
        Ok(())
    }

    fn open_file(&self, path: &Path, size: u64, keep: u32) -> io::Result<RotatingFile> {
        let day_of = |time| {
            let time = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
            self.clock.local(time).date()
        };
        RotatingFile::open(path.to_owned(), size, keep, day_of).map_err(|error| named(path, error))
    }

    /// The lowest severity that anything but the console wants; `None` when there is nothing else.
    pub(crate) fn fixed_level(&self) -> LogLevel {
        let files = self.files.iter().map(|sink| sink.level);
        let syslog = self.syslog.iter().map(SyslogSink::level);
        files.chain(syslog).min().unwrap_or(LogLevel::None)
    }

    /// Whether the console's level has any effect.
    pub(crate) fn has_console(&self) -> bool {
        self.stdout || self.files.iter().any(|sink| sink.console)
    }

    /// Adds a line to every sink that wants it; [`Sinks::flush`] writes it.
    pub(crate) fn write(&mut self, time: Timestamp, severity: LogLevel, message: &str) {
        let time = self.clock.local(time);
        self.start_line(&time, severity, message);
        self.add_line(&time, severity);
        self.send_syslog(&time, severity, message);
    }

    /// A panic: the message everywhere, with the backtrace in the crash file and wherever errors go.
    pub(crate) fn write_crash(&mut self, time: Timestamp, message: &str, backtrace: &str) {
        let severity = LogLevel::Critical;
        let time = self.clock.local(time);
        self.start_line(&time, severity, message);
        if self.stdout && severity >= self.console_level.get() {
            self.stdout_pending.extend_from_slice(self.line.as_bytes());
        }
        for line in backtrace.lines() {
            self.line.push_str("    ");
            self.line.push_str(line);
            self.line.push('\n');
        }
        self.add_to_files(&time, severity);
        if let Some(crash) = &mut self.crash
            && let Err(error) = crash.add(self.line.as_bytes(), time.date())
        {
            self.problems.push(rotation(crash.path(), &error));
        }
        self.send_syslog(&time, severity, message);
    }

    fn start_line(&mut self, time: &Zoned, severity: LogLevel, message: &str) {
        self.line.clear();
        let stamp = time.strftime("%Y-%m-%d %H:%M:%S%.3f");
        // Writing to a String does not fail.
        let _ = writeln!(self.line, "{stamp} [{}] {message}", name(severity));
    }

    fn add_line(&mut self, time: &Zoned, severity: LogLevel) {
        if self.stdout && severity >= self.console_level.get() {
            self.stdout_pending.extend_from_slice(self.line.as_bytes());
        }
        self.add_to_files(time, severity);
    }

    fn add_to_files(&mut self, time: &Zoned, severity: LogLevel) {
        let console_level = self.console_level.get();
        for sink in &mut self.files {
            let wanted = severity >= sink.level || (sink.console && severity >= console_level);
            if wanted && let Err(error) = sink.file.add(self.line.as_bytes(), time.date()) {
                self.problems.push(rotation(sink.file.path(), &error));
            }
        }
    }

    fn send_syslog(&mut self, time: &Zoned, severity: LogLevel, message: &str) {
        if let Some(syslog) = &mut self.syslog
            && severity >= syslog.level()
            && let Err(error) = syslog.send(time, severity, message)
        {
            self.problems
                .push(format!("syslog does not take messages: {error}"));
        }
    }

    /// Writes what was added. Failures of one sink are told to the others.
    pub(crate) fn flush(&mut self) {
        self.flush_once();
        let problems = std::mem::take(&mut self.problems);
        if problems.is_empty() {
            return;
        }
        let now = self.clock.now();
        for problem in problems {
            self.write(now, LogLevel::Error, &problem);
        }
        self.flush_once();
        // A sink that fails over telling of a failure has been told of.
        self.problems.clear();
    }

    fn flush_once(&mut self) {
        if !self.stdout_pending.is_empty() {
            let mut stdout = io::stdout().lock();
            // Standard output that is gone leaves nobody to tell.
            drop(
                stdout
                    .write_all(&self.stdout_pending)
                    .and_then(|()| stdout.flush()),
            );
            self.stdout_pending.clear();
        }
        let files = self.files.iter_mut().map(|sink| &mut sink.file);
        for file in files.chain(&mut self.crash) {
            if let Err(error) = file.flush() {
                let path = file.path().display();
                self.problems
                    .push(format!("{path} cannot be written: {error}"));
            }
            let lost = file.take_lost();
            if lost > 0 {
                let path = file.path().display();
                self.problems
                    .push(format!("{lost} lines of {path} were lost"));
            }
        }
    }

    /// Opens every file anew.
    pub(crate) fn reopen(&mut self) {
        let files = self.files.iter_mut().map(|sink| &mut sink.file);
        for file in files.chain(&mut self.crash) {
            if let Err(error) = file.reopen() {
                let path = file.path().display();
                self.problems
                    .push(format!("{path} cannot be opened: {error}"));
            }
        }
    }
}

fn rotation(path: &Path, error: &io::Error) -> String {
    format!("{} cannot be rotated: {error}", path.display())
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
