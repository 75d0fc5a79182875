//! Connections: TCP, with TLS for `https:`.

use crate::address::{self, Resolver};
use crate::stream::Stream;
use crate::url::{host, port};
use crate::{HttpSettings, Version};
use emqttd_backend::TlsSettings;
use hyper::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::future::Future;
use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// A connection that takes longer is none.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// What is spoken, as TLS names it (ALPN).
pub(crate) const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// Makes connections.
#[derive(Clone)]
pub(crate) struct Connector(Arc<Inner>);

struct Inner {
    settings: TlsSettings,
    version: Version,
    resolver: Resolver,
    /// made when it is needed first: to read whom the machine trusts takes time and memory
    tls: OnceLock<std::result::Result<TlsConnector, String>>,
}

impl Connector {
    pub fn new(ctx: &emqttd_plugin_sdk::Context, settings: &HttpSettings) -> Connector {
        Connector(Arc::new(Inner {
            settings: settings.tls.clone(),
            version: settings.version,
            resolver: Resolver::new(ctx),
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
        let addresses = self.0.resolver.resolve(name, port).await?;
        let tcp = address::connect(addresses).await?;
        // A request is one write: it would wait for nothing.
        tcp.set_nodelay(true)?;
        if uri.scheme_str() != Some("https") {
            return Ok(Stream::plain(tcp));
        }
        let name = self.0.settings.server_name.as_deref().unwrap_or(name);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| Error::other("its name can stand in no certificate"))?;
        let stream = Stream::tls(self.tls()?.connect(name, tcp).await?);
        match self.0.version == Version::Http2 && !stream.speaks_h2() {
            true => Err(Error::other("it does not speak HTTP/2")),
            false => Ok(stream),
        }
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
