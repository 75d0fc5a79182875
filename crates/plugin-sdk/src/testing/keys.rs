//! Keys, checked as the broker checks them.

use crate::{Config, Entry, Key, KeyKind};

/// The key's declaration, if there is one and the value is of its kind.
pub(super) fn check<'a>(keys: &'a [Key], key: &str, value: &str) -> Result<&'a Key, String> {
    let declared = keys.iter().find(|declared| is_of(key, &declared.name));
    let declared = declared.ok_or_else(|| format!("unknown key {key}"))?;
    let config = Config::of(&[(key, value)]);
    let fits = match &declared.kind {
        KeyKind::Text | KeyKind::Secret => true,
        KeyKind::Integer => config.integer(key).is_some(),
        KeyKind::Switch => config.switch(key).is_some(),
        KeyKind::Duration => config.duration(key).is_some(),
        KeyKind::Size => config.size(key).is_some(),
        KeyKind::OneOf(words) => words.iter().any(|word| word == value),
    };
    match fits {
        true => Ok(declared),
        false => Err(format!("{key}: {value:?} is not of its kind")),
    }
}

/// Whether `key` is `name`, in which words with `$` stand for any.
fn is_of(key: &str, name: &str) -> bool {
    let mut words = key.split('.');
    name.split('.').all(|wanted| {
        words
            .next()
            .is_some_and(|word| wanted.starts_with('$') || wanted == word)
    }) && words.next().is_none()
}

/// The default of a key as an entry. A name with `$id` stands for keys that only a file can name.
pub(super) fn default(key: &Key) -> Option<Entry> {
    let value = key.default.as_ref()?;
    (!key.name.contains('$')).then(|| Entry {
        key: key.name.to_string(),
        value: value.to_string(),
        origin: "default".into(),
    })
}
