//! `plugins`: those that have a configuration file. This version carries none of them yet.

use super::Core;
use crate::VERSION;
use crate::cli::Cli;
use std::collections::BTreeSet;
use std::path::Path;

/// Name and description of each plugin of EMQ 2.x.
const KNOWN: &[(&str, &str)] = &[
    ("emq_auth_clientid", "Authentication with ClientId/Password"),
    ("emq_auth_http", "Authentication/ACL with HTTP API"),
    ("emq_auth_jwt", "Authentication with JWT"),
    ("emq_auth_ldap", "Authentication/ACL with LDAP"),
    ("emq_auth_mongo", "Authentication/ACL with MongoDB"),
    ("emq_auth_mysql", "Authentication/ACL with MySQL"),
    ("emq_auth_pgsql", "Authentication/ACL with PostgreSQL"),
    ("emq_auth_redis", "Authentication/ACL with Redis"),
    ("emq_auth_username", "Authentication with Username/Password"),
    ("emq_coap", "CoAP Gateway"),
    ("emq_dashboard", "EMQ Web Dashboard"),
    ("emq_lua_hook", "EMQ Hooks in lua"),
    ("emq_modules", "EMQ Modules"),
    ("emq_plugin_template", "EMQ Plugin Template"),
    ("emq_recon", "Recon Plugin"),
    ("emq_reloader", "Reloader Plugin"),
    ("emq_retainer", "EMQ Retainer"),
    ("emq_sn", "MQTT-SN Gateway"),
    ("emq_sockjs", "SockJS(Stomp) Plugin for emqttd broker"),
    ("emq_stomp", "Stomp Protocol Plugin"),
    ("emq_web_hook", "EMQ Webhook Plugin"),
];

/// Names of earlier releases that people still type.
fn present_name(name: &str) -> &str {
    match name {
        "emq_mod_presence" | "emq_mod_subscription" | "emq_mod_rewrite" => "emq_modules",
        "emq_mod_retainer" => "emq_retainer",
        "emqttd_sockjs" => "emq_sockjs",
        other => other,
    }
}

/// Known plugins with a file `<name>.conf` or `<name>.config` in `dir`, by name.
fn installed(dir: &Path) -> Vec<(&'static str, &'static str)> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let file = entry.file_name();
        let file = file.to_string_lossy();
        let name = file
            .strip_suffix(".conf")
            .or_else(|| file.strip_suffix(".config"));
        names.extend(name.map(str::to_owned));
    }
    KNOWN
        .iter()
        .filter(|(name, _)| names.contains(*name))
        .copied()
        .collect()
}

/// `plugins list|load|unload`
pub fn register(cli: &Cli, core: &Core) {
    let broker = core.broker.clone();
    cli.register(
        "plugins",
        &[
            ("plugins list", "Show loaded plugins"),
            ("plugins load <Plugin>", "Load plugin"),
            ("plugins unload <Plugin>", "Unload plugin"),
        ],
        Box::new(move |call| {
            let dir = broker.settings().plugins_etc_dir.clone();
            plugins(call.args, &dir.map(|d| installed(&d)).unwrap_or_default())
        }),
    );
}

fn plugins(args: &[&str], installed: &[(&str, &str)]) -> Option<String> {
    Some(match args {
        ["list"] => installed
            .iter()
            .map(|(name, text)| {
                format!("Plugin({name}, version={VERSION}, description={text}, active=false)\n")
            })
            .collect(),
        ["load", name] => {
            let name = present_name(name);
            if installed.iter().any(|(n, _)| *n == name) {
                format!("load plugin error: {{{name},\"not part of emqttd {VERSION}\"}}\n")
            } else {
                "load plugin error: not_found\n".into()
            }
        }
        ["unload", _] => "unload plugin error: not_started\n".into(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn files_make_the_list() {
        let dir = tempfile::tempdir().unwrap();
        for file in [
            "emq_stomp.conf",
            "emq_plugin_template.config",
            "emq_coap.conf.good",
            "kafka.conf",
        ] {
            std::fs::write(dir.path().join(file), "").unwrap();
        }
        let names: Vec<&str> = installed(dir.path()).iter().map(|(n, _)| *n).collect();
        assert_eq!(names, ["emq_plugin_template", "emq_stomp"]);
        assert!(installed(&dir.path().join("absent")).is_empty());
        assert!(KNOWN.is_sorted());
    }

    #[test]
    fn answers() {
        let here = [
            ("emq_stomp", "Stomp Protocol Plugin"),
            ("emq_modules", "EMQ Modules"),
        ];
        let ask = |args: &[&str]| plugins(args, &here).unwrap();
        assert!(ask(&["list"]).starts_with(&format!(
            "Plugin(emq_stomp, version={VERSION}, description=Stomp Protocol Plugin, active=false)\n"
        )));
        assert_eq!(ask(&["load", "nope"]), "load plugin error: not_found\n");
        assert!(ask(&["load", "emq_stomp"]).starts_with("load plugin error: {emq_stomp,"));
        assert!(ask(&["load", "emq_mod_presence"]).starts_with("load plugin error: {emq_modules,"));
        assert_eq!(
            ask(&["unload", "emq_stomp"]),
            "unload plugin error: not_started\n"
        );
        assert_eq!(plugins(&["load"], &here), None);
    }
}
