//! MQTT over WebSocket (RFC 6455).

use std::io::Read;
use std::sync::OnceLock;

use emqttd_tests::transport::{self, WebSocket, http, masked_frame, opcode, ws_request};
use emqttd_tests::{ALL, Broker, Client, Config, Connect, Publish, Version, unique};

fn web() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| {
        Broker::start(
            Config::new()
                .listener("ws.external", &[])
                .listener(
                    "ws.proxied",
                    &[
                        ("proxy_address_header", "X-Forwarded-For"),
                        ("proxy_port_header", "X-Forwarded-Port"),
                    ],
                )
                .listener("wss.external", &[]),
        )
    })
}

fn socket() -> WebSocket<std::net::TcpStream> {
    WebSocket::open(transport::tcp(web().addr("ws.external")))
}

fn client(v: Version, word: &str) -> Client {
    let id = unique(word);
    let mut client = Client::over(socket(), v, &id);
    client.connect(&Connect::new(v, &id));
    client
}

/// [MQTT-6.0.0-4], [MQTT-6.0.0-3]
#[test]
fn mqtt_6_0_0_1_publish_and_subscribe_over_websocket() {
    for v in ALL {
        let topic = unique("ws");
        let mut a = client(v, "a");
        let mut b = web().client(v, "b");
        a.sub(&topic, 2);
        b.sub(&topic, 2);
        for qos in 0..=2 {
            a.pub_(&topic, qos, "from a WebSocket");
            a.expect(&topic, "from a WebSocket");
            b.expect(&topic, "from a WebSocket");
            b.pub_(&topic, qos, "from TCP");
            a.expect(&topic, "from TCP");
            b.expect(&topic, "from TCP");
        }
        for size in [125, 126, 127, 65_000] {
            let payload = "x".repeat(size);
            b.pub_(&topic, 0, &payload);
            a.expect(&topic, &payload);
            b.expect(&topic, &payload);
        }
        a.disconnect();
    }
}

#[test]
fn mqtt_6_0_0_1_text_frame_closes() {
    for v in ALL {
        let mut socket = socket();
        socket
            .send_frame(
                true,
                opcode::TEXT,
                &Connect::new(v, &unique("text")).encode(),
            )
            .unwrap();
        let mut client = Client::over(socket, v, "text");
        assert_eq!(client.closed(), None, "{v}");
    }
}

/// Many packets in a frame, one packet over many frames, messages in fragments.
#[test]
fn mqtt_6_0_0_2_packets_and_frames_are_independent() {
    for v in ALL {
        let topic = unique("frames");
        let mut socket = socket();
        let mut bytes = Connect::new(v, &unique("frames")).encode();
        bytes.extend(Publish::new(&topic, "x").qos(1).id(1).encode(v));
        let (head, tail) = bytes.split_at(7);
        socket.send_frame(false, opcode::BINARY, head).unwrap();
        // Control frames may come between fragments.
        socket.send_frame(true, opcode::PING, b"between").unwrap();
        socket.send_frame(false, opcode::CONTINUATION, &[]).unwrap();
        socket.send_frame(true, opcode::CONTINUATION, tail).unwrap();
        let pong = socket.read_frame().unwrap().unwrap();
        assert_eq!(
            (pong.opcode, pong.payload.as_slice()),
            (opcode::PONG, &b"between"[..])
        );
        for byte in Publish::new(&topic, "y").qos(1).id(2).encode(v) {
            socket.send_frame(true, opcode::BINARY, &[byte]).unwrap();
        }
        let mut client = Client::over(socket, v, "frames");
        client.connack();
        client.ack(emqttd_tests::packet::AckKind::Puback, 1);
        client.ack(emqttd_tests::packet::AckKind::Puback, 2);
    }
}

/// Frames split over TCP segments, where EMQ closed.
#[test]
fn emq_frames_may_be_split_over_segments() {
    for v in ALL {
        let mut socket = socket();
        for byte in masked_frame(
            true,
            opcode::BINARY,
            &Connect::new(v, &unique("split")).encode(),
        ) {
            socket.send_raw(&[byte]).unwrap();
        }
        let mut client = Client::over(socket, v, "split");
        assert_eq!(client.connack().1, 0);
    }
}

#[test]
fn emq_websocket_path_and_protocol_rules() {
    let ask = |path: &str, protocols: Option<&str>| {
        http(
            &mut transport::tcp(web().addr("ws.external")),
            &ws_request(path, protocols),
        )
    };
    for path in ["/", "/ws", "/mqtt/", "/mqttx", "/MQTT"] {
        assert_eq!(ask(path, Some("mqtt")).status, 404, "{path}");
    }
    assert_eq!(ask("/mqtt?token=x", Some("mqtt")).status, 101);
    let refused = ask("/mqtt", None);
    assert_eq!(
        (refused.status, refused.body.trim()),
        (400, "Bad WebSocket Protocol")
    );
    assert_eq!(ask("/mqtt", Some("chat")).status, 400);
    // One protocol is chosen from the list, and it is one that was offered.
    for (offered, chosen) in [
        ("mqtt", "mqtt"),
        ("mqttv3.1", "mqttv3.1"),
        ("mqtt, mqttv3.1", "mqtt"),
        ("mqttv3.1, mqtt", "mqtt"),
    ] {
        let answer = ask("/mqtt", Some(offered));
        assert_eq!(answer.status, 101, "{offered}");
        let got = answer.header("sec-websocket-protocol").unwrap();
        assert!(offered.split(", ").any(|o| o == got), "{offered}: {got}");
        assert_eq!(got, chosen, "{offered}");
    }
    let mut plain = transport::tcp(web().addr("ws.external"));
    assert_eq!(
        http(&mut plain, "GET /mqtt HTTP/1.1\r\nHost: x\r\n\r\n").status,
        400
    );
}

#[test]
fn emq_websocket_protocol_header_off() {
    let broker = Broker::start(
        Config::new()
            .listener("ws.external", &[])
            .set("mqtt.websocket_protocol_header", "off"),
    );
    let mut stream = transport::tcp(broker.addr("ws.external"));
    assert_eq!(http(&mut stream, &ws_request("/mqtt", None)).status, 101);
}

/// A header that never ends is not read for ever.
#[test]
fn emq_websocket_handshake_is_bounded() {
    use std::io::Write;
    let mut stream = transport::tcp(web().addr("ws.external"));
    let line = format!("X-Long: {}\r\n", "x".repeat(1000));
    let mut failed = stream.write_all(b"GET /mqtt HTTP/1.1\r\n").is_err();
    for _ in 0..1000 {
        failed |= stream.write_all(line.as_bytes()).is_err();
    }
    let mut rest = Vec::new();
    // Either an error status or a plain close; never an endless wait.
    let read = stream.read_to_end(&mut rest);
    assert!(failed || read.is_err() || !rest.starts_with(b"HTTP/1.1 101"));
    assert!(
        !matches!(read, Err(ref e) if e.kind() == std::io::ErrorKind::WouldBlock),
        "{read:?}"
    );
}

#[test]
fn emq_websocket_ping_and_close() {
    let mut socket = socket();
    for payload in [&b""[..], b"hello", &[0xff; 125]] {
        socket.send_frame(true, opcode::PING, payload).unwrap();
        let pong = socket.read_frame().unwrap().unwrap();
        assert_eq!(
            (pong.opcode, pong.payload.as_slice()),
            (opcode::PONG, payload)
        );
    }
    socket
        .send_frame(true, opcode::CLOSE, &[0x03, 0xe8])
        .unwrap();
    let answer = socket.read_frame().unwrap().unwrap();
    assert_eq!(
        (answer.opcode, answer.payload.get(..2)),
        (opcode::CLOSE, Some(&[0x03, 0xe8][..]))
    );
    assert_eq!(socket.read_frame().unwrap(), None);
}

/// RFC 6455: unmasked frames, reserved bits and types, broken fragments, long control frames.
#[test]
fn emq_websocket_violations_close() {
    let frames: [(&str, Vec<u8>); 7] = [
        ("unmasked", vec![0x82, 2, 0xc0, 0]),
        ("reserved bit", {
            let mut f = masked_frame(true, opcode::BINARY, &[0xc0, 0]);
            f[0] |= 0x40;
            f
        }),
        ("reserved type", masked_frame(true, 3, &[0xc0, 0])),
        (
            "continuation of nothing",
            masked_frame(true, opcode::CONTINUATION, &[0xc0, 0]),
        ),
        ("fragmented ping", masked_frame(false, opcode::PING, b"x")),
        ("long ping", masked_frame(true, opcode::PING, &[0; 126])),
        (
            "length of 64 bits",
            vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
        ),
    ];
    for (what, bytes) in frames {
        let mut socket = socket();
        socket
            .send_frame(
                true,
                opcode::BINARY,
                &Connect::new(Version::V311, &unique("wsbad")).encode(),
            )
            .unwrap();
        let connack = socket.read_frame().unwrap().unwrap();
        assert_eq!(connack.payload, [0x20, 2, 0, 0]);
        socket.send_raw(&bytes).unwrap();
        // A close frame may come first.
        let mut frames = 0;
        while let Some(frame) = socket
            .read_frame()
            .unwrap_or_else(|e| panic!("{what}: {e}"))
        {
            assert_eq!(frame.opcode, opcode::CLOSE, "{what}: {frame:?}");
            frames += 1;
        }
        assert!(frames <= 1, "{what}");
    }
}

/// The will of a WebSocket client that goes away without DISCONNECT.
#[test]
fn mqtt_3_1_2_8_closing_the_websocket_publishes_the_will() {
    for v in ALL {
        let topic = unique("wswill");
        let mut watcher = web().client(v, "watch");
        watcher.sub(&topic, 0);
        let connect =
            Connect::new(v, &unique("wswill")).will(emqttd_tests::Will::new(&topic, "gone"));
        let mut socket = socket();
        socket
            .send_frame(true, opcode::BINARY, &connect.encode())
            .unwrap();
        socket.read_frame().unwrap();
        socket
            .send_frame(true, opcode::CLOSE, &[0x03, 0xe8])
            .unwrap();
        watcher.expect(&topic, "gone");
    }
}

#[test]
fn mqtt_3_1_0_2_protocol_errors_over_websocket() {
    for v in ALL {
        let mut client = client(v, "wserr");
        client.send(&Connect::new(v, &unique("wserr")).encode());
        client.expect_closed(&[0x82]);
    }
}

#[test]
fn emq_forwarded_address_and_port() {
    let id = unique("forwarded");
    let mut stream = transport::tcp(web().addr("ws.proxied"));
    let request = ws_request("/mqtt", Some("mqtt")).replace(
        "\r\n\r\n",
        "\r\nX-Forwarded-For: 203.0.113.9, 198.51.100.7\r\nX-Forwarded-Port: 4711\r\n\r\n",
    );
    assert_eq!(http(&mut stream, &request).status, 101);
    let packet = masked_frame(
        true,
        opcode::BINARY,
        &Connect::new(Version::V311, &id).encode(),
    );
    std::io::Write::write_all(&mut stream, &packet).unwrap();
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [0x82, 4, 0x20, 2, 0, 0]);
    let (_, text) = web().ctl(&["clients", "show", &id]);
    assert!(text.contains("peername=198.51.100.7:4711"), "{text}");
}

#[test]
fn mqtt_4_2_0_1_secure_websocket() {
    for v in ALL {
        let tls = transport::tls(
            transport::tcp(web().addr("wss.external")),
            web().certs.client(&[], None),
        )
        .unwrap();
        let id = unique("wss");
        let mut client = Client::over(WebSocket::open(tls), v, &id);
        client.connect(&Connect::new(v, &id));
        let topic = unique("wss");
        client.sub(&topic, 1);
        let payload = "x".repeat(60_000);
        client.pub_(&topic, 1, &payload);
        client.expect(&topic, &payload);
        client.disconnect();
    }
}
