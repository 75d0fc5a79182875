//! `emq_sockjs`: STOMP for web pages, through SockJS.
//!
//! [`sockjs`] is a server of that protocol for any application.

pub mod sockjs;

use emqttd_plugin_sdk::{Descriptor, StartError};

/// The plugin, for the list of a broker's plugins.
pub fn plugin() -> Descriptor {
    Descriptor::new(
        "emq_sockjs",
        env!("CARGO_PKG_VERSION"),
        "SockJS(Stomp) Plugin for emqttd broker",
        |_| Err(StartError("it is being written".into())),
    )
}
