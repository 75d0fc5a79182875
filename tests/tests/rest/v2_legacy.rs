//! `POST /mqtt/publish` as EMQ 2.0 to 2.2 had it.

use emqttd_tests::http::{Answer, Http};
use emqttd_tests::{Broker, Client, Version};

use crate::common::config;

const FORM: &str = "application/x-www-form-urlencoded";

fn publish(http: &Http, kind: &str, body: &str) -> (u16, String) {
    let http = http.clone().header("Content-Type", kind);
    let answer: Answer = http.send("POST", "/mqtt/publish", Some(body.as_bytes()));
    assert_eq!(answer.header("content-type"), Some("text/plain"), "{body}");
    (answer.status, answer.text())
}

fn said(status: u16, text: &str) -> (u16, String) {
    (status, text.to_owned())
}

fn listening(broker: &Broker) -> Client {
    let connect = emqttd_tests::Connect::new(Version::V311, "listener").username("bob");
    let mut client = broker.open(&connect.password("secret"));
    client.sub("#", 2);
    client
}

/// `bob` may publish below `open/` only.
fn strict() -> Broker {
    let users = "auth.user.1.username = bob\nauth.user.1.password = secret\n";
    Broker::start(
        config()
            .set("mqtt.allow_anonymous", "false")
            .set("mqtt.acl_nomatch", "deny")
            .acl(
                "{allow, all, subscribe, [\"#\"]}.\n{allow, {user, \"bob\"}, publish, [\"open/#\"]}.\n\
                 {allow, {client, \"special\"}, publish, [\"special/#\"]}.\n{deny, all}.\n",
            )
            .plugin_conf("emq_auth_username", users)
            .loaded(&["emq_auth_username"]),
    )
}

#[test]
fn rest_legacy_publish() {
    let broker = strict();
    let mut client = listening(&broker);
    let bob = Http::at(broker.addr("api.mgmt")).basic("bob", "secret");
    let form = "qos=1&retain=0&topic=open%2Fa&message=hello+%C3%A9&client=me";
    assert_eq!(publish(&bob, FORM, form), said(200, "OK"));
    let message = client.expect("open/a", "hello é");
    assert_eq!(message.qos, 1);
    client.acknowledge(&message);
    let json = r#"{"topics":"open/a,open/b","topic":"open/c","message":"m","qos":"0","retain":0}"#;
    assert_eq!(
        publish(&bob, "application/json; charset=utf-8", json),
        said(200, "OK")
    );
    for topic in ["open/c", "open/a", "open/b"] {
        client.expect(topic, "m");
    }
    assert_eq!(publish(&bob, FORM, "topic=open/x"), said(200, "OK"));
    client.expect("open/x", "");
    for (body, text) in [
        ("topic=open/a&qos=3&message=x", "Bad QoS"),
        ("topic=open/a&qos=one", "Bad QoS"),
        ("message=x", "Bad Topics"),
        ("topic=&message=x", "Bad Topics"),
        ("topic=open/%23&message=x", "Bad Topics"),
        ("topics=open/a,open/%2B", "Bad Topics"),
    ] {
        assert_eq!(publish(&bob, FORM, body), said(400, text), "{body}");
    }
    assert_eq!(
        publish(&bob, "application/json", "topic=a"),
        said(400, "Bad Request")
    );
    // Nothing of all that was published.
    publish(&bob, FORM, "topic=open/last");
    client.expect("open/last", "");
}

#[test]
fn rest_legacy_publish_asks_who_and_what() {
    let broker = strict();
    let mut client = listening(&broker);
    let at = Http::at(broker.addr("api.mgmt"));
    let form = "topic=open/a&message=x";
    for nobody in [
        at.clone(),
        at.clone().basic("bob", "wrong"),
        at.clone().basic("eve", "secret"),
        at.clone().basic("", ""),
        // A user of the dashboard is none of MQTT.
        at.clone().basic("admin", "public"),
        at.clone().bearer("x"),
        at.clone().header("Authorization", "Basic ???"),
    ] {
        assert_eq!(publish(&nobody, FORM, form), said(401, "Unauthorized"));
        // What else is wrong is not told to strangers.
        assert_eq!(publish(&nobody, FORM, "qos=9"), said(401, "Unauthorized"));
    }
    let bob = at.basic("bob", "secret");
    let denied = said(403, "Not Authorized");
    assert_eq!(publish(&bob, FORM, "topic=closed&message=x"), denied);
    // All or nothing.
    assert_eq!(
        publish(&bob, FORM, "topics=open/a,closed&message=x"),
        denied
    );
    // The client id counts as it does for a client.
    assert_eq!(publish(&bob, FORM, "topic=special/a&message=x"), denied);
    let special = "topic=special/a&message=yes&client=special";
    assert_eq!(publish(&bob, FORM, special), said(200, "OK"));
    client.expect("special/a", "yes");
}

#[test]
fn rest_legacy_publish_is_not_for_the_banned() {
    let broker = Broker::start(config());
    let http = Http::at(broker.addr("api.mgmt"));
    let admin = http.clone().basic("admin", "public");
    for (kind, value, body) in [
        ("client_id", "evil", "topic=a&client=evil"),
        ("username", "any", "topic=a"),
        ("ip", "127.0.0.0/8", "topic=a"),
    ] {
        let anybody = http.clone().basic("any", "body");
        assert_eq!(publish(&anybody, FORM, body), said(200, "OK"));
        let ban = serde_json::json!({ "kind": kind, "value": value });
        admin.post("/api/v2/bans", &ban).result();
        assert_eq!(publish(&anybody, FORM, body), said(401, "Unauthorized"));
        let value = value.replace('/', "%2F");
        admin
            .delete(&format!("/api/v2/bans/{kind}/{value}"))
            .result();
    }
}

#[test]
fn rest_legacy_publish_with_anonymous_clients_needs_the_header_alone() {
    let broker = Broker::start(config());
    let http = Http::at(broker.addr("api.mgmt"));
    assert_eq!(publish(&http, FORM, "topic=a"), said(401, "Unauthorized"));
    let anybody = http.basic("any", "body");
    assert_eq!(publish(&anybody, FORM, "topic=a"), said(200, "OK"));
}
