//! Packets of MQTT 3.1, 3.1.1 and 5.0 as bytes and back; topic names and topic filters.
//!
//! Nothing here does IO, reads a clock or keeps state. Decoding borrows from the input and does not allocate, except for
//! the one box of a CONNECT. Encoding appends to a `Vec<u8>` of the caller.
//!
//! What a packet says by itself is checked here; what depends on the connection (the state of a packet identifier, the
//! topic alias maximum, limits of the configuration, the syntax of a topic filter) is left to the broker.
//!
//! A reader of a stream does this:
//!
//! ```
//! use emqttd_mqtt::{Packet, Version, decode, fixed_header};
//!
//! let input = [0xC0, 0x00]; // PINGREQ
//! let header = fixed_header(&input)?.expect("the header is complete");
//! let body = &input[header.len..header.len + header.remaining];
//! assert_eq!(decode(Version::V5, header.first, body)?, Packet::PingReq);
//! # Ok::<(), emqttd_mqtt::DecodeError>(())
//! ```
//!
//! Statements of the standard are cited where they are obeyed. A number stands for the statement of MQTT 5.0, unless it is
//! written with `3.1.1:`.

mod decode;
mod encode;
mod error;
mod frame;
mod packet;
mod property;
mod reason;
mod text;
pub mod topic;
mod version;

pub use decode::{decode, decode_publish, decode_publish_from_server, decode_publish_known};
pub use encode::{
    AckKind, ConnAckOut, ConnAckProps, PublishHead, encode, encode_ack, encode_auth,
    encode_connack, encode_connect, encode_disconnect, encode_pingreq, encode_pingresp,
    encode_publish_head, encode_suback, encode_subscribe, encode_unsuback, encode_unsubscribe,
    publish_len,
};
pub use error::{DecodeError, DecodeErrorKind};
pub use frame::{FixedHeader, MAX_REMAINING_LENGTH, fixed_header, varint_len};
pub use packet::{
    Ack, Auth, ConnAck, Connect, Disconnect, Filters, Packet, Publish, SubAck, Subscribe,
    SubscriptionOptions, UnsubAck, Unsubscribe, UnsubscribeFilters, Will,
};
pub use property::{Properties, Property, PropertyIter};
pub use reason::ReasonCode;
pub use version::{PacketType, QoS, Version};
