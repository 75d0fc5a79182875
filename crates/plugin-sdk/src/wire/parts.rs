//! How the types of the SDK are written. The types themselves carry no numbers, so that they can change
//! without a change of what crosses.

use crate::virtual_client::Will;
use crate::{
    Client, ClientRef, Entry, Figures, Holder, HttpRequest, HttpResponse, Key, KeyKind,
    LoopFigures, Message, PeerInfo, PluginListener, Publish, QoS, Reloadable, RetainSettings,
    TopicEntry,
};
use minicbor::decode::{Decoder, Error};
use minicbor::encode::{Encoder, Write};
use minicbor::{Decode, Encode};
use std::borrow::Cow;
use std::net::SocketAddr;

/// Reads and writes types as maps of numbered fields. Fields after `added` came after the first version: they
/// are written when they are not what is read for messages without them. Those after `beside` go beside the
/// message.
macro_rules! fields {
    ($($type:ident {
        $($number:literal $field:ident),*
        $(; added $($later:literal $added:ident = $default:expr),*)?
        $(; beside $beside:ident)?
    })*) => { $(
        impl<C> Encode<C> for $type {
            fn encode<W: Write>(
                &self,
                e: &mut Encoder<W>,
                ctx: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                let count = [$($number),*].len() $($(+ usize::from(self.$added != $default))*)?;
                e.map(count as u64)?;
                $(e.u8($number)?.encode_with(&self.$field, ctx)?;)*
                $($(if self.$added != $default {
                    e.u8($later)?.encode_with(&self.$added, ctx)?;
                })*)?
                e.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $type {
            fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, Error> {
                $(let mut $field = None;)*
                $($(let mut $added = None;)*)?
                let count = d.map()?.ok_or_else(|| Error::message("a map without length"))?;
                for _ in 0..count {
                    match d.u32()? {
                        $($number => $field = Some(d.decode_with(ctx)?),)*
                        $($($later => $added = Some(d.decode_with(ctx)?),)*)?
                        _ => d.skip()?,
                    }
                }
                Ok($type {
                    $($field: $field.ok_or_else(|| Error::missing_value($number))?,)*
                    $($($added: $added.unwrap_or_else(|| $default),)*)?
                    $($beside: Default::default(),)?
                })
            }
        }
    )* };
}

fields! {
    Entry { 0 key, 1 value, 2 origin }
    TopicEntry { 0 topic, 1 qos, 2 share, 3 local }
    Publish { 0 from, 1 topic, 2 qos, 3 retain; beside payload }
    HttpRequest { 0 method, 1 path, 2 query, 3 headers; beside body }
    HttpResponse { 0 status, 1 content_type; beside body }
    PluginListener { 0 protocol, 1 listen_on, 2 acceptors, 3 max_clients, 4 mountpoint }
    Will { 0 topic, 1 qos, 2 retain; beside payload }
    PeerInfo { 0 listener, 1 peername, 2 cert_username; added 3 anonymous = true }
    RetainSettings { 0 storage, 1 max_message_num, 2 max_payload_size, 3 expiry_interval }
    Figures { 0 loops, 1 held, 2 traffic, 3 tasks, 4 uptime }
    LoopFigures { 0 connections, 1 sessions, 2 rounds, 3 busy, 4 longest, 5 mail }
    Holder { 0 clientid, 1 queued, 2 queued_bytes, 3 inflight, 4 output }
    Reloadable { 0 name, 1 files }
}

/// A [`Client`].
#[derive(Debug, Encode, Decode)]
#[cbor(map)]
#[allow(missing_docs)]
pub struct ClientParts<'a> {
    #[b(0)]
    pub clientid: &'a str,
    #[b(1)]
    pub username: Option<&'a str>,
    #[n(2)]
    pub peername: SocketAddr,
    #[n(3)]
    pub clean_sess: bool,
    #[n(4)]
    pub proto_ver: u8,
    #[n(5)]
    pub keepalive: u16,
    #[b(6)]
    pub will_topic: Option<&'a str>,
    #[b(7)]
    pub headers: Option<Vec<(&'a str, &'a str)>>,
    #[b(8)]
    pub mountpoint: Option<&'a str>,
    #[b(9)]
    pub listener: &'a str,
    #[n(10)]
    pub connected_at: u64,
}

impl<'a> From<&'a Client> for ClientParts<'a> {
    fn from(client: &'a Client) -> ClientParts<'a> {
        let pairs = |headers: &'a [(String, String)]| {
            let pair = |(name, value): &'a (String, String)| (name.as_str(), value.as_str());
            headers.iter().map(pair).collect()
        };
        ClientParts {
            clientid: &client.clientid,
            username: client.username.as_deref(),
            peername: client.peername,
            clean_sess: client.clean_sess,
            proto_ver: client.proto_ver,
            keepalive: client.keepalive,
            will_topic: client.will_topic.as_deref(),
            headers: client.headers.as_deref().map(pairs),
            mountpoint: client.mountpoint.as_deref(),
            listener: &client.listener,
            connected_at: client.connected_at,
        }
    }
}

impl From<ClientParts<'_>> for Client {
    fn from(parts: ClientParts<'_>) -> Client {
        let pairs = |headers: Vec<(&str, &str)>| {
            let pair = |(name, value): &(&str, &str)| ((*name).to_string(), (*value).to_string());
            headers.iter().map(pair).collect()
        };
        Client {
            clientid: parts.clientid.into(),
            username: parts.username.map(Into::into),
            peername: parts.peername,
            clean_sess: parts.clean_sess,
            proto_ver: parts.proto_ver,
            keepalive: parts.keepalive,
            will_topic: parts.will_topic.map(Into::into),
            headers: parts.headers.map(pairs),
            mountpoint: parts.mountpoint.map(Into::into),
            listener: parts.listener.into(),
            connected_at: parts.connected_at,
        }
    }
}

/// A client by its names.
#[derive(Debug, Clone, Copy, Encode, Decode)]
#[cbor(map)]
#[allow(missing_docs)]
pub struct NameParts<'a> {
    #[b(0)]
    pub clientid: &'a str,
    #[b(1)]
    pub username: Option<&'a str>,
}

impl<'a> From<ClientRef<'a>> for NameParts<'a> {
    fn from(client: ClientRef<'a>) -> NameParts<'a> {
        NameParts {
            clientid: client.clientid,
            username: client.username,
        }
    }
}

impl<'a> From<NameParts<'a>> for ClientRef<'a> {
    fn from(parts: NameParts<'a>) -> ClientRef<'a> {
        ClientRef {
            clientid: parts.clientid,
            username: parts.username,
        }
    }
}

/// A [`Message`] without its payload.
#[derive(Debug, Encode, Decode)]
#[cbor(map)]
#[allow(missing_docs)]
pub struct MessageParts<'a> {
    #[b(0)]
    pub topic: &'a str,
    #[n(1)]
    pub qos: QoS,
    #[n(2)]
    pub retain: bool,
    #[b(3)]
    pub from: Option<NameParts<'a>>,
    #[b(4)]
    #[cbor(with = "minicbor::bytes")]
    pub properties: &'a [u8],
    #[n(5)]
    pub timestamp: u64,
}

impl<'a> From<&Message<'a>> for MessageParts<'a> {
    fn from(message: &Message<'a>) -> MessageParts<'a> {
        MessageParts {
            topic: message.topic,
            qos: message.qos,
            retain: message.retain,
            from: message.from.map(Into::into),
            properties: message.properties,
            timestamp: message.timestamp,
        }
    }
}

impl<'a> MessageParts<'a> {
    /// The message with its payload.
    pub fn with(self, payload: &'a [u8]) -> Message<'a> {
        Message {
            topic: self.topic,
            payload,
            qos: self.qos,
            retain: self.retain,
            from: self.from.map(Into::into),
            properties: self.properties,
            timestamp: self.timestamp,
        }
    }
}

/// A [`Key`].
#[derive(Debug, Encode, Decode)]
#[cbor(map)]
#[allow(missing_docs)]
pub struct KeyParts {
    #[n(0)]
    pub name: String,
    /// from 1: the kinds in the order of [`KeyKind`]; other numbers are text
    #[n(1)]
    pub kind: u8,
    #[n(2)]
    pub words: Vec<String>,
    #[n(3)]
    pub default: Option<String>,
    #[n(4)]
    pub meaning: String,
    #[n(5)]
    pub hot: bool,
}

impl From<&Key> for KeyParts {
    fn from(key: &Key) -> KeyParts {
        let (kind, words) = match &key.kind {
            KeyKind::Text => (1, &[][..]),
            KeyKind::Secret => (2, &[][..]),
            KeyKind::Integer => (3, &[][..]),
            KeyKind::Switch => (4, &[][..]),
            KeyKind::Duration => (5, &[][..]),
            KeyKind::Size => (6, &[][..]),
            KeyKind::OneOf(words) => (7, &words[..]),
        };
        KeyParts {
            name: key.name.to_string(),
            kind,
            words: words.iter().map(|word| word.to_string()).collect(),
            default: key.default.as_deref().map(str::to_string),
            meaning: key.meaning.to_string(),
            hot: key.hot,
        }
    }
}

impl From<KeyParts> for Key {
    fn from(parts: KeyParts) -> Key {
        let words = parts.words.into_iter().map(Cow::Owned).collect();
        Key {
            name: parts.name.into(),
            kind: match parts.kind {
                2 => KeyKind::Secret,
                3 => KeyKind::Integer,
                4 => KeyKind::Switch,
                5 => KeyKind::Duration,
                6 => KeyKind::Size,
                7 => KeyKind::OneOf(words),
                _ => KeyKind::Text,
            },
            default: parts.default.map(Into::into),
            meaning: parts.meaning.into(),
            hot: parts.hot,
        }
    }
}
