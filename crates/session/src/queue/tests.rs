//! The queue against a plain list.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::message::MessageParts;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Op {
    Push {
        topic: usize,
        size: usize,
        qos0: bool,
    },
    Pop,
    TakeQos0,
    Retain {
        topic: usize,
    },
}

const TOPICS: [&str; 3] = ["low", "mid", "top"];

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..3usize, 0..40usize, any::<bool>()).prop_map(|(topic, size, qos0)| Op::Push { topic, size, qos0 }),
        3 => Just(Op::Pop),
        1 => Just(Op::TakeQos0),
        1 => (0..3usize).prop_map(|topic| Op::Retain { topic }),
    ]
}

fn limits() -> impl Strategy<Value = QueueLimits> {
    (
        0..6usize,
        prop_oneof![Just(0), 3..200usize],
        any::<bool>(),
        any::<bool>(),
        0..100u8,
        0..100u8,
    )
        .prop_map(
            |(max_length, max_bytes, store_qos0, priorities, a, b)| QueueLimits {
                max_length,
                max_bytes,
                store_qos0,
                priorities: priorities
                    .then(|| Arc::new(vec![("top".to_owned(), 200), ("mid".to_owned(), 1)])),
                high_watermark: a.max(b),
                low_watermark: a.min(b),
                ram_most: 0,
            },
        )
}

/// What waits, as a plain list: number, level, size, QoS 0.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Waiting {
    num: u32,
    level: u8,
    size: usize,
    qos0: bool,
}

#[derive(Default)]
struct Model(Vec<Waiting>);

impl Model {
    fn bytes(&self) -> usize {
        self.0.iter().map(|w| w.size).sum()
    }

    /// Where the next one stands: the highest level, the oldest of it.
    fn next(&self) -> Option<usize> {
        let highest = self.0.iter().map(|w| w.level).max()?;
        self.0.iter().position(|w| w.level == highest)
    }

    /// Returns what is dropped, in order, and whether `new` is kept.
    fn push(&mut self, new: Waiting, limits: &QueueLimits) -> (Vec<u32>, bool) {
        let mut dropped = Vec::new();
        if (new.qos0 && !limits.store_qos0) || (limits.max_bytes > 0 && new.size > limits.max_bytes)
        {
            return (vec![new.num], false);
        }
        let lane = self.0.iter().filter(|w| w.level == new.level).count();
        if limits.max_length > 0 && lane >= limits.max_length {
            let at = self.0.iter().position(|w| w.level == new.level).unwrap();
            dropped.push(self.0.remove(at).num);
        }
        while limits.max_bytes > 0 && self.bytes() + new.size > limits.max_bytes {
            let lowest = self.0.iter().map(|w| w.level).min().unwrap();
            if lowest > new.level {
                dropped.push(new.num);
                return (dropped, false);
            }
            let at = self.0.iter().position(|w| w.level == lowest).unwrap();
            dropped.push(self.0.remove(at).num);
        }
        self.0.push(new);
        (dropped, true)
    }
}

fn delivery(num: u32, topic: usize, size: usize, qos0: bool) -> Delivery {
    let qos = if qos0 {
        QoS::AtMostOnce
    } else {
        QoS::AtLeastOnce
    };
    let payload = vec![0; size];
    let parts = MessageParts {
        topic: TOPICS[topic],
        properties: &[],
        payload: &payload,
        qos,
        retain: false,
    };
    let mut delivery = Delivery::new(Arc::new(Message::new(parts, None, 0, u64::MAX)), qos);
    delivery.sub_id = num;
    delivery
}

proptest! {
    #[test]
    fn behaves_like_a_list(limits in limits(), ops in proptest::collection::vec(op(), 0..200)) {
        let mut queue = Queue::default();
        let mut model = Model::default();
        let mut alarm = false;
        for (num, op) in (1u32..).zip(ops) {
            match op {
                Op::Push { topic, size, qos0 } => {
                    let level = limits.priorities.as_ref().map_or(0, |_| [0, 1, 200][topic]);
                    let new = Waiting { num, level, size: size + 3, qos0 };
                    let want = model.push(new, &limits);
                    let mut dropped = Vec::new();
                    let kept = queue.push(delivery(num, topic, size, qos0), &limits, (0, 0), |d, why| {
                        assert_eq!(why == Dropped::QoS0, qos0 && !limits.store_qos0);
                        dropped.push(d.sub_id);
                    });
                    prop_assert_eq!((dropped, kept), want);
                }
                Op::Pop => {
                    let want = model.next().map(|at| model.0.remove(at).num);
                    prop_assert_eq!(queue.front().map(|d| d.sub_id), want);
                    prop_assert_eq!(queue.pop().map(|d| d.sub_id), want);
                }
                Op::TakeQos0 => {
                    let mut want: Vec<Waiting> = model.0.iter().copied().filter(|w| w.qos0).collect();
                    want.sort_by_key(|w| std::cmp::Reverse(w.level));
                    model.0.retain(|w| !w.qos0);
                    let taken: Vec<u32> = queue.take_qos0().iter().map(|d| d.sub_id).collect();
                    prop_assert_eq!(taken, want.iter().map(|w| w.num).collect::<Vec<_>>());
                }
                Op::Retain { topic } if limits.priorities.is_some() => {
                    let level = [0, 1, 200][topic];
                    let gone = queue.retain(|message| message.topic() != TOPICS[topic], |_| ());
                    prop_assert_eq!(gone.len(), model.0.iter().filter(|w| w.level == level).count());
                    model.0.retain(|w| w.level != level);
                }
                Op::Retain { .. } => {
                    prop_assert_eq!(queue.retain(|_| false, |_| ()).len(), model.0.len());
                    model.0.clear();
                }
            }
            prop_assert_eq!(queue.len(), model.0.len());
            prop_assert_eq!(queue.is_empty(), model.0.is_empty());
            prop_assert_eq!(queue.bytes(), model.bytes());

            let watched = limits.max_length > 0 && limits.high_watermark > 0 && limits.priorities.is_none();
            let percent = model.0.len() * 100;
            let high = percent > limits.max_length * usize::from(limits.high_watermark);
            let low = model.0.is_empty() || percent < limits.max_length * usize::from(limits.low_watermark);
            let want = match alarm {
                false if watched && high => Some(true),
                true if low => Some(false),
                _ => None,
            };
            alarm = want.unwrap_or(alarm);
            prop_assert_eq!(queue.watermark(&limits, 0), want);
        }
        let mut rest = Vec::new();
        while let Some(delivery) = queue.pop() {
            rest.push(delivery.sub_id);
        }
        model.0.sort_by_key(|w| std::cmp::Reverse(w.level));
        prop_assert_eq!(rest, model.0.iter().map(|w| w.num).collect::<Vec<_>>());
    }
}
