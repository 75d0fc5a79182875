//! CoAP: PUT of `/mqtt/{topic}`, and GET of it with Observe.
use super::wire::{Got, Role, Setup, Udp, Wire};

const CON: u8 = 0;
const NON: u8 = 1;
const ACK: u8 = 2;
const GET: u8 = 1;
const PUT: u8 = 3;
const CHANGED: u8 = 0x44;
const CONTENT: u8 = 0x45;
const OBSERVE: u16 = 6;
const URI_PATH: u16 = 11;
const URI_QUERY: u16 = 15;

struct Coap {
    confirmable: bool,
    mid: u16,
    /// what each message has after its token
    options: Vec<u8>,
    bytes: usize,
    /// when the last requests left, by their token
    times: Vec<u64>,
    sent: u32,
}

/// Options in ascending order.
fn options(all: &[(u16, &[u8])]) -> Vec<u8> {
    let mut out = vec![];
    let mut last = 0;
    for (number, value) in all {
        let (delta, len) = (number - last, value.len());
        last = *number;
        // All we have are less than 13 apart.
        match len {
            0..=12 => out.push((delta as u8) << 4 | len as u8),
            _ => out.extend_from_slice(&[(delta as u8) << 4 | 13, (len - 13) as u8]),
        }
        out.extend_from_slice(value);
    }
    out
}

fn put_head(kind: u8, code: u8, mid: u16, token: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&[0x40 | kind << 4 | token.len() as u8, code]);
    out.extend_from_slice(&mid.to_be_bytes());
    out.extend_from_slice(token);
}

/// A message in parts.
struct Message<'a> {
    kind: u8,
    code: u8,
    mid: [u8; 2],
    token: &'a [u8],
    payload: &'a [u8],
}

/// The parts that matter here; of the options only where they end.
fn open_message(bytes: &[u8]) -> Option<Message<'_>> {
    let [first, code, mid_high, mid_low, rest @ ..] = bytes else {
        return None;
    };
    let token = rest.get(..(first & 15) as usize)?;
    let mut at = token.len();
    while let Some(byte) = rest.get(at) {
        at += 1;
        if *byte == 0xff {
            break;
        }
        let mut len = 0;
        for (n, nibble) in [byte >> 4, byte & 15].into_iter().enumerate() {
            let value = match nibble {
                13 => {
                    at += 1;
                    *rest.get(at - 1)? as usize + 13
                }
                14 => {
                    at += 2;
                    u16::from_be_bytes([*rest.get(at - 2)?, *rest.get(at - 1)?]) as usize + 269
                }
                15 => return None,
                value => value as usize,
            };
            if n == 1 {
                len = value;
            }
        }
        at += len;
    }
    Some(Message {
        kind: first >> 4 & 3,
        code: *code,
        mid: [*mid_high, *mid_low],
        token,
        payload: rest.get(at..)?,
    })
}

pub fn open(setup: &Setup) -> Result<(i32, Box<dyn Wire>), String> {
    let udp = Udp::open(setup)?;
    let query = format!("c={}", setup.name);
    let mut all: Vec<(u16, &[u8])> = vec![];
    if setup.role == Role::Receiver {
        all.push((OBSERVE, b""));
    }
    all.push((URI_PATH, b"mqtt"));
    all.extend(
        setup
            .topic
            .split('/')
            .map(|part| (URI_PATH, part.as_bytes())),
    );
    all.push((URI_QUERY, query.as_bytes()));
    let options = options(&all);
    // The client is there from its first request on: that one is a GET for a sender, too.
    let kind = if setup.confirmable { CON } else { NON };
    let mut out = vec![];
    put_head(kind, GET, 0, &[0; 4], &mut out);
    out.extend_from_slice(&options);
    udp.ask(&out, |b| {
        let answer = open_message(b)?;
        (answer.code == CONTENT && answer.token == [0; 4]).then_some(())
    })?;
    let wire = Coap {
        confirmable: setup.confirmable,
        mid: 0,
        options,
        bytes: 0,
        times: vec![0; 1024],
        sent: 0,
    };
    Ok((udp.up()?, Box::new(wire)))
}

impl Wire for Coap {
    fn datagrams(&self) -> bool {
        true
    }

    fn acknowledged(&self) -> bool {
        true
    }

    fn put(&mut self, payload: &[u8], seq: u32, ts: u64, out: &mut Vec<u8>) {
        self.sent += 1;
        // One that comes again is a duplicate: it would be answered, and not published.
        assert!(
            self.sent < 65_536,
            "more messages than CoAP has ids for: more --pairs, or less --dur"
        );
        self.mid += 1;
        let kept = self.times.len();
        self.times[seq as usize % kept] = ts;
        let kind = if self.confirmable { CON } else { NON };
        put_head(kind, PUT, self.mid, &seq.to_be_bytes(), out);
        out.extend_from_slice(&self.options);
        out.push(0xff);
        out.extend_from_slice(payload);
        self.bytes = out.len();
    }

    fn take(&mut self, bytes: &[u8], got: &mut Got) -> usize {
        let Some(message) = open_message(bytes) else {
            got.bad += 1;
            return bytes.len();
        };
        if message.kind == CON {
            got.reply
                .extend_from_slice(&[0x40 | ACK << 4, 0, message.mid[0], message.mid[1]]);
            got.end_reply();
        }
        match message.code {
            // A response follows.
            0 if message.kind == ACK => {}
            CHANGED => {
                got.acks += 1;
                if let Ok(token) = message.token.try_into() {
                    let seq = u32::from_be_bytes(token) as usize;
                    got.answered.push(self.times[seq % self.times.len()]);
                }
            }
            // The subscription was confirmed twice.
            CONTENT if message.payload.is_empty() => {}
            CONTENT => got.message(message.payload),
            code => {
                if got.bad == 0 {
                    eprintln!("CoAP {}.{:02}", code >> 5, code & 31);
                }
                got.acks += 1;
                got.bad += 1;
            }
        }
        bytes.len()
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}
