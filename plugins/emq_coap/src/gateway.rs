//! The task around the machine: it owns the sockets and all state.

use crate::endpoint::Endpoint;
use crate::machine::{Counters, Limits, Machine, Wire};
use crate::request::{Action, Application};
use crate::settings::{Settings, Shared};
use arc_swap::ArcSwap;
use emqttd_gateway::{Gone, Guard, Inbox, UdpSettings, UdpSocket, until_dropped};
use emqttd_plugin_sdk::{Context, Metric, Plugin, StartError};
use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Sleep;

/// Datagrams, or actions, before the others have their turn.
const BATCH: usize = 64;
/// How long clients may take to leave when the plugin ends.
const LEAVING: Duration = Duration::from_secs(2);
/// How long the end of the task is waited for: it closes the sockets.
const ENDING: Duration = Duration::from_secs(5);
/// The timer when there is nothing to wait for.
const FAR: Duration = Duration::from_secs(24 * 3600);

/// The sockets, as clients of the broker have to know them; clones are the same.
#[derive(Clone)]
pub struct Listeners {
    plain: Arc<ArcSwap<UdpSocket>>,
}

impl Listeners {
    /// The listener that hears an endpoint: its protocol and address.
    pub fn of(&self, endpoint: &Endpoint) -> (String, String) {
        self.plain.load().peer(endpoint.address()).listener
    }
}

/// What the task is told.
enum Control {
    /// Other settings.
    Settings,
    /// Another socket.
    Plain(Arc<UdpSocket>),
    /// The end.
    Close,
}

/// The plugin as it runs.
pub struct Gateway {
    settings: Shared,
    listeners: Listeners,
    /// `coap.port` as it is open
    port: Mutex<String>,
    control: UnboundedSender<Control>,
    gone: Gone,
}

impl Gateway {
    /// Opens the sockets and starts the task. `application` makes the resources.
    ///
    /// # Errors
    /// When a key is wrong or an address cannot be used.
    pub fn start<A: Application + Send + 'static>(
        ctx: &Context,
        application: impl FnOnce(&Context, Shared, Listeners) -> A,
    ) -> Result<Gateway, StartError> {
        let settings = Settings::read(&ctx.config())?;
        let port = port(ctx);
        let socket = Arc::new(open(ctx, &port, &settings)?);
        let settings: Shared = Arc::new(ArcSwap::from_pointee(settings));
        let listeners = Listeners {
            plain: Arc::new(ArcSwap::new(Arc::clone(&socket))),
        };
        let app = application(ctx, Arc::clone(&settings), listeners.clone());
        let (control, controls) = unbounded_channel();
        let (guard, gone) = until_dropped();
        let task = Task::new(ctx, Arc::clone(&settings), app, socket, controls, guard);
        ctx.spawn(task.run());
        Ok(Gateway {
            settings,
            listeners,
            port: Mutex::new(port),
            control,
            gone,
        })
    }

    fn port(&self) -> MutexGuard<'_, String> {
        self.port.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `coap.port`
fn port(ctx: &Context) -> String {
    let config = ctx.config();
    config.text("coap.port").unwrap_or("5683").to_string()
}

fn open(ctx: &Context, listen_on: &str, settings: &Settings) -> Result<UdpSocket, StartError> {
    UdpSocket::open(
        ctx,
        UdpSettings {
            protocol: "coap:udp".into(),
            listen_on: listen_on.into(),
            key: "coap.port",
            max_clients: settings.max_clients,
        },
    )
}

impl Plugin for Gateway {
    fn reconfigure(&self, ctx: &Context) -> Result<(), String> {
        let settings = Settings::read(&ctx.config()).map_err(|error| error.0)?;
        let wanted = port(ctx);
        let mut open_now = self.port();
        if *open_now != wanted {
            // The old one stays when this fails.
            let socket = open(ctx, &wanted, &settings).map_err(|error| error.0)?;
            let socket = Arc::new(socket);
            let old = self.listeners.plain.swap(Arc::clone(&socket));
            let _ = self.control.send(Control::Plain(socket));
            old.retire(ctx);
            *open_now = wanted;
        }
        self.settings.store(Arc::new(settings));
        // A task that has ended needs no settings.
        let _ = self.control.send(Control::Settings);
        Ok(())
    }

    fn stop(&self) {
        let _ = self.control.send(Control::Close);
        if !self.gone.wait(ENDING) {
            log::warn!("emq_coap: its task has not ended within {ENDING:?}");
        }
    }
}

/// Sends at once or not at all.
struct Ways {
    plain: Arc<UdpSocket>,
}

impl Wire for Ways {
    fn send(&mut self, to: &Endpoint, datagram: &[u8]) {
        // What the socket does not take is counted there.
        self.plain.try_send_to(datagram, to.address());
    }
}

struct Task<A> {
    machine: Machine,
    app: A,
    ways: Ways,
    inbox: Inbox,
    settings: Shared,
    controls: UnboundedReceiver<Control>,
    shown: Counters,
    metrics: Metrics,
    /// actions that have been taken and not done yet
    actions: Vec<Action>,
    _guard: Guard,
}

impl<A: Application> Task<A> {
    fn new(
        ctx: &Context,
        settings: Shared,
        app: A,
        plain: Arc<UdpSocket>,
        controls: UnboundedReceiver<Control>,
        guard: Guard,
    ) -> Task<A> {
        // The keys of the standard library's hashes are secret.
        let secret = || RandomState::new().hash_one(0);
        let limits = limits(&settings.load());
        Task {
            machine: Machine::new(limits, (secret(), secret()), Instant::now()),
            app,
            inbox: plain.inbox(),
            ways: Ways { plain },
            settings,
            controls,
            shown: Counters::default(),
            metrics: Metrics::new(ctx),
            actions: Vec::new(),
            _guard: guard,
        }
    }

    async fn run(mut self) {
        let mut sleep = pin!(tokio::time::sleep(FAR));
        loop {
            self.set(sleep.as_mut());
            let (app, actions) = (&mut self.app, &mut self.actions);
            tokio::select! {
                () = taken(app, actions) => self.act(),
                datagram = self.inbox.recv() => {
                    let Ok(datagram) = datagram else { break };
                    let now = Instant::now();
                    self.receive(now, datagram);
                    for _ in 1..BATCH {
                        let Some(datagram) = self.inbox.try_recv() else { break };
                        self.receive(now, datagram);
                    }
                }
                control = self.controls.recv() => match control {
                    Some(Control::Settings) => {
                        let limits = limits(&self.settings.load());
                        self.machine.set_limits(limits);
                    }
                    Some(Control::Plain(socket)) => {
                        self.inbox = socket.inbox();
                        self.ways.plain = socket;
                    }
                    Some(Control::Close) | None => break,
                },
                () = &mut sleep => {
                    let now = Instant::now();
                    self.app.tick(now);
                    self.machine.tick(now, &mut self.app, &mut self.ways);
                    sleep.as_mut().reset((now + FAR).into());
                }
            }
            self.count();
        }
        // Those who do not leave in time are gone with the plugin.
        let _ = tokio::time::timeout(LEAVING, self.app.close()).await;
    }

    fn receive(&mut self, now: Instant, datagram: emqttd_gateway::Datagram) {
        let from = Endpoint::Plain(datagram.from);
        let (app, ways) = (&mut self.app, &mut self.ways);
        self.machine
            .receive(now, from, None, &datagram.bytes, app, ways);
    }

    fn act(&mut self) {
        let now = Instant::now();
        for action in self.actions.drain(..) {
            self.machine.act(now, action, &mut self.app, &mut self.ways);
        }
    }

    /// Sets the timer to what comes next. When that moves away the timer wakes in vain, which costs less than to set it
    /// for every datagram.
    fn set(&self, sleep: Pin<&mut Sleep>) {
        let deadlines = [self.machine.deadline(), self.app.deadline()];
        if let Some(next) = deadlines.into_iter().flatten().min()
            && next < sleep.deadline().into_std()
        {
            sleep.reset(next.into());
        }
    }

    /// Shows what was counted.
    fn count(&mut self) {
        let counters = *self.machine.counters();
        if counters != self.shown {
            self.shown = counters;
            self.metrics.show(&counters);
        }
    }
}

fn limits(settings: &Settings) -> Limits {
    Limits {
        max_message: settings.max_message_size,
        peers: settings.max_clients,
    }
}

/// Takes actions, at least one and those that are there already.
fn taken<A: Application>(app: &mut A, actions: &mut Vec<Action>) -> impl Future<Output = ()> {
    poll_fn(move |cx| {
        while actions.len() < BATCH {
            match app.poll_action(cx) {
                Poll::Ready(action) => actions.push(action),
                Poll::Pending => break,
            }
        }
        if actions.is_empty() {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
}

/// [`Counters`], as `emqttd_ctl plugins show` has them.
struct Metrics {
    malformed: Metric,
    duplicates: Metric,
    retransmitted: Metric,
    unanswered: Metric,
    dropped: Metric,
    refused: Metric,
}

impl Metrics {
    fn new(ctx: &Context) -> Metrics {
        Metrics {
            malformed: ctx.metric("malformed"),
            duplicates: ctx.metric("duplicates"),
            retransmitted: ctx.metric("retransmitted"),
            unanswered: ctx.metric("unanswered"),
            dropped: ctx.metric("dropped/notifications"),
            refused: ctx.metric("refused"),
        }
    }

    fn show(&self, counters: &Counters) {
        self.malformed.set(counters.malformed);
        self.duplicates.set(counters.duplicates);
        self.retransmitted.set(counters.retransmitted);
        self.unanswered.set(counters.unanswered);
        self.dropped.set(counters.dropped);
        self.refused.set(counters.refused);
    }
}
