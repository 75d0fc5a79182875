//! `emq_auth_http`: authentication/ACL with HTTP API.

mod listeners;
mod params;
mod requests;
mod service;

use arc_swap::ArcSwap;
use emqttd_backend::{Door, Health, Settings, TlsSettings};
use emqttd_http_client::{Headers, HttpClient, HttpSettings, Version};
use emqttd_plugin_sdk::{
    Access, AclAnswer, AclProvider, AuthAnswer, AuthProvider, Client, Config, Context, Descriptor,
    Plugin, StartError,
};
use requests::Requests;
use service::WebService;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The plugin, for the list of a broker's plugins.
pub fn plugin() -> Descriptor {
    Descriptor::new(
        "emq_auth_http",
        env!("CARGO_PKG_VERSION"),
        "Authentication/ACL with HTTP API",
        |ctx| Ok(Box::new(Running::start(ctx)?)),
    )
    .guard()
}

/// Where the keys stand.
const HEAD: &str = "auth.http";

/// The plugin while it runs. All its keys may be changed meanwhile.
struct Running {
    live: Arc<ArcSwap<Live>>,
    health: Arc<Health>,
    /// what has been registered, which cannot be undone before the plugin ends
    auth: AtomicBool,
    acl: AtomicBool,
}

/// What one set of values of the keys has made.
struct Live {
    door: Door<WebService>,
    /// whether there is a URL to ask
    auth: bool,
    acl: bool,
}

impl Live {
    fn new(ctx: &Context, health: &Arc<Health>) -> Result<Live, StartError> {
        let config = ctx.config();
        let settings = Settings::read(&config, HEAD)?;
        let requests = Requests::read(&config)?;
        let http = HttpSettings {
            // A connection for each question: what one waits for holds up no other.
            version: Version::Http1,
            tls: tls(&config, &requests)?,
            headers: headers(&config)?,
            connections: connections(&config)?,
        };
        listeners::warn_of_own(ctx, requests.urls());
        let (auth, acl) = (requests.auth.is_some(), requests.acl.is_some());
        if !auth && !acl {
            log::warn!(
                "emq_auth_http: neither auth.http.auth_req nor auth.http.acl_req is set: nobody is asked"
            );
        }
        let client = HttpClient::new(ctx, &http);
        let service = WebService::new(client, requests, health, settings.timeout);
        let door = Door::new(ctx, &settings, health, service).with_dollar_users();
        Ok(Live { door, auth, acl })
    }
}

/// Nothing is made of files that only `https:` needs, unless the keys name them.
fn tls(config: &Config, requests: &Requests) -> Result<TlsSettings, StartError> {
    let options = format!("{HEAD}.ssl_opts");
    let given = |name: &str| {
        let value = config.text(&format!("{options}.{name}"));
        value.is_some_and(|value| !value.trim().is_empty())
    };
    let files = ["cacertfile", "certfile", "keyfile"];
    if files.into_iter().any(given) || requests.urls().any(|url| url.is_https()) {
        return TlsSettings::options(config, &options);
    }
    // For a service that redirects to https.
    Ok(TlsSettings {
        cacertfile: None,
        identity: None,
        verify: config.text(&format!("{options}.verify")) != Some("verify_none"),
        server_name: None,
    })
}

fn headers(config: &Config) -> Result<Headers, StartError> {
    let mut headers = Headers::default();
    for name in config.ids(&format!("{HEAD}.header.$id")) {
        let Some(entry) = config.entry(&format!("{HEAD}.header.{name}")) else {
            continue;
        };
        if let Err(what) = headers.add(&name, &entry.value) {
            return Err(entry.refused(what));
        }
    }
    Ok(headers)
}

fn connections(config: &Config) -> Result<usize, StartError> {
    match config.entry(&format!("{HEAD}.pool")) {
        None => Ok(32),
        Some(entry) => match entry.value.trim().parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(entry.refused("takes a number greater than 0")),
        },
    }
}

impl Running {
    fn start(ctx: &Context) -> Result<Running, StartError> {
        let health = Arc::new(Health::new(ctx, "web service"));
        let running = Running {
            live: Arc::new(ArcSwap::from_pointee(Live::new(ctx, &health)?)),
            health,
            auth: AtomicBool::new(false),
            acl: AtomicBool::new(false),
        };
        running.register(ctx);
        Ok(running)
    }

    /// Joins the chains for which there is a URL, once.
    fn register(&self, ctx: &Context) {
        let live = self.live.load();
        if live.auth && !self.auth.swap(true, Ordering::Relaxed) {
            ctx.auth(0, Provider(Arc::clone(&self.live)));
        }
        if live.acl && !self.acl.swap(true, Ordering::Relaxed) {
            ctx.acl(0, Provider(Arc::clone(&self.live)));
        }
    }
}

impl Plugin for Running {
    fn reconfigure(&self, ctx: &Context) -> Result<(), String> {
        let live = Live::new(ctx, &self.health).map_err(|StartError(why)| why)?;
        self.live.store(Arc::new(live));
        self.register(ctx);
        // What another URL has decided says nothing about this one.
        ctx.forget_decisions();
        Ok(())
    }
}

/// The door that counts at the moment.
struct Provider(Arc<ArcSwap<Live>>);

/// There was a URL, and there is none any more.
const NO_URL: &str = "there is no URL to ask";

impl AuthProvider for Provider {
    async fn check(&self, client: &Client, password: Option<&[u8]>) -> AuthAnswer {
        let live = self.0.load_full();
        match live.auth {
            true => AuthProvider::check(&live.door, client, password).await,
            false => AuthAnswer::Ignore,
        }
    }

    async fn explain(&self, client: &Client, password: Option<&[u8]>) -> (AuthAnswer, String) {
        let live = self.0.load_full();
        match live.auth {
            true => AuthProvider::explain(&live.door, client, password).await,
            false => (AuthAnswer::Ignore, NO_URL.into()),
        }
    }
}

impl AclProvider for Provider {
    async fn check(&self, client: &Client, access: Access, topic: &str) -> AclAnswer {
        let live = self.0.load_full();
        match live.acl {
            true => AclProvider::check(&live.door, client, access, topic).await,
            false => AclAnswer::Ignore,
        }
    }

    async fn explain(&self, client: &Client, access: Access, topic: &str) -> (AclAnswer, String) {
        let live = self.0.load_full();
        match live.acl {
            true => AclProvider::explain(&live.door, client, access, topic).await,
            false => (AclAnswer::Ignore, NO_URL.into()),
        }
    }

    fn forget(&self) {
        AclProvider::forget(&self.0.load().door);
    }
}

#[cfg(test)]
mod tests;
