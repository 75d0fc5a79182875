//! HTTP as bytes, with answers that do not end.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use emqttd_tests::transport::{self, DEADLINE, Wire, is_closed};

/// The first line and the headers of an answer.
#[derive(Debug, Clone)]
pub struct Head {
    pub status: u16,
    /// names in lower case
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The value of a header, by its name in lower case; one that comes twice fails.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(n, _)| n == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} twice: {self:?}");
        value
    }

    /// As [`Head::header`]; it has to be there.
    #[track_caller]
    pub fn value(&self, name: &str) -> &str {
        self.header(name)
            .unwrap_or_else(|| panic!("no {name}: {self:?}"))
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub head: Head,
    pub body: String,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.head.status
    }
}

/// How much of a body is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Bytes(usize),
    /// in chunks; so much of the present one
    Chunks(usize),
    UntilClosed,
    Over,
}

/// A connection, for one request after the other.
pub struct Http {
    wire: Box<dyn Wire>,
    /// what was read and not used, before chunks are taken apart
    raw: Vec<u8>,
    /// what was read of the body and not used
    body: Vec<u8>,
    rest: Rest,
}

impl Http {
    pub fn open(addr: SocketAddr) -> Http {
        Http::over(transport::tcp(addr))
    }

    pub fn over(wire: impl Wire + 'static) -> Http {
        Http {
            wire: Box::new(wire),
            raw: Vec::new(),
            body: Vec::new(),
            rest: Rest::Over,
        }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.wire.write_all(bytes).unwrap();
        self.wire.flush().unwrap();
    }

    /// Sends a request with a body, and its length unless there is none.
    pub fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) {
        self.send(&request(method, path, headers, body));
    }

    /// One more read; `false` at the end, and at the deadline.
    fn more(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        self.wire.tcp().set_read_timeout(Some(left)).unwrap();
        let mut buffer = vec![0; 32 * 1024];
        match self.wire.read(&mut buffer) {
            Ok(n) => {
                self.raw.extend_from_slice(&buffer[..n]);
                if n == 0 && self.rest == Rest::UntilClosed {
                    self.rest = Rest::Over;
                }
                n > 0
            }
            Err(e) if is_closed(&e) => false,
            Err(e) => {
                assert!(Instant::now() >= deadline, "{e}");
                false
            }
        }
    }

    /// The head of the next answer; `None` when the connection is closed instead.
    #[track_caller]
    pub fn try_head(&mut self) -> Option<Head> {
        let deadline = Instant::now() + DEADLINE;
        let end = loop {
            if let Some(at) = self.raw.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            if !self.more(deadline) {
                assert!(Instant::now() < deadline, "no answer in time");
                return None;
            }
        };
        let text = String::from_utf8(self.raw[..end].to_vec()).unwrap();
        self.raw.drain(..end + 4);
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap();
        assert!(first.starts_with("HTTP/1."), "{first}");
        let status = first.split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let head = Head { status, headers };
        self.rest = match (
            head.header("content-length"),
            head.header("transfer-encoding"),
        ) {
            _ if status == 101 || status == 204 || status == 304 => Rest::Over,
            (Some(length), None) => Rest::Bytes(length.parse().unwrap()),
            (None, Some("chunked")) => Rest::Chunks(0),
            (None, None) => Rest::UntilClosed,
            both => panic!("{both:?}"),
        };
        Some(head)
    }

    #[track_caller]
    pub fn head(&mut self) -> Head {
        self.try_head().expect("an answer")
    }

    /// Moves what it can from `raw` to `body`.
    fn sort(&mut self) {
        loop {
            match self.rest {
                Rest::Over => return,
                Rest::UntilClosed => {
                    self.body.append(&mut self.raw);
                    return;
                }
                Rest::Bytes(n) => {
                    let n = n.min(self.raw.len());
                    self.body.extend(self.raw.drain(..n));
                    let Rest::Bytes(left) = self.rest else { return };
                    self.rest = match left - n {
                        0 => Rest::Over,
                        left => Rest::Bytes(left),
                    };
                    return;
                }
                Rest::Chunks(0) => {
                    let Some(end) = self.raw.windows(2).position(|two| two == b"\r\n") else {
                        return;
                    };
                    let size = std::str::from_utf8(&self.raw[..end]).unwrap();
                    let size = usize::from_str_radix(size.split(';').next().unwrap(), 16).unwrap();
                    if size == 0 {
                        if self.raw.len() < end + 4 {
                            return;
                        }
                        self.raw.drain(..end + 4);
                        self.rest = Rest::Over;
                        return;
                    }
                    self.raw.drain(..end + 2);
                    // With the line end behind it.
                    self.rest = Rest::Chunks(size + 2);
                }
                Rest::Chunks(left) => {
                    let n = left.min(self.raw.len());
                    if n == 0 {
                        return;
                    }
                    let text = n.min(left.saturating_sub(2));
                    self.body.extend_from_slice(&self.raw[..text]);
                    self.raw.drain(..n);
                    self.rest = Rest::Chunks(left - n);
                }
            }
        }
    }

    /// The body up to and with `end`; `None` when the answer is over before.
    #[track_caller]
    pub fn until(&mut self, end: &str) -> Option<String> {
        self.until_within(end, DEADLINE)
            .unwrap_or_else(|| panic!("no {end:?} in time, but {:?}", self.body))
    }

    /// As [`Http::until`]; `None` when nothing came in time.
    pub fn until_within(&mut self, end: &str, limit: Duration) -> Option<Option<String>> {
        let deadline = Instant::now() + limit;
        loop {
            self.sort();
            let bytes = end.as_bytes();
            if let Some(at) = self.body.windows(bytes.len()).position(|w| w == bytes) {
                let text = self.body.drain(..at + bytes.len()).collect();
                return Some(Some(String::from_utf8(text).unwrap()));
            }
            if self.rest == Rest::Over {
                return Some(None);
            }
            if !self.more(deadline) {
                self.sort();
                if Instant::now() >= deadline {
                    return None;
                }
                assert_eq!(self.rest, Rest::Over, "closed amid the body");
            }
        }
    }

    /// What is left of the body.
    #[track_caller]
    pub fn body(&mut self) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            self.sort();
            if self.rest == Rest::Over {
                return String::from_utf8(std::mem::take(&mut self.body)).unwrap();
            }
            if !self.more(deadline) {
                self.sort();
                assert_eq!(self.rest, Rest::Over, "the body does not end");
            }
        }
    }

    /// The next answer as a whole.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        let head = self.head();
        let body = self.body();
        Answer { head, body }
    }

    /// Gives the connection away, for other than HTTP.
    pub fn into_wire(self) -> Box<dyn Wire> {
        Box::new(Remainder {
            bytes: self.raw.into(),
            wire: self.wire,
        })
    }
}

/// A stream of which something was read already.
struct Remainder {
    bytes: VecDeque<u8>,
    wire: Box<dyn Wire>,
}

impl Read for Remainder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.bytes.is_empty() {
            true => self.wire.read(buffer),
            false => self.bytes.read(buffer),
        }
    }
}

impl Write for Remainder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wire.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.wire.flush()
    }
}

impl Wire for Remainder {
    fn tcp(&self) -> &TcpStream {
        self.wire.tcp()
    }
}

/// A request as bytes.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() || method == "POST" {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    (text + "\r\n" + body).into_bytes()
}

/// One request on a connection of its own.
#[track_caller]
pub fn ask(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut http = Http::open(addr);
    http.ask(method, path, headers, body);
    http.answer()
}

#[track_caller]
pub fn get(addr: SocketAddr, path: &str) -> Answer {
    ask(addr, "GET", path, &[], "")
}

#[track_caller]
pub fn post(addr: SocketAddr, path: &str, body: &str) -> Answer {
    ask(addr, "POST", path, &[], body)
}
