//! Requests of HTTP, and what each of them gets.

use super::frame::{Refused, messages};
use super::reply::{
    Reply, cached, empty, not_allowed, not_cached, not_found, options, sent, set, shared, tagged,
    text, with_body, with_cookie,
};
use super::route::{Action, Route, field};
use super::session::{Limits, Session, Socket};
use super::sessions::{Found, Place, Sessions};
use super::stall::Stall;
use super::transport::{Content, Frames, Timed, Transport, is_callback};
use super::websocket;
use bytes::Bytes;
use emqttd_plugin_sdk::PeerInfo;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{
    CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
    ORIGIN,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// How long the head of a request may take, the time before it included; and its body.
const READING: Duration = Duration::from_secs(60);
/// How long a client may take nothing of what is written to it.
const WRITING: Duration = Duration::from_secs(30);
/// Most bytes of a head, and of a response that waits to be written.
const BUFFER: usize = 64 * 1024;
/// Bytes of a body that says nothing.
const IDLE_BODY: usize = 4096;
/// The page within an iframe that is invisible; only the script's address is not fixed.
const IFRAME: &str = r#"<!DOCTYPE html>
<html>
<head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
  <script src="{sockjs_url}"></script>
  <script>
    document.domain = document.domain;
    SockJS.bootstrap_iframe();
  </script>
</head>
<body>
  <h2>Don't panic!</h2>
  <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>
</body>
</html>"#;
const HTML: &str = "text/html; charset=UTF-8";

/// Runs a future beside all others.
pub type Spawn = dyn Fn(Pin<Box<dyn Future<Output = ()> + Send>>) + Send + Sync;

/// What clients talk to.
pub trait Application: Send + Sync + 'static {
    /// A client has opened a session.
    fn open(&self, socket: Socket, peer: &PeerInfo);

    /// Most bytes of what a client sends at a time.
    fn max_payload(&self) -> usize;

    /// Somebody was refused.
    fn refused(&self, why: Refusal) {
        let _ = why;
    }

    /// What may be spoken through the WebSocket without SockJS, by name, best first.
    fn protocols(&self) -> &'static [&'static str] {
        &[]
    }
}

/// Why somebody was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no place for another session.
    Full,
    /// The page may not connect.
    Origin,
}

/// Which web pages may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// All.
    All,
    /// Those of the server itself and of these, each as `https://www.example.com`.
    These(Vec<String>),
}

impl Origins {
    fn allow(&self, headers: &HeaderMap) -> bool {
        let Origins::These(list) = self else {
            return true;
        };
        // The drafts of WebSocket had a name of their own for it.
        let of_draft = HeaderName::from_static("sec-websocket-origin");
        let Some(origin) = headers.get(ORIGIN).or(headers.get(of_draft)) else {
            return true;
        };
        let origin = origin.to_str().unwrap_or_default();
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        let of_this_server = origin
            .split_once("://")
            .is_some_and(|(_, authority)| host == Some(authority));
        of_this_server || list.iter().any(|one| one.eq_ignore_ascii_case(origin))
    }
}

/// How an application is offered.
#[derive(Debug, Clone)]
pub struct Options {
    /// before all its paths: `/stomp`
    pub prefix: String,
    /// whether WebSockets are offered
    pub websocket: bool,
    /// whether the cookie JSESSIONID is set
    pub cookie_needed: bool,
    /// bytes of a response that streams, after which the client opens the next
    pub response_limit: usize,
    /// where the page of the iframe finds the client's script
    pub sockjs_url: String,
    /// who may connect
    pub origins: Origins,
    /// of sessions
    pub limits: Limits,
    /// sessions at the same time
    pub max_sessions: usize,
}

/// A file that does not change.
#[derive(Debug)]
pub struct File {
    /// `/index.html`
    pub path: &'static str,
    /// its type
    pub content_type: &'static str,
    /// what is in it
    pub content: &'static [u8],
}

/// An application at its prefix.
struct Endpoint {
    options: Options,
    application: Box<dyn Application>,
    sessions: Sessions,
    iframe: Bytes,
}

/// Applications and files.
pub struct Server {
    endpoints: Vec<Arc<Endpoint>>,
    files: &'static [File],
    spawn: Box<Spawn>,
}

/// A connection of HTTP.
struct Connection {
    peer: PeerInfo,
    /// what is to be done when it is no longer one of HTTP
    upgraded: Mutex<Option<Upgraded>>,
}

type Upgraded = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Server {
    /// With these files and no application.
    pub fn new(files: &'static [File], spawn: Box<Spawn>) -> Server {
        Server {
            endpoints: Vec::new(),
            files,
            spawn,
        }
    }

    /// With one application more.
    pub fn with(mut self, options: Options, application: impl Application) -> Server {
        let url = options
            .sockjs_url
            .replace('&', "&amp;")
            .replace('"', "&quot;");
        self.endpoints.push(Arc::new(Endpoint {
            sessions: Sessions::new(options.limits, options.max_sessions),
            iframe: IFRAME.replace("{sockjs_url}", &url).into(),
            application: Box::new(application),
            options,
        }));
        self
    }

    /// Ends all sessions, and opens no more.
    pub fn close(&self) {
        for endpoint in &self.endpoints {
            endpoint.sessions.close();
        }
    }

    /// Whether some client still receives.
    pub fn is_receiving(&self) -> bool {
        let mut endpoints = self.endpoints.iter();
        endpoints.any(|endpoint| endpoint.sessions.is_receiving())
    }

    /// Serves a connection until its end.
    pub async fn serve<S>(self: Arc<Server>, stream: S, peer: PeerInfo)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let connection = Arc::new(Connection {
            peer,
            upgraded: Mutex::new(None),
        });
        let about = Arc::clone(&connection);
        let service = service_fn(move |request| {
            let (server, connection) = (Arc::clone(&self), Arc::clone(&connection));
            async move {
                let version = request.version();
                let reply = server.answer(request, &connection).await;
                Ok::<_, Infallible>(framed(reply, version))
            }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(READING)
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(Stall::new(stream, WRITING)), service)
            .with_upgrades()
            .await;
        let upgraded = about.upgraded.lock().take();
        match (served, upgraded) {
            (Ok(()), Some(upgraded)) => upgraded.await,
            (Ok(()), None) => {}
            (Err(error), _) => log::debug!("emq_sockjs: {}: {error}", about.peer.peername),
        }
    }

    async fn answer(&self, request: Request<Incoming>, connection: &Connection) -> Reply {
        let path = request.uri().path();
        for endpoint in &self.endpoints {
            let prefix = &endpoint.options.prefix;
            let Some(route) = Route::of(path, prefix) else {
                continue;
            };
            if !endpoint.options.origins.allow(request.headers()) {
                endpoint.application.refused(Refusal::Origin);
                return text(StatusCode::FORBIDDEN, "Unverified origin.");
            }
            return match route {
                Route::Session(name, action) => {
                    let name = name.to_owned();
                    self.session(endpoint, &name, action, request, connection)
                        .await
                }
                Route::RawWebSocket => self.websocket(endpoint, true, request, connection),
                route => endpoint.resource(&route, &request),
            };
        }
        self.file(&request)
    }

    fn file(&self, request: &Request<Incoming>) -> Reply {
        let path = match request.uri().path() {
            "/" => "/index.html",
            path => path,
        };
        let Some(file) = self.files.iter().find(|file| file.path == path) else {
            return text(StatusCode::NOT_FOUND, "404 Error: Page not found\n");
        };
        match *request.method() {
            Method::GET | Method::HEAD => {
                tagged(request.headers(), file.content_type, file.content)
            }
            _ => not_allowed("GET, HEAD"),
        }
    }

    /// What is done with a session.
    async fn session(
        &self,
        endpoint: &Arc<Endpoint>,
        name: &str,
        action: Action,
        request: Request<Incoming>,
        connection: &Connection,
    ) -> Reply {
        if action == Action::WebSocket {
            return self.websocket(endpoint, false, request, connection);
        }
        let headers = request.headers().clone();
        let methods = match action.is_post() {
            true => "OPTIONS, POST",
            false => "OPTIONS, GET",
        };
        let reply = match *request.method() {
            Method::OPTIONS => options(methods),
            Method::POST if action.is_post() => {
                not_cached(self.post(endpoint, name, action, request, connection).await)
            }
            Method::GET if !action.is_post() => {
                not_cached(self.get(endpoint, name, action, &request, connection))
            }
            _ => return not_allowed(methods),
        };
        let reply = match endpoint.options.cookie_needed {
            true => with_cookie(reply, &headers),
            false => reply,
        };
        shared(reply, &headers)
    }

    async fn post(
        &self,
        endpoint: &Arc<Endpoint>,
        name: &str,
        action: Action,
        request: Request<Incoming>,
        connection: &Connection,
    ) -> Reply {
        let sends = matches!(action, Action::XhrSend | Action::JsonpSend);
        let most = match sends {
            true => endpoint.application.max_payload(),
            false => IDLE_BODY,
        };
        let form = is_form(request.headers());
        let body = match read(request.into_body(), most).await {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        match action {
            Action::Xhr => self.receive(endpoint, name, Transport::Xhr, connection),
            Action::XhrStreaming => {
                self.receive(endpoint, name, Transport::XhrStreaming, connection)
            }
            _ => {
                let payload = match action == Action::JsonpSend && form {
                    true => field(&body, "d").unwrap_or_default().into(),
                    false => body,
                };
                endpoint.take(name, action, &payload).await
            }
        }
    }

    fn get(
        &self,
        endpoint: &Arc<Endpoint>,
        name: &str,
        action: Action,
        request: &Request<Incoming>,
        connection: &Connection,
    ) -> Reply {
        let transport = match action {
            Action::EventSource => Transport::EventSource,
            _ => {
                let query = request.uri().query().unwrap_or_default().as_bytes();
                let callback = field(query, "c").or_else(|| field(query, "callback"));
                let failed = |why| text(StatusCode::INTERNAL_SERVER_ERROR, why);
                let Some(callback) = callback else {
                    return failed("\"callback\" parameter required");
                };
                match String::from_utf8(callback) {
                    Ok(name) if is_callback(&name) && action == Action::HtmlFile => {
                        Transport::HtmlFile(name)
                    }
                    Ok(name) if is_callback(&name) => Transport::Jsonp(name),
                    _ => return failed("invalid \"callback\" parameter"),
                }
            }
        };
        self.receive(endpoint, name, transport, connection)
    }

    /// A response with frames of the session, which is opened if need be.
    fn receive(
        &self,
        endpoint: &Arc<Endpoint>,
        name: &str,
        transport: Transport,
        connection: &Connection,
    ) -> Reply {
        let session = match endpoint.sessions.get_or_open(name) {
            Found::Old(session) => session,
            Found::New(session, socket, place) => {
                self.watch(endpoint, name, &session, place);
                endpoint.application.open(socket, &connection.peer);
                session
            }
            Found::Full => return endpoint.full(),
        };
        let content_type = transport.content_type();
        let limit = endpoint.options.response_limit;
        let frames = Frames::new(transport, session.attach(), limit);
        let mut reply = with_body(
            StatusCode::OK,
            content_type,
            Content::Frames(Box::new(frames)),
        );
        let sniffing = HeaderName::from_static("x-content-type-options");
        reply
            .headers_mut()
            .insert(sniffing, HeaderValue::from_static("nosniff"));
        reply
    }

    fn watch(&self, endpoint: &Arc<Endpoint>, name: &str, session: &Arc<Session>, place: Place) {
        let (endpoint, name, session) =
            (Arc::clone(endpoint), name.to_owned(), Arc::clone(session));
        (self.spawn)(Box::pin(async move {
            endpoint.sessions.watch(&name, session, place).await;
        }));
    }

    /// A WebSocket, which has a session of its own.
    fn websocket(
        &self,
        endpoint: &Arc<Endpoint>,
        raw: bool,
        mut request: Request<Incoming>,
        connection: &Connection,
    ) -> Reply {
        if !endpoint.options.websocket {
            return not_found();
        }
        let protocols = match raw {
            true => endpoint.application.protocols(),
            false => &[],
        };
        let secure = connection.peer.listener.0.ends_with("https");
        let (reply, dialect) = match websocket::accept(&request, protocols, secure) {
            Ok(accepted) => accepted,
            Err(reply) => return *reply,
        };
        let Some((session, socket, place)) = endpoint.sessions.open_nameless(raw) else {
            return endpoint.full();
        };
        let upgrade = hyper::upgrade::on(&mut request);
        endpoint.application.open(socket, &connection.peer);
        let most = endpoint.application.max_payload();
        // From here on the session ends with its receiver, even if the connection breaks before it is upgraded.
        let receiver = session.attach();
        *connection.upgraded.lock() = Some(Box::pin(async move {
            let _place = place;
            match upgrade.await {
                Ok(stream) => {
                    let stream = TokioIo::new(stream);
                    websocket::carry(stream, dialect, &session, receiver, raw, most).await;
                }
                Err(error) => log::debug!("emq_sockjs: upgrade: {error}"),
            }
        }));
        reply
    }
}

impl Endpoint {
    /// What has to do with no session.
    fn resource(&self, route: &Route<'_>, request: &Request<Incoming>) -> Reply {
        let headers = request.headers();
        let methods = match route {
            Route::Greeting | Route::Iframe => "GET, HEAD",
            Route::Info => "OPTIONS, GET, HEAD",
            Route::ChunkingTest => "OPTIONS, POST",
            _ => return not_found(),
        };
        match (route, request.method()) {
            (Route::Greeting, &Method::GET | &Method::HEAD) => {
                text(StatusCode::OK, "Welcome to SockJS!\n")
            }
            (Route::Iframe, &Method::GET | &Method::HEAD) => {
                self.embedded(cached(tagged(headers, HTML, self.iframe.clone())))
            }
            (Route::Info, &Method::GET | &Method::HEAD) => shared(not_cached(self.info()), headers),
            (Route::Info, &Method::OPTIONS) => shared(options("OPTIONS, GET"), headers),
            (Route::ChunkingTest, &Method::OPTIONS) => shared(options(methods), headers),
            (Route::ChunkingTest, &Method::POST) => {
                let content = Content::Timed(Box::new(Timed::chunking_test()));
                let script = "application/javascript; charset=UTF-8";
                shared(with_body(StatusCode::OK, script, content), headers)
            }
            _ => not_allowed(methods),
        }
    }

    fn full(&self) -> Reply {
        self.application.refused(Refusal::Full);
        text(StatusCode::SERVICE_UNAVAILABLE, "Too many sessions.\n")
    }

    /// The page of an iframe acts for the page around it, whose origin must be one that may connect.
    fn embedded(&self, mut reply: Reply) -> Reply {
        if let Origins::These(list) = &self.options.origins {
            let policy = format!("frame-ancestors 'self' {}", list.join(" "));
            if let Ok(policy) = HeaderValue::try_from(policy) {
                reply.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
            }
        }
        reply
    }

    fn info(&self) -> Reply {
        let origins = match &self.options.origins {
            Origins::All => vec!["*:*".to_owned()],
            Origins::These(list) => list.clone(),
        };
        let info = serde_json::json!({
            "websocket": self.options.websocket,
            "origins": origins,
            "cookie_needed": self.options.cookie_needed,
            // Without the system's randomness nothing would work, this least of all.
            "entropy": getrandom::u32().unwrap_or_default(),
        });
        let json = "application/json; charset=UTF-8";
        with_body(StatusCode::OK, json, Content::of(info.to_string()))
    }

    /// Messages of a client, for a session that is there.
    async fn take(&self, name: &str, action: Action, payload: &[u8]) -> Reply {
        let messages = match messages(payload) {
            Ok(messages) => messages,
            Err(refused @ (Refused::Empty | Refused::Broken)) => {
                return text(StatusCode::INTERNAL_SERVER_ERROR, refused.to_string());
            }
        };
        let Some(session) = self.sessions.get(name) else {
            return not_found();
        };
        session.deliver(messages).await;
        match action {
            // Konqueror does weird things on 204.
            Action::JsonpSend => text(StatusCode::OK, "ok"),
            _ => sent(),
        }
    }
}

/// In HTTP 1.0 there are no chunks: where a response of unknown length ends, only the end of the connection tells,
/// whatever the client asked for.
fn framed(mut reply: Reply, version: Version) -> Reply {
    if version == Version::HTTP_10 && reply.body().size_hint().exact().is_none() {
        // In an answer of 1.1 hyper would promise to keep the connection.
        *reply.version_mut() = version;
        set(&mut reply, CONNECTION, "close");
    }
    reply
}

fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let content_type = content_type.unwrap_or_default();
    let end = content_type.iter().position(|&byte| byte == b';');
    content_type[..end.unwrap_or(content_type.len())]
        .trim_ascii()
        .eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

/// The body of a request, or the answer to one that is too long or takes too long.
async fn read(body: Incoming, most: usize) -> Result<Bytes, Reply> {
    let status = match tokio::time::timeout(READING, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => return Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            StatusCode::PAYLOAD_TOO_LARGE
        }
        Ok(Err(_)) => StatusCode::BAD_REQUEST,
        Err(_) => StatusCode::REQUEST_TIMEOUT,
    };
    let mut reply = empty(status);
    // The rest of the body is still on its way.
    reply
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    Err(reply)
}
