//! The PROXY protocol, versions 1 and 2: who is really at the other end of a balancer's connection.
//!
//! The header comes before everything else on the connection, before TLS too.

use std::net::SocketAddr;

/// Longest header of version 1, with its CR LF.
pub const MAX_V1: usize = 107;
/// Longest body of version 2 (addresses and TLVs) that is read.
pub const MAX_V2_BODY: usize = 4096;
/// Longest header of either version: room for this many bytes is always enough.
pub const MAX_HEADER: usize = 16 + MAX_V2_BODY;

/// A header, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the input it took; what follows belongs to TLS, HTTP or MQTT.
    pub consumed: usize,
    /// The client as the balancer saw it; `None` for LOCAL, UNKNOWN and Unix sockets.
    pub source: Option<SocketAddr>,
    /// The address the client connected to; `None` as for `source`.
    pub destination: Option<SocketAddr>,
    /// Common name of the client's certificate, from the SSL TLV of version 2.
    pub cn: Option<String>,
    /// The balancer speaks for itself (version 2 LOCAL): a health check.
    pub local: bool,
}

/// Reads a header from the front of `input`; `Ok(None)` asks for more bytes.
pub fn parse(input: &[u8]) -> Result<Option<Header>, ProxyError> {
    let _ = input;
    unimplemented!()
}

/// Why a connection that should start with a PROXY header is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyError {
    /// Neither signature.
    NotProxy,
}
