//! A plugin to begin with: demo authentication, demo ACL, a command, all hooks, keys of its own.

mod acl_demo;
mod auth_demo;
mod cli_demo;
mod hooks;
mod settings;
#[cfg(test)]
mod tests;

use emqttd_plugin_sdk::{Context, Descriptor, Plugin, StartError};
use settings::Settings;
use std::fmt;
use std::io::Write;
use std::sync::Arc;

/// What the broker is to know before it starts the plugin.
pub fn plugin() -> Descriptor {
    Descriptor::new(
        env!("CARGO_PKG_NAME"),
        env!("CARGO_PKG_VERSION"),
        env!("CARGO_PKG_DESCRIPTION"),
        start,
    )
    // It decides who may come in: a broker that cannot start it does not start.
    .guard()
    .keys(settings::keys())
}

#[cfg(feature = "library")]
emqttd_plugin_sdk::export_plugin!(plugin);

/// Registers what the plugin does. Nothing of it has to be undone: the broker does that.
fn start(ctx: &Context) -> Result<Box<dyn Plugin>, StartError> {
    let settings = Arc::new(Settings::new(&ctx.config())?);
    ctx.auth(0, auth_demo::AuthDemo(Arc::clone(&settings)));
    ctx.acl(0, acl_demo::AclDemo(Arc::clone(&settings)));
    ctx.hooks(0, hooks::DemoHooks::new(ctx, &settings));
    cli_demo::register(ctx);
    Ok(Box::new(Running(settings)))
}

/// The plugin while it runs.
struct Running(Arc<Settings>);

impl Plugin for Running {
    fn reconfigure(&self, ctx: &Context) -> Result<(), String> {
        self.0.take(&ctx.config())
    }
}

/// Prints a line, as EMQ's template does. What is not for a demonstration uses `log::info!` and the like of
/// `emqttd_plugin_sdk::log`, which come into the broker's log and never hold up an event loop.
fn say(line: fmt::Arguments<'_>) {
    // A console that is gone is no reason to fail.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
