//! WebSocket, with frames of SockJS and without.

use std::time::Duration;

use emqttd_tests::transport::{WS_ACCEPT, opcode, ws_request};

use super::carrier::{Carrier, Kind, json, refused_websocket, text, websocket};
use super::http::Http;
use super::{BYE, CONNECT, CONNECTED, DISCONNECT, here, session};

#[test]
fn a_session() {
    let mut socket = websocket(here(), &format!("{}/websocket", session()));
    assert_eq!(text(&mut socket).unwrap(), "o");
    for (sent, got) in [(CONNECT, CONNECTED), (DISCONNECT, BYE)] {
        socket
            .send_frame(true, opcode::TEXT, sent.as_bytes())
            .unwrap();
        assert_eq!(text(&mut socket).unwrap(), got);
    }
    assert_eq!(text(&mut socket).unwrap(), "c[3000,\"Go away!\"]");
    assert_eq!(text(&mut socket), None);
}

#[test]
fn raw() {
    let mut socket = websocket(here(), "/stomp/websocket");
    for opcode in [opcode::TEXT, opcode::BINARY] {
        let mut other = websocket(here(), "/stomp/websocket");
        let connect = b"CONNECT\nlogin:guest\npasscode:guest\n\n\0";
        other.send_frame(true, opcode, connect).unwrap();
        let answer = text(&mut other).unwrap();
        assert!(
            answer.starts_with("CONNECTED\nserver:emq-stomp/1.2\n"),
            "{answer}"
        );
    }
    // Several pieces of a frame, and several frames in a piece.
    let pieces = [
        "CONNECT\naccept",
        "-version:1.2\nlogin:guest\npass",
        "code:guest\n\n\0BEGIN\ntransaction:1\nreceipt:1\n\n\0DISCONNECT\nreceipt:2\n\n\0",
    ];
    for piece in pieces {
        socket
            .send_frame(true, opcode::TEXT, piece.as_bytes())
            .unwrap();
    }
    let mut all = String::new();
    while let Some(text) = text(&mut socket) {
        all += &text;
    }
    assert_eq!(
        all,
        "CONNECTED\nserver:emq-stomp/1.2\nversion:1.2\nheart-beat:0,0\n\n\0\
         RECEIPT\nreceipt-id:1\n\n\0RECEIPT\nreceipt-id:2\n\n\0"
    );
}

#[test]
fn requests_that_are_none() {
    let path = format!("{}/websocket", session());
    refused_websocket(
        here(),
        &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        400,
        "Can \"Upgrade\" only to \"WebSocket\".",
    );
    refused_websocket(
        here(),
        &format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: WebSocket\r\nConnection: close\r\n\r\n"
        ),
        400,
        "\"Connection\" must be \"Upgrade\".",
    );
    // Firefox says more, and any case is right.
    let request = ws_request(&path, None)
        .replace("Connection: Upgrade", "Connection: keep-alive, upgrade")
        .replace("Upgrade: websocket", "Upgrade: WebSocket");
    let mut http = Http::open(here());
    http.send(request.as_bytes());
    let head = http.head();
    assert_eq!(head.status, 101);
    assert_eq!(head.value("sec-websocket-accept"), WS_ACCEPT);
    assert_eq!(head.header("content-length"), None);
    assert_eq!(head.header("set-cookie"), None);
    // stompjs asks for sub-protocols: one of them, or none.
    let request = ws_request("/stomp/websocket", Some("v10.stomp, v11.stomp, v12.stomp"));
    let mut http = Http::open(here());
    http.send(request.as_bytes());
    let head = http.head();
    assert_eq!(head.status, 101);
    if let Some(spoken) = head.header("sec-websocket-protocol") {
        assert!(
            ["v10.stomp", "v11.stomp", "v12.stomp"].contains(&spoken),
            "{spoken}"
        );
    }
}

#[test]
fn messages_in_pieces_and_empty_ones() {
    let mut carrier = Carrier::open(Kind::WebSocket, here());
    carrier.connect(&[]);
    let mut socket = carrier.into_socket();
    // Nothing, and an array of nothing.
    for empty in ["", "[]"] {
        socket
            .send_frame(true, opcode::TEXT, empty.as_bytes())
            .unwrap();
    }
    let message = json(&["BEGIN\ntransaction:1\nre", "ceipt:1\n\n\0"]);
    let (one, two) = message.as_bytes().split_at(9);
    socket.send_frame(false, opcode::TEXT, one).unwrap();
    socket.send_frame(true, opcode::PING, b"ping").unwrap();
    socket.send_frame(true, opcode::CONTINUATION, two).unwrap();
    let pong = socket.read_frame().unwrap().unwrap();
    assert_eq!((pong.opcode, &*pong.payload), (opcode::PONG, &b"ping"[..]));
    assert_eq!(
        text(&mut socket).unwrap(),
        r#"a["RECEIPT\nreceipt-id:1\n\n\u0000"]"#
    );
    // Early clients sent a message without the array.
    socket
        .send_frame(
            true,
            opcode::TEXT,
            b"\"BEGIN\\ntransaction:2\\nreceipt:2\\n\\n\\u0000\"",
        )
        .unwrap();
    match text(&mut socket) {
        None => {}
        Some(text) => assert!(
            text.contains("receipt-id:2") || text.starts_with("c["),
            "{text}"
        ),
    }
}

/// A message that is none ends the connection, with nothing but a close code.
#[test]
fn broken_messages_end_it() {
    for broken in ["[\"a", "{", "[1]", "a"] {
        let mut carrier = Carrier::open(Kind::WebSocket, here());
        carrier.connect(&[]);
        let mut socket = carrier.into_socket();
        socket
            .send_frame(true, opcode::TEXT, broken.as_bytes())
            .unwrap();
        if let Some(text) = text(&mut socket) {
            assert!(text.starts_with("c["), "{text}");
        }
    }
    // Not UTF-8, without a mask, reserved bits, a long PING: WebSocket itself is broken.
    for bytes in [
        emqttd_tests::transport::masked_frame(true, opcode::TEXT, b"[\"\xff\"]"),
        vec![0x81, 1, b'x'],
        vec![0xf1, 0x80, 0, 0, 0, 0],
        emqttd_tests::transport::masked_frame(true, opcode::PING, &[0; 126]),
    ] {
        let mut carrier = Carrier::open(Kind::WebSocket, here());
        carrier.connect(&[]);
        let mut socket = carrier.into_socket();
        socket.send_raw(&bytes).unwrap();
        assert_eq!(text(&mut socket), None);
    }
}

/// The names of sessions have no meaning here.
#[test]
fn two_may_have_the_same_session() {
    let path = format!("{}/websocket", session());
    let mut one = websocket(here(), &path);
    let mut two = websocket(here(), &path);
    assert_eq!(text(&mut one).unwrap(), "o");
    assert_eq!(text(&mut two).unwrap(), "o");
    for socket in [&mut one, &mut two] {
        socket
            .send_frame(true, opcode::TEXT, CONNECT.as_bytes())
            .unwrap();
        assert_eq!(text(socket).unwrap(), CONNECTED);
    }
}

#[test]
fn a_message_has_a_limit() {
    for kind in [Kind::WebSocket, Kind::Raw] {
        let mut carrier = Carrier::open(kind, here());
        carrier.connect(&[]);
        let mut socket = carrier.into_socket();
        // The head of a frame of 1 GB, and some of it.
        let mut bytes = vec![0x81, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 1, 2, 3, 4];
        bytes.extend([b'x'; 4000]);
        socket.send_raw(&bytes).unwrap();
        socket
            .wire
            .tcp()
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        assert_eq!(text(&mut socket), None);
    }
}
