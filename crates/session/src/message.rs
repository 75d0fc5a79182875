//! Application messages and what is owed of them to one session.

use emqttd_mqtt::QoS;
use std::sync::Arc;

/// Who published a message.
#[derive(Debug, PartialEq, Eq)]
pub struct Publisher {
    /// client identifier, or the name of an internal source (`broker`, `stats`, `metrics`, ...)
    pub clientid: Arc<str>,
    /// user name of its connection
    pub username: Option<Arc<str>>,
}

/// An application message. Its body is kept once, however many sessions are owed it.
#[derive(Debug)]
pub struct Message {
    /// topic, forwardable properties, payload, in one allocation
    body: Box<[u8]>,
    /// who published it; `None` for the broker itself
    pub publisher: Option<Arc<Publisher>>,
    /// when it was published, unix milliseconds
    pub timestamp: u64,
    /// when it expires, milliseconds of the caller's clock; `u64::MAX` = never [MQTT-3.3.2-5]
    pub expires_at: u64,
    properties_len: u32,
    topic_len: u16,
    /// QoS it was published with
    pub qos: QoS,
    /// RETAIN flag it was published with
    pub retain: bool,
}

/// The parts a [`Message`] is made of.
#[derive(Debug, Clone, Copy)]
pub struct MessageParts<'a> {
    /// topic name, at most 65,535 bytes
    pub topic: &'a str,
    /// forwardable properties in MQTT 5 encoding, without their length
    pub properties: &'a [u8],
    /// application payload
    pub payload: &'a [u8],
    /// QoS it was published with
    pub qos: QoS,
    /// RETAIN flag it was published with
    pub retain: bool,
}

impl Message {
    /// Copies the parts into one body.
    ///
    /// # Panics
    /// When the topic is longer than an MQTT string can be; decoders never hand out such a topic.
    pub fn new(
        parts: MessageParts<'_>,
        publisher: Option<Arc<Publisher>>,
        timestamp: u64,
        expires_at: u64,
    ) -> Message {
        let topic_len = u16::try_from(parts.topic.len()).expect("topics are at most 65,535 bytes");
        let properties_len =
            u32::try_from(parts.properties.len()).expect("packets are at most 256 MB");
        let mut body =
            Vec::with_capacity(parts.topic.len() + parts.properties.len() + parts.payload.len());
        body.extend_from_slice(parts.topic.as_bytes());
        body.extend_from_slice(parts.properties);
        body.extend_from_slice(parts.payload);
        Message {
            body: body.into_boxed_slice(),
            publisher,
            timestamp,
            expires_at,
            properties_len,
            topic_len,
            qos: parts.qos,
            retain: parts.retain,
        }
    }

    /// Topic name.
    pub fn topic(&self) -> &str {
        std::str::from_utf8(&self.body[..self.topic_len as usize])
            .expect("the body begins with a str")
    }

    /// Topic name as bytes, without the cost of a check.
    #[inline]
    pub fn topic_bytes(&self) -> &[u8] {
        &self.body[..self.topic_len as usize]
    }

    /// Forwardable properties in MQTT 5 encoding.
    #[inline]
    pub fn properties(&self) -> &[u8] {
        let start = self.topic_len as usize;
        &self.body[start..start + self.properties_len as usize]
    }

    /// Application payload.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.body[self.topic_len as usize + self.properties_len as usize..]
    }

    /// Bytes this message occupies in a queue's account.
    #[inline]
    pub fn size(&self) -> usize {
        self.body.len()
    }

    /// The parts, for making a changed copy.
    pub fn parts(&self) -> MessageParts<'_> {
        MessageParts {
            topic: self.topic(),
            properties: self.properties(),
            payload: self.payload(),
            qos: self.qos,
            retain: self.retain,
        }
    }

    /// Whether its expiry interval has passed.
    #[inline]
    pub fn expired(&self, now: u64) -> bool {
        self.expires_at <= now
    }

    /// Seconds left of the expiry interval, as it must be forwarded [MQTT-3.3.2-6].
    #[inline]
    pub fn expiry_left(&self, now: u64) -> Option<u32> {
        if self.expires_at == u64::MAX {
            return None;
        }
        let left = self.expires_at.saturating_sub(now).div_ceil(1000);
        Some(u32::try_from(left).unwrap_or(u32::MAX))
    }
}

/// Names the shared group through which a message came: an opaque number of the broker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupRef(pub u64);

/// One message owed to one session.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// the message
    pub message: Arc<Message>,
    /// further subscription identifiers beyond the first
    pub more_ids: Option<Box<Vec<u32>>>,
    /// the shared group that assigned it
    pub group: Option<GroupRef>,
    /// number under which the store knows that this session, or the shared group, is owed it; 0 = it is not
    /// stored
    pub seq: u64,
    /// subscription identifier; 0 = none
    pub sub_id: u32,
    /// QoS of this delivery
    pub qos: QoS,
    /// RETAIN flag of this delivery
    pub retain: bool,
}

impl Delivery {
    /// A delivery of `message` at `qos`, RETAIN clear, no identifiers.
    pub fn new(message: Arc<Message>, qos: QoS) -> Delivery {
        Delivery {
            message,
            more_ids: None,
            group: None,
            seq: 0,
            sub_id: 0,
            qos,
            retain: false,
        }
    }

    /// Calls `f` with the subscription identifiers [MQTT-3.3.4-3].
    pub fn with_ids<R>(&self, f: impl FnOnce(&[u32]) -> R) -> R {
        match (&self.more_ids, self.sub_id) {
            (Some(ids), _) => f(ids),
            (None, 0) => f(&[]),
            (None, id) => f(&[id]),
        }
    }

    /// Adds a subscription identifier (0 = none).
    pub fn add_id(&mut self, id: u32) {
        if id == 0 {
            return;
        }
        match (&mut self.more_ids, self.sub_id) {
            (Some(ids), _) => ids.push(id),
            (None, 0) => self.sub_id = id,
            (None, first) => self.more_ids = Some(Box::new(vec![first, id])),
        }
    }
}
