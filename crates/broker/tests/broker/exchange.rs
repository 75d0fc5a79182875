//! Enhanced authentication (MQTT 5.0, 4.12), with a mechanism made for the test.

use crate::net::{Client, Net};
use crate::packets::*;
use emqttd_mqtt::{Properties, Property, Version};
use emqttd_plugin_sdk::{
    self as sdk, Access, AclAnswer, AclProvider, AuthMechanism, DynAcl, Exchange, ExchangeStep,
    HookPoint,
};
use std::sync::Arc;

/// `hello`, then `<n>` and the answer `<n + 1>` twice, then success with the name; `root` is a superuser.
struct Counting;

struct Count {
    name: String,
    step: u8,
}

impl AuthMechanism for Counting {
    fn method(&self) -> &str {
        "COUNT"
    }
    fn begin(&self, client: &sdk::Client) -> Box<dyn Exchange> {
        Box::new(Count {
            name: client.clientid.to_string(),
            step: 0,
        })
    }
}

impl Exchange for Count {
    fn step(&mut self, data: &[u8]) -> ExchangeStep {
        let expected: &[u8] = if self.step == 0 {
            b"hello"
        } else {
            &[self.step + 1]
        };
        if data == b"root" {
            return ExchangeStep::Success {
                data: b"at once".to_vec(),
                superuser: true,
            };
        }
        if data == b"plain" {
            return ExchangeStep::Success {
                data: Vec::new(),
                superuser: false,
            };
        }
        if data != expected {
            return ExchangeStep::Fail;
        }
        self.step += 2;
        if self.step > 4 {
            return ExchangeStep::Success {
                data: format!("welcome {}", self.name).into_bytes(),
                superuser: false,
            };
        }
        ExchangeStep::Continue(vec![self.step])
    }

    fn username(&self) -> Option<&str> {
        self.name.strip_prefix("proves ")
    }
}

fn net() -> Net {
    // Without the exchange nobody comes in.
    let net = Net::with(2, |s| {
        s.mqtt.allow_anonymous = emqttd_config::AllowAnonymous::False
    });
    let mechanism: Arc<dyn AuthMechanism> = Arc::new(Counting);
    net.broker.access().add_mechanism(&mechanism);
    net
}

fn connect(id: &str, method: &str, data: &[u8]) -> Connect {
    Connect::v5(id)
        .property(Property::AuthenticationMethod(method))
        .property(Property::AuthenticationData(data))
}

fn more(data: u8) -> Got {
    Got::Auth {
        reason: 0x18,
        method: Some("COUNT".into()),
        data: vec![data],
    }
}

fn step(net: &mut Net, client: Client, reason: u8, data: &[u8]) -> Vec<Got> {
    net.send(client, &auth(reason, Some("COUNT"), data));
    net.take(client)
}

/// Through the whole exchange.
fn come_in(net: &mut Net, connect: &Connect) -> Client {
    let client = net.open(0);
    assert_eq!(net.connect_on(client, connect), [more(2)]);
    assert_eq!(step(net, client, 0x18, &[3]), [more(4)]);
    let got = step(net, client, 0x18, &[5]);
    let [
        Got::ConnAck {
            code: 0,
            properties,
            ..
        },
    ] = &got[..]
    else {
        panic!("{got:?}")
    };
    let properties = Properties::new(properties);
    assert_eq!(properties.auth_method(), Some("COUNT"), "[MQTT-4.12.0-5]");
    assert_eq!(
        properties.auth_data(),
        Some(format!("welcome {}", connect.id).as_bytes())
    );
    client
}

#[test]
fn an_exchange_runs_before_connack_on_every_shard() {
    let mut net = net();
    for name in [net.name_on(0, "c"), net.name_on(1, "c")] {
        let client = come_in(&mut net, &connect(&name, "COUNT", b"hello"));
        assert_eq!(net.subscribe(client, "t", 1), 1);
        assert_eq!(net.publish(client, "t", "x", 1), Some(0));
        assert_eq!(net.payloads(client), ["x"]);
    }
    assert_eq!(net.stat("clients/count"), 2);
    assert_eq!(net.metric("packets/auth/received"), 4);
    assert_eq!(net.metric("packets/auth/sent"), 4);
}

#[test]
fn what_connect_asked_for_holds_after_the_exchange() {
    let mut net = net();
    let asked = connect("c", "COUNT", b"hello")
        .keep()
        .expiry(100)
        .keep_alive(10)
        .will("w", "bye", 1, false);
    let client = come_in(&mut net, &asked);
    net.subscribe(client, "w", 1);
    let info = net.admin(|broker| broker.client("c")).unwrap();
    assert_eq!((info.keepalive, info.clean_sess), (10, false));
    net.lose(client);
    let session = net.admin(|broker| broker.session("c")).unwrap();
    assert_eq!(
        (session.online, session.mqueue_len),
        (false, 1),
        "the will is for itself"
    );
    let client = net.open(0);
    net.connect_on(client, &asked);
    step(&mut net, client, 0x18, &[3]);
    let got = step(&mut net, client, 0x18, &[5]);
    assert!(matches!(got[0], Got::ConnAck { present: true, .. }));
    assert!(matches!(&got[1], Got::Publish(m) if m.payload == b"bye"));
}

#[test]
fn an_exchange_may_succeed_or_fail_at_any_step() {
    let mut net = net();
    let client = net.open(0);
    let got = net.connect_on(client, &connect("c", "COUNT", b"root"));
    assert!(
        matches!(&got[..], [Got::ConnAck { code: 0, .. }]),
        "{got:?}"
    );

    let client = net.open(0);
    let got = net.connect_on(client, &connect("d", "COUNT", b"wrong"));
    assert!(
        matches!(&got[..], [Got::ConnAck { code: 0x87, .. }]),
        "{got:?}"
    );
    assert_eq!(net.closed(client), Some("auth_failure"));

    let client = net.open(0);
    net.connect_on(client, &connect("e", "COUNT", b"hello"));
    let got = step(&mut net, client, 0x18, b"wrong");
    assert!(
        matches!(&got[..], [Got::ConnAck { code: 0x87, .. }]),
        "{got:?}"
    );
    assert_eq!(net.closed(client), Some("auth_failure"));
    assert_eq!(net.stat("sessions/count"), 1);
}

#[test]
fn a_method_that_is_not_there_is_refused() {
    let mut net = net();
    for connect in [
        connect("c", "NONE", b"hello"),
        Connect::v5("d").property(Property::AuthenticationMethod("count")),
    ] {
        let client = net.open(0);
        let got = net.connect_on(client, &connect);
        assert!(
            matches!(&got[..], [Got::ConnAck { code: 0x8C, .. }]),
            "{got:?}"
        );
        assert_eq!(net.closed(client), Some("bad_auth_method"));
    }
}

#[test]
fn nothing_but_auth_and_disconnect_is_taken_before_connack() {
    let others = [
        PINGREQ.to_vec(),
        publish(Version::V5, "t", b"x", 0, false, 0, &[]),
        publish(Version::V5, "t", b"x", 1, true, 1, &[]),
        subscribe(Version::V5, 1, &[("#", 0)]),
        ack(Version::V5, 4, 1, 0),
        Connect::v5("c").bytes(),
        connect("c", "COUNT", b"root").bytes(),
    ];
    for bytes in others {
        let mut net = net();
        let client = net.open(0);
        net.connect_on(client, &connect("c", "COUNT", b"hello"));
        // [MQTT-3.1.2-30]
        net.send(client, &bytes);
        assert_eq!(net.take(client), [], "{bytes:?}");
        assert!(net.closed(client).is_some(), "{bytes:?}");
        assert_eq!(net.stat("retained/count"), 0);
        assert_eq!(net.stat("sessions/count"), 0);
    }
    let mut net = net();
    let client = net.open(0);
    net.connect_on(client, &connect("c", "COUNT", b"hello"));
    net.send(client, &disconnect(Version::V5, 0));
    assert_eq!(net.closed(client), Some("normal"));
}

#[test]
fn an_exchange_keeps_its_method_and_its_reason() {
    for (bytes, why) in [
        (auth(0x18, Some("OTHER"), &[3]), "bad_auth_method"),
        (auth(0x19, Some("COUNT"), b"hello"), "protocol_error"),
        (auth(0x00, Some("COUNT"), &[3]), "protocol_error"),
    ] {
        let mut net = net();
        let client = net.open(0);
        net.connect_on(client, &connect("c", "COUNT", b"hello"));
        net.send(client, &bytes);
        assert_eq!(net.closed(client), Some(why));
        assert_eq!(net.stat("sessions/count"), 0);
    }
}

#[test]
fn an_exchange_that_stops_ends_with_the_idle_timeout() {
    let mut net = net();
    let client = net.open(0);
    net.connect_on(client, &connect("c", "COUNT", b"hello"));
    net.advance(29_000);
    assert_eq!(net.closed(client), None);
    net.advance(1_200);
    assert_eq!(net.closed(client), Some("idle_timeout"));
}

#[test]
fn a_client_may_authenticate_again() {
    let mut net = net();
    let client = come_in(&mut net, &connect("c", "COUNT", b"hello"));
    net.subscribe(client, "t", 0);
    assert_eq!(step(&mut net, client, 0x19, b"hello"), [more(2)]);
    // Other packets go on meanwhile.
    net.publish(client, "t", "meanwhile", 0);
    assert_eq!(net.payloads(client), ["meanwhile"]);
    assert_eq!(step(&mut net, client, 0x18, &[3]), [more(4)]);
    let done = Got::Auth {
        reason: 0,
        method: Some("COUNT".into()),
        data: b"welcome c".to_vec(),
    };
    assert_eq!(step(&mut net, client, 0x18, &[5]), [done]);
    // An AUTH that belongs to no exchange.
    let got = step(&mut net, client, 0x18, &[3]);
    assert_eq!(got, [Got::Disconnect(0x82)]);
    assert_eq!(net.closed(client), Some("protocol_error"));
}

#[test]
fn who_fails_to_authenticate_again_is_disconnected() {
    let mut net = net();
    for at_once in [true, false] {
        let client = come_in(
            &mut net,
            &connect("c", "COUNT", b"hello").will("w", "bye", 0, true),
        );
        let got = if at_once {
            step(&mut net, client, 0x19, b"wrong")
        } else {
            step(&mut net, client, 0x19, b"hello");
            step(&mut net, client, 0x18, b"wrong")
        };
        // [MQTT-4.12.1-2]
        assert_eq!(got, [Got::Disconnect(0x87)]);
        assert_eq!(net.closed(client), Some("auth_failure"));
        assert_eq!(net.stat("retained/count"), 1, "its will is published");
    }
}

#[test]
fn auth_is_a_protocol_error_without_a_method_in_connect() {
    let mut net = Net::new(1);
    let mechanism: Arc<dyn AuthMechanism> = Arc::new(Counting);
    net.broker.access().add_mechanism(&mechanism);
    let client = net.connect(&Connect::v5("c"));
    net.take(client);
    assert_eq!(
        step(&mut net, client, 0x19, b"hello"),
        [Got::Disconnect(0x82)]
    );
    // [MQTT-4.12.1-1]
    let client = net.open(0);
    net.connect_on(client, &connect("d", "COUNT", b"root"));
    net.send(client, &auth(0x19, Some("OTHER"), b"hello"));
    assert_eq!(net.take(client), [Got::Disconnect(0x82)]);
}

struct DenyAll;

impl AclProvider for DenyAll {
    async fn check(&self, _: &sdk::Client, _: Access, _: &str) -> AclAnswer {
        AclAnswer::Deny
    }
}

#[test]
fn rights_follow_the_last_authentication() {
    let mut net = net();
    let acl: Arc<dyn DynAcl> = Arc::new(DenyAll);
    net.broker.access().add_acl(0, "deny", &acl);
    let client = net.open(0);
    net.connect_on(client, &connect("c", "COUNT", b"root"));
    assert_eq!(net.publish(client, "t", "x", 1), Some(0x10), "a superuser");
    assert_eq!(net.subscribe(client, "s", 1), 1);
    let done = Got::Auth {
        reason: 0,
        method: Some("COUNT".into()),
        data: vec![],
    };
    assert_eq!(step(&mut net, client, 0x19, b"plain"), [done]);
    assert_eq!(
        net.publish(client, "t", "x", 1),
        Some(0x87),
        "no longer one"
    );
    assert_eq!(net.subscribe(client, "t", 1), 0x87);
    assert!(
        !net.broker.has_route("s"),
        "what only a superuser might subscribe to has ended"
    );
}

/// Says who was connected and disconnected.
struct Presence(Arc<std::sync::Mutex<Vec<String>>>);

impl sdk::Hooks for Presence {
    fn points(&self) -> u32 {
        HookPoint::ClientConnected as u32 | HookPoint::ClientDisconnected as u32
    }
    fn client_connected(&self, client: &sdk::Client, connack: u8) {
        self.0
            .lock()
            .unwrap()
            .push(format!("+{} {connack}", client.clientid));
    }
    fn client_disconnected(&self, client: &sdk::Client, reason: &str, _: Option<u8>) {
        self.0
            .lock()
            .unwrap()
            .push(format!("-{} {reason}", client.clientid));
    }
}

#[test]
fn hooks_see_a_failed_exchange_as_any_failed_authentication() {
    let mut net = net();
    let log = Arc::default();
    net.broker
        .hooks()
        .add(0, Arc::new(Presence(Arc::clone(&log))));
    let client = net.open(0);
    net.connect_on(client, &connect("c", "COUNT", b"hello"));
    step(&mut net, client, 0x18, b"wrong");
    assert_eq!(*log.lock().unwrap(), ["+c 4", "-c auth_failure"]);
    log.lock().unwrap().clear();
    let client = come_in(&mut net, &connect("c", "COUNT", b"hello"));
    step(&mut net, client, 0x19, b"wrong");
    assert_eq!(*log.lock().unwrap(), ["+c 0", "-c auth_failure"]);
}

#[test]
fn the_user_name_that_an_exchange_proves_is_the_clients() {
    let mut net = net();
    let log = Arc::<std::sync::Mutex<Vec<String>>>::default();
    let acl: Arc<dyn DynAcl> = Arc::new(Names(Arc::clone(&log)));
    net.broker.access().add_acl(0, "names", &acl);
    let client = net.open(0);
    net.connect_on(client, &connect("proves ann", "COUNT", b"plain"));
    assert_eq!(net.publish(client, "t", "x", 1), Some(0x10));
    assert_eq!(*log.lock().unwrap(), ["ann"]);
    let done = step(&mut net, client, 0x19, b"plain");
    assert!(
        matches!(done[..], [Got::Auth { reason: 0, .. }]),
        "{done:?}"
    );
    let client = net.open(0);
    let named = connect("proves bob", "COUNT", b"plain").user("bob", "");
    assert!(matches!(
        net.connect_on(client, &named)[..],
        [Got::ConnAck { code: 0, .. }]
    ));
    let client = net.open(0);
    let other = connect("proves bob", "COUNT", b"plain").user("eve", "");
    assert!(matches!(
        net.connect_on(client, &other)[..],
        [Got::ConnAck { code: 0x87, .. }]
    ));
}

/// Writes down by which user names it is asked.
struct Names(Arc<std::sync::Mutex<Vec<String>>>);

impl AclProvider for Names {
    async fn check(&self, client: &sdk::Client, _: Access, _: &str) -> AclAnswer {
        let name = client.username.as_deref().unwrap_or("-");
        self.0.lock().unwrap().push(name.into());
        AclAnswer::Allow
    }
}

/// It is known only when the exchange has succeeded.
#[test]
fn a_name_that_is_proved_may_be_a_banned_one() {
    let mut net = net();
    let ban = emqttd_broker::Ban {
        kind: emqttd_broker::BanKind::Username,
        value: "bob".into(),
        reason: String::new(),
        until: None,
        by: String::new(),
        at: 0,
    };
    net.admin(move |broker| broker.bans().add(ban)).unwrap();
    for (id, want) in [("proves bob", 0x8A), ("proves Bob", 0)] {
        let client = net.open(0);
        let got = net.connect_on(client, &connect(id, "COUNT", b"plain"));
        assert!(
            matches!(&got[..], [Got::ConnAck { code, .. }] if *code == want),
            "{got:?}"
        );
    }
}
