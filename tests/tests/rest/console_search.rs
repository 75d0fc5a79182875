//! Searching clients, sessions, subscriptions, routes, retained messages; and one client with all there is to know.

use std::collections::BTreeMap;

use emqttd_tests::http::Http;
use emqttd_tests::packet::Version;
use emqttd_tests::{Broker, Client, Config, Connect, Publish, Will, unique};
use serde_json::{Value, json};

use crate::common::{self, api};
use crate::console_common::{broker, column, connect, path, refusal, segment, until};

fn search(http: &Http, what: &str, query: &str) -> Value {
    http.get(&path(&format!("search/{what}?{query}"))).result()
}

fn ids(page: &Value) -> Vec<String> {
    column(&page["objects"], "client_id")
}

#[test]
fn clients_are_found_by_all_that_is_asked() {
    let http = api(broker());
    let word = unique("finda");
    let of = |name: &str| Connect::new(Version::V311, &format!("{word}{name}"));
    let _one = broker().open(&of("One").username("u1").keep_alive(10));
    let _two = broker().open(&of("Two").username("u2").keep_alive(30));
    let _three = broker().open(&Connect::new(Version::V5, &format!("{word}Three")).keep_alive(20));
    let _four = broker().open(&Connect::persistent(Version::V311, &format!("{word}Four")));
    let found = |query: &str| {
        let query = format!("search={}&sort=client_id&{query}", word.to_uppercase());
        let found = ids(&search(&http, "clients", &query));
        let names = found.iter().map(|id| id[word.len()..].to_owned());
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(found(""), "Four One Three Two");
    assert_eq!(found("username=u2"), "Two");
    assert_eq!(found("username=u"), "");
    assert_eq!(found("proto_ver=5"), "Three");
    assert_eq!(found("clean_sess=false"), "Four");
    assert_eq!(found("clean_sess=true&proto_ver=4"), "One Two");
    assert_eq!(found("listener=mqtt:tcp"), "Four One Three Two");
    assert_eq!(found("listener=mqtt:ssl"), "");
    assert_eq!(found("ip=127.0.0."), "Four One Three Two");
    assert_eq!(found("ip=10."), "");
    let sorted = |sort: &str| {
        let page = search(&http, "clients", &format!("search={word}&sort={sort}"));
        assert_eq!(page["matched"], 4, "{page}");
        ids(&page)[0][word.len()..].to_owned()
    };
    assert_eq!(sorted("-client_id"), "Two");
    assert_eq!(sorted("-keepalive"), "Two");
    assert_eq!(sorted("-proto_ver"), "Three");
    assert_eq!(sorted("-username"), "Two");
    let page = search(&http, "clients", &format!("search={word}One"));
    let row = &page["objects"][0];
    assert_eq!(row["username"], "u1");
    assert_eq!(
        (&row["ipaddress"], &row["proto_ver"]),
        (&json!("127.0.0.1"), &json!(4))
    );
    assert_eq!(
        (&row["keepalive"], &row["listener"]),
        (&json!(10), &json!("mqtt:tcp"))
    );
    // The same as in the list of 2.3.
    let old = http.get(&path(&format!("clients/{word}One"))).result();
    for (field, value) in old["objects"][0].as_object().unwrap() {
        assert_eq!(&row[field], value, "{field}");
    }
}

/// All client ids that a walk with cursors finds, with how often; `between` is called after each page.
fn walk(http: &Http, query: &str, mut between: impl FnMut(usize)) -> BTreeMap<String, u32> {
    let mut seen = BTreeMap::new();
    let mut cursor = String::new();
    for page in 0.. {
        let found = search(
            http,
            "clients",
            &format!("{query}&cursor={}", segment(&cursor)),
        );
        for id in ids(&found) {
            *seen.entry(id).or_default() += 1;
        }
        between(page);
        match found["cursor"].as_str() {
            Some(next) => cursor = next.into(),
            None => break,
        }
        assert!(page < 1000, "the walk does not end");
    }
    seen
}

#[test]
fn cursors_find_everybody_who_stays_exactly_once() {
    let config = Config::new()
        .listener("tcp.external", &[("max_clients", "10000")])
        .listener("api.mgmt", &[]);
    let broker = Broker::start(config);
    let http = api(&broker);
    let open = |n: usize| broker.open(&Connect::new(Version::V311, &format!("stays{n:04}")));
    let _staying: Vec<Client> = (0..2500).map(open).collect();
    for sort in ["", "client_id", "-client_id", "connected_at", "ipaddress"] {
        let mut passing: Vec<Client> = Vec::new();
        let query = format!("sort={sort}&limit=101");
        let mut turns = 0;
        let seen = walk(&http, &query, |page| {
            // Some come and some go with each page, before, between and behind those that stay.
            passing.truncate(passing.len().saturating_sub(3));
            for n in 0..7 {
                let word = ["a", "stays1", "z"][n % 3];
                let id = format!("{word}passing{sort}{page}x{n}");
                passing.push(broker.open(&Connect::new(Version::V311, &id)));
            }
            turns = page + 1;
        });
        assert!(turns >= 2500 / 101, "{sort}: {turns} pages");
        for n in 0..2500 {
            let id = format!("stays{n:04}");
            assert_eq!(seen.get(&id), Some(&1), "{id} sorted by {sort:?}");
        }
        assert!(seen.values().all(|times| *times == 1), "sorted by {sort:?}");
    }
    let page = search(&http, "clients", "search=STAYS&limit=1000&sort=client_id");
    assert_eq!((&page["matched"], ids(&page).len()), (&json!(2500), 1000));
    assert!(page["total"].as_u64() >= Some(2500));
    // A cursor is good for the question it was given for.
    let cursor = segment(page["cursor"].as_str().unwrap());
    let answer = http.get(&path(&format!(
        "search/clients?sort=keepalive&cursor={cursor}"
    )));
    assert!(refusal(&answer, 400).contains("cursor"));
}

#[test]
fn a_client_with_all_there_is_to_know() {
    let http = api(broker());
    let id = format!("{}/ä%2F é", unique("detail"));
    let will = Will::new("wills/detail", "gone").qos(1);
    let connect = Connect::persistent(Version::V5, &id)
        .username("u")
        .will(will);
    let mut client = broker().open(&connect);
    let topic = unique("detailtopic");
    client.sub(&format!("{topic}/#"), 1);
    client.publish(Publish::new(&topic, "hello").qos(1));
    client.recv_message();
    client.ping();
    let target = path(&format!("clients/{}/detail", segment(&id)));
    let detail = http.get(&target).result();
    assert_eq!(detail["client"]["client_id"], id);
    assert_eq!(detail["client"]["proto_ver"], 5);
    assert_eq!(detail["session"]["subscriptions"], 1);
    assert_eq!(detail["listener"]["protocol"], "mqtt:tcp");
    let address = broker().addr("tcp.external").to_string();
    assert_eq!(detail["listener"]["address"], address);
    assert_eq!(detail["will"]["topic"], "wills/detail");
    assert_eq!(
        (&detail["will"]["qos"], &detail["will"]["payload_size"]),
        (&json!(1), &json!(4))
    );
    assert_eq!(detail["expiry_interval"], 3600);
    assert_eq!(
        column(&detail["subscriptions"], "topic"),
        [format!("{topic}/#")]
    );
    let traffic = &detail["traffic"];
    // CONNECT, SUBSCRIBE, PUBLISH, PUBACK, PINGREQ; CONNACK, SUBACK, PUBACK, PUBLISH, PINGRESP.
    assert_eq!(
        (&traffic["packets_received"], &traffic["packets_sent"]),
        (&json!(5), &json!(5)),
        "{traffic}"
    );
    assert_eq!(
        (&traffic["messages_received"], &traffic["messages_sent"]),
        (&json!(1), &json!(1))
    );
    assert!(
        traffic["bytes_received"].as_u64() > Some(20) && traffic["bytes_sent"].as_u64() > Some(20)
    );
    client.disconnect();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let answer = http.get(&target);
        if answer.status == 404 {
            assert!(refusal(&answer, 404).contains("client"));
            break;
        }
        assert!(std::time::Instant::now() < end, "it is still there");
    }
}

#[test]
fn sessions_and_what_waits_in_them() {
    let http = api(broker());
    let word = unique("queue");
    let connect = Connect::persistent(Version::V311, &word);
    let mut client = broker().open(&connect);
    client.sub(&word, 1);
    client.disconnect();
    let target = path(&format!("search/sessions?search={word}&online=false"));
    let page = until(&http, &target, |page| page["objects"][0]["online"] == false);
    assert_eq!(page["objects"][0]["subscriptions"], 1);
    let mut sender = broker().client(Version::V311, "sender");
    for n in 0..5 {
        sender.publish(Publish::new(&word, [b'x'; 10]).qos(1));
        assert!(n < 5);
    }
    let queue_target = path(&format!("sessions/{word}/queue"));
    let queue = http.get(&format!("{queue_target}?limit=3")).result();
    assert_eq!(
        (&queue["waiting_len"], &queue["inflight_len"]),
        (&json!(5), &json!(0)),
        "{queue}"
    );
    let waiting = queue["waiting"].as_array().unwrap();
    assert_eq!(waiting.len(), 3);
    for row in waiting {
        assert_eq!(
            (&row["topic"], &row["payload_size"]),
            (&json!(word), &json!(10))
        );
        assert_eq!(
            (&row["from"], &row["packet_id"]),
            (&json!(sender.name), &Value::Null)
        );
        assert_eq!((&row["state"], &row["qos"]), (&json!("waiting"), &json!(1)));
    }
    let page = search(
        &http,
        "sessions",
        &format!("search={word}&sort=-mqueue_len"),
    );
    assert_eq!(page["objects"][0]["mqueue_len"], 5);
    // Back, and with nothing acknowledged all is in flight.
    let (mut client, present, _) = broker().resume(&connect);
    assert!(present);
    let first = client.recv_publish();
    let queue = until(&http, &queue_target, |queue| queue["inflight_len"] == 5);
    let row = &queue["inflight"][0];
    assert_eq!(row["packet_id"].as_u64(), first.id.map(u64::from), "{row}");
    assert_eq!((&row["topic"], &row["qos"]), (&json!(word), &json!(1)));
    client.disconnect();
    until(&http, &target, |page| page["objects"][0]["online"] == false);
    sender.publish(Publish::new(&word, "later").qos(1));
    assert_eq!(http.delete(&queue_target).result(), json!([]));
    until(&http, &queue_target, |queue| queue["waiting_len"] == 0);
    assert_eq!(
        http.delete(&path(&format!("sessions/{word}"))).result(),
        json!([])
    );
    let answer = http.get(&queue_target);
    assert!(refusal(&answer, 404).contains("session"));
    let (_client, present, _) = broker().resume(&connect);
    assert!(!present, "the session has ended");
}

#[test]
fn ending_a_session_ends_its_connection() {
    let http = api(broker());
    for version in [Version::V311, Version::V5] {
        let id = unique("ended");
        let mut client = broker().open(&Connect::persistent(version, &id));
        http.delete(&path(&format!("sessions/{id}"))).result();
        client.closed();
        let page = search(&http, "sessions", &format!("search={id}"));
        assert_eq!(page["objects"], json!([]));
    }
}

#[test]
fn subscriptions_and_routes() {
    let http = api(broker());
    let word = unique("subs");
    let mut client = broker().open(&Connect::new(Version::V311, &word));
    client.sub(&format!("{word}/b/+"), 0);
    client.sub(&format!("{word}/a"), 2);
    client.sub(&format!("$share/g{word}/{word}/c"), 1);
    let page = search(&http, "subscriptions", &format!("search={word}&sort=topic"));
    let topics = column(&page["objects"], "topic");
    assert_eq!(
        topics,
        [
            format!("{word}/a"),
            format!("{word}/b/+"),
            format!("{word}/c")
        ]
    );
    assert_eq!(page["objects"][2]["share"], format!("g{word}"));
    let one = |query: &str| {
        let page = search(&http, "subscriptions", &format!("{query}&search={word}"));
        column(&page["objects"], "topic")
    };
    assert_eq!(one("qos=2"), [format!("{word}/a")]);
    assert_eq!(one("topic=/b/"), [format!("{word}/b/+")]);
    assert_eq!(one(&format!("share=g{word}")), [format!("{word}/c")]);
    let rows = http
        .get(&path(&format!("sessions/{word}/subscriptions")))
        .result();
    let mut own = column(&rows, "topic");
    own.sort();
    assert_eq!(own, topics);
    let page = search(&http, "routes", &format!("search={word}&sort=-topic"));
    let topics = column(&page["objects"], "topic");
    assert_eq!(
        topics,
        [
            format!("{word}/c"),
            format!("{word}/b/+"),
            format!("{word}/a")
        ]
    );
    assert_eq!(page["objects"][0]["node"], "emq@127.0.0.1");
    // Pages of one.
    let first = search(
        &http,
        "routes",
        &format!("search={word}&sort=topic&limit=1"),
    );
    let cursor = segment(first["cursor"].as_str().unwrap());
    let query = format!("search={word}&sort=topic&limit=1&cursor={cursor}");
    let second = search(&http, "routes", &query);
    assert_eq!(second["objects"][0]["topic"], format!("{word}/b/+"));
}

#[test]
fn retained_messages() {
    let http = api(broker());
    let word = unique("retained");
    let mut client = broker().client(Version::V5, "keeper");
    let bytes: &[u8] = &[0, 159, 146, 150];
    let odd = format!("{word}//ä%2F b/");
    for (topic, payload) in [
        (format!("{word}/text"), "grüße".as_bytes()),
        (format!("{word}/bytes"), bytes),
        (odd.clone(), b"odd".as_slice()),
    ] {
        client.publish(Publish::new(&topic, payload).qos(1).retained());
    }
    let page = search(
        &http,
        "retained",
        &format!("filter={}&sort=topic", segment(&format!("{word}/#"))),
    );
    let topics = column(&page["objects"], "topic");
    assert_eq!(
        topics,
        [odd.clone(), format!("{word}/bytes"), format!("{word}/text")]
    );
    assert_eq!(page["objects"][2]["payload_size"], 7);
    assert_eq!(page["objects"][2]["from"], client.name);
    let page = search(&http, "retained", &format!("search={word}/b"));
    assert_eq!(column(&page["objects"], "topic"), [format!("{word}/bytes")]);
    let text = http.get(&path(&format!("retained/{word}/text"))).result();
    assert_eq!(
        (&text["payload"], &text["qos"]),
        (&json!("grüße"), &json!(1))
    );
    assert_eq!(
        (&text["payload_base64"], &text["payload_size"]),
        (&json!("Z3LDvMOfZQ=="), &json!(7))
    );
    let binary = http.get(&path(&format!("retained/{word}/bytes"))).result();
    assert_eq!(
        (&binary["payload"], &binary["payload_base64"]),
        (&Value::Null, &json!("AJ+Slg=="))
    );
    let target = path(&format!("retained/{}", segment(&odd)));
    assert_eq!(http.get(&target).result()["payload"], "odd");
    assert_eq!(http.delete(&target).result(), json!([]));
    assert!(refusal(&http.get(&target), 404).contains("retained"));
    let mut late = broker().client(Version::V311, "late");
    late.sub(&format!("{word}/#"), 0);
    let mut got = [late.recv_message().topic, late.recv_message().topic];
    got.sort();
    assert_eq!(got, [format!("{word}/bytes"), format!("{word}/text")]);
    late.quiet();
}

#[test]
fn a_large_retained_payload_is_not_put_into_an_answer() {
    let config = common::config()
        .set("mqtt.max_packet_size", "4MB")
        .plugin_conf(
            "emq_retainer",
            "retainer.storage_type = ram\nretainer.max_payload_size = 4MB\n",
        );
    let broker = Broker::start(config);
    let http = api(&broker);
    let mut client = broker.client(Version::V311, "large");
    let size = (1 << 20) + 1;
    client.publish(Publish::new("large", vec![b'x'; size]).qos(1).retained());
    client.publish(Publish::new("fits", vec![b'x'; size - 1]).qos(1).retained());
    let large = http.get(&path("retained/large")).result();
    assert_eq!(
        (&large["payload"], &large["payload_base64"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(large["payload_size"], size);
    let fits = http.get(&path("retained/fits")).result();
    assert_eq!(fits["payload"].as_str().unwrap().len(), size - 1);
}

#[test]
fn kicking_needs_a_client() {
    let http = api(broker());
    let connect = connect("kicked");
    let mut client = broker().open(&connect);
    let target = path(&format!("clients/{}", connect.client_id));
    assert_eq!(http.delete(&target).result(), json!([]));
    client.closed();
    let answer = http.delete(&target);
    assert_eq!((answer.status, answer.code()), (200, 112));
}
