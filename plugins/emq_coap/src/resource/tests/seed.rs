use super::bench::{Bench, endpoint, get, post, text};
use crate::codec::Code;
use crate::request::Fate;
use std::time::Duration;

const FORM: &str = "qos=0&retain=0&message=payload&topic=hello";

#[test]
fn the_command_of_the_user() {
    let mut bench = Bench::new();
    assert_eq!(bench.send(&post("/mqtt", FORM)), None);
    let options = bench.app.broker.options[0].clone();
    assert!(options.clientid.starts_with("coap_") && options.clientid.len() == 21);
    assert_eq!((options.username, options.password), (None, None));
    assert!(bench.app.broker.peers[0].anonymous);
    bench.log();
    bench.let_in();
    assert_eq!(bench.answer().code, Code::CREATED);
    assert_eq!(bench.log(), ["publish hello \"payload\" 0"]);
    // The same endpoint is the same client, another port another one.
    assert_eq!(bench.code(&post("/mqtt", FORM)), Code::CREATED);
    assert_eq!(
        bench.send(&post("/mqtt/", FORM).from(endpoint(1, 5001))),
        None
    );
    let two = &bench.app.broker.options;
    assert_ne!(two[0].clientid, two[1].clientid);
}

#[test]
fn nameless_clients_go_soon() {
    let mut bench = Bench::new();
    bench.send(&post("/mqtt", FORM));
    bench.let_in();
    bench.log();
    bench.pass(Duration::from_secs(9));
    assert!(bench.log().is_empty());
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.log(), ["leave"]);
    assert!(bench.app.clients.is_empty());
}

#[test]
fn forms() {
    let mut bench = Bench::connected();
    for (form, published) in [
        (
            "topic=a%2Fb&message=1%202&client=1",
            "publish a/b \"1 2\" 0",
        ),
        ("client=1&topic=t&message=", "publish t \"\" 0"),
        (
            "client=1&topic=t&message=m&retain=1",
            "publish t \"m\" 0 retain",
        ),
    ] {
        assert_eq!(bench.code(&post("/mqtt", form)), Code::CREATED, "{form}");
        assert_eq!(bench.log(), [published]);
    }
    assert_eq!(
        bench.send(&post("/mqtt?c=1", "topic=t&message=m&qos=1")),
        None
    );
    bench.puback(0x87);
    assert_eq!(bench.answer().code, Code::FORBIDDEN);
    bench.log();
    for form in [
        "",
        "topic=t",
        "message=m",
        "topic=&message=m",
        "topic=%2B&message=m",
        "topic=%ff&message=m",
        "topic=t&message=m&qos=7",
        "topic=t&message=m&retain=7",
        "topic=t&message=m&client=",
        "topic=t&message=m&client=%ff",
    ] {
        assert_eq!(
            bench.code(&post("/mqtt", form)),
            Code::BAD_REQUEST,
            "{form}"
        );
    }
    assert!(bench.log().is_empty());
}

#[test]
fn get_observes_the_topic_of_payload_or_query() {
    for ask in [
        get("/mqtt").payload("topic=a%2F%2B"),
        get("/mqtt/?topic=a%2F+"),
    ] {
        let mut bench = Bench::new();
        assert_eq!(bench.send(&ask.clone().observe(0)), None);
        bench.let_in();
        bench.suback("a/+", true);
        let observation = bench.last;
        assert_eq!(bench.answer().code, Code::CONTENT);
        bench.message("a/x", "1&2", 7);
        let (to, receipt, response) = bench.notification();
        assert_eq!(to, observation);
        assert_eq!(text(&response), "topic=a/x&message=1&2");
        bench.notified(to, receipt, Fate::Sent);
        assert_eq!(bench.log()[2..], ["ack 7"]);
        // It stays as long as any.
        bench.pass(Duration::from_secs(100));
        assert!(bench.log().is_empty());
        assert_eq!(bench.code(&ask.observe(1)), Code::CONTENT);
        assert_eq!(bench.log().last().unwrap(), "unsubscribe a/+");
    }
}

#[test]
fn get_without_observe_is_answered() {
    let mut bench = Bench::new();
    assert_eq!(bench.send(&get("/mqtt").payload("topic=t")), None);
    bench.let_in();
    assert_eq!(bench.answer().code, Code::CONTENT);
}
