//! `emq_modules`: three small modules of EMQ in one plugin.
//!
//! - presence publishes who connects and who disconnects;
//! - subscription subscribes clients as they connect;
//! - rewrite changes topics on their way into the broker.
//!
//! README.md has the keys.

mod json;
mod presence;
mod rewrite;
mod subscription;
mod throttle;

use emqttd_plugin_sdk::{Config, Context, Descriptor, Entry, Plugin, QoS, StartError};
use presence::Presence;
use rewrite::{Rewrite, Rules};
use std::io::Write;
use subscription::{Subscription, Template};

/// The plugin, for the list of a broker's plugins.
pub fn plugin() -> Descriptor {
    Descriptor::new(
        "emq_modules",
        env!("CARGO_PKG_VERSION"),
        "EMQ Modules",
        start,
    )
}

/// Reads all that the modules need before the first of them is registered: a bad rule loads nothing.
fn start(ctx: &Context) -> Result<Box<dyn Plugin>, StartError> {
    let config = ctx.config();
    let on = |module: &str| config.switch(module) == Some(true);
    let presence = on("module.presence")
        .then(|| presence_qos(&config).map(|qos| Presence::new(ctx.clone(), qos)))
        .transpose()?;
    let subscription = on("module.subscription")
        .then(|| Template::all(&config).map(|all| Subscription::new(ctx.clone(), all)))
        .transpose()?;
    let rewrite = on("module.rewrite")
        .then(|| Rules::of(&config).map(Rewrite::new))
        .transpose()?;
    if let Some(presence) = presence {
        ctx.hooks(0, presence);
        loaded("emq_mod_presence");
    }
    if let Some(subscription) = subscription {
        ctx.hooks(0, subscription);
        loaded("emq_mod_subscription");
    }
    if let Some(rewrite) = rewrite {
        ctx.hooks(0, rewrite);
        loaded("emq_mod_rewrite");
    }
    Ok(Box::new(()))
}

/// Says so on the console, as EMQ did, and in the log, which a detached broker has instead.
fn loaded(module: &str) {
    let _ = writeln!(std::io::stdout(), "Load {module} module successfully.");
    log::info!("emq_modules: {module} is loaded");
}

fn presence_qos(config: &Config) -> Result<QoS, StartError> {
    config
        .entry("module.presence.qos")
        .map_or(Ok(QoS::AtLeastOnce), qos)
}

/// The QoS that an entry holds.
fn qos(entry: &Entry) -> Result<QoS, StartError> {
    let number = entry.value.trim().parse().ok();
    number
        .and_then(QoS::from_u8)
        .ok_or_else(|| wrong(entry, "0, 1 or 2 is expected"))
}

/// What is wrong with an entry, and where it stands.
fn wrong(entry: &Entry, what: &str) -> StartError {
    let Entry { key, value, origin } = entry;
    StartError(format!("{origin}: {key} = {value}: {what}"))
}

#[cfg(test)]
mod tests;
