//! Packets as tests write them and read them.

use emqttd_mqtt::{
    AckKind, Packet, Properties, Property, PublishHead, QoS, ReasonCode, SubscriptionOptions,
    Version,
};

/// A CONNECT to be made.
#[derive(Debug, Clone)]
pub struct Connect {
    pub version: Version,
    pub id: String,
    pub clean: bool,
    pub keep_alive: u16,
    pub username: Option<String>,
    pub password: Option<Vec<u8>>,
    pub properties: Vec<u8>,
    pub will: Option<Will>,
}

/// The will of a CONNECT.
#[derive(Debug, Clone)]
pub struct Will {
    pub topic: String,
    pub payload: String,
    pub qos: u8,
    pub retain: bool,
    pub properties: Vec<u8>,
}

/// Properties as bytes.
pub fn properties(all: &[Property<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    all.iter().for_each(|property| property.encode(&mut out));
    out
}

impl Connect {
    /// 3.1.1, clean session, no keep alive.
    pub fn v3(id: &str) -> Connect {
        Connect {
            version: Version::V311,
            id: id.into(),
            clean: true,
            keep_alive: 0,
            username: None,
            password: None,
            properties: Vec::new(),
            will: None,
        }
    }

    /// 5.0, clean start, session ends with the connection.
    pub fn v5(id: &str) -> Connect {
        Connect {
            version: Version::V5,
            ..Connect::v3(id)
        }
    }

    /// Not clean.
    pub fn keep(mut self) -> Connect {
        self.clean = false;
        self
    }

    pub fn keep_alive(mut self, seconds: u16) -> Connect {
        self.keep_alive = seconds;
        self
    }

    pub fn user(mut self, name: &str, password: &str) -> Connect {
        self.username = Some(name.into());
        self.password = Some(password.into());
        self
    }

    pub fn property(mut self, property: Property<'_>) -> Connect {
        property.encode(&mut self.properties);
        self
    }

    /// Session Expiry Interval.
    pub fn expiry(self, seconds: u32) -> Connect {
        self.property(Property::SessionExpiryInterval(seconds))
    }

    pub fn will(mut self, topic: &str, payload: &str, qos: u8, retain: bool) -> Connect {
        self.will = Some(Will {
            topic: topic.into(),
            payload: payload.into(),
            qos,
            retain,
            properties: Vec::new(),
        });
        self
    }

    /// A property of the will.
    pub fn will_property(mut self, property: Property<'_>) -> Connect {
        property.encode(&mut self.will.as_mut().unwrap().properties);
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let will = self.will.as_ref().map(|will| emqttd_mqtt::Will {
            qos: QoS::from_u8(will.qos).unwrap(),
            retain: will.retain,
            topic: &will.topic,
            payload: will.payload.as_bytes(),
            properties: Properties::new(&will.properties),
        });
        let connect = emqttd_mqtt::Connect {
            version: self.version,
            bridge: false,
            clean_start: self.clean,
            keep_alive: self.keep_alive,
            client_id: &self.id,
            will,
            username: self.username.as_deref(),
            password: self.password.as_deref(),
            properties: Properties::new(&self.properties),
        };
        let mut out = Vec::new();
        emqttd_mqtt::encode_connect(&mut out, &connect);
        out
    }
}

pub fn subscribe(version: Version, id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    let filters: Vec<_> = filters
        .iter()
        .map(|(filter, byte)| (*filter, SubscriptionOptions::from_byte(*byte).unwrap()))
        .collect();
    let mut out = Vec::new();
    emqttd_mqtt::encode_subscribe(&mut out, version, id, Properties::EMPTY, &filters);
    out
}

pub fn unsubscribe(version: Version, id: u16, filters: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    emqttd_mqtt::encode_unsubscribe(&mut out, version, id, Properties::EMPTY, filters);
    out
}

pub fn publish(
    version: Version,
    topic: &str,
    payload: &[u8],
    qos: u8,
    retain: bool,
    id: u16,
    properties: &[u8],
) -> Vec<u8> {
    let head = PublishHead {
        qos: QoS::from_u8(qos).unwrap(),
        retain,
        topic,
        packet_id: id,
        properties,
        payload_len: payload.len(),
        ..PublishHead::default()
    };
    let mut out = Vec::new();
    emqttd_mqtt::encode_publish_head(&mut out, version, &head);
    out.extend_from_slice(payload);
    out
}

/// An acknowledgement: 4 PUBACK, 5 PUBREC, 6 PUBREL, 7 PUBCOMP.
pub fn ack(version: Version, kind: u8, id: u16, reason: u8) -> Vec<u8> {
    let kind = match kind {
        4 => AckKind::PubAck,
        5 => AckKind::PubRec,
        6 => AckKind::PubRel,
        7 => AckKind::PubComp,
        _ => panic!("no acknowledgement"),
    };
    let mut out = Vec::new();
    emqttd_mqtt::encode_ack(&mut out, version, kind, id, ReasonCode(reason), None);
    out
}

pub fn disconnect(version: Version, reason: u8) -> Vec<u8> {
    let mut out = Vec::new();
    emqttd_mqtt::encode_disconnect(&mut out, version, ReasonCode(reason), None, None, None);
    out
}

pub fn auth(reason: u8, method: Option<&str>, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    emqttd_mqtt::encode_auth(
        &mut out,
        ReasonCode(reason),
        method,
        method.map(|_| data),
        None,
    );
    out
}

pub const PINGREQ: &[u8] = &[0xC0, 0];

/// A PUBLISH from the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    pub dup: bool,
    pub id: u16,
    pub expiry: Option<u32>,
    pub sub_ids: Vec<u32>,
}

impl Publish {
    pub fn text(&self) -> String {
        String::from_utf8(self.payload.clone()).unwrap()
    }
}

/// A packet from the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    ConnAck {
        present: bool,
        code: u8,
        properties: Vec<u8>,
    },
    Publish(Publish),
    PubAck(u16, u8),
    PubRec(u16, u8),
    PubRel(u16, u8),
    PubComp(u16, u8),
    SubAck(u16, Vec<u8>),
    UnsubAck(u16, Vec<u8>),
    PingResp,
    Disconnect(u8),
    Auth {
        reason: u8,
        method: Option<String>,
        data: Vec<u8>,
    },
}

impl Got {
    pub fn of(packet: &Packet<'_>) -> Got {
        match packet {
            Packet::ConnAck(p) => Got::ConnAck {
                present: p.session_present,
                code: p.code,
                properties: p.properties.as_bytes().to_vec(),
            },
            Packet::Publish(p) => Got::Publish(Publish {
                topic: p.topic.into(),
                payload: p.payload.to_vec(),
                qos: p.qos as u8,
                retain: p.retain,
                dup: p.dup,
                id: p.packet_id,
                expiry: p.properties.message_expiry(),
                sub_ids: p.properties.subscription_ids().collect(),
            }),
            Packet::PubAck(p) => Got::PubAck(p.packet_id, p.reason.0),
            Packet::PubRec(p) => Got::PubRec(p.packet_id, p.reason.0),
            Packet::PubRel(p) => Got::PubRel(p.packet_id, p.reason.0),
            Packet::PubComp(p) => Got::PubComp(p.packet_id, p.reason.0),
            Packet::SubAck(p) => Got::SubAck(p.packet_id, p.codes.to_vec()),
            Packet::UnsubAck(p) => Got::UnsubAck(p.packet_id, p.codes.to_vec()),
            Packet::PingResp => Got::PingResp,
            Packet::Disconnect(p) => Got::Disconnect(p.reason.0),
            Packet::Auth(p) => Got::Auth {
                reason: p.reason.0,
                method: p.properties.auth_method().map(Into::into),
                data: p.properties.auth_data().unwrap_or_default().to_vec(),
            },
            other => panic!("a broker does not send {other:?}"),
        }
    }

    /// What a client answers to it at once.
    pub fn answer(&self, version: Version) -> Vec<u8> {
        match self {
            Got::Publish(Publish { qos: 1, id, .. }) => ack(version, 4, *id, 0),
            Got::Publish(Publish { qos: 2, id, .. }) => ack(version, 5, *id, 0),
            Got::PubRel(id, _) => ack(version, 7, *id, 0),
            _ => Vec::new(),
        }
    }
}
