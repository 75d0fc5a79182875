//! One rule: whom it is for, and what it makes of them.

use crate::throttle::Throttle;
use crate::wrong;
use emqttd_plugin_sdk::topic::{MAX_LEN, validate_filter};
use emqttd_plugin_sdk::{Entry, StartError};
use fancy_regex::{BytesMode, Captures, CompileError, Error, Regex, RegexBuilder};
use std::fmt;

/// Longest topic that an expression is tried on, in bytes; EMQ had no longer ones.
const LONGEST: usize = 4096;

/// How often an expression that has to backtrack may do so for one topic. Others need time in proportion to
/// the topic's length.
const BACKTRACKS: usize = 5_000;

/// Size of a compiled expression, in bytes, and in instructions where it has to backtrack.
const COMPILED: usize = 128 * 1024;
const INSTRUCTIONS: usize = 4096;

/// Memory in which an expression remembers its states while it runs, in bytes, for each thread.
const STATES: usize = 128 * 1024;

/// `<filter> <regular expression> <destination>`
#[derive(Debug)]
pub(crate) struct Rule {
    key: String,
    filter: String,
    expression: Regex,
    destination: Vec<Piece>,
    failed: Throttle,
}

/// A piece of a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// `$1`: what the first group matched
    Group(usize),
}

/// Why a rule could not be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    TopicTooLong,
    TooMuchWork,
    ResultTooLong,
    NotUtf8,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::TopicTooLong => write!(f, "it is longer than {LONGEST} bytes"),
            Failure::TooMuchWork => f.write_str("the expression takes too much work"),
            Failure::ResultTooLong => f.write_str("the result is too long"),
            Failure::NotUtf8 => f.write_str("the result is not UTF-8"),
        }
    }
}

impl Rule {
    /// Reads a rule. As once in EMQ's documents, the words may stand in quotes, and behind the word `rewrite`.
    pub(crate) fn parse(entry: &Entry) -> Result<Rule, StartError> {
        let words: Vec<&str> = entry.value.split_ascii_whitespace().collect();
        let words = match *words {
            [filter, expression, destination] => [filter, expression, destination],
            ["rewrite", filter, expression, destination] => [filter, expression, destination],
            _ => {
                let expected = "`<filter> <regular expression> <destination>` is expected";
                return Err(wrong(entry, expected));
            }
        };
        let [filter, expression, destination] = words.map(|word| word.trim_matches('"'));
        validate_filter(filter)
            .map_err(|error| wrong(entry, &format!("the filter {filter}: {error}")))?;
        let expression = compile(expression)
            .map_err(|error| wrong(entry, &format!("the expression {expression}: {error}")))?;
        let pieces = pieces(destination, expression.captures_len() - 1);
        if pieces.is_empty() {
            return Err(wrong(entry, "the destination is empty"));
        }
        if let Some(text) = text_like_a_group(&pieces) {
            log::warn!(
                "{}: {}: the expression has no group for the {text} of its destination",
                entry.origin,
                entry.key
            );
        }
        Ok(Rule {
            key: entry.key.clone(),
            filter: filter.into(),
            expression,
            destination: pieces,
            failed: Throttle::new(),
        })
    }

    /// The key that it stands under.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// For what is to be said when it could not be applied; one rule does not silence another.
    pub(crate) fn failed(&self) -> &Throttle {
        &self.failed
    }

    /// The topics it is for.
    pub(crate) fn filter(&self) -> &str {
        &self.filter
    }

    /// What it makes of `topic`; `None` = the expression does not match.
    pub(crate) fn apply(&self, topic: &str) -> Result<Option<String>, Failure> {
        if topic.len() > LONGEST {
            return Err(Failure::TopicTooLong);
        }
        let found = self
            .expression
            .captures(topic.as_bytes())
            .map_err(|_| Failure::TooMuchWork)?;
        found.map(|found| self.fill(&found)).transpose()
    }

    /// The destination. A group that took no part in the match stands for nothing.
    fn fill(&self, found: &Captures<'_, [u8]>) -> Result<String, Failure> {
        let mut new = Vec::new();
        for piece in &self.destination {
            match piece {
                Piece::Text(text) => new.extend_from_slice(text.as_bytes()),
                Piece::Group(group) => {
                    let text = found.get(*group).map(|group| group.as_bytes());
                    new.extend_from_slice(text.unwrap_or_default());
                }
            }
            if new.len() > MAX_LEN {
                return Err(Failure::ResultTooLong);
            }
        }
        String::from_utf8(new).map_err(|_| Failure::NotUtf8)
    }
}

/// As Erlang's `re`, an expression sees bytes: `.` is one byte, `\w` a letter of ASCII.
fn compile(expression: &str) -> Result<Regex, String> {
    RegexBuilder::new(expression)
        .bytes_mode(BytesMode::Ascii)
        .optimize(false)
        .backtrack_limit(BACKTRACKS)
        .max_prog_size(INSTRUCTIONS)
        .delegate_size_limit(COMPILED)
        .delegate_dfa_size_limit(STATES)
        .build()
        .map_err(|error| match error {
            Error::CompileError(error) => match *error {
                CompileError::InnerError(error) if error.size_limit().is_some() => {
                    "it is too large".into()
                }
                CompileError::PatternTooComplex => "it is too large".into(),
                error => error.to_string(),
            },
            error => error.to_string(),
        })
}

/// Takes a destination apart. `$10` is the tenth group where there are so many, and else the first with a
/// `0` behind it; what names no group is text.
fn pieces(destination: &str, groups: usize) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = destination;
    while let Some(at) = rest.find('$') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let (group, length) = group(&rest[1..], groups).unzip();
        match group {
            Some(group) => {
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(Piece::Group(group));
            }
            None => text.push('$'),
        }
        rest = &rest[1 + length.unwrap_or(0)..];
    }
    text.push_str(rest);
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    pieces
}

/// The greatest group that `text` begins with the number of, and the length of that number.
fn group(text: &str, groups: usize) -> Option<(usize, usize)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if text.starts_with('0') {
        return None;
    }
    (1..=digits).rev().find_map(|length| {
        let group = text[..length].parse().ok()?;
        (group <= groups).then_some((group, length))
    })
}

/// Something like `$7` that stayed text.
fn text_like_a_group(pieces: &[Piece]) -> Option<&str> {
    let found = |text: &'_ str| {
        let at = text
            .match_indices('$')
            .find(|(at, _)| text.as_bytes().get(at + 1).is_some_and(u8::is_ascii_digit))?;
        Some(at.0..at.0 + 2)
    };
    pieces.iter().find_map(|piece| match piece {
        Piece::Text(text) => found(text).map(|range| &text[range]),
        Piece::Group(_) => None,
    })
}

#[cfg(test)]
mod tests;
