//! The provider of both chains that stands before a server.

use crate::breaker::Breaker;
use crate::figures::{Figures, Kind};
use crate::stale::Stale;
use crate::{Health, OnUnavailable, Question, Settings};
use emqttd_plugin_sdk::{
    Access, AclAnswer, AclProvider, AuthAnswer, AuthProvider, Client, Context,
};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Questions under way at a time; each holds a packet of its client.
const WAITING: usize = 10_000;

/// Why there is no answer, as a sentence without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The server is not there, or did not answer: the circuit breaker counts it.
    Down(String),
    /// The server is there, and this question has no answer (a table is missing, a status 500).
    Refused(String),
    /// It is we who cannot answer now: too many passwords are being checked. Clients can bring that about, so it
    /// says nothing about the server, and nobody gets past it: `on_unavailable` does not count here.
    Busy(String),
}

impl Fault {
    /// The sentence.
    pub fn why(&self) -> &str {
        match self {
            Fault::Down(why) | Fault::Refused(why) | Fault::Busy(why) => why,
        }
    }
}

/// What a server was asked and answered, written down when a person wants to know (`emqttd_ctl auth test`).
#[derive(Debug, Default)]
pub struct Trace {
    notes: Option<Vec<String>>,
    /// a slow check of a password is under way: the server has answered
    checking: Arc<AtomicBool>,
}

impl Trace {
    /// For a question that a client asks: keeps nothing.
    pub fn off() -> Trace {
        Trace::default()
    }

    /// For a person.
    pub fn on() -> Trace {
        Trace {
            notes: Some(Vec::new()),
            ..Trace::default()
        }
    }

    /// Adds a piece. No password, no salt and no hash belongs into it.
    pub fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(notes) = &mut self.notes {
            notes.push(text());
        }
    }

    /// All pieces, in one line.
    pub fn text(&self) -> String {
        let notes = self.notes.as_deref().unwrap_or_default();
        notes.join("; ").replace(['\r', '\n'], " ")
    }

    /// Until it is said again: what takes time now is a check of a password, and not the server.
    pub(crate) fn checking(&self, now: bool) {
        self.checking.store(now, Ordering::Relaxed);
    }
}

/// How a server is asked.
pub trait Backend: Send + Sync + 'static {
    /// May the client come in? `question.password` is `password`.
    fn login(
        &self,
        question: &Question<'_>,
        password: &[u8],
        trace: &mut Trace,
    ) -> impl Future<Output = Result<AuthAnswer, Fault>> + Send;

    /// May the client do that?
    fn act(
        &self,
        question: &Question<'_>,
        access: Access,
        topic: &str,
        trace: &mut Trace,
    ) -> impl Future<Output = Result<AclAnswer, Fault>> + Send;
}

/// What a client must have given to be asked about (sheet 0.3); who has not is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials {
    /// user name and password, neither of them empty
    NotEmpty,
    /// user name and password
    Given,
}

/// One kind of question.
struct Lane {
    breaker: Breaker,
    figures: Figures,
    on_unavailable: OnUnavailable,
}

struct Inner<B> {
    backend: B,
    credentials: Credentials,
    /// whether the ACL says nothing about users whose names begin with `$` (sheet 0.4)
    skips_dollar_users: bool,
    timeout: Duration,
    acl_nomatch: Option<bool>,
    auth: Lane,
    acl: Lane,
    stale: Option<Stale>,
    waiting: Semaphore,
    health: Arc<Health>,
}

/// Stands before a [`Backend`] in both chains; clones are the same door.
pub struct Door<B>(Arc<Inner<B>>);

impl<B> Clone for Door<B> {
    fn clone(&self) -> Door<B> {
        Door(Arc::clone(&self.0))
    }
}

impl<B> fmt::Debug for Door<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Door({})", self.0.health.server())
    }
}

impl<B: Backend> Door<B> {
    /// A door as the keys say. It becomes a provider by [`Context::auth`] and [`Context::acl`].
    pub fn new(ctx: &Context, settings: &Settings, health: &Arc<Health>, backend: B) -> Door<B> {
        let lane = |kind, on_unavailable| Lane {
            breaker: Breaker::default(),
            figures: Figures::new(ctx, kind),
            on_unavailable,
        };
        let limits = &settings.unavailability;
        let remembers = [limits.auth, limits.acl].contains(&OnUnavailable::Cached);
        Door(Arc::new(Inner {
            backend,
            credentials: Credentials::NotEmpty,
            skips_dollar_users: true,
            timeout: settings.timeout,
            acl_nomatch: settings.acl_nomatch,
            auth: lane("auth", limits.auth),
            acl: lane("acl", limits.acl),
            // By address: queries may ask for it, and a door that knows nothing of them keeps to the safe side.
            stale: remembers.then(|| Stale::new(limits, true)),
            waiting: Semaphore::new(WAITING),
            health: Arc::clone(health),
        }))
    }

    /// With other wishes about user name and password.
    pub fn credentials(self, credentials: Credentials) -> Door<B> {
        self.but(|inner| inner.credentials = credentials)
    }

    /// The ACL is asked about users whose names begin with `$` too.
    pub fn with_dollar_users(self) -> Door<B> {
        self.but(|inner| inner.skips_dollar_users = false)
    }

    fn but(mut self, change: impl FnOnce(&mut Inner<B>)) -> Door<B> {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            change(inner);
        }
        self
    }

    /// How the server is asked.
    pub fn backend(&self) -> &B {
        &self.0.backend
    }

    async fn login(
        &self,
        client: &Client,
        password: Option<&[u8]>,
        trace: &mut Trace,
    ) -> AuthAnswer {
        let inner = &*self.0;
        let question = Question::login(client, password);
        let Some(password) = inner.password_of(&question) else {
            trace.note(|| "not asked: user name or password is missing".into());
            inner.auth.figures.count_answer(Kind::Denied);
            return AuthAnswer::Deny;
        };
        let begun = Instant::now();
        let checking = Arc::clone(&trace.checking);
        let work = inner.backend.login(&question, password, trace);
        let answer = match inner.ask(&inner.auth, &checking, work).await {
            Ok(answer) => {
                if inner.auth.on_unavailable == OnUnavailable::Cached
                    && let Some(stale) = &inner.stale
                {
                    stale.learn_auth(&question, password, answer);
                }
                answer
            }
            Err(Fault::Busy(why)) => {
                trace.note(|| why);
                AuthAnswer::Unavailable
            }
            Err(fault) => {
                trace.note(|| fault.why().into());
                inner
                    .auth
                    .otherwise(AuthAnswer::Unavailable, AuthAnswer::Ignore, trace, || {
                        inner.stale.as_ref()?.recall_auth(&question, password)
                    })
            }
        };
        inner.auth.figures.count(answer.into(), begun.elapsed());
        trace.note(|| took(begun));
        answer
    }

    async fn act(
        &self,
        client: &Client,
        access: Access,
        topic: &str,
        trace: &mut Trace,
    ) -> AclAnswer {
        let inner = &*self.0;
        let question = Question::act(client, access, topic);
        if inner.skips_dollar_users
            && question
                .username()
                .is_some_and(|name| name.starts_with('$'))
        {
            trace.note(|| "not asked about a user name that begins with $".into());
            inner.acl.figures.count_answer(Kind::Ignored);
            return AclAnswer::Ignore;
        }
        let begun = Instant::now();
        let checking = Arc::clone(&trace.checking);
        let work = inner.backend.act(&question, access, topic, trace);
        let answer = match inner.ask(&inner.acl, &checking, work).await {
            Ok(answer) => {
                if inner.acl.on_unavailable == OnUnavailable::Cached
                    && let Some(stale) = &inner.stale
                {
                    stale.learn_acl(&question, access, topic, answer);
                }
                answer
            }
            Err(Fault::Busy(why)) => {
                trace.note(|| why);
                AclAnswer::Unavailable
            }
            Err(fault) => {
                trace.note(|| fault.why().into());
                inner
                    .acl
                    .otherwise(AclAnswer::Unavailable, AclAnswer::Ignore, trace, || {
                        inner.stale.as_ref()?.recall_acl(&question, access, topic)
                    })
            }
        };
        let answer = match (answer, inner.acl_nomatch) {
            (AclAnswer::Ignore, Some(true)) => AclAnswer::Allow,
            (AclAnswer::Ignore, Some(false)) => AclAnswer::Deny,
            (answer, _) => answer,
        };
        inner.acl.figures.count(answer.into(), begun.elapsed());
        trace.note(|| took(begun));
        answer
    }
}

fn took(begun: Instant) -> String {
    format!("{:.1} ms", begun.elapsed().as_secs_f64() * 1000.0)
}

impl<B: Backend> Inner<B> {
    /// The password, if there is all that the server must be asked with.
    fn password_of<'a>(&self, question: &Question<'a>) -> Option<&'a [u8]> {
        let (username, password) = (question.username()?, question.password?);
        let empty = username.is_empty() || password.is_empty();
        (self.credentials == Credentials::Given || !empty).then_some(password)
    }

    /// Lets the server be asked, unless that makes no sense now.
    async fn ask<T>(
        &self,
        lane: &Lane,
        checking: &AtomicBool,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        lane.breaker
            .ask(Instant::now())
            .map_err(|why| Fault::Down(format!("not asked: {why}")))?;
        let trying = GivenUp(&lane.breaker);
        let Ok(_waiting) = self.waiting.try_acquire() else {
            return Err(Fault::Busy("too many clients wait for an answer".into()));
        };
        // The first poll is the event loop's: what follows belongs beside it.
        tokio::task::yield_now().await;
        let outcome = tokio::time::timeout(self.timeout, work).await;
        std::mem::forget(trying);
        match outcome {
            Ok(Ok(answer)) => {
                lane.breaker.answered();
                self.health.up();
                Ok(answer)
            }
            Ok(Err(Fault::Refused(why))) => {
                lane.breaker.answered();
                self.health.complain(&why);
                Err(Fault::Refused(why))
            }
            Ok(Err(Fault::Busy(why))) => {
                lane.breaker.answered();
                Err(Fault::Busy(why))
            }
            Ok(Err(Fault::Down(why))) => Err(self.down(lane, why)),
            Err(_) if checking.load(Ordering::Relaxed) => {
                lane.breaker.answered();
                Err(Fault::Busy(format!(
                    "the password could not be checked within {:?}",
                    self.timeout
                )))
            }
            Err(_) => Err(self.down(lane, format!("no answer within {:?}", self.timeout))),
        }
    }

    fn down(&self, lane: &Lane, why: String) -> Fault {
        if lane.breaker.failed(Instant::now(), &why) {
            self.health.down(&why);
        }
        Fault::Down(why)
    }
}

/// A question that was dropped half-way has not found out anything.
struct GivenUp<'a>(&'a Breaker);

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        self.0.gave_up();
    }
}

impl Lane {
    /// The answer when there is none.
    fn otherwise<A>(
        &self,
        unavailable: A,
        ignore: A,
        trace: &mut Trace,
        recall: impl FnOnce() -> Option<A>,
    ) -> A {
        match self.on_unavailable {
            OnUnavailable::Deny => unavailable,
            OnUnavailable::Ignore => ignore,
            OnUnavailable::Cached => match recall() {
                Some(answer) => {
                    trace.note(|| "as it answered the last time".into());
                    answer
                }
                None => unavailable,
            },
        }
    }
}

impl<B: Backend> AuthProvider for Door<B> {
    async fn check(&self, client: &Client, password: Option<&[u8]>) -> AuthAnswer {
        self.login(client, password, &mut Trace::off()).await
    }

    async fn explain(&self, client: &Client, password: Option<&[u8]>) -> (AuthAnswer, String) {
        let mut trace = Trace::on();
        let answer = self.login(client, password, &mut trace).await;
        (answer, trace.text())
    }
}

impl<B: Backend> AclProvider for Door<B> {
    async fn check(&self, client: &Client, access: Access, topic: &str) -> AclAnswer {
        self.act(client, access, topic, &mut Trace::off()).await
    }

    async fn explain(&self, client: &Client, access: Access, topic: &str) -> (AclAnswer, String) {
        let mut trace = Trace::on();
        let answer = self.act(client, access, topic, &mut trace).await;
        (answer, trace.text())
    }

    fn forget(&self) {
        if let Some(stale) = &self.0.stale {
            stale.forget_acl();
        }
    }
}
