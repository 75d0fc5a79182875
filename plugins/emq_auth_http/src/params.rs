//! `clientid=%c,username=%u`: what a request says about its client.

use emqttd_backend::{Question, Var};
use emqttd_http_client::form_encoded;
use serde_json::{Map, Value as Json};
use std::borrow::Cow;

/// What `%u` is where CONNECT had no user name, as in EMQ.
const UNDEFINED: &[u8] = b"undefined";

/// Names and what they are given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Params(Vec<(String, Value)>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    /// always the same
    Text(String),
    Var(Var),
}

impl Params {
    /// Takes `name=value` apart at commas. A value that is one of the variables of `known` and nothing else
    /// stands for something; `x%u` is a text.
    pub fn parse(text: &str, known: &[Var]) -> Result<Params, String> {
        let mut params = Vec::new();
        for word in text.split(',').map(str::trim).filter(|w| !w.is_empty()) {
            let Some((name, value)) = word.split_once('=') else {
                return Err(format!("has `{word}`, which is not name=value"));
            };
            let (name, value) = (name.trim(), value.trim());
            if name.is_empty() || value.contains('=') {
                return Err(format!("has `{word}`, which is not name=value"));
            }
            let var = Var::named(value).filter(|var| known.contains(var));
            let value = var.map_or_else(|| Value::Text(value.into()), Value::Var);
            params.push((name.to_string(), value));
        }
        Ok(Params(params))
    }

    /// `application/x-www-form-urlencoded`, also behind the `?` of a URL.
    pub fn form(&self, question: &Question<'_>) -> String {
        self.written(|value| match value {
            Value::Text(text) => Cow::Borrowed(text.as_bytes()),
            Value::Var(var) => var.value(question).unwrap_or(Cow::Borrowed(UNDEFINED)),
        })
    }

    /// The same for people: the password is not shown.
    pub fn shown(&self, question: &Question<'_>) -> String {
        self.written(|value| match value {
            Value::Text(text) => Cow::Borrowed(text.as_bytes()),
            Value::Var(Var::Password) => Cow::Borrowed(b"..."),
            Value::Var(var) => var.value(question).unwrap_or(Cow::Borrowed(UNDEFINED)),
        })
    }

    fn written<'a>(&'a self, value: impl Fn(&'a Value) -> Cow<'a, [u8]>) -> String {
        let mut out = String::new();
        for (name, given) in &self.0 {
            if !out.is_empty() {
                out.push('&');
            }
            form_encoded(&mut out, name.as_bytes());
            out.push('=');
            form_encoded(&mut out, &value(given));
        }
        out
    }

    /// An object of JSON; who has no user name has `null`. `None` = a password is not UTF-8, which JSON cannot
    /// carry.
    pub fn json(&self, question: &Question<'_>) -> Option<Vec<u8>> {
        let mut object = Map::new();
        for (name, given) in &self.0 {
            let value = match given {
                Value::Text(text) => Json::from(text.as_str()),
                Value::Var(var) => match var.value(question) {
                    None => Json::Null,
                    Some(bytes) => Json::from(std::str::from_utf8(&bytes).ok()?),
                },
            };
            object.insert(name.clone(), value);
        }
        Some(Json::Object(object).to_string().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::requests::{ACL_VARS, AUTH_VARS};
    use emqttd_plugin_sdk::Access;
    use emqttd_plugin_sdk::testing::client;

    fn params(text: &str) -> Params {
        Params::parse(text, AUTH_VARS).unwrap()
    }

    #[test]
    fn what_the_seed_sends() {
        let mut client = client("au");
        client.username = Some("ok".into());
        let login = Question::login(&client, Some(b"p w&x"));
        let auth = params("clientid=%c,username=%u,password=%P");
        assert_eq!(
            auth.form(&login),
            "clientid=au&username=ok&password=p+w%26x"
        );
        assert_eq!(auth.shown(&login), "clientid=au&username=ok&password=...");
        let acl = "access=%A,username=%u,clientid=%c,ipaddr=%a,topic=%t";
        let acl = Params::parse(acl, ACL_VARS).unwrap();
        let act = Question::act(&client, Access::Subscribe, "a/yes/+");
        assert_eq!(
            acl.form(&act),
            "access=1&username=ok&clientid=au&ipaddr=127.0.0.1&topic=a%2Fyes%2F%2B"
        );
    }

    #[test]
    fn variables_are_whole_values() {
        let client = client("c%u");
        let question = Question::login(&client, Some(&[0, 0xff, b'%']));
        let form = |text: &str| params(text).form(&question);
        assert_eq!(form("a=%c"), "a=c%25u");
        assert_eq!(form("a=x%c, b = %x ,c=%t,d="), "a=x%25c&b=%25x&c=%25t&d=");
        assert_eq!(form("u=%u"), "u=undefined");
        assert_eq!(form("p=%P,,"), "p=%00%FF%25");
        assert_eq!(form("a b=c d"), "a+b=c+d");
        assert_eq!(form(""), "");
        for bad in ["a", "=b", "a=b=c", "a=%u=,b=%c"] {
            assert!(Params::parse(bad, AUTH_VARS).is_err(), "{bad}");
        }
    }

    #[test]
    fn json() {
        let client = client("a\"b\r\n");
        let question = Question::login(&client, Some(b"\xff"));
        let json = |text: &str| params(text).json(&question);
        assert_eq!(
            json("c=%c,u=%u,k=v").unwrap(),
            br#"{"c":"a\"b\r\n","k":"v","u":null}"#
        );
        assert_eq!(json("p=%P"), None);
    }
}
