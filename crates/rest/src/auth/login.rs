//! Logging in to the web interface.

use super::caller::Proof;
use super::password::{check_login, token_of};
use super::token::Token;
use super::{Caller, Came, now};
use crate::App;
use crate::answer::{Answer, DONE, Refusal, code};
use crate::console::forms::{Done, Envelope};
use crate::openapi::Refused;
use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use emqttd_management::{Scope, Via};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Who logs in.
#[derive(Deserialize, ToSchema)]
pub struct Credentials {
    /// user name
    #[schema(example = "admin")]
    username: String,
    /// its password
    password: String,
}

/// A login.
#[derive(Debug, Serialize, ToSchema)]
pub struct LoginSession {
    /// for the header `Authorization: Bearer <token>`
    token: String,
    /// seconds for which the token counts; `POST login/refresh` gives the next one
    expires_in: u64,
    /// who has logged in
    username: String,
    /// remark about the user
    tags: String,
    /// the token is good for `PUT change_pwd/{username}` only
    must_change_password: bool,
}

/// Who asks.
#[derive(Debug, Serialize, ToSchema)]
pub struct Me {
    /// user name, or id of the API key
    username: String,
    /// remark about the user, or name of the API key
    tags: String,
    /// what may be done
    #[schema(value_type = Vec<String>, example = json!(["read", "publish"]))]
    scopes: Vec<Scope>,
    /// nothing may be done before the password is changed
    must_change_password: bool,
    /// how the caller is known: `basic`, `token` or `key`
    #[schema(value_type = String, example = "token")]
    via: Via,
}

/// The four operations, below `/api/v2`.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(login))
        .routes(routes!(refresh))
        .routes(routes!(logout))
        .routes(routes!(me))
}

/// Logs in.
///
/// With the default password that works on the machine of the broker only, and the token can do nothing but change it.
#[utoipa::path(post, path = "/login", tag = "Users", operation_id = "login", security(()),
    request_body = Credentials,
    responses(
        (status = 200, description = "logged in; or code 103 when user name or password is wrong", body = crate::openapi::Outcome<LoginSession>),
        (status = 400, description = "the body is not what is expected", body = Refused),
        (status = 429, description = "too many wrong passwords; `Retry-After` says for how long", body = Refused),
    ))]
async fn login(
    State(app): State<App>,
    came: Came,
    headers: HeaderMap,
    body: Result<Json<Credentials>, JsonRejection>,
) -> Result<Response, Refusal> {
    let Json(given) = body.map_err(|why| {
        let status = match why.status() {
            StatusCode::PAYLOAD_TOO_LARGE => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        };
        // Not the parser's words: they may quote the body, and that has a password.
        Refusal::status(
            status,
            code::NOT_JSON,
            "a JSON object with username and password is expected",
        )
    })?;
    let (user, password) = (&given.username, &given.password);
    let welcome = check_login(&app, &came, &headers, user, password, "POST /api/v2/login").await?;
    answer(&app, token_of(user, welcome)).await
}

/// Gives a newer token.
///
/// That is possible for 12 hours after the login.
#[utoipa::path(post, path = "/login/refresh", tag = "Users", operation_id = "refresh_login",
    responses(
        (status = 200, description = "a token with its full time", body = Envelope<LoginSession>),
        (status = 401, description = "the login is over"),
        (status = 403, description = "asked with something else than a token", body = Refused),
    ))]
async fn refresh(State(app): State<App>, caller: Caller) -> Result<Response, Refusal> {
    let token = of_token(&caller)?;
    match token.renewed(now()) {
        Some(next) => answer(&app, next).await,
        None => Ok(StatusCode::UNAUTHORIZED.into_response()),
    }
}

/// Ends the login: none of its tokens counts any more.
#[utoipa::path(post, path = "/logout", tag = "Users", operation_id = "logout",
    responses(
        (status = 200, description = "logged out", body = Envelope<Done>),
        (status = 403, description = "asked with something else than a token", body = Refused),
        (status = 503, description = "logged out, but the store did not take it: a restart would forget it", body = Refused),
    ))]
async fn logout(State(app): State<App>, caller: Caller) -> Result<Response, Refusal> {
    let token = of_token(&caller)?;
    app.door().end_login(&app, token).await?;
    Ok(DONE.into_response())
}

/// Says who asks.
#[utoipa::path(get, path = "/me", tag = "Users", operation_id = "me",
    responses((status = 200, description = "user or API key", body = Envelope<Me>)))]
async fn me(State(app): State<App>, caller: Caller) -> Result<Response, Refusal> {
    let name = caller.name.clone();
    let tags = match caller.via {
        Via::Key => {
            let key = app.ask(move |core| core.api_keys().get(&name)).await?;
            key.map(|key| key.name)
        }
        _ => {
            let user = app.ask_first(move |core| core.users().get(&name)).await?;
            user.map(|user| user.tags)
        }
    };
    let me = Me {
        username: caller.name,
        tags: tags.unwrap_or_default(),
        scopes: caller.scopes.into_iter().collect(),
        must_change_password: caller.must_change_password,
        via: caller.via,
    };
    Ok(Answer(me).into_response())
}

fn of_token(caller: &Caller) -> Result<&Token, Refusal> {
    match &caller.proof {
        Proof::Token(token) => Ok(token),
        _ => Err(Refusal::status(
            StatusCode::FORBIDDEN,
            code::UNKNOWN,
            "only a token of a login can be refreshed or ended",
        )),
    }
}

async fn answer(app: &App, token: Token) -> Result<Response, Refusal> {
    let key = app.door().token_key(app).await?;
    let name = token.user.clone();
    let user = app.ask_first(move |core| core.users().get(&name)).await?;
    let session = LoginSession {
        token: token.sign(&key),
        expires_in: token.expires.saturating_sub(token.issued),
        tags: user.map(|user| user.tags).unwrap_or_default(),
        must_change_password: token.limited,
        username: token.user,
    };
    Ok(Answer(session).into_response())
}
