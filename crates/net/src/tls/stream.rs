//! One TLS connection: bytes in, bytes out.

use std::fmt;

use emqttd_tls::TlsContext;
use rustls::pki_types::CertificateDer;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};

/// Most bytes that are kept for a handshake message or record that has not come whole: the
/// longest handshake message rustls' own buffers take (64 KB) and a record.
const MAX_PARTIAL: usize = 64 * 1024 + MAX_RECORD;
/// Longest record on the wire (RFC 5246, 6.2.3).
const MAX_RECORD: usize = 5 + 16 * 1024 + 2048;
/// Longest plain text of a record.
const FRAGMENT: usize = 16 * 1024;
/// More than any cipher suite adds to a record.
const RECORD_OVERHEAD: usize = 64;

/// One TLS connection between a socket and the layers above.
///
/// It keeps nothing but the keys and, between two reads, the bytes of a record that is not
/// complete; what it produces goes straight to the caller's buffers.
pub struct TlsStream {
    /// Boxed: it is large, and most connections are not TLS.
    connection: Box<UnbufferedServerConnection>,
    /// The beginning of a record (or handshake message) whose end has not come.
    partial: Vec<u8>,
    peer_has_closed: bool,
    failed: bool,
}

impl TlsStream {
    /// A connection that has not begun its handshake.
    ///
    /// # Errors
    /// When rustls refuses the configuration, which `TlsContext` has checked already.
    pub fn new(context: &TlsContext) -> Result<TlsStream, TlsError> {
        Ok(TlsStream {
            connection: Box::new(UnbufferedServerConnection::new(context.config())?),
            partial: Vec::new(),
            peer_has_closed: false,
            failed: false,
        })
    }

    /// Takes all of `input` off the wire, decrypting in place. The plain text is appended to
    /// `plain` (never more bytes than have come), what TLS itself has to send (handshake, alerts,
    /// tickets) to `wire`.
    ///
    /// # Errors
    /// The connection is over. `plain` holds what came before; `wire` holds the alert, which
    /// should be sent before closing.
    pub fn receive(
        &mut self,
        input: &mut [u8],
        plain: &mut Vec<u8>,
        wire: &mut Vec<u8>,
    ) -> Result<(), TlsError> {
        if self.failed || self.peer_has_closed {
            return Ok(());
        }
        let result = if self.partial.is_empty() {
            let (used, result) = self.process(input, plain, wire);
            self.partial = input[used..].to_vec();
            result
        } else {
            let mut buffer = std::mem::take(&mut self.partial);
            buffer.extend_from_slice(input);
            let (used, result) = self.process(&mut buffer, plain, wire);
            buffer.drain(..used);
            buffer.shrink_to_fit();
            self.partial = buffer;
            result
        };
        let too_long = self.partial.len() > MAX_PARTIAL;
        if result.is_err() || too_long || self.peer_has_closed {
            self.partial = Vec::new();
            self.failed |= !self.peer_has_closed;
        }
        if too_long {
            return result.and(Err(TlsError("handshake message too long".to_owned())));
        }
        result
    }

    /// Encrypts all of `data`, appending the records to `wire`.
    ///
    /// # Errors
    /// Before the handshake is complete, after a failure, or when the keys are used up.
    pub fn send(&mut self, data: &[u8], wire: &mut Vec<u8>) -> Result<(), TlsError> {
        self.while_writing(wire, |traffic, wire| {
            let start = wire.len();
            let records = data.len().div_ceil(FRAGMENT).max(1);
            wire.resize(start + data.len() + records * RECORD_OVERHEAD, 0);
            let mut result = traffic.encrypt(data, &mut wire[start..]);
            if let Err(EncryptError::InsufficientSize(needed)) = &result {
                wire.resize(start + needed.required_size, 0);
                result = traffic.encrypt(data, &mut wire[start..]);
            }
            wire.truncate(start + *result.as_ref().unwrap_or(&0));
            result.map(drop)
        })
    }

    /// Appends a close_notify to `wire`: the last thing to send on a connection that ends well.
    /// Nothing is appended when the handshake is not complete or the connection has failed.
    pub fn close_notify(&mut self, wire: &mut Vec<u8>) {
        let appended = self.while_writing(wire, |traffic, wire| {
            let start = wire.len();
            wire.resize(start + RECORD_OVERHEAD, 0);
            let result = traffic.queue_close_notify(&mut wire[start..]);
            wire.truncate(start + *result.as_ref().unwrap_or(&0));
            result.map(drop)
        });
        // Without keys there is nobody to say goodbye to.
        drop(appended);
    }

    /// Until the handshake is complete.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// The client has sent close_notify: no more plain text will come.
    pub fn peer_has_closed(&self) -> bool {
        self.peer_has_closed
    }

    /// The client's certificate, once the handshake is complete.
    pub fn peer_certificate(&self) -> Option<&CertificateDer<'static>> {
        self.connection.peer_certificates()?.first()
    }

    /// Bytes kept for a record that is not complete.
    pub fn buffered(&self) -> usize {
        self.partial.capacity()
    }

    /// Lets rustls go through `buffer` as far as it can; the answer is how many bytes it is done
    /// with.
    fn process(
        &mut self,
        buffer: &mut [u8],
        plain: &mut Vec<u8>,
        wire: &mut Vec<u8>,
    ) -> (usize, Result<(), TlsError>) {
        let mut used = 0;
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.connection.process_tls_records(&mut buffer[used..]);
            let result = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        plain.extend_from_slice(record.payload);
                        discard += record.discard;
                    }
                    None
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(wire, |room| data.encode(room));
                    None
                }
                Ok(ConnectionState::TransmitTlsData(transmit)) => {
                    transmit.done();
                    None
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.peer_has_closed = true;
                    None
                }
                // Early data is not offered, the other states wait for somebody else.
                Ok(_) => Some(Ok(())),
                Err(error) => {
                    self.flush_alert(wire);
                    Some(Err(error.into()))
                }
            };
            used += discard;
            if let Some(result) = result {
                return (used, result);
            }
        }
    }

    /// After an error: takes out the alert that tells the client, and nothing else. rustls must not
    /// be shown the bad record again.
    fn flush_alert(&mut self, wire: &mut Vec<u8>) {
        while self.connection.wants_write() {
            match self.connection.process_tls_records(&mut []).state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(wire, |room| data.encode(room));
                }
                _ => return,
            }
        }
    }

    /// Calls `write` as soon as rustls can encrypt, after everything it wants to send itself.
    fn while_writing(
        &mut self,
        wire: &mut Vec<u8>,
        mut write: impl FnMut(&mut WriteTraffic<'_>, &mut Vec<u8>) -> Result<(), EncryptError>,
    ) -> Result<(), TlsError> {
        if self.failed {
            return Err(TlsError("the connection has failed".to_owned()));
        }
        loop {
            let UnbufferedStatus { discard, state } =
                self.connection.process_tls_records(&mut self.partial);
            let result = match state.inspect_err(|_| self.failed = true)? {
                ConnectionState::EncodeTlsData(mut data) => {
                    append(wire, |room| data.encode(room));
                    None
                }
                ConnectionState::TransmitTlsData(transmit) => {
                    transmit.done();
                    None
                }
                ConnectionState::PeerClosed => {
                    self.peer_has_closed = true;
                    None
                }
                ConnectionState::WriteTraffic(mut traffic) => {
                    Some(write(&mut traffic, wire).map_err(|error| TlsError(error.to_string())))
                }
                // No plain text can come of a record that was not complete before either.
                _ => Some(Err(TlsError("the handshake is not complete".to_owned()))),
            };
            self.partial.drain(..discard);
            if let Some(result) = result {
                return result;
            }
        }
    }
}

type WriteTraffic<'a> = rustls::unbuffered::WriteTraffic<'a, rustls::server::ServerConnectionData>;

/// Appends what `encode` writes; it tells how much room it needs.
fn append(wire: &mut Vec<u8>, mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>) {
    let start = wire.len();
    let mut written = encode(&mut []);
    if let Err(EncodeError::InsufficientSize(needed)) = &written {
        wire.resize(start + needed.required_size, 0);
        written = encode(&mut wire[start..]);
    }
    wire.truncate(start + written.unwrap_or(0));
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream")
            .field("handshaking", &self.is_handshaking())
            .field("partial", &self.partial.len())
            .field("peer_has_closed", &self.peer_has_closed)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

/// Why a connection is given up, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsError(pub String);

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> TlsError {
        TlsError(error.to_string())
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}
