//! Connections to the directory, and what is asked over them.

use crate::entry::{Entry, Place};
use crate::security::Route;
use crate::settings::{Identity, LdapSettings, Mode};
use emqttd_backend::{Address, Broken, Connector};
use emqttd_plugin_sdk::{Context, StartError};
use ldap3::{
    DerefAliases, Ldap, LdapConnAsync, LdapConnSettings, LdapError, LdapResult, Scope, SearchEntry,
    SearchOptions, StdStream,
};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// For an attempt at all servers together; the pool gives it up a little later.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(2800);

/// Characters of a server's own words that are passed on.
const LONGEST_TEXT: usize = 200;

/// Result codes of RFC 4511 that mean something to us.
pub mod code {
    pub const SUCCESS: u32 = 0;
    pub const SIZE_LIMIT_EXCEEDED: u32 = 4;
    pub const REFERRAL: u32 = 10;
    pub const CONSTRAINT_VIOLATION: u32 = 19;
    pub const NO_SUCH_OBJECT: u32 = 32;
    pub const INVALID_DN_SYNTAX: u32 = 34;
    pub const INAPPROPRIATE_AUTHENTICATION: u32 = 48;
    pub const INVALID_CREDENTIALS: u32 = 49;
    pub const INSUFFICIENT_ACCESS_RIGHTS: u32 = 50;
    pub const UNAVAILABLE: u32 = 52;
    pub const UNWILLING_TO_PERFORM: u32 = 53;
}

/// A question.
#[derive(Debug)]
pub enum Query {
    Bind(Login),
    Search {
        place: Place,
        attributes: Arc<[String]>,
    },
}

/// A name and a password that a directory can be asked about.
pub struct Login {
    dn: String,
    password: String,
}

impl Login {
    /// `None` = the directory must not be asked. Without a name or a password it would say yes to everybody: that
    /// is an anonymous bind (RFC 4513, 5.1.2). A NUL is where some servers see the end of a password; and a
    /// password that is no text is none in LDAP.
    pub fn new(dn: &str, password: &[u8]) -> Option<Login> {
        let password = std::str::from_utf8(password).ok()?;
        let good = !dn.is_empty() && !password.is_empty() && !password.contains('\0');
        good.then(|| Login {
            dn: dn.into(),
            password: password.into(),
        })
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({})", self.dn)
    }
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// who gave it
    pub server: Arc<str>,
    pub code: u32,
    /// the code in words, and what the server says to it
    pub said: String,
    /// at most two
    pub entries: Vec<Entry>,
}

/// A pair of connections to one server: a bind changes what else a connection may be used for, so that those of
/// clients have one for themselves.
#[derive(Debug)]
pub struct Connection {
    server: Arc<str>,
    /// bound as the broker, and reads entries
    reader: Option<Line>,
    /// tries the passwords of clients
    binder: Option<Line>,
}

/// One connection. The task that moves its bytes ends with it.
#[derive(Debug)]
struct Line {
    ldap: Ldap,
    driver: JoinHandle<()>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A server, and the way to it.
#[derive(Debug)]
struct Target {
    address: Address,
    shown: Arc<str>,
    route: Route,
}

/// Makes connections.
pub struct Connections {
    ctx: Context,
    targets: Vec<Target>,
    /// the one that the latest connection was made to: it is tried first
    latest: AtomicUsize,
    reader: Option<Identity>,
    binds: bool,
}

impl Connections {
    /// To the servers of the configuration.
    pub fn new(ctx: &Context, settings: &LdapSettings) -> Result<Connections, StartError> {
        let target = |server: &crate::settings::Server| {
            Ok(Target {
                address: server.address.clone(),
                shown: server.address.to_string().into(),
                route: Route::new(server, settings.tls.as_ref())?,
            })
        };
        let targets: Result<Vec<Target>, String> = settings.servers.iter().map(target).collect();
        Ok(Connections {
            ctx: ctx.clone(),
            targets: targets.map_err(|why| StartError(format!("auth.ldap.ssl: {why}")))?,
            latest: AtomicUsize::new(0),
            reader: settings.identity.clone(),
            binds: matches!(settings.mode, Mode::Bind { .. }),
        })
    }

    async fn open(&self, target: &Target) -> Result<Connection, String> {
        let mut connection = Connection {
            server: Arc::clone(&target.shown),
            reader: None,
            binder: None,
        };
        if let Some(identity) = &self.reader {
            let mut line = self.line(target).await?;
            let login = Login::new(&identity.dn, identity.password.as_bytes());
            let login = login.ok_or("auth.ldap.bind_password cannot be a password in LDAP")?;
            let result = line.bind(&login).await.map_err(why)?;
            if result.rc != code::SUCCESS {
                let dn = &identity.dn;
                return Err(format!("bind as auth.ldap.bind_dn {dn}: {}", said(&result)));
            }
            connection.reader = Some(line);
        }
        if self.binds {
            let mut line = self.line(target).await?;
            // A server that hangs takes connections all the same.
            line.probe().await?;
            connection.binder = Some(line);
        }
        Ok(connection)
    }

    async fn line(&self, target: &Target) -> Result<Line, String> {
        let address = (target.address.host.as_str(), target.address.port);
        let stream = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            stream.into_std()
        };
        let stream = stream.await.map_err(|error| error.to_string())?;
        let mut settings = LdapConnSettings::new()
            .set_std_stream(StdStream::Tcp(stream))
            .set_starttls(target.route.starttls);
        if let Some(tls) = &target.route.tls {
            settings = settings.set_config(Arc::clone(tls));
        }
        let connected = LdapConnAsync::with_settings(settings, &target.route.url);
        let (connection, ldap) = match caught(connected).await {
            Some(connected) => connected.map_err(sentence)?,
            None => return Err(NO_LDAP.into()),
        };
        let driver = self.ctx.spawn(async move {
            // What went wrong is heard of by who has asked.
            let _ = caught(connection.drive()).await;
        });
        Ok(Line { ldap, driver })
    }
}

impl Connector for Connections {
    type Connection = Connection;
    type Query = Query;
    type Reply = Reply;

    async fn connect(&self) -> Result<Connection, String> {
        let count = self.targets.len();
        let patience = CONNECT_TIMEOUT / u32::try_from(count).unwrap_or(u32::MAX).max(1);
        let first = self.latest.load(Ordering::Relaxed);
        let mut failures = Vec::new();
        for index in (0..count).map(|step| (first + step) % count) {
            let target = &self.targets[index];
            let why = match timeout(patience, self.open(target)).await {
                Ok(Ok(connection)) => {
                    self.latest.store(index, Ordering::Relaxed);
                    return Ok(connection);
                }
                Ok(Err(why)) => why,
                Err(_) => format!("no connection within {patience:?}"),
            };
            failures.push(match count {
                1 => why,
                _ => format!("{}: {why}", target.shown),
            });
        }
        Err(failures.join("; "))
    }

    async fn ask(&self, connection: &mut Connection, query: &Query) -> Result<Reply, Broken> {
        let unused = || Broken::Question("no connection is made for this".into());
        let (result, entries) = match query {
            Query::Bind(login) => {
                let line = connection.binder.as_mut().ok_or_else(unused)?;
                (line.bind(login).await?, Vec::new())
            }
            Query::Search { place, attributes } => {
                let line = connection.reader.as_mut().ok_or_else(unused)?;
                line.search(place, attributes).await?
            }
        };
        if result.rc == code::UNAVAILABLE {
            // It is about to stop: another one may know.
            return Err(Broken::Connection(said(&result)));
        }
        Ok(Reply {
            server: Arc::clone(&connection.server),
            code: result.rc,
            said: said(&result),
            entries,
        })
    }

    async fn ping(&self, connection: &mut Connection) -> Result<(), String> {
        let lines = [&mut connection.reader, &mut connection.binder];
        for line in lines.into_iter().flatten() {
            line.probe().await?;
        }
        Ok(())
    }
}

/// Said of bytes on which the library gives up.
const NO_LDAP: &str = "the answer is no LDAP";

impl Line {
    async fn bind(&mut self, login: &Login) -> Result<LdapResult, Broken> {
        let bind = self.ldap.simple_bind(&login.dn, &login.password);
        answered(caught(bind).await)
    }

    async fn search(
        &mut self,
        place: &Place,
        attributes: &Arc<[String]>,
    ) -> Result<(LdapResult, Vec<Entry>), Broken> {
        // Two are one too many already. Aliases lead to their entries, as they did in EMQ.
        let options = SearchOptions::new()
            .deref(DerefAliases::Always)
            .sizelimit(2);
        let search = self.ldap.with_search_options(options).search(
            &place.base,
            place.scope,
            &place.filter,
            Arc::clone(attributes),
        );
        let work = async {
            let found = search.await?;
            let entries = found.0.into_iter().take(2);
            let entries = entries.map(|entry| Entry::from(SearchEntry::construct(entry)));
            Ok((found.1, entries.collect()))
        };
        answered(caught(work).await)
    }

    /// Whether there is any answer: the entry that each server has of itself is asked for.
    async fn probe(&mut self) -> Result<(), String> {
        let root = self
            .ldap
            .search("", Scope::Base, "(objectClass=*)", ["1.1"]);
        answered(caught(root).await).map(|_| ()).map_err(why)
    }
}

fn answered<T>(outcome: Option<Result<T, LdapError>>) -> Result<T, Broken> {
    match outcome {
        Some(Ok(reply)) => Ok(reply),
        Some(Err(error)) => Err(Broken::Connection(sentence(error))),
        None => Err(Broken::Connection(NO_LDAP.into())),
    }
}

/// What broke.
fn why(broken: Broken) -> String {
    match broken {
        Broken::Connection(why) | Broken::Question(why) => why,
    }
}

fn sentence(error: LdapError) -> String {
    match error {
        LdapError::Io { source } => source.to_string(),
        LdapError::LdapResult { result } => said(&result),
        LdapError::ResultRecv { .. } | LdapError::OpSend { .. } | LdapError::EndOfStream => {
            "the server has closed the connection".into()
        }
        error => error.to_string(),
    }
}

/// A result in words.
fn said(result: &LdapResult) -> String {
    let name = match result.rc {
        code::SUCCESS => "success",
        code::SIZE_LIMIT_EXCEEDED => "sizeLimitExceeded",
        8 => "strongerAuthRequired",
        code::REFERRAL => "referral, which is not followed",
        13 => "confidentialityRequired",
        code::CONSTRAINT_VIOLATION => "constraintViolation",
        code::NO_SUCH_OBJECT => "noSuchObject",
        code::INVALID_DN_SYNTAX => "invalidDNSyntax",
        code::INAPPROPRIATE_AUTHENTICATION => "inappropriateAuthentication",
        code::INVALID_CREDENTIALS => "invalidCredentials",
        code::INSUFFICIENT_ACCESS_RIGHTS => "insufficientAccessRights",
        51 => "busy",
        code::UNAVAILABLE => "unavailable",
        code::UNWILLING_TO_PERFORM => "unwillingToPerform",
        _ => "result code",
    };
    let text: String = result.text.chars().take(LONGEST_TEXT).collect();
    match text.is_empty() {
        true => format!("{name} ({})", result.rc),
        false => format!("{name} ({}): {text}", result.rc),
    }
}

/// Runs what gives up with a panic: the library does so on bytes that are no LDAP. `None` = it did.
async fn caught<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let poll = poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        },
    );
    poll.await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reaches_a_bind() {
        let good = |dn, password: &[u8]| Login::new(dn, password).is_some();
        assert!(good("cn=x", b"p"));
        assert!(good("cn=x", b" "));
        assert!(good("cn=x", "p\u{1}ü€".as_bytes()));
        assert!(!good("cn=x", b""));
        assert!(!good("", b"p"));
        for password in [&b"\0"[..], b"\0p", b"p\0", b"p\xff"] {
            assert!(!good("cn=x", password), "{password:?}");
        }
        let shown = Login::new("cn=x", b"s3cret").map(|login| format!("{login:?}"));
        assert_eq!(shown.as_deref(), Some("Login(cn=x)"));
    }

    #[test]
    fn words_of_a_server_have_an_end() {
        let mut result = LdapResult {
            rc: code::INVALID_CREDENTIALS,
            matched: String::new(),
            text: String::new(),
            refs: Vec::new(),
            ctrls: Vec::new(),
        };
        assert_eq!(said(&result), "invalidCredentials (49)");
        result.text = "ü".repeat(10_000);
        assert_eq!(said(&result).chars().count(), 25 + LONGEST_TEXT);
    }
}
