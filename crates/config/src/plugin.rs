//! The plugins of EMQ 2.x: their names, their files, and the list of those to start.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::Problem;
use crate::reader::{decode, read_file};

/// A plugin of EMQ 2.x.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plugin {
    /// its name, which is that of its file below `etc/plugins`
    pub name: &'static str,
    /// what `plugins list` shows
    pub description: &'static str,
    /// whether it decides who may connect, or what a client may do
    pub guards: bool,
    /// names of earlier releases
    pub old_names: &'static [&'static str],
    /// whether this version of the broker has it
    pub present: bool,
}

const fn plugin(name: &'static str, description: &'static str) -> Plugin {
    Plugin {
        name,
        description,
        guards: false,
        old_names: &[],
        present: false,
    }
}

const fn guard(name: &'static str, description: &'static str) -> Plugin {
    Plugin {
        guards: true,
        ..plugin(name, description)
    }
}

/// Every plugin of the 2.x line, in the order of their names.
pub const PLUGINS: &[Plugin] = &[
    guard("emq_auth_clientid", "Authentication with ClientId/Password"),
    guard("emq_auth_http", "Authentication/ACL with HTTP API"),
    guard("emq_auth_jwt", "Authentication with JWT"),
    guard("emq_auth_ldap", "Authentication/ACL with LDAP"),
    guard("emq_auth_mongo", "Authentication/ACL with MongoDB"),
    guard("emq_auth_mysql", "Authentication/ACL with MySQL"),
    guard("emq_auth_pgsql", "Authentication/ACL with PostgreSQL"),
    guard("emq_auth_redis", "Authentication/ACL with Redis"),
    guard("emq_auth_username", "Authentication with Username/Password"),
    plugin("emq_coap", "CoAP Gateway"),
    plugin("emq_dashboard", "EMQ Web Dashboard"),
    plugin("emq_lua_hook", "EMQ Hooks in lua"),
    Plugin {
        old_names: &[
            "emq_mod_presence",
            "emq_mod_subscription",
            "emq_mod_rewrite",
        ],
        ..plugin("emq_modules", "EMQ Modules")
    },
    plugin("emq_plugin_template", "EMQ Plugin Template"),
    plugin("emq_recon", "Recon Plugin"),
    plugin("emq_reloader", "Reloader Plugin"),
    Plugin {
        old_names: &["emq_mod_retainer"],
        present: true,
        ..plugin("emq_retainer", "EMQ Retainer")
    },
    plugin("emq_sn", "MQTT-SN Gateway"),
    Plugin {
        old_names: &["emqttd_sockjs"],
        ..plugin("emq_sockjs", "SockJS(Stomp) Plugin for emqttd broker")
    },
    plugin("emq_stomp", "Stomp Protocol Plugin"),
    plugin("emq_web_hook", "EMQ Webhook Plugin"),
];

/// The plugin that is or was called `name`.
pub fn find_plugin(name: &str) -> Option<&'static Plugin> {
    PLUGINS
        .iter()
        .find(|plugin| plugin.name == name || plugin.old_names.contains(&name))
}

/// What lies in a directory of plugins' files.
#[derive(Debug, Default)]
pub(crate) struct PluginFiles {
    /// `.conf` files of known plugins, by name
    pub(crate) conf: Vec<PathBuf>,
    /// names of files of plugins that this broker does not know, each once
    pub(crate) unknown: Vec<String>,
    /// `.config` files with Erlang terms of plugins that have keys
    pub(crate) terms: Vec<PathBuf>,
}

/// Looks at the names that end exactly in `.conf` or `.config`; copies such as `.conf.good` do not.
pub(crate) fn plugin_files(dir: &Path) -> io::Result<PluginFiles> {
    let mut files = PluginFiles::default();
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let wanted = path
            .extension()
            .is_some_and(|end| end == "conf" || end == "config");
        // `is_dir` follows links; a dangling one is reported when it is read.
        if wanted && !path.is_dir() {
            paths.push(path);
        }
    }
    paths.sort();
    for path in paths {
        let Some(file) = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
        else {
            continue;
        };
        let name = file.split('.').next().unwrap_or_default();
        match find_plugin(name) {
            None if name.is_empty() => {}
            None => files.unknown.push(file),
            Some(_) if file.ends_with(".conf") => files.conf.push(path),
            // These two have no keys to lose.
            Some(plugin) if matches!(plugin.name, "emq_plugin_template" | "emq_sockjs") => {}
            Some(_) => files.terms.push(path),
        }
    }
    Ok(files)
}

/// Names in the file of loaded plugins: Erlang terms `name.`, with `%` comments.
/// A file that is not there holds none.
pub(crate) fn read_loaded(path: &Path) -> Result<Vec<(String, usize)>, Box<Problem>> {
    let bytes = match read_file(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            let problem = Problem::error(format!("cannot be read: {error}"));
            return Err(Box::new(problem.in_file(path)));
        }
    };
    let mut names = Vec::new();
    for (index, line) in decode(&bytes).lines().enumerate() {
        let code = line.split('%').next().unwrap_or_default();
        for name in code
            .split(['.', ' ', '\t', '\r'])
            .filter(|name| !name.is_empty())
        {
            let name = name.trim_matches('\'');
            if !is_plugin_name(name) {
                let shown = name.escape_debug();
                let problem = Problem::error(format!("`{shown}` is not the name of a plugin"));
                return Err(Box::new(problem.in_file(path).at(index + 1, 1)));
            }
            names.push((name.to_owned(), index + 1));
        }
    }
    Ok(names)
}

/// Names in `EMQ_LOADED_PLUGINS`, with anything between them.
pub(crate) fn split_names(list: &str) -> Vec<String> {
    list.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|name| is_plugin_name(name))
        .map(str::to_owned)
        .collect()
}

fn is_plugin_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
