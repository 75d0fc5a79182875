//! A STOMP client of the tests: any bytes out, strict about those that come in.

use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::transport::{self, DEADLINE, Wire, is_closed};
use crate::{Publish, unique};

/// A frame that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// its first line
    pub command: String,
    /// headers in their order, unescaped as STOMP 1.2 does it; as they are, with STOMP 1.0
    pub headers: Vec<(String, String)>,
    /// the body
    pub body: Vec<u8>,
    /// all of it, as it came, with the NUL
    pub bytes: Vec<u8>,
}

impl Frame {
    /// The value of the first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    /// As [`Frame::header`]; it has to be there.
    #[track_caller]
    pub fn value(&self, name: &str) -> &str {
        self.header(name)
            .unwrap_or_else(|| panic!("no {name}: {self:?}"))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Takes the first frame out of `bytes`; `None` while it is not whole. An error is what a server may not send.
    pub fn take(bytes: &mut Vec<u8>, escapes: bool) -> Result<Option<Frame>, String> {
        let Some(head_end) = bytes.windows(2).position(|two| two == b"\n\n") else {
            return Ok(None);
        };
        let head = std::str::from_utf8(&bytes[..head_end]).map_err(|e| e.to_string())?;
        if head.contains(['\0', '\r']) {
            return Err(format!("NUL or CR amid {head:?}"));
        }
        let mut lines = head.split('\n');
        let command = lines.next().unwrap_or_default().to_owned();
        let mut headers = Vec::new();
        for line in lines {
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| format!("header {line:?}"))?;
            headers.push(match escapes {
                true => (unescape(name)?, unescape(value)?),
                false => (name.into(), value.into()),
            });
        }
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let start = head_end + 2;
        let end = match length {
            Some((_, length)) => start + length.parse::<usize>().map_err(|e| e.to_string())?,
            None => match bytes[start..].iter().position(|byte| *byte == 0) {
                // The original said the length of every body that is not empty.
                Some(0) => start,
                Some(_) => return Err(format!("a body without content-length after {head:?}")),
                None => return Ok(None),
            },
        };
        if bytes.len() <= end {
            return Ok(None);
        }
        if bytes[end] != 0 {
            return Err(format!("no NUL at the end of the body after {head:?}"));
        }
        let whole: Vec<u8> = bytes.drain(..=end).collect();
        Ok(Some(Frame {
            command,
            headers,
            body: whole[start..end].to_vec(),
            bytes: whole,
        }))
    }
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('c') => ':',
                Some('\\') => '\\',
                _ => return Err(format!("escape in {text:?}")),
            },
            c => c,
        });
    }
    Ok(out)
}

/// A frame as bytes; headers as they are, without escaping, and no `content-length` unless it is among them.
pub fn frame(command: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Vec<u8> {
    let mut text = format!("{command}\n");
    for (name, value) in headers {
        text += &format!("{name}:{value}\n");
    }
    let mut bytes = text.into_bytes();
    bytes.push(b'\n');
    bytes.extend_from_slice(body.as_ref());
    bytes.push(0);
    bytes
}

/// A connection to a STOMP server.
pub struct Stomp {
    wire: Box<dyn Wire>,
    inbox: Vec<u8>,
    pending: VecDeque<Frame>,
    /// line feeds that came between frames
    pub beats: usize,
    /// whether headers are escaped: not with STOMP 1.0
    pub escapes: bool,
    history: VecDeque<String>,
}

impl Stomp {
    /// A connection with nothing sent.
    pub fn open(addr: SocketAddr) -> Stomp {
        Stomp::over(transport::tcp(addr))
    }

    /// The same over another stream.
    pub fn over(wire: impl Wire + 'static) -> Stomp {
        Stomp {
            wire: Box::new(wire),
            inbox: Vec::new(),
            pending: VecDeque::new(),
            beats: 0,
            escapes: true,
            history: VecDeque::new(),
        }
    }

    /// A connection that was let in as `guest`, with STOMP 1.2 and these headers of CONNECT beside.
    #[track_caller]
    pub fn guest(addr: SocketAddr, headers: &[(&str, &str)]) -> Stomp {
        let mut stomp = Stomp::open(addr);
        let login = [("login", "guest"), ("passcode", "guest")];
        stomp.connect(&[&login, headers].concat());
        stomp
    }

    fn note(&mut self, line: String) {
        if self.history.len() == 30 {
            self.history.pop_front();
        }
        self.history.push_back(line);
    }

    #[track_caller]
    fn fail(&self, what: &str) -> ! {
        let history: Vec<&str> = self.history.iter().map(String::as_str).collect();
        panic!("STOMP: {what}\n  {}", history.join("\n  "));
    }

    /// Sends bytes as they are. That the server has closed already is for the next read to tell.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.note(format!("sent {}", shown(bytes)));
        match self.wire.write_all(bytes).and_then(|()| self.wire.flush()) {
            Ok(()) => {}
            Err(e) if is_closed(&e) => self.note(format!("sending failed: {e}")),
            Err(e) => self.fail(&format!("sending: {e}")),
        }
    }

    /// As [`Stomp::send`]; an error is an answer. For floods.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.write_all(bytes).and_then(|()| self.wire.flush())
    }

    /// Sends a frame (see [`frame`]).
    pub fn say(&mut self, command: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) {
        self.send(frame(command, headers, body));
    }

    /// CONNECT of version 1.2 with these headers beside, which has to be accepted.
    #[track_caller]
    pub fn connect(&mut self, headers: &[(&str, &str)]) -> Frame {
        let version = [("accept-version", "1.2"), ("host", "/")];
        self.say("CONNECT", &[&version, headers].concat(), "");
        let answer = self.recv();
        if answer.command != "CONNECTED" {
            self.fail("CONNECTED wanted");
        }
        answer
    }

    /// Sends a frame with a receipt and waits for that receipt; what comes before stays for [`Stomp::recv`].
    #[track_caller]
    pub fn done(&mut self, command: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) {
        let receipt = unique("r");
        let asks = [("receipt", receipt.as_str())];
        self.say(command, &[headers, &asks].concat(), body);
        let bytes = self
            .await_frame(|frame| frame.header("receipt-id") == Some(&receipt))
            .bytes;
        let wanted = format!("RECEIPT\nreceipt-id:{receipt}\n\n\0");
        if bytes != wanted.as_bytes() {
            self.fail(&format!("{wanted:?} wanted"));
        }
    }

    /// SUBSCRIBE with this id, and further headers; done when the broker has it.
    #[track_caller]
    pub fn sub(&mut self, id: &str, destination: &str, headers: &[(&str, &str)]) {
        let own = [("id", id), ("destination", destination)];
        self.done("SUBSCRIBE", &[&own, headers].concat(), "");
    }

    /// The next frame within `limit`: `None` when nothing came, `Some(None)` when the connection is closed.
    #[track_caller]
    pub fn recv_within(&mut self, limit: Duration) -> Option<Option<Frame>> {
        if let Some(frame) = self.pending.pop_front() {
            return Some(Some(frame));
        }
        self.read_frame(Instant::now() + limit)
    }

    #[track_caller]
    fn read_frame(&mut self, deadline: Instant) -> Option<Option<Frame>> {
        loop {
            if let Some(frame) = self.buffered() {
                return Some(Some(frame));
            }
            match self.read_some(deadline) {
                None => return None,
                Some(false) => return Some(None),
                Some(true) => {}
            }
        }
    }

    /// Takes line feeds, and then a frame if it is whole, out of what was read.
    #[track_caller]
    fn buffered(&mut self) -> Option<Frame> {
        let beats = self.inbox.iter().take_while(|byte| **byte == b'\n').count();
        self.inbox.drain(..beats);
        self.beats += beats;
        match Frame::take(&mut self.inbox, self.escapes) {
            Ok(Some(frame)) => {
                self.note(format!("got {}", shown(&frame.bytes)));
                Some(frame)
            }
            Ok(None) => None,
            Err(e) => self.fail(&format!(
                "the server sent what it may not: {e}: {}",
                shown(&self.inbox)
            )),
        }
    }

    /// Reads what is there: `Some(true)` when something came, `Some(false)` at the end, `None` at the deadline.
    #[track_caller]
    fn read_some(&mut self, deadline: Instant) -> Option<bool> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        self.wire.tcp().set_read_timeout(Some(left)).unwrap();
        let mut buffer = vec![0; 64 * 1024];
        match self.wire.read(&mut buffer) {
            Ok(0) => {
                self.note("closed by the server".into());
                Some(false)
            }
            Ok(n) => {
                self.inbox.extend_from_slice(&buffer[..n]);
                Some(true)
            }
            Err(e) if is_closed(&e) => {
                self.note(format!("closed by the server: {e}"));
                Some(false)
            }
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                None
            }
            Err(e) => self.fail(&format!("reading: {e}")),
        }
    }

    /// The next frame.
    #[track_caller]
    pub fn recv(&mut self) -> Frame {
        match self.recv_within(DEADLINE) {
            Some(Some(frame)) => frame,
            Some(None) => self.fail("the server closed the connection"),
            None => self.fail("no frame came before the deadline"),
        }
    }

    /// The first frame for which `wanted` holds; those before it stay in order for [`Stomp::recv`].
    #[track_caller]
    pub fn await_frame(&mut self, wanted: impl Fn(&Frame) -> bool) -> Frame {
        if let Some(at) = self.pending.iter().position(&wanted) {
            return self.pending.remove(at).unwrap();
        }
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.read_frame(deadline) {
                Some(Some(frame)) if wanted(&frame) => return frame,
                Some(Some(frame)) => self.pending.push_back(frame),
                Some(None) => self.fail("the server closed the connection"),
                None => self.fail("the frame waited for did not come before the deadline"),
            }
        }
    }

    /// The next frame has to be these bytes.
    #[track_caller]
    pub fn expect(&mut self, wanted: &str) {
        let got = self.recv();
        if got.bytes != wanted.as_bytes() {
            self.fail(&format!("{wanted:?} wanted, got {}", shown(&got.bytes)));
        }
    }

    /// The next frame has to be a MESSAGE of this subscription with this body.
    #[track_caller]
    pub fn message(&mut self, subscription: &str, body: &str) -> Frame {
        let got = self.recv();
        let is_it = got.command == "MESSAGE"
            && got.header("subscription") == Some(subscription)
            && got.text() == body;
        if !is_it {
            self.fail(&format!("MESSAGE {body:?} for {subscription:?} wanted"));
        }
        got
    }

    /// The next frame has to be an ERROR, after which the connection is closed.
    #[track_caller]
    pub fn refused(&mut self) -> Frame {
        let got = self.recv();
        if got.command != "ERROR" {
            self.fail("ERROR wanted");
        }
        self.closed();
        got
    }

    /// The server has to close the connection, with nothing said before.
    #[track_caller]
    pub fn closed(&mut self) {
        match self.recv_within(DEADLINE) {
            Some(None) => {}
            Some(Some(_)) => self.fail("the end wanted"),
            None => self.fail("the server did not close the connection"),
        }
    }

    /// A frame that changes nothing has to be answered with nothing in between.
    #[track_caller]
    pub fn quiet(&mut self) {
        let receipt = unique("quiet");
        self.say(
            "UNSUBSCRIBE",
            &[("id", "nobody"), ("receipt", &receipt)],
            "",
        );
        self.expect(&format!("RECEIPT\nreceipt-id:{receipt}\n\n\0"));
    }

    /// Nothing that `publisher` sent so far may be still on its way to this client: `publisher` sends a marker,
    /// which must be the very next message.
    #[track_caller]
    pub fn nothing_from(&mut self, publisher: &mut Client) {
        let topic = unique("marker");
        self.sub(&topic, &topic, &[]);
        publisher.publish(Publish::new(&topic, "marker"));
        self.message(&topic, "marker");
        self.done("UNSUBSCRIBE", &[("id", &topic)], "");
    }

    /// DISCONNECT with a receipt, which has to come, and then the end.
    #[track_caller]
    pub fn disconnect(mut self) {
        self.say("DISCONNECT", &[("receipt", "bye")], "");
        self.await_frame(|frame| frame.bytes == b"RECEIPT\nreceipt-id:bye\n\n\0");
        self.closed();
    }

    /// Closes the TCP connection at once.
    pub fn drop_connection(self) {
        let _ = self.wire.tcp().shutdown(Shutdown::Both);
    }

    /// How long [`Stomp::try_send`] waits for room.
    pub fn set_write_timeout(&self, limit: Duration) {
        self.wire.tcp().set_write_timeout(Some(limit)).unwrap();
    }

    /// The address of this end.
    pub fn local_addr(&self) -> SocketAddr {
        self.wire.tcp().local_addr().unwrap()
    }

    /// Reads until `count` line feeds came between frames in all; no frame may come.
    #[track_caller]
    pub fn await_beats(&mut self, count: usize) {
        let deadline = Instant::now() + DEADLINE;
        while self.beats < count {
            if self.buffered().is_some() {
                self.fail("only heart-beats wanted");
            }
            if self.beats < count && self.read_some(deadline) != Some(true) {
                self.fail("heart-beats wanted");
            }
        }
    }
}

fn shown(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(300)];
    let text = String::from_utf8_lossy(cut);
    let more = bytes.len() - cut.len();
    match more {
        0 => format!("{text:?}"),
        more => format!("{text:?} and {more} bytes"),
    }
}
