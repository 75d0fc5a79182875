//! The keys of the plugin.

use arc_swap::ArcSwap;
use emqttd_plugin_sdk::{Config, StartError};
use std::sync::Arc;
use std::time::Duration;

/// What may change while the gateway runs.
pub type Shared = Arc<ArcSwap<Settings>>;

/// The keys but those of sockets and DTLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `coap.keepalive`: life of a session without requests
    pub keepalive: Duration,
    /// `coap.enable_stats`
    pub enable_stats: bool,
    /// `coap.max_clients`
    pub max_clients: usize,
    /// `coap.max_message_size`: largest payload in either direction, bytes
    pub max_message_size: usize,
    /// `coap.ps.max_topics`
    pub ps_max_topics: usize,
    /// `coap.ps.max_bytes`
    pub ps_max_bytes: usize,
}

impl Settings {
    /// Of the configuration.
    ///
    /// # Errors
    /// When a value has not the form that its key asks for.
    pub fn read(config: &Config) -> Result<Settings, StartError> {
        Ok(Settings {
            keepalive: config
                .duration("coap.keepalive")
                .ok_or("coap.keepalive has to be a duration")?,
            enable_stats: config.switch("coap.enable_stats").unwrap_or(false),
            max_clients: count(config, "coap.max_clients")?,
            max_message_size: size(config, "coap.max_message_size")?,
            ps_max_topics: count(config, "coap.ps.max_topics")?,
            ps_max_bytes: size(config, "coap.ps.max_bytes")?,
        })
    }
}

fn count(config: &Config, key: &str) -> Result<usize, StartError> {
    let count = config.integer(key).and_then(|n| usize::try_from(n).ok());
    count.ok_or_else(|| StartError(format!("{key} has to be a number")))
}

fn size(config: &Config, key: &str) -> Result<usize, StartError> {
    let size = config.size(key).and_then(|n| usize::try_from(n).ok());
    size.ok_or_else(|| StartError(format!("{key} has to be a size")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn all_keys() {
        let mut pairs = vec![
            ("coap.keepalive", "2s"),
            ("coap.enable_stats", "on"),
            ("coap.max_clients", "7"),
            ("coap.max_message_size", "64KB"),
            ("coap.ps.max_topics", "3"),
            ("coap.ps.max_bytes", "16MB"),
        ];
        let settings = Settings::read(&Config::of(&pairs)).unwrap();
        let wanted = Settings {
            keepalive: Duration::from_secs(2),
            enable_stats: true,
            max_clients: 7,
            max_message_size: 64 * 1024,
            ps_max_topics: 3,
            ps_max_bytes: 16 * 1024 * 1024,
        };
        assert_eq!(settings, wanted);
        pairs.remove(2);
        let error = Settings::read(&Config::of(&pairs)).unwrap_err();
        assert!(error.0.contains("coap.max_clients"));
    }
}
