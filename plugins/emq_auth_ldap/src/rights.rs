//! What the attributes of an entry allow.

use crate::entry::Entry;
use emqttd_plugin_sdk::rule::{Placeholders, TopicPattern};
use emqttd_plugin_sdk::{Access, AclAnswer, ClientRef};

/// The attributes that have topic filters. They are a white list: who has any of them may do what one of them
/// says, and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    pub publish: Option<String>,
    pub subscribe: Option<String>,
    /// both
    pub pubsub: Option<String>,
}

impl Rights {
    /// Whether there is no such attribute.
    pub fn is_empty(&self) -> bool {
        self.attributes().next().is_none()
    }

    /// Their names.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        let all = [&self.publish, &self.subscribe, &self.pubsub];
        all.into_iter().flatten().map(String::as_str)
    }

    /// May the client do that? `odd` is told of values that are no topic filters; they allow nothing.
    pub fn decide(
        &self,
        entry: &Entry,
        who: &ClientRef<'_>,
        access: Access,
        topic: &str,
        mut odd: impl FnMut(&str),
    ) -> AclAnswer {
        if self.attributes().all(|name| entry.values(name).is_empty()) {
            return AclAnswer::Ignore;
        }
        let own = match access {
            Access::Publish => &self.publish,
            Access::Subscribe => &self.subscribe,
        };
        for name in [own, &self.pubsub].into_iter().flatten() {
            for value in entry.values(name) {
                let Ok(filter) = std::str::from_utf8(value) else {
                    odd(&format!("attribute {name} of {:?} is no UTF-8", entry.dn));
                    continue;
                };
                match TopicPattern::parse(filter, Placeholders::Anywhere) {
                    Ok(pattern) if pattern.matches(who, true, topic) => return AclAnswer::Allow,
                    Ok(_) => {}
                    Err(why) => odd(&format!(
                        "{filter:?} of attribute {name} of {:?} allows nothing: {why}",
                        entry.dn
                    )),
                }
            }
        }
        AclAnswer::Deny
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::tests::entry;
    use Access::{Publish, Subscribe};
    use AclAnswer::{Allow, Deny, Ignore};

    const ALICE: ClientRef<'static> = ClientRef {
        clientid: "c1",
        username: Some("alice"),
    };

    fn rights() -> Rights {
        Rights {
            publish: Some("pub".into()),
            subscribe: Some("sub".into()),
            pubsub: Some("both".into()),
        }
    }

    #[test]
    fn a_white_list() {
        let entry = entry(&[
            ("PUB", &["p/#", "p2/+"]),
            ("sub", &["s/%u/x-%c"]),
            ("both", &["b"]),
        ]);
        for (access, topic, wanted) in [
            (Publish, "p/a/b", Allow),
            (Publish, "p2/a", Allow),
            (Publish, "p2/a/b", Deny),
            (Publish, "b", Allow),
            (Publish, "s/alice/x-c1", Deny),
            (Subscribe, "s/alice/x-c1", Allow),
            (Subscribe, "s/bob/x-c1", Deny),
            (Subscribe, "s/+/x-c1", Deny),
            (Subscribe, "#", Deny),
            (Subscribe, "b", Allow),
            (Subscribe, "p/a", Deny),
        ] {
            let found =
                rights().decide(&entry, &ALICE, access, topic, |_| panic!("nothing is odd"));
            assert_eq!(found, wanted, "{access:?} {topic}");
        }
    }

    #[test]
    fn who_has_none_of_them() {
        let without = entry(&[("cn", &["x"]), ("pub", &[])]);
        let ask = |rights: &Rights, entry: &Entry, access| {
            rights.decide(entry, &ALICE, access, "t", |_| {})
        };
        assert_eq!(ask(&rights(), &without, Publish), Ignore);
        // One of them says something about all.
        let only = entry(&[("pub", &["t"])]);
        assert_eq!(ask(&rights(), &only, Subscribe), Deny);
        // One that is not configured does not.
        let subscribe = Rights {
            subscribe: Some("sub".into()),
            ..Rights::default()
        };
        assert_eq!(ask(&subscribe, &only, Publish), Ignore);
        assert!(!subscribe.is_empty() && Rights::default().is_empty());
    }

    #[test]
    fn values_that_make_no_sense() {
        let entry = entry(&[("both", &["", "a/#/b", "t+", "t"])]);
        let mut odd = 0;
        let answer = rights().decide(&entry, &ALICE, Publish, "t", |_| odd += 1);
        assert_eq!((answer, odd), (Allow, 3));
    }
}
