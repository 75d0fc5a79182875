//! What the machine of the gateway asks of the world, and what it is told by the configuration.

use crate::packet::Packet;
use crate::topics::Predefined;
use emqttd_plugin_sdk::QoS;
use emqttd_plugin_sdk::virtual_client::{Outgoing, Will};
use std::net::SocketAddr;

/// Where a client is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Peer {
    /// whom datagrams go to
    pub address: SocketAddr,
    /// the client behind that address, when it is a forwarder's
    pub node: Option<Box<[u8]>>,
}

/// A client as the broker's answers name it. One that has gone is not mistaken for the one that has its place now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// place among the clients
    pub slot: u32,
    /// which client of all that ever were
    pub serial: u32,
}

/// What a client has asked of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// a message at QoS 1 or 2
    Publish,
    /// a subscription
    Subscribe,
    /// the end of one
    Unsubscribe,
}

/// A question of a client that the broker has not answered; there are not two alike at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// what it is
    pub kind: Kind,
    /// the client's number of it
    pub msg_id: u16,
}

/// What CONNECT has asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// client identifier; empty = the broker gives one out
    pub client_id: String,
    /// without a past
    pub clean: bool,
    /// its will
    pub will: Option<Will>,
}

/// What has become of a message for the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// it is on its way; at QoS 1 and 2 the answer follows
    Yes,
    /// there is no room now
    Busy,
    /// it is none that MQTT knows
    Invalid,
    /// the connection has ended
    Closed,
}

/// What is counted.
#[allow(missing_docs)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Count {
    /// a datagram that is no packet
    Malformed,
    /// sent again, with DUP or as a REGISTER
    Retransmitted,
    /// a client that did not answer in time
    Lost,
    /// a CONNECT that found no room
    Refused,
    /// for a client: too much waits, or it does not want it
    Dropped,
    /// for a client: larger than a datagram
    TooLarge,
    /// of a client, at QoS 0 or -1: the broker has no room
    Busy,
}

/// The socket and the broker.
pub trait World {
    /// A client's connection to the broker.
    type Client;

    /// Sends a packet to a client.
    fn send(&mut self, peer: &Peer, packet: &Packet<'_>);
    /// Connects to the broker; the answer comes by `Machine::connected`.
    fn connect(&mut self, key: Key, peer: &Peer, connect: Connect);
    /// Publishes.
    fn publish(&mut self, key: Key, client: &Self::Client, msg_id: u16, message: Outgoing)
    -> Taken;
    /// Publishes what came at QoS -1 from somebody who is no client.
    fn publish_unconnected(&mut self, message: Outgoing);
    /// Subscribes; the answer comes by `Machine::answered`.
    fn subscribe(&mut self, key: Key, client: &Self::Client, msg_id: u16, filter: &str, qos: QoS);
    /// Ends a subscription; the answer comes by `Machine::answered`.
    fn unsubscribe(&mut self, key: Key, client: &Self::Client, msg_id: u16, filter: &str);
    /// The client has a message: PUBACK, or PUBREC at QoS 2.
    fn ack(&mut self, client: &Self::Client, id: u16);
    /// The client has completed a message: PUBCOMP.
    fn complete(&mut self, client: &Self::Client, id: u16);
    /// Asks to be told by `Machine::caught_up` when what the broker had for the client before has come.
    fn catch_up(&mut self, key: Key, client: &Self::Client);
    /// Puts another will in the place of that of CONNECT.
    fn set_will(&mut self, client: &Self::Client, will: Option<Will>);
    /// The client leaves in good order: no will.
    fn disconnect(&mut self, client: Self::Client);
    /// The client is lost.
    fn abort(&mut self, client: Self::Client, reason: &'static str);
    /// Packets sent so far.
    fn packets_sent(&self) -> u64;
    /// Counts.
    fn count(&mut self, what: Count);
}

/// What the configuration says about the protocol. Times are milliseconds.
#[derive(Debug, Clone)]
pub struct Rules {
    /// `mqtt.sn.gateway_id`
    pub gateway_id: u8,
    /// `mqtt.sn.predefined.topic.$id`
    pub predefined: std::sync::Arc<Predefined>,
    /// `mqtt.sn.enable_qos3`
    pub qos_minus_1: bool,
    /// `mqtt.sn.enable_stats`
    pub stats: bool,
    /// `mqtt.sn.max_clients`
    pub max_clients: usize,
    /// `mqtt.sn.retry_interval`
    pub retry_interval: u64,
    /// `mqtt.sn.max_retries`
    pub max_retries: u32,
    /// `mqtt.sn.sleep_queue`
    pub sleep_queue: usize,
    /// bytes of topic names and of messages that wait, of all clients, from which on no more are kept; of messages at
    /// QoS 1 and 2, from twice as many on
    pub most_bytes: usize,
}

/// What a handler of one client works with.
pub struct Env<'a, W: World> {
    /// milliseconds since the gateway began
    pub now: u64,
    /// the client
    pub key: Key,
    /// socket and broker
    pub world: &'a mut W,
    /// the configuration
    pub rules: &'a Rules,
    /// bytes that all clients held when the handler was called
    pub held: usize,
}

impl<W: World> Env<'_, W> {
    /// Whether clients hold as much as they may, all together.
    pub fn is_full(&self) -> bool {
        self.held >= self.rules.most_bytes
    }
}
