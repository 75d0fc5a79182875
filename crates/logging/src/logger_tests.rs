#![allow(clippy::unwrap_used)]

use super::*;
use crate::clock::test::Stopped;
use emqttd_config::{LogConsole, LogFile, Syslog};
use log::Log as _;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory of one test, removed at its end.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Directory {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("emqttd-logging-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn settings(directory: &Directory) -> Log {
    let file = |name: &str| LogFile {
        path: directory.path(name),
        size: 0,
        count: 3,
    };
    Log {
        dir: directory.path("log"),
        console: LogConsole::File,
        console_level: LogLevel::Warning,
        console_file: file("log/console.log"),
        info: Some(file("log/info.log")),
        error: Some(file("log/error.log")),
        messages_per_second: 0,
        crash: Some(directory.path("log/crash.log")),
        syslog: None,
    }
}

/// Closes the queue at its end, so that the thread goes.
struct Running(Arc<Shared>);

impl Running {
    fn start(log: &Log, clock: &Stopped, directory: &Directory) -> Running {
        Running(Shared::start(log, clock.clock(), directory.path("syslog")).unwrap())
    }

    fn log(&self, level: log::Level, target: &str, message: &str) {
        let mut record = log::Record::builder();
        self.0.log(
            &record
                .level(level)
                .target(target)
                .args(format_args!("{message}"))
                .build(),
        );
    }

    fn flush(&self) {
        assert!(self.0.queue.flush(Duration::from_secs(60)));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.queue.close();
    }
}

#[test]
fn each_file_gets_its_severities() {
    let directory = Directory::new();
    let clock = Stopped::at("2026-11-22T21:41:42.414Z");
    let log = Running::start(&settings(&directory), &clock, &directory);
    log.log(log::Level::Debug, "x", "d");
    log.log(log::Level::Info, "x", "i");
    log.log(log::Level::Info, "notice", "n");
    log.log(log::Level::Warn, "x", "w");
    log.log(log::Level::Error, "x", "two\nlines");
    log.log(log::Level::Error, "alert", "a");
    log.flush();
    let lines = [
        "2026-11-22 21:41:42.414 [info] i\n",
        "2026-11-22 21:41:42.414 [notice] n\n",
        "2026-11-22 21:41:42.414 [warning] w\n",
        "2026-11-22 21:41:42.414 [error] two\\nlines\n",
        "2026-11-22 21:41:42.414 [alert] a\n",
    ];
    assert_eq!(directory.read("log/info.log"), lines.concat());
    assert_eq!(directory.read("log/console.log"), lines[2..].concat());
    assert_eq!(directory.read("log/error.log"), lines[3..].concat());
}

#[test]
fn the_level_of_the_console_changes_while_running() {
    let directory = Directory::new();
    let mut settings = settings(&directory);
    settings.info = None;
    let clock = Stopped::at("2026-11-22T21:41:42Z");
    let log = Running::start(&settings, &clock, &directory);
    assert_eq!(log.0.level(), LogLevel::Warning);
    log.log(log::Level::Debug, "x", "before");
    log.0.console_level.set(LogLevel::Debug);
    assert_eq!(log.0.level(), LogLevel::Debug);
    log.log(log::Level::Debug, "x", "after");
    log.flush();
    log.0.console_level.set(LogLevel::None);
    assert_eq!(log.0.level(), LogLevel::Error, "the error file remains");
    log.log(log::Level::Error, "x", "only there");
    log.flush();
    assert_eq!(
        directory.read("log/console.log"),
        "2026-11-22 21:41:42.000 [debug] after\n"
    );
    assert_eq!(
        directory.read("log/error.log"),
        "2026-11-22 21:41:42.000 [error] only there\n"
    );
}

#[test]
fn keys_that_name_one_file_share_it() {
    let directory = Directory::new();
    let mut settings = settings(&directory);
    settings.info = None;
    settings.error = Some(settings.console_file.clone());
    settings.console_level = LogLevel::None;
    let clock = Stopped::at("2026-11-22T21:41:42Z");
    let log = Running::start(&settings, &clock, &directory);
    log.log(log::Level::Error, "x", "once");
    log.0.console_level.set(LogLevel::Info);
    log.log(log::Level::Info, "x", "too");
    log.flush();
    assert_eq!(
        directory.read("log/console.log"),
        "2026-11-22 21:41:42.000 [error] once\n2026-11-22 21:41:42.000 [info] too\n"
    );
}

#[test]
fn files_are_rotated_at_midnight() {
    let directory = Directory::new();
    let clock = Stopped::at("2026-11-22T23:59:59.999Z");
    let log = Running::start(&settings(&directory), &clock, &directory);
    log.log(log::Level::Error, "x", "old");
    clock.set("2026-11-23T00:00:00Z");
    log.log(log::Level::Error, "x", "new");
    log.flush();
    for file in ["console", "info", "error"] {
        assert_eq!(
            directory.read(&format!("log/{file}.log.0")),
            "2026-11-22 23:59:59.999 [error] old\n"
        );
        assert_eq!(
            directory.read(&format!("log/{file}.log")),
            "2026-11-23 00:00:00.000 [error] new\n"
        );
    }
}

#[test]
fn what_exceeds_the_rate_is_counted_in_one_line() {
    let directory = Directory::new();
    let mut settings = settings(&directory);
    settings.messages_per_second = 3;
    let clock = Stopped::at("2026-11-22T12:00:00Z");
    let log = Running::start(&settings, &clock, &directory);
    for number in 0..10 {
        log.log(log::Level::Error, "x", &number.to_string());
    }
    clock.set("2026-11-22T12:00:01Z");
    log.log(log::Level::Error, "x", "next second");
    // The report comes by itself; there is no line that would bring it.
    let deadline = Instant::now() + Duration::from_secs(60);
    let expected = "2026-11-22 12:00:00.000 [error] 0\n\
                    2026-11-22 12:00:00.000 [error] 1\n\
                    2026-11-22 12:00:00.000 [error] 2\n\
                    2026-11-22 12:00:01.000 [error] next second\n\
                    2026-11-22 12:00:01.000 [error] 7 messages of the log were dropped: more than 3 a second (log.error.messages_per_second)\n";
    while directory.read("log/error.log") != expected && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!(directory.read("log/error.log"), expected);
}

#[test]
fn a_full_queue_drops_and_says_so() {
    let directory = Directory::new();
    let clock = Stopped::at("2026-11-22T12:00:00Z");
    let log = Running::start(&settings(&directory), &clock, &directory);
    // More than the queue may hold, faster than a thread can write it to three files.
    let long = "x".repeat(MAX_MESSAGE);
    for _ in 0..4 * MAX_BYTES / MAX_MESSAGE {
        log.log(log::Level::Error, "x", &long);
    }
    log.flush();
    log.log(log::Level::Error, "x", "end");
    log.flush();
    let text = directory.read("log/error.log");
    let written = text.lines().filter(|line| line.ends_with("xx")).count();
    let dropped: usize = text
        .lines()
        .filter_map(|line| {
            line.strip_suffix(" messages of the log were dropped: more than could be written")
        })
        .map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap())
        .sum();
    assert_eq!(
        written + dropped,
        4 * MAX_BYTES / MAX_MESSAGE,
        "nothing goes uncounted"
    );
}

#[test]
fn errors_go_to_syslog() {
    let directory = Directory::new();
    let daemon = UnixDatagram::bind(directory.path("syslog")).unwrap();
    daemon
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let mut settings = settings(&directory);
    settings.syslog = Some(Syslog {
        identity: "broker".into(),
        facility: 3,
        level: LogLevel::Error,
    });
    let clock = Stopped::at("2026-11-22T12:00:00Z");
    let log = Running::start(&settings, &clock, &directory);
    log.log(log::Level::Warn, "x", "not this");
    log.log(log::Level::Error, "critical", "this");
    let mut buffer = [0; 1024];
    let length = daemon.recv(&mut buffer).unwrap();
    let expected = format!(
        "<26>Nov 22 12:00:00 broker[{}]: [critical] this",
        std::process::id()
    );
    assert_eq!(std::str::from_utf8(&buffer[..length]).unwrap(), expected);
}

#[test]
fn a_missing_syslog_is_told_to_the_files() {
    let directory = Directory::new();
    let mut settings = settings(&directory);
    settings.syslog = Some(Syslog {
        identity: "broker".into(),
        facility: 3,
        level: LogLevel::Error,
    });
    let clock = Stopped::at("2026-11-22T12:00:00Z");
    let log = Running::start(&settings, &clock, &directory);
    log.log(log::Level::Error, "x", "one");
    log.log(log::Level::Error, "x", "two");
    log.flush();
    let text = directory.read("log/error.log");
    assert_eq!(
        text.matches("syslog does not take messages").count(),
        1,
        "{text}"
    );
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let directory = Directory::new();
    let mut settings = settings(&directory);
    std::fs::write(directory.path("file"), "").unwrap();
    settings.error.as_mut().unwrap().path = directory.path("file/error.log");
    let error = Shared::start(&settings, Clock::system(), directory.path("syslog"))
        .err()
        .unwrap();
    assert!(error.to_string().contains("file/error.log"), "{error}");
}

#[test]
fn reopened_files() {
    let directory = Directory::new();
    let clock = Stopped::at("2026-11-22T12:00:00Z");
    let log = Running::start(&settings(&directory), &clock, &directory);
    log.log(log::Level::Error, "x", "one");
    log.flush();
    std::fs::rename(directory.path("log/error.log"), directory.path("moved")).unwrap();
    log.0.queue.put_always(Entry::Reopen);
    log.log(log::Level::Error, "x", "two");
    log.flush();
    assert!(directory.read("moved").ends_with("one\n"));
    assert!(directory.read("log/error.log").ends_with("two\n"));
}

/// Runs one of the functions below in a process of its own.
fn in_child(test: &str, directory: &Directory) -> std::process::Output {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            &format!("logger::test::{test}"),
            "--nocapture",
            "--include-ignored",
        ])
        .env("EMQTTD_LOGGING_TEST_DIR", &directory.0)
        .env("TZ", "Asia/Tokyo")
        .output()
        .unwrap()
}

/// The directory, in a child.
fn directory_of_child() -> Option<Directory> {
    std::env::var_os("EMQTTD_LOGGING_TEST_DIR").map(|path| Directory(path.into()))
}

#[test]
fn a_panic_leaves_a_report() {
    let directory = Directory::new();
    let child = in_child("child_that_panics", &directory);
    let crash = directory.read("log/crash.log");
    let first = crash.lines().next().unwrap();
    assert!(
        first.contains(" [critical] thread 'shard-7' panicked at "),
        "{first}"
    );
    assert!(first.ends_with(r": the message\nof a client"), "{first}");
    assert!(crash.contains("child_that_panics"), "a backtrace: {crash}");
    assert!(crash.lines().skip(1).all(|line| line.starts_with("    ")));
    let error = directory.read("log/error.log");
    assert!(
        error.contains("[error] before\n") && error.contains(&crash),
        "{error}"
    );
    let stderr = String::from_utf8_lossy(&child.stderr);
    assert!(
        stderr.contains("the message\nof a client"),
        "as without us: {stderr}"
    );
}

#[test]
#[ignore = "a part of a_panic_leaves_a_report"]
fn child_that_panics() {
    let Some(directory) = directory_of_child() else {
        return;
    };
    let handle = init(&settings(&directory)).unwrap();
    std::mem::forget(directory);
    log::error!("before");
    let message = "the message\nof a client";
    let thread = std::thread::Builder::new().name("shard-7".into());
    assert!(
        thread
            .spawn(move || panic!("{message}"))
            .unwrap()
            .join()
            .is_err()
    );
    // No flush: the report is there when the panic has gone through.
    std::mem::forget(handle);
    std::process::exit(0);
}

#[test]
fn the_end_of_the_process_loses_nothing() {
    let directory = Directory::new();
    let child = in_child("child_that_ends", &directory);
    assert!(child.status.success(), "{child:?}");
    let console = directory.read("log/console.log");
    let lines: Vec<_> = console
        .lines()
        .map(|line| line.split_once(' ').unwrap().1)
        .collect();
    assert_eq!(lines.len(), 1000);
    assert!(lines[999].ends_with(" [notice] 999"), "{}", lines[999]);
    let stdout = String::from_utf8_lossy(&child.stdout);
    assert!(stdout.contains(console.as_str()), "both");
    // Local time: nine hours ahead of what a clock in UTC shows, give or take the run of the test.
    let stamp = jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S%.3f", &console[..23]).unwrap();
    let tokyo = jiff::tz::TimeZone::fixed(jiff::tz::offset(9));
    let age = Timestamp::now().duration_since(stamp.to_zoned(tokyo).unwrap().timestamp());
    assert!(age.as_secs().abs() < 600, "{stamp}");
}

#[test]
#[ignore = "a part of the_end_of_the_process_loses_nothing"]
fn child_that_ends() {
    let Some(directory) = directory_of_child() else {
        return;
    };
    let mut settings = settings(&directory);
    settings.console = LogConsole::Both;
    settings.info = None;
    let handle = init(&settings).unwrap();
    std::mem::forget(directory);
    crate::notice!("not yet");
    handle.set_console_level(LogLevel::Notice);
    log::info!("nor this");
    for number in 0..1000 {
        crate::notice!("{number}");
    }
    drop(handle);
    std::process::exit(0);
}
