//! Subscriptions, messages, ACK and NACK.

use super::*;
use emqttd_plugin_sdk::virtual_client::About;

#[test]
fn a_message_has_the_headers_of_the_original() {
    let mut client = Client::connected();
    let identifier = client.subscribe("id:sub-1\ndestination:st/+\nreceipt:r");
    assert_eq!(client.told(), "RECEIPT\nreceipt-id:r\n\n^");
    client.gets(&[identifier], 0, "st/in2", "from mqtt");
    client.gets(&[identifier], 0, "st/x:y", "");
    assert_eq!(
        client.told(),
        "MESSAGE\nsubscription:sub-1\nmessage-id:1\ndestination:st/in2\ncontent-type:text/plain\n\
         content-length:9\n\nfrom mqtt^MESSAGE\nsubscription:sub-1\nmessage-id:2\ndestination:st/x\\cy\n\
         content-type:text/plain\n\n^"
    );
}

#[test]
fn what_is_said_of_a_message_stands_in_its_headers() {
    let pairs = [
        ("foo", "1"),
        ("foo", "2"),
        ("subscription", "of another"),
        ("content-length", "99"),
        ("a:b", "c\n"),
        ("cr", "\r"),
        ("", "nameless"),
    ];
    let about = About {
        content_type: Some("a/b;c=d:e".into()),
        user_properties: pairs.map(|(n, v)| (n.into(), v.into())).into(),
    };
    for (version, head) in [
        (
            "1.2",
            "content-type:a/b;c=d\\ce\nack:1\nfoo:1\nfoo:2\na\\cb:c\\n\ncr:\\r\n",
        ),
        (
            "1.1",
            "content-type:a/b;c=d\\ce\nfoo:1\nfoo:2\na\\cb:c\\n\n",
        ),
        ("1.0", "content-type:a/b;c=d:e\nfoo:1\nfoo:2\n"),
    ] {
        let mut client = Client::connected_as(&format!("accept-version:{version}"));
        let identifier = client.subscribe("id:1\ndestination:t\nack:client");
        client.machine.event(Event::Message(Incoming {
            subscriptions: vec![identifier],
            about: Some(Box::new(about.clone())),
            ..incoming("t", "x")
        }));
        let frame = format!(
            "MESSAGE\nsubscription:1\nmessage-id:1\ndestination:t\n{head}content-length:1\n\nx^"
        );
        assert_eq!(client.told(), frame);
    }
}

#[test]
fn a_message_has_not_more_headers_than_clients_take() {
    let about = About {
        user_properties: vec![("many".into(), "x".into()); 9000],
        ..About::default()
    };
    let mut client = Client::connected();
    let identifier = client.subscribe("id:1\ndestination:t");
    client.machine.event(Event::Message(Incoming {
        subscriptions: vec![identifier],
        about: Some(Box::new(about)),
        ..incoming("t", "x")
    }));
    assert_eq!(client.told().matches("many:x").count(), 64);
}

#[test]
fn each_subscription_gets_its_own() {
    let mut client = Client::connected();
    let one = client.subscribe("id:1\ndestination:a/+");
    client.subscribe("id:2\ndestination:a/+");
    let three = client.subscribe("id:3\ndestination:a/#");
    client.gets(&[one, three], 0, "a/b", "x");
    let told = client.told();
    for id in 1..4 {
        let own = format!("MESSAGE\nsubscription:{id}\n");
        assert_eq!(told.matches(&own).count(), 1, "{told}");
    }
    client.gets(&[three], 0, "a/b", "only the third, by a group");
    assert_eq!(client.told().matches("MESSAGE").count(), 1);
}

#[test]
fn a_subscription_that_is_refused_is_none() {
    let mut client = Client::connected();
    client.send("SUBSCRIBE\nid:1\ndestination:a\nreceipt:r\n\n^");
    assert!(matches!(client.ask(), Some(Ask::Subscribe(_))));
    client.machine.subscribed(Err("not authorized".into()));
    client.fails("Not subscribed: not authorized", Some("r"));
}

#[test]
fn an_id_may_be_said_again_and_not_used_again() {
    let mut client = Client::connected();
    client.subscribe("id:1\ndestination:a");
    client.send("SUBSCRIBE\nid:1\ndestination:a\nreceipt:r\n\n^");
    client.quiet();
    assert_eq!(client.told(), "RECEIPT\nreceipt-id:r\n\n^");
    client.send("SUBSCRIBE\nid:1\ndestination:b\nreceipt:r\n\n^");
    client.fails("Subscription 1 exists already", Some("r"));
}

#[test]
fn unsubscribe_goes_to_the_broker_with_the_last_one() {
    let mut client = Client::connected();
    client.subscribe("id:1\ndestination:a");
    client.subscribe("id:2\ndestination:a");
    client.send("UNSUBSCRIBE\nid:1\nreceipt:r1\n\n^UNSUBSCRIBE\nid:9\nreceipt:r9\n\n^");
    client.quiet();
    assert_eq!(
        client.told(),
        "RECEIPT\nreceipt-id:r1\n\n^RECEIPT\nreceipt-id:r9\n\n^"
    );
    client.send("UNSUBSCRIBE\nid:2\nreceipt:r2\n\n^");
    assert_eq!(client.ask(), Some(Ask::Unsubscribe("a".into())));
    // What is on its way is for nobody.
    client.gets(&[], 5, "a", "late");
    client.machine.unsubscribed(Ok(()));
    assert_eq!(client.told(), "RECEIPT\nreceipt-id:r2\n\n^");
    assert_eq!(client.ask(), Some(Ask::Ack(5)));
}

#[test]
fn version_1_0_needs_no_id() {
    let mut client = Client::connected_as("login:guest\npasscode:guest");
    let identifier = client.subscribe("destination:a\nack:client");
    client.gets(&[identifier], 3, "a", "x");
    assert_eq!(
        client.told(),
        "MESSAGE\nmessage-id:1\ndestination:a\ncontent-type:text/plain\ncontent-length:1\n\nx^"
    );
    client.send("ACK\nmessage-id:1\n\n^");
    assert_eq!(client.ask(), Some(Ask::Ack(3)));
    client.send("UNSUBSCRIBE\ndestination:a\n\n^");
    assert_eq!(client.ask(), Some(Ask::Unsubscribe("a".into())));
}

fn message_of(told: &str, header: &str) -> String {
    let start = told.find(&format!("\n{header}:")).expect("the header") + header.len() + 2;
    told[start..].lines().next().unwrap().to_string()
}

#[test]
fn in_mode_auto_a_message_is_acknowledged_when_it_is_written() {
    let mut client = Client::connected();
    let identifier = client.subscribe("id:1\ndestination:a\nqos:1");
    client.gets(&[identifier], 7, "a", "x");
    client.quiet();
    let (_, written) = client.machine.take_output(Vec::new());
    assert_eq!(written, [7]);
    client.send("ACK\nid:1\nreceipt:r\n\n^");
    client.quiet();
    assert_eq!(client.told(), "RECEIPT\nreceipt-id:r\n\n^");
}

#[test]
fn in_mode_client_ack_is_for_all_before() {
    let mut client = Client::connected();
    let identifier = client.subscribe("id:1\ndestination:a\nack:client");
    for id in 1..4 {
        client.gets(&[identifier], id, "a", "x");
    }
    let (out, written) = client.machine.take_output(Vec::new());
    assert_eq!(written, [0; 0]);
    let told = String::from_utf8(out).unwrap();
    assert!(
        told.contains("content-type:text/plain\nack:1\ncontent-length:1\n"),
        "{told}"
    );
    client.send("ACK\nid:2\n\n^");
    assert_eq!(client.ask(), Some(Ask::Ack(1)));
    assert_eq!(client.ask(), Some(Ask::Ack(2)));
    client.quiet();
}

#[test]
fn version_1_1_names_message_and_subscription() {
    let mut client = Client::connected_as("accept-version:1.1");
    let identifier = client.subscribe("id:1\ndestination:a\nack:client-individual");
    client.gets(&[identifier], 1, "a", "x");
    client.gets(&[identifier], 2, "a", "y");
    assert!(!client.told().contains("\nack:"));
    client.send("ACK\nmessage-id:2\nsubscription:1\n\n^");
    assert_eq!(client.ask(), Some(Ask::Ack(2)));
    client.quiet();
    client.send("ACK\nmessage-id:1\nsubscription:2\n\n^");
    client.fails("Message 1 is of another subscription", None);
}

#[test]
fn what_is_refused_comes_again_or_never() {
    let mut client = Client::connected();
    let identifier = client.subscribe("id:1\ndestination:a\nack:client-individual");
    client.gets(&[identifier], 1, "a", "x");
    client.told();
    client.send("NACK\nid:1\n\n^");
    client.quiet();
    client.machine.message_again();
    let told = client.told();
    assert!(told.contains("redelivered:true\n"), "{told}");
    assert_eq!(message_of(&told, "ack"), "2");
    client.send("NACK\nid:2\nrequeue:false\n\n^");
    assert_eq!(client.ask(), Some(Ask::Ack(1)));
    client.machine.message_again();
    assert_eq!(client.told(), "");

    let mut client = Client::new(&[("stomp.nack", "drop")]).connect("accept-version:1.2");
    let identifier = client.subscribe("id:1\ndestination:a\nack:client");
    client.gets(&[identifier], 1, "a", "x");
    client.send("NACK\nid:1\n\n^");
    assert_eq!(client.ask(), Some(Ask::Ack(1)));
}

#[test]
fn what_the_broker_repeats_is_redelivered() {
    let mut client = Client::connected();
    client.subscribe("id:1\ndestination:a\nack:client");
    client.machine.event(Event::Message(Incoming {
        id: 1,
        dup: true,
        ..incoming("a", "x")
    }));
    assert!(client.told().contains("redelivered:true\n"));
}

#[test]
fn unsubscribing_gives_up_what_was_not_acknowledged() {
    let mut client = Client::connected();
    let identifier = client.subscribe("id:1\ndestination:a\nack:client");
    client.gets(&[identifier], 1, "a", "x");
    client.send("UNSUBSCRIBE\nid:1\n\n^");
    assert_eq!(client.ask(), Some(Ask::Ack(1)));
    assert_eq!(client.ask(), Some(Ask::Unsubscribe("a".into())));
}

#[test]
fn a_kept_session_waits_for_its_subscriptions() {
    let mut client = Client::connected_as("accept-version:1.2\nclient-id:c\nclean-session:false");
    // As it named it before; here it is not known yet.
    client.gets(&[99], 1, "a/b", "x");
    client.gets(&[], 0, "a/b", "nobody's");
    assert_eq!(client.told(), "");
    client.quiet();
    client.subscribe("id:1\ndestination:c");
    assert_eq!(client.told(), "");
    client.subscribe("id:2\ndestination:a/+\nack:client");
    let told = client.told();
    assert_eq!(message_of(&told, "subscription"), "2");
    client.send("ACK\nid:1\n\n^");
    assert_eq!(client.ask(), Some(Ask::Ack(1)));
    // What an earlier connection was subscribed to can be left.
    client.gets(&[99], 2, "old", "x");
    client.send("UNSUBSCRIBE\ndestination:old\nreceipt:r\n\n^");
    assert_eq!(client.ask(), Some(Ask::Unsubscribe("old".into())));
    client.machine.unsubscribed(Ok(()));
    assert_eq!(client.ask(), Some(Ask::Ack(2)));
    assert_eq!(client.told(), "RECEIPT\nreceipt-id:r\n\n^");
}

/// The ids of the subscriptions that are told, in the order in which they are.
fn ids_of(told: &str) -> Vec<usize> {
    let lines = told.lines();
    let ids = lines.filter_map(|line| line.strip_prefix("subscription:"));
    ids.map(|id| id.parse().unwrap()).collect()
}

/// Takes all that there is, as a client does that reads: the ids that are told, and what is acknowledged then.
fn read_all(client: &mut Client, most: usize) -> (Vec<usize>, Vec<u16>) {
    let (mut ids, mut acknowledged) = (Vec::new(), Vec::new());
    while client.machine.has_output() {
        assert_eq!(acknowledged, [0; 0]);
        let (out, written) = client.machine.take_output(Vec::new());
        assert!(out.len() < most, "{} bytes", out.len());
        ids.extend(ids_of(&String::from_utf8(out).unwrap()));
        acknowledged.extend(written);
        client.machine.spread();
    }
    (ids, acknowledged)
}

/// One PUBLISH must not become as many copies in memory as a client has subscriptions.
#[test]
fn a_message_for_many_subscriptions_comes_as_fast_as_it_is_read() {
    let mut client = Client::connected();
    let mut identifier = 0;
    for id in 0..100 {
        identifier = client.subscribe(&format!("id:{id}\ndestination:a\nqos:1"));
    }
    let body = "x".repeat(10_000);
    client.gets(&[identifier], 7, "a", &body);
    assert!(!client.machine.has_room());
    client.send("UNSUBSCRIBE\nid:99\n\n^");
    let (ids, acknowledged) = read_all(&mut client, OUTPUT + 11_000);
    assert_eq!(ids, (0..99).collect::<Vec<_>>());
    assert_eq!(acknowledged, [7]);
    assert!(client.machine.has_room());
}

#[test]
fn a_message_is_acknowledged_when_all_have_had_it() {
    let mut client = Client::connected();
    let mut identifier = 0;
    for id in 0..20 {
        identifier = client.subscribe(&format!("id:{id}\ndestination:a\nack:client"));
    }
    client.gets(&[identifier], 7, "a", &"x".repeat(10_000));
    // All that have been told say so, and the others have not been told.
    let told = ids_of(&client.told()).len();
    assert!(told < 20);
    for number in 1..=told {
        client.send(&format!("ACK\nid:{number}\n\n^"));
    }
    client.quiet();
    assert_eq!(read_all(&mut client, OUTPUT + 11_000).0.len(), 0);
    client.machine.spread();
    while client.machine.has_output() {
        client.told();
        client.machine.spread();
    }
    for number in told + 1..=20 {
        client.quiet();
        client.send(&format!("ACK\nid:{number}\n\n^"));
    }
    assert_eq!(client.ask(), Some(Ask::Ack(7)));
    client.quiet();
}

#[test]
fn what_a_kept_session_has_comes_as_fast_as_it_is_read() {
    let mut client = Client::connected_as("accept-version:1.2\nclient-id:c\nclean-session:false");
    for id in 1..=30 {
        client.gets(&[], id, "a", &"x".repeat(10_000));
    }
    client.subscribe("id:5\ndestination:a\nack:client");
    assert!(!client.machine.has_room());
    let (ids, _) = read_all(&mut client, OUTPUT + 11_000);
    assert_eq!(ids, [5; 30]);
}
