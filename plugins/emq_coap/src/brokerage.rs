//! What sessions ask of the broker, and what it answers.
//!
//! [`Broker`] is what they need of it, so that tests have one of their own; [`Brokerage`] is the real one.

use emqttd_plugin_sdk::virtual_client::{
    ConnectOptions, Event, Events, Incoming, NotNow, Outgoing, Refused, VirtualClient,
};
use emqttd_plugin_sdk::{Context, PeerInfo, QoS};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

/// Events of one client that are taken before another one's turn.
const AT_ONCE: usize = 16;

/// Names a session; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientNo(pub u64);

/// What the broker answers or tells.
#[derive(Debug)]
pub enum Answer {
    /// To [`Broker::connect`].
    Connected {
        /// who
        client: ClientNo,
        /// how
        result: Result<(), Refused>,
    },
    /// To [`Broker::publish`].
    Published {
        /// which publication
        job: u64,
        /// reason code; `None` = the connection has ended before there was one
        code: Option<u8>,
    },
    /// To [`Broker::subscribe`].
    Subscribed {
        /// who
        client: ClientNo,
        /// to what
        filter: Arc<str>,
        /// whether it may; `None` = the connection has ended
        granted: Option<bool>,
    },
    /// To [`Broker::unsubscribe`].
    Unsubscribed {
        /// who
        client: ClientNo,
        /// from what
        filter: Arc<str>,
    },
    /// A message for a client.
    Message {
        /// whom
        client: ClientNo,
        /// what
        message: Incoming,
    },
    /// A connection has ended.
    Closed {
        /// whose
        client: ClientNo,
    },
}

/// What sessions ask of the broker. No call waits.
pub trait Broker {
    /// Connects a client.
    fn connect(&mut self, client: ClientNo, peer: PeerInfo, options: ConnectOptions);

    /// Whether its connection has ended.
    fn is_closed(&self, client: ClientNo) -> bool;

    /// Publishes. `false` = [`Answer::Published`] comes.
    ///
    /// # Errors
    /// When the broker does not take it now.
    fn publish(&mut self, client: ClientNo, message: &Outgoing, job: u64) -> Result<bool, NotNow>;

    /// Subscribes at QoS 1.
    fn subscribe(&mut self, client: ClientNo, filter: &Arc<str>);

    /// Takes a subscription away.
    fn unsubscribe(&mut self, client: ClientNo, filter: &Arc<str>);

    /// The device has a message.
    fn ack(&mut self, client: ClientNo, id: u16);

    /// The device lives.
    fn ping(&mut self, client: ClientNo);

    /// The client ends in good order. Nothing it is told after that counts.
    fn leave(&mut self, client: ClientNo);
}

/// What a future comes to.
enum Done {
    Connected(ClientNo, Result<(VirtualClient, Events), Refused>),
    Answer(Answer),
    Left,
}

type Ask = Pin<Box<dyn Future<Output = Done> + Send>>;
type Next = Pin<Box<dyn Future<Output = (ClientNo, Option<Event>, Events)> + Send>>;

/// The broker, by virtual clients. Whoever has it polls it.
pub struct Brokerage {
    ctx: Context,
    clients: HashMap<ClientNo, VirtualClient>,
    asks: FuturesUnordered<Ask>,
    events: FuturesUnordered<Next>,
    /// taken and not told yet
    ready: VecDeque<Answer>,
}

impl Brokerage {
    /// For a plugin.
    pub fn new(ctx: &Context) -> Brokerage {
        Brokerage {
            ctx: ctx.clone(),
            clients: HashMap::new(),
            asks: FuturesUnordered::new(),
            events: FuturesUnordered::new(),
            ready: VecDeque::new(),
        }
    }

    /// The next answer.
    pub fn poll_answer(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Answer> {
        loop {
            // Answers before messages: a message that follows a SUBACK finds it told.
            while let Poll::Ready(Some(done)) = self.asks.poll_next_unpin(cx) {
                if let Some(answer) = self.done(done) {
                    return Poll::Ready(answer);
                }
            }
            if let Some(answer) = self.ready.pop_front() {
                return Poll::Ready(answer);
            }
            match self.events.poll_next_unpin(cx) {
                Poll::Ready(Some((client, event, events))) => self.happened(client, event, events),
                _ => return Poll::Pending,
            }
        }
    }

    fn done(&mut self, done: Done) -> Option<Answer> {
        match done {
            Done::Connected(client, result) => {
                let result = result.map(|(connection, events)| {
                    self.clients.insert(client, connection);
                    self.listen(client, events);
                });
                Some(Answer::Connected { client, result })
            }
            Done::Answer(answer) => Some(answer),
            Done::Left => None,
        }
    }

    fn listen(&mut self, client: ClientNo, mut events: Events) {
        self.events.push(Box::pin(async move {
            let event = events.recv().await;
            (client, event, events)
        }));
    }

    fn happened(&mut self, client: ClientNo, first: Option<Event>, mut events: Events) {
        let mut next = first;
        let mut taken = 0;
        while let Some(event) = next {
            match event {
                Event::Message(message) => {
                    self.ready.push_back(Answer::Message { client, message });
                }
                Event::Released { .. } => {}
                Event::Closed(_) => {
                    self.clients.remove(&client);
                    self.ready.push_back(Answer::Closed { client });
                    return;
                }
            }
            taken += 1;
            if taken == AT_ONCE {
                return self.listen(client, events);
            }
            next = events.try_recv();
        }
        // Without a first event it is over, which was told.
        if taken > 0 {
            self.listen(client, events);
        }
    }

    fn ask(&mut self, answer: impl Future<Output = Answer> + Send + 'static) {
        self.asks
            .push(Box::pin(async move { Done::Answer(answer.await) }));
    }

    /// Every client leaves in good order.
    pub async fn close(&mut self) {
        let clients = std::mem::take(&mut self.clients).into_values();
        let mut leaving: FuturesUnordered<_> = clients
            .map(|client| async move { client.disconnect().await })
            .collect();
        while leaving.next().await.is_some() {}
    }
}

impl Broker for Brokerage {
    fn connect(&mut self, client: ClientNo, peer: PeerInfo, options: ConnectOptions) {
        let ctx = self.ctx.clone();
        self.asks.push(Box::pin(async move {
            Done::Connected(client, VirtualClient::connect(&ctx, peer, options).await)
        }));
    }

    fn is_closed(&self, client: ClientNo) -> bool {
        let connection = self.clients.get(&client);
        connection.is_none_or(VirtualClient::is_closed)
    }

    fn publish(&mut self, client: ClientNo, message: &Outgoing, job: u64) -> Result<bool, NotNow> {
        let Some(connection) = self.clients.get(&client) else {
            return Err(NotNow::Closed("closed".into()));
        };
        let publishing = connection.try_publish(message)?;
        if message.qos == QoS::AtMostOnce {
            return Ok(true);
        }
        self.ask(async move {
            let code = publishing.await.ok();
            Answer::Published { job, code }
        });
        Ok(false)
    }

    fn subscribe(&mut self, client: ClientNo, filter: &Arc<str>) {
        let (connection, filter) = (self.clients.get(&client).cloned(), Arc::clone(filter));
        self.ask(async move {
            let granted = match connection {
                Some(connection) => {
                    let asked = [(&*filter, QoS::AtLeastOnce)];
                    let codes = connection.subscribe(&asked).await.ok();
                    codes.and_then(|codes| codes.first().map(|code| *code < 0x80))
                }
                None => None,
            };
            Answer::Subscribed {
                client,
                filter,
                granted,
            }
        });
    }

    fn unsubscribe(&mut self, client: ClientNo, filter: &Arc<str>) {
        let (connection, filter) = (self.clients.get(&client).cloned(), Arc::clone(filter));
        self.ask(async move {
            if let Some(connection) = connection {
                // It only fails when the connection has ended, and with it the subscription.
                let _ = connection.unsubscribe(&[&filter]).await;
            }
            Answer::Unsubscribed { client, filter }
        });
    }

    fn ack(&mut self, client: ClientNo, id: u16) {
        if let Some(connection) = self.clients.get(&client) {
            connection.ack(id);
        }
    }

    fn ping(&mut self, client: ClientNo) {
        if let Some(connection) = self.clients.get(&client) {
            connection.ping();
        }
    }

    fn leave(&mut self, client: ClientNo) {
        if let Some(connection) = self.clients.remove(&client) {
            self.asks.push(Box::pin(async move {
                connection.disconnect().await;
                Done::Left
            }));
        }
    }
}

#[cfg(test)]
mod tests;
