//! Keys that all of these plugins have.

use emqttd_plugin_sdk::{Config, Entry, StartError};
use std::num::NonZeroUsize;
use std::time::Duration;

/// What counts when the server does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnavailable {
    /// nobody comes in, nothing new is allowed
    Deny,
    /// the next module is asked, as if this one had nothing to say
    Ignore,
    /// what it answered the last time
    Cached,
}

/// The answers when nobody answers.
#[derive(Debug, Clone, Copy)]
pub struct Unavailability {
    /// to who wants to come in
    pub auth: OnUnavailable,
    /// to what a client wants to do
    pub acl: OnUnavailable,
    /// how old a remembered answer may be
    pub max_age: Duration,
    /// answers remembered of each kind
    pub max_size: NonZeroUsize,
}

/// Those keys, for one plugin.
#[derive(Debug, Clone)]
pub struct Settings {
    /// an answer later than that is none
    pub timeout: Duration,
    /// when there is none
    pub unavailability: Unavailability,
    /// the answer where the plugin's ACL does not decide (`acl_nomatch` of 2.0 and 2.1)
    pub acl_nomatch: Option<bool>,
}

/// The broker gives no plugin more than five seconds for an answer; ours has to come before.
const LONGEST: Duration = Duration::from_millis(4500);

/// Where the file says nothing.
const TIMEOUT: Duration = Duration::from_secs(4);

impl Settings {
    /// Reads `<head>.timeout`, `<head>.on_unavailable` and so on; `head` is `auth.mysql`.
    ///
    /// # Errors
    /// The key, where it stands, and what is wrong.
    pub fn read(config: &Config, head: &str) -> Result<Settings, StartError> {
        let key = |name: &str| format!("{head}.{name}");
        let timeout = config.duration(&key("timeout")).unwrap_or(TIMEOUT);
        let size = match config.entry(&key("cached.size")) {
            None => 10_000,
            Some(entry) => match entry.value.trim().parse::<usize>() {
                Ok(size) => size,
                Err(_) => return Err(entry.refused("takes a number")),
            },
        };
        Ok(Settings {
            timeout: Settings::patience(timeout),
            unavailability: Unavailability {
                auth: on_unavailable(config.entry(&key("on_unavailable")))?,
                acl: on_unavailable(config.entry(&key("acl_on_unavailable")))?,
                max_age: config
                    .duration(&key("cached.ttl"))
                    .unwrap_or(Duration::from_secs(3600)),
                max_size: NonZeroUsize::new(size).unwrap_or(NonZeroUsize::MIN),
            },
            acl_nomatch: config.text(&key("acl_nomatch")).map(|word| word == "allow"),
        })
    }

    /// What is left of a time that the file asks for.
    pub fn patience(asked: Duration) -> Duration {
        asked.clamp(Duration::from_millis(10), LONGEST)
    }
}

fn on_unavailable(entry: Option<&Entry>) -> Result<OnUnavailable, StartError> {
    let Some(entry) = entry else {
        return Ok(OnUnavailable::Deny);
    };
    match entry.value.trim() {
        "deny" => Ok(OnUnavailable::Deny),
        "ignore" => Ok(OnUnavailable::Ignore),
        "cached" => Ok(OnUnavailable::Cached),
        _ => Err(entry.refused("takes `deny`, `ignore` or `cached`")),
    }
}
