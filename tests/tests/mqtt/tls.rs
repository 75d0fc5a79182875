//! MQTT over TLS.

use std::io::Write;
use std::sync::OnceLock;

use emqttd_tests::transport::{self, Wire};
use emqttd_tests::{ALL, Broker, Client, Config, Connect, V3, Version, unique};
use rustls::version::{TLS12, TLS13};

fn secure() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| {
        let mutual = [
            ("cacertfile", "etc/certs/cacert.pem"),
            ("verify", "verify_peer"),
            ("fail_if_no_peer_cert", "true"),
        ];
        let with = |extra: &[(&'static str, &'static str)]| [&mutual[..], extra].concat();
        Broker::start(
            Config::new()
                .listener("ssl.external", &[("handshake_timeout", "1s")])
                .listener(
                    "ssl.cn",
                    &with(&[
                        ("peer_cert_as_username", "cn"),
                        ("crlfile", "etc/certs/crl.pem"),
                    ]),
                )
                .listener("ssl.dn", &with(&[("peer_cert_as_username", "dn")]))
                .listener(
                    "ssl.optional",
                    &[
                        ("cacertfile", "etc/certs/cacert.pem"),
                        ("verify", "verify_peer"),
                    ],
                )
                .listener("ssl.old", &[("tls_versions", "tlsv1.2")]),
        )
    })
}

/// A connection, or the error of the handshake. With TLS 1.3 a refused client certificate shows only when
/// the client reads, so CONNECT is sent and its answer awaited.
fn open(
    listener: &str,
    versions: &[&'static rustls::SupportedProtocolVersion],
    certificate: Option<&str>,
    connect: &Connect,
) -> Option<Client> {
    let config = secure().certs.client(versions, certificate);
    let mut tls = transport::tls(transport::tcp(secure().addr(listener)), config).ok()?;
    tls.write_all(&connect.encode()).ok()?;
    tls.flush().ok()?;
    let mut first = [0; 1];
    std::io::Read::read_exact(&mut tls, &mut first).ok()?;
    assert_eq!(first, [0x20]);
    let mut client = Client::over(
        Rest {
            first: Some(first[0]),
            wire: tls,
        },
        connect.version,
        &connect.client_id,
    );
    assert_eq!(client.connack().1, 0);
    Some(client)
}

/// A stream whose first byte was read already.
struct Rest<W> {
    first: Option<u8>,
    wire: W,
}

impl<W: Wire> std::io::Read for Rest<W> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        match self.first.take() {
            Some(byte) => {
                buf[0] = byte;
                Ok(1)
            }
            None => self.wire.read(buf),
        }
    }
}

impl<W: Wire> Write for Rest<W> {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.wire.write(buf)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.wire.flush()
    }
}

impl<W: Wire> Wire for Rest<W> {
    fn tcp(&self) -> &std::net::TcpStream {
        self.wire.tcp()
    }
}

#[test]
fn mqtt_4_2_0_1_tls_1_2_and_1_3() {
    for v in ALL {
        for version in [&TLS12, &TLS13] {
            let topic = unique("tls");
            let mut client = open(
                "ssl.external",
                &[version],
                None,
                &Connect::new(v, &unique("tls")),
            )
            .unwrap();
            client.sub(&topic, 2);
            for qos in 0..=2 {
                // Larger than a TLS record.
                let payload = "x".repeat(40_000);
                client.pub_(&topic, qos, &payload);
                client.expect(&topic, &payload);
            }
            client.disconnect();
        }
    }
}

#[test]
fn emq_tls_versions_are_those_configured() {
    let connect = Connect::new(Version::V311, &unique("old"));
    assert!(open("ssl.old", &[&TLS12], None, &connect).is_some());
    assert!(open("ssl.old", &[&TLS13], None, &connect).is_none());
}

/// Mutual TLS: no certificate, no connection.
#[test]
fn emq_client_certificate_is_required() {
    let connect = Connect::new(Version::V311, &unique("mutual"));
    for version in [&TLS12, &TLS13] {
        assert!(open("ssl.cn", &[version], None, &connect).is_none());
        assert!(open("ssl.cn", &[version], Some("client"), &connect).is_some());
        assert!(open("ssl.optional", &[version], None, &connect).is_some());
        assert!(open("ssl.optional", &[version], Some("client"), &connect).is_some());
    }
}

#[test]
fn emq_revoked_certificate_is_refused() {
    let connect = Connect::new(Version::V311, &unique("revoked"));
    for version in [&TLS12, &TLS13] {
        assert!(open("ssl.cn", &[version], Some("revoked"), &connect).is_none());
        assert!(
            open("ssl.dn", &[version], Some("revoked"), &connect).is_some(),
            "no CRL there"
        );
    }
}

/// The certificate's name replaces the user name of CONNECT.
#[test]
fn emq_certificate_as_user_name() {
    for v in V3 {
        let id = unique("cert");
        let connect = Connect::new(v, &id).username("somebody else");
        let client = open("ssl.cn", &[], Some("client"), &connect).unwrap();
        let (_, text) = secure().ctl(&["clients", "show", &id]);
        assert!(text.contains("username=alice,"), "{text}");
        client.disconnect();
        let client = open("ssl.dn", &[], Some("client"), &connect).unwrap();
        let (_, text) = secure().ctl(&["clients", "show", &id]);
        assert!(text.contains("username=CN=alice,O=Tests,"), "{text}");
        client.disconnect();
    }
}

/// Plain MQTT on a TLS port, and a handshake that never ends.
#[test]
fn emq_tls_handshake_is_bounded() {
    let mut plain = Client::over(
        transport::tcp(secure().addr("ssl.external")),
        Version::V311,
        "plain",
    );
    plain.send(&Connect::new(Version::V311, &unique("plain")).encode());
    let mut stream = transport::tcp(secure().addr("ssl.external"));
    let start = std::time::Instant::now();
    let mut rest = Vec::new();
    let _ = std::io::Read::read_to_end(&mut stream, &mut rest);
    let waited = start.elapsed();
    assert!(
        waited >= std::time::Duration::from_millis(900)
            && waited < std::time::Duration::from_secs(4),
        "{waited:?}"
    );
    // The plain client saw at most an alert of TLS.
    let mut stream = transport::tcp(secure().addr("ssl.external"));
    stream
        .write_all(&Connect::new(Version::V311, "x").encode())
        .unwrap();
    let mut answer = Vec::new();
    let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
    assert!(answer.is_empty() || answer[0] == 0x15, "{answer:02x?}");
    drop(plain);
}
