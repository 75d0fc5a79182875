//! A filter and a topic name, parted by a line feed: validity and matching against their definitions.
#![no_main]

use emqttd_mqtt::topic::{
    SubscriptionFilter, TopicError, count_levels, has_wildcard, levels, matches, validate_filter,
    validate_name,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let (filter, name) = input.split_once('\n').unwrap_or((input, "a/b"));
    assert_eq!(
        validate_filter(filter).is_ok(),
        filter_by_definition(filter)
    );
    assert_eq!(validate_name(name).is_ok(), name_by_definition(name));
    assert_eq!(count_levels(filter), levels(filter).count());
    check_prefixes(filter);
    if validate_filter(filter).is_ok() && validate_name(name).is_ok() {
        let hidden = name.starts_with('$') && filter.starts_with(['+', '#']);
        let filter_levels: Vec<_> = levels(filter).collect();
        let name_levels: Vec<_> = levels(name).collect();
        let expected = !hidden && matches_by_definition(&filter_levels, &name_levels);
        assert_eq!(matches(filter, name), expected);
    }
});

/// What 5.0 takes, EMQ 2 took with the same meaning.
fn check_prefixes(filter: &str) {
    let strict = SubscriptionFilter::parse(filter, true);
    let lax = SubscriptionFilter::parse(filter, false);
    match (strict, lax) {
        (Ok(strict), lax) => {
            assert_eq!(lax, Ok(strict));
            assert!(filter.ends_with(strict.filter) && filter_by_definition(strict.filter));
            if let Some(group) = strict.share {
                assert!(!group.is_empty() && !has_wildcard(group) && !group.contains('/'));
            }
        }
        (Err(TopicError::Empty | TopicError::ShareName), _) => {}
        (Err(error), lax) => assert_eq!(lax, Err(error)),
    }
}

fn name_by_definition(name: &str) -> bool {
    !name.is_empty() && name.len() <= 65_535 && !name.contains(['\0', '+', '#'])
}

fn filter_by_definition(filter: &str) -> bool {
    let levels: Vec<_> = filter.split('/').collect();
    !filter.is_empty()
        && filter.len() <= 65_535
        && !filter.contains('\0')
        && levels
            .iter()
            .enumerate()
            .all(|(index, level)| match *level {
                "+" => true,
                "#" => index + 1 == levels.len(),
                other => !other.contains(['+', '#']),
            })
}

fn matches_by_definition(filter: &[&str], name: &[&str]) -> bool {
    match (filter, name) {
        (["#"], _) | ([], []) => true,
        ([wanted, filter @ ..], [level, name @ ..]) => {
            (*wanted == "+" || wanted == level) && matches_by_definition(filter, name)
        }
        _ => false,
    }
}
