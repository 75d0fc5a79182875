//! `mqtt_subs`: topics that clients get without asking.

use super::*;

fn conf(redis: &Redis, more: &str) -> String {
    format!(
        "{}{SHIPPED}auth.redis.subs_cmd = HGETALL mqtt_subs:%u\n{more}",
        server(redis)
    )
}

fn subscribe(redis: &Redis, name: &str, topics: &[&str]) {
    let key = format!("mqtt_subs:{name}");
    redis.cmd(&[&["HSET", &key], topics].concat());
}

/// What the broker lists as the client's subscriptions, when it has `count` of them.
#[track_caller]
fn listed(broker: &Broker, client: &Client, count: usize) -> Vec<(String, u8)> {
    let mut found = Vec::new();
    eventually("subscriptions", || {
        let (_, text) = broker.ctl(&["subscriptions", "show", &client.name]);
        let lines = text.lines().collect::<Vec<_>>();
        let row = |rows: &[&str]| {
            let (_, topic) = rows[0].split_once(" -> ")?;
            let (_, qos) = rows[1].split_once(": ")?;
            Some((topic.to_string(), qos.parse().ok()?))
        };
        found = lines.windows(2).filter_map(row).collect();
        found.len() == count
    });
    found.sort();
    found
}

/// Sheet 10, check 7, with the data of the manual.
#[test]
fn topics_arrive_without_a_subscribe() {
    let Some(redis) = Redis::shared() else { return };
    let broker = broker(&conf(redis, ""));
    let name = new_user(redis, "p");
    subscribe(
        redis,
        &name,
        &[
            "topic1",
            "0",
            "topic2",
            "1",
            "topic3",
            "2",
            "own/%c/%u/#",
            "1",
        ],
    );
    // No rule allows these: who wrote them down has decided.
    allow(redis, &name, &["up", "2"]);
    let persistent = Connect::persistent(Version::V311, &unique("static"));
    let persistent = persistent.username(&name).password("p");
    let mut client = broker.open(&persistent);
    let own = format!("own/{}/{name}/#", client.name);
    let wanted = [
        (own.clone(), 1),
        ("topic1".into(), 0),
        ("topic2".into(), 1),
        ("topic3".into(), 2),
    ];
    assert_eq!(listed(&broker, &client, 4), wanted);
    // Nothing but messages came: no SUBACK.
    client.quiet();
    let other = new_user(redis, "p");
    let mut publisher = login(&broker, &other, "p");
    for (topic, qos) in [("topic1", 0), ("topic2", 1), ("topic3", 2)] {
        publisher.pub_(topic, 2, topic);
        assert_eq!(client.expect(topic, topic).qos, qos);
    }
    // At each connect, also to a session that is there: what is new comes, and what was there stays.
    client.disconnect();
    subscribe(redis, &name, &["topic4", "0"]);
    let (client, present, _) = broker.resume(&persistent);
    assert!(present);
    assert_eq!(listed(&broker, &client, 5).len(), 5);
    // Who has none gets none, and who is refused neither.
    assert_eq!(answer(&broker, &name, "x"), REFUSED);
    eventually("all were asked about", || {
        metric(&broker, "subs/asked") == 3
    });
    assert_eq!(metric(&broker, "subs/subscribed"), 9);
    publisher.quiet();
}

#[test]
fn names_widen_no_subscription() {
    let Some(redis) = Redis::shared() else { return };
    let broker = broker(&conf(redis, ""));
    for name in ["+", "#", "a/b", "$SYS"] {
        let key = format!("mqtt_user:{name}");
        redis.cmd(&["HSET", &key, "password", "p"]);
        subscribe(
            redis,
            name,
            &[
                "x/%u/#",
                "1",
                "%u/#",
                "1",
                "nonsense/#/x",
                "1",
                "odd",
                "3",
                "fine",
                "1",
            ],
        );
        let client = login(&broker, name, "p");
        let mut topics = vec![("fine".to_string(), 1)];
        if name == "$SYS" {
            topics.push(("x/$SYS/#".to_string(), 1));
        }
        assert_eq!(listed(&broker, &client, topics.len()), topics, "{name}");
        redis.cmd(&["DEL", &key, &format!("mqtt_subs:{name}")]);
    }
    assert!(broker.log().contains("is passed over"));
}

/// By the other spelling, by client id, and while Redis is away: the client is in, and gets them later.
#[test]
fn subscriptions_come_when_redis_does() {
    let Some(redis) = Redis::start() else { return };
    let conf = format!(
        "{}auth.redis.subs_cmd = HGETALL mqtt_sub:%c\n",
        server(&redis)
    );
    let broker = Broker::start(Config::with_plugin(PLUGIN, &conf));
    let id = unique("later");
    redis.cmd(&["HSET", &format!("mqtt_sub:{id}"), "t", "1"]);
    redis.stop();
    // Nobody is asked about logins here, nor about rights.
    let mut client = broker.open(&Connect::new(Version::V311, &id));
    client.sub("anything", 0);
    redis.start_again();
    let both = [("anything".to_string(), 0), ("t".to_string(), 1)];
    assert_eq!(listed(&broker, &client, 2), both);
    // A reply that is no table disturbs nobody.
    let odd = unique("odd");
    redis.cmd(&["SET", &format!("mqtt_sub:{odd}"), "t"]);
    let mut client = broker.open(&Connect::new(Version::V311, &odd));
    eventually("it was asked", || metric(&broker, "subs/unavailable") == 1);
    client.ping();
}
