//! `emq_auth_clientid`.

use emqttd_plugin_sdk::{Context, Descriptor, Plugin, StartError};

/// The plugin, for the list of a broker's plugins.
pub fn plugin() -> Descriptor {
    Descriptor::new("emq_auth_clientid", env!("CARGO_PKG_VERSION"), "", start)
}

fn start(_: &Context) -> Result<Box<dyn Plugin>, StartError> {
    Ok(Box::new(()))
}
