//! The configuration of a plugin, as keys and values that have been checked.

use std::borrow::Cow;
use std::time::Duration;

/// What values a key takes; the syntax is that of `emq.conf`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyKind {
    /// any text
    Text,
    /// any text, never shown
    Secret,
    /// a whole number
    Integer,
    /// `on`, `off`, `true`, `false`
    Switch,
    /// `5s`, `2h`, `1m30s`
    Duration,
    /// `64KB`, `1MB`, or bytes
    Size,
    /// one of these words
    OneOf(Vec<Cow<'static, str>>),
}

/// A key that a plugin defines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// the key; `$id` stands for any one word: `my.rule.$id.topic`
    pub name: Cow<'static, str>,
    /// what it takes
    pub kind: KeyKind,
    /// value when the file has none
    pub default: Option<Cow<'static, str>>,
    /// one line for people
    pub meaning: Cow<'static, str>,
    /// may be changed while the plugin runs: [`crate::Plugin::reconfigure`] is called
    pub hot: bool,
}

impl Key {
    /// A key without default.
    pub const fn new(name: &'static str, kind: KeyKind, meaning: &'static str) -> Key {
        Key {
            name: Cow::Borrowed(name),
            kind,
            default: None,
            meaning: Cow::Borrowed(meaning),
            hot: false,
        }
    }

    /// With a default.
    pub fn default(self, value: &'static str) -> Key {
        Key {
            default: Some(value.into()),
            ..self
        }
    }

    /// May be changed while the plugin runs.
    pub fn hot(self) -> Key {
        Key { hot: true, ..self }
    }
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// the key
    pub key: String,
    /// its value, as written
    pub value: String,
    /// where it comes from: `etc/plugins/emq_x.conf:12`, `environment variable EMQ_…`, `default`, `set`
    pub origin: String,
}

impl Entry {
    /// Why the plugin cannot be started with this entry: `<key> (<where it stands>) <what>`. `what` must not hold
    /// the value of a secret.
    pub fn refused(&self, what: impl std::fmt::Display) -> crate::StartError {
        crate::StartError(format!("{} ({}) {what}", self.key, self.origin))
    }
}

/// The keys of one plugin, defaults included. Values have the form that their kinds ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    entries: Vec<Entry>,
}

impl Config {
    /// From entries; the last one of a key counts.
    pub fn new(entries: Vec<Entry>) -> Config {
        Config { entries }
    }

    /// From keys and values, for tests.
    pub fn of(pairs: &[(&str, &str)]) -> Config {
        let entry = |(key, value): &(&str, &str)| Entry {
            key: (*key).into(),
            value: (*value).into(),
            origin: "test".into(),
        };
        Config::new(pairs.iter().map(entry).collect())
    }

    /// All of them, in the order of the file.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// A key with its origin.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.key == key)
    }

    /// The value as written; `None` = the key has none.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.entry(key).map(|entry| entry.value.as_str())
    }

    /// A whole number.
    pub fn integer(&self, key: &str) -> Option<i64> {
        self.text(key)?.trim().parse().ok()
    }

    /// A switch: `on`, `true` are true.
    pub fn switch(&self, key: &str) -> Option<bool> {
        match self.text(key)?.trim() {
            "on" | "true" => Some(true),
            "off" | "false" => Some(false),
            _ => None,
        }
    }

    /// A duration; a bare number is milliseconds.
    pub fn duration(&self, key: &str) -> Option<Duration> {
        duration(self.text(key)?.trim())
    }

    /// A size in bytes.
    pub fn size(&self, key: &str) -> Option<u64> {
        size(self.text(key)?.trim())
    }

    /// The words that stand for `$id` in `pattern` (`auth.user.$id.username`), sorted as text, each once.
    pub fn ids(&self, pattern: &str) -> Vec<String> {
        let mut ids: Vec<String> = self
            .entries
            .iter()
            .filter_map(|entry| id_in(pattern, &entry.key))
            .map(str::to_string)
            .collect();
        ids.sort();
        ids.dedup();
        ids
    }
}

/// The word of `key` that stands where `pattern` has `$id`, if the rest is the same.
fn id_in<'a>(pattern: &str, key: &'a str) -> Option<&'a str> {
    let mut words = words(key);
    let mut id = None;
    for wanted in pattern.split('.') {
        let word = words.next()?;
        match wanted {
            "$id" => id = Some(word),
            wanted if wanted != word => return None,
            _ => {}
        }
    }
    words.next().is_none().then_some(id)?
}

/// The words of a key; `\.` is a dot inside a word.
fn words(key: &str) -> impl Iterator<Item = &str> {
    let mut escaped = false;
    key.split(move |c| {
        let ends = c == '.' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })
}

/// `1h`, `5m30s`, `1.5h`, `250ms`, `250`: what the configuration takes, in either case.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0.0_f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, after) = rest.split_at(digits.unwrap_or(rest.len()));
        let number: f64 = number.parse().ok()?;
        let letters = after.find(|c: char| !c.is_ascii_alphabetic());
        let (unit, after) = after.split_at(letters.unwrap_or(after.len()));
        seconds += number
            * match unit.to_ascii_lowercase().as_str() {
                "" | "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "d" => 86_400.0,
                "w" => 7.0 * 86_400.0,
                "f" => 14.0 * 86_400.0,
                _ => return None,
            };
        rest = after;
    }
    // What is too long for a duration is none.
    Duration::try_from_secs_f64(seconds).ok()
}

/// `64KB`, `1MB`, `1GB`, `100`
fn size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let factor = match unit.trim().to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "KB" | "K" => 1024,
        "MB" | "M" => 1024 * 1024,
        "GB" | "G" => 1024 * 1024 * 1024,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn values() {
        let config = Config::of(&[
            ("a.d", "1m30s"),
            ("a.n", "600"),
            ("a.size", "64KB"),
            ("a.on", "on"),
            ("r.10.topic", "x"),
            ("r.2.topic", "y"),
            ("r.2.qos", "1"),
            (r"u.feng@emqtt\.io.username", "feng@emqtt.io"),
        ]);
        assert_eq!(config.duration("a.d"), Some(Duration::from_secs(90)));
        assert_eq!(config.duration("a.n"), Some(Duration::from_millis(600)));
        assert_eq!(config.size("a.size"), Some(65536));
        assert_eq!(config.switch("a.on"), Some(true));
        assert_eq!(config.integer("a.n"), Some(600));
        assert_eq!(config.text("none"), None);
        assert_eq!(config.ids("r.$id.topic"), ["10", "2"]);
        assert_eq!(config.ids("r.$id.qos"), ["2"]);
        assert_eq!(config.ids("u.$id.username"), [r"feng@emqtt\.io"]);
        assert_eq!(duration("5q"), None);
        assert_eq!(duration("1.5H"), Some(Duration::from_secs(5400)));
        assert_eq!(duration("1f"), Some(Duration::from_secs(14 * 86_400)));
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration(&"9".repeat(400)), None);
        for wrong in ["", ".", "-5s", "s", "1..5s"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
        assert_eq!(size("9999999999999GB"), None);
    }
}
