//! The HTTP request that opens a WebSocket, and its answer.

use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha1::{Digest as _, Sha1};

/// Most bytes of a request head.
pub const MAX_HEAD: usize = 8192;
/// Most header lines of a request.
const MAX_HEADERS: usize = 64;
/// The one path there is.
const PATH: &str = "/mqtt";
/// What RFC 6455, 1.3 appends to the client's key.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a listener wants of the HTTP request.
#[derive(Debug, Clone, Copy)]
pub struct HandshakeOptions<'a> {
    /// `mqtt.websocket_protocol_header`: the client must offer a sub-protocol that starts with `mqtt`.
    pub check_protocol: bool,
    /// `proxy_address_header`
    pub address_header: Option<&'a str>,
    /// `proxy_port_header`
    pub port_header: Option<&'a str>,
}

/// Outcome of [`handshake`].
#[derive(Debug)]
pub enum Handshake {
    /// The head is not complete: call again with more bytes after these.
    NeedMore,
    /// Send the response; from then on frames are spoken.
    Accept(Box<Upgrade>),
    /// Send the response and close.
    Refuse {
        /// The HTTP answer.
        response: Vec<u8>,
        /// For the log.
        reason: &'static str,
    },
}

/// An accepted request.
#[derive(Debug)]
pub struct Upgrade {
    /// Bytes of the input that were the request; frames follow.
    pub consumed: usize,
    /// The HTTP answer to send.
    pub response: Vec<u8>,
    /// The sub-protocol chosen.
    pub protocol: Option<String>,
    /// The client's address according to `address_header`.
    pub address: Option<IpAddr>,
    /// The client's port according to `port_header`.
    pub port: Option<u16>,
    /// The request's headers, for hooks (cookies, for instance).
    pub headers: Box<[(String, String)]>,
}

/// Reads the HTTP request at the front of `input`.
///
/// Up to [`MAX_HEAD`] bytes have to be kept while it answers [`Handshake::NeedMore`].
pub fn handshake(input: &[u8], options: &HandshakeOptions<'_>) -> Handshake {
    let mut storage = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut storage);
    let consumed = match request.parse(input) {
        Ok(httparse::Status::Complete(consumed)) if consumed <= MAX_HEAD => consumed,
        Ok(httparse::Status::Partial) if input.len() < MAX_HEAD => return Handshake::NeedMore,
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return refuse(Refusal::HEAD_TOO_LARGE),
        Err(_) => return refuse(Refusal::NOT_HTTP),
    };
    let headers = Headers(request.headers);
    match judge(&request, &headers, options) {
        Ok(accepted) => Handshake::Accept(Box::new(Upgrade {
            consumed,
            response: accepted.response(),
            protocol: accepted.protocol.map(str::to_owned),
            address: options
                .address_header
                .and_then(|name| headers.last_address(name)),
            port: options
                .port_header
                .and_then(|name| headers.last_item(name)?.parse().ok()),
            headers: headers.to_owned(),
        })),
        Err(refusal) => refuse(refusal),
    }
}

/// What the answer to a good request needs.
struct Accepted<'a> {
    key: &'a str,
    protocol: Option<&'a str>,
}

impl Accepted<'_> {
    fn response(&self) -> Vec<u8> {
        let digest = Sha1::new()
            .chain_update(self.key)
            .chain_update(GUID)
            .finalize();
        let mut response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n",
            BASE64.encode(digest)
        );
        if let Some(protocol) = self.protocol {
            response.push_str("Sec-WebSocket-Protocol: ");
            response.push_str(protocol);
            response.push_str("\r\n");
        }
        response.push_str("\r\n");
        response.into_bytes()
    }
}

/// The rules in the order in which EMQ answers for them: path, upgrade, sub-protocol; then those of
/// RFC 6455, 4.2.1 that it did not know.
fn judge<'a>(
    request: &httparse::Request<'_, 'a>,
    headers: &Headers<'_, 'a>,
    options: &HandshakeOptions<'_>,
) -> Result<Accepted<'a>, Refusal> {
    let target = request.path.unwrap_or_default();
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    if path != PATH {
        return Err(Refusal::NO_SUCH_PATH);
    }
    let upgrade = request.method == Some("GET")
        && request.version == Some(1)
        && headers
            .items("Upgrade")
            .any(|item| item.eq_ignore_ascii_case("websocket"))
        && headers
            .items("Connection")
            .any(|item| item.eq_ignore_ascii_case("upgrade"));
    if !upgrade {
        return Err(Refusal::NO_UPGRADE);
    }
    let protocol = choose_protocol(headers, options.check_protocol)?;
    if headers.single("Sec-WebSocket-Version") != Some("13") {
        return Err(Refusal::VERSION);
    }
    let key = headers.single("Sec-WebSocket-Key").ok_or(Refusal::KEY)?;
    if BASE64.decode(key).map_or(0, |nonce| nonce.len()) != 16 {
        return Err(Refusal::KEY);
    }
    // What follows the head would be taken for frames.
    if headers.all("Transfer-Encoding").next().is_some()
        || headers.all("Content-Length").any(|length| length != "0")
    {
        return Err(Refusal::BODY);
    }
    Ok(Accepted { key, protocol })
}

/// The one sub-protocol of the client's list to answer with.
///
/// `EMQ-WebSocket-Protocol` stands in for the check only: a browser takes nothing as an answer
/// that it has not offered in `Sec-WebSocket-Protocol`.
fn choose_protocol<'a>(headers: &Headers<'_, 'a>, check: bool) -> Result<Option<&'a str>, Refusal> {
    let ours = |name: &&str| name.starts_with("mqtt");
    // The name of the standard, if it is among those offered [MQTT-6.0.0-4].
    let names = || headers.items("Sec-WebSocket-Protocol");
    let exact = names().find(|name| *name == "mqtt");
    let offered = exact.or_else(|| names().find(ours));
    let instead = headers.items("EMQ-WebSocket-Protocol").next();
    if check && !instead.as_ref().or(offered.as_ref()).is_some_and(ours) {
        return Err(Refusal::PROTOCOL);
    }
    let chosen = if check {
        offered
    } else {
        offered.or_else(|| names().next())
    };
    match chosen {
        Some(name) if !name.bytes().all(is_token_byte) => Err(Refusal::PROTOCOL),
        chosen => Ok(chosen),
    }
}

/// `tchar` of RFC 9110, 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The header lines of a request.
struct Headers<'h, 'b>(&'h [httparse::Header<'b>]);

impl<'h, 'b> Headers<'h, 'b> {
    /// Values of all lines of that name; one that is not UTF-8 counts as empty.
    fn all<'s>(
        &'s self,
        name: &'s str,
    ) -> impl DoubleEndedIterator<Item = &'b str> + use<'s, 'h, 'b> {
        self.0
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| std::str::from_utf8(header.value).unwrap_or_default().trim())
    }

    /// The value when there is exactly one line of that name.
    fn single(&self, name: &str) -> Option<&'b str> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (Some(value), None) => Some(value),
            _ => None,
        }
    }

    /// Items of all comma-separated lists of that name.
    fn items<'s>(
        &'s self,
        name: &'s str,
    ) -> impl DoubleEndedIterator<Item = &'b str> + use<'s, 'h, 'b> {
        self.all(name)
            .flat_map(|list| list.split(','))
            .map(str::trim)
            .filter(|item| !item.is_empty())
    }

    /// The item that the proxy next to us has added.
    fn last_item(&self, name: &str) -> Option<&'b str> {
        self.items(name).next_back()
    }

    /// The last item as an address, written with or without a port.
    fn last_address(&self, name: &str) -> Option<IpAddr> {
        let item = self.last_item(name)?;
        let plain = item
            .strip_prefix('[')
            .and_then(|item| item.strip_suffix(']'))
            .unwrap_or(item);
        let address = plain
            .parse::<IpAddr>()
            .or_else(|_| item.parse::<SocketAddr>().map(|address| address.ip()));
        address.ok().map(|address| address.to_canonical())
    }

    fn to_owned(&self) -> Box<[(String, String)]> {
        self.0
            .iter()
            .map(|header| {
                (
                    header.name.to_owned(),
                    String::from_utf8_lossy(header.value).into_owned(),
                )
            })
            .collect()
    }
}

/// An answer other than 101.
struct Refusal {
    status: &'static str,
    body: &'static str,
    /// For the log.
    reason: &'static str,
    /// A further header line with its CR LF.
    extra: &'static str,
}

impl Refusal {
    const NOT_HTTP: Refusal = Refusal::bad_request("not an HTTP request");
    const NO_UPGRADE: Refusal = Refusal::bad_request("not a WebSocket upgrade");
    const KEY: Refusal = Refusal::bad_request("bad Sec-WebSocket-Key");
    const BODY: Refusal = Refusal::bad_request("request with a body");
    const NO_SUCH_PATH: Refusal = Refusal {
        status: "404 Not Found",
        body: "Not found.",
        reason: "no such path",
        extra: "",
    };
    const PROTOCOL: Refusal = Refusal {
        status: "400 Bad Request",
        body: "Bad WebSocket Protocol",
        reason: "no sub-protocol that starts with mqtt",
        extra: "",
    };
    const VERSION: Refusal = Refusal {
        status: "426 Upgrade Required",
        body: "Upgrade Required",
        reason: "WebSocket version is not 13",
        extra: "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    };
    const HEAD_TOO_LARGE: Refusal = Refusal {
        status: "431 Request Header Fields Too Large",
        body: "Request Header Fields Too Large",
        reason: "HTTP head too large",
        extra: "",
    };

    const fn bad_request(reason: &'static str) -> Refusal {
        Refusal {
            status: "400 Bad Request",
            body: "Bad Request",
            reason,
            extra: "",
        }
    }
}

fn refuse(refusal: Refusal) -> Handshake {
    let Refusal {
        status,
        body,
        reason,
        extra,
    } = refusal;
    let connection = if extra.is_empty() {
        "close"
    } else {
        "close, upgrade"
    };
    let response = format!(
        "HTTP/1.1 {status}\r\nConnection: {connection}\r\n{extra}Content-Type: text/plain\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    Handshake::Refuse {
        response: response.into_bytes(),
        reason,
    }
}
