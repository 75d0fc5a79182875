//! Messages, denials and take-overs across protocols: MQTT 3.1.1 and 5, STOMP, SockJS, MQTT-SN, CoAP.

mod speaker;

use emqttd_tests::{Broker, Config};
use speaker::{PROTOCOLS, open};

use crate::common::{shown, wait_for_client};

/// A broker that speaks them all.
fn broker(config: Config) -> Broker {
    Broker::start(
        config
            .plugin_conf("emq_stomp", "stomp.listener = 127.0.0.1:0\n")
            .plugin_conf("emq_sockjs", "sockjs.listener = 127.0.0.1:0\n")
            .plugin_conf("emq_sn", "mqtt.sn.port = 127.0.0.1:0\n")
            .plugin_conf("emq_coap", "coap.port = 127.0.0.1:0\n")
            .loaded(&["emq_stomp", "emq_sockjs", "emq_sn", "emq_coap"]),
    )
}

/// From each to each, there and back.
#[test]
fn messages_cross_in_every_direction() {
    let broker = broker(Config::new());
    for from in PROTOCOLS {
        for to in PROTOCOLS {
            let topic = format!("cross/{from}/{to}");
            let mut receiver = open(to, &broker, &format!("to-{from}-{to}"));
            receiver.subscribe(&topic);
            let mut sender = open(from, &broker, &format!("from-{from}-{to}"));
            for payload in ["first", "second", "with \u{e4} and \u{1f980}"] {
                sender.publish(&topic, payload);
                receiver.receives(&topic, payload);
            }
        }
    }
}

/// Wildcards bring the topic that the message really has.
#[test]
fn wildcards_bring_the_real_topic() {
    let broker = broker(Config::new());
    let mut sender = open("mqtt5", &broker, "wild-sender");
    for to in PROTOCOLS {
        let mut receiver = open(to, &broker, &format!("wild-{to}"));
        receiver.subscribe(&format!("wild/{to}/+/#"));
        for topic in [format!("wild/{to}/a"), format!("wild/{to}/b/c")] {
            sender.publish(&topic, &topic);
            receiver.receives(&topic, &topic);
        }
    }
}

/// Who comes under the client identifier of another gets its place, whatever both speak.
#[test]
fn take_over_across_protocols() {
    let broker = broker(Config::new());
    let mut mqtt = open("mqtt5", &broker, "bystander");
    for first in PROTOCOLS {
        for second in PROTOCOLS {
            let id = format!("taken-{first}-{second}");
            let mut old = open(first, &broker, &id);
            wait_for_client(&broker, &id);
            let mut new = open(second, &broker, &id);
            old.is_displaced();
            let (down, up) = (format!("down/{id}"), format!("up/{id}"));
            new.subscribe(&down);
            mqtt.publish(&down, "for it");
            new.receives(&down, "for it");
            mqtt.subscribe(&up);
            new.publish(&up, "of it");
            mqtt.receives(&up, "of it");
            let (_, all) = broker.ctl(&["clients", "list"]);
            let rows = all.matches(&format!("Client({id},")).count();
            assert_eq!(rows, 1, "{id}: {all}");
        }
    }
}

/// The ACL is asked about each of them, by client identifier.
#[test]
fn denials_hold_for_all() {
    let acl = "{deny, all, pubsub, [\"forbidden/#\"]}.\n{allow, all}.\n";
    let broker = broker(Config::new().acl(acl));
    let mut heard = crate::common::watcher(&broker, "#", 1);
    for protocol in PROTOCOLS {
        let mut speaker = open(protocol, &broker, &format!("deny-{protocol}"));
        speaker.is_denied_subscribing("forbidden/in");
        // STOMP closes after each ERROR.
        let mut speaker = open(protocol, &broker, &format!("deny-{protocol}"));
        speaker.is_denied_publishing("forbidden/out");
        let mut speaker = open(protocol, &broker, &format!("deny-{protocol}"));
        speaker.publish("allowed", protocol);
        heard.expect("allowed", protocol);
    }
}

/// All of them stand in the lists, and `clients kick` ends them.
#[test]
fn all_are_shown_and_can_be_kicked() {
    let broker = broker(Config::new());
    for protocol in PROTOCOLS {
        let id = format!("kick-{protocol}");
        let mut speaker = open(protocol, &broker, &id);
        let row = wait_for_client(&broker, &id);
        assert!(row.contains("peername=127.0.0.1:"), "{row}");
        let (_, text) = broker.ctl(&["sessions", "show", &id]);
        assert!(text.contains(&id), "{protocol}: {text}");
        broker.ctl(&["clients", "kick", &id]);
        speaker.is_displaced();
        crate::common::wait_until_gone(&broker, &id);
        assert_eq!(shown(&broker, &id), None);
    }
}
