//! STOMP in the messages of SockJS over its WebSocket transport.
use super::stomp::{self, Stomp};
use super::wire::{shown, Got, Role, Setup, Tcp, Wire};
use std::io::Write;

struct Sockjs {
    stomp: Stomp,
    /// STOMP's stream that came in messages
    stream: Vec<u8>,
    message: Vec<u8>,
    bytes: usize,
    /// what the STOMP client answers
    inner: Got,
}

pub fn open(setup: &Setup) -> Result<(i32, Box<dyn Wire>), String> {
    let mut tcp = Tcp::open(setup)?;
    let request = format!(
        "GET /stomp/000/{}/websocket HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        setup.name, setup.addr
    );
    tcp.send(request.as_bytes())?;
    let answer = tcp.receive(|b| b.ends_with(b"\r\n\r\n"))?;
    if !answer.starts_with(b"HTTP/1.1 101") {
        return Err(shown(&answer));
    }
    let mut wire = Sockjs {
        stomp: Stomp::new(setup),
        stream: vec![],
        message: vec![],
        bytes: 0,
        inner: Got::default(),
    };
    wire.receive(&mut tcp, "o")?;
    let mut out = vec![];
    wire.frame(stomp::CONNECT, &mut out);
    tcp.send(&out)?;
    stomp::expect(&wire.receive(&mut tcp, "a")?, "CONNECTED\n")?;
    if setup.role == Role::Receiver {
        out.clear();
        wire.frame(&stomp::subscribe(setup), &mut out);
        tcp.send(&out)?;
        stomp::expect(&wire.receive(&mut tcp, "a")?, "RECEIPT\n")?;
    }
    Ok((tcp.up()?, Box::new(wire)))
}

impl Sockjs {
    /// The next message of this kind while the connection is set up: what stands in its strings.
    fn receive(&mut self, tcp: &mut Tcp, kind: &str) -> Result<Vec<u8>, String> {
        let bytes = tcp.receive(|b| frame(b).is_some_and(|(_, _, len)| b.len() == len))?;
        let (_, head, _) = frame(&bytes).ok_or("no frame")?;
        let text = &bytes[head..];
        if !text.starts_with(kind.as_bytes()) {
            return Err(format!("no {kind} but {}", shown(text)));
        }
        let mut stream = vec![];
        strings(&text[1..], &mut stream);
        Ok(stream)
    }

    /// A text frame with an array of one string, masked with zeros.
    fn frame(&mut self, stomp: &[u8], out: &mut Vec<u8>) {
        self.message.clear();
        self.message.extend_from_slice(b"[\"");
        for byte in stomp {
            match byte {
                b'\n' => self.message.extend_from_slice(b"\\n"),
                b'"' | b'\\' => self.message.extend_from_slice(&[b'\\', *byte]),
                0..=31 => {
                    let _ = write!(self.message, "\\u{byte:04x}");
                }
                other => self.message.push(*other),
            }
        }
        self.message.extend_from_slice(b"\"]");
        out.push(0x81);
        match self.message.len() {
            len @ 0..=125 => out.push(0x80 | len as u8),
            len => {
                out.push(0x80 | 126);
                out.extend_from_slice(&(len as u16).to_be_bytes());
            }
        }
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.message);
    }
}

/// First byte, length of the header and of the whole of a frame from the server.
fn frame(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (head, len) = match second & 0x7f {
        126 => (
            4,
            u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]) as usize,
        ),
        127 => (
            10,
            u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize,
        ),
        len => (2, len as usize),
    };
    (bytes.len() >= head + len).then_some((first, head, head + len))
}

/// What the strings of a JSON array have in them, one after the other.
fn strings(json: &[u8], out: &mut Vec<u8>) {
    let mut inside = false;
    let mut at = 0;
    while let Some(byte) = json.get(at) {
        at += 1;
        match (inside, byte) {
            (_, b'"') => inside = !inside,
            (true, b'\\') => {
                let escape = json.get(at).copied().unwrap_or(b'?');
                at += 1;
                out.push(match escape {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'u' => {
                        let digits = json.get(at..at + 4).unwrap_or_default();
                        at += 4;
                        super::number(digits).unwrap_or(63) as u8
                    }
                    other => other,
                });
            }
            (true, byte) => out.push(*byte),
            (false, _) => {}
        }
    }
}

impl Wire for Sockjs {
    fn datagrams(&self) -> bool {
        false
    }

    fn acknowledged(&self) -> bool {
        self.stomp.acknowledged()
    }

    fn put(&mut self, payload: &[u8], seq: u32, ts: u64, out: &mut Vec<u8>) {
        let before = out.len();
        let mut inner = vec![];
        self.stomp.put(payload, seq, ts, &mut inner);
        self.frame(&inner, out);
        self.bytes = out.len() - before;
    }

    fn take(&mut self, bytes: &[u8], got: &mut Got) -> usize {
        let mut at = 0;
        while let Some((first, head, len)) = frame(&bytes[at..]) {
            let text = &bytes[at + head..at + len];
            at += len;
            match (first, text.first()) {
                (0x81, Some(b'a')) => strings(&text[1..], &mut self.stream),
                (0x81, Some(b'h')) => {}
                _ => {
                    eprintln!("{}", shown(text));
                    got.bad += 1;
                }
            }
        }
        let used = self.stomp.take(&self.stream, &mut self.inner);
        self.stream.drain(..used);
        // Each answer ends with a NUL; all of them in one message.
        if !self.inner.reply.is_empty() {
            let reply = std::mem::take(&mut self.inner.reply);
            self.frame(&reply, &mut got.reply);
        }
        for payload in self.inner.messages() {
            got.message(payload);
        }
        got.acks += std::mem::take(&mut self.inner.acks);
        got.bad += std::mem::take(&mut self.inner.bad);
        self.inner.clear();
        at
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}
