//! Plugins: what there is to know of them, and their keys.

use super::forms::{
    Body, Checked, Done, Envelope, Guarded, Named, Place, Settled, Sized1M, bad, busy, conflict,
    missing,
};
use crate::answer::{Answer, Refusal};
use crate::auth::Came;
use crate::state::App;
use axum::extract::State;
use emqttd_management::{Core, PluginConfigError, PluginControl, PluginError};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// How long the answer waits for a change that may close the listener by which the request came: shorter than requests
/// that are open then are waited for.
const FAREWELL: Duration = Duration::from_millis(500);

/// A plugin in the list.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = PluginSummary)]
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

/// A plugin.
#[derive(Debug, Serialize, ToSchema)]
pub struct Plugin {
    /// its name
    pub name: String,
    /// its version
    pub version: String,
    /// what it is for
    pub description: String,
    /// it runs
    pub active: bool,
    /// what it says of itself: names and values
    #[schema(value_type = Vec<Vec<String>>)]
    pub facts: Vec<(String, String)>,
}

/// The keys of a plugin.
#[derive(Debug, Serialize, ToSchema)]
pub struct PluginConfig {
    /// all of them
    pub keys: Vec<PluginKey>,
    /// the file from which they are read at the start
    pub file: String,
}

/// A key of a plugin.
#[derive(Debug, Serialize, ToSchema)]
pub struct PluginKey {
    /// its name
    pub key: String,
    /// its value; null when it has none, `******` for a secret
    pub value: Option<String>,
    /// its value when the file does not give one
    pub default: Option<String>,
    /// what it is for
    pub desc: String,
    /// what its value is
    #[schema(example = "integer")]
    pub datatype: String,
    /// the values it may have, where they are few
    pub choices: Vec<String>,
    /// its value is not shown
    pub secret: bool,
    /// the plugin does not run without it
    pub required: bool,
    /// it can be changed while the plugin runs
    pub live: bool,
}

/// How a change of keys came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = HowApplied)]
pub enum How {
    /// the plugin took it while running
    Live,
    /// the plugin was stopped and started
    Restarted,
    /// the plugin does not run: it takes it when it starts
    Kept,
}

/// A change of keys.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginConfigApplied)]
pub struct Applied {
    /// how it came about
    pub applied: How,
    /// what has to be in the file for it to last; nothing is written there
    pub lines: String,
}

fn too_early() -> Refusal {
    busy("plugins are not started yet")
}

fn none_such() -> Refusal {
    missing("there is no such plugin")
}

fn refused(why: PluginError) -> Refusal {
    match why {
        PluginError::NotFound => none_such(),
        PluginError::AlreadyStarted => conflict("the plugin runs already"),
        PluginError::NotStarted => conflict("the plugin does not run"),
        PluginError::Failed { app, reason } => conflict(format!("{app}: {reason}")),
    }
}

fn plugin(core: &Core, name: &str) -> Result<Plugin, Refusal> {
    let plugins: Arc<dyn PluginControl> = core.plugins().ok_or_else(too_early)?;
    let row = plugins.list().into_iter().find(|row| row.name == name);
    let row = row.ok_or_else(none_such)?;
    Ok(Plugin {
        facts: plugins.show(name).unwrap_or_default(),
        name: row.name,
        version: row.version,
        description: row.description,
        active: row.active,
    })
}

impl PluginRow {
    fn of(row: emqttd_management::PluginRow) -> PluginRow {
        PluginRow {
            name: row.name,
            version: row.version,
            description: row.description,
            active: row.active,
        }
    }
}

impl PluginKey {
    fn of(key: emqttd_management::PluginKey) -> PluginKey {
        PluginKey {
            key: key.key,
            value: key.value,
            default: key.default,
            desc: key.desc,
            datatype: key.datatype.into(),
            choices: key.choices,
            secret: key.secret,
            required: key.required,
            live: key.live,
        }
    }
}

/// Does something with a plugin. `None` = it goes on: it ends the listener by which the request came, and with it the
/// answer, if that waits for the end.
pub(crate) async fn ask<T: Send + 'static>(
    app: &App,
    came: &Came,
    name: &str,
    what: impl FnOnce(&Core) -> T + Send + 'static,
) -> Result<Option<T>, Refusal> {
    let own = came.protocol.starts_with("dashboard:")
        && emqttd_config::find_plugin(name).is_some_and(|plugin| plugin.name == "emq_dashboard");
    if !own {
        return app.ask(what).await.map(Some);
    }
    let asked = app.clone();
    let work = tokio::spawn(async move { asked.ask(what).await });
    match tokio::time::timeout(FAREWELL, work).await {
        Ok(Ok(done)) => done.map(Some),
        // It was given up with the runtime.
        Ok(Err(_)) => Err(too_early()),
        Err(_) => Ok(None),
    }
}

/// All plugins
///
/// Scope `read`.
#[utoipa::path(get, path = "/plugins", tag = "Plugins", operation_id = "list_plugins",
    responses((status = 200, description = "the plugins", body = Envelope<Vec<PluginRow>>), Guarded, super::forms::Patient))]
pub async fn list(State(app): State<App>) -> Result<Answer<Vec<PluginRow>>, Refusal> {
    let rows = app.ask(|core| Some(core.plugins()?.list())).await?;
    let rows = rows.ok_or_else(too_early)?.into_iter();
    Ok(Answer(rows.map(PluginRow::of).collect()))
}

/// A plugin and what it says of itself
///
/// Scope `read`.
#[utoipa::path(get, path = "/plugins/{name}", tag = "Plugins", operation_id = "show_plugin",
    params(("name" = String, Path, description = "its name")),
    responses((status = 200, description = "the plugin", body = Envelope<Plugin>),
              Guarded, Checked, Named, super::forms::Patient))]
pub async fn show(
    State(app): State<App>,
    Place(name): Place<String>,
) -> Result<Answer<Plugin>, Refusal> {
    let found = app.ask(move |core| plugin(core, &name)).await?;
    found.map(Answer)
}

/// The keys of a plugin
///
/// With their values, what they are for, what they may be. Secrets are not shown. Scope `read`.
#[utoipa::path(get, path = "/plugins/{name}/config", tag = "Plugins", operation_id = "plugin_config",
    params(("name" = String, Path, description = "its name")),
    responses((status = 200, description = "the keys", body = Envelope<PluginConfig>), Guarded, Checked, Named))]
pub async fn config(
    State(app): State<App>,
    Place(name): Place<String>,
) -> Result<Answer<PluginConfig>, Refusal> {
    let found = app
        .ask(move |core| {
            let keys = core.plugin_keys(&name)?;
            let keys = keys.into_iter().map(PluginKey::of).collect();
            let file = format!("etc/plugins/{name}.conf");
            Some(PluginConfig { keys, file })
        })
        .await?;
    found.map(Answer).ok_or_else(none_such)
}

/// Change keys of a plugin
///
/// All or none; `******` leaves a secret as it is. Until the broker starts again, unless they are put into the file.
/// Scope `manage`.
#[utoipa::path(put, path = "/plugins/{name}/config", tag = "Plugins", operation_id = "configure_plugin",
    params(("name" = String, Path, description = "its name")),
    request_body(content = BTreeMap<String, String>, description = "keys and their new values"),
    responses((status = 200, description = "how it came about", body = Envelope<Applied>),
              Guarded, Checked, Named, Sized1M))]
pub async fn configure(
    State(app): State<App>,
    came: Came,
    Place(name): Place<String>,
    Body(keys): Body<BTreeMap<String, String>>,
) -> Result<Answer<Applied>, Refusal> {
    if keys.is_empty() {
        return Err(bad("no key is given"));
    }
    let pairs: Vec<(String, String)> = keys.into_iter().collect();
    let (changed, given) = (name.clone(), pairs.clone());
    let done = ask(&app, &came, &name, move |core| {
        let done = core.set_plugin_keys(&changed, &given);
        if let Err(PluginConfigError::Refused(why)) = &done {
            log::warn!("{changed}: {why}");
        }
        done
    });
    let applied = match done.await? {
        Some(Ok(emqttd_management::Applied::Live)) => How::Live,
        Some(Ok(emqttd_management::Applied::Restarted)) | None => How::Restarted,
        Some(Ok(emqttd_management::Applied::Kept)) => How::Kept,
        Some(Err(PluginConfigError::NotFound)) => return Err(none_such()),
        Some(Err(PluginConfigError::Refused(why))) => return Err(bad(why)),
    };
    let lines = app
        .ask(move |core| core.plugin_lines(&name, &pairs))
        .await?;
    Ok(Answer(Applied { applied, lines }))
}

/// Have a newer form of a plugin take its place
///
/// Scope `manage`.
#[utoipa::path(post, path = "/plugins/{name}/reload", tag = "Plugins", operation_id = "reload_plugin",
    params(("name" = String, Path, description = "its name")),
    responses((status = 200, description = "it runs", body = Envelope<Done>),
              Guarded, Checked, Named, Settled, super::forms::Patient))]
pub async fn reload(
    State(app): State<App>,
    came: Came,
    Place(name): Place<String>,
) -> Result<Answer<Done>, Refusal> {
    let reloaded = name.clone();
    let done = ask(&app, &came, &name, move |core| {
        let plugins = core.plugins().ok_or_else(too_early)?;
        plugins.reload(&reloaded).map_err(refused)
    });
    match done.await? {
        Some(done) => done.map(|_| Answer(Done)),
        None => Ok(Answer(Done)),
    }
}
