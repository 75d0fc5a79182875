//! Connections to the server, and questions over them.

use crate::text::{Column, Parameter};
use emqttd_backend::{Asked, Broken, Connector, Entrance, Query, Rows};
use emqttd_plugin_sdk::{Context, StartError};
use futures_util::TryStreamExt;
use std::error::Error as _;
use std::pin::pin;
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Error, NoTls, Socket, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

/// The server stops with a query that nobody waits for any more; a moment later, so that it is we who say why.
const LATER: Duration = Duration::from_secs(1);

/// How the server is asked.
pub(crate) struct Pgsql {
    ctx: Context,
    config: Config,
    tls: Option<Tls>,
    /// for the server, in milliseconds
    longest: u128,
}

/// TLS in which the server may have another name than its host.
#[derive(Clone)]
struct Tls {
    connect: MakeRustlsConnect,
    server_name: Option<String>,
}

impl<S> MakeTlsConnect<S> for Tls
where
    MakeRustlsConnect: MakeTlsConnect<S>,
{
    type Stream = <MakeRustlsConnect as MakeTlsConnect<S>>::Stream;
    type TlsConnect = <MakeRustlsConnect as MakeTlsConnect<S>>::TlsConnect;
    type Error = <MakeRustlsConnect as MakeTlsConnect<S>>::Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<Self::TlsConnect, Self::Error> {
        let name = self.server_name.as_deref().unwrap_or(host);
        <MakeRustlsConnect as MakeTlsConnect<S>>::make_tls_connect(&mut self.connect, name)
    }
}

/// A connection, and the task that drives it.
pub(crate) struct Connection {
    client: Client,
    prepared: [Option<Statement>; Query::COUNT],
    task: AbortHandle,
    /// a question is under way
    busy: bool,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // One that is idle says goodbye first, when its task sees that the client is gone.
        if self.busy {
            self.task.abort();
        }
    }
}

impl Pgsql {
    /// Connects to nobody yet.
    pub fn new(ctx: &Context, entrance: Entrance) -> Result<Pgsql, StartError> {
        let mut config = Config::new();
        config
            .host(entrance.address.host)
            .port(entrance.address.port)
            .application_name("emqttd")
            .keepalives_idle(Duration::from_secs(30));
        if let Some(username) = entrance.username {
            config.user(username);
        }
        if let Some(password) = entrance.password {
            config.password(password);
        }
        if let Some(database) = entrance.database {
            config.dbname(database);
        }
        config.ssl_mode(match entrance.tls {
            Some(_) => SslMode::Require,
            None => SslMode::Disable,
        });
        let tls = match entrance.tls {
            Some(tls) => Some(Tls {
                connect: MakeRustlsConnect::new(tls.client_config()?),
                server_name: tls.server_name,
            }),
            None => None,
        };
        Ok(Pgsql {
            ctx: ctx.clone(),
            config,
            tls,
            longest: (entrance.timeout + LATER).as_millis(),
        })
    }

    async fn connect_by<T>(&self, tls: T) -> Result<(Client, AbortHandle), Error>
    where
        T: MakeTlsConnect<Socket>,
        T::Stream: Send + 'static,
    {
        let (client, connection) = self.config.connect(tls).await?;
        let task = self.ctx.spawn(async move {
            // Who asks next is told as well.
            if let Err(error) = connection.await {
                log::debug!("emq_auth_pgsql: a connection ended: {}", sentence(&error));
            }
        });
        Ok((client, task.abort_handle()))
    }
}

impl Connector for Pgsql {
    type Connection = Connection;
    type Query = Asked;
    type Reply = Rows;

    async fn connect(&self) -> Result<Connection, String> {
        let connected = match &self.tls {
            Some(tls) => self.connect_by(tls.clone()).await,
            None => self.connect_by(NoTls).await,
        };
        let (client, task) = connected.map_err(|error| sentence(&error))?;
        let mut connection = Connection {
            client,
            prepared: Default::default(),
            task,
            busy: true,
        };
        let set = format!("SET statement_timeout = {}", self.longest);
        connection
            .client
            .batch_execute(&set)
            .await
            .map_err(|error| sentence(&error))?;
        connection.busy = false;
        Ok(connection)
    }

    async fn ask(&self, connection: &mut Connection, asked: &Asked) -> Result<Rows, Broken> {
        connection.busy = true;
        let mut outcome = rows(connection, asked).await;
        if let Err(Trouble::Server(error)) = &outcome
            && is_stale(error)
        {
            // The table was altered, or somebody between here and there has forgotten the statement.
            connection.prepared[asked.query.number] = None;
            outcome = rows(connection, asked).await;
        }
        connection.busy = false;
        match outcome {
            Ok(rows) => Ok(rows),
            Err(Trouble::Column(why)) => Err(Broken::Question(why)),
            Err(Trouble::Server(error)) => broken(&error, asked),
        }
    }

    async fn ping(&self, connection: &mut Connection) -> Result<(), String> {
        connection.busy = true;
        let outcome = connection.client.simple_query("").await;
        connection.busy = false;
        outcome.map(drop).map_err(|error| sentence(&error))
    }
}

enum Trouble {
    Server(Error),
    /// a column of a type that cannot be read
    Column(String),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Server(error)
    }
}

/// Asks; the statement is prepared the first time, and kept with the connection.
async fn rows(connection: &mut Connection, asked: &Asked) -> Result<Rows, Trouble> {
    let query = &asked.query;
    let kept = &mut connection.prepared[query.number];
    let statement = match kept {
        Some(statement) => statement,
        None => kept.insert(connection.client.prepare(&query.statement.text).await?),
    };
    let mut answer = Rows::new(query);
    let columns = statement.columns().iter();
    answer.columns = columns.map(|column| column.name().to_string()).collect();
    let values = asked.values.iter();
    let values = values.map(|value| Parameter(value.as_deref()));
    let mut stream = pin!(connection.client.query_raw(&*statement, values).await?);
    let mut odd = None;
    // To the end: what is left unread would be in the way of the next question.
    while let Some(row) = stream.try_next().await? {
        let cells = (0..row.len()).map(|at| match row.try_get::<_, Column>(at) {
            Ok(Column(cell)) => Ok(cell),
            Err(error) => Err(format!(
                "column {} ({}) cannot be read: {}",
                at + 1,
                row.columns()[at].name(),
                error.source().map(ToString::to_string).unwrap_or_default()
            )),
        });
        match cells.collect::<Result<_, _>>() {
            Ok(cells) => answer.push(cells),
            Err(why) => odd = Some(why),
        }
    }
    match odd {
        None => Ok(answer),
        Some(why) => Err(Trouble::Column(why)),
    }
}

/// Whether the statement is the trouble, and would not be if it were prepared anew.
fn is_stale(error: &Error) -> bool {
    // A changed table makes the second one of a prepared statement; its text is in the server's language.
    [
        Some(&SqlState::INVALID_SQL_STATEMENT_NAME),
        Some(&SqlState::FEATURE_NOT_SUPPORTED),
    ]
    .contains(&error.code())
}

fn broken(error: &Error, asked: &Asked) -> Result<Rows, Broken> {
    let Some(code) = error.code() else {
        // The driver's own: when `$4` stands in the query itself, nothing was sent.
        let why = sentence(error);
        return Err(match why.contains(" parameters but got ") {
            true => Broken::Question(why),
            false => Broken::Connection(why),
        });
    };
    const UNLIKE: [SqlState; 6] = [
        SqlState::INVALID_TEXT_REPRESENTATION,
        SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
        SqlState::INVALID_DATETIME_FORMAT,
        SqlState::DATETIME_FIELD_OVERFLOW,
        SqlState::CHARACTER_NOT_IN_REPERTOIRE,
        SqlState::UNTRANSLATABLE_CHARACTER,
    ];
    if UNLIKE.contains(code) {
        return Ok(Rows::unlike(&asked.query));
    }
    // 57P0x: the server or an administrator ends the connection; 08: the connection; XX: the server is broken.
    let class = code.code();
    match ["57P0", "08", "XX"]
        .iter()
        .any(|lost| class.starts_with(lost))
    {
        true => Err(Broken::Connection(sentence(error))),
        false => Err(Broken::Question(sentence(error))),
    }
}

/// For the operator.
fn sentence(error: &Error) -> String {
    if let Some(error) = error.as_db_error() {
        return format!("{} (error {})", error.message(), error.code().code());
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let more = inner.to_string();
        if !text.ends_with(&more) {
            text += &format!(": {more}");
        }
        source = inner.source();
    }
    match text.contains("server does not support TLS") {
        true => "the server has no TLS, and auth.pgsql.ssl = true asks for it".into(),
        false => text,
    }
}
