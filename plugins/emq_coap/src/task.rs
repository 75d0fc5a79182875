//! The one task that owns the sockets and all state. It never waits for the broker or for a peer.

#[cfg(test)]
mod tests;

use crate::dtls::{Dtls, Output};
use crate::endpoint::Endpoint;
use crate::machine::{Counters, Held, Limits, Machine, Wire};
use crate::request::{Action, Application};
use crate::settings::{Settings, Shared};
use emqttd_gateway::{Datagram, Inbox, UdpSocket};
use emqttd_plugin_sdk::{Context, Metric};
use futures_util::FutureExt;
use std::future::{pending, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::coop::consume_budget;
use tokio::time::Sleep;

/// Datagrams, or actions, before the others have their turn.
const BATCH: usize = 64;
/// How long clients may take to leave when the plugin ends.
const LEAVING: Duration = Duration::from_secs(2);
/// The timer when there is nothing to wait for.
const FAR: Duration = Duration::from_secs(24 * 3600);

/// What the task is told.
pub enum Control {
    /// There are other settings.
    Settings,
    /// Another socket for UDP.
    Plain(Arc<UdpSocket>),
    /// Other certificates, or another socket, for DTLS; `None` = no more DTLS.
    Secure(Option<Box<Secure>>),
    /// The end.
    Close,
}

/// DTLS and its socket.
pub struct Secure {
    dtls: Dtls,
    socket: Arc<UdpSocket>,
}

impl Secure {
    /// Of both.
    pub fn new(dtls: Dtls, socket: Arc<UdpSocket>) -> Secure {
        Secure { dtls, socket }
    }

    /// The socket.
    pub fn socket(&self) -> Arc<UdpSocket> {
        Arc::clone(&self.socket)
    }
}

/// Sends at once or not at all; what a socket does not take is counted there.
struct Ways {
    plain: Arc<UdpSocket>,
    secure: Option<Secure>,
}

impl Wire for Ways {
    fn send(&mut self, to: &Endpoint, datagram: &[u8]) {
        match (to, &mut self.secure) {
            (Endpoint::Plain(to), _) => {
                self.plain.try_send_to(datagram, *to);
            }
            // A session that has ended meanwhile has nobody to hear it.
            (Endpoint::Secure(to), Some(secure)) => {
                secure.dtls.send(*to, datagram);
            }
            (Endpoint::Secure(_), None) => {}
        }
    }
}

/// The task.
pub struct Task<A> {
    machine: Machine,
    app: A,
    /// makes another one
    make: Box<dyn Fn() -> A + Send>,
    ctx: Context,
    ways: Ways,
    plain: Inbox,
    secure: Option<Inbox>,
    settings: Shared,
    controls: UnboundedReceiver<Control>,
    shown: (Counters, Held),
    metrics: Metrics,
    /// actions that have been taken and not done yet
    actions: Vec<Action>,
}

impl<A: Application> Task<A> {
    /// Knows nobody yet.
    pub fn new(
        ctx: &Context,
        settings: Shared,
        make: impl Fn() -> A + Send + 'static,
        plain: Arc<UdpSocket>,
        secure: Option<Secure>,
        controls: UnboundedReceiver<Control>,
    ) -> Task<A> {
        Task {
            machine: machine(&settings),
            app: make(),
            make: Box::new(make),
            ctx: ctx.clone(),
            plain: plain.inbox(),
            secure: secure.as_ref().map(|secure| secure.socket.inbox()),
            ways: Ways { plain, secure },
            settings,
            controls,
            shown: Default::default(),
            metrics: Metrics::new(ctx),
            actions: Vec::new(),
        }
    }

    /// Works until it is told to close. After a panic it begins anew, on the same sockets.
    pub async fn run(mut self) {
        while AssertUnwindSafe(self.serve()).catch_unwind().await.is_err() {
            // The broker counts, and switches off a plugin that panics again and again.
            self.ctx.host().panicked("a task");
            log::error!("emq_coap: it begins anew, and its clients have to come again");
            self.machine = machine(&self.settings);
            self.app = (self.make)();
            self.actions.clear();
            self.close_secure();
        }
        // Those who do not leave in time are gone with the plugin.
        let _ = tokio::time::timeout(LEAVING, self.app.close()).await;
        self.close_secure();
    }

    async fn serve(&mut self) {
        let mut sleep = pin!(tokio::time::sleep(FAR));
        loop {
            self.secured();
            self.count();
            self.set(sleep.as_mut());
            // Actions may come as fast as they are done; other gateways have the same thread.
            consume_budget().await;
            let (app, actions) = (&mut self.app, &mut self.actions);
            tokio::select! {
                () = taken(app, actions) => self.act(),
                datagram = self.plain.recv() => {
                    let Ok(datagram) = datagram else { break };
                    self.heard(datagram);
                }
                datagram = heard_secure(&mut self.secure) => self.heard_secure(datagram),
                control = self.controls.recv() => match control {
                    Some(Control::Close) | None => break,
                    Some(control) => self.obey(control),
                },
                () = &mut sleep => {
                    self.tick();
                    sleep.as_mut().reset((Instant::now() + FAR).into());
                }
            }
        }
    }

    /// Datagrams have come: this one, and what is there already.
    fn heard(&mut self, first: Datagram) {
        let now = Instant::now();
        let more = std::iter::from_fn(|| self.plain.try_recv());
        for Datagram { from, bytes } in std::iter::once(first).chain(more).take(BATCH) {
            let from = Endpoint::Plain(from);
            let (app, ways) = (&mut self.app, &mut self.ways);
            self.machine.receive(now, from, None, &bytes, app, ways);
        }
    }

    fn heard_secure(&mut self, datagram: Option<Datagram>) {
        let Some(Datagram { from, mut bytes }) = datagram else {
            // Its socket is of no use any more.
            self.secure = None;
            return;
        };
        if let Some(secure) = &mut self.ways.secure {
            secure.dtls.receive(Instant::now(), from, &mut bytes);
        }
    }

    /// Does what DTLS wants, and tells the machine what it has heard.
    fn secured(&mut self) {
        while let Some(secure) = &mut self.ways.secure
            && let Some(output) = secure.dtls.poll()
        {
            match output {
                Output::Send(to, datagram) => {
                    secure.socket.try_send_to(&datagram, to);
                }
                Output::Received {
                    from,
                    identity,
                    plain,
                } => {
                    let (app, ways) = (&mut self.app, &mut self.ways);
                    let from = Endpoint::Secure(from);
                    let identity = identity.as_deref();
                    self.machine
                        .receive(Instant::now(), from, identity, &plain, app, ways);
                }
                Output::Gone(from) => {
                    let from = Endpoint::Secure(from);
                    self.machine.gone(Instant::now(), &from, &mut self.app);
                }
            }
        }
    }

    /// Ends all sessions of DTLS.
    fn close_secure(&mut self) {
        if let Some(secure) = &mut self.ways.secure {
            secure.dtls.close_all();
        }
        self.secured();
    }

    fn act(&mut self) {
        let now = Instant::now();
        for action in self.actions.drain(..) {
            self.machine.act(now, action, &mut self.app, &mut self.ways);
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        self.app.tick(now);
        self.machine.tick(now, &mut self.app, &mut self.ways);
        if let Some(secure) = &mut self.ways.secure {
            secure.dtls.timeout(now);
        }
    }

    fn obey(&mut self, control: Control) {
        match control {
            Control::Settings => {
                let settings = self.settings.load_full();
                self.machine.set_limits(limits(&settings));
                if let Some(secure) = &mut self.ways.secure {
                    secure.dtls.set_most_sessions(settings.max_clients);
                }
                self.app.tick(Instant::now());
            }
            Control::Plain(socket) => {
                self.plain = socket.inbox();
                self.ways.plain = socket;
            }
            Control::Secure(secure) => {
                self.close_secure();
                self.secure = secure.as_ref().map(|secure| secure.socket.inbox());
                self.ways.secure = secure.map(|secure| *secure);
            }
            Control::Close => {}
        }
    }

    /// Sets the timer to what comes next. When that moves away the timer wakes in vain, which costs less than to set it
    /// for every datagram.
    fn set(&self, sleep: Pin<&mut Sleep>) {
        let secure = self.ways.secure.as_ref();
        let deadlines = [
            self.machine.deadline(),
            self.app.deadline(),
            secure.and_then(|secure| secure.dtls.next_timeout()),
        ];
        if let Some(next) = deadlines.into_iter().flatten().min()
            && next < sleep.deadline().into_std()
        {
            sleep.reset(next.into());
        }
    }

    /// Shows what was counted.
    fn count(&mut self) {
        let now = (*self.machine.counters(), self.machine.held());
        if now != self.shown {
            self.metrics.show(&now.0, &now.1);
            self.shown = now;
        }
    }
}

/// One that knows nobody.
fn machine(settings: &Shared) -> Machine {
    // The keys of the standard library's hashes are secret.
    let secret = || RandomState::new().hash_one(0);
    let limits = limits(&settings.load());
    Machine::new(limits, (secret(), secret()), Instant::now())
}

fn limits(settings: &Settings) -> Limits {
    Limits {
        max_message: settings.max_message_size,
        peers: settings.max_clients,
    }
}

/// The next datagram for DTLS; `None` when no more come.
async fn heard_secure(inbox: &mut Option<Inbox>) -> Option<Datagram> {
    match inbox {
        Some(inbox) => inbox.recv().await.ok(),
        None => pending().await,
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

/// [`Counters`] and [`Held`], as `emqttd_ctl plugins show` has them.
struct Metrics {
    malformed: Metric,
    duplicates: Metric,
    retransmitted: Metric,
    unanswered: Metric,
    dropped: Metric,
    refused: Metric,
    endpoints: Metric,
    observations: Metric,
    requests: Metric,
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
            endpoints: ctx.metric("endpoints"),
            observations: ctx.metric("observations"),
            requests: ctx.metric("requests/pending"),
        }
    }

    fn show(&self, counters: &Counters, held: &Held) {
        let level = |metric: &Metric, level: usize| metric.set(level as u64);
        self.malformed.set(counters.malformed);
        self.duplicates.set(counters.duplicates);
        self.retransmitted.set(counters.retransmitted);
        self.unanswered.set(counters.unanswered);
        self.dropped.set(counters.dropped);
        self.refused.set(counters.refused);
        level(&self.endpoints, held.peers);
        level(&self.observations, held.observations);
        level(&self.requests, held.pending);
    }
}
