//! `emq_auth_jwt`: authentication with JWT.

mod claims;
mod jwks;
mod key;
mod keyring;
mod memory;
mod settings;
mod token;

use claims::{Grant, Rules};
use emqttd_backend::{Figures, Kind, Question, Trace};
use emqttd_plugin_sdk::{
    Access, AclAnswer, AclProvider, AuthAnswer, AuthProvider, Client, Context, Descriptor,
    HookPoint, Hooks, Plugin, Reloadable, StartError,
};
use keyring::{Keyring, Signature};
use memory::{Found, Memory};
use settings::{From, Settings};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use token::{NoToken, Token};
use tokio::sync::Notify;

/// The plugin, for the list of a broker's plugins.
pub fn plugin() -> Descriptor {
    Descriptor::new(
        "emq_auth_jwt",
        env!("CARGO_PKG_VERSION"),
        "Authentication with JWT",
        start,
    )
    .guard()
}

/// What is reloaded by this name (`emqttd_ctl reload`, `emq_reloader`).
const FILES: &str = "jwt_keys";

fn start(ctx: &Context) -> Result<Box<dyn Plugin>, StartError> {
    let Settings {
        from,
        keys,
        rules,
        ends_expired,
    } = Settings::read(ctx)?;
    let keys = Arc::new(keys);
    let files = keys.files();
    if !files.is_empty() {
        let keys = Arc::clone(&keys);
        let what = Reloadable {
            name: FILES.into(),
            files,
        };
        ctx.reloadable(what, move || keys.reload());
    }
    let has_acl = rules.acl.is_some();
    let door = Arc::new(Door {
        from,
        keys,
        rules,
        auth: Figures::new(ctx, "auth"),
        acl: Figures::new(ctx, "acl"),
        memory: (has_acl || ends_expired).then(Memory::default),
        ends_expired,
        sooner: Notify::new(),
    });
    if door.memory.is_some() {
        ctx.hooks(0, Comings(Arc::clone(&door)));
    }
    if ends_expired {
        let (own, door) = (ctx.clone(), Arc::clone(&door));
        drop(ctx.spawn(async move { door.end_expired(&own).await }));
    }
    ctx.auth(0, Provider(Arc::clone(&door)));
    if has_acl {
        ctx.acl(0, Provider(door));
    }
    Ok(Box::new(()))
}

/// What decides.
struct Door {
    from: From,
    keys: Arc<Keyring>,
    rules: Rules,
    auth: Figures,
    acl: Figures,
    /// where the grants of a token are asked for later
    memory: Option<Memory>,
    /// `disconnect_after_expiry`
    ends_expired: bool,
    /// a connection has come that ends sooner than all others
    sooner: Notify,
}

/// Of both chains.
struct Provider(Arc<Door>);

/// Told of connections.
struct Comings(Arc<Door>);

impl Door {
    /// Whether the client has a token that lets it in; `on_paper` = nobody comes in.
    async fn login(
        &self,
        client: &Client,
        password: Option<&[u8]>,
        on_paper: bool,
        trace: &mut Trace,
    ) -> AuthAnswer {
        let begun = Instant::now();
        let answer = match self.decide(client, password, trace).await {
            Err(answer) => answer,
            Ok(grant) if on_paper || self.keep(client, &grant) => AuthAnswer::Allow {
                superuser: grant.superuser,
            },
            Ok(_) => AuthAnswer::Unavailable,
        };
        self.auth.count(answer.into(), begun.elapsed());
        answer
    }

    /// Remembers what must be known while the client is connected; `false` = there is no room.
    fn keep(&self, client: &Client, grant: &Grant) -> bool {
        let Some(memory) = &self.memory else {
            return true;
        };
        let ends = grant.lasts.filter(|_| self.ends_expired);
        // A time that this clock cannot show never comes.
        let ends = ends.and_then(|left| Instant::now().checked_add(left));
        memory.granted(client, grant.acl.clone(), ends)
    }

    async fn decide(
        &self,
        client: &Client,
        password: Option<&[u8]>,
        trace: &mut Trace,
    ) -> Result<Grant, AuthAnswer> {
        let text = match self.from {
            From::Password => password,
            From::Username => client.username.as_deref().map(str::as_bytes),
        };
        let Some(text) = text else {
            trace.note(|| format!("there is no {}, where the token belongs", self.from.name()));
            return Err(AuthAnswer::Deny);
        };
        let token = match Token::parse(text) {
            Ok(token) => token,
            Err(NoToken::Other) => {
                trace.note(|| format!("the {} is no token", self.from.name()));
                return Err(AuthAnswer::Ignore);
            }
            Err(NoToken::Broken(why)) => {
                trace.note(|| format!("the {} {why}", self.from.name()));
                return Err(AuthAnswer::Deny);
            }
        };
        trace.note(|| match &token.kid {
            Some(kid) => format!("a token with alg {:?}, kid {kid:?}", token.alg),
            None => format!("a token with alg {:?}", token.alg),
        });
        match self.keys.check(&token).await {
            Signature::Right => trace.note(|| "its signature is right".into()),
            Signature::Wrong => {
                trace.note(|| "its signature is not one by a key that is known".into());
                return Err(AuthAnswer::Deny);
            }
            Signature::Unknown(why) => {
                trace.note(|| format!("its key is not known: {why}"));
                return Err(AuthAnswer::Unavailable);
            }
        }
        let Some(claims) = token.claims() else {
            trace.note(|| "its claims are no object".into());
            return Err(AuthAnswer::Deny);
        };
        let question = Question::login(client, None);
        match self.rules.check(&claims, &question, now()) {
            Ok(grant) => {
                trace.note(|| grant.to_string());
                Ok(grant)
            }
            Err(why) => {
                trace.note(|| why);
                Err(AuthAnswer::Deny)
            }
        }
    }

    fn act(
        &self,
        client: &Client,
        found: Found,
        access: Access,
        topic: &str,
        trace: &mut Trace,
    ) -> AclAnswer {
        let begun = Instant::now();
        let (answer, why) = match found {
            Found::Nobody => (AclAnswer::Ignore, "it has not come in by a token"),
            Found::NoAcl => (AclAnswer::Ignore, "its token says nothing about topics"),
            Found::Acl(acl) => match acl.allows(&client.by_name(), access, topic) {
                true => (AclAnswer::Allow, "its token has that"),
                false => (AclAnswer::Deny, "its token does not have that"),
            },
        };
        trace.note(|| why.into());
        self.acl.count(Kind::from(answer), begun.elapsed());
        answer
    }

    /// Ends connections whose token has expired.
    async fn end_expired(&self, ctx: &Context) {
        let Some(memory) = &self.memory else {
            return;
        };
        loop {
            let sleep = async {
                match memory.next_end() {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep => {}
                () = self.sooner.notified() => {}
            }
            for clientid in memory.ended(Instant::now()) {
                log::info!("emq_auth_jwt: the token of client {clientid:?} has expired");
                ctx.kick(&clientid);
            }
        }
    }
}

/// Since 1970.
fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

impl AuthProvider for Provider {
    async fn check(&self, client: &Client, password: Option<&[u8]>) -> AuthAnswer {
        let trace = &mut Trace::off();
        self.0.login(client, password, false, trace).await
    }

    async fn explain(&self, client: &Client, password: Option<&[u8]>) -> (AuthAnswer, String) {
        let mut trace = Trace::on();
        let answer = self.0.login(client, password, true, &mut trace).await;
        (answer, trace.text())
    }
}

impl AclProvider for Provider {
    async fn check(&self, client: &Client, access: Access, topic: &str) -> AclAnswer {
        let found = self.0.memory.as_ref().map(|memory| memory.find(client));
        let found = found.unwrap_or(Found::Nobody);
        self.0.act(client, found, access, topic, &mut Trace::off())
    }

    async fn explain(&self, client: &Client, access: Access, topic: &str) -> (AclAnswer, String) {
        // A person knows the names of a client, not its port.
        let memory = self.0.memory.as_ref();
        let found = memory.map(|memory| memory.find_by_name(client));
        let found = found.unwrap_or(Found::Nobody);
        let mut trace = Trace::on();
        let answer = self.0.act(client, found, access, topic, &mut trace);
        (answer, trace.text())
    }
}

impl Hooks for Comings {
    fn points(&self) -> u32 {
        HookPoint::ClientConnected as u32 | HookPoint::ClientDisconnected as u32
    }

    fn client_connected(&self, client: &Client, connack: u8) {
        if let Some(memory) = &self.0.memory
            && memory.connected(client, connack == 0)
        {
            self.0.sooner.notify_one();
        }
    }

    fn client_disconnected(&self, client: &Client, _reason: &str, _code: Option<u8>) {
        if let Some(memory) = &self.0.memory {
            memory.disconnected(client);
        }
    }
}

#[cfg(test)]
mod tests;
