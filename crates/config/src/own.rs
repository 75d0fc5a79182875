//! Keys that plugins of strangers define themselves: found, checked and printed like those of the table.

use emqttd_plugin_sdk::{Key, KeyKind};

use crate::schema::{self, SIZE, nearest_of, pattern_matches};
use crate::value::{Checked, Type, Value};

/// The key's definition.
pub(crate) fn find<'a>(keys: &'a [Key], key: &str) -> Option<&'a Key> {
    if let Some(found) = keys.iter().find(|defined| defined.name == key) {
        return Some(found);
    }
    let words = schema::words(key);
    keys.iter()
        .find(|defined| defined.name.contains('$') && pattern_matches(&defined.name, &words))
}

/// Up to three keys that are spelt most like `key`.
pub(crate) fn nearest(keys: &[Key], key: &str) -> Vec<String> {
    nearest_of(key, keys.iter().map(|defined| defined.name.as_ref()))
}

/// Whether no word of the key is free.
pub(crate) fn is_concrete(key: &Key) -> bool {
    !key.name.contains('$')
}

/// Reads `text` as this kind; the error says what would be right.
pub(crate) fn check(kind: &KeyKind, text: &str) -> Result<Checked, String> {
    let kept = |text: &str| Checked::from(Value::Text(text.to_owned()));
    match kind {
        KeyKind::Text => Type::Text.check(text),
        KeyKind::Secret => Type::Secret.check(text),
        KeyKind::Duration => Type::Duration { zero: true }.check(text),
        KeyKind::Size => SIZE.check(text),
        KeyKind::Integer => match text.parse::<i64>() {
            Ok(_) => Ok(kept(text)),
            Err(_) => Err(format!("a whole number is expected, not `{text}`")),
        },
        KeyKind::Switch => match text {
            "on" | "true" => Ok(Value::Flag(true).into()),
            "off" | "false" => Ok(Value::Flag(false).into()),
            _ => Err(format!("`on` or `off` is expected, not `{text}`")),
        },
        KeyKind::OneOf(words) => match words.iter().any(|word| word == text) {
            true => Ok(kept(text)),
            false => Err(format!(
                "one of {} is expected, not `{text}`",
                words.join(", ")
            )),
        },
    }
}

/// `text` as `emqttd_ctl show` prints it.
pub(crate) fn print(kind: &KeyKind, text: &str) -> String {
    match kind {
        KeyKind::Secret if !text.is_empty() => "***".to_owned(),
        KeyKind::Duration => Type::Duration { zero: true }.print(text),
        KeyKind::Size => SIZE.print(text),
        KeyKind::Switch => match check(kind, text) {
            Ok(Checked {
                value: Value::Flag(on),
                ..
            }) => on.to_string(),
            _ => text.to_owned(),
        },
        KeyKind::Text | KeyKind::Secret | KeyKind::Integer | KeyKind::OneOf(_) => text.to_owned(),
    }
}

/// The name that `emqttd_ctl set` gives the kind.
pub(crate) fn datatype(kind: &KeyKind) -> &'static str {
    match kind {
        KeyKind::Text | KeyKind::Secret => "string",
        KeyKind::Integer => "integer",
        KeyKind::Switch => "flag",
        KeyKind::Duration => "duration",
        KeyKind::Size => "bytesize",
        KeyKind::OneOf(_) => "enum",
    }
}
