//! `emq_web_hook`.

mod event;
mod outbox;
mod settings;

use emqttd_plugin_sdk::{Descriptor, StartError};

/// The plugin, for the list of a broker's plugins.
pub fn plugin() -> Descriptor {
    Descriptor::new(
        "emq_web_hook",
        env!("CARGO_PKG_VERSION"),
        "EMQ Webhook Plugin",
        |_| Err(StartError::from("is being built")),
    )
}
