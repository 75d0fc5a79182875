//! What callbacks return.

use emqttd_plugin_sdk::topic::{SubscriptionFilter, validate_name};
use emqttd_plugin_sdk::{Change, Message, QoS, Verdict};
use mlua::{LuaString, MultiValue, Value};
use std::borrow::Cow;

/// A message on its way through the scripts.
pub(crate) struct Passing<'a> {
    pub topic: Cow<'a, str>,
    pub payload: Cow<'a, [u8]>,
    pub qos: QoS,
    pub retain: bool,
    /// what the broker gave
    original: Message<'a>,
}

/// What a script has made of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Published {
    Same,
    /// in this way
    Changed(Change),
    Dropped,
}

impl<'a> Passing<'a> {
    /// As it comes from the broker.
    pub fn of(message: &Message<'a>) -> Passing<'a> {
        Passing {
            topic: Cow::Borrowed(message.topic),
            payload: Cow::Borrowed(message.payload),
            qos: message.qos,
            retain: message.retain,
            original: *message,
        }
    }

    /// A script has changed it.
    pub fn apply(&mut self, change: Change) {
        if let Some(topic) = change.topic {
            self.topic = Cow::Owned(topic);
        }
        if let Some(payload) = change.payload {
            self.payload = Cow::Owned(payload);
        }
        self.qos = change.qos.unwrap_or(self.qos);
        self.retain = change.retain.unwrap_or(self.retain);
    }

    /// What the broker is told.
    pub fn verdict(self) -> Verdict {
        let owned = |topic| match topic {
            Cow::Owned(topic) => Some(topic),
            Cow::Borrowed(_) => None,
        };
        let payload = match self.payload {
            Cow::Owned(payload) => Some(payload),
            Cow::Borrowed(_) => None,
        };
        let change = Change {
            topic: owned(self.topic),
            payload,
            qos: (self.qos != self.original.qos).then_some(self.qos),
            retain: (self.retain != self.original.retain).then_some(self.retain),
        };
        match change == Change::default() {
            true => Verdict::Pass,
            false => Verdict::Change(change),
        }
    }
}

/// Reads what comes of `on_message_publish`: true if the message is as it was, else false and what was returned.
///
/// # Errors
/// As [`published`].
pub(crate) fn settled(mut values: MultiValue, now: &Passing<'_>) -> Result<Published, String> {
    match values.pop_front() {
        Some(Value::Boolean(true)) => Ok(Published::Same),
        _ => published(&values, now),
    }
}

/// Reads what `on_message_publish` returns: topic, payload, qos, retain; or false.
///
/// # Errors
/// What is wrong with it.
fn published(values: &MultiValue, now: &Passing<'_>) -> Result<Published, String> {
    if values.front() == Some(&Value::Boolean(false)) {
        return Ok(Published::Dropped);
    }
    let [topic, payload, qos, retain] = match values.len() {
        4 => [&values[0], &values[1], &values[2], &values[3]],
        n => {
            return Err(format!(
                "returned {n} values, not topic, payload, qos, retain or false"
            ));
        }
    };
    let topic = string(topic, "topic")?.as_bytes();
    let payload = string(payload, "payload")?.as_bytes();
    let (qos, retain) = (self::qos(qos)?, self::retain(retain)?);
    let change = Change {
        topic: match *topic == *now.topic.as_bytes() {
            true => None,
            false => Some(name(&topic)?),
        },
        payload: (*payload != *now.payload).then(|| payload.to_vec()),
        qos: (qos != now.qos).then_some(qos),
        retain: (retain != now.retain).then_some(retain),
    };
    Ok(match change == Change::default() {
        true => Published::Same,
        false => Published::Changed(change),
    })
}

/// Reads what `on_client_subscribe` and `on_client_unsubscribe` return: a filter, or false (`None`).
///
/// # Errors
/// What is wrong with it.
pub(crate) fn filter(values: &MultiValue) -> Result<Option<String>, String> {
    let value = match values.len() {
        1 => &values[0],
        n => return Err(format!("returned {n} values, not one topic or false")),
    };
    if *value == Value::Boolean(false) {
        return Ok(None);
    }
    let topic = text(&string(value, "topic")?.as_bytes())?;
    let wrong = |what: &dyn std::fmt::Display| Err(format!("returned the topic {topic:?}: {what}"));
    match SubscriptionFilter::parse(&topic, true) {
        Ok(parsed) if parsed.share.is_some() || parsed.local => {
            wrong(&"a prefix such as $share/ cannot be added here")
        }
        Ok(_) => Ok(Some(topic)),
        Err(error) => wrong(&error),
    }
}

/// A topic name.
fn name(bytes: &[u8]) -> Result<String, String> {
    let topic = text(bytes)?;
    match validate_name(&topic) {
        Ok(()) => Ok(topic),
        Err(error) => Err(format!("returned the topic {topic:?}: {error}")),
    }
}

fn text(bytes: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "returned a topic that is not UTF-8")?;
    Ok(text.to_string())
}

fn string<'v>(value: &'v Value, what: &str) -> Result<&'v LuaString, String> {
    match value {
        Value::String(string) => Ok(string),
        other => Err(format!(
            "returned a {} as {what}, not a string",
            other.type_name()
        )),
    }
}

fn qos(value: &Value) -> Result<QoS, String> {
    let number = match value {
        Value::Integer(number) => u8::try_from(*number).ok(),
        Value::Number(number) if *number == number.trunc() => {
            (0.0..=2.0).contains(number).then_some(*number as u8)
        }
        Value::Number(_) => None,
        other => {
            return Err(format!(
                "returned a {} as qos, not a number",
                other.type_name()
            ));
        }
    };
    number
        .and_then(QoS::from_u8)
        .ok_or_else(|| format!("returned {value:?} as qos, not 0, 1 or 2"))
}

fn retain(value: &Value) -> Result<bool, String> {
    match value {
        Value::Boolean(retain) => return Ok(*retain),
        Value::Integer(0) => return Ok(false),
        Value::Integer(1) => return Ok(true),
        Value::Number(number) if *number == 0.0 => return Ok(false),
        Value::Number(number) if *number == 1.0 => return Ok(true),
        Value::String(word) if *word == "true" => return Ok(true),
        Value::String(word) if *word == "false" => return Ok(false),
        _ => {}
    }
    Err("returned a retain that is not true, false, 0 or 1".into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use emqttd_plugin_sdk::testing::message;
    use mlua::Lua;

    fn eval(code: &str) -> MultiValue {
        // Values keep no hold of their interpreter.
        let lua = Box::leak(Box::new(Lua::new()));
        lua.load(code).eval().unwrap()
    }

    fn change(code: &str) -> Result<Published, String> {
        let message = message("a/b", b"x\xFF");
        published(&eval(code), &Passing::of(&message))
    }

    #[test]
    fn a_message_stays_or_changes() {
        let same = r"return 'a/b', 'x\255', 0, false";
        assert_eq!(change(same), Ok(Published::Same));
        let all = Change {
            topic: Some("c".into()),
            payload: Some(vec![0, 255]),
            qos: Some(QoS::AtLeastOnce),
            retain: Some(true),
        };
        for retain in ["true", "1", "1.0", "'true'"] {
            let code = format!(r"return 'c', '\0\255', 1.0, {retain}");
            assert_eq!(
                change(&code),
                Ok(Published::Changed(all.clone())),
                "{retain}"
            );
        }
        for retain in ["0", "'false'", "-0"] {
            let code = format!(r"return 'a/b', 'x\255', 0, {retain}");
            assert_eq!(change(&code), Ok(Published::Same), "{retain}");
        }
        assert_eq!(change("return false"), Ok(Published::Dropped));
        assert_eq!(change("return false, 1"), Ok(Published::Dropped));
    }

    #[test]
    fn nonsense_is_named() {
        for (code, what) in [
            ("return", "0 values"),
            ("return nil", "1 values"),
            ("return true", "1 values"),
            ("return 'a'", "1 values"),
            ("return 'a', 'b', 0, true, 1", "5 values"),
            ("return 1, 'b', 0, true", "as topic"),
            ("return nil, 'b', 0, true", "as topic"),
            ("return 'a/+', 'b', 0, true", "a/+"),
            ("return '', 'b', 0, true", "topic"),
            (r"return 'a\0', 'b', 0, true", "topic"),
            (r"return '\255', 'b', 0, true", "UTF-8"),
            ("return ('a'):rep(65536), 'b', 0, true", "topic"),
            ("return 'a', 1, 0, true", "as payload"),
            ("return 'a', {}, 0, true", "as payload"),
            ("return 'a', 'b', 3, true", "qos"),
            ("return 'a', 'b', -1, true", "qos"),
            ("return 'a', 'b', 1.5, true", "qos"),
            ("return 'a', 'b', 1e300, true", "qos"),
            ("return 'a', 'b', 0/0, true", "qos"),
            ("return 'a', 'b', '1', true", "qos"),
            ("return 'a', 'b', nil, true", "qos"),
            ("return 'a', 'b', 0, 2", "retain"),
            ("return 'a', 'b', 0, 'yes'", "retain"),
            ("return 'a', 'b', 0, nil", "retain"),
        ] {
            let error = change(code).unwrap_err();
            assert!(error.contains(what), "{code}: {error}");
        }
    }

    #[test]
    fn filters() {
        let of = |code: &str| filter(&eval(code));
        assert_eq!(of("return 'a/+/#'"), Ok(Some("a/+/#".into())));
        assert_eq!(of("return false"), Ok(None));
        for (code, what) in [
            ("return", "0 values"),
            ("return 'a', 'b'", "2 values"),
            ("return nil", "a nil"),
            ("return true", "a boolean"),
            ("return 0", "as topic"),
            ("return ''", "topic"),
            ("return 'a/#/b'", "a/#/b"),
            ("return '$share/g/a'", "prefix"),
            ("return '$local/a'", "prefix"),
            (r"return '\255'", "UTF-8"),
            ("return ('a'):rep(65536)", "topic"),
        ] {
            let error = of(code).unwrap_err();
            assert!(error.contains(what), "{code}: {error}");
        }
    }

    #[test]
    fn changes_add_up() {
        let message = message("a", b"x");
        let mut passing = Passing::of(&message);
        passing.apply(Change {
            topic: Some("b".into()),
            ..Change::default()
        });
        passing.apply(Change {
            qos: Some(QoS::ExactlyOnce),
            ..Change::default()
        });
        let both = Change {
            topic: Some("b".into()),
            qos: Some(QoS::ExactlyOnce),
            ..Change::default()
        };
        assert_eq!(passing.verdict(), Verdict::Change(both));
        assert_eq!(Passing::of(&message).verdict(), Verdict::Pass);
    }
}
