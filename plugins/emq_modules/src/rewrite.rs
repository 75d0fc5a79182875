//! Rewrite: topics of PUBLISH, SUBSCRIBE and UNSUBSCRIBE become others, by rules.

mod rule;
mod rules;

pub(crate) use rules::Rules;

use emqttd_plugin_sdk::topic::{TopicError, validate_filter, validate_name};
use emqttd_plugin_sdk::{Change, ClientRef, Flow, HookPoint, Hooks, Message, TopicEntry, Verdict};

pub(crate) struct Rewrite {
    rules: Rules,
}

impl Rewrite {
    pub(crate) fn new(rules: Rules) -> Rewrite {
        Rewrite { rules }
    }

    /// What `topic` becomes; `None` = it stays, also when a rule makes of it what `validate` refuses.
    fn rewrite(&self, topic: &str, validate: fn(&str) -> Result<(), TopicError>) -> Option<String> {
        let rule = self.rules.of_topic(topic)?;
        let why = match rule.apply(topic) {
            Ok(None) => return None,
            Ok(Some(new)) => match validate(&new) {
                Ok(()) => return Some(new),
                Err(error) => format!("{:?} would not be valid: {error}", shown(&new)),
            },
            Err(failure) => failure.to_string(),
        };
        rule.failed().warn(|| {
            let topic = shown(topic);
            format!("rewrite: {} leaves {topic:?} unchanged: {why}", rule.key())
        });
        None
    }

    fn rewrite_table(&self, table: &mut [TopicEntry]) -> Flow {
        // One that another hook has cancelled has no topic.
        for entry in table.iter_mut().filter(|entry| !entry.topic.is_empty()) {
            if let Some(new) = self.rewrite(&entry.topic, validate_filter) {
                entry.topic = new;
            }
        }
        Flow::Next
    }
}

impl Hooks for Rewrite {
    fn points(&self) -> u32 {
        if self.rules.is_empty() {
            return 0;
        }
        HookPoint::MessagePublish as u32
            | HookPoint::ClientSubscribe as u32
            | HookPoint::ClientUnsubscribe as u32
    }

    fn client_subscribe(&self, _: ClientRef<'_>, table: &mut Vec<TopicEntry>) -> Flow {
        self.rewrite_table(table)
    }

    fn client_unsubscribe(&self, _: ClientRef<'_>, table: &mut Vec<TopicEntry>) -> Flow {
        self.rewrite_table(table)
    }

    fn message_publish(&self, message: &Message<'_>) -> Verdict {
        match self.rewrite(message.topic, validate_name) {
            Some(new) => Verdict::Change(Change {
                topic: Some(new),
                ..Change::default()
            }),
            None => Verdict::Pass,
        }
    }
}

/// As much of a topic as a line of the log can bear.
fn shown(topic: &str) -> &str {
    &topic[..topic.floor_char_boundary(200)]
}

#[cfg(test)]
mod tests;
