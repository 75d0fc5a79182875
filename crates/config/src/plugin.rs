//! The plugins of EMQ 2.x: their names, their files, and the list of those to start.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::reader::{decode, read_file};
use crate::{Problem, schema};

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

impl Plugin {
    /// Whether the table has no key of it.
    pub(crate) fn has_no_keys(&self) -> bool {
        !schema::keys().any(|key| key.app == self.name)
    }
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

const fn present(plugin: Plugin) -> Plugin {
    Plugin {
        present: true,
        ..plugin
    }
}

/// Every plugin of the 2.x line, in the order of their names.
pub const PLUGINS: &[Plugin] = &[
    present(guard(
        "emq_auth_clientid",
        "Authentication with ClientId/Password",
    )),
    present(guard("emq_auth_http", "Authentication/ACL with HTTP API")),
    present(guard("emq_auth_jwt", "Authentication with JWT")),
    present(guard("emq_auth_ldap", "Authentication/ACL with LDAP")),
    present(guard("emq_auth_mongo", "Authentication/ACL with MongoDB")),
    present(guard("emq_auth_mysql", "Authentication/ACL with MySQL")),
    present(guard(
        "emq_auth_pgsql",
        "Authentication/ACL with PostgreSQL",
    )),
    present(guard("emq_auth_redis", "Authentication/ACL with Redis")),
    present(guard(
        "emq_auth_username",
        "Authentication with Username/Password",
    )),
    present(plugin("emq_coap", "CoAP Gateway")),
    present(plugin("emq_dashboard", "EMQ Web Dashboard")),
    present(plugin("emq_lua_hook", "EMQ Hooks in lua")),
    Plugin {
        old_names: &[
            "emq_mod_presence",
            "emq_mod_subscription",
            "emq_mod_rewrite",
        ],
        present: true,
        ..plugin("emq_modules", "EMQ Modules")
    },
    plugin("emq_plugin_template", "EMQ Plugin Template"),
    present(plugin("emq_recon", "Recon Plugin")),
    present(plugin("emq_reloader", "Reloader Plugin")),
    Plugin {
        old_names: &["emq_mod_retainer"],
        present: true,
        ..plugin("emq_retainer", "EMQ Retainer")
    },
    present(plugin("emq_sn", "MQTT-SN Gateway")),
    Plugin {
        old_names: &["emqttd_sockjs"],
        present: true,
        ..plugin("emq_sockjs", "SockJS(Stomp) Plugin for emqttd broker")
    },
    present(plugin("emq_stomp", "Stomp Protocol Plugin")),
    present(plugin("emq_web_hook", "EMQ Webhook Plugin")),
];

/// The plugin that is or was called `name`.
pub fn find_plugin(name: &str) -> Option<&'static Plugin> {
    PLUGINS
        .iter()
        .find(|plugin| plugin.name == name || plugin.old_names.contains(&name))
}

/// The switch that an earlier plugin has become: whoever loaded it meant `on`.
pub fn switch_of(old_name: &str) -> Option<&'static str> {
    match old_name {
        "emq_mod_presence" => Some("module.presence"),
        "emq_mod_subscription" => Some("module.subscription"),
        "emq_mod_rewrite" => Some("module.rewrite"),
        _ => None,
    }
}

/// Plugins of others, which bring their own keys with them.
#[derive(Debug, Clone)]
pub(crate) struct Strangers<'a> {
    /// compiled into this program
    pub(crate) compiled_in: &'a [&'a str],
    /// where libraries are
    pub(crate) libraries: PathBuf,
}

impl<'a> Strangers<'a> {
    /// For the tree in which `etc_dir` lies.
    pub(crate) fn beside(etc_dir: &Path, compiled_in: &'a [&'a str]) -> Self {
        let root = etc_dir.parent().unwrap_or(Path::new(".."));
        Self {
            compiled_in,
            libraries: root.join("plugins"),
        }
    }

    /// Whether `name` is one. A plugin of EMQ that this version has is none, whatever lies about.
    pub(crate) fn have(&self, name: &str) -> bool {
        !find_plugin(name).is_some_and(|plugin| plugin.present)
            && (self.compiled_in.contains(&name) || library_in(&self.libraries, name).is_some())
    }
}

/// The library of the plugin `name` in the release tree whose `etc` this is: `plugins/<name>.so`, or as cargo
/// calls it, `plugins/lib<name>.so`.
pub fn library(etc_dir: &Path, name: &str) -> Option<PathBuf> {
    library_in(&Strangers::beside(etc_dir, &[]).libraries, name)
}

fn library_in(dir: &Path, name: &str) -> Option<PathBuf> {
    [
        format!("{name}{DLL_SUFFIX}"),
        format!("{DLL_PREFIX}{name}{DLL_SUFFIX}"),
    ]
    .into_iter()
    .map(|file| dir.join(file))
    .find(|path| path.is_file())
}

/// A file of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PluginFile {
    pub(crate) path: PathBuf,
    /// its name up to the first dot
    pub(crate) stem: String,
    /// Erlang terms
    pub(crate) terms: bool,
}

/// What lies in a directory of plugins' files.
#[derive(Debug, Default)]
pub(crate) struct PluginFiles {
    /// of plugins whose keys the table has, sorted
    pub(crate) known: Vec<PluginFile>,
    /// of plugins of strangers
    pub(crate) strangers: Vec<PluginFile>,
    /// of plugins that nobody has
    pub(crate) unknown: Vec<PluginFile>,
}

/// Looks at the names that end exactly in `.conf` or `.config`; copies such as `.conf.good` do not.
pub(crate) fn plugin_files(dir: &Path, strangers: &Strangers<'_>) -> io::Result<PluginFiles> {
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
        let Some(stem) = stem(&path) else { continue };
        let terms = path.extension().is_some_and(|end| end == "config");
        let known = find_plugin(&stem);
        let into = match known {
            _ if strangers.have(&stem) => &mut files.strangers,
            // Nothing in them was ever used, and 2.3.11 shipped the one of the template.
            Some(plugin) if terms && plugin.has_no_keys() => continue,
            Some(_) => &mut files.known,
            None => &mut files.unknown,
        };
        into.push(PluginFile { path, stem, terms });
    }
    Ok(files)
}

/// The name of a file up to the first dot, if there is something.
pub(crate) fn stem(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy();
    let stem = name.split('.').next().unwrap_or_default();
    (!stem.is_empty()).then(|| stem.to_owned())
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
