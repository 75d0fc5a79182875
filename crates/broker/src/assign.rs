//! Shared groups at work: a message of a group finds the member that can take it.

use crate::group::{Assign, Group, GroupLimits, Member};
use crate::metrics::Metric;
use crate::shard::{Later, Mail, Shard};
use crate::target::{Options, Owner};
use emqttd_mqtt::QoS;
use emqttd_session::{Delivery, Message, Owed};
use std::sync::Arc;

impl Shard {
    fn group_limits(&self) -> GroupLimits {
        let queue = &self.limits.queue;
        GroupLimits {
            max_length: queue.max_length,
            max_bytes: queue.max_bytes,
            store_qos0: queue.store_qos0,
        }
    }

    /// Finds a member of the group that can take the message, or leaves it with the group.
    /// `seq` is its number for the group in the store; 0 = it is not stored.
    pub(crate) fn assign(&mut self, group: &Arc<Group>, message: &Arc<Message>, seq: u64) {
        loop {
            let limits = self.group_limits();
            let keeping = || {
                if seq > 0 {
                    // A member on another shard may take it and write what becomes of it: only after it.
                    self.commit_in_order();
                }
            };
            let member = match group.assign(message, seq, limits, keeping) {
                Assign::To(member) => member,
                Assign::Waits => return,
                Assign::Dropped(dropped) => {
                    for (message, seq) in dropped {
                        self.write_group_done(group, seq, message.size());
                        self.counters.add(Metric::DroppedGroupFull, 1);
                        self.node.hooks.dropped(&message, "group_full");
                    }
                    return;
                }
            };
            let owner = Owner::unpack(member.owner);
            if usize::from(owner.shard) != self.index {
                let mail = Mail::Assigned {
                    message: Arc::clone(message),
                    seq,
                    group: Arc::clone(group),
                    owner: member.owner,
                };
                return self.mail(owner.shard, mail);
            }
            if self.give(group, message, seq, member) {
                return;
            }
        }
    }

    /// A message that another shard found to be for a member here.
    pub(crate) fn assigned(
        &mut self,
        message: Arc<Message>,
        seq: u64,
        group: &Arc<Group>,
        owner: u64,
    ) {
        let given = group
            .member(owner)
            .is_some_and(|member| self.give(group, &message, seq, member));
        if !given {
            self.assign(group, &message, seq);
        }
    }

    /// Gives a group's message to a member of this shard; `false` when it has no room.
    fn give(
        &mut self,
        group: &Arc<Group>,
        message: &Arc<Message>,
        seq: u64,
        member: Member,
    ) -> bool {
        let options = Options::unpack(member.opts);
        let qos = self.effective_qos(message.qos, options.qos);
        let slot = self.living(member.owner);
        let room = slot.is_some_and(|slot| {
            let session = &self.sessions[slot as usize].session;
            if qos == QoS::AtMostOnce {
                session.online() && !self.is_choked(self.sessions[slot as usize].conn)
            } else {
                session.has_room()
            }
        });
        let Some(slot) = slot.filter(|_| room) else {
            group.refused(member.owner);
            if let Some(slot) = slot {
                self.sessions[slot as usize].refused_group = true;
            }
            return false;
        };
        let mut delivery = Delivery::new(Arc::clone(message), qos);
        delivery.sub_id = member.sub_id;
        delivery.group = Some(group.id);
        delivery.retain = message.retain && options.keep_retain;
        delivery.seq = seq;
        if qos == QoS::AtMostOnce {
            delivery.seq = 0;
            self.write_group_done(group, seq, message.size());
        } else if seq > 0 {
            self.make_owing(slot);
        }
        self.send(slot, delivery);
        true
    }

    /// The session has room: its groups may give it what waits.
    pub(crate) fn offer_groups(&mut self, slot: u32) {
        let entry = &mut self.sessions[slot as usize];
        if !entry.session.has_room() {
            // Its groups hold it for full, or are told so by the next message: it offers itself later.
            entry.refused_group = !entry.groups.is_empty();
            return;
        }
        let owner = self.owner_of(slot);
        self.sessions[slot as usize].refused_group = false;
        for group in self.sessions[slot as usize].groups.clone() {
            group.ready(owner);
            self.read_group(&group);
            let Some(member) = group.member(owner) else {
                continue;
            };
            while self.sessions[slot as usize].session.has_room() {
                let Some((message, seq)) = group.take() else {
                    break;
                };
                if !self.give(&group, &message, seq, member) {
                    // It has room, but its connection takes nothing at QoS 0 now.
                    self.assign(&group, &message, seq);
                    break;
                }
            }
        }
        if !self.sessions[slot as usize].session.has_room() {
            // What still waits is offered when there is room again.
            self.sessions[slot as usize].refused_group = true;
            for group in &self.sessions[slot as usize].groups {
                group.refused(owner);
            }
        }
    }

    /// Hands what a session that is gone for good was owed to the other members of its groups.
    pub(crate) fn pass_to_others(&mut self, owed: Owed) {
        for delivery in owed.pass_on {
            if let Some(group) = delivery.group.and_then(|id| self.node.groups.get(id)) {
                let assign = Later::Assign(group, delivery.message, delivery.seq);
                self.later.push_back(assign);
            }
        }
        for delivery in owed.lost {
            if let Some(group) = delivery.group.and_then(|id| self.node.groups.get(id)) {
                self.write_group_done(&group, delivery.seq, delivery.message.size());
            }
        }
        for (group, seq) in owed.unloaded {
            if let Some(group) = self.node.groups.get(group) {
                self.give_up_in_group(&group, seq);
            }
        }
    }
}
