//! Rules: which events are posted.

use crate::body::Encoding;
use emqttd_plugin_sdk::topic::{matches, validate_filter};
use emqttd_plugin_sdk::{Config, Entry, HookPoint, StartError};
use serde_json::{Map, Value};

/// A point that rules can be about.
struct Point {
    point: HookPoint,
    /// as it stands in keys, and in actions with `_` for the dot
    name: &'static str,
    /// whether something about topics happens there
    topic: bool,
    /// whether that is a message
    payload: bool,
}

const fn of_client(point: HookPoint, name: &'static str) -> Point {
    Point {
        point,
        name,
        topic: false,
        payload: false,
    }
}

const fn of_topic(point: HookPoint, name: &'static str) -> Point {
    Point {
        topic: true,
        ..of_client(point, name)
    }
}

const fn of_message(point: HookPoint, name: &'static str) -> Point {
    Point {
        payload: true,
        ..of_topic(point, name)
    }
}

/// In the order of their bits.
const POINTS: [Point; 11] = [
    of_client(HookPoint::ClientConnected, "client.connected"),
    of_client(HookPoint::ClientDisconnected, "client.disconnected"),
    of_topic(HookPoint::ClientSubscribe, "client.subscribe"),
    of_topic(HookPoint::ClientUnsubscribe, "client.unsubscribe"),
    of_client(HookPoint::SessionCreated, "session.created"),
    of_topic(HookPoint::SessionSubscribed, "session.subscribed"),
    of_topic(HookPoint::SessionUnsubscribed, "session.unsubscribed"),
    of_client(HookPoint::SessionTerminated, "session.terminated"),
    of_message(HookPoint::MessagePublish, "message.publish"),
    of_message(HookPoint::MessageDelivered, "message.delivered"),
    of_message(HookPoint::MessageAcked, "message.acked"),
];

/// One rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// topics it is about; `None` = all, also those with `$` in front
    filter: Option<String>,
    /// how it wants payloads
    pub encoding: Encoding,
}

impl Rule {
    fn covers(&self, topic: &str) -> bool {
        let filter = self.filter.as_deref();
        filter.is_none_or(|filter| matches(filter, topic))
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    /// by the number of the point's bit, those of one point in the order of their numbers
    of: [Vec<Rule>; POINTS.len()],
}

impl Rules {
    /// Reads `web.hook.rule.<point>.<id>` and `web.hook.encode_payload`.
    ///
    /// # Errors
    /// A rule that is not understood: the key, where it stands, and what is wrong.
    pub fn read(config: &Config) -> Result<Rules, StartError> {
        let default = match config.entry("web.hook.encode_payload") {
            Some(entry) => encoding(entry.value.trim())
                .ok_or_else(|| entry.refused("must be plain or base64"))?,
            None => Encoding::Plain,
        };
        let mut rules = Rules::default();
        for (point, rules) in POINTS.iter().zip(&mut rules.of) {
            for entry in entries(config, point) {
                let rule = read(entry, point, default).map_err(|what| entry.refused(what))?;
                match rules.iter().find(|other| other.filter == rule.filter) {
                    None => rules.push(rule),
                    // EMQ registered only one of them.
                    Some(other) if other.encoding == rule.encoding => {}
                    Some(_) => {
                        let what = "has the topic of another rule, and another encode_payload";
                        return Err(entry.refused(what));
                    }
                }
            }
        }
        Ok(rules)
    }

    /// The points that rules are about, as a union of [`HookPoint`] values.
    pub fn points(&self) -> u32 {
        let used = POINTS.iter().zip(&self.of);
        used.filter(|(_, rules)| !rules.is_empty())
            .fold(0, |points, (point, _)| points | point.point as u32)
    }

    /// Whether there is a rule about something that has no topic.
    pub fn has(&self, point: HookPoint) -> bool {
        !self.of(point).is_empty()
    }

    /// The rules about something that has happened with that topic.
    pub fn about<'a>(&'a self, point: HookPoint, topic: &'a str) -> impl Iterator<Item = &'a Rule> {
        self.of(point).iter().filter(move |rule| rule.covers(topic))
    }

    fn of(&self, point: HookPoint) -> &[Rule] {
        self.of
            .get((point as u32).trailing_zeros() as usize)
            .map_or(&[], Vec::as_slice)
    }
}

/// The rules about a point, by number.
fn entries<'a>(config: &'a Config, point: &Point) -> impl Iterator<Item = &'a Entry> {
    let key = |id: &str| format!("web.hook.rule.{}.{id}", point.name);
    let mut ids = config.ids(&key("$id"));
    // Ids that are no numbers come last, as text.
    ids.sort_by_key(|id| id.parse().unwrap_or(u64::MAX));
    let keys: Vec<String> = ids.iter().map(|id| key(id)).collect();
    keys.into_iter().filter_map(|key| config.entry(&key))
}

fn encoding(word: &str) -> Option<Encoding> {
    match word {
        "plain" => Some(Encoding::Plain),
        "base64" => Some(Encoding::Base64),
        _ => None,
    }
}

/// Reads one rule; the error says what is wrong with it.
fn read(entry: &Entry, point: &Point, default: Encoding) -> Result<Rule, String> {
    let action = format!("on_{}", point.name.replace('.', "_"));
    let example = format!("{{\"action\": \"{action}\"}}");
    let fields: Map<String, Value> = serde_json::from_str(&entry.value)
        .map_err(|error| format!("is no JSON object such as {example}: {error}"))?;
    let mut rule = Rule {
        filter: None,
        encoding: default,
    };
    let mut has_action = false;
    for (name, value) in &fields {
        let value = value
            .as_str()
            .ok_or_else(|| format!("\"{name}\" must be a string"))?;
        match name.as_str() {
            "action" if value == action => has_action = true,
            "action" => return Err(format!("\"action\" must be \"{action}\" here")),
            "topic" if point.topic => {
                validate_filter(value).map_err(|error| format!("\"topic\": {error}"))?;
                rule.filter = Some(value.to_string());
            }
            "encode_payload" if point.payload => {
                rule.encoding = encoding(value)
                    .ok_or_else(|| "\"encode_payload\" must be plain or base64".to_string())?;
            }
            "topic" | "encode_payload" => {
                return Err(format!("{} has no \"{name}\"", point.name));
            }
            _ => return Err(format!("\"{name}\" is not known")),
        }
    }
    match has_action {
        true => Ok(rule),
        false => Err(format!("has no \"action\": {example}")),
    }
}

#[cfg(test)]
mod tests;
