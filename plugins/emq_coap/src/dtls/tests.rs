//! Handshakes with others: dimpl in memory, over a network that loses and repeats; libcoap and OpenSSL as programs.
#![allow(clippy::unwrap_used)]

mod network;
mod programs;

use super::{Dtls, Output};
use emqttd_plugin_sdk::testing::FakeBroker;
use emqttd_plugin_sdk::{Config, Context, Descriptor, StartError};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// The files of a server, and the keys that name them.
struct Site {
    dir: tempfile::TempDir,
    keys: Vec<(&'static str, String)>,
}

impl Site {
    fn new() -> Site {
        Site {
            dir: tempfile::tempdir().unwrap(),
            keys: Vec::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn set(&mut self, key: &'static str, value: impl Into<String>) {
        self.keys.push((key, value.into()));
    }

    /// Writes a file that a key names.
    fn file(&mut self, key: &'static str, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
        let path = self.path(name).display().to_string();
        self.set(key, path);
    }

    fn psk(mut self, text: &str) -> Site {
        self.file("coap.dtls.psk_file", "psk", text);
        self
    }

    fn config(&self) -> Config {
        let pairs: Vec<(&str, &str)> = self.keys.iter().map(|(k, v)| (*k, v.as_str())).collect();
        Config::of(&pairs)
    }

    /// DTLS as these keys have it.
    fn try_open(&self, most: usize) -> Result<Option<Opened>, StartError> {
        let place: Arc<Mutex<Option<Dtls>>> = Arc::default();
        let keep = Arc::clone(&place);
        let plugin = Descriptor::new("emq_coap", "1", "", move |ctx: &Context| {
            *keep.lock().unwrap() = Dtls::open(ctx, most)?;
            Ok(Box::new(()))
        });
        let broker = FakeBroker::new();
        broker.start(&plugin, self.config())?;
        let dtls = place.lock().unwrap().take();
        Ok(dtls.map(|dtls| Opened { dtls, broker }))
    }

    fn open(&self) -> Opened {
        self.try_open(100).unwrap().unwrap()
    }
}

/// A certificate authority.
struct Authority {
    certificate: rcgen::Certificate,
    params: rcgen::CertificateParams,
    key: rcgen::KeyPair,
}

impl Authority {
    fn new() -> Authority {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "Test CA");
        let key = rcgen::KeyPair::generate().unwrap();
        Authority {
            certificate: params.self_signed(&key).unwrap(),
            params,
            key,
        }
    }

    fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate with that common name, and its key.
    fn issue(&self, name: &str) -> (rcgen::Certificate, rcgen::KeyPair) {
        let mut params = rcgen::CertificateParams::new(["localhost".to_string()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().unwrap();
        let issuer = rcgen::Issuer::from_params(&self.params, &self.key);
        (params.signed_by(&key, &issuer).unwrap(), key)
    }
}

impl Site {
    /// With a certificate of that authority.
    fn certificate(mut self, authority: &Authority) -> Site {
        let (certificate, key) = authority.issue("localhost");
        self.file("coap.certfile", "cert.pem", &certificate.pem());
        self.file("coap.keyfile", "key.pem", &key.serialize_pem());
        self
    }

    /// Clients have to show one of that authority.
    fn verify(mut self, authority: &Authority) -> Site {
        self.file("coap.dtls.cacertfile", "ca.pem", &authority.pem());
        self.set("coap.dtls.verify", "verify_peer");
        self
    }
}

/// A server, and the broker that has its counters.
struct Opened {
    dtls: Dtls,
    broker: FakeBroker,
}
