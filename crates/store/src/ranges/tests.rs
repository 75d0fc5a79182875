use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn check(ranges: &Ranges, model: &BTreeMap<u64, u32>) {
    let flat: BTreeMap<u64, u32> = ranges
        .iter()
        .flat_map(|r| (r.start..r.end()).map(move |s| (s, r.segment)))
        .collect();
    assert_eq!(&flat, model);
    assert_eq!(ranges.total(), model.len() as u64);
    assert_eq!(ranges.front(), model.keys().next().copied());
    let all: Vec<Range> = ranges.iter().collect();
    assert!(all.iter().all(|r| r.count > 0));
    assert!(all.windows(2).all(|w| w[0].end() <= w[1].start));
}

#[derive(Debug, Clone)]
enum Op {
    Insert(u64, u32),
    Remove(u64),
    Retain(u32),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0u64..40, 1u32..4).prop_map(|(s, n)| Op::Insert(s, n)),
        6 => (0u64..40).prop_map(Op::Remove),
        1 => (1u32..4).prop_map(Op::Retain),
    ]
}

proptest! {
    #[test]
    fn it_is_a_map_of_numbers(ops in prop::collection::vec(op(), 0..200)) {
        let mut ranges = Ranges::default();
        let mut model = BTreeMap::new();
        for op in ops {
            match op {
                Op::Insert(seq, segment) => {
                    let expect = match model.insert(seq, segment) {
                        None => Inserted::New,
                        Some(old) if old == segment => Inserted::Same,
                        Some(from) => Inserted::Moved { from },
                    };
                    prop_assert_eq!(ranges.insert(seq, segment), expect);
                }
                Op::Remove(seq) => prop_assert_eq!(ranges.remove(seq), model.remove(&seq)),
                Op::Retain(segment) => {
                    let before = model.len();
                    model.retain(|_, s| *s == segment);
                    prop_assert_eq!(ranges.retain(|s| s == segment), (before - model.len()) as u64);
                }
            }
            check(&ranges, &model);
        }
        for (from, to) in [(0, 40), (7, 8), (5, 30), (39, 100)] {
            let found: Vec<u64> = ranges
                .between(from, to)
                .flat_map(|r| r.start.max(from)..r.end().min(to))
                .collect();
            let expect: Vec<u64> = model.range(from..to).map(|(&s, _)| s).collect();
            prop_assert_eq!(found, expect);
        }
        for seq in 0..41 {
            prop_assert_eq!(ranges.segment_of(seq), model.get(&seq).copied());
        }
    }
}

#[test]
fn a_queue_in_order_takes_one_range() {
    let mut ranges = Ranges::default();
    for seq in 1..=100_000 {
        ranges.insert(seq, 1);
    }
    for seq in 1..50_000 {
        assert_eq!(ranges.remove(seq), Some(1));
    }
    assert_eq!(ranges.iter().count(), 1);
    assert_eq!((ranges.front(), ranges.total()), (Some(50_000), 50_001));
}
