//! Keys of the plugins that speak other protocols: emq_coap, emq_sn, emq_stomp.

use super::{Key, NATURAL, PERIOD, POSITIVE, VERIFY};
use crate::value::Type;

const PORT: Type = Type::Integer {
    min: 1,
    max: 65_535,
};

const fn coap(pattern: &'static str, kind: Type, meaning: &'static str) -> Key {
    Key::new(pattern, kind, meaning).of("emq_coap").hot()
}

const fn sn(pattern: &'static str, kind: Type, meaning: &'static str) -> Key {
    Key::new(pattern, kind, meaning).of("emq_sn")
}

const fn stomp(pattern: &'static str, kind: Type, meaning: &'static str) -> Key {
    Key::new(pattern, kind, meaning).of("emq_stomp")
}

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    coap("coap.port", PORT, "UDP port").default("5683").ships("5683"),
    coap("coap.keepalive", PERIOD, "life of a session without requests").default("120s").ships("120s"),
    coap("coap.enable_stats", Type::Flag, "count packets of each client").default("off").ships("off"),
    coap("coap.keyfile", Type::File, "private key for DTLS, PEM").ships("etc/certs/key.pem"),
    coap("coap.certfile", Type::File, "certificate for DTLS, PEM").ships("etc/certs/cert.pem"),

    sn("mqtt.sn.port", Type::Address, "UDP address").default("1884").ships("1884").hot(),
    sn("mqtt.sn.advertise_duration", NATURAL, "seconds between ADVERTISE packets")
        .default("900").ships("900").hot(),
    sn("mqtt.sn.gateway_id", Type::Integer { min: 0, max: 255 }, "id of this gateway")
        .default("1").ships("1").hot(),
    sn("mqtt.sn.enable_stats", Type::Flag, "count packets of each client").default("off").ships("off").hot(),
    sn("mqtt.sn.enable_qos3", Type::Flag, "take PUBLISH with QoS -1").default("off").ships("off").hot(),
    sn("mqtt.sn.predefined.topic.$id", Type::Text, "a topic known by its number").each(&[
        ("mqtt.sn.predefined.topic.0", "reserved"),
        ("mqtt.sn.predefined.topic.1", "/predefined/topic/name/hello"),
        ("mqtt.sn.predefined.topic.2", "/predefined/topic/name/nice"),
    ]),
    sn("mqtt.sn.username", Type::Text, "username of every client").ships("mqtt_sn_user").hot(),
    sn("mqtt.sn.password", Type::Secret, "password of every client").ships("abc").hot(),

    stomp("stomp.listener", Type::Address, "address").default("61613").ships("61613"),
    stomp("stomp.listener.acceptors", POSITIVE, "reported only").default("4").ships("4").hot(),
    stomp("stomp.listener.max_clients", POSITIVE, "connections at the same time")
        .default("512").ships("512").hot(),
    stomp("stomp.listener.ssl", Type::Flag, "TLS").default("off").shows("off"),
    stomp("stomp.listener.handshake_timeout", PERIOD, "time for the TLS handshake")
        .default("15s").shows("15s"),
    stomp("stomp.listener.keyfile", Type::File, "private key, PEM").shows("etc/certs/key.pem"),
    stomp("stomp.listener.certfile", Type::File, "certificate, PEM").shows("etc/certs/cert.pem"),
    stomp("stomp.listener.cacertfile", Type::File, "who signs clients' certificates, PEM")
        .shows("etc/certs/cacert.pem"),
    stomp("stomp.listener.dhfile", Type::File, "Diffie-Hellman parameters, PEM")
        .shows("etc/certs/dh-params.pem"),
    stomp("stomp.listener.verify", VERIFY, "ask clients for a certificate").shows("verify_peer"),
    stomp("stomp.listener.fail_if_no_peer_cert", Type::Bool, "refuse clients without one").shows("true"),
    stomp("stomp.listener.tls_versions", Type::TlsVersions, "TLS versions offered")
        .shows("tlsv1.2,tlsv1.1,tlsv1"),
    stomp("stomp.listener.ciphers", Type::Text, "ciphers offered")
        .shows("ECDHE-ECDSA-AES256-GCM-SHA384,ECDHE-RSA-AES256-GCM-SHA384"),
    stomp("stomp.listener.secure_renegotiate", Type::Flag, "there is no renegotiation").shows("off"),
    stomp("stomp.listener.reuse_sessions", Type::Flag, "resume TLS sessions").default("on").shows("on"),
    stomp("stomp.listener.honor_cipher_order", Type::Flag, "the server's order of ciphers counts").shows("on"),
    stomp("stomp.default_user.login", Type::Text, "the login that is accepted").default("guest").ships("guest").hot(),
    stomp("stomp.default_user.passcode", Type::Secret, "its passcode").default("guest").ships("guest").hot(),
    stomp("stomp.allow_anonymous", Type::Bool, "take CONNECT without a login").default("true").ships("true").hot(),
    stomp("stomp.frame.max_headers", NATURAL, "headers of a frame").default("10").ships("10").hot(),
    stomp("stomp.frame.max_header_length", NATURAL, "bytes of a header").default("1024").ships("1024").hot(),
    stomp("stomp.frame.max_body_length", NATURAL, "bytes of a body").default("8192").ships("8192").hot(),
];
