//! What plugins register, with the guard around it. Who holds one of these may be calling the plugin: a
//! plugin has ended when nobody but the manager does.

use crate::desk::Site;
use crate::guard::Guard;
use emqttd_plugin_sdk::{
    Access, AclAnswer, AuthAnswer, AuthMechanism, BoxFuture, Call, Client, ClientRef, Command,
    DynAcl, DynAuth, Exchange, ExchangeStep, Flow, Hooks, HttpHandler, HttpRequest, HttpResponse,
    Message, PipeEvents, Reply, TopicEntry, Verdict,
};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::Sleep;

/// For an answer of a provider; without one it is [`AuthAnswer::Unavailable`].
pub const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// To a person, about a provider that panicked, took too long, or is off.
const NO_ANSWER: &str = "the plugin gave no answer; see the log";

/// Callbacks of a plugin. One that panics has not been there.
pub(crate) struct GuardedHooks {
    guard: Arc<Guard>,
    points: u32,
    inner: Arc<dyn Hooks>,
}

impl GuardedHooks {
    pub fn new(guard: &Arc<Guard>, inner: Arc<dyn Hooks>) -> GuardedHooks {
        GuardedHooks {
            points: guard
                .call_even_closed(Site::Start, || inner.points())
                .unwrap_or(0),
            guard: Arc::clone(guard),
            inner,
        }
    }

    /// A table is as it was when the callback panics half-way.
    fn change(
        &self,
        site: Site,
        table: &mut Vec<TopicEntry>,
        f: impl FnOnce(&mut Vec<TopicEntry>) -> Flow,
    ) -> Flow {
        let before = table.clone();
        self.guard.call(site, || f(table)).unwrap_or_else(|| {
            *table = before;
            Flow::Next
        })
    }
}

impl Hooks for GuardedHooks {
    fn points(&self) -> u32 {
        self.points
    }

    fn client_connected(&self, client: &Client, connack: u8) {
        self.guard.call(Site::ClientConnected, || {
            self.inner.client_connected(client, connack);
        });
    }

    fn client_disconnected(&self, client: &Client, reason: &str, code: Option<u8>) {
        self.guard.call(Site::ClientDisconnected, || {
            self.inner.client_disconnected(client, reason, code);
        });
    }

    fn client_subscribe(&self, client: ClientRef<'_>, table: &mut Vec<TopicEntry>) -> Flow {
        self.change(Site::ClientSubscribe, table, |table| {
            self.inner.client_subscribe(client, table)
        })
    }

    fn client_unsubscribe(&self, client: ClientRef<'_>, table: &mut Vec<TopicEntry>) -> Flow {
        self.change(Site::ClientUnsubscribe, table, |table| {
            self.inner.client_unsubscribe(client, table)
        })
    }

    fn session_created(&self, client: ClientRef<'_>) {
        self.guard.call(Site::SessionCreated, || {
            self.inner.session_created(client);
        });
    }

    fn session_subscribed(&self, client: ClientRef<'_>, entry: &TopicEntry) {
        self.guard.call(Site::SessionSubscribed, || {
            self.inner.session_subscribed(client, entry);
        });
    }

    fn session_unsubscribed(&self, client: ClientRef<'_>, entry: &TopicEntry) {
        self.guard.call(Site::SessionUnsubscribed, || {
            self.inner.session_unsubscribed(client, entry);
        });
    }

    fn session_terminated(&self, client: ClientRef<'_>, reason: &str) {
        self.guard.call(Site::SessionTerminated, || {
            self.inner.session_terminated(client, reason);
        });
    }

    fn message_publish(&self, message: &Message<'_>) -> Verdict {
        self.guard
            .call(Site::MessagePublish, || self.inner.message_publish(message))
            .unwrap_or(Verdict::Pass)
    }

    fn message_delivered(&self, client: ClientRef<'_>, message: &Message<'_>) {
        self.guard.call(Site::MessageDelivered, || {
            self.inner.message_delivered(client, message);
        });
    }

    fn message_acked(&self, client: ClientRef<'_>, message: &Message<'_>) {
        self.guard.call(Site::MessageAcked, || {
            self.inner.message_acked(client, message);
        });
    }

    fn message_dropped(&self, message: &Message<'_>, reason: &str) {
        self.guard.call(Site::MessageDropped, || {
            self.inner.message_dropped(message, reason);
        });
    }
}

/// A question to a provider. It is answered in time, whatever the provider does.
struct Question<T> {
    guard: Arc<Guard>,
    runtime: Handle,
    site: Site,
    refused: T,
    patience: Duration,
    inner: Option<BoxFuture<T>>,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<T: Clone + Unpin> Future for Question<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        // The first poll is on an event loop, and what it polls may want timers and sockets.
        let _inside = this.runtime.enter();
        let Some(inner) = &mut this.inner else {
            return Poll::Ready(this.refused.clone());
        };
        match this.guard.call(this.site, || inner.as_mut().poll(cx)) {
            Some(Poll::Ready(answer)) => return Poll::Ready(answer),
            None => return Poll::Ready(this.refused.clone()),
            Some(Poll::Pending) => {}
        }
        let deadline = this
            .deadline
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(this.patience)));
        match deadline.as_mut().poll(cx) {
            Poll::Ready(()) => {
                this.guard.timed_out(this.site, this.patience);
                Poll::Ready(this.refused.clone())
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T> Drop for Question<T> {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            let _inside = self.runtime.enter();
            // What the future holds is the plugin's, and so is the code that drops it.
            self.guard.call_even_closed(Site::Task, || drop(inner));
        }
    }
}

/// A provider of a chain.
pub(crate) struct GuardedProvider<P: ?Sized> {
    pub guard: Arc<Guard>,
    pub runtime: Handle,
    pub patience: Duration,
    pub inner: Arc<P>,
}

/// A provider of authentication.
pub(crate) type GuardedAuth = GuardedProvider<dyn DynAuth>;
/// A provider of ACL decisions.
pub(crate) type GuardedAcl = GuardedProvider<dyn DynAcl>;

impl<P: ?Sized + Send + Sync + 'static> GuardedProvider<P> {
    /// Asks it, through the guard; `refused` is the answer when it has none.
    fn ask<T: Clone + Unpin + Send + 'static>(
        self: Arc<Self>,
        site: Site,
        refused: T,
        check: impl FnOnce(Arc<P>) -> BoxFuture<T>,
    ) -> BoxFuture<T> {
        let inner = Arc::clone(&self.inner);
        let future = {
            let _inside = self.runtime.enter();
            self.guard.call(site, move || check(inner))
        };
        let question = Question {
            guard: Arc::clone(&self.guard),
            runtime: self.runtime.clone(),
            site,
            refused,
            patience: self.patience,
            inner: future,
            deadline: None,
        };
        Box::pin(async move {
            let answer = question.await;
            drop(self);
            answer
        })
    }
}

impl DynAuth for GuardedAuth {
    fn check(
        self: Arc<Self>,
        client: Arc<Client>,
        password: Option<Vec<u8>>,
    ) -> BoxFuture<AuthAnswer> {
        self.ask(Site::Auth, AuthAnswer::Unavailable, |inner| {
            inner.check(client, password)
        })
    }

    fn explain(
        self: Arc<Self>,
        client: Arc<Client>,
        password: Option<Vec<u8>>,
    ) -> BoxFuture<(AuthAnswer, String)> {
        let refused = (AuthAnswer::Unavailable, NO_ANSWER.into());
        self.ask(Site::Auth, refused, |inner| inner.explain(client, password))
    }
}

impl DynAcl for GuardedAcl {
    fn check(
        self: Arc<Self>,
        client: Arc<Client>,
        access: Access,
        topic: String,
    ) -> BoxFuture<AclAnswer> {
        self.ask(Site::Acl, AclAnswer::Unavailable, |inner| {
            inner.check(client, access, topic)
        })
    }

    fn explain(
        self: Arc<Self>,
        client: Arc<Client>,
        access: Access,
        topic: String,
    ) -> BoxFuture<(AclAnswer, String)> {
        let refused = (AclAnswer::Unavailable, NO_ANSWER.into());
        self.ask(Site::Acl, refused, |inner| {
            inner.explain(client, access, topic)
        })
    }

    fn forget(&self) {
        self.guard.call(Site::Acl, || self.inner.forget());
    }
}

/// Stands in the place of a guarding plugin that has been switched off: nobody gets past it.
pub(crate) struct Refusing;

impl DynAuth for Refusing {
    fn check(self: Arc<Self>, _: Arc<Client>, _: Option<Vec<u8>>) -> BoxFuture<AuthAnswer> {
        Box::pin(std::future::ready(AuthAnswer::Unavailable))
    }
}

impl DynAcl for Refusing {
    fn check(self: Arc<Self>, _: Arc<Client>, _: Access, _: String) -> BoxFuture<AclAnswer> {
        Box::pin(std::future::ready(AclAnswer::Unavailable))
    }
}

/// A mechanism of enhanced authentication.
pub(crate) struct GuardedMechanism {
    guard: Arc<Guard>,
    method: String,
    inner: Arc<dyn AuthMechanism>,
}

impl GuardedMechanism {
    pub fn new(guard: &Arc<Guard>, inner: Arc<dyn AuthMechanism>) -> GuardedMechanism {
        GuardedMechanism {
            method: guard
                .call_even_closed(Site::Start, || inner.method().to_string())
                .unwrap_or_default(),
            guard: Arc::clone(guard),
            inner,
        }
    }
}

impl AuthMechanism for GuardedMechanism {
    fn method(&self) -> &str {
        &self.method
    }

    fn begin(&self, client: &Client) -> Box<dyn Exchange> {
        Box::new(GuardedExchange {
            guard: Arc::clone(&self.guard),
            inner: self.guard.call(Site::Exchange, || self.inner.begin(client)),
        })
    }
}

/// An exchange; it fails for good with its first panic, or when the plugin is gone.
struct GuardedExchange {
    guard: Arc<Guard>,
    inner: Option<Box<dyn Exchange>>,
}

impl Exchange for GuardedExchange {
    fn step(&mut self, data: &[u8]) -> ExchangeStep {
        let Some(inner) = &mut self.inner else {
            return ExchangeStep::Fail;
        };
        let step = self.guard.call(Site::Exchange, || inner.step(data));
        step.unwrap_or_else(|| {
            self.end();
            ExchangeStep::Fail
        })
    }

    fn username(&self) -> Option<&str> {
        let inner = self.inner.as_ref()?;
        self.guard.call(Site::Exchange, || inner.username())?
    }
}

impl GuardedExchange {
    fn end(&mut self) {
        if let Some(inner) = self.inner.take() {
            self.guard.call_even_closed(Site::Exchange, || drop(inner));
        }
    }
}

impl Drop for GuardedExchange {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a virtual connection tells a plugin. When it panics the connection takes and gives nothing more.
pub(crate) struct GuardedPipe {
    guard: Arc<Guard>,
    inner: Option<Box<dyn PipeEvents>>,
}

impl GuardedPipe {
    pub fn new(guard: &Arc<Guard>, inner: Box<dyn PipeEvents>) -> GuardedPipe {
        GuardedPipe {
            guard: Arc::clone(guard),
            inner: Some(inner),
        }
    }

    fn call<T>(&mut self, f: impl FnOnce(&mut dyn PipeEvents) -> T) -> Option<T> {
        let inner = self.inner.as_mut()?;
        let result = self.guard.call(Site::Pipe, || f(&mut **inner));
        if result.is_none() {
            self.end();
        }
        result
    }

    fn end(&mut self) {
        if let Some(inner) = self.inner.take() {
            self.guard.call_even_closed(Site::Pipe, || drop(inner));
        }
    }
}

impl PipeEvents for GuardedPipe {
    fn output(&mut self, bytes: &[u8]) -> usize {
        self.call(|events| events.output(bytes))
            .map_or(bytes.len(), |taken| taken.min(bytes.len()))
    }

    fn room(&mut self) {
        self.call(|events| events.room());
    }

    fn closed(&mut self, reason: &str) {
        self.call(|events| events.closed(reason));
        self.end();
    }
}

impl Drop for GuardedPipe {
    fn drop(&mut self) {
        self.end();
    }
}

/// A command. The inner one is run only through [`GuardedCommand::run`].
pub(crate) struct GuardedCommand {
    pub guard: Arc<Guard>,
    /// it is in the registry: its name was free
    pub listed: AtomicBool,
    pub inner: Command,
}

impl GuardedCommand {
    pub fn run(&self, call: Call<'_>) -> Reply {
        self.guard
            .call(Site::Command, || (self.inner.handler)(call))
            .unwrap_or_else(|| {
                let name = &self.guard.name;
                Reply::Failed(match self.guard.is_closed() {
                    true => format!("plugin {name} is switched off or being unloaded\n"),
                    false => format!(
                        "command {} of plugin {name} crashed; see the log\n",
                        self.inner.name
                    ),
                })
            })
    }
}

/// What answers HTTP requests.
pub(crate) struct GuardedHttp {
    pub guard: Arc<Guard>,
    pub inner: Arc<HttpHandler>,
}

impl GuardedHttp {
    pub fn run(&self, request: &HttpRequest) -> HttpResponse {
        self.guard
            .call(Site::Http, || (self.inner)(request))
            .unwrap_or_else(|| HttpResponse {
                status: 500,
                content_type: "text/plain".into(),
                body: format!("plugin {} cannot answer now\n", self.guard.name).into_bytes(),
            })
    }
}

/// Loads something of the plugin's own anew.
pub(crate) struct GuardedReload {
    pub guard: Arc<Guard>,
    pub inner: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

impl GuardedReload {
    pub fn run(&self) -> Result<(), String> {
        self.guard
            .call(Site::Reload, || (self.inner)())
            .unwrap_or_else(|| Err(format!("plugin {} panicked or is off", self.guard.name)))
    }
}
