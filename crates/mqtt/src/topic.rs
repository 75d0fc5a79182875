//! Topic names and topic filters.

use std::fmt;

use memchr::{memchr, memchr_iter};

use crate::{DecodeError, DecodeErrorKind};

/// Why a string is no topic name or no topic filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TopicError {
    /// Topic names and filters have at least one character [MQTT-4.7.3-1].
    Empty,
    /// Longer than 65,535 bytes [MQTT-4.7.3-3].
    TooLong,
    /// Contains U+0000 [MQTT-4.7.3-2].
    Nul,
    /// A topic name with `+` or `#` [MQTT-4.7.0-1].
    WildcardInName,
    /// `#` that is not the last level by itself [MQTT-4.7.1-1], or `+` that is not a level by itself [MQTT-4.7.1-2].
    WildcardPlace,
    /// A share name that is missing, empty, or has a wildcard [MQTT-4.8.2-1], [MQTT-4.8.2-2].
    ShareName,
    /// Two prefixes that exclude each other, such as `$queue/$share/g/`.
    Prefixes,
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TopicError::Empty => "empty topic",
            TopicError::TooLong => "topic longer than 65535 bytes",
            TopicError::Nul => "topic with a NUL",
            TopicError::WildcardInName => "topic name with a wildcard",
            TopicError::WildcardPlace => "wildcard that is not a level by itself",
            TopicError::ShareName => "bad share name",
            TopicError::Prefixes => "prefixes that cannot be combined",
        })
    }
}

impl std::error::Error for TopicError {}

/// What a topic name and a filter can both be guilty of is said of a name: for a filter, 5.0 answers with the code
/// [`crate::ReasonCode::TOPIC_FILTER_INVALID`] in SUBACK and keeps the connection.
impl From<TopicError> for DecodeError {
    fn from(error: TopicError) -> DecodeError {
        let (kind, detail) = match error {
            TopicError::Empty => (DecodeErrorKind::TopicNameInvalid, "empty topic"),
            TopicError::TooLong => (
                DecodeErrorKind::TopicNameInvalid,
                "topic longer than 65535 bytes",
            ),
            TopicError::Nul => (DecodeErrorKind::TopicNameInvalid, "topic with a NUL"),
            TopicError::WildcardInName => (
                DecodeErrorKind::TopicNameInvalid,
                "topic name with a wildcard",
            ),
            TopicError::WildcardPlace => (
                DecodeErrorKind::TopicFilterInvalid,
                "wildcard that is not a level by itself",
            ),
            TopicError::ShareName => (DecodeErrorKind::TopicFilterInvalid, "bad share name"),
            TopicError::Prefixes => (
                DecodeErrorKind::TopicFilterInvalid,
                "prefixes that cannot be combined",
            ),
        };
        DecodeError::new(kind, detail)
    }
}

/// The longest topic name or filter, in bytes [MQTT-4.7.3-3].
pub const MAX_LEN: usize = 65_535;

/// Checks a topic name.
///
/// # Errors
/// [`TopicError::Empty`], [`TopicError::TooLong`], [`TopicError::Nul`], [`TopicError::WildcardInName`].
#[inline]
pub fn validate_name(name: &str) -> Result<(), TopicError> {
    if name.is_empty() {
        return Err(TopicError::Empty);
    }
    if name.len() > MAX_LEN {
        return Err(TopicError::TooLong);
    }
    if has_forbidden_byte(name.as_bytes()) {
        Err(forbidden_byte(name))
    } else {
        Ok(())
    }
}

#[cold]
fn forbidden_byte(name: &str) -> TopicError {
    if name.as_bytes().contains(&0) {
        TopicError::Nul
    } else {
        TopicError::WildcardInName
    }
}

/// Whether there is a NUL, `+` or `#`. None of these bytes is part of a longer UTF-8 sequence.
#[inline]
pub(crate) fn has_forbidden_byte(bytes: &[u8]) -> bool {
    const fn forbidden(byte: u8) -> bool {
        // `#` and `+` differ in one bit alone, so one comparison finds both.
        byte == 0 || byte | (b'#' ^ b'+') == b'+'
    }
    /// Without a way out of the loop, so that it becomes a few vector instructions.
    #[inline]
    fn any<const N: usize>(bytes: &[u8; N]) -> bool {
        bytes
            .iter()
            .fold(false, |found, &byte| found | forbidden(byte))
    }

    let (blocks, rest) = bytes.as_chunks::<16>();
    // Leaving early keeps the compiler from making vectors of blocks instead of bytes.
    if blocks.iter().any(any) {
        return true;
    }
    // The bytes behind the last block, together with some that have been looked at.
    if let Some(last) = bytes.last_chunk::<16>() {
        any(last)
    } else if let (Some(start), Some(end)) = (rest.first_chunk::<8>(), rest.last_chunk::<8>()) {
        any(start) | any(end)
    } else {
        rest.iter().any(|&byte| forbidden(byte))
    }
}

/// Checks a topic filter. The prefixes of shared and local subscriptions are ordinary levels here.
///
/// # Errors
/// [`TopicError::Empty`], [`TopicError::TooLong`], [`TopicError::Nul`], [`TopicError::WildcardPlace`].
pub fn validate_filter(filter: &str) -> Result<(), TopicError> {
    if filter.is_empty() {
        return Err(TopicError::Empty);
    }
    if filter.len() > MAX_LEN {
        return Err(TopicError::TooLong);
    }
    let bytes = filter.as_bytes();
    for (index, &byte) in bytes.iter().enumerate() {
        match byte {
            0 => return Err(TopicError::Nul),
            b'+' | b'#' => {
                let starts_level = index == 0 || bytes[index - 1] == b'/';
                let next = bytes.get(index + 1);
                let ends_level = next.is_none() || (byte == b'+' && next == Some(&b'/'));
                if !starts_level || !ends_level {
                    return Err(TopicError::WildcardPlace);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether a filter has a wildcard.
#[inline]
pub fn has_wildcard(filter: &str) -> bool {
    memchr::memchr2(b'+', b'#', filter.as_bytes()).is_some()
}

/// Whether the valid `filter` matches the valid `name`.
///
/// A filter that starts with a wildcard does not match a name that starts with `$` [MQTT-4.7.2-1]. Bytes are compared;
/// nothing is normalized [MQTT-4.7.3-4].
pub fn matches(filter: &str, name: &str) -> bool {
    let (filter, name) = (filter.as_bytes(), name.as_bytes());
    if name.first() == Some(&b'$') && matches!(filter.first(), Some(b'+' | b'#')) {
        return false;
    }
    let mut filter = Some(filter);
    let mut name = Some(name);
    loop {
        match (filter, name) {
            // `#` also stands for the parent level.
            (Some(b"#"), _) => return true,
            (Some(rest_of_filter), Some(rest_of_name)) => {
                let (wanted, next_filter) = split_level(rest_of_filter);
                let (level, next_name) = split_level(rest_of_name);
                if wanted != b"+" && wanted != level {
                    return false;
                }
                filter = next_filter;
                name = next_name;
            }
            (None, None) => return true,
            _ => return false,
        }
    }
}

/// The first level, and what follows its `/`.
#[inline]
fn split_level(bytes: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr(b'/', bytes) {
        Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
        None => (bytes, None),
    }
}

/// The levels of a topic name or filter; `a//b` has three, the second of them empty.
#[inline]
pub fn levels(topic: &str) -> impl DoubleEndedIterator<Item = &str> + Clone {
    topic.split('/')
}

/// How many levels a topic name or filter has: the slashes and one.
#[inline]
pub fn count_levels(topic: &str) -> usize {
    memchr_iter(b'/', topic.as_bytes()).count() + 1
}

/// The filter of a subscription, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SubscriptionFilter<'a> {
    /// What messages are matched with: without the prefixes.
    pub filter: &'a str,
    /// The group of a shared subscription; `$queue` for the one group that has no name.
    pub share: Option<&'a str>,
    /// Whether only messages published on this node are wanted.
    pub local: bool,
}

/// The group of `$queue/` subscriptions.
pub const QUEUE_GROUP: &str = "$queue";

impl<'a> SubscriptionFilter<'a> {
    /// Takes apart the filter of a SUBSCRIBE or UNSUBSCRIBE: `$share/<group>/<filter>`, `$queue/<filter>`,
    /// `$local/<filter>`, and `$local` before or `$queue` around one another.
    ///
    /// `strict` is for MQTT 5.0: a share name has at least one character and no wildcard [MQTT-4.8.2-1], [MQTT-4.8.2-2],
    /// and a filter follows. Without it, what EMQ 2 let pass is let pass: an empty group, the group `+`, and an empty
    /// filter behind a prefix, which matches nothing.
    ///
    /// # Errors
    /// As [`validate_filter`]; [`TopicError::ShareName`], [`TopicError::Prefixes`].
    pub fn parse(filter: &'a str, strict: bool) -> Result<SubscriptionFilter<'a>, TopicError> {
        // With the prefix: so `$share/g#/x` is refused for its `#`.
        validate_filter(filter)?;
        let mut parsed = SubscriptionFilter {
            filter,
            share: None,
            local: false,
        };
        if !filter.starts_with('$') {
            return Ok(parsed);
        }
        loop {
            if let Some(rest) = parsed.filter.strip_prefix("$local/") {
                if parsed.local {
                    return Err(TopicError::Prefixes);
                }
                parsed.local = true;
                parsed.filter = rest;
            } else if let Some(rest) = parsed.filter.strip_prefix("$queue/") {
                if parsed.share.is_some() {
                    return Err(TopicError::Prefixes);
                }
                parsed.share = Some(QUEUE_GROUP);
                parsed.filter = rest;
            } else if let Some(rest) = parsed.filter.strip_prefix("$share/") {
                if parsed.share.is_some() {
                    return Err(TopicError::Prefixes);
                }
                let (group, rest) = rest.split_once('/').ok_or(TopicError::ShareName)?;
                if strict && (group.is_empty() || has_wildcard(group)) {
                    return Err(TopicError::ShareName);
                }
                if rest.starts_with("$share/") {
                    return Err(TopicError::Prefixes);
                }
                parsed.share = Some(group);
                parsed.filter = rest;
                // What follows a share name is the filter, whatever it looks like.
                break;
            } else {
                break;
            }
        }
        if strict && parsed.filter.is_empty() {
            return Err(TopicError::Empty);
        }
        Ok(parsed)
    }
}
