//! Which node of a cluster has which keys.

use emqttd_backend::Address;
use redis::Value;

/// Keys are spread over so many slots.
const SLOTS: u16 = 16384;
/// The slot is nobody's, as far as is known.
const NOBODY: u16 = u16::MAX;

/// The node of each slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slots {
    nodes: Vec<Address>,
    /// indexes of `nodes`
    owners: Box<[u16]>,
}

/// The slot of a key: of what stands in its first braces, if there is something in them.
pub(crate) fn slot_of(key: &[u8]) -> u16 {
    let tag = || {
        let open = key.iter().position(|byte| *byte == b'{')?;
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        Some(&rest[..close]).filter(|tag| !tag.is_empty())
    };
    crc16(tag().unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => crc << 1 ^ 0x1021,
        })
    })
}

impl Slots {
    /// Nothing is known yet.
    pub fn unknown() -> Slots {
        Slots {
            nodes: Vec::new(),
            owners: vec![NOBODY; usize::from(SLOTS)].into(),
        }
    }

    /// Reads the reply to `CLUSTER SLOTS` of the node at `asked`; `None` = it is none.
    pub fn read(reply: &Value, asked: &Address) -> Option<Slots> {
        let Value::Array(ranges) = reply else {
            return None;
        };
        let mut slots = Slots::unknown();
        for range in ranges {
            let Value::Array(parts) = range else {
                return None;
            };
            let [Value::Int(first), Value::Int(last), master, ..] = parts.as_slice() else {
                return None;
            };
            let first = u16::try_from(*first).ok()?;
            let last = u16::try_from(*last).ok().filter(|last| *last < SLOTS)?;
            let node = slots.index(node(master, asked)?)?;
            let owners = slots
                .owners
                .get_mut(usize::from(first)..=usize::from(last))?;
            owners.fill(node);
        }
        (!slots.nodes.is_empty()).then_some(slots)
    }

    /// Whose it is.
    pub fn owner(&self, slot: u16) -> Option<&Address> {
        let owner = self.owners.get(usize::from(slot))?;
        self.nodes.get(usize::from(*owner))
    }

    /// A node has said that the slot is another's now.
    pub fn moved(&mut self, slot: u16, to: &Address) {
        if let Some(index) = self.index(to.clone())
            && let Some(owner) = self.owners.get_mut(usize::from(slot))
        {
            *owner = index;
        }
    }

    /// All masters.
    pub fn nodes(&self) -> &[Address] {
        &self.nodes
    }

    /// The index of a node, which is added when it is new; `None` = there are more than a cluster can have.
    fn index(&mut self, node: Address) -> Option<u16> {
        let index = match self.nodes.iter().position(|known| *known == node) {
            Some(index) => index,
            None if self.nodes.len() >= usize::from(SLOTS) => return None,
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        };
        u16::try_from(index).ok()
    }
}

/// The node in a part of a range; one that does not know its own host is where it was asked.
fn node(part: &Value, asked: &Address) -> Option<Address> {
    let Value::Array(fields) = part else {
        return None;
    };
    let [host, Value::Int(port), ..] = fields.as_slice() else {
        return None;
    };
    let host = match host {
        Value::BulkString(host) if !host.is_empty() && host != b"?" => {
            String::from_utf8(host.clone()).ok()?
        }
        _ => asked.host.clone(),
    };
    let port = u16::try_from(*port).ok()?;
    Some(Address { host, port })
}

/// The node that MOVED or ASK names: `host:port`, and the host may be missing or an IPv6 address without brackets.
pub(crate) fn redirected(text: &str, from: &Address) -> Option<Address> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host {
        "" | "?" => &from.host,
        host => host.trim_start_matches('[').trim_end_matches(']'),
    };
    Some(Address {
        host: host.into(),
        port: port.parse().ok().filter(|port| *port > 0)?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(host: &str, port: u16) -> Address {
        Address {
            host: host.into(),
            port,
        }
    }

    fn range(first: i64, last: i64, host: Value, port: i64) -> Value {
        let node = |host, port| {
            let id = Value::BulkString(b"id".to_vec());
            Value::Array(vec![host, Value::Int(port), id, Value::Array(vec![])])
        };
        let replica = node(Value::BulkString(b"replica".to_vec()), 9);
        let (first, last) = (Value::Int(first), Value::Int(last));
        Value::Array(vec![first, last, node(host, port), replica])
    }

    fn host(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    /// As `CLUSTER KEYSLOT` of Redis 7.0 answers.
    #[test]
    fn slots_of_keys() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        for (key, slot) in [
            ("foo", 12182),
            ("", 0),
            ("{}foo", 9500),
            ("foo{bar}{zap}", 5061),
            ("x{bar", 4100),
            ("foo{}{bar}", 8363),
            ("foo{{bar}}zap", 4015),
        ] {
            assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
        }
        assert_eq!(slot_of(b"{user}:a"), slot_of(b"mqtt:{user}"));
    }

    #[test]
    fn owners() {
        let asked = at("seed", 1);
        let reply = Value::Array(vec![
            range(0, 99, host("a"), 1),
            range(100, 16383, host(""), 2),
            range(50, 50, Value::Nil, 3),
        ]);
        let mut slots = Slots::read(&reply, &asked).unwrap();
        assert_eq!(slots.owner(0), Some(&at("a", 1)));
        assert_eq!(slots.owner(99), Some(&at("a", 1)));
        assert_eq!(slots.owner(50), Some(&at("seed", 3)));
        assert_eq!(slots.owner(16383), Some(&at("seed", 2)));
        assert_eq!(slots.owner(16384), None);
        slots.moved(7, &at("new", 4));
        assert_eq!(slots.owner(7), Some(&at("new", 4)));
        assert_eq!(slots.owner(8), Some(&at("a", 1)));
        slots.moved(u16::MAX, &at("a", 1));
        assert_eq!(slots.nodes().len(), 4);
        assert_eq!(Slots::unknown().owner(0), None);
    }

    #[test]
    fn what_is_no_map() {
        let asked = at("seed", 1);
        for odd in [
            Value::Nil,
            Value::Array(vec![]),
            Value::Array(vec![Value::Int(1)]),
            Value::Array(vec![Value::Array(vec![Value::Int(0), Value::Int(1)])]),
            Value::Array(vec![range(0, 16384, host("a"), 1)]),
            Value::Array(vec![range(-1, 5, host("a"), 1)]),
            Value::Array(vec![range(9, 5, host("a"), 1)]),
            Value::Array(vec![range(0, 5, host("a"), 70000)]),
        ] {
            assert_eq!(Slots::read(&odd, &asked), None, "{odd:?}");
        }
    }

    #[test]
    fn redirections() {
        let from = at("here", 1);
        for (text, wanted) in [
            ("127.0.0.1:7001", Some(at("127.0.0.1", 7001))),
            ("::1:7001", Some(at("::1", 7001))),
            ("[::1]:7001", Some(at("::1", 7001))),
            ("db.example.com:7001", Some(at("db.example.com", 7001))),
            (":7001", Some(at("here", 7001))),
            ("?:7001", Some(at("here", 7001))),
            ("db", None),
            ("db:0", None),
            ("db:x", None),
        ] {
            assert_eq!(redirected(text, &from), wanted, "{text}");
        }
    }
}
