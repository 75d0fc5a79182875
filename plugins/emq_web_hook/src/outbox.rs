//! Where events wait until they have been posted.

use crate::event::Event;
use crate::settings::Settings;
use emqttd_plugin_sdk::{Context, StartError};
use std::sync::Arc;

/// Events on their way to the web server.
#[derive(Debug)]
pub(crate) struct Outbox {}

impl Outbox {
    /// Starts the senders.
    pub fn start(_ctx: &Context, _settings: Settings) -> Result<Arc<Outbox>, StartError> {
        Err("is being built".into())
    }

    /// Takes an event; never waits.
    pub fn push(&self, _event: Event) {}

    /// `web.hook.api.url` has changed: `ctx` has the new one.
    ///
    /// # Errors
    /// What is wrong with it; the old one stays.
    pub fn reconfigure(&self, _ctx: &Context) -> Result<(), String> {
        Err("is being built".into())
    }

    /// The plugin ends: with spill, what waits goes to disk before this returns; else it is dropped and counted.
    pub fn stop(&self) {}
}
