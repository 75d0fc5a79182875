//! What the client has been sent and has not acknowledged.

use super::subscriptions::{AckMode, Subscription};
use emqttd_plugin_sdk::virtual_client::Incoming;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// Messages at QoS 0 that ACK and NACK are waited for at the most: no window of the broker's bounds them.
const UNBOUND: usize = 1000;
/// Bytes of them.
const UNBOUND_BYTES: usize = 1024 * 1024;

/// What the client says of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It has it.
    Taken,
    /// It does not take it; again, or never.
    Refused { again: bool },
}

/// A message for one subscription.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub subscription: Arc<Subscription>,
    pub message: Arc<Incoming>,
}

/// The number that a message of the connection has.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// It was never given out.
    Number,
    /// It was, but to another subscription.
    Subscription,
}

/// Deliveries of a connection.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    /// of the last MESSAGE
    last: u64,
    /// those that ACK or NACK is waited for, by number
    waiting: BTreeMap<u64, Delivery>,
    /// refused ones that are sent again
    again: VecDeque<Delivery>,
    /// by identifier of the broker's: deliveries of the message that wait or are sent again
    shares: HashMap<u16, usize>,
    /// numbers of those at QoS 0, some of them settled already
    unbound: VecDeque<u64>,
    /// messages at QoS 0 that wait, and their bytes
    unbound_waiting: usize,
    unbound_bytes: usize,
}

impl Deliveries {
    /// A number for a MESSAGE that no acknowledgement is waited for.
    pub fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// A number for a MESSAGE that is waited for.
    pub fn wait(&mut self, delivery: Delivery) -> u64 {
        self.hold(delivery.message.id);
        self.put(delivery)
    }

    fn put(&mut self, delivery: Delivery) -> u64 {
        let number = self.number();
        if delivery.message.id == 0 {
            self.unbound.push_back(number);
            self.unbound_waiting += 1;
            self.unbound_bytes += size(&delivery.message);
        }
        self.waiting.insert(number, delivery);
        self.forget_unbound();
        number
    }

    /// Messages at QoS 0 beyond what is kept are taken for acknowledged, the oldest first.
    fn forget_unbound(&mut self) {
        while self.unbound.len() > UNBOUND || self.unbound_bytes > UNBOUND_BYTES {
            let Some(oldest) = self.unbound.pop_front() else {
                return;
            };
            self.take(oldest);
        }
    }

    fn take(&mut self, number: u64) -> Option<Delivery> {
        let delivery = self.waiting.remove(&number)?;
        if delivery.message.id == 0 {
            self.unbound_waiting -= 1;
            self.unbound_bytes -= size(&delivery.message);
            if self.unbound_waiting == 0 {
                self.unbound.clear();
            }
        }
        Some(delivery)
    }

    /// Whether ACK or NACK may name that number.
    pub fn check(&self, number: u64, subscription: Option<&str>) -> Result<(), Unknown> {
        if number == 0 || number > self.last {
            return Err(Unknown::Number);
        }
        let delivery = self.waiting.get(&number);
        let named = |id: &str| {
            delivery
                .is_none_or(|found| found.subscription.id.as_deref().is_none_or(|own| own == id))
        };
        if subscription.is_some_and(|id| !named(id)) {
            return Err(Unknown::Subscription);
        }
        Ok(())
    }

    /// ACK or NACK: of that message, or in mode `client` of all up to it. One that is settled already stays so.
    /// Identifiers of messages that are done are given to `done`; how many are sent again.
    pub fn settle(&mut self, number: u64, verdict: Verdict, mut done: impl FnMut(u16)) -> usize {
        let Some(named) = self.waiting.get(&number) else {
            return 0;
        };
        let again = match verdict {
            Verdict::Taken => false,
            Verdict::Refused { again } => again,
        };
        let mut settled = vec![number];
        if named.subscription.ack == AckMode::Client {
            let serial = named.subscription.serial;
            let earlier = self.waiting.range(..number);
            let earlier = earlier.filter(|(_, other)| other.subscription.serial == serial);
            settled = earlier
                .map(|(earlier, _)| *earlier)
                .chain([number])
                .collect();
        }
        let mut count = 0;
        for number in settled {
            let Some(delivery) = self.take(number) else {
                continue;
            };
            if again {
                self.again.push_back(delivery);
                count += 1;
            } else {
                self.finish(delivery.message.id, &mut done);
            }
        }
        count
    }

    /// The message with that identifier is not done yet, whatever is acknowledged.
    pub fn hold(&mut self, id: u16) {
        if id != 0 {
            *self.shares.entry(id).or_default() += 1;
        }
    }

    /// Ends [`Deliveries::hold`]; whether nothing else of the message is waited for.
    pub fn release(&mut self, id: u16) -> bool {
        let mut done = false;
        self.finish(id, &mut |_| done = true);
        done
    }

    fn finish(&mut self, id: u16, done: &mut impl FnMut(u16)) {
        if let Some(share) = self.shares.get_mut(&id) {
            *share -= 1;
            if *share == 0 {
                self.shares.remove(&id);
                done(id);
            }
        }
    }

    /// The next message that is sent again, with its new number.
    pub fn next_again(&mut self) -> Option<(u64, Delivery)> {
        let delivery = self.again.pop_front()?;
        Some((self.put(delivery.clone()), delivery))
    }

    /// The subscription has ended: nobody takes its messages any more.
    pub fn end(&mut self, serial: u64, mut done: impl FnMut(u16)) {
        let of_it = |(number, delivery): (&u64, &Delivery)| {
            (delivery.subscription.serial == serial).then_some(*number)
        };
        let numbers: Vec<u64> = self.waiting.iter().filter_map(of_it).collect();
        let mut ended: Vec<Delivery> = numbers.into_iter().filter_map(|n| self.take(n)).collect();
        self.again.retain(|delivery| {
            let of_it = delivery.subscription.serial == serial;
            if of_it {
                ended.push(delivery.clone());
            }
            !of_it
        });
        for delivery in ended {
            self.finish(delivery.message.id, &mut done);
        }
    }
}

/// What a message that waits is counted for.
fn size(message: &Incoming) -> usize {
    message.payload.len() + message.about.as_ref().map_or(0, |about| about.size())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use emqttd_plugin_sdk::QoS;

    fn subscription(serial: u64, ack: AckMode) -> Arc<Subscription> {
        Arc::new(Subscription {
            id: Some(serial.to_string()),
            serial,
            ack,
            beginning: Vec::new(),
        })
    }

    fn delivery(subscription: &Arc<Subscription>, id: u16, bytes: usize) -> Delivery {
        let qos = if id == 0 {
            QoS::AtMostOnce
        } else {
            QoS::AtLeastOnce
        };
        let mut message = crate::machine::tests::incoming("t", &"x".repeat(bytes));
        (message.id, message.qos) = (id, qos);
        Delivery {
            subscription: Arc::clone(subscription),
            message: Arc::new(message),
        }
    }

    fn settle(all: &mut Deliveries, number: u64, verdict: Verdict) -> Vec<u16> {
        let mut done = Vec::new();
        all.settle(number, verdict, |id| done.push(id));
        done
    }

    #[test]
    fn one_by_one() {
        let mut all = Deliveries::default();
        let individual = subscription(1, AckMode::Individual);
        let numbers: Vec<u64> = (11..14)
            .map(|id| all.wait(delivery(&individual, id, 1)))
            .collect();
        assert_eq!(numbers, [1, 2, 3]);
        assert_eq!(settle(&mut all, 2, Verdict::Taken), [12]);
        assert_eq!(settle(&mut all, 2, Verdict::Taken), [0; 0]);
        assert_eq!(settle(&mut all, 1, Verdict::Taken), [11]);
        assert_eq!(settle(&mut all, 3, Verdict::Refused { again: false }), [13]);
    }

    #[test]
    fn all_up_to_it_of_the_same_subscription() {
        let mut all = Deliveries::default();
        let (one, two) = (
            subscription(1, AckMode::Client),
            subscription(2, AckMode::Client),
        );
        for (subscription, id) in [(&one, 11), (&two, 12), (&one, 13), (&one, 14)] {
            all.wait(delivery(subscription, id, 1));
        }
        assert_eq!(settle(&mut all, 3, Verdict::Taken), [11, 13]);
        assert_eq!(settle(&mut all, 2, Verdict::Taken), [12]);
        assert_eq!(settle(&mut all, 4, Verdict::Taken), [14]);
        assert!(all.shares.is_empty());
    }

    #[test]
    fn a_message_is_done_when_all_its_subscriptions_have_acknowledged() {
        let mut all = Deliveries::default();
        let (one, two) = (
            subscription(1, AckMode::Individual),
            subscription(2, AckMode::Client),
        );
        all.wait(delivery(&one, 11, 1));
        all.wait(delivery(&two, 11, 1));
        assert_eq!(settle(&mut all, 1, Verdict::Taken), [0; 0]);
        assert_eq!(settle(&mut all, 2, Verdict::Taken), [11]);
    }

    #[test]
    fn what_is_refused_comes_again_under_another_number() {
        let mut all = Deliveries::default();
        let client = subscription(1, AckMode::Client);
        all.wait(delivery(&client, 11, 1));
        all.wait(delivery(&client, 12, 1));
        assert_eq!(
            all.settle(2, Verdict::Refused { again: true }, |_| panic!()),
            2
        );
        let (number, first) = all.next_again().unwrap();
        assert_eq!((number, first.message.id), (3, 11));
        let (number, second) = all.next_again().unwrap();
        assert_eq!((number, second.message.id), (4, 12));
        assert!(all.next_again().is_none());
        assert_eq!(settle(&mut all, 4, Verdict::Taken), [11, 12]);
    }

    #[test]
    fn an_ended_subscription_holds_nothing() {
        let mut all = Deliveries::default();
        let (one, two) = (
            subscription(1, AckMode::Individual),
            subscription(2, AckMode::Individual),
        );
        all.wait(delivery(&one, 11, 1));
        all.wait(delivery(&one, 12, 1));
        all.wait(delivery(&two, 12, 1));
        all.wait(delivery(&one, 0, 5));
        all.settle(1, Verdict::Refused { again: true }, |_| panic!());
        let mut done = Vec::new();
        all.end(1, |id| done.push(id));
        assert_eq!(done, [11]);
        assert!(all.next_again().is_none());
        assert_eq!(settle(&mut all, 3, Verdict::Taken), [12]);
        assert_eq!((all.unbound_bytes, all.unbound.len()), (0, 0));
    }

    #[test]
    fn numbers_that_may_be_named() {
        let mut all = Deliveries::default();
        let one = subscription(1, AckMode::Individual);
        all.wait(delivery(&one, 11, 1));
        all.number();
        assert_eq!(all.check(0, None), Err(Unknown::Number));
        assert_eq!(all.check(1, None), Ok(()));
        assert_eq!(all.check(1, Some("1")), Ok(()));
        assert_eq!(all.check(1, Some("2")), Err(Unknown::Subscription));
        // In mode auto, or settled already.
        assert_eq!(all.check(2, Some("9")), Ok(()));
        assert_eq!(all.check(3, None), Err(Unknown::Number));
    }

    #[test]
    fn messages_at_qos_0_are_bounded() {
        let mut all = Deliveries::default();
        let one = subscription(1, AckMode::Individual);
        for _ in 0..=UNBOUND {
            all.wait(delivery(&one, 0, 1));
        }
        assert_eq!(all.waiting.len(), UNBOUND);
        assert!(!all.waiting.contains_key(&1));
        for _ in 0..11 {
            all.wait(delivery(&one, 0, UNBOUND_BYTES / 10));
        }
        assert!(all.unbound_bytes <= UNBOUND_BYTES);
        assert_eq!(all.waiting.len(), 10);
        // Those that are settled take no place for ever.
        let numbers: Vec<u64> = all.waiting.keys().copied().collect();
        for number in numbers {
            settle(&mut all, number, Verdict::Taken);
        }
        assert_eq!((all.unbound.len(), all.unbound_bytes), (0, 0));
    }
}
