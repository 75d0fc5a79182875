//! What scripts remember: nothing by default, what they assign with `lua.state = keep`, and what is in `emq.kv`.

use std::collections::BTreeSet;
use std::thread;

use emqttd_tests::{Broker, Client, End, Publish, Version, unique};

use super::{PLUGIN, broker, echo, eventually, on_publish, succeed};

const COUNTER: &str = "\
counter = 0
local hidden = 0
box = { n = 0 }
function on_message_publish(clientid, username, topic, payload, qos, retain)
    counter = counter + 1
    hidden = hidden + 1
    box.n = box.n + 1
    fresh = (fresh or 0) + 1
    string.mine = (string.mine or 0) + 1
    return topic, counter .. \" \" .. hidden .. \" \" .. box.n .. \" \" .. fresh, qos, retain
end
function register_hook() return \"on_message_publish\" end
";

/// Counters without the attempt to write into a library.
fn counter() -> String {
    COUNTER.replace("    string.mine = (string.mine or 0) + 1\n", "")
}

/// Sheet 13, check 5: globals, locals of the file and tables are after each call what they were after the load.
#[test]
fn a_counter_does_not_grow() {
    let broker = broker(&[("count", &counter())], "");
    let mut clients: Vec<Client> = (0..6)
        .map(|_| broker.client(Version::V311, "count"))
        .collect();
    for client in &mut clients {
        let topic = unique("t");
        client.sub(&topic, 1);
        for _ in 0..5 {
            assert_eq!(echo(client, &topic, "x"), format!("{topic} 1 1 1 1"));
        }
    }
}

/// `lua.state = keep`: exactly, whichever connection and event loop a message comes from.
#[test]
fn a_counter_that_is_kept_counts_exactly() {
    const CLIENTS: usize = 8;
    const EACH: usize = 250;
    let broker = broker(&[("count", &counter())], "lua.state = keep\n");
    let mut counted = broker.client(Version::V311, "counted");
    counted.sub("count/#", 0);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| publish_many(&broker, EACH));
        }
        let mut seen = BTreeSet::new();
        for _ in 0..CLIENTS * EACH {
            let payload = counted.recv_message().payload;
            let counters: BTreeSet<&str> = payload.split(' ').collect();
            assert_eq!(counters.len(), 1, "{payload}");
            let n: usize = counters.first().unwrap().parse().unwrap();
            assert!(seen.insert(n), "{n} twice");
        }
        assert_eq!(seen.first(), Some(&1));
        assert_eq!(seen.last(), Some(&(CLIENTS * EACH)));
    });
    // From the load on it counts anew.
    succeed(&broker, "reload", "count");
    counted.pub_("count/t", 1, "x");
    assert_eq!(counted.recv_message().payload, "1 1 1 1");
    counted.pub_("count/t", 1, "x");
    assert_eq!(counted.recv_message().payload, "2 2 2 2");
}

/// Publishes at QoS 1, a window full at a time.
fn publish_many(broker: &Broker, n: usize) {
    let mut client = broker.client(Version::V311, "many");
    let topic = format!("count/{}", client.name);
    for _ in 0..n / 25 {
        let ids: Vec<u16> = (0..25)
            .map(|_| client.send_publish(Publish::new(&topic, "x").qos(1)))
            .collect();
        for id in ids {
            client.ack(emqttd_tests::packet::AckKind::Puback, id);
        }
    }
}

/// An error in the middle of a call leaves what it had assigned; the script goes on.
#[test]
fn a_kept_state_survives_errors() {
    let script = format!(
        "n = 0\n{}",
        on_publish(
            "n = n + 1 if payload == \"bad\" then error(\"bad\") end return topic, tostring(n), qos, retain"
        )
    );
    let broker = broker(&[("kept", &script)], "lua.state = keep\n");
    let mut client = broker.client(Version::V311, "kept");
    client.sub("t", 1);
    for (payload, wanted) in [("x", "t 1"), ("bad", "t bad"), ("x", "t 3")] {
        assert_eq!(echo(&mut client, "t", payload), wanted);
    }
}

const STORE: &str = "\
function on_message_publish(clientid, username, topic, payload, qos, retain)
    local verb, key = topic:match(\"^(%a+)/(.*)$\")
    if verb == \"set\" then
        emq.kv.set(key, payload)
    elseif verb == \"short\" then
        emq.kv.set(key, payload, 1)
    elseif verb == \"get\" then
        payload = tostring(emq.kv.get(key))
    end
    return topic, payload, qos, retain
end
function register_hook() return \"on_message_publish\" end
";

/// Somebody who sets and gets.
fn store(broker: &Broker) -> Client {
    let mut client = broker.client(Version::V311, "store");
    client.sub(&format!("get/{}/#", client.name.clone()), 1);
    client
}

/// What a connection sets, all others get, on whichever event loop they are.
#[test]
fn keys_and_values_are_shared() {
    let script = STORE.replace("^(%a+)/(.*)$", "^(%a+)/[^/]*/(.*)$");
    let broker = broker(
        &[
            ("store", &script),
            ("other", &on_publish("return topic, payload, qos, retain")),
        ],
        "",
    );
    let mut clients: Vec<Client> = (0..8).map(|_| store(&broker)).collect();
    for round in 0..3 {
        for (n, client) in clients.iter_mut().enumerate() {
            let topic = format!("set/{}/{n}", client.name);
            client.pub_(&topic, 1, &format!("value {round} {n}"));
        }
        for client in &mut clients {
            for n in 0..8 {
                let topic = format!("get/{}/{n}", client.name);
                assert_eq!(
                    echo(client, &topic, ""),
                    format!("{topic} value {round} {n}")
                );
            }
        }
    }
    // They outlive the script that has set them, and end with the plugin.
    succeed(&broker, "reload", "store");
    let client = &mut clients[0];
    let topic = format!("get/{}/3", client.name);
    assert_eq!(echo(client, &topic, ""), format!("{topic} value 2 3"));
    broker.unload(PLUGIN);
    broker.load(PLUGIN);
    assert_eq!(echo(client, &topic, ""), format!("{topic} nil"));
}

#[test]
fn values_expire() {
    let mut broker = broker(&[("store", STORE)], "");
    let mut client = broker.client(Version::V311, "expire");
    client.sub("get/#", 1);
    client.pub_("set/long", 1, "stays");
    client.pub_("short/k", 1, "goes");
    let mut left = Vec::new();
    eventually("it has expired", || {
        left.push(echo(&mut client, "get/k", ""));
        left.last().unwrap() == "get/k nil"
    });
    assert!(left.len() == 1 || left[0] == "get/k goes", "{left:?}");
    assert_eq!(echo(&mut client, "get/long", ""), "get/long stays");
    client.pub_("short/k", 1, "again");
    client.pub_("set/k", 1, "for good");
    client.pub_("short/other", 1, "x");
    eventually("another has expired", || {
        echo(&mut client, "get/other", "") == "get/other nil"
    });
    assert_eq!(echo(&mut client, "get/k", ""), "get/k for good");
    broker.restart(End::Stop);
    let mut client = broker.client(Version::V311, "expire");
    client.sub("get/#", 1);
    assert_eq!(echo(&mut client, "get/long", ""), "get/long nil");
}
