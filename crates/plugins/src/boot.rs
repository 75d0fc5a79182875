//! The plugins that a broker starts with.

use crate::Manager;
use crate::loaded_file;
use emqttd_config::{PluginsOnFailure, find_plugin};
use emqttd_management::PluginError;
use std::sync::atomic::Ordering;

impl Manager {
    /// Starts the plugins that are to be loaded, in their order. Before listeners are opened. Gives a sentence
    /// for each that the broker starts without. When the broker is told to stop meanwhile, it starts no more of them.
    ///
    /// # Errors
    /// A sentence for each that decides who may do what and does not start, unless `plugins.on_failure` is
    /// `continue`.
    pub fn boot(&self) -> Result<Vec<String>, Vec<String>> {
        self.settle_file().map_err(|error| vec![error])?;
        let names = self.config.lock().loaded_plugins().to_vec();
        let go_on = self.shared.broker.settings().plugins_on_failure == PluginsOnFailure::Continue;
        let (mut warnings, mut errors) = (Vec::new(), Vec::new());
        self.booting.store(true, Ordering::Release);
        for name in names {
            let reason = self.start_at_boot(&name);
            if self.is_stopping() {
                break;
            }
            let Some(reason) = reason else {
                continue;
            };
            let text = format!("the plugin {name} cannot be started: {reason}");
            let text = if !self.may_guard(&name) {
                format!("{text}; the broker starts without it")
            } else if go_on {
                format!(
                    "{text}; the broker starts without it, as plugins.on_failure says, although it decides who may \
                     connect or what is allowed"
                )
            } else {
                errors.push(format!(
                    "emqttd: {text}. It decides who may connect or what is allowed, so the broker does not start \
                     without it. Put that right, or take its name out of the list of loaded plugins, or set \
                     plugins.on_failure = continue"
                ));
                continue;
            };
            log::error!("{text}");
            warnings.push(text);
        }
        self.booting.store(false, Ordering::Release);
        if errors.is_empty() {
            return Ok(warnings);
        }
        self.stop();
        Err(errors)
    }

    /// Starts one plugin; why that is not possible, unless the configuration has said so already.
    fn start_at_boot(&self, name: &str) -> Option<String> {
        let started = {
            let _changing = self.changing.lock();
            if self.is_stopping() {
                return None;
            }
            self.start_with_needs(name, name)
        };
        let error = match started {
            Ok(done) => {
                for note in done.notes {
                    log::warn!("plugin {name}: {note}");
                }
                return None;
            }
            // Another one needed it before its turn.
            Err(PluginError::AlreadyStarted) => return None,
            Err(error) => error,
        };
        self.config.lock().plugin_unloaded(name);
        let of_a_later_version = find_plugin(name).is_some_and(|plugin| !plugin.present);
        match error {
            PluginError::NotFound => None,
            PluginError::Failed { .. } if of_a_later_version && self.find(name).is_err() => None,
            PluginError::Failed { app, reason } if app == name => Some(reason),
            PluginError::Failed { app, reason } => Some(format!("{app}: {reason}")),
            other => Some(other.to_string()),
        }
    }

    /// Whether a broker without this plugin could let in, or allow, more than is configured.
    fn may_guard(&self, name: &str) -> bool {
        let opened = self.opened.lock();
        let mut known = self.built_in.iter().chain(opened.values());
        match (known.find(|d| d.name == name), find_plugin(name)) {
            (Some(descriptor), _) => descriptor.guards,
            (None, Some(plugin)) => plugin.guards,
            // A library that cannot be opened does not say what it is for.
            (None, None) => true,
        }
    }

    /// The file of loaded plugins is made when it is missing, as in EMQ; `EMQ_LOADED_PLUGINS` takes its place
    /// (sheet 1.3).
    fn settle_file(&self) -> Result<(), String> {
        let settings = self.shared.broker.settings();
        let Some(path) = &settings.plugins_loaded_file else {
            return Ok(());
        };
        let names = {
            let config = self.config.lock();
            let ours = config.plugins_from_environment();
            ours.then(|| config.loaded_plugins().to_vec())
        };
        let written = match names {
            Some(names) => loaded_file::write(path, &names),
            None if path.exists() => return Ok(()),
            None => loaded_file::write(path, &[]),
        };
        written.map_err(|e| format!("emqttd: {}: {e}", path.display()))
    }
}
