//! What connections remember of the ACL: for how long, and what makes them forget it.

use crate::net::{Client, Net};
use crate::packets::*;
use emqttd_broker::AdminError;
use emqttd_config::Settings;
use emqttd_plugin_sdk::{self as sdk, Access, AclAnswer, AclProvider, DynAcl};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Allows what nothing is written about, as a table does that changes without a word.
#[derive(Default)]
struct Table {
    rows: Mutex<HashMap<String, AclAnswer>>,
    asked: Mutex<Vec<String>>,
}

impl AclProvider for Table {
    async fn check(&self, client: &sdk::Client, access: Access, topic: &str) -> AclAnswer {
        let asked = format!("{} {access:?} {topic}", client.clientid);
        self.asked.lock().unwrap().push(asked);
        let rows = self.rows.lock().unwrap();
        rows.get(topic).copied().unwrap_or(AclAnswer::Allow)
    }
}

impl Table {
    fn write(&self, topic: &str, answer: AclAnswer) {
        self.rows.lock().unwrap().insert(topic.into(), answer);
    }

    fn asked(&self) -> Vec<String> {
        let mut asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.sort();
        asked
    }
}

fn world(shards: usize, change: impl FnOnce(&mut Settings)) -> (Net, Arc<Table>) {
    let net = Net::with(shards, change);
    let table = Arc::new(Table::default());
    let provider: Arc<dyn DynAcl> = table.clone();
    net.broker.access().add_acl(0, "table", &provider);
    (net, table)
}

fn publishes(net: &mut Net, client: Client, topic: &str) -> bool {
    net.publish(client, topic, "x", 1) != Some(0x87)
}

#[test]
fn a_decision_is_remembered_for_its_time_and_use_does_not_lengthen_it() {
    let (mut net, table) = world(1, |s| s.mqtt.acl_cache_ttl = Duration::from_secs(10));
    let client = net.connect(&Connect::v5("c"));
    // By turns, so that each is the last one published to and then is not.
    for _ in 0..9 {
        for topic in ["a", "b", "b"] {
            assert!(publishes(&mut net, client, topic));
        }
        table.write("b", AclAnswer::Deny);
        net.advance(1000);
    }
    assert_eq!(table.asked(), ["c Publish a", "c Publish b"]);
    net.advance(1000);
    assert!(!publishes(&mut net, client, "b"));
    assert!(!publishes(&mut net, client, "b"));
    assert!(publishes(&mut net, client, "a"));
    assert_eq!(table.asked(), ["c Publish a", "c Publish b"]);
}

#[test]
fn without_a_time_it_is_remembered_as_long_as_the_connection() {
    let (mut net, table) = world(1, |_| {});
    let client = net.connect(&Connect::v5("c"));
    assert!(publishes(&mut net, client, "a"));
    assert!(publishes(&mut net, client, "b"));
    table.write("a", AclAnswer::Deny);
    net.advance(24 * 3_600_000);
    assert!(publishes(&mut net, client, "a"));
    assert_eq!(table.asked().len(), 2);
    let again = net.connect(&Connect::v5("again"));
    assert!(!publishes(&mut net, again, "a"));
}

/// Two clients on two shards, each of which has published and subscribed to all of these.
const TOPICS: [&str; 3] = ["a/1", "a/2", "b/1"];

fn two_clients() -> (Net, Arc<Table>, [String; 2], [Client; 2]) {
    let (mut net, table) = world(2, |_| {});
    let names = [net.name_on(0, "c"), net.name_on(1, "d")];
    let clients = names.clone().map(|name| {
        let client = net.connect(&Connect::v5(&name).keep().expiry(600));
        for topic in TOPICS {
            assert_eq!(net.subscribe(client, topic, 1), 1);
            assert!(publishes(&mut net, client, topic));
        }
        net.take(client);
        client
    });
    table.asked();
    for topic in TOPICS {
        table.write(topic, AclAnswer::Deny);
    }
    for client in clients {
        for topic in TOPICS {
            assert!(publishes(&mut net, client, topic), "nobody was told");
        }
    }
    assert!(table.asked().is_empty());
    (net, table, names, clients)
}

fn subscriptions(net: &mut Net, name: &str) -> Vec<String> {
    let name = name.to_string();
    let all = net.admin(move |broker| broker.subscriptions_of(&name));
    let mut topics: Vec<String> = all.unwrap().into_iter().map(|s| s.topic).collect();
    topics.sort();
    topics
}

#[test]
fn cleaning_all_reaches_everybody() {
    let (mut net, _, names, clients) = two_clients();
    net.admin(|broker| broker.clean_acl_cache());
    for (name, client) in names.iter().zip(clients) {
        assert!(subscriptions(&mut net, name).is_empty());
        for topic in TOPICS {
            assert!(!publishes(&mut net, client, topic));
        }
    }
}

#[test]
fn cleaning_a_client_reaches_that_client() {
    let (mut net, table, names, clients) = two_clients();
    let name = names[0].clone();
    let done = net.admin(move |broker| broker.clean_acl_cache_of(&name));
    assert_eq!(done, Ok(()));
    assert_eq!(table.asked().len(), 3, "its subscriptions");
    assert!(subscriptions(&mut net, &names[0]).is_empty());
    assert_eq!(subscriptions(&mut net, &names[1]), TOPICS);
    for topic in TOPICS {
        assert!(!publishes(&mut net, clients[0], topic));
        assert!(publishes(&mut net, clients[1], topic));
    }
    let nobody = net.admin(|broker| broker.clean_acl_cache_of("nobody"));
    assert_eq!(nobody, Err(AdminError::NotFound));
}

#[test]
fn cleaning_a_topic_reaches_what_overlaps_with_it() {
    for (cleaned, reached) in [
        ("a/1", &["a/1"][..]),
        ("a/+", &["a/1", "a/2"]),
        ("$share/g/a/#", &["a/1", "a/2"]),
        ("+/1", &["a/1", "b/1"]),
        ("#", &TOPICS),
        ("c", &[]),
    ] {
        let (mut net, table, names, clients) = two_clients();
        let done = net.admin(move |broker| broker.clean_acl_cache_about(cleaned));
        assert_eq!(done, Ok(()));
        assert_eq!(table.asked().len(), 2 * reached.len(), "{cleaned}");
        let left: Vec<&str> = TOPICS
            .into_iter()
            .filter(|topic| !reached.contains(topic))
            .collect();
        for (name, client) in names.iter().zip(clients) {
            assert_eq!(subscriptions(&mut net, name), left, "{cleaned}");
            for topic in TOPICS {
                let allowed = publishes(&mut net, client, topic);
                assert_eq!(allowed, !reached.contains(&topic), "{cleaned} {topic}");
            }
        }
    }
    let (mut net, _) = world(1, |_| {});
    for bad in ["", "a/#/b", "a+", "$share/g"] {
        let done = net.admin(move |broker| broker.clean_acl_cache_about(bad));
        assert_eq!(done, Err(AdminError::BadTopic), "{bad}");
    }
}

#[test]
fn a_wider_subscription_is_asked_about_with_a_topic_it_covers() {
    let (mut net, table) = world(1, |_| {});
    let client = net.connect(&Connect::v5("c"));
    for filter in ["a/#", "$share/g/a/+/x", "b/#"] {
        assert_eq!(net.subscribe(client, filter, 1), 1);
    }
    table.asked();
    let done = net.admin(|broker| broker.clean_acl_cache_about("a/1/x"));
    assert_eq!(done, Ok(()));
    assert_eq!(table.asked(), ["c Subscribe a/#", "c Subscribe a/+/x"]);
}

#[test]
fn who_is_away_is_asked_about_at_the_return() {
    type Clean = fn(&emqttd_broker::Broker) -> Result<(), AdminError>;
    let clean: [Clean; 2] = [
        |broker| broker.clean_acl_cache_of("c"),
        |broker| broker.clean_acl_cache_about("a"),
    ];
    for clean in clean {
        let (mut net, table) = world(1, |_| {});
        let kept = || Connect::v5("c").keep().expiry(600);
        let client = net.connect(&kept());
        assert_eq!(net.subscribe(client, "a", 1), 1);
        net.lose(client);
        table.write("a", AclAnswer::Deny);
        assert_eq!(net.admin(clean), Ok(()));
        assert_eq!(subscriptions(&mut net, "c"), ["a"]);
        let (_, present, _) = net.resume(&kept());
        assert!(present);
        assert!(subscriptions(&mut net, "c").is_empty());
    }
}

#[test]
fn what_nobody_can_say_stays_and_is_asked_again() {
    let (mut net, table) = world(1, |_| {});
    let client = net.connect(&Connect::v5("c"));
    assert_eq!(net.subscribe(client, "a", 1), 1);
    table.write("a", AclAnswer::Unavailable);
    assert_eq!(net.admin(|broker| broker.clean_acl_cache_of("c")), Ok(()));
    assert_eq!(subscriptions(&mut net, "c"), ["a"]);
    assert!(!publishes(&mut net, client, "a"), "what is new is refused");
    table.write("a", AclAnswer::Deny);
    net.advance(10_000);
    assert!(subscriptions(&mut net, "c").is_empty());
}
