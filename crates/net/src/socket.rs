//! One accepted connection and what lies between its socket and MQTT.

use crate::admission::RateLimit;
use crate::pipe::PipeEnd;
use crate::proxy;
use crate::tls::{TlsContext, TlsStream, cert_username};
use crate::ws::{self, Handshake, HandshakeOptions, WsDecoder};
use emqttd_broker::{ListenerState, OutBuf, Peer};
use emqttd_config::ListenerKind;
use mio::net::TcpStream;
use std::net::SocketAddr;
use std::sync::Arc;

/// Bytes that are transformed (framed, encrypted) before the socket has to take some.
const WIRE: usize = 64 * 1024;
/// Bytes for a TLS record or a WebSocket frame.
const CHUNK: usize = 16 * 1024;

/// A connection in the event loop. Idle ones hold no buffer.
pub(crate) struct Socket {
    pub transport: Transport,
    /// bytes that came and are not a whole packet yet
    pub partial: Vec<u8>,
    pub limit: Option<Box<RateLimit>>,
    /// bytes of the packet that `partial` begins with; 0 = unknown
    pub wanted: u32,
    /// the broker knows it
    pub open: bool,
    /// not read until then, milliseconds; 0 = read
    pub paused_until: u64,
    /// is on the list of those to be read without being told to
    pub again: bool,
}

/// What carries the bytes of a connection.
pub(crate) enum Transport {
    Tcp(TcpStream),
    /// a socket, and what lies between it and MQTT
    Layered(TcpStream, Box<Layers>),
    /// a gateway
    Pipe(Box<PipeEnd>),
}

// A million of them may be idle.
#[cfg(not(debug_assertions))]
const _: () = assert!(size_of::<Socket>() == 64);

impl Socket {
    /// One that the broker does not know yet.
    pub fn new(transport: Transport, limit: Option<RateLimit>) -> Socket {
        Socket {
            transport,
            partial: Vec::new(),
            limit: limit.map(Box::new),
            wanted: 0,
            open: false,
            paused_until: 0,
            again: false,
        }
    }

    /// What lies between its socket and MQTT.
    pub fn layers(&self) -> Option<&Layers> {
        match &self.transport {
            Transport::Layered(_, layers) => Some(layers),
            Transport::Tcp(_) | Transport::Pipe(_) => None,
        }
    }

    /// Bytes of the layers wait for the socket.
    pub fn wire_waits(&self) -> bool {
        self.layers()
            .is_some_and(|layers| !layers.wire().is_empty())
    }

    /// More waits on the wire than output alone can put there: answers that nobody takes.
    pub fn overflows(&self) -> bool {
        self.layers()
            .is_some_and(|layers| layers.wire().len() > 4 * WIRE)
    }
}

/// What lies between the socket and MQTT, from the outside in.
pub(crate) struct Layers {
    pub stage: Stage,
    pub peer: Peer,
    pub tls: Option<TlsStream>,
    ws: Option<WsDecoder>,
    is_ws: bool,
    /// bytes of a header that is not whole: PROXY or HTTP
    head: Vec<u8>,
    /// framed and encrypted, not yet written
    wire: Vec<u8>,
    wire_start: usize,
    context: Option<Arc<TlsContext>>,
    cn: Option<String>,
    /// when the present stage has to be over, milliseconds
    pub deadline: u64,
    goodbye: bool,
}

/// Which layer is being set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Proxy,
    Tls,
    Http,
    Ready,
}

/// What layers made of bytes from the wire.
pub(crate) enum Fed {
    /// MQTT bytes were appended
    More,
    /// the connection is to end, after what is in `wire`
    End(&'static str),
}

impl Layers {
    /// `None` when nothing lies between.
    pub fn new(
        listener: &Arc<ListenerState>,
        addr: SocketAddr,
        context: Option<&Arc<TlsContext>>,
        now: u64,
    ) -> Option<Box<Layers>> {
        let settings = &listener.settings;
        let is_ws = matches!(settings.kind, ListenerKind::Ws | ListenerKind::Wss);
        if !settings.proxy_protocol
            && context.is_none()
            && !is_ws
            && settings.peer_cert_as_username.is_none()
        {
            return None;
        }
        let peer = Peer {
            addr,
            listener: Arc::clone(listener),
            cert_username: None,
            anonymous: true,
            headers: None,
        };
        let mut layers = Layers {
            stage: Stage::Proxy,
            peer,
            tls: None,
            ws: None,
            is_ws,
            head: Vec::new(),
            wire: Vec::new(),
            wire_start: 0,
            context: context.cloned(),
            cn: None,
            deadline: now + settings.proxy_protocol_timeout.as_millis() as u64,
            goodbye: false,
        };
        if !settings.proxy_protocol {
            layers.after_proxy(now);
        }
        Some(Box::new(layers))
    }

    fn after_proxy(&mut self, now: u64) {
        let settings = &self.peer.listener.settings;
        match &settings.tls {
            Some(tls) if self.context.is_some() => {
                self.stage = Stage::Tls;
                self.deadline = now + tls.handshake_timeout.as_millis() as u64;
            }
            _ => self.after_tls(now),
        }
    }

    fn after_tls(&mut self, now: u64) {
        self.stage = if self.is_ws {
            Stage::Http
        } else {
            Stage::Ready
        };
        self.deadline = now
            + self
                .peer
                .listener
                .settings
                .proxy_protocol_timeout
                .as_millis()
                .max(15_000) as u64;
    }

    /// Takes bytes from the wire; MQTT bytes are appended to `mqtt`. `protocol_header` is
    /// `mqtt.websocket_protocol_header`.
    pub fn feed(
        &mut self,
        bytes: &mut [u8],
        mqtt: &mut Vec<u8>,
        protocol_header: bool,
        now: u64,
    ) -> Fed {
        if self.stage == Stage::Proxy {
            self.head.extend_from_slice(bytes);
            return match proxy::parse(&self.head) {
                Ok(None) => Fed::More,
                Ok(Some(header)) => {
                    if let Some(source) = header.source {
                        self.peer.addr = source;
                    }
                    self.cn = header.cn;
                    let mut rest = self.head.split_off(header.consumed);
                    self.head = Vec::new();
                    self.after_proxy(now);
                    if rest.is_empty() && self.stage != Stage::Ready {
                        return Fed::More;
                    }
                    if let Err(reason) = self.name_client() {
                        return Fed::End(reason);
                    }
                    self.feed(&mut rest, mqtt, protocol_header, now)
                }
                Err(error) => {
                    log::warn!("{}: PROXY protocol: {error}", self.peer.addr);
                    Fed::End("proxy_protocol_error")
                }
            };
        }
        if self.context.is_none() {
            return self.feed_plain(bytes, mqtt, protocol_header, now);
        }
        self.feed_tls(bytes, mqtt, protocol_header, now)
    }

    fn feed_tls(
        &mut self,
        bytes: &mut [u8],
        mqtt: &mut Vec<u8>,
        protocol_header: bool,
        now: u64,
    ) -> Fed {
        if self.tls.is_none() {
            let Some(context) = &self.context else {
                return Fed::End("tls_error");
            };
            match TlsStream::new(context) {
                Ok(tls) => self.tls = Some(tls),
                Err(error) => {
                    log::error!("{}: TLS: {}", self.peer.addr, error.0);
                    return Fed::End("tls_error");
                }
            }
        }
        let Some(tls) = &mut self.tls else {
            return Fed::End("tls_error");
        };
        let mut plain = Vec::new();
        let received = tls.receive(bytes, &mut plain, &mut self.wire);
        let (ready, over) = (!tls.is_handshaking(), tls.peer_has_closed());
        if self.stage == Stage::Tls && ready {
            if let Err(reason) = self.name_client() {
                return Fed::End(reason);
            }
            self.after_tls(now);
        }
        if !plain.is_empty()
            && let end @ Fed::End(_) = self.feed_plain(&mut plain, mqtt, protocol_header, now)
        {
            return end;
        }
        match received {
            Ok(()) if over => Fed::End("closed"),
            Ok(()) => Fed::More,
            Err(error) => {
                log::warn!(
                    "{}: TLS: {}",
                    self.peer.addr,
                    emqttd_logging::escape(&error.0)
                );
                Fed::End("tls_error")
            }
        }
    }

    /// The user name from the client certificate, of TLS or of the PROXY header.
    fn name_client(&mut self) -> Result<(), &'static str> {
        let Some(field) = self.peer.listener.settings.peer_cert_as_username else {
            return Ok(());
        };
        if self.stage == Stage::Tls && self.tls.as_ref().is_none_or(TlsStream::is_handshaking) {
            return Ok(());
        }
        let name = match self.tls.as_ref().map(TlsStream::peer_certificate) {
            Some(Some(certificate)) => cert_username(certificate, field),
            Some(None) => self
                .cn
                .clone()
                .ok_or_else(|| "no client certificate".to_string()),
            None => self
                .cn
                .clone()
                .ok_or_else(|| "no CN in the PROXY header".to_string()),
        };
        match name {
            Ok(name) => {
                self.peer.cert_username = Some(name.into());
                Ok(())
            }
            Err(why) => {
                log::warn!(
                    "{}: peer_cert_as_username: {}",
                    self.peer.addr,
                    emqttd_logging::escape(&why)
                );
                Err("no_cert_username")
            }
        }
    }

    /// Bytes inside TLS, or of a connection without it.
    fn feed_plain(
        &mut self,
        bytes: &mut [u8],
        mqtt: &mut Vec<u8>,
        protocol_header: bool,
        now: u64,
    ) -> Fed {
        match self.stage {
            Stage::Http => self.feed_http(bytes, mqtt, protocol_header, now),
            _ => match &mut self.ws {
                None => {
                    mqtt.extend_from_slice(bytes);
                    Fed::More
                }
                Some(decoder) => {
                    let mut replies = Vec::new();
                    let unframed = decoder.unframe(bytes, &mut replies);
                    mqtt.extend_from_slice(&bytes[unframed.payload]);
                    self.put_on_wire(&replies);
                    match unframed.end {
                        None => Fed::More,
                        Some(ws::End::Closed(_)) => {
                            self.goodbye = true;
                            Fed::End("closed")
                        }
                        Some(ws::End::Error(error)) => {
                            self.goodbye = true;
                            log::warn!("{}: WebSocket: {error}", self.peer.addr);
                            Fed::End("websocket_error")
                        }
                    }
                }
            },
        }
    }

    fn feed_http(
        &mut self,
        bytes: &[u8],
        mqtt: &mut Vec<u8>,
        protocol_header: bool,
        now: u64,
    ) -> Fed {
        self.head.extend_from_slice(bytes);
        let settings = &self.peer.listener.settings;
        let options = HandshakeOptions {
            check_protocol: protocol_header,
            address_header: settings.proxy_address_header.as_deref(),
            port_header: settings.proxy_port_header.as_deref(),
        };
        match ws::handshake(&self.head, &options) {
            Handshake::NeedMore => Fed::More,
            Handshake::Accept(upgrade) => {
                if let Some(address) = upgrade.address {
                    self.peer.addr.set_ip(address);
                }
                if let Some(port) = upgrade.port {
                    self.peer.addr.set_port(port);
                }
                self.peer.headers = Some(upgrade.headers.into());
                let mut rest = self.head.split_off(upgrade.consumed);
                self.head = Vec::new();
                self.put_on_wire(&upgrade.response);
                self.ws = Some(WsDecoder::default());
                self.stage = Stage::Ready;
                self.feed_plain(&mut rest, mqtt, protocol_header, now)
            }
            Handshake::Refuse { response, reason } => {
                log::warn!("{}: WebSocket: {reason}", self.peer.addr);
                self.put_on_wire(&response);
                self.goodbye = true;
                Fed::End("websocket_refused")
            }
        }
    }

    /// Appends plain bytes to the wire, encrypted where there is TLS.
    fn put_on_wire(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        match &mut self.tls {
            None => self.wire.extend_from_slice(bytes),
            Some(tls) => {
                if let Err(error) = tls.send(bytes, &mut self.wire) {
                    log::warn!("{}: TLS: {}", self.peer.addr, error.0);
                }
            }
        }
    }

    /// Moves output of the broker to the wire: framed, encrypted, as much as the wire has room for.
    pub fn wrap(&mut self, out: &mut OutBuf) {
        while out.is_ready() && self.wire.len() - self.wire_start < WIRE {
            let take = out.ready_len().min(CHUNK);
            let mut chunk = Vec::with_capacity(take + ws::MAX_HEADER);
            if self.ws.is_some() {
                ws::frame_header(&mut chunk, ws::Opcode::Binary, take);
            }
            let mut left = take;
            while left > 0 {
                let front = out.front();
                let n = front.len().min(left);
                chunk.extend_from_slice(&front[..n]);
                out.advance(n);
                left -= n;
            }
            self.put_on_wire(&chunk);
        }
    }

    /// Says goodbye in the language of each layer, once.
    pub fn say_goodbye(&mut self) {
        if !self.goodbye && self.ws.is_some() {
            let mut bytes = Vec::new();
            ws::close(&mut bytes, 1000);
            self.put_on_wire(&bytes);
        }
        if let Some(tls) = &mut self.tls
            && self.stage != Stage::Tls
        {
            tls.close_notify(&mut self.wire);
        }
        self.goodbye = true;
    }

    /// Bytes ready for the socket.
    pub fn wire(&self) -> &[u8] {
        &self.wire[self.wire_start..]
    }

    /// The socket took so many.
    pub fn sent(&mut self, n: usize) {
        self.wire_start += n;
        if self.wire_start == self.wire.len() {
            self.wire = Vec::new();
            self.wire_start = 0;
        }
    }
}
