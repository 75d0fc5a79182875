//! Connections to the server, and questions over them.

use emqttd_backend::{Asked, Broken, Cell, Connector, Entrance, Rows, TlsSettings};
use emqttd_plugin_sdk::StartError;
use mysql_async::prelude::Queryable;
use mysql_async::{
    ClientIdentity, Conn, DriverError, Error, IoError, Opts, OptsBuilder, Params, SslOpts, Value,
};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::Handle;

/// Length of a packet, in bytes; a row is one.
const LONGEST_PACKET: usize = 1 << 20;
/// What the driver may take this long for: to tell the server that a connection ends.
const GOODBYE: Duration = Duration::from_secs(1);
/// The server stops with a query that nobody waits for any more; a moment later, so that it is we who say why.
const LATER: Duration = Duration::from_secs(1);

/// Errors by which the server ends a connection, or has lost what was prepared over it.
const LOST: [u16; 11] = [
    1053, // shutdown
    1152, // aborted
    1158, 1159, 1160, 1161, // packets
    1243, // unknown prepared statement
    1615, // prepared for a table that has changed
    1927, // killed (MariaDB)
    3169, // killed (MySQL)
    4031, // idle for longer than wait_timeout (MySQL 8.0.24)
];

/// Errors that say: the character set of a column has not all characters of what it is compared with.
const NO_SUCH_CHARACTER: [u16; 4] = [1267, 1270, 1271, 3988];

/// How the server is asked.
pub(crate) struct Mysql {
    opts: OptsBuilder,
    timeout: Duration,
}

/// A connection, which says goodbye when it is dropped.
pub(crate) struct Connection(Option<Conn>);

impl Drop for Connection {
    fn drop(&mut self) {
        // When no runtime is there any more, the socket is closed without a word.
        if let (Some(conn), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(async {
                // Left to itself the driver would first read the rest of an answer, for as long as that takes. When
                // a question is under way there is no goodbye: the socket is closed.
                let _ = tokio::time::timeout(GOODBYE, conn.disconnect()).await;
            });
        }
    }
}

impl Mysql {
    /// Connects to nobody yet.
    pub fn new(entrance: Entrance) -> Result<Mysql, StartError> {
        let tls = entrance.tls.as_ref().map(ssl_opts).transpose()?;
        let opts = OptsBuilder::default()
            .ip_or_hostname(entrance.address.host)
            .tcp_port(entrance.address.port)
            .user(entrance.username)
            .pass(entrance.password)
            .db_name(entrance.database)
            .ssl_opts(tls)
            // Where the keys say, and not through a file that the server speaks of.
            .prefer_socket(false)
            .tcp_keepalive(Some(Duration::from_secs(30)))
            // What the driver would otherwise ask each time it connects.
            .max_allowed_packet(Some(LONGEST_PACKET))
            .wait_timeout(Some(28_800));
        Ok(Mysql {
            opts,
            timeout: entrance.timeout,
        })
    }

    /// What every connection begins with.
    async fn settle(&self, conn: &mut Conn) -> Result<(), Error> {
        let longest = self.timeout + LATER;
        let mariadb = format!("SET SESSION max_statement_time = {}", longest.as_secs_f64());
        let mysql = format!("SET SESSION max_execution_time = {}", longest.as_millis());
        for set in [mariadb, mysql] {
            match conn.query_drop(set).await {
                // Of an older server, or the other one.
                Err(Error::Server(_)) => {}
                outcome => return outcome,
            }
        }
        Ok(())
    }
}

impl Connector for Mysql {
    type Connection = Connection;
    type Query = Asked;
    type Reply = Rows;

    async fn connect(&self) -> Result<Connection, String> {
        let mut connection = Connection(Some(conn(self.opts.clone().into()).await?));
        if let Some(conn) = &mut connection.0 {
            let settled = self.settle(conn).await;
            settled.map_err(|error| sentence(&error))?;
        }
        Ok(connection)
    }

    async fn ask(&self, connection: &mut Connection, asked: &Asked) -> Result<Rows, Broken> {
        let Some(conn) = &mut connection.0 else {
            return Err(Broken::Connection("it is closed".into()));
        };
        let mut outcome = rows(conn, asked, |_| true).await;
        if no_such_character(&outcome, asked) {
            // The utf8 of EMQ's tables has none beyond U+FFFF: a value with one is in no row.
            outcome = rows(conn, asked, |value| value.chars().all(|c| c <= '\u{ffff}')).await;
        }
        match no_such_character(&outcome, asked) {
            true => Ok(Rows::unlike(&asked.query)),
            false => outcome.map_err(broken),
        }
    }

    async fn ping(&self, connection: &mut Connection) -> Result<(), String> {
        let Some(conn) = &mut connection.0 else {
            return Err("it is closed".into());
        };
        conn.ping().await.map_err(|error| sentence(&error))
    }
}

/// Connects and logs in. What a server sends that is none makes the driver panic in places.
async fn conn(opts: Opts) -> Result<Conn, String> {
    let mut connecting = Conn::new(opts);
    poll_fn(move |cx| {
        let connecting = connecting.as_mut();
        match catch_unwind(AssertUnwindSafe(|| connecting.poll(cx))) {
            Ok(poll) => poll.map_err(|error| sentence(&error)),
            Err(_) => Poll::Ready(Err("what it sends is not the protocol of MySQL".into())),
        }
    })
    .await
}

/// Asks; the statement is prepared the first time, and kept with the connection. Values that are not `fit` are
/// bound as NULL, which is equal to nothing.
async fn rows(conn: &mut Conn, asked: &Asked, fit: fn(&str) -> bool) -> Result<Rows, Error> {
    let values = asked.values.iter();
    let values: Vec<Value> = values
        .map(|value| match value {
            Some(text) if fit(text) => Value::Bytes(text.clone().into_bytes()),
            _ => Value::NULL,
        })
        .collect();
    let params = match values.is_empty() {
        true => Params::Empty,
        false => Params::Positional(values),
    };
    let sql = asked.query.statement.text.as_str();
    let mut result = conn.exec_iter(sql, params).await?;
    let mut rows = Rows::new(&asked.query);
    let columns = result.columns_ref().iter();
    rows.columns = columns
        .map(|column| column.name_str().into_owned())
        .collect();
    result
        .for_each(|row| {
            let values = row.unwrap_raw().into_iter();
            rows.push(
                values
                    .map(|value| cell(value.unwrap_or(Value::NULL)))
                    .collect(),
            );
        })
        .await?;
    // A procedure may give more than one set of rows.
    result.drop_result().await?;
    Ok(rows)
}

fn cell(value: Value) -> Cell {
    match value {
        Value::NULL => Cell::Null,
        Value::Bytes(bytes) => Cell::Text(bytes),
        Value::Int(number) => Cell::Integer(number),
        Value::UInt(number) => match i64::try_from(number) {
            Ok(number) => Cell::Integer(number),
            Err(_) => Cell::Text(number.to_string().into_bytes()),
        },
        other => Cell::Text(other.as_sql(true).trim_matches('\'').into()),
    }
}

/// Only because of a value: what is wrong in the query itself is so with plain values, too.
fn no_such_character(outcome: &Result<Rows, Error>, asked: &Asked) -> bool {
    let Err(Error::Server(error)) = outcome else {
        return false;
    };
    let mut values = asked.values.iter().flatten();
    NO_SUCH_CHARACTER.contains(&error.code) && values.any(|value| !value.is_ascii())
}

fn broken(error: Error) -> Broken {
    let why = sentence(&error);
    match error {
        Error::Server(error) if LOST.contains(&error.code) => Broken::Connection(why),
        // Nothing was sent.
        Error::Server(_)
        | Error::Driver(
            DriverError::MixedParams
            | DriverError::Params(_)
            | DriverError::StmtParamsMismatch { .. }
            | DriverError::StmtParamsNumberExceedsLimit { .. },
        ) => Broken::Question(why),
        Error::Driver(_) | Error::Io(_) | Error::Other(_) | Error::Url(_) => {
            Broken::Connection(why)
        }
    }
}

/// For the operator.
fn sentence(error: &Error) -> String {
    match error {
        Error::Server(error) => format!("{} (error {})", error.message, error.code),
        Error::Driver(DriverError::NoClientSslFlagFromServer) => {
            "the server has no TLS, and auth.mysql.ssl = true asks for it".into()
        }
        Error::Driver(DriverError::ConnectionClosed) => "the server closed the connection".into(),
        Error::Io(IoError::Io(error)) => error.to_string(),
        other => other.to_string(),
    }
}

/// The files are read now: a connection is made with what was there when the plugin was loaded.
fn ssl_opts(tls: &TlsSettings) -> Result<SslOpts, StartError> {
    let mut opts = SslOpts::default();
    if tls.verify {
        let authorities = tls.authorities()?.into_iter();
        let authorities = authorities.map(|der| der.to_vec().into()).collect();
        opts = opts
            .with_root_certs(authorities)
            .with_disable_built_in_roots(true);
    } else {
        // The driver's own roots stay, unused: without any it refuses to begin.
        opts = opts.with_danger_accept_invalid_certs(true);
    }
    if let Some(name) = &tls.server_name {
        opts = opts.with_danger_tls_hostname_override(Some(name.clone()));
    }
    if let Some((cert, key)) = &tls.identity {
        let read = |path: &std::path::Path| {
            std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
        };
        let identity = ClientIdentity::new(read(cert)?.into(), read(key)?.into());
        opts = opts.with_client_identity(Some(identity));
    }
    Ok(opts)
}

#[cfg(test)]
mod tests;
