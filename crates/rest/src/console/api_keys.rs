//! Keys with which programs use this API.

use super::events::now;
use super::forms::{
    Body, Checked, Done, Envelope, Guarded, Named, Patient, Place, Settled, Sized1M, bad, busy,
    conflict, missing,
};
use crate::answer::{Answer, Refusal};
use crate::auth::Caller;
use crate::state::App;
use axum::extract::State;
use emqttd_management::{ApiKeyError, NewKey, Scope};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A key. Its secret is not kept.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApiKey {
    /// names it
    #[schema(example = "ak_0123456789abcdef")]
    pub id: String,
    /// what people call it
    pub name: String,
    /// what it may: `read`, `publish`, `clients`, `manage`, `admin`
    pub scopes: Vec<String>,
    /// when it ends, in unix seconds; null when it does not
    pub expires_at: Option<u64>,
    /// who made it
    pub created_by: String,
    /// when it was made, in unix seconds
    pub created_at: u64,
    /// when it was used last since the broker started, in unix seconds
    pub last_used: Option<u64>,
}

/// A key to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApiKey {
    /// what people call it
    pub name: String,
    /// what it may: `read`, `publish`, `clients`, `manage`, `admin`
    pub scopes: Vec<String>,
    /// how long it is good, in seconds; for ever when absent
    #[schema(minimum = 1)]
    pub expires_in: Option<u64>,
}

/// A new key, with its secret: this is the only time that it is shown.
#[derive(Serialize, ToSchema)]
pub struct CreatedApiKey {
    /// names it
    #[schema(example = "ak_0123456789abcdef")]
    pub id: String,
    /// goes with the name: `Authorization: Bearer <id>.<secret>`
    pub secret: String,
    /// what people call it
    pub name: String,
    /// what it may
    pub scopes: Vec<String>,
    /// when it ends, in unix seconds; null when it does not
    pub expires_at: Option<u64>,
}

impl ApiKey {
    fn of(key: emqttd_management::ApiKey) -> ApiKey {
        ApiKey {
            id: key.id,
            name: key.name,
            scopes: key
                .scopes
                .iter()
                .map(|scope| scope.as_str().into())
                .collect(),
            expires_at: key.expires_at,
            created_by: key.created_by,
            created_at: key.created_at,
            last_used: key.last_used,
        }
    }
}

fn refused(why: ApiKeyError) -> Refusal {
    match why {
        ApiKeyError::NotFound => missing("there is no such key"),
        ApiKeyError::TooMany => conflict(why.to_string()),
        ApiKeyError::Store(_) => busy(why.to_string()),
        _ => bad(why.to_string()),
    }
}

/// All keys
///
/// Without their secrets, which are not kept. Scope `admin`.
#[utoipa::path(get, path = "/api_keys", tag = "API keys", operation_id = "list_api_keys",
    responses((status = 200, description = "the keys", body = Envelope<Vec<ApiKey>>), Guarded))]
pub async fn list(State(app): State<App>) -> Result<Answer<Vec<ApiKey>>, Refusal> {
    let keys = app.ask(|core| core.api_keys().list()).await?;
    Ok(Answer(keys.into_iter().map(ApiKey::of).collect()))
}

/// Make a key
///
/// Its secret is shown this once. Scope `admin`.
#[utoipa::path(post, path = "/api_keys", tag = "API keys", operation_id = "create_api_key", request_body = NewApiKey,
    responses((status = 200, description = "the key", body = Envelope<CreatedApiKey>), Guarded, Checked, Settled, Sized1M, Patient))]
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    Body(new): Body<NewApiKey>,
) -> Result<Answer<CreatedApiKey>, Refusal> {
    if new.expires_in == Some(0) {
        return Err(bad("expires_in should be 1 or more; leave it out for ever"));
    }
    let scopes = new.scopes.iter().map(|word| word.parse());
    let scopes: Result<_, _> = scopes.collect();
    let scopes = scopes.map_err(|_| {
        let known: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
        bad(format!("scopes should be some of {}", known.join(", ")))
    })?;
    let key = NewKey {
        name: new.name,
        scopes,
        expires_at: new.expires_in.map(|s| (now() / 1000).saturating_add(s)),
    };
    let made = app
        .ask(move |core| core.api_keys().create(key, &caller.name))
        .await?;
    let (key, secret) = made.map_err(refused)?;
    let key = ApiKey::of(key);
    Ok(Answer(CreatedApiKey {
        id: key.id,
        secret,
        name: key.name,
        scopes: key.scopes,
        expires_at: key.expires_at,
    }))
}

/// Take a key away
///
/// It is void at once. Scope `admin`.
#[utoipa::path(delete, path = "/api_keys/{id}", tag = "API keys", operation_id = "remove_api_key",
    params(("id" = String, Path, description = "its id")),
    responses((status = 200, description = "it is void", body = Envelope<Done>), Guarded, Checked, Named, Patient))]
pub async fn remove(
    State(app): State<App>,
    Place(id): Place<String>,
) -> Result<Answer<Done>, Refusal> {
    let done = app.ask(move |core| core.api_keys().remove(&id)).await?;
    done.map_err(refused)?;
    Ok(Answer(Done))
}
