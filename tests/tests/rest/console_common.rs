//! What the modules about the dashboard's API need.

use std::io::{BufRead, BufReader};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use emqttd_tests::http::{Answer, Http};
use emqttd_tests::transport::Wire;
use emqttd_tests::{Broker, Connect, Version, unique};
use serde_json::Value;

use crate::common;

/// How long a state may take to come about.
const PATIENCE: Duration = Duration::from_secs(40);

/// The broker of all tests that change nothing others could see.
pub fn broker() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(common::broker)
}

/// A target below the API.
pub fn path(below: &str) -> String {
    format!("/api/v2/{below}")
}

/// A word as a part of a path, or a value of a query.
pub fn segment(word: &str) -> String {
    let bytes = word.bytes().map(|b| match b {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(b).to_string(),
        _ => format!("%{b:02X}"),
    });
    bytes.collect()
}

/// What is wrong, in words.
#[track_caller]
pub fn refusal(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.code(), 102, "{}", answer.text());
    answer.json()["message"].as_str().unwrap().to_owned()
}

/// Asks until `wanted` says so; for what comes about a moment later.
#[track_caller]
pub fn until(http: &Http, target: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let found = http.get(target).result();
        if wanted(&found) {
            return found;
        }
        assert!(Instant::now() < end, "{target} remains {found}");
        std::thread::yield_now();
    }
}

/// Values of a field in all rows.
pub fn column(rows: &Value, field: &str) -> Vec<String> {
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| row[field].as_str().unwrap().to_owned())
        .collect()
}

/// A CONNECT of 3.1.1 with an id of its own.
pub fn connect(word: &str) -> Connect {
    Connect::new(Version::V311, &unique(word))
}

/// A stream of events.
pub struct Events {
    lines: BufReader<Box<dyn Wire>>,
}

/// An event: its name, and its data.
pub type Event = (String, Value);

impl Events {
    /// Opens it; there is one when this returns.
    #[track_caller]
    pub fn open(http: &Http, kinds: &str) -> Events {
        let mut wire = http.connect();
        let target = path(&format!("events?kinds={kinds}"));
        wire.write_all(&http.request("GET", &target, None)).unwrap();
        let mut events = Events {
            lines: BufReader::new(wire),
        };
        let status = events.line().unwrap();
        assert_eq!(status, "HTTP/1.1 200 OK");
        let mut kind = String::new();
        loop {
            let line = events.line().unwrap();
            if let Some(value) = line.strip_prefix("content-type: ") {
                kind = value.into();
            }
            if line.is_empty() {
                break;
            }
        }
        assert_eq!(kind, "text/event-stream");
        while events.line().unwrap() != "retry: 2000" {}
        events
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end_matches(['\r', '\n']).to_owned()),
            Err(e) => panic!("the stream says nothing: {e}"),
        }
    }

    /// The next event; `None` when the stream has ended. Sizes of chunks stand between lines of their own.
    pub fn next(&mut self) -> Option<Event> {
        let mut name = None;
        loop {
            let line = self.line()?;
            if let Some(word) = line.strip_prefix("event: ") {
                name = Some(word.to_owned());
            } else if let (Some(name), Some(data)) = (&name, line.strip_prefix("data: ")) {
                let data = serde_json::from_str(data);
                return Some((name.clone(), data.unwrap()));
            }
        }
    }

    /// The next event that `wanted` wants; others are passed over.
    #[track_caller]
    pub fn find(&mut self, wanted: impl Fn(&Event) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        while let Some(event) = self.next() {
            if wanted(&event) {
                return event.1;
            }
            assert!(Instant::now() < end, "only others came, last {event:?}");
        }
        panic!("the stream has ended");
    }
}
