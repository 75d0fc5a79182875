//! Sockets: listeners, TLS, WebSocket, PROXY protocol, rate limits, the event loop of each shard.
//!
//! Nothing here decides anything about MQTT: bytes go to a shard of the broker and come from it.

mod accept;
pub mod admission;
mod listen;
pub mod proxy;
#[cfg(feature = "selfsigned")]
pub mod selfsigned;
mod server;
mod shard_loop;
mod socket;
pub mod tls;
pub mod ws;

pub use server::Server;
