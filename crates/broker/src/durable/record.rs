//! How sessions, subscriptions and messages are written as bytes.
//!
//! Each value begins with the version of its form. Numbers are variable-length, strings and bytes have their
//! length before them. Times are unix milliseconds: the broker's own clock begins anew with each start.

use emqttd_mqtt::{QoS, Version};
use emqttd_session::{Delivery, Message, MessageParts, Publisher, Subscription};
use std::sync::Arc;

/// Version of all forms in this file.
const FORM: u8 = 1;

/// The same moment on the node's clock and on the calendar, milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    pub now: u64,
    pub unix: u64,
}

impl Clock {
    /// From the node's clock to the calendar; `u64::MAX` is never.
    pub fn calendar(self, at: u64) -> u64 {
        match at {
            u64::MAX => u64::MAX,
            at if at >= self.now => self.unix.saturating_add(at - self.now),
            at => self.unix.saturating_sub(self.now - at),
        }
    }

    /// From the calendar to the node's clock. What was before the node started is 1: long over.
    pub fn node_time(self, at: u64) -> u64 {
        match at {
            u64::MAX => u64::MAX,
            at if at >= self.unix => self.now.saturating_add(at - self.unix),
            at => self.now.saturating_sub(self.unix - at).max(1),
        }
    }
}

pub(crate) fn put_number(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads what was written above; `None` where the bytes are not what they should be.
pub(crate) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub fn number(&mut self) -> Option<u64> {
        let mut n = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            n |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(n);
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    pub fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    fn form(&mut self) -> Option<()> {
        (self.byte()? == FORM).then_some(())
    }
}

fn qos_of(bits: u8) -> Option<QoS> {
    QoS::from_u8(bits & 3)
}

const RETAIN: u8 = 4;
const PUBLISHER: u8 = 8;
const USERNAME: u8 = 16;
const EXPIRES: u8 = 32;

/// What stands before topic, properties and payload of a message.
pub(crate) fn put_message_head(
    out: &mut Vec<u8>,
    parts: &MessageParts<'_>,
    publisher: Option<&Publisher>,
    timestamp: u64,
    expires_unix: u64,
) {
    let username = publisher.and_then(|publisher| publisher.username.as_deref());
    let mut flags = parts.qos as u8;
    flags |= if parts.retain { RETAIN } else { 0 };
    flags |= if publisher.is_some() { PUBLISHER } else { 0 };
    flags |= if username.is_some() { USERNAME } else { 0 };
    flags |= if expires_unix == u64::MAX { 0 } else { EXPIRES };
    out.extend_from_slice(&[FORM, flags]);
    put_number(out, timestamp);
    if expires_unix != u64::MAX {
        put_number(out, expires_unix);
    }
    if let Some(publisher) = publisher {
        put_bytes(out, publisher.clientid.as_bytes());
    }
    if let Some(username) = username {
        put_bytes(out, username.as_bytes());
    }
    put_number(out, parts.topic.len() as u64);
    put_number(out, parts.properties.len() as u64);
}

/// A whole message, as it stands in tables.
pub(crate) fn put_message(out: &mut Vec<u8>, message: &Message, clock: Clock) {
    put_message_until(out, message, clock.calendar(message.expires_at));
}

/// As [`put_message`], with the time at which it expires given apart.
pub(crate) fn put_message_until(out: &mut Vec<u8>, message: &Message, expires: u64) {
    let parts = message.parts();
    put_message_head(
        out,
        &parts,
        message.publisher.as_deref(),
        message.timestamp,
        expires,
    );
    out.extend_from_slice(parts.topic.as_bytes());
    out.extend_from_slice(parts.properties);
    out.extend_from_slice(parts.payload);
}

/// Reads a message that fills `bytes`.
pub(crate) fn message(bytes: &[u8], clock: Clock) -> Option<Message> {
    let mut reader = Reader(bytes);
    reader.form()?;
    let flags = reader.byte()?;
    let timestamp = reader.number()?;
    let expires = match flags & EXPIRES {
        0 => u64::MAX,
        _ => clock.node_time(reader.number()?),
    };
    let publisher = match flags & PUBLISHER {
        0 => None,
        _ => {
            let clientid = reader.text()?.into();
            let username = match flags & USERNAME {
                0 => None,
                _ => Some(reader.text()?.into()),
            };
            Some(Arc::new(Publisher { clientid, username }))
        }
    };
    let topic_len = usize::from(u16::try_from(reader.number()?).ok()?);
    let properties_len = usize::try_from(reader.number()?).ok()?;
    let (topic, rest) = reader.0.split_at_checked(topic_len)?;
    let (properties, payload) = rest.split_at_checked(properties_len)?;
    let parts = MessageParts {
        topic: std::str::from_utf8(topic).ok()?,
        properties,
        payload,
        qos: qos_of(flags)?,
        retain: flags & RETAIN != 0,
    };
    Some(Message::new(parts, publisher, timestamp, expires))
}

/// Version of the form of a retained message that has its sequence before it.
const SEQUENCED: u8 = 2;

/// A retained message as it stands in its table.
pub(crate) fn retained_value(sequence: u64, message: &Message, clock: Clock) -> Vec<u8> {
    let mut out = vec![SEQUENCED];
    put_number(&mut out, sequence);
    put_message(&mut out, message, clock);
    out
}

/// A retained message and its sequence, which earlier versions did not write.
pub(crate) fn retained(bytes: &[u8], clock: Clock) -> Option<(Option<u64>, Message)> {
    match bytes.split_first()? {
        (&SEQUENCED, rest) => {
            let mut reader = Reader(rest);
            let sequence = reader.number()?;
            Some((Some(sequence), message(reader.0, clock)?))
        }
        _ => Some((None, message(bytes, clock)?)),
    }
}

/// How a message was sent: a group's is not stored with the QoS of the member that gets it.
pub(crate) fn note_of(qos: QoS, retain: bool) -> u8 {
    qos as u8 | if retain { RETAIN } else { 0 }
}

/// The other direction.
pub(crate) fn sent_as(note: u8) -> (QoS, bool) {
    (qos_of(note).unwrap_or(QoS::AtMostOnce), note & RETAIN != 0)
}

/// How one receiver is to get a message: stands beside its number.
pub(crate) fn put_options(out: &mut Vec<u8>, qos: QoS, retain: bool, ids: &[u32]) {
    out.push(note_of(qos, retain));
    for id in ids {
        put_number(out, u64::from(*id));
    }
}

/// A delivery of `message` as [`put_options`] has written it.
pub(crate) fn delivery(bytes: &[u8], message: Arc<Message>) -> Option<Delivery> {
    let mut reader = Reader(bytes);
    let flags = reader.byte()?;
    let mut delivery = Delivery::new(message, qos_of(flags)?);
    delivery.retain = flags & RETAIN != 0;
    while !reader.0.is_empty() {
        delivery.add_id(u32::try_from(reader.number()?).ok()?);
    }
    Some(delivery)
}

/// A subscription's options.
pub(crate) fn subscription_value(subscription: &Subscription, replaying: bool) -> Vec<u8> {
    let flags = subscription.qos as u8
        | u8::from(subscription.no_local) << 2
        | u8::from(subscription.retain_as_published) << 3
        | u8::from(subscription.unchecked) << 4
        | u8::from(replaying) << 5;
    let mut out = vec![FORM, flags];
    put_number(&mut out, u64::from(subscription.id));
    out
}

/// A subscription, and whether retained messages were still on their way to it.
pub(crate) fn subscription(bytes: &[u8]) -> Option<(Subscription, bool)> {
    let mut reader = Reader(bytes);
    reader.form()?;
    let flags = reader.byte()?;
    let subscription = Subscription {
        qos: qos_of(flags)?,
        no_local: flags & 4 != 0,
        retain_as_published: flags & 8 != 0,
        unchecked: flags & 16 != 0,
        id: u32::try_from(reader.number()?).ok()?,
    };
    Some((subscription, flags & 32 != 0))
}

/// The key of a table whose rows belong to an owner.
pub(crate) fn owner_key(owner: u64, rest: &[u8]) -> Vec<u8> {
    let mut key = owner.to_be_bytes().to_vec();
    key.extend_from_slice(rest);
    key
}

/// Owner and rest of such a key.
pub(crate) fn split_key(key: &[u8]) -> Option<(u64, &[u8])> {
    let (owner, rest) = key.split_first_chunk()?;
    Some((u64::from_be_bytes(*owner), rest))
}

/// A session as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionRecord {
    pub clientid: Arc<str>,
    pub username: Option<Arc<str>>,
    pub version: Version,
    /// Session Expiry Interval, seconds
    pub expiry: u32,
    /// unix milliseconds at which it ends; 0 = its client is connected
    pub expires_unix: u64,
    /// unix seconds
    pub created_at: u64,
    pub will: Option<WillRecord>,
}

/// A will as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WillRecord {
    /// unix milliseconds at which it is due; 0 = its client is connected
    pub due_unix: u64,
    /// Will Delay Interval, seconds
    pub delay: u32,
    /// seconds for which the message lives once it is published; `u64::MAX` = for ever
    pub lifetime: u64,
    /// the message, as [`put_message`] writes it
    pub message: Vec<u8>,
}

impl SessionRecord {
    pub fn value(&self) -> Vec<u8> {
        let flags = u8::from(self.username.is_some()) | u8::from(self.will.is_some()) << 1;
        let mut out = vec![FORM, flags, self.version as u8];
        put_bytes(&mut out, self.clientid.as_bytes());
        if let Some(username) = &self.username {
            put_bytes(&mut out, username.as_bytes());
        }
        put_number(&mut out, u64::from(self.expiry));
        put_number(&mut out, self.expires_unix);
        put_number(&mut out, self.created_at);
        if let Some(will) = &self.will {
            put_number(&mut out, will.due_unix);
            put_number(&mut out, u64::from(will.delay));
            put_number(&mut out, will.lifetime);
            put_bytes(&mut out, &will.message);
        }
        out
    }

    pub fn read(bytes: &[u8]) -> Option<SessionRecord> {
        let mut reader = Reader(bytes);
        reader.form()?;
        let flags = reader.byte()?;
        let version = match reader.byte()? {
            3 => Version::V31,
            4 => Version::V311,
            5 => Version::V5,
            _ => return None,
        };
        Some(SessionRecord {
            clientid: reader.text()?.into(),
            username: match flags & 1 {
                0 => None,
                _ => Some(reader.text()?.into()),
            },
            version,
            expiry: u32::try_from(reader.number()?).ok()?,
            expires_unix: reader.number()?,
            created_at: reader.number()?,
            will: match flags & 2 {
                0 => None,
                _ => Some(WillRecord {
                    due_unix: reader.number()?,
                    delay: u32::try_from(reader.number()?).ok()?,
                    lifetime: reader.number()?,
                    message: reader.bytes()?.to_vec(),
                }),
            },
        })
    }
}

/// A shared group: its name and its filter.
pub(crate) fn group_value(name: &str, filter: &str) -> Vec<u8> {
    let mut out = vec![FORM];
    put_bytes(&mut out, name.as_bytes());
    put_bytes(&mut out, filter.as_bytes());
    out
}

/// Name and filter of a group.
pub(crate) fn group(bytes: &[u8]) -> Option<(&str, &str)> {
    let mut reader = Reader(bytes);
    reader.form()?;
    Some((reader.text()?, reader.text()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CLOCK: Clock = Clock {
        now: 5_000,
        unix: 1_700_000_000_000,
    };

    proptest! {
        #[test]
        fn messages_are_read_as_they_were_written(
            topic in "[a-z/]{0,20}", properties in proptest::collection::vec(any::<u8>(), 0..20),
            payload in proptest::collection::vec(any::<u8>(), 0..50), qos in 0u8..3, retain in any::<bool>(),
            client in proptest::option::of(("[a-z]{0,9}", proptest::option::of("[a-z]{0,9}"))),
            timestamp in any::<u64>(), expires in prop_oneof![Just(u64::MAX), 5_000..1u64 << 40],
        ) {
            let publisher = client.map(|(clientid, username)| Arc::new(Publisher {
                clientid: clientid.into(), username: username.map(Into::into),
            }));
            let parts = MessageParts {
                topic: &topic, properties: &properties, payload: &payload,
                qos: QoS::from_u8(qos).unwrap_or(QoS::AtMostOnce), retain,
            };
            let written = Message::new(parts, publisher, timestamp, expires);
            let mut bytes = Vec::new();
            put_message(&mut bytes, &written, CLOCK);
            let read = message(&bytes, CLOCK);
            prop_assert!(read.is_some());
            if let Some(read) = read {
                prop_assert_eq!(format!("{read:?}"), format!("{written:?}"));
            }
            let old = retained(&bytes, CLOCK).map(|(sequence, message)| (sequence, format!("{message:?}")));
            prop_assert_eq!(old, Some((None, format!("{written:?}"))));
            let row = retained_value(timestamp, &written, CLOCK);
            let new = retained(&row, CLOCK).map(|(sequence, message)| (sequence, format!("{message:?}")));
            prop_assert_eq!(new, Some((Some(timestamp), format!("{written:?}"))));
        }

        #[test]
        fn sessions_are_read_as_they_were_written(
            clientid in ".{0,20}", username in proptest::option::of(".{0,20}"), version in 3u8..6,
            numbers in any::<(u32, u64, u64)>(), will in proptest::option::of(any::<(u64, u32, u64, Vec<u8>)>()),
        ) {
            let record = SessionRecord {
                clientid: clientid.into(), username: username.map(Into::into),
                version: [Version::V31, Version::V311, Version::V5][usize::from(version) - 3],
                expiry: numbers.0, expires_unix: numbers.1, created_at: numbers.2,
                will: will.map(|(due_unix, delay, lifetime, message)| WillRecord { due_unix, delay, lifetime, message }),
            };
            prop_assert_eq!(SessionRecord::read(&record.value()), Some(record));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let body = MessageParts { topic: "t", properties: b"", payload: b"", qos: QoS::AtMostOnce, retain: false };
            let _ = delivery(&bytes, Arc::new(Message::new(body, None, 0, u64::MAX)));
            let _ = (message(&bytes, CLOCK), retained(&bytes, CLOCK), SessionRecord::read(&bytes), subscription(&bytes), group(&bytes));
        }
    }

    #[test]
    fn times_come_back_on_another_clock() {
        let later = Clock {
            now: 10,
            unix: CLOCK.unix + 60_000,
        };
        assert_eq!(
            later.node_time(CLOCK.calendar(CLOCK.now + 90_000)),
            10 + 30_000
        );
        assert_eq!(later.node_time(CLOCK.calendar(CLOCK.now + 1_000)), 1);
        assert_eq!(later.node_time(CLOCK.calendar(u64::MAX)), u64::MAX);
    }
}
