//! `nodes/{node}/plugins`: which there are, which run, and their configuration.

use super::forms::{Body, Fault, Fields, Form, Here, Name};
use crate::App;
use crate::answer::{Answer, DONE, code};
use crate::auth::Came;
use crate::console::forms::{Done, Envelope};
use crate::console::plugins::ask;
use crate::openapi::Outcome;
use axum::extract::State;
use axum::response::IntoResponse;
use emqttd_management::{PluginConfigError, PluginError};
use serde::Serialize;
use utoipa::ToSchema;

/// A plugin.
#[derive(Debug, Serialize, ToSchema)]
pub struct PluginRow {
    /// its name
    pub name: String,
    /// its version
    pub version: String,
    /// what it is for
    pub description: String,
    /// it runs
    pub active: bool,
}

/// The plugins of a node.
#[utoipa::path(get, path = "/nodes/{node}/plugins", tag = "Plugins", operation_id = "node_plugins",
    params(("node" = String, Path, description = "its name")),
    responses((status = 200, body = Envelope<Vec<PluginRow>>)))]
pub async fn list(_: Here, app: State<App>) -> Result<Answer<Vec<PluginRow>>, Fault> {
    let rows = app
        .ask(|core| core.plugins().map(|plugins| plugins.list()))
        .await?;
    let rows = rows.into_iter().flatten().map(|row| PluginRow {
        name: row.name,
        version: row.version,
        description: row.description,
        active: row.active,
    });
    Ok(Answer(rows.collect()))
}

/// Whether a plugin is to run.
#[derive(Debug, ToSchema)]
pub struct Switch {
    /// true starts it, false ends it
    active: bool,
}

impl Form for Switch {
    fn read(fields: &Fields) -> Switch {
        Switch {
            active: fields.boolean("active"),
        }
    }
}

/// The plugin that shows the pages by which most who call this call it.
const DASHBOARD: &str = "emq_dashboard";

/// Starts or ends a plugin.
#[utoipa::path(put, path = "/nodes/{node}/plugins/{plugin}", tag = "Plugins", operation_id = "switch_plugin",
    params(("node" = String, Path, description = "its name"), ("plugin" = String, Path, description = "the plugin's")),
    request_body = Switch,
    responses((status = 200, body = Outcome<Done>,
        description = "110: it runs already; 111: it does not run; 102: there is none, or it could not be done")))]
pub async fn switch(
    Name(name): Name,
    app: State<App>,
    Body(wish): Body<Switch>,
) -> Result<impl IntoResponse, Fault> {
    if name == DASHBOARD && !wish.active {
        let sentence =
            "the dashboard does not stop itself: emqttd_ctl plugins unload emq_dashboard";
        return Err(Fault::said(code::UNKNOWN, sentence));
    }
    let done = app
        .ask(move |core| match core.plugins() {
            Some(plugins) if wish.active => plugins.load(&name).map(drop),
            Some(plugins) => plugins.unload(&name).map(drop),
            None => Err(PluginError::NotFound),
        })
        .await?;
    done.map_err(explain)?;
    Ok(DONE)
}

fn explain(error: PluginError) -> Fault {
    match error {
        PluginError::AlreadyStarted => Fault::said(code::STARTED, error.to_string()),
        PluginError::NotStarted => Fault::said(code::NOT_STARTED, error.to_string()),
        PluginError::NotFound => Fault::said(code::UNKNOWN, "unknown"),
        PluginError::Failed { app, reason } => {
            Fault::said(code::UNKNOWN, format!("{app}: {}", reason.trim_end()))
        }
    }
}

/// A key of a plugin.
#[derive(Debug, Serialize, ToSchema)]
pub struct PluginConfigEntry {
    /// its name
    pub key: String,
    /// its value; empty for none, `******` for a secret
    pub value: String,
    /// what it is for
    pub desc: String,
    /// it has to have a value
    pub required: bool,
}

/// The configuration of a plugin.
#[utoipa::path(get, path = "/nodes/{node}/plugin_configs/{plugin}", tag = "Plugins", operation_id = "node_plugin_config",
    params(("node" = String, Path, description = "its name"), ("plugin" = String, Path, description = "the plugin's")),
    responses((status = 200, body = Envelope<Vec<PluginConfigEntry>>)))]
pub async fn configuration(
    Name(name): Name,
    app: State<App>,
) -> Result<Answer<Vec<PluginConfigEntry>>, Fault> {
    let keys = app.ask(move |core| core.plugin_keys(&name)).await?;
    let keys = keys.ok_or(Fault::NotFound)?.into_iter();
    let rows = keys.map(|key| PluginConfigEntry {
        key: key.key,
        value: key.value.unwrap_or_default(),
        desc: key.desc,
        required: key.required,
    });
    Ok(Answer(rows.collect()))
}

/// Values by key.
#[derive(Debug)]
pub struct Values(Vec<(String, String)>);

impl Form for Values {
    fn read(fields: &Fields) -> Values {
        Values(fields.pairs())
    }
}

/// Changes keys of a plugin until the broker ends. A plugin that runs takes them at once, or is ended and started.
#[utoipa::path(put, path = "/nodes/{node}/plugin_configs/{plugin}", tag = "Plugins", operation_id = "configure_node_plugin",
    params(("node" = String, Path, description = "its name"), ("plugin" = String, Path, description = "the plugin's")),
    request_body = BTreeMap<String, String>,
    responses((status = 200, body = Outcome<Done>, description = "102: there is no such key, or its value is wrong")))]
pub async fn configure(
    Name(name): Name,
    came: Came,
    app: State<App>,
    Body(Values(pairs)): Body<Values>,
) -> Result<impl IntoResponse, Fault> {
    let changed = name.clone();
    let done = ask(&app, &came, &name, move |core| {
        let done = core.set_plugin_keys(&changed, &pairs);
        if let Err(PluginConfigError::Refused(why)) = &done {
            log::warn!("{changed}: {why}");
        }
        done
    });
    match done.await? {
        Some(Err(PluginConfigError::NotFound)) => Err(Fault::NotFound),
        Some(Err(PluginConfigError::Refused(sentence))) => {
            Err(Fault::said(code::UNKNOWN, sentence))
        }
        Some(Ok(_)) | None => Ok(DONE),
    }
}
