//! Sockets: listeners, TLS, WebSocket, PROXY protocol, rate limits, the event loop of each shard; and the
//! virtual connections of gateways, which go the same way without a socket.
//!
//! Nothing here decides anything about MQTT: bytes go to a shard of the broker and come from it.

mod accept;
pub mod admission;
mod listen;
mod pipe;
pub mod proxy;
#[cfg(feature = "selfsigned")]
pub mod selfsigned;
mod server;
mod shard_loop;
mod socket;
pub mod tls;
pub mod ws;

pub use server::Server;
