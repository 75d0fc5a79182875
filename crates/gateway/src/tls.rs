//! TLS of a gateway's listener.

use emqttd_config::Tls;
use emqttd_plugin_sdk::{Config, StartError};
use emqttd_tls::TlsContext;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio_rustls::TlsAcceptor;

/// How often the files are looked at; only when somebody connects.
const LOOK_AT_FILES: Duration = Duration::from_secs(10);
/// `handshake_timeout` when the configuration has none.
const HANDSHAKE: Duration = Duration::from_secs(15);

/// Reads the keys of TLS that stand behind `prefix`, such as `stomp.listener.`: keyfile, certfile, cacertfile,
/// crlfile, verify, fail_if_no_peer_cert, tls_versions, ciphers, reuse_sessions, honor_cipher_order,
/// handshake_timeout. The files themselves are read when the listener opens.
///
/// # Errors
/// When the certificate or its key is not named, or nobody who signs clients' certificates.
pub fn tls_settings(config: &Config, prefix: &str) -> Result<Tls, StartError> {
    let text = |name: &str| {
        let text = config.text(&format!("{prefix}{name}")).map(str::trim);
        text.filter(|text| !text.is_empty())
    };
    let switch = |name: &str| config.switch(&format!("{prefix}{name}"));
    let file = |name: &str| text(name).map(PathBuf::from);
    let needed = |name: &str| {
        file(name).ok_or_else(|| StartError(format!("{prefix}{name} is missing: TLS needs it")))
    };
    let versions = text("tls_versions").unwrap_or("tlsv1.3,tlsv1.2");
    let offered = |version: &str| versions.split(',').any(|word| word.trim() == version);
    let verify_peer = text("verify") == Some("verify_peer");
    let cacertfile = file("cacertfile");
    if verify_peer && cacertfile.is_none() {
        return Err(StartError(format!(
            "{prefix}cacertfile is missing: clients' certificates are checked against it"
        )));
    }
    let ciphers = text("ciphers").unwrap_or_default().split([',', ':']);
    Ok(Tls {
        keyfile: Some(needed("keyfile")?),
        certfile: Some(needed("certfile")?),
        cacertfile,
        crlfile: file("crlfile"),
        verify_peer,
        fail_if_no_peer_cert: switch("fail_if_no_peer_cert").unwrap_or(false),
        tls12: offered("tlsv1.2"),
        tls13: offered("tlsv1.3"),
        ciphers: ciphers
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(str::to_string)
            .collect(),
        reuse_sessions: switch("reuse_sessions").unwrap_or(true),
        honor_cipher_order: switch("honor_cipher_order").unwrap_or(false),
        handshake_timeout: config
            .duration(&format!("{prefix}handshake_timeout"))
            .unwrap_or(HANDSHAKE),
    })
}

/// TLS of one listener, with certificates that follow their files.
pub(crate) struct Secured {
    context: TlsContext,
    pub handshake_timeout: Duration,
    looked_at: Mutex<Instant>,
}

impl Secured {
    /// Reads the files; `name` is the listener's, for warnings.
    pub fn new(settings: &Tls, name: &str) -> Result<Secured, String> {
        let (context, warnings) = TlsContext::from_settings(settings)?;
        for warning in warnings {
            log::warn!("{name}: {warning}");
        }
        Ok(Secured {
            context,
            handshake_timeout: settings.handshake_timeout,
            looked_at: Mutex::new(Instant::now()),
        })
    }

    /// For a connection that comes now.
    pub fn acceptor(&self, name: &str) -> TlsAcceptor {
        self.look_at_files(name);
        TlsAcceptor::from(self.context.config())
    }

    /// Takes up changed certificates. New connections use them; old ones keep theirs.
    fn look_at_files(&self, name: &str) {
        {
            let mut looked_at = self.looked_at.lock();
            if looked_at.elapsed() < LOOK_AT_FILES {
                return;
            }
            *looked_at = Instant::now();
        }
        if !self.context.changed() {
            return;
        }
        match self.context.reload() {
            Ok(warnings) => {
                log::info!("{name}: certificates reloaded");
                for warning in warnings {
                    log::warn!("{name}: {warning}");
                }
            }
            Err(error) => log::error!("{name}: certificates stay as they were: {error}"),
        }
    }
}
