//! Texts of the configuration in which `%u` and its like stand for what a client has sent.

use crate::Question;
use emqttd_plugin_sdk::Access;
use std::borrow::Cow;

/// A variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Var {
    /// `%u`: user name
    Username,
    /// `%c`: client id
    Clientid,
    /// `%a`: address of the client, without port
    Peer,
    /// `%P`: password
    Password,
    /// `%A`: 1 = subscribe, 2 = publish
    Access,
    /// `%t`: topic name or filter
    Topic,
}

impl Var {
    /// What may stand in any question.
    pub const WHO: &[Var] = &[Var::Username, Var::Clientid];

    const ALL: [(&'static str, Var); 6] = [
        ("%u", Var::Username),
        ("%c", Var::Clientid),
        ("%a", Var::Peer),
        ("%P", Var::Password),
        ("%A", Var::Access),
        ("%t", Var::Topic),
    ];

    /// The variable written so: `%u`.
    pub fn named(text: &str) -> Option<Var> {
        let found = Var::ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, var)| *var)
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        let found = Var::ALL.iter().find(|(_, var)| *var == self);
        found.map_or("", |(name, _)| name)
    }

    /// What it stands for; `None` = this client, or this question, has no such thing.
    pub fn value<'a>(self, question: &Question<'a>) -> Option<Cow<'a, [u8]>> {
        fn bytes(text: &str) -> Cow<'_, [u8]> {
            Cow::Borrowed(text.as_bytes())
        }
        match self {
            Var::Username => question.username().map(bytes),
            Var::Clientid => Some(bytes(&question.client.clientid)),
            Var::Peer => {
                let ip = question.client.peername.ip().to_canonical();
                Some(Cow::Owned(ip.to_string().into_bytes()))
            }
            Var::Password => question.password.map(Cow::Borrowed),
            Var::Access => question.act.map(|(access, _)| {
                bytes(match access {
                    Access::Subscribe => "1",
                    Access::Publish => "2",
                })
            }),
            Var::Topic => question.act.map(|(_, topic)| bytes(topic)),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Var(Var),
}

/// A text with variables anywhere in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

impl Template {
    /// Takes apart; only the variables of `known` are ones, all else is text.
    pub fn parse(text: &str, known: &[Var]) -> Template {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let var = rest.get(..2).and_then(Var::named);
            match var.filter(|var| known.contains(var)) {
                Some(var) => {
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(Part::Var(var));
                    rest = &rest[2..];
                }
                None => {
                    plain.push(first);
                    rest = &rest[first.len_utf8()..];
                }
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Template(parts)
    }

    /// Whether it has that variable.
    pub fn has(&self, var: Var) -> bool {
        self.0.contains(&Part::Var(var))
    }

    /// The variable, when it is nothing else.
    pub fn whole(&self) -> Option<Var> {
        match self.0[..] {
            [Part::Var(var)] => Some(var),
            _ => None,
        }
    }

    /// The text with each value in its place, after `escape`; `None` = a value is missing.
    pub fn fill(
        &self,
        question: &Question<'_>,
        escape: impl Fn(&[u8]) -> Vec<u8>,
    ) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Var(var) => out.extend(escape(&var.value(question)?)),
            }
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use emqttd_plugin_sdk::testing::client;

    #[test]
    fn values_in_their_places() {
        let mut client = client("c%u");
        client.username = Some("ü u".into());
        let question = Question::act(&client, Access::Publish, "a/b");
        let fill = |text: &str| {
            let all = Var::ALL.map(|(_, var)| var);
            let filled = Template::parse(text, &all).fill(&question, <[u8]>::to_vec);
            filled.map(|bytes| String::from_utf8(bytes).unwrap())
        };
        assert_eq!(fill("mqtt:%u:%c:%u").unwrap(), "mqtt:ü u:c%u:ü u");
        assert_eq!(fill("%A%t%a").unwrap(), "2a/b127.0.0.1");
        assert_eq!(fill("100%").unwrap(), "100%");
        assert_eq!(fill("%x %ü%%u").unwrap(), "%x %ü%ü u");
        assert_eq!(fill("%P"), None, "there is no password in this question");
        assert_eq!(fill("").unwrap(), "");
    }

    #[test]
    fn only_those_that_are_known() {
        let template = Template::parse("%u %t", Var::WHO);
        assert!(template.has(Var::Username) && !template.has(Var::Topic));
        assert_eq!(Template::parse("%c", Var::WHO).whole(), Some(Var::Clientid));
        assert_eq!(Template::parse("a%c", Var::WHO).whole(), None);
        let anonymous = client("c");
        let question = Question::login(&anonymous, None);
        assert_eq!(template.fill(&question, <[u8]>::to_vec), None);
    }
}
