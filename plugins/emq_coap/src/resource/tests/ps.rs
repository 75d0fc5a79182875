use super::bench::{Bench, bytes, delete, get, post, put, text};
use crate::codec::Code;
use crate::request::{Action, Observing, Response};
use crate::watching::RETAINED;
use std::time::Duration;

const T: &str = "/ps/t?c=1";

/// Publishes, and is let.
fn publish(bench: &mut Bench, uri: &str, payload: &str) -> Response {
    assert_eq!(bench.send(&put(uri, payload).format(42)), None);
    bench.puback(0);
    bench.answer()
}

/// Creates a topic, and is let.
fn create(bench: &mut Bench, uri: &str, link: &str, topic: &str) -> Response {
    assert_eq!(bench.send(&post(uri, link).format(40)), None);
    bench.suback(topic, true);
    let response = bench.answer();
    bench.unsuback(topic);
    response
}

/// One with a client and the topic `t`, which has a value.
fn with_t() -> Bench {
    let mut bench = Bench::connected();
    assert_eq!(publish(&mut bench, T, "1").code, Code::CREATED);
    bench.log();
    bench
}

/// Another client, by its name.
fn other(bench: &mut Bench, c: &str) {
    assert_eq!(bench.send(&get(&format!("/mqtt?c={c}"))), None);
    bench.let_in();
    bench.answer();
    bench.log();
}

#[test]
fn create_publish_read_and_delete() {
    let mut bench = Bench::connected();
    let created = create(&mut bench, "/ps?c=1", "<t>;ct=42", "t");
    assert_eq!(bench.log(), ["subscribe t", "unsubscribe t"]);
    assert_eq!(
        (created.code, created.location),
        (Code::CREATED, vec!["ps".into(), "t".into()])
    );
    let response = publish(&mut bench, T, "1");
    assert_eq!((response.code, response.location), (Code::CHANGED, vec![]));
    // At QoS 1: only so is known that it was allowed.
    assert_eq!(bench.log(), ["publish t \"1\" 1"]);
    let value = bench.read(T, "t");
    assert_eq!(
        (value.code, value.content_format, value.max_age),
        (Code::CONTENT, Some(42), Some(60))
    );
    assert_eq!(value.payload, bytes("1"));
    assert!(value.etag.is_some());
    assert_eq!(bench.log(), ["subscribe t", "unsubscribe t"]);
    assert_eq!(bench.code(&put(T, "2").format(50)), Code::BAD_REQUEST);
    assert_eq!(bench.code(&delete(T)), Code::DELETED);
    assert_eq!(bench.code(&delete(T)), Code::NOT_FOUND);
    assert_eq!(bench.read(T, "t").code, Code::NOT_FOUND);
    assert_eq!(bench.log()[..2], ["subscribe t", "unsubscribe t"]);
}

#[test]
fn a_value_lasts_as_long_as_max_age_says() {
    let mut bench = Bench::connected();
    assert_eq!(
        bench.send(&put("/ps/new?c=1", "v").format(50).max_age(10)),
        None
    );
    bench.puback(0);
    let response = bench.answer();
    assert_eq!(
        (response.code, response.location),
        (Code::CREATED, vec!["ps".into(), "new".into()])
    );
    bench.pass(Duration::from_millis(8001));
    let value = bench.read("/ps/new?c=1", "new");
    assert_eq!(
        (text(&value), value.max_age, value.content_format),
        ("v", Some(2), Some(50))
    );
    bench.pass(Duration::from_secs(2));
    let expired = bench.read("/ps/new?c=1", "new");
    assert_eq!(expired, Response::new(Code::CONTENT));
}

#[test]
fn what_is_wrong() {
    let mut bench = with_t();
    let long = format!("<{}>;ct=42", "x".repeat(5000));
    for (ask, code) in [
        (put("/ps/t", "x").format(42), Code::BAD_REQUEST),
        (get("/ps"), Code::BAD_REQUEST),
        (delete("/ps/t"), Code::BAD_REQUEST),
        (put(T, "x"), Code::UNSUPPORTED_FORMAT),
        (post(T, "x"), Code::UNSUPPORTED_FORMAT),
        (put(T, "x").format(0), Code::UNSUPPORTED_FORMAT),
        (put(T, "x").format(40), Code::UNSUPPORTED_FORMAT),
        (put(T, "x").format(47), Code::BAD_REQUEST),
        (post("/ps?c=1", "x").format(42), Code::BAD_REQUEST),
        (post("/ps/?c=1", "x").format(42), Code::BAD_REQUEST),
        (put("/ps/a/+?c=1", "x").format(42), Code::BAD_REQUEST),
        (get("/ps/a/+?c=1"), Code::BAD_REQUEST),
        (get("/ps/$share/g/t?c=1"), Code::BAD_REQUEST),
        (get("/ps/$queue/t?c=1"), Code::BAD_REQUEST),
        (get("/ps/$local/t?c=1").observe(0), Code::BAD_REQUEST),
        (put("/ps/$share/g/t?c=1", "x").format(42), Code::BAD_REQUEST),
        (post("/ps?c=1", "<$queue/t>").format(40), Code::BAD_REQUEST),
        (get("/ps/#?c=1").observe(0), Code::BAD_REQUEST),
        (get("/ps?c=1").observe(0), Code::BAD_REQUEST),
        (delete("/ps?c=1"), Code::BAD_REQUEST),
        (delete("/ps/+?c=1"), Code::BAD_REQUEST),
        (post("/ps?c=1", "t;ct=42").format(40), Code::BAD_REQUEST),
        (post("/ps?c=1", "<t>;ct=x").format(40), Code::BAD_REQUEST),
        (post("/ps?c=1", "<t>;ct=0").format(40), Code::BAD_REQUEST),
        (post("/ps?c=1", "<>;ct=42").format(40), Code::BAD_REQUEST),
        (post("/ps?c=1", "<a/+>;ct=42").format(40), Code::BAD_REQUEST),
        (post("/ps/+?c=1", "<a>;ct=42").format(40), Code::BAD_REQUEST),
        (post("/ps?c=1", "<%FF>;ct=42").format(40), Code::BAD_REQUEST),
        (post("/ps?c=1", &long).format(40), Code::BAD_REQUEST),
        (put("/ps/t?c=1&qos=9", "x").format(42), Code::BAD_REQUEST),
    ] {
        assert_eq!(bench.code(&ask), code);
    }
    assert!(bench.log().is_empty());
}

#[test]
fn topics_are_created_below_the_path() {
    let mut bench = Bench::connected();
    for (uri, link, topic) in [
        ("/ps?c=1", "<a>;ct=42", "a"),
        ("/ps/?c=1", "<b>;ct=50", "b"),
        ("/ps/p?c=1", "<c>", "p/c"),
        ("/ps/p/?c=1", "<d/e>;ct=47", "p/d/e"),
        ("/ps/p/q?c=1", "<f%20g>", "p/q/f g"),
    ] {
        let response = create(&mut bench, uri, link, topic);
        assert_eq!(response.code, Code::CREATED);
        let path: Vec<&str> = response.location.iter().map(|segment| &**segment).collect();
        assert_eq!(path.join("/"), format!("ps/{topic}"));
        assert!(bench.app.store.get(topic).is_some(), "{topic}");
        // Nothing was published, so there is nothing to read.
        assert!(bench.app.store.get(topic).unwrap().value.is_none());
    }
    assert_eq!(bench.app.store.get("p/c").unwrap().format, None);
    // Again is fine, and takes the value away.
    publish(&mut bench, "/ps/a?c=1", "1");
    let again = create(&mut bench, "/ps?c=1", "<a>;ct=50", "a");
    assert_eq!(again.code, Code::CREATED);
    assert_eq!(bench.read("/ps/a?c=1", "a"), Response::new(Code::CONTENT));
}

#[test]
fn what_the_acl_denies_is_not_kept() {
    let mut bench = with_t();
    for uri in [T, "/ps/new?c=1"] {
        assert_eq!(bench.send(&put(uri, "forged").format(42)), None);
        bench.puback(0x87);
        assert_eq!(bench.answer().code, Code::FORBIDDEN);
    }
    assert!(bench.app.store.get("new").is_none());
    assert_eq!(text(&bench.read(T, "t")), "1");
}

#[test]
fn who_may_not_subscribe_does_not_read() {
    let mut bench = with_t();
    for ask in [get(T), get(T).observe(0)] {
        assert_eq!(bench.send(&ask), None);
        bench.nothing();
        bench.suback("t", false);
        assert_eq!(bench.answer(), Response::new(Code::FORBIDDEN));
    }
    // Nor make one.
    let create = post("/ps?c=1", "<u>;ct=42").format(40);
    assert_eq!(bench.send(&create), None);
    bench.suback("u", false);
    assert_eq!(bench.answer().code, Code::FORBIDDEN);
    assert!(bench.app.store.get("u").is_none());
    // Nor see that a topic is there.
    assert_eq!(bench.send(&get("/ps?c=1")), None);
    bench.suback("t", false);
    assert_eq!(bench.answer(), Response::content(40, ""));
}

#[test]
fn formats_are_compared() {
    let mut bench = with_t();
    assert_eq!(bench.send(&get(T).accept(50)), None);
    bench.suback("t", true);
    assert_eq!(bench.answer().code, Code::BAD_REQUEST);
    bench.unsuback("t");
    assert_eq!(bench.send(&get(T).accept(42)), None);
    bench.suback("t", true);
    assert_eq!(bench.answer().code, Code::CONTENT);
}

#[test]
fn conditions() {
    let mut bench = with_t();
    let etag = bench.app.store.get("t").unwrap().etag();
    assert_eq!(
        bench.code(&put(T, "2").format(42).if_none_match()),
        Code::PRECONDITION_FAILED
    );
    assert_eq!(
        bench.code(&put(T, "2").format(42).if_match(b"x")),
        Code::PRECONDITION_FAILED
    );
    assert_eq!(
        bench.code(&put("/ps/n?c=1", "2").format(42).if_match(b"")),
        Code::PRECONDITION_FAILED
    );
    assert_eq!(
        bench.code(&delete(T).if_match(b"x")),
        Code::PRECONDITION_FAILED
    );
    assert_eq!(bench.send(&put(T, "2").format(42).if_match(&etag)), None);
    bench.puback(0);
    assert_eq!(bench.answer().code, Code::CHANGED);
    assert_eq!(
        bench.send(&put("/ps/n?c=1", "2").format(42).if_none_match()),
        None
    );
}

#[test]
fn retained_messages_are_read_too() {
    let mut bench = Bench::connected();
    assert_eq!(bench.send(&get("/ps/r?c=1")), None);
    bench.suback("r", true);
    bench.nothing();
    bench.retained("r", "kept", 1);
    let value = bench.answer();
    assert_eq!(
        (value.code, text(&value), value.content_format),
        (Code::CONTENT, "kept", Some(42))
    );
    assert_eq!(bench.log(), ["subscribe r", "unsubscribe r", "ack 1"]);
    bench.pass(RETAINED);
    bench.nothing();
}

#[test]
fn observing_a_topic() {
    let mut bench = with_t();
    assert_eq!(bench.send(&get(T).observe(0)), None);
    bench.suback("t", true);
    let response = bench.answer();
    assert_eq!((response.code, text(&response)), (Code::CONTENT, "1"));
    assert_eq!(response.observing, Some(Observing::Begun));
    let observation = bench.last;
    // Older than what it has, perhaps.
    bench.retained("t", "old", 1);
    bench.nothing();
    bench.pass(Duration::from_secs(50));
    bench.message("t", "2", 2);
    let (to, _, response) = bench.notification();
    assert_eq!((to, text(&response)), (observation, "2"));
    assert_eq!(
        (response.content_format, response.max_age),
        (Some(42), Some(60))
    );
    // MQTT has updated the value.
    bench.pass(Duration::from_secs(50));
    assert_eq!(bench.send(&get(T)), None);
    bench.suback("t", true);
    let value = bench.answer();
    assert_eq!((text(&value), value.max_age), ("2", Some(10)));
    // The end.
    assert_eq!(bench.code(&get(T).observe(1)), Code::CONTENT);
    assert!(matches!(bench.action(), Some(Action::Forget { .. })));
    assert_eq!(bench.log().last().unwrap(), "unsubscribe t");
}

#[test]
fn observing_what_is_not_there_or_has_no_value() {
    let mut bench = Bench::connected();
    assert_eq!(bench.send(&get("/ps/none?c=1").observe(0)), None);
    bench.suback("none", true);
    bench.pass(RETAINED);
    assert_eq!(bench.answer(), Response::new(Code::NOT_FOUND));
    assert_eq!(bench.log(), ["subscribe none", "unsubscribe none"]);
    assert!(bench.app.observations.is_empty());
    create(&mut bench, "/ps?c=1", "<e>;ct=50", "e");
    assert_eq!(bench.send(&get("/ps/e?c=1").observe(0)), None);
    bench.suback("e", true);
    bench.pass(RETAINED);
    let response = bench.answer();
    assert_eq!(
        (response.code, response.observing),
        (Code::NO_CONTENT, Some(Observing::Begun))
    );
    bench.message("e", "{}", 1);
    assert_eq!(bench.notification().2.content_format, Some(50));
}

#[test]
fn deleting_takes_the_sub_topics_and_nothing_else() {
    let mut bench = Bench::connected();
    for topic in ["a", "a/b", "a/b/c", "banana", "ab"] {
        publish(&mut bench, &format!("/ps/{topic}?c=1"), "x");
    }
    assert_eq!(bench.send(&get("/ps/a/b?c=1").observe(0)), None);
    bench.suback("a/b", true);
    bench.answer();
    let observation = bench.last;
    bench.log();
    assert_eq!(bench.code(&delete("/ps/a?c=1")), Code::DELETED);
    let (to, _, response) = bench.notification();
    assert_eq!((to, response.code), (observation, Code::NOT_FOUND));
    let left: Vec<&str> = bench.app.store.iter().map(|(name, _)| name).collect();
    assert_eq!(left, ["ab", "banana"]);
    // Nobody hears of it by MQTT: the topics were its own.
    assert_eq!(bench.log(), ["unsubscribe a/b"]);
    // Nothing has been published to the topic itself.
    publish(&mut bench, "/ps/p/q?c=1", "x");
    assert_eq!(bench.code(&delete("/ps/p?c=1")), Code::DELETED);
    assert_eq!(bench.code(&delete("/ps/p?c=1")), Code::NOT_FOUND);
    assert!(bench.app.store.get("p/q").is_none());
}

#[test]
fn what_others_have_published_goes_only_by_who_may_publish() {
    let mut bench = with_t();
    publish(&mut bench, "/ps/t/mine?c=1", "x");
    other(&mut bench, "2");
    publish(&mut bench, "/ps/t/yours?c=2", "x");
    bench.log();
    assert_eq!(bench.send(&delete("/ps/t?c=2")), None);
    assert_eq!(bench.log(), ["publish t \"\" 1 retain"]);
    bench.puback(0x87);
    assert_eq!(bench.answer().code, Code::FORBIDDEN);
    assert_eq!(bench.app.store.size().0, 3);
    // It may remove the topic, but not one of those below.
    assert_eq!(bench.send(&delete("/ps/t?c=2")), None);
    bench.puback(0);
    assert_eq!(bench.log()[1..], ["publish t/mine \"\" 1 retain"]);
    bench.nothing();
    bench.puback(0x87);
    assert_eq!(bench.answer().code, Code::DELETED);
    let left: Vec<&str> = bench.app.store.iter().map(|(name, _)| name).collect();
    assert_eq!(left, ["t/mine"]);
    // A creation that would take a value away is the same.
    let create = post("/ps/t?c=2", "<mine>;ct=50").format(40);
    for (code, said) in [(0x87, Code::FORBIDDEN), (0, Code::CREATED)] {
        assert_eq!(bench.send(&create), None);
        bench.suback("t/mine", true);
        bench.unsuback("t/mine");
        bench.nothing();
        bench.puback(code);
        assert_eq!(bench.answer().code, said);
    }
    assert_eq!(bench.app.store.get("t/mine").unwrap().format, Some(50));
}

#[test]
fn what_was_retained_is_cleared() {
    let mut bench = Bench::connected();
    publish(&mut bench, "/ps/t?c=1&retain=1&qos=2", "x");
    assert_eq!(bench.log(), ["publish t \"x\" 2 retain"]);
    assert_eq!(bench.send(&delete(T)), None);
    assert_eq!(bench.log(), ["publish t \"\" 1 retain"]);
    bench.puback(0);
    assert_eq!(bench.answer().code, Code::DELETED);
}

#[test]
fn a_name_that_is_only_reserved_binds_nobody_else() {
    let mut bench = Bench::connected();
    create(&mut bench, "/ps?c=1", "<t>;ct=50", "t");
    assert_eq!(bench.code(&put(T, "x").format(42)), Code::BAD_REQUEST);
    other(&mut bench, "2");
    assert_eq!(publish(&mut bench, "/ps/t?c=2", "x").code, Code::CHANGED);
    assert_eq!(bench.app.store.get("t").unwrap().format, Some(42));
}

#[test]
fn a_list_of_topics() {
    let mut bench = Bench::connected();
    assert_eq!(bench.send(&get("/ps?c=1")), Some(Response::content(40, "")));
    for topic in ["b", "a/x", "c"] {
        publish(&mut bench, &format!("/ps/{topic}?c=1"), "x");
    }
    bench.log();
    assert_eq!(bench.send(&get("/ps/?c=1")), None);
    bench.suback("c", true);
    bench.suback("b", false);
    bench.suback("a/x", true);
    assert_eq!(
        bench.answer(),
        Response::content(40, "</ps/a/x>;ct=42,</ps/c>;ct=42")
    );
    let log = bench.log();
    assert!(log.contains(&"unsubscribe c".to_string()));
    assert!(!log.contains(&"unsubscribe b".to_string()));
}

#[test]
fn lists_are_bounded() {
    let mut bench = Bench::with(|settings| settings.ps_max_topics = 1000);
    bench.send(&get("/mqtt?c=1"));
    bench.let_in();
    bench.answer();
    for n in 0..150 {
        let topic = format!("{n:03}");
        create(&mut bench, "/ps?c=1", &format!("<{topic}>"), &topic);
    }
    bench.log();
    assert_eq!(bench.send(&get("/ps?c=1")), None);
    assert_eq!(bench.log().len(), 100);
    let over = bench.client();
    bench.closed(over);
    assert_eq!(bench.answer().code, Code::CONTENT);
    bench.nothing();
    assert!(bench.app.listings.is_empty());
}

#[test]
fn there_is_no_room_without_bound() {
    let mut bench = Bench::with(|settings| settings.ps_max_topics = 1);
    bench.send(&get("/mqtt?c=1"));
    bench.let_in();
    bench.answer();
    publish(&mut bench, T, "1");
    assert_eq!(
        publish(&mut bench, "/ps/u?c=1", "1").code,
        Code::UNAVAILABLE
    );
    let response = create(&mut bench, "/ps?c=1", "<v>;ct=42", "v");
    assert_eq!(response.code, Code::UNAVAILABLE);
    assert_eq!(publish(&mut bench, T, "2").code, Code::CHANGED);
}
