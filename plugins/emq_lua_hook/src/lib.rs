//! `emq_lua_hook`: scripts in Lua 5.2 that hear of clients and messages, and change or drop them.
//!
//! README.md has the keys, the callbacks and the library.

#[allow(dead_code)]
mod base;
mod budget;
mod commands;
mod emq;
mod engine;
#[allow(dead_code)]
mod errors;
#[allow(dead_code)]
mod kv;
#[allow(dead_code)]
mod pattern;
mod scripts;
mod settings;
mod strings;
mod tables;

use emq::Library;
use emqttd_plugin_sdk::{Context, Descriptor, Plugin, StartError};
use engine::Engine;
use settings::Settings;

/// The plugin, for the list of a broker's plugins.
pub fn plugin() -> Descriptor {
    Descriptor::new(
        "emq_lua_hook",
        env!("CARGO_PKG_VERSION"),
        "EMQ Hooks in lua",
        start,
    )
}

fn start(ctx: &Context) -> Result<Box<dyn Plugin>, StartError> {
    let settings = Settings::read(&ctx.config())?;
    let dir = settings.dir.clone();
    let library = Library::new(ctx, &settings);
    let engine = Engine::new(ctx, settings, library)?;
    scripts::load_all(&engine, &dir);
    commands::register(ctx, &engine, &dir);
    Ok(Box::new(()))
}
