//! The keys of the plugin, in the form in which they are used.

use crate::topics::Predefined;
use crate::world::Rules;
use emqttd_plugin_sdk::topic::validate_filter;
use emqttd_plugin_sdk::{Config, StartError};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Port that ADVERTISE goes to unless another is named.
pub const DISCOVERY_PORT: u16 = 1884;

/// Bytes that all clients may hold together: see [`Rules::most_bytes`].
const MOST_BYTES: usize = 256 * 1024 * 1024;

/// Everything that is configured.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `mqtt.sn.port`
    pub listen_on: String,
    /// between ADVERTISE packets, seconds; 0 = none is sent
    pub advertise_duration: u16,
    /// where ADVERTISE goes; empty = the broadcast address of each interface
    pub advertise_to: Vec<SocketAddr>,
    /// what every client logs in with
    pub credentials: Credentials,
    /// what the machine goes by
    pub rules: Rules,
}

/// `mqtt.sn.username` and `mqtt.sn.password`; `%c` in them stands for the client id.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    username: Option<String>,
    password: Option<String>,
}

impl Credentials {
    /// Of one client. Without a user name there is no password either.
    pub fn of(&self, client_id: &str) -> Option<(String, Option<String>)> {
        let put = |text: &String| text.replace("%c", client_id);
        let username = self.username.as_ref().map(put)?;
        Some((username, self.password.as_ref().map(put)))
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// From the configuration.
    ///
    /// # Errors
    /// The key that is wrong, where it stands, and what is wrong with it.
    pub fn read(config: &Config) -> Result<Settings, StartError> {
        let set = |key: &str| {
            let text = config.text(key).map(str::to_string);
            text.filter(|text| !text.is_empty())
        };
        let retry_interval = config.duration("mqtt.sn.retry_interval");
        let retry_interval = retry_interval.unwrap_or(Duration::from_secs(10));
        Ok(Settings {
            listen_on: set("mqtt.sn.port").unwrap_or_else(|| DISCOVERY_PORT.to_string()),
            advertise_duration: number(config, "mqtt.sn.advertise_duration", 900)?,
            advertise_to: advertise_to(config)?,
            credentials: Credentials {
                username: set("mqtt.sn.username"),
                password: set("mqtt.sn.password"),
            },
            rules: Rules {
                gateway_id: number(config, "mqtt.sn.gateway_id", 1)?,
                predefined: Arc::new(predefined(config)?),
                qos_minus_1: config.switch("mqtt.sn.enable_qos3").unwrap_or(false),
                stats: config.switch("mqtt.sn.enable_stats").unwrap_or(false),
                max_clients: number(config, "mqtt.sn.max_clients", 100_000)?,
                // Shorter ones would only send the same packet twice.
                retry_interval: u64::try_from(retry_interval.as_millis())
                    .unwrap_or(u64::MAX)
                    .max(10),
                max_retries: number(config, "mqtt.sn.max_retries", 4)?,
                sleep_queue: number(config, "mqtt.sn.sleep_queue", 100)?,
                most_bytes: MOST_BYTES,
            },
        })
    }
}

fn number<T: TryFrom<i64>>(config: &Config, key: &str, default: T) -> Result<T, StartError> {
    let (Some(entry), Some(value)) = (config.entry(key), config.integer(key)) else {
        return Ok(default);
    };
    let largest = 8 * size_of::<T>();
    T::try_from(value).map_err(|_| {
        entry.refused(format_args!(
            "= {value}: a number of at most {largest} bits is expected"
        ))
    })
}

fn predefined(config: &Config) -> Result<Predefined, StartError> {
    let mut topics = Vec::new();
    for id in config.ids("mqtt.sn.predefined.topic.$id") {
        let Some(entry) = config.entry(&format!("mqtt.sn.predefined.topic.{id}")) else {
            continue;
        };
        let Some(id) = id.parse::<u16>().ok().filter(|id| *id < u16::MAX) else {
            return Err(entry.refused("is a topic without a number from 1 to 65534"));
        };
        // 0 is reserved, and has been since EMQ's own file says so.
        if id == 0 {
            continue;
        }
        if validate_filter(&entry.value).is_err() {
            return Err(entry.refused(format_args!("= {}: not a topic", entry.value)));
        }
        topics.push((id, entry.value.clone()));
    }
    Ok(Predefined::new(topics))
}

fn advertise_to(config: &Config) -> Result<Vec<SocketAddr>, StartError> {
    let Some(entry) = config.entry("mqtt.sn.advertise_to") else {
        return Ok(Vec::new());
    };
    let parse = |text: &str| {
        let alone = || text.parse::<IpAddr>().ok();
        let address = text.parse::<SocketAddr>().ok();
        address
            .or_else(|| alone().map(|ip| (ip, DISCOVERY_PORT).into()))
            .ok_or_else(|| {
                entry.refused(format_args!(
                    "= {text}: an IP address, or one with a port, is expected"
                ))
            })
    };
    let addresses = entry.value.split(',').map(str::trim);
    addresses
        .filter(|text| !text.is_empty())
        .map(parse)
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn shipped_values() {
        let config = Config::of(&[
            ("mqtt.sn.port", "1884"),
            ("mqtt.sn.advertise_duration", "900"),
            ("mqtt.sn.gateway_id", "1"),
            ("mqtt.sn.enable_qos3", "on"),
            ("mqtt.sn.predefined.topic.0", "reserved"),
            ("mqtt.sn.predefined.topic.1", "/hello"),
            ("mqtt.sn.predefined.topic.12", "/nice"),
            ("mqtt.sn.username", "user-%c"),
            ("mqtt.sn.password", "abc"),
            ("mqtt.sn.retry_interval", "15s"),
            ("mqtt.sn.advertise_to", "225.1.1.1, 10.0.0.255:1885,"),
        ]);
        let settings = Settings::read(&config).unwrap();
        assert_eq!(settings.listen_on, "1884");
        assert_eq!(settings.advertise_duration, 900);
        let to: Vec<_> = settings
            .advertise_to
            .iter()
            .map(|to| to.to_string())
            .collect();
        assert_eq!(to, ["225.1.1.1:1884", "10.0.0.255:1885"]);
        let rules = &settings.rules;
        assert!(rules.qos_minus_1 && !rules.stats);
        assert_eq!(rules.retry_interval, 15_000);
        assert_eq!((rules.max_retries, rules.sleep_queue), (4, 100));
        assert_eq!(rules.predefined.name(0), None);
        assert_eq!(rules.predefined.id("/nice"), Some(12));
        let (username, password) = settings.credentials.of("sn1").unwrap();
        assert_eq!((&*username, password.as_deref()), ("user-sn1", Some("abc")));
        assert!(!format!("{settings:?}").contains("abc"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (key, value) in [
            ("mqtt.sn.advertise_duration", "70000"),
            ("mqtt.sn.gateway_id", "256"),
            ("mqtt.sn.predefined.topic.65535", "a"),
            ("mqtt.sn.predefined.topic.x", "a"),
            ("mqtt.sn.predefined.topic.3", "a/#/b"),
            ("mqtt.sn.advertise_to", "broadcast"),
        ] {
            let refused = Settings::read(&Config::of(&[(key, value)])).unwrap_err();
            assert!(refused.0.starts_with(key), "{refused}");
        }
    }

    #[test]
    fn without_a_user_name_there_is_no_password() {
        let config = Config::of(&[("mqtt.sn.username", ""), ("mqtt.sn.password", "abc")]);
        let settings = Settings::read(&config).unwrap();
        assert_eq!(settings.credentials.of("sn1"), None);
    }
}
