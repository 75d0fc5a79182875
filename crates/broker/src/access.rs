//! Who may come in, and what they may do: the authentication and ACL chains (sheet 6).
//!
//! A provider decides, says that the question is not its own, or is unavailable. Unavailable ends the
//! chain and refuses: it never becomes "allowed" because somebody else would have said so.
//!
//! A chain is walked as one future. It is polled once by the shard that asks, which is enough for
//! providers that know the answer; otherwise an [`Executor`] takes it over and the asking connection waits.

use crate::acl_file::{AclFile, Who};
use crate::info::ChainStep;
use arc_swap::{ArcSwap, ArcSwapOption};
use emqttd_config::{AllowAnonymous, Mqtt};
use emqttd_plugin_sdk::{
    Access, AclAnswer, AuthAnswer, AuthMechanism, BoxFuture, Client, DynAcl, DynAuth,
};
use std::future::Future;
use std::net::IpAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

/// Runs what could not be answered at once.
pub trait Executor: Send + Sync {
    /// Polls the future to its end, on another thread than the event loops.
    fn spawn(&self, future: BoxFuture<()>);
}

/// An answer, or the future that will have it.
pub(crate) enum Ask<T> {
    Now(T),
    Later(BoxFuture<T>),
}

/// What the ACL chain says to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permit {
    Allowed,
    Denied,
    /// Nobody who could say is there now. What is new is refused, what is there stays.
    Unknown,
}

impl From<bool> for Permit {
    fn from(allowed: bool) -> Permit {
        match allowed {
            true => Permit::Allowed,
            false => Permit::Denied,
        }
    }
}

/// Whom `acl.conf` is asked about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AccessRequest<'a> {
    pub clientid: &'a str,
    pub username: Option<&'a str>,
    pub ip: IpAddr,
}

impl<'a> AccessRequest<'a> {
    pub fn of(client: &'a Client) -> AccessRequest<'a> {
        AccessRequest {
            clientid: &client.clientid,
            username: client.username.as_deref(),
            ip: client.peername.ip(),
        }
    }
}

/// A provider in its chain.
struct Entry<T: ?Sized> {
    sequence: i32,
    name: Arc<str>,
    provider: Arc<T>,
}

impl<T: ?Sized> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Entry {
            sequence: self.sequence,
            name: Arc::clone(&self.name),
            provider: Arc::clone(&self.provider),
        }
    }
}

type Chain<T> = ArcSwap<Vec<Entry<T>>>;

/// The chains in force.
pub struct AccessControl {
    auth: Chain<dyn DynAuth>,
    acl: Chain<dyn DynAcl>,
    mechanisms: ArcSwap<Vec<Arc<dyn AuthMechanism>>>,
    file: ArcSwapOption<AclFile>,
    generation: AtomicU64,
    executor: OnceLock<Arc<dyn Executor>>,
}

/// Higher sequence first; among equals the latest registered first (sheet 6.1).
fn put<T: ?Sized>(chain: &Chain<T>, sequence: i32, name: &str, provider: &Arc<T>) {
    let entry = Entry {
        sequence,
        name: name.into(),
        provider: Arc::clone(provider),
    };
    chain.rcu(|old| {
        let mut chain = Vec::clone(old);
        let at = chain.partition_point(|other| other.sequence > sequence);
        chain.insert(at, entry.clone());
        chain
    });
}

fn take_out<T: ?Sized>(chain: &Chain<T>, provider: &Arc<T>) {
    chain.rcu(|old| {
        let mut chain = Vec::clone(old);
        chain.retain(|entry| !Arc::ptr_eq(&entry.provider, provider));
        chain
    });
}

fn put_in_place<T: ?Sized>(chain: &Chain<T>, old: &Arc<T>, new: &Arc<T>) {
    chain.rcu(|chain| {
        let mut chain = Vec::clone(chain);
        for entry in chain.iter_mut().filter(|e| Arc::ptr_eq(&e.provider, old)) {
            entry.provider = Arc::clone(new);
        }
        chain
    });
}

impl AccessControl {
    /// Chains without providers; `acl_file` is read now and must be readable.
    pub fn new(acl_file: Option<&Path>) -> Result<AccessControl, String> {
        let file = acl_file.map(read_acl_file).transpose()?;
        Ok(AccessControl {
            auth: ArcSwap::default(),
            acl: ArcSwap::default(),
            mechanisms: ArcSwap::default(),
            file: ArcSwapOption::from_pointee(file),
            generation: AtomicU64::new(0),
            executor: OnceLock::new(),
        })
    }

    /// Says who runs what cannot be answered at once; without it each such question has a thread.
    pub fn set_executor(&self, executor: Arc<dyn Executor>) {
        // The first one stays: futures may be with it already.
        let _ = self.executor.set(executor);
    }

    pub(crate) fn spawn(&self, future: BoxFuture<()>) {
        match self.executor.get() {
            Some(executor) => executor.spawn(future),
            None => drop(std::thread::spawn(move || wait_for(future))),
        }
    }

    /// Adds an authentication provider of the plugin `name`. Clients that wait for an answer are asked about
    /// again, as after every change of a chain.
    pub fn add_auth(&self, sequence: i32, name: &str, provider: &Arc<dyn DynAuth>) {
        put(&self.auth, sequence, name, provider);
        self.forget();
    }

    /// Takes an authentication provider out.
    pub fn remove_auth(&self, provider: &Arc<dyn DynAuth>) {
        take_out(&self.auth, provider);
        self.forget();
    }

    /// Puts an authentication provider in the place of another: nobody comes in between the two.
    pub fn replace_auth(&self, old: &Arc<dyn DynAuth>, new: &Arc<dyn DynAuth>) {
        put_in_place(&self.auth, old, new);
        self.forget();
    }

    /// Adds an ACL provider of the plugin `name`; decisions made so far are asked for again.
    pub fn add_acl(&self, sequence: i32, name: &str, provider: &Arc<dyn DynAcl>) {
        put(&self.acl, sequence, name, provider);
        self.forget();
    }

    /// Takes an ACL provider out; decisions made so far are asked for again.
    pub fn remove_acl(&self, provider: &Arc<dyn DynAcl>) {
        take_out(&self.acl, provider);
        self.forget();
    }

    /// Puts an ACL provider in the place of another.
    pub fn replace_acl(&self, old: &Arc<dyn DynAcl>, new: &Arc<dyn DynAcl>) {
        put_in_place(&self.acl, old, new);
        self.forget();
    }

    /// Adds a mechanism of enhanced authentication; of two with one name the later one serves.
    pub fn add_mechanism(&self, mechanism: &Arc<dyn AuthMechanism>) {
        self.mechanisms.rcu(|old| {
            let mut all = Vec::clone(old);
            all.insert(0, Arc::clone(mechanism));
            all
        });
    }

    /// Takes a mechanism away; exchanges that have begun go on.
    pub fn remove_mechanism(&self, mechanism: &Arc<dyn AuthMechanism>) {
        self.mechanisms.rcu(|old| {
            let mut all = Vec::clone(old);
            all.retain(|other| !Arc::ptr_eq(other, mechanism));
            all
        });
    }

    /// The mechanism of that name.
    pub(crate) fn mechanism(&self, method: &str) -> Option<Arc<dyn AuthMechanism>> {
        self.mechanisms
            .load()
            .iter()
            .find(|m| m.method() == method)
            .cloned()
    }

    /// Changes whenever a decision made before may no longer hold.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Makes every cached decision void.
    pub fn forget(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Tells providers that answers they keep are void.
    pub(crate) fn forget_kept_answers(&self) {
        for entry in self.acl.load().iter() {
            entry.provider.forget();
        }
    }

    /// Reads acl.conf again; when it cannot be read the old rules stay.
    pub fn reload(&self, path: Option<&Path>) -> Result<(), String> {
        let file = path.map(read_acl_file).transpose()?;
        self.file.store(file.map(Arc::new));
        self.forget();
        Ok(())
    }

    /// Whether providers have a say in what clients may do.
    #[inline]
    pub(crate) fn has_acl_providers(&self) -> bool {
        !self.acl.load().is_empty()
    }

    /// Walks the authentication chain; `nobody_knows` is the answer when no provider has one.
    pub(crate) fn authenticate(
        &self,
        client: &Arc<Client>,
        password: Option<&[u8]>,
        nobody_knows: AuthAnswer,
    ) -> Ask<AuthAnswer> {
        let chain = self.auth.load_full();
        if chain.is_empty() {
            return Ask::Now(nobody_knows);
        }
        let (client, password) = (Arc::clone(client), password.map(<[u8]>::to_vec));
        poll_once(Box::pin(async move {
            let answer = walk_auth(&chain, &client, password, None).await;
            answer.unwrap_or(nobody_knows)
        }))
    }

    /// Walks the ACL chain: providers, then acl.conf, then `mqtt.acl_nomatch`. `client` is only made when
    /// there are providers.
    pub(crate) fn authorize(
        &self,
        request: &AccessRequest<'_>,
        client: impl FnOnce() -> Arc<Client>,
        access: Access,
        topic: &str,
        mqtt: &Mqtt,
    ) -> Ask<Permit> {
        let chain = self.acl.load();
        let by_file = Permit::from(self.by_file(request, access, topic, mqtt, None));
        if chain.is_empty() {
            return Ask::Now(by_file);
        }
        let (chain, client, topic) = (Arc::clone(&chain), client(), topic.to_string());
        poll_once(Box::pin(async move {
            let answer = walk_acl(&chain, &client, access, &topic, None).await;
            answer.unwrap_or(by_file)
        }))
    }

    /// As [`AccessControl::authorize`], for one topic after the other.
    pub(crate) fn authorize_all(
        &self,
        client: &Arc<Client>,
        access: Access,
        topics: Vec<String>,
        mqtt: &Mqtt,
    ) -> Ask<Vec<Permit>> {
        let chain = self.acl.load_full();
        let request = AccessRequest::of(client);
        let by_file = |topic: &String| self.by_file(&request, access, topic, mqtt, None).into();
        let mut permits: Vec<Permit> = topics.iter().map(by_file).collect();
        if chain.is_empty() {
            return Ask::Now(permits);
        }
        let client = Arc::clone(client);
        poll_once(Box::pin(async move {
            for (topic, permit) in topics.iter().zip(&mut permits) {
                let answer = walk_acl(&chain, &client, access, topic, None).await;
                *permit = answer.unwrap_or(*permit);
            }
            permits
        }))
    }

    /// The authentication chain step by step, for people. Blocks.
    pub(crate) fn explain_auth(
        &self,
        client: &Arc<Client>,
        password: Option<&[u8]>,
        mqtt: &Mqtt,
    ) -> Vec<ChainStep> {
        let chain = self.auth.load_full();
        let mut steps = Vec::new();
        let password = password.map(<[u8]>::to_vec);
        if wait_for(walk_auth(&chain, client, password, Some(&mut steps))).is_none() {
            let ip = client.peername.ip();
            let detail = match mqtt.allow_anonymous {
                AllowAnonymous::True => "true",
                AllowAnonymous::False => "false",
                AllowAnonymous::Local => "local",
            };
            steps.push(ChainStep {
                module: "mqtt.allow_anonymous".into(),
                answer: auth_text(anonymous_answer(ip, mqtt)).into(),
                detail: format!("mqtt.allow_anonymous = {detail}, peer {ip}"),
            });
        }
        steps
    }

    /// The ACL chain step by step, for people. Blocks.
    pub(crate) fn explain_acl(
        &self,
        client: &Arc<Client>,
        access: Access,
        topic: &str,
        mqtt: &Mqtt,
    ) -> Vec<ChainStep> {
        let chain = self.acl.load_full();
        let mut steps = Vec::new();
        if wait_for(walk_acl(&chain, client, access, topic, Some(&mut steps))).is_none() {
            let request = AccessRequest::of(client);
            self.by_file(&request, access, topic, mqtt, Some(&mut steps));
        }
        steps
    }

    /// The end of the ACL chain: acl.conf, then `mqtt.acl_nomatch`.
    fn by_file(
        &self,
        request: &AccessRequest<'_>,
        access: Access,
        topic: &str,
        mqtt: &Mqtt,
        mut steps: Option<&mut Vec<ChainStep>>,
    ) -> bool {
        let mut step = |module: &str, answer: &str, detail: &dyn Fn() -> String| {
            if let Some(steps) = &mut steps {
                steps.push(ChainStep {
                    module: module.into(),
                    answer: answer.into(),
                    detail: detail(),
                });
            }
        };
        if let Some(file) = &*self.file.load() {
            let who = Who {
                clientid: request.clientid,
                username: request.username,
                ip: Some(request.ip),
            };
            if let Some(decision) = file.check(&who, access, topic) {
                let answer = if decision.allow { "allow" } else { "deny" };
                step("acl_internal", answer, &|| {
                    let rule = file.rule_text(decision.line).unwrap_or_default();
                    format!("line {}: {rule}", decision.line)
                });
                return decision.allow;
            }
            step("acl_internal", "ignore", &|| "no rule matches".into());
        }
        let nomatch = if mqtt.acl_nomatch_allow {
            "allow"
        } else {
            "deny"
        };
        step("mqtt.acl_nomatch", nomatch, &|| {
            format!("mqtt.acl_nomatch = {nomatch}")
        });
        mqtt.acl_nomatch_allow
    }
}

/// What `mqtt.allow_anonymous` says when nobody has decided.
pub(crate) fn anonymous_answer(ip: IpAddr, mqtt: &Mqtt) -> AuthAnswer {
    let allow = match mqtt.allow_anonymous {
        AllowAnonymous::True => true,
        AllowAnonymous::False => false,
        AllowAnonymous::Local => ip.to_canonical().is_loopback(),
    };
    if allow {
        AuthAnswer::Allow { superuser: false }
    } else {
        AuthAnswer::Deny
    }
}

/// Asks one provider after the other; `None` = nobody has decided.
async fn walk_auth(
    chain: &[Entry<dyn DynAuth>],
    client: &Arc<Client>,
    password: Option<Vec<u8>>,
    mut steps: Option<&mut Vec<ChainStep>>,
) -> Option<AuthAnswer> {
    for entry in chain {
        let provider = Arc::clone(&entry.provider);
        let (client, password) = (Arc::clone(client), password.clone());
        let answer = match &mut steps {
            None => provider.check(client, password).await,
            Some(steps) => {
                let (answer, why) = provider.explain(client, password).await;
                steps.push(chain_step(&entry.name, auth_text(answer), why));
                answer
            }
        };
        if answer != AuthAnswer::Ignore {
            return Some(answer);
        }
    }
    None
}

/// Asks one provider after the other; `None` = nobody has decided.
async fn walk_acl(
    chain: &[Entry<dyn DynAcl>],
    client: &Arc<Client>,
    access: Access,
    topic: &str,
    mut steps: Option<&mut Vec<ChainStep>>,
) -> Option<Permit> {
    for entry in chain {
        let provider = Arc::clone(&entry.provider);
        let (client, topic) = (Arc::clone(client), topic.to_string());
        let answer = match &mut steps {
            None => provider.check(client, access, topic).await,
            Some(steps) => {
                let (answer, why) = provider.explain(client, access, topic).await;
                steps.push(chain_step(&entry.name, acl_text(answer), why));
                answer
            }
        };
        match answer {
            AclAnswer::Allow => return Some(Permit::Allowed),
            AclAnswer::Deny => return Some(Permit::Denied),
            AclAnswer::Unavailable => return Some(Permit::Unknown),
            AclAnswer::Ignore => {}
        }
    }
    None
}

fn chain_step(module: &str, answer: &str, detail: String) -> ChainStep {
    ChainStep {
        module: module.into(),
        answer: answer.into(),
        detail,
    }
}

/// The answer, if it needs no waiting. Whoever polls the rest registers a waker of his own.
fn poll_once<T>(mut future: BoxFuture<T>) -> Ask<T> {
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(answer) => Ask::Now(answer),
        Poll::Pending => Ask::Later(future),
    }
}

/// Polls a future to its end on this thread.
fn wait_for<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => std::thread::park(),
        }
    }
}

fn read_acl_file(path: &Path) -> Result<AclFile, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let file = AclFile::parse(&text).map_err(|errors| {
        let lines: Vec<String> = errors
            .iter()
            .map(|e| format!("{}:{}:{}: {}", path.display(), e.line, e.column, e.message))
            .collect();
        lines.join("\n")
    })?;
    for warning in file.warnings() {
        log::warn!("{}: {warning}", path.display());
    }
    Ok(file)
}

fn auth_text(answer: AuthAnswer) -> &'static str {
    match answer {
        AuthAnswer::Allow { superuser: true } => "allow (superuser)",
        AuthAnswer::Allow { superuser: false } => "allow",
        AuthAnswer::Deny => "deny",
        AuthAnswer::Ignore => "ignore",
        AuthAnswer::Unavailable => "unavailable",
    }
}

fn acl_text(answer: AclAnswer) -> &'static str {
    match answer {
        AclAnswer::Allow => "allow",
        AclAnswer::Deny => "deny",
        AclAnswer::Ignore => "ignore",
        AclAnswer::Unavailable => "unavailable",
    }
}
