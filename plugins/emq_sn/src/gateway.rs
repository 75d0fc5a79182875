//! The task that has the socket and all clients: it gives the machine what comes, and does what the machine asks for.

use crate::advertise::Advertising;
use crate::device::Answer;
use crate::machine::{Listed, Machine};
use crate::outside::{Done, Outside, UNCONNECTED};
use crate::settings::Settings;
use crate::world::{Key, Ticket, World};
use emqttd_gateway::{Datagram, Guard, Inbox, UdpSocket};
use emqttd_plugin_sdk::Context;
use emqttd_plugin_sdk::virtual_client::{Event, Events};
use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep_until};

/// Of datagrams, answers or events, as many are worked on before the others have their turn.
const TURN: usize = 64;
/// Clients whose events are worked on before one that wakes up is told that it has what there was.
const EVENTS_BEFORE: usize = 1024;

/// What the plugin wants of the task.
pub enum Command {
    /// other settings, and the socket when that is another one
    Settings(Box<Settings>, Option<UdpSocket>),
    /// all clients
    List(std::sync::mpsc::Sender<Vec<Listed>>),
    /// the end
    Stop,
    /// it fails
    #[cfg(test)]
    Panic,
}

fn lock(beginning: &Mutex<Beginning>) -> MutexGuard<'_, Beginning> {
    beginning.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The plugin's end of the task.
pub type Commands = UnboundedSender<Command>;

/// The next event of a client.
async fn next_event(key: Key, mut events: Events) -> (Key, Option<Event>, Events) {
    let event = events.recv().await;
    (key, event, events)
}

/// What a gateway begins with.
struct Beginning {
    settings: Settings,
    socket: UdpSocket,
}

/// Runs the gateway until it is told to stop. `guard` goes when the socket is closed.
///
/// When it panics it begins anew, without clients: a fault that one of them has found does not end the gateway for all.
/// The broker counts, and switches the plugin off when that comes too often.
pub async fn run(
    ctx: Context,
    settings: Settings,
    socket: UdpSocket,
    commands: UnboundedReceiver<Command>,
    guard: Guard,
) {
    let beginning = Arc::new(Mutex::new(Beginning { settings, socket }));
    let commands = Arc::new(tokio::sync::Mutex::new(commands));
    loop {
        let gateway = Gateway::new(ctx.clone(), Arc::clone(&beginning));
        let commands = Arc::clone(&commands);
        let life = ctx.spawn(async move { gateway.serve(&mut *commands.lock().await).await });
        match life.await {
            Err(error) if error.is_panic() => {
                log::error!("emq_sn: it begins anew, and its clients have to connect again");
            }
            _ => break,
        }
    }
    drop(beginning);
    drop(guard);
}

struct Gateway {
    /// what another one would begin with
    beginning: Arc<Mutex<Beginning>>,
    machine: Machine<Outside>,
    outside: Outside,
    inbox: Inbox,
    advertising: Advertising,
    /// clients whose events have come, and are to be worked on before they are told so
    caught_up: Vec<Key>,
}

impl Gateway {
    fn new(ctx: Context, beginning: Arc<Mutex<Beginning>>) -> Gateway {
        let Beginning { settings, socket } = &*lock(&beginning);
        let outside = Outside::new(ctx, socket.clone(), settings.credentials.clone());
        Gateway {
            inbox: outside.socket.inbox(),
            advertising: Advertising::new(settings, &outside.socket),
            machine: Machine::new(settings.rules.clone()),
            outside,
            caught_up: Vec::new(),
            beginning: Arc::clone(&beginning),
        }
    }

    async fn serve(mut self, commands: &mut UnboundedReceiver<Command>) {
        let mut events = FuturesUnordered::new();
        let mut timer = pin!(sleep_until(Instant::now()));
        loop {
            self.look();
            let due = self.due();
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
            // Events may come as fast as they are worked on; other gateways have the same thread.
            consume_budget().await;
            tokio::select! {
                // A SUBACK goes out before the messages that it lets in.
                biased;
                command = commands.recv() => match command {
                    Some(Command::Stop) | None => return self.end(),
                    Some(command) => self.obey(command),
                },
                Some(done) = self.outside.pending.next(), if !self.outside.pending.is_empty() => {
                    let mut next = Some(done);
                    for _ in 0..TURN {
                        let Some(done) = next else { break };
                        if let Some((key, next)) = self.done(done) {
                            events.push(next_event(key, next));
                        }
                        next = self.outside.pending.next().now_or_never().flatten();
                    }
                    // What has been taken has to be worked on.
                    if let Some((key, next)) = next.and_then(|done| self.done(done)) {
                        events.push(next_event(key, next));
                    }
                }
                Some((key, ticket, answer)) = self.outside.published.next(),
                    if !self.outside.published.is_empty() =>
                {
                    self.answered(key, ticket, answer);
                }
                Some((key, event, next)) = events.next(), if !events.is_empty() => {
                    self.finish_pending(key, |key, next| events.push(next_event(key, next)));
                    if let Some(next) = self.events(key, event, next) {
                        events.push(next_event(key, next));
                    }
                }
                datagram = self.inbox.recv() => match datagram {
                    Ok(datagram) => self.datagram(&datagram),
                    Err(error) => {
                        log::error!("emq_sn: the socket has ended: {error}");
                        return self.end();
                    }
                },
                () = &mut timer => {}
            }
            if !self.caught_up.is_empty() {
                for _ in 0..EVENTS_BEFORE {
                    let Some(Some((key, event, next))) = events.next().now_or_never() else {
                        break;
                    };
                    if let Some(next) = self.events(key, event, next) {
                        events.push(next_event(key, next));
                    }
                }
                self.caught_up();
            }
            // Whatever there was, datagrams have their turn.
            for _ in 0..TURN {
                let Some(datagram) = self.inbox.try_recv() else {
                    break;
                };
                self.datagram(&datagram);
            }
        }
    }

    /// Tells clients that wake up that what the broker had for them has come.
    fn caught_up(&mut self) {
        let now = self.outside.now();
        for key in std::mem::take(&mut self.caught_up) {
            self.machine.caught_up(now, key, &mut self.outside);
        }
    }

    fn datagram(&mut self, datagram: &Datagram) {
        let now = self.outside.now();
        let Datagram { from, bytes } = datagram;
        self.machine.datagram(now, *from, bytes, &mut self.outside);
    }

    /// What the broker has answered by now, when a client waits for an answer about a subscription.
    fn finish_pending(&mut self, key: Key, mut connected: impl FnMut(Key, Events)) {
        while self.machine.subscribes(key) {
            let Some(Some(done)) = self.outside.pending.next().now_or_never() else {
                break;
            };
            if let Some((key, next)) = self.done(done) {
                connected(key, next);
            }
        }
    }

    fn answered(&mut self, key: Key, ticket: Ticket, answer: Answer) {
        let now = self.outside.now();
        self.machine
            .answered(now, key, ticket, answer, &mut self.outside);
    }

    /// Works on an answer; a client that is connected has events from now on.
    fn done(&mut self, done: Done) -> Option<(Key, Events)> {
        match done {
            Done::Nothing => None,
            Done::CaughtUp(key) => {
                self.caught_up.push(key);
                None
            }
            Done::Answered(key, ticket, answer) => {
                self.answered(key, ticket, answer);
                None
            }
            Done::Connected(key, outcome) => {
                self.outside.connected();
                let (client, events) = match outcome {
                    Ok((client, events)) => (Some(client), Some(events)),
                    Err(refused) => {
                        self.outside.counters.refused.inc();
                        log::debug!("emq_sn: a client is refused: {refused}");
                        (None, None)
                    }
                };
                let now = self.outside.now();
                if key.slot == UNCONNECTED {
                    let lost = self.outside.unconnected.connected(now, key.serial, client);
                    self.outside.counters.busy.add(lost as u64);
                } else if let Some(unwanted) =
                    self.machine.connected(now, key, client, &mut self.outside)
                {
                    // Its device has begun anew meanwhile.
                    self.outside.disconnect(unwanted);
                }
                self.outside
                    .counters
                    .clients
                    .set(self.machine.clients() as u64);
                events.map(|events| (key, events))
            }
        }
    }

    /// Works on an event, and on those that are there behind it, for a while. Gives the events back unless that was the
    /// last.
    fn events(&mut self, key: Key, event: Option<Event>, mut events: Events) -> Option<Events> {
        let now = self.outside.now();
        let mut next = event?;
        for turn in 1.. {
            match next {
                Event::Message(message) => {
                    self.machine.message(now, key, message, &mut self.outside);
                }
                Event::Released { id } => self.machine.released(now, key, id, &mut self.outside),
                Event::Closed(end) => {
                    log::debug!("emq_sn: a client has ended: {}", end.reason);
                    if key.slot == UNCONNECTED {
                        self.outside.unconnected.closed(now, key.serial);
                    }
                    self.machine.closed(now, key, &mut self.outside);
                    self.outside
                        .counters
                        .clients
                        .set(self.machine.clients() as u64);
                    return None;
                }
            }
            // What has been taken has to be worked on.
            if turn == TURN || self.machine.subscribes(key) {
                break;
            }
            match events.try_recv() {
                Some(event) => next = event,
                None => break,
            }
        }
        Some(events)
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Stop => {}
            #[cfg(test)]
            Command::Panic => panic!("as it was told"),
            Command::List(to) => {
                // Who asked may have given up.
                let _ = to.send(self.machine.list());
            }
            Command::Settings(settings, socket) => {
                let outside = &mut self.outside;
                outside.credentials = settings.credentials.clone();
                if let Some(client) = outside.unconnected.leave() {
                    outside.disconnect(client);
                }
                if let Some(socket) = socket {
                    // Clients know the other address only.
                    let now = outside.now();
                    self.machine.end(now, outside);
                    self.inbox = socket.inbox();
                    outside.socket = socket;
                }
                self.advertising = Advertising::new(&settings, &outside.socket);
                self.machine.set_rules(settings.rules.clone());
                *lock(&self.beginning) = Beginning {
                    socket: self.outside.socket.clone(),
                    settings: Settings {
                        rules: self.machine.rules().clone(),
                        ..*settings
                    },
                };
            }
        }
    }

    fn look(&mut self) {
        let now = self.outside.now();
        self.machine.look(now, &mut self.outside);
        self.outside
            .counters
            .clients
            .set(self.machine.clients() as u64);
        if self.advertising.due <= now {
            self.advertising
                .send(now, self.machine.rules().gateway_id, &self.outside.socket);
        }
    }

    /// When [`Gateway::look`] has something to do.
    fn due(&self) -> Instant {
        let due = self.machine.next_timer().unwrap_or(u64::MAX);
        let due = due.min(self.advertising.due).min(u64::from(u32::MAX));
        self.outside.started + Duration::from_millis(due)
    }

    fn end(mut self) {
        let now = self.outside.now();
        self.machine.end(now, &mut self.outside);
        self.outside.counters.clients.set(0);
    }
}

#[cfg(test)]
mod tests;
