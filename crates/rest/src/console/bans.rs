//! Bans: who may not connect.

use super::events::now;
use super::forms::{
    Body, Checked, Done, Envelope, Guarded, Named, Patient, Place, Settled, Sized1M, bad, missing,
    refused,
};
use crate::answer::{Answer, Refusal};
use crate::auth::Caller;
use crate::state::App;
use axum::extract::State;
use emqttd_broker::{AdminError, BanKind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a ban looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = BanKind)]
pub enum Kind {
    /// the client identifier
    ClientId,
    /// the user name
    Username,
    /// the address: one, or a network such as `10.0.0.0/8`
    Ip,
}

/// Somebody who may not connect.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Ban {
    /// what it looks at
    pub kind: Kind,
    /// what that is
    pub value: String,
    /// why
    pub reason: String,
    /// when it ends, in unix seconds; null when it does not
    pub until: Option<u64>,
    /// who made it
    pub by: String,
    /// when it was made, in unix seconds
    pub at: u64,
}

/// A ban to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBan {
    /// what it looks at
    pub kind: Kind,
    /// what that is
    pub value: String,
    /// why
    pub reason: Option<String>,
    /// how long, in seconds; for ever when absent
    #[schema(minimum = 1)]
    pub seconds: Option<u64>,
}

/// Bytes of a reason.
const MOST_REASON: usize = 1000;

impl From<Kind> for BanKind {
    fn from(kind: Kind) -> BanKind {
        match kind {
            Kind::ClientId => BanKind::ClientId,
            Kind::Username => BanKind::Username,
            Kind::Ip => BanKind::Ip,
        }
    }
}

impl Ban {
    fn of(ban: emqttd_broker::Ban) -> Ban {
        Ban {
            kind: match ban.kind {
                BanKind::ClientId => Kind::ClientId,
                BanKind::Username => Kind::Username,
                BanKind::Ip => Kind::Ip,
            },
            value: ban.value,
            reason: ban.reason,
            until: ban.until,
            by: ban.by,
            at: ban.at,
        }
    }
}

/// Everybody who may not connect
///
/// Scope `read`.
#[utoipa::path(get, path = "/bans", tag = "Bans", operation_id = "list_bans",
    responses((status = 200, description = "the bans", body = Envelope<Vec<Ban>>), Guarded))]
pub async fn list(State(app): State<App>) -> Result<Answer<Vec<Ban>>, Refusal> {
    let bans = app.ask(|core| core.broker.bans().list()).await?;
    Ok(Answer(bans.into_iter().map(Ban::of).collect()))
}

/// Ban a client identifier, a user name, an address
///
/// Whoever is connected is disconnected. A ban of the same is replaced. Scope `clients`.
#[utoipa::path(post, path = "/bans", tag = "Bans", operation_id = "add_ban", request_body = NewBan,
    responses((status = 200, description = "the ban", body = Envelope<Ban>), Guarded, Checked, Settled, Sized1M, Patient))]
pub async fn add(
    State(app): State<App>,
    caller: Caller,
    Body(new): Body<NewBan>,
) -> Result<Answer<Ban>, Refusal> {
    if new.seconds == Some(0) {
        return Err(bad("seconds should be 1 or more; leave it out for ever"));
    }
    let reason = new.reason.unwrap_or_default();
    if reason.len() > MOST_REASON {
        return Err(bad(format!(
            "reason should have at most {MOST_REASON} bytes"
        )));
    }
    let at = now() / 1000;
    let ban = emqttd_broker::Ban {
        kind: new.kind.into(),
        value: new.value,
        reason,
        until: new.seconds.map(|seconds| at.saturating_add(seconds)),
        by: caller.name,
        at,
    };
    let ban = app.ask(move |core| core.broker.bans().add(ban)).await?;
    ban.map(|ban| Answer(Ban::of(ban))).map_err(refused)
}

/// Lift a ban
///
/// Scope `clients`.
#[utoipa::path(delete, path = "/bans/{kind}/{value}", tag = "Bans", operation_id = "remove_ban",
    params(("kind" = Kind, Path, description = "what it looks at"),
           ("value" = String, Path, description = "what that is, percent-encoded")),
    responses((status = 200, description = "it is lifted", body = Envelope<Done>), Guarded, Checked, Named, Patient))]
pub async fn remove(
    State(app): State<App>,
    Place((kind, value)): Place<(Kind, String)>,
) -> Result<Answer<Done>, Refusal> {
    let done = app
        .ask(move |core| core.broker.bans().remove(kind.into(), &value))
        .await?;
    done.map_err(|why| match why {
        AdminError::NotFound => missing("there is no such ban"),
        other => refused(other),
    })?;
    Ok(Answer(Done))
}
