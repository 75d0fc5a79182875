//! Lines to the syslog daemon of the machine, as datagrams in the form of RFC 3164.

use crate::line::name;
use emqttd_config::{LogLevel, Syslog};
use jiff::Zoned;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Where the daemon listens.
pub(crate) const SOCKET: &str = "/dev/log";

/// How long after a failure the daemon is looked for again.
const RETRY: Duration = Duration::from_secs(1);

/// Daemons cut or refuse what is longer than some kilobytes.
const MAX_DATAGRAM: usize = 4096;

pub(crate) struct SyslogSink {
    path: PathBuf,
    settings: Syslog,
    socket: Option<UnixDatagram>,
    failed_at: Option<Instant>,
    /// Messages not delivered since the daemon failed.
    lost: u64,
}

impl SyslogSink {
    pub(crate) fn new(settings: Syslog, path: PathBuf) -> SyslogSink {
        SyslogSink {
            path,
            settings,
            socket: None,
            failed_at: None,
            lost: 0,
        }
    }

    pub(crate) fn level(&self) -> LogLevel {
        self.settings.level
    }

    /// Sends a message; never waits for a daemon that does not read.
    ///
    /// # Errors
    /// The first failure of a row.
    pub(crate) fn send(
        &mut self,
        time: &Zoned,
        severity: LogLevel,
        message: &str,
    ) -> io::Result<()> {
        if self.failed_at.is_some_and(|at| at.elapsed() < RETRY) {
            self.lost += 1;
            return Ok(());
        }
        let sent = self.try_send(time, severity, message);
        let first = self.failed_at.is_none();
        match sent {
            Ok(()) => {
                self.failed_at = None;
                let lost = std::mem::take(&mut self.lost);
                if lost > 0 {
                    let text = format!("{lost} messages could not be sent to syslog");
                    // Nobody is left to be told when this fails too.
                    drop(self.try_send(time, LogLevel::Warning, &text));
                }
                Ok(())
            }
            Err(error) => {
                self.socket = None;
                self.failed_at = Some(Instant::now());
                self.lost += 1;
                if first { Err(error) } else { Ok(()) }
            }
        }
    }

    fn try_send(&mut self, time: &Zoned, severity: LogLevel, message: &str) -> io::Result<()> {
        let mut datagram = format!(
            "<{}>{} {}[{}]: [{}] {message}",
            u32::from(self.settings.facility) * 8 + number(severity),
            time.strftime("%b %e %H:%M:%S"),
            self.settings.identity,
            std::process::id(),
            name(severity),
        );
        datagram.truncate(datagram.floor_char_boundary(MAX_DATAGRAM));
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => {
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                socket.connect(&self.path)?;
                socket
            }
        };
        let sent = socket.send(datagram.as_bytes());
        self.socket = Some(socket);
        sent.map(drop)
    }
}

/// The severity number of RFC 5424.
fn number(severity: LogLevel) -> u32 {
    match severity {
        LogLevel::Emergency => 0,
        LogLevel::Alert => 1,
        LogLevel::Critical => 2,
        LogLevel::Error => 3,
        LogLevel::Warning => 4,
        LogLevel::Notice => 5,
        LogLevel::Info => 6,
        LogLevel::Debug | LogLevel::None => 7,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::clock::test::Stopped;
    use crate::logger::test::Directory;

    fn receive(socket: &UnixDatagram) -> String {
        socket
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let mut buffer = [0; 8192];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    fn sink(path: PathBuf) -> SyslogSink {
        let settings = Syslog {
            identity: "emqttd".into(),
            facility: 16,
            level: LogLevel::Error,
        };
        SyslogSink::new(settings, path)
    }

    fn now() -> Zoned {
        let clock = Stopped::at("2026-11-02T21:41:42.414Z").clock();
        clock.local(clock.now())
    }

    #[test]
    fn a_message_is_a_datagram() {
        let directory = Directory::new();
        let daemon = UnixDatagram::bind(directory.path("log")).unwrap();
        let mut sink = sink(directory.path("log"));
        sink.send(&now(), LogLevel::Error, "disk full").unwrap();
        let id = std::process::id();
        assert_eq!(
            receive(&daemon),
            format!("<131>Nov  2 21:41:42 emqttd[{id}]: [error] disk full")
        );
        sink.send(&now(), LogLevel::Emergency, &"\u{e9}".repeat(4000))
            .unwrap();
        let long = receive(&daemon);
        assert!(long.starts_with("<128>") && long.len() <= MAX_DATAGRAM);
    }

    #[test]
    fn a_missing_daemon_is_reported_once_and_found_again() {
        let directory = Directory::new();
        let mut sink = sink(directory.path("log"));
        assert!(sink.send(&now(), LogLevel::Error, "1").is_err());
        assert!(sink.send(&now(), LogLevel::Error, "2").is_ok(), "not tried");
        sink.failed_at = Some(Instant::now() - RETRY);
        assert!(
            sink.send(&now(), LogLevel::Error, "3").is_ok(),
            "tried, not told again"
        );
        let daemon = UnixDatagram::bind(directory.path("log")).unwrap();
        sink.failed_at = Some(Instant::now() - RETRY);
        sink.send(&now(), LogLevel::Error, "4").unwrap();
        assert!(receive(&daemon).ends_with("[error] 4"));
        assert!(receive(&daemon).ends_with("3 messages could not be sent to syslog"));
    }

    #[test]
    fn a_daemon_that_does_not_read_is_not_waited_for() {
        let directory = Directory::new();
        let _daemon = UnixDatagram::bind(directory.path("log")).unwrap();
        let mut sink = sink(directory.path("log"));
        let failures = (0..100_000)
            .filter(|_| sink.send(&now(), LogLevel::Error, "x").is_err())
            .count();
        assert!(failures >= 1, "the buffer of a socket is smaller");
    }
}
