//! All rules, and which of them is for a topic.

use super::rule::Rule;
use emqttd_plugin_sdk::topic::{levels, matches};
use emqttd_plugin_sdk::{Config, StartError};
use std::collections::HashMap;

/// What the keys of rules begin with.
const KEY: &str = "module.rewrite.rule.";

/// The rules in their order. A topic is compared only with filters that have its first level, or a wildcard
/// there.
#[derive(Debug)]
pub(crate) struct Rules {
    rules: Vec<Rule>,
    /// numbers of rules by the first level of topics, with those for all
    by_first_level: HashMap<String, Vec<usize>>,
    /// numbers of rules whose first level is a wildcard
    for_all: Vec<usize>,
}

impl Rules {
    /// Those of the configuration, in the order of the file.
    pub(crate) fn of(config: &Config) -> Result<Rules, StartError> {
        let entries = config.entries().iter();
        let rules = entries
            .filter(|entry| entry.key.starts_with(KEY))
            // Of a key that stands there twice, the last counts.
            .filter(|&entry| {
                config
                    .entry(&entry.key)
                    .is_some_and(|last| std::ptr::eq(last, entry))
            })
            .map(Rule::parse);
        Ok(Rules::index(rules.collect::<Result<_, _>>()?))
    }

    fn index(rules: Vec<Rule>) -> Rules {
        let mut by_first_level: HashMap<String, Vec<usize>> = HashMap::new();
        let mut for_all = Vec::new();
        for (number, rule) in rules.iter().enumerate() {
            let first = first_level(rule.filter());
            if matches!(first, "+" | "#") {
                for_all.push(number);
                by_first_level
                    .values_mut()
                    .for_each(|numbers| numbers.push(number));
            } else {
                let numbers = by_first_level
                    .entry(first.into())
                    .or_insert_with(|| for_all.clone());
                numbers.push(number);
            }
        }
        Rules {
            rules,
            by_first_level,
            for_all,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The first rule whose filter matches: no other is tried, whatever its expression says. A filter of a
    /// subscription is taken literally, as if it were a topic.
    pub(crate) fn of_topic(&self, topic: &str) -> Option<&Rule> {
        self.by_first_level
            .get(first_level(topic))
            .unwrap_or(&self.for_all)
            .iter()
            .map(|&number| &self.rules[number])
            .find(|rule| matches(rule.filter(), topic))
    }
}

fn first_level(topic: &str) -> &str {
    levels(topic).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn rules(texts: &[&str]) -> Rules {
        let pairs: Vec<(String, &str)> = texts
            .iter()
            .enumerate()
            .map(|(n, text)| (format!("{KEY}{n}"), *text))
            .collect();
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(k, v)| (&**k, *v)).collect();
        Rules::of(&Config::of(&pairs)).unwrap()
    }

    #[test]
    fn the_first_filter_that_matches_decides() {
        let rules = rules(&[
            "x/y/# . 0",
            "+/y/z . 1",
            "x/# . 2",
            "# . 3",
            "x/# . 4",
            "$SYS/# . 5",
            "y . 6",
        ]);
        let number = |topic| {
            rules
                .of_topic(topic)
                .and_then(|r| r.key().strip_prefix(KEY))
        };
        assert_eq!(number("x/y/z"), Some("0"));
        assert_eq!(number("x/y"), Some("0"));
        assert_eq!(number("a/y/z"), Some("1"));
        assert_eq!(number("x/z"), Some("2"));
        assert_eq!(number("x"), Some("2"));
        assert_eq!(number("y"), Some("3"));
        assert_eq!(number("/y/z"), Some("1"));
        assert_eq!(number("$SYS/a"), Some("5"));
        assert_eq!(number("$share"), None);
        assert_eq!(number("x/+"), Some("2"), "a filter is taken literally");
        assert_eq!(number("+/y/z"), Some("1"));
    }

    #[test]
    fn the_order_is_that_of_the_file_and_the_last_of_a_key_counts() {
        let config = Config::of(&[
            ("module.rewrite.rule.2", "x/# . second"),
            ("module.rewrite.rule.1", "x/# . old"),
            ("module.rewrite.rule.2", "y/# . second"),
            ("module.rewrite.rule.1", "x/# . new"),
            ("module.rewrite", "on"),
        ]);
        let rules = Rules::of(&config).unwrap();
        assert_eq!(rules.rules.len(), 2);
        let new = rules.of_topic("x/1").unwrap().apply("x/1").unwrap();
        assert_eq!(new.as_deref(), Some("new"));
    }

    #[test]
    fn without_rules_nothing_is_found() {
        assert!(rules(&[]).is_empty());
        assert!(rules(&[]).of_topic("a").is_none());
    }

    #[test]
    fn a_bad_rule_is_named() {
        let config = Config::of(&[
            ("module.rewrite.rule.1", "x/# ^x z"),
            ("module.rewrite.rule.2", "x/# ^( z"),
        ]);
        let error = Rules::of(&config).unwrap_err().0;
        assert!(
            error.starts_with("test: module.rewrite.rule.2 = x/# ^( z: the expression ^(: "),
            "{error}"
        );
    }
}
