//! `emq_auth_clientid`: who may come in, by client identifier and password.

use emqttd_credentials::Kind;
use emqttd_password::Given;
use emqttd_plugin_sdk::Descriptor;

static KIND: Kind = Kind {
    plugin: "emq_auth_clientid",
    version: env!("CARGO_PKG_VERSION"),
    description: "Authentication with ClientId/Password",
    keys: "auth.client",
    field: "clientid",
    command: "clientid",
    usage: [
        ("clientid list", "List ClientIds"),
        ("clientid add <ClientId> <Password>", "Add ClientId"),
        (
            "clientid update <ClientId> <NewPassword>",
            "Update ClientId",
        ),
        ("clientid del <ClientId>", "Delete ClientId"),
    ],
    table: "mqtt_auth_clientid",
    old_row,
    file_wins: true,
    scram: false,
    name_of: |client| Some(&client.clientid),
};

/// The plugin, for the list of a broker's plugins.
pub fn plugin() -> Descriptor {
    KIND.descriptor()
}

/// A row of EMQ's table is the password itself. What begins with `$` is a hash of a later version of ours.
fn old_row(row: &[u8]) -> Option<Given> {
    let text = std::str::from_utf8(row).ok()?;
    let is_password = !text.is_empty() && !text.starts_with('$');
    is_password.then(|| Given::plain(row))
}

#[cfg(test)]
mod tests;
