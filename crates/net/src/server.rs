//! All event loops of a broker, and the listeners they hold.

use crate::listen::OpenListener;
use crate::pipe;
use crate::shard_loop::{Command, Inbox, Moved, ShardLoop};
use crate::socket::{Socket, Transport};
use crate::tls::{self, TlsContext};
use emqttd_broker::{Broker, ListenerControl, ListenerState, Peer, Shard};
use emqttd_config::{Listener, ListenerKind};
use emqttd_plugin_sdk::{Pipe, PipeEvents};
use std::collections::BTreeSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// How long an event loop may take to close a listener.
const CLOSING: Duration = Duration::from_secs(10);

/// The running event loops.
pub struct Server {
    control: Arc<Control>,
    threads: Vec<JoinHandle<()>>,
}

struct Control {
    inboxes: Vec<Arc<Inbox>>,
    /// the event loop whose turn it is to get a virtual connection
    turn: AtomicUsize,
    broker: Broker,
    /// listeners that were open once, for `listeners start`
    known: Mutex<Vec<Listener>>,
    open: Mutex<Vec<Opened>>,
}

/// An open listener, and what its TLS connections share.
struct Opened {
    state: Arc<ListenerState>,
    tls: Option<Arc<TlsContext>>,
}

impl Server {
    /// Starts an event loop for each shard. No listener is open yet.
    ///
    /// # Errors
    /// When the system gives no epoll or no thread.
    pub fn start(broker: &Broker, shards: Vec<Shard>) -> io::Result<Server> {
        let loops = shards
            .into_iter()
            .map(|shard| ShardLoop::new(shard, broker.clone()));
        let loops = loops.collect::<io::Result<Vec<_>>>()?;
        let inboxes: Vec<_> = loops.iter().map(|(_, inbox)| Arc::clone(inbox)).collect();
        let mut threads = Vec::new();
        for (index, (shard_loop, _)) in loops.into_iter().enumerate() {
            let all = inboxes.clone();
            let broker = broker.clone();
            threads.push(
                Builder::new()
                    .name(format!("shard-{index}"))
                    .spawn(move || {
                        let run = AssertUnwindSafe(|| shard_loop.run(all));
                        if let Err(panic) = catch_unwind(run) {
                            // Half a broker is worse than none: a supervisor starts a whole one.
                            broker.stop();
                            resume_unwind(panic);
                        }
                    })?,
            );
        }
        let control = Arc::new(Control {
            inboxes,
            turn: AtomicUsize::new(0),
            broker: broker.clone(),
            known: Mutex::default(),
            open: Mutex::default(),
        });
        broker.set_listener_control(Arc::clone(&control) as Arc<dyn ListenerControl>);
        Ok(Server { control, threads })
    }

    /// Who opens and closes its listeners, for somebody who has other listeners, too.
    pub fn control(&self) -> Arc<dyn ListenerControl> {
        Arc::clone(&self.control) as _
    }

    /// Binds all listeners, then lets them accept; either all are opened or none.
    ///
    /// # Errors
    /// A line for each that cannot be opened.
    pub fn open(&self, listeners: &[Listener]) -> Result<Vec<Arc<ListenerState>>, Vec<String>> {
        let mqtt = listeners.iter().filter(|l| l.kind != ListenerKind::Api);
        let (bound, errors): (Vec<_>, Vec<_>) =
            mqtt.map(OpenListener::bind).partition(Result::is_ok);
        if !errors.is_empty() {
            return Err(errors.into_iter().filter_map(Result::err).collect());
        }
        Ok(bound
            .into_iter()
            .flatten()
            .map(|listener| self.control.hand_over(listener))
            .collect())
    }

    /// Waits for the end of all event loops; `false` when one of them has ended in a panic.
    pub fn join(self) -> bool {
        let mut well = true;
        for thread in self.threads {
            if thread.join().is_err() {
                log::error!("an event loop has ended in a panic; see the crash log");
                well = false;
            }
        }
        well
    }
}

impl Control {
    fn hand_over(&self, listener: OpenListener) -> Arc<ListenerState> {
        let state = Arc::clone(&listener.state);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(&state.settings) {
            known.push(state.settings.clone());
        }
        let inbox = &self.inboxes[open.len() % self.inboxes.len()];
        open.push(Opened {
            state: Arc::clone(&state),
            tls: listener.tls.clone(),
        });
        // An event loop that has ended opens nothing.
        let _ = inbox.send(Command::Open(Box::new(listener)));
        state
    }

    /// Has every event loop close a listener with its connections, and waits for that.
    fn close(&self, state: &Arc<ListenerState>) -> Result<(), String> {
        let (sender, done) = mpsc::sync_channel(self.inboxes.len());
        let commands = self.inboxes.iter().map(|inbox| {
            let command = Command::Close(Arc::clone(state), sender.clone());
            inbox.send(command).is_ok()
        });
        // One that has ended has closed all that it had.
        let asked = commands.filter(|sent| *sent).count();
        drop(sender);
        for _ in 0..asked {
            done.recv_timeout(CLOSING)
                .map_err(|_| "timeout".to_string())?;
        }
        Ok(())
    }
}

impl ListenerControl for Control {
    fn start(&self, protocol: &str, listen_on: &str) -> Result<(), String> {
        let settings = self.broker.settings();
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let wanted = settings.listeners.iter().chain(&known).find(|listener| {
            let state = ListenerState::new((*listener).clone());
            state.protocol() == protocol && state.listen_on() == listen_on
        });
        let wanted = wanted.ok_or_else(|| "not_found".to_string())?;
        self.hand_over(OpenListener::bind(wanted)?);
        Ok(())
    }

    fn stop(&self, protocol: &str, listen_on: &str) -> Result<(), String> {
        if self.broker.is_listener_of_plugin(protocol, listen_on) {
            return Err("it is a plugin's and closes when that is unloaded".into());
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let at = open.iter().position(|Opened { state, .. }| {
            state.protocol() == protocol && state.listen_on() == listen_on
        });
        let Opened { state, .. } = open.remove(at.ok_or_else(|| "not_found".to_string())?);
        drop(open);
        self.close(&state)
    }

    fn cert_files(&self) -> Vec<PathBuf> {
        // Those that are configured count before they are open: whoever watches files begins before that.
        let settings = self.broker.settings();
        let configured = settings
            .listeners
            .iter()
            .filter(|listener| matches!(listener.kind, ListenerKind::Ssl | ListenerKind::Wss))
            .filter_map(|listener| listener.tls.as_ref());
        let mut files: BTreeSet<PathBuf> = configured.flat_map(tls::files).cloned().collect();
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let contexts = open.iter().filter_map(|listener| listener.tls.as_ref());
        files.extend(contexts.flat_map(|context| context.files()).cloned());
        files.into_iter().collect()
    }

    fn reload_certs(&self) -> Result<(), String> {
        // Reading takes its time: listeners may open and close meanwhile.
        let contexts: Vec<(String, Arc<TlsContext>)> = {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let secured = open.iter().filter_map(|listener| {
                let tls = listener.tls.clone()?;
                Some((listener.state.listen_on(), tls))
            });
            secured.collect()
        };
        let mut errors = Vec::new();
        for (name, tls) in contexts {
            match tls.reload() {
                Ok(warnings) => {
                    for warning in warnings {
                        log::warn!("listener on {name}: {warning}");
                    }
                }
                Err(error) => errors.push(format!("listener on {name}: {error}")),
            }
        }
        if errors.is_empty() {
            return Ok(());
        }
        Err(errors.join("; "))
    }

    fn shutdown(&self) {
        for inbox in &self.inboxes {
            // One that has ended has stopped already.
            let _ = inbox.send(Command::Shutdown);
        }
    }

    fn open_pipe(&self, peer: Peer, events: Box<dyn PipeEvents>) -> Result<Arc<dyn Pipe>, String> {
        // Any event loop will do: with its CONNECT it moves to that of its client id.
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let inbox = &self.inboxes[turn % self.inboxes.len()];
        let (end, pipe) = pipe::pipe(inbox, events);
        let socket = Socket::new(Transport::Pipe(Box::new(end)), None);
        match inbox.send(Command::Adopt(Box::new(Moved { socket, peer }))) {
            Ok(()) => Ok(pipe),
            Err(command) => {
                if let Command::Adopt(mut moved) = command {
                    moved.peer.listener.leave("shutdown");
                    if let Transport::Pipe(end) = &mut moved.socket.transport {
                        end.dismiss();
                    }
                }
                Err("the broker stops".into())
            }
        }
    }

    fn close_pipes(&self, listener: &Arc<ListenerState>) -> Result<(), String> {
        self.close(listener)
    }
}
