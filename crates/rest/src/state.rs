//! What all handlers share.

use crate::answer::{Refusal, code};
use crate::auth::Door;
use crate::console::events::Hub;
use axum::http::StatusCode;
use emqttd_management::Core;
use emqttd_plugin_sdk::{HttpRequest, HttpResponse};
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;

/// Threads for work that blocks; more of it waits its turn.
pub(crate) const BLOCKING: usize = 16;
/// What is asked at a time. The other threads are for those who come in, and for `/health`: however long the rest
/// takes, they are heard.
const ASKED: usize = 12;

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
    turns: Arc<Semaphore>,
}

impl App {
    /// A view of `core`.
    pub fn new(core: Core) -> App {
        App(Arc::new(Inner {
            core,
            door: Door::default(),
            events: Hub::default(),
            plugin_routes: OnceLock::new(),
            turns: Arc::new(Semaphore::new(ASKED)),
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
        // Closed never.
        let turn = Arc::clone(&self.0.turns).acquire_owned().await;
        self.ask_first(move |core| {
            // It lasts as long as the work, also when nobody waits for that any more.
            let _turn = turn;
            what(core)
        })
        .await
    }

    /// The same for what is soon done and must not wait for others.
    ///
    /// # Errors
    /// As [`App::ask`].
    pub(crate) async fn ask_first<T: Send + 'static>(
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn who_comes_in_is_heard_however_much_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("log.dir = {}\n", dir.path().join("log").display());
        std::fs::write(dir.path().join("emq.conf"), text).unwrap();
        let loaded = emqttd_config::load(dir.path(), std::iter::empty()).unwrap();
        let (broker, _shards) = emqttd_broker::Broker::new(loaded.settings, 1).unwrap();
        let config = Arc::new(parking_lot::Mutex::new(loaded.config));
        let app = App::new(Core::new(broker, config));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(BLOCKING)
            .enable_all()
            .build()
            .unwrap();
        let (begun, begins) = mpsc::channel();
        let ends: Vec<mpsc::Sender<()>> = (0..2 * BLOCKING)
            .map(|_| {
                let (end, wait) = mpsc::channel::<()>();
                let (app, begun) = (app.clone(), begun.clone());
                runtime.spawn(async move {
                    app.ask(move |_| {
                        begun.send(()).unwrap();
                        // Until the test lets go.
                        let _ = wait.recv();
                    })
                    .await
                });
                end
            })
            .collect();
        for _ in 0..ASKED {
            begins.recv_timeout(Duration::from_secs(20)).unwrap();
        }
        let heard = runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(20), app.ask_first(|_| 7)).await
        });
        assert_eq!(heard.unwrap().unwrap(), 7);
        drop(ends);
        // The others have their turn.
        for _ in ASKED..2 * BLOCKING {
            begins.recv_timeout(Duration::from_secs(20)).unwrap();
        }
    }
}
