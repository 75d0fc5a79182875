//! The keys, but for those that say which events there are and how payloads are written.

use emqttd_plugin_sdk::{Config, StartError};

/// What the keys say (all but the rules and `encode_payload`).
#[derive(Debug)]
pub(crate) struct Settings {}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// The key, where it stands, and what is wrong.
    pub fn read(_config: &Config) -> Result<Settings, StartError> {
        Err("is being built".into())
    }
}
