//! Topic aliases, both ways.

use std::collections::HashMap;

use emqttd_tests::packet::AckKind;
use emqttd_tests::{Client, Connect, Packet, Prop, Publish, Version, unique};

use crate::broker;

const V: Version = Version::V5;

fn aliased(topic: &str, payload: &str, alias: u16) -> Publish {
    Publish::new(topic, payload).prop(Prop::TopicAlias(alias))
}

/// [MQTT-3.3.2-12]: all values up to the told maximum are taken.
#[test]
fn mqtt5_3_3_2_12_aliases_up_to_the_maximum() {
    let base = unique("alias");
    let (mut publisher, _, props) = broker().resume(&Connect::new(V, &unique("alias")));
    let maximum = props
        .topic_alias_maximum()
        .expect("the broker takes aliases");
    assert!(maximum > 0);
    let mut client = broker().client(V, "sub");
    client.sub(&format!("{base}/#"), 2);
    for alias in 1..=maximum {
        publisher.publish(aliased(&format!("{base}/{alias}"), "named", alias));
    }
    for alias in 1..=maximum {
        publisher.publish(aliased("", "by alias", alias).qos((alias % 3) as u8));
    }
    for alias in 1..=maximum {
        client.expect(&format!("{base}/{alias}"), "named");
    }
    for alias in 1..=maximum {
        let message = client.expect(&format!("{base}/{alias}"), "by alias");
        // The alias was for one connection: it is not passed on.
        assert_eq!(message.props.topic_alias(), None);
    }
}

#[test]
fn mqtt5_3_3_2_12_alias_can_be_given_a_new_topic() {
    let base = unique("realias");
    let mut publisher = broker().client(V, "pub");
    let mut client = broker().client(V, "sub");
    client.sub(&format!("{base}/#"), 0);
    publisher.publish(aliased(&format!("{base}/a"), "1", 1));
    publisher.publish(aliased("", "2", 1));
    publisher.publish(aliased(&format!("{base}/b"), "3", 1));
    publisher.publish(aliased("", "4", 1));
    for (topic, payload) in [("a", "1"), ("a", "2"), ("b", "3"), ("b", "4")] {
        client.expect(&format!("{base}/{topic}"), payload);
    }
}

#[test]
fn mqtt5_3_3_2_8_alias_0_closes() {
    let mut client = broker().client(V, "alias0");
    client.send(&aliased("t", "x", 0).encode(V));
    client.expect_closed(&[0x94]);
}

#[test]
fn mqtt5_3_2_2_17_alias_beyond_the_maximum_closes() {
    let (mut client, _, props) = broker().resume(&Connect::new(V, &unique("beyond")));
    let maximum = props.topic_alias_maximum().unwrap_or(0);
    client.send(&aliased("t", "x", maximum + 1).encode(V));
    client.expect_closed(&[0x94]);
}

#[test]
fn mqtt5_3_3_2_12_unknown_alias_closes() {
    let mut client = broker().client(V, "unknown");
    client.send(&aliased("", "x", 1).encode(V));
    client.expect_closed(&[0x82]);
}

#[test]
fn mqtt5_3_3_2_1_empty_topic_without_alias_closes() {
    let mut client = broker().client(V, "empty");
    client.send(&Publish::new("", "x").encode(V));
    client.expect_closed(&[0x82, 0x90]);
}

/// Aliases end with the connection, also when the session goes on.
#[test]
fn mqtt5_3_3_2_7_aliases_end_with_the_connection() {
    let topic = unique("ends");
    let connect = Connect::persistent(V, &unique("ends"));
    let mut client = broker().open(&connect);
    client.publish(aliased(&topic, "x", 1));
    client.disconnect();
    let mut client = broker().open(&connect);
    client.send(&aliased("", "x", 1).encode(V));
    client.expect_closed(&[0x82]);
}

/// The next message as a client that keeps aliases sees it: topic, payload, and whether the topic was left
/// out.
#[track_caller]
fn read(
    client: &mut Client,
    names: &mut HashMap<u16, String>,
    maximum: u16,
) -> (String, String, bool) {
    let Packet::Publish {
        topic,
        props,
        payload,
        id,
        ..
    } = client.recv()
    else {
        panic!("no PUBLISH")
    };
    if let Some(id) = id {
        client.send_ack(AckKind::Puback, id);
    }
    let payload = String::from_utf8(payload).unwrap();
    let Some(alias) = props.topic_alias() else {
        return (topic, payload, false);
    };
    // [MQTT-3.3.2-11], [MQTT-3.1.2-26]
    assert!((1..=maximum).contains(&alias), "alias {alias}");
    let left_out = topic.is_empty();
    if !left_out {
        names.insert(alias, topic);
    }
    (
        names
            .get(&alias)
            .expect("an alias that was never given")
            .clone(),
        payload,
        left_out,
    )
}

/// [MQTT-3.3.2-11]: the broker uses aliases for a client that allows them, never beyond what it allows.
#[test]
fn mqtt5_3_1_2_26_server_uses_aliases() {
    let base = unique("out");
    let mut client =
        broker().open(&Connect::new(V, &unique("out")).prop(Prop::TopicAliasMaximum(3)));
    client.sub(&format!("{base}/#"), 1);
    let mut publisher = broker().client(V, "pub");
    let mut names = HashMap::new();
    let mut saved = 0;
    for round in 0..5 {
        for topic in 0..10 {
            let topic = format!("{base}/{topic}");
            publisher.pub_(&topic, round % 2, &topic);
            let (name, payload, left_out) = read(&mut client, &mut names, 3);
            assert_eq!((name, payload), (topic.clone(), topic));
            saved += usize::from(left_out);
        }
    }
    for _ in 0..10 {
        publisher.pub_(&format!("{base}/same"), 0, "x");
        saved += usize::from(read(&mut client, &mut names, 3).2);
    }
    assert!(saved > 0, "the broker never left a topic out");
}

#[test]
fn mqtt5_3_1_2_27_no_aliases_unless_allowed() {
    for maximum in [None, Some(0)] {
        let topic = unique("noalias");
        let mut connect = Connect::new(V, &unique("noalias"));
        if let Some(maximum) = maximum {
            connect = connect.prop(Prop::TopicAliasMaximum(maximum));
        }
        let mut client = broker().open(&connect);
        client.sub(&topic, 1);
        let mut publisher = broker().client(V, "pub");
        for _ in 0..5 {
            publisher.pub_(&topic, 1, "x");
            assert_eq!(client.expect(&topic, "x").props.topic_alias(), None);
        }
    }
}

/// A resent PUBLISH goes to a connection that knows no aliases yet.
#[test]
fn mqtt5_3_3_2_7_resent_messages_name_their_topic() {
    let topic = unique("resent");
    let connect = Connect::persistent(V, &unique("resent")).prop(Prop::TopicAliasMaximum(5));
    let mut client = broker().open(&connect);
    client.sub(&topic, 1);
    let mut publisher = broker().client(V, "pub");
    for i in 0..3 {
        publisher.pub_(&topic, 1, &i.to_string());
    }
    for _ in 0..3 {
        let Packet::Publish { .. } = client.recv() else {
            panic!("no PUBLISH")
        };
    }
    client.drop_connection();
    let mut client = broker().open(&connect);
    let mut names = HashMap::new();
    for i in 0..3 {
        let (name, payload, _) = read(&mut client, &mut names, 5);
        assert_eq!((name, payload), (topic.clone(), i.to_string()));
    }
}
