//! How the pool connects and asks, to whatever kind of Redis.

use crate::cluster::{Cluster, Nodes};
use crate::command::Query;
use crate::link::{Dialer, Link, describe, is_answer};
use crate::settings::{Login, RedisSettings, Servers};
use emqttd_backend::{Address, Broken, Connector};
use emqttd_plugin_sdk::Context;
use redis::{ErrorKind, RedisError, ServerErrorKind, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// Sentinels and nodes of a cluster are many: one that takes longer is left for the next.
pub(crate) const PATIENCE: Duration = Duration::from_millis(900);

/// Connects as the keys say.
pub(crate) struct RedisConnector {
    dialer: Arc<Dialer>,
    login: Option<Login>,
    database: u32,
    place: Place,
}

/// Where to.
enum Place {
    Single(Address),
    Sentinel {
        sentinels: Vec<Address>,
        master: String,
        login: Option<Login>,
        /// where asking begins; moves on from one that does not answer, or knows no master that is one
        first: AtomicUsize,
    },
    Cluster(Arc<Nodes>),
}

/// A connection of the pool.
pub(crate) enum Connection {
    One(Link),
    Cluster(Cluster),
}

impl RedisConnector {
    /// # Errors
    /// A file of the settings that cannot be used.
    pub fn new(ctx: &Context, settings: &RedisSettings) -> Result<RedisConnector, String> {
        let dialer = Arc::new(Dialer::new(ctx, settings.tls.as_ref())?);
        let login = settings.login.clone();
        let place = match settings.servers.clone() {
            Servers::Single(address) => Place::Single(address),
            Servers::Sentinel {
                sentinels,
                master,
                login,
            } => Place::Sentinel {
                sentinels,
                master,
                login,
                first: AtomicUsize::new(0),
            },
            Servers::Cluster(seeds) => Place::Cluster(Arc::new(Nodes::new(
                Arc::clone(&dialer),
                login.clone(),
                seeds,
            ))),
        };
        Ok(RedisConnector {
            dialer,
            login,
            database: settings.database,
            place,
        })
    }

    async fn open(&self, address: &Address) -> Result<Link, String> {
        self.dialer
            .open(address, self.login.as_ref(), self.database)
            .await
    }

    /// The master as the first sentinel that answers has it.
    async fn master(
        &self,
        sentinels: &[Address],
        name: &str,
        login: Option<&Login>,
        first: &AtomicUsize,
    ) -> Result<Address, String> {
        let mut why = String::new();
        for _ in 0..sentinels.len() {
            let turn = first.load(Ordering::Relaxed);
            let sentinel = &sentinels[turn % sentinels.len()];
            let asked = async {
                let mut link = self.dialer.open(sentinel, login, 0).await?;
                let mut cmd = redis::cmd("SENTINEL");
                cmd.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
                let reply = link.ask(&cmd).await;
                reply.map_err(|error| describe(&error))
            };
            let found = match timeout(PATIENCE, asked).await {
                Err(_) => Err(format!("no answer within {PATIENCE:?}")),
                Ok(Err(error)) => Err(error),
                Ok(Ok(reply)) => address_in(&reply).ok_or(format!("it knows no master `{name}`")),
            };
            match found {
                Ok(address) => return Ok(address),
                Err(error) => {
                    why = format!("sentinel {sentinel}: {error}");
                    first.store(turn.wrapping_add(1), Ordering::Relaxed);
                }
            }
        }
        Err(why)
    }
}

/// Host and port, as sentinels list them.
fn address_in(reply: &Value) -> Option<Address> {
    let (host, port): (String, u16) = redis::from_redis_value_ref(reply).ok()?;
    Some(Address { host, port })
}

/// Sentinels may name one that is not the master any more, or not yet.
async fn must_be_master(link: &mut Link) -> Result<(), String> {
    let role = match link.ask(&redis::cmd("ROLE")).await {
        Ok(role) => role,
        // Who may not ask for that believes the sentinel.
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => return Ok(()),
        Err(error) => return Err(describe(&error)),
    };
    let word = match role {
        Value::Array(parts) => parts.into_iter().next(),
        _ => None,
    };
    match word {
        Some(Value::BulkString(word)) if word == b"master" => Ok(()),
        _ => Err("it is not the master".into()),
    }
}

impl Connector for RedisConnector {
    type Connection = Connection;
    type Query = Query;
    type Reply = Value;

    async fn connect(&self) -> Result<Connection, String> {
        match &self.place {
            Place::Single(address) => self.open(address).await.map(Connection::One),
            Place::Sentinel {
                sentinels,
                master,
                login,
                first,
            } => {
                let address = self
                    .master(sentinels, master, login.as_ref(), first)
                    .await?;
                let link = async {
                    let mut link = self.open(&address).await?;
                    must_be_master(&mut link).await?;
                    Ok::<Link, String>(link)
                };
                let link = link.await.map_err(|why| {
                    // It may have missed the election; the next one may know better.
                    first.fetch_add(1, Ordering::Relaxed);
                    format!("{address}: {why}")
                })?;
                Ok(Connection::One(link))
            }
            Place::Cluster(nodes) => {
                let cluster = Cluster::connect(Arc::clone(nodes)).await?;
                Ok(Connection::Cluster(cluster))
            }
        }
    }

    async fn ask(&self, connection: &mut Connection, query: &Query) -> Result<Value, Broken> {
        match connection {
            Connection::One(link) => link.ask(&query.cmd()).await.map_err(broken),
            Connection::Cluster(cluster) => cluster.ask(query).await,
        }
    }

    async fn ping(&self, connection: &mut Connection) -> Result<(), String> {
        match connection {
            Connection::One(link) => link.ping().await,
            Connection::Cluster(cluster) => cluster.ping().await,
        }
    }
}

/// What an error leaves of the connection.
pub(crate) fn broken(error: RedisError) -> Broken {
    match is_answer(&error) {
        true => Broken::Question(describe(&error)),
        false => Broken::Connection(describe(&error)),
    }
}
