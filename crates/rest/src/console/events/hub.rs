//! Who listens to events, and how events get to them.
//!
//! An event loop puts what it has seen into a bounded channel and goes on; a task, which runs only while somebody listens,
//! makes JSON of it once and puts it into the queue of each stream. Hooks are in the table only while somebody wants
//! what they tell.

use super::kinds::Kinds;
use super::look::Looks;
use super::seen::{Seen, Watcher};
use crate::state::App;
use emqttd_broker::Broker;
use emqttd_management::Core;
use emqttd_plugin_sdk::Hooks;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use tokio::sync::{Notify, mpsc, watch};

/// Streams at a time.
pub const MOST_STREAMS: usize = 64;
/// Streams at a time of one user, or of one API key: several people may share a user, and have several pages open.
pub const MOST_OF_ONE: usize = 16;
/// Events that wait for a stream's reader.
pub const MOST_WAITING: usize = 1000;
/// Events that wait for the task.
const MOST_SEEN: usize = 8192;

/// An event as its readers get it.
#[derive(Debug)]
pub struct Event {
    /// of which kind it is
    pub kinds: Kinds,
    /// its lines, with the empty one behind them
    pub text: Box<str>,
}

impl Event {
    /// `data` is JSON, which has no line breaks.
    pub fn new(kinds: Kinds, name: &str, data: &impl serde::Serialize) -> Event {
        // Rows of strings and numbers: nothing in them can fail to be JSON.
        let data = serde_json::to_string(data).unwrap_or_else(|_| "null".into());
        Event {
            kinds,
            text: format!("event: {name}\ndata: {data}\n\n").into(),
        }
    }
}

/// What waits for a stream's reader.
#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Arc<Event>>,
    /// events that found no room. While it is not 0 none is taken: what is lost is lost at one place.
    lost: u64,
}

/// The queue of a stream.
#[derive(Debug)]
struct Queue {
    /// whose it is
    who: Box<str>,
    kinds: Kinds,
    waiting: Mutex<Waiting>,
    news: Notify,
}

impl Queue {
    fn put(&self, event: &Arc<Event>) {
        let mut waiting = self.waiting.lock();
        if waiting.lost > 0 || waiting.events.len() >= MOST_WAITING {
            waiting.lost += 1;
        } else {
            waiting.events.push_back(Arc::clone(event));
        }
        drop(waiting);
        self.news.notify_one();
    }

    fn lose(&self, n: u64) {
        self.waiting.lock().lost += n;
        self.news.notify_one();
    }
}

/// Who listens.
#[derive(Default)]
struct State {
    queues: Vec<Arc<Queue>>,
    /// where events come out; `None` while the task has it
    seen: Option<mpsc::Receiver<Seen>>,
    /// hooks in the broker's table, each with what it tells
    hooks: Vec<(Kinds, Arc<dyn Hooks>)>,
    /// the broker tells of alarms; that cannot be taken back
    hears_alarms: bool,
    /// management tells of plugins and listeners; nor can that
    hears_changes: bool,
}

struct Shared {
    state: Mutex<State>,
    /// what anybody wants to hear of
    wanted: AtomicU8,
    /// events that found no room in the channel
    missed: AtomicU64,
    sender: mpsc::Sender<Seen>,
    /// plugins or listeners have come or gone
    changed: Notify,
    /// of which kinds it is known what there is: what comes and goes from now on is told
    looked: watch::Sender<Kinds>,
}

/// Where event loops put what they see; never waits.
#[derive(Clone)]
pub(super) struct Inlet(Arc<Shared>);

impl Inlet {
    /// Whether anybody wants to hear of that.
    pub fn wants(&self, kinds: Kinds) -> bool {
        Kinds(self.0.wanted.load(Ordering::Relaxed)).has(kinds)
    }

    pub fn put(&self, seen: Seen) {
        if self.0.sender.try_send(seen).is_err() {
            self.0.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Why there is no stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// there are [`MOST_STREAMS`]
    All,
    /// one has [`MOST_OF_ONE`]
    OfOne,
}

/// The streams of events of a broker; clones are the same.
#[derive(Clone)]
pub struct Hub(Arc<Shared>);

impl Default for Hub {
    fn default() -> Hub {
        let (sender, seen) = mpsc::channel(MOST_SEEN);
        let state = State {
            seen: Some(seen),
            ..State::default()
        };
        Hub(Arc::new(Shared {
            state: Mutex::new(state),
            wanted: AtomicU8::new(0),
            missed: AtomicU64::new(0),
            sender,
            changed: Notify::new(),
            looked: watch::Sender::new(Kinds::NONE),
        }))
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hub({} streams)", self.streams())
    }
}

impl Hub {
    /// Streams that are open.
    pub fn streams(&self) -> usize {
        self.0.state.lock().queues.len()
    }

    /// Opens a stream for `who`. Must be called where tasks can be spawned.
    ///
    /// # Errors
    /// When there are as many as there may be.
    pub fn listen(&self, app: &App, kinds: Kinds, who: &str) -> Result<Listener, Full> {
        let queue = Arc::new(Queue {
            who: who.into(),
            kinds,
            waiting: Mutex::default(),
            news: Notify::new(),
        });
        let mut state = self.0.state.lock();
        if state.queues.len() >= MOST_STREAMS {
            return Err(Full::All);
        }
        let own = state.queues.iter().filter(|queue| *queue.who == *who);
        if own.count() >= MOST_OF_ONE {
            return Err(Full::OfOne);
        }
        let idle = state.seen.take().map(|mut seen| {
            // What came when the last one had gone is no news.
            while seen.try_recv().is_ok() {}
            seen
        });
        state.queues.push(Arc::clone(&queue));
        let broker = app.core().broker.clone();
        self.tie(&mut state, &broker);
        self.hear_changes(&mut state, app.core());
        if let Some(seen) = idle {
            self.0.looked.send_replace(Kinds::NONE);
            tokio::spawn(pump(self.clone(), app.clone(), seen));
        }
        drop(state);
        Ok(Listener {
            hub: self.clone(),
            broker,
            queue,
        })
    }

    /// Waits until what plugins and listeners do is told to who listens to `kinds`.
    pub async fn hears(&self, kinds: Kinds) {
        let mut looked = self.0.looked.subscribe();
        for kind in [Kinds::PLUGINS, Kinds::LISTENERS] {
            if kinds.has(kind) && !looked.borrow().has(kind) {
                // A look at once. The hub has the other end.
                self.0.changed.notify_one();
                let _ = looked.wait_for(|looked| looked.has(kind)).await;
            }
        }
    }

    /// What anybody wants to hear of.
    pub(super) fn wanted(&self) -> Kinds {
        Kinds(self.0.wanted.load(Ordering::Relaxed))
    }

    /// Waits until plugins or listeners have come or gone.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// Has management tell when somebody starts or stops plugins and listeners.
    fn hear_changes(&self, state: &mut State, core: &Core) {
        if !state.hears_changes {
            state.hears_changes = true;
            let shared = Arc::downgrade(&self.0);
            core.on_change(move || {
                if let Some(shared) = shared.upgrade() {
                    shared.changed.notify_one();
                }
            });
        }
    }

    /// Has the broker tell what somebody wants to hear of, and no more.
    fn tie(&self, state: &mut State, broker: &Broker) {
        let wanted = state
            .queues
            .iter()
            .fold(Kinds::NONE, |all, queue| all.with(queue.kinds));
        self.0.wanted.store(wanted.0, Ordering::Relaxed);
        for kinds in [Kinds::CLIENTS, Kinds::SESSIONS] {
            let at = state.hooks.iter().position(|(of, _)| *of == kinds);
            match (wanted.has(kinds), at) {
                (true, None) => {
                    let hooks: Arc<dyn Hooks> =
                        Arc::new(Watcher::new(kinds, Inlet(Arc::clone(&self.0))));
                    broker.hooks().add(i32::MAX, Arc::clone(&hooks));
                    state.hooks.push((kinds, hooks));
                }
                (false, Some(at)) => {
                    let (_, hooks) = state.hooks.swap_remove(at);
                    broker.hooks().remove(&hooks);
                }
                _ => {}
            }
        }
        if wanted.has(Kinds::ALARMS) && !state.hears_alarms {
            state.hears_alarms = true;
            super::seen::hear_alarms(broker, Inlet(Arc::clone(&self.0)));
        }
    }

    fn spread(&self, event: Event) {
        let event = Arc::new(event);
        for queue in &self.0.state.lock().queues {
            if queue.kinds.has(event.kinds) {
                queue.put(&event);
            }
        }
    }

    /// Tells of events that never came as far as the streams.
    fn confess(&self) {
        let missed = self.0.missed.swap(0, Ordering::Relaxed);
        if missed > 0 {
            for queue in &self.0.state.lock().queues {
                if queue.kinds.has(Kinds::CLIENTS.with(Kinds::SESSIONS)) {
                    queue.lose(missed);
                }
            }
        }
    }

    /// Gives back where events come out when nobody listens any more.
    fn rest(&self, seen: mpsc::Receiver<Seen>) -> Option<mpsc::Receiver<Seen>> {
        let mut state = self.0.state.lock();
        if !state.queues.is_empty() {
            return Some(seen);
        }
        state.seen = Some(seen);
        None
    }
}

/// Brings events to the streams for as long as there are any.
async fn pump(hub: Hub, app: App, mut seen: mpsc::Receiver<Seen>) {
    let mut looking = std::pin::pin!(Looks::new(hub.clone(), app).next());
    loop {
        tokio::select! {
            // Both ends of this channel are the hub's.
            one = seen.recv() => if let Some(one) = one {
                hub.spread(one.event());
                if seen.is_empty() {
                    // What found no room came behind what did.
                    hub.confess();
                }
            },
            (looks, wanted, events) = &mut looking => {
                for event in events {
                    hub.spread(event);
                }
                hub.0.looked.send_replace(wanted);
                looking.set(looks.next());
                seen = match hub.rest(seen) {
                    Some(seen) => seen,
                    None => return,
                };
            }
        }
    }
}

/// A stream as its reader has it; it ends when this is dropped.
pub struct Listener {
    hub: Hub,
    broker: Broker,
    queue: Arc<Queue>,
}

impl Listener {
    /// What waits, of about `most` bytes, and tells of what was lost; empty when there is nothing.
    pub fn take(&self, most: usize) -> String {
        let mut out = String::new();
        let mut waiting = self.queue.waiting.lock();
        while out.len() < most
            && let Some(event) = waiting.events.pop_front()
        {
            out.push_str(&event.text);
        }
        if waiting.events.is_empty() && waiting.lost > 0 {
            let lost = std::mem::take(&mut waiting.lost);
            out.push_str(&format!("event: lost\ndata: {{\"n\":{lost}}}\n\n"));
        }
        out
    }

    /// Waits until something may have come.
    pub async fn news(&self) {
        self.queue.news.notified().await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut state = self.hub.0.state.lock();
        state
            .queues
            .retain(|queue| !Arc::ptr_eq(queue, &self.queue));
        self.hub.tie(&mut state, &self.broker);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn queue(kinds: Kinds) -> Queue {
        Queue {
            who: "admin".into(),
            kinds,
            waiting: Mutex::default(),
            news: Notify::new(),
        }
    }

    #[test]
    fn an_event_is_lines() {
        let event = Event::new(Kinds::PLUGINS, "plugin.started", &["a\nb"]);
        assert_eq!(&*event.text, "event: plugin.started\ndata: [\"a\\nb\"]\n\n");
    }

    #[test]
    fn a_slow_reader_hears_how_much_it_lost_where_it_lost_it() {
        let queue = queue(Kinds::PLUGINS);
        let event = |n: usize| Arc::new(Event::new(Kinds::PLUGINS, "e", &n));
        for n in 0..MOST_WAITING + 7 {
            queue.put(&event(n));
        }
        let mut waiting = queue.waiting.lock();
        assert_eq!((waiting.events.len(), waiting.lost), (MOST_WAITING, 7));
        // Room alone does not do: what comes now would be before what was lost.
        waiting.events.pop_front();
        drop(waiting);
        queue.put(&event(9999));
        let waiting = queue.waiting.lock();
        assert_eq!((waiting.events.len(), waiting.lost), (MOST_WAITING - 1, 8));
    }
}
