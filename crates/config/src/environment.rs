//! Environment variables: the fixed list of EMQ's scripts, those of its container image, and
//! `EMQ_A__B` for any key.

use std::collections::BTreeMap;

use crate::Problem;
use crate::reader::Platform;
use crate::schema;
use crate::{legacy, plugin};

/// What the environment says.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    /// key, value, variable
    pub(crate) assignments: Vec<(String, String, String)>,
    /// the same, but only for a listener that a file opens
    pub(crate) ports: Vec<(String, String, String)>,
    /// `EMQ_LOADED_PLUGINS`
    pub(crate) loaded_plugins: Option<Vec<String>>,
    pub(crate) platform: Platform,
    pub(crate) warnings: Vec<Problem>,
}

/// Variables of the scripts that name a key which the general form would not find.
const FIXED: &[(&str, &str)] = &[
    ("emq_node_name", "node.name"),
    ("emq_node_cookie", "node.cookie"),
    ("emq_max_ports", "node.max_ports"),
    ("emq_max_packet_size", "mqtt.max_packet_size"),
    ("emq_admin_password", "dashboard.default_user.password"),
];

/// Variables that move a listener; the last two are those of 2.0 and 2.1.
const PORTS: &[(&str, &str)] = &[
    ("emq_tcp_port", "listener.tcp.external"),
    ("emq_ssl_port", "listener.ssl.external"),
    ("emq_ws_port", "listener.ws.external"),
    ("emq_wss_port", "listener.wss.external"),
    ("emq_http_port", "listener.ws.external"),
    ("emq_https_port", "listener.wss.external"),
];

/// Reads `variables`. `given` are the keys of the files: a free word is taken in their spelling. `is_key` tells
/// which keys there are.
pub(crate) fn read<'a>(
    variables: impl Iterator<Item = (String, String)>,
    given: impl Iterator<Item = &'a str> + Clone,
    is_key: &dyn Fn(&str) -> bool,
) -> Environment {
    let mut environment = Environment::default();
    let (mut name, mut host) = (None, None);
    let mut emqx = Vec::new();
    // Sorted, so that two spellings of one name are always taken in the same order.
    let variables: BTreeMap<String, String> = variables.collect();
    for (variable, value) in variables {
        let folded = variable.to_ascii_lowercase().replace('-', "_");
        let value = unquote(&value);
        if value.is_empty() {
            // As in EMQ's scripts: the same as unset.
            continue;
        }
        match folded.as_str() {
            "platform_etc_dir" => environment.platform.etc_dir = value,
            "platform_log_dir" => environment.platform.log_dir = value,
            "emq_name" => name = Some((variable, value)),
            "emq_host" => host = Some((variable, value)),
            "emq_loaded_plugins" => {
                environment.loaded_plugins = Some(plugin::split_names(&value));
            }
            "emq_wait_time" => {}
            "emq_join_cluster" => {
                environment.warn(&variable, "clusters come with a later version; ignored")
            }
            _ if folded.starts_with("emqx_") => emqx.push(variable),
            _ if folded.starts_with("emq_") => {
                environment.key(variable, &folded, value, given.clone(), is_key)
            }
            _ => {}
        }
    }
    if !emqx.is_empty() {
        environment.warnings.push(Problem::warning(format!(
            "variables of EMQ X are not read: {}",
            emqx.join(", ")
        )));
    }
    environment.name_and_host(name, host);
    environment
}

impl Environment {
    fn warn(&mut self, variable: &str, message: impl Into<String>) {
        let mut warning = Problem::warning(message);
        warning.variable = Some(variable.to_owned());
        self.warnings.push(warning);
    }

    /// A variable that stands for a key.
    fn key<'a>(
        &mut self,
        variable: String,
        folded: &str,
        value: String,
        given: impl Iterator<Item = &'a str>,
        is_key: &dyn Fn(&str) -> bool,
    ) {
        let fixed = |list: &[(&str, &'static str)]| {
            list.iter()
                .find(|(name, _)| *name == folded)
                .map(|&(_, key)| key.to_owned())
        };
        if let Some(key) = fixed(FIXED) {
            self.assignments.push((key, value, variable));
            return;
        }
        if let Some(key) = fixed(PORTS) {
            if folded.starts_with("emq_http") {
                self.warn(&variable, format!("of 2.0 and 2.1; it moves {key}"));
            }
            self.ports.push((key, value, variable));
            return;
        }
        // `emq_` is ASCII and `folded` begins with it, as `variable` does in other letters.
        let key = variable[4..].replace("__", ".").to_ascii_lowercase();
        let dashed_out = key.replace('-', "_");
        let known = given_key(given, &key).or_else(|| {
            [&key, &dashed_out]
                .into_iter()
                .find(|key| is_key(key))
                .cloned()
        });
        if let Some(key) = known {
            self.assignments.push((key, value, variable));
        } else if let Some(translation) = legacy::translate(&dashed_out, &value) {
            self.warn(&variable, format!("{dashed_out} {}", translation.message));
            for (key, value) in translation.assignments {
                self.assignments.push((key, value, variable.clone()));
            }
        } else {
            let mut warning = Problem::warning(format!("stands for no key (`{key}`); ignored"));
            warning.nearest = schema::nearest(&dashed_out);
            warning.variable = Some(variable);
            self.warnings.push(warning);
        }
    }

    /// The container image made the node's name of two variables.
    fn name_and_host(&mut self, name: Option<(String, String)>, host: Option<(String, String)>) {
        if self.assignments.iter().any(|(key, ..)| key == "node.name") {
            return;
        }
        let Some((variable, _)) = name.as_ref().or(host.as_ref()) else {
            return;
        };
        let variable = variable.clone();
        let part = |part: Option<(String, String)>, default: &str| {
            part.map_or_else(|| default.to_owned(), |(_, value)| value)
        };
        let full = format!("{}@{}", part(name, "emq"), part(host, "127.0.0.1"));
        self.assignments.push(("node.name".into(), full, variable));
    }
}

/// The key of a file that reads `folded` in lower case.
fn given_key<'a>(mut given: impl Iterator<Item = &'a str>, folded: &str) -> Option<String> {
    given
        .find(|key| key.eq_ignore_ascii_case(folded))
        .map(str::to_owned)
}

/// Compose in list form keeps quotes, and people escape slashes for the image's sed.
fn unquote(value: &str) -> String {
    let value = value.trim();
    let inner = ['"', '\'']
        .into_iter()
        .find_map(|quote| {
            let inner = value.strip_prefix(quote)?.strip_suffix(quote)?;
            (!inner.contains(quote)).then_some(inner)
        })
        .unwrap_or(value);
    inner.replace("\\/", "/").replace("\\&", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_escapes() {
        assert_eq!(unquote("\"a,b\""), "a,b");
        assert_eq!(unquote("'a'"), "a");
        assert_eq!(unquote("'%u' or '%c'"), "'%u' or '%c'");
        assert_eq!(unquote("http:\\/\\/h\\/p?a=b\\&c"), "http://h/p?a=b&c");
        assert_eq!(unquote("\""), "\"");
        assert_eq!(unquote(""), "");
    }
}
