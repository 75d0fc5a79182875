//! Keys of the plugin.

use emqttd_plugin_sdk::{Config, Key, KeyKind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The keys begin with the name of the plugin.
macro_rules! key {
    ($name:literal) => {
        concat!(env!("CARGO_PKG_NAME"), ".", $name)
    };
}

/// What may stand in the plugin's file.
pub fn keys() -> [Key; 3] {
    [
        Key::new(
            key!("admit"),
            KeyKind::Switch,
            "whether demo authentication and ACL admit everybody, or leave it to others",
        )
        .default("on"),
        Key::new(
            key!("delay"),
            KeyKind::Duration,
            "how long they wait before they answer, as if they asked a database",
        )
        .default("0s"),
        Key::new(key!("say"), KeyKind::Switch, "whether hooks print lines")
            .default("on")
            .hot(),
    ]
}

/// The keys as the plugin uses them.
pub struct Settings {
    pub admit: bool,
    pub delay: Duration,
    say: AtomicBool,
}

impl Settings {
    /// The broker has checked the values already; `ok_or` is for keys without a default.
    pub fn new(config: &Config) -> Result<Settings, String> {
        Ok(Settings {
            admit: config.switch(key!("admit")).ok_or("admit is missing")?,
            delay: config.duration(key!("delay")).ok_or("delay is missing")?,
            say: config.switch(key!("say")).ok_or("say is missing")?.into(),
        })
    }

    /// Takes over keys that may change while the plugin runs.
    pub fn take(&self, config: &Config) -> Result<(), String> {
        let say = config.switch(key!("say")).ok_or("say is missing")?;
        self.say.store(say, Ordering::Relaxed);
        Ok(())
    }

    pub fn say(&self) -> bool {
        self.say.load(Ordering::Relaxed)
    }
}
