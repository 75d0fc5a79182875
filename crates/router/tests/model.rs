//! The router and the retained tree against a model that compares every filter with every name.
#![allow(clippy::unwrap_used)]

use emqttd_router::{Advance, RetainedTree, Router, Target, Walk, Walked};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Whether the filter selects the name, level by level, as section 4.7 of the standard tells it.
fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$')
        && (filter == "#" || filter == "+" || filter.starts_with("#/") || filter.starts_with("+/"))
    {
        return false; // [MQTT-4.7.2-1]
    }
    let mut names = topic.split('/');
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        if level == "#" && levels.peek().is_none() {
            return true;
        }
        match names.next() {
            Some(name) if level == "+" || level == name => {}
            _ => return false,
        }
    }
    names.next().is_none()
}

/// Levels that meet often, and some that come near each other: empty, `$`, beyond ASCII, around 11 and 16 bytes.
fn level() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop_oneof!["a", "b", "c"].prop_map(|s| s.to_string()),
        2 => Just(String::new()),
        1 => prop_oneof!["\\$SYS", "\\$", "é", "𝄞𝄞𝄞", "日本語の話題", "12345678901", "123456789012", "1234567890123456", "x{40}"],
        1 => "[a-z0-9]{9,18}",
    ]
}

fn topic() -> impl Strategy<Value = String> {
    prop::collection::vec(level(), 1..6).prop_map(|levels| levels.join("/"))
}

fn filter() -> impl Strategy<Value = String> {
    let levels = prop::collection::vec(prop_oneof![3 => level(), 2 => Just("+".to_string())], 0..6);
    (levels, prop::bool::ANY).prop_map(|(mut levels, hash)| {
        if hash || levels.is_empty() {
            levels.push("#".into());
        }
        levels.join("/")
    })
}

#[derive(Clone, Debug)]
enum Act {
    Subscribe(String, u64, u32),
    Unsubscribe(String, u64),
    UnsubscribeNth(usize),
    Route(String),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (filter(), 0..5u64, 0..3u32).prop_map(|(f, o, n)| Act::Subscribe(f, o, n)),
        1 => (filter(), 0..5u64).prop_map(|(f, o)| Act::Unsubscribe(f, o)),
        2 => any::<usize>().prop_map(Act::UnsubscribeNth),
        3 => topic().prop_map(Act::Route),
    ]
}

type Model = BTreeMap<(String, u64), Target>;

fn key(t: &Target) -> (u64, u32, u32) {
    (t.owner, t.opts, t.sub_id)
}

fn check_route(router: &Router, model: &Model, topic: &str) {
    let mut got = Vec::new();
    router.route(topic, |t| got.push(key(t)));
    let mut expected: Vec<_> = model
        .iter()
        .filter(|((f, _), _)| matches(f, topic))
        .map(|(_, t)| key(t))
        .collect();
    got.sort();
    expected.sort();
    assert_eq!(got, expected, "{topic}");
}

fn check_all(router: &Router, model: &Model) {
    let mut listed = Model::new();
    let mut filters = 0;
    router.for_each(|filter, targets| {
        filters += 1;
        assert!(!targets.is_empty());
        assert_eq!(router.targets(filter), targets);
        for t in targets {
            assert!(listed.insert((filter.to_string(), t.owner), *t).is_none());
        }
    });
    assert_eq!(&listed, model);
    assert_eq!(router.len(), filters);
    assert_eq!(router.is_empty(), model.is_empty());
    for most in [1, 3, 100] {
        let mut walked = Model::new();
        let mut walk = Walk::default();
        loop {
            let how = router.walk(&mut walk, most, |filter, targets| {
                for t in targets {
                    assert!(walked.insert((filter.to_string(), t.owner), *t).is_none());
                }
            });
            match how {
                Walked::Done => break,
                Walked::More => {}
                Walked::Lost => panic!("nothing has changed"),
            }
        }
        assert_eq!(&walked, model);
    }
}

/// What happens between two pieces of a walk.
fn change(router: &mut Router, filter: &str, stays: &BTreeMap<String, usize>) {
    if stays.contains_key(filter) {
        return;
    }
    let target = Target {
        owner: 1,
        opts: 0,
        sub_id: 0,
    };
    if router.unsubscribe(filter, 1).is_none() {
        router.subscribe(filter, target);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// What stays is met once, whatever else comes and goes; a walk that is lost has begun anew.
    #[test]
    fn a_walk_meets_what_stays(
        stays in prop::collection::btree_set(prop_oneof![topic(), filter()], 0..40),
        changes in prop::collection::vec(prop::collection::vec(prop_oneof![topic(), filter()], 0..6), 1..40),
        most in 1..8usize,
    ) {
        let mut router = Router::new();
        let mut stays: BTreeMap<String, usize> = stays.into_iter().map(|filter| (filter, 0)).collect();
        for filter in stays.keys() {
            router.subscribe(filter, Target { owner: 7, opts: 0, sub_id: 0 });
        }
        let mut walk = Walk::default();
        let mut changes = changes.into_iter();
        loop {
            let how = router.walk(&mut walk, most, |filter, _| {
                if let Some(met) = stays.get_mut(filter) {
                    *met += 1;
                }
            });
            match how {
                Walked::Done => break,
                Walked::More => {}
                Walked::Lost => {
                    walk = Walk::default();
                    stays.values_mut().for_each(|met| *met = 0);
                }
            }
            for filter in changes.next().unwrap_or_default() {
                change(&mut router, &filter, &stays);
            }
        }
        for (filter, met) in stays {
            prop_assert_eq!(met, 1, "{}", filter);
        }
    }

    #[test]
    fn the_router_does_what_the_model_does(acts in prop::collection::vec(act(), 1..120)) {
        let mut router = Router::new();
        let mut model = Model::new();
        for act in acts {
            match act {
                Act::Subscribe(filter, owner, opts) => {
                    let target = Target { owner, opts, sub_id: owner as u32 * 10 };
                    let old = model.insert((filter.clone(), owner), target);
                    assert_eq!(router.subscribe(&filter, target), old);
                    assert!(router.contains(&filter));
                }
                Act::Unsubscribe(filter, owner) => {
                    let old = model.remove(&(filter.clone(), owner));
                    assert_eq!(router.unsubscribe(&filter, owner), old);
                    let left = model.keys().any(|(f, _)| *f == filter);
                    assert_eq!(router.contains(&filter), left);
                }
                Act::UnsubscribeNth(n) => {
                    let Some(at) = model.keys().nth(n % model.len().max(1)).cloned() else { continue };
                    let old = model.remove(&at);
                    assert_eq!(router.unsubscribe(&at.0, at.1), old);
                }
                Act::Route(topic) => check_route(&router, &model, &topic),
            }
        }
        check_all(&router, &model);
        for (filter, owner) in model.clone().into_keys() {
            model.remove(&(filter.clone(), owner));
            assert!(router.unsubscribe(&filter, owner).is_some());
            check_all(&router, &model);
        }
        check_route(&router, &model, "a/b");
    }

    #[test]
    fn the_retained_tree_does_what_the_model_does(
        acts in prop::collection::vec((topic(), prop::option::weighted(0.7, 0..1000u32)), 1..80),
        filters in prop::collection::vec(filter(), 1..20),
    ) {
        let mut tree = RetainedTree::new();
        let mut model = BTreeMap::new();
        for (topic, value) in acts {
            match value {
                Some(value) => assert_eq!(tree.insert(&topic, value), model.insert(topic, value)),
                None => {
                    let nth = model.keys().nth(topic.len() % model.len().max(1)).cloned();
                    for topic in [Some(topic), nth].into_iter().flatten() {
                        assert_eq!(tree.remove(&topic), model.remove(&topic));
                        assert_eq!(tree.get(&topic), None);
                    }
                }
            }
            assert_eq!(tree.len(), model.len());
        }
        let mut all = BTreeMap::new();
        tree.for_each(|topic, value| assert!(all.insert(topic.to_string(), *value).is_none()));
        assert_eq!(&all, &model);
        for filter in filters.iter().chain(model.keys()) {
            let mut got = BTreeMap::new();
            tree.matching(filter, |topic, value| assert!(got.insert(topic.to_string(), *value).is_none()));
            let expected = model.iter().filter(|(t, _)| matches(filter, t)).map(|(t, v)| (t.clone(), *v)).collect();
            assert_eq!(got, expected, "{filter}");
            // The same in steps.
            let mut selection = tree.select(filter);
            let mut steps = Vec::new();
            loop {
                let (how, visited) = tree.advance(&mut selection, 2, |id, value| steps.push((id, *value)));
                assert!(visited <= 2 && how != Advance::Lost);
                if how == Advance::Done {
                    break;
                }
            }
            assert!(steps.iter().all(|(id, value)| tree.at(*id) == Some(value)));
            let mut steps: Vec<u32> = steps.into_iter().map(|(_, value)| value).collect();
            let mut values: Vec<u32> = got.into_values().collect();
            steps.sort_unstable();
            values.sort_unstable();
            assert_eq!(steps, values, "{filter} in steps");
        }
        for (topic, value) in model {
            assert_eq!(tree.get(&topic), Some(&value));
            *tree.get_mut(&topic).unwrap() += 1;
            assert_eq!(tree.remove(&topic), Some(value + 1));
        }
        assert!(tree.is_empty());
    }
}
