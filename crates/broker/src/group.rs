//! Shared subscriptions: `$share/<group>/<filter>` and `$queue/<filter>`.
//!
//! A group owns what nobody can take now. A message is given to a member when that member can send it:
//! one that is offline, or whose window is full, holds nothing up while another has room. What comes
//! while none has room waits here, within the bounds of a session's queue, oldest dropped first.

use crate::durable::Owing;
use emqttd_mqtt::QoS;
use emqttd_session::{GroupRef, Message};
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

/// A member: the session, and how it subscribed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member {
    pub owner: u64,
    pub opts: u32,
    pub sub_id: u32,
    /// online and with room, as far as is known
    ready: bool,
}

#[derive(Debug, Default)]
struct State {
    members: Vec<Member>,
    /// with the number under which the store keeps it for the group; 0 = not stored
    waiting: VecDeque<(Arc<Message>, u64)>,
    /// what an earlier run of the broker has left in the store and nobody has asked for yet
    unread: Option<Unread>,
    bytes: usize,
    dice: u64,
}

/// Messages of a group that are in the store alone.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    /// numbers that restored members hold in flight
    pub held: Vec<u64>,
}

/// One group on one filter.
#[derive(Debug)]
pub(crate) struct Group {
    pub id: GroupRef,
    pub name: Box<str>,
    pub filter: Box<str>,
    /// set once it has a member whose session lasts: from then on its messages are stored
    owing: OnceLock<Arc<Owing>>,
    state: Mutex<State>,
}

/// What to do with a message for a group.
pub(crate) enum Assign {
    /// Give it to this member; if that cannot take it, say so with [`Group::refused`] and ask again.
    To(Member),
    /// It waits in the group.
    Waits,
    /// It waits, and these had to go.
    Dropped(Vec<(Arc<Message>, u64)>),
}

/// Bounds of what waits in a group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupLimits {
    pub max_length: usize,
    pub max_bytes: usize,
    pub store_qos0: bool,
}

impl Group {
    /// Who is owed its messages in the store.
    pub fn owing(&self) -> Option<&Arc<Owing>> {
        self.owing.get()
    }

    /// As [`Group::owing`], which comes to be if there was none.
    pub fn make_owing(&self, make: impl FnOnce() -> Arc<Owing>) -> &Arc<Owing> {
        self.owing.get_or_init(make)
    }

    /// Messages of an earlier run wait in the store.
    pub fn restore(&self, unread: Unread) {
        self.state.lock().unread = Some(unread);
    }

    /// What is to be known for reading messages of an earlier run; once only.
    pub fn take_unread(&self) -> Option<Unread> {
        self.state.lock().unread.take()
    }

    /// A restored member that held this message has ended; `false` when it is to be read by itself.
    pub fn give_up(&self, seq: u64) -> bool {
        match &mut self.state.lock().unread {
            Some(unread) => {
                unread.held.retain(|held| *held != seq);
                true
            }
            None => false,
        }
    }

    /// Whether nobody is a member.
    pub fn is_empty(&self) -> bool {
        self.state.lock().members.is_empty()
    }

    /// Chooses a member at random among those that can take a message, or keeps it; `keeping` is called before
    /// it can be seen by other shards.
    pub fn assign(
        &self,
        message: &Arc<Message>,
        seq: u64,
        limits: GroupLimits,
        keeping: impl FnOnce(),
    ) -> Assign {
        let mut state = self.state.lock();
        // xorshift64: any spread will do, and none of it is secret.
        state.dice ^= state.dice << 13;
        state.dice ^= state.dice >> 7;
        state.dice ^= state.dice << 17;
        let n = state.members.len();
        let start = if n == 0 {
            0
        } else {
            (state.dice % n as u64) as usize
        };
        let ready = (0..n)
            .map(|i| state.members[(start + i) % n])
            .find(|m| m.ready);
        if let Some(member) = ready {
            return Assign::To(member);
        }
        if n == 0 || (message.qos == QoS::AtMostOnce && !limits.store_qos0) {
            return Assign::Dropped(vec![(Arc::clone(message), seq)]);
        }
        keeping();
        state.waiting.push_back((Arc::clone(message), seq));
        state.bytes += message.size();
        let mut dropped = Vec::new();
        while (limits.max_length > 0 && state.waiting.len() > limits.max_length)
            || (limits.max_bytes > 0 && state.bytes > limits.max_bytes)
        {
            let Some(oldest) = state.waiting.pop_front() else {
                break;
            };
            state.bytes -= oldest.0.size();
            dropped.push(oldest);
        }
        if dropped.is_empty() {
            Assign::Waits
        } else {
            Assign::Dropped(dropped)
        }
    }

    /// The member could not take a message: nothing is given to it before [`Group::ready`].
    pub fn refused(&self, owner: u64) {
        if let Some(member) = self
            .state
            .lock()
            .members
            .iter_mut()
            .find(|m| m.owner == owner)
        {
            member.ready = false;
        }
    }

    /// The member has room again.
    pub fn ready(&self, owner: u64) {
        if let Some(member) = self
            .state
            .lock()
            .members
            .iter_mut()
            .find(|m| m.owner == owner)
        {
            member.ready = true;
        }
    }

    /// Takes the oldest waiting message, for a member that has room.
    pub fn take(&self) -> Option<(Arc<Message>, u64)> {
        let mut state = self.state.lock();
        let waiting = state.waiting.pop_front()?;
        state.bytes -= waiting.0.size();
        Some(waiting)
    }

    /// How the session subscribed, if it is a member.
    pub fn member(&self, owner: u64) -> Option<Member> {
        self.state
            .lock()
            .members
            .iter()
            .find(|m| m.owner == owner)
            .copied()
    }

    fn join(&self, owner: u64, opts: u32, sub_id: u32) {
        let mut state = self.state.lock();
        let member = Member {
            owner,
            opts,
            sub_id,
            ready: false,
        };
        match state.members.iter_mut().find(|m| m.owner == owner) {
            Some(old) => {
                *old = Member {
                    ready: old.ready,
                    ..member
                }
            }
            None => state.members.push(member),
        }
    }

    /// `true` when nobody is left.
    fn leave(&self, owner: u64) -> bool {
        let mut state = self.state.lock();
        state.members.retain(|m| m.owner != owner);
        state.members.is_empty()
    }

    /// Messages waiting.
    pub fn waiting(&self) -> usize {
        self.state.lock().waiting.len()
    }
}

/// All groups of the node.
#[derive(Default)]
pub(crate) struct Groups(RwLock<Table>);

#[derive(Default)]
struct Table {
    names: HashMap<(Box<str>, Box<str>), u64>,
    groups: HashMap<u64, Arc<Group>>,
    /// numbers are never used again: a late reference finds nothing rather than another group
    last: u64,
}

impl Table {
    /// The group, which comes to be if it was not there.
    fn group(&mut self, name: &str, filter: &str) -> Arc<Group> {
        let key = (Box::from(name), Box::from(filter));
        let at = match self.names.get(&key) {
            Some(at) => *at,
            None => {
                self.last += 1;
                let at = self.last;
                let state = State {
                    dice: 0x9E37_79B9_7F4A_7C15 ^ at,
                    ..State::default()
                };
                let group = Group {
                    id: GroupRef(at),
                    name: name.into(),
                    filter: filter.into(),
                    owing: OnceLock::new(),
                    state: Mutex::new(state),
                };
                self.groups.insert(at, Arc::new(group));
                self.names.insert(key, at);
                at
            }
        };
        Arc::clone(&self.groups[&at])
    }

    fn remove(&mut self, group: &Group) {
        self.names
            .remove(&(group.name.clone(), group.filter.clone()));
        self.groups.remove(&group.id.0);
    }
}

impl Groups {
    /// Joins the group, which comes to be if it was not there.
    pub fn join(&self, name: &str, filter: &str, owner: u64, opts: u32, sub_id: u32) -> Arc<Group> {
        let mut table = self.0.write();
        let group = table.group(name, filter);
        group.join(owner, opts, sub_id);
        group
    }

    /// A group of an earlier run, which its members have yet to join.
    pub fn restore(&self, name: &str, filter: &str) -> Arc<Group> {
        self.0.write().group(name, filter)
    }

    /// Takes a group away that nobody has joined.
    pub fn remove(&self, group: &Group) {
        self.0.write().remove(group);
    }

    /// Leaves the group; `true` when it is gone with its last member.
    pub fn leave(&self, group: &Group, owner: u64) -> bool {
        let mut table = self.0.write();
        let gone = group.leave(owner);
        if gone {
            table.remove(group);
        }
        gone
    }

    /// The group of that number.
    pub fn get(&self, id: GroupRef) -> Option<Arc<Group>> {
        self.0.read().groups.get(&id.0).cloned()
    }

    /// Who is owed the messages of the group of that number in the store.
    pub fn owing(&self, id: GroupRef) -> Option<Arc<Owing>> {
        self.get(id)?.owing().cloned()
    }

    /// Bytes of messages waiting in all groups.
    pub fn bytes(&self) -> usize {
        let table = self.0.read();
        table.groups.values().map(|g| g.state.lock().bytes).sum()
    }

    /// Messages waiting in all groups.
    pub fn waiting(&self) -> usize {
        self.0.read().groups.values().map(|g| g.waiting()).sum()
    }
}
