//! `listener.<kind>.<name>` and its sub-keys.

use super::{Key, PERIOD, SIZE, VERIFY};
use crate::value::Type;

const fn key(pattern: &'static str, kind: Type, meaning: &'static str) -> Key {
    Key::new(pattern, kind, meaning)
}

const COUNT: Type = Type::Integer {
    min: 1,
    max: 4_294_967_295,
};
/// Longer than any queue a kernel keeps, short enough for its integer.
const BACKLOG: Type = Type::Integer {
    min: 1,
    max: 65_535,
};

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("listener.tcp|ssl|ws|wss|api.$name", Type::Address, "opens a listener on [IP:]Port").each(&[
        ("listener.tcp.external", "0.0.0.0:1883"),
        ("listener.tcp.internal", "127.0.0.1:11883"),
        ("listener.ssl.external", "8883"),
        ("listener.ws.external", "8083"),
        ("listener.wss.external", "8084"),
        ("listener.api.mgmt", "127.0.0.1:8080"),
    ]),
    key("listener.tcp|ssl|ws|wss|api.$name.acceptors", COUNT, "reported only; the event loops accept")
        .default("8").each(&[
            ("listener.tcp.external.acceptors", "16"),
            ("listener.tcp.internal.acceptors", "4"),
            ("listener.ssl.external.acceptors", "16"),
            ("listener.ws.external.acceptors", "4"),
            ("listener.wss.external.acceptors", "4"),
            ("listener.api.mgmt.acceptors", "4"),
        ]),
    key("listener.tcp|ssl|ws|wss|api.$name.max_clients", COUNT, "connections at the same time")
        .default("1024").each(&[
            ("listener.tcp.external.max_clients", "102400"),
            ("listener.tcp.internal.max_clients", "102400"),
            ("listener.ssl.external.max_clients", "1024"),
            ("listener.ws.external.max_clients", "102400"),
            ("listener.wss.external.max_clients", "64"),
            ("listener.api.mgmt.max_clients", "64"),
        ]),
    key("listener.tcp|ssl|ws|wss|api.$name.max_conn_rate", Type::Integer { min: 0, max: 4_294_967_295 },
        "connections accepted a second; 0 = no limit")
        .default("0").shows("1000"),
    key("listener.tcp|ssl|ws|wss|api.$name.access.$id", Type::Access,
        "allow or deny a network; in ascending order of the number, the first that fits decides")
        .each(&[
            ("listener.tcp.external.access.1", "allow all"),
            ("listener.ssl.external.access.1", "allow all"),
            ("listener.ws.external.access.1", "allow all"),
            ("listener.wss.external.access.1", "allow all"),
            ("listener.api.mgmt.access.1", "allow all"),
        ]),
    key("listener.tcp|ssl|ws|wss.$name.mountpoint", Type::Text, "put before every topic of its clients"),
    key("listener.tcp|ssl|ws|wss.$name.zone", Type::Text, "never read, in EMQ neither").without_effect(),
    key("listener.tcp|ssl|ws|wss|api.$name.rate_limit", Type::RateLimit,
        "burst,rate in KB and KB a second that a client may send").shows("100,10"),
    key("listener.tcp|ssl|ws|wss.$name.proxy_protocol", Type::Flag, "expect a PROXY header (v1 or v2)")
        .default("off").shows("on"),
    key("listener.tcp|ssl|ws|wss.$name.proxy_protocol_timeout", PERIOD, "time for that header to arrive")
        .default("5s").shows("3s"),
    key("listener.tcp|ssl|wss.$name.peer_cert_as_username", Type::Enum(&["cn", "dn"]),
        "take the name in the client's certificate as username").shows("cn"),
    key("listener.ws|wss.$name.proxy_address_header", Type::Text, "HTTP header with the client's address")
        .shows("X-Forwarded-For"),
    key("listener.ws|wss.$name.proxy_port_header", Type::Text, "HTTP header with the client's port")
        .shows("X-Forwarded-Port"),
    key("listener.tcp|ssl|ws|wss|api.$name.backlog", BACKLOG, "connections waiting to be accepted")
        .default("1024").each(&[
            ("listener.tcp.external.backlog", "1024"),
            ("listener.tcp.internal.backlog", "512"),
            ("listener.ws.external.backlog", "1024"),
            ("listener.wss.external.backlog", "1024"),
            ("listener.api.mgmt.backlog", "512"),
        ]),
    key("listener.tcp|ssl|ws|wss|api.$name.send_timeout", PERIOD, "time a write may make no progress")
        .default("15s").each(&[
            ("listener.tcp.external.send_timeout", "15s"),
            ("listener.tcp.internal.send_timeout", "5s"),
            ("listener.ws.external.send_timeout", "15s"),
            ("listener.wss.external.send_timeout", "15s"),
            ("listener.api.mgmt.send_timeout", "15s"),
        ]),
    key("listener.tcp|ssl|ws|wss|api.$name.send_timeout_close", Type::Flag, "close the connection then")
        .default("on").each(&[
            ("listener.tcp.external.send_timeout_close", "on"),
            ("listener.tcp.internal.send_timeout_close", "on"),
            ("listener.ws.external.send_timeout_close", "on"),
            ("listener.wss.external.send_timeout_close", "on"),
            ("listener.api.mgmt.send_timeout_close", "on"),
        ]),
    key("listener.tcp|ssl|ws|wss|api.$name.recbuf", SIZE, "kernel's receive buffer").shows("4KB"),
    key("listener.tcp|ssl|ws|wss|api.$name.sndbuf", SIZE, "kernel's send buffer").shows("4KB"),
    key("listener.tcp|ssl|ws|wss|api.$name.buffer", SIZE, "read buffer of the Erlang VM")
        .shows("4KB").without_effect(),
    key("listener.tcp|ssl|ws|wss|api.$name.tune_buffer", Type::Flag, "read buffer of the Erlang VM")
        .shows("off").without_effect(),
    key("listener.tcp|ssl|ws|wss|api.$name.nodelay", Type::Bool, "send small packets at once")
        .default("true").each(&[
            ("listener.tcp.external.nodelay", "true"),
            ("listener.tcp.internal.nodelay", "false"),
            ("listener.ws.external.nodelay", "true"),
        ]),
    key("listener.tcp|ssl|ws|wss|api.$name.reuseaddr", Type::Bool, "reopen a port that was just closed")
        .default("true").each(&[
            ("listener.tcp.external.reuseaddr", "true"),
            ("listener.tcp.internal.reuseaddr", "true"),
            ("listener.ssl.external.reuseaddr", "true"),
            ("listener.ws.external.reuseaddr", "true"),
        ]),
    key("listener.ssl|wss|api.$name.handshake_timeout", PERIOD, "time for the TLS handshake")
        .default("15s").each(&[
            ("listener.ssl.external.handshake_timeout", "15s"),
            ("listener.wss.external.handshake_timeout", "15s"),
        ]),
    key("listener.ssl|wss|api.$name.keyfile", Type::File, "private key, PEM").each(&[
        ("listener.ssl.external.keyfile", "etc/certs/key.pem"),
        ("listener.wss.external.keyfile", "etc/certs/key.pem"),
    ]),
    key("listener.ssl|wss|api.$name.certfile", Type::File, "certificate with its chain, PEM").each(&[
        ("listener.ssl.external.certfile", "etc/certs/cert.pem"),
        ("listener.wss.external.certfile", "etc/certs/cert.pem"),
    ]),
    key("listener.ssl|wss|api.$name.cacertfile", Type::File, "who signs clients' certificates, PEM")
        .shows("etc/certs/cacert.pem"),
    key("listener.ssl|wss.$name.crlfile", Type::File, "revoked clients' certificates, PEM")
        .shows("etc/certs/crl.pem"),
    key("listener.ssl|wss|api.$name.verify", VERIFY, "ask clients for a certificate")
        .default("verify_none").shows("verify_peer"),
    key("listener.ssl|wss|api.$name.fail_if_no_peer_cert", Type::Bool, "refuse clients without one")
        .default("false").shows("true"),
    key("listener.ssl|wss.$name.tls_versions", Type::TlsVersions, "TLS versions offered")
        .shows("tlsv1.3,tlsv1.2"),
    key("listener.ssl|wss.$name.ciphers", Type::Text, "ciphers offered, OpenSSL names, with commas")
        .shows("ECDHE-ECDSA-AES256-GCM-SHA384,ECDHE-RSA-AES256-GCM-SHA384"),
    key("listener.ssl.$name.dhfile", Type::File, "no cipher of this broker needs it")
        .shows("etc/certs/dh-params.pem").without_effect(),
    key("listener.ssl|wss.$name.secure_renegotiate", Type::Flag, "there is no renegotiation")
        .shows("off").without_effect(),
    key("listener.ssl|wss.$name.reuse_sessions", Type::Flag, "resume TLS sessions")
        .default("on").shows("on"),
    key("listener.ssl|wss.$name.honor_cipher_order", Type::Flag, "the server's order of ciphers counts")
        .default("off").shows("on"),
    key("management.metrics.auth", Type::Flag, "whether /metrics asks for a login").default("off").ships("off"),
];
