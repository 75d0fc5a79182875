//! Messages that pass, and messages that a plugin publishes.

use crate::ClientRef;

/// Quality of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[allow(missing_docs)]
pub enum QoS {
    #[default]
    AtMostOnce = 0,
    AtLeastOnce = 1,
    ExactlyOnce = 2,
}

impl QoS {
    /// From 0, 1, 2.
    pub fn from_u8(qos: u8) -> Option<QoS> {
        match qos {
            0 => Some(QoS::AtMostOnce),
            1 => Some(QoS::AtLeastOnce),
            2 => Some(QoS::ExactlyOnce),
            _ => None,
        }
    }
}

impl From<emqttd_mqtt::QoS> for QoS {
    fn from(qos: emqttd_mqtt::QoS) -> QoS {
        match qos {
            emqttd_mqtt::QoS::AtMostOnce => QoS::AtMostOnce,
            emqttd_mqtt::QoS::AtLeastOnce => QoS::AtLeastOnce,
            emqttd_mqtt::QoS::ExactlyOnce => QoS::ExactlyOnce,
        }
    }
}

impl From<QoS> for emqttd_mqtt::QoS {
    fn from(qos: QoS) -> emqttd_mqtt::QoS {
        match qos {
            QoS::AtMostOnce => emqttd_mqtt::QoS::AtMostOnce,
            QoS::AtLeastOnce => emqttd_mqtt::QoS::AtLeastOnce,
            QoS::ExactlyOnce => emqttd_mqtt::QoS::ExactlyOnce,
        }
    }
}

/// A message that passes, borrowed for one call.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// topic name, with the mountpoint
    pub topic: &'a str,
    /// the application message
    pub payload: &'a [u8],
    /// QoS of the publisher
    pub qos: QoS,
    /// RETAIN flag of the publisher
    pub retain: bool,
    /// who published it; `None` = the broker itself (`$SYS`). Management and plugins stand here with their name and
    /// an empty user name; a client that gave an empty one stands here without.
    pub from: Option<ClientRef<'a>>,
    /// MQTT 5 properties that are passed on, encoded as in PUBLISH without their length; empty in 3.x
    pub properties: &'a [u8],
    /// when it came in, unix milliseconds
    pub timestamp: u64,
}

/// A message for the broker to publish: hooks run and it may be retained, the ACL is not asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// sender's name as hooks see it; `None` = the broker itself, not counted as a client's message
    pub from: Option<String>,
    /// topic name
    pub topic: String,
    /// the application message
    pub payload: Vec<u8>,
    /// quality of service
    pub qos: QoS,
    /// to be retained
    pub retain: bool,
}

impl Publish {
    /// QoS 0, not retained, from the broker itself.
    pub fn new(topic: impl Into<String>, payload: impl Into<Vec<u8>>) -> Publish {
        Publish {
            from: None,
            topic: topic.into(),
            payload: payload.into(),
            qos: QoS::AtMostOnce,
            retain: false,
        }
    }

    /// With that quality of service.
    pub fn qos(self, qos: QoS) -> Publish {
        Publish { qos, ..self }
    }

    /// To be retained, or not.
    pub fn retain(self, retain: bool) -> Publish {
        Publish { retain, ..self }
    }

    /// With that sender.
    pub fn from(self, name: impl Into<String>) -> Publish {
        Publish {
            from: Some(name.into()),
            ..self
        }
    }
}
