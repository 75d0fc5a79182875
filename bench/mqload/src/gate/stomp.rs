//! STOMP 1.2: SEND in, MESSAGE out. At QoS 1 a SEND asks for a receipt, and a MESSAGE is acknowledged.
use super::wire::{shown, Got, Role, Setup, Tcp, Wire};
use std::io::Write;

pub struct Stomp {
    topic: String,
    qos: u8,
    bytes: usize,
    /// what a SEND begins with, and what stands before its body
    head: Vec<u8>,
}

pub const CONNECT: &[u8] =
    b"CONNECT\naccept-version:1.2\nhost:gate\nlogin:guest\npasscode:guest\nheart-beat:0,0\n\n\0";

pub fn subscribe(setup: &Setup) -> Vec<u8> {
    let ack = if setup.qos > 0 {
        "client-individual"
    } else {
        "auto"
    };
    format!(
        "SUBSCRIBE\nid:1\ndestination:{}\nack:{ack}\nreceipt:r\n\n\0",
        setup.topic
    )
    .into_bytes()
}

/// Whether a frame is what was waited for.
pub fn expect(frame: &[u8], command: &str) -> Result<(), String> {
    let begin = frame.iter().position(|b| *b != b'\n').unwrap_or(0);
    if frame[begin..].starts_with(command.as_bytes()) {
        Ok(())
    } else {
        Err(format!("no {command} but {}", shown(frame)))
    }
}

pub fn open(setup: &Setup) -> Result<(i32, Box<dyn Wire>), String> {
    let mut tcp = Tcp::open(setup)?;
    let whole = |b: &[u8]| b.last() == Some(&0);
    tcp.send(CONNECT)?;
    expect(&tcp.receive(whole)?, "CONNECTED\n")?;
    if setup.role == Role::Receiver {
        tcp.send(&subscribe(setup))?;
        expect(&tcp.receive(whole)?, "RECEIPT\n")?;
    }
    Ok((tcp.up()?, Box::new(Stomp::new(setup))))
}

impl Stomp {
    pub fn new(setup: &Setup) -> Stomp {
        Stomp {
            topic: setup.topic.clone(),
            qos: setup.qos,
            bytes: 0,
            head: vec![],
        }
    }

    /// What stands before the body of a SEND.
    pub fn head(&mut self, payload: usize, seq: u32) -> &[u8] {
        self.head.clear();
        let _ = write!(
            self.head,
            "SEND\ndestination:{}\ncontent-length:{payload}\n",
            self.topic
        );
        if self.qos > 0 {
            let _ = writeln!(self.head, "receipt:{seq}");
        }
        self.head.push(b'\n');
        &self.head
    }

    /// The frame, after the line feeds before it; its head has no NUL in it. Gives its length when it is whole.
    fn frame(&self, bytes: &[u8], got: &mut Got) -> Option<usize> {
        let end = find(bytes, b"\n\n")?;
        let head = &bytes[..end];
        let body = end + 2;
        let mut lines = head.split(|b| *b == b'\n');
        let command = lines.next().unwrap_or_default();
        let (mut length, mut ack) = (None, None);
        for line in lines {
            if let Some(value) = line.strip_prefix(b"content-length:") {
                length = std::str::from_utf8(value).ok()?.parse::<usize>().ok();
            } else if let Some(value) = line.strip_prefix(b"ack:") {
                ack = Some(value);
            }
        }
        let length = match length {
            Some(length) => length,
            None => bytes[body..].iter().position(|b| *b == 0)?,
        };
        if bytes.len() <= body + length {
            return None;
        }
        match command {
            b"MESSAGE" => {
                got.message(&bytes[body..body + length]);
                if let Some(id) = ack.filter(|_| self.qos > 0) {
                    got.reply.extend_from_slice(b"ACK\nid:");
                    got.reply.extend_from_slice(id);
                    got.reply.extend_from_slice(b"\n\n\0");
                }
            }
            b"RECEIPT" => got.acks += 1,
            _ => {
                eprintln!("{}", shown(bytes));
                got.bad += 1;
            }
        }
        Some(body + length + 1)
    }
}

fn find(bytes: &[u8], what: &[u8; 2]) -> Option<usize> {
    bytes.windows(2).position(|two| two == what)
}

impl Wire for Stomp {
    fn datagrams(&self) -> bool {
        false
    }

    fn acknowledged(&self) -> bool {
        self.qos > 0
    }

    fn put(&mut self, payload: &[u8], seq: u32, _ts: u64, out: &mut Vec<u8>) {
        let before = out.len();
        out.extend_from_slice(self.head(payload.len(), seq));
        out.extend_from_slice(payload);
        out.push(0);
        self.bytes = out.len() - before;
    }

    fn take(&mut self, bytes: &[u8], got: &mut Got) -> usize {
        let mut at = 0;
        loop {
            at += bytes[at..].iter().take_while(|b| **b == b'\n').count();
            match self.frame(&bytes[at..], got) {
                Some(len) => at += len,
                None => return at,
            }
        }
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}
