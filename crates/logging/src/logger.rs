//! The logger: what the `log` crate calls, the thread that writes, and the handle to both.

use crate::clock::Clock;
use crate::line::{self, MAX_MESSAGE, Message};
use crate::queue::{Item, Queue};
use crate::rate::{Admission, Rate};
use crate::sinks::{Level, Sinks};
use crate::{crash, syslog};
use emqttd_config::{Log, LogLevel};
use jiff::Timestamp;
use parking_lot::Mutex;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// Lines that may wait for the writing thread, and their bytes.
const MAX_LINES: usize = 8192;
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// How long a flush waits, at the end of the process too.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long drops are counted before they are reported.
const REPORT_AFTER: Duration = Duration::from_secs(1);

/// What stands in the queue.
pub(crate) enum Entry {
    Line {
        time: Timestamp,
        severity: LogLevel,
        message: String,
    },
    Crash {
        time: Timestamp,
        message: String,
        backtrace: String,
    },
    /// Messages were dropped for their rate: report it in a second.
    Limited,
    Reopen,
}

impl Item for Entry {
    fn size(&self) -> usize {
        let text = match self {
            Entry::Line { message, .. } => message.len(),
            Entry::Crash {
                message, backtrace, ..
            } => message.len() + backtrace.len(),
            Entry::Limited | Entry::Reopen => 0,
        };
        text + size_of::<Entry>()
    }
}

/// What the threads that log, the one that writes and the handles have in common.
pub(crate) struct Shared {
    pub(crate) queue: Queue<Entry>,
    clock: Clock,
    rate: Mutex<Rate>,
    limit: u32,
    console_level: Arc<Level>,
    /// Lowest severity that anything but the console wants.
    fixed_level: LogLevel,
    has_console: bool,
    writer: OnceLock<ThreadId>,
}

impl Shared {
    /// Opens the sinks and starts the thread that writes.
    fn start(log: &Log, clock: Clock, syslog_socket: PathBuf) -> io::Result<Arc<Shared>> {
        let console_level = Arc::new(Level::new(log.console_level));
        let sinks = Sinks::open(log, clock.clone(), console_level.clone(), syslog_socket)?;
        let shared = Arc::new(Shared {
            queue: Queue::new(MAX_LINES, MAX_BYTES),
            clock,
            rate: Mutex::new(Rate::new(log.messages_per_second)),
            limit: log.messages_per_second,
            console_level,
            fixed_level: sinks.fixed_level(),
            has_console: sinks.has_console(),
            writer: OnceLock::new(),
        });
        let writer = Writer {
            shared: shared.clone(),
            sinks,
            report_at: None,
        };
        std::thread::Builder::new()
            .name("log".into())
            .spawn(move || writer.run())?;
        Ok(shared)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn is_writer(&self, thread: ThreadId) -> bool {
        self.writer.get() == Some(&thread)
    }

    /// The lowest severity that anything wants.
    fn level(&self) -> LogLevel {
        if self.has_console {
            self.fixed_level.min(self.console_level.get())
        } else {
            self.fixed_level
        }
    }
}

impl log::Log for Shared {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        line::severity(metadata) >= self.level()
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let severity = line::severity(record.metadata());
        let time = self.now();
        // The lock is let go before anything is formatted: a Display may log.
        let admission = self.rate.lock().admit(severity, time.as_second());
        match admission {
            Admission::Write => self.queue.put(Entry::Line {
                time,
                severity,
                message: Message::format(MAX_MESSAGE, *record.args()),
            }),
            Admission::DropFirst => self.queue.put_always(Entry::Limited),
            Admission::Drop => {}
        }
    }

    fn flush(&self) {
        self.queue.flush(PATIENCE);
    }
}

/// The thread that writes.
struct Writer {
    shared: Arc<Shared>,
    sinks: Sinks,
    /// When to say how many messages were dropped for their rate.
    report_at: Option<Instant>,
}

impl Writer {
    fn run(mut self) {
        // Set once, here; it cannot be set already.
        let _ = self.shared.writer.set(std::thread::current().id());
        loop {
            let batch = self.shared.queue.take(self.report_at);
            let count = batch.items.len() as u64;
            for entry in batch.items {
                self.write(entry);
            }
            if batch.dropped > 0 {
                self.report(batch.dropped, "more than could be written");
            }
            if batch.closed || self.report_at.is_some_and(|at| at <= Instant::now()) {
                self.report_limited();
            }
            self.sinks.flush();
            self.shared.queue.finish(count);
            if batch.closed {
                return;
            }
        }
    }

    fn write(&mut self, entry: Entry) {
        match entry {
            Entry::Line {
                time,
                severity,
                message,
            } => self.sinks.write(time, severity, &message),
            Entry::Crash {
                time,
                message,
                backtrace,
            } => self.sinks.write_crash(time, &message, &backtrace),
            Entry::Limited => self.report_at = Some(Instant::now() + REPORT_AFTER),
            Entry::Reopen => self.sinks.reopen(),
        }
    }

    fn report_limited(&mut self) {
        self.report_at = None;
        let dropped = self.shared.rate.lock().take_dropped();
        if dropped > 0 {
            let limit = self.shared.limit;
            self.report(
                dropped,
                &format!("more than {limit} a second (log.error.messages_per_second)"),
            );
        }
    }

    fn report(&mut self, dropped: u64, why: &str) {
        let text = format!("{dropped} messages of the log were dropped: {why}");
        self.sinks.write(self.shared.now(), LogLevel::Error, &text);
    }
}

/// Handle to the log of the process; clones are cheap. The last one that goes writes out what is
/// still queued.
#[derive(Clone)]
pub struct Handle(Arc<Owner>);

struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        log::Log::flush(&*self.0);
    }
}

/// The `log` crate wants to own its logger.
struct Global(Arc<Shared>);

impl log::Log for Global {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &log::Record<'_>) {
        self.0.log(record);
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// Opens the log, makes it the logger of the process, and writes a crash report for every panic
/// from now on. Once in a process, and after it has become a daemon: there is a thread.
///
/// # Errors
/// A directory cannot be made, a file not be opened (the message names it), the thread not be
/// started, or there is a logger already.
pub fn init(log: &Log) -> Result<Handle, io::Error> {
    let shared = Shared::start(log, Clock::system(), syslog::SOCKET.into())?;
    log::set_boxed_logger(Box::new(Global(shared.clone()))).map_err(io::Error::other)?;
    log::set_max_level(line::filter(shared.level()));
    crash::install(shared.clone());
    Ok(Handle(Arc::new(Owner(shared))))
}

impl Handle {
    /// `log.console.level` of a running broker.
    pub fn set_console_level(&self, level: LogLevel) {
        let shared = &self.0.0;
        shared.console_level.set(level);
        log::set_max_level(line::filter(shared.level()));
    }

    /// Opens the files anew, after a tool outside has moved them away; returns when it is done.
    pub fn reopen(&self) {
        let queue = &self.0.0.queue;
        queue.put_always(Entry::Reopen);
        queue.flush(PATIENCE);
    }

    /// Waits, two seconds at most, until everything logged so far is written.
    pub fn flush(&self) {
        log::Log::flush(&*self.0.0);
    }
}

#[cfg(test)]
#[path = "logger_tests.rs"]
pub(crate) mod test;
