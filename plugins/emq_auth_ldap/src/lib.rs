//! `emq_auth_ldap`: authentication/ACL with LDAP.
//!
//! Two ways to let a client in: the directory is asked to *bind* as the client with the client's password
//! (`user_dn`, EMQ 2.0 to 2.2), or the client's entry is *searched* for and the password compared with an
//! attribute of it (`auth_dn`, EMQ 2.3). Attributes of the entry may also say who is a superuser, and what may
//! be published and subscribed to.

#![warn(missing_debug_implementations)]

mod connection;
mod directory;
mod entry;
mod rights;
mod scheme;
mod security;
mod settings;

use crate::connection::Connections;
use crate::directory::Directory;
use crate::settings::LdapSettings;
use emqttd_backend::{Door, Health, Pool};
use emqttd_plugin_sdk::{Context, Descriptor, Plugin, StartError};
use std::sync::Arc;

/// The plugin, for the list of a broker's plugins.
pub fn plugin() -> Descriptor {
    Descriptor::new(
        "emq_auth_ldap",
        env!("CARGO_PKG_VERSION"),
        "Authentication/ACL with LDAP",
        start,
    )
    .guard()
    .anew()
}

fn start(ctx: &Context) -> Result<Box<dyn Plugin>, StartError> {
    let settings = LdapSettings::read(&ctx.config())?;
    let servers: Vec<String> = settings
        .servers
        .iter()
        .map(|server| server.address.to_string())
        .collect();
    let health = Arc::new(Health::new(
        ctx,
        format!("LDAP server {}", servers.join(", ")),
    ));
    let exposed = settings.servers.iter().find(|server| server.is_exposed());
    if let Some(server) = exposed {
        log::warn!(
            "emq_auth_ldap: passwords travel to {} as they are: auth.ldap.ssl or auth.ldap.starttls would hide them",
            server.address
        );
    }
    let connections = Connections::new(ctx, &settings)?;
    let pool = Pool::start(ctx, settings.pool, &health, connections);
    let has_acl = !settings.rights.is_empty();
    let common = settings.common.clone();
    let directory = Directory::new(ctx, settings, &health, pool);
    let door = Door::new(ctx, &common, &health, directory);
    ctx.auth(0, door.clone());
    if has_acl {
        ctx.acl(0, door);
    }
    Ok(Box::new(()))
}
