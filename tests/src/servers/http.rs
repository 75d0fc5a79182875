//! A web service for tests, in this process: it keeps connections, has TLS, and can do all that a service should
//! not: hang, be slow, close connections while they are idle or in the middle of an answer, go away.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::pki;
use super::process::PATIENCE;

/// A request, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// `GET`, `POST`
    pub method: String,
    /// path and query
    pub target: String,
    /// names in lower case
    pub headers: Vec<(String, String)>,
    /// bytes that are not UTF-8 are replaced
    pub body: String,
    /// number of its connection, from 0
    pub connection: usize,
    /// how many came over that connection before it
    pub nth: usize,
}

impl Received {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    /// `POST /path body`, or `GET /path?query`.
    pub fn line(&self) -> String {
        let line = format!("{} {} {}", self.method, self.target, self.body);
        line.trim_end().to_owned()
    }

    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// What the service does about a request.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: String,
    body: Vec<u8>,
    after: Duration,
    /// so many bytes of it are sent, then the connection is closed
    cut: Option<usize>,
}

impl Reply {
    /// An answer without a body.
    pub fn status(status: u16) -> Reply {
        Reply {
            status,
            headers: String::new(),
            body: Vec::new(),
            after: Duration::ZERO,
            cut: None,
        }
    }

    /// With a body.
    pub fn body(mut self, body: &str) -> Reply {
        self.body = body.into();
        self
    }

    /// With a header.
    pub fn header(mut self, name: &str, value: &str) -> Reply {
        self.headers += &format!("{name}: {value}\r\n");
        self
    }

    /// A redirection.
    pub fn redirect(status: u16, location: &str) -> Reply {
        Reply::status(status).header("Location", location)
    }

    /// After so long.
    pub fn after(mut self, pause: Duration) -> Reply {
        self.after = pause;
        self
    }

    /// Only so many bytes of it; then the connection ends.
    pub fn cut(mut self, bytes: usize) -> Reply {
        self.cut = Some(bytes);
        self
    }

    /// The connection ends without an answer.
    pub fn none() -> Reply {
        Reply::status(200).cut(0)
    }

    fn encode(&self) -> Vec<u8> {
        let (status, length) = (self.status, self.body.len());
        let head = format!(
            "HTTP/1.1 {status} Said\r\nContent-Length: {length}\r\n{}\r\n",
            self.headers
        );
        let mut bytes = [head.as_bytes(), &self.body].concat();
        bytes.truncate(self.cut.unwrap_or(usize::MAX));
        bytes
    }
}

type Handler = dyn Fn(&Received) -> Reply + Send + Sync;

/// A web service. It ends when it is dropped.
pub struct HttpServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    handler: Box<Handler>,
    tls: Option<Arc<ServerConfig>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    next: usize,
    /// by number: the socket, and whether it waits for a request
    open: BTreeMap<usize, (TcpStream, bool)>,
    received: Vec<Received>,
    hangs: bool,
    stopped: bool,
}

impl HttpServer {
    /// On 127.0.0.1.
    pub fn start(handler: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> HttpServer {
        HttpServer::start_on(Ipv4Addr::LOCALHOST.into(), None, Box::new(handler))
    }

    /// On that address of this machine.
    pub fn start_at(
        ip: IpAddr,
        handler: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> HttpServer {
        HttpServer::start_on(ip, None, Box::new(handler))
    }

    /// With TLS: `<certificate>.crt` of [`pki`]; `certified` = clients must have a certificate of the authority.
    pub fn start_tls(
        certificate: &str,
        certified: bool,
        handler: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> HttpServer {
        let tls = tls(certificate, certified);
        HttpServer::start_on(Ipv4Addr::LOCALHOST.into(), Some(tls), Box::new(handler))
    }

    fn start_on(ip: IpAddr, tls: Option<Arc<ServerConfig>>, handler: Box<Handler>) -> HttpServer {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let server = HttpServer {
            address: listener.local_addr().unwrap(),
            shared: Arc::new(Shared {
                handler,
                tls,
                state: Mutex::default(),
                changed: Condvar::new(),
            }),
            accepting: Mutex::default(),
        };
        server.accept(listener);
        server
    }

    fn accept(&self, listener: TcpListener) {
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                if shared.state().stopped {
                    return;
                }
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        *self.accepting.lock().unwrap() = Some(thread);
    }

    /// `http://127.0.0.1:port<path>`; with TLS it is `https://localhost:port<path>`.
    pub fn url(&self, path: &str) -> String {
        match self.shared.tls {
            Some(_) => format!("https://localhost:{}{path}", self.port()),
            None => format!("http://{}{path}", self.address),
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What came since this was last asked.
    pub fn requests(&self) -> Vec<Received> {
        std::mem::take(&mut self.shared.state().received)
    }

    /// The same as [`Received::line`]s.
    pub fn lines(&self) -> Vec<String> {
        self.requests().iter().map(Received::line).collect()
    }

    /// Waits until so many have come since [`HttpServer::requests`] was last asked.
    #[track_caller]
    pub fn await_requests(&self, count: usize) {
        self.shared
            .wait_until("requests", |state| state.received.len() >= count);
    }

    /// From now on nothing is answered; connections and requests are taken all the same.
    pub fn hang(&self) {
        self.shared.state().hangs = true;
    }

    /// Answers all that waits, and works again.
    pub fn resume(&self) {
        self.shared.state().hangs = false;
        self.shared.changed.notify_all();
    }

    /// Closes the connections that wait for a request, as services do after a while; says how many.
    pub fn close_idle(&self) -> usize {
        let state = self.shared.state();
        let idle = state.open.values().filter(|(_, idle)| *idle);
        let mut closed = 0;
        for (socket, _) in idle {
            // One that the other side has closed meanwhile is fine.
            let _ = socket.shutdown(Shutdown::Both);
            closed += 1;
        }
        closed
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.shared.state().open.len()
    }

    /// Goes away: nothing listens any more, and connections are closed.
    pub fn stop(&self) {
        let Some(accepting) = self.accepting.lock().unwrap().take() else {
            return;
        };
        self.shared.state().stopped = true;
        // Wakes it up, so that it sees.
        let _ = TcpStream::connect(self.address);
        accepting.join().unwrap();
        for (socket, _) in self.shared.state().open.values() {
            let _ = socket.shutdown(Shutdown::Both);
        }
        self.shared.changed.notify_all();
        self.shared
            .wait_until("end of all connections", |state| state.open.is_empty());
    }

    /// Comes back, at the same port.
    pub fn start_again(&self) {
        self.shared.state().stopped = false;
        self.accept(TcpListener::bind(self.address).unwrap());
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    #[track_caller]
    fn wait_until(&self, what: &str, is_so: impl Fn(&State) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state();
        while !is_so(&state) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {what} within {PATIENCE:?}");
            state = self.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    fn serve(&self, socket: TcpStream) {
        let number = {
            let mut state = self.state();
            let number = state.next;
            state.next += 1;
            state
                .open
                .insert(number, (socket.try_clone().unwrap(), true));
            number
        };
        // The other side may go whenever it likes.
        let _ = match &self.tls {
            None => self.talk(socket, number),
            Some(tls) => {
                let connection = ServerConnection::new(Arc::clone(tls)).unwrap();
                self.talk(StreamOwned::new(connection, socket), number)
            }
        };
        if let Some((socket, _)) = self.state().open.remove(&number) {
            let _ = socket.shutdown(Shutdown::Both);
        }
        self.changed.notify_all();
    }

    fn talk(&self, stream: impl Read + Write, number: usize) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        for nth in 0.. {
            let Some(request) = read(&mut stream, number, nth)? else {
                return Ok(());
            };
            let reply = {
                let mut state = self.state();
                if let Some((_, idle)) = state.open.get_mut(&number) {
                    *idle = false;
                }
                state.received.push(request.clone());
                self.changed.notify_all();
                while state.hangs && !state.stopped {
                    state = self.changed.wait(state).unwrap();
                }
                drop(state);
                (self.handler)(&request)
            };
            // A slow service.
            std::thread::sleep(reply.after);
            // Before the answer: who has it may ask for idle connections at once.
            if let Some((_, idle)) = self.state().open.get_mut(&number) {
                *idle = true;
            }
            stream.get_mut().write_all(&reply.encode())?;
            stream.get_mut().flush()?;
            if reply.cut.is_some() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// `None` = the connection has ended.
fn read(
    stream: &mut impl BufRead,
    connection: usize,
    nth: usize,
) -> std::io::Result<Option<Received>> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Ok(None);
    };
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, value)| value.parse().unwrap())];
    stream.read_exact(&mut body)?;
    Ok(Some(Received {
        method,
        target,
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
        connection,
        nth,
    }))
}

pub(super) fn tls(certificate: &str, certified: bool) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(pki::file(&format!("{certificate}.crt"))).unwrap();
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = fs::read(pki::file(&format!("{certificate}.key"))).unwrap();
    let key = PrivateKeyDer::from_pem_slice(&key).unwrap();
    let builder = ServerConfig::builder();
    let builder = if certified {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(pki::file("ca.crt")).unwrap();
        roots.add(ca).unwrap();
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
        builder.with_client_cert_verifier(verifier.unwrap())
    } else {
        builder.with_no_client_auth()
    };
    Arc::new(builder.with_single_cert(chain, key).unwrap())
}
