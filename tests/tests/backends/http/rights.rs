//! What clients may do.

use super::*;
use emqttd_tests::{Publish, Sub};

/// Who is asked about what; `yes` in a topic is allowed, `next` is ignored.
fn judge() -> HttpServer {
    HttpServer::start(|request| match request.path() {
        "/auth" => Reply::status(200),
        "/super" => Reply::status(403),
        _ => {
            let topic = String::from_utf8(param(request, "topic").unwrap()).unwrap();
            match () {
                () if topic.contains("yes") => Reply::status(200),
                () if topic.contains("next") => Reply::status(200).body("ignore"),
                () if topic.contains("broken") => Reply::status(500),
                () => Reply::status(403),
            }
        }
    })
}

#[track_caller]
fn subscribe(client: &mut Client, filter: &str) -> u8 {
    client.subscribe(&[Sub::new(filter, 0)], &[])[0]
}

/// Sheet 7, check 4; observed 12.
#[test]
fn what_is_asked_about_topics() {
    let service = judge();
    let broker = broker(&seed(&service));
    let connect = Connect::new(Version::V311, "au")
        .username("ok")
        .password("p");
    let mut client = broker.open(&connect);
    service.requests();
    assert_eq!(subscribe(&mut client, "a/yes/+"), 0);
    assert_eq!(subscribe(&mut client, "a/#"), 0x80);
    assert_eq!(client.pub_("a/yes/1", 1, "x"), 0);
    let mut told = vec![
        "GET /acl?access=1&username=ok&clientid=au&ipaddr=127.0.0.1&topic=a%2Fyes%2F%2B",
        "GET /acl?access=1&username=ok&clientid=au&ipaddr=127.0.0.1&topic=a%2F%23",
        "GET /acl?access=2&username=ok&clientid=au&ipaddr=127.0.0.1&topic=a%2Fyes%2F1",
    ];
    assert_eq!(service.lines(), told);
    client.expect("a/yes/1", "x");
    // Denied: no PUBACK, no message, no end.
    client.send_publish(Publish::new("a/no", "x").qos(1));
    client.ping();
    told = vec!["GET /acl?access=2&username=ok&clientid=au&ipaddr=127.0.0.1&topic=a%2Fno"];
    assert_eq!(service.lines(), told);
    // Decisions about topics that are published to are remembered.
    assert_eq!(client.pub_("a/yes/1", 1, "y"), 0);
    client.expect("a/yes/1", "y");
    assert_eq!(service.lines(), [""; 0]);
    assert_eq!(figure(&broker, "acl/allowed"), 2);
    assert_eq!(figure(&broker, "acl/denied"), 2);
}

/// MQTT 5 says why.
#[test]
fn codes_of_mqtt_5() {
    let service = judge();
    let broker = broker(&seed(&service));
    let mut client = broker.open(&connect(Version::V5, "u", "p"));
    assert_eq!(subscribe(&mut client, "no"), 0x87);
    assert_eq!(client.pub_("no", 1, "x"), 0x87);
    assert_eq!(client.pub_("yes", 2, "x"), 0);
}

#[test]
fn the_next_module_and_faults() {
    let service = judge();
    let config = Config::with_plugin(PLUGIN, &seed(&service))
        .acl("{deny, all, subscribe, [\"next/no\"]}.\n{allow, all}.\n");
    let broker = Broker::start(config);
    let mut client = client(&broker, "u");
    assert_eq!(subscribe(&mut client, "next"), 0);
    assert_eq!(subscribe(&mut client, "next/no"), 0x80);
    assert_eq!(subscribe(&mut client, "broken"), 0x80, "not by acl.conf");
    assert_eq!(figure(&broker, "acl/ignored"), 2);
    assert_eq!(figure(&broker, "acl/unavailable"), 1);
    // A key of 2.0 and 2.1.
    let conf = format!("{}auth.http.acl_nomatch = deny\n", seed(&service));
    let old = open_broker(&conf);
    assert_eq!(subscribe(&mut super::client(&old, "u"), "next"), 0x80);
}

/// Sheet 0.4: users with `$` are asked about like others; and so is who has no name.
#[test]
fn names_of_all_kinds() {
    let service = judge();
    let conf = format!("auth.http.acl_req = {}\n", service.url("/acl"));
    let broker = open_broker(&conf);
    let mut dollar = client(&broker, "$dashboard");
    assert_eq!(subscribe(&mut dollar, "no"), 0x80);
    let mut nobody = broker.client(Version::V311, "nobody");
    assert_eq!(subscribe(&mut nobody, "no"), 0x80);
    let asked = service.requests();
    assert_eq!(param(&asked[0], "username").unwrap(), b"$dashboard");
    assert_eq!(param(&asked[1], "username").unwrap(), b"undefined");
    for topic in ["a b", "a&topic=yes", "%t", "ü/#", "+/%2f"] {
        assert_eq!(
            subscribe(&mut nobody, topic),
            if topic.contains("yes") { 0 } else { 0x80 }
        );
        let asked = service.requests();
        assert_eq!(param(&asked[0], "topic").unwrap(), topic.as_bytes());
    }
}

/// Changed rights count after `acl cache clean`, for live subscriptions too.
#[test]
fn rights_that_change() {
    use std::sync::atomic::{AtomicBool, Ordering};
    static ALLOWED: AtomicBool = AtomicBool::new(true);
    let service = HttpServer::start(|request| match request.path() {
        "/acl" if !ALLOWED.load(Ordering::SeqCst) => Reply::status(403),
        "/super" => Reply::status(403),
        _ => Reply::status(200),
    });
    let broker = broker(&seed(&service));
    let mut client = broker.open(&connect(Version::V5, "u", "p"));
    client.sub("t", 0);
    assert_eq!(client.pub_("t", 1, "before"), 0);
    client.expect("t", "before");
    ALLOWED.store(false, Ordering::SeqCst);
    assert_eq!(client.pub_("t", 1, "cached"), 0);
    client.expect("t", "cached");
    service.requests();
    assert_eq!(broker.ctl(&["acl", "cache", "clean"]), (0, "ok\n".into()));
    service.await_requests(1);
    assert_eq!(client.pub_("t", 1, "after"), 0x87);
    // The subscription is gone as well.
    ALLOWED.store(true, Ordering::SeqCst);
    broker.ctl(&["acl", "cache", "clean"]);
    let mut other = broker.open(&connect(Version::V5, "v", "p"));
    assert_eq!(other.pub_("t", 1, "nobody listens"), 0x10);
    client.nothing_from(&mut other);
}

#[test]
fn acl_test_tells() {
    let service = judge();
    let broker = broker(&seed(&service));
    let test = |access, topic| {
        let (_, text) = broker.ctl(&["acl", "test", "c1", "u1", "10.1.2.3", access, topic]);
        text
    };
    let text = test("publish", "a/no");
    let asked =
        "/acl access=2&username=u1&clientid=c1&ipaddr=10.1.2.3&topic=a%2Fno; status 403: no";
    assert!(text.contains(asked) && text.contains("deny"), "{text}");
    let text = test("subscribe", "yes/#");
    assert!(text.contains("topic=yes%2F%23; status 200: yes"), "{text}");
}
