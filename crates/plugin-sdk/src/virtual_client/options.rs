//! What a virtual client says of itself, and what it publishes.

use super::about::About;
use crate::QoS;
use emqttd_mqtt::{Connect, Properties, Property, Version};

/// Longest string or password in MQTT, bytes.
pub(super) const STRING: usize = u16::MAX as usize;

/// What goes into CONNECT, and how the client works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectOptions {
    /// client identifier; empty = the broker gives one out, if the session is a clean one (with MQTT 3.1.1 it is
    /// not told)
    pub clientid: String,
    /// user name
    pub username: Option<String>,
    /// password
    pub password: Option<Vec<u8>>,
    /// clean session; clean start in MQTT 5
    pub clean: bool,
    /// seconds after which, by half, a silent client is closed; 0 = never: the gateway has a rule of its own
    pub keepalive: u16,
    /// what is published when the connection ends without [`VirtualClient::disconnect`](super::VirtualClient::disconnect)
    pub will: Option<Will>,
    /// speaks MQTT 5 instead of 3.1.1: refusals and what the ACL denies are told by reason codes
    pub v5: bool,
    /// seconds the session outlives the connection; only MQTT 5, in 3.1.1 `mqtt.session.expiry_interval` counts
    pub session_expiry: u32,
    /// messages at QoS 1 and 2 that are published at once; fewer when the broker takes fewer
    pub inflight: u16,
    /// messages at QoS 1 and 2 that the broker sends at once; only MQTT 5, in 3.1.1 `mqtt.session.max_inflight`
    /// counts; 0 = as many as it likes
    pub receive_maximum: u16,
    /// events that wait for [`Events::recv`](super::Events::recv) at the most
    pub events: usize,
    /// PUBREL is told as [`Event::Released`](super::Event::Released) and answered by
    /// [`VirtualClient::complete`](super::VirtualClient::complete): for protocols with a QoS 2 of their own
    pub release_by_hand: bool,
}

impl ConnectOptions {
    /// MQTT 3.1.1, a clean session, no keep alive, no will.
    pub fn new(clientid: impl Into<String>) -> ConnectOptions {
        ConnectOptions {
            clientid: clientid.into(),
            username: None,
            password: None,
            clean: true,
            keepalive: 0,
            will: None,
            v5: false,
            session_expiry: 0,
            inflight: 16,
            receive_maximum: 0,
            events: 256,
            release_by_hand: false,
        }
    }

    /// With a user name and password.
    pub fn credentials(
        self,
        username: impl Into<String>,
        password: impl Into<Vec<u8>>,
    ) -> ConnectOptions {
        ConnectOptions {
            username: Some(username.into()),
            password: Some(password.into()),
            ..self
        }
    }

    /// A clean session, or one that outlives the connection.
    pub fn clean(self, clean: bool) -> ConnectOptions {
        ConnectOptions { clean, ..self }
    }

    /// With a keep alive, seconds.
    pub fn keepalive(self, keepalive: u16) -> ConnectOptions {
        ConnectOptions { keepalive, ..self }
    }

    /// With a will.
    pub fn will(self, will: Will) -> ConnectOptions {
        ConnectOptions {
            will: Some(will),
            ..self
        }
    }

    /// MQTT 5, and seconds that the session outlives the connection.
    pub fn v5(self, session_expiry: u32) -> ConnectOptions {
        ConnectOptions {
            v5: true,
            session_expiry,
            ..self
        }
    }

    pub(super) fn version(&self) -> Version {
        if self.v5 { Version::V5 } else { Version::V311 }
    }

    /// The CONNECT packet.
    pub(super) fn encode(&self) -> Result<Vec<u8>, &'static str> {
        if self.clientid.len() > STRING {
            return Err("the client identifier is longer than 65535 bytes");
        }
        if self
            .username
            .as_ref()
            .is_some_and(|name| name.len() > STRING)
        {
            return Err("the user name is longer than 65535 bytes");
        }
        if self
            .password
            .as_ref()
            .is_some_and(|word| word.len() > STRING)
        {
            return Err("the password is longer than 65535 bytes");
        }
        // [MQTT-3.1.2-22 of 3.1.1]
        if self.password.is_some() && self.username.is_none() && !self.v5 {
            return Err("a password without a user name");
        }
        let will = self.will.as_ref().map(Will::part).transpose()?;
        let mut properties = Vec::new();
        if self.v5 && self.session_expiry > 0 {
            Property::SessionExpiryInterval(self.session_expiry).encode(&mut properties);
        }
        if self.v5 && self.receive_maximum > 0 {
            Property::ReceiveMaximum(self.receive_maximum).encode(&mut properties);
        }
        let connect = Connect {
            version: self.version(),
            bridge: false,
            clean_start: self.clean,
            keep_alive: self.keepalive,
            client_id: &self.clientid,
            will,
            username: self.username.as_deref(),
            password: self.password.as_deref(),
            properties: Properties::new(&properties),
        };
        let mut packet = Vec::new();
        emqttd_mqtt::encode_connect(&mut packet, &connect);
        Ok(packet)
    }
}

/// A message that the broker publishes for a client that is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// topic name
    pub topic: String,
    /// at most 65,535 bytes
    pub payload: Vec<u8>,
    /// quality of service
    pub qos: QoS,
    /// to be retained
    pub retain: bool,
}

impl Will {
    /// Whether MQTT can say it.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        self.part().map(|_| ())
    }

    fn part(&self) -> Result<emqttd_mqtt::Will<'_>, &'static str> {
        if emqttd_mqtt::topic::validate_name(&self.topic).is_err() {
            return Err("the topic of the will is not a topic name");
        }
        if self.payload.len() > STRING {
            return Err("the will is longer than 65535 bytes");
        }
        Ok(emqttd_mqtt::Will {
            qos: self.qos.into(),
            retain: self.retain,
            topic: &self.topic,
            payload: &self.payload,
            properties: Properties::EMPTY,
        })
    }
}

/// A message that a virtual client publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// topic name, without the mountpoint of the listener
    pub topic: String,
    /// the application message
    pub payload: Vec<u8>,
    /// quality of service
    pub qos: QoS,
    /// to be retained
    pub retain: bool,
    /// what else is said of it; only MQTT 5
    pub about: Option<Box<About>>,
}

impl Outgoing {
    /// QoS 0, not retained.
    pub fn new(topic: impl Into<String>, payload: impl Into<Vec<u8>>) -> Outgoing {
        Outgoing {
            topic: topic.into(),
            payload: payload.into(),
            qos: QoS::AtMostOnce,
            retain: false,
            about: None,
        }
    }

    /// With that quality of service.
    pub fn qos(self, qos: QoS) -> Outgoing {
        Outgoing { qos, ..self }
    }

    /// To be retained, or not.
    pub fn retain(self, retain: bool) -> Outgoing {
        Outgoing { retain, ..self }
    }

    pub(super) fn check(&self) -> Result<(), &'static str> {
        if emqttd_mqtt::topic::validate_name(&self.topic).is_err() {
            return Err("not a topic name");
        }
        let about = match &self.about {
            Some(about) => {
                about.check()?;
                // With the length of the properties.
                about.encoded() + 4
            }
            None => 0,
        };
        // Five bytes are for identifier, length of the topic and of no properties.
        if self.topic.len() + self.payload.len() + about + 5 > emqttd_mqtt::MAX_REMAINING_LENGTH {
            return Err("the message is longer than 256 MB");
        }
        Ok(())
    }
}
