//! `configs`: what can be changed while the broker runs.

use super::forms::{Body, Fault, Fields, Form, Here, Name};
use crate::App;
use crate::answer::{Answer, DONE, code};
use crate::console::forms::{Done, Envelope};
use crate::openapi::Outcome;
use axum::extract::State;
use axum::response::IntoResponse;
use emqttd_config::SetError;
use emqttd_management::{ConfigError, Core};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A key that can be changed.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConfigEntry {
    /// its name
    pub key: String,
    /// its value; `******` for a secret
    pub value: String,
    /// its type. The field is written like this since EMQ 2.3
    pub datatpye: String,
    /// `emqttd`, or a plugin
    pub app: String,
}

fn entries(core: &Core) -> Vec<ConfigEntry> {
    let keys = core.configs().list().into_iter();
    keys.map(|key| ConfigEntry {
        key: key.key,
        value: key.value,
        datatpye: key.datatype.into(),
        app: key.app,
    })
    .collect()
}

/// The keys of all nodes.
#[utoipa::path(get, path = "/configs", tag = "Configuration", operation_id = "configs",
    responses((status = 200, body = Envelope<BTreeMap<String, Vec<ConfigEntry>>>)))]
pub async fn list(app: State<App>) -> Result<Answer<BTreeMap<String, Vec<ConfigEntry>>>, Fault> {
    let node = app.core().broker.node_name();
    let entries = app.ask(entries).await?;
    Ok(Answer(BTreeMap::from([(node, entries)])))
}

/// The keys of a node.
#[utoipa::path(get, path = "/nodes/{node}/configs", tag = "Configuration", operation_id = "node_configs",
    params(("node" = String, Path, description = "its name")),
    responses((status = 200, body = Envelope<Vec<ConfigEntry>>)))]
pub async fn list_of_node(_: Here, app: State<App>) -> Result<Answer<Vec<ConfigEntry>>, Fault> {
    Ok(Answer(app.ask(entries).await?))
}

/// A key and its new value.
#[derive(Debug, ToSchema)]
pub struct ConfigChange {
    /// the key
    #[schema(example = "mqtt.allow_anonymous")]
    key: String,
    /// the value, as it would stand in the file
    #[schema(example = "true")]
    value: String,
}

impl Form for ConfigChange {
    fn read(fields: &Fields) -> ConfigChange {
        ConfigChange {
            key: fields.text("key"),
            value: fields.text("value"),
        }
    }
}

/// Changes a key on all nodes. Nothing is written to a file.
#[utoipa::path(put, path = "/configs/{app}", tag = "Configuration", operation_id = "set_config",
    params(("app" = String, Path, description = "`emqttd`, or a plugin that runs")), request_body = ConfigChange,
    responses((status = 200, body = Outcome<Done>,
        description = "102: there is no such key; with a sentence: its value is wrong, or the plugin does not take it")))]
pub async fn set(
    Name(name): Name,
    app: State<App>,
    Body(change): Body<ConfigChange>,
) -> Result<impl IntoResponse, Fault> {
    let done = app
        .ask(move |core| {
            let pair = (change.key.as_str(), change.value.as_str());
            core.configs().set(&name, &[pair])
        })
        .await?;
    done.map_err(explain)?;
    Ok(DONE)
}

/// Changes a key on a node. Nothing is written to a file.
#[utoipa::path(put, path = "/nodes/{node}/configs/{app}", tag = "Configuration", operation_id = "set_node_config",
    params(("node" = String, Path, description = "its name"), ("app" = String, Path, description = "`emqttd`, or a plugin that runs")),
    request_body = ConfigChange,
    responses((status = 200, body = Outcome<Done>,
        description = "102: there is no such key; with a sentence: its value is wrong, or the plugin does not take it")))]
pub async fn set_on_node(
    name: Name,
    app: State<App>,
    change: Body<ConfigChange>,
) -> Result<impl IntoResponse, Fault> {
    set(name, app, change).await
}

/// EMQ says nothing but its code.
fn explain(error: ConfigError) -> Fault {
    match error {
        ConfigError::Key(SetError::InvalidKey(_) | SetError::NotSettable(_)) => {
            Fault::bare(code::UNKNOWN)
        }
        ConfigError::Key(other) => Fault::said(code::UNKNOWN, other.to_string()),
        ConfigError::Plugin { app, reason } => {
            Fault::said(code::UNKNOWN, format!("{app}: {reason}"))
        }
    }
}
