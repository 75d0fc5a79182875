//! Connections: TCP, with TLS for `https:`.

use crate::Version;
use crate::url::{host, port};
use emqttd_backend::TlsSettings;
use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::future::Future;
use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A connection that takes longer is none.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// What is spoken, as TLS names it (ALPN).
const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// Makes connections.
#[derive(Clone)]
pub(crate) struct Connector(Arc<Inner>);

struct Inner {
    settings: TlsSettings,
    version: Version,
    /// made when it is needed first: to read whom the machine trusts takes time and memory
    tls: OnceLock<std::result::Result<TlsConnector, String>>,
}

impl Connector {
    pub fn new(settings: TlsSettings, version: Version) -> Connector {
        Connector(Arc::new(Inner {
            settings,
            version,
            tls: OnceLock::new(),
        }))
    }

    fn tls(&self) -> Result<TlsConnector> {
        let made = self.0.tls.get_or_init(|| {
            let mut config = self.0.settings.client_config()?;
            config.alpn_protocols = match self.0.version {
                Version::Auto => vec![H2.to_vec(), HTTP_1_1.to_vec()],
                Version::Http1 => vec![HTTP_1_1.to_vec()],
                Version::Http2 => vec![H2.to_vec()],
            };
            Ok(TlsConnector::from(Arc::new(config)))
        });
        made.clone().map_err(Error::other)
    }

    async fn connect(self, uri: Uri) -> Result<Stream> {
        let (name, port) = (host(&uri), port(&uri));
        let tcp = TcpStream::connect((name, port)).await?;
        // A request is one write: it would wait for nothing.
        tcp.set_nodelay(true)?;
        if uri.scheme_str() != Some("https") {
            return Ok(Stream::Plain(tcp));
        }
        let name = self.0.settings.server_name.as_deref().unwrap_or(name);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| Error::other("its name can stand in no certificate"))?;
        let tls = self.tls()?.connect(name, tcp).await?;
        if self.0.version == Version::Http2 && !speaks_h2(&tls) {
            return Err(Error::other("it does not speak HTTP/2"));
        }
        Ok(Stream::Tls(Box::new(tls)))
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Stream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connect = self.clone().connect(uri);
        Box::pin(async move {
            match timeout(CONNECT_TIMEOUT, connect).await {
                Ok(stream) => stream.map(TokioIo::new),
                Err(_) => Err(Error::new(
                    ErrorKind::TimedOut,
                    format!("no connection within {CONNECT_TIMEOUT:?}"),
                )),
            }
        })
    }
}

/// A connection.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match self {
            Stream::Tls(tls) if speaks_h2(tls) => Connected::new().negotiated_h2(),
            _ => Connected::new(),
        }
    }
}

fn speaks_h2(tls: &TlsStream<TcpStream>) -> bool {
    tls.get_ref().1.alpn_protocol() == Some(H2)
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Stream::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Stream::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
