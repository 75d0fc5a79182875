//! The PROXY protocol, versions 1 and 2, before MQTT and before TLS.

use std::io::Write;
use std::net::TcpStream;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use emqttd_tests::transport::{self, WebSocket};
use emqttd_tests::{Broker, Client, Config, Connect, Version, unique};

fn behind() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| {
        let proxy = [("proxy_protocol", "on"), ("proxy_protocol_timeout", "1s")];
        let cn = [("proxy_protocol", "on"), ("peer_cert_as_username", "cn")];
        Broker::start(
            Config::new()
                .listener("tcp.proxy", &proxy)
                .listener("tcp.cn", &cn)
                .listener("ssl.proxy", &proxy)
                .listener("ws.proxy", &proxy),
        )
    })
}

const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A version 2 header: command PROXY, TCP over IPv4, 192.0.2.1:5000 to 192.0.2.2:1883, and TLVs.
fn v2(tlvs: &[u8]) -> Vec<u8> {
    let mut bytes = V2_SIGNATURE.to_vec();
    bytes.extend([0x21, 0x11]);
    bytes.extend((12 + tlvs.len() as u16).to_be_bytes());
    bytes.extend([192, 0, 2, 1, 192, 0, 2, 2]);
    bytes.extend(5000u16.to_be_bytes());
    bytes.extend(1883u16.to_be_bytes());
    bytes.extend(tlvs);
    bytes
}

fn connected(mut stream: TcpStream, header: &[u8]) -> String {
    let id = unique("proxy");
    stream.write_all(header).unwrap();
    let mut client = Client::over(stream, Version::V311, &id);
    client.connect(&Connect::new(Version::V311, &id));
    let (_, text) = behind().ctl(&["clients", "show", &id]);
    client.disconnect();
    text
}

#[test]
fn emq_proxy_protocol_tells_the_address() {
    let to = |header: &[u8]| connected(transport::tcp(behind().addr("tcp.proxy")), header);
    let text = to(b"PROXY TCP4 192.0.2.7 192.0.2.2 4711 1883\r\n");
    assert!(text.contains("peername=192.0.2.7:4711,"), "{text}");
    let text = to(b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 1883\r\n");
    assert!(text.contains("2001:db8::1"), "{text}");
    let text = to(&v2(&[]));
    assert!(text.contains("peername=192.0.2.1:5000,"), "{text}");
    // UNKNOWN and LOCAL: the address of the connection itself.
    for header in [
        &b"PROXY UNKNOWN\r\n"[..],
        b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
    ] {
        assert!(to(header).contains("peername=127.0.0.1:"));
    }
    let mut local = V2_SIGNATURE.to_vec();
    local.extend([0x20, 0x00, 0, 0]);
    assert!(to(&local).contains("peername=127.0.0.1:"));
}

/// Headers in pieces, and with TLVs nobody knows.
#[test]
fn emq_proxy_header_in_pieces() {
    let mut stream = transport::tcp(behind().addr("tcp.proxy"));
    let header = v2(&[0xe0, 0, 3, 1, 2, 3]);
    let (last, first) = header.split_last().unwrap();
    for byte in first {
        stream.write_all(&[*byte]).unwrap();
    }
    assert!(connected(stream, &[*last]).contains("peername=192.0.2.1:5000,"));
}

/// The common name from the SSL TLV, as HAProxy sends it.
#[test]
fn emq_proxy_v2_common_name() {
    let mut ssl = vec![0x07, 0, 0, 0, 0];
    ssl.extend([0x22, 0, 5]);
    ssl.extend(b"alice");
    let mut tlv = vec![0x20];
    tlv.extend((ssl.len() as u16).to_be_bytes());
    tlv.extend(ssl);
    let text = connected(transport::tcp(behind().addr("tcp.cn")), &v2(&tlv));
    assert!(text.contains("username=alice,"), "{text}");
}

#[test]
fn emq_wrong_proxy_headers_close() {
    let mut cut = v2(&[]);
    cut[12] = 0x31;
    let connect = Connect::new(Version::V311, "x").encode();
    let headers: [&[u8]; 7] = [
        &connect,
        b"PROXY TCP4 1.2.3.4\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 99999 1\r\n",
        b"PROXY TCP4 1.2.3.999 5.6.7.8 1 1\r\n",
        b"PROXY TCP9 1.2.3.4 5.6.7.8 1 1\r\n",
        &[b'P'; 300],
        &cut,
    ];
    for header in headers {
        let mut client = Client::over(
            transport::tcp(behind().addr("tcp.proxy")),
            Version::V311,
            "wrong",
        );
        client.send(header);
        client.send(&connect);
        assert_eq!(
            client.closed(),
            None,
            "{:?}",
            String::from_utf8_lossy(header)
        );
    }
}

#[test]
fn emq_proxy_header_is_awaited_for_a_while() {
    let mut client = Client::over(
        transport::tcp(behind().addr("tcp.proxy")),
        Version::V311,
        "silent",
    );
    let start = Instant::now();
    assert_eq!(client.closed(), None);
    let waited = start.elapsed();
    assert!(
        waited >= Duration::from_millis(900) && waited < Duration::from_secs(3),
        "{waited:?}"
    );
}

/// Before TLS, in clear, as proxies send it: the sheet's correction 5.
#[test]
fn emq_proxy_header_comes_before_tls_and_websocket() {
    let id = unique("proxytls");
    let mut stream = transport::tcp(behind().addr("ssl.proxy"));
    stream.write_all(&v2(&[])).unwrap();
    let tls = transport::tls(stream, behind().certs.client(&[], None)).unwrap();
    let mut client = Client::over(tls, Version::V5, &id);
    client.connect(&Connect::new(Version::V5, &id));
    assert!(
        behind()
            .ctl(&["clients", "show", &id])
            .1
            .contains("peername=192.0.2.1:5000,")
    );

    let id = unique("proxyws");
    let mut stream = transport::tcp(behind().addr("ws.proxy"));
    stream
        .write_all(b"PROXY TCP4 192.0.2.7 192.0.2.2 4711 8083\r\n")
        .unwrap();
    let mut client = Client::over(WebSocket::open(stream), Version::V5, &id);
    client.connect(&Connect::new(Version::V5, &id));
    assert!(
        behind()
            .ctl(&["clients", "show", &id])
            .1
            .contains("peername=192.0.2.7:4711,")
    );
}
