//! The door and the rules of the broker hold for STOMP.

use std::time::{Duration, Instant};

use emqttd_tests::stomp::Stomp;
use emqttd_tests::{Broker, Client, Config, Connect, Version, unique};

use super::{PLUGIN, at, broker, config, here, named};
use crate::common::{eventually, shown, wait_for_client, wait_until_gone, watcher};

const WRONG: &str =
    "ERROR\ncontent-type:text/plain\ncontent-length:24\n\nLogin or passcode error!\0";

/// CONNECT with that login; whether it was let in. A refusal has to be the original's.
#[track_caller]
fn admitted(broker: &Broker, login: Option<(&str, &str)>) -> bool {
    let mut stomp = Stomp::open(at(broker));
    let mut headers = vec![("accept-version", "1.2")];
    if let Some((login, passcode)) = login {
        headers.extend([("login", login), ("passcode", passcode)]);
    }
    stomp.say("CONNECT", &headers, "");
    let answer = stomp.recv();
    if answer.command == "CONNECTED" {
        return true;
    }
    assert_eq!(String::from_utf8_lossy(&answer.bytes), WRONG);
    stomp.closed();
    false
}

fn with_users(extra: &str) -> Config {
    config(extra)
        .plugin_conf(
            "emq_auth_username",
            "auth.user.hash_cost = light\nauth.user.scram_iterations = 4096\n\
             auth.user.1.username = tom\nauth.user.1.password = right\n",
        )
        .loaded(&["emq_auth_username", PLUGIN])
}

/// The original knew one login, and the plugins were not asked.
#[test]
fn users_of_the_broker_log_in() {
    let broker = Broker::start(with_users(""));
    assert!(admitted(&broker, Some(("tom", "right"))));
    assert!(!admitted(&broker, Some(("tom", "wrong"))));
    // Whoever makes up a name is refused, though mqtt.allow_anonymous is true.
    assert!(!admitted(&broker, Some(("jerry", "right"))));
    // The default user is known to the plugin only.
    assert!(admitted(&broker, Some(("guest", "guest"))));
    assert!(!admitted(&broker, Some(("guest", "wrong"))));
    // Which is counted.
    let (_, text) = broker.ctl(&["plugins", "show", PLUGIN]);
    let row = text.lines().find(|line| line.contains("logins/refused"));
    assert!(
        row.is_some_and(|row| row.trim_end().ends_with(" 3")),
        "{text}"
    );
}

/// The default user opens nothing that the broker closes.
#[test]
fn the_chain_decides_about_the_default_user_too() {
    let config = with_users("").set("mqtt.allow_anonymous", "false");
    let broker = Broker::start(config);
    assert!(admitted(&broker, Some(("tom", "right"))));
    assert!(!admitted(&broker, Some(("guest", "guest"))));
    assert!(!admitted(&broker, None));
}

#[test]
fn rules_hold_for_stomp() {
    let rules = "{deny, {user, \"tom\"}, publish, [\"no/#\"]}.\n{deny, {user, \"tom\"}, subscribe, [\"no/#\"]}.\n\
                 {deny, {client, \"narrow\"}, pubsub, [\"narrow/#\"]}.\n{allow, all}.\n";
    let broker = Broker::start(with_users("").acl(rules));
    let connect = Connect::new(Version::V311, "watcher");
    let mut mqtt = broker.open(&connect.username("tom").password("right"));
    mqtt.sub("#", 2);
    let tom = |id: &str| {
        let login = [("login", "tom"), ("passcode", "right"), ("client-id", id)];
        let mut stomp = Stomp::open(at(&broker));
        stomp.connect(&login);
        stomp
    };
    let mut stomp = tom("wide");
    stomp.done("SEND", &[("destination", "yes")], "1");
    mqtt.expect("yes", "1");
    // Silently, as with MQTT, when nobody asks.
    stomp.say("SEND", &[("destination", "no/x")], "2");
    stomp.done("SEND", &[("destination", "narrow/x")], "3");
    mqtt.expect("narrow/x", "3");
    // With a receipt it is said.
    let begun = Instant::now();
    stomp.say("SEND", &[("destination", "no/x"), ("receipt", "r")], "4");
    let error = stomp.refused();
    assert_eq!(error.header("receipt-id"), Some("r"));
    assert!(error.text().contains("not authorized"), "{}", error.text());
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    let mut stomp = tom("wide");
    stomp.say(
        "SUBSCRIBE",
        &[("id", "1"), ("destination", "no/+"), ("receipt", "r")],
        "",
    );
    let error = stomp.refused();
    assert_eq!(error.header("receipt-id"), Some("r"));
    // By client identifier.
    let mut stomp = tom("narrow");
    stomp.say(
        "SEND",
        &[("destination", "narrow/x"), ("receipt", "r")],
        "5",
    );
    stomp.refused();
    mqtt.quiet();
}

#[test]
fn stomp_clients_are_in_all_lists() {
    let id = unique("listed");
    let mut stomp = named(&id);
    let topic = unique("t");
    stomp.sub("1", &topic, &[("ack", "client")]);
    let row = wait_for_client(broker(), &id);
    assert!(row.contains(&format!("Client({id}, ")), "{row}");
    assert!(row.contains("username=guest"), "{row}");
    let peer = format!("peername={}", stomp.local_addr());
    assert!(row.contains(&peer), "{row}");
    let (_, text) = broker().ctl(&["sessions", "show", &id]);
    assert!(text.contains(&format!("Session({id}, ")), "{text}");
    let (_, text) = broker().ctl(&["subscriptions", "show", &id]);
    assert!(
        text.contains(&topic) && text.contains("qos     : 1"),
        "{text}"
    );
    stomp.done("UNSUBSCRIBE", &[("id", "1")], "");
    let (_, text) = broker().ctl(&["subscriptions", "show", &id]);
    assert!(!text.contains(&topic), "{text}");
    stomp.disconnect();
    wait_until_gone(broker(), &id);
}

/// Reads ERROR, if it comes, up to the end.
#[track_caller]
fn ended(stomp: &mut Stomp) {
    if let Some(Some(frame)) = stomp.recv_within(Duration::from_secs(10)) {
        assert_eq!(frame.command, "ERROR");
        stomp.closed();
    }
}

#[test]
fn stomp_clients_can_be_kicked() {
    let id = unique("kicked");
    let mut stomp = named(&id);
    wait_for_client(broker(), &id);
    let (code, text) = broker().ctl(&["clients", "kick", &id]);
    assert_eq!(code, 0, "{text}");
    ended(&mut stomp);
    assert_eq!(shown(broker(), &id), None);
}

#[test]
fn one_identifier_is_one_client() {
    let id = unique("one");
    // STOMP by STOMP.
    let mut first = named(&id);
    let mut second = named(&id);
    ended(&mut first);
    second.quiet();
    // STOMP by MQTT, and back.
    for version in [Version::V311, Version::V5] {
        let mut mqtt = broker().open(&Connect::new(version, &id));
        ended(&mut second);
        second = named(&id);
        mqtt.expect_closed(&[0x8e]);
        second.quiet();
    }
}

#[test]
fn presence_tells_of_stomp_clients() {
    let broker = Broker::start(
        config("")
            .plugin_conf(
                "emq_modules",
                "module.presence = on\nmodule.presence.qos = 1\n",
            )
            .loaded(&["emq_modules", PLUGIN]),
    );
    let mut presence = watcher(&broker, "$SYS/brokers/+/clients/+/+", 1);
    let told = |presence: &mut Client, topic: &str, words: &[&str]| {
        let message = presence.recv_message();
        assert!(message.topic.ends_with(topic), "{message:?}");
        for word in words {
            assert!(message.payload.contains(word), "{word}: {message:?}");
        }
    };
    let addr = at(&broker);
    let open = || Stomp::guest(addr, &[("client-id", "sam")]);
    let connected = [
        r#""clientid":"sam""#,
        r#""username":"guest""#,
        r#""ipaddress":"127.0.0.1""#,
        r#""clean_sess":true"#,
        r#""connack":0"#,
    ];
    let stomp = open();
    told(&mut presence, "/sam/connected", &connected);
    stomp.disconnect();
    told(
        &mut presence,
        "/sam/disconnected",
        &[r#""reason":"normal""#],
    );
    let stomp = open();
    told(&mut presence, "/sam/connected", &connected);
    stomp.drop_connection();
    told(&mut presence, "/sam/disconnected", &[r#""reason":""#]);
    let mut stomp = open();
    told(&mut presence, "/sam/connected", &connected);
    broker.ctl(&["clients", "kick", "sam"]);
    told(&mut presence, "/sam/disconnected", &[r#""reason":"kick""#]);
    ended(&mut stomp);
}

/// A connection that is gone is no client any more.
#[test]
fn a_lost_connection_is_noticed() {
    let id = unique("lost");
    let mut stomp = named(&id);
    stomp.sub("1", &unique("t"), &[("ack", "client")]);
    stomp.drop_connection();
    wait_until_gone(broker(), &id);
    let (_, text) = broker().ctl(&["subscriptions", "show", &id]);
    assert!(!text.contains(&format!("{id} ->")), "{text}");
    // In the middle of a frame as well.
    let id = unique("lost");
    let mut stomp = Stomp::guest(here(), &[("client-id", &id)]);
    stomp.send("SEND\ndestination:a");
    stomp.drop_connection();
    eventually("it is gone", || shown(broker(), &id).is_none());
}
