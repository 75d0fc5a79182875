//! The socket and the broker, as the machine sees them.

use crate::device::Answer;
use crate::packet::{Packet, encode, wrap};
use crate::settings::Credentials;
use crate::unconnected::{CLIENT_ID, Next, Unconnected};
use crate::world::{Connect, Count, Key, Kind, Peer, Taken, Ticket, World};
use emqttd_gateway::{Source, Turns, UdpSocket};
use emqttd_plugin_sdk::virtual_client::{
    ConnectOptions, Events, Failed, NotNow, Outgoing, Publishing, Refused, VirtualClient, Will,
};
use emqttd_plugin_sdk::{Context, Metric, PeerInfo, QoS};
use futures_util::stream::FuturesUnordered;
use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use tokio::time::Instant;

/// Place of the client that publishes at QoS -1 among the others.
pub const UNCONNECTED: u32 = u32::MAX;

/// Connections that the broker is asked for at the same time; beyond that sources take turns.
const CONNECTING: usize = 1000;

/// What the broker has answered.
pub enum Done {
    Connected(Key, Result<(VirtualClient, Events), Refused>),
    Answered(Key, Ticket, Answer),
    CaughtUp(Key),
    Nothing,
}

type Pending = Pin<Box<dyn Future<Output = Done> + Send>>;

/// A message at QoS 1 or 2 on its way to the broker.
pub struct Published {
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

/// The socket and the broker, for the machine.
pub struct Outside {
    ctx: Context,
    pub socket: UdpSocket,
    pub started: Instant,
    pub credentials: Credentials,
    packet: Vec<u8>,
    pub pending: FuturesUnordered<Pending>,
    pub published: FuturesUnordered<Published>,
    pub unconnected: Unconnected,
    pub counters: Counters,
    /// connections that the broker is to be asked for
    to_connect: Turns<(Key, PeerInfo, ConnectOptions)>,
    /// those that it is asked for
    connecting: usize,
    sent: u64,
}

/// Counters that `emqttd_ctl plugins show` has.
pub struct Counters {
    pub clients: Metric,
    malformed: Metric,
    retransmitted: Metric,
    lost: Metric,
    dropped: Metric,
    too_large: Metric,
    pub busy: Metric,
    pub refused: Metric,
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
    pub fn new(ctx: Context, socket: UdpSocket, credentials: Credentials) -> Outside {
        Outside {
            counters: Counters::new(&ctx),
            ctx,
            socket,
            started: Instant::now(),
            credentials,
            packet: Vec::new(),
            pending: FuturesUnordered::new(),
            published: FuturesUnordered::new(),
            unconnected: Unconnected::default(),
            to_connect: Turns::default(),
            connecting: 0,
            sent: 0,
        }
    }

    /// Milliseconds since the beginning.
    pub fn now(&self) -> u64 {
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

    fn ask_to_connect(&mut self, key: Key, peer: PeerInfo, options: ConnectOptions) {
        let source = Source::of(peer.peername);
        self.to_connect.push(source, (key, peer, options));
        self.connect_next();
    }

    /// The broker has answered about a connection.
    pub fn connected(&mut self) {
        self.connecting -= 1;
        self.connect_next();
    }

    fn connect_next(&mut self) {
        while self.connecting < CONNECTING
            && let Some((key, peer, options)) = self.to_connect.pop()
        {
            let ctx = self.ctx.clone();
            self.connecting += 1;
            self.pending.push(Box::pin(async move {
                Done::Connected(key, VirtualClient::connect(&ctx, peer, options).await)
            }));
        }
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
            Count::Refused => counters.refused.inc(),
            Count::Dropped => counters.dropped.inc(),
            Count::TooLarge => counters.too_large.inc(),
            Count::Busy => counters.busy.inc(),
        }
    }
}
