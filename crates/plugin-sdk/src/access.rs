//! Who may come in, and what they may do: providers of the authentication and ACL chains.

use crate::Client;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Answer to "may this client come in?".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthAnswer {
    /// Admitted; nobody else is asked.
    Allow {
        /// passes every ACL
        superuser: bool,
    },
    /// Refused; nobody else is asked.
    Deny,
    /// Not mine: the next provider is asked.
    Ignore,
    /// Cannot be known now (a database is down): refused.
    Unavailable,
}

/// Answer to "may this client do that?".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AclAnswer {
    /// Yes; nobody else is asked.
    Allow,
    /// No; nobody else is asked.
    Deny,
    /// Not mine: the next provider is asked.
    Ignore,
    /// Cannot be known now: refused.
    Unavailable,
}

/// What a client wants to do with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// send a message, or leave a will
    Publish,
    /// receive messages
    Subscribe,
}

/// Decides who may come in. Write `async fn check`; what it awaits suspends only the client that asks.
///
/// An answer that needs no waiting is given at once, on the event loop: work that takes long without
/// awaiting (a password hash) belongs into [`Context::blocking`](crate::Context::blocking).
pub trait AuthProvider: Send + Sync + 'static {
    /// Decides. `password` is `None` when CONNECT had none.
    fn check(
        &self,
        client: &Client,
        password: Option<&[u8]>,
    ) -> impl Future<Output = AuthAnswer> + Send;

    /// The same for a person who wants to know why (`emqttd_ctl auth test`): the answer, and in one line what was
    /// asked and answered on the way to it, without secrets.
    fn explain(
        &self,
        client: &Client,
        password: Option<&[u8]>,
    ) -> impl Future<Output = (AuthAnswer, String)> + Send {
        let check = self.check(client, password);
        async { (check.await, String::new()) }
    }
}

/// Decides what a client may do. As [`AuthProvider`]. Decisions about PUBLISH are remembered by the
/// connection (`mqtt.cache_acl`); [`Context::forget_decisions`](crate::Context::forget_decisions) makes
/// all of them void.
pub trait AclProvider: Send + Sync + 'static {
    /// Decides about a topic name (publish) or topic filter (subscribe).
    fn check(
        &self,
        client: &Client,
        access: Access,
        topic: &str,
    ) -> impl Future<Output = AclAnswer> + Send;

    /// The same for a person who wants to know why (`emqttd_ctl acl test`); as [`AuthProvider::explain`].
    fn explain(
        &self,
        client: &Client,
        access: Access,
        topic: &str,
    ) -> impl Future<Output = (AclAnswer, String)> + Send {
        let check = self.check(client, access, topic);
        async { (check.await, String::new()) }
    }

    /// Somebody has changed rights (`emqttd_ctl acl cache clean`): answers that the provider keeps are void. Must
    /// not block.
    fn forget(&self) {}
}

/// A future that owns all it needs.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// [`AuthProvider`] as an object; every provider is one.
pub trait DynAuth: Send + Sync + 'static {
    /// As [`AuthProvider::check`].
    fn check(
        self: Arc<Self>,
        client: Arc<Client>,
        password: Option<Vec<u8>>,
    ) -> BoxFuture<AuthAnswer>;

    /// As [`AuthProvider::explain`].
    fn explain(
        self: Arc<Self>,
        client: Arc<Client>,
        password: Option<Vec<u8>>,
    ) -> BoxFuture<(AuthAnswer, String)> {
        Box::pin(async move { (self.check(client, password).await, String::new()) })
    }
}

impl<P: AuthProvider> DynAuth for P {
    fn check(
        self: Arc<Self>,
        client: Arc<Client>,
        password: Option<Vec<u8>>,
    ) -> BoxFuture<AuthAnswer> {
        Box::pin(async move { AuthProvider::check(&*self, &client, password.as_deref()).await })
    }

    fn explain(
        self: Arc<Self>,
        client: Arc<Client>,
        password: Option<Vec<u8>>,
    ) -> BoxFuture<(AuthAnswer, String)> {
        Box::pin(async move { AuthProvider::explain(&*self, &client, password.as_deref()).await })
    }
}

/// [`AclProvider`] as an object; every provider is one.
pub trait DynAcl: Send + Sync + 'static {
    /// As [`AclProvider::check`].
    fn check(
        self: Arc<Self>,
        client: Arc<Client>,
        access: Access,
        topic: String,
    ) -> BoxFuture<AclAnswer>;

    /// As [`AclProvider::explain`].
    fn explain(
        self: Arc<Self>,
        client: Arc<Client>,
        access: Access,
        topic: String,
    ) -> BoxFuture<(AclAnswer, String)> {
        Box::pin(async move { (self.check(client, access, topic).await, String::new()) })
    }

    /// As [`AclProvider::forget`].
    fn forget(&self) {}
}

impl<P: AclProvider> DynAcl for P {
    fn check(
        self: Arc<Self>,
        client: Arc<Client>,
        access: Access,
        topic: String,
    ) -> BoxFuture<AclAnswer> {
        Box::pin(async move { AclProvider::check(&*self, &client, access, &topic).await })
    }

    fn explain(
        self: Arc<Self>,
        client: Arc<Client>,
        access: Access,
        topic: String,
    ) -> BoxFuture<(AclAnswer, String)> {
        Box::pin(async move { AclProvider::explain(&*self, &client, access, &topic).await })
    }

    fn forget(&self) {
        AclProvider::forget(self);
    }
}

/// One step of an enhanced authentication exchange (MQTT 5.0, section 4.12).
#[derive(Debug, PartialEq, Eq)]
pub enum ExchangeStep {
    /// More is needed; the data goes to the client.
    Continue(Vec<u8>),
    /// Admitted, with data for the client.
    Success {
        /// for the client; may be empty
        data: Vec<u8>,
        /// passes every ACL
        superuser: bool,
    },
    /// Refused.
    Fail,
}

/// A running exchange with one client.
pub trait Exchange: Send {
    /// Takes the client's authentication data. Runs on an event loop: must not block.
    fn step(&mut self, data: &[u8]) -> ExchangeStep;
    /// The user name that a successful exchange has proved; `None` = it says nothing about that. It becomes the
    /// client's when CONNECT had none; when that had another one, the exchange has failed.
    fn username(&self) -> Option<&str> {
        None
    }
}

/// A mechanism of enhanced authentication, such as SCRAM-SHA-256.
pub trait AuthMechanism: Send + Sync + 'static {
    /// The Authentication Method it answers to.
    fn method(&self) -> &str;
    /// Begins an exchange.
    fn begin(&self, client: &Client) -> Box<dyn Exchange>;
}
