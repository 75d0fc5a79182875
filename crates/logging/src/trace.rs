//! Trace files: the packets of one client, or the publishes to one topic, as they pass.
//!
//! ```text
//! 21:41:42.414 [debug] Client(c1@127.0.0.1:48388): RECV PUBLISH(Q1, R0, D0, Topic=t/a, PacketId=2, Payload=<<"on">>)
//! 21:41:42.414 [debug] c1/alice PUBLISH to t/a: <<"on">>
//! ```

mod packet;

pub use packet::{Binary, Direction, erlang_binary, format_packet};

use crate::clock::Clock;
use crate::line::Message;
use crate::queue::{Item, Queue};
use emqttd_mqtt::{Packet, Version};
use jiff::Timestamp;
use parking_lot::Mutex;
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Lines that may wait to be written, and their bytes; further ones are dropped and counted.
const MAX_LINES: usize = 65_536;
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// Longest line, bytes.
const MAX_LINE: usize = 64 * 1024;

/// Bytes beyond which nothing is added to a file: a trace that somebody has forgotten must not fill the disk.
const MAX_FILE: u64 = 1 << 30;

struct Line {
    time: Timestamp,
    text: String,
}

impl Item for Line {
    fn size(&self) -> usize {
        self.text.len() + size_of::<Line>()
    }
}

/// An open trace file; clones are cheap and write to the same file. It is closed when the last one
/// goes, after what was written to it has reached the file.
///
/// Writing a line only queues it: a thread of the file does the rest.
#[derive(Clone)]
pub struct TraceFile(Arc<Open>);

struct Open {
    path: PathBuf,
    queue: Arc<Queue<Line>>,
    clock: Clock,
}

/// Ends the thread of the file.
impl Drop for Open {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// The files open now, so that two traces into one file share it and keep the order of their lines.
static OPEN: Mutex<Vec<Weak<Open>>> = Mutex::new(Vec::new());

impl TraceFile {
    /// Opens a file for appending and makes its directory. It grows to 1 GB, and a line then says so.
    ///
    /// # Errors
    /// The directory cannot be made, the file not be opened, or the thread not be started.
    pub fn open(path: &Path) -> io::Result<TraceFile> {
        TraceFile::open_with(path, Clock::system(), MAX_FILE)
    }

    fn open_with(path: &Path, clock: Clock, limit: u64) -> io::Result<TraceFile> {
        let path = std::path::absolute(path)?;
        let mut all = OPEN.lock();
        all.retain(|open| open.strong_count() > 0);
        if let Some(open) = all
            .iter()
            .filter_map(Weak::upgrade)
            .find(|open| open.path == path)
        {
            return Ok(TraceFile(open));
        }
        let file = crate::file::open(&path)?;
        let queue = Arc::new(Queue::new(MAX_LINES, MAX_BYTES));
        let writer = Writer {
            left: limit.saturating_sub(file.metadata()?.len()),
            file,
            path: path.clone(),
            queue: queue.clone(),
            clock: clock.clone(),
            failed: false,
        };
        std::thread::Builder::new()
            .name("trace".into())
            .spawn(move || writer.run())?;
        let open = Arc::new(Open { path, queue, clock });
        all.push(Arc::downgrade(&open));
        Ok(TraceFile(open))
    }

    /// A packet of a traced client.
    pub fn packet(
        &self,
        clientid: &str,
        peer: SocketAddr,
        direction: Direction,
        packet: &Packet<'_>,
        version: Version,
    ) {
        let packet = format_packet(direction, packet, version);
        self.add(format_args!("Client({clientid}@{peer}): {packet}"));
    }

    /// A publish to a traced topic. A message of the broker itself has no user name.
    pub fn publish(&self, clientid: &str, username: Option<&str>, topic: &str, payload: &[u8]) {
        let username = username.unwrap_or("undefined");
        let payload = Binary(payload);
        self.add(format_args!(
            "{clientid}/{username} PUBLISH to {topic}: {payload}"
        ));
    }

    /// Any other line. Control characters in it are shown as escapes.
    pub fn line(&self, message: &str) {
        self.add(format_args!("{message}"));
    }

    fn add(&self, message: fmt::Arguments<'_>) {
        self.0.queue.put(Line {
            time: self.0.clock.now(),
            text: Message::format(MAX_LINE, message),
        });
    }

    /// Waits until the lines so far are in the file; `false` when that takes longer than two seconds.
    pub fn flush(&self) -> bool {
        self.0.queue.flush(Duration::from_secs(2))
    }
}

struct Writer {
    file: File,
    /// Bytes that it may still take.
    left: u64,
    path: PathBuf,
    queue: Arc<Queue<Line>>,
    clock: Clock,
    /// The last write failed, and the log was told.
    failed: bool,
}

impl Writer {
    fn run(mut self) {
        loop {
            let batch = self.queue.take(None);
            let mut text = String::new();
            for line in &batch.items {
                self.add(&mut text, line.time, &line.text);
            }
            if batch.dropped > 0 {
                let dropped = format!("{} lines of this trace were dropped", batch.dropped);
                self.add(&mut text, self.clock.now(), &dropped);
            }
            let full = self.left == 0;
            self.left = self.left.saturating_sub(text.len() as u64);
            if self.left == 0 && !full {
                let end = "this file is as long as it may be; the trace ends here";
                self.add(&mut text, self.clock.now(), end);
            }
            let written = match full {
                true => Ok(()),
                false => self.file.write_all(text.as_bytes()),
            };
            if let Err(error) = &written
                && !self.failed
            {
                log::error!(
                    "the trace file {} cannot be written: {error}",
                    self.path.display()
                );
            }
            self.failed = written.is_err();
            self.queue.finish(batch.items.len() as u64);
            if batch.closed {
                return;
            }
        }
    }

    fn add(&self, out: &mut String, time: Timestamp, text: &str) {
        let stamp = self.clock.local(time);
        // Writing to a String does not fail.
        let _ = writeln!(out, "{} [debug] {text}", stamp.strftime("%H:%M:%S%.3f"));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::clock::test::Stopped;
    use crate::logger::test::Directory;
    use emqttd_mqtt::{Properties, Publish, QoS};
    use std::time::Instant;

    fn open(directory: &Directory, name: &str) -> TraceFile {
        let clock = Stopped::at("2026-11-22T21:41:42.414Z").clock();
        TraceFile::open_with(&directory.path(name), clock, MAX_FILE).unwrap()
    }

    #[test]
    fn a_file_is_not_longer_than_it_may_be() {
        let directory = Directory::new();
        let clock = Stopped::at("2026-11-22T21:41:42.414Z").clock();
        let path = directory.path("trace");
        let trace = TraceFile::open_with(&path, clock.clone(), 50).unwrap();
        for line in ["one", "two", "three"] {
            trace.line(line);
            assert!(trace.flush());
        }
        let expected = "21:41:42.414 [debug] one\n21:41:42.414 [debug] two\n\
                        21:41:42.414 [debug] this file is as long as it may be; the trace ends here\n";
        assert_eq!(directory.read("trace"), expected);
        drop(trace);
        // Not a second time, either.
        let trace = TraceFile::open_with(&directory.path("trace"), clock, 50).unwrap();
        trace.line("four");
        assert!(trace.flush());
        assert_eq!(directory.read("trace"), expected);
    }

    #[test]
    fn lines_as_the_original_wrote_them() {
        let directory = Directory::new();
        let trace = open(&directory, "sub/trace");
        let packet = Packet::Publish(Publish {
            dup: false,
            qos: QoS::AtLeastOnce,
            retain: false,
            topic: "t/a",
            packet_id: 2,
            properties: Properties::default(),
            payload: b"traced",
        });
        let peer = "127.0.0.1:48388".parse().unwrap();
        trace.packet("c1", peer, Direction::Received, &packet, Version::V311);
        trace.publish("c1", Some("alice"), "t/a", b"traced");
        trace.publish("c2", None, "t/a\u{1b}", b"");
        assert!(trace.flush());
        assert_eq!(
            directory.read("sub/trace"),
            "21:41:42.414 [debug] Client(c1@127.0.0.1:48388): RECV PUBLISH(Q1, R0, D0, Topic=t/a, PacketId=2, Payload=<<\"traced\">>)\n\
             21:41:42.414 [debug] c1/alice PUBLISH to t/a: <<\"traced\">>\n\
             21:41:42.414 [debug] c2/undefined PUBLISH to t/a\\u{1b}: <<>>\n"
        );
    }

    #[test]
    fn two_traces_share_a_file_and_a_closed_one_is_appended_to() {
        let directory = Directory::new();
        let one = open(&directory, "trace");
        let two = open(&directory, "trace");
        let mut expected = String::new();
        for number in 0..100 {
            let trace = if number % 2 == 0 { &one } else { &two };
            trace.line(&number.to_string());
            expected += &format!("21:41:42.414 [debug] {number}\n");
        }
        drop(one);
        assert!(two.flush());
        assert_eq!(directory.read("trace"), expected);
        two.line("last");
        drop(two);
        // Nobody is left to ask for a flush: the thread writes the rest and goes.
        expected += "21:41:42.414 [debug] last\n";
        let deadline = Instant::now() + Duration::from_secs(60);
        while directory.read("trace") != expected && Instant::now() < deadline {
            std::thread::yield_now();
        }
        let again = open(&directory, "trace");
        again.line("again");
        assert!(again.flush());
        assert_eq!(
            directory.read("trace"),
            expected + "21:41:42.414 [debug] again\n"
        );
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error() {
        let directory = Directory::new();
        std::fs::write(directory.path("file"), "").unwrap();
        assert!(TraceFile::open(&directory.path("file/trace")).is_err());
        assert!(TraceFile::open(&directory.path("")).is_err(), "a directory");
    }
}
