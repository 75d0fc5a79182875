//! `listener.*`: which are opened, with which options.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::assemble::Reader;
use crate::value::Value;
use crate::{AccessRule, CertField, Listener, ListenerKind, Tls, schema};

/// No kernel gives a socket more; 2.3.11 handed such a number on and failed at run time.
const MAX_KERNEL_BUFFER: u64 = 64 << 20;

/// Sub-keys that make the `api` listener an HTTPS one.
const TLS_KEYS: &[&str] = &[
    "handshake_timeout",
    "keyfile",
    "certfile",
    "cacertfile",
    "verify",
    "fail_if_no_peer_cert",
];

/// The listeners of the table, in the order of the files. One that has no address line is not opened.
pub(crate) fn listeners(reader: &mut Reader) -> Vec<Listener> {
    let mut found = Vec::new();
    let mut without_address = BTreeMap::new();
    for (key, entry) in reader.config.given() {
        let words = schema::words(key);
        match words.as_slice() {
            ["listener", kind, name] => {
                if let (Value::Address(addr), Some(kind)) = (&entry.parsed, kind_of(kind)) {
                    found.push((
                        key.to_owned(),
                        kind,
                        (*name).to_owned(),
                        *addr,
                        entry.value.clone(),
                    ));
                }
            }
            ["listener", kind, name, ..] => {
                let head = format!("listener.{kind}.{name}");
                if !reader.config.entries.contains_key(&head) {
                    without_address
                        .entry(head)
                        .or_insert_with(|| key.to_owned());
                }
            }
            _ => {}
        }
    }
    for (head, first) in without_address {
        reader.warn(
            &first,
            format!("there is no `{head} = ` line: this listener is not opened"),
        );
    }
    let mut taken: Vec<(SocketAddr, String)> = Vec::new();
    let mut listeners = Vec::new();
    for (head, kind, name, addr, listen_on) in found {
        if let Some((_, other)) = taken
            .iter()
            .find(|(other, _)| addr.port() != 0 && *other == addr)
        {
            let message = format!("{addr} is the address of {other} already");
            reader.refuse(&head, message);
        } else {
            taken.push((addr, head.clone()));
        }
        listeners.push(listener(reader, &head, kind, name, addr, listen_on));
    }
    listeners
}

fn kind_of(word: &str) -> Option<ListenerKind> {
    Some(match word {
        "tcp" => ListenerKind::Tcp,
        "ssl" => ListenerKind::Ssl,
        "ws" => ListenerKind::Ws,
        "wss" => ListenerKind::Wss,
        "api" => ListenerKind::Api,
        _ => return None,
    })
}

fn listener(
    reader: &mut Reader,
    head: &str,
    kind: ListenerKind,
    name: String,
    addr: SocketAddr,
    listen_on: String,
) -> Listener {
    use ListenerKind::{Api, Ssl, Tcp, Ws, Wss};
    let key = |sub: &str| format!("{head}.{sub}");
    let mqtt = kind != Api;
    let web = matches!(kind, Ws | Wss);
    let buffer = |reader: &mut Reader, sub: &str| {
        let size = reader.clamped(&key(sub), MAX_KERNEL_BUFFER);
        usize::try_from(size).ok().filter(|&size| size > 0)
    };
    let recbuf = buffer(reader, "recbuf");
    let sndbuf = buffer(reader, "sndbuf");
    let tls = match kind {
        Ssl | Wss => Some(tls(reader, head, true)),
        Api if TLS_KEYS
            .iter()
            .any(|sub| reader.config.entries.contains_key(&key(sub))) =>
        {
            Some(tls(reader, head, false))
        }
        Tcp | Ws | Api => None,
    };
    let peer_cert_as_username = match kind {
        Tcp | Ssl | Wss => match reader.text(&key("peer_cert_as_username")).as_deref() {
            Some("cn") => Some(CertField::Cn),
            Some("dn") => Some(CertField::Dn),
            _ => None,
        },
        Ws | Api => None,
    };
    if peer_cert_as_username.is_some() && tls.as_ref().is_some_and(|tls| !tls.verify_peer) {
        reader.warn(
            &key("peer_cert_as_username"),
            "clients are not asked for a certificate without verify = verify_peer",
        );
    }
    Listener {
        kind,
        name,
        addr,
        listen_on,
        acceptors: reader.u32(&key("acceptors")),
        max_clients: reader.count(&key("max_clients")),
        max_conn_rate: reader.u32(&key("max_conn_rate")),
        access: access(reader, head),
        mountpoint: if mqtt {
            mountpoint(reader, &key("mountpoint"))
        } else {
            None
        },
        rate_limit: match reader.config.value(&key("rate_limit")) {
            Some(Value::RateLimit(burst, rate)) => Some((burst, rate)),
            _ => None,
        },
        proxy_protocol: mqtt && reader.flag(&key("proxy_protocol")),
        proxy_protocol_timeout: if mqtt {
            reader.duration(&key("proxy_protocol_timeout"))
        } else {
            std::time::Duration::ZERO
        },
        peer_cert_as_username,
        proxy_address_header: if web {
            reader.text(&key("proxy_address_header"))
        } else {
            None
        },
        proxy_port_header: if web {
            reader.text(&key("proxy_port_header"))
        } else {
            None
        },
        backlog: reader.u32(&key("backlog")),
        send_timeout: reader.duration(&key("send_timeout")),
        send_timeout_close: reader.flag(&key("send_timeout_close")),
        recbuf,
        sndbuf,
        nodelay: reader.flag(&key("nodelay")),
        reuseaddr: reader.flag(&key("reuseaddr")),
        tls,
    }
}

/// Rules in ascending order of their number; words that are no number come last.
fn access(reader: &mut Reader, head: &str) -> Vec<AccessRule> {
    let prefix = format!("{head}.access.");
    let mut rules: Vec<(u64, &str, AccessRule)> = reader
        .config
        .given()
        .filter_map(|(key, entry)| match entry.parsed {
            Value::Access(rule) => {
                let id = key.strip_prefix(&prefix)?;
                Some((id.parse().unwrap_or(u64::MAX), id, rule))
            }
            _ => None,
        })
        .collect();
    rules.sort_by_key(|&(number, id, _)| (number, id));
    let mixed = rules
        .windows(2)
        .any(|pair| pair[0].2.allow != pair[1].2.allow);
    let first = rules.first().map(|(_, id, _)| format!("{prefix}{id}"));
    let rules = rules.into_iter().map(|(_, _, rule)| rule).collect();
    if let (true, Some(first)) = (mixed, first) {
        reader.warn(
            &first,
            "the rules are asked in ascending order of their number and the first that fits decides; \
             EMQ 2.3.11 asked them backwards",
        );
    }
    rules
}

fn mountpoint(reader: &mut Reader, key: &str) -> Option<String> {
    let mountpoint = reader.text(key)?;
    if mountpoint.contains(['+', '#', '\0']) {
        reader.refuse(key, format!("`{mountpoint}` cannot begin a topic name"));
    }
    Some(mountpoint)
}

/// `full` is false for the api kind, which has fewer keys.
fn tls(reader: &mut Reader, head: &str, full: bool) -> Tls {
    let key = |sub: &str| format!("{head}.{sub}");
    let (tls12, tls13) = match full
        .then(|| reader.config.value(&key("tls_versions")))
        .flatten()
    {
        Some(Value::TlsVersions(tls12, tls13)) => (tls12, tls13),
        _ => (true, true),
    };
    let ciphers = full
        .then(|| reader.text(&key("ciphers")))
        .flatten()
        .unwrap_or_default();
    let tls = Tls {
        keyfile: reader.path(&key("keyfile")),
        certfile: reader.path(&key("certfile")),
        cacertfile: reader.path(&key("cacertfile")),
        crlfile: if full {
            reader.path(&key("crlfile"))
        } else {
            None
        },
        verify_peer: reader.is(&key("verify"), "verify_peer"),
        fail_if_no_peer_cert: reader.flag(&key("fail_if_no_peer_cert")),
        tls12,
        tls13,
        ciphers: ciphers
            .split([',', ':'])
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
        reuse_sessions: !full || reader.flag(&key("reuse_sessions")),
        honor_cipher_order: full && reader.flag(&key("honor_cipher_order")),
        handshake_timeout: reader.duration(&key("handshake_timeout")),
    };
    for (missing, sub) in [
        (tls.keyfile.is_none(), "keyfile"),
        (tls.certfile.is_none(), "certfile"),
    ] {
        if missing {
            reader.refuse(
                head,
                format!("{head}.{sub} is missing; a TLS listener needs it"),
            );
        }
    }
    if tls.verify_peer && tls.cacertfile.is_none() {
        reader.refuse(
            &key("verify"),
            format!("{head}.cacertfile is missing; certificates are checked against it"),
        );
    }
    if !tls.verify_peer && tls.fail_if_no_peer_cert {
        reader.warn(
            &key("fail_if_no_peer_cert"),
            "has no effect without verify = verify_peer",
        );
    }
    if !tls.verify_peer && tls.crlfile.is_some() {
        reader.warn(
            &key("crlfile"),
            "has no effect without verify = verify_peer",
        );
    }
    tls
}
