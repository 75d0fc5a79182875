//! What a client talks over: TCP, TLS, WebSocket.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

/// How long a test waits for anything before it fails.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// An ordered stream of bytes over one TCP connection.
pub trait Wire: Read + Write + Send {
    /// The TCP connection below, for timeouts and shutdown.
    fn tcp(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Wire for StreamOwned<ClientConnection, TcpStream> {
    fn tcp(&self) -> &TcpStream {
        &self.sock
    }
}

impl Wire for Box<dyn Wire> {
    fn tcp(&self) -> &TcpStream {
        (**self).tcp()
    }
}

/// A TCP connection with nothing sent.
pub fn tcp(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&addr, DEADLINE)
        .unwrap_or_else(|e| panic!("connecting to {addr}: {e}"));
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Starts TLS on `stream`; an error is the handshake's.
pub fn tls(
    mut stream: TcpStream,
    config: Arc<rustls::ClientConfig>,
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(StreamOwned::new(connection, stream))
}

/// Frame types of RFC 6455.
#[allow(missing_docs)]
pub mod opcode {
    pub const CONTINUATION: u8 = 0;
    pub const TEXT: u8 = 1;
    pub const BINARY: u8 = 2;
    pub const CLOSE: u8 = 8;
    pub const PING: u8 = 9;
    pub const PONG: u8 = 10;
}

/// One frame as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WsFrame {
    /// last frame of its message
    pub fin: bool,
    /// frame type
    pub opcode: u8,
    /// payload
    pub payload: Vec<u8>,
}

/// The answer to a WebSocket handshake.
#[derive(Debug, Clone)]
pub struct HttpAnswer {
    /// status code
    pub status: u16,
    /// header names in lower case, with their values
    pub headers: Vec<(String, String)>,
    /// the body, as far as `Content-Length` tells
    pub body: String,
}

impl HttpAnswer {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }
}

/// Sends an HTTP request head and reads the answer.
pub fn http(wire: &mut dyn Wire, request: &str) -> HttpAnswer {
    wire.write_all(request.as_bytes()).unwrap();
    wire.flush().unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        let n = wire
            .read(&mut byte)
            .unwrap_or_else(|e| panic!("reading the HTTP answer: {e}; so far {head:?}"));
        assert_eq!(
            n,
            1,
            "closed amid the HTTP answer {:?}",
            String::from_utf8_lossy(&head)
        );
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let headers: Vec<(String, String)> = lines
        .filter_map(|l| l.split_once(':'))
        .map(|(n, v)| (n.trim().to_ascii_lowercase(), v.trim().to_string()))
        .collect();
    let length = headers
        .iter()
        .find(|(n, _)| n == "content-length")
        .map_or(0, |(_, v)| v.parse().unwrap());
    let mut body = vec![0; if status == 101 { 0 } else { length }];
    wire.read_exact(&mut body).unwrap();
    HttpAnswer {
        status,
        headers,
        body: String::from_utf8(body).unwrap(),
    }
}

/// The key and the accept value of RFC 6455 section 1.3.
pub const WS_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What a server must answer to [`WS_KEY`].
pub const WS_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A WebSocket request for `path`, offering `protocols` when there are any.
pub fn ws_request(path: &str, protocols: Option<&str>) -> String {
    let protocols = protocols.map_or(String::new(), |p| {
        format!("Sec-WebSocket-Protocol: {p}\r\n")
    });
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {WS_KEY}\r\nSec-WebSocket-Version: 13\r\n{protocols}\r\n"
    )
}

/// The client's end of a WebSocket. As a [`Wire`] every write is one binary frame, pings are answered,
/// and a close frame is the end of the stream.
pub struct WebSocket<W: Wire> {
    /// what it runs over
    pub wire: W,
    unread: Vec<u8>,
}

impl<W: Wire> WebSocket<W> {
    /// Opens `/mqtt` with the sub-protocol `mqtt`.
    pub fn open(mut wire: W) -> WebSocket<W> {
        let answer = http(&mut wire, &ws_request("/mqtt", Some("mqtt")));
        assert_eq!(answer.status, 101, "{answer:?}");
        assert_eq!(answer.header("sec-websocket-accept"), Some(WS_ACCEPT));
        // [MQTT-6.0.0-4]
        assert_eq!(answer.header("sec-websocket-protocol"), Some("mqtt"));
        WebSocket {
            wire,
            unread: Vec::new(),
        }
    }

    /// Opens another path, without a sub-protocol.
    pub fn open_at(mut wire: W, path: &str) -> WebSocket<W> {
        let answer = http(&mut wire, &ws_request(path, None));
        assert_eq!(answer.status, 101, "{answer:?}");
        assert_eq!(answer.header("sec-websocket-accept"), Some(WS_ACCEPT));
        WebSocket {
            wire,
            unread: Vec::new(),
        }
    }

    /// One whose handshake is done.
    pub fn over(wire: W) -> WebSocket<W> {
        WebSocket {
            wire,
            unread: Vec::new(),
        }
    }

    /// Sends one frame, masked as a client must.
    pub fn send_frame(&mut self, fin: bool, opcode: u8, payload: &[u8]) -> io::Result<()> {
        self.send_raw(&masked_frame(fin, opcode, payload))
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.write_all(bytes)?;
        self.wire.flush()
    }

    /// Reads one frame; `Ok(None)` when the TCP connection is closed.
    pub fn read_frame(&mut self) -> io::Result<Option<WsFrame>> {
        let mut head = [0; 2];
        match self.wire.read_exact(&mut head) {
            Ok(()) => {}
            Err(e) if is_closed(&e) => return Ok(None),
            Err(e) => return Err(e),
        }
        assert_eq!(head[0] & 0x70, 0, "reserved bits in a frame");
        assert_eq!(head[1] & 0x80, 0, "a masked frame from a server");
        let length = match head[1] {
            126 => {
                let mut b = [0; 2];
                self.wire.read_exact(&mut b)?;
                usize::from(u16::from_be_bytes(b))
            }
            127 => {
                let mut b = [0; 8];
                self.wire.read_exact(&mut b)?;
                usize::try_from(u64::from_be_bytes(b)).unwrap()
            }
            n => usize::from(n),
        };
        let mut payload = vec![0; length];
        self.wire.read_exact(&mut payload)?;
        Ok(Some(WsFrame {
            fin: head[0] & 0x80 != 0,
            opcode: head[0] & 0x0f,
            payload,
        }))
    }
}

/// A frame as a client sends it.
pub fn masked_frame(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x11, 0x22, 0x33, 0x44];
    let mut bytes = vec![opcode | u8::from(fin) << 7];
    match payload.len() {
        n if n < 126 => bytes.push(0x80 | n as u8),
        n if n < 65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend((n as u16).to_be_bytes());
        }
        n => {
            bytes.push(0x80 | 127);
            bytes.extend((n as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().enumerate().map(|(i, b)| b ^ mask[i % 4]));
    bytes
}

/// Whether the error says that the other side ended the connection.
pub fn is_closed(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

impl<W: Wire> Read for WebSocket<W> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.unread.is_empty() {
            let Some(frame) = self.read_frame()? else {
                return Ok(0);
            };
            match frame.opcode {
                // [MQTT-6.0.0-1]
                opcode::BINARY | opcode::CONTINUATION => self.unread = frame.payload,
                opcode::PING => self.send_frame(true, opcode::PONG, &frame.payload)?,
                opcode::PONG => {}
                opcode::CLOSE => return Ok(0),
                other => panic!("a frame of type {other} from the broker"),
            }
        }
        let n = buf.len().min(self.unread.len());
        buf[..n].copy_from_slice(&self.unread[..n]);
        self.unread.drain(..n);
        Ok(n)
    }
}

impl<W: Wire> Write for WebSocket<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.send_frame(true, opcode::BINARY, buf)?;
        Ok(buf.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        self.wire.flush()
    }
}

impl<W: Wire> Wire for WebSocket<W> {
    fn tcp(&self) -> &TcpStream {
        self.wire.tcp()
    }
}
