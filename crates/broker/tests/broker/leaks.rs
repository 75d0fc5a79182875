//! Whatever clients do: when everybody has gone nothing is left.

use crate::net::{Client, Net};
use crate::packets::*;
use emqttd_broker::Broker;
use emqttd_mqtt::{Property, Version};
use std::collections::BTreeMap;
use std::time::Duration;

/// xorshift64*: the same scenario for the same seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

const FILTERS: &[&str] = &[
    "a",
    "a/b",
    "a/+",
    "#",
    "+/b",
    "$local/a",
    "$local/a/b",
    "$queue/a",
    "$share/g/a",
    "$share/g/a/b",
    "$share/h/#",
    "$SYS/#",
    "a/b/c/d/e/f",
    "+",
];
const TOPICS: &[&str] = &["a", "a/b", "a/c", "b", "a/b/c/d/e/f", "w"];

struct Scenario {
    net: Net,
    random: Random,
    /// open connections by client id
    here: BTreeMap<usize, Client>,
}

fn name(n: usize) -> String {
    format!("client{n}")
}

impl Scenario {
    fn connect(&mut self) {
        let n = self.random.below(12);
        let v5 = self.random.one_in(2);
        let mut connect = if v5 {
            Connect::v5(&name(n))
        } else {
            Connect::v3(&name(n))
        };
        connect.clean = self.random.one_in(3);
        if v5 && self.random.one_in(2) {
            connect = connect.expiry([1, 5, 60][self.random.below(3)]);
        }
        if v5 && self.random.one_in(3) {
            connect = connect.property(Property::ReceiveMaximum(1 + self.random.below(4) as u16));
        }
        if v5 && self.random.one_in(4) {
            connect = connect.property(Property::MaximumPacketSize(40));
        }
        if self.random.one_in(2) {
            let topic = self.random.of(TOPICS);
            let (qos, retain) = (self.random.below(3) as u8, self.random.one_in(3));
            connect = connect.will(topic, "will", qos, retain);
            if v5 && self.random.one_in(2) {
                connect =
                    connect.will_property(Property::WillDelayInterval(self.random.below(9) as u32));
            }
        }
        let shard = self.random.below(self.net.shards.len());
        let client = self.net.open(shard);
        self.net.connect_on(client, &connect);
        if self.random.one_in(4) {
            self.net.silent(client);
        }
        self.here.insert(n, client);
    }

    fn some_client(&mut self) -> Option<(usize, Client)> {
        let at = self.random.below(self.here.len().max(1));
        self.here.iter().nth(at).map(|(n, client)| (*n, *client))
    }

    fn step(&mut self) {
        let Some((n, client)) = self.some_client().filter(|_| !self.random.one_in(6)) else {
            return self.connect();
        };
        let version = self.net.version(client);
        match self.random.below(16) {
            0..=3 => {
                let id = self.net.next_id(client);
                let filters: Vec<(&str, u8)> = (0..1 + self.random.below(3))
                    .map(|_| (self.random.of(FILTERS), self.random.below(3) as u8))
                    .collect();
                self.net.send(client, &subscribe(version, id, &filters));
            }
            4..=5 => {
                let id = self.net.next_id(client);
                let filters: Vec<&str> = (0..1 + self.random.below(3))
                    .map(|_| self.random.of(FILTERS))
                    .collect();
                self.net.send(client, &unsubscribe(version, id, &filters));
            }
            6..=9 => {
                let topic = self.random.of(TOPICS);
                let payload = [
                    "",
                    "x",
                    "long enough to be too large for some of them, who take 40 bytes",
                ];
                let payload = payload[self.random.below(3)];
                let (qos, retain) = (self.random.below(3) as u8, self.random.one_in(4));
                let id = self.net.put_publish(client, topic, payload, qos, retain);
                self.net.run();
                if qos == 2 && !self.random.one_in(5) {
                    self.net.send(client, &ack(version, 6, id, 0));
                }
            }
            10 => {
                // Any acknowledgement, also of what was never sent.
                let kind = 4 + self.random.below(4) as u8;
                let id = 1 + self.random.below(20) as u16;
                self.net.send(client, &ack(version, kind, id, 0));
            }
            11 => {
                self.net.lose(client);
                self.here.remove(&n);
            }
            12 => {
                let reason = if version == Version::V5 && self.random.one_in(2) {
                    4
                } else {
                    0
                };
                self.net.send(client, &disconnect(version, reason));
            }
            13 => {
                let step = [100, 900, 3000, 20_000][self.random.below(4)];
                self.net.advance(step);
            }
            14 => {
                let room = [0, 10, usize::MAX][self.random.below(3)];
                self.net.set_room(client, room);
            }
            _ => {
                let (name, filter) = (name(n), self.random.of(FILTERS));
                let what = self.random.below(4);
                self.net.admin(move |broker: &Broker| match what {
                    0 => drop(broker.kick(&name)),
                    1 => drop(broker.subscribe(&name, filter, 1)),
                    2 => drop(broker.unsubscribe(&name, filter)),
                    _ => drop(broker.publish(&name, "a/b", b"x", 1, false)),
                });
            }
        }
        for client in self.here.values().copied().collect::<Vec<_>>() {
            if self.random.one_in(2) {
                self.net.take(client);
            }
        }
        let Scenario { net, here, .. } = self;
        here.retain(|_, client| net.closed(*client).is_none());
    }

    /// What the gauges say is what is there.
    fn check(&mut self, seed: u64) {
        let (sessions, subscriptions, clients) = self
            .net
            .admin(|broker| (broker.sessions(), broker.subscriptions(), broker.clients()));
        let net = &self.net;
        assert_eq!(
            net.stat("clients/count"),
            clients.len() as u64,
            "seed {seed}"
        );
        assert_eq!(
            net.stat("sessions/count"),
            sessions.len() as u64,
            "seed {seed}"
        );
        assert_eq!(
            net.stat("subscriptions/count"),
            subscriptions.len() as u64,
            "seed {seed}"
        );
        assert_eq!(
            net.stat("subscribers/count"),
            subscriptions.len() as u64,
            "seed {seed}"
        );
        let mut filters: Vec<String> = subscriptions.into_iter().map(|s| s.topic).collect();
        filters.sort();
        filters.dedup();
        let mut routes: Vec<String> = net.broker.routes().into_iter().map(|r| r.topic).collect();
        routes.sort();
        assert_eq!(routes, filters, "seed {seed}");
        assert_eq!(net.stat("routes/count"), routes.len() as u64, "seed {seed}");
        let held: usize = sessions.iter().map(|s| s.subscriptions).sum();
        assert_eq!(net.stat("subscriptions/count"), held as u64, "seed {seed}");
        let open = (0..12)
            .filter(|n| clients.iter().any(|c| c.clientid == name(*n)))
            .count();
        assert_eq!(open, clients.len(), "seed {seed}");
        assert!(
            clients.iter().all(|c| sessions
                .iter()
                .any(|s| s.clientid == c.clientid && s.online)),
            "seed {seed}"
        );
    }
}

fn scenario(seed: u64, steps: usize) {
    let shards = 1 + seed as usize % 4;
    let net = Net::with(shards, |s| {
        s.session.expiry_interval = Duration::from_secs(30);
        s.session.max_inflight = 3;
        s.session.queue_max_length = 5;
        s.session.queue_store_qos0 = seed.is_multiple_of(2);
        s.mqtt.max_send_buffer = 4096;
    });
    let random = Random::new(seed);
    let mut scenario = Scenario {
        net,
        random,
        here: BTreeMap::new(),
    };
    for step in 0..steps {
        scenario.step();
        if step % 50 == 0 {
            scenario.check(seed);
        }
    }
    scenario.check(seed);
    let mut net = scenario.net;
    for client in scenario.here.into_values() {
        net.lose(client);
    }
    net.advance(200_000);
    let left: Vec<(&str, u64)> = net
        .broker
        .stats()
        .into_iter()
        .filter(|(name, n)| name.ends_with("/count") && !name.starts_with("retained") && *n > 0)
        .collect();
    assert_eq!(left, [], "seed {seed}");
    assert_eq!(net.broker.routes(), [], "seed {seed}");
    assert_eq!(net.broker.group_backlog(), 0, "seed {seed}");
    assert_eq!(net.listener.current(), 0, "seed {seed}");
    assert_eq!(net.broker.alarms().len(), 0, "seed {seed}");
    assert!(net.metric("messages/received") > 0);
    assert!(net.admin(|broker| broker.sessions()).is_empty());
}

#[test]
fn nothing_is_left_when_everybody_has_gone() {
    for seed in 1..=40 {
        scenario(seed, 400);
    }
}
