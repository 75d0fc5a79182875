//! TLS in memory: rustls as the client, our streams as the server.
#![allow(clippy::unwrap_used)]

mod pki;

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use emqttd_config::{CertField, Tls};
use emqttd_net::tls::{TlsContext, TlsError, TlsStream, cert_username};
use pki::{Authority, Dir};
use proptest::prelude::*;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion, version};

/// Files of one server, of one authority.
struct Site {
    dir: Dir,
    authority: Authority,
}

impl Site {
    fn new() -> Site {
        let site = Site {
            dir: Dir::new(),
            authority: Authority::new("Test CA"),
        };
        site.dir.write("cacert.pem", &site.authority.pem());
        site.issue_server();
        site
    }

    /// A new certificate and key for the server.
    fn issue_server(&self) {
        let server = self.authority.issue("localhost", &["localhost"]);
        self.dir.write("cert.pem", &server.cert);
        self.dir.write("key.pem", &server.key);
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        Some(self.dir.path(name))
    }

    fn settings(&self) -> Tls {
        Tls {
            keyfile: self.path("key.pem"),
            certfile: self.path("cert.pem"),
            tls12: true,
            tls13: true,
            reuse_sessions: true,
            ..Tls::default()
        }
    }

    fn mutual(&self, required: bool) -> Tls {
        Tls {
            cacertfile: self.path("cacert.pem"),
            verify_peer: true,
            fail_if_no_peer_cert: required,
            ..self.settings()
        }
    }

    fn context(&self, settings: &Tls) -> TlsContext {
        let (context, warnings) = TlsContext::from_settings(settings).unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        context
    }

    /// A client that trusts our authority, with this certificate if any.
    fn client(
        &self,
        identity: Option<&pki::Issued>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        client_of(&self.authority, identity, versions)
    }
}

const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];

fn client_of(
    authority: &Authority,
    identity: Option<&pki::Issued>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der()).unwrap();
    let builder =
        ClientConfig::builder_with_protocol_versions(versions).with_root_certificates(roots);
    match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => builder
            .with_client_auth_cert(
                CertificateDer::pem_slice_iter(identity.cert.as_bytes())
                    .map(Result::unwrap)
                    .collect(),
                PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap(),
            )
            .unwrap(),
    }
}

/// A client and a server with a wire between them.
struct Pair {
    client: ClientConnection,
    server: TlsStream,
    /// What the server has decrypted.
    received: Vec<u8>,
    to_client: Vec<u8>,
    server_error: Option<TlsError>,
    client_error: Option<rustls::Error>,
}

impl Pair {
    fn new(context: &TlsContext, client: Arc<ClientConfig>) -> Pair {
        let name = ServerName::try_from("localhost").unwrap();
        Pair {
            client: ClientConnection::new(client, name).unwrap(),
            server: TlsStream::new(context).unwrap(),
            received: Vec::new(),
            to_client: Vec::new(),
            server_error: None,
            client_error: None,
        }
    }

    /// Carries bytes to and fro until nothing moves, `chunk` at a time towards the server.
    fn settle(&mut self, chunk: usize) {
        loop {
            let mut to_server = Vec::new();
            while self.client.wants_write() {
                self.client.write_tls(&mut to_server).unwrap();
            }
            if to_server.is_empty() && self.to_client.is_empty() {
                return;
            }
            for part in to_server.chunks_mut(chunk) {
                let result = self
                    .server
                    .receive(part, &mut self.received, &mut self.to_client);
                if let Err(error) = result {
                    self.server_error.get_or_insert(error);
                }
            }
            let to_client = std::mem::take(&mut self.to_client);
            let mut rest = &to_client[..];
            while !rest.is_empty() && self.client_error.is_none() {
                if self.client.read_tls(&mut rest).unwrap() == 0 {
                    break;
                }
                self.client_error = self.client.process_new_packets().err();
            }
        }
    }

    /// A pair whose handshake succeeded.
    fn connected(context: &TlsContext, client: ClientConfig) -> Pair {
        let mut pair = Pair::new(context, Arc::new(client));
        pair.settle(usize::MAX);
        assert_eq!((&pair.server_error, &pair.client_error), (&None, &None));
        assert!(!pair.server.is_handshaking() && !pair.client.is_handshaking());
        pair
    }

    /// The errors of both sides of a handshake that must fail.
    fn refused(context: &TlsContext, client: ClientConfig) -> (String, String) {
        let mut pair = Pair::new(context, Arc::new(client));
        pair.settle(usize::MAX);
        let server = pair.server_error.expect("the server refuses").to_string();
        let client = pair
            .client_error
            .expect("the client gets an alert")
            .to_string();
        (server, client)
    }

    /// What the client reads, all there is.
    fn client_reads(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        // Ends with WouldBlock, after everything was read.
        let _ = self.client.reader().read_to_end(&mut out);
        out
    }

    fn exchange(&mut self) {
        self.client.writer().write_all(b"from the client").unwrap();
        self.settle(usize::MAX);
        assert_eq!(std::mem::take(&mut self.received), b"from the client");
        self.server
            .send(b"from the server", &mut self.to_client)
            .unwrap();
        self.settle(usize::MAX);
        assert_eq!(self.client_reads(), b"from the server");
    }
}

#[test]
fn both_versions() {
    let site = Site::new();
    let context = site.context(&site.settings());
    for version in BOTH {
        let mut pair = Pair::connected(&context, site.client(None, &[version]));
        assert_eq!(pair.client.protocol_version(), Some(version.version));
        assert!(pair.server.peer_certificate().is_none());
        pair.exchange();
        pair.exchange();
    }
}

#[test]
fn only_the_versions_of_the_listener() {
    let site = Site::new();
    let only12 = site.context(&Tls {
        tls13: false,
        ..site.settings()
    });
    Pair::connected(&only12, site.client(None, &[&version::TLS12])).exchange();
    Pair::refused(&only12, site.client(None, &[&version::TLS13]));
    let only13 = site.context(&Tls {
        tls12: false,
        ..site.settings()
    });
    Pair::connected(&only13, site.client(None, BOTH)).exchange();
    Pair::refused(&only13, site.client(None, &[&version::TLS12]));

    let none = Tls {
        tls12: false,
        tls13: false,
        ..site.settings()
    };
    assert!(
        TlsContext::from_settings(&none)
            .unwrap_err()
            .contains("tls_versions")
    );
}

#[test]
fn large_data_both_ways_in_small_pieces() {
    let site = Site::new();
    let context = site.context(&site.settings());
    let data: Vec<u8> = (0..300_000u32).map(|i| (i ^ (i >> 8)) as u8).collect();
    for version in BOTH {
        let mut pair = Pair::connected(&context, site.client(None, &[version]));
        pair.client.set_buffer_limit(None);
        pair.client.writer().write_all(&data).unwrap();
        pair.settle(1000);
        assert!(pair.received == data);
        assert_eq!(pair.server.buffered(), 0);

        let mut wire = Vec::new();
        pair.server.send(&data, &mut wire).unwrap();
        let mut seen = Vec::new();
        for part in wire.chunks(4096) {
            pair.to_client.extend(part);
            pair.settle(usize::MAX);
            seen.extend(pair.client_reads());
        }
        assert!(seen == data);
    }
}

#[test]
fn nothing_is_kept_between_records() {
    let site = Site::new();
    let context = site.context(&site.settings());
    let mut pair = Pair::connected(&context, site.client(None, BOTH));
    assert_eq!(pair.server.buffered(), 0);
    pair.client.writer().write_all(&[1; 100]).unwrap();
    let mut record = Vec::new();
    pair.client.write_tls(&mut record).unwrap();
    let (first, second) = record.split_at_mut(60);
    pair.server
        .receive(first, &mut pair.received, &mut pair.to_client)
        .unwrap();
    assert_eq!((pair.received.len(), pair.server.buffered()), (0, 60));
    // Writing does not disturb what is kept.
    pair.server.send(b"meanwhile", &mut pair.to_client).unwrap();
    pair.server
        .receive(second, &mut pair.received, &mut pair.to_client)
        .unwrap();
    assert_eq!((pair.received.len(), pair.server.buffered()), (100, 0));
    pair.settle(usize::MAX);
    assert_eq!(pair.client_reads(), b"meanwhile");
}

#[test]
fn plain_text_behind_the_handshake_in_the_same_read() {
    let site = Site::new();
    let context = site.context(&site.settings());
    let mut pair = Pair::new(&context, Arc::new(site.client(None, &[&version::TLS13])));
    // rustls keeps this until it may send it, together with its Finished.
    pair.client.writer().write_all(b"CONNECT").unwrap();
    pair.settle(usize::MAX);
    assert_eq!(pair.received, b"CONNECT");
}

#[test]
fn sending_before_the_handshake_is_an_error() {
    let site = Site::new();
    let mut server = TlsStream::new(&site.context(&site.settings())).unwrap();
    let mut wire = Vec::new();
    assert!(server.send(b"x", &mut wire).is_err());
    server.close_notify(&mut wire);
    assert!(wire.is_empty());
}

#[test]
fn close_from_both_sides() {
    let site = Site::new();
    let context = site.context(&site.settings());
    for version in BOTH {
        let mut pair = Pair::connected(&context, site.client(None, &[version]));
        pair.client.writer().write_all(b"bye").unwrap();
        pair.client.send_close_notify();
        pair.settle(usize::MAX);
        assert_eq!(pair.received, b"bye");
        assert!(pair.server.peer_has_closed());
        pair.server.close_notify(&mut pair.to_client);
        pair.settle(usize::MAX);
        // An end that is not marked would be an UnexpectedEof.
        assert_eq!(pair.client.reader().read(&mut [0; 8]).unwrap(), 0);

        let mut pair = Pair::connected(&context, site.client(None, &[version]));
        pair.server.send(b"last", &mut pair.to_client).unwrap();
        pair.server.close_notify(&mut pair.to_client);
        pair.settle(usize::MAX);
        let mut seen = Vec::new();
        pair.client.reader().read_to_end(&mut seen).unwrap();
        assert_eq!(seen, b"last");
    }
}

#[test]
fn garbage_and_tampering_end_the_connection_with_an_alert() {
    let site = Site::new();
    let context = site.context(&site.settings());
    let mut server = TlsStream::new(&context).unwrap();
    let (mut plain, mut wire) = (Vec::new(), Vec::new());
    let mut mqtt = *b"\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0";
    server
        .receive(&mut mqtt, &mut plain, &mut wire)
        .unwrap_err();
    assert!(plain.is_empty());
    // Whatever comes after that is not looked at.
    server.receive(&mut mqtt, &mut plain, &mut wire).unwrap();

    for version in BOTH {
        let mut pair = Pair::connected(&context, site.client(None, &[version]));
        pair.client.writer().write_all(b"good").unwrap();
        let mut record = Vec::new();
        pair.client.write_tls(&mut record).unwrap();
        pair.client.writer().write_all(b"evil").unwrap();
        pair.client.write_tls(&mut record).unwrap();
        *record.last_mut().unwrap() ^= 1;
        pair.server
            .receive(&mut record, &mut pair.received, &mut pair.to_client)
            .unwrap_err();
        assert_eq!(pair.received, b"good");
        pair.settle(usize::MAX);
        assert!(matches!(
            pair.client_error,
            Some(rustls::Error::AlertReceived(_))
        ));
        assert!(pair.server.send(b"x", &mut Vec::new()).is_err());
    }
}

#[test]
fn a_handshake_message_without_end_is_bounded() {
    let site = Site::new();
    let context = site.context(&site.settings());
    let mut server = TlsStream::new(&context).unwrap();
    // A ClientHello that says it is as long as can be, in full records.
    let mut first = true;
    let mut sent = 0;
    loop {
        let mut record = vec![22, 3, 1, 0x40, 0];
        record.resize(5 + 0x4000, 0);
        if std::mem::take(&mut first) {
            record[5..9].copy_from_slice(&[1, 0xff, 0xff, 0xff]);
        }
        sent += record.len();
        if server
            .receive(&mut record, &mut Vec::new(), &mut Vec::new())
            .is_err()
        {
            break;
        }
        assert!(sent < 200_000, "{} bytes kept", server.buffered());
    }
    assert_eq!(server.buffered(), 0);
}

#[test]
fn client_certificates() {
    let site = Site::new();
    let client = site.authority.issue("device-7", &[]);
    let stranger = Authority::new("Other CA").issue("device-7", &[]);
    let optional = site.context(&site.mutual(false));
    let required = site.context(&site.mutual(true));
    for version in BOTH {
        for context in [&optional, &required] {
            let mut pair = Pair::connected(context, site.client(Some(&client), &[version]));
            pair.exchange();
            let cert = pair.server.peer_certificate().unwrap();
            assert_eq!(cert_username(cert, CertField::Cn).unwrap(), "device-7");
            let (server, _) = Pair::refused(context, site.client(Some(&stranger), &[version]));
            assert!(server.contains("certificate"), "{server}");
        }
        let mut pair = Pair::connected(&optional, site.client(None, &[version]));
        pair.exchange();
        assert!(pair.server.peer_certificate().is_none());
        Pair::refused(&required, site.client(None, &[version]));
    }
}

#[test]
fn verify_none_asks_for_no_certificate() {
    let site = Site::new();
    let client = site.authority.issue("device-7", &[]);
    let context = site.context(&site.settings());
    let pair = Pair::connected(&context, site.client(Some(&client), BOTH));
    assert!(pair.server.peer_certificate().is_none());
}

#[test]
fn a_client_refuses_a_server_of_another_authority() {
    let site = Site::new();
    let context = site.context(&site.settings());
    let other = Authority::new("Other CA");
    let mut pair = Pair::new(&context, Arc::new(client_of(&other, None, BOTH)));
    pair.settle(usize::MAX);
    let error = pair.server_error.unwrap().to_string();
    assert!(error.contains("UnknownCA"), "{error}");
}

#[test]
fn revoked_client_certificates() {
    let site = Site::new();
    let good = site.authority.issue("good", &[]);
    let bad = site.authority.issue("bad", &[]);
    site.dir.write("crl.pem", &site.authority.revoke(&[&bad]));
    let context = site.context(&Tls {
        crlfile: site.path("crl.pem"),
        ..site.mutual(true)
    });
    for version in BOTH {
        Pair::connected(&context, site.client(Some(&good), &[version])).exchange();
        let (server, _) = Pair::refused(&context, site.client(Some(&bad), &[version]));
        assert!(server.contains("Revoked"), "{server}");
    }
}

#[test]
fn revocation_lists_that_are_old_or_of_another_authority() {
    let site = Site::new();
    let good = site.authority.issue("good", &[]);
    let bad = site.authority.issue("bad", &[]);
    let settings = Tls {
        crlfile: site.path("crl.pem"),
        ..site.mutual(true)
    };
    // An old list still counts, and is told of.
    site.dir
        .write("crl.pem", &site.authority.revoke_until(2021, &[&bad]));
    let (context, warnings) = TlsContext::from_settings(&settings).unwrap();
    assert!(
        warnings.len() == 1 && warnings[0].contains("is out of date"),
        "{warnings:?}"
    );
    Pair::connected(&context, site.client(Some(&good), BOTH)).exchange();
    Pair::refused(&context, site.client(Some(&bad), BOTH));

    // Nobody speaks for the authority of the client: it is refused.
    site.dir
        .write("crl.pem", &Authority::new("Other CA").revoke(&[]));
    let context = site.context(&settings);
    let (server, _) = Pair::refused(&context, site.client(Some(&good), BOTH));
    assert!(server.contains("UnknownRevocationStatus"), "{server}");
}

#[test]
fn a_revocation_takes_effect_with_a_reload_for_resumed_sessions_too() {
    let site = Site::new();
    let client = site.authority.issue("device-7", &[]);
    site.dir.write("crl.pem", &site.authority.revoke(&[]));
    let context = site.context(&Tls {
        crlfile: site.path("crl.pem"),
        ..site.mutual(true)
    });
    for version in BOTH {
        let config = Arc::new(site.client(Some(&client), &[version]));
        let handshake = || {
            let mut pair = Pair::new(&context, Arc::clone(&config));
            pair.settle(usize::MAX);
            pair
        };
        assert_eq!(
            handshake().client.handshake_kind(),
            Some(rustls::HandshakeKind::Full)
        );
        let resumed = handshake();
        assert_eq!(
            resumed.client.handshake_kind(),
            Some(rustls::HandshakeKind::Resumed)
        );
        assert!(resumed.server.peer_certificate().is_some());

        site.dir
            .write("crl.pem", &site.authority.revoke(&[&client]));
        context.reload().unwrap();
        assert!(
            handshake()
                .server_error
                .unwrap()
                .to_string()
                .contains("Revoked")
        );
        site.dir.write("crl.pem", &site.authority.revoke(&[]));
        context.reload().unwrap();
    }
}

#[test]
fn resumption_can_be_switched_off() {
    let site = Site::new();
    let context = site.context(&Tls {
        reuse_sessions: false,
        ..site.settings()
    });
    for version in BOTH {
        let config = Arc::new(site.client(None, &[version]));
        for _ in 0..2 {
            let mut pair = Pair::new(&context, Arc::clone(&config));
            pair.settle(usize::MAX);
            assert_eq!(
                pair.client.handshake_kind(),
                Some(rustls::HandshakeKind::Full)
            );
        }
    }
}

#[test]
fn a_reload_leaves_connections_alone_and_serves_the_new_certificate() {
    let site = Site::new();
    let context = site.context(&site.settings());
    let mut old = Pair::connected(&context, site.client(None, BOTH));
    let served = |pair: &Pair| pair.client.peer_certificates().unwrap()[0].clone();
    let before = served(&old);
    assert!(!context.changed());

    site.issue_server();
    assert!(context.changed());
    assert_eq!(context.reload(), Ok(Vec::new()));
    assert!(!context.changed());
    assert_ne!(
        served(&Pair::connected(&context, site.client(None, BOTH))),
        before
    );
    old.exchange();
}

#[test]
fn a_bad_reload_keeps_the_old_certificate() {
    let site = Site::new();
    let context = site.context(&site.settings());
    let key = fs::read_to_string(site.dir.path("key.pem")).unwrap();
    for (name, text) in [("cert.pem", "nonsense"), ("cert.pem", "")] {
        let good = fs::read_to_string(site.dir.path(name)).unwrap();
        site.dir.write(name, text);
        assert!(context.changed());
        let error = context.reload().unwrap_err();
        assert!(
            error.contains("certfile") && error.contains(name),
            "{error}"
        );
        // The same error is not told again and again.
        assert!(!context.changed());
        Pair::connected(&context, site.client(None, BOTH)).exchange();
        site.dir.write(name, &good);
        assert!(context.changed());
        context.reload().unwrap();
    }

    // The moment between writing the two files of a renewal.
    let server = site.authority.issue("localhost", &["localhost"]);
    site.dir.write("cert.pem", &server.cert);
    let error = context.reload().unwrap_err();
    assert!(
        error.contains("is not the key of the certificate"),
        "{error}"
    );
    Pair::connected(&context, site.client(None, BOTH)).exchange();
    assert_ne!(server.key, key);
    site.dir.write("key.pem", &server.key);
    assert!(context.changed());
    context.reload().unwrap();
    Pair::connected(&context, site.client(None, BOTH)).exchange();

    fs::remove_file(site.dir.path("key.pem")).unwrap();
    assert!(context.changed());
    assert!(context.reload().unwrap_err().contains("cannot be read"));
    Pair::connected(&context, site.client(None, BOTH)).exchange();
}

#[test]
fn settings_that_cannot_work() {
    let site = Site::new();
    let error = |settings: Tls| TlsContext::from_settings(&settings).unwrap_err();
    let base = || site.settings();

    assert_eq!(
        error(Tls {
            certfile: None,
            ..base()
        }),
        "certfile is not set"
    );
    let missing = error(Tls {
        keyfile: site.path("nowhere.pem"),
        ..base()
    });
    assert!(
        missing.starts_with("keyfile ") && missing.contains("nowhere.pem"),
        "{missing}"
    );
    let swapped = error(Tls {
        keyfile: site.path("cert.pem"),
        ..base()
    });
    assert!(swapped.ends_with("holds no private key"), "{swapped}");
    let swapped = error(Tls {
        certfile: site.path("key.pem"),
        ..base()
    });
    assert!(swapped.contains("holds no certificate"), "{swapped}");

    let foreign = site.authority.issue("localhost", &["localhost"]);
    site.dir.write("foreign.pem", &foreign.key);
    let mismatch = error(Tls {
        keyfile: site.path("foreign.pem"),
        ..base()
    });
    assert!(
        mismatch.contains("foreign.pem") && mismatch.contains("cert.pem"),
        "{mismatch}"
    );

    for text in [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIBvTBX\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n\
         MIIBvTBX\n-----END RSA PRIVATE KEY-----\n",
    ] {
        site.dir.write("secret.pem", text);
        let encrypted = error(Tls {
            keyfile: site.path("secret.pem"),
            ..base()
        });
        assert!(encrypted.contains("is encrypted"), "{encrypted}");
    }

    let no_authority = error(Tls {
        verify_peer: true,
        ..base()
    });
    assert_eq!(no_authority, "verify = verify_peer needs cacertfile");
    let no_list = error(Tls {
        crlfile: site.path("cert.pem"),
        ..site.mutual(true)
    });
    assert!(no_list.contains("holds no revocation list"), "{no_list}");
}

#[test]
fn settings_without_effect_are_told() {
    let site = Site::new();
    let settings = Tls {
        fail_if_no_peer_cert: true,
        crlfile: site.path("no matter"),
        ..site.settings()
    };
    let (_, warnings) = TlsContext::from_settings(&settings).unwrap();
    assert_eq!(warnings.len(), 2);
    assert!(warnings[0].contains("fail_if_no_peer_cert") && warnings[1].contains("crlfile"));

    let old = site.authority.issue_expired("localhost");
    site.dir.write("cert.pem", &old.cert);
    site.dir.write("key.pem", &old.key);
    let (_, warnings) = TlsContext::from_settings(&site.settings()).unwrap();
    assert!(
        warnings.len() == 1 && warnings[0].contains("has expired"),
        "{warnings:?}"
    );
}

#[test]
fn certificate_and_key_in_one_file() {
    let site = Site::new();
    let server = site.authority.issue("localhost", &["localhost"]);
    site.dir
        .write("both.pem", &format!("{}{}", server.key, server.cert));
    let settings = Tls {
        keyfile: None,
        certfile: site.path("both.pem"),
        ..site.settings()
    };
    Pair::connected(&site.context(&settings), site.client(None, BOTH)).exchange();
}

#[test]
fn intermediates_come_from_certfile_or_cacertfile() {
    let site = Site::new();
    let intermediate = site.authority.intermediate("Intermediate CA");
    let server = intermediate.issue("localhost", &["localhost"]);
    site.dir.write("key.pem", &server.key);

    site.dir.write("cert.pem", &server.cert);
    let alone = site.context(&site.settings());
    let mut pair = Pair::new(&alone, Arc::new(site.client(None, BOTH)));
    pair.settle(usize::MAX);
    assert!(pair.client_error.is_some());

    let authorities = format!("{}{}", site.authority.pem(), intermediate.pem());
    site.dir.write("cacert.pem", &authorities);
    let settings = Tls {
        cacertfile: site.path("cacert.pem"),
        ..site.settings()
    };
    let pair = Pair::connected(&site.context(&settings), site.client(None, BOTH));
    assert_eq!(pair.client.peer_certificates().unwrap().len(), 2);

    site.dir.write(
        "cert.pem",
        &format!("{}{}", server.cert, intermediate.pem()),
    );
    Pair::connected(&site.context(&site.settings()), site.client(None, BOTH)).exchange();
    let pair = Pair::connected(&site.context(&settings), site.client(None, BOTH));
    assert_eq!(pair.client.peer_certificates().unwrap().len(), 2);
}

#[test]
fn ciphers_by_both_names() {
    let site = Site::new();
    let with = |ciphers: &[&str]| Tls {
        ciphers: ciphers.iter().map(|&name| name.to_owned()).collect(),
        ..site.settings()
    };
    let negotiated = |settings: &Tls, version| {
        let (context, _) = TlsContext::from_settings(settings).unwrap();
        let pair = Pair::connected(&context, site.client(None, &[version]));
        pair.client.negotiated_cipher_suite().unwrap().suite()
    };
    use rustls::CipherSuite as Suite;
    for name in [
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    ] {
        let settings = with(&["AES128-SHA", name]);
        assert_eq!(
            negotiated(&settings, &version::TLS12),
            Suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        );
        // A list of TLS 1.2 ciphers does not speak of TLS 1.3.
        negotiated(&settings, &version::TLS13);
        let (_, warnings) = TlsContext::from_settings(&settings).unwrap();
        assert!(
            warnings.len() == 1 && warnings[0].ends_with(": AES128-SHA"),
            "{warnings:?}"
        );
    }
    let settings = with(&["ECDHE-ECDSA-AES128-GCM-SHA256:TLS_CHACHA20_POLY1305_SHA256"]);
    assert_eq!(
        negotiated(&settings, &version::TLS13),
        Suite::TLS13_CHACHA20_POLY1305_SHA256
    );

    let old = with(&["DES-CBC3-SHA", "RC4-MD5"]);
    let (_, warnings) = TlsContext::from_settings(&old).unwrap();
    assert!(warnings[0].contains("DES-CBC3-SHA, RC4-MD5") && warnings[1].contains("TLS 1.2"));
    let error = TlsContext::from_settings(&Tls {
        tls13: false,
        ..old
    })
    .unwrap_err();
    assert!(error.contains("ciphers"), "{error}");
}

#[test]
fn order_of_ciphers() {
    let site = Site::new();
    let suite = |honor_cipher_order, server: &[&str]| {
        let settings = Tls {
            ciphers: server.iter().map(|&name| name.to_owned()).collect(),
            honor_cipher_order,
            ..site.settings()
        };
        let (context, _) = TlsContext::from_settings(&settings).unwrap();
        let pair = Pair::connected(&context, site.client(None, &[&version::TLS13]));
        format!(
            "{:?}",
            pair.client.negotiated_cipher_suite().unwrap().suite()
        )
    };
    let reversed = ["TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_256_GCM_SHA384"];
    assert_eq!(suite(true, &reversed), "TLS13_CHACHA20_POLY1305_SHA256");
    assert_eq!(suite(false, &reversed), "TLS13_AES_256_GCM_SHA384");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn any_split_of_the_wire_gives_the_same(chunk in 1usize..600, sizes in proptest::collection::vec(0usize..20_000, 1..6)) {
        let site = Site::new();
        let context = site.context(&site.mutual(true));
        let client = site.authority.issue("device", &[]);
        for version in BOTH {
            let mut pair = Pair::new(&context, Arc::new(site.client(Some(&client), &[version])));
            let mut sent = Vec::new();
            for (i, size) in sizes.iter().enumerate() {
                let data = vec![i as u8; *size];
                pair.client.writer().write_all(&data).unwrap();
                sent.extend(data);
                pair.settle(chunk);
            }
            prop_assert_eq!(&pair.server_error, &None);
            prop_assert!(pair.received == sent);
        }
    }
}
