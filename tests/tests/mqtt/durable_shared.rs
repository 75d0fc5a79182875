//! Shared groups with members that last, over restarts.

use emqttd_tests::packet::AckKind;
use emqttd_tests::{Broker, Client, Connect, End, Publish, Version, unique};

use crate::durable::{
    ENDS, again, config, each, figure, finish, leave, nothing_owed, settle, settled, store_line,
};
use crate::shared::collect;

/// Messages that wait in a group of members that are away; each goes to one of them.
#[test]
fn messages_wait_in_a_group() {
    each(config, |broker, end, v| {
        for prefix in ["$share/group/", "$queue/"] {
            let topic = unique("wait");
            let filter = format!("{prefix}{topic}");
            let members = [leave(broker, v, &filter, 2), leave(broker, v, &filter, 1)];
            let mut publisher = broker.client(v, "pub");
            for i in 0..40 {
                publisher.pub_(&topic, 1 + i % 2, &i.to_string());
            }
            broker.restart(end);
            assert_eq!(figure(broker, "messages_owed"), 40, "{prefix}");
            let mut publisher = broker.client(v, "pub");
            publisher.pub_(&topic, 1, "40");
            let mut clients = members.map(|connect| again(broker, &connect));
            let mut all: Vec<usize> = collect(&mut clients, 41)
                .concat()
                .iter()
                .map(|payload| payload.parse().unwrap())
                .collect();
            all.sort_unstable();
            assert_eq!(all, (0..41).collect::<Vec<_>>(), "{prefix}");
            for client in &mut clients {
                finish(client);
                client.nothing_from(&mut publisher);
            }
            drop(clients);
            nothing_owed(broker);
        }
    });
}

/// One member gets them in the order of their publication.
#[test]
fn group_keeps_the_order() {
    each(config, |broker, end, v| {
        let topic = unique("order");
        let member = leave(broker, v, &format!("$share/g/{topic}"), 1);
        let mut publisher = broker.client(v, "pub");
        for i in 0..300 {
            publisher.pub_(&topic, 1, &i.to_string());
        }
        broker.restart(end);
        let mut client = again(broker, &member);
        for i in 0..300 {
            client.expect(&topic, &i.to_string());
        }
        client.quiet();
    });
}

/// What a member that lasts has in flight stays with it.
#[test]
fn in_flight_to_a_member_stays_with_it() {
    each(config, |broker, end, v| {
        let topic = unique("flight");
        let filter = format!("$share/g/{topic}");
        let holder = Connect::persistent(v, &unique("holder"));
        let mut client = broker.open(&holder);
        client.sub(&filter, 2);
        let mut publisher = broker.client(v, "pub");
        for (payload, qos) in [("one", 1), ("two", 2), ("released", 2)] {
            publisher.pub_(&topic, qos, payload);
        }
        let got: Vec<_> = (0..3).map(|_| client.recv_publish()).collect();
        let released = got[2].id.unwrap();
        client.send_ack(AckKind::Pubrec, released);
        client.ack(AckKind::Pubrel, released);
        settle(&mut client);
        let other = leave(broker, v, &filter, 2);
        broker.restart(end);
        drop(client);
        let mut publisher = broker.client(v, "pub");
        let mut other = again(broker, &other);
        other.nothing_from(&mut publisher);
        let mut client = again(broker, &holder);
        for message in &got[..2] {
            let repeated = client.recv_publish();
            assert!(repeated.dup, "{repeated:?}");
            assert_eq!(
                (&repeated.payload, repeated.id, repeated.qos),
                (&message.payload, message.id, message.qos)
            );
        }
        client.ack(AckKind::Pubrel, released);
        client.send_ack(AckKind::Pubcomp, released);
        for message in &got[..2] {
            client.acknowledge(message);
        }
        settle(&mut client);
        other.nothing_from(&mut publisher);
        broker.restart(end);
        again(broker, &holder).quiet();
        nothing_owed(broker);
    });
}

/// What a clean member had in flight at QoS 1 goes to another; at QoS 2 it may have got there, so it goes to
/// nobody else [MQTT-4.8.2-5].
#[test]
fn in_flight_to_a_clean_member_goes_to_another() {
    each(config, |broker, end, v| {
        let topic = unique("clean");
        let filter = format!("$share/g/{topic}");
        let lasting = leave(broker, v, &filter, 2);
        let mut clean = broker.open(&Connect::new(v, &unique("clean")));
        clean.sub(&filter, 2);
        let mut publisher = broker.client(v, "pub");
        for (payload, qos) in [("one", 1), ("two", 2), ("done", 1)] {
            publisher.pub_(&topic, qos, payload);
        }
        let got: Vec<_> = (0..3).map(|_| clean.recv_publish()).collect();
        clean.send_ack(AckKind::Puback, got[2].id.unwrap());
        clean.ping();
        settled(broker);
        broker.restart(end);
        let mut client = again(broker, &lasting);
        let message = client.expect(&topic, "one");
        assert!(!message.dup, "it is new to this client");
        let mut publisher = broker.client(v, "pub");
        client.nothing_from(&mut publisher);
        settle(&mut client);
        nothing_owed(broker);
    });
}

/// A session that ends leaves what it had to the rest of its group, also after a restart.
#[test]
fn member_that_ends_after_a_restart_passes_on() {
    each(config, |broker, end, v| {
        let topic = unique("ends");
        let filter = format!("$share/g/{topic}");
        let holder = Connect::persistent(v, &unique("holder"));
        let mut client = broker.open(&holder);
        client.sub(&filter, 2);
        let mut publisher = broker.client(v, "pub");
        publisher.pub_(&topic, 1, "one");
        publisher.pub_(&topic, 2, "two");
        client.recv_publish();
        client.recv_publish();
        settle(&mut client);
        let other = leave(broker, v, &filter, 2);
        broker.restart(end);
        broker.open(&holder.clean(true)).disconnect();
        let mut client = again(broker, &other);
        client.expect(&topic, "one");
        client.nothing_from(&mut broker.client(v, "pub"));
        settle(&mut client);
        nothing_owed(broker);
    });
}

/// A group whose last member that lasts has left is forgotten, with what waited.
#[test]
fn group_ends_with_its_last_member() {
    each(config, |broker, end, v| {
        let topic = unique("last");
        let filter = format!("$share/g/{topic}");
        let member = leave(broker, v, &filter, 1);
        broker.client(v, "pub").pub_(&topic, 1, "x");
        broker.restart(end);
        broker.open(&member.clone().clean(true)).disconnect();
        nothing_owed(broker);
        broker.restart(end);
        let mut client = broker.open(&member);
        client.sub(&filter, 1);
        let mut publisher = broker.client(v, "pub");
        client.nothing_from(&mut publisher);
        publisher.pub_(&topic, 1, "y");
        client.expect(&topic, "y");
    });
}

/// A group of clean members only costs the disk nothing.
#[test]
fn clean_groups_are_not_stored() {
    let broker = Broker::start(config());
    let topic = unique("cleangroup");
    let mut members: Vec<Client> = (0..2)
        .map(|_| broker.client(Version::V5, "member"))
        .collect();
    for member in &mut members {
        member.sub(&format!("$share/g/{topic}"), 1);
    }
    let before = store_line(&broker, "position");
    let mut publisher = broker.client(Version::V5, "pub");
    for i in 0..10 {
        publisher.pub_(&topic, 1, &i.to_string());
    }
    collect(&mut members, 10);
    assert_eq!(store_line(&broker, "position"), before);
}

/// Plain subscriptions, two groups and a message that all of them match: each is owed it once.
#[test]
fn one_message_for_sessions_and_groups() {
    for end in ENDS {
        let mut broker = Broker::start(config());
        let topic = unique("all");
        let receivers = [
            leave(&broker, Version::V5, &topic, 2),
            leave(&broker, Version::V311, &format!("{topic}/#"), 1),
            leave(&broker, Version::V5, &format!("$share/a/{topic}"), 2),
            leave(&broker, Version::V311, &format!("$share/b/{topic}/#"), 2),
            leave(&broker, Version::V311, &format!("$queue/{topic}"), 0),
        ];
        let mut publisher = broker.client(Version::V5, "pub");
        publisher.publish(Publish::new(&topic, "x").qos(2));
        broker.restart(end);
        let mut publisher = broker.client(Version::V5, "pub");
        for (connect, qos) in receivers.iter().zip([2, 1, 2, 2]) {
            let mut client = again(&broker, connect);
            assert_eq!(client.expect(&topic, "x").qos, qos);
            client.nothing_from(&mut publisher);
        }
        // Stored as it was published, and delivered as it was subscribed.
        let mut client = again(&broker, &receivers[4]);
        assert_eq!(client.expect(&topic, "x").qos, 0);
        client.nothing_from(&mut publisher);
        if end == End::Kill {
            nothing_owed(&broker);
        }
    }
}
