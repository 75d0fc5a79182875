//! Rules: topic filters with what a user may do on them. They are a white list.

use crate::reply::{self, Strange};
use emqttd_backend::Question;
use emqttd_plugin_sdk::rule::{Placeholders, TopicPattern};
use emqttd_plugin_sdk::{Access, AclAnswer};
use redis::Value;

/// How rules are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notation {
    /// a hash: filter, and 1 = subscribe, 2 = publish, 3 = both
    Hash,
    /// a set of `subscribe <filter>`, `publish <filter>`, `pubsub <filter>` (emqttd 1.x)
    Set,
}

/// What the rules say, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub answer: AclAnswer,
    /// for a person
    pub why: String,
    /// of the first rule that makes no sense, and so allows nothing
    pub odd: Option<String>,
}

/// What one rule says.
struct Rule<'a> {
    filter: &'a str,
    /// as it is written
    verb: &'a str,
    subscribe: bool,
    publish: bool,
}

/// Looks for a rule that allows it. Who has rules may do nothing else; who has none is not spoken of.
pub(crate) fn decide(
    reply: &Value,
    notation: Notation,
    question: &Question<'_>,
    access: Access,
    topic: &str,
) -> Result<Decision, Strange> {
    let rows: Vec<_> = match notation {
        Notation::Hash => reply::pairs(reply, "acl_cmd")?,
        Notation::Set => {
            let members = reply::members(reply, "acl_cmd")?.into_iter();
            members.map(|member| (member, b"".into())).collect()
        }
    };
    let who = question.client.by_name();
    let mut odd = None;
    for (name, value) in &rows {
        let rule = match Rule::read(notation, name, value) {
            Ok(rule) => rule,
            Err(why) => {
                odd.get_or_insert(why);
                continue;
            }
        };
        let pattern = match TopicPattern::parse(rule.filter, Placeholders::Anywhere) {
            Ok(pattern) => pattern,
            Err(error) => {
                odd.get_or_insert(format!("filter {:?}: {error}", rule.filter));
                continue;
            }
        };
        let speaks = match access {
            Access::Subscribe => rule.subscribe,
            Access::Publish => rule.publish,
        };
        if speaks && pattern.matches(&who, true, topic) {
            return Ok(Decision {
                answer: AclAnswer::Allow,
                why: format!("`{}` ({}) allows it", rule.filter, rule.verb),
                odd,
            });
        }
    }
    let (answer, why) = match rows.len() {
        0 => (AclAnswer::Ignore, "no rules".into()),
        1 => (AclAnswer::Deny, "one rule, which does not allow it".into()),
        count => (AclAnswer::Deny, format!("{count} rules, none allows it")),
    };
    Ok(Decision { answer, why, odd })
}

impl<'a> Rule<'a> {
    fn read(notation: Notation, name: &'a [u8], value: &'a [u8]) -> Result<Rule<'a>, String> {
        let name = std::str::from_utf8(name)
            .map_err(|_| format!("{:?} is no text", String::from_utf8_lossy(name)))?;
        let (filter, verb, subscribe, publish) = match notation {
            Notation::Hash => {
                let bits = std::str::from_utf8(value).ok();
                let verb = bits.unwrap_or_default().trim();
                let bits: u8 = verb.parse().map_err(|_| {
                    let shown = String::from_utf8_lossy(value);
                    format!("access {shown:?} of {name:?} is not 1, 2 or 3")
                })?;
                (name, verb, bits & 1 != 0, bits & 2 != 0)
            }
            Notation::Set => {
                let (verb, filter) = name.split_once(' ').unwrap_or_default();
                let (subscribe, publish) = match verb {
                    "subscribe" => (true, false),
                    "publish" => (false, true),
                    "pubsub" => (true, true),
                    _ => {
                        return Err(format!(
                            "{name:?} is not `subscribe`, `publish` or `pubsub` and a filter"
                        ));
                    }
                };
                (filter.trim_start(), verb, subscribe, publish)
            }
        };
        Ok(Rule {
            filter,
            verb,
            subscribe,
            publish,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use Access::{Publish, Subscribe};
    use AclAnswer::{Allow, Deny, Ignore};
    use emqttd_plugin_sdk::Client;
    use emqttd_plugin_sdk::testing::client;

    fn named(clientid: &str, username: &str) -> Client {
        Client {
            username: Some(username.into()),
            ..client(clientid)
        }
    }

    fn list(words: &[&str]) -> Value {
        Value::Array(
            words
                .iter()
                .map(|w| Value::BulkString((*w).into()))
                .collect(),
        )
    }

    fn ask(
        rules: &[&str],
        notation: Notation,
        client: &Client,
        access: Access,
        topic: &str,
    ) -> Decision {
        let question = Question::act(client, access, topic);
        decide(&list(rules), notation, &question, access, topic).unwrap()
    }

    #[test]
    fn a_white_list() {
        let alice = named("c1", "alice");
        let rules = ["t/%u/#", "1", "up/%c", "2", "both/+", "3", "d-%u-%c", "3"];
        for (access, topic, answer) in [
            (Subscribe, "t/alice/x", Allow),
            (Subscribe, "t/alice/#", Allow),
            (Publish, "t/alice/x", Deny),
            (Subscribe, "t/bob/x", Deny),
            (Publish, "up/c1", Allow),
            (Subscribe, "up/c1", Deny),
            (Publish, "both/x", Allow),
            (Subscribe, "both/+", Allow),
            (Subscribe, "both/#", Deny),
            (Publish, "d-alice-c1", Allow),
            (Publish, "d-alice-c2", Deny),
            (Subscribe, "y", Deny),
            (Subscribe, "#", Deny),
        ] {
            let decision = ask(&rules, Notation::Hash, &alice, access, topic);
            assert_eq!((decision.answer, decision.odd), (answer, None), "{topic}");
        }
        let nothing = ask(&[], Notation::Hash, &alice, Publish, "y");
        assert_eq!(nothing.answer, Ignore);
        let all = ask(&["#", "3"], Notation::Hash, &alice, Subscribe, "$SYS/x");
        assert_eq!(all.answer, Deny, "no wildcard reaches $SYS");
    }

    #[test]
    fn names_widen_nothing() {
        for name in ["+", "#", "a/b", "", "$SYS"] {
            for topic in ["t/+/x", "t/#", "t/a/b/x", "t//x", "$SYS/x"] {
                for rules in [&["t/%u/x", "3"], &["%u/x", "3"]] {
                    let who = named("c", name);
                    let decision = ask(rules, Notation::Hash, &who, Subscribe, topic);
                    assert_eq!(decision.answer, Deny, "{name} {topic}");
                }
            }
        }
        let nameless = ask(
            &["t/%u", "3"],
            Notation::Hash,
            &client("c"),
            Publish,
            "t/%u",
        );
        assert_eq!(nameless.answer, Deny);
    }

    #[test]
    fn rules_that_make_no_sense_allow_nothing() {
        let alice = named("c1", "alice");
        for bad in [
            ["t", "yes"],
            ["t", ""],
            ["t", "-1"],
            ["t", "300"],
            ["t", "1.0"],
            ["a/#/b", "3"],
            ["", "3"],
        ] {
            let alone = ask(&bad, Notation::Hash, &alice, Publish, "t");
            assert_eq!(alone.answer, Deny, "{bad:?}");
            assert!(alone.odd.is_some(), "{bad:?}");
            let both = ask(
                &[bad[0], bad[1], "t/+", "2"],
                Notation::Hash,
                &alice,
                Publish,
                "t/x",
            );
            assert_eq!(both.answer, Allow, "{bad:?}");
        }
        for (bits, answer) in [("0", Deny), ("4", Deny), ("7", Allow), (" 2 ", Allow)] {
            let decision = ask(&["t", bits], Notation::Hash, &alice, Publish, "t");
            assert_eq!((decision.answer, decision.odd), (answer, None), "{bits}");
        }
        let binary = Value::Array(vec![
            Value::BulkString(vec![0xff]),
            Value::BulkString(b"3".to_vec()),
        ]);
        let question = Question::act(&alice, Publish, "t");
        let decision = decide(&binary, Notation::Hash, &question, Publish, "t").unwrap();
        assert!(decision.answer == Deny && decision.odd.is_some());
    }

    #[test]
    fn sets_of_emqttd_1() {
        let alice = named("c1", "alice");
        let rules = ["publish up/%u", "subscribe down/%u/#", "pubsub a b/+"];
        for (access, topic, answer) in [
            (Publish, "up/alice", Allow),
            (Subscribe, "up/alice", Deny),
            (Subscribe, "down/alice/x", Allow),
            (Publish, "a b/x", Allow),
            (Subscribe, "a b/+", Allow),
            (Publish, "b/x", Deny),
        ] {
            let decision = ask(&rules, Notation::Set, &alice, access, topic);
            assert_eq!((decision.answer, decision.odd), (answer, None), "{topic}");
        }
        for bad in ["up", "write up", "publish ", ""] {
            let decision = ask(&[bad], Notation::Set, &alice, Publish, "up");
            assert!(decision.answer == Deny && decision.odd.is_some(), "{bad}");
        }
        assert_eq!(
            ask(&[], Notation::Set, &alice, Publish, "up").answer,
            Ignore
        );
    }
}
