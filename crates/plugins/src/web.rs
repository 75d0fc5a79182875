//! Web listeners of plugins: the broker's web server has them, and they go with their plugins.

use emqttd_plugin_sdk::{Config, WebListener};

/// The broker's web server, as plugins use it.
pub trait WebServer: Send + Sync {
    /// Opens a listener with what the plugin's keys say.
    ///
    /// # Errors
    /// Why it cannot be opened, with the key.
    fn open(&self, listener: &WebListener, config: &Config) -> Result<Box<dyn OpenWeb>, String>;
}

/// A listener that is open, or was closed by `emqttd_ctl listeners stop` and may be opened again.
pub trait OpenWeb: Send + Sync {
    /// Closes it for good; open requests have a second to end. Blocks.
    fn close(&self);
    /// `dashboard:http on 0.0.0.0:18083`
    fn shown(&self) -> String;
}
