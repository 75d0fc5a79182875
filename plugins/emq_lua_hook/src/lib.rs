//! `emq_lua_hook`: scripts in Lua 5.2 that hear of clients and messages, and change or drop them.
//!
//! README.md has the keys, the callbacks and the library.

mod arguments;
mod base;
mod budget;
mod clock;
mod commands;
#[cfg(test)]
mod comparison;
#[cfg(test)]
mod docs;
mod emq;
mod engine;
mod errors;
mod format;
mod hooks;
mod json;
mod kv;
mod lines;
mod pattern;
mod random;
mod returned;
mod sandbox;
mod script;
mod scripts;
mod settings;
mod strings;
mod tables;
mod vm;

use commands::Scripts;
use emq::Library;
use emqttd_plugin_sdk::{Context, Descriptor, Plugin, StartError};
use engine::Engine;
use settings::Settings;
use std::sync::Arc;

/// The plugin, for the list of a broker's plugins.
pub fn plugin() -> Descriptor {
    Descriptor::new(
        "emq_lua_hook",
        env!("CARGO_PKG_VERSION"),
        "EMQ Hooks in lua",
        start,
    )
}

/// What ends with the plugin.
struct Running(Arc<Engine>);

impl Plugin for Running {
    fn stop(&self) {
        self.0.stop();
    }
}

fn start(ctx: &Context) -> Result<Box<dyn Plugin>, StartError> {
    let settings = Settings::read(&ctx.config())?;
    let dir = settings.dir.clone();
    let library = Library::new(ctx, &settings);
    let engine = Engine::new(ctx, settings, Arc::clone(&library))?;
    let scripts = Scripts::new(ctx, dir, &engine, &library);
    scripts.load_all();
    scripts.register();
    Ok(Box::new(Running(engine)))
}
