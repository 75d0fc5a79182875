//! `sessions`: what is kept for clients, connected or not.

use super::forms::{Fault, Here, Name, Objects, Page, Paging};
use crate::App;
use crate::answer::Answer;
use crate::console::forms::{Envelope, local_time};
use axum::extract::State;
use emqttd_broker::{SessionInfo, SessionOrder};
use serde::Serialize;
use utoipa::ToSchema;

/// A session.
#[derive(Debug, Serialize, ToSchema)]
pub struct Session {
    /// client identifier
    pub client_id: String,
    /// it ends with its connection
    pub clean_sess: bool,
    /// subscriptions
    pub subscriptions: usize,
    /// messages at QoS 1 and 2 that may be under way; 0 = no limit
    pub max_inflight: usize,
    /// messages at QoS 1 and 2 that are
    pub inflight_len: usize,
    /// messages that wait
    pub mqueue_len: usize,
    /// messages that were dropped since the queue was full
    pub mqueue_dropped: u64,
    /// messages at QoS 2 from the client that wait for its PUBREL
    pub awaiting_rel_len: usize,
    /// messages sent
    pub deliver_msg: u64,
    /// messages put into the queue
    pub enqueue_msg: u64,
    /// local time, `YYYY-MM-DD HH:MM:SS`
    pub created_at: String,
}

impl From<SessionInfo> for Session {
    fn from(info: SessionInfo) -> Session {
        Session {
            client_id: info.clientid,
            clean_sess: info.clean_sess,
            subscriptions: info.subscriptions,
            max_inflight: info.max_inflight,
            inflight_len: info.inflight,
            mqueue_len: info.mqueue_len,
            mqueue_dropped: info.mqueue_dropped,
            awaiting_rel_len: info.awaiting_rel,
            deliver_msg: info.deliver_msg,
            enqueue_msg: info.enqueue_msg,
            created_at: local_time(info.created_at),
        }
    }
}

/// The sessions of a node, by client id.
#[utoipa::path(get, path = "/nodes/{node}/sessions", tag = "Sessions", operation_id = "node_sessions",
    params(("node" = String, Path, description = "its name"), Paging),
    responses((status = 200, body = Envelope<Page<Session>>)))]
pub async fn list(
    _: Here,
    paging: Paging,
    app: State<App>,
) -> Result<Answer<Page<Session>>, Fault> {
    let page = app
        .ask(move |core| {
            core.broker
                .find_sessions(&paging.find(SessionOrder::ClientId))
        })
        .await?
        .map_err(Fault::of_broker)?;
    let rows = page.rows.into_iter().map(Session::from).collect();
    Ok(Answer(Page::new(paging, page.total, rows)))
}

async fn find(app: &App, id: String) -> Result<Answer<Objects<Session>>, Fault> {
    let found = app.ask(move |core| core.broker.session(&id)).await?;
    Ok(Answer(found.into_iter().map(Session::from).collect()))
}

/// A session of a node, or none.
#[utoipa::path(get, path = "/nodes/{node}/sessions/{id}", tag = "Sessions", operation_id = "node_session",
    params(("node" = String, Path, description = "its name"), ("id" = String, Path, description = "client id")),
    responses((status = 200, body = Envelope<Objects<Session>>)))]
pub async fn one_of_node(
    Name(id): Name,
    app: State<App>,
) -> Result<Answer<Objects<Session>>, Fault> {
    find(&app, id).await
}

/// A session, or none.
#[utoipa::path(get, path = "/sessions/{id}", tag = "Sessions", operation_id = "session",
    params(("id" = String, Path, description = "client id")),
    responses((status = 200, body = Envelope<Objects<Session>>)))]
pub async fn one(Name(id): Name, app: State<App>) -> Result<Answer<Objects<Session>>, Fault> {
    find(&app, id).await
}
