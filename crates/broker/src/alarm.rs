//! The table of alarms: which are raised now, and the last ones that were.
//!
//! Plain data. Whoever raises or clears an alarm publishes [`Alarms::alert_json`] under
//! `alarms/<id>/alert`, or [`Alarms::clear_json`] under `alarms/<id>/clear`, when the table says
//! that something changed.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

/// Alarms raised at the same time; further ones are refused and counted.
pub const MAX_ACTIVE: usize = 1000;
/// Ended alarms remembered; the oldest makes room.
pub const MAX_HISTORY: usize = 1000;
/// Longest identifier, bytes. An alarm cannot be found again by part of its identifier, so a
/// longer one is refused.
pub const MAX_ID: usize = 4096;
/// Title and summary are cut to this many bytes.
pub const MAX_TEXT: usize = 1024;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// `warning`
    Warning,
    /// `error`
    Error,
    /// `critical`
    Critical,
}

impl Severity {
    /// The word in the payload.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Error => "error",
            Severity::Critical => "critical",
        }
    }
}

/// An alarm that is or was raised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// what it is about; the key of the table
    pub id: String,
    /// how bad it is
    pub severity: Severity,
    /// a short sentence
    pub title: String,
    /// the figures behind it
    pub summary: String,
    /// unix seconds
    pub raised_at: u64,
}

impl Alarm {
    /// Payload of `alarms/<id>/alert`.
    pub fn alert_json(&self) -> String {
        format!(
            r#"{{"id":{},"severity":"{}","title":{},"summary":{},"ts":{}}}"#,
            json_text(&self.id),
            self.severity.as_str(),
            json_text(&self.title),
            json_text(&self.summary),
            self.raised_at
        )
    }
}

/// An identifier as part of a topic name: what a topic name may not hold is written `%xx`. A `/`
/// stays, as in EMQ 2.x.
pub fn topic_part(id: &str) -> String {
    let mut part = String::with_capacity(id.len());
    for c in id.chars() {
        match c {
            '+' | '#' | '\0' => drop(write!(part, "%{:02x}", c as u32)),
            c => part.push(c),
        }
    }
    part
}

/// An alarm that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// the alarm
    pub alarm: Alarm,
    /// unix seconds
    pub cleared_at: u64,
}

impl Past {
    /// Payload of `alarms/<id>/clear`.
    pub fn clear_json(&self) -> String {
        format!(
            r#"{{"id":{},"ts":{}}}"#,
            json_text(&self.alarm.id),
            self.cleared_at
        )
    }
}

/// The table.
#[derive(Debug, Default)]
pub struct Alarms {
    active: HashMap<String, Active>,
    /// Numbers alarms in the order in which they were raised.
    raised: u64,
    history: VecDeque<Past>,
    refused: u64,
}

#[derive(Debug)]
struct Active {
    order: u64,
    alarm: Alarm,
}

impl Alarms {
    /// Raises an alarm and says whether it is to be published: not when it is raised already (it
    /// stays as it was), nor when the table is full or the identifier too long
    /// ([`Alarms::refused`] counts those).
    pub fn set(&mut self, id: &str, severity: Severity, title: &str, summary: &str) -> bool {
        self.set_at(id, severity, title, summary, unix_seconds())
    }

    fn set_at(
        &mut self,
        id: &str,
        severity: Severity,
        title: &str,
        summary: &str,
        now: u64,
    ) -> bool {
        if self.active.contains_key(id) {
            return false;
        }
        if self.active.len() >= MAX_ACTIVE || id.len() > MAX_ID {
            self.refused += 1;
            return false;
        }
        self.raised += 1;
        let alarm = Alarm {
            id: id.to_owned(),
            severity,
            title: cut(title),
            summary: cut(summary),
            raised_at: now,
        };
        let order = self.raised;
        self.active.insert(id.to_owned(), Active { order, alarm });
        true
    }

    /// Ends an alarm and says whether that is to be published: not when it is not raised.
    pub fn clear(&mut self, id: &str) -> bool {
        self.clear_at(id, unix_seconds())
    }

    fn clear_at(&mut self, id: &str, now: u64) -> bool {
        let Some(Active { alarm, .. }) = self.active.remove(id) else {
            return false;
        };
        if self.history.len() >= MAX_HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(Past {
            alarm,
            cleared_at: now,
        });
        true
    }

    /// Payload of `alarms/<id>/alert`; `None` when the alarm is not raised.
    pub fn alert_json(&self, id: &str) -> Option<String> {
        self.active.get(id).map(|active| active.alarm.alert_json())
    }

    /// Payload of `alarms/<id>/clear` for the last time the alarm ended; `None` when it never did,
    /// or too long ago.
    pub fn clear_json(&self, id: &str) -> Option<String> {
        let past = self.history.iter().rev().find(|past| past.alarm.id == id)?;
        Some(past.clear_json())
    }

    /// Whether an alarm is raised.
    pub fn is_active(&self, id: &str) -> bool {
        self.active.contains_key(id)
    }

    /// The alarms raised now, in the order in which they were.
    pub fn active(&self) -> Vec<&Alarm> {
        let mut active: Vec<_> = self.active.values().collect();
        active.sort_unstable_by_key(|active| active.order);
        active.into_iter().map(|active| &active.alarm).collect()
    }

    /// Ended alarms, the one that ended first in front.
    pub fn history(&self) -> impl ExactSizeIterator<Item = &Past> {
        self.history.iter()
    }

    /// How many alarms there was no room for.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

fn unix_seconds() -> u64 {
    // A clock before 1970 is answered with 1970.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_TEXT)].to_owned()
}

/// A JSON string with its quotes.
fn json_text(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            c if c < ' ' => drop(write!(json, "\\u{:04x}", c as u32)),
            c => json.push(c),
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn raise(alarms: &mut Alarms, id: &str, now: u64) -> bool {
        alarms.set_at(id, Severity::Warning, "title", "summary", now)
    }

    #[test]
    fn payloads() {
        let mut alarms = Alarms::default();
        let id = "queue_high_watermark.c1";
        let title = "Queue c1 high-water mark";
        let summary = "queue len 61 > high_watermark 60";
        assert!(alarms.set_at(id, Severity::Warning, title, summary, 1_700_000_000));
        assert_eq!(
            alarms.alert_json(id).unwrap(),
            r#"{"id":"queue_high_watermark.c1","severity":"warning","title":"Queue c1 high-water mark","summary":"queue len 61 > high_watermark 60","ts":1700000000}"#
        );
        assert_eq!(alarms.clear_json(id), None);
        assert!(alarms.clear_at(id, 1_700_000_007));
        assert_eq!(alarms.alert_json(id), None);
        assert_eq!(
            alarms.clear_json(id).unwrap(),
            r#"{"id":"queue_high_watermark.c1","ts":1700000007}"#
        );
        let words = [Severity::Warning, Severity::Error, Severity::Critical].map(Severity::as_str);
        assert_eq!(words, ["warning", "error", "critical"]);
    }

    #[test]
    fn texts_of_clients() {
        assert_eq!(
            json_text("a\"\\\n\u{1}\u{e9}"),
            "\"a\\\"\\\\\\n\\u0001\u{e9}\""
        );
        assert_eq!(topic_part("q.a/+#b"), "q.a/%2b%23b");
    }

    #[test]
    fn raised_once_until_cleared() {
        let mut alarms = Alarms::default();
        assert!(raise(&mut alarms, "b", 1));
        assert!(raise(&mut alarms, "a", 2));
        assert!(!raise(&mut alarms, "b", 3));
        let active: Vec<_> = alarms
            .active()
            .iter()
            .map(|a| (a.id.as_str(), a.raised_at))
            .collect();
        assert_eq!(active, [("b", 1), ("a", 2)]);
        assert!(alarms.clear_at("b", 4));
        assert!(!alarms.clear_at("b", 5));
        assert!(!alarms.is_active("b"));
        assert!(alarms.is_active("a"));
        let past: Vec<_> = alarms
            .history()
            .map(|p| (p.alarm.id.as_str(), p.cleared_at))
            .collect();
        assert_eq!(past, [("b", 4)]);
        assert!(raise(&mut alarms, "b", 6));
    }

    #[test]
    fn bounded() {
        let mut alarms = Alarms::default();
        for n in 0..MAX_ACTIVE {
            assert!(raise(&mut alarms, &n.to_string(), 1));
        }
        assert!(!raise(&mut alarms, "more", 1));
        assert_eq!(alarms.refused(), 1);
        for n in 0..=MAX_HISTORY {
            let id = n.to_string();
            raise(&mut alarms, &id, 2);
            assert!(alarms.clear_at(&id, 3), "{id}");
        }
        assert_eq!(alarms.history().len(), MAX_HISTORY);
        assert_eq!(alarms.history().next().unwrap().alarm.id, "1");
        assert!(!raise(&mut alarms, &"x".repeat(MAX_ID + 1), 4));
        let long = "\u{e9}".repeat(MAX_TEXT);
        assert!(alarms.set("long", Severity::Error, &long, &long));
        let alarms = alarms.active();
        assert_eq!(alarms[0].title.len(), MAX_TEXT);
        assert_eq!(alarms[0].summary.len(), MAX_TEXT);
        assert!(alarms[0].raised_at > 1_700_000_000);
    }
}
