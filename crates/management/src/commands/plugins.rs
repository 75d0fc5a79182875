//! `plugins`: those that have a configuration file. What `emq_retainer` did is part of the broker; the
//! others come with later versions.

use super::Core;
use crate::VERSION;
use crate::cli::Cli;
use emqttd_config::{PLUGINS, Plugin, find_plugin};
use std::collections::BTreeSet;
use std::path::Path;

/// Known plugins with a file `<name>.conf` or `<name>.config` in `dir`, by name.
fn installed(dir: &Path) -> Vec<&'static Plugin> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let file = entry.file_name();
        let file = file.to_string_lossy();
        let name = file
            .strip_suffix(".conf")
            .or_else(|| file.strip_suffix(".config"));
        names.extend(name.map(str::to_owned));
    }
    PLUGINS
        .iter()
        .filter(|plugin| names.contains(plugin.name))
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

fn plugins(args: &[&str], installed: &[&Plugin]) -> Option<String> {
    // Also by the names of earlier releases, which people still type.
    let find = |name: &str| {
        let known = find_plugin(name)?;
        installed.iter().find(|plugin| plugin.name == known.name)
    };
    Some(match *args {
        ["list"] => installed.iter().map(|plugin| row(plugin)).collect(),
        ["load", name] => match find(name) {
            None => "load plugin error: not_found\n".into(),
            Some(plugin) if plugin.present => "load plugin error: already_started\n".into(),
            Some(plugin) => format!(
                "load plugin error: {{{},\"not part of emqttd {VERSION}\"}}\n",
                plugin.name
            ),
        },
        ["unload", name] => match find(name) {
            Some(plugin) if plugin.present => format!(
                "unload plugin error: {{{},\"part of the broker\"}}\n",
                plugin.name
            ),
            _ => "unload plugin error: not_started\n".into(),
        },
        _ => return None,
    })
}

fn row(plugin: &Plugin) -> String {
    format!(
        "Plugin({}, version={VERSION}, description={}, active={})\n",
        plugin.name, plugin.description, plugin.present
    )
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
        let names: Vec<&str> = installed(dir.path()).iter().map(|p| p.name).collect();
        assert_eq!(names, ["emq_plugin_template", "emq_stomp"]);
        assert!(installed(&dir.path().join("absent")).is_empty());
    }

    #[test]
    fn answers() {
        let here = ["emq_stomp", "emq_modules", "emq_retainer"].map(|n| find_plugin(n).unwrap());
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
        // It works, whatever the list of plugins says.
        assert!(ask(&["list"]).contains("description=EMQ Retainer, active=true)\n"));
        assert_eq!(
            ask(&["load", "emq_retainer"]),
            "load plugin error: already_started\n"
        );
        assert!(
            ask(&["unload", "emq_retainer"]).starts_with("unload plugin error: {emq_retainer,")
        );
        assert_eq!(plugins(&["load"], &here), None);
    }
}
