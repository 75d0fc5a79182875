//! `emq_auth_redis`: authentication, access and subscriptions of clients by what a Redis has about them.

mod acl;
mod backend;
mod cluster;
mod command;
mod connector;
mod link;
mod reply;
mod settings;
mod slots;
mod subscriptions;

use backend::RedisBackend;
use command::Command;
use connector::RedisConnector;
use emqttd_backend::{Checker, Credentials, Door, Health, Pool};
use emqttd_plugin_sdk::{Context, Descriptor, Plugin, StartError};
use settings::RedisSettings;
use std::sync::Arc;
use subscriptions::Subscriptions;

/// The plugin, for the list of a broker's plugins.
pub fn plugin() -> Descriptor {
    Descriptor::new(
        "emq_auth_redis",
        env!("CARGO_PKG_VERSION"),
        "Authentication/ACL with Redis",
        start,
    )
    .guard()
    .anew()
}

fn start(ctx: &Context) -> Result<Box<dyn Plugin>, StartError> {
    let settings = RedisSettings::read(&ctx.config())?;
    let health = Arc::new(Health::new(ctx, settings.servers.to_string()));
    let connector = RedisConnector::new(ctx, &settings)?;
    let pool = Arc::new(Pool::start(ctx, settings.pool, &health, connector));
    if let Some(command) = settings.subscriptions {
        let subscriptions = Subscriptions::new(
            ctx,
            command,
            &pool,
            settings.pool,
            settings.common.timeout,
            &health,
        );
        ctx.hooks(0, subscriptions);
    }
    let asks = (settings.auth.is_some(), settings.acl.is_some());
    let backend = RedisBackend {
        pool,
        checker: Checker::new(ctx, settings.password_hash, &health),
        password_hash: settings.password_hash,
        health: Arc::clone(&health),
        auth: settings.auth,
        superuser: settings.superuser,
        acl: settings.acl,
    };
    // An empty name or password is looked up like any other (sheet 0.3).
    let door = Door::new(ctx, &settings.common, &health, backend).credentials(Credentials::Given);
    if asks.0 {
        ctx.auth(0, door.clone());
    }
    if asks.1 {
        ctx.acl(0, door);
    }
    Ok(Box::new(()))
}
