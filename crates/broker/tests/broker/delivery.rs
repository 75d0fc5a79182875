//! Random traffic against a model: every subscriber gets exactly what it should, in order, whatever
//! connections do.

use crate::leaks::Random;
use crate::net::{Client, Net};
use crate::packets::*;
use std::collections::BTreeMap;

const FILTERS: &[&str] = &["a", "a/+", "a/#", "+/x", "#", "b/x"];
const TOPICS: &[&str] = &["a", "a/x", "a/y", "b/x", "c"];
const CLIENTS: usize = 6;

/// The rules of section 4.7, in the simplest words.
fn matches(filter: &str, topic: &str) -> bool {
    let (filter, topic): (Vec<&str>, Vec<&str>) =
        (filter.split('/').collect(), topic.split('/').collect());
    for (n, level) in filter.iter().enumerate() {
        match *level {
            "#" => return true,
            "+" if n < topic.len() => {}
            level if topic.get(n) == Some(&level) => {}
            _ => return false,
        }
    }
    filter.len() == topic.len()
}

/// One client, and what the model knows of it.
#[derive(Default)]
struct Subscriber {
    link: Option<Client>,
    subscriptions: BTreeMap<&'static str, u8>,
    /// copies that must come: message number and QoS, with how many
    owed: BTreeMap<(usize, u8), usize>,
    /// the last number from each publisher at each QoS
    last: BTreeMap<(usize, u8), usize>,
}

struct Model {
    net: Net,
    random: Random,
    all: Vec<Subscriber>,
    /// messages so far; each carries its number and its publisher
    messages: usize,
    seed: u64,
}

fn connect(n: usize) -> Connect {
    Connect::v3(&format!("c{n}")).keep()
}

impl Model {
    fn new(seed: u64) -> Model {
        let net = Net::with(1 + seed as usize % 4, |s| {
            s.session.max_inflight = 1 + seed as u16 % 5;
            s.session.queue_max_length = 0;
            s.session.queue_store_qos0 = true;
            s.session.retry_interval = std::time::Duration::from_secs(1000);
        });
        let all = (0..CLIENTS).map(|_| Subscriber::default()).collect();
        Model {
            net,
            random: Random::new(seed),
            all,
            messages: 0,
            seed,
        }
    }

    fn read(&mut self, n: usize) {
        let Some(client) = self.all[n].link else {
            return;
        };
        let got = self.net.messages(client);
        self.see(n, got);
    }

    fn see(&mut self, n: usize, got: Vec<Publish>) {
        let (seed, who) = (self.seed, &mut self.all[n]);
        for message in got {
            let text = message.text();
            let (number, publisher) = text.split_once(' ').unwrap();
            let (number, publisher): (usize, usize) =
                (number.parse().unwrap(), publisher.parse().unwrap());
            let key = (number, message.qos);
            let Some(copies) = who.owed.get_mut(&key) else {
                panic!("seed {seed}: c{n} is not owed {message:?}")
            };
            *copies -= 1;
            if *copies == 0 {
                who.owed.remove(&key);
            }
            let last = who.last.entry((publisher, message.qos)).or_insert(number);
            // [MQTT-4.6.0-6]
            assert!(
                *last <= number,
                "seed {seed}: c{n} got {number} after {last} at QoS {}",
                message.qos
            );
            *last = number;
        }
    }

    fn publish(&mut self, n: usize, client: Client) {
        let topic = TOPICS[self.random.below(TOPICS.len())];
        for _ in 0..1 + self.random.below(8) {
            let qos = self.random.below(3) as u8;
            let number = self.messages;
            self.messages += 1;
            for who in &mut self.all {
                for (_, most) in who
                    .subscriptions
                    .iter()
                    .filter(|(filter, _)| matches(filter, topic))
                {
                    *who.owed.entry((number, qos.min(*most))).or_default() += 1;
                }
            }
            self.net
                .publish(client, topic, &format!("{number} {n}"), qos);
        }
    }

    fn step(&mut self) {
        let n = self.random.below(CLIENTS);
        let Some(client) = self.all[n].link else {
            let (client, _, got) = self.net.resume(&connect(n));
            self.all[n].link = Some(client);
            let got = got
                .into_iter()
                .filter_map(|g| {
                    if let Got::Publish(m) = g {
                        Some(m)
                    } else {
                        None
                    }
                })
                .collect();
            return self.see(n, got);
        };
        match self.random.below(12) {
            0..=1 => {
                self.read(n);
                let (filter, qos) = (
                    FILTERS[self.random.below(FILTERS.len())],
                    self.random.below(3) as u8,
                );
                assert_eq!(self.net.subscribe(client, filter, qos), qos);
                self.all[n].subscriptions.insert(filter, qos);
            }
            2 => {
                self.read(n);
                let filter = FILTERS[self.random.below(FILTERS.len())];
                self.net.unsubscribe(client, filter);
                self.all[n].subscriptions.remove(filter);
            }
            3..=7 => self.publish(n, client),
            8..=9 => self.read(n),
            10 => {
                self.read(n);
                self.net.lose(client);
                self.all[n].link = None;
            }
            _ => {
                // What is on the wire goes with the connection; QoS 0 is not sent again.
                let who = &mut self.all[n];
                let qos0: Vec<(usize, u8)> = who
                    .owed
                    .keys()
                    .filter(|(_, qos)| *qos == 0)
                    .copied()
                    .collect();
                for key in qos0 {
                    who.owed.remove(&key);
                }
                self.net.lose(client);
                self.all[n].link = None;
            }
        }
    }
}

#[test]
fn every_subscriber_gets_exactly_what_it_is_owed_in_order() {
    for seed in 1..=40 {
        let mut model = Model::new(seed);
        for _ in 0..400 {
            model.step();
        }
        for n in 0..CLIENTS {
            if model.all[n].link.is_none() {
                let (client, _, got) = model.net.resume(&connect(n));
                model.all[n].link = Some(client);
                let got = got
                    .into_iter()
                    .filter_map(|g| {
                        if let Got::Publish(m) = g {
                            Some(m)
                        } else {
                            None
                        }
                    })
                    .collect();
                model.see(n, got);
            }
            model.read(n);
            assert_eq!(
                model.all[n].owed,
                BTreeMap::new(),
                "seed {seed}: c{n} never got these"
            );
        }
        assert!(
            model.messages > 400,
            "seed {seed}: too little to say anything"
        );
    }
}
