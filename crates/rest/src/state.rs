//! What all handlers share.

use crate::answer::{Refusal, code};
use axum::http::StatusCode;
use emqttd_management::Core;
use std::sync::Arc;

/// What all handlers share; clones are cheap.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    core: Core,
}

impl App {
    /// A view of `core`.
    pub fn new(core: Core) -> App {
        App(Arc::new(Inner { core }))
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
