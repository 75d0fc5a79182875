//! A client that speaks QoS 0, 1 and 2 in both directions exactly by the standard.

use crate::rng::Rng;
use emqttd_mqtt::{QoS, ReasonCode, Version};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

/// What the broker sends.
#[derive(Debug, Clone, Copy)]
pub enum ToClient {
    Publish {
        num: u32,
        level: u8,
        qos: QoS,
        id: u16,
        dup: bool,
    },
    PubRel {
        id: u16,
        reason: ReasonCode,
    },
    PubAck {
        id: u16,
    },
    PubRec {
        id: u16,
    },
    PubComp {
        id: u16,
    },
}

/// What the client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToServer {
    Publish { seq: u64, qos: QoS, id: u16 },
    PubRel { id: u16 },
    PubAck { id: u16 },
    PubRec { id: u16, refused: bool },
    PubComp { id: u16 },
}

impl ToServer {
    /// The identifier, of an acknowledgement in the flows of what the broker sends.
    fn ack_id(self) -> Option<u16> {
        match self {
            ToServer::PubAck { id } | ToServer::PubRec { id, .. } | ToServer::PubComp { id } => {
                Some(id)
            }
            ToServer::Publish { .. } | ToServer::PubRel { .. } => None,
        }
    }
}

/// A message of the client's that is not yet finished.
#[derive(Debug)]
struct Outgoing {
    id: u16,
    seq: u64,
    qos: QoS,
    released: bool,
}

/// What the application saw of one delivery.
#[derive(Debug, Default, Clone, Copy)]
pub struct Seen {
    /// PUBLISH packets that arrived
    pub packets: u32,
    /// times it was handed to the application
    pub handed: u32,
}

#[derive(Debug)]
pub struct Client {
    // kept over connections
    received: HashSet<u16>,
    outgoing: Vec<Outgoing>,
    last_id: u16,
    id_space: u16,
    last_seq: u64,
    pub seen: BTreeMap<u32, Seen>,
    last_first_seen: HashMap<(u8, QoS), u32>,
    /// the broker may have forgotten that it sent something at QoS 1
    forgetful: bool,
    /// messages whose flow the client has seen to its end
    pub completed: Vec<(u64, QoS)>,
    // of one connection
    version: Version,
    receive_maximum: u16,
    send_quota: usize,
    unsent: VecDeque<u16>,
    sent: HashSet<u16>,
    pending: Vec<ToServer>,
    unacknowledged: HashSet<u16>,
    // habits
    pub refuses: bool,
    pub shuffles_acks: bool,
}

impl Client {
    pub fn new(id_space: u16) -> Client {
        Client {
            received: HashSet::new(),
            outgoing: Vec::new(),
            last_id: 0,
            id_space,
            last_seq: 0,
            seen: BTreeMap::new(),
            last_first_seen: HashMap::new(),
            forgetful: false,
            completed: Vec::new(),
            version: Version::V311,
            receive_maximum: u16::MAX,
            send_quota: 0,
            unsent: VecDeque::new(),
            sent: HashSet::new(),
            pending: Vec::new(),
            unacknowledged: HashSet::new(),
            refuses: false,
            shuffles_acks: false,
        }
    }

    /// A new connection: what was not finished is to be sent again, in its order [MQTT-4.4.0-1].
    pub fn connected(&mut self, version: Version, receive_maximum: u16, send_quota: usize) {
        self.version = version;
        self.receive_maximum = receive_maximum;
        self.send_quota = send_quota;
        self.pending.clear();
        self.unacknowledged.clear();
        self.sent.clear();
        self.unsent = self.outgoing.iter().map(|out| out.id).collect();
    }

    /// The broker may have forgotten what it sent at QoS 1, and what it did with older messages before. At
    /// QoS 2 nothing leaves it that it can forget.
    pub fn broker_crashed(&mut self) {
        self.forgetful = true;
        self.last_first_seen
            .retain(|(_, qos), _| *qos == QoS::ExactlyOnce);
    }

    /// Begins to publish a message; `None` when all identifiers are in use.
    pub fn publish(&mut self, qos: QoS) -> Option<u64> {
        if self.outgoing.len() >= usize::from(self.id_space) {
            return None;
        }
        loop {
            self.last_id = self.last_id % self.id_space + 1;
            if !self.outgoing.iter().any(|out| out.id == self.last_id) {
                break;
            }
        }
        self.last_seq += 1;
        self.outgoing.push(Outgoing {
            id: self.last_id,
            seq: self.last_seq,
            qos,
            released: false,
        });
        self.unsent.push_back(self.last_id);
        Some(self.last_seq)
    }

    pub fn outgoing_len(&self) -> usize {
        self.outgoing.len()
    }

    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// Sends of its own messages what the broker's receive maximum allows.
    pub fn pump(&mut self, up: &mut VecDeque<ToServer>) {
        while let Some(&id) = self.unsent.front() {
            let Some(out) = self.outgoing.iter().find(|out| out.id == id) else {
                self.unsent.pop_front();
                continue;
            };
            if out.released {
                up.push_back(ToServer::PubRel { id });
            } else if self.sent.len() < self.send_quota {
                self.sent.insert(id);
                up.push_back(ToServer::Publish {
                    seq: out.seq,
                    qos: out.qos,
                    id,
                });
            } else {
                break;
            }
            self.unsent.pop_front();
        }
    }

    /// Sends one of the acknowledgements it has ready. Those under one identifier stay in order.
    pub fn acknowledge(&mut self, rng: &mut Rng, up: &mut VecDeque<ToServer>) {
        if self.pending.is_empty() {
            return;
        }
        let mut at = if self.shuffles_acks {
            rng.index(self.pending.len())
        } else {
            0
        };
        let id = self.pending[at].ack_id();
        at = self
            .pending
            .iter()
            .position(|ack| ack.ack_id() == id)
            .unwrap_or(at);
        let ack = self.pending.remove(at);
        match ack {
            ToServer::PubAck { id }
            | ToServer::PubComp { id }
            | ToServer::PubRec { id, refused: true } => {
                self.unacknowledged.remove(&id);
            }
            _ => {}
        }
        up.push_back(ack);
    }

    /// The acknowledgement under `id` went another way.
    pub fn drop_ack_of(&mut self, id: u16) {
        self.pending.retain(|ack| ack.ack_id() != Some(id));
        self.unacknowledged.remove(&id);
    }

    /// A packet from the broker.
    pub fn receive(&mut self, packet: ToClient, rng: &mut Rng) {
        match packet {
            ToClient::Publish {
                num,
                level,
                qos,
                id,
                dup,
            } => self.on_publish(num, level, qos, id, dup, rng),
            ToClient::PubRel { id, reason } => {
                // Whether the identifier is known or not, the answer is PUBCOMP [MQTT-4.3.3-11].
                if self.received.remove(&id) {
                    assert_eq!(
                        reason,
                        ReasonCode::SUCCESS,
                        "PUBREL {id} for a message received says it is unknown"
                    );
                }
                self.pending.push(ToServer::PubComp { id });
            }
            ToClient::PubAck { id } => self.finish(id, QoS::AtLeastOnce),
            ToClient::PubRec { id } => {
                if let Some(out) = self
                    .outgoing
                    .iter_mut()
                    .find(|out| out.id == id && out.qos == QoS::ExactlyOnce)
                    && !out.released
                {
                    out.released = true;
                    // [MQTT-4.3.3-4]
                    self.unsent.push_front(id);
                }
            }
            ToClient::PubComp { id } => self.finish(id, QoS::ExactlyOnce),
        }
    }

    fn finish(&mut self, id: u16, qos: QoS) {
        let at = self
            .outgoing
            .iter()
            .position(|out| out.id == id && out.qos == qos);
        let at = at
            .unwrap_or_else(|| panic!("the broker ends a flow {id} that the client does not have"));
        let out = self.outgoing.remove(at);
        assert!(
            qos == QoS::AtLeastOnce || out.released,
            "PUBCOMP {id} before PUBREL"
        );
        self.sent.remove(&id);
        self.completed.push((out.seq, qos));
    }

    fn on_publish(&mut self, num: u32, level: u8, qos: QoS, id: u16, dup: bool, rng: &mut Rng) {
        let seen = self.seen.entry(num).or_default();
        seen.packets += 1;
        assert!(
            dup || seen.packets == 1 || (self.forgetful && qos == QoS::AtLeastOnce),
            "delivery {num} came again without DUP [MQTT-3.3.1-1]"
        );
        if seen.packets == 1 {
            let last = self.last_first_seen.entry((level, qos)).or_default();
            assert!(
                *last < num,
                "delivery {num} of {qos:?} after {last} [MQTT-4.6.0-6]"
            );
            *last = num;
        }
        match qos {
            QoS::AtMostOnce => seen.handed += 1,
            QoS::AtLeastOnce => {
                seen.handed += 1;
                self.unacknowledged.insert(id);
                self.pending.push(ToServer::PubAck { id });
            }
            QoS::ExactlyOnce => {
                self.unacknowledged.insert(id);
                let refused = !self.received.contains(&id)
                    && self.version == Version::V5
                    && self.refuses
                    && rng.percent(20);
                if !refused && self.received.insert(id) {
                    seen.handed += 1;
                }
                self.pending.push(ToServer::PubRec { id, refused });
            }
        }
        let open = self.unacknowledged.len();
        assert!(
            open <= usize::from(self.receive_maximum),
            "{open} messages open [MQTT-3.3.4-9]"
        );
    }

    /// Nothing is open on the client's side of the broker's messages.
    pub fn is_quiet(&self) -> bool {
        self.pending.is_empty() && self.received.is_empty() && self.unacknowledged.is_empty()
    }
}
