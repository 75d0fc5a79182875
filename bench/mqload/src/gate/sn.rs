//! MQTT-SN 1.2.
use super::wire::{Got, Role, Setup, Udp, Wire};

pub const CONNECT: u8 = 0x04;
pub const CONNACK: u8 = 0x05;
pub const REGISTER: u8 = 0x0a;
pub const REGACK: u8 = 0x0b;
pub const PUBLISH: u8 = 0x0c;
pub const PUBACK: u8 = 0x0d;
pub const SUBSCRIBE: u8 = 0x12;
pub const SUBACK: u8 = 0x13;
pub const PINGREQ: u8 = 0x16;
pub const PINGRESP: u8 = 0x17;
pub const DISCONNECT: u8 = 0x18;
/// Flag CleanSession
pub const CLEAN: u8 = 0x04;

struct Sn {
    topic_id: u16,
    qos: u8,
    id: u16,
    bytes: usize,
    /// when the last messages left, by their id
    times: Vec<u64>,
}

/// A message of this type with these fields.
pub fn message(kind: u8, fields: &[&[u8]], out: &mut Vec<u8>) {
    let len = 2 + fields.iter().map(|f| f.len()).sum::<usize>();
    if len < 256 {
        out.extend_from_slice(&[len as u8, kind]);
    } else {
        let long = (len as u16 + 2).to_be_bytes();
        out.extend_from_slice(&[1, long[0], long[1], kind]);
    }
    fields.iter().for_each(|f| out.extend_from_slice(f));
}

/// The type, and what follows it.
pub fn open_message(bytes: &[u8]) -> Option<(u8, &[u8])> {
    match bytes {
        [1, high, low, kind, rest @ ..] => {
            (u16::from_be_bytes([*high, *low]) as usize == bytes.len()).then_some((*kind, rest))
        }
        [len, kind, rest @ ..] => (*len as usize == bytes.len()).then_some((*kind, rest)),
        _ => None,
    }
}

pub fn connect(name: &str, duration: u16) -> Vec<u8> {
    let mut out = vec![];
    let fields: [&[u8]; 3] = [&[CLEAN, 1], &duration.to_be_bytes(), name.as_bytes()];
    message(CONNECT, &fields, &mut out);
    out
}

pub fn open(setup: &Setup) -> Result<(i32, Box<dyn Wire>), String> {
    let udp = Udp::open(setup)?;
    udp.ask(&connect(&setup.name, 600), |b| match open_message(b)? {
        (CONNACK, [0]) => Some(()),
        _ => None,
    })?;
    let mut out = vec![];
    let topic = setup.topic.as_bytes();
    let topic_id = match setup.role {
        Role::Sender => {
            message(REGISTER, &[&[0, 0, 0, 1], topic], &mut out);
            udp.ask(&out, |b| match open_message(b)? {
                (REGACK, [high, low, 0, 1, 0]) => Some(u16::from_be_bytes([*high, *low])),
                _ => None,
            })?
        }
        Role::Receiver => {
            message(SUBSCRIBE, &[&[setup.qos << 5, 0, 1], topic], &mut out);
            udp.ask(&out, |b| match open_message(b)? {
                (SUBACK, [_, high, low, 0, 1, 0]) => Some(u16::from_be_bytes([*high, *low])),
                _ => None,
            })?
        }
    };
    let wire = Sn {
        topic_id,
        qos: setup.qos,
        id: 0,
        bytes: 0,
        times: vec![0; 1024],
    };
    Ok((udp.up()?, Box::new(wire)))
}

impl Wire for Sn {
    fn datagrams(&self) -> bool {
        true
    }

    fn acknowledged(&self) -> bool {
        self.qos > 0
    }

    fn put(&mut self, payload: &[u8], _seq: u32, ts: u64, out: &mut Vec<u8>) {
        self.id = self.id.checked_add(1).unwrap_or(1);
        let id = if self.qos > 0 { self.id } else { 0 };
        let kept = self.times.len();
        self.times[self.id as usize % kept] = ts;
        let fields: [&[u8]; 4] = [
            &[self.qos << 5],
            &self.topic_id.to_be_bytes(),
            &id.to_be_bytes(),
            payload,
        ];
        message(PUBLISH, &fields, out);
        self.bytes = out.len();
    }

    fn ask(&mut self, out: &mut Vec<u8>) {
        message(PINGREQ, &[], out);
    }

    fn take(&mut self, bytes: &[u8], got: &mut Got) -> usize {
        match open_message(bytes) {
            Some((PUBLISH, [flags, topic_high, topic_low, high, low, payload @ ..])) => {
                got.message(payload);
                if flags >> 5 & 3 == 1 {
                    let fields: [&[u8]; 1] = [&[*topic_high, *topic_low, *high, *low, 0]];
                    message(PUBACK, &fields, &mut got.reply);
                    got.end_reply();
                }
            }
            Some((PUBACK, [_, _, high, low, code])) => {
                let id = u16::from_be_bytes([*high, *low]) as usize;
                got.answered.push(self.times[id % self.times.len()]);
                got.acks += 1;
                // Congestion, for one: the message is lost.
                got.bad += u64::from(*code != 0);
            }
            Some((PINGRESP, _)) => got.pongs += 1,
            Some((REGISTER, [high, low, id_high, id_low, ..])) => {
                let fields: [&[u8]; 1] = [&[*high, *low, *id_high, *id_low, 0]];
                message(REGACK, &fields, &mut got.reply);
                got.end_reply();
            }
            // Broadcast by the gateway.
            Some((0, _)) => {}
            _ => got.bad += 1,
        }
        bytes.len()
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}
