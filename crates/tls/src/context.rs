//! What the connections of one listener share: certificate, key, versions, who may come in.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use emqttd_config::Tls;
use parking_lot::Mutex;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use x509_parser::prelude::{
    ASN1Time, CertificateRevocationList, FromDer as _, SubjectPublicKeyInfo, X509Certificate,
};

use crate::ciphers;
use crate::files::{Fingerprint, PemFile};

/// Most intermediate certificates that are looked for in `cacertfile`.
const MAX_CHAIN: usize = 8;

/// What the connections of one listener share.
///
/// A connection takes the configuration of the moment at which it is accepted and keeps it, so
/// that [`reload`](TlsContext::reload) disturbs no client.
#[derive(Debug)]
pub struct TlsContext {
    settings: Tls,
    config: ArcSwap<ServerConfig>,
    credentials: ArcSwap<Credentials>,
    fingerprint: Mutex<Fingerprint>,
}

/// Who we are, and whom we let in.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// our certificates, the own one first, and its key
    pub identity: Arc<CertifiedKey>,
    /// checks the certificates of clients, where they are asked for
    pub verifier: Arc<dyn ClientCertVerifier>,
}

impl TlsContext {
    /// Reads the files. Beside the context come warnings, a sentence each: what was accepted but
    /// has no effect or is about to fail.
    ///
    /// # Errors
    /// One sentence that names the key or file and what is wrong with it.
    pub fn from_settings(settings: &Tls) -> Result<(TlsContext, Vec<String>), String> {
        let fingerprint = fingerprint(settings);
        let (config, credentials, warnings) = build(settings)?;
        let context = TlsContext {
            settings: settings.clone(),
            config: ArcSwap::from_pointee(config),
            credentials: ArcSwap::from_pointee(credentials),
            fingerprint: Mutex::new(fingerprint),
        };
        Ok((context, warnings))
    }

    /// The files it is made of.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        files(&self.settings)
    }

    /// The configuration of now.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    /// What it is made of now, for a protocol that is not rustls' own.
    pub fn credentials(&self) -> Arc<Credentials> {
        self.credentials.load_full()
    }

    /// Whether a file is another than when it was last read. Costs a `stat` call for each.
    pub fn changed(&self) -> bool {
        fingerprint(&self.settings) != *self.fingerprint.lock()
    }

    /// Reads the files again and takes what they hold for the connections to come; returns
    /// warnings as [`from_settings`](TlsContext::from_settings) does. Tickets of sessions from
    /// before are not honoured any more: those clients show their certificates again.
    ///
    /// # Errors
    /// As `from_settings`. The old configuration stays, and `changed` is false until a file
    /// changes once more.
    pub fn reload(&self) -> Result<Vec<String>, String> {
        // Taken before reading: what changes meanwhile is seen the next time.
        *self.fingerprint.lock() = fingerprint(&self.settings);
        let (config, credentials, warnings) = build(&self.settings)?;
        self.config.store(Arc::new(config));
        self.credentials.store(Arc::new(credentials));
        Ok(warnings)
    }
}

/// The files that make up these settings.
pub fn files(settings: &Tls) -> impl Iterator<Item = &PathBuf> {
    let files = [
        &settings.keyfile,
        &settings.certfile,
        &settings.cacertfile,
        &settings.crlfile,
    ];
    files.into_iter().flatten()
}

fn fingerprint(settings: &Tls) -> Fingerprint {
    Fingerprint::of(files(settings))
}

fn build(settings: &Tls) -> Result<(ServerConfig, Credentials, Vec<String>), String> {
    let mut warnings = Vec::new();
    let cipher_suites = ciphers::choose(
        &settings.ciphers,
        settings.tls12,
        settings.tls13,
        &mut warnings,
    )?;
    // A version without a suite would make rustls refuse the whole.
    let versions: Vec<&SupportedProtocolVersion> = [&version::TLS13, &version::TLS12]
        .into_iter()
        .filter(|version| {
            cipher_suites
                .iter()
                .any(|suite| *suite.version() == **version)
        })
        .collect();
    let provider = Arc::new(CryptoProvider {
        cipher_suites,
        ..provider::default_provider()
    });

    let authorities = match &settings.cacertfile {
        Some(path) => PemFile {
            key: "cacertfile",
            path,
        }
        .certificates()?,
        None => Vec::new(),
    };
    let identity = identity(settings, &authorities, &provider, &mut warnings)?;
    let credentials = Credentials {
        identity: Arc::new(identity),
        verifier: verifier(settings, authorities, &provider, &mut warnings)?,
    };

    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|error| format!("TLS cannot be set up: {error}"))?
        .with_client_cert_verifier(Arc::clone(&credentials.verifier))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(
            &credentials.identity,
        ))));
    config.ignore_client_order = settings.honor_cipher_order;
    // Nothing is remembered for a session but its ticket, which the client keeps.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if settings.reuse_sessions {
        config.ticketer = provider::Ticketer::new()
            .map_err(|error| format!("TLS session tickets cannot be set up: {error}"))?;
        config.send_tls13_tickets = 1;
    } else {
        config.send_tls13_tickets = 0;
    }
    Ok((config, credentials, warnings))
}

/// Certificate chain and key, which have to belong to each other.
fn identity(
    settings: &Tls,
    authorities: &[CertificateDer<'static>],
    provider: &CryptoProvider,
    warnings: &mut Vec<String>,
) -> Result<CertifiedKey, String> {
    let path = settings.certfile.as_ref().ok_or("certfile is not set")?;
    let cert_file = PemFile {
        key: "certfile",
        path,
    };
    // As in EMQ a certfile may hold the key too.
    let key_file = match &settings.keyfile {
        Some(path) => PemFile {
            key: "keyfile",
            path,
        },
        None => cert_file,
    };
    let mut chain = cert_file.certificates()?;
    let key = provider
        .key_provider
        .load_private_key(key_file.private_key()?)
        .map_err(|error| key_file.problem(format_args!("holds an unusable key: {error}")))?;

    let (_, leaf) = X509Certificate::from_der(&chain[0])
        .map_err(|error| cert_file.problem(format_args!("holds no valid certificate: {error}")))?;
    if !belongs_to(&leaf, key.as_ref()) {
        return Err(key_file.problem(format_args!(
            "is not the key of the certificate in {}",
            cert_file.path.display()
        )));
    }
    if leaf.validity().not_after < ASN1Time::now() {
        warnings.push(cert_file.problem(format_args!(
            "has expired ({}): clients that check it will not connect",
            leaf.validity().not_after
        )));
    }
    complete(&mut chain, authorities);
    Ok(CertifiedKey::new(chain, key))
}

/// Compares public keys. rustls would do it too, but it does not read certificates of X.509
/// version 1, which old instructions make and which serve well enough.
fn belongs_to(cert: &X509Certificate<'_>, key: &dyn SigningKey) -> bool {
    let Some(public) = key.public_key() else {
        // A kind of key that does not tell; the handshake will.
        return true;
    };
    SubjectPublicKeyInfo::from_der(&public).is_ok_and(|(_, public)| {
        public.subject_public_key.data == cert.public_key().subject_public_key.data
    })
}

/// Adds the intermediate certificates that only `cacertfile` holds, as Erlang's TLS did: a
/// client that knows the root alone needs them.
fn complete(chain: &mut Vec<CertificateDer<'static>>, authorities: &[CertificateDer<'static>]) {
    while chain.len() < MAX_CHAIN {
        let next = chain.last().and_then(|last| {
            let (_, last) = X509Certificate::from_der(last).ok()?;
            authorities.iter().find(|candidate| {
                X509Certificate::from_der(candidate).is_ok_and(|(_, candidate)| {
                    let is_root = candidate.subject().as_raw() == candidate.issuer().as_raw();
                    !is_root && candidate.subject().as_raw() == last.issuer().as_raw()
                })
            })
        });
        match next {
            Some(next) if !chain.contains(next) => chain.push(next.clone()),
            _ => break,
        }
    }
}

/// Who checks the certificates of clients, and whether one has to come at all.
fn verifier(
    settings: &Tls,
    authorities: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
    warnings: &mut Vec<String>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    if !settings.verify_peer {
        if settings.fail_if_no_peer_cert {
            warnings.push("fail_if_no_peer_cert has no effect without verify = verify_peer".into());
        }
        if settings.crlfile.is_some() {
            warnings.push("crlfile has no effect without verify = verify_peer".into());
        }
        return Ok(WebPkiClientVerifier::no_client_auth());
    }
    let path = settings
        .cacertfile
        .as_ref()
        .ok_or("verify = verify_peer needs cacertfile")?;
    let file = PemFile {
        key: "cacertfile",
        path,
    };
    let mut roots = RootCertStore::empty();
    let (_, ignored) = roots.add_parsable_certificates(authorities);
    if roots.is_empty() {
        return Err(file.problem("holds no usable certificate"));
    }
    if ignored > 0 {
        warnings.push(file.problem(format_args!(
            "holds {ignored} certificates that are not usable"
        )));
    }
    let mut builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    if !settings.fail_if_no_peer_cert {
        builder = builder.allow_unauthenticated();
    }
    let crl_file = settings.crlfile.as_ref().map(|path| PemFile {
        key: "crlfile",
        path,
    });
    if let Some(file) = crl_file {
        // As OpenSSL's CRL check: the client's own certificate is looked up, and when no list
        // speaks for its issuer it is refused.
        let lists = file.revocation_lists()?;
        if lists.iter().any(|list| is_outdated(list)) {
            warnings.push(file.problem("is out of date: it counts until there is a newer one"));
        }
        builder = builder.with_crls(lists).only_check_end_entity_revocation();
    }
    builder.build().map_err(|error| {
        crl_file
            .unwrap_or(file)
            .problem(format_args!("cannot be used: {error}"))
    })
}

/// Whether a revocation list says that a newer one should be there by now.
fn is_outdated(list: &[u8]) -> bool {
    CertificateRevocationList::from_der(list)
        .ok()
        .and_then(|(_, list)| list.next_update())
        .is_some_and(|next| next < ASN1Time::now())
}
