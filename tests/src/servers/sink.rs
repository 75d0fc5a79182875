//! What a web hook posts to: a web server in this process, HTTP/1.1 and HTTP/2 (over TLS by ALPN, without TLS by
//! its first bytes), that keeps what came in order, and does at once what a test tells it: hang, be slow, break
//! off, refuse, freeze, go away, come back.
//!
//! ```no_run
//! # use emqttd_tests::servers::sink::{Mode, Sink};
//! let sink = Sink::start();
//! // web.hook.api.url = <sink.url("/")>
//! sink.next([Mode::Status(503), Mode::Drop]);
//! let posts = sink.wait_for(3);
//! assert_eq!(posts[2].text(), posts[0].text());
//! ```

use std::collections::VecDeque;
use std::future::Future as _;
use std::io;
use std::net::Ipv4Addr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper::{Request, Response, Version, server};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::ports::{self, Port};
use super::process::PATIENCE;

/// What the sink does about a post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// an answer with this status, without a body
    Status(u16),
    /// 200 after so long
    Slow(Duration),
    /// none while this lasts; then as the next mode says
    Hang,
    /// half an answer, then the connection ends (HTTP/2: the stream is reset)
    Break,
    /// the connection ends instead (HTTP/2: the stream is reset)
    Drop,
    /// 307 with this `Location`
    Redirect(String),
    /// nobody listens, and connections end; for [`Sink::set`] alone
    Refuse,
    /// as a process that was stopped: nothing is accepted, read or written; for [`Sink::set`] alone
    Freeze,
}

/// A post, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// `POST`
    pub method: String,
    /// path and query
    pub target: String,
    /// names in lower case, in order; HTTP/2 has no `host`
    pub headers: Vec<(String, String)>,
    /// bytes, as they came
    pub body: Bytes,
    /// `HTTP/1.1`, `HTTP/2.0`
    pub version: String,
    /// number of its connection, from 0
    pub connection: usize,
    /// what was done about it; [`Mode::Hang`] if it had to wait, whatever came of it
    pub mode: Mode,
}

impl Post {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body, which has to be UTF-8.
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// A web server on 127.0.0.1. It ends when it is dropped.
pub struct Sink {
    port: Port,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

struct Shared {
    tls: Option<Arc<ServerConfig>>,
    state: Mutex<State>,
    changed: Condvar,
    orders: watch::Sender<Orders>,
}

/// What a test has told.
#[derive(Clone)]
struct Orders {
    mode: Mode,
    /// how often connections were told to go
    goings: usize,
}

#[derive(Default)]
struct State {
    /// since [`Sink::take`]
    count: usize,
    posts: Vec<Post>,
    count_only: bool,
    /// for the next posts
    next: VecDeque<Mode>,
    connections: usize,
    open: usize,
    listens: bool,
}

impl Sink {
    /// `http:`, where every post is answered with 200.
    pub fn start() -> Sink {
        Sink::start_on(None)
    }

    /// `https:`, with `<certificate>.crt` of [`super::pki`]; `certified` = clients must have a certificate of the
    /// authority.
    pub fn start_tls(certificate: &str, certified: bool) -> Sink {
        let mut config = ServerConfig::clone(&super::http::tls(certificate, certified));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Sink::start_on(Some(Arc::new(config)))
    }

    fn start_on(tls: Option<Arc<ServerConfig>>) -> Sink {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let orders = Orders {
            mode: Mode::Status(200),
            goings: 0,
        };
        let sink = Sink {
            port: ports::reserve(),
            shared: Arc::new(Shared {
                tls,
                state: Mutex::default(),
                changed: Condvar::new(),
                orders: watch::Sender::new(orders),
            }),
            runtime: Some(runtime),
        };
        let listening = Arc::clone(&sink.shared).listen(sink.port.number);
        if let Some(runtime) = &sink.runtime {
            runtime.spawn(listening);
        }
        drop(sink.shared.wait_until("listener", |state| state.listens));
        sink
    }

    /// `http://127.0.0.1:port<path>`, with TLS `https://localhost:port<path>`.
    pub fn url(&self, path: &str) -> String {
        let port = self.port.number;
        match self.shared.tls {
            Some(_) => format!("https://localhost:{port}{path}"),
            None => format!("http://127.0.0.1:{port}{path}"),
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port.number
    }

    /// From now on, for posts that wait as well. Has happened when this returns.
    #[track_caller]
    pub fn set(&self, mode: Mode) {
        let refuses = mode == Mode::Refuse;
        self.shared.orders.send_modify(|orders| orders.mode = mode);
        let shared = &self.shared;
        drop(match refuses {
            true => shared.wait_until("end", |state| !state.listens && state.open == 0),
            false => shared.wait_until("return", |state| state.listens),
        });
    }

    /// For the next posts, one each; after them it is again as [`Sink::set`] says.
    pub fn next(&self, modes: impl IntoIterator<Item = Mode>) {
        self.shared.state().next.extend(modes);
    }

    /// Ends all connections in order: HTTP/2 by GOAWAY, HTTP/1.1 when the answer that is due has gone.
    pub fn go_away(&self) {
        self.shared.orders.send_modify(|orders| orders.goings += 1);
    }

    /// From now on posts are counted and not kept.
    pub fn count_only(&self) {
        self.shared.state().count_only = true;
    }

    /// How many have come since [`Sink::take`] was last called.
    pub fn count(&self) -> usize {
        self.shared.state().count
    }

    /// What has come since this was last called.
    pub fn take(&self) -> Vec<Post> {
        let mut state = self.shared.state();
        state.count = 0;
        std::mem::take(&mut state.posts)
    }

    /// Waits until so many have come since [`Sink::take`], and gives all of them; nothing is taken.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Post> {
        self.wait_until(&format!("{count} posts"), |posts| posts.len() >= count)
    }

    /// Waits until what has come since [`Sink::take`] is so, and gives it; nothing is taken.
    #[track_caller]
    pub fn wait_until(&self, what: &str, is_so: impl Fn(&[Post]) -> bool) -> Vec<Post> {
        self.shared
            .wait_until(what, |state| is_so(&state.posts))
            .posts
            .clone()
    }

    /// Waits until so many were counted.
    #[track_caller]
    pub fn wait_for_count(&self, count: usize) {
        let what = format!("{count} posts");
        drop(self.shared.wait_until(&what, |state| state.count >= count));
    }

    /// Connections that were made, and those of them that are open.
    pub fn connections(&self) -> (usize, usize) {
        let state = self.shared.state();
        (state.connections, state.open)
    }

    /// Waits until no more than so many connections are open.
    #[track_caller]
    pub fn wait_for_connections(&self, most: usize) {
        let what = format!("{most} connections");
        drop(self.shared.wait_until(&what, |state| state.open <= most));
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    #[track_caller]
    fn wait_until(&self, what: &str, is_so: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state();
        while !is_so(&state) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let (count, open) = (state.count, state.open);
                drop(state);
                panic!("no {what} within {PATIENCE:?}: {count} posts, {open} connections open");
            }
            state = self.changed.wait_timeout(state, left).unwrap().0;
        }
        state
    }

    async fn listen(self: Arc<Shared>, port: u16) {
        let mut orders = self.orders.subscribe();
        while wait(&mut orders, |mode| *mode != Mode::Refuse).await {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
                .await
                .unwrap();
            self.change(|state| state.listens = true);
            let mut ends = self.orders.subscribe();
            loop {
                let accepted = async {
                    wait(&mut orders, |mode| *mode != Mode::Freeze).await;
                    listener.accept().await
                };
                tokio::select! {
                    biased;
                    _ = wait(&mut ends, |mode| *mode == Mode::Refuse) => break,
                    accepted = accepted => if let Ok((socket, _)) = accepted {
                        // While it was waited for a connection, this may have come.
                        wait(&mut orders, |mode| *mode != Mode::Freeze).await;
                        tokio::spawn(Arc::clone(&self).serve(socket));
                    }
                }
            }
            drop(listener);
            self.change(|state| state.listens = false);
        }
    }

    /// A connection, from its first byte to its last.
    async fn serve(self: Arc<Shared>, socket: TcpStream) {
        let mut number = 0;
        self.change(|state| {
            number = state.connections;
            state.connections += 1;
            state.open += 1;
        });
        let mut refuses = self.orders.subscribe();
        tokio::select! {
            () = self.handshake(socket, number) => {}
            _ = wait(&mut refuses, |mode| *mode == Mode::Refuse) => {}
        }
        self.change(|state| state.open -= 1);
    }

    async fn handshake(self: &Arc<Shared>, socket: TcpStream, number: usize) {
        // The other side may go whenever it likes.
        let _ = socket.set_nodelay(true);
        match &self.tls {
            None => {
                let http2 = has_preface(&socket).await;
                self.talk(socket, http2, number).await;
            }
            Some(tls) => {
                let accepting = TlsAcceptor::from(Arc::clone(tls)).accept(socket);
                if let Ok(stream) = accepting.await {
                    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    self.talk(stream, http2, number).await;
                }
            }
        }
    }

    async fn talk<S>(self: &Arc<Shared>, stream: S, http2: bool, number: usize)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shared = Arc::clone(self);
        let service = service_fn(move |request| Arc::clone(&shared).answer(request, number));
        let stream = TokioIo::new(stream);
        // Each is told when it has to go, and not polled while all is frozen.
        macro_rules! drive {
            ($connection:expr) => {{
                let mut connection = pin!($connection);
                let mut orders = self.orders.subscribe();
                let goings = orders.borrow_and_update().goings;
                let mut told = false;
                loop {
                    wait(&mut orders, |mode| *mode != Mode::Freeze).await;
                    if orders.borrow().goings > goings && !told {
                        told = true;
                        connection.as_mut().graceful_shutdown();
                    }
                    tokio::select! {
                        _ = &mut connection => return,
                        _ = orders.changed() => {}
                    }
                }
            }};
        }
        if http2 {
            drive!(
                server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(stream, service)
            )
        } else {
            drive!(server::conn::http1::Builder::new().serve_connection(stream, service))
        }
    }

    async fn answer(
        self: Arc<Shared>,
        request: Request<Incoming>,
        connection: usize,
    ) -> Result<Response<Answer>, &'static str> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| "half a request")?;
        let mut orders = self.orders.subscribe();
        let mut mode = orders.borrow_and_update().mode.clone();
        self.change(|state| {
            if let Some(next) = state.next.pop_front() {
                mode = next;
            }
            state.count += 1;
            if !state.count_only {
                let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
                let headers = head.headers.iter();
                state.posts.push(Post {
                    method: head.method.to_string(),
                    target: head.uri.path_and_query().map_or("", |t| t.as_str()).into(),
                    headers: headers
                        .map(|(name, value)| (name.to_string(), text(value.as_bytes())))
                        .collect(),
                    body: body.to_bytes(),
                    version: match head.version {
                        Version::HTTP_2 => "HTTP/2.0".into(),
                        version => format!("{version:?}"),
                    },
                    connection,
                    mode: mode.clone(),
                });
            }
        });
        if mode == Mode::Hang {
            // One that was to hang while others do not waits for the next order.
            if orders.borrow().mode != Mode::Hang {
                let _ = orders.changed().await;
            }
            wait(&mut orders, |mode| *mode != Mode::Hang).await;
            mode = orders.borrow().mode.clone();
        }
        let response = Response::builder();
        let (status, answer) = match mode {
            Mode::Status(status) => (status, Answer::Empty),
            Mode::Slow(pause) => {
                tokio::time::sleep(pause).await;
                (200, Answer::Empty)
            }
            Mode::Break => (200, Answer::Half),
            Mode::Redirect(location) => {
                let response = response.status(307).header("location", location);
                return Ok(response.body(Answer::Empty).unwrap());
            }
            Mode::Drop | Mode::Hang | Mode::Refuse | Mode::Freeze => return Err("no answer"),
        };
        Ok(response.status(status).body(answer).unwrap())
    }
}

/// Until it is so; `false` = the sink has ended.
async fn wait(orders: &mut watch::Receiver<Orders>, is_so: impl Fn(&Mode) -> bool) -> bool {
    orders.wait_for(|orders| is_so(&orders.mode)).await.is_ok()
}

/// Whether HTTP/2 begins there, which is then still to be read.
async fn has_preface(socket: &TcpStream) -> bool {
    let mut first = [0; 3];
    loop {
        match socket.peek(&mut first).await {
            Ok(3) => return &first == b"PRI",
            // More has to come; there is no event for a second byte that is not read.
            Ok(1 | 2) => tokio::time::sleep(Duration::from_millis(1)).await,
            _ => return false,
        }
    }
}

/// The body of an answer.
enum Answer {
    Empty,
    Half,
    /// after the first half: it ends when that has been sent
    Broken(Pin<Box<tokio::time::Sleep>>),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Answer::Empty => Poll::Ready(None),
            Answer::Half => {
                *self = Answer::Broken(Box::pin(tokio::time::sleep(Duration::from_millis(20))));
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"{")))))
            }
            Answer::Broken(sent) => {
                ready!(sent.as_mut().poll(context));
                Poll::Ready(Some(Err(io::Error::other("the rest is missing"))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Answer::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Answer::Empty => SizeHint::with_exact(0),
            Answer::Half => SizeHint::with_exact(2),
            Answer::Broken(_) => SizeHint::with_exact(1),
        }
    }
}
