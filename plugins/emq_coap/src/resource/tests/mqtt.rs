use super::bench::{Bench, delete, get, post, put};
use crate::codec::Code;
use crate::request::Response;
use emqttd_plugin_sdk::virtual_client::NotNow;

#[test]
fn put_publishes_at_qos_0() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.send(&put("/mqtt/topic1?c=client1&u=tom&p=secret", "1234")),
        None
    );
    assert_eq!(bench.log(), ["connect client1 \"tom\" \"secret\""]);
    bench.let_in();
    assert_eq!(bench.answer(), Response::new(Code::CHANGED));
    assert_eq!(bench.log(), ["publish topic1 \"1234\" 0"]);
    // Now there is a session.
    let again = put("/mqtt/topic1?c=client1&u=tom&p=secret", "5");
    assert_eq!(bench.send(&again), Some(Response::new(Code::CHANGED)));
    assert_eq!(bench.log(), ["publish topic1 \"5\" 0"]);
}

#[test]
fn segments_are_joined() {
    let mut bench = Bench::connected();
    for (uri, topic) in [
        ("/mqtt/a/b?c=1", "a/b"),
        ("/mqtt/a%2Fb?c=1", "a/b"),
        ("/mqtt//a?c=1", "/a"),
        ("/mqtt/a/?c=1", "a/"),
        ("/mqtt/$SYS/x?c=1", "$SYS/x"),
    ] {
        assert_eq!(bench.code(&put(uri, "x")), Code::CHANGED);
        assert_eq!(bench.log(), [format!("publish {topic} \"x\" 0")]);
    }
}

#[test]
fn qos_and_retain_may_be_said() {
    let mut bench = Bench::connected();
    assert_eq!(bench.send(&put("/mqtt/t?c=1&qos=1&retain=1", "x")), None);
    assert_eq!(bench.log(), ["publish t \"x\" 1 retain"]);
    bench.nothing();
    bench.puback(0);
    assert_eq!(bench.answer().code, Code::CHANGED);
    assert_eq!(
        bench.send(&put("/mqtt/t?c=1&qos=2&retain=false", "x")),
        None
    );
    assert_eq!(bench.log(), ["publish t \"x\" 2"]);
    bench.puback(0x87);
    assert_eq!(bench.answer().code, Code::FORBIDDEN);
    assert_eq!(
        bench.code(&put("/mqtt/t?c=1&qos=0&retain=true", "x")),
        Code::CHANGED
    );
    assert_eq!(bench.log(), ["publish t \"x\" 0 retain"]);
    for query in ["qos=3", "qos=", "qos=x", "retain=2", "retain=yes"] {
        let uri = format!("/mqtt/t?c=1&{query}");
        assert_eq!(bench.code(&put(&uri, "x")), Code::BAD_REQUEST, "{query}");
    }
    assert!(bench.log().is_empty());
}

#[test]
fn what_is_wrong_is_said_before_anybody_connects() {
    let mut bench = Bench::new();
    let long = "x".repeat(97);
    let topic = "t/".repeat(2048) + "t";
    for (ask, code) in [
        (put("/mqtt/t", "x"), Code::BAD_REQUEST),
        (put("/mqtt/t?c=", "x"), Code::BAD_REQUEST),
        (put("/mqtt/t?u=tom&p=x", "x"), Code::BAD_REQUEST),
        (put(&format!("/mqtt/t?c={long}"), "x"), Code::BAD_REQUEST),
        (put("/mqtt?c=1", "x"), Code::BAD_REQUEST),
        (put("/mqtt/?c=1", "x"), Code::BAD_REQUEST),
        (put("/mqtt/a/+?c=1", "x"), Code::BAD_REQUEST),
        (put("/mqtt/#?c=1", "x"), Code::BAD_REQUEST),
        (put(&format!("/mqtt/{topic}?c=1"), "x"), Code::BAD_REQUEST),
        (get("/mqtt/t"), Code::BAD_REQUEST),
        (get("/mqtt"), Code::BAD_REQUEST),
        (get("/mqtt/a#?c=1").observe(0), Code::BAD_REQUEST),
        (get("/mqtt?c=1").observe(0), Code::BAD_REQUEST),
        (get("/mqtt/$share/g?c=1").observe(0), Code::BAD_REQUEST),
        (post("/mqtt/t?c=1", "x"), Code::METHOD_NOT_ALLOWED),
        (delete("/mqtt/t?c=1"), Code::METHOD_NOT_ALLOWED),
        (delete("/mqtt"), Code::METHOD_NOT_ALLOWED),
    ] {
        assert_eq!(bench.code(&ask), code);
    }
    assert!(bench.log().is_empty());
    let longest = "x".repeat(96);
    assert_eq!(bench.send(&put(&format!("/mqtt/t?c={longest}"), "x")), None);
}

#[test]
fn a_topic_is_always_there() {
    let mut bench = Bench::connected();
    let put = || put("/mqtt/t?c=1", "x");
    for ask in [put().if_none_match(), put().if_match(b"x")] {
        assert_eq!(bench.code(&ask), Code::PRECONDITION_FAILED);
    }
    assert!(bench.log().is_empty());
    assert_eq!(bench.code(&put().if_match(b"")), Code::CHANGED);
}

#[test]
fn get_without_observe_is_a_sign_of_life() {
    let mut bench = Bench::connected();
    for uri in ["/mqtt?c=1", "/mqtt/?c=1", "/mqtt/t?c=1", "/mqtt/a/+?c=1"] {
        assert_eq!(bench.send(&get(uri)), Some(Response::new(Code::CONTENT)));
    }
    assert!(bench.log().is_empty());
}

#[test]
fn a_broker_without_room_is_told_as_such() {
    let mut bench = Bench::connected();
    bench.app.broker.refuses = Some(NotNow::Busy);
    for uri in ["/mqtt/t?c=1", "/mqtt/t?c=1&qos=1"] {
        let response = bench.send(&put(uri, "x")).unwrap();
        assert_eq!(
            (response.code, response.max_age),
            (Code::UNAVAILABLE, Some(1))
        );
    }
}
