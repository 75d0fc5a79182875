//! `emq_auth_username`: who may come in, by user name and password.

use emqttd_credentials::Kind;
use emqttd_password::Given;
use emqttd_plugin_sdk::Descriptor;

static KIND: Kind = Kind {
    plugin: "emq_auth_username",
    version: env!("CARGO_PKG_VERSION"),
    description: "Authentication with Username/Password",
    keys: "auth.user",
    field: "username",
    command: "users",
    usage: [
        ("users list", "List users"),
        ("users add <Username> <Password>", "Add User"),
        ("users update <Username> <NewPassword>", "Update User"),
        ("users del <Username>", "Delete User"),
    ],
    table: "mqtt_auth_username",
    old_row: Given::emq_row,
    file_wins: false,
    scram: true,
    name_of: |client| client.username.as_deref(),
};

/// The plugin, for the list of a broker's plugins.
pub fn plugin() -> Descriptor {
    KIND.descriptor()
}

#[cfg(test)]
mod tests;
