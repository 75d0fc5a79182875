//! The PROXY protocol, versions 1 and 2: who is really at the other end of a balancer's connection.
//!
//! The header comes before everything else on the connection, before TLS too.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest header of version 1, with its CR LF.
pub const MAX_V1: usize = 107;
/// Longest body of version 2 (addresses and TLVs) that is read.
pub const MAX_V2_BODY: usize = 4096;
/// Longest header of either version: room for this many bytes is always enough.
pub const MAX_HEADER: usize = V2_FIXED + MAX_V2_BODY;

const V1_SIGNATURE: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length of the body.
const V2_FIXED: usize = 16;

/// A header, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the input it took; what follows belongs to TLS, HTTP or MQTT.
    pub consumed: usize,
    /// The client as the balancer saw it; `None` for LOCAL, UNKNOWN and Unix sockets: the address
    /// of the connection itself holds then.
    pub source: Option<SocketAddr>,
    /// The address the client connected to; `None` as for `source`.
    pub destination: Option<SocketAddr>,
    /// Common name of a client certificate that the balancer has verified (SSL TLV of version 2).
    pub cn: Option<String>,
    /// The balancer speaks for itself (version 2 LOCAL), as in a health check.
    pub local: bool,
}

/// Reads a header from the front of `input`; `Ok(None)` asks for more bytes, at most
/// [`MAX_HEADER`] in all.
///
/// # Errors
/// As soon as `input` cannot become a valid header: the connection has to be closed.
pub fn parse(input: &[u8]) -> Result<Option<Header>, ProxyError> {
    if starts_alike(input, V1_SIGNATURE) {
        parse_v1(input)
    } else if starts_alike(input, V2_SIGNATURE) {
        parse_v2(input)
    } else {
        Err(ProxyError::NotProxy)
    }
}

/// Whether one is the beginning of the other.
fn starts_alike(input: &[u8], signature: &[u8]) -> bool {
    input.iter().zip(signature).all(|(a, b)| a == b)
}

fn parse_v1(input: &[u8]) -> Result<Option<Header>, ProxyError> {
    let window = &input[..input.len().min(MAX_V1)];
    let Some(end) = window.iter().position(|&byte| byte == b'\n') else {
        return if window.len() < MAX_V1 {
            Ok(None)
        } else {
            Err(ProxyError::TooLong)
        };
    };
    let line = window[..end]
        .strip_suffix(b"\r")
        .ok_or(ProxyError::BadLine)?;
    let line = std::str::from_utf8(line).map_err(|_| ProxyError::BadLine)?;
    let mut words = line.split(' ').skip(1);
    let mut header = Header {
        consumed: end + 1,
        source: None,
        destination: None,
        cn: None,
        local: false,
    };
    let is_v6 = match words.next() {
        // Whatever else stands on the line is to be ignored.
        Some("UNKNOWN") => return Ok(Some(header)),
        Some("TCP4") => false,
        Some("TCP6") => true,
        _ => return Err(ProxyError::BadLine),
    };
    let words: Vec<&str> = words.collect();
    let [source, destination, source_port, destination_port] = words[..] else {
        return Err(ProxyError::BadLine);
    };
    header.source = Some(v1_address(source, source_port, is_v6)?);
    header.destination = Some(v1_address(destination, destination_port, is_v6)?);
    Ok(Some(header))
}

fn v1_address(address: &str, port: &str, is_v6: bool) -> Result<SocketAddr, ProxyError> {
    let address = if is_v6 {
        address.parse::<Ipv6Addr>().map(IpAddr::from)
    } else {
        address.parse::<Ipv4Addr>().map(IpAddr::from)
    }
    .map_err(|_| ProxyError::BadLine)?;
    // `u16::from_str` takes a plus sign, the protocol does not.
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ProxyError::BadLine);
    }
    let port = port.parse().map_err(|_| ProxyError::BadLine)?;
    Ok(SocketAddr::new(address.to_canonical(), port))
}

fn parse_v2(input: &[u8]) -> Result<Option<Header>, ProxyError> {
    let Some((fixed, rest)) = input.split_first_chunk::<V2_FIXED>() else {
        return Ok(None);
    };
    let [.., version_command, family, length_high, length_low] = *fixed;
    let local = match version_command {
        0x20 => true,
        0x21 => false,
        _ => return Err(ProxyError::BadVersion),
    };
    let length = usize::from(u16::from_be_bytes([length_high, length_low]));
    if length > MAX_V2_BODY {
        return Err(ProxyError::TooLong);
    }
    let Some(body) = rest.get(..length) else {
        return Ok(None);
    };
    let mut header = Header {
        consumed: V2_FIXED + length,
        source: None,
        destination: None,
        cn: None,
        local,
    };
    if local {
        return Ok(Some(header));
    }
    let tlvs = match family {
        // No address at all; the body is TLVs only.
        0x00 => body,
        0x11 | 0x12 => {
            let (addresses, tlvs) = body.split_first_chunk::<12>().ok_or(ProxyError::BadBody)?;
            let (source, destination) = v2_addresses::<4>(addresses)?;
            header.source = Some(source);
            header.destination = Some(destination);
            tlvs
        }
        0x21 | 0x22 => {
            let (addresses, tlvs) = body.split_first_chunk::<36>().ok_or(ProxyError::BadBody)?;
            let (source, destination) = v2_addresses::<16>(addresses)?;
            header.source = Some(source);
            header.destination = Some(destination);
            tlvs
        }
        // Two paths of Unix sockets, which say nothing of a client.
        0x31 | 0x32 => body.get(216..).ok_or(ProxyError::BadBody)?,
        _ => return Err(ProxyError::BadFamily),
    };
    header.cn = common_name(tlvs)?;
    Ok(Some(header))
}

/// Source, destination (N bytes each), source port, destination port.
fn v2_addresses<const N: usize>(bytes: &[u8]) -> Result<(SocketAddr, SocketAddr), ProxyError>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = bytes.split_first_chunk::<N>().ok_or(ProxyError::BadBody)?;
    let (destination, rest) = rest.split_first_chunk::<N>().ok_or(ProxyError::BadBody)?;
    let [a, b, c, d] = rest else {
        return Err(ProxyError::BadBody);
    };
    let address = |ip: &[u8; N], port| SocketAddr::new(IpAddr::from(*ip).to_canonical(), port);
    Ok((
        address(source, u16::from_be_bytes([*a, *b])),
        address(destination, u16::from_be_bytes([*c, *d])),
    ))
}

/// Walks type, length, value records.
fn tlvs(mut rest: &[u8]) -> impl Iterator<Item = Result<(u8, &[u8]), ProxyError>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let record = rest
            .split_first_chunk::<3>()
            .and_then(|([kind, high, low], tail)| {
                let (value, tail) =
                    tail.split_at_checked(u16::from_be_bytes([*high, *low]).into())?;
                Some((*kind, value, tail))
            });
        let Some((kind, value, tail)) = record else {
            rest = &[];
            return Some(Err(ProxyError::BadBody));
        };
        rest = tail;
        Some(Ok((kind, value)))
    })
}

/// The common name of the client's certificate, when the balancer says that it has verified one.
fn common_name(body: &[u8]) -> Result<Option<String>, ProxyError> {
    const TYPE_SSL: u8 = 0x20;
    const SUBTYPE_SSL_CN: u8 = 0x22;
    /// The client presented a certificate on this connection, or on the session it resumed.
    const CLIENT_CERT: u8 = 0x02 | 0x04;

    let mut name = None;
    for record in tlvs(body) {
        let (TYPE_SSL, value) = record? else { continue };
        let ([client, verify @ ..], records) =
            value.split_first_chunk::<5>().ok_or(ProxyError::BadBody)?;
        let verified = client & CLIENT_CERT != 0 && *verify == [0; 4];
        for record in tlvs(records) {
            let (SUBTYPE_SSL_CN, value) = record? else {
                continue;
            };
            let value = std::str::from_utf8(value).map_err(|_| ProxyError::BadBody)?;
            if verified {
                name = Some(value.to_owned());
            }
        }
    }
    Ok(name)
}

/// Why a connection that should start with a PROXY header is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyError {
    /// The signature of neither version.
    NotProxy,
    /// Longer than a header may be.
    TooLong,
    /// A line of version 1 that does not follow the grammar.
    BadLine,
    /// Version 2 with another version number or an unknown command.
    BadVersion,
    /// Version 2 with an unknown family or transport.
    BadFamily,
    /// Addresses or TLVs of version 2 that do not fit their length.
    BadBody,
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProxyError::NotProxy => "no PROXY protocol header",
            ProxyError::TooLong => "PROXY protocol header too long",
            ProxyError::BadLine => "malformed PROXY protocol line",
            ProxyError::BadVersion => "unknown PROXY protocol version or command",
            ProxyError::BadFamily => "unknown PROXY protocol address family",
            ProxyError::BadBody => "malformed PROXY protocol body",
        })
    }
}

impl std::error::Error for ProxyError {}
