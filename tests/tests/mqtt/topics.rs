//! Matching of names and filters.

use emqttd_tests::{ALL, Connect, unique};

use crate::broker;

/// [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-3.3.2-3], [MQTT-4.7.3-4]: which names reach which filters. `B`
/// stands for a level of the test's own.
#[test]
fn mqtt_4_7_1_2_matching_table() {
    let table: [(&str, &[&str], &[&str]); 20] = [
        (
            "B/tennis/#",
            &["B/tennis", "B/tennis/", "B/tennis/a", "B/tennis/a/b"],
            &["B", "B/tenni", "B/tennisx"],
        ),
        (
            "B/#",
            &["B", "B/", "B/a", "B//", "B/a/b/c/d/e/f/g"],
            &["Bx", "Bx/a"],
        ),
        ("B/+", &["B/a", "B/"], &["B", "B/a/b", "B//"]),
        (
            "B/+/+",
            &["B//", "B/a/", "B//a", "B/a/b"],
            &["B/a", "B/a/b/c"],
        ),
        ("B/+/c", &["B/x/c", "B//c"], &["B/c", "B/x/y/c", "B/x/C"]),
        ("+/B/+", &["x/B/y", "/B/", "/B/x"], &["B", "x/B", "x/B/y/z"]),
        ("+/B/#", &["x/B", "/B", "x/B/a/b"], &["B", "x/y/B"]),
        ("+/+/B", &["//B", "a/b/B"], &["/B", "a/b/c/B"]),
        ("/B", &["/B"], &["B", "//B", "/B/"]),
        ("/+/B", &["//B", "/x/B"], &["/B", "x/y/B"]),
        ("B/", &["B/"], &["B", "B//"]),
        ("B//a", &["B//a"], &["B/a", "B/x/a"]),
        ("B/a b", &["B/a b"], &["B/ab", "B/a  b"]),
        ("B/é", &["B/é"], &["B/e", "B/É"]),
        ("B/a/+/#", &["B/a/b", "B/a/b/c", "B/a/"], &["B/a"]),
        ("B/+/b/#", &["B/a/b", "B/a/b/c"], &["B/a", "B/a/c"]),
        ("B/$x", &["B/$x"], &["B/x"]),
        ("B/+/$x", &["B/a/$x"], &["B/$x"]),
        ("B/x", &["B/x"], &["B/X", "b/x", "B/x "]),
        ("B/\u{1F600}/+", &["B/\u{1F600}/a"], &["B/a/a"]),
    ];
    for v in ALL {
        for (filter, hits, misses) in &table {
            let base = unique("t");
            let of = |s: &str| s.replace('B', &base);
            let mut client = broker().client(v, "match");
            client.sub(&of(filter), 0);
            let mut publisher = broker().client(v, "pub");
            // A miss in lower case must not be the base itself: names are compared with case.
            for miss in *misses {
                publisher.pub_(&of(miss), 0, "miss");
            }
            for hit in *hits {
                publisher.pub_(&of(hit), 0, "hit");
                client.expect(&of(hit), "hit");
            }
            client.nothing_from(&mut publisher);
        }
    }
}

/// Filters that start with a wildcard do not match names that start with `$`.
#[test]
fn mqtt_4_7_2_1_root_wildcards_do_not_match_dollar_topics() {
    for v in ALL {
        let word = unique("dollar");
        let mut client = broker().client(v, "dollar");
        client.sub(&format!("+/{word}"), 0);
        client.sub(&format!("+/{word}/#"), 0);
        let mut exact = broker().client(v, "exact");
        exact.sub(&format!("$x{word}/{word}"), 0);
        exact.sub(&format!("$x{word}/+/+"), 0);
        exact.sub(&format!("$x{word}/#"), 0);
        let mut publisher = broker().client(v, "pub");
        for topic in [
            format!("$x{word}/{word}"),
            format!("$SYS/{word}"),
            format!("$SYS/{word}/a"),
        ] {
            publisher.pub_(&topic, 0, "x");
        }
        let copies = if v.is_v5() { 1 } else { 2 };
        for _ in 0..copies {
            exact.expect(&format!("$x{word}/{word}"), "x");
        }
        client.nothing_from(&mut publisher);
        exact.nothing_from(&mut publisher);
    }
}

/// The same for `#` itself, told apart from other tests' messages by its topic.
#[test]
fn mqtt_4_7_2_1_hash_does_not_match_dollar_topics() {
    for v in ALL {
        let word = unique("hash");
        let mut client = broker().client(v, "hash");
        client.sub("#", 0);
        let mut publisher = broker().client(v, "pub");
        publisher.pub_(&format!("$x/{word}"), 0, "x");
        publisher.pub_(&format!("$SYS/{word}"), 0, "x");
        publisher.pub_(&word, 0, "marker");
        loop {
            let message = client.recv_message();
            assert!(!message.topic.starts_with('$'), "{v}: {message:?}");
            if message.topic == word {
                break;
            }
        }
    }
}

/// [MQTT-4.7.3-3]: EMQ's limit is 4096 bytes.
#[test]
fn emq_topics_may_have_4096_bytes() {
    for v in ALL {
        let base = unique("long");
        let long = format!("{base}/{}", "x".repeat(4095 - base.len()));
        assert_eq!(long.len(), 4096);
        let mut client = broker().client(v, "long");
        client.sub(&long, 1);
        let mut publisher = broker().client(v, "pub");
        publisher.pub_(&long, 1, "x");
        client.expect(&long, "x");
        // MQTT 5 has no such limit.
        if !v.is_v5() {
            let longer = emqttd_tests::Publish::new(&format!("{long}y"), "x").qos(1);
            publisher.send_publish(longer);
            publisher.expect_closed(&[]);
        }
    }
}

/// A filter of 200 levels is fine.
#[test]
fn emq_filters_may_have_200_levels() {
    for v in ALL {
        let base = unique("levels");
        let deep = format!("{base}{}", "/x".repeat(199));
        let mut client = broker().client(v, "levels");
        client.sub(&format!("{base}{}/#", "/+".repeat(198)), 0);
        broker().client(v, "pub").pub_(&deep, 0, "x");
        client.expect(&deep, "x");
    }
}

/// A thousand subscriptions of one client do not disturb each other, and go when the client goes.
#[test]
fn mqtt_4_5_0_1_thousand_filters() {
    for v in ALL {
        let base = unique("thousand");
        let mut client = broker().open(&Connect::new(v, &unique("thousand")));
        for chunk in 0..10 {
            let subs: Vec<_> = (0..100)
                .map(|i| {
                    let n = chunk * 100 + i;
                    let filter = if n % 2 == 0 {
                        format!("{base}/{n}/+")
                    } else {
                        format!("{base}/{n}/x")
                    };
                    emqttd_tests::Sub::new(&filter, 0)
                })
                .collect();
            client.subscribe(&subs, &[]);
        }
        let mut publisher = broker().client(v, "pub");
        for n in [0, 1, 499, 500, 998, 999] {
            publisher.pub_(&format!("{base}/{n}/x"), 0, &n.to_string());
            client.expect(&format!("{base}/{n}/x"), &n.to_string());
        }
        publisher.pub_(&format!("{base}/1000/x"), 0, "none");
        client.nothing_from(&mut publisher);
    }
}
