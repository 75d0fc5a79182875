//! The keys of `sockjs.*` that are no settings of STOMP.

use crate::sockjs::server::{Options, Origins};
use crate::sockjs::session::Limits;
use emqttd_gateway::{TcpSettings, tls_settings};
use emqttd_plugin_sdk::{Config, StartError};
use std::time::Duration;

/// Before the paths of SockJS, as in 2.x.
pub const PREFIX: &str = "/stomp";
/// Where the plugin's own script for the page of the iframe is.
const SCRIPT: &str = "/sockjs.js";
/// Bytes that wait in a session in each direction. What is beyond stays with the broker, or in the socket.
const QUEUE: u32 = 256 * 1024;
/// A browser has one connection that receives, one that sends, and leaves one open now and then.
const CONNECTIONS_OF_A_SESSION: usize = 3;

/// Where the plugin listens, and how SockJS is offered there.
#[derive(Debug)]
pub struct Settings {
    /// sessions at the same time
    pub max_clients: usize,
    /// the socket
    pub listener: TcpSettings,
    /// SockJS
    pub options: Options,
}

impl Settings {
    /// Reads the keys.
    ///
    /// # Errors
    /// When TLS is on and its files are not named.
    pub fn read(config: &Config) -> Result<Settings, StartError> {
        let switch = |key: &str, default| config.switch(key).unwrap_or(default);
        let count = |key: &str, default: usize| {
            let value = config.integer(key);
            value
                .and_then(|number| usize::try_from(number).ok())
                .unwrap_or(default)
        };
        let duration = |key: &str, seconds| {
            let value = config.duration(key);
            value.unwrap_or(Duration::from_secs(seconds))
        };
        let text = |key: &str| {
            let text = config.text(key).map(str::trim);
            text.filter(|text| !text.is_empty())
        };
        let tls = match switch("sockjs.listener.ssl", false) {
            true => Some(tls_settings(config, "sockjs.listener.")?),
            false => None,
        };
        let max_clients = count("sockjs.listener.max_clients", 512);
        let response_limit = config.size("sockjs.response_limit");
        let response_limit = response_limit.and_then(|bytes| usize::try_from(bytes).ok());
        Ok(Settings {
            max_clients,
            listener: TcpSettings {
                protocol: match tls {
                    Some(_) => "sockjs:https".to_owned(),
                    None => "sockjs:http".to_owned(),
                },
                listen_on: text("sockjs.listener").unwrap_or("61616").to_owned(),
                key: "sockjs.listener",
                acceptors: u32::try_from(count("sockjs.listener.acceptors", 4)).unwrap_or(4),
                max_clients: max_clients.saturating_mul(CONNECTIONS_OF_A_SESSION),
                tls,
            },
            options: Options {
                prefix: PREFIX.to_owned(),
                websocket: switch("sockjs.websocket", true),
                cookie_needed: switch("sockjs.cookie_needed", false),
                response_limit: response_limit.unwrap_or(128 * 1024),
                sockjs_url: text("sockjs.sockjs_url").unwrap_or(SCRIPT).to_owned(),
                origins: origins(text("sockjs.origins").unwrap_or("*")),
                limits: Limits {
                    heartbeat: duration("sockjs.heartbeat_delay", 25),
                    disconnect: duration("sockjs.disconnect_delay", 5),
                    queue: QUEUE,
                },
                max_sessions: max_clients,
            },
        })
    }
}

fn origins(list: &str) -> Origins {
    let list: Vec<&str> = list.split(',').map(str::trim).collect();
    if list.contains(&"*") {
        return Origins::All;
    }
    let named = list.into_iter().filter(|origin| !origin.is_empty());
    // Browsers write none with a slash at the end.
    Origins::These(
        named
            .map(|origin| origin.trim_end_matches('/').to_owned())
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_and_their_defaults() {
        let settings = Settings::read(&Config::default()).unwrap();
        assert_eq!(settings.max_clients, 512);
        assert_eq!(settings.listener.listen_on, "61616");
        assert_eq!(settings.listener.protocol, "sockjs:http");
        assert_eq!(settings.options.prefix, "/stomp");
        assert!(settings.options.websocket && !settings.options.cookie_needed);
        assert_eq!(settings.options.response_limit, 131_072);
        assert_eq!(settings.options.sockjs_url, "/sockjs.js");
        assert_eq!(settings.options.origins, Origins::All);
        assert_eq!(settings.options.limits.heartbeat, Duration::from_secs(25));
        assert_eq!(settings.options.limits.disconnect, Duration::from_secs(5));

        let settings = Settings::read(&Config::of(&[
            ("sockjs.listener", "127.0.0.1:1"),
            ("sockjs.listener.acceptors", "8"),
            ("sockjs.listener.max_clients", "10"),
            ("sockjs.listener.ssl", "on"),
            ("sockjs.listener.keyfile", "key.pem"),
            ("sockjs.listener.certfile", "cert.pem"),
            ("sockjs.websocket", "off"),
            ("sockjs.cookie_needed", "on"),
            ("sockjs.heartbeat_delay", "1s"),
            ("sockjs.disconnect_delay", "2s"),
            ("sockjs.response_limit", "4KB"),
            ("sockjs.sockjs_url", "https://cdn.example.com/sockjs.min.js"),
            ("sockjs.origins", "https://a.example, http://b.example:81/"),
        ]))
        .unwrap();
        assert_eq!(settings.max_clients, 10);
        assert_eq!(settings.listener.listen_on, "127.0.0.1:1");
        assert_eq!(settings.listener.protocol, "sockjs:https");
        assert_eq!(settings.listener.acceptors, 8);
        assert!(settings.listener.tls.is_some());
        assert!(!settings.options.websocket && settings.options.cookie_needed);
        assert_eq!(settings.options.response_limit, 4096);
        assert_eq!(
            settings.options.sockjs_url,
            "https://cdn.example.com/sockjs.min.js"
        );
        let origins = ["https://a.example", "http://b.example:81"].map(str::to_owned);
        assert_eq!(settings.options.origins, Origins::These(origins.to_vec()));
        assert_eq!(settings.options.limits.heartbeat, Duration::from_secs(1));
        assert_eq!(settings.options.limits.disconnect, Duration::from_secs(2));
        assert_eq!(settings.options.max_sessions, 10);

        let error = Settings::read(&Config::of(&[("sockjs.listener.ssl", "on")])).unwrap_err();
        assert!(error.0.starts_with("sockjs.listener."), "{error}");
    }
}
