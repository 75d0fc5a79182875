//! `emq_auth_ldap`: authentication/ACL with LDAP.

use emqttd_plugin_sdk::Descriptor;

/// The plugin, for the list of a broker's plugins.
pub fn plugin() -> Descriptor {
    let start = |_: &emqttd_plugin_sdk::Context| Err("is being written".into());
    Descriptor::new(
        "emq_auth_ldap",
        env!("CARGO_PKG_VERSION"),
        "Authentication/ACL with LDAP",
        start,
    )
    .guard()
}
