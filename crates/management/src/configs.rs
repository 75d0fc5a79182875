//! Settings of a running broker and of its plugins that may be changed. Nothing is written to a file: the next start
//! knows nothing of it.

use crate::Core;
use emqttd_config::{Config, SetError, Settings};
use std::fmt;

/// The application whose keys are the core's.
pub(crate) const CORE: &str = "emqttd";

/// What stands for a secret that is set.
pub const MASK: &str = "******";

/// The severities of the log, the least first; `none` = nothing is written.
pub const LOG_LEVELS: [&str; 9] = [
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
    "none",
];

/// The least severity that the console log takes.
const LOG_LEVEL: &str = "log.console.level";

/// A key that may be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigKey {
    /// the key
    pub key: String,
    /// as EMQ prints it: durations in milliseconds, sizes in bytes; [`MASK`] for a secret that is set
    pub value: String,
    /// `enum`, `integer`, `duration`, …
    pub datatype: &'static str,
    /// `emqttd` or the plugin
    pub app: String,
}

/// Why values were not set. As text, what `emqttd_ctl set` prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigError {
    /// a key or its value
    Key(SetError),
    /// the plugin does not take them
    Plugin {
        /// its name
        app: String,
        /// a sentence
        reason: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Key(error) => error.fmt(f),
            ConfigError::Plugin { app, reason } => write!(f, "{app}: {reason}"),
        }
    }
}

impl std::error::Error for ConfigError {}

/// The keys that may be set.
pub struct Configs<'a>(pub(crate) &'a Core);

impl Configs<'_> {
    /// All of them, of the core and of the plugins that run.
    pub fn list(&self) -> Vec<ConfigKey> {
        let config = self.0.config.lock();
        let row = |key: emqttd_config::SettableKey<'_>| ConfigKey {
            key: key.key.into(),
            value: match key.secret {
                true => MASK.into(),
                false => key.value,
            },
            datatype: key.datatype,
            app: key.app.into(),
        };
        config.settable().into_iter().map(row).collect()
    }

    /// Sets keys of `app`: all of them or none. Those of a plugin stay as they were when it does not take them. [`MASK`]
    /// leaves a secret as it is.
    ///
    /// # Errors
    /// The first key that is wrong, or what the plugin says.
    pub fn set(&self, app: &str, pairs: &[(&str, &str)]) -> Result<(), ConfigError> {
        let _changing = self.0.changing();
        let (pairs, entries) = {
            let config = self.0.config.lock();
            let settable = config.settable();
            let is_masked = |key: &str, value: &str| {
                let mut known = settable.iter();
                value == MASK && known.any(|row| row.app == app && row.key == key && row.secret)
            };
            let pairs = pairs.iter().filter(|(key, value)| !is_masked(key, value));
            let pairs: Vec<(&str, &str)> = pairs.copied().collect();
            // An error in the third must not leave the first two changed.
            let mut tried = config.clone();
            set_all(&mut tried, app, &pairs)?;
            (pairs, tried.plugin_entries(app))
        };
        if !pairs.is_empty()
            && app != CORE
            && let Some(plugins) = self.0.plugins()
        {
            // The plugin may take its time; whoever wants to see the configuration does not wait for it.
            let told = plugins.reconfigure(app, entries);
            told.map_err(|reason| ConfigError::Plugin {
                app: app.into(),
                reason,
            })?;
        }
        let settings = {
            let mut config = self.0.config.lock();
            // Other plugins may have come or gone meanwhile.
            let mut changed = config.clone();
            let settings = set_all(&mut changed, app, &pairs)?;
            *config = changed;
            settings
        };
        if let Some(settings) = settings {
            self.0.broker.reconfigure(settings);
        }
        Ok(())
    }
}

/// What is in force then; `None` = nothing was to be set.
fn set_all(
    config: &mut Config,
    app: &str,
    pairs: &[(&str, &str)],
) -> Result<Option<Settings>, ConfigError> {
    let mut settings = None;
    for (key, value) in pairs {
        settings = Some(config.set(app, key, value).map_err(ConfigError::Key)?);
    }
    Ok(settings)
}

impl Core {
    /// The least severity that the console log takes, one of [`LOG_LEVELS`].
    pub fn log_level(&self) -> &'static str {
        let config = self.config.lock();
        let level = config.get(LOG_LEVEL).unwrap_or_default();
        let known = LOG_LEVELS.into_iter().find(|known| *known == level);
        // The schema takes no others.
        known.unwrap_or("none")
    }

    /// Sets it, at once and until the next start.
    ///
    /// # Errors
    /// When it is none of [`LOG_LEVELS`].
    pub fn set_log_level(&self, level: &str) -> Result<(), ConfigError> {
        self.configs().set(CORE, &[(LOG_LEVEL, level)])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::MASK;
    use crate::testing::Site;

    #[test]
    fn all_or_none() {
        let site = Site::new();
        let configs = site.core.configs();
        let value = |key: &str| {
            let all = configs.list();
            all.into_iter().find(|row| row.key == key).unwrap().value
        };
        assert_eq!(value("mqtt.acl_nomatch"), "allow");
        let pairs = [("mqtt.acl_nomatch", "deny"), ("mqtt.mqueue.nope", "1")];
        let error = configs.set("emqttd", &pairs).unwrap_err();
        assert_eq!(
            error.to_string(),
            "The following config keys are not settable: [\"mqtt.mqueue.nope\"]"
        );
        assert_eq!(value("mqtt.acl_nomatch"), "allow");
        configs.set("emqttd", &pairs[..1]).unwrap();
        assert_eq!(value("mqtt.acl_nomatch"), "deny");
        assert!(!site.core.broker.settings().mqtt.acl_nomatch_allow);
        let error = configs.set("emq_none", &pairs[..1]).unwrap_err();
        assert_eq!(error.to_string(), "Invalid config --app: emq_none");
    }

    #[test]
    fn what_a_plugin_refuses_stays() {
        let site = Site::with_plugin();
        let configs = site.core.configs();
        let shown = || {
            let all = configs.list();
            all.into_iter()
                .find(|row| row.key == "web.hook.api.url")
                .unwrap()
                .value
        };
        let before = shown();
        site.plugins.refuse(Some("no such host"));
        let pairs = [("web.hook.api.url", "http://nowhere")];
        let error = configs.set("emq_web_hook", &pairs).unwrap_err();
        assert_eq!(error.to_string(), "emq_web_hook: no such host");
        assert_eq!(shown(), before);
        site.plugins.refuse(None);
        configs.set("emq_web_hook", &pairs).unwrap();
        assert_eq!(shown(), "http://nowhere");
    }

    #[test]
    fn a_mask_leaves_a_secret() {
        let site = Site::new();
        let configs = site.core.configs();
        let app = "emq_auth_mysql";
        let mut config = site.core.config.lock();
        config.plugin_loaded(app, Default::default());
        drop(config);
        let set = |value: &str| configs.set(app, &[("auth.mysql.password", value)]);
        let is = || {
            let rows = configs.list();
            let shown = rows
                .into_iter()
                .find(|row| row.key == "auth.mysql.password");
            let config = site.core.config.lock();
            let value = config.get("auth.mysql.password").unwrap();
            (value.to_owned(), shown.unwrap().value)
        };
        assert_eq!(is(), (String::new(), String::new()));
        set("secret").unwrap();
        assert_eq!(is(), ("secret".into(), MASK.into()));
        set(MASK).unwrap();
        assert_eq!(is(), ("secret".into(), MASK.into()));
    }

    #[test]
    fn the_level_of_the_log() {
        let site = Site::new();
        assert_eq!(site.core.log_level(), "info");
        site.core.set_log_level("warning").unwrap();
        assert_eq!(site.core.log_level(), "warning");
        let set = site.core.broker.settings().log.console_level;
        assert_eq!(set, emqttd_config::LogLevel::Warning);
        assert!(site.core.set_log_level("loud").is_err());
    }
}
