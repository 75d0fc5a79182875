//! A client of HTTP/1.1 that shares no code with the broker's server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::ClientConfig;
use serde_json::Value;

use crate::transport::{self, Wire};

/// Where requests go, and what each of them has with it.
#[derive(Clone)]
pub struct Http {
    addr: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    headers: Vec<(String, String)>,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// status code
    pub status: u16,
    /// headers, names in lower case
    pub headers: Vec<(String, String)>,
    /// body
    pub body: Vec<u8>,
}

impl Http {
    /// Requests to that address, by nobody.
    pub fn at(addr: SocketAddr) -> Http {
        Http {
            addr,
            tls: None,
            headers: Vec::new(),
        }
    }

    /// Requests as a fresh broker's `admin`.
    pub fn admin(addr: SocketAddr) -> Http {
        Http::at(addr).basic("admin", "public")
    }

    /// Over TLS.
    pub fn tls(mut self, config: Arc<ClientConfig>) -> Http {
        self.tls = Some(config);
        self
    }

    /// With a header more; one of that name is replaced.
    pub fn header(mut self, name: &str, value: &str) -> Http {
        self.headers
            .retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With user name and password.
    pub fn basic(self, user: &str, password: &str) -> Http {
        let credentials = STANDARD.encode(format!("{user}:{password}"));
        self.header("Authorization", &format!("Basic {credentials}"))
    }

    /// With a token.
    pub fn bearer(self, token: &str) -> Http {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// GET.
    #[track_caller]
    pub fn get(&self, target: &str) -> Answer {
        self.send("GET", target, None)
    }

    /// POST of JSON.
    #[track_caller]
    pub fn post(&self, target: &str, body: &Value) -> Answer {
        self.send("POST", target, Some(body.to_string().as_bytes()))
    }

    /// PUT of JSON.
    #[track_caller]
    pub fn put(&self, target: &str, body: &Value) -> Answer {
        self.send("PUT", target, Some(body.to_string().as_bytes()))
    }

    /// DELETE.
    #[track_caller]
    pub fn delete(&self, target: &str) -> Answer {
        self.send("DELETE", target, None)
    }

    /// Any request, over a connection of its own; a body is JSON unless a header says otherwise.
    #[track_caller]
    pub fn send(&self, method: &str, target: &str, body: Option<&[u8]>) -> Answer {
        let mut wire = self.connect();
        wire.write_all(&self.request(method, target, body)).unwrap();
        read_answer(&mut wire, method).unwrap_or_else(|| panic!("no answer to {method} {target}"))
    }

    /// A connection with nothing sent.
    pub fn connect(&self) -> Box<dyn Wire> {
        let stream: TcpStream = transport::tcp(self.addr);
        match &self.tls {
            None => Box::new(stream),
            Some(config) => Box::new(transport::tls(stream, Arc::clone(config)).unwrap()),
        }
    }

    /// A request as bytes.
    pub fn request(&self, method: &str, target: &str, body: Option<&[u8]>) -> Vec<u8> {
        let mut text = format!("{method} {target} HTTP/1.1\r\n");
        let has = |name: &str| {
            let mut headers = self.headers.iter();
            headers.any(|(other, _)| other.eq_ignore_ascii_case(name))
        };
        if !has("host") {
            text += &format!("Host: {}\r\n", self.addr);
        }
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = body {
            if !has("content-type") {
                text += "Content-Type: application/json\r\n";
            }
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        text += "\r\n";
        let mut bytes = text.into_bytes();
        bytes.extend(body.unwrap_or_default());
        bytes
    }
}

impl Answer {
    /// A header; the first of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e} in {} {:?}", self.status, self.text()))
    }

    /// `code` of the body.
    #[track_caller]
    pub fn code(&self) -> i64 {
        let json = self.json();
        json["code"]
            .as_i64()
            .unwrap_or_else(|| panic!("no code in {json}"))
    }

    /// `result` of an answer that went well.
    #[track_caller]
    pub fn result(&self) -> Value {
        assert_eq!((self.status, self.code()), (200, 0), "{}", self.text());
        self.json()["result"].clone()
    }
}

/// Reads an answer; `None` when the connection ends before there is a whole one.
pub fn read_answer(wire: &mut dyn Read, method: &str) -> Option<Answer> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(read(wire, 1)?[0]);
    }
    let text = String::from_utf8(head).unwrap();
    let mut lines = text.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut answer = Answer {
        status,
        headers,
        body: Vec::new(),
    };
    if method == "HEAD" || matches!(status, 100..200 | 204 | 304) {
        return Some(answer);
    }
    if answer.header("transfer-encoding") == Some("chunked") {
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.push(read(wire, 1)?[0]);
            }
            let line = String::from_utf8(line).unwrap();
            let length = usize::from_str_radix(line.trim(), 16).unwrap();
            let chunk = read(wire, length)?;
            answer.body.extend(chunk);
            assert_eq!(read(wire, 2)?, b"\r\n");
            if length == 0 {
                return Some(answer);
            }
        }
    }
    let length = answer.header("content-length").map(|n| n.parse().unwrap());
    answer.body = read(wire, length.unwrap_or(0))?;
    Some(answer)
}

fn read(wire: &mut dyn Read, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    wire.read_exact(&mut bytes).ok().map(|()| bytes)
}
