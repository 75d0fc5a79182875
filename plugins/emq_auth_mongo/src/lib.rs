//! `emq_auth_mongo`: authentication/ACL with MongoDB.
//!
//! Users, superusers and rules are documents. Each kind is found by a [`selector`] of the configuration, in which
//! `%u` and `%c` become BSON strings: what a client sends is never part of a query. Connections, topology and
//! elections are the business of MongoDB's own driver ([`server`]); credentials, the time an answer may take and
//! what happens without one are that of [`emqttd_backend::Door`].

mod fields;
mod lookup;
mod presence;
mod rules;
mod selector;
mod server;
mod settings;
mod tls;

#[cfg(test)]
mod tests;

use emqttd_backend::{Checker, Door, Health};
use emqttd_plugin_sdk::{Context, Descriptor, Plugin, StartError};
use lookup::Lookup;
use server::Server;
use settings::Keys;
use std::sync::Arc;

/// The plugin, for the list of a broker's plugins.
pub fn plugin() -> Descriptor {
    Descriptor::new(
        "emq_auth_mongo",
        env!("CARGO_PKG_VERSION"),
        "Authentication/ACL with MongoDB",
        start,
    )
    .guard()
    .anew()
}

fn start(ctx: &Context) -> Result<Box<dyn Plugin>, StartError> {
    let keys = Keys::read(&ctx.config())?;
    let health = Arc::new(Health::new(ctx, keys.connection.title()));
    let server = Server::start(ctx, &keys.connection, &health)?;
    let has_rules = keys.rules.is_some();
    let checker = Checker::new(ctx, keys.users.form, &health);
    let lookup = Lookup {
        server,
        checker,
        users: keys.users,
        superusers: keys.superusers,
        rules: keys.rules,
        health: Arc::clone(&health),
    };
    let door = Door::new(ctx, &keys.common, &health, lookup);
    ctx.auth(0, door.clone());
    if has_rules {
        ctx.acl(0, door);
    }
    Ok(Box::new(()))
}
