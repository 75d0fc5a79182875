//! Alarms: conditions that hold until they are cleared (sheet 8.6).

use crate::node::unix_seconds;
pub use emqttd_plugin_sdk::Severity;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;

/// Alarms kept at a time, and ended ones remembered.
const MOST: usize = 1000;

/// As it stands in alarms.
fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Warning => "warning",
        Severity::Error => "error",
        Severity::Critical => "critical",
    }
}

/// A condition that holds, or held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// names it
    pub id: String,
    /// how bad it is
    pub severity: Severity,
    /// a line
    pub title: String,
    /// a sentence
    pub summary: String,
    /// unix seconds
    pub since: u64,
}

/// What has become of an alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlarmEvent {
    /// It holds from now on.
    Set(Alarm),
    /// It does not hold any more, since so many unix seconds.
    Cleared(Alarm, u64),
}

/// The alarms of the node, bounded.
#[derive(Debug, Default)]
pub struct Alarms {
    active: BTreeMap<String, Alarm>,
    ended: VecDeque<(Alarm, u64)>,
}

impl Alarms {
    /// Sets an alarm; `None` when it was set already, or there are too many.
    pub fn set(
        &mut self,
        id: &str,
        severity: Severity,
        title: &str,
        summary: &str,
    ) -> Option<AlarmEvent> {
        if self.active.contains_key(id) || self.active.len() >= MOST {
            return None;
        }
        let alarm = Alarm {
            id: id.into(),
            severity,
            title: title.into(),
            summary: summary.into(),
            since: unix_seconds(),
        };
        log::warn!("alarm {}: {}", id.escape_debug(), summary.escape_debug());
        self.active.insert(id.into(), alarm.clone());
        Some(AlarmEvent::Set(alarm))
    }

    /// Clears an alarm; `None` when it was not set.
    pub fn clear(&mut self, id: &str) -> Option<AlarmEvent> {
        let alarm = self.active.remove(id)?;
        if self.ended.len() >= MOST {
            self.ended.pop_front();
        }
        let at = unix_seconds();
        self.ended.push_back((alarm.clone(), at));
        Some(AlarmEvent::Cleared(alarm, at))
    }

    /// Those that hold.
    pub fn active(&self) -> impl Iterator<Item = &Alarm> {
        self.active.values()
    }

    /// Those that have ended, with when, oldest first.
    pub fn ended(&self) -> impl Iterator<Item = &(Alarm, u64)> {
        self.ended.iter()
    }

    /// What `.../alarms/<id>/alert` says.
    pub fn alert_json(&self, id: &str) -> Option<String> {
        let alarm = self.active.get(id)?;
        Some(format!(
            r#"{{"id":{},"severity":"{}","title":{},"summary":{},"ts":{}}}"#,
            json(&alarm.id),
            severity_name(alarm.severity),
            json(&alarm.title),
            json(&alarm.summary),
            alarm.since
        ))
    }

    /// What `.../alarms/<id>/clear` says.
    pub fn clear_json(&self, id: &str) -> Option<String> {
        let (_, at) = self.ended.iter().rev().find(|(alarm, _)| alarm.id == id)?;
        Some(format!(r#"{{"id":{},"ts":{at}}}"#, json(id)))
    }
}

/// A JSON string; what is not ASCII is escaped, as EMQ's encoder does.
fn json(text: &str) -> String {
    let mut out = String::from("\"");
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(b'"') => out.push_str("\\\""),
            Ok(b'\\') => out.push_str("\\\\"),
            Ok(plain @ 0x20..0x7f) => out.push(char::from(plain)),
            // Writing to a String cannot fail.
            _ => drop(write!(out, "\\u{unit:04x}")),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_emq_says() {
        let mut alarms = Alarms::default();
        let id = "queue_high_watermark.c\"é";
        let set = alarms.set(
            id,
            Severity::Warning,
            "Queue c high-water mark",
            "queue len 7 > high_watermark 6",
        );
        assert!(matches!(set, Some(AlarmEvent::Set(alarm)) if alarm.id == id));
        assert_eq!(alarms.set(id, Severity::Warning, "", ""), None);
        let alert = alarms.alert_json(id).expect("it is set");
        assert!(alert.starts_with(
            r#"{"id":"queue_high_watermark.c\"\u00e9","severity":"warning","title":"Queue c high-water mark","summary":"queue len 7 > high_watermark 6","ts":"#
        ));
        assert!(matches!(alarms.clear(id), Some(AlarmEvent::Cleared(alarm, _)) if alarm.id == id));
        assert_eq!(alarms.clear(id), None);
        assert!(
            alarms
                .clear_json(id)
                .is_some_and(|clear| clear.contains(r#"\u00e9","ts":"#))
        );
    }

    #[test]
    fn are_bounded() {
        let mut alarms = Alarms::default();
        let set = (0..3 * MOST)
            .filter_map(|n| alarms.set(&n.to_string(), Severity::Error, "t", "s"))
            .count();
        assert_eq!(set, MOST);
        for n in 0..3 * MOST {
            alarms.clear(&n.to_string());
            alarms.set(&format!("{n}x"), Severity::Error, "t", "s");
            alarms.clear(&format!("{n}x"));
        }
        assert_eq!((alarms.active().count(), alarms.ended().count()), (0, MOST));
    }
}
