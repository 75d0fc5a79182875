//! One connection to one Redis.

use crate::settings::Login;
use emqttd_backend::{Address, TlsSettings};
use emqttd_plugin_sdk::Context;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, ProtocolVersion, RedisConnectionInfo, RedisError,
    ServerErrorKind, Value,
};
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

/// What every connection is made with.
pub(crate) struct Dialer {
    ctx: Context,
    tls: Option<Tls>,
}

struct Tls {
    connector: TlsConnector,
    /// the name to expect, where it is not the host's
    server_name: Option<String>,
}

/// A connection that is logged in.
pub(crate) struct Link {
    connection: MultiplexedConnection,
    /// what reads and writes; the library would let it wait for an answer that nobody wants any more
    driver: AbortHandle,
    used: Instant,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Dialer {
    /// # Errors
    /// A file of the settings that cannot be used.
    pub fn new(ctx: &Context, tls: Option<&TlsSettings>) -> Result<Dialer, String> {
        let tls = tls.map(|settings| {
            let config = Arc::new(settings.client_config()?);
            Ok::<Tls, String>(Tls {
                connector: TlsConnector::from(config),
                server_name: settings.server_name.clone(),
            })
        });
        Ok(Dialer {
            ctx: ctx.clone(),
            tls: tls.transpose()?,
        })
    }

    /// Connects and logs in; `database` is selected on each connection, for Redis forgets it with the connection.
    ///
    /// # Errors
    /// A sentence without secrets.
    pub async fn open(
        &self,
        address: &Address,
        login: Option<&Login>,
        database: u32,
    ) -> Result<Link, String> {
        let stream = self.stream(address).await?;
        let info = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP2)
            .set_skip_set_lib_name();
        // The time an answer may take is for those who ask to say.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let (connection, driver) = MultiplexedConnection::new_with_config(&info, stream, config)
            .await
            .map_err(|error| error.to_string())?;
        let mut link = Link {
            connection,
            driver: self.ctx.spawn(driver).abort_handle(),
            used: Instant::now(),
        };
        link.log_in(login, database).await?;
        Ok(link)
    }

    async fn stream(&self, address: &Address) -> Result<Box<dyn Stream>, String> {
        let stream = TcpStream::connect((address.host.as_str(), address.port))
            .await
            .map_err(|error| error.to_string())?;
        // Without it the kernel may hold a question back; nothing else depends on it.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let name = tls.server_name.as_ref().unwrap_or(&address.host);
        let name = ServerName::try_from(name.clone())
            .map_err(|_| format!("`{name}` is no name that a certificate can have"))?;
        let stream = tls.connector.connect(name, stream).await;
        Ok(Box::new(stream.map_err(|error| format!("TLS: {error}"))?))
    }
}

impl Link {
    async fn log_in(&mut self, login: Option<&Login>, database: u32) -> Result<(), String> {
        if let Some(login) = login {
            let mut auth = redis::cmd("AUTH");
            if let Some(username) = &login.username {
                auth.arg(username);
            }
            auth.arg(&login.password);
            let answer = self.ask(&auth).await;
            answer.map_err(|error| format!("it refuses our password: {}", describe(&error)))?;
        }
        if database != 0 {
            let answer = self.ask(redis::cmd("SELECT").arg(database)).await;
            answer.map_err(|error| format!("database {database}: {}", describe(&error)))?;
        }
        self.ping().await
    }

    /// Asks.
    pub async fn ask(&mut self, cmd: &Cmd) -> Result<Value, RedisError> {
        self.used = Instant::now();
        cmd.query_async(&mut self.connection).await
    }

    /// Whether it still answers, and answers us: a server that loads its data does not yet.
    pub async fn ping(&mut self) -> Result<(), String> {
        match self.ask(&redis::cmd("PING")).await {
            // Who may not ask for that may still ask for what he came for.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => Ok(()),
            answer => answer.map(drop).map_err(|error| describe(&error)),
        }
    }

    /// When something was asked last.
    pub fn used(&self) -> Instant {
        self.used
    }
}

/// An error as Redis words it, such as `WRONGTYPE Operation against a key holding the wrong kind of value`.
pub(crate) fn describe(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

/// Whether an error is an answer, after which the connection can be used again.
pub(crate) fn is_answer(error: &RedisError) -> bool {
    // A connection that is not logged in (any more) is of no use.
    matches!(error.kind(), ErrorKind::Server(_))
        || error.kind() == ErrorKind::Extension && error.code() != Some("NOAUTH")
}
