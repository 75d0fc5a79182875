//! What goes with the operations, where it is not one of the SDK's types.
#![allow(missing_docs)]

use super::{ClientParts, KeyParts, NameParts};
use crate::{Access, Change, QoS, Severity, TopicEntry};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use std::path::PathBuf;

/// What a plugin says of itself.
#[derive(Debug, Encode, Decode)]
#[cbor(map)]
pub struct About {
    #[n(0)]
    pub name: String,
    #[n(1)]
    pub version: String,
    #[n(2)]
    pub description: String,
    #[n(3)]
    pub guards: bool,
    #[n(4)]
    pub depends: Vec<String>,
    #[n(5)]
    pub keys: Vec<KeyParts>,
}

/// What a plugin hears at its start.
#[derive(Debug, Encode, Decode)]
#[cbor(map)]
pub struct Start {
    /// the name it is loaded by
    #[n(0)]
    pub plugin: String,
    #[n(1)]
    pub node: String,
    #[n(2)]
    pub version: String,
    #[n(3)]
    pub data_dir: PathBuf,
    #[n(4)]
    pub log_dir: PathBuf,
    /// 0 (off) to 5 (trace)
    #[n(5)]
    pub log_level: u8,
}

/// A question to the authentication chain.
#[derive(Debug, Encode, Decode)]
#[cbor(map)]
pub struct Auth<'a> {
    #[n(0)]
    pub ticket: u64,
    #[b(1)]
    pub client: ClientParts<'a>,
    /// the body is one
    #[n(2)]
    pub has_password: bool,
}

/// A question to the ACL chain.
#[derive(Debug, Encode, Decode)]
#[cbor(map)]
pub struct Acl<'a> {
    #[n(0)]
    pub ticket: u64,
    #[b(1)]
    pub client: ClientParts<'a>,
    #[n(2)]
    pub access: Access,
    #[b(3)]
    pub topic: &'a str,
}

/// The answer that a ticket has waited for.
#[derive(Debug, Encode, Decode)]
#[cbor(map)]
pub struct Completion {
    #[n(0)]
    pub answer: u64,
    /// the provider has panicked instead, and said this
    #[n(1)]
    pub panic: Option<String>,
}

/// Where something is registered.
#[derive(Debug, Default, Encode, Decode)]
#[cbor(map)]
pub struct Place {
    /// sequence or priority
    #[n(0)]
    pub order: i32,
    /// hook points
    #[n(1)]
    pub points: u32,
}

/// `client.connected`
#[derive(Debug, Encode, Decode)]
#[cbor(map)]
pub struct Connected<'a> {
    #[b(0)]
    pub client: ClientParts<'a>,
    #[n(1)]
    pub connack: u8,
}

/// `client.disconnected`
#[derive(Debug, Encode, Decode)]
#[cbor(map)]
pub struct Disconnected<'a> {
    #[b(0)]
    pub client: ClientParts<'a>,
    #[b(1)]
    pub reason: &'a str,
    #[n(2)]
    pub code: Option<u8>,
}

/// The other hooks about clients and sessions.
#[derive(Debug, Encode, Decode)]
#[cbor(map)]
pub struct OfClient<'a> {
    #[b(0)]
    pub client: NameParts<'a>,
    /// of subscribe and unsubscribe; of `session.*` the one entry
    #[n(1)]
    pub table: Vec<TopicEntry>,
    /// of `session.terminated`
    #[b(2)]
    pub reason: Option<&'a str>,
}

/// Hooks about messages.
#[derive(Debug, Encode, Decode)]
#[cbor(map)]
pub struct OfMessage<'a> {
    #[b(0)]
    pub message: super::MessageParts<'a>,
    /// of delivered and acked
    #[b(1)]
    pub client: Option<NameParts<'a>>,
    /// of dropped
    #[b(2)]
    pub reason: Option<&'a str>,
}

/// A [`Change`] of a message; a new payload stands behind it.
#[derive(Debug, Encode, Decode)]
#[cbor(map)]
pub struct Changed {
    #[n(0)]
    pub topic: Option<String>,
    #[n(1)]
    pub payload: bool,
    #[n(2)]
    pub qos: Option<QoS>,
    #[n(3)]
    pub retain: Option<bool>,
}

impl Changed {
    /// In two parts.
    pub fn from_change(change: Change) -> (Changed, Vec<u8>) {
        let changed = Changed {
            topic: change.topic,
            payload: change.payload.is_some(),
            qos: change.qos,
            retain: change.retain,
        };
        (changed, change.payload.unwrap_or_default())
    }

    /// From two parts.
    pub fn with(self, payload: &[u8]) -> Change {
        Change {
            topic: self.topic,
            payload: self.payload.then(|| payload.to_vec()),
            qos: self.qos,
            retain: self.retain,
        }
    }
}

/// A call of a command.
#[derive(Debug, Encode, Decode)]
#[cbor(map)]
pub struct Words<'a> {
    #[b(0)]
    pub args: Vec<&'a str>,
    #[b(1)]
    pub stdin: Option<&'a str>,
}

/// A command.
#[derive(Debug, Encode, Decode)]
#[cbor(map)]
pub struct Usage {
    #[n(0)]
    pub name: String,
    #[n(1)]
    pub usage: Vec<(String, String)>,
}

/// An alarm; without summary it is cleared.
#[derive(Debug, Encode, Decode)]
#[cbor(map)]
pub struct Alarm<'a> {
    #[b(0)]
    pub id: &'a str,
    #[n(1)]
    pub severity: Severity,
    #[b(2)]
    pub title: &'a str,
    #[b(3)]
    pub summary: Option<&'a str>,
}

/// A row of a table.
#[derive(Debug, Encode, Decode)]
#[cbor(map)]
pub struct RowKey<'a> {
    #[b(0)]
    pub table: &'a str,
    #[b(1)]
    #[cbor(with = "minicbor::bytes")]
    pub key: &'a [u8],
}

/// Rows of a table.
#[derive(Debug, Encode, Decode)]
#[cbor(map)]
pub struct Rows {
    #[n(0)]
    pub rows: Vec<(ByteVec, ByteVec)>,
}

/// Counters.
#[derive(Debug, Encode, Decode)]
#[cbor(map)]
pub struct Tick {
    #[n(0)]
    pub metrics: Vec<(String, u64)>,
}
