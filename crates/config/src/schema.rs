//! The one table of keys: everything the crate knows about a key stands in its row.
//!
//! The rows are in `schema/*.rs`, by area. A pattern is a key whose words may be `$name` or `$id`
//! (any word) or alternatives (`tcp|ssl`).

mod gateways;
mod guards;
mod listeners;
mod mqtt;
mod node;
mod plugins;

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::Reload;
use crate::problem::edit_distance;
use crate::value::Type;

/// The app that owns the core's keys.
pub(crate) const CORE: &str = "emqttd";

/// What this broker does with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// obeyed
    Works,
    /// of the Erlang VM, or without effect in EMQ too: accepted, named once in a warning
    NoEffect,
    /// checked and kept for the plugin or the feature that reads it
    Kept,
}

/// What the files in `etc/` of the distribution say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shipped {
    /// nothing
    Absent,
    /// this
    Value(&'static str),
    /// this, in a commented line
    Commented(&'static str),
    /// these, for the concrete keys of a pattern
    Each(&'static [(&'static str, &'static str)]),
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Key {
    pub(crate) pattern: &'static str,
    pub(crate) kind: Type,
    /// value when the key is absent
    pub(crate) default: Option<&'static str>,
    pub(crate) shipped: Shipped,
    pub(crate) class: Class,
    pub(crate) reload: Reload,
    pub(crate) app: &'static str,
    pub(crate) meaning: &'static str,
}

impl Key {
    pub(crate) const fn new(pattern: &'static str, kind: Type, meaning: &'static str) -> Self {
        Self {
            pattern,
            kind,
            default: None,
            shipped: Shipped::Absent,
            class: Class::Works,
            reload: Reload::NotSettable,
            app: CORE,
            meaning,
        }
    }

    /// A key that a plugin owns.
    pub(crate) const fn of(mut self, app: &'static str) -> Self {
        self.app = app;
        self.class = Class::Kept;
        self
    }

    pub(crate) const fn default(mut self, value: &'static str) -> Self {
        self.default = Some(value);
        self
    }

    pub(crate) const fn ships(mut self, value: &'static str) -> Self {
        self.shipped = Shipped::Value(value);
        self
    }

    pub(crate) const fn shows(mut self, value: &'static str) -> Self {
        self.shipped = Shipped::Commented(value);
        self
    }

    pub(crate) const fn each(mut self, values: &'static [(&'static str, &'static str)]) -> Self {
        self.shipped = Shipped::Each(values);
        self
    }

    pub(crate) const fn without_effect(mut self) -> Self {
        self.class = Class::NoEffect;
        self
    }

    pub(crate) const fn kept(mut self) -> Self {
        self.class = Class::Kept;
        self
    }

    pub(crate) const fn reload(mut self, reload: Reload) -> Self {
        self.reload = reload;
        self
    }

    /// Settable, and acts at once.
    pub(crate) const fn hot(self) -> Self {
        self.reload(Reload::Now)
    }

    /// Whether the pattern has no free word.
    pub(crate) fn is_concrete(&self) -> bool {
        !self.pattern.contains(['$', '|'])
    }

    fn matches(&self, key: &[&str]) -> bool {
        pattern_matches(self.pattern, key)
    }
}

/// Whether a key, as its words, is one of those that the pattern stands for.
pub(crate) fn pattern_matches(pattern: &str, key: &[&str]) -> bool {
    let mut words = pattern.split('.');
    let mut given = key.iter();
    loop {
        match (words.next(), given.next()) {
            (None, None) => return true,
            (Some(word), Some(given)) if word_matches(word, given) => {}
            _ => return false,
        }
    }
}

fn word_matches(word: &str, given: &str) -> bool {
    if word.starts_with('$') {
        return !given.is_empty();
    }
    word.split('|').any(|w| w == given)
}

// Integers without bounds of their own.
pub(crate) const NATURAL: Type = Type::Integer {
    min: 0,
    max: u64::MAX,
};
pub(crate) const POSITIVE: Type = Type::Integer {
    min: 1,
    max: u64::MAX,
};
pub(crate) const SIZE: Type = Type::ByteSize {
    min: 0,
    max: u64::MAX,
};
pub(crate) const PERIOD: Type = Type::Duration { zero: false };
pub(crate) const PERIOD_OR_ZERO: Type = Type::Duration { zero: true };
pub(crate) const QOS: Type = Type::Integer { min: 0, max: 2 };
pub(crate) const VERIFY: Type = Type::Enum(&["verify_peer", "verify_none"]);

/// Every row, in the order of the shipped files.
pub(crate) fn keys() -> impl Iterator<Item = &'static Key> {
    [
        node::KEYS,
        mqtt::KEYS,
        listeners::KEYS,
        plugins::KEYS,
        guards::KEYS,
        gateways::KEYS,
    ]
    .into_iter()
    .chain(guards::BACKENDS.iter().copied())
    .flatten()
}

static CONCRETE: LazyLock<HashMap<&'static str, &'static Key>> = LazyLock::new(|| {
    keys()
        .filter(|key| key.is_concrete())
        .map(|key| (key.pattern, key))
        .collect()
});

static PATTERNS: LazyLock<Vec<&'static Key>> =
    LazyLock::new(|| keys().filter(|key| !key.is_concrete()).collect());

/// The row of `key`.
pub(crate) fn find(key: &str) -> Option<&'static Key> {
    if let Some(found) = CONCRETE.get(key) {
        return Some(found);
    }
    let words = words(key);
    PATTERNS.iter().copied().find(|row| row.matches(&words))
}

/// The words of a key; `\.` is a dot inside a word.
pub(crate) fn words(key: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (i, byte) in key.bytes().enumerate() {
        match byte {
            b'.' if !escaped => {
                words.push(&key[start..i]);
                start = i + 1;
            }
            _ => {}
        }
        escaped = byte == b'\\' && !escaped;
    }
    words.push(&key[start..]);
    words
}

/// Up to three known keys that are spelt most like `key`; free words are taken over from it.
pub(crate) fn nearest(key: &str) -> Vec<String> {
    nearest_of(key, keys().map(|row| row.pattern))
}

/// The same among these patterns.
pub(crate) fn nearest_of<'a>(key: &str, patterns: impl Iterator<Item = &'a str>) -> Vec<String> {
    let given = words(key);
    let limit = (key.chars().count() / 3).clamp(2, 12);
    let mut found: Vec<(usize, String)> = Vec::new();
    for pattern in patterns {
        for candidate in candidates(pattern, &given) {
            if let Some(distance) = edit_distance(key, &candidate, limit) {
                found.push((distance, candidate));
            }
        }
    }
    found.sort();
    found.dedup();
    found.truncate(3);
    found.into_iter().map(|(_, key)| key).collect()
}

/// Keys that `pattern` stands for, its free words filled from `given`.
fn candidates(pattern: &str, given: &[&str]) -> Vec<String> {
    let mut out = vec![String::new()];
    for (i, word) in pattern.split('.').enumerate() {
        let filled = match given.get(i) {
            Some(given) if word.starts_with('$') => given,
            _ => word,
        };
        out = out
            .iter()
            .flat_map(|head| {
                filled.split('|').map(move |word| {
                    if i == 0 {
                        word.to_owned()
                    } else {
                        format!("{head}.{word}")
                    }
                })
            })
            .collect();
    }
    out
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
