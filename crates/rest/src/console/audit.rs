//! Who has changed what.

use super::forms::{Ask, Checked, Envelope, Guarded, limit};
use crate::answer::{Answer, Refusal};
use crate::state::App;
use axum::extract::State;
use emqttd_management::{Entry, Via};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Which entries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// entries of the answer, 50 when absent
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u64>,
    /// only what was before the entry of this number (`seq`)
    pub before: Option<u64>,
}

/// What somebody has done, or tried.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditEntry {
    /// its number
    pub seq: u64,
    /// when, in unix milliseconds
    pub at: u64,
    /// user name, or id of the key
    pub who: String,
    /// address it came from; `local` for the command line
    pub from: String,
    /// `basic`, `token`, `key`, `login` or `cli`
    pub via: String,
    /// what was done: method and path, or the command
    #[schema(example = "PUT /api/v2/nodes/emq@127.0.0.1/plugins/emq_retainer")]
    pub action: String,
    /// what came of it
    pub outcome: String,
}

impl AuditEntry {
    fn of(entry: Entry) -> AuditEntry {
        let via = match entry.via {
            Via::Basic => "basic",
            Via::Token => "token",
            Via::Key => "key",
            Via::Login => "login",
            Via::Cli => "cli",
        };
        AuditEntry {
            seq: entry.seq,
            at: entry.at,
            who: entry.who,
            from: entry.from,
            via: via.into(),
            action: entry.action,
            outcome: entry.outcome,
        }
    }
}

/// Who has changed what
///
/// The newest first; neither bodies nor passwords. Scope `admin`.
#[utoipa::path(get, path = "/audit", tag = "Audit", operation_id = "audit", params(AuditQuery),
    responses((status = 200, description = "the entries", body = Envelope<Vec<AuditEntry>>), Guarded, Checked))]
pub async fn recent(
    State(app): State<App>,
    Ask(query): Ask<AuditQuery>,
) -> Result<Answer<Vec<AuditEntry>>, Refusal> {
    let most = limit(query.limit)?;
    let entries = app
        .ask(move |core| core.audit().recent(query.before, most))
        .await?;
    Ok(Answer(entries.into_iter().map(AuditEntry::of).collect()))
}
