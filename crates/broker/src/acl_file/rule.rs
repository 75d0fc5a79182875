//! One rule of `acl.conf`: from its term to the compiled form, and its match.

use super::{Access, AclError, Who};
use emqttd_config::term::{Kind, Term};
use emqttd_plugin_sdk::ClientRef;
use emqttd_plugin_sdk::rule::{Net, PatternError, Placeholders, TopicPattern};

/// A rule is cited in messages up to this many characters.
const CITED: usize = 200;

const GRAMMAR: &str =
    "a rule is {allow|deny, Who, publish|subscribe|pubsub, [Topic, ...]} or {allow|deny, all}";

#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) allow: bool,
    /// Line on which it begins.
    pub(super) line: usize,
    /// The rule on one line, with its full stop.
    pub(super) text: String,
    who: Condition,
    publish: bool,
    subscribe: bool,
    /// `None`: every topic, as in `{allow, all}`.
    topics: Option<Box<[TopicPattern]>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    All,
    User(Box<str>),
    Client(Box<str>),
    Address(Net),
    And(Box<[Condition]>),
    Or(Box<[Condition]>),
}

impl Rule {
    /// # Errors
    /// Everything that is wrong with this one rule.
    pub(super) fn compile(
        term: &Term,
        warnings: &mut Vec<AclError>,
    ) -> Result<Rule, Vec<AclError>> {
        let mut reader = Reader {
            rule: cited(term),
            errors: Vec::new(),
            warnings,
        };
        match reader.rule(term) {
            Some(rule) if reader.errors.is_empty() => Ok(rule),
            _ => Err(reader.errors),
        }
    }

    pub(super) fn applies_to(&self, access: Access) -> bool {
        match access {
            Access::Publish => self.publish,
            Access::Subscribe => self.subscribe,
        }
    }

    pub(super) fn matches(&self, who: &Who<'_>, topic: &str) -> bool {
        let name = ClientRef {
            clientid: who.clientid,
            username: who.username,
        };
        self.who.matches(who)
            && self.topics.as_ref().is_none_or(|topics| {
                topics
                    .iter()
                    .any(|pattern| pattern.matches(&name, self.allow, topic))
            })
    }
}

impl Condition {
    fn matches(&self, who: &Who<'_>) -> bool {
        match self {
            Condition::All => true,
            Condition::User(name) => who.username == Some(name),
            Condition::Client(id) => who.clientid == &**id,
            Condition::Address(net) => who.ip.is_some_and(|ip| net.contains(ip)),
            Condition::And(all) => all.iter().all(|condition| condition.matches(who)),
            Condition::Or(any) => any.iter().any(|condition| condition.matches(who)),
        }
    }
}

/// Reads one rule and notes what is wrong with it.
struct Reader<'a> {
    /// The rule as messages cite it.
    rule: String,
    errors: Vec<AclError>,
    warnings: &'a mut Vec<AclError>,
}

impl Reader<'_> {
    fn error<T>(&mut self, at: &Term, message: &str) -> Option<T> {
        let message = format!("{message}, in {}", self.rule);
        self.errors.push(at.at.error(message));
        None
    }

    fn warn(&mut self, at: &Term, message: &str) {
        let message = format!("{message}, in {}", self.rule);
        self.warnings.push(at.at.error(message));
    }

    fn rule(&mut self, term: &Term) -> Option<Rule> {
        let Kind::Tuple(parts) = &term.kind else {
            return self.error(term, GRAMMAR);
        };
        let allow = match parts.first().and_then(Term::atom) {
            Some("allow") => true,
            Some("deny") => false,
            _ => {
                return self.error(
                    parts.first().unwrap_or(term),
                    "a rule begins with allow or deny",
                );
            }
        };
        let mut rule = Rule {
            allow,
            line: term.at.line,
            text: format!("{term}."),
            who: Condition::All,
            publish: true,
            subscribe: true,
            topics: None,
        };
        match &parts[1..] {
            [who] if who.atom() == Some("all") => Some(rule),
            [_, topics] if matches!(topics.kind, Kind::List(_) | Kind::Binary(_)) => {
                let message =
                    "the access word is missing (publish, subscribe or pubsub before the topics)";
                self.error(topics, message)
            }
            [who, access, topics] => {
                // All three are read even when one is wrong, to report everything at once.
                let who = self.condition(who);
                let access = self.access(access);
                let subscribe = access.is_none_or(|(_, subscribe)| subscribe);
                let topics = self.topics(topics, subscribe);
                rule.who = who?;
                (rule.publish, rule.subscribe) = access?;
                rule.topics = Some(topics?);
                Some(rule)
            }
            _ => self.error(term, GRAMMAR),
        }
    }

    fn condition(&mut self, term: &Term) -> Option<Condition> {
        const FORMS: &str = "Who is all, {user, \"name\"}, {client, \"id\"}, {ipaddr, \"address/bits\"}, \
             {'and', [Who, ...]} or {'or', [Who, ...]}";
        if term.atom() == Some("all") {
            return Some(Condition::All);
        }
        let Kind::Tuple(parts) = &term.kind else {
            return self.error(term, FORMS);
        };
        let [kind, value] = parts.as_slice() else {
            return self.error(term, FORMS);
        };
        match kind.atom() {
            Some("user" | "client") if value.atom() == Some("all") => Some(Condition::All),
            Some("user") => match value.text() {
                Some(name) => Some(Condition::User(name.into())),
                None => self.error(value, "a user is a text in double quotes or all"),
            },
            Some("client") => match value.text() {
                Some(id) => Some(Condition::Client(id.into())),
                None => self.error(value, "a client is a text in double quotes or all"),
            },
            Some("ipaddr") => match value.text().and_then(Net::parse) {
                Some(net) => Some(Condition::Address(net)),
                None => self.error(value, "ipaddr needs \"address\" or \"address/bits\""),
            },
            Some("and") => self.conditions(value).map(Condition::And),
            Some("or") => self.conditions(value).map(Condition::Or),
            _ => self.error(term, FORMS),
        }
    }

    fn conditions(&mut self, term: &Term) -> Option<Box<[Condition]>> {
        let Kind::List(items) = &term.kind else {
            return self.error(term, "'and' and 'or' need a list [Who, ...]");
        };
        let read: Vec<_> = items.iter().map(|item| self.condition(item)).collect();
        read.into_iter().collect()
    }

    /// Whether the rule speaks of publishing and of subscribing.
    fn access(&mut self, term: &Term) -> Option<(bool, bool)> {
        match term.atom() {
            Some("publish") => Some((true, false)),
            Some("subscribe") => Some((false, true)),
            Some("pubsub") => Some((true, true)),
            _ => self.error(term, "the access word must be publish, subscribe or pubsub"),
        }
    }

    fn topics(&mut self, term: &Term, subscribe: bool) -> Option<Box<[TopicPattern]>> {
        let items = match &term.kind {
            Kind::List(items) => items.as_slice(),
            Kind::Binary(_) => std::slice::from_ref(term),
            _ => return self.error(term, "topics are a list: [\"topic\", ...]"),
        };
        if items.is_empty() {
            self.warn(term, "no topic: the rule never applies");
        }
        let read: Vec<_> = items
            .iter()
            .map(|item| self.topic(item, subscribe))
            .collect();
        read.into_iter().collect()
    }

    fn topic(&mut self, term: &Term, subscribe: bool) -> Option<TopicPattern> {
        if let Kind::Tuple(parts) = &term.kind
            && let [word, topic] = parts.as_slice()
            && word.atom() == Some("eq")
        {
            return match topic.text() {
                Some(topic) => Some(TopicPattern::exact(topic)),
                None => self.error(topic, "eq needs a text in double quotes"),
            };
        }
        match term.text() {
            None => self.error(term, "a topic is a text in double quotes or {eq, \"text\"}"),
            Some(topic) => self.filter(term, topic, subscribe),
        }
    }

    fn filter(&mut self, term: &Term, topic: &str, subscribe: bool) -> Option<TopicPattern> {
        let prefixes = ["$share/", "$queue/", "$local/"];
        if subscribe && prefixes.iter().any(|prefix| topic.starts_with(prefix)) {
            self.warn(
                term,
                "subscriptions are checked without $share/<group>/, $queue/ and $local/: write the topic behind it",
            );
        }
        let levels: Vec<&str> = topic
            .split('/')
            .map(|word| match word {
                "$u" | "$c" => {
                    self.warn(
                        term,
                        "$u and $c are of EMQ before 2.0 and mean %u and %c: write those",
                    );
                    if word == "$u" { "%u" } else { "%c" }
                }
                "%u" | "%c" => word,
                word => {
                    if word.contains("%u") || word.contains("%c") {
                        self.warn(
                            term,
                            "%u and %c are replaced only where they are a whole level",
                        );
                    }
                    word
                }
            })
            .collect();
        match TopicPattern::parse(&levels.join("/"), Placeholders::WholeLevel) {
            Ok(pattern) => Some(pattern.with_dollar()),
            Err(error @ PatternError::Empty) => self.error(term, &error.to_string()),
            Err(error @ PatternError::WildcardPlace) => {
                self.error(term, &format!("{error} (or write {{eq, \"...\"}})"))
            }
        }
    }
}

fn cited(term: &Term) -> String {
    let text = term.to_string();
    match text.char_indices().nth(CITED) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
