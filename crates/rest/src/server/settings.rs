//! How a listener is opened: from `listener.api.*`, or from the keys of a plugin.

use emqttd_broker::ListenerState;
use emqttd_config::{AccessRule, Listener, Tls};
use emqttd_plugin_sdk::{Config, PluginListener, WebListener};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Connections that wait to be accepted, where no key says how many.
const BACKLOG: u32 = 1024;
/// How long a peer may take nothing of an answer, where no key says how long: as EMQ's listeners.
const SEND_TIMEOUT: Duration = Duration::from_secs(15);
/// `handshake_timeout` where there is none.
const HANDSHAKE: Duration = Duration::from_secs(15);

/// How a listener is opened.
#[derive(Debug, Clone, PartialEq)]
pub struct Opening {
    /// what the broker shows
    shown: Shown,
    /// the address
    pub addr: SocketAddr,
    /// who may come, in ascending order of the rules' numbers
    pub access: Vec<AccessRule>,
    /// connections accepted in a second; 0 = no limit
    pub max_conn_rate: u32,
    /// connections that wait to be accepted
    pub backlog: u32,
    /// how long a peer may take nothing
    pub send_timeout: Duration,
    /// buffers of the system, bytes
    pub recbuf: Option<usize>,
    /// the same for what is sent
    pub sndbuf: Option<usize>,
    /// small packets go at once
    pub nodelay: bool,
    /// the address may be taken while old connections linger
    pub reuseaddr: bool,
    /// with TLS
    pub tls: Option<Tls>,
}

#[derive(Debug, Clone, PartialEq)]
enum Shown {
    Configured(Box<Listener>),
    Plugin(PluginListener),
}

impl Opening {
    /// Of a listener of `emq.conf`.
    pub fn configured(listener: &Listener) -> Opening {
        Opening {
            addr: listener.addr,
            access: listener.access.clone(),
            max_conn_rate: listener.max_conn_rate,
            backlog: listener.backlog,
            // With `send_timeout_close = off`, too: who takes nothing must not keep a place for ever.
            send_timeout: listener.send_timeout,
            recbuf: listener.recbuf,
            sndbuf: listener.sndbuf,
            nodelay: listener.nodelay,
            reuseaddr: listener.reuseaddr,
            tls: listener.tls.clone(),
            shown: Shown::Configured(Box::new(listener.clone())),
        }
    }

    /// Of a plugin; `None` = the key of its address has no value, so that there is to be none.
    ///
    /// # Errors
    /// A sentence with the key that cannot be used.
    pub fn of_plugin(listener: &WebListener, config: &Config) -> Result<Opening, String> {
        let key = &listener.key;
        let refused = |key: &str, what: String| match config.entry(key) {
            Some(entry) => entry.refused(what).0,
            None => format!("{key} {what}"),
        };
        let text = config.text(key).map(str::trim).unwrap_or_default();
        let addr = address(text).ok_or_else(|| {
            let what = "a port, or an IP address and a port, is expected";
            refused(key, format!("= {text}: {what}"))
        })?;
        let number = |name: &str, default: u32| {
            let value = config.integer(&format!("{key}.{name}"));
            value.and_then(|n| u32::try_from(n).ok()).unwrap_or(default)
        };
        let mut rules: Vec<(u64, String)> = config
            .ids(&format!("{key}.access.$id"))
            .into_iter()
            .map(|id| (id.parse().unwrap_or(u64::MAX), id))
            .collect();
        rules.sort();
        let access = rules.iter().map(|(_, id)| {
            let key = format!("{key}.access.{id}");
            let rule: Result<AccessRule, String> = config.text(&key).unwrap_or_default().parse();
            rule.map_err(|why| refused(&key, why))
        });
        Ok(Opening {
            addr,
            access: access.collect::<Result<_, _>>()?,
            max_conn_rate: number("max_conn_rate", 0),
            backlog: number("backlog", BACKLOG),
            send_timeout: SEND_TIMEOUT,
            recbuf: None,
            sndbuf: None,
            nodelay: true,
            reuseaddr: true,
            tls: match listener.tls {
                true => Some(tls(key, config).map_err(|why| refused(key, why))?),
                false => None,
            },
            shown: Shown::Plugin(PluginListener {
                protocol: listener.protocol.clone(),
                listen_on: text.to_owned(),
                acceptors: number("acceptors", 4),
                max_clients: usize::try_from(number("max_clients", 512)).unwrap_or(usize::MAX),
                mountpoint: None,
            }),
        })
    }

    /// It is bound there: where any port would do, that is the one from now on.
    pub fn settle(&mut self, bound: SocketAddr) {
        if let Shown::Plugin(shown) = &mut self.shown
            && self.addr.port() == 0
        {
            self.addr = bound;
            shown.listen_on = bound.to_string();
        }
    }

    /// For the broker's list of listeners, without connections.
    pub fn state(&self) -> ListenerState {
        match &self.shown {
            Shown::Configured(listener) => ListenerState::new((**listener).clone()),
            Shown::Plugin(listener) => ListenerState::of_plugin(listener.clone()),
        }
    }
}

/// `127.0.0.1:8080`, `[::1]:8080`, or a port alone, which is one of every IPv4 address.
fn address(text: &str) -> Option<SocketAddr> {
    let Some((ip, port)) = text.rsplit_once(':') else {
        return Some((Ipv4Addr::UNSPECIFIED, text.parse().ok()?).into());
    };
    let bare = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']'));
    let ip: IpAddr = bare.unwrap_or(ip).parse().ok()?;
    Some((ip, port.parse().ok()?).into())
}

fn tls(prefix: &str, config: &Config) -> Result<Tls, String> {
    let key = |name: &str| format!("{prefix}.{name}");
    let text = |name: &str| {
        let text = config.text(&key(name)).map(str::trim);
        text.filter(|text| !text.is_empty())
    };
    let switch = |name: &str, default| config.switch(&key(name)).unwrap_or(default);
    let file = |name: &str| text(name).map(PathBuf::from);
    let needed = |name: &str| {
        file(name).ok_or_else(|| format!("needs {prefix}.{name}: TLS does not go without"))
    };
    let versions = text("tls_versions").unwrap_or("tlsv1.3,tlsv1.2");
    let offered = |version: &str| versions.split(',').any(|word| word.trim() == version);
    let verify_peer = text("verify") == Some("verify_peer");
    let cacertfile = file("cacertfile");
    if verify_peer && cacertfile.is_none() {
        return Err(format!(
            "needs {prefix}.cacertfile: clients' certificates are checked against it"
        ));
    }
    let ciphers = text("ciphers").unwrap_or_default().split([',', ':']);
    Ok(Tls {
        keyfile: Some(needed("keyfile")?),
        certfile: Some(needed("certfile")?),
        cacertfile,
        crlfile: file("crlfile"),
        verify_peer,
        fail_if_no_peer_cert: switch("fail_if_no_peer_cert", false),
        tls12: offered("tlsv1.2"),
        tls13: offered("tlsv1.3"),
        ciphers: ciphers
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(str::to_string)
            .collect(),
        reuse_sessions: switch("reuse_sessions", true),
        honor_cipher_order: switch("honor_cipher_order", false),
        handshake_timeout: config
            .duration(&key("handshake_timeout"))
            .unwrap_or(HANDSHAKE),
    })
}
