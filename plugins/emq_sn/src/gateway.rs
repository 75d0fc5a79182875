//! The task that has the socket and all clients: it gives the machine what comes, and does what the machine asks for.

use crate::advertise;
use crate::device::Answer;
use crate::machine::{Listed, Machine};
use crate::packet::{Packet, encode, wrap};
use crate::settings::{Credentials, Settings};
use crate::unconnected::{CLIENT_ID, Next, Unconnected};
use crate::world::{Connect, Count, Key, Kind, Peer, Taken, Ticket, World};
use emqttd_gateway::{Datagram, Guard, Inbox, UdpSocket};
use emqttd_plugin_sdk::virtual_client::{
    ConnectOptions, Event, Events, Failed, NotNow, Outgoing, Publishing, Refused, VirtualClient,
    Will,
};
use emqttd_plugin_sdk::{Context, Metric, PeerInfo, QoS};
use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, sleep_until};

/// Of datagrams, answers or events, as many are worked on before the others have their turn.
const TURN: usize = 64;
/// Clients whose events are worked on before one that wakes up is told that it has what there was.
const EVENTS_BEFORE: usize = 1024;
/// Place of the client that publishes at QoS -1 among the others.
const UNCONNECTED: u32 = u32::MAX;

/// What the plugin wants of the task.
pub enum Command {
    /// other settings, and the socket when that is another one
    Settings(Box<Settings>, Option<UdpSocket>),
    /// all clients
    List(std::sync::mpsc::Sender<Vec<Listed>>),
    /// the end
    Stop,
}

/// The plugin's end of the task.
pub type Commands = UnboundedSender<Command>;

/// What the broker has answered.
enum Done {
    Connected(Key, Result<(VirtualClient, Events), Refused>),
    Answered(Key, Ticket, Answer),
    CaughtUp(Key),
    Nothing,
}

type Pending = Pin<Box<dyn Future<Output = Done> + Send>>;

/// A message at QoS 1 or 2 on its way to the broker.
struct Published {
    key: Key,
    msg_id: u16,
    answer: Publishing,
}

impl Future for Published {
    type Output = (Key, Ticket, Answer);

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(cx).map(|outcome| {
            let ticket = Ticket {
                kind: Kind::Publish,
                msg_id: self.msg_id,
            };
            (self.key, ticket, answer(outcome))
        })
    }
}

fn answer(outcome: Result<u8, Failed>) -> Answer {
    match outcome {
        Ok(code) => Answer::Code(code),
        Err(Failed::Closed(_)) => Answer::Ended,
        // MQTT cannot say it.
        Err(Failed::Invalid(_)) => Answer::Code(0x80),
    }
}

/// The next event of a client.
async fn next_event(key: Key, mut events: Events) -> (Key, Option<Event>, Events) {
    let event = events.recv().await;
    (key, event, events)
}

/// The socket and the broker, for the machine.
struct Outside {
    ctx: Context,
    socket: UdpSocket,
    started: Instant,
    credentials: Credentials,
    packet: Vec<u8>,
    pending: FuturesUnordered<Pending>,
    published: FuturesUnordered<Published>,
    unconnected: Unconnected,
    counters: Counters,
    sent: u64,
}

/// Counters that `emqttd_ctl plugins show` has.
struct Counters {
    clients: Metric,
    malformed: Metric,
    retransmitted: Metric,
    lost: Metric,
    dropped: Metric,
    too_large: Metric,
    busy: Metric,
    refused: Metric,
}

impl Counters {
    fn new(ctx: &Context) -> Counters {
        Counters {
            clients: ctx.metric("clients"),
            malformed: ctx.metric("packets/malformed"),
            retransmitted: ctx.metric("packets/retransmitted"),
            lost: ctx.metric("clients/lost"),
            dropped: ctx.metric("messages/dropped"),
            too_large: ctx.metric("messages/dropped/too_large"),
            busy: ctx.metric("messages/dropped/busy"),
            refused: ctx.metric("clients/refused"),
        }
    }
}

impl Outside {
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn options(&self, client_id: String) -> ConnectOptions {
        let credentials = self.credentials.of(&client_id);
        let options = ConnectOptions::new(client_id);
        ConnectOptions {
            username: credentials.as_ref().map(|(username, _)| username.clone()),
            password: credentials.and_then(|(_, password)| password.map(Into::into)),
            release_by_hand: true,
            ..options
        }
    }

    fn ask_to_connect(&self, key: Key, peer: PeerInfo, options: ConnectOptions) {
        let ctx = self.ctx.clone();
        self.pending.push(Box::pin(async move {
            Done::Connected(key, VirtualClient::connect(&ctx, peer, options).await)
        }));
    }
}

impl World for Outside {
    type Client = VirtualClient;

    fn send(&mut self, peer: &Peer, packet: &Packet<'_>) {
        self.packet.clear();
        if let Some(node) = &peer.node {
            wrap(node, &mut self.packet);
        }
        // What is too long for a datagram was sorted out before.
        if encode(packet, &mut self.packet) {
            self.sent += 1;
            self.socket.try_send_to(&self.packet, peer.address);
        }
    }

    fn packets_sent(&self) -> u64 {
        self.sent
    }

    fn connect(&mut self, key: Key, peer: &Peer, connect: Connect) {
        let options = self.options(connect.client_id);
        let options = ConnectOptions {
            clean: connect.clean,
            will: connect.will,
            ..options
        };
        self.ask_to_connect(key, self.socket.peer(peer.address), options);
    }

    fn publish(
        &mut self,
        key: Key,
        client: &VirtualClient,
        msg_id: u16,
        message: Outgoing,
    ) -> Taken {
        match client.try_publish(&message) {
            Ok(_) if message.qos == QoS::AtMostOnce => Taken::Yes,
            Ok(answer) => {
                self.published.push(Published {
                    key,
                    msg_id,
                    answer,
                });
                Taken::Yes
            }
            Err(NotNow::Busy) => Taken::Busy,
            Err(NotNow::Invalid(_)) => Taken::Invalid,
            Err(NotNow::Closed(_)) => Taken::Closed,
        }
    }

    fn publish_unconnected(&mut self, message: Outgoing) {
        match self.unconnected.publish(self.now(), message) {
            Next::Nothing => {}
            Next::Drop => self.counters.busy.inc(),
            Next::Connect(serial) => {
                let key = Key {
                    slot: UNCONNECTED,
                    serial,
                };
                let options = self.options(CLIENT_ID.into());
                let peer = self.socket.peer(self.socket.local_addr());
                self.ask_to_connect(key, peer, options);
            }
        }
    }

    fn subscribe(&mut self, key: Key, client: &VirtualClient, msg_id: u16, filter: &str, qos: QoS) {
        let (client, filter) = (client.clone(), filter.to_string());
        self.pending.push(Box::pin(async move {
            let codes = client.subscribe(&[(&filter, qos)]).await;
            let code = codes.map(|codes| codes.first().copied().unwrap_or(0x80));
            let ticket = Ticket {
                kind: Kind::Subscribe,
                msg_id,
            };
            Done::Answered(key, ticket, answer(code))
        }));
    }

    fn unsubscribe(&mut self, key: Key, client: &VirtualClient, msg_id: u16, filter: &str) {
        let (client, filter) = (client.clone(), filter.to_string());
        self.pending.push(Box::pin(async move {
            let done = client.unsubscribe(&[&filter]).await;
            let ticket = Ticket {
                kind: Kind::Unsubscribe,
                msg_id,
            };
            Done::Answered(key, ticket, answer(done.map(|()| 0)))
        }));
    }

    fn ack(&mut self, client: &VirtualClient, id: u16) {
        client.ack(id);
    }

    fn complete(&mut self, client: &VirtualClient, id: u16) {
        client.complete(id);
    }

    fn catch_up(&mut self, key: Key, client: &VirtualClient) {
        let caught_up = client.catch_up();
        self.pending.push(Box::pin(async move {
            caught_up.await;
            Done::CaughtUp(key)
        }));
    }

    fn set_will(&mut self, client: &VirtualClient, will: Option<Will>) {
        // It was looked at before; and after the end there is none.
        let _ = client.set_will(will);
    }

    fn disconnect(&mut self, client: VirtualClient) {
        self.pending.push(Box::pin(async move {
            client.disconnect().await;
            Done::Nothing
        }));
    }

    fn abort(&mut self, client: VirtualClient, reason: &'static str) {
        client.abort(reason);
    }

    fn count(&mut self, what: Count) {
        let counters = &self.counters;
        match what {
            Count::Malformed => counters.malformed.inc(),
            Count::Retransmitted => counters.retransmitted.inc(),
            Count::Lost => counters.lost.inc(),
            Count::Dropped => counters.dropped.inc(),
            Count::TooLarge => counters.too_large.inc(),
            Count::Busy => counters.busy.inc(),
        }
    }
}

/// Runs the gateway until it is told to stop. `guard` goes when the socket is closed.
pub async fn run(
    ctx: Context,
    settings: Settings,
    socket: UdpSocket,
    commands: UnboundedReceiver<Command>,
    guard: Guard,
) {
    let counters = Counters::new(&ctx);
    let outside = Outside {
        ctx,
        started: Instant::now(),
        credentials: settings.credentials.clone(),
        packet: Vec::new(),
        pending: FuturesUnordered::new(),
        published: FuturesUnordered::new(),
        unconnected: Unconnected::default(),
        counters,
        sent: 0,
        socket,
    };
    let gateway = Gateway {
        inbox: outside.socket.inbox(),
        advertising: Advertising::new(&settings, &outside.socket),
        machine: Machine::new(settings.rules),
        outside,
        caught_up: Vec::new(),
    };
    gateway.serve(commands).await;
    drop(guard);
}

struct Gateway {
    machine: Machine<Outside>,
    outside: Outside,
    inbox: Inbox,
    advertising: Advertising,
    /// clients whose events have come, and are to be worked on before they are told so
    caught_up: Vec<Key>,
}

impl Gateway {
    async fn serve(mut self, mut commands: UnboundedReceiver<Command>) {
        let mut events = FuturesUnordered::new();
        let mut timer = pin!(sleep_until(Instant::now()));
        loop {
            self.look();
            let due = self.due();
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
            tokio::select! {
                // A SUBACK goes out before the messages that it lets in.
                biased;
                command = commands.recv() => match command {
                    Some(Command::Stop) | None => return self.end(),
                    Some(command) => self.obey(command),
                },
                Some(done) = self.outside.pending.next(), if !self.outside.pending.is_empty() => {
                    if let Some((key, next)) = self.done(done) {
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
        for _ in 0..TURN {
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
            if self.machine.subscribes(key) {
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
                self.machine.set_rules(settings.rules);
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

/// ADVERTISE, which goes out when the gateway begins and then again and again.
struct Advertising {
    /// seconds between them; 0 = none is sent
    duration: u16,
    /// empty = the broadcast address of each interface
    to: Vec<SocketAddr>,
    /// when the next one is due
    due: u64,
}

impl Advertising {
    fn new(settings: &Settings, socket: &UdpSocket) -> Advertising {
        if settings.advertise_duration > 0
            && let Err(error) = socket.set_broadcast()
        {
            log::warn!("emq_sn: ADVERTISE cannot be sent to broadcast addresses: {error}");
        }
        Advertising {
            duration: settings.advertise_duration,
            to: settings.advertise_to.clone(),
            due: match settings.advertise_duration {
                0 => u64::MAX,
                _ => 0,
            },
        }
    }

    fn send(&mut self, now: u64, gateway_id: u8, socket: &UdpSocket) {
        self.due = now + u64::from(self.duration) * 1000;
        let packet = Packet::Advertise {
            gateway_id,
            duration: self.duration,
        };
        let mut bytes = Vec::new();
        encode(&packet, &mut bytes);
        let targets = match self.to.as_slice() {
            // Interfaces come and go.
            [] => advertise::targets(socket.local_addr().ip()).unwrap_or_else(|error| {
                log::warn!("emq_sn: ADVERTISE: the interfaces are not known: {error}");
                Vec::new()
            }),
            to => to.to_vec(),
        };
        for to in targets {
            socket.try_send_to(&bytes, to);
        }
    }
}
