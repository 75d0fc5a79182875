//! What all protocols of `gate` have in common.
use crate::sys;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, PartialEq)]
pub enum Role {
    Sender,
    Receiver,
}

/// What a connection is opened for.
pub struct Setup {
    pub addr: SocketAddrV4,
    pub role: Role,
    pub name: String,
    pub topic: String,
    pub qos: u8,
    /// CoAP: CON
    pub confirmable: bool,
    /// datagrams come from that address behind 127.0.0.2
    pub source: u32,
}

/// One connection's protocol, once it is set up.
pub trait Wire {
    /// Whether what `put` writes is a datagram, not a piece of a stream.
    fn datagrams(&self) -> bool;
    /// Whether the sender is told that its message has been taken.
    fn acknowledged(&self) -> bool;
    /// Writes a message that begins at `ts`.
    fn put(&mut self, payload: &[u8], seq: u32, ts: u64, out: &mut Vec<u8>);
    /// Writes what is answered once everything before has been taken.
    fn ask(&mut self, _out: &mut Vec<u8>) {}
    /// Looks at a datagram, or at as many whole packets as there are; gives the bytes that it is done with.
    fn take(&mut self, bytes: &[u8], got: &mut Got) -> usize;
    /// Length of the last message written, all in all.
    fn bytes(&self) -> usize;
}

/// What a read brought.
#[derive(Default)]
pub struct Got {
    payloads: Vec<u8>,
    lens: Vec<usize>,
    /// messages of the sender that have been taken
    pub acks: u64,
    /// when those of them were sent whose time was kept
    pub answered: Vec<u64>,
    /// answers to `ask`
    pub pongs: u64,
    /// what should not have come
    pub bad: u64,
    /// the stream makes no sense from here on
    pub broken: bool,
    /// what is to be sent back
    pub reply: Vec<u8>,
    reply_ends: Vec<usize>,
}

impl Got {
    pub fn message(&mut self, payload: &[u8]) {
        self.payloads.extend_from_slice(payload);
        self.lens.push(payload.len());
    }

    /// What has been added to `reply` is a datagram.
    pub fn end_reply(&mut self) {
        self.reply_ends.push(self.reply.len());
    }

    pub fn messages(&self) -> impl Iterator<Item = &[u8]> {
        let mut at = 0;
        self.lens.iter().map(move |len| {
            at += len;
            &self.payloads[at - len..at]
        })
    }

    pub fn replies(&self) -> impl Iterator<Item = &[u8]> {
        let mut at = 0;
        self.reply_ends
            .iter()
            .map(move |end| &self.reply[std::mem::replace(&mut at, *end)..*end])
    }

    pub fn clear(&mut self) {
        self.payloads.clear();
        self.lens.clear();
        self.reply.clear();
        self.reply_ends.clear();
    }
}

/// A message that is not understood, shortened.
pub fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(200)].escape_ascii().to_string()
}

/// A blocking connection, for the time until it is up.
pub struct Tcp(TcpStream);

impl Tcp {
    pub fn open(setup: &Setup) -> Result<Tcp, String> {
        let stream = TcpStream::connect(setup.addr).map_err(|e| e.to_string())?;
        let set = stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(Duration::from_secs(10))));
        set.map_err(|e| e.to_string())?;
        Ok(Tcp(stream))
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.0.write_all(bytes).map_err(|e| e.to_string())
    }

    /// Reads byte by byte, so nothing of what follows, until `end` says that it is all.
    pub fn receive(&mut self, end: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>, String> {
        let mut all = vec![];
        while !end(&all) {
            let mut byte = [0];
            match self.0.read(&mut byte) {
                Ok(1) => all.push(byte[0]),
                Ok(_) => return Err(format!("closed after {}", shown(&all))),
                Err(e) => return Err(format!("{e} after {}", shown(&all))),
            }
        }
        Ok(all)
    }

    pub fn up(self) -> Result<i32, String> {
        self.0.set_nonblocking(true).map_err(|e| e.to_string())?;
        Ok(self.0.into_raw_fd())
    }
}

/// A socket that talks to one peer, blocking for the time until it is up.
pub struct Udp(UdpSocket);

impl Udp {
    pub fn open(setup: &Setup) -> Result<Udp, String> {
        let source = Ipv4Addr::from(0x7f00_0002 + setup.source);
        let open = || {
            let socket = UdpSocket::bind((source, 0))?;
            socket.connect(setup.addr)?;
            socket.set_read_timeout(Some(Duration::from_millis(500)))?;
            Ok(socket)
        };
        let socket = open().map_err(|e: std::io::Error| e.to_string())?;
        room(socket.as_raw_fd());
        Ok(Udp(socket))
    }

    /// Sends until there is an answer of which `wanted` makes something, for some seconds.
    pub fn ask<T>(
        &self,
        bytes: &[u8],
        mut wanted: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<T, String> {
        let mut buf = [0; 2048];
        let start = Instant::now();
        let mut other = String::from("nothing");
        while start.elapsed() < Duration::from_secs(5) {
            // Refused while nobody listens yet.
            if self.0.send(bytes).is_err() {
                sys::sleep_ms(50);
                continue;
            }
            match self.0.recv(&mut buf) {
                Ok(n) => match wanted(&buf[..n]) {
                    Some(found) => return Ok(found),
                    None => other = shown(&buf[..n]),
                },
                Err(e) if e.kind() == ErrorKind::ConnectionRefused => sys::sleep_ms(50),
                Err(_) => {}
            }
        }
        Err(format!("{} was answered with {other}", shown(bytes)))
    }

    pub fn up(self) -> Result<i32, String> {
        self.0.set_nonblocking(true).map_err(|e| e.to_string())?;
        Ok(self.0.into_raw_fd())
    }
}

/// As large buffers as the system gives.
pub fn room(fd: i32) {
    for name in [libc::SO_RCVBUF, libc::SO_SNDBUF] {
        sys::setopt(fd, libc::SOL_SOCKET, name, 4 << 20);
    }
}
