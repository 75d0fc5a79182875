//! Shards without sockets: all of them on the thread of the test, at a time that the test chooses.
//!
//! [`Net`] does what the event loop of `crates/net` does: it opens connections, hands in bytes, moves
//! connections between shards, writes outputs (here: into memory), and goes round until nothing is left.

use crate::packets::*;
use emqttd_broker::{Broker, ConnId, ListenerState, Next, Peer, Shard, Storage};
use emqttd_config::Settings;
use emqttd_mqtt::{Packet, Version, fixed_header};
use emqttd_plugin_sdk::{RetainSettings, RetainStorage};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A client of the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Client(usize);

/// One connection as its client and the event loop see it.
struct Link {
    shard: usize,
    id: ConnId,
    version: Version,
    /// not yet used by the broker
    to_broker: Vec<u8>,
    /// not yet read by the test
    from_broker: Vec<u8>,
    /// bytes the client still takes; `usize::MAX` = all
    room: usize,
    paused_until: u64,
    /// why the broker closed it
    closed: Option<&'static str>,
    next_id: u16,
    /// packets this client would acknowledge by itself
    auto_ack: bool,
    moves: usize,
}

/// A broker with its event loops.
pub struct Net {
    pub broker: Broker,
    pub shards: Vec<Shard>,
    /// milliseconds
    pub now: u64,
    pub listener: Arc<ListenerState>,
    /// a shard that does nothing for the time being
    pub stuck: Option<usize>,
    /// the most bytes that have waited on one shard to be written
    pub peak: usize,
    links: Vec<Link>,
    used: Vec<BTreeMap<ConnId, Client>>,
}

/// Settings of a broker with one listener, on which everybody may come in.
pub fn settings() -> Settings {
    let text = b"node.name = emq@127.0.0.1\nmqtt.allow_anonymous = true\nlistener.tcp.test = 127.0.0.1:1883\n";
    emqttd_config::load_text(text).unwrap().settings
}

/// Retained messages in memory, without limits.
pub fn retainer() -> RetainSettings {
    RetainSettings {
        storage: RetainStorage::Ram,
        max_message_num: 0,
        max_payload_size: 0,
        expiry_interval: Duration::ZERO,
    }
}

impl Net {
    pub fn new(shards: usize) -> Net {
        Net::with(shards, |_| {})
    }

    pub fn with(shards: usize, change: impl FnOnce(&mut Settings)) -> Net {
        let mut settings = settings();
        change(&mut settings);
        Net::of(settings, shards, None)
    }

    /// With what is in a store.
    pub fn of(settings: Settings, shards: usize, storage: Option<Storage>) -> Net {
        let listener = Arc::new(ListenerState::new(settings.listeners[0].clone()));
        let (broker, shards) = Broker::open(settings, shards, storage).unwrap();
        broker.retain(Some(retainer())).unwrap();
        let used = shards.iter().map(|_| BTreeMap::new()).collect();
        Net {
            broker,
            shards,
            now: 1000,
            listener,
            stuck: None,
            peak: 0,
            links: Vec::new(),
            used,
        }
    }

    /// A connection accepted by that shard; it has not sent anything.
    pub fn open(&mut self, shard: usize) -> Client {
        let listener = Arc::clone(&self.listener);
        self.open_by(shard, listener)
    }

    pub fn open_by(&mut self, shard: usize, listener: Arc<ListenerState>) -> Client {
        let port = 20000 + (self.links.len() % 40000) as u16;
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        self.open_from(shard, listener, addr)
    }

    pub fn open_from(
        &mut self,
        shard: usize,
        listener: Arc<ListenerState>,
        addr: SocketAddr,
    ) -> Client {
        assert!(listener.enter());
        let client = Client(self.links.len());
        self.links.push(Link {
            shard,
            id: 0,
            version: Version::V311,
            to_broker: Vec::new(),
            from_broker: Vec::new(),
            room: usize::MAX,
            paused_until: 0,
            closed: None,
            next_id: 0,
            auto_ack: true,
            moves: 0,
        });
        self.place(
            client,
            shard,
            Peer {
                addr,
                listener,
                cert_username: None,
                anonymous: true,
                headers: None,
            },
        );
        client
    }

    fn place(&mut self, client: Client, shard: usize, peer: Peer) {
        let id = (0..).find(|id| !self.used[shard].contains_key(id)).unwrap();
        self.used[shard].insert(id, client);
        self.links[client.0].shard = shard;
        self.links[client.0].id = id;
        self.shards[shard].begin_round_at(self.now);
        self.shards[shard].open(id, peer);
    }

    /// The version of its CONNECT.
    pub fn version(&self, client: Client) -> Version {
        self.links[client.0].version
    }

    /// Where the connection lives now, and how often it has moved.
    pub fn shard_of(&self, client: Client) -> (usize, usize) {
        (self.links[client.0].shard, self.links[client.0].moves)
    }

    /// Sends bytes and lets the broker work until it is quiet.
    pub fn send(&mut self, client: Client, bytes: &[u8]) {
        self.put(client, bytes);
        self.run();
    }

    /// Leaves bytes to be read with the next [`Net::run`].
    pub fn put(&mut self, client: Client, bytes: &[u8]) {
        self.links[client.0].to_broker.extend_from_slice(bytes);
    }

    /// How many bytes the client takes from now on; 0 = it reads nothing.
    pub fn set_room(&mut self, client: Client, room: usize) {
        let link = &mut self.links[client.0];
        link.room = room;
        if link.closed.is_none() && self.shards[link.shard].is_blocked(link.id) {
            // The socket would say that it is writable.
            self.write(client);
        }
    }

    /// Does not acknowledge what it gets.
    pub fn silent(&mut self, client: Client) {
        self.links[client.0].auto_ack = false;
    }

    /// Bytes the broker has not used yet.
    pub fn unread(&self, client: Client) -> usize {
        self.links[client.0].to_broker.len()
    }

    /// Bytes that wait in the broker for the client to read.
    pub fn waiting(&mut self, client: Client) -> usize {
        let link = &self.links[client.0];
        self.shards[link.shard].output(link.id).len()
    }

    /// Why the broker closed the connection; `None` while it is open.
    pub fn closed(&self, client: Client) -> Option<&'static str> {
        self.links[client.0].closed
    }

    /// The network ends the connection.
    pub fn lose(&mut self, client: Client) {
        let (shard, id) = (self.links[client.0].shard, self.links[client.0].id);
        if self.links[client.0].closed.is_some() {
            return;
        }
        self.shards[shard].begin_round_at(self.now);
        self.shards[shard].lost(id, "closed");
        self.release(client, "closed");
        self.run();
    }

    fn release(&mut self, client: Client, reason: &'static str) {
        let link = &mut self.links[client.0];
        link.closed = Some(reason);
        self.used[link.shard].remove(&link.id);
        self.shards[link.shard].release(link.id);
    }

    /// The broker stops: every connection is ended by its shard.
    pub fn shut_down(&mut self) {
        for shard in 0..self.shards.len() {
            self.shards[shard].begin_round_at(self.now);
            for id in self.used[shard].keys().copied().collect::<Vec<_>>() {
                self.shards[shard].shut_down(id);
            }
        }
        self.run();
    }

    /// Moves the clock and lets timers fire, stopping wherever one is due.
    pub fn advance(&mut self, milliseconds: u64) {
        let end = self.now + milliseconds;
        loop {
            self.run();
            let next = self
                .shards
                .iter()
                .filter_map(|s| s.timeout())
                .min()
                .map_or(end, |t| self.now + t.max(1));
            let paused = self
                .links
                .iter()
                .filter(|l| l.closed.is_none() && l.paused_until > self.now);
            let next = paused.map(|l| l.paused_until).fold(next, u64::min);
            if next >= end {
                break;
            }
            self.now = next;
        }
        self.now = end;
        self.run();
    }

    /// Goes round until nothing is left to do at this time.
    pub fn run(&mut self) {
        for _ in 0..100_000 {
            if !self.round() {
                return;
            }
        }
        panic!("the broker does not come to rest");
    }

    /// One round of every shard; `false` when nothing was done.
    pub fn round(&mut self) -> bool {
        let mut busy = false;
        let stuck = self.stuck;
        for shard in (0..self.shards.len()).filter(|shard| Some(*shard) != stuck) {
            self.shards[shard].begin_round_at(self.now);
            for client in self.used[shard].values().copied().collect::<Vec<_>>() {
                busy |= self.read(client);
            }
            if self.shards[shard].has_mail() {
                self.shards[shard].receive();
                busy = true;
            }
            for id in self.shards[shard].take_awake() {
                if let Some(client) = self.used[shard].get(&id) {
                    self.links[client.0].paused_until = 0;
                    busy = true;
                }
            }
            self.shards[shard].timers();
            busy |= self.flush(shard);
            self.shards[shard].post();
        }
        busy || self
            .shards
            .iter()
            .any(|shard| shard.has_mail() || shard.has_dirty())
    }

    fn read(&mut self, client: Client) -> bool {
        let link = &mut self.links[client.0];
        if link.to_broker.is_empty() || link.paused_until > self.now || link.closed.is_some() {
            return false;
        }
        let (shard, id) = (link.shard, link.id);
        let bytes = std::mem::take(&mut link.to_broker);
        let taken = self.shards[shard].input(id, &bytes);
        self.links[client.0].to_broker = bytes[taken.consumed..].to_vec();
        match taken.next {
            Next::Continue => {}
            Next::Pause(0) => {
                self.flush(shard);
            }
            Next::Pause(wait) => {
                self.links[client.0].paused_until = self.now + wait;
                self.shards[shard].hold(id, wait);
            }
            Next::Move(to) => {
                let peer = self.shards[shard].give_away(id).unwrap();
                self.used[shard].remove(&id);
                self.links[client.0].moves += 1;
                self.place(client, to, peer);
            }
        }
        taken.consumed > 0 || taken.next != Next::Continue
    }

    fn flush(&mut self, shard: usize) -> bool {
        let mut dirty = Vec::new();
        self.shards[shard].take_dirty(&mut dirty);
        let waiting = dirty
            .iter()
            .map(|id| self.shards[shard].output(*id).len())
            .sum();
        self.peak = self.peak.max(waiting);
        for id in &dirty {
            if let Some(client) = self.used[shard].get(id).copied() {
                self.write(client);
            }
        }
        self.shards[shard].flushed();
        !dirty.is_empty()
    }

    fn write(&mut self, client: Client) {
        let link = &mut self.links[client.0];
        let (shard, id) = (&mut self.shards[link.shard], link.id);
        let out = shard.output(id);
        let mut written = 0;
        // What stands behind a gate waits for the store.
        while out.is_ready() && link.room > 0 {
            let front = out.front();
            let n = front.len().min(link.room);
            link.from_broker.extend_from_slice(&front[..n]);
            if link.room != usize::MAX {
                link.room -= n;
            }
            out.advance(n);
            written += n;
        }
        let blocked = out.is_ready();
        shard.after_write(id, written, blocked);
        if shard.closing(id) && (!blocked || shard.output(id).is_empty()) {
            let reason = shard.close_reason(id);
            self.release(client, reason);
        }
    }

    /// What the client has got since it last looked. Unless it is [`Net::silent`], it acknowledges all of
    /// it, and what comes in return is there too.
    pub fn take(&mut self, client: Client) -> Vec<Got> {
        let mut all = Vec::new();
        loop {
            let got = self.take_once(client);
            if got.is_empty() {
                return all;
            }
            let link = &self.links[client.0];
            if link.auto_ack && link.closed.is_none() {
                let answers: Vec<u8> = got
                    .iter()
                    .flat_map(|packet| packet.answer(link.version))
                    .collect();
                if !answers.is_empty() {
                    self.send(client, &answers);
                }
            }
            all.extend(got);
        }
    }

    fn take_once(&mut self, client: Client) -> Vec<Got> {
        let link = &mut self.links[client.0];
        let mut got = Vec::new();
        let mut at = 0;
        while let Some(header) = fixed_header(&link.from_broker[at..]).unwrap() {
            let end = at + header.packet_len();
            if end > link.from_broker.len() {
                break;
            }
            let body = &link.from_broker[at + header.len..end];
            let packet = emqttd_mqtt::decode(link.version, header.first, body).unwrap();
            got.push(Got::of(&packet));
            at = end;
        }
        link.from_broker.drain(..at);
        got
    }

    /// As [`Net::take`], PUBLISH packets only.
    pub fn messages(&mut self, client: Client) -> Vec<Publish> {
        let got = self.take(client).into_iter();
        got.filter_map(|packet| {
            if let Got::Publish(publish) = packet {
                Some(publish)
            } else {
                None
            }
        })
        .collect()
    }

    /// Payloads of the messages the client got.
    pub fn payloads(&mut self, client: Client) -> Vec<String> {
        self.messages(client)
            .into_iter()
            .map(|m| m.text())
            .collect()
    }

    /// Sends a CONNECT from a connection that is open.
    pub fn connect_on(&mut self, client: Client, connect: &Connect) -> Vec<Got> {
        self.links[client.0].version = connect.version;
        self.send(client, &connect.bytes());
        self.take(client)
    }

    /// A client that is connected, by a connection that shard 0 accepted.
    pub fn connect(&mut self, connect: &Connect) -> Client {
        self.connect_at(0, connect)
    }

    pub fn connect_at(&mut self, shard: usize, connect: &Connect) -> Client {
        let client = self.open(shard);
        let got = self.connect_on(client, connect);
        assert!(
            matches!(got[..], [Got::ConnAck { code: 0, .. }, ..]),
            "{connect:?}: {got:?}"
        );
        // What came with it is for the test to see.
        client
    }

    /// Connects, and gives what came after CONNACK, and Session Present.
    pub fn resume(&mut self, connect: &Connect) -> (Client, bool, Vec<Got>) {
        let client = self.open(0);
        let mut got = self.connect_on(client, connect);
        let Got::ConnAck {
            present, code: 0, ..
        } = got.remove(0)
        else {
            panic!("refused: {got:?}")
        };
        (client, present, got)
    }

    pub fn next_id(&mut self, client: Client) -> u16 {
        let link = &mut self.links[client.0];
        link.next_id = link.next_id % 60_000 + 1;
        link.next_id
    }

    /// Subscribes and gives the codes of SUBACK; what else came is put back for the test.
    pub fn subscribe(&mut self, client: Client, filter: &str, qos: u8) -> u8 {
        let id = self.next_id(client);
        let bytes = subscribe(self.links[client.0].version, id, &[(filter, qos)]);
        self.send(client, &bytes);
        self.suback(client, id)[0]
    }

    /// Subscribes; the answer may wait for the disk.
    pub fn subscribe_later(&mut self, client: Client, filter: &str, qos: u8) {
        let id = self.next_id(client);
        let bytes = subscribe(self.links[client.0].version, id, &[(filter, qos)]);
        self.send(client, &bytes);
    }

    /// Takes the SUBACK or UNSUBACK out of what the client has got, leaving the rest.
    pub fn suback(&mut self, client: Client, id: u16) -> Vec<u8> {
        let link = &mut self.links[client.0];
        let mut at = 0;
        while let Some(header) = fixed_header(&link.from_broker[at..]).unwrap() {
            let end = at + header.packet_len();
            let packet = emqttd_mqtt::decode(
                link.version,
                header.first,
                &link.from_broker[at + header.len..end],
            )
            .unwrap();
            let codes = match packet {
                Packet::SubAck(ack) if ack.packet_id == id => Some(ack.codes.to_vec()),
                Packet::UnsubAck(ack) if ack.packet_id == id => Some(ack.codes.to_vec()),
                _ => None,
            };
            if let Some(codes) = codes {
                link.from_broker.drain(at..end);
                return codes;
            }
            at = end;
        }
        panic!("no SUBACK {id}");
    }

    pub fn unsubscribe(&mut self, client: Client, filter: &str) -> Vec<u8> {
        let id = self.next_id(client);
        let bytes = unsubscribe(self.links[client.0].version, id, &[filter]);
        self.send(client, &bytes);
        self.suback(client, id)
    }

    /// Leaves a PUBLISH to be read with the next [`Net::run`]; gives its identifier.
    pub fn put_publish(
        &mut self,
        client: Client,
        topic: &str,
        payload: &str,
        qos: u8,
        retain: bool,
    ) -> u16 {
        let id = if qos == 0 { 0 } else { self.next_id(client) };
        let bytes = publish(
            self.links[client.0].version,
            topic,
            payload.as_bytes(),
            qos,
            retain,
            id,
            &[],
        );
        self.put(client, &bytes);
        id
    }

    /// Publishes and goes through the whole flow; gives the reason of PUBACK or PUBREC.
    pub fn publish(&mut self, client: Client, topic: &str, payload: &str, qos: u8) -> Option<u8> {
        self.publish_whole(client, topic, payload, qos, false)
    }

    pub fn retain(&mut self, client: Client, topic: &str, payload: &str, qos: u8) -> Option<u8> {
        self.publish_whole(client, topic, payload, qos, true)
    }

    fn publish_whole(
        &mut self,
        client: Client,
        topic: &str,
        payload: &str,
        qos: u8,
        retain: bool,
    ) -> Option<u8> {
        let id = self.put_publish(client, topic, payload, qos, retain);
        self.run();
        if qos == 0 {
            return None;
        }
        let reason = self.ack(client, id);
        if qos == 2 && reason.is_some_and(|reason| reason < 0x80) {
            let release = ack(self.links[client.0].version, 6, id, 0);
            self.send(client, &release);
            assert!(self.ack(client, id).is_some(), "no PUBCOMP");
        }
        reason
    }

    /// Takes the first acknowledgement of that identifier that answers a PUBLISH or PUBREL of the client.
    pub fn ack(&mut self, client: Client, id: u16) -> Option<u8> {
        let link = &mut self.links[client.0];
        let mut at = 0;
        while let Some(header) = fixed_header(&link.from_broker[at..]).unwrap() {
            let end = at + header.packet_len();
            let packet = emqttd_mqtt::decode(
                link.version,
                header.first,
                &link.from_broker[at + header.len..end],
            )
            .unwrap();
            if let Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubComp(ack) = packet
                && ack.packet_id == id
            {
                let reason = ack.reason.0;
                link.from_broker.drain(at..end);
                return Some(reason);
            }
            at = end;
        }
        None
    }

    /// Lets another thread ask the broker while the shards go on.
    pub fn admin<T: Send>(&mut self, f: impl FnOnce(&Broker) -> T + Send) -> T {
        let broker = self.broker.clone();
        let answer = std::thread::scope(|scope| {
            let asking = scope.spawn(move || f(&broker));
            while !asking.is_finished() {
                self.run();
                std::thread::yield_now();
            }
            asking.join().unwrap()
        });
        self.run();
        answer
    }

    /// A value of `stats`, such as `clients/count`.
    pub fn stat(&self, name: &str) -> u64 {
        value(&self.broker.stats(), name)
    }

    /// A value of `all_metrics`.
    pub fn metric(&self, name: &str) -> u64 {
        value(&self.broker.all_metrics(), name)
    }

    /// A client id that belongs to that shard.
    pub fn name_on(&mut self, shard: usize, stem: &str) -> String {
        for n in 0.. {
            let name = format!("{stem}{n}");
            let probe = self.open(usize::from(shard == 0) % self.shards.len());
            self.put(probe, &Connect::v3(&name).bytes());
            self.read(probe);
            let found = self.links[probe.0].shard;
            self.links[probe.0].to_broker.clear();
            // Not a byte of the CONNECT has been used if it moved; otherwise it is connected, and leaves.
            self.lose(probe);
            if found == shard {
                return name;
            }
        }
        unreachable!()
    }
}

fn value(rows: &[(&'static str, u64)], name: &str) -> u64 {
    rows.iter()
        .find(|(n, _)| *n == name)
        .unwrap_or_else(|| panic!("no {name}"))
        .1
}
