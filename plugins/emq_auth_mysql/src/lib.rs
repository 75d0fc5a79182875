//! `emq_auth_mysql`: authentication and ACL by queries to MySQL and MariaDB.
//!
//! What is asked and what the answers mean is [`emqttd_backend::Sql`]; here is the way to the server.

use connector::Mysql;
use emqttd_backend::{Cell, Dialect, Placeholder, Sql};
use emqttd_plugin_sdk::Descriptor;

mod connector;

const DIALECT: Dialect = Dialect {
    head: "auth.mysql",
    server: "MySQL server",
    port: 3306,
    placeholder: Placeholder::Question,
    by_name: true,
    // The text "1" is none, in EMQ neither.
    is_super: |cell| *cell == Cell::Integer(1),
};

/// The plugin, for the list of a broker's plugins.
pub fn plugin() -> Descriptor {
    Descriptor::new(
        "emq_auth_mysql",
        env!("CARGO_PKG_VERSION"),
        "Authentication/ACL with MySQL",
        |ctx| Sql::start(ctx, DIALECT, Mysql::new),
    )
    .guard()
    .anew()
}
