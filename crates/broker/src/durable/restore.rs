//! The broker finds itself as it was left: sessions, subscriptions and groups.
//!
//! What waits for the sessions stays in the store until they return, and retained messages until somebody
//! wants them kept ([`crate::Broker::retain`]).

use super::record::{self, Clock, SessionRecord};
use super::{GROUPS, INBOUND, Owing, SESSIONS, SUBSCRIPTIONS};
use crate::group::Unread;
use crate::node::Node;
use crate::shard::{Notes, SessionSlot, Shard};
use crate::subscribe::parts_of;
use emqttd_mqtt::QoS;
use emqttd_session::{
    GroupRef, Message, MessageParts, Publisher, Restored, RestoredFlight, Session,
};
use emqttd_store::{OwnerId, OwnerState, Recovered};
use hashbrown::HashMap;
use std::sync::Arc;

/// What was restored, for the log.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub sessions: usize,
}

/// What has to be known of all owners while sessions are made.
struct Restoring<'a> {
    node: Arc<Node>,
    shards: &'a mut [Shard],
    clock: Clock,
    /// by number; taken out as somebody claims them
    owners: HashMap<OwnerId, OwnerState>,
    /// groups by number
    groups: HashMap<OwnerId, GroupRef>,
    inbound: HashMap<OwnerId, Vec<(u16, Arc<Message>)>>,
    /// where the sessions are: shard and slot
    places: HashMap<OwnerId, (usize, u32)>,
    /// messages of groups that sessions have, or had, in flight
    held: HashMap<OwnerId, Unread>,
    counts: Counts,
}

/// Fills the shards with what the store has.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn restore(
    node: &Arc<Node>,
    shards: &mut [Shard],
    recovered: Recovered,
) -> Result<Counts, String> {
    let Some(durable) = &node.durable else {
        return Ok(Counts::default());
    };
    let owners = recovered.owners.into_iter();
    let mut this = Restoring {
        node: Arc::clone(node),
        clock: shards[0].clock(),
        shards,
        owners: owners.map(|state| (state.owner, state)).collect(),
        groups: HashMap::new(),
        inbound: HashMap::new(),
        places: HashMap::new(),
        held: HashMap::new(),
        counts: Counts::default(),
    };
    type Row = fn(&mut Restoring<'_>, &[u8], &[u8]) -> Option<()>;
    let tables: [(u8, Row); 4] = [
        (GROUPS, |this, key, value| this.group(key, value)),
        (INBOUND, |this, key, value| this.inbound(key, value)),
        (SESSIONS, |this, key, value| this.session(key, value)),
        (SUBSCRIPTIONS, |this, key, value| {
            this.subscription(key, value)
        }),
    ];
    for (table, row) in tables {
        durable
            .store
            .for_each(table, &mut |key, value| {
                if row(&mut this, key, value).is_none() {
                    log::error!("the store: a row of table {table} cannot be read; it is left out");
                }
            })
            .map_err(|error| format!("the store cannot be read: {error}"))?;
    }
    this.finish();
    Ok(this.counts)
}

fn number_of(key: &[u8]) -> Option<OwnerId> {
    Some(OwnerId::from_be_bytes(key.try_into().ok()?))
}

impl Restoring<'_> {
    fn group(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let number = number_of(key)?;
        let (name, filter) = record::group(value)?;
        let next = self.owners.remove(&number).map_or(1, |state| state.next);
        let group = self.node.groups.restore(name, filter);
        group.make_owing(|| Owing::new(number, next, true));
        self.groups.insert(number, group.id);
        Some(())
    }

    fn inbound(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (number, id) = record::split_key(key)?;
        let id = u16::from_be_bytes(id.try_into().ok()?);
        let message = Arc::new(record::message(value, self.clock)?);
        self.inbound.entry(number).or_default().push((id, message));
        Some(())
    }

    fn session(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let number = number_of(key)?;
        let record = SessionRecord::read(value)?;
        let state = self.owners.remove(&number).unwrap_or(OwnerState {
            owner: number,
            next: 1,
            front: 1,
            owed: 0,
            bytes: 0,
            last_id: 0,
            in_flight: Vec::new(),
        });
        let (in_flight, notes) = self.in_flight(&state);
        let index = self.node.shard_of(&record.clientid);
        let next = state.next;
        let restored = Restored {
            version: record.version,
            last_id: state.last_id,
            in_flight,
            front: state.front,
            next,
            owed: usize::try_from(state.owed).unwrap_or(usize::MAX),
            bytes: usize::try_from(state.bytes).unwrap_or(usize::MAX),
            awaiting: self.inbound.remove(&number).unwrap_or_default(),
        };
        let shard = &mut self.shards[index];
        let session = Session::restored(Arc::clone(&shard.limits), restored);
        let publisher = Arc::new(Publisher {
            clientid: Arc::clone(&record.clientid),
            username: record.username.clone(),
        });
        let slot = shard.new_session(session, &publisher);
        let owing = Owing::new(number, next, true);
        owing.set_merges(record.version == emqttd_mqtt::Version::V5);
        shard.enter(slot, owing);
        let was_connected = record.expires_unix == 0;
        let entry = &mut shard.sessions[slot as usize];
        entry.notes = (!notes.is_empty()).then(|| Box::new(Notes(notes)));
        fill(entry, &record, self.clock);
        if was_connected {
            shard.write_session(slot);
        }
        shard.arm_session(slot);
        self.places.insert(number, (index, slot));
        self.counts.sessions += 1;
        Some(())
    }

    /// What a session had in flight, and how its groups' messages were sent; those of groups that are gone went
    /// with them.
    fn in_flight(&mut self, state: &OwnerState) -> (Vec<RestoredFlight>, Vec<(u16, u8)>) {
        let mut notes = Vec::new();
        let mut flights = Vec::with_capacity(state.in_flight.len());
        for flight in &state.in_flight {
            let group = match flight.owner {
                owner if owner == state.owner => None,
                owner => self.groups.get(&owner).copied(),
            };
            let of_group = flight.owner != state.owner;
            if group.is_some() && !flight.released {
                notes.push((flight.id, flight.note));
                let unread = self.held.entry(flight.owner).or_default();
                unread.held.push(flight.seq);
            }
            flights.push(RestoredFlight {
                id: flight.id,
                // Nothing is left to send of what a group that is gone had given.
                released: flight.released || (of_group && group.is_none()),
                seq: flight.seq,
                group,
            });
        }
        (flights, notes)
    }

    fn subscription(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (number, name) = record::split_key(key)?;
        let name = std::str::from_utf8(name).ok()?;
        let (subscription, replaying) = record::subscription(value)?;
        let Some((index, slot)) = self.places.get(&number).copied() else {
            // Its session could not be read.
            return None;
        };
        let shard = &mut self.shards[index];
        let topic_is_valid = emqttd_mqtt::topic::validate_filter(parts_of(name).filter).is_ok();
        if !topic_is_valid {
            return None;
        }
        shard.route(slot, name, subscription);
        if replaying {
            let entry = &mut shard.sessions[slot as usize];
            let replay = entry.replay.get_or_insert_default();
            replay.subscriptions.push_back(name.into());
            replay.marked.push(name.into());
        }
        Some(())
    }

    /// Owners whom nobody claimed: sessions that ended with the process, groups that have lost all members.
    fn finish(&mut self) {
        let shard = &mut self.shards[0];
        for (number, state) in std::mem::take(&mut self.owners) {
            let Some(batch) = shard.batch() else { continue };
            for flight in state.in_flight.iter().filter(|flight| !flight.released) {
                // It may have got there, so nobody else may have it at QoS 2 [MQTT-4.8.2-5].
                if record::sent_as(flight.note).0 == QoS::ExactlyOnce {
                    batch.completed(number, flight.id);
                }
            }
            batch.end(number);
        }
        for (number, id) in &self.groups {
            let Some(group) = self.node.groups.get(*id) else {
                continue;
            };
            if group.is_empty() {
                shard.forget_group(&group);
                self.node.groups.remove(&group);
            } else {
                group.restore(self.held.remove(number).unwrap_or_default());
            }
        }
        for shard in self.shards.iter_mut() {
            shard.commit();
        }
    }
}

/// What a restored session has besides its messages. One whose client was connected counts as left just now:
/// its will is due after its delay.
fn fill(entry: &mut SessionSlot, record: &SessionRecord, clock: Clock) {
    let was_connected = record.expires_unix == 0;
    entry.expiry = record.expiry;
    entry.created_at = record.created_at;
    entry.expires_at = match record.expires_unix {
        0 if record.expiry == u32::MAX => u64::MAX,
        0 => clock.now + u64::from(record.expiry) * 1000,
        at => clock.node_time(at),
    };
    // Rights may have changed: they are looked at when the client returns.
    entry.acl_generation = u64::MAX;
    let will = record.will.as_ref().and_then(|will| {
        let message = record::message(&will.message, clock)?;
        let parts: MessageParts<'_> = message.parts();
        let publisher = message.publisher.clone();
        let message = Message::new(parts, publisher, message.timestamp, will.lifetime);
        let wait = u64::from(will.delay.min(record.expiry)) * 1000;
        let due = if was_connected {
            clock.now + wait
        } else {
            clock.node_time(will.due_unix)
        };
        Some(Box::new((due, Arc::new(message))))
    });
    entry.will = will;
}
