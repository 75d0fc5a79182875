//! `emq_lua_hook`.

use emqttd_plugin_sdk::{Descriptor, StartError};

#[allow(dead_code)]
mod base;
#[allow(dead_code)]
mod budget;
#[allow(dead_code)]
mod errors;
#[allow(dead_code)]
mod pattern;
#[allow(dead_code)]
mod strings;
#[allow(dead_code)]
mod tables;

/// The plugin, for the list of a broker's plugins.
pub fn plugin() -> Descriptor {
    Descriptor::new(
        "emq_lua_hook",
        env!("CARGO_PKG_VERSION"),
        "EMQ Hooks in lua",
        |_| Err(StartError::from("is being built")),
    )
}
