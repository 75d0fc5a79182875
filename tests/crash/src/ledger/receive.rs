//! What an application got: is it right that it did?

use super::{Ledger, Purpose, State, Who};
use crate::client::Got;
use crate::findings::Kind;
use crate::message::Key;

impl Ledger {
    /// The application of `who` got a message.
    pub fn received(&mut self, who: Who, got: &Got) {
        let Some(key) = got.what else { return };
        if got.retain {
            // What is retained is for those who look at it: see `retained_seen`.
            return;
        }
        let name = self.names[who].clone();
        let bit = 1u64 << who;
        let Some(message) = self.message(key) else {
            let why = || format!("{name} got {key}, which nobody sent");
            return self.findings.add(Kind::Protocol, why);
        };
        let (qos, sent, topic, purpose) =
            (message.qos, message.sent, message.topic, message.purpose);
        let acked_at = message.acked_at;
        let forbidden = message.forbidden;
        let again = message.got & bit != 0;
        let given_up = message.lost_to & bit != 0 && !again;
        let exact_before = message.exact;
        message.got |= bit;
        if got.qos == 2 {
            message.exact |= bit;
        }
        let owed = message.owed & bit != 0;
        let sub = self.subscriptions[who]
            .iter()
            .find(|s| s.covers(&got.topic))
            .map(|s| (s.state, s.since, s.group, s.qos));
        // The lower of the two, also for what was restored [MQTT-3.8.4-8].
        let most = sub.map_or(qos, |(.., granted)| qos.min(granted));
        if self.topics[usize::from(topic)] != got.topic || got.qos > most {
            let text = self.describe(key);
            self.findings.add(Kind::Protocol, || {
                format!("{name} got {text} on {} with QoS {}", got.topic, got.qos)
            });
        }
        match sub {
            Some((State::Gone, since, ..)) if sent > since => {
                let text = self.describe(key);
                self.findings.add(Kind::Revived, || {
                    format!("{name} got {text}, sent after the UNSUBACK for it")
                });
            }
            Some((State::Never, since, ..)) if sent > since && since > 0 => {
                let text = self.describe(key);
                self.findings.add(Kind::Revived, || {
                    format!("{name} got {text}, and did not subscribe since its session ended")
                });
            }
            None => {
                let text = self.describe(key);
                self.findings.add(Kind::Protocol, || {
                    format!("{name} got {text} without a subscription")
                });
            }
            _ => {}
        }
        if given_up {
            let text = self.describe(key);
            self.findings
                .add(Kind::Late, || format!("{name} got {text} after all"));
        }
        if forbidden {
            let text = self.describe(key);
            self.findings.add(Kind::WillWrong, || {
                format!("{name} got {text}, which was taken back")
            });
        }
        // What was not acknowledged by then may have been published after.
        let grouped = sub.is_some_and(|(_, _, group, _)| group.is_some());
        if acked_at > 0 && acked_at < self.reborn[who] && purpose == Purpose::Traffic && !grouped {
            let text = self.describe(key);
            self.findings.add(Kind::ExpiredRevived, || {
                format!("{name} got {text}, from before its session ended")
            });
        }
        if again {
            return self.duplicate(who, key, got.qos, qos, exact_before & bit != 0);
        }
        self.counts.delivered += 1;
        self.counts.delivered_exactly += u64::from(got.qos == 2);
        match sub {
            Some((_, _, Some(group), _)) => self.group_got(key, who, group, got.qos, exact_before),
            _ => {
                if owed {
                    self.waiting[who] -= 1;
                }
                if purpose == Purpose::Will {
                    self.counts.wills += 1;
                } else if owed {
                    // One that was not may have passed before the subscription was there, and be repeated
                    // by its publisher.
                    self.check_order(who, key, qos, got.qos);
                }
            }
        }
        if self.message(key).is_some_and(|m| !m.missing()) {
            self.open.remove(&key);
        }
    }

    fn duplicate(&mut self, who: Who, key: Key, with: u8, of: u8, exact_before: bool) {
        let name = self.names[who].clone();
        match (with, of) {
            (2, _) if exact_before => {
                let text = self.describe(key);
                self.findings
                    .add(Kind::Duplicate, || format!("{name} got {text} twice"));
            }
            (0, 0) => {
                let text = self.describe(key);
                self.findings
                    .add(Kind::DuplicateQos0, || format!("{name} got {text} twice"));
            }
            // The publisher repeats what was not acknowledged; with QoS 0 nobody can know it again.
            (0, _) => {}
            _ => self.counts.duplicated_qos1 += 1,
        }
    }

    fn group_got(&mut self, key: Key, who: Who, group: u8, with: u8, exact_before: u64) {
        let others: u64 = self
            .subscriptions
            .iter()
            .enumerate()
            .filter(|(other, list)| *other != who && list.iter().any(|s| s.group == Some(group)))
            .map(|(other, _)| 1u64 << other)
            .sum();
        let Some(message) = self.message(key) else {
            return;
        };
        let second = message.groups_got & 1 << group != 0;
        message.groups_got |= 1 << group;
        if !second {
            return;
        }
        if with == 2 && exact_before & others != 0 {
            let text = self.describe(key);
            let name = self.names[who].clone();
            self.findings.add(Kind::Duplicate, || {
                format!("{name} got {text}, which another member of its group had got")
            });
        } else {
            self.counts.duplicated_qos1 += 1;
        }
    }

    /// First receipts come in the order of sending, for each publisher, receiver and QoS [MQTT-4.6.0-5].
    fn check_order(&mut self, who: Who, key: Key, qos: u8, with: u8) {
        if self.unordered & 1 << key.who != 0 || (with == 0 && qos > 0) {
            return;
        }
        let last = self
            .last
            .entry((who, usize::from(key.who), qos))
            .or_default();
        let before = *last;
        *last = before.max(key.n);
        if key.n < before {
            let text = self.describe(key);
            let name = self.names[who].clone();
            self.findings.add(Kind::Order, || {
                format!("{name} got {text} after message {}.{before}", key.who)
            });
        }
    }
}
