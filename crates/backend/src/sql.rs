//! Authentication and ACL by the queries of the configuration: what MySQL and PostgreSQL have in common.

use crate::{
    Address, Backend, Checker, Connector, Door, Fault, Health, Placeholder, Pool, Question, Row,
    Settings, Statement, TlsSettings, Trace,
};
use emqttd_password::Form;
use emqttd_plugin_sdk::{Access, AclAnswer, AuthAnswer, Config, Context, Plugin, StartError};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Memory that the rows of one answer may take, in bytes.
const MOST: usize = 4 << 20;
/// What a cell takes beside its text, in bytes.
const CELL: usize = 32;
/// Where a value that is shown to a person is cut, in characters.
const SHOWN: usize = 100;

/// How one kind of server differs from the others.
#[derive(Debug, Clone, Copy)]
pub struct Dialect {
    /// head of the keys: `auth.mysql`
    pub head: &'static str,
    /// for people: `MySQL server`
    pub server: &'static str,
    /// where a server listens that is named without a port
    pub port: u16,
    /// how parameters are written
    pub placeholder: Placeholder,
    /// whether `auth_query` may give `password` and `salt` in any order, by these names
    pub by_name: bool,
    /// whether what `super_query` gives makes a superuser
    pub is_super: fn(&Cell) -> bool,
}

/// Where the server is, and as whom the broker logs in.
#[derive(Clone)]
pub struct Entrance {
    /// host and port
    pub address: Address,
    /// `None` = the key is empty
    pub username: Option<String>,
    /// `None` = the key is empty
    pub password: Option<String>,
    /// `None` = the key is empty
    pub database: Option<String>,
    /// `None` = without TLS
    pub tls: Option<TlsSettings>,
    /// nobody waits longer for an answer
    pub timeout: Duration,
}

impl fmt::Debug for Entrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entrance({})", self.address)
    }
}

impl Entrance {
    fn read(config: &Config, dialect: &Dialect, timeout: Duration) -> Result<Self, StartError> {
        let head = dialect.head;
        let given = |name: &str| {
            let text = config.text(&format!("{head}.{name}"));
            text.filter(|text| !text.is_empty()).map(str::to_string)
        };
        let key = format!("{head}.server");
        let address = match config.entry(&key) {
            Some(entry) => Address::parse(&entry.value, dialect.port)
                .map_err(|why| entry.refused(format!("names no server: {why}")))?,
            None => return Err(format!("{key} is not set").into()),
        };
        Ok(Entrance {
            address,
            username: given("username"),
            password: given("password"),
            database: given("database"),
            tls: TlsSettings::read(config, &format!("{head}.ssl"), &format!("{head}.ssl_opts"))?,
            timeout,
        })
    }
}

/// What the configuration asks.
#[derive(Debug, PartialEq, Eq)]
pub struct Query {
    /// 0 to 2, another one for each of them: where a connection keeps the prepared statement
    pub number: usize,
    /// `auth_query`
    pub name: &'static str,
    /// as configured
    pub sql: String,
    /// as the server takes it
    pub statement: Statement,
    /// rows of the answer that matter
    keep: usize,
}

impl Query {
    /// Those three keys have queries.
    pub const COUNT: usize = 3;

    /// `None` = the key is not there, or empty.
    pub fn read(config: &Config, dialect: &Dialect, number: usize) -> Option<Arc<Query>> {
        let (name, keep) = match number {
            0 => ("auth_query", 1),
            1 => ("super_query", 1),
            _ => ("acl_query", usize::MAX),
        };
        let sql = config.text(&format!("{}.{name}", dialect.head))?.trim();
        (!sql.is_empty()).then(|| {
            Arc::new(Query {
                number,
                name,
                sql: sql.into(),
                statement: Statement::parse(sql, dialect.placeholder),
                keep,
            })
        })
    }
}

/// A query with what is bound to it.
#[derive(Debug)]
pub struct Asked {
    /// what is asked
    pub query: Arc<Query>,
    /// one for each parameter; `None` = NULL
    pub values: Vec<Option<String>>,
}

impl Asked {
    fn new(query: &Arc<Query>, question: &Question<'_>) -> Asked {
        Asked {
            query: Arc::clone(query),
            values: query.statement.values(question),
        }
    }

    /// For a person: the query as configured, and what its variables stand for.
    fn shown(&self) -> String {
        let mut text = format!("{}: {}", self.query.name, self.query.sql);
        let mut told = Vec::new();
        for (var, value) in self.query.statement.vars.iter().zip(&self.values) {
            if told.contains(var) {
                continue;
            }
            told.push(*var);
            let value = match value {
                None => "NULL".into(),
                Some(value) if value.chars().count() > SHOWN => {
                    let head: String = value.chars().take(SHOWN).collect();
                    format!("{head:?}… ({} bytes)", value.len())
                }
                Some(value) => format!("{value:?}"),
            };
            text += &format!(", {} = {value}", var.name());
        }
        text
    }
}

/// What a server gave in one column of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// SQL's NULL
    Null,
    /// where the server has such a type
    Bool(bool),
    /// of any width
    Integer(i64),
    /// all other types, as the server writes them; also bytes that are no text
    Text(Vec<u8>),
}

impl Cell {
    fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Cell::Null => None,
            Cell::Bool(true) => Some(b"t".to_vec()),
            Cell::Bool(false) => Some(b"f".to_vec()),
            Cell::Integer(number) => Some(number.to_string().into_bytes()),
            Cell::Text(bytes) => Some(bytes.clone()),
        }
    }

    fn size(&self) -> usize {
        CELL + match self {
            Cell::Text(bytes) => bytes.len(),
            _ => 0,
        }
    }
}

/// The answer to a query.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// names of the columns
    pub columns: Vec<String>,
    rows: Vec<Vec<Cell>>,
    /// rows that there were
    count: usize,
    size: usize,
    keep: usize,
    /// a value cannot be what it is compared with (`abc` and a number): no row matches it
    unlike: bool,
}

impl Rows {
    /// None yet, of an answer to that query.
    pub fn new(query: &Query) -> Rows {
        Rows {
            keep: query.keep,
            ..Rows::default()
        }
    }

    /// The answer when a value that is bound is none of the type that it is compared with.
    pub fn unlike(query: &Query) -> Rows {
        Rows {
            unlike: true,
            ..Rows::new(query)
        }
    }

    /// Adds a row; one that does not matter is only counted.
    pub fn push(&mut self, row: Vec<Cell>) {
        self.count += 1;
        if self.rows.len() >= self.keep || self.size > MOST {
            return;
        }
        self.size += row.iter().map(Cell::size).sum::<usize>();
        self.rows.push(row);
    }

    fn first(&self) -> Option<&[Cell]> {
        self.rows.first().map(Vec::as_slice)
    }

    /// Where the column of that name is.
    fn named(&self, name: &str) -> Option<usize> {
        let mut names = self.columns.iter();
        names.position(|column| column.eq_ignore_ascii_case(name))
    }

    /// For a person.
    fn shown(&self) -> String {
        match self.count {
            0 if self.unlike => {
                "no row, for a value is not of the type that it is compared with".into()
            }
            0 => "no row".into(),
            1 => "1 row".into(),
            count => format!("{count} rows"),
        }
    }
}

/// How a user was found in an answer to `auth_query`.
#[derive(Debug, PartialEq, Eq)]
struct Secret {
    stored: Option<Vec<u8>>,
    salt: Option<Vec<u8>>,
}

impl Secret {
    /// The first row: `password[, salt]`. A second column is a salt only where the form wants one, or where it is
    /// called so.
    fn of(rows: &Rows, row: &[Cell], by_name: bool, wants_salt: bool) -> Secret {
        let named = |name| by_name.then(|| rows.named(name)).flatten();
        let stored = named("password").unwrap_or(0);
        let next = usize::from(stored == 0);
        let salt = named("salt").or(wants_salt.then_some(next));
        let cell = |at: usize| row.get(at).and_then(Cell::bytes);
        Secret {
            stored: cell(stored),
            salt: salt.filter(|at| *at != stored).and_then(cell),
        }
    }
}

/// Asks an SQL database about clients.
pub struct Sql<C: Connector<Query = Asked, Reply = Rows>> {
    dialect: Dialect,
    pool: Pool<C>,
    checker: Checker,
    wants_salt: bool,
    health: Arc<Health>,
    auth: Option<Arc<Query>>,
    superuser: Option<Arc<Query>>,
    acl: Option<Arc<Query>>,
}

impl<C: Connector<Query = Asked, Reply = Rows>> fmt::Debug for Sql<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sql({})", self.health.server())
    }
}

impl<C: Connector<Query = Asked, Reply = Rows>> Sql<C> {
    /// Starts a plugin: reads its keys, begins to connect, and stands in the chains for which there are queries.
    ///
    /// # Errors
    /// The key, where it stands, and what is wrong.
    pub fn start(
        ctx: &Context,
        dialect: Dialect,
        connector: impl FnOnce(Entrance) -> Result<C, StartError>,
    ) -> Result<Box<dyn Plugin>, StartError> {
        let config = ctx.config();
        let head = dialect.head;
        let settings = Settings::read(&config, head)?;
        let entrance = Entrance::read(&config, &dialect, settings.timeout)?;
        let form = match config.entry(&format!("{head}.password_hash")) {
            Some(entry) => entry
                .value
                .parse::<Form>()
                .map_err(|error| entry.refused(error))?,
            None => return Err(format!("{head}.password_hash is not set").into()),
        };
        let size = config.integer(&format!("{head}.pool")).unwrap_or(8);
        let server = format!("{} {}", dialect.server, entrance.address);
        let health = Arc::new(Health::new(ctx, server));
        let connector = connector(entrance)?;
        let query = |number| Query::read(&config, &dialect, number);
        let sql = Sql {
            dialect,
            pool: Pool::start(ctx, usize::try_from(size).unwrap_or(1), &health, connector),
            checker: Checker::new(ctx, form, &health),
            wants_salt: form.wants_salt(),
            health: Arc::clone(&health),
            auth: query(0),
            superuser: query(1),
            acl: query(2),
        };
        let (auth, acl) = (sql.auth.is_some(), sql.acl.is_some());
        if !auth && !acl {
            log::warn!(
                "{}: neither {head}.auth_query nor {head}.acl_query is set: nothing is asked",
                ctx.plugin()
            );
        }
        let door = Door::new(ctx, &settings, &health, sql);
        if auth {
            ctx.auth(0, door.clone());
        }
        if acl {
            ctx.acl(0, door);
        }
        Ok(Box::new(()))
    }

    async fn ask(
        &self,
        query: &Arc<Query>,
        question: &Question<'_>,
        trace: &mut Trace,
    ) -> Result<Rows, Fault> {
        let asked = Asked::new(query, question);
        trace.note(|| asked.shown());
        let rows = self.pool.ask(&asked).await.map_err(|fault| match fault {
            Fault::Refused(why) => Fault::Refused(format!("{}: {why}", query.name)),
            down => down,
        })?;
        trace.note(|| rows.shown());
        if rows.size > MOST {
            return Err(Fault::Refused(format!(
                "{}: its rows take more than {} MiB",
                query.name,
                MOST >> 20
            )));
        }
        Ok(rows)
    }

    /// A query that fails makes nobody a superuser.
    async fn is_superuser(&self, question: &Question<'_>, trace: &mut Trace) -> bool {
        let Some(query) = &self.superuser else {
            return false;
        };
        let superuser = match self.ask(query, question, trace).await {
            Ok(rows) => rows
                .first()
                .and_then(|row| row.first())
                .is_some_and(self.dialect.is_super),
            Err(fault) => {
                self.health.complain(fault.why());
                trace.note(|| fault.why().into());
                false
            }
        };
        trace.note(|| {
            if superuser {
                "superuser"
            } else {
                "no superuser"
            }
            .into()
        });
        superuser
    }

    fn rules(&self, query: &Query, rows: &Rows) -> Result<Vec<Row>, Fault> {
        if let Some(row) = rows.first()
            && row.len() < 6
        {
            return Err(Fault::Refused(format!(
                "{}: gives {} columns, not allow, ipaddr, username, clientid, access, topic",
                query.name,
                row.len()
            )));
        }
        Ok(rows.rows.iter().map(|row| rule(row)).collect())
    }
}

/// A row with bytes that are no text is one that makes no sense.
fn rule(cells: &[Cell]) -> Row {
    let text = |at: usize| {
        let bytes = cells.get(at).and_then(Cell::bytes);
        bytes.map(String::from_utf8).transpose()
    };
    let row = || -> Result<Row, std::string::FromUtf8Error> {
        Ok(Row {
            allow: text(0)?,
            ipaddr: text(1)?,
            username: text(2)?,
            clientid: text(3)?,
            access: text(4)?,
            topic: text(5)?,
        })
    };
    row().unwrap_or_default()
}

impl<C: Connector<Query = Asked, Reply = Rows>> Backend for Sql<C> {
    async fn login(
        &self,
        question: &Question<'_>,
        password: &[u8],
        trace: &mut Trace,
    ) -> Result<AuthAnswer, Fault> {
        let Some(auth) = &self.auth else {
            return Ok(AuthAnswer::Ignore);
        };
        let rows = self.ask(auth, question, trace).await?;
        let Some(row) = rows.first() else {
            return Ok(AuthAnswer::Ignore);
        };
        let secret = Secret::of(&rows, row, self.dialect.by_name, self.wants_salt);
        let (stored, salt) = (secret.stored.as_deref(), secret.salt.as_deref());
        if !self.checker.is_right(password, stored, salt, trace).await? {
            return Ok(AuthAnswer::Deny);
        }
        let superuser = self.is_superuser(question, trace).await;
        Ok(AuthAnswer::Allow { superuser })
    }

    async fn act(
        &self,
        question: &Question<'_>,
        access: Access,
        topic: &str,
        trace: &mut Trace,
    ) -> Result<AclAnswer, Fault> {
        let Some(acl) = &self.acl else {
            return Ok(AclAnswer::Ignore);
        };
        let rows = self.ask(acl, question, trace).await?;
        if rows.unlike {
            // Who chooses his client id could get rid of all rules otherwise, whatever `acl_on_unavailable` says.
            trace.note(|| {
                "a value of the client is not of the type that it is compared with".into()
            });
            return Ok(AclAnswer::Deny);
        }
        let rules = self.rules(acl, &rows)?;
        let answer = Row::decide(&rules, question, access, topic, |why| {
            self.health.complain(why);
        });
        trace.note(|| {
            match answer {
                AclAnswer::Allow => "a row allows it",
                AclAnswer::Deny => "a row denies it",
                _ => "no row is about it",
            }
            .into()
        });
        Ok(answer)
    }
}

#[cfg(test)]
mod tests;
