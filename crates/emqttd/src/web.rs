//! The HTTP server: for `listener.api.*`, for plugins, and beside the event loops in the list of listeners.

use emqttd_broker::{ListenerControl, ListenerState, Peer};
use emqttd_management::Core;
use emqttd_plugin_sdk::{Config, Pipe, PipeEvents, WebListener};
use emqttd_plugins::{Manager, OpenWeb, WebServer};
use emqttd_rest::App;
use emqttd_rest::server::{Opened, Web};
use std::path::PathBuf;
use std::sync::Arc;

/// The server of a node, which plugins may use from now on. It answers once it is told to begin.
pub fn server(core: &Core, manager: &Arc<Manager>) -> Arc<Web> {
    let app = App::new(core.clone());
    let plugins = Arc::downgrade(manager);
    app.set_plugin_routes(move |request| plugins.upgrade()?.http(request));
    let web = Web::new(app);
    manager.set_web(Arc::new(ForPlugins(Arc::clone(&web))));
    web
}

/// The server, as plugins use it.
struct ForPlugins(Arc<Web>);

impl WebServer for ForPlugins {
    fn open(&self, listener: &WebListener, config: &Config) -> Result<Box<dyn OpenWeb>, String> {
        let opened = self.0.open_for_plugin(listener, config)?;
        Ok(Box::new(OfPlugin(opened)))
    }
}

/// What one of them has opened.
struct OfPlugin(Opened);

impl OpenWeb for OfPlugin {
    fn close(&self) {
        self.0.close();
    }

    fn shown(&self) -> String {
        self.0.shown()
    }
}

/// Opens and closes listeners of both kinds: `sockets` are those of the event loops.
pub struct Listeners {
    pub sockets: Arc<dyn ListenerControl>,
    pub web: Arc<Web>,
}

impl ListenerControl for Listeners {
    fn start(&self, protocol: &str, listen_on: &str) -> Result<(), String> {
        match self.web.has(protocol, listen_on) {
            true => self.web.start(protocol, listen_on),
            false => self.sockets.start(protocol, listen_on),
        }
    }

    fn stop(&self, protocol: &str, listen_on: &str) -> Result<(), String> {
        match self.web.has(protocol, listen_on) {
            true => self.web.stop(protocol, listen_on),
            false => self.sockets.stop(protocol, listen_on),
        }
    }

    fn cert_files(&self) -> Vec<PathBuf> {
        let mut files = self.sockets.cert_files();
        files.extend(self.web.cert_files());
        files.sort();
        files.dedup();
        files
    }

    fn reload_certs(&self) -> Result<(), String> {
        let both = [self.sockets.reload_certs(), self.web.reload_certs()];
        let errors: Vec<String> = both.into_iter().filter_map(Result::err).collect();
        match errors.is_empty() {
            true => Ok(()),
            false => Err(errors.join("; ")),
        }
    }

    fn shutdown(&self) {
        self.web.begin_to_end();
        self.sockets.shutdown();
    }

    fn open_pipe(&self, peer: Peer, events: Box<dyn PipeEvents>) -> Result<Arc<dyn Pipe>, String> {
        self.sockets.open_pipe(peer, events)
    }

    fn close_pipes(&self, listener: &Arc<ListenerState>) -> Result<(), String> {
        self.sockets.close_pipes(listener)
    }
}
