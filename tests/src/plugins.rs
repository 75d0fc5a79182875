//! Plugins of the broker under test: which are loaded at its start, their files, and the verb `plugins`.

use crate::broker::{Broker, Config};

impl Config {
    /// The plugins that are loaded at the start, in this order, instead of those before.
    pub fn loaded(self, names: &[&str]) -> Config {
        let text: String = names.iter().map(|name| format!("{name}.\n")).collect();
        self.file("data/loaded_plugins", &text)
    }

    /// The text of `etc/plugins/<name>.conf`; a plugin has to have one to be seen.
    pub fn plugin_conf(self, name: &str, text: &str) -> Config {
        self.file(&format!("etc/plugins/{name}.conf"), text)
    }

    /// A broker with one plugin, loaded at its start, and this text as its file.
    pub fn with_plugin(name: &str, conf: &str) -> Config {
        Config::new().plugin_conf(name, conf).loaded(&[name])
    }
}

impl Broker {
    /// `emqttd_ctl plugins load`, which has to succeed.
    #[track_caller]
    pub fn load(&self, plugin: &str) {
        let (code, text) = self.ctl(&["plugins", "load", plugin]);
        assert!(
            code == 0 && text.contains(&format!("Plugin {plugin} loaded successfully.\n")),
            "plugins load {plugin}: {code} {text}"
        );
    }

    /// The same under a name of an earlier release.
    #[track_caller]
    pub fn load_as(&self, old_name: &str, plugin: &str) {
        let (code, text) = self.ctl(&["plugins", "load", old_name]);
        assert!(
            code == 0
                && text.contains(&format!("Plugin {plugin} loaded successfully.\n"))
                && text.contains(&format!("{old_name} is called {plugin} now")),
            "plugins load {old_name}: {code} {text}"
        );
    }

    /// `emqttd_ctl plugins unload`, which has to succeed.
    #[track_caller]
    pub fn unload(&self, plugin: &str) {
        let (code, text) = self.ctl(&["plugins", "unload", plugin]);
        assert!(
            code == 0 && text.contains(&format!("Plugin {plugin} unloaded successfully.\n")),
            "plugins unload {plugin}: {code} {text}"
        );
    }

    /// Whether `plugins list` shows the plugin as active; it has to show it.
    #[track_caller]
    pub fn is_active(&self, plugin: &str) -> bool {
        let (_, text) = self.ctl(&["plugins", "list"]);
        let head = format!("Plugin({plugin}, ");
        let row = text.lines().find(|line| line.starts_with(&head));
        let row = row.unwrap_or_else(|| panic!("{plugin} is not in the list:\n{text}"));
        row.ends_with("active=true)")
    }

    /// The names in `data/loaded_plugins`, in the order of the file.
    pub fn loaded_plugins(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.root.join("data/loaded_plugins")).unwrap();
        text.lines()
            .map(|line| line.trim_end_matches('.').to_owned())
            .collect()
    }

    /// Writes a plugin's file anew, for the next load.
    pub fn write_plugin_conf(&self, name: &str, text: &str) {
        let path = self.root.join(format!("etc/plugins/{name}.conf"));
        std::fs::write(path, text).unwrap();
    }
}
