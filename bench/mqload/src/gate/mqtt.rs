//! MQTT 3.1.1: what the gateways are compared with, and the other end of each.
use super::wire::{Got, Role, Setup, Tcp, Wire};
use crate::codec;

struct Mqtt {
    topic: String,
    qos: u8,
    pid: u16,
    bytes: usize,
}

pub fn open(setup: &Setup) -> Result<(i32, Box<dyn Wire>), String> {
    let mut tcp = Tcp::open(setup)?;
    let mut out = vec![];
    codec::connect(&mut out, &setup.name, 600, true);
    tcp.send(&out)?;
    let whole = |b: &[u8]| codec::frame(b).is_ok();
    match tcp.receive(whole)? {
        connack if connack == [0x20, 2, 0, 0] => {}
        other => return Err(format!("CONNACK {other:?}")),
    }
    if setup.role == Role::Receiver {
        out.clear();
        codec::subscribe(&mut out, 1, std::slice::from_ref(&setup.topic), setup.qos);
        tcp.send(&out)?;
        match tcp.receive(whole)? {
            suback if suback == [0x90, 3, 0, 1, setup.qos] => {}
            other => return Err(format!("SUBACK {other:?}")),
        }
    }
    let wire = Mqtt {
        topic: setup.topic.clone(),
        qos: setup.qos,
        pid: 0,
        bytes: 0,
    };
    Ok((tcp.up()?, Box::new(wire)))
}

impl Wire for Mqtt {
    fn datagrams(&self) -> bool {
        false
    }

    fn acknowledged(&self) -> bool {
        self.qos > 0
    }

    fn put(&mut self, payload: &[u8], _seq: u32, _ts: u64, out: &mut Vec<u8>) {
        let before = out.len();
        self.pid = self.pid.checked_add(1).unwrap_or(1);
        let id = if self.qos > 0 { 2 } else { 0 };
        out.push(0x30 | self.qos << 1);
        codec::put_len(out, 2 + self.topic.len() + id + payload.len());
        out.extend_from_slice(&(self.topic.len() as u16).to_be_bytes());
        out.extend_from_slice(self.topic.as_bytes());
        if self.qos > 0 {
            out.extend_from_slice(&self.pid.to_be_bytes());
        }
        out.extend_from_slice(payload);
        self.bytes = out.len() - before;
    }

    fn take(&mut self, bytes: &[u8], got: &mut Got) -> usize {
        let mut at = 0;
        loop {
            match codec::frame(&bytes[at..]) {
                Ok((first, header, len)) => {
                    self.packet(first, &bytes[at + header..at + len], got);
                    at += len;
                }
                Err(malformed) => {
                    got.broken |= malformed;
                    return at;
                }
            }
        }
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Mqtt {
    fn packet(&mut self, first: u8, body: &[u8], got: &mut Got) {
        match first >> 4 {
            3 if body.len() >= 2 => {
                let mut at = 2 + u16::from_be_bytes([body[0], body[1]]) as usize;
                let qos = first >> 1 & 3;
                if qos > 0 && body.len() >= at + 2 {
                    let pid = u16::from_be_bytes([body[at], body[at + 1]]);
                    let kind = if qos == 1 {
                        codec::PUBACK
                    } else {
                        codec::PUBREC
                    };
                    codec::ack(&mut got.reply, kind, pid);
                    at += 2;
                }
                match body.get(at..) {
                    Some(payload) => got.message(payload),
                    None => got.bad += 1,
                }
            }
            4 | 7 => got.acks += 1,
            5 | 6 if body.len() == 2 => {
                let kind = if first >> 4 == 5 {
                    codec::PUBREL
                } else {
                    codec::PUBCOMP
                };
                codec::ack(&mut got.reply, kind, u16::from_be_bytes([body[0], body[1]]));
            }
            _ => got.bad += 1,
        }
    }
}
