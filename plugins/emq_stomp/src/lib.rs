//! `emq_stomp`: STOMP 1.0, 1.1 and 1.2 over TCP and TLS.
//!
//! [`frame`] are the bytes, [`connection`] serves a client whatever carries them; `emq_sockjs` uses both.

pub mod connection;
pub mod frame;
pub mod settings;

use emqttd_plugin_sdk::{Descriptor, StartError};

/// The plugin, for the list of a broker's plugins.
pub fn plugin() -> Descriptor {
    Descriptor::new(
        "emq_stomp",
        env!("CARGO_PKG_VERSION"),
        "Stomp Protocol Plugin",
        |_| Err(StartError("it is being written".into())),
    )
}
