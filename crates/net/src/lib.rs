//! emqttd net.

pub mod admission;
pub mod proxy;
#[cfg(feature = "selfsigned")]
pub mod selfsigned;
pub mod tls;
pub mod ws;
