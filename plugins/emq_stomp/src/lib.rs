//! `emq_stomp`.

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
