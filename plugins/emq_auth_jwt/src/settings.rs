//! The keys of the configuration.

use crate::claims::Rules;
use crate::keyring::{KeySet, Keyring, Source};
use emqttd_backend::{Template, TlsSettings, Var};
use emqttd_http_client::{Headers, HttpClient, HttpSettings, Url, Version};
use emqttd_plugin_sdk::{Config, Context, StartError};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The secret that EMQ shipped, which the whole world knows.
const SHIPPED: &str = "emqsecret";
/// How often a URL is read where the file says nothing, and at most.
const REFRESH: Duration = Duration::from_secs(300);
const LEAST_REFRESH: Duration = Duration::from_secs(1);

/// Where the token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    Password,
    Username,
}

impl From {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            From::Password => "password",
            From::Username => "user name",
        }
    }
}

/// What the keys say.
pub(crate) struct Settings {
    pub from: From,
    pub keys: Keyring,
    pub rules: Rules,
    pub ends_expired: bool,
}

impl Settings {
    /// Reads them, and the files that they name; a JWKS begins to be fetched.
    pub fn read(ctx: &Context) -> Result<Settings, StartError> {
        let config = ctx.config();
        let from = match config.text("auth.jwt.from").unwrap_or("password").trim() {
            "username" => From::Username,
            _ => From::Password,
        };
        Ok(Settings {
            from,
            keys: keys(ctx, &config)?,
            rules: rules(&config),
            ends_expired: config
                .switch("auth.jwt.disconnect_after_expiry")
                .unwrap_or(false),
        })
    }
}

/// A value that is not empty.
fn given<'a>(config: &'a Config, key: &str) -> Option<&'a str> {
    let value = config.text(key)?.trim();
    (!value.is_empty()).then_some(value)
}

fn rules(config: &Config) -> Rules {
    let text = |key: &str| given(config, key).map(str::to_string);
    let wanted = config.ids("auth.jwt.verify_claims.$id");
    let verify = wanted.into_iter().filter_map(|claim| {
        let value = config.text(&format!("auth.jwt.verify_claims.{claim}"))?;
        // A dot in the name of a claim is written `\.`.
        let claim = claim.replace("\\.", ".");
        Some((claim, Template::parse(value.trim(), Var::WHO)))
    });
    Rules {
        leeway: config.duration("auth.jwt.leeway").unwrap_or_default(),
        issuer: text("auth.jwt.issuer"),
        audience: text("auth.jwt.audience"),
        verify: verify.collect(),
        superuser: text("auth.jwt.superuser_claim"),
        acl: text("auth.jwt.acl_claim"),
    }
}

fn keys(ctx: &Context, config: &Config) -> Result<Keyring, StartError> {
    let secret = given(config, "auth.jwt.secret");
    if secret == Some(SHIPPED) {
        log::warn!(
            "emq_auth_jwt: auth.jwt.secret is the one that EMQ shipped: whoever knows EMQ can make tokens"
        );
    }
    let public = given(config, "auth.jwt.pubkey").map(Path::new);
    let set = key_set(ctx, config)?;
    if secret.is_none() && public.is_none() && set.is_none() {
        return Err(
            "there is no key: set auth.jwt.secret, auth.jwt.pubkey or auth.jwt.jwks in etc/plugins/emq_auth_jwt.conf"
                .into(),
        );
    }
    Keyring::new(secret, public, set).map_err(|why| match config.entry("auth.jwt.pubkey") {
        Some(entry) => entry.refused(format!("cannot be used: {why}")),
        None => StartError(why),
    })
}

fn key_set(ctx: &Context, config: &Config) -> Result<Option<Arc<KeySet>>, StartError> {
    let Some(entry) = config.entry("auth.jwt.jwks") else {
        return Ok(None);
    };
    let place = entry.value.trim();
    let source = match place {
        "" => return Ok(None),
        url if url.contains("://") => {
            let url = Url::parse(url).map_err(|what| entry.refused(what))?;
            let refresh = config.duration("auth.jwt.jwks.refresh").unwrap_or(REFRESH);
            Source::Url {
                client: Box::new(client(ctx, config, &url)?),
                url,
                refresh: refresh.max(LEAST_REFRESH),
            }
        }
        path => Source::File(path.into()),
    };
    let set = KeySet::start(ctx, source);
    Ok(Some(set.map_err(|why| {
        entry.refused(format!("cannot be used: {why}"))
    })?))
}

fn client(ctx: &Context, config: &Config, url: &Url) -> Result<HttpClient, StartError> {
    let tls = match url.is_https() {
        true => TlsSettings::options(config, "auth.jwt.ssl_opts")?,
        false => {
            log::warn!(
                "emq_auth_jwt: {url} is without TLS: whoever is on the way can put in keys of their own"
            );
            TlsSettings {
                cacertfile: None,
                identity: None,
                verify: true,
                server_name: None,
            }
        }
    };
    let settings = HttpSettings {
        version: Version::Auto,
        tls,
        headers: Headers::default(),
        connections: 1,
    };
    Ok(HttpClient::new(ctx, &settings))
}
