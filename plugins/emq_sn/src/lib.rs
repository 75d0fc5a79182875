//! `emq_sn`.

use emqttd_plugin_sdk::{Descriptor, StartError};

/// The plugin, for the list of a broker's plugins.
pub fn plugin() -> Descriptor {
    Descriptor::new(
        "emq_sn",
        env!("CARGO_PKG_VERSION"),
        "MQTT-SN Gateway",
        |_| Err(StartError("it is being written".into())),
    )
}
