//! Asking.

use crate::Url;
use crate::transport::Connector;
use bytes::{Bytes, BytesMut};
use emqttd_backend::{Fault, TlsSettings};
use emqttd_plugin_sdk::Context;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderMap, HeaderName,
    HeaderValue, LOCATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use hyper::{Method, Response, StatusCode};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::rt::TokioTimer;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// A connection without a question for so long is closed.
const IDLE: Duration = Duration::from_secs(30);
/// Redirections in a row.
const MOST_REDIRECTIONS: usize = 5;
/// What the first line and the headers of an answer may have together, bytes.
const MOST_HEAD: usize = 16 * 1024;
/// What a service may send before it is read, bytes: of an answer, and of all answers of a connection.
const H2_STREAM_WINDOW: u32 = 64 * 1024;
const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;
/// An HTTP/2 connection with requests on which nothing comes for so long is asked whether it lives, and has as
/// long to answer.
const PING: Duration = Duration::from_secs(5);
/// A body that is of no interest is read all the same when it comes so soon and is no longer than this: then its
/// connection serves again.
const REST: Duration = Duration::from_millis(100);
const MOST_REST: usize = 64 * 1024;
/// Before a request is sent again whose connection broke. A service closes connections that nobody uses just
/// when they are used; EMQ waited so, too.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_millis(100),
];

/// Headers of every request; their values are secrets.
#[derive(Clone, Default)]
pub struct Headers(HeaderMap);

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Headers {
    /// Adds one.
    ///
    /// # Errors
    /// What is wrong, without the value. Headers that say where a request ends cannot be set.
    pub fn add(&mut self, name: &str, value: &str) -> Result<(), String> {
        const OURS: [HeaderName; 8] = [
            CONNECTION,
            CONTENT_LENGTH,
            CONTENT_TYPE,
            EXPECT,
            TE,
            TRAILER,
            TRANSFER_ENCODING,
            UPGRADE,
        ];
        let name = HeaderName::try_from(name).map_err(|_| "names no header".to_string())?;
        if OURS.contains(&name) {
            return Err("is a header that cannot be set".into());
        }
        let mut value = HeaderValue::from_bytes(value.trim().as_bytes())
            .map_err(|_| "has control characters in its value".to_string())?;
        value.set_sensitive(true);
        self.0.insert(name, value);
        Ok(())
    }
}

/// How a service is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// HTTP/2 where TLS comes to terms about it (ALPN), else HTTP/1.1
    #[default]
    Auto,
    /// HTTP/1.1
    Http1,
    /// HTTP/2 and nothing else: `https:` by ALPN, `http:` without asking first ("prior knowledge")
    Http2,
}

/// What a client is made of.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// what is spoken
    pub version: Version,
    /// for `https:`
    pub tls: TlsSettings,
    /// of every request
    pub headers: Headers,
    /// connections kept open, and requests under way at a time; with HTTP/2 they share connections
    pub connections: usize,
}

/// A question to a service. It may be asked more than once.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// where, query included
    pub url: &'a Url,
    /// content type and body of a POST; `None` = GET
    pub post: Option<(&'static str, &'a Bytes)>,
    /// so many bytes of the answer are of interest; 0 = its status alone: it is an answer whatever becomes of its body
    pub most: usize,
}

/// What a service has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// its status
    pub status: u16,
    /// `None` = it has more than was of interest
    pub body: Option<Bytes>,
    /// how often it said that somebody else must be asked
    pub redirections: usize,
}

/// Asks services.
pub struct HttpClient {
    inner: legacy::Client<Connector, Full<Bytes>>,
    headers: Headers,
    /// nothing else is spoken
    http2: bool,
    places: Semaphore,
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpClient({:?})", self.headers)
    }
}

/// Runs the library's tasks; they end with the plugin.
#[derive(Clone)]
struct Tasks(Context);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        drop(self.0.spawn(task));
    }
}

/// Why a request has no answer.
enum Failure {
    /// The connection ended; another one may do.
    Broken(String),
    Final(String),
}

impl HttpClient {
    /// Connects when it is asked.
    pub fn new(ctx: &Context, settings: &HttpSettings) -> HttpClient {
        let connections = settings.connections.clamp(1, Semaphore::MAX_PERMITS);
        let inner = legacy::Client::builder(Tasks(ctx.clone()))
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(connections)
            .http1_max_buf_size(MOST_HEAD)
            .http2_only(settings.version == Version::Http2)
            .http2_max_header_list_size(MOST_HEAD as u32)
            .http2_initial_stream_window_size(H2_STREAM_WINDOW)
            .http2_initial_connection_window_size(H2_CONNECTION_WINDOW)
            .timer(TokioTimer::new())
            .http2_keep_alive_interval(PING)
            .http2_keep_alive_timeout(PING)
            .build(Connector::new(ctx, settings));
        HttpClient {
            inner,
            headers: settings.headers.clone(),
            http2: settings.version == Version::Http2,
            places: Semaphore::new(connections),
        }
    }

    /// Asks, and follows redirections: with the same method and body, but for 303, which is a GET. Never from
    /// `https:` to `http:`; and headers and login of the configuration go to nobody else.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn ask(&self, request: &Request<'_>) -> Result<Answer, Fault> {
        let Ok(_place) = self.places.acquire().await else {
            // It is never closed.
            return Err(Fault::Refused("no more is asked".into()));
        };
        let first = request.url;
        let mut url = first.clone();
        let mut post = request.post;
        for redirections in 0..=MOST_REDIRECTIONS {
            let (response, body) = self.persistently(first, &url, post, request.most).await?;
            let Some(location) = location(&response) else {
                return Ok(Answer {
                    status: response.status().as_u16(),
                    body,
                    redirections,
                });
            };
            let next = next_url(&url, location).map_err(|why| {
                Fault::Refused(format!("{url}: is redirected to where nobody goes: {why}"))
            })?;
            if response.status() == StatusCode::SEE_OTHER {
                post = None;
            }
            url = next;
        }
        Err(Fault::Refused(format!(
            "{first}: more than {MOST_REDIRECTIONS} redirections"
        )))
    }

    /// Asks again when the connection breaks.
    async fn persistently(
        &self,
        first: &Url,
        url: &Url,
        post: Option<(&'static str, &Bytes)>,
        most: usize,
    ) -> Result<(Response<()>, Option<Bytes>), Fault> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let why = match self.once(first, url, post, most).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Final(why)) => return Err(Fault::Down(format!("{url}: {why}"))),
                Err(Failure::Broken(why)) => why,
            };
            let Some(pause) = pauses.next() else {
                let hint = match self.http2 && !url.is_https() {
                    true => " (HTTP/2 is spoken without TLS: does the service know that?)",
                    false => "",
                };
                return Err(Fault::Down(format!("{url}: {why}{hint}")));
            };
            sleep(pause).await;
        }
    }

    async fn once(
        &self,
        first: &Url,
        url: &Url,
        post: Option<(&'static str, &Bytes)>,
        most: usize,
    ) -> Result<(Response<()>, Option<Bytes>), Failure> {
        let body = post.map(|(_, body)| body.clone()).unwrap_or_default();
        let mut request = hyper::Request::new(Full::new(body));
        *request.uri_mut() = url.uri().clone();
        let headers = request.headers_mut();
        let mut login = url.login();
        if first.trusts(url) {
            *headers = self.headers.0.clone();
            login = login.or(first.login());
        }
        if let Some(login) = login {
            let entry = headers.entry(AUTHORIZATION);
            entry.or_insert_with(|| login.clone());
        }
        if let Some((kind, _)) = post {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            *request.method_mut() = Method::POST;
        }
        let mut given_up = GivenUp(Some(capture_connection(&mut request)));
        let answer = self.answer(request, most).await;
        given_up.0 = None;
        answer
    }

    async fn answer(
        &self,
        request: hyper::Request<Full<Bytes>>,
        most: usize,
    ) -> Result<(Response<()>, Option<Bytes>), Failure> {
        let response = self.inner.request(request).await.map_err(failure)?;
        let (head, body) = response.into_parts();
        let body = match most {
            0 => {
                let _ = timeout(REST, read(body, MOST_REST)).await;
                None
            }
            most => read(body, most).await?,
        };
        Ok((Response::from_parts(head, ()), body))
    }
}

/// The connection of a request that is dropped, because it takes too long, serves no further ones. With HTTP/1.1
/// it is closed anyway; one of HTTP/2 may have lost its other end without a word, and every request would be sent
/// there. Requests that share it go on.
struct GivenUp(Option<CaptureConnection>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        let captured = self.0.as_ref().map(CaptureConnection::connection_metadata);
        if let Some(connected) = captured.as_deref().and_then(Option::as_ref) {
            connected.poison();
        }
    }
}

/// The body, when it is not longer than that; the connection serves again only if it was read to its end.
async fn read(mut body: Incoming, most: usize) -> Result<Option<Bytes>, Failure> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::Broken(innermost(&error)))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if whole.len() + data.len() > most {
            return Ok(None);
        }
        whole.extend_from_slice(&data);
    }
    Ok(Some(whole.freeze()))
}

/// Where a redirection leads; `None` = it is none.
fn location(response: &Response<()>) -> Option<&HeaderValue> {
    match response.status().as_u16() {
        301 | 302 | 303 | 307 | 308 => response.headers().get(LOCATION),
        _ => None,
    }
}

fn next_url(url: &Url, location: &HeaderValue) -> Result<Url, String> {
    let location = location.to_str().map_err(|_| "it is no text".to_string())?;
    let next = url.resolve(location)?;
    match url.is_https() && !next.is_https() {
        true => Err(format!("{next} is without TLS")),
        false => Ok(next),
    }
}

fn failure(error: legacy::Error) -> Failure {
    let why = innermost(&error);
    let source = error
        .source()
        .and_then(|e| e.downcast_ref::<hyper::Error>());
    let garbled = source.is_some_and(hyper::Error::is_parse);
    match error.is_connect() || garbled {
        true => Failure::Final(why),
        false => Failure::Broken(why),
    }
}

/// What it comes from: the outer ones only say that something went wrong.
fn innermost(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
