//! TLS on the server's side, without a socket (rustls).

use std::sync::Arc;

use emqttd_config::{CertField, ListenerKind, Tls};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;

/// What the connections of one listener share: certificate, key, versions, who may come in.
///
/// Connections take the configuration of the moment at which they are accepted and keep it.
#[derive(Debug)]
pub struct TlsContext {}

impl TlsContext {
    /// Reads the files. The error is one sentence that names the file and what is wrong.
    pub fn from_settings(settings: &Tls, kind: ListenerKind) -> Result<TlsContext, String> {
        let _ = (settings, kind);
        unimplemented!()
    }

    /// What was accepted but has no effect (ciphers we do not have), a sentence each.
    pub fn warnings(&self) -> Vec<String> {
        unimplemented!()
    }

    /// The configuration of now.
    pub fn config(&self) -> Arc<ServerConfig> {
        unimplemented!()
    }

    /// Whether a file differs (time or length) from when it was last read. A few `stat` calls.
    pub fn changed(&self) -> bool {
        unimplemented!()
    }

    /// Reads the files again. On an error the old configuration stays, and `changed` is false
    /// until a file changes again.
    pub fn reload(&self) -> Result<(), String> {
        unimplemented!()
    }
}

/// One TLS connection: bytes in, bytes out.
#[derive(Debug)]
pub struct TlsStream {}

impl TlsStream {
    /// A connection that has not begun its handshake.
    pub fn new(context: &TlsContext) -> Result<TlsStream, TlsError> {
        let _ = context;
        unimplemented!()
    }

    /// Takes bytes off the wire; returns how many were taken. When fewer than given, take the
    /// plain text with [`read_plain`](Self::read_plain) and call again with the rest.
    ///
    /// After an error send what [`pending_output`](Self::pending_output) gives (the alert), then close.
    pub fn read_tls(&mut self, input: &[u8]) -> Result<usize, TlsError> {
        let _ = input;
        unimplemented!()
    }

    /// Copies decrypted bytes to `out`; 0 = none left.
    pub fn read_plain(&mut self, out: &mut [u8]) -> usize {
        let _ = out;
        unimplemented!()
    }

    /// Encrypts all of `data`, appending the records to `out`.
    pub fn write_plain(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), TlsError> {
        let _ = (data, out);
        unimplemented!()
    }

    /// Appends what TLS itself has to send (handshake, alerts, tickets).
    pub fn pending_output(&mut self, out: &mut Vec<u8>) {
        let _ = out;
        unimplemented!()
    }

    /// Until the handshake is complete.
    pub fn is_handshaking(&self) -> bool {
        unimplemented!()
    }

    /// The client has sent close_notify: no more plain text will come.
    pub fn peer_has_closed(&self) -> bool {
        unimplemented!()
    }

    /// Queues a close_notify for [`pending_output`](Self::pending_output).
    pub fn close_notify(&mut self) {
        unimplemented!()
    }

    /// The client's certificate, once the handshake is complete.
    pub fn peer_certificate(&self) -> Option<&CertificateDer<'static>> {
        unimplemented!()
    }
}

/// Why a connection is given up; shown in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsError(pub String);

/// The username that `peer_cert_as_username` takes from a client certificate.
///
/// The error is a reason for the log: the client has to be refused.
pub fn cert_username(cert: &CertificateDer<'_>, field: CertField) -> Result<String, String> {
    let _ = (cert, field);
    unimplemented!()
}
