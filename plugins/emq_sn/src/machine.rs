//! The gateway as a machine: datagrams, answers and events of the broker, and time go in; packets and questions to the
//! broker come out, through a [`World`]. It does no I/O and has no clock.

use crate::device::{After, Afterwards, Again, Answer, Device, Hello, State};
use crate::packet::{Packet, ReturnCode, TopicKind, decode, unwrap};
use crate::world::{Count, Env, Key, Peer, Rules, Ticket, World};
use emqttd_gateway::{Shares, Source};
use emqttd_plugin_sdk::virtual_client::{Incoming, Outgoing};
use slab::Slab;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

/// Clients that are asked for their wills, at the most.
const OPENING: usize = 1000;
/// Of them, as many are forgotten when there are too many.
const FORGOTTEN: usize = 100;
/// Clients looked at to find one that makes room.
const LOOKED_AT: usize = 64;

/// All clients of the gateway.
pub struct Machine<W: World> {
    rules: Rules,
    devices: Slab<Device<W::Client>>,
    by_peer: HashMap<Peer, u32>,
    /// of those that the broker has let in under a name of their own
    by_id: HashMap<Arc<str>, u32>,
    /// when clients are to be looked at
    timers: BTreeSet<(u64, u32)>,
    /// clients that were asked for their wills, the oldest first; they may be further by now
    opening: VecDeque<Key>,
    serial: u32,
    /// clients of each source
    shares: Shares,
    /// where it is looked next for one that makes room
    looked_at: usize,
    /// bytes that all clients hold
    held: usize,
}

/// A client, for a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// client identifier
    pub client_id: Arc<str>,
    /// where it is
    pub peer: Peer,
    /// what it does
    pub state: State,
    /// packets from it and to it, when they are counted
    pub traffic: (u32, u32),
}

impl<W: World> Machine<W> {
    /// One without clients.
    pub fn new(rules: Rules) -> Machine<W> {
        Machine {
            rules,
            devices: Slab::new(),
            by_peer: HashMap::new(),
            by_id: HashMap::new(),
            timers: BTreeSet::new(),
            opening: VecDeque::new(),
            serial: 0,
            shares: Shares::default(),
            looked_at: 0,
            held: 0,
        }
    }

    /// The rules in force.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Other rules from now on. Predefined topics stay: clients count on their numbers.
    pub fn set_rules(&mut self, rules: Rules) {
        let predefined = Arc::clone(&self.rules.predefined);
        self.rules = Rules {
            predefined,
            ..rules
        };
    }

    /// Clients there are.
    pub fn clients(&self) -> usize {
        self.devices.len()
    }

    /// All clients.
    pub fn list(&self) -> Vec<Listed> {
        let listed = self.devices.iter().map(|(_, device)| Listed {
            client_id: Arc::clone(&device.client_id),
            peer: device.peer.clone(),
            state: device.state(),
            traffic: device.traffic,
        });
        listed.collect()
    }

    /// A datagram has come.
    pub fn datagram(&mut self, now: u64, from: SocketAddr, bytes: &[u8], world: &mut W) {
        let decoded = unwrap(bytes).and_then(|frame| Ok((frame.node, decode(frame.packet)?)));
        let Ok((node, packet)) = decoded else {
            return world.count(Count::Malformed);
        };
        let peer = Peer {
            address: from,
            node: node.map(Into::into),
        };
        let slot = self.by_peer.get(&peer).copied();
        match (packet, slot) {
            // Whoever asks is told, and nothing is kept of him.
            (Packet::SearchGw { .. }, _) => {
                let packet = Packet::GwInfo {
                    gateway_id: self.rules.gateway_id,
                    address: &[],
                };
                world.send(&peer, &packet);
            }
            (
                Packet::Connect {
                    flags,
                    protocol_id,
                    duration,
                    client_id,
                },
                _,
            ) => {
                let hello = str::from_utf8(client_id).map(|client_id| Hello {
                    flags,
                    duration,
                    client_id,
                });
                match hello {
                    Ok(hello) if protocol_id == 1 || slot.is_some() => {
                        self.connect(now, peer, slot, hello, world);
                    }
                    _ => world.send(&peer, &Packet::ConnAck(ReturnCode::NOT_SUPPORTED)),
                }
            }
            (packet, Some(slot)) => self.packet(now, slot, &packet, world),
            (
                Packet::Publish {
                    flags,
                    topic,
                    payload,
                    ..
                },
                None,
            ) if flags.qos() == 3 && self.rules.qos_minus_1 => {
                let kind = flags.topic_kind();
                self.publish_unconnected(kind, topic, payload, flags.retain(), world);
            }
            (Packet::PingReq(client_id), None) => {
                if let Some(slot) = self.moved(&peer, client_id) {
                    self.packet(now, slot, &packet, world);
                }
            }
            // Nothing counts before CONNECT.
            (_, None) => {}
        }
    }

    /// Somebody wakes up under the name of a client that sleeps: if that is at the same IP address, it is that client,
    /// and its address is this one from now on.
    fn moved(&mut self, peer: &Peer, client_id: &[u8]) -> Option<u32> {
        let client_id = str::from_utf8(client_id).ok()?;
        let slot = *self.by_id.get(client_id)?;
        let device = self.devices.get_mut(slot as usize)?;
        let sleeps = matches!(device.state(), State::Asleep | State::Waking | State::Awake);
        if !sleeps || device.peer.address.ip() != peer.address.ip() {
            return None;
        }
        self.by_peer.remove(&device.peer);
        device.peer = peer.clone();
        self.by_peer.insert(peer.clone(), slot);
        Some(slot)
    }

    /// QoS -1: there need be no CONNECT before it.
    fn publish_unconnected(
        &self,
        kind: TopicKind,
        topic: u16,
        payload: &[u8],
        retain: bool,
        world: &mut W,
    ) {
        let name = match kind {
            TopicKind::Predefined => self.rules.predefined.name(topic).map(|n| n.to_string()),
            TopicKind::Short => crate::device::short_name(topic),
            TopicKind::Normal | TopicKind::Reserved => None,
        };
        if let Some(topic) = name {
            world.publish_unconnected(Outgoing::new(topic, payload).retain(retain));
        }
    }

    fn connect(
        &mut self,
        now: u64,
        peer: Peer,
        slot: Option<u32>,
        hello: Hello<'_>,
        world: &mut W,
    ) {
        if let Some(slot) = slot {
            let again = self.with(now, slot, world, |device, env| {
                device.connect_again(env, hello)
            });
            match again {
                None | Some(Again::Done) => return self.schedule(now, slot, world),
                Some(Again::Gone) => return self.remove(slot, world),
                Some(Again::Anew) => self.remove(slot, world),
            }
        }
        let source = Source::of(peer.address);
        if self.devices.len() >= self.rules.max_clients && !self.make_room(now, source, world) {
            world.count(Count::Refused);
            return world.send(&peer, &Packet::ConnAck(ReturnCode::CONGESTION));
        }
        self.serial = self.serial.wrapping_add(1);
        let device = Device::new(peer.clone(), self.serial, hello, now);
        let Ok(slot) = u32::try_from(self.devices.insert(device)) else {
            return;
        };
        self.by_peer.insert(peer, slot);
        self.shares.take(source);
        if hello.flags.will() {
            self.bound_opening(slot, world);
        }
        self.with(now, slot, world, |device, env| device.begin(env, hello));
        self.schedule(now, slot, world);
    }

    /// Ends a client of a source that has more than half of all, for one of another: of some, the one that was silent
    /// longest. `false` = there is none.
    fn make_room(&mut self, now: u64, source: Source, world: &mut W) -> bool {
        let count = self.devices.len();
        let some = (0..LOOKED_AT.min(count)).map(|n| (self.looked_at + n) % count);
        let gives_way = some.filter_map(|slot| {
            let device = self.devices.get(slot)?;
            let of = Source::of(device.peer.address);
            let may = self.shares.gives_way(of, source, self.rules.max_clients);
            may.then_some((device.heard(), slot))
        });
        let goes = gives_way.min();
        self.looked_at = (self.looked_at + LOOKED_AT) % count.max(1);
        let Some((_, slot)) = goes else { return false };
        let slot = slot as u32;
        self.with(now, slot, world, |device, env| device.make_room(env));
        self.remove(slot, world);
        true
    }

    /// Notes that a client will be asked for its will. When too many are, those of the source with most of them are
    /// forgotten, the oldest first.
    fn bound_opening(&mut self, slot: u32, world: &mut W) {
        let serial = self.serial;
        self.opening.push_back(Key { slot, serial });
        if self.opening.len() <= OPENING {
            return;
        }
        let mut opening = std::mem::take(&mut self.opening);
        opening.retain(|key| self.is_opening(*key));
        while opening.len() > OPENING - FORGOTTEN {
            let mut goes = opening.len() + FORGOTTEN - OPENING;
            let mut many: HashMap<Option<Source>, usize> = HashMap::new();
            for key in &opening {
                *many.entry(self.source_of(*key)).or_default() += 1;
            }
            let most = many.into_iter().max_by_key(|(_, count)| *count);
            let Some((most, _)) = most else { break };
            opening.retain(|key| {
                let stays = goes == 0 || self.source_of(*key) != most;
                if !stays {
                    goes -= 1;
                    self.remove(key.slot, world);
                }
                stays
            });
        }
        self.opening = opening;
    }

    fn source_of(&self, key: Key) -> Option<Source> {
        let device = self.devices.get(key.slot as usize)?;
        Some(Source::of(device.peer.address))
    }

    fn is_opening(&self, key: Key) -> bool {
        let device = self.devices.get(key.slot as usize);
        device.is_some_and(|d| d.serial == key.serial && d.state() == State::Opening)
    }

    fn packet(&mut self, now: u64, slot: u32, packet: &Packet<'_>, world: &mut W) {
        let counts = self.rules.stats;
        let after = self.with(now, slot, world, |device, env| {
            if counts {
                device.traffic.0 = device.traffic.0.saturating_add(1);
            }
            device.packet(env, packet)
        });
        self.after(now, slot, after, world);
    }

    fn after(&mut self, now: u64, slot: u32, after: Option<After>, world: &mut W) {
        match after {
            Some(After::Gone) => self.remove(slot, world),
            Some(After::Stays) => self.schedule(now, slot, world),
            None => {}
        }
    }

    /// The broker has let a client in, or not. Gives the connection back when nobody waits for it any more.
    pub fn connected(
        &mut self,
        now: u64,
        key: Key,
        outcome: Option<W::Client>,
        world: &mut W,
    ) -> Option<W::Client> {
        let Some(device) = self.devices.get_mut(key.slot as usize) else {
            return outcome;
        };
        if device.serial != key.serial {
            return outcome;
        }
        if let Some(afterwards) = device.take_afterwards() {
            let peer = device.peer.clone();
            self.remove(key.slot, world);
            self.afterwards(now, peer, &afterwards, world);
            return outcome;
        }
        let client_id = Arc::clone(&device.client_id);
        let let_in = outcome.is_some();
        let after = self.with(now, key.slot, world, |device, env| {
            device.connected(env, outcome)
        });
        if let_in && !client_id.is_empty() {
            self.by_id.insert(client_id, key.slot);
        }
        self.after(now, key.slot, after, world);
        None
    }

    /// Does what a client wants that the broker was asked about when it wanted something else.
    fn afterwards(&mut self, now: u64, peer: Peer, wants: &Afterwards, world: &mut W) {
        if let Afterwards::Connects {
            flags,
            duration,
            client_id,
        } = wants
        {
            let hello = Hello {
                flags: *flags,
                duration: *duration,
                client_id,
            };
            self.connect(now, peer, None, hello, world);
        }
    }

    /// The broker has answered a question.
    pub fn answered(&mut self, now: u64, key: Key, ticket: Ticket, answer: Answer, world: &mut W) {
        if self.known(key).is_some() {
            self.with(now, key.slot, world, |device, env| {
                device.answered(env, ticket, answer);
            });
        }
    }

    /// The broker has a message for a client.
    pub fn message(&mut self, now: u64, key: Key, message: Incoming, world: &mut W) {
        if self.known(key).is_some() {
            self.with(now, key.slot, world, |device, env| {
                device.message(env, message)
            });
            self.schedule(now, key.slot, world);
        }
    }

    /// The broker has released a message at QoS 2.
    pub fn released(&mut self, now: u64, key: Key, id: u16, world: &mut W) {
        if self.known(key).is_some() {
            self.with(now, key.slot, world, |device, env| device.released(env, id));
            self.schedule(now, key.slot, world);
        }
    }

    /// What the broker had for a client that wakes up has come.
    pub fn caught_up(&mut self, now: u64, key: Key, world: &mut W) {
        if self.known(key).is_some() {
            self.with(now, key.slot, world, |device, env| device.caught_up(env));
            self.schedule(now, key.slot, world);
        }
    }

    /// The broker has ended a client's connection.
    pub fn closed(&mut self, now: u64, key: Key, world: &mut W) {
        if self.known(key).is_some() {
            self.with(now, key.slot, world, |device, env| device.closed(env));
            self.remove(key.slot, world);
        }
    }

    /// Whether the broker owes a client an answer about a subscription, which is to come before messages.
    pub fn subscribes(&self, key: Key) -> bool {
        self.known(key).is_some_and(Device::subscribes)
    }

    /// When [`Machine::look`] is to be called next.
    pub fn next_timer(&self) -> Option<u64> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Looks at the clients whose time has come.
    pub fn look(&mut self, now: u64, world: &mut W) {
        while let Some((at, slot)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.pop_first();
            let after = self.with(now, slot, world, |device, env| {
                device.timer = 0;
                match device.deadline(env) {
                    // It has been put off since.
                    Some(deadline) if deadline > env.now => After::Stays,
                    _ => device.look(env),
                }
            });
            self.after(now, slot, after, world);
        }
    }

    /// The gateway ends: every client is told.
    pub fn end(&mut self, now: u64, world: &mut W) {
        let slots: Vec<usize> = self.devices.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            let slot = slot as u32;
            self.with(now, slot, world, |device, env| device.tell_end(env));
            self.remove(slot, world);
        }
    }

    fn known(&self, key: Key) -> Option<&Device<W::Client>> {
        let device = self.devices.get(key.slot as usize);
        device.filter(|device| device.serial == key.serial)
    }

    fn with<T>(
        &mut self,
        now: u64,
        slot: u32,
        world: &mut W,
        work: impl FnOnce(&mut Device<W::Client>, &mut Env<'_, W>) -> T,
    ) -> Option<T> {
        let device = self.devices.get_mut(slot as usize)?;
        let key = Key {
            slot,
            serial: device.serial,
        };
        let sent = world.packets_sent();
        let held = self.held - device.held();
        let mut env = Env {
            now,
            key,
            world,
            rules: &self.rules,
            held: self.held,
        };
        let result = work(device, &mut env);
        self.held = held + device.held();
        if self.rules.stats {
            let sent = u32::try_from(world.packets_sent() - sent).unwrap_or(u32::MAX);
            device.traffic.1 = device.traffic.1.saturating_add(sent);
        }
        Some(result)
    }

    /// Sees to it that a client is looked at in time. A timer that comes too early does no harm, so that one is not
    /// touched for every packet.
    fn schedule(&mut self, now: u64, slot: u32, world: &mut W) {
        let Some(deadline) = self.with(now, slot, world, |device, env| device.deadline(env)) else {
            return;
        };
        let (Some(deadline), Some(device)) = (deadline, self.devices.get_mut(slot as usize)) else {
            return;
        };
        if device.timer == 0 || deadline < device.timer {
            if device.timer != 0 {
                self.timers.remove(&(device.timer, slot));
            }
            // Never 0, and never twice in one look.
            device.timer = deadline.max(now + 1);
            self.timers.insert((device.timer, slot));
        }
    }

    /// Forgets a client. A connection that it still has is one that begins anew, or was pushed out.
    fn remove(&mut self, slot: u32, world: &mut W) {
        let Some(mut device) = self.devices.try_remove(slot as usize) else {
            return;
        };
        self.held -= device.held();
        self.by_peer.remove(&device.peer);
        self.shares.give_back(Source::of(device.peer.address));
        if self.by_id.get(&device.client_id) == Some(&slot) {
            self.by_id.remove(&device.client_id);
        }
        if device.timer != 0 {
            self.timers.remove(&(device.timer, slot));
        }
        if let Some(client) = device.take_client() {
            world.abort(client, "closed");
        }
    }
}

/// For tests and fuzzing.
#[doc(hidden)]
impl<W: World> Machine<W> {
    /// Every index is about clients that are there, and what waits is within its bounds.
    ///
    /// # Panics
    /// When that is not so.
    pub fn check(&self) {
        assert_eq!(self.by_peer.len(), self.devices.len());
        assert!(self.by_id.len() <= self.devices.len());
        assert!(self.devices.len() <= self.rules.max_clients);
        let held = self.devices.iter().map(|(_, device)| device.held());
        assert_eq!(self.held, held.sum::<usize>());
        let timers = self.devices.iter().filter(|(_, device)| device.timer != 0);
        assert_eq!(self.timers.len(), timers.count());
        for (slot, device) in &self.devices {
            let slot = slot as u32;
            assert_eq!(self.by_peer.get(&device.peer), Some(&slot));
            assert!(self.shares.held(Source::of(device.peer.address)) > 0);
            assert!(device.timer == 0 || self.timers.contains(&(device.timer, slot)));
            device.check();
        }
        for slot in self.by_id.values() {
            assert!(self.devices.contains(*slot as usize));
        }
    }
}

#[cfg(test)]
mod tests;
