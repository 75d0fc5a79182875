//! Who a hook or a provider is told of.

use std::net::SocketAddr;
use std::sync::Arc;

/// A client at CONNECT or while it is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// client identifier; one that the broker gave out when CONNECT had none
    pub clientid: Arc<str>,
    /// user name in force (that of the certificate where the listener says so)
    pub username: Option<Arc<str>>,
    /// peer address, after PROXY protocol or forwarded headers
    pub peername: SocketAddr,
    /// clean session (3.x) or clean start (5.0) of its CONNECT
    pub clean_sess: bool,
    /// protocol level: 3, 4 or 5
    pub proto_ver: u8,
    /// keep alive, seconds
    pub keepalive: u16,
    /// topic of its will
    pub will_topic: Option<String>,
    /// headers of the WebSocket handshake
    pub headers: Option<Arc<[(String, String)]>>,
    /// mountpoint of its listener
    pub mountpoint: Option<String>,
    /// listener it came in by: `mqtt:tcp`, `mqtt:wss`, or that of a gateway
    pub listener: String,
    /// unix seconds; 0 before CONNECT is accepted
    pub connected_at: u64,
}

impl Client {
    /// The short form.
    pub fn by_name(&self) -> ClientRef<'_> {
        ClientRef {
            clientid: &self.clientid,
            username: self.username.as_deref(),
        }
    }
}

/// A client by its names, borrowed for one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientRef<'a> {
    /// client identifier
    pub clientid: &'a str,
    /// user name
    pub username: Option<&'a str>,
}
