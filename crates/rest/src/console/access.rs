//! What the chains of authentication and ACL would say, and having them forget.

use super::forms::{Body, Checked, Done, Envelope, Guarded, Settled, Sized1M, bad};
use crate::answer::{Answer, Refusal};
use crate::state::App;
use axum::extract::State;
use emqttd_broker::ChainStep;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};
use utoipa::ToSchema;

/// What is wanted of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = TopicAccess)]
pub enum Wanted {
    /// to publish
    Publish,
    /// to subscribe
    Subscribe,
}

/// A question to the ACL.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AclQuestion {
    /// client identifier
    pub client_id: String,
    /// user name
    pub username: Option<String>,
    /// address, 127.0.0.1 when absent
    pub ip: Option<String>,
    /// what is wanted
    pub access: Wanted,
    /// topic name, or filter
    pub topic: String,
}

/// A question to the authentication.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthQuestion {
    /// client identifier
    pub client_id: String,
    /// user name
    pub username: Option<String>,
    /// password
    pub password: Option<String>,
    /// address, 127.0.0.1 when absent
    pub ip: Option<String>,
}

/// What the chain says.
#[derive(Debug, Serialize, ToSchema)]
pub struct Verdict {
    /// `allow` or `deny`
    #[schema(example = "allow")]
    pub result: String,
    /// who was asked, in order; the last one decided
    pub steps: Vec<Step>,
}

/// What a module says.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = VerdictStep)]
pub struct Step {
    /// a plugin, `acl_internal`, or a key of the configuration
    pub module: String,
    /// `allow`, `deny`, `ignore`, `unavailable`, `allow (superuser)`
    pub answer: String,
    /// why
    pub detail: String,
}

impl Verdict {
    fn of(steps: Vec<ChainStep>) -> Verdict {
        // Nobody decided, or who should have could not: nothing becomes open by that.
        let allowed = steps
            .last()
            .is_some_and(|last| last.answer.starts_with("allow"));
        let steps = steps.into_iter().map(|step| Step {
            module: step.module,
            answer: step.answer,
            detail: step.detail,
        });
        Verdict {
            result: if allowed { "allow" } else { "deny" }.into(),
            steps: steps.collect(),
        }
    }
}

fn address(ip: Option<&str>) -> Result<IpAddr, Refusal> {
    match ip.filter(|ip| !ip.is_empty()) {
        None => Ok(Ipv4Addr::LOCALHOST.into()),
        Some(ip) => ip
            .parse()
            .map_err(|_| bad("ip should be an address such as 192.0.2.1 or 2001:db8::1")),
    }
}

/// Ask the ACL
///
/// Walks the real chain, as if such a client were there. Scope `manage`.
#[utoipa::path(post, path = "/test/acl", tag = "Access", request_body = AclQuestion,
    responses((status = 200, description = "what the chain says", body = Envelope<Verdict>), Guarded, Checked, Sized1M))]
pub async fn test_acl(
    State(app): State<App>,
    Body(asked): Body<AclQuestion>,
) -> Result<Answer<Verdict>, Refusal> {
    let ip = address(asked.ip.as_deref())?;
    if asked.topic.is_empty() {
        return Err(bad("topic should not be empty"));
    }
    let username = asked.username.filter(|name| !name.is_empty());
    let publish = asked.access == Wanted::Publish;
    let steps = app
        .ask(move |core| {
            let username = username.as_deref();
            core.broker
                .acl_test(&asked.client_id, username, ip, publish, &asked.topic)
        })
        .await?;
    Ok(Answer(Verdict::of(steps)))
}

/// Ask the authentication
///
/// Walks the real chain, as if such a client came. Scope `manage`.
#[utoipa::path(post, path = "/test/auth", tag = "Access", request_body = AuthQuestion,
    responses((status = 200, description = "what the chain says", body = Envelope<Verdict>), Guarded, Checked, Sized1M))]
pub async fn test_auth(
    State(app): State<App>,
    Body(asked): Body<AuthQuestion>,
) -> Result<Answer<Verdict>, Refusal> {
    let ip = address(asked.ip.as_deref())?;
    let username = asked.username.filter(|name| !name.is_empty());
    let steps = app
        .ask(move |core| {
            let password = asked.password.as_deref().map(str::as_bytes);
            core.broker
                .auth_test(&asked.client_id, username.as_deref(), password, ip)
        })
        .await?;
    Ok(Answer(Verdict::of(steps)))
}

/// Read acl.conf again
///
/// When it is wrong the former rules stay, and the answer says where. Scope `manage`.
#[utoipa::path(post, path = "/acl/reload", tag = "Access", operation_id = "reload_acl",
    responses((status = 200, description = "the new rules are in force", body = Envelope<Done>), Guarded, Settled))]
pub async fn reload(State(app): State<App>) -> Result<Answer<Done>, Refusal> {
    let done = app.ask(|core| core.broker.acl_reload()).await?;
    done.map_err(|why| super::forms::conflict(format!("{why}; the former rules stay")))?;
    Ok(Answer(Done))
}

/// Forget what the ACL has said
///
/// Of all clients; subscriptions are asked about again. Scope `clients`.
#[utoipa::path(post, path = "/acl/clean_cache", tag = "Access", operation_id = "clean_acl_cache",
    responses((status = 200, description = "it is forgotten", body = Envelope<Done>), Guarded))]
pub async fn clean_cache(State(app): State<App>) -> Result<Answer<Done>, Refusal> {
    app.ask(|core| core.broker.clean_acl_cache()).await?;
    Ok(Answer(Done))
}
