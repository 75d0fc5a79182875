//! The broker's side of what the client publishes, and what it must have handed out in the end.

use crate::client::ToClient;
use crate::store::{Record, State};
use emqttd_mqtt::{QoS, Version};
use emqttd_session::{Inbound, Limits, Message, MessageParts, Session};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

#[derive(Debug)]
pub struct Inflow {
    /// identifier → message and since when it waits for PUBREL
    awaiting: BTreeMap<u16, (u64, u64)>,
    /// times each message was handed out
    handed: HashMap<u64, u32>,
    given_up: HashSet<u64>,
    /// a 3.x client was not answered for want of room, or what it had begun was given up
    pub turned_away: bool,
    most: usize,
    timeout: u64,
    version: Version,
}

fn message(seq: u64) -> Arc<Message> {
    let payload = seq.to_be_bytes();
    let parts = MessageParts {
        topic: "in",
        properties: &[],
        payload: &payload,
        qos: QoS::ExactlyOnce,
        retain: false,
    };
    Arc::new(Message::new(parts, None, 0, u64::MAX))
}

fn seq(message: &Message) -> u64 {
    u64::from_be_bytes(
        message
            .payload()
            .try_into()
            .expect("eight bytes were put in"),
    )
}

impl Inflow {
    pub fn new(limits: &Limits) -> Inflow {
        Inflow {
            awaiting: BTreeMap::new(),
            handed: HashMap::new(),
            given_up: HashSet::new(),
            turned_away: false,
            most: if limits.max_awaiting_rel == 0 {
                65_535
            } else {
                usize::from(limits.max_awaiting_rel)
            },
            timeout: limits.await_rel_timeout,
            version: Version::V311,
        }
    }

    /// After a crash: what the store remembers; returns what waits for its PUBREL.
    pub fn restore(&mut self, state: &State) -> Vec<(u16, Arc<Message>)> {
        let awaiting = state.awaiting.iter();
        self.awaiting = awaiting.clone().map(|(id, seq)| (*id, (*seq, 0))).collect();
        self.handed = state.routed.clone();
        awaiting.map(|(id, seq)| (*id, message(*seq))).collect()
    }

    pub fn awaiting_len(&self) -> usize {
        self.awaiting.len()
    }

    /// A new connection; returns how many messages the client may have open: the broker's receive maximum.
    pub fn attach(&mut self, version: Version, now: u64) -> usize {
        self.version = version;
        for (_, since) in self.awaiting.values_mut() {
            *since = now;
        }
        if version == Version::V5 {
            self.most
        } else {
            usize::MAX
        }
    }

    pub fn publish(
        &mut self,
        session: &mut Session,
        seq: u64,
        qos: QoS,
        id: u16,
        now: u64,
        records: &mut Vec<Record>,
    ) -> Option<ToClient> {
        if qos == QoS::AtLeastOnce {
            *self.handed.entry(seq).or_default() += 1;
            records.push(Record::Routed { seq });
            return Some(ToClient::PubAck { id });
        }
        let wanted = match self.awaiting.get(&id) {
            Some((kept, _)) => {
                assert_eq!(
                    *kept, seq,
                    "{id} still stands for another message of the client's"
                );
                Inbound::Duplicate
            }
            None if self.awaiting.len() >= self.most => Inbound::Full,
            None => Inbound::New,
        };
        let mut made = false;
        let got = session.begin_qos2(id, now, || {
            made = true;
            message(seq)
        });
        assert_eq!(got, wanted, "PUBLISH {id}");
        assert_eq!(made, got == Inbound::New);
        match got {
            Inbound::New => {
                self.awaiting.insert(id, (seq, now));
                records.push(Record::Await { id, seq });
            }
            Inbound::Duplicate => {}
            Inbound::Replaced(_) => panic!("a client of the standard leaves nothing behind"),
            Inbound::Full => {
                assert_ne!(
                    self.version,
                    Version::V5,
                    "a client that keeps to the receive maximum is turned away"
                );
                self.turned_away = true;
                return None;
            }
        }
        assert!(session.awaits(id));
        Some(ToClient::PubRec { id })
    }

    /// PUBREL: the message goes out, once [MQTT-4.3.3-12].
    pub fn release(
        &mut self,
        session: &mut Session,
        id: u16,
        records: &mut Vec<Record>,
    ) -> ToClient {
        let got = session.release(id).map(|message| seq(&message));
        assert_eq!(
            got,
            self.awaiting.remove(&id).map(|(seq, _)| seq),
            "PUBREL {id}"
        );
        assert!(!session.awaits(id));
        if let Some(seq) = got {
            records.extend([Record::Unawait { id }, Record::Routed { seq }]);
            *self.handed.entry(seq).or_default() += 1;
        }
        ToClient::PubComp { id }
    }

    /// The timer ran and gave up these.
    pub fn timer(&mut self, given_up: &[(u16, Arc<Message>)], now: u64, records: &mut Vec<Record>) {
        for (told, message) in given_up {
            let seq = seq(message);
            assert!(
                self.timeout > 0 && self.version != Version::V5,
                "{seq} given up"
            );
            let id = self
                .awaiting
                .iter()
                .find(|(_, kept)| kept.0 == seq)
                .map(|(id, _)| *id);
            assert_eq!(id, Some(*told), "identifier of a message given up");
            records.push(Record::Unawait { id: *told });
            let (_, since) = self
                .awaiting
                .remove(&id.expect("it was kept"))
                .expect("just found");
            assert!(since + self.timeout <= now, "{seq} given up too early");
            self.given_up.insert(seq);
            self.turned_away = true;
        }
    }

    /// When the next 3.x message is given up.
    pub fn deadline(&self) -> Option<u64> {
        let oldest = self.awaiting.values().map(|(_, since)| *since).min();
        oldest
            .filter(|_| self.timeout > 0)
            .map(|since| since + self.timeout)
    }

    /// Every message whose flow the client saw to its end was handed out.
    pub fn check(&self, completed: &[(u64, QoS)]) {
        for (seq, qos) in completed {
            let handed = self.handed.get(seq).copied().unwrap_or(0);
            match qos {
                QoS::AtMostOnce => {}
                QoS::AtLeastOnce => {
                    assert!(handed >= 1, "QoS 1 message {seq} of the client's is lost")
                }
                QoS::ExactlyOnce if self.given_up.contains(seq) => assert!(handed <= 1),
                QoS::ExactlyOnce => assert_eq!(handed, 1, "QoS 2 message {seq} of the client's"),
            }
        }
    }
}
