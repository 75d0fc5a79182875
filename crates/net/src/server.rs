//! All event loops of a broker, and the listeners they hold.

use crate::listen::OpenListener;
use crate::shard_loop::{Command, Inbox, ShardLoop};
use emqttd_broker::{Broker, ListenerControl, ListenerState, Shard};
use emqttd_config::{Listener, ListenerKind};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
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
    broker: Broker,
    /// listeners that were open once, for `listeners start`
    known: Mutex<Vec<Listener>>,
    open: Mutex<Vec<Arc<ListenerState>>>,
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
            broker: broker.clone(),
            known: Mutex::default(),
            open: Mutex::default(),
        });
        broker.set_listener_control(Arc::clone(&control) as Arc<dyn ListenerControl>);
        Ok(Server { control, threads })
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
        open.push(Arc::clone(&state));
        inbox.send(Command::Open(Box::new(listener)));
        state
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
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let at = open
            .iter()
            .position(|state| state.protocol() == protocol && state.listen_on() == listen_on);
        let state = open.remove(at.ok_or_else(|| "not_found".to_string())?);
        drop(open);
        let (sender, done) = mpsc::sync_channel(self.inboxes.len());
        for inbox in &self.inboxes {
            inbox.send(Command::Close(Arc::clone(&state), sender.clone()));
        }
        drop(sender);
        for _ in &self.inboxes {
            done.recv_timeout(CLOSING)
                .map_err(|_| "timeout".to_string())?;
        }
        Ok(())
    }

    fn shutdown(&self) {
        for inbox in &self.inboxes {
            inbox.send(Command::Shutdown);
        }
    }
}
