//! Who may come in, and what they may do.

use crate::world::*;
use emqttd_plugin_sdk::virtual_client::{ConnectOptions, Outgoing, Refused, VirtualClient, Will};
use emqttd_plugin_sdk::{
    Access, AclAnswer, AclProvider, AuthAnswer, AuthProvider, Client, DynAcl, DynAuth, HostError,
    PeerInfo, QoS,
};
use std::sync::Arc;

/// Lets in who says "sesame"; those called `slow...` wait for their answer.
struct Door;

impl AuthProvider for Door {
    async fn check(&self, client: &Client, password: Option<&[u8]>) -> AuthAnswer {
        assert_eq!(client.listener, LISTENER.0);
        if client.clientid.starts_with("slow") {
            tokio::task::yield_now().await;
        }
        match password {
            Some(b"sesame") => AuthAnswer::Allow { superuser: false },
            _ => AuthAnswer::Deny,
        }
    }
}

/// Keeps everybody from `secret/...`; about `late/...` it takes its time.
struct Rules;

impl AclProvider for Rules {
    async fn check(&self, client: &Client, _: Access, topic: &str) -> AclAnswer {
        assert_eq!(client.peername.ip(), device(1).ip());
        if topic.starts_with("late/") {
            tokio::task::yield_now().await;
        }
        match topic.contains("secret") {
            true => AclAnswer::Deny,
            false => AclAnswer::Allow,
        }
    }
}

#[test]
fn the_chain_decides_who_comes_in() {
    for shards in 1..=3 {
        let world = World::new(shards);
        let door: Arc<dyn DynAuth> = Arc::new(Door);
        world.broker.access().add_auth(0, "door", &door);
        let told = world.hooks();
        world.run(async {
            for name in ["quick", "slow", "slow2"] {
                let options = ConnectOptions::new(name);
                let wrong = options.clone().credentials("tom", "simsim");
                let refused = world.try_connect(1, wrong).await.err();
                assert_eq!(refused, Some(Refused::Code(4)));
                told.until(&format!("connected {name} toy:udp 10.0.0.1:5000 4"));
                told.until(&format!("disconnected {name} auth_failure"));
                let wrong = options.clone().v5(0);
                let refused = world.try_connect(1, wrong).await.err();
                assert_eq!(refused, Some(Refused::Code(0x86)));

                let right = options.credentials("tom", "sesame");
                let (client, _events) = world.try_connect(1, right).await.unwrap();
                told.until(&format!("connected {name} toy:udp 10.0.0.1:5000 0"));
                soon(client.disconnect()).await;
            }
        });
        world.until_left(&[("auth_failure", 6)]);
    }
}

/// Knows `tom` only.
struct Book;

impl AuthProvider for Book {
    async fn check(&self, client: &Client, password: Option<&[u8]>) -> AuthAnswer {
        match (client.username.as_deref(), password) {
            (Some("tom"), Some(b"sesame")) => AuthAnswer::Allow { superuser: false },
            (Some("tom"), _) => AuthAnswer::Deny,
            _ => AuthAnswer::Ignore,
        }
    }
}

#[test]
fn a_client_that_somebody_must_know() {
    // mqtt.allow_anonymous = true lets in everybody else.
    let world = World::new(2);
    let connect = async |anonymous: bool, username: &str| {
        let peer = PeerInfo {
            anonymous,
            ..peer(1)
        };
        let options = ConnectOptions::new("device").credentials(username, "sesame");
        let open = |events| world.broker.open_pipe(peer, events).map_err(HostError);
        match soon(VirtualClient::connect_by(open, options)).await {
            Ok((client, _events)) => {
                soon(client.disconnect()).await;
                0
            }
            Err(refused) => refused.code(),
        }
    };
    world.run(async {
        assert_eq!(connect(true, "tom").await, 0);
        assert_eq!(connect(false, "tom").await, 4);
        let book: Arc<dyn DynAuth> = Arc::new(Book);
        world.broker.access().add_auth(0, "book", &book);
        assert_eq!(connect(false, "tom").await, 0);
        assert_eq!(connect(true, "bob").await, 0);
        assert_eq!(connect(false, "bob").await, 4);
    });
    world.until_left(&[("auth_failure", 2)]);
}

#[test]
fn acl_decides_what_they_may_do() {
    for shards in 1..=3 {
        let world = World::new(shards);
        let rules: Arc<dyn DynAcl> = Arc::new(Rules);
        world.broker.access().add_acl(0, "rules", &rules);
        world.run(async {
            let options = ConnectOptions::new("device").v5(0);
            let (client, mut events) = world.try_connect(1, options).await.unwrap();
            let filters = [
                ("open/#", QoS::AtMostOnce),
                ("secret/#", QoS::AtMostOnce),
                ("late/open", QoS::ExactlyOnce),
                ("late/secret", QoS::AtMostOnce),
            ];
            let codes = soon(client.subscribe(&filters)).await.unwrap();
            assert_eq!(codes, [0, 0x87, 2, 0x87]);
            for (topic, code) in [
                ("secret/a", 0x87),
                ("open/a", 0),
                ("late/open", 0),
                ("late/secret", 0x87),
            ] {
                let message = Outgoing::new(topic, topic).qos(QoS::AtLeastOnce);
                assert_eq!(soon(client.publish(&message)).await, Ok(code), "{topic}");
            }
            assert_eq!(message(&mut events).await.topic, "open/a");
            assert_eq!(message(&mut events).await.topic, "late/open");
            // With 3.1.1 the broker does not answer, and still one gets to know.
            let (client, _events) = world.connect(1, "device3").await;
            for (topic, code) in [("secret/a", 0x87), ("open/a", 0)] {
                let message = Outgoing::new(topic, topic).qos(QoS::ExactlyOnce);
                assert_eq!(soon(client.publish(&message)).await, Ok(code), "{topic}");
            }
        });
    }
}

#[test]
fn acl_is_asked_about_a_will_that_was_changed() {
    for conf in ["", "persistence.sync = always"] {
        let world = World::with(2, conf, toy());
        let rules: Arc<dyn DynAcl> = Arc::new(Rules);
        world.broker.access().add_acl(0, "rules", &rules);
        let will = |topic: &str| {
            Some(Will {
                topic: topic.into(),
                payload: Vec::new(),
                qos: QoS::AtMostOnce,
                retain: false,
            })
        };
        world.run(async {
            let (watcher, mut events) = world.connect(1, "watcher").await;
            let filters = [("will/#", QoS::AtMostOnce), ("late/#", QoS::AtMostOnce)];
            assert_eq!(soon(watcher.subscribe(&filters)).await, Ok(vec![0, 0]));
            for topic in ["will/secret", "late/secret", "late/open", "will/open"] {
                let options = ConnectOptions::new("device").clean(false);
                let (client, mut device) = world.try_connect(1, options).await.unwrap();
                client.set_will(will(topic)).unwrap();
                client.abort("closed");
                end(&mut device).await;
                // One at a time: the will of a later connection need not wait for a decision about an earlier one.
                if !topic.contains("secret") {
                    assert_eq!(message(&mut events).await.topic, topic);
                }
            }
        });
    }
}

#[test]
fn the_listener_limits_and_mounts() {
    let mut listener = toy();
    listener.max_clients = 2;
    listener.mountpoint = Some("toys/".into());
    let world = World::with(2, "", listener);
    world.run(async {
        let mut outside = world.tcp("outside");
        outside.subscribe("#", emqttd_mqtt::QoS::AtMostOnce);
        let (one, mut one_events) = world.connect(1, "one").await;
        let (two, _two_events) = world.connect(2, "two").await;
        let refused = world.try_connect(3, ConnectOptions::new("three")).await;
        assert!(matches!(refused.err(), Some(Refused::NoPlace(_))));
        soon(one.subscribe(&[("t", QoS::AtMostOnce)]))
            .await
            .unwrap();
        soon(two.publish(&Outgoing::new("t", "x"))).await.unwrap();
        assert_eq!(message(&mut one_events).await.topic, "t");
        assert_eq!(outside.message().0, "toys/t");
        let row = world.row().unwrap();
        assert_eq!((row.protocol.as_str(), row.listen_on.as_str()), LISTENER);
        assert_eq!(
            (row.acceptors, row.max_clients, row.current_clients),
            (2, 2, 2)
        );
        soon(two.disconnect()).await;
        // A place is free again.
        world.connect(3, "three").await;
    });
}
