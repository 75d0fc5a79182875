//! `emq_auth_jwt`: authentication with JWT.

use emqttd_plugin_sdk::Descriptor;

/// The plugin, for the list of a broker's plugins.
pub fn plugin() -> Descriptor {
    let start = |_: &emqttd_plugin_sdk::Context| Err("is being written".into());
    Descriptor::new(
        "emq_auth_jwt",
        env!("CARGO_PKG_VERSION"),
        "Authentication with JWT",
        start,
    )
    .guard()
}
