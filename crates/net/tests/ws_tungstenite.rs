//! The server's side of WebSocket against tungstenite as the client.
#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::rc::Rc;

use emqttd_net::ws::{
    End, Handshake, HandshakeOptions, Opcode, WsDecoder, close, frame_header, handshake,
};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::handshake::HandshakeError;
use tungstenite::handshake::client::Request;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::{Error, Message, WebSocket};

/// Both directions of a connection in memory.
#[derive(Default, Clone)]
struct Pipe {
    to_server: Rc<RefCell<Vec<u8>>>,
    to_client: Rc<RefCell<VecDeque<u8>>>,
}

impl Read for Pipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut queue = self.to_client.borrow_mut();
        if queue.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        queue.read(buf)
    }
}

impl Write for Pipe {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.to_server.borrow_mut().extend(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const OPTIONS: HandshakeOptions<'_> = HandshakeOptions {
    check_protocol: true,
    address_header: None,
    port_header: None,
};

fn request(protocol: &str) -> Request {
    let mut request = "ws://localhost/mqtt".into_client_request().unwrap();
    request
        .headers_mut()
        .insert("Sec-WebSocket-Protocol", protocol.parse().unwrap());
    request
}

/// A client whose handshake our side has answered.
fn connect(protocol: &str) -> Result<(WebSocket<Pipe>, Pipe), Error> {
    let pipe = Pipe::default();
    let Err(HandshakeError::Interrupted(half)) =
        tungstenite::client::client(request(protocol), pipe.clone())
    else {
        panic!("no answer was sent yet");
    };
    let sent = std::mem::take(&mut *pipe.to_server.borrow_mut());
    let response = match handshake(&sent, &OPTIONS) {
        Handshake::Accept(upgrade) => {
            assert_eq!(upgrade.consumed, sent.len());
            upgrade.response
        }
        Handshake::Refuse { response, .. } => response,
        Handshake::NeedMore => panic!("the request was complete"),
    };
    pipe.to_client.borrow_mut().extend(response);
    match half.handshake() {
        Ok((client, _)) => Ok((client, pipe)),
        Err(HandshakeError::Failure(error)) => Err(error),
        Err(HandshakeError::Interrupted(_)) => panic!("the response was complete"),
    }
}

/// Takes what the client has sent; the MQTT bytes and the end, replies go back to the client.
fn serve(decoder: &mut WsDecoder, pipe: &Pipe) -> (Vec<u8>, Option<End>) {
    let mut buf = std::mem::take(&mut *pipe.to_server.borrow_mut());
    let mut replies = Vec::new();
    let unframed = decoder.unframe(&mut buf, &mut replies);
    pipe.to_client.borrow_mut().extend(replies);
    (buf[unframed.payload].to_vec(), unframed.end)
}

fn data(last: bool, opcode: Data, payload: &[u8]) -> Message {
    Message::Frame(Frame::message(payload.to_vec(), OpCode::Data(opcode), last))
}

#[test]
fn the_handshake_is_accepted_by_the_client() {
    connect("mqtt").unwrap();
    connect("mqttv3.1").unwrap();
    // tungstenite verifies that the protocol chosen is one of those it offered.
    connect("mqtt, mqttv3.1").unwrap();
}

#[test]
fn the_client_sees_a_refusal() {
    let Err(Error::Http(response)) = connect("chat") else {
        panic!("expected an HTTP error");
    };
    assert_eq!(response.status(), 400);
    assert_eq!(
        response.body().as_deref(),
        Some(&b"Bad WebSocket Protocol"[..])
    );
}

#[test]
fn messages_of_the_client() {
    let (mut client, pipe) = connect("mqtt").unwrap();
    let mut decoder = WsDecoder::default();
    for len in [0, 1, 125, 126, 65535, 65536, 200_000] {
        let payload: Vec<u8> = (0..len).map(|i: u32| (i * 7) as u8).collect();
        client.send(Message::binary(payload.clone())).unwrap();
        assert_eq!(serve(&mut decoder, &pipe), (payload, None));
    }
}

#[test]
fn fragments_and_a_ping_between_them() {
    let (mut client, pipe) = connect("mqtt").unwrap();
    let mut decoder = WsDecoder::default();
    client.send(data(false, Data::Binary, b"a ")).unwrap();
    client
        .send(Message::Ping(b"are you there".to_vec().into()))
        .unwrap();
    client.send(data(false, Data::Continue, b"bc ")).unwrap();
    client.send(data(true, Data::Continue, b"def")).unwrap();
    assert_eq!(serve(&mut decoder, &pipe), (b"a bc def".to_vec(), None));
    assert_eq!(
        client.read().unwrap(),
        Message::Pong(b"are you there".to_vec().into())
    );
}

#[test]
fn messages_of_the_server() {
    let (mut client, pipe) = connect("mqtt").unwrap();
    for len in [0, 1, 125, 126, 65535, 65536, 200_000] {
        let payload: Vec<u8> = (0..len).map(|i: u32| (i * 3) as u8).collect();
        let mut out = Vec::new();
        frame_header(&mut out, Opcode::Binary, payload.len());
        out.extend(&payload);
        pipe.to_client.borrow_mut().extend(out);
        assert_eq!(client.read().unwrap(), Message::binary(payload));
    }
    let mut ping = Vec::new();
    frame_header(&mut ping, Opcode::Ping, 2);
    ping.extend(b"hi");
    pipe.to_client.borrow_mut().extend(ping);
    assert_eq!(client.read().unwrap(), Message::Ping(b"hi".to_vec().into()));
    // The client's pong is nothing to us.
    assert_eq!(serve(&mut WsDecoder::default(), &pipe), (Vec::new(), None));
}

#[test]
fn close_from_the_client() {
    let (mut client, pipe) = connect("mqtt").unwrap();
    client.close(None).unwrap();
    let (_, end) = serve(&mut WsDecoder::default(), &pipe);
    assert_eq!(end, Some(End::Closed(1005)));
    assert!(matches!(client.read().unwrap(), Message::Close(None)));
}

#[test]
fn close_from_the_server() {
    let (mut client, pipe) = connect("mqtt").unwrap();
    let mut out = Vec::new();
    close(&mut out, 1008);
    pipe.to_client.borrow_mut().extend(out);
    let Message::Close(Some(seen)) = client.read().unwrap() else {
        panic!("expected a close with a code");
    };
    assert_eq!(u16::from(seen.code), 1008);
    client.flush().unwrap();
    let (_, end) = serve(&mut WsDecoder::default(), &pipe);
    assert_eq!(end, Some(End::Closed(1008)));
}

#[test]
fn a_text_message_is_answered_with_1003() {
    let (mut client, pipe) = connect("mqtt").unwrap();
    client.send(Message::text("MQTT")).unwrap();
    let (payload, end) = serve(&mut WsDecoder::default(), &pipe);
    assert!(payload.is_empty() && matches!(end, Some(End::Error(_))));
    let Message::Close(Some(seen)) = client.read().unwrap() else {
        panic!("expected a close with a code");
    };
    assert_eq!(u16::from(seen.code), 1003);
}
