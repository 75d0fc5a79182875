//! CONNECT, with everything it can carry.

use crate::packet::{Prop, Version, encode_props, frame, text};

/// A will.
#[derive(Debug, Clone)]
pub struct Will {
    /// topic
    pub topic: String,
    /// payload
    pub payload: Vec<u8>,
    /// QoS
    pub qos: u8,
    /// retain
    pub retain: bool,
    /// will properties (MQTT 5)
    pub props: Vec<Prop>,
}

impl Will {
    /// A QoS 0 will that is not retained.
    pub fn new(topic: &str, payload: &str) -> Will {
        Will {
            topic: topic.into(),
            payload: payload.into(),
            qos: 0,
            retain: false,
            props: Vec::new(),
        }
    }
    /// With this QoS.
    pub fn qos(mut self, qos: u8) -> Will {
        self.qos = qos;
        self
    }
    /// Retained.
    pub fn retained(mut self) -> Will {
        self.retain = true;
        self
    }
    /// With this property.
    pub fn prop(mut self, prop: Prop) -> Will {
        self.props.push(prop);
        self
    }
}

/// A CONNECT packet in the making: clean, keep alive 0, nothing optional.
#[derive(Debug, Clone)]
pub struct Connect {
    /// version
    pub version: Version,
    /// client id
    pub client_id: String,
    /// clean session or clean start
    pub clean: bool,
    /// seconds
    pub keep_alive: u16,
    /// will
    pub will: Option<Will>,
    /// user name
    pub username: Option<String>,
    /// password
    pub password: Option<Vec<u8>>,
    /// properties (MQTT 5)
    pub props: Vec<Prop>,
    /// bits to set in the connect flags beside those that follow from the fields
    pub extra_flags: u8,
    /// the level byte, when it is not the version's own
    pub level: Option<u8>,
}

impl Connect {
    /// A clean CONNECT of this client id.
    pub fn new(version: Version, client_id: &str) -> Connect {
        Connect {
            version,
            client_id: client_id.into(),
            clean: true,
            keep_alive: 0,
            will: None,
            username: None,
            password: None,
            props: Vec::new(),
            extra_flags: 0,
            level: None,
        }
    }
    /// A CONNECT whose session outlives its connection: clean session 0, or clean start 0 with an expiry
    /// of an hour.
    pub fn persistent(version: Version, client_id: &str) -> Connect {
        let connect = Connect::new(version, client_id).clean(false);
        if version.is_v5() {
            connect.prop(Prop::SessionExpiry(3600))
        } else {
            connect
        }
    }
    /// Clean session or clean start.
    pub fn clean(mut self, clean: bool) -> Connect {
        self.clean = clean;
        self
    }
    /// Keep alive in seconds.
    pub fn keep_alive(mut self, seconds: u16) -> Connect {
        self.keep_alive = seconds;
        self
    }
    /// With this will.
    pub fn will(mut self, will: Will) -> Connect {
        self.will = Some(will);
        self
    }
    /// With this user name.
    pub fn username(mut self, name: &str) -> Connect {
        self.username = Some(name.into());
        self
    }
    /// With this password.
    pub fn password(mut self, password: &str) -> Connect {
        self.password = Some(password.into());
        self
    }
    /// With this property; on MQTT 3.x nothing.
    pub fn prop(mut self, prop: Prop) -> Connect {
        if self.version.is_v5() {
            self.props.push(prop);
        }
        self
    }
    /// With these connect flags set beside the others.
    pub fn flags(mut self, bits: u8) -> Connect {
        self.extra_flags |= bits;
        self
    }
    /// With this level byte.
    pub fn level(mut self, level: u8) -> Connect {
        self.level = Some(level);
        self
    }

    /// The packet.
    pub fn encode(&self) -> Vec<u8> {
        let (name, level) = self.version.name_and_level();
        let mut flags = self.extra_flags;
        if self.clean {
            flags |= 0x02;
        }
        if let Some(will) = &self.will {
            flags |= 0x04 | will.qos << 3 | u8::from(will.retain) << 5;
        }
        if self.password.is_some() {
            flags |= 0x40;
        }
        if self.username.is_some() {
            flags |= 0x80;
        }
        let mut body = text(name);
        body.push(self.level.unwrap_or(level));
        body.push(flags);
        body.extend(self.keep_alive.to_be_bytes());
        if self.version.is_v5() {
            body.extend(encode_props(&self.props));
        }
        body.extend(text(&self.client_id));
        if let Some(will) = &self.will {
            if self.version.is_v5() {
                body.extend(encode_props(&will.props));
            }
            body.extend(text(&will.topic));
            body.extend(text(&will.payload));
        }
        if let Some(name) = &self.username {
            body.extend(text(name));
        }
        if let Some(password) = &self.password {
            body.extend(text(password));
        }
        frame(0x10, &body)
    }
}
