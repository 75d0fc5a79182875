//! What the router hands back: who gets a message, and how.

use emqttd_mqtt::QoS;
use emqttd_router::Target;
use emqttd_session::GroupRef;

/// Set in the owner of a target that is a shared group.
const GROUP: u64 = 1 << 63;

/// Set in the packed options of a session that lasts.
const LASTING: u32 = 1 << 5;

/// The owner of messages that no session published.
pub(crate) const NOBODY: u64 = u64::MAX;

/// Names a session for as long as it lives: its shard, its slot, and how often the slot has been used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub shard: u16,
    pub slot: u32,
    pub epoch: u32,
}

/// Epochs wrap after this many uses of a slot.
pub(crate) const EPOCHS: u32 = 1 << 24;

impl Owner {
    pub fn pack(self) -> u64 {
        u64::from(self.shard) << 56 | u64::from(self.epoch % EPOCHS) << 32 | u64::from(self.slot)
    }

    #[inline]
    pub fn unpack(owner: u64) -> Owner {
        Owner {
            shard: (owner >> 56) as u16,
            slot: owner as u32,
            epoch: (owner >> 32) as u32 % EPOCHS,
        }
    }
}

/// Who a target is.
pub(crate) enum Receiver {
    Session(Owner),
    Group(GroupRef),
}

#[inline]
pub(crate) fn receiver(target: &Target) -> Receiver {
    if target.owner & GROUP != 0 {
        Receiver::Group(GroupRef(target.owner & !GROUP))
    } else {
        Receiver::Session(Owner::unpack(target.owner))
    }
}

/// Whether what is published to a target may have to be stored: a session that lasts, or a group.
#[inline]
pub(crate) fn may_last(target: &Target) -> bool {
    target.owner & GROUP != 0 || target.opts & LASTING != 0
}

/// Whether a target is a shared group.
#[inline]
pub(crate) fn is_group(target: &Target) -> bool {
    target.owner & GROUP != 0
}

/// The router's target for a group; members keep their own options.
pub(crate) fn group_target(group: GroupRef) -> Target {
    Target {
        owner: group.0 | GROUP,
        opts: 0,
        sub_id: 0,
    }
}

/// Options of a subscription, packed as the router keeps them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Options {
    pub qos: QoS,
    pub no_local: bool,
    /// also set for every subscription of a bridge client
    pub keep_retain: bool,
    pub local: bool,
    /// the session outlives its connection, and what it is owed is stored
    pub lasting: bool,
}

impl Options {
    pub fn pack(self) -> u32 {
        self.qos as u32
            | u32::from(self.no_local) << 2
            | u32::from(self.keep_retain) << 3
            | u32::from(self.local) << 4
            | if self.lasting { LASTING } else { 0 }
    }

    #[inline]
    pub fn unpack(bits: u32) -> Options {
        Options {
            qos: match bits & 3 {
                0 => QoS::AtMostOnce,
                1 => QoS::AtLeastOnce,
                _ => QoS::ExactlyOnce,
            },
            no_local: bits & 4 != 0,
            keep_retain: bits & 8 != 0,
            local: bits & 16 != 0,
            lasting: bits & LASTING != 0,
        }
    }
}
