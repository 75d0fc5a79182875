//! Subscription: what clients are subscribed to as they connect, without asking for it.

use crate::throttle::Throttle;
use crate::{qos, wrong};
use emqttd_plugin_sdk::topic::{SubscriptionFilter, validate_filter};
use emqttd_plugin_sdk::{
    Client, Config, Context, Entry, HookPoint, Hooks, QoS, StartError, TopicEntry,
};

/// QoS of a template that has none of its own.
const DEFAULT_QOS: QoS = QoS::AtLeastOnce;

pub(crate) struct Subscription {
    ctx: Context,
    templates: Vec<Template>,
    skipped: Throttle,
}

impl Subscription {
    pub(crate) fn new(ctx: Context, templates: Vec<Template>) -> Subscription {
        Subscription {
            ctx,
            templates,
            skipped: Throttle::new(),
        }
    }
}

impl Hooks for Subscription {
    fn points(&self) -> u32 {
        match self.templates.is_empty() {
            true => 0,
            false => HookPoint::ClientConnected as u32,
        }
    }

    fn client_connected(&self, client: &Client, connack: u8) {
        if connack != 0 {
            return;
        }
        let fill = |template: &Template| match template.fill(client) {
            Ok(entry) => Some(entry),
            Err(unfit) => {
                self.skipped.warn(|| {
                    format!(
                        "subscription: client {:?} is not subscribed to {}: {}",
                        client.clientid, template.topic, unfit.0
                    )
                });
                None
            }
        };
        let table: Vec<TopicEntry> = self.templates.iter().filter_map(fill).collect();
        if !table.is_empty() {
            self.ctx.subscribe(client.by_name(), table);
        }
    }
}

/// A filter that is filled in for each client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    /// as configured
    topic: String,
    /// the filter without the prefixes of shared and local subscriptions
    filter: Vec<Level>,
    share: Option<Level>,
    local: bool,
    qos: QoS,
}

/// A level of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    Word(String),
    /// `%c`
    ClientId,
    /// `%u`
    Username,
}

/// Why a name cannot be put into a template.
#[derive(Debug, PartialEq, Eq)]
struct Unfit(&'static str);

impl Template {
    /// All of them, in the order of their ids as texts. The QoS is that of the same id.
    pub(crate) fn all(config: &Config) -> Result<Vec<Template>, StartError> {
        let key = |id: &str, what: &str| config.entry(&format!("module.subscription.{id}.{what}"));
        for id in config.ids("module.subscription.$id.qos") {
            if let (Some(entry), None) = (key(&id, "qos"), key(&id, "topic")) {
                log::warn!("{}: {} has no topic and no effect", entry.origin, entry.key);
            }
        }
        let template = |id: String| {
            let topic = key(&id, "topic")?;
            let qos = key(&id, "qos").map_or(Ok(DEFAULT_QOS), qos);
            Some(qos.and_then(|qos| Template::parse(topic, qos)))
        };
        let ids = config.ids("module.subscription.$id.topic");
        ids.into_iter().filter_map(template).collect()
    }

    fn parse(entry: &Entry, qos: QoS) -> Result<Template, StartError> {
        let topic = entry.value.trim();
        // The prefixes are those of the template, never of a name that is put into it.
        let parsed = SubscriptionFilter::parse(topic, true)
            .map_err(|error| wrong(entry, &error.to_string()))?;
        Ok(Template {
            topic: topic.into(),
            filter: parsed.filter.split('/').map(Level::of).collect(),
            share: parsed.share.map(Level::of),
            local: parsed.local,
            qos,
        })
    }

    /// The subscription of one client.
    fn fill(&self, client: &Client) -> Result<TopicEntry, Unfit> {
        let mut topic = String::with_capacity(self.topic.len() + client.clientid.len());
        for (index, level) in self.filter.iter().enumerate() {
            if index > 0 {
                topic.push('/');
            }
            let text = level.fill(client)?;
            // `%c/#` must not become `$SYS/#`.
            if index == 0 && text.starts_with('$') && !matches!(level, Level::Word(_)) {
                return Err(Unfit("a name that begins with $ would be the first level"));
            }
            topic.push_str(text);
        }
        // An empty name may be all of it, or a long one make it too long.
        validate_filter(&topic).map_err(|_| Unfit("the filter would not be valid"))?;
        let share = self.share.as_ref().map(|level| level.fill(client));
        Ok(TopicEntry {
            topic,
            qos: self.qos,
            share: share.transpose()?.map(str::to_string),
            local: self.local,
        })
    }
}

impl Level {
    fn of(text: &str) -> Level {
        match text {
            "%c" => Level::ClientId,
            "%u" => Level::Username,
            word => Level::Word(word.into()),
        }
    }

    /// The text of this level. A name of more than one level, or with a wildcard, would subscribe its client
    /// to what is meant for others (CVE-2017-7650).
    fn fill<'a>(&'a self, client: &'a Client) -> Result<&'a str, Unfit> {
        let name = match self {
            Level::Word(word) => return Ok(word),
            Level::ClientId => &*client.clientid,
            Level::Username => match &client.username {
                Some(username) => username,
                // As in EMQ: it stays as it is.
                None => return Ok("%u"),
            },
        };
        if name.contains(['+', '#', '/']) {
            return Err(Unfit("there is a +, # or / in the name"));
        }
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use emqttd_plugin_sdk::testing::client;

    fn filled(template: &str, client: &Client) -> Result<String, Unfit> {
        let config = Config::of(&[("module.subscription.1.topic", template)]);
        let template = Template::all(&config).unwrap().remove(0);
        template.fill(client).map(|entry| entry.topic)
    }

    fn named(clientid: &str, username: &str) -> Client {
        Client {
            username: Some(username.into()),
            ..client(clientid)
        }
    }

    #[test]
    fn names_stand_for_whole_levels() {
        let c = named("c1", "alice");
        assert_eq!(filled("$client/%c", &c).unwrap(), "$client/c1");
        assert_eq!(filled("$user/%u", &c).unwrap(), "$user/alice");
        assert_eq!(filled("%c/%u/%c", &c).unwrap(), "c1/alice/c1");
        assert_eq!(filled("a%c/%u%u/+/#", &c).unwrap(), "a%c/%u%u/+/#");
        assert_eq!(filled("$user/%u", &client("c1")).unwrap(), "$user/%u");
        let other = named("%u", "%c");
        assert_eq!(
            filled("%c/%u", &other).unwrap(),
            "%u/%c",
            "not filled twice"
        );
    }

    #[test]
    fn a_name_cannot_widen_a_subscription() {
        for bad in ["+", "#", "a/b", "a+", "/", "#/x", "$SYS/x"] {
            assert!(filled("x/%c", &client(bad)).is_err(), "{bad}");
            assert!(filled("x/%u/y", &named("c", bad)).is_err(), "{bad}");
            assert!(filled("x/y", &named("c", bad)).is_ok(), "{bad}");
        }
        assert!(filled("%c/#", &client("$SYS")).is_err());
        assert!(filled("%u/g/#", &named("c", "$share")).is_err());
        assert_eq!(filled("x/%c", &client("$SYS")).unwrap(), "x/$SYS");
        assert!(filled("%u", &named("c", "")).is_err());
        assert!(filled("x/%c", &client(&"c".repeat(65_534))).is_err());
        assert!(filled("$share/%u/t", &named("c", "+")).is_err());
    }

    #[test]
    fn prefixes_are_taken_apart() {
        let config = Config::of(&[
            ("module.subscription.1.topic", "$share/%u/t/%c"),
            ("module.subscription.2.topic", "$local/t"),
            ("module.subscription.3.topic", "$queue/t"),
        ]);
        let c = named("c1", "g");
        let templates = Template::all(&config).unwrap();
        let filled = templates.iter().map(|t| t.fill(&c).unwrap());
        let filled: Vec<_> = filled.map(|e| (e.topic, e.share, e.local)).collect();
        let of = |t: &str, s: Option<&str>, l| (t.to_string(), s.map(str::to_string), l);
        assert_eq!(
            filled,
            [
                of("t/c1", Some("g"), false),
                of("t", None, true),
                of("t", Some("$queue"), false)
            ]
        );
    }

    #[test]
    fn ids_are_paired_and_sorted_as_text() {
        let config = Config::of(&[
            ("module.subscription.2.topic", "two"),
            ("module.subscription.10.qos", "2"),
            ("module.subscription.10.topic", "ten"),
            ("module.subscription.2.qos", "0"),
            ("module.subscription.3.topic", "three"),
            ("module.subscription.4.qos", "1"),
        ]);
        let all = Template::all(&config).unwrap();
        let all: Vec<_> = all.iter().map(|t| (&*t.topic, t.qos)).collect();
        assert_eq!(
            all,
            [
                ("ten", QoS::ExactlyOnce),
                ("two", QoS::AtMostOnce),
                ("three", QoS::AtLeastOnce)
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (topic, qos) in [("a/#/b", "1"), ("", "1"), ("$share/g", "1"), ("a", "3")] {
            let config = Config::of(&[
                ("module.subscription.1.topic", topic),
                ("module.subscription.1.qos", qos),
            ]);
            let error = Template::all(&config).unwrap_err().0;
            assert!(error.contains("test: module.subscription.1."), "{error}");
        }
    }
}
