//! Static subscriptions: what a client is subscribed to as it connects, without asking for it.

use crate::command::{Command, Query};
use crate::connector::RedisConnector;
use crate::reply::{self, Strange};
use emqttd_backend::{Fault, Health, Pool, Question};
use emqttd_plugin_sdk::topic::{SubscriptionFilter, validate_filter};
use emqttd_plugin_sdk::{Client, ClientRef, Context, HookPoint, Hooks, Metric, QoS, TopicEntry};
use redis::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Clients that wait for theirs at a time; those that come then get none.
const WAITING: usize = 10_000;
/// Subscriptions of one client.
const MOST: usize = 1000;
/// Between one question without an answer and the next; after the last, the client gets none until it connects again.
const PAUSES: [Duration; 6] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(15),
    Duration::from_secs(30),
];

/// Asks for the subscriptions of each client that has connected.
pub(crate) struct Subscriptions(Arc<Inner>);

struct Inner {
    ctx: Context,
    command: Command,
    pool: Arc<Pool<RedisConnector>>,
    timeout: Duration,
    health: Arc<Health>,
    waiting: Arc<Semaphore>,
    /// questions under way: they leave connections to those who want to come in
    asking: Semaphore,
    asked: Metric,
    subscribed: Metric,
    unavailable: Metric,
}

impl Subscriptions {
    pub fn new(
        ctx: &Context,
        command: Command,
        pool: &Arc<Pool<RedisConnector>>,
        connections: usize,
        timeout: Duration,
        health: &Arc<Health>,
    ) -> Subscriptions {
        Subscriptions(Arc::new(Inner {
            ctx: ctx.clone(),
            command,
            pool: Arc::clone(pool),
            timeout,
            health: Arc::clone(health),
            waiting: Arc::new(Semaphore::new(WAITING)),
            asking: Semaphore::new(1.max(connections / 2)),
            asked: ctx.metric("subs/asked"),
            subscribed: ctx.metric("subs/subscribed"),
            unavailable: ctx.metric("subs/unavailable"),
        }))
    }
}

impl Hooks for Subscriptions {
    fn points(&self) -> u32 {
        HookPoint::ClientConnected as u32
    }

    fn client_connected(&self, client: &Client, connack: u8) {
        if connack != 0 {
            return;
        }
        let Some(query) = self.0.command.fill(&Question::login(client, None)) else {
            return;
        };
        let inner = &self.0;
        let Ok(place) = Arc::clone(&inner.waiting).try_acquire_owned() else {
            inner.unavailable.inc();
            inner
                .health
                .complain("clients get no subscriptions: too many wait for theirs");
            return;
        };
        let task = Arc::clone(inner);
        let (clientid, username) = (Arc::clone(&client.clientid), client.username.clone());
        inner.ctx.spawn(async move {
            let _place = place;
            let who = ClientRef {
                clientid: &clientid,
                username: username.as_deref(),
            };
            task.subscribe(who, &query).await;
        });
    }
}

impl Inner {
    async fn subscribe(&self, who: ClientRef<'_>, query: &Query) {
        self.asked.inc();
        let table = match self.ask(query).await {
            Ok(reply) => table(&reply, who),
            Err(why) => {
                self.unavailable.inc();
                self.health
                    .complain(&format!("clients get no subscriptions: {why}"));
                log::debug!(
                    "{}: no subscriptions by `{query}`: {why}",
                    self.ctx.plugin()
                );
                return;
            }
        };
        let (table, odd) = match table {
            Ok(read) => read,
            Err(Strange(why)) => return self.health.complain(&why),
        };
        if let Some(odd) = odd {
            let odd = format!("a subscription of `{query}` is passed over: {odd}");
            self.health.complain(&odd);
        }
        if !table.is_empty() {
            self.subscribed.add(table.len() as u64);
            // Nothing happens when the client has gone meanwhile, or is another's now.
            self.ctx.subscribe(who, table);
        }
    }

    /// Asks until there is an answer, though not for ever.
    async fn ask(&self, query: &Query) -> Result<Value, String> {
        let mut pauses = PAUSES.iter();
        loop {
            let asked = match self.asking.acquire().await {
                Ok(_permit) => timeout(self.timeout, self.pool.ask(query)).await,
                Err(_) => return Err("the plugin stops".into()),
            };
            let why = match asked {
                Ok(Ok(reply)) => {
                    self.health.up();
                    return Ok(reply);
                }
                Ok(Err(Fault::Refused(why) | Fault::Busy(why))) => return Err(why),
                Ok(Err(Fault::Down(why))) => why,
                Err(_) => format!("no answer within {:?}", self.timeout),
            };
            match pauses.next() {
                Some(pause) => sleep(*pause).await,
                None => return Err(why),
            }
        }
    }
}

/// The subscriptions in a reply, and what is wrong with the first that is none.
fn table(reply: &Value, who: ClientRef<'_>) -> Result<(Vec<TopicEntry>, Option<String>), Strange> {
    let mut table = Vec::new();
    let mut odd = None;
    for (topic, qos) in reply::pairs(reply, "subs_cmd")? {
        if table.len() == MOST {
            odd.get_or_insert(format!("there are more than {MOST}"));
            break;
        }
        match entry(&topic, &qos, who) {
            Ok(entry) => table.push(entry),
            Err(why) => {
                let topic = String::from_utf8_lossy(&topic);
                odd.get_or_insert(format!("{topic:?}: {why}"));
            }
        }
    }
    Ok((table, odd))
}

fn entry(topic: &[u8], qos: &[u8], who: ClientRef<'_>) -> Result<TopicEntry, &'static str> {
    let qos = match qos.trim_ascii() {
        b"0" => QoS::AtMostOnce,
        b"1" => QoS::AtLeastOnce,
        b"2" => QoS::ExactlyOnce,
        _ => return Err("its QoS is not 0, 1 or 2"),
    };
    let topic = std::str::from_utf8(topic).map_err(|_| "it is no text")?;
    // The prefixes are those of the table, never of a name that is put into it.
    let parsed = SubscriptionFilter::parse(topic, true).map_err(|_| "it is no topic filter")?;
    let mut filter = String::with_capacity(parsed.filter.len());
    for (index, level) in parsed.filter.split('/').enumerate() {
        if index > 0 {
            filter.push('/');
        }
        let text = fill(level, who)?;
        // `%c/#` must not become `$SYS/#`.
        if index == 0 && text.starts_with('$') && !level.starts_with('$') {
            return Err("a name that begins with $ would be its first level");
        }
        filter.push_str(text);
    }
    // An empty name may be all of it, or a long one make it too long.
    validate_filter(&filter).map_err(|_| "with the client's name it is no topic filter")?;
    let share = parsed
        .share
        .map(|group| fill(group, who).map(str::to_string));
    Ok(TopicEntry {
        topic: filter,
        qos,
        share: share.transpose()?,
        local: parsed.local,
    })
}

/// `%u` and `%c` stand for whole levels. A name of more than one, or with a wildcard, would subscribe its client to
/// what is meant for others.
fn fill<'a>(level: &'a str, who: ClientRef<'a>) -> Result<&'a str, &'static str> {
    let name = match level {
        "%c" => who.clientid,
        // As in emq_modules: without a user name it stays as it is.
        "%u" => who.username.unwrap_or(level),
        _ => return Ok(level),
    };
    match name.contains(['+', '#', '/']) {
        true => Err("there is a +, # or / in the client's name"),
        false => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ALICE: ClientRef<'static> = ClientRef {
        clientid: "c1",
        username: Some("alice"),
    };

    fn read(words: &[&str], who: ClientRef<'_>) -> (Vec<TopicEntry>, Option<String>) {
        let words = words.iter().map(|w| Value::BulkString((*w).into()));
        table(&Value::Array(words.collect()), who).unwrap()
    }

    fn filter(topic: &str, who: ClientRef<'_>) -> Option<String> {
        let (mut table, odd) = read(&[topic, "1"], who);
        assert_eq!(table.is_empty(), odd.is_some(), "{topic}");
        table.pop().map(|entry| entry.topic)
    }

    #[test]
    fn the_data_of_the_seed() {
        let (table, odd) = read(&["topic1", "0", "topic2", "1", "topic3", "2"], ALICE);
        let table: Vec<_> = table.iter().map(|e| (&*e.topic, e.qos)).collect();
        let wanted = [
            ("topic1", QoS::AtMostOnce),
            ("topic2", QoS::AtLeastOnce),
            ("topic3", QoS::ExactlyOnce),
        ];
        assert_eq!((&*table, odd), (&wanted[..], None));
    }

    #[test]
    fn names_stand_for_levels_and_widen_nothing() {
        let filled = |topic| filter(topic, ALICE).unwrap();
        assert_eq!(filled("t/%u/%c/+"), "t/alice/c1/+");
        assert_eq!(filled("$client/%c"), "$client/c1");
        assert_eq!(filled("a%u/%%c"), "a%u/%%c");
        let nobody = ClientRef {
            clientid: "c1",
            username: None,
        };
        assert_eq!(filter("t/%u", nobody).unwrap(), "t/%u");
        for name in ["+", "#", "a/b", "a+", "/"] {
            let who = ClientRef {
                clientid: name,
                username: Some(name),
            };
            for topic in ["t/%u", "%c", "$share/%u/t"] {
                assert_eq!(filter(topic, who), None, "{name} {topic}");
            }
            assert_eq!(filter("t", who).unwrap(), "t");
        }
        let sys = ClientRef {
            clientid: "$SYS",
            username: Some(""),
        };
        assert_eq!(filter("%c/#", sys), None);
        assert_eq!(filter("%u", sys), None);
        assert_eq!(filter("x/%c", sys).unwrap(), "x/$SYS");
    }

    #[test]
    fn prefixes() {
        let (table, _) = read(&["$share/%u/t", "0", "$local/t", "0"], ALICE);
        assert_eq!(table[0].share.as_deref(), Some("alice"));
        assert_eq!((&*table[0].topic, table[0].local), ("t", false));
        assert_eq!((&*table[1].topic, table[1].local), ("t", true));
    }

    #[test]
    fn what_is_passed_over() {
        for bad in [["t", "3"], ["t", ""], ["t", "x"], ["a/#/b", "0"], ["", "0"]] {
            let (table, odd) = read(&[bad[0], bad[1], "good", "0"], ALICE);
            assert_eq!((table.len(), odd.is_some()), (1, true), "{bad:?}");
        }
        let names: Vec<String> = (0..=MOST).map(|n| n.to_string()).collect();
        let words: Vec<&str> = names.iter().flat_map(|name| [&**name, "0"]).collect();
        let (table, odd) = read(&words, ALICE);
        assert_eq!((table.len(), odd.is_some()), (MOST, true));
        let odd = Value::Array(vec![Value::Int(1)]);
        assert!(super::table(&odd, ALICE).is_err());
    }
}
