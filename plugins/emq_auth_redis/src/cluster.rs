//! A cluster: each question goes to the node that has its key.
//!
//! The library has a client for clusters too. It cannot check certificates by another name than that under which
//! nodes know each other, which is mostly an address; so the few things there are to it are done here.

use crate::command::Query;
use crate::connector::PATIENCE;
use crate::link::{Dialer, Link, describe, is_answer};
use crate::settings::Login;
use crate::slots::{Slots, redirected, slot_of};
use emqttd_backend::{Address, Broken};
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// A question is sent on so often; resharding needs two.
const HOPS: usize = 5;
/// Until a node that is handing over a key is asked again.
const HANDING_OVER: Duration = Duration::from_millis(20);
/// A node that could not be connected to is left alone for so long.
const LEFT_ALONE: Duration = Duration::from_millis(500);
/// A connection that was not used for longer is not trusted.
const IDLE: Duration = Duration::from_secs(60);

/// What all connections of the pool know of the cluster.
pub(crate) struct Nodes {
    dialer: Arc<Dialer>,
    login: Option<Login>,
    /// as configured
    seeds: Vec<Address>,
    /// where asking about the cluster begins; moves on from one that does not answer
    turn: AtomicUsize,
    state: Mutex<State>,
}

struct State {
    slots: Slots,
    /// when a node could not be connected to, and why
    failed: HashMap<Address, (Instant, String)>,
}

impl Nodes {
    pub fn new(dialer: Arc<Dialer>, login: Option<Login>, seeds: Vec<Address>) -> Nodes {
        Nodes {
            dialer,
            login,
            seeds,
            turn: AtomicUsize::new(0),
            state: Mutex::new(State {
                slots: Slots::unknown(),
                failed: HashMap::new(),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The seeds, and whoever has joined since.
    fn candidates(&self) -> Vec<Address> {
        let mut all = self.seeds.clone();
        let state = self.state();
        let known = state.slots.nodes().iter();
        all.extend(known.filter(|node| !self.seeds.contains(node)).cloned());
        all
    }

    fn owner(&self, slot: Option<u16>) -> Address {
        let owner = slot.and_then(|slot| self.state().slots.owner(slot).cloned());
        // Any node knows where to go on.
        owner.unwrap_or_else(|| {
            self.seeds[self.turn.load(Ordering::Relaxed) % self.seeds.len()].clone()
        })
    }

    async fn open(&self, node: &Address) -> Result<Link, String> {
        if let Some((at, why)) = self.state().failed.get(node)
            && at.elapsed() < LEFT_ALONE
        {
            return Err(why.clone());
        }
        let opened = timeout(PATIENCE, self.dialer.open(node, self.login.as_ref(), 0)).await;
        let opened = opened.unwrap_or_else(|_| Err(format!("no connection within {PATIENCE:?}")));
        let mut state = self.state();
        match opened {
            Ok(link) => {
                state.failed.remove(node);
                Ok(link)
            }
            Err(why) => {
                let failed = &mut state.failed;
                failed.retain(|_, (at, _)| at.elapsed() < LEFT_ALONE);
                failed.insert(node.clone(), (Instant::now(), why.clone()));
                Err(why)
            }
        }
    }

    /// Asks one node after the other who has which slots, until one answers.
    async fn learn(&self) -> Result<(Address, Link), String> {
        let candidates = self.candidates();
        let mut why = String::new();
        for _ in 0..candidates.len() {
            let turn = self.turn.load(Ordering::Relaxed);
            let node = &candidates[turn % candidates.len()];
            let asked = async {
                let mut link = self.open(node).await?;
                let reply = link.ask(redis::cmd("CLUSTER").arg("SLOTS")).await;
                let reply = reply.map_err(|error| describe(&error))?;
                let slots = Slots::read(&reply, node).ok_or("it has no slots of a cluster")?;
                self.state().slots = slots;
                Ok::<Link, String>(link)
            };
            let asked = timeout(PATIENCE, asked).await;
            match asked.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}"))) {
                Ok(link) => return Ok((node.clone(), link)),
                Err(error) => {
                    why = format!("{node}: {error}");
                    self.turn.store(turn.wrapping_add(1), Ordering::Relaxed);
                }
            }
        }
        Err(why)
    }
}

/// Connections to the nodes of a cluster, made as they are needed.
pub(crate) struct Cluster {
    nodes: Arc<Nodes>,
    links: HashMap<Address, Link>,
}

impl Cluster {
    /// Connects to the first node that answers.
    ///
    /// # Errors
    /// Why none of them does.
    pub async fn connect(nodes: Arc<Nodes>) -> Result<Cluster, String> {
        let links = HashMap::new();
        let mut cluster = Cluster { nodes, links };
        cluster.learn().await?;
        Ok(cluster)
    }

    async fn learn(&mut self) -> Result<(), String> {
        let (node, link) = self.nodes.learn().await?;
        // Who has left the cluster is not asked any more.
        let candidates = self.nodes.candidates();
        self.links.retain(|node, _| candidates.contains(node));
        self.links.insert(node, link);
        Ok(())
    }

    /// Asks the node that has the key, wherever that has gone to.
    pub async fn ask(&mut self, query: &Query) -> Result<Value, Broken> {
        let slot = query.key().map(slot_of);
        let cmd = query.cmd();
        let mut node = self.nodes.owner(slot);
        // The key may be there already, before all of its slot is.
        let mut early = false;
        let mut learned = false;
        for _ in 0..HOPS {
            let error = match self.ask_node(&node, &cmd, early).await {
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(error)) => error,
                Err(why) if learned => {
                    let why = format!("node {node} of the cluster does not answer: {why}");
                    return Err(Broken::Question(why));
                }
                // Another may have its slots by now.
                Err(_) => {
                    self.learn().await.map_err(Broken::Connection)?;
                    (learned, early) = (true, false);
                    node = self.nodes.owner(slot);
                    continue;
                }
            };
            let named = error.redirect_node();
            let named = named.and_then(|(text, slot)| Some((redirected(text, &node)?, slot)));
            match (error.kind(), named) {
                (ErrorKind::Server(ServerErrorKind::Moved), Some((to, slot))) => {
                    self.nodes.state().slots.moved(slot, &to);
                    (node, early) = (to, false);
                }
                (ErrorKind::Server(ServerErrorKind::Ask), Some((to, _))) => {
                    (node, early) = (to, true);
                }
                (ErrorKind::Server(ServerErrorKind::TryAgain), _) => sleep(HANDING_OVER).await,
                _ => return Err(Broken::Question(describe(&error))),
            }
        }
        let why = "the nodes of the cluster send us from one to the other";
        Err(Broken::Question(why.into()))
    }

    /// Asks one node, over the connection to it or a new one.
    ///
    /// # Errors
    /// The outer: why it gives no answer. The inner: its answer is an error.
    async fn ask_node(
        &mut self,
        node: &Address,
        cmd: &Cmd,
        early: bool,
    ) -> Result<Result<Value, RedisError>, String> {
        // Out of the map, so that it is gone when nobody waits for its answer any more.
        let known = self.links.remove(node);
        if let Some(mut link) = known.filter(|link| link.used().elapsed() < IDLE) {
            let answer = ask_early(&mut link, cmd, early).await;
            if answer.as_ref().err().is_none_or(is_answer) {
                self.links.insert(node.clone(), link);
                return Ok(answer);
            }
        }
        let mut link = self.nodes.open(node).await?;
        let answer = ask_early(&mut link, cmd, early).await;
        if let Err(error) = &answer
            && !is_answer(error)
        {
            return Err(describe(error));
        }
        self.links.insert(node.clone(), link);
        Ok(answer)
    }

    /// Drops the connections that have broken; at least one must be left.
    pub async fn ping(&mut self) -> Result<(), String> {
        let mut why = "no node is connected to".into();
        for (node, mut link) in std::mem::take(&mut self.links) {
            match link.ping().await {
                Ok(()) => drop(self.links.insert(node, link)),
                Err(error) => why = format!("{node}: {error}"),
            }
        }
        match self.links.is_empty() {
            true => Err(why),
            false => Ok(()),
        }
    }
}

/// `early`: says that we know that the slot is not all there yet.
async fn ask_early(link: &mut Link, cmd: &Cmd, early: bool) -> Result<Value, RedisError> {
    if early {
        link.ask(&redis::cmd("ASKING")).await?;
    }
    link.ask(cmd).await
}
