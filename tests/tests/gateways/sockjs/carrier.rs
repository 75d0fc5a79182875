//! A session of SockJS, by any transport.

use std::net::SocketAddr;

use emqttd_tests::stomp::{Frame, frame};
use emqttd_tests::transport::{self, WS_ACCEPT, WebSocket, Wire, opcode, ws_request};

use super::http::{Http, post};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Xhr,
    XhrStreaming,
    EventSource,
    HtmlFile,
    Jsonp,
    WebSocket,
    /// WebSocket without frames of SockJS
    Raw,
}

pub const KINDS: [Kind; 7] = [
    Kind::Xhr,
    Kind::XhrStreaming,
    Kind::EventSource,
    Kind::HtmlFile,
    Kind::Jsonp,
    Kind::WebSocket,
    Kind::Raw,
];

pub struct Carrier {
    kind: Kind,
    addr: SocketAddr,
    session: String,
    /// polls one after the other, or one stream
    receiver: Http,
    streaming: bool,
    /// how many of those that stream were opened
    pub responses: usize,
    sender: Http,
    socket: Option<WebSocket<Box<dyn Wire>>>,
    /// what came of the STOMP stream
    stomp: Vec<u8>,
}

/// Opens a WebSocket at that path.
pub fn websocket(addr: SocketAddr, path: &str) -> WebSocket<Box<dyn Wire>> {
    let mut http = Http::open(addr);
    http.send(ws_request(path, None).as_bytes());
    let head = http.head();
    assert_eq!(head.status, 101, "{head:?}");
    assert_eq!(head.value("sec-websocket-accept"), WS_ACCEPT);
    assert!(head.value("upgrade").eq_ignore_ascii_case("websocket"));
    assert!(head.value("connection").eq_ignore_ascii_case("upgrade"));
    assert_eq!(head.header("content-length"), None);
    WebSocket::over(http.into_wire())
}

/// The text of the next text message; `None` for the end, which has to be one in order.
#[track_caller]
pub fn text(socket: &mut WebSocket<Box<dyn Wire>>) -> Option<String> {
    loop {
        let frame = socket.read_frame().unwrap()?;
        match frame.opcode {
            opcode::TEXT => {
                assert!(frame.fin);
                return Some(String::from_utf8(frame.payload).unwrap());
            }
            opcode::PING => socket
                .send_frame(true, opcode::PONG, &frame.payload)
                .unwrap(),
            opcode::CLOSE => return None,
            other => panic!("a frame of type {other}"),
        }
    }
}

impl Carrier {
    /// A session that is open: its `o` was read.
    #[track_caller]
    pub fn open(kind: Kind, addr: SocketAddr) -> Carrier {
        let mut carrier = Carrier::new(kind, addr, &super::session());
        if kind != Kind::Raw {
            assert_eq!(carrier.frame(), "o");
        }
        carrier
    }

    /// A session of which nothing is asked yet.
    pub fn new(kind: Kind, addr: SocketAddr, session: &str) -> Carrier {
        let socket = match kind {
            Kind::WebSocket => Some(websocket(addr, &format!("{session}/websocket"))),
            Kind::Raw => Some(websocket(addr, "/stomp/websocket")),
            _ => None,
        };
        Carrier {
            kind,
            addr,
            session: session.into(),
            receiver: Http::open(addr),
            streaming: false,
            responses: 0,
            sender: Http::open(addr),
            socket,
            stomp: Vec::new(),
        }
    }

    /// The WebSocket of it.
    pub fn into_socket(self) -> WebSocket<Box<dyn Wire>> {
        self.socket.unwrap()
    }

    /// Its path.
    pub fn session(&self) -> &str {
        &self.session
    }

    /// The next frame of SockJS.
    #[track_caller]
    pub fn frame(&mut self) -> String {
        let path = |name: &str| format!("{}/{name}", self.session);
        let (method, target, end) = match self.kind {
            Kind::WebSocket => {
                let socket = self.socket.as_mut().unwrap();
                return text(socket).expect("a frame");
            }
            Kind::Raw => panic!("there are no frames"),
            Kind::Xhr => ("POST", path("xhr"), "\n"),
            Kind::XhrStreaming => ("POST", path("xhr_streaming"), "\n"),
            Kind::EventSource => ("GET", path("eventsource"), "\r\n\r\n"),
            Kind::HtmlFile => ("GET", path("htmlfile?c=callback"), "</script>\r\n"),
            Kind::Jsonp => ("GET", path("jsonp?c=callback"), ";\r\n"),
        };
        if matches!(self.kind, Kind::Xhr | Kind::Jsonp) {
            self.receiver.ask(method, &target, &[], "");
            let answer = self.receiver.answer();
            assert_eq!(answer.status(), 200, "{answer:?}");
            return unwrapped(self.kind, &answer.body);
        }
        loop {
            if !self.streaming {
                self.receiver = Http::open(self.addr);
                self.receiver.ask(method, &target, &[], "");
                let head = self.receiver.head();
                assert_eq!(head.status, 200, "{head:?}");
                let prelude = match self.kind {
                    Kind::XhrStreaming => "h\n",
                    Kind::EventSource => "\r\n",
                    // Up to the end of what fills the browser's buffer.
                    _ => "\r\n\r\n",
                };
                self.receiver.until(prelude).expect("the prelude");
                self.streaming = true;
                self.responses += 1;
            }
            match self.receiver.until(end) {
                Some(text) => return unwrapped(self.kind, &text),
                // Enough for one answer.
                None => self.streaming = false,
            }
        }
    }

    /// The next frame has to be that.
    #[track_caller]
    pub fn expect(&mut self, wanted: &str) {
        assert_eq!(self.frame(), wanted, "{:?}", self.kind);
    }

    /// The server leaves: it says so, or closes if it has nobody to say it to.
    #[track_caller]
    pub fn goes_away(&mut self) {
        match self.kind {
            Kind::Raw | Kind::WebSocket => {
                let socket = self.socket.as_mut().unwrap();
                let mut last = None;
                while let Some(text) = text(socket) {
                    last = Some(text);
                }
                if self.kind == Kind::WebSocket {
                    assert_eq!(last.as_deref(), Some("c[3000,\"Go away!\"]"));
                }
            }
            _ => loop {
                let frame = self.frame();
                if frame.starts_with("c[") {
                    assert_eq!(frame, "c[3000,\"Go away!\"]", "{:?}", self.kind);
                    return;
                }
            },
        }
    }

    /// Sends a piece of the STOMP stream.
    #[track_caller]
    pub fn send(&mut self, text: &str) {
        let json = serde_json::to_string(&[text]).unwrap();
        match self.kind {
            Kind::WebSocket => self.send_text(&json),
            Kind::Raw => self.send_text(text),
            Kind::Jsonp => {
                let path = format!("{}/jsonp_send", self.session);
                let form = [("Content-Type", "application/x-www-form-urlencoded")];
                let mut body = String::from("d=");
                for byte in json.bytes() {
                    body += &format!("%{byte:02X}");
                }
                self.sender.ask("POST", &path, &form, &body);
                let answer = self.sender.answer();
                assert_eq!((answer.status(), &*answer.body), (200, "ok"));
            }
            _ => {
                let path = format!("{}/xhr_send", self.session);
                self.sender.ask("POST", &path, &[], &json);
                let answer = self.sender.answer();
                assert_eq!(answer.status(), 204, "{answer:?}");
            }
        }
    }

    fn send_text(&mut self, text: &str) {
        let socket = self.socket.as_mut().unwrap();
        socket
            .send_frame(true, opcode::TEXT, text.as_bytes())
            .unwrap();
    }

    /// Sends a STOMP frame.
    #[track_caller]
    pub fn say(&mut self, command: &str, headers: &[(&str, &str)], body: &str) {
        let bytes = frame(command, headers, body);
        self.send(std::str::from_utf8(&bytes).unwrap());
    }

    /// The next STOMP frame.
    #[track_caller]
    pub fn recv(&mut self) -> Frame {
        loop {
            if let Some(frame) = Frame::take(&mut self.stomp, true).unwrap() {
                return frame;
            }
            match self.kind {
                Kind::Raw => {
                    let socket = self.socket.as_mut().unwrap();
                    let text = text(socket).expect("a message");
                    self.stomp.extend(text.into_bytes());
                }
                _ => {
                    let frame = self.frame();
                    for message in messages(&frame) {
                        self.stomp.extend(message.into_bytes());
                    }
                }
            }
        }
    }

    /// CONNECT as `guest`, with these headers beside.
    #[track_caller]
    pub fn connect(&mut self, headers: &[(&str, &str)]) {
        let own = [
            ("accept-version", "1.2"),
            ("login", "guest"),
            ("passcode", "guest"),
        ];
        self.say("CONNECT", &[&own, headers].concat(), "");
        let answer = self.recv();
        assert_eq!(
            String::from_utf8(answer.bytes).unwrap(),
            "CONNECTED\nserver:emq-stomp/1.2\nversion:1.2\nheart-beat:0,0\n\n\0"
        );
    }

    /// SUBSCRIBE, done when the broker has it.
    #[track_caller]
    pub fn sub(&mut self, id: &str, destination: &str) {
        let receipt = format!("sub-{id}");
        let headers = [
            ("id", id),
            ("destination", destination),
            ("receipt", &receipt),
        ];
        self.say("SUBSCRIBE", &headers, "");
        assert_eq!(self.recv().value("receipt-id"), receipt);
    }

    /// The connection that receives is cut.
    pub fn cut(&mut self) {
        self.receiver = Http::open(self.addr);
        self.streaming = false;
        if let Some(socket) = self.socket.take() {
            let _ = socket.wire.tcp().shutdown(std::net::Shutdown::Both);
        }
    }

    /// The server has to end it in order, after what is left of frames.
    #[track_caller]
    pub fn closed(&mut self, close: &str) {
        match self.kind {
            Kind::Raw => {
                let socket = self.socket.as_mut().unwrap();
                assert_eq!(text(socket), None);
            }
            Kind::WebSocket => {
                self.expect(close);
                let socket = self.socket.as_mut().unwrap();
                assert_eq!(text(socket), None);
            }
            _ => {
                self.expect(close);
                // Whoever comes again is told again, for a while.
                let again = post(self.addr, &format!("{}/xhr", self.session), "");
                assert_eq!(again.body, format!("{close}\n"));
            }
        }
    }
}

/// The frame in what a transport wraps around it.
#[track_caller]
fn unwrapped(kind: Kind, text: &str) -> String {
    let inner = |begin: &str, end: &str| {
        let inner = text.strip_prefix(begin).and_then(|t| t.strip_suffix(end));
        inner
            .unwrap_or_else(|| panic!("{kind:?}: {text:?}"))
            .to_owned()
    };
    let json = |begin: &str, end: &str| serde_json::from_str(&inner(begin, end)).unwrap();
    match kind {
        // Clients take it through decodeURI().
        Kind::EventSource => inner("data: ", "\r\n\r\n").replace("%25", "%"),
        Kind::HtmlFile => json("<script>\np(", ");\n</script>\r\n"),
        Kind::Jsonp => json("/**/callback(", ");\r\n"),
        _ => inner("", "\n"),
    }
}

/// The messages in a frame; `h` has none, and others are no frames with messages.
#[track_caller]
pub fn messages(frame: &str) -> Vec<String> {
    match frame {
        "h" => Vec::new(),
        frame => {
            let list = frame.strip_prefix('a').unwrap_or_else(|| panic!("{frame}"));
            serde_json::from_str(list).unwrap()
        }
    }
}

/// The JSON of a client that sends these texts.
pub fn json(texts: &[&str]) -> String {
    serde_json::to_string(texts).unwrap()
}

/// The connection was opened, and is closed by the server.
#[track_caller]
pub fn refused_websocket(addr: SocketAddr, request: &str, status: u16, body: &str) {
    let mut wire = transport::tcp(addr);
    let answer = transport::http(&mut wire, request);
    assert_eq!((answer.status, &*answer.body), (status, body), "{answer:?}");
}
