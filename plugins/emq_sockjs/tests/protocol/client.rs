//! A client of HTTP that sees every byte: it reads chunks one by one.

use crate::services;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Longer than anything may take.
pub const LONG: Duration = Duration::from_secs(10);

/// A server with the services of the tests, which ends with its runtime.
pub struct Server {
    pub address: String,
}

impl Server {
    pub async fn start() -> Server {
        Server::with(services::server()).await
    }

    pub async fn with(server: emq_sockjs::sockjs::server::Server) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(services::serve(Arc::new(server), listener));
        Server { address }
    }

    pub async fn get(&self, path: &str) -> Response {
        self.ask("GET", path, &[], "").await
    }

    pub async fn post(&self, path: &str, body: &str) -> Response {
        self.ask("POST", path, &[], body).await
    }

    /// A request on a connection of its own, and all of the response.
    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let mut stream = self.open(method, path, headers, body).await;
        stream.read_body().await;
        stream.response
    }

    /// A request, and the head of its response.
    pub async fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Stream {
        let mut connection = self.connect().await;
        connection.send(method, path, "1.1", headers, body).await;
        connection.response().await
    }

    pub async fn connect(&self) -> Connection {
        let stream = TcpStream::connect(&self.address).await.unwrap();
        Connection(BufReader::new(stream))
    }
}

/// A session that nobody has had.
pub fn session(service: &str) -> String {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    format!("{service}/000/{}-{number}", std::process::id())
}

pub struct Connection(pub BufReader<TcpStream>);

impl Connection {
    /// A request; `Content-Length` when it has a body or is a POST.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        version: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) {
        let mut request = format!("{method} {path} HTTP/{version}\r\nHost: localhost\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        if method == "POST" || !body.is_empty() {
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        request += &format!("\r\n{body}");
        self.0.write_all(request.as_bytes()).await.unwrap();
    }

    /// The head of a response.
    pub async fn response(mut self) -> Stream {
        let status = self.line().await;
        let mut words = status.splitn(3, ' ');
        let version = words.next().unwrap().to_owned();
        let status = words.next().unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line().await;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap();
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        Stream {
            connection: self,
            response: Response {
                version,
                status,
                headers,
                body: String::new(),
            },
        }
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = tokio::time::timeout(LONG, self.0.read_line(&mut line));
        read.await.unwrap().unwrap();
        line.trim_end().to_owned()
    }

    pub async fn bytes(&mut self, most: usize) -> Vec<u8> {
        let mut bytes = vec![0; most];
        let read = tokio::time::timeout(LONG, self.0.read_exact(&mut bytes));
        read.await.unwrap().unwrap();
        bytes
    }

    /// All that comes before the server closes.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(LONG, self.0.read_to_end(&mut bytes));
        read.await.unwrap().unwrap();
        bytes
    }
}

/// A response whose body is still to come.
pub struct Stream {
    pub connection: Connection,
    pub response: Response,
}

impl Stream {
    /// The next chunk; empty = the end of the body.
    pub async fn chunk(&mut self) -> String {
        assert_eq!(self.response.header("transfer-encoding"), "chunked");
        let size = self.connection.line().await;
        let size = usize::from_str_radix(&size, 16).unwrap();
        let mut bytes = self.connection.bytes(size + 2).await;
        assert_eq!(bytes.split_off(size), b"\r\n");
        String::from_utf8(bytes).unwrap()
    }

    /// The body, however it is written.
    pub async fn read_body(&mut self) {
        let head = &self.response;
        if matches!(head.status, 101 | 204 | 304) {
            return;
        }
        if head.header("transfer-encoding") == "chunked" {
            loop {
                let chunk = self.chunk().await;
                if chunk.is_empty() {
                    return;
                }
                self.response.body += &chunk;
            }
        }
        let bytes = match head.find("content-length") {
            Some(size) => self.connection.bytes(size.parse().unwrap()).await,
            None => self.connection.rest().await,
        };
        self.response.body = String::from_utf8(bytes).unwrap();
    }
}

#[derive(Debug)]
pub struct Response {
    pub version: String,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Response {
    pub fn find(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter(|(given, _)| given == name);
        let value = named.next().map(|(_, value)| value.as_str());
        assert!(named.next().is_none(), "{name} is there twice: {self:?}");
        value
    }

    /// The value of a header, empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.find(name).unwrap_or_default()
    }

    #[track_caller]
    pub fn verify(&self, status: u16, body: &str) {
        assert_eq!(
            (self.status, self.body.as_str()),
            (status, body),
            "{self:?}"
        );
    }

    #[track_caller]
    pub fn verify_not_cached(&self) {
        assert_eq!(
            self.header("cache-control"),
            "no-store, no-cache, no-transform, must-revalidate, max-age=0"
        );
        assert_eq!(self.find("expires"), None);
        assert_eq!(self.find("last-modified"), None);
    }

    #[track_caller]
    pub fn verify_cached(&self) {
        assert_eq!(self.header("cache-control"), "public, max-age=31536000");
        let expires = httpdate::parse_http_date(self.header("expires")).unwrap();
        let year = Duration::from_secs(31_536_000);
        let least = std::time::SystemTime::now() + year - Duration::from_secs(60);
        assert!(expires > least, "{self:?}");
        assert_eq!(self.find("last-modified"), None);
    }

    #[track_caller]
    pub fn verify_cors(&self, origin: Option<&str>) {
        assert_eq!(
            self.header("access-control-allow-origin"),
            origin.unwrap_or("*")
        );
        assert_eq!(
            self.find("access-control-allow-credentials"),
            origin.map(|_| "true")
        );
        assert_eq!(self.header("vary"), "Origin");
    }

    #[track_caller]
    pub fn verify_no_cookie(&self) {
        assert_eq!(self.find("set-cookie"), None);
    }

    #[track_caller]
    pub fn verify_405(&self, allow: &str) {
        self.verify(405, "");
        assert_eq!(self.find("content-type"), None);
        assert_eq!(self.header("allow"), allow);
    }
}
