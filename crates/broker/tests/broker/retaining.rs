//! Retained messages are switched on, off, and to other settings while clients publish and subscribe.

use crate::net::{Net, retainer};
use crate::packets::*;
use emqttd_mqtt::Version;
use emqttd_plugin_sdk::RetainSettings;

fn topics(net: &mut Net, name: &str, filter: &str) -> Vec<String> {
    let reader = net.connect(&Connect::v5(name));
    net.take(reader);
    net.subscribe(reader, filter, 2);
    let got = net.messages(reader);
    assert!(got.iter().all(|m| m.retain));
    net.lose(reader);
    got.into_iter().map(|m| m.topic).collect()
}

#[test]
fn off_keeps_what_is_there_and_sends_none() {
    for shards in [1, 2] {
        let mut net = Net::new(shards);
        let publisher = net.connect(&Connect::v5("publisher"));
        let live = net.connect(&Connect::v3("live"));
        net.subscribe(live, "#", 0);
        net.retain(publisher, "before", "1", 1);
        net.broker.retain(None).unwrap();
        // It was there before: nobody told it that nothing is retained, and its messages go on.
        net.retain(publisher, "during", "2", 1);
        net.retain(publisher, "before", "", 1);
        assert_eq!(topics(&mut net, "a", "#"), [""; 0]);
        let live_ones: Vec<String> = net.messages(live).into_iter().map(|m| m.text()).collect();
        assert_eq!(live_ones, ["1", "2", ""]);
        net.broker.retain(Some(retainer())).unwrap();
        net.retain(publisher, "after", "3", 1);
        assert_eq!(topics(&mut net, "b", "#"), ["before", "after"]);
        assert_eq!(net.broker.retained_topics(), ["before", "after"]);
    }
}

/// [MQTT-3.2.2-13], [MQTT-3.2.2-14]
#[test]
fn mqtt_5_clients_are_told_and_held_to_it() {
    let mut net = Net::new(2);
    net.broker.retain(None).unwrap();
    let will = Connect::v5("will").will("w", "x", 0, true);
    let client = net.open(0);
    let got = net.connect_on(client, &will);
    assert!(
        matches!(&got[..], [Got::ConnAck { code: 0x9A, .. }]),
        "{got:?}"
    );
    assert!(net.closed(client).is_some());
    let client = net.open(0);
    let got = net.connect_on(client, &Connect::v5("told"));
    let Some(Got::ConnAck { properties, .. }) = got.first() else {
        panic!("{got:?}")
    };
    let none_available = [0x25, 0];
    assert!(
        properties.windows(2).any(|two| two == none_available),
        "{properties:?}"
    );
    let old = net.connect(&Connect::v3("old").will("w", "x", 0, true));
    // It is not said again when it begins to be true, and nobody who believes it is in the wrong.
    net.broker.retain(Some(retainer())).unwrap();
    net.retain(client, "t", "x", 1);
    assert_eq!(net.closed(client), None);
    assert_eq!(net.stat("retained/count"), 1);
    net.broker.retain(None).unwrap();
    net.put_publish(client, "t", "x", 1, true);
    net.run();
    let got = net.take(client);
    assert!(matches!(got.last(), Some(Got::Disconnect(0x9A))), "{got:?}");
    net.put_publish(old, "t", "x", 1, true);
    net.run();
    assert_eq!(net.closed(old), None);
}

#[test]
fn clean_takes_all_away() {
    for shards in [1, 3] {
        let mut net = Net::new(shards);
        let publisher = net.connect(&Connect::v3("publisher"));
        for i in 0..2500 {
            net.put_publish(publisher, &format!("a/{i}"), "x", 0, true);
        }
        net.run();
        assert_eq!(net.admin(|broker| broker.retained_topics().len()), 2500);
        assert_eq!(net.admin(|broker| broker.retained_clean()), 2500);
        assert_eq!(net.stat("retained/count"), 0);
        assert_eq!(net.admin(|broker| broker.retained_clean()), 0);
        net.retain(publisher, "a/1", "y", 1);
        assert_eq!(topics(&mut net, "a", "a/#"), ["a/1"]);
    }
}

/// A subscriber to everything does not keep the loop from others: each round has an end.
#[test]
fn rounds_stay_short_while_much_is_sent() {
    const N: usize = 60_000;
    let mut net = Net::new(1);
    let publisher = net.connect(&Connect::v3("publisher"));
    for i in 0..N {
        net.put_publish(
            publisher,
            &format!("r/{}/{i}", i % 100),
            &i.to_string(),
            0,
            true,
        );
    }
    net.run();
    let readers: Vec<_> = (0..3)
        .map(|i| net.connect(&Connect::v3(&format!("reader{i}"))))
        .collect();
    for reader in &readers {
        net.take(*reader);
        net.put(*reader, &subscribe(Version::V311, 1, &[("#", 0)]));
    }
    let mut counts = [0; 3];
    let mut rounds = 0;
    while counts != [N; 3] {
        assert!(net.round(), "{counts:?}");
        rounds += 1;
        let before: usize = counts.iter().sum();
        for (count, reader) in counts.iter_mut().zip(&readers) {
            for message in net.messages(*reader) {
                assert_eq!(message.text(), count.to_string());
                *count += 1;
            }
        }
        let now: usize = counts.iter().sum();
        assert!(now - before <= 10_000, "{} in one round", now - before);
        let (least, most) = (counts.iter().min(), counts.iter().max());
        assert!(most.unwrap() - least.unwrap() <= 30_000, "{counts:?}");
    }
    assert!(rounds >= 3 * N / 10_000);
}

#[test]
fn a_changed_limit_holds_from_then_on() {
    let mut net = Net::new(2);
    let publisher = net.connect(&Connect::v3("publisher"));
    for topic in ["a", "b", "c"] {
        net.retain(publisher, topic, "123456", 1);
    }
    let settings = RetainSettings {
        max_message_num: 3,
        max_payload_size: 5,
        ..retainer()
    };
    net.broker.retain(Some(settings)).unwrap();
    net.retain(publisher, "d", "1", 1);
    net.retain(publisher, "a", "123456", 1);
    net.retain(publisher, "b", "12345", 1);
    assert_eq!(topics(&mut net, "x", "#"), ["a", "c", "b"]);
    assert_eq!(net.metric("messages/dropped/retain_full"), 2);
}
