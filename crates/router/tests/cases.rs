//! What the model cannot show: statements of the standard one by one, and size.
#![allow(clippy::unwrap_used)]

use emqttd_router::{Advance, RetainedTree, Router, Target};

fn target(owner: u64) -> Target {
    Target {
        owner,
        opts: 0,
        sub_id: 0,
    }
}

/// Owners that a name reaches when each filter has its position as its owner.
fn reached(filters: &[&str], topic: &str) -> Vec<u64> {
    let mut router = Router::new();
    for (owner, filter) in (0..).zip(filters) {
        router.subscribe(filter, target(owner));
    }
    let mut owners = Vec::new();
    router.route(topic, |t| owners.push(t.owner));
    owners.sort();
    owners
}

fn selected(names: &[&str], filter: &str) -> Vec<String> {
    let mut tree = RetainedTree::new();
    for name in names {
        tree.insert(name, ());
    }
    let mut found = Vec::new();
    tree.matching(filter, |name, ()| found.push(name.to_owned()));
    found
}

#[test]
fn mqtt_4_7_1_2_multi_level_wildcard_includes_the_parent() {
    let filters = [
        "sport/tennis/player1/#",
        "sport/#",
        "#",
        "sport/tennis/player2/#",
    ];
    assert_eq!(reached(&filters, "sport/tennis/player1"), [0, 1, 2]);
    assert_eq!(reached(&filters, "sport/tennis/player1/ranking"), [0, 1, 2]);
    assert_eq!(
        reached(&filters, "sport/tennis/player1/score/wimbledon"),
        [0, 1, 2]
    );
    assert_eq!(reached(&filters, "sport"), [1, 2]);
    assert_eq!(reached(&filters, "sports"), [2]);
}

#[test]
fn mqtt_4_7_1_3_single_level_wildcard_is_one_level_even_if_empty() {
    let filters = ["sport/tennis/+", "sport/+", "+/+", "/+", "+"];
    assert_eq!(reached(&filters, "sport/tennis/player1"), [0]);
    assert_eq!(reached(&filters, "sport/tennis/player1/ranking"), []);
    assert_eq!(reached(&filters, "sport"), [4]);
    assert_eq!(reached(&filters, "sport/"), [1, 2]);
    assert_eq!(reached(&filters, "/finance"), [2, 3]);
}

#[test]
fn mqtt_4_7_2_1_leading_wildcards_do_not_reach_dollar_names() {
    let filters = [
        "#",
        "+/monitor/Clients",
        "$SYS/#",
        "$SYS/monitor/+",
        "+/#",
        "$SYS/+/Clients",
    ];
    assert_eq!(reached(&filters, "$SYS/monitor/Clients"), [2, 3, 5]);
    assert_eq!(reached(&filters, "S/monitor/Clients"), [0, 1, 4]);
    assert_eq!(reached(&["#", "+", "$/#"], "$"), [2]);
    // Only the first level is special.
    assert_eq!(reached(&["a/+", "a/#", "#"], "a/$x"), [0, 1, 2]);

    let names = ["$SYS/a", "a/$SYS", "b"];
    assert_eq!(selected(&names, "#"), ["a/$SYS", "b"]);
    assert_eq!(selected(&names, "+/a"), Vec::<String>::new());
    assert_eq!(selected(&names, "+/#"), ["a/$SYS", "b"]);
    assert_eq!(selected(&names, "$SYS/#"), ["$SYS/a"]);
    assert_eq!(selected(&names, "$SYS/+"), ["$SYS/a"]);
}

#[test]
fn retained_names_of_a_level_come_in_the_order_of_arrival() {
    let names = ["r/3", "r/1", "r/2", "r", "r/1/x"];
    assert_eq!(selected(&names, "r/+"), ["r/3", "r/1", "r/2"]);
    assert_eq!(selected(&names, "r/#"), ["r", "r/3", "r/1", "r/1/x", "r/2"]);
}

#[test]
fn a_filter_that_several_share_lists_each_owner_once() {
    let mut router = Router::new();
    for filter in ["a/b", "a/+", "#"] {
        for owner in 0..200 {
            assert_eq!(router.subscribe(filter, target(owner)), None);
        }
        let again = Target {
            opts: 1,
            ..target(150)
        };
        assert_eq!(router.subscribe(filter, again), Some(target(150)));
        assert_eq!(router.targets(filter).len(), 200);
        assert!(router.targets(filter).contains(&again));
    }
    assert_eq!(router.len(), 3);
    let mut seen = 0;
    router.route("a/b", |_| seen += 1);
    assert_eq!(seen, 600);
}

#[test]
fn names_and_filters_of_thirty_thousand_levels() {
    let deep = "a/".repeat(30_000);
    let plus = format!("{}#", "+/".repeat(30_000));
    let mut router = Router::new();
    router.subscribe(&plus, target(1));
    router.subscribe(&format!("{deep}+"), target(2));
    router.subscribe(&deep, target(3));
    let mut owners = Vec::new();
    router.route(&deep, |t| owners.push(t.owner));
    owners.sort();
    assert_eq!(owners, [1, 2, 3]);
    let mut filters = 0;
    router.for_each(|_, _| filters += 1);
    assert_eq!(filters, 3);
    for (filter, owner) in [(&*plus, 1), (&format!("{deep}+"), 2), (&deep, 3)] {
        assert!(router.unsubscribe(filter, owner).is_some());
    }
    assert!(router.is_empty());

    let mut tree = RetainedTree::new();
    tree.insert(&deep, 1);
    tree.insert("a", 2);
    let mut found = 0;
    tree.matching(&plus, |name, _| found += usize::from(name == deep));
    assert_eq!(found, 1);
    assert_eq!(tree.remove(&deep), Some(1));
    assert_eq!(tree.len(), 1);
}

#[test]
fn a_hundred_thousand_subscribers_of_one_filter_leave() {
    let mut router = Router::new();
    for owner in 0..100_000 {
        router.subscribe("all/+", target(owner));
    }
    assert_eq!(router.targets("all/+").len(), 100_000);
    // In the order of arrival: the worst for a list that is searched from one end.
    for owner in (0..100_000).rev() {
        assert_eq!(router.unsubscribe("all/+", owner), Some(target(owner)));
    }
    assert!(router.is_empty());
}

#[test]
fn ids_are_reused_and_nothing_is_left_behind() {
    let mut router = Router::new();
    router.subscribe("keep/+/a-level-of-some-length", target(0));
    for round in 0..50u64 {
        let filters: Vec<_> = (0..500)
            .map(|n| format!("site-{n}/+/a-long-name-of-a-machine-{round}-{n}/{n}/#"))
            .collect();
        for filter in &filters {
            router.subscribe(filter, target(round));
        }
        assert_eq!(router.len(), 501);
        let mut seen = 0;
        router.route(
            &format!("site-7/x/a-long-name-of-a-machine-{round}-7/7/y/z"),
            |_| seen += 1,
        );
        assert_eq!(seen, 1);
        for filter in &filters {
            assert!(router.unsubscribe(filter, round).is_some());
            assert!(!router.contains(filter));
        }
        let mut left = Vec::new();
        router.for_each(|filter, _| left.push(filter.to_owned()));
        assert_eq!(left, ["keep/+/a-level-of-some-length"]);
    }
}

#[test]
fn memory_grows_with_what_is_held_and_is_given_back() {
    let mut router = Router::new();
    let empty = router.memory();
    let filters = |n: u64| [format!("exact/{n}"), format!("wild/{n}/+"), "all/#".into()];
    for owner in 0..1_000 {
        for filter in filters(owner) {
            router.subscribe(&filter, target(owner));
        }
    }
    // A thousand names of 7 to 9 bytes, three thousand targets of 16 bytes.
    assert!(
        router.memory() > empty + 7_000 + 48_000,
        "{}",
        router.memory()
    );
    for owner in 0..1_000 {
        for filter in filters(owner) {
            router.unsubscribe(&filter, owner);
        }
    }
    assert_eq!(router.memory(), empty);
}

#[test]
fn a_selection_goes_on_while_names_come_and_is_lost_when_names_go() {
    let mut tree = RetainedTree::new();
    for i in 0..100 {
        tree.insert(&format!("a/{i}/b"), i);
        tree.insert(&format!("a/{i}/c"), 1000 + i);
    }
    let mut selection = tree.select("a/+/b");
    let mut found = Vec::new();
    let (how, visited) = tree.advance(&mut selection, 21, |_, value| found.push(*value));
    assert_eq!((how, visited), (Advance::More, 21));
    // A value that is replaced, or goes while its node stays, is no matter.
    tree.insert("a/7/b", 7007);
    tree.insert("a/100/b", 100);
    let (how, _) = tree.advance(&mut selection, 1000, |_, value| found.push(*value));
    assert_eq!(how, Advance::Done);
    assert!(
        found.starts_with(&[0, 1, 2]) && found.contains(&99),
        "{found:?}"
    );
    let mut selection = tree.select("#");
    tree.advance(&mut selection, 10, |_, _| {});
    tree.remove("a/50/b");
    let (how, visited) = tree.advance(&mut selection, 10, |_, _| {});
    assert_eq!((how, visited), (Advance::Lost, 0));
}
