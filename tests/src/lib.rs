//! Shared pieces of the black-box tests: the broker as a child process, and a client that shares no
//! code with it.
//!
//! The client has its own encoder and decoder on purpose: a mistake of `crates/mqtt` must not be able
//! to cancel itself out here. It is strict: a packet from the broker that breaks the standard fails the
//! test that received it, whatever that test was about.

#![allow(clippy::unwrap_used)]

pub mod broker;
pub mod certs;
pub mod client;
pub mod conformance;
pub mod connect;
pub mod http;
pub mod packet;
pub mod peers;
pub mod plugins;
pub mod servers;
pub mod stomp;
pub mod transport;

pub use broker::{Broker, Config, End};
pub use client::{Client, Publish, Sub};
pub use connect::{Connect, Will};
pub use packet::{Packet, Prop, Props, Version, frame, text, varint};

/// All versions that the broker speaks.
pub const ALL: [Version; 3] = [Version::V31, Version::V311, Version::V5];
/// The versions before 5.
pub const V3: [Version; 2] = [Version::V31, Version::V311];
/// The versions with rules for reserved flags; MQTT 3.1 calls them unused and sets DUP on repetitions.
pub const STRICT: [Version; 2] = [Version::V311, Version::V5];

use std::sync::atomic::{AtomicU64, Ordering};

/// A name nobody else in this run uses, for client ids and topics: `<word><number>`, short enough for
/// the 23 bytes of MQTT 3.1.
pub fn unique(word: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut name: String = word
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(14)
        .collect();
    name.push_str(&NEXT.fetch_add(1, Ordering::Relaxed).to_string());
    name
}
