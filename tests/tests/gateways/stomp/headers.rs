//! Headers that a SEND has for those who get its message; in MQTT 5 they are content type and user properties.

use emqttd_tests::stomp::{Frame, Stomp};
use emqttd_tests::{Broker, Prop, Publish, Version, unique};

use super::{PLUGIN, at, broker, config, guest, here};

/// All but those that the server writes in each MESSAGE.
fn of_the_sender(message: &Frame) -> Vec<(&str, &str)> {
    let headers = message
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let ours = [
        "subscription",
        "message-id",
        "destination",
        "content-type",
        "content-length",
        "ack",
        "redelivered",
    ];
    headers.filter(|(name, _)| !ours.contains(name)).collect()
}

/// As they are sent.
const SENT: [(&str, &str); 5] = [
    ("content-type", "application/json"),
    (r"a\cb", r" 1:2\\\n"),
    ("reply-to", "/queue/r"),
    ("empty", ""),
    ("reply-to", "/queue/s"),
];

/// What the four behind the content type mean.
const MEANT: [(&str, &str); 4] = [
    ("a:b", " 1:2\\\n"),
    ("reply-to", "/queue/r"),
    ("empty", ""),
    ("reply-to", "/queue/s"),
];

#[test]
fn a_message_has_the_headers_of_its_sender() {
    let queue = unique("h");
    let (mut one, mut two) = (guest(), guest());
    one.sub("1", &queue, &[]);
    let mut old = Stomp::open(here());
    old.escapes = false;
    old.say("CONNECT", &[("login", "guest"), ("passcode", "guest")], "");
    assert_eq!(old.recv().value("version"), "1.0");
    old.sub("0", &queue, &[]);
    let own = [
        ("destination", queue.as_str()),
        ("receipt", "r"),
        ("qos", "1"),
    ];
    two.say("SEND", &[&own[..], &SENT].concat(), "x");
    two.expect("RECEIPT\nreceipt-id:r\n\n\0");
    let message = one.message("1", "x");
    assert_eq!(message.value("content-type"), "application/json");
    assert_eq!(of_the_sender(&message), MEANT);
    // 1.0 has no words for one of them.
    assert_eq!(of_the_sender(&old.message("0", "x")), MEANT[1..]);
}

#[test]
fn they_are_those_of_mqtt_5() {
    let queue = unique("h");
    let mut mqtt = broker().client(Version::V5, "mqtt");
    let mut stomp = guest();
    mqtt.sub(&queue, 1);
    let to = [("destination", queue.as_str())];
    stomp.say("SEND", &[&to[..], &SENT].concat(), "from stomp");
    let message = mqtt.expect(&queue, "from stomp");
    assert_eq!(
        message.props.content_type().as_deref(),
        Some("application/json")
    );
    let pairs = MEANT
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()));
    assert_eq!(message.props.user(), pairs.collect::<Vec<_>>());
    stomp.say("SEND", &to, "nothing more");
    assert_eq!(
        mqtt.expect(&queue, "nothing more").props,
        Default::default()
    );

    stomp.sub("1", &queue, &[]);
    let user = |name: &str, value: &str| Prop::User(name.into(), value.into());
    let message = Publish::new(&queue, "from mqtt")
        .prop(Prop::ContentType("image/png".into()))
        .prop(Prop::ResponseTopic("not for stomp".into()))
        .prop(user("a", "1\r\n"))
        .prop(user("subscription", "2"))
        .prop(user("content-length", "1"))
        .prop(user("a", "2"));
    mqtt.publish(message);
    let message = stomp.message("1", "from mqtt");
    assert_eq!(message.value("content-type"), "image/png");
    assert_eq!(of_the_sender(&message), [("a", "1\r\n"), ("a", "2")]);
}

/// They are there as long as the message is: retained, in a transaction, sent again, kept for a client that is away.
#[test]
fn they_stay_with_the_message() {
    let broker = Broker::start(config("").loaded(&["emq_retainer", PLUGIN]));
    let address = at(&broker);
    let kept = [("client-id", "kept"), ("clean-session", "false")];
    let mut away = Stomp::guest(address, &kept);
    away.sub("1", "t", &[("ack", "client-individual")]);
    let mut stomp = Stomp::guest(address, &[]);
    stomp.done("BEGIN", &[("transaction", "t")], "");
    let send = [
        ("destination", "t"),
        ("transaction", "t"),
        ("retain", "true"),
        ("x", "y"),
    ];
    stomp.done("SEND", &send, "body");
    stomp.done("COMMIT", &[("transaction", "t")], "");
    let first = away.message("1", "body");
    away.say("NACK", &[("id", first.value("ack"))], "");
    let again = away.message("1", "body");
    away.drop_connection();
    let mut back = Stomp::guest(address, &kept);
    back.sub("1", "t", &[("ack", "client-individual")]);
    let later = back.message("1", "body");
    back.done("ACK", &[("id", later.value("ack"))], "");
    stomp.sub("new", "t", &[]);
    let retained = stomp.message("new", "body");
    for message in [first, again, later, retained] {
        assert_eq!(of_the_sender(&message), [("x", "y")], "{message:?}");
    }
}

/// What they take counts in a transaction, as topic and body do.
#[test]
fn they_are_bounded() {
    let broker = Broker::start(config("stomp.frame.max_header_length = 60000\n"));
    let mut stomp = Stomp::guest(at(&broker), &[]);
    stomp.done("BEGIN", &[("transaction", "t")], "");
    let long = "x".repeat(59_000);
    let send = [("destination", "a"), ("transaction", "t"), ("long", &long)];
    // 17 of them are less than a megabyte, 18 are more.
    for _ in 0..17 {
        stomp.done("SEND", &send, "");
    }
    stomp.say("SEND", &send, "");
    let error = stomp.refused();
    assert!(error.text().contains("open transactions"), "{error:?}");
}
