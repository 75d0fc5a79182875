//! Listeners: those that are configured or open, and opening and closing them.

use super::forms::{
    Ask, Body, Checked, Done, Envelope, Guarded, Named, Place, Settled, Sized1M, conflict, missing,
};
use crate::answer::{Answer, Refusal};
use crate::auth::Came;
use crate::state::App;
use axum::extract::State;
use emqttd_broker::AdminError;
use emqttd_management::ListenerWish;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};

/// What an answer has to go out before the listener it goes by is closed.
const FAREWELL: Duration = Duration::from_millis(100);

/// A listener.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Listener {
    /// `mqtt:tcp`, `mqtt:ssl`, `mqtt:ws`, `mqtt:wss`, `mqtt:api`, … or that of a gateway
    #[schema(example = "mqtt:tcp")]
    pub protocol: String,
    /// its address
    #[schema(example = "0.0.0.0:1883")]
    pub listen: String,
    /// `acceptors`
    pub acceptors: u32,
    /// `max_clients`
    pub max_clients: u64,
    /// connections open now
    pub current_clients: u64,
    /// how often connections ended, by reason
    pub shutdown_count: BTreeMap<String, u64>,
    /// it is open
    pub running: bool,
}

/// What becomes of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ListenerState {
    /// open
    Running,
    /// closed, and its connections with it
    Stopped,
    /// closed and opened
    Restarted,
}

/// What becomes of a listener.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerChange {
    /// what it is to be
    pub state: ListenerState,
}

/// How sure one is.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Sure {
    /// also the listener by which the request came
    pub force: Option<bool>,
}

impl Listener {
    fn of(listener: emqttd_management::Listener) -> Listener {
        Listener {
            protocol: listener.protocol,
            listen: listener.listen_on,
            acceptors: listener.acceptors,
            max_clients: listener.max_clients as u64,
            current_clients: listener.current_clients as u64,
            shutdown_count: listener.shutdown_count.into_iter().collect(),
            running: listener.running,
        }
    }
}

/// All listeners
///
/// Those that are configured and closed, too. Scope `read`.
#[utoipa::path(get, path = "/listeners", tag = "Listeners", operation_id = "list_listeners",
    responses((status = 200, description = "the listeners", body = Envelope<Vec<Listener>>), Guarded))]
pub async fn list(State(app): State<App>) -> Result<Answer<Vec<Listener>>, Refusal> {
    let rows = app.ask(|core| core.listeners()).await?;
    Ok(Answer(rows.into_iter().map(Listener::of).collect()))
}

/// Open, close or reopen a listener
///
/// Closing it ends its connections. The listener by which the request came is only closed with `force=true`. Scope `manage`.
#[utoipa::path(put, path = "/listeners/{protocol}/{listen}", tag = "Listeners", operation_id = "set_listener",
    params(("protocol" = String, Path, description = "such as `mqtt:tcp`"),
           ("listen" = String, Path, description = "its address as listed"), Sure),
    request_body = ListenerChange,
    responses((status = 200, description = "so it is", body = Envelope<Done>),
              Guarded, Checked, Named, Settled, Sized1M))]
pub async fn set(
    State(app): State<App>,
    came: Came,
    Place((protocol, listen)): Place<(String, String)>,
    Ask(sure): Ask<Sure>,
    Body(change): Body<ListenerChange>,
) -> Result<Answer<Done>, Refusal> {
    let wish = match change.state {
        ListenerState::Running => ListenerWish::Running,
        ListenerState::Stopped => ListenerWish::Stopped,
        ListenerState::Restarted => ListenerWish::Restarted,
    };
    let own = *came.protocol == *protocol && *came.listen_on == *listen;
    if own && wish != ListenerWish::Running {
        if sure.force != Some(true) {
            let why = "this request came by that listener; say force=true if you mean it";
            return Err(conflict(why));
        }
        tokio::spawn(async move {
            // The answer goes out before its connection is closed.
            tokio::time::sleep(FAREWELL).await;
            let done = app
                .ask(move |core| core.listener_set(&protocol, &listen, wish))
                .await;
            if let Ok(Err(why)) = done {
                log::error!("a listener that was to be {wish:?}: {why}");
            }
        });
        return Ok(Answer(Done));
    }
    let done = app
        .ask(move |core| core.listener_set(&protocol, &listen, wish))
        .await?;
    done.map_err(|why| match why {
        AdminError::NotFound => missing("there is no such listener"),
        other => conflict(other.to_string()),
    })?;
    Ok(Answer(Done))
}
