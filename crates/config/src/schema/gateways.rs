//! Keys of the plugins that speak other protocols: emq_coap, emq_sn, emq_stomp, emq_sockjs.

use super::{Key, NATURAL, PERIOD, POSITIVE, SIZE, VERIFY};
use crate::value::Type;

const fn coap(pattern: &'static str, kind: Type, meaning: &'static str) -> Key {
    Key::new(pattern, kind, meaning).of("emq_coap").hot()
}

const fn sn(pattern: &'static str, kind: Type, meaning: &'static str) -> Key {
    Key::new(pattern, kind, meaning).of("emq_sn")
}

const fn stomp(pattern: &'static str, kind: Type, meaning: &'static str) -> Key {
    Key::new(pattern, kind, meaning).of("emq_stomp")
}

const fn sockjs(pattern: &'static str, kind: Type, meaning: &'static str) -> Key {
    Key::new(pattern, kind, meaning).of("emq_sockjs")
}

/// A key of the CoAP gateway that EMQ did not have.
const fn more_coap(pattern: &'static str, kind: Type, meaning: &'static str) -> Key {
    Key::new(pattern, kind, meaning).of("emq_coap")
}

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    coap("coap.port", Type::Address, "UDP address").default("5683").ships("5683"),
    coap("coap.keepalive", PERIOD, "life of a session without requests").default("120s").ships("120s"),
    coap("coap.enable_stats", Type::Flag, "count packets of each client").default("off").ships("off"),
    coap("coap.keyfile", Type::File, "private key for DTLS, PEM").ships("etc/certs/key.pem"),
    coap("coap.certfile", Type::File, "certificate for DTLS, PEM").ships("etc/certs/cert.pem"),
    more_coap("coap.dtls.port", Type::Address, "UDP address of DTLS; a port alone is at the address of coap.port").default("5684").shows("5684"),
    more_coap("coap.dtls.psk_file", Type::File, "pre-shared keys, a line each: identity:key in hexadecimal").shows("etc/coap_psk"),
    more_coap("coap.dtls.cacertfile", Type::File, "who signs clients' certificates, PEM").shows("etc/certs/cacert.pem"),
    more_coap("coap.dtls.verify", VERIFY, "ask clients for a certificate").default("verify_none").shows("verify_peer"),
    more_coap("coap.max_clients", POSITIVE, "clients at the same time").default("100000").shows("100000"),
    more_coap("coap.max_message_size", SIZE, "largest payload, put together from its blocks").default("64KB").shows("64KB"),
    more_coap("coap.ps.max_topics", NATURAL, "topics of /ps that have a value").default("10000").shows("10000"),
    more_coap("coap.ps.max_bytes", SIZE, "bytes of the values of /ps").default("16MB").shows("16MB"),

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
    sn("mqtt.sn.advertise_to", Type::Text, "where ADVERTISE goes, with commas; without it to port 1884 of every broadcast address").shows("225.1.1.1:1884"),
    sn("mqtt.sn.max_clients", POSITIVE, "clients at the same time").default("100000").shows("100000"),
    sn("mqtt.sn.retry_interval", PERIOD, "a packet without acknowledgement is sent again after that").default("10s").shows("10s"),
    sn("mqtt.sn.max_retries", NATURAL, "how often; then the client is lost").default("4").shows("4"),
    sn("mqtt.sn.sleep_queue", NATURAL, "QoS 0 messages kept for a client that sleeps").default("100").shows("100"),

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
    stomp("stomp.nack", Type::Enum(&["requeue", "drop"]), "what NACK does: send the message again, or take it for done").default("requeue").shows("drop").hot(),
    stomp("stomp.max_transactions", POSITIVE, "transactions of a connection at the same time").default("16").shows("16").hot(),
    stomp("stomp.transaction_timeout", PERIOD, "a transaction that is open for longer is aborted").default("60s").shows("60s").hot(),

    sockjs("sockjs.listener", Type::Address, "address").default("61616").ships("61616"),
    sockjs("sockjs.listener.acceptors", POSITIVE, "reported only").default("4").ships("4"),
    sockjs("sockjs.listener.max_clients", POSITIVE, "sessions at the same time").default("512").ships("512"),
    sockjs("sockjs.listener.ssl", Type::Flag, "TLS").default("off").shows("off"),
    sockjs("sockjs.listener.handshake_timeout", PERIOD, "time for the TLS handshake").default("15s").shows("15s"),
    sockjs("sockjs.listener.keyfile", Type::File, "private key, PEM").shows("etc/certs/key.pem"),
    sockjs("sockjs.listener.certfile", Type::File, "certificate, PEM").shows("etc/certs/cert.pem"),
    sockjs("sockjs.listener.cacertfile", Type::File, "who signs clients' certificates, PEM").shows("etc/certs/cacert.pem"),
    sockjs("sockjs.listener.verify", VERIFY, "ask clients for a certificate").shows("verify_peer"),
    sockjs("sockjs.listener.fail_if_no_peer_cert", Type::Bool, "refuse clients without one").shows("true"),
    sockjs("sockjs.listener.tls_versions", Type::TlsVersions, "TLS versions offered").shows("tlsv1.3,tlsv1.2"),
    sockjs("sockjs.listener.ciphers", Type::Text, "ciphers offered")
        .shows("ECDHE-ECDSA-AES256-GCM-SHA384,ECDHE-RSA-AES256-GCM-SHA384"),
    sockjs("sockjs.websocket", Type::Flag, "offer WebSocket").default("on").ships("on"),
    sockjs("sockjs.cookie_needed", Type::Flag, "set JSESSIONID, for load balancers").default("off").ships("off"),
    sockjs("sockjs.heartbeat_delay", PERIOD, "a heart-beat frame after so long without another").default("25s").ships("25s"),
    sockjs("sockjs.disconnect_delay", PERIOD, "life of a session that nobody receives").default("5s").ships("5s"),
    sockjs("sockjs.response_limit", SIZE, "bytes of a streaming response, after which the client opens the next").default("128KB").ships("128KB"),
    sockjs("sockjs.sockjs_url", Type::Text, "the client's script, for the page of the iframe transports; without it the one that the plugin serves").shows("/sockjs.min.js"),
    sockjs("sockjs.origins", Type::Text, "origins of web pages that may connect, with commas; * = all").default("*").shows("https://www.example.com"),
    sockjs("sockjs.default_user.login", Type::Text, "the login that is accepted").default("guest").ships("guest").hot(),
    sockjs("sockjs.default_user.passcode", Type::Secret, "its passcode").default("guest").ships("guest").hot(),
    sockjs("sockjs.allow_anonymous", Type::Bool, "take CONNECT without a login").default("true").ships("true").hot(),
    sockjs("sockjs.frame.max_headers", NATURAL, "headers of a frame").default("10").ships("10").hot(),
    sockjs("sockjs.frame.max_header_length", NATURAL, "bytes of a header").default("1024").ships("1024").hot(),
    sockjs("sockjs.frame.max_body_length", NATURAL, "bytes of a body").default("8192").ships("8192").hot(),
    sockjs("sockjs.nack", Type::Enum(&["requeue", "drop"]), "what NACK does: send the message again, or take it for done").default("requeue").shows("drop").hot(),
    sockjs("sockjs.max_transactions", POSITIVE, "transactions of a session at the same time").default("16").shows("16").hot(),
    sockjs("sockjs.transaction_timeout", PERIOD, "a transaction that is open for longer is aborted").default("60s").shows("60s").hot(),
];
