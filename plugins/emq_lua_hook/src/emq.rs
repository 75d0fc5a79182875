//! The library `emq` (being written by L3).

use crate::budget::Budget;
use crate::settings::Settings;
use emqttd_plugin_sdk::Context;
use mlua::Lua;
use std::sync::Arc;

/// Shared by all interpreters.
pub(crate) struct Library {}

impl Library {
    /// Of a plugin.
    pub fn new(ctx: &Context, settings: &Settings) -> Arc<Library> {
        let _ = (ctx, settings);
        Arc::new(Library {})
    }
}

/// Sets the global table `emq`, and the global `print`.
pub(crate) fn install(lua: &Lua, budget: &Budget, library: &Arc<Library>) -> mlua::Result<()> {
    let _ = (lua, budget, library);
    Ok(())
}
