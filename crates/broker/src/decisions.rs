//! What connections remember of what their clients may publish, and how it is forgotten before its time.

use crate::access::Permit;
use crate::admin::Broker;
use crate::conn::{ConnId, NONE};
use crate::info::AdminError;
use crate::shard::Shard;
use emqttd_mqtt::topic::SubscriptionFilter;
use hashbrown::HashMap;

/// One in so many is forgotten to make room.
const STEP: usize = 8;

/// An answer of the ACL about publishing to a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decision {
    pub allowed: bool,
    /// of the access chains that gave it
    generation: u64,
    /// when it has been remembered for long enough
    until: u64,
}

impl Decision {
    /// One that holds for nothing.
    pub const VOID: Decision = Decision {
        allowed: false,
        generation: u64::MAX,
        until: 0,
    };

    /// Of the chains of that generation, to be remembered until then.
    pub fn new(allowed: bool, generation: u64, until: u64) -> Decision {
        Decision {
            allowed,
            generation,
            until,
        }
    }

    /// Whether it need not be asked for again.
    #[inline]
    pub fn holds(&self, generation: u64, now: u64) -> bool {
        self.generation == generation && now < self.until
    }

    /// What counts for this one packet: nobody knowing is a refusal, and the next packet asks again.
    pub fn of(permit: Permit, generation: u64, until: u64) -> Decision {
        match permit {
            Permit::Unknown => Decision::VOID,
            known => Decision::new(known == Permit::Allowed, generation, until),
        }
    }
}

/// Decisions by topic, of one connection.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    by_topic: HashMap<Box<str>, Decision>,
    /// says who goes next
    turn: usize,
}

impl Decisions {
    /// What is remembered of a topic, if it still holds.
    pub fn get(&self, topic: &str, generation: u64, now: u64) -> Option<Decision> {
        let decision = self.by_topic.get(topic)?;
        decision.holds(generation, now).then_some(*decision)
    }

    /// Remembers a decision beside at most `most - 1` others.
    pub fn remember(&mut self, topic: &str, decision: Decision, most: usize, now: u64) {
        if self.by_topic.len() >= most && !self.by_topic.contains_key(topic) {
            self.make_room(decision.generation, most, now);
        }
        self.by_topic.insert(topic.into(), decision);
    }

    /// Forgets what no longer holds, and when that is little, some of the rest: not all of it, nor what was used
    /// longest ago, for a client that goes round by one topic more than there is room would then be asked about at
    /// every packet.
    fn make_room(&mut self, generation: u64, most: usize, now: u64) {
        self.by_topic
            .retain(|_, decision| decision.holds(generation, now));
        if self.by_topic.len() > most - most.div_ceil(STEP) {
            let step = STEP.min(self.by_topic.len());
            let mut turn = self.turn;
            self.turn = turn.wrapping_add(1);
            self.by_topic.retain(|_, _| {
                turn = turn.wrapping_add(1);
                !turn.is_multiple_of(step)
            });
        }
        // The bound may have become a smaller one.
        if self.by_topic.len() >= most {
            self.by_topic.clear();
        }
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        let topics = self.by_topic.keys().map(|topic| topic.len());
        self.by_topic.allocation_size() + topics.sum::<usize>()
    }
}

/// Whether there is a topic that both filters match. What begins with `$` is like any other, as for the ACL.
fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('/'), other.split('/'));
    loop {
        match (one.next(), other.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(a), Some(b)) if a == b || a == "+" || b == "+" => {}
            _ => return false,
        }
    }
}

impl Shard {
    /// Makes void what the connection remembers of the topics that `about` says, and what it is being told just now:
    /// that may have been read before the rights were changed.
    fn forget_decisions_of(&mut self, id: ConnId, about: impl Fn(&str) -> bool) {
        let conn = &mut self.conns[id as usize];
        if let Some(cache) = conn.cache.as_mut().filter(|cache| about(&cache.topic)) {
            cache.known.decision = Decision::VOID;
        }
        if let Some(rare) = conn.detail.as_mut().and_then(|detail| detail.rare.as_mut()) {
            rare.decisions.by_topic.retain(|topic, _| !about(topic));
        }
        self.distrust_answers(id);
    }

    /// All of one client's, and asks about its subscriptions; `false` = there is no such client. One that is away is
    /// asked about when it returns.
    fn forget_client(&mut self, clientid: &str) -> bool {
        let mut found = false;
        // More than the one that is connected: another may be asking to come in.
        for id in 0..self.conns.len() as u32 {
            let detail = self.conns[id as usize].detail.as_ref();
            let publisher = detail.and_then(|detail| detail.publisher.as_ref());
            if publisher.is_some_and(|publisher| *publisher.clientid == *clientid) {
                found = true;
                self.forget_decisions_of(id, |_| true);
            }
        }
        let Some(slot) = self.find_session(clientid) else {
            return found;
        };
        match self.sessions[slot as usize].conn {
            NONE => self.sessions[slot as usize].acl_generation = u64::MAX,
            id => self.recheck_subscriptions(id),
        }
        true
    }

    /// What clients were told about topics that the filter matches, and asks about the subscriptions that overlap
    /// with it. Clients that are away are asked about when they return.
    fn forget_topic(&mut self, filter: &str) {
        for id in 0..self.conns.len() as u32 {
            self.forget_decisions_of(id, |topic| overlap(filter, topic));
            if self.conns[id as usize].session != NONE {
                self.recheck_some(id, |subscribed| overlap(filter, subscribed));
            }
        }
        for (_, entry) in &mut self.sessions {
            if entry.conn == NONE {
                entry.acl_generation = u64::MAX;
            }
        }
    }
}

impl Broker {
    /// Makes every ACL decision void, and asks again about the subscriptions of all clients: those that are no longer
    /// allowed end.
    pub fn clean_acl_cache(&self) {
        self.access().forget_kept_answers();
        self.access().forget();
        self.recheck();
    }

    /// The same for one client.
    ///
    /// # Errors
    /// [`AdminError::NotFound`] when there is no such client and no such session.
    pub fn clean_acl_cache_of(&self, clientid: &str) -> Result<(), AdminError> {
        self.access().forget_kept_answers();
        let (index, id) = (self.node.shard_of(clientid), clientid.to_string());
        match self.on_shard(index, move |shard| shard.forget_client(&id)) {
            Some(true) => Ok(()),
            _ => Err(AdminError::NotFound),
        }
    }

    /// The same for one topic, or all that a topic filter matches.
    ///
    /// # Errors
    /// [`AdminError::BadTopic`].
    pub fn clean_acl_cache_about(&self, topic: &str) -> Result<(), AdminError> {
        let parsed = SubscriptionFilter::parse(topic, true).map_err(|_| AdminError::BadTopic)?;
        self.access().forget_kept_answers();
        let filter = parsed.filter.to_string();
        self.on_all(move |shard| shard.forget_topic(&filter));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yes(until: u64) -> Decision {
        Decision::new(true, 1, until)
    }

    #[test]
    fn a_decision_holds_for_its_generation_and_its_time() {
        let mut decisions = Decisions::default();
        decisions.remember("a", yes(100), 4, 0);
        assert_eq!(decisions.get("a", 1, 99), Some(yes(100)));
        assert_eq!(decisions.get("a", 1, 100), None);
        assert_eq!(decisions.get("a", 2, 50), None);
        assert_eq!(decisions.get("b", 1, 50), None);
        decisions.remember("a", yes(u64::MAX), 4, 0);
        assert!(decisions.get("a", 1, u64::MAX - 1).is_some());
        let unknown = Decision::of(Permit::Unknown, 1, 100);
        assert!(!unknown.allowed && !unknown.holds(1, 0) && !unknown.holds(u64::MAX, 0));
    }

    #[test]
    fn bounded_whatever_comes() {
        for most in [1, 2, 7, 8, 9, 64] {
            let mut decisions = Decisions::default();
            for n in 0..1000 {
                let topic = format!("t/{}", n % 150);
                decisions.remember(&topic, yes(u64::MAX), most, 0);
                assert!(decisions.by_topic.len() <= most, "{most}");
                assert!(decisions.get(&topic, 1, 0).is_some(), "the newest is there");
            }
        }
        // A bound that has become smaller holds from the next one on.
        let mut decisions = Decisions::default();
        (0..64).for_each(|n| decisions.remember(&n.to_string(), yes(u64::MAX), 64, 0));
        decisions.remember("x", yes(u64::MAX), 4, 0);
        assert!(decisions.by_topic.len() <= 4);
    }

    #[test]
    fn what_no_longer_holds_goes_first() {
        let mut decisions = Decisions::default();
        for n in 0..32 {
            decisions.remember(&format!("old/{n}"), yes(10), 64, 0);
            decisions.remember(&format!("new/{n}"), yes(1000), 64, 0);
        }
        decisions.remember("x", yes(1000), 64, 10);
        assert_eq!(decisions.by_topic.len(), 33);
        assert!((0..32).all(|n| decisions.get(&format!("new/{n}"), 1, 10).is_some()));
    }

    #[test]
    fn a_few_topics_too_many_do_not_cost_a_question_each_time() {
        let mut decisions = Decisions::default();
        let mut asked = 0;
        const ROUNDS: usize = 100;
        for n in 0..ROUNDS * 70 {
            let topic = format!("sensor/{}", n % 70);
            if decisions.get(&topic, 1, 0).is_none() {
                asked += 1;
                decisions.remember(&topic, yes(u64::MAX), 64, 0);
            }
        }
        // By order of use it would be all of them.
        assert!(asked < ROUNDS * 70 / 2, "{asked} of {}", ROUNDS * 70);
    }

    #[test]
    fn overlapping_filters() {
        for (one, other, both) in [
            ("a/b", "a/b", true),
            ("a/b", "a/c", false),
            ("a/b", "a", false),
            ("a/b", "a/b/c", false),
            ("a/+", "a/b", true),
            ("a/+", "+/b", true),
            ("a/+", "b/+", false),
            ("a/+", "a", false),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("a/#", "b/#", false),
            ("a/#", "+/b/c", true),
            ("#", "$SYS/x", true),
            ("+/+", "a/#", true),
            ("", "a", false),
            ("+", "", true),
        ] {
            assert_eq!(overlap(one, other), both, "{one} {other}");
            assert_eq!(overlap(other, one), both, "{other} {one}");
        }
    }
}
