//! What documents are looked for: `username=%u, clientid=%c`.

use emqttd_backend::{Question, Var};
use mongodb::bson::{Bson, Document};
use std::fmt;

/// Pairs of a field and the value that it must have, all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector(Vec<(String, Value)>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Var(Var),
    Text(String),
}

impl Selector {
    /// Reads pairs `field=value`, divided by commas, spaces or both. A value is a variable only when it is `%u` or
    /// `%c` and nothing else. A word without `=` counts as `username=%u`, as it did in EMQ.
    ///
    /// # Errors
    /// What is wrong. Without a pair every document would match, and so would everybody be the user of one.
    pub fn parse(text: &str) -> Result<Selector, String> {
        let mut pairs: Vec<(String, Value)> = Vec::new();
        let is_divider = |c: char| c == ',' || c.is_whitespace();
        for word in text.split(is_divider).filter(|word| !word.is_empty()) {
            let (field, value) = word.split_once('=').unwrap_or(("username", "%u"));
            if field.split('.').any(str::is_empty) {
                return Err(format!("has `{word}`, which names no field"));
            }
            if field.starts_with('$') {
                return Err(format!("has `{word}`: `$` begins no name of a field"));
            }
            if pairs.iter().any(|(other, _)| other == field) {
                return Err(format!("has the field `{field}` twice"));
            }
            let variable = Var::named(value).filter(|var| Var::WHO.contains(var));
            let value = variable.map_or_else(|| Value::Text(value.into()), Value::Var);
            pairs.push((field.into(), value));
        }
        match pairs.is_empty() {
            true => Err(
                "is empty: every document would match. It takes pairs such as `username=%u`".into(),
            ),
            false => Ok(Selector(pairs)),
        }
    }

    /// The filter for one question; `None` = a value is missing, so that no document can match.
    pub fn filter(&self, question: &Question<'_>) -> Option<Document> {
        let pair = |(field, value): &(String, Value)| {
            let text = match value {
                Value::Text(text) => text.clone(),
                // Both are strings of MQTT, which are UTF-8.
                Value::Var(var) => String::from_utf8(var.value(question)?.into_owned()).ok()?,
            };
            Some((field.clone(), Bson::String(text)))
        };
        self.0.iter().map(pair).collect()
    }
}

/// As it is written in the configuration.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (field, value)) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            match value {
                Value::Var(var) => write!(f, "{comma}{field}={}", var.name())?,
                Value::Text(text) => write!(f, "{comma}{field}={text}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use emqttd_plugin_sdk::testing::client;
    use mongodb::bson::doc;

    fn filter(text: &str, username: Option<&str>) -> Option<Document> {
        let mut client = client("c 1");
        client.username = username.map(Into::into);
        let selector = Selector::parse(text).unwrap();
        selector.filter(&Question::login(&client, None))
    }

    #[test]
    fn pairs() {
        for (text, wanted) in [
            ("username=%u", doc! {"username": "u"}),
            (
                "username=%u,clientid=%c",
                doc! {"username": "u", "clientid": "c 1"},
            ),
            (
                " username=%u , clientid=%c ",
                doc! {"username": "u", "clientid": "c 1"},
            ),
            (
                "username=%u state=on",
                doc! {"username": "u", "state": "on"},
            ),
            ("username=$all", doc! {"username": "$all"}),
            ("a.b=%c", doc! {"a.b": "c 1"}),
            ("name=%u@x", doc! {"name": "%u@x"}),
            ("a==%u", doc! {"a": "=%u"}),
            ("a=%a", doc! {"a": "%a"}),
            ("a=", doc! {"a": ""}),
            ("clientid", doc! {"username": "u"}),
            (
                r#"username=%u,x={"$gt":""}"#,
                doc! {"username": "u", "x": r#"{"$gt":""}"#},
            ),
        ] {
            assert_eq!(filter(text, Some("u")).unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn what_a_client_sends_is_a_string() {
        for name in [r#"{"$gt":""}"#, "$where", "/.*/", "a,b=c", "%c", "\r\n", ""] {
            assert_eq!(
                filter("username=%u", Some(name)).unwrap(),
                doc! {"username": name}
            );
        }
        assert_eq!(filter("username=%u", None), None);
        assert_eq!(
            filter("clientid=%c", None).unwrap(),
            doc! {"clientid": "c 1"}
        );
    }

    #[test]
    fn those_that_are_refused() {
        for text in ["", " ", ",", " , ,"] {
            assert!(Selector::parse(text).unwrap_err().contains("is empty"));
        }
        for text in ["=%u", "$or=x", "$where=%u", "a.=x", "a..b=x", "a=1,a=2"] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shown_as_written() {
        let selector = Selector::parse("username=%u  x=$all").unwrap();
        assert_eq!(selector.to_string(), "username=%u,x=$all");
    }
}
