//! Connections to a server, made in the background.
//!
//! Nobody who asks ever waits for a server that refuses connections: one task makes them, one at a time, with
//! growing pauses while that fails. A connection serves one question at a time; one that broke, or whose
//! answer did not come in time, is thrown away and made anew. All questions are reads, so that one which broke
//! a connection is asked again over another.

use crate::breaker::jittered;
use crate::{Fault, Health};
use emqttd_plugin_sdk::Context;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::timeout;

/// Pauses between attempts to connect: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A connection that takes longer is none.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection without a question for so long is tried: what lies between may have forgotten it.
const IDLE: Duration = Duration::from_secs(30);
/// For the start of the plugin: a server that is there has answered by then.
const START_PATIENCE: Duration = Duration::from_secs(1);

/// What went wrong with a question.
#[derive(Debug)]
pub enum Broken {
    /// The connection is of no use any more.
    Connection(String),
    /// The server does not answer this one; the connection is fine.
    Question(String),
}

/// How a server is connected to and asked.
pub trait Connector: Send + Sync + 'static {
    /// One connection.
    type Connection: Send + 'static;
    /// What is asked.
    type Query: Send + Sync + ?Sized;
    /// What comes back.
    type Reply: Send;

    /// Connects, logs in, and prepares what is asked again and again.
    ///
    /// # Errors
    /// A sentence for the operator, without secrets.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, String>> + Send;

    /// Asks.
    fn ask(
        &self,
        connection: &mut Self::Connection,
        query: &Self::Query,
    ) -> impl Future<Output = Result<Self::Reply, Broken>> + Send;

    /// Asks for nothing, to see that the connection still is one.
    ///
    /// # Errors
    /// When it is not.
    fn ping(
        &self,
        connection: &mut Self::Connection,
    ) -> impl Future<Output = Result<(), String>> + Send;
}

/// How the latest attempt to connect ended.
#[derive(Debug, Clone)]
enum Attempt {
    UnderWay,
    Succeeded,
    Failed(String),
}

struct Idle<C> {
    connection: C,
    since: Instant,
}

struct Shared<C: Connector> {
    connector: C,
    size: usize,
    health: Arc<Health>,
    idle: Mutex<Vec<Idle<C::Connection>>>,
    /// a permit for each that is idle
    ready: Semaphore,
    /// connections that there are, idle or not
    live: Mutex<usize>,
    /// one was lost
    lost: Notify,
    attempt: watch::Sender<Attempt>,
}

/// Connections to one server.
pub struct Pool<C: Connector>(Arc<Shared<C>>);

impl<C: Connector> fmt::Debug for Pool<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({}, {})", self.0.health.server(), self.0.size)
    }
}

impl<C: Connector> Pool<C> {
    /// Begins to make `size` connections, and waits a moment for the first of them: whether the server is there
    /// or not, the pool is. Only while the plugin starts.
    pub fn start(ctx: &Context, size: usize, health: &Arc<Health>, connector: C) -> Pool<C> {
        let (attempt, mut seen) = watch::channel(Attempt::UnderWay);
        let shared = Arc::new(Shared {
            connector,
            size: size.max(1),
            health: Arc::clone(health),
            idle: Mutex::default(),
            ready: Semaphore::new(0),
            live: Mutex::new(0),
            lost: Notify::new(),
            attempt,
        });
        ctx.spawn(keep(Arc::clone(&shared)));
        ctx.block_on(async {
            let first = seen.wait_for(|attempt| !matches!(attempt, Attempt::UnderWay));
            let _ = timeout(START_PATIENCE, first).await;
        });
        Pool(shared)
    }

    /// Asks over a free connection; waits for one when all of them are busy, and for none when the server is gone.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn ask(&self, query: &C::Query) -> Result<C::Reply, Fault> {
        let shared = &self.0;
        // All of them may have broken since the last question.
        for _ in 0..=shared.size {
            let (mut connection, mut lease) = self.lease().await?;
            match shared.connector.ask(&mut connection, query).await {
                Ok(reply) => {
                    lease.connection = Some(connection);
                    return Ok(reply);
                }
                Err(Broken::Question(why)) => {
                    lease.connection = Some(connection);
                    return Err(Fault::Refused(why));
                }
                Err(Broken::Connection(why)) => log::debug!("{}: {why}", shared.health.server()),
            }
        }
        // Not `Down`: the server takes connections, and it may be this question alone that it breaks them over.
        Err(Fault::Refused("every connection broke".into()))
    }

    /// A connection, taken out for as long as the answer takes: who does not wait to the end loses it.
    async fn lease(&self) -> Result<(C::Connection, Lease<'_, C>), Fault> {
        let shared = &*self.0;
        let mut attempt = shared.attempt.subscribe();
        loop {
            let permit = tokio::select! {
                biased;
                permit = shared.ready.acquire() => permit,
                why = shared.no_server(&mut attempt) => return Err(Fault::Down(why)),
            };
            let Ok(permit) = permit else {
                return Err(Fault::Down("the plugin stops".into()));
            };
            permit.forget();
            // None when `try_idle` has just taken it.
            if let Some(idle) = lock(&shared.idle).pop() {
                let connection = None;
                return Ok((idle.connection, Lease { shared, connection }));
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<C: Connector> Shared<C> {
    /// Waits until there is no connection and an attempt to make one has failed.
    async fn no_server(&self, attempt: &mut watch::Receiver<Attempt>) -> String {
        loop {
            if let Attempt::Failed(why) = &*attempt.borrow_and_update()
                && *lock(&self.live) == 0
            {
                return why.clone();
            }
            if attempt.changed().await.is_err() {
                return "the plugin stops".into();
            }
        }
    }

    fn give_back(&self, connection: C::Connection) {
        lock(&self.idle).push(Idle {
            connection,
            since: Instant::now(),
        });
        self.ready.add_permits(1);
    }

    fn lose(&self) {
        let mut live = lock(&self.live);
        *live -= 1;
        if *live == 0 {
            // Who asks now waits for the attempt that begins.
            self.attempt.send_replace(Attempt::UnderWay);
        }
        drop(live);
        self.lost.notify_one();
    }
}

/// Stands for a connection in use.
struct Lease<'a, C: Connector> {
    shared: &'a Shared<C>,
    /// when it is done and can be used again
    connection: Option<C::Connection>,
}

impl<C: Connector> Drop for Lease<'_, C> {
    fn drop(&mut self) {
        match self.connection.take() {
            Some(connection) => self.shared.give_back(connection),
            None => self.shared.lose(),
        }
    }
}

/// Makes connections as long as the plugin runs.
async fn keep<C: Connector>(shared: Arc<Shared<C>>) {
    let mut pause = FIRST_PAUSE;
    loop {
        if *lock(&shared.live) >= shared.size {
            tokio::select! {
                () = shared.lost.notified() => {}
                () = tokio::time::sleep(IDLE / 2) => try_idle(&shared).await,
            }
            continue;
        }
        let connected = match timeout(CONNECT_TIMEOUT, shared.connector.connect()).await {
            Ok(connected) => connected,
            Err(_) => Err(format!("no connection within {CONNECT_TIMEOUT:?}")),
        };
        match connected {
            Ok(connection) => {
                *lock(&shared.live) += 1;
                shared.give_back(connection);
                shared.attempt.send_replace(Attempt::Succeeded);
                shared.health.up();
                pause = FIRST_PAUSE;
            }
            Err(why) => {
                if *lock(&shared.live) == 0 {
                    shared.health.down(&why);
                }
                shared.attempt.send_replace(Attempt::Failed(why));
                tokio::time::sleep(jittered(pause)).await;
                pause = LONGEST_PAUSE.min(2 * pause);
            }
        }
    }
}

/// Tries the connections that have not been used for a while.
async fn try_idle<C: Connector>(shared: &Arc<Shared<C>>) {
    let old = {
        let mut idle = lock(&shared.idle);
        let old: Vec<_> = idle
            .extract_if(.., |idle| idle.since.elapsed() > IDLE)
            .collect();
        // Fewer when somebody holds a permit for one of them already: he finds nothing, and waits for another.
        shared.ready.forget_permits(old.len());
        old
    };
    let mut all_well = true;
    for Idle { mut connection, .. } in old {
        // After one that is dead no other is waited for: all of them went the same way.
        all_well = all_well
            && matches!(
                timeout(CONNECT_TIMEOUT, shared.connector.ping(&mut connection)).await,
                Ok(Ok(()))
            );
        match all_well {
            true => shared.give_back(connection),
            false => shared.lose(),
        }
    }
}
