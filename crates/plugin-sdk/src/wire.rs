//! What passes between the broker and a library: operations, and how their messages are written.
//!
//! Messages are CBOR. Structures are maps with numbered fields; a number is never given a second meaning. A
//! reader passes over fields it does not know, and takes a default for those added after the first version.
//! Bytes of the application (payloads, bodies, rows) are not part of the message: they go beside it in calls,
//! and behind it in answers, and are not copied on their way.
//!
//! This is no part of what a plugin uses; it is public because broker and SDK share it.

pub mod number;
mod parts;
pub mod request;
#[cfg(test)]
mod tests;

pub use parts::{ClientParts, KeyParts, MessageParts, NameParts};

use emqttd_plugin_abi::Fault;
use minicbor::{Decode, Decoder, Encode};

/// Operations of the broker on an instance of a plugin. The number 0 is the ABI's own.
pub mod to_plugin {
    /// → [`About`](super::request::About)
    pub const DESCRIBE: u32 = 1;
    /// [`Start`](super::request::Start)
    pub const START: u32 = 2;
    /// a key has changed; a fault is the answer for the operator
    pub const RECONFIGURE: u32 = 3;
    /// the plugin ends, and everything of it
    pub const STOP: u32 = 4;

    /// first of the hook points, by the number of their bit; on a set of hooks. Those about messages have the
    /// payload as body.
    pub const HOOK: u32 = 10;

    /// on a provider: [`Auth`](super::request::Auth), password as body → number of the answer
    pub const AUTH: u32 = 30;
    /// on a provider: [`Acl`](super::request::Acl) → number of the answer
    pub const ACL: u32 = 31;
    /// on a ticket: nobody waits for it any more
    pub const CANCEL: u32 = 32;
    /// on a mechanism: client → number of an exchange
    pub const BEGIN: u32 = 33;
    /// on an exchange, data as body → number of the step, data
    pub const STEP: u32 = 34;
    /// on an exchange: it is over
    pub const END: u32 = 35;
    /// on an exchange → 1 and the user name that it has proved, or 0
    pub const PROVED: u32 = 36;

    /// on a command: [`Words`](super::request::Words) → number of the reply, text
    pub const COMMAND: u32 = 40;
    /// on a handler: request without body, and body → response without body, and body
    pub const HTTP: u32 = 41;
    /// on something that can be reloaded; a fault is why it could not
    pub const RELOAD: u32 = 42;

    /// on the events of a virtual connection: body → how many bytes are taken
    pub const OUTPUT: u32 = 50;
    /// there is room again
    pub const ROOM: u32 = 51;
    /// it has ended: reason as body
    pub const CLOSED: u32 = 52;
    /// its events will not be called any more
    pub const FORGET_EVENTS: u32 = 53;
}

/// Operations of an instance of a plugin on the broker.
pub mod to_broker {
    /// handle = level from 1 (error) to 5 (trace); target as message, text as body
    pub const LOG: u32 = 1;
    /// → entries
    pub const CONFIG: u32 = 2;
    /// counters that have changed, by name → the level of the log
    pub const TICK: u32 = 3;
    /// a task has panicked: what it was, as body
    pub const PANICKED: u32 = 4;

    /// a provider; [`Place`](super::request::Place)
    pub const AUTH: u32 = 10;
    /// a provider; [`Place`](super::request::Place)
    pub const ACL: u32 = 11;
    /// a mechanism; its method as body
    pub const MECHANISM: u32 = 12;
    /// a set of hooks; [`Place`](super::request::Place)
    pub const HOOKS: u32 = 13;
    /// a command; [`Usage`](super::request::Usage)
    pub const COMMAND: u32 = 14;
    /// a handler of HTTP requests
    pub const HTTP: u32 = 15;
    /// a counter; its name as body
    pub const METRIC: u32 = 16;
    /// a listener of the plugin's own
    pub const LISTENER: u32 = 17;
    /// something that can be reloaded
    pub const RELOADABLE: u32 = 18;
    /// a listener is no more: protocol and address
    pub const LISTENER_GONE: u32 = 19;

    /// on a ticket: [`Completion`](super::request::Completion)
    pub const COMPLETE: u32 = 20;
    /// decisions are void
    pub const FORGET_DECISIONS: u32 = 21;

    /// message without payload, and payload
    pub const PUBLISH: u32 = 30;
    /// [`OfClient`](super::request::OfClient)
    pub const SUBSCRIBE: u32 = 31;
    /// [`OfClient`](super::request::OfClient)
    pub const UNSUBSCRIBE: u32 = 32;
    /// client identifier as body
    pub const KICK: u32 = 33;
    /// [`Alarm`](super::request::Alarm)
    pub const ALARM: u32 = 34;

    /// [`RowKey`](super::request::RowKey), value as body
    pub const TABLE_PUT: u32 = 40;
    /// [`RowKey`](super::request::RowKey)
    pub const TABLE_DELETE: u32 = 41;
    /// [`RowKey`](super::request::RowKey) → 1 and the value, or 0
    pub const TABLE_GET: u32 = 42;
    /// name of the table as body → [`Rows`](super::request::Rows)
    pub const TABLE_ROWS: u32 = 43;

    /// peer, on the plugin's events → number of a pipe
    pub const OPEN: u32 = 50;
    /// on a pipe: body → how many bytes are taken
    pub const SEND: u32 = 51;
    /// on a pipe: reason as body
    pub const CLOSE: u32 = 52;
    /// on a pipe
    pub const RESUME: u32 = 53;
    /// on a pipe: the plugin needs it no more
    pub const FORGET_PIPE: u32 = 54;
    /// on a pipe: will without payload or nothing, and payload
    pub const SET_WILL: u32 = 55;

    /// settings, or nothing
    pub const RETAIN: u32 = 60;
    /// → how many
    pub const RETAINED_COUNT: u32 = 61;
    /// → topics
    pub const RETAINED_TOPICS: u32 = 62;
    /// → how many
    pub const RETAINED_CLEAN: u32 = 63;

    /// → figures
    pub const FIGURES: u32 = 70;
    /// handle = how many at most → holders
    pub const HOLDERS: u32 = 71;
    /// → what can be reloaded
    pub const RELOADABLES: u32 = 72;
    /// name as body
    pub const RELOAD: u32 = 73;
}

/// Writes a message.
pub fn encode<T: Encode<()>>(message: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    // To write into a Vec cannot fail, and no type here has an error of its own.
    let written = minicbor::encode(message, &mut bytes);
    debug_assert!(written.is_ok());
    bytes
}

/// Writes a message and bytes behind it.
pub fn encode_with<T: Encode<()>>(message: &T, behind: &[u8]) -> Vec<u8> {
    let mut bytes = encode(message);
    bytes.extend_from_slice(behind);
    bytes
}

/// Reads a message.
///
/// # Errors
/// [`Fault::Malformed`].
pub fn decode<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, Fault> {
    minicbor::decode(bytes).map_err(|_| Fault::Malformed)
}

/// Reads a message and what stands behind it.
///
/// # Errors
/// [`Fault::Malformed`].
pub fn decode_with<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<(T, &'b [u8]), Fault> {
    let mut decoder = Decoder::new(bytes);
    let message = decoder.decode().map_err(|_| Fault::Malformed)?;
    Ok((message, bytes.get(decoder.position()..).unwrap_or_default()))
}

/// Reads text.
///
/// # Errors
/// [`Fault::Malformed`].
pub fn text(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|_| Fault::Malformed)
}
