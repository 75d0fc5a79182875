//! Who is on the other side.

use std::net::SocketAddr;

/// A peer: an address, and what is between it and us. Two endpoints of the same address are two peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// UDP
    Plain(SocketAddr),
    /// DTLS over UDP. The handshake has proven the address.
    Secure(SocketAddr),
}

impl Endpoint {
    /// Its address.
    pub fn address(&self) -> SocketAddr {
        match self {
            Endpoint::Plain(address) | Endpoint::Secure(address) => *address,
        }
    }

    /// It speaks DTLS.
    pub fn is_secure(&self) -> bool {
        matches!(self, Endpoint::Secure(_))
    }
}
