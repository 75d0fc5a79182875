//! Shards on threads of their own, as in a running broker: what only a race would show.

use crate::net::Net;
use crate::packets::*;
use emqttd_broker::{Broker, ConnId, ListenerState, Next, Peer, Shard};
use emqttd_mqtt::{Version, fixed_header};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const MESSAGES: usize = 20_000;
const SHARDS: usize = 3;
const PUBLISHERS: usize = 2;

/// What all threads keep count of.
#[derive(Default)]
struct Count {
    /// how often each message of the group was acknowledged
    acknowledged: Vec<AtomicUsize>,
    /// PUBACKs that publishers have got
    published: AtomicUsize,
    /// messages that the plain subscribers have got
    heard: AtomicUsize,
    /// SUBACKs; publishers wait for those of all subscribers
    subscribed: AtomicUsize,
    stop: AtomicBool,
}

enum Role {
    /// publishes `publisher * MESSAGES + n` in turn, ten at a time
    Publisher {
        number: usize,
        sent: usize,
        open: usize,
    },
    /// a member of the group; all but one come and go
    Member { stays: bool },
    /// hears everything, in order for each publisher
    Listener { next: HashMap<usize, usize> },
}

struct Actor {
    name: String,
    role: Role,
    id: ConnId,
    to_broker: Vec<u8>,
}

/// One shard and its clients.
struct Loop {
    shard: Shard,
    listener: Arc<ListenerState>,
    actors: Vec<Actor>,
    count: Arc<Count>,
    dice: u64,
}

impl Loop {
    fn run(mut self) {
        for at in 0..self.actors.len() {
            self.actors[at].id = at as ConnId;
            self.come(at);
        }
        while !self.count.stop.load(Ordering::Relaxed) {
            self.shard.begin_round();
            for at in 0..self.actors.len() {
                self.play(at);
            }
            if self.shard.has_mail() {
                self.shard.receive();
            }
            self.shard.timers();
            self.shard.take_dirty(&mut Vec::new());
            self.shard.flushed();
            self.shard.post();
            std::thread::yield_now();
        }
    }

    fn come(&mut self, at: usize) {
        let actor = &mut self.actors[at];
        let addr = SocketAddr::from(([127, 0, 0, 1], 1000));
        assert!(self.listener.enter());
        let listener = Arc::clone(&self.listener);
        self.shard.begin_round();
        self.shard.open(
            actor.id,
            Peer {
                addr,
                listener,
                cert_username: None,
                anonymous: true,
                headers: None,
            },
        );
        actor.to_broker = Connect::v3(&actor.name).bytes();
        let filter = match actor.role {
            Role::Publisher { .. } => return,
            Role::Member { .. } => "$share/g/s/+",
            Role::Listener { .. } => "s/+",
        };
        actor
            .to_broker
            .extend(subscribe(Version::V311, 1, &[(filter, 1)]));
    }

    /// Reads what there is, sends what follows.
    fn play(&mut self, at: usize) {
        let id = self.actors[at].id;
        let mut bytes = Vec::new();
        let out = self.shard.output(id);
        while !out.is_empty() {
            let n = out.front().len();
            bytes.extend_from_slice(out.front());
            out.advance(n);
        }
        self.shard.after_write(id, bytes.len(), false);
        let mut rest = &bytes[..];
        while let Ok(Some(header)) = fixed_header(rest) {
            let body = &rest[header.len..header.packet_len()];
            let packet = emqttd_mqtt::decode(Version::V311, header.first, body).unwrap();
            let got = Got::of(&packet);
            rest = &rest[header.packet_len()..];
            if !self.handle(at, &got) {
                return;
            }
        }
        if let Role::Publisher { number, sent, open } = &mut self.actors[at].role {
            let mut new = Vec::new();
            let begun = self.count.subscribed.load(Ordering::Relaxed) >= SHARDS * 3;
            while begun && *sent < MESSAGES && *open < 10 {
                let text = (*number * MESSAGES + *sent).to_string();
                let topic = format!("s/{number}");
                let packet_id = 1 + *sent as u16;
                new.extend(publish(
                    Version::V311,
                    &topic,
                    text.as_bytes(),
                    1,
                    false,
                    packet_id,
                    &[],
                ));
                *sent += 1;
                *open += 1;
            }
            self.actors[at].to_broker.extend(new);
        }
        self.put(at);
    }

    fn put(&mut self, at: usize) {
        let bytes = std::mem::take(&mut self.actors[at].to_broker);
        if bytes.is_empty() {
            return;
        }
        let taken = self.shard.input(self.actors[at].id, &bytes);
        assert!(
            !matches!(taken.next, Next::Move(_)),
            "names were chosen by shard"
        );
        self.actors[at].to_broker = bytes[taken.consumed..].to_vec();
    }

    /// `false` when the client has gone and come again meanwhile.
    fn handle(&mut self, at: usize, got: &Got) -> bool {
        self.dice = self
            .dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let dice = (self.dice >> 33) as usize;
        let Got::Publish(message) = got else {
            if let (Got::PubAck(..), Role::Publisher { open, .. }) =
                (got, &mut self.actors[at].role)
            {
                *open -= 1;
                self.count.published.fetch_add(1, Ordering::Relaxed);
            }
            if let Got::SubAck(..) = got {
                self.count.subscribed.fetch_add(1, Ordering::Relaxed);
            }
            return true;
        };
        let n: usize = message.text().parse().unwrap();
        match &mut self.actors[at].role {
            Role::Publisher { .. } => panic!("it has not subscribed"),
            Role::Listener { next } => {
                let next = next.entry(n / MESSAGES).or_insert(n / MESSAGES * MESSAGES);
                assert_eq!(n, *next, "in the order of its publisher");
                *next += 1;
                self.count.heard.fetch_add(1, Ordering::Relaxed);
            }
            Role::Member { stays } => {
                let stays = *stays;
                if !stays && dice.is_multiple_of(97) {
                    // Gone, with all it has not acknowledged; its session goes with it.
                    let id = self.actors[at].id;
                    self.shard.lost(id, "closed");
                    self.shard.release(id);
                    self.come(at);
                    return false;
                }
                self.count.acknowledged[n].fetch_add(1, Ordering::Relaxed);
            }
        }
        // At once, so that what is counted is what the broker has seen.
        self.actors[at]
            .to_broker
            .extend(ack(Version::V311, 4, message.id, 0));
        self.put(at);
        assert!(self.actors[at].to_broker.is_empty());
        true
    }
}

/// A loop for each shard, with its actors, and the handle to all.
fn loops(count: &Arc<Count>) -> (Broker, Vec<Loop>) {
    // A thread that has to wait for a processor may fall behind by any number: nothing is to be dropped
    // for that.
    let mut net = Net::with(SHARDS, |s| s.session.queue_max_length = 0);
    let mut actors: Vec<Vec<Actor>> = (0..SHARDS).map(|_| Vec::new()).collect();
    for (shard, actors) in actors.iter_mut().enumerate() {
        let mut add = |stem: &str, role: Role| {
            let name = net.name_on(shard, stem);
            actors.push(Actor {
                name,
                role,
                id: 0,
                to_broker: Vec::new(),
            });
        };
        // Subscribers first, so that they hear the first message.
        add(
            "listener",
            Role::Listener {
                next: HashMap::new(),
            },
        );
        // A group without members keeps nothing, so one of them stays.
        add("member-a", Role::Member { stays: shard == 0 });
        add("member-b", Role::Member { stays: false });
    }
    for number in 0..PUBLISHERS {
        let name = net.name_on(number % SHARDS, &format!("publisher{number}-"));
        let role = Role::Publisher {
            number,
            sent: 0,
            open: 0,
        };
        actors[number % SHARDS].push(Actor {
            name,
            role,
            id: 0,
            to_broker: Vec::new(),
        });
    }
    let Net {
        broker,
        shards,
        listener,
        ..
    } = net;
    let loops = shards
        .into_iter()
        .zip(actors)
        .enumerate()
        .map(|(n, (shard, actors))| Loop {
            shard,
            listener: Arc::clone(&listener),
            actors,
            count: Arc::clone(count),
            dice: 0x1234_5678 + n as u64,
        })
        .collect();
    (broker, loops)
}

#[test]
fn a_group_under_way_on_several_threads_gives_each_message_to_one_member() {
    let total = PUBLISHERS * MESSAGES;
    let count = Arc::new(Count {
        acknowledged: (0..total).map(|_| AtomicUsize::new(0)).collect(),
        ..Count::default()
    });
    let (broker, loops) = loops(&count);
    let threads: Vec<_> = loops
        .into_iter()
        .map(|l| std::thread::spawn(move || l.run()))
        .collect();
    let began = Instant::now();
    let done = |count: &Count| {
        count.published.load(Ordering::Relaxed) == total
            && count
                .acknowledged
                .iter()
                .all(|n| n.load(Ordering::Relaxed) > 0)
            && count.heard.load(Ordering::Relaxed) == SHARDS * total
    };
    while !done(&count)
        && began.elapsed() < Duration::from_secs(60)
        && !threads.iter().any(|t| t.is_finished())
    {
        std::thread::yield_now();
    }
    // Management asks while all this goes on, or has gone on.
    let backlog = broker.group_backlog();
    let sess = broker.sessions();
    let met = broker.all_metrics();
    let sessions = broker.sessions().len();
    count.stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().unwrap();
    }
    let times: Vec<usize> = count
        .acknowledged
        .iter()
        .map(|n| n.load(Ordering::Relaxed))
        .collect();
    let (lost, twice) = (
        times.iter().filter(|n| **n == 0).count(),
        times.iter().filter(|n| **n > 1).count(),
    );
    eprintln!(
        "published {} heard {} acked {} sessions {:#?} metrics {:?}",
        count.published.load(Ordering::Relaxed),
        count.heard.load(Ordering::Relaxed),
        times.iter().filter(|n| **n > 0).count(),
        sess,
        met
    );
    assert_eq!((lost, twice, backlog), (0, 0, 0), "lost, twice, left");
    assert_eq!(count.heard.load(Ordering::Relaxed), SHARDS * total);
    assert_eq!(sessions, SHARDS * 3 + PUBLISHERS);
}
