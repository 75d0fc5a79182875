//! What a web hook posts to: HTTP/1.1, one thread. It does what standard input tells it, line by line:
//! `serve` answers 200; `status N` answers N and takes nothing; `hang` takes and does not answer; `cut` takes, and
//! closes in place of an answer; `freeze` does not even read; `stop` closes everything and does not listen;
//! `report` prints a line of JSON with what has come. The end of the input is the end, with a last report.
//!
//! Events are those of `on_message_publish` with the payloads of this generator as Base64: of each client the
//! sequence numbers are kept.
use crate::sys::{self, Epoll};
use crate::Args;
use std::collections::HashMap;

const LISTENER: u64 = u64::MAX;
const INPUT: u64 = u64::MAX - 1;
/// A request with more has not been sent by a web hook.
const MOST: usize = 8 << 20;

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Answer(u16),
    Hang,
    Cut,
    Freeze,
    Stop,
}

#[derive(Default)]
struct C {
    fd: i32,
    part: Vec<u8>,
    /// its request has no answer yet
    waits: bool,
}

/// What came of one client.
#[derive(Default)]
struct Client {
    /// by sequence number
    seen: Vec<u64>,
    unique: u64,
    highest: u32,
}

#[derive(Default)]
struct Seen {
    clients: HashMap<Vec<u8>, Client>,
    posts: u64,
    events: u64,
    duplicates: u64,
    /// came first after one with a higher number
    late: u64,
    bad: u64,
}

struct Sink<'a> {
    args: &'a Args,
    ep: Epoll,
    listener: i32,
    mode: Mode,
    cs: Vec<C>,
    free: Vec<usize>,
    seen: Seen,
    line: Vec<u8>,
}

pub fn run(a: &Args) -> Result<String, String> {
    let ep = Epoll::new();
    ep.add(0, INPUT, sys::IN);
    let mut sink = Sink {
        args: a,
        ep,
        listener: -1,
        mode: Mode::Stop,
        cs: vec![],
        free: vec![],
        seen: Seen::default(),
        line: vec![],
    };
    sink.set(Mode::Answer(200));
    let mut evs = vec![sys::no_event(); 256];
    let mut buf = vec![0; 256 * 1024];
    loop {
        let n = match sink.mode {
            // Only the input is looked at.
            Mode::Freeze => {
                evs[0].u64 = INPUT;
                1
            }
            _ => sink.ep.wait(&mut evs, -1),
        };
        for ev in &evs[..n] {
            match ev.u64 {
                INPUT => {
                    let n = unsafe { libc::read(0, buf.as_mut_ptr().cast(), buf.len()) };
                    if n <= 0 {
                        return Ok(sink.seen.report());
                    }
                    let text = buf[..n as usize].to_vec();
                    sink.input(&text)?;
                }
                LISTENER => {
                    while let Some(fd) = sys::accept(sink.listener) {
                        sink.add(fd);
                    }
                }
                at => sink.read(at as usize, &mut buf),
            }
        }
    }
}

impl Sink<'_> {
    fn input(&mut self, text: &[u8]) -> Result<(), String> {
        self.line.extend_from_slice(text);
        while let Some(end) = self.line.iter().position(|&b| b == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let mode = match line.trim() {
                "report" => {
                    println!("{}", self.seen.report());
                    continue;
                }
                "serve" => Mode::Answer(200),
                "hang" => Mode::Hang,
                "cut" => Mode::Cut,
                "freeze" => Mode::Freeze,
                "stop" => Mode::Stop,
                other => match other.strip_prefix("status ").map(str::parse) {
                    Some(Ok(status)) => Mode::Answer(status),
                    _ => return Err(format!("{other}?")),
                },
            };
            self.set(mode);
        }
        Ok(())
    }

    fn set(&mut self, mode: Mode) {
        if mode == Mode::Stop {
            for at in 0..self.cs.len() {
                self.close(at);
            }
            if self.listener >= 0 {
                sys::close(std::mem::replace(&mut self.listener, -1));
            }
        } else if self.listener < 0 {
            self.listener = sys::tcp_listen(self.args.addr(), false);
            self.ep.add(self.listener, LISTENER, sys::IN);
        }
        self.mode = mode;
        if let Mode::Answer(status) = mode {
            for at in 0..self.cs.len() {
                if std::mem::take(&mut self.cs[at].waits) {
                    self.answer(at, status);
                }
            }
        }
    }

    fn add(&mut self, fd: i32) {
        let c = C { fd, ..C::default() };
        let at = match self.free.pop() {
            Some(at) => {
                self.cs[at] = c;
                at
            }
            None => {
                self.cs.push(c);
                self.cs.len() - 1
            }
        };
        self.ep.add(fd, at as u64, sys::IN);
    }

    fn close(&mut self, at: usize) {
        if self.cs[at].fd >= 0 {
            sys::close(self.cs[at].fd);
            self.cs[at] = C {
                fd: -1,
                ..C::default()
            };
            self.free.push(at);
        }
    }

    fn read(&mut self, at: usize, buf: &mut [u8]) {
        // It may have been closed by what came before it in this round.
        if self.cs[at].fd < 0 {
            return;
        }
        match sys::read(self.cs[at].fd, buf) {
            -1 => {}
            n if n > 0 => {
                self.cs[at].part.extend_from_slice(&buf[..n as usize]);
                self.requests(at);
            }
            _ => self.close(at),
        }
    }

    /// Takes the whole requests that have come.
    fn requests(&mut self, at: usize) {
        loop {
            let part = &self.cs[at].part;
            let Some(head) = find(part, b"\r\n\r\n") else {
                if part.len() > MOST {
                    self.close(at);
                }
                return;
            };
            let length = content_length(&part[..head]);
            let end = head + 4 + length;
            if length > MOST {
                self.seen.bad += 1;
                self.close(at);
                return;
            }
            if part.len() < end {
                return;
            }
            let request: Vec<u8> = self.cs[at].part.drain(..end).collect();
            if self.mode == Mode::Answer(200) || !matches!(self.mode, Mode::Answer(_)) {
                self.seen.take(&request[head + 4..]);
            }
            match self.mode {
                Mode::Answer(status) => self.answer(at, status),
                Mode::Hang => self.cs[at].waits = true,
                _ => return self.close(at),
            }
        }
    }

    fn answer(&mut self, at: usize, status: u16) {
        let text = format!("HTTP/1.1 {status} Said\r\ncontent-length: 0\r\n\r\n");
        // So short that it fits, or the other side is gone.
        if sys::write(self.cs[at].fd, text.as_bytes()) != text.len() as isize {
            self.close(at);
        }
    }
}

impl Seen {
    /// A body: an event, or an array of events.
    fn take(&mut self, body: &[u8]) {
        const CLIENT: &[u8] = b"\"from_client_id\":\"";
        const PAYLOAD: &[u8] = b"\"payload\":\"";
        self.posts += 1;
        let mut rest = body;
        let before = self.events;
        while let Some(at) = find(rest, CLIENT) {
            rest = &rest[at + CLIENT.len()..];
            let client = &rest[..find(rest, b"\"").unwrap_or(0)];
            let payload = find(rest, PAYLOAD).map(|at| &rest[at + PAYLOAD.len()..]);
            self.events += 1;
            match payload.and_then(sequence) {
                Some(number) => {
                    let client = match self.clients.get_mut(client) {
                        Some(found) => found,
                        None => self.clients.entry(client.to_vec()).or_default(),
                    };
                    let (new, late) = client.see(number);
                    self.duplicates += u64::from(!new);
                    self.late += u64::from(new && late);
                }
                None => self.bad += 1,
            }
        }
        self.bad += u64::from(self.events == before);
    }

    fn report(&self) -> String {
        let sum = |of: fn(&Client) -> u64| self.clients.values().map(of).sum::<u64>();
        let unique = sum(|c| c.unique);
        format!(
            "{{\"mode\":\"sink\",\"posts\":{},\"events\":{},\"clients\":{},\"unique\":{unique},\
             \"duplicates\":{},\"late\":{},\"missing\":{},\"bad\":{}}}",
            self.posts,
            self.events,
            self.clients.len(),
            self.duplicates,
            self.late,
            sum(|c| u64::from(c.highest)) - unique,
            self.bad,
        )
    }
}

impl Client {
    /// Whether it is new, and whether a higher one was there before.
    fn see(&mut self, number: u32) -> (bool, bool) {
        let (word, bit) = (number as usize / 64, 1 << (number % 64));
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        let new = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        self.unique += u64::from(new);
        let late = number < self.highest;
        self.highest = self.highest.max(number);
        (new, late)
    }
}

/// The sequence number in a payload (see `codec`), which is Base64; numbers begin with 1.
fn sequence(text: &[u8]) -> Option<u32> {
    // Bytes 12 to 15 are in the groups of four characters from 16 on.
    let mut bytes = [0; 6];
    for (group, out) in text.get(16..24)?.chunks(4).zip(bytes.chunks_mut(3)) {
        let mut bits = 0u32;
        for &c in group {
            let value = match c {
                b'A'..=b'Z' => c - b'A',
                b'a'..=b'z' => c - b'a' + 26,
                b'0'..=b'9' => c - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        out.copy_from_slice(&bits.to_be_bytes()[1..]);
    }
    let number = u32::from_le_bytes(bytes[..4].try_into().ok()?);
    // Nobody publishes so many; a number that is none would take memory.
    (1..1 << 30).contains(&number).then_some(number)
}

fn content_length(head: &[u8]) -> usize {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    value.and_then(|v| v.trim().parse().ok()).unwrap_or(0)
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|w| w == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_told_apart() {
        let mut seen = Seen::default();
        // 12 bytes of zero, then the number.
        let event = |client: &str, number: &str| {
            format!("{{\"from_client_id\":\"{client}\",\"payload\":\"AAAAAAAAAAAAAAAA{number}\",\"ts\":1}}")
        };
        let (one, two, three) = ("AQAAAHh4", "AgAAAHh4", "AwAAAHh4");
        let body = format!(
            "[{},{},{}]",
            event("a", one),
            event("a", two),
            event("b", three)
        );
        seen.take(body.as_bytes());
        seen.take(event("b", one).as_bytes());
        seen.take(event("a", two).as_bytes());
        seen.take(b"[]");
        assert_eq!(
            seen.report(),
            "{\"mode\":\"sink\",\"posts\":4,\"events\":5,\"clients\":2,\"unique\":4,\
             \"duplicates\":1,\"late\":1,\"missing\":1,\"bad\":1}"
        );
    }
}
