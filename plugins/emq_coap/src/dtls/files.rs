//! The files of DTLS, as the configuration names them.

use super::handshake::Offer;
use super::psk::Keys;
use emqttd_config::Tls;
use emqttd_plugin_sdk::{Config, StartError};
use emqttd_tls::TlsContext;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Where certificate and keys come from.
pub(super) struct Files {
    tls: Option<TlsContext>,
    psk: Option<(PathBuf, Option<SystemTime>)>,
}

/// Where DTLS is opened: `coap.dtls.port`, of which a port alone is at the address of `coap.port`.
pub(crate) fn listen_on(config: &Config) -> String {
    let own = config.text("coap.dtls.port").unwrap_or("5684").trim();
    let plain = config.text("coap.port").unwrap_or_default().trim();
    match plain.rsplit_once(':') {
        Some((ip, _)) if !own.contains(':') => format!("{ip}:{own}"),
        _ => own.to_string(),
    }
}

impl Files {
    /// Reads the files that the configuration names, and the keys; `None` = it names none that are there.
    pub fn open(config: &Config) -> Result<Option<(Files, Keys)>, StartError> {
        let tls = certificate(config)?;
        let psk = file(config, "coap.dtls.psk_file");
        let keys = match &psk {
            None => Keys::default(),
            Some(path) => {
                Keys::read(path).map_err(|why| StartError(format!("coap.dtls.psk_file: {why}")))?
            }
        };
        if tls.is_none() && psk.is_none() {
            return Ok(None);
        }
        let psk = psk.map(|path| {
            let modified = modified(&path);
            (path, modified)
        });
        Ok(Some((Files { tls, psk }, keys)))
    }

    /// What handshakes from now on have.
    pub fn offer(&self, keys: Arc<Keys>) -> Offer {
        Offer {
            credentials: self.tls.as_ref().map(TlsContext::credentials),
            keys,
        }
    }

    /// Reads again what has changed; the keys of now, if anything has. What cannot be used stays as it was.
    pub fn changed(&mut self, keys: &Arc<Keys>) -> Option<Arc<Keys>> {
        let mut now = None;
        if let Some(tls) = self.tls.as_ref().filter(|tls| tls.changed()) {
            match tls.reload() {
                Ok(warnings) => {
                    log::info!("coap:dtls: certificates reloaded");
                    warnings.iter().for_each(|w| log::warn!("coap:dtls: {w}"));
                    now = Some(Arc::clone(keys));
                }
                Err(why) => log::error!("coap:dtls: certificates stay as they were: {why}"),
            }
        }
        if let Some((path, read)) = &mut self.psk {
            let modified = modified(path);
            if modified != *read {
                *read = modified;
                match Keys::read(path) {
                    Ok(keys) => {
                        log::info!("coap:dtls: {} pre-shared keys", keys.len());
                        now = Some(Arc::new(keys));
                    }
                    Err(why) => log::error!("coap:dtls: keys stay as they were: {why}"),
                }
            }
        }
        now
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path)
        .and_then(|meta| meta.modified())
        .ok()
}

fn file(config: &Config, key: &str) -> Option<PathBuf> {
    let text = config.text(key).map(str::trim);
    text.filter(|text| !text.is_empty()).map(PathBuf::from)
}

/// The certificate with its key. As with EMQ there is none when a file is missing: its configuration names files that
/// few ever made.
fn certificate(config: &Config) -> Result<Option<TlsContext>, StartError> {
    let (keyfile, certfile) = match (file(config, "coap.keyfile"), file(config, "coap.certfile")) {
        (Some(key), Some(cert)) => (key, cert),
        _ => return Ok(None),
    };
    for path in [&keyfile, &certfile] {
        if !path.exists() {
            log::warn!(
                "coap:dtls: there is no {}: DTLS goes without a certificate",
                path.display()
            );
            return Ok(None);
        }
    }
    let verify_peer = config.text("coap.dtls.verify").map(str::trim) == Some("verify_peer");
    let settings = Tls {
        keyfile: Some(keyfile),
        certfile: Some(certfile),
        cacertfile: file(config, "coap.dtls.cacertfile"),
        verify_peer,
        fail_if_no_peer_cert: verify_peer,
        tls12: true,
        tls13: true,
        ..Tls::default()
    };
    let (context, warnings) = TlsContext::from_settings(&settings)
        .map_err(|why| StartError(format!("coap.keyfile, coap.certfile: {why}")))?;
    for warning in warnings {
        log::warn!("coap:dtls: {warning}");
    }
    Ok(Some(context))
}
