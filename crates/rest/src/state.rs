//! What all handlers share.

use crate::answer::{Refusal, code};
use crate::auth::Door;
use crate::console::events::Hub;
use axum::http::StatusCode;
use emqttd_management::Core;
use emqttd_plugin_sdk::{HttpRequest, HttpResponse};
use std::sync::{Arc, OnceLock};

/// Answers a request below `/api/plugins/<name>/`; `None` when no plugin that runs answers there. May block.
pub type PluginRoutes = dyn Fn(&HttpRequest) -> Option<HttpResponse> + Send + Sync;

/// What all handlers share; clones are cheap.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    core: Core,
    door: Door,
    events: Hub,
    plugin_routes: OnceLock<Box<PluginRoutes>>,
}

impl App {
    /// A view of `core`.
    pub fn new(core: Core) -> App {
        App(Arc::new(Inner {
            core,
            door: Door::default(),
            events: Hub::default(),
            plugin_routes: OnceLock::new(),
        }))
    }

    /// Says who answers below `/api/plugins/`.
    pub fn set_plugin_routes(
        &self,
        routes: impl Fn(&HttpRequest) -> Option<HttpResponse> + Send + Sync + 'static,
    ) {
        // A broker has one manager of plugins.
        let _ = self.0.plugin_routes.set(Box::new(routes));
    }

    /// Asks a plugin. Blocks.
    pub(crate) fn ask_plugin(&self, request: &HttpRequest) -> Option<HttpResponse> {
        self.0.plugin_routes.get()?(request)
    }

    /// Who comes in.
    pub(crate) fn door(&self) -> &Door {
        &self.0.door
    }

    /// Where what happens is told to open streams.
    pub fn events(&self) -> &Hub {
        &self.0.events
    }

    /// What management works on.
    pub fn core(&self) -> &Core {
        &self.0.core
    }

    /// Does what may block (all that asks event loops, the disk, or hashes passwords) beside the threads that serve HTTP.
    ///
    /// # Errors
    /// 500 when it panicked; the panic is in the log.
    pub async fn ask<T: Send + 'static>(
        &self,
        what: impl FnOnce(&Core) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let core = self.0.core.clone();
        let done = tokio::task::spawn_blocking(move || what(&core)).await;
        done.map_err(|_| {
            Refusal::status(
                StatusCode::INTERNAL_SERVER_ERROR,
                code::UNKNOWN,
                "the operation failed; see the log",
            )
        })
    }
}
