//! Who sends a request.

use crate::App;
use crate::answer::{Refusal, code};
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use emqttd_management::{Scope, Via};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

/// How a request has come; in the extensions of each.
#[derive(Debug, Clone)]
pub struct Came {
    /// the other end of the connection; what headers say of addresses anybody can write
    pub peer: SocketAddr,
    /// the listener's protocol: `mqtt:api`
    pub protocol: Arc<str>,
    /// the listener's address, as `emqttd_ctl listeners` shows it
    pub listen_on: Arc<str>,
    /// through TLS
    pub secure: bool,
    /// in the words of HTTP/1.0, as proxies do that say nothing of whom they speak for
    pub old_http: bool,
}

/// Who sends a request: an argument of handlers, and in the request's extensions.
#[derive(Debug, Clone)]
pub struct Caller {
    /// user name, or id of the API key
    pub name: String,
    /// how that is known
    pub via: Via,
    /// what may be done
    pub scopes: BTreeSet<Scope>,
    /// it may do nothing before the default password is changed
    pub must_change_password: bool,
    pub(super) proof: Proof,
}

/// What has to go on holding for a caller to remain one.
#[derive(Debug, Clone)]
pub(super) enum Proof {
    /// the user is there and has the same password
    Password { generation: u64 },
    /// the same, and the login has not been ended
    Token(super::token::Token),
    /// the key is there and its time is not over
    Key { expires_at: Option<u64> },
}

impl Caller {
    /// Whether that is allowed.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&Scope::Admin) || self.scopes.contains(&scope)
    }

    /// Whether all of it still holds: for answers that go on for long. Cheap; does not block.
    pub fn holds(&self, app: &App) -> bool {
        let same = |generation| app.core().users().generation(&self.name) == Some(generation);
        match &self.proof {
            Proof::Password { generation } => same(*generation),
            // The token's own time does not count: it was shown in time, and the page has a newer one by now.
            Proof::Token(token) => {
                same(token.generation)
                    && !app.door().ended().has(token)
                    && super::now() < token.login + super::token::LONGEST
            }
            Proof::Key { expires_at } => {
                app.core().api_keys().get(&self.name).is_some()
                    && expires_at.is_none_or(|at| super::now() < at)
            }
        }
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Caller, Refusal> {
        let known = parts.extensions.get::<Caller>().cloned();
        known
            .ok_or_else(|| Refusal::status(StatusCode::UNAUTHORIZED, code::UNKNOWN, "who are you?"))
    }
}

impl FromRequestParts<App> for Came {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Came, Refusal> {
        let came = parts.extensions.get::<Came>().cloned();
        came.ok_or_else(|| {
            Refusal::status(
                StatusCode::INTERNAL_SERVER_ERROR,
                code::UNKNOWN,
                "nobody knows how this request has come",
            )
        })
    }
}
