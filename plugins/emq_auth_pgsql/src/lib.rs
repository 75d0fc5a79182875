//! `emq_auth_pgsql`: authentication and ACL by queries to PostgreSQL.
//!
//! What is asked and what the answers mean is [`emqttd_backend::Sql`]; here is the way to the server.

use connector::Pgsql;
use emqttd_backend::{Cell, Dialect, Placeholder, Sql};
use emqttd_plugin_sdk::Descriptor;

mod connector;
mod text;

const DIALECT: Dialect = Dialect {
    head: "auth.pgsql",
    server: "PostgreSQL server",
    port: 5432,
    placeholder: Placeholder::Dollar,
    by_name: false,
    // The number 1 is none, in EMQ neither.
    is_super: |cell| *cell == Cell::Bool(true),
};

/// The plugin, for the list of a broker's plugins.
pub fn plugin() -> Descriptor {
    Descriptor::new(
        "emq_auth_pgsql",
        env!("CARGO_PKG_VERSION"),
        "Authentication/ACL with PostgreSQL",
        |ctx| Sql::start(ctx, DIALECT, |entrance| Pgsql::new(ctx, entrance)),
    )
    .guard()
    .anew()
}
