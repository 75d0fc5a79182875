//! Listeners, connections, files.
//!
//! [`Web`] has all HTTP listeners of a node: those of `listener.api.*`, and those that plugins open. They are
//! served on threads of their own, which are there with the first listener.

mod body;
mod crowd;
mod files;
mod listener;
mod paced;
mod settings;
mod site;
#[cfg(test)]
mod tests;

use crate::App;
use crate::state::BLOCKING;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use emqttd_broker::ListenerState;
use emqttd_config::{Listener, ListenerKind};
use emqttd_plugin_sdk::{Config, WebListener};
use files::Files;
use listener::{Bound, Open, Secured};
use parking_lot::Mutex;
use settings::Opening;
use site::Site;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;

/// Threads that serve HTTP.
const WORKERS: usize = 2;
/// How long work that blocks is waited for at the end.
const LAST_WORK: Duration = Duration::from_secs(1);

/// All HTTP listeners of a node.
pub struct Web {
    app: App,
    runtime: Mutex<State>,
    ready: watch::Sender<bool>,
    /// held by who opens or closes listeners
    changing: Mutex<()>,
    known: Mutex<Vec<Arc<Known>>>,
}

#[derive(Default)]
enum State {
    #[default]
    Unused,
    Runs(Runtime),
    Ended,
}

/// A listener that is open, or may be opened again.
struct Known {
    opening: Opening,
    files: Option<WebListener>,
    open: Mutex<Option<Open>>,
    protocol: String,
    listen_on: String,
}

impl Known {
    fn new(opening: Opening, files: Option<WebListener>) -> Arc<Known> {
        let state = opening.state();
        Arc::new(Known {
            protocol: state.protocol().to_owned(),
            listen_on: state.listen_on(),
            opening,
            files,
            open: Mutex::new(None),
        })
    }

    fn is(&self, protocol: &str, listen_on: &str) -> bool {
        self.protocol == protocol && self.listen_on == listen_on
    }
}

/// A listener that a plugin has opened.
pub struct Opened {
    web: Arc<Web>,
    known: Arc<Known>,
}

impl Web {
    /// None yet. Listeners answer from [`Web::begin`] on; who connects before that waits.
    pub fn new(app: App) -> Arc<Web> {
        Arc::new(Web {
            app,
            runtime: Mutex::default(),
            ready: watch::Sender::new(false),
            changing: Mutex::default(),
            known: Mutex::default(),
        })
    }

    /// From now on requests are answered: what they ask for is there.
    pub fn begin(&self) {
        self.ready.send_replace(true);
    }

    /// Opens those of `listeners` that are ours; either all or none.
    ///
    /// # Errors
    /// A line for each that cannot be opened.
    pub fn open_configured(
        &self,
        listeners: &[Listener],
    ) -> Result<Vec<Arc<ListenerState>>, Vec<String>> {
        let _changing = self.changing.lock();
        let api = listeners.iter().filter(|l| l.kind == ListenerKind::Api);
        let bound = api.map(|listener| Bound::new(&Opening::configured(listener)));
        let (bound, errors): (Vec<_>, Vec<_>) = bound.partition(Result::is_ok);
        if !errors.is_empty() {
            return Err(errors.into_iter().filter_map(Result::err).collect());
        }
        let opened = bound.into_iter().flatten().map(|bound| {
            let known = Known::new(bound.opening().clone(), None);
            let state = self.serve(&known, bound).map_err(|error| vec![error])?;
            self.known.lock().push(known);
            Ok(state)
        });
        opened.collect()
    }

    /// Opens a listener for a plugin, with the plugin's keys.
    ///
    /// # Errors
    /// Why it cannot be opened.
    pub fn open_for_plugin(
        self: &Arc<Web>,
        listener: &WebListener,
        config: &Config,
    ) -> Result<Opened, String> {
        let _changing = self.changing.lock();
        let opening = Opening::of_plugin(listener, config)?;
        // Looked at before there is a socket.
        Files::new(listener)?;
        let refused = |why: String| match config.entry(&listener.key) {
            Some(entry) => entry.refused(format!("= {}: {why}", entry.value)).0,
            None => why,
        };
        let bound = Bound::new(&opening).map_err(refused)?;
        let known = Known::new(bound.opening().clone(), Some(listener.clone()));
        self.serve(&known, bound)?;
        self.known.lock().push(Arc::clone(&known));
        let acceptors = known.opening.state().settings.acceptors;
        log::info!(
            "{} listen on {} with {acceptors} acceptors.",
            known.protocol,
            known.listen_on
        );
        Ok(Opened {
            web: Arc::clone(self),
            known,
        })
    }

    /// Whether that listener is or was one of ours.
    pub fn has(&self, protocol: &str, listen_on: &str) -> bool {
        self.find(protocol, listen_on).is_some()
    }

    /// Opens a listener again.
    ///
    /// # Errors
    /// When there was none, or it cannot be opened.
    pub fn start(&self, protocol: &str, listen_on: &str) -> Result<(), String> {
        let _changing = self.changing.lock();
        let known = self.find(protocol, listen_on);
        let known = known.ok_or_else(|| "not_found".to_string())?;
        if known.open.lock().is_some() {
            return Err("existed".into());
        }
        self.serve(&known, Bound::new(&known.opening)?).map(drop)
    }

    /// Closes a listener; requests that are open have a second to end. Blocks.
    ///
    /// # Errors
    /// When there is none.
    pub fn stop(&self, protocol: &str, listen_on: &str) -> Result<(), String> {
        let _changing = self.changing.lock();
        let known = self.find(protocol, listen_on);
        let open = known.and_then(|known| known.open.lock().take());
        let open = open.ok_or_else(|| "not_found".to_string())?;
        self.close(&open)
    }

    /// Certificates, keys and lists of authorities of listeners that are known.
    pub fn cert_files(&self) -> Vec<PathBuf> {
        let known = self.known.lock();
        let tls = known.iter().filter_map(|known| known.opening.tls.as_ref());
        tls.flat_map(emqttd_tls::files).cloned().collect()
    }

    /// Reads them again, for connections to come.
    ///
    /// # Errors
    /// Each file that cannot be used; its listener stays as it was.
    pub fn reload_certs(&self) -> Result<(), String> {
        let secured: Vec<(String, Arc<Secured>)> = {
            let known = self.known.lock();
            let secured = known.iter().filter_map(|known| {
                let open = known.open.lock();
                let tls = open.as_ref()?.tls.clone()?;
                Some((known.listen_on.clone(), tls))
            });
            secured.collect()
        };
        let mut errors = Vec::new();
        for (name, tls) in secured {
            match tls.context.reload() {
                Ok(warnings) => {
                    for warning in warnings {
                        log::warn!("listener on {name}: {warning}");
                    }
                }
                Err(error) => errors.push(format!("listener on {name}: {error}")),
            }
        }
        match errors.is_empty() {
            true => Ok(()),
            false => Err(errors.join("; ")),
        }
    }

    /// Begins to close all listeners, and does not wait for it.
    pub fn begin_to_end(&self) {
        for known in self.known.lock().iter() {
            if let Some(open) = &*known.open.lock() {
                open.begin_to_close();
            }
        }
    }

    /// Closes all listeners, and ends what serves them. Blocks, for two seconds at the most.
    pub fn end(&self) {
        let _changing = self.changing.lock();
        let known = std::mem::take(&mut *self.known.lock());
        let open: Vec<Open> = known.iter().filter_map(|k| k.open.lock().take()).collect();
        open.iter().for_each(Open::begin_to_close);
        for open in &open {
            if let Err(error) = self.close(open) {
                log::warn!("listener on {}: {error}", open.addr);
            }
        }
        let ended = std::mem::replace(&mut *self.runtime.lock(), State::Ended);
        if let State::Runs(runtime) = ended {
            runtime.shutdown_timeout(LAST_WORK);
        }
    }

    fn find(&self, protocol: &str, listen_on: &str) -> Option<Arc<Known>> {
        let known = self.known.lock();
        known.iter().find(|k| k.is(protocol, listen_on)).cloned()
    }

    /// Has a bound listener served, and shown.
    fn serve(&self, known: &Known, bound: Bound) -> Result<Arc<ListenerState>, String> {
        let files = known.files.as_ref().map(Files::new).transpose()?;
        let runtime = self.runtime()?;
        let _inside = runtime.enter();
        let open = bound.serve(Site::new(&self.app, files), self.ready.subscribe())?;
        let state = Arc::clone(&open.state);
        self.app.core().broker.listener_opened(Arc::clone(&state));
        // Somebody may look at charts from now on.
        self.app.core().history().begin();
        *known.open.lock() = Some(open);
        Ok(state)
    }

    fn close(&self, open: &Open) -> Result<(), String> {
        self.app.core().broker.listener_closed(&open.state);
        open.begin_to_close();
        open.wait()
    }

    /// Starts the threads if nobody has needed them before.
    fn runtime(&self) -> Result<Handle, String> {
        let mut state = self.runtime.lock();
        if matches!(*state, State::Unused) {
            let runtime = Builder::new_multi_thread()
                .worker_threads(WORKERS)
                .max_blocking_threads(BLOCKING)
                .thread_name("http")
                .enable_all()
                .build()
                .map_err(|error| format!("threads for HTTP: {error}"))?;
            *state = State::Runs(runtime);
        }
        match &*state {
            State::Runs(runtime) => Ok(runtime.handle().clone()),
            _ => Err("the broker stops".into()),
        }
    }
}

impl Opened {
    /// Closes it for good. Blocks, for little more than a second.
    pub fn close(&self) {
        let _changing = self.web.changing.lock();
        self.web
            .known
            .lock()
            .retain(|known| !Arc::ptr_eq(known, &self.known));
        let open = self.known.open.lock().take();
        if let Some(Err(error)) = open.map(|open| self.web.close(&open)) {
            log::warn!("listener {}: {error}", self.shown());
        }
    }

    /// `dashboard:http on 0.0.0.0:18083`
    pub fn shown(&self) -> String {
        format!("{} on {}", self.known.protocol, self.known.listen_on)
    }

    /// Where it is open; the port is the real one. `None` while it is closed.
    pub fn local_addr(&self) -> Option<std::net::SocketAddr> {
        self.known.open.lock().as_ref().map(|open| open.addr)
    }
}

/// An answer that says nothing but its status.
pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}
