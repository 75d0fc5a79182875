//! Topic names, topic filters, and the prefixes of subscriptions.
#![allow(clippy::unwrap_used)]

use emqttd_mqtt::topic::{
    QUEUE_GROUP, SubscriptionFilter, TopicError, count_levels, has_wildcard, levels, matches,
    validate_filter, validate_name,
};
use proptest::prelude::*;

#[test]
fn mqtt_4_7_3_names() {
    for good in [
        "a", "/", "//", "a/b", "/a", "a/", " ", "$SYS/x", "a b", "\u{20AC}",
    ] {
        assert_eq!(validate_name(good), Ok(()), "{good}");
    }
    assert_eq!(validate_name(""), Err(TopicError::Empty));
    assert_eq!(validate_name("a\0"), Err(TopicError::Nul));
    for bad in ["+", "#", "a/+", "a/#", "a+b", "sport/tennis#"] {
        assert_eq!(validate_name(bad), Err(TopicError::WildcardInName), "{bad}");
    }
    assert_eq!(validate_name(&"a".repeat(65_535)), Ok(()));
    assert_eq!(validate_name(&"a".repeat(65_536)), Err(TopicError::TooLong));
}

#[test]
fn mqtt_4_7_1_filters() {
    for good in [
        "a",
        "#",
        "+",
        "a/#",
        "+/a",
        "a/+/b",
        "+/+/#",
        "/+",
        "/",
        "//",
        "+//#",
        "/#",
        "$SYS/#",
        "$share/g/a",
    ] {
        assert_eq!(validate_filter(good), Ok(()), "{good}");
    }
    for bad in [
        "a#", "#a", "#/a", "a/#/b", "a+", "+a", "a/b+", "a/+b/c", "##", "++", "a/b#", "+#", "#/",
    ] {
        assert_eq!(
            validate_filter(bad),
            Err(TopicError::WildcardPlace),
            "{bad}"
        );
    }
    assert_eq!(validate_filter(""), Err(TopicError::Empty));
    assert_eq!(validate_filter("a/\0"), Err(TopicError::Nul));
    assert_eq!(
        validate_filter(&"/".repeat(65_536)),
        Err(TopicError::TooLong)
    );
}

#[test]
fn mqtt_4_7_1_matching() {
    for (filter, name) in [
        ("sport/tennis/player1/#", "sport/tennis/player1"),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking"),
        (
            "sport/tennis/player1/#",
            "sport/tennis/player1/score/wimbledon",
        ),
        ("sport/#", "sport"),
        ("#", "a"),
        ("#", "/"),
        ("sport/tennis/+", "sport/tennis/player1"),
        ("sport/+", "sport/"),
        ("+/+", "/finance"),
        ("/+", "/finance"),
        ("+/tennis/#", "sport/tennis"),
        ("a/+/c", "a//c"),
        ("a//c", "a//c"),
        ("+", ""),
    ] {
        assert!(matches(filter, name), "{filter} {name}");
    }
    for (filter, name) in [
        ("sport/tennis/+", "sport/tennis/player1/ranking"),
        ("sport/+", "sport"),
        ("+", "/finance"),
        ("a", "A"),
        ("a", "a/"),
        ("a/", "a"),
        ("/a", "a"),
        ("a/b", "a"),
        ("a/+/c", "a/b/d"),
        ("a/#", "ab"),
        ("", "a"),
    ] {
        assert!(!matches(filter, name), "{filter} {name}");
    }
}

#[test]
fn mqtt_4_7_2_1_wildcards_first_do_not_match_dollar_names() {
    for filter in ["#", "+/monitor/Clients", "+/#", "+"] {
        assert!(!matches(filter, "$SYS/monitor/Clients"), "{filter}");
        assert!(!matches(filter, "$other"), "{filter}");
    }
    assert!(matches("$SYS/#", "$SYS/monitor/Clients"));
    assert!(matches("$SYS/#", "$SYS"));
    assert!(matches("$SYS/+/Clients", "$SYS/monitor/Clients"));
    // The rule is about the first level only.
    assert!(matches("a/+", "a/$b"));
    assert!(matches("a/#", "a/$b"));
}

#[test]
fn levels_are_what_slashes_part() {
    assert_eq!(levels("a//b/").collect::<Vec<_>>(), ["a", "", "b", ""]);
    assert_eq!(levels("/").rev().collect::<Vec<_>>(), ["", ""]);
    for topic in ["a", "", "/", "a//b/", "a/b/c"] {
        assert_eq!(count_levels(topic), levels(topic).count(), "{topic}");
    }
    assert!(has_wildcard("a/+") && has_wildcard("#") && !has_wildcard("a/b"));
}

fn parsed(text: &str, strict: bool) -> (&str, Option<&str>, bool) {
    match SubscriptionFilter::parse(text, strict) {
        Ok(SubscriptionFilter {
            filter,
            share,
            local,
        }) => (filter, share, local),
        Err(error) => panic!("{text}: {error}"),
    }
}

#[test]
fn prefixes_of_subscriptions() {
    for strict in [false, true] {
        assert_eq!(parsed("a/+", strict), ("a/+", None, false));
        assert_eq!(parsed("$share/g/a/#", strict), ("a/#", Some("g"), false));
        assert_eq!(parsed("$share/g//a", strict), ("/a", Some("g"), false));
        assert_eq!(parsed("$queue/a", strict), ("a", Some(QUEUE_GROUP), false));
        assert_eq!(parsed("$local/a", strict), ("a", None, true));
        assert_eq!(
            parsed("$local/$queue/a", strict),
            ("a", Some(QUEUE_GROUP), true)
        );
        assert_eq!(
            parsed("$queue/$local/a", strict),
            ("a", Some(QUEUE_GROUP), true)
        );
        assert_eq!(parsed("$local/$share/g/a", strict), ("a", Some("g"), true));
        // What follows a share name is a filter like any other.
        assert_eq!(
            parsed("$share/g/$queue/x", strict),
            ("$queue/x", Some("g"), false)
        );
        assert_eq!(
            parsed("$share/g/$local/x", strict),
            ("$local/x", Some("g"), false)
        );
        // Without the slash a prefix is a name.
        assert_eq!(parsed("$queue", strict), ("$queue", None, false));
        assert_eq!(parsed("$share", strict), ("$share", None, false));
        assert_eq!(parsed("$shared/g/a", strict), ("$shared/g/a", None, false));
        assert_eq!(parsed("$SYS/#", strict), ("$SYS/#", None, false));
        assert_eq!(parsed("$fastlane/x", strict), ("$fastlane/x", None, false));

        for (bad, error) in [
            ("$share/g", TopicError::ShareName),
            ("$share/g#/x", TopicError::WildcardPlace),
            ("$share/#/x", TopicError::WildcardPlace),
            ("$share/g+/x", TopicError::WildcardPlace),
            ("$queue/$share/g/x", TopicError::Prefixes),
            ("$share/g/$share/h/x", TopicError::Prefixes),
            ("$queue/$queue/x", TopicError::Prefixes),
            ("$local/$local/x", TopicError::Prefixes),
            ("$queue/$local/$share/g/x", TopicError::Prefixes),
            ("$share/g/a#", TopicError::WildcardPlace),
            ("$share/", TopicError::ShareName),
            ("", TopicError::Empty),
        ] {
            assert_eq!(SubscriptionFilter::parse(bad, strict), Err(error), "{bad}");
        }
    }
}

#[test]
fn mqtt_4_8_2_1_and_2_share_name_in_5_and_what_emq_let_pass() {
    assert_eq!(parsed("$share//x", false), ("x", Some(""), false));
    assert_eq!(parsed("$share/+/x", false), ("x", Some("+"), false));
    assert_eq!(parsed("$share/g/", false), ("", Some("g"), false));
    assert_eq!(parsed("$queue/", false), ("", Some(QUEUE_GROUP), false));
    assert_eq!(parsed("$local/", false), ("", None, true));
    for (bad, error) in [
        ("$share//x", TopicError::ShareName),
        ("$share/+/x", TopicError::ShareName),
        ("$share/g/", TopicError::Empty),
        ("$queue/", TopicError::Empty),
        ("$local/", TopicError::Empty),
    ] {
        assert_eq!(SubscriptionFilter::parse(bad, true), Err(error), "{bad}");
    }
}

/// The definition, written down without regard to speed.
fn matches_by_definition(filter: &[&str], name: &[&str]) -> bool {
    match (filter, name) {
        (["#"], _) => true,
        ([], []) => true,
        ([wanted, filter @ ..], [level, name @ ..]) => {
            (*wanted == "+" || wanted == level) && matches_by_definition(filter, name)
        }
        _ => false,
    }
}

proptest! {
    #[test]
    fn matching_agrees_with_the_definition(
        filter in prop::collection::vec(prop::sample::select(vec!["a", "b", "", "+", "$x"]), 1..6),
        rest in prop::bool::ANY,
        name in prop::collection::vec(prop::sample::select(vec!["a", "b", "", "$x"]), 1..6),
    ) {
        let mut filter = filter;
        if rest {
            filter.push("#");
        }
        let (filter_text, name_text) = (filter.join("/"), name.join("/"));
        prop_assume!(!filter_text.is_empty() && !name_text.is_empty());
        prop_assert_eq!(validate_filter(&filter_text), Ok(()));
        let hidden = name_text.starts_with('$') && filter_text.starts_with(['+', '#']);
        let expected = !hidden && matches_by_definition(&filter, &name);
        prop_assert_eq!(matches(&filter_text, &name_text), expected);
    }

    #[test]
    fn filters_are_valid_iff_their_levels_are(filter in "[a/+#\0$]{0,12}") {
        let levels: Vec<_> = filter.split('/').collect();
        let valid = !filter.is_empty()
            && !filter.contains('\0')
            && levels.iter().enumerate().all(|(index, level)| match *level {
                "+" => true,
                "#" => index + 1 == levels.len(),
                other => !other.contains(['+', '#']),
            });
        prop_assert_eq!(validate_filter(&filter).is_ok(), valid);
        prop_assert_eq!(validate_name(&filter).is_ok(), !filter.is_empty() && !filter.contains(['\0', '+', '#']));
    }

    #[test]
    fn any_filter_is_parsed_without_a_panic(text in r"(\$share/|\$queue/|\$local/|[a+#/$]){0,5}", strict: bool) {
        if let Ok(parsed) = SubscriptionFilter::parse(&text, strict) {
            prop_assert!(text.ends_with(parsed.filter));
            // A name that could be published is matched by itself.
            if validate_name(parsed.filter).is_ok() {
                prop_assert!(matches(parsed.filter, parsed.filter));
            }
        }
    }
}
