//! The client that publishes what comes at QoS -1 from devices that are not connected.
//!
//! It is a client as any other: the broker authenticates it, and its ACL is asked. It connects with the first message.

use emqttd_plugin_sdk::virtual_client::{Outgoing, VirtualClient};
use std::collections::VecDeque;

/// Its client identifier.
pub const CLIENT_ID: &str = "NegQos-Client";
/// Messages that wait for its CONNACK at the most.
const WAITING: usize = 100;
/// How long no connection is tried after one was refused, milliseconds.
const BACK_OFF: u64 = 1000;

/// The client, if it is there.
#[derive(Default)]
pub struct Unconnected {
    state: State,
    /// which connection of all that ever were
    serial: u32,
}

#[derive(Default)]
enum State {
    #[default]
    Away,
    /// not before that time again
    Refused(u64),
    Connecting(VecDeque<Outgoing>),
    Here(VirtualClient),
}

/// What is to be done with a message.
pub enum Next {
    /// nothing: it waits
    Nothing,
    /// it waits, and a connection is to be made with that number
    Connect(u32),
    /// it cannot be published now
    Drop,
}

impl Unconnected {
    /// A message has come.
    pub fn publish(&mut self, now: u64, message: Outgoing) -> Next {
        match &mut self.state {
            State::Here(client) => match client.try_publish(&message) {
                Ok(_) => Next::Nothing,
                Err(_) => Next::Drop,
            },
            State::Connecting(waiting) if waiting.len() < WAITING => {
                waiting.push_back(message);
                Next::Nothing
            }
            State::Connecting(_) => Next::Drop,
            State::Refused(until) if now < *until => Next::Drop,
            State::Away | State::Refused(_) => {
                self.state = State::Connecting(VecDeque::from([message]));
                self.serial = self.serial.wrapping_add(1);
                Next::Connect(self.serial)
            }
        }
    }

    /// The broker has let it in, or not; how many messages are lost.
    pub fn connected(&mut self, now: u64, serial: u32, client: Option<VirtualClient>) -> usize {
        if serial != self.serial {
            return 0;
        }
        let State::Connecting(waiting) = std::mem::take(&mut self.state) else {
            return 0;
        };
        let Some(client) = client else {
            self.state = State::Refused(now + BACK_OFF);
            return waiting.len();
        };
        let lost = waiting.iter().filter(|m| client.try_publish(m).is_err());
        let lost = lost.count();
        self.state = State::Here(client);
        lost
    }

    /// The broker has ended it.
    pub fn closed(&mut self, now: u64, serial: u32) {
        if serial == self.serial {
            self.state = State::Refused(now + BACK_OFF);
        }
    }

    /// It is not wanted any more, or is to come back with other credentials.
    pub fn leave(&mut self) -> Option<VirtualClient> {
        match std::mem::take(&mut self.state) {
            State::Here(client) => Some(client),
            _ => None,
        }
    }
}
