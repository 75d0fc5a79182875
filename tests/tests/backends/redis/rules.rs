//! Rights.

use super::*;

fn conf(redis: &Redis) -> String {
    format!("{}{SHIPPED}", server(redis))
}

/// Sheet 10, check 3.
#[test]
fn a_white_list() {
    let Some(redis) = Redis::shared() else { return };
    let broker = broker(&conf(redis));
    let name = new_user(redis, "p");
    allow(
        redis,
        &name,
        &["t/%u/#", "1", "up/%c", "2", "both/+", "3", "x%u-%cx", "3"],
    );
    let mut client = login(&broker, &name, "p");
    let id = client.name.clone();
    for (topic, subscribe, publish) in [
        (&*format!("t/{name}/x"), true, false),
        ("y", false, false),
        ("t/other/x", false, false),
        (&format!("up/{id}"), false, true),
        ("both/a", true, true),
        ("both/a/b", false, false),
        (&format!("x{name}-{id}x"), true, true),
        ("$SYS/broker", false, false),
    ] {
        assert_eq!(may_subscribe(&mut client, topic), subscribe, "{topic}");
        assert_eq!(may_publish(&mut client, topic), publish, "{topic}");
    }
    for (filter, granted) in [
        (&*format!("t/{name}/#"), true),
        ("both/+", true),
        ("both/#", false),
        ("#", false),
        ("+/+", false),
    ] {
        assert_eq!(may_subscribe(&mut client, filter), granted, "{filter}");
    }
}

/// Who has no rules is not spoken of: the next module decides, and `acl_nomatch` of 2.0 where it is set.
#[test]
fn without_rules() {
    let Some(redis) = Redis::shared() else { return };
    let conf = conf(redis);
    let acl = "{deny, all, publish, [\"filed\"]}.\n";
    let broker = Broker::start(config(&conf).acl(acl));
    let name = new_user(redis, "p");
    let mut client = login(&broker, &name, "p");
    assert!(may_subscribe(&mut client, "anything"));
    assert!(may_publish(&mut client, "anything"));
    assert!(!may_publish(&mut client, "filed"));
    // A user with rules does not get as far as the file.
    allow(redis, &name, &["filed", "2"]);
    let mut client = login(&broker, &name, "p");
    assert!(may_publish(&mut client, "filed"));

    reload(&broker, &format!("{conf}auth.redis.acl_nomatch = deny\n"));
    let stranger = new_user(redis, "p");
    let mut client = login(&broker, &stranger, "p");
    assert!(!may_subscribe(&mut client, "anything"));

    // Without a command there are no rules at all.
    let login_only = format!(
        "{}auth.redis.auth_cmd = HGET mqtt_user:%u password\n",
        server(redis)
    );
    reload(&broker, &login_only);
    let mut client = login(&broker, &name, "p");
    assert!(may_subscribe(&mut client, "anything"));
    assert!(!may_publish(&mut client, "filed"));
}

#[test]
fn rules_that_make_no_sense_allow_nothing_and_disturb_nothing() {
    let Some(redis) = Redis::shared() else { return };
    let broker = broker(&conf(redis));
    let name = new_user(redis, "p");
    allow(
        redis,
        &name,
        &[
            "a", "yes", "b", "", "c", "-1", "d/#/e", "3", "f", "9999", "g", "0",
        ],
    );
    let mut client = login(&broker, &name, "p");
    for topic in ["a", "b", "c", "d/x/e", "f", "g", "h"] {
        assert!(!may_subscribe(&mut client, topic), "{topic}");
        assert!(!may_publish(&mut client, topic), "{topic}");
    }
    assert!(broker.log().contains("is passed over"));
    allow(redis, &name, &["good", "3"]);
    assert!(may_subscribe(&mut client, "good"));
    client.ping();
    // Not a hash at all: nobody can say.
    let odd = new_user(redis, "p");
    redis.cmd(&["SET", &format!("mqtt_acl:{odd}"), "x"]);
    let mut client = login(&broker, &odd, "p");
    assert!(!may_subscribe(&mut client, "t"));
    client.ping();
}

#[test]
fn names_widen_nothing() {
    let Some(redis) = Redis::shared() else { return };
    let broker = broker(&conf(redis));
    for name in ["+", "#", "a/b", "x y", "%c", "%u"] {
        let key = format!("mqtt_user:{name}");
        redis.cmd(&["HSET", &key, "password", "p"]);
        allow(redis, name, &["own/%u", "3", "own/%u/#", "3"]);
        let mut client = login(&broker, name, "p");
        for filter in ["own/+", "own/#", "own/a/b", "own/z", "#"] {
            assert!(!may_subscribe(&mut client, filter), "{name} {filter}");
        }
        assert!(!may_publish(&mut client, "own/a/b"), "{name}");
        let own = format!("own/{name}");
        let harmless = !name.contains(['+', '#', '/']);
        if !name.contains(['+', '#']) {
            assert_eq!(may_publish(&mut client, &own), harmless, "{name}");
        }
        redis.cmd(&["DEL", &key, &format!("mqtt_acl:{name}")]);
    }
}

#[test]
fn users_whose_names_begin_with_a_dollar_are_not_asked_about() {
    let Some(redis) = Redis::shared() else { return };
    let broker = broker(&conf(redis));
    let name = format!("${}", unique("user"));
    let key = format!("mqtt_user:{name}");
    redis.cmd(&["HSET", &key, "password", "p"]);
    allow(redis, &name, &["only", "1"]);
    let mut client = login(&broker, &name, "p");
    assert!(may_subscribe(&mut client, "anything"));
}

/// As emqttd 1.x kept them.
#[test]
fn sets_of_rules() {
    let Some(redis) = Redis::shared() else { return };
    let conf = format!(
        "{}auth.redis.auth_cmd = HGET mqtt_user:%u password\nauth.redis.acl_cmd = SMEMBERS mqtt_acl:%u\n",
        server(redis)
    );
    let broker = broker(&conf);
    let name = new_user(redis, "p");
    let key = format!("mqtt_acl:{name}");
    redis.cmd(&[
        "SADD",
        &key,
        "publish up/%u",
        "subscribe down/#",
        "pubsub a b/+",
        "nonsense",
    ]);
    let mut client = login(&broker, &name, "p");
    for (topic, subscribe, publish) in [
        (&*format!("up/{name}"), false, true),
        ("down/x", true, false),
        ("a b/x", true, true),
        ("other", false, false),
        ("nonsense", false, false),
    ] {
        assert_eq!(may_subscribe(&mut client, topic), subscribe, "{topic}");
        assert_eq!(may_publish(&mut client, topic), publish, "{topic}");
    }
    let mut free = login(&broker, &new_user(redis, "p"), "p");
    assert!(may_subscribe(&mut free, "other"));
}

/// A publish whose decision is known asks nobody; `acl cache clean` asks again, and ends what is allowed no more.
#[test]
fn decisions_are_kept_and_forgotten() {
    let Some(redis) = Redis::shared() else { return };
    let broker = broker(&conf(redis));
    let name = new_user(redis, "p");
    allow(redis, &name, &["t", "3"]);
    let mut client = login(&broker, &name, "p");
    client.sub("t", 0);
    let asked = || metric(&broker, "acl/asked");
    client.pub_("t", 0, "1");
    client.expect("t", "1");
    let before = asked();
    for n in 2..50 {
        client.pub_("t", 0, &n.to_string());
        client.expect("t", &n.to_string());
    }
    assert_eq!(asked(), before);
    allow(redis, &name, &["t", "2"]);
    let (code, _) = broker.ctl(&["acl", "cache", "clean"]);
    assert_eq!(code, 0);
    eventually("the subscription is gone", || {
        let (_, text) = broker.ctl(&["subscriptions", "show", &client.name]);
        !text.contains(&client.name)
    });
    assert!(may_publish(&mut client, "t"));
    client.quiet();
}
